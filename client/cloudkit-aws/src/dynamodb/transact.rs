//! Transactions: all of it or nothing. The SDK gives each a token that stays the same over its attempts, so that it is carried
//! out once whatever gets lost.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem};
use cloudkit_core::api::{Condition, TransactItem};
use cloudkit_core::common::{CloudError, Failure};

use super::expression::{Holds, Places};
use super::items::{KEY_HINT, keyed};
use super::schema::KeyNames;
use super::{DynamoDbStore, object_of};
use crate::operation::Operation;

/// The key names of each table of a transaction.
type Tables<'a> = HashMap<&'a str, Arc<KeyNames>>;

/// Carries a transaction out.
pub(super) async fn run(db: &DynamoDbStore, items: &[TransactItem]) -> Result<(), Failure> {
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
            let (names, asked) = db.schemas.names(&db.caller, table).await?;
            is_fresh &= asked;
            tables.insert(table, names);
        }
        let refused = |(words, hint): Refused| {
            let mut failure = db.caller.invalid(&operation, words);
            failure.detail.hint = hint.map(String::from);
            failure
        };
        let parts = items.iter().map(|item| part(item, &tables)).collect::<Result<Vec<_>, _>>();
        let call = db.sdk().transact_write_items().set_transact_items(Some(parts.map_err(refused)?)).send();
        match db.caller.run(&operation, call).await {
            Ok(_) => return Ok(()),
            // Refused whole: perhaps because a table was made anew with another key.
            Err(failure) if matches!(failure.kind, CloudError::Validation(_)) && !is_fresh => is_stale = true,
            Err(failure) => {
                if failure.kind.is_not_found() {
                    texts.iter().for_each(|table| db.schemas.forget(table));
                }
                return Err(failure);
            }
        }
    }
}

/// Words for what is wrong, and what would help.
type Refused = (String, Option<&'static str>);

fn part(item: &TransactItem, tables: &Tables<'_>) -> Result<TransactWriteItem, Refused> {
    let plain = |words: String| (words, None);
    let names = tables.get(item.table()).ok_or_else(|| plain("a table that nobody asked about".into()))?;
    let mut places = Places::default();
    let (table, key) = (item.table(), AttributeValue::S(item.key().into()));
    let incomplete = |_| plain("a part has a table, a key and what is done".into());
    let part = TransactWriteItem::builder();
    Ok(match item {
        TransactItem::Put { key, item, condition, .. } => {
            let condition = conditional(condition.as_ref(), names, &mut places).map_err(plain)?;
            let object = object_of(item).map_err(plain)?;
            let put = Put::builder()
                .table_name(table)
                .set_item(Some(keyed(names, key, object).map_err(|words| (words, Some(KEY_HINT)))?))
                .set_condition_expression(condition)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values());
            part.put(put.build().map_err(incomplete)?)
        }
        TransactItem::Delete { condition, .. } => {
            let condition = conditional(condition.as_ref(), names, &mut places).map_err(plain)?;
            let delete = Delete::builder()
                .table_name(table)
                .key(&names.key, key)
                .set_condition_expression(condition)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values());
            part.delete(delete.build().map_err(incomplete)?)
        }
        TransactItem::Check { condition, .. } => {
            let condition = Holds::of(condition).map_err(plain)?.demanded(&mut places, &names.key);
            let check = ConditionCheck::builder()
                .table_name(table)
                .key(&names.key, key)
                .condition_expression(condition)
                .set_expression_attribute_names(places.names())
                .set_expression_attribute_values(places.values());
            part.condition_check(check.build().map_err(incomplete)?)
        }
        _ => return Err(plain("a part of a kind that this provider does not know".into())),
    }
    .build())
}

fn conditional<'a>(
    condition: Option<&'a Condition>,
    names: &'a KeyNames,
    places: &mut Places<'a>,
) -> Result<Option<String>, String> {
    let Some(condition) = condition else { return Ok(None) };
    Ok(Holds::of(condition)?.expression(places, &names.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_have_the_protocols_shape() {
        let tables = Tables::from([("t", Arc::new(KeyNames { key: "id".into(), sort: None }))]);
        let put =
            TransactItem::put("t", "k", &json!({"a": 1})).unwrap().when(Condition::NotExists("id".into()));
        let put = part(&put, &tables).unwrap().put.expect("it is a put");
        assert_eq!(put.item()["id"], AttributeValue::S("k".into()));
        assert_eq!(put.condition_expression(), Some("attribute_not_exists(#0)"));
        let delete = part(&TransactItem::delete("t", "d"), &tables).unwrap().delete.expect("it is one");
        assert_eq!((delete.key()["id"].as_s().unwrap().as_str(), delete.condition_expression()), ("d", None));
        let check = TransactItem::check("t", "c", Condition::And(Vec::new()));
        let check = part(&check, &tables).unwrap().condition_check.expect("it is a check");
        assert_eq!(check.condition_expression(), "attribute_exists(#0) OR attribute_not_exists(#0)");
        for wrong in [json!([1]), json!({"id": "x"})] {
            assert!(part(&TransactItem::put("t", "k", &wrong).unwrap(), &tables).is_err(), "{wrong}");
        }
    }
}
