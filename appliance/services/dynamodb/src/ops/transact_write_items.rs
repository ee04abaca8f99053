//! TransactWriteItems: several writes, all or none.

use std::collections::HashSet;
use std::sync::Arc;

use hash::Sha256;
use plan::{Context, Plan};

use super::batch_write_item::write_collection_map;
use super::item::{self, check_size, key_of, rekey};
use super::update_item;
use crate::call::{Call, Shared, settle};
use crate::engine::capacity::{WriteCost, read_units};
use crate::engine::item_write::{Action, ItemWrite, Refusal};
use crate::engine::transact::{self, Token, Transacted, transact_write};
use crate::expression::Condition;
use crate::json::Writer;
use crate::model::limits::{TRANSACT_BYTES_MAX, TRANSACT_COUNT_MAX};
use crate::model::table::Table;
use crate::store::token::token_key;
use crate::value::Item;
use crate::wire::capacity::{Consumed, HalfUnits, Purpose, write_consumed_list};
use crate::wire::constraint::Violations;
use crate::wire::error::{
    COLLECTION_TOO_LARGE, CONDITION_FAILED, CONFLICT, Error, ErrorName, Reason, ReasonCode,
};
use crate::wire::request::item::{ItemRequest, Wanted};
use crate::wire::request::transact::{Action as Sent, TransactWrite, Verb};
use crate::wire::words::{ReturnCapacity, ReturnCollection, ReturnOnFailure};

/// The text for a transaction that names an item twice.
pub const TWICE: &str = "Transaction request cannot include multiple operations on one item";
/// Not verified on AWS.
pub const TOO_LARGE: &str = "The aggregated size of the items in the transaction exceeds the limit of 4 MB";
const ONE_KIND: &str = "TransactItems can only contain one of Check, Put, Update or Delete";
/// The text for a token that came with another request.
pub const MISMATCH: &str = "DynamoDB rejected the request because you retried a request with a different payload but with an \
                        idempotent token that was already used.";
/// The text for a token whose request has not ended.
pub const IN_PROGRESS: &str = "The transaction with the given request token is already in progress.";
/// Characters of a token at most.
const TOKEN_CHARACTERS_MAX: usize = 36;
/// What a transaction costs more than plain operations.
const FACTOR: u64 = 2;

/// The request after the checks that need no table.
pub struct Checked {
    actions: Vec<CheckedAction>,
    token: Option<Token>,
    capacity: ReturnCapacity,
    collection: ReturnCollection,
}

/// One action after them.
struct CheckedAction {
    table_name: Box<str>,
    action: Action,
    key: Option<Item>,
    condition: Option<Condition>,
    on_failure: ReturnOnFailure,
}

/// What the reply needs to know of the request.
struct Asked {
    tables: Vec<(Box<str>, Arc<Table>)>,
    /// Of which table each action is.
    places: Vec<usize>,
    keys: Vec<Item>,
    capacity: ReturnCapacity,
    collection: ReturnCollection,
}

/// Begins it.
pub fn start(call: Shared, cx: &mut Context<'_>, body: &[u8]) -> Result<Plan, Error> {
    let Checked { actions, token, capacity, collection } = check(&call, body)?;
    let mut asked = Asked { tables: Vec::new(), places: Vec::new(), keys: Vec::new(), capacity, collection };
    for action in &actions {
        let place = asked.tables.iter().position(|(name, _)| *name == action.table_name);
        let place = match place {
            Some(place) => place,
            None => {
                asked.tables.push((action.table_name.clone(), call.table(cx, &action.table_name)?));
                asked.tables.len() - 1
            }
        };
        asked.places.push(place);
    }
    let writes = writes(&asked, actions)?;
    if collection == ReturnCollection::Size {
        asked.keys = writes.iter().map(|write| Item::from_ref(write.key.attributes())).collect();
    }
    Ok(transact_write(cx, writes, token, rekey(&call, Error::from), move |_, outcome| {
        let outcome = outcome.and_then(|ended| Ok(call.reply(asked.reply(ended)?)));
        settle(&call, outcome)
    }))
}

/// The checks that need no table.
pub fn check(call: &Call, body: &[u8]) -> Result<Checked, Error> {
    let request = TransactWrite::decode(&call.core.scratch, body)?;
    let (capacity, collection, on_failure) = constraints(&request)?;
    let sent = request.actions.map(|actions| actions.list).unwrap_or_default();
    let token = request
        .token
        .as_deref()
        .map(|token| Token { key: token_key(call.account_id(), token), digest: digest(&sent) });
    let mut actions = Vec::with_capacity(sent.len());
    for (action, on_failure) in sent.into_iter().zip(on_failure) {
        actions.push(check_action(call, action, on_failure)?);
    }
    let mut bytes = 0;
    for action in &actions {
        if let Action::Put(new) = &action.action {
            check_size(new.as_ref())?;
            bytes += u64::from(new.as_ref().aws_bytes());
        }
    }
    if bytes > TRANSACT_BYTES_MAX {
        return Err(Error::validation(TOO_LARGE));
    }
    Ok(Checked { actions, token, capacity, collection })
}

type Constrained = (ReturnCapacity, ReturnCollection, Vec<ReturnOnFailure>);

/// The member constraints.
fn constraints(request: &TransactWrite<'_>) -> Result<Constrained, Error> {
    let mut violations = Violations::new();
    if let Some(token) = request.token.as_deref() {
        violations.length("clientRequestToken", token, 1, TOKEN_CHARACTERS_MAX);
    }
    let capacity = violations.word("returnConsumedCapacity", request.capacity.as_deref());
    let collection = violations.word("returnItemCollectionMetrics", request.collection.as_deref());
    violations.required("transactItems", request.actions.is_some());
    let mut on_failure = Vec::new();
    if let Some(actions) = &request.actions {
        let echo = dump("TransactWriteItem", actions.count);
        violations.count("transactItems", &echo, actions.count, 1, TRANSACT_COUNT_MAX);
        for (place, action) in actions.list.iter().enumerate() {
            on_failure.push(action_constraints(&mut violations, place, action));
        }
    }
    violations.finish()?;
    Ok((capacity.unwrap_or_default(), collection.unwrap_or_default(), on_failure))
}

/// A list of actions as AWS repeats it, without what they hold.
pub fn dump(shape: &str, count: usize) -> String {
    let shown = vec![shape; count.min(TRANSACT_COUNT_MAX + 1)];
    format!("[{}]", shown.join(", "))
}

/// The member constraints of one action.
pub fn action_constraints(violations: &mut Violations, place: usize, action: &Sent<'_>) -> ReturnOnFailure {
    let Some((verb, request)) = action.request.as_deref() else { return ReturnOnFailure::None };
    let verb = *verb;
    let path = |member: &str| format!("transactItems.{}.member.{}.{member}", place + 1, verb.path());
    match request.table_name.as_deref() {
        Some(arn) if arn.starts_with("arn:") => {}
        name => violations.name(&path("tableName"), name, 1, 255),
    }
    match verb {
        Verb::Put => violations.required(&path("item"), request.item.is_some()),
        Verb::Check | Verb::Update | Verb::Delete | Verb::Get => {
            violations.required(&path("key"), request.key.is_some());
        }
    }
    match verb {
        Verb::Check => {
            violations.required(&path("conditionExpression"), request.expressions.condition.is_some());
        }
        Verb::Update => violations.required(&path("updateExpression"), request.expressions.update.is_some()),
        Verb::Put | Verb::Delete | Verb::Get => {}
    }
    let word = request.returns.on_failure.as_deref();
    violations.word(&path("returnValuesOnConditionCheckFailure"), word).unwrap_or_default()
}

/// The checks of one action.
fn check_action(call: &Call, sent: Sent<'_>, on_failure: ReturnOnFailure) -> Result<CheckedAction, Error> {
    let (1, Some(request)) = (sent.count, sent.request) else { return Err(Error::validation(ONE_KIND)) };
    let (verb, mut request): (Verb, ItemRequest<'_>) = *request;
    let new = request.item.take().map(item::well_formed).transpose()?;
    let key = request.key.take().map(item::well_formed).transpose()?;
    request.expressions.check_placeholders(verb.shape().kinds())?;
    let mut binder = request.expressions.binder();
    let action = match (verb, new) {
        (Verb::Put, Some(new)) => Action::Put(new),
        (Verb::Update, _) => Action::Update(update_item::update(call, &request, &mut binder)?),
        (Verb::Delete, _) => Action::Delete,
        (Verb::Check | Verb::Get, _) => Action::Check,
        (Verb::Put, None) => return Err(Error::internal()),
    };
    let condition = item::condition(call, &request, &Wanted::default(), &mut binder)?;
    binder.finish()?;
    let table_name = request.table_name.unwrap_or_default();
    Ok(CheckedAction { table_name: Box::from(&*table_name), action, key, condition, on_failure })
}

/// The writes, once every key is found to fit its table and to be there once.
fn writes(asked: &Asked, checked: Vec<CheckedAction>) -> Result<Vec<ItemWrite>, Error> {
    let keys: Vec<_> = checked
        .iter()
        .zip(&asked.places)
        .map(|(action, place)| {
            let table = &asked.tables[*place].1;
            key_of(table, &action.action, action.key.as_ref().map(Item::as_ref), Error::from)
        })
        .collect();
    let mut seen = HashSet::with_capacity(keys.len());
    if !keys.iter().flatten().all(|key| seen.insert(key.store_key().to_vec())) {
        return Err(Error::validation(TWICE));
    }
    let keys = settle_keys(keys)?;
    let writes = checked.into_iter().zip(keys).zip(&asked.places).map(|((action, key), place)| {
        let mut write = ItemWrite::new(Arc::clone(&asked.tables[*place].1), key, action.action);
        write.condition = action.condition;
        write.return_old_on_failure = action.on_failure == ReturnOnFailure::AllOld;
        write
    });
    Ok(writes.collect())
}

/// Keys that do not fit their tables give the transaction up; one without a value is refused as such.
pub fn settle_keys<K>(keys: Vec<Result<K, Error>>) -> Result<Vec<K>, Error> {
    if keys.iter().all(Result::is_ok) {
        return keys.into_iter().collect();
    }
    let mut reasons = Vec::with_capacity(keys.len());
    for key in keys {
        reasons.push(match key {
            Ok(_) => Reason::default(),
            Err(error) if error.message.starts_with("One or more parameter values are not valid.") => {
                return Err(error);
            }
            Err(error) => Reason::failed(ReasonCode::ValidationError, error.message),
        });
    }
    Err(Error::cancelled(reasons))
}

/// What two requests with one token have to share: all that says what is done, in an order of its own.
fn digest(actions: &[Sent<'_>]) -> [u8; 32] {
    let mut sha = Sha256::new();
    let mut field = |bytes: &[u8]| {
        sha.update(&(bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    for action in actions {
        let Some((verb, request)) = action.request.as_deref() else { continue };
        field(verb.path().as_bytes());
        let expressions = &request.expressions;
        let texts = [
            &request.table_name,
            &expressions.update,
            &expressions.condition,
            &expressions.projection,
            &request.returns.on_failure,
        ];
        for text in texts {
            field(text.as_deref().unwrap_or_default().as_bytes());
        }
        for item in [&request.item, &request.key] {
            field(item.as_ref().map_or(&[], |item| item.value.as_bytes()));
        }
        let mut names: Vec<_> = expressions.names.iter().flat_map(|names| names.list()).collect();
        names.sort_unstable();
        field(&(names.len() as u64).to_be_bytes());
        for (key, name) in names {
            field(key.as_bytes());
            field(name.as_bytes());
        }
        let mut values: Vec<_> = expressions.values.iter().flat_map(|values| values.entries.list()).collect();
        values.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        field(&(values.len() as u64).to_be_bytes());
        for (key, value) in values {
            field(key.as_bytes());
            field(value.as_bytes());
        }
    }
    sha.finish()
}

impl Asked {
    fn reply(&self, ended: Transacted) -> Result<Writer, Error> {
        let mut out = Writer::new();
        out.begin_object();
        match ended {
            Transacted::Done(costs) => self.write_done(&costs, &mut out),
            Transacted::Replayed(bytes) => self.write_replayed(&bytes, &mut out),
            Transacted::Mismatch => {
                return Err(Error::new(ErrorName::IdempotentParameterMismatch, MISMATCH));
            }
            Transacted::InProgress => return Err(Error::new(ErrorName::TransactionInProgress, IN_PROGRESS)),
            Transacted::Cancelled(reasons) => {
                return Err(Error::cancelled(reasons.into_iter().map(reason).collect()));
            }
            Transacted::TooLarge => return Err(Error::validation(TOO_LARGE)),
        }
        out.end_object();
        Ok(out)
    }

    fn consumed(&self, purpose: Purpose) -> Vec<Consumed> {
        self.tables.iter().map(|(_, table)| Consumed::new(Arc::clone(table), purpose)).collect()
    }

    fn write_done(&self, costs: &[WriteCost], out: &mut Writer) {
        if self.collection == ReturnCollection::Size {
            let tables: Vec<_> = self.tables.iter().collect();
            let costs: Vec<_> = costs.iter().map(Some).collect();
            write_collection_map(&tables, &self.places, &self.keys, &costs, out);
        }
        if self.capacity != ReturnCapacity::None {
            let mut consumed = self.consumed(Purpose::Write);
            for (place, cost) in self.places.iter().zip(costs) {
                consumed[*place].add_write(cost, FACTOR);
            }
            write_consumed_list(self.capacity, &consumed, out);
        }
    }

    /// What was done before costs the reading of what it wrote.
    fn write_replayed(&self, bytes: &[u32], out: &mut Writer) {
        if self.capacity == ReturnCapacity::None {
            return;
        }
        let mut consumed = self.consumed(Purpose::Read);
        for (place, bytes) in self.places.iter().zip(bytes) {
            consumed[*place].units.0 += HalfUnits::whole(read_units(u64::from(*bytes)) * FACTOR).0;
        }
        write_consumed_list(self.capacity, &consumed, out);
    }
}

/// Why one action gave the transaction up, if it did.
pub fn reason(reason: Option<transact::Reason>) -> Reason {
    match reason {
        None => Reason::default(),
        Some(transact::Reason::ConditionFailed(item)) => {
            Reason { item, ..Reason::failed(ReasonCode::ConditionalCheckFailed, CONDITION_FAILED) }
        }
        Some(transact::Reason::Refused(Refusal::Conflict)) => {
            Reason::failed(ReasonCode::TransactionConflict, CONFLICT)
        }
        Some(transact::Reason::Refused(Refusal::Collection)) => {
            Reason::failed(ReasonCode::ItemCollectionSizeLimitExceeded, COLLECTION_TOO_LARGE)
        }
        Some(transact::Reason::Refused(
            refusal @ (Refusal::Update(_) | Refusal::TooLarge { .. } | Refusal::Key(_)),
        )) => Reason::failed(ReasonCode::ValidationError, Error::from(refusal).message),
    }
}
