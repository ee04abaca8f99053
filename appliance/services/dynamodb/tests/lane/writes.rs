//! Put, update and delete of one item, with conditions.

use serde_json::{Value as Json, json};

use super::{Lane, expressions, values};
use crate::client::Client;
use crate::reference::capacity;
use crate::reference::condition::Condition;
use crate::reference::path::{Path, Printer, name, project};
use crate::reference::random::Random;
use crate::reference::table::Table;
use crate::reference::update::{Update, UpdateFault};
use crate::reference::value::{Item, Value, item_to_json};

/// Deeper items than this are left to tests of the limit.
const DEPTH_MAX: usize = 25;

/// What one action does to one item.
#[derive(Clone, Debug)]
pub enum Deed {
    Put(Item),
    Update(Item, Update),
    Delete(Item),
    Check(Item),
}

impl Deed {
    pub fn key(&self, table: &Table) -> Item {
        match self {
            Deed::Put(item) => table.key(item),
            Deed::Update(key, _) | Deed::Delete(key) | Deed::Check(key) => key.clone(),
        }
    }

    /// The item afterwards.
    pub fn result(&self, table: &Table) -> Result<Option<Item>, UpdateFault> {
        let old = |key: &Item| table.get(key).cloned();
        match self {
            Deed::Put(item) => Ok(Some(item.clone())),
            Deed::Delete(_) => Ok(None),
            Deed::Check(key) => Ok(old(key)),
            Deed::Update(key, update) => update.apply(old(key).as_ref(), key),
        }
    }
}

/// A condition on the key or on anything else; often one that decides whether the item is there.
pub fn random_condition(random: &mut Random, table: &Table) -> Condition {
    let key: Vec<&'static str> = table.key_attributes().map(|part| part.name).collect();
    match random.below(6) {
        0 => Condition::NotExists(name(key[0])),
        1 => Condition::Exists(name(key[random.below(key.len())])),
        _ => expressions::condition(random, &expressions::path, 2),
    }
}

/// Puts a condition into a request.
pub fn print_condition(
    request: &mut Json,
    condition: &Condition,
    printer: &mut Printer,
    random: &mut Random,
) {
    request["ConditionExpression"] = json!(condition.print(printer, random));
}

impl<C: Client> Lane<C> {
    /// A deed that the service takes by its text, and whose item is not too deep.
    pub(super) fn deed(&mut self, table: usize, kind: usize) -> Deed {
        let (table, random) = (&self.tables[table], &mut self.random);
        match kind {
            0 => Deed::Put(values::item(random, table, &self.expiries)),
            1 => loop {
                let key = values::key(random, table);
                let update = expressions::update(random, table, &self.expiries);
                let deed = Deed::Update(key, update);
                let item = deed.result(table).ok().flatten().unwrap_or_default();
                if !is_too_deep(&item) {
                    return deed;
                }
            },
            2 => Deed::Delete(values::key(random, table)),
            _ => Deed::Check(values::key(random, table)),
        }
    }

    /// The members of a deed in a request.
    pub(super) fn deed_json(&mut self, deed: &Deed, request: &mut Json, printer: &mut Printer) {
        match deed {
            Deed::Put(item) => request["Item"] = values::spell_item(&mut self.random, item),
            Deed::Update(key, update) => {
                request["Key"] = values::spell_item(&mut self.random, key);
                if !update.0.is_empty() {
                    request["UpdateExpression"] = json!(update.print(printer, &mut self.random));
                }
            }
            Deed::Delete(key) | Deed::Check(key) => {
                request["Key"] = values::spell_item(&mut self.random, key);
            }
        }
    }

    pub(super) async fn put(&mut self) {
        self.write("PutItem", 0).await;
    }

    pub(super) async fn update(&mut self) {
        self.write("UpdateItem", 1).await;
    }

    pub(super) async fn delete(&mut self) {
        self.write("DeleteItem", 2).await;
    }

    async fn write(&mut self, operation: &'static str, kind: usize) {
        let place = self.pick();
        let deed = self.deed(place, kind);
        let condition =
            self.random.chance(40).then(|| random_condition(&mut self.random, &self.tables[place]));
        let (mut request, mut printer) = (self.request(place), Printer::default());
        self.deed_json(&deed, &mut request, &mut printer);
        if let Some(condition) = &condition {
            print_condition(&mut request, condition, &mut printer, &mut self.random);
        }
        printer.finish(&mut request);
        let returned = match kind {
            1 => self.random.one_of(&["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"]),
            _ => self.random.one_of(&["NONE", "ALL_OLD"]),
        };
        if returned != "NONE" || self.random.chance(20) {
            request["ReturnValues"] = json!(returned);
        }
        let shows_failure = self.random.chance(50);
        if shows_failure {
            request["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
        }
        let tells_capacity = self.random.chance(25);
        if tells_capacity {
            request["ReturnConsumedCapacity"] = json!("INDEXES");
        }
        let answer = self.call(operation, &request).await;
        self.count(operation);
        let table = &self.tables[place];
        let (key, empty) = (deed.key(table), Item::new());
        let old = table.get(&key).cloned();
        let result = deed.result(table);
        let is_taken = match &result {
            Ok(Some(item)) => table.accepts(item).is_ok(),
            Ok(None) => true,
            Err(_) => false,
        };
        let holds = condition.is_none_or(|condition| condition.holds(old.as_ref().unwrap_or(&empty)));
        // An item that the table refuses whatever it holds is refused before its condition.
        if !is_taken && (holds || (result.is_ok() && answer.error() == Some("ValidationException"))) {
            return self.failed(operation, &answer, "ValidationException");
        }
        if !holds {
            self.failed(operation, &answer, "ConditionalCheckFailedException");
            let shown = old.filter(|_| shows_failure).map(|item| item_to_json(&item));
            return self.same(&json!(answer.body.get("Item")), &json!(shown));
        }
        self.check(answer.status == 200, "should succeed");
        let new = result.expect("taken");
        let paths = match &deed {
            Deed::Update(_, update) => update.paths(),
            _ => Vec::new(),
        };
        self.tables[place].set(&key, new.clone(), false);
        let shown = shown(returned, old.as_ref(), new.as_ref(), &paths);
        let mut wanted = shown.map_or(json!({}), |item| json!({"Attributes": item_to_json(&item)}));
        let is_settled = self.building.as_ref().is_none_or(|(table, _)| *table != self.tables[place].name);
        if tells_capacity && is_settled {
            wanted["ConsumedCapacity"] = capacity::of_write(&self.tables[place], old.as_ref(), new.as_ref());
            self.count("capacity of a write");
        } else if tells_capacity {
            wanted["ConsumedCapacity"] = answer.body["ConsumedCapacity"].clone();
        }
        self.same(&answer.body, &wanted);
        self.count(&format!("{operation} {returned}"));
    }
}

/// What `ReturnValues` shows.
fn shown(returned: &str, old: Option<&Item>, new: Option<&Item>, paths: &[Path]) -> Option<Item> {
    let touched = |item: &Item| Some(project(item, paths)).filter(|item| !item.is_empty());
    match returned {
        "ALL_OLD" => old.cloned(),
        "ALL_NEW" => new.cloned(),
        "UPDATED_OLD" => old.and_then(touched),
        "UPDATED_NEW" => new.and_then(touched),
        _ => None,
    }
}

/// Whether an item comes too near to the bound of nesting.
pub fn is_too_deep(item: &Item) -> bool {
    item.values().any(|value| depth(value) > DEPTH_MAX)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::L(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::M(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}
