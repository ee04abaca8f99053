//! Crash tests of the log on a simulated disk: the model of what must be there, and a machine that starts, writes and dies.
//! Invariant: the model knows only what a client could know: what was acknowledged, what was tried, what recovery showed.
//! Leaves to cases.rs, random.rs and damage.rs: what to do to the machine.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::format::BatchHeader;
use super::*;
use crate::disk::sim::{SimDisk, SplitMix64};
use crate::disk::{Disk, OpenMode};
use crate::types::Timestamp;

mod cases;
mod damage;
mod fuzzing;
mod random;
mod real;
mod states;

pub(super) const DIRECTORY: DirectoryId = DirectoryId(*b"the lab's folder");
pub(super) const SHARD: ShardId = ShardId(5);
const LOG_PATH: &str = "/data/shard-005/log";

/// Small sizes, so that segments roll often.
pub(super) fn config(segment_blocks: u32, batch_blocks: u32) -> LogConfig {
    LogConfig {
        segment_bytes: segment_blocks * BLOCK_BYTES as u32,
        batch_bytes_max: batch_blocks * BLOCK_BYTES as u32,
        segment_count_max: 64,
        spare_count: 2,
        ..LogConfig::new(LOG_PATH.into(), DIRECTORY, SHARD)
    }
}

/// A disk with the log's directory on it.
pub(super) fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new(LOG_PATH)).unwrap();
    for dir in ["/", "/data", "/data/shard-005"] {
        disk.sync_dir(Path::new(dir)).unwrap();
    }
    disk
}

pub(super) fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Polls a future of the simulated disk, which is ready at once.
pub(super) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the simulated disk never waits"),
    }
}

/// Recovers and gives the payloads by LSN.
pub(super) fn replay(
    disk: &SimDisk,
    config: &LogConfig,
    from: Option<Checkpoint>,
) -> Result<(Recovered, BTreeMap<u64, Vec<u8>>), Fault> {
    let mut payloads = BTreeMap::new();
    let recovered = recover(&shared(disk), config, from, &mut |batch| {
        let before = payloads.insert(batch.lsn.0, batch.payload.to_vec());
        assert!(before.is_none(), "batch {} was yielded twice", batch.lsn);
        Ok(())
    })?;
    Ok((recovered, payloads))
}

/// What has to be in the log.
#[derive(Clone, Default)]
pub(super) struct Model {
    /// Acknowledged, or shown by a recovery: both must stay.
    pub kept: BTreeMap<u64, Vec<u8>>,
    /// Sent to the disk, outcome unknown; each set is one life's batches, in LSN order behind `kept`.
    pub tried: BTreeMap<u64, Vec<u8>>,
    /// What the index has: batches up to here need not be in the log.
    pub from: Option<Checkpoint>,
    /// Checkpoints of kept batches, from which a fold may choose.
    pub checkpoints: BTreeMap<u64, Checkpoint>,
}

impl Model {
    /// Compares a recovery with what must be there; then takes over what it showed.
    pub fn check(&mut self, tail: Checkpoint, payloads: BTreeMap<u64, Vec<u8>>) -> Result<(), String> {
        let first = self.from.map_or(1, |from| from.lsn.0 + 1);
        for (index, lsn) in payloads.keys().enumerate() {
            if *lsn != first + index as u64 {
                return Err(format!("batch {lsn} came where {} was due", first + index as u64));
            }
        }
        for (lsn, payload) in self.kept.range(first..) {
            match payloads.get(lsn) {
                None => return Err(format!("batch {lsn} was acknowledged or shown, and is gone")),
                Some(found) if found != payload => return Err(format!("batch {lsn} has other bytes")),
                Some(_) => {}
            }
        }
        for (lsn, payload) in payloads.iter().filter(|(lsn, _)| !self.kept.contains_key(lsn)) {
            if self.tried.get(lsn) != Some(payload) {
                return Err(format!("batch {lsn} was never written like this"));
            }
        }
        let last = payloads.keys().next_back().copied().unwrap_or(first - 1);
        if tail.lsn.0 != last {
            return Err(format!("the tail is {}, the last batch {last}", tail.lsn));
        }
        self.kept.extend(payloads);
        self.tried.clear();
        self.checkpoints.insert(last, tail);
        Ok(())
    }

    /// The index takes over everything up to a kept batch.
    pub fn fold(&mut self, lsn: u64) {
        self.from = Some(self.checkpoints[&lsn]);
        self.checkpoints = self.checkpoints.split_off(&lsn);
        self.kept = self.kept.split_off(&(lsn + 1));
    }
}

/// A running log.
pub(super) struct Machine {
    pub disk: SimDisk,
    pub config: LogConfig,
    pub writer: LogWriter,
    pub durable: Lsn,
}

impl Machine {
    /// Recovers, checks what was found against the model, and starts the writer.
    pub fn start(
        disk: &SimDisk,
        config: &LogConfig,
        epoch: u64,
        model: &mut Model,
    ) -> Result<Machine, Failure> {
        let (recovered, payloads) = replay(disk, config, model.from)?;
        model.check(recovered.tail, payloads).map_err(Failure::Wrong)?;
        let supply =
            SegmentSupply::new(shared(disk), config.clone(), Arc::default(), &recovered, Box::new(|| {}));
        supply.refill()?;
        let durable = recovered.tail.lsn;
        let writer = LogWriter::new(config.clone(), recovered.tail, epoch, supply, recovered.files)?;
        Ok(Machine { disk: disk.clone(), config: config.clone(), writer, durable })
    }

    /// Appends one batch; it is in the model as tried, then as kept.
    pub fn append(&mut self, payload: &[u8], model: &mut Model) -> Result<WrittenBatch, Fault> {
        let mut batch = match self.writer.open_batch_for(payload.len()) {
            Ok(batch) => batch,
            Err(LogFull) => {
                match self.writer.supply().refill() {
                    // One segment may have been made before the disk was full.
                    Ok(()) | Err(Fault::Full) => {}
                    Err(fault) => return Err(fault),
                }
                self.writer.open_batch_for(payload.len()).map_err(|LogFull| Fault::Full)?
            }
        };
        let position = batch.append(payload);
        let lsn = batch.lsn();
        model.tried.insert(lsn.0, payload.to_vec());
        let written = now_or_never(self.writer.write(batch, self.durable, Timestamp(lsn.0)))?;
        self.durable = lsn;
        model.tried.remove(&lsn.0);
        model.kept.insert(lsn.0, payload.to_vec());
        model.checkpoints.insert(lsn.0, written.checkpoint);
        if !self.writer.has_failed() {
            let read = now_or_never(self.writer.reader().read(position, payload.len()))?;
            assert_eq!(&read[..], payload, "batch {lsn} reads back as it was appended");
        }
        Ok(written)
    }

    /// Folds up to a kept batch, and gives back the segments that nothing needs any more.
    pub fn fold(&mut self, lsn: u64, model: &mut Model) -> Result<(), Fault> {
        model.fold(lsn);
        self.recycle(model)
    }

    /// Gives back the segments below the index's checkpoint.
    pub fn recycle(&mut self, model: &Model) -> Result<(), Fault> {
        let Some(checkpoint) = model.from else { return Ok(()) };
        let retirable = self.writer.retirable_below(checkpoint.position.segment);
        self.writer.supply().retire(&retirable);
        self.writer.supply().refill()
    }

    /// Writes batches behind the last one without a sync, as a deeper pipeline would have had in flight when power failed.
    /// `lands` says which of them reach the disk at all.
    pub fn leave_in_flight(&mut self, payloads: &[(Vec<u8>, bool)], epoch: u64, model: &mut Model) {
        let mut last = self.writer.last();
        for (payload, lands) in payloads {
            let header = header_behind(&self.config, last, payload, self.durable, epoch);
            let room = u64::from(self.config.segment_bytes - last.position.offset);
            if header.padded_bytes() > room {
                return;
            }
            last = header.checkpoint(format::checksum_of(&header.encode()));
            model.tried.insert(header.lsn.0, payload.clone());
            // The power may fail between two of them.
            if *lands && try_put(&self.disk, &self.config, &header, payload).is_err() {
                return;
            }
        }
    }
}

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The log is not what it must be.
    Wrong(String),
    /// The disk or the log refused.
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

/// The header of a batch right behind `last`.
pub(super) fn header_behind(
    config: &LogConfig,
    last: Checkpoint,
    payload: &[u8],
    durable_lsn: Lsn,
    epoch: u64,
) -> BatchHeader {
    BatchHeader {
        directory: config.directory,
        shard: config.shard,
        lsn: last.lsn.next(),
        durable_lsn,
        epoch,
        time: Timestamp(0),
        position: last.position,
        previous_checksum: last.header_checksum,
        payload_bytes: payload.len() as u32,
        payload_crc: hash::crc32c(payload),
    }
}

/// Writes a batch where its header says, without a sync.
pub(super) fn put(disk: &SimDisk, config: &LogConfig, header: &BatchHeader, payload: &[u8]) {
    try_put(disk, config, header, payload).unwrap();
}

fn try_put(disk: &SimDisk, config: &LogConfig, header: &BatchHeader, payload: &[u8]) -> std::io::Result<()> {
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    try_put_bytes(disk, config, header.position, &bytes)
}

/// Writes bytes into a segment, without a sync.
pub(super) fn put_bytes(disk: &SimDisk, config: &LogConfig, position: LogPosition, bytes: &[u8]) {
    try_put_bytes(disk, config, position, bytes).unwrap();
}

fn try_put_bytes(
    disk: &SimDisk,
    config: &LogConfig,
    position: LogPosition,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mode = OpenMode { create: true, write: true, direct: false };
    let file = disk.open(&config.segment_path(position.segment), mode)?;
    file.write_blocking(bytes, u64::from(position.offset))
}

/// A payload whose every byte depends on the batch, so that nothing fits by chance.
pub(super) fn payload(seed: u64, count: usize) -> Vec<u8> {
    let mut random = SplitMix64(seed);
    (0..count).map(|_| random.next_u64() as u8).collect()
}
