//! What is left to do after a change of a table: sweeping what was dropped, filling what was added.
//! Invariant: a record is there, on every shard, from the change on until what it asks for is done.
//! Leaves to engine/sweep.rs and engine/backfill.rs: doing it.
//!
//! ```text
//! DROPPED   table u32 [| index u16]  -> version 1 | when number | done byte | option (expiry attribute bytes)
//! BACKFILL  table u32 | index u16    -> version 1 | done byte | cursor bytes (a key of ITEMS, or nothing)
//! ```
//! Numbers in keys are big-endian. `index` 0xffff in BACKFILL is the entering of expiry times.

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, TableId, Timestamp};

use super::table::{read_flag, read_option, read_text, write_option, write_text};
use crate::model::table::{IndexNumber, TableNumber};

/// Tables and indexes whose records are still to be taken away.
pub const DROPPED: TableId = TableId(51);
/// How far the filling of an index has come.
pub const BACKFILL: TableId = TableId(52);

/// In BACKFILL: not an index, but the entering of the expiry times of items that are there already.
pub const EXPIRY_TIMES: IndexNumber = IndexNumber(u16::MAX);

const VERSION: u8 = 1;

/// The key of what is left of a dropped table, or of a dropped index of a table.
#[must_use]
pub fn dropped_key(table: TableNumber, index: Option<IndexNumber>) -> Vec<u8> {
    let mut key = table.0.to_be_bytes().to_vec();
    if let Some(index) = index {
        key.extend_from_slice(&index.0.to_be_bytes());
    }
    key
}

/// What a key of DROPPED names. Errors: `Fault::Corrupt`.
pub fn dropped_of(key: &[u8]) -> Result<(TableNumber, Option<IndexNumber>), Fault> {
    match *key {
        [a, b, c, d] => Ok((TableNumber(u32::from_be_bytes([a, b, c, d])), None)),
        [a, b, c, d, e, f] => {
            Ok((TableNumber(u32::from_be_bytes([a, b, c, d])), Some(IndexNumber(u16::from_be_bytes([e, f])))))
        }
        _ => Err(Fault::corrupt(format!("a key of DROPPED has {} bytes", key.len()))),
    }
}

/// What is left of a dropped table or index on one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// When it was dropped.
    pub when: Timestamp,
    /// Everything is swept; an index stays in the table's record until this is so on every shard.
    pub done: bool,
    /// The attribute that said when items expire, whose entries in DUE go with the items.
    pub expiry: Option<Box<str>>,
}

impl Dropped {
    /// The value of DROPPED.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = FieldWriter::new(VERSION);
        writer.number(self.when.0);
        writer.byte(u8::from(self.done));
        write_option(&mut writer, self.expiry.as_ref(), write_text);
        writer.into_bytes()
    }

    /// Reads a value of DROPPED. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Dropped, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "DynamoDB dropped")?;
        Ok(Dropped {
            when: Timestamp(reader.number()?),
            done: read_flag(&mut reader)?,
            expiry: read_option(&mut reader, read_text)?,
        })
    }
}

/// The key of how far an index has come.
#[must_use]
pub fn backfill_key(table: TableNumber, index: IndexNumber) -> [u8; 6] {
    let mut key = [0; 6];
    key[..4].copy_from_slice(&table.0.to_be_bytes());
    key[4..].copy_from_slice(&index.0.to_be_bytes());
    key
}

/// What a key of BACKFILL names. Errors: `Fault::Corrupt`.
pub fn backfill_of(key: &[u8]) -> Result<(TableNumber, IndexNumber), Fault> {
    match *key {
        [a, b, c, d, e, f] => {
            Ok((TableNumber(u32::from_be_bytes([a, b, c, d])), IndexNumber(u16::from_be_bytes([e, f]))))
        }
        _ => Err(Fault::corrupt(format!("a key of BACKFILL has {} bytes", key.len()))),
    }
}

/// How far the filling of an index has come on one shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Everything is filled.
    pub done: bool,
    /// The last key of ITEMS that was looked at; empty before the first.
    pub cursor: Vec<u8>,
}

impl Progress {
    /// The value of BACKFILL.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = FieldWriter::new(VERSION);
        writer.byte(u8::from(self.done));
        writer.bytes(&self.cursor);
        writer.into_bytes()
    }

    /// Reads a value of BACKFILL. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Progress, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "DynamoDB back-fill")?;
        Ok(Progress { done: read_flag(&mut reader)?, cursor: reader.bytes()?.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_comes_back_and_damage_is_a_fault() {
        let progress = Progress { done: true, cursor: vec![3; 200] };
        let bytes = progress.encode();
        assert_eq!(Progress::decode(&bytes).expect("decodes"), progress);
        for length in 0..bytes.len() {
            assert!(Progress::decode(&bytes[..length]).is_err(), "length {length}");
        }
        for index in [None, Some(IndexNumber(513))] {
            let key = dropped_key(TableNumber(77), index);
            assert_eq!(dropped_of(&key).expect("a key"), (TableNumber(77), index));
        }
        assert!(dropped_of(b"abc").is_err());
        let dropped = Dropped { when: Timestamp(300), done: false, expiry: Some("ttl".into()) };
        let bytes = dropped.encode();
        assert_eq!(Dropped::decode(&bytes).expect("decodes"), dropped);
        for length in 0..bytes.len() {
            assert!(Dropped::decode(&bytes[..length]).is_err(), "length {length}");
        }
        let key = backfill_key(TableNumber(77), EXPIRY_TIMES);
        assert_eq!(backfill_of(&key).expect("a key"), (TableNumber(77), EXPIRY_TIMES));
        assert!(backfill_of(b"abc").is_err());
    }
}
