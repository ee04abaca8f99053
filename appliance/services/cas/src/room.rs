//! Room for uploads: promised before a byte is kept, made by evicting where there is none.
//! Invariant: what is stored, what is promised and what has gone but is on the disk still never exceed the limit together, nor the
//! first two a namespace's quota; a promise is given back when it is dropped, after the totals have what was stored.
//! Leaves to evict.rs: what goes. To tick.rs: evicting before the limit is reached.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::store::{Fault, ShardId, Timestamp};
use plan::{Context, Plan};

use crate::Cas;
use crate::evict::{Rules, slice};
use crate::namespace::Namespace;
use crate::planted::{self, Plant};
use crate::settings::Quota;
use crate::shared::{Loaded, NamespaceState, Shared};
use crate::stats::Reason;
use crate::store::{USAGE, second_of};

/// Eviction begins when so much of a limit is committed.
pub(crate) const HIGH_PERCENT: u64 = 95;
/// It ends when so much of it is.
pub(crate) const LOW_PERCENT: u64 = 90;
/// When so much is taken, what has gone and is on the disk still included, the store is asked to give that back early: not
/// sooner, since a fold may write a page for every entry that came or went.
pub(crate) const SHORT_PERCENT: u64 = 97;
/// So much has to have gone for that.
pub(crate) const DYING_PERCENT: u64 = 1;
/// Between two looks of an upload that waits for what others are evicting.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(2);

/// Why there is no room.
#[derive(Clone, Debug)]
pub enum NoRoom {
    /// The content store has reached its limit.
    Full,
    /// The namespace has reached its quota, or there are too many namespaces.
    Quota,
    /// The store cannot be read.
    Fault(Fault),
}

/// Room that is promised; given back when it is dropped.
pub struct Reservation {
    shared: Arc<Shared>,
    ns: Namespace,
    bytes: u64,
    /// One, or none where it is more room for an object that has a promise already.
    objects: u64,
}

impl Reservation {
    /// Promises `bytes` more. Errors: there is no room for them; what was promised before stays.
    pub fn grow(&mut self, bytes: u64) -> Result<(), NoRoom> {
        // What is promised stands: for a moment others may count twice, as stored and as promised still.
        if bytes == 0 {
            return Ok(());
        }
        let Some((loaded, state)) = totals(&self.shared, &self.ns) else { return Err(NoRoom::Quota) };
        let quota = self.shared.settings.quotas.get(&self.ns);
        if planted::is(Plant::ReservationForgotten) {
            return Ok(());
        }
        loaded.total.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        state.total.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes = self.bytes.saturating_add(bytes);
        let limit = loaded.limit_bytes(self.shared.settings.max_bytes);
        let refused = if loaded.taken_bytes() > limit {
            Some(NoRoom::Full)
        } else if quota.is_some_and(|quota| state.total.taken_bytes() > quota.bytes) {
            Some(NoRoom::Quota)
        } else {
            None
        };
        if refused.is_some() {
            self.give_back(bytes);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Takes over the bytes of another promise to the same namespace, which is for no object of its own.
    pub(crate) fn absorb(&mut self, mut more: Reservation) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut more.bytes));
    }

    fn give_back(&mut self, bytes: u64) {
        if let Some((loaded, state)) = totals(&self.shared, &self.ns)
            && self.bytes >= bytes
        {
            loaded.total.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
            state.total.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.bytes -= bytes;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(self.bytes);
        if let Some((_, state)) = totals(&self.shared, &self.ns) {
            state.reserved_objects.fetch_sub(self.objects, Ordering::AcqRel);
        }
    }
}

fn totals<'a>(shared: &'a Shared, ns: &Namespace) -> Option<(&'a Loaded, &'a NamespaceState)> {
    let loaded = shared.loaded()?;
    Some((loaded, loaded.namespaces.get(ns)?))
}

/// Promises room for one object, or more of it for one that has a promise. Errors: there is none now.
fn reserve(shared: &Arc<Shared>, ns: &Namespace, bytes: u64, objects: u64) -> Result<Reservation, NoRoom> {
    let Some((_, state)) = totals(shared, ns) else { return Err(NoRoom::Quota) };
    state.reserved_objects.fetch_add(objects, Ordering::AcqRel);
    let mut reservation = Reservation { shared: Arc::clone(shared), ns: *ns, bytes: 0, objects };
    let quota = shared.settings.quotas.get(ns);
    if objects > 0 && quota.is_some_and(|quota| state.taken_objects() > quota.objects) {
        return Err(NoRoom::Quota);
    }
    reservation.grow(bytes)?;
    Ok(reservation)
}

/// What is to go so that a limit of `bytes_max` has room for `bytes` more, and some beside, so that not every upload evicts.
fn excess(committed: u64, bytes: u64, bytes_max: u64) -> u64 {
    let low = percent(bytes_max, LOW_PERCENT);
    committed.saturating_add(bytes).saturating_sub(if bytes > low { bytes_max } else { low })
}

/// A part of a limit.
pub(crate) fn percent(limit: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(limit)
}

/// Which part of what is to go a shard gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// What it has beyond an equal share: digests spread evenly, so that all shards then end with what is equally old.
    Fair,
    /// All of it.
    All,
}

/// What a shard is to give for a limit: of `over` that is to go, where `low` may stay and it has `here` of it.
fn part_of(part: Part, over: u64, low: u64, here: i64, shard_count: u64) -> u64 {
    match part {
        Part::All => over,
        Part::Fair => over.min(u64::try_from(here).unwrap_or(0).saturating_sub(low / shard_count.max(1))),
    }
}

/// What a shard is to give for the limit of all, so that there is room for `bytes` more; what is in use stays.
/// Errors: a view's.
pub(crate) fn size_rules(
    shared: &Shared,
    cx: &Context<'_>,
    shard: ShardId,
    bytes: u64,
    part: Part,
) -> Result<Option<Rules>, Fault> {
    let Some(loaded) = shared.loaded() else { return Ok(None) };
    let limit = loaded.limit_bytes(shared.settings.max_bytes);
    let over = excess(loaded.total.committed_bytes(), bytes, limit);
    // What is short then is what has gone and is not given back.
    if over == 0 {
        return Ok(None);
    }
    let [_, here] = cx.store.view(shard)?.counter(USAGE, &[])?;
    let low = percent(limit, LOW_PERCENT);
    let wanted = part_of(part, over, low, here, cx.store.shards().count() as u64);
    Ok((wanted > 0).then(|| Rules {
        reason: Reason::Size,
        now: cx.now,
        ns: None,
        before_second: unused_before(shared, cx.now),
        bytes: wanted,
        objects: u64::MAX,
        dry: None,
    }))
}

/// The oldest objects of a shard, as many as free room on a full disk that is worth an upload.
pub(crate) fn any_rules(shared: &Shared, now: Timestamp) -> Rules {
    const COUNT: u64 = 64;
    let before_second = unused_before(shared, now);
    Rules { reason: Reason::Size, now, ns: None, before_second, bytes: u64::MAX, objects: COUNT, dry: None }
}

/// What a shard is to give for a quota, so that there is room for an object of `bytes` more. Errors: a view's.
pub(crate) fn quota_rules(
    shared: &Shared,
    cx: &Context<'_>,
    shard: ShardId,
    (state, quota): (&NamespaceState, &Quota),
    bytes: u64,
    part: Part,
) -> Result<Option<Rules>, Fault> {
    let bytes_over = excess(state.total.committed_bytes(), bytes, quota.bytes);
    let objects_over = excess(state.committed_objects(), u64::from(bytes > 0), quota.objects);
    let here = cx.store.view(shard)?.counter(USAGE, state.name.as_bytes())?;
    let shard_count = cx.store.shards().count() as u64;
    let of_bytes = part_of(part, bytes_over, percent(quota.bytes, LOW_PERCENT), here[1], shard_count);
    let of_objects = part_of(part, objects_over, percent(quota.objects, LOW_PERCENT), here[0], shard_count);
    let (bytes, objects) = match (of_bytes, of_objects) {
        (0, 0) => return Ok(None),
        (0, objects) => (u64::MAX, objects),
        (bytes, _) => (bytes, u64::MAX),
    };
    let (ns, before_second) = (Some(state.name), unused_before(shared, cx.now));
    Ok(Some(Rules { reason: Reason::Quota, now: cx.now, ns, before_second, bytes, objects, dry: None }))
}

/// What was used in this second or later was used within one lease period.
pub(crate) fn unused_before(shared: &Shared, now: Timestamp) -> u32 {
    if planted::is(Plant::FreshEvicted) {
        return u32::MAX;
    }
    second_of(Timestamp(now.0.saturating_sub(shared.lease_ms()))).saturating_add(1)
}

/// Allows one slice at a time on a shard.
struct Turn {
    shared: Arc<Shared>,
    shard: ShardId,
}

impl Turn {
    fn take(shared: &Arc<Shared>, shard: ShardId) -> Option<Turn> {
        let is_taken = shared.loaded()?.shard(shard).is_slicing.swap(true, Ordering::AcqRel);
        (!is_taken).then(|| Turn { shared: Arc::clone(shared), shard })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(loaded) = self.shared.loaded() {
            loaded.shard(self.shard).is_slicing.store(false, Ordering::Release);
        }
    }
}

/// An upload that waits for room.
struct Wanted<F> {
    ns: Namespace,
    bytes: u64,
    objects: u64,
    attempts: u32,
    began: Timestamp,
    /// Why there was none last.
    why: NoRoom,
    /// Shards that were not asked to evict in this attempt, and for which part.
    shards: Vec<(ShardId, Part)>,
    /// Somebody else was evicting on a shard, or something has gone.
    has_hope: bool,
    then: F,
}

impl Cas {
    /// Promises room for an object, and makes it where there is none. Refuses when nothing can be evicted, or nothing was within
    /// the patience of an upload. `attempts`: how often it was tried before.
    pub(crate) fn with_room<F>(
        &self,
        cx: &mut Context<'_>,
        ns: Namespace,
        bytes: u64,
        attempts: u32,
        then: F,
    ) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        if let Err(fault) = self.0.ready(cx.store, cx.now) {
            return then(cx, Err(NoRoom::Fault(fault)));
        }
        self.with_room_for(cx, ns, (bytes, 1), attempts, then)
    }

    /// Promises more room for an object that has a promise already, and makes it where there is none; as `with_room`.
    pub(crate) fn with_more_room<F>(&self, cx: &mut Context<'_>, ns: Namespace, bytes: u64, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        self.with_room_for(cx, ns, (bytes, 0), 0, then)
    }

    fn with_room_for<F>(
        &self,
        cx: &mut Context<'_>,
        ns: Namespace,
        (bytes, objects): (u64, u64),
        attempts: u32,
        then: F,
    ) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        match reserve(&self.0, &ns, bytes, objects) {
            Ok(room) => then(cx, Ok(room)),
            Err(why) => {
                let (shards, began) = (Vec::new(), cx.now);
                let wanted =
                    Wanted { ns, bytes, objects, attempts, began, why, shards, has_hope: false, then };
                self.make_room(cx, wanted)
            }
        }
    }

    /// Begins an attempt: each shard is asked once.
    fn make_room<F>(&self, cx: &mut Context<'_>, mut wanted: Wanted<F>) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        let limit = match (&wanted.why, self.0.settings.quotas.get(&wanted.ns)) {
            (NoRoom::Quota, quota) => quota.map_or(0, |quota| quota.bytes),
            _ => self.0.loaded().map_or(0, |loaded| loaded.limit_bytes(self.0.settings.max_bytes)),
        };
        let patience = self.0.settings.room_patience;
        // The looks are counted too: a clock that is set back must keep nobody waiting.
        let is_over = ATTEMPT_PAUSE.saturating_mul(wanted.attempts) >= patience
            || u128::from(cx.now.0.saturating_sub(wanted.began.0)) >= patience.as_millis()
            || wanted.bytes > limit;
        if is_over || !self.0.may_evict(cx.now) {
            return (wanted.then)(cx, Err(wanted.why));
        }
        wanted.attempts += 1;
        wanted.has_hope = false;
        if let (NoRoom::Full, Some(loaded)) = (&wanted.why, self.0.loaded()) {
            loaded.kept.want();
        }
        let mut shards: Vec<ShardId> = cx.store.shards().collect();
        // Uploads beside each other begin with different shards.
        let first = (cx.random)() as usize % shards.len().max(1);
        shards.rotate_left(first);
        // The last is asked first.
        wanted.shards = [Part::All, Part::Fair]
            .iter()
            .flat_map(|part| shards.iter().map(|shard| (*shard, *part)))
            .collect();
        self.ask_shards(cx, wanted)
    }

    fn ask_shards<F>(&self, cx: &mut Context<'_>, mut wanted: Wanted<F>) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        while let Some((shard, part)) = wanted.shards.pop() {
            let Ok(Some(rules)) = self.rules_for(cx, shard, part, &wanted) else { continue };
            let Some(turn) = Turn::take(&self.0, shard) else {
                wanted.has_hope = true;
                continue;
            };
            let cas = self.clone();
            return slice(&self.0, shard, rules, move |cx, evicted| {
                drop(turn);
                let gone = evicted.is_ok_and(|evicted| evicted.objects > 0 || evicted.more);
                wanted.has_hope |= gone;
                if gone { cas.try_again(cx, wanted) } else { cas.ask_shards(cx, wanted) }
            });
        }
        if !wanted.has_hope && !self.is_leaving(&wanted.ns, &wanted.why) {
            return self.try_last(cx, wanted);
        }
        let cas = self.clone();
        Plan::wait(ATTEMPT_PAUSE, move |cx| cas.try_again(cx, wanted))
    }

    /// Whether somebody's eviction is not durable yet, or, where the limit of all is what is short, not given back to the disk:
    /// what it took away is room in a moment.
    fn is_leaving(&self, ns: &Namespace, why: &NoRoom) -> bool {
        totals(&self.0, ns).is_some_and(|(loaded, state)| match why {
            NoRoom::Full => loaded.total.is_leaving() || loaded.kept.dying_bytes() > 0,
            NoRoom::Quota | NoRoom::Fault(_) => loaded.total.is_leaving() || state.total.is_leaving(),
        })
    }

    fn rules_for<F>(
        &self,
        cx: &Context<'_>,
        shard: ShardId,
        part: Part,
        wanted: &Wanted<F>,
    ) -> Result<Option<Rules>, Fault> {
        let Some((_, state)) = totals(&self.0, &wanted.ns) else { return Ok(None) };
        match (&wanted.why, self.0.settings.quotas.get(&wanted.ns)) {
            (NoRoom::Quota, Some(quota)) => {
                quota_rules(&self.0, cx, shard, (state, quota), wanted.bytes, part)
            }
            (NoRoom::Quota, None) => Ok(None),
            _ => size_rules(&self.0, cx, shard, wanted.bytes, part),
        }
    }

    fn try_again<F>(&self, cx: &mut Context<'_>, mut wanted: Wanted<F>) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        match reserve(&self.0, &wanted.ns, wanted.bytes, wanted.objects) {
            Ok(room) => (wanted.then)(cx, Ok(room)),
            Err(why) => {
                wanted.why = why;
                self.make_room(cx, wanted)
            }
        }
    }

    /// Nothing can be evicted. What was promised to others may have come back meanwhile.
    fn try_last<F>(&self, cx: &mut Context<'_>, wanted: Wanted<F>) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Reservation, NoRoom>) -> Plan + 'static,
    {
        let room = reserve(&self.0, &wanted.ns, wanted.bytes, wanted.objects);
        (wanted.then)(cx, room)
    }
}

/// A slice for the background, unless one is under way on the shard.
pub(crate) fn slice_in_turn<F>(
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    shard: ShardId,
    rules: Rules,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
{
    let Some(turn) = Turn::take(shared, shard) else { return then(cx, Ok(false)) };
    slice(shared, shard, rules, move |cx, evicted| {
        drop(turn);
        then(cx, evicted.map(|evicted| evicted.more || evicted.objects > 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_go_leaves_the_low_mark_and_room_for_what_comes() {
        assert_eq!(excess(96, 0, 100), 6);
        assert_eq!(excess(80, 0, 100), 0);
        assert_eq!(excess(96, 4, 100), 10);
        // Nothing could be left beside it below the mark.
        assert_eq!(excess(90, 95, 100), 85);
        assert_eq!(part_of(Part::Fair, 10, 90, 50, 2), 5);
        assert_eq!(part_of(Part::Fair, 10, 90, 40, 2), 0);
        assert_eq!(part_of(Part::All, 10, 90, 40, 2), 10);
        assert_eq!(percent(u64::MAX, 90), u64::MAX / 100 * 90 + 13);
    }
}
