//! Streams: what a reader is shown of the changes of a table, and where it stands afterwards.

mod driver;

use std::collections::BTreeMap;
use std::rc::Rc;

use driver::direct::{Random, act, item, n, put, s};
use driver::{OTHER, TempDir, World, with_world, with_world_at};
use dynamodb::engine::item_write::Action;
use serde_json::{Value as Json, json};
use store::Timestamp;

async fn make(world: &World, name: &str, view: &str) -> String {
    let request = json!({
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": view},
    });
    world.send("CreateTable", &request).await.ok();
    let table = world.send("DescribeTable", &json!({"TableName": name})).await.ok();
    table["Table"]["LatestStreamArn"].as_str().expect("an ARN").to_owned()
}

async fn shards(world: &World, arn: &str) -> Vec<Json> {
    let stream = world.send("DescribeStream", &json!({"StreamArn": arn})).await.ok();
    stream["StreamDescription"]["Shards"].as_array().expect("shards").clone()
}

async fn iterator(world: &World, arn: &str, shard: &Json, members: Json) -> String {
    let mut request = json!({"StreamArn": arn, "ShardId": shard["ShardId"]});
    for (name, value) in members.as_object().expect("an object") {
        request[name] = value.clone();
    }
    let answer = world.send("GetShardIterator", &request).await.ok();
    answer["ShardIterator"].as_str().expect("an iterator").to_owned()
}

/// Reads on until nothing more is there now. Gives the records, and where the reader stands if the stream goes on.
async fn drain(world: &World, mut iterator: String, limit: u64) -> (Vec<Json>, Option<String>) {
    let mut records = Vec::new();
    loop {
        let page = world.send("GetRecords", &json!({"ShardIterator": iterator, "Limit": limit})).await.ok();
        let found = page["Records"].as_array().expect("records").clone();
        assert!(found.len() as u64 <= limit);
        let is_empty = found.is_empty();
        records.extend(found);
        match page["NextShardIterator"].as_str() {
            None => return (records, None),
            Some(next) if is_empty => return (records, Some(next.to_owned())),
            Some(next) => next.clone_into(&mut iterator),
        }
    }
}

async fn everything(world: &World, arn: &str) -> Vec<Json> {
    let mut records = Vec::new();
    for shard in shards(world, arn).await {
        let start = iterator(world, arn, &shard, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
        records.extend(drain(world, start, 1_000).await.0);
    }
    records
}

#[test]
fn a_view_type_says_what_of_a_change_is_shown() {
    with_world("streams-views", |world| async move {
        let cases = [
            ("KEYS_ONLY", [false, false]),
            ("NEW_IMAGE", [true, false]),
            ("OLD_IMAGE", [false, true]),
            ("NEW_AND_OLD_IMAGES", [true, true]),
        ];
        for (view, [shows_new, shows_old]) in cases {
            let name = format!("view-{view}");
            let arn = make(&world, &name, view).await;
            let table = world.find(&name);
            let key = item(&[("pk", s("a"))]);
            world.put(&table, item(&[("pk", s("a")), ("v", n(1))])).await;
            world.put(&table, item(&[("pk", s("a")), ("v", n(22))])).await;
            // What changes nothing is no change.
            world.put(&table, item(&[("pk", s("a")), ("v", n(22))])).await;
            let gone = world.write(act(&table, &key, Action::Delete)).await;
            world.done(gone);
            let gone = world.write(act(&table, &key, Action::Delete)).await;
            world.done(gone);
            let records = everything(&world, &arn).await;
            let names: Vec<&str> =
                records.iter().map(|record| record["eventName"].as_str().expect("a name")).collect();
            assert_eq!(names, ["INSERT", "MODIFY", "REMOVE"]);
            let values = [(None, Some("1")), (Some("1"), Some("22")), (Some("22"), None)];
            for (record, (old, new)) in records.iter().zip(values) {
                let change = &record["dynamodb"];
                assert_eq!(change["Keys"], json!({"pk": {"S": "a"}}));
                let image = |value: &str| json!({"pk": {"S": "a"}, "v": {"N": value}});
                assert_eq!(change.get("NewImage").cloned(), new.filter(|_| shows_new).map(image));
                assert_eq!(change.get("OldImage").cloned(), old.filter(|_| shows_old).map(image));
                assert_eq!(change["StreamViewType"], view);
                assert!(
                    change["ApproximateCreationDateTime"]
                        .as_u64()
                        .is_some_and(|seconds| seconds > 1_600_000_000)
                );
                let image_bytes = 3 + 1 + 2;
                let images = u64::from(shows_new && new.is_some()) + u64::from(shows_old && old.is_some());
                assert_eq!(change["SizeBytes"], 3 + images * image_bytes);
                assert_eq!(
                    (
                        &record["eventVersion"],
                        &record["eventSource"],
                        &record["awsRegion"],
                        record.get("userIdentity")
                    ),
                    (&json!("1.1"), &json!("aws:dynamodb"), &json!("us-east-1"), None)
                );
            }
            let sequences: Vec<&str> = records
                .iter()
                .map(|record| record["dynamodb"]["SequenceNumber"].as_str().expect("digits"))
                .collect();
            assert!(
                sequences.is_sorted() && sequences.iter().all(|sequence| (21..=40).contains(&sequence.len()))
            );
        }
    });
}

/// Writes, deletes and transacts over forty keys.
async fn write_at_random(world: &World, seed: u64) {
    let mut random = Random(seed);
    let table = world.find("replayed");
    for _ in 0..150 {
        let name = |number: u64| format!("k{number}");
        let key = item(&[("pk", s(&name(random.below(40))))]);
        let value = n(random.below(1_000) as i64);
        match random.below(4) {
            0 => drop(world.write(act(&table, &key, Action::Delete)).await),
            1 => {
                // Both or neither, on whichever shards they are.
                let first = random.below(40);
                let other = (first + 1 + random.below(39)) % 40;
                let writes = [first, other]
                    .map(|number| put(&table, item(&[("pk", s(&name(number))), ("t", value.clone())])));
                drop(world.transact(writes.into(), None).await);
            }
            _ => {
                let new = item(&[("pk", s(&name(random.below(40)))), ("v", value)]);
                drop(world.write(put(&table, new)).await);
            }
        }
    }
}

#[test]
fn a_stream_that_is_replayed_gives_the_table() {
    let seed = driver::direct::printed_seed("a_stream_that_is_replayed_gives_the_table");
    let directory = TempDir::new("streams-replay");
    with_world_at(&directory.0, |world| async move {
        make(&world, "replayed", "NEW_AND_OLD_IMAGES").await;
        let world = Rc::new(world);
        let tasks: Vec<_> = (0..6)
            .map(|lane| {
                let world = Rc::clone(&world);
                ring::spawn(async move { write_at_random(&world, seed + lane).await })
            })
            .collect();
        // Reading goes on meanwhile, and shows what it shows once.
        let arn = world.send("DescribeTable", &json!({"TableName": "replayed"})).await.ok();
        let arn = arn["Table"]["LatestStreamArn"].as_str().expect("an ARN").to_owned();
        let mut seen: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        let mut standing = BTreeMap::new();
        for shard in shards(&world, &arn).await {
            let start = iterator(&world, &arn, &shard, json!({"ShardIteratorType": "LATEST"})).await;
            standing.insert(shard["ShardId"].to_string(), start);
        }
        for _ in 0..50 {
            for (shard, at) in &mut standing {
                let (records, next) = drain(&world, at.clone(), 7).await;
                seen.entry(shard.clone()).or_default().extend(records);
                *at = next.expect("the stream goes on");
            }
            ring::yield_now().await;
        }
        for task in tasks {
            task.await;
        }
        for (shard, at) in &mut standing {
            let (records, _) = drain(&world, at.clone(), 1_000).await;
            seen.entry(shard.clone()).or_default().extend(records);
        }
        for shard in shards(&world, &arn).await {
            let start = iterator(&world, &arn, &shard, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
            let all = sequences(&drain(&world, start, 100).await.0);
            let seen = sequences(&seen.remove(&shard["ShardId"].to_string()).unwrap_or_default());
            // The writers had begun before the reader.
            let missed: Vec<_> =
                all[all.len() - seen.len()..].iter().filter(|sequence| !seen.contains(sequence)).collect();
            assert!(
                seen.len() > 100 && all.ends_with(&seen),
                "{} of {}: missed {missed:?}",
                seen.len(),
                all.len()
            );
        }
        check_replay(&world, &arn).await;
    });
    with_world_at(&directory.0, |world| async move {
        let arn = world.send("ListStreams", &json!({"TableName": "replayed"})).await.ok();
        let arn = arn["Streams"][0]["StreamArn"].as_str().expect("an ARN").to_owned();
        check_replay(&world, &arn).await;
    });
}

fn sequences(records: &[Json]) -> Vec<String> {
    let of = |record: &Json| record["dynamodb"]["SequenceNumber"].as_str().expect("digits").to_owned();
    records.iter().map(of).collect()
}

/// Sees that the changes, one after the other, lead from nothing to the table as it is.
async fn check_replay(world: &World, arn: &str) {
    let mut items: BTreeMap<String, Json> = BTreeMap::new();
    let records = everything(world, arn).await;
    assert!(records.len() > 300);
    for record in records {
        let change = &record["dynamodb"];
        let key = change["Keys"].to_string();
        assert_eq!(items.remove(&key).as_ref(), change.get("OldImage"), "{record}");
        if let Some(new) = change.get("NewImage") {
            items.insert(key, new.clone());
        }
    }
    let stored: BTreeMap<String, Json> = world
        .audit_settled(&world.find("replayed"))
        .await
        .iter()
        .map(|item| {
            let shown = driver::direct::shown(item);
            (json!({"pk": shown["pk"]}).to_string(), shown)
        })
        .collect();
    assert_eq!(items, stored);
}

#[test]
fn readers_begin_at_the_front_at_a_record_behind_it_or_at_the_end() {
    with_world("streams-iterators", |world| async move {
        let arn = make(&world, "pointed", "NEW_IMAGE").await;
        let table = world.find("pointed");
        for number in 0..6 {
            world.put(&table, item(&[("pk", s("a")), ("v", n(number))])).await;
        }
        let all = everything(&world, &arn).await;
        let third = all[2]["dynamodb"]["SequenceNumber"].clone();
        let mut shard = Json::Null;
        for candidate in shards(&world, &arn).await {
            let start =
                iterator(&world, &arn, &candidate, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
            if !drain(&world, start, 1).await.0.is_empty() {
                assert_eq!(
                    candidate["SequenceNumberRange"]["StartingSequenceNumber"],
                    all[0]["dynamodb"]["SequenceNumber"]
                );
                assert_eq!(candidate["SequenceNumberRange"].get("EndingSequenceNumber"), None);
                shard = candidate;
            }
        }
        let from =
            async |members: Json| drain(&world, iterator(&world, &arn, &shard, members).await, 2).await.0;
        assert_eq!(from(json!({"ShardIteratorType": "TRIM_HORIZON"})).await, all);
        assert_eq!(
            from(json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": third})).await,
            all[2..]
        );
        assert_eq!(
            from(json!({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": third})).await,
            all[3..]
        );
        let end = iterator(&world, &arn, &shard, json!({"ShardIteratorType": "LATEST"})).await;
        assert_eq!(drain(&world, end.clone(), 10).await.0, Vec::<Json>::new());
        world.put(&table, item(&[("pk", s("a")), ("v", n(99))])).await;
        assert_eq!(drain(&world, end, 10).await.0[0]["dynamodb"]["NewImage"]["v"], json!({"N": "99"}));
        let refused = [
            json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER"}),
            json!({"ShardIteratorType": "LATEST", "SequenceNumber": third}),
            json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "a number of many letters"}),
            json!({"ShardIteratorType": "SOMEWHERE"}),
        ];
        for mut request in refused {
            (request["StreamArn"], request["ShardId"]) = (json!(arn), shard["ShardId"].clone());
            world.send("GetShardIterator", &request).await.expect_error("ValidationException");
        }
    });
}

#[test]
fn iterators_end_after_a_quarter_of_an_hour_and_records_after_a_day() {
    with_world("streams-time", |world| async move {
        let arn = make(&world, "timed", "KEYS_ONLY").await;
        let table = world.find("timed");
        world.put(&table, item(&[("pk", s("a"))])).await;
        let sequence = everything(&world, &arn).await[0]["dynamodb"]["SequenceNumber"].clone();
        let shard = shards(&world, &arn).await[0].clone();
        let start = Timestamp::from_system_clock();
        world.now.set(Some(start));
        let text = iterator(&world, &arn, &shard, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
        world.now.set(Some(start.plus_ms(15 * 60 * 1_000)));
        world.send("GetRecords", &json!({"ShardIterator": text})).await.ok();
        world.now.set(Some(start.plus_ms(15 * 60 * 1_000 + 1)));
        world
            .send("GetRecords", &json!({"ShardIterator": text}))
            .await
            .expect_error("ExpiredIteratorException");
        for bad in ["garbage", "", &text[1..]] {
            world
                .send("GetRecords", &json!({"ShardIterator": bad}))
                .await
                .expect_error("ValidationException");
        }
        // Another account's iterator is none.
        let theirs = world.send_as(OTHER, "GetRecords", &json!({"ShardIterator": text})).await;
        theirs.expect_error("ValidationException");
        world.now.set(Some(start.plus_ms(24 * 60 * 60 * 1_000)));
        assert_eq!(
            everything(&world, &arn).await,
            Vec::<Json>::new(),
            "nothing was trimmed yet, and nothing is shown"
        );
        let old = json!({
            "StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "SequenceNumber": sequence,
        });
        world.send("GetShardIterator", &old).await.expect_error("TrimmedDataAccessException");
    });
}

#[test]
fn a_change_that_nobody_asked_for_says_who_made_it() {
    with_world("streams-expiry", |world| async move {
        let arn = make(&world, "expiring", "OLD_IMAGE").await;
        let setting = json!({"Enabled": true, "AttributeName": "ttl"});
        let request = json!({"TableName": "expiring", "TimeToLiveSpecification": setting});
        world.send("UpdateTimeToLive", &request).await.ok();
        let table = world.find("expiring");
        let over = Timestamp::from_system_clock().0 / 1_000 - 10;
        world.put(&table, item(&[("pk", s("a")), ("ttl", n(over as i64))])).await;
        world.tick().await;
        let records = everything(&world, &arn).await;
        assert_eq!((records.len(), &records[1]["eventName"]), (2, &json!("REMOVE")));
        assert_eq!(records[0].get("userIdentity"), None);
        let service = json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"});
        assert_eq!(records[1]["userIdentity"], service);
        assert_eq!(records[1]["dynamodb"]["OldImage"]["ttl"], json!({"N": over.to_string()}));
    });
}

#[test]
fn a_stream_that_has_ended_is_read_to_its_end_and_found_for_a_day() {
    with_world("streams-ended", |world| async move {
        let arn = make(&world, "ended", "NEW_IMAGE").await;
        let table = world.find("ended");
        for number in 0..20 {
            world.put(&table, item(&[("pk", s(&format!("k{number}")))])).await;
        }
        let described = world.send("DescribeStream", &json!({"StreamArn": arn})).await.ok();
        let described = &described["StreamDescription"];
        assert_eq!(
            (&described["StreamStatus"], &described["TableName"]),
            (&json!("ENABLED"), &json!("ended"))
        );
        assert_eq!(described["KeySchema"], json!([{"AttributeName": "pk", "KeyType": "HASH"}]));
        assert_eq!(described["StreamViewType"], "NEW_IMAGE");
        let start = Timestamp::from_system_clock();
        world.send("DeleteTable", &json!({"TableName": "ended"})).await.ok();
        world.tick().await;
        let mut count = 0;
        for shard in shards(&world, &arn).await {
            assert!(shard["SequenceNumberRange"]["EndingSequenceNumber"].is_string());
            let at = iterator(&world, &arn, &shard, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
            let (records, next) = drain(&world, at, 3).await;
            assert_eq!(next, None, "the shard is at its end");
            count += records.len();
        }
        assert_eq!(count, 20);
        let listed = world.send("ListStreams", &json!({})).await.ok();
        assert_eq!(listed["Streams"][0]["StreamArn"], arn);
        world.now.set(Some(start.plus_ms(24 * 60 * 60 * 1_000 + 60_000)));
        assert_eq!(world.send("ListStreams", &json!({})).await.ok(), json!({"Streams": []}));
        let gone = world.send("DescribeStream", &json!({"StreamArn": arn})).await;
        let gone = gone.expect_error("ResourceNotFoundException");
        assert_eq!(gone.message(), format!("Requested resource not found: Stream: {arn} not found"));
    });
}

#[test]
fn streams_and_shards_are_listed_page_by_page() {
    with_world("streams-list", |world| async move {
        let mut arns = Vec::new();
        for name in ["aaa", "aaa.b", "bbb"] {
            arns.push(make(&world, name, "KEYS_ONLY").await);
        }
        let of = |list: &Json| -> Vec<String> {
            let streams = list["Streams"].as_array().expect("streams");
            streams.iter().map(|stream| stream["StreamArn"].as_str().expect("an ARN").to_owned()).collect()
        };
        assert_eq!(of(&world.send("ListStreams", &json!({})).await.ok()), arns);
        let mut found = Vec::new();
        let mut request = json!({"Limit": 1});
        loop {
            let page = world.send("ListStreams", &request).await.ok();
            found.extend(of(&page));
            match page.get("LastEvaluatedStreamArn") {
                Some(last) => request = json!({"Limit": 1, "ExclusiveStartStreamArn": last}),
                None => break,
            }
        }
        assert_eq!(found, arns);
        let one = world.send("ListStreams", &json!({"TableName": "aaa"})).await.ok();
        assert_eq!(of(&one), arns[..1]);
        assert_eq!(
            world.send("ListStreams", &json!({"TableName": "absent"})).await.ok(),
            json!({"Streams": []})
        );
        let page = world.send("DescribeStream", &json!({"StreamArn": arns[0], "Limit": 1})).await.ok();
        let first = &page["StreamDescription"];
        assert_eq!(first["Shards"].as_array().map(Vec::len), Some(1));
        assert_eq!(first["LastEvaluatedShardId"], first["Shards"][0]["ShardId"]);
        let rest = json!({"StreamArn": arns[0], "ExclusiveStartShardId": first["LastEvaluatedShardId"]});
        let rest = world.send("DescribeStream", &rest).await.ok();
        assert_eq!(rest["StreamDescription"]["Shards"].as_array().map(Vec::len), Some(1));
        assert_eq!(rest["StreamDescription"].get("LastEvaluatedShardId"), None);
        let children = json!({
            "StreamArn": arns[0],
            "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": first["Shards"][0]["ShardId"]},
        });
        let children = world.send("DescribeStream", &children).await.ok();
        assert_eq!(children["StreamDescription"]["Shards"], json!([]));
        for (arn, error) in [
            (
                "arn:aws:dynamodb:us-east-1:000000000000:table/aaa/stream/2020-01-01T00:00:00.000",
                "ResourceNotFoundException",
            ),
            ("arn:aws:dynamodb:us-east-1:000000000000:table/aaa/stream/then", "ValidationException"),
            (
                "arn:aws:dynamodb:us-east-1:111111111111:table/aaa/stream/2020-01-01T00:00:00.000",
                "AccessDeniedException",
            ),
        ] {
            world.send("DescribeStream", &json!({"StreamArn": arn})).await.expect_error(error);
        }
        for limit in [0, 101] {
            world.send("ListStreams", &json!({"Limit": limit})).await.expect_error("ValidationException");
        }
    });
}
