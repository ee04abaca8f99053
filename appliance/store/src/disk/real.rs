//! The disk as the operating system gives it: files through std for blocking calls, through the reactor for the others.
//! Invariant: what an `Ok` of a sync promises is what fdatasync and fsync promise; nothing is retried or hidden here.
//! Leaves to the callers: alignment where a file is open directly, and to make directory names durable.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ring::Buffer;

use super::{Disk, DiskFile, LocalFuture, OpenMode, syscall};

/// st_blocks counts in this unit, whatever the file system's own is (stat(2)).
const STAT_BLOCK_BYTES: u64 = 512;

/// The machine's file systems.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    /// Errors: of kind `Unsupported` (EOPNOTSUPP) when the file system has no O_DIRECT, else what open(2) says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let flags = if mode.direct { libc::O_DIRECT } else { 0 };
        let mut options = fs::OpenOptions::new();
        options.read(true).write(mode.write || mode.create).create(mode.create).custom_flags(flags);
        let file = options.open(path).map_err(|error| match error.raw_os_error() {
            // open(2): EINVAL where the file system does not support O_DIRECT. Said as such, since "invalid argument" helps nobody.
            Some(libc::EINVAL) if mode.direct => io::Error::from_raw_os_error(libc::EOPNOTSUPP),
            _ => error,
        })?;
        Ok(Arc::new(RealFile { file: ring::File::from_std(file) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // A name that is not UTF-8 is not one of ours; it is listed so that nothing is invisible.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        syscall::free_bytes(path)
    }
}

struct RealFile {
    file: ring::File,
}

impl DiskFile for RealFile {
    fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.as_std().read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_blocking(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.as_std().write_all_at(bytes, offset)
    }

    fn sync_blocking(&self) -> io::Result<()> {
        self.file.as_std().sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        syscall::allocate(self.file.as_std(), offset, length)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        syscall::punch(self.file.as_std(), offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.as_std().set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.as_std().metadata()?.len())
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.file.as_std().metadata()?.blocks() * STAT_BLOCK_BYTES)
    }

    fn read(
        &self,
        buffer: Buffer,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'_, (io::Result<usize>, Buffer)> {
        Box::pin(self.file.read_at(buffer, offset, length))
    }

    fn write(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)> {
        Box::pin(self.file.write_at(buffer, offset))
    }

    fn write_parts(&self, parts: Vec<Bytes>, offset: u64) -> LocalFuture<'_, io::Result<()>> {
        Box::pin(self.file.write_parts_at(parts, offset))
    }

    fn write_sync(&self, buffer: Buffer, offset: u64) -> LocalFuture<'_, (io::Result<()>, Buffer)> {
        Box::pin(self.file.write_at_durable(buffer, offset))
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        Box::pin(self.file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("zerocloud-disk-{name}-{}", std::process::id()));
            // A process of this number that was killed may have left one.
            drop(fs::remove_dir_all(&path));
            fs::create_dir_all(&path).expect("scratch directory");
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("scratch directory is ours");
        }
    }

    const CREATE: OpenMode = OpenMode { create: true, write: true, direct: false };

    #[test]
    fn written_bytes_are_read_and_punched_ones_are_zeros() {
        let scratch = Scratch::new("punch");
        let file = RealDisk.open(&scratch.0.join("file"), CREATE).unwrap();
        file.write_blocking(&[7; 16_384], 0).unwrap();
        file.sync_blocking().unwrap();
        let before = file.allocated_bytes().unwrap();
        file.punch(4096, 8192).unwrap();
        let mut bytes = vec![1; 20_000];
        assert_eq!(file.read_blocking(&mut bytes, 0).unwrap(), 16_384);
        assert!(bytes[..4096].iter().all(|&byte| byte == 7));
        assert!(bytes[4096..12_288].iter().all(|&byte| byte == 0));
        assert!(bytes[12_288..16_384].iter().all(|&byte| byte == 7));
        assert!(file.allocated_bytes().unwrap() < before);
        assert_eq!(file.length().unwrap(), 16_384);
    }

    #[test]
    fn allocation_grows_the_file_and_truncation_shrinks_it() {
        let scratch = Scratch::new("allocate");
        let file = RealDisk.open(&scratch.0.join("file"), CREATE).unwrap();
        file.allocate(0, 1 << 20).unwrap();
        assert_eq!(file.length().unwrap(), 1 << 20);
        assert!(file.allocated_bytes().unwrap() >= 1 << 20);
        file.truncate(4096).unwrap();
        assert_eq!(file.length().unwrap(), 4096);
        assert!(RealDisk.free_bytes(&scratch.0).unwrap() > 0);
    }

    #[test]
    fn names_are_listed_sorted_and_follow_renames() {
        let scratch = Scratch::new("names");
        for name in ["b", "a", "c"] {
            RealDisk.open(&scratch.0.join(name), CREATE).unwrap();
        }
        RealDisk.rename(&scratch.0.join("a"), &scratch.0.join("d")).unwrap();
        RealDisk.remove(&scratch.0.join("b")).unwrap();
        RealDisk.sync_dir(&scratch.0).unwrap();
        assert_eq!(RealDisk.list(&scratch.0).unwrap(), ["c", "d"]);
        let missing = RealDisk.open(&scratch.0.join("b"), OpenMode::default());
        assert_eq!(missing.err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_file_system_without_direct_io_is_reported_as_unsupported() {
        // procfs has no O_DIRECT on any kernel.
        let mode = OpenMode { direct: true, ..OpenMode::default() };
        let error = RealDisk.open(Path::new("/proc/self/status"), mode).err().expect("refused");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}
