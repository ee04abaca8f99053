//! Digests that an administrator has blocked: nobody gets what has one, and nobody can bring it.
//! Invariant: once a block is acknowledged there is no blob of the digest, no upload of it is taken, and no key record that names
//! it is a hit, on whatever core, with leases and pins or without. A look costs nothing for it: what is blocked is simply absent.
//! Leaves to put.rs: refusing uploads. To its users: who may block.
//!
//! ```text
//! BLOCKED value = version u8 (1) | blocked ms number | reason bytes | who bytes
//! ```
//! The block is written together with the end of the last entries: of one that was cut off nothing is left that says it is whole.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::store::fields::{FieldReader, FieldWriter};
use ::store::{Direction, Fault, Operation, Outcome, ShardId, Store, TableId, Timestamp, Tx, View};
use plan::{Context, Plan};

use crate::Cas;
use crate::digest::Digest;
use crate::gone::{Condemned, Leaving, Totals, settle, slots, take_entry};
use crate::namespace::Namespace;
use crate::order::Order;
use crate::pins;
use crate::shared::{Loaded, Shared};
use crate::stats::Reason;
use crate::store::entry::EntryHead;
use crate::store::{BLOBS, BLOCKED, ENTRIES, QUARANTINE, digest_and_namespace, place_of};

const VERSION: u8 = 1;
/// Blocked digests at most.
pub const BLOCK_COUNT_MAX: u64 = 100_000;
/// Bytes of the reason of a block, and of the word for who made it, at most; the rest is cut off.
pub const BLOCK_TEXT_BYTES_MAX: usize = 255;
/// Blocked digests of one answer at most, of each shard.
pub const BLOCK_LIST_MAX: usize = 1_000;
/// Namespaces from which a blob is taken in one operation.
const ENTRIES_PER_OPERATION: usize = 500;

/// Why a digest is blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Box<str>,
    /// Who did it.
    pub who: Box<str>,
}

/// Why a digest was not blocked.
#[derive(Clone, Debug)]
pub enum BlockError {
    /// Too many are.
    TooMany,
    /// The store failed.
    Fault(Fault),
}

impl Block {
    fn encode(&self) -> Vec<u8> {
        let cut = |text: &str| text.as_bytes()[..text.floor_char_boundary(BLOCK_TEXT_BYTES_MAX)].to_vec();
        let mut out = FieldWriter::new(VERSION);
        out.number(self.at.0);
        out.bytes(&cut(&self.reason));
        out.bytes(&cut(&self.who));
        out.into_bytes()
    }

    fn decode(value: &[u8]) -> Result<Block, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "blocked digest")?;
        let at = Timestamp(reader.number()?);
        let block = Block { at, reason: reader.text()?.into(), who: reader.text()?.into() };
        if reader.is_empty() { Ok(block) } else { Err(reader.damaged("is longer than its fields")) }
    }
}

/// Counts what is blocked on a shard. Errors: those of the view.
pub(crate) fn read(loaded: &Loaded, view: &View<'_>) -> Result<(), Fault> {
    let mut scan = view.scan(BLOCKED, Bound::Unbounded, Direction::Forward);
    while scan.next()?.is_some() {
        loaded.blocked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn count(tx: &mut Tx<'_>, shared: &Arc<Shared>, is_more: bool) {
    let shared = Arc::clone(shared);
    tx.then::<Order>(move |_, _| {
        let Some(loaded) = shared.loaded() else { return };
        if is_more {
            loaded.blocked.fetch_add(1, Ordering::AcqRel);
        } else {
            loaded.blocked.fetch_sub(1, Ordering::AcqRel);
        }
    });
}

impl Cas {
    /// Blocks a digest and takes its blob away, from all namespaces and against leases and pins. Gives whether it was not blocked
    /// before; a block that there is gets the new reason. Errors: see [`BlockError`].
    pub fn block<F>(&self, cx: &mut Context<'_>, digest: Digest, block: Block, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<bool, BlockError>) -> Plan + 'static,
    {
        match self.0.ready(cx.store, cx.now) {
            Ok(()) => self.block_on(place_of(cx.store, &digest), digest, block, then),
            Err(fault) => then(cx, Err(BlockError::Fault(fault))),
        }
    }

    /// One operation of a block, and those behind it.
    fn block_on<F>(&self, shard: ShardId, digest: Digest, block: Block, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<bool, BlockError>) -> Plan + 'static,
    {
        let condemned = Condemned::default();
        let leaving = Leaving::new(&self.0);
        let operation = BlockDigest {
            shared: Arc::clone(&self.0),
            digest,
            block: block.clone(),
            condemned: Arc::clone(&condemned),
            leaving: Arc::clone(&leaving),
        };
        let cas = self.clone();
        Plan::submit(shard, operation, move |cx, outcome| {
            settle(&condemned, &outcome);
            drop(leaving);
            // Whoever found a key record whole before looks again, also where it is not known what became of this.
            cas.0.checks.forget_all();
            match outcome {
                Ok(Step::TooMany) => then(cx, Err(BlockError::TooMany)),
                Ok(Step::Taken { objects, bytes, blocked }) => {
                    cas.0.counters.count_evicted(Reason::Admin, objects, bytes);
                    match blocked {
                        Some(is_new) => then(cx, Ok(is_new)),
                        None => cas.block_on(shard, digest, block, then),
                    }
                }
                Err(fault) => then(cx, Err(BlockError::Fault(fault))),
            }
        })
    }

    /// Takes a block away; gives whether there was one. What it took does not come back. Errors: the store's.
    pub fn unblock<F>(&self, cx: &mut Context<'_>, digest: Digest, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
    {
        match self.0.ready(cx.store, cx.now) {
            Ok(()) => {
                let unblock = Unblock { shared: Arc::clone(&self.0), digest };
                Plan::submit(place_of(cx.store, &digest), unblock, then)
            }
            Err(fault) => then(cx, Err(fault)),
        }
    }

    /// What is blocked, at most [`BLOCK_LIST_MAX`] of each shard. Errors: a view's.
    pub fn blocked(&self, cx: &Context<'_>) -> Result<Vec<(Digest, Block)>, Fault> {
        let mut all = Vec::new();
        for shard in cx.store.shards() {
            let view = cx.store.view(shard)?;
            let mut scan = view.scan(BLOCKED, Bound::Unbounded, Direction::Forward);
            let mut count = 0;
            while let Some((key, record)) = scan.next()? {
                let Ok(digest) = key.try_into().map(Digest::new) else { continue };
                all.push((digest, Block::decode(record.value)?));
                count += 1;
                if count >= BLOCK_LIST_MAX {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// Whether a digest is blocked, as far as an upload may ask before its body comes: the operation that stores it asks again.
    /// Errors: a view's.
    pub(crate) fn is_blocked(&self, store: &Store, digest: &Digest) -> Result<bool, Fault> {
        // The usual case, which costs no look.
        if self.0.loaded().is_some_and(|loaded| loaded.blocked.load(Ordering::Acquire) == 0) {
            return Ok(false);
        }
        let view = store.view(place_of(store, digest))?;
        Ok(view.get(BLOCKED, digest.as_bytes())?.is_some())
    }
}

/// Takes as many entries of the blob as one operation takes; with the last of them the blob, and the block is written.
struct BlockDigest {
    shared: Arc<Shared>,
    digest: Digest,
    block: Block,
    condemned: Condemned,
    leaving: Arc<Leaving>,
}

enum Step {
    Taken {
        objects: u64,
        bytes: u64,
        /// The block is written, and whether there was none before. Nothing: some namespaces have the blob still.
        blocked: Option<bool>,
    },
    TooMany,
}

impl Operation for BlockDigest {
    type Reply = Step;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        let key = self.digest.as_bytes();
        [BLOCKED, BLOBS, ENTRIES].into_iter().for_each(|table| declare(table, key));
    }

    /// It takes more away than it writes, and what is poisoned has to go from a full disk too.
    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Step>, Fault> {
        // Of a run before this one, of which nothing stands.
        slots(&self.condemned).clear();
        let key = self.digest.as_bytes();
        let is_new = !tx.get_ref(BLOCKED, key, |record| record.is_some())?;
        let count_before = self.shared.loaded().map_or(0, |loaded| loaded.blocked.load(Ordering::Acquire));
        if is_new && count_before >= BLOCK_COUNT_MAX {
            return Ok(Outcome::Rollback(Step::TooMany));
        }
        // Readers that looked before are told to look again; that it is leased does not matter.
        slots(&self.condemned).extend(self.shared.leases.condemn_by_force(&self.digest));
        let (entries, more) = self.entries(tx)?;
        let (mut totals, mut objects, mut bytes) = (Totals::default(), 0, 0);
        for (ns, second) in &entries {
            let taken = take_entry(tx, ns, *second, &self.digest)?;
            totals.note(ns, taken);
            objects += 1;
            bytes += if taken.freed { taken.bytes } else { 0 };
        }
        totals.write(tx, &self.shared, &self.leaving)?;
        if !more {
            pins::drop_of_blob(tx, &self.shared, &self.digest)?;
            tx.delete(QUARANTINE, key);
            tx.put(BLOCKED, key, &self.block.encode(), Vec::new(), is_new);
            if is_new {
                count(tx, &self.shared, true);
            }
        }
        Ok(Outcome::Commit(Step::Taken { objects, bytes, blocked: (!more).then_some(is_new) }))
    }
}

impl BlockDigest {
    /// Namespaces that have the blob, with its place in their order of use, and whether there are more of them.
    fn entries(&self, tx: &mut Tx<'_>) -> Result<(Vec<(Namespace, u32)>, bool), Fault> {
        let mut entries = Vec::new();
        let mut more = false;
        let start = Bound::Included(&self.digest.as_bytes()[..]);
        tx.scan(ENTRIES, start, Direction::Forward, u64::MAX, &mut |key, record| {
            match digest_and_namespace(key) {
                Some((digest, ns)) if digest == self.digest => {
                    more = entries.len() == ENTRIES_PER_OPERATION;
                    if more {
                        return ControlFlow::Break(());
                    }
                    // Without a damaged entry's place in the order of use: whoever walks that finds nothing there, and goes on.
                    entries.push((ns, EntryHead::decode(record.value).map_or(0, |head| head.access_second)));
                    ControlFlow::Continue(())
                }
                Some(_) | None => ControlFlow::Break(()),
            }
        })?;
        Ok((entries, more))
    }
}

struct Unblock {
    shared: Arc<Shared>,
    digest: Digest,
}

impl Operation for Unblock {
    type Reply = bool;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BLOCKED, self.digest.as_bytes());
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<bool>, Fault> {
        if !tx.get_ref(BLOCKED, self.digest.as_bytes(), |record| record.is_some())? {
            return Ok(Outcome::Rollback(false));
        }
        tx.delete(BLOCKED, self.digest.as_bytes());
        count(tx, &self.shared, false);
        Ok(Outcome::Commit(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_round_trips_and_its_truncations_are_faults() {
        let at = Timestamp(1_800_000_000_000);
        let block = Block { at, reason: "ä".repeat(100).into(), who: "abcdefgh".into() };
        let bytes = block.encode();
        assert_eq!(Block::decode(&bytes).expect("decodes"), block);
        for length in 0..bytes.len() {
            assert!(Block::decode(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(Block::decode(&[&bytes[..], &[0]].concat()).is_err());
        let long = Block { at, reason: "ä".repeat(200).into(), who: "".into() };
        assert_eq!(Block::decode(&long.encode()).expect("decodes").reason.len(), 254);
    }
}
