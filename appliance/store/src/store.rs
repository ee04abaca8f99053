//! The store as one core uses it: reading any shard in place, and sending operations to the shards that own their keys.
//! Invariant: reads never hop between cores; a write hops at most once.
//! Leaves to owner.rs: what happens on the owning core.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::body::{self, BodyReader, BodyStream, CoreBodies, CorePins, PinKey};
use crate::clock::Clock;
use crate::config::{ADMIT_INTERVAL, ADMIT_PATIENCE, OwnerLimits};
use crate::disk::LocalFuture;
use crate::fault::Fault;
use crate::kept::Kept;
use crate::log::LogReader;
use crate::merge::Views;
use crate::message::{Job, Message, Verdict};
use crate::owner::Owner;
use crate::placement::{Placement, SLOT_COUNT, slot_of};
use crate::planted::{self, Plant};
use crate::record::BodyRef;
use crate::shared::Shared;
use crate::tables::record_key;
use crate::transact::{PrepareInfo, TransactFailure};
use crate::tx::{NewBody, Operation, Outcome, Tx};
use crate::tx_status::TxStatus;
use crate::types::{DirectoryId, LogPosition, Lsn, ShardId, TableId, Timestamp};
use crate::view::View;
use crate::wait::Waited;
use crate::warm::WarmPool;

/// One core's door to all shards. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Store {
    pub(crate) core: Rc<Core>,
}

pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owners: Vec<Option<Rc<RefCell<Owner>>>>,
    pub(crate) placement: Placement,
    pub(crate) clock: Clock,
    pub(crate) limits: OwnerLimits,
    pub(crate) bodies: CoreBodies,
    pub(crate) reader: BodyReader,
    pub(crate) pins: CorePins,
    pub(crate) random: Cell<u64>,
    pub(crate) hops: Cell<u64>,
    pub(crate) warm: Arc<WarmPool>,
    /// Held for its drop, which ends the owners' turns.
    pub(crate) _hook: ring::TurnHook,
}

/// The record for which a body is written: a note in the heads of its extents, for people who look at a damaged disk. Nothing rests
/// on it, so who learns only from the last byte which record it will be names another one; any record of any shard may adopt a
/// body, since its extents lie with the core that received it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyOwner {
    /// The shard that owns the record.
    pub shard: ShardId,
    /// Its table.
    pub table: TableId,
    /// Its key.
    pub key: Vec<u8>,
}

/// Keeps the bytes of a body where they are until it is dropped. Stays on its core.
pub struct Pin {
    owner: ShardId,
    _pins: Vec<body::Pin>,
}

/// Writes one body.
pub struct BodyWriter {
    writer: body::BodyWriter,
}

impl BodyWriter {
    /// Appends bytes; waits while too much is on its way to the disk.
    /// Errors: `Fault::Full`, `Fault::Io`; the body is lost then and its space comes back by itself.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.writer.write(bytes).await
    }

    /// `write` of bytes that may be kept until they are on disk instead of being copied. Errors: as `write`.
    pub async fn write_shared(&mut self, bytes: &Bytes) -> Result<(), Fault> {
        self.writer.write_shared(bytes).await
    }

    /// Bytes written so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.writer.length()
    }

    /// Makes a large body durable; a small one stays in memory, to travel in the batch of its record.
    /// Errors: as `write`.
    pub async fn seal(self) -> Result<NewBody, Fault> {
        self.writer.seal().await.map(NewBody::new)
    }
}

/// A door that does not keep the store open.
pub(crate) struct WeakStore(Weak<Core>);

impl WeakStore {
    pub(crate) fn upgrade(&self) -> Option<Store> {
        self.0.upgrade().map(|core| Store { core })
    }
}

impl Store {
    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore(Rc::downgrade(&self.core))
    }

    /// All shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.core.shared.shards.len() as u16).map(ShardId)
    }

    /// The shards that this core owns, for work that each shard is to have done once.
    pub fn own_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let owned = |(number, owner): (usize, &Option<_>)| owner.is_some().then_some(ShardId(number as u16));
        let own: Vec<ShardId> = self.core.owners.iter().enumerate().filter_map(owned).collect();
        own.into_iter()
    }

    /// The shard of a slot, for services that draw the slot from a hash of their own: shards hold ascending runs of slots.
    ///
    /// # Panics
    /// When `slot` is not below `placement::SLOT_COUNT`.
    #[must_use]
    pub fn shard_of_slot(&self, slot: u16) -> ShardId {
        assert!(slot < SLOT_COUNT, "slot {slot} is not one of {SLOT_COUNT}");
        self.core.placement.shard_of_slot(slot)
    }

    /// Whether the owner of a shard takes page faults, so that a reader should call `warm` before it takes a view.
    #[must_use]
    pub fn is_cold(&self, shard: ShardId) -> bool {
        self.core.shared.shard(shard).is_cold()
    }

    /// The shard that owns a partition key.
    #[must_use]
    pub fn place(&self, partition_key: &[u8]) -> ShardId {
        self.core.placement.shard_of_slot(slot_of(partition_key))
    }

    /// The identity of the data directory.
    #[must_use]
    pub fn directory(&self) -> DirectoryId {
        self.core.shared.directory
    }

    /// One instant of one shard. Errors: `Fault::Corrupt` when its index cannot be read.
    pub fn view(&self, shard: ShardId) -> Result<View<'_>, Fault> {
        let view = View::take(self.core.shared.shard(shard), self.core.shared.commits.load())?;
        Ok(if planted::is(Plant::StaleView) { view.one_batch_back() } else { view })
    }

    /// One consistent cut over all shards.
    pub fn view_all(&self) -> Result<Views<'_>, Fault> {
        Views::take(&self.core.shared)
    }

    /// One instant of some shards: whatever was acknowledged to anybody before something that one of the views shows is
    /// shown too. `view_all` promises that only of transactions. A shard may be named twice.
    /// Errors: as `view`; `Fault::InDoubt` when no such instant was found in many attempts.
    pub fn view_instant(&self, shards: &[ShardId]) -> Result<Views<'_>, Fault> {
        Views::take_instant(&self.core.shared, shards)
    }

    /// A batch up to which everything is settled: every view taken from now on shows all effects up to it, and what shows
    /// later has a greater one, that of its prepare included. `next_sequence` begins with the number of its batch.
    #[must_use]
    pub fn settled_lsn(&self, shard: ShardId) -> Lsn {
        let shared = self.core.shared.shard(shard);
        // In this order: a prepare that is durable by the second look is open by the first, or was resolved before it and
        // shows. One that comes between has a greater number than the first look's.
        let durable = shared.durable_lsn.load(Ordering::Acquire);
        let open = shared.counts.open_since_lsn.load(Ordering::Acquire);
        Lsn(durable.min(open.saturating_sub(1)))
    }

    /// What passing tables keep of the disk beside what their records name.
    #[must_use]
    pub fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.core.shared.kept)
    }

    /// Keeps a body of a record of `owner` readable; call it in the turn of the view that gave the reference.
    #[must_use]
    pub fn pin(&self, owner: ShardId, body: &BodyRef) -> Pin {
        let pins = match body {
            BodyRef::Inline(_) => Vec::new(),
            BodyRef::Log { position, .. } => vec![self.core.pins.pin(PinKey::log(owner, position.segment))],
            BodyRef::Packed { shard, segment, .. } => {
                vec![self.core.pins.pin(PinKey::packed(*shard, *segment))]
            }
            BodyRef::Extents(extents) => {
                extents.iter().map(|extent| self.core.pins.pin(PinKey::extent(extent.id))).collect()
            }
        };
        Pin { owner, _pins: pins }
    }

    /// Reads a part of a pinned body, in verified pieces. The part beyond the end is not asked for.
    #[must_use]
    pub fn read(&self, pin: &Pin, body: &BodyRef, range: Range<u64>) -> BodyStream {
        self.core.reader.read(pin.owner, body, range)
    }

    /// Begins a body. `hint` is its length where that is known.
    #[must_use]
    pub fn body_writer(&self, hint: Option<u64>, owner: BodyOwner) -> BodyWriter {
        let BodyOwner { shard, table, key } = owner;
        BodyWriter { writer: self.core.bodies.writer(hint, body::Owner { shard, table, key }) }
    }

    /// Waits until a shard has room for writes. Errors: `Fault::Busy` when it has none for a while, `Fault::Full` when the
    /// disk is nearly full, `Fault::ReadOnly`.
    pub async fn admit(&self, shard: ShardId) -> Result<(), Fault> {
        self.admit_to(shard, false, &|| false).await
    }

    /// As `admit`; a full disk does not keep out an operation that `frees`, nor one whose `keys` are all in tables without
    /// bodies while the index has room within its file.
    pub async fn admit_operation<O: Operation>(&self, shard: ShardId, operation: &O) -> Result<(), Fault> {
        let bodyless = self.core.shared.shard(shard).kinds.bodyless;
        let in_index = || {
            let (mut some, mut all) = (false, true);
            operation.keys(&mut |table, _| (some, all) = (true, all && bodyless.contains(table)));
            some && all
        };
        self.admit_to(shard, operation.frees(), &in_index).await
    }

    async fn admit_to(&self, shard: ShardId, frees: bool, in_index: &dyn Fn() -> bool) -> Result<(), Fault> {
        let shared = self.core.shared.shard(shard);
        let begun = ring::now();
        loop {
            shared.check_writable()?;
            let counts = &shared.counts;
            let is_full = !shared.has_disk_for(frees, in_index);
            if is_full && !counts.full_until_folded.load(Ordering::Relaxed) {
                return Err(Fault::Full);
            }
            let has_room = !is_full
                && counts.overlay_bytes.load(Ordering::Relaxed) <= self.core.limits.admit_bytes_max
                && counts.queued.load(Ordering::Relaxed) <= self.core.limits.queue_count_max;
            if has_room {
                return Ok(());
            }
            if ring::now() - begun > ADMIT_PATIENCE {
                return Err(if is_full { Fault::Full } else { Fault::Busy });
            }
            ring::sleep(ADMIT_INTERVAL).await;
        }
    }

    /// Executes an operation on a shard. The reply comes when all that it rests on is durable. Dropping the future does
    /// not cancel the operation. Errors: those of the operation, and `ReadOnly`, `Unknown`, `InDoubt`, `Busy`, `Closed`.
    pub async fn submit<O: Operation>(&self, shard: ShardId, operation: O) -> Result<O::Reply, Fault> {
        if self.core.shared.shard(shard).is_cold() {
            let mut keys = Vec::new();
            operation.keys(&mut |table, key| keys.push(record_key(table, key)));
            self.touch(shard, keys).await;
        }
        self.start(shard, operation)?.reply().await
    }

    /// Sends an operation to a shard before anything is waited for: those of one caller to one shard run in the order of
    /// these calls, but for what is in doubt. Nothing is read ahead.
    pub(crate) fn start<O: Operation>(
        &self,
        shard: ShardId,
        operation: O,
    ) -> Result<Answer<O::Reply>, Fault> {
        let (job, answer) = job(operation);
        self.send(shard, Message::Job(job))?;
        Ok(answer)
    }

    /// Runs every waiter whose time has come, on every shard, and those whose time comes by that, until none is left; over
    /// when what they wrote is durable. For tests that move a `ManualClock`. Errors: those of `submit`.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let mut answers = Vec::new();
        for shard in self.shards() {
            let (done, answer) = oneshot::channel();
            self.send(shard, Message::CatchUp { done })?;
            answers.push(answer);
        }
        for answer in answers {
            answer.await.map_err(|_| Fault::Closed)??;
        }
        Ok(())
    }

    /// What the store's clock shows. `Tx::now` may be ahead of it, where the system's clock was set back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Brings the index pages of keys into memory before a view looks at them; nothing to do while the shard is warm.
    pub async fn warm(&self, shard: ShardId, keys: impl IntoIterator<Item = (TableId, Vec<u8>)>) {
        if self.core.shared.shard(shard).is_cold() {
            let keys = keys.into_iter().map(|(table, key)| record_key(table, &key)).collect();
            self.touch(shard, keys).await;
        }
    }

    async fn touch(&self, shard: ShardId, keys: Vec<Vec<u8>>) {
        if !keys.is_empty() {
            // An error means that the pool has ended: the caller goes on and takes the faults itself.
            drop(self.core.warm.touch(shard, keys).await);
        }
    }

    /// Executes one operation per participant, all or nothing. Errors: see `TransactFailure`.
    ///
    /// # Panics
    /// When a shard is named twice: one operation does all that a transaction does on a shard.
    pub async fn transact<O: Operation>(
        &self,
        parts: Vec<(ShardId, O)>,
    ) -> Result<Vec<O::Reply>, TransactFailure<O::Reply>> {
        let participants: Arc<[ShardId]> = parts.iter().map(|(shard, _)| *shard).collect();
        let distinct: std::collections::HashSet<_> = participants.iter().collect();
        assert!(
            distinct.len() == participants.len(),
            "a shard takes part in a transaction with one operation"
        );
        let id = (u128::from(self.random()) << 64) | u128::from(self.random());
        let status = Arc::new(TxStatus::pending());
        let mut replies = Vec::with_capacity(parts.len());
        for (shard, operation) in parts {
            let (answer, reply) = oneshot::channel();
            let prepare =
                PrepareInfo { id, participants: Arc::clone(&participants), status: Arc::clone(&status) };
            let job = OperationJob {
                operation,
                reply: None,
                parked_since: None,
                waited: None,
                answer,
                prepare: Some(prepare),
            };
            let sent = self.send(shard, Message::Job(Box::new(job)));
            replies.push((shard, sent.map(|()| reply)));
        }
        // In a task of its own: whoever asked may go away, but a prepared transaction must be decided.
        let (done, decided) = oneshot::channel();
        let store = self.clone();
        ring::spawn(async move {
            let result = store.decide(id, &status, replies).await;
            drop(done.send(result));
        })
        .detach();
        decided.await.unwrap_or(Err(TransactFailure::Fault(Fault::Closed)))
    }

    /// Waits for every participant, decides, and has the decision carried out.
    async fn decide<R: Send + 'static>(
        &self,
        id: u128,
        status: &Arc<TxStatus>,
        replies: Vec<(ShardId, PrepareReply<R>)>,
    ) -> Result<Vec<R>, TransactFailure<R>> {
        let mut prepared = Vec::new();
        let mut refused = Vec::new();
        let mut fault = None;
        let participants: Vec<ShardId> = replies.iter().map(|(shard, _)| *shard).collect();
        for (shard, reply) in replies {
            let outcome = match reply {
                Ok(reply) => reply.await.unwrap_or(Err(Fault::Closed)),
                Err(fault) => Err(fault),
            };
            match outcome {
                Ok(Prepare::Prepared(reply)) => prepared.push(reply),
                Ok(Prepare::Refused(reply)) => refused.push((shard, reply)),
                Err(found) => fault = worse(fault, found),
            }
        }
        let commit = refused.is_empty() && fault.is_none();
        if matches!(fault, Some(Fault::Unknown(_))) {
            // A prepare may be on disk although its write failed: only recovery can tell, so the keys stay in doubt.
            return Err(TransactFailure::Fault(fault.unwrap_or(Fault::Closed)));
        }
        if commit {
            self.core.shared.commits.commit(status);
        } else {
            status.abort();
        }
        let store = self.clone();
        ring::spawn(async move { store.carry_out(id, commit, &participants, true).await }).detach();
        match fault {
            None if commit => Ok(prepared),
            None => Err(TransactFailure::Cancelled(refused)),
            Some(Fault::InDoubt) => Err(TransactFailure::Conflict),
            Some(fault) => Err(TransactFailure::Fault(fault)),
        }
    }

    /// Has every participant resolve, and forget when all have and none is missing.
    pub(crate) async fn carry_out(&self, id: u128, commit: bool, participants: &[ShardId], forget: bool) {
        let mut resolved = Vec::new();
        for shard in participants {
            let (done, answer) = oneshot::channel();
            if self.send(*shard, Message::Resolve { id, commit, done }).is_ok() {
                resolved.push(answer);
            }
        }
        let mut all = resolved.len() == participants.len();
        for answer in resolved.into_iter().filter(|_| !planted::is(Plant::ForgetEarly)) {
            all &= matches!(answer.await, Ok(Ok(())));
        }
        if all && commit && forget {
            for shard in participants {
                // A marker that stays is forgotten by the next recovery.
                let _sent: Result<_, Fault> = self.send(*shard, Message::Forget { id });
            }
        }
    }

    fn send(&self, shard: ShardId, message: Message) -> Result<(), Fault> {
        if !self.core.shared.shard(shard).is_sound() {
            self.core.shared.shard(shard).check_readable()?;
        }
        if let Some(owner) = &self.core.owners[usize::from(shard.0)] {
            owner.borrow_mut().push(message);
            return Ok(());
        }
        self.core.hops.set(self.core.hops.get() + 1);
        self.core.shared.shard(shard).mailbox.send(message).map_err(|_| Fault::Closed)
    }

    /// A random number (SplitMix64).
    #[must_use]
    pub fn random(&self) -> u64 {
        let state = self.core.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.core.random.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The answer to an operation that is under way.
pub(crate) struct Answer<R>(oneshot::Receiver<Result<Prepare<R>, Fault>>);

impl<R> Answer<R> {
    pub(crate) async fn reply(self) -> Result<R, Fault> {
        match self.0.await.map_err(|_| Fault::Closed)?? {
            Prepare::Prepared(reply) | Prepare::Refused(reply) => Ok(reply),
        }
    }

    /// As `reply`, if it is there by now: for threads that are no reactor's.
    pub(crate) fn try_reply(&mut self) -> Option<Result<R, Fault>> {
        match self.0.try_recv() {
            Ok(Ok(Prepare::Prepared(reply) | Prepare::Refused(reply))) => Some(Ok(reply)),
            Ok(Err(fault)) => Some(Err(fault)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(Fault::Closed)),
        }
    }
}

/// The fault that says more about what may have happened.
fn worse(known: Option<Fault>, found: Fault) -> Option<Fault> {
    match (known, found) {
        (None, found) => Some(found),
        (Some(known), found @ Fault::Unknown(_)) => {
            drop(known);
            Some(found)
        }
        (Some(known), _) => Some(known),
    }
}

/// Where a participant's answer comes, unless it could not even be asked.
type PrepareReply<R> = Result<oneshot::Receiver<Result<Prepare<R>, Fault>>, Fault>;

/// How a participant answered.
pub(crate) enum Prepare<R> {
    Prepared(R),
    Refused(R),
}

/// An operation on its way through an owner.
struct OperationJob<O: Operation> {
    operation: O,
    reply: Option<Prepare<O::Reply>>,
    parked_since: Option<std::time::Duration>,
    waited: Option<Waited>,
    answer: oneshot::Sender<Result<Prepare<O::Reply>, Fault>>,
    prepare: Option<PrepareInfo>,
}

impl<O: Operation> Job for OperationJob<O> {
    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.operation.keys(declare);
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<Verdict, Fault> {
        let (reply, verdict) = match self.operation.execute(tx)? {
            Outcome::Commit(reply) => (Prepare::Prepared(reply), Verdict::Commits),
            Outcome::Rollback(reply) => (Prepare::Refused(reply), Verdict::RollsBack),
            Outcome::Wait { key, until } => {
                assert!(
                    self.prepare.is_none(),
                    "a part of a transaction over shards waits: the others would too"
                );
                return Ok(Verdict::Waits { key, until });
            }
        };
        self.reply = Some(reply);
        Ok(verdict)
    }

    fn parked_since(&mut self) -> &mut Option<std::time::Duration> {
        &mut self.parked_since
    }

    fn waited(&mut self) -> &mut Option<Waited> {
        &mut self.waited
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn prepare_info(&self) -> Option<&PrepareInfo> {
        self.prepare.as_ref()
    }

    fn complete(self: Box<Self>, outcome: Result<(), Fault>) {
        let OperationJob { operation, reply, answer, .. } = *self;
        // First, so that whoever has the reply finds given back what the operation held.
        drop(operation);
        // The caller may have gone away; the operation stands all the same.
        drop(answer.send(outcome.and_then(|()| reply.ok_or(Fault::Closed))));
    }
}

/// A job for an owner, and its answer.
pub(crate) fn job<O: Operation>(operation: O) -> (Box<dyn Job>, Answer<O::Reply>) {
    let (answer, reply) = oneshot::channel();
    let job =
        OperationJob { operation, reply: None, parked_since: None, waited: None, answer, prepare: None };
    (Box::new(job), Answer(reply))
}

/// Reads bodies that are still in a log, for this core.
pub(crate) struct CoreLogReader {
    pub(crate) readers: Vec<LogReader>,
}

impl body::LogReader for CoreLogReader {
    fn read(
        &self,
        shard: ShardId,
        position: LogPosition,
        length: u32,
    ) -> LocalFuture<'static, Result<Bytes, Fault>> {
        let read = self.readers[usize::from(shard.0)].read(position, length as usize);
        Box::pin(async move { read.await.map(Bytes::from_owner) })
    }
}
