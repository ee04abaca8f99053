//! The file-system calls that std does not have: reserving and punching ranges, and the room left on a file system.
//! Invariant: every function returns the errno of the call that failed, and retries an interrupted one.
//! Leaves to real.rs: which file, and what the errors mean.

#![allow(unsafe_code, reason = "fallocate and statvfs have no safe counterpart in std")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Reserves blocks for a range; the file's length grows to cover it.
pub(super) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    fallocate(file, 0, offset, length)
}

/// Reserves blocks for a range that may lie behind the file's end; its length stays.
pub(super) fn reserve(file: &File, offset: u64, length: u64) -> io::Result<()> {
    fallocate(file, libc::FALLOC_FL_KEEP_SIZE, offset, length)
}

/// Frees the blocks of a range; the file's length stays.
pub(super) fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, length)
}

fn fallocate(file: &File, mode: i32, offset: u64, length: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let offset = libc::off_t::try_from(offset).map_err(too_large)?;
    let length = libc::off_t::try_from(length).map_err(too_large)?;
    retry(|| {
        // SAFETY: fallocate demands an open descriptor, which `file` owns for longer than the call; it touches no memory.
        unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) }
    })
}

/// Bytes that an unprivileged process can still write on the file system of `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    retry(|| {
        // SAFETY: statvfs demands a string that ends in zero, which CString is, and room for one statvfs, which `stat` is.
        unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) }
    })?;
    // SAFETY: assume_init demands a valid value: all-zero bytes are one for a struct of integers, and the call has filled it.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Writes what the file system of `path` has not written yet.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    retry(|| {
        // SAFETY: syncfs demands an open descriptor, which `file` owns for longer than the call; it touches no memory.
        unsafe { libc::syncfs(file.as_raw_fd()) }
    })
}

/// Asks the system to begin to read the first bytes of a file.
pub(super) fn read_ahead(file: &File, length: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(length).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: posix_fadvise demands an open descriptor, which `file` owns for longer than the call; it touches no memory.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, length, libc::POSIX_FADV_WILLNEED) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn retry(mut call: impl FnMut() -> i32) -> io::Result<()> {
    loop {
        if call() == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
