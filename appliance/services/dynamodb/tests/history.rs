//! Histories of clients that fight for eight items, over restarts, judged by the checker: they must be strictly
//! serializable, reads and transactional reads included, and so must what a global index and the stream tell of them be
//! what the items say.
//!
//! Replay a failure with `DYNAMODB_HISTORY_SEED=<seed> cargo test -p zerocloud-dynamodb --test history`, which brings back
//! the requests but not their timing; `DYNAMODB_HISTORY_OPERATIONS` sets the length of a run.

mod checker;
mod client;
mod contenders;
mod driver;
mod reference;

use std::rc::Rc;

use client::{Answer, Client};
use contenders::{Contender, KEY_COUNT, Record, TABLE};
use driver::{Stop, TempDir, World, with_world_until};
use reference::random::{Random, seed};
use serde_json::{Value as Json, json};
use store::Timestamp;

/// Requests of one run.
const OPERATION_COUNT: usize = 6_000;
const CLIENT_COUNT: usize = 9;
/// Opens of the store in a run.
const OPEN_COUNT: usize = 3;

/// The service in this process.
#[derive(Clone)]
struct InProcess(Rc<World>);

impl Client for InProcess {
    async fn call(&self, operation: &str, request: &Json) -> Answer {
        let answer = self.0.send(operation, request).await;
        Answer { status: answer.status, body: answer.json() }
    }

    async fn work(&self) {
        self.0.tick().await;
    }

    fn now(&self) -> i64 {
        i64::try_from(Timestamp::from_system_clock().0 / 1_000).expect("this side of year 292277026")
    }
}

/// Every client does its share, beside the others.
async fn fight(world: &Rc<World>, record: &Rc<Record>, seed: u64, steps: usize) {
    let tasks: Vec<_> = (0..CLIENT_COUNT)
        .map(|number| {
            let client = InProcess(Rc::clone(world));
            let mut contender = Contender::new(client, number, seed, Rc::clone(record));
            ring::spawn(async move {
                for _ in 0..steps {
                    contender.step().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

/// At rest, the index has the items, and the stream tells each key's versions in the order of their replacement.
async fn judge_followers(world: &Rc<World>, record: &Rc<Record>) {
    let items = world.send("Scan", &json!({"TableName": TABLE})).await.ok();
    let indexed = world.send("Scan", &json!({"TableName": TABLE, "IndexName": "by-total"})).await.ok();
    let sorted = |body: &Json| {
        let mut list = body["Items"].as_array().expect("items").clone();
        list.sort_by_key(Json::to_string);
        list
    };
    assert_eq!(sorted(&items), sorted(&indexed));
    let described = world.send("DescribeTable", &json!({"TableName": TABLE})).await.ok();
    let stream = &described["Table"]["LatestStreamArn"];
    let shards = world.send("DescribeStream", &json!({"StreamArn": stream})).await.ok();
    let mut last: Vec<Option<String>> = vec![None; KEY_COUNT];
    let mut record_count = 0;
    for shard in shards["StreamDescription"]["Shards"].as_array().expect("shards") {
        let request =
            json!({"StreamArn": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = world.send("GetShardIterator", &request).await.ok()["ShardIterator"].clone();
        loop {
            let body = world.send("GetRecords", &json!({"ShardIterator": iterator})).await.ok();
            let page = body["Records"].as_array().expect("records");
            if page.is_empty() {
                break;
            }
            for change in page {
                let inner = &change["dynamodb"];
                let key: usize =
                    inner["Keys"]["pk"]["S"].as_str().expect("a key")[1..].parse().expect("a number");
                let id = |image: &str| inner[image]["id"]["N"].as_str().map(str::to_owned);
                assert_eq!(id("OldImage"), last[key], "key {key}: the stream leaves out a version: {change}");
                last[key] = id("NewImage");
                record_count += 1;
            }
            iterator = body["NextShardIterator"].clone();
        }
    }
    for (key, version) in last.iter().enumerate() {
        let items = items["Items"].as_array().expect("items");
        let item = items.iter().find(|item| item["pk"]["S"] == json!(format!("k{key}")));
        let now = item.map(|item| item["id"]["N"].as_str().expect("an id").to_owned());
        assert_eq!(*version, now, "key {key}: the stream ends with another version than the table has");
    }
    let written: usize = record.events.borrow().iter().map(|event| event.writes.len()).sum();
    assert_eq!(record_count, written, "one stream record for each write");
}

/// The history so far.
fn judge(record: &Record) {
    match checker::check(&record.events.borrow()) {
        Ok(summary) => println!("{summary:?}"),
        Err(violation) => panic!("{}", violation.0),
    }
}

fn run(seed: u64, operation_count: usize) -> Rc<Record> {
    let directory = TempDir::new("history");
    let record = Rc::new(Record::default());
    let mut random = Random(seed);
    for open in 0..OPEN_COUNT {
        let stop = if random.chance(50) { Stop::Drained } else { Stop::AtOnce };
        let (record, seed) = (Rc::clone(&record), random.next());
        with_world_until(&directory.0, stop, |world| async move {
            let world = Rc::new(world);
            if open == 0 {
                world.send("CreateTable", &contenders::creation()).await.ok();
                // Another batch on every shard, so that even a view that is a little late knows the table.
                let mut other = contenders::creation();
                other["TableName"] = json!("other");
                world.send("CreateTable", &other).await.ok();
            }
            fight(&world, &record, seed, operation_count / CLIENT_COUNT / OPEN_COUNT).await;
            let client = InProcess(Rc::clone(&world));
            Contender::new(client, CLIENT_COUNT, seed, Rc::clone(&record)).read_all().await;
            judge(&record);
            judge_followers(&world, &record).await;
        });
    }
    record
}

const EXPECTED: &[&str] = &[
    "add done",
    "batch-get done",
    "delete ConditionalCheckFailedException",
    "delete done",
    "get done",
    "put done",
    "put-if-version ConditionalCheckFailedException",
    "put-if-version done",
    "transact-get done",
    "transact-write TransactionCanceledException",
    "transact-write done",
    "transact-write reason ConditionalCheckFailed",
    "transact-write reason None",
];

#[test]
fn what_concurrent_clients_see_is_strictly_serializable() {
    let seed = seed("DYNAMODB_HISTORY_SEED");
    println!(
        "seed {seed}; replay: DYNAMODB_HISTORY_SEED={seed} cargo test -p zerocloud-dynamodb --test history"
    );
    let given = std::env::var("DYNAMODB_HISTORY_OPERATIONS").ok().and_then(|text| text.parse().ok());
    let record = run(seed, given.unwrap_or(OPERATION_COUNT));
    let counts = record.counts.borrow();
    for (what, count) in counts.iter() {
        println!("{count:7} {what}");
    }
    let missing: Vec<&&str> = EXPECTED.iter().filter(|what| !counts.contains_key(**what)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
