//! The pages of an LMDB file, read with plain reads and judged without LMDB, which trusts every byte of its map.
//! Invariant: a file that passes has one tree of strictly ascending keys in which each key is found by search, as many
//! as its meta page says, no page is used twice or is both used and free, and nothing points outside a page or the file.
//! Leaves to index.rs: opening the file with LMDB afterwards. A value that does not fit its checksum does not fail the
//! file: it is listed with its neighbours, since the flipped bit may be one of the key's.
//!
//! ```text
//! page      pgno u64 | pad u16 | flags u16 | lower u16 | upper u16 | node offsets u16.. | free | nodes, packed to the end
//!           an overflow page has its count of pages, u32, in the place of lower and upper; only its first page has a head
//! branch    child pgno u48 | key bytes u16 | key          (the first key of a page is not compared)
//! leaf      data bytes u32 | flags u16 | key bytes u16 | key | data, or with BIG_DATA the pgno u64 of its overflow page
//! meta      at 16: magic u32 | version u32 | address u64 | map bytes u64 | free tree 48 | main tree 48 | last page u64 | txn u64
//! tree      pad u32 | flags u16 | depth u16 | branch pages u64 | leaf pages u64 | overflow pages u64 | entries u64 | root u64
//! free list the free tree's values: count u64 | pages u64.., descending
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::fault::Fault;
use crate::tables::FIRST_SERVICE_TABLE;

/// LMDB's page on x86-64: the operating system's.
pub(crate) const PAGE_BYTES: usize = 4096;
/// In front of a page's node offsets.
pub(crate) const HEAD_BYTES: usize = 16;
/// In front of a node's key.
const NODE_HEAD_BYTES: usize = 8;
/// The root of a tree without entries.
pub(crate) const NO_PAGE: u64 = u64::MAX;
/// Where a meta page holds the roots of the free and of the main tree.
pub(crate) const META_ROOTS: [usize; 2] = [META_TREES[0] + 40, META_TREES[1] + 40];
const META_TREES: [usize; 2] = [40, 88];
const META_LAST_PAGE: usize = 136;
const META_TXN: usize = 144;
const META_MAGIC: u32 = 0xbeef_c0de;
/// Pages 0 and 1 are meta pages.
const META_PAGES: u64 = 2;
/// Levels that LMDB's cursors have.
const DEPTH_MAX: u16 = 32;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
const BIG_DATA: u16 = 1;
/// The free tree's keys are integers.
const INTEGER_KEY: u16 = 8;
/// Damaged values listed at most; a file with more is refused.
const DAMAGED_COUNT_MAX: usize = 100;
/// The system is told to read this much ahead of the walk at most.
const READ_AHEAD_BYTES_MAX: u64 = 4 << 30;

/// What a sound file holds.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Where the key lies that was asked for.
    pub(crate) page_of_key: Option<u64>,
    pub(crate) damaged: Vec<Damaged>,
}

/// An entry whose value does not fit its checksum: key or value is not what was written. The order of keys is whole, so
/// the key that was written lies between its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) found: Vec<u8>,
    /// The last sound key before it; empty: none.
    pub(crate) after: Vec<u8>,
    /// The first sound key behind it.
    pub(crate) before: Option<Vec<u8>>,
}

impl Damaged {
    /// Whether the key that was written can have been this one.
    pub(crate) fn may_be(&self, key: &[u8]) -> bool {
        key > self.after.as_slice() && self.before.as_deref().is_none_or(|before| key < before)
    }

    /// Whether it can have been an entry of the store's own tables, which come before the services'.
    pub(crate) fn may_be_ours(&self) -> bool {
        self.after.first().is_none_or(|table| *table < FIRST_SERVICE_TABLE.0)
    }
}

/// Reads every page that the file's newest snapshot reaches. `is_sound` compares a value with its key; `key` is looked for.
/// Errors: `Fault::Corrupt` naming the page, `Fault::Io` where a read fails.
pub(crate) fn check(
    path: &Path,
    map_bytes: u64,
    key: &[u8],
    is_sound: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<Checked, Fault> {
    let file = File::open(path).map_err(|error| Fault::io("open", path, 0, &error))?;
    let file_bytes = file.metadata().map_err(|error| Fault::io("stat", path, 0, &error))?.len();
    crate::disk::read_ahead(&file, file_bytes.min(READ_AHEAD_BYTES_MAX));
    let mut source = Source { file, path, spare: Vec::new() };
    let meta = newest_meta(&mut source)?;
    if meta.last_page >= map_bytes / PAGE_BYTES as u64 {
        return Err(source.corrupt(0, "the last page lies behind the map"));
    }
    let mut walk = Walk {
        source,
        last_page: meta.last_page,
        txn: meta.txn,
        used: vec![0; meta.last_page as usize / 64 + 1],
        entries: 0,
        last_key: Vec::new(),
        overflow: Vec::new(),
        is_sound,
        key,
        checked: Checked::default(),
    };
    walk.tree(Kind::Main, &meta.main)?;
    walk.tree(Kind::Free, &meta.free)?;
    // The file may end before the last page only if what is missing is free.
    for page in file_bytes / PAGE_BYTES as u64..=meta.last_page {
        if !walk.is_used(page) {
            return Err(walk.source.corrupt(page, "the file ends before it, and it is not free"));
        }
    }
    Ok(walk.checked)
}

/// A snapshot that a meta page names.
struct Meta {
    free: Tree,
    main: Tree,
    last_page: u64,
    txn: u64,
}

struct Tree {
    depth: u16,
    entries: u64,
    root: u64,
}

/// As LMDB chooses: the one with the greater transaction.
fn newest_meta(source: &mut Source<'_>) -> Result<Meta, Fault> {
    let mut newest: Option<Meta> = None;
    for number in 0..META_PAGES {
        let page = source.read(number)?;
        let bytes = &page.0[..];
        if u32_at(bytes, HEAD_BYTES) != META_MAGIC || u32_at(bytes, HEAD_BYTES + 4) != 1 {
            return Err(source.corrupt(number, "not a meta page of LMDB"));
        }
        let tree = |at: usize| Tree {
            depth: u16_at(bytes, at + 6),
            entries: u64_at(bytes, at + 32),
            root: u64_at(bytes, at + 40),
        };
        let page_bytes = u32_at(bytes, META_TREES[0]) as usize;
        let flags = META_TREES.map(|at| u16_at(bytes, at + 4));
        if page_bytes != PAGE_BYTES || flags != [INTEGER_KEY, 0] || u32_at(bytes, META_TREES[1]) != 0 {
            return Err(source.corrupt(number, "its trees are not of the kind that the store makes"));
        }
        let meta = Meta {
            free: tree(META_TREES[0]),
            main: tree(META_TREES[1]),
            last_page: u64_at(bytes, META_LAST_PAGE),
            txn: u64_at(bytes, META_TXN),
        };
        source.spare.push(page);
        if newest.as_ref().is_none_or(|newest| meta.txn > newest.txn) {
            newest = Some(meta);
        }
    }
    Ok(newest.expect("the loop above ran"))
}

struct Source<'p> {
    file: File,
    path: &'p Path,
    /// Pages that were read and let go.
    spare: Vec<Page>,
}

impl Source<'_> {
    fn read(&mut self, number: u64) -> Result<Page, Fault> {
        let mut page = self.spare.pop().unwrap_or_else(|| Page(Box::new([0; PAGE_BYTES])));
        self.read_at(number, &mut page.0[..])?;
        Ok(page)
    }

    fn read_at(&self, number: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let offset = number.saturating_mul(PAGE_BYTES as u64);
        self.file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(number, "the file ends before it does"),
            _ => Fault::io("read", self.path, offset, &error),
        })
    }

    fn corrupt(&self, page: u64, what: &str) -> Fault {
        Fault::corrupt(format!("index {} page {page}: {what}", self.path.display()))
    }
}

/// Which of the two trees is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Main,
    Free,
}

impl Kind {
    fn is_before(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Kind::Main => one < other,
            Kind::Free => u64_at(one, 0) < u64_at(other, 0),
        }
    }
}

/// The keys that a page may hold: from the first on, before the second.
#[derive(Clone, Copy)]
struct Bounds<'k> {
    low: Option<&'k [u8]>,
    high: Option<&'k [u8]>,
}

struct Walk<'p> {
    source: Source<'p>,
    last_page: u64,
    txn: u64,
    /// One bit per page that a tree or the free list holds.
    used: Vec<u64>,
    entries: u64,
    /// The last sound key of the main tree.
    last_key: Vec<u8>,
    /// A value of several pages, with the head of the first.
    overflow: Vec<u8>,
    is_sound: &'p mut dyn FnMut(&[u8], &[u8]) -> bool,
    key: &'p [u8],
    checked: Checked,
}

impl Walk<'_> {
    fn tree(&mut self, kind: Kind, tree: &Tree) -> Result<(), Fault> {
        self.entries = 0;
        if tree.root != NO_PAGE {
            if tree.depth == 0 || tree.depth > DEPTH_MAX {
                return Err(self.source.corrupt(tree.root, "the depth of its tree is not possible"));
            }
            self.page(kind, tree.root, tree.depth, Bounds { low: None, high: None })?;
        }
        if self.entries != tree.entries {
            let what = format!("its tree holds {} entries, not {}", self.entries, tree.entries);
            return Err(self.source.corrupt(tree.root, &what));
        }
        Ok(())
    }

    /// A page of a tree and all below it. `depth` is 1 for leaves, so a cycle ends.
    fn page(&mut self, kind: Kind, number: u64, depth: u16, bounds: Bounds<'_>) -> Result<(), Fault> {
        self.take(number, 1)?;
        let page = self.source.read(number)?;
        let wanted = if depth == 1 { LEAF } else { BRANCH };
        let mut slots = [0; PAGE_BYTES / 2];
        let count =
            page.nodes(kind, number, wanted, &mut slots).map_err(|what| self.source.corrupt(number, what))?;
        self.check_order(kind, &page, number, &slots[..count], bounds)?;
        for (place, slot) in slots[..count].iter().enumerate() {
            let node = page.node(*slot);
            if wanted == BRANCH {
                let low = if place == 0 { bounds.low } else { Some(node.key) };
                let high = slots[..count].get(place + 1).map(|next| page.node(*next).key).or(bounds.high);
                self.page(kind, node.child, depth - 1, Bounds { low, high })?;
            } else {
                self.entries += 1;
                match kind {
                    Kind::Main => self.entry(number, &node)?,
                    Kind::Free => self.free_list(number, &node)?,
                }
            }
        }
        self.source.spare.push(page);
        Ok(())
    }

    /// Keys ascend strictly and lie in the page's bounds, so a search for any of them ends here.
    fn check_order(
        &self,
        kind: Kind,
        page: &Page,
        number: u64,
        slots: &[u16],
        bounds: Bounds<'_>,
    ) -> Result<(), Fault> {
        // A branch's first key is not compared by a search.
        let compared = if page.flags() == BRANCH { &slots[1..] } else { slots };
        let mut last = None;
        for slot in compared {
            let key = page.node(*slot).key;
            let fits = match last {
                Some(last) => kind.is_before(last, key),
                None => bounds.low.is_none_or(|low| !kind.is_before(key, low)),
            };
            if !fits {
                return Err(self.source.corrupt(number, "its keys are out of order"));
            }
            last = Some(key);
        }
        match (last, bounds.high) {
            (Some(last), Some(high)) if !kind.is_before(last, high) => {
                Err(self.source.corrupt(number, "its keys reach into the next page's"))
            }
            _ => Ok(()),
        }
    }

    fn entry(&mut self, number: u64, node: &Node<'_>) -> Result<(), Fault> {
        let sound = match node.big_data {
            None => (self.is_sound)(node.key, node.data),
            Some(first) => {
                self.read_overflow(first, node.data_bytes)?;
                (self.is_sound)(node.key, &self.overflow[HEAD_BYTES..HEAD_BYTES + node.data_bytes])
            }
        };
        if !sound {
            if self.checked.damaged.len() == DAMAGED_COUNT_MAX {
                return Err(self.source.corrupt(number, "too many values do not fit their checksums"));
            }
            let (found, after) = (node.key.to_vec(), self.last_key.clone());
            self.checked.damaged.push(Damaged { found, after, before: None });
            return Ok(());
        }
        for damaged in self.checked.damaged.iter_mut().rev().take_while(|damaged| damaged.before.is_none()) {
            damaged.before = Some(node.key.to_vec());
        }
        if node.key == self.key {
            self.checked.page_of_key = Some(number);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(node.key);
        Ok(())
    }

    /// The pages that one transaction set free.
    fn free_list(&mut self, number: u64, node: &Node<'_>) -> Result<(), Fault> {
        if u64_at(node.key, 0) > self.txn {
            return Err(self.source.corrupt(number, "frees pages of a transaction that is to come"));
        }
        let bytes = match node.big_data {
            None => node.data.to_vec(),
            Some(first) => {
                self.read_overflow(first, node.data_bytes)?;
                self.overflow[HEAD_BYTES..HEAD_BYTES + node.data_bytes].to_vec()
            }
        };
        let (numbers, _) = bytes.as_chunks::<8>();
        let Some((count, pages)) = numbers.split_first() else {
            return Err(self.source.corrupt(number, "a free list without its count"));
        };
        let count = u64::from_le_bytes(*count);
        let Some(pages) = usize::try_from(count).ok().and_then(|count| pages.get(..count)) else {
            return Err(self.source.corrupt(number, "a free list is longer than its value"));
        };
        let mut last = NO_PAGE;
        for page in pages.iter().map(|page| u64::from_le_bytes(*page)) {
            if page >= last {
                return Err(self.source.corrupt(number, "a free list is out of order"));
            }
            self.take(page, 1)?;
            last = page;
        }
        Ok(())
    }

    fn read_overflow(&mut self, first: u64, data_bytes: usize) -> Result<(), Fault> {
        let wanted = (HEAD_BYTES + data_bytes).div_ceil(PAGE_BYTES);
        let page = self.source.read(first)?;
        let count = u32_at(&page.0[..], 12);
        let fits = page.number() == first && page.flags() == OVERFLOW && count as usize >= wanted;
        self.source.spare.push(page);
        if !fits {
            return Err(self.source.corrupt(first, "not the overflow page that its node names"));
        }
        self.take(first, u64::from(count))?;
        self.overflow.resize(wanted * PAGE_BYTES, 0);
        self.source.read_at(first, &mut self.overflow)
    }

    /// Notes that pages are used, or free; each is so once.
    fn take(&mut self, first: u64, count: u64) -> Result<(), Fault> {
        let end = first.checked_add(count).filter(|end| first >= META_PAGES && *end <= self.last_page + 1);
        let Some(end) = end else {
            return Err(self.source.corrupt(first, "named, but outside the file's pages"));
        };
        for page in first..end {
            if self.is_used(page) {
                return Err(self.source.corrupt(page, "used twice, or used and free"));
            }
            self.used[page as usize / 64] |= 1 << (page % 64);
        }
        Ok(())
    }

    fn is_used(&self, page: u64) -> bool {
        page < META_PAGES || self.used[page as usize / 64] & 1 << (page % 64) != 0
    }
}

/// The bytes of a page.
struct Page(Box<[u8; PAGE_BYTES]>);

struct Node<'p> {
    key: &'p [u8],
    /// A branch's child.
    child: u64,
    /// A leaf's value, or nothing where it lies in an overflow page.
    data: &'p [u8],
    data_bytes: usize,
    big_data: Option<u64>,
}

impl Page {
    fn number(&self) -> u64 {
        u64_at(&self.0[..], 0)
    }

    fn flags(&self) -> u16 {
        u16_at(&self.0[..], 10)
    }

    /// Checks that every node lies inside the page and that together they fill it; gives their number and places.
    fn nodes(
        &self,
        kind: Kind,
        number: u64,
        wanted: u16,
        slots: &mut [u16; PAGE_BYTES / 2],
    ) -> Result<usize, &'static str> {
        let bytes = &self.0[..];
        let (lower, upper) = (usize::from(u16_at(bytes, 12)), usize::from(u16_at(bytes, 14)));
        if self.number() != number {
            return Err("another page's number is in it");
        }
        if self.flags() != wanted {
            return Err("not the kind of page that its tree has there");
        }
        if lower < HEAD_BYTES || lower % 2 != 0 || lower > upper || upper > PAGE_BYTES {
            return Err("its bounds are not possible");
        }
        let count = (lower - HEAD_BYTES) / 2;
        if count < if wanted == BRANCH && kind == Kind::Main { 2 } else { 1 } {
            return Err("it has too few nodes");
        }
        let mut filled = 0;
        for (place, slot) in slots[..count].iter_mut().enumerate() {
            *slot = u16_at(bytes, HEAD_BYTES + 2 * place);
            let at = usize::from(*slot);
            if at < upper || at % 2 != 0 || at + NODE_HEAD_BYTES > PAGE_BYTES {
                return Err("a node lies outside");
            }
            let (flags, key_bytes) = (u16_at(bytes, at + 4), usize::from(u16_at(bytes, at + 6)));
            let data_bytes = match (wanted, flags) {
                (BRANCH, _) => 0,
                (_, 0) => u32_at(bytes, at) as usize,
                (_, BIG_DATA) => 8,
                _ => return Err("a node is of a kind that the store does not make"),
            };
            let compared = wanted == LEAF || place > 0;
            let fits = match kind {
                Kind::Main => key_bytes > 0,
                Kind::Free => key_bytes == 8,
            };
            if compared && !fits {
                return Err("a key has a length that is not possible");
            }
            let node_bytes = (NODE_HEAD_BYTES + key_bytes + data_bytes).next_multiple_of(2);
            if at + node_bytes > PAGE_BYTES {
                return Err("a node reaches outside");
            }
            filled += node_bytes;
        }
        // Nodes are packed, so those that overlap leave a gap somewhere.
        if filled != PAGE_BYTES - upper { Err("its nodes do not fill it") } else { Ok(count) }
    }

    /// A node at a place that `nodes` has checked.
    fn node(&self, slot: u16) -> Node<'_> {
        let bytes = &self.0[usize::from(slot)..];
        let key_bytes = usize::from(u16_at(bytes, 6));
        let (key, rest) = bytes[NODE_HEAD_BYTES..].split_at(key_bytes);
        let child = u64_at(bytes, 0) & ((1 << 48) - 1);
        let is_leaf = self.flags() == LEAF;
        let data_bytes = if is_leaf { u32_at(bytes, 0) as usize } else { 0 };
        let big_data = (is_leaf && u16_at(bytes, 4) == BIG_DATA).then(|| u64_at(rest, 0));
        let data = if big_data.is_some() { &[][..] } else { &rest[..data_bytes] };
        Node { key, child, data, data_bytes, big_data }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|place| bytes[at + place]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|place| bytes[at + place]))
}

#[cfg(test)]
mod tests;
