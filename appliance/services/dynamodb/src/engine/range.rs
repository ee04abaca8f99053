//! Which keys of the store a Query or Scan walks, and where in them a start key stands.
//! Invariant: the range holds exactly the keys of the items, or entries, that the key condition and the segment admit.
//! Leaves to walk.rs: the walk. To expression: what a key condition says.

use plan::Context;
use store::ShardId;

use super::entry::IndexOf;
use super::walk::Walk;
use crate::expression::{KeyTest, SortTest};
use crate::model::keys::{Key, KeyError, hash_values, typed_bytes};
use crate::model::limits::SORT_KEY_BYTES_MAX;
use crate::model::table::{KeyAttribute, KeyType, Table};
use crate::store::hash::ItemHash;
use crate::store::index_key::front;
use crate::store::sort_key::append_mid;
use crate::store::{ITEMS, item_key, successor};
use crate::value::{Item, ItemRef, Value};

/// What is asked for.
pub enum Range {
    /// The items of one partition key, those that pass the test of the sort key.
    Query(KeyTest),
    /// All items, or those of one of several segments: its number and how many there are.
    Scan {
        /// Segment and number of segments.
        segment: Option<(u32, u32)>,
    },
}

/// Why an ExclusiveStartKey is none for this request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// It has not as many attributes as the key has.
    Size,
    /// An attribute is not one of the key, or has another type, or no or too many bytes.
    NoMatch,
    /// It has another partition key than the query.
    OutsideQuery,
    /// The test of the sort key does not admit it.
    OutsideSort,
    /// It lies in another segment: that of the request, and how many there are.
    OutsideSegment(u32, u32),
}

/// Begins the walk of a request. Errors: `KeyError` when a value of the condition cannot be in a key.
pub fn walk(
    cx: &Context<'_>,
    table: &Table,
    index: Option<IndexOf<'_>>,
    range: &Range,
    is_forward: bool,
) -> Result<Walk, KeyError> {
    let store_table = index.map_or(ITEMS, |index| index.store_table());
    match range {
        Range::Query(test) => {
            let (hash, low, high) = query_range(table, index, test)?;
            let is_global = index.is_some_and(|index| !index.is_local);
            if is_global {
                let shards = cx.store.shards();
                return Ok(Walk::in_turn(store_table, low, high, is_forward, shards).merged());
            }
            Ok(Walk::in_turn(store_table, low, high, is_forward, [hash.shard(cx.store)]))
        }
        Range::Scan { segment } => {
            let mut whole = table.number.0.to_be_bytes().to_vec();
            if let Some(index) = index {
                whole.extend_from_slice(&index.index.number.0.to_be_bytes());
            }
            let (low_hash, high_hash) = segment_hashes(*segment);
            let low = [whole.as_slice(), &low_hash.to_be_bytes()].concat();
            let high = match high_hash {
                Some(high) => Some([whole.as_slice(), &high.to_be_bytes()].concat()),
                None => successor(&whole),
            };
            // Items lie on the shards of their hashes; the entries of an index lie with their items, so on any shard.
            let slot = |top: u64| cx.store.shard_of_slot((top >> 52) as u16);
            let (first, last) = match index {
                None => (slot(low_hash), slot(high_hash.map_or(u64::MAX, |high| high.saturating_sub(1)))),
                Some(_) => (ShardId(0), ShardId(u16::MAX)),
            };
            let shards = cx.store.shards().filter(|shard| (first..=last).contains(shard));
            Ok(Walk::in_turn(store_table, low, high, true, shards))
        }
    }
}

/// Puts a walk behind a start key. Errors: see `StartError`.
pub fn start_behind(
    cx: &Context<'_>,
    table: &Table,
    index: Option<IndexOf<'_>>,
    range: &Range,
    start: ItemRef<'_>,
    walk: &mut Walk,
) -> Result<(), StartError> {
    if start.len() != key_names(table, index).len() {
        return Err(StartError::Size);
    }
    let key = Key::from_item(table, start).map_err(|_| StartError::NoMatch)?;
    let place = match index {
        None => key.store_key().to_vec(),
        Some(index) => index.entry_key(table, &key, start).ok_or(StartError::NoMatch)?,
    };
    if !walk.contains(&place) {
        return Err(match range {
            Range::Scan { segment: Some((segment, count)) } => StartError::OutsideSegment(*segment, *count),
            Range::Scan { segment: None } => StartError::NoMatch,
            Range::Query(test) => match query_front(table, index, test) {
                Ok((_, front)) if place.starts_with(&front) => StartError::OutsideSort,
                Ok(_) | Err(_) => StartError::OutsideQuery,
            },
        });
    }
    walk.start_behind(key.shard(cx.store), &place);
    Ok(())
}

/// The attributes that say where a walk is: the table's key, and the index's.
#[must_use]
pub fn place_of(table: &Table, index: Option<IndexOf<'_>>, item: ItemRef<'_>) -> Item {
    Item::from_pairs(key_names(table, index).into_iter().filter_map(|name| Some((name, item.get(name)?))))
}

/// The names of the key attributes of a table and an index, each once.
fn key_names<'t>(table: &'t Table, index: Option<IndexOf<'t>>) -> Vec<&'t str> {
    let of_table = std::iter::once(&table.key.hash).chain(&table.key.sort);
    let of_index = index.into_iter().flat_map(|index| index.index.hash.iter().chain(&index.index.sort));
    let mut names: Vec<&str> = of_table.chain(of_index).map(|attribute| &*attribute.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The hashes of a segment: the first, and the first behind it unless it is the last segment.
fn segment_hashes(segment: Option<(u32, u32)>) -> (u64, Option<u64>) {
    let Some((segment, count)) = segment else { return (0, None) };
    let count = u128::from(count.max(1));
    let border = |number: u128| (number << 64) / count;
    (border(u128::from(segment)) as u64, u64::try_from(border(u128::from(segment) + 1)).ok())
}

/// The partition's hash, and what the keys of all its items, or entries, begin with.
fn query_front(
    table: &Table,
    index: Option<IndexOf<'_>>,
    test: &KeyTest,
) -> Result<(ItemHash, Vec<u8>), KeyError> {
    let hash_attributes = index.map_or(std::slice::from_ref(&table.key.hash), |index| &index.index.hash);
    let hash = hash_values(table, hash_attributes, &test.hash)?;
    let front = match index {
        None => item_key(table.number, hash, &[]),
        Some(index) => front(table.number, index.index.number, hash),
    };
    Ok((hash, front))
}

type HashAndRange = (ItemHash, Vec<u8>, Option<Vec<u8>>);

fn query_range(table: &Table, index: Option<IndexOf<'_>>, test: &KeyTest) -> Result<HashAndRange, KeyError> {
    let (hash, mut front) = query_front(table, index, test)?;
    let sort_attributes: &[KeyAttribute] = match (index, &table.key.sort) {
        (Some(index), _) => &index.index.sort,
        (None, Some(sort)) => std::slice::from_ref(sort),
        (None, None) => &[],
    };
    let mut attributes = sort_attributes.iter();
    for value in &test.prefix {
        let attribute = attributes.next().ok_or(KeyError::NoMatch)?;
        append_mid(attribute.kind, part(attribute, value)?, &mut front);
    }
    if matches!(test.sort, SortTest::Any) {
        let high = successor(&front);
        return Ok((hash, front, high));
    }
    let attribute = attributes.next().ok_or(KeyError::NoMatch)?;
    let sort = Sort { attribute, front, is_mid: index.is_some() };
    let (low, high) = sort.range(&test.sort)?;
    Ok((hash, low, high))
}

/// The part of a key that a test of the sort key is about.
struct Sort<'t> {
    attribute: &'t KeyAttribute,
    /// What stands before it.
    front: Vec<u8>,
    /// More may stand behind it.
    is_mid: bool,
}

impl Sort<'_> {
    fn range(&self, test: &SortTest) -> Result<(Vec<u8>, Option<Vec<u8>>), KeyError> {
        let begin = || self.front.clone();
        let end = || successor(&self.front);
        let at = |value: &Value| Ok::<_, KeyError>(self.key(part(self.attribute, value)?));
        Ok(match test {
            SortTest::Any => (begin(), end()),
            SortTest::Equal(value) => (at(value)?, self.behind(at(value)?)),
            SortTest::Less(value) => (begin(), Some(at(value)?)),
            SortTest::LessOrEqual(value) => (begin(), self.behind(at(value)?)),
            SortTest::Greater(value) => {
                let low = self.behind(at(value)?);
                // Nothing lies behind: an empty range.
                (low.unwrap_or_else(|| vec![0xff; self.front.len() + 1]), end())
            }
            SortTest::GreaterOrEqual(value) => (at(value)?, end()),
            SortTest::Between(low, high) => (at(low)?, self.behind(at(high)?)),
            SortTest::BeginsWith(value) => {
                let bytes = part(self.attribute, value)?;
                let behind = successor(bytes);
                (self.key(bytes), behind.map_or_else(end, |behind| Some(self.key(&behind))))
            }
        })
    }

    fn key(&self, bytes: &[u8]) -> Vec<u8> {
        let mut key = self.front.clone();
        if self.is_mid {
            append_mid(self.attribute.kind, bytes, &mut key);
        } else {
            key.extend_from_slice(bytes);
        }
        key
    }

    /// The first key behind all that have this value.
    fn behind(&self, mut key: Vec<u8>) -> Option<Vec<u8>> {
        if self.is_mid || self.attribute.kind == KeyType::N {
            return successor(&key);
        }
        key.push(0);
        Some(key)
    }
}

/// The bytes of a value that a condition compares a sort key with.
fn part<'v>(attribute: &KeyAttribute, value: &'v Value) -> Result<&'v [u8], KeyError> {
    let value = value.as_ref();
    match typed_bytes(attribute, &value) {
        None => Err(KeyError::Mismatch {
            name: attribute.name.clone(),
            expected: attribute.kind,
            actual: value.kind(),
        }),
        Some([]) => Err(KeyError::Empty { name: attribute.name.clone(), kind: attribute.kind }),
        Some(bytes) if bytes.len() > SORT_KEY_BYTES_MAX => Err(KeyError::SortTooLong),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_hash_once() {
        assert_eq!(segment_hashes(None), (0, None));
        assert_eq!(segment_hashes(Some((0, 1))), (0, None));
        for count in [2, 3, 7, 1_000_000] {
            let mut next = Some(0);
            for segment in 0..count {
                let (low, high) = segment_hashes(Some((segment, count)));
                assert_eq!(Some(low), next, "{segment} of {count}");
                next = high;
            }
            assert_eq!(next, None, "{count}");
        }
    }
}
