//! The parameters from before expressions: Expected, filters, KeyConditions, AttributeUpdates, AttributesToGet.
//!
//! Invariant: each becomes the same form as the expression that replaced it, so there is one evaluator. Names are
//! top-level attributes: a dot is part of a name, and no word is reserved.
//! Leaves to wire: which parameters may stand beside each other, and the sets of enum values.

use super::key_condition::{Clause, ClauseTest, KeyCondition};
use super::maker::Maker;
use super::parse::update::{Assignment, Verb};
use super::program::{Comparator, Function, Instruction, Test};
use super::update::Update;
use super::{Condition, ExpressionError};
use crate::value::path::{Projection, Step};
use crate::value::{Kind as ValueKind, Value};

/// A comparison of a legacy condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `EQ`.
    Equal,
    /// `NE`.
    NotEqual,
    /// `IN`.
    In,
    /// `LE`.
    LessOrEqual,
    /// `LT`.
    Less,
    /// `GE`.
    GreaterOrEqual,
    /// `GT`.
    Greater,
    /// `BETWEEN`.
    Between,
    /// `NOT_NULL`.
    NotNull,
    /// `NULL`.
    Null,
    /// `CONTAINS`.
    Contains,
    /// `NOT_CONTAINS`.
    NotContains,
    /// `BEGINS_WITH`.
    BeginsWith,
}

/// Every operator with its name.
const OPERATORS: [(Operator, &str); 13] = [
    (Operator::Equal, "EQ"),
    (Operator::NotEqual, "NE"),
    (Operator::In, "IN"),
    (Operator::LessOrEqual, "LE"),
    (Operator::Less, "LT"),
    (Operator::GreaterOrEqual, "GE"),
    (Operator::Greater, "GT"),
    (Operator::Between, "BETWEEN"),
    (Operator::NotNull, "NOT_NULL"),
    (Operator::Null, "NULL"),
    (Operator::Contains, "CONTAINS"),
    (Operator::NotContains, "NOT_CONTAINS"),
    (Operator::BeginsWith, "BEGINS_WITH"),
];

impl Operator {
    /// The operator of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Operator> {
        OPERATORS.iter().find(|(_, known)| *known == name).map(|(operator, _)| *operator)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        OPERATORS.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    fn comparator(self) -> Option<Comparator> {
        Some(match self {
            Operator::Equal => Comparator::Equal,
            Operator::NotEqual => Comparator::NotEqual,
            Operator::LessOrEqual => Comparator::LessOrEqual,
            Operator::Less => Comparator::Less,
            Operator::GreaterOrEqual => Comparator::GreaterOrEqual,
            Operator::Greater => Comparator::Greater,
            _ => return None,
        })
    }
}

/// One attribute of Expected, of a filter or of KeyConditions, as sent.
#[derive(Clone)]
pub struct LegacyCondition {
    /// The attribute's name.
    pub name: Box<str>,
    /// `Value`; of Expected only.
    pub value: Option<Value>,
    /// `Exists`; of Expected only.
    pub exists: Option<bool>,
    /// `ComparisonOperator`.
    pub operator: Option<Operator>,
    /// `AttributeValueList`.
    pub values: Option<Vec<Value>>,
}

/// What AttributeUpdates does with an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LegacyAction {
    /// Sets it.
    Put,
    /// Adds to a number, a set or a list.
    Add,
    /// Removes it, or members of a set.
    Delete,
}

/// One attribute of AttributeUpdates, as sent.
#[derive(Clone)]
pub struct LegacyUpdate {
    /// The attribute's name.
    pub name: Box<str>,
    /// `Action`; PUT where none was sent.
    pub action: LegacyAction,
    /// `Value`.
    pub value: Option<Value>,
}

fn invalid(what: impl std::fmt::Display) -> ExpressionError {
    ExpressionError(format!("One or more parameter values were invalid: {what}"))
}

/// Checks that ConditionalOperator has something to join: `count` entries of Expected or of a filter, None without one.
///
/// # Errors
/// AWS's words for an operator without a filter, and for one with less than two conditions.
pub fn check_conditional_operator(count: Option<usize>) -> Result<(), ExpressionError> {
    let rule = match count {
        None => "cannot be used without Filter or Expected",
        Some(0 | 1) => "can only be used when Filter or Expected has two or more elements",
        Some(_) => return Ok(()),
    };
    Err(ExpressionError(format!("ConditionalOperator {rule}")))
}

/// Makes a condition of Expected. `any` joins its entries by OR.
///
/// # Errors
/// The first entry that says nothing or contradicts itself.
pub fn expected(entries: &[LegacyCondition], any: bool) -> Result<Condition, ExpressionError> {
    for entry in entries {
        check_expected(entry)?;
    }
    join(entries, any)
}

/// Makes a filter of QueryFilter or ScanFilter. `any` joins its entries by OR.
///
/// # Errors
/// The first entry that says nothing or contradicts itself.
pub fn filter(entries: &[LegacyCondition], any: bool) -> Result<Condition, ExpressionError> {
    for entry in entries {
        check_arguments(entry)?;
    }
    join(entries, any)
}

/// Makes a key condition of KeyConditions.
///
/// # Errors
/// Their number, then the first one that no key can answer.
pub fn key_conditions(entries: &[LegacyCondition]) -> Result<KeyCondition, ExpressionError> {
    if !(1..=2).contains(&entries.len()) {
        return Err(ExpressionError("Conditions can be of length 1 or 2 only".to_owned()));
    }
    let mut clauses = Vec::with_capacity(entries.len());
    for entry in entries {
        let (operator, values) = check_arguments(entry)?;
        let test = match (operator.comparator(), operator, values) {
            (Some(comparator), _, [value]) if comparator != Comparator::NotEqual => {
                ClauseTest::Compare(comparator, value.clone())
            }
            (_, Operator::Between, [low, high]) => ClauseTest::Between(low.clone(), high.clone()),
            (_, Operator::BeginsWith, [prefix]) => ClauseTest::BeginsWith(prefix.clone()),
            _ => {
                let words = "Attempted conditional constraint is not an indexable operation";
                return Err(ExpressionError(words.to_owned()));
            }
        };
        clauses.push(Clause { name: entry.name.clone(), test });
    }
    Ok(KeyCondition::new(clauses))
}

/// Makes an update of AttributeUpdates.
///
/// # Errors
/// The first entry whose action does not fit its value.
pub fn attribute_updates(entries: &[LegacyUpdate]) -> Result<Update, ExpressionError> {
    let mut maker = Maker::default();
    for entry in entries {
        let kind = entry.value.as_ref().map(|value| value.as_ref().kind());
        let is_set = matches!(kind, Some(ValueKind::Ss | ValueKind::Ns | ValueKind::Bs));
        let verb = match (entry.action, &entry.value, kind) {
            (LegacyAction::Delete, None, _) => Verb::Remove,
            (_, None, _) | (_, _, None) => {
                return Err(invalid("Only DELETE action is allowed when no attribute value is specified"));
            }
            (LegacyAction::Put, Some(value), _) => Verb::Set(Assignment::Copy(maker.value(value.clone()))),
            (LegacyAction::Add, Some(value), Some(ValueKind::N | ValueKind::L)) => {
                Verb::Add(maker.value(value.clone()))
            }
            (LegacyAction::Add, Some(value), _) if is_set => Verb::Add(maker.value(value.clone())),
            (LegacyAction::Delete, Some(value), _) if is_set => Verb::Delete(maker.value(value.clone())),
            (LegacyAction::Add, _, Some(kind)) => {
                return Err(invalid(format_args!(
                    "ADD action is not supported for the type {}",
                    kind.name()
                )));
            }
            (LegacyAction::Delete, _, Some(kind)) => {
                return Err(invalid(format_args!(
                    "DELETE action with value is not supported for the type {}",
                    kind.name()
                )));
            }
        };
        maker.action(vec![Step::Name(entry.name.clone())], verb);
    }
    Ok(maker.into_update(true))
}

/// Makes a projection of AttributesToGet, with its paths.
///
/// # Errors
/// A name that stands there twice.
pub fn attributes_to_get(names: &[Box<str>]) -> Result<(Projection, Vec<Vec<Step>>), ExpressionError> {
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    if let Some(name) = names.iter().find(|name| !seen.insert(&***name)) {
        return Err(invalid(format_args!("Duplicate value in attribute name: {name}")));
    }
    let paths: Vec<Vec<Step>> = names.iter().map(|name| vec![Step::Name(name.clone())]).collect();
    Ok((Projection::new(&paths), paths))
}

/// An entry of Expected has a value, or says that there is none, or has an operator with its list.
fn check_expected(entry: &LegacyCondition) -> Result<(), ExpressionError> {
    let name = &entry.name;
    if entry.values.is_some() && entry.value.is_some() {
        return Err(invalid(format_args!(
            "AttributeValueList and Value cannot be used together for Attribute: {name}"
        )));
    }
    if entry.operator.is_some() {
        if entry.exists.is_some() {
            return Err(invalid(format_args!(
                "Exists and ComparisonOperator cannot be used together for Attribute: {name}"
            )));
        }
        return check_arguments(entry).map(|_| ());
    }
    if entry.values.is_some() {
        return Err(invalid(format_args!(
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
        )));
    }
    match (entry.exists, &entry.value) {
        (Some(false), Some(_)) => {
            Err(invalid(format_args!("Value cannot be used when Exists is false for Attribute: {name}")))
        }
        (Some(true), None) => {
            Err(invalid(format_args!("Value must be provided when Exists is true for Attribute: {name}")))
        }
        (None, None) => {
            Err(invalid(format_args!("Value must be provided when Exists is null for Attribute: {name}")))
        }
        (Some(false), None) | (Some(true) | None, Some(_)) => Ok(()),
    }
}

/// Checks an operator against its values, and answers both.
fn check_arguments(entry: &LegacyCondition) -> Result<(Operator, &[Value]), ExpressionError> {
    let values = match (&entry.values, &entry.value) {
        (Some(values), _) => values.as_slice(),
        (None, Some(value)) => std::slice::from_ref(value),
        (None, None) => &[],
    };
    // Filters and KeyConditions always have an operator: wire refuses those without.
    let operator = entry.operator.unwrap_or(Operator::Equal);
    let fits = match operator {
        Operator::Null | Operator::NotNull => values.is_empty(),
        Operator::Between => values.len() == 2,
        Operator::In => !values.is_empty(),
        _ => values.len() == 1,
    };
    let name = operator.name();
    if !fits {
        return Err(wrong_number(operator));
    }
    let mut kinds = values.iter().map(|value| value.as_ref().kind());
    let Some(kind) = kinds.next() else { return Ok((operator, values)) };
    if kinds.any(|other| other != kind) {
        return Err(invalid("AttributeValues inside AttributeValueList must be of same type"));
    }
    let is_set = matches!(kind, ValueKind::Ss | ValueKind::Ns | ValueKind::Bs);
    let takes = match operator {
        Operator::Equal | Operator::NotEqual | Operator::Null | Operator::NotNull => true,
        Operator::BeginsWith => matches!(kind, ValueKind::S | ValueKind::B),
        Operator::Contains | Operator::NotContains => !is_set,
        _ => matches!(kind, ValueKind::S | ValueKind::N | ValueKind::B),
    };
    if !takes {
        return Err(invalid(format_args!(
            "ComparisonOperator {name} is not valid for {} AttributeValue type",
            kind.name()
        )));
    }
    if let (Operator::Between, [low, high]) = (operator, values)
        && low.as_ref().compare(&high.as_ref()).is_some_and(std::cmp::Ordering::is_gt)
    {
        return Err(ExpressionError(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
                .to_owned(),
        ));
    }
    Ok((operator, values))
}

fn wrong_number(operator: Operator) -> ExpressionError {
    invalid(format_args!("Invalid number of argument(s) for the {} ComparisonOperator", operator.name()))
}

/// Joins entries that were checked.
fn join(entries: &[LegacyCondition], any: bool) -> Result<Condition, ExpressionError> {
    let mut maker = Maker::default();
    let mut split = None;
    for entry in entries {
        if let Some(first) = entries.first()
            && !std::ptr::eq(first, entry)
        {
            split = Some(maker.program.split(!any));
        }
        push_test(&mut maker, entry)?;
        if let Some(split) = split {
            maker.program.join(split);
        }
    }
    Ok(maker.into_condition())
}

fn push_test(maker: &mut Maker, entry: &LegacyCondition) -> Result<(), ExpressionError> {
    let path = maker.path(vec![Step::Name(entry.name.clone())]);
    let call = |maker: &mut Maker, function, operands: &[_]| {
        let list = maker.program.terms.add_list(operands);
        maker.test(Test::Call(function, list));
    };
    if entry.operator.is_none() && entry.exists == Some(false) {
        call(maker, Function::AttributeNotExists, &[path]);
        return Ok(());
    }
    let (operator, values) = check_arguments(entry)?;
    let values: Vec<_> = values.iter().map(|value| maker.value(value.clone())).collect();
    match (operator, values.as_slice()) {
        (Operator::Null, _) => call(maker, Function::AttributeNotExists, &[path]),
        (Operator::NotNull, _) => call(maker, Function::AttributeExists, &[path]),
        (Operator::Between, [low, high]) => {
            maker.test(Test::Between { value: path, low: *low, high: *high });
        }
        (Operator::In, members) => {
            let list = maker.program.terms.add_list(members);
            maker.test(Test::In(path, list));
        }
        (Operator::BeginsWith, [prefix]) => call(maker, Function::BeginsWith, &[path, *prefix]),
        (Operator::Contains, [part]) => call(maker, Function::Contains, &[path, *part]),
        (Operator::NotContains, [part]) => {
            // True of an attribute that does not exist too.
            call(maker, Function::Contains, &[path, *part]);
            maker.program.code.push(Instruction::Not);
        }
        (operator, [value]) => {
            let comparator = operator.comparator().unwrap_or(Comparator::Equal);
            maker.test(Test::Compare(comparator, path, *value));
        }
        (operator, _) => return Err(wrong_number(operator)),
    }
    Ok(())
}
