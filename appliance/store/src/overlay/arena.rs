#![allow(unsafe_code, reason = "hands out raw memory from chunks that die together")]
//! The overlay's memory: chunks that only grow in number and are freed together.
//! Invariant: memory given out is valid, unaliased and at its address until the `Chunks` drops.
//! Leaves to node.rs and version.rs: what lies in the memory. It is never dropped, only freed.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Every piece starts at a multiple of this.
pub(super) const ALIGN_BYTES: usize = 8;
/// The first chunk unless the hint asks for more: an overlay that stays empty costs this much address space.
pub(super) const FIRST_CHUNK_BYTES: usize = 64 * 1024;
/// Chunks double up to this size, that of a large page: a search touches nodes all over the arena, and with small pages each
/// of them costs a walk through the page tables too. Chunks of at least this size are mapped, smaller ones allocated.
pub(super) const CHUNK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What the kernel hands out where it has no large page.
const SMALL_PAGE_BYTES: usize = 4096;
/// Larger pieces get a chunk of their own, so that the rest of the current one is not wasted.
const OWN_CHUNK_BYTES_MIN: usize = 16 * 1024;

/// What lies at the start of each chunk.
#[repr(C, align(8))]
struct ChunkHeader {
    /// The chunk allocated before this one, or null.
    older: *mut ChunkHeader,
    /// This chunk's size, header included.
    bytes: usize,
}

/// The owner of all chunks. Shared; only the holder of the `Bump` adds to it.
pub(super) struct Chunks {
    newest: AtomicPtr<ChunkHeader>,
    bytes: AtomicUsize,
    spare: Arc<SpareChunk>,
}

/// A chunk of `CHUNK_BYTES_MAX` that another thread makes ahead. The first touch of a large page clears it, and in a guest
/// the host may have to find the memory first: that was 4 % of the samples of a burst of puts.
#[derive(Default)]
pub struct SpareChunk {
    /// The mapped chunk, or null.
    chunk: AtomicPtr<u8>,
    /// Somebody is making the chunk, or it is there.
    ordered: AtomicBool,
}

impl SpareChunk {
    /// Makes the chunk. Takes time: it belongs to a companion.
    pub fn fill(&self) {
        let chunk = map(CHUNK_BYTES_MAX);
        for offset in (0..CHUNK_BYTES_MAX).step_by(SMALL_PAGE_BYTES) {
            // SAFETY: the chunk was mapped above with this length.
            let page = unsafe { chunk.add(offset) };
            // SAFETY: the mapping is writable, and nobody else knows it yet.
            unsafe { page.write_volatile(0) };
        }
        // Release: whoever takes the chunk may use it.
        let before = self.chunk.swap(chunk.as_ptr(), Ordering::AcqRel);
        unmap(before, CHUNK_BYTES_MAX);
    }

    fn take(&self) -> Option<NonNull<u8>> {
        let chunk = NonNull::new(self.chunk.swap(ptr::null_mut(), Ordering::AcqRel))?;
        self.ordered.store(false, Ordering::Relaxed);
        Some(chunk)
    }
}

impl Drop for SpareChunk {
    fn drop(&mut self) {
        unmap(*self.chunk.get_mut(), CHUNK_BYTES_MAX);
    }
}

impl Chunks {
    pub(super) fn new() -> Chunks {
        Chunks { newest: AtomicPtr::new(ptr::null_mut()), bytes: AtomicUsize::new(0), spare: Arc::default() }
    }

    /// Bytes of all chunks together: what the process pays for this overlay.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds a chunk with `payload_bytes` behind its header and gives where the payload starts.
    fn add(&self, payload_bytes: usize) -> NonNull<u8> {
        let bytes = size_of::<ChunkHeader>() + payload_bytes;
        let chunk = match bytes {
            CHUNK_BYTES_MAX => self.spare.take().unwrap_or_else(|| map(bytes)),
            0..CHUNK_BYTES_MAX => allocate(bytes),
            _ => map(bytes),
        };
        let header = ChunkHeader { older: self.newest.load(Ordering::Relaxed), bytes };
        // SAFETY: the chunk begins with room for a header and has its alignment; nobody else knows the chunk yet.
        unsafe { chunk.cast::<ChunkHeader>().write(header) };
        // Relaxed: only the single writer adds, and whoever drops the Chunks has synchronized with it by its Arc.
        self.newest.store(chunk.cast().as_ptr(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // SAFETY: the chunk is at least a header long.
        unsafe { chunk.add(size_of::<ChunkHeader>()) }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let mut chunk = *self.newest.get_mut();
        while !chunk.is_null() {
            // SAFETY: the list holds chunks that `add` allocated and whose header it wrote; none is freed twice, since
            // each is left before it is freed; the header is plain data that may be copied out.
            let header = unsafe { chunk.read() };
            if header.bytes >= CHUNK_BYTES_MAX {
                unmap(chunk.cast(), header.bytes);
            } else {
                // SAFETY: allocated by `add` with this very layout; `drop` has exclusive access, so nobody looks at it.
                unsafe { dealloc(chunk.cast(), chunk_layout(header.bytes)) };
            }
            chunk = header.older;
        }
    }
}

fn allocate(bytes: usize) -> NonNull<u8> {
    let layout = chunk_layout(bytes);
    // SAFETY: the layout is not empty, since it contains a header.
    let chunk = unsafe { alloc(layout) };
    NonNull::new(chunk).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Fresh memory from the kernel, in large pages where it has some.
fn map(bytes: usize) -> NonNull<u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private mapping at an address of the kernel's choice touches no memory that exists.
    let chunk = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if chunk == libc::MAP_FAILED {
        handle_alloc_error(chunk_layout(bytes));
    }
    #[cfg(not(miri))]
    {
        // SAFETY: the range is the mapping made above; the advice changes neither its content nor its validity. A kernel
        // without large pages refuses, which changes nothing.
        let _refused: i32 = unsafe { libc::madvise(chunk, bytes, libc::MADV_HUGEPAGE) };
    }
    NonNull::new(chunk.cast()).expect("the kernel maps nothing at address 0 unasked")
}

/// Gives a chunk of `map` back; null is none. The caller has the last pointer to it and knows its length.
fn unmap(chunk: *mut u8, bytes: usize) {
    if chunk.is_null() {
        return;
    }
    // SAFETY: callers give what `map` gave them, once, with its length, when nobody looks at it any more.
    let result = unsafe { libc::munmap(chunk.cast(), bytes) };
    assert_eq!(result, 0, "a whole mapping can be taken away");
}

// SAFETY: the raw pointers inside are owned memory; the shared methods only use atomics, except `add`, which is private
// to this file and called only through a `Bump`, of which each overlay has one that is not Sync.
unsafe impl Send for Chunks {}
// SAFETY: as above.
unsafe impl Sync for Chunks {}

fn chunk_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN_BYTES).expect("pieces are bounded far below the address space")
}

/// The writer's place in the newest shared chunk.
pub(super) struct Bump {
    next: NonNull<u8>,
    left_bytes: usize,
    chunk_bytes: usize,
}

// SAFETY: the pointer leads to memory that nobody else writes to and that belongs to no thread.
unsafe impl Send for Bump {}

impl Bump {
    /// Starts with a first chunk of `hint_bytes`, brought into the range of chunk sizes.
    pub(super) fn new(chunks: &Chunks, hint_bytes: usize) -> Bump {
        let chunk_bytes = hint_bytes.clamp(FIRST_CHUNK_BYTES, CHUNK_BYTES_MAX).next_multiple_of(ALIGN_BYTES);
        let payload_bytes = chunk_bytes - size_of::<ChunkHeader>();
        Bump { next: chunks.add(payload_bytes), left_bytes: payload_bytes, chunk_bytes }
    }

    /// A chunk that is worth making ahead and that nobody makes yet: the caller has it filled elsewhere.
    pub(super) fn order_spare(&self, chunks: &Chunks) -> Option<Arc<SpareChunk>> {
        let grows = self.chunk_bytes * 2 >= CHUNK_BYTES_MAX;
        (grows && !chunks.spare.ordered.swap(true, Ordering::Relaxed)).then(|| Arc::clone(&chunks.spare))
    }

    /// Gives `bytes` of uninitialized memory at a multiple of `ALIGN_BYTES`. `chunks` must be the one given to `new`.
    pub(super) fn allocate(&mut self, chunks: &Chunks, bytes: usize) -> NonNull<u8> {
        let bytes = bytes.next_multiple_of(ALIGN_BYTES);
        if bytes > self.left_bytes {
            if bytes >= OWN_CHUNK_BYTES_MIN {
                return chunks.add(bytes);
            }
            self.chunk_bytes = (self.chunk_bytes * 2).min(CHUNK_BYTES_MAX);
            self.left_bytes = self.chunk_bytes - size_of::<ChunkHeader>();
            self.next = chunks.add(self.left_bytes);
        }
        let piece = self.next;
        self.left_bytes -= bytes;
        // SAFETY: the chunk has at least `bytes` left behind `next`, as compared above, so the sum stays in it or at its end.
        self.next = unsafe { piece.add(bytes) };
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_do_not_overlap() {
        let chunks = Chunks::new();
        let mut bump = Bump::new(&chunks, 0);
        let rounds = if cfg!(miri) { 60 } else { 2_000 };
        let mut pieces = Vec::new();
        for index in 0..rounds {
            let bytes = if index % 50 == 49 { 20_000 + index } else { 1 + index % 700 };
            let piece = bump.allocate(&chunks, bytes);
            assert_eq!(piece.as_ptr().addr() % ALIGN_BYTES, 0);
            // SAFETY: the piece is `bytes` long and nobody else uses it.
            unsafe { piece.write_bytes(u8::try_from(index % 251).unwrap(), bytes) };
            pieces.push((piece, bytes));
        }
        for (index, (piece, bytes)) in pieces.iter().enumerate() {
            // SAFETY: the piece was wholly written above.
            let content = unsafe { std::slice::from_raw_parts(piece.as_ptr(), *bytes) };
            assert!(content.iter().all(|byte| usize::from(*byte) == index % 251));
        }
    }

    #[test]
    fn an_empty_arena_is_one_small_chunk() {
        let chunks = Chunks::new();
        let mut bump = Bump::new(&chunks, 0);
        assert_eq!(chunks.bytes(), FIRST_CHUNK_BYTES);
        bump.allocate(&chunks, 3 * 1024 * 1024);
        bump.allocate(&chunks, 100);
        assert_eq!(chunks.bytes(), FIRST_CHUNK_BYTES + 3 * 1024 * 1024 + size_of::<ChunkHeader>());
    }

    #[test]
    fn a_spare_chunk_is_used_once_and_ordered_again() {
        let chunks = Chunks::new();
        let mut bump = Bump::new(&chunks, CHUNK_BYTES_MAX);
        let spare = bump.order_spare(&chunks).expect("large chunks are made ahead");
        assert!(bump.order_spare(&chunks).is_none(), "it is ordered already");
        spare.fill();
        let ready = spare.chunk.load(Ordering::Relaxed);
        let piece_bytes = OWN_CHUNK_BYTES_MIN / 2;
        while spare.ordered.load(Ordering::Relaxed) {
            // SAFETY: the piece is that long and nobody else uses it.
            unsafe { bump.allocate(&chunks, piece_bytes).write_bytes(1, piece_bytes) };
        }
        assert_eq!(chunks.newest.load(Ordering::Relaxed).cast(), ready);
        assert_eq!(chunks.bytes(), 2 * CHUNK_BYTES_MAX);
        // A spare that nobody takes is given back with the arena, and so is a second one.
        let again = bump.order_spare(&chunks).expect("the first was taken");
        again.fill();
        again.fill();
    }
}
