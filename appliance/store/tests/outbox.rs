//! The outbox and the due index: a message arrives exactly once in effect, also over a restart in between.

mod harness;

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use harness::{TempDir, small_config, with_store};
use ring::Backend;
use store::{
    Direction, Fault, Operation, Outcome, Receiver, Receivers, ShardId, Store, TableId, Timestamp, Topic, Tx,
};

const COUNTS: TableId = TableId(18);
const TOPIC: Topic = Topic(1);

/// Adds one to a counter on the target for each message.
struct Count;

impl Receiver for Count {
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let before = tx.get(COUNTS, payload)?.map_or(0, |record| number(&record.value));
        tx.put(COUNTS, payload, &(before + 1).to_le_bytes(), Vec::new(), false);
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

struct Emit {
    target: ShardId,
    payload: Vec<u8>,
}

impl Operation for Emit {
    type Reply = ();

    fn keys(&self, _: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.emit(self.target, TOPIC, &self.payload);
        Ok(Outcome::Commit(()))
    }
}

async fn wait_for(store: &Store, shard: ShardId, key: &[u8], wanted: u64) {
    loop {
        let found = {
            let view = store.view(shard).expect("view");
            view.get(COUNTS, key).expect("reads").map_or(0, |record| number(record.value))
        };
        assert!(found <= wanted, "{found} deliveries of {wanted} messages");
        if found == wanted {
            return;
        }
        ring::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[test]
fn each_message_takes_effect_once_also_when_the_store_restarts_in_between() {
    let dir = TempDir::new("outbox");
    let mut config = small_config(&dir.0, 2);
    config.receivers = Receivers::default().with(TOPIC, Arc::new(Count));
    with_store(config.clone(), Backend::Epoll, |store| async move {
        for _ in 0..50 {
            for target in store.shards() {
                store
                    .submit(ShardId(0), Emit { target, payload: b"first".to_vec() })
                    .await
                    .expect("acknowledged");
            }
        }
        for target in store.shards() {
            wait_for(&store, target, b"first", 50).await;
        }
        for _ in 0..30 {
            store
                .submit(ShardId(1), Emit { target: ShardId(0), payload: b"second".to_vec() })
                .await
                .expect("acknowledged");
        }
        // The store closes with messages in the outbox.
    });
    with_store(config, Backend::Epoll, |store| async move {
        wait_for(&store, ShardId(0), b"second", 30).await;
        for target in store.shards() {
            wait_for(&store, target, b"first", 50).await;
        }
    });
}

struct Due;

impl Operation for Due {
    type Reply = Vec<Vec<u8>>;

    fn keys(&self, _: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Vec<Vec<u8>>>, Fault> {
        tx.due(Timestamp(300), COUNTS, b"late");
        tx.due(Timestamp(100), COUNTS, b"early");
        tx.due(Timestamp(200), COUNTS, b"gone");
        tx.undue(Timestamp(200), COUNTS, b"gone");
        tx.put(COUNTS, b"a", b"", Vec::new(), true);
        let mut seen = Vec::new();
        tx.scan(COUNTS, Bound::Unbounded, Direction::Forward, 10, &mut |key, _| {
            seen.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        assert_eq!(seen, [b"a"], "an operation sees its own writes");
        let due = tx.due_until(Timestamp(250), 10)?;
        Ok(Outcome::Commit(due.into_iter().map(|(_, _, key)| key).collect()))
    }
}

#[test]
fn the_due_index_gives_what_is_due_in_order_of_time() {
    let dir = TempDir::new("due");
    with_store(small_config(&dir.0, 1), Backend::Epoll, |store| async move {
        assert_eq!(store.submit(ShardId(0), Due).await.expect("acknowledged"), vec![b"early".to_vec()]);
    });
}
