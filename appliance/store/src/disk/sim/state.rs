//! What a simulated disk holds: per file a durable image, a cached one, and the changes between them; the same for names.
//! Invariant: applying all pending changes to the durable image gives the cached one, unless a failed sync lost some.
//! Leaves to sim.rs: failures, counting and the traits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::types::BLOCK_BYTES;

/// The unit that a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// A small random generator whose whole state is its seed.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0. Slightly uneven, which tests do not mind.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A file's identity, which outlives its names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub(super) u64);

/// A change of the disk, as the recording holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// A new, empty file.
    Create {
        /// The file.
        file: FileId,
        /// Its first name.
        path: PathBuf,
    },
    /// A new directory.
    CreateDir {
        /// Its name.
        path: PathBuf,
    },
    /// Another name for a file.
    Rename {
        /// The file.
        file: FileId,
        /// The old name.
        from: PathBuf,
        /// The new name, which another file may have had.
        to: PathBuf,
    },
    /// A name is gone.
    Remove {
        /// The file.
        file: FileId,
        /// The name.
        path: PathBuf,
    },
    /// Names in a directory become durable.
    SyncDir {
        /// The directory.
        path: PathBuf,
    },
    /// Bytes written.
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// What.
        bytes: Box<[u8]>,
    },
    /// A file's length set.
    Truncate {
        /// The file.
        file: FileId,
        /// Its new length.
        length: u64,
    },
    /// Blocks reserved.
    Allocate {
        /// The file.
        file: FileId,
        /// From here.
        offset: u64,
        /// So many bytes.
        length: u64,
    },
    /// Blocks given back.
    Punch {
        /// The file.
        file: FileId,
        /// From here.
        offset: u64,
        /// So many bytes.
        length: u64,
    },
    /// A file's content becomes durable.
    Sync {
        /// The file.
        file: FileId,
    },
    /// Nothing; a test's note.
    Mark(u64),
}

/// What becomes of an unsynced change in a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Kept,
    Dropped,
    /// Of a write, only the first sectors.
    Front(usize),
    /// Of a write, only the sectors behind the first ones.
    Back(usize),
    /// Of a write, sectors drawn with this seed.
    Sectors(u64),
}

#[derive(Clone, Default)]
struct FileState {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Operation>,
    /// A failed sync took changes out of `pending` that `cached` still shows.
    lost: bool,
    /// Whether each block of `cached` occupies disk.
    blocks: Vec<bool>,
    /// The same of `durable`.
    durable_blocks: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    File(FileId),
    Directory,
}

type Names = BTreeMap<PathBuf, Entry>;

/// The whole disk.
#[derive(Clone, Default)]
pub(super) struct State {
    files: BTreeMap<FileId, FileState>,
    names: Names,
    durable_names: Names,
    /// Changes of names since their directories were synced, oldest first.
    pending_names: Vec<Operation>,
    file_count: u64,
}

impl State {
    pub fn next_file(&self) -> FileId {
        FileId(self.file_count)
    }

    pub fn find(&self, path: &Path) -> Option<FileId> {
        match self.names.get(path) {
            Some(Entry::File(file)) => Some(*file),
            Some(Entry::Directory) | None => None,
        }
    }

    pub fn has_dir(&self, path: &Path) -> bool {
        path.parent().is_none() || self.names.get(path) == Some(&Entry::Directory)
    }

    pub fn require_parent(&self, path: &Path) -> io::Result<()> {
        if path.parent().is_some_and(|parent| self.has_dir(parent)) {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }

    pub fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        if !self.has_dir(path) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let inside = self.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect())
    }

    pub fn cached(&self, file: FileId) -> &[u8] {
        &self.files[&file].cached
    }

    /// What a read past the cache gives.
    pub fn medium(&self, file: FileId) -> Cow<'_, [u8]> {
        let file = &self.files[&file];
        if !file.lost {
            return Cow::Borrowed(&file.cached);
        }
        let mut image = file.durable.clone();
        for change in &file.pending {
            change_content(&mut image, change);
        }
        Cow::Owned(image)
    }

    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { file, .. } => {
                self.files.insert(*file, FileState::default());
                self.file_count = self.file_count.max(file.0 + 1);
                self.change_names(operation);
            }
            Operation::CreateDir { .. } | Operation::Rename { .. } | Operation::Remove { .. } => {
                self.change_names(operation);
            }
            Operation::SyncDir { path } => self.sync_dir(path),
            Operation::Write { file, .. }
            | Operation::Truncate { file, .. }
            | Operation::Allocate { file, .. }
            | Operation::Punch { file, .. } => {
                let file = self.files.get_mut(file).expect("a file lives as long as its disk");
                change_content(&mut file.cached, operation);
                change_blocks(&mut file.blocks, operation);
                file.pending.push(operation.clone());
            }
            Operation::Sync { file } => self.sync(*file),
            Operation::Mark(_) => {}
        }
    }

    fn change_names(&mut self, operation: &Operation) {
        change_names(&mut self.names, operation);
        self.pending_names.push(operation.clone());
    }

    fn sync_dir(&mut self, path: &Path) {
        let names = &mut self.durable_names;
        self.pending_names.retain(|operation| {
            let touches = touched_dirs(operation).contains(&Some(path));
            if touches {
                change_names(names, operation);
            }
            !touches
        });
    }

    fn sync(&mut self, file: FileId) {
        let file = self.files.get_mut(&file).expect("a file lives as long as its disk");
        for change in file.pending.drain(..) {
            change_content(&mut file.durable, &change);
            change_blocks(&mut file.durable_blocks, &change);
        }
    }

    /// A failed sync: part of the changes never reach the medium, though the cache goes on to show them.
    pub fn fail_sync(&mut self, file: FileId, random: &mut SplitMix64) {
        let file = self.files.get_mut(&file).expect("a file lives as long as its disk");
        file.pending.retain(|_| !random.one_in(2));
        file.lost = true;
    }

    /// Makes everything durable.
    pub fn settle(&mut self) {
        let files: Vec<FileId> = self.files.keys().copied().collect();
        for file in files {
            self.sync(file);
        }
        self.durable_names = self.names.clone();
        self.pending_names.clear();
    }

    pub fn flip_bit(&mut self, file: FileId, offset: u64, bit: u8) {
        let file = self.files.get_mut(&file).expect("a file lives as long as its disk");
        let offset = usize::try_from(offset).expect("files in memory are small");
        file.cached[offset] ^= 1 << bit;
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    pub fn allocated_bytes(&self) -> u64 {
        let named = self.names.values().filter_map(|entry| match entry {
            Entry::File(file) => Some(*file),
            Entry::Directory => None,
        });
        named.map(|file| self.allocated_bytes_of(file)).sum()
    }

    pub fn allocated_bytes_of(&self, file: FileId) -> u64 {
        let blocks = self.files[&file].blocks.iter().filter(|&&block| block).count();
        (blocks * BLOCK_BYTES) as u64
    }

    pub fn missing_blocks(&self, file: FileId, offset: u64, length: u64) -> u64 {
        let blocks = &self.files[&file].blocks;
        let range = block_range(offset, length, true);
        range.filter(|&block| !blocks.get(block).copied().unwrap_or(false)).count() as u64
    }

    /// Changes that a crash may undo: contents first, then names, in a fixed order.
    pub fn unsynced(&self) -> impl Iterator<Item = &Operation> {
        self.files.values().flat_map(|file| &file.pending).chain(&self.pending_names)
    }

    /// The disk after a crash; `fate` is asked once for each of `unsynced`, in that order.
    pub fn crashed(&self, fate: &mut dyn FnMut(&Operation) -> Fate) -> State {
        let mut files = BTreeMap::new();
        for (&id, file) in &self.files {
            let (mut durable, mut blocks) = (file.durable.clone(), file.durable_blocks.clone());
            for change in &file.pending {
                let fate = fate(change);
                tear(&mut durable, change, fate);
                if fate != Fate::Dropped {
                    // A torn write has the blocks of a whole one, or else it could not be torn.
                    change_blocks(&mut blocks, change);
                }
            }
            blocks.resize(durable.len().div_ceil(BLOCK_BYTES), false);
            let (cached, durable_blocks) = (durable.clone(), blocks.clone());
            let pending = Vec::new();
            files.insert(id, FileState { durable, cached, pending, lost: false, blocks, durable_blocks });
        }
        let mut names = self.durable_names.clone();
        for operation in &self.pending_names {
            if fate(operation) != Fate::Dropped {
                change_names(&mut names, operation);
            }
        }
        drop_orphans(&mut names);
        files.retain(|id, _| names.values().any(|entry| *entry == Entry::File(*id)));
        let durable_names = names.clone();
        State { files, names, durable_names, pending_names: Vec::new(), file_count: self.file_count }
    }
}

/// A crash in which each unsynced change meets a fate of its own.
pub(super) fn crash(state: &State, random: &mut SplitMix64) -> State {
    state.crashed(&mut |operation| match operation {
        Operation::Write { bytes, .. } => {
            let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
            match random.below(8) {
                0..=2 => Fate::Kept,
                3..=4 => Fate::Dropped,
                5 => Fate::Front(random.below(sectors + 1) as usize),
                6 => Fate::Back(random.below(sectors + 1) as usize),
                _ => Fate::Sectors(random.next_u64()),
            }
        }
        _ if random.one_in(2) => Fate::Kept,
        _ => Fate::Dropped,
    })
}

fn tear(image: &mut Vec<u8>, change: &Operation, fate: Fate) {
    let mut random = match fate {
        Fate::Kept => return change_content(image, change),
        Fate::Dropped => return,
        Fate::Sectors(seed) => SplitMix64(seed),
        Fate::Front(_) | Fate::Back(_) => SplitMix64(0),
    };
    let Operation::Write { offset, bytes, .. } = change else { return change_content(image, change) };
    for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
        let kept = match fate {
            Fate::Front(count) => index < count,
            Fate::Back(count) => index >= count,
            Fate::Kept | Fate::Dropped | Fate::Sectors(_) => random.one_in(2),
        };
        if kept {
            put(image, *offset + (index * SECTOR_BYTES) as u64, sector);
        }
    }
}

fn change_content(image: &mut Vec<u8>, change: &Operation) {
    match change {
        Operation::Write { offset, bytes, .. } => put(image, *offset, bytes),
        Operation::Truncate { length, .. } => image.resize(index(*length), 0),
        Operation::Allocate { offset, length, .. } => {
            let end = index(offset + length).max(image.len());
            image.resize(end, 0);
        }
        Operation::Punch { offset, length, .. } => {
            let end = index(offset + length).min(image.len());
            let start = index(*offset).min(end);
            image[start..end].fill(0);
        }
        _ => unreachable!("names have no content"),
    }
}

fn change_blocks(blocks: &mut Vec<bool>, change: &Operation) {
    let (range, value) = match change {
        Operation::Write { offset, bytes, .. } => (block_range(*offset, bytes.len() as u64, true), true),
        Operation::Allocate { offset, length, .. } => (block_range(*offset, *length, true), true),
        Operation::Punch { offset, length, .. } => (block_range(*offset, *length, false), false),
        Operation::Truncate { length, .. } => {
            return blocks.resize(index(*length).div_ceil(BLOCK_BYTES), false);
        }
        _ => unreachable!("names have no blocks"),
    };
    if value && blocks.len() < range.end {
        blocks.resize(range.end, false);
    }
    let end = range.end.min(blocks.len());
    blocks[range.start.min(end)..end].fill(value);
}

/// Blocks that a range touches, or only those that it covers wholly.
fn block_range(offset: u64, length: u64, touched: bool) -> std::ops::Range<usize> {
    let (start, end) = (index(offset), index(offset + length));
    if touched {
        return start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
    }
    let first = start.div_ceil(BLOCK_BYTES);
    first..(end / BLOCK_BYTES).max(first)
}

fn put(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (index(offset), index(offset) + bytes.len());
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files in memory are small")
}

/// Applies a change of names as far as it still makes sense when changes before it were lost.
fn change_names(names: &mut Names, operation: &Operation) {
    match operation {
        Operation::Create { file, path } => {
            names.insert(path.clone(), Entry::File(*file));
        }
        Operation::CreateDir { path } => {
            names.insert(path.clone(), Entry::Directory);
        }
        Operation::Rename { file, from, to } => {
            if names.get(from) == Some(&Entry::File(*file)) {
                names.remove(from);
            }
            names.insert(to.clone(), Entry::File(*file));
        }
        Operation::Remove { file, path } => {
            if names.get(path) == Some(&Entry::File(*file)) {
                names.remove(path);
            }
        }
        _ => unreachable!("contents have no names"),
    }
}

/// What lies in a directory that was lost is lost.
fn drop_orphans(names: &mut Names) {
    let all = names.clone();
    names.retain(|path, _| {
        let dirs = path.ancestors().skip(1).filter(|dir| dir.parent().is_some());
        dirs.into_iter().all(|dir| all.get(dir) == Some(&Entry::Directory))
    });
}

fn touched_dirs(operation: &Operation) -> [Option<&Path>; 2] {
    match operation {
        Operation::Create { path, .. } | Operation::CreateDir { path } | Operation::Remove { path, .. } => {
            [path.parent(), None]
        }
        Operation::Rename { from, to, .. } => [from.parent(), to.parent()],
        _ => [None, None],
    }
}
