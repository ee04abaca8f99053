//! The operations on items as clients see them: what is returned, what it costs, how it is refused once the table is known.

mod driver;

use driver::{World, with_world};
use serde_json::{Value as Json, json};

/// A table with a sort key, a local index and a global one that shows one attribute.
async fn create(world: &World) {
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    let key = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    let request = json!({
        "TableName": "tab",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": key("pk", "sk"),
        "AttributeDefinitions": [
            attribute("pk", "S"), attribute("sk", "N"), attribute("l", "S"), attribute("g", "S"),
        ],
        "LocalSecondaryIndexes": [
            {"IndexName": "local", "KeySchema": key("pk", "l"), "Projection": {"ProjectionType": "KEYS_ONLY"}},
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "global",
            "KeySchema": key("g", "sk"),
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
        }],
    });
    world.send("CreateTable", &request).await.ok();
}

/// The request with the table's name, and members of `more` beside those of `one`.
fn request(one: Json, more: Json) -> Json {
    let mut request = json!({"TableName": "tab"});
    for part in [one, more] {
        for (name, value) in part.as_object().expect("an object") {
            request[name] = value.clone();
        }
    }
    request
}

fn key(pk: &str, sk: u32) -> Json {
    json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}})
}

async fn put(world: &World, pk: &str, sk: u32, more: Json) {
    let mut item = key(pk, sk);
    for (name, value) in more.as_object().expect("an object") {
        item[name] = value.clone();
    }
    world.send("PutItem", &request(json!({ "Item": item }), json!({}))).await.ok();
}

#[test]
fn writes_return_what_was_asked_for() {
    with_world("items-returns", |world| async move {
        create(&world).await;
        put(&world, "a", 1, json!({"n": {"N": "1"}, "m": {"M": {"x": {"S": "1"}, "y": {"S": "2"}}}})).await;
        let update = |values: &str| {
            let expression = json!({
                "Key": key("a", 1),
                "UpdateExpression": "SET n = n + :one, m.x = :x REMOVE gone",
                "ExpressionAttributeValues": {":one": {"N": "1"}, ":x": {"S": "new"}},
                "ReturnValues": values,
            });
            request(expression, json!({}))
        };
        let old = world.send("UpdateItem", &update("UPDATED_OLD")).await.ok();
        assert_eq!(old, json!({"Attributes": {"n": {"N": "1"}, "m": {"M": {"x": {"S": "1"}}}}}));
        let new = world.send("UpdateItem", &update("UPDATED_NEW")).await.ok();
        assert_eq!(new, json!({"Attributes": {"n": {"N": "3"}, "m": {"M": {"x": {"S": "new"}}}}}));
        let all = world.send("UpdateItem", &update("ALL_OLD")).await.ok();
        assert_eq!(all["Attributes"]["n"], json!({"N": "3"}));
        let all = world.send("UpdateItem", &update("ALL_NEW")).await.ok();
        assert_eq!(
            (&all["Attributes"]["n"], &all["Attributes"]["pk"]),
            (&json!({"N": "5"}), &json!({"S": "a"}))
        );
        assert_eq!(world.send("UpdateItem", &update("NONE")).await.ok(), json!({}));
        let delete = request(json!({"Key": key("a", 1), "ReturnValues": "ALL_OLD"}), json!({}));
        assert_eq!(world.send("DeleteItem", &delete).await.ok()["Attributes"]["n"], json!({"N": "6"}));
        assert_eq!(world.send("DeleteItem", &delete).await.ok(), json!({}));

        let conditional = json!({
            "Item": key("b", 1),
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        });
        let conditional = request(conditional, json!({}));
        world.send("PutItem", &conditional).await.ok();
        let answer =
            world.send("PutItem", &conditional).await.expect_error("ConditionalCheckFailedException");
        assert_eq!(answer.message(), "The conditional request failed");
        assert_eq!(answer.json()["Item"], key("b", 1));
    });
}

#[test]
fn capacity_is_told_by_table_and_by_index() {
    with_world("items-capacity", |world| async move {
        create(&world).await;
        let cost = |answer: Json| answer["ConsumedCapacity"].clone();
        let item = json!({
            "pk": {"S": "a"}, "sk": {"N": "1"}, "l": {"S": "l"}, "g": {"S": "g"}, "x": {"S": "x".repeat(1_500)},
        });
        let indexes = json!({"ReturnConsumedCapacity": "INDEXES"});
        let write = request(json!({ "Item": item }), indexes.clone());
        let wanted = json!({
            "TableName": "tab", "CapacityUnits": 5.0, "Table": {"CapacityUnits": 2.0},
            "LocalSecondaryIndexes": {"local": {"CapacityUnits": 1.0}},
            "GlobalSecondaryIndexes": {"global": {"CapacityUnits": 2.0}},
        });
        assert_eq!(cost(world.send("PutItem", &write).await.ok()), wanted);
        // The same once more touches no index.
        let again = json!({"TableName": "tab", "CapacityUnits": 2.0, "Table": {"CapacityUnits": 2.0}});
        assert_eq!(cost(world.send("PutItem", &write).await.ok()), again);

        let total = json!({"ReturnConsumedCapacity": "TOTAL"});
        for (consistent, units) in [(false, 0.5), (true, 1.0)] {
            let read = json!({"Key": key("a", 1), "ConsistentRead": consistent});
            let told = cost(world.send("GetItem", &request(read, total.clone())).await.ok());
            assert_eq!(told, json!({"TableName": "tab", "CapacityUnits": units}));
        }
        let query = json!({
            "IndexName": "global",
            "KeyConditionExpression": "g = :g",
            "ExpressionAttributeValues": {":g": {"S": "g"}},
        });
        let told = cost(world.send("Query", &request(query, indexes.clone())).await.ok());
        let wanted = json!({
            "TableName": "tab", "CapacityUnits": 0.5, "Table": {"CapacityUnits": 0.0},
            "GlobalSecondaryIndexes": {"global": {"CapacityUnits": 0.5}},
        });
        assert_eq!(told, wanted);

        let action = json!({"Put": {"TableName": "tab", "Item": key("t", 1)}});
        let check = json!({"ConditionCheck": {
            "TableName": "tab", "Key": key("a", 1), "ConditionExpression": "attribute_exists(pk)",
        }});
        let transaction = json!({
            "TransactItems": [action, check], "ReturnConsumedCapacity": "TOTAL", "ClientRequestToken": "token",
        });
        let told = cost(world.send("TransactWriteItems", &transaction).await.ok());
        assert_eq!(told, json!([{"TableName": "tab", "CapacityUnits": 6.0, "WriteCapacityUnits": 6.0}]));
        // What was done before costs the reading of it.
        let told = cost(world.send("TransactWriteItems", &transaction).await.ok());
        assert_eq!(told, json!([{"TableName": "tab", "CapacityUnits": 4.0, "ReadCapacityUnits": 4.0}]));
    });
}

#[test]
fn item_collections_are_told_of_tables_with_a_local_index() {
    with_world("items-collections", |world| async move {
        create(&world).await;
        let size = json!({"ReturnItemCollectionMetrics": "SIZE"});
        let metrics = json!({"ItemCollectionKey": {"pk": {"S": "a"}}, "SizeEstimateRangeGB": [0.0, 1.0]});
        let answer = world.send("PutItem", &request(json!({"Item": key("a", 1)}), size.clone())).await.ok();
        assert_eq!(answer["ItemCollectionMetrics"], metrics);
        let batch = json!({
            "RequestItems": {"tab": [
                {"PutRequest": {"Item": key("a", 2)}}, {"DeleteRequest": {"Key": key("a", 1)}},
            ]},
            "ReturnItemCollectionMetrics": "SIZE",
        });
        let answer = world.send("BatchWriteItem", &batch).await.ok();
        assert_eq!(answer["ItemCollectionMetrics"], json!({"tab": [metrics]}));
        assert_eq!(answer["UnprocessedItems"], json!({}));
    });
}

#[test]
fn older_parameters_do_what_expressions_do() {
    with_world("items-legacy", |world| async move {
        create(&world).await;
        put(&world, "a", 1, json!({"n": {"N": "5"}, "s": {"SS": ["x", "y"]}, "a.b": {"S": "dot"}})).await;
        let updates = json!({"Key": key("a", 1), "AttributeUpdates": {
            "n": {"Action": "ADD", "Value": {"N": "2"}}, "s": {"Action": "DELETE", "Value": {"SS": ["x"]}},
        }});
        let expected = json!({"Expected": {
            "n": {"ComparisonOperator": "GT", "AttributeValueList": [{"N": "4"}]}, "none": {"Exists": false},
        }});
        world.send("UpdateItem", &request(updates, expected)).await.ok();
        let get = json!({"Key": key("a", 1), "AttributesToGet": ["n", "s", "a.b"]});
        let item = world.send("GetItem", &request(get, json!({}))).await.ok();
        assert_eq!(item["Item"], json!({"n": {"N": "7"}, "s": {"SS": ["y"]}, "a.b": {"S": "dot"}}));
        let conditions = json!({
            "KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}},
            "QueryFilter": {"n": {"ComparisonOperator": "LT", "AttributeValueList": [{"N": "7"}]}},
        });
        let page = world.send("Query", &request(conditions, json!({}))).await.ok();
        assert_eq!((&page["Count"], &page["ScannedCount"]), (&json!(0), &json!(1)));

        let value = json!({"Expected": {"n": {"Value": {"N": "x"}}}, "Item": key("a", 1)});
        let answer =
            world.send("PutItem", &request(value, json!({}))).await.expect_error("ValidationException");
        assert_eq!(answer.message(), "The parameter cannot be converted to a numeric value: x");
        let operator = json!({"Item": key("a", 1), "ConditionalOperator": "OR"});
        let answer =
            world.send("PutItem", &request(operator, json!({}))).await.expect_error("ValidationException");
        assert_eq!(answer.message(), "ConditionalOperator cannot be used without Filter or Expected");
    });
}

/// The text of the ValidationException that answers a request.
async fn refusal(world: &World, operation: &str, one: Json) -> String {
    world.send(operation, &request(one, json!({}))).await.expect_error("ValidationException").message()
}

#[test]
fn keys_and_indexes_are_checked_against_the_table() {
    with_world("items-keys", |world| async move {
        create(&world).await;
        let invalid = |text: &str| format!("One or more parameter values were invalid: {text}");
        let no_match = "The provided key element does not match the schema";
        for wrong in [json!({}), json!({"pk": {"S": "a"}}), json!({"pk": {"N": "1"}, "sk": {"N": "1"}})] {
            for operation in ["GetItem", "DeleteItem", "UpdateItem"] {
                assert_eq!(
                    refusal(&world, operation, json!({ "Key": wrong })).await,
                    no_match,
                    "{operation}"
                );
            }
        }
        let puts = [
            (json!({"pk": {"S": "a"}}), invalid("Missing the key sk in the item")),
            (
                json!({"pk": {"S": "a"}, "sk": {"S": "x"}}),
                invalid("Type mismatch for key sk expected: N actual: S"),
            ),
            (
                json!({"pk": {"S": ""}, "sk": {"N": "1"}}),
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
                 string value. Key: pk"
                    .to_owned(),
            ),
            (
                json!({"pk": {"S": "a".repeat(2_049)}, "sk": {"N": "1"}}),
                invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes"),
            ),
            (
                json!({"pk": {"S": "a"}, "sk": {"N": "1"}, "g": {"N": "1"}}),
                invalid("Type mismatch for Index Key g Expected: S Actual: N IndexName: global"),
            ),
        ];
        for (item, text) in puts {
            assert_eq!(refusal(&world, "PutItem", json!({ "Item": item })).await, text);
        }
        let update = json!({
            "Key": key("a", 1), "UpdateExpression": "SET sk = :v", "ExpressionAttributeValues": {":v": {"N": "2"}},
        });
        let text = invalid("Cannot update attribute sk. This attribute is part of the key");
        assert_eq!(refusal(&world, "UpdateItem", update).await, text);

        let values = json!({":p": {"S": "a"}});
        let query = |more: Json| {
            let base = json!({"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": values});
            let Json::Object(mut base) = base else { panic!("an object") };
            base.extend(more.as_object().expect("an object").clone());
            Json::Object(base)
        };
        let refusals = [
            (json!({"IndexName": "none"}), "The table does not have the specified index: none".to_owned()),
            (
                json!({"FilterExpression": "sk > :p"}),
                "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"
                    .to_owned(),
            ),
            (
                json!({"Select": "ALL_PROJECTED_ATTRIBUTES"}),
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".to_owned(),
            ),
            (
                json!({"Select": "COUNT", "ProjectionExpression": "a"}),
                "Cannot specify the ProjectionExpression when choosing to get only the Count".to_owned(),
            ),
            (
                json!({"ExclusiveStartKey": key("b", 1)}),
                "The provided starting key is outside query boundaries based on provided conditions"
                    .to_owned(),
            ),
            (
                json!({"ExclusiveStartKey": {"pk": {"S": "a"}}}),
                "Exclusive Start Key must have same size as table's key schema".to_owned(),
            ),
        ];
        for (more, text) in refusals {
            assert_eq!(refusal(&world, "Query", query(more)).await, text);
        }
        let global = |more: Json| {
            let mut request = json!({
                "IndexName": "global", "KeyConditionExpression": "g = :g",
                "ExpressionAttributeValues": {":g": {"S": "g"}},
            });
            for (name, value) in more.as_object().expect("an object") {
                request[name] = value.clone();
            }
            request
        };
        let text = refusal(&world, "Query", global(json!({"ConsistentRead": true}))).await;
        assert_eq!(text, "Consistent reads are not supported on global secondary indexes");
        let text = refusal(&world, "Query", global(json!({"ProjectionExpression": "x, y"}))).await;
        assert_eq!(text, invalid("Global secondary index global does not project [y]"));
        let text = refusal(&world, "Query", global(json!({"Select": "ALL_ATTRIBUTES"}))).await;
        assert!(text.ends_with("because its projection type is not ALL"), "{text}");
    });
}

#[test]
fn transactions_tell_a_reason_for_each_action() {
    with_world("items-transactions", |world| async move {
        create(&world).await;
        put(&world, "a", 1, json!({})).await;
        let put_of = |item: Json| json!({"Put": {"TableName": "tab", "Item": item}});
        let fails = json!({"Put": {
            "TableName": "tab", "Item": key("a", 1), "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }});
        let send = |actions: Json| {
            let world = &world;
            async move { world.send("TransactWriteItems", &json!({ "TransactItems": actions })).await }
        };
        let answer =
            send(json!([put_of(key("b", 1)), fails])).await.expect_error("TransactionCanceledException");
        assert_eq!(
            answer.message(),
            "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]"
        );
        let wanted = json!([
            {"Code": "None"},
            {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": key("a", 1)},
        ]);
        assert_eq!(answer.json()["CancellationReasons"], wanted);

        let mistyped = put_of(json!({"pk": {"N": "1"}, "sk": {"N": "1"}}));
        let answer =
            send(json!([put_of(key("b", 1)), mistyped])).await.expect_error("TransactionCanceledException");
        let reason = &answer.json()["CancellationReasons"][1];
        assert_eq!(reason["Code"], json!("ValidationError"));
        let text =
            "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N";
        assert_eq!(reason["Message"], json!(text));
        let empty = put_of(json!({"pk": {"S": ""}, "sk": {"N": "1"}}));
        send(json!([empty])).await.expect_error("ValidationException");
        let twice =
            send(json!([put_of(key("b", 1)), put_of(key("b", 1))])).await.expect_error("ValidationException");
        assert_eq!(twice.message(), "Transaction request cannot include multiple operations on one item");
        let get = json!({"TransactItems": [{"Get": {"TableName": "tab", "Key": {}}}]});
        let answer = world.send("TransactGetItems", &get).await.expect_error("TransactionCanceledException");
        let wanted = json!([
            {"Code": "ValidationError", "Message": "The provided key element does not match the schema"},
        ]);
        assert_eq!(answer.json()["CancellationReasons"], wanted);

        // Nothing of the transactions that were given up is there.
        let gets = json!({"TransactItems": [
            {"Get": {"TableName": "tab", "Key": key("b", 1)}},
            {"Get": {"TableName": "tab", "Key": key("a", 1), "ProjectionExpression": "nowhere"}},
        ]});
        let answer = world.send("TransactGetItems", &gets).await.ok();
        assert_eq!(answer["Responses"], json!([{}, {"Item": {}}]));

        let once = |token: &str, sk: u32| json!({"TransactItems": [put_of(key("c", sk))], "ClientRequestToken": token});
        world.send("TransactWriteItems", &once("one", 1)).await.ok();
        world.send("TransactWriteItems", &once("one", 1)).await.ok();
        let answer = world.send("TransactWriteItems", &once("one", 2)).await;
        answer.expect_error("IdempotentParameterMismatchException");
    });
}

#[test]
fn a_batch_reads_what_is_there_and_tells_of_every_table() {
    with_world("items-batch", |world| async move {
        create(&world).await;
        put(&world, "a", 1, json!({"x": {"S": "1"}})).await;
        let batch = json!({"RequestItems": {"tab": {
            "Keys": [key("a", 1), key("a", 2)], "ProjectionExpression": "x", "ConsistentRead": true,
        }}, "ReturnConsumedCapacity": "TOTAL"});
        let answer = world.send("BatchGetItem", &batch).await.ok();
        assert_eq!(answer["Responses"], json!({"tab": [{"x": {"S": "1"}}]}));
        assert_eq!(answer["UnprocessedKeys"], json!({}));
        assert_eq!(answer["ConsumedCapacity"], json!([{"TableName": "tab", "CapacityUnits": 2.0}]));
        let duplicates = "Provided list of item keys contains duplicates";
        let same = json!({"pk": {"S": "a"}, "sk": {"N": "1.0"}});
        let batch = json!({"RequestItems": {"tab": {"Keys": [key("a", 1), same]}}});
        assert_eq!(world.send("BatchGetItem", &batch).await.message(), duplicates);
        let batch = json!({"RequestItems": {"tab": [
            {"PutRequest": {"Item": key("a", 1)}}, {"DeleteRequest": {"Key": key("a", 1)}},
        ]}});
        assert_eq!(world.send("BatchWriteItem", &batch).await.message(), duplicates);
        let mistyped = json!({"pk": {"N": "1"}, "sk": {"N": "1"}});
        let batch = json!({"RequestItems": {"tab": [{"PutRequest": {"Item": mistyped}}]}});
        let text = world.send("BatchWriteItem", &batch).await.message();
        assert_eq!(text, "The provided key element does not match the schema");
    });
}

#[test]
fn what_does_not_fit_into_16_mb_comes_back_as_unprocessed() {
    with_world("items-unprocessed", |world| async move {
        create(&world).await;
        let big = "x".repeat(400_000);
        for sk in 0..45 {
            put(&world, "a", sk, json!({"x": {"S": big}})).await;
        }
        let keys: Vec<Json> = (0..45).map(|sk| key("a", sk)).collect();
        let names = json!({"#x": "x"});
        let mut asked =
            json!({"tab": {"Keys": keys, "ProjectionExpression": "sk", "ExpressionAttributeNames": names}});
        asked["tab"]["ProjectionExpression"] = json!("sk, #x");
        let (mut found, mut rounds) = (0, 0);
        while asked != json!({}) {
            let answer = world.send("BatchGetItem", &json!({ "RequestItems": asked })).await.ok();
            found += answer["Responses"]["tab"].as_array().expect("items").len();
            asked = answer["UnprocessedKeys"].clone();
            rounds += 1;
            assert!(rounds <= 2, "the rest fits into the second reply");
            if asked != json!({}) {
                assert_eq!(asked["tab"]["ExpressionAttributeNames"], names);
                assert_eq!(asked["tab"]["ProjectionExpression"], json!("sk, #x"));
            }
        }
        assert_eq!((found, rounds), (45, 2));
    });
}
