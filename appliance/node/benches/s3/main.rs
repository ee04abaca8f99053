//! What S3 costs through the real binary, as ratios against limits measured in the same interleaved run.
//!
//! The server runs on core 0 with one shard, the load on another core. Every limit is a server or a loop that does
//! nothing but the part that cannot be avoided: an echo on the same reactor and HTTP code, a bare log append, MD5
//! lanes, a sink behind the same sockets. Rounds alternate between the two, so that what disturbs one disturbs both.
//!
//! `cargo bench -p zerocloud --bench s3 -- [--short] [--only hot,put,large,list,cold] [--rounds N] [--seconds N]
//! [--keys N] [--directory DIR]`. `ZEROCLOUD_BINARY` names another binary to measure. Without another core to put the
//! load on, figures are printed all the same and mean little.
#![allow(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

/// The binary's own allocator, so that the limits are not slowed down by another one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod echo;
mod hot;
mod large;
mod limits;
mod listing;
mod load;
mod process;
mod put;
mod sign;

use std::path::PathBuf;

/// What to run.
pub struct Settings {
    only: Vec<String>,
    /// Rounds of each comparison.
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
    /// Keys in the bucket that is listed.
    pub key_count: usize,
    /// Objects of 64 MiB per client and round.
    pub large_count: usize,
    /// Where data directories are made.
    pub directory: PathBuf,
}

impl Settings {
    fn read() -> Settings {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).clone())
        };
        let number = |name: &str, default: f64| {
            value(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}?")))
        };
        let short = arguments.iter().any(|argument| argument == "--short");
        let pick = |full: f64, brief: f64| if short { brief } else { full };
        Settings {
            only: value("--only")
                .map(|text| text.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            rounds: number("--rounds", pick(5.0, 1.0)) as usize,
            seconds: number("--seconds", pick(2.0, 0.3)),
            key_count: number("--keys", pick(1_000_000.0, 3_000.0)) as usize,
            large_count: pick(2.0, 1.0) as usize,
            directory: value("--directory").map_or_else(std::env::temp_dir, PathBuf::from),
        }
    }

    fn runs(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// The middle of some numbers.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(echo::ARGUMENT) {
        return echo::serve();
    }
    let settings = Settings::read();
    let cores = ring::cores();
    process::CORE.set(cores[0]).unwrap();
    let load_core = cores[1 % cores.len()];
    println!("server on core {}, load on core {load_core}, {} rounds", cores[0], settings.rounds);
    if cores.len() == 1 {
        println!("one core only: server and load disturb each other");
    }
    let config = ring::ReactorConfig { core: Some(load_core), ..ring::ReactorConfig::default() };
    let mut reactor = ring::Reactor::new(&config).unwrap();
    if settings.runs("hot") {
        hot::run(&settings, &mut reactor);
    }
    if settings.runs("put") {
        put::run(&settings, &mut reactor);
    }
    if settings.runs("large") {
        large::run(&settings, &mut reactor);
    }
    if settings.runs("list") || settings.runs("cold") {
        listing::run(&settings, &mut reactor, settings.runs("list"), settings.runs("cold"));
    }
}
