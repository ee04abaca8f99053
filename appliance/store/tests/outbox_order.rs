//! The order of the outbox: messages of one shard to another one take effect in the order in which they were sent, each once,
//! whatever fails in between; a target that takes nothing holds up no other.

mod harness;
mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Random, call, run, seed, with_store};
use ring::Backend;
use store::disk::sim::SimDisk;
use store::{Direction, Fault, Operation, Outcome, Receiver, Receivers, ShardId, Store, TableId, Topic, Tx};

/// What a target took: key source | counter that rises with each, value the message's number.
const TAKEN: TableId = TableId(18);
/// How many it took, by source.
const COUNTS: TableId = TableId(19);
/// How many a source sent, by target.
const SENT: TableId = TableId(20);
const TOPIC: Topic = Topic(1);
/// The store's own tables.
const OUTBOX: u8 = 4;
const DELIVERED: u8 = 6;

/// Fails one call in so many, at random, before or after it has staged what a message does.
struct Flaky {
    draws: AtomicU64,
    /// 0: never.
    one_in: u64,
    /// Fails whatever goes to this shard.
    refuses: Option<ShardId>,
    healed: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
}

impl Flaky {
    fn fails(&self) -> bool {
        let draw = Random(self.draws.fetch_add(1, Ordering::Relaxed)).next();
        self.one_in > 0 && draw.is_multiple_of(self.one_in)
    }
}

/// What a target remembers: the last message of each source.
#[derive(Default)]
struct Last(BTreeMap<u16, u64>);

impl Receiver for Flaky {
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        if self.refuses == Some(tx.shard()) && !self.healed.load(Ordering::Relaxed) {
            return Err(Fault::Busy);
        }
        if self.fails() {
            return Err(Fault::Busy);
        }
        let source = u16::from_be_bytes([payload[0], payload[1]]);
        let message = u64::from_be_bytes(payload[2..10].try_into().expect("eight bytes"));
        let count = tx.get(COUNTS, &source.to_be_bytes())?.map_or(0, |record| number(&record.value));
        let remembered = tx.resident::<Last>().and_then(|last| last.0.get(&source).copied());
        assert!(
            remembered.is_none_or(|last| last + 1 == message),
            "the resident is not what the records say"
        );
        let key = [source.to_be_bytes().as_slice(), &count.to_be_bytes()].concat();
        tx.put(TAKEN, &key, &message.to_be_bytes(), Vec::new(), true);
        tx.put(COUNTS, &source.to_be_bytes(), &(count + 1).to_be_bytes(), Vec::new(), false);
        tx.then::<Last>(move |last, _| {
            last.0.insert(source, message);
        });
        if self.fails() {
            return Err(Fault::Busy);
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

/// Sends the next message to each of some targets, numbered for each target.
fn send(source: ShardId, targets: Vec<ShardId>, padding: usize) -> impl Operation<Reply = ()> {
    call(move |tx: &mut Tx<'_>| {
        for target in &targets {
            let count = tx.get(SENT, &target.0.to_be_bytes())?.map_or(0, |record| number(&record.value));
            tx.put(SENT, &target.0.to_be_bytes(), &(count + 1).to_be_bytes(), Vec::new(), false);
            let mut payload = source.0.to_be_bytes().to_vec();
            payload.extend_from_slice(&count.to_be_bytes());
            payload.resize(payload.len() + padding, 0);
            tx.emit(*target, TOPIC, &payload);
        }
        Ok(Outcome::Commit(()))
    })
}

/// How many messages of a source a target took; panics unless they are the first ones, in order.
fn taken_in_order(store: &Store, source: ShardId, target: ShardId) -> u64 {
    let view = store.view(target).expect("view");
    let prefix = source.0.to_be_bytes();
    let mut scan = view.scan(TAKEN, std::ops::Bound::Included(&prefix), Direction::Forward);
    let mut count = 0;
    while let Some((key, record)) = scan.next().expect("reads") {
        if !key.starts_with(&prefix) {
            break;
        }
        assert_eq!(number(record.value), count, "{source} to {target}: out of order");
        count += 1;
    }
    count
}

fn sent(store: &Store, source: ShardId, target: ShardId) -> u64 {
    let view = store.view(source).expect("view");
    view.get(SENT, &target.0.to_be_bytes()).expect("reads").map_or(0, |record| number(record.value))
}

/// Waits until the store keeps nothing of messages any more: neither they nor the notes that they were taken.
async fn nothing_is_left(store: &Store) {
    let left = || {
        let count = |table: u8| {
            let count = |shard| {
                let view = store.view(shard).expect("view");
                let mut scan = view.scan(TableId(table), std::ops::Bound::Unbounded, Direction::Forward);
                let mut count = 0;
                while scan.next().expect("reads").is_some() {
                    count += 1;
                }
                count
            };
            store.shards().map(count).sum::<u64>()
        };
        (count(OUTBOX), count(DELIVERED))
    };
    let begun = ring::now();
    while left() != (0, 0) {
        assert!(ring::now() - begun < Duration::from_secs(60), "{:?} are left", left());
        ring::sleep(Duration::from_millis(2)).await;
    }
}

async fn all_arrive(store: &Store) -> u64 {
    let begun = ring::now();
    let mut total = 0;
    for source in store.shards() {
        for target in store.shards() {
            while taken_in_order(store, source, target) < sent(store, source, target) {
                assert!(
                    ring::now() - begun < Duration::from_secs(120),
                    "{source} to {target}: nothing arrives"
                );
                ring::sleep(Duration::from_millis(2)).await;
            }
            total += sent(store, source, target);
        }
    }
    total
}

fn flaky(one_in: u64, refuses: Option<ShardId>) -> Flaky {
    Flaky { draws: AtomicU64::new(one_in), one_in, refuses, healed: Arc::default(), received: Arc::default() }
}

#[test]
fn a_delivery_that_fails_is_not_overtaken() {
    let dir = TempDir::new("outbox-order");
    let mut random = Random(seed("ZEROCLOUD_OUTBOX_ORDER_SEED"));
    let mut config = small_config(&dir.0, 3);
    config.receivers = Receivers::default().with(TOPIC, Arc::new(flaky(120, None)));
    with_store(config, Backend::Epoll, |store| async move {
        let shards: Vec<_> = store.shards().collect();
        let mut sends = Vec::new();
        for _ in 0..400 {
            let source = shards[random.below(3) as usize];
            let targets = (0..=random.below(3)).map(|_| shards[random.below(3) as usize]).collect::<Vec<_>>();
            let padding = if random.below(20) == 0 { 30_000 } else { 20 };
            let store = store.clone();
            let one = move || async move { store.submit(source, send(source, targets, padding)).await };
            sends.push(ring::spawn(one()));
            if random.below(10) == 0 {
                for one in sends.drain(..) {
                    one.await.expect("acknowledged");
                }
            }
        }
        for one in sends {
            one.await.expect("acknowledged");
        }
        println!("{} messages in order", all_arrive(&store).await);
        nothing_is_left(&store).await;
    });
}

#[test]
fn a_target_that_takes_nothing_holds_up_no_other() {
    let dir = TempDir::new("outbox-blocked");
    let mut config = small_config(&dir.0, 3);
    let receiver = flaky(0, Some(ShardId(2)));
    let healed = Arc::clone(&receiver.healed);
    config.receivers = Receivers::default().with(TOPIC, Arc::new(receiver));
    with_store(config, Backend::Epoll, |store| async move {
        let source = ShardId(0);
        for _ in 0..300 {
            let targets = vec![ShardId(2), ShardId(2), ShardId(1)];
            store.submit(source, send(source, targets, 0)).await.expect("acknowledged");
        }
        while taken_in_order(&store, source, ShardId(1)) < 300 {
            ring::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(taken_in_order(&store, source, ShardId(2)), 0);
        healed.store(true, Ordering::Relaxed);
        assert_eq!(all_arrive(&store).await, 900);
    });
}

#[test]
fn messages_of_transactions_arrive_too() {
    let dir = TempDir::new("outbox-transactions");
    let mut config = small_config(&dir.0, 2);
    let receiver = Arc::new(Unordered::default());
    config.receivers = Receivers::default().with(TOPIC, Arc::clone(&receiver) as Arc<dyn Receiver>);
    with_store(config, Backend::Epoll, |store| async move {
        const COUNT: u64 = 200;
        let tasks: Vec<_> = (0..4_u64)
            .map(|lane| {
                let store = store.clone();
                ring::spawn(async move {
                    for message in (lane..COUNT).step_by(4) {
                        let part = |from: u16| {
                            call(move |tx: &mut Tx<'_>| {
                                tx.put(SENT, &message.to_be_bytes(), &[], Vec::new(), true);
                                tx.emit(ShardId(1 - from), TOPIC, &[]);
                                Ok(Outcome::Commit(()))
                            })
                        };
                        if message % 2 == 0 {
                            let parts = vec![(ShardId(0), part(0)), (ShardId(1), part(1))];
                            store.transact(parts).await.expect("commits");
                        } else {
                            store.submit(ShardId(0), part(0)).await.expect("commits");
                            store.submit(ShardId(1), part(1)).await.expect("commits");
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let begun = ring::now();
        while receiver.0.load(Ordering::Relaxed) < 2 * COUNT {
            let arrived = receiver.0.load(Ordering::Relaxed);
            assert!(ring::now() - begun < Duration::from_secs(120), "{arrived} of {} arrive", 2 * COUNT);
            ring::sleep(Duration::from_millis(2)).await;
        }
    });
}

/// Counts what arrives.
#[derive(Default)]
struct Unordered(AtomicU64);

impl Receiver for Unordered {
    fn receive(&self, _: &mut Tx<'_>, _: &[u8]) -> Result<(), Fault> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn order_holds_over_power_cuts_and_failures() {
    const LIVES: u64 = 10;
    let mut random = Random(seed("ZEROCLOUD_OUTBOX_ORDER_SEED"));
    let dir = TempDir::new("outbox-order-cut");
    let mut disk = SimDisk::new(random.next());
    for life in 0..=LIVES {
        let mut config = small_config(Path::new("/data"), 2);
        config.disk = Arc::new(disk.clone());
        config.index_root = dir.0.clone();
        config.limits.fold_entries = 60;
        config.receivers =
            Receivers::default().with(TOPIC, Arc::new(flaky(if life % 2 == 0 { 0 } else { 25 }, None)));
        let (cut, operations) = (disk.clone(), 20 + random.below(150));
        run(config, 1, false, life == LIVES, |store| async move {
            if life == LIVES {
                println!("{} messages in order", all_arrive(&store).await);
                nothing_is_left(&store).await;
                return;
            }
            cut.cut_power_after(operations);
            let senders: Vec<_> = (0..4_u16)
                .map(|lane| {
                    let store = store.clone();
                    ring::spawn(async move {
                        let (source, target) = (ShardId(lane % 2), ShardId(lane / 2));
                        while store.submit(source, send(source, vec![target, target], 0)).await.is_ok() {}
                    })
                })
                .collect();
            for sender in senders {
                sender.await;
            }
            for source in store.shards() {
                for target in store.shards() {
                    taken_in_order(&store, source, target);
                }
            }
        })
        .expect("opens");
        disk = if random.below(3) == 0 { disk.restart() } else { disk.crash(random.next()) };
    }
}
