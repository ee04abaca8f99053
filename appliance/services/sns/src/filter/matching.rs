//! Whether a compiled policy holds for a message.
//! Invariant: each member of a body is looked at once for each object of the policy that could hold there, so time is the
//! body's length times the policy's branches; recursion goes as deep as the policy, not as the body.
//! Leaves to condition.rs: single values.
//!
//! A key holds if one of its scalars matches, elements of arrays (also of arrays in arrays) each for itself. An object of
//! the policy holds for an array if it holds for one object in it as a whole. Where a key has no scalar, only
//! `{"exists": false}` holds.

use super::condition::Conditions;
use super::parse::{Node, Rule};
use super::tape::{Kind, Place, Tape};
use super::{Attribute, Value};
use crate::filter::condition::Scalar;
use crate::filter::number::Number;

/// Whether the policy holds for the attributes. A name that comes twice has both values.
pub(super) fn attributes(node: &Node, attributes: &[Attribute<'_>]) -> bool {
    let mut found = Found::default();
    for attribute in attributes {
        if matches!(attribute.value, Value::Hidden) {
            continue;
        }
        let Some((index, rule)) = key(node, attribute.name) else { continue };
        let holds = match rule {
            Rule::Values(conditions) => value(conditions, &attribute.value),
            // Policies over attributes are not nested.
            Rule::Nested(_) => false,
        };
        found.add(index, rule, holds);
    }
    found.all_hold(node)
        && node
            .alternatives
            .iter()
            .all(|branches| branches.iter().any(|branch| self::attributes(branch, attributes)))
}

/// Whether one of the conditions holds for an attribute that is there.
fn value(conditions: &Conditions, value: &Value<'_>) -> bool {
    if conditions.has_exists {
        return true;
    }
    match value {
        Value::Text(text) => conditions.matches(Scalar::Text(text)),
        Value::Number(text) => conditions.matches(Scalar::Number(Number::parse(text.trim()).ok())),
        Value::Array { text, tape } => {
            let tape = tape.get_or_init(|| Tape::read(text).filter(|tape| tape.kind(0) == Kind::Array));
            tape.as_ref().is_some_and(|tape| scalars(tape, 0).any(|scalar| conditions.matches(scalar)))
        }
        Value::Hidden => false,
    }
}

/// Whether the policy holds for a body, which must be an object.
pub(super) fn body(node: &Node, tape: &Tape<'_>) -> bool {
    tape.kind(0) == Kind::Object && object(node, tape, 0)
}

/// Whether all of the node holds for one object.
fn object(node: &Node, tape: &Tape<'_>, place: Place) -> bool {
    let mut found = Found::default();
    for (name, value) in tape.members(place) {
        let Some((index, rule)) = key(node, name) else { continue };
        let holds = match rule {
            Rule::Values(conditions) => leaf(conditions, tape, value),
            Rule::Nested(inner) => nested(inner, tape, value),
        };
        found.add(index, rule, holds);
    }
    found.all_hold(node)
        && node.alternatives.iter().all(|branches| branches.iter().any(|branch| object(branch, tape, place)))
}

/// Whether the node holds for a value: for one object of an array, or for nothing if no object is there.
fn nested(node: &Node, tape: &Tape<'_>, place: Place) -> bool {
    let mut has_object = false;
    for value in tape.flat(place).filter(|value| tape.kind(*value) == Kind::Object) {
        has_object = true;
        if object(node, tape, value) {
            return true;
        }
    }
    !has_object && node.holds_for_nothing
}

/// Whether one of the conditions holds for a value.
fn leaf(conditions: &Conditions, tape: &Tape<'_>, place: Place) -> bool {
    let mut has_scalar = false;
    for scalar in scalars(tape, place) {
        has_scalar = true;
        if conditions.matches(scalar) {
            return true;
        }
    }
    !has_scalar && conditions.has_absent
}

fn scalars<'t>(tape: &'t Tape<'_>, place: Place) -> impl Iterator<Item = Scalar<'t>> {
    tape.flat(place).filter_map(|value| tape.scalar_at(value))
}

fn key<'n>(node: &'n Node, name: &str) -> Option<(usize, &'n Rule)> {
    let index = node.keys.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
    Some((index, &node.keys[index].1))
}

/// Which keys of a node have been met, and whether they hold.
#[derive(Default)]
struct Found {
    keys: Vec<Met>,
}

struct Met {
    index: usize,
    holds: bool,
    is_required: bool,
}

impl Found {
    fn add(&mut self, index: usize, rule: &Rule, holds: bool) {
        self.keys.push(Met { index, holds, is_required: !rule.holds_for_nothing() });
    }

    /// Whether every key holds: those that were met, and those that were not because nothing is right for them. A name that
    /// was met twice holds if one of its values does.
    fn all_hold(mut self, node: &Node) -> bool {
        self.keys.sort_unstable_by_key(|met| (met.index, !met.holds));
        self.keys.dedup_by_key(|met| met.index);
        let required = self.keys.iter().filter(|met| met.is_required).count();
        required == node.required_count && self.keys.iter().all(|met| met.holds)
    }
}
