//! Every fault that can be planted into the store and that shows in what clients see turns the history red, and without it
//! the same test is green: a test that cannot fail proves nothing.
//!
//! `cargo test -p zerocloud-dynamodb --features planted --test planted`. Each run is a process of its own, because
//! `ZEROCLOUD_PLANT` plants the fault in a whole process.

use std::path::PathBuf;
use std::process::{Command, Stdio};

const HISTORY: &str = "what_concurrent_clients_see_is_strictly_serializable";

/// A fault, and what the test says of it.
const CATCHES: [(&str, &str); 3] = [
    ("StaleView", "not strictly serializable"),
    ("HoldSkipped", "not strictly serializable"),
    ("IntentSkipped", "the stream leaves out a version"),
];
/// Runs that a fault may need: its moment does not come in each.
const RUNS_MAX: u64 = 6;

/// The history test with the feature.
fn binary() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--features", "planted", "--message-format", "json", "-q"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--test", "history"])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the lab does not build");
    let text = String::from_utf8_lossy(&built.stdout);
    let found = text.lines().find_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    PathBuf::from(found.expect("a test binary"))
}

/// Runs the test; gives its first panic.
fn run(binary: &PathBuf, seed: u64, plant: Option<&str>) -> Option<String> {
    let mut command = Command::new(binary);
    command.args(["--exact", HISTORY, "--nocapture"]).env_remove("ZEROCLOUD_PLANT");
    command.env("DYNAMODB_HISTORY_SEED", seed.to_string()).env("DYNAMODB_HISTORY_CHANGES", "0");
    if let Some(plant) = plant {
        command.env("ZEROCLOUD_PLANT", plant);
    }
    let done = command.output().expect("runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("running 1 test"), "{HISTORY} is no test");
    let errors = String::from_utf8_lossy(&done.stderr);
    if let Some(plant) = plant {
        assert!(errors.contains(&format!("the fault {plant} is planted")), "{plant} is not planted");
    }
    let panic = errors.lines().skip_while(|line| !line.contains("panicked at")).take(20);
    (!done.status.success()).then(|| panic.collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_planted_fault_turns_the_history_red() {
    let only = std::env::var("ZEROCLOUD_PLANTED_ONLY").ok();
    let binary = binary();
    let mut missed = Vec::new();
    for (plant, words) in CATCHES {
        if only.as_deref().is_some_and(|only| only != plant) {
            continue;
        }
        let caught = (1..=RUNS_MAX).find_map(|seed| Some((seed, run(&binary, seed, Some(plant))?)));
        match caught {
            Some((seed, panic)) if panic.contains(words) => {
                println!("{plant}: caught, seed {seed}: {panic:.200}");
                if let Some(panic) = run(&binary, seed, None) {
                    missed.push(format!("red with seed {seed} and no fault: {panic}"));
                }
            }
            Some((_, panic)) => {
                missed.push(format!("{plant} is seen, but not by what should see it: {panic}"))
            }
            None => missed.push(format!("{plant} is not caught")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
