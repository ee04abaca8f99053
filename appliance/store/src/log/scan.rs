//! Recovery of a shard's log: which batches count, and where the next one goes.
//! Invariant: a batch that was acknowledged is yielded, or its loss is a named error; what is yielded has been on stable
//! storage when `recover` returns, so a value read afterwards cannot vanish in the next power failure.
//! Leaves to the shard: applying payloads. Running it again, after a crash at any point in it, gives the same log.
//!
//! A batch counts when it lies where it says, has the LSN behind its predecessor's, names that one's header checksum,
//! and its payload checksum fits. The first place without such a batch ends the log, unless some later batch says that
//! the missing one was durable: then acknowledged data is damaged, and dropping it silently would be a lie.
//! That saying stays true for ever, so stale batches of any age cannot fool it: what was durable once is in the log.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::LogFiles;
use super::format::{self, BatchHeader, HEADER_BYTES, HeaderError};
use super::segment::{Segment, TEMPORARY_NAME, parse_file_name};
use super::window::Window;
use super::{Checkpoint, LogConfig, Tail};
use crate::disk::{Disk, OpenMode};
use crate::fault::Fault;
use crate::planted::{self, Plant};
use crate::types::{BLOCK_BYTES, DirectoryId, LogPosition, Lsn, Timestamp};

/// Rejected batches kept as files, for someone who wants to look at them.
const REJECTED_KEPT_MAX: usize = 4;
const REJECTED_PREFIX: &str = "rejected-";

/// A batch that counts, handed to the caller in LSN order.
pub struct ReplayedBatch<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// When it was sealed.
    pub time: Timestamp,
    /// Where the first byte of the payload lies.
    pub position: LogPosition,
    /// What was appended to it.
    pub payload: &'a [u8],
    /// The batch as the index names it.
    pub checkpoint: Checkpoint,
}

/// What recovery found.
pub struct Recovered {
    /// The last batch that counts; the writer goes on behind it.
    pub tail: Tail,
    /// Batches yielded.
    pub batch_count: u64,
    /// Bytes of payload yielded.
    pub payload_bytes: u64,
    /// A last batch that did not land whole, or has rotted since; these cannot be told apart.
    pub rejected: Option<Rejected>,
    /// False where the file system has no O_DIRECT: then only a reboot shows what the disk holds after a failed sync.
    pub direct: bool,
    /// The used segments, those below the checkpoint included.
    pub files: LogFiles,
    /// Segments that lie ready under a future name.
    pub(super) spares: BTreeSet<u64>,
}

/// The batch behind the last accepted one, which does not count.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The number it has or should have.
    pub lsn: Lsn,
    /// Where it lies.
    pub position: LogPosition,
    /// Bytes of disk that it claims.
    pub batch_bytes: u64,
    /// What does not fit.
    pub reason: Misfit,
    /// The file in the log's directory that keeps its bytes, or why there is none.
    pub kept: Result<PathBuf, Fault>,
}

/// Why the bytes at a place are not the next batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// No trace of the batch: zeros, an old batch, or the end of the segment.
    Absent,
    /// A header that was this batch's once, with damage.
    Header,
    /// The header fits, its length does not fit into the segment.
    Length,
    /// The header fits, the payload does not.
    Payload,
}

/// Reads the log from `from` (the index's checkpoint; none for an index that never folded), hands every batch that counts
/// to `each`, makes sure that they are on stable storage, and tells where to go on.
/// Errors: `Fault::Corrupt` naming file and offset when an acknowledged batch is damaged or missing; `Fault::Io`; what `each`
/// returns. The log directory must exist and its own name be durable.
pub fn recover(
    disk: &Arc<dyn Disk>,
    config: &LogConfig,
    from: Option<Checkpoint>,
    each: &mut dyn FnMut(ReplayedBatch<'_>) -> Result<(), Fault>,
) -> Result<Recovered, Fault> {
    config.check();
    let mut scan = Scan::open(disk.clone(), config.clone())?;
    let mut tail = from.unwrap_or(Checkpoint::START);
    if tail.lsn > Lsn::ZERO && !scan.segments.contains(&tail.position.segment) {
        let path = config.segment_path(tail.position.segment);
        return Err(Fault::corrupt(format!(
            "log segment {} is missing; the index has applied batch {} and needs what follows it",
            path.display(),
            tail.lsn
        )));
    }
    let mut last_header = None;
    let (mut batch_count, mut payload_bytes) = (0, 0);
    let misfit = loop {
        let header = match scan.successor(&tail)? {
            Ok(header) => header,
            Err(misfit) => break misfit,
        };
        let checkpoint = scan.replay(&header, each)?;
        batch_count += 1;
        payload_bytes += u64::from(header.payload_bytes);
        last_header = Some(header);
        tail = checkpoint;
    };
    scan.refuse_a_proven_loss(&tail, &misfit)?;
    let rejected = scan.keep_aside(&tail, misfit);
    scan.settle(last_header, &tail)?;
    let direct = scan.direct;
    let (files, spares) = scan.open_used(&tail)?;
    Ok(Recovered { tail, batch_count, payload_bytes, rejected, direct, files, spares })
}

/// A place that was looked at, and what was wrong there.
struct Place {
    position: LogPosition,
    misfit: Misfit,
    batch_bytes: u64,
}

struct Scan {
    disk: Arc<dyn Disk>,
    config: LogConfig,
    segments: BTreeSet<u64>,
    direct: bool,
    window: Option<Window>,
}

impl Scan {
    fn open(disk: Arc<dyn Disk>, config: LogConfig) -> Result<Scan, Fault> {
        let names = disk.list(&config.path).map_err(|error| Fault::io("list", &config.path, 0, &error))?;
        // A half-made segment was never used.
        if names.iter().any(|name| name == TEMPORARY_NAME) {
            let path = config.path.join(TEMPORARY_NAME);
            disk.remove(&path).map_err(|error| Fault::io("remove", &path, 0, &error))?;
        }
        let segments = names.iter().filter_map(|name| parse_file_name(name)).collect();
        Ok(Scan { disk, config, segments, direct: true, window: None })
    }

    /// The segment's window; none when there is no such file.
    fn window(&mut self, sequence: u64) -> Result<Option<&mut Window>, Fault> {
        if !self.segments.contains(&sequence) {
            return Ok(None);
        }
        let window = match self.window.take().filter(|window| window.sequence == sequence) {
            Some(window) => window,
            None => Window::open(&*self.disk, &self.config, sequence)?,
        };
        // A segment has its full length before it is named, so a shorter one was cut, and the proof of what is missing
        // may have been in the part that is gone.
        if window.file_bytes < self.config.segment_bytes {
            let path = self.config.segment_path(sequence);
            let (found, wanted) = (window.file_bytes, self.config.segment_bytes);
            return Err(Fault::corrupt(format!("{} has {found} bytes of {wanted}", path.display())));
        }
        self.direct &= window.direct;
        Ok(Some(self.window.insert(window)))
    }

    /// The batch that follows `last`: right behind it or at the start of the next segment.
    fn successor(&mut self, last: &Checkpoint) -> Result<Result<BatchHeader, Place>, Fault> {
        let behind = match self.judge(last.position, last)? {
            Ok(header) => return Ok(Ok(header)),
            Err(place) => place,
        };
        let file_bytes = self.window(last.position.segment)?.map_or(0, |window| window.file_bytes);
        let start = LogPosition { segment: last.position.segment.saturating_add(1), offset: 0 };
        let place = match self.judge(start, last)? {
            Ok(header) => return Ok(Ok(header)),
            Err(place) => place,
        };
        // For the messages: where it lies, if something lies there, else where the writer would have put it.
        let has_room = file_bytes.saturating_sub(last.position.offset) >= self.config.batch_bytes_max;
        let is_behind = match (behind.misfit, place.misfit) {
            (Misfit::Absent, Misfit::Absent) => has_room,
            (Misfit::Absent, _) => false,
            _ => true,
        };
        Ok(Err(if is_behind { behind } else { place }))
    }

    /// Whether the bytes at `position` are the batch behind `last`.
    fn judge(
        &mut self,
        position: LogPosition,
        last: &Checkpoint,
    ) -> Result<Result<BatchHeader, Place>, Fault> {
        let config = self.config.clone();
        let not = |misfit, batch_bytes| Ok(Err(Place { position, misfit, batch_bytes }));
        let Some(window) = self.window(position.segment)? else { return not(Misfit::Absent, 0) };
        let Some(bytes) = header_at(window, position.offset)? else { return not(Misfit::Absent, 0) };
        let header = match BatchHeader::decode(&bytes) {
            Ok(header) => header,
            Err(error) => {
                let claimed = BatchHeader::fields(&bytes);
                if !resembles(&config, &claimed, position, last) {
                    return not(Misfit::Absent, 0);
                }
                if let HeaderError::Version(version) = error {
                    // Dropping it would lose what a newer binary acknowledged.
                    return Err(corrupt(&config, position, &format!("a batch of format version {version}")));
                }
                return not(Misfit::Header, BLOCK_BYTES as u64);
            }
        };
        let linked =
            header.previous_checksum == last.header_checksum || planted::is(Plant::ChainCheckSkipped);
        if !belongs(&config, &header, position) || header.lsn != last.lsn.next() || !linked {
            return not(Misfit::Absent, 0);
        }
        let room = u64::from(window.file_bytes - position.offset);
        if header.padded_bytes() > room {
            return not(Misfit::Length, room);
        }
        let payload = payload_of(window, &header, position)?;
        let fits = payload.is_some_and(|payload| hash::crc32c(payload) == header.payload_crc);
        if !fits && !planted::is(Plant::BatchCrcIgnored) {
            return not(Misfit::Payload, header.padded_bytes());
        }
        Ok(Ok(BatchHeader { position, ..header }))
    }

    /// Hands a judged batch to the caller.
    fn replay(
        &mut self,
        header: &BatchHeader,
        each: &mut dyn FnMut(ReplayedBatch<'_>) -> Result<(), Fault>,
    ) -> Result<Checkpoint, Fault> {
        let position = header.position;
        let changed = || corrupt(&self.config, position, "a batch that changed while it was read");
        let window = self.window.as_mut().expect("judge has just read the batch through it");
        let bytes = header_at(window, position.offset)?.ok_or_else(changed)?;
        let checkpoint = header.checkpoint(format::checksum_of(&bytes));
        let payload = payload_of(window, header, position)?.ok_or_else(changed)?;
        let position = LogPosition { offset: position.offset + HEADER_BYTES as u32, ..position };
        each(ReplayedBatch { lsn: header.lsn, time: header.time, position, payload, checkpoint })?;
        Ok(checkpoint)
    }

    /// Looks behind the end for a batch that says that the missing one was durable.
    fn refuse_a_proven_loss(&mut self, tail: &Tail, place: &Place) -> Result<(), Fault> {
        if planted::is(Plant::ProofIgnored) {
            return Ok(());
        }
        let missing = tail.lsn.next();
        let sequences: Vec<u64> = self.segments.range(tail.position.segment..).copied().collect();
        for sequence in sequences {
            let start = if sequence == tail.position.segment { tail.position.offset } else { 0 };
            let Some(witness) = self.witness(sequence, start, missing)? else { continue };
            let what = format!(
                "batch {missing}, which was acknowledged: batch {} at offset {} of segment {} says so",
                witness.lsn, witness.position.offset, witness.position.segment
            );
            return Err(corrupt(&self.config, place.position, &what));
        }
        Ok(())
    }

    /// The first sound header of this log, from `start` on, whose writer knew `missing` to be durable.
    fn witness(&mut self, sequence: u64, start: u32, missing: Lsn) -> Result<Option<BatchHeader>, Fault> {
        let config = self.config.clone();
        let Some(window) = self.window(sequence)? else { return Ok(None) };
        for offset in (start..window.file_bytes).step_by(BLOCK_BYTES) {
            let Some(bytes) = header_at(window, offset)? else { return Ok(None) };
            let Ok(header) = BatchHeader::decode(&bytes) else { continue };
            let here = belongs(&config, &header, LogPosition { segment: sequence, offset });
            if here && header.durable_lsn >= missing {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Copies what was rejected into a file, because the next batch is written over it.
    fn keep_aside(&mut self, tail: &Tail, place: Place) -> Option<Rejected> {
        if place.misfit == Misfit::Absent {
            return None;
        }
        let lsn = tail.lsn.next();
        let kept = self.copy_aside(lsn, &place);
        let Place { position, misfit: reason, batch_bytes } = place;
        Some(Rejected { lsn, position, batch_bytes, reason, kept })
    }

    fn copy_aside(&mut self, lsn: Lsn, place: &Place) -> Result<PathBuf, Fault> {
        let (disk, config) = (self.disk.clone(), self.config.clone());
        let names = disk.list(&config.path).map_err(|error| Fault::io("list", &config.path, 0, &error))?;
        let mut kept: Vec<&String> = names.iter().filter(|name| name.starts_with(REJECTED_PREFIX)).collect();
        while kept.len() >= REJECTED_KEPT_MAX {
            let path = config.path.join(kept.remove(0));
            disk.remove(&path).map_err(|error| Fault::io("remove", &path, 0, &error))?;
        }
        let path = config.path.join(format!("{REJECTED_PREFIX}{:020}", lsn.0));
        let count = usize::try_from(place.batch_bytes).unwrap_or(BLOCK_BYTES);
        let window = self.window(place.position.segment)?;
        let bytes = match window {
            Some(window) => window.bytes(place.position.offset, count)?.unwrap_or_default(),
            None => &[],
        };
        let mode = OpenMode { create: true, write: true, direct: false };
        let at = |action| {
            let path = &path;
            move |error: std::io::Error| Fault::io(action, path, 0, &error)
        };
        let file = disk.open(&path, mode).map_err(at("create"))?;
        file.truncate(0).map_err(at("truncate"))?;
        file.write_blocking(bytes, 0).map_err(at("write"))?;
        file.sync_blocking().map_err(at("fdatasync"))?;
        Ok(path)
    }

    /// The last batch may have been read from a cache that a power failure empties: it is written once more, in place,
    /// and synced, with the names of all segments. All earlier batches were synced before it was sent to the disk.
    fn settle(&mut self, last: Option<BatchHeader>, tail: &Tail) -> Result<(), Fault> {
        if let Some(header) = last.filter(|_| !planted::is(Plant::CacheTrusted)) {
            let position = header.position;
            let segment = Segment::open(&*self.disk, &self.config, position.segment)?;
            let path = self.config.segment_path(position.segment);
            let changed = corrupt(&self.config, position, "a batch that changed while it was read");
            let count = usize::try_from(header.padded_bytes()).expect("was held in memory already");
            let window = self.window(position.segment)?.ok_or_else(|| changed.clone())?;
            let bytes = window.bytes(position.offset, count)?.ok_or_else(|| changed.clone())?;
            let payload = &bytes[HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize];
            let same = bytes.first_chunk().map(format::checksum_of) == Some(tail.header_checksum)
                && hash::crc32c(payload) == header.payload_crc;
            if !same && !planted::is(Plant::BatchCrcIgnored) {
                return Err(changed);
            }
            let at = |action| {
                let path = &path;
                move |error: std::io::Error| Fault::io(action, path, u64::from(position.offset), &error)
            };
            segment.file.write_blocking(bytes, u64::from(position.offset)).map_err(at("write"))?;
            segment.file.sync_blocking().map_err(at("fdatasync"))?;
        }
        let path = &self.config.path;
        self.disk.sync_dir(path).map_err(|error| Fault::io("fsync", path, 0, &error))
    }

    fn open_used(&self, tail: &Tail) -> Result<(LogFiles, BTreeSet<u64>), Fault> {
        let files = LogFiles::new(self.config.path.clone());
        let mut spares = BTreeSet::new();
        for &sequence in &self.segments {
            if sequence > tail.position.segment || tail.lsn == Lsn::ZERO {
                spares.insert(sequence);
            } else {
                files.add(sequence, Segment::open(&*self.disk, &self.config, sequence)?.file);
            }
        }
        Ok((files, spares))
    }
}

/// Whether a sound header is one of this log and lies where it says.
pub(super) fn belongs(config: &LogConfig, header: &BatchHeader, position: LogPosition) -> bool {
    let here = header.position == position || planted::is(Plant::PositionNotChecked);
    header.directory == config.directory && header.shard == config.shard && here
}

/// The header at an offset; none when the segment ends before it.
pub(super) fn header_at(window: &mut Window, offset: u32) -> Result<Option<[u8; HEADER_BYTES]>, Fault> {
    Ok(window.bytes(offset, HEADER_BYTES)?.and_then(|bytes| bytes.first_chunk()).copied())
}

/// The payload behind a header; none when the segment ends before it does.
pub(super) fn payload_of<'a>(
    window: &'a mut Window,
    header: &BatchHeader,
    position: LogPosition,
) -> Result<Option<&'a [u8]>, Fault> {
    let bytes = window.bytes(position.offset, HEADER_BYTES + header.payload_bytes as usize)?;
    Ok(bytes.map(|bytes| &bytes[HEADER_BYTES..]))
}

/// Damage leaves most of a header standing, stale bytes leave nothing: at least this many of its seven identities.
const RESEMBLANCE_MIN: usize = 4;

fn resembles(config: &LogConfig, claimed: &BatchHeader, position: LogPosition, last: &Checkpoint) -> bool {
    let signs = [
        claimed.directory == config.directory,
        claimed.shard == config.shard,
        claimed.lsn == last.lsn.next(),
        claimed.position.segment == position.segment,
        claimed.position.offset == position.offset,
        claimed.previous_checksum == last.header_checksum,
        claimed.durable_lsn <= last.lsn && claimed.durable_lsn.0.saturating_add(2) >= last.lsn.0,
    ];
    // A block of zeros must not pass at the start of a log, where zero is what some fields should be.
    claimed.directory != DirectoryId([0; 16]) && signs.iter().filter(|&&sign| sign).count() >= RESEMBLANCE_MIN
}

fn corrupt(config: &LogConfig, position: LogPosition, what: &str) -> Fault {
    let path = config.segment_path(position.segment);
    Fault::corrupt(format!("{} at offset {} should hold {what}", path.display(), position.offset))
}
