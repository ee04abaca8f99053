//! The open segment files of one shard's log, for reading bodies from any core.
//! Invariant: a reader takes the lock only after the set of files changed, which happens once per segment.
//! Leaves to the shard: not to retire a segment while a view or a stream may still point into it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::Buffer;

use super::segment;
use crate::disk::DiskFile;
use crate::fault::Fault;
use crate::types::LogPosition;

type Table = BTreeMap<u64, Arc<dyn DiskFile>>;

/// The files that hold used segments, shared by all cores. Cheap to clone.
#[derive(Clone)]
pub struct LogFiles {
    shared: Arc<Shared>,
}

struct Shared {
    path: Arc<Path>,
    /// Grows with every change of the table; stored after it.
    generation: AtomicU64,
    table: Mutex<Arc<Table>>,
}

impl LogFiles {
    pub(crate) fn new(path: Arc<Path>) -> LogFiles {
        let shared =
            Shared { path, generation: AtomicU64::new(0), table: Mutex::new(Arc::new(BTreeMap::new())) };
        LogFiles { shared: Arc::new(shared) }
    }

    /// A reader for one core.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let table = self.table().clone();
        LogReader { files: self.clone(), cached: RefCell::new((generation, table)) }
    }

    /// Sequence numbers of the used segments, ascending.
    #[must_use]
    pub fn sequences(&self) -> Vec<u64> {
        self.table().keys().copied().collect()
    }

    pub(super) fn get(&self, sequence: u64) -> Option<Arc<dyn DiskFile>> {
        self.table().get(&sequence).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.table().len()
    }

    pub(super) fn add(&self, sequence: u64, file: Arc<dyn DiskFile>) {
        self.change(|table| table.insert(sequence, file));
    }

    pub(super) fn remove(&self, sequence: u64) {
        self.change(|table| table.remove(&sequence));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) {
        let mut table = self.table();
        let mut next = (**table).clone();
        change(&mut next);
        *table = Arc::new(next);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    fn table(&self) -> MutexGuard<'_, Arc<Table>> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads bodies out of the log on one core.
pub struct LogReader {
    files: LogFiles,
    cached: RefCell<(u64, Arc<Table>)>,
}

impl LogReader {
    /// Reads `length` bytes. They are unchecked: the record that points here carries their CRC.
    /// Errors: `Fault::Corrupt` when no such segment is in use or it ends too early, `Fault::Io` from the disk.
    pub fn read(
        &self,
        position: LogPosition,
        length: usize,
    ) -> impl Future<Output = Result<Buffer, Fault>> + use<> + 'static {
        let file = self.file(position);
        let path = self.files.shared.path.clone();
        async move {
            let file = file?;
            let buffer = Buffer::with_capacity(length);
            let (result, buffer) = file.read(buffer, u64::from(position.offset), length).await;
            finish(&path, position, length, result)?;
            Ok(buffer)
        }
    }

    /// The same for companion threads.
    pub fn read_blocking(&self, position: LogPosition, buffer: &mut [u8]) -> Result<(), Fault> {
        let result = self.file(position)?.read_blocking(buffer, u64::from(position.offset));
        finish(&self.files.shared.path, position, buffer.len(), result)
    }

    fn file(&self, position: LogPosition) -> Result<Arc<dyn DiskFile>, Fault> {
        let generation = self.files.shared.generation.load(Ordering::Acquire);
        let mut cached = self.cached.borrow_mut();
        if cached.0 != generation {
            *cached = (generation, self.files.table().clone());
        }
        cached.1.get(&position.segment).cloned().ok_or_else(|| {
            let path = self.files.shared.path.join(segment::file_name(position.segment));
            Fault::corrupt(format!("log segment {} is not in use, yet a record points to it", path.display()))
        })
    }
}

fn finish(
    directory: &Path,
    position: LogPosition,
    length: usize,
    result: std::io::Result<usize>,
) -> Result<(), Fault> {
    let path = || directory.join(segment::file_name(position.segment));
    match result {
        Ok(count) if count == length => Ok(()),
        Ok(_) => Err(Fault::corrupt(format!(
            "log segment {} ends before the {length} bytes at offset {}",
            path().display(),
            position.offset
        ))),
        Err(error) => Err(Fault::io("read", &path(), u64::from(position.offset), &error)),
    }
}
