//! The owner of a shard: it executes operations one after the other, gathers their effects into batches, and lets replies
//! go when what they rest on is durable.
//! Invariant: one batch is in flight and one is filling; `durable_lsn` is stored before any reply of its batch leaves; a
//! reply also waits for what its operation merely looked at; after a failed batch nothing is acknowledged any more.
//! Leaves to execute.rs: running one operation. Leaves to apply.rs: turning effects into log items and overlay entries. Leaves
//! to freeze.rs: when overlays are exchanged and folded. Leaves to proof.rs: the last batch of a quiet shard. Leaves to
//! wait.rs: operations that wait for others, or for a time.
//!
//! ```text
//! queue -> run -> filling batch + active overlay -> (sealed) in flight -> durable: replies leave
//!              \-> parked, when a key is in doubt      \-> active overlay frozen, when it is large or old
//!              \-> waiting, until it is woken
//! ```

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::ahead::Ahead;
use crate::attended::Attended;
use crate::clock::{Clock, ShardClock};
use crate::companion::Companions;
use crate::config::OwnerLimits;
use crate::counter::Counting;
use crate::fault::Fault;
use crate::kept::Died;
use crate::log::{BatchBuilder, Checkpoint, LogWriter, SegmentSupply, WrittenBatch};
use crate::message::{Job, Message, Waiter};
use crate::outbox::OutboxSignal;
use crate::overlay::{Overlay, OverlayWriter};
use crate::pace::Pace;
use crate::resident::{Change, Residents};
use crate::shared::{ShardShared, Shared};
use crate::transact::Prepared;
use crate::types::{Lsn, ShardId, Timestamp};
use crate::wait::Waiting;
use crate::warm::ColdMeter;

pub(crate) struct Parked {
    pub(crate) job: Box<dyn Job>,
    /// In attended time.
    pub(crate) since: Duration,
}

/// The single writer of one shard. Lives on one core.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ShardId,
    pub(crate) limits: OwnerLimits,
    pub(crate) overlay: OverlayWriter,
    pub(crate) prepared: HashMap<u128, Prepared>,
    pub(crate) scratch: Vec<u8>,
    /// The lowest log segment that an entry of the active overlay points to, apart from its own batches.
    pub(crate) log_reference_low: u64,
    pub(crate) log: LogWriter,
    pub(crate) supply: SegmentSupply,
    pub(crate) companions: Companions,
    pub(crate) frozen: Option<Arc<Overlay>>,
    /// Where the frozen overlay ends, once its fold has begun.
    pub(crate) fold_checkpoint: Checkpoint,
    /// Where the last fold of this run ended.
    pub(crate) folded_lsn: Lsn,
    /// The frozen overlay ends with this batch; folding starts when it is durable.
    pub(crate) fold_after: Option<Lsn>,
    pub(crate) active_since: Option<Instant>,
    pub(crate) log_bytes_since_freeze: u64,
    /// Of the frozen overlay.
    pub(crate) log_bytes_frozen: u64,
    /// What bodies of passing tables took that died since the overlays were exchanged.
    pub(crate) died: Died,
    /// Of the frozen overlay.
    pub(crate) died_frozen: Died,
    pub(crate) filling: Option<BatchBuilder>,
    pub(crate) counting: Counting,
    /// An operation did not fit any more; room comes with the next batch.
    pub(crate) filling_is_full: bool,
    /// What that operation needs: more than an ordinary batch has, now and then.
    pub(crate) next_batch_bytes: usize,
    /// Messages handled since the last batch set out.
    filling_operations: u32,
    pace: Pace,
    pub(crate) in_flight: Option<Lsn>,
    pub(crate) last_checkpoint: Checkpoint,
    /// The last batch is named by a later one, or there is nothing to prove.
    pub(crate) proven: bool,
    pub(crate) proof_timer_runs: bool,
    /// The batch in flight is empty and only names its predecessor.
    pub(crate) in_flight_is_proof: bool,
    /// Work that needs no room in a batch; it is what makes room.
    control: VecDeque<Message>,
    refill_ordered: bool,
    /// When a fold that found the disk full is tried again.
    pub(crate) fold_again_at: Option<Instant>,
    pub(crate) queue: VecDeque<Message>,
    pub(crate) ahead: Ahead,
    pub(crate) parked: Vec<Parked>,
    pub(crate) attended: Attended,
    pub(crate) waiting: Waiting,
    pub(crate) residents: Residents,
    /// What transactions over shards that are prepared here change in residents once they are carried out.
    pub(crate) prepared_changes: HashMap<u128, Vec<Change>>,
    pub(crate) clock: ShardClock,
    pub(crate) waiting_in_flight: Vec<Waiter>,
    pub(crate) waiting_filling: Vec<Waiter>,
    pub(crate) positions: u64,
    pub(crate) random: u64,
    cold: ColdMeter,
    /// Set when the batch in flight or the filling one holds outbox entries.
    pub(crate) emitted: bool,
    pub(crate) outbox: OutboxSignal,
    pub(crate) me: Weak<RefCell<Owner>>,
}

/// What recovery hands to an owner.
pub(crate) struct OwnerStart {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ShardId,
    pub(crate) limits: OwnerLimits,
    pub(crate) overlay: OverlayWriter,
    pub(crate) prepared: HashMap<u128, Prepared>,
    pub(crate) log_reference_low: u64,
    pub(crate) log: LogWriter,
    pub(crate) supply: SegmentSupply,
    pub(crate) companions: Companions,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) replayed_bytes: u64,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
}

impl Owner {
    pub(crate) fn new(start: OwnerStart) -> Rc<RefCell<Owner>> {
        let has_entries = start.overlay.overlay().entry_count() > 0;
        let owner = Owner {
            shared: start.shared,
            id: start.id,
            limits: start.limits,
            overlay: start.overlay,
            prepared: start.prepared,
            scratch: Vec::new(),
            log_reference_low: start.log_reference_low,
            log: start.log,
            supply: start.supply,
            companions: start.companions,
            frozen: None,
            fold_checkpoint: start.checkpoint,
            folded_lsn: Lsn::ZERO,
            fold_after: None,
            active_since: has_entries.then(ring::now),
            log_bytes_since_freeze: start.replayed_bytes,
            log_bytes_frozen: 0,
            died: Died::default(),
            died_frozen: Died::default(),
            filling: None,
            counting: Counting::default(),
            filling_is_full: false,
            next_batch_bytes: 0,
            filling_operations: 0,
            pace: Pace::default(),
            in_flight: None,
            proven: start.checkpoint.lsn == Lsn::ZERO,
            last_checkpoint: start.checkpoint,
            proof_timer_runs: false,
            in_flight_is_proof: false,
            control: VecDeque::new(),
            refill_ordered: false,
            fold_again_at: None,
            queue: VecDeque::new(),
            ahead: Ahead::default(),
            parked: Vec::new(),
            attended: Attended::new(ring::now()),
            waiting: Waiting::default(),
            residents: Residents::default(),
            prepared_changes: HashMap::new(),
            clock: ShardClock::new(start.clock),
            waiting_in_flight: Vec::new(),
            waiting_filling: Vec::new(),
            positions: 0,
            random: start.seed,
            cold: ColdMeter::new(),
            emitted: false,
            outbox: OutboxSignal::new(),
            me: Weak::new(),
        };
        let owner = Rc::new(RefCell::new(owner));
        owner.borrow_mut().me = Rc::downgrade(&owner);
        owner.borrow_mut().want_proof();
        owner
    }

    /// Queues a message; `turn` handles it.
    pub(crate) fn push(&mut self, message: Message) {
        match message {
            Message::Job(_) | Message::Resolve { .. } | Message::Forget { .. } | Message::CatchUp { .. } => {
                self.queue.push_back(message)
            }
            Message::Folded(_) | Message::SegmentsReady(_) | Message::Punched(_) => {
                self.control.push_back(message)
            }
        }
    }

    /// Handles what is queued and starts a batch if none is in flight. Called once per turn of the core's loop.
    pub(crate) fn turn(&mut self) {
        while let Some(message) = self.control.pop_front() {
            self.handle(message);
        }
        let begun = (!self.queue.is_empty()).then(Instant::now);
        let mut handled = 0;
        loop {
            self.look_ahead();
            let Some(message) = self.queue.pop_front() else { break };
            if self.shard().check_writable().is_ok() && !self.has_room() {
                self.queue.push_front(message);
                break;
            }
            self.handle(message);
            handled += 1;
            self.filling_operations = self.filling_operations.saturating_add(1);
            if self.in_flight.is_none() && self.pace.is_worth_a_sync(self.filling_operations) {
                self.start_batch();
                if self.in_flight.is_some() {
                    // The rest comes in the next turn, which is near: the task that writes is ready to run.
                    break;
                }
            }
        }
        if let Some(begun) = begun {
            self.pace.executed(handled, begun.elapsed());
        }
        self.start_batch();
        self.publish_counts();
    }

    /// Nothing is queued, filling or in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
            && self.control.is_empty()
            && self.in_flight.is_none()
            && self.waiting_filling.is_empty()
            && self.filling.as_ref().is_none_or(BatchBuilder::is_empty)
    }

    /// From now on only what is under way is finished; the last batch gets its proof.
    pub(crate) fn drain(&mut self) {
        self.refuse_waiting(&Fault::Closed);
        if !self.proven && self.in_flight.is_none() {
            self.write_proof();
        }
    }

    /// The last batch is proven, or the shard is stopped and nothing more can be done.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_quiet() && (self.proven || self.shard().check_writable().is_err())
    }

    /// Parked jobs that waited long, an overlay that is old, room on the disk. Gives when to come again.
    pub(crate) fn tick(&mut self) -> Duration {
        let now = ring::now();
        self.attended.tick(now);
        let (attended, patience) = (self.attended.at(now), self.limits.in_doubt_patience);
        let (late, keep): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| attended.saturating_sub(parked.since) > patience);
        self.parked = keep;
        // Each looks again, and is refused only if what it meets is not even decided.
        for parked in late {
            self.queue.push_back(Message::Job(parked.job));
        }
        if self.fold_again_at.is_some_and(|at| now >= at) {
            self.fold_again_at = None;
            self.start_fold(self.fold_checkpoint);
        }
        self.companions.measure_space();
        self.sweep_waiting();
        self.watch_clock();
        if self.active_since.is_some() && self.in_flight.is_none() {
            self.consider_freeze(false);
        }
        let cold = self.cold.look();
        self.shard().counts.owner_cold.store(cold, Ordering::Relaxed);
        if self.supply.wants() {
            self.order_segments();
        }
        let nearly_full = self.shard().counts.nearly_full.load(Ordering::Relaxed);
        if nearly_full { TICK_INTERVAL_NEARLY_FULL } else { TICK_INTERVAL }
    }

    pub(crate) fn shard(&self) -> &ShardShared {
        self.shared.shard(self.id)
    }

    /// There is an open batch with room for one operation, and the overlays may grow.
    fn has_room(&mut self) -> bool {
        let frozen_bytes = self.frozen.as_ref().map_or(0, |frozen| frozen.arena_bytes());
        let overlay_bytes = self.overlay.overlay().arena_bytes() + frozen_bytes;
        if overlay_bytes > self.limits.overlay_bytes_max {
            self.consider_freeze(true);
            return false;
        }
        if let Some(filling) = &self.filling {
            return !self.filling_is_full && filling.payload_bytes() < self.limits.batch_soft_bytes;
        }
        let segment = self.log.current_segment();
        match self.log.open_batch_for(self.next_batch_bytes) {
            Ok(batch) => {
                self.filling = Some(batch);
                self.next_batch_bytes = 0;
                self.filling_is_full = false;
                self.positions = 0;
                if self.log.current_segment() != segment {
                    // One is gone from the stock: a writer that found it empty would wait for a segment to be made.
                    self.order_segments();
                }
                true
            }
            Err(_) => {
                self.shard().counts.log_stalls.fetch_add(1, Ordering::Relaxed);
                self.order_segments();
                self.consider_freeze(true);
                false
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Job(job) => self.run(job),
            Message::Resolve { id, commit, done } => {
                if let Err(fault) = self.shard().check_writable() {
                    return drop(done.send(Err(fault)));
                }
                // The prepare fitted into a batch, and `batch_bytes_max` left room for what is counted otherwise here.
                let bytes = self.resolve_bytes(id).min(self.batch_bytes_max(false));
                if bytes > self.filling().remaining_bytes() {
                    self.queue.push_front(Message::Resolve { id, commit, done });
                    return self.want_room(bytes);
                }
                self.resolve(id, commit);
                self.resolve_changes(id, commit);
                self.wait_for_all(Waiter::Done(done));
                self.unpark();
            }
            Message::Forget { id } => {
                if self.shard().check_writable().is_ok() {
                    self.forget(id);
                }
            }
            Message::Folded(result) => self.folded(result),
            Message::SegmentsReady(result) => {
                self.refill_ordered = false;
                if let Err(fault) = result {
                    self.segments_failed(&fault);
                }
            }
            Message::Punched(extents) => self.undead(&extents),
            Message::CatchUp { done } => self.catch_up(done),
        }
    }

    /// The batch that takes effects now. `has_room` opened it before the message was handled.
    pub(crate) fn filling(&mut self) -> &mut BatchBuilder {
        self.filling.as_mut().expect("turn opens a batch before it handles what writes")
    }

    /// Opens a batch for the store's own housekeeping where that is possible without waiting.
    pub(crate) fn try_filling(&mut self) -> Option<&mut BatchBuilder> {
        if self.filling.is_none() {
            if self.shard().check_writable().is_err() {
                return None;
            }
            self.filling = self.log.open_batch().ok();
            self.filling_is_full = false;
            self.positions = 0;
        }
        self.filling.as_mut()
    }

    pub(crate) fn start_batch(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        if let Err(fault) = self.shard().check_writable() {
            self.refuse_waiting(&fault);
            // What the batch holds is not written any more, and nobody may wait for it for ever.
            self.filling = None;
            self.counting.clear();
            let why: Arc<str> = Arc::from(fault.to_string());
            for waiter in std::mem::take(&mut self.waiting_filling) {
                waiter.complete(Err(Fault::Unknown(Arc::clone(&why))));
            }
            return;
        }
        let Some(batch) = self.filling.take_if(|batch| !batch.is_empty()) else { return };
        self.write(batch);
    }

    fn write(&mut self, mut batch: BatchBuilder) {
        self.counting.seal(&mut batch, &mut self.overlay);
        let lsn = batch.lsn();
        self.in_flight = Some(lsn);
        self.filling_operations = 0;
        self.waiting_in_flight.append(&mut self.waiting_filling);
        self.log_bytes_since_freeze += batch.payload_bytes() as u64;
        let counts = &self.shard().counts;
        counts.batches.fetch_add(1, Ordering::Relaxed);
        counts.batch_bytes.fetch_add(batch.payload_bytes() as u64, Ordering::Relaxed);
        self.active_since.get_or_insert_with(ring::now);
        let durable = Lsn(self.shard().durable_lsn.load(Ordering::Relaxed));
        let write = self.log.write(batch, durable, Timestamp::from_system_clock());
        // On the batch boundary: what the batch holds is in the overlay that is frozen, what follows is not.
        self.consider_freeze(false);
        if let Some(spare) = self.overlay.order_spare() {
            self.companions.fill(spare);
        }
        let me = self.me.clone();
        ring::spawn(async move {
            let begun = Instant::now();
            let result = write.await;
            if let Some(owner) = me.upgrade() {
                let mut owner = owner.borrow_mut();
                owner.pace.synced(begun.elapsed());
                owner.written(lsn, result);
            }
        })
        .detach();
    }

    pub(crate) fn written(&mut self, lsn: Lsn, result: Result<WrittenBatch, Fault>) {
        self.in_flight = None;
        match result {
            Ok(batch) => {
                let checkpoint = batch.checkpoint;
                // Release, and before any reply: whoever hears of this batch must find it in every view.
                self.shard().durable_lsn.store(lsn.0, Ordering::Release);
                self.last_checkpoint = checkpoint;
                let answered = std::mem::take(&mut self.waiting_in_flight);
                if self.emitted {
                    // The entry of a batch that still fills is met again when that batch is durable.
                    self.emitted = self.filling.as_ref().is_some_and(|batch| !batch.is_empty());
                    self.outbox.notify();
                }
                if self.fold_after == Some(lsn) {
                    self.start_fold(checkpoint);
                }
                // An empty batch needs no proof of its own: it holds nothing that could be lost.
                if std::mem::take(&mut self.in_flight_is_proof) {
                    self.proven = true;
                } else {
                    self.want_proof();
                }
                // Before the replies, whose tasks would otherwise run first. A small batch waits for the end of this turn:
                // what those replies lead to may still join it.
                if self.pace.is_worth_a_sync(self.filling_operations) {
                    self.start_batch();
                }
                for waiter in answered {
                    waiter.complete(Ok(()));
                }
            }
            Err(fault) => self.fail(&fault),
        }
    }

    /// A batch failed: it may be on disk or not, so nothing at or above it can be answered before recovery.
    fn fail(&mut self, fault: &Fault) {
        self.stop_writes(&format!("log write failed: {fault}"));
        let why: Arc<str> = Arc::from(fault.to_string());
        self.filling = None;
        self.counting.clear();
        self.in_flight_is_proof = false;
        let waiting = std::mem::take(&mut self.waiting_in_flight);
        for waiter in waiting.into_iter().chain(std::mem::take(&mut self.waiting_filling)) {
            waiter.complete(Err(Fault::Unknown(Arc::clone(&why))));
        }
        for parked in std::mem::take(&mut self.parked) {
            parked.job.complete(Err(Fault::Unknown(Arc::clone(&why))));
        }
        self.turn();
    }

    // --- space ---

    fn order_segments(&mut self) {
        if !self.refill_ordered && self.supply.wants() {
            self.refill_ordered = true;
            self.companions.refill();
        }
    }

    fn segments_failed(&mut self, fault: &Fault) {
        match fault {
            // Without room for a segment writers wait; deletes free space once a fold has run.
            Fault::Full => self.consider_freeze(true),
            other => self.stop_writes(&format!("log segment: {other}")),
        }
    }

    fn publish_counts(&self) {
        let frozen = self.frozen.as_ref();
        let active = self.overlay.overlay();
        let counts = &self.shard().counts;
        let bytes = active.arena_bytes() + frozen.map_or(0, |frozen| frozen.arena_bytes());
        let entries = active.entry_count() + frozen.map_or(0, |frozen| frozen.entry_count());
        counts.overlay_bytes.store(bytes, Ordering::Relaxed);
        counts.overlay_entries.store(entries, Ordering::Relaxed);
        if entries == 0 && frozen.is_none() {
            // Batches without entries, as the proof of the last one, lead to no fold: nothing waits for any.
            counts.applied_lsn.fetch_max(self.shard().durable_lsn.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let log_bytes = self.log_bytes_since_freeze + self.log_bytes_frozen;
        counts.unfolded_log_bytes.store(log_bytes, Ordering::Relaxed);
        counts.queued.store(self.queue.len() + self.parked.len(), Ordering::Relaxed);
        counts.waiting.store(self.waiting.len(), Ordering::Relaxed);
        let open = self.prepared.values().filter(|prepared| !prepared.content.resolved);
        let open_since = open.map(|prepared| prepared.lsn).min().unwrap_or(Lsn::MAX);
        // Before the batch of a prepare is durable: it sets out in a later turn than this, or is polled there first.
        counts.open_since_lsn.store(open_since.0, Ordering::Release);
    }
}

/// How often `tick` runs, and how often on a disk that is nearly full.
pub(crate) const TICK_INTERVAL: Duration = Duration::from_secs(1);
const TICK_INTERVAL_NEARLY_FULL: Duration = Duration::from_millis(100);
