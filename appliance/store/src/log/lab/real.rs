//! The same log on the machine's own disk, through the reactor: what the simulation cannot show.

use std::path::PathBuf;

use ring::{Backend, Reactor, ReactorConfig};

use super::*;
use crate::disk::RealDisk;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the scratch directory is ours");
    }
}

/// Appends ten batches per life, over three lives and several segments, and reads all of them back.
fn three_lives(backend: Backend) {
    let name = format!("zerocloud-log-{backend:?}-{}", std::process::id());
    let scratch = Scratch(std::env::temp_dir().join(name));
    // A process of this number that was killed may have left one.
    drop(std::fs::remove_dir_all(&scratch.0));
    std::fs::create_dir_all(&scratch.0).unwrap();
    let config = LogConfig {
        segment_bytes: 64 * 1024,
        batch_bytes_max: 16 * 1024,
        ..LogConfig::new(scratch.0.clone(), DIRECTORY, SHARD)
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for life in 0..3 {
        let mut found = BTreeMap::new();
        let recovered = recover(&disk, &config, None, &mut |batch| {
            found.insert(batch.lsn.0, batch.payload.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, kept);
        assert!(recovered.rejected.is_none());
        let supply =
            SegmentSupply::new(disk.clone(), config.clone(), Arc::default(), &recovered, Box::new(|| {}));
        supply.refill().unwrap();
        let (tail, files) = (recovered.tail, recovered.files);
        let mut writer = LogWriter::new(config.clone(), tail, life, supply.clone(), files).unwrap();
        let mut reactor = Reactor::new(&ReactorConfig { backend, ..ReactorConfig::default() }).unwrap();
        reactor.block_on(async {
            let mut durable = tail.lsn;
            for number in 0..10_u64 {
                supply.refill().unwrap();
                let mut batch = writer.open_batch().unwrap();
                let bytes = payload(life * 10 + number, 1 + (number as usize * 1_733) % 15_000);
                let position = batch.append(&bytes);
                durable = writer.write(batch, durable, Timestamp(0)).await.unwrap().lsn();
                let read = writer.reader().read(position, bytes.len()).await.unwrap();
                assert_eq!(&read[..], &bytes[..]);
                kept.insert(durable.0, bytes);
            }
        });
    }
    let report = verify(&disk, &config, None).unwrap();
    assert_eq!((report.batch_count, report.failure_count), (30, 0), "{:?}", report.failures);
}

#[test]
fn a_log_on_a_real_disk_survives_restarts_on_epoll() {
    three_lives(Backend::Epoll);
}

#[test]
fn a_log_on_a_real_disk_survives_restarts_on_io_uring() {
    match ring::probe_io_uring() {
        Ok(_) => three_lives(Backend::IoUring),
        Err(why) => eprintln!("not run: {why}"),
    }
}
