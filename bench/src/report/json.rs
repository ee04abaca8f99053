//! A report as data: what was measured, of whom, on which machine, by which command. Everything that is shown is made of it.
//!
//! Version 1, one JSON object:
//! | field | what |
//! |---|---|
//! | version | 1; a reader refuses others |
//! | command, began, commit | to run it again: secrets left out, RFC 3339 in UTC, of the checkout |
//! | ended_early | why there is less than was asked for, or null |
//! | machine, scenario | where, and what was sent how |
//! | limits, limits_began | what this machine could do at most, and whether another tool agrees; when that was measured |
//! | fit | which of the limits this load is held against, or why none |
//! | peers | per server its rounds, the percentiles of all rounds added up, and the rounds' figures side by side |
//!
//! Invariant: numbers are finite and have six decimals at most, so that what is written is read back equal.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

/// A whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `VERSION`.
    pub version: u32,
    /// The command line, without secrets.
    pub command: String,
    /// When the first round began.
    pub began: String,
    /// Of the checkout in which the command ran.
    pub commit: String,
    /// Why there is less than was asked for.
    pub ended_early: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// What was sent, and how.
    pub scenario: Scenario,
    /// What this machine could do at most.
    pub limits: Vec<Limit>,
    /// When they were measured.
    #[serde(default)]
    pub limits_began: Option<String>,
    /// Which of them this load is held against; nothing where no limits were given.
    #[serde(default)]
    pub fit: Option<Fit>,
    /// The servers, in the order of the command; the first is what ratios are taken against.
    pub peers: Vec<Peer>,
}

/// A machine and the disk of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As the kernel calls it.
    pub processor: String,
    /// Logical ones.
    pub cores: u64,
    /// All of it.
    pub memory_mib: u64,
    /// Its release.
    pub kernel: String,
    /// Its type.
    pub file_system: String,
    /// What it lies on.
    pub device: String,
    /// The device's: `write back` means that a flush costs something.
    pub write_cache: String,
}

/// What was sent, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// As on the command line.
    pub name: String,
    /// In a few words.
    pub title: String,
    /// Pace, connections and time in a few words.
    pub load: String,
    /// Sent on a schedule, not when the answer before had come.
    pub open: bool,
    /// Requests per second of the schedule.
    pub rate: Option<f64>,
    /// Of all workers together.
    pub connections: u64,
    /// Requests in flight per connection.
    pub streams: u64,
    /// Of HTTP.
    pub protocol: String,
    /// Encrypted.
    pub tls: bool,
    /// Signed with SigV4.
    pub signed: bool,
    /// Measured per round.
    pub seconds: f64,
    /// Before them.
    pub warm_up_seconds: f64,
    /// Of a value, where the scenario has one size.
    pub value_bytes: Option<u64>,
    /// How many there are.
    pub keys: Option<u64>,
    /// How keys are drawn.
    pub distribution: Option<String>,
    /// Parts of an upload; a value is a part then.
    #[serde(default)]
    pub parts: Option<u64>,
    /// The part of reads where reads and writes are mixed.
    pub read_percent: Option<u32>,
    /// Of all that is drawn.
    pub seed: u64,
}

/// What this machine could do at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What is limited.
    pub name: String,
    /// How much of it there is.
    pub value: f64,
    /// Of both values.
    pub unit: String,
    /// Which other program measured the same, with its flags.
    pub tool: Option<String>,
    /// What that gave.
    pub tool_value: Option<f64>,
    /// What is held against each other where it is not the two values.
    #[serde(default)]
    pub compared: Option<Compared>,
    /// Whether the two are within 25 %; if not, no share is taken of the limit.
    pub agrees: Option<bool>,
    /// Why no other program measured it.
    #[serde(default)]
    pub no_tool: Option<String>,
    /// What else is to be known, in a whole sentence.
    #[serde(default)]
    pub note: Option<String>,
}

/// A figure by which a limit and another program's are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// What it is, with its unit.
    pub what: String,
    /// Ours.
    pub value: f64,
    /// The tool's.
    pub tool_value: f64,
}

/// The limit that a load is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Its name, or what it would have to be called.
    pub limit: String,
    /// So many requests per second reach it; nothing where no share can be taken.
    pub rate: Option<f64>,
    /// It is a rate of synced writes: a server that syncs less is not held against it.
    pub is_synced: bool,
    /// It is what HTTP costs: a server that speaks something else is not held against it.
    pub is_of_http: bool,
    /// Why no share is taken.
    pub reason: Option<String>,
}

/// Limits as they are stored on their own, to be given to later comparisons on the same machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// `VERSION`.
    pub version: u32,
    /// The command line.
    pub command: String,
    /// When it began.
    pub began: String,
    /// Of the checkout in which the command ran.
    pub commit: String,
    /// Where they were measured.
    pub machine: Machine,
    /// All of them.
    pub limits: Vec<Limit>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// As the command called it.
    pub name: String,
    /// As it calls itself.
    pub version: String,
    /// Its protocol, if that is not HTTP.
    #[serde(default)]
    pub speaks: Option<String>,
    /// Its settings, in a word or two.
    pub mode: String,
    /// Whether an answered write survives a loss of power, where that is known.
    pub durable: Option<bool>,
    /// What shows it.
    pub evidence: String,
    /// Flushes of the disk per answered write of a single writer.
    pub syncs_per_write: Option<f64>,
    /// Why there is nothing about it.
    pub not_run: Option<String>,
    /// Why its figures do not count.
    pub void: Option<String>,
    /// In the order in which they ran.
    pub rounds: Vec<Round>,
    /// Latency by percentile, all rounds added up.
    pub curve: Vec<Point>,
    /// The rounds' figures side by side.
    pub summary: Summary,
}

/// One run against one server. Times are in microseconds; latency counts from the intended time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Good answers per second of the measured time.
    pub rate: f64,
    /// Good answers, warm-up included.
    pub good_count: u64,
    /// Requests that failed, by kind, warm-up included.
    pub failures: Vec<FailureKind>,
    /// Due and never sent.
    pub unsent_count: u64,
    /// Connections that the server closed and that were made anew.
    pub reconnect_count: u64,
    /// Latency of half of the requests at most.
    pub p50_us: f64,
    /// Of 90 %.
    pub p90_us: f64,
    /// Of 99 %.
    pub p99_us: f64,
    /// Of 99.9 %.
    pub p999_us: f64,
    /// Of all.
    pub max_us: f64,
    /// From the time of sending.
    pub service_p99_us: f64,
    /// By which this program was late.
    pub delay_p99_us: f64,
    /// The server's CPU time per good answer, where its process is known.
    pub cpu_us: Option<f64>,
    /// Of it in the server's own code.
    pub cpu_user_us: Option<f64>,
    /// The server's resident memory at its peak.
    pub peak_bytes: Option<u64>,
    /// Of bodies, both ways.
    pub body_bytes: u64,
    /// CPU time of this program's workers per second of theirs.
    pub generator_cpu_share: f64,
    /// Not yet written to disks when the round began, of the whole machine.
    pub dirty_bytes: Option<u64>,
    /// CPU time that the other servers took per second while this one was driven, where their processes are known.
    pub others_cpu_share: Option<f64>,
    /// The width of an entry of the two lists below, which begin with the warm-up.
    pub slice_seconds: f64,
    /// Good answers by the time of the answer.
    pub good_counts: Vec<u64>,
    /// The longest latency among them.
    pub slowest_us: Vec<f64>,
    /// What is to be said of its requests, in sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureKind {
    /// In two or three words.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// What the first of them said.
    pub first: String,
}

/// A point of the curve: `share` of the requests took `latency_us` at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// From 0 to just below 1.
    pub share: f64,
    /// In microseconds.
    pub latency_us: f64,
}

/// A figure of each round, in their order. Empty where the figure is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(pub Vec<f64>);

/// The rounds' figures side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// As in the rounds, and so on down to memory.
    pub rate: Values,
    /// Of the rate to the first peer's in the same round; of no void peer, and against none.
    pub ratio: Option<Values>,
    /// Latency.
    pub p50_us: Values,
    /// Latency.
    pub p90_us: Values,
    /// Latency.
    pub p99_us: Values,
    /// Latency.
    pub p999_us: Values,
    /// CPU time per good answer.
    pub cpu_us: Values,
    /// The highest of the rounds.
    pub peak_bytes: Option<u64>,
    /// All rounds together.
    pub error_count: u64,
    /// The limit that the rate is held against.
    pub limit_rate: Option<f64>,
    /// The median rate's part of it.
    pub limit_share: Option<f64>,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// In words: no JSON, another version, or a field that is missing or wrong.
    pub fn read(text: &str) -> Result<Report, String> {
        read(text, "report")
    }

    /// Writes it.
    ///
    /// # Errors
    /// In words: what the writer says.
    pub fn write(&self) -> Result<String, String> {
        write(self)
    }
}

impl Limits {
    /// Reads stored limits.
    ///
    /// # Errors
    /// In words: no JSON, another version, or a field that is missing or wrong.
    pub fn read(text: &str) -> Result<Limits, String> {
        read(text, "file of limits")
    }

    /// Writes them.
    ///
    /// # Errors
    /// In words: what the writer says.
    pub fn write(&self) -> Result<String, String> {
        write(self)
    }
}

fn read<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    // First alone: another version may have other fields, and its number says more than the first of them missing.
    let Versioned { version } = serde_json::from_str(text).map_err(|error| format!("no {what}: {error}"))?;
    if version != VERSION {
        return Err(format!("a {what} of version {version}; this program reads version {VERSION}"));
    }
    serde_json::from_str(text).map_err(|error| format!("a damaged {what}: {error}"))
}

fn write(value: &impl Serialize) -> Result<String, String> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

impl Limit {
    /// Our figure as a share of the tool's.
    pub fn ratio(&self) -> Option<f64> {
        match &self.compared {
            Some(compared) => Some(compared.value / compared.tool_value),
            None => Some(self.value / self.tool_value?),
        }
    }
}

impl Fit {
    /// Whether a server is held against it.
    pub fn holds_for(&self, peer: &Peer) -> bool {
        !(self.is_synced && peer.is_lossy() || self.is_of_http && peer.speaks.is_some())
    }
}

impl Values {
    /// The smallest, the median (of an even number the mean of the middle two) and the largest; none of no rounds.
    pub fn spread(&self) -> Option<[f64; 3]> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some([first, f64::midpoint(below, above), last])
    }

    /// The median.
    pub fn median(&self) -> Option<f64> {
        self.spread().map(|[_, median, _]| median)
    }
}

impl Peer {
    /// Whether an answered write may be lost: what was counted stands above what a setting is called.
    pub fn is_lossy(&self) -> bool {
        self.durable == Some(false) || self.syncs_per_write.is_some_and(|syncs| syncs < SYNCS_MIN)
    }

    /// The largest figure of any round, of those that have it.
    pub fn largest(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        self.rounds.iter().filter_map(of).max_by(f64::total_cmp)
    }
}

/// A single writer's answer needs a flush of its own; the hair is for flushes that a count just misses.
const SYNCS_MIN: f64 = 0.9;

/// With six decimals at most. What is not finite becomes zero, since JSON has no word for it.
pub fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1e6).round() / 1e6 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_report_is_read_back_equal() {
        let report = samples::report();
        let text = report.write().expect("writes");
        assert_eq!(Report::read(&text).expect("reads"), report);
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let words = Report::read("{\"version\": 2, \"what\": []}").expect_err("refused");
        assert!(words.contains("version 2"), "{words}");
        assert!(Report::read("{}").is_err() && Report::read("").is_err());
    }

    #[test]
    fn limits_are_read_back_equal_and_are_no_report() {
        let report = samples::report();
        let limits = Limits {
            version: VERSION,
            command: "zerobench limit".to_owned(),
            began: report.began,
            commit: report.commit,
            machine: report.machine,
            limits: report.limits,
        };
        let text = limits.write().expect("writes");
        assert_eq!(Limits::read(&text).expect("reads"), limits);
        assert!(Report::read(&text).is_err());
    }

    #[test]
    fn a_report_from_before_limits_had_more_fields_is_still_read() {
        let mut report = samples::report();
        report.limits[0] = Limit { compared: None, no_tool: None, note: None, ..report.limits[0].clone() };
        (report.limits_began, report.fit) = (None, None);
        let text = report.write().expect("writes");
        let mut old: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let whole = old.as_object_mut().expect("it is an object");
        assert!(whole.remove("limits_began").is_some() && whole.remove("fit").is_some());
        let limit = old["limits"][0].as_object_mut().expect("it is an object");
        assert!(["compared", "no_tool", "note"].iter().all(|field| limit.remove(*field).is_some()));
        assert_eq!(Report::read(&old.to_string()).expect("reads"), report);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Values(vec![4.0, 1.0, 2.0, 9.0]).spread(), Some([1.0, 3.0, 9.0]));
        assert_eq!(Values(vec![5.0]).spread(), Some([5.0, 5.0, 5.0]));
        assert_eq!(Values(Vec::new()).spread(), None);
    }
}
