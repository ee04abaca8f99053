//! Opening a data directory: lock, FORMAT, recovery of every shard, and the decision of transactions that a crash left
//! undecided. Then each core takes its shards.
//! Invariant: nothing is served before every log's tail is on stable storage and every transaction is decided. A shard that
//! recovery refuses is not served; the others are, and what it leaves undecided stays in doubt.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::apply::insert_intents;
use crate::body::{
    Ballast, BodyReader, BulkBudget, Companion, CoreBodies, CoreBodiesParts, Files, OpenSegments, Orphans,
    PackedWriter, Pins, Reclaimer, ReclaimerParts,
};
use crate::companion::{Companions, FileThread, lock, start_fold_thread};
use crate::config::StoreConfig;
use crate::effect::{Effect, Items};
use crate::fault::Fault;
use crate::fold::{Folder, applied};
use crate::format::{DataLock, Format, OpenError};
use crate::grace;
use crate::index::Index;
use crate::log::{Checkpoint, LogConfig, LogFiles, LogWriter, Recovered, SegmentSupply, recover};
use crate::overlay::{Entry, OverlayWriter, overlay};
use crate::owner::{Message, Owner, OwnerStart, TICK_INTERVAL};
use crate::placement::Placement;
use crate::reclaim::ReclaimState;
use crate::record::{BodyRef, Record};
use crate::shared::{ShardShared, Shared};
use crate::store::{Core, CoreLogReader, Store};
use crate::tables::PREPARED;
use crate::transact::{Prepared, PreparedContent};
use crate::tx_status::{CommitCounter, TxState, TxStatus};
use crate::types::{DirectoryId, Lsn, ShardId};
use crate::view::{Direction, Overlays, View};
use crate::warm::WarmPool;

/// LMDB readers per shard: cores, companions and offline tools, four times over.
const READERS_MAX: u32 = 1_024;
/// Open body files of the process, kept for the next reader.
const OPEN_FILES_MAX: usize = 1_024;
/// A shard's map is at most this large: x86-64 has 128 TiB of address space for everything.
const MAP_BYTES_MAX: u64 = 1 << 40;

/// An open data directory whose cores have not all started.
pub struct Opened {
    shared: Arc<Shared>,
    config: StoreConfig,
    format: Format,
    seeds: Mutex<Vec<Option<Seed>>>,
    undecided: Mutex<Vec<Undecided>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    open_segments: OpenSegments,
    orphans: Orphans,
    budget: BulkBudget,
    warm: Arc<WarmPool>,
    notes: Vec<String>,
    _lock: Option<DataLock>,
}

/// What the owner of a shard starts from.
struct Seed {
    id: ShardId,
    overlay: OverlayWriter,
    prepared: HashMap<u128, Prepared>,
    log_reference_low: u64,
    recovered: Recovered,
    log_config: LogConfig,
    supply: SegmentSupply,
    mailbox: ring::Receiver<Message>,
    companions: Companions,
}

/// A transaction that a crash interrupted, decided.
struct Undecided {
    id: u128,
    commit: bool,
    holders: Vec<ShardId>,
    /// Every participant is here. A marker must outlive one that is not: it may come back with an open prepare.
    complete: bool,
}

/// A shard that recovery refused, and why.
struct Refused {
    id: ShardId,
    fault: Fault,
}

/// A shard between recovery and sharing.
struct Recovery {
    id: ShardId,
    index: Index,
    writer: OverlayWriter,
    overlays: Overlays,
    recovered: Recovered,
    log_config: LogConfig,
    log_reference_low: u64,
}

impl Opened {
    /// Locks, reads or makes, and recovers a data directory. Blocks for as long as recovery takes.
    /// `random` seeds epochs and identities; draw it from the operating system.
    pub fn open(config: StoreConfig, take_lock: bool, random: u64) -> Result<Opened, OpenError> {
        let mut random = Random(random);
        config.disk.create_dir(&config.data).map_err(|error| Fault::io("mkdir", &config.data, 0, &error))?;
        let lock = if take_lock { Some(DataLock::take(&config.data)?) } else { None };
        let format = match Format::read(&config.disk, &config.data)? {
            Some(format) => format,
            None => {
                // The directory's own name is part of the first acknowledged write.
                sync_ancestors(&config)?;
                let directory =
                    DirectoryId((u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes());
                let format = Format { directory, shard_count: config.shard_count };
                format.write(&config.disk, &config.data)?;
                format
            }
        };
        let files =
            Arc::new(Files::new(Arc::clone(&config.disk), &config.data, format.directory, OPEN_FILES_MAX));
        let recoveries = recover_shards(&config, format, &mut random)?;
        Self::assemble(config, format, files, recoveries, lock).map_err(OpenError::Fault)
    }

    fn assemble(
        config: StoreConfig,
        format: Format,
        files: Arc<Files>,
        recoveries: Vec<Result<Recovery, Refused>>,
        lock: Option<DataLock>,
    ) -> Result<Opened, Fault> {
        let mut shards = Vec::new();
        let mut rest = Vec::new();
        let mut notes = Vec::new();
        for recovery in recoveries {
            let recovery = match recovery {
                Ok(recovery) => recovery,
                Err(Refused { id, fault }) => {
                    notes.push(format!("{id} is not served: {fault}"));
                    let (sender, _) = ring::mailbox::mailbox();
                    let (_, active) = overlay(config.limits.arena_hint_bytes, 1);
                    let log = LogFiles::new(config.data.join(id.to_string()).join("log").into());
                    let overlays = Overlays { active, frozen: None };
                    shards.push(ShardShared::damaged(id, overlays, log, sender, &fault));
                    continue;
                }
            };
            if let Some(rejected) = &recovery.recovered.rejected {
                notes.push(format!(
                    "{}: the last batch did not land whole and was set aside: {rejected:?}",
                    recovery.id
                ));
            }
            if !recovery.recovered.direct {
                notes.push(format!(
                    "{}: the file system has no direct I/O; the log was read through its cache",
                    recovery.id
                ));
            }
            let (sender, mailbox) = ring::mailbox::mailbox();
            let Recovery { id, index, writer, overlays, recovered, log_config, log_reference_low } = recovery;
            let durable = recovered.tail.lsn.0;
            shards.push(ShardShared::new(id, overlays, durable, index, recovered.files.clone(), sender));
            rest.push((id, writer, recovered, log_config, log_reference_low, mailbox));
        }
        let shared = Arc::new(Shared {
            directory: format.directory,
            shards,
            commits: CommitCounter::new(),
            files,
            pins: Pins::new(),
        });
        let open_segments = OpenSegments::new();
        let orphans = Orphans::new();
        let mut found = find_prepared(&shared)?;
        let undecided = decide(&shared, &mut found);
        let mut threads = Vec::new();
        let mut seeds = Vec::new();
        for (id, mut writer, recovered, log_config, log_reference_low, mailbox) in rest {
            let supply =
                SegmentSupply::new(Arc::clone(&config.disk), log_config.clone(), &recovered, Box::new(|| ()));
            match supply.refill() {
                // A full disk still lets the shard be read; writers are told.
                Ok(()) | Err(Fault::Full) => {}
                Err(fault) => return Err(fault),
            }
            let reclaimer = Reclaimer::new(ReclaimerParts {
                files: Arc::clone(&shared.files),
                pins: shared.pins.clone(),
                open: open_segments.clone(),
                orphans: orphans.clone(),
                grace: Box::new(grace::grace_blocking),
                pause: Box::new(std::thread::sleep),
                punch_pause: crate::body::reclaim::PUNCH_PAUSE,
            });
            let companions = start_companions(&config, &shared, id, &supply, reclaimer, &mut threads)?;
            let prepared = found.remove(&id).unwrap_or_default();
            // What a damaged participant leaves undecided holds its keys until that shard is back.
            for one in prepared.values().filter(|one| one.status.state() == TxState::Pending) {
                insert_intents(&mut writer, one);
            }
            seeds.push(Some(Seed {
                id,
                overlay: writer,
                prepared,
                log_reference_low,
                recovered,
                log_config,
                supply,
                mailbox,
                companions,
            }));
        }
        let warm = WarmPool::start(&shared, &mut threads)
            .map_err(|error| Fault::io("start thread", Path::new("warm"), 0, &error))?;
        Ok(Opened {
            warm: Arc::new(warm),
            shared,
            budget: BulkBudget::new(config.bulk_bytes_in_flight),
            config,
            format,
            seeds: Mutex::new(seeds),
            undecided: Mutex::new(undecided),
            threads: Mutex::new(threads),
            open_segments,
            orphans,
            notes,
            _lock: lock,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What FORMAT says.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What an operator should know about this recovery.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Cores that can be used: never more than shards.
    #[must_use]
    pub fn core_count(&self, cores: usize) -> usize {
        cores.clamp(1, lock(&self.seeds).len())
    }

    /// Starts the shards of one core, on its reactor. Every core from 0 to `core_count` - 1 calls it once.
    /// Errors: `Fault::Io` when a directory cannot be read.
    ///
    /// # Panics
    /// When a core is started twice.
    pub fn start_core(&self, core: usize, core_count: usize, random: u64) -> Result<Store, Fault> {
        let mut random = Random(random);
        let mut owners: Vec<Option<Rc<RefCell<Owner>>>> = self.shared.shards.iter().map(|_| None).collect();
        let mut first = None;
        let mut tidied = Vec::new();
        let seed_count = lock(&self.seeds).len();
        for number in (core..seed_count).step_by(core_count) {
            let seed = lock(&self.seeds)[number].take().expect("a core is started once");
            let place = usize::from(seed.id.0);
            if first.is_none() {
                first = Some((seed.id, seed.companions.files.clone()));
            }
            tidied.push(seed.companions.clone());
            owners[place] = Some(self.start_owner(seed, &mut random)?);
        }
        let (home, files) = first.expect("core_count is at most the number of shards");
        let companion: Arc<dyn Companion> = Arc::new(files);
        let bodies = CoreBodies::open(CoreBodiesParts {
            shard: home,
            files: Arc::clone(&self.shared.files),
            open: self.open_segments.clone(),
            orphans: self.orphans.clone(),
            budget: self.budget.clone(),
            companion: Arc::clone(&companion),
            segment_bytes: self.config.extent_segment_bytes,
            nonce: random.next(),
        })?;
        // Once it is known from which segment on this run writes.
        for companions in tidied {
            companions.tidy();
        }
        let pins = self.shared.pins.core();
        let log =
            CoreLogReader { readers: self.shared.shards.iter().map(|shard| shard.log.reader()).collect() };
        let reader = BodyReader::new(Arc::clone(&self.shared.files), pins.clone(), companion, Rc::new(log));
        let hooked: Vec<_> = owners.iter().flatten().cloned().collect();
        let hook = ring::at_turn_end(move || {
            for owner in &hooked {
                owner.borrow_mut().turn();
            }
        });
        let core = Core {
            shared: Arc::clone(&self.shared),
            owners,
            placement: Placement::new(self.format.shard_count),
            limits: self.config.limits.clone(),
            bodies,
            reader,
            pins,
            random: Cell::new(random.next()),
            hops: Cell::new(0),
            warm: Arc::clone(&self.warm),
            _hook: hook,
        };
        let store = Store { core: Rc::new(core) };
        for (place, owner) in store.core.owners.iter().enumerate() {
            if let Some(owner) = owner {
                let signal = owner.borrow().outbox.clone();
                let weak = store.downgrade();
                let receivers = self.config.receivers.clone();
                ring::spawn(crate::outbox::deliver(weak, ShardId(place as u16), receivers, signal)).detach();
            }
        }
        Ok(store)
    }

    fn start_owner(&self, seed: Seed, random: &mut Random) -> Result<Rc<RefCell<Owner>>, Fault> {
        let checkpoint = seed.recovered.tail;
        let replayed_bytes = seed.recovered.payload_bytes;
        let log = LogWriter::new(
            seed.log_config,
            seed.recovered.tail,
            random.next(),
            seed.supply.clone(),
            seed.recovered.files.clone(),
        )?;
        let owner = Owner::new(OwnerStart {
            shared: Arc::clone(&self.shared),
            id: seed.id,
            limits: self.config.limits.clone(),
            overlay: seed.overlay,
            prepared: seed.prepared,
            log_reference_low: seed.log_reference_low,
            log,
            supply: seed.supply,
            companions: seed.companions,
            checkpoint,
            replayed_bytes,
            seed: random.next(),
        });
        let mut mailbox = seed.mailbox;
        let weak = Rc::downgrade(&owner);
        ring::spawn(async move {
            while let Some(message) = mailbox.recv().await {
                let Some(owner) = weak.upgrade() else { return };
                let mut owner = owner.borrow_mut();
                owner.push(message);
                while let Some(message) = mailbox.try_recv() {
                    owner.push(message);
                }
            }
        })
        .detach();
        let weak = Rc::downgrade(&owner);
        ring::spawn(async move {
            loop {
                ring::sleep(TICK_INTERVAL).await;
                let Some(owner) = weak.upgrade() else { return };
                owner.borrow_mut().tick();
            }
        })
        .detach();
        Ok(owner)
    }

    /// Carries out what was decided about transactions that a crash interrupted. One core awaits it, once, after all
    /// cores have started and before anything is served.
    pub async fn finish_recovery(&self, store: &Store) {
        let undecided = std::mem::take(&mut *lock(&self.undecided));
        for transaction in undecided {
            let Undecided { id, commit, holders, complete } = transaction;
            store.carry_out(id, commit, &holders, complete).await;
        }
    }

    /// Waits for the companions to end. Call it after every core has dropped its `Store`.
    pub fn close(self) {
        let Opened { shared, seeds, threads, warm, .. } = self;
        drop(seeds);
        drop(warm);
        drop(shared);
        for thread in threads.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            // A companion that panicked has said so on its way out.
            drop(thread.join());
        }
    }
}

/// Makes the names of the data directory and of the directories above it durable. A directory above the parent that may
/// not be read was there before us.
fn sync_ancestors(config: &StoreConfig) -> Result<(), Fault> {
    for (distance, ancestor) in config.data.ancestors().skip(1).enumerate() {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match config.disk.sync_dir(ancestor) {
            Ok(()) => {}
            Err(error) if distance == 0 => return Err(Fault::io("fsync", ancestor, 0, &error)),
            Err(_) => break,
        }
    }
    Ok(())
}

fn start_companions(
    config: &StoreConfig,
    shared: &Arc<Shared>,
    id: ShardId,
    supply: &SegmentSupply,
    reclaimer: Reclaimer,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Companions, Fault> {
    let started = |error: std::io::Error| Fault::io("start thread", Path::new("companion"), 0, &error);
    let (files, thread) = FileThread::start(format!("files-{}", id.0)).map_err(started)?;
    threads.push(thread);
    let (space, thread) = FileThread::start(format!("space-{}", id.0)).map_err(started)?;
    threads.push(thread);
    let ballast = (config.ballast_bytes > 0).then(|| Ballast::new(&shared.files, id, config.ballast_bytes));
    let gone = Arc::default();
    let folder = Folder {
        packed: PackedWriter::open(Arc::clone(&shared.files), id, config.packed_segment_bytes)?,
        log: shared.shard(id).log.reader(),
        ballast,
        scratch: Vec::new(),
        cold: None,
        gone: Arc::clone(&gone),
    };
    let (folds, thread) = start_fold_thread(format!("fold-{}", id.0), folder).map_err(started)?;
    threads.push(thread);
    Ok(Companions {
        shared: Arc::clone(shared),
        shard: id,
        files,
        space,
        folds,
        retiring: Arc::default(),
        supply: supply.clone(),
        space_low_bytes: 2 * config.ballast_bytes,
        reclaim: Arc::new(Mutex::new(ReclaimState { reclaimer, emptied: Vec::new(), forwarded: 0, gone })),
    })
}

/// Recovers all shards, each on a thread of its own: most of the time goes into reading. Errors: when none is sound.
fn recover_shards(
    config: &StoreConfig,
    format: Format,
    random: &mut Random,
) -> Result<Vec<Result<Recovery, Refused>>, OpenError> {
    // Drawn at random: a client that knew them could choose keys that make an overlay slow.
    let seeds: Vec<u64> = (0..format.shard_count).map(|_| random.next()).collect();
    let seeds = &seeds;
    let map_bytes = (config.map_bytes_total / u64::from(format.shard_count)).min(MAP_BYTES_MAX) as usize;
    let recoveries: Vec<Result<Recovery, Refused>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..format.shard_count)
            .map(|number| {
                let (id, seed) = (ShardId(number), seeds[usize::from(number)]);
                let run = move || recover_shard(config, format, id, map_bytes, seed);
                (id, scope.spawn(run))
            })
            .collect();
        threads
            .into_iter()
            .map(|(id, thread)| {
                let result =
                    thread.join().unwrap_or_else(|_| Err(Fault::corrupt("recovery panicked".into())));
                result.map_err(|fault| Refused { id, fault })
            })
            .collect()
    });
    match recoveries.iter().find(|recovery| recovery.is_ok()) {
        Some(_) => Ok(recoveries),
        // With nothing to serve the start fails, and says why.
        None => {
            let first = recoveries.into_iter().find_map(Result::err);
            Err(OpenError::Fault(first.map_or(Fault::Closed, |refused| refused.fault)))
        }
    }
}

fn recover_shard(
    config: &StoreConfig,
    format: Format,
    id: ShardId,
    map_bytes: usize,
    seed: u64,
) -> Result<Recovery, Fault> {
    let dir = config.data.join(id.to_string());
    let log_dir = dir.join("log");
    let index_dir = index_dir(config, id);
    let disk = &config.disk;
    for path in [&dir, &log_dir] {
        disk.create_dir(path).map_err(|error| Fault::io("mkdir", path, 0, &error))?;
    }
    std::fs::create_dir_all(&index_dir).map_err(|error| Fault::io("mkdir", &index_dir, 0, &error))?;
    for path in [&config.data, &dir] {
        disk.sync_dir(path).map_err(|error| Fault::io("fsync", path, 0, &error))?;
    }
    let index = Index::open(&index_dir, map_bytes, READERS_MAX)?;
    let log_config = LogConfig {
        segment_bytes: config.log_segment_bytes,
        batch_bytes_max: config.batch_bytes_max,
        ..LogConfig::new(log_dir, format.directory, id)
    };
    let from: Option<Checkpoint> = applied(&index)?;
    let (mut writer, active) = overlay(config.limits.arena_hint_bytes, seed);
    let mut log_reference_low = u64::MAX;
    let recovered = recover(disk, &log_config, from, &mut |batch| {
        replay(&mut writer, batch.lsn, batch.payload, &mut log_reference_low)
    })?;
    let overlays = Overlays { active, frozen: None };
    Ok(Recovery { id, index, writer, overlays, recovered, log_config, log_reference_low })
}

/// Where LMDB's files of a shard lie.
pub(crate) fn index_dir(config: &StoreConfig, id: ShardId) -> PathBuf {
    config.index_root.join(id.to_string()).join("index")
}

fn replay(
    writer: &mut OverlayWriter,
    lsn: Lsn,
    payload: &[u8],
    log_reference_low: &mut u64,
) -> Result<(), Fault> {
    let mut items = Items::new(payload);
    while let Some(effect) = items.next_effect()? {
        match effect {
            Effect::Put { key, record, fresh } => {
                for body in Record::decode(record)?.bodies {
                    if let BodyRef::Log { position, .. } = body {
                        *log_reference_low = (*log_reference_low).min(position.segment);
                    }
                }
                writer.insert(key, lsn, Entry::Put { value: record, fresh });
            }
            Effect::Delete { key } => writer.insert(key, lsn, Entry::Delete),
        }
    }
    Ok(())
}

type PreparedOfShards = BTreeMap<ShardId, HashMap<u128, Prepared>>;

/// Every transaction that some shard has not forgotten.
fn find_prepared(shared: &Shared) -> Result<PreparedOfShards, Fault> {
    let mut found = PreparedOfShards::new();
    for shard in shared.shards.iter().filter(|shard| shard.is_sound()) {
        let view = View::take(shard, u64::MAX)?;
        let mut scan = view.scan(PREPARED, std::ops::Bound::Unbounded, Direction::Forward);
        while let Some((key, record)) = scan.next()? {
            let id = key.try_into().map(u128::from_be_bytes);
            let id = id.map_err(|_| Fault::corrupt("a PREPARED key is not a transaction id".into()))?;
            let content = PreparedContent::decode(record.value)?;
            let prepared = Prepared {
                status: Arc::new(TxStatus::pending()),
                content,
                bodies: record.bodies,
                lsn: view.lsn(),
            };
            found.entry(shard.id).or_default().insert(id, prepared);
        }
    }
    Ok(found)
}

/// A transaction is committed if some participant has resolved it so, or all of them have prepared it.
fn decide(shared: &Shared, found: &mut PreparedOfShards) -> Vec<Undecided> {
    let mut transactions: BTreeMap<u128, Vec<ShardId>> = BTreeMap::new();
    for (shard, prepared) in found.iter() {
        for id in prepared.keys() {
            transactions.entry(*id).or_default().push(*shard);
        }
    }
    let mut decided = Vec::new();
    for (id, holders) in transactions {
        let prepared = |shard: &ShardId| found.get(shard).and_then(|of_shard| of_shard.get(&id));
        let resolved = holders.iter().filter_map(prepared).any(|prepared| prepared.content.resolved);
        let complete = holders.first().and_then(prepared).is_some_and(|one| {
            one.content.participants.iter().all(|participant| holders.contains(participant))
        });
        let missing = holders.first().and_then(prepared).is_some_and(|one| {
            one.content.participants.iter().any(|participant| !shared.shard(*participant).is_sound())
        });
        let commit = resolved || complete;
        if !commit && missing {
            // Nobody guesses: the shard that cannot be read may hold the prepare that makes it a commit.
            continue;
        }
        let status = Arc::new(TxStatus::pending());
        if commit {
            shared.commits.commit(&status);
        } else {
            status.abort();
        }
        for shard in &holders {
            if let Some(prepared) = found.get_mut(shard).and_then(|of_shard| of_shard.get_mut(&id)) {
                prepared.status = Arc::clone(&status);
            }
        }
        decided.push(Undecided { id, commit, holders, complete: !missing });
    }
    decided
}

/// SplitMix64 over a seed from the operating system.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
