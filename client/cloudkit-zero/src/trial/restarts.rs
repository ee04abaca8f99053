//! An appliance that is killed and started again while a client works: no wrong answer, and nothing lost that was acknowledged.

use super::appliance::Appliance;
use super::between::Between;
use super::*;
use crate::ZeroClient;
use cloudkit_core::api::ObjectStorage;
use cloudkit_core::common::CloudResult;
use std::sync::atomic::{AtomicU32, Ordering};

const WORKERS: u32 = 16;

/// Calls of all workers: as many as `CLOUDKIT_RESTART_CALLS` says, or some.
fn call_count() -> u32 {
    std::env::var("CLOUDKIT_RESTART_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4_800)
}

/// Half of its calls are puts.
fn puts_per_worker() -> u32 {
    call_count() / WORKERS / 2
}

/// After how many calls it is killed, each time.
fn kills() -> [u32; 3] {
    [call_count() / 12, call_count() / 3, call_count() * 5 / 8]
}

fn body(worker: u32, number: u32) -> Vec<u8> {
    format!("{worker}/{number};").repeat(1 + (number as usize * 37) % 400).into_bytes()
}

/// A call until it succeeds. While the appliance is away it fails, and in no other way than that.
async fn at_last<T, F>(calls: &AtomicU32, call: impl Fn() -> F) -> T
where
    F: Future<Output = CloudResult<T>>,
{
    loop {
        let outcome = call().await;
        calls.fetch_add(1, Ordering::SeqCst);
        match outcome {
            Ok(outcome) => return outcome,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Puts its objects, and after each reads one that was acknowledged before.
async fn work(client: ZeroClient, worker: u32, calls: Arc<AtomicU32>) {
    let storage = client.storage();
    for number in 0..puts_per_worker() {
        let (key, bytes) = (format!("{worker}/{number}"), body(worker, number));
        at_last(&calls, || storage.put_object("bucket", &key, &bytes)).await;
        let older = number / 2;
        let key = format!("{worker}/{older}");
        let found = at_last(&calls, || storage.get_object("bucket", &key)).await;
        assert!(found == body(worker, older), "{key} has other bytes");
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn an_appliance_that_is_killed_loses_nothing_that_was_acknowledged() {
    let mut appliance = Appliance::start("restarts", &[], &[]);
    let between = Between::start(&appliance.url, 0, 0).await;
    let settings = Settings { url: between.url.clone(), ..appliance.settings() };
    let client = ZeroClient::over(Caller::new(settings).expect("the URL is good"), None, None);
    client.storage().create_bucket("bucket").await.expect("the bucket is made");
    let calls = Arc::new(AtomicU32::new(0));
    let storage = client.storage();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let (client, calls) = (client.clone(), calls.clone());
        workers.spawn(work(client, worker, calls));
    }
    for kill in kills() {
        while calls.load(Ordering::SeqCst) < kill {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        appliance = tokio::task::spawn_blocking(move || {
            appliance.restart();
            appliance
        })
        .await
        .expect("it starts again");
        between.lead_to(&appliance.url);
    }
    workers.join_all().await;
    println!("{} calls, {} kills", calls.load(Ordering::SeqCst), kills().len());
    for worker in 0..WORKERS {
        for number in 0..puts_per_worker() {
            let key = format!("{worker}/{number}");
            let found = at_last(&calls, || storage.get_object("bucket", &key)).await;
            assert!(found == body(worker, number), "{key} has other bytes");
        }
    }
}
