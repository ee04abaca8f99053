//! The fault walk: the n-th disk operation of a fixed small workload fails, for n = 1, 2, 3 and on, with EIO, with ENOSPC
//! and as a short write; then the process is restarted or the power cut, and everything acknowledged must be there.
//!
//! `ZEROCLOUD_WALK_FIRST` and `ZEROCLOUD_WALK_LAST` set the range of n (default: a spread of 20 of the first 300),
//! `ZEROCLOUD_WALK_SEED` the seed. LMDB's own file is on the real disk and does not fail here.

mod harness;
mod rig;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use harness::{TempDir, small_config};
use rig::{Call, Delete, PATIENCE, Put, Random, TABLE, body_of, call, run, seed, value_of, within};
use store::disk::Disk as _;
use store::disk::sim::{Injection, OperationKind, SimDisk};
use store::{
    Body, BodyOwner, Fault, NewBody, OpenError, Outcome, ShardId, Store, StoreConfig, TransactFailure, Tx,
};

const WRITERS: u64 = 4;
const OPERATIONS: u64 = 20;
const SIZES: [usize; 5] = [100, 700, 6_000, 40_000, 150_000];

/// The tags that a key may show; 0 is "no record".
type Allowed = BTreeMap<(u16, Vec<u8>), Vec<u64>>;

#[derive(Default)]
struct Model {
    allowed: Allowed,
    /// Keys that a transaction wrote to both shards: the states as pairs must be equal.
    pairs: BTreeMap<Vec<u8>, Vec<u64>>,
    errors: BTreeMap<String, u64>,
    acknowledged: u64,
    next_tag: u64,
}

impl Model {
    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    fn states(&self, shard: u16, key: &[u8]) -> Vec<u64> {
        self.allowed.get(&(shard, key.to_vec())).cloned().unwrap_or_else(|| vec![0])
    }
}

fn bytes_of(tag: u64) -> Vec<u8> {
    let mut random = Random(tag);
    (0..SIZES[(tag % SIZES.len() as u64) as usize]).map(|_| random.next() as u8).collect()
}

/// What an error says about the write: whether it may have happened. Errors that say nothing are no answer at all.
fn may_have_happened(fault: &Fault) -> bool {
    match fault {
        Fault::Unknown(_) => true,
        Fault::ReadOnly(_) | Fault::Io { .. } | Fault::Full | Fault::InDoubt | Fault::Busy => false,
        // A shard whose recovery failed takes nothing at all; the others go on.
        Fault::Corrupt(why) if why.contains("refused at the start") => false,
        other => panic!("an I/O error shows as {other:?}"),
    }
}

fn name_of(fault: &Fault) -> String {
    match fault {
        Fault::Io { action, .. } => format!("io {action}"),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
    }
}

/// Notes an answer: `Ok` leaves the new state alone, a definite error the old ones, any other both.
fn note(
    model: &Rc<RefCell<Model>>,
    shard: u16,
    key: &[u8],
    before: Vec<u64>,
    after: u64,
    result: Result<(), Fault>,
) -> bool {
    let mut model = model.borrow_mut();
    let states = match &result {
        Ok(()) => vec![after],
        Err(fault) if may_have_happened(fault) => before.into_iter().chain([after]).collect(),
        Err(_) => before,
    };
    model.allowed.insert((shard, key.to_vec()), states);
    match result {
        Ok(()) => model.acknowledged += 1,
        Err(fault) => *model.errors.entry(name_of(&fault)).or_default() += 1,
    }
    true
}

async fn writer(store: Store, model: Rc<RefCell<Model>>, number: u64, mut random: Random) {
    for step in 0..OPERATIONS {
        let shard = (random.below(2)) as u16;
        let key = format!("w{number}/{}", random.below(4)).into_bytes();
        let before = model.borrow().states(shard, &key);
        let tag = model.borrow_mut().tag();
        match random.below(10) {
            0..6 => {
                // While it is on its way both states can be seen, which matters if it never answers.
                let both: Vec<u64> = before.iter().copied().chain([tag]).collect();
                model.borrow_mut().allowed.insert((shard, key.clone()), both);
                let result = put(&store, shard, &key, tag).await;
                note(&model, shard, &key, before, tag, result);
            }
            6..8 => {
                let result = store.submit(ShardId(shard), Delete(vec![key.clone()])).await;
                note(&model, shard, &key, before, 0, result);
            }
            8 => transact(&store, &model, number, tag).await,
            _ => {
                // A read must show what was acknowledged, or fail with a name.
                match body_tag(&store, shard, &key).await {
                    Ok(shown) => {
                        assert!(before.contains(&shown), "step {step}: shows {shown}, allowed {before:?}")
                    }
                    Err(fault) => {
                        *model.borrow_mut().errors.entry(format!("read {}", name_of(&fault))).or_default() +=
                            1;
                    }
                }
            }
        }
    }
}

async fn put(store: &Store, shard: u16, key: &[u8], tag: u64) -> Result<(), Fault> {
    let bytes = bytes_of(tag);
    let owner = BodyOwner { shard: ShardId(shard), table: TABLE, key: key.to_vec() };
    let mut body = store.body_writer(Some(bytes.len() as u64), owner);
    body.write(&bytes).await?;
    let body = Some(body.seal().await?);
    store
        .submit(
            ShardId(shard),
            Put { key: key.to_vec(), value: tag.to_le_bytes().to_vec(), body, fresh: false },
        )
        .await
}

async fn transact(store: &Store, model: &Rc<RefCell<Model>>, number: u64, tag: u64) {
    let key = format!("t{number}").into_bytes();
    let before = model.borrow().pairs.get(&key).cloned().unwrap_or_else(|| vec![0]);
    let part = |shard: u16| {
        let key = key.clone();
        let body = NewBody::from_bytes(bytes_of(tag * SIZES.len() as u64 + 2));
        let work = move |tx: &mut Tx<'_>| {
            tx.get(TABLE, &key)?;
            tx.put(
                TABLE,
                &key,
                &(tag * SIZES.len() as u64 + 2).to_le_bytes(),
                vec![Body::New(body.clone())],
                false,
            );
            Ok(Outcome::Commit(()))
        };
        (ShardId(shard), Call(work))
    };
    let result = store.transact(vec![part(0), part(1)]).await;
    let after = tag * SIZES.len() as u64 + 2;
    let mut model = model.borrow_mut();
    let states = match result {
        Ok(_) => {
            model.acknowledged += 1;
            vec![after]
        }
        Err(TransactFailure::Conflict) => before,
        Err(TransactFailure::Cancelled(_)) => panic!("nobody refuses"),
        Err(TransactFailure::Fault(fault)) => {
            *model.errors.entry(format!("transact {}", name_of(&fault))).or_default() += 1;
            if may_have_happened(&fault) { before.into_iter().chain([after]).collect() } else { before }
        }
    };
    model.pairs.insert(key, states);
}

async fn body_tag(store: &Store, shard: u16, key: &[u8]) -> Result<u64, Fault> {
    let Some(value) = value_of(store, ShardId(shard), key)? else { return Ok(0) };
    Ok(u64::from_le_bytes(value.try_into().expect("values are tags")))
}

async fn check(store: &Store, model: &Rc<RefCell<Model>>, what: &str) {
    let allowed = model.borrow().allowed.clone();
    for ((shard, key), states) in allowed {
        let name = String::from_utf8_lossy(&key).into_owned();
        let shown = body_tag(store, shard, &key).await.expect("a sound disk reads");
        assert!(states.contains(&shown), "{what}: {name} on {shard} shows {shown}, allowed {states:?}");
        if shown != 0 {
            let bytes = body_of(store, ShardId(shard), &key).await.expect("a sound disk reads");
            assert!(bytes == Some(bytes_of(shown)), "{what}: the body of {name} on {shard} is another");
        }
    }
    let pairs = model.borrow().pairs.clone();
    for (key, states) in pairs {
        let name = String::from_utf8_lossy(&key).into_owned();
        let shown =
            [body_tag(store, 0, &key).await.expect("reads"), body_tag(store, 1, &key).await.expect("reads")];
        assert_eq!(shown[0], shown[1], "{what}: half of {name}");
        assert!(states.contains(&shown[0]), "{what}: {name} shows {shown:?}, allowed {states:?}");
        if shown[0] != 0 {
            for shard in 0..2 {
                let bytes = body_of(store, ShardId(shard), &key).await.expect("a sound disk reads");
                assert!(
                    bytes == Some(bytes_of(shown[0])),
                    "{what}: the body of {name} on {shard} is another"
                );
            }
        }
    }
}

fn config(disk: &SimDisk, index_root: &Path) -> StoreConfig {
    let mut config = small_config(Path::new("/data"), 2);
    config.disk = Arc::new(disk.clone());
    config.index_root = index_root.to_path_buf();
    config.limits.fold_entries = 15;
    config.log_segment_bytes = 256 << 10;
    config.batch_bytes_max = 128 << 10;
    config.extent_segment_bytes = 4 << 20;
    config.packed_segment_bytes = 128 << 10;
    config.ballast_bytes = 64 << 10;
    config
}

#[derive(Default)]
struct Totals {
    runs: u64,
    acknowledged: u64,
    refused_opens: u64,
    hit: u64,
    errors: BTreeMap<String, u64>,
}

/// One run: the failure, the workload, and after a restart or a power cut the check.
fn walk(injection: Injection, random: &mut Random, totals: &mut Totals) {
    let what = format!("{injection:?}");
    let dir = TempDir::new("walk");
    let disk = SimDisk::new(random.next());
    // That the first start makes its own directory's name durable is another test's.
    disk.create_dir(Path::new("/data")).and_then(|()| disk.sync_dir(Path::new("/"))).expect("no failure yet");
    let model = Rc::new(RefCell::new(Model::default()));
    disk.inject(injection);
    let workload = random.next();
    let opened = run(config(&disk, &dir.0), 1, false, false, |store| {
        let model = Rc::clone(&model);
        let what = what.clone();
        async move {
            let ended = within(PATIENCE, {
                let store = store.clone();
                async move {
                    let mut random = Random(workload);
                    let writers: Vec<_> = (0..WRITERS)
                        .map(|number| {
                            ring::spawn(writer(
                                store.clone(),
                                Rc::clone(&model),
                                number,
                                Random(random.next()),
                            ))
                        })
                        .collect();
                    for writer in writers {
                        writer.await;
                    }
                }
            })
            .await;
            assert!(ended.is_some(), "{what}: an operation was never answered: {:?}", store.status());
        }
    });
    match opened {
        Ok(()) => {}
        Err(OpenError::Fault(Fault::Io { .. } | Fault::Full | Fault::ReadOnly(_))) => {
            totals.refused_opens += 1
        }
        Err(other) => panic!("{what}: opening failed with {other:?}"),
    }
    totals.hit += u64::from(disk.operation_count() >= injection.nth);
    let mut disk = disk;
    for restart in 0..2 {
        disk = if random.below(2) == 0 { disk.restart() } else { disk.crash(random.next()) };
        let what = format!("{what}, restart {restart}");
        let checked = run(config(&disk, &dir.0), 1, false, true, |store| {
            let model = Rc::clone(&model);
            let what = what.clone();
            async move {
                check(&store, &model, &what).await;
                // It takes writes again, and folds them.
                for shard in 0..2 {
                    let key = b"afterwards".to_vec();
                    let work = call(move |tx: &mut Tx<'_>| {
                        tx.put(TABLE, &key, b"x", Vec::new(), false);
                        Ok(Outcome::Commit(()))
                    });
                    store.submit(ShardId(shard), work).await.expect("writes go on");
                }
                let folded = within(PATIENCE, {
                    let store = store.clone();
                    async move { store.fold_all().await }
                })
                .await;
                assert!(folded.is_some(), "{what}: folding never ends");
                check(&store, &model, &format!("{what}, folded")).await;
                for status in store.status() {
                    assert_eq!(status.trouble, None, "{what}");
                }
            }
        });
        if let Err(error) = checked {
            panic!("{what}: does not open again: {error}");
        }
    }
    let model = model.borrow();
    totals.runs += 1;
    totals.acknowledged += model.acknowledged;
    for (name, count) in &model.errors {
        *totals.errors.entry(name.clone()).or_default() += count;
    }
}

#[test]
fn no_failure_of_the_disk_loses_what_was_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = seed("ZEROCLOUD_WALK_SEED");
    let range: Vec<u64> = match (number("ZEROCLOUD_WALK_FIRST"), number("ZEROCLOUD_WALK_LAST")) {
        (Some(first), Some(last)) => (first..=last).collect(),
        _ => (0..20).map(|step| 1 + step * 15 + seed % 15).collect(),
    };
    let mut totals = Totals::default();
    for nth in range {
        // The draws depend on n alone, so that one n can be run again.
        let mut random = Random(seed.wrapping_add(nth));
        let failures = [
            Injection { kind: OperationKind::Any, nth, errno: libc::EIO, short: false, sticky: false },
            Injection { kind: OperationKind::Any, nth, errno: libc::ENOSPC, short: true, sticky: false },
            Injection { kind: OperationKind::Any, nth, errno: libc::EIO, short: true, sticky: true },
        ];
        for failure in failures {
            walk(failure, &mut random, &mut totals);
        }
    }
    let Totals { runs, acknowledged, refused_opens, hit, errors } = totals;
    println!(
        "runs {runs}, failures met {hit}, acknowledged {acknowledged}, refused opens {refused_opens}, errors {errors:?}"
    );
    assert!(hit > runs / 3 && acknowledged > 0 && !errors.is_empty(), "the walk did not walk");
}
