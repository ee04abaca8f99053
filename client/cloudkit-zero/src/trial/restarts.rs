//! An appliance that is killed and started again while a client works: no wrong answer, and nothing lost that was acknowledged.

use super::appliance::Appliance;
use super::between::Between;
use super::*;
use crate::ZeroClient;
use cloudkit_core::api::ObjectStorage;
use cloudkit_core::common::CloudResult;
use std::sync::atomic::{AtomicU32, Ordering};

const WORKERS: u32 = 16;
const PUTS_PER_WORKER: u32 = 150;
/// Calls after which it is killed.
const KILLS: [u32; 3] = [400, 1_600, 3_000];

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
    for number in 0..PUTS_PER_WORKER {
        let (key, bytes) = (format!("{worker}/{number}"), body(worker, number));
        at_last(&calls, || storage.put_object("bucket", &key, &bytes)).await;
        let older = number / 2;
        let key = format!("{worker}/{older}");
        let found = at_last(&calls, || storage.get_object("bucket", &key)).await;
        assert!(found == body(worker, older), "{key} has other bytes");
    }
}

#[tokio::test]
async fn an_appliance_that_is_killed_loses_nothing_that_was_acknowledged() {
    let Some(mut appliance) = Appliance::start("restarts", &[], &[]) else { return };
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
    for kill in KILLS {
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
    for worker in 0..WORKERS {
        for number in 0..PUTS_PER_WORKER {
            let key = format!("{worker}/{number}");
            let found = at_last(&calls, || storage.get_object("bucket", &key)).await;
            assert!(found == body(worker, number), "{key} has other bytes");
        }
    }
}
