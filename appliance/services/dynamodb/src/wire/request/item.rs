//! The requests of the operations on one item, which are also the actions of transactions.
//! Invariant: as of the module.

use std::cell::RefCell;

use super::expressions::{Expressions, Kinds};
use super::legacy::Legacy;
use super::{Text, decode_with};
use crate::json::{self, JsonError, Read, Reader, Scratch};
use crate::value::Item;
use crate::wire::constraint::Violations;
use crate::wire::error::Error;
use crate::wire::words::{
    ConditionalOperator, ReturnCapacity, ReturnCollection, ReturnOnFailure, ReturnValues,
};

/// One of these requests, with the members that its operation has.
#[derive(Default)]
pub struct ItemRequest<'a> {
    /// `TableName`
    pub table_name: Option<Text<'a>>,
    /// `Key`
    pub key: Option<Read<Item>>,
    /// `Item`
    pub item: Option<Read<Item>>,
    /// `ConsistentRead`
    pub consistent: bool,
    /// What to answer, as sent.
    pub returns: Returns<'a>,
    /// Expressions.
    pub expressions: Expressions<'a>,
    /// Older parameters.
    pub legacy: Option<Box<Legacy<'a>>>,
}

/// What a request wants to be told, as sent.
#[derive(Default)]
pub struct Returns<'a> {
    /// `ReturnValues`
    pub values: Option<Text<'a>>,
    /// `ReturnValuesOnConditionCheckFailure`
    pub on_failure: Option<Text<'a>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
    /// `ReturnItemCollectionMetrics`
    pub collection: Option<Text<'a>>,
}

/// The same, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// `ReturnValues`
    pub values: ReturnValues,
    /// `ReturnValuesOnConditionCheckFailure`
    pub on_failure: ReturnOnFailure,
    /// `ReturnConsumedCapacity`
    pub capacity: ReturnCapacity,
    /// `ReturnItemCollectionMetrics`
    pub collection: ReturnCollection,
    /// `ConditionalOperator`; None where the request has none.
    pub operator: Option<ConditionalOperator>,
}

/// What kind of request it is: which members it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `GetItemInput`
    Get,
    /// `PutItemInput`
    Put,
    /// `UpdateItemInput`
    Update,
    /// `DeleteItemInput`
    Delete,
}

impl Shape {
    /// Amazon's name of the structure.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Shape::Get => "GetItemInput",
            Shape::Put => "PutItemInput",
            Shape::Update => "UpdateItemInput",
            Shape::Delete => "DeleteItemInput",
        }
    }

    /// The expressions that it has.
    #[must_use]
    pub fn kinds(self) -> Kinds {
        match self {
            Shape::Get => Kinds::PROJECTION,
            Shape::Put | Shape::Delete => Kinds::CONDITION,
            Shape::Update => Kinds::UPDATE,
        }
    }
}

impl<'a> ItemRequest<'a> {
    /// Decodes a body.
    pub fn decode(
        scratch: &RefCell<Scratch>,
        body: &'a [u8],
        shape: Shape,
    ) -> Result<ItemRequest<'a>, JsonError> {
        let mut request = ItemRequest::default();
        decode_with(scratch, body, shape.name(), &mut |name, r| request.member(shape, name, r))?;
        Ok(request)
    }

    /// Takes a member if the shape has it.
    pub fn member(&mut self, shape: Shape, name: &str, r: &mut Reader<'a>) -> Result<bool, JsonError> {
        match name {
            "TableName" => self.table_name = Some(r.string()?),
            "Key" if shape != Shape::Put => self.key = Some(json::read_item(r)?),
            "Item" if shape == Shape::Put => self.item = Some(json::read_item(r)?),
            "ReturnConsumedCapacity" => self.returns.capacity = Some(r.string()?),
            "ConsistentRead" if shape == Shape::Get => self.consistent = r.boolean()?,
            "ReturnValues" if shape != Shape::Get => self.returns.values = Some(r.string()?),
            "ReturnValuesOnConditionCheckFailure" if shape != Shape::Get => {
                self.returns.on_failure = Some(r.string()?);
            }
            "ReturnItemCollectionMetrics" if shape != Shape::Get => {
                self.returns.collection = Some(r.string()?);
            }
            _ if self.expressions.member(shape.kinds(), name, r)? => {}
            _ => return Legacy::item_member(&mut self.legacy, shape, name, r),
        }
        Ok(true)
    }

    /// The member constraints of a request that stands by itself. What it wants to be told, understood.
    pub fn constraints(&self, shape: Shape) -> Result<Wanted, Error> {
        let name = self.table_name.as_deref();
        if name == Some("") || (name.is_none() && shape == Shape::Put) {
            // AWS reports this one alone.
            let mut alone = Violations::new();
            table_name(&mut alone, self.table_name.as_deref());
            alone.finish()?;
        }
        let mut violations = Violations::new();
        let capacity = violations.word("returnConsumedCapacity", self.returns.capacity.as_deref());
        table_name(&mut violations, self.table_name.as_deref());
        let values = violations.word("returnValues", self.returns.values.as_deref());
        match shape {
            Shape::Put => violations.required("item", self.item.is_some()),
            Shape::Get | Shape::Update | Shape::Delete => violations.required("key", self.key.is_some()),
        }
        let collection = violations.word("returnItemCollectionMetrics", self.returns.collection.as_deref());
        let legacy = self.legacy.as_deref();
        let operator =
            violations.word("conditionalOperator", legacy.and_then(|legacy| legacy.operator.as_deref()));
        let on_failure =
            violations.word("returnValuesOnConditionCheckFailure", self.returns.on_failure.as_deref());
        if let Some(legacy) = legacy {
            legacy.constraints(&mut violations);
        }
        violations.finish()?;
        Ok(Wanted {
            values: values.unwrap_or_default(),
            on_failure: on_failure.unwrap_or_default(),
            capacity: capacity.unwrap_or_default(),
            collection: collection.unwrap_or_default(),
            operator,
        })
    }
}

/// The constraints of a `TableName`, which may be an ARN too.
pub fn table_name(violations: &mut Violations, value: Option<&str>) {
    match value {
        Some(arn) if arn.starts_with("arn:") => violations.length("tableName", arn, 1, ARN_CHARACTERS_MAX),
        _ => violations.name("tableName", value, 1, NAME_CHARACTERS_MAX),
    }
}

/// Characters of the name of a table at most.
pub const NAME_CHARACTERS_MAX: usize = 255;
/// Characters of the ARN of a table at most.
pub const ARN_CHARACTERS_MAX: usize = 1_024;
