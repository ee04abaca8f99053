//! Requests as typed values: members are decoded straight from the body, without a tree in between.
//! Invariant: decoding reports what is wrong with the JSON types only; what a right type may not hold is kept and reported
//! by the checks that follow, in AWS's order.
//! Leaves to ops: those checks that need the table.

pub mod batch;
pub mod expressions;
pub mod item;
pub mod legacy;
pub mod page;
pub mod statement;
pub mod table;
pub mod table_meaning;
pub mod transact;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use crate::json::{JsonError, Reader, Scratch};

/// How a map from names to attribute values is called in errors about types.
pub const ATTRIBUTE_MAP: &str =
    "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>";

/// A text of the request, borrowed from it where it holds no escapes.
pub type Text<'a> = Cow<'a, str>;

/// A map in the order of the request. Of entries with one name the last counts, at the place of the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entries<T> {
    list: Vec<(Box<str>, T)>,
    /// Places by name, from the size on from which looking through the list would cost more.
    places: HashMap<Box<str>, usize>,
}

/// More entries than this are found by hash.
const LISTED_COUNT_MAX: usize = 16;

impl<T> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries { list: Vec::new(), places: HashMap::new() }
    }
}

impl<T> Entries<T> {
    /// Sets an entry.
    pub fn put(&mut self, name: &str, value: T) {
        let place = if self.places.is_empty() {
            self.list.iter().position(|(listed, _)| **listed == *name)
        } else {
            self.places.get(name).copied()
        };
        if let Some(place) = place {
            self.list[place].1 = value;
            return;
        }
        if self.list.len() >= LISTED_COUNT_MAX {
            if self.places.is_empty() {
                self.places =
                    self.list.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
            }
            self.places.insert(name.into(), self.list.len());
        }
        self.list.push((name.into(), value));
    }

    /// The entries.
    #[must_use]
    pub fn list(&self) -> &[(Box<str>, T)] {
        &self.list
    }

    /// The entries, for good.
    #[must_use]
    pub fn into_list(self) -> Vec<(Box<str>, T)> {
        self.list
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

/// Decodes the body of a request. `shape` is Amazon's name of its structure.
pub fn decode<'a>(
    body: &'a [u8],
    shape: &'static str,
    each: &mut dyn FnMut(&str, &mut Reader<'a>) -> Result<bool, JsonError>,
) -> Result<(), JsonError> {
    let mut reader = Reader::new(body)?;
    reader.structure(shape, each)?;
    reader.finish()
}

/// The same with buffers that stay from request to request, for the operations on items.
pub fn decode_with<'a>(
    scratch: &RefCell<Scratch>,
    body: &'a [u8],
    shape: &'static str,
    each: &mut dyn FnMut(&str, &mut Reader<'a>) -> Result<bool, JsonError>,
) -> Result<(), JsonError> {
    if body.len() > SCRATCH_BODY_BYTES_MAX {
        return decode(body, shape, each);
    }
    let mut reader = Reader::with_scratch(body, scratch.take())?;
    reader.structure(shape, each)?;
    let (ended, buffers) = reader.finish_with_scratch();
    scratch.replace(buffers);
    ended
}

/// The buffers that a longer body needs are not kept.
const SCRATCH_BODY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_entries_with_one_name_counts_however_many_there_are() {
        let mut entries = Entries::default();
        for round in 0..3 {
            for name in 0..100 {
                entries.put(&format!("n{name}"), (round, name));
            }
        }
        assert_eq!(entries.len(), 100);
        for (place, (name, value)) in entries.list().iter().enumerate() {
            assert_eq!((&**name, *value), (&*format!("n{place}"), (2, place)));
        }
    }
}
