//! The requests of the two batches.
//! Invariant: no more of a list is kept than a batch may hold; what is beyond is counted only.

use std::cell::RefCell;

use super::expressions::{Expressions, Kinds};
use super::legacy::Legacy;
use super::{Entries, Text, decode_with};
use crate::json::{self, JsonError, Read, Reader, Scratch};
use crate::model::limits::{BATCH_GET_COUNT_MAX, BATCH_WRITE_COUNT_MAX};
use crate::value::Item;

/// `BatchGetItemInput`
#[derive(Default)]
pub struct BatchGet<'a> {
    /// `RequestItems`
    pub tables: Option<Tables<KeysAndAttributes<'a>>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
}

/// `RequestItems`: what is asked of each table.
pub struct Tables<T> {
    /// Those that are kept.
    pub entries: Entries<T>,
    /// How many more there are.
    pub dropped_count: usize,
}

impl<T> Default for Tables<T> {
    fn default() -> Tables<T> {
        Tables { entries: Entries::default(), dropped_count: 0 }
    }
}

/// `KeysAndAttributes`
#[derive(Default)]
pub struct KeysAndAttributes<'a> {
    /// `Keys`
    pub keys: Option<Counted<Read<Item>>>,
    /// `ConsistentRead`
    pub consistent: bool,
    /// `ProjectionExpression` and its names.
    pub expressions: Expressions<'a>,
    /// `AttributesToGet`
    pub legacy: Option<Box<Legacy<'a>>>,
}

/// The beginning of a list, and its length.
pub struct Counted<T> {
    /// What is kept.
    pub list: Vec<T>,
    /// How long the list was.
    pub count: usize,
}

impl<T> Counted<T> {
    /// Decodes a list of which `kept_max` elements are kept.
    pub fn read<'a>(
        r: &mut Reader<'a>,
        kept_max: usize,
        mut each: impl FnMut(&mut Reader<'a>) -> Result<T, JsonError>,
    ) -> Result<Counted<T>, JsonError> {
        let mut counted = Counted { list: Vec::new(), count: 0 };
        r.list(&mut |r| {
            counted.count += 1;
            if counted.count > kept_max {
                return r.skip();
            }
            counted.list.push(each(r)?);
            Ok(())
        })?;
        Ok(counted)
    }
}

impl<'a> BatchGet<'a> {
    /// Decodes a body.
    pub fn decode(scratch: &RefCell<Scratch>, body: &'a [u8]) -> Result<BatchGet<'a>, JsonError> {
        let mut request = BatchGet::default();
        decode_with(scratch, body, "BatchGetItemInput", &mut |name, r| {
            match name {
                "RequestItems" => {
                    request.tables = Some(read_tables(
                        r,
                        "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.KeysAndAttributes>",
                        BATCH_GET_COUNT_MAX,
                        read_keys,
                    )?);
                }
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}

fn read_tables<'a, T>(
    r: &mut Reader<'a>,
    java: &'static str,
    kept_max: usize,
    each: fn(&mut Reader<'a>) -> Result<T, JsonError>,
) -> Result<Tables<T>, JsonError> {
    let mut tables = Tables::default();
    r.map(java, &mut |name, r| {
        if tables.entries.len() > kept_max {
            tables.dropped_count += 1;
            return Ok(false);
        }
        let entry = each(r)?;
        tables.entries.put(name, entry);
        Ok(true)
    })?;
    Ok(tables)
}

fn read_keys<'a>(r: &mut Reader<'a>) -> Result<KeysAndAttributes<'a>, JsonError> {
    let mut request = KeysAndAttributes::default();
    r.structure("KeysAndAttributes", &mut |name, r| {
        match name {
            "Keys" => request.keys = Some(Counted::read(r, BATCH_GET_COUNT_MAX, |r| json::read_item(r))?),
            "ConsistentRead" => request.consistent = r.boolean()?,
            _ if request.expressions.member(Kinds::PROJECTION, name, r)? => {}
            _ => return Legacy::item_member(&mut request.legacy, super::item::Shape::Get, name, r),
        }
        Ok(true)
    })?;
    Ok(request)
}

/// `BatchWriteItemInput`
#[derive(Default)]
pub struct BatchWrite<'a> {
    /// `RequestItems`
    pub tables: Option<Tables<Counted<WriteRequest>>>,
    /// `ReturnConsumedCapacity`
    pub capacity: Option<Text<'a>>,
    /// `ReturnItemCollectionMetrics`
    pub collection: Option<Text<'a>>,
}

/// `WriteRequest`
#[derive(Default)]
pub struct WriteRequest {
    /// `PutRequest` and its `Item`.
    pub put: Option<Option<Read<Item>>>,
    /// `DeleteRequest` and its `Key`.
    pub delete: Option<Option<Read<Item>>>,
}

impl<'a> BatchWrite<'a> {
    /// Decodes a body.
    pub fn decode(scratch: &RefCell<Scratch>, body: &'a [u8]) -> Result<BatchWrite<'a>, JsonError> {
        let mut request = BatchWrite::default();
        decode_with(scratch, body, "BatchWriteItemInput", &mut |name, r| {
            match name {
                "RequestItems" => {
                    request.tables = Some(read_tables(
                        r,
                        "java.util.Map<java.lang.String, java.util.List<com.amazonaws.dynamodb.v20120810.WriteRequest>>",
                        BATCH_WRITE_COUNT_MAX,
                        |r| Counted::read(r, BATCH_WRITE_COUNT_MAX, read_write),
                    )?);
                }
                "ReturnConsumedCapacity" => request.capacity = Some(r.string()?),
                "ReturnItemCollectionMetrics" => request.collection = Some(r.string()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}

fn read_write(r: &mut Reader<'_>) -> Result<WriteRequest, JsonError> {
    let mut request = WriteRequest::default();
    r.structure("WriteRequest", &mut |name, r| {
        match name {
            "PutRequest" => request.put = Some(read_inner(r, "PutRequest", "Item")?),
            "DeleteRequest" => request.delete = Some(read_inner(r, "DeleteRequest", "Key")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(request)
}

/// A structure with one member, an item.
fn read_inner(
    r: &mut Reader<'_>,
    shape: &'static str,
    member: &'static str,
) -> Result<Option<Read<Item>>, JsonError> {
    let mut item = None;
    r.structure(shape, &mut |name, r| {
        if name != member {
            return Ok(false);
        }
        item = Some(json::read_item(r)?);
        Ok(true)
    })?;
    Ok(item)
}
