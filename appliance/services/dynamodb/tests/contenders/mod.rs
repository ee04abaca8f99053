//! Clients that fight for few items, and what they saw of it, as events for the checker.
//! Invariant: every item holds the id of the write that made it, and the total that its chain of updates came to.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod changer;
pub mod stream;
mod transactions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::checker::{Event, Id, Key, Version, Write};
use crate::client::{Answer, Client};
use crate::reference::random::Random;

/// Items that all fight for.
pub const KEY_COUNT: usize = 8;
pub const TABLE: &str = "contended";

/// What all clients of a run share.
#[derive(Default)]
pub struct Record {
    clock: AtomicU64,
    ids: AtomicU64,
    pub events: Mutex<Vec<Event>>,
    /// The total that each version shows, to everybody.
    totals: Mutex<BTreeMap<(Key, Id), i64>>,
    pub counts: Mutex<BTreeMap<String, u64>>,
}

impl Record {
    /// A moment later than every one before.
    pub fn moment(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn new_id(&self) -> Id {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn count(&self, what: &str) {
        *self.counts.lock().expect("no panic").entry(what.to_owned()).or_default() += 1;
    }

    fn total(&self, key: Key, version: Version, total: i64) {
        if let Version::Is(id) = version {
            let known = *self.totals.lock().expect("no panic").entry((key, id)).or_insert(total);
            assert_eq!(known, total, "key {key}: version {id} shows two totals");
        }
    }
}

/// The request that makes the table.
pub fn creation() -> Json {
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    let element = |name: &str, role: &str| json!({"AttributeName": name, "KeyType": role});
    json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [attribute("pk", "S"), attribute("total", "N"), attribute("kind", "S")],
        "KeySchema": [element("pk", "HASH")],
        "GlobalSecondaryIndexes": [{
            "IndexName": "by-total",
            "KeySchema": [element("kind", "HASH"), element("total", "RANGE")],
            "Projection": {"ProjectionType": "ALL"},
        }],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    })
}

/// One client. It does one request at a time.
pub struct Contender<C> {
    client: C,
    number: usize,
    random: Random,
    record: Arc<Record>,
    /// The version of each key that it saw last, and its total.
    seen: Vec<(Version, i64)>,
}

/// A request that is under way.
struct Sent {
    name: String,
    begin: u64,
    answer: Answer,
    end: u64,
}

impl<C: Client> Contender<C> {
    pub fn new(client: C, number: usize, seed: u64, record: Arc<Record>) -> Contender<C> {
        let random = Random(seed.wrapping_add(number as u64 * 1_000_003));
        Contender { client, number, random, record, seen: vec![(Version::Absent, 0); KEY_COUNT] }
    }

    /// One random request.
    pub async fn step(&mut self) {
        let key = self.random.below(KEY_COUNT) as Key;
        match self.random.below(100) {
            0..=5 => self.put(key, false).await,
            6..=19 => self.put(key, true).await,
            20..=25 => self.add(key).await,
            26..=33 => self.delete(key).await,
            34..=45 => self.get(key).await,
            46..=49 => self.batch_get().await,
            50..=81 => self.transact_write().await,
            _ => self.transact_get().await,
        }
    }

    /// Reads every key once, alone: what is there at the end.
    pub async fn read_all(&mut self) {
        for key in 0..KEY_COUNT as Key {
            self.get(key).await;
        }
    }

    async fn send(&mut self, name: &str, operation: &str, request: &Json) -> Sent {
        let begin = self.record.moment();
        let answer = self.client.call(operation, request).await;
        let end = self.record.moment();
        let outcome = answer.error().unwrap_or("done");
        self.record.count(&format!("{name} {outcome}"));
        Sent { name: format!("{name}-by-{}", self.number), begin, answer, end }
    }

    fn event(&self, sent: &Sent, reads: Vec<(Key, Version)>, writes: Vec<Write>) {
        // An answer of 500 or more leaves open whether anything was done.
        let end = (sent.answer.status < 500).then_some(sent.end);
        let event = Event { name: sent.name.clone(), begin: sent.begin, end, reads, writes };
        self.record.events.lock().expect("no panic").push(event);
    }

    /// Notes what a reply shows of a key: its version.
    fn look(&mut self, key: Key, item: Option<&Json>) -> Version {
        let found = match item {
            None => (Version::Absent, 0),
            Some(item) => {
                let number = |name: &str| item[name]["N"].as_str().expect("a number").to_owned();
                let id = number("id").parse().expect("an id");
                (Version::Is(id), number("total").parse().expect("a total"))
            }
        };
        self.record.total(key, found.0, found.1);
        self.seen[key as usize] = found;
        found.0
    }

    fn item(&self, key: Key, id: Id, total: i64) -> Json {
        json!({
            "pk": {"S": format!("k{key}")},
            "id": {"N": id.to_string()},
            "total": {"N": total.to_string()},
            "kind": {"S": "x"},
        })
    }

    /// Adds "the version is still the one that I saw" to a request.
    fn expect(&self, request: &mut Json, key: Key) {
        match self.seen[key as usize].0 {
            Version::Absent => request["ConditionExpression"] = json!("attribute_not_exists(pk)"),
            Version::Is(id) => {
                request["ConditionExpression"] = json!("id = :seen");
                request["ExpressionAttributeValues"][":seen"] = json!({"N": id.to_string()});
            }
        }
        request["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
    }

    async fn put(&mut self, key: Key, is_conditional: bool) {
        let id = self.record.new_id();
        let total = self.random.below(100) as i64;
        let mut request =
            json!({"TableName": TABLE, "Item": self.item(key, id, total), "ReturnValues": "ALL_OLD"});
        if is_conditional {
            self.expect(&mut request, key);
        }
        let name = if is_conditional { "put-if-version" } else { "put" };
        let sent = self.send(name, "PutItem", &request).await;
        self.written(&sent, key, Version::Is(id), total);
    }

    /// Adds to the total whatever it is.
    async fn add(&mut self, key: Key) {
        let id = self.record.new_id();
        let by = self.random.below(9) as i64;
        let request = json!({
            "TableName": TABLE,
            "Key": {"pk": {"S": format!("k{key}")}},
            "UpdateExpression": "SET id = :id, kind = :kind ADD #t :by",
            "ExpressionAttributeNames": {"#t": "total"},
            "ExpressionAttributeValues": {
                ":id": {"N": id.to_string()}, ":by": {"N": by.to_string()}, ":kind": {"S": "x"},
            },
            "ReturnValues": "ALL_OLD",
        });
        let sent = self.send("add", "UpdateItem", &request).await;
        let old = sent.answer.body.get("Attributes").cloned();
        let before =
            old.map_or(0, |item| item["total"]["N"].as_str().expect("a number").parse().expect("a total"));
        self.written(&sent, key, Version::Is(id), before + by);
    }

    async fn delete(&mut self, key: Key) {
        let is_conditional = self.random.chance(50);
        let mut request =
            json!({"TableName": TABLE, "Key": {"pk": {"S": format!("k{key}")}}, "ReturnValues": "ALL_OLD"});
        if is_conditional {
            self.expect(&mut request, key);
        }
        let sent = self.send("delete", "DeleteItem", &request).await;
        self.written(&sent, key, Version::Absent, 0);
    }

    /// What a write of one item came to.
    fn written(&mut self, sent: &Sent, key: Key, version: Version, total: i64) {
        match (sent.answer.status, sent.answer.error()) {
            (200, _) => {
                let replaced = self.look(key, sent.answer.body.get("Attributes"));
                self.record.total(key, version, total);
                self.seen[key as usize] = (version, total);
                if version == Version::Absent && replaced == Version::Absent {
                    return self.event(sent, vec![(key, Version::Absent)], Vec::new());
                }
                self.event(sent, Vec::new(), vec![Write { key, version, replaced: Some(replaced) }]);
            }
            (_, Some("ConditionalCheckFailedException")) => {
                let found = self.look(key, sent.answer.body.get("Item"));
                self.event(sent, vec![(key, found)], Vec::new());
            }
            // Nothing was done: a transaction held the item, or the table was changed again and again.
            (_, Some("TransactionConflictException" | "ThrottlingException")) => {}
            (500.., _) => self.event(sent, Vec::new(), vec![Write { key, version, replaced: None }]),
            _ => panic!("{}: {:?}", sent.name, sent.answer),
        }
    }

    async fn get(&mut self, key: Key) {
        let is_consistent = self.random.chance(50);
        let request = json!({
            "TableName": TABLE, "Key": {"pk": {"S": format!("k{key}")}}, "ConsistentRead": is_consistent,
        });
        let sent = self.send("get", "GetItem", &request).await;
        assert_eq!(sent.answer.status, 200, "{:?}", sent.answer);
        let found = self.look(key, sent.answer.body.get("Item"));
        self.event(&sent, vec![(key, found)], Vec::new());
    }

    /// Not one moment: every item is an event of its own.
    async fn batch_get(&mut self) {
        let keys = self.some_keys();
        let listed: Vec<Json> = keys.iter().map(|key| json!({"pk": {"S": format!("k{key}")}})).collect();
        let request = json!({"RequestItems": {TABLE: {"Keys": listed}}});
        let sent = self.send("batch-get", "BatchGetItem", &request).await;
        assert_eq!(sent.answer.status, 200, "{:?}", sent.answer);
        let items = sent.answer.body["Responses"][TABLE].as_array().expect("items").clone();
        for key in keys {
            let item = items.iter().find(|item| item["pk"]["S"] == json!(format!("k{key}")));
            let found = self.look(key, item);
            self.event(&sent, vec![(key, found)], Vec::new());
        }
    }

    fn some_keys(&mut self) -> Vec<Key> {
        let count = 2 + self.random.below(3);
        let mut keys: Vec<Key> = Vec::new();
        while keys.len() < count {
            let key = self.random.below(KEY_COUNT) as Key;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}
