#![allow(unsafe_code, reason = "reads and writes headers that lie in the arena with bytes behind them")]
//! One version of one key: when it was written, what it says, and the version before it.
//! Invariant: a version is immutable once it is published.
//!
//! ```text
//! VersionHeader (24 bytes) | IntentTail (16 bytes, intents only) | value bytes
//! ```

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::arena::{Bump, Chunks};
use super::{Entry, VALUE_BYTES_MAX};
use crate::tx_status::{TxState, TxStatus};
use crate::types::Lsn;

#[repr(C)]
pub(super) struct VersionHeader {
    older: *mut VersionHeader,
    lsn: u64,
    value_bytes: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Put,
    Delete,
    IntentPut,
    IntentDelete,
    Hold,
}

/// What lies between header and value of an intent.
#[repr(C)]
struct IntentTail {
    /// Dropped by `drop_intents`, since the arena only frees memory.
    status: ManuallyDrop<Arc<TxStatus>>,
    /// The intent written before this one, whatever its key: the list that `drop_intents` walks.
    older_intent: *mut VersionHeader,
}

/// A published version; lives as long as the overlay is borrowed.
#[derive(Clone, Copy)]
pub(super) struct Version<'a> {
    /// Has the provenance of the whole chunk, so that the bytes behind the header may be reached through it.
    header: NonNull<VersionHeader>,
    _overlay: PhantomData<&'a VersionHeader>,
}

impl<'a> Version<'a> {
    /// # Safety
    /// `header` is null or came from `write`, its writing happened before this call, and its arena outlives `'a`.
    pub(super) unsafe fn from_raw(header: *mut VersionHeader) -> Option<Version<'a>> {
        NonNull::new(header).map(|header| Version { header, _overlay: PhantomData })
    }

    pub(super) fn as_raw(self) -> *mut VersionHeader {
        self.header.as_ptr()
    }

    fn header(self) -> &'a VersionHeader {
        // SAFETY: by the contract of `from_raw` the header is written and lives for 'a; only its atomic ever changes.
        unsafe { self.header.as_ref() }
    }

    pub(super) fn lsn(self) -> Lsn {
        Lsn(self.header().lsn)
    }

    pub(super) fn older(self) -> Option<Version<'a>> {
        // SAFETY: the link is null or a version of the same arena that was written before this one, which the caller met by
        // an acquire load.
        unsafe { Version::from_raw(self.header().older) }
    }

    pub(super) fn is_intent(self) -> bool {
        matches!(self.header().kind, Kind::IntentPut | Kind::IntentDelete | Kind::Hold)
    }

    pub(super) fn is_hold(self) -> bool {
        self.header().kind == Kind::Hold
    }

    /// What the version says: `None` is a deletion.
    pub(super) fn value(self) -> Option<&'a [u8]> {
        let header = self.header();
        let value_offset = match header.kind {
            Kind::Put => size_of::<VersionHeader>(),
            Kind::IntentPut => size_of::<VersionHeader>() + size_of::<IntentTail>(),
            Kind::Delete | Kind::IntentDelete | Kind::Hold => return None,
        };
        // SAFETY: `write` allocated header, tail and value as one piece, so the offset stays within it.
        let value = unsafe { self.header.cast::<u8>().add(value_offset) };
        // SAFETY: `value_bytes` bytes were written there before publication, never change, and live for 'a.
        Some(unsafe { std::slice::from_raw_parts(value.as_ptr(), header.value_bytes as usize) })
    }

    /// The fate that an intent shares; `None` for a plain version.
    pub(super) fn status(self) -> Option<&'a Arc<TxStatus>> {
        if !self.is_intent() {
            return None;
        }
        // SAFETY: an intent was allocated with a tail right behind its header.
        let tail = unsafe { self.header.add(1) }.cast::<IntentTail>();
        // SAFETY: the tail was written before publication, is 8-aligned as the header is, and lives for 'a unchanged.
        let tail = unsafe { tail.as_ref() };
        Some(&tail.status)
    }

    /// Whether a reader of this instant sees the version.
    pub(super) fn is_visible(self, at: Lsn, commit: u64) -> bool {
        self.lsn() <= at && !self.is_hold() && self.status().is_none_or(|status| status.is_visible_at(commit))
    }

    /// Whether the version says nothing any more: its transaction was aborted, or is decided and only held the key.
    pub(super) fn is_void(self) -> bool {
        self.status().is_some_and(|status| match status.state() {
            TxState::Pending => false,
            TxState::Aborted => true,
            TxState::Committed(_) => self.is_hold(),
        })
    }
}

/// Writes a version with `older` behind it. Intents are put in front of the list at `intents`.
///
/// # Panics
/// When the value is longer than `VALUE_BYTES_MAX`.
pub(super) fn write(
    bump: &mut Bump,
    chunks: &Chunks,
    intents: &AtomicPtr<VersionHeader>,
    lsn: Lsn,
    entry: &Entry<'_>,
    older: *mut VersionHeader,
) -> NonNull<VersionHeader> {
    let (kind, value, status) = match *entry {
        Entry::Put { value, .. } => (Kind::Put, value, None),
        Entry::Delete => (Kind::Delete, &[][..], None),
        Entry::IntentPut { value, status } => (Kind::IntentPut, value, Some(status)),
        Entry::IntentDelete { status } => (Kind::IntentDelete, &[][..], Some(status)),
        Entry::Hold { status } => (Kind::Hold, &[][..], Some(status)),
    };
    assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes reached the overlay", value.len());
    let value_bytes = u32::try_from(value.len()).expect("compared with a smaller bound in the line above");
    let tail_bytes = if status.is_some() { size_of::<IntentTail>() } else { 0 };
    let piece = bump.allocate(chunks, size_of::<VersionHeader>() + tail_bytes + value.len());
    let header = piece.cast::<VersionHeader>();
    // SAFETY: the piece is long enough for a header, is aligned to 8, and nobody else knows it yet.
    unsafe { header.write(VersionHeader { older, lsn: lsn.0, value_bytes, kind }) };
    // SAFETY: the piece is at least a header and a tail (if any) long.
    let value_start = unsafe { piece.add(size_of::<VersionHeader>() + tail_bytes) };
    // SAFETY: `value.len()` bytes follow `value_start` in the piece, which is new and so cannot overlap the value.
    unsafe { value_start.as_ptr().copy_from_nonoverlapping(value.as_ptr(), value.len()) };
    if let Some(status) = status {
        // SAFETY: the piece of an intent has room for a tail behind the header.
        let tail = unsafe { header.add(1) }.cast::<IntentTail>();
        let older_intent = intents.load(Ordering::Relaxed);
        let content = IntentTail { status: ManuallyDrop::new(Arc::clone(status)), older_intent };
        // SAFETY: as above; 8-aligned, since the header is 24 bytes long and 8-aligned.
        unsafe { tail.write(content) };
        intents.store(header.as_ptr(), Ordering::Relaxed);
    }
    header
}

/// Drops the `Arc`s of all intents in the list that starts at `newest`.
///
/// # Safety
/// The list was built by `write`, its arena still lives, nobody looks at these intents any more or will again, and this is
/// the only call for the list.
pub(super) unsafe fn drop_intents(mut newest: *mut VersionHeader) {
    while let Some(header) = NonNull::new(newest) {
        // SAFETY: the list holds only intents, which have a tail right behind the header.
        let tail = unsafe { header.add(1) }.cast::<IntentTail>();
        // SAFETY: the tail was written by `write`; the caller vouches that this copy is the only one used from now on.
        let tail = unsafe { tail.read() };
        newest = tail.older_intent;
        drop(ManuallyDrop::into_inner(tail.status));
    }
}
