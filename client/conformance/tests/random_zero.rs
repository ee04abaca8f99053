//! Random sequences on the cloud in memory and on an appliance, side by side. `CLOUDKIT_SEED` and `CLOUDKIT_OPERATIONS` choose another
//! sequence.

mod memory_subject;
mod zero_subject;

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
async fn memory_and_an_appliance_answer_the_same() {
    let (_appliance, zero) = Zero::start().await.services();
    let (seed, count) = (setting("CLOUDKIT_SEED", 11), setting("CLOUDKIT_OPERATIONS", 1_000));
    let outcome = compare(seed, count, &[memory(), zero], REPLAY).await;
    outcome.assert();
    assert!(outcome.count() >= count as u64, "{outcome}");
}

const REPLAY: &str = "CLOUDKIT_SEED={seed} CLOUDKIT_OPERATIONS={count} ZEROCLOUD_BINARY=target/release/zerocloud \
                      cargo test -p cloudkit-conformance --test random_zero -- --ignored --nocapture";
