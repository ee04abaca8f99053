//! The suite on the cloud in memory, under virtual time.

mod memory_subject;

use cloudkit_conformance::Report;
use memory_subject::Memory;

/// Every case ran, since the cloud in memory can do everything.
fn complete(report: Report) {
    report.assert();
    assert_eq!(report.counts().2, 0, "{report}");
}

#[tokio::test(start_paused = true)]
async fn storage_in_memory_conforms() {
    let memory = Memory::new("memory");
    complete(cloudkit_conformance::storage(&memory.cloud.storage(), &memory).await);
}

#[tokio::test(start_paused = true)]
async fn tables_in_memory_conform() {
    let memory = Memory::new("memory");
    complete(cloudkit_conformance::kv(&memory.cloud.kv_store(), &memory).await);
}

#[tokio::test(start_paused = true)]
async fn queues_in_memory_conform() {
    let memory = Memory::new("memory");
    complete(cloudkit_conformance::queue(&memory.cloud.queue(), &memory).await);
}

#[tokio::test(start_paused = true)]
async fn topics_in_memory_conform() {
    let memory = Memory::new("memory");
    let (topics, queues) = (memory.cloud.pubsub(), memory.cloud.queue());
    complete(cloudkit_conformance::pubsub(&topics, &queues, &memory).await);
}
