//! Random operations on the whole store over a simulated disk, power cuts and kills at random moments, recovery, and a
//! check of everything that was acknowledged or shown, again and again.
//!
//! `ZEROCLOUD_MODEL_ROUNDS=n` sets the number of crashes, `ZEROCLOUD_MODEL_SEED=n` replays a run. LMDB's own file is on the
//! real disk: its commits are atomic, and a commit that the crash cut off never began.

mod harness;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use harness::{TempDir, small_config};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::sim::SimDisk;
use store::{
    Body, BodyOwner, Fault, NewBody, Opened, Operation, Outcome, ShardId, Store, StoreConfig, TableId,
    TransactFailure, Tx,
};

const TABLE: TableId = TableId(16);
const TRANSACTED: TableId = TableId(17);
const WRITERS: u64 = 6;
const KEYS_PER_WRITER: u64 = 12;
const SIZES: [usize; 8] = [0, 10, 512, 600, 5_000, 32_769, 70_000, 300_000];

/// SplitMix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What a key may show: a tag, or nothing.
type State = Option<u64>;

#[derive(Default)]
struct Model {
    /// The acknowledged state first, then the one whose outcome is open.
    keys: BTreeMap<Vec<u8>, Vec<State>>,
    /// Written by transactions, the same on every shard.
    transacted: BTreeMap<Vec<u8>, Vec<State>>,
    counts: BTreeMap<&'static str, u64>,
    next_tag: u64,
}

impl Model {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

fn size_of(tag: u64) -> usize {
    SIZES[(tag % SIZES.len() as u64) as usize]
}

fn body_bytes(tag: u64) -> Vec<u8> {
    let mut random = Random(tag);
    let mut bytes = Vec::with_capacity(size_of(tag) + 8);
    while bytes.len() < size_of(tag) {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(size_of(tag));
    bytes
}

struct Write {
    key: Vec<u8>,
    tag: State,
    body: Option<NewBody>,
    /// Only if the key holds this.
    only_if: Option<State>,
}

impl Operation for Write {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        if let Some(wanted) = self.only_if {
            let found = tx.get(TABLE, &self.key)?.map(|record| tag_of(&record.value));
            if found != wanted {
                return Ok(Outcome::Rollback(false));
            }
        }
        match self.tag {
            Some(tag) => {
                let bodies = self.body.iter().cloned().map(Body::New).collect();
                tx.put(TABLE, &self.key, &tag.to_le_bytes(), bodies, false);
            }
            None => tx.delete(TABLE, &self.key),
        }
        Ok(Outcome::Commit(true))
    }
}

/// Moves the record to another key of the same shard, body and all.
struct Rename {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Operation for Rename {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.from);
        declare(TABLE, &self.to);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let record = tx.get(TABLE, &self.from)?.expect("the model says that it is there");
        let bodies = record.bodies.into_iter().map(Body::Kept).collect();
        tx.delete(TABLE, &self.from);
        tx.put(TABLE, &self.to, &record.value, bodies, false);
        Ok(Outcome::Commit(()))
    }
}

#[derive(Clone)]
struct WriteEverywhere {
    key: Vec<u8>,
    tag: State,
    refuse: bool,
}

impl Operation for WriteEverywhere {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TRANSACTED, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.get(TRANSACTED, &self.key)?;
        if self.refuse && tx.shard() == ShardId(1) {
            return Ok(Outcome::Rollback(()));
        }
        match self.tag {
            Some(tag) => {
                let body = NewBody::from_bytes(body_bytes(tag * SIZES.len() as u64 + 3));
                tx.put(TRANSACTED, &self.key, &tag.to_le_bytes(), vec![Body::New(body)], false);
            }
            None => tx.delete(TRANSACTED, &self.key),
        }
        Ok(Outcome::Commit(()))
    }
}

fn tag_of(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("values are tags"))
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
}

/// One client that owns its keys. Ends with the first refusal.
async fn write(store: Store, model: Rc<RefCell<Model>>, writer: u64, mut random: Random) {
    loop {
        let key = writer_key(&store, writer, random.below(KEYS_PER_WRITER));
        let before = model.borrow().keys.get(&key).and_then(|states| states[0]);
        let result = match random.below(100) {
            0..55 => put(&store, &model, &key, before, &mut random).await,
            55..70 => {
                change(
                    &store,
                    &model,
                    &key,
                    before,
                    Write { key: key.clone(), tag: None, body: None, only_if: None },
                    "delete",
                )
                .await
            }
            70..78 => conditional(&store, &model, &key, before, &mut random).await,
            78..84 => rename(&store, &model, writer, &key, before, &mut random).await,
            84..92 => match show(&store, &key).await {
                Ok(shown) => {
                    assert_eq!(shown, before, "a read of {}", String::from_utf8_lossy(&key));
                    model.borrow_mut().count("read");
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
            _ => transact(&store, &model, writer, &mut random).await,
        };
        if let Err(fault) = result {
            model.borrow_mut().count(match fault {
                Fault::Unknown(_) => "error: unknown",
                Fault::ReadOnly(_) => "error: read-only",
                Fault::Io { .. } => "error: io",
                Fault::Busy => "error: busy",
                _ => "error: other",
            });
            return;
        }
    }
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
    let key = format!("t{}/{}", writer, random.below(3)).into_bytes();
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
    config
}

/// One life of the store: recovery, check, work until the power is cut or the process is killed.
fn live(
    disk: &SimDisk,
    index_root: &Path,
    model: &Rc<RefCell<Model>>,
    round: u64,
    random: &mut Random,
    last: bool,
) {
    let opened = Opened::open(config(disk, index_root), false, random.next()).unwrap_or_else(|error| {
        panic!("round {round}: {error}");
    });
    let mut reactor = Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() })
        .expect("reactor");
    reactor.block_on(async {
        let store = opened.start_core(0, 1, random.next()).expect("starts");
        opened.finish_recovery(&store).await;
        check(&store, model, round).await;
        if last {
            store.drain().await;
            return;
        }
        disk.cut_power_after(20 + random.below(600));
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
    let rounds = number("ZEROCLOUD_MODEL_ROUNDS").unwrap_or(40);
    let seed = number("ZEROCLOUD_MODEL_SEED").unwrap_or_else(|| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(0_u8)
    });
    println!("replay with ZEROCLOUD_MODEL_SEED={seed} ZEROCLOUD_MODEL_ROUNDS={rounds}");
    let dir = TempDir::new("crash-model");
    let mut random = Random(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let mut disk = SimDisk::new(random.next());
    for round in 0..=rounds {
        live(&disk, &dir.0, &model, round, &mut random, round == rounds);
        disk = if random.below(3) == 0 { disk.restart() } else { disk.crash(random.next()) };
    }
    let model = model.borrow();
    println!("counts: {:?}", model.counts);
    for what in [
        "put",
        "delete",
        "condition met",
        "condition not met",
        "rename",
        "read",
        "transaction",
        "transaction cancelled",
        "abandoned body",
    ] {
        assert!(model.counts.get(what).is_some_and(|count| *count > 0), "{what} never happened");
    }
}
