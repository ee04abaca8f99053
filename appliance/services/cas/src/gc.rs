//! Collections that somebody asks for: one at a time, slice by slice, on every shard by its own background.
//! Invariant: a collection takes no more than an eviction may; it writes nothing of itself, so that a start simply ends it.
//! Leaves to evict.rs: what a slice takes away.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::store::{Direction, Fault, ShardId, Timestamp};
use plan::Context;

use crate::Cas;
use crate::evict::{Evicted, Rules, Walk, slice};
use crate::namespace::Namespace;
use crate::room::unused_before;
use crate::shared::Shared;
use crate::stats::Reason;
use crate::store::{USAGE, second_of};
use crate::tick::{Then, Work};

/// Collections that are over and still told of.
const JOB_COUNT_MAX: usize = 16;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is to be collected: whatever all of these ask for. One that asks for nothing takes what was not used for longer than
/// the retention.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GcRequest {
    /// Only tell what would go.
    pub dry_run: bool,
    /// Until so many bytes are stored: by the namespace, if there is one.
    pub target_bytes: Option<u64>,
    /// What was not used for so many days.
    pub older_than_days: Option<u32>,
    /// Of this namespace alone.
    pub ns: Option<Namespace>,
}

/// How far a collection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GcState {
    /// Its number.
    pub id: u64,
    /// It is over.
    pub is_done: bool,
    /// It only counts.
    pub dry_run: bool,
    /// Objects that are gone, or would be.
    pub freed_objects: u64,
    /// Bytes that are free, or would be.
    pub freed_bytes: u64,
    /// Objects that were kept since they are leased, or came or were used within a lease period.
    pub kept_leased: u64,
    /// Shards that are done, and how many there are.
    pub shards_done: (u32, u32),
    /// Shards on which it ended early because the store failed.
    pub failed_shards: u32,
    /// When it began.
    pub began_ms: u64,
    /// When it was over.
    pub ended_ms: Option<u64>,
}

/// A collection is under way: the one with this number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GcRunning(pub u64);

/// Collections of this process.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<List>);

#[derive(Default)]
struct List {
    /// The last is the one that runs, if it is not done.
    jobs: Vec<Job>,
    last_id: u64,
}

struct Job {
    request: GcRequest,
    /// What each shard is to give; as it was when the first of them began.
    shares: Option<Vec<u64>>,
    state: GcState,
}

/// What a shard remembers of a collection.
#[derive(Default)]
pub(crate) struct Mark {
    id: u64,
    is_done: bool,
    /// Still to be freed.
    bytes: u64,
    walk: Option<Walk>,
    /// Objects that are kept and told of already, or that are gone only in a dry run's account.
    counted: u64,
}

impl Jobs {
    /// Nobody holds them for longer than it takes to read or write a few numbers.
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a shard is to give. Errors: a view's.
    fn share_of(&self, cx: &Context<'_>, id: u64, shard: ShardId) -> Result<u64, Fault> {
        let mut list = self.list();
        let Some(job) = list.jobs.iter_mut().find(|job| job.state.id == id) else { return Ok(0) };
        let shares = match &job.shares {
            Some(shares) => shares,
            None => job.shares.insert(shares(cx, &job.request)?),
        };
        Ok(shares.get(usize::from(shard.0)).copied().unwrap_or(0))
    }

    fn running(&self) -> Option<(u64, GcRequest)> {
        let list = self.list();
        list.jobs.last().filter(|job| !job.state.is_done).map(|job| (job.state.id, job.request.clone()))
    }
}

impl Cas {
    /// Begins a collection; the shards' backgrounds do it. Gives its number. Errors: one is under way.
    pub fn gc_start(&self, cx: &Context<'_>, request: GcRequest) -> Result<u64, GcRunning> {
        let mut list = self.0.jobs.list();
        if let Some(job) = list.jobs.last().filter(|job| !job.state.is_done) {
            return Err(GcRunning(job.state.id));
        }
        list.last_id += 1;
        let shard_count = u32::try_from(cx.store.shards().count()).unwrap_or(u32::MAX);
        let state = GcState {
            id: list.last_id,
            dry_run: request.dry_run,
            shards_done: (0, shard_count),
            began_ms: cx.now.0,
            ..GcState::default()
        };
        if list.jobs.len() >= JOB_COUNT_MAX {
            list.jobs.remove(0);
        }
        list.jobs.push(Job { request, shares: None, state });
        Ok(state.id)
    }

    /// How far a collection has come; nothing of one that is not known, or forgotten.
    #[must_use]
    pub fn gc_state(&self, id: u64) -> Option<GcState> {
        self.0.jobs.list().jobs.iter().map(|job| job.state).find(|state| state.id == id)
    }
}

/// The next slice of the collection that is under way.
pub(crate) fn look(
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
    shard: ShardId,
) -> Result<Option<Work>, Fault> {
    let Some((id, request)) = shared.jobs.running() else { return Ok(None) };
    let Some(loaded) = shared.loaded() else { return Ok(None) };
    let begins = loaded.shard(shard).marks().gc.id != id;
    if begins {
        let bytes = shared.jobs.share_of(cx, id, shard)?;
        let walk = request.dry_run.then_some(Walk::Begin);
        loaded.shard(shard).marks().gc = Mark { id, bytes, walk, ..Mark::default() };
    }
    let marks = loaded.shard(shard).marks();
    if marks.gc.is_done {
        return Ok(None);
    }
    let rules = Rules {
        reason: Reason::Admin,
        now: cx.now,
        ns: request.ns,
        before_second: before_second(shared, cx.now, &request),
        bytes: marks.gc.bytes,
        objects: u64::MAX,
        dry: marks.gc.walk.clone(),
    };
    drop(marks);
    let shared = Arc::clone(shared);
    Ok(Some(Box::new(move |cx, then: Then| {
        // Leases of the process before may run, of which nobody knows: nothing may go.
        if !shared.may_evict(cx.now) && !request.dry_run {
            note(&shared, cx, shard, id, &Ok(Evicted::default()));
            return then(cx, Ok(false));
        }
        slice(&Arc::clone(&shared), shard, rules, move |cx, outcome| {
            let more = note(&shared, cx, shard, id, &outcome);
            then(cx, outcome.map(|_| more))
        })
    })))
}

/// Before which second something has to have been used last.
fn before_second(shared: &Shared, now: Timestamp, request: &GcRequest) -> u32 {
    let unused = unused_before(shared, now);
    let before = |ms: u64| second_of(Timestamp(now.0.saturating_sub(ms))).saturating_add(1);
    match (request.older_than_days, request.target_bytes) {
        (Some(days), _) => before(u64::from(days) * DAY_MS).min(unused),
        (None, Some(_)) => unused,
        (None, None) => {
            before(u64::try_from(shared.settings.retention.as_millis()).unwrap_or(u64::MAX)).min(unused)
        }
    }
}

/// What each shard is to give, by its share in what is stored. Errors: a view's.
fn shares(cx: &Context<'_>, request: &GcRequest) -> Result<Vec<u64>, Fault> {
    let Some(target) = request.target_bytes else {
        return Ok(vec![u64::MAX; cx.store.shards().count()]);
    };
    let key = request.ns.as_ref().map_or(&[][..], Namespace::as_bytes);
    let mut stored = Vec::new();
    for shard in cx.store.shards() {
        stored.push(u64::try_from(cx.store.view(shard)?.counter(USAGE, key)?[1]).unwrap_or(0));
    }
    let all: u64 = stored.iter().sum();
    let over = u128::from(all.saturating_sub(target));
    let share = |here: u64| (over * u128::from(here)).div_ceil(u128::from(all.max(1)));
    Ok(stored.into_iter().map(|here| u64::try_from(share(here)).unwrap_or(u64::MAX)).collect())
}

/// Notes what a slice came to. Gives whether there is more to do on the shard.
fn note(
    shared: &Shared,
    cx: &Context<'_>,
    shard: ShardId,
    id: u64,
    outcome: &Result<Evicted, Fault>,
) -> bool {
    let Some(loaded) = shared.loaded() else { return false };
    let mut marks = loaded.shard(shard).marks();
    let mut list = shared.jobs.list();
    let Some(job) = list.jobs.iter_mut().find(|job| job.state.id == id) else { return false };
    let mut more = false;
    match outcome {
        Ok(evicted) => {
            let of_rules = if job.request.ns.is_some() { evicted.bytes_of_namespaces } else { evicted.bytes };
            job.state.freed_objects += evicted.objects;
            job.state.freed_bytes += evicted.bytes;
            job.state.kept_leased += evicted.kept_leased;
            let dry_objects = if job.request.dry_run { evicted.objects } else { 0 };
            marks.gc.counted += evicted.kept_leased + evicted.kept_pinned + dry_objects;
            if marks.gc.bytes != u64::MAX {
                marks.gc.bytes = marks.gc.bytes.saturating_sub(of_rules);
            }
            marks.gc.walk = evicted.order.clone().map(Walk::From);
            more = evicted.more && marks.gc.bytes > 0;
            // The walk ends before what was used or brought of late. Only of one that falls short of its aim all the rest was kept.
            let takes_all = job.request.target_bytes.is_some() && job.request.older_than_days.is_none();
            if takes_all && !more && marks.gc.bytes > 0 {
                let left = objects_of(cx, shard, job.request.ns.as_ref()).unwrap_or(0);
                job.state.kept_leased += left.saturating_sub(marks.gc.counted);
            }
        }
        Err(_) => job.state.failed_shards += 1,
    }
    if !more {
        marks.gc.is_done = true;
        job.state.shards_done.0 += 1;
        if job.state.shards_done.0 >= job.state.shards_done.1 {
            job.state.is_done = true;
            job.state.ended_ms = Some(cx.now.0);
            let took_ms = cx.now.0.saturating_sub(job.state.began_ms);
            shared.counters.gc_ms.fetch_add(took_ms, std::sync::atomic::Ordering::Relaxed);
        }
    }
    more
}

/// Entries and key records of a shard: those of a namespace, or all. Errors: a view's.
fn objects_of(cx: &Context<'_>, shard: ShardId, ns: Option<&Namespace>) -> Result<u64, Fault> {
    let view = cx.store.view(shard)?;
    if let Some(ns) = ns {
        return Ok(u64::try_from(view.counter(USAGE, ns.as_bytes())?[0]).unwrap_or(0));
    }
    let mut names = Vec::new();
    let mut scan = view.scan(USAGE, Bound::Unbounded, Direction::Forward);
    while let Some((key, _)) = scan.next()? {
        names.extend(Namespace::parse(key));
    }
    drop(scan);
    let mut objects = 0;
    for name in names {
        objects += u64::try_from(view.counter(USAGE, name.as_bytes())?[0]).unwrap_or(0);
    }
    Ok(objects)
}
