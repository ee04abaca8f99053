//! Edits and projections once more, slowly, on plain trees; and random ones of them, to hold the real ones against.
//!
//! Invariant: it shares no code with edit.rs and projection.rs. The draws decide everything, so the same draws are the
//! same round.

use std::collections::BTreeMap;

use super::{Edit, EditError, Finder, Projection, Step, edit, find};
use crate::number::Number;
use crate::value::{Item, ItemBuilder, ItemRef, Value, ValueBuilder};

/// One item, some edits and a projection, as drawn: `below(end)` draws a number below `end`.
/// Gives whether the edits were valid, and whether the projection found something.
pub(crate) fn round(below: &mut dyn FnMut(u64) -> u64) -> (bool, bool) {
    let mut draw = Draws { below };
    let tree = draw.map(4);
    let item = tree.item();
    ItemRef::new(item.as_bytes()).expect("an encoding");
    let paths = draw.paths(&tree);
    let changes: Vec<_> =
        paths.iter().map(|path| (path.clone(), (draw.below(3) > 0).then(|| draw.tree(2)))).collect();
    let edits: Vec<Edit> = changes
        .iter()
        .map(|(path, value)| match value {
            Some(value) => Edit::Set(path.clone(), value.value()),
            None => Edit::Remove(path.clone()),
        })
        .collect();
    let wanted = model_edit(&tree, &changes).map(|tree| tree.item());
    let is_done = wanted.is_some();
    let done = edit(item.as_ref(), &edits);
    // Equal items are equal bytes, and the size is among them.
    assert_eq!(done, wanted.ok_or(EditError::InvalidPath), "{tree:?}, {changes:?}");
    // Also many, some of them twice, one inside of another, and in no order.
    let many: Vec<_> = (0..12).map(|_| draw.path(&tree)).chain(paths.clone()).chain([Vec::new()]).collect();
    let finder = Finder::new(Some(item.as_ref()), &many);
    for (place, path) in many.iter().enumerate() {
        assert_eq!(finder.get(place), find(item.as_ref(), path), "{tree:?}, {many:?}");
    }
    for path in &paths {
        let found = tree.clone().at(path).map(|tree| tree.value());
        assert_eq!(find(item.as_ref(), path).map(Value::from_ref), found, "{tree:?}, {path:?}");
    }
    let projection = Projection::new(&paths);
    let projected = projection.project(item.as_ref());
    let wanted = model_project(&tree, &paths).item();
    assert_eq!(projected, wanted, "{tree:?}, {paths:?}");
    assert_eq!(projection.aws_bytes(item.as_ref()), wanted.as_ref().aws_bytes());
    (is_done, !wanted.as_ref().is_empty())
}

/// A value of the model.
#[derive(Clone, PartialEq, Debug)]
enum Tree {
    Leaf(u64),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    /// Removed, but still in its place.
    Gone,
}

impl Tree {
    fn at(&mut self, path: &[Step]) -> Option<&mut Tree> {
        path.iter().try_fold(self, |tree, step| match (tree, step) {
            (Tree::Map(map), Step::Name(name)) => map.get_mut(&**name),
            (Tree::List(list), Step::Index(index)) => list.get_mut(*index as usize),
            _ => None,
        })
    }

    fn compact(self) -> Tree {
        let stays = |tree: &Tree| *tree != Tree::Gone;
        match self {
            Tree::List(list) => Tree::List(list.into_iter().filter(stays).map(Tree::compact).collect()),
            Tree::Map(map) => Tree::Map(
                map.into_iter()
                    .filter(|(_, tree)| stays(tree))
                    .map(|(name, tree)| (name, tree.compact()))
                    .collect(),
            ),
            other => other,
        }
    }

    fn build(&self, out: &mut ValueBuilder) {
        match self {
            Tree::Leaf(value) => {
                out.n(&Number::from(*value as i64));
            }
            Tree::List(list) => {
                out.begin_list();
                list.iter().for_each(|tree| tree.build(out));
                out.end_list();
            }
            Tree::Map(map) => {
                out.begin_map();
                // In the other order, so that the builder has to sort.
                for (name, tree) in map.iter().rev() {
                    out.name(name);
                    tree.build(out);
                }
                out.end_map();
            }
            Tree::Gone => unreachable!("compact comes first"),
        }
    }

    fn value(&self) -> Value {
        let mut out = ValueBuilder::new();
        self.build(&mut out);
        out.finish()
    }

    fn item(&self) -> Item {
        let Tree::Map(map) = self else { panic!("an item is a map") };
        let mut item = ItemBuilder::new();
        for (name, tree) in map.iter().rev() {
            tree.build(item.attribute(name));
        }
        item.finish()
    }
}

/// The edits of the model: in place and with marks for what goes, then what is appended, then the gaps close.
fn model_edit(old: &Tree, edits: &[(Vec<Step>, Option<Tree>)]) -> Option<Tree> {
    let (mut new, mut appended) = (old.clone(), Vec::new());
    for (path, value) in edits {
        let (last, parent) = path.split_last()?;
        match (old.clone().at(parent)?, last) {
            (Tree::Map(_), Step::Name(name)) => {
                let Some(Tree::Map(map)) = new.at(parent) else { panic!("the edits do not overlap") };
                map.insert((**name).to_owned(), value.clone().unwrap_or(Tree::Gone));
            }
            (Tree::List(list), Step::Index(index)) if (*index as usize) < list.len() => {
                let Some(Tree::List(list)) = new.at(parent) else { panic!("the edits do not overlap") };
                list[*index as usize] = value.clone().unwrap_or(Tree::Gone);
            }
            (Tree::List(_), Step::Index(index)) => {
                appended.extend(value.clone().map(|value| (parent, *index, value)));
            }
            _ => return None,
        }
    }
    appended.sort_by_key(|(_, index, _)| *index);
    for (parent, _, value) in appended {
        let Some(Tree::List(list)) = new.at(parent) else { panic!("the edits do not overlap") };
        list.push(value);
    }
    Some(new.compact())
}

/// The projection of the model: every found value at its place in a tree with gaps, then the gaps close.
fn model_project(old: &Tree, paths: &[Vec<Step>]) -> Tree {
    let mut out = Tree::Map(BTreeMap::new());
    for path in paths {
        let Some(value) = old.clone().at(path).cloned() else { continue };
        let mut place = &mut out;
        for (depth, step) in path.iter().enumerate() {
            let next_is_list = matches!(path.get(depth + 1), Some(Step::Index(_)));
            let empty = if next_is_list { Tree::List(Vec::new()) } else { Tree::Map(BTreeMap::new()) };
            place = match (place, step) {
                (Tree::Map(map), Step::Name(name)) => map.entry((**name).to_owned()).or_insert(empty),
                (Tree::List(list), Step::Index(index)) => {
                    let index = *index as usize;
                    list.resize(list.len().max(index + 1), Tree::Gone);
                    if list[index] == Tree::Gone {
                        list[index] = empty;
                    }
                    &mut list[index]
                }
                _ => panic!("the value was found"),
            };
        }
        *place = value;
    }
    out.compact()
}

struct Draws<'d> {
    below: &'d mut dyn FnMut(u64) -> u64,
}

impl Draws<'_> {
    fn below(&mut self, end: u64) -> u64 {
        (self.below)(end)
    }

    fn tree(&mut self, depth: u64) -> Tree {
        match self.below(5) {
            0 | 1 if depth > 0 => Tree::List((0..self.below(4)).map(|_| self.tree(depth - 1)).collect()),
            2 | 3 if depth > 0 => self.map(depth),
            _ => Tree::Leaf(self.below(1000)),
        }
    }

    fn map(&mut self, depth: u64) -> Tree {
        let count = self.below(5);
        Tree::Map((0..count).map(|_| (self.name(), self.tree(depth - 1))).collect())
    }

    fn name(&mut self) -> String {
        ["a", "b", "bb", "ä", ""][self.below(5) as usize].to_owned()
    }

    /// Most of its steps lead somewhere.
    fn path(&mut self, tree: &Tree) -> Vec<Step> {
        let mut path = vec![Step::Name(self.name().into())];
        while self.below(3) > 0 && path.len() < 6 {
            let found = tree.clone().at(&path).cloned();
            let index = match (&found, self.below(8)) {
                (_, 0) => self.below(2) == 0,
                (Some(Tree::List(_)), _) => true,
                _ => false,
            };
            path.push(if index { Step::Index(self.below(5) as u32) } else { Step::Name(self.name().into()) });
        }
        path
    }

    fn paths(&mut self, tree: &Tree) -> Vec<Vec<Step>> {
        let mut paths: Vec<Vec<Step>> = Vec::new();
        for _ in 0..=self.below(6) {
            let path = self.path(tree);
            let overlaps = |other: &Vec<Step>| path.iter().zip(other).all(|(a, b)| a == b);
            if !paths.iter().any(overlaps) {
                paths.push(path);
            }
        }
        paths
    }
}
