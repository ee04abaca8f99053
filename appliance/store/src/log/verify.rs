//! An offline walk over a shard's log that names every checksum failure and writes nothing.
//! Invariant: stale batches, which every log holds, are no failures: a batch is missed only where a later one proves it.
//! Leaves to the caller: to have the log at rest, and to compare records with the index.

use std::sync::Arc;

use super::format::{self, BatchHeader};
use super::scan::{belongs, header_at, payload_of};
use super::segment::parse_file_name;
use super::window::Window;
use super::{Checkpoint, LogConfig};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::types::{BLOCK_BYTES, LogPosition, Lsn};

/// Failures listed at most; more are only counted.
const FAILURES_LISTED_MAX: usize = 1_000;

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Batches that fit.
    pub batch_count: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// What does not fit, with file and offset; the first ones.
    pub failures: Vec<String>,
    /// All that does not fit.
    pub failure_count: u64,
    /// A last batch whose payload does not fit and which nothing proves: it may never have been acknowledged.
    pub unproven: Option<LogPosition>,
    /// The last batch that fits.
    pub last: Option<Checkpoint>,
}

impl VerifyReport {
    fn fail(&mut self, what: String) {
        self.failure_count += 1;
        if self.failures.len() < FAILURES_LISTED_MAX {
            self.failures.push(what);
        }
    }
}

/// Walks all segments. `from` is the checkpoint of the index: what it covers may be gone without being a failure.
/// Errors: only what keeps the walk from going on; an unreadable segment is a failure in the report.
pub fn verify(
    disk: &Arc<dyn Disk>,
    config: &LogConfig,
    from: Option<Checkpoint>,
) -> Result<VerifyReport, Fault> {
    let names = disk.list(&config.path).map_err(|error| Fault::io("list", &config.path, 0, &error))?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| parse_file_name(name)).collect();
    sequences.sort_unstable();
    let report = VerifyReport::default();
    let mut walk = Walk { config, from, report, previous: None, damaged: None };
    for sequence in sequences {
        let walked = Window::open(&**disk, config, sequence).and_then(|mut window| walk.segment(&mut window));
        if let Err(fault) = walked {
            walk.report.fail(fault.to_string());
        }
    }
    walk.finish();
    Ok(walk.report)
}

struct Walk<'a> {
    config: &'a LogConfig,
    from: Option<Checkpoint>,
    report: VerifyReport,
    /// The last header of the chain, its payload sound or not.
    previous: Option<Checkpoint>,
    /// The last batch with a sound header and an unsound payload, until a later one proves it.
    damaged: Option<(Lsn, LogPosition)>,
}

impl Walk<'_> {
    fn segment(&mut self, window: &mut Window) -> Result<(), Fault> {
        let mut offset = 0;
        while offset < window.file_bytes {
            offset = self.block(window, offset)?;
        }
        Ok(())
    }

    /// Looks at one block and tells which to look at next.
    fn block(&mut self, window: &mut Window, offset: u32) -> Result<u32, Fault> {
        let next_block = offset.saturating_add(BLOCK_BYTES as u32);
        let position = LogPosition { segment: window.sequence, offset };
        let Some(bytes) = header_at(window, offset)? else { return Ok(u32::MAX) };
        let Ok(header) = BatchHeader::decode(&bytes) else { return Ok(next_block) };
        if !belongs(self.config, &header, position) || !self.follows(&header) {
            return Ok(next_block);
        }
        self.prove_damage(&header);
        let checkpoint = header.checkpoint(format::checksum_of(&bytes));
        self.previous = Some(checkpoint);
        let payload = payload_of(window, &header, position)?;
        let Some(payload) = payload.filter(|payload| hash::crc32c(payload) == header.payload_crc) else {
            self.damaged = Some((header.lsn, position));
            return Ok(next_block);
        };
        self.report.batch_count += 1;
        self.report.payload_bytes += payload.len() as u64;
        self.report.last = Some(checkpoint);
        Ok(checkpoint.position.offset)
    }

    /// Whether the header goes on where the chain stands. A gap that it proves is reported, and the chain goes on behind it.
    fn follows(&mut self, header: &BatchHeader) -> bool {
        let previous = match (self.previous, self.from) {
            // The index knows what the first batch that it needs must name, whatever is left of those before.
            (Some(previous), Some(from)) if previous.lsn < from.lsn && header.lsn == from.lsn.next() => from,
            (Some(previous), _) => previous,
            (None, Some(from)) if header.lsn <= from.lsn => return true,
            (None, Some(from)) => from,
            (None, None) => Checkpoint::START,
        };
        let missing = previous.lsn.next();
        if header.lsn == missing && header.previous_checksum == previous.header_checksum {
            return true;
        }
        let proven = header.lsn > missing && header.durable_lsn >= missing;
        // Segments that the index has covered may be recycled, so gaps up to there are no loss.
        let needed = self.from.is_none_or(|from| header.lsn > from.lsn.next());
        if proven && needed {
            self.report.fail(format!(
                "{} at offset {}: batch {missing} should be here; batch {} at offset {} of segment {} proves that it was",
                self.config.segment_path(previous.position.segment).display(),
                previous.position.offset,
                header.lsn,
                header.position.offset,
                header.position.segment
            ));
        }
        proven
    }

    fn prove_damage(&mut self, header: &BatchHeader) {
        let Some((lsn, position)) = self.damaged else { return };
        if header.durable_lsn >= lsn {
            self.damaged = None;
            let path = self.config.segment_path(position.segment);
            self.report.fail(format!(
                "{} at offset {}: the payload of batch {lsn} does not fit its checksum",
                path.display(),
                position.offset
            ));
        }
    }

    fn finish(&mut self) {
        self.report.unproven = self.damaged.map(|(_, position)| position);
        let Some(from) = self.from else { return };
        if self.previous.is_some_and(|previous| previous.lsn < from.lsn) {
            self.report.fail(format!(
                "{}: the log ends before batch {}, which the index has applied",
                self.config.path.display(),
                from.lsn
            ));
        }
    }
}
