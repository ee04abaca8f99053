//! The requests that carry PartiQL statements.
//! Invariant: no more statements are kept than a request may have; what is beyond is counted only.

use std::cell::RefCell;

use super::batch::Counted;
use super::{Text, decode_with};
use crate::json::{self, JsonError, Reader, Scratch, ValueError};
use crate::partiql::STATEMENT_CHARACTERS_MAX;
use crate::value::Value;
use crate::wire::constraint::Violations;
use crate::wire::error::Error;
use crate::wire::words::{ReturnCapacity, ReturnOnFailure};

/// Statements that a batch may hold.
pub const BATCH_COUNT_MAX: usize = 25;
/// Statements that a transaction may hold.
pub const TRANSACTION_COUNT_MAX: usize = 100;
/// Characters of a NextToken.
const NEXT_TOKEN_CHARACTERS_MAX: usize = 32_768;
/// Characters of a ClientRequestToken.
const TOKEN_CHARACTERS_MAX: usize = 36;

/// A statement with what stands beside it.
#[derive(Default)]
pub struct Sent<'a> {
    /// `Statement`
    pub text: Option<Text<'a>>,
    /// `Parameters`
    pub parameters: Option<Vec<Value>>,
    /// What is wrong with the first parameter that is not well formed.
    pub error: Option<ValueError>,
    /// `ConsistentRead`
    pub consistent: bool,
    /// `ReturnValuesOnConditionCheckFailure`
    pub on_failure: Option<Text<'a>>,
}

impl<'a> Sent<'a> {
    fn member(&mut self, name: &str, r: &mut Reader<'a>) -> Result<bool, JsonError> {
        match name {
            "Statement" => self.text = Some(r.string()?),
            "Parameters" => {
                let (mut parameters, mut error) = (Vec::new(), None);
                r.list(&mut |r| {
                    let read = json::read_value(r)?;
                    error = error.take().or(read.error);
                    parameters.push(read.value);
                    Ok(())
                })?;
                self.parameters = Some(parameters);
                self.error = error;
            }
            "ConsistentRead" => self.consistent = r.boolean()?,
            "ReturnValuesOnConditionCheckFailure" => self.on_failure = Some(r.string()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks the members; `path` goes in front of their names.
    fn constraints(&self, violations: &mut Violations, path: &str) -> ReturnOnFailure {
        let member = |name: &str| format!("{path}{name}");
        violations.required(&member("statement"), self.text.is_some());
        if let Some(text) = self.text.as_deref() {
            let length = text.encode_utf16().count();
            if length == 0 {
                violations.length(&member("statement"), text, 1, STATEMENT_CHARACTERS_MAX);
            } else if length > STATEMENT_CHARACTERS_MAX {
                // Without the text, which may be as long as the request.
                violations.echo(
                    &member("statement"),
                    "…",
                    &super::super::constraint::length_at_most(STATEMENT_CHARACTERS_MAX),
                );
            }
        }
        if let Some(parameters) = &self.parameters {
            violations.count(&member("parameters"), "[]", parameters.len(), 1, usize::MAX);
        }
        let word = self.on_failure.as_deref();
        violations.word(&member("returnValuesOnConditionCheckFailure"), word).unwrap_or_default()
    }
}

/// `ExecuteStatementInput`
#[derive(Default)]
pub struct Execute<'a> {
    /// The statement.
    pub sent: Sent<'a>,
    /// `NextToken`
    pub next_token: Option<Text<'a>>,
    /// `Limit`
    pub limit: Option<i32>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
}

impl<'a> Execute<'a> {
    /// Decodes a body.
    pub fn decode(scratch: &RefCell<Scratch>, body: &'a [u8]) -> Result<Execute<'a>, JsonError> {
        let mut request = Execute::default();
        decode_with(scratch, body, "ExecuteStatementInput", &mut |name, r| {
            match name {
                "NextToken" => request.next_token = Some(r.string()?),
                "Limit" => request.limit = Some(r.integer()?),
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                _ => return request.sent.member(name, r),
            }
            Ok(true)
        })?;
        Ok(request)
    }

    /// The member constraints.
    pub fn constraints(&self) -> Result<(ReturnCapacity, ReturnOnFailure), Error> {
        let mut violations = Violations::new();
        let capacity = violations.word("returnConsumedCapacity", self.capacity.as_deref());
        let on_failure = self.sent.constraints(&mut violations, "");
        if let Some(limit) = self.limit {
            violations.range("limit", i64::from(limit), 1, i64::MAX);
        }
        match self.next_token.as_deref().map(str::len) {
            Some(0) => violations.length("nextToken", "", 1, NEXT_TOKEN_CHARACTERS_MAX),
            Some(length) if length > NEXT_TOKEN_CHARACTERS_MAX => {
                violations.echo(
                    "nextToken",
                    "…",
                    &super::super::constraint::length_at_most(NEXT_TOKEN_CHARACTERS_MAX),
                );
            }
            _ => {}
        }
        violations.finish()?;
        Ok((capacity.unwrap_or_default(), on_failure))
    }
}

/// `BatchExecuteStatementInput` or `ExecuteTransactionInput`.
#[derive(Default)]
pub struct Several<'a> {
    /// `Statements` or `TransactStatements`
    pub statements: Option<Counted<Sent<'a>>>,
    /// `ClientRequestToken` of a transaction.
    pub token: Option<Text<'a>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Each by itself.
    Batch,
    /// All or none.
    Transaction,
}

impl Shape {
    fn names(self) -> (&'static str, &'static str, &'static str, usize) {
        match self {
            Shape::Batch => ("BatchExecuteStatementInput", "Statements", "statements", BATCH_COUNT_MAX),
            Shape::Transaction => {
                ("ExecuteTransactionInput", "TransactStatements", "transactStatements", TRANSACTION_COUNT_MAX)
            }
        }
    }
}

impl<'a> Several<'a> {
    /// Decodes a body.
    pub fn decode(
        scratch: &RefCell<Scratch>,
        body: &'a [u8],
        shape: Shape,
    ) -> Result<Several<'a>, JsonError> {
        let mut request = Several::default();
        let (input, list, _, count_max) = shape.names();
        decode_with(scratch, body, input, &mut |name, r| {
            match name {
                _ if name == list => {
                    request.statements = Some(Counted::read(r, count_max, |r| {
                        let mut sent = Sent::default();
                        r.structure("BatchStatementRequest", &mut |name, r| sent.member(name, r))?;
                        Ok(sent)
                    })?);
                }
                "ClientRequestToken" if shape == Shape::Transaction => request.token = Some(r.string()?),
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }

    /// The member constraints.
    pub fn constraints(&self, shape: Shape) -> Result<(ReturnCapacity, Vec<ReturnOnFailure>), Error> {
        let mut violations = Violations::new();
        let (_, _, member, count_max) = shape.names();
        if let Some(token) = self.token.as_deref() {
            violations.length("clientRequestToken", token, 1, TOKEN_CHARACTERS_MAX);
        }
        let capacity = violations.word("returnConsumedCapacity", self.capacity.as_deref());
        violations.required(member, self.statements.is_some());
        let mut on_failure = Vec::new();
        if let Some(statements) = &self.statements {
            let echo = if statements.count == 0 { "[]" } else { "[…]" };
            violations.count(member, echo, statements.count, 1, count_max);
            for (place, sent) in statements.list.iter().enumerate() {
                on_failure
                    .push(sent.constraints(&mut violations, &format!("{member}.{}.member.", place + 1)));
            }
        }
        violations.finish()?;
        Ok((capacity.unwrap_or_default(), on_failure))
    }
}
