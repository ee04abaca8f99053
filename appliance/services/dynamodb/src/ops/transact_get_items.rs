//! TransactGetItems: several items as they were at one moment.

use std::collections::HashSet;
use std::sync::Arc;

use plan::{Context, Plan};

use super::get_item::projection_of;
use super::item;
use super::transact_write_items::{TOO_LARGE, TWICE, action_constraints, dump, settle_keys};
use crate::call::{Call, Shared};
use crate::engine::capacity::read_units;
use crate::engine::transact::{Got, transact_get};
use crate::json::Writer;
use crate::model::keys::Key;
use crate::model::limits::{BYTES_PER_TURN_MAX, TRANSACT_COUNT_MAX};
use crate::model::table::Table;
use crate::value::Item;
use crate::value::path::Projection;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::constraint::Violations;
use crate::wire::error::Error;
use crate::wire::request::expressions::Kinds;
use crate::wire::request::transact::{Action as Sent, TransactGet};
use crate::wire::words::ReturnCapacity;

/// Not verified on AWS.
const ONE_KIND: &str = "TransactItems can only contain Get";
/// What a transaction costs more than plain operations.
const FACTOR: u64 = 2;

/// One Get after the checks that need no table.
pub struct Asked {
    table_name: Box<str>,
    key: Item,
    projection: Option<Projection>,
}

/// Begins it, and reads at once: a read takes no step.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let (asked, capacity) = check(&call, body)?;
    let mut tables: Vec<(&str, Arc<Table>)> = Vec::new();
    let mut places = Vec::with_capacity(asked.len());
    for get in &asked {
        let place = match tables.iter().position(|(name, _)| *name == &*get.table_name) {
            Some(place) => place,
            None => {
                tables.push((&get.table_name, call.table(cx, &get.table_name)?));
                tables.len() - 1
            }
        };
        places.push(place);
    }
    let keys: Vec<Result<Key, Error>> = asked
        .iter()
        .zip(&places)
        .map(|(get, place)| Ok(Key::exact(&tables[*place].1, get.key.as_ref())?))
        .collect();
    let mut seen = HashSet::with_capacity(keys.len());
    if !keys.iter().flatten().all(|key| seen.insert(key.store_key().to_vec())) {
        return Err(Error::validation(TWICE));
    }
    let keys = settle_keys(keys)?;
    let items = match transact_get(cx, &keys)? {
        Got::Items(items) => items,
        Got::TooLarge => return Err(Error::validation(TOO_LARGE)),
    };
    let consumed = tables.iter().map(|(_, table)| Consumed::new(Arc::clone(table), Purpose::Read)).collect();
    let mut out = Writer::new();
    out.begin_object();
    out.key("Responses");
    out.begin_array();
    let gets = asked.into_iter().zip(places).zip(items);
    let gets = gets.map(|((get, place), item)| (get.projection, place, item)).collect::<Vec<_>>().into_iter();
    Ok(go_on(call, Answer { gets, consumed, capacity, out }))
}

/// A reply in the making. The items were all read at one moment; 4 MB of them are written in turns.
struct Answer {
    /// What is left to be written: how it is shown, of which table it is, and the item.
    gets: std::vec::IntoIter<(Option<Projection>, usize, Option<Item>)>,
    consumed: Vec<Consumed>,
    capacity: ReturnCapacity,
    out: Writer,
}

fn go_on(call: Shared, mut answer: Answer) -> Plan {
    let turn_bytes_max = answer.out.len() as u64 + BYTES_PER_TURN_MAX;
    while let Some((projection, place, item)) = answer.gets.next() {
        answer.write(projection.as_ref(), place, item.as_ref());
        if answer.out.len() as u64 >= turn_bytes_max && answer.gets.len() > 0 {
            return Plan::Pause(Box::new(move |_, ()| go_on(call, answer)));
        }
    }
    let Answer { consumed, capacity, mut out, .. } = answer;
    out.end_array();
    write_consumed_list(capacity, &consumed, &mut out);
    out.end_object();
    call.reply(out)
}

impl Answer {
    fn write(&mut self, projection: Option<&Projection>, place: usize, item: Option<&Item>) {
        let bytes = item.map_or(0, |item| u64::from(item.as_ref().aws_bytes()));
        self.consumed[place].units.0 += HalfUnits::whole(read_units(bytes) * FACTOR).0;
        self.out.begin_object();
        if let Some(item) = item {
            self.out.key("Item");
            match projection {
                Some(projection) => projection.write_json(item.as_ref(), &mut self.out),
                None => item.as_ref().write_json(&mut self.out),
            }
        }
        self.out.end_object();
    }
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<(Vec<Asked>, ReturnCapacity), Error> {
    let request = TransactGet::decode(&call.core.scratch, body)?;
    let capacity = constraints(&request)?;
    let sent = request.actions.map(|actions| actions.list).unwrap_or_default();
    let asked = sent.into_iter().map(|action| check_get(call, action)).collect::<Result<Vec<_>, _>>()?;
    Ok((asked, capacity))
}

/// The member constraints.
fn constraints(request: &TransactGet<'_>) -> Result<ReturnCapacity, Error> {
    let mut violations = Violations::new();
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref());
    violations.required("transactItems", request.actions.is_some());
    if let Some(actions) = &request.actions {
        let echo = dump("TransactGetItem", actions.count);
        violations.count("transactItems", &echo, actions.count, 1, TRANSACT_COUNT_MAX);
        for (place, action) in actions.list.iter().enumerate() {
            action_constraints(&mut violations, place, action);
        }
    }
    violations.finish()?;
    Ok(capacity.unwrap_or_default())
}

/// The checks of one Get.
fn check_get(call: &Call, sent: Sent<'_>) -> Result<Asked, Error> {
    let Some(request) = sent.request else { return Err(Error::validation(ONE_KIND)) };
    let (_, mut request) = *request;
    let key = item::present(request.key.take())?;
    request.expressions.check_placeholders(Kinds::PROJECTION)?;
    let mut binder = request.expressions.binder();
    let projection = projection_of(call, &request.expressions, None, &mut binder)?;
    binder.finish()?;
    let table_name = request.table_name.unwrap_or_default();
    Ok(Asked { table_name: Box::from(&*table_name), key, projection })
}
