//! Whether the paths of an update or a projection get in each other's way.
//! Invariant: two paths overlap if one is the other's beginning, and conflict if they go on from one place by a name and
//! by an index. That some pair does is found by sorting; only then the first pair in the order of the text is looked for.

use std::cmp::Ordering;

use super::check::print_path;
use super::{ExpressionError, Kind};
use crate::value::path::{Path, Step};

/// How two paths relate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Apart,
    Overlap,
    Conflict,
}

/// Refuses paths that overlap, then paths that conflict.
pub(super) fn check_paths(kind: Kind, paths: &[&Path]) -> Result<(), ExpressionError> {
    let mut sorted = paths.to_vec();
    sorted.sort_unstable_by(|left, right| order(left, right));
    // Of paths that begin alike the shortest comes first and all indexes come before all names, so a pair that overlaps
    // or conflicts makes two neighbours that do.
    let meets = |pair: &[&Path]| relation(pair[0], pair[1]) != Relation::Apart;
    if !sorted.windows(2).any(meets) {
        return Ok(());
    }
    let mut conflict = None;
    for (place, second) in paths.iter().enumerate() {
        for first in &paths[..place] {
            match relation(first, second) {
                Relation::Overlap => return Err(refusal(kind, "overlap", first, second)),
                Relation::Conflict => conflict = conflict.or(Some((*first, *second))),
                Relation::Apart => {}
            }
        }
    }
    match conflict {
        Some((first, second)) => Err(refusal(kind, "conflict", first, second)),
        None => Ok(()),
    }
}

fn refusal(kind: Kind, how: &str, first: &Path, second: &Path) -> ExpressionError {
    kind.error(format_args!(
        "Two document paths {how} with each other; must remove or rewrite one of these paths; \
         path one: {}, path two: {}",
        print_path(first),
        print_path(second)
    ))
}

fn relation(left: &Path, right: &Path) -> Relation {
    for (left, right) in left.iter().zip(right) {
        match (left, right) {
            _ if left == right => {}
            (Step::Name(_), Step::Name(_)) | (Step::Index(_), Step::Index(_)) => return Relation::Apart,
            _ => return Relation::Conflict,
        }
    }
    Relation::Overlap
}

fn order(left: &Path, right: &Path) -> Ordering {
    let steps = left.iter().zip(right).map(|(left, right)| match (left, right) {
        (Step::Index(left), Step::Index(right)) => left.cmp(right),
        (Step::Name(left), Step::Name(right)) => left.cmp(right),
        (Step::Index(_), Step::Name(_)) => Ordering::Less,
        (Step::Name(_), Step::Index(_)) => Ordering::Greater,
    });
    steps.fold(Ordering::Equal, Ordering::then).then(left.len().cmp(&right.len()))
}
