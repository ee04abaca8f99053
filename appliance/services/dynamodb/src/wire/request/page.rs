//! The requests of Query and Scan.
//! Invariant: as of the module.

use std::cell::RefCell;

use super::expressions::{Expressions, Kinds};
use super::item::table_name;
use super::legacy::Legacy;
use super::{Text, decode_with};
use crate::json::{self, JsonError, Read, Reader, Scratch};
use crate::value::Item;
use crate::wire::constraint::Violations;
use crate::wire::error::Error;
use crate::wire::words::{ConditionalOperator, ReturnCapacity, Select};

/// One of these requests.
pub struct PageRequest<'a> {
    /// `TableName`
    pub table_name: Option<Text<'a>>,
    /// `IndexName`
    pub index_name: Option<Text<'a>>,
    /// `Select`
    pub select: Option<Text<'a>>,
    /// `Limit`
    pub limit: Option<i32>,
    /// `ExclusiveStartKey`
    pub start: Option<Read<Item>>,
    /// `ConsistentRead`
    pub consistent: bool,
    /// `ScanIndexForward`
    pub forward: bool,
    /// `Segment`
    pub segment: Option<i32>,
    /// `TotalSegments`
    pub total_segments: Option<i32>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
    /// Expressions.
    pub expressions: Expressions<'a>,
    /// Older parameters.
    pub legacy: Option<Box<Legacy<'a>>>,
}

/// What the words of such a request mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `Select`
    pub select: Option<Select>,
    /// `Limit`
    pub limit: Option<u32>,
    /// `ReturnConsumedCapacity`
    pub capacity: ReturnCapacity,
    /// `ConditionalOperator`
    pub operator: Option<ConditionalOperator>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `QueryInput`
    Query,
    /// `ScanInput`
    Scan,
}

impl Shape {
    /// The expressions that it has.
    #[must_use]
    pub fn kinds(self) -> Kinds {
        match self {
            Shape::Query => Kinds::QUERY,
            Shape::Scan => Kinds::SCAN,
        }
    }
}

/// Segments of a parallel Scan at most.
const SEGMENT_COUNT_MAX: i64 = 1_000_000;

impl<'a> PageRequest<'a> {
    /// Decodes a body.
    pub fn decode(
        scratch: &RefCell<Scratch>,
        body: &'a [u8],
        shape: Shape,
    ) -> Result<PageRequest<'a>, JsonError> {
        let mut request = PageRequest {
            table_name: None,
            index_name: None,
            select: None,
            limit: None,
            start: None,
            consistent: false,
            forward: true,
            segment: None,
            total_segments: None,
            capacity: None,
            expressions: Expressions::default(),
            legacy: None,
        };
        let name = match shape {
            Shape::Query => "QueryInput",
            Shape::Scan => "ScanInput",
        };
        decode_with(scratch, body, name, &mut |name, r| request.member(shape, name, r))?;
        Ok(request)
    }

    fn member(&mut self, shape: Shape, name: &str, r: &mut Reader<'a>) -> Result<bool, JsonError> {
        let is_query = shape == Shape::Query;
        match name {
            "TableName" => self.table_name = Some(r.string()?),
            "IndexName" => self.index_name = Some(r.string()?),
            "Select" => self.select = Some(r.string()?),
            "Limit" => self.limit = Some(r.integer()?),
            "ExclusiveStartKey" => self.start = Some(json::read_item(r)?),
            "ConsistentRead" => self.consistent = r.boolean()?,
            "ReturnConsumedCapacity" => self.capacity = Some(r.string()?),
            "ScanIndexForward" if is_query => self.forward = r.boolean()?,
            "Segment" if !is_query => self.segment = Some(r.integer()?),
            "TotalSegments" if !is_query => self.total_segments = Some(r.integer()?),
            _ if self.expressions.member(shape.kinds(), name, r)? => {}
            _ => return Legacy::page_member(&mut self.legacy, is_query, name, r),
        }
        Ok(true)
    }

    /// The member constraints.
    pub fn constraints(&self, shape: Shape) -> Result<Wanted, Error> {
        let mut violations = Violations::new();
        let legacy = self.legacy.as_deref();
        let capacity = violations.word("returnConsumedCapacity", self.capacity.as_deref());
        table_name(&mut violations, self.table_name.as_deref());
        if let Some(index_name) = self.index_name.as_deref() {
            violations.name("indexName", Some(index_name), 3, 255);
        }
        let select = violations.word("select", self.select.as_deref());
        match (shape, self.limit) {
            // Of all members of this operation only this one has the newer wording already.
            (Shape::Query, Some(limit)) if limit < 1 => {
                violations.named("Limit", "Member must have value greater than or equal to 1");
            }
            (_, Some(limit)) => violations.range("limit", i64::from(limit), 1, i64::MAX),
            (_, None) => {}
        }
        let operator =
            violations.word("conditionalOperator", legacy.and_then(|legacy| legacy.operator.as_deref()));
        if let Some(segment) = self.segment {
            violations.range("segment", i64::from(segment), 0, SEGMENT_COUNT_MAX - 1);
        }
        if let Some(total) = self.total_segments {
            violations.range("totalSegments", i64::from(total), 1, SEGMENT_COUNT_MAX);
        }
        if let Some(legacy) = legacy {
            legacy.constraints(&mut violations);
        }
        violations.finish()?;
        let limit = self.limit.and_then(|limit| u32::try_from(limit).ok());
        Ok(Wanted { select, limit, capacity: capacity.unwrap_or_default(), operator })
    }

    /// The part of the table that a Scan is to walk: its number, and of how many.
    pub fn segments(&self) -> Result<Option<(u32, u32)>, Error> {
        match (self.segment, self.total_segments) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::validation(
                "The TotalSegments parameter is required but was not present in the request when Segment parameter is \
                 present",
            )),
            (None, Some(_)) => Err(Error::validation(
                "The Segment parameter is required but was not present in the request when parameter TotalSegments is \
                 present",
            )),
            (Some(segment), Some(total)) if segment >= total => Err(Error::validation(format!(
                "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is \
                 not less than TotalSegments: {total}"
            ))),
            // Both were found to be in their range.
            (Some(segment), Some(total)) => {
                Ok(Some((u32::try_from(segment).unwrap_or(0), u32::try_from(total).unwrap_or(1))))
            }
        }
    }
}
