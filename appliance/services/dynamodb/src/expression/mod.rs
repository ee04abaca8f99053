//! Expressions: from the text of a request to a condition, an update, a projection or a key condition with its values.
//!
//! Invariant: what a text says is found once (`parse`, kept in the `Cache`); what a request adds is checked on every
//! request (`Binder`); a bound form owns all it needs and is evaluated on any thread without a failure that is not typed.
//! Nothing here recurses on what a client nests.
//! Leaves to value: items, paths and their edits. To wire: which parameters may stand beside each other.

pub mod binder;
pub mod cache;
mod check;
pub mod condition;
pub mod key_condition;
pub mod legacy;
pub(crate) mod lexer;
pub(crate) mod maker;
mod overlap;
pub(crate) mod parse;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod print;
pub(crate) mod program;
mod reserved;
mod resolve;
pub mod update;

use std::fmt;

pub use binder::{Binder, Placeholders, check_names, check_values};
pub use cache::Cache;
pub use condition::Condition;
pub use key_condition::{KeyCondition, KeyTest, SortTest};
pub use update::{Update, UpdateError, Updated, updated_attributes};

/// The parameter that an expression came in. It words the errors and chooses the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// `ConditionExpression`.
    Condition,
    /// `FilterExpression`.
    Filter,
    /// `KeyConditionExpression`.
    KeyCondition,
    /// `UpdateExpression`.
    Update,
    /// `ProjectionExpression`.
    Projection,
}

impl Kind {
    /// The parameter's name.
    #[must_use]
    pub fn parameter(self) -> &'static str {
        match self {
            Kind::Condition => "ConditionExpression",
            Kind::Filter => "FilterExpression",
            Kind::KeyCondition => "KeyConditionExpression",
            Kind::Update => "UpdateExpression",
            Kind::Projection => "ProjectionExpression",
        }
    }

    /// The error that names this parameter in front of what is wrong with it.
    pub(crate) fn error(self, what: impl fmt::Display) -> ExpressionError {
        ExpressionError(format!("Invalid {}: {what}", self.parameter()))
    }
}

/// What is wrong with an expression, in AWS's words and complete. Always a ValidationException.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpressionError(pub(crate) String);

impl ExpressionError {
    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0
    }

    /// The message.
    #[must_use]
    pub fn into_message(self) -> String {
        self.0
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExpressionError {}

/// The longest text of an expression, in bytes as sent.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// The most operators and functions in one expression; parentheses are none.
pub const OPERATOR_COUNT_MAX: u32 = 300;
/// The most operands of one IN.
pub const IN_OPERAND_COUNT_MAX: usize = 100;
/// The most steps of one path.
pub const PATH_STEP_COUNT_MAX: usize = 32;
/// The largest index of a list in a path.
pub const LIST_INDEX_MAX: u32 = i32::MAX as u32;
/// The longest `#name` or `:value`, sign included.
pub const PLACEHOLDER_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
