//! Named scenarios: each is one way in which a log could be fooled.

use super::*;
use crate::disk::sim::{Injection, OperationKind};
use crate::log::scan::Misfit;

fn start(disk: &SimDisk, config: &LogConfig, epoch: u64, model: &mut Model) -> Machine {
    match Machine::start(disk, config, epoch, model) {
        Ok(machine) => machine,
        Err(failure) => panic!("{failure:?}"),
    }
}

#[test]
fn a_new_log_starts_at_lsn_1_in_segment_1() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    assert_eq!(machine.writer.current_segment(), None);
    let written = machine.append(b"first", &mut model).unwrap();
    assert_eq!(written.lsn(), Lsn(1));
    assert_eq!(written.position, LogPosition { segment: 1, offset: 0 });
    assert_eq!(written.checkpoint.position, LogPosition { segment: 1, offset: 4096 });
}

#[test]
fn positions_are_known_while_the_batch_before_is_in_flight() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut machine = start(&disk, &config, 1, &mut Model::default());
    let mut first = machine.writer.open_batch().unwrap();
    let one = first.append(b"one");
    let write = machine.writer.write(first, Lsn::ZERO, Timestamp(0));
    let mut second = machine.writer.open_batch().unwrap();
    assert_eq!(second.lsn(), Lsn(2));
    second.append(b"skip");
    let two = second.append(b"two");
    assert_eq!(second.payload(), b"skiptwo");
    now_or_never(write).unwrap();
    now_or_never(machine.writer.write(second, Lsn(1), Timestamp(0))).unwrap();
    for (position, expected) in [(one, b"one"), (two, b"two")] {
        let mut bytes = [0; 3];
        machine.writer.reader().read_blocking(position, &mut bytes).unwrap();
        assert_eq!(&bytes, expected);
    }
}

#[test]
fn a_batch_that_was_opened_and_dropped_leaves_no_trace() {
    let (disk, config) = (new_disk(1), config(2, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    for number in 0..5 {
        drop(machine.writer.open_batch());
        machine.append(&payload(number, 5000), &mut model).unwrap();
    }
    start(&disk.crash(1), &config, 2, &mut model);
}

#[test]
fn after_a_failed_sync_the_writer_refuses() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut machine = start(&disk, &config, 1, &mut Model::default());
    let first = machine.writer.open_batch().unwrap();
    disk.inject(Injection::eio(OperationKind::Sync, 1));
    let failed = now_or_never(machine.writer.write(first, Lsn::ZERO, Timestamp(0)));
    assert!(matches!(failed, Err(Fault::Io { errno: libc::EIO, .. })));
    assert!(machine.writer.has_failed());
    let second = machine.writer.open_batch().unwrap();
    let before = disk.operation_count();
    let refused = now_or_never(machine.writer.write(second, Lsn::ZERO, Timestamp(0)));
    assert!(matches!(refused, Err(Fault::ReadOnly(_))));
    assert_eq!(disk.operation_count(), before, "nothing more is written");
}

#[test]
fn a_write_that_is_dropped_before_it_begins_makes_the_writer_refuse() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut machine = start(&disk, &config, 1, &mut Model::default());
    let first = machine.writer.open_batch().unwrap();
    drop(machine.writer.write(first, Lsn::ZERO, Timestamp(0)));
    assert!(machine.writer.has_failed());
    let second = machine.writer.open_batch().unwrap();
    let refused = now_or_never(machine.writer.write(second, Lsn::ZERO, Timestamp(0)));
    assert!(matches!(refused, Err(Fault::ReadOnly(_))));
}

#[test]
fn a_log_without_a_ready_segment_is_full_until_one_is_retired() {
    let (disk, mut config) = (new_disk(1), config(2, 2));
    config.segment_count_max = 3;
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    for number in 0..3 {
        machine.append(&payload(number, 5000), &mut model).unwrap();
    }
    assert!(matches!(machine.append(b"no room", &mut model), Err(Fault::Full)));
    machine.fold(3, &mut model).unwrap();
    machine.append(b"room again", &mut model).unwrap();
    assert_eq!(machine.writer.files().sequences(), [3, 4]);
    start(&disk.crash(1), &config, 2, &mut model);
}

#[test]
fn a_full_disk_delays_segments_and_holds_no_space() {
    let (disk, config) = (new_disk(1), config(4, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    disk.set_capacity(3 * 4 * BLOCK_BYTES as u64 + 8192);
    for number in 0..6 {
        machine.append(&payload(number, 5000), &mut model).unwrap();
    }
    assert!(matches!(machine.append(&payload(6, 5000), &mut model), Err(Fault::Full)));
    assert_eq!(disk.free_bytes(&config.path).unwrap(), 8192);
    disk.set_capacity(u64::MAX);
    machine.append(&payload(6, 5000), &mut model).unwrap();
    start(&disk.crash(1), &config, 2, &mut model);
}

#[test]
fn an_old_batch_at_any_place_of_a_recycled_segment_never_counts() {
    let config = config(8, 8);
    for old_block in 0..8_u32 {
        for tail_block in 0..8_u32 {
            let disk = new_disk(1);
            let mut model = Model::default();
            let mut machine = start(&disk, &config, 1, &mut model);
            // The new tail: one batch per block, in segment 1, which a rename has given its number.
            for number in 0..tail_block {
                machine.append(&payload(u64::from(number), 100), &mut model).unwrap();
            }
            // The old batch has the right LSN and even names the tail, but was written for segment 0.
            let tail = machine.writer.last();
            let old = Checkpoint {
                position: LogPosition { segment: 0, offset: old_block * BLOCK_BYTES as u32 },
                ..tail
            };
            if old_block >= tail_block {
                let header = header_behind(&config, old, b"old", Lsn::ZERO, 1);
                let mut bytes = header.encode().to_vec();
                bytes.extend_from_slice(b"old");
                let place = LogPosition { segment: 1, offset: header.position.offset };
                put_bytes(&disk, &config, place, &bytes);
            }
            let (recovered, payloads) = replay(&disk.restart(), &config, None).unwrap();
            assert_eq!(payloads.len() as u32, tail_block, "old batch in block {old_block}");
            assert_eq!(recovered.tail, tail);
            assert!(recovered.rejected.is_none());
        }
    }
}

#[test]
fn recycled_segments_full_of_old_batches_hide_nothing() {
    let (disk, config) = (new_disk(1), config(8, 4));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    for number in 0..200_u64 {
        let bytes = payload(number, (number as usize * 977) % 12_000);
        let written = machine.append(&bytes, &mut model).unwrap();
        if number % 5 == 4 {
            machine.fold(written.lsn().0, &mut model).unwrap();
        }
        let mut copy = model.clone();
        let (recovered, payloads) = replay(&disk.restart(), &config, model.from).unwrap();
        copy.check(recovered.tail, payloads).unwrap();
    }
    let highest = machine.writer.current_segment().unwrap();
    assert!(highest > 50, "the test is about recycling, and only {highest} segments were used");
    assert!(disk.list(&config.path).unwrap().len() < 10);
}

#[test]
fn the_second_of_two_batches_in_flight_does_not_count_alone() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    machine.append(b"acknowledged", &mut model).unwrap();
    machine.leave_in_flight(&[(b"lost".to_vec(), false), (b"landed".to_vec(), true)], 1, &mut model);
    let (recovered, payloads) = replay(&disk.restart(), &config, None).unwrap();
    assert_eq!(payloads.len(), 1);
    assert_eq!(recovered.tail.lsn, Lsn(1));
}

#[test]
fn after_a_double_crash_the_stale_batch_behind_the_gap_does_not_count() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    machine.append(b"one", &mut model).unwrap();
    machine.leave_in_flight(&[(b"2nd".to_vec(), false), (b"3rd".to_vec(), true)], 1, &mut model);
    // The second life fills the gap with a batch of the same length and dies.
    let disk = disk.restart();
    let mut machine = start(&disk, &config, 2, &mut model);
    machine.append(b"TWO", &mut model).unwrap();
    let (recovered, payloads) = replay(&disk.restart(), &config, None).unwrap();
    assert_eq!(payloads.into_values().collect::<Vec<_>>(), [b"one".to_vec(), b"TWO".to_vec()]);
    assert_eq!(recovered.tail.lsn, Lsn(2));
}

#[test]
fn a_batch_torn_at_any_sector_is_wholly_absent_and_counted() {
    let config = config(8, 4);
    let (disk, mut model) = (new_disk(1), Model::default());
    let mut machine = start(&disk, &config, 1, &mut model);
    machine.append(b"whole", &mut model).unwrap();
    let torn = payload(7, 9000);
    let header = header_behind(&config, machine.writer.last(), &torn, Lsn(1), 1);
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&torn);
    let sectors = bytes.len().div_ceil(512);
    for missing in 0..sectors {
        let disk = disk.restart();
        put(&disk, &config, &header, &torn);
        let hole = LogPosition { offset: header.position.offset + missing as u32 * 512, ..header.position };
        put_bytes(&disk, &config, hole, &[0; 512]);
        let (recovered, payloads) = replay(&disk, &config, None).unwrap();
        assert_eq!(payloads.len(), 1, "sector {missing}");
        // Without its first sector nothing tells that there was a batch.
        let reason = recovered.rejected.as_ref().map(|rejected| rejected.reason);
        assert_eq!(reason, (missing > 0).then_some(Misfit::Payload), "sector {missing}");
        if let Some(rejected) = recovered.rejected {
            let kept = disk.content(&rejected.kept.unwrap()).unwrap();
            assert_eq!(&kept[..128], &bytes[..128], "the rejected bytes are kept aside");
        }
    }
}

#[test]
fn rejected_batches_are_kept_up_to_a_bound() {
    let (mut disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    for life in 0..8 {
        let mut machine = start(&disk, &config, life, &mut model);
        machine.append(b"good", &mut model).unwrap();
        let header = header_behind(&config, machine.writer.last(), b"bad", Lsn(0), life);
        put(&disk, &config, &header, b"BAD");
        disk = disk.restart();
    }
    replay(&disk, &config, None).unwrap();
    let names = disk.list(&config.path).unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("rejected-")).count(), 4);
    assert!(names.iter().any(|name| name.ends_with("09")), "the youngest is there: {names:?}");
}

#[test]
fn a_length_beyond_the_segment_is_refused_before_it_is_read() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    machine.append(b"good", &mut model).unwrap();
    for payload_bytes in [7 * 4096, 20_000_000, format::PAYLOAD_BYTES_MAX as u32] {
        let disk = disk.restart();
        let mut header = header_behind(&config, machine.writer.last(), b"bad", Lsn(1), 1);
        header.payload_bytes = payload_bytes;
        put(&disk, &config, &header, b"bad");
        let (recovered, payloads) = replay(&disk, &config, None).unwrap();
        assert_eq!(payloads.len(), 1);
        assert_eq!(recovered.rejected.map(|rejected| rejected.reason), Some(Misfit::Length));
    }
}

#[test]
fn batches_of_another_shard_or_directory_do_not_count() {
    let mine = config(8, 2);
    let others = [
        LogConfig { shard: ShardId(6), ..mine.clone() },
        LogConfig { directory: DirectoryId([9; 16]), ..mine.clone() },
    ];
    for other in others {
        let (disk, mut model) = (new_disk(1), Model::default());
        let mut machine = start(&disk, &other, 1, &mut model);
        for number in 0..20 {
            machine.append(&payload(number, 3000), &mut model).unwrap();
        }
        let (recovered, payloads) = replay(&disk.restart(), &mine, None).unwrap();
        assert!(payloads.is_empty());
        assert_eq!(recovered.tail, Checkpoint::START);
    }
}

#[test]
fn a_header_inside_a_payload_is_no_witness() {
    let (disk, config) = (new_disk(1), config(16, 8));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    let payload = payload_with_a_header(&config, &machine);
    machine.append(&payload, &mut model).unwrap();
    // The batch rots; what lies in its payload must not be believed.
    disk.flip_bit(&config.segment_path(1), 200, 0);
    let (recovered, payloads) = replay(&disk.restart(), &config, None).unwrap();
    assert!(payloads.is_empty());
    assert_eq!(recovered.rejected.map(|rejected| rejected.reason), Some(Misfit::Payload));
}

#[test]
fn a_planted_header_that_counts_anywhere_is_caught() {
    use crate::planted::{Plant, with};
    let (disk, config) = (new_disk(1), config(16, 8));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    let payload = payload_with_a_header(&config, &machine);
    machine.append(&payload, &mut model).unwrap();
    disk.flip_bit(&config.segment_path(1), 200, 0);
    let fooled = with(Plant::PositionNotChecked, || replay(&disk.restart(), &config, None));
    assert!(matches!(fooled, Err(Fault::Corrupt(_))));
}

/// Someone stores a block of another segment of this very log as an object, so that its header lies on a block boundary.
fn payload_with_a_header(config: &LogConfig, machine: &Machine) -> Vec<u8> {
    let elsewhere =
        Checkpoint { lsn: Lsn(900), header_checksum: 0, position: LogPosition { segment: 77, offset: 4096 } };
    assert_eq!(machine.writer.last(), Checkpoint::START);
    let mut payload = payload(1, BLOCK_BYTES - format::HEADER_BYTES);
    payload.extend_from_slice(&header_behind(config, elsewhere, b"", Lsn(900), 1).encode());
    payload
}

#[test]
fn a_missing_segment_is_a_named_error_where_something_proves_it() {
    let (disk, config) = (new_disk(1), config(4, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    for number in 0..8 {
        machine.append(&payload(number, 5000), &mut model).unwrap();
    }
    let checkpoint = model.checkpoints[&3];
    for segment in 1..=3 {
        let disk = disk.restart();
        disk.remove(&config.segment_path(segment)).unwrap();
        let Err(Fault::Corrupt(what)) = replay(&disk, &config, None) else {
            panic!("segment {segment} is missing and nobody noticed");
        };
        assert!(what.contains("acknowledged"), "{what}");
        if segment == checkpoint.position.segment {
            let Err(Fault::Corrupt(what)) = replay(&disk, &config, Some(checkpoint)) else {
                panic!("the checkpoint's segment is missing and nobody noticed");
            };
            assert!(what.contains("is missing"), "{what}");
        }
    }
}

#[test]
fn a_sound_batch_of_a_newer_format_is_refused_and_not_dropped() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    machine.append(b"old", &mut model).unwrap();
    let header = header_behind(&config, machine.writer.last(), b"new", Lsn(1), 1);
    let mut bytes = header.encode();
    bytes[8] = 2;
    let checksum = hash::crc32c(&bytes[..124]);
    bytes[124..].copy_from_slice(&checksum.to_le_bytes());
    put_bytes(&disk, &config, header.position, &bytes);
    let Err(Fault::Corrupt(what)) = replay(&disk, &config, None) else {
        panic!("the batch was dropped");
    };
    assert!(what.contains("version 2"), "{what}");
}

#[test]
fn what_a_recovery_showed_survives_a_power_cut_right_after_it() {
    // The process is killed between write and sync; its batch is in the page cache only.
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    machine.append(b"one", &mut model).unwrap();
    machine.leave_in_flight(&[(b"two".to_vec(), true)], 1, &mut model);
    let disk = disk.restart();
    let (_, shown) = replay(&disk, &config, None).unwrap();
    assert_eq!(shown.len(), 2);
    for seed in 0..20 {
        let (_, payloads) = replay(&disk.crash(seed), &config, None).unwrap();
        assert_eq!(payloads, shown, "seed {seed}");
    }
}

#[test]
fn a_half_made_segment_is_cleared_away() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let temporary = config.path.join(segment::TEMPORARY_NAME);
    disk.open(&temporary, OpenMode { create: true, write: true, direct: false }).unwrap();
    replay(&disk, &config, None).unwrap();
    assert!(disk.list(&config.path).unwrap().is_empty());
}

#[test]
fn the_callback_sees_positions_times_and_checkpoints() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    let mut machine = start(&disk, &config, 1, &mut model);
    let written: Vec<WrittenBatch> =
        (0..9).map(|number| machine.append(&payload(number, 700), &mut model).unwrap()).collect();
    let mut seen = Vec::new();
    recover(&shared(&disk.restart()), &config, Some(written[2].checkpoint), &mut |batch| {
        assert_eq!(batch.time, Timestamp(batch.lsn.0));
        seen.push((batch.checkpoint, batch.position));
        Ok(())
    })
    .unwrap();
    let behind_header = |batch: &WrittenBatch| {
        let offset = batch.position.offset + format::HEADER_BYTES as u32;
        (batch.checkpoint, LogPosition { offset, ..batch.position })
    };
    assert_eq!(seen, written[3..].iter().map(behind_header).collect::<Vec<_>>());
}

#[test]
fn a_fault_of_the_callback_ends_recovery() {
    let (disk, config) = (new_disk(1), config(8, 2));
    let mut model = Model::default();
    start(&disk, &config, 1, &mut model).append(b"one", &mut model).unwrap();
    let result = recover(&shared(&disk), &config, None, &mut |_| Err(Fault::Closed));
    assert!(matches!(result.err(), Some(Fault::Closed)));
}
