//! How many messages a second the outbox carries from one shard to others, durably on both ends, and how long one takes that
//! is alone.
//!
//! `cargo bench -p zerocloud-store --bench outbox -- [messages] [rounds]`

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ring::{Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{
    Fault, Opened, Operation, Outcome, Receiver, Receivers, ShardId, Store, StoreConfig, TableId, Topic, Tx,
};

const TABLE: TableId = TableId(16);
const TOPIC: Topic = Topic(1);
const SHARD_COUNT: u16 = 4;
const SENDERS: u64 = 64;
const PAYLOAD_BYTES: usize = 256;
const ALONE_COUNT: u32 = 100;

/// Stores each message.
struct Keep(Arc<AtomicU64>);

impl Receiver for Keep {
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let key = tx.next_sequence().to_be_bytes();
        tx.put(TABLE, &key, payload, Vec::new(), true);
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Emit(ShardId);

impl Operation for Emit {
    type Reply = ();

    fn keys(&self, _: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.emit(self.0, TOPIC, &[7; PAYLOAD_BYTES]);
        Ok(Outcome::Commit(()))
    }
}

async fn until(received: &AtomicU64, count: u64) {
    while received.load(Ordering::Relaxed) < count {
        ring::sleep(Duration::from_micros(200)).await;
    }
}

/// Messages a second, from the first send until the last one has been taken.
async fn burst(store: &Store, received: &AtomicU64, messages: u64) -> f64 {
    let before = received.load(Ordering::Relaxed);
    let next = Rc::new(Cell::new(0));
    let begun = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (store, next) = (store.clone(), Rc::clone(&next));
            ring::spawn(async move {
                while next.get() < messages {
                    let target =
                        ShardId(1 + (next.replace(next.get() + 1) % u64::from(SHARD_COUNT - 1)) as u16);
                    store.submit(ShardId(0), Emit(target)).await.expect("acknowledged");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await;
    }
    until(received, before + messages).await;
    messages as f64 / begun.elapsed().as_secs_f64()
}

/// Microseconds from the acknowledgement of a message to its arrival, at the median, with nothing else to do.
async fn alone(store: &Store, received: &AtomicU64) -> u128 {
    let mut took = Vec::new();
    for _ in 0..ALONE_COUNT {
        let before = received.load(Ordering::Relaxed);
        store.submit(ShardId(0), Emit(ShardId(1))).await.expect("acknowledged");
        let begun = Instant::now();
        until(received, before + 1).await;
        took.push(begun.elapsed().as_micros());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (messages, rounds) = (number(20_000), number(3));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("outbox-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("directory");
    let received = Arc::new(AtomicU64::new(0));
    let mut config = StoreConfig::new(dir.join("data"), SHARD_COUNT, Arc::new(RealDisk));
    config.map_bytes_total = 8 << 30;
    config.receivers = Receivers::default().with(TOPIC, Arc::new(Keep(Arc::clone(&received))));
    let opened = Opened::open(config, true, 42).expect("opens");
    let mut reactor = Reactor::new(&ReactorConfig::default()).expect("reactor");
    reactor.block_on(async {
        let store = opened.start_core(0, 1, 7).expect("starts");
        for _ in 0..rounds {
            let rate = burst(&store, &received, messages).await;
            let alone_us = alone(&store, &received).await;
            println!("{rate:.0} messages/s; alone {alone_us} us after the acknowledgement");
        }
        store.drain().await;
    });
    drop(reactor);
    opened.close();
    std::fs::remove_dir_all(&dir).expect("removed");
}
