//! What an index shows of an item: the key of its entry, and the attributes that it projects.
//! Invariant: an item has an entry in an index exactly if it has every attribute of the index's key, each with its type,
//! not empty and not too long. Writing, filling a new index and reading ask here.
//! Leaves to store/index_key.rs: the bytes of an entry.

use store::TableId;

use crate::model::keys::{Key, typed_bytes};
use crate::model::limits::{HASH_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX};
use crate::model::table::{Index, IndexNumber, KeyAttribute, KeyType, Projected, Table};
use crate::store::hash::hash_all;
use crate::store::index_key::{append_tail, front};
use crate::store::sort_key::append_mid;
use crate::store::{GLOBAL, LOCAL};
use crate::value::{Item, ItemRef, ValueRef};

/// An index of a table, and which kind it is.
#[derive(Clone, Copy)]
pub struct IndexOf<'t> {
    /// The index.
    pub index: &'t Index,
    /// Whether it is a local one.
    pub is_local: bool,
}

impl<'t> IndexOf<'t> {
    /// Finds an index by its number.
    #[must_use]
    pub fn find(table: &'t Table, number: IndexNumber) -> Option<IndexOf<'t>> {
        IndexOf::all(table).find(|found| found.index.number == number)
    }

    /// Every index of a table, local ones first.
    pub fn all(table: &'t Table) -> impl Iterator<Item = IndexOf<'t>> {
        let locals = table.locals.iter().map(|index| IndexOf { index, is_local: true });
        locals.chain(table.globals.iter().map(|index| IndexOf { index, is_local: false }))
    }

    /// Where its entries lie.
    #[must_use]
    pub fn store_table(&self) -> TableId {
        if self.is_local { LOCAL } else { GLOBAL }
    }

    /// The key of the entry of an item, which has `key`. None: the item is not in the index.
    #[must_use]
    pub fn entry_key(&self, table: &Table, key: &Key, item: ItemRef<'_>) -> Option<Vec<u8>> {
        let index = self.index;
        let sort = parts(&index.sort, item, SORT_KEY_BYTES_MAX)?;
        let mut entry = if self.is_local {
            front(table.number, index.number, key.hash())
        } else {
            let hash = parts(&index.hash, item, HASH_KEY_BYTES_MAX)?;
            front(table.number, index.number, hash_all(&table.hash_key, hash.iter().copied()))
        };
        for (kind, bytes) in &sort {
            append_mid(*kind, bytes, &mut entry);
        }
        append_tail(&mut entry, &table.hash_key, (!self.is_local).then(|| key.hash()), key.sort());
        Some(entry)
    }

    /// Whether the index shows an attribute.
    #[must_use]
    pub fn projects(&self, table: &Table, name: &str) -> bool {
        let is_key = || {
            let of_index = self.index.hash.iter().chain(&self.index.sort);
            let of_table = std::iter::once(&table.key.hash).chain(&table.key.sort);
            of_index.chain(of_table).any(|attribute| &*attribute.name == name)
        };
        match &self.index.projected {
            Projected::All => true,
            Projected::KeysOnly => is_key(),
            Projected::Include(names) => names.iter().any(|included| &**included == name) || is_key(),
        }
    }

    /// The attributes of an item that the index shows.
    pub fn shown<'a>(
        &self,
        table: &Table,
        item: ItemRef<'a>,
    ) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> {
        item.iter().filter(move |(name, _)| self.projects(table, name))
    }

    /// The item as the index shows it; None: whole.
    #[must_use]
    pub fn projected(&self, table: &Table, item: ItemRef<'_>) -> Option<Item> {
        match self.index.projected {
            Projected::All => None,
            Projected::KeysOnly | Projected::Include(_) => Some(Item::from_pairs(self.shown(table, item))),
        }
    }

    /// Bytes of what the index shows of an item, names included.
    #[must_use]
    pub fn projected_bytes(&self, table: &Table, item: ItemRef<'_>) -> u32 {
        match self.index.projected {
            Projected::All => item.aws_bytes(),
            Projected::KeysOnly | Projected::Include(_) => {
                self.shown(table, item).map(|(name, value)| name.len() as u32 + value.aws_bytes()).sum()
            }
        }
    }

    /// Whether the index shows the same of two items.
    #[must_use]
    pub fn shows_the_same(&self, table: &Table, old: ItemRef<'_>, new: ItemRef<'_>) -> bool {
        if matches!(self.index.projected, Projected::All) {
            return old.as_bytes() == new.as_bytes();
        }
        let (mut old, mut new) = (self.shown(table, old), self.shown(table, new));
        loop {
            match (old.next(), new.next()) {
                (None, None) => return true,
                (Some((name, value)), Some((other, found))) if name == other && value == found => {}
                _ => return false,
            }
        }
    }
}

/// The values of key attributes in an item; None: one is missing or cannot be in a key.
fn parts<'a>(
    attributes: &[KeyAttribute],
    item: ItemRef<'a>,
    bytes_max: usize,
) -> Option<Vec<(KeyType, &'a [u8])>> {
    let mut parts = Vec::with_capacity(attributes.len());
    let mut all_bytes = 0;
    for attribute in attributes {
        let bytes = typed_bytes(attribute, &item.get(&attribute.name)?).filter(|bytes| !bytes.is_empty())?;
        all_bytes += bytes.len();
        parts.push((attribute.kind, bytes));
    }
    (all_bytes <= bytes_max).then_some(parts)
}
