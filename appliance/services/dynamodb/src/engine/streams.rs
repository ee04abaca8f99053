//! Reading streams: where a reader stands, and what it is shown from there.
//! Invariant: a reader is shown every change of its shard exactly once, in the order of their sequences, however it pauses;
//! it stops before a change that may still turn up, instead of going past it. What is older than a day is never shown.
//! Leaves to trim.rs: taking out what is not shown any more. To ops: requests and replies.
//!
//! ```text
//! iterator  base64 of: version u8 (1) | issued ms u64 | account 12 | opened ms u64 | shard u16 | from u128 | table name | CRC-32
//! ```
//! Whoever makes up an iterator learns nothing by it: it is read for the caller's own account only.

use std::ops::Bound;

use plan::{Context, Plan};
use store::{Direction, Fault, ShardId, Store, Timestamp, View};

use crate::json::Writer;
use crate::model::names::sequence_text;
use crate::store::stream::{
    Actor, Change, Event, RETENTION_MS, STREAM, STREAMS, StreamRecord, decode_old, record_key, record_of,
    streams_key,
};
use crate::value::ItemRef;
use crate::wire::describe::{text, view_word};

/// How long an iterator is good for.
pub const ITERATOR_LIFE_MS: u64 = 15 * 60 * 1_000;
/// Records of one reply.
pub const RECORD_COUNT_MAX: usize = 1_000;
/// Bytes of the records of one reply, as they count themselves.
const REPLY_BYTES_MAX: u64 = 1 << 20;
/// Bytes of records that one turn shows before it lets others run.
const TURN_BYTES_MAX: u64 = 64 << 10;
/// Keys that one turn looks at.
const TURN_EXAMINED_MAX: u64 = 1_000;
/// Keys that one reply looks at: of a long stretch of deleted ones the next reply goes on.
const REPLY_EXAMINED_MAX: u64 = 20_000;
/// A transaction is decided long before this.
const DECIDED_MS: u64 = 5_000;
/// Records at a stream's end among which one may turn up later than those behind it.
const UNDECIDED_COUNT: u64 = 10_000;

/// Keys that are looked at for an end of a stream: deleted ones lie there until they are folded away.
const ENDS_EXAMINED_MAX: u64 = 5_000;

const VERSION: u8 = 1;
const ACCOUNT_BYTES: usize = 12;
/// Bytes of an iterator without the name.
const FIXED_BYTES: usize = 1 + 8 + ACCOUNT_BYTES + 8 + 2 + 16 + 4;

/// Where a reader of a stream's shard stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The account of the table.
    pub account: String,
    /// The table's name.
    pub table: String,
    /// When the stream was opened.
    pub opened: Timestamp,
    /// The shard.
    pub shard: ShardId,
    /// The first sequence that was not shown yet.
    pub from: u128,
}

impl Position {
    /// The text that clients keep.
    #[must_use]
    pub fn iterator(&self, issued: Timestamp) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&issued.0.to_be_bytes());
        bytes.extend_from_slice(self.account.as_bytes());
        bytes.extend_from_slice(&self.opened.0.to_be_bytes());
        bytes.extend_from_slice(&self.shard.0.to_be_bytes());
        bytes.extend_from_slice(&self.from.to_be_bytes());
        bytes.extend_from_slice(self.table.as_bytes());
        bytes.extend_from_slice(&hash::crc32(&bytes).to_be_bytes());
        aws::encoding::base64(&bytes)
    }

    /// Reads such a text: the position, and when it was issued.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Position, Timestamp)> {
        let bytes = aws::encoding::unbase64(text.as_bytes())?;
        if bytes.len() <= FIXED_BYTES || bytes[0] != VERSION {
            return None;
        }
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        if hash::crc32(bytes).to_be_bytes() != *crc {
            return None;
        }
        let (issued, rest) = bytes[1..].split_first_chunk::<8>()?;
        let (account, rest) = rest.split_first_chunk::<ACCOUNT_BYTES>()?;
        let (opened, rest) = rest.split_first_chunk::<8>()?;
        let (shard, rest) = rest.split_first_chunk::<2>()?;
        let (from, name) = rest.split_first_chunk::<16>()?;
        let position = Position {
            account: std::str::from_utf8(account).ok()?.to_owned(),
            table: std::str::from_utf8(name).ok()?.to_owned(),
            opened: Timestamp(u64::from_be_bytes(*opened)),
            shard: ShardId(u16::from_be_bytes(*shard)),
            from: u128::from_be_bytes(*from),
        };
        Some((position, Timestamp(u64::from_be_bytes(*issued))))
    }
}

/// A stream that is shown, as a view has it.
pub fn find(
    view: &View<'_>,
    account: &str,
    table: &str,
    opened: Timestamp,
    now: Timestamp,
) -> Result<Option<StreamRecord>, Fault> {
    let key = streams_key(account, table, opened);
    let found = view.get(STREAMS, &key)?.map(|record| StreamRecord::decode(record.value)).transpose()?;
    Ok(found.filter(|stream| !stream.is_over(now)))
}

fn is_shown(change: &Change<'_>, now: Timestamp) -> bool {
    change.created.plus_ms(RETENTION_MS) > now
}

/// The sequences of the first and last change of a stream on a shard that are shown, if there are any. Where many deleted
/// ones lie in front, the first is one of these: no change before it is shown.
pub fn ends(view: &View<'_>, stream: u64, now: Timestamp) -> Result<Option<(u128, u128)>, Fault> {
    let mut first = None;
    let mut scan = view.scan(STREAM, Bound::Included(&record_key(stream, 0, 0)), Direction::Forward);
    while let Some((key, record)) = scan.step()? {
        let (number, sequence, part) = record_of(key)?;
        if number != stream {
            break;
        }
        let is_first = match record {
            Some(record) if part == 0 => is_shown(&Change::decode(record.value)?, now),
            _ => false,
        };
        if is_first || scan.examined() >= ENDS_EXAMINED_MAX {
            first = Some(sequence);
            break;
        }
    }
    let Some(first) = first else { return Ok(None) };
    let mut last = first;
    let mut scan = view.scan(STREAM, behind(stream).as_ref().map(|key| &key[..]), Direction::Backward);
    while let Some((key, record)) = scan.step()? {
        let (number, sequence, _) = record_of(key)?;
        if number != stream {
            break;
        }
        if record.is_some() || scan.examined() >= ENDS_EXAMINED_MAX {
            last = last.max(sequence);
            break;
        }
    }
    Ok(Some((first, last)))
}

/// The end of a stream's keys, for walks backward.
fn behind(stream: u64) -> Bound<[u8; 25]> {
    Bound::Included(record_key(stream, u128::MAX, u8::MAX))
}

/// Where a reader stands that wants only what comes from now on: in front of the first change that may still turn up, or
/// behind the last one.
pub fn latest(view: &View<'_>, stream: u64, now: Timestamp) -> Result<u128, Fault> {
    let mut from = 0;
    let mut scan = view.scan(STREAM, behind(stream).as_ref().map(|key| &key[..]), Direction::Backward);
    while let Some((key, record)) = scan.step()? {
        let (number, sequence, part) = record_of(key)?;
        if number != stream {
            from = 0;
            break;
        }
        from = sequence;
        let is_settled = match record {
            Some(record) if part == 0 => Change::decode(record.value)?.created.plus_ms(DECIDED_MS) < now,
            _ => false,
        };
        if is_settled || scan.examined() >= UNDECIDED_COUNT {
            break;
        }
    }
    let mut scan = view.scan(STREAM, Bound::Included(&record_key(stream, from, 0)), Direction::Forward);
    scan.stop_at_unseen();
    while let Some((key, _)) = scan.next()? {
        let (number, sequence, _) = record_of(key)?;
        if number != stream {
            break;
        }
        from = sequence + 1;
    }
    Ok(from)
}

/// What a reader is shown.
pub struct Shown {
    /// The records, as elements of an array that is open.
    pub records: Writer,
    /// Where the reader stands then; nothing when the stream has ended there.
    pub next: Option<Position>,
}

/// Reads on from a position, in turns, at most `count_max` records. `records` is an array that is open. `then` hears nothing
/// when there is no such stream.
pub fn read<F>(
    cx: &mut Context<'_>,
    position: Position,
    region: String,
    count_max: usize,
    records: Writer,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Option<Shown>, Fault>) -> Plan + 'static,
{
    let reading = Reading { position, region, count_left: count_max, bytes: 0, examined: 0, records };
    go_on(cx, reading, then)
}

fn go_on<F>(cx: &mut Context<'_>, mut reading: Reading, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<Option<Shown>, Fault>) -> Plan + 'static,
{
    match reading.turn(cx.store, cx.now) {
        Err(fault) => then(cx, Err(fault)),
        Ok(Turn::Absent) => then(cx, Ok(None)),
        Ok(Turn::Pause) => Plan::Pause(Box::new(move |cx, ()| go_on(cx, reading, then))),
        Ok(Turn::End { is_over }) => {
            let next = (!is_over).then_some(reading.position);
            then(cx, Ok(Some(Shown { records: reading.records, next })))
        }
    }
}

/// A reply in the making.
struct Reading {
    position: Position,
    region: String,
    count_left: usize,
    bytes: u64,
    examined: u64,
    records: Writer,
}

enum Turn {
    Absent,
    Pause,
    /// The reply is full, or there is nothing more now, or ever.
    End {
        is_over: bool,
    },
}

impl Reading {
    fn turn(&mut self, store: &Store, now: Timestamp) -> Result<Turn, Fault> {
        let view = store.view(self.position.shard)?;
        let Position { account, table, opened, .. } = &self.position;
        let Some(stream) = find(&view, account, table, *opened, now)? else { return Ok(Turn::Absent) };
        let start = record_key(stream.number, self.position.from, 0);
        let mut scan = view.scan(STREAM, Bound::Included(&start), Direction::Forward);
        scan.stop_at_unseen();
        let begun = self.bytes;
        loop {
            if self.count_left == 0 || self.bytes >= REPLY_BYTES_MAX {
                return Ok(Turn::End { is_over: false });
            }
            let examined = scan.examined();
            if self.bytes - begun >= TURN_BYTES_MAX || examined >= TURN_EXAMINED_MAX {
                self.examined += examined;
                let is_enough = self.examined >= REPLY_EXAMINED_MAX;
                return Ok(if is_enough { Turn::End { is_over: false } } else { Turn::Pause });
            }
            let Some((key, record)) = scan.step()? else { break };
            let (number, sequence, part) = record_of(key)?;
            if number != stream.number {
                break;
            }
            if record.is_none() && sequence >> 64 > u128::from(view.lsn().0) {
                // Not durable yet, as is everything behind it.
                return Ok(Turn::End { is_over: false });
            }
            if let Some(record) = record.filter(|_| part == 0) {
                let change = Change::decode(record.value)?;
                if is_shown(&change, now) {
                    let old = match change.has_old {
                        true => Some(old_image(&view, &stream, sequence)?),
                        false => None,
                    };
                    self.show(&stream, sequence, &change, old)?;
                }
            }
            // Behind both parts: the second one was read with the first.
            self.position.from = sequence + 1;
        }
        Ok(Turn::End { is_over: stream.closed.is_some() && !scan.met_unseen() })
    }

    fn show(
        &mut self,
        stream: &StreamRecord,
        sequence: u128,
        change: &Change<'_>,
        old: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let key = ItemRef::new(change.key)?;
        let new = change.new.map(ItemRef::new).transpose()?;
        let old = old.map(ItemRef::new).transpose()?;
        let bytes = [Some(key), new, old].into_iter().flatten().map(|item| u64::from(item.aws_bytes())).sum();
        let out = &mut self.records;
        out.begin_object();
        text(out, "eventID", &event_id(stream.number, self.position.shard, sequence));
        text(
            out,
            "eventName",
            match change.event {
                Event::Insert => "INSERT",
                Event::Modify => "MODIFY",
                Event::Remove => "REMOVE",
            },
        );
        text(out, "eventVersion", "1.1");
        text(out, "eventSource", "aws:dynamodb");
        text(out, "awsRegion", &self.region);
        out.key("dynamodb");
        out.begin_object();
        out.key("ApproximateCreationDateTime");
        out.unsigned(change.created.0 / 1_000);
        for (name, image) in [("Keys", Some(key)), ("NewImage", new), ("OldImage", old)] {
            if let Some(image) = image {
                out.key(name);
                image.write_json(out);
            }
        }
        text(out, "SequenceNumber", &sequence_text(sequence));
        out.key("SizeBytes");
        out.unsigned(bytes);
        text(out, "StreamViewType", view_word(stream.view));
        out.end_object();
        if change.by == Actor::TimeToLive {
            out.key("userIdentity");
            out.begin_object();
            text(out, "PrincipalId", "dynamodb.amazonaws.com");
            text(out, "Type", "Service");
            out.end_object();
        }
        out.end_object();
        self.bytes += bytes;
        self.count_left -= 1;
        Ok(())
    }
}

/// The item as it was, which the first part of a record says is there.
fn old_image<'v>(view: &'v View<'_>, stream: &StreamRecord, sequence: u128) -> Result<&'v [u8], Fault> {
    let found = view.get(STREAM, &record_key(stream.number, sequence, 1))?;
    let missing = || Fault::corrupt("a change of a stream has lost its old image".into());
    decode_old(found.ok_or_else(missing)?.value)
}

/// 32 hexadecimal digits that no other change has.
fn event_id(stream: u64, shard: ShardId, sequence: u128) -> String {
    let mut hash = hash::XxHash128::new();
    hash.update(&stream.to_be_bytes());
    hash.update(&shard.0.to_be_bytes());
    hash.update(&sequence.to_be_bytes());
    format!("{:032x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_comes_back_and_no_other_text_is_one() {
        let position = Position {
            account: "123456789012".into(),
            table: "a.table".into(),
            opened: Timestamp(77),
            shard: ShardId(3),
            from: (9 << 64) | 5,
        };
        let text = position.iterator(Timestamp(1 << 40));
        assert_eq!(Position::parse(&text), Some((position.clone(), Timestamp(1 << 40))));
        for length in 0..text.len() {
            assert_eq!(Position::parse(&text[..length]), None, "length {length}");
        }
        let mut bytes = aws::encoding::unbase64(text.as_bytes()).expect("base64");
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            assert_eq!(Position::parse(&aws::encoding::base64(&bytes)), None, "byte {place}");
            bytes[place] ^= 1;
        }
        assert_eq!(Position::parse("not an iterator"), None);
        assert!(Position { table: "t".repeat(255), ..position }.iterator(Timestamp(0)).len() <= 2_048);
    }

    #[test]
    fn changes_have_ids_of_their_own() {
        let ids = [
            event_id(1, ShardId(0), 1),
            event_id(1, ShardId(1), 1),
            event_id(1, ShardId(0), 2),
            event_id(2, ShardId(0), 1),
        ];
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
