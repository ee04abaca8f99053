//! The key of an item: what a request or an item must hold for it, and where the item lies.
//! Invariant: a `Key` is one that the table's shape allows, and its bytes are the key under which the store has the item;
//! two keys of one table are the same item exactly if their bytes are equal, but for a hash that two values share, which
//! whoever reads an item rules out with `check_same`.
//! Leaves to wire/error.rs: the words of a `KeyError`.

use store::{Fault, ShardId, Store};

use super::limits::{HASH_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX};
use super::table::{Index, KeyAttribute, KeyType, Table};
use crate::store::hash::{ItemHash, hash_all, hash_one};
use crate::store::{ITEM_FRONT_BYTES, item_key};
use crate::value::{Item, ItemRef, Kind, Value, ValueRef};

/// The key of an item of a table.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// `table u32 | hash 16 | sort`.
    bytes: Vec<u8>,
    attributes: Item,
}

/// Why something is no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// The attributes are not those of the key, each with its type.
    NoMatch,
    /// The item lacks an attribute of the key.
    Missing(Box<str>),
    /// The item has another type there.
    Mismatch {
        /// The attribute.
        name: Box<str>,
        /// What the key's shape says.
        expected: KeyType,
        /// What the item has.
        actual: Kind,
    },
    /// A string or binary of no bytes.
    Empty {
        /// The attribute.
        name: Box<str>,
        /// Its type.
        kind: KeyType,
    },
    /// The partition key has too many bytes.
    HashTooLong,
    /// The sort key has too many bytes, or several together.
    SortTooLong,
    /// The key of an index has another type in the item.
    IndexMismatch {
        /// The index.
        index: Box<str>,
        /// The attribute.
        name: Box<str>,
        /// What the index's key says.
        expected: KeyType,
        /// What the item has.
        actual: Kind,
    },
    /// The key of an index is a string or binary of no bytes.
    IndexEmpty {
        /// The index.
        index: Box<str>,
        /// The attribute.
        name: Box<str>,
        /// Its type.
        kind: KeyType,
    },
}

impl Key {
    /// The key of a whole item. Errors: everything but `NoMatch` and those of indexes.
    pub fn from_item(table: &Table, item: ItemRef<'_>) -> Result<Key, KeyError> {
        let shape = &table.key;
        let hash = present(&shape.hash, item)?;
        let sort = shape.sort.as_ref().map(|sort| present(sort, item)).transpose()?;
        Key::checked(table, hash, sort)
    }

    /// The key that a request names, which holds nothing else. Errors: `NoMatch`, `Empty`, `HashTooLong`, `SortTooLong`.
    pub fn exact(table: &Table, key: ItemRef<'_>) -> Result<Key, KeyError> {
        let shape = &table.key;
        if key.len() != 1 + usize::from(shape.sort.is_some()) {
            return Err(KeyError::NoMatch);
        }
        let hash = present(&shape.hash, key).map_err(|_| KeyError::NoMatch)?;
        let sort = shape.sort.as_ref().map(|sort| present(sort, key)).transpose();
        Key::checked(table, hash, sort.map_err(|_| KeyError::NoMatch)?)
    }

    /// The key of an item that the store holds. Errors: `Fault::Corrupt`, since it was stored with a key.
    pub fn of_stored(table: &Table, item: ItemRef<'_>) -> Result<Key, Fault> {
        Key::from_item(table, item)
            .map_err(|error| Fault::corrupt(format!("a stored item has no key of its table: {error:?}")))
    }

    fn checked(table: &Table, hash: ValueRef<'_>, sort: Option<ValueRef<'_>>) -> Result<Key, KeyError> {
        let shape = &table.key;
        let hash_bytes = filled(&shape.hash, hash)?;
        let sort_part = shape.sort.as_ref().zip(sort);
        let sort_bytes = match sort_part {
            Some((attribute, value)) => filled(attribute, value)?,
            None => &[],
        };
        if hash_bytes.len() > HASH_KEY_BYTES_MAX {
            return Err(KeyError::HashTooLong);
        }
        if sort_bytes.len() > SORT_KEY_BYTES_MAX {
            return Err(KeyError::SortTooLong);
        }
        let place = hash_one(&table.hash_key, shape.hash.kind, hash_bytes);
        let sort_pair = sort_part.map(|(attribute, value)| (&*attribute.name, value));
        let pairs = std::iter::once((&*shape.hash.name, hash)).chain(sort_pair);
        Ok(Key { bytes: item_key(table.number, place, sort_bytes), attributes: Item::from_pairs(pairs) })
    }

    /// The key under which the store has the item, in ITEMS.
    #[must_use]
    pub fn store_key(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash that places the item.
    #[must_use]
    pub fn hash(&self) -> ItemHash {
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.bytes[4..ITEM_FRONT_BYTES]);
        ItemHash(hash)
    }

    /// The sort key as it ends the store's key; nothing in tables without one.
    #[must_use]
    pub fn sort(&self) -> &[u8] {
        &self.bytes[ITEM_FRONT_BYTES..]
    }

    /// The shard that owns the item.
    #[must_use]
    pub fn shard(&self, store: &Store) -> ShardId {
        self.hash().shard(store)
    }

    /// The key attributes, and nothing else.
    #[must_use]
    pub fn attributes(&self) -> ItemRef<'_> {
        self.attributes.as_ref()
    }

    /// Sees that a stored item has this very key: two partition keys may share a hash.
    /// Errors: `Fault::Corrupt`, so that such an item is never taken for the other.
    pub fn check_same(&self, item: ItemRef<'_>) -> Result<(), Fault> {
        let same = |(name, value): (&str, ValueRef<'_>)| item.get(name).is_some_and(|stored| stored == value);
        match self.attributes().iter().all(same) {
            true => Ok(()),
            false => Err(Fault::corrupt("an item lies under the key of another".into())),
        }
    }
}

/// The type and bytes of a value that can be part of a key: of a number its sortable form.
#[must_use]
pub fn key_bytes<'a>(value: &ValueRef<'a>) -> Option<(KeyType, &'a [u8])> {
    match value {
        ValueRef::S(text) => Some((KeyType::S, text.as_bytes())),
        ValueRef::N(number) => Some((KeyType::N, number.sortable())),
        ValueRef::B(bytes) => Some((KeyType::B, bytes)),
        ValueRef::Null | ValueRef::Bool(_) | ValueRef::Set(_) | ValueRef::L(_) | ValueRef::M(_) => None,
    }
}

/// The bytes of a value if it has the attribute's type.
#[must_use]
pub fn typed_bytes<'a>(attribute: &KeyAttribute, value: &ValueRef<'a>) -> Option<&'a [u8]> {
    key_bytes(value).filter(|(kind, _)| *kind == attribute.kind).map(|(_, bytes)| bytes)
}

/// The hash of a partition key's values, which a request names one by one.
/// Errors: `Mismatch`, `Empty`, `HashTooLong`.
pub fn hash_values(
    table: &Table,
    attributes: &[KeyAttribute],
    values: &[Value],
) -> Result<ItemHash, KeyError> {
    let mut parts = Vec::with_capacity(attributes.len());
    for (attribute, value) in attributes.iter().zip(values) {
        let value = value.as_ref();
        typed(attribute, value)?;
        parts.push((attribute.kind, filled(attribute, value)?));
    }
    if parts.len() != attributes.len() {
        return Err(KeyError::NoMatch);
    }
    if parts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > HASH_KEY_BYTES_MAX {
        return Err(KeyError::HashTooLong);
    }
    Ok(hash_all(&table.hash_key, parts.iter().copied()))
}

/// Sees that every attribute of an item that is part of some index's key can be.
/// Errors: `IndexMismatch`, `IndexEmpty`, `HashTooLong`, `SortTooLong`.
pub fn check_index_keys(table: &Table, item: ItemRef<'_>) -> Result<(), KeyError> {
    for index in table.indexes() {
        let hash_bytes = check_parts(index, &index.hash, item)?;
        let sort_bytes = check_parts(index, &index.sort, item)?;
        if hash_bytes > HASH_KEY_BYTES_MAX {
            return Err(KeyError::HashTooLong);
        }
        if sort_bytes > SORT_KEY_BYTES_MAX {
            return Err(KeyError::SortTooLong);
        }
    }
    Ok(())
}

fn check_parts(index: &Index, attributes: &[KeyAttribute], item: ItemRef<'_>) -> Result<usize, KeyError> {
    let mut all_bytes = 0;
    for attribute in attributes {
        let Some(value) = item.get(&attribute.name) else { continue };
        let Some(bytes) = typed_bytes(attribute, &value) else {
            return Err(KeyError::IndexMismatch {
                index: index.name.clone(),
                name: attribute.name.clone(),
                expected: attribute.kind,
                actual: value.kind(),
            });
        };
        if bytes.is_empty() {
            let (index, name) = (index.name.clone(), attribute.name.clone());
            return Err(KeyError::IndexEmpty { index, name, kind: attribute.kind });
        }
        all_bytes += bytes.len();
    }
    Ok(all_bytes)
}

fn present<'a>(attribute: &KeyAttribute, item: ItemRef<'a>) -> Result<ValueRef<'a>, KeyError> {
    let value = item.get(&attribute.name).ok_or_else(|| KeyError::Missing(attribute.name.clone()))?;
    typed(attribute, value)?;
    Ok(value)
}

fn typed(attribute: &KeyAttribute, value: ValueRef<'_>) -> Result<(), KeyError> {
    match typed_bytes(attribute, &value) {
        Some(_) => Ok(()),
        None => Err(KeyError::Mismatch {
            name: attribute.name.clone(),
            expected: attribute.kind,
            actual: value.kind(),
        }),
    }
}

/// The bytes of a value of the right type, which must be some.
fn filled<'a>(attribute: &KeyAttribute, value: ValueRef<'a>) -> Result<&'a [u8], KeyError> {
    match typed_bytes(attribute, &value) {
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        Some(_) | None => Err(KeyError::Empty { name: attribute.name.clone(), kind: attribute.kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::table::{
        Billing, Epoch, IndexNumber, IndexState, KeyShape, Projected, TableNumber, Throughput,
    };
    use crate::number::Number;
    use store::Timestamp;

    fn attribute(name: &str, kind: KeyType) -> KeyAttribute {
        KeyAttribute { name: name.into(), kind }
    }

    fn table() -> Table {
        let index = Index {
            number: IndexNumber(1),
            name: "i".into(),
            hash: vec![attribute("g", KeyType::S)],
            sort: vec![attribute("h", KeyType::B)],
            projected: Projected::All,
            state: IndexState::Active,
            throughput: Throughput::default(),
            on_demand: None,
            warm: None,
        };
        Table {
            number: TableNumber(9),
            epoch: Epoch(1),
            account: "000000000000".into(),
            name: "t".into(),
            id: "id".into(),
            hash_key: [5; 16],
            created: Timestamp(0),
            key: KeyShape { hash: attribute("pk", KeyType::S), sort: Some(attribute("sk", KeyType::N)) },
            definitions: Vec::new(),
            locals: Vec::new(),
            globals: vec![index],
            next_index: IndexNumber(2),
            billing: Billing::PayPerRequest,
            on_demand_since: None,
            throughput: Throughput::default(),
            throughput_changed: (None, None),
            decrease_count: 0,
            on_demand: None,
            warm: None,
            protected: false,
            class: None,
            encryption: None,
            stream: None,
            time_to_live: None,
            time_to_live_changed: None,
            tags: Vec::new(),
        }
    }

    fn n(number: i64) -> Value {
        Value::n(&Number::from(number))
    }

    fn item(attributes: &[(&str, Value)]) -> Item {
        Item::from_pairs(attributes.iter().map(|(name, value)| (*name, value.as_ref())))
    }

    #[test]
    fn the_key_of_an_item_is_the_key_that_a_request_names() {
        let table = table();
        let whole = item(&[("pk", Value::s("a")), ("sk", n(100)), ("v", n(1))]);
        let named =
            item(&[("sk", Value::n(&Number::parse(b"1e2").expect("a number"))), ("pk", Value::s("a"))]);
        let key = Key::from_item(&table, whole.as_ref()).expect("a key");
        assert!(key == Key::exact(&table, named.as_ref()).expect("a key"));
        assert!(key.store_key().starts_with(&table.number.0.to_be_bytes()));
        assert_eq!(key.hash(), hash_one(&table.hash_key, KeyType::S, b"a"));
        assert_eq!(key.attributes().len(), 2);
        key.check_same(whole.as_ref()).expect("its own item");
        let other = item(&[("pk", Value::s("b")), ("sk", n(100))]);
        assert!(key.check_same(other.as_ref()).is_err());
        assert!(Key::exact(&table, whole.as_ref()).err() == Some(KeyError::NoMatch));
    }

    #[test]
    fn sort_keys_order_the_stores_keys() {
        let table = table();
        let numbers = [-1_000, -1, 0, 1, 2, 10, 99, 100];
        let keys = numbers.map(|number| {
            let item = item(&[("pk", Value::s("a")), ("sk", n(number))]);
            Key::from_item(&table, item.as_ref()).expect("a key").store_key().to_vec()
        });
        assert!(keys.is_sorted());
    }

    #[test]
    fn what_is_no_key_is_refused_for_the_first_reason() {
        let table = table();
        let refused = |attributes: &[(&str, Value)]| {
            Key::from_item(&table, item(attributes).as_ref()).err().expect("is refused")
        };
        let long = "x".repeat(HASH_KEY_BYTES_MAX + 1);
        assert_eq!(refused(&[("pk", Value::s("a"))]), KeyError::Missing("sk".into()));
        let (name, expected, actual) = ("pk".into(), KeyType::S, Kind::N);
        assert_eq!(refused(&[("pk", n(1)), ("sk", n(1))]), KeyError::Mismatch { name, expected, actual });
        let (name, kind) = ("pk".into(), KeyType::S);
        assert_eq!(refused(&[("pk", Value::s("")), ("sk", n(1))]), KeyError::Empty { name, kind });
        assert_eq!(refused(&[("pk", Value::s(&long)), ("sk", n(1))]), KeyError::HashTooLong);
        let exact = |attributes: &[(&str, Value)]| Key::exact(&table, item(attributes).as_ref()).err();
        assert_eq!(exact(&[("pk", n(1)), ("sk", n(1))]), Some(KeyError::NoMatch));
        assert_eq!(exact(&[("pk", Value::s("a")), ("other", n(1))]), Some(KeyError::NoMatch));
    }

    #[test]
    fn keys_of_indexes_have_their_types_and_bounds() {
        let table = table();
        let check = |attributes: &[(&str, Value)]| check_index_keys(&table, item(attributes).as_ref());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("g", Value::s("a")), ("h", Value::b(&[1; SORT_KEY_BYTES_MAX]))]), Ok(()));
        assert_eq!(check(&[("h", Value::b(&[1; SORT_KEY_BYTES_MAX + 1]))]), Err(KeyError::SortTooLong));
        assert!(matches!(check(&[("g", n(1))]), Err(KeyError::IndexMismatch { actual: Kind::N, .. })));
        assert!(matches!(check(&[("h", Value::b(b""))]), Err(KeyError::IndexEmpty { kind: KeyType::B, .. })));
    }

    #[test]
    fn the_hash_of_values_is_the_hash_of_the_key() {
        let table = table();
        let attributes = [attribute("pk", KeyType::S)];
        let hash = hash_values(&table, &attributes, &[Value::s("a")]).expect("a hash");
        assert_eq!(hash, hash_one(&table.hash_key, KeyType::S, b"a"));
        assert!(matches!(hash_values(&table, &attributes, &[n(1)]), Err(KeyError::Mismatch { .. })));
        assert_eq!(hash_values(&table, &attributes, &[]), Err(KeyError::NoMatch));
    }
}
