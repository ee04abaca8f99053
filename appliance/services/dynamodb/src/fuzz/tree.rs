//! JSON as a tree, by our reader and by another; and items made of trees, slowly.
//!
//! Invariant: a member that is null is left out of its object, as the protocol has it; of two members of one name that
//! are not null the later stays.

use std::collections::BTreeMap;
use std::fmt;

use aws::encoding::unbase64;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::json::{JsonError, Reader};
use crate::number::Number;
use crate::value::{DEPTH_MAX, Item, ItemBuilder, Kind, NAME_BYTES_MAX, Value, ValueBuilder};

/// A JSON value.
#[derive(PartialEq, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// Of any value.
    Number,
    Text(String),
    Array(Vec<Tree>),
    /// And whether a name came twice.
    Object(BTreeMap<String, Tree>, Duplicates),
}

/// Equal to each other, so that it does not count when trees are compared.
#[derive(Debug)]
pub(super) struct Duplicates(bool);

impl PartialEq for Duplicates {
    fn eq(&self, _: &Duplicates) -> bool {
        true
    }
}

/// What the other reader says.
pub(super) enum Theirs {
    Tree(Tree),
    Refused,
    /// It refuses for a bound of its own: depth, or the range of numbers.
    OutOfBounds,
}

/// By our reader.
pub(super) fn read_ours(text: &[u8]) -> Option<Tree> {
    let mut reader = Reader::new(text).ok()?;
    let tree = ours(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(tree)
}

fn ours(reader: &mut Reader<'_>) -> Result<Tree, JsonError> {
    match reader.peek() {
        Some(b'{') => {
            let (mut members, mut has_duplicates) = (BTreeMap::new(), false);
            reader.structure("Tree", &mut |name, member| {
                has_duplicates |= members.insert(name.to_owned(), ours(member)?).is_some();
                Ok(true)
            })?;
            Ok(Tree::Object(members, Duplicates(has_duplicates)))
        }
        Some(b'[') => {
            let mut elements = Vec::new();
            reader.list(&mut |element| {
                elements.push(ours(element)?);
                Ok(())
            })?;
            Ok(Tree::Array(elements))
        }
        Some(b'"') => Ok(Tree::Text(reader.string()?.into_owned())),
        Some(b't' | b'f') => Ok(Tree::Bool(reader.boolean()?)),
        Some(b'n') => reader.skip().map(|()| Tree::Null),
        _ => reader.double().map(|_| Tree::Number),
    }
}

/// By the other reader.
pub(super) fn read_theirs(text: &[u8]) -> Theirs {
    // As many as the depth at least.
    let bracket_count = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if bracket_count > 100 {
        return Theirs::OutOfBounds;
    }
    match serde_json::from_slice(text) {
        Ok(tree) => Theirs::Tree(tree),
        Err(error) if error.to_string().contains("out of range") => Theirs::OutOfBounds,
        Err(_) => Theirs::Refused,
    }
}

impl Tree {
    /// Whether a name came twice in an object of it.
    pub(super) fn has_duplicates(&self) -> bool {
        match self {
            Tree::Array(elements) => elements.iter().any(Tree::has_duplicates),
            Tree::Object(members, duplicates) => duplicates.0 || members.values().any(Tree::has_duplicates),
            _ => false,
        }
    }

    /// Without the nulls of its arrays.
    pub(super) fn without_nulls(self) -> Tree {
        match self {
            Tree::Array(elements) => Tree::Array(
                elements.into_iter().filter(|tree| *tree != Tree::Null).map(Tree::without_nulls).collect(),
            ),
            Tree::Object(members, duplicates) => {
                let pruned = members.into_iter().map(|(name, tree)| (name, tree.without_nulls()));
                Tree::Object(pruned.collect(), duplicates)
            }
            other => other,
        }
    }

    /// The item that it is in the protocol's JSON; `None` if anything is wrong with it.
    pub(super) fn to_item(&self) -> Option<Item> {
        let Tree::Object(members, _) = self else { return None };
        let mut item = ItemBuilder::new();
        for (name, tree) in members {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return None;
            }
            item.set(name, tree.to_value(1)?.as_ref());
        }
        Some(item.finish())
    }

    fn to_value(&self, level: usize) -> Option<Value> {
        let Tree::Object(members, _) = self else { return None };
        let mut typed = members.iter().filter_map(|(name, tree)| Some((Kind::from_name(name)?, tree)));
        let (kind, tree) = typed.next()?;
        if typed.next().is_some() || level > DEPTH_MAX {
            return None;
        }
        let mut value = ValueBuilder::new();
        match kind {
            Kind::S => value.s(tree.text()?),
            Kind::N => value.n(&Number::parse(tree.text()?.as_bytes()).ok()?),
            Kind::B => value.b(&unbase64(tree.text()?.as_bytes())?),
            Kind::Bool => value.bool(tree.truth()?),
            Kind::Null => tree.truth()?.then(|| value.null())?,
            Kind::Ss | Kind::Ns | Kind::Bs => return tree.to_set(kind),
            Kind::L => {
                let Tree::Array(elements) = tree else { return None };
                value.begin_list();
                for element in elements {
                    value.value(element.to_value(level + 1)?.as_ref());
                }
                value.end_list()
            }
            Kind::M => {
                let Tree::Object(members, _) = tree else { return None };
                value.begin_map();
                for (name, tree) in members {
                    value.name(name).value(tree.to_value(level + 1)?.as_ref());
                }
                (members.keys().all(|name| name.len() <= NAME_BYTES_MAX)).then(|| value.end_map())?
            }
        };
        Some(value.finish())
    }

    fn to_set(&self, kind: Kind) -> Option<Value> {
        let Tree::Array(elements) = self else { return None };
        let mut members = Vec::new();
        for element in elements {
            let text = element.text()?;
            members.push(match kind {
                Kind::Ns => {
                    let mut sortable = Vec::new();
                    Number::parse(text.as_bytes()).ok()?.write_sortable(&mut sortable);
                    sortable
                }
                Kind::Bs => unbase64(text.as_bytes())?,
                _ => text.as_bytes().to_vec(),
            });
        }
        members.sort();
        members.dedup();
        let is_whole = members.len() == elements.len();
        Value::set(kind, members.iter().map(Vec::as_slice)).filter(|_| is_whole)
    }

    fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self { Some(text) } else { None }
    }

    /// A boolean, or one of the strings that AWS takes for one.
    fn truth(&self) -> Option<bool> {
        match self {
            Tree::Bool(value) => Some(*value),
            Tree::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(true),
                "false" | "0" | "no" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let (mut members, mut has_duplicates) = (BTreeMap::new(), false);
        while let Some((name, tree)) = access.next_entry::<String, Tree>()? {
            if tree != Tree::Null {
                has_duplicates |= members.insert(name, tree).is_some();
            }
        }
        Ok(Tree::Object(members, Duplicates(has_duplicates)))
    }
}
