//! Streams: what was changed in a table, in the order in which each shard did it.
//! Invariant: a record is written in the batch of the change that it tells of, and its sequence is greater than that of
//! every committed change of the shard before it; STREAMS says the same on every shard until a stream has ended and its
//! records have gone.
//! Leaves to engine/streams.rs: reading. To engine/trim.rs: taking out what is older than a day.
//!
//! ```text
//! STREAMS  account (12 digits) | table name | 0 | opened ms u64 -> version 1 | fields of StreamRecord
//! STREAM   stream u64 | sequence u128 | part u8
//!   part 0  version 1 | event byte | by byte | created ms number | has-old byte | key bytes | has-new byte | new image, the rest
//!   part 1  version 1 | old image, the rest; only there if part 0 says so
//! ```
//! Numbers in keys are big-endian. Key and images are items as ITEMS holds them. Two parts, since two images of the
//! largest items are longer than a value may be.

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, TableId, Timestamp, Tx};

use crate::model::names::is_tellable;
use crate::model::table::{KeyShape, StreamView, Table, TableNumber};
use crate::store::table::{
    read_flag, read_key_attribute, read_option, read_view, view_code, write_key_attribute, write_option,
};
use crate::value::ItemRef;

/// The records of streams.
pub const STREAM: TableId = TableId(47);
/// The streams.
pub const STREAMS: TableId = TableId(48);

const VERSION: u8 = 1;
/// Digits of an account in a key.
const ACCOUNT_BYTES: usize = 12;
/// Bytes of a key of STREAM.
const RECORD_KEY_BYTES: usize = 8 + 16 + 1;

/// How long a change can be read, and a stream that has ended be found.
pub const RETENTION_MS: u64 = 24 * 60 * 60 * 1_000;

/// Who made a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Actor {
    /// A request.
    Client,
    /// The service, since the item had expired.
    TimeToLive,
}

/// What a change was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The item was not there before.
    Insert,
    /// The item is another than before.
    Modify,
    /// The item is not there any more.
    Remove,
}

/// A stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRecord {
    /// Its number, which its records are found by.
    pub number: u64,
    /// Its table.
    pub table: TableNumber,
    /// What it tells of a change.
    pub view: StreamView,
    /// The key of its table.
    pub key: KeyShape,
    /// When it ended, if it did.
    pub closed: Option<Timestamp>,
}

impl StreamRecord {
    /// The value of STREAMS.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.raw(&self.number.to_be_bytes());
        out.raw(&self.table.0.to_be_bytes());
        out.byte(view_code(self.view));
        write_key_attribute(&mut out, &self.key.hash);
        write_option(&mut out, self.key.sort.as_ref(), write_key_attribute);
        write_option(&mut out, self.closed.as_ref(), |out, closed| out.number(closed.0));
        out.into_bytes()
    }

    /// Reads a value of STREAMS. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<StreamRecord, Fault> {
        let mut input = FieldReader::new(value, VERSION, "DynamoDB stream")?;
        let record = StreamRecord {
            number: u64::from_be_bytes(input.array()?),
            table: TableNumber(u32::from_be_bytes(input.array()?)),
            view: read_view(&mut input)?,
            key: KeyShape {
                hash: read_key_attribute(&mut input)?,
                sort: read_option(&mut input, read_key_attribute)?,
            },
            closed: read_option(&mut input, |input| Ok(Timestamp(input.number()?)))?,
        };
        if input.is_empty() { Ok(record) } else { Err(input.damaged("goes on behind its end")) }
    }

    /// Whether nothing of it is shown any more.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.closed.is_some_and(|closed| closed.plus_ms(RETENTION_MS) <= now)
    }
}

/// The key of a stream: by account, table and the time at which it was opened.
#[must_use]
pub fn streams_key(account: &str, table: &str, opened: Timestamp) -> Vec<u8> {
    let mut key = streams_front(account, Some(table));
    key.extend_from_slice(&opened.0.to_be_bytes());
    key
}

/// What the keys of all streams of an account, or of one table, begin with.
#[must_use]
pub fn streams_front(account: &str, table: Option<&str>) -> Vec<u8> {
    let mut front = account.as_bytes().to_vec();
    if let Some(table) = table {
        front.extend_from_slice(table.as_bytes());
        // No name holds it, so that no name's streams lie among those of another that it begins with.
        front.push(0);
    }
    front
}

/// The account, table and time of opening in a key of STREAMS. Errors: `Fault::Corrupt`.
pub fn stream_of(key: &[u8]) -> Result<(&str, &str, Timestamp), Fault> {
    let damaged = || Fault::corrupt("a key of STREAMS is damaged".into());
    let (front, opened) = key.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (account, name) = front.split_at_checked(ACCOUNT_BYTES).ok_or_else(damaged)?;
    let name = name.strip_suffix(&[0]).ok_or_else(damaged)?;
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| damaged());
    Ok((text(account)?, text(name)?, Timestamp(u64::from_be_bytes(*opened))))
}

/// The key of one part of a record.
#[must_use]
pub fn record_key(stream: u64, sequence: u128, part: u8) -> [u8; RECORD_KEY_BYTES] {
    let mut key = [0; RECORD_KEY_BYTES];
    key[..8].copy_from_slice(&stream.to_be_bytes());
    key[8..24].copy_from_slice(&sequence.to_be_bytes());
    key[24] = part;
    key
}

/// The stream, sequence and part in a key of STREAM. Errors: `Fault::Corrupt`.
pub fn record_of(key: &[u8]) -> Result<(u64, u128, u8), Fault> {
    let key: &[u8; RECORD_KEY_BYTES] =
        key.try_into().map_err(|_| Fault::corrupt(format!("a key of STREAM has {} bytes", key.len())))?;
    let (stream, rest) = key.split_first_chunk::<8>().expect("25 bytes hold 8");
    let (sequence, part) = rest.split_first_chunk::<16>().expect("17 bytes hold 16");
    Ok((u64::from_be_bytes(*stream), u128::from_be_bytes(*sequence), part[0]))
}

/// Part 0 of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change<'a> {
    /// What happened.
    pub event: Event,
    /// Who made it happen.
    pub by: Actor,
    /// When.
    pub created: Timestamp,
    /// The key attributes, as an item.
    pub key: &'a [u8],
    /// The item as it is afterwards, if the stream tells.
    pub new: Option<&'a [u8]>,
    /// Whether part 1 holds the item as it was.
    pub has_old: bool,
}

impl<'a> Change<'a> {
    /// The value of part 0.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.byte(match self.event {
            Event::Insert => 0,
            Event::Modify => 1,
            Event::Remove => 2,
        });
        out.byte(match self.by {
            Actor::Client => 0,
            Actor::TimeToLive => 1,
        });
        out.number(self.created.0);
        out.byte(u8::from(self.has_old));
        out.bytes(self.key);
        write_option(&mut out, self.new.as_ref(), |out, new| out.bytes(new));
        out.into_bytes()
    }

    /// Reads part 0. Errors: `Fault::Corrupt`.
    pub fn decode(value: &'a [u8]) -> Result<Change<'a>, Fault> {
        let mut input = FieldReader::new(value, VERSION, "DynamoDB stream")?;
        let change = Change {
            event: match input.byte()? {
                0 => Event::Insert,
                1 => Event::Modify,
                2 => Event::Remove,
                _ => return Err(input.damaged("has an unknown event")),
            },
            by: match input.byte()? {
                0 => Actor::Client,
                1 => Actor::TimeToLive,
                _ => return Err(input.damaged("was made by nobody known")),
            },
            created: Timestamp(input.number()?),
            has_old: read_flag(&mut input)?,
            key: input.bytes()?,
            new: read_option(&mut input, FieldReader::bytes)?,
        };
        if input.is_empty() { Ok(change) } else { Err(input.damaged("goes on behind its end")) }
    }
}

/// Writes the record of a change to the table's stream, if it has one that records; a change that changes nothing is none.
/// `key` holds the key attributes. Errors: those of the store.
pub fn append(
    tx: &mut Tx<'_>,
    table: &Table,
    key: ItemRef<'_>,
    old: Option<ItemRef<'_>>,
    new: Option<ItemRef<'_>>,
    by: Actor,
) -> Result<(), Fault> {
    let Some(stream) = &table.stream else { return Ok(()) };
    let (key, old, new) = (key.as_bytes(), old.map(|old| old.as_bytes()), new.map(|new| new.as_bytes()));
    let event = match (old, new) {
        _ if !stream.enabled || old == new => return Ok(()),
        (None, _) => Event::Insert,
        (Some(_), Some(_)) => Event::Modify,
        (Some(_), None) => Event::Remove,
    };
    let (tells_new, tells_old) = match stream.view {
        StreamView::KeysOnly => (false, false),
        StreamView::NewImage => (true, false),
        StreamView::OldImage => (false, true),
        StreamView::NewAndOldImages => (true, true),
    };
    let old = old.filter(|_| tells_old);
    let new = new.filter(|_| tells_new);
    let sequence = tx.next_sequence();
    if !is_tellable(sequence) {
        // No batch holds so many records; a sequence number that repeats would be worse than a change that is refused.
        return Err(Fault::TooLarge { bytes: u64::MAX });
    }
    let change = Change { event, by, created: tx.now(), key, new, has_old: old.is_some() };
    tx.put(STREAM, &record_key(stream.number, sequence, 0), &change.encode(), Vec::new(), true);
    if let Some(old) = old {
        tx.put(STREAM, &record_key(stream.number, sequence, 1), &encode_old(old), Vec::new(), true);
    }
    Ok(())
}

/// The value of part 1.
#[must_use]
pub fn encode_old(image: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + image.len());
    value.push(VERSION);
    value.extend_from_slice(image);
    value
}

/// The item in part 1. Errors: `Fault::Corrupt`.
pub fn decode_old(value: &[u8]) -> Result<&[u8], Fault> {
    value.strip_prefix(&[VERSION]).ok_or_else(|| Fault::corrupt("an old image of a stream is damaged".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::table::{KeyAttribute, KeyType};

    #[test]
    fn streams_come_back_and_their_truncations_are_faults() {
        let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyType::B };
        for (sort, closed) in [(None, None), (Some(attribute("s")), Some(Timestamp(9)))] {
            let record = StreamRecord {
                number: u64::MAX - 1,
                table: TableNumber(77),
                view: StreamView::OldImage,
                key: KeyShape { hash: attribute("h"), sort },
                closed,
            };
            let bytes = record.encode();
            assert_eq!(StreamRecord::decode(&bytes).expect("decodes"), record);
            for length in 0..bytes.len() {
                assert!(StreamRecord::decode(&bytes[..length]).is_err(), "length {length}");
            }
        }
    }

    #[test]
    fn the_streams_of_a_table_lie_together_and_not_among_those_of_a_longer_name() {
        let key = |name: &str, opened: u64| streams_key("123456789012", name, Timestamp(opened));
        assert_eq!(stream_of(&key("t.1", 5)).expect("a key"), ("123456789012", "t.1", Timestamp(5)));
        assert!(key("t", 6).starts_with(&streams_front("123456789012", Some("t"))));
        assert!(!key("t.1", 6).starts_with(&streams_front("123456789012", Some("t"))));
        assert!(key("t", u64::MAX) < key("t.1", 0));
        assert!(stream_of(b"short").is_err());
        assert!(stream_of(&key("t", 5)[..20]).is_err());
    }

    #[test]
    fn changes_come_back_and_damage_is_a_fault() {
        for (event, by, new) in [
            (Event::Insert, Actor::Client, Some(&b"new"[..])),
            (Event::Modify, Actor::Client, Some(&b""[..])),
            (Event::Remove, Actor::TimeToLive, None),
        ] {
            let change =
                Change { event, by, created: Timestamp(1 << 41), key: b"key", new, has_old: new.is_none() };
            let bytes = change.encode();
            assert_eq!(Change::decode(&bytes).expect("decodes"), change);
            for length in 0..bytes.len() {
                assert!(Change::decode(&bytes[..length]).is_err(), "length {length}");
            }
        }
        assert_eq!(decode_old(&encode_old(b"old")).expect("decodes"), b"old");
        assert!(decode_old(b"").is_err() && decode_old(b"\x02old").is_err());
    }

    #[test]
    fn records_are_ordered_by_stream_then_sequence_then_part() {
        let keys = [
            record_key(1, u128::MAX, 1),
            record_key(2, 0, 0),
            record_key(2, 0, 1),
            record_key(2, 1 << 64, 0),
        ];
        assert!(keys.is_sorted());
        assert_eq!(record_of(&keys[3]).expect("a key"), (2, 1 << 64, 0));
        assert!(record_of(&keys[0][1..]).is_err());
    }
}
