//! Parts of items: what the paths of a projection name, in the shape that the item has.
//!
//! Invariant: an element of a list takes the next place in its list, in rising order of the indexes; a map or list in
//! which nothing was found is left out.
//! Leaves to expression/: the refusal of paths that overlap.

use std::cmp::Ordering;

use super::super::encoding::{
    self, ITEM_HEAD_BYTES, TAG_L, TAG_M, VERSION, put_varint, split_attribute, split_value,
};
use super::super::{Item, ItemRef};
use super::{Step, split_group};
use crate::json::Writer;
use crate::value::json::write_value;

/// The paths that a projection names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Projection {
    /// Sorted, each once.
    paths: Vec<Vec<Step>>,
}

impl Projection {
    /// Paths in any order. One that names a whole makes those inside void.
    #[must_use]
    pub fn new(paths: &[Vec<Step>]) -> Projection {
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        paths.dedup();
        Projection { paths }
    }

    /// The paths, sorted.
    #[must_use]
    pub fn paths(&self) -> &[Vec<Step>] {
        &self.paths
    }

    /// The part of the item that the paths name.
    #[must_use]
    pub fn project(&self, item: ItemRef<'_>) -> Item {
        let mut out = Encoded { out: vec![VERSION, 0, 0, 0], aws_bytes: 0 };
        self.walk(item, &mut out);
        Item::from_parts(out.out, out.aws_bytes)
    }

    /// AWS's size of that part.
    #[must_use]
    pub fn aws_bytes(&self, item: ItemRef<'_>) -> u32 {
        let mut size = Size { aws_bytes: 0 };
        self.walk(item, &mut size);
        size.aws_bytes
    }

    /// Appends that part as JSON: `{"a":{"S":"x"}}`, or `{}`.
    pub fn write_json(&self, item: ItemRef<'_>, out: &mut Writer) {
        out.begin_object();
        self.walk(item, &mut Json { out });
        out.end_object();
    }

    fn walk(&self, item: ItemRef<'_>, out: &mut impl Sink) {
        map(&item.as_bytes()[ITEM_HEAD_BYTES..], &self.paths, 0, out);
    }
}

/// Where the part goes.
trait Sink {
    /// A place to go back to.
    type Mark;
    fn mark(&self) -> Self::Mark;
    fn rewind(&mut self, mark: Self::Mark);
    /// An attribute on `level`; its value follows.
    fn name(&mut self, name: &[u8], level: usize);
    /// An element of a list; it follows.
    fn element(&mut self);
    fn whole(&mut self, value: &[u8]);
    fn begin(&mut self, is_map: bool);
    fn end(&mut self, is_map: bool, mark: &Self::Mark);
}

/// Gives whether something was found. `paths` agree in front of `level` and go on there, sorted.
fn map(mut rest: &[u8], mut paths: &[Vec<Step>], level: usize, out: &mut impl Sink) -> bool {
    let mut found = false;
    while let Some((step, group, behind)) = split_group(paths, level) {
        // Names come before indexes, and these name nothing in a map.
        let Step::Name(wanted) = step else { break };
        paths = behind;
        while let Some((name, value, after)) = split_attribute(rest) {
            match name.cmp(wanted.as_bytes()) {
                Ordering::Less => rest = after,
                Ordering::Equal => {
                    let mark = out.mark();
                    out.name(name, level);
                    found |= inside(value, group, level, mark, out);
                    break;
                }
                Ordering::Greater => break,
            }
        }
    }
    found
}

/// The same for the elements of a list.
fn list(mut rest: &[u8], mut paths: &[Vec<Step>], level: usize, out: &mut impl Sink) -> bool {
    let (mut found, mut index) = (false, 0);
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
        let mark = out.mark();
        out.element();
        found |= inside(value, group, level, mark, out);
    }
    found
}

/// What `paths`, which share the step at `level`, name of the value there. Goes back to `mark` if that is nothing.
fn inside<S: Sink>(value: &[u8], paths: &[Vec<Step>], level: usize, mark: S::Mark, out: &mut S) -> bool {
    // One that ends here comes first, as it is the shortest.
    if paths.first().is_some_and(|path| path.len() == level + 1) {
        out.whole(value);
        return true;
    }
    let is_map = match value.first() {
        Some(&TAG_M) => true,
        Some(&TAG_L) => false,
        _ => {
            out.rewind(mark);
            return false;
        }
    };
    let start = out.mark();
    out.begin(is_map);
    let contents = encoding::contents(value);
    let found =
        if is_map { map(contents, paths, level + 1, out) } else { list(contents, paths, level + 1, out) };
    if found {
        out.end(is_map, &start);
    } else {
        out.rewind(mark);
    }
    found
}

struct Encoded {
    out: Vec<u8>,
    aws_bytes: u32,
}

impl Sink for Encoded {
    type Mark = (usize, u32);

    fn mark(&self) -> (usize, u32) {
        (self.out.len(), self.aws_bytes)
    }

    fn rewind(&mut self, mark: (usize, u32)) {
        self.out.truncate(mark.0);
        self.aws_bytes = mark.1;
    }

    fn name(&mut self, name: &[u8], level: usize) {
        self.aws_bytes += name.len() as u32 + u32::from(level > 0);
        put_varint(name.len() as u32, &mut self.out);
        self.out.extend_from_slice(name);
    }

    fn element(&mut self) {
        self.aws_bytes += 1;
    }

    fn whole(&mut self, value: &[u8]) {
        self.aws_bytes += encoding::decode(value).aws_bytes();
        self.out.extend_from_slice(value);
    }

    fn begin(&mut self, is_map: bool) {
        self.aws_bytes += 3;
        self.out.extend_from_slice(&[if is_map { TAG_M } else { TAG_L }, 0, 0, 0, 0]);
    }

    fn end(&mut self, _: bool, mark: &(usize, u32)) {
        encoding::put_total(&mut self.out, mark.0);
    }
}

struct Size {
    aws_bytes: u32,
}

impl Sink for Size {
    type Mark = u32;

    fn mark(&self) -> u32 {
        self.aws_bytes
    }

    fn rewind(&mut self, mark: u32) {
        self.aws_bytes = mark;
    }

    fn name(&mut self, name: &[u8], level: usize) {
        self.aws_bytes += name.len() as u32 + u32::from(level > 0);
    }

    fn element(&mut self) {
        self.aws_bytes += 1;
    }

    fn whole(&mut self, value: &[u8]) {
        self.aws_bytes += encoding::decode(value).aws_bytes();
    }

    fn begin(&mut self, _: bool) {
        self.aws_bytes += 3;
    }

    fn end(&mut self, _: bool, _: &u32) {}
}

struct Json<'w> {
    out: &'w mut Writer,
}

impl Sink for Json<'_> {
    type Mark = (usize, bool);

    fn mark(&self) -> (usize, bool) {
        self.out.mark()
    }

    fn rewind(&mut self, mark: (usize, bool)) {
        self.out.rewind(mark);
    }

    fn name(&mut self, name: &[u8], _: usize) {
        self.out.key_bytes(name);
    }

    fn element(&mut self) {}

    fn whole(&mut self, value: &[u8]) {
        write_value(value, self.out);
    }

    fn begin(&mut self, is_map: bool) {
        self.out.begin_object();
        self.out.key(if is_map { "M" } else { "L" });
        self.out.begin_inside(if is_map { b'{' } else { b'[' });
    }

    fn end(&mut self, is_map: bool, _: &(usize, bool)) {
        self.out.inside(if is_map { b"}" } else { b"]" });
        self.out.end_object();
    }
}
