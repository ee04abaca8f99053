//! The suite on an appliance, through the provider of AWS. Cases that last for minutes are left to virtual time.
//!
//! `ZEROCLOUD_BINARY=target/release/zerocloud cargo test -p cloudkit-conformance --features aws --test aws -- --ignored`

mod aws_subject;

use aws_subject::Aws;
use cloudkit_conformance::{Report, Verdict};

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
async fn storage_through_aws_conforms() {
    let aws = Aws::start().await;
    complete(cloudkit_conformance::storage(&aws.client.storage(), &aws.subject).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn tables_through_aws_conform() {
    let aws = Aws::start().await;
    complete(cloudkit_conformance::kv(&aws.client.kv_store(), &aws.subject).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn queues_through_aws_conform() {
    let aws = Aws::start().await;
    complete(cloudkit_conformance::queue(&aws.client.queue(), &aws.subject).await);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn topics_through_aws_conform() {
    let aws = Aws::start().await;
    let (topics, queues) = (aws.client.pubsub(), aws.client.queue());
    complete(cloudkit_conformance::pubsub(&topics, &queues, &aws.subject).await);
}
