//! Bytes that are not those of their digest: they are put aside, and the blob is absent from then on.
//! Invariant: only the blob that was read is put aside, not one of the same digest that came later; what is put aside is bounded, and
//! the oldest of it goes first.
//! Leaves to the node: comparing while bytes leave.
//!
//! ```text
//! QUARANTINE value = version u8 (1) | put aside ms number | stored ms number | length number
//! ```
//! A body that alone is longer than the bound is not kept, only its record.

use std::ops::{Bound, ControlFlow};

use ::store::fields::{FieldReader, FieldWriter};
use ::store::{Body, Direction, Fault, Operation, Outcome, TableId, Tx};
use plan::{Context, Plan, Reply, ReplyBody};

use crate::Cas;
use crate::digest::Digest;
use crate::find::Blob;
use crate::namespace::Namespace;
use crate::pins;
use crate::stats::Reason;
use crate::store::blob::BlobRecord;
use crate::store::entry::EntryHead;
use crate::store::{
    ACCESS, BLOBS, ENTRIES, QUARANTINE, blob_access_key, digest_and_namespace, place_of, stored_bytes,
};
use crate::usage::{count_of_namespace, count_of_shard};

/// Blobs that a shard keeps aside.
pub const QUARANTINE_COUNT_MAX: usize = 16;
/// Bytes of their bodies.
pub const QUARANTINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Namespaces from which a blob is taken in one operation.
const ENTRIES_PER_OPERATION: usize = 500;

const VERSION: u8 = 1;

impl Cas {
    /// All bytes of a blob as the body of a reply, compared with the digest before the last of them leaves. When they differ the
    /// blob is put aside, and the reply is what `miss` gives, if nothing has left yet.
    pub fn reply(&self, blob: Blob, miss: impl FnOnce(&mut Context<'_>) -> Reply + 'static) -> ReplyBody {
        let sha256 = Some(*blob.digest.as_bytes());
        self.reply_with(blob, sha256, miss)
    }

    /// As `reply`, for `length` bytes from `start` on, of which only the checksums of the store are compared.
    pub fn reply_part(
        &self,
        mut blob: Blob,
        start: u64,
        length: u64,
        miss: impl FnOnce(&mut Context<'_>) -> Reply + 'static,
    ) -> ReplyBody {
        (blob.piece.start, blob.piece.length) = (start, length);
        self.reply_with(blob, None, miss)
    }

    fn reply_with(
        &self,
        blob: Blob,
        sha256: Option<[u8; 32]>,
        miss: impl FnOnce(&mut Context<'_>) -> Reply + 'static,
    ) -> ReplyBody {
        let Blob { digest, piece, stored_ms, .. } = blob;
        let cas = self.clone();
        let mismatch = Box::new(move |cx: &mut Context<'_>, ()| {
            // Whether it could be put aside or not, this reply is not to have its bytes.
            cas.quarantine(cx, digest, stored_ms, move |cx, _| Plan::Reply(miss(cx)))
        });
        ReplyBody::Verified { piece, sha256, mismatch, late: None }
    }

    /// Puts a blob aside whose bytes are not those of its digest, and counts it; `stored_ms` is that of the blob that was read. Gives
    /// whether it was still there. Errors: the store's.
    pub fn quarantine<F>(&self, cx: &mut Context<'_>, digest: Digest, stored_ms: u64, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
    {
        let shard = place_of(cx.store, &digest);
        let cas = self.clone();
        let quarantine = Quarantine { cas: self.clone(), digest, stored_ms };
        Plan::submit(shard, quarantine, move |cx, step| match step {
            Ok(PutAside::All { objects, bytes }) => {
                cas.0.counters.count_evicted(Reason::Corrupt, objects, bytes);
                cas.0.checks.forget_all();
                cas.0.count_corrupt();
                then(cx, Ok(true))
            }
            Ok(PutAside::Some { objects }) => {
                cas.0.counters.count_evicted(Reason::Corrupt, objects, 0);
                cas.quarantine(cx, digest, stored_ms, then)
            }
            Ok(PutAside::Nothing) => then(cx, Ok(false)),
            Err(fault) => then(cx, Err(fault)),
        })
    }
}

struct Quarantine {
    cas: Cas,
    digest: Digest,
    stored_ms: u64,
}

enum PutAside {
    /// From how many namespaces this took it, and what it was.
    All { objects: u64, bytes: u64 },
    /// Some namespaces still have it.
    Some { objects: u64 },
    /// It is another blob, or none.
    Nothing,
}

impl Operation for Quarantine {
    type Reply = PutAside;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BLOBS, self.digest.as_bytes());
        declare(ENTRIES, self.digest.as_bytes());
        declare(QUARANTINE, &[]);
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<PutAside>, Fault> {
        let key = self.digest.as_bytes();
        let Some(record) = tx.get(BLOBS, key)? else { return Ok(Outcome::Rollback(PutAside::Nothing)) };
        let blob = BlobRecord::decode(&record.value)?;
        if blob.created_ms != self.stored_ms {
            return Ok(Outcome::Rollback(PutAside::Nothing));
        }
        let stored = i64::try_from(stored_bytes(blob.length)).unwrap_or(i64::MAX);
        let (objects, has_more) = self.drop_entries(tx, stored)?;
        if has_more {
            return Ok(Outcome::Commit(PutAside::Some { objects }));
        }
        tx.delete(BLOBS, key);
        // Pins of what is gone would hold their share of the limit for nothing.
        pins::drop_of_blob(tx, &self.cas.0, &self.digest)?;
        count_of_shard(tx, &self.cas.0, -1, -stored)?;
        let aside = Aside { at_ms: tx.now().0, stored_ms: blob.created_ms, length: blob.length };
        make_room(tx, &self.digest, &aside)?;
        let is_kept = blob.length <= QUARANTINE_BYTES_MAX;
        let bodies = if is_kept { record.bodies.into_iter().map(Body::Kept).collect() } else { Vec::new() };
        tx.put(QUARANTINE, key, &aside.encode(), bodies, false);
        Ok(Outcome::Commit(PutAside::All { objects, bytes: stored.unsigned_abs() }))
    }
}

impl Quarantine {
    /// Takes the blob from its namespaces: from how many, and whether there are more of them.
    fn drop_entries(&self, tx: &mut Tx<'_>, stored: i64) -> Result<(u64, bool), Fault> {
        let start = self.digest.as_bytes();
        let mut entries: Vec<(Namespace, Result<u32, Fault>)> = Vec::new();
        let mut has_more = false;
        tx.scan(ENTRIES, Bound::Included(start), Direction::Forward, u64::MAX, &mut |key, record| {
            match digest_and_namespace(key) {
                Some((digest, ns)) if digest == self.digest => {
                    if entries.len() == ENTRIES_PER_OPERATION {
                        has_more = true;
                        return ControlFlow::Break(());
                    }
                    entries.push((ns, EntryHead::decode(record.value).map(|head| head.access_second)));
                    ControlFlow::Continue(())
                }
                Some(_) | None => ControlFlow::Break(()),
            }
        })?;
        let objects = entries.len() as u64;
        for (ns, access_second) in entries {
            // Without a damaged entry's place in the order of use: whoever walks that finds nothing there, and goes on.
            if let Ok(second) = access_second {
                tx.delete(ACCESS, &blob_access_key(&ns, second, &self.digest));
            }
            tx.delete(ENTRIES, crate::store::EntryKey::new(&self.digest, &ns).as_bytes());
            count_of_namespace(tx, &self.cas.0, &ns, -1, -stored)?;
        }
        Ok((objects, has_more))
    }
}

/// What is known of a blob that was put aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aside {
    /// When it was put aside.
    pub at_ms: u64,
    /// When it was stored.
    pub stored_ms: u64,
    /// Its number of bytes.
    pub length: u64,
}

impl Aside {
    fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.at_ms);
        out.number(self.stored_ms);
        out.number(self.length);
        out.into_bytes()
    }

    /// Reads a stored value. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Aside, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "quarantine")?;
        let aside = Aside { at_ms: reader.number()?, stored_ms: reader.number()?, length: reader.number()? };
        if reader.is_empty() { Ok(aside) } else { Err(reader.damaged("is longer than its fields")) }
    }

    fn kept_bytes(&self) -> u64 {
        if self.length <= QUARANTINE_BYTES_MAX { self.length } else { 0 }
    }
}

/// Drops the oldest of what was put aside, until there is room for one more.
fn make_room(tx: &mut Tx<'_>, digest: &Digest, new: &Aside) -> Result<(), Fault> {
    let mut kept: Vec<(Vec<u8>, Aside)> = Vec::new();
    tx.scan(QUARANTINE, Bound::Unbounded, Direction::Forward, u64::MAX, &mut |key, record| {
        // A damaged one is the first to go.
        let unknown = Aside { at_ms: 0, stored_ms: 0, length: 0 };
        kept.push((key.to_vec(), Aside::decode(record.value).unwrap_or(unknown)));
        ControlFlow::Continue(())
    })?;
    kept.retain(|(key, _)| key != digest.as_bytes());
    kept.sort_unstable_by_key(|(_, aside)| std::cmp::Reverse(aside.at_ms));
    let mut bytes: u64 = new.kept_bytes() + kept.iter().map(|(_, aside)| aside.kept_bytes()).sum::<u64>();
    while kept.len() >= QUARANTINE_COUNT_MAX || bytes > QUARANTINE_BYTES_MAX {
        let Some((key, oldest)) = kept.pop() else { break };
        bytes -= oldest.kept_bytes();
        tx.delete(QUARANTINE, &key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_blob_put_aside_round_trips_and_its_truncations_are_faults() {
        let aside = Aside { at_ms: 1_800_000_000_001, stored_ms: 1_800_000_000_000, length: 7 };
        let bytes = aside.encode();
        assert_eq!(Aside::decode(&bytes).expect("decodes"), aside);
        for length in 0..bytes.len() {
            assert!(Aside::decode(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(Aside::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
