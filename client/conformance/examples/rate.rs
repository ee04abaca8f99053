//! Small calls through our provider and through the AWS SDK for Rust, in turns, against one appliance:
//! `ZEROCLOUD_BINARY=.. rate [ROUNDS] [SECONDS] [CONCURRENCY]`, 5 rounds of 2 s with 32 at once unless told otherwise.
//!
//! Ours has one connection. The SDK has its defaults: it speaks HTTP/1.1 to a plain endpoint and opens as many connections as it has
//! calls at once; how many each has is counted and printed. The CPU time is that of this process, so that the appliance's is not in it.

use bytes::Bytes;
use cloudkit_conformance::Appliance;
use cloudkit_core::api::{CreateTableOptions, KeyValueStore, MessageQueue, ObjectStorage};
use cloudkit_core::common::Credentials;
use cloudkit_core::spi::StaticAuthProvider;
use cloudkit_zero::ZeroClient;
use serde_json::{Value, json};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is called.
#[derive(Clone, Copy, Debug)]
enum Operation {
    GetItem,
    PutItem,
    GetObject,
    PutObject,
    SendMessage,
}

const OPERATIONS: [Operation; 5] = [
    Operation::GetItem,
    Operation::PutItem,
    Operation::GetObject,
    Operation::PutObject,
    Operation::SendMessage,
];

/// One of both clients.
trait Side: Clone + Send + Sync + 'static {
    /// One call; `lane` tells which of those at once it is.
    fn call(&self, operation: Operation, lane: usize) -> impl Future<Output = Outcome<()>> + Send;
}

/// Our provider on one connection.
#[derive(Clone)]
struct Ours {
    client: ZeroClient,
    queue_url: Arc<str>,
}

/// The SDK as it comes.
#[derive(Clone)]
struct Sdk {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    queue_url: Arc<str>,
}

impl Side for Ours {
    async fn call(&self, operation: Operation, lane: usize) -> Outcome<()> {
        let key = format!("key-{lane}");
        match operation {
            Operation::GetItem => {
                let item: Option<Value> = self.client.kv_store().get(PLACE, &key).await?;
                item.map(drop).ok_or_else(|| "no item".into())
            }
            Operation::PutItem => Ok(self.client.kv_store().put(PLACE, &key, &json!({"text": TEXT})).await?),
            Operation::GetObject => whole(self.client.storage().get_object(PLACE, &key).await?),
            Operation::PutObject => {
                Ok(self.client.storage().put_object(PLACE, &key, &[7; BODY_BYTES]).await?)
            }
            Operation::SendMessage => Ok(self.client.queue().send(&self.queue_url, TEXT).await.map(drop)?),
        }
    }
}

impl Side for Sdk {
    async fn call(&self, operation: Operation, lane: usize) -> Outcome<()> {
        let key = format!("key-{lane}");
        let text = |text: &str| AttributeValue::S(text.into());
        match operation {
            Operation::GetItem => {
                let call = self.dynamodb.get_item().table_name(PLACE).key("id", text(&key)).send();
                call.await?.item.map(drop).ok_or_else(|| "no item".into())
            }
            Operation::PutItem => {
                let call = self.dynamodb.put_item().table_name(PLACE).item("id", text(&key));
                call.item("text", text(TEXT)).send().await?;
                Ok(())
            }
            Operation::GetObject => {
                let output = self.s3.get_object().bucket(PLACE).key(&key).send().await?;
                whole(output.body.collect().await?.into_bytes())
            }
            Operation::PutObject => {
                let body = Bytes::from(vec![7; BODY_BYTES]).into();
                self.s3.put_object().bucket(PLACE).key(&key).body(body).send().await?;
                Ok(())
            }
            Operation::SendMessage => {
                let call = self.sqs.send_message().queue_url(&*self.queue_url).message_body(TEXT).send();
                call.await?;
                Ok(())
            }
        }
    }
}

fn whole(body: Bytes) -> Outcome<()> {
    if body.len() == BODY_BYTES { Ok(()) } else { Err(format!("{} bytes", body.len()).into()) }
}

/// Calls a second, and microseconds of this process's CPU for each.
#[derive(Clone, Copy)]
struct Rate {
    calls: f64,
    cpu_us: f64,
}

/// As many calls at once as there are lanes, for so long.
async fn measure(side: &impl Side, operation: Operation, lanes: usize, time: Duration) -> Outcome<Rate> {
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    let mut tasks = Vec::with_capacity(lanes);
    for lane in 0..lanes {
        let (side, count, stop) = (side.clone(), count.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                side.call(operation, lane).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Ok(())
        }));
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let count = count.load(Ordering::Relaxed) as f64;
    Ok(Rate { calls: count / elapsed, cpu_us: cpu * 1e6 / count })
}

/// User and system time of this process (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) / 100.0).ok_or_else(|| "no times".into())
}

/// Connections to a port of this machine, as those who opened them see it (proc_net_tcp.rst: remote address, state 01).
fn connections(url: &str) -> Outcome<usize> {
    let port: u16 = url.rsplit(':').next().unwrap_or_default().parse()?;
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let to_port = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace().skip(2);
        words.next().is_some_and(|remote| remote.ends_with(&to_port)) && words.next() == Some("01")
    };
    Ok(table.lines().skip(1).filter(is_one).count())
}

async fn ours(url: &str, keys: &Credentials) -> Outcome<Ours> {
    let builder = ZeroClient::builder().endpoint(url).connections(1);
    let client = builder.auth_provider(StaticAuthProvider::new(keys.clone())).build().await?;
    client.storage().create_bucket(PLACE).await?;
    client.kv_store().create_table(PLACE, CreateTableOptions::new()).await?;
    let queue_url = client.queue().create_queue(PLACE).await?.into();
    Ok(Ours { client, queue_url })
}

/// The settings that each of the SDK's clients needs to find the appliance, and nothing else.
macro_rules! sdk {
    ($sdk:ident, $url:expr, $keys:expr) => {
        $sdk::Config::builder()
            .behavior_version_latest()
            .region($sdk::config::Region::new("us-east-1"))
            .endpoint_url($url)
            .credentials_provider($sdk::config::Credentials::new(
                &$keys.access_key,
                &$keys.secret_key,
                None,
                None,
                "rate",
            ))
    };
}

fn sdk(url: &str, keys: &Credentials, queue_url: Arc<str>) -> Sdk {
    let s3 = sdk!(aws_sdk_s3, url, keys).force_path_style(true).build();
    Sdk {
        s3: aws_sdk_s3::Client::from_conf(s3),
        dynamodb: aws_sdk_dynamodb::Client::from_conf(sdk!(aws_sdk_dynamodb, url, keys).build()),
        sqs: aws_sdk_sqs::Client::from_conf(sdk!(aws_sdk_sqs, url, keys).build()),
        queue_url,
    }
}

fn number<T: std::str::FromStr>(index: usize, otherwise: T) -> Outcome<T> {
    match std::env::args().nth(index) {
        None => Ok(otherwise),
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no number").into()),
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let (rounds, seconds, lanes): (usize, f64, usize) = (number(1, 5)?, number(2, 2.0)?, number(3, 32)?);
    let time = Duration::from_secs_f64(seconds);
    let appliance = Appliance::start()?;
    let (url, keys) = (appliance.url(), appliance.credentials()?);
    let ours = ours(url, &keys).await?;
    let sdk = sdk(url, &keys, ours.queue_url.clone());
    for (operation, lane) in [Operation::PutItem, Operation::PutObject]
        .into_iter()
        .flat_map(|one| (0..lanes).map(move |lane| (one, lane)))
    {
        ours.call(operation, lane).await?;
    }
    let own = connections(url)?;
    println!("{lanes} at once, {rounds} rounds of {seconds} s each");
    for operation in OPERATIONS {
        let mut ratios = Vec::with_capacity(rounds);
        for round in 1..=rounds {
            // Each goes first every other time.
            let (a, b) = if round % 2 == 1 {
                let a = measure(&ours, operation, lanes, time).await?;
                (a, measure(&sdk, operation, lanes, time).await?)
            } else {
                let b = measure(&sdk, operation, lanes, time).await?;
                (measure(&ours, operation, lanes, time).await?, b)
            };
            let of = |rate: Rate| format!("{:8.0} calls/s {:7.1} us", rate.calls, rate.cpu_us);
            let ratio = a.calls / b.calls;
            println!("{operation:<12?} round {round}: ours {}, SDK {}, ratio {ratio:.2}", of(a), of(b));
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(rounds / 2).copied().unwrap_or_default();
        let others = connections(url)?.saturating_sub(own);
        println!("{operation:<12?} median ratio {median:.2}; connections: ours {own}, SDK {others}");
    }
    Ok(())
}

/// Name of the bucket, the table and the queue.
const PLACE: &str = "rate-example";
const BODY_BYTES: usize = 1024;
const TEXT: &str =
    "a text of about a hundred bytes, as an item or a message of a small program may well have in it, say";
