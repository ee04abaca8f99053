//! The values at several paths of one item: looked up one by one while they are few, in one walk if they are many.
//!
//! Without this the 300 paths of a hostile condition would each walk over the 400,000 elements of a hostile list.
//! Invariant: the answer for a path is the one of `find`.

use std::cell::OnceCell;
use std::cmp::Ordering;

use super::super::encoding::{self, ITEM_HEAD_BYTES, TAG_L, TAG_M, split_attribute, split_value};
use super::super::{ItemRef, ValueRef};
use super::{Path, Step, find, split_group};

/// Finds the values at `paths` in an item, or in none.
pub struct Finder<'a, 'p> {
    item: Option<ItemRef<'a>>,
    paths: &'p [Vec<Step>],
    /// By the place of the path, once there was reason to look for all.
    found: OnceCell<Vec<Option<ValueRef<'a>>>>,
}

impl<'a, 'p> Finder<'a, 'p> {
    /// Looks for nothing yet.
    #[must_use]
    pub fn new(item: Option<ItemRef<'a>>, paths: &'p [Vec<Step>]) -> Finder<'a, 'p> {
        Finder { item, paths, found: OnceCell::new() }
    }

    /// The item.
    #[must_use]
    pub fn item(&self) -> Option<ItemRef<'a>> {
        self.item
    }

    /// The value at the path of this place, if the item has one there.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<ValueRef<'a>> {
        let item = self.item?;
        if self.paths.len() <= FEW {
            return find(item, self.paths.get(place)?);
        }
        *self.found.get_or_init(|| find_all(item, self.paths)).get(place)?
    }
}

/// A path with its place.
struct Wanted<'p>(&'p Path, usize);

impl AsRef<Path> for Wanted<'_> {
    fn as_ref(&self) -> &Path {
        self.0
    }
}

/// The values at all paths, each at the place of its path.
fn find_all<'a>(item: ItemRef<'a>, paths: &[Vec<Step>]) -> Vec<Option<ValueRef<'a>>> {
    let mut sorted: Vec<Wanted<'_>> =
        paths.iter().enumerate().map(|(place, path)| Wanted(path, place)).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(b.0));
    // An empty path names nothing, and begins like every other.
    let first = sorted.iter().take_while(|wanted| wanted.0.is_empty()).count();
    let mut found = vec![None; paths.len()];
    in_map(&item.as_bytes()[ITEM_HEAD_BYTES..], &sorted[first..], 0, &mut found);
    found
}

/// Finds what `paths` name in a map. They agree in front of `level` and go on there, sorted.
fn in_map<'a>(
    mut rest: &'a [u8],
    mut paths: &[Wanted<'_>],
    level: usize,
    found: &mut [Option<ValueRef<'a>>],
) {
    while let Some((step, group, behind)) = split_group(paths, level) {
        // Names come before indexes, and these name nothing in a map.
        let Step::Name(name) = step else { break };
        paths = behind;
        while let Some((old_name, value, after)) = split_attribute(rest) {
            match old_name.cmp(name.as_bytes()) {
                Ordering::Less => rest = after,
                Ordering::Equal => {
                    in_value(value, group, level, found);
                    break;
                }
                Ordering::Greater => break,
            }
        }
    }
}

/// The same in a list.
fn in_list<'a>(
    mut rest: &'a [u8],
    mut paths: &[Wanted<'_>],
    level: usize,
    found: &mut [Option<ValueRef<'a>>],
) {
    let mut index = 0;
    while let Some((step, group, behind)) = split_group(paths, level) {
        paths = behind;
        let Step::Index(wanted) = step else { continue };
        while index < *wanted
            && let Some((_, after)) = split_value(rest)
        {
            rest = after;
            index += 1;
        }
        let Some((value, _)) = split_value(rest) else { break };
        in_value(value, group, level, found);
    }
}

/// What `paths`, which share the step at `level`, name of the value there. Goes down as far as the item does.
fn in_value<'a>(value: &'a [u8], mut paths: &[Wanted<'_>], level: usize, found: &mut [Option<ValueRef<'a>>]) {
    // Those that end here come first, as they are the shortest.
    while let Some((Wanted(path, place), rest)) = paths.split_first()
        && path.len() == level + 1
    {
        found[*place] = Some(encoding::decode(value));
        paths = rest;
    }
    match value.first() {
        Some(&TAG_M) => in_map(encoding::contents(value), paths, level + 1, found),
        Some(&TAG_L) => in_list(encoding::contents(value), paths, level + 1, found),
        _ => {}
    }
}

/// Up to so many paths are looked up one by one.
const FEW: usize = 4;
