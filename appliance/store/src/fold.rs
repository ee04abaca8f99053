//! The fold: a frozen overlay becomes part of the index, in key order, in LMDB transactions with full sync.
//! Invariant: bodies leave the log for a packed segment that is synced before the transaction that points to it commits;
//! the applied checkpoint is stored in the last transaction; folding the same overlay again changes nothing.
//! Leaves to owner.rs: when to fold, and the exchange of overlays around it.
//!
//! ```text
//! PACKED value = live_bytes u64 | total_bytes u64 [| head_bytes u64, of the segments of passing tables]; little-endian
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use heed::RwTxn;

use crate::body::packed::head_bytes;
use crate::body::{Ballast, PackedMark, PackedWriter};
use crate::companion::lock;
use crate::fault::Fault;
use crate::index::Index;
use crate::kept::Died;
use crate::log::{Checkpoint, LogReader};
use crate::overlay::{Overlay, Seen};
use crate::planted::{self, Plant};
use crate::record::{BodyRef, Record};
use crate::shared::Shared;
use crate::tables::{APPLIED_KEY, FOLDING_KEY, PACKED, record_key};
use crate::types::{INLINE_BYTES_MAX, LogPosition, ShardId, TableId, TableSet};
use crate::warm::{ColdMeter, warm_overlay};

/// Entries in one LMDB transaction at most. Each may dirty a page, which LMDB keeps in memory until the commit (and spills
/// near 131,000 of them); since entries come in key order, several transactions write hardly more pages than one.
const TXN_ENTRY_COUNT_MAX: usize = 50_000;

/// What to fold.
pub(crate) struct FoldOrder {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shard: ShardId,
    pub(crate) frozen: Arc<Overlay>,
    /// The last batch in it, which is durable.
    pub(crate) checkpoint: Checkpoint,
    /// What the bodies took that died in it, as it was counted.
    pub(crate) died: Died,
}

/// What a fold did.
#[derive(Debug, Clone)]
pub(crate) struct FoldReport {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) entries: u64,
    pub(crate) micros: u64,
    /// Sealed packed segments in which nothing lives.
    pub(crate) empty_packed: Vec<u64>,
    /// Sealed packed segments in which little lives.
    pub(crate) sparse_packed: Vec<Sparse>,
    /// Of the extents that died before it.
    pub(crate) died_large_bytes: u64,
}

impl FoldReport {
    /// Takes the place of this one, which nobody has acted on: what is sparse now counts, and what was empty still is.
    pub(crate) fn follow(&mut self, later: FoldReport) {
        let earlier = std::mem::replace(self, later);
        self.empty_packed.extend(earlier.empty_packed);
        self.empty_packed.sort_unstable();
        self.empty_packed.dedup();
        self.died_large_bytes += earlier.died_large_bytes;
    }
}

/// A packed segment in which little lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) segment: u64,
    pub(crate) live_bytes: u64,
    /// Whether it is one of passing tables.
    pub(crate) is_passing: bool,
}

/// The folding thread's own state.
pub(crate) struct Folder {
    pub(crate) packed: PackedWriter,
    /// For passing tables.
    pub(crate) passing: PackedWriter,
    pub(crate) log: LogReader,
    pub(crate) ballast: Option<Ballast>,
    pub(crate) scratch: Vec<u8>,
    /// Made by the folding thread itself, whose faults it counts.
    pub(crate) cold: Option<ColdMeter>,
    /// Packed segments whose files were removed.
    pub(crate) gone: Arc<Mutex<Vec<u64>>>,
}

#[derive(Default, Clone, Copy)]
struct Usage {
    live_change: i64,
    written: u64,
    /// Heads and keys, where the segment is one of passing tables.
    head_bytes: Option<u64>,
}

/// What one transaction of a fold works on.
#[derive(Default)]
struct Chunk<'o> {
    usage: BTreeMap<u64, Usage>,
    /// Where bodies of passing tables lie already: by their place in the log and the key that names them.
    placed: HashMap<(LogPosition, &'o [u8]), BodyRef>,
}

/// What is booked of a packed segment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Books {
    pub(crate) live_bytes: u64,
    pub(crate) total_bytes: u64,
    /// Heads and keys, where the segment is one of passing tables.
    pub(crate) head_bytes: Option<u64>,
}

impl Books {
    /// What is dead in a segment of passing tables, with its share of heads and keys; nothing in others.
    pub(crate) fn dead_bytes(&self) -> u64 {
        let Some(head_bytes) = self.head_bytes else { return 0 };
        let dead = u128::from(self.total_bytes.saturating_sub(self.live_bytes));
        let of_all = dead * u128::from(self.total_bytes + head_bytes) / u128::from(self.total_bytes.max(1));
        u64::try_from(of_all).unwrap_or(u64::MAX)
    }
}

impl Folder {
    /// Folds; on a full disk once more after the ballast was let go, so that deletes can still free space. What a fold that
    /// fails has written for nothing goes back to the disk.
    pub(crate) fn fold(&mut self, order: &FoldOrder) -> Result<FoldReport, Fault> {
        let cold = self.cold.get_or_insert_with(ColdMeter::new).look();
        order.shared.shard(order.shard).counts.fold_cold.store(cold, std::sync::atomic::Ordering::Relaxed);
        if cold {
            warm_overlay(&order.shared, order.shard, &order.frozen);
        }
        match self.try_fold(order) {
            Err(Fault::Full) => {
                if let Some(ballast) = &self.ballast {
                    ballast.release()?;
                }
                self.try_fold(order)
            }
            other => {
                if let Some(ballast) = &self.ballast {
                    // Without room for it yet the ballast is rebuilt after a later fold.
                    let _rebuilt: Result<_, Fault> = ballast.rebuild();
                    let _reserved: Result<_, Fault> =
                        order.shared.shard(order.shard).index().reserve(ballast.bytes());
                }
                other
            }
        }
    }

    fn try_fold(&mut self, order: &FoldOrder) -> Result<FoldReport, Fault> {
        let mut committed = [self.packed.mark(), self.passing.mark()];
        let result = self.fold_all(order, &mut committed);
        // A commit that failed otherwise may have happened, and then names what would go here; the shard takes no writes after it, and
        // what no fold booked goes with the next start.
        if matches!(result, Err(Fault::Full)) {
            self.packed.undo(&committed[0]);
            self.passing.undo(&committed[1]);
        }
        result
    }

    /// `committed` follows the last transaction that is in the index.
    fn fold_all(&mut self, order: &FoldOrder, committed: &mut [PackedMark; 2]) -> Result<FoldReport, Fault> {
        let started = Instant::now();
        let index = order.shared.shard(order.shard).index();
        let mut entries = 0_u64;
        let gone = lock(&self.gone).clone();
        // While the marker is there, a part of an earlier try may be in the index: "fresh" says nothing then.
        let trust_fresh = {
            let txn = index.read()?;
            index.get(&txn, FOLDING_KEY)?.is_none() || planted::is(Plant::FreshTrusted)
        };
        let mut cursor = order.frozen.cursor();
        cursor.seek_first();
        loop {
            let mut txn = index.write()?;
            let mut chunk = Chunk::default();
            self.place_passing(order, cursor.key(), &mut chunk)?;
            let mut in_txn = 0;
            while let Some(key) = cursor.key() {
                if in_txn == TXN_ENTRY_COUNT_MAX {
                    break;
                }
                // No intent is folded: the owner carried the unresolved ones into the active overlay, and the resolved ones
                // have a plain version on top.
                if let Some(mut seen) = cursor.get(order.checkpoint.lsn, 0) {
                    seen.fresh &= trust_fresh;
                    if order.shared.shard(order.shard).is_bodyless(key) {
                        fold_bodyless(index, &mut txn, key, &seen)?;
                    } else {
                        self.fold_entry(order, &mut txn, key, &seen, &mut chunk)?;
                    }
                    in_txn += 1;
                }
                cursor.next();
            }
            entries += in_txn as u64;
            let is_last = cursor.key().is_none();
            let (mut empty_packed, mut sparse_packed, mut dead) = (Vec::new(), Vec::new(), BTreeMap::new());
            write_usage(index, &mut txn, &chunk.usage)?;
            if is_last {
                for segment in &gone {
                    index.delete(&mut txn, &record_key(PACKED, &segment.to_be_bytes()))?;
                }
                self.find_reclaimable(index, &txn, &mut empty_packed, &mut sparse_packed, &mut dead)?;
                index.put(&mut txn, APPLIED_KEY, &order.checkpoint.encode())?;
                index.delete(&mut txn, FOLDING_KEY)?;
            } else {
                index.put(&mut txn, FOLDING_KEY, &[])?;
            }
            if !planted::is(Plant::PackedSyncLeftOut) {
                self.packed.sync()?;
                self.passing.sync()?;
            }
            index.commit(txn)?;
            *committed = [self.packed.mark(), self.passing.mark()];
            if is_last {
                lock(&self.gone).retain(|segment| !gone.contains(segment));
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                let Died { small_bytes, large_bytes: died_large_bytes } = order.died;
                self.settle(order, small_bytes, dead);
                let checkpoint = order.checkpoint;
                return Ok(FoldReport {
                    checkpoint,
                    entries,
                    micros,
                    empty_packed,
                    sparse_packed,
                    died_large_bytes,
                });
            }
        }
    }

    fn fold_entry<'o>(
        &mut self,
        order: &FoldOrder,
        txn: &mut RwTxn<'_>,
        key: &'o [u8],
        seen: &Seen<'_>,
        chunk: &mut Chunk<'o>,
    ) -> Result<(), Fault> {
        let shard = order.shared.shard(order.shard);
        let (index, is_passing) = (shard.index(), shard.is_passing(key));
        // A fresh key has nothing below, so neither a look-up nor a deletion is needed.
        let had_old = if seen.fresh {
            false
        } else {
            match index.get(txn, key) {
                Ok(Some(old)) => {
                    release(old, order.shard, &mut chunk.usage)?;
                    true
                }
                Ok(None) => false,
                // A rotten value must not hold up what replaces it. Its bodies stay counted, which only keeps space.
                Err(Fault::Corrupt(what)) => {
                    crate::report(&format!("{}: replacing a damaged value: {what}", order.shard));
                    true
                }
                Err(fault) => return Err(fault),
            }
        };
        let Some(value) = seen.value else {
            return if had_old { index.delete(txn, key) } else { Ok(()) };
        };
        if !may_have_bodies(value) {
            return index.put(txn, key, value);
        }
        let record = Record::decode(value)?;
        let mut bodies = record.bodies;
        for body in &mut bodies {
            if let BodyRef::Log { position, length, crc } = body {
                *body = self.move_body(key, is_passing, (*position, *length, *crc), chunk)?;
            } else if let BodyRef::Packed { segment, length, .. } = body {
                chunk.usage.entry(*segment).or_default().live_change += i64::from(*length);
            }
        }
        self.scratch.clear();
        Record::encode(record.value, &bodies, &mut self.scratch);
        index.put(txn, key, &self.scratch)
    }

    /// Says what is dead now in each packed segment whose file is not gone yet.
    fn settle(&self, order: &FoldOrder, small_bytes: u64, mut dead: BTreeMap<u64, u64>) {
        // Held until it is said: what goes from then on is taken off.
        let gone = lock(&self.gone);
        dead.retain(|segment, bytes| *bytes > 0 && !gone.contains(segment));
        order.shared.kept.folded(order.shard, small_bytes, dead);
    }

    /// Copies the bodies that passing tables name in the entries from a key on, as many as a transaction takes, from the log to
    /// where they stay, in the order in which they came: what came together goes together, whatever its keys.
    fn place_passing<'o>(
        &mut self,
        order: &'o FoldOrder,
        from: Option<&[u8]>,
        chunk: &mut Chunk<'o>,
    ) -> Result<(), Fault> {
        let shard = order.shared.shard(order.shard);
        let Some(from) = from.filter(|_| shard.kinds.passing != TableSet::EMPTY) else { return Ok(()) };
        let mut cursor = order.frozen.cursor();
        cursor.seek(from);
        let (mut bodies, mut count) = (Vec::new(), 0);
        while let Some(key) = cursor.key().filter(|_| count < TXN_ENTRY_COUNT_MAX) {
            if let Some(seen) = cursor.get(order.checkpoint.lsn, 0) {
                count += 1;
                let value = seen.value.filter(|value| shard.is_passing(key) && may_have_bodies(value));
                let record = value.map(Record::decode).transpose()?;
                for body in record.into_iter().flat_map(|record| record.bodies) {
                    if let BodyRef::Log { position, length, crc } = body
                        && length as usize > INLINE_BYTES_MAX
                    {
                        bodies.push((position, key, length, crc));
                    }
                }
            }
            cursor.next();
        }
        bodies.sort_unstable();
        // What a record names twice is copied for the second time when its turn comes.
        bodies.dedup();
        for (position, key, length, crc) in bodies {
            let bytes = self.read_log((position, length, crc))?;
            let place = self.passing.append(TableId(key[0]), &key[1..], &bytes)?;
            chunk.placed.insert((position, key), place);
        }
        Ok(())
    }

    /// Reads a body. Errors: `Fault::Corrupt` where it is not the one that its record says.
    fn read_log(&self, (position, length, crc): (LogPosition, u32, u32)) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; length as usize];
        self.log.read_blocking(position, &mut bytes)?;
        let found = hash::crc32c(&bytes);
        if found != crc {
            return Err(Fault::corrupt(format!(
                "log segment {} at offset {}: a body has CRC32C {found:08x}, its record says {crc:08x}",
                position.segment, position.offset
            )));
        }
        Ok(bytes)
    }

    /// Copies a body from the log to where it stays, unless it is there already.
    fn move_body<'o>(
        &mut self,
        key: &'o [u8],
        is_passing: bool,
        (position, length, crc): (LogPosition, u32, u32),
        chunk: &mut Chunk<'o>,
    ) -> Result<BodyRef, Fault> {
        let place = match chunk.placed.remove(&(position, key)) {
            Some(place) => place,
            None => {
                let bytes = self.read_log((position, length, crc))?;
                if bytes.len() <= INLINE_BYTES_MAX {
                    return Ok(BodyRef::Inline(bytes));
                }
                let packed = if is_passing { &mut self.passing } else { &mut self.packed };
                packed.append(TableId(key[0]), &key[1..], &bytes)?
            }
        };
        if let BodyRef::Packed { segment, .. } = place {
            let usage = chunk.usage.entry(segment).or_default();
            usage.live_change += i64::from(length);
            usage.written += u64::from(length);
            if is_passing {
                *usage.head_bytes.get_or_insert(0) += head_bytes(&key[1..]);
            }
        }
        Ok(place)
    }

    /// Sealed packed segments that hold nothing, or little, that lives.
    fn find_reclaimable(
        &self,
        index: &Index,
        txn: &RwTxn<'_>,
        empty: &mut Vec<u64>,
        sparse: &mut Vec<Sparse>,
        dead: &mut BTreeMap<u64, u64>,
    ) -> Result<(), Fault> {
        let open = [self.packed.open_segment(), self.passing.open_segment()];
        let start = [PACKED.0];
        for item in index.range(txn, std::ops::Bound::Included(&start[..]))? {
            let (key, value) = item.map_err(|error| index.fault("walk", error))?;
            let Some(segment) = packed_segment(key) else { break };
            let books = decode_usage(index.check(key, value)?)?;
            dead.insert(segment, books.dead_bytes());
            if open.contains(&Some(segment)) {
                continue;
            }
            let is_passing = books.head_bytes.is_some();
            let sparse_part = if is_passing { SPARSE_PART_PASSING } else { SPARSE_PART };
            if books.live_bytes == 0 {
                empty.push(segment);
            } else if books.live_bytes < books.total_bytes / sparse_part {
                sparse.push(Sparse { segment, live_bytes: books.live_bytes, is_passing });
            }
        }
        Ok(())
    }
}

/// Books what a record that goes has named.
fn release(encoded: &[u8], shard: ShardId, usage: &mut BTreeMap<u64, Usage>) -> Result<(), Fault> {
    if encoded.is_empty() || !may_have_bodies(encoded) {
        return Ok(());
    }
    for body in Record::decode(encoded)?.bodies {
        if let BodyRef::Packed { shard: place, segment, length, .. } = body
            && place == shard
        {
            usage.entry(segment).or_default().live_change -= i64::from(length);
        }
    }
    Ok(())
}

/// Without bodies there is nothing to book, whatever lies below: the look-up that costs most of a fold is left out.
fn fold_bodyless(index: &Index, txn: &mut RwTxn<'_>, key: &[u8], seen: &Seen<'_>) -> Result<(), Fault> {
    match seen.value {
        Some(value) => index.put(txn, key, value),
        None if seen.fresh => Ok(()),
        // Whether or not it is there.
        None => index.delete(txn, key),
    }
}

/// A sealed segment whose live bytes are fewer than this part of what was written is copied forward.
const SPARSE_PART: u64 = 4;
/// The same for passing tables: what is dead there counts against a limit, and whole segments die soon, since what came together
/// goes together.
const SPARSE_PART_PASSING: u64 = 2;

/// Whether an encoded record can name bodies, without decoding it.
fn may_have_bodies(encoded: &[u8]) -> bool {
    encoded.get(1) != Some(&0)
}

fn write_usage(index: &Index, txn: &mut RwTxn<'_>, usage: &BTreeMap<u64, Usage>) -> Result<(), Fault> {
    for (segment, change) in usage {
        let key = record_key(PACKED, &segment.to_be_bytes());
        let mut books = index.get(txn, &key)?.map(decode_usage).transpose()?.unwrap_or_default();
        books.live_bytes = books.live_bytes.checked_add_signed(change.live_change).ok_or_else(|| {
            Fault::corrupt(format!(
                "packed segment {segment} would have {} live bytes",
                books.live_bytes as i64 + change.live_change
            ))
        })?;
        books.total_bytes += change.written;
        if let Some(head_bytes) = change.head_bytes {
            *books.head_bytes.get_or_insert(0) += head_bytes;
        }
        let mut value = [books.live_bytes, books.total_bytes].map(u64::to_le_bytes).concat();
        value.extend(books.head_bytes.iter().flat_map(|bytes| bytes.to_le_bytes()));
        index.put(txn, &key, &value)?;
    }
    Ok(())
}

fn decode_usage(value: &[u8]) -> Result<Books, Fault> {
    let mut reader = crate::record::Reader { rest: value };
    let (live_bytes, total_bytes) = (reader.u64()?, reader.u64()?);
    let head_bytes = if reader.rest.is_empty() { None } else { Some(reader.u64()?) };
    if !reader.rest.is_empty() {
        return Err(Fault::corrupt("the books of a packed segment have too many numbers".into()));
    }
    Ok(Books { live_bytes, total_bytes, head_bytes })
}

fn packed_segment(key: &[u8]) -> Option<u64> {
    let (table, rest) = key.split_first()?;
    (*table == PACKED.0).then(|| rest.try_into().ok().map(u64::from_be_bytes)).flatten()
}

/// The checkpoint that an index holds, if it ever took a fold.
pub(crate) fn applied(index: &Index) -> Result<Option<Checkpoint>, Fault> {
    let txn = index.read()?;
    index.get(&txn, APPLIED_KEY)?.map(Checkpoint::decode).transpose()
}

/// The books of every packed segment, as the last fold left them.
pub(crate) fn packed_usage(index: &Index) -> Result<BTreeMap<u64, Books>, Fault> {
    let txn = index.read()?;
    let start = [PACKED.0];
    let mut books = BTreeMap::new();
    for item in index.range(&txn, std::ops::Bound::Included(&start[..]))? {
        let (key, value) = item.map_err(|error| index.fault("walk", error))?;
        let Some(segment) = packed_segment(key) else { break };
        books.insert(segment, decode_usage(index.check(key, value)?)?);
    }
    Ok(books)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Lsn;

    #[test]
    fn of_two_reports_the_later_says_what_is_sparse_and_both_what_is_to_be_given_back() {
        let report = |lsn, empty_packed, sparse: &[u64], died_large_bytes| FoldReport {
            checkpoint: Checkpoint { lsn: Lsn(lsn), ..Checkpoint::START },
            entries: 1,
            micros: 1,
            empty_packed,
            sparse_packed: sparse
                .iter()
                .map(|segment| Sparse { segment: *segment, live_bytes: 1, is_passing: true })
                .collect(),
            died_large_bytes,
        };
        let mut waiting = report(7, vec![1, 4], &[5, 6], 100);
        waiting.follow(report(9, vec![4, 5], &[6, 7], 20));
        assert_eq!((waiting.checkpoint.lsn, waiting.died_large_bytes), (Lsn(9), 120));
        assert_eq!(waiting.empty_packed, [1, 4, 5]);
        assert_eq!(waiting.sparse_packed.iter().map(|one| one.segment).collect::<Vec<_>>(), [6, 7]);
    }
}
