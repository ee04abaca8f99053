//! Random sequences on the cloud in memory and on two appliances, one through our provider and one through that of AWS, side by side.
//! `CLOUDKIT_SEED` and `CLOUDKIT_OPERATIONS` choose another sequence.

mod aws_subject;
mod memory_subject;
mod zero_subject;

use aws_subject::Aws;
use cloudkit_conformance::random::{Services, compare};
use memory_subject::Memory;
use zero_subject::Zero;

fn memory() -> Services {
    let memory = Memory::new("memory");
    let cloud = memory.cloud.clone();
    Services::new(memory, cloud.storage(), cloud.kv_store(), cloud.queue(), cloud.pubsub())
}

/// A setting of the environment as a number.
fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn memory_zero_and_aws_answer_the_same() {
    let (_zero_appliance, zero) = Zero::start().await.services();
    let (_aws_appliance, aws) = Aws::start().await.services();
    let (seed, count) = (setting("CLOUDKIT_SEED", 12), setting("CLOUDKIT_OPERATIONS", 10_000));
    let outcome = compare(seed, count, &[memory(), zero, aws], REPLAY).await;
    outcome.assert();
    assert!(outcome.count() >= count as u64, "{outcome}");
}

const REPLAY: &str = "CLOUDKIT_SEED={seed} CLOUDKIT_OPERATIONS={count} ZEROCLOUD_BINARY=target/release/zerocloud \
                      cargo test -p cloudkit-conformance --features aws --test random_aws -- --ignored --nocapture";
