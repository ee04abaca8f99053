//! Counters whose increments go through a service that loses replies: no increment is lost, and none is applied twice.
//!
//! An increment is a read, and a put on the condition that nobody has written since. A writer whose reply is lost reads again
//! and finds in the counter itself whether its increment took effect: the counter tells how many of each writer did.

#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use cloudkit_core::api::{
    Condition, CreateTableOptions, GetStreamOptions, KeyValueStore, KvPutOptions, ObjectStorage,
    PutStreamOptions,
};
use cloudkit_core::common::{CloudError, CloudResult};
use cloudkit_testing::{Chance, Fault, FaultPlan, Faulty, MemoryCloud, MemoryDb, MemoryStore, When};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counter {
    sum: u64,
    /// How many increments of each writer took effect.
    of: Vec<u64>,
}

impl Counter {
    fn new() -> Self {
        Self { sum: 0, of: vec![0; WRITERS] }
    }

    fn incremented(&self, writer: usize) -> Self {
        let mut next = self.clone();
        next.sum += 1;
        next.of[writer] += 1;
        next
    }
}

/// A counter behind a service that fails.
trait Place: Send + Sync + 'static {
    /// What it holds, and what a put must name for it to be unchanged.
    fn read(&self) -> impl Future<Output = CloudResult<(Counter, String)>> + Send;
    fn put_if(&self, counter: &Counter, unchanged: &str) -> impl Future<Output = CloudResult<()>> + Send;
}

impl Place for Faulty<MemoryDb> {
    async fn read(&self) -> CloudResult<(Counter, String)> {
        let counter: Counter = self.get("counters", "one").await?.expect("the counter was made");
        let sum = counter.sum.to_string();
        Ok((counter, sum))
    }

    async fn put_if(&self, counter: &Counter, unchanged: &str) -> CloudResult<()> {
        let sum: u64 = unchanged.parse().expect("a sum of read()");
        let condition = Some(Condition::Equals(String::from("sum"), json!(sum)));
        let options = KvPutOptions { condition, return_old: false };
        self.put_with_options("counters", "one", counter, options).await.map(|_| ())
    }
}

impl Place for Faulty<MemoryStore> {
    async fn read(&self) -> CloudResult<(Counter, String)> {
        let object = self.get_stream("counters", "one", GetStreamOptions::new()).await?;
        let etag = object.meta.etag.expect("the store tells entity tags");
        Ok((serde_json::from_slice(&object.body.collect(10_000).await?)?, etag))
    }

    async fn put_if(&self, counter: &Counter, unchanged: &str) -> CloudResult<()> {
        let body = serde_json::to_vec(counter)?;
        let options = PutStreamOptions::new().if_match(unchanged);
        self.put_stream("counters", "one", body.into(), options).await?;
        Ok(())
    }
}

fn plan(put: &'static str) -> FaultPlan {
    FaultPlan::new(7)
        .fault_of(put, When::Chance(0.1), Fault::ReplyLost)
        .fault_of(put, When::Chance(0.05), Fault::Connection)
        .fault(When::Chance(0.01), Fault::Unavailable)
}

async fn table() -> Faulty<MemoryDb> {
    let table = MemoryCloud::new().kv_store();
    table.create_table("counters", CreateTableOptions::new()).await.unwrap();
    table.put("counters", "one", &Counter::new()).await.unwrap();
    Faulty::new(table, plan("put_with_options"))
}

async fn bucket() -> Faulty<MemoryStore> {
    let store = MemoryCloud::new().storage();
    store.create_bucket("counters").await.unwrap();
    store.put_object("counters", "one", &serde_json::to_vec(&Counter::new()).unwrap()).await.unwrap();
    Faulty::new(store, plan("put_stream"))
}

/// Increments of one writer. Gives how many of its puts were made without an answer that it could use.
async fn write<P: Place>(place: P, writer: usize, count: u64, looks: bool) -> u64 {
    let mut chance = Chance::new(writer as u64);
    let (mut done, mut unknown) = (0, 0);
    while done < count {
        let (counter, unchanged) = match place.read().await {
            Ok(found) => found,
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                continue;
            }
        };
        if looks && counter.of[writer] > done {
            // The put before took effect, and only its reply is lost.
            assert_eq!(counter.of[writer], done + 1, "one increment was applied twice");
            done += 1;
            continue;
        }
        // Others come in between, so that conditions fail as well.
        if chance.below(4) == 0 {
            tokio::task::yield_now().await;
        }
        match place.put_if(&counter.incremented(writer), &unchanged).await {
            Ok(()) => done += 1,
            Err(error) if error.is_precondition_failed() => {}
            Err(error @ CloudError::Network(_)) => {
                assert!(error.is_retryable());
                unknown += 1;
            }
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    unknown
}

/// Increments of all writers; gives how many puts had no usable answer.
async fn write_all<P: Place + Clone>(place: &P, count: u64, looks: bool) -> u64 {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(place.clone(), writer, count / WRITERS as u64, looks)))
        .collect();
    let mut unknown = 0;
    for writer in writers {
        unknown += writer.await.unwrap();
    }
    unknown
}

fn lost<T>(service: &Faulty<T>) -> usize {
    service.log().iter().filter(|one| one.fault == Fault::ReplyLost).count()
}

#[tokio::test]
async fn a_hundred_thousand_increments_of_an_item_are_applied_once_each() {
    let table = table().await;
    let unknown = write_all(&table, 100_000, true).await;
    table.heal();
    let (counter, _) = table.read().await.unwrap();
    assert_eq!(counter, Counter { sum: 100_000, of: vec![25_000; WRITERS] });
    assert!(lost(&table) > 5_000 && unknown > 5_000, "{} {unknown}", lost(&table));
}

#[tokio::test]
async fn increments_of_an_object_are_applied_once_each() {
    let bucket = bucket().await;
    let unknown = write_all(&bucket, 20_000, true).await;
    bucket.heal();
    let (counter, _) = bucket.read().await.unwrap();
    assert_eq!(counter, Counter { sum: 20_000, of: vec![5_000; WRITERS] });
    assert!(lost(&bucket) > 1_000 && unknown > 1_000, "{} {unknown}", lost(&bucket));
}

#[tokio::test]
async fn a_writer_that_takes_a_lost_reply_for_a_lost_write_counts_twice() {
    let table = table().await;
    write_all(&table, 2_000, false).await;
    table.heal();
    let (counter, _) = table.read().await.unwrap();
    assert_eq!(counter.sum, 2_000 + lost(&table) as u64, "each lost reply is one increment too many");
    assert!(lost(&table) > 0);
}

const WRITERS: usize = 4;
