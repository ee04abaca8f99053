//! One client with tables of its own, and the reference beside it: every reply is foretold.
//! Invariant: tables of different lanes have different names, so lanes may run beside each other.

#![allow(dead_code, reason = "each test binary uses its own part")]

mod audit;
pub use audit::PASSED_SECONDS;
mod batches;
mod expressions;
mod pages;
mod reads;
mod refusals;
mod statements;
mod tables;
mod transactions;
mod values;
mod writes;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::client::{Answer, Client};
use crate::reference::random::Random;
use crate::reference::table::Table;
use transactions::Sent;

/// One client's run.
pub struct Lane<C> {
    pub client: C,
    pub random: Random,
    pub counts: BTreeMap<String, u64>,
    number: usize,
    tables: Vec<Table>,
    tables_made: usize,
    indexes_made: usize,
    /// Table and name of an index that is being built.
    building: Option<(String, String)>,
    tokens: Vec<Sent>,
    tokens_made: usize,
    /// What the steps so far said, for the report of a failure.
    last: String,
    /// Seconds that expiry times are set to.
    expiries: Vec<i64>,
}

impl<C> Lane<C> {
    pub fn new(client: C, number: usize, seed: u64) -> Lane<C> {
        Lane {
            client,
            random: Random(seed.wrapping_add(number as u64 * 0x1_0000_0001)),
            counts: BTreeMap::new(),
            number,
            tables: Vec::new(),
            tables_made: 0,
            indexes_made: 0,
            building: None,
            tokens: Vec::new(),
            tokens_made: 0,
            last: String::new(),
            expiries: vec![1_000],
        }
    }

    /// The same lane with another client, behind a restart.
    pub fn with_client<D>(self, client: D) -> Lane<D> {
        Lane {
            client,
            random: self.random,
            counts: self.counts,
            number: self.number,
            tables: self.tables,
            tables_made: self.tables_made,
            indexes_made: self.indexes_made,
            building: self.building,
            tokens: self.tokens,
            tokens_made: self.tokens_made,
            last: self.last,
            expiries: self.expiries,
        }
    }
}

impl<C: Client> Lane<C> {
    /// One random operation, judged.
    pub async fn step(&mut self) {
        if self.tables.len() < TABLE_COUNT {
            return self.create_table().await;
        }
        match self.random.below(1_000) {
            0..=179 => self.put().await,
            180..=219 => self.statement().await,
            220..=459 => self.update().await,
            460..=549 => self.delete().await,
            550..=619 => self.get().await,
            620..=699 => self.query().await,
            700..=729 => self.scan().await,
            730..=769 => self.batch_get().await,
            770..=809 => self.batch_write().await,
            810..=884 => self.transact_write().await,
            885..=914 => self.transact_get().await,
            915..=974 => self.refused().await,
            975..=991 => self.describe().await,
            992..=994 => self.delete_table().await,
            _ => self.change_indexes().await,
        }
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// A random table; lanes have some whenever they do anything else than make one.
    fn pick(&mut self) -> usize {
        self.random.below(self.tables.len())
    }

    async fn call(&mut self, operation: &str, request: &Json) -> Answer {
        let answer = self.client.call(operation, request).await;
        self.last = format!(
            "lane {}: {operation} {request}\nanswered {} {}",
            self.number, answer.status, answer.body
        );
        answer
    }

    /// Sends what must succeed; gives its body.
    async fn done(&mut self, operation: &str, request: &Json) -> Json {
        let answer = self.call(operation, request).await;
        self.check(answer.status == 200, "should succeed");
        answer.body
    }

    /// The reply must be this error. Counts it.
    fn failed(&mut self, operation: &str, answer: &Answer, error: &str) {
        self.check(answer.status == 400 && answer.error() == Some(error), &format!("should be {error}"));
        self.count(&format!("{operation} {error}"));
    }

    #[track_caller]
    fn check(&self, is_right: bool, what: &str) {
        assert!(is_right, "{what}\n{}", self.last);
    }

    /// The reply must be exactly this.
    #[track_caller]
    fn same(&self, found: &Json, wanted: &Json) {
        assert_eq!(found, wanted, "\n{}", self.last);
    }

    fn request(&self, table: usize) -> Json {
        json!({"TableName": self.tables[table].name})
    }
}

/// Tables that a lane has at a time.
const TABLE_COUNT: usize = 3;
