//! PartiQL statements over a store: what they read and write, page by page, and how they are refused.

mod driver;

use driver::{World, with_world};
use serde_json::{Value as Json, json};

async fn create(world: &World, name: &str, indexes: Json) {
    let mut request = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
    });
    if !indexes.is_null() {
        request["GlobalSecondaryIndexes"] = indexes;
        let definitions = request["AttributeDefinitions"].as_array_mut().expect("an array");
        definitions.push(json!({"AttributeName": "g", "AttributeType": "S"}));
    }
    world.send("CreateTable", &request).await.ok();
}

async fn execute(world: &World, statement: &str, parameters: Json) -> Json {
    let mut request = json!({"Statement": statement});
    if !parameters.is_null() {
        request["Parameters"] = parameters;
    }
    world.send("ExecuteStatement", &request).await.ok()
}

async fn refused(world: &World, statement: &str) -> (String, String) {
    let answer = world.send("ExecuteStatement", &json!({"Statement": statement})).await;
    (answer.error(), answer.message())
}

#[test]
fn statements_write_and_answer_what_they_return() {
    with_world("statements-write", |world| async move {
        create(&world, "tab", Json::Null).await;
        let none = json!({"Items": []});
        let put = "INSERT INTO tab VALUE {'pk': ?, 'sk': 1, 'n': 5, 'm': {'a': [1, 'x']}}";
        assert_eq!(execute(&world, put, json!([{"S": "a"}])).await, none);
        let again = json!({"Statement": put, "Parameters": [{"S": "a"}]});
        let answer = world.send("ExecuteStatement", &again).await;
        assert_eq!(answer.error(), "DuplicateItemException");
        assert_eq!(answer.message(), "Duplicate primary key exists in table");

        let update =
            "UPDATE tab SET n = n + 1 REMOVE m.a[0] WHERE pk = 'a' AND sk = 1 RETURNING MODIFIED NEW *";
        let updated = execute(&world, update, Json::Null).await;
        assert_eq!(updated, json!({"Items": [{"n": {"N": "6"}, "m": {"M": {"a": {"L": [{"S": "x"}]}}}}]}));
        let absent = refused(&world, "UPDATE tab SET n = 1 WHERE pk = 'b' AND sk = 1").await;
        assert_eq!(absent.0, "ConditionalCheckFailedException");
        let guarded = refused(&world, "DELETE FROM tab WHERE pk = 'a' AND sk = 1 AND n = 5").await;
        assert_eq!(guarded.0, "ConditionalCheckFailedException");

        let deleted =
            execute(&world, "DELETE FROM tab WHERE pk = 'a' AND sk = 1 RETURNING ALL OLD *", Json::Null)
                .await;
        assert_eq!(deleted["Items"][0]["n"], json!({"N": "6"}));
        assert_eq!(execute(&world, "DELETE FROM tab WHERE pk = 'a' AND sk = 1", Json::Null).await, none);
        assert_eq!(execute(&world, "SELECT * FROM tab", Json::Null).await, none);
    });
}

#[test]
fn statements_are_refused_before_and_after_the_table() {
    with_world("statements-refused", |world| async move {
        create(&world, "tab", Json::Null).await;
        let cases = [
            ("SELECTT * FROM tab", "ValidationException"),
            ("SELECT * FROM absent", "ResourceNotFoundException"),
            ("UPDATE absent SET a = 1 WHERE pk = 'a'", "ResourceNotFoundException"),
            ("UPDATE tab SET a = 1 WHERE pk = 'a'", "ValidationException"),
            ("UPDATE tab SET pk = 'b' WHERE pk = 'a' AND sk = 1", "ValidationException"),
            ("DELETE FROM tab WHERE sk = 1", "ValidationException"),
            ("INSERT INTO tab VALUE {'pk': 'a'}", "ValidationException"),
            ("INSERT INTO tab VALUE {'pk': 1, 'sk': 1}", "ValidationException"),
            ("SELECT * FROM tab.absent WHERE pk = 'a'", "ValidationException"),
            ("SELECT * FROM tab ORDER BY sk", "ValidationException"),
            ("EXISTS(SELECT * FROM tab WHERE pk = 'a' AND sk = 1 AND b = 1)", "ValidationException"),
        ];
        for (statement, error) in cases {
            assert_eq!(refused(&world, statement).await.0, error, "{statement}");
        }
        let key = refused(&world, "UPDATE tab SET sk = 2 WHERE pk = 'a' AND sk = 1").await.1;
        assert!(key.ends_with("Cannot update attribute sk. This attribute is part of the key"), "{key}");
        let request = json!({"Statement": "SELECT * FROM tab", "NextToken": "AAAA"});
        assert_eq!(world.send("ExecuteStatement", &request).await.message(), "Invalid NextToken");
        let request = json!({"Statement": "SELECT * FROM tab WHERE pk = ?", "Parameters": [{"N": "x"}]});
        let answer = world.send("ExecuteStatement", &request).await;
        assert_eq!(answer.message(), "The parameter cannot be converted to a numeric value: x");
    });
}

/// The sort keys of every item that a statement shows, read with this limit.
async fn pages(world: &World, statement: &str, limit: u64) -> (Vec<String>, usize) {
    let (mut found, mut page_count) = (Vec::new(), 0);
    let mut request = json!({"Statement": statement, "Limit": limit});
    loop {
        let page = world.send("ExecuteStatement", &request).await.ok();
        page_count += 1;
        for item in page["Items"].as_array().expect("items") {
            found.push(format!(
                "{}{}",
                item["pk"]["S"].as_str().expect("pk"),
                item["sk"]["N"].as_str().expect("sk")
            ));
        }
        match page["NextToken"].as_str() {
            Some(token) => request["NextToken"] = json!(token),
            None => return (found, page_count),
        }
    }
}

#[test]
fn every_page_of_a_statement_goes_on_where_the_last_one_ended() {
    with_world("statements-pages", |world| async move {
        let index = json!([{
            "IndexName": "by-g",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
        }]);
        create(&world, "tab", index).await;
        for pk in ["a", "b", "c"] {
            for sk in 0..5 {
                let statement = "INSERT INTO tab VALUE {'pk': ?, 'sk': ?, 'g': 'g', 'x': 1, 'y': 2}";
                execute(&world, statement, json!([{"S": pk}, {"N": sk.to_string()}])).await;
            }
        }
        let names = |pks: &[&str], sks: &[u32]| -> Vec<String> {
            pks.iter().flat_map(|pk| sks.iter().map(move |sk| format!("{pk}{sk}"))).collect()
        };
        for limit in [1, 2, 3, 100] {
            let (found, _) =
                pages(&world, "SELECT * FROM tab WHERE pk = 'b' AND sk BETWEEN 1 AND 3", limit).await;
            assert_eq!(found, names(&["b"], &[1, 2, 3]), "limit {limit}");
            let (found, _) =
                pages(&world, "SELECT * FROM tab WHERE pk IN ('c', 'a') AND sk < 2", limit).await;
            assert_eq!(found, names(&["c", "a"], &[0, 1]), "limit {limit}");
            let (found, _) =
                pages(&world, "SELECT pk, sk FROM tab WHERE pk = 'a' ORDER BY sk DESC", limit).await;
            assert_eq!(found, names(&["a"], &[4, 3, 2, 1, 0]), "limit {limit}");
            let (mut found, page_count) = pages(&world, "SELECT * FROM tab WHERE y = 2", limit).await;
            found.sort();
            assert_eq!(found, names(&["a", "b", "c"], &[0, 1, 2, 3, 4]), "limit {limit}");
            assert!(page_count >= 15 / limit as usize, "limit {limit}");
            let (mut found, _) =
                pages(&world, r#"SELECT * FROM "tab"."by-g" WHERE g = 'g' AND sk = 3"#, limit).await;
            found.sort();
            assert_eq!(found, names(&["a", "b", "c"], &[3]), "limit {limit}");
        }
        // An index shows what it holds.
        let shown =
            execute(&world, r#"SELECT * FROM "tab"."by-g" WHERE g = 'g' AND sk = 3"#, Json::Null).await;
        assert!(shown["Items"][0].get("x").is_some() && shown["Items"][0].get("y").is_none());
        let (error, text) = refused(&world, r#"SELECT y FROM "tab"."by-g" WHERE g = 'g'"#).await;
        assert_eq!(error, "ValidationException");
        assert!(text.ends_with("Global secondary index by-g does not project [y]"), "{text}");
        let consistent =
            json!({"Statement": r#"SELECT * FROM "tab"."by-g" WHERE g = 'g'"#, "ConsistentRead": true});
        let text = world.send("ExecuteStatement", &consistent).await.message();
        assert_eq!(text, "Strongly consistent read is not supported on Global Secondary Indexes");
        // A token belongs to its statement.
        let first = json!({"Statement": "SELECT * FROM tab WHERE pk = 'a'", "Limit": 1});
        let page = world.send("ExecuteStatement", &first).await.ok();
        let other = json!({"Statement": "SELECT * FROM tab WHERE pk = 'b'", "NextToken": page["NextToken"]});
        let text = world.send("ExecuteStatement", &other).await.message();
        assert_eq!(text, "NextToken does not match request");
    });
}

#[test]
fn a_batch_tells_what_is_wrong_with_each_statement_in_its_place() {
    with_world("statements-batch", |world| async move {
        create(&world, "tab", Json::Null).await;
        let batch = |statements: &[&str]| {
            let statements: Vec<Json> = statements.iter().map(|text| json!({"Statement": text})).collect();
            json!({"Statements": statements, "ReturnConsumedCapacity": "TOTAL"})
        };
        let writes = batch(&[
            "INSERT INTO tab VALUE {'pk': 'a', 'sk': 1, 'n': 1}",
            "INSERT INTO tab VALUE {'pk': 'a', 'sk': 2, 'n': 2}",
            "UPDATE tab SET n = 9 WHERE pk = 'absent' AND sk = 1",
            "UPDATE absent SET n = 9 WHERE pk = 'a' AND sk = 1",
            "INSERTT",
        ]);
        let answer = world.send("BatchExecuteStatement", &writes).await.ok();
        let codes: Vec<_> =
            answer["Responses"].as_array().expect("responses").iter().map(|r| &r["Error"]["Code"]).collect();
        let wanted = json!([null, null, "ConditionalCheckFailed", "ResourceNotFound", "ValidationError"]);
        assert_eq!(json!(codes), wanted);
        assert_eq!(answer["Responses"][2]["TableName"], json!("tab"));
        assert_eq!(answer["ConsumedCapacity"], json!([{"TableName": "tab", "CapacityUnits": 2.0}]));

        let again = batch(&[
            "INSERT INTO tab VALUE {'pk': 'a', 'sk': 1}",
            "DELETE FROM tab WHERE pk = 'a' AND sk = 2",
        ]);
        let answer = world.send("BatchExecuteStatement", &again).await.ok();
        assert_eq!(answer["Responses"][0]["Error"]["Code"], json!("DuplicateItem"));

        let reads = batch(&[
            "SELECT n FROM tab WHERE pk = 'a' AND sk = 1",
            "SELECT * FROM tab WHERE pk = 'a' AND sk = 2",
        ]);
        let answer = world.send("BatchExecuteStatement", &reads).await.ok();
        assert_eq!(
            answer["Responses"],
            json!([{"Item": {"n": {"N": "1"}}, "TableName": "tab"}, {"TableName": "tab"}])
        );
        assert_eq!(answer["ConsumedCapacity"], json!([{"TableName": "tab", "CapacityUnits": 1.0}]));

        let refused = [
            batch(&[
                "SELECT * FROM tab WHERE pk = 'a' AND sk = 1",
                "DELETE FROM tab WHERE pk = 'a' AND sk = 2",
            ]),
            batch(&[
                "SELECT * FROM tab WHERE pk = 'a' AND sk = 1",
                "SELECT n FROM tab WHERE pk = 'a' AND sk = 1",
            ]),
            json!({"Statements": []}),
        ];
        for request in refused {
            world.send("BatchExecuteStatement", &request).await.expect_error("ValidationException");
        }
    });
}

#[test]
fn a_transaction_of_statements_is_all_or_nothing() {
    with_world("statements-transaction", |world| async move {
        create(&world, "tab", Json::Null).await;
        let transaction = |statements: &[&str]| {
            let statements: Vec<Json> = statements.iter().map(|text| json!({"Statement": text})).collect();
            json!({"TransactStatements": statements})
        };
        let both = transaction(&[
            "INSERT INTO tab VALUE {'pk': 'a', 'sk': 1, 'n': 1}",
            "INSERT INTO tab VALUE {'pk': 'b', 'sk': 1}",
        ]);
        world.send("ExecuteTransaction", &both).await.ok();
        let dup = transaction(&[
            "UPDATE tab SET n = 2 WHERE pk = 'a' AND sk = 1",
            "INSERT INTO tab VALUE {'pk': 'b', 'sk': 1}",
            "EXISTS(SELECT * FROM tab WHERE pk = 'c' AND sk = 1 AND n = 1)",
        ]);
        let answer =
            world.send("ExecuteTransaction", &dup).await.expect_error("TransactionCanceledException");
        let codes: Vec<Json> = answer.json()["CancellationReasons"]
            .as_array()
            .expect("reasons")
            .iter()
            .map(|r| r["Code"].clone())
            .collect();
        assert_eq!(json!(codes), json!(["None", "DuplicateItem", "ConditionalCheckFailed"]));
        let reads = transaction(&[
            "SELECT n FROM tab WHERE pk = 'a' AND sk = 1",
            "SELECT * FROM tab WHERE pk = 'z' AND sk = 1",
        ]);
        let answer = world.send("ExecuteTransaction", &reads).await.ok();
        assert_eq!(answer["Responses"], json!([{"Item": {"n": {"N": "1"}}}, {}]));

        let mixed = transaction(&[
            "SELECT * FROM tab WHERE pk = 'a' AND sk = 1",
            "DELETE FROM tab WHERE pk = 'b' AND sk = 1",
        ]);
        world.send("ExecuteTransaction", &mixed).await.expect_error("ValidationException");
        let twice = transaction(&[
            "DELETE FROM tab WHERE pk = 'b' AND sk = 1",
            "DELETE FROM tab WHERE pk = 'b' AND sk = 1.0",
        ]);
        let answer = world.send("ExecuteTransaction", &twice).await.expect_error("ValidationException");
        assert_eq!(answer.message(), "Transaction request cannot include multiple operations on one item");

        let mut once = transaction(&["UPDATE tab SET n = n + 1 WHERE pk = 'a' AND sk = 1"]);
        once["ClientRequestToken"] = json!("token");
        for _ in 0..3 {
            world.send("ExecuteTransaction", &once).await.ok();
        }
        let item = execute(&world, "SELECT n FROM tab WHERE pk = 'a' AND sk = 1", Json::Null).await;
        assert_eq!(item["Items"][0]["n"], json!({"N": "2"}));
        let mut other = transaction(&["UPDATE tab SET n = n + 2 WHERE pk = 'a' AND sk = 1"]);
        other["ClientRequestToken"] = json!("token");
        world.send("ExecuteTransaction", &other).await.expect_error("IdempotentParameterMismatchException");
    });
}
