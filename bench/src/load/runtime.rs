//! One worker: a monoio runtime on a core of its own, its connections, its pacer, its recorder.
//!
//! monoio 0.2.4 as released has faults that are mended only in its repository; the rules that keep us clear of each:
//! - a task that wakes itself runs again before all others and starves input and output: no task here wakes itself, waiting
//!   is always a read on the ring (pacer.rs);
//! - a descriptor of a cancelled operation may be closed too early, and a runtime that is dropped frees buffers that the
//!   kernel may still write to: no operation is dropped before its completion. A connection that hangs is ended by a
//!   shutdown of its socket, through a second descriptor, and its read then completes;
//! - its ring flags as shipped cost 80 % more CPU: the flags are set here.
//!
//! If one shows all the same, the generator moves to `ring`; client/wire.rs and this file are what would change.

use std::io;
use std::time::Duration;

use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Room for two operations of a thousand lanes without a flush in between.
const RING_ENTRIES: u32 = 4_096;
/// How long answers are waited for after the last request left.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Pins the calling thread to `core` and makes its runtime.
///
/// # Errors
/// What the kernel says: a core that is not there, or io_uring forbidden.
pub fn start(core: usize) -> io::Result<Runtime<IoUringDriver>> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    // SINGLE_ISSUER binds the ring to the thread that makes it: after the pinning, on the worker's own thread.
    let mut ring = uring_of_monoio::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).uring_builder(ring).build()
}
