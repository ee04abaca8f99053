//! What a WHERE clause says about keys.
//!
//! Invariant: only what holds whenever the whole clause does is used for keys: tests joined by AND alone, and choices
//! between values of one attribute; the clause itself is still asked of every item, unless it says nothing but the key.

use crate::expression::Condition;
use crate::expression::key_condition::{Clause, ClauseTest, KeyCondition, KeyTest};
use crate::expression::maker::Maker;
use crate::expression::program::{Comparator, Instruction};
use crate::model::table::KeyAttribute;
use crate::value::{Item, Value};

use super::PartiqlError;

/// A WHERE clause.
#[derive(Clone)]
pub struct Where {
    condition: Condition,
    /// Tests of one attribute that hold whenever the clause does.
    clauses: Vec<KeyClause>,
    /// Whether the clause is nothing but those.
    only_clauses: bool,
}

/// A test of one top-level attribute against values.
#[derive(Clone)]
pub(super) struct KeyClause {
    pub name: Box<str>,
    pub operator: KeyOperator,
}

#[derive(Clone)]
pub(super) enum KeyOperator {
    Compare(Comparator, Value),
    Between(Value, Value),
    BeginsWith(Value),
    In(Vec<Value>),
}

/// How a SELECT reaches its items.
#[derive(Clone)]
pub enum Access {
    /// By these parts of a table or an index, one after the other.
    Keys(Vec<KeyTest>),
    /// By looking at everything.
    Scan,
}

/// The most parts that one statement reads; with more it looks at everything.
const PART_COUNT_MAX: usize = 100;

/// The words for a write or a check without its whole key.
pub(super) fn missing_key() -> PartiqlError {
    PartiqlError::new("Where clause does not contain a mandatory equality on all key attributes")
}

impl Where {
    pub(super) fn new(maker: Maker, clauses: Vec<(usize, KeyClause)>) -> Where {
        let (clauses, only_clauses) = joined_by_and(&maker.program.code, clauses);
        Where { condition: maker.into_condition(), clauses, only_clauses }
    }

    /// The whole clause.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// The whole key of an item, which a write or a check must name; and whether the clause says more than the key.
    ///
    /// # Errors
    /// AWS's words if an attribute of the key has no equality.
    pub fn key(&self, names: &[&str]) -> Result<(Item, bool), PartiqlError> {
        let mut pairs = Vec::with_capacity(names.len());
        for name in names {
            let value = self.clauses.iter().find_map(|clause| match &clause.operator {
                KeyOperator::Compare(Comparator::Equal, value) if &*clause.name == *name => Some(value),
                _ => None,
            });
            pairs.push((*name, value.ok_or_else(missing_key)?.as_ref()));
        }
        let guarded = !self.only_clauses || self.clauses.len() > names.len();
        Ok((Item::from_pairs(pairs.into_iter()), guarded))
    }

    /// How to reach the items of a table or an index with this key.
    ///
    /// # Errors
    /// AWS's words for two conditions on the sort key, and for values that no key has.
    pub fn access(&self, hash: &[KeyAttribute], sort: &[KeyAttribute]) -> Result<Access, PartiqlError> {
        let mut parts: Vec<Vec<Clause>> = vec![Vec::new()];
        for key in hash {
            let equal = self.of(&key.name).find_map(|operator| match operator {
                KeyOperator::Compare(Comparator::Equal, value) => Some(std::slice::from_ref(value)),
                KeyOperator::In(values) => Some(values.as_slice()),
                _ => None,
            });
            let Some(values) = equal else { return Ok(Access::Scan) };
            let Some(more) = multiplied(parts, &key.name, values) else { return Ok(Access::Scan) };
            parts = more;
        }
        for key in sort {
            let mut usable = self.of(&key.name).filter(|operator| operator.is_of_keys());
            let Some(operator) = usable.next() else { break };
            if usable.next().is_some() {
                return Err(PartiqlError::new(
                    "Overlapping conditions with range keys are not supported in where clause",
                ));
            }
            let test = match operator {
                KeyOperator::In(values) => {
                    let Some(more) = multiplied(parts, &key.name, values) else { return Ok(Access::Scan) };
                    parts = more;
                    continue;
                }
                KeyOperator::Compare(comparator, value) => ClauseTest::Compare(*comparator, value.clone()),
                KeyOperator::Between(low, high) => ClauseTest::Between(low.clone(), high.clone()),
                KeyOperator::BeginsWith(prefix) => ClauseTest::BeginsWith(prefix.clone()),
            };
            let is_equal = matches!(test, ClauseTest::Compare(Comparator::Equal, _));
            for part in &mut parts {
                part.push(Clause { name: key.name.clone(), test: test.clone() });
            }
            // Behind an inequality no further attribute of the key narrows the part.
            if !is_equal {
                break;
            }
        }
        let bind = |clauses| KeyCondition::new(clauses).bind(hash, sort);
        let tests: Result<Vec<KeyTest>, _> = parts.into_iter().map(bind).collect();
        tests.map(Access::Keys).map_err(|error| PartiqlError::new(error.into_message()))
    }

    /// The clause as a filter over the items of `access`; None if those are all that it asks for.
    #[must_use]
    pub fn filter(&self, hash: &[KeyAttribute], sort: &[KeyAttribute]) -> Option<Condition> {
        let is_key = |clause: &KeyClause| {
            hash.iter().chain(sort).any(|key| key.name == clause.name) && clause.operator.is_of_keys()
        };
        // One clause for each attribute, the sort key's at most one: then the parts say the same.
        let distinct =
            |clause: &KeyClause| self.clauses.iter().filter(|other| other.name == clause.name).count() == 1;
        let said = hash.len() == 1
            && sort.len() <= 1
            && self.only_clauses
            && self.of(&hash[0].name).all(KeyOperator::is_equality)
            && self.clauses.iter().all(|clause| is_key(clause) && distinct(clause));
        (!said).then(|| self.condition.clone())
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &KeyOperator> {
        self.clauses.iter().filter(move |clause| &*clause.name == name).map(|clause| &clause.operator)
    }
}

impl KeyOperator {
    fn is_of_keys(&self) -> bool {
        !matches!(self, KeyOperator::Compare(Comparator::NotEqual, _))
    }

    fn is_equality(&self) -> bool {
        matches!(self, KeyOperator::Compare(Comparator::Equal, _) | KeyOperator::In(_))
    }
}

/// Every part with each of some values, in the order of the values; a value that comes twice counts once. None: that would
/// be too many parts.
fn multiplied(parts: Vec<Vec<Clause>>, name: &str, values: &[Value]) -> Option<Vec<Vec<Clause>>> {
    let mut distinct: Vec<&Value> = Vec::with_capacity(values.len());
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    if parts.len() * distinct.len() > PART_COUNT_MAX {
        return None;
    }
    let with = |part: &Vec<Clause>, value: &Value| {
        let test = ClauseTest::Compare(Comparator::Equal, value.clone());
        let mut part = part.clone();
        part.push(Clause { name: name.into(), test });
        part
    };
    Some(parts.iter().flat_map(|part| distinct.iter().map(move |value| with(part, value))).collect())
}

/// What a part of the code comes to.
enum Part {
    /// What must hold whenever the part does, and whether the part is nothing but that.
    Must(Vec<KeyClause>, bool),
    /// One attribute is one of these values, which OR may go on with.
    Choice(Box<str>, Vec<Value>),
}

impl Part {
    /// A test, with what it says about an attribute alone.
    fn test(clause: Option<KeyClause>) -> Part {
        let is_all = clause.is_some();
        Part::Must(clause.into_iter().collect(), is_all)
    }

    fn nothing() -> Part {
        Part::Must(Vec::new(), false)
    }

    fn must(self) -> (Vec<KeyClause>, bool) {
        match self {
            Part::Must(must, is_all) => (must, is_all),
            Part::Choice(name, values) => (vec![KeyClause { name, operator: KeyOperator::In(values) }], true),
        }
    }

    /// The attribute and the values, if the part is a choice between such.
    fn choice(self) -> Option<(Box<str>, Vec<Value>)> {
        match self {
            Part::Choice(name, values) => Some((name, values)),
            Part::Must(mut must, true) if must.len() == 1 => {
                let KeyClause { name, operator } = must.pop()?;
                match operator {
                    KeyOperator::Compare(Comparator::Equal, value) => Some((name, vec![value])),
                    KeyOperator::In(values) => Some((name, values)),
                    _ => None,
                }
            }
            Part::Must(..) => None,
        }
    }

    fn and(self, right: Part) -> Part {
        let ((mut must, left_is_all), (more, right_is_all)) = (self.must(), right.must());
        must.extend(more);
        Part::Must(must, left_is_all && right_is_all)
    }

    /// Of any other choice nothing must hold.
    fn or(self, right: Part) -> Part {
        match (self.choice(), right.choice()) {
            (Some((name, mut values)), Some((other, more))) if name == other => {
                values.extend(more);
                Part::Choice(name, values)
            }
            _ => Part::nothing(),
        }
    }
}

/// What must hold of single attributes whenever the code does, and whether that is all. `clauses`: what each test says
/// about an attribute alone, by its place.
fn joined_by_and(code: &[Instruction], clauses: Vec<(usize, KeyClause)>) -> (Vec<KeyClause>, bool) {
    let mut clauses = clauses.into_iter().peekable();
    let mut done: Vec<Part> = Vec::new();
    let mut waiting: Vec<(usize, bool)> = Vec::new();
    for place in 0..=code.len() {
        while waiting.last().is_some_and(|(end, _)| *end == place) {
            let and = waiting.pop().is_some_and(|(_, and)| and);
            let mut side = || done.pop().unwrap_or_else(Part::nothing);
            let (right, left) = (side(), side());
            done.push(if and { left.and(right) } else { left.or(right) });
        }
        match code.get(place) {
            Some(Instruction::Test(..)) => {
                let clause = clauses.next_if(|(of, _)| *of == place);
                done.push(Part::test(clause.map(|(_, clause)| clause)));
            }
            Some(Instruction::Not) => {
                done.pop();
                done.push(Part::nothing());
            }
            Some(Instruction::SkipIfFalse(end)) => waiting.push((*end as usize, true)),
            Some(Instruction::SkipIfTrue(end)) => waiting.push((*end as usize, false)),
            None => {}
        }
    }
    done.pop().map_or((Vec::new(), true), Part::must)
}
