//! Taking changes out of streams after a day, and streams a day after they ended.
//! Invariant: a record goes no earlier than readers stop seeing it (engine/streams.rs hides what is older than a day), and
//! a stream no earlier than its last record.
//!
//! The records of a stream are in the order of their sequence, so the oldest come first; where the first one that stays
//! lies is remembered, since deleted keys would be walked over again at each look otherwise.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};

use plan::Context;
use store::{Direction, Fault, Operation, Outcome, ShardId, TableId, Tx};

use super::tick::{Background, Work, submit};
use crate::store::stream::{Change, RETENTION_MS, STREAM, STREAMS, StreamRecord, record_key, record_of};
use store::Timestamp;

/// Keys that one slice takes away.
const SLICE_COUNT: usize = 1_000;
/// Keys that one slice looks at.
const SLICE_EXAMINED_MAX: u64 = 4_000;
/// Streams that one look looks at.
const LOOK_COUNT: usize = 256;
/// Keys of one stream that one look looks at: a tombstone is looked at too.
const LOOK_EXAMINED_MAX: u64 = 4_000;

/// Where to look.
#[derive(Default)]
pub struct Marks {
    /// The next look goes on behind this key of STREAMS.
    after: Vec<u8>,
    /// By stream: no record has a lower sequence.
    low: HashMap<u64, u128>,
}

/// The next slice on a shard, if a stream has records that are too old.
pub fn look(background: &Background, cx: &Context<'_>, shard: ShardId) -> Result<Option<Work>, Fault> {
    let after = background.with(shard, |marks| std::mem::take(&mut marks.trim.after));
    let start = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after.as_slice()) };
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(STREAMS, start, Direction::Forward);
    let mut count = 0;
    while let Some((key, record)) = scan.next()? {
        let stream = StreamRecord::decode(record.value)?;
        let low = background.with(shard, |marks| marks.trim.low.get(&stream.number).copied().unwrap_or(0));
        let trim = Trim { key: key.to_vec(), stream, low, now: cx.now };
        let mut records =
            view.scan(STREAM, trim.start().as_ref().map(|start| &start[..]), Direction::Forward);
        // What turns up later must not lie below the mark.
        records.stop_at_unseen();
        let due = loop {
            match records.step()? {
                Some((key, _)) if !key.starts_with(&trim.stream.number.to_be_bytes()) => {
                    break trim.is_over();
                }
                None => break trim.is_over() && !records.met_unseen(),
                Some((key, Some(record))) => {
                    let (_, sequence, part) = record_of(key)?;
                    // A second part without its first is what is left of a record that went.
                    let due = trim.is_due(part, record.value)?.unwrap_or(true);
                    if !due {
                        background.with(shard, |marks| marks.trim.low.insert(trim.stream.number, sequence));
                    }
                    break due;
                }
                Some((_, None)) if records.examined() > LOOK_EXAMINED_MAX => break true,
                Some((_, None)) => {}
            }
        };
        if due {
            let (number, key) = (trim.stream.number, trim.key.clone());
            return Ok(Some(submit(shard, trim, move |marks, trimmed| {
                // On with the same stream while it has old records, else with the next one: each gets its turn.
                marks.trim.after = match trimmed {
                    Trimmed::To { low, more } => {
                        marks.trim.low.insert(number, low);
                        if more { after } else { key }
                    }
                    Trimmed::Gone => {
                        marks.trim.low.remove(&number);
                        key
                    }
                };
                true
            })));
        }
        count += 1;
        if count >= LOOK_COUNT {
            background.with(shard, |marks| marks.trim.after = key.to_vec());
            break;
        }
    }
    Ok(None)
}

/// One slice.
struct Trim {
    /// The stream's key in STREAMS.
    key: Vec<u8>,
    stream: StreamRecord,
    low: u128,
    now: Timestamp,
}

enum Trimmed {
    /// No record has a lower sequence.
    To { low: u128, more: bool },
    /// The stream is no more.
    Gone,
}

impl Trim {
    fn start(&self) -> Bound<[u8; 25]> {
        Bound::Included(record_key(self.stream.number, self.low, 0))
    }

    fn is_over(&self) -> bool {
        self.stream.is_over(self.now)
    }

    /// Whether a part of a record is to go; nothing: it goes with the part before it.
    fn is_due(&self, part: u8, value: &[u8]) -> Result<Option<bool>, Fault> {
        if part != 0 {
            return Ok(None);
        }
        Ok(Some(self.is_over() || Change::decode(value)?.created.plus_ms(RETENTION_MS) <= self.now))
    }

    /// Takes records away. Gives the sequence of the last one that was looked at, and whether the stream goes on behind it.
    fn take_records(&self, tx: &mut Tx<'_>) -> Result<(u128, End), Fault> {
        let front = self.stream.number.to_be_bytes();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut low = self.low;
        let mut end = End::Records;
        let mut damaged = None;
        let mut was_due = true;
        let start = self.start();
        let start = start.as_ref().map(|start| &start[..]);
        let scanned =
            tx.scan(STREAM, start, Direction::Forward, SLICE_EXAMINED_MAX, &mut |key, record| {
                if !key.starts_with(&front) {
                    return ControlFlow::Break(());
                }
                let looked = record_of(key)
                    .and_then(|(_, sequence, part)| Ok((sequence, self.is_due(part, record.value)?)));
                match looked {
                    Err(fault) => {
                        damaged = Some(fault);
                        return ControlFlow::Break(());
                    }
                    Ok((sequence, due)) => {
                        low = sequence;
                        was_due = due.unwrap_or(was_due);
                    }
                }
                if !was_due {
                    end = End::Young;
                    return ControlFlow::Break(());
                }
                if keys.len() >= SLICE_COUNT {
                    end = End::Budget;
                    return ControlFlow::Break(());
                }
                keys.push(key.to_vec());
                ControlFlow::Continue(())
            })?;
        if let Some(fault) = damaged {
            return Err(fault);
        }
        if let store::ScanEnd::Continue(key) = scanned {
            (_, low, _) = record_of(&key)?;
            end = End::Budget;
        }
        for key in &keys {
            tx.delete(STREAM, key);
        }
        Ok((low, end))
    }
}

/// Why a slice ended.
#[derive(PartialEq, Eq)]
enum End {
    /// The stream has no more records.
    Records,
    /// The next one stays.
    Young,
    /// It was enough for one slice.
    Budget,
}

impl Operation for Trim {
    type Reply = Trimmed;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(STREAM, &record_key(self.stream.number, self.low, 0));
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Trimmed>, Fault> {
        let (low, end) = self.take_records(tx)?;
        if end == End::Records && self.is_over() {
            tx.delete(STREAMS, &self.key);
            return Ok(Outcome::Commit(Trimmed::Gone));
        }
        Ok(Outcome::Commit(Trimmed::To { low, more: end == End::Budget }))
    }
}
