//! What a request adds to its expressions: what `#names` and `:values` stand for, and which of them were used.
//!
//! Invariant: a placeholder counts as used when some expression of the request names it, whether or not that part is
//! ever evaluated. The caller binds in AWS's order: update, condition, key condition, filter, projection; then `finish`.

use std::collections::HashMap;

use super::cache::Cache;
use super::condition::Condition;
use super::key_condition::{KeyCondition, resolve_key_condition};
use super::overlap::check_paths;
use super::resolve::{Bound, resolve_condition};
use super::update::{Update, resolve_update};
use super::{ExpressionError, Kind, PLACEHOLDER_BYTES_MAX, lexer};
use crate::value::Value;
use crate::value::path::{Path, Projection, Step};

/// `ExpressionAttributeNames` and `ExpressionAttributeValues` as sent, signs included.
#[derive(Clone, Default)]
pub struct Placeholders {
    /// What each `#name` stands for.
    pub names: Vec<(Box<str>, Box<str>)>,
    /// What each `:value` stands for.
    pub values: Vec<(Box<str>, Value)>,
}

/// Checks the keys of `ExpressionAttributeNames`, and that there is one.
///
/// # Errors
/// AWS's words for an empty map, and for the first key that is none.
pub fn check_names(names: &[(Box<str>, Box<str>)]) -> Result<(), ExpressionError> {
    check_keys("ExpressionAttributeNames", b'#', names.iter().map(|(key, _)| &**key))
}

/// Checks the keys of `ExpressionAttributeValues`, and that there is one.
///
/// # Errors
/// AWS's words for an empty map, and for the first key that is none.
pub fn check_values(values: &[(Box<str>, Value)]) -> Result<(), ExpressionError> {
    check_keys("ExpressionAttributeValues", b':', values.iter().map(|(key, _)| &**key))
}

fn check_keys<'k>(
    parameter: &str,
    sign: u8,
    keys: impl Iterator<Item = &'k str>,
) -> Result<(), ExpressionError> {
    let mut empty = true;
    for key in keys {
        empty = false;
        let bytes = key.as_bytes();
        let is_key = bytes.first() == Some(&sign)
            && bytes.len() > 1
            && lexer::word_bytes(&bytes[1..]) == bytes.len() - 1
            && bytes.len() <= PLACEHOLDER_BYTES_MAX;
        if !is_key {
            let message = format!("{parameter} contains invalid key: Syntax error; key: \"{key}\"");
            return Err(ExpressionError(message));
        }
    }
    if empty { Err(ExpressionError(format!("{parameter} must not be empty"))) } else { Ok(()) }
}

/// One of the two maps, with what was used of it.
struct Map<'p, T> {
    entries: &'p [(Box<str>, T)],
    used: Vec<bool>,
    /// Only of large maps, so that a text with many references to one is no square.
    index: Option<HashMap<&'p str, usize>>,
}

/// From so many entries on a map is indexed.
const INDEXED_COUNT_MIN: usize = 16;

impl<'p, T> Map<'p, T> {
    fn new(entries: &'p [(Box<str>, T)]) -> Map<'p, T> {
        let index = (entries.len() >= INDEXED_COUNT_MIN)
            .then(|| entries.iter().enumerate().map(|(place, (key, _))| (&**key, place)).collect());
        Map { entries, used: vec![false; entries.len()], index }
    }

    /// Finds an entry and marks it as used. Of two with the same key the last one counts.
    fn find(&mut self, key: &str) -> Option<usize> {
        let place = match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().rposition(|(known, _)| &**known == key),
        }?;
        self.used[place] = true;
        Some(place)
    }

    /// The error that names what was not used, in the order of the request.
    fn unused(&self, parameter: &str) -> Result<(), ExpressionError> {
        let keys: Vec<&str> = self
            .entries
            .iter()
            .zip(&self.used)
            .filter(|(_, used)| !**used)
            .map(|((key, _), _)| &**key)
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys = keys.join(", ");
        Err(ExpressionError(format!("Value provided in {parameter} unused in expressions: keys: {{{keys}}}")))
    }
}

/// Binds the expressions of one request.
pub struct Binder<'p> {
    names: Map<'p, Box<str>>,
    values: Map<'p, Value>,
}

impl<'p> Binder<'p> {
    /// Begins with what the request has; None is a map that was not sent.
    #[must_use]
    pub fn new(
        names: Option<&'p [(Box<str>, Box<str>)]>,
        values: Option<&'p [(Box<str>, Value)]>,
    ) -> Binder<'p> {
        Binder { names: Map::new(names.unwrap_or_default()), values: Map::new(values.unwrap_or_default()) }
    }

    /// Binds a condition or a filter.
    ///
    /// # Errors
    /// The first fault in AWS's order.
    pub fn condition(
        &mut self,
        cache: &mut Cache,
        kind: Kind,
        text: &str,
    ) -> Result<Condition, ExpressionError> {
        let program = cache.condition(kind, text)?;
        let bound = resolve_condition(self, kind, &program)?;
        Ok(Condition::new(program, bound))
    }

    /// Binds an UpdateExpression.
    ///
    /// # Errors
    /// The first fault in AWS's order.
    pub fn update(&mut self, cache: &mut Cache, text: &str) -> Result<Update, ExpressionError> {
        let program = cache.update(text)?;
        let bound = resolve_update(self, &program)?;
        Ok(Update::new(program, bound, false))
    }

    /// Binds a ProjectionExpression: what it shows, and its paths in the order of the text.
    ///
    /// # Errors
    /// The first fault in AWS's order.
    pub fn projection(
        &mut self,
        cache: &mut Cache,
        text: &str,
    ) -> Result<(Projection, Vec<Vec<Step>>), ExpressionError> {
        let terms = cache.projection(text)?;
        let mut bound = Bound::default();
        for steps in &terms.paths {
            bound.resolve_path(self, Kind::Projection, steps)?;
        }
        let paths: Vec<&Path> = bound.paths.iter().map(Vec::as_slice).collect();
        check_paths(Kind::Projection, &paths)?;
        Ok((Projection::new(&bound.paths), bound.paths))
    }

    /// Binds a KeyConditionExpression, as far as that goes without the key.
    ///
    /// # Errors
    /// The first fault, clause by clause as written.
    pub fn key_condition(&mut self, cache: &mut Cache, text: &str) -> Result<KeyCondition, ExpressionError> {
        let program = cache.condition(Kind::KeyCondition, text)?;
        resolve_key_condition(self, &program)
    }

    /// Ends: everything that was sent must have been used.
    ///
    /// # Errors
    /// Names that were not used, else values that were not used.
    pub fn finish(self) -> Result<(), ExpressionError> {
        self.names.unused("ExpressionAttributeNames")?;
        self.values.unused("ExpressionAttributeValues")
    }

    /// What a `#name` stands for.
    pub(super) fn name(&mut self, key: &str, kind: Kind) -> Result<&'p str, ExpressionError> {
        let entries = self.names.entries;
        self.names.find(key).map(|place| &*entries[place].1).ok_or_else(|| {
            kind.error(format_args!(
                "An expression attribute name used in the document path is not defined; attribute name: {key}"
            ))
        })
    }

    /// The place of a `:value` among those of the request, and what it stands for.
    pub(super) fn value(&mut self, key: &str, kind: Kind) -> Result<(usize, &'p Value), ExpressionError> {
        let entries = self.values.entries;
        self.values.find(key).map(|place| (place, &entries[place].1)).ok_or_else(|| {
            kind.error(format_args!(
                "An expression attribute value used in expression is not defined; attribute value: {key}"
            ))
        })
    }
}
