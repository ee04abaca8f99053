//! `zerocloud cache`: what the build cache of a running node holds, making room in it, and a node that serves nothing else.
//! Invariant: the words of `stats` are those that scripts were written for: `87% cache hits (last 7 days)`,
//! `234GB / 500GB used`, `1. zig-clap (1,234 downloads)`.
//! Leaves to client.rs: the way to the node. To the cache: its figures, and what may go.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use http_types::Method;
use serde_json::{Value, json};

use crate::block_command::{self, BlockArgs, BlockedArgs, UnblockArgs};
use crate::cli::ServeArgs;
use crate::client::{Node, NodeArgs, print};
use crate::config::cache::{parse_bytes, parse_namespace};
use crate::exit::Failure;
use crate::serve;

/// `cache`.
#[derive(Args, Debug)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Subcommand, Debug)]
enum CacheCommand {
    /// Show how often the cache helped, how full it is, and what is fetched most
    #[command(after_help = "Examples:\n  \
        zerocloud cache stats\n  \
        zerocloud cache stats --metric hit-rate --window 24h\n  \
        zerocloud cache stats --json")]
    Stats(StatsArgs),
    /// Make room now: what is kept too long, or was used longest ago
    #[command(after_help = "Examples:\n  \
        zerocloud cache gc --dry-run\n  \
        zerocloud cache gc --target-bytes 50GB\n  \
        zerocloud cache gc --older-than-days 30 --namespace web")]
    Gc(GcArgs),
    /// Take an object away for good: nobody gets it any more, and nobody can bring it
    #[command(after_help = "Examples:\n  \
        zerocloud cache block 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --reason poisoned")]
    Block(BlockArgs),
    /// Let an object be brought again that is blocked
    Unblock(UnblockArgs),
    /// List what is blocked, since when, by whom and why
    Blocked(BlockedArgs),
    /// Serve the build cache and nothing else
    #[command(after_help = "Examples:\n  \
        zerocloud cache serve --port 8080 --storage /data/cache\n  \
        MAX_CACHE_SIZE=100GB zerocloud cache serve --storage /data/cache --listen 0.0.0.0:8080 --tls-cert c.pem --tls-key k.pem")]
    Serve(Box<CacheServeArgs>),
}

#[derive(Args, Debug)]
struct StatsArgs {
    /// Only this one
    #[arg(long, value_enum)]
    metric: Option<Metric>,
    /// The time that is looked at
    #[arg(long, value_enum, default_value_t = Window::Week)]
    window: Window,
    /// Only this namespace
    #[arg(long, value_name = "N", value_parser = parse_namespace)]
    namespace: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Metric {
    /// How many lookups were hits.
    HitRate,
    /// How much is stored.
    Storage,
    /// What is fetched most.
    #[value(alias = "top-packages")]
    Top,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Window {
    #[value(name = "1h")]
    Hour,
    #[value(name = "24h")]
    Day,
    #[value(name = "7d")]
    Week,
    #[value(name = "30d")]
    Month,
}

impl Window {
    /// As the node is asked, and as a person is told.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Window::Hour => ("1h", "last hour"),
            Window::Day => ("24h", "last 24 hours"),
            Window::Week => ("7d", "last 7 days"),
            Window::Month => ("30d", "last 30 days"),
        }
    }
}

#[derive(Args, Debug)]
struct GcArgs {
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what was used longest ago until no more than this is stored: 50GB, 20GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    target_bytes: Option<u64>,
    /// Remove what nobody has used for so many days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    older_than_days: Option<u64>,
    /// Only this namespace
    #[arg(long, value_name = "N", value_parser = parse_namespace)]
    namespace: Option<String>,
    /// Print the job's number and do not wait for its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// `cache serve`.
#[derive(Args, Debug)]
struct CacheServeArgs {
    /// The port on this machine's loopback address; --listen for other addresses [default: 8080]
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// The data directory, as --data
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    storage: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArgs,
}

const STATS: &str = "/api/v1/stats";
const GC: &str = "/api/v1/gc";
/// Between two looks at a collection under way.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Does what the command says.
pub fn run(args: &CacheArgs) -> Result<(), Failure> {
    match &args.command {
        CacheCommand::Stats(args) => stats(args),
        CacheCommand::Gc(args) => gc(args),
        CacheCommand::Block(args) => block_command::block(args),
        CacheCommand::Unblock(args) => block_command::unblock(args),
        CacheCommand::Blocked(args) => block_command::blocked(args),
        CacheCommand::Serve(args) => serve::run(&args.to_serve()),
    }
}

impl CacheServeArgs {
    fn to_serve(&self) -> ServeArgs {
        let mut serve = self.serve.clone();
        serve.cache_only = true;
        serve.data = serve.data.or_else(|| self.storage.clone());
        if let Some(port) = self.port {
            serve.listen = vec![SocketAddr::from(([127, 0, 0, 1], port))];
        }
        serve
    }
}

fn stats(args: &StatsArgs) -> Result<(), Failure> {
    let (asked, told) = args.window.words();
    let mut query = vec![("window", asked.to_owned())];
    query.extend(args.namespace.iter().map(|name| ("ns", name.clone())));
    let found = Node::find(&args.node)?.ask_well(Method::GET, STATS, &query, None)?;
    if args.node.json {
        return print(&format!("{found}\n"));
    }
    let shows = |metric| args.metric.is_none_or(|only| only == metric);
    let mut text = String::new();
    if shows(Metric::HitRate) {
        text.push_str(&hit_rate(&found, told));
    }
    if shows(Metric::Storage) {
        text.push_str(&storage(&found));
    }
    if shows(Metric::Top) {
        text.push_str(&top(&found));
    }
    print(&text)
}

fn hit_rate(found: &Value, window: &str) -> String {
    let (hits, misses) = (number(found, "hits"), number(found, "misses"));
    let lookups = hits.saturating_add(misses);
    let percent = |part: u64| (u128::from(part) * 100 + u128::from(lookups) / 2) / u128::from(lookups.max(1));
    match lookups {
        0 => format!("no cache lookups ({window})\n"),
        // What is not all is never said to be.
        _ if misses > 0 => format!("{}% cache hits ({window})\n", percent(hits).min(99)),
        _ => format!("100% cache hits ({window})\n"),
    }
}

fn storage(found: &Value) -> String {
    format!("{} / {} used\n", bytes(number(found, "stored_bytes")), bytes(number(found, "max_bytes")))
}

fn top(found: &Value) -> String {
    let list = found["top_packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |(index, package): (usize, &Value)| {
        let name = package["name"].as_str().unwrap_or("-").escape_default().to_string();
        format!("{}. {name} ({} downloads)\n", index + 1, thousands(number(package, "downloads")))
    };
    list.iter().enumerate().map(line).collect()
}

fn gc(args: &GcArgs) -> Result<(), Failure> {
    let node = Node::find(&args.node)?;
    let wish = json!({
        "dry_run": args.dry_run,
        "target_bytes": args.target_bytes,
        "older_than_days": args.older_than_days,
        "ns": args.namespace,
    });
    let begun = node.ask_well(Method::POST, GC, &[], Some(&wish))?;
    let job = begun["id"].as_str().map_or_else(|| begun["id"].to_string(), str::to_owned);
    if args.no_wait {
        return print(&if args.node.json { format!("{begun}\n") } else { format!("{job}\n") });
    }
    let path = format!("{GC}/{job}");
    let shows_progress = std::io::stderr().is_terminal() && !args.node.json;
    let ended = loop {
        let state = node.ask_well(Method::GET, &path, &[], None)?;
        if state["done"] == true {
            break state;
        }
        if shows_progress {
            let (objects, freed) = (number(&state, "freed_objects"), number(&state, "freed_bytes"));
            eprint!("\r\x1b[K{} objects, {} so far", thousands(objects), bytes(freed));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    if args.node.json {
        return print(&format!("{ended}\n"));
    }
    let verb = if args.dry_run { "would free" } else { "freed" };
    let kept = number(&ended, "kept_leased");
    print(&format!(
        "{verb} {} objects, {}; {} kept for whoever was just promised them\n",
        thousands(number(&ended, "freed_objects")),
        bytes(number(&ended, "freed_bytes")),
        thousands(kept)
    ))
}

fn number(document: &Value, name: &str) -> u64 {
    document[name].as_u64().unwrap_or(0)
}

/// `234GB`: three digits at most before the unit, one behind the point where there is only one before it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut scale) = (0, 1_u64);
    // Rounded up to the next unit where 999.5 would be shown as 1000.
    while unit + 1 < UNITS.len() && count >= scale * 1_000 - scale / 2 {
        unit += 1;
        scale *= 1_000;
    }
    let tenths = (u128::from(count) * 10 + u128::from(scale) / 2) / u128::from(scale);
    if tenths < 100 && tenths % 10 != 0 {
        return format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit]);
    }
    format!("{}{}", (u128::from(count) + u128::from(scale) / 2) / u128::from(scale), UNITS[unit])
}

/// `1,234`.
fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_exactly_those_that_scripts_know() {
        let found = json!({
            "hits": 870, "misses": 130, "stored_bytes": 234_000_000_000_u64, "max_bytes": 500_000_000_000_u64,
            "top_packages": [{ "name": "zig-clap", "downloads": 1_234 }, { "name": "b\u{7}", "downloads": 7 }],
        });
        assert_eq!(hit_rate(&found, Window::Week.words().1), "87% cache hits (last 7 days)\n");
        assert_eq!(storage(&found), "234GB / 500GB used\n");
        assert_eq!(top(&found), "1. zig-clap (1,234 downloads)\n2. b\\u{7} (7 downloads)\n");
    }

    #[test]
    fn a_rate_is_rounded_and_never_up_to_all() {
        let of = |hits: u64, misses: u64| hit_rate(&json!({ "hits": hits, "misses": misses }), "w");
        assert_eq!(of(0, 0), "no cache lookups (w)\n");
        assert_eq!((of(1, 0), of(0, 1)), ("100% cache hits (w)\n".into(), "0% cache hits (w)\n".into()));
        assert_eq!(of(9_999, 1), "99% cache hits (w)\n");
        assert_eq!(of(1, 2), "33% cache hits (w)\n");
        assert_eq!(of(2, 1), "67% cache hits (w)\n");
        assert_eq!(of(u64::MAX, u64::MAX), "99% cache hits (w)\n");
    }

    #[test]
    fn bytes_have_three_digits_and_a_unit() {
        for (count, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1KB"),
            (1_499, "1.5KB"),
            (9_949, "9.9KB"),
            (9_951, "10KB"),
            (999_499, "999KB"),
            (999_500, "1MB"),
            (234_400_000_000, "234GB"),
            (1_500_000_000_000, "1.5TB"),
            (u64::MAX, "18447PB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(count), text);
        }
    }
}
