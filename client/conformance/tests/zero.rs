//! The suite on an appliance, through the zero provider. Cases that last for minutes are left to virtual time.
//!
//! `ZEROCLOUD_BINARY=target/release/zerocloud cargo test -p cloudkit-conformance --test zero -- --ignored`

mod zero_subject;

use cloudkit_conformance::{Report, Verdict};
use zero_subject::Zero;

/// Every case passed, or lasts for minutes.
fn complete(report: Report) {
    report.assert();
    for case in &report.cases {
        if let Verdict::Skipped(why) = &case.verdict {
            assert!(why.contains("lasts for minutes"), "{}: {why}", case.name);
        }
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn storage_of_an_appliance_conforms() {
    let zero = Zero::start().await;
    complete(cloudkit_conformance::storage(&zero.client.storage(), &zero.subject).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn tables_of_an_appliance_conform() {
    let zero = Zero::start().await;
    complete(cloudkit_conformance::kv(&zero.client.kv_store(), &zero.subject).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn queues_of_an_appliance_conform() {
    let zero = Zero::start().await;
    complete(cloudkit_conformance::queue(&zero.client.queue(), &zero.subject).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn topics_of_an_appliance_conform() {
    let zero = Zero::start().await;
    let (topics, queues) = (zero.client.pubsub(), zero.client.queue());
    complete(cloudkit_conformance::pubsub(&topics, &queues, &zero.subject).await);
}
