//! Uploads: verified while they arrive, stored once, visible only when they are durable.
//! Invariant: room is promised before a byte is kept; a body that is cut off, too long or not that of its digest leaves nothing;
//! two uploads of one digest both succeed, and the second body gives its space back.
//! Leaves to room.rs: whether there is room. To growth.rs: bodies whose room is asked for while they come.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ::store::{Body, BodyOwner, Fault, NewBody, Operation, Outcome, Record, ShardId, Store, TableId, Tx};
use bytes::Bytes;
use hash::Algorithm;
use plan::{BodyFailure, BodyFilter, Context, Digests, Plan, Receive, Received};

use crate::Cas;
use crate::digest::{DIGEST_BYTES, Digest};
use crate::growth::{AHEAD_BYTES_MAX, Meter, Metered};
use crate::namespace::{Namespace, Provenance};
use crate::planted::{self, Plant};
use crate::room::{NoRoom, Reservation};
use crate::store::blob::BlobRecord;
use crate::store::entry::Entry;
use crate::store::{
    ACCESS, BLOBS, BLOCKED, ENTRIES, EntryKey, blob_access_key, place_of, second_of, stored_bytes,
};
use crate::usage::{count_of_namespace, count_of_shard};

/// Bytes of a media type at most; a longer one is not kept.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// A blob that is to come with the body of the request.
pub struct Upload {
    /// Who gets it.
    pub ns: Namespace,
    /// Its digest, where the client says so.
    pub expected: Option<Digest>,
    /// Its number of bytes, where the request says so.
    pub length: Option<u64>,
    /// Finds the blob in a framing, or decodes it.
    pub filter: Option<Box<dyn BodyFilter>>,
    /// Its media type.
    pub content_type: Option<Box<str>>,
    /// Who brings it.
    pub by: Provenance,
    /// Bytes of the body that were read already.
    pub prefix: Bytes,
}

/// A blob that is durable, and that nobody takes away for one lease period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// Its number of bytes.
    pub length: u64,
    /// What it takes on the disk.
    pub stored_bytes: u64,
    /// Whether the namespace did not have it before.
    pub new: bool,
}

/// Why a blob was not stored. Nothing of it was kept.
#[derive(Clone, Debug)]
pub enum PutError {
    /// It is larger than a blob may be.
    TooLarge,
    /// Its bytes are not those of the digest that the client named.
    BadDigest {
        /// The digest that they have.
        actual: Digest,
    },
    /// The content store is full, and nothing can be evicted.
    Full,
    /// The namespace's quota is used up.
    QuotaFull,
    /// An administrator has blocked the digest.
    Blocked,
    /// The body did not arrive.
    Body(BodyFailure),
    /// The store failed.
    Fault(Fault),
}

impl From<NoRoom> for PutError {
    fn from(why: NoRoom) -> PutError {
        match why {
            NoRoom::Full => PutError::Full,
            NoRoom::Quota => PutError::QuotaFull,
            NoRoom::Fault(fault) => fault.into(),
        }
    }
}

impl From<Fault> for PutError {
    fn from(fault: Fault) -> PutError {
        match fault {
            Fault::Full => PutError::Full,
            fault => PutError::Fault(fault),
        }
    }
}

/// What an operation needs to adopt a body.
struct Arrived {
    ns: Namespace,
    digest: Digest,
    body: NewBody,
    content_type: Option<Box<str>>,
    by: Provenance,
    /// Held until the totals have what is stored.
    _room: Reservation,
}

impl Cas {
    /// Streams the body of the request into the store. Errors: see [`PutError`].
    pub fn receive<F>(&self, cx: &mut Context<'_>, upload: Upload, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Stored, PutError>) -> Plan + 'static,
    {
        let is_blocked = upload.expected.map_or(Ok(false), |digest| self.is_blocked(cx.store, &digest));
        let refusal = match is_blocked {
            Ok(true) if !planted::is(Plant::BlockIgnored) => Some(PutError::Blocked),
            Ok(_) => self.refusal_of(&upload),
            Err(fault) => Some(fault.into()),
        };
        if let Some(why) = refusal {
            return then(cx, Err(why));
        }
        let cas = self.clone();
        // The rest is asked for while the body comes.
        let bytes = stored_bytes(upload.length.unwrap_or(0).min(AHEAD_BYTES_MAX));
        self.with_room(cx, upload.ns, bytes, 0, move |cx, room| match room {
            Ok(room) => cas.receive_into(cx, upload, room, bytes, then),
            Err(why) => then(cx, Err(why.into())),
        })
    }

    /// Why a blob of the length that was announced can never be stored.
    fn refusal_of(&self, upload: &Upload) -> Option<PutError> {
        let settings = &self.0.settings;
        let length = upload.length?;
        if length > settings.object_bytes_max {
            return Some(PutError::TooLarge);
        }
        if stored_bytes(length) > settings.max_bytes {
            return Some(PutError::Full);
        }
        let quota = settings.quotas.get(&upload.ns)?;
        (stored_bytes(length) > quota.bytes).then_some(PutError::QuotaFull)
    }

    fn receive_into<F>(
        &self,
        cx: &mut Context<'_>,
        upload: Upload,
        room: Reservation,
        promised_bytes: u64,
        then: F,
    ) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Stored, PutError>) -> Plan + 'static,
    {
        let Upload { ns, expected, length, filter, content_type, by, prefix } = upload;
        let meter = Rc::new(RefCell::new(Meter::new(self, ns, room, promised_bytes)));
        let filter: Option<Box<dyn BodyFilter>> = match (filter, length) {
            (None, Some(length)) if length <= AHEAD_BYTES_MAX => None,
            (inner, length) => {
                // What a filter makes of a body has a length of its own.
                let total = if inner.is_none() { length } else { None };
                Some(Box::new(Metered { inner, length: 0, total, meter: Rc::clone(&meter) }))
            }
        };
        let receive = Receive {
            length_hint: length,
            length_max: self.0.settings.object_bytes_max,
            owner: owner_of(cx.store, expected.as_ref()),
            digests: Digests { md5: false, algorithms: vec![Algorithm::Sha256] },
            prefix,
            filter,
        };
        let cas = self.clone();
        Plan::Receive(
            receive,
            Box::new(move |cx, received| {
                // The filter is gone by now, and with it the other hold on the meter.
                let Some(Meter { mut room, promised_bytes, refused, .. }) =
                    Rc::into_inner(meter).map(RefCell::into_inner)
                else {
                    return then(cx, Err(PutError::Fault(Fault::Closed)));
                };
                let Received { body, length, checksums, .. } = match (received, refused) {
                    (Ok(received), _) => received,
                    (Err(_), Some(why)) => return then(cx, Err(why.into())),
                    (Err(failure), None) => {
                        if let BodyFailure::Fault(fault) = &failure {
                            cas.0.note_fault(cx.now, fault);
                        }
                        return then(cx, Err(body_error(failure)));
                    }
                };
                let actual = match digest_in(&checksums) {
                    Ok(actual) => actual,
                    Err(fault) => return then(cx, Err(PutError::Fault(fault))),
                };
                if expected.is_some_and(|expected| expected != actual) {
                    return then(cx, Err(PutError::BadDigest { actual }));
                }
                // Only where a client sent more than it said, which the node does not let through.
                if let Err(why) = room.grow(stored_bytes(length).saturating_sub(promised_bytes)) {
                    return then(cx, Err(why.into()));
                }
                cas.adopt(cx, Arrived { ns, digest: actual, body, content_type, by, _room: room }, then)
            }),
        )
    }

    /// Stores bytes that are in memory. Errors: see [`PutError`].
    pub fn put_bytes<F>(&self, cx: &mut Context<'_>, upload: Upload, bytes: Bytes, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Stored, PutError>) -> Plan + 'static,
    {
        let Upload { ns, expected, content_type, by, .. } = upload;
        if bytes.len() as u64 > self.0.settings.object_bytes_max {
            return then(cx, Err(PutError::TooLarge));
        }
        let digest = Digest::of(&bytes);
        if expected.is_some_and(|expected| expected != digest) {
            return then(cx, Err(PutError::BadDigest { actual: digest }));
        }
        let cas = self.clone();
        self.with_room(cx, ns, stored_bytes(bytes.len() as u64), 0, move |cx, room| {
            let room = match room {
                Ok(room) => room,
                Err(why) => return then(cx, Err(why.into())),
            };
            Plan::write(bytes, owner_of(cx.store, Some(&digest)), move |cx, written| match written {
                Ok(body) => cas.adopt(cx, Arrived { ns, digest, body, content_type, by, _room: room }, then),
                Err(fault) => {
                    cas.0.note_fault(cx.now, &fault);
                    then(cx, Err(fault.into()))
                }
            })
        })
    }

    fn adopt<F>(&self, cx: &mut Context<'_>, arrived: Arrived, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<Stored, PutError>) -> Plan + 'static,
    {
        let shard = place_of(cx.store, &arrived.digest);
        let (digest, length) = (arrived.digest, arrived.body.length());
        let shared = Arc::clone(&self.0);
        let entry_key = EntryKey::new(&digest, &arrived.ns);
        let adopt = Adopt { cas: self.clone(), entry_key, second: second_of(cx.now), arrived };
        Plan::submit(shard, adopt, move |cx, answer| match answer {
            Ok(Adopted::Blocked) => then(cx, Err(PutError::Blocked)),
            Ok(Adopted::Stored { new }) => {
                then(cx, Ok(Stored { digest, length, stored_bytes: stored_bytes(length), new }))
            }
            Err(fault) => {
                shared.note_fault(cx.now, &fault);
                then(cx, Err(fault.into()))
            }
        })
    }
}

fn body_error(failure: BodyFailure) -> PutError {
    match failure {
        BodyFailure::TooLarge => PutError::TooLarge,
        BodyFailure::Fault(fault) => fault.into(),
        failure => PutError::Body(failure),
    }
}

fn digest_in(checksums: &[(Algorithm, hash::Value)]) -> Result<Digest, Fault> {
    let sha256 = checksums.iter().find(|(algorithm, _)| *algorithm == Algorithm::Sha256);
    let bytes = sha256.and_then(|(_, value)| <[u8; DIGEST_BYTES]>::try_from(&value[..]).ok());
    bytes.map(Digest::new).ok_or_else(|| Fault::corrupt("a body came without the digest asked for".into()))
}

/// For whom a body is written. Where the digest is not known yet, the record that will adopt it is not either.
fn owner_of(store: &Store, digest: Option<&Digest>) -> BodyOwner {
    match digest {
        Some(digest) => {
            BodyOwner { shard: place_of(store, digest), table: BLOBS, key: digest.as_bytes().to_vec() }
        }
        None => {
            let shard = store.own_shards().next().unwrap_or(ShardId(0));
            BodyOwner { shard, table: BLOBS, key: Vec::new() }
        }
    }
}

/// Gives a body to its blob, and the blob to a namespace.
struct Adopt {
    cas: Cas,
    entry_key: EntryKey,
    /// In which it will most likely run.
    second: u32,
    arrived: Arrived,
}

enum Adopted {
    Stored { new: bool },
    Blocked,
}

impl Operation for Adopt {
    type Reply = Adopted;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BLOBS, self.arrived.digest.as_bytes());
        declare(ENTRIES, self.entry_key.as_bytes());
        declare(ACCESS, &blob_access_key(&self.arrived.ns, self.second, &self.arrived.digest));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Adopted>, Fault> {
        let Arrived { ns, digest, body, content_type, by, .. } = &self.arrived;
        let is_blocked = tx.get_ref(BLOCKED, digest.as_bytes(), |record| record.is_some())?;
        if is_blocked && !planted::is(Plant::BlockIgnored) {
            return Ok(Outcome::Rollback(Adopted::Blocked));
        }
        let now = tx.now();
        let (length, second) = (body.length(), second_of(now));
        let stored = i64::try_from(stored_bytes(length)).unwrap_or(i64::MAX);
        match known(tx.get_ref(BLOBS, digest.as_bytes(), |record| record.map(sound_blob)))? {
            Known::Sound(()) => {}
            // What it names no longer has a record, and what is stored is counted already.
            damaged_or_absent => {
                let record = BlobRecord { length, created_ms: now.0 };
                let is_absent = matches!(damaged_or_absent, Known::Absent);
                let bodies = vec![Body::New(body.clone())];
                tx.put(BLOBS, digest.as_bytes(), &record.encode(), bodies, is_absent);
                if is_absent {
                    count_of_shard(tx, &self.cas.0, 1, stored)?;
                }
            }
        }
        let key = self.entry_key.as_bytes();
        let content_type = content_type.clone().filter(|text| text.len() <= CONTENT_TYPE_BYTES_MAX);
        let before =
            known(tx.get_ref(ENTRIES, key, |record| record.map(|record| Entry::decode(record.value))))?;
        let is_absent = matches!(before, Known::Absent);
        let (entry, new) = match before {
            Known::Sound(before) => {
                count_of_namespace(tx, &self.cas.0, ns, 0, 0)?;
                tx.delete(ACCESS, &blob_access_key(ns, before.access_second, digest));
                let content_type = content_type.or(before.content_type);
                (Entry { fresh_ms: now.0, access_second: second, content_type, ..before }, false)
            }
            Known::Absent | Known::Damaged => {
                let (objects, bytes) = if is_absent { (1, stored) } else { (0, 0) };
                count_of_namespace(tx, &self.cas.0, ns, objects, bytes)?;
                let entry = Entry {
                    created_ms: now.0,
                    fresh_ms: now.0,
                    access_second: second,
                    content_type,
                    by: by.clone(),
                };
                (entry, true)
            }
        };
        tx.put(ENTRIES, key, &entry.encode(), Vec::new(), is_absent);
        // Without an entry it has no place in the order of use either.
        tx.put(ACCESS, &blob_access_key(ns, second, digest), &[], Vec::new(), is_absent);
        Ok(Outcome::Commit(Adopted::Stored { new }))
    }
}

/// What an operation knows of a record that it is about to replace.
pub(crate) enum Known<T> {
    Absent,
    /// There is one that cannot be read: putting another in its place mends it.
    Damaged,
    Sound(T),
}

/// Tells damage from what may pass. Errors: what may pass.
pub(crate) fn known<T>(read: Result<Option<Result<T, Fault>>, Fault>) -> Result<Known<T>, Fault> {
    match read {
        Ok(None) => Ok(Known::Absent),
        Ok(Some(Ok(record))) => Ok(Known::Sound(record)),
        Ok(Some(Err(Fault::Corrupt(_)))) | Err(Fault::Corrupt(_)) => Ok(Known::Damaged),
        Ok(Some(Err(fault))) | Err(fault) => Err(fault),
    }
}

/// Errors: `Fault::Corrupt` when the record is not that of a blob with its body.
fn sound_blob(record: Record<'_>) -> Result<(), Fault> {
    let length = BlobRecord::decode(record.value)?.length;
    match &record.bodies[..] {
        [body] if body.length() == length => Ok(()),
        _ => Err(Fault::corrupt("blob record has not the body that it says".into())),
    }
}
