//! Servers against each other under the same load: filled first, then driven in turns, so that whatever slows the machine
//! for a while slows all of them.
//! Invariant: one server is driven at a time, and not before the disks have what the one before it wrote, as far as a
//! bounded wait allows. A server that goes away ends the comparison, and what was measured until then is kept.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, ValueEnum as _};

use crate::cli::{LoadArgs, RunArgs, ScenarioArgs};
use crate::load::run::{Load, Measured, Pace};
use crate::report::figures::{micros, thousands};
use crate::report::json::{self, Limit, Peer, Report};
use crate::report::table::DIRTY_BYTES_MAX;
use crate::report::tally::{self, Around, Tally};
use crate::report::{self, Outputs, table};
use crate::scenario::{Scenario, Target};
use crate::server::process::{Before, Process, Usage};
use crate::{Aim, ENDED_EARLY, VOID, load, machine};

/// Between turns, for a server's own work after its last answer.
const REST: Duration = Duration::from_millis(300);
/// How often the disks are looked at while they write.
const LOOK: Duration = Duration::from_millis(50);

/// Several servers and their load.
#[derive(Args)]
pub struct CompareArgs {
    /// A server: NAME=URL and then, with commas between, pid=N (again for more processes), key=, secret=, version=, mode=,
    /// durable=yes|no, evidence=, syncs= (flushes per answered write of one writer). Ratios are taken against the first.
    #[arg(long = "peer", required = true, value_name = "NAME=URL[,..]")]
    pub peers: Vec<PeerArg>,
    /// A server that is named in the table with the reason why it was not run.
    #[arg(long, value_name = "NAME=REASON", value_parser = pair)]
    pub not_run: Vec<(String, String)>,
    /// What this machine could do at most, in requests per second: gives the share of it.
    #[arg(long, value_name = "NAME=RATE", value_parser = limit)]
    pub limit: Option<(String, f64)>,
    /// Turns of each server.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// Waits so many seconds at most for the disks before each turn; 0 neither syncs nor waits.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub settle: u64,
    /// The report names the disk of this directory.
    #[arg(long, default_value = ".", value_name = "DIRECTORY")]
    pub data: PathBuf,
    /// Access key of signed requests to peers without one of their own.
    #[arg(long, env = "ZEROBENCH_ACCESS_KEY")]
    pub access_key: Option<String>,
    /// Its secret.
    #[arg(long, env = "ZEROBENCH_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// The region that signatures name.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// Trust this certificate (PEM), for https.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Where the report goes.
    #[command(flatten)]
    pub outputs: Outputs,
    /// How each is driven.
    #[command(flatten)]
    pub load: LoadArgs,
    /// With what.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
}

/// A server as the command line gives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerArg {
    name: String,
    url: String,
    pids: Vec<u32>,
    access_key: Option<String>,
    secret_key: Option<String>,
    version: String,
    mode: String,
    durable: Option<bool>,
    evidence: String,
    syncs_per_write: Option<f64>,
}

impl FromStr for PeerArg {
    type Err = String;

    fn from_str(text: &str) -> Result<PeerArg, String> {
        let mut parts = text.split(',');
        let (name, url) = pair(parts.next().unwrap_or_default())?;
        let mut peer = PeerArg { name, url, ..PeerArg::default() };
        for part in parts {
            let (key, value) = pair(part)?;
            match key.as_str() {
                "pid" => peer.pids.push(value.parse().map_err(|_| format!("{value} is no process id"))?),
                "key" => peer.access_key = Some(value),
                "secret" => peer.secret_key = Some(value),
                "version" => peer.version = value,
                "mode" => peer.mode = value,
                "evidence" => peer.evidence = value,
                "syncs" => {
                    let count = value.parse().ok().filter(|count: &f64| count.is_finite() && *count >= 0.0);
                    peer.syncs_per_write = Some(count.ok_or(format!("{value} is no number of syncs"))?);
                }
                "durable" => {
                    peer.durable = match value.as_str() {
                        "yes" => Some(true),
                        "no" => Some(false),
                        _ => return Err(format!("durable is yes or no, not {value}")),
                    }
                }
                _ => return Err(format!("a peer has no {key}")),
            }
        }
        Ok(peer)
    }
}

/// A server and what is known of it so far.
struct Contender {
    target: Target,
    server: Option<Process>,
    tally: Tally,
}

impl Contender {
    fn new(peer: &PeerArg, arguments: &CompareArgs) -> Result<Contender, String> {
        let target = crate::aim(&Aim {
            name: &peer.name,
            url: &peer.url,
            access_key: peer.access_key.as_ref().or(arguments.access_key.as_ref()).map(String::as_str),
            secret_key: peer.secret_key.as_ref().or(arguments.secret_key.as_ref()).map(String::as_str),
            region: &arguments.region,
            ca: arguments.ca.as_deref(),
            is_http2: arguments.load.streams.is_some(),
        })?;
        Ok(Contender {
            target,
            server: (!peer.pids.is_empty()).then(|| Process::new(peer.pids.clone())),
            tally: Tally::new(Peer {
                name: peer.name.clone(),
                version: peer.version.clone(),
                mode: peer.mode.clone(),
                durable: peer.durable,
                evidence: peer.evidence.clone(),
                syncs_per_write: peer.syncs_per_write.map(json::rounded),
                ..Peer::default()
            }),
        })
    }

    fn is_gone(&self) -> bool {
        self.server.as_ref().is_some_and(|server| !server.is_alive())
    }
}

/// Compares servers; the exit code says whether all of it counts.
///
/// # Errors
/// In words: what keeps the comparison from beginning, or a report that cannot be written.
pub fn compare(arguments: &CompareArgs) -> Result<ExitCode, String> {
    let load = arguments.load.load()?;
    let peers = arguments.peers.iter();
    let mut contenders: Vec<Contender> =
        peers.map(|peer| Contender::new(peer, arguments)).collect::<Result<_, _>>()?;
    let scenario = crate::scenario(&arguments.scenario, &load, &contenders[0].target)?;
    for contender in &contenders {
        let name = &contender.target.name;
        scenario.fill(&contender.target).map_err(|error| format!("{name} cannot be filled: {error}"))?;
    }
    let mut report = outline(&load, &arguments.scenario, &*scenario, &contenders[0].target, &arguments.data);
    report.limits = arguments.limit.iter().map(limit_of).collect();
    println!("{}, {}", report.scenario.title, report.scenario.load);
    let settle_max = Duration::from_secs(arguments.settle);
    report.ended_early = turns(&mut contenders, &load, &*scenario, arguments.rounds.into(), settle_max).err();
    if let Some(words) = &report.ended_early
        && contenders.iter().all(|contender| contender.tally.is_empty())
    {
        return Err(words.clone());
    }
    let tallies: Vec<Tally> = contenders.into_iter().map(|contender| contender.tally).collect();
    report.peers = tally::peers(&tallies, &report.limits);
    report.peers.extend(arguments.not_run.iter().map(|(name, reason)| Peer {
        name: name.clone(),
        not_run: Some(reason.clone()),
        ..Peer::default()
    }));
    report::store(&report, &arguments.outputs)?;
    println!("\n{}", table::terminal(&report).trim_end());
    Ok(exit_code(&report))
}

/// The report of a single run, written wherever it was asked for.
///
/// # Errors
/// In words: a file that cannot be written.
pub fn store_run(
    arguments: &RunArgs,
    load: &Load,
    target: &Target,
    scenario: &dyn Scenario,
    measured: &Measured,
) -> Result<(), String> {
    let mut report = outline(load, &arguments.scenario, scenario, target, Path::new("."));
    let elapsed = load.warm_up + Duration::from_secs_f64(measured.seconds);
    report.began = machine::utc(SystemTime::now().checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH));
    report.ended_early.clone_from(&measured.ended_early);
    let mut tally = Tally::new(Peer { name: target.name.clone(), ..Peer::default() });
    tally.add(measured, Around::default());
    report.peers = tally::peers(&[tally], &[]);
    let outputs = Outputs { json: arguments.json.clone(), html: arguments.html.clone() };
    report::store(&report, &outputs)
}

/// All rounds, each in another order: whoever always came second would always come after the first one's writes.
///
/// # Errors
/// In words: which server went away, when. Its row is void then.
fn turns(
    contenders: &mut [Contender],
    load: &Load,
    scenario: &dyn Scenario,
    rounds: usize,
    settle_max: Duration,
) -> Result<(), String> {
    let count = contenders.len();
    for round in 0..rounds {
        for index in order(count, round) {
            let dirty_bytes = settle(settle_max);
            if let Some(gone) = contenders.iter_mut().find(|contender| contender.is_gone()) {
                let words = format!("{} ({}) ended between turns", gone.target.name, gone.target.address);
                gone.tally.void(words.clone());
                return Err(words);
            }
            let others = Others::watch(contenders, index);
            let Contender { target, server, tally } = &mut contenders[index];
            let measured = load::run::run(load, target, scenario, server.as_ref(), &mut crate::progress)
                .inspect_err(|words| tally.void(words.clone()))?;
            tally.add(&measured, Around { dirty_bytes, others_cpu_share: others.cpu_share() });
            crate::progress("");
            println!(
                "round {} of {rounds}, {}: {} requests/s, p99 {}{}",
                round + 1,
                target.name,
                thousands(measured.rate()),
                micros(measured.recorder.latency.value_at_quantile(0.99) as f64 / 1e3),
                if measured.void().is_some() { ", VOID" } else { "" }
            );
            if let Some(words) = measured.ended_early {
                return Err(words);
            }
        }
    }
    Ok(())
}

/// The servers whose turn it is not.
struct Others(Vec<(Process, Before)>);

impl Others {
    /// All but the one at `index` that have a process.
    fn watch(contenders: &[Contender], index: usize) -> Others {
        let others = contenders.iter().enumerate().filter(|(other, _)| *other != index);
        let servers = others.filter_map(|(_, other)| other.server.clone());
        Others(servers.map(|server| (server.clone(), server.begin())).collect())
    }

    /// CPU time per second since then, of all that are still there.
    fn cpu_share(&self) -> Option<f64> {
        let usages: Vec<_> = self.0.iter().filter_map(|(server, before)| server.since(before)).collect();
        let share = |usage: &Usage| usage.cpu().as_secs_f64() / usage.elapsed.as_secs_f64().max(1e-9);
        (!usages.is_empty()).then(|| usages.iter().map(share).sum())
    }
}

/// Whose turn it is in `round`: each round begins one further on.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

/// Lets the disks write what is left of the turn before, then rests. Gives what they still have to write.
fn settle(bound: Duration) -> Option<u64> {
    let until = Instant::now() + bound;
    if !bound.is_zero() {
        rustix::fs::sync();
        while machine::dirty_bytes().is_some_and(|bytes| bytes > DIRTY_BYTES_MAX) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
    std::thread::sleep(REST);
    machine::dirty_bytes()
}

/// A report without peers. `first` stands for all: they are asked in the same way.
fn outline(
    load: &Load,
    arguments: &ScenarioArgs,
    scenario: &dyn Scenario,
    first: &Target,
    data: &Path,
) -> Report {
    let name = arguments.scenario.to_possible_value();
    let sizes = scenario.sizes();
    let rate = match load.pace {
        Pace::Open { rate, .. } => Some(json::rounded(rate)),
        Pace::Closed => None,
    };
    Report {
        version: json::VERSION,
        command: command(std::env::args().skip(1)),
        began: machine::utc(SystemTime::now()),
        commit: machine::commit(),
        ended_early: None,
        machine: machine::describe(data),
        scenario: json::Scenario {
            name: name.map_or_else(String::new, |name| name.get_name().to_owned()),
            title: scenario.title(),
            load: crate::describe(load),
            open: rate.is_some(),
            rate,
            connections: load.connections as u64,
            streams: load.streams.max(1) as u64,
            protocol: if load.streams > 0 { "HTTP/2" } else { "HTTP/1.1" }.to_owned(),
            tls: first.tls.is_some(),
            signed: first.credentials.is_some(),
            seconds: json::rounded(load.measured.as_secs_f64()),
            warm_up_seconds: json::rounded(load.warm_up.as_secs_f64()),
            value_bytes: sizes.value_bytes,
            keys: sizes.key_count,
            distribution: sizes.distribution,
            read_percent: sizes.read_percent,
            seed: load.seed,
        },
        limits: Vec::new(),
        peers: Vec::new(),
    }
}

/// The command as a shell would take it, without secrets.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut out = "zerobench".to_owned();
    let mut is_secret = false;
    for argument in arguments {
        let shown = if is_secret { "***".to_owned() } else { without_secret(&argument) };
        is_secret = argument == "--secret-key";
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+%*@".contains(c);
        out += &if !shown.is_empty() && shown.chars().all(is_plain) {
            format!(" {shown}")
        } else {
            format!(" '{}'", shown.replace('\'', "'\\''"))
        };
    }
    out
}

fn without_secret(argument: &str) -> String {
    if argument.starts_with("--secret-key=") {
        return "--secret-key=***".to_owned();
    }
    let part =
        |part: &str| if part.starts_with("secret=") { "secret=***".to_owned() } else { part.to_owned() };
    argument.split(',').map(part).collect::<Vec<_>>().join(",")
}

fn exit_code(report: &Report) -> ExitCode {
    if let Some(words) = &report.ended_early {
        eprintln!("zerobench: {words}");
        return ExitCode::from(ENDED_EARLY);
    }
    if report.peers.iter().any(|peer| peer.void.is_some()) { ExitCode::from(VOID) } else { ExitCode::SUCCESS }
}

fn limit_of((name, rate): &(String, f64)) -> Limit {
    Limit {
        name: name.clone(),
        value: json::rounded(*rate),
        unit: "requests/s".to_owned(),
        tool: None,
        tool_value: None,
        agrees: None,
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{text} is not of the form name=value")),
    }
}

fn limit(text: &str) -> Result<(String, f64), String> {
    let (name, rate) = pair(text)?;
    match rate.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok((name, rate)),
        _ => Err(format!("{rate} is no rate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_one_further_on() {
        let rounds: Vec<Vec<usize>> = (0..4).map(|round| order(3, round).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn a_peer_is_read_with_all_that_belongs_to_it() {
        let text = "a=http://h:1,pid=3,pid=4,key=K,secret=S=,version=1.2,mode=durable,durable=yes,syncs=1.5";
        let peer: PeerArg = text.parse().expect("parses");
        assert_eq!((peer.name.as_str(), peer.url.as_str()), ("a", "http://h:1"));
        assert_eq!((peer.pids, peer.secret_key), (vec![3, 4], Some("S=".to_owned())));
        assert_eq!((peer.mode.as_str(), peer.durable), ("durable", Some(true)));
        assert_eq!(peer.syncs_per_write, Some(1.5));
        for bad in
            ["", "a", "a=", "=http://h:1", "a=u,pid=x", "a=u,what=1", "a=u,syncs=-1", "a=u,durable=maybe"]
        {
            assert!(bad.parse::<PeerArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_in_a_report_has_no_secret() {
        let arguments = ["compare", "--peer", "a=http://h:1,key=K,secret=S1", "--secret-key", "S2"];
        let more = ["--secret-key=S3", "--not-run", "b=it's gone"];
        let text = command(arguments.iter().chain(&more).map(|text| (*text).to_owned()));
        assert_eq!(
            text,
            "zerobench compare --peer a=http://h:1,key=K,secret=*** --secret-key *** --secret-key=*** --not-run \
             'b=it'\\''s gone'"
        );
    }
}
