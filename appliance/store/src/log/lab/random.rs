//! Random lives: write, fold, lose power at any operation, kill, fail a sync, recover, and be checked, again and again.

use super::*;
use crate::disk::sim::{Injection, OperationKind};
use crate::planted::{self, Plant};

/// Lives per seed; 500 seeds make 10,000 crashes.
const LIVES: u64 = 20;
const SEEDS: u64 = 500;
/// A planted fault must be found within so many seeds.
const SEEDS_UNTIL_CAUGHT: u64 = 200;

/// Runs one seed. Errors: what the log did wrong.
fn run(seed: u64) -> Result<(), String> {
    let mut random = SplitMix64(seed);
    let config = config(8 + random.below(8) as u32, 1 + random.below(5) as u32);
    let mut disk = new_disk(random.next_u64());
    let mut model = Model::default();
    for life in 0..LIVES {
        disk.clear_injections();
        // Some lives end while recovery is still at work.
        if random.one_in(4) {
            disk.cut_power_after(random.below(40));
        }
        let epoch = random.next_u64();
        match Machine::start(&disk, &config, epoch, &mut model) {
            Ok(machine) => live(machine, epoch, &mut random, &mut model),
            Err(Failure::Wrong(what)) => return Err(format!("life {life}: {what}")),
            Err(Failure::Fault(Fault::Io { .. })) => {}
            Err(Failure::Fault(fault)) => return Err(format!("life {life}: {fault}")),
        }
        let seed = random.next_u64();
        disk = if random.one_in(4) { disk.restart() } else { disk.crash(seed) };
    }
    Ok(())
}

/// Writes until something fails or enough was written.
fn live(mut machine: Machine, epoch: u64, random: &mut SplitMix64, model: &mut Model) {
    match random.below(4) {
        0 => machine.disk.cut_power_after(random.below(60)),
        1 => machine.disk.inject(Injection {
            short: random.one_in(2),
            ..Injection::eio(OperationKind::Any, 1 + random.below(40))
        }),
        _ => {}
    }
    let batch_bytes_max = u64::from(machine.config.batch_bytes_max) - format::HEADER_BYTES as u64;
    for _ in 0..random.below(20) {
        let bytes_max = match random.below(10) {
            0..5 => 300,
            5..9 => batch_bytes_max,
            _ => machine.config.large_payload_bytes_max() as u64,
        };
        let count = random.below(bytes_max + 1);
        let payload = payload(random.next_u64(), count as usize);
        if machine.append(&payload, model).is_err() {
            return;
        }
        if random.one_in(8) {
            let folded = random.below(3);
            let lsn = machine.durable.0.saturating_sub(folded);
            if model.checkpoints.contains_key(&lsn) && machine.fold(lsn, model).is_err() {
                return;
            }
        }
    }
    if random.one_in(2) {
        let flight: Vec<(Vec<u8>, bool)> = (0..1 + random.below(3))
            .map(|_| (payload(random.next_u64(), random.below(6000) as usize), !random.one_in(3)))
            .collect();
        if machine.writer.current_segment() == Some(machine.writer.last().position.segment) {
            machine.leave_in_flight(&flight, epoch, model);
        }
    }
}

/// The first seed that fails, with what went wrong.
fn first_failure(seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| run(seed).err().map(|what| (seed, what)))
}

#[test]
fn ten_thousand_crashes_lose_nothing_that_was_acknowledged_or_shown() {
    if let Some((seed, what)) = first_failure(SEEDS) {
        panic!(
            "seed {seed}: {what}; replay with ZEROCLOUD_LOG_SEED={seed} cargo test -p zerocloud-store one_seed"
        );
    }
}

#[test]
fn one_seed_runs_clean() {
    let seed = std::env::var("ZEROCLOUD_LOG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    assert_eq!(run(seed), Ok(()), "seed {seed}");
}

fn is_caught(plant: Plant) {
    let caught = planted::with(plant, || first_failure(SEEDS_UNTIL_CAUGHT));
    assert!(caught.is_some(), "{plant:?} was planted, and {SEEDS_UNTIL_CAUGHT} seeds found nothing");
}

#[test]
fn a_planted_missing_sync_is_caught() {
    is_caught(Plant::SyncLeftOut);
}

#[test]
fn a_planted_missing_chain_check_is_caught() {
    is_caught(Plant::ChainCheckSkipped);
}

#[test]
fn a_planted_missing_payload_check_is_caught() {
    is_caught(Plant::BatchCrcIgnored);
}

#[test]
fn a_planted_trust_in_the_page_cache_is_caught() {
    is_caught(Plant::CacheTrusted);
}

#[test]
fn a_planted_segment_name_without_sync_is_caught() {
    is_caught(Plant::NameNotSynced);
}
