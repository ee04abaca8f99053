//! The companion threads of a shard: one folds, one does file work that others wait for (segments, opens), one gives
//! space back, which waits for readers and takes its time.
//! Invariant: work of one thread runs in the order given; a reactor never waits for any of them. Of rounds that give space back one
//! runs and one waits at most.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::body::{Companion, PinKey};
use crate::fault::Fault;
use crate::fold::{FoldOrder, FoldReport, Folder};
use crate::grace;
use crate::log::SegmentSupply;
use crate::message::Message;
use crate::overlay::SpareChunk;
use crate::reclaim::ReclaimState;
use crate::room::{Unfolded, fold_bytes};
use crate::shared::Shared;
use crate::sweep::{Named, Sweep};
use crate::types::ShardId;

type Work = Box<dyn FnOnce() + Send>;
/// Work for the folding thread, which hands in its own state.
pub(crate) type FoldWork = Box<dyn FnOnce(&mut Folder) + Send>;

/// A thread that runs what it is sent, until every sender is gone.
#[derive(Clone)]
pub(crate) struct FileThread {
    sender: Sender<Work>,
}

impl FileThread {
    pub(crate) fn start(name: String) -> std::io::Result<(FileThread, JoinHandle<()>)> {
        let (sender, receiver): (Sender<Work>, Receiver<Work>) = channel();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for work in receiver {
                work();
            }
        })?;
        Ok((FileThread { sender }, thread))
    }
}

impl Companion for FileThread {
    fn run(&self, job: Work) {
        // The thread ends only when every sender is gone, so a send fails only if a job panicked; the waiter's channel
        // is dropped with the job then and says so.
        drop(self.sender.send(job));
    }
}

/// An owner's way to its companions.
#[derive(Clone)]
pub(crate) struct Companions {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shard: ShardId,
    pub(crate) files: FileThread,
    /// Punching is slow on purpose and waits for readers, so it may not hold up segments and opens.
    pub(crate) space: FileThread,
    pub(crate) folds: Sender<FoldWork>,
    /// Log segments that nothing points into but that a stream may still read.
    pub(crate) retiring: Arc<Mutex<Vec<u64>>>,
    pub(crate) supply: SegmentSupply,
    /// Free bytes below which only deletes are taken.
    pub(crate) space_low_bytes: u64,
    /// What folds have found that the space thread has not taken yet.
    pub(crate) found: Arc<Mutex<Option<FoldReport>>>,
    pub(crate) reclaim: Arc<Mutex<ReclaimState>>,
}

/// Starts the folding thread of a shard.
pub(crate) fn start_fold_thread(
    name: String,
    mut folder: Folder,
) -> std::io::Result<(Sender<FoldWork>, JoinHandle<()>)> {
    let (sender, receiver) = channel::<FoldWork>();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        for work in receiver {
            work(&mut folder);
        }
    })?;
    Ok((sender, thread))
}

impl Companions {
    /// Folds; the owner gets `Message::Folded`.
    pub(crate) fn fold(&self, order: FoldOrder) {
        let shared = Arc::clone(&self.shared);
        let shard = self.shard;
        let work = Box::new(move |folder: &mut Folder| {
            let result = folder.fold(&order);
            drop(order);
            tell(&shared, shard, Message::Folded(result));
        });
        drop(self.folds.send(work));
    }

    /// Prepares log segments; the owner gets `Message::SegmentsReady`.
    pub(crate) fn refill(&self) {
        let (shared, shard, supply) = (Arc::clone(&self.shared), self.shard, self.supply.clone());
        self.files.run(Box::new(move || {
            let result = supply.refill();
            tell(&shared, shard, Message::SegmentsReady(result));
        }));
    }

    /// Gives log segments back once every view that could point into them is gone and no stream reads them. Not behind what
    /// the space thread has to do: writers may wait for them.
    pub(crate) fn retire(&self, segments: Vec<u64>) {
        // Taken before the grace: what a later call adds has its own grace ahead of it.
        let mut taken = {
            let mut retiring = lock(&self.retiring);
            retiring.extend(segments);
            std::mem::take(&mut *retiring)
        };
        taken.sort_unstable();
        taken.dedup();
        let (files, this) = (self.files.clone(), self.clone());
        grace::after_grace(move || files.run(Box::new(move || this.retired(taken))));
    }

    /// `segments` are in no view any more.
    fn retired(&self, segments: Vec<u64>) {
        let (busy, free): (Vec<u64>, Vec<u64>) = segments
            .into_iter()
            .partition(|segment| self.shared.pins.is_pinned(PinKey::log(self.shard, *segment)));
        lock(&self.retiring).extend(busy);
        self.supply.retire(&free);
        let result = self.supply.refill();
        tell(&self.shared, self.shard, Message::SegmentsReady(result));
    }

    /// Gives the space of dead bodies back, as this fold and those before it have found it.
    pub(crate) fn reclaim(&self, report: FoldReport) {
        let mut found = lock(&self.found);
        if let Some(waiting) = &mut *found {
            // The work that is queued takes it: a slow disk has one round ahead of it, and that one knows what is newest.
            return waiting.follow(report);
        }
        *found = Some(report);
        drop(found);
        self.shared.shard(self.shard).counts.rounds.fetch_add(1, Ordering::AcqRel);
        let this = self.clone();
        self.space.run(Box::new(move || {
            // The lock goes with this line: the owner takes it, and does not wait for a round.
            let report = lock(&this.found).take();
            if let Some(report) = report {
                this.give_back(report);
            }
            this.shared.shard(this.shard).counts.rounds.fetch_sub(1, Ordering::AcqRel);
        }));
    }

    fn give_back(&self, report: FoldReport) {
        if self.shared.is_closing() {
            return;
        }
        let punched = lock(&self.reclaim).run(&self.shared, self.shard, report);
        match punched {
            Ok(extents) if extents.is_empty() => {}
            Ok(extents) => tell(&self.shared, self.shard, Message::Punched(extents)),
            // The index is lost, which the shard has said by now.
            Err(_) if self.shared.shard(self.shard).check_readable().is_err() => {}
            // Space that cannot be given back now is tried again after the next fold; nothing is wrong with the data.
            Err(fault) => crate::report(&format!("{}: giving space back failed: {fault}", self.shard)),
        }
    }
}

impl Companions {
    /// Makes memory for the active overlay ahead, so that the owner does not wait for the kernel.
    pub(crate) fn fill(&self, spare: Arc<SpareChunk>) {
        self.files.run(Box::new(move || spare.fill()));
    }

    /// Notes whether the disk has room for more than deletes.
    pub(crate) fn measure_space(&self) {
        let (shared, shard, low) = (Arc::clone(&self.shared), self.shard, self.space_low_bytes);
        self.files.run(Box::new(move || {
            let files = &shared.files;
            // A file system that does not say counts as having room; a write that fails says it then.
            let free = files.disk().free_bytes(&files.shard_dir(shard)).unwrap_or(u64::MAX);
            let (id, shard) = (shard, shared.shard(shard));
            let counts = &shard.counts;
            // What cannot be measured is no room.
            let in_index = shard.index().free_bytes().unwrap_or(0);
            let unfolded = Unfolded {
                entries: counts.overlay_entries.load(Ordering::Relaxed) as u64,
                overlay_bytes: counts.overlay_bytes.load(Ordering::Relaxed) as u64,
                log_bytes: counts.unfolded_log_bytes.load(Ordering::Relaxed),
            };
            files.room().promise(id, fold_bytes(unfolded, shard.index().file_bytes(), in_index));
            let left = free.saturating_sub(files.room().promised());
            counts.index_room_bytes.store(in_index.saturating_sub(low), Ordering::Relaxed);
            counts.full_until_folded.store(left < low && free >= 2 * low, Ordering::Relaxed);
            counts.full.store(left < low, Ordering::Relaxed);
            counts.nearly_full.store(left < low + NEARLY_FULL_BYTES, Ordering::Relaxed);
        }));
    }

    /// After a start: what the last run of the process had reserved or written for nobody goes back to the disk. `named`:
    /// what records name, if that is known.
    pub(crate) fn tidy(&self, named: Option<Arc<Named>>) {
        self.shared.shard(self.shard).counts.sweeping.store(true, Ordering::Relaxed);
        let this = self.clone();
        self.space.run(Box::new(move || {
            match lock(&this.reclaim).tidy_after_start(&this.shared, this.shard, named) {
                Ok(Some(sweep)) => this.sweep(sweep),
                Ok(None) => this.swept(Ok(())),
                Err(fault) => this.swept(Err(fault)),
            }
        }));
    }

    /// One step of a sweep, and then the next one behind what came meanwhile.
    fn sweep(&self, mut sweep: Sweep) {
        let this = self.clone();
        self.space.run(Box::new(move || {
            let step = sweep.step(&this.shared, &mut lock(&this.reclaim).reclaimer);
            match step {
                Ok(true) => this.sweep(sweep),
                Ok(false) => this.swept(Ok(())),
                Err(fault) => this.swept(Err(fault)),
            }
        }));
    }

    fn swept(&self, result: Result<(), Fault>) {
        self.shared.shard(self.shard).counts.sweeping.store(false, Ordering::Relaxed);
        match result {
            // A process that stops leaves the rest to the next start.
            Ok(()) | Err(Fault::Closed) => {}
            Err(fault) => crate::report(&format!(
                "{}: tidying after the start failed, the next start tries again: {fault}",
                self.shard
            )),
        }
    }
}

/// With less room than this beyond what folds need it is measured more often: what comes between two looks must fit.
const NEARLY_FULL_BYTES: u64 = 1 << 30;

fn tell(shared: &Shared, shard: ShardId, message: Message) {
    // The owner is gone only when the process is stopping.
    drop(shared.shard(shard).mailbox.send(message));
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
