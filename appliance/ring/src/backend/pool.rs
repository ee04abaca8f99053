//! The provided receive buffers of an io_uring reactor.
//!
//! Invariant: a buffer is either published in the buffer ring, where the kernel may fill it, or held by exactly one
//! `PooledBuffer`, which publishes it again when it is dropped.
#![allow(unsafe_code, reason = "the buffer ring and its buffers are memory shared with the kernel")]

use crate::sys::Mapping;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one buffer group of a ring.
pub(crate) const BUFFER_GROUP: u16 = 0;

const PAGE_BYTES: usize = 4096;
/// Fewer buffers than this are not worth a ring.
const BUFFER_COUNT_MIN: u16 = 2;
const BUFFER_COUNT_MAX: u16 = 1 << 15;
const BUFFER_BYTES_MIN: u32 = 512;

/// The buffers and the ring through which they are published.
///
/// Layout of the one mapping: the ring's entries, then the buffers.
pub(crate) struct Pool {
    mapping: Mapping,
    buffers_offset: usize,
    count: u16,
    buffer_bytes: u32,
    tail: Cell<u16>,
    held: Cell<u16>,
}

impl Pool {
    /// Makes and registers the buffers; fewer than asked for if the memory-lock limit does not allow more.
    pub fn register(ring: &IoUring, count: u16, buffer_bytes: u32) -> io::Result<Rc<Pool>> {
        let mut count = count.clamp(BUFFER_COUNT_MIN, BUFFER_COUNT_MAX).next_power_of_two();
        loop {
            let pool = Pool::new(count, buffer_bytes.max(BUFFER_BYTES_MIN))?;
            // SAFETY: the address is a page-aligned mapping with room for `count` entries. The backend keeps the pool
            // until no operation is in flight and the ring is closed, or leaks it.
            let registered = unsafe {
                ring.submitter().register_buf_ring_with_flags(
                    pool.mapping.start() as u64,
                    count,
                    BUFFER_GROUP,
                    0,
                )
            };
            match registered {
                Ok(()) => {
                    (0..count).for_each(|id| pool.publish(id));
                    return Ok(Rc::new(pool));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && count > BUFFER_COUNT_MIN => {
                    count /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn new(count: u16, buffer_bytes: u32) -> io::Result<Pool> {
        let buffers_offset = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES);
        let bytes = buffers_offset + usize::from(count) * buffer_bytes as usize;
        Ok(Pool {
            mapping: Mapping::new(bytes)?,
            buffers_offset,
            count,
            buffer_bytes,
            tail: Cell::new(0),
            held: Cell::new(0),
        })
    }

    /// Buffers that are held by received data now.
    pub fn held_count(&self) -> u16 {
        self.held.get()
    }

    /// True while so few buffers are free that received data should be copied out at once.
    pub fn is_low(&self) -> bool {
        self.count - self.held.get() <= (self.count / 4).max(1)
    }

    /// Buffers that the kernel can fill.
    pub fn free_count(&self) -> u16 {
        self.count - self.held.get()
    }

    /// Takes over buffer `id`, into which a completion says that the kernel has put `bytes` bytes.
    pub fn take(self: &Rc<Self>, id: u16, bytes: u32) -> PooledBuffer {
        assert!(id < self.count && bytes <= self.buffer_bytes, "the kernel names buffers that it was given");
        self.held.set(self.held.get() + 1);
        PooledBuffer { pool: Rc::clone(self), id, start: 0, end: bytes }
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        self.mapping.start().wrapping_add(self.buffers_offset + usize::from(id) * self.buffer_bytes as usize)
    }

    fn publish(&self, id: u16) {
        let tail = self.tail.get();
        let ring: *mut BufRingEntry = self.mapping.start().cast();
        let slot = ring.wrapping_add(usize::from(tail & (self.count - 1)));
        // SAFETY: the slot lies within the mapping. The kernel does not read a slot beyond the published tail, and all
        // `count` slots cannot be occupied, since buffer `id` is not in the ring. Only this thread makes the reference.
        let entry = unsafe { &mut *slot };
        entry.set_addr(self.buffer(id) as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        let tail = tail.wrapping_add(1);
        self.tail.set(tail);
        // SAFETY: the ring starts at the mapping's first entry, which is zero or was written above.
        let published = unsafe { BufRingEntry::tail(ring) };
        // SAFETY: the tail is an aligned u16 within the mapping that both sides access atomically from here on.
        let published = unsafe { AtomicU16::from_ptr(published.cast_mut()) };
        // Release: the kernel must see the entry before the tail that includes it.
        published.store(tail, Ordering::Release);
    }
}

/// Received bytes in a provided buffer.
pub(crate) struct PooledBuffer {
    pool: Rc<Pool>,
    id: u16,
    start: u32,
    end: u32,
}

impl PooledBuffer {
    pub fn bytes(&self) -> &[u8] {
        let start = self.pool.buffer(self.id).wrapping_add(self.start as usize);
        // SAFETY: the kernel has filled the buffer up to `end` and does not touch it until it is published again, which
        // only the drop of this value does. It lies within the mapping, which `pool` keeps.
        unsafe { std::slice::from_raw_parts(start, (self.end - self.start) as usize) }
    }

    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= (self.end - self.start) as usize, "cannot consume more than there is");
        self.start += bytes as u32;
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.pool.publish(self.id);
        self.pool.held.set(self.pool.held.get() - 1);
    }
}
