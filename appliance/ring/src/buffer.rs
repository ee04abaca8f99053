//! Owned, page-aligned, growable byte buffers, with a small pool per thread.
//!
//! Invariant: the first `initialized` bytes of the allocation have been written at some time, and
//! `length <= initialized <= capacity`. Alignment suits O_DIRECT on every block size up to a page.
#![allow(unsafe_code, reason = "the standard vectors cannot be aligned, nor be filled by the kernel unseen")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of every buffer, and the unit of its capacity.
const ALIGN_BYTES: usize = 4096;
/// Larger buffers go back to the allocator.
const POOLED_CAPACITY_BYTES_MAX: usize = 2 << 20;
/// What one thread's pool keeps in all: two buffers of a megabyte for each of some uploads, or their pages would be
/// asked of the kernel for every megabyte.
const POOL_BYTES_MAX: usize = 16 << 20;
/// Up to here capacities are powers of two, above they are multiples of it: a megabyte and its header block must not
/// take two.
const STEP_BYTES: usize = 256 << 10;
/// Capacities from one page to `POOLED_CAPACITY_BYTES_MAX`.
const POOL_CLASSES: usize = POWER_CLASSES + POOLED_CAPACITY_BYTES_MAX / STEP_BYTES - 1;
/// Those up to `STEP_BYTES`.
const POWER_CLASSES: usize = (STEP_BYTES / ALIGN_BYTES).trailing_zeros() as usize + 1;

thread_local! {
    static POOL: RefCell<BufferPool> = const { RefCell::new(BufferPool::new()) };
}

/// A byte buffer at a page-aligned address. Its capacity is whole pages.
pub struct Buffer {
    start: NonNull<u8>,
    length: usize,
    initialized: usize,
    capacity: usize,
}

// SAFETY: a buffer owns its allocation alone, like a Vec<u8>; nothing about it belongs to a thread.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer only gives shared slices.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// An empty buffer without an allocation.
    pub const fn new() -> Buffer {
        Buffer { start: NonNull::dangling(), length: 0, initialized: 0, capacity: 0 }
    }

    /// An empty buffer with room for at least `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.reserve(bytes);
        buffer
    }

    /// The room in bytes before the buffer must grow.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes room for at least `bytes` bytes in all. The content may move.
    pub fn reserve(&mut self, bytes: usize) {
        if bytes <= self.capacity {
            return;
        }
        let mut larger = Buffer::take(rounded(bytes));
        larger.append(self);
        std::mem::swap(self, &mut larger);
    }

    /// Appends `data`.
    pub fn extend_from_slice(&mut self, data: &[u8]) {
        let needed = self.length + data.len();
        if needed > self.capacity {
            // Growing by steps must not copy everything at each.
            self.reserve(needed.max(self.capacity.saturating_mul(2)));
        }
        self.append(data);
    }

    /// Copies `data` behind what is there; the room was made before.
    fn append(&mut self, data: &[u8]) {
        let length = self.length + data.len();
        assert!(length <= self.capacity, "room was made before");
        // SAFETY: length <= initialized <= capacity, so the address lies within the allocation or one past its end.
        let end = unsafe { self.start.as_ptr().add(self.length) };
        // SAFETY: `data` is readable for its length; the target ends at `length` within the allocation, as was asserted,
        // and self is borrowed exclusively, so `data` does not overlap it.
        unsafe { end.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        self.initialized = self.initialized.max(length);
        self.length = length;
    }

    /// Sets the length within the bytes that were written before.
    ///
    /// # Panics
    /// If `length` goes beyond them.
    pub fn set_len(&mut self, length: usize) {
        assert!(length <= self.initialized, "set_len goes beyond what was written");
        self.length = length;
    }

    /// Sets the length; bytes that are new take `value`.
    pub fn resize(&mut self, length: usize, value: u8) {
        let former = self.length;
        self.reserve(length);
        self.initialize(length);
        self.length = length;
        if length > former {
            self[former..].fill(value);
        }
    }

    /// Sets the length; bytes that are new have any value. For who is about to overwrite them: a recycled buffer costs
    /// nothing, where `resize` would fill it each time.
    pub fn expose(&mut self, length: usize) {
        self.reserve(length);
        self.initialize(length);
        self.length = length;
    }

    /// Shortens to `length` bytes, if it is longer.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Empties it; the room stays.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Makes room for `bytes` bytes and gives the address to which the kernel may write them. The length is zero until
    /// `finish_read`.
    pub(crate) fn prepare_read(&mut self, bytes: usize) -> *mut u8 {
        self.length = 0;
        self.reserve(bytes);
        self.start.as_ptr()
    }

    /// The kernel has written the first `bytes` bytes since `prepare_read`.
    pub(crate) fn finish_read(&mut self, bytes: usize) {
        assert!(bytes <= self.capacity, "the kernel writes no more than it was asked for");
        self.initialized = self.initialized.max(bytes);
        self.length = bytes;
    }

    /// Writes zeros where nothing was ever written, up to `length`.
    fn initialize(&mut self, length: usize) {
        assert!(length <= self.capacity, "room was made before");
        if length <= self.initialized {
            return;
        }
        let missing = length - self.initialized;
        // SAFETY: initialized <= capacity, so the address lies within the allocation or one past its end.
        let end = unsafe { self.start.as_ptr().add(self.initialized) };
        // SAFETY: `missing` bytes from there end at `length`, within the allocation, which self owns alone.
        unsafe { end.write_bytes(0, missing) };
        self.initialized = length;
    }

    /// A pooled or fresh buffer of exactly `capacity` bytes, as `rounded` gives them.
    fn take(capacity: usize) -> Buffer {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().take(capacity)).ok().flatten();
        pooled.unwrap_or_else(|| Buffer::allocate(capacity))
    }

    fn allocate(capacity: usize) -> Buffer {
        let layout = Buffer::layout(capacity);
        // SAFETY: the layout's size is at least a page, so not zero.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Buffer { start, length: 0, initialized: 0, capacity }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGN_BYTES).expect("buffers are smaller than the address space")
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer::new()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.capacity == 0 {
            return;
        }
        let is_pooled = self.capacity <= POOLED_CAPACITY_BYTES_MAX
            && POOL.try_with(|pool| pool.borrow_mut().give(self)).unwrap_or(false);
        if !is_pooled {
            // SAFETY: start was allocated with this layout, and the buffer is being dropped, so nobody uses it any more.
            unsafe { dealloc(self.start.as_ptr(), Buffer::layout(self.capacity)) };
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `length` bytes are initialized and owned by self; for length zero the address may dangle.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Buffer {
    fn from(data: &[u8]) -> Self {
        let mut buffer = Buffer::with_capacity(data.len());
        buffer.extend_from_slice(data);
        buffer
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Buffer({} of {} bytes)", self.length, self.capacity)
    }
}

/// The capacity of a buffer that is to hold `bytes`.
fn rounded(bytes: usize) -> usize {
    if bytes <= STEP_BYTES {
        bytes.max(ALIGN_BYTES).next_power_of_two()
    } else {
        bytes.next_multiple_of(STEP_BYTES)
    }
}

/// Free buffers of one thread, by capacity.
struct BufferPool {
    classes: [Vec<Buffer>; POOL_CLASSES],
    bytes: usize,
}

impl BufferPool {
    const fn new() -> Self {
        BufferPool { classes: [const { Vec::new() }; POOL_CLASSES], bytes: 0 }
    }

    fn class(capacity: usize) -> usize {
        if capacity <= STEP_BYTES {
            (capacity / ALIGN_BYTES).trailing_zeros() as usize
        } else {
            POWER_CLASSES + capacity / STEP_BYTES - 2
        }
    }

    fn take(&mut self, capacity: usize) -> Option<Buffer> {
        let buffer = self.classes.get_mut(Self::class(capacity))?.pop()?;
        self.bytes -= buffer.capacity;
        Some(buffer)
    }

    /// Takes over the allocation of a buffer that is being dropped; false if the pool is full.
    fn give(&mut self, dropped: &Buffer) -> bool {
        if self.bytes + dropped.capacity > POOL_BYTES_MAX {
            return false;
        }
        self.bytes += dropped.capacity;
        self.classes[Self::class(dropped.capacity)].push(Buffer {
            start: dropped.start,
            length: 0,
            initialized: dropped.initialized,
            capacity: dropped.capacity,
        });
        true
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        // The thread ends: POOL.try_with fails from now on, so these buffers free themselves.
        self.classes.iter_mut().for_each(Vec::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_is_page_aligned_and_keeps_its_content_while_it_grows() {
        let mut buffer = Buffer::new();
        let mut expected = Vec::new();
        for round in 0..2000_u32 {
            let data = round.to_le_bytes().repeat(7);
            buffer.extend_from_slice(&data);
            expected.extend_from_slice(&data);
            assert_eq!(buffer.as_ptr() as usize % ALIGN_BYTES, 0);
        }
        assert_eq!(&buffer[..], &expected[..]);
        buffer.resize(expected.len() + 10, 9);
        assert_eq!(&buffer[expected.len()..], &[9; 10]);
        buffer.clear();
        buffer.set_len(expected.len());
        assert_eq!(&buffer[..], &expected[..]);
    }

    #[test]
    fn every_pooled_capacity_has_a_class_of_its_own() {
        let mut classes = std::collections::BTreeMap::new();
        for bytes in (1..=POOLED_CAPACITY_BYTES_MAX).step_by(ALIGN_BYTES - 1) {
            let capacity = rounded(bytes);
            assert!(capacity >= bytes && capacity.is_multiple_of(ALIGN_BYTES));
            let class = BufferPool::class(capacity);
            assert!(class < POOL_CLASSES);
            assert_eq!(*classes.entry(class).or_insert(capacity), capacity);
        }
        assert_eq!(classes.len(), POOL_CLASSES);
        assert!(rounded((1 << 20) + ALIGN_BYTES) < 2 << 20);
    }

    #[test]
    #[should_panic(expected = "beyond what was written")]
    fn set_len_refuses_bytes_that_were_never_written() {
        let mut buffer = Buffer::allocate(ALIGN_BYTES);
        buffer.set_len(1);
    }

    #[test]
    fn the_pool_gives_an_allocation_back_and_keeps_its_bound() {
        let thread = std::thread::spawn(|| {
            let first = Buffer::with_capacity(10_000);
            let address = first.as_ptr();
            drop(first);
            assert_eq!(Buffer::with_capacity(16_000).as_ptr(), address);
            let many: Vec<Buffer> = (0..100).map(|_| Buffer::with_capacity(1 << 20)).collect();
            drop(many);
            POOL.with(|pool| assert!(pool.borrow().bytes <= POOL_BYTES_MAX));
        });
        thread.join().unwrap();
    }
}
