//! The LMDB index of one shard: opening it, its read and write transactions, and nothing else.
//! Invariant: it is always opened with full sync; one database per shard; the fold's thread is the only writer. LMDB meets
//! no page that was not sound when the index was opened, and none of its answers counts once a page could not be read.
//! Leaves to pages.rs: judging the file; to sigbus.rs: pages that are lost while the process runs.
#![allow(unsafe_code, reason = "LMDB is opened here: its safety depends on what the file system holds")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use heed::types::Bytes;
use heed::{Database, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};

use crate::body::files::write_fault;
use crate::disk::{Disk, RealDisk};
use crate::fault::Fault;
use crate::filter::KeyFilter;
use crate::pages::{self, Damaged, PAGE_BYTES};
use crate::planted::{self, Plant};
use crate::sigbus::Watched;
use crate::tables::MADE_KEY;

/// A read transaction: one instant of the index. Never held across an await.
pub(crate) type ReadTxn<'e> = RoTxn<'e, WithoutTls>;

/// One shard's LMDB environment and its only database.
pub(crate) struct Index {
    /// Nothing only while an index is being made. Dropped before the map that it watches.
    watched: Option<Watched>,
    /// Entries that did not fit their checksums at the start.
    damaged: Vec<Damaged>,
    /// All keys that are or were there since the start.
    keys: KeyFilter,
    db: Database<'static, Bytes, Bytes>,
    env: heed::Env<WithoutTls>,
    path: PathBuf,
    /// The file itself: for reserving blocks, and a second witness of what became of LMDB's writes.
    file: std::fs::File,
    /// Up to where blocks are reserved.
    reserved_to: AtomicU64,
}

impl Index {
    /// Opens the index in `dir`, which `make` has made, and reads all of it first: LMDB follows whatever its pages say.
    /// `map_bytes` is address space, not disk; `see` is shown every sound entry, key and value, in order.
    /// Errors: `Fault::Corrupt` when a page is not what was written, `Fault::Io` for the operating system's refusals.
    pub(crate) fn open(
        dir: &Path,
        map_bytes: usize,
        readers_max: u32,
        see: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<Index, Fault> {
        let file = dir.join("data.mdb");
        let length = std::fs::metadata(&file).map_err(|error| Fault::io("stat", &file, 0, &error))?.len();
        let keys = KeyFilter::new(length / ENTRY_BYTES_EXPECTED);
        let mut is_sound = |key: &[u8], stored: &[u8]| match split_checksum(key, stored) {
            Some(value) => {
                keys.add(key);
                see(key, value);
                true
            }
            None => false,
        };
        let checked = pages::check(&file, map_bytes as u64, MADE_KEY, &mut is_sound)?;
        let Some(made_page) = checked.page_of_key else {
            return Err(Fault::corrupt(format!("index {} was not made by this store", dir.display())));
        };
        // What the store keeps for itself it cannot do without.
        if let Some(damaged) = checked.damaged.iter().find(|damaged| damaged.may_be_ours()) {
            let key = damaged.found.escape_ascii();
            return Err(Fault::corrupt(format!(
                "index {}: the value of {key} does not fit its checksum",
                dir.display()
            )));
        }
        let mut index = Index::open_unwatched(dir, map_bytes, readers_max)?;
        let start = {
            let txn = index.read()?;
            let made = index.get(&txn, MADE_KEY)?.map(|value| value.as_ptr() as usize);
            // Where the entry lies in the map and in which page of the file: that tells where the map begins.
            made.map(|address| (address & !(PAGE_BYTES - 1)) - made_page as usize * PAGE_BYTES)
        };
        let start = start.ok_or_else(|| Fault::corrupt(format!("index {} is empty", dir.display())))?;
        let watched = Watched::register(&file, start, index.env.info().map_size);
        index.watched = Some(watched.map_err(|error| Fault::io("watch", &file, 0, &error))?);
        index.damaged = checked.damaged;
        if index.damaged.is_empty() {
            // The key of a damaged entry is not known, so that nothing could be said to be absent.
            index.keys = keys;
        }
        Ok(index)
    }

    fn open_unwatched(dir: &Path, map_bytes: usize, readers_max: u32) -> Result<Index, Fault> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_bytes).max_readers(readers_max);
        // SAFETY: NO_READ_AHEAD only changes the advice given for the map (measured: cold p99 18 times better).
        let _: &mut _ = unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
        // SAFETY: the caller holds the data directory's lock, so no other process writes this file, and the store opens
        // each shard once per process, so no second environment maps it.
        let env = unsafe { options.open(dir) }.map_err(|error| fault(dir, "open", error))?;
        if env.max_key_size() < crate::types::KEY_BYTES_MAX + 1 {
            return Err(Fault::corrupt(format!("LMDB takes keys of {} bytes only", env.max_key_size())));
        }
        env.clear_stale_readers().map_err(|error| fault(dir, "clear readers", error))?;
        let wtxn = env.write_txn().map_err(|error| fault(dir, "begin", error))?;
        let opened = env
            .create_databases_and_commit(wtxn, |opener, wtxn| {
                let db = opener.create_database::<Bytes, Bytes>(wtxn, None)?;
                Ok::<_, heed::Error>(heed::CommitOrAbort::<_, ()>::Commit(db))
            })
            .map_err(|error| fault(dir, "create", error))?;
        let heed::CommitOrAbort::Commit(db) = opened else {
            unreachable!("the closure above only commits");
        };
        // SAFETY: only the lifetime changes. The handle is a number that is valid while the environment is open, and the
        // environment lives in the same struct; each use checks that the transaction belongs to that environment.
        let db =
            unsafe { std::mem::transmute::<Database<'_, Bytes, Bytes>, Database<'static, Bytes, Bytes>>(db) };
        let (damaged, keys) = (Vec::new(), KeyFilter::without());
        let file = std::fs::OpenOptions::new().read(true).write(true).open(dir.join("data.mdb"));
        let file = file.map_err(|error| Fault::io("open", &dir.join("data.mdb"), 0, &error))?;
        let (path, reserved_to) = (dir.to_path_buf(), AtomicU64::new(0));
        Ok(Index { watched: None, damaged, keys, db, env, path, file, reserved_to })
    }

    /// Errors: `Fault::Corrupt` when a page of the map could not be read: what LMDB answered since then means nothing.
    pub(crate) fn check_pages(&self) -> Result<(), Fault> {
        match &self.watched {
            Some(watched) if watched.is_bad() => Err(Fault::corrupt(format!(
                "index {}: a page could not be read; a restart reads all of it again",
                self.path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Entries that did not fit their checksums at the start, in words.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = String> {
        self.damaged.iter().map(|damaged| {
            let key = damaged.found.escape_ascii();
            format!("index {}: the value of {key} does not fit its checksum", self.path.display())
        })
    }

    /// Errors: `Fault::Corrupt` when a damaged entry may have been this key's, so that it cannot be said to be missing.
    pub(crate) fn check_absent(&self, key: &[u8]) -> Result<(), Fault> {
        match self.damaged.iter().find(|damaged| damaged.may_be(key)) {
            Some(_) => Err(Fault::corrupt(format!(
                "index {}: a damaged entry lies where {} would be",
                self.path.display(),
                key.escape_ascii()
            ))),
            None => Ok(()),
        }
    }

    /// Makes an empty index, whole or not at all: LMDB's first pages are on the disk only after a first commit, so it gets
    /// its name after that. What a crash left half made is made again; nothing was ever in it.
    /// Errors: `Fault::Io`, and those of `open`.
    pub(crate) fn make(dir: &Path) -> Result<(), Fault> {
        let temporary = dir.with_extension("new");
        let at = |action, path: &Path| {
            let path = path.to_path_buf();
            move |error: std::io::Error| Fault::io(action, &path, 0, &error)
        };
        if temporary.exists() {
            std::fs::remove_dir_all(&temporary).map_err(at("remove", &temporary))?;
        }
        std::fs::create_dir_all(&temporary).map_err(at("mkdir", &temporary))?;
        {
            let index = Index::open_unwatched(&temporary, MAKE_MAP_BYTES, 16)?;
            let mut txn = index.write()?;
            // A commit without a change writes nothing.
            index.put(&mut txn, MADE_KEY, &[])?;
            index.commit(txn)?;
            index.env.force_sync().map_err(|error| fault(&temporary, "fdatasync", error))?;
        }
        let sync =
            |path: &Path| std::fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(at("fsync", path));
        sync(&temporary)?;
        std::fs::rename(&temporary, dir).map_err(at("rename", &temporary))?;
        let above = dir.parent().unwrap_or(Path::new("."));
        sync(above)
    }

    /// Begins a read transaction.
    pub(crate) fn read(&self) -> Result<ReadTxn<'_>, Fault> {
        self.env.read_txn().map_err(|error| fault(&self.path, "begin read", error))
    }

    /// Begins the write transaction. Only the fold's thread calls this after recovery.
    pub(crate) fn write(&self) -> Result<RwTxn<'_>, Fault> {
        self.check_pages()?;
        self.env.write_txn().map_err(|error| fault(&self.path, "begin write", error))
    }

    /// Commits with full sync. A page that gets lost before or during it keeps every later write of it off the file.
    pub(crate) fn commit(&self, txn: RwTxn<'_>) -> Result<(), Fault> {
        self.check_pages()?;
        let committed = txn.commit();
        self.check_pages()?;
        committed.map_err(|error| {
            if self.was_cut_short(&error) { Fault::Full } else { fault(&self.path, "commit", error) }
        })
    }

    /// LMDB says EIO of a write that came to an end before its end, which is what a disk does as it gets full. If a page had
    /// been lost on its way to the disk, a sync would say so here too: each open file hears of it once.
    fn was_cut_short(&self, error: &heed::Error) -> bool {
        let is_io = matches!(error, heed::Error::Io(error) if error.raw_os_error() == Some(libc::EIO));
        is_io
            && self.file.sync_data().is_ok()
            && RealDisk.free_bytes(&self.path).is_ok_and(|free| free < NEARLY_FULL_BYTES)
    }

    /// Keeps room behind the last page, which the next commits take before anything else: on a full disk a fold goes on there.
    /// Errors: `Fault::Full` when the disk has not got so much, `Fault::Io`.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), Fault> {
        let end = self.file_bytes();
        if self.reserved_to.load(Ordering::Relaxed) >= end + bytes {
            return Ok(());
        }
        // In steps, so that not every fold asks the file system.
        let length = bytes + bytes / 2;
        let file = self.path.join("data.mdb");
        crate::disk::reserve(&self.file, end, length)
            .map_err(|error| write_fault("fallocate", &file, end, &error))?;
        self.reserved_to.store(end + length, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes of the file's pages in all.
    pub(crate) fn file_bytes(&self) -> u64 {
        (self.env.info().last_page_number as u64 + 1) * PAGE_BYTES as u64
    }

    /// Bytes of the file that hold nothing: what was deleted leaves them there, and later writes take them first.
    pub(crate) fn free_bytes(&self) -> Result<u64, Fault> {
        let txn = self.read()?;
        let used = self.db.stat(&txn).map_err(|error| fault(&self.path, "stat", error))?;
        self.check_pages()?;
        let pages = used.branch_pages + used.leaf_pages + used.overflow_pages;
        let all = self.env.info().last_page_number + 1;
        // The list of free pages takes some itself, a few for each million.
        Ok(all.saturating_sub(pages + META_PAGE_COUNT) as u64 * u64::from(used.page_size))
    }

    /// The value of a key. Errors: `Fault::Corrupt` when it does not fit its checksum, or a damaged entry may be the key's.
    pub(crate) fn get<'t>(&self, txn: &'t RoTxn<'_>, key: &[u8]) -> Result<Option<&'t [u8]>, Fault> {
        let found = self.db.get(txn, key);
        // Before the value is touched: its length may come from a page that is not there.
        self.check_pages()?;
        match found.map_err(|error| fault(&self.path, "get", error))? {
            Some(stored) => self.check(key, stored).map(Some),
            None => self.check_absent(key).map(|()| None),
        }
    }

    /// As `get`, for an operation that has not found the key in the overlays: a key that was never there costs no walk.
    pub(crate) fn get_if_known<'t>(&self, txn: &'t RoTxn<'_>, key: &[u8]) -> Result<Option<&'t [u8]>, Fault> {
        if self.keys.may_hold(key) {
            return self.get(txn, key);
        }
        debug_assert!(!matches!(self.get(txn, key), Ok(Some(_))), "the filter lost a key of the index");
        self.check_pages().map(|()| None)
    }

    /// Sets the value of a key, with a checksum over both behind it: LMDB's pages have none.
    pub(crate) fn put(&self, txn: &mut RwTxn<'_>, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.check_pages()?;
        if !planted::is(Plant::KeyNotNoted) {
            self.keys.add(key);
        }
        let crc = checksum(key, value);
        self.db
            .put_reserved(txn, key, value.len() + CHECKSUM_BYTES, |space| {
                use std::io::Write as _;
                space.write_all(value)?;
                space.write_all(&crc.to_le_bytes())
            })
            .map_err(|error| fault(&self.path, "put", error))
    }

    /// Takes the checksum off what a walk found. Errors: `Fault::Corrupt` when it does not fit.
    pub(crate) fn check<'t>(&self, key: &[u8], stored: &'t [u8]) -> Result<&'t [u8], Fault> {
        self.check_pages()?;
        split_checksum(key, stored).ok_or_else(|| {
            Fault::corrupt(format!(
                "index {}: the value of a key of {} bytes does not fit its checksum",
                self.path.display(),
                key.len()
            ))
        })
    }

    /// Removes a key if it is there.
    pub(crate) fn delete(&self, txn: &mut RwTxn<'_>, key: &[u8]) -> Result<(), Fault> {
        self.check_pages()?;
        self.db.delete(txn, key).map(|_| ()).map_err(|error| fault(&self.path, "delete", error))
    }

    /// Keys from a bound on, ascending.
    pub(crate) fn range<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        start: std::ops::Bound<&[u8]>,
    ) -> Result<heed::RoRange<'t, Bytes, Bytes>, Fault> {
        let bounds = (start, std::ops::Bound::<&[u8]>::Unbounded);
        self.db.range(txn, &bounds).map_err(|error| fault(&self.path, "seek", error))
    }

    /// Keys from a bound on, descending.
    pub(crate) fn rev_range<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        start: std::ops::Bound<&[u8]>,
    ) -> Result<heed::RoRevRange<'t, Bytes, Bytes>, Fault> {
        let bounds = (std::ops::Bound::<&[u8]>::Unbounded, start);
        self.db.rev_range(txn, &bounds).map_err(|error| fault(&self.path, "seek", error))
    }

    /// An error of LMDB as a fault that names the index.
    pub(crate) fn fault(&self, action: &'static str, error: heed::Error) -> Fault {
        fault(&self.path, action, error)
    }
}

/// A file system with more room than this cuts no write short.
const NEARLY_FULL_BYTES: u64 = 64 << 20;
/// Address space for making an index.
const MAKE_MAP_BYTES: usize = 1 << 20;
/// Bytes of the file for each key: what the filter is sized by at the start. It grows if there are more.
const ENTRY_BYTES_EXPECTED: u64 = 128;
/// Pages at the start of the file, which name the trees.
const META_PAGE_COUNT: usize = 2;
/// Bytes behind each value.
const CHECKSUM_BYTES: usize = 4;

/// The value in front of its checksum, if it fits.
fn split_checksum<'t>(key: &[u8], stored: &'t [u8]) -> Option<&'t [u8]> {
    let (value, crc) = stored.split_last_chunk::<CHECKSUM_BYTES>()?;
    (checksum(key, value) == u32::from_le_bytes(*crc)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut crc = hash::Crc32c::new();
    crc.update(key);
    crc.update(value);
    crc.finish()
}

fn fault(path: &Path, action: &'static str, error: heed::Error) -> Fault {
    match error {
        heed::Error::Io(error) if error.raw_os_error() == Some(libc::ENOSPC) => Fault::Full,
        heed::Error::Io(error) => Fault::io(action, path, 0, &error),
        heed::Error::Mdb(heed::MdbError::MapFull) => Fault::Full,
        other => Fault::corrupt(format!("index {}: {action}: {other}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_longest_length_is_kept_and_survives_a_reopen() {
        let dir = std::env::temp_dir().join(format!("zerocloud-index-{}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&dir));
        Index::make(&dir).expect("makes");
        let key = vec![0xff; crate::types::KEY_BYTES_MAX + 1];
        {
            let index = Index::open(&dir, 1 << 30, 16, &mut |_, _| ()).expect("opens");
            let mut txn = index.write().expect("begins");
            index.put(&mut txn, &key, b"value").expect("puts");
            index.commit(txn).expect("commits");
        }
        let index = Index::open(&dir, 1 << 30, 16, &mut |_, _| ()).expect("opens again");
        let txn = index.read().expect("begins");
        assert_eq!(index.get(&txn, &key).expect("reads"), Some(&b"value"[..]));
        drop(txn);
        drop(index);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
