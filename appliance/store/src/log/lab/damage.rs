//! Rot: flipped bits, unreadable ranges, and what `recover` and `verify` say about them.

use super::*;
use crate::log::scan::Misfit;
use crate::planted::{self, Plant};

/// A log of five batches; gives the last one's place too.
fn filled() -> (SimDisk, LogConfig, Vec<WrittenBatch>) {
    let (disk, config) = (new_disk(3), config(4, 2));
    let mut model = Model::default();
    let Ok(mut machine) = Machine::start(&disk, &config, 1, &mut model) else { panic!("a new log starts") };
    let lengths = [40, 0, 4096, 300, 65];
    let written = lengths
        .iter()
        .enumerate()
        .map(|(index, &count)| machine.append(&payload(index as u64, count), &mut model).unwrap())
        .collect();
    (disk.restart(), config, written)
}

/// Byte offsets of a batch in its segment, padding left out.
fn bytes_of(batch: &WrittenBatch) -> std::ops::Range<u64> {
    let start = u64::from(batch.position.offset);
    start..start + (format::HEADER_BYTES as u64) + u64::from(batch.payload_bytes)
}

#[test]
fn any_flipped_bit_of_a_proven_batch_is_a_named_error() {
    let (disk, config, written) = filled();
    // The batch before the last one is proven by the last one only.
    for batch in &written[..written.len() - 1] {
        let path = config.segment_path(batch.position.segment);
        let mut step = SplitMix64(batch.lsn().0);
        for offset in bytes_of(batch) {
            // All bits of the header, some of the payload.
            let in_header = offset < bytes_of(batch).start + format::HEADER_BYTES as u64;
            if !in_header && !step.one_in(16) {
                continue;
            }
            for bit in 0..8 {
                disk.flip_bit(&path, offset, bit);
                let result = replay(&disk, &config, None);
                disk.flip_bit(&path, offset, bit);
                let Err(Fault::Corrupt(what)) = result else {
                    panic!("batch {} offset {offset} bit {bit}: nobody noticed", batch.lsn());
                };
                let place = format!("{} at offset {}", path.display(), batch.position.offset);
                assert!(what.contains(&place), "{what}");
            }
        }
    }
    replay(&disk, &config, None).unwrap();
}

#[test]
fn a_planted_blindness_for_proof_is_caught() {
    let (disk, config, written) = filled();
    disk.flip_bit(&config.segment_path(1), u64::from(written[1].position.offset) + 9, 0);
    let result = planted::with(Plant::ProofIgnored, || replay(&disk, &config, None));
    assert!(result.is_ok(), "the plant makes the loss silent, which the tests above do not accept");
}

#[test]
fn any_flipped_bit_of_the_last_batch_drops_and_counts_it() {
    let (disk, config, written) = filled();
    let last = &written[written.len() - 1];
    let path = config.segment_path(last.position.segment);
    for offset in bytes_of(last) {
        for bit in 0..8 {
            let disk = disk.restart();
            disk.flip_bit(&path, offset, bit);
            let (recovered, payloads) = replay(&disk, &config, None).unwrap();
            assert_eq!(payloads.len(), written.len() - 1, "offset {offset} bit {bit}");
            let rejected =
                recovered.rejected.unwrap_or_else(|| panic!("offset {offset} bit {bit}: not counted"));
            assert_eq!(rejected.lsn, last.lsn());
            assert_eq!(rejected.position, last.position);
            let in_header = offset < bytes_of(last).start + format::HEADER_BYTES as u64;
            assert_eq!(rejected.reason, if in_header { Misfit::Header } else { Misfit::Payload });
        }
    }
}

#[test]
fn an_empty_batch_behind_it_proves_the_last_one() {
    let (disk, config, _) = filled();
    let mut model = Model::default();
    let (recovered, payloads) = replay(&disk, &config, None).unwrap();
    model.kept = payloads;
    let Ok(mut machine) = Machine::start(&disk, &config, 2, &mut model) else { panic!("starts") };
    machine.append(b"", &mut model).unwrap();
    let offset = u64::from(recovered.tail.position.offset) - 4096 + 130;
    disk.flip_bit(&config.segment_path(recovered.tail.position.segment), offset, 0);
    assert!(matches!(replay(&disk, &config, None), Err(Fault::Corrupt(_))));
}

#[test]
fn an_unreadable_tail_is_an_error_with_file_and_offset() {
    let (disk, config, written) = filled();
    let position = written[3].position;
    disk.make_unreadable(&config.segment_path(position.segment), u64::from(position.offset), 512);
    let Err(Fault::Io { path, errno, .. }) = replay(&disk, &config, None) else {
        panic!("an unreadable batch was taken for the end of the log");
    };
    assert_eq!(errno, libc::EIO);
    assert_eq!(&*path, &*config.segment_path(position.segment));
}

#[test]
fn verify_finds_nothing_in_a_sound_log_and_writes_nothing() {
    let (disk, config, written) = filled();
    disk.record();
    let report = verify(&shared(&disk), &config, None).unwrap();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.batch_count, written.len() as u64);
    assert_eq!(report.payload_bytes, 40 + 4096 + 300 + 65);
    assert_eq!(report.last, Some(written[4].checkpoint));
    assert_eq!(report.unproven, None);
    assert!(disk.trace().is_empty());
}

#[test]
fn verify_names_each_damaged_batch_and_goes_on_behind_it() {
    let (disk, config, written) = filled();
    for batch in [&written[0], &written[2]] {
        let path = config.segment_path(batch.position.segment);
        disk.flip_bit(&path, u64::from(batch.position.offset) + 130, 3);
    }
    let report = verify(&shared(&disk), &config, None).unwrap();
    assert_eq!(report.failure_count, 2, "{:?}", report.failures);
    assert!(report.failures[0].contains("batch 1"));
    assert!(report.failures[1].contains("batch 3"));
    assert_eq!(report.batch_count, 3);
    // A header is worse: its whole batch is out of sight.
    disk.flip_bit(&config.segment_path(1), u64::from(written[1].position.offset) + 40, 3);
    let report = verify(&shared(&disk), &config, None).unwrap();
    assert_eq!(report.failure_count, 3, "{:?}", report.failures);
    assert_eq!(report.last, Some(written[4].checkpoint));
}

#[test]
fn verify_forgives_a_last_batch_that_nothing_proves() {
    let (disk, config, written) = filled();
    let last = written[4].position;
    disk.flip_bit(&config.segment_path(last.segment), u64::from(last.offset) + 130, 3);
    let report = verify(&shared(&disk), &config, None).unwrap();
    assert_eq!(report.failure_count, 0);
    assert_eq!(report.unproven, Some(last));
}

#[test]
fn verify_is_not_fooled_by_recycled_segments() {
    let (disk, config) = (new_disk(3), config(4, 2));
    let mut model = Model::default();
    let Ok(mut machine) = Machine::start(&disk, &config, 1, &mut model) else { panic!("starts") };
    for number in 0..100 {
        let written = machine.append(&payload(number, (number as usize * 397) % 7000), &mut model).unwrap();
        if number % 7 == 6 {
            machine.fold(written.lsn().0 - 2, &mut model).unwrap();
        }
        let report = verify(&shared(&disk), &config, model.from).unwrap();
        assert_eq!(report.failures, Vec::<String>::new(), "batch {number}");
    }
}
