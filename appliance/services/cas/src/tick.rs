//! Work that nobody asks for: one slice of each kind in a turn, for one shard of this core.
//! Invariant: each slice is one operation or one look of bounded size; what is remembered here only saves looking again, and is
//! found anew after a start.
//! Leaves to the modules that it calls: what a slice does. To the node: when a turn is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::store::{Fault, ShardId, Timestamp};
use plan::{Context, MORE_IS_DUE, Plan, Reply};

use crate::evict::Rules;
use crate::room::{
    self, DYING_PERCENT, HIGH_PERCENT, LOW_PERCENT, Part, SHORT_PERCENT, percent, slice_in_turn,
};
use crate::shared::Shared;
use crate::stats::{self, STATS_SHARD};
use crate::store::minute_of;
use crate::touch::{FOLD_COUNT, Fold};
use crate::{Cas, age, gc, pins, retention, scrub};

/// What was used is written this often, so that a crash loses less than a minute of it.
const FOLD_EVERY_MS: u64 = 30_000;
/// What was counted is written this often.
const STATS_EVERY_MS: u64 = 60_000;
/// Pins that are over are looked for this often.
const PINS_EVERY_MS: u64 = 60_000;
/// Before a turn that follows at once: requests come first.
const BETWEEN_TURNS: Duration = Duration::from_millis(2);

/// What is remembered for one shard.
#[derive(Default)]
pub(crate) struct Marks {
    /// The time of the full disk for which something went last.
    disk_full_ms: u64,
    fold: Mark,
    stats: Mark,
    prune_after: Vec<u8>,
    pins: Mark,
    pub(crate) retention: retention::Mark,
    pub(crate) age: age::Mark,
    pub(crate) gc: gc::Mark,
    pub(crate) scrub: scrub::Mark,
}

/// When something was done last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark(Option<u64>);

impl Mark {
    /// Whether it is to be done again, and then that it is done now. The first time is one period after the first look.
    pub(crate) fn is_due(&mut self, now: Timestamp, every_ms: u64) -> bool {
        let last_ms = *self.0.get_or_insert(now.0);
        let is_due = now.0 >= last_ms.saturating_add(every_ms);
        if is_due {
            self.0 = Some(now.0);
        }
        is_due
    }

    /// It is to be done at the next look.
    pub(crate) fn again(&mut self) {
        self.0 = Some(0);
    }
}

/// What comes after a slice: whether more is due.
pub(crate) type Then = Box<dyn FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan>;

/// A slice that is due.
pub(crate) type Work = Box<dyn FnOnce(&mut Context<'_>, Then) -> Plan>;

/// Looks whether a slice is due.
type Look = fn(&Arc<Shared>, &mut Context<'_>, ShardId) -> Result<Option<Work>, Fault>;

/// The kinds of work, in the order in which a turn does them: what was used is known before anything is evicted.
const LOOKS: &[Look] =
    &[fold, size, quota, retention::look, age::look, gc::look, expired_pins, count, scrub::look];

impl Cas {
    /// What is due on a shard of this core; the reply's status says whether to ask again at once.
    pub fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        if self.0.ready(cx.store, cx.now).is_err() {
            return Some(end(Turn { failed: true, ..Turn::default() }));
        }
        turn(cx, Arc::clone(&self.0), shard, 0, Turn::default())
    }
}

/// What a turn has met so far.
#[derive(Clone, Copy, Default)]
struct Turn {
    has_worked: bool,
    more: bool,
    failed: bool,
}

/// Does what is due from the kind with number `first` on. Nothing when nothing was done at all.
fn turn(
    cx: &mut Context<'_>,
    shared: Arc<Shared>,
    shard: ShardId,
    first: usize,
    mut met: Turn,
) -> Option<Plan> {
    for (number, look) in LOOKS.iter().enumerate().skip(first) {
        match look(&shared, cx, shard) {
            Ok(None) => {}
            Ok(Some(work)) => {
                met.has_worked = true;
                let then: Then = Box::new(move |cx, outcome| {
                    let more = met.more || matches!(outcome, Ok(true));
                    let met = Turn { more, failed: met.failed || outcome.is_err(), ..met };
                    turn(cx, shared, shard, number + 1, met).unwrap_or_else(|| end(met))
                });
                return Some(work(cx, then));
            }
            Err(_) => met.failed = true,
        }
    }
    (met.has_worked || met.failed).then(|| end(met))
}

/// The end of a turn. One that failed is not tried again at once, or it would be tried without end.
fn end(met: Turn) -> Plan {
    match met {
        Turn { failed: true, .. } => Plan::Reply(Reply::empty(http_types::StatusCode::INTERNAL_SERVER_ERROR)),
        Turn { more: true, .. } => Plan::wait(BETWEEN_TURNS, |_| Plan::Reply(Reply::empty(MORE_IS_DUE))),
        Turn { .. } => Plan::Reply(Reply::empty(http_types::StatusCode::OK)),
    }
}

/// Writes what was used.
fn fold(shared: &Arc<Shared>, cx: &mut Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let Some(loaded) = shared.loaded() else { return Ok(None) };
    if !loaded.shard(shard).marks().fold.is_due(cx.now, FOLD_EVERY_MS) {
        return Ok(None);
    }
    let touched = shared.lanes.take(shard, FOLD_COUNT);
    if touched.is_empty() {
        return Ok(None);
    }
    let more = touched.len() >= FOLD_COUNT;
    if more {
        loaded.shard(shard).marks().fold.again();
    }
    Ok(Some(Box::new(move |_, then| {
        Plan::submit(shard, Fold { touched }, move |cx, outcome| then(cx, outcome.map(|()| more)))
    })))
}

/// Remembers that eviction goes on from the high mark down to the low one. Whether it does.
fn goes_on(is_evicting: &AtomicBool, now: u64, limit: u64) -> bool {
    if now >= percent(limit, HIGH_PERCENT) && limit > 0 {
        is_evicting.store(true, Ordering::Relaxed);
    } else if now <= percent(limit, LOW_PERCENT) {
        is_evicting.store(false, Ordering::Relaxed);
    }
    is_evicting.load(Ordering::Relaxed)
}

/// Evicts for the limit of all.
fn size(shared: &Arc<Shared>, cx: &mut Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let Some(loaded) = shared.loaded() else { return Ok(None) };
    let limit = loaded.limit_bytes(shared.settings.max_bytes);
    if loaded.taken_bytes() > percent(limit, SHORT_PERCENT)
        && loaded.kept.dying_bytes() > percent(limit, DYING_PERCENT)
    {
        loaded.kept.want();
    }
    let is_over = goes_on(&loaded.is_evicting, loaded.total.committed_bytes(), limit);
    let full_ms = shared.disk_full_ms();
    // A full disk is a limit too, of which only uploads hear. Each time that one hears of it a slice goes.
    let is_full = std::mem::replace(&mut loaded.shard(shard).marks().disk_full_ms, full_ms) != full_ms;
    if !(is_over || is_full) || !shared.may_evict(cx.now) {
        return Ok(None);
    }
    let rules = match room::size_rules(shared, cx, shard, 0, Part::Fair)? {
        None if is_full => Some(room::any_rules(shared, cx.now)),
        rules => rules,
    };
    Ok(rules.map(|rules| evict(shared, shard, rules)))
}

/// Evicts for the quotas of namespaces.
fn quota(shared: &Arc<Shared>, cx: &mut Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let Some(loaded) = shared.loaded().filter(|_| shared.may_evict(cx.now)) else { return Ok(None) };
    for (ns, quota) in &shared.settings.quotas {
        let Some(state) = loaded.namespaces.find(ns) else { continue };
        let bytes = goes_on(&state.is_evicting_bytes, state.total.committed_bytes(), quota.bytes);
        let objects = goes_on(&state.is_evicting_objects, state.committed_objects(), quota.objects);
        if (bytes || objects)
            && let Some(rules) = room::quota_rules(shared, cx, shard, (state, quota), 0, Part::Fair)?
        {
            return Ok(Some(evict(shared, shard, rules)));
        }
    }
    Ok(None)
}

fn evict(shared: &Arc<Shared>, shard: ShardId, rules: Rules) -> Work {
    let shared = Arc::clone(shared);
    Box::new(move |cx, then| slice_in_turn(cx, &shared, shard, rules, then))
}

/// Takes away pins that are over.
fn expired_pins(shared: &Arc<Shared>, cx: &mut Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let Some(loaded) = shared.loaded().filter(|loaded| loaded.pinned.objects() > 0) else { return Ok(None) };
    if !loaded.shard(shard).marks().pins.is_due(cx.now, PINS_EVERY_MS) {
        return Ok(None);
    }
    let over = pins::over(cx, shard)?;
    if over.is_empty() {
        return Ok(None);
    }
    let shared = Arc::clone(shared);
    Ok(Some(Box::new(move |cx, then| pins::sweep(cx.now, &shared, shard, over, then))))
}

/// Writes what was counted.
fn count(shared: &Arc<Shared>, cx: &mut Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let Some(loaded) = shared.loaded().filter(|_| shard == STATS_SHARD) else { return Ok(None) };
    if !loaded.shard(shard).marks().stats.is_due(cx.now, STATS_EVERY_MS) {
        return Ok(None);
    }
    let rows = stats::take(shared);
    if rows.is_empty() {
        return Ok(None);
    }
    let prune_after = std::mem::take(&mut loaded.shard(shard).marks().prune_after);
    let (minute, shared) = (minute_of(cx.now), Arc::clone(shared));
    Ok(Some(Box::new(move |_, then| {
        stats::write(minute, Arc::clone(&shared), rows, prune_after, move |cx, outcome| {
            let outcome = outcome.map(|prune_after| {
                if let Some(loaded) = shared.loaded() {
                    loaded.shard(shard).marks().prune_after = prune_after;
                }
                false
            });
            then(cx, outcome)
        })
    })))
}
