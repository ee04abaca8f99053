//! The parameters from before there were expressions, as sent.
//! Invariant: as of the module.
//! Leaves to expression/legacy.rs: what they mean.

use super::item::Shape;
use super::{Entries, Text};
use crate::expression::legacy::{LegacyAction, Operator};
use crate::json::{self, JsonError, Reader, ValueError};
use crate::value::Value;
use crate::wire::constraint::{Violations, Word};

/// The older parameters of one request.
#[derive(Default)]
pub struct Legacy<'a> {
    /// `AttributesToGet`
    pub attributes_to_get: Option<Vec<Text<'a>>>,
    /// `AttributeUpdates`
    pub updates: Option<Entries<SentUpdate<'a>>>,
    /// `Expected`
    pub expected: Option<Entries<SentCondition<'a>>>,
    /// `ConditionalOperator`
    pub operator: Option<Text<'a>>,
    /// `KeyConditions`
    pub key_conditions: Option<Entries<SentCondition<'a>>>,
    /// `QueryFilter`
    pub query_filter: Option<Entries<SentCondition<'a>>>,
    /// `ScanFilter`
    pub scan_filter: Option<Entries<SentCondition<'a>>>,
    /// A list or map of these had more entries than are kept.
    is_too_long: bool,
}

/// Entries of one of these lists and maps at most. It is ours: AWS's own bound is the size of the request.
const ENTRY_COUNT_MAX: usize = 4_096;

/// An `ExpectedAttributeValue`, or a `Condition`, which has not the first two members.
#[derive(Default)]
pub struct SentCondition<'a> {
    /// `Value`
    pub value: Option<Value>,
    /// `Exists`
    pub exists: Option<bool>,
    /// `ComparisonOperator`
    pub operator: Option<Text<'a>>,
    /// `AttributeValueList`
    pub list: Option<Vec<Value>>,
    /// What is wrong with the first value that is not well formed.
    pub error: Option<ValueError>,
}

/// An `AttributeValueUpdate`.
#[derive(Default)]
pub struct SentUpdate<'a> {
    /// `Value`
    pub value: Option<Value>,
    /// `Action`
    pub action: Option<Text<'a>>,
    /// What is wrong with the value.
    pub error: Option<ValueError>,
}

impl Word for Operator {
    const WORDS: &'static [(&'static str, Operator)] = &[
        ("IN", Operator::In),
        ("NULL", Operator::Null),
        ("BETWEEN", Operator::Between),
        ("LT", Operator::Less),
        ("NOT_CONTAINS", Operator::NotContains),
        ("EQ", Operator::Equal),
        ("GT", Operator::Greater),
        ("NOT_NULL", Operator::NotNull),
        ("NE", Operator::NotEqual),
        ("LE", Operator::LessOrEqual),
        ("BEGINS_WITH", Operator::BeginsWith),
        ("GE", Operator::GreaterOrEqual),
        ("CONTAINS", Operator::Contains),
    ];
}

impl Word for LegacyAction {
    const WORDS: &'static [(&'static str, LegacyAction)] =
        &[("ADD", LegacyAction::Add), ("DELETE", LegacyAction::Delete), ("PUT", LegacyAction::Put)];
}

const CONDITION_MAP: &str = "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.Condition>";
const EXPECTED_MAP: &str =
    "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.ExpectedAttributeValue>";
const UPDATE_MAP: &str =
    "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValueUpdate>";

impl<'a> Legacy<'a> {
    /// Takes a member of a request on one item, if its shape has it.
    pub fn item_member(
        legacy: &mut Option<Box<Legacy<'a>>>,
        shape: Shape,
        name: &str,
        r: &mut Reader<'a>,
    ) -> Result<bool, JsonError> {
        let is_write = shape != Shape::Get;
        match name {
            "AttributesToGet" if !is_write => legacy.get_or_insert_default().read_names(r)?,
            "AttributeUpdates" if shape == Shape::Update => legacy.get_or_insert_default().read_updates(r)?,
            "Expected" if is_write => {
                let legacy = legacy.get_or_insert_default();
                legacy.expected = Some(legacy.read_conditions(r, EXPECTED_MAP, true)?);
            }
            "ConditionalOperator" if is_write => {
                legacy.get_or_insert_default().operator = Some(r.string()?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes a member of Query or Scan.
    pub fn page_member(
        legacy: &mut Option<Box<Legacy<'a>>>,
        is_query: bool,
        name: &str,
        r: &mut Reader<'a>,
    ) -> Result<bool, JsonError> {
        match name {
            "AttributesToGet" => legacy.get_or_insert_default().read_names(r)?,
            "ConditionalOperator" => legacy.get_or_insert_default().operator = Some(r.string()?),
            "KeyConditions" if is_query => {
                let legacy = legacy.get_or_insert_default();
                legacy.key_conditions = Some(legacy.read_conditions(r, CONDITION_MAP, false)?);
            }
            "QueryFilter" if is_query => {
                let legacy = legacy.get_or_insert_default();
                legacy.query_filter = Some(legacy.read_conditions(r, CONDITION_MAP, false)?);
            }
            "ScanFilter" if !is_query => {
                let legacy = legacy.get_or_insert_default();
                legacy.scan_filter = Some(legacy.read_conditions(r, CONDITION_MAP, false)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The parameters that are there, in the order in which AWS names them.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            (self.attributes_to_get.is_some(), "AttributesToGet"),
            (self.updates.is_some(), "AttributeUpdates"),
            (self.expected.is_some(), "Expected"),
            (self.operator.is_some(), "ConditionalOperator"),
            (self.key_conditions.is_some(), "KeyConditions"),
            (self.query_filter.is_some(), "QueryFilter"),
            (self.scan_filter.is_some(), "ScanFilter"),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
    }

    /// The member constraints, `ConditionalOperator` excepted.
    pub fn constraints(&self, violations: &mut Violations) {
        if self.is_too_long {
            violations.add(format!("Older parameters must have at most {ENTRY_COUNT_MAX} entries each"));
        }
        if let Some(names) = &self.attributes_to_get {
            violations.count("attributesToGet", "[]", names.len(), 1, usize::MAX);
        }
        let maps = [
            ("expected", &self.expected),
            ("keyConditions", &self.key_conditions),
            ("queryFilter", &self.query_filter),
            ("scanFilter", &self.scan_filter),
        ];
        for (member, conditions) in maps {
            for (name, condition) in conditions.iter().flat_map(Entries::list) {
                let path = format!("{member}.{name}.member.comparisonOperator");
                if member != "expected" {
                    violations.required(&path, condition.operator.is_some());
                }
                violations.word::<Operator>(&path, condition.operator.as_deref());
            }
        }
        for (name, update) in self.updates.iter().flat_map(Entries::list) {
            let path = format!("attributeUpdates.{name}.member.action");
            violations.word::<LegacyAction>(&path, update.action.as_deref());
        }
    }

    fn read_names(&mut self, r: &mut Reader<'a>) -> Result<(), JsonError> {
        let mut names = Vec::new();
        r.list(&mut |r| {
            if names.len() >= ENTRY_COUNT_MAX {
                self.is_too_long = true;
                return r.skip();
            }
            names.push(r.string()?);
            Ok(())
        })?;
        self.attributes_to_get = Some(names);
        Ok(())
    }

    fn read_conditions(
        &mut self,
        r: &mut Reader<'a>,
        java: &'static str,
        is_expected: bool,
    ) -> Result<Entries<SentCondition<'a>>, JsonError> {
        let mut conditions = Entries::default();
        r.map(java, &mut |name, r| {
            if conditions.len() >= ENTRY_COUNT_MAX {
                self.is_too_long = true;
                return Ok(false);
            }
            conditions.put(name, SentCondition::read(r, is_expected)?);
            Ok(true)
        })?;
        Ok(conditions)
    }

    fn read_updates(&mut self, r: &mut Reader<'a>) -> Result<(), JsonError> {
        let mut updates = Entries::default();
        r.map(UPDATE_MAP, &mut |name, r| {
            if updates.len() >= ENTRY_COUNT_MAX {
                self.is_too_long = true;
                return Ok(false);
            }
            updates.put(name, SentUpdate::read(r)?);
            Ok(true)
        })?;
        self.updates = Some(updates);
        Ok(())
    }
}

impl<'a> SentCondition<'a> {
    fn read(r: &mut Reader<'a>, is_expected: bool) -> Result<SentCondition<'a>, JsonError> {
        let mut condition = SentCondition::default();
        let shape = if is_expected { "ExpectedAttributeValue" } else { "Condition" };
        r.structure(shape, &mut |member, r| {
            match member {
                "Value" if is_expected => {
                    let read = json::read_value(r)?;
                    condition.error = condition.error.take().or(read.error);
                    condition.value = Some(read.value);
                }
                "Exists" if is_expected => condition.exists = Some(r.boolean()?),
                "ComparisonOperator" => condition.operator = Some(r.string()?),
                "AttributeValueList" => {
                    let mut values = Vec::new();
                    r.list(&mut |r| {
                        let read = json::read_value(r)?;
                        condition.error = condition.error.take().or(read.error);
                        values.push(read.value);
                        Ok(())
                    })?;
                    condition.list = Some(values);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(condition)
    }
}

impl<'a> SentUpdate<'a> {
    fn read(r: &mut Reader<'a>) -> Result<SentUpdate<'a>, JsonError> {
        let mut update = SentUpdate::default();
        r.structure("AttributeValueUpdate", &mut |member, r| {
            match member {
                "Value" => {
                    let read = json::read_value(r)?;
                    update.error = read.error;
                    update.value = Some(read.value);
                }
                "Action" => update.action = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(update)
    }
}
