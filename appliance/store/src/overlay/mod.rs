#![allow(unsafe_code, reason = "the list's ends and its drop touch arena memory")]
//! The overlay: recent effects of one shard in memory, ordered by key, each key with its versions by LSN.
//! Invariant: one writer inserts while any number of threads read without a lock; what a reader finds is whole, and stays
//! at its place until the last `Arc` of the overlay drops.
//! Leaves to view.rs: which overlays make up a shard at one instant. Leaves to the store: dropping the overlay after grace.
//!
//! A skip list in an arena: inserting publishes by release stores from level 0 up, reading follows by acquire loads. Nodes
//! and versions are never freed singly, so a reader may stand on one for as long as it borrows the overlay.

mod ahead;
mod arena;
mod cursor;
mod node;
#[cfg(test)]
mod tests;
mod version;

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::planted::{self, Plant};
use crate::tx_status::{TxState, TxStatus};
use crate::types::Lsn;
pub use arena::SpareChunk;
use arena::{Bump, Chunks};
pub use cursor::Cursor;
use node::{HEIGHT_MAX, Node, NodeHeader};
use version::{Version, VersionHeader};

/// Makes an empty overlay. `arena_bytes_hint` sizes the first two chunks (64 KiB to 2 MiB); `seed` drives the heights: draw it
/// at random, since a client that knew it could choose an order of keys that makes the list slow.
#[must_use]
pub fn overlay(arena_bytes_hint: usize, seed: u64) -> (OverlayWriter, Arc<Overlay>) {
    let chunks = Chunks::new();
    let mut nodes = Bump::new(&chunks, arena_bytes_hint);
    let versions = Bump::new(&chunks, arena_bytes_hint);
    let head = node::write(&mut nodes, &chunks, &[], HEIGHT_MAX, false, ptr::null_mut());
    let overlay = Arc::new(Overlay {
        head,
        height: AtomicUsize::new(1),
        intents: AtomicPtr::new(ptr::null_mut()),
        key_count: AtomicUsize::new(0),
        entry_count: AtomicUsize::new(0),
        chunks,
    });
    // Xorshift never leaves 0.
    let random = seed | 1;
    let writer = OverlayWriter { overlay: Arc::clone(&overlay), nodes, versions, random };
    (writer, overlay)
}

/// What an insertion says about its key.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// The key has this value from now on.
    Put {
        /// Opaque bytes, at most `VALUE_BYTES_MAX`.
        value: &'a [u8],
        /// The caller knows that the key never existed: nothing lies below this overlay.
        fresh: bool,
    },
    /// The key is gone from now on.
    Delete,
    /// The key has this value if the transaction commits.
    IntentPut {
        /// Opaque bytes, at most `VALUE_BYTES_MAX`.
        value: &'a [u8],
        /// The transaction's fate.
        status: &'a Arc<TxStatus>,
    },
    /// The key is gone if the transaction commits.
    IntentDelete {
        /// The transaction's fate.
        status: &'a Arc<TxStatus>,
    },
    /// The key belongs to the transaction until that is decided, and stays as it is.
    Hold {
        /// The transaction's fate.
        status: &'a Arc<TxStatus>,
    },
}

/// What a reader of one instant finds under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// The batch that wrote it.
    pub lsn: Lsn,
    /// The value; `None` says that the key was deleted.
    pub value: Option<&'a [u8]>,
    /// The first entry of this key in this overlay was a fresh put, so older overlays and the index hold nothing under it.
    pub fresh: bool,
}

/// The newest version of a key that is not aborted, decided or not; one that only holds the key counts until it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Latest<'a> {
    /// The batch that wrote it.
    pub lsn: Lsn,
    /// What it says.
    pub kind: LatestKind<'a>,
    /// As in `Seen`.
    pub fresh: bool,
}

impl<'a> Latest<'a> {
    /// The version is an intent that is not resolved yet: the key belongs to its transaction, decided or not, since the
    /// resolution will still write it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        if planted::is(Plant::IntentNotHeld) {
            return self.is_undecided();
        }
        matches!(self.kind, LatestKind::Intent { .. })
    }

    /// The transaction that holds the key is not even decided.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self.kind, LatestKind::Intent { status, .. } if status.state() == TxState::Pending)
    }

    /// What the key holds if the version counts; `None` where it is a deletion.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        match self.kind {
            LatestKind::Value(value) => Some(value),
            LatestKind::Delete => None,
            LatestKind::Intent { value, .. } => value,
        }
    }
}

/// What the newest version says.
#[derive(Clone, Copy, Debug)]
pub enum LatestKind<'a> {
    /// A plain value.
    Value(&'a [u8]),
    /// A plain deletion.
    Delete,
    /// An intent, pending or committed. `value` is `None` where it deletes.
    Intent {
        /// The transaction's fate.
        status: &'a Arc<TxStatus>,
        /// What the key becomes, or has become; nothing where it is only held.
        value: Option<&'a [u8]>,
    },
}

/// The readers' side.
pub struct Overlay {
    /// A node with an empty key and full height that stands before all others.
    head: ptr::NonNull<NodeHeader>,
    /// Levels in use. A reader that finds an old, smaller number only walks longer.
    height: AtomicUsize,
    /// The newest intent: the list of `Arc`s to drop.
    intents: AtomicPtr<VersionHeader>,
    key_count: AtomicUsize,
    entry_count: AtomicUsize,
    /// The memory of everything above. Declared last, since it is freed after `drop` has run.
    chunks: Chunks,
}

// SAFETY: the raw pointers lead into `chunks`, which the overlay owns. Shared methods only follow links by acquire loads
// to things that were whole before their release store; what intents share is an Arc of a Sync type. Writing goes through
// the one OverlayWriter, which is not Sync.
unsafe impl Send for Overlay {}
// SAFETY: as above.
unsafe impl Sync for Overlay {}

impl Overlay {
    /// What a reader finds that sees batches up to `at` and transactions up to the commit number `commit`: the newest
    /// version that is plain or a committed intent within these bounds. `None`: this overlay says nothing, look below.
    #[must_use]
    pub fn get(&self, key: &[u8], at: Lsn, commit: u64) -> Option<Seen<'_>> {
        seen_in(self.find(key)?, at, commit)
    }

    /// The newest version that is not aborted, pending intents included. For the owner, who must see what is in doubt.
    #[must_use]
    pub fn latest(&self, key: &[u8]) -> Option<Latest<'_>> {
        latest_in(self.find(key)?)
    }

    /// A cursor that stands nowhere yet. It shows every key, also those whose versions a reader may not see.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self)
    }

    /// Bytes of memory held, unused parts of chunks included.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.chunks.bytes()
    }

    /// Number of insertions.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.entry_count.load(Ordering::Relaxed)
    }

    /// Number of different keys.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.key_count.load(Ordering::Relaxed)
    }

    fn head(&self) -> Node<'_> {
        // SAFETY: the head was written before the Overlay existed and lies in `chunks`, which lives as long as self.
        unsafe { Node::from_non_null(self.head) }
    }

    /// The highest level in use, counted from 0.
    fn top_level(&self) -> usize {
        self.height.load(Ordering::Relaxed) - 1
    }

    fn find(&self, key: &[u8]) -> Option<Node<'_>> {
        self.first_from(key, |_, _| {}).filter(|node| node.key() == key)
    }

    /// The first node whose key is `key` or greater. `at_level` as in `gap`.
    fn first_from<'a>(&'a self, key: &[u8], at_level: impl FnMut(usize, Node<'a>)) -> Option<Node<'a>> {
        self.gap(|candidate| is_less(candidate, key), at_level).right
    }

    /// Where the nodes end whose key `is_left`, which must hold for a prefix of the key order. `at_level` gets the last such
    /// node of each level in use, from the top down.
    fn gap<'a>(
        &'a self,
        is_left: impl Fn(&[u8]) -> bool,
        mut at_level: impl FnMut(usize, Node<'a>),
    ) -> Gap<'a> {
        let mut node = self.head();
        // The node that ended the walk one level up ends it here too when it comes up again.
        let mut wall: Option<Node<'a>> = None;
        for level in (0..=self.top_level()).rev() {
            loop {
                let next = node.next(level);
                if level > 0 {
                    // Where the walk goes if it does not go on here: fetched while the candidate's key is compared.
                    node.prefetch_next(level - 1);
                }
                match next {
                    Some(candidate) if next != wall && is_left(candidate.key()) => node = candidate,
                    _ => {
                        wall = next.or(wall);
                        break;
                    }
                }
            }
            at_level(level, node);
        }
        // The lowest level has every node, so what ended the walk there is the neighbour.
        Gap { left: node, right: wall }
    }
}

/// Two neighbours of the lowest level, as a walk has met them. Another node may have come between them since: one that asked
/// the left node for its neighbour again could be given that one, and would miss the key that it has walked to.
struct Gap<'a> {
    /// The last node before the gap; the head if there is none.
    left: Node<'a>,
    /// The first node behind it.
    right: Option<Node<'a>>,
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // SAFETY: `write` built the list with this head; `chunks` is dropped after this; nobody borrows the overlay, since
        // drop has it exclusively, and drop runs once.
        unsafe { version::drop_intents(*self.intents.get_mut()) };
    }
}

fn seen_in(node: Node<'_>, at: Lsn, commit: u64) -> Option<Seen<'_>> {
    let version = node.versions().find(|version| version.is_visible(at, commit))?;
    Some(Seen { lsn: version.lsn(), value: version.value(), fresh: node.is_fresh() })
}

/// Whether a reader of this instant passes an intent that may still come to count, or that counts for later readers.
fn hides_in(node: Node<'_>, at: Lsn, commit: u64) -> bool {
    let passed = node.versions().take_while(|version| !version.is_visible(at, commit));
    // Of a plain version of a later batch nothing is hidden: its batch is not a part of the reader's instant.
    let mut intents =
        passed.filter(|version| version.is_intent() && !version.is_hold() && !version.is_void());
    intents.next().is_some()
}

fn latest_in(node: Node<'_>) -> Option<Latest<'_>> {
    let version = node.versions().find(|version| !version.is_void())?;
    let kind = match (version.status(), version.value()) {
        (Some(status), value) => LatestKind::Intent { status, value },
        (None, Some(value)) => LatestKind::Value(value),
        (None, None) => LatestKind::Delete,
    };
    Some(Latest { lsn: version.lsn(), kind, fresh: node.is_fresh() })
}

/// The one who inserts. Not `Sync`; may move to another thread.
pub struct OverlayWriter {
    overlay: Arc<Overlay>,
    /// Nodes lie among nodes, so that a search meets few pages and cache lines.
    nodes: Bump,
    versions: Bump,
    /// State of the xorshift that draws heights.
    random: u64,
}

impl OverlayWriter {
    /// The readers' side of this overlay.
    #[must_use]
    pub fn overlay(&self) -> &Arc<Overlay> {
        &self.overlay
    }

    /// Memory that this overlay will want soon: the caller has it filled by another thread. `None`: nothing, or it is
    /// being made already.
    #[must_use]
    pub fn order_spare(&self) -> Option<Arc<SpareChunk>> {
        let chunks = &self.overlay.chunks;
        self.nodes.order_spare(chunks).or_else(|| self.versions.order_spare(chunks))
    }

    /// Makes `entry` the newest version of `key`. Of several plain entries of a key in one batch the last remains.
    ///
    /// # Panics
    /// When the key is longer than `KEY_BYTES_MAX`, the value longer than `VALUE_BYTES_MAX`, or the LSN lower than that of
    /// the key's newest version: each would be a fault of the store itself.
    pub fn insert(&mut self, key: &[u8], lsn: Lsn, entry: Entry<'_>) {
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes reached the overlay", key.len());
        let overlay = &*self.overlay;
        let mut left = [overlay.head(); HEIGHT_MAX];
        let right = overlay.first_from(key, |level, node| left[level] = node);
        match right.filter(|node| node.key() == key) {
            Some(node) => push_version(overlay, &mut self.versions, node, lsn, &entry),
            None => {
                let height = draw_height(&mut self.random);
                let version = version::write(
                    &mut self.versions,
                    &overlay.chunks,
                    &overlay.intents,
                    lsn,
                    &entry,
                    ptr::null_mut(),
                );
                let fresh = matches!(entry, Entry::Put { fresh: true, .. });
                let header =
                    node::write(&mut self.nodes, &overlay.chunks, key, height, fresh, version.as_ptr());
                // SAFETY: written in the line above by this thread, into the arena of the overlay that is borrowed.
                let node = unsafe { Node::from_non_null(header) };
                link_node(overlay, &left, height, node);
            }
        }
        add_one(&overlay.entry_count);
    }
}

/// Puts a version in front of the chain of a node.
fn push_version(overlay: &Overlay, bump: &mut Bump, node: Node<'_>, lsn: Lsn, entry: &Entry<'_>) {
    let mut older = node.newest();
    if let Some(newest) = older {
        assert!(lsn >= newest.lsn(), "LSN {lsn} inserted above {}", newest.lsn());
        let is_plain = matches!(entry, Entry::Put { .. } | Entry::Delete);
        if is_plain && newest.lsn() == lsn {
            // No reader sees the one without the other, since both become durable in one batch.
            older = newest.older();
        }
    }
    let older = older.map_or(ptr::null_mut(), Version::as_raw);
    let version = version::write(bump, &overlay.chunks, &overlay.intents, lsn, entry, older);
    node.set_newest(version);
}

/// Puts a new node behind those in `left`, which holds the last smaller node (or the head) of every level.
fn link_node<'a>(overlay: &'a Overlay, left: &[Node<'a>; HEIGHT_MAX], height: usize, node: Node<'a>) {
    for (level, before) in left.iter().enumerate().take(height) {
        if let Some(next) = before.next(level) {
            node.set_next(level, next);
        }
    }
    node.set_previous(left[0]);
    // From here on readers find it: the links above must be in place first, or they would lose the rest of the list.
    for (level, before) in left.iter().enumerate().take(height) {
        before.set_next(level, node);
    }
    if let Some(next) = node.next(0) {
        next.set_previous(node);
    }
    if height > overlay.height.load(Ordering::Relaxed) {
        overlay.height.store(height, Ordering::Relaxed);
    }
    add_one(&overlay.key_count);
}

/// Counts where there is one writer. A locked instruction would wait for every store before it, and those of an insertion
/// go to memory that is not in the cache.
fn add_one(count: &AtomicUsize) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// `one < other`. Most keys differ in their first bytes, which two loads tell without a call.
fn is_less(one: &[u8], other: &[u8]) -> bool {
    match (one.split_first_chunk::<8>(), other.split_first_chunk::<8>()) {
        (Some((one_head, one_rest)), Some((other_head, other_rest))) if one_head == other_head => {
            one_rest < other_rest
        }
        (Some((one_head, _)), Some((other_head, _))) => {
            u64::from_be_bytes(*one_head) < u64::from_be_bytes(*other_head)
        }
        _ => one < other,
    }
}

/// One node in four rises to the next level.
fn draw_height(random: &mut u64) -> usize {
    let mut bits = *random;
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    *random = bits;
    // The high half of the product is better mixed than the low bits of a xorshift.
    let mixed = bits.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
    let rises = (mixed.trailing_ones() / 2) as usize;
    (1 + rises).min(HEIGHT_MAX)
}

/// The longest key: a table byte and the longest key of a record fit.
pub const KEY_BYTES_MAX: usize = 2 * 1024;
/// The longest value: an encoded record with its inline bodies fits.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
