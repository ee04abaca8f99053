//! Items: whole, on conditions, in one step, in order, all at once or not at all.
//!
//! `ZERO_URL=http://localhost:8080 ZERO_CREDENTIALS_FILE=zerocloud-data/credentials cargo run -p cloudkit --example 02_items`

use cloudkit::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Serialize, Deserialize, Debug)]
struct Account {
    owner: String,
    balance: i64,
}

/// Written against the trait, so it runs on every provider.
async fn tour<K: KeyValueStore>(db: &K, table: &str) -> CloudResult<()> {
    db.create_table(table, CreateTableOptions::new()).await?;
    for (key, owner) in [("a", "Ada"), ("b", "Bob")] {
        db.put(table, key, &Account { owner: owner.into(), balance: 100 }).await?;
    }

    // Only if nobody was there before.
    let absent = KvPutOptions { condition: Some(Condition::NotExists("id".into())), return_old: false };
    let again = Account { owner: "Eve".into(), balance: 0 };
    match db.put_with_options(table, "a", &again, absent).await {
        Err(error) if error.is_precondition_failed() => println!("taken: {error}"),
        other => println!("unexpected: {other:?}"),
    }

    println!("read and written in one step: {}", db.increment(table, "a", "balance", 5).await?);
    db.update(table, "b", HashMap::from([("vip".to_string(), true.into())])).await?;

    // Both or neither.
    let rich = Condition::GreaterThanOrEqual("balance".into(), 10.into());
    db.transact(vec![
        TransactItem::put(table, "a", &Account { owner: "Ada".into(), balance: 95 })?.when(rich),
        TransactItem::put(table, "b", &Account { owner: "Bob".into(), balance: 110 })?,
    ])
    .await?;

    let mut all = db.scan_stream::<Account>(table, ScanOptions::new().consistent_read());
    while let Some(account) = all.next().await.transpose()? {
        println!("{account:?}");
    }
    db.delete_table(table).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> CloudResult<()> {
    let zero = CloudKit::zero().build().await?;
    println!("{}", zero.kv_store().capabilities());
    tour(&zero.kv_store(), "example-items").await
}
