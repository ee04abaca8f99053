//! PartiQL: from the text of a statement to the same conditions, updates and keys that the other operations use.
//!
//! Invariant: a statement is read once, from left to right, with its parameters put in as they come; nothing recurses
//! deeper than `NESTING_MAX`. What is not in the grammar is refused, never guessed.
//! Leaves to ops/partiql: tables, pages and transactions. To expression: evaluation.

pub mod ast;
mod lexer;
mod literal;
mod parse;
mod plan;
mod update;
mod where_clause;

use std::fmt;

pub use ast::{Columns, Delete, Exists, Insert, Returning, Select, Statement, TableName, Update};
pub use parse::parse;
pub use plan::{Access, Where};

/// What is wrong with a statement, in AWS's words and complete. Always a ValidationException.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartiqlError(String);

impl PartiqlError {
    /// A statement that cannot be read; `what` says where it went wrong, and may be empty.
    fn syntax(what: impl fmt::Display) -> PartiqlError {
        PartiqlError(format!("Statement wasn't well formed, can't be processed: {what}"))
    }

    /// A statement that can be read and says something that is not supported.
    pub(crate) fn new(message: impl Into<String>) -> PartiqlError {
        PartiqlError(message.into())
    }

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

impl fmt::Display for PartiqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PartiqlError {}

/// The longest statement, in characters.
pub const STATEMENT_CHARACTERS_MAX: usize = 8_192;
/// The deepest that literals, parentheses of values and functions of updates may lie in one another.
const NESTING_MAX: usize = 32;

#[cfg(test)]
mod tests;
