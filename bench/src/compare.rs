//! Servers against each other under the same load: filled first, then driven in turns, so that whatever slows the machine
//! for a while slows all of them.
//! Invariant: one server is driven at a time, and not before the disks have what the one before it wrote, as far as a
//! bounded wait allows. A server that goes away has no more turns, and where too few are left what was measured is kept.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, ValueEnum as _};

use crate::cli::{AccessArgs, LoadArgs, RunArgs, ScenarioArgs};
use crate::limits::fit::fit;
use crate::load::run::{Load, Measured, Pace};
use crate::report::figures::{micros, thousands};
use crate::report::json::{self, Machine, Peer, Report};
use crate::report::table::DIRTY_BYTES_MAX;
use crate::report::tally::{self, Around, Tally};
use crate::report::{self, Outputs, table};
use crate::scenario::{Protocol, Scenario, Target};
use crate::server::peer::{Origin, PeerArg, Start, Started, pair};
use crate::server::process::{Before, Process, Usage};
use crate::{ENDED_EARLY, VOID, load, machine};

/// Between turns, for a server's own work after its last answer.
const REST: Duration = Duration::from_millis(300);
/// How often the disks are looked at while they write.
const LOOK: Duration = Duration::from_millis(50);

/// Several servers and their load.
#[derive(Args)]
pub struct CompareArgs {
    /// A server: NAME=URL or NAME=script:PATH[:MODE], which is installed, started and ended by a script like those of
    /// bench/peers. Then, with commas between, pid=N (again for more processes), key=, secret=, region=, token= and
    /// api=native|files|turbo|echo (of caches), backlog=N (messages that wait in its queue), version=, mode=, durable=yes|no, evidence=, syncs= (flushes per answered write of one writer). Ratios are taken against the first.
    #[arg(long = "peer", required = true, value_name = "NAME=URL[,..]")]
    pub peers: Vec<PeerArg>,
    /// A server that is named in the table with the reason why it was not run.
    #[arg(long, value_name = "NAME=REASON", value_parser = pair)]
    pub not_run: Vec<(String, String)>,
    /// What this machine could do at most, as `limit --json` wrote it: gives each result's share of the limit that fits.
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// Turns of each server.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// Waits so many seconds at most for the disks before each turn; 0 neither syncs nor waits.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub settle: u64,
    /// Servers that are started by scripts keep their data in this directory, and the report names its disk.
    #[arg(long, default_value = ".", value_name = "DIRECTORY")]
    pub data: PathBuf,
    /// Their core; by default the first one.
    #[arg(long)]
    pub server_core: Option<usize>,
    /// By which right.
    #[command(flatten)]
    pub access: AccessArgs,
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

/// A server and what is known of it so far.
struct Contender {
    target: Target,
    server: Option<Process>,
    tally: Tally,
    started: Option<Box<Started>>,
    /// It has no more turns.
    is_out: bool,
}

impl Contender {
    /// A server that answers, or the reason why it cannot be had.
    fn new(
        index: usize,
        peer: &PeerArg,
        arguments: &CompareArgs,
    ) -> Result<Result<Contender, String>, String> {
        let (url, facts, started) = match &peer.origin {
            Origin::Url(url) => (url.clone(), peer.facts.clone(), None),
            Origin::Script { path, mode } => {
                let core = server_core(arguments)?;
                let directory = arguments.data.join(format!("zerobench-peer-{index}"));
                match Started::start(path, mode.as_deref(), core, &directory)? {
                    Start::Started(started) => (started.url.clone(), started.facts.clone(), Some(started)),
                    Start::NotRun(reason) => return Ok(Err(reason)),
                }
            }
        };
        // A key for signed requests is none to log in with elsewhere.
        let is_http = url.starts_with("http");
        let signs = |key: &'_ Option<String>| key.clone().filter(|_| is_http);
        let AccessArgs { access_key, secret_key, region, token, cache_api, ca } = &arguments.access;
        let access = AccessArgs {
            access_key: facts.access_key.clone().or_else(|| signs(access_key)),
            secret_key: facts.secret_key.clone().or_else(|| signs(secret_key)),
            region: facts.region.clone().unwrap_or_else(|| region.clone()),
            token: facts.token.clone().or_else(|| token.clone()),
            cache_api: facts.cache_api.unwrap_or(*cache_api),
            ca: ca.clone(),
        };
        let mut target = crate::aim(&peer.name, &url, &access, arguments.load.streams.is_some())?;
        target.backlog_count = facts.backlog_count.unwrap_or(arguments.scenario.backlog as usize);
        crate::check_operation(target.protocol, arguments.scenario.scenario)?;
        let tally = Tally::new(Peer {
            name: peer.name.clone(),
            version: facts.version,
            speaks: (target.protocol != Protocol::Http).then(|| target.protocol.title().to_owned()),
            mode: facts.mode,
            durable: facts.durable,
            evidence: facts.evidence,
            syncs_per_write: facts.syncs_per_write.map(json::rounded),
            ..Peer::default()
        });
        let server = (!facts.pids.is_empty()).then(|| Process::new(facts.pids));
        Ok(Ok(Contender { target, server, tally, started, is_out: false }))
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
    let limits = arguments.limits.as_deref().map(report::read_limits).transpose()?;
    if let Some(limits) = &limits {
        same_machine(&limits.machine, &machine::describe(&arguments.data))?;
    }
    let (mut contenders, mut missing) = contenders(arguments)?;
    let scenario = crate::scenario(&arguments.scenario, &load, &contenders[0].target)?;
    for (index, mut contender) in std::mem::take(&mut contenders).into_iter().enumerate() {
        if crate::is_interrupted() {
            return Err("interrupted".to_owned());
        }
        let name = contender.target.name.clone();
        crate::progress(&format!("filling {name}"));
        let filled = scenario
            .fill(&contender.target)
            .map_err(|error| format!("{name} cannot be filled: {error}"))
            .and_then(|()| prove(&mut contender, &load, &*scenario, arguments));
        crate::progress("");
        match filled {
            Ok(()) => contenders.push(contender),
            // Of the servers that a script brings, one that does not do this is no reason to have no figures of the others.
            Err(words) if index > 0 && contender.started.is_some() => missing.push((name, words)),
            Err(words) => return Err(words),
        }
    }
    let mut report = outline(&load, &arguments.scenario, &*scenario, &contenders[0].target, &arguments.data);
    if let Some(limits) = limits {
        (report.limits, report.limits_began) = (limits.limits, Some(limits.began));
        report.fit = fit(&report.scenario, &report.limits);
    }
    println!("{}, {}", report.scenario.title, report.scenario.load);
    let settle_max = Duration::from_secs(arguments.settle);
    report.ended_early = turns(&mut contenders, &load, &*scenario, arguments.rounds.into(), settle_max).err();
    if let Some(words) = &report.ended_early
        && contenders.iter().all(|contender| contender.tally.is_empty())
    {
        return Err(words.clone());
    }
    let tallies: Vec<Tally> = contenders.into_iter().map(|contender| contender.tally).collect();
    report.peers = tally::peers(&tallies, report.fit.as_ref());
    report.peers.extend(
        missing.into_iter().chain(arguments.not_run.iter().cloned()).map(|(name, reason)| Peer {
            name,
            not_run: Some(reason),
            ..Peer::default()
        }),
    );
    report::store(&report, &arguments.outputs)?;
    println!("\n{}", table::terminal(&report).trim_end());
    Ok(exit_code(&report))
}

/// A name and why there is nothing about it.
type Missing = (String, String);

/// The servers, started where that was asked for, and those that cannot be had.
fn contenders(arguments: &CompareArgs) -> Result<(Vec<Contender>, Vec<Missing>), String> {
    let (mut contenders, mut missing) = (Vec::new(), Vec::new());
    for (index, peer) in arguments.peers.iter().enumerate() {
        crate::progress(&format!("starting {}", peer.name));
        match Contender::new(index, peer, arguments)? {
            Ok(contender) => contenders.push(contender),
            // Ratios against whoever happens to come second would be read as something else.
            Err(reason) if index == 0 => return Err(format!("{} cannot be run: {reason}", peer.name)),
            Err(reason) => missing.push((peer.name.clone(), reason)),
        }
    }
    Ok((contenders, missing))
}

fn server_core(arguments: &CompareArgs) -> Result<usize, String> {
    let first = || ring::cores().first().copied();
    arguments.server_core.or_else(first).ok_or_else(|| "no core may be used".to_owned())
}

/// How long one writer writes while the flushes of the disk are counted.
const PROOF: Duration = Duration::from_secs(2);
/// How often that is tried while other programs flush the same disk.
const PROOFS_MAX: usize = 3;

/// What a server that we started is really like: its setting as it stands, and how often it has the disk flush its cache when
/// a single writer waits for each answer. Flushes while nobody writes are taken off.
fn prove(
    contender: &mut Contender,
    load: &Load,
    scenario: &dyn Scenario,
    arguments: &CompareArgs,
) -> Result<(), String> {
    let Some(started) = &contender.started else { return Ok(()) };
    let evidence = started.evidence(server_core(arguments)?)?;
    let Some(writes) = scenario.writes() else {
        contender.tally.know(evidence, None);
        return Ok(());
    };
    let one = Load {
        pace: Pace::Closed,
        connections: 1,
        streams: load.streams.min(1),
        warm_up: Duration::ZERO,
        measured: PROOF,
        answers_max: None,
        silence_max: load.silence_max,
        cores: load.cores[..1].to_vec(),
        seed: load.seed,
    };
    let flushes = || machine::flush_count(&arguments.data);
    for _ in 0..PROOFS_MAX {
        rustix::fs::sync();
        let before_rest = flushes();
        std::thread::sleep(PROOF);
        let before = flushes();
        let (target, server) = (&contender.target, contender.server.as_ref());
        let measured = load::run::run(&one, target, &*writes, server, &mut crate::progress)?;
        let after = flushes();
        if let Some(words) = measured.void() {
            return Err(format!("{} cannot be written to: {words}", target.name));
        }
        let (Some(before_rest), Some(before), Some(after)) = (before_rest, before, after) else { break };
        let (others, all) = (before - before_rest, after - before);
        // A server that never flushes has few of its own: then others must have few as well.
        let good = measured.recorder.good_count;
        if others * 10 <= all.max(good) {
            contender.tally.know(evidence, Some(all.saturating_sub(others) as f64 / good as f64));
            return Ok(());
        }
    }
    contender.tally.know(evidence, None);
    Ok(())
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
    report.peers = tally::peers(&[tally], None);
    report::store(&report, &arguments.outputs)
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
            if contenders[index].is_out {
                continue;
            }
            let dirty_bytes = settle(settle_max);
            if crate::is_interrupted() {
                return Err("it was interrupted between turns".to_owned());
            }
            while let Some(gone) = contenders.iter().position(|other| !other.is_out && other.is_gone()) {
                let Contender { target, server, tally, .. } = &mut contenders[gone];
                let words = format!("{} ended between turns", target.called(server.as_ref()));
                tally.void(words.clone());
                leave(contenders, gone, words)?;
            }
            if contenders[index].is_out {
                continue;
            }
            let others = Others::watch(contenders, index);
            let Contender { target, server, tally, .. } = &mut contenders[index];
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
                leave(contenders, index, words)?;
            }
        }
    }
    Ok(())
}

/// A server that went away or stands still has no more turns. The others go on as long as one of them is left beside the
/// first, which all ratios are taken against.
///
/// # Errors
/// In words: why the comparison ends with it.
fn leave(contenders: &mut [Contender], index: usize, words: String) -> Result<(), String> {
    contenders[index].is_out = true;
    let left = contenders.iter().filter(|contender| !contender.is_out).count();
    if crate::is_interrupted() || contenders[0].is_out || left < 2 {
        return Err(words);
    }
    println!("{} is left out from here on: {words}", contenders[index].target.name);
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
            title: crate::title(scenario, first.protocol),
            load: crate::describe(load),
            open: rate.is_some(),
            rate,
            connections: load.connections as u64,
            streams: load.streams.max(1) as u64,
            protocol: match first.protocol {
                Protocol::Http if load.streams > 0 => "HTTP/2",
                Protocol::Http => "HTTP/1.1",
                protocol => protocol.title(),
            }
            .to_owned(),
            tls: first.tls.is_some(),
            signed: first.protocol == Protocol::Http && first.credentials.is_some(),
            seconds: json::rounded(load.measured.as_secs_f64()),
            warm_up_seconds: json::rounded(load.warm_up.as_secs_f64()),
            value_bytes: sizes.value_bytes,
            keys: sizes.key_count,
            distribution: sizes.distribution,
            read_percent: sizes.read_percent,
            parts: sizes.part_count,
            seed: load.seed,
        },
        limits: Vec::new(),
        limits_began: None,
        fit: None,
        peers: Vec::new(),
    }
}

/// The command as a shell would take it, without secrets and without the name of whoever ran it.
pub fn command(arguments: impl Iterator<Item = String>) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let mut out = "zerobench".to_owned();
    let mut is_secret = false;
    for argument in arguments {
        let shown = if is_secret { "***".to_owned() } else { below(&home, &without_secret(&argument)) };
        is_secret = argument == "--secret-key" || argument == "--token";
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+%*@~".contains(c);
        out += &if !shown.is_empty() && shown.chars().all(is_plain) {
            format!(" {shown}")
        } else {
            format!(" '{}'", shown.replace('\'', "'\\''"))
        };
    }
    out
}

/// A path below the home directory begins with a tilde.
fn below(home: &str, argument: &str) -> String {
    match argument.strip_prefix(home) {
        Some(rest) if !home.is_empty() && rest.starts_with('/') => format!("~{rest}"),
        _ => argument.to_owned(),
    }
}

fn without_secret(argument: &str) -> String {
    let hidden = |text: &str, names: [&str; 2]| {
        let name = names.into_iter().find(|name| text.starts_with(name))?;
        Some(format!("{name}***"))
    };
    hidden(argument, ["--secret-key=", "--token="]).unwrap_or_else(|| {
        let part = |part: &str| hidden(part, ["secret=", "token="]).unwrap_or_else(|| part.to_owned());
        argument.split(',').map(part).collect::<Vec<_>>().join(",")
    })
}

fn exit_code(report: &Report) -> ExitCode {
    if let Some(words) = &report.ended_early {
        eprintln!("zerobench: {words}");
        return ExitCode::from(ENDED_EARLY);
    }
    if report.peers.iter().any(|peer| peer.void.is_some()) { ExitCode::from(VOID) } else { ExitCode::SUCCESS }
}

/// Limits say nothing about another machine, another kernel or another disk.
fn same_machine(limits: &Machine, here: &Machine) -> Result<(), String> {
    let differ = |what: &str, there: &str, here: &str| {
        Err(format!(
            "the limits are of another {what}: {there}, not {here}; `zerobench limit --json` measures them anew"
        ))
    };
    let disk = |machine: &Machine| {
        format!("{} on {} (write cache: {})", machine.file_system, machine.device, machine.write_cache)
    };
    if disk(limits) != disk(here) {
        return differ("disk (--data names its directory)", &disk(limits), &disk(here));
    }
    let computer = |machine: &Machine| {
        let Machine { processor, cores, memory_mib, kernel, .. } = machine;
        format!("{processor}, {cores} cores, {memory_mib} MiB, kernel {kernel}")
    };
    if limits == here { Ok(()) } else { differ("machine", &computer(limits), &computer(here)) }
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
    fn a_path_below_the_home_directory_names_nobody() {
        assert_eq!(below("/home/a", "/home/a/data"), "~/data");
        for other in ["/home/abc", "/srv", "put", "/home/a"] {
            assert_eq!(below("/home/a", other), other);
        }
        assert_eq!(below("", "/srv"), "/srv");
    }

    #[test]
    fn the_command_in_a_report_has_no_secret() {
        let arguments = ["compare", "--peer", "a=http://h:1,key=K,secret=S1,token=T1", "--secret-key", "S2"];
        let more = ["--secret-key=S3", "--token", "T2", "--token=T3", "--not-run", "b=it's gone"];
        let text = command(arguments.iter().chain(&more).map(|text| (*text).to_owned()));
        assert_eq!(
            text,
            "zerobench compare --peer a=http://h:1,key=K,secret=***,token=*** --secret-key *** --secret-key=*** --token *** \
             --token=*** --not-run 'b=it'\\''s gone'"
        );
    }
}
