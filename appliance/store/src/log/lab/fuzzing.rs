//! The fuzz entry over bytes that look like a log, changed at random, with checksums mended so that the damage gets deep.

use super::*;
use crate::log::fuzz;

const ROUNDS: u64 = 600;

#[test]
fn recovery_survives_arbitrary_bytes() {
    fuzz::run(&[]);
    for round in 0..ROUNDS {
        let mut random = SplitMix64(round);
        let mut data = chained_batches(&mut random);
        for _ in 0..random.below(6) {
            mutate(&mut data, &mut random);
        }
        let caught = std::panic::catch_unwind(|| fuzz::run(&data));
        assert!(caught.is_ok(), "round {round} of {ROUNDS}");
    }
}

/// Two segments with batches that follow each other.
fn chained_batches(random: &mut SplitMix64) -> Vec<u8> {
    let config = fuzz::config();
    let mut data = Vec::new();
    let mut last = Checkpoint::START;
    for segment in 1..=2 {
        last.position = LogPosition { segment, offset: 0 };
        let end = data.len() + config.segment_bytes as usize;
        while data.len() + config.batch_bytes_max as usize <= end {
            let payload = payload(random.next_u64(), random.below(9_000) as usize);
            let durable = Lsn(last.lsn.0 - random.below(2).min(last.lsn.0));
            let header = header_behind(&config, last, &payload, durable, 1);
            let bytes = header.encode();
            last = header.checkpoint(format::checksum_of(&bytes));
            data.extend_from_slice(&bytes);
            data.extend_from_slice(&payload);
            data.resize(data.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        data.resize(end, 0);
    }
    data
}

fn mutate(data: &mut Vec<u8>, random: &mut SplitMix64) {
    if data.is_empty() {
        return;
    }
    let block = random.below(data.len().div_ceil(BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
    let at = block + random.below(200) as usize;
    match random.below(5) {
        0 => data.truncate(random.below(data.len() as u64 + 1) as usize),
        1 => {
            let from = random.below(data.len().div_ceil(BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
            let copy: Vec<u8> = data[from..].iter().take(BLOCK_BYTES).copied().collect();
            if let Some(target) = data.get_mut(block..block + copy.len()) {
                target.copy_from_slice(&copy);
            }
        }
        kind => {
            let Some(byte) = data.get_mut(at) else { return };
            *byte = random.next_u64() as u8;
            // Mended, so that the change is believed and reaches the code behind the checksum.
            if kind > 2
                && let Some(header) = data.get_mut(block..block + format::HEADER_BYTES)
            {
                let checksum = hash::crc32c(&header[..124]);
                header[124..].copy_from_slice(&checksum.to_le_bytes());
            }
        }
    }
}
