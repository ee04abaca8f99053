//! DynamoDB: items of one size written under new or known keys, read by key, and queried a partition at a time.
//!
//! ```text
//! TABLE-SIZE         pk "NNNNNNNNNNNNNNNN"                 items by key; those of puts under new keys differ from run to run
//! TABLE-SIZE-pages   pk "NNNNNNNNNNNNNNNN", sk "NNNN"      partitions of PAGE_ITEMS items each
//! ```
//!
//! Redis keeps the value of item "NNNN" under "TABLE-SIZE/NNNN": the same value, without names.
//! Invariant: a good answer is a 200 that is no shorter than the items that it must hold; every item has the same size by
//! DynamoDB's own rule (names and values). Equal requests share one head and one body.

use std::collections::HashMap;

use crate::client::resp;
use crate::load::schedule::SplitMix;
use crate::prepare::keys::{Distribution, Keys};
use crate::prepare::sign::{ARENA_BYTES_MAX, Arena, Heads};
use crate::prepare::sign_json::{DYNAMODB, JsonSigner};
use crate::scenario::{Expect, Length, Plan, Prepared, Protocol, Scenario, Sizes, Target};
use crate::scenarios::s3::{now, timestamp};

mod fill;

/// Items of a partition that is queried.
pub const PAGE_ITEMS: usize = 100;
/// Items have this size at least: names, key and one character.
pub const ITEM_BYTES_MIN: usize = 32;
/// A page ends at 1 MB, and a query here is one page.
pub const QUERIED_ITEM_BYTES_MAX: usize = 8 << 10;
/// BatchWriteItem takes so many.
const BATCH_ITEMS: usize = 25;
/// Different values.
const VALUE_COUNT: usize = 4_096;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// PutItem.
    Put,
    /// GetItem, consistent.
    Get,
    /// Query of a whole partition, consistent.
    Query,
}

/// How large, how many, where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is asked.
    pub operation: Operation,
    /// How names of tables begin; they are made if they are not there.
    pub table: String,
    /// Of every item, by DynamoDB's rule.
    pub item_bytes: usize,
    /// Items that are there before the first request, unless all requests are puts under new keys.
    pub key_count: usize,
    /// Which of them is next; of queries, which partition. With `Unique`, puts go under new keys.
    pub distribution: Distribution,
    /// Of all that is drawn.
    pub seed: u64,
}

/// A load of DynamoDB requests.
pub struct Dynamodb {
    settings: Settings,
    values: Values,
}

impl Dynamodb {
    /// Makes the values.
    pub fn new(settings: Settings) -> Dynamodb {
        let values = Values::new(value_bytes(&settings), settings.seed);
        Dynamodb { settings, values }
    }

    fn writes_new_keys(&self) -> bool {
        self.settings.operation == Operation::Put && self.settings.distribution == Distribution::Unique
    }

    fn table(&self) -> String {
        let Settings { table, item_bytes, operation, .. } = &self.settings;
        let suffix = if *operation == Operation::Query { "-pages" } else { "" };
        format!("{table}-{item_bytes}{suffix}")
    }

    /// Partitions that are queried.
    fn page_count(&self) -> usize {
        self.settings.key_count.div_ceil(PAGE_ITEMS)
    }

    /// The attributes of filled item `key` as JSON, with value `value`.
    fn filled_item(&self, key: usize, value: usize) -> String {
        let value = self.values.get(value);
        match self.settings.operation {
            Operation::Put | Operation::Get => item(key as u64, value),
            Operation::Query => {
                let (page, sort) = (key / PAGE_ITEMS, key % PAGE_ITEMS);
                format!(r#"{{"pk":{{"S":"{page:016x}"}},"sk":{{"S":"{sort:04}"}},"v":{{"S":"{value}"}}}}"#)
            }
        }
    }

    fn body(&self, ask: Ask, run: u64) -> String {
        let table = self.table();
        match ask {
            Ask::Create { index } => put(&table, &item(new_key(run, index), self.values.get(index))),
            // Another value than the item was made with.
            Ask::Overwrite { key } => put(&table, &self.filled_item(key, key + 1)),
            Ask::Get { key } => {
                format!(
                    r#"{{"TableName":"{table}","Key":{{"pk":{{"S":"{key:016x}"}}}},"ConsistentRead":true}}"#
                )
            }
            Ask::Query { page } => format!(
                r#"{{"TableName":"{table}","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{{":p":{{"S":"{page:016x}"}}}},"ConsistentRead":true}}"#
            ),
        }
    }

    /// What a good answer holds at least.
    fn answer_bytes_min(&self, protocol: Protocol) -> usize {
        match self.settings.operation {
            Operation::Put if protocol == Protocol::Redis => 0,
            Operation::Put => "{}".len(),
            Operation::Get => self.settings.item_bytes,
            Operation::Query => self.settings.item_bytes * PAGE_ITEMS,
        }
    }
}

/// SplitMix permutes the 64-bit numbers: no key comes twice, and they are spread over the key space.
fn new_key(run: u64, index: usize) -> u64 {
    SplitMix(run.wrapping_add(index as u64)).next()
}

fn item(key: u64, value: &str) -> String {
    format!(r#"{{"pk":{{"S":"{key:016x}"}},"v":{{"S":"{value}"}}}}"#)
}

fn put(table: &str, item: &str) -> String {
    format!(r#"{{"TableName":"{table}","Item":{item}}}"#)
}

/// What is left of an item's size for the value: Amazon DynamoDB developer guide, "DynamoDB item sizes and formats".
fn value_bytes(settings: &Settings) -> usize {
    let others = match settings.operation {
        Operation::Put | Operation::Get => "pk".len() + 16 + "v".len(),
        Operation::Query => "pk".len() + 16 + "sk".len() + 4 + "v".len(),
    };
    settings.item_bytes - others
}

impl Scenario for Dynamodb {
    fn title(&self) -> String {
        let Settings { operation, item_bytes, key_count, distribution, .. } = &self.settings;
        let keys = match distribution {
            Distribution::Unique => format!("{key_count} keys in turn"),
            Distribution::Uniform => format!("{key_count} keys, uniform"),
            Distribution::Zipf { theta } => format!("{key_count} keys, Zipf {theta}"),
        };
        match operation {
            Operation::Put if self.writes_new_keys() => {
                format!("DynamoDB PutItem of {item_bytes} B under new keys")
            }
            Operation::Put => format!("DynamoDB PutItem of {item_bytes} B, {keys}"),
            Operation::Get => format!("DynamoDB GetItem of {item_bytes} B, {keys}"),
            Operation::Query => format!("DynamoDB Query of {PAGE_ITEMS} items of {item_bytes} B, {keys}"),
        }
    }

    fn sizes(&self) -> Sizes {
        let Settings { item_bytes, key_count, distribution, .. } = &self.settings;
        Sizes {
            value_bytes: Some(*item_bytes as u64),
            key_count: Some(*key_count as u64),
            part_count: None,
            distribution: Some(match distribution {
                Distribution::Unique => "unique".to_owned(),
                Distribution::Uniform => "uniform".to_owned(),
                Distribution::Zipf { theta } => format!("zipf {theta}"),
            }),
            read_percent: None,
        }
    }

    fn fill(&self, target: &Target) -> Result<(), String> {
        if target.protocol == Protocol::Redis {
            let refused = "over RESP 2 items are put under new keys only".to_owned();
            return if self.writes_new_keys() { Ok(()) } else { Err(refused) };
        }
        if self.make_table(target)? == fill::Made::Echo || self.writes_new_keys() {
            return Ok(());
        }
        self.make_items(target)
    }

    fn writes(&self) -> Option<Box<dyn Scenario>> {
        match self.settings.operation {
            Operation::Get | Operation::Query => None,
            Operation::Put => Some(Box::new(Dynamodb::new(Settings {
                distribution: Distribution::Unique,
                ..self.settings.clone()
            }))),
        }
    }

    fn plan(&self, target: &Target, worker: usize, count_max: usize) -> Result<Box<dyn Plan>, String> {
        let now = now();
        let mut asks = Asks::new(self, worker);
        // Not from the seed: a second run against the same server would write over the items of the first.
        let run = SplitMix(now.as_nanos() as u64 ^ ((worker as u64) << 48)).next();
        let mut maker = Maker::new(target, timestamp(now));
        let (mut heads, mut bodies) = (Arena::new(ARENA_BYTES_MAX), Arena::new(ARENA_BYTES_MAX));
        let mut made: HashMap<Ask, Request> = HashMap::new();
        let mut requests = Vec::with_capacity(count_max);
        for _ in 0..count_max {
            let ask = asks.next();
            if let Some(request) = made.get(&ask) {
                requests.push(*request);
                continue;
            }
            let (head, body) = maker.request(self, ask, run);
            let head = heads.add(|out| out.extend_from_slice(&head));
            let body = bodies.add(|out| out.extend_from_slice(body.as_bytes()));
            // What fits is made; then the requests come again.
            let (Some(head), Some(body)) = (head, body) else { break };
            let request = Request { head, body };
            if !matches!(ask, Ask::Create { .. }) {
                made.insert(ask, request);
            }
            requests.push(request);
        }
        if requests.is_empty() {
            return Err("no request was asked for".to_owned());
        }
        let length = Length::AtLeast(self.answer_bytes_min(target.protocol) as u64);
        Ok(Box::new(Requests {
            heads: heads.close(),
            bodies: bodies.close(),
            requests,
            expect: Expect { status: 200, length },
            next: 0,
            rounds: 0,
            creates: asks.created > 0,
        }))
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ask {
    /// A put under a key that was never there, number `index` of this plan.
    Create { index: usize },
    /// A put over an item that `fill` made.
    Overwrite { key: usize },
    /// A get of one.
    Get { key: usize },
    /// All items of a partition.
    Query { page: usize },
}

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Ask::Create { .. } | Ask::Overwrite { .. } => "PutItem",
            Ask::Get { .. } => "GetItem",
            Ask::Query { .. } => "Query",
        }
    }
}

/// Makes requests in the server's language.
enum Maker {
    Http(Box<JsonSigner>),
    Redis,
}

impl Maker {
    fn new(target: &Target, now: aws::Timestamp) -> Maker {
        match target.protocol {
            Protocol::Redis => Maker::Redis,
            _ => {
                let signer = JsonSigner::new(DYNAMODB, &target.host, target.credentials.as_ref(), now);
                Maker::Http(Box::new(signer))
            }
        }
    }

    /// Head and body of `ask`; of Redis it is asked for puts under new keys only.
    fn request(&mut self, scenario: &Dynamodb, ask: Ask, run: u64) -> (Vec<u8>, String) {
        let mut head = Vec::new();
        match (self, ask) {
            (Maker::Redis, Ask::Create { index }) => {
                let value = scenario.values.get(index).to_owned();
                let key = format!("{}/{:016x}", scenario.table(), new_key(run, index));
                resp::append_set(&mut head, &key, value.len());
                (head, value)
            }
            (Maker::Redis, _) => unreachable!("fill refuses what is no put under a new key"),
            (Maker::Http(signer), ask) => {
                let body = scenario.body(ask, run);
                signer.append(&mut head, ask.name(), body.as_bytes());
                (head, body)
            }
        }
    }
}

/// Draws what is asked.
struct Asks {
    operation: Operation,
    writes_new_keys: bool,
    keys: Keys,
    created: usize,
}

impl Asks {
    fn new(scenario: &Dynamodb, worker: usize) -> Asks {
        let Settings { operation, distribution, seed, key_count, .. } = scenario.settings;
        let mut random = SplitMix(seed ^ ((worker as u64) << 48));
        let count = match operation {
            Operation::Put | Operation::Get => key_count,
            Operation::Query => scenario.page_count(),
        };
        let keys = Keys::new(distribution, count, random.next());
        Asks { operation, writes_new_keys: scenario.writes_new_keys(), keys, created: 0 }
    }

    fn next(&mut self) -> Ask {
        match self.operation {
            Operation::Put if self.writes_new_keys => {
                let index = self.created;
                self.created += 1;
                Ask::Create { index }
            }
            Operation::Put => Ask::Overwrite { key: self.keys.next() },
            Operation::Get => Ask::Get { key: self.keys.next() },
            Operation::Query => Ask::Query { page: self.keys.next() },
        }
    }
}

#[derive(Clone, Copy)]
struct Request {
    head: u32,
    body: u32,
}

/// Requests in the order drawn, over and over.
struct Requests {
    heads: Heads,
    bodies: Heads,
    requests: Vec<Request>,
    expect: Expect,
    next: usize,
    /// How often all of them were sent.
    rounds: usize,
    /// Whether there are puts under new keys among them.
    creates: bool,
}

impl Plan for Requests {
    fn next(&mut self) -> Option<Prepared> {
        if self.next == self.requests.len() {
            self.next = 0;
            self.rounds += 1;
        }
        let Request { head, body } = self.requests[self.next];
        self.next += 1;
        let (head, body) = (self.heads.get(head), self.bodies.get(body));
        Some(Prepared { head, body, expect: self.expect.clone(), tag: None })
    }

    fn finish(&mut self) -> Result<Vec<String>, String> {
        if self.rounds == 0 || !self.creates {
            return Ok(Vec::new());
        }
        let count = self.requests.len();
        Ok(vec![format!(
            "The {count} requests made ahead for a worker came round: from then on puts wrote over keys of the same run."
        )])
    }
}

/// Values of one length: windows on one pool of letters, digits, - and _, each a character further than the one before.
struct Values {
    pool: String,
    value_bytes: usize,
}

impl Values {
    fn new(value_bytes: usize, seed: u64) -> Values {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut random = SplitMix(seed);
        let pool =
            (0..value_bytes + VALUE_COUNT).map(|_| char::from(LETTERS[(random.next() >> 58) as usize]));
        Values { pool: pool.collect(), value_bytes }
    }

    /// Value `index`, counted around.
    fn get(&self, index: usize) -> &str {
        let first = index % VALUE_COUNT;
        &self.pool[first..first + self.value_bytes]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn scenario(operation: Operation, distribution: Distribution) -> Dynamodb {
        Dynamodb::new(Settings {
            operation,
            table: "t".to_owned(),
            item_bytes: 100,
            key_count: 2_500,
            distribution,
            seed: 1,
        })
    }

    fn drawn(scenario: &Dynamodb, worker: usize, count: usize) -> Vec<(String, Value)> {
        let target = Target::at("127.0.0.1:1").expect("an address");
        let mut plan = scenario.plan(&target, worker, count).expect("a plan");
        let mut requests = Vec::new();
        for _ in 0..count {
            let Prepared { head, body, .. } = plan.next().expect("it comes again");
            let head = String::from_utf8(head.to_vec()).expect("ASCII");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
            let target = head.split("X-Amz-Target: DynamoDB_20120810.").nth(1).expect("a target");
            let name = target.lines().next().expect("a name").to_owned();
            requests.push((name, serde_json::from_slice(&body).expect("JSON")));
        }
        requests
    }

    /// Names and string values, as DynamoDB counts them.
    fn aws_bytes(item: &Value) -> usize {
        let attributes = item.as_object().expect("attributes");
        attributes.iter().map(|(name, value)| name.len() + value["S"].as_str().map_or(0, str::len)).sum()
    }

    #[test]
    fn redis_is_given_the_value_of_each_item_under_the_same_name() {
        let mut target = Target::at("127.0.0.1:1").expect("an address");
        target.protocol = Protocol::Redis;
        let puts = scenario(Operation::Put, Distribution::Unique);
        let mut plan = puts.plan(&target, 0, 2).expect("a plan");
        let Prepared { head, body, expect, .. } = plan.next().expect("a put");
        let head = String::from_utf8(head.to_vec()).expect("ASCII");
        let (begins, ends) = ("*3\r\n$3\r\nSET\r\n$22\r\nt-100/", "\r\n$81\r\n");
        assert!(head.starts_with(begins) && head.ends_with(ends), "{head}");
        assert_eq!((body.len(), expect.length), (81, Length::AtLeast(0)));
        let overwrites = scenario(Operation::Put, Distribution::Uniform).fill(&target);
        assert_eq!(overwrites, Err("over RESP 2 items are put under new keys only".to_owned()));
    }

    #[test]
    fn puts_have_the_size_and_keys_that_no_worker_and_no_run_has_twice() {
        let scenario = scenario(Operation::Put, Distribution::Unique);
        let mut keys = HashSet::new();
        for worker in [0, 1, 0] {
            for (name, body) in drawn(&scenario, worker, 1_000) {
                assert_eq!((name.as_str(), &body["TableName"]), ("PutItem", &Value::from("t-100")));
                assert_eq!(aws_bytes(&body["Item"]), 100);
                assert!(keys.insert(body["Item"]["pk"]["S"].clone()));
            }
        }
    }

    #[test]
    fn gets_and_queries_ask_for_what_was_filled() {
        let get = scenario(Operation::Get, Distribution::Zipf { theta: 0.99 });
        let filled: HashSet<Value> = (0..2_500)
            .map(|key| serde_json::from_str::<Value>(&get.filled_item(key, key)).expect("JSON")["pk"].clone())
            .collect();
        for (name, body) in drawn(&get, 0, 1_000) {
            assert!(name == "GetItem" && filled.contains(&body["Key"]["pk"]));
        }
        let query = scenario(Operation::Query, Distribution::Unique);
        let items: Vec<Value> =
            (0..2_500).map(|key| serde_json::from_str(&query.filled_item(key, key)).expect("JSON")).collect();
        assert!(items.iter().all(|item| aws_bytes(item) == 100));
        for (name, body) in drawn(&query, 0, 25) {
            let partition = &body["ExpressionAttributeValues"][":p"];
            assert_eq!((name.as_str(), &body["TableName"]), ("Query", &Value::from("t-100-pages")));
            assert_eq!(items.iter().filter(|item| item["pk"] == *partition).count(), PAGE_ITEMS);
        }
    }

    #[test]
    fn equal_requests_share_their_bytes_and_new_keys_that_come_round_are_told() {
        let target = Target::at("127.0.0.1:1").expect("an address");
        let get = scenario(Operation::Get, Distribution::Uniform);
        let mut plan = get.plan(&target, 0, 100_000).expect("a plan");
        let bodies: HashSet<*const u8> =
            (0..100_000).filter_map(|_| Some(plan.next()?.body.as_ptr())).collect();
        assert!(bodies.len() <= 2_500, "{}", bodies.len());
        for (operation, told_count) in [(Operation::Put, 1), (Operation::Query, 0)] {
            let mut plan = scenario(operation, Distribution::Unique).plan(&target, 0, 3).expect("a plan");
            (0..3).for_each(|_| drop(plan.next()));
            assert_eq!(plan.finish(), Ok(Vec::new()));
            plan.next();
            assert_eq!(plan.finish().map(|notes| notes.len()), Ok(told_count));
        }
    }
}
