//! Transactions: all of it or nothing.
//! Invariant: the token of a transaction stays the same over its attempts, so that it is carried out once whatever gets lost.

use std::collections::HashMap;
use std::sync::Arc;

use cloudkit_core::api::{Condition, TransactItem};
use cloudkit_core::common::{CloudError, Failure};
use serde::Serialize;
use serde_json::Value;

use super::expression::{Holds, Places};
use super::schema::KeyNames;
use super::value::{TaggedKey, TaggedMap};
use super::wire::{Ignored, ItemRequest, ask, explain, request_token};
use super::{ZeroDb, object_of};
use crate::retry::Idempotency;
use crate::service::Operation;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction<'a> {
    transact_items: Vec<Part<'a>>,
    client_request_token: String,
}

#[derive(Serialize)]
enum Part<'a> {
    Put(ItemRequest<'a>),
    Delete(ItemRequest<'a>),
    ConditionCheck(ItemRequest<'a>),
}

/// The key names of each table of a transaction.
type Tables<'a> = HashMap<&'a str, Arc<KeyNames>>;

/// Carries a transaction out.
pub(super) async fn run(db: &ZeroDb, items: &[TransactItem]) -> Result<(), Failure> {
    let mut texts: Vec<&str> = items.iter().map(TransactItem::table).collect();
    texts.sort_unstable();
    texts.dedup();
    let resource = texts.join(", ");
    let operation = Operation::on("TransactWriteItems", &resource);
    let mut is_stale = false;
    loop {
        let mut tables = Tables::new();
        let mut is_fresh = true;
        for table in &texts {
            if is_stale {
                db.schemas.forget(table);
            }
            let (names, asked) = db.schemas.names(&db.client, table).await?;
            is_fresh &= asked;
            tables.insert(table, names);
        }
        let parts = items.iter().map(|item| {
            check_key(db, &operation, item, &tables)?;
            part(item, &tables).map_err(|words| db.invalid(&operation, words))
        });
        let outcome: Result<Ignored, Failure> = match parts.collect() {
            Ok(transact_items) => {
                let input = Transaction { transact_items, client_request_token: request_token() };
                ask(&db.client, &operation, &input, Idempotency::Always).await
            }
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(_) => return Ok(()),
            // Refused whole: perhaps because a table was made anew with another key.
            Err(failure) if matches!(failure.kind, CloudError::Validation(_)) && !is_fresh && !is_stale => {
                is_stale = true;
            }
            Err(mut failure) => {
                if failure.kind.is_not_found() {
                    texts.iter().for_each(|table| db.schemas.forget(table));
                    // The service does not say which of them; the one whose keys nobody knows is.
                    if let Some(table) = texts.iter().find(|table| tables[**table].is_guess) {
                        explain(&Operation::on(operation.name, table), &mut failure);
                    }
                }
                return Err(failure);
            }
        }
    }
}

/// Errors: Validation for an item with another value where its key belongs.
fn check_key(
    db: &ZeroDb,
    operation: &Operation<'_>,
    item: &TransactItem,
    tables: &Tables<'_>,
) -> Result<(), Failure> {
    match (item, tables.get(item.table())) {
        (TransactItem::Put { key, item: Value::Object(item), .. }, Some(names)) => {
            db.check_key(operation, names, key, item)
        }
        _ => Ok(()),
    }
}

fn part<'a>(item: &'a TransactItem, tables: &'a Tables<'a>) -> Result<Part<'a>, String> {
    let names = tables.get(item.table()).ok_or("a table that nobody asked about")?;
    let mut places = Places::default();
    let mut expression = |condition: &'a Condition, is_demanded: bool| {
        let holds = Holds::of(condition)?;
        Ok::<_, String>(if is_demanded {
            Some(holds.demanded(&mut places, &names.key))
        } else {
            holds.expression(&mut places, &names.key)
        })
    };
    let mut request = ItemRequest { table_name: item.table(), ..ItemRequest::default() };
    let key = TaggedKey { name: &names.key, value: item.key() };
    let make: fn(ItemRequest<'a>) -> Part<'a> = match item {
        TransactItem::Put { item, condition, .. } => {
            request.item = Some(TaggedMap { item: object_of(item)?, key: Some((key.name, key.value)) });
            request.condition_expression = conditional(condition.as_ref(), &mut expression)?;
            Part::Put
        }
        TransactItem::Delete { condition, .. } => {
            request.key = Some(key);
            request.condition_expression = conditional(condition.as_ref(), &mut expression)?;
            Part::Delete
        }
        TransactItem::Check { condition, .. } => {
            request.key = Some(key);
            request.condition_expression = expression(condition, true)?;
            Part::ConditionCheck
        }
        _ => return Err("a part of a kind that this provider does not know".into()),
    };
    request.expression_attribute_names = places.names;
    request.expression_attribute_values = places.values;
    Ok(make(request))
}

fn conditional<'a>(
    condition: Option<&'a Condition>,
    expression: &mut impl FnMut(&'a Condition, bool) -> Result<Option<String>, String>,
) -> Result<Option<String>, String> {
    condition.map_or(Ok(None), |condition| expression(condition, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_have_the_protocols_shape() {
        let names = Arc::new(KeyNames { key: "id".into(), sort: None, is_guess: false });
        let tables = Tables::from([("t", names)]);
        let put =
            TransactItem::put("t", "k", &json!({"a": 1})).unwrap().when(Condition::NotExists("id".into()));
        let check = TransactItem::check("t", "c", Condition::And(Vec::new()));
        let items = [put, TransactItem::delete("t", "d"), check];
        let parts: Vec<Value> =
            items.iter().map(|item| serde_json::to_value(part(item, &tables).unwrap()).unwrap()).collect();
        let expected = json!([
            {"Put": {"TableName": "t", "Item": {"id": {"S": "k"}, "a": {"N": "1"}},
                "ConditionExpression": "attribute_not_exists(#0)", "ExpressionAttributeNames": {"#0": "id"}}},
            {"Delete": {"TableName": "t", "Key": {"id": {"S": "d"}}}},
            {"ConditionCheck": {"TableName": "t", "Key": {"id": {"S": "c"}},
                "ConditionExpression": "attribute_exists(#0) OR attribute_not_exists(#0)",
                "ExpressionAttributeNames": {"#0": "id"}}},
        ]);
        assert_eq!(Value::from(parts), expected);
        let list = TransactItem::put("t", "k", &json!([1])).unwrap();
        assert!(part(&list, &tables).is_err());
    }
}
