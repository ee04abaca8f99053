//! BatchGetItem: items of several tables by their keys, each as GetItem would find it.

use std::collections::HashSet;
use std::sync::Arc;

use plan::{Context, Plan};

use super::get_item::projection_of;
use super::item::well_formed;
use crate::call::{Call, Shared, settle};
use crate::engine::batch::batch_get;
use crate::engine::capacity::read_units;
use crate::json::Writer;
use crate::model::keys::Key;
use crate::model::limits::BATCH_GET_COUNT_MAX;
use crate::model::table::Table;
use crate::value::path::Projection;
use crate::value::{Item, ItemRef};
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::constraint::{Violations, length_at_least, length_at_most};
use crate::wire::error::Error;
use crate::wire::request::batch::{BatchGet, KeysAndAttributes};
use crate::wire::request::expressions::Kinds;
use crate::wire::request::item::table_name;
use crate::wire::words::ReturnCapacity;

/// What is asked of one table.
pub struct Asked {
    name: Box<str>,
    keys: Vec<Item>,
    consistent: bool,
    projection: Option<Projection>,
    /// The members of the request that come back with keys that were not read, as JSON.
    form: Vec<u8>,
}

/// What was found so far.
struct Found {
    /// Of which table each key is, and its place there.
    places: Vec<(usize, usize)>,
    tables: Vec<FoundTable>,
}

struct FoundTable {
    asked: Asked,
    items: Writer,
    consumed: Consumed,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let (asked, capacity) = check(&call, body)?;
    let mut keys = Vec::new();
    let mut found = Found { places: Vec::new(), tables: Vec::with_capacity(asked.len()) };
    // Every table is found before a key of any of them is looked at.
    let tables: Vec<Arc<Table>> =
        asked.iter().map(|asked| call.table(cx, &asked.name)).collect::<Result<_, _>>()?;
    for (number, (asked, table)) in asked.into_iter().zip(tables).enumerate() {
        for (place, key) in asked.keys.iter().enumerate() {
            keys.push(Key::exact(&table, key.as_ref())?);
            found.places.push((number, place));
        }
        let mut items = Writer::new();
        items.begin_array();
        found.tables.push(FoundTable { asked, items, consumed: Consumed::new(table, Purpose::Unsaid) });
    }
    check_distinct(&keys)?;
    Ok(batch_get(cx, keys, found, Found::take, move |_, found, outcome| {
        let outcome =
            outcome.map_err(Error::from).map(|read_count| call.reply(found.reply(read_count, capacity)));
        settle(&call, outcome)
    }))
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<(Vec<Asked>, ReturnCapacity), Error> {
    let request = BatchGet::decode(&call.core.scratch, body)?;
    let capacity = constraints(&request)?;
    Ok((asked(call, request)?, capacity))
}

/// The member constraints.
fn constraints(request: &BatchGet<'_>) -> Result<ReturnCapacity, Error> {
    let mut violations = Violations::new();
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref());
    let Some(tables) = &request.tables else {
        violations.required("requestItems", false);
        violations.finish()?;
        return Err(Error::internal());
    };
    let entries = tables.entries.list();
    if entries.is_empty() && violations.is_empty() {
        return Err(Error::validation("The requestItems parameter is required for BatchGetItem"));
    }
    for (name, asked) in entries {
        let count = asked.keys.as_ref().map_or(0, |keys| keys.count);
        let member = format!("RequestItems.{name}.member.Keys");
        if count == 0 {
            violations.named(&member, &length_at_least(1));
        } else if count > BATCH_GET_COUNT_MAX {
            violations.named(&member, &length_at_most(BATCH_GET_COUNT_MAX));
        }
        table_name(&mut violations, Some(name));
    }
    violations.finish()?;
    let sum: usize = entries.iter().filter_map(|(_, asked)| asked.keys.as_ref()).map(|keys| keys.count).sum();
    if sum + tables.dropped_count > BATCH_GET_COUNT_MAX {
        return Err(Error::validation("Too many items requested for the BatchGetItem call"));
    }
    Ok(capacity.unwrap_or_default())
}

/// The checks of what is asked of each table.
fn asked(call: &Call, request: BatchGet<'_>) -> Result<Vec<Asked>, Error> {
    let entries = request.tables.map(|tables| tables.entries.into_list()).unwrap_or_default();
    check_styles(&entries)?;
    let mut all = Vec::with_capacity(entries.len());
    for (name, mut asked) in entries {
        let sent = asked.keys.take().map(|keys| keys.list).unwrap_or_default();
        let keys = sent.into_iter().map(well_formed).collect::<Result<Vec<_>, _>>()?;
        asked.expressions.check_placeholders(Kinds::PROJECTION)?;
        let mut binder = asked.expressions.binder();
        let projection = projection_of(call, &asked.expressions, asked.legacy.as_deref(), &mut binder)?;
        binder.finish()?;
        let form = form_of(&asked);
        all.push(Asked { name, keys, consistent: asked.consistent, projection, form });
    }
    Ok(all)
}

/// Expressions and older parameters exclude each other over all tables.
fn check_styles(entries: &[(Box<str>, KeysAndAttributes<'_>)]) -> Result<(), Error> {
    let legacy = entries.iter().find_map(|(_, asked)| asked.legacy.as_ref());
    let Some(legacy) = legacy else { return Ok(()) };
    for (_, asked) in entries {
        asked.expressions.check_styles(&legacy.given())?;
    }
    Ok(())
}

fn check_distinct(keys: &[Key]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(keys.len());
    if keys.iter().all(|key| seen.insert(key.store_key())) {
        return Ok(());
    }
    Err(Error::validation("Provided list of item keys contains duplicates"))
}

/// All members but the keys, as JSON without braces around them.
fn form_of(asked: &KeysAndAttributes<'_>) -> Vec<u8> {
    let mut out = Writer::new();
    out.begin_object();
    if asked.consistent {
        out.key("ConsistentRead");
        out.boolean(true);
    }
    if let Some(projection) = &asked.expressions.projection {
        out.key("ProjectionExpression");
        out.string(projection);
    }
    if let Some(names) = &asked.expressions.names {
        out.key("ExpressionAttributeNames");
        out.begin_object();
        for (key, name) in names.list() {
            out.key(key);
            out.string(name);
        }
        out.end_object();
    }
    if let Some(names) = asked.legacy.as_ref().and_then(|legacy| legacy.attributes_to_get.as_ref()) {
        out.key("AttributesToGet");
        out.begin_array();
        names.iter().for_each(|name| out.string(name));
        out.end_array();
    }
    out.into_bytes().split_off(1)
}

impl Found {
    /// Takes one item that was read, or that is not there.
    fn take(&mut self, place: usize, item: Option<ItemRef<'_>>) {
        let table = &mut self.tables[self.places[place].0];
        let units = read_units(item.map_or(0, |item| u64::from(item.aws_bytes())));
        table.consumed.units.0 += HalfUnits::read(units, table.asked.consistent).0;
        if let Some(item) = item {
            match &table.asked.projection {
                Some(projection) => projection.write_json(item, &mut table.items),
                None => item.write_json(&mut table.items),
            }
        }
    }

    /// The reply, when so many of the keys were read.
    fn reply(mut self, read_count: usize, capacity: ReturnCapacity) -> Writer {
        let room: usize = self.tables.iter().map(|table| table.items.len()).sum();
        let mut out = Writer::with_capacity(room + super::item::REPLY_BYTES);
        out.begin_object();
        out.key("Responses");
        out.begin_object();
        for table in &mut self.tables {
            table.items.end_array();
            out.key(&table.asked.name);
            out.raw(table.items.as_bytes());
        }
        out.end_object();
        out.key("UnprocessedKeys");
        out.begin_object();
        let left = &self.places[read_count..];
        for (number, table) in self.tables.iter().enumerate() {
            let mut places = left.iter().filter(|(of, _)| *of == number).map(|(_, place)| *place).peekable();
            if places.peek().is_none() {
                continue;
            }
            out.key(&table.asked.name);
            out.begin_object();
            out.key("Keys");
            out.begin_array();
            places.for_each(|place| table.asked.keys[place].as_ref().write_json(&mut out));
            out.end_array();
            out.raw(&table.asked.form);
            out.end_object();
        }
        out.end_object();
        let consumed: Vec<Consumed> = self.tables.into_iter().map(|table| table.consumed).collect();
        write_consumed_list(capacity, &consumed, &mut out);
        out.end_object();
        out
    }
}
