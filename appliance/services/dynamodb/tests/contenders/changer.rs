//! Who changes the table while the others fight: adds global indexes, waits until they are built, and takes them away.

use serde_json::{Value as Json, json};

use super::TABLE;
use crate::client::Client;

/// How often the table is asked for until an index is built or gone.
const POLL_COUNT_MAX: usize = 20_000;

/// Adds and removes indexes until told to stop, and leaves one that is built: its name.
pub async fn change(client: &impl Client, first: usize, is_over: impl Fn() -> bool) -> (String, usize) {
    let mut number = first;
    loop {
        number += 1;
        let name = format!("later-{number}");
        let definitions = json!([
            {"AttributeName": "kind", "AttributeType": "S"}, {"AttributeName": "total", "AttributeType": "N"},
        ]);
        let create = json!({
            "IndexName": name,
            "KeySchema": [
                {"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "total", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        });
        update(client, json!({"Create": create}), Some(definitions)).await;
        until(client, &name, Some("ACTIVE")).await;
        if is_over() {
            return (name, number);
        }
        remove(client, &name).await;
    }
}

/// Takes an index away, until nothing of it is left.
pub async fn remove(client: &impl Client, name: &str) {
    update(client, json!({"Delete": {"IndexName": name}}), None).await;
    until(client, name, None).await;
}

async fn update(client: &impl Client, change: Json, definitions: Option<Json>) {
    let mut request = json!({"TableName": TABLE, "GlobalSecondaryIndexUpdates": [change]});
    if let Some(definitions) = definitions {
        request["AttributeDefinitions"] = definitions;
    }
    let answer = client.call("UpdateTable", &request).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

/// Lets the service work until the index has this status; nothing: until it is gone.
async fn until(client: &impl Client, name: &str, wanted: Option<&str>) {
    for _ in 0..POLL_COUNT_MAX {
        let described = client.call("DescribeTable", &json!({"TableName": TABLE})).await;
        let indexes =
            described.body["Table"]["GlobalSecondaryIndexes"].as_array().cloned().unwrap_or_default();
        let found = indexes.iter().find(|index| index["IndexName"] == json!(name));
        if found.map(|index| index["IndexStatus"].as_str().expect("a status")) == wanted {
            return;
        }
        client.work().await;
    }
    panic!("index {name} is not {wanted:?}");
}
