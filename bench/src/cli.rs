//! The command line: its flags with their defaults and bounds.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compare::CompareArgs;
use crate::limits::Group;
use crate::load::run::{Load, Pace};
use crate::load::schedule::Arrivals;
use crate::prepare::keys::Distribution;
use crate::report::{Outputs, ReportArgs};
use crate::scenario::CacheApi;
use crate::scenarios::cache;
use crate::scenarios::dynamodb::{self, ITEM_BYTES_MIN, QUERIED_ITEM_BYTES_MAX};
use crate::scenarios::multipart::{self, PART_BYTES_MIN};
use crate::scenarios::s3;
use crate::scenarios::sqs::{self, due::Due};

/// Generates load, measures who answers it, and compares servers.
#[derive(Parser)]
#[command(name = "zerobench", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Drives one server.
    Run(RunArgs),
    /// Finds the highest rate of an open loop at which the schedule is kept within 1 %.
    Capacity(RunArgs),
    /// Measures what the machine itself can do, beside outside tools.
    Limit(LimitArgs),
    /// Drives several servers in turns under the same load.
    Compare(CompareArgs),
    /// Measures how long a receive that waits takes to answer once a message is sent, or is due.
    Poll(PollArgs),
    /// Shows a stored report, or what changed from one to another.
    Report(ReportArgs),
    /// Serves a fixed answer, as a limit: the reactor's own, or with the appliance's HTTP around it.
    ServeEcho {
        /// The core on which it runs; by default the first one.
        #[arg(long)]
        core: Option<usize>,
        /// Without HTTP: looks for the end of a head and writes.
        #[arg(long)]
        bare: bool,
        /// The port on loopback; 0 finds a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// The size of the answer's body.
        #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
        body_bytes: u32,
        /// Answers as GetItem does that found an item of so many bytes, for ddb-get.
        #[arg(long, conflicts_with_all = ["bare", "body_bytes"], value_parser = clap::value_parser!(u32).range(32..=400 << 10))]
        item_bytes: Option<u32>,
        /// Answers GET with so many bytes and PUT with none, for loads of caches.
        #[arg(long, conflicts_with_all = ["bare", "body_bytes", "item_bytes"], value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
        blob_bytes: Option<u32>,
        /// Digests each blob that it sends or receives with SHA-256, as a cache does that verifies.
        #[arg(long, requires = "blob_bytes")]
        digest: bool,
    },
}

/// One server and its load.
#[derive(Args)]
pub struct RunArgs {
    /// The server: http://, https://, redis://, nats:// or amqp:// with host and port.
    #[arg(long)]
    pub url: String,
    /// Its process ids, for CPU time and memory; descendants are found.
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// By which right.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Where the report goes.
    #[command(flatten)]
    pub outputs: Outputs,
    /// How it is driven.
    #[command(flatten)]
    pub load: LoadArgs,
    /// With what.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
}

/// Polls of a queue.
#[derive(Args)]
pub struct PollArgs {
    /// The server: http:// or https:// with host and port.
    #[arg(long)]
    pub url: String,
    /// By which right.
    #[command(flatten)]
    pub access: AccessArgs,
    /// The queue; made if it is not there.
    #[arg(long, default_value = "zerobench-poll", value_parser = bucket)]
    pub queue: String,
    /// How many polls.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Of the pauses between sends.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Instead: how long after its due time a message comes that was delayed, or whose visibility ends.
    #[arg(long, value_enum)]
    pub due: Option<Due>,
    /// How long after the request that says so it is due.
    #[arg(long, default_value_t = 2, requires = "due", value_parser = clap::value_parser!(u32).range(1..=900))]
    pub due_seconds: u32,
}

/// Who signs, and whom to trust.
#[derive(Args)]
pub struct AccessArgs {
    /// Access key of signed requests; over other protocols than HTTP the user to log in as, but in a comparison only what such
    /// a server's own key says.
    #[arg(long, env = "ZEROBENCH_ACCESS_KEY")]
    pub access_key: Option<String>,
    /// Its secret.
    #[arg(long, env = "ZEROBENCH_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// The region that signatures name.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// The token that caches are shown.
    #[arg(long, env = "ZEROBENCH_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// How caches are asked.
    #[arg(long, value_enum, default_value_t)]
    pub cache_api: CacheApi,
    /// Trust this certificate (PEM), for https.
    #[arg(long)]
    pub ca: Option<PathBuf>,
}

/// Which limits, where.
#[derive(Args)]
pub struct LimitArgs {
    /// Which groups; all by default.
    #[arg(value_enum)]
    pub groups: Vec<Group>,
    /// Files go here: 1 GiB.
    #[arg(long, default_value = ".")]
    pub directory: PathBuf,
    /// Of each turn.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Turns of ours and of the outside tool's; a figure is their median.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub turns: u16,
    /// Sizes of the values that are appended to a log, each a limit of its own.
    #[arg(long, value_delimiter = ',', default_value = "1024", value_parser = clap::value_parser!(u32).range(0..1 << 20))]
    pub value_bytes: Vec<u32>,
    /// Writes the limits here as JSON, for `compare --limits`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// How a scenario is driven.
#[derive(Args)]
pub struct LoadArgs {
    /// Sends as soon as the answer before has come, instead of on a schedule.
    #[arg(long)]
    pub closed: bool,
    /// Requests per second of the schedule.
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// Requests come at random distances, as from independent callers.
    #[arg(long)]
    pub poisson: bool,
    /// Connections, each with one request in flight unless --streams is given.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub connections: u16,
    /// Speaks HTTP/2, with so many requests in flight on each connection.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub streams: Option<u16>,
    /// Seconds before the measured time.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Ends the measured time of a closed loop after so many answers, good or not.
    #[arg(long, requires = "closed", value_parser = clap::value_parser!(u64).range(1..))]
    pub answers: Option<u64>,
    /// Seconds without a good answer after which a server is given up; by default 2, or a quarter of the measured time.
    #[arg(long)]
    pub silence: Option<f64>,
    /// Cores of the load; by default the last one.
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Of all that is drawn at random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What is sent.
#[derive(Args)]
pub struct ScenarioArgs {
    /// Its name.
    #[arg(value_enum)]
    pub scenario: ScenarioName,
    /// What the echo asks for.
    #[arg(long, default_value = "/")]
    pub path: String,
    /// The bucket, or how the names of tables begin; made if it is not there.
    #[arg(long, default_value = "zerobench", value_parser = bucket)]
    pub bucket: String,
    /// The size of every object or item.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(0..=1 << 30))]
    pub value_bytes: u32,
    /// The size of the largest blob of a cache, where they are of different sizes from --value-bytes on.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1 << 30))]
    pub value_bytes_max: Option<u32>,
    /// Objects or items that are made before the first request of what reads or writes over them.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// Which key (of list and ddb-query: which page) is next; by default unique for puts, uniform for all others.
    #[arg(long, value_enum)]
    pub distribution: Option<DistributionName>,
    /// The exponent of zipf.
    #[arg(long, default_value_t = 0.99)]
    pub theta: f64,
    /// The share of gets in mixed and cache-mix, in percent.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub reads: u8,
    /// Parts of every upload.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub parts: u16,
    /// The size of every part; of uploads in several parts 5 MiB at least.
    #[arg(long, default_value_t = PART_BYTES_MIN, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub part_bytes: u32,
    /// Uploads that are opened before each run, and aborted after it if they were not completed.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub uploads: u32,
    /// Messages that wait in the queue besides, before each run of sqs-send and sqs-receive-delete; in a comparison with each
    /// server that does not say another number by its own backlog=
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub backlog: u32,
    /// The queue is FIFO, with messages of a thousand groups in turn.
    #[arg(long)]
    pub fifo: bool,
    /// Queues that a publish reaches.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub queues: u16,
    /// Signatures say UNSIGNED-PAYLOAD instead of the digest of the body. (Without an access key nothing is signed.)
    #[arg(long)]
    pub unsigned: bool,
}

/// The scenarios.
#[derive(Clone, Copy, ValueEnum)]
pub enum ScenarioName {
    /// A small fixed answer.
    Echo,
    /// S3: uploads.
    Put,
    /// S3: downloads.
    Get,
    /// S3: pages of 1,000 keys.
    List,
    /// S3: downloads and uploads.
    Mixed,
    /// S3: uploads in parts.
    Multipart,
    /// DynamoDB: PutItem.
    DdbPut,
    /// DynamoDB: GetItem.
    DdbGet,
    /// DynamoDB: Query of 100 items.
    DdbQuery,
    /// SQS: SendMessage; over amqp a confirmed publication.
    SqsSend,
    /// SQS: SendMessageBatch of ten; over amqp ten publications that are confirmed together.
    SqsSendBatch,
    /// SQS: ReceiveMessage of one, then DeleteMessage.
    SqsReceiveDelete,
    /// SQS: ReceiveMessage of ten, then DeleteMessageBatch.
    SqsReceiveDeleteBatch,
    /// SNS: Publish.
    SnsPublish,
    /// A build cache: PUT of blobs that it does not have.
    CachePut,
    /// A build cache: GET, every byte compared.
    CacheGet,
    /// A build cache: GET and PUT.
    CacheMix,
}

/// The distributions of keys.
#[derive(Clone, Copy, ValueEnum)]
pub enum DistributionName {
    /// All at equal chance.
    Uniform,
    /// Few of them often.
    Zipf,
    /// Each once; puts go under new keys.
    Unique,
}

impl ScenarioArgs {
    /// What these flags say of an S3 load; nothing when it is another.
    ///
    /// # Errors
    /// In words: a value out of its range.
    pub fn s3(&self, seed: u64) -> Result<Option<s3::Settings>, String> {
        let operation = match self.scenario {
            ScenarioName::Put => s3::Operation::Put,
            ScenarioName::Get => s3::Operation::Get,
            ScenarioName::List => s3::Operation::List,
            ScenarioName::Mixed => s3::Operation::Mixed { reads_percent: self.reads },
            _ => return Ok(None),
        };
        Ok(Some(s3::Settings {
            operation,
            bucket: self.bucket.clone(),
            value_bytes: self.value_bytes as usize,
            key_count: self.keys as usize,
            distribution: self.distribution(operation == s3::Operation::Put)?,
            is_payload_signed: !self.unsigned,
            seed,
        }))
    }

    /// How keys are drawn, where nothing else is said each once if that is a load of writes alone.
    fn distribution(&self, only_writes: bool) -> Result<Distribution, String> {
        if !(self.theta.is_finite() && (0.01..=5.0).contains(&self.theta)) {
            return Err(format!("--theta is 0.01 to 5, not {}", self.theta));
        }
        Ok(match self.distribution {
            Some(DistributionName::Uniform) => Distribution::Uniform,
            Some(DistributionName::Zipf) => Distribution::Zipf { theta: self.theta },
            Some(DistributionName::Unique) => Distribution::Unique,
            None if only_writes => Distribution::Unique,
            None => Distribution::Uniform,
        })
    }

    /// What these flags say of a DynamoDB load; nothing when it is another.
    ///
    /// # Errors
    /// In words: a value out of its range.
    pub fn dynamodb(&self, seed: u64) -> Result<Option<dynamodb::Settings>, String> {
        let operation = match self.scenario {
            ScenarioName::DdbPut => dynamodb::Operation::Put,
            ScenarioName::DdbGet => dynamodb::Operation::Get,
            ScenarioName::DdbQuery => dynamodb::Operation::Query,
            _ => return Ok(None),
        };
        let item_bytes = self.value_bytes as usize;
        let item_bytes_max = match operation {
            dynamodb::Operation::Put | dynamodb::Operation::Get => ITEM_BYTES_MAX,
            dynamodb::Operation::Query => QUERIED_ITEM_BYTES_MAX,
        };
        if !(ITEM_BYTES_MIN..=item_bytes_max).contains(&item_bytes) {
            return Err(format!(
                "--value-bytes is {ITEM_BYTES_MIN} to {item_bytes_max} here, not {item_bytes}"
            ));
        }
        Ok(Some(dynamodb::Settings {
            operation,
            table: self.bucket.clone(),
            item_bytes,
            key_count: self.keys as usize,
            distribution: self.distribution(operation == dynamodb::Operation::Put)?,
            seed,
        }))
    }

    /// What these flags say of a load of a cache; nothing when it is another.
    ///
    /// # Errors
    /// In words: a value out of its range.
    pub fn cache(&self, seed: u64) -> Result<Option<cache::Settings>, String> {
        let operation = match self.scenario {
            ScenarioName::CachePut => cache::Operation::Put,
            ScenarioName::CacheGet => cache::Operation::Get,
            ScenarioName::CacheMix => cache::Operation::Mixed { reads_percent: self.reads },
            _ => return Ok(None),
        };
        let value_bytes_max = self.value_bytes_max.unwrap_or(self.value_bytes);
        if value_bytes_max < self.value_bytes {
            return Err("--value-bytes-max is less than --value-bytes".to_owned());
        }
        // Bodies are told apart by their bytes.
        if self.value_bytes < cache::BODY_BYTES_MIN {
            return Err(format!("--value-bytes is {} or more here", cache::BODY_BYTES_MIN));
        }
        Ok(Some(cache::Settings {
            operation,
            value_bytes_min: self.value_bytes as usize,
            value_bytes_max: value_bytes_max as usize,
            key_count: self.keys as usize,
            distribution: self.distribution(false)?,
            seed,
        }))
    }

    /// What these flags say of a load of queues or topics; nothing when it is another.
    ///
    /// # Errors
    /// In words: a body that is too long or empty.
    pub fn sqs(&self, seed: u64) -> Result<Option<sqs::Settings>, String> {
        let (operation, is_batch) = match self.scenario {
            ScenarioName::SqsSend => (sqs::Operation::Send, false),
            ScenarioName::SqsSendBatch => (sqs::Operation::Send, true),
            ScenarioName::SqsReceiveDelete => (sqs::Operation::Take, false),
            ScenarioName::SqsReceiveDeleteBatch => (sqs::Operation::Take, true),
            ScenarioName::SnsPublish => (sqs::Operation::Publish, false),
            _ => return Ok(None),
        };
        let body_bytes = self.value_bytes as usize;
        if !(1..=sqs::BODY_BYTES_MAX).contains(&body_bytes) {
            return Err(format!("--value-bytes is 1 to {} here, not {body_bytes}", sqs::BODY_BYTES_MAX));
        }
        Ok(Some(sqs::Settings {
            operation,
            queue: self.bucket.clone(),
            body_bytes,
            is_batch,
            is_fifo: self.fifo,
            message_count: self.keys as usize,
            queue_count: self.queues.into(),
            seed,
        }))
    }

    /// What these flags say of uploads in parts; nothing when it is another load.
    ///
    /// # Errors
    /// In words: parts that S3 would refuse.
    pub fn multipart(&self, load: &Load) -> Result<Option<multipart::Settings>, String> {
        if !matches!(self.scenario, ScenarioName::Multipart) {
            return Ok(None);
        }
        if self.parts > 1 && self.part_bytes < PART_BYTES_MIN {
            return Err(format!("parts before the last have {PART_BYTES_MIN} bytes at least"));
        }
        Ok(Some(multipart::Settings {
            bucket: self.bucket.clone(),
            part_bytes: self.part_bytes as usize,
            part_count: self.parts.into(),
            upload_count: (self.uploads as usize).div_ceil(load.cores.len()),
            is_payload_signed: !self.unsigned,
            seed: load.seed,
        }))
    }
}

/// Amazon DynamoDB, "Constraints": an item has 400 KB at most.
const ITEM_BYTES_MAX: usize = 400 << 10;

/// Amazon S3, "General purpose bucket naming rules", as far as characters and length go: none of them needs an escape.
fn bucket(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if (3..=63).contains(&text.len()) && text.bytes().all(is_good) {
        Ok(text.to_owned())
    } else {
        Err("a bucket's name has 3 to 63 of a-z, 0-9, - and .".to_owned())
    }
}

impl LoadArgs {
    /// The load that these flags ask for.
    ///
    /// # Errors
    /// In words: a value out of its range.
    pub fn load(&self) -> Result<Load, String> {
        let seconds = |name: &str, value: f64, max: f64| {
            if value.is_finite() && (0.0..=max).contains(&value) {
                Ok(Duration::from_secs_f64(value))
            } else {
                Err(format!("--{name} is 0 to {max}, not {value}"))
            }
        };
        let measured = seconds("seconds", self.seconds, 3_600.0)?;
        if measured < Duration::from_millis(100) {
            return Err("--seconds is at least 0.1".to_owned());
        }
        if !(self.rate.is_finite() && (0.1..=10_000_000.0).contains(&self.rate)) {
            return Err(format!("--rate is 0.1 to 10000000, not {}", self.rate));
        }
        let cores = if self.cores.is_empty() {
            vec![*ring::cores().last().ok_or("no core may be used")?]
        } else {
            self.cores.clone()
        };
        if usize::from(self.connections) < cores.len() {
            return Err("a core needs at least one connection".to_owned());
        }
        let arrivals = if self.poisson { Arrivals::Poisson } else { Arrivals::Even };
        Ok(Load {
            pace: if self.closed { Pace::Closed } else { Pace::Open { rate: self.rate, arrivals } },
            connections: self.connections.into(),
            streams: self.streams.unwrap_or(0).into(),
            warm_up: seconds("warm-up", self.warm_up, 600.0)?,
            measured,
            answers_max: self.answers,
            silence_max: self.silence.map(|silence| seconds("silence", silence, 3_600.0)).transpose()?,
            cores,
            seed: self.seed,
        })
    }
}
