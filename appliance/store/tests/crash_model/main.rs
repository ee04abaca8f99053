//! Random operations on the whole store over a simulated disk, power cuts and kills at random moments, recovery, and a
//! check of everything that was acknowledged or shown, again and again.
//!
//! `ZEROCLOUD_MODEL_ROUNDS=n` sets the number of crashes at least, `ZEROCLOUD_MODEL_OPERATIONS=n` that of operations,
//! `ZEROCLOUD_MODEL_SEED=n` replays a run. LMDB's own file is on the real disk: its commits are atomic, and a commit that
//! the crash cut off never began.

mod counted;
#[path = "../harness/mod.rs"]
mod harness;
mod large;
mod operations;
#[path = "../rig/mod.rs"]
mod rig;
mod room;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use harness::{TempDir, small_config};
use operations::{
    Huge, Peek, Rename, SIZES, State, TABLE, TRANSACTED, Write, WriteEverywhere, body_bytes, size_of, tag_of,
};
use rig::{Random, seed};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::Disk as _;
use store::disk::sim::{Injection, OperationKind, SimDisk};
use store::{
    BodyOwner, Fault, NewBody, OpenError, Opened, ShardId, Store, StoreConfig, TableSet, TransactFailure,
};

const WRITERS: u64 = 6;
const KEYS_PER_WRITER: u64 = 12;
/// A writer goes on after so many refusals for want of room.
const REFUSALS_MAX: u64 = 10;
/// Every run must have seen these.
const ALWAYS: [&str; 22] = [
    "abandoned body",
    "condition met",
    "condition not met",
    "counted item",
    "counted transaction",
    "counted transaction cancelled",
    "crash",
    "cut while opening",
    "delete",
    "error: io",
    "error: read-only",
    "error: unknown",
    "kill",
    "large operation",
    "large transaction",
    "look, then crash",
    "peek",
    "put",
    "read",
    "rename",
    "transaction",
    "transaction cancelled",
];
/// A run of `LONG_OPERATIONS` must have seen these too.
const IN_LONG_RUNS: [&str; 6] = [
    "counted item is held",
    "error: full",
    "error: in doubt",
    "error: too large",
    "transaction conflict",
    "transaction duel",
];
const LONG_OPERATIONS: u64 = 20_000;

#[derive(Default)]
struct Model {
    /// The acknowledged state first, then the one whose outcome is open.
    keys: BTreeMap<Vec<u8>, Vec<State>>,
    /// Written by transactions, the same on every shard.
    transacted: BTreeMap<Vec<u8>, Vec<State>>,
    counted: counted::Counted,
    large: large::Large,
    counts: BTreeMap<&'static str, u64>,
    next_tag: u64,
    /// What the bodies in extents need at the end.
    room: u64,
}

impl Model {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Operations that were answered, refusals left out.
    fn operations(&self) -> u64 {
        let crashes = ["crash", "kill", "look, then crash", "cut while opening"];
        let counted = self.counts.iter();
        counted
            .filter(|(what, _)| !what.starts_with("error") && !crashes.contains(what))
            .map(|(_, n)| n)
            .sum()
    }
}

fn writer_key(store: &Store, writer: u64, number: u64) -> Vec<u8> {
    // Two keys of a writer with the same shard exist, so that renames have somewhere to go.
    let key = format!("w{writer}/{number:03}").into_bytes();
    assert!(usize::from(store.place(&key).0) < 2);
    key
}

/// Reads a key with its body. `Err`: the store refused, which only a cut of power allows.
async fn show(store: &Store, key: &[u8]) -> Result<State, Fault> {
    let shard = store.place(key);
    let found = {
        let view = store.view(shard)?;
        match view.get(TABLE, key)? {
            None => None,
            Some(record) => {
                let body = record.bodies.first().cloned();
                Some((tag_of(record.value), body.map(|body| (store.pin(shard, &body), body))))
            }
        }
    };
    let Some((tag, body)) = found else { return Ok(None) };
    let mut bytes = Vec::new();
    if let Some((pin, body)) = body {
        let mut stream = store.read(&pin, &body, 0..u64::MAX);
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
        }
    }
    assert_eq!(
        bytes,
        body_bytes(tag),
        "the body of {} is not that of its record",
        String::from_utf8_lossy(key)
    );
    Ok(Some(tag))
}

/// Everything acknowledged or shown must be there, whole.
async fn check(store: &Store, model: &Rc<RefCell<Model>>, round: u64) {
    let keys: Vec<_> =
        model.borrow().keys.iter().map(|(key, states)| (key.clone(), states.clone())).collect();
    for (key, allowed) in keys {
        let shown = show(store, &key).await.expect("a disk without failures reads");
        let name = String::from_utf8_lossy(&key).into_owned();
        assert!(allowed.contains(&shown), "round {round}: {name} shows {shown:?}, allowed {allowed:?}");
        // What a read has shown stays.
        model.borrow_mut().keys.insert(key, vec![shown]);
    }
    for shard in store.shards() {
        let view = store.view(shard).expect("view");
        assert!(view.get(TABLE, b"huge/0").expect("reads").is_none(), "a part of what was too large");
    }
    let transacted: Vec<_> =
        model.borrow().transacted.iter().map(|(key, states)| (key.clone(), states.clone())).collect();
    for (key, allowed) in transacted {
        let views = store.view_all().expect("a cut");
        let shown: Vec<State> = store
            .shards()
            .map(|shard| {
                views.shard(shard).get(TRANSACTED, &key).expect("reads").map(|record| tag_of(record.value))
            })
            .collect();
        let name = String::from_utf8_lossy(&key).into_owned();
        assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "round {round}: half of {name}: {shown:?}");
        assert!(allowed.contains(&shown[0]), "round {round}: {name} shows {shown:?}, allowed {allowed:?}");
        drop(views);
        model.borrow_mut().transacted.insert(key, vec![shown[0]]);
    }
    counted::check(store, model, round);
    large::check(store, model, round);
}

/// One client that owns its keys. Ends with the first refusal that is not for want of room.
async fn write(store: Store, model: Rc<RefCell<Model>>, writer: u64, mut random: Random) {
    let mut refusals = 0;
    loop {
        let key = writer_key(&store, writer, random.below(KEYS_PER_WRITER));
        let Err(fault) = step(&store, &model, writer, &key, &mut random).await else { continue };
        model.borrow_mut().count(match fault {
            Fault::Unknown(_) => "error: unknown",
            Fault::ReadOnly(_) => "error: read-only",
            Fault::Io { .. } => "error: io",
            Fault::Full => "error: full",
            other => panic!("writer {writer} was refused with {other:?}"),
        });
        refusals += 1;
        if !matches!(fault, Fault::Full) || refusals == REFUSALS_MAX {
            return;
        }
        // Only a body finds the disk full, and that before its record was sent.
        assert!(model.borrow().keys.get(&key).is_none_or(|states| states.len() == 1));
    }
}

async fn step(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    writer: u64,
    key: &[u8],
    random: &mut Random,
) -> Result<(), Fault> {
    let before = model.borrow().keys.get(key).and_then(|states| states[0]);
    match random.below(100) {
        0..40 => put(store, model, key, before, random).await,
        40..50 => counted::step(store, model, writer, random).await,
        50..64 => {
            let operation = Write { key: key.to_vec(), tag: None, body: None, only_if: None };
            change(store, model, key, before, operation, "delete").await
        }
        64..72 => conditional(store, model, key, before, random).await,
        72..79 => rename(store, model, writer, key, before, random).await,
        79..85 => {
            let shown = show(store, key).await?;
            assert_eq!(shown, before, "a read of {}", String::from_utf8_lossy(key));
            model.borrow_mut().count("read");
            Ok(())
        }
        85..87 => large::step(store, model, writer, random).await,
        87..89 => peek(store, model, random).await,
        89 => match store.submit(ShardId(random.below(2) as u16), Huge).await {
            Err(Fault::TooLarge { .. }) => {
                model.borrow_mut().count("error: too large");
                Ok(())
            }
            Ok(()) => panic!("what no batch holds was taken"),
            Err(fault) => Err(fault),
        },
        90..92 => duel(store, model, writer, random).await,
        _ => transact(store, model, writer, random).await,
    }
}

/// A condition on a key that somebody's transaction may hold.
async fn peek(store: &Store, model: &Rc<RefCell<Model>>, random: &mut Random) -> Result<(), Fault> {
    let key = transacted_key(random.below(WRITERS), random);
    let peeked = store.submit(ShardId(random.below(2) as u16), Peek(key)).await;
    let what = match peeked {
        Ok(_) => "peek",
        Err(Fault::InDoubt) => "error: in doubt",
        Err(fault) => return Err(fault),
    };
    model.borrow_mut().count(what);
    Ok(())
}

fn transacted_key(writer: u64, random: &mut Random) -> Vec<u8> {
    format!("t{}/{}", writer, random.below(3)).into_bytes()
}

/// Two transactions on one key at once: one may meet the other's intents, and whatever happens is whole.
async fn duel(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    writer: u64,
    random: &mut Random,
) -> Result<(), Fault> {
    let key = transacted_key(writer, random);
    let before = model.borrow().transacted.get(&key).and_then(|states| states[0]);
    let tags = [next_tag(model, random), next_tag(model, random)];
    model.borrow_mut().transacted.insert(key.clone(), vec![before, Some(tags[0]), Some(tags[1])]);
    let duellists = tags.map(|tag| {
        let operation = WriteEverywhere { key: key.clone(), tag: Some(tag), refuse: false };
        let parts: Vec<_> = store.shards().map(|shard| (shard, operation.clone())).collect();
        let store = store.clone();
        ring::spawn(async move { store.transact(parts).await })
    });
    let mut may = Vec::new();
    let mut failure = None;
    for (duellist, tag) in duellists.into_iter().zip(tags) {
        match duellist.await {
            Ok(_) => may.push(Some(tag)),
            Err(TransactFailure::Conflict) => model.borrow_mut().count("transaction conflict"),
            Err(TransactFailure::Cancelled(_)) => panic!("nobody refuses"),
            Err(TransactFailure::Fault(fault)) => failure = Some(fault),
        }
    }
    if let Some(fault) = failure {
        return Err(fault);
    }
    if may.is_empty() {
        may.push(before);
    }
    let shown = {
        let view = store.view(ShardId(0))?;
        view.get(TRANSACTED, &key)?.map(|record| tag_of(record.value))
    };
    assert!(may.contains(&shown), "a duel over {before:?} shows {shown:?}, allowed {may:?}");
    let mut model = model.borrow_mut();
    model.transacted.insert(key, vec![shown]);
    model.count("transaction duel");
    Ok(())
}

async fn put(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    key: &[u8],
    before: State,
    random: &mut Random,
) -> Result<(), Fault> {
    let tag = next_tag(model, random);
    let shard = store.place(key);
    let mut body = store.body_writer(
        (random.below(2) == 0).then_some(size_of(tag) as u64),
        BodyOwner { shard, table: TABLE, key: key.to_vec() },
    );
    for piece in body_bytes(tag).chunks(50_000) {
        body.write(piece).await?;
    }
    let body = body.seal().await?;
    if random.below(20) == 0 {
        // A client that went away: the body is an orphan.
        model.borrow_mut().count("abandoned body");
        return Ok(());
    }
    let operation = Write { key: key.to_vec(), tag: Some(tag), body: Some(body), only_if: None };
    change(store, model, key, before, operation, "put").await
}

async fn change(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    key: &[u8],
    before: State,
    operation: Write,
    what: &'static str,
) -> Result<(), Fault> {
    let after = operation.tag;
    model.borrow_mut().keys.insert(key.to_vec(), vec![before, after]);
    assert!(store.submit(store.place(key), operation).await?);
    let mut model = model.borrow_mut();
    model.keys.insert(key.to_vec(), vec![after]);
    model.count(what);
    Ok(())
}

async fn conditional(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    key: &[u8],
    before: State,
    random: &mut Random,
) -> Result<(), Fault> {
    let tag = next_tag(model, random);
    let body = (size_of(tag) <= 32_768).then(|| NewBody::from_bytes(body_bytes(tag)));
    if body.is_none() {
        return Ok(());
    }
    let holds = random.below(2) == 0;
    let wanted = if holds { before } else { Some(u64::MAX) };
    let operation = Write { key: key.to_vec(), tag: Some(tag), body, only_if: Some(wanted) };
    if holds {
        return change(store, model, key, before, operation, "condition met").await;
    }
    assert!(!store.submit(store.place(key), operation).await?, "a condition that does not hold was met");
    model.borrow_mut().count("condition not met");
    Ok(())
}

async fn rename(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    writer: u64,
    from: &[u8],
    before: State,
    random: &mut Random,
) -> Result<(), Fault> {
    let to = writer_key(store, writer, random.below(KEYS_PER_WRITER));
    if before.is_none() || to == from || store.place(&to) != store.place(from) {
        return Ok(());
    }
    let replaced = model.borrow().keys.get(&to).and_then(|states| states[0]);
    model.borrow_mut().keys.insert(from.to_vec(), vec![before, None]);
    model.borrow_mut().keys.insert(to.clone(), vec![replaced, before]);
    store.submit(store.place(from), Rename { from: from.to_vec(), to: to.clone() }).await?;
    let mut model = model.borrow_mut();
    model.keys.insert(from.to_vec(), vec![None]);
    model.keys.insert(to, vec![before]);
    model.count("rename");
    Ok(())
}

async fn transact(
    store: &Store,
    model: &Rc<RefCell<Model>>,
    writer: u64,
    random: &mut Random,
) -> Result<(), Fault> {
    let key = transacted_key(writer, random);
    let before = model.borrow().transacted.get(&key).and_then(|states| states[0]);
    let refuse = random.below(4) == 0;
    let tag = if random.below(5) == 0 { None } else { Some(next_tag(model, random)) };
    if !refuse {
        model.borrow_mut().transacted.insert(key.clone(), vec![before, tag]);
    }
    let operation = WriteEverywhere { key: key.clone(), tag, refuse };
    let parts = store.shards().map(|shard| (shard, operation.clone())).collect();
    match store.transact(parts).await {
        Ok(_) => {
            assert!(!refuse);
            let mut model = model.borrow_mut();
            model.transacted.insert(key, vec![tag]);
            model.count("transaction");
            Ok(())
        }
        Err(TransactFailure::Cancelled(_)) => {
            assert!(refuse);
            model.borrow_mut().count("transaction cancelled");
            Ok(())
        }
        Err(TransactFailure::Conflict) => {
            // The resolution of this writer's last transaction is still under way.
            let mut model = model.borrow_mut();
            if !refuse {
                model.transacted.insert(key, vec![before]);
            }
            model.count("transaction conflict");
            Ok(())
        }
        Err(TransactFailure::Fault(fault)) => Err(fault),
    }
}

fn next_tag(model: &Rc<RefCell<Model>>, random: &mut Random) -> u64 {
    let mut model = model.borrow_mut();
    model.next_tag += 1;
    model.next_tag * SIZES.len() as u64 + random.below(SIZES.len() as u64)
}

fn config(disk: &SimDisk, index_root: &Path) -> StoreConfig {
    let mut config = small_config(Path::new("/data"), 2);
    config.disk = Arc::new(disk.clone());
    config.index_root = index_root.to_path_buf();
    config.limits.fold_entries = 60;
    config.bodyless = counted::BODYLESS;
    // Small bodies come and go, and lie in segments of their own.
    config.passing = TableSet::range(operations::TABLE, operations::TABLE);
    // A large batch fills most of a segment, so that the log rolls often and moved bodies outlive segments.
    config.log_segment_bytes = 256 << 10;
    config.batch_bytes_max = 96 << 10;
    config.limits.batch_soft_bytes = 48 << 10;
    // Nobody waits for a transaction: whoever meets one is told.
    config.limits.parked_count_max = 0;
    config
}

/// What a life of the store is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Recovery, check, work until the power is cut.
    Work,
    /// The same, and from some moment on every sync fails: the cache then holds what the disk does not.
    SyncsFail,
    /// Recovery, check, and the power goes before anything new is written.
    Look,
    /// The power goes while the store opens.
    CutWhileOpening,
    /// Recovery, check, an orderly end.
    Last,
}

/// Every kind of life comes in every run, whatever the seed. `true`: its end leaves the cache as it is.
fn life_of(round: u64) -> (Life, bool) {
    match round % 12 {
        1 | 7 => (Life::SyncsFail, true),
        3 | 9 => (Life::Work, true),
        // What a start has shown out of a cache must be there when the power goes at once.
        2 | 4 | 8 => (Life::Look, false),
        5 => (Life::CutWhileOpening, false),
        _ => (Life::Work, false),
    }
}

/// One life of the store.
fn live(
    disk: &SimDisk,
    index_root: &Path,
    model: &Rc<RefCell<Model>>,
    round: u64,
    random: &mut Random,
    life: Life,
) {
    disk.set_capacity(u64::MAX);
    if life == Life::CutWhileOpening {
        disk.cut_power_after(random.below(40));
    }
    let opened = match Opened::open(config(disk, index_root), false, random.next()) {
        Ok(opened) => opened,
        Err(OpenError::Fault(Fault::Io { .. })) if life == Life::CutWhileOpening => return,
        Err(error) => panic!("round {round}: {error}"),
    };
    if life == Life::CutWhileOpening {
        return opened.close();
    }
    let mut reactor = Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() })
        .expect("reactor");
    reactor.block_on(async {
        let store = opened.start_core(0, 1, random.next()).expect("starts");
        opened.finish_recovery(&store).await;
        check(&store, model, round).await;
        match life {
            Life::Work => {}
            Life::SyncsFail => disk.inject(Injection {
                sticky: true,
                ..Injection::eio(OperationKind::Sync, 1 + random.below(60))
            }),
            Life::Look => return disk.cut_power_after(0),
            Life::Last => return room::settle(&store, model).await,
            Life::CutWhileOpening => unreachable!("returned above"),
        }
        if random.below(8) == 0 {
            let used = u64::MAX - disk.free_bytes(Path::new("/")).expect("a sound disk");
            disk.set_capacity(used + random.below(8 << 20));
        }
        // Most lives are short, so that the crash comes near the start too; some are long enough for many folds.
        let long = if random.below(4) == 0 { 10 } else { 1 };
        disk.cut_power_after(20 + random.below(600 * long));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| ring::spawn(write(store.clone(), Rc::clone(model), writer, Random(random.next()))))
            .collect();
        for writer in writers {
            writer.await;
        }
    });
    drop(reactor);
    opened.close();
}

#[test]
fn no_crash_loses_what_was_acknowledged_or_shown() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("ZEROCLOUD_MODEL_ROUNDS").unwrap_or(36);
    let operations = number("ZEROCLOUD_MODEL_OPERATIONS").unwrap_or(0);
    let mut random = Random(seed("ZEROCLOUD_MODEL_SEED"));
    let dir = TempDir::new("crash-model");
    let model = Rc::new(RefCell::new(Model::default()));
    let mut disk = SimDisk::new(random.next());
    let mut round = 0;
    while round < rounds || model.borrow().operations() < operations {
        let (life, killed) = life_of(round);
        live(&disk, &dir.0, &model, round, &mut random, life);
        disk = if killed { disk.restart() } else { disk.crash(random.next()) };
        model.borrow_mut().count(match (life, killed) {
            (Life::Look, _) => "look, then crash",
            (Life::CutWhileOpening, _) => "cut while opening",
            (_, true) => "kill",
            (_, false) => "crash",
        });
        round += 1;
    }
    // A batch that did not land whole keeps a start from sweeping; the start after that one has none.
    for _ in 0..2 {
        live(&disk, &dir.0, &model, round, &mut random, Life::Last);
    }
    let model = model.borrow();
    let done = model.operations();
    println!("{done} operations, {round} crashes, counts: {:?}", model.counts);
    let [extents, packed, log] = ["extents", "packed", "log"].map(|kind| room::occupied(&disk, kind));
    println!("at the end extents occupy {extents} bytes, packed segments {packed}, the log {log}");
    assert_eq!(extents, model.room, "bytes in extents, and what records name there");
    let wanted = ALWAYS.iter().chain(IN_LONG_RUNS.iter().filter(|_| done >= LONG_OPERATIONS));
    for what in wanted {
        assert!(model.counts.contains_key(what), "{what} never happened");
    }
}
