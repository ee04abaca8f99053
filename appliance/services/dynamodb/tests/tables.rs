//! Tables: made, described, changed, tagged, listed and dropped, and in which words that is refused.

mod driver;

use driver::{OTHER, World, with_world};
use serde_json::{Value as Json, json};

fn plain(name: &str) -> Json {
    json!({
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    })
}

/// A document with some members set, or taken away where they are null.
fn with(mut document: Json, members: Json) -> Json {
    for (name, value) in members.as_object().expect("an object") {
        match value {
            Json::Null => drop(document.as_object_mut().expect("an object").remove(name)),
            value => document[name] = value.clone(),
        }
    }
    document
}

async fn described(world: &World, name: &str) -> Json {
    world.send("DescribeTable", &json!({"TableName": name})).await.ok()["Table"].clone()
}

#[test]
fn a_table_is_active_at_the_first_look_and_gone_at_the_first_look_after_it_was_dropped() {
    with_world("tables-life", |world| async move {
        let request = with(
            plain("orders"),
            json!({
                "AttributeDefinitions": [
                    {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"},
                    {"AttributeName": "at", "AttributeType": "S"}, {"AttributeName": "owner", "AttributeType": "B"},
                ],
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "LocalSecondaryIndexes": [{
                    "IndexName": "by-time",
                    "KeySchema": [
                        {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }],
                "GlobalSecondaryIndexes": [{
                    "IndexName": "by-owner",
                    "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x", "y"]},
                }],
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
                "Tags": [{"Key": "env", "Value": "test"}],
                "TableClass": "STANDARD",
            }),
        );
        let made = world.send("CreateTable", &request).await.ok()["TableDescription"].clone();
        assert_eq!(made["TableStatus"], "CREATING");
        assert_eq!(made["GlobalSecondaryIndexes"][0]["IndexStatus"], "CREATING");
        let table = described(&world, "orders").await;
        assert_eq!(table["TableStatus"], "ACTIVE");
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/orders";
        assert_eq!(table["TableArn"], arn);
        assert_eq!(table["KeySchema"], request["KeySchema"]);
        assert_eq!(table["AttributeDefinitions"], request["AttributeDefinitions"]);
        assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
        assert_eq!(table["ProvisionedThroughput"]["ReadCapacityUnits"], 0);
        assert_eq!((&table["ItemCount"], &table["TableSizeBytes"]), (&json!(0), &json!(0)));
        assert_eq!(table["DeletionProtectionEnabled"], false);
        let local = &table["LocalSecondaryIndexes"][0];
        assert_eq!(local["IndexArn"], format!("{arn}/index/by-time"));
        assert_eq!(local["KeySchema"], request["LocalSecondaryIndexes"][0]["KeySchema"]);
        let global = &table["GlobalSecondaryIndexes"][0];
        assert_eq!((&global["IndexStatus"], global.get("Backfilling")), (&json!("ACTIVE"), None));
        assert_eq!(global["Projection"], request["GlobalSecondaryIndexes"][0]["Projection"]);
        assert_eq!(table["StreamSpecification"], request["StreamSpecification"]);
        let label = table["LatestStreamLabel"].as_str().expect("a label");
        assert_eq!(table["LatestStreamArn"], format!("{arn}/stream/{label}"));
        assert!(table["CreationDateTime"].as_f64().is_some_and(|seconds| seconds > 1.6e9));
        assert_eq!(table["TableId"].as_str().map(str::len), Some(36));
        // By its ARN it is the same table.
        assert_eq!(described(&world, arn).await, table);
        let gone = world.send("DeleteTable", &json!({"TableName": "orders"})).await.ok();
        assert_eq!(gone["TableDescription"]["TableStatus"], "DELETING");
        let absent = world.send("DescribeTable", &json!({"TableName": "orders"})).await;
        let absent = absent.expect_error("ResourceNotFoundException");
        assert_eq!(absent.message(), "Requested resource not found: Table: orders not found");
        world
            .send("DeleteTable", &json!({"TableName": "orders"}))
            .await
            .expect_error("ResourceNotFoundException");
        // The name is free at once.
        world.send("CreateTable", &plain("orders")).await.ok();
    });
}

#[test]
fn of_racing_creators_one_makes_the_table() {
    with_world("tables-race", |world| async move {
        let world = std::rc::Rc::new(world);
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let world = std::rc::Rc::clone(&world);
                ring::spawn(async move { world.send("CreateTable", &plain("raced")).await })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            let answer = task.await;
            if answer.status == 200 {
                made += 1;
            } else {
                let answer = answer.expect_error("ResourceInUseException");
                assert_eq!(answer.message(), "Table already exists: raced");
            }
        }
        assert_eq!(made, 1);
        // Racing changes are all made, one after the other.
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let world = std::rc::Rc::clone(&world);
                let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/raced";
                let tags = json!({"ResourceArn": arn, "Tags": [{"Key": format!("k{number}"), "Value": "v"}]});
                ring::spawn(async move { world.send("TagResource", &tags).await.status })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, 200);
        }
        assert_eq!(world.find("raced").tags.len(), 16);
        assert_eq!(world.find("raced").epoch.0, 17);
    });
}

type Cases = Vec<(Json, String)>;

/// Members that cannot be, and what is said of each.
fn bad_members() -> Cases {
    let echo = "1 validation error detected: Value";
    let unmet = "failed to satisfy constraint: Member must";
    let pk = json!({"AttributeName": "pk", "KeyType": "HASH"});
    vec![
        (
            json!({"TableName": null}),
            "The parameter 'TableName' is required but was not present in the request".to_owned(),
        ),
        (
            json!({"TableName": "ab"}),
            format!("{echo} 'ab' at 'tableName' {unmet} have length greater than or equal to 3"),
        ),
        (
            json!({"TableName": "invalid;name"}),
            format!(
                "{echo} 'invalid;name' at 'tableName' {unmet} satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
            ),
        ),
        (
            json!({"KeySchema": [{"AttributeName": "pk", "KeyType": "INVALID"}]}),
            format!(
                "{echo} 'INVALID' at 'keySchema.1.member.keyType' {unmet} satisfy enum value set: [HASH, RANGE]"
            ),
        ),
        (
            json!({"AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "INVALID"}]}),
            format!(
                "{echo} 'INVALID' at 'attributeDefinitions.1.member.attributeType' {unmet} satisfy enum value set: [B, \
                     N, S]"
            ),
        ),
        (
            json!({"KeySchema": [pk, {"AttributeName": "s", "KeyType": "RANGE"}, {"AttributeName": "t", "KeyType": "RANGE"}]}),
            format!(
                "{echo} '[KeySchemaElement(attributeName=pk, keyType=HASH), KeySchemaElement(attributeName=s, \
                     keyType=RANGE), KeySchemaElement(attributeName=t, keyType=RANGE)]' at 'keySchema' {unmet} have length \
                     less than or equal to 2"
            ),
        ),
        (
            json!({"BillingMode": "PROVISIONED", "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 1}}),
            format!(
                "{echo} '0' at 'provisionedThroughput.readCapacityUnits' {unmet} have value greater than or equal to 1"
            ),
        ),
    ]
}

/// Members that cannot be together, and what is said of them.
fn bad_schemas() -> Cases {
    let p = "One or more parameter values were invalid:";
    let units = json!({"ReadCapacityUnits": 5, "WriteCapacityUnits": 5});
    let pk = json!({"AttributeName": "pk", "KeyType": "HASH"});
    let a = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let index = |name: &str| {
        json!({
            "IndexName": name, "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        })
    };
    vec![
        (
            json!({"KeySchema": [pk, {"AttributeName": "pk", "KeyType": "RANGE"}]}),
            "Invalid KeySchema: Some index key attribute have no definition".to_owned(),
        ),
        (
            json!({"BillingMode": null}),
            format!(
                "{p} ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
            ),
        ),
        (
            json!({"ProvisionedThroughput": units}),
            format!(
                "{p} Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is \
                     PAY_PER_REQUEST"
            ),
        ),
        (
            json!({"AttributeDefinitions": [a("pk"), a("extra")]}),
            format!(
                "{p} Number of attributes in KeySchema does not exactly match number of attributes defined in \
                     AttributeDefinitions"
            ),
        ),
        (json!({"GlobalSecondaryIndexes": []}), format!("{p} List of GlobalSecondaryIndexes is empty")),
        (
            json!({"AttributeDefinitions": [a("pk"), a("g")], "GlobalSecondaryIndexes": [index("twin"), index("twin")]}),
            format!("{p} Duplicate index name: twin"),
        ),
        (
            json!({"StreamSpecification": {"StreamEnabled": false, "StreamViewType": "KEYS_ONLY"}}),
            format!(
                "{p} Table is being created with a stream disabled, UpdateViewType should not be specified"
            ),
        ),
    ]
}

#[test]
fn what_cannot_be_a_table_is_refused_in_amazons_words() {
    with_world("tables-refused", |world| async move {
        for (members, message) in bad_members().into_iter().chain(bad_schemas()) {
            let answer = world.send("CreateTable", &with(plain("wanted"), members)).await;
            let answer = answer.expect_error("ValidationException");
            assert_eq!(answer.message(), message);
        }
        let answer = world.send("CreateTable", &with(plain("wanted"), json!({"ReplicaUpdates": []}))).await;
        answer.expect_error("ValidationException");
        assert_eq!(world.send("ListTables", &json!({})).await.ok(), json!({"TableNames": []}));
    });
}

#[test]
fn an_arn_gives_a_table_no_name_that_it_could_not_have_otherwise() {
    with_world("tables-arn", |world| async move {
        let arn = |name: &str| format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}");
        for name in ["", "ab", "a b c", "a\u{0}b", "näme", "a/b", "abc/index/i", &"n".repeat(256)] {
            let request = with(plain("wanted"), json!({"TableName": arn(name)}));
            world.send("CreateTable", &request).await.expect_error("ValidationException");
        }
        let strange = "arn:aws:dynamodb:us-east-1:111111111111:table/theirs";
        for operation in ["CreateTable", "DescribeTable", "DeleteTable"] {
            let request = with(plain("wanted"), json!({"TableName": strange}));
            world.send(operation, &request).await.expect_error("AccessDeniedException");
        }
        world.send("CreateTable", &with(plain("wanted"), json!({"TableName": arn("named")}))).await.ok();
        assert_eq!(world.send("ListTables", &json!({})).await.ok(), json!({"TableNames": ["named"]}));
    });
}

#[test]
fn tables_are_listed_in_order_page_by_page_and_only_the_callers_own() {
    with_world("tables-list", |world| async move {
        for name in ["b.table", "A-table", "c_table", "b.tablet"] {
            world.send("CreateTable", &plain(name)).await.ok();
        }
        world.send_as(OTHER, "CreateTable", &plain("theirs")).await.ok();
        let all = world.send("ListTables", &json!({})).await.ok();
        assert_eq!(all, json!({"TableNames": ["A-table", "b.table", "b.tablet", "c_table"]}));
        let mut found = Vec::new();
        let mut request = json!({"Limit": 1});
        loop {
            let page = world.send("ListTables", &request).await.ok();
            found.extend(page["TableNames"].as_array().expect("names").clone());
            match page.get("LastEvaluatedTableName") {
                Some(last) => request = json!({"Limit": 1, "ExclusiveStartTableName": last}),
                None => break,
            }
        }
        assert_eq!(Json::from(found), all["TableNames"]);
        let after = world.send("ListTables", &json!({"ExclusiveStartTableName": "b.tables"})).await.ok();
        assert_eq!(after, json!({"TableNames": ["b.tablet", "c_table"]}));
        world.send("ListTables", &json!({"Limit": 101})).await.expect_error("ValidationException");
        let theirs = world.send("DescribeTable", &json!({"TableName": "theirs"})).await;
        theirs.expect_error("ResourceNotFoundException");
    });
}

#[test]
fn tags_are_set_listed_by_ten_and_taken_away() {
    with_world("tables-tags", |world| async move {
        world.send("CreateTable", &plain("tagged")).await.ok();
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/tagged";
        let tags: Vec<Json> =
            (0..12).map(|number| json!({"Key": format!("k{number:02}"), "Value": "v"})).collect();
        let answer = world.send("TagResource", &json!({"ResourceArn": arn, "Tags": tags})).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let more = json!({"ResourceArn": arn, "Tags": [{"Key": "k00", "Value": "other"}]});
        world.send("TagResource", &more).await;
        let first = world.send("ListTagsOfResource", &json!({"ResourceArn": arn})).await.ok();
        assert_eq!(first["Tags"].as_array().map(Vec::len), Some(10));
        assert_eq!(first["Tags"][0], json!({"Key": "k00", "Value": "other"}));
        let rest = json!({"ResourceArn": arn, "NextToken": first["NextToken"]});
        let rest = world.send("ListTagsOfResource", &rest).await.ok();
        assert_eq!(rest, json!({"Tags": [{"Key": "k10", "Value": "v"}, {"Key": "k11", "Value": "v"}]}));
        let untag = json!({"ResourceArn": arn, "TagKeys": ["k00", "absent"]});
        assert_eq!(world.send("UntagResource", &untag).await.status, 200);
        assert_eq!(world.find("tagged").tags.len(), 11);
        let many: Vec<Json> =
            (0..51).map(|number| json!({"Key": format!("m{number}"), "Value": ""})).collect();
        for tags in [
            json!(many),
            json!([]),
            json!([{"Key": "aws:x", "Value": ""}]),
            json!([{"Key": "a!", "Value": ""}]),
        ] {
            let answer = world.send("TagResource", &json!({"ResourceArn": arn, "Tags": tags})).await;
            answer.expect_error("ValidationException");
        }
        for (arn, error) in [
            ("not-a-valid-arn", "ValidationException"),
            ("arn:aws:dynamodb:us-east-1:123456789012:table/tagged", "AccessDeniedException"),
            ("arn:aws:dynamodb:eu-west-1:000000000000:table/tagged", "AccessDeniedException"),
            ("arn:aws:dynamodb:us-east-1:000000000000:table/absent", "ResourceNotFoundException"),
        ] {
            for operation in ["ListTagsOfResource", "TagResource", "UntagResource"] {
                let request =
                    json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}], "TagKeys": ["a"]});
                let answer = world.send(operation, &request).await.expect_error(error);
                if error == "ResourceNotFoundException" {
                    let text = format!("Requested resource not found: ResourcArn: {arn} not found");
                    assert_eq!(answer.message(), text);
                }
            }
        }
    });
}

#[test]
fn throughput_and_settings_change_and_what_does_not_change_is_refused() {
    with_world("tables-update", |world| async move {
        let units = |count: u64| json!({"ReadCapacityUnits": count, "WriteCapacityUnits": count});
        let provisioned = json!({"BillingMode": "PROVISIONED", "ProvisionedThroughput": units(5)});
        world.send("CreateTable", &with(plain("changed"), provisioned.clone())).await.ok();
        assert_eq!(described(&world, "changed").await.get("BillingModeSummary"), None);
        let update = async |members: Json| {
            world.send("UpdateTable", &with(json!({"TableName": "changed"}), members)).await
        };
        let same = update(provisioned.clone()).await.expect_error("ValidationException");
        let text = "The provisioned throughput for the table will not change. The requested value equals the current value.";
        assert!(same.message().starts_with(text), "{}", same.message());
        let nothing = update(json!({})).await.expect_error("ValidationException");
        assert!(nothing.message().starts_with("At least one of ProvisionedThroughput, BillingMode"));
        update(json!({"ProvisionedThroughput": units(0)})).await.expect_error("ValidationException");
        let changed = update(json!({"ProvisionedThroughput": units(20)})).await.ok();
        assert_eq!(changed["TableDescription"]["TableStatus"], "UPDATING");
        let table = described(&world, "changed").await;
        assert_eq!(table["ProvisionedThroughput"]["WriteCapacityUnits"], 20);
        assert!(table["ProvisionedThroughput"]["LastIncreaseDateTime"].is_number());
        assert_eq!(table["TableStatus"], "ACTIVE");
        update(json!({"BillingMode": "PAY_PER_REQUEST", "ProvisionedThroughput": units(5)}))
            .await
            .expect_error("ValidationException");
        update(json!({"BillingMode": "PAY_PER_REQUEST"})).await.ok();
        update(json!({"BillingMode": "PAY_PER_REQUEST"})).await.ok();
        let table = described(&world, "changed").await;
        assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
        assert_eq!(table["ProvisionedThroughput"]["WriteCapacityUnits"], 0);
        update(json!({"ProvisionedThroughput": units(5)})).await.expect_error("ValidationException");
        update(provisioned).await.ok();
        assert_eq!(described(&world, "changed").await["ProvisionedThroughput"]["ReadCapacityUnits"], 5);
        update(json!({"DeletionProtectionEnabled": true})).await.ok();
        let kept = world.send("DeleteTable", &json!({"TableName": "changed"})).await;
        assert_eq!(
            kept.expect_error("ValidationException").message(),
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first."
        );
        update(json!({"DeletionProtectionEnabled": false})).await.ok();
        world.send("DeleteTable", &json!({"TableName": "changed"})).await.ok();
        let absent = json!({"TableName": "changed", "DeletionProtectionEnabled": true});
        world.send("UpdateTable", &absent).await.expect_error("ResourceNotFoundException");
    });
}

#[test]
fn capacity_is_lowered_so_often_today_and_readiness_is_what_was_asked_for() {
    with_world("tables-capacity", |world| async move {
        let units = |count: u64| json!({"ReadCapacityUnits": count, "WriteCapacityUnits": count});
        let request = json!({"BillingMode": null, "ProvisionedThroughput": units(50)});
        world.send("CreateTable", &with(plain("lowered"), request)).await.ok();
        let start = store::Timestamp(1_800_000_000_000);
        world.now.set(Some(start));
        assert_eq!(described(&world, "lowered").await.get("WarmThroughput"), None);
        for count in [40, 45, 30] {
            let request = json!({"TableName": "lowered", "ProvisionedThroughput": units(count)});
            world.send("UpdateTable", &request).await.ok();
        }
        let told = async || {
            described(&world, "lowered").await["ProvisionedThroughput"]["NumberOfDecreasesToday"].clone()
        };
        assert_eq!(told().await, 2);
        world.now.set(Some(start.plus_ms(24 * 60 * 60 * 1_000)));
        assert_eq!(told().await, 0);
        let request = json!({"TableName": "lowered", "ProvisionedThroughput": units(20)});
        world.send("UpdateTable", &request).await.ok();
        assert_eq!(told().await, 1);
        let ready = json!({"ReadUnitsPerSecond": 13_000, "WriteUnitsPerSecond": 5_000});
        world.send("UpdateTable", &json!({"TableName": "lowered", "WarmThroughput": ready})).await.ok();
        let told = described(&world, "lowered").await["WarmThroughput"].clone();
        assert_eq!(told, with(ready, json!({"Status": "ACTIVE"})));
        world.send("CreateTable", &plain("ready")).await.ok();
        assert_eq!(described(&world, "ready").await["WarmThroughput"]["ReadUnitsPerSecond"], 12_000);
        let maxima = json!({"MaxReadRequestUnits": 7, "MaxWriteRequestUnits": -1});
        world.send("UpdateTable", &json!({"TableName": "ready", "OnDemandThroughput": maxima})).await.ok();
        assert_eq!(described(&world, "ready").await["OnDemandThroughput"], maxima);
    });
}

#[test]
fn streams_are_enabled_once_and_stay_the_latest_when_they_are_disabled() {
    with_world("tables-stream", |world| async move {
        world.send("CreateTable", &plain("streamed")).await.ok();
        let update = async |enabled: bool, view: Option<&str>| {
            let stream = json!({"StreamEnabled": enabled, "StreamViewType": view});
            world.send("UpdateTable", &json!({"TableName": "streamed", "StreamSpecification": stream})).await
        };
        update(false, None).await.expect_error("ValidationException");
        update(true, None).await.expect_error("ValidationException");
        update(true, Some("OLD_IMAGE")).await.ok();
        let again = update(true, Some("KEYS_ONLY")).await.expect_error("ValidationException");
        assert!(again.message().contains("already has an enabled stream"), "{}", again.message());
        let first = described(&world, "streamed").await["LatestStreamArn"].clone();
        update(false, None).await.ok();
        let table = described(&world, "streamed").await;
        assert_eq!((table.get("StreamSpecification"), &table["LatestStreamArn"]), (None, &first));
        update(true, Some("KEYS_ONLY")).await.ok();
        assert_ne!(described(&world, "streamed").await["LatestStreamArn"], first);
    });
}

#[test]
fn an_attribute_says_when_items_expire_and_changes_once_an_hour() {
    with_world("tables-ttl", |world| async move {
        world.send("CreateTable", &plain("expiring")).await.ok();
        let describe = async || {
            let answer = world.send("DescribeTimeToLive", &json!({"TableName": "expiring"})).await;
            answer.ok()["TimeToLiveDescription"].clone()
        };
        assert_eq!(describe().await, json!({"TimeToLiveStatus": "DISABLED"}));
        let update = async |enabled: bool, attribute: &str| {
            let setting = json!({"Enabled": enabled, "AttributeName": attribute});
            let request = json!({"TableName": "expiring", "TimeToLiveSpecification": setting});
            world.send("UpdateTimeToLive", &request).await
        };
        let start = store::Timestamp::from_system_clock();
        world.now.set(Some(start));
        let off = update(false, "ttl").await.expect_error("ValidationException");
        assert_eq!(off.message(), "TimeToLive is already disabled");
        update(true, "").await.expect_error("ValidationException");
        let on = update(true, "ttl").await.ok();
        assert_eq!(on, json!({"TimeToLiveSpecification": {"Enabled": true, "AttributeName": "ttl"}}));
        assert_eq!(describe().await, json!({"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"}));
        let again = update(true, "ttl").await.expect_error("ValidationException");
        assert_eq!(again.message(), "TimeToLive is already enabled");
        update(false, "other").await.expect_error("ValidationException");
        let early = update(false, "ttl").await.expect_error("ValidationException");
        assert!(early.message().contains("multiple times within a fixed interval"));
        world.now.set(Some(start.plus_ms(60 * 60 * 1_000)));
        update(false, "ttl").await.ok();
        assert_eq!(describe().await, json!({"TimeToLiveStatus": "DISABLED"}));
        update(true, "other").await.expect_error("ValidationException");
        let absent = json!({"TableName": "absent", "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "a"}});
        let absent = world.send("UpdateTimeToLive", &absent).await.expect_error("ResourceNotFoundException");
        assert_eq!(absent.message(), "Requested resource not found: Table: absent not found");
    });
}

#[test]
fn what_the_service_is_like_is_answered_from_the_first_day() {
    with_world("tables-small", |world| async move {
        let limits = world.send("DescribeLimits", &json!({})).await.ok();
        assert_eq!(limits["TableMaxWriteCapacityUnits"], 40_000);
        let endpoints = world.send("DescribeEndpoints", &json!({})).await.ok();
        assert_eq!(endpoints, json!({"Endpoints": [{"Address": "127.0.0.1", "CachePeriodInMinutes": 1440}]}));
        let request = json!({"TableName": "backed"});
        world.send("DescribeContinuousBackups", &request).await.expect_error("TableNotFoundException");
        world.send("CreateTable", &plain("backed")).await.ok();
        let backups = world.send("DescribeContinuousBackups", &request).await.ok();
        let recovery = &backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
        assert_eq!(recovery["PointInTimeRecoveryStatus"], "DISABLED");
    });
}
