//! Opening a data directory: lock, FORMAT, recovery of every shard. Then each core takes its shards.
//! Leaves to recovery.rs: what a log's tail becomes, and the decision of transactions that a crash left open.
//! Invariant: nothing is served before every log's tail is on stable storage and every transaction is decided. A shard that
//! recovery refuses is not served; the others are, and what it leaves undecided stays in doubt.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::apply::insert_intents;
use crate::body::{
    Ballast, BodyReader, BulkBudget, Companion, CoreBodies, CoreBodiesParts, Files, OpenSegments, Orphans,
    PackedWriter, Pins, Reclaimer, ReclaimerParts,
};
use crate::clock::StepWatch;
use crate::companion::{Companions, FileThread, lock, start_fold_thread};
use crate::config::StoreConfig;
use crate::disk::sync_file_system;
use crate::fault::Fault;
use crate::fold::Folder;
use crate::format::{DataLock, Format, OpenError};
use crate::grace;
use crate::kept::Kept;
use crate::log::{LogConfig, LogFiles, LogWriter, Recovered, SegmentSupply};
use crate::message::Message;
use crate::overlay::{OverlayWriter, overlay};
use crate::owner::{Owner, OwnerStart, TICK_INTERVAL};
use crate::placement::Placement;
use crate::reclaim::{Forwarded, ReclaimState};
use crate::recovery::{Recovery, Refused, Undecided, decide, find_prepared, recover_shards};
use crate::shared::{ShardShared, Shared, TableKinds};
use crate::store::{Core, CoreLogReader, Store};
use crate::sweep::{Named, read_marks};
use crate::transact::Prepared;
use crate::tx_status::{CommitCounter, TxState};
use crate::types::{DirectoryId, ShardId};
use crate::view::Overlays;
use crate::warm::WarmPool;

/// Open body files of the process, kept for the next reader.
const OPEN_FILES_MAX: usize = 1_024;

/// An open data directory whose cores have not all started.
pub struct Opened {
    shared: Arc<Shared>,
    config: StoreConfig,
    format: Format,
    /// The shards that are served, into whose directories cores write bodies, with their file threads.
    homes: Vec<(ShardId, FileThread)>,
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
    /// What records name in segments that no sweep has seen; nothing if that is not known.
    named: Option<Arc<Named>>,
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
        let marks = read_marks(&files, format.shard_count);
        let recoveries = recover_shards(&config, format, &marks, &mut random)?;
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
        let mut named = Vec::new();
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
            let Recovery { id, index, writer, overlays, recovered, log_config, log_reference_low, .. } =
                recovery;
            named.push(recovery.named);
            let durable = recovered.tail.lsn.0;
            let files = recovered.files.clone();
            let kinds = TableKinds { bodyless: config.bodyless, passing: config.passing };
            let shard = ShardShared::new(id, overlays, durable, index, files, kinds, sender);
            shard.counts.applied_lsn.store(recovery.applied.0, Ordering::Relaxed);
            shards.push(shard);
            rest.push((id, writer, recovered, log_config, log_reference_low, mailbox));
        }
        let kept = Arc::new(Kept::new(shards.len()));
        let shared = Arc::new(Shared {
            kept,
            directory: format.directory,
            shards,
            commits: CommitCounter::new(),
            files,
            pins: Pins::new(),
            closing: AtomicBool::new(false),
            copying_is_over: AtomicBool::new(false),
            clock_steps: StepWatch::new(),
        });
        let open_segments = OpenSegments::new();
        let orphans = Orphans::new();
        let mut found = find_prepared(&shared);
        let undecided = decide(&shared, &mut found);
        // What a shard names that cannot be read is not known, so nothing may be taken for nobody's.
        let all_sound = shared.shards.iter().all(ShardShared::is_sound);
        let named = if all_sound { Named::join(named).map(Arc::new) } else { None };
        let mut threads = Vec::new();
        let mut seeds = Vec::new();
        let mut homes = Vec::new();
        for (id, mut writer, recovered, log_config, log_reference_low, mailbox) in rest {
            let supply = {
                let (disk, room) = (Arc::clone(&config.disk), Arc::clone(shared.files.room()));
                SegmentSupply::new(disk, log_config.clone(), room, &recovered, Box::new(|| ()))
            };
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
                is_closing: Box::new({
                    let shared = Arc::clone(&shared);
                    move || shared.is_closing()
                }),
            });
            let companions = start_companions(&config, &shared, id, &supply, reclaimer, &mut threads)?;
            homes.push((id, companions.files.clone()));
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
                named: named.clone(),
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
            homes,
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

    /// Cores that can be used: never more than shards. One whose shard is refused still carries out requests, for those of others.
    #[must_use]
    pub fn core_count(&self, cores: usize) -> usize {
        cores.clamp(1, self.shared.shards.len())
    }

    /// Starts the shards of one core, on its reactor. Every core from 0 to `core_count` - 1 calls it once.
    /// Errors: `Fault::Io` when a directory cannot be read.
    ///
    /// # Panics
    /// When a core with shards is started twice.
    pub fn start_core(&self, core: usize, core_count: usize, random: u64) -> Result<Store, Fault> {
        let mut random = Random(random);
        let mut owners: Vec<Option<Rc<RefCell<Owner>>>> = self.shared.shards.iter().map(|_| None).collect();
        let mut tidied = Vec::new();
        let seed_count = lock(&self.seeds).len();
        for number in (core..seed_count).step_by(core_count) {
            let seed = lock(&self.seeds)[number].take().expect("a core is started once");
            let place = usize::from(seed.id.0);
            tidied.push((seed.companions.clone(), seed.named.clone()));
            owners[place] = Some(self.start_owner(seed, &mut random)?);
        }
        // With refused shards there may be none left for this core, which then is a guest of another's.
        let (home, files) = self.homes[core % self.homes.len()].clone();
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
        for (companions, named) in tidied {
            companions.tidy(named);
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
            clock: self.config.clock.clone(),
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
                ring::spawn(crate::deliver::deliver(weak, ShardId(place as u16), receivers, signal)).detach();
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
            clock: self.config.clock.clone(),
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
            let mut pause = TICK_INTERVAL;
            loop {
                ring::sleep(pause).await;
                let Some(owner) = weak.upgrade() else { return };
                pause = owner.borrow_mut().tick();
            }
        })
        .detach();
        ring::spawn(crate::wait::serve(Rc::downgrade(&owner))).detach();
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
        let Opened { shared, homes, seeds, threads, warm, .. } = self;
        shared.closing.store(true, Ordering::Relaxed);
        drop(homes);
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
            // A directory that may be entered but not read cannot be opened for it: then all that its file system has to write is
            // written.
            Err(error) if distance == 0 && error.kind() == std::io::ErrorKind::PermissionDenied => {
                sync_file_system(&config.data)
                    .map_err(|error| Fault::io("syncfs", &config.data, 0, &error))?;
            }
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
    // Without room for it yet it is reserved after a fold.
    let _reserved: Result<_, Fault> = shared.shard(id).index().reserve(config.ballast_bytes);
    let gone = Arc::default();
    let packed = PackedWriter::open(Arc::clone(&shared.files), id, config.packed_segment_bytes)?;
    let first_packed = packed.next_segment();
    let folder = Folder {
        passing: packed.beside(config.passing_segment_bytes),
        packed,
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
        found: Arc::default(),
        supply: supply.clone(),
        space_low_bytes: 2 * config.ballast_bytes,
        reclaim: Arc::new(Mutex::new(ReclaimState {
            reclaimer,
            emptied: Vec::new(),
            forwarded: Forwarded::default(),
            first_packed,
            gone,
            folded_large_bytes: 0,
        })),
    })
}

/// SplitMix64 over a seed from the operating system.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
