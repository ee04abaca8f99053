#![allow(unsafe_code, reason = "reads and writes headers in the arena, with a tower and a key behind them")]
//! One key of the overlay: its place in the list at every level, and its newest version.
//! Invariant: key, height and freshness are immutable once the node is linked; a linked node has at least one version.
//!
//! ```text
//! NodeHeader (24 bytes) | tower: `height` links of 8 bytes, level 0 first | key bytes
//! ```

use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::arena::{Bump, Chunks};
use super::version::{Version, VersionHeader};

/// Levels of the list; with one node in four rising a level, enough for 16 million keys.
pub(super) const HEIGHT_MAX: usize = 12;

#[repr(C)]
pub(super) struct NodeHeader {
    versions: AtomicPtr<VersionHeader>,
    /// The node before this one at level 0; the head node before the first.
    previous: AtomicPtr<NodeHeader>,
    key_bytes: u16,
    height: u8,
    fresh: bool,
}

type Link = AtomicPtr<NodeHeader>;

/// A linked node; lives as long as the overlay is borrowed.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    /// Has the provenance of the whole chunk, so that tower and key may be reached through it.
    header: NonNull<NodeHeader>,
    _overlay: PhantomData<&'a NodeHeader>,
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header
    }
}

impl<'a> Node<'a> {
    /// # Safety
    /// `header` is null or came from `write`, its writing happened before this call, and its arena outlives `'a`.
    unsafe fn from_raw(header: *mut NodeHeader) -> Option<Node<'a>> {
        NonNull::new(header).map(|header| Node { header, _overlay: PhantomData })
    }

    /// # Safety
    /// `header` came from `write`, its writing happened before this call, and its arena outlives `'a`.
    pub(super) unsafe fn from_non_null(header: NonNull<NodeHeader>) -> Node<'a> {
        Node { header, _overlay: PhantomData }
    }

    fn header(self) -> &'a NodeHeader {
        // SAFETY: by the contract of `from_raw` the header is written and lives for 'a; only its atomics ever change.
        unsafe { self.header.as_ref() }
    }

    pub(super) fn key(self) -> &'a [u8] {
        let header = self.header();
        let key_offset = key_offset(usize::from(header.height));
        // SAFETY: `write` allocated header, tower and key as one piece, so the offset stays within it.
        let key = unsafe { self.header.cast::<u8>().add(key_offset) };
        // SAFETY: `key_bytes` bytes were written there before the node was linked, never change, and live for 'a.
        unsafe { std::slice::from_raw_parts(key.as_ptr(), usize::from(header.key_bytes)) }
    }

    /// Whether the first entry of this key in this overlay was a fresh put: nothing lies below it.
    pub(super) fn is_fresh(self) -> bool {
        self.header().fresh
    }

    pub(super) fn height(self) -> usize {
        usize::from(self.header().height)
    }

    fn link(self, level: usize) -> &'a Link {
        assert!(level < self.height(), "level {level} is above this node");
        // SAFETY: the tower starts right behind the header, within the same piece.
        let tower = unsafe { self.header.add(1) }.cast::<Link>();
        // SAFETY: `level` is below the height, so the link lies in the tower.
        let link = unsafe { tower.add(level) };
        // SAFETY: all links of the tower were written before the node was linked and live for 'a; they are atomics.
        unsafe { link.as_ref() }
    }

    pub(super) fn next(self, level: usize) -> Option<Node<'a>> {
        let next = self.link(level).load(Ordering::Acquire);
        // SAFETY: links hold null or a node of the same arena that was written before it was linked; the acquire load
        // orders its writing before this use.
        unsafe { Node::from_raw(next) }
    }

    /// Asks for the cache line in which the next node begins, without waiting for it.
    pub(super) fn prefetch_next(self, level: usize) {
        prefetch(self.link(level).load(Ordering::Relaxed).cast_const().cast());
    }

    /// Asks for the two cache lines in which most nodes lie with tower and key, without waiting for them.
    pub(super) fn prefetch(self) {
        let start = self.header.as_ptr().cast_const().cast::<u8>();
        prefetch(start);
        prefetch(start.wrapping_add(CACHE_LINE_BYTES));
    }

    /// Asks for the newest version without waiting for it.
    pub(super) fn prefetch_newest(self) {
        prefetch(self.header().versions.load(Ordering::Relaxed).cast_const().cast());
    }

    /// Only for the writer. Release: whoever finds `next` finds it whole.
    pub(super) fn set_next(self, level: usize, next: Node<'a>) {
        self.link(level).store(next.header.as_ptr(), Ordering::Release);
    }

    /// The node before this one; the head for the first one, `None` for the head.
    pub(super) fn previous(self) -> Option<Node<'a>> {
        let previous = self.header().previous.load(Ordering::Acquire);
        // SAFETY: as in `next`.
        unsafe { Node::from_raw(previous) }
    }

    /// Only for the writer.
    pub(super) fn set_previous(self, previous: Node<'a>) {
        self.header().previous.store(previous.header.as_ptr(), Ordering::Release);
    }

    /// The newest version; `None` only for the head.
    pub(super) fn newest(self) -> Option<Version<'a>> {
        let newest = self.header().versions.load(Ordering::Acquire);
        // SAFETY: holds null or a version of the same arena that was written before the release store; the acquire load
        // orders its writing before this use.
        unsafe { Version::from_raw(newest) }
    }

    /// Only for the writer. Release: whoever finds the version finds it whole, and all that it links to.
    pub(super) fn set_newest(self, version: NonNull<VersionHeader>) {
        self.header().versions.store(version.as_ptr(), Ordering::Release);
    }

    /// All versions, newest first.
    pub(super) fn versions(self) -> impl Iterator<Item = Version<'a>> {
        std::iter::successors(self.newest(), |version| version.older())
    }
}

/// Writes a node that nobody can find yet. Its links lead nowhere. `version` is null for the head alone.
///
/// # Panics
/// When the key's length does not fit in 16 bits or the height is not in 1..=`HEIGHT_MAX`.
pub(super) fn write(
    bump: &mut Bump,
    chunks: &Chunks,
    key: &[u8],
    height: usize,
    fresh: bool,
    version: *mut VersionHeader,
) -> NonNull<NodeHeader> {
    assert!((1..=HEIGHT_MAX).contains(&height), "a node of height {height}");
    let key_bytes = u16::try_from(key.len()).expect("the overlay compares keys with a smaller bound");
    let piece = bump.allocate(chunks, key_offset(height) + key.len());
    let header = piece.cast::<NodeHeader>();
    let content = NodeHeader {
        versions: AtomicPtr::new(version),
        previous: AtomicPtr::new(ptr::null_mut()),
        key_bytes,
        height: u8::try_from(height).expect("compared with HEIGHT_MAX above"),
        fresh,
    };
    // SAFETY: the piece is long enough for a header, is aligned to 8, and nobody else knows it yet.
    unsafe { header.write(content) };
    // SAFETY: the tower starts right behind the header, within the same piece.
    let tower = unsafe { header.add(1) }.cast::<Link>();
    for level in 0..height {
        // SAFETY: the piece has room for `height` links.
        let link = unsafe { tower.add(level) };
        // SAFETY: as above; 8-aligned, since the header is 24 bytes long and 8-aligned.
        unsafe { link.write(Link::new(ptr::null_mut())) };
    }
    // SAFETY: the piece is at least header and tower long.
    let key_start = unsafe { piece.add(key_offset(height)) };
    // SAFETY: `key.len()` bytes follow `key_start` in the piece, which is new and so cannot overlap the key.
    unsafe { key_start.as_ptr().copy_from_nonoverlapping(key.as_ptr(), key.len()) };
    header
}

/// Asks for the cache line of an address, which need not be a valid one, without waiting for it.
fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, so any address will do; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _nothing_to_do = address;
}

const CACHE_LINE_BYTES: usize = 64;

fn key_offset(height: usize) -> usize {
    size_of::<NodeHeader>() + height * size_of::<Link>()
}
