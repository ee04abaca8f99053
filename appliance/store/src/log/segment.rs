//! Segment files: how they come to be, get their next name, and go; and the stock of ready ones.
//! Invariant: a segment that the writer takes is as long as it will ever be, its blocks are written, and its name is
//! durable: so the first batch in it needs nothing but its own sync.
//! Leaves to the shard: when a segment may be retired (folded, no undecided prepare in it, grace, pins).
//!
//! ```text
//!                     create: "segment.tmp", zeros, sync, rename
//!  (nothing) ------------------------------------------------------> ready --take--> used (LogFiles)
//!                     recycle: rename, sync directory                  ^                |
//!  retired  -----------------------------------------------------------+                |
//!     ^---------------------------------- retire ---------------------------------------+
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::Buffer;

use super::files::LogFiles;
use super::scan::Recovered;
use super::{Checkpoint, LogConfig};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::fault::Fault;
use crate::room::Room;
use crate::types::BLOCK_BYTES;

/// The name under which a new segment is prewritten.
pub(super) const TEMPORARY_NAME: &str = "segment.tmp";
const PREWRITE_BYTES: usize = 1024 * 1024;
const NAME_DIGITS: usize = 20;
/// Retired segments are kept for their next use up to one in so many of all: prewriting a new one beside the log's own
/// writes makes every sync slower.
const KEPT_PART: usize = 4;

/// The name of a segment's file.
#[must_use]
pub fn file_name(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// The sequence number that a file name stands for, if it is a segment's.
#[must_use]
pub fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

/// A segment that is open for reading and writing.
#[derive(Clone)]
pub struct Segment {
    /// Its sequence number.
    pub sequence: u64,
    /// Its file, buffered.
    pub file: Arc<dyn DiskFile>,
    /// The usable length of the file.
    pub bytes: u32,
}

impl Segment {
    /// Opens an existing segment.
    pub(super) fn open(disk: &dyn Disk, config: &LogConfig, sequence: u64) -> Result<Segment, Fault> {
        let path = config.segment_path(sequence);
        let mode = OpenMode { write: true, ..OpenMode::default() };
        let file = disk.open(&path, mode).map_err(|error| Fault::io("open", &path, 0, &error))?;
        let length = file.length().map_err(|error| Fault::io("stat", &path, 0, &error))?;
        Ok(Segment { sequence, file, bytes: usable_bytes(length) })
    }

    /// Makes a segment of zeros under a temporary name, syncs it, then names it. The name is durable after `sync_dir`.
    fn create(disk: &dyn Disk, config: &LogConfig, sequence: u64) -> Result<Segment, Fault> {
        let path = config.path.join(TEMPORARY_NAME);
        let at = |action, offset: u64| {
            let path = path.clone();
            move |error: io::Error| fault(action, &path, offset, &error)
        };
        let file = open_to_prewrite(disk, &path).map_err(at("create", 0))?;
        file.truncate(0).map_err(at("truncate", 0))?;
        let mut zeros = Buffer::with_capacity(PREWRITE_BYTES.min(config.segment_bytes as usize));
        zeros.resize(PREWRITE_BYTES.min(config.segment_bytes as usize), 0);
        let mut offset = 0;
        while offset < config.segment_bytes as usize {
            let count = zeros.len().min(config.segment_bytes as usize - offset);
            file.write_blocking(&zeros[..count], offset as u64).map_err(at("write", offset as u64))?;
            // In small steps: the log's own syncs would wait behind a device queue full of zeros.
            file.sync_blocking().map_err(at("fdatasync", offset as u64))?;
            offset += count;
        }
        drop(file);
        disk.rename(&path, &config.segment_path(sequence)).map_err(at("rename", 0))?;
        Segment::open(disk, config, sequence)
    }

    /// Gives a retired segment its next name. Its old batches stay in it and are refused by their position.
    fn recycle(disk: &dyn Disk, config: &LogConfig, old: u64, new: u64) -> Result<Segment, Fault> {
        let (from, to) = (config.segment_path(old), config.segment_path(new));
        disk.rename(&from, &to).map_err(|error| Fault::io("rename", &from, 0, &error))?;
        Segment::open(disk, config, new)
    }
}

/// Opens a file for its zeros: past the page cache where that is possible, since copying them there costs more than
/// the puts' own bytes do, and nobody reads them.
fn open_to_prewrite(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    let mode = OpenMode { create: true, write: true, direct: true };
    match disk.open(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            disk.open(path, OpenMode { direct: false, ..mode })
        }
        opened => opened,
    }
}

/// File lengths beyond what a position can name, or behind the last whole block, are not used.
pub(super) fn usable_bytes(length: u64) -> u32 {
    let blocks = length.min(u64::from(u32::MAX)) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    u32::try_from(blocks).expect("was clipped to u32 one line up")
}

fn fault(action: &'static str, path: &Path, offset: u64, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::StorageFull {
        return Fault::Full;
    }
    Fault::io(action, path, offset, error)
}

/// The stock of segments. The owner core takes, a companion thread refills. Cheap to clone.
#[derive(Clone)]
pub struct SegmentSupply {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    config: LogConfig,
    room: Arc<Room>,
    files: LogFiles,
    wake: Box<dyn Fn() + Send + Sync>,
    /// Held for the whole of a refill, so that two threads never make the same segment.
    refill: Mutex<()>,
    stock: Mutex<Stock>,
}

#[derive(Default)]
struct Stock {
    ready: BTreeMap<u64, Segment>,
    /// Files on disk that already have a future name, left over from the last run.
    spares: BTreeSet<u64>,
    retired: VecDeque<u64>,
    /// The sequence number that the next prepared segment gets.
    next: u64,
    /// A failed rename or sync leaves names in doubt until the next recovery.
    failed: bool,
}

impl SegmentSupply {
    /// `wake` is called from the owner core when a segment was taken or retired; it should start `refill` elsewhere.
    /// Call `refill` once before the first batch.
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        room: Arc<Room>,
        recovered: &Recovered,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> SegmentSupply {
        let Checkpoint { position, .. } = recovered.tail;
        // A new log has not even the segment in which its first batch goes.
        let next = if recovered.files.get(position.segment).is_some() {
            position.segment + 1
        } else {
            position.segment
        };
        let stock = Stock { next, spares: recovered.spares.clone(), ..Stock::default() };
        let files = recovered.files.clone();
        let shared =
            Shared { disk, config, room, files, wake, refill: Mutex::new(()), stock: Mutex::new(stock) };
        SegmentSupply { shared: Arc::new(shared) }
    }

    /// Takes the ready segment of this number and counts it as used; none when it is not ready yet.
    #[must_use]
    pub fn take(&self, sequence: u64) -> Option<Segment> {
        let segment = self.stock().ready.remove(&sequence);
        if let Some(segment) = &segment {
            self.shared.files.add(sequence, segment.file.clone());
        }
        (self.shared.wake)();
        segment
    }

    /// Gives used segments back. The caller vouches that nothing reads or points into them any more.
    pub fn retire(&self, sequences: &[u64]) {
        let mut stock = self.stock();
        for &sequence in sequences {
            if self.shared.files.get(sequence).is_some() {
                self.shared.files.remove(sequence);
                stock.retired.push_back(sequence);
            }
        }
        drop(stock);
        (self.shared.wake)();
    }

    /// Whether `refill` has something to do.
    #[must_use]
    pub fn wants(&self) -> bool {
        let stock = self.stock();
        !stock.failed && !matches!(self.plan(&stock), Step::Nothing)
    }

    /// Prepares segments until enough are ready, and removes surplus ones. Blocks: for companion threads.
    /// Errors: `Fault::Full` when the disk is (try again later), any other fault is final until the next recovery.
    pub fn refill(&self) -> Result<(), Fault> {
        let _gate = self.shared.refill.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let step = {
                let mut stock = self.stock();
                if stock.failed {
                    return Err(Fault::ReadOnly("preparing a log segment failed before".into()));
                }
                let step = self.plan(&stock);
                match step {
                    Step::Recycle { old, .. } | Step::Remove { old } => {
                        stock.retired.retain(|&each| each != old)
                    }
                    Step::Nothing | Step::Create { .. } | Step::Adopt { .. } => {}
                }
                step
            };
            if matches!(step, Step::Nothing) {
                return Ok(());
            }
            match self.perform(&step) {
                Ok(Some(segment)) => {
                    let mut stock = self.stock();
                    stock.spares.remove(&segment.sequence);
                    stock.next = segment.sequence + 1;
                    stock.ready.insert(segment.sequence, segment);
                }
                Ok(None) => {}
                // Only a creation runs into it, and it has named nothing yet: the next try starts over.
                Err(Fault::Full) => return Err(self.give_back_temporary().err().unwrap_or(Fault::Full)),
                Err(fault) => {
                    self.stock().failed = true;
                    return Err(fault);
                }
            }
        }
    }

    fn plan(&self, stock: &Stock) -> Step {
        let spare_count = self.shared.config.spare_count;
        if stock.ready.len() < spare_count {
            let new = stock.next;
            if stock.spares.contains(&new) {
                return Step::Adopt { new };
            }
            if let Some(&old) = stock.retired.front() {
                return Step::Recycle { old, new };
            }
            let count = self.shared.files.len() + stock.ready.len() + stock.spares.len();
            if count < self.shared.config.segment_count_max {
                return Step::Create { new };
            }
        } else if stock.retired.len() > spare_count.max(self.shared.config.segment_count_max / KEPT_PART) {
            return Step::Remove { old: stock.retired[0] };
        }
        Step::Nothing
    }

    fn perform(&self, step: &Step) -> Result<Option<Segment>, Fault> {
        let (disk, config) = (&*self.shared.disk, &self.shared.config);
        let segment = match *step {
            Step::Nothing => return Ok(None),
            Step::Remove { old } => {
                let path = config.segment_path(old);
                disk.remove(&path).map_err(|error| Fault::io("remove", &path, 0, &error))?;
                return Ok(None);
            }
            Step::Create { new } => self.create(new)?,
            Step::Recycle { old, new } => {
                let segment = Segment::recycle(disk, config, old, new)?;
                self.sized(segment)?
            }
            Step::Adopt { new } => {
                let segment = Segment::open(disk, config, new)?;
                self.sized(segment)?
            }
        };
        // Before the segment is taken: a batch in a file whose name is lost is lost with it.
        if !crate::planted::is(crate::planted::Plant::NameNotSynced) {
            disk.sync_dir(&config.path).map_err(|error| Fault::io("fsync", &config.path, 0, &error))?;
        }
        Ok(Some(segment))
    }

    /// A half-made segment must not hold the space that deletes need on a full disk.
    fn give_back_temporary(&self) -> Result<(), Fault> {
        let path = self.shared.config.path.join(TEMPORARY_NAME);
        match self.shared.disk.remove(&path) {
            Ok(()) => Ok(()),
            // It was refused before it had a name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Fault::io("remove", &path, 0, &error)),
        }
    }

    /// A file of another length comes from another configuration or from damage: a new one takes its name.
    fn sized(&self, segment: Segment) -> Result<Segment, Fault> {
        if segment.bytes == self.shared.config.segment_bytes {
            return Ok(segment);
        }
        self.create(segment.sequence)
    }

    /// A new segment takes no room that folds need: without them none would ever be free again.
    fn create(&self, sequence: u64) -> Result<Segment, Fault> {
        let (disk, config) = (&*self.shared.disk, &self.shared.config);
        self.shared.room.check(disk, &config.path, u64::from(config.segment_bytes))?;
        Segment::create(disk, config, sequence)
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.shared.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Step {
    Nothing,
    Create { new: u64 },
    Recycle { old: u64, new: u64 },
    Adopt { new: u64 },
    Remove { old: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_folds_need_is_not_taken_for_a_new_segment() {
        let disk: Arc<dyn Disk> = Arc::new(crate::disk::sim::SimDisk::new(1));
        let path = std::path::PathBuf::from("/data/shard-000/log");
        disk.create_dir(&path).expect("makes");
        let (directory, shard) = (crate::types::DirectoryId([1; 16]), crate::types::ShardId(0));
        let config = LogConfig::new(path.clone(), directory, shard);
        let recovered = crate::log::recover(&disk, &config, None, &mut |_| Ok(())).expect("an empty log");
        let room = Arc::new(Room::default());
        let supply =
            SegmentSupply::new(Arc::clone(&disk), config, Arc::clone(&room), &recovered, Box::new(|| {}));
        room.promise(shard, u64::MAX);
        assert!(matches!(supply.refill(), Err(Fault::Full)));
        assert_eq!(disk.list(&path).expect("lists"), Vec::<String>::new());
        room.promise(shard, 0);
        supply.refill().expect("there is room again, and the refusal was not for good");
        assert!(supply.take(recovered.tail.position.segment).is_some());
    }

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(parse_file_name(&file_name(42)), Some(42));
        assert_eq!(parse_file_name(&file_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(parse_file_name("42"), None);
        assert_eq!(parse_file_name("99999999999999999999"), None);
        assert_eq!(parse_file_name("+0000000000000000042"), None);
        assert_eq!(parse_file_name(TEMPORARY_NAME), None);
    }
}
