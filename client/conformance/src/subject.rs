//! What the suite must know of a provider beside its traits.

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How time passes for a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// At once: [`Subject::pass`] moves the subject's clock. Cases that last for minutes run.
    Virtual,
    /// Really. Cases that last for minutes are skipped and listed.
    Real,
}

/// A provider under test, as far as its traits do not describe it.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> String;

    /// A name that no resource has yet, of lower-case letters, digits and hyphens, at most 40 bytes.
    fn fresh(&self, what: &str) -> String;

    /// How its time passes.
    fn time(&self) -> Time;

    /// Lets its time pass.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The ARN of this queue, whose name and address are given; its address where it has none. `subscribe` takes both.
    fn endpoint(&self, queue_name: &str, queue_url: &str) -> String {
        let _ = queue_name;
        queue_url.to_owned()
    }

    /// Reads what a signed address leads to, without credentials; `None` if the subject has no way to do it. The text of the
    /// error is for people.
    async fn open(&self, url: &str) -> Option<Result<Bytes, String>> {
        let _ = url;
        None
    }

    /// Writes where a signed address leads to, without credentials; `None` if the subject has no way to do it.
    async fn open_put(&self, url: &str, data: &[u8]) -> Option<Result<(), String>> {
        let _ = (url, data);
        None
    }
}

/// Fresh names: a word for the run, what it is for, and a number.
#[derive(Debug)]
pub struct Names {
    run: String,
    next: AtomicU64,
}

impl Names {
    /// Names of this run. On a server that outlives the run, the word must be a new one each time.
    pub fn new(run: impl Into<String>) -> Self {
        Self { run: run.into(), next: AtomicU64::new(0) }
    }

    /// A name that this has not given yet.
    pub fn fresh(&self, what: &str) -> String {
        format!("{what}-{}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Names {
    /// Names of a run whose word is random.
    fn default() -> Self {
        Self::new(format!("{:08x}", cloudkit_core::common::random_u64() as u32))
    }
}
