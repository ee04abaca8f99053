//! What the machine below gives: descriptors, locked memory, file systems, cgroup limits.
//! Invariant: nothing here changes the machine, but for this process's own descriptor limit.
//! Leaves to doctor/: judging what was found. Leaves to serve.rs: refusing to start.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the descriptor limit to the hard limit and returns it; None is "no limit".
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // A refusal leaves the old limit, which is what is returned then.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// Bytes of memory that this process may lock; None is "no limit".
pub fn memlock_bytes() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// The file system below a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSystem {
    /// Its name.
    pub name: &'static str,
    /// What that means for stored data.
    pub kind: FileSystemKind,
}

/// What a file system means for stored data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystemKind {
    /// On a disk of this machine: what the store is made for.
    Local,
    /// In memory: gone with the machine.
    Memory,
    /// A container's own layer: gone with the container.
    Layer,
    /// On another machine or in another process: maps and locks do not hold there.
    Unsafe,
    /// Not known to this program.
    Unknown,
}

/// Magic numbers of statfs(2) and linux/magic.h.
const FILE_SYSTEMS: &[(u64, &str, FileSystemKind)] = &[
    (0xef53, "ext4", FileSystemKind::Local),
    (0x5846_5342, "xfs", FileSystemKind::Local),
    (0x9123_683e, "btrfs", FileSystemKind::Local),
    (0x2fc1_2fc1, "zfs", FileSystemKind::Local),
    (0xf2f5_2010, "f2fs", FileSystemKind::Local),
    (0xca45_1a4e, "bcachefs", FileSystemKind::Local),
    (0x0102_1994, "tmpfs", FileSystemKind::Memory),
    (0x8584_58f6, "ramfs", FileSystemKind::Memory),
    (0x794c_7630, "overlayfs", FileSystemKind::Layer),
    (0x6969, "NFS", FileSystemKind::Unsafe),
    (0x517b, "SMB", FileSystemKind::Unsafe),
    (0xff53_4d42, "CIFS", FileSystemKind::Unsafe),
    (0xfe53_4d42, "SMB2", FileSystemKind::Unsafe),
    (0x0102_1997, "9p", FileSystemKind::Unsafe),
    (0x6573_5546, "FUSE", FileSystemKind::Unsafe),
    (0x00c3_6400, "CephFS", FileSystemKind::Unsafe),
    (0x5346_414f, "AFS", FileSystemKind::Unsafe),
    (0x7375_7245, "Coda", FileSystemKind::Unsafe),
    (0x0bd0_0bd0, "Lustre", FileSystemKind::Unsafe),
    (0x4750_4653, "GPFS", FileSystemKind::Unsafe),
    (0x0116_1970, "GFS2", FileSystemKind::Unsafe),
    (0x7461_636f, "OCFS2", FileSystemKind::Unsafe),
    (0x786f_4256, "vboxsf", FileSystemKind::Unsafe),
    (0xbac_bacbc, "vmhgfs", FileSystemKind::Unsafe),
];

/// Names the file system of a magic number.
pub fn file_system_of(magic: u64) -> FileSystem {
    // The kernel's type is a signed word on some architectures, so only 32 bits mean something.
    let magic = magic & 0xffff_ffff;
    let found = FILE_SYSTEMS.iter().find(|(known, _, _)| *known == magic);
    found.map_or(FileSystem { name: "unknown", kind: FileSystemKind::Unknown }, |(_, name, kind)| {
        FileSystem { name, kind: *kind }
    })
}

/// The file system that holds `path`, or that would hold it once it is made.
pub fn file_system(path: &Path) -> std::io::Result<FileSystem> {
    let statfs = rustix::fs::statfs(existing_ancestor(path))?;
    Ok(file_system_of(statfs.f_type as u64))
}

/// Room on the file system of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files that may still be made; None where the file system has no such bound.
    pub free_inodes: Option<u64>,
}

/// How much room there is below `path`.
pub fn room(path: &Path) -> std::io::Result<Room> {
    room_here(&existing_ancestor(path))
}

/// How much room there is on the file system of `path`, which exists.
pub fn room_here(path: &Path) -> std::io::Result<Room> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Room {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// The nearest directory at or above `path` that exists.
pub fn existing_ancestor(path: &Path) -> PathBuf {
    let mut current = Some(path);
    while let Some(candidate) = current {
        if candidate.as_os_str().is_empty() {
            break;
        }
        if candidate.exists() {
            return candidate.to_path_buf();
        }
        current = candidate.parent();
    }
    PathBuf::from(".")
}

/// The machine's name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Major and minor number of a kernel release.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Limits that the control group of this process sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CgroupLimits {
    /// Thousandths of a core.
    pub cpu_millicores: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// Reads the limits of cgroup v2, then v1; what cannot be read counts as no limit.
pub fn cgroup_limits() -> CgroupLimits {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let own = read("/proc/self/cgroup".into()).unwrap_or_default();
    let v2 = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let root = Path::new("/sys/fs/cgroup");
    let mut limits = CgroupLimits::default();
    // A limit of any ancestor binds, so the smallest on the way up counts.
    let mut group = Some(Path::new(v2.trim_start_matches('/')));
    while let Some(current) = group {
        let directory = root.join(current);
        if let Some(cpu) = read(directory.join("cpu.max")).and_then(|text| parse_cpu_max(&text)) {
            limits.cpu_millicores = Some(limits.cpu_millicores.map_or(cpu, |known| known.min(cpu)));
        }
        if let Some(memory) = read(directory.join("memory.max")).and_then(|text| text.trim().parse().ok()) {
            limits.memory_bytes = Some(limits.memory_bytes.map_or(memory, |known: u64| known.min(memory)));
        }
        group = current.parent();
    }
    if limits.memory_bytes.is_none() {
        let v1 = read(root.join("memory/memory.limit_in_bytes")).and_then(|text| text.trim().parse().ok());
        // Version 1 writes "no limit" as a number near 2^63.
        limits.memory_bytes = v1.filter(|bytes: &u64| *bytes < 1 << 60);
    }
    limits
}

fn parse_cpu_max(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    Some(quota.saturating_mul(1_000) / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        assert_eq!(file_system_of(0xef53).kind, FileSystemKind::Local);
        assert_eq!(file_system_of(0x6969).name, "NFS");
        for magic in [0x6969, 0x6573_5546, 0x0102_1997, 0xffff_ffff_ff53_4d42, 0xfe53_4d42] {
            assert_eq!(file_system_of(magic).kind, FileSystemKind::Unsafe, "{magic:x}");
        }
    }

    #[test]
    fn a_path_that_is_not_there_is_judged_by_its_ancestor() {
        let directory = crate::scratch::Directory::new("ancestor");
        assert_eq!(existing_ancestor(&directory.path().join("a/b/c")), directory.path());
        assert_eq!(existing_ancestor(Path::new("not-there/x")), Path::new("."));
        file_system(&directory.path().join("a/b")).expect("the ancestor has a file system");
    }

    #[test]
    fn kernel_releases_and_cpu_quotas_parse() {
        assert_eq!(kernel_version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(kernel_version("6.1-rc1"), Some((6, 1)));
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1_500));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
    }
}
