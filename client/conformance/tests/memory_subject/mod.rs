//! The cloud in memory as a subject of the suite.

use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_conformance::{Names, Subject, Time};
use cloudkit_testing::MemoryCloud;

/// A cloud in memory on the clock of the runtime.
pub struct Memory {
    name: String,
    /// The cloud.
    pub cloud: MemoryCloud,
    names: Names,
}

impl Memory {
    /// A new cloud.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), cloud: MemoryCloud::new(), names: Names::new("memory") }
    }
}

#[async_trait]
impl Subject for Memory {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn fresh(&self, what: &str) -> String {
        self.names.fresh(what)
    }

    // The clock of the cloud is that of the runtime, which the tests pause.
    fn time(&self) -> Time {
        Time::Virtual
    }

    fn endpoint(&self, queue_name: &str, _: &str) -> String {
        format!("arn:aws:sqs:memory:000000000000:{queue_name}")
    }

    async fn open(&self, url: &str) -> Option<Result<Bytes, String>> {
        Some(self.cloud.open(url).map_err(|error| error.to_string()))
    }

    async fn open_put(&self, url: &str, data: &[u8]) -> Option<Result<(), String>> {
        Some(self.cloud.open_put(url, data).map_err(|error| error.to_string()))
    }
}
