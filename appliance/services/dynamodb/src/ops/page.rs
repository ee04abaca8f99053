//! What Query and Scan share: which attributes are shown, where a page begins, and the reply.
//! Invariant: as of item.rs.

use std::sync::Arc;

use plan::{Context, Plan};

use crate::call::{Call, Shared, settle};
use crate::engine::capacity::read_units;
use crate::engine::page::{Page, PageError, PageRequest as Walk, Show, page};
use crate::engine::range::StartError;
use crate::expression::{Binder, Condition, KeyCondition, Kind};
use crate::json::{Read, Writer};
use crate::model::table::{Index, IndexState, Projected, Table};
use crate::value::Item;
use crate::value::path::{Projection, Step};
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed};
use crate::wire::error::Error;
use crate::wire::key::NO_MATCH;
use crate::wire::request::Text;
use crate::wire::request::page::{PageRequest, Shape, Wanted};
use crate::wire::value::{is_about_content, value_error};
use crate::wire::words::{ReturnCapacity, Select};

/// `ExclusiveStartKey`, if it is well formed.
fn start_key(read: Option<Read<Item>>) -> Result<Option<Item>, Error> {
    let Some(read) = read else { return Ok(None) };
    match read.error {
        None => Ok(Some(read.value)),
        Some(error) if is_about_content(&error) => Err(Error::validation(value_error(&error))),
        Some(error) => {
            let text = value_error(&error);
            Err(Error::validation(format!("The provided starting key is invalid: {text}")))
        }
    }
}

/// The filter, in either style.
fn filter(
    call: &Call,
    request: &PageRequest<'_>,
    wanted: &Wanted,
    binder: &mut Binder<'_>,
) -> Result<Option<Condition>, Error> {
    if let Some(text) = request.expressions.filter.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        return Ok(Some(binder.condition(&mut cache, Kind::Filter, text)?));
    }
    match &request.legacy {
        Some(legacy) => super::legacy::filter(legacy, wanted.operator),
        None => Ok(None),
    }
}

/// What a request names of each item: the projection, and how the parameter is called that said so.
pub struct Chosen {
    /// What is shown.
    pub projection: Projection,
    /// The attributes that it names.
    pub names: Vec<Box<str>>,
    parameter: &'static str,
}

/// The projection, in either style.
fn chosen(call: &Call, request: &PageRequest<'_>, binder: &mut Binder<'_>) -> Result<Option<Chosen>, Error> {
    if let Some(text) = request.expressions.projection.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        let (projection, paths) = binder.projection(&mut cache, text)?;
        return Ok(Some(Chosen { projection, names: top_names(&paths), parameter: "ProjectionExpression" }));
    }
    match request.legacy.as_deref().and_then(|legacy| legacy.attributes_to_get.as_ref()) {
        Some(names) => {
            let (projection, paths) = super::legacy::attributes_to_get(names)?;
            Ok(Some(Chosen { projection, names: top_names(&paths), parameter: "AttributesToGet" }))
        }
        None => Ok(None),
    }
}

fn top_names(paths: &[Vec<Step>]) -> Vec<Box<str>> {
    let tops = paths.iter().filter_map(|path| match path.first() {
        Some(Step::Name(name)) => Some(name.clone()),
        Some(Step::Index(_)) | None => None,
    });
    tops.collect()
}

/// An index by name, ready to be read; and whether it is a local one.
pub fn index<'t>(
    table: &'t Table,
    name: Option<&str>,
    consistent: bool,
) -> Result<Option<(&'t Index, bool)>, Error> {
    let Some(name) = name else { return Ok(None) };
    let absent = || Error::validation(format!("The table does not have the specified index: {name}"));
    let (index, is_local) = table.index(name).ok_or_else(absent)?;
    if !is_local && consistent {
        return Err(Error::validation("Consistent reads are not supported on global secondary indexes"));
    }
    match index.state {
        IndexState::Active => Ok(Some((index, is_local))),
        IndexState::Creating => {
            Err(Error::validation(format!("Cannot read from backfilling global secondary index: {name}")))
        }
        IndexState::Deleting => Err(absent()),
    }
}

/// What is shown of each item, and whether a local index has to fetch it from beyond what it projects.
pub fn show(
    table: &Table,
    index: Option<(&Index, bool)>,
    select: Option<Select>,
    chosen: Option<Chosen>,
) -> Result<(Show, bool), Error> {
    let refused = |parameter: &str, what: &str| {
        Err(Error::validation(format!("Cannot specify the {parameter} when choosing to get {what}")))
    };
    match (select, chosen) {
        (Some(Select::AllAttributes), Some(chosen)) => refused(chosen.parameter, "ALL_ATTRIBUTES"),
        (Some(Select::AllProjectedAttributes), Some(chosen)) => {
            refused(chosen.parameter, "ALL_PROJECTED_ATTRIBUTES")
        }
        (Some(Select::Count), Some(chosen)) => refused(chosen.parameter, "only the Count"),
        (Some(Select::SpecificAttributes), None) => Err(Error::validation(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        )),
        (Some(Select::AllProjectedAttributes), None) if index.is_none() => Err(Error::validation(
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        )),
        (Some(Select::AllAttributes), None) => match index {
            Some((index, false)) if index.projected != Projected::All => {
                Err(Error::invalid_values(&format!(
                    "Select type ALL_ATTRIBUTES is not supported for global secondary index {} because its projection type is \
                 not ALL",
                    index.name
                )))
            }
            Some((index, _)) => Ok((Show::All, index.projected != Projected::All)),
            None => Ok((Show::All, false)),
        },
        (Some(Select::Count), None) => Ok((Show::Count, false)),
        (Some(Select::AllProjectedAttributes), None) => Ok((Show::IndexProjected, false)),
        (None, None) => Ok((if index.is_some() { Show::IndexProjected } else { Show::All }, false)),
        (Some(Select::SpecificAttributes) | None, Some(chosen)) => {
            let fetches = match index {
                Some((index, true)) => !chosen.names.iter().all(|name| shows(table, index, name)),
                Some((index, false)) => {
                    check_projects(table, index, &chosen.names)?;
                    false
                }
                None => false,
            };
            Ok((Show::Project(chosen.projection), fetches))
        }
    }
}

/// A global index shows nothing that it does not hold.
fn check_projects(table: &Table, index: &Index, names: &[Box<str>]) -> Result<(), Error> {
    let missing: Vec<&str> =
        names.iter().map(|name| &**name).filter(|name| !shows(table, index, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid_values(&format!(
        "Global secondary index {} does not project [{}]",
        index.name,
        missing.join(", ")
    )))
}

/// Whether an index shows an attribute.
#[must_use]
pub fn shows(table: &Table, index: &Index, name: &str) -> bool {
    let is_key = || {
        *table.key.hash.name == *name
            || table.key.sort.as_ref().is_some_and(|sort| *sort.name == *name)
            || index.hash.iter().chain(&index.sort).any(|attribute| *attribute.name == *name)
    };
    match &index.projected {
        Projected::All => true,
        Projected::KeysOnly => is_key(),
        Projected::Include(names) => is_key() || names.iter().any(|included| **included == *name),
    }
}

/// A request for a page after the checks that need no table.
pub struct Asked<'a> {
    /// `TableName`
    pub table_name: Text<'a>,
    /// `IndexName`
    pub index_name: Option<Text<'a>>,
    /// `ConsistentRead`
    pub consistent: bool,
    /// `ScanIndexForward`
    pub forward: bool,
    /// `ExclusiveStartKey`
    pub start: Option<Item>,
    /// What must hold of an item that is shown.
    pub filter: Option<Condition>,
    /// Whether that came as an expression.
    pub has_filter_expression: bool,
    /// What is shown of it.
    pub chosen: Option<Chosen>,
    /// `Select`, `Limit` and what is to be told.
    pub wanted: Wanted,
    /// Of a Query.
    pub key_condition: Option<KeyCondition>,
    /// Of a Scan.
    pub segment: Option<(u32, u32)>,
}

/// The checks that need no table.
pub fn check<'a>(call: &Call, body: &'a [u8], shape: Shape) -> Result<Asked<'a>, Error> {
    let mut request = PageRequest::decode(&call.core.scratch, body, shape)?;
    let wanted = request.constraints(shape)?;
    if let Some(legacy) = &request.legacy {
        request.expressions.check_styles(&legacy.given())?;
        super::legacy::check_values(legacy)?;
    }
    let start = start_key(request.start.take())?;
    let segment = request.segments()?;
    request.expressions.check_placeholders(shape.kinds())?;
    let mut binder = request.expressions.binder();
    let key_condition = match shape {
        Shape::Query => Some(key_condition(call, &request, &mut binder)?),
        Shape::Scan => None,
    };
    let filter = filter(call, &request, &wanted, &mut binder)?;
    let chosen = chosen(call, &request, &mut binder)?;
    binder.finish()?;
    Ok(Asked {
        consistent: request.consistent,
        forward: request.forward,
        has_filter_expression: request.expressions.filter.is_some(),
        table_name: request.table_name.unwrap_or_default(),
        index_name: request.index_name,
        start,
        filter,
        chosen,
        wanted,
        key_condition,
        segment,
    })
}

const NO_KEY_CONDITION: &str =
    "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.";

/// The condition on the key, in either style.
fn key_condition(
    call: &Call,
    request: &PageRequest<'_>,
    binder: &mut Binder<'_>,
) -> Result<KeyCondition, Error> {
    if let Some(text) = request.expressions.key_condition.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        return Ok(binder.key_condition(&mut cache, text)?);
    }
    match request.legacy.as_deref().and_then(|legacy| legacy.key_conditions.as_ref()) {
        Some(conditions) => super::legacy::key_conditions(conditions),
        None => Err(Error::validation(NO_KEY_CONDITION)),
    }
}

/// Reads a page and answers with it.
pub fn read(
    call: Shared,
    cx: &mut Context<'_>,
    walk: Walk,
    consistent: bool,
    select: Option<Select>,
    capacity: ReturnCapacity,
) -> Plan {
    let mut items = Writer::with_capacity(super::item::REPLY_BYTES);
    items.begin_object();
    let shows_items = select != Some(Select::Count);
    if shows_items {
        items.key("Items");
        items.begin_array();
    }
    let (table, index) = (Arc::clone(&walk.table), walk.index);
    page(cx, walk, items, move |_, outcome| {
        let outcome = outcome.map_err(Error::from).map(|page| {
            let mut page = page;
            let mut out = std::mem::take(&mut page.items);
            if shows_items {
                out.end_array();
            }
            finish(&page, &mut out);
            if capacity != ReturnCapacity::None {
                let mut consumed = Consumed::new(table, Purpose::Unsaid);
                let units = HalfUnits::read(read_units(page.bytes), consistent);
                match index {
                    Some(index) => consumed.add_index(index, units),
                    None => consumed.units = units,
                }
                consumed.units.0 += HalfUnits::read(page.fetched_units, consistent).0;
                write_consumed(capacity, &consumed, &mut out);
            }
            out.end_object();
            call.reply(out)
        });
        settle(&call, outcome)
    })
}

fn finish(page: &Page, out: &mut Writer) {
    out.key("Count");
    out.unsigned(u64::from(page.count));
    out.key("ScannedCount");
    out.unsigned(u64::from(page.scanned));
    if let Some(last) = &page.last {
        out.key("LastEvaluatedKey");
        last.as_ref().write_json(out);
    }
}

impl From<PageError> for Error {
    fn from(error: PageError) -> Error {
        match error {
            PageError::Key(error) => error.into(),
            PageError::Start(error) => start_error(error),
            PageError::Fault(fault) => fault.into(),
        }
    }
}

fn start_error(error: StartError) -> Error {
    let invalid = "The provided starting key is invalid: ";
    Error::validation(match error {
        StartError::Size => "Exclusive Start Key must have same size as table's key schema".to_owned(),
        StartError::NoMatch => format!("{invalid}{NO_MATCH}"),
        StartError::OutsideQuery => {
            "The provided starting key is outside query boundaries based on provided conditions".to_owned()
        }
        StartError::OutsideSort => {
            "The provided starting key does not match the range key predicate".to_owned()
        }
        StartError::OutsideSegment(segment, count) => format!(
            "{invalid}Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. TotalSegments: {count} \
             Segment: {segment}"
        ),
    })
}
