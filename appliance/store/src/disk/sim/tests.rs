//! The simulated disk keeps what POSIX promises, and nothing else.

use std::collections::BTreeSet;

use super::*;

const CREATE: OpenMode = OpenMode { create: true, write: true, direct: false };
const DIRECT: OpenMode = OpenMode { create: false, write: false, direct: true };

fn path() -> &'static Path {
    Path::new("/file")
}

/// A disk with one file of zeros, all of it durable.
fn disk_with_file(bytes: usize) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    let file = disk.open(path(), CREATE).unwrap();
    file.write_blocking(&vec![0; bytes], 0).unwrap();
    file.sync_blocking().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

fn read(disk: &SimDisk, mode: OpenMode) -> Vec<u8> {
    let file = disk.open(path(), mode).unwrap();
    let mut buffer = Buffer::with_capacity(8192);
    buffer.resize(8192, 0);
    let count = file.read_blocking(&mut buffer, 0).unwrap();
    buffer[..count].to_vec()
}

#[test]
fn synced_bytes_survive_every_crash() {
    let (disk, file) = disk_with_file(4096);
    file.write_blocking(&[7; 4096], 0).unwrap();
    file.sync_blocking().unwrap();
    for seed in 0..100 {
        assert_eq!(disk.crash(seed).content(path()), Some(vec![7; 4096]), "seed {seed}");
    }
}

#[test]
fn unsynced_bytes_are_kept_lost_or_torn_at_sectors() {
    let (disk, file) = disk_with_file(4096);
    file.write_blocking(&[7; 4096], 0).unwrap();
    let mut kinds = BTreeSet::new();
    for seed in 0..200 {
        let content = disk.crash(seed).content(path()).unwrap();
        for sector in content.chunks(512) {
            assert!(sector.iter().all(|&byte| byte == sector[0]), "seed {seed}: torn inside a sector");
        }
        let new = content.chunks(512).filter(|sector| sector[0] == 7).count();
        kinds.insert(new.min(1) + new / 8);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [0, 1, 2], "none, some and all sectors were seen");
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let (disk, file) = disk_with_file(4096);
    for number in 0..8 {
        file.write_blocking(&[number; 1024], u64::from(number) * 512).unwrap();
    }
    for seed in 0..50 {
        assert_eq!(disk.crash(seed).content(path()), disk.crash(seed).content(path()));
    }
}

#[test]
fn a_new_name_is_safe_only_after_its_directory_was_synced() {
    let disk = SimDisk::new(1);
    let file = disk.open(path(), CREATE).unwrap();
    file.write_blocking(b"bytes", 0).unwrap();
    file.sync_blocking().unwrap();
    let survivors = (0..100).filter(|&seed| disk.crash(seed).content(path()).is_some()).count();
    assert!((1..100).contains(&survivors), "{survivors} of 100");
    disk.sync_dir(Path::new("/")).unwrap();
    assert!((0..100).all(|seed| disk.crash(seed).content(path()).is_some()));
}

#[test]
fn a_rename_happens_wholly_or_not() {
    let (disk, _) = disk_with_file(16);
    let new = Path::new("/new");
    disk.rename(path(), new).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk.crash(seed);
        seen.insert((disk.content(path()).is_some(), disk.content(new).is_some()));
    }
    assert_eq!(seen, BTreeSet::from([(true, false), (false, true)]));
}

#[test]
fn a_lost_directory_takes_its_files_with_it() {
    let disk = SimDisk::new(1);
    let inner = Path::new("/dir/file");
    disk.create_dir(Path::new("/dir")).unwrap();
    disk.open(inner, CREATE).unwrap();
    disk.sync_dir(Path::new("/dir")).unwrap();
    let survivors = (0..100).filter(|&seed| disk.crash(seed).content(inner).is_some()).count();
    assert!((1..100).contains(&survivors), "{survivors} of 100");
}

#[test]
fn after_a_failed_sync_the_cache_shows_more_than_the_medium() {
    let mut differed = false;
    for seed in 0..20 {
        let (disk, file) = disk_with_file(4096);
        disk.sim().random = SplitMix64(seed);
        file.write_blocking(&[7; 4096], 0).unwrap();
        disk.inject(Injection::eio(OperationKind::Sync, 1));
        assert!(file.sync_blocking().is_err());
        // The kernel reports the error once; the next sync "succeeds" and promises nothing about those pages.
        file.sync_blocking().unwrap();
        assert_eq!(read(&disk, OpenMode::default()), vec![7; 4096]);
        let medium = read(&disk, DIRECT);
        assert_eq!(disk.crash(1).content(path()), Some(medium.clone()), "seed {seed}");
        differed |= medium != vec![7; 4096];
    }
    assert!(differed, "no failed sync lost anything");
}

#[test]
fn direct_reads_demand_alignment() {
    let (disk, _) = disk_with_file(8192);
    let file = disk.open(path(), DIRECT).unwrap();
    let mut buffer = Buffer::with_capacity(8192);
    buffer.resize(8192, 0);
    assert_eq!(file.read_blocking(&mut buffer, 0).unwrap(), 8192);
    for (range, offset) in [(0..4095, 0), (0..4096, 512), (512..4608, 0)] {
        let error = file.read_blocking(&mut buffer[range], offset).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}

#[test]
fn the_nth_operation_of_a_kind_fails_and_the_next_one_works() {
    let (disk, file) = disk_with_file(4096);
    disk.inject(Injection { errno: libc::ENOSPC, ..Injection::eio(OperationKind::Write, 2) });
    file.write_blocking(&[1; 512], 0).unwrap();
    let error = file.write_blocking(&[2; 512], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    file.write_blocking(&[3; 512], 512).unwrap();
    assert_eq!(&disk.content(path()).unwrap()[..1024], [[1; 512], [3; 512]].concat());
}

#[test]
fn a_short_write_leaves_a_front_part_behind() {
    let mut lengths = BTreeSet::new();
    for seed in 0..50 {
        let (disk, file) = disk_with_file(4096);
        disk.sim().random = SplitMix64(seed);
        disk.inject(Injection { short: true, ..Injection::eio(OperationKind::Write, 1) });
        assert!(file.write_blocking(&[7; 4096], 0).is_err());
        let content = disk.content(path()).unwrap();
        let kept = content.iter().take_while(|&&byte| byte == 7).count();
        assert!(content[kept..].iter().all(|&byte| byte == 0) && kept < 4096);
        lengths.insert(kept);
    }
    assert!(lengths.len() > 3, "{lengths:?}");
}

#[test]
fn without_power_nothing_changes() {
    let (disk, file) = disk_with_file(512);
    disk.cut_power_after(1);
    file.write_blocking(&[1; 512], 0).unwrap();
    assert!(file.write_blocking(&[2; 512], 0).is_err());
    assert!(file.sync_blocking().is_err());
    assert!(disk.rename(path(), Path::new("/other")).is_err());
    assert_eq!(disk.content(path()), Some(vec![1; 512]));
    let sectors: BTreeSet<u8> = (0..50).map(|seed| disk.crash(seed).content(path()).unwrap()[0]).collect();
    assert_eq!(sectors, BTreeSet::from([0, 1]), "the write before the cut was never synced");
}

#[test]
fn a_full_disk_refuses_new_blocks_and_takes_old_ones() {
    let (disk, file) = disk_with_file(4096);
    disk.set_capacity(8192);
    assert_eq!(disk.free_bytes(path()).unwrap(), 4096);
    file.write_blocking(&[1; 4096], 4096).unwrap();
    let full = file.write_blocking(&[1; 4096], 8192).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.allocate(8192, 4096).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_blocking(&[2; 4096], 0).unwrap();
    file.punch(0, 4096).unwrap();
    assert_eq!(file.allocated_bytes().unwrap(), 4096);
    file.write_blocking(&[1; 4096], 8192).unwrap();
    assert_eq!(disk.content(path()).unwrap()[..4096], [0; 4096]);
}

#[test]
fn crash_states_are_all_those_of_a_small_recording() {
    let (disk, file) = disk_with_file(1024);
    disk.record();
    file.write_blocking(&[1; 1024], 0).unwrap();
    file.sync_blocking().unwrap();
    disk.mark(1);
    file.write_blocking(&[2; 512], 0).unwrap();
    file.write_blocking(&[3; 512], 512).unwrap();
    let mut seen = BTreeSet::new();
    for state in CrashStates::new(&disk, 1) {
        let content = state.disk.content(path()).unwrap();
        let sectors = (content[0], content[512]);
        // Zeros are possible only before the mark.
        assert!(state.marks.is_empty() || (sectors.0 != 0 && sectors.1 != 0), "{}", state.what);
        seen.insert(sectors);
    }
    let expected = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 3), (2, 1), (2, 3)];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn a_flipped_bit_and_an_unreadable_range_are_met_by_readers() {
    let (disk, _) = disk_with_file(4096);
    disk.flip_bit(path(), 100, 3);
    assert_eq!(read(&disk, OpenMode::default())[100], 8);
    assert_eq!(read(&disk, DIRECT)[100], 8);
    disk.make_unreadable(path(), 4000, 10);
    let file = disk.open(path(), OpenMode::default()).unwrap();
    assert_eq!(file.read_blocking(&mut [0; 4000], 0).unwrap(), 4000);
    assert_eq!(file.read_blocking(&mut [0; 4001], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
}
