//! Tables against the appliance itself; see `trial/appliance.rs` for where that comes from. And against a peer that loses answers.

mod conditions;
mod items;
mod lost;
mod pages;

use super::ZeroDb;
use crate::trial::appliance::Appliance;
use crate::trial::services::shared;
use cloudkit_core::api::{CreateTableOptions, KeyValueStore};

/// A client of an appliance of its own.
async fn started(name: &str) -> (Appliance, ZeroDb) {
    let appliance = Appliance::start(name, &[], &[]);
    let db = ZeroDb::new(shared(appliance.caller()).await);
    (appliance, db)
}

/// The same, with a table `things`.
async fn with_table(name: &str) -> (Appliance, ZeroDb) {
    let (appliance, db) = started(name).await;
    db.create_table("things", CreateTableOptions::new()).await.expect("the table is made");
    (appliance, db)
}
