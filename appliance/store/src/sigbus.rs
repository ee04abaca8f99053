//! Pages of an index map that the kernel cannot give: the file was cut, or the device failed to read it. Whoever touches
//! one gets SIGBUS; here the process lives on.
//! Invariant: once a page of a map was replaced, the map's flag is set and no write reaches its file any more, both before
//! the thread that touched it goes on. So nothing that was read from a replaced page is told or stored by anyone who looks
//! at the flag behind the read. A SIGBUS anywhere else goes to whoever handled it before.
//! Leaves to index.rs: looking at the flag, and what a shard with a flag answers.
//!
//! The handler runs on the thread's signal stack, which std gives to every thread that it starts. It only loads and stores
//! atomics and calls dup3, mmap and sigaction, all of which may be called there.
//!
//! The page that is mapped in place of a lost one is of no kind that a tree has, has no nodes and no room problem, and as a
//! meta page names two empty trees: LMDB ends each search and each step on it with an error or an empty answer.

#![allow(unsafe_code, reason = "handles a signal, maps a page and replaces descriptors")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use crate::pages::{HEAD_BYTES, META_ROOTS, NO_PAGE, PAGE_BYTES};

/// Maps at once: twice the shards that a process can have.
const MAP_COUNT_MAX: usize = 2 * crate::config::SHARD_COUNT_MAX as usize;
/// Descriptors through which LMDB writes one file: one for pages, one with O_DSYNC for meta pages.
const WRITER_COUNT_MAX: usize = 4;
const NO_FILE: RawFd = -1;

static MAPS: [Map; MAP_COUNT_MAX] = [const { Map::new() }; MAP_COUNT_MAX];
static INSTALLED: OnceLock<Result<Installed, i32>> = OnceLock::new();

/// One registered map. The handler reads it, so it is nothing but atomics and never moves.
struct Map {
    taken: AtomicBool,
    /// 0 while the entry is not complete.
    start: AtomicUsize,
    end: AtomicUsize,
    bad: AtomicBool,
    writers: [AtomicI32; WRITER_COUNT_MAX],
    read_only: AtomicI32,
}

/// What the handler needs besides.
struct Installed {
    /// Holds the page that replaces a lost one.
    page: File,
    previous: libc::sigaction,
}

impl Map {
    const fn new() -> Map {
        Map {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            bad: AtomicBool::new(false),
            writers: [const { AtomicI32::new(NO_FILE) }; WRITER_COUNT_MAX],
            read_only: AtomicI32::new(NO_FILE),
        }
    }
}

/// A registered map. Drop it before the map goes away, and with nobody reading.
pub(crate) struct Watched {
    map: &'static Map,
    /// What LMDB's descriptors are replaced with: writes through it fail.
    _read_only: File,
}

impl Watched {
    /// Registers the map of a file, whose descriptors must all be LMDB's.
    /// Errors: of the operating system, and ENOSPC when `MAP_COUNT_MAX` maps are registered.
    pub(crate) fn register(file: &Path, start: usize, length: usize) -> io::Result<Watched> {
        install()?;
        let writers = descriptors_of(file)?;
        let read_only = File::open(file)?;
        let free =
            |map: &&Map| map.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let Some(map) = MAPS.iter().find(free) else {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        };
        map.bad.store(false, Ordering::Relaxed);
        map.read_only.store(read_only.as_raw_fd(), Ordering::Relaxed);
        for (place, writer) in map.writers.iter().enumerate() {
            writer.store(writers.get(place).copied().unwrap_or(NO_FILE), Ordering::Relaxed);
        }
        map.end.store(start + length, Ordering::Relaxed);
        map.start.store(start, Ordering::Release);
        Ok(Watched { map, _read_only: read_only })
    }

    /// Whether a page of the map was lost. Look behind every read, before anything is made of it.
    pub(crate) fn is_bad(&self) -> bool {
        self.map.bad.load(Ordering::Acquire)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.map.start.store(0, Ordering::Release);
        self.map.taken.store(false, Ordering::Release);
    }
}

/// This process's open descriptors of a file.
fn descriptors_of(file: &Path) -> io::Result<Vec<RawFd>> {
    let wanted = std::fs::metadata(file)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // Another thread may close its descriptor meanwhile.
        let Ok(open) = std::fs::metadata(entry.path()) else { continue };
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number
            && (open.dev(), open.ino()) == (wanted.dev(), wanted.ino())
        {
            found.push(number);
        }
    }
    if found.is_empty() || found.len() > WRITER_COUNT_MAX {
        return Err(io::Error::other(format!("{} is open {} times", file.display(), found.len())));
    }
    Ok(found)
}

/// Installs the handler, once for the process.
fn install() -> io::Result<()> {
    match INSTALLED.get_or_init(|| try_install().map_err(|error| error.raw_os_error().unwrap_or(0))) {
        Ok(_) => {
            // Behind the initialisation, so that the handler finds what it needs.
            set_handler()
        }
        Err(errno) => Err(io::Error::from_raw_os_error(*errno)),
    }
}

fn try_install() -> io::Result<Installed> {
    // SAFETY: memfd_create demands a string that ends in zero, which the literal is.
    let descriptor = unsafe { libc::memfd_create(c"zerocloud-lost-page".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened two lines up and is owned by nobody else.
    let mut page = unsafe { File::from_raw_fd(descriptor) };
    page.write_all(&replacement())?;
    // SAFETY: all-zero bytes are a valid sigaction: the default action, no flags, an empty mask.
    let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sigaction demands valid pointers: null asks for no change, and `previous` has room for the answer.
    if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Installed { page, previous })
}

fn set_handler() -> io::Result<()> {
    static SET: OnceLock<i32> = OnceLock::new();
    let errno = *SET.get_or_init(|| {
        // SAFETY: all-zero bytes are a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: sigaction demands a valid action, which names a handler of the kind that SA_SIGINFO asks for, and that
        // handler does only what a handler may.
        match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } {
            0 => 0,
            _ => io::Error::last_os_error().raw_os_error().unwrap_or(0),
        }
    });
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// See the head of this file.
fn replacement() -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    // An empty page: `lower` stands at the first node offset, `upper` at the end.
    page[12..14].copy_from_slice(&(HEAD_BYTES as u16).to_le_bytes());
    page[14..16].copy_from_slice(&(PAGE_BYTES as u16).to_le_bytes());
    for root in META_ROOTS {
        page[root..root + 8].copy_from_slice(&NO_PAGE.to_le_bytes());
    }
    page
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: __errno_location gives the calling thread's own errno, which is always there.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: see above; the code that was interrupted must find it as it left it.
    let kept = unsafe { *errno };
    // SAFETY: SA_SIGINFO hands in a valid siginfo, which lives until the handler returns.
    let told = unsafe { &*info };
    let code = told.si_code;
    // SAFETY: si_addr demands a siginfo whose union holds an address, as that of SIGBUS does; sent ones hold other integers.
    let address = unsafe { told.si_addr() } as usize;
    // A code of 0 or less is a signal that somebody sent; it has no address.
    let mended = code > 0 && mend(address);
    // SAFETY: as above.
    unsafe { *errno = kept };
    if !mended {
        pass_on(signal, info, context);
    }
}

/// Replaces a page that is in a registered map; gives whether it was.
fn mend(address: usize) -> bool {
    let holds = |map: &&Map| {
        let start = map.start.load(Ordering::Acquire);
        start != 0 && (start..map.end.load(Ordering::Relaxed)).contains(&address)
    };
    let Some(map) = MAPS.iter().find(holds) else { return false };
    let Some(Ok(installed)) = INSTALLED.get() else { return false };
    // First no write may reach the file, then the flag, then the page: see the invariant.
    let read_only = map.read_only.load(Ordering::Relaxed);
    for writer in &map.writers {
        let writer = writer.load(Ordering::Relaxed);
        if writer == NO_FILE {
            continue;
        }
        // SAFETY: dup3 demands two descriptors of this process: `Watched` owns the first, LMDB the second, which it closes
        // after `Watched` is gone.
        if unsafe { libc::dup3(read_only, writer, libc::O_CLOEXEC) } < 0 {
            return false;
        }
    }
    map.bad.store(true, Ordering::SeqCst);
    let page = (address & !(PAGE_BYTES - 1)) as *mut c_void;
    let flags = libc::MAP_SHARED | libc::MAP_FIXED;
    // SAFETY: MAP_FIXED demands that nothing else lies there: the address is in a registered map, of which nothing but
    // reads is made, and whose whole range LMDB unmaps in the end.
    let mapped =
        unsafe { libc::mmap(page, PAGE_BYTES, libc::PROT_READ, flags, installed.page.as_raw_fd(), 0) };
    mapped != libc::MAP_FAILED
}

/// Does what would have happened without this file.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = match INSTALLED.get() {
        Some(Ok(installed)) => Some(&installed.previous),
        _ => None,
    };
    match previous {
        Some(previous) if !matches!(previous.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                type Action = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                // SAFETY: with SA_SIGINFO the field holds a function of this type.
                let action = unsafe { std::mem::transmute::<usize, Action>(previous.sa_sigaction) };
                action(signal, info, context);
            } else {
                // SAFETY: without SA_SIGINFO the field holds a function of this type.
                let action =
                    unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(previous.sa_sigaction) };
                action(signal);
            }
        }
        _ => {
            // SAFETY: all-zero bytes are a valid sigaction: the default action.
            let default: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: sigaction demands a valid action, and the default needs no handler.
            let _set = unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
            // SAFETY: raise has no demands; the signal comes when this handler has returned, and ends the process.
            let _raised = unsafe { libc::raise(signal) };
        }
    }
}
