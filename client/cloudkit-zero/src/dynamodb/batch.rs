//! Any number of items at a time, in requests of the protocol's size.
//! Invariant: what the service leaves over is asked for again until nothing is left or the retry policy has had enough; a key
//! occurs once in what is sent.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cloudkit_core::common::{CloudError, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema::KeyNames;
use super::value::{Item, TaggedKey, TaggedMap};
use super::wire::{ask, ask_bytes};
use crate::retry::Idempotency;
use crate::rounds::Rounds;
use crate::service::{Operation, ServiceClient};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetRequest<T> {
    request_items: T,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Keys<'a> {
    keys: Vec<TaggedKey<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct GetReply {
    responses: HashMap<String, Vec<Item>>,
    unprocessed_keys: Map<String, Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WriteReply {
    unprocessed_items: Map<String, Value>,
}

/// The items of these keys that are there, in no order.
pub(super) async fn get(
    client: &ServiceClient,
    table: &str,
    names: &KeyNames,
    keys: &[&str],
) -> Result<Vec<Item>, Failure> {
    let operation = Operation::on("BatchGetItem", table);
    let mut seen = HashSet::new();
    let distinct: Vec<&str> = keys.iter().copied().filter(|key| seen.insert(*key)).collect();
    let mut items = Vec::with_capacity(distinct.len());
    for keys in distinct.chunks(GET_COUNT_MAX) {
        let keys = keys.iter().map(|value| TaggedKey { name: &names.key, value }).collect();
        let first = GetRequest { request_items: HashMap::from([(table, Keys { keys })]) };
        let mut reply: GetReply = ask(client, &operation, &first, Idempotency::Always).await?;
        let mut rounds = Rounds::default();
        loop {
            items.extend(reply.responses.remove(table).unwrap_or_default());
            let left = reply.unprocessed_keys;
            if left.is_empty() {
                break;
            }
            let count = left.get(table).and_then(|keys| keys.get("Keys")).map_or(0, length);
            pause(client, &operation, &mut rounds, count).await?;
            reply = ask(client, &operation, &GetRequest { request_items: left }, Idempotency::Always).await?;
        }
    }
    Ok(items)
}

/// Writes items of different places, each on its own.
pub(super) async fn write(
    client: &ServiceClient,
    table: &str,
    names: &KeyNames,
    items: &[(&str, &Map<String, Value>)],
) -> Result<(), Failure> {
    let operation = Operation::on("BatchWriteItem", table);
    let refused = |error: serde_json::Error| client.refusal(&operation, error.into());
    let mut requests = Requests::new(serde_json::to_string(table).map_err(refused)?);
    let mut bodies = Vec::new();
    for (key, item) in items {
        let put = serde_json::to_vec(&TaggedMap { item, key: Some((&names.key, key)) }).map_err(refused)?;
        bodies.extend(requests.add(&put));
    }
    bodies.extend(requests.take());
    for body in bodies {
        let mut reply: WriteReply = ask_bytes(client, &operation, body, Idempotency::Always).await?;
        let mut rounds = Rounds::default();
        while !reply.unprocessed_items.is_empty() {
            let left = reply.unprocessed_items;
            pause(client, &operation, &mut rounds, left.get(table).map_or(0, length)).await?;
            reply = ask(client, &operation, &GetRequest { request_items: left }, Idempotency::Always).await?;
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

fn length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// Bodies of BatchWriteItem, as full as they may be.
struct Requests {
    /// The table's name in JSON.
    table: String,
    body: Vec<u8>,
    count: usize,
}

impl Requests {
    fn new(table: String) -> Requests {
        Requests { table, body: Vec::new(), count: 0 }
    }

    /// Adds an item in its tagged form. Gives the body before it, if there is no room for it there.
    fn add(&mut self, item: &[u8]) -> Option<Bytes> {
        let is_full = self.count == WRITE_COUNT_MAX
            || (self.count > 0 && self.body.len() + item.len() > WRITE_BYTES_MAX);
        let full = if is_full { self.take() } else { None };
        if self.count == 0 {
            self.body.extend_from_slice(b"{\"RequestItems\":{");
            self.body.extend_from_slice(self.table.as_bytes());
            self.body.extend_from_slice(b":[");
        } else {
            self.body.push(b',');
        }
        self.body.extend_from_slice(b"{\"PutRequest\":{\"Item\":");
        self.body.extend_from_slice(item);
        self.body.extend_from_slice(b"}}");
        self.count += 1;
        full
    }

    /// The body so far; None without any item.
    fn take(&mut self) -> Option<Bytes> {
        if self.count == 0 {
            return None;
        }
        self.count = 0;
        self.body.extend_from_slice(b"]}}");
        Some(std::mem::take(&mut self.body).into())
    }
}

/// Waits before what was left is asked for again. Errors: RateLimited, when that was done often enough.
async fn pause(
    client: &ServiceClient,
    operation: &Operation<'_>,
    rounds: &mut Rounds,
    left: usize,
) -> Result<(), Failure> {
    if let Some(wait) = rounds.wait(client, left) {
        tokio::time::sleep(wait).await;
        return Ok(());
    }
    let mut failure = client.refusal(operation, CloudError::RateLimited { retry_after: None });
    failure.detail.message = format!("the service left {left} items over, again and again");
    failure.detail.attempts = rounds.attempts();
    Err(failure)
}

/// Keys of one BatchGetItem.
const GET_COUNT_MAX: usize = 100;
/// Items of one BatchWriteItem.
const WRITE_COUNT_MAX: usize = 25;
/// Bytes of its body; the service takes four times as much.
const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_item_of_a_place_is_the_one_that_is_sent() {
        let item = |at: &str, v: u32| serde_json::json!({"at": at, "v": v});
        let items = [("p", item("1", 1)), ("p", item("2", 2)), ("q", item("1", 3)), ("p", item("1", 4))];
        let values = |sort: Option<&str>| -> Vec<u64> {
            let names = KeyNames { key: "id".into(), sort: sort.map(String::from), is_guess: false };
            last_of_each(&names, &items).iter().filter_map(|(_, item)| item["v"].as_u64()).collect()
        };
        assert_eq!(values(None), [3, 4]);
        assert_eq!(values(Some("at")), [2, 3, 4]);
    }

    #[test]
    fn bodies_are_full_and_whole() {
        let mut requests = Requests::new("\"t\"".into());
        let mut bodies = Vec::new();
        for index in 0..60 {
            bodies.extend(requests.add(format!("{{\"id\":{{\"S\":\"{index}\"}}}}").as_bytes()));
        }
        bodies.extend(requests.take());
        assert!(requests.take().is_none());
        let counts = bodies.iter().map(|body| {
            let body: Value = serde_json::from_slice(body).expect("it is JSON");
            length(&body["RequestItems"]["t"])
        });
        assert_eq!(counts.collect::<Vec<_>>(), [25, 25, 10]);
    }

    #[test]
    fn large_items_make_bodies_of_their_own() {
        let mut requests = Requests::new("\"t\"".into());
        let item = vec![b'1'; WRITE_BYTES_MAX / 2 + 1];
        assert!(requests.add(&item).is_none());
        assert!(requests.add(&item).is_some());
        assert!(requests.add(b"1").is_none());
        assert!(requests.take().is_some());
        let item = vec![b'1'; WRITE_BYTES_MAX * 2];
        assert!(requests.add(&item).is_none(), "one that is too large for everything goes alone");
    }
}
