//! The requests of PartiQL: one statement, a batch, a transaction.
//! Invariant: as of the module; no more statements are kept than the operation may have.

use super::batch::Counted;
use super::{Text, decode};
use crate::json::{self, JsonError, Read, Reader};
use crate::value::Value;

/// Statements of a batch at most.
pub const BATCH_STATEMENT_COUNT_MAX: usize = 25;
/// Statements of a transaction at most.
pub const TRANSACT_STATEMENT_COUNT_MAX: usize = 100;

/// A statement with what belongs to it alone.
#[derive(Default)]
pub struct Sent<'a> {
    /// `Statement`
    pub text: Option<Text<'a>>,
    /// `Parameters`
    pub parameters: Option<Vec<Read<Value>>>,
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
                let mut parameters = Vec::new();
                r.list(&mut |r| {
                    parameters.push(json::read_value(r)?);
                    Ok(())
                })?;
                self.parameters = Some(parameters);
            }
            "ConsistentRead" => self.consistent = r.boolean()?,
            "ReturnValuesOnConditionCheckFailure" => self.on_failure = Some(r.string()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read(r: &mut Reader<'a>, shape: &'static str) -> Result<Sent<'a>, JsonError> {
        let mut sent = Sent::default();
        r.structure(shape, &mut |name, r| sent.member(name, r))?;
        Ok(sent)
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
    pub fn decode(body: &'a [u8]) -> Result<Execute<'a>, JsonError> {
        let mut request = Execute::default();
        decode(body, "ExecuteStatementInput", &mut |name, r| {
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
}

/// `BatchExecuteStatementInput` and `ExecuteTransactionInput`
#[derive(Default)]
pub struct Statements<'a> {
    /// `Statements` or `TransactStatements`
    pub list: Option<Counted<Sent<'a>>>,
    /// `ClientRequestToken`
    pub token: Option<Text<'a>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
}

impl<'a> Statements<'a> {
    /// Decodes the body of a batch.
    pub fn decode_batch(body: &'a [u8]) -> Result<Statements<'a>, JsonError> {
        let mut request = Statements::default();
        decode(body, "BatchExecuteStatementInput", &mut |name, r| {
            match name {
                "Statements" => {
                    let each = |r: &mut Reader<'a>| Sent::read(r, "BatchStatementRequest");
                    request.list = Some(Counted::read(r, BATCH_STATEMENT_COUNT_MAX, each)?);
                }
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }

    /// Decodes the body of a transaction.
    pub fn decode_transaction(body: &'a [u8]) -> Result<Statements<'a>, JsonError> {
        let mut request = Statements::default();
        decode(body, "ExecuteTransactionInput", &mut |name, r| {
            match name {
                "TransactStatements" => {
                    let each = |r: &mut Reader<'a>| Sent::read(r, "ParameterizedStatement");
                    request.list = Some(Counted::read(r, TRANSACT_STATEMENT_COUNT_MAX, each)?);
                }
                "ClientRequestToken" => request.token = Some(r.string()?),
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}
