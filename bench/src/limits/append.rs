//! The bare log append: 64 writers whose values leave in batches, one in flight and one filling, each batch written into
//! recycled space and synced before anybody is answered. What is durable at all costs at least this.
//! Invariant: a writer goes on only when the batch that holds its value is on the disk.
//! Leaves out what a log is more than that: segments, an index, recovery.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ring::Buffer;

use super::disk::{FILE_BYTES, open};
use super::tools::Fio;
use super::{Limit, Place, limit, median};

/// Writers at once.
pub const WRITERS: usize = 64;
/// Stands for a key and the framing of a record.
const RECORD_HEAD: [u8; 40] = [7; 40];
const BATCH_HEAD_BYTES: usize = 128;
const BLOCK_BYTES: usize = 4096;

/// What the limit is called for values of a size.
pub fn name(value_bytes: u64) -> String {
    let size = match value_bytes {
        kibibytes if kibibytes > 0 && kibibytes.is_multiple_of(1024) => format!("{} KiB", kibibytes / 1024),
        bytes => format!("{bytes} B"),
    };
    format!("bare log append, {size} x {WRITERS} writers")
}

/// In turns with `fio`, which writes and syncs blocks of the same size as the batches. `path` was written once.
///
/// # Errors
/// In words: the disk refuses.
pub fn measure(
    place: &Place<'_>,
    reactor: &mut ring::Reactor,
    path: &Path,
    value_bytes: usize,
) -> Result<Limit, String> {
    let block_bytes = batch_bytes(WRITERS, value_bytes);
    let fio = Fio { mode: "write", block_bytes, depth: 1, is_direct: false, syncs: true };
    let duration = Duration::from_secs_f64(place.seconds);
    let ours =
        || run(reactor, path, value_bytes, duration).map_err(|error| format!("{}: {error}", path.display()));
    let theirs = || fio.rate(place.server_core, path, place.seconds);
    let (own, outside) = place.in_turns(ours, theirs)?;
    let of = |figure: fn(&Appended) -> f64| median(own.iter().map(figure).collect());
    let records_per_batch = of(|appended| appended.records_per_batch);
    let outside = outside.map(|rates| median(rates) * records_per_batch);
    let rate = of(|appended| appended.rate);
    let limit = limit(&name(value_bytes as u64), "appends/s", rate, &fio.tool(place.seconds), outside);
    let note = format!(
        "Batches held {records_per_batch:.1} values on average; a tool's figure is its writes times that."
    );
    Ok(Limit { note: Some(note), ..limit })
}

/// A batch as it is written, in whole blocks.
fn batch_bytes(records: usize, value_bytes: usize) -> usize {
    (BATCH_HEAD_BYTES + records * (RECORD_HEAD.len() + value_bytes)).next_multiple_of(BLOCK_BYTES)
}

struct Appended {
    rate: f64,
    records_per_batch: f64,
}

/// What writers and the committer share.
struct Group {
    value: Vec<u8>,
    filling: RefCell<Buffer>,
    /// Records in it.
    filled: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
    /// Batches taken for writing, and batches that are durable.
    taken: Cell<u64>,
    durable: Cell<u64>,
    is_open: Cell<bool>,
}

impl Group {
    async fn write(self: Rc<Self>) {
        while self.is_open.get() {
            {
                let mut batch = self.filling.borrow_mut();
                batch.extend_from_slice(&RECORD_HEAD);
                batch.extend_from_slice(&self.value);
            }
            self.filled.set(self.filled.get() + 1);
            let batch = self.taken.get();
            std::future::poll_fn(|context| {
                if self.durable.get() > batch {
                    return Poll::Ready(());
                }
                self.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }

    /// Takes what was filled; nothing while nobody wrote.
    fn take(&self, spare: Buffer) -> Result<(Buffer, usize), Buffer> {
        let records = self.filled.take();
        if records == 0 {
            return Err(spare);
        }
        self.taken.set(self.taken.get() + 1);
        let mut batch = self.filling.replace(spare);
        let checksum = hash::crc32c(&batch[BATCH_HEAD_BYTES..]);
        batch[..4].copy_from_slice(&checksum.to_le_bytes());
        let whole = batch.len().next_multiple_of(BLOCK_BYTES);
        batch.resize(whole, 0);
        Ok((batch, records))
    }

    fn acknowledge(&self) {
        self.durable.set(self.durable.get() + 1);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

fn run(
    reactor: &mut ring::Reactor,
    path: &Path,
    value_bytes: usize,
    duration: Duration,
) -> std::io::Result<Appended> {
    let file = open(path, false)?;
    let empty = || {
        let mut batch = Buffer::with_capacity(batch_bytes(WRITERS, value_bytes));
        batch.resize(BATCH_HEAD_BYTES, 0);
        batch
    };
    let group = Rc::new(Group {
        value: super::disk::noise(value_bytes),
        filling: RefCell::new(empty()),
        filled: Cell::new(0),
        waiting: RefCell::default(),
        taken: Cell::new(0),
        durable: Cell::new(0),
        is_open: Cell::new(true),
    });
    reactor.block_on(async {
        let writers: Vec<_> = (0..WRITERS).map(|_| ring::spawn(Rc::clone(&group).write())).collect();
        let (begun, mut offset, mut spare, mut done) = (Instant::now(), 0, empty(), 0);
        while begun.elapsed() < duration {
            // All writers that the last batch woke add to the next one first.
            ring::yield_now().await;
            let (batch, records) = match group.take(spare) {
                Ok(taken) => taken,
                Err(back) => {
                    spare = back;
                    continue;
                }
            };
            if offset + batch.len() > FILE_BYTES {
                offset = 0;
            }
            let (result, mut batch) = file.write_at_sync(batch, offset as u64).await;
            result?;
            offset += batch.len();
            done += records;
            batch.truncate(BATCH_HEAD_BYTES);
            spare = batch;
            group.acknowledge();
        }
        let seconds = begun.elapsed().as_secs_f64();
        group.is_open.set(false);
        drop(writers);
        let batches = group.durable.get().max(1) as f64;
        Ok(Appended { rate: done as f64 / seconds, records_per_batch: done as f64 / batches })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_64_values_of_a_kibibyte_takes_68_kib() {
        assert_eq!(batch_bytes(WRITERS, 1024), 68 << 10);
        assert_eq!(batch_bytes(1, 0), 4096);
    }

    #[test]
    fn a_limit_is_called_by_the_size_of_its_values() {
        assert_eq!(name(1024), "bare log append, 1 KiB x 64 writers");
        assert_eq!(name(100), "bare log append, 100 B x 64 writers");
    }

    #[test]
    fn all_writers_share_each_batch() {
        let path = std::env::temp_dir().join(format!("zerobench-append-{}", std::process::id()));
        let mut reactor = ring::Reactor::new(&ring::ReactorConfig::default()).expect("a reactor");
        let appended = run(&mut reactor, &path, 100, Duration::from_millis(50));
        std::fs::remove_file(&path).expect("it was written");
        let appended = appended.expect("it is written");
        assert!(appended.rate > 0.0);
        assert!((appended.records_per_batch - WRITERS as f64).abs() < 1.0, "{}", appended.records_per_batch);
    }
}
