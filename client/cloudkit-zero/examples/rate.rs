//! How many small calls a second one connection carries, and what they cost: `rate URL CREDENTIALS_FILE [CONCURRENCY] [SECONDS]`.
//! Makes bucket `rate-example` with one object of 1 KiB and gets it over and over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloudkit_zero::call::{Caller, Request, Settings};
use cloudkit_zero::credentials::{Chain, Surroundings};
use cloudkit_zero::encode::object_path;
use cloudkit_zero::pool::PoolOptions;
use http_types::Method;

/// One file of credentials and nothing else.
struct File(PathBuf);

impl Surroundings for File {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "ZERO_CREDENTIALS_FILE").then(|| self.0.display().to_string())
    }

    fn file(&self, path: &Path) -> std::io::Result<Option<String>> {
        std::fs::read_to_string(path).map(Some)
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (url, file) =
        arguments.next().zip(arguments.next()).ok_or("rate URL CREDENTIALS_FILE [CONCURRENCY] [SECONDS]")?;
    let concurrency: usize = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let pool = PoolOptions { connections_max: 1, ..PoolOptions::default() };
    let keys = Arc::new(Chain(File(file.into())));
    let caller = Caller::new(Settings { pool, ..Settings::new(url, keys) })?;
    caller.call(Request::new("s3", Method::PUT, object_path("rate-example", None))).await?;
    let key = object_path("rate-example", Some("k"));
    let body = Bytes::from(vec![7; 1024]).into();
    caller.call(Request { body, ..Request::new("s3", Method::PUT, key.as_str()) }).await?;

    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let mut tasks = Vec::new();
    for _ in 0..concurrency {
        let (caller, count, stop, key) = (caller.clone(), count.clone(), stop.clone(), key.clone());
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answered = caller
                    .call(Request::new("s3", Method::GET, key.as_str()))
                    .await
                    .map_err(|e| e.to_string())?;
                let mut body = answered.reply.body;
                let got = body.collect(4096).await.map_err(|e| e.to_string())?;
                if got.len() != 1024 {
                    return Err(format!("{} bytes", got.len()));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        }));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let count = count.load(Ordering::Relaxed) as f64;
    println!(
        "{concurrency} at once: {:.0} calls/s, {:.1} us of client CPU each",
        count / elapsed,
        cpu * 1e6 / count
    );
    Ok(())
}
