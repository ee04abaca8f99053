//! Amazon's SDK for Rust with tables on the appliance that the environment names. Ends well only when everything was as it
//! should be.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as Value, BillingMode, KeySchemaElement, KeyType, Put, PutRequest,
    ReturnValue, ScalarAttributeType, TransactWriteItem, WriteRequest,
};

const TABLE: &str = "rust-tables";
const WAIT_MAX: Duration = Duration::from_secs(60);

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Item = HashMap<String, Value>;

#[tokio::main]
async fn main() -> Outcome {
    let client = Client::new(&aws_config::load_from_env().await);
    make_table(&client).await?;
    items(&client).await?;
    pages(&client).await?;
    transactions(&client).await?;
    client.delete_table().table_name(TABLE).send().await?;
    client.wait_until_table_not_exists().table_name(TABLE).wait(WAIT_MAX).await?;
    println!("tables are as they should be");
    Ok(())
}

fn text(value: &str) -> Value {
    Value::S(value.to_owned())
}

fn number(value: i64) -> Value {
    Value::N(value.to_string())
}

fn item(pk: &str, sk: i64) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), number(sk))])
}

async fn make_table(client: &Client) -> Outcome {
    let mut create = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    for (name, kind, role) in
        [("pk", ScalarAttributeType::S, KeyType::Hash), ("sk", ScalarAttributeType::N, KeyType::Range)]
    {
        create = create
            .attribute_definitions(
                AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()?,
            )
            .key_schema(KeySchemaElement::builder().attribute_name(name).key_type(role).build()?);
    }
    create.send().await?;
    client.wait_until_table_exists().table_name(TABLE).wait(WAIT_MAX).await?;
    Ok(())
}

async fn items(client: &Client) -> Outcome {
    let mut whole = item("types", 1);
    whole.extend([
        ("octets".to_owned(), Value::B(Blob::new([0, 1, 254, 255]))),
        ("list".to_owned(), Value::L(vec![number(1), Value::Null(true), Value::Bool(false)])),
        ("map".to_owned(), Value::M(HashMap::from([("ü".to_owned(), text("鍵"))]))),
        ("words".to_owned(), Value::Ss(vec!["a".to_owned(), "b".to_owned()])),
    ]);
    let put = client.put_item().table_name(TABLE).set_item(Some(whole.clone()));
    put.condition_expression("attribute_not_exists(pk)").send().await?;
    let get = client.get_item().table_name(TABLE).set_key(Some(item("types", 1))).consistent_read(true);
    assert_eq!(get.send().await?.item, Some(whole));
    let again = client.put_item().table_name(TABLE).set_item(Some(item("types", 1)));
    let refused =
        again.condition_expression("attribute_not_exists(pk)").send().await.expect_err("it is there");
    assert!(refused.into_service_error().is_conditional_check_failed_exception());
    let update = client.update_item().table_name(TABLE).set_key(Some(item("types", 1)));
    let updated = update
        .update_expression("SET #m.n = :n REMOVE octets")
        .expression_attribute_names("#m", "map")
        .expression_attribute_values(":n", number(7))
        .return_values(ReturnValue::UpdatedNew)
        .send()
        .await?;
    let expected = Value::M(HashMap::from([("n".to_owned(), number(7))]));
    assert_eq!(updated.attributes, Some(HashMap::from([("map".to_owned(), expected)])));
    Ok(())
}

async fn pages(client: &Client) -> Outcome {
    for first in [0, 20, 40] {
        let requests = (first..first + 20).map(|n| {
            let put = PutRequest::builder().set_item(Some(item("many", n - 30))).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        });
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let written = client.batch_write_item().request_items(TABLE, requests).send().await?;
        assert!(written.unprocessed_items.unwrap_or_default().is_empty());
    }
    let mut pages = client
        .query()
        .table_name(TABLE)
        .key_condition_expression("pk = :p AND sk BETWEEN :a AND :b")
        .expression_attribute_values(":p", text("many"))
        .expression_attribute_values(":a", number(-20))
        .expression_attribute_values(":b", number(20))
        .scan_index_forward(false)
        .limit(7)
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while let Some(item) = pages.next().await {
        found.push(item?["sk"].clone());
    }
    assert_eq!(found, (-20..=20).rev().map(number).collect::<Vec<_>>());
    Ok(())
}

async fn transactions(client: &Client) -> Outcome {
    let put = |sk, condition: Option<&str>| {
        let put = Put::builder().table_name(TABLE).set_item(Some(item("tx", sk)));
        let put = put.set_condition_expression(condition.map(str::to_owned)).build();
        put.map(|put| TransactWriteItem::builder().put(put).build())
    };
    let whole = client.transact_write_items().transact_items(put(1, None)?).transact_items(put(2, None)?);
    whole.send().await?;
    let cancelled = client
        .transact_write_items()
        .transact_items(put(3, None)?)
        .transact_items(put(2, Some("attribute_not_exists(pk)"))?)
        .send()
        .await
        .expect_err("the second part stands against it")
        .into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(cancelled) = cancelled
    else {
        return Err(format!("another error: {cancelled}").into());
    };
    let codes: Vec<_> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    let get = client.get_item().table_name(TABLE).set_key(Some(item("tx", 3))).consistent_read(true);
    assert_eq!(get.send().await?.item, None);
    Ok(())
}
