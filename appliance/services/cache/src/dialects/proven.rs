//! Values that are compared with their digest before any of them leaves.
//! Invariant: a blob that is given on was read to its end a moment ago and had its digest; one that had not is put aside.
//! Leaves to the node: comparing again while it is sent. That may cut a reply, which most clients take for a miss; Nx fails the
//! build at it and Gradle gives the cache up, so that theirs are read twice.

use cas::{Blob, Cas, store::place_of};
use hash::Sha256;
use plan::{Context, Piece, Plan};
use store::Fault;

/// What is read at a time. A request holds no more of a value.
const SLICE_BYTES: u64 = 128 * 1024;
/// A value of so many bytes is in one piece when it is sent, and compared before the head leaves anyway.
pub const SHORT_BYTES: u64 = 16 * 1024;

/// A blob that is being read.
struct Reading {
    cas: Cas,
    blob: Blob,
    hasher: Sha256,
    done_bytes: u64,
}

/// Goes on with a blob whose bytes are right; with none when they were not. Errors: the store cannot read it for now.
pub fn prove<F>(cas: &Cas, cx: &mut Context<'_>, blob: Blob, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Option<Blob>, Fault>) -> Plan + 'static,
{
    if blob.length <= SHORT_BYTES {
        return then(cx, Ok(Some(blob)));
    }
    read(Reading { cas: cas.clone(), blob, hasher: Sha256::new(), done_bytes: 0 }, cx, then)
}

fn read<F>(mut reading: Reading, cx: &mut Context<'_>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Option<Blob>, Fault>) -> Plan + 'static,
{
    let blob = &reading.blob;
    let left_bytes = blob.length - reading.done_bytes;
    if left_bytes == 0 {
        return if reading.hasher.finish() == *blob.digest.as_bytes() {
            then(cx, Ok(Some(reading.blob)))
        } else {
            put_aside(reading.cas, cx, reading.blob, then)
        };
    }
    // The blob's own pin holds the body meanwhile.
    let pin = cx.store.pin(place_of(cx.store, &blob.digest), &blob.piece.body);
    let length = left_bytes.min(SLICE_BYTES);
    let slice = Piece { body: blob.piece.body.clone(), pin, start: reading.done_bytes, length };
    Plan::load(vec![slice], SLICE_BYTES as usize, move |cx, loaded| match loaded {
        Ok(parts) => {
            let came_bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
            if came_bytes != length {
                return put_aside(reading.cas, cx, reading.blob, then);
            }
            parts.iter().for_each(|part| reading.hasher.update(part));
            reading.done_bytes += length;
            read(reading, cx, then)
        }
        Err(Fault::Corrupt(_)) => put_aside(reading.cas, cx, reading.blob, then),
        Err(fault) => then(cx, Err(fault)),
    })
}

fn put_aside<F>(cas: Cas, cx: &mut Context<'_>, blob: Blob, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Option<Blob>, Fault>) -> Plan + 'static,
{
    let Blob { digest, stored_ms, .. } = blob;
    cas.quarantine(cx, digest, stored_ms, move |cx, gone| then(cx, gone.map(|_| None)))
}
