//! The expression members that several operations share, and the checks of them that need no table.
//! Invariant: after `check`, names and values are well formed and there is an expression that may use them.
//! Leaves to expression: the texts of expressions themselves.

use super::{Entries, Text};
use crate::expression::{Binder, check_names, check_values};
use crate::json::{self, JsonError, Reader, ValueError};
use crate::value::Value;
use crate::wire::error::Error;
use crate::wire::value::value_error;

/// The expression members of one request, or of one action of a transaction.
#[derive(Default)]
pub struct Expressions<'a> {
    /// `ExpressionAttributeNames`
    pub names: Option<Entries<Box<str>>>,
    /// `ExpressionAttributeValues`
    pub values: Option<Values>,
    /// `UpdateExpression`
    pub update: Option<Text<'a>>,
    /// `ConditionExpression`
    pub condition: Option<Text<'a>>,
    /// `KeyConditionExpression`
    pub key_condition: Option<Text<'a>>,
    /// `FilterExpression`
    pub filter: Option<Text<'a>>,
    /// `ProjectionExpression`
    pub projection: Option<Text<'a>>,
}

/// `ExpressionAttributeValues`.
#[derive(Default)]
pub struct Values {
    /// Those that are well formed.
    pub entries: Entries<Value>,
    /// The first one that is not, and what is wrong with it.
    pub error: Option<(Box<str>, ValueError)>,
}

/// The expression members that an operation has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds {
    /// `ExpressionAttributeValues`
    pub values: bool,
    /// `UpdateExpression`
    pub update: bool,
    /// `ConditionExpression`
    pub condition: bool,
    /// `KeyConditionExpression` and `FilterExpression`
    pub query: bool,
    /// `FilterExpression` alone
    pub filter: bool,
    /// `ProjectionExpression`
    pub projection: bool,
}

impl Kinds {
    const NONE: Kinds = Kinds {
        values: false,
        update: false,
        condition: false,
        query: false,
        filter: false,
        projection: false,
    };
    /// Of PutItem, DeleteItem, and the actions of transactions but updates.
    pub const CONDITION: Kinds = Kinds { values: true, condition: true, ..Kinds::NONE };
    /// Of UpdateItem.
    pub const UPDATE: Kinds = Kinds { update: true, ..Kinds::CONDITION };
    /// Of GetItem and what is like it.
    pub const PROJECTION: Kinds = Kinds { projection: true, ..Kinds::NONE };
    /// Of Query.
    pub const QUERY: Kinds = Kinds { values: true, query: true, filter: true, ..Kinds::PROJECTION };
    /// Of Scan.
    pub const SCAN: Kinds = Kinds { values: true, filter: true, ..Kinds::PROJECTION };

    /// The members, in AWS's words, of expressions that may use values.
    fn with_values(self) -> String {
        let all = [
            (self.update, "UpdateExpression"),
            (self.condition, "ConditionExpression"),
            (self.filter, "FilterExpression"),
            (self.query, "KeyConditionExpression"),
        ];
        let named: Vec<&str> = all.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        format!("{} {} null", named.join(" and "), if named.len() > 1 { "are" } else { "is" })
    }
}

impl<'a> Expressions<'a> {
    /// Takes a member if it is one of these.
    pub fn member(&mut self, kinds: Kinds, name: &str, r: &mut Reader<'a>) -> Result<bool, JsonError> {
        match name {
            "ExpressionAttributeNames" => {
                let mut names = Entries::default();
                r.map("java.util.Map<java.lang.String, java.lang.String>", &mut |name, r| {
                    if names.len() >= PLACEHOLDER_COUNT_MAX {
                        return Ok(false);
                    }
                    names.put(name, r.string()?.into());
                    Ok(true)
                })?;
                self.names = Some(names);
            }
            "ExpressionAttributeValues" if kinds.values => self.values = Some(read_values(r)?),
            "UpdateExpression" if kinds.update => self.update = Some(r.string()?),
            "ConditionExpression" if kinds.condition => self.condition = Some(r.string()?),
            "KeyConditionExpression" if kinds.query => self.key_condition = Some(r.string()?),
            "FilterExpression" if kinds.filter => self.filter = Some(r.string()?),
            "ProjectionExpression" if kinds.projection => self.projection = Some(r.string()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The expressions that are there, in the order in which AWS names them.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.update.is_some(), "UpdateExpression"),
            (self.condition.is_some(), "ConditionExpression"),
            (self.key_condition.is_some(), "KeyConditionExpression"),
            (self.filter.is_some(), "FilterExpression"),
            (self.projection.is_some(), "ProjectionExpression"),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name)
    }

    /// Refuses expressions beside older parameters. `legacy`: the names of those that are there, in AWS's order.
    pub fn check_styles(&self, legacy: &[&str]) -> Result<(), Error> {
        if legacy.is_empty() || self.given().next().is_none() {
            return Ok(());
        }
        let given: Vec<&str> = self.given().collect();
        Err(Error::validation(format!(
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: \
             {{{}}} Expression parameters: {{{}}}",
            legacy.join(", "),
            given.join(", ")
        )))
    }

    /// Names and values without an expression, then each of them by itself.
    pub fn check_placeholders(&self, kinds: Kinds) -> Result<(), Error> {
        if self.names.is_none() && self.values.is_none() {
            return Ok(());
        }
        if self.given().next().is_none() {
            if self.names.is_some() {
                return Err(Error::validation(
                    "ExpressionAttributeNames can only be specified when using expressions",
                ));
            }
            return Err(Error::validation(format!(
                "ExpressionAttributeValues can only be specified when using expressions: {}",
                kinds.with_values()
            )));
        }
        if let Some(names) = &self.names {
            check_names(names.list())?;
        }
        if let Some(values) = &self.values {
            check_values(values.entries.list())?;
            if let Some((key, error)) = &values.error {
                let text = value_error(error);
                return Err(Error::validation(format!(
                    "ExpressionAttributeValues contains invalid value: {text} for key {key}"
                )));
            }
        }
        Ok(())
    }

    /// Resolves the placeholders of these expressions.
    #[must_use]
    pub fn binder(&self) -> Binder<'_> {
        Binder::new(
            self.names.as_ref().map(Entries::list),
            self.values.as_ref().map(|values| values.entries.list()),
        )
    }
}

/// More names, or values, are not kept: the expressions of a request, 4,096 bytes each, cannot use as many, so that the
/// request is refused for those of them that are unused whatever else there is.
const PLACEHOLDER_COUNT_MAX: usize = 8_192;

fn read_values(r: &mut Reader<'_>) -> Result<Values, JsonError> {
    let mut values = Values::default();
    r.map(super::ATTRIBUTE_MAP, &mut |key, r| {
        if values.entries.len() >= PLACEHOLDER_COUNT_MAX {
            return Ok(false);
        }
        let read = json::read_value(r)?;
        // A later entry of the same name takes the place of this one, its error included.
        if values.error.as_ref().is_some_and(|(wrong, _)| **wrong == *key) {
            values.error = None;
        }
        if let Some(error) = read.error
            && values.error.is_none()
        {
            values.error = Some((key.into(), error));
        }
        values.entries.put(key, read.value);
        Ok(true)
    })?;
    Ok(values)
}
