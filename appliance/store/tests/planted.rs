//! Every fault that can be planted turns a lab red, and without it the same lab, with the same seeds, is green. A lab that
//! cannot fail proves nothing.
//!
//! `cargo test -p zerocloud-store --features planted --test planted`; `ZEROCLOUD_PLANTED_ONLY=<fault>` runs one fault.
//! Each lab runs in a process of its own, because `ZEROCLOUD_PLANT` plants the fault in a whole process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A lab: a test binary and one of its tests, or all whose names begin so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lab {
    binary: &'static str,
    test: &'static str,
    /// The variable that takes the seed, where the lab draws at random.
    seed: Option<&'static str>,
    /// The lab's other settings.
    settings: &'static [(&'static str, &'static str)],
}

const MODEL: Lab = Lab {
    binary: "crash_model",
    test: "no_crash_loses_what_was_acknowledged_or_shown",
    seed: Some("ZEROCLOUD_MODEL_SEED"),
    settings: &[("ZEROCLOUD_MODEL_ROUNDS", "36")],
};
const WALK: Lab = Lab {
    binary: "fault_walk",
    test: "no_failure_of_the_disk_loses_what_was_acknowledged",
    seed: Some("ZEROCLOUD_WALK_SEED"),
    settings: &[],
};
const TRANSACTIONS: Lab = Lab {
    binary: "transactions",
    test: "transactions_and_single_writes_lose_nothing_on_one_core",
    seed: Some("ZEROCLOUD_TRANSACTIONS_SEED"),
    settings: &[],
};
const LOG_CRASHES: Lab = Lab {
    binary: "store",
    test: "log::lab::random::ten_thousand_crashes_lose_nothing_that_was_acknowledged_or_shown",
    seed: None,
    settings: &[],
};
const LOG_STATES: Lab = Lab {
    binary: "store",
    test: "log::lab::states::every_crash_state_of_a_run_keeps_what_was_acknowledged",
    seed: None,
    settings: &[],
};
const LOG_FLIPS: Lab = Lab {
    binary: "store",
    test: "log::lab::damage::any_flipped_bit_of_the_last_batch_drops_and_counts_it",
    seed: None,
    settings: &[],
};
const LOG_PROVEN_FLIPS: Lab =
    Lab { test: "log::lab::damage::any_flipped_bit_of_a_proven_batch_is_a_named_error", ..LOG_FLIPS };
const LOG_MISDIRECTED: Lab =
    Lab { test: "log::lab::cases::a_header_inside_a_payload_is_no_witness", ..LOG_FLIPS };
const FLIPS: Lab = Lab {
    binary: "corruption",
    test: "damage_to_any_file_gives_right_data_or_a_named_error",
    seed: Some("ZEROCLOUD_FLIPS_SEED"),
    settings: &[("ZEROCLOUD_FLIPS_KIND", "log"), ("ZEROCLOUD_FLIPS", "12")],
};
const FOLD_CUT_OFF: Lab =
    Lab { binary: "review_findings", test: "a_delete_after_a_fold_that_failed_half_way_stays", ..LOG_FLIPS };
const COMMITTED_KEY: Lab =
    Lab { test: "a_write_after_a_commit_is_not_undone_by_its_resolution", ..FOLD_CUT_OFF };
const REFUSAL: Lab = Lab {
    binary: "crash_rules",
    test: "a_refusal_that_rests_on_a_batch_that_fails_is_no_answer",
    ..FOLD_CUT_OFF
};
const OUTBOX: Lab = Lab {
    binary: "outbox_order",
    test: "a_delivery_that_fails_is_not_overtaken",
    seed: Some("ZEROCLOUD_OUTBOX_ORDER_SEED"),
    settings: &[],
};
const RESIDENT: Lab = Lab {
    binary: "waiting",
    test: "an_answer_that_rests_on_a_resident_of_a_batch_that_fails_is_no_answer",
    ..FOLD_CUT_OFF
};
const PREPARED_BODY: Lab = Lab { test: "the_log_keeps_the_body_of_a_prepare_over_a_fold", ..FOLD_CUT_OFF };

const INSTANT: Lab =
    Lab { test: "merge::tests::a_write_between_two_views_of_an_instant_is_in_both_or_in_none", ..LOG_FLIPS };
const UNSEEN: Lab =
    Lab { binary: "door", test: "a_walk_ends_before_what_may_turn_up_behind_it", ..FOLD_CUT_OFF };
const HELD: Lab = Lab { test: "a_key_that_a_transaction_holds_is_not_written_until_it_is_decided", ..UNSEEN };

/// Which lab finds which fault.
const CATCHES: [(&str, Lab); 26] = [
    ("SyncLeftOut", MODEL),
    ("SyncLeftOut", LOG_CRASHES),
    ("SyncLeftOut", LOG_STATES),
    ("ChainCheckSkipped", LOG_CRASHES),
    ("BatchCrcIgnored", LOG_CRASHES),
    ("BatchCrcIgnored", LOG_STATES),
    ("BatchCrcIgnored", LOG_FLIPS),
    ("CacheTrusted", LOG_CRASHES),
    ("CacheTrusted", MODEL),
    ("NameNotSynced", LOG_CRASHES),
    ("NameNotSynced", MODEL),
    ("ProofIgnored", LOG_PROVEN_FLIPS),
    ("ProofIgnored", FLIPS),
    ("PositionNotChecked", LOG_MISDIRECTED),
    ("BodySyncLeftOut", MODEL),
    ("PackedSyncLeftOut", MODEL),
    ("ReplyBeforeDurable", MODEL),
    ("ReplyBeforeDurable", WALK),
    ("LogRetiredEarly", MODEL),
    ("ExtentsFreedEarly", MODEL),
    ("ForgetEarly", MODEL),
    ("SweepMissesLog", MODEL),
    ("IntentNotHeld", TRANSACTIONS),
    ("CounterLost", MODEL),
    ("KeyNotNoted", MODEL),
    ("OutboxOvertakes", OUTBOX),
];
/// Faults that need one exact order of events: the test that stages it.
const STAGED: [(&str, Lab); 8] = [
    ("ReplyBeforeDurable", REFUSAL),
    ("FreshTrusted", FOLD_CUT_OFF),
    ("IntentNotHeld", COMMITTED_KEY),
    ("CarriedReferenceLost", PREPARED_BODY),
    ("CutNotInstant", INSTANT),
    ("IntentSkipped", UNSEEN),
    ("HoldSkipped", HELD),
    ("ResidentTrusted", RESIDENT),
];
/// Seeds that a lab may need.
const SEEDS: u64 = 16;
/// A lab that takes longer hangs.
const LAB_SECONDS_MAX: u64 = 600;

/// The test binaries with the feature, by name.
fn binaries() -> BTreeMap<String, PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--features", "planted", "--message-format", "json", "-q"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--lib", "--tests"])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the labs do not build");
    let text = String::from_utf8_lossy(&built.stdout);
    text.lines()
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next())
        .map(PathBuf::from)
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.rsplit_once('-')?.0.to_owned();
            Some((name, path))
        })
        .collect()
}

enum Ended {
    Green,
    /// With the first panic.
    Red(String),
    Hung,
}

fn run(binaries: &BTreeMap<String, PathBuf>, lab: Lab, seed: u64, plant: Option<&str>) -> Ended {
    let mut command = Command::new(&binaries[lab.binary]);
    command.args(["--exact", lab.test, "--nocapture"]).stdout(Stdio::piped());
    command.env_remove("ZEROCLOUD_PLANT").envs(lab.settings.iter().copied());
    if let Some(name) = lab.seed {
        command.env(name, seed.to_string());
    }
    if let Some(plant) = plant {
        command.env("ZEROCLOUD_PLANT", plant);
    }
    // To a file: a pipe that nobody empties would stop a lab that says much.
    let said = std::env::temp_dir().join(format!("planted-{}", std::process::id()));
    let mut child =
        command.stderr(std::fs::File::create(&said).expect("temporary file")).spawn().expect("starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(LAB_SECONDS_MAX) {
            child.kill().expect("killed");
            child.wait().expect("waits");
            return Ended::Hung;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let errors = std::fs::read_to_string(&said).unwrap_or_default();
    drop(std::fs::remove_file(&said));
    let mut output = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut output).expect("text");
    assert!(output.contains("running 1 test"), "{} {} is no test", lab.binary, lab.test);
    if status.success() {
        return Ended::Green;
    }
    let panic = errors.lines().skip_while(|line| !line.contains("panicked at")).take(2);
    Ended::Red(panic.collect::<Vec<_>>().join(" "))
}

#[test]
fn every_planted_fault_turns_its_labs_red() {
    let only = std::env::var("ZEROCLOUD_PLANTED_ONLY").ok();
    let binaries = binaries();
    let mut green: BTreeMap<(Lab, u64), bool> = BTreeMap::new();
    let mut missed = Vec::new();
    for (plant, lab) in CATCHES.into_iter().chain(STAGED) {
        if only.as_deref().is_some_and(|only| only != plant) {
            continue;
        }
        let seeds = if lab.seed.is_some() { 1..=SEEDS } else { 1..=1 };
        let mut caught = None;
        for seed in seeds {
            match run(&binaries, lab, seed, Some(plant)) {
                Ended::Green => {}
                Ended::Red(panic) => {
                    caught = Some((seed, panic));
                    break;
                }
                Ended::Hung => missed.push(format!("{plant}: {} hangs with seed {seed}", lab.test)),
            }
        }
        let Some((seed, panic)) = caught else {
            println!("{plant}: MISSED by {}", lab.test);
            missed.push(format!("{plant} is not caught by {}", lab.test));
            continue;
        };
        println!("{plant}: caught by {}, seed {seed}: {panic:.160}", lab.test);
        let sound = *green
            .entry((lab, seed))
            .or_insert_with(|| matches!(run(&binaries, lab, seed, None), Ended::Green));
        if !sound {
            missed.push(format!("{} is red with seed {seed} and no fault", lab.test));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
