//! Any number of items at a time, in requests of the protocol's size.
//! Invariant: what the service leaves over is asked for again until nothing is left or the retry policy has had enough; a key
//! occurs once in what is asked for.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, PutRequest, WriteRequest};
use cloudkit_core::common::{CloudError, Failure};
use serde_json::Value;

use super::schema::KeyNames;
use super::value::Attributes;
use crate::caller::Caller;
use crate::operation::Operation;
use crate::rounds::Rounds;

/// The items of these keys that are there, in no order.
pub(super) async fn get(
    caller: &Caller,
    table: &str,
    names: &KeyNames,
    keys: &[&str],
) -> Result<Vec<Attributes>, Failure> {
    let operation = Operation::on("BatchGetItem", table);
    let mut seen = HashSet::new();
    let distinct: Vec<&str> = keys.iter().copied().filter(|key| seen.insert(*key)).collect();
    let mut items = Vec::with_capacity(distinct.len());
    for keys in distinct.chunks(GET_COUNT_MAX) {
        let key = |key: &&str| Attributes::from([(names.key.clone(), AttributeValue::S(key.to_string()))]);
        let keys = KeysAndAttributes::builder().set_keys(Some(keys.iter().map(key).collect())).build();
        let keys = keys.map_err(|_| caller.invalid(&operation, "the keys are missing"))?;
        let mut wanted = HashMap::from([(table.to_string(), keys)]);
        let mut rounds = Rounds::default();
        loop {
            let call = caller.shared.dynamodb.batch_get_item().set_request_items(Some(wanted)).send();
            let mut output = caller.run(&operation, call).await?;
            items.extend(output.responses.as_mut().and_then(|all| all.remove(table)).unwrap_or_default());
            wanted = output.unprocessed_keys.unwrap_or_default();
            if wanted.is_empty() {
                break;
            }
            let left = wanted.values().map(|keys| keys.keys().len()).sum();
            pause(caller, &operation, &mut rounds, left).await?;
        }
    }
    Ok(items)
}

/// Writes items that have their keys in them, each on its own; no key occurs twice.
pub(super) async fn write(caller: &Caller, table: &str, mut items: Vec<Attributes>) -> Result<(), Failure> {
    let operation = Operation::on("BatchWriteItem", table);
    while !items.is_empty() {
        let chunk = items.split_off(items.len().saturating_sub(WRITE_COUNT_MAX));
        let put = |item| {
            let put = PutRequest::builder().set_item(Some(item)).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        };
        let puts = chunk.into_iter().map(put).collect::<Result<Vec<_>, _>>();
        let puts = puts.map_err(|_| caller.invalid(&operation, "an item is missing"))?;
        let mut wanted = HashMap::from([(table.to_string(), puts)]);
        let mut rounds = Rounds::default();
        loop {
            let call = caller.shared.dynamodb.batch_write_item().set_request_items(Some(wanted)).send();
            wanted = caller.run(&operation, call).await?.unprocessed_items.unwrap_or_default();
            if wanted.is_empty() {
                break;
            }
            let left = wanted.values().map(Vec::len).sum();
            pause(caller, &operation, &mut rounds, left).await?;
        }
    }
    Ok(())
}

/// The last item of each place, which two keys name where the table has a second one. The others are not looked at.
pub(super) fn last_of_each<'a, 'k>(
    names: &KeyNames,
    items: &'a [(&'k str, Value)],
) -> Vec<&'a (&'k str, Value)> {
    let mut seen = HashSet::new();
    let sort = |item: &'a Value| names.sort.as_ref().and_then(|sort| item.get(sort)?.as_str());
    // The last one counts, so they are looked at from behind.
    let mut last: Vec<_> = items.iter().rev().filter(|(key, item)| seen.insert((*key, sort(item)))).collect();
    last.reverse();
    last
}

/// Waits before what was left is asked for again. Errors: RateLimited, when that was done often enough.
async fn pause(
    caller: &Caller,
    operation: &Operation<'_>,
    rounds: &mut Rounds,
    left: usize,
) -> Result<(), Failure> {
    if let Some(wait) = rounds.wait(caller, left) {
        tokio::time::sleep(wait).await;
        return Ok(());
    }
    let mut failure = caller.refusal(operation, CloudError::RateLimited { retry_after: None });
    failure.detail.message = format!("the service left {left} items over, again and again");
    failure.detail.attempts = rounds.attempts();
    Err(failure)
}

/// Keys of one BatchGetItem.
const GET_COUNT_MAX: usize = 100;
/// Items of one BatchWriteItem; as large as items may be, they fit into its 16 MiB.
const WRITE_COUNT_MAX: usize = 25;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_one_place_the_last_item_is_written() {
        let item = |key: &'static str, sort: &str, value: &str| (key, json!({ "at": sort, "v": value }));
        let items = [item("k", "1", "a"), item("k", "2", "b"), item("k", "1", "c"), item("l", "1", "d")];
        let values = |sort: Option<&str>| -> Vec<&str> {
            let names = KeyNames { key: "id".into(), sort: sort.map(Into::into), is_guess: false };
            last_of_each(&names, &items).into_iter().filter_map(|(_, item)| item["v"].as_str()).collect()
        };
        assert_eq!(values(None), ["c", "d"]);
        assert_eq!(values(Some("at")), ["b", "c", "d"]);
    }
}
