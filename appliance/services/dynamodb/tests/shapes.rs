//! The operations on tables, tags and streams with members of every shape: each is answered, and none as a fault of ours.

mod driver;

use driver::with_world;
use serde_json::{Value as Json, json};

/// A document with every member that any of these operations knows.
fn every_member() -> Json {
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/shaped";
    let stream = format!("{arn}/stream/2026-11-21T15:45:30.123");
    let index = json!({
        "IndexName": "late", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]},
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        "WarmThroughput": {"ReadUnitsPerSecond": 1}, "OnDemandThroughput": {"MaxReadRequestUnits": 1},
    });
    json!({
        "TableName": "shaped", "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST",
        "LocalSecondaryIndexes": [index.clone()], "GlobalSecondaryIndexes": [index.clone()],
        "GlobalSecondaryIndexUpdates": [{"Create": index.clone()}, {"Update": index}, {"Delete": {"IndexName": "late"}}],
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        "WarmThroughput": {"ReadUnitsPerSecond": 1, "WriteUnitsPerSecond": 1},
        "OnDemandThroughput": {"MaxReadRequestUnits": 1, "MaxWriteRequestUnits": 1},
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
        "SSESpecification": {"Enabled": true, "SSEType": "KMS", "KMSMasterKeyId": "k"},
        "Tags": [{"Key": "a", "Value": "b"}], "TagKeys": ["a"], "TableClass": "STANDARD",
        "DeletionProtectionEnabled": true, "ResourceArn": arn, "NextToken": "YQ==", "Limit": 1,
        "ExclusiveStartTableName": "aaa", "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "t"},
        "StreamArn": stream, "ExclusiveStartStreamArn": stream, "ShardId": "shardId-00000001795275930123-00000000",
        "ExclusiveStartShardId": "shardId-00000001795275930123-00000000", "ShardIteratorType": "AT_SEQUENCE_NUMBER",
        "SequenceNumber": "000000000000001000000", "ShardIterator": "AAAA",
        "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": "shardId-00000001795275930123-00000000"},
    })
}

#[test]
fn no_shape_of_a_member_is_ever_our_fault() {
    with_world("tables-shapes", |world| async move {
        let table = json!({
            "TableName": "shaped",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        world.send("CreateTable", &table).await.ok();
        let whole = every_member();
        let mut shapes = vec![];
        replace_each(&whole, &mut Vec::new(), &mut shapes);
        assert!(shapes.len() > 500);
        let operations = [
            "CreateTable",
            "UpdateTable",
            "DescribeTable",
            "ListTables",
            "TagResource",
            "UntagResource",
            "ListTagsOfResource",
            "UpdateTimeToLive",
            "DescribeTimeToLive",
            "DescribeLimits",
            "DescribeEndpoints",
            "DescribeContinuousBackups",
            "ListStreams",
            "DescribeStream",
            "GetShardIterator",
            "GetRecords",
        ];
        for (number, shape) in shapes.iter().enumerate() {
            // Each shape to some of them; over all shapes each member of each gets each value.
            for operation in operations.iter().skip(number % 3).step_by(3) {
                let answer = world.send(operation, shape).await;
                assert!(answer.status == 200 || answer.status == 400, "{operation} {shape}: {answer:?}");
            }
        }
        for operation in operations {
            for body in ["", "{", "[]", "null", "{}", "{\"TableName\":\"shaped\"} x", "\u{feff}{}"] {
                let target = if operation.contains("Stream")
                    || operation.contains("Shard")
                    || operation == "GetRecords"
                {
                    "DynamoDBStreams_20120810"
                } else {
                    "DynamoDB_20120810"
                };
                let answer =
                    world.send_raw(driver::MAIN, &format!("{target}.{operation}"), body.into()).await;
                assert!(answer.status == 200 || answer.status == 400, "{operation} {body}: {answer:?}");
            }
        }
    });
}

/// Copies of a document in each of which one value, at any depth, is another.
fn replace_each(whole: &Json, path: &mut Vec<String>, out: &mut Vec<Json>) {
    let here = |path: &[String]| path.iter().map(|step| format!("/{step}")).collect::<String>();
    let steps: Vec<String> = match whole.pointer(&here(path)).expect("the path exists") {
        Json::Object(members) => members.keys().cloned().collect(),
        Json::Array(elements) => (0..elements.len()).map(|index| index.to_string()).collect(),
        _ => Vec::new(),
    };
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("\u{0}é"),
        json!([]),
        json!([[]]),
        json!([{}]),
        json!([1]),
        json!({}),
        json!({"a": {}}),
        json!("y".repeat(3_000)),
    ];
    for other in others {
        let mut changed = whole.clone();
        *changed.pointer_mut(&here(path)).expect("the path exists") = other;
        out.push(changed);
    }
    for step in steps {
        path.push(step);
        replace_each(whole, path, out);
        path.pop();
    }
}

#[test]
fn no_list_is_long_enough_to_keep_the_service_busy() {
    with_world("tables-long", |world| async move {
        let many = |element: Json| Json::from(vec![element; 5_000]);
        let pk = json!({"AttributeName": "pk", "KeyType": "HASH"});
        let index = json!({"IndexName": "iii", "KeySchema": [pk], "Projection": {"ProjectionType": "ALL"}});
        let wide = json!({"IndexName": "iii", "KeySchema": many(pk.clone()), "Projection": {"ProjectionType": "ALL"}});
        let included = json!({"IndexName": "iii", "KeySchema": [pk], "Projection": {"NonKeyAttributes": many(json!("a"))}});
        let lists = [
            ("AttributeDefinitions", many(json!({"AttributeName": "pk", "AttributeType": "S"}))),
            ("KeySchema", many(pk.clone())),
            ("GlobalSecondaryIndexes", many(index.clone())),
            ("LocalSecondaryIndexes", many(index)),
            ("GlobalSecondaryIndexes", json!([wide])),
            ("LocalSecondaryIndexes", json!([included])),
            ("GlobalSecondaryIndexUpdates", many(json!({"Delete": {"IndexName": "iii"}}))),
            ("Tags", many(json!({"Key": "k", "Value": "v"}))),
        ];
        for (member, list) in lists {
            for operation in ["CreateTable", "UpdateTable"] {
                let mut request = json!({
                    "TableName": "long", "AttributeDefinitions": [], "KeySchema": [pk], "BillingMode": "PAY_PER_REQUEST",
                });
                request[member] = list.clone();
                let answer = world.send(operation, &request).await.expect_error("ValidationException");
                assert!(answer.body.len() < 1_000, "{member} is not repeated");
            }
        }
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/long";
        let tags = json!({"ResourceArn": arn, "Tags": many(json!({"Key": "k", "Value": "v"}))});
        world.send("TagResource", &tags).await.expect_error("ValidationException");
    });
}
