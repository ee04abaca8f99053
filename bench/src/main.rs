//! `zerobench`: a load generator that says how much of a latency is the server's, and how far a server is from the limit.
//! Invariant: a figure is printed with what made it (load, machine, command); a run with errors is void and says so.
//! Leaves to load/: when to send; to client/: how; to scenarios/: what.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use clap::{Parser as _, ValueEnum as _};
use hdrhistogram::Histogram;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use cli::{AccessArgs, Cli, Command, LimitArgs, PollArgs, RunArgs, ScenarioArgs, ScenarioName};
use client::wire::Tls;
use limits::{Group, Place};
use load::run::{Load, Measured, Pace};
use report::json::Limits;
use scenario::{Credentials, Protocol, Scenario, Sizes, Target};
use server::process::Process;

mod cli;
mod client;
mod compare;
mod limits;
mod load;
mod machine;
mod prepare;
mod report;
mod scenario;
mod scenarios;
mod server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests failed, or the schedule was not kept.
const VOID: u8 = 1;
/// The command or its flags.
const USAGE: u8 = 2;
/// The server went away in the run.
const ENDED_EARLY: u8 = 3;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(arguments) => listen_for_interrupts().and_then(|()| run(&arguments)),
        Command::Capacity(arguments) => capacity(&arguments),
        Command::Limit(arguments) => limit(&arguments),
        Command::Poll(arguments) => poll(&arguments),
        Command::Compare(arguments) => listen_for_interrupts().and_then(|()| compare::compare(&arguments)),
        Command::Report(arguments) => report::show(&arguments).map(|()| ExitCode::SUCCESS),
        Command::ServeEcho { core, bare, port, body_bytes, item_bytes, blob_bytes, digest } => {
            let answer = match (item_bytes, blob_bytes) {
                (Some(bytes), _) => server::echo::Answer::Item { item_bytes: bytes as usize },
                (_, Some(bytes)) => {
                    server::echo::Answer::Blob { body_bytes: bytes as usize, digests: digest }
                }
                _ => server::echo::Answer::Letters { body_bytes: body_bytes as usize, is_bare: bare },
            };
            server::echo::serve(core.or(ring::cores().first().copied()), port, answer)
                .map(|()| ExitCode::SUCCESS)
                .map_err(|error| format!("the echo cannot serve: {error}"))
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("zerobench: {error}");
        ExitCode::from(USAGE)
    })
}

/// Set by the first SIGINT or SIGTERM.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether to end: reports are still written, and servers that scripts started are ended.
fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The first signal is heard, the second one ends the program at once. Only for what has something to finish.
fn listen_for_interrupts() -> Result<(), String> {
    let listen = |signal| {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&INTERRUPTED))?;
        flag::register(signal, Arc::clone(&INTERRUPTED))
    };
    [SIGINT, SIGTERM]
        .into_iter()
        .try_for_each(|signal| listen(signal).map(drop))
        .map_err(|error| format!("signals cannot be listened for: {error}"))
}

fn run(arguments: &RunArgs) -> Result<ExitCode, String> {
    let load = arguments.load.load()?;
    let target = target(arguments)?;
    let scenario = scenario(&arguments.scenario, &load, &target)?;
    let server = (!arguments.pid.is_empty()).then(|| Process::new(arguments.pid.clone()));
    scenario.fill(&target)?;
    println!("{}, {}", title(&*scenario, target.protocol), describe(&load));
    let measured = load::run::run(&load, &target, &*scenario, server.as_ref(), &mut progress)?;
    print(&measured, &scenario.sizes());
    compare::store_run(arguments, &load, &target, &*scenario, &measured)?;
    Ok(match &measured {
        Measured { ended_early: Some(words), .. } => {
            eprintln!("zerobench: {words}");
            ExitCode::from(ENDED_EARLY)
        }
        measured if measured.void().is_some() => ExitCode::from(VOID),
        _ => ExitCode::SUCCESS,
    })
}

/// By bisection: the highest rate at which nearly all that was due was sent, and was sent on time.
fn capacity(arguments: &RunArgs) -> Result<ExitCode, String> {
    let load = arguments.load.load()?;
    let Pace::Open { arrivals, .. } = load.pace else {
        return Err("a closed loop has no schedule to keep".to_owned());
    };
    let target = target(arguments)?;
    let scenario = scenario(&arguments.scenario, &load, &target)?;
    scenario.fill(&target)?;
    let closed = load::run::run(
        &Load { pace: Pace::Closed, ..load.clone() },
        &target,
        &*scenario,
        None,
        &mut progress,
    )?;
    let ceiling = closed.rate();
    println!("closed loop: {ceiling:.0} requests/s");
    let (mut kept, mut missed) = (0.0, ceiling * 1.05);
    while missed - kept > ceiling / 100.0 {
        let rate = (kept + missed) / 2.0;
        let load = Load { pace: Pace::Open { rate, arrivals }, ..load.clone() };
        let measured = load::run::run(&load, &target, &*scenario, None, &mut progress)?;
        let keeps = measured.keeps_schedule(&load, rate);
        println!(
            "{rate:.0} requests/s: {}, sent {:.2} %, our delay p99 {:.0} us",
            if keeps { "kept" } else { "not kept" },
            measured.sent_share() * 100.0,
            measured.recorder.delay.value_at_quantile(0.99) as f64 / 1e3
        );
        if keeps { kept = rate } else { missed = rate }
    }
    println!("the schedule is kept within 1 % up to {kept:.0} requests/s");
    Ok(ExitCode::SUCCESS)
}

/// Polls of a queue, one after the other, and what each waited.
fn poll(arguments: &PollArgs) -> Result<ExitCode, String> {
    let target = aim("server", &arguments.url, &arguments.access, false)?;
    if target.protocol != Protocol::Http {
        return Err(format!("polls go over http and https, not to {}", arguments.url));
    }
    let PollArgs { queue, count, seed, due, due_seconds, .. } = arguments;
    let count = *count as usize;
    if let Some(due) = due {
        let late = scenarios::sqs::due::measure(&target, queue, *due, *due_seconds, count, *seed)?;
        show_quantiles("due to answer", &late, "messages");
        return Ok(ExitCode::SUCCESS);
    }
    let polled = scenarios::sqs::poll::measure(&target, queue, count, *seed)?;
    show_quantiles("send to answer", &polled.from_send, "polls");
    show_quantiles("the send itself", &polled.send, "polls");
    show_quantiles("its answer to the poll's", &polled.behind, "polls");
    Ok(ExitCode::SUCCESS)
}

fn show_quantiles(name: &str, histogram: &Histogram<u64>, what: &str) {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{name}: p50 {:.0} us, p90 {:.0}, p99 {:.0}, max {:.0}, {} {what}",
        micros(0.5),
        micros(0.9),
        micros(0.99),
        histogram.max() as f64 / 1e3,
        histogram.len()
    );
}

fn limit(arguments: &LimitArgs) -> Result<ExitCode, String> {
    let cores = ring::cores();
    let (Some(first), Some(last)) = (cores.first(), cores.last()) else {
        return Err("no core may be used".to_owned());
    };
    let groups = if arguments.groups.is_empty() { Group::value_variants() } else { &arguments.groups };
    let value_bytes: Vec<usize> = arguments.value_bytes.iter().map(|bytes| *bytes as usize).collect();
    let place = Place {
        directory: &arguments.directory,
        server_core: *first,
        load_core: *last,
        seconds: arguments.seconds.clamp(0.1, 60.0),
        turns: arguments.turns.into(),
        value_bytes: &value_bytes,
    };
    let began = machine::utc(SystemTime::now());
    let limits = limits::measure(groups, &place, &mut |limit| print!("{}", report::limits::line(limit)))?;
    let Some(path) = &arguments.json else { return Ok(ExitCode::SUCCESS) };
    let limits = Limits {
        version: report::json::VERSION,
        command: compare::command(std::env::args().skip(1)),
        began,
        commit: machine::commit(),
        machine: machine::describe(&arguments.directory),
        limits,
    };
    report::write(path, &limits.write()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs of signed requests end well before the signatures, which were made before the clock, do.
const SIGNED_SECONDS_MAX: u64 = 600;

fn scenario(arguments: &ScenarioArgs, load: &Load, target: &Target) -> Result<Box<dyn Scenario>, String> {
    check_operation(target.protocol, arguments.scenario)?;
    let scenario: Box<dyn Scenario> = if let Some(settings) = arguments.s3(load.seed)? {
        Box::new(scenarios::s3::S3::new(settings))
    } else if let Some(settings) = arguments.dynamodb(load.seed)? {
        Box::new(scenarios::dynamodb::Dynamodb::new(settings))
    } else if let Some(settings) = arguments.sqs(load.seed)? {
        Box::new(scenarios::sqs::Sqs::new(settings))
    } else if let Some(settings) = arguments.cache(load.seed)? {
        Box::new(scenarios::cache::Cache::new(settings))
    } else if let Some(settings) = arguments.multipart(load)? {
        Box::new(scenarios::multipart::Multipart::new(settings))
    } else {
        return Ok(Box::new(scenarios::echo::Echo { path: arguments.path.clone() }));
    };
    let is_signed = target.protocol == Protocol::Http && target.credentials.is_some();
    if is_signed && load.warm_up + load.measured > Duration::from_secs(SIGNED_SECONDS_MAX) {
        return Err(format!("a run of signed requests takes {SIGNED_SECONDS_MAX} s at most"));
    }
    Ok(scenario)
}

fn target(arguments: &RunArgs) -> Result<Target, String> {
    let target = aim("server", &arguments.url, &arguments.access, arguments.load.streams.is_some())?;
    Ok(Target { backlog_count: arguments.scenario.backlog as usize, ..target })
}

/// A server as flags name it.
fn aim(name: &str, url: &str, access: &AccessArgs, is_http2: bool) -> Result<Target, String> {
    let (protocol, host, is_tls) = Protocol::of(url)?;
    if is_http2 && protocol != Protocol::Http {
        return Err(format!("--streams is for http and https, not for {url}"));
    }
    let tls = if is_tls {
        let ca = access.ca.as_ref().ok_or("https needs --ca with the certificate to trust")?;
        Some(Tls::trusting(ca, host, is_http2)?)
    } else {
        None
    };
    let AccessArgs { access_key, secret_key, region, token, cache_api, .. } = access;
    let credentials = match (access_key.clone(), secret_key.clone()) {
        (Some(access_key), Some(secret_key)) => {
            Some(Credentials { access_key, secret_key, region: region.clone() })
        }
        (None, None) => None,
        _ => return Err("an access key and a secret key come together".to_owned()),
    };
    Ok(Target {
        name: name.to_owned(),
        protocol,
        tls,
        credentials,
        token: token.clone(),
        cache_api: *cache_api,
        ..Target::at(host)?
    })
}

/// Refuses what a server of another protocol than HTTP cannot be asked for.
fn check_operation(protocol: Protocol, scenario: ScenarioName) -> Result<(), String> {
    let (takes, is_taken) = match protocol {
        Protocol::Http => return Ok(()),
        Protocol::Redis => (
            "put, get, mixed and ddb-put",
            matches!(
                scenario,
                ScenarioName::Put | ScenarioName::Get | ScenarioName::Mixed | ScenarioName::DdbPut
            ),
        ),
        Protocol::Nats => ("put", matches!(scenario, ScenarioName::Put)),
        Protocol::Amqp { .. } => (
            "put, sqs-send and sqs-send-batch",
            matches!(scenario, ScenarioName::Put | ScenarioName::SqsSend | ScenarioName::SqsSendBatch),
        ),
    };
    if is_taken {
        return Ok(());
    }
    let name = scenario.to_possible_value();
    let name = name.as_ref().map_or("this", |value| value.get_name());
    Err(format!("{name} is refused: over {} there is {takes} only", protocol.title()))
}

/// What is sent, and over what if not over HTTP.
fn title(scenario: &dyn Scenario, protocol: Protocol) -> String {
    match protocol {
        Protocol::Http => scenario.title(),
        protocol => format!("{} over {}", scenario.title(), protocol.title()),
    }
}

fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

fn describe(load: &Load) -> String {
    let pace = match load.pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::Open { rate, arrivals } => format!("open loop, {rate:.0} requests/s, {arrivals:?}"),
    };
    let streams = match load.streams {
        0 => String::new(),
        streams => format!(" of {streams} HTTP/2 streams"),
    };
    format!(
        "{pace}, {} connections{streams}, {:.1} s after {:.1} s",
        load.connections,
        load.measured.as_secs_f64(),
        load.warm_up.as_secs_f64()
    )
}

fn print(measured: &Measured, sizes: &Sizes) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let micros = |histogram: &hdrhistogram::Histogram<u64>, quantile| {
        histogram.value_at_quantile(quantile) as f64 / 1e3
    };
    println!("{:.0} requests/s, {} counted", measured.rate(), measured.recorder.latency.len());
    for (name, histogram) in [
        ("latency", &measured.recorder.latency),
        ("service", &measured.recorder.service),
        ("our delay", &measured.recorder.delay),
    ] {
        println!(
            "{name:>9}: p50 {:.0} us, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
            micros(histogram, 0.5),
            micros(histogram, 0.9),
            micros(histogram, 0.99),
            micros(histogram, 0.999),
            histogram.max() as f64 / 1e3
        );
    }
    if let Some(usage) = &measured.usage {
        let per_request =
            |time: Duration| time.as_secs_f64() * 1e6 / (measured.recorder.in_window_count.max(1) as f64);
        println!(
            "   server: {:.2} us CPU a request ({:.2} its own, {:.2} the kernel's), {:.0} % of a core, peak {:.1} MiB",
            per_request(usage.cpu()),
            per_request(usage.user),
            per_request(usage.system),
            usage.cpu().as_secs_f64() / usage.elapsed.as_secs_f64() * 100.0,
            usage.peak_bytes as f64 / f64::from(1 << 20)
        );
    }
    if let (Some(part_bytes), Some(_)) = (sizes.value_bytes, sizes.part_count) {
        let rate = measured.recorder.body_bytes as f64 / measured.seconds.max(1e-9);
        println!("    parts: {}", report::table::parts_and_bytes(rate, part_bytes));
    }
    println!("     load: {:.0} % of its cores", measured.generator_share * 100.0);
    measured.notes.iter().for_each(|note| println!("note: {note}"));
    if let Some(void) = measured.void() {
        println!("VOID: {void}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_protocol_cannot_do_is_refused_by_name() {
        let queue = Protocol::Amqp { is_durable: true };
        for (protocol, scenario) in [
            (Protocol::Http, ScenarioName::List),
            (Protocol::Redis, ScenarioName::Mixed),
            (Protocol::Nats, ScenarioName::Put),
            (queue, ScenarioName::Put),
            (queue, ScenarioName::SqsSendBatch),
        ] {
            assert_eq!(check_operation(protocol, scenario), Ok(()));
        }
        let refused = |protocol, scenario| check_operation(protocol, scenario).expect_err("refused");
        let redis = "list is refused: over RESP 2 there is put, get, mixed and ddb-put only";
        assert_eq!(refused(Protocol::Redis, ScenarioName::List), redis);
        let nats = "get is refused: over NATS JetStream there is put only";
        assert_eq!(refused(Protocol::Nats, ScenarioName::Get), nats);
        let amqp = "echo is refused: over AMQP 0-9-1 there is put, sqs-send and sqs-send-batch only";
        assert_eq!(refused(queue, ScenarioName::Echo), amqp);
    }
}
