//! Key records: what a build tool stored under a key of its own, and the blobs without which that is worth nothing.
//! Invariant: a hit is answered only when every blob that the record names is there and leased; a record that lacks one is dropped,
//! if it is still the record that was judged.
//! Leaves to the dialects: what a value means, and which blobs it names.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::store::{Fault, Operation, Outcome, ShardId, TableId, Tx};
use bytes::Bytes;
use plan::{Context, Plan};

use crate::Cas;
use crate::closure::{REMEMBERED_COUNT_MIN, Version};
use crate::digest::Digest;
use crate::find::{Blob, Found, cold_shards, warm_each};
use crate::namespace::{KeyName, Provenance};
use crate::put::{Known, PutError, known};
use crate::room::Reservation;
use crate::store::key::{
    INLINE_BYTES_MAX, KeyHead, KeyRecord, METADATA_BYTES_MAX, Metadata, REFERENCE_COUNT_MAX, Reference,
    key_stored_bytes,
};
use crate::store::{ACCESS, KEYS, key_access_key, key_key, second_of};
use crate::usage::{count_of_namespace, count_of_shard};

/// Bytes that the time and the second of a record take at most.
const TIMES_BYTES_MAX: usize = 16;
/// References that are looked at before others get their turn.
const REFERENCES_PER_TURN: usize = 256;

/// A key record whose blobs are all there and leased.
pub struct KeyHit {
    /// The inline value.
    pub value: Bytes,
    /// What the dialect keeps with it.
    pub metadata: Metadata,
    /// All blobs that it names.
    pub references: Vec<Reference>,
    /// The first of them, ready to be read.
    pub first: Option<Blob>,
    /// When the record was written.
    pub created_ms: u64,
    /// Who wrote it.
    pub by: Provenance,
}

/// A key record to be written.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// The inline value, at most `store::key::INLINE_BYTES_MAX` bytes.
    pub value: Bytes,
    /// What the dialect keeps with it, at most `store::key::METADATA_BYTES_MAX` bytes.
    pub metadata: Metadata,
    /// The blobs that it names, at most `store::key::REFERENCE_COUNT_MAX`.
    pub references: Vec<Reference>,
    /// Who writes it.
    pub by: Provenance,
    /// Whether a record that is there stays.
    pub if_absent: bool,
}

/// Why a key record was not written.
#[derive(Clone, Debug)]
pub enum KeyError {
    /// These blobs are not there.
    Missing(Vec<Digest>),
    /// There is a record already.
    Exists,
    /// Value, metadata or references are more than a record takes.
    TooLarge,
    /// The content store is full, and nothing can be evicted.
    Full,
    /// The namespace's quota is used up.
    QuotaFull,
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for KeyError {
    fn from(fault: Fault) -> KeyError {
        match fault {
            Fault::Full => KeyError::Full,
            fault => KeyError::Fault(fault),
        }
    }
}

/// What a walk is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// Whether all are there, and the first of them ready to be read. It ends at the first that is missing.
    Hit,
    /// Which are missing.
    AllMissing,
}

/// A walk over the references of a key record.
struct Walk<T> {
    name: KeyName,
    references: Vec<Reference>,
    /// Number of them that are to be looked at.
    end: usize,
    /// Number of them that were looked at.
    done: usize,
    /// Number of them whose index pages were brought into memory.
    warmed_count: usize,
    aim: Aim,
    missing: Vec<Digest>,
    first: Option<Blob>,
    rest: T,
}

impl Cas {
    /// Finds a key record, checks that all its blobs are there, and leases them. Errors: the store cannot be read.
    pub fn key_get<F>(&self, cx: &mut Context<'_>, name: KeyName, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Option<KeyHit>, Fault>) -> Plan + 'static,
    {
        let key = key_key(&name);
        let shard = cx.store.place(&key);
        let cas = self.clone();
        if cx.store.is_cold(shard) {
            let keys = vec![(KEYS, key.clone())];
            return Plan::warm(shard, keys, move |cx| cas.key_get_warm(cx, name, shard, key, then));
        }
        self.key_get_warm(cx, name, shard, key, then)
    }

    fn key_get_warm<F>(
        &self,
        cx: &mut Context<'_>,
        name: KeyName,
        shard: ShardId,
        key: Vec<u8>,
        then: F,
    ) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Option<KeyHit>, Fault>) -> Plan + 'static,
    {
        let mut record = match self.read_key(cx, shard, &key) {
            Ok(Some(record)) => record,
            Ok(None) => return then(cx, Ok(None)),
            Err(fault) => return then(cx, Err(fault)),
        };
        let references = std::mem::take(&mut record.references);
        let version = Version { shard, nonce: record.nonce };
        let moment = self.0.checks.begin(cx.now);
        let mut walk = Walk::new(name, references, Aim::Hit, ());
        let is_long = walk.references.len() >= REMEMBERED_COUNT_MIN;
        if is_long && self.0.checks.holds(version, cx.now, self.0.settings.lease) {
            // All are leased; the first is to be read.
            walk.end = 1;
        }
        let cas = self.clone();
        self.walk(cx, walk, move |cx, walked| {
            let Walk { name, references, end, missing, first, .. } = match walked {
                Ok(walk) => walk,
                Err(fault) => return then(cx, Err(fault)),
            };
            if !missing.is_empty() {
                cas.0.counters.closure_incomplete.fetch_add(1, Ordering::Relaxed);
                let drop = DropKey { cas, name, key, only: Some(record.nonce) };
                return Plan::submit(shard, drop, move |cx, dropped| then(cx, dropped.map(|_| None)));
            }
            if is_long && end == references.len() {
                cas.0.checks.remember(version, moment);
            }
            cas.0.touch_key(cx.now, shard, &name, record.access_second);
            let KeyRecord { value, metadata, created_ms, by, .. } = record;
            then(cx, Ok(Some(KeyHit { value, metadata, references, first, created_ms, by })))
        })
    }

    fn read_key(&self, cx: &Context<'_>, shard: ShardId, key: &[u8]) -> Result<Option<KeyRecord>, Fault> {
        self.0.ready(cx.store, cx.now)?;
        let view = cx.store.view(shard)?;
        let record = view.get_if_known(KEYS, key);
        let record =
            record.and_then(|record| record.map(|record| KeyRecord::decode(record.value)).transpose());
        self.unless_damaged(record)
    }

    /// Looks at all references, some in each turn, and leases those that are there.
    fn walk<T, F>(&self, cx: &mut Context<'_>, mut walk: Walk<T>, then: F) -> Plan
    where
        T: 'static,
        F: FnOnce(&mut Context<'_>, Result<Walk<T>, Fault>) -> Plan + 'static,
    {
        let end = walk.end.min(walk.done + REFERENCES_PER_TURN);
        if walk.warmed_count < end {
            walk.warmed_count = end;
            let slice = &walk.references[walk.done..end];
            let cold = cold_shards(cx.store, walk.name.ns(), slice.iter().map(|reference| &reference.digest));
            if !cold.is_empty() {
                let cas = self.clone();
                return warm_each(cold, move |cx| cas.walk(cx, walk, then));
            }
        }
        while walk.done < end {
            let (digest, ns) = (walk.references[walk.done].digest, walk.name.ns());
            // Only the first is read by whoever asked.
            let found = if walk.done == 0 && walk.aim == Aim::Hit {
                self.look(cx.store, cx.now, ns, &digest).map(Found::into_first)
            } else {
                self.look_at_length(cx.store, cx.now, ns, &digest).map(Found::into_length)
            };
            let found = match found {
                Ok(Found::There(blob)) => Some(blob),
                Ok(Found::Absent) => None,
                Ok(Found::Condemned) => {
                    let (cas, ns) = (self.clone(), *walk.name.ns());
                    return self.find(cx, &ns, digest, move |cx, found| match found {
                        Err(fault) => then(cx, Err(fault)),
                        Ok(found) => {
                            let found = found.map(|blob| (blob.length, Some(blob)));
                            if walk.take(found) { then(cx, Ok(walk)) } else { cas.walk(cx, walk, then) }
                        }
                    });
                }
                Err(fault) => return then(cx, Err(fault)),
            };
            if walk.take(found) {
                return then(cx, Ok(walk));
            }
        }
        if walk.done == walk.end {
            return then(cx, Ok(walk));
        }
        let cas = self.clone();
        Plan::Pause(Box::new(move |cx, ()| cas.walk(cx, walk, then)))
    }

    /// Writes a key record, once all blobs that it names are there. Errors: see [`KeyError`].
    pub fn key_put<F>(&self, cx: &mut Context<'_>, name: KeyName, new: NewKey, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(), KeyError>) -> Plan + 'static,
    {
        let metadata_bytes: usize = new.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if new.value.len() > INLINE_BYTES_MAX
            || metadata_bytes > METADATA_BYTES_MAX
            || new.metadata.len() > METADATA_BYTES_MAX
            || new.references.len() > REFERENCE_COUNT_MAX
        {
            return then(cx, Err(KeyError::TooLarge));
        }
        let NewKey { value, metadata, references, by, if_absent } = new;
        let rest = (value, metadata, by);
        let walk = Walk::new(name, references, Aim::AllMissing, rest);
        let cas = self.clone();
        self.walk(cx, walk, move |cx, walked| {
            let Walk { name, references, missing, rest: (value, metadata, by), .. } = match walked {
                Ok(walk) => walk,
                Err(fault) => return then(cx, Err(fault.into())),
            };
            if !missing.is_empty() {
                return then(cx, Err(KeyError::Missing(missing)));
            }
            let record =
                KeyRecord { created_ms: 0, access_second: 0, nonce: 0, metadata, references, value, by };
            cas.write_key(cx, name, record, if_absent, then)
        })
    }

    fn write_key<F>(
        &self,
        cx: &mut Context<'_>,
        name: KeyName,
        record: KeyRecord,
        if_absent: bool,
        then: F,
    ) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(), KeyError>) -> Plan + 'static,
    {
        let key = key_key(&name);
        let ns = *name.ns();
        // The times are written when it is.
        let bytes = key_stored_bytes(key.len(), record.encode().len() + TIMES_BYTES_MAX);
        let cas = self.clone();
        self.with_room(cx, ns, bytes, 0, move |cx, room| {
            let room = match room {
                Ok(room) => room,
                Err(why) => {
                    return then(
                        cx,
                        Err(match PutError::from(why) {
                            PutError::QuotaFull => KeyError::QuotaFull,
                            PutError::Fault(fault) => KeyError::Fault(fault),
                            _ => KeyError::Full,
                        }),
                    );
                }
            };
            let shard = cx.store.place(&key);
            let shared = Arc::clone(&cas.0);
            let second = second_of(cx.now);
            let put = PutKey { cas, name, key, second, record, if_absent, _room: room };
            Plan::submit(shard, put, move |cx, answer| match answer {
                Ok(true) => then(cx, Ok(())),
                Ok(false) => then(cx, Err(KeyError::Exists)),
                Err(fault) => {
                    shared.note_fault(cx.now, &fault);
                    then(cx, Err(fault.into()))
                }
            })
        })
    }

    /// Whether there is a key record, with its blobs leased: as `key_get`. Errors: as `key_get`.
    pub fn key_head<F>(&self, cx: &mut Context<'_>, name: KeyName, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Option<KeyHit>, Fault>) -> Plan + 'static,
    {
        self.key_get(cx, name, then)
    }

    /// Removes a key record; gives whether there was one. Errors: the store's.
    pub fn key_delete<F>(&self, cx: &mut Context<'_>, name: KeyName, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
    {
        if let Err(fault) = self.0.ready(cx.store, cx.now) {
            return then(cx, Err(fault));
        }
        let key = key_key(&name);
        let shard = cx.store.place(&key);
        Plan::submit(shard, DropKey { cas: self.clone(), name, key, only: None }, then)
    }
}

impl<T> Walk<T> {
    fn new(name: KeyName, references: Vec<Reference>, aim: Aim, rest: T) -> Walk<T> {
        let end = references.len();
        Walk { name, references, end, done: 0, warmed_count: 0, aim, missing: Vec::new(), first: None, rest }
    }

    /// Notes what became of the next reference; whether the walk is over before its end.
    fn take(&mut self, found: Option<(u64, Option<Blob>)>) -> bool {
        let reference = self.references[self.done];
        self.done += 1;
        match found {
            Some((length, blob)) if length == reference.length => {
                if self.done == 1 {
                    self.first = blob;
                }
                false
            }
            Some(_) | None => {
                self.missing.push(reference.digest);
                self.aim == Aim::Hit
            }
        }
    }
}

/// Writes a key record in the place of another, or of none.
struct PutKey {
    cas: Cas,
    name: KeyName,
    key: Vec<u8>,
    /// In which it will most likely run.
    second: u32,
    record: KeyRecord,
    if_absent: bool,
    /// Held until the totals have what is stored.
    _room: Reservation,
}

impl Operation for PutKey {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(KEYS, &self.key);
        declare(ACCESS, &key_access_key(&self.name, self.second));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        let before = known(look_at_key(tx, &self.key).map(|found| found.map(Ok)))?;
        if matches!(before, Known::Sound(_)) && self.if_absent {
            return Ok(Outcome::Rollback(false));
        }
        let now = tx.now();
        self.record.created_ms = now.0;
        self.record.access_second = second_of(now);
        self.record.nonce = tx.next_sequence();
        let value = self.record.encode();
        let stored = stored_as(&self.key, value.len());
        let (objects, bytes) = match &before {
            Known::Sound((head, value_bytes)) => {
                tx.delete(ACCESS, &key_access_key(&self.name, head.access_second));
                (0, stored - stored_as(&self.key, *value_bytes))
            }
            // It was counted, as nobody knows how long.
            Known::Damaged => (0, 0),
            Known::Absent => (1, stored),
        };
        let is_absent = matches!(before, Known::Absent);
        count_of_namespace(tx, &self.cas.0, self.name.ns(), objects, bytes)?;
        count_of_shard(tx, &self.cas.0, objects, bytes)?;
        tx.put(KEYS, &self.key, &value, Vec::new(), is_absent);
        let access = key_access_key(&self.name, self.record.access_second);
        // Without a record it has no place in the order of use either.
        tx.put(ACCESS, &access, &[], Vec::new(), is_absent);
        Ok(Outcome::Commit(true))
    }
}

/// Removes a key record.
struct DropKey {
    cas: Cas,
    name: KeyName,
    key: Vec<u8>,
    /// The nonce of the record that is meant; any record without one.
    only: Option<u128>,
}

impl Operation for DropKey {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(KEYS, &self.key);
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        match known(look_at_key(tx, &self.key).map(|found| found.map(Ok)))? {
            Known::Sound((head, value_bytes)) if self.only.is_none_or(|nonce| nonce == head.nonce) => {
                drop_key(tx, &self.cas, &self.name, &self.key, head, value_bytes)?;
                Ok(Outcome::Commit(true))
            }
            Known::Damaged if self.only.is_none() => {
                tx.delete(KEYS, &self.key);
                Ok(Outcome::Commit(true))
            }
            Known::Sound(_) | Known::Damaged | Known::Absent => Ok(Outcome::Rollback(false)),
        }
    }
}

/// Takes away a key record that this operation has read, and what belongs to it. Errors: those of `tx`.
pub(crate) fn drop_key(
    tx: &mut Tx<'_>,
    cas: &Cas,
    name: &KeyName,
    key: &[u8],
    head: KeyHead,
    value_bytes: usize,
) -> Result<(), Fault> {
    let stored = stored_as(key, value_bytes);
    tx.delete(KEYS, key);
    tx.delete(ACCESS, &key_access_key(name, head.access_second));
    count_of_namespace(tx, &cas.0, name.ns(), -1, -stored)?;
    count_of_shard(tx, &cas.0, -1, -stored)
}

/// The head of a key record and the length of its value. Errors: those of `tx`, and a damaged record.
pub(crate) fn look_at_key(tx: &mut Tx<'_>, key: &[u8]) -> Result<Option<(KeyHead, usize)>, Fault> {
    tx.get_ref(KEYS, key, |record| {
        record.map(|record| KeyHead::decode(record.value).map(|head| (head, record.value.len()))).transpose()
    })?
}

fn stored_as(key: &[u8], value_bytes: usize) -> i64 {
    i64::try_from(key_stored_bytes(key.len(), value_bytes)).unwrap_or(i64::MAX)
}
