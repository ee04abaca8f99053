//! Looking for a blob, with the promise that it stays.
//! Invariant: what is answered as there is leased before the answer; a miss leases nothing, so that nobody can keep the evictor
//! from its work by asking for what is not there.
//! Leaves to lease.rs: how a lease and an eviction see each other.
//!
//! ```text
//! slot looked at -> view -> absent: a miss, unless the slot was condemned
//!                        -> there: slot exchanged -> leased: a hit
//!                                                 -> changed: again; condemned: ask the owner, wait, again
//! ```

use std::time::Duration;

use ::store::{Fault, Operation, Outcome, ShardId, Store, TableId, Timestamp, Tx, View};
use plan::{Context, Piece, Plan};

use crate::Cas;
use crate::digest::Digest;
use crate::lease::{Renewed, Seen};
use crate::namespace::Namespace;
use crate::store::blob::BlobRecord;
use crate::store::entry::EntryHead;
use crate::store::{BLOBS, ENTRIES, EntryKey, place_of};

/// How often a slot may change under a reader before it asks the owner.
const CHANGE_COUNT_MAX: usize = 8;
/// How often the owner is asked at most, a millisecond apart.
const ASK_COUNT_MAX: u32 = 250;
/// Between two looks at a slot that is condemned for another blob's sake.
const ASK_PAUSE: Duration = Duration::from_millis(1);

/// A blob that is there and leased.
pub struct Blob {
    /// Which.
    pub digest: Digest,
    /// Number of bytes.
    pub length: u64,
    /// All of it.
    pub piece: Piece,
    /// The media type that its upload named.
    pub content_type: Option<Box<str>>,
    /// When the namespace got it.
    pub created_ms: u64,
    /// When it was stored, by whichever namespace: tells it from another blob of the same digest, stored later.
    pub stored_ms: u64,
}

/// What a look has found.
pub(crate) enum Found<T> {
    There(T),
    Absent,
    /// Only the owner knows.
    Condemned,
}

impl<T> Found<T> {
    fn map<R>(self, make: impl FnOnce(T) -> R) -> Found<R> {
        match self {
            Found::There(found) => Found::There(make(found)),
            Found::Absent => Found::Absent,
            Found::Condemned => Found::Condemned,
        }
    }
}

impl Found<Blob> {
    /// The length, and the blob.
    pub(crate) fn into_first(self) -> Found<(u64, Option<Blob>)> {
        self.map(|blob| (blob.length, Some(blob)))
    }
}

impl Found<u64> {
    /// The length alone.
    pub(crate) fn into_length(self) -> Found<(u64, Option<Blob>)> {
        self.map(|length| (length, None))
    }
}

impl Cas {
    /// Finds a blob of a namespace and leases it. Errors: the store cannot be read, or (`Fault::Busy`) evictions of the blob's slot
    /// did not end.
    pub fn find<F>(&self, cx: &mut Context<'_>, ns: &Namespace, digest: Digest, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Option<Blob>, Fault>) -> Plan + 'static,
    {
        let shard = place_of(cx.store, &digest);
        if cx.store.is_cold(shard) {
            let (cas, ns) = (self.clone(), *ns);
            let keys = cold_keys(&ns, &digest);
            return Plan::warm(shard, keys, move |cx| cas.find_warm(cx, ns, digest, 0, then));
        }
        // The usual case, which costs no copy of what only waiting needs.
        match self.look(cx.store, cx.now, ns, &digest) {
            Ok(Found::There(blob)) => then(cx, Ok(Some(blob))),
            Ok(Found::Absent) => then(cx, Ok(None)),
            Ok(Found::Condemned) => self.ask(shard, *ns, digest, 0, then),
            Err(fault) => then(cx, Err(fault)),
        }
    }

    fn find_warm<F>(&self, cx: &mut Context<'_>, ns: Namespace, digest: Digest, asked: u32, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Option<Blob>, Fault>) -> Plan + 'static,
    {
        match self.look(cx.store, cx.now, &ns, &digest) {
            Ok(Found::There(blob)) => then(cx, Ok(Some(blob))),
            Ok(Found::Absent) => then(cx, Ok(None)),
            Ok(Found::Condemned) if asked >= ASK_COUNT_MAX => then(cx, Err(Fault::Busy)),
            Ok(Found::Condemned) => self.ask(place_of(cx.store, &digest), ns, digest, asked, then),
            Err(fault) => then(cx, Err(fault)),
        }
    }

    fn ask<F>(&self, shard: ShardId, ns: Namespace, digest: Digest, asked: u32, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Option<Blob>, Fault>) -> Plan + 'static,
    {
        let cas = self.clone();
        Plan::submit(shard, AskEntry { key: EntryKey::new(&digest, &ns) }, move |cx, answer| match answer {
            Err(fault) => then(cx, Err(fault)),
            Ok(false) => then(cx, Ok(None)),
            // The slot is condemned for another blob, or the eviction failed: it is free soon.
            Ok(true) => Plan::wait(ASK_PAUSE, move |cx| cas.find_warm(cx, ns, digest, asked + 1, then)),
        })
    }

    /// Looks at a blob in this turn, and leases it.
    pub(crate) fn look(
        &self,
        store: &Store,
        now: Timestamp,
        ns: &Namespace,
        digest: &Digest,
    ) -> Result<Found<Blob>, Fault> {
        self.look_for(store, now, ns, digest, |shard, entry, record, body| {
            let (pin, length) = (store.pin(shard, &body), record.length);
            Blob {
                digest: *digest,
                length,
                piece: Piece { body, pin, start: 0, length },
                content_type: entry.content_type.map(Box::from),
                created_ms: entry.created_ms,
                stored_ms: record.created_ms,
            }
        })
    }

    /// Looks at a blob in this turn for its length alone, and leases it.
    pub(crate) fn look_at_length(
        &self,
        store: &Store,
        now: Timestamp,
        ns: &Namespace,
        digest: &Digest,
    ) -> Result<Found<u64>, Fault> {
        self.look_for(store, now, ns, digest, |_, _, record, _| record.length)
    }

    fn look_for<T>(
        &self,
        store: &Store,
        now: Timestamp,
        ns: &Namespace,
        digest: &Digest,
        take: impl Fn(ShardId, &EntryHead<'_>, &BlobRecord, ::store::BodyRef) -> T,
    ) -> Result<Found<T>, Fault> {
        self.0.ready(store, now)?;
        let shard = place_of(store, digest);
        for _ in 0..CHANGE_COUNT_MAX {
            let seen = self.0.leases.look(digest);
            let view = store.view(shard)?;
            let taken = |entry: &EntryHead<'_>, record: &BlobRecord, body| take(shard, entry, record, body);
            if let Some(found) = self.look_in(&view, now, ns, digest, seen, taken)? {
                return Ok(found);
            }
        }
        Ok(Found::Condemned)
    }

    /// Looks at a blob in a view that was taken after `seen`, and leases it; nothing when the slot has changed meanwhile.
    fn look_in<T>(
        &self,
        view: &View<'_>,
        now: Timestamp,
        ns: &Namespace,
        digest: &Digest,
        seen: Seen,
        take: impl FnOnce(&EntryHead<'_>, &BlobRecord, ::store::BodyRef) -> T,
    ) -> Result<Option<Found<T>>, Fault> {
        if seen.is_condemned() {
            return Ok(Some(Found::Condemned));
        }
        let entry = self.unless_damaged(view.get_if_known(ENTRIES, EntryKey::new(digest, ns).as_bytes()))?;
        let Some(entry) = entry else { return Ok(Some(Found::Absent)) };
        let blob = self.unless_damaged(view.get(BLOBS, digest.as_bytes()))?;
        let Some(mut blob) = blob else { return Ok(Some(Found::Absent)) };
        let heads =
            EntryHead::decode(entry.value).and_then(|head| Ok((head, BlobRecord::decode(blob.value)?)));
        let Some((head, record)) = self.unless_damaged(heads.map(Some))? else {
            return Ok(Some(Found::Absent));
        };
        let body = match blob.bodies.pop() {
            Some(body) if body.length() == record.length => body,
            Some(_) | None => {
                self.0.count_corrupt();
                return Ok(Some(Found::Absent));
            }
        };
        let taken = take(&head, &record, body);
        match self.0.leases.renew(digest, seen, now, self.lease_s()) {
            Renewed::Leased => {
                self.0.touch_blob(now, view.shard(), ns, digest, head.access_second);
                Ok(Some(Found::There(taken)))
            }
            Renewed::Changed => Ok(None),
        }
    }

    /// A damaged record is counted and taken for none: a cache that misses breaks no build, and what is brought again mends it.
    pub(crate) fn unless_damaged<T>(&self, found: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
        if let Err(Fault::Corrupt(_)) = &found {
            self.0.count_corrupt();
            return Ok(None);
        }
        found
    }

    /// The lease period in seconds.
    pub(crate) fn lease_s(&self) -> u32 {
        u32::try_from(self.0.settings.lease.as_secs()).unwrap_or(u32::MAX)
    }
}

/// The keys that a look will touch.
pub(crate) fn cold_keys(ns: &Namespace, digest: &Digest) -> Vec<(TableId, Vec<u8>)> {
    vec![(BLOBS, digest.as_bytes().to_vec()), (ENTRIES, EntryKey::new(digest, ns).as_bytes().to_vec())]
}

/// Keys of a shard whose owner takes page faults.
pub(crate) type ColdKeys = (ShardId, Vec<(TableId, Vec<u8>)>);

/// The keys that looks at many blobs will touch, by shard, of those shards whose owners take page faults.
pub(crate) fn cold_shards<'d>(
    store: &Store,
    ns: &Namespace,
    digests: impl Iterator<Item = &'d Digest>,
) -> Vec<ColdKeys> {
    let mut cold: Vec<_> =
        store.shards().filter(|shard| store.is_cold(*shard)).map(|shard| (shard, Vec::new())).collect();
    if !cold.is_empty() {
        for digest in digests {
            let shard = place_of(store, digest);
            if let Some((_, keys)) = cold.iter_mut().find(|(other, _)| *other == shard) {
                keys.extend(cold_keys(ns, digest));
            }
        }
        cold.retain(|(_, keys)| !keys.is_empty());
    }
    cold
}

/// Brings the index pages of keys of several shards into memory, one shard after the other, and goes on.
pub(crate) fn warm_each<F>(mut cold: Vec<ColdKeys>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>) -> Plan + 'static,
{
    match cold.pop() {
        Some((shard, keys)) => Plan::warm(shard, keys, move |_| warm_each(cold, then)),
        None => Plan::Pause(Box::new(move |cx, ()| then(cx))),
    }
}

/// Whether an entry is there, once all that is under way is decided.
struct AskEntry {
    key: EntryKey,
}

impl Operation for AskEntry {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(ENTRIES, self.key.as_bytes());
    }

    /// It writes nothing.
    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        // The reply waits for the batch of what it looked at, so also for a delete that is under way.
        tx.get_ref(ENTRIES, self.key.as_bytes(), |record| record.is_some()).map(Outcome::Rollback)
    }
}
