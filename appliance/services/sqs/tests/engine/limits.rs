//! How many messages may be in flight, and that loading finds them.

use bytes::Bytes;
use sqs::engine::{Counts, Refusal};
use sqs::model::limits::IN_FLIGHT_COUNT_MAX;
use sqs::model::message::{BodyPlace, Message, MessageId};
use sqs::model::queue::{Attributes, QueueId, Sequence};
use sqs::store::message::encode;
use sqs::store::state::State;
use sqs::store::{MESSAGES, STATES, message_key};
use store::{Fault, Operation, Outcome, TableId, Tx};

use crate::world::{START, World, body, fifo, grouped, id_of, ten, with_world};

/// Puts messages as if they had been sent and received.
struct InFlight {
    queue: QueueId,
    groups: Vec<String>,
}

impl Operation for InFlight {
    type Reply = ();

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for group in &self.groups {
            let sequence = Sequence::of_store(tx.next_sequence()).ok_or(Fault::Busy)?;
            let message = Message {
                id: MessageId::random(tx.random(), tx.random()),
                sent_ms: START.0,
                kept_from_ms: START.0,
                sender: "s".into(),
                group: Some(group.as_str().into()),
                deduplication: None,
                source_arn: None,
                attributes: Vec::new(),
                system: Vec::new(),
                body: BodyPlace::Inline(Bytes::from_static(b"x")),
            };
            let state = State { due_ms: START.0 + 30_000, receive_count: 1, number: 1, ..State::default() };
            let key = message_key(self.queue, sequence);
            tx.put(MESSAGES, &key, &encode(&message), Vec::new(), true);
            tx.put(STATES, &key, &state.encode(), Vec::new(), true);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Messages of one operation.
const BATCH: usize = 4_000;

async fn fill(world: &World, name: &str) {
    for first in (0..IN_FLIGHT_COUNT_MAX).step_by(BATCH) {
        let groups = (first..first + BATCH).map(|number| format!("g{number}")).collect();
        let operation = InFlight { queue: id_of(name), groups };
        world.store.submit(world.queue(name).shard, operation).await.expect("puts");
    }
    let expected = Counts { visible: 0, in_flight: IN_FLIGHT_COUNT_MAX as u64, delayed: 0 };
    assert_eq!(world.counts(name).await, expected);
}

#[test]
fn a_standard_queue_says_that_too_much_is_in_flight() {
    with_world("over", |world| async move {
        world.put("q", Attributes::default()).await;
        fill(&world, "q").await;
        world.send("q", body("one more")).await;
        let refused = world.try_receive("q", ten()).await;
        assert!(matches!(refused, Err(Refusal::OverLimit)), "{refused:?}");
    });
}

#[test]
fn a_fifo_queue_with_too_much_in_flight_gives_nothing_more() {
    with_world("over-fifo", |world| async move {
        world.put("q.fifo", fifo()).await;
        fill(&world, "q.fifo").await;
        world.send("q.fifo", grouped("another", "one more")).await;
        assert!(world.receive("q.fifo", ten()).await.is_empty());
        assert_eq!(world.counts("q.fifo").await.visible, 1);
    });
}
