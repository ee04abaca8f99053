//! Document paths: the value at one, and which part of a sorted list of paths goes through one attribute.
//!
//! Paths are kept sorted instead of in a tree: those that begin alike lie beside one another, so a walk down an item
//! takes an ever smaller slice with it.
//!
//! Invariant: nothing here goes deeper than the item does.
//! Leaves to edit.rs: changes. To projection.rs: parts of items.

mod edit;
mod finder;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod model;
mod projection;

use super::encoding::{self, TAG_L, TAG_M};
use super::{ItemRef, ListRef, MapRef, ValueRef};

pub use edit::{Edit, EditError, edit};
pub use finder::Finder;
pub use projection::Projection;

/// One step of a document path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// Into the attribute of this name: `.name`.
    Name(Box<str>),
    /// Into the element of this index: `[3]`.
    Index(u32),
}

/// From an item to one of its values. Never empty, and it begins with a name.
pub type Path = [Step];

/// The value at `path`, if the item has one there.
#[must_use]
pub fn find<'a>(item: ItemRef<'a>, path: &Path) -> Option<ValueRef<'a>> {
    let (first, rest) = path.split_first()?;
    let Step::Name(name) = first else { return None };
    let mut value = item.map().get_encoded(name)?;
    for step in rest {
        value = match (container(value)?, step) {
            (Container::Map(map), Step::Name(name)) => map.get_encoded(name)?,
            (Container::List(list), Step::Index(index)) => list.encoded_values().nth(*index as usize)?,
            _ => return None,
        };
    }
    Some(encoding::decode(value))
}

/// What a path can go on into.
enum Container<'a> {
    Map(MapRef<'a>),
    List(ListRef<'a>),
}

fn container(value: &[u8]) -> Option<Container<'_>> {
    // Only these two, so that the text of a string on the way is not looked at.
    if !matches!(value.first(), Some(&(TAG_L | TAG_M))) {
        return None;
    }
    match encoding::decode(value) {
        ValueRef::M(map) => Some(Container::Map(map)),
        ValueRef::L(list) => Some(Container::List(list)),
        _ => None,
    }
}

/// Of `sorted`, whose paths agree in front of `level` and go on there: the step of the first, those that share it, and
/// the rest.
fn split_group<T: AsRef<Path>>(sorted: &[T], level: usize) -> Option<(&Step, &[T], &[T])> {
    let step = sorted.first()?.as_ref().get(level)?;
    let count = sorted.iter().take_while(|entry| entry.as_ref().get(level) == Some(step)).count();
    let (group, rest) = sorted.split_at(count);
    Some((step, group, rest))
}

#[cfg(test)]
mod tests;
