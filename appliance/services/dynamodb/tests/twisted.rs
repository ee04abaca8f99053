//! Requests of the corpus, twisted at random and sent to a table that is there: whatever is asked is answered or refused as
//! the client's fault.
//!
//! Random; a failure prints its seed, and `DYNAMODB_TEST_SEED=<seed> cargo test -p zerocloud-dynamodb --test twisted` replays
//! it. `DYNAMODB_TEST_TWISTS` asks for more.

mod driver;

use std::path::PathBuf;

use driver::{MAIN, World, with_world};
use serde_json::{Value as Json, json};

const TWIST_COUNT: usize = 1_500;

/// What takes the place of texts: names, operators, numbers, expressions and nonsense.
const TEXTS: &[&str] = &[
    "",
    "tab",
    "idx",
    "local",
    "absent",
    "pk",
    "sk",
    "g",
    "a",
    "b",
    "0",
    "-1",
    "1e125",
    "1e-130",
    "9e999",
    "x",
    "AA==",
    "EQ",
    "IN",
    "BETWEEN",
    "NOT_NULL",
    "ADD",
    "DELETE",
    "ALL_OLD",
    "ALL_NEW",
    "UPDATED_NEW",
    "COUNT",
    "TOTAL",
    "INDEXES",
    "pk = :p",
    "pk = :p AND sk > :s",
    "pk = :p AND begins_with(sk, :s)",
    "g = :p",
    "a = :p OR NOT size(b) > :s",
    "SET a = :p REMOVE b",
    "SET a.b[3] = if_not_exists(a, :s) + :s",
    "ADD a :s DELETE b :p",
    "REMOVE l[0], l[5]",
    "#a",
    ":p",
    "attribute_exists(pk)",
    "((",
    "a.b.c[1]",
    "token",
    "SELECT * FROM tab",
    "SELECT * FROM tab WHERE pk = 'a'",
];

/// xorshift64*, which is random enough to twist requests with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

fn seed() -> u64 {
    match std::env::var("DYNAMODB_TEST_SEED") {
        Ok(text) => text.parse().expect("the seed is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64 | 1,
    }
}

fn corpus() -> Vec<(String, Json)> {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "corpus", "requests"].iter().collect();
    let files = std::fs::read_dir(&directory).expect("the corpus is there");
    let mut requests: Vec<(String, Json)> = files
        .map(|entry| std::fs::read_to_string(entry.expect("lists").path()).expect("text"))
        .filter_map(|text| {
            let (name, body) = text.split_once('\n')?;
            Some((name.to_owned(), serde_json::from_str(body).ok()?))
        })
        .collect();
    requests.sort_by_key(|(name, body)| format!("{name}{body}"));
    requests
}

/// Changes one place of a document: a text, a number, a member that goes or comes twice under another name.
fn twist(random: &mut Random, place: &mut Json, other: &Json) {
    let goes_on = random.below(4) > 0;
    match place {
        Json::Object(members) if !members.is_empty() => {
            let name = members.keys().nth(random.below(members.len())).expect("one of them").clone();
            if goes_on {
                return twist(random, members.get_mut(&name).expect("is there"), other);
            }
            match random.below(3) {
                0 => drop(members.remove(&name)),
                1 => {
                    drop(members.insert(TEXTS[random.below(TEXTS.len())].to_owned(), members[&name].clone()))
                }
                _ => drop(members.insert(name, piece(random, other))),
            }
        }
        Json::Array(elements) if !elements.is_empty() => {
            let number = random.below(elements.len());
            if goes_on {
                return twist(random, &mut elements[number], other);
            }
            match random.below(2) {
                0 => drop(elements.remove(number)),
                _ => elements.push(elements[number].clone()),
            }
        }
        Json::String(text) => TEXTS[random.below(TEXTS.len())].clone_into(text),
        Json::Number(_) => *place = json!(random.below(7)),
        Json::Bool(value) => *value = !*value,
        _ => *place = piece(random, other),
    }
}

/// Any part of another document.
fn piece(random: &mut Random, document: &Json) -> Json {
    let inner = match document {
        Json::Object(members) if !members.is_empty() => members.values().nth(random.below(members.len())),
        Json::Array(elements) if !elements.is_empty() => elements.get(random.below(elements.len())),
        _ => None,
    };
    match inner {
        Some(inner) if random.below(3) > 0 => piece(random, inner),
        _ => document.clone(),
    }
}

async fn prepare(world: &World) {
    let key = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    let all = json!({"ProjectionType": "ALL"});
    let table = json!({
        "TableName": "tab",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": key("pk", "sk"),
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "g", "AttributeType": "S"},
        ],
        "LocalSecondaryIndexes": [{"IndexName": "local", "KeySchema": key("pk", "g"), "Projection": all}],
        "GlobalSecondaryIndexes": [{"IndexName": "idx", "KeySchema": key("g", "sk"), "Projection": all}],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    });
    world.send("CreateTable", &table).await.ok();
    for sk in 0..10 {
        let item = json!({
            "pk": {"S": "a"}, "sk": {"N": sk.to_string()}, "g": {"S": "a"}, "l": {"L": [{"N": "1"}]},
            "a": {"M": {"b": {"S": "x"}}}, "s": {"NS": ["1", "2"]},
        });
        world.send("PutItem", &json!({"TableName": "tab", "Item": item})).await.ok();
    }
}

#[test]
fn a_twisted_request_is_answered_or_refused_and_never_our_fault() {
    let seed = seed();
    println!("DYNAMODB_TEST_SEED={seed}");
    let count =
        std::env::var("DYNAMODB_TEST_TWISTS").map_or(TWIST_COUNT, |text| text.parse().expect("a number"));
    with_world("twisted", move |world| async move {
        prepare(&world).await;
        let (requests, mut random) = (corpus(), Random(seed));
        let mut answered_count = 0;
        for _ in 0..count {
            let (name, mut body) = requests[random.below(requests.len())].clone();
            let other = &requests[random.below(requests.len())].1;
            if random.below(2) > 0 {
                body["TableName"] = json!("tab");
            }
            for _ in 0..=random.below(3) {
                twist(&mut random, &mut body, other);
            }
            let sent = body.to_string();
            let answer =
                world.send_raw(MAIN, &format!("DynamoDB_20120810.{name}"), sent.clone().into_bytes()).await;
            assert!(matches!(answer.status, 200 | 400), "seed {seed}: {name} {sent}: {answer:?}");
            let document = serde_json::from_slice::<Json>(&answer.body);
            assert!(document.is_ok_and(|document| document.is_object()), "seed {seed}: {name} {sent}");
            answered_count += usize::from(answer.status == 200);
        }
        println!("{answered_count} of {count} were answered");
        assert!(answered_count > 0, "seed {seed}: some of them are right");
        // What they did is whole.
        let scan = world.send("Scan", &json!({"TableName": "tab"})).await.ok();
        assert_eq!(scan["Count"], json!(scan["Items"].as_array().expect("items").len()));
    });
}
