//! Every fault that can be planted into what evicts turns the model red, and without it the same test is green: a test that cannot
//! fail proves nothing.
//!
//! `cargo test -p zerocloud-cas --features planted --test planted`. Each run is a process of its own, because `ZEROCLOUD_CAS_PLANT`
//! plants the fault in a whole process.

use std::path::PathBuf;
use std::process::{Command, Stdio};

const MODEL: &str = "what_clients_were_promised_is_there_and_the_oldest_goes_first";

/// A fault, and what the model says of it: one of these.
const CATCHES: [(&str, &[&str]); 10] = [
    ("LeaseIgnored", &["is promised and gone", "stayed, used at"]),
    ("FreshEvicted", &["is promised and gone"]),
    ("PinIgnored", &["is pinned and gone"]),
    ("SharedBlobTaken", &["is promised and gone", "which is gone"]),
    ("UsageForgotten", &["the totals of", "over its quota", "the limit is"]),
    ("GraceSkipped", &["is promised and gone"]),
    ("SlotFreedEarly", &["is promised and gone", "stayed, used at"]),
    ("TouchForgotten", &["stayed, used at"]),
    ("ReservationForgotten", &["the limit is", "over its quota"]),
    ("BlockIgnored", &["is blocked and was served or taken", "is blocked and stored"]),
];
/// Runs that a fault may need: its moment does not come in each.
const RUNS_MAX: u64 = 12;

/// The model with the feature.
fn binary() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--features", "planted", "--message-format", "json", "-q"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--test", "model"])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the model does not build");
    let text = String::from_utf8_lossy(&built.stdout);
    let found = text.lines().find_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    PathBuf::from(found.expect("a test binary"))
}

/// Runs the model; gives its first panic.
fn run(binary: &PathBuf, seed: u64, plant: Option<&str>) -> Option<String> {
    let mut command = Command::new(binary);
    command.args(["--exact", MODEL, "--nocapture"]).env("CACHE_MODEL_SEED", seed.to_string());
    command.env_remove("CACHE_MODEL_OPERATIONS").env_remove("ZEROCLOUD_CAS_PLANT").env("RUST_BACKTRACE", "0");
    if let Some(plant) = plant {
        command.env("ZEROCLOUD_CAS_PLANT", plant);
    }
    let done = command.output().expect("runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("running 1 test"), "{MODEL} is no test");
    let errors = String::from_utf8_lossy(&done.stderr);
    if let Some(plant) = plant {
        assert!(errors.contains(&format!("the fault {plant} is planted")), "{plant} is not planted");
    }
    let panic = errors.lines().skip_while(|line| !line.contains("panicked at")).take(4);
    (!done.status.success()).then(|| panic.collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_planted_fault_turns_the_model_red() {
    let only = std::env::var("ZEROCLOUD_PLANTED_ONLY").ok();
    let binary = binary();
    let mut missed = Vec::new();
    for (plant, words) in CATCHES {
        if only.as_deref().is_some_and(|only| only != plant) {
            continue;
        }
        let caught = (1..=RUNS_MAX).find_map(|seed| Some((seed, run(&binary, seed, Some(plant))?)));
        match caught {
            Some((seed, panic)) if words.iter().any(|word| panic.contains(word)) => {
                println!("{plant}: caught, seed {seed}: {panic:.300}");
            }
            Some((seed, panic)) => {
                missed.push(format!("{plant}, seed {seed}, is seen, but not by what should see it: {panic}"));
            }
            None => missed.push(format!("{plant} is not caught")),
        }
    }
    if let Some(panic) = run(&binary, 1, None) {
        missed.push(format!("red with no fault: {panic}"));
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
