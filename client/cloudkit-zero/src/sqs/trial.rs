//! Queues against the appliance itself; see `trial/appliance.rs` for where that comes from. And against a peer that loses answers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cloudkit_core::api::{Message, MessageQueue, ReceiveOptions, ReceiveStreamOptions, SendOptions};
use cloudkit_core::common::{CloudError, CloudResult, NetworkError};

use super::ZeroQueue;
use crate::trial::appliance::Appliance;
use crate::trial::services::Answer::{Lost, Status};
use crate::trial::services::{script, shared};
use crate::trial::single;

async fn started(name: &str) -> (Appliance, ZeroQueue) {
    let appliance = Appliance::start(name, &[], &[]);
    let queue = ZeroQueue::new(shared(appliance.caller()).await);
    (appliance, queue)
}

/// As long as a message may be hidden, so that none comes back while a test runs.
const HIDDEN: Duration = Duration::from_secs(43_200);

fn ten() -> ReceiveOptions {
    ReceiveOptions::new().max_messages(10).visibility_timeout(HIDDEN)
}

/// Receives until so many are there.
async fn drain(queue: &ZeroQueue, url: &str, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    // Each round waits for a second; what has not come by then does not come.
    for _ in 0..300 {
        if messages.len() >= count {
            return messages;
        }
        messages.extend(
            queue.receive(url, ten().wait_time(Duration::from_secs(1))).await.expect("it is answered"),
        );
    }
    panic!("{} of {count} messages came", messages.len());
}

fn is_validation<T: std::fmt::Debug>(outcome: CloudResult<T>) {
    let error = outcome.expect_err("it is refused");
    assert!(matches!(error, CloudError::Validation(_)), "{error}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn queues_are_made_found_listed_and_deleted() {
    let (_appliance, queue) = started("mq-queues").await;
    let url = queue.create_queue("jobs").await.unwrap();
    assert_eq!(queue.create_queue("jobs").await.unwrap(), url);
    assert_eq!(queue.get_queue_url("jobs").await.unwrap(), url);
    let ordered = queue.create_queue("jobs.fifo").await.unwrap();
    let other = queue.create_queue("other").await.unwrap();
    let listed = |urls: Vec<String>| urls.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(
        listed(queue.list_queues(Some("jobs")).await.unwrap()),
        BTreeSet::from([url.clone(), ordered])
    );
    assert_eq!(queue.list_queues(None).await.unwrap().len(), 3);
    assert_eq!(queue.list_queues(Some("")).await.unwrap().len(), 3);
    assert!(queue.list_queues(Some("none")).await.unwrap().is_empty());
    queue.delete_queue(&other).await.unwrap();
    assert_eq!(queue.list_queues(None).await.unwrap().len(), 2);
    for name in ["", "a b", "a/b", ".fifo", &"x".repeat(81)] {
        is_validation(queue.create_queue(name).await);
    }
    let many: BTreeSet<String> = (0..30).map(|index| format!("many-{index:02}")).collect();
    for name in &many {
        queue.create_queue(name).await.unwrap();
    }
    let found = queue.list_queues(Some("many-")).await.unwrap();
    let names: BTreeSet<String> =
        found.iter().filter_map(|url| url.rsplit('/').next()).map(String::from).collect();
    assert_eq!(names, many);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_missing_queue_is_named_with_a_hint() {
    let (appliance, queue) = started("mq-missing").await;
    let url = format!("{}/000000000000/none", appliance.url);
    let message = {
        let real = queue.create_queue("real").await.unwrap();
        queue.send(&real, "x").await.unwrap();
        drain(&queue, &real, 1).await.remove(0)
    };
    let outcomes = [
        queue.get_queue_url("none").await.map(|_| ()),
        queue.delete_queue(&url).await,
        queue.send(&url, "x").await.map(|_| ()),
        queue.send_batch(&url, &["x"]).await.map(|_| ()),
        queue.receive(&url, ReceiveOptions::new()).await.map(|_| ()),
        queue.delete(&url, &message).await,
        queue.delete_batch(&url, &[&message]).await,
        queue.change_visibility(&url, &message, Duration::ZERO).await,
        queue.get_queue_depth(&url).await.map(|_| ()),
        queue.purge(&url).await,
    ];
    for outcome in outcomes {
        let error = outcome.expect_err("there is none");
        assert!(
            matches!(&error, CloudError::NotFound { resource_type, resource_id }
            if resource_type == "Queue" && resource_id == "none"),
            "{error}"
        );
    }
    let options = ReceiveStreamOptions::new();
    let failure =
        queue.receive_stream(&url, options).next().await.expect("it fails").expect_err("there is none");
    assert!(failure.kind.is_not_found(), "{failure}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn messages_go_and_come_with_all_that_belongs_to_them() {
    let (_appliance, queue) = started("mq-messages").await;
    let url = queue.create_queue("jobs").await.unwrap();
    let body = "ключ/鍵/🗝 & <b> \"q\" \\ \t\r\n";
    let options = SendOptions::new().attribute("kind", "a&b=ü").attribute("N.1", "2");
    let id = queue.send_with_options(&url, body, options.clone()).await.unwrap();
    let message = drain(&queue, &url, 1).await.remove(0);
    assert_eq!((&message.id, message.body.as_str()), (&id, body));
    assert_eq!(message.attributes, options.attributes);
    assert_eq!(message.receive_count, 1);
    assert!(message.first_received_at.is_some_and(|first| first >= message.sent_at), "{message:?}");
    assert!(message.sent_at.timestamp() > 1_700_000_000);
    // Hidden, then given back, then received again.
    assert!(queue.receive(&url, ten()).await.unwrap().is_empty());
    assert_eq!(queue.get_queue_depth(&url).await.unwrap(), 0);
    queue.change_visibility(&url, &message, Duration::ZERO).await.unwrap();
    let again = drain(&queue, &url, 1).await.remove(0);
    assert_eq!((&again.id, again.receive_count), (&id, 2));
    assert_eq!(again.first_received_at, message.first_received_at);
    assert_ne!(again.receipt_handle, message.receipt_handle);
    queue.delete(&url, &again).await.unwrap();
    queue.delete(&url, &again).await.expect("it is deleted already");
    is_validation(queue.change_visibility(&url, &again, Duration::from_secs(5)).await);
    // One that is delayed is not there yet, a quarter of an hour long.
    queue
        .send_with_options(&url, "later", SendOptions::new().delay(Duration::from_millis(899_001)))
        .await
        .unwrap();
    assert!(queue.receive(&url, ten()).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn what_no_queue_takes_is_a_validation() {
    let (_appliance, queue) = started("mq-refused").await;
    let url = queue.create_queue("jobs").await.unwrap();
    let ordered = queue.create_queue("jobs.fifo").await.unwrap();
    for body in ["", "a\u{0}b", "\u{ffff}"] {
        is_validation(queue.send(&url, body).await);
        is_validation(queue.send_batch(&url, &["good", body]).await);
    }
    let large = "x".repeat(1024 * 1024 + 1);
    is_validation(queue.send(&url, &large).await);
    is_validation(queue.send_batch(&url, &[&large]).await);
    let send = async |options: SendOptions| queue.send_with_options(&url, "x", options).await;
    is_validation(send(SendOptions::new().delay(Duration::from_secs(901))).await);
    is_validation(send(SendOptions::new().delay(Duration::MAX)).await);
    is_validation(send(SendOptions::new().attribute("", "x")).await);
    is_validation(send(SendOptions::new().attribute("AWS.x", "x")).await);
    is_validation(send(SendOptions::new().attribute("a", "")).await);
    let eleven =
        (0..11).fold(SendOptions::new(), |options, index| options.attribute(format!("a{index}"), "x"));
    is_validation(send(eleven).await);
    let receive = async |options: ReceiveOptions| queue.receive(&url, options).await;
    for max in [0, 11, u32::MAX] {
        is_validation(receive(ReceiveOptions::new().max_messages(max)).await);
    }
    is_validation(receive(ReceiveOptions::new().wait_time(Duration::from_secs(21))).await);
    is_validation(receive(ReceiveOptions::new().wait_time(Duration::MAX)).await);
    is_validation(receive(ReceiveOptions::new().visibility_timeout(HIDDEN + Duration::from_secs(1))).await);
    // In a queue that keeps the order, a message has a group.
    let error = queue.send(&ordered, "x").await.expect_err("it has no group");
    assert!(matches!(error, CloudError::Validation(_)), "{error}");
    assert!(
        error.hint().is_some_and(|hint| hint.contains("message_group_id")) && error.request_id().is_some(),
        "{error}"
    );
    is_validation(queue.send_batch(&ordered, &["x", "y"]).await);
    assert_eq!(queue.get_queue_depth(&url).await.unwrap(), 0, "nothing was sent");
    // Receipts that are none.
    queue.send(&url, "x").await.unwrap();
    let message = drain(&queue, &url, 1).await.remove(0);
    for handle in [None, Some(String::new()), Some("nonsense".to_string())] {
        let without = Message { receipt_handle: handle, ..message.clone() };
        is_validation(queue.delete(&url, &without).await);
        is_validation(queue.change_visibility(&url, &without, Duration::ZERO).await);
        is_validation(queue.delete_batch(&url, &[&message, &without]).await);
    }
    is_validation(queue.change_visibility(&url, &message, HIDDEN + Duration::from_secs(1)).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn batches_of_any_size_are_sent_received_and_deleted() {
    let (_appliance, queue) = started("mq-batches").await;
    let url = queue.create_queue("jobs").await.unwrap();
    let bodies: Vec<String> = (0..250).map(|index| format!("{index} {}", "é".repeat(index * 10))).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let ids = queue.send_batch(&url, &texts).await.unwrap();
    assert_eq!(queue.get_queue_depth(&url).await.unwrap(), 250);
    let messages = drain(&queue, &url, 250).await;
    let by_id: HashMap<_, _> = messages.iter().map(|message| (&message.id, message.body.as_str())).collect();
    assert_eq!(by_id.len(), 250);
    for (id, body) in ids.iter().zip(&texts) {
        assert_eq!(by_id[id], *body, "identities come in the order of the messages");
    }
    // One foreign receipt among them: the others are deleted, and the failure is told.
    let mut entries: Vec<&Message> = messages.iter().collect();
    let foreign = Message { receipt_handle: Some("nonsense".into()), ..messages[0].clone() };
    entries.insert(7, &foreign);
    let error = queue.delete_batch(&url, &entries).await.expect_err("one receipt is none");
    assert!(error.to_string().contains("1 of 251 messages were not deleted; number 7"), "{error}");
    assert!(matches!(error, CloudError::Validation(_)), "{error}");
    for message in &messages {
        is_validation(queue.change_visibility(&url, message, Duration::ZERO).await);
    }
    assert!(queue.send_batch(&url, &[]).await.unwrap().is_empty());
    queue.delete_batch(&url, &[]).await.unwrap();
    // Three that do not fit into one request together.
    let large = "y".repeat(500_000);
    queue.send_batch(&url, &[&large, &large, &large]).await.unwrap();
    let messages = drain(&queue, &url, 3).await;
    assert!(messages.iter().all(|message| message.body == large));
    queue.send_batch(&url, &["a", "b"]).await.unwrap();
    queue.purge(&url).await.unwrap();
    assert_eq!(queue.get_queue_depth(&url).await.unwrap(), 0);
    let error = queue.purge(&url).await.expect_err("once a minute");
    assert!(error.is_conflict(), "{error}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn groups_keep_their_order_and_what_was_sent_is_known_again() {
    let (_appliance, queue) = started("mq-fifo").await;
    let url = queue.create_queue("jobs.fifo").await.unwrap();
    let group = |name: &str| SendOptions::new().message_group_id(name);
    // Equal contents are different messages unless the caller says otherwise.
    let first = queue.send_with_options(&url, "same", group("a")).await.unwrap();
    let second = queue.send_with_options(&url, "same", group("a")).await.unwrap();
    assert_ne!(first, second);
    let known = SendOptions { deduplication_id: Some("once".into()), ..group("b") };
    let third = queue.send_with_options(&url, "once", known.clone()).await.unwrap();
    assert_eq!(queue.send_with_options(&url, "twice", known).await.unwrap(), third);
    let one = || ReceiveOptions::new().max_messages(1).visibility_timeout(HIDDEN);
    let message = queue.receive(&url, one()).await.unwrap().remove(0);
    assert_eq!(message.id, first);
    // The rest of the group waits for it, others do not.
    let other = queue.receive(&url, ten()).await.unwrap();
    assert_eq!(other.iter().map(|message| &message.id).collect::<Vec<_>>(), [&third]);
    queue.delete(&url, &message).await.unwrap();
    assert_eq!(drain(&queue, &url, 1).await[0].id, second);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_waiting_receive_gets_what_comes_meanwhile_and_holds_nobody_up() {
    let (_appliance, queue) = started("mq-waits").await;
    let url = queue.create_queue("jobs").await.unwrap();
    let waiting = {
        let (queue, url) = (queue.clone(), url.clone());
        tokio::spawn(async move {
            loop {
                let options = ten().wait_time(Duration::from_secs(20));
                let messages = queue.receive(&url, options).await.expect("it is answered");
                if !messages.is_empty() {
                    return messages;
                }
            }
        })
    };
    assert_eq!(queue.get_queue_depth(&url).await.unwrap(), 0);
    let id = queue.send(&url, "now").await.unwrap();
    assert_eq!(waiting.await.unwrap()[0].id, id);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_stream_gives_every_message_once() {
    let (_appliance, queue) = started("mq-stream").await;
    let url = queue.create_queue("jobs").await.unwrap();
    let bodies: Vec<String> = (0..25).map(|index| index.to_string()).collect();
    queue.send_batch(&url, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let options = ReceiveStreamOptions::new().visibility_timeout(HIDDEN).wait_time(Duration::from_secs(1));
    let mut deliveries = queue.receive_stream(&url, options);
    let mut seen = BTreeSet::new();
    while seen.len() < 25 {
        let delivery = deliveries.next().await.expect("it has no end").expect("it is answered");
        let body = delivery.hold(async { delivery.message().body.clone() }).await.expect("it is held");
        assert!(seen.insert(body), "each comes once");
        delivery.acknowledge().await.expect("it is deleted");
    }
    drop(deliveries);
    assert_eq!(queue.get_queue_depth(&url).await.unwrap(), 0);
}

/// What a call gives when it is answered so, and the bodies that it sent.
async fn answered<R>(
    answers: Vec<crate::trial::services::Answer>,
    call: impl AsyncFnOnce(ZeroQueue) -> R,
) -> (R, Vec<String>) {
    let (caller, mut incoming) = single();
    let queue = ZeroQueue::new(shared(caller).await);
    let peer = tokio::spawn(async move {
        let peer = incoming.framed().await;
        (script(peer, answers).await.expect("every answer is given"), incoming)
    });
    let outcome = call(queue).await;
    let ((_peer, bodies), _incoming) = peer.await.expect("every answer is given");
    (outcome, bodies)
}

#[tokio::test(start_paused = true)]
async fn an_ordered_message_keeps_its_identity_over_the_attempts() {
    let sent =
        Status(200, "{\"MessageId\":\"m1\",\"MD5OfMessageBody\":\"9dd4e461268c8034f5c8564e155c67a6\"}");
    let options = || SendOptions::new().message_group_id("g");
    let send = async |queue: ZeroQueue| {
        queue.send_with_options("http://h/000000000000/q.fifo", "x", options()).await
    };
    let (outcome, bodies) = answered(vec![Lost, Status(500, "{}"), sent], send).await;
    assert_eq!(outcome.expect("it is answered").as_str(), "m1");
    assert!(bodies[0].contains("\"MessageDeduplicationId\":\""), "{}", bodies[0]);
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2]);
    let receive =
        async |queue: ZeroQueue| queue.receive("http://h/000000000000/q.fifo", ReceiveOptions::new()).await;
    let (outcome, bodies) = answered(vec![Lost, Status(200, "{}")], receive).await;
    assert!(outcome.expect("it is answered").is_empty());
    assert!(bodies[0].contains("\"ReceiveRequestAttemptId\":\"") && bodies[0] == bodies[1], "{}", bodies[0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_another_digest_is_none() {
    let is_corrupt = |error: CloudError| {
        assert!(matches!(error, CloudError::Network(NetworkError::ResponseParsing(_))), "{error}");
    };
    let url = "http://h/000000000000/q";
    let wrong =
        Status(200, "{\"MessageId\":\"m1\",\"MD5OfMessageBody\":\"00000000000000000000000000000000\"}");
    let (outcome, _) = answered(vec![wrong], async |queue| queue.send(url, "x").await).await;
    is_corrupt(outcome.unwrap_err());
    let attributes = Status(
        200,
        "{\"MessageId\":\"m1\",\"MD5OfMessageBody\":\"9dd4e461268c8034f5c8564e155c67a6\",\
        \"MD5OfMessageAttributes\":\"00000000000000000000000000000000\"}",
    );
    let options = SendOptions::new().attribute("a", "b");
    let send = async |queue: ZeroQueue| queue.send_with_options(url, "x", options).await;
    let (outcome, _) = answered(vec![attributes], send).await;
    is_corrupt(outcome.unwrap_err());
    let received = Status(
        200,
        "{\"Messages\":[{\"MessageId\":\"m\",\"Body\":\"y\",\"MD5OfBody\":\"9dd4e461268c8034f5c8564e155c67a6\",\
        \"Attributes\":{\"SentTimestamp\":\"1\"}}]}",
    );
    let receive = async |queue: ZeroQueue| queue.receive(url, ReceiveOptions::new()).await;
    let (outcome, _) = answered(vec![received], receive).await;
    is_corrupt(outcome.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn entries_that_fail_through_no_fault_of_ours_are_sent_again() {
    let first = Status(
        200,
        "{\"Successful\":[{\"Id\":\"0\",\"MessageId\":\"m0\"}],\
        \"Failed\":[{\"Id\":\"1\",\"Code\":\"InternalError\",\"SenderFault\":false}]}",
    );
    let second = Status(200, "{\"Successful\":[{\"Id\":\"1\",\"MessageId\":\"m1\"}]}");
    let send = async |queue: ZeroQueue| queue.send_batch("http://h/000000000000/q", &["x", "y"]).await;
    let (outcome, bodies) = answered(vec![first, second], send).await;
    let ids: Vec<String> = outcome.expect("both are sent").iter().map(|id| id.as_str().to_string()).collect();
    assert_eq!(ids, ["m0", "m1"]);
    assert_eq!(
        bodies[1],
        "{\"QueueUrl\":\"http://h/000000000000/q\",\"Entries\":[{\"Id\":\"1\",\"MessageBody\":\"y\"}]}"
    );
    let again = Status(200, "{\"Failed\":[{\"Id\":\"1\",\"Code\":\"InternalError\",\"SenderFault\":false}]}");
    let (outcome, _) = answered(vec![first, again, again], send).await;
    let error = outcome.expect_err("it never goes well");
    assert!(error.to_string().contains("1 of 2 messages were not sent; number 1: InternalError"), "{error}");
}

/// How often a call was sent whose outcome nobody knows.
fn attempts(outcome: CloudResult<()>) -> u32 {
    let error = outcome.expect_err("nobody knows");
    assert!(error.is_retryable(), "{error}");
    error.detail().expect("it carries its facts").attempts
}

#[tokio::test(start_paused = true)]
async fn what_would_be_refused_the_second_time_is_sent_once() {
    let purge = async |queue: ZeroQueue| queue.purge("http://h/000000000000/q").await;
    let (outcome, _) = answered(vec![Lost], purge).await;
    assert_eq!(attempts(outcome), 1);
    let delete = async |queue: ZeroQueue| queue.delete_queue("http://h/000000000000/q").await;
    let (outcome, _) = answered(vec![Status(500, "{}")], delete).await;
    assert_eq!(attempts(outcome), 1);
}
