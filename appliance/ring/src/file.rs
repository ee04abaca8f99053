//! File operations that never block the reactor, with their buffers.
//!
//! Invariant: an operation's buffer and file belong to its slot, or to the companion thread, until the operation is done. A
//! dropped future leaves both there; the operation itself may or may not take effect.

use crate::backend::{Driver, Slot, wake};
use crate::buffer::Buffer;
use crate::core::Core;
use crate::slab::Key;
use crate::stats::uncount;
use bytes::Bytes;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// One operation moves at most this much; the kernel itself stops a little below 2 GiB.
const OPERATION_BYTES_MAX: usize = 1 << 30;
/// Parts of one write; the kernel's own bound (UIO_MAXIOV) is four times that.
const PARTS_MAX: usize = 256;

/// An open file. Only the descriptor is kept, so it can be shared between cores; each operation goes to
/// the reactor of the thread that awaits it.
#[derive(Clone, Debug)]
pub struct File {
    inner: Arc<std::fs::File>,
}

impl File {
    /// Takes over an open file. With `O_DIRECT`, lengths and offsets must be multiples of the block size;
    /// a `Buffer` is aligned for it.
    pub fn from_std(file: std::fs::File) -> File {
        File { inner: Arc::new(file) }
    }

    /// The file, for operations that may block: opening, metadata, truncation.
    pub fn as_std(&self) -> &std::fs::File {
        &self.inner
    }

    /// Reads up to `length` bytes at `offset` into the start of `buffer` and sets its length to how many came: fewer
    /// than asked for at the end of the file, and the kernel may stop early.
    ///
    /// # Errors
    /// What the kernel says, or `InvalidInput` above 1 GiB or beyond the largest offset. The buffer is empty then.
    pub async fn read_at(&self, buffer: Buffer, offset: u64, length: usize) -> (io::Result<usize>, Buffer) {
        self.start(Operation::Read { length }, buffer, offset, length).await
    }

    /// Writes all of `buffer` at `offset`. It is not durable until a later `sync_data` succeeds.
    ///
    /// # Errors
    /// What the kernel says, or `InvalidInput` above 1 GiB or beyond the largest offset; `WriteZero` if it took only a part, and then the part may be in the file.
    pub async fn write_at(&self, buffer: Buffer, offset: u64) -> (io::Result<()>, Buffer) {
        let length = buffer.len();
        let (result, buffer) = self.start(Operation::Write, buffer, offset, length).await;
        (result.map(drop), buffer)
    }

    /// Writes `parts` in a row at `offset`, without putting them together first. Not durable until a later `sync_data`.
    /// With `O_DIRECT` each part's address and length must suit the device as a buffer's do.
    ///
    /// # Errors
    /// As `write_at`; `InvalidInput` also for more than `PARTS_MAX` parts.
    pub async fn write_parts_at(&self, parts: Vec<Bytes>, offset: u64) -> io::Result<()> {
        let length = parts.iter().map(Bytes::len).sum();
        let (result, buffer) =
            self.start_with(Operation::WriteParts, Buffer::new(), parts, offset, length).await;
        drop(buffer);
        result.map(drop)
    }

    /// Writes all of `buffer` at `offset` and makes it durable: the sync starts only if the write took everything.
    ///
    /// # Errors
    /// As `write_at`; or the sync's error, after which nothing may be assumed about the file's unsynced data.
    pub async fn write_at_sync(&self, buffer: Buffer, offset: u64) -> (io::Result<()>, Buffer) {
        let length = buffer.len();
        let (result, buffer) = self.start(Operation::WriteSync, buffer, offset, length).await;
        (result.map(drop), buffer)
    }

    /// Writes all of `buffer` at `offset` and makes these bytes durable (RWF_DSYNC), other unsynced writes of the file not.
    /// It sets out at once, not at the end of the turn. For files that go through the page cache: a direct write would
    /// bypass the disk's cache too, which most disks do slowly.
    ///
    /// # Errors
    /// As `write_at_sync`.
    pub async fn write_at_durable(&self, buffer: Buffer, offset: u64) -> (io::Result<()>, Buffer) {
        let length = buffer.len();
        let (result, buffer) = self.start(Operation::WriteDurable, buffer, offset, length).await;
        (result.map(drop), buffer)
    }

    /// Makes all finished writes durable (fdatasync).
    ///
    /// # Errors
    /// What the kernel says. A failed sync must not be retried as if it could still succeed: the kernel may have dropped
    /// the data.
    pub async fn sync_data(&self) -> io::Result<()> {
        let (result, buffer) = self.start(Operation::Sync, Buffer::new(), 0, 0).await;
        drop(buffer);
        result.map(drop)
    }

    fn start(&self, operation: Operation, buffer: Buffer, offset: u64, length: usize) -> InFlight {
        self.start_with(operation, buffer, Vec::new(), offset, length)
    }

    fn start_with(
        &self,
        operation: Operation,
        mut buffer: Buffer,
        parts: Vec<Bytes>,
        offset: u64,
        length: usize,
    ) -> InFlight {
        let core = Core::current();
        // io_uring takes the offset -1 for "where the file stands", and other negative ones are no better.
        let is_beyond = offset.checked_add(length as u64).is_none_or(|end| end > i64::MAX as u64);
        let refusal = if length > OPERATION_BYTES_MAX || parts.len() > PARTS_MAX || is_beyond {
            Some(io::ErrorKind::InvalidInput)
        } else if core.closed.get() {
            Some(io::ErrorKind::NotConnected)
        } else {
            None
        };
        if let Some(kind) = refusal {
            buffer.clear();
            return InFlight { core, state: Progress::Refused(Some((kind, buffer))) };
        }
        let file = Arc::clone(&self.inner);
        let job = Job { key: Key::VACANT, file, operation, buffer, parts, offset, outcome: None };
        let key = core.backend.start_job(&core, job);
        InFlight { core, state: Progress::Started(key) }
    }
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read { length: usize },
    Write,
    WriteParts,
    WriteSync,
    WriteDurable,
    Sync,
}

/// One operation with all that it touches.
pub(crate) struct Job {
    pub key: Key,
    pub file: Arc<std::fs::File>,
    pub operation: Operation,
    pub buffer: Buffer,
    /// What `WriteParts` writes instead of the buffer.
    pub parts: Vec<Bytes>,
    pub offset: u64,
    pub outcome: Option<io::Result<usize>>,
}

impl Job {
    /// How much there is to write.
    pub fn write_bytes(&self) -> usize {
        match self.operation {
            Operation::WriteParts => self.parts.iter().map(Bytes::len).sum(),
            _ => self.buffer.len(),
        }
    }
}

/// The reactor's side of an operation.
pub(crate) struct FileSlot {
    /// The job, unless a companion thread has it.
    pub job: Option<Job>,
    /// Addresses and lengths of the job's parts, while the kernel may read them (io_uring).
    pub vector: Vec<libc::iovec>,
    /// Completions that are still to come (io_uring).
    pub outstanding: u8,
    /// The result of the operation or its first half, as the kernel gives it (io_uring).
    pub result: i32,
    /// The result of the linked sync (io_uring).
    pub sync_result: i32,
    waker: Option<Waker>,
    abandoned: bool,
}

impl FileSlot {
    pub fn new(job: Job) -> FileSlot {
        FileSlot {
            job: Some(job),
            vector: Vec::new(),
            outstanding: 1,
            result: 0,
            sync_result: 0,
            waker: None,
            abandoned: false,
        }
    }

    /// Turns the kernel's results into the job's outcome, once all completions are there.
    pub fn conclude(&mut self) {
        let job = self.job.as_mut().expect("with io_uring the slot keeps its job");
        let outcome = match job.operation {
            Operation::Read { length } => {
                let outcome = from_kernel(self.result);
                job.buffer.finish_read(outcome.as_ref().map_or(0, |count| (*count).min(length)));
                outcome
            }
            Operation::Write | Operation::WriteParts | Operation::WriteDurable => {
                whole(from_kernel(self.result), job.write_bytes())
            }
            Operation::WriteSync => whole(from_kernel(self.result), job.buffer.len())
                // A cancelled link is an error even if the write looks whole: nothing was synced.
                .and_then(|written| from_kernel(self.sync_result).map(|_| written)),
            Operation::Sync => from_kernel(self.result),
        };
        job.outcome = Some(outcome);
    }
}

fn from_kernel(result: i32) -> io::Result<usize> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) }
}

/// A write that took only a part is an error: the caller's record is not in the file.
pub(crate) fn whole(result: io::Result<usize>, length: usize) -> io::Result<usize> {
    match result {
        Ok(written) if written != length => {
            Err(io::Error::new(io::ErrorKind::WriteZero, format!("short write: {written} of {length} bytes")))
        }
        other => other,
    }
}

/// The slot's job has its outcome: tell whoever waits, or free the slot if nobody does.
pub(crate) fn concluded(driver: &Driver, core: &Core, key: Key) {
    let mut slots = driver.slots.borrow_mut();
    let Some(Slot::File(slot)) = slots.get_mut(key) else { return };
    uncount(&core.counters.file_operations);
    if slot.abandoned {
        let slot = slots.remove(key);
        drop(slots);
        drop(slot);
        return;
    }
    let waker = slot.waker.take();
    drop(slots);
    wake(waker);
}

/// A companion thread gives a job back.
pub(crate) fn finish_job(core: &Core, job: Job) {
    let key = job.key;
    core.backend.job_done(&job);
    let mut slots = core.backend.slots.borrow_mut();
    if let Some(Slot::File(slot)) = slots.get_mut(key) {
        slot.job = Some(job);
    }
    drop(slots);
    concluded(&core.backend, core, key);
}

enum Progress {
    Started(Key),
    Refused(Option<(io::ErrorKind, Buffer)>),
    Done,
}

/// An operation in flight, as the caller awaits it.
struct InFlight {
    core: Rc<Core>,
    state: Progress,
}

impl Future for InFlight {
    type Output = (io::Result<usize>, Buffer);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let key = match &mut self.state {
            Progress::Refused(refusal) => {
                let (kind, buffer) = refusal.take().expect("a future is not polled after it is ready");
                self.state = Progress::Done;
                return Poll::Ready((Err(io::Error::from(kind)), buffer));
            }
            Progress::Started(key) => *key,
            Progress::Done => panic!("a future is not polled after it is ready"),
        };
        let mut slots = self.core.backend.slots.borrow_mut();
        let Some(Slot::File(slot)) = slots.get_mut(key) else {
            drop(slots);
            // Only a reactor that was dropped takes a slot away from a live future.
            self.state = Progress::Done;
            return Poll::Ready((Err(io::Error::from(io::ErrorKind::NotConnected)), Buffer::new()));
        };
        let is_done = slot.job.as_ref().is_some_and(|job| job.outcome.is_some());
        if !is_done {
            let former = slot.waker.replace(context.waker().clone());
            drop(slots);
            drop(former);
            return Poll::Pending;
        }
        let slot = slots.remove(key);
        drop(slots);
        self.state = Progress::Done;
        let Some(Slot::File(FileSlot { job: Some(job), .. })) = slot else {
            unreachable!("the job was there a few lines up");
        };
        Poll::Ready((job.outcome.expect("the outcome was there a few lines up"), job.buffer))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Progress::Started(key) = self.state else { return };
        let mut slots = self.core.backend.slots.borrow_mut();
        let Some(Slot::File(slot)) = slots.get_mut(key) else { return };
        slot.abandoned = true;
        let waker = slot.waker.take();
        let is_done = slot.job.as_ref().is_some_and(|job| job.outcome.is_some());
        let slot = if is_done { slots.remove(key) } else { None };
        drop(slots);
        drop(waker);
        drop(slot);
    }
}
