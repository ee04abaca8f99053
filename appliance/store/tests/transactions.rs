//! Transactions over shards on few keys, against single-shard writers on the same keys, readers of cuts, folds all the time,
//! and a restart at the end: all or nothing, nothing lost, nothing twice. On one core with two shards and on two cores.
//!
//! `ZEROCLOUD_TRANSACTIONS_OPERATIONS=n` sets the number of operations, `ZEROCLOUD_TRANSACTIONS_SEED=n` the seed.

mod harness;
mod rig;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{Call, Random, TABLE, body_of, call, run, seed, value_of};
use store::{Body, Fault, NewBody, Outcome, ShardId, Store, TransactFailure, Tx};

/// Every key exists on both shards. The value: pair counter, single counter, both little-endian.
const KEYS: u64 = 3;
const TRANSACTORS: u64 = 8;
const SINGLES: u64 = 6;
/// Operations of a short run.
const OPERATIONS: u64 = 2_000;
const FOLDS_MIN: u64 = 4;
/// Far beyond what a run takes: one that lasts longer hangs.
const PATIENCE: Duration = Duration::from_secs(1_500);

fn key(number: u64) -> Vec<u8> {
    format!("k{number}").into_bytes()
}

fn decode(value: &[u8]) -> (u64, u64) {
    let (pair, single) = value.split_at(8);
    (
        u64::from_le_bytes(pair.try_into().expect("8 bytes")),
        u64::from_le_bytes(single.try_into().expect("8 bytes")),
    )
}

fn encode((pair, single): (u64, u64)) -> Vec<u8> {
    [pair.to_le_bytes(), single.to_le_bytes()].concat()
}

/// The body that goes with a counter: small ones inline, larger ones in the log.
fn body(pair: u64) -> Vec<u8> {
    vec![pair as u8; [20, 900, 3000][(pair % 3) as usize]]
}

type Part = Box<dyn FnMut(&mut Tx<'_>) -> Result<Outcome<u64>, Fault> + Send>;

/// Adds one to the pair counters of two keys.
fn add_pair(first: u64, second: u64, refuse: bool) -> Part {
    Box::new(move |tx| {
        for number in [first, second] {
            let found = tx.get(TABLE, &key(number))?;
            let (pair, single) = found.map_or((0, 0), |record| decode(&record.value));
            let new = Body::New(NewBody::from_bytes(body(pair + 1)));
            tx.put(TABLE, &key(number), &encode((pair + 1, single)), vec![new], false);
        }
        Ok(if refuse { Outcome::Rollback(0) } else { Outcome::Commit(0) })
    })
}

#[derive(Default)]
struct Counts {
    committed: BTreeMap<u64, u64>,
    added: BTreeMap<(u16, u64), u64>,
    conflicts: u64,
    cancelled: u64,
    in_doubt: u64,
    cuts: u64,
}

impl Counts {
    fn pairs(&self) -> u64 {
        self.committed.values().sum::<u64>() / 2
    }

    fn singles(&self) -> u64 {
        self.added.values().sum()
    }

    /// The run is long enough and has met each operation and each refusal.
    fn suffice(&self, operations: u64) -> bool {
        let kinds = [self.pairs(), self.singles(), self.conflicts, self.cancelled, self.in_doubt, self.cuts];
        let done = self.pairs() + self.singles() + self.conflicts + self.cancelled + self.in_doubt;
        done >= operations && kinds.iter().all(|count| *count > 20)
    }
}

/// As a client would, so that a run is not made of refusals.
async fn step_aside(random: &mut Random) {
    ring::sleep(Duration::from_micros(200 + random.below(2_000))).await;
}

async fn transactor(store: Store, counts: Rc<RefCell<Counts>>, mut random: Random, stop: Rc<Cell<bool>>) {
    while !stop.get() {
        let (first, second) = (random.below(KEYS), KEYS + random.below(KEYS));
        let refuse = random.below(8) == 0;
        let parts = vec![
            (ShardId(0), Call(add_pair(first, second, false))),
            (ShardId(1), Call(add_pair(first, second, refuse))),
        ];
        match store.transact(parts).await {
            Ok(_) => {
                assert!(!refuse);
                let mut counts = counts.borrow_mut();
                *counts.committed.entry(first).or_default() += 1;
                *counts.committed.entry(second).or_default() += 1;
            }
            Err(TransactFailure::Conflict) => {
                counts.borrow_mut().conflicts += 1;
                step_aside(&mut random).await;
            }
            Err(TransactFailure::Cancelled(_)) => {
                assert!(refuse);
                counts.borrow_mut().cancelled += 1;
            }
            Err(TransactFailure::Fault(fault)) => panic!("{fault}"),
        }
        if random.below(4) == 0 {
            ring::sleep(Duration::from_micros(random.below(500))).await;
        }
    }
}

async fn single(store: Store, counts: Rc<RefCell<Counts>>, mut random: Random, stop: Rc<Cell<bool>>) {
    while !stop.get() {
        let (shard, number) = (random.below(2) as u16, random.below(2 * KEYS));
        let add = call(move |tx: &mut Tx<'_>| {
            let record = tx.get(TABLE, &key(number))?.unwrap_or_default();
            let (pair, single) = if record.value.is_empty() { (0, 0) } else { decode(&record.value) };
            // The body stays where it is: in the log, packed, or inline.
            let kept = record.bodies.into_iter().map(Body::Kept).collect();
            tx.put(TABLE, &key(number), &encode((pair, single + 1)), kept, false);
            Ok(Outcome::Commit(()))
        });
        match store.submit(ShardId(shard), add).await {
            Ok(()) => *counts.borrow_mut().added.entry((shard, number)).or_default() += 1,
            Err(Fault::InDoubt) => {
                counts.borrow_mut().in_doubt += 1;
                step_aside(&mut random).await;
            }
            Err(fault) => panic!("{fault}"),
        }
    }
}

/// Looks at all keys of a cut: the pair counters of both shards are equal, and in sum as many on the low as on the high keys.
fn look(store: &Store) -> bool {
    let views = match store.view_all() {
        Ok(views) => views,
        Err(Fault::InDoubt) => return false,
        Err(fault) => panic!("{fault}"),
    };
    let mut sums = [0, 0];
    for number in 0..2 * KEYS {
        let pairs: Vec<u64> = (0..2)
            .map(|shard| {
                let found = views.shard(ShardId(shard)).get(TABLE, &key(number)).expect("reads");
                found.map_or(0, |record| decode(record.value).0)
            })
            .collect();
        assert_eq!(pairs[0], pairs[1], "half a transaction on {number}");
        sums[usize::from(number >= KEYS)] += pairs[0];
    }
    assert_eq!(sums[0], sums[1], "half a transaction within the shards");
    drop(views);
    // One shard alone: a transaction's keys there belong together too.
    for shard in 0..2 {
        let view = store.view(ShardId(shard)).expect("view");
        let mut sums = [0, 0];
        for number in 0..2 * KEYS {
            let found = view.get(TABLE, &key(number)).expect("reads");
            sums[usize::from(number >= KEYS)] += found.map_or(0, |record| decode(record.value).0);
        }
        assert_eq!(sums[0], sums[1], "half a transaction on shard {shard} alone");
    }
    true
}

async fn check(store: &Store, counts: &Counts, when: &str) {
    for number in 0..2 * KEYS {
        for shard in 0..2 {
            let value = value_of(store, ShardId(shard), &key(number)).expect("reads");
            let (pair, single) = value.map_or((0, 0), |value| decode(&value));
            assert_eq!(
                pair,
                counts.committed.get(&number).copied().unwrap_or(0),
                "{when}: pairs of {number} on {shard}"
            );
            assert_eq!(
                single,
                counts.added.get(&(shard, number)).copied().unwrap_or(0),
                "{when}: singles of {number} on {shard}"
            );
            let bytes = body_of(store, ShardId(shard), &key(number)).await.expect("the body is readable");
            if pair > 0 {
                assert!(bytes == Some(body(pair)), "{when}: the body of {number} on {shard} is another");
            }
        }
    }
}

fn contend(cores: usize) {
    let seed = seed("ZEROCLOUD_TRANSACTIONS_SEED");
    let operations =
        std::env::var("ZEROCLOUD_TRANSACTIONS_OPERATIONS").ok().and_then(|text| text.parse().ok());
    let operations = operations.unwrap_or(OPERATIONS);
    let dir = TempDir::new("contend");
    let mut config = small_config(&dir.0, 2);
    config.limits.fold_entries = 40;
    // So that some writers are told "in doubt" instead of waiting for the resolution.
    config.limits.parked_count_max = 1;
    let counts = run(config.clone(), cores, true, true, |store| {
        async move {
            let counts = Rc::new(RefCell::new(Counts::default()));
            let stop = Rc::new(Cell::new(false));
            let mut random = Random(seed);
            let mut tasks = Vec::new();
            for _ in 0..TRANSACTORS {
                let random = Random(random.next());
                tasks.push(ring::spawn(transactor(
                    store.clone(),
                    Rc::clone(&counts),
                    random,
                    Rc::clone(&stop),
                )));
            }
            for _ in 0..SINGLES {
                let random = Random(random.next());
                tasks.push(ring::spawn(single(store.clone(), Rc::clone(&counts), random, Rc::clone(&stop))));
            }
            let begun = ring::now();
            let folded = || store.status().iter().all(|status| status.folds >= FOLDS_MIN);
            while !counts.borrow().suffice(operations) || !folded() {
                assert!(ring::now() - begun < PATIENCE, "the run stands still: {:?}", store.status());
                counts.borrow_mut().cuts += u64::from(look(&store));
                ring::sleep(Duration::from_micros(300)).await;
            }
            stop.set(true);
            for task in tasks {
                task.await;
            }
            // The last resolutions are still under way; a look needs none.
            assert!(look(&store));
            let counts = counts.take();
            check(&store, &counts, "at the end").await;
            for status in store.status() {
                assert_eq!(status.trouble, None);
            }
            counts
        }
    })
    .expect("opens");
    println!(
        "{cores} cores: {} committed, {} conflicts, {} cancelled, {} singles, {} in doubt, {} cuts",
        counts.pairs(),
        counts.conflicts,
        counts.cancelled,
        counts.singles(),
        counts.in_doubt,
        counts.cuts
    );
    run(config, cores, true, true, |store| async move { check(&store, &counts, "after a restart").await })
        .expect("opens again");
}

#[test]
fn transactions_and_single_writes_lose_nothing_on_one_core() {
    contend(1);
}

#[test]
fn transactions_and_single_writes_lose_nothing_on_two_cores() {
    contend(2);
}
