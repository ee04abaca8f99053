//! The system calls that the standard library and `socket2` do not offer, as safe functions.
#![allow(unsafe_code, reason = "raw system calls; every one is wrapped here and nowhere else")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use tokio::io::ReadBuf;

/// Turns the C convention (-1 and errno) into a result.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a non-blocking eventfd with count zero.
pub(crate) fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointers.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the call above has just made fd, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Owns a descriptor that the kernel has just given in a completion.
pub(crate) fn own_fd(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "a successful accept gives a descriptor");
    // SAFETY: fd comes from an accept completion, which is seen once; the process has no other owner of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Pins the calling thread to one core.
pub(crate) fn pin_thread(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    // SAFETY: cpu_set_t is a plain bit mask, for which all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: core is below CPU_SETSIZE, so the bit lies within the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the pointer and the size describe `set`, which lives through the call.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) })?;
    Ok(())
}

/// The cores on which the calling thread may run.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is a plain bit mask, for which all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and the size describe `set`, which lives through the call and is written by it.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    let is_set = |core: &usize| {
        // SAFETY: core is below CPU_SETSIZE, so the bit lies within the set.
        unsafe { libc::CPU_ISSET(*core, &set) }
    };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_set).collect())
}

/// The soft limit on locked memory, in bytes.
pub(crate) fn memory_lock_limit_bytes() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to `limit`, which lives through the call and is written by it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    if result == 0 { limit.rlim_cur } else { 0 }
}

/// Receives without blocking into the unfilled part of `buffer`, and fills it by what came. Zero means end of stream.
pub(crate) fn receive_into(socket: &socket2::Socket, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: recv only writes bytes into the slice and never makes initialised bytes uninitialised.
    let unfilled = unsafe { buffer.unfilled_mut() };
    let received = socket.recv_with_flags(unfilled, libc::MSG_DONTWAIT)?;
    // SAFETY: recv says that it has written `received` bytes at the start of the unfilled part.
    unsafe { buffer.assume_init(received) };
    buffer.advance(received);
    Ok(received)
}

/// Receives without blocking into the spare capacity of `vector`. Zero means end of stream.
pub(crate) fn receive_into_vector(socket: &socket2::Socket, vector: &mut Vec<u8>) -> io::Result<usize> {
    let filled = vector.len();
    let received = socket.recv_with_flags(vector.spare_capacity_mut(), libc::MSG_DONTWAIT)?;
    // SAFETY: recv says that it has written `received` bytes after the first `filled` ones, within the capacity.
    unsafe { vector.set_len(filled + received) };
    Ok(received)
}

/// Writes `parts` in a row at `offset`; says how much was taken.
pub(crate) fn write_parts(file: &std::fs::File, parts: &[bytes::Bytes], offset: u64) -> io::Result<usize> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let offset = libc::off_t::try_from(offset).map_err(out_of_range)?;
    let slices: Vec<io::IoSlice<'_>> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let count = libc::c_int::try_from(slices.len()).map_err(out_of_range)?;
    // SAFETY: the standard library promises that an IoSlice is laid out as an iovec; `count` of them, and the bytes that
    // they name, are borrowed through the call, which only reads them.
    let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Private anonymous memory, page-aligned, zero, and without cost until it is touched.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    pub fn new(bytes: usize) -> io::Result<Mapping> {
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap gives no mapping at address zero");
        Ok(Mapping { start, bytes })
    }

    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and bytes describe the mapping that `new` made; its owner is gone, so nobody uses it any more.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(result, 0);
    }
}

/// One readiness event.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub word: u64,
    pub events: u32,
}

/// An epoll instance.
pub(crate) struct EpollFd(OwnedFd);

impl EpollFd {
    pub fn new() -> io::Result<EpollFd> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call above has just made fd, so nothing else owns it.
        Ok(EpollFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `fd` for `events`; `word` comes back with each.
    pub fn add(&self, fd: BorrowedFd<'_>, events: i32, word: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: word };
        // SAFETY: the pointer is to `event`, which lives through the call; the kernel copies it.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) };
        check(result).map(drop)
    }

    /// Stops watching `fd`.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: removal takes no event; the kernel ignores the pointer.
        let result = unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut())
        };
        check(result).map(drop)
    }

    /// Waits up to `timeout_ms` (-1: for ever) and appends what is ready to `out`, up to a fixed count.
    pub fn wait(&self, timeout_ms: i32, out: &mut Vec<Ready>) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT];
        // SAFETY: the pointer and the count describe `events`, which lives through the call and is written by it.
        let result = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), EVENTS_PER_WAIT as i32, timeout_ms)
        };
        let count = check(result)? as usize;
        out.extend(events[..count].iter().map(|event| Ready { word: event.u64, events: event.events }));
        Ok(())
    }
}

const EVENTS_PER_WAIT: usize = 256;
