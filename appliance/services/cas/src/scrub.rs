//! The scrubber: every stored blob is read again within a set time and compared with its digest, so that damage is found before
//! somebody needs what is damaged.
//! Invariant: a round is a walk over the digests of a shard that follows the clock: half of its time is over when it is half way
//! through them, so that a round ends in its time however much is stored. No more is read in a second than is set, and no more in
//! a turn than a request would. It leases nothing and moves nothing in the order of use. Where a walk stands is written now and
//! then: a start goes on from there.
//! Leaves to scrub/read.rs: reading and comparing. To corrupt.rs: what becomes of a blob that is damaged. To scrub/place.rs: how a
//! place is written.
//!
//! ```text
//!           reads what is due                               the time is over and nothing is left
//!   place ----------------------> place behind it ... place ----------------------------------> round + 1, at the beginning
//! ```
//! A long blob is read in parts, one a turn, with nothing held between them but the hash of those before.

mod place;
mod read;

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::store::{Direction, Fault, ShardId, Timestamp, View};
use plan::{Context, Piece, Plan};

use crate::Cas;
use crate::digest::{DIGEST_BYTES, Digest};
use crate::shared::Shared;
use crate::store::blob::BlobRecord;
use crate::store::{BLOBS, RECORD_STORED_BYTES, SCRUB};
use crate::tick::{Then, Work};
use place::{Cursor, KEY, Place, Save};
use read::{Due, Outcome, Partial, read};

/// Bytes that one turn reads.
const TURN_BYTES: u64 = 256 * 1024;
/// Blobs that one turn reads.
const TURN_COUNT: usize = 64;
/// Keys that one turn looks at, those that are gone already included.
const LOOK_COUNT: u64 = 1_000;
/// A place that has changed is written this often: what a start reads again costs less than writing more often.
const SAVE_EVERY_MS: u64 = 10 * 60_000;

/// How the scrubber goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scrub {
    /// Every blob is read once within this time. Nothing: none is.
    pub every: Option<Duration>,
    /// Bytes a second at most, of all shards together.
    pub bytes_per_second: u64,
}

impl Default for Scrub {
    /// Each 14 days, at 64 MiB a second at most.
    fn default() -> Scrub {
        Scrub { every: Some(Duration::from_secs(14 * 24 * 60 * 60)), bytes_per_second: 64 << 20 }
    }
}

impl Scrub {
    /// Milliseconds of a round: an eighth less than its time, so that one that was held up ends within it all the same.
    fn round_ms(&self) -> Option<u64> {
        let every_ms = u64::try_from(self.every?.as_millis()).unwrap_or(u64::MAX);
        Some((every_ms - every_ms / 8).max(1))
    }
}

/// What the scrubber has done since the start of the process.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) blobs: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) corrupt: AtomicU64,
}

/// What is shown of the walk over one shard.
#[derive(Default)]
pub(crate) struct Shown {
    /// Rounds that have ended, those of processes before included.
    rounds: AtomicU64,
    /// How far the round is, in thousandths.
    permille: AtomicU64,
    /// When the round began; 0 before the walk was looked at.
    began_ms: AtomicU64,
}

/// The numbers of the scrubber.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubFigures {
    /// Rounds that have ended on every shard, those of processes before included.
    pub rounds: u64,
    /// How far the round under way is, in thousandths, on the shard that is least far.
    pub permille: u64,
    /// When the round under way began, on the shard where that is longest ago; 0 before any.
    pub began_ms: u64,
    /// Blobs that were read to their end, since the start.
    pub blobs: u64,
    /// Bytes of blobs that were read, since the start.
    pub bytes: u64,
    /// Blobs, or records of blobs, that were damaged, since the start.
    pub corrupt: u64,
}

/// The numbers of the scrubber as they are now.
pub(crate) fn figures(shared: &Shared) -> ScrubFigures {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let done = &shared.counters.scrubbed;
    let shown = || shared.loaded().into_iter().flat_map(|loaded| loaded.shards()).map(|shard| &shard.scrub);
    let least = shown().map(|shown| (load(&shown.rounds), load(&shown.permille))).min();
    let (rounds, permille) = least.unwrap_or_default();
    let began_ms = shown().map(|shown| load(&shown.began_ms)).filter(|began_ms| *began_ms > 0).min();
    ScrubFigures {
        rounds,
        permille,
        began_ms: began_ms.unwrap_or_default(),
        blobs: load(&done.blobs),
        bytes: load(&done.bytes),
        corrupt: load(&done.corrupt),
    }
}

/// What is remembered of the walk over a shard.
#[derive(Default)]
pub(crate) struct Mark {
    /// Where it stands; nothing before it was read.
    place: Option<Place>,
    saved_ms: u64,
    is_changed: bool,
    allowance: Allowance,
    /// A blob of which a part was read.
    partial: Option<Partial>,
}

/// Bytes that may be read now. It may be used up by more than there is, and is less for it later.
#[derive(Clone, Copy, Default)]
struct Allowance {
    bytes: i64,
    at_ms: Option<u64>,
}

impl Allowance {
    /// Adds what the time since the last look allows: never more than a second's worth in all.
    fn refill(&mut self, now: Timestamp, bytes_per_second: u64) {
        let elapsed_ms = self.at_ms.map_or(0, |at_ms| now.0.saturating_sub(at_ms));
        let more = u128::from(bytes_per_second) * u128::from(elapsed_ms) / 1_000;
        let most = i64::try_from(bytes_per_second).unwrap_or(i64::MAX);
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(more).min(most);
        self.at_ms = Some(now.0);
    }

    fn take(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// What is to be read in a turn, and where the walk stands then.
#[derive(Default)]
struct Found {
    due: Vec<Due>,
    bytes: u64,
    /// Records that cannot be read.
    damaged: u64,
    /// Behind all that was looked at.
    cursor: Option<Cursor>,
    /// There may be more that is due.
    more: bool,
}

/// The next blobs that are due on a shard.
pub(crate) fn look(
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
    shard: ShardId,
) -> Result<Option<Work>, Fault> {
    let scrub = shared.settings.scrub;
    let (Some(loaded), Some(round_ms)) = (shared.loaded(), scrub.round_ms()) else { return Ok(None) };
    let state = loaded.shard(shard);
    let mut marks = state.marks();
    let mark = &mut marks.scrub;
    let shard_count = cx.store.shards().count() as u64;
    mark.allowance.refill(cx.now, scrub.bytes_per_second.div_ceil(shard_count.max(1)));
    let view = cx.store.view(shard)?;
    let place = match &mut mark.place {
        Some(place) => place,
        none => {
            mark.saved_ms = cx.now.0;
            none.insert(read_place(&view, cx.now)?)
        }
    };
    let until = place.until(cx.now, round_ms);
    state.scrub.show(place);
    if mark.allowance.bytes <= 0 {
        return Ok(None);
    }
    let found = match mark.partial.take().map(|partial| go_on(cx, &view, shard, partial)).transpose()? {
        Some(Some(found)) => found,
        Some(None) | None => find(cx, &view, shard, place.cursor, until)?,
    };
    mark.allowance.take(found.bytes);
    if found.due.is_empty() && found.damaged == 0 {
        let has_moved = found.cursor.is_some_and(|cursor| cursor != place.cursor);
        place.cursor = found.cursor.unwrap_or(place.cursor);
        let is_over = !found.more && until.is_none() && place.cursor == Cursor::End;
        if is_over {
            *place = place.next(cx.now);
        }
        state.scrub.show(place);
        mark.is_changed |= has_moved || is_over;
        let is_to_be_saved = mark.is_changed && cx.now.0 >= mark.saved_ms.saturating_add(SAVE_EVERY_MS);
        if !is_over && !is_to_be_saved {
            return Ok(None);
        }
        (mark.is_changed, mark.saved_ms) = (false, cx.now.0);
        let save = Save { place: *place };
        return Ok(Some(Box::new(move |_, then: Then| {
            Plan::submit(shard, save, move |cx, saved| then(cx, saved.map(|()| false)))
        })));
    }
    drop(marks);
    let shared = Arc::clone(shared);
    Ok(Some(Box::new(move |_, then: Then| {
        let Found { due, damaged, cursor, .. } = found;
        shared.counters.scrubbed.corrupt.fetch_add(damaged, Ordering::Relaxed);
        shared.counters.corrupt.fetch_add(damaged, Ordering::Relaxed);
        read(due, move |cx, outcomes| settle(cx, shared, shard, (outcomes, cursor), then))
    })))
}

impl Shown {
    fn show(&self, place: &Place) {
        self.rounds.store(place.rounds, Ordering::Relaxed);
        self.permille.store(place.cursor.permille(), Ordering::Relaxed);
        self.began_ms.store(place.began_ms, Ordering::Relaxed);
    }
}

/// Where the walk stood when that was written last; at its beginning where nothing, or nothing legible, was.
fn read_place(view: &View<'_>, now: Timestamp) -> Result<Place, Fault> {
    let read =
        view.get(SCRUB, KEY).and_then(|record| record.map(|record| Place::decode(record.value)).transpose());
    match read {
        Ok(Some(place)) => Ok(place),
        Ok(None) | Err(Fault::Corrupt(_)) => Ok(Place::first(now)),
        Err(fault) => Err(fault),
    }
}

/// The next part of a blob of which one was read, if it is still the blob that it was.
fn go_on(
    cx: &Context<'_>,
    view: &View<'_>,
    shard: ShardId,
    partial: Partial,
) -> Result<Option<Found>, Fault> {
    let Some(record) = view.get(BLOBS, partial.digest.as_bytes()).or_else(unless_damaged)? else {
        return Ok(None);
    };
    let Some((mut due, length)) = read_due(cx, shard, partial.digest, record) else { return Ok(None) };
    if due.stored_ms != partial.stored_ms || length <= partial.read_bytes {
        return Ok(None);
    }
    let bytes = TURN_BYTES.min(length - partial.read_bytes);
    (due.piece.start, due.piece.length) = (partial.read_bytes, bytes);
    due.is_last = partial.read_bytes + bytes == length;
    let cursor = due.is_last.then_some(Cursor::Behind(partial.digest));
    due.before = Some(partial);
    Ok(Some(Found { due: vec![due], bytes, cursor, ..Found::default() }))
}

fn unless_damaged<T>(fault: Fault) -> Result<Option<T>, Fault> {
    if matches!(fault, Fault::Corrupt(_)) { Ok(None) } else { Err(fault) }
}

/// The blobs behind a place whose time has come. `until`: the digests that are not due yet begin so; nothing: all are.
fn find(
    cx: &Context<'_>,
    view: &View<'_>,
    shard: ShardId,
    cursor: Cursor,
    until: Option<u64>,
) -> Result<Found, Fault> {
    let mut found = Found::default();
    let start = match &cursor {
        Cursor::Beginning => Bound::Unbounded,
        Cursor::Behind(digest) => Bound::Excluded(&digest.as_bytes()[..]),
        Cursor::End => return Ok(found),
    };
    let mut scan = view.scan(BLOBS, start, Direction::Forward);
    // What cannot be read has no digest: it counts once the walk stands behind it.
    let mut met_damaged = 0;
    while scan.examined() < LOOK_COUNT && met_damaged < LOOK_COUNT {
        let (key, record) = match scan.step() {
            Ok(Some(found)) => found,
            Ok(None) => {
                found.damaged += met_damaged;
                found.cursor = Some(Cursor::End);
                return Ok(found);
            }
            // The walk goes on behind it.
            Err(Fault::Corrupt(_)) => {
                met_damaged += 1;
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let Ok(digest) = <[u8; DIGEST_BYTES]>::try_from(key).map(Digest::new) else { continue };
        if until.is_some_and(|until| prefix(&digest) >= until) {
            return Ok(found);
        }
        match record.map(|record| read_due(cx, shard, digest, record)) {
            None => {}
            Some(None) => met_damaged += 1,
            Some(Some((due, length))) if length > TURN_BYTES => {
                if found.due.is_empty() {
                    found.take(due, TURN_BYTES);
                }
                // It is known where the walk stands then once the rest was read.
                break;
            }
            Some(Some((_, length))) if found.bytes + length > TURN_BYTES => break,
            Some(Some((due, length))) => found.take(due, length),
        }
        found.damaged += std::mem::take(&mut met_damaged);
        found.cursor = Some(Cursor::Behind(digest));
        if found.due.len() >= TURN_COUNT {
            break;
        }
    }
    Ok(Found { more: true, ..found })
}

impl Found {
    /// Takes the first bytes of a blob.
    fn take(&mut self, mut due: Due, bytes: u64) {
        due.is_last = bytes == due.piece.length;
        due.piece.length = bytes;
        self.bytes += bytes + RECORD_STORED_BYTES;
        self.due.push(due);
    }
}

/// All of a blob to be read, and its length. Nothing where its record has not the body that it says.
fn read_due(
    cx: &Context<'_>,
    shard: ShardId,
    digest: Digest,
    record: ::store::Record<'_>,
) -> Option<(Due, u64)> {
    let BlobRecord { length, created_ms } = BlobRecord::decode(record.value).ok()?;
    let mut bodies = record.bodies;
    let body = bodies.pop().filter(|body| bodies.is_empty() && body.length() == length)?;
    let pin = cx.store.pin(shard, &body);
    let piece = Piece { body, pin, start: 0, length };
    Some((Due { digest, stored_ms: created_ms, piece, is_last: true, before: None }, length))
}

/// The place of a digest among all that there can be.
fn prefix(digest: &Digest) -> u64 {
    u64::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

/// Puts aside what was damaged, and remembers how far the walk has come.
fn settle(
    cx: &mut Context<'_>,
    shared: Arc<Shared>,
    shard: ShardId,
    (mut outcomes, cursor): (Vec<Outcome>, Option<Cursor>),
    then: Then,
) -> Plan {
    let done = &shared.counters.scrubbed;
    while let Some(outcome) = outcomes.pop() {
        match outcome {
            Outcome::Sound { bytes } => {
                done.blobs.fetch_add(1, Ordering::Relaxed);
                done.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Outcome::Part { partial, bytes } => {
                done.bytes.fetch_add(bytes, Ordering::Relaxed);
                if let Some(loaded) = shared.loaded() {
                    loaded.shard(shard).marks().scrub.partial = Some(partial);
                }
            }
            Outcome::Damaged { digest, stored_ms, bytes } => {
                done.blobs.fetch_add(1, Ordering::Relaxed);
                done.bytes.fetch_add(bytes, Ordering::Relaxed);
                let cas = Cas(Arc::clone(&shared));
                return cas.quarantine(cx, digest, stored_ms, move |cx, put_aside| match put_aside {
                    Ok(was_there) => {
                        shared.counters.scrubbed.corrupt.fetch_add(u64::from(was_there), Ordering::Relaxed);
                        settle(cx, shared, shard, (outcomes, cursor), then)
                    }
                    // It is met again, since the walk stays where it is.
                    Err(fault) => then(cx, Err(fault)),
                });
            }
            // So is this.
            Outcome::Unread(fault) => return then(cx, Err(fault)),
        }
    }
    if let (Some(loaded), Some(cursor)) = (shared.loaded(), cursor) {
        let state = loaded.shard(shard);
        let mut marks = state.marks();
        let mark = &mut marks.scrub;
        if let Some(place) = &mut mark.place {
            place.cursor = cursor;
            state.scrub.show(place);
        }
        mark.is_changed = true;
    }
    // Whether more is due the next look finds out, and whether it may be read yet.
    then(cx, Ok(true))
}
