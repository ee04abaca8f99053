//! Changes of an item at document paths, all at once.
//!
//! Invariant: every position means the old item, whatever else changes; what no path goes through is copied as it is,
//! in runs, and its size is not counted again.
//! Leaves to expression/: values that an update computes, and the refusal of paths that overlap.

use std::cmp::Ordering;

use super::super::encoding::{
    CONTAINER_HEAD_BYTES, ITEM_HEAD_BYTES, TAG_L, TAG_M, put_varint, split_attribute, split_value,
};
use super::super::{DEPTH_MAX, Item, ItemRef, Value, ValueRef};
use super::{Path, Step, split_group};
use crate::value::encoding;

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// The value at the path becomes this. Behind the end of a list it is appended.
    Set(Vec<Step>, Value),
    /// The value at the path goes, if there is one.
    Remove(Vec<Step>),
}

impl AsRef<Path> for Edit {
    fn as_ref(&self) -> &Path {
        match self {
            Edit::Set(path, _) | Edit::Remove(path) => path,
        }
    }
}

/// Why a change cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EditError {
    /// A path goes through something that is not there, or is no map or list.
    InvalidPath,
    /// The item would have a value on more than 32 levels.
    TooDeep,
}

/// The item with the changes. Of two changes at one path the later counts; one of a whole makes those inside void.
///
/// Errors: `InvalidPath`, also for a removal inside of what is not there. A removal of what is not there inside of what
/// is there changes nothing.
pub fn edit(old: ItemRef<'_>, edits: &[Edit]) -> Result<Item, EditError> {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    // Stable, so that of equal paths the later edit stays the later one.
    sorted.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    let old_bytes = old.as_bytes();
    let mut editor =
        Editor { out: Vec::with_capacity(old_bytes.len() + 64), aws_bytes: i64::from(old.aws_bytes()) };
    editor.out.extend_from_slice(&old_bytes[..ITEM_HEAD_BYTES]);
    editor.map(&old_bytes[ITEM_HEAD_BYTES..], &sorted, 0)?;
    let size = u32::try_from(editor.aws_bytes).unwrap_or(u32::MAX);
    Ok(Item::from_parts(editor.out, size))
}

struct Editor {
    out: Vec<u8>,
    aws_bytes: i64,
}

/// What becomes of a value that paths go to or through.
enum Change<'e> {
    Set(&'e Value),
    Remove,
    /// Paths go on inside.
    Inside,
}

impl Editor {
    /// Writes the attributes `old` of a map, or of the item on level 0, as `edits` change them. `edits` agree in front
    /// of `level` and go on there.
    fn map(&mut self, old: &[u8], mut edits: &[&Edit], level: usize) -> Result<(), EditError> {
        // Attributes of an item count no byte of their own.
        let overhead = u32::from(level > 0);
        let (mut rest, mut run) = (old, old);
        while let Some((step, group, behind)) = split_group(edits, level) {
            let Step::Name(name) = step else { return Err(EditError::InvalidPath) };
            edits = behind;
            let mut found = None;
            while let Some((old_name, value, after)) = split_attribute(rest) {
                match old_name.cmp(name.as_bytes()) {
                    Ordering::Less => rest = after,
                    Ordering::Equal => {
                        found = Some((value, after));
                        break;
                    }
                    Ordering::Greater => break,
                }
            }
            // What lies in front stays as it is.
            self.out.extend_from_slice(&run[..run.len() - rest.len()]);
            let change = change(group, level);
            let name_bytes = name.len() as u32 + overhead;
            if !matches!(change, Change::Remove) {
                put_varint(name.len() as u32, &mut self.out);
                self.out.extend_from_slice(name.as_bytes());
            }
            self.value(found.map(|(value, _)| value), &change, name_bytes, group, level)?;
            rest = found.map_or(rest, |(_, after)| after);
            run = rest;
        }
        self.out.extend_from_slice(run);
        Ok(())
    }

    /// The same for the elements `old` of a list.
    fn list(&mut self, old: &[u8], mut edits: &[&Edit], level: usize) -> Result<(), EditError> {
        let (mut rest, mut run, mut index) = (old, old, 0);
        while let Some((step, group, behind)) = split_group(edits, level) {
            let Step::Index(wanted) = step else { return Err(EditError::InvalidPath) };
            edits = behind;
            while index < *wanted
                && let Some((_, after)) = split_value(rest)
            {
                rest = after;
                index += 1;
            }
            self.out.extend_from_slice(&run[..run.len() - rest.len()]);
            // Behind the end there is nothing, whatever the index: what is set there is appended in rising order.
            let found = split_value(rest);
            self.value(found.map(|(value, _)| value), &change(group, level), 1, group, level)?;
            if let Some((_, after)) = found {
                rest = after;
                index += 1;
            }
            run = rest;
        }
        self.out.extend_from_slice(run);
        Ok(())
    }

    /// Writes what becomes of `old`, which counts `own_bytes` beside the value.
    fn value(
        &mut self,
        old: Option<&[u8]>,
        change: &Change<'_>,
        own_bytes: u32,
        group: &[&Edit],
        level: usize,
    ) -> Result<(), EditError> {
        let counted = |value: ValueRef<'_>| i64::from(own_bytes) + i64::from(value.aws_bytes());
        match change {
            Change::Set(value) => {
                let value = value.as_ref();
                // The value of an attribute is on the first level.
                if level + value.depth() > DEPTH_MAX {
                    return Err(EditError::TooDeep);
                }
                self.aws_bytes += counted(value) - old.map_or(0, |old| counted(encoding::decode(old)));
                value.write_encoded(&mut self.out);
            }
            Change::Remove => self.aws_bytes -= old.map_or(0, |old| counted(encoding::decode(old))),
            Change::Inside => {
                let old = old.ok_or(EditError::InvalidPath)?;
                let start = self.out.len();
                self.out.extend_from_slice(&old[..old.len().min(CONTAINER_HEAD_BYTES)]);
                match old.first() {
                    Some(&TAG_M) => self.map(encoding::contents(old), group, level + 1)?,
                    Some(&TAG_L) => self.list(encoding::contents(old), group, level + 1)?,
                    _ => return Err(EditError::InvalidPath),
                }
                encoding::put_total(&mut self.out, start);
            }
        }
        Ok(())
    }
}

/// What the edits of `group`, which share the step at `level`, do with the value there.
fn change<'e>(group: &[&'e Edit], level: usize) -> Change<'e> {
    // Those that end here come first, as they are the shorter ones.
    match group.iter().take_while(|edit| edit.as_ref().len() == level + 1).last() {
        Some(Edit::Set(_, value)) => Change::Set(value),
        Some(Edit::Remove(_)) => Change::Remove,
        None => Change::Inside,
    }
}
