//! What the operations that write one item share: the checks before the table is looked up, the write itself, and its
//! reply.
//! Invariant: the order of the checks is AWS's: a request with several faults is answered with the first.
//! Leaves to the operations: what is written.

use std::sync::Arc;

use plan::{Context, Plan};

use crate::call::{Call, Shared, settle};
use crate::engine::item_write::{Action, Done, ItemWrite, Written, write};
use crate::expression::{Binder, Condition, Kind, updated_attributes};
use crate::json::{Read, Writer};
use crate::model::keys::{Key, KeyError, check_index_keys};
use crate::model::limits::ITEM_BYTES_MAX;
use crate::model::table::Table;
use crate::value::path::Step;
use crate::value::{Item, ItemRef};
use crate::wire::capacity::{Consumed, Purpose, write_collection, write_consumed};
use crate::wire::error::Error;
use crate::wire::request::Text;
use crate::wire::request::item::{ItemRequest, Shape, Wanted};
use crate::wire::words::{ReturnCapacity, ReturnCollection, ReturnOnFailure, ReturnValues};

/// Room for the head and the tail of a reply with one item.
pub const REPLY_BYTES: usize = 256;

/// The value of an item that was sent, if it is well formed.
pub fn well_formed(read: Read<Item>) -> Result<Item, Error> {
    match read.error {
        None => Ok(read.value),
        Some(error) => Err(Error::from(&error)),
    }
}

/// An item that a request holds; a member that was required has been found to be there.
pub fn present(read: Option<Read<Item>>) -> Result<Item, Error> {
    read.map_or_else(|| Err(Error::internal()), well_formed)
}

/// Refuses expressions beside older parameters, and values in these that are not well formed.
pub fn check_styles(request: &ItemRequest<'_>) -> Result<(), Error> {
    match &request.legacy {
        Some(legacy) => {
            request.expressions.check_styles(&legacy.given())?;
            super::legacy::check_values(legacy)
        }
        None => Ok(()),
    }
}

/// The condition of a write, in either style.
pub fn condition(
    call: &Call,
    request: &ItemRequest<'_>,
    wanted: &Wanted,
    binder: &mut Binder<'_>,
) -> Result<Option<Condition>, Error> {
    if let Some(text) = request.expressions.condition.as_deref() {
        let mut cache = call.core.expressions.borrow_mut();
        return Ok(Some(binder.condition(&mut cache, Kind::Condition, text)?));
    }
    match &request.legacy {
        Some(legacy) => super::legacy::expected(legacy, wanted.operator),
        None => Ok(None),
    }
}

/// `ReturnValues` of Put and Delete.
pub fn check_returns_old(wanted: &Wanted) -> Result<(), Error> {
    match wanted.values {
        ReturnValues::None | ReturnValues::AllOld => Ok(()),
        ReturnValues::UpdatedOld | ReturnValues::AllNew | ReturnValues::UpdatedNew => {
            Err(Error::validation("ReturnValues can only be ALL_OLD or NONE"))
        }
    }
}

/// The size of an item that stands in the request.
pub fn check_size(item: ItemRef<'_>) -> Result<(), Error> {
    if item.aws_bytes() > ITEM_BYTES_MAX {
        return Err(Error::validation("Item size has exceeded the maximum allowed size"));
    }
    Ok(())
}

/// The key under which an action writes, checked against the table as it is. `words`: how a key that does not fit is told.
pub fn key_of(
    table: &Table,
    action: &Action,
    key: Option<ItemRef<'_>>,
    words: fn(KeyError) -> Error,
) -> Result<Key, Error> {
    match (action, key) {
        (Action::Put(item), _) => {
            let key = Key::from_item(table, item.as_ref()).map_err(words)?;
            check_index_keys(table, item.as_ref()).map_err(words)?;
            Ok(key)
        }
        (Action::Update(update), Some(key)) => {
            let found = Key::exact(table, key).map_err(words)?;
            check_keeps_key(table, update)?;
            Ok(found)
        }
        (Action::Delete | Action::Check, Some(key)) => Key::exact(table, key).map_err(words),
        (Action::Update(_) | Action::Delete | Action::Check, None) => Err(Error::internal()),
    }
}

/// An update leaves the key alone.
fn check_keeps_key(table: &Table, update: &crate::expression::Update) -> Result<(), Error> {
    let is_key = |name: &str| {
        *table.key.hash.name == *name || table.key.sort.as_ref().is_some_and(|sort| *sort.name == *name)
    };
    let names = update.paths().filter_map(|path| match path.first() {
        Some(Step::Name(name)) => Some(name),
        Some(Step::Index(_)) | None => None,
    });
    match names.into_iter().find(|name| is_key(name)) {
        None => Ok(()),
        Some(name) => Err(Error::invalid_values(&format!(
            "Cannot update attribute {name}. This attribute is part of the key"
        ))),
    }
}

/// A write after the checks that need no table.
pub struct Asked<'a> {
    /// `TableName`
    pub table_name: Text<'a>,
    /// What is to become of the item.
    pub action: Action,
    /// `Key`, where the request has one.
    pub key: Option<Item>,
    /// What must hold.
    pub condition: Option<Condition>,
    /// What is answered.
    pub wanted: Wanted,
}

impl Asked<'_> {
    /// Looks the table up, writes, and answers.
    pub fn begin(self, call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
        let Asked { table_name, action, key, condition, wanted } = self;
        let table = call.table(cx, &table_name)?;
        let key = key_of(&table, &action, key.as_ref().map(Item::as_ref), Error::from)?;
        let collection_key = (wanted.collection == ReturnCollection::Size && !table.locals.is_empty())
            .then(|| Item::from_ref(key.attributes()));
        let mut item_write = ItemWrite::new(table, key, action);
        item_write.condition = condition;
        item_write.return_old = matches!(wanted.values, ReturnValues::AllOld | ReturnValues::UpdatedOld);
        item_write.return_new = matches!(wanted.values, ReturnValues::AllNew | ReturnValues::UpdatedNew);
        item_write.return_old_on_failure = wanted.on_failure == ReturnOnFailure::AllOld;
        Ok(write(cx, item_write, rekey(&call, Error::from), move |_, outcome| {
            let outcome = outcome.and_then(|(table, written)| {
                let done = done(written)?;
                Ok(reply(&call, table, &wanted, &done, collection_key.as_ref()))
            });
            settle(&call, outcome)
        }))
    }
}

/// Finds the table of a write anew and checks the write against it.
pub fn rekey(
    call: &Shared,
    words: fn(KeyError) -> Error,
) -> impl Fn(&mut Context<'_>, &ItemWrite) -> Result<(Arc<Table>, Key), Error> + use<> {
    let call = Shared::clone(call);
    move |cx, write| {
        let table = call.table(cx, &write.table.name)?;
        let key = key_of(&table, &write.action, Some(write.key.attributes()), words)?;
        Ok((table, key))
    }
}

/// What a write did, or why it was refused.
fn done(written: Written) -> Result<Box<Done>, Error> {
    match written {
        Written::Done(done) => Ok(done),
        Written::ConditionFailed(item) => Err(Error::condition_failed(item)),
        Written::Refused(refusal) => Err(refusal.into()),
    }
}

fn reply(
    call: &Call,
    table: Arc<Table>,
    wanted: &Wanted,
    done: &Done,
    collection_key: Option<&Item>,
) -> Plan {
    let touched =
        |item: &Option<Item>| item.as_ref().and_then(|item| updated_attributes(item.as_ref(), &done.touched));
    let attributes = match wanted.values {
        ReturnValues::None => None,
        ReturnValues::AllOld => done.old.clone(),
        ReturnValues::AllNew => done.new.clone(),
        ReturnValues::UpdatedOld => touched(&done.old),
        ReturnValues::UpdatedNew => touched(&done.new),
    };
    let mut out = Writer::with_capacity(2);
    out.begin_object();
    if let Some(attributes) = attributes {
        out.key("Attributes");
        attributes.as_ref().write_json(&mut out);
    }
    if let (Some(key), Some(bytes)) = (collection_key, done.cost.collection_bytes) {
        out.key("ItemCollectionMetrics");
        write_collection(&table, key.as_ref(), bytes, &mut out);
    }
    if wanted.capacity != ReturnCapacity::None {
        let mut consumed = Consumed::new(table, Purpose::Unsaid);
        consumed.add_write(&done.cost, 1);
        write_consumed(wanted.capacity, &consumed, &mut out);
    }
    out.end_object();
    call.reply(out)
}

/// What a request on one item is, so far.
pub fn decode<'a>(call: &Call, body: &'a [u8], shape: Shape) -> Result<(ItemRequest<'a>, Wanted), Error> {
    let request = ItemRequest::decode(&call.core.scratch, body, shape)?;
    let wanted = request.constraints(shape)?;
    Ok((request, wanted))
}
