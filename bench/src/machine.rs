//! What a report says about where and when it was made: the machine, a directory's disk, the checkout's commit, the date.
//! Invariant: nothing here fails. What the system does not tell is `unknown`, and the report says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::report::json::Machine;

const UNKNOWN: &str = "unknown";

/// The machine, with the disk on which `directory` lies.
pub fn describe(directory: &Path) -> Machine {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let disk = disk(directory);
    Machine {
        processor: field(&processors, "model name").unwrap_or(UNKNOWN).to_owned(),
        cores: processors.lines().filter(|line| line.starts_with("processor")).count() as u64,
        memory_mib: memory_bytes("MemTotal").unwrap_or(0) >> 20,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        file_system: disk.file_system,
        device: disk.device,
        write_cache: disk.write_cache,
    }
}

/// Bytes that wait to be written to disks, of all processes together.
pub fn dirty_bytes() -> Option<u64> {
    Some(memory_bytes("Dirty")? + memory_bytes("Writeback")?)
}

/// How often the disk of `directory` was told to flush its cache, of all programs together.
pub fn flush_count(directory: &Path) -> Option<u64> {
    let block = fs::canonicalize(block_of(directory)?).ok()?;
    // Flushes are counted for whole disks only.
    let disk = if block.join("partition").exists() { block.parent()?.to_owned() } else { block };
    // The kernel's Documentation/block/stat: the 16th field.
    fs::read_to_string(disk.join("stat")).ok()?.split_whitespace().nth(15)?.parse().ok()
}

/// Its device's directory.
fn block_of(directory: &Path) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mount_of(&mounts, &fs::canonicalize(directory).ok()?)?;
    Some(Path::new("/sys/dev/block").join(mount.number))
}

/// The commit of the checkout in the current directory, with `and changes` when the tree is not that commit's.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return UNKNOWN.to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} and changes"),
    }
}

/// A time as RFC 3339 writes it, in UTC and whole seconds.
pub fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

struct Disk {
    file_system: String,
    device: String,
    write_cache: String,
}

fn disk(directory: &Path) -> Disk {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = fs::canonicalize(directory).ok().and_then(|path| mount_of(&mounts, &path));
    let Some(mount) = mount else {
        let unknown = || UNKNOWN.to_owned();
        return Disk { file_system: unknown(), device: unknown(), write_cache: unknown() };
    };
    let block = format!("/sys/dev/block/{}", mount.number);
    // A partition has no queue of its own: its disk is the directory above, once the link is followed.
    let cache = ["queue/write_cache", "../queue/write_cache"]
        .iter()
        .find_map(|end| fs::read_to_string(fs::canonicalize(&block).ok()?.join(end)).ok());
    Disk {
        file_system: mount.file_system,
        device: mount.device,
        write_cache: cache.map_or_else(|| UNKNOWN.to_owned(), |text| text.trim().to_owned()),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    number: String,
    file_system: String,
    device: String,
}

/// proc_pid_mountinfo(5): `36 35 98:0 /root /mount options [fields] - type source options`. Of the mounts above a path the
/// longest is its own, and of equal ones the last, which lies over the others.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (number, point) = (before.next()?.to_owned(), before.nth(1)?.replace("\\040", " "));
        let mut after = after.split(' ');
        let (file_system, device) = (after.next()?.to_owned(), after.next()?.to_owned());
        path.starts_with(&point).then_some((point.len(), Mount { number, file_system, device }))
    };
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, mount)| mount)
}

/// A line of /proc/meminfo.
fn memory_bytes(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some(field(&text, name)?.strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, v)| v.trim())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_know_leap_years() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(at(1_772_323_200), "2026-03-01T00:00:00Z");
    }

    #[test]
    fn the_deepest_and_last_mount_is_a_paths_own() {
        let mounts = "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n\
                      30 22 0:40 / /data rw shared:1 - tmpfs tmpfs rw\n\
                      31 30 254:16 / /data rw shared:2 master:3 - xfs /dev/vdb rw\n\
                      32 22 0:41 / /data2 rw - tmpfs tmpfs rw\n";
        let at = |path: &str| mount_of(mounts, Path::new(path)).expect("the root is above all");
        assert_eq!((at("/data/x").device.as_str(), at("/data/x").number.as_str()), ("/dev/vdb", "254:16"));
        assert_eq!((at("/home").file_system.as_str(), at("/data2").device.as_str()), ("ext4", "tmpfs"));
    }

    #[test]
    fn this_machine_has_cores_memory_and_a_kernel() {
        let machine = describe(Path::new("."));
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty());
        assert!(dirty_bytes().is_some());
    }
}
