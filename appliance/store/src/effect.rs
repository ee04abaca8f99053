//! What a batch of the log holds: absolute effects, so that replay needs no service code and may run twice.
//! Invariant: `Items` yields exactly what was appended, or a fault; nothing in a payload sizes an allocation unchecked.
//!
//! ```text
//! item = 1 blob   | length u32 | bytes                                        bodies that effects of this batch point to
//!      | 2 put    | fresh u8 | key_length u16 | record_length u32 | key | record
//!      | 3 delete | key_length u16 | key
//!      | 4 counter | key_length u16 | record 18 bytes | key      a put, or a delete when both sums are 0
//! ```
//! Keys carry their table byte. Numbers are little-endian. The record of a counter lies at a place that is known when its
//! item is appended, so that later adds of the batch change it there.

use crate::counter;
use crate::fault::Fault;
use crate::log::BatchBuilder;
use crate::record::{BodyRef, Reader, Record};

const BLOB: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;
const COUNTER: u8 = 4;

/// Bytes in front of a blob's own bytes.
pub(crate) const BLOB_HEAD_BYTES: usize = 5;
/// Bytes in front of a counter's record.
pub(crate) const COUNTER_HEAD_BYTES: usize = 3;

/// One effect as replay sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect<'a> {
    /// The key now has this record.
    Put { key: &'a [u8], record: &'a [u8], fresh: bool },
    /// The key has none.
    Delete { key: &'a [u8] },
    /// The key has this record of a counter, or none.
    Counter { key: &'a [u8], record: &'a [u8] },
}

/// Appends the head of a blob; its bytes follow.
pub(crate) fn blob_head(length: u32) -> [u8; BLOB_HEAD_BYTES] {
    let mut head = [0; BLOB_HEAD_BYTES];
    head[0] = BLOB;
    head[1..].copy_from_slice(&length.to_le_bytes());
    head
}

/// Appends a put.
pub(crate) fn encode_put(key: &[u8], record: &[u8], fresh: bool, out: &mut Vec<u8>) {
    out.push(PUT);
    out.push(u8::from(fresh));
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(record.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(record);
}

/// Encodes a record and appends its put to a batch; gives the encoding, which the overlay keeps too. `scratch` is taken
/// for the item and may hold anything.
pub fn append_put(
    batch: &mut BatchBuilder,
    scratch: &mut Vec<u8>,
    key: &[u8],
    value: &[u8],
    bodies: &[BodyRef],
    fresh: bool,
) -> Vec<u8> {
    let mut record = Vec::with_capacity(value.len() + 64);
    Record::encode(value, bodies, &mut record);
    scratch.clear();
    encode_put(key, &record, fresh, scratch);
    batch.append(scratch);
    record
}

/// Appends a delete.
pub(crate) fn encode_delete(key: &[u8], out: &mut Vec<u8>) {
    out.push(DELETE);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(key);
}

/// Appends what a counter is after this batch.
pub(crate) fn encode_counter(key: &[u8], record: &[u8; counter::RECORD_BYTES], out: &mut Vec<u8>) {
    out.push(COUNTER);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(record);
    out.extend_from_slice(key);
}

/// Walks the effects of a payload in order; blobs are skipped.
pub(crate) struct Items<'a> {
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    /// Starts at the front of a batch's payload.
    pub(crate) fn new(payload: &'a [u8]) -> Items<'a> {
        Items { reader: Reader { rest: payload } }
    }

    /// The next effect, or nothing at the end.
    pub(crate) fn next_effect(&mut self) -> Result<Option<Effect<'a>>, Fault> {
        loop {
            if self.reader.rest.is_empty() {
                return Ok(None);
            }
            match self.reader.u8()? {
                BLOB => {
                    let length = self.reader.u32()? as usize;
                    self.reader.take(length)?;
                }
                PUT => {
                    let fresh = self.reader.u8()? == 1;
                    let key_bytes = usize::from(self.reader.u16()?);
                    let record_bytes = self.reader.u32()? as usize;
                    let key = self.reader.take(key_bytes)?;
                    let record = self.reader.take(record_bytes)?;
                    return Ok(Some(Effect::Put { key, record, fresh }));
                }
                DELETE => {
                    let key_bytes = usize::from(self.reader.u16()?);
                    return Ok(Some(Effect::Delete { key: self.reader.take(key_bytes)? }));
                }
                COUNTER => {
                    let key_bytes = usize::from(self.reader.u16()?);
                    let record = self.reader.take(counter::RECORD_BYTES)?;
                    return Ok(Some(Effect::Counter { key: self.reader.take(key_bytes)?, record }));
                }
                kind => return Err(Fault::corrupt(format!("log item kind {kind} is not known"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_round_trip_and_blobs_are_skipped() {
        let mut payload = Vec::new();
        encode_put(b"\x10key", b"record", true, &mut payload);
        payload.extend_from_slice(&blob_head(3));
        payload.extend_from_slice(b"abc");
        encode_delete(b"\x10other", &mut payload);
        let total = counter::encode_record([7, -7]);
        encode_counter(b"\x10total", &total, &mut payload);
        let mut items = Items::new(&payload);
        let put = Effect::Put { key: b"\x10key", record: b"record", fresh: true };
        assert_eq!(items.next_effect().expect("valid"), Some(put));
        assert_eq!(items.next_effect().expect("valid"), Some(Effect::Delete { key: b"\x10other" }));
        let counter = Effect::Counter { key: b"\x10total", record: &total };
        assert_eq!(items.next_effect().expect("valid"), Some(counter));
        assert_eq!(items.next_effect().expect("valid"), None);
    }

    #[test]
    fn a_truncated_payload_is_a_fault() {
        let mut payload = Vec::new();
        encode_put(b"\x10key", b"record", false, &mut payload);
        for length in 1..payload.len() {
            assert!(Items::new(&payload[..length]).next_effect().is_err(), "length {length}");
        }
        payload.clear();
        encode_counter(b"\x10key", &counter::encode_record([1, 1]), &mut payload);
        for length in 1..payload.len() {
            assert!(Items::new(&payload[..length]).next_effect().is_err(), "length {length} of a counter");
        }
    }
}
