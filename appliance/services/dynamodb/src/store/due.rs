//! What is to happen at a time: items that expire, tokens that are forgotten.
//! Invariant: an item whose expiry attribute is a whole number of seconds has exactly one entry, at that time, in the
//! batch of the item; what else is in the way of expiring it is decided when the entry is due.
//! Leaves to engine/ttl.rs: what is done then.
//!
//! ```text
//! DUE  when ms u64 | kind u8 | rest -> nothing, on the shard of what it names
//!   kind 0, an item expires      rest = table u32 | hash 16 | sort     (its key in ITEMS)
//!   kind 1, a token is forgotten rest = its key in TOKENS
//! ```
//! Numbers are big-endian, so that the order of keys is the order of time.

use store::{Fault, TableId, Timestamp, Tx};

use crate::model::table::Table;
use crate::value::{ItemRef, ValueRef};

/// What is due, by time.
pub const DUE: TableId = TableId(50);

const ITEM: u8 = 0;
const TOKEN: u8 = 1;

/// What an entry names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'k> {
    /// The item with this key in ITEMS expires.
    Item(&'k [u8]),
    /// The token with this key in TOKENS is forgotten.
    Token(&'k [u8]),
}

/// The key of an entry.
#[must_use]
pub fn entry_key(when: Timestamp, entry: Entry<'_>) -> Vec<u8> {
    let (kind, rest) = match entry {
        Entry::Item(rest) => (ITEM, rest),
        Entry::Token(rest) => (TOKEN, rest),
    };
    let mut key = Vec::with_capacity(9 + rest.len());
    key.extend_from_slice(&when.0.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

/// What a key of DUE says. Errors: `Fault::Corrupt`.
pub fn entry_of(key: &[u8]) -> Result<(Timestamp, Entry<'_>), Fault> {
    let Some((when, [kind, rest @ ..])) = key.split_first_chunk::<8>() else {
        return Err(Fault::corrupt(format!("a key of DUE has {} bytes", key.len())));
    };
    let when = Timestamp(u64::from_be_bytes(*when));
    match *kind {
        ITEM => Ok((when, Entry::Item(rest))),
        TOKEN => Ok((when, Entry::Token(rest))),
        kind => Err(Fault::corrupt(format!("a key of DUE has the unknown kind {kind}"))),
    }
}

/// Moves the entry of an item from the time at which it was to expire to the one at which it is to now.
fn move_time(tx: &mut Tx<'_>, item_key: &[u8], old: Option<Timestamp>, new: Option<Timestamp>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        tx.delete(DUE, &entry_key(old, Entry::Item(item_key)));
    }
    if let Some(new) = new {
        tx.put(DUE, &entry_key(new, Entry::Item(item_key)), &[], Vec::new(), false);
    }
}

/// Enters a token that is forgotten at a time.
pub fn enter_token(tx: &mut Tx<'_>, when: Timestamp, token_key: &[u8]) {
    tx.put(DUE, &entry_key(when, Entry::Token(token_key)), &[], Vec::new(), false);
}

/// When an item expires that says so under `attribute`: a number of seconds. What is no whole number says nothing.
#[must_use]
pub fn expiry(item: ItemRef<'_>, attribute: &str) -> Option<Timestamp> {
    match item.get(attribute)? {
        ValueRef::N(number) => time_of_seconds(number.number().to_i64()?),
        _ => None,
    }
}

/// The same of a value of ITEMS. Errors: `Fault::Corrupt`.
pub fn expiry_of_stored(value: &[u8], attribute: &str) -> Result<Option<Timestamp>, Fault> {
    Ok(expiry(ItemRef::new(value)?, attribute))
}

/// Moves the entry of an item with this key in ITEMS from what it said to what it says now.
pub fn move_entry(
    tx: &mut Tx<'_>,
    table: &Table,
    item_key: &[u8],
    old: Option<ItemRef<'_>>,
    new: Option<ItemRef<'_>>,
) {
    let Some(setting) = &table.time_to_live else { return };
    let when = |item: Option<ItemRef<'_>>| expiry(item?, &setting.attribute);
    move_time(tx, item_key, when(old), when(new));
}

/// The time that a number of seconds means, if it is one at which something can be due.
#[must_use]
pub fn time_of_seconds(seconds: i64) -> Option<Timestamp> {
    u64::try_from(seconds).ok()?.checked_mul(1_000).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_are_ordered_by_time() {
        let entries = [
            (Timestamp(5), Entry::Token(b"zz")),
            (Timestamp(256), Entry::Item(b"")),
            (Timestamp(u64::MAX), Entry::Item(b"aa")),
        ];
        let keys: Vec<Vec<u8>> = entries.iter().map(|(when, entry)| entry_key(*when, *entry)).collect();
        assert!(keys.is_sorted());
        for (key, expected) in keys.iter().zip(entries) {
            assert_eq!(entry_of(key).expect("an entry"), expected);
        }
        assert!(entry_of(&keys[0][..8]).is_err());
        assert!(entry_of(&[0, 0, 0, 0, 0, 0, 0, 0, 9]).is_err());
    }

    #[test]
    fn times_that_no_clock_reaches_are_never_due() {
        assert_eq!(time_of_seconds(7), Some(Timestamp(7_000)));
        assert_eq!(time_of_seconds(-1), None);
        assert_eq!(time_of_seconds(i64::MAX), None);
    }
}
