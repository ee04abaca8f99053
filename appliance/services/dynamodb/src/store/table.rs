//! The record of a table, and its fence: keys and codecs.
//! Invariant: TABLES and FENCE say the same on every shard, since only transactions over all shards write them; reading
//! undoes writing, and damaged bytes are `Fault::Corrupt`.
//! Leaves to engine/change_table.rs: when these records change. To pending.rs: what is left to do after a change.
//!
//! ```text
//! TABLES    account (12 digits) | name     -> version 1 | fields of Table in the order in which `encode` writes them
//! FENCE     table u32                      -> version 1 | epoch number | key in TABLES bytes
//!
//! option    0, or 1 | the thing            list     count number | things
//! ```
//! Numbers in keys are big-endian.

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, TableId, Timestamp};

use crate::model::table::{
    Billing, Epoch, Index, IndexNumber, IndexState, KeyAttribute, KeyShape, KeyType, Projected,
    StreamSetting, StreamView, Table, TableNumber, Throughput, TimeToLive,
};

/// Tables by account and name.
pub const TABLES: TableId = TableId(40);
/// The epoch under which writes of a table are decided.
pub const FENCE: TableId = TableId(41);
const VERSION: u8 = 1;
/// Digits of an account in a key.
const ACCOUNT_BYTES: usize = 12;

/// The key of a table's record.
#[must_use]
pub fn table_key(account: &str, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(account.len() + name.len());
    key.extend_from_slice(account.as_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// The name in a key of TABLES. Errors: `Fault::Corrupt` where there is none.
pub fn name_of(key: &[u8]) -> Result<&str, Fault> {
    let name = key.get(ACCOUNT_BYTES..).filter(|name| !name.is_empty());
    name.and_then(|name| std::str::from_utf8(name).ok())
        .ok_or_else(|| Fault::corrupt("a key of the tables of DynamoDB holds no name".into()))
}

/// The key of a table's fence.
#[must_use]
pub fn fence_key(table: TableNumber) -> [u8; 4] {
    table.0.to_be_bytes()
}

/// The value of a fence: the epoch, and where the record lies.
#[must_use]
pub fn encode_fence(epoch: Epoch, table_key: &[u8]) -> Vec<u8> {
    let mut writer = FieldWriter::new(VERSION);
    writer.number(epoch.0);
    writer.bytes(table_key);
    writer.into_bytes()
}

/// What a fence says. Errors: `Fault::Corrupt`.
pub fn decode_fence(value: &[u8]) -> Result<Epoch, Fault> {
    let mut reader = FieldReader::new(value, VERSION, "DynamoDB fence")?;
    Ok(Epoch(reader.number()?))
}

/// The key in TABLES of the table behind a fence. Errors: `Fault::Corrupt`.
pub fn table_key_in_fence(value: &[u8]) -> Result<&[u8], Fault> {
    let mut reader = FieldReader::new(value, VERSION, "DynamoDB fence")?;
    reader.number()?;
    reader.bytes()
}

/// The value of a table's record.
#[must_use]
pub fn encode(table: &Table) -> Vec<u8> {
    let mut writer = FieldWriter::new(VERSION);
    let out = &mut writer;
    out.number(u64::from(table.number.0));
    out.number(table.epoch.0);
    out.bytes(table.account.as_bytes());
    out.bytes(table.name.as_bytes());
    out.bytes(table.id.as_bytes());
    out.raw(&table.hash_key);
    out.number(table.created.0);
    write_key_attribute(out, &table.key.hash);
    write_option(out, table.key.sort.as_ref(), write_key_attribute);
    write_list(out, &table.definitions, write_key_attribute);
    write_list(out, &table.locals, write_index);
    write_list(out, &table.globals, write_index);
    out.number(u64::from(table.next_index.0));
    out.byte(match table.billing {
        Billing::Provisioned => 0,
        Billing::PayPerRequest => 1,
    });
    write_time(out, table.on_demand_since);
    write_throughput(out, table.throughput);
    write_time(out, table.throughput_changed.0);
    write_time(out, table.throughput_changed.1);
    out.number(table.decrease_count);
    write_units(out, table.on_demand);
    write_option(out, table.warm.as_ref(), |out, warm| write_throughput(out, *warm));
    out.byte(u8::from(table.protected));
    write_option(out, table.class.as_ref(), write_text);
    write_option(out, table.encryption.as_ref(), |out, key| write_option(out, key.as_ref(), write_text));
    write_option(out, table.stream.as_ref(), write_stream);
    write_option(out, table.time_to_live.as_ref(), |out, setting| {
        out.bytes(setting.attribute.as_bytes());
        out.number(setting.changed.0);
    });
    write_time(out, table.time_to_live_changed);
    write_list(out, &table.tags, |out, (key, value)| {
        out.bytes(key.as_bytes());
        out.bytes(value.as_bytes());
    });
    writer.into_bytes()
}

/// Reads a table's record. Errors: `Fault::Corrupt`.
pub fn decode(value: &[u8]) -> Result<Table, Fault> {
    let mut reader = FieldReader::new(value, VERSION, "DynamoDB table")?;
    let input = &mut reader;
    let table = Table {
        number: TableNumber(narrow(input)?),
        epoch: Epoch(input.number()?),
        account: input.text()?.into(),
        name: input.text()?.into(),
        id: input.text()?.into(),
        hash_key: input.array()?,
        created: Timestamp(input.number()?),
        key: KeyShape { hash: read_key_attribute(input)?, sort: read_option(input, read_key_attribute)? },
        definitions: read_list(input, read_key_attribute)?,
        locals: read_list(input, read_index)?,
        globals: read_list(input, read_index)?,
        next_index: IndexNumber(narrow(input)?),
        billing: match input.byte()? {
            0 => Billing::Provisioned,
            1 => Billing::PayPerRequest,
            other => return Err(unknown(input, "billing mode", other)),
        },
        on_demand_since: read_time(input)?,
        throughput: read_throughput(input)?,
        throughput_changed: (read_time(input)?, read_time(input)?),
        decrease_count: input.number()?,
        on_demand: read_units(input)?,
        warm: read_option(input, read_throughput)?,
        protected: read_flag(input)?,
        class: read_option(input, read_text)?,
        encryption: read_option(input, |input| read_option(input, read_text))?,
        stream: read_option(input, read_stream)?,
        time_to_live: read_option(input, |input| {
            Ok(TimeToLive { attribute: read_text(input)?, changed: Timestamp(input.number()?) })
        })?,
        time_to_live_changed: read_time(input)?,
        tags: read_list(input, |input| Ok((read_text(input)?, read_text(input)?)))?,
    };
    if reader.is_empty() { Ok(table) } else { Err(reader.damaged("goes on behind its end")) }
}

fn write_index(out: &mut FieldWriter, index: &Index) {
    out.number(u64::from(index.number.0));
    out.bytes(index.name.as_bytes());
    write_list(out, &index.hash, write_key_attribute);
    write_list(out, &index.sort, write_key_attribute);
    match &index.projected {
        Projected::All => out.byte(0),
        Projected::KeysOnly => out.byte(1),
        Projected::Include(names) => {
            out.byte(2);
            write_list(out, names, write_text);
        }
    }
    out.byte(match index.state {
        IndexState::Creating => 0,
        IndexState::Active => 1,
        IndexState::Deleting => 2,
    });
    write_throughput(out, index.throughput);
    write_units(out, index.on_demand);
    write_option(out, index.warm.as_ref(), |out, warm| write_throughput(out, *warm));
}

fn read_index(input: &mut FieldReader<'_>) -> Result<Index, Fault> {
    Ok(Index {
        number: IndexNumber(narrow(input)?),
        name: read_text(input)?,
        hash: read_list(input, read_key_attribute)?,
        sort: read_list(input, read_key_attribute)?,
        projected: match input.byte()? {
            0 => Projected::All,
            1 => Projected::KeysOnly,
            2 => Projected::Include(read_list(input, read_text)?),
            other => return Err(unknown(input, "projection", other)),
        },
        state: match input.byte()? {
            0 => IndexState::Creating,
            1 => IndexState::Active,
            2 => IndexState::Deleting,
            other => return Err(unknown(input, "index state", other)),
        },
        throughput: read_throughput(input)?,
        on_demand: read_units(input)?,
        warm: read_option(input, read_throughput)?,
    })
}

fn write_stream(out: &mut FieldWriter, stream: &StreamSetting) {
    out.number(stream.number);
    out.number(stream.opened.0);
    out.byte(view_code(stream.view));
    out.byte(u8::from(stream.enabled));
}

fn read_stream(input: &mut FieldReader<'_>) -> Result<StreamSetting, Fault> {
    Ok(StreamSetting {
        number: input.number()?,
        opened: Timestamp(input.number()?),
        view: read_view(input)?,
        enabled: read_flag(input)?,
    })
}

/// How a view type is stored.
pub(crate) fn view_code(view: StreamView) -> u8 {
    match view {
        StreamView::KeysOnly => 0,
        StreamView::NewImage => 1,
        StreamView::OldImage => 2,
        StreamView::NewAndOldImages => 3,
    }
}

/// Reads a view type.
pub(crate) fn read_view(input: &mut FieldReader<'_>) -> Result<StreamView, Fault> {
    match input.byte()? {
        0 => Ok(StreamView::KeysOnly),
        1 => Ok(StreamView::NewImage),
        2 => Ok(StreamView::OldImage),
        3 => Ok(StreamView::NewAndOldImages),
        other => Err(unknown(input, "view type", other)),
    }
}

pub(crate) fn write_key_attribute(out: &mut FieldWriter, attribute: &KeyAttribute) {
    out.bytes(attribute.name.as_bytes());
    out.byte(match attribute.kind {
        KeyType::S => 0,
        KeyType::N => 1,
        KeyType::B => 2,
    });
}

pub(crate) fn read_key_attribute(input: &mut FieldReader<'_>) -> Result<KeyAttribute, Fault> {
    let name = read_text(input)?;
    let kind = match input.byte()? {
        0 => KeyType::S,
        1 => KeyType::N,
        2 => KeyType::B,
        other => return Err(unknown(input, "key type", other)),
    };
    Ok(KeyAttribute { name, kind })
}

fn write_throughput(out: &mut FieldWriter, throughput: Throughput) {
    out.number(throughput.read_units);
    out.number(throughput.write_units);
}

fn read_throughput(input: &mut FieldReader<'_>) -> Result<Throughput, Fault> {
    Ok(Throughput { read_units: input.number()?, write_units: input.number()? })
}

/// Maxima are -1 or a count, so they are stored one higher.
fn write_units(out: &mut FieldWriter, units: Option<(i64, i64)>) {
    write_option(out, units.as_ref(), |out, (read, write)| {
        out.number(read.saturating_add(1).unsigned_abs());
        out.number(write.saturating_add(1).unsigned_abs());
    });
}

fn read_units(input: &mut FieldReader<'_>) -> Result<Option<(i64, i64)>, Fault> {
    let one = |input: &mut FieldReader<'_>| {
        let stored = i64::try_from(input.number()?).map_err(|_| input.damaged("has too many units"))?;
        Ok(stored - 1)
    };
    read_option(input, |input| Ok((one(input)?, one(input)?)))
}

fn write_time(out: &mut FieldWriter, time: Option<Timestamp>) {
    write_option(out, time.as_ref(), |out, time| out.number(time.0));
}

fn read_time(input: &mut FieldReader<'_>) -> Result<Option<Timestamp>, Fault> {
    read_option(input, |input| Ok(Timestamp(input.number()?)))
}

#[expect(
    clippy::borrowed_box,
    reason = "it is handed to write_option and write_list, which lend what they hold"
)]
pub(super) fn write_text(out: &mut FieldWriter, text: &Box<str>) {
    out.bytes(text.as_bytes());
}

pub(crate) fn read_text(input: &mut FieldReader<'_>) -> Result<Box<str>, Fault> {
    Ok(input.text()?.into())
}

pub(crate) fn write_option<T>(
    out: &mut FieldWriter,
    thing: Option<&T>,
    write: impl FnOnce(&mut FieldWriter, &T),
) {
    out.byte(u8::from(thing.is_some()));
    if let Some(thing) = thing {
        write(out, thing);
    }
}

pub(crate) fn read_option<'a, T>(
    input: &mut FieldReader<'a>,
    read: impl FnOnce(&mut FieldReader<'a>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    if read_flag(input)? { read(input).map(Some) } else { Ok(None) }
}

fn write_list<T>(out: &mut FieldWriter, things: &[T], write: impl Fn(&mut FieldWriter, &T)) {
    out.number(things.len() as u64);
    for thing in things {
        write(out, thing);
    }
}

fn read_list<'a, T>(
    input: &mut FieldReader<'a>,
    read: impl Fn(&mut FieldReader<'a>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    // Grows as things are read, so that a damaged count sizes nothing.
    let count = input.count()?;
    let mut things = Vec::new();
    for _ in 0..count {
        things.push(read(input)?);
    }
    Ok(things)
}

pub(crate) fn read_flag(input: &mut FieldReader<'_>) -> Result<bool, Fault> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(unknown(input, "flag", other)),
    }
}

fn narrow<T: TryFrom<u64>>(input: &mut FieldReader<'_>) -> Result<T, Fault> {
    T::try_from(input.number()?).map_err(|_| input.damaged("has a number that is too large"))
}

fn unknown(input: &FieldReader<'_>, what: &str, code: u8) -> Fault {
    input.damaged(&format!("has the unknown {what} {code}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn attribute(name: &str, kind: KeyType) -> KeyAttribute {
        KeyAttribute { name: name.into(), kind }
    }

    /// A table in which every field differs from its default.
    pub(crate) fn rich_table() -> Table {
        let local = Index {
            number: IndexNumber(1),
            name: "by_time".into(),
            hash: vec![attribute("pk", KeyType::S)],
            sort: vec![attribute("at", KeyType::N)],
            projected: Projected::All,
            state: IndexState::Active,
            throughput: Throughput::default(),
            on_demand: None,
            warm: None,
        };
        let global = Index {
            number: IndexNumber(7),
            name: "by-owner".into(),
            hash: vec![attribute("owner", KeyType::S), attribute("place", KeyType::B)],
            sort: Vec::new(),
            projected: Projected::Include(vec!["a".into(), "ä".into()]),
            state: IndexState::Creating,
            throughput: Throughput { read_units: 3, write_units: 4 },
            on_demand: Some((-1, 40)),
            warm: Some(Throughput { read_units: 5, write_units: 6 }),
        };
        let leaving = Index {
            name: "old".into(),
            number: IndexNumber(8),
            projected: Projected::KeysOnly,
            state: IndexState::Deleting,
            ..global.clone()
        };
        Table {
            number: TableNumber(u32::MAX),
            epoch: Epoch(u64::MAX),
            account: "123456789012".into(),
            name: "orders.v2".into(),
            id: "6f1f3a6c-0000-4000-8000-000000000001".into(),
            hash_key: [9; 16],
            created: Timestamp(1_700_000_000_123),
            key: KeyShape { hash: attribute("pk", KeyType::S), sort: Some(attribute("sk", KeyType::B)) },
            definitions: vec![attribute("pk", KeyType::S), attribute("sk", KeyType::B)],
            locals: vec![local],
            globals: vec![global, leaving],
            next_index: IndexNumber(9),
            billing: Billing::PayPerRequest,
            on_demand_since: Some(Timestamp(5)),
            throughput: Throughput { read_units: 1, write_units: u64::MAX },
            throughput_changed: (Some(Timestamp(6)), Some(Timestamp(7))),
            decrease_count: 3,
            on_demand: Some((12, -1)),
            warm: Some(Throughput { read_units: 12_000, write_units: 4_000 }),
            protected: true,
            class: Some("STANDARD_INFREQUENT_ACCESS".into()),
            encryption: Some(Some("alias/key".into())),
            stream: Some(StreamSetting {
                number: u64::MAX,
                opened: Timestamp(8),
                view: StreamView::NewAndOldImages,
                enabled: true,
            }),
            time_to_live: Some(TimeToLive { attribute: "ttl".into(), changed: Timestamp(9) }),
            time_to_live_changed: Some(Timestamp(9)),
            tags: vec![("a".into(), "".into()), ("b".into(), "c".into())],
        }
    }

    /// A table with nothing but a key.
    pub(crate) fn plain_table() -> Table {
        Table {
            number: TableNumber(1),
            epoch: Epoch(1),
            key: KeyShape { hash: attribute("pk", KeyType::N), sort: None },
            definitions: vec![attribute("pk", KeyType::N)],
            locals: Vec::new(),
            globals: Vec::new(),
            next_index: IndexNumber(1),
            billing: Billing::Provisioned,
            on_demand_since: None,
            throughput: Throughput::default(),
            throughput_changed: (None, None),
            decrease_count: 0,
            on_demand: None,
            warm: None,
            protected: false,
            class: None,
            encryption: None,
            stream: None,
            time_to_live: None,
            time_to_live_changed: None,
            tags: Vec::new(),
            ..rich_table()
        }
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        for table in [rich_table(), plain_table()] {
            assert_eq!(decode(&encode(&table)).expect("decodes"), table);
        }
        let table = Table { encryption: Some(None), ..plain_table() };
        assert_eq!(decode(&encode(&table)).expect("decodes"), table);
    }

    #[test]
    fn a_record_that_was_cut_or_goes_on_is_a_fault() {
        let bytes = encode(&rich_table());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "length {length}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn no_damaged_byte_makes_reading_panic_or_swell() {
        let bytes = encode(&rich_table());
        for place in 0..bytes.len() {
            for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                // Either the damage shows, or what was read can be written again.
                if let Ok(table) = decode(&damaged) {
                    assert_eq!(decode(&encode(&table)).expect("decodes"), table);
                }
            }
        }
    }

    const PLAIN_HEX: &str = concat!(
        "0101010c313233343536373839303132096f72646572732e76322436663166336136632d303030302d34303030",
        "2d383030302d30303030303030303030303109090909090909090909090909090909fbd095ffbc3102706b0100",
        "0102706b0100000100000000000000000000000000000000",
    );

    #[test]
    fn the_stored_form_of_a_table_never_changes() {
        // Data directories in the field hold these bytes.
        let hex: String = encode(&plain_table()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, PLAIN_HEX);
    }

    #[test]
    fn a_fence_says_its_epoch_and_its_record() {
        let fence = encode_fence(Epoch(1 << 40), b"key");
        assert_eq!(decode_fence(&fence).expect("decodes"), Epoch(1 << 40));
        assert_eq!(table_key_in_fence(&fence).expect("decodes"), b"key");
        assert!(table_key_in_fence(&fence[..fence.len() - 1]).is_err());
        assert!(decode_fence(&[]).is_err());
        assert_eq!(name_of(&table_key("123456789012", "t.1")).expect("a name"), "t.1");
        assert!(name_of(b"123456789012").is_err());
    }
}
