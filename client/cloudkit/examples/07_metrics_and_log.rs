//! Figures and log entries of every request, in places of one's own.
//!
//! `cargo run -p cloudkit --example 07_metrics_and_log`

use async_trait::async_trait;
use cloudkit::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counts operations and their time.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<String, (u32, u32, Duration)>>);

#[async_trait]
impl MetricsCollector for Ledger {
    async fn record(&self, metrics: OperationMetrics) {
        if let Ok(mut ledger) = self.0.lock() {
            let (count, failures, time) =
                ledger.entry(format!("{}/{}", metrics.service, metrics.operation)).or_default();
            *count += 1;
            *failures += u32::from(metrics.outcome == OperationOutcome::Failure);
            *time += metrics.duration;
        }
    }

    async fn increment_counter(&self, _name: &str, _value: u64, _tags: &[(&str, &str)]) {}

    async fn record_gauge(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}

    async fn record_histogram(&self, _name: &str, _value: f64, _tags: &[(&str, &str)]) {}
}

/// One line for each entry.
struct Lines;

#[async_trait]
impl Logger for Lines {
    async fn log(&self, entry: LogEntry) {
        println!("{} {}: {}", entry.level, entry.target, entry.message);
    }

    fn is_enabled(&self, _level: cloudkit::spi::LogLevel) -> bool {
        true
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> CloudResult<()> {
    let ledger = Arc::new(Ledger::default());
    let zero = CloudKit::zero().metrics(ledger.clone()).logger(Lines).build().await?;
    let storage = zero.storage();
    let outcome = async {
        storage.create_bucket("example-figures").await?;
        storage.put_object("example-figures", "k", b"v").await?;
        storage.get_object("example-figures", "k").await?;
        storage.delete_object("example-figures", "k").await?;
        storage.delete_bucket("example-figures").await
    };
    let outcome = outcome.await;
    if let Ok(ledger) = ledger.0.lock() {
        for (operation, (count, failures, time)) in &*ledger {
            println!("{operation:<24} {count:>3} times, {failures} failures, {time:?}");
        }
    }
    outcome
}
