//! The data directory's own files: `FORMAT`, which says what lies there, and `lock`, which says who uses it.
//! `COMPLETE`, which is empty, says that every shard was made once.
//! Invariant: FORMAT appears whole or not at all, and names a layout that this binary knows or is refused.
//!
//! ```text
//! zerocloud data directory
//! layout 1
//! directory 32 hex digits
//! shards 2
//! crc 8 hex digits: CRC32C of all lines before
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::SHARD_COUNT_MAX;
use crate::disk::{Disk, OpenMode, replace};
use crate::fault::Fault;
use crate::types::DirectoryId;

/// The layout that this binary writes.
pub const LAYOUT_VERSION: u32 = 1;
const FIRST_LINE: &str = "zerocloud data directory";
/// What a data directory is known by.
pub const FORMAT_NAME: &str = "FORMAT";
const COMPLETE_NAME: &str = "COMPLETE";
const FORMAT_TEMPORARY: &str = "FORMAT.new";
/// FORMAT is shorter than this.
const FORMAT_BYTES_MAX: usize = 4096;
/// Of what a lock says of its holder: a process id and the end of a line are less.
const HOLDER_BYTES_MAX: u64 = 64;

/// Why a data directory cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process uses it; its process id where known.
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The directory holds other things.
    Foreign(PathBuf),
    /// A later binary wrote it.
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its layout.
        layout: u32,
    },
    /// Something below failed.
    Fault(Fault),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> OpenError {
        OpenError::Fault(fault)
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Locked { path, holder } => {
                write!(f, "data directory {} is in use by process {holder}; stop it first", path.display())
            }
            OpenError::Foreign(path) => write!(
                f,
                "{} is not a zerocloud data directory and not empty; name another with --data",
                path.display()
            ),
            OpenError::Newer { path, layout } => write!(
                f,
                "data directory {} has layout {layout}, this binary knows up to {LAYOUT_VERSION}; use a newer binary",
                path.display()
            ),
            OpenError::Fault(fault) => write!(f, "data directory cannot be opened: {fault}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Held while the process uses the data directory.
pub struct DataLock {
    file: File,
    /// What it held before: nothing where the holder before ended by itself.
    former: Vec<u8>,
    is_ended: AtomicBool,
}

impl DataLock {
    /// Takes the lock. Errors: `OpenError::Locked` with the holder's process id.
    pub fn take(data: &Path) -> Result<DataLock, OpenError> {
        let path = data.join("lock");
        let io = |action, error: std::io::Error| OpenError::Fault(Fault::io(action, &path, 0, &error));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| io("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The id helps; without it the message still says what is wrong.
                let _read: std::io::Result<usize> = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
                return Err(OpenError::Locked { path: data.to_path_buf(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", error)),
        }
        let mut former = Vec::new();
        (&file).take(HOLDER_BYTES_MAX).read_to_end(&mut former).map_err(|error| io("read", error))?;
        let holder = format!("{}\n", std::process::id());
        write_whole(&file, holder.as_bytes());
        Ok(DataLock { file, former, is_ended: AtomicBool::new(false) })
    }

    /// Whether the holder before was cut off: killed, or without power.
    #[must_use]
    pub fn was_cut_off(&self) -> bool {
        !self.former.is_empty()
    }

    /// The holder ends by itself, now: whatever happens after this, the next one is not told that it was cut off.
    pub fn end(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
        write_whole(&self.file, &[]);
        // Nobody is hurt by a wrong word about how a run ended.
        let _synced: std::io::Result<()> = self.file.sync_data();
    }

    /// The process ends before it has done anything: the next holder finds what this one found. Waits for no disk.
    pub fn give_up(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
        write_whole(&self.file, &self.former);
    }
}

impl Drop for DataLock {
    /// Without `end` the next holder finds what this one found.
    fn drop(&mut self) {
        if !self.is_ended.load(Ordering::Relaxed) {
            self.give_up();
        }
    }
}

/// Writes what the lock's file holds. Nobody is hurt by a wrong word about how a run ended, and on a full disk there may be no room
/// for it: the lock holds without.
fn write_whole(mut file: &File, text: &[u8]) {
    let mut write = || {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text)
    };
    let _written: std::io::Result<()> = write();
}

/// What FORMAT says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// The directory's identity.
    pub directory: DirectoryId,
    /// Its number of shards.
    pub shard_count: u16,
}

impl Format {
    /// Reads FORMAT. `Ok(None)`: the directory is new. Errors: `Foreign`, `Newer`, and faults.
    pub fn read(disk: &Arc<dyn Disk>, data: &Path) -> Result<Option<Format>, OpenError> {
        let names = disk.list(data).map_err(|error| Fault::io("list", data, 0, &error))?;
        if !names.iter().any(|name| name == FORMAT_NAME) {
            // What the first start leaves behind when it is killed before FORMAT is there, and what a fresh ext4 has.
            let ours = |name: &String| ["lock", FORMAT_TEMPORARY, "lost+found"].contains(&name.as_str());
            return if names.iter().all(ours) {
                Ok(None)
            } else {
                Err(OpenError::Foreign(data.to_path_buf()))
            };
        }
        let path = data.join(FORMAT_NAME);
        let mode = OpenMode { create: false, write: false, direct: false };
        let file = disk.open(&path, mode).map_err(|error| Fault::io("open", &path, 0, &error))?;
        let mut bytes = vec![0; FORMAT_BYTES_MAX];
        let count = file.read_blocking(&mut bytes, 0).map_err(|error| Fault::io("read", &path, 0, &error))?;
        parse(&bytes[..count], data).map(Some)
    }

    /// Writes FORMAT so that it is there whole or not at all.
    pub fn write(&self, disk: &Arc<dyn Disk>, data: &Path) -> Result<(), Fault> {
        replace(&**disk, &data.join(FORMAT_NAME), self.text().as_bytes())
    }

    pub(crate) fn text(&self) -> String {
        let hex: String = self.directory.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let text =
            format!("{FIRST_LINE}\nlayout {LAYOUT_VERSION}\ndirectory {hex}\nshards {}\n", self.shard_count);
        format!("{text}crc {:08x}\n", hash::crc32c(text.as_bytes()))
    }
}

/// Whether every shard was made: from then on one that is missing was lost, and an empty one may not take its place.
pub(crate) fn is_complete(disk: &Arc<dyn Disk>, data: &Path) -> Result<bool, Fault> {
    let names = disk.list(data).map_err(|error| Fault::io("list", data, 0, &error))?;
    Ok(names.iter().any(|name| name == COMPLETE_NAME))
}

/// Notes that every shard was made. Their names are durable.
pub(crate) fn write_complete(disk: &Arc<dyn Disk>, data: &Path) -> Result<(), Fault> {
    let path = data.join(COMPLETE_NAME);
    let mode = OpenMode { create: true, write: true, direct: false };
    disk.open(&path, mode).map_err(|error| Fault::io("create", &path, 0, &error))?;
    disk.sync_dir(data).map_err(|error| Fault::io("fsync", data, 0, &error))
}

pub(crate) fn parse(bytes: &[u8], data: &Path) -> Result<Format, OpenError> {
    let damaged = || {
        let path = data.join(FORMAT_NAME);
        OpenError::Fault(Fault::corrupt(format!("{} is damaged; restore it from a backup", path.display())))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let (covered, crc) = text.split_at(text.rfind("crc ").ok_or_else(damaged)?);
    if crc != format!("crc {:08x}\n", hash::crc32c(covered.as_bytes())) {
        return Err(damaged());
    }
    let mut lines = covered.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(damaged());
    }
    let mut field = |name: &str| -> Option<String> {
        let (key, value) = lines.next()?.split_once(' ')?;
        (key == name).then(|| value.to_owned())
    };
    let layout: u32 = field("layout").and_then(|value| value.parse().ok()).ok_or_else(damaged)?;
    if layout > LAYOUT_VERSION {
        return Err(OpenError::Newer { path: data.to_path_buf(), layout });
    }
    let hex = field("directory").filter(|hex| hex.len() == 32 && hex.is_ascii()).ok_or_else(damaged)?;
    let mut directory = [0; 16];
    for (place, byte) in directory.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).map_err(|_| damaged())?;
    }
    let shard_count: u16 = field("shards").and_then(|value| value.parse().ok()).ok_or_else(damaged)?;
    if shard_count == 0 || shard_count > SHARD_COUNT_MAX || layout == 0 {
        return Err(damaged());
    }
    Ok(Format { directory: DirectoryId(directory), shard_count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_fresh_file_system_is_new_and_anything_else_is_foreign() {
        let data = std::env::temp_dir().join(format!("zerocloud-format-{}", std::process::id()));
        std::fs::create_dir_all(data.join("lost+found")).expect("made");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        assert!(matches!(Format::read(&disk, &data), Ok(None)));
        std::fs::write(data.join("thesis.tex"), "").expect("written");
        assert!(matches!(Format::read(&disk, &data), Err(OpenError::Foreign(_))));
        std::fs::remove_dir_all(&data).expect("removed");
    }

    #[test]
    fn a_lock_says_whether_the_holder_before_was_cut_off() {
        let data = std::env::temp_dir().join(format!("zerocloud-lock-{}", std::process::id()));
        std::fs::create_dir_all(&data).expect("made");
        let take = || DataLock::take(&data).expect("nobody holds it");
        let lock = take();
        assert!(!lock.was_cut_off(), "there was none");
        assert!(matches!(DataLock::take(&data), Err(OpenError::Locked { .. })));
        lock.end();
        drop(lock);
        let mut lock = take();
        assert!(!lock.was_cut_off());
        // What a kill leaves: the holder's text, and nobody who holds the lock.
        lock.former = b"1\n".to_vec();
        drop(lock);
        drop(take());
        let lock = take();
        assert!(lock.was_cut_off(), "a holder that gave up changes nothing");
        lock.end();
        drop(lock);
        assert!(!take().was_cut_off());
        std::fs::remove_dir_all(&data).expect("removed");
    }

    #[test]
    fn of_a_lock_that_holds_what_is_not_ours_little_is_read() {
        let data = std::env::temp_dir().join(format!("zerocloud-lock-long-{}", std::process::id()));
        std::fs::create_dir_all(&data).expect("made");
        std::fs::write(data.join("lock"), vec![b'1'; 1 << 20]).expect("written");
        let other = File::open(data.join("lock")).expect("opens");
        other.try_lock().expect("nobody holds it");
        match DataLock::take(&data) {
            Err(OpenError::Locked { holder, .. }) => assert_eq!(holder.len() as u64, HOLDER_BYTES_MAX),
            _ => panic!("somebody else holds it"),
        }
        drop(other);
        let lock = DataLock::take(&data).expect("nobody holds it");
        assert_eq!(lock.former.len() as u64, HOLDER_BYTES_MAX);
        assert!(lock.was_cut_off());
        lock.end();
        std::fs::remove_dir_all(&data).expect("removed");
    }

    #[test]
    fn every_flip_of_a_bit_in_format_is_noticed() {
        let format = Format { directory: DirectoryId([0xa5; 16]), shard_count: 2 };
        let text = format.text();
        let data = Path::new("/data");
        assert_eq!(parse(text.as_bytes(), data).expect("parses"), format);
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone().into_bytes();
                damaged[position] ^= 1 << bit;
                assert!(parse(&damaged, data).is_err(), "byte {position} bit {bit}");
            }
        }
    }
}
