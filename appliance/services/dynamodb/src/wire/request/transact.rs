//! The requests of the two transactions.
//! Invariant: no more actions are kept than a transaction may have; what is beyond is counted only.

use std::cell::RefCell;

use super::batch::Counted;
use super::item::{ItemRequest, Shape};
use super::{Text, decode_with};
use crate::json::{JsonError, Reader, Scratch};
use crate::model::limits::TRANSACT_COUNT_MAX;

/// `TransactWriteItemsInput`
#[derive(Default)]
pub struct TransactWrite<'a> {
    /// `TransactItems`
    pub actions: Option<Counted<Action<'a>>>,
    /// `ClientRequestToken`
    pub token: Option<Text<'a>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
    /// `ReturnItemCollectionMetrics`
    pub collection: Option<Text<'a>>,
}

/// `TransactGetItemsInput`
#[derive(Default)]
pub struct TransactGet<'a> {
    /// `TransactItems`
    pub actions: Option<Counted<Action<'a>>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
}

/// What one action does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `ConditionCheck`
    Check,
    /// `Put`
    Put,
    /// `Update`
    Update,
    /// `Delete`
    Delete,
    /// `Get`
    Get,
}

impl Verb {
    /// The members that it has, which are those of the operation by itself.
    #[must_use]
    pub fn shape(self) -> Shape {
        match self {
            Verb::Put => Shape::Put,
            Verb::Update => Shape::Update,
            // A check has what a delete has.
            Verb::Check | Verb::Delete => Shape::Delete,
            Verb::Get => Shape::Get,
        }
    }

    /// As it stands in the path of a violation.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Verb::Check => "conditionCheck",
            Verb::Put => "put",
            Verb::Update => "update",
            Verb::Delete => "delete",
            Verb::Get => "get",
        }
    }
}

/// `TransactWriteItem` or `TransactGetItem`.
#[derive(Default)]
pub struct Action<'a> {
    /// The action; the last one where there are several.
    pub request: Option<Box<(Verb, ItemRequest<'a>)>>,
    /// How many kinds of action there are. One is right.
    pub count: usize,
}

impl<'a> TransactWrite<'a> {
    /// Decodes a body.
    pub fn decode(scratch: &RefCell<Scratch>, body: &'a [u8]) -> Result<TransactWrite<'a>, JsonError> {
        let mut request = TransactWrite::default();
        decode_with(scratch, body, "TransactWriteItemsInput", &mut |name, r| {
            match name {
                "TransactItems" => {
                    request.actions = Some(Counted::read(r, TRANSACT_COUNT_MAX, |r| {
                        read_action(r, "TransactWriteItem", |name| match name {
                            "ConditionCheck" => Some(Verb::Check),
                            "Put" => Some(Verb::Put),
                            "Update" => Some(Verb::Update),
                            "Delete" => Some(Verb::Delete),
                            _ => None,
                        })
                    })?);
                }
                "ClientRequestToken" => request.token = Some(r.string()?),
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                "ReturnItemCollectionMetrics" => request.collection = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}

impl<'a> TransactGet<'a> {
    /// Decodes a body.
    pub fn decode(scratch: &RefCell<Scratch>, body: &'a [u8]) -> Result<TransactGet<'a>, JsonError> {
        let mut request = TransactGet::default();
        decode_with(scratch, body, "TransactGetItemsInput", &mut |name, r| {
            match name {
                "TransactItems" => {
                    request.actions = Some(Counted::read(r, TRANSACT_COUNT_MAX, |r| {
                        read_action(r, "TransactGetItem", |name| (name == "Get").then_some(Verb::Get))
                    })?);
                }
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}

fn read_action<'a>(
    r: &mut Reader<'a>,
    shape: &'static str,
    verb_of: fn(&str) -> Option<Verb>,
) -> Result<Action<'a>, JsonError> {
    let mut action = Action::default();
    r.structure(shape, &mut |name, r| {
        let Some(verb) = verb_of(name) else { return Ok(false) };
        let mut request = ItemRequest::default();
        r.structure(verb.shape().name(), &mut |name, r| match name {
            // What only the operation by itself has.
            "ReturnValues"
            | "ReturnConsumedCapacity"
            | "ReturnItemCollectionMetrics"
            | "ConsistentRead"
            | "AttributesToGet"
            | "AttributeUpdates"
            | "Expected"
            | "ConditionalOperator" => Ok(false),
            _ => request.member(verb.shape(), name, r),
        })?;
        action.count += usize::from(action.request.as_ref().is_none_or(|sent| sent.0 != verb));
        action.request = Some(Box::new((verb, request)));
        Ok(true)
    })?;
    Ok(action)
}
