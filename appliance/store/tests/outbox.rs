//! The outbox and the due index: a message arrives exactly once in effect, also over restarts and power cuts in between.

mod harness;
mod rig;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Random, run, seed, with_store};
use ring::Backend;
use store::disk::sim::SimDisk;
use store::{
    Direction, Fault, Operation, Outcome, Receiver, Receivers, ShardId, Store, TableId, Timestamp, Topic, Tx,
};

const COUNTS: TableId = TableId(18);
const NOTES: TableId = TableId(19);
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

/// Emits a message and notes on the source that it did.
struct EmitAndNote {
    target: ShardId,
    payload: Vec<u8>,
}

impl Operation for EmitAndNote {
    type Reply = ();

    fn keys(&self, _: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.put(NOTES, &self.payload, b"sent", Vec::new(), true);
        tx.emit(self.target, TOPIC, &self.payload);
        Ok(Outcome::Commit(()))
    }
}

/// Of a message: whether its source says that it was sent, and how often its target took it.
fn state_of(store: &Store, message: u64) -> (bool, u64) {
    let (source, target) = route(message);
    let payload = message.to_be_bytes();
    let taken = {
        let view = store.view(target).expect("view");
        view.get(COUNTS, &payload).expect("reads").map_or(0, |record| number(record.value))
    };
    let view = store.view(source).expect("view");
    (view.get(NOTES, &payload).expect("reads").is_some(), taken)
}

fn route(message: u64) -> (ShardId, ShardId) {
    let source = (message % 2) as u16;
    (ShardId(source), ShardId(if message % 6 < 4 { 1 - source } else { source }))
}

/// Emits until the first refusal. `messages`: whether each was acknowledged.
async fn emit(store: Store, messages: Rc<RefCell<BTreeMap<u64, bool>>>) {
    loop {
        let message = {
            let mut messages = messages.borrow_mut();
            let next = messages.len() as u64;
            messages.insert(next, false);
            next
        };
        let (source, target) = route(message);
        let operation = EmitAndNote { target, payload: message.to_be_bytes().to_vec() };
        if store.submit(source, operation).await.is_err() {
            return;
        }
        messages.borrow_mut().insert(message, true);
    }
}

#[test]
fn a_power_cut_while_messages_move_loses_none_and_doubles_none() {
    const LIVES: u64 = 12;
    const EMITTERS: u64 = 4;
    let mut random = Random(seed("ZEROCLOUD_OUTBOX_SEED"));
    let dir = TempDir::new("outbox-cut");
    let messages: Rc<RefCell<BTreeMap<u64, bool>>> = Rc::default();
    let mut disk = SimDisk::new(random.next());
    for life in 0..=LIVES {
        let mut config = small_config(Path::new("/data"), 2);
        config.disk = Arc::new(disk.clone());
        config.index_root = dir.0.clone();
        config.limits.fold_entries = 60;
        config.receivers = Receivers::default().with(TOPIC, Arc::new(Count));
        let (messages, cut) = (Rc::clone(&messages), disk.clone());
        let operations = 10 + random.below(150);
        run(config, 1, false, life == LIVES, |store| async move {
            let known: Vec<(u64, bool)> = messages.borrow().iter().map(|(m, acked)| (*m, *acked)).collect();
            for (message, acknowledged) in &known {
                let (sent, taken) = state_of(&store, *message);
                assert!(sent || !acknowledged, "life {life}: message {message} was acknowledged and is gone");
                assert!(taken <= u64::from(sent), "life {life}: message {message} was taken {taken} times");
            }
            if life < LIVES {
                cut.cut_power_after(operations);
                let emitters: Vec<_> =
                    (0..EMITTERS).map(|_| ring::spawn(emit(store.clone(), Rc::clone(&messages)))).collect();
                for emitter in emitters {
                    emitter.await;
                }
                return;
            }
            let begun = ring::now();
            for (message, _) in &known {
                loop {
                    let (sent, taken) = state_of(&store, *message);
                    assert!(taken <= u64::from(sent), "message {message} was taken {taken} times");
                    if taken == u64::from(sent) {
                        break;
                    }
                    assert!(
                        ring::now() - begun < Duration::from_secs(120),
                        "message {message} never arrives"
                    );
                    ring::sleep(Duration::from_millis(2)).await;
                }
            }
            let acknowledged = known.iter().filter(|(_, acked)| *acked).count();
            println!("{} messages, {acknowledged} acknowledged", known.len());
            assert!(acknowledged > 20, "hardly anything was emitted");
        })
        .expect("opens");
        disk = if random.below(3) == 0 { disk.restart() } else { disk.crash(random.next()) };
    }
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
