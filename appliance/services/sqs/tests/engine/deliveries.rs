//! What topics deliver: by the queue's policy and rules, once, with the refusals on their way back.

use std::cell::RefCell;
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use plan::delivery::{
    Attribute, AttributeValue, Envelope, QUEUE_DELIVER, QueueDelivery, Recipient, SharedMessage, topic_place,
};
use plan::refused::RefusedDelivery;
use sqs::engine::Counts;
use sqs::model::queue::{Attributes, Fifo};
use store::{Direction, Fault, Operation, Outcome, Receiver, ShardId, TableId, Tx};

use crate::world::{REGION, START, World, bodies, body, fifo, key, ten, with_world};

/// The store's table of what is on its way between shards.
const OUTBOX: TableId = TableId(4);
const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:t";

thread_local! {
    // Both shards of a test lie on its thread.
    static REFUSED: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Stands for the topic: keeps which queue refused and why.
pub struct Refusals;

impl Receiver for Refusals {
    fn receive(&self, _tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let refused = RefusedDelivery::decode(payload)?;
        let pairs = refused.delivery.recipients.into_iter().zip(refused.refusals);
        let pairs = pairs.map(|(recipient, refusal)| (recipient.queue, refusal.code));
        REFUSED.with_borrow_mut(|all| all.extend(pairs));
        Ok(())
    }
}

/// Emits a delivery, as a topic does.
struct Emit {
    delivery: QueueDelivery,
    to: ShardId,
}

impl Operation for Emit {
    type Reply = ();

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.emit(self.to, QUEUE_DELIVER, &self.delivery.encode());
        Ok(Outcome::Commit(()))
    }
}

fn recipient(queue: &str) -> Recipient {
    Recipient {
        account: "000000000000".to_owned(),
        queue: queue.to_owned(),
        subscription: 0xabc,
        body: None,
        raw: true,
        group: None,
        dedup: None,
    }
}

fn delivery(text: &str, recipients: Vec<Recipient>) -> QueueDelivery {
    QueueDelivery {
        topic_arn: TOPIC.to_owned(),
        source_account: "000000000000".to_owned(),
        message: SharedMessage {
            message_id: 7,
            published_ms: START.0,
            body: Bytes::copy_from_slice(text.as_bytes()),
            envelope: None,
            attributes: Vec::new(),
        },
        recipients,
    }
}

/// Delivers to queues that lie on one shard, from that of the topic, and gives what was refused.
async fn deliver(world: &Rc<World>, delivery: QueueDelivery) -> Vec<(String, String)> {
    let to = world.queue(&delivery.recipients[0].queue).shard;
    let from = world.store.place(&topic_place("000000000000", "t"));
    world.store.submit(from, Emit { delivery, to }).await.expect("is emitted");
    // The delivery, and after it the refusal on its way back.
    while world.store.shards().any(|shard| has_outgoing(world, shard)) {
        ring::sleep(Duration::from_millis(1)).await;
    }
    REFUSED.with_borrow_mut(std::mem::take)
}

fn has_outgoing(world: &World, shard: ShardId) -> bool {
    let view = world.store.view(shard).expect("a view");
    let mut scan = view.scan(OUTBOX, Bound::Unbounded, Direction::Forward);
    scan.next().expect("the outbox can be read").is_some()
}

fn open_to(name: &str, condition: &str) -> Option<Box<str>> {
    let arn = key(name).arn(REGION);
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"Service":"sns.amazonaws.com"}},"Action":"sqs:SendMessage","Resource":"{arn}","Condition":{condition}}}}}"#
    );
    Some(policy.into())
}

fn for_topic(name: &str) -> Option<Box<str>> {
    open_to(name, &format!(r#"{{"ArnEquals":{{"aws:SourceArn":"{TOPIC}"}}}}"#))
}

#[test]
fn a_queue_takes_what_its_policy_lets_a_topic_send() {
    with_world("deliver-policy", |world| async move {
        let other = r#"{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:000000000000:other"}}"#;
        for (name, policy, is_open) in [
            ("open", for_topic("open"), true),
            ("none", None, false),
            ("other", open_to("other", other), false),
            ("damaged", Some("{}".into()), false),
        ] {
            world.put(name, Attributes { policy, ..Attributes::default() }).await;
            let refused = deliver(&world, delivery("m", vec![recipient(name)])).await;
            if is_open {
                assert_eq!(refused, []);
                let received = world.receive(name, ten()).await;
                assert_eq!(bodies(&received), ["m"]);
                assert_eq!(&*received[0].message.sender, "sns.amazonaws.com");
            } else {
                assert_eq!(refused, [(name.to_owned(), "AccessDenied".to_owned())]);
                assert_eq!(world.counts(name).await, Counts::default());
            }
        }
    });
}

#[test]
fn a_refusal_of_one_queue_is_none_of_another() {
    with_world("deliver-some", |world| async move {
        let shard = world.queue("a").shard;
        let beside =
            (0..).map(|n| format!("b{n}")).find(|name| world.queue(name).shard == shard).expect("there is");
        world.put(&beside, Attributes { policy: for_topic(&beside), ..Attributes::default() }).await;
        let refused = deliver(&world, delivery("m", vec![recipient("a"), recipient(&beside)])).await;
        let gone = ("a".to_owned(), "AWS.SimpleQueueService.NonExistentQueue".to_owned());
        assert_eq!(refused, [gone]);
        assert_eq!(bodies(&world.receive(&beside, ten()).await), ["m"]);
    });
}

#[test]
fn the_rules_of_sending_hold_for_deliveries() {
    with_world("deliver-rules", |world| async move {
        let small = Attributes {
            message_bytes_max: 1_024,
            delay_seconds: 5,
            policy: for_topic("q"),
            ..Attributes::default()
        };
        world.put("q", small).await;
        let invalid = |code: &str| [("q".to_owned(), code.to_owned())];
        let long = delivery(&"x".repeat(1_025), vec![recipient("q")]);
        assert_eq!(deliver(&world, long).await, invalid("InvalidParameterValue"));
        let control = delivery("\u{1}", vec![recipient("q")]);
        assert_eq!(deliver(&world, control).await, invalid("InvalidMessageContents"));
        let mut typed = delivery("m", vec![recipient("q")]);
        let value = AttributeValue::Binary(Bytes::from_static(b"\0"));
        typed.message.attributes.push(Attribute { name: "n".into(), data_type: "Binary".into(), value });
        assert_eq!(deliver(&world, typed).await, []);
        assert!(world.receive("q", ten()).await.is_empty(), "the queue's delay counts");
        assert_eq!(world.counts("q").await.delayed, 1);
        world.pass(Duration::from_secs(6)).await;
        let received = world.receive("q", ten()).await;
        assert_eq!((bodies(&received), received[0].message.attributes.len()), (vec!["m".to_owned()], 1));
    });
}

#[test]
fn an_envelope_carries_no_attributes_and_names_its_subscription() {
    with_world("deliver-envelope", |world| async move {
        world.put("q", Attributes { policy: for_topic("q"), ..Attributes::default() }).await;
        let mut enveloped = delivery("m", vec![Recipient { raw: false, ..recipient("q") }]);
        let value = AttributeValue::Text("v".into());
        enveloped.message.attributes.push(Attribute { name: "n".into(), data_type: "String".into(), value });
        enveloped.message.envelope =
            Some(Envelope { head: Bytes::from_static(b"{\"id\":\""), tail: Bytes::from_static(b"\"}") });
        assert_eq!(deliver(&world, enveloped).await, []);
        let received = world.receive("q", ten()).await;
        assert!(bodies(&received)[0].contains("abc"), "{:?}", bodies(&received));
        assert!(received[0].message.attributes.is_empty());
    });
}

#[test]
fn a_fifo_queue_knows_repetitions_and_keeps_groups() {
    with_world("deliver-fifo", |world| async move {
        let name = "q.fifo";
        world.put(name, Attributes { policy: for_topic(name), ..fifo() }).await;
        let to = |group: &str, dedup: Option<&str>| Recipient {
            group: Some(group.to_owned()),
            dedup: dedup.map(str::to_owned),
            ..recipient(name)
        };
        // The queue is not loaded yet when the first ones come.
        for (text, group, dedup) in [
            ("1", "a", Some("x")),
            ("2", "a", Some("x")),
            ("3", "a", None),
            ("3", "b", None),
            ("4", "a", Some("y")),
        ] {
            assert_eq!(deliver(&world, delivery(text, vec![to(group, dedup)])).await, []);
        }
        let received = world.receive(name, ten()).await;
        assert_eq!(bodies(&received), ["1", "3", "4"]);
        assert_eq!(received[0].message.group.as_deref(), Some("a"));
        assert_eq!(deliver(&world, delivery("2", vec![to("b", Some("x"))])).await, []);
        assert!(world.receive(name, ten()).await.is_empty(), "loaded, it still knows the id");
        let refused = |code: &str| [(name.to_owned(), code.to_owned())];
        assert_eq!(deliver(&world, delivery("5", vec![recipient(name)])).await, refused("MissingParameter"));
        let strict =
            Attributes { policy: for_topic(name), fifo: Some(Fifo::default()), ..Attributes::default() };
        world.put(name, strict).await;
        assert_eq!(
            deliver(&world, delivery("6", vec![to("a", None)])).await,
            refused("InvalidParameterValue")
        );
        world.pass(Duration::from_secs(301)).await;
        assert_eq!(deliver(&world, delivery("2", vec![to("b", Some("x"))])).await, []);
        assert!(bodies(&world.receive(name, ten()).await).contains(&"2".to_owned()), "five minutes are over");
    });
}

#[test]
fn a_delivery_wakes_who_waits() {
    with_world("deliver-wake", |world| async move {
        world.put("q", Attributes { policy: for_topic("q"), ..Attributes::default() }).await;
        world.send("q", body("first")).await;
        world.receive("q", ten()).await;
        let waiting = sqs::engine::ReceiveRequest { wait_seconds: Some(20), ..ten() };
        let receive = ring::spawn({
            let world = Rc::clone(&world);
            async move { world.receive("q", waiting).await }
        });
        ring::yield_now().await;
        assert_eq!(deliver(&world, delivery("m", vec![recipient("q")])).await, []);
        assert_eq!(bodies(&receive.await), ["m"]);
    });
}
