//! PartiQL over the service: what statements do to items, and what is answered.

mod driver;

use driver::{World, with_world};
use serde_json::{Value as Json, json};

async fn call(world: &World, operation: &str, body: Json) -> driver::Answer {
    world.send(operation, &body).await
}

async fn execute(world: &World, text: &str) -> Json {
    call(world, "ExecuteStatement", json!({"Statement": text})).await.ok()
}

async fn refused(world: &World, text: &str) -> (String, String) {
    let answer = call(world, "ExecuteStatement", json!({"Statement": text})).await;
    (answer.error(), answer.message())
}

/// A table with a sort key, a local index by `l` and a global one by `g` that shows keys and `shown`.
async fn table(world: &World, name: &str) {
    let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let key = |hash: &str, sort: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]);
    let body = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": (["pk", "sk", "l", "g"].map(attribute)),
        "KeySchema": key("pk", "sk"),
        "LocalSecondaryIndexes": [
            {"IndexName": "by-l", "KeySchema": key("pk", "l"), "Projection": {"ProjectionType": "KEYS_ONLY"}},
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "by-g", "KeySchema": key("g", "sk"),
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["shown"]},
        }],
    });
    call(world, "CreateTable", body).await.ok();
}

async fn fill(world: &World) {
    table(world, "tab").await;
    for (pk, sk, number) in [("a", "1", 1), ("a", "2", 2), ("a", "3", 3), ("b", "1", 4), ("c", "1", 5)] {
        let text = format!(
            "INSERT INTO tab VALUE {{'pk': '{pk}', 'sk': '{sk}', 'n': {number}, 'g': 'all', 'l': 'l{number}', \
             'shown': 's{number}', 'm': {{'in': [{number}, 'x']}}}}"
        );
        assert_eq!(execute(world, &text).await, json!({"Items": []}));
    }
}

/// The numbers of the items of a reply.
fn numbers(reply: &Json) -> Vec<i64> {
    let items = reply["Items"].as_array().expect("Items");
    items.iter().map(|item| item["n"]["N"].as_str().expect("a number").parse().expect("digits")).collect()
}

fn sorted(mut numbers: Vec<i64>) -> Vec<i64> {
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_select_finds_items_by_key_by_index_and_by_looking_at_everything() {
    with_world("partiql-select", |world| async move {
        fill(&world).await;
        for (text, expected) in [
            ("SELECT * FROM tab WHERE pk = 'a' AND sk = '2'", vec![2]),
            ("SELECT * FROM tab WHERE pk = 'a'", vec![1, 2, 3]),
            ("SELECT * FROM tab WHERE pk = 'a' AND sk > '1'", vec![2, 3]),
            ("SELECT * FROM tab WHERE pk = 'a' AND begins_with(sk, '3')", vec![3]),
            ("SELECT * FROM tab WHERE pk = 'a' AND n <> 2", vec![1, 3]),
            ("SELECT * FROM tab WHERE pk = 'a' ORDER BY sk DESC", vec![3, 2, 1]),
            ("SELECT * FROM tab WHERE pk IN ('c', 'a', 'x')", vec![5, 1, 2, 3]),
            ("SELECT * FROM tab WHERE pk = 'x'", vec![]),
            ("SELECT n FROM tab.\"by-l\" WHERE pk = 'a' AND l = 'l2'", vec![2]),
        ] {
            assert_eq!(numbers(&execute(&world, text).await), expected, "{text}");
        }
        for (text, expected) in [
            ("SELECT * FROM tab", vec![1, 2, 3, 4, 5]),
            ("SELECT * FROM tab WHERE sk = '1'", vec![1, 4, 5]),
            ("SELECT * FROM tab WHERE pk = 'c' OR n = 2", vec![2, 5]),
            ("SELECT * FROM tab WHERE m.\"in\"[0] BETWEEN 2 AND 4", vec![2, 3, 4]),
            ("SELECT * FROM tab WHERE NOT pk = 'a' AND n IS NOT MISSING", vec![4, 5]),
        ] {
            assert_eq!(sorted(numbers(&execute(&world, text).await)), expected, "{text}");
        }
        let shown = execute(&world, "SELECT * FROM \"tab\".\"by-g\" WHERE g = 'all' AND sk = '3'").await;
        let item = json!({"pk": {"S": "a"}, "sk": {"S": "3"}, "g": {"S": "all"}, "shown": {"S": "s3"}});
        assert_eq!(shown, json!({"Items": [item]}));
    });
}

#[test]
fn columns_are_named_by_their_last_step() {
    with_world("partiql-columns", |world| async move {
        fill(&world).await;
        let text = "SELECT pk, m.\"in\", m.\"in\"[1], nope FROM tab WHERE pk = 'b'";
        let item = json!({"pk": {"S": "b"}, "in": {"L": [{"N": "4"}, {"S": "x"}]}, "_3": {"S": "x"}});
        assert_eq!(execute(&world, text).await, json!({"Items": [item]}));
        assert_eq!(execute(&world, "SELECT nope FROM tab WHERE pk = 'b'").await, json!({"Items": [{}]}));
    });
}

#[test]
fn pages_follow_each_other_over_parts_and_belong_to_their_statement() {
    with_world("partiql-pages", |world| async move {
        fill(&world).await;
        for text in ["SELECT * FROM tab", "SELECT * FROM tab WHERE pk IN ('c', 'b', 'x', 'a')"] {
            for limit in 1..=6 {
                let (mut all, mut token, mut pages) = (Vec::new(), None::<String>, 0);
                loop {
                    let mut body = json!({"Statement": text, "Limit": limit});
                    if let Some(token) = &token {
                        body["NextToken"] = json!(token);
                    }
                    let reply = call(&world, "ExecuteStatement", body).await.ok();
                    let page = numbers(&reply);
                    assert!(page.len() <= limit, "{text} {limit}");
                    all.extend(page);
                    pages += 1;
                    token = reply["NextToken"].as_str().map(str::to_owned);
                    if token.is_none() {
                        break;
                    }
                    assert!(pages < 20, "{text} {limit}");
                }
                assert_eq!(sorted(all), [1, 2, 3, 4, 5], "{text} {limit}");
            }
        }
        let body =
            json!({"Statement": "SELECT * FROM tab WHERE pk = ?", "Parameters": [{"S": "a"}], "Limit": 1});
        let token = call(&world, "ExecuteStatement", body.clone()).await.ok()["NextToken"].clone();
        let with = |parameter: &str, token: &Json| {
            let mut body = body.clone();
            body["Parameters"][0]["S"] = json!(parameter);
            body["NextToken"] = token.clone();
            body
        };
        assert_eq!(numbers(&call(&world, "ExecuteStatement", with("a", &token)).await.ok()), [2]);
        let other = call(&world, "ExecuteStatement", with("b", &token)).await;
        assert_eq!(other.message(), "NextToken does not match request");
        let broken = call(&world, "ExecuteStatement", with("a", &json!("AAAA"))).await;
        assert_eq!(broken.message(), "Invalid NextToken");
    });
}

#[test]
fn writes_are_those_of_the_operations_that_they_stand_for() {
    with_world("partiql-writes", |world| async move {
        fill(&world).await;
        let failed =
            ("ConditionalCheckFailedException".to_owned(), "The conditional request failed".to_owned());
        let duplicate =
            ("DuplicateItemException".to_owned(), "Duplicate primary key exists in table".to_owned());
        let one = "pk = 'a' AND sk = '1'";
        assert_eq!(refused(&world, "INSERT INTO tab VALUE {'pk': 'a', 'sk': '1'}").await, duplicate);
        let text = format!(
            "UPDATE tab SET n = n + 10, m.\"new\" = 'y' REMOVE g WHERE {one} AND n = 1 RETURNING MODIFIED NEW *"
        );
        let reply = execute(&world, &text).await;
        assert_eq!(reply["Items"], json!([{"n": {"N": "11"}, "m": {"M": {"new": {"S": "y"}}}}]));
        assert_eq!(refused(&world, &text).await, failed);
        assert_eq!(refused(&world, "UPDATE tab SET n = 1 WHERE pk = 'x' AND sk = 'y'").await, failed);
        let text = format!("DELETE FROM tab WHERE {one} AND n = 1");
        assert_eq!(refused(&world, &text).await, failed);
        let reply = execute(&world, &format!("DELETE FROM tab WHERE {one} RETURNING ALL OLD *")).await;
        assert_eq!(reply["Items"][0]["n"], json!({"N": "11"}));
        // A DELETE of what is not there is fine, unless it asks for more than the key.
        assert_eq!(execute(&world, &format!("DELETE FROM tab WHERE {one}")).await, json!({"Items": []}));
        assert_eq!(refused(&world, &text).await, failed);
        assert_eq!(
            execute(&world, "INSERT INTO tab VALUE {'pk': 'a', 'sk': '1', 'n': 1}").await,
            json!({"Items": []})
        );

        let old = json!({"Statement": "INSERT INTO tab VALUE {'pk': 'b', 'sk': '1'}",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD"});
        let answer = call(&world, "ExecuteStatement", old).await;
        assert_eq!((answer.error(), &answer.json()["Item"]["n"]), (duplicate.0, &json!({"N": "4"})));
    });
}

#[test]
fn statements_that_cannot_be_are_refused() {
    with_world("partiql-refused", |world| async move {
        fill(&world).await;
        for (text, name, words) in [
            (
                "SELECTT * FROMM tab",
                "ValidationException",
                "Statement wasn't well formed, can't be processed: Unexpected token after expression",
            ),
            ("SELECT * FROM nope", "ResourceNotFoundException", "Requested resource not found"),
            ("SELECT * FROM tab.nope", "ValidationException", "The table does not have the specified index"),
            (
                "UPDATE tab SET a = 1 WHERE pk = 'a'",
                "ValidationException",
                "Where clause does not contain a mandatory equality on all key attributes",
            ),
            (
                "UPDATE tab SET pk = 'z' WHERE pk = 'a' AND sk = '1'",
                "ValidationException",
                "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
            ),
            (
                "DELETE FROM tab WHERE pk = 'a' AND sk = 1",
                "ValidationException",
                "The provided key element does not match the schema",
            ),
            (
                "SELECT * FROM tab WHERE pk = 5",
                "ValidationException",
                "One or more parameter values were invalid: Condition parameter type does not match schema type",
            ),
            (
                "SELECT m FROM tab.\"by-g\" WHERE g = 'all'",
                "ValidationException",
                "Global secondary index by-g does not project [m]",
            ),
            (
                "SELECT * FROM tab ORDER BY sk",
                "ValidationException",
                "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
            ),
            (
                "SELECT * FROM tab WHERE pk = 'a' ORDER BY n",
                "ValidationException",
                "Variable reference n in ORDER BY clause must be part of the primary key",
            ),
            (
                "INSERT INTO tab VALUE {'pk': 'a'}",
                "ValidationException",
                "One or more parameter values were invalid: Missing the key sk in the item",
            ),
            (
                "EXISTS(SELECT * FROM tab WHERE pk = 'a' AND sk = '1')",
                "ValidationException",
                "EXISTS is supported in ExecuteTransaction only",
            ),
        ] {
            assert_eq!(refused(&world, text).await, (name.to_owned(), words.to_owned()), "{text}");
        }
    });
}

#[test]
fn requests_that_cannot_be_are_refused() {
    with_world("partiql-requests", |world| async move {
        fill(&world).await;
        let body = json!({"Statement": "SELECT * FROM tab.\"by-g\" WHERE g = 'x'", "ConsistentRead": true});
        let answer = call(&world, "ExecuteStatement", body).await;
        assert_eq!(answer.message(), "Strongly consistent read is not supported on Global Secondary Indexes");
        let empty = call(&world, "ExecuteStatement", json!({"Statement": "", "Limit": 0})).await;
        assert_eq!(
            empty.message(),
            "2 validation errors detected: Value '' at 'statement' failed to satisfy constraint: \
             Member must have length greater than or equal to 1; \
             Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
        );
    });
}

#[test]
fn a_batch_says_of_each_statement_what_became_of_it() {
    with_world("partiql-batch", |world| async move {
        fill(&world).await;
        let batch = |texts: &[&str]| {
            let statements: Vec<Json> = texts.iter().map(|text| json!({"Statement": text})).collect();
            json!({"Statements": statements, "ReturnConsumedCapacity": "TOTAL"})
        };
        let read = |texts: &[&str]| call_batch(&world, batch(texts));
        let reply = read(&[
            "SELECT n FROM tab WHERE pk = 'a' AND sk = '1'",
            "SELECT * FROM nope WHERE pk = 'x'",
            "SELECT n FROM tab WHERE pk = 'b' AND sk = '1' AND n = 5",
            "SELECT * FROM tab WHERE pk = 'a'",
            "SELECTT",
            "SELECT n FROM tab WHERE pk = 'x' AND sk = 'x'",
        ])
        .await;
        let responses = &reply["Responses"];
        assert_eq!(responses[0], json!({"Item": {"n": {"N": "1"}}, "TableName": "tab"}));
        let absent = json!({"Code": "ResourceNotFound", "Message": "Requested resource not found"});
        assert_eq!(responses[1], json!({"Error": absent}));
        assert_eq!(responses[2], json!({"TableName": "tab"}));
        assert_eq!(
            responses[3]["Error"]["Message"],
            "Select statements within BatchExecuteStatement must specify the primary key in the where clause."
        );
        assert_eq!(responses[4]["Error"]["Code"], "ValidationError");
        assert_eq!(responses[5], json!({"TableName": "tab"}));
        assert_eq!(reply["ConsumedCapacity"], json!([{"TableName": "tab", "CapacityUnits": 1.5}]));

        let reply = read(&[
            "INSERT INTO tab VALUE {'pk': 'new', 'sk': '1', 'n': 9}",
            "INSERT INTO tab VALUE {'pk': 'a', 'sk': '1'}",
            "UPDATE tab SET n = 0 WHERE pk = 'a' AND sk = '2'",
            "UPDATE tab SET n = 0 WHERE pk = 'x' AND sk = '2'",
            "DELETE FROM tab WHERE pk = 'c' AND sk = '1' RETURNING ALL OLD *",
        ])
        .await;
        let responses = &reply["Responses"];
        assert_eq!(responses[0], json!({"TableName": "tab"}));
        let codes: Vec<_> = (0..5).map(|place| responses[place]["Error"]["Code"].as_str()).collect();
        assert_eq!(codes, [None, Some("DuplicateItem"), None, Some("ConditionalCheckFailed"), None]);
        assert_eq!(responses[1]["TableName"], "tab");
        assert_eq!(responses[4]["Item"]["n"], json!({"N": "5"}));
        assert_eq!(sorted(numbers(&execute(&world, "SELECT * FROM tab").await)), [0, 1, 3, 4, 9]);

        for (texts, words) in [
            (
                vec![
                    "SELECT * FROM tab WHERE pk = 'a' AND sk = '1'",
                    "DELETE FROM tab WHERE pk = 'a' AND sk = '1'",
                ],
                "Read and write requests together in the same batch is not supported.",
            ),
            (
                vec!["SELECT * FROM tab WHERE pk = 'a' AND sk = '1'"; 2],
                "Provided list of item keys contains duplicates",
            ),
            (
                vec![],
                "1 validation error detected: Value '[]' at 'statements' failed to satisfy constraint: \
                Member must have length greater than or equal to 1",
            ),
        ] {
            let answer = call(&world, "BatchExecuteStatement", batch(&texts)).await;
            assert_eq!((answer.error().as_str(), answer.message().as_str()), ("ValidationException", words));
        }
    });
}

async fn call_batch(world: &World, body: Json) -> Json {
    call(world, "BatchExecuteStatement", body).await.ok()
}

#[test]
fn a_transaction_does_all_or_nothing() {
    with_world("partiql-transaction", |world| async move {
        fill(&world).await;
        let body = |texts: &[&str]| {
            let statements: Vec<Json> = texts.iter().map(|text| json!({"Statement": text})).collect();
            json!({"TransactStatements": statements})
        };
        let run = |texts: &[&str]| call_owned(&world, body(texts));
        let done = run(&[
            "INSERT INTO tab VALUE {'pk': 'new', 'sk': '1', 'n': 9}",
            "UPDATE tab SET n = 7 WHERE pk = 'b' AND sk = '1'",
            "EXISTS(SELECT * FROM tab WHERE pk = 'a' AND sk = '1' AND n = 1)",
            "DELETE FROM tab WHERE pk = 'c' AND sk = '1'",
        ])
        .await;
        assert_eq!(done.ok(), json!({"Responses": []}));
        let all = || execute(&world, "SELECT * FROM tab");
        assert_eq!(sorted(numbers(&all().await)), [1, 2, 3, 7, 9]);

        let cancelled = run(&[
            "INSERT INTO tab VALUE {'pk': 'more', 'sk': '1', 'n': 8}",
            "INSERT INTO tab VALUE {'pk': 'a', 'sk': '1'}",
            "EXISTS(SELECT * FROM tab WHERE pk = 'a' AND sk = '2' AND n = 1)",
        ])
        .await;
        assert_eq!(cancelled.error(), "TransactionCanceledException");
        assert_eq!(
            cancelled.message(),
            "Transaction cancelled, please refer cancellation reasons for specific reasons \
             [None, DuplicateItem, ConditionalCheckFailed]"
        );
        assert_eq!(sorted(numbers(&all().await)), [1, 2, 3, 7, 9]);

        let read = run(&[
            "SELECT n FROM tab WHERE pk = 'a' AND sk = '3'",
            "SELECT n FROM tab WHERE pk = 'x' AND sk = '3'",
        ])
        .await;
        assert_eq!(read.ok(), json!({"Responses": [{"Item": {"n": {"N": "3"}}}, {}]}));

        for (texts, words) in [
            (
                vec![
                    "SELECT * FROM tab WHERE pk = 'a' AND sk = '1'",
                    "DELETE FROM tab WHERE pk = 'b' AND sk = '1'",
                ],
                "ExecuteTransaction API does not support both read and write operations in the same request.",
            ),
            (
                vec!["DELETE FROM tab WHERE pk = 'a' AND sk = '1'"; 2],
                "Transaction request cannot include multiple operations on one item",
            ),
            (
                vec!["DELETE FROM tab WHERE pk = 'a'"],
                "Validation failed in TransactStatements[0]: Where clause does not contain a mandatory equality on \
                 all key attributes",
            ),
            (
                vec![],
                "1 validation error detected: Value '[]' at 'transactStatements' failed to satisfy constraint: \
                Member must have length greater than or equal to 1",
            ),
        ] {
            let answer = call_owned(&world, body(&texts)).await;
            assert_eq!((answer.error().as_str(), answer.message().as_str()), ("ValidationException", words));
        }
    });
}

async fn call_owned(world: &World, body: Json) -> driver::Answer {
    call(world, "ExecuteTransaction", body).await
}

#[test]
fn a_token_makes_a_transaction_happen_once() {
    with_world("partiql-token", |world| async move {
        fill(&world).await;
        let body = |number: &str| {
            json!({"ClientRequestToken": "once", "TransactStatements": [
                {"Statement": "UPDATE tab SET n = n + ? WHERE pk = 'a' AND sk = '1'", "Parameters": [{"N": number}]},
            ]})
        };
        for _ in 0..3 {
            call(&world, "ExecuteTransaction", body("1")).await.ok();
        }
        assert_eq!(numbers(&execute(&world, "SELECT * FROM tab WHERE pk = 'a' AND sk = '1'").await), [2]);
        let other = call(&world, "ExecuteTransaction", body("2")).await;
        assert_eq!(other.error(), "IdempotentParameterMismatchException");
    });
}
