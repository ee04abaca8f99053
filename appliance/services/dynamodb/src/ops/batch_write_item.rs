//! BatchWriteItem: puts and deletes of several tables, each by itself.

use std::collections::HashSet;
use std::sync::Arc;

use plan::{Context, Plan};

use super::item::{check_size, key_of, rekey, well_formed};
use crate::call::{Call, Shared, settle};
use crate::engine::batch::{Wrote, batch_write};
use crate::engine::item_write::{Action, Done, ItemWrite};
use crate::json::{Read, Writer};
use crate::model::limits::BATCH_WRITE_COUNT_MAX;
use crate::model::table::Table;
use crate::value::Item;
use crate::wire::capacity::{Consumed, Purpose, write_collection, write_consumed_list};
use crate::wire::constraint::{Violations, is_name};
use crate::wire::error::{Error, ErrorName};
use crate::wire::key::batch_key_error;
use crate::wire::request::batch::{BatchWrite, Counted, WriteRequest};
use crate::wire::request::item::{ARN_CHARACTERS_MAX, NAME_CHARACTERS_MAX};
use crate::wire::words::{ReturnCapacity, ReturnCollection};

const TOO_MANY: &str = "Too many items requested for the BatchWriteItem call";
const REQUIRED: &str = "The requestItems parameter is required for BatchWriteItem";
const COUNT_RULE: &str = "Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must \
                          have length greater than or equal to 1]";
const NAME_RULE: &str = "Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member must \
                         have length greater than or equal to 3, Member must satisfy regular expression pattern: \
                         [a-zA-Z0-9_.-]+]";
/// Not verified on AWS.
const NEITHER: &str = "Supplied WriteRequest must contain exactly one of PutRequest or DeleteRequest";
/// Not verified on AWS.
const ALL_LATER: &str = "The level of configured provisioned throughput for one or more tables was exceeded. Consider \
                         increasing your provisioning level with the UpdateTable API.";

/// The request after the checks that need no table.
pub struct Checked {
    /// By the name that the request has for the table.
    asked: Vec<(Box<str>, Vec<Asked>)>,
    capacity: ReturnCapacity,
    collection: ReturnCollection,
}

/// What one request of the batch does: a Put, or the Delete of a key.
enum Asked {
    Put(Item),
    Delete(Item),
}

impl Asked {
    fn write_json(&self, out: &mut Writer) {
        let (request, member, item) = match self {
            Asked::Put(item) => ("PutRequest", "Item", item),
            Asked::Delete(key) => ("DeleteRequest", "Key", key),
        };
        out.begin_object();
        out.key(request);
        out.begin_object();
        out.key(member);
        item.as_ref().write_json(out);
        out.end_object();
        out.end_object();
    }
}

/// The requests of the batch, as they are answered.
struct Batch {
    /// By the name that the request has for it.
    tables: Vec<(Box<str>, Arc<Table>)>,
    /// Of which table each is.
    requests: Vec<(usize, Asked)>,
    capacity: ReturnCapacity,
    collection: ReturnCollection,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let Checked { asked, capacity, collection } = check(&call, body)?;
    let mut batch = Batch { tables: Vec::new(), requests: Vec::new(), capacity, collection };
    for (name, _) in &asked {
        batch.tables.push((name.clone(), call.table(cx, name)?));
    }
    let mut writes = Vec::new();
    for (number, (_, requests)) in asked.into_iter().enumerate() {
        let table = &batch.tables[number].1;
        for asked in requests {
            let (action, key) = match &asked {
                Asked::Put(item) => (Action::Put(item.clone()), None),
                Asked::Delete(key) => (Action::Delete, Some(key.as_ref())),
            };
            let key = key_of(table, &action, key, batch_key_error)?;
            writes.push(ItemWrite::new(Arc::clone(table), key, action));
            batch.requests.push((number, asked));
        }
    }
    let mut seen = HashSet::with_capacity(writes.len());
    if !writes.iter().all(|write| seen.insert(write.key.store_key())) {
        return Err(Error::validation("Provided list of item keys contains duplicates"));
    }
    let keys: Vec<Item> = match collection {
        ReturnCollection::None => Vec::new(),
        ReturnCollection::Size => writes.iter().map(|write| Item::from_ref(write.key.attributes())).collect(),
    };
    Ok(batch_write(cx, writes, rekey(&call, batch_key_error), move |_, outcome| {
        let outcome = outcome.and_then(|wrote| Ok(call.reply(batch.reply(&keys, wrote)?)));
        settle(&call, outcome)
    }))
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<Checked, Error> {
    let request = BatchWrite::decode(&call.core.scratch, body)?;
    let (capacity, collection) = constraints(&request)?;
    let entries = request.tables.map(|tables| tables.entries.into_list()).unwrap_or_default();
    let mut asked = Vec::with_capacity(entries.len());
    for (name, requests) in entries {
        let requests = requests.list.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        asked.push((name, requests));
    }
    Ok(Checked { asked, capacity, collection })
}

/// The member constraints.
fn constraints(request: &BatchWrite<'_>) -> Result<(ReturnCapacity, ReturnCollection), Error> {
    let mut violations = Violations::new();
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref());
    let collection = violations.word("returnItemCollectionMetrics", request.collection.as_deref());
    let Some(tables) = &request.tables else {
        violations.required("requestItems", false);
        violations.finish()?;
        return Err(Error::internal());
    };
    let entries = tables.entries.list();
    if entries.is_empty() && violations.is_empty() {
        return Err(Error::validation(REQUIRED));
    }
    if entries.iter().any(|(name, _)| !is_table(name)) {
        violations.echo("requestItems", &dump(entries), NAME_RULE);
    }
    if entries.iter().any(|(_, requests)| !(1..=BATCH_WRITE_COUNT_MAX).contains(&requests.count)) {
        violations.echo("requestItems", &dump(entries), COUNT_RULE);
    }
    for (name, requests) in entries {
        for (place, request) in requests.list.iter().enumerate() {
            let path = |member: &str| format!("requestItems.{name}.member.{}.member.{member}", place + 1);
            if matches!(request.put, Some(None)) {
                violations.required(&path("putRequest.item"), false);
            }
            if matches!(request.delete, Some(None)) {
                violations.required(&path("deleteRequest.key"), false);
            }
        }
    }
    violations.finish()?;
    let sum: usize = entries.iter().map(|(_, requests)| requests.count).sum();
    if sum + tables.dropped_count > BATCH_WRITE_COUNT_MAX {
        return Err(Error::validation(TOO_MANY));
    }
    Ok((capacity.unwrap_or_default(), collection.unwrap_or_default()))
}

fn is_table(name: &str) -> bool {
    if name.starts_with("arn:") {
        return name.len() <= ARN_CHARACTERS_MAX;
    }
    is_name(name) && (3..=NAME_CHARACTERS_MAX).contains(&name.len())
}

/// What was sent, in the shape in which AWS repeats it, without what the items hold.
fn dump(entries: &[(Box<str>, Counted<WriteRequest>)]) -> String {
    let tables: Vec<String> = entries
        .iter()
        .map(|(name, requests)| {
            let requests: Vec<&str> = requests
                .list
                .iter()
                .map(|request| match request.put {
                    Some(_) => "WriteRequest(putRequest=PutRequest, deleteRequest=null)",
                    None => "WriteRequest(putRequest=null, deleteRequest=DeleteRequest)",
                })
                .collect();
            format!("{name}=[{}]", requests.join(", "))
        })
        .collect();
    format!("{{{}}}", tables.join(", "))
}

/// The checks of one request that need no table.
fn checked(request: WriteRequest) -> Result<Asked, Error> {
    let item = |read: Option<Read<Item>>| read.map_or_else(|| Err(Error::internal()), well_formed);
    match (request.put, request.delete) {
        (Some(put), None) => {
            let new = item(put)?;
            check_size(new.as_ref())?;
            Ok(Asked::Put(new))
        }
        (None, Some(delete)) => Ok(Asked::Delete(item(delete)?)),
        (Some(_), Some(_)) | (None, None) => Err(Error::validation(NEITHER)),
    }
}

impl Batch {
    fn reply(&self, keys: &[Item], wrote: Vec<Wrote>) -> Result<Writer, Error> {
        let mut done: Vec<Option<Box<Done>>> = Vec::with_capacity(wrote.len());
        for wrote in wrote {
            done.push(match wrote {
                Wrote::Done(done) => Some(done),
                Wrote::Later => None,
                // Its writes have none.
                Wrote::ConditionFailed(item) => return Err(Error::condition_failed(item)),
                Wrote::Refused(refusal) => return Err(refusal.into()),
            });
        }
        if done.iter().all(Option::is_none) {
            return Err(Error::new(ErrorName::ProvisionedThroughputExceeded, ALL_LATER));
        }
        let mut out = Writer::new();
        out.begin_object();
        out.key("UnprocessedItems");
        out.begin_object();
        for (number, (name, _)) in self.tables.iter().enumerate() {
            let left =
                self.requests.iter().zip(&done).filter(|((of, _), done)| *of == number && done.is_none());
            let mut left = left.map(|((_, asked), _)| asked).peekable();
            if left.peek().is_some() {
                out.key(name);
                out.begin_array();
                left.for_each(|asked| asked.write_json(&mut out));
                out.end_array();
            }
        }
        out.end_object();
        self.write_collections(keys, &done, &mut out);
        if self.capacity != ReturnCapacity::None {
            let mut consumed: Vec<Consumed> = self
                .tables
                .iter()
                .map(|(_, table)| Consumed::new(Arc::clone(table), Purpose::Unsaid))
                .collect();
            for ((number, _), done) in self.requests.iter().zip(&done) {
                if let Some(done) = done {
                    consumed[*number].add_write(&done.cost, 1);
                }
            }
            write_consumed_list(self.capacity, &consumed, &mut out);
        }
        out.end_object();
        Ok(out)
    }

    fn write_collections(&self, keys: &[Item], done: &[Option<Box<Done>>], out: &mut Writer) {
        if self.collection == ReturnCollection::None {
            return;
        }
        let costs = done.iter().map(|done| done.as_ref().map(|done| &done.cost));
        let places: Vec<usize> = self.requests.iter().map(|(number, _)| *number).collect();
        let tables: Vec<&(Box<str>, Arc<Table>)> = self.tables.iter().collect();
        write_collection_map(&tables, &places, keys, costs.collect::<Vec<_>>().as_slice(), out);
    }
}

/// Appends `ItemCollectionMetrics` of several tables, each collection once. `places`: of which table each key is.
pub fn write_collection_map(
    tables: &[&(Box<str>, Arc<Table>)],
    places: &[usize],
    keys: &[Item],
    costs: &[Option<&crate::engine::capacity::WriteCost>],
    out: &mut Writer,
) {
    let with_locals = |number: usize| !tables[number].1.locals.is_empty();
    if !places.iter().any(|number| with_locals(*number)) {
        return;
    }
    out.key("ItemCollectionMetrics");
    out.begin_object();
    for (number, entry) in tables.iter().enumerate().filter(|(number, _)| with_locals(*number)) {
        let (name, table) = entry;
        out.key(name);
        out.begin_array();
        let mut seen = HashSet::new();
        // The last write of a collection knows its size.
        for place in (0..places.len()).rev().filter(|place| places[*place] == number) {
            let bytes = costs[place].and_then(|cost| cost.collection_bytes);
            let hash = keys[place].as_ref().get(&table.key.hash.name);
            if let (Some(bytes), Some(hash)) = (bytes, hash)
                && seen.insert(hash.encoded().to_vec())
            {
                write_collection(table, keys[place].as_ref(), bytes, out);
            }
        }
        out.end_array();
    }
    out.end_object();
}
