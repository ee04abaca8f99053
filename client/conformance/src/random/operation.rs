//! The operations of a sequence, and how a seed makes one.
//! Invariant: names come from small pools, so that operations meet; bodies carry the number of their operation, so that no two
//! are alike and a lost or repeated one is seen.

use cloudkit_core::api::Condition;
use cloudkit_testing::Chance;
use serde_json::{Value, json};

/// One operation. Numbers are places in the pools of names; of tables, the last is made and deleted by the sequence.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the method of its name, with its arguments")]
pub enum Operation {
    CreateBucket(usize),
    DeleteBucket { bucket: usize, emptied: bool },
    BucketExists(usize),
    PutObject { bucket: usize, key: usize, bytes: usize, metadata: bool },
    GetObject { bucket: usize, key: usize },
    GetRange { bucket: usize, key: usize, start: u64, end: u64 },
    GetIf { bucket: usize, key: usize, same: bool, current: bool },
    HeadObject { bucket: usize, key: usize },
    DeleteObject { bucket: usize, key: usize },
    DeleteObjects { bucket: usize, keys: Vec<usize> },
    CopyObject { from: (usize, usize), to: (usize, usize) },
    ObjectExists { bucket: usize, key: usize },
    ListObjects { bucket: usize, prefix: usize, delimiter: bool, max: u32 },
    PutIfAbsent { bucket: usize, key: usize },
    PutIfMatch { bucket: usize, key: usize, current: bool },
    SetTags { bucket: usize, key: usize, count: usize },
    GetTags { bucket: usize, key: usize },
    DeleteTags { bucket: usize, key: usize },
    CreateTable(usize),
    DeleteTable(usize),
    PutItem { table: usize, key: usize, item: Value },
    PutItemIf { table: usize, key: usize, item: Value, condition: Condition, return_old: bool },
    GetItem { table: usize, key: usize },
    GetPart { table: usize, key: usize, paths: Vec<String> },
    DeleteItem { table: usize, key: usize },
    DeleteItemIf { table: usize, key: usize, condition: Condition },
    ItemExists { table: usize, key: usize },
    UpdateItem { table: usize, key: usize, name: String, value: Value },
    QueryItems { table: usize, key: usize, filter: Option<Condition> },
    BatchGet { table: usize, keys: Vec<usize> },
    BatchWrite { table: usize, items: Vec<(usize, Value)> },
    Transact { parts: Vec<(usize, usize, Option<Value>, Option<Condition>)> },
    Increment { table: usize, key: usize, by: i64 },
    Scan { table: usize, filter: Option<Condition> },
    Send { queue: usize, attributes: bool, bytes: usize },
    SendBatch { queue: usize, count: usize },
    SendFifo { group: usize, again: bool },
    Receive(usize),
    DeleteMessages { queue: usize, count: usize },
    DeleteMessage { queue: usize, nth: usize },
    GiveBack { queue: usize, nth: usize },
    Depth(usize),
    Publish { topic: usize, kind: usize },
    PublishBatch { topic: usize, count: usize },
    Subscribe { topic: usize, queue: usize, filter: Option<usize> },
    Unsubscribe { topic: usize, queue: usize },
    ListSubscriptions(usize),
}

impl Operation {
    /// Its name, without arguments.
    pub fn name(&self) -> &'static str {
        // The first word of the debug form is the variant, which lives as long as the program only in a table.
        let shown = format!("{self:?}");
        let word = shown.split([' ', '(', '{']).next().unwrap_or("");
        NAMES.iter().find(|name| **name == word).copied().unwrap_or("Other")
    }

    /// Whether servers may show its effect later: what is sent, and what topics deliver.
    pub(super) fn may_come_late(&self) -> bool {
        matches!(self, Self::Receive(_) | Self::Depth(_))
    }
}

/// The sequence of a seed: so many random operations, then some that read back whatever there is.
pub fn operations(seed: u64, count: usize) -> Vec<Operation> {
    let mut chance = Chance::new(seed);
    let first = (0..BUCKETS).map(Operation::CreateBucket).chain((0..TABLES - 1).map(Operation::CreateTable));
    let mut all: Vec<Operation> = first.collect();
    for index in 0..count {
        all.push(match index % 4 {
            0 => storage(&mut chance),
            1 => table(&mut chance),
            2 => queue(&mut chance),
            _ if index % 8 == 3 => topic(&mut chance),
            _ => match chance.below(3) {
                0 => storage(&mut chance),
                1 => table(&mut chance),
                _ => queue(&mut chance),
            },
        });
    }
    for bucket in 0..BUCKETS {
        all.push(Operation::ListObjects { bucket, prefix: 0, delimiter: false, max: 1000 });
        for key in 0..KEYS.len() {
            all.push(Operation::GetObject { bucket, key });
            all.push(Operation::HeadObject { bucket, key });
        }
    }
    all.extend((0..TABLES).map(|table| Operation::Scan { table, filter: None }));
    all.extend((0..=QUEUES).map(Operation::Receive));
    all
}

fn storage(chance: &mut Chance) -> Operation {
    let bucket = chance.below(BUCKETS as u64) as usize;
    let mut key = || chance.below(KEYS.len() as u64) as usize;
    let (key, other) = (key(), key());
    let flag = chance.below(2) == 0;
    match chance.below(30) {
        0 => Operation::CreateBucket(bucket),
        // One bucket is emptied first, so that buckets go as well.
        1 => Operation::DeleteBucket { bucket, emptied: bucket == BUCKETS - 1 },
        2 => Operation::BucketExists(bucket),
        3..=8 => {
            let bytes = [0, 1, 100, 5_000, 70_000][chance.below(5) as usize];
            Operation::PutObject { bucket, key, bytes, metadata: flag }
        }
        9..=11 => Operation::GetObject { bucket, key },
        12 | 13 => Operation::GetRange { bucket, key, start: chance.below(120), end: chance.below(6_000) },
        14 => Operation::GetIf { bucket, key, same: flag, current: chance.below(2) == 0 },
        15 => Operation::HeadObject { bucket, key },
        16 | 17 => Operation::DeleteObject { bucket, key },
        18 => Operation::DeleteObjects { bucket, keys: (0..chance.below(5) as usize).collect() },
        19 | 20 => {
            let to = chance.below(BUCKETS as u64) as usize;
            Operation::CopyObject { from: (bucket, key), to: (to, other) }
        }
        21 => Operation::ObjectExists { bucket, key },
        22 | 23 => {
            let prefix = chance.below(PREFIXES.len() as u64) as usize;
            let max = [1, 3, 1000][chance.below(3) as usize];
            Operation::ListObjects { bucket, prefix, delimiter: flag, max }
        }
        24 => Operation::PutIfAbsent { bucket, key },
        25 | 26 => Operation::PutIfMatch { bucket, key, current: flag },
        27 => Operation::SetTags { bucket, key, count: chance.below(12) as usize },
        28 => Operation::GetTags { bucket, key },
        _ => Operation::DeleteTags { bucket, key },
    }
}

fn table(chance: &mut Chance) -> Operation {
    let table = chance.below(TABLES as u64) as usize;
    let key = chance.below(ITEM_KEYS.len() as u64) as usize;
    match chance.below(26) {
        0 => Operation::CreateTable(TABLES - 1),
        1 => Operation::DeleteTable(TABLES - 1),
        2..=4 => Operation::PutItem { table, key, item: item(chance) },
        5 => Operation::PutItem { table, key, item: item_with_key(chance, table, key) },
        6..=8 => Operation::PutItemIf {
            table,
            key,
            item: item(chance),
            condition: condition(chance, 2),
            return_old: chance.below(2) == 0,
        },
        9 | 10 => Operation::GetItem { table, key },
        11 => {
            let paths = ["n", "s", "m.k", "l[0]", "none"];
            let from = chance.below(3) as usize;
            Operation::GetPart {
                table,
                key,
                paths: paths[from..from + 3].iter().map(|p| (*p).into()).collect(),
            }
        }
        12 => Operation::DeleteItem { table, key },
        13 | 14 => Operation::DeleteItemIf { table, key, condition: condition(chance, 2) },
        15 => Operation::ItemExists { table, key },
        16 | 17 => {
            let name = ["n", "s", "x y", "id", "m.k"][chance.below(5) as usize].to_owned();
            Operation::UpdateItem { table, key, name, value: value(chance, 2) }
        }
        18 => Operation::QueryItems { table, key, filter: maybe(chance) },
        19 => {
            let keys = keys(chance, ITEM_KEYS.len());
            Operation::BatchGet { table, keys }
        }
        20 => {
            let items = keys(chance, 4).into_iter().map(|key| (key, item(chance))).collect();
            Operation::BatchWrite { table, items }
        }
        21 | 22 => {
            let mut part = |key: usize| {
                let item = (chance.below(3) > 0).then(|| item(chance));
                let condition = (chance.below(3) == 0).then(|| condition(chance, 1));
                (chance.below(TABLES as u64) as usize, key, item, condition)
            };
            Operation::Transact { parts: vec![part(key), part((key + 1) % 4), part(4)] }
        }
        23 => Operation::Increment { table, key, by: chance.below(2_000) as i64 - 1_000 },
        // Two of them leave the 64 bits.
        24 => Operation::Increment { table, key, by: i64::MAX },
        _ => Operation::Scan { table, filter: maybe(chance) },
    }
}

fn queue(chance: &mut Chance) -> Operation {
    let queue = chance.below(QUEUES as u64) as usize;
    let any = chance.below(QUEUES as u64 + 1) as usize;
    let nth = chance.below(7) as usize;
    match chance.below(16) {
        0 | 1 => Operation::Send { queue, attributes: chance.below(2) == 0, bytes: 10 },
        2 => {
            // Empty, and more than a message may have: both are refused.
            let bytes = [0, 1, 300_000, 1_048_577][chance.below(4) as usize];
            Operation::Send { queue, attributes: false, bytes }
        }
        3 => Operation::SendBatch { queue, count: 1 + chance.below(15) as usize },
        4..=6 => Operation::SendFifo { group: chance.below(3) as usize, again: chance.below(4) == 0 },
        7..=9 => Operation::Receive(any),
        10 => Operation::DeleteMessages { queue: any, count: 12 },
        11 | 12 => Operation::DeleteMessage { queue: any, nth },
        13 | 14 => Operation::GiveBack { queue: any, nth },
        _ => Operation::Depth(any),
    }
}

fn topic(chance: &mut Chance) -> Operation {
    let topic = chance.below(TOPICS as u64) as usize;
    let queue = chance.below(QUEUES as u64) as usize;
    match chance.below(12) {
        0..=5 => Operation::Publish { topic, kind: chance.below(4) as usize },
        6 => Operation::PublishBatch { topic, count: chance.below(13) as usize },
        7 | 8 => {
            let filter = (chance.below(2) == 0).then(|| chance.below(3) as usize);
            Operation::Subscribe { topic, queue, filter }
        }
        9 | 10 => Operation::Unsubscribe { topic, queue },
        _ => Operation::ListSubscriptions(topic),
    }
}

fn item(chance: &mut Chance) -> Value {
    match chance.below(40) {
        // What no table takes: no object, a number out of range, more than 400 KiB.
        0 => json!([1]),
        1 => json!({"n": 1e130}),
        2 => json!({"s": "x".repeat(410_000)}),
        3 => json!({}),
        _ => json!({
            "n": value(chance, 0), "s": text(chance), "m": {"k": value(chance, 1)}, "l": [value(chance, 1), text(chance)],
            "count": chance.below(10),
        }),
    }
}

/// An item that brings its key along, or another text in the key's place. The latter only in a table that stays: of one that
/// is gone a provider may know the key's name or not.
fn item_with_key(chance: &mut Chance, table: usize, key: usize) -> Value {
    let own = table == TABLES - 1 || chance.below(2) == 0;
    json!({"n": value(chance, 0), "id": if own { ITEM_KEYS[key] } else { "another" }})
}

/// Up to so many keys, some of them twice.
fn keys(chance: &mut Chance, count_max: usize) -> Vec<usize> {
    (0..1 + chance.below(count_max as u64)).map(|_| chance.below(ITEM_KEYS.len() as u64) as usize).collect()
}

/// A value; with a depth of 0, a number.
fn value(chance: &mut Chance, depth: u32) -> Value {
    let kind = if depth == 0 { chance.below(8) } else { chance.below(14) };
    match kind {
        0 => json!(u64::MAX),
        1 => json!(1e-7),
        2 => json!(-0.0),
        3 => json!(0.1 + 0.2),
        4 => json!(9_007_199_254_740_993_i64),
        5 => json!(i64::MIN),
        6 | 7 => json!(chance.below(10)),
        8 => json!(null),
        9 => json!(chance.below(2) == 0),
        10 | 11 => json!(text(chance)),
        12 => json!([value(chance, depth - 1), value(chance, depth - 1)]),
        _ => json!({"k": value(chance, depth - 1), "e": ""}),
    }
}

fn text(chance: &mut Chance) -> String {
    ["", "a", "ab", "b", "é", "🦀", "5", " "][chance.below(8) as usize].to_owned()
}

fn maybe(chance: &mut Chance) -> Option<Condition> {
    (chance.below(2) == 0).then(|| condition(chance, 2))
}

fn condition(chance: &mut Chance, depth: u32) -> Condition {
    let name = ["n", "s", "m.k", "l[0]", "l", "id", "none"][chance.below(7) as usize].to_owned();
    let mut any = |depth| value(chance, depth);
    let (one, two) = (any(0), any(1));
    match chance.below(if depth == 0 { 13 } else { 17 }) {
        0 => Condition::Exists(name),
        1 => Condition::NotExists(name),
        2 => Condition::Equals(name, two),
        3 => Condition::NotEquals(name, two),
        4 => Condition::LessThan(name, one),
        5 => Condition::LessThanOrEqual(name, one),
        6 => Condition::GreaterThan(name, one),
        // Sometimes of a type without an order, which is refused.
        7 => Condition::GreaterThanOrEqual(name, two),
        8 => Condition::In(name, vec![one, two]),
        9 => Condition::Between(name, one, json!(1_000)),
        10 => Condition::BeginsWith(name, text(chance)),
        11 | 12 => Condition::Contains(name, text(chance)),
        13 => Condition::Not(Box::new(condition(chance, depth - 1))),
        14 | 15 => Condition::And(vec![condition(chance, depth - 1), condition(chance, depth - 1)]),
        _ => Condition::Or(vec![condition(chance, depth - 1), condition(chance, depth - 1)]),
    }
}

pub(super) const BUCKETS: usize = 3;
pub(super) const TABLES: usize = 3;
/// Standard queues; the FIFO queue stands behind them.
pub(super) const QUEUES: usize = 2;
pub(super) const TOPICS: usize = 2;
pub(super) const KEYS: [&str; 9] = ["a", "a b", "a/b", "a//c", "%2F+", "..", "é?#&=", "z/日本", "🦀"];
pub(super) const PREFIXES: [&str; 5] = ["", "a", "a/", "%", "none"];
pub(super) const ITEM_KEYS: [&str; 6] = ["k", "a b", "é%/", "\u{1}", "#id", ":v"];
const NAMES: [&str; 47] = [
    "CreateBucket",
    "DeleteBucket",
    "BucketExists",
    "PutObject",
    "GetObject",
    "GetRange",
    "GetIf",
    "HeadObject",
    "DeleteObject",
    "DeleteObjects",
    "CopyObject",
    "ObjectExists",
    "ListObjects",
    "PutIfAbsent",
    "PutIfMatch",
    "SetTags",
    "GetTags",
    "DeleteTags",
    "CreateTable",
    "DeleteTable",
    "PutItem",
    "PutItemIf",
    "GetItem",
    "GetPart",
    "DeleteItem",
    "DeleteItemIf",
    "ItemExists",
    "UpdateItem",
    "QueryItems",
    "BatchGet",
    "BatchWrite",
    "Transact",
    "Increment",
    "Scan",
    "Send",
    "SendBatch",
    "SendFifo",
    "Receive",
    "DeleteMessages",
    "DeleteMessage",
    "GiveBack",
    "Depth",
    "Publish",
    "PublishBatch",
    "Subscribe",
    "Unsubscribe",
    "ListSubscriptions",
];
