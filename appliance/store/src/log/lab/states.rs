//! Enumerated crash states of a recorded run, and the walk that makes each single operation of a run fail.

use super::*;
use crate::disk::sim::{CrashStates, Injection, OperationKind};
use crate::planted::{self, Plant};

/// Batches in the run whose crash states are enumerated.
const ENUMERATED_BATCHES: u64 = 160;
/// Batches in the run of which each operation fails once.
const WALKED_BATCHES: u64 = 14;

/// A run with segment rolls, a fold and recycling. Each acknowledgement is marked with the batch's LSN.
fn workload(
    disk: &SimDisk,
    config: &LogConfig,
    batch_count: u64,
    model: &mut Model,
    log: &mut Vec<Model>,
) -> Result<(), Fault> {
    let started = Machine::start(disk, config, 1, model);
    let mut machine = match started {
        Ok(machine) => machine,
        Err(Failure::Fault(fault)) => return Err(fault),
        Err(Failure::Wrong(what)) => panic!("{what}"),
    };
    for number in 0..batch_count {
        log.push(after_trying(model, &machine, number));
        machine.append(&sized_payload(number), model)?;
        disk.mark(log.len() as u64);
        log.push(model.clone());
        if number % 5 == 4 {
            // The index's commit comes before anything is recycled.
            model.fold(number - 1);
            disk.mark(log.len() as u64);
            log.push(model.clone());
            machine.recycle(model)?;
        }
    }
    Ok(())
}

fn sized_payload(number: u64) -> Vec<u8> {
    payload(number, (number as usize * 1_777) % 8_000)
}

/// The model while the next batch is on its way.
fn after_trying(model: &Model, machine: &Machine, number: u64) -> Model {
    let mut model = model.clone();
    model.tried.insert(machine.durable.0 + 1, sized_payload(number));
    model
}

/// Walks all crash states. Errors: the first state that breaks a promise.
fn walk(batch_count: u64, tear_step_sectors: usize) -> Result<u64, String> {
    let (disk, config) = (new_disk(1), config(4, 2));
    disk.record();
    let mut log = vec![Model::default()];
    workload(&disk, &config, batch_count, &mut Model::default(), &mut log).expect("nothing fails here");
    let mut count = 0;
    for state in CrashStates::new(&disk, tear_step_sectors) {
        // The mark names the model after the acknowledgement; the one behind it has the next batch on its way.
        let at = state.marks.last().map_or(0, |&mark| mark as usize);
        let mut model = log[at].clone();
        if let Some(next) = log.get(at + 1) {
            model.tried.extend(next.tried.clone());
        }
        let (recovered, payloads) =
            replay(&state.disk, &config, model.from).map_err(|fault| format!("{}: {fault}", state.what))?;
        model.check(recovered.tail, payloads).map_err(|what| format!("{}: {what}", state.what))?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn every_crash_state_of_a_run_keeps_what_was_acknowledged() {
    let count = walk(ENUMERATED_BATCHES, 1).unwrap_or_else(|what| panic!("{what}"));
    assert!(count > 5_000, "only {count} states");
}

#[test]
fn a_planted_missing_sync_is_caught_by_enumeration() {
    assert!(planted::with(Plant::SyncLeftOut, || walk(WALKED_BATCHES, 4)).is_err());
}

#[test]
fn a_planted_missing_payload_check_is_caught_by_enumeration() {
    assert!(planted::with(Plant::BatchCrcIgnored, || walk(WALKED_BATCHES, 4)).is_err());
}

#[test]
fn a_planted_segment_name_without_sync_is_caught_by_enumeration() {
    assert!(planted::with(Plant::NameNotSynced, || walk(WALKED_BATCHES, 4)).is_err());
}

#[test]
fn whichever_operation_fails_nothing_acknowledged_is_lost() {
    let config = config(4, 2);
    for (errno, short) in [(libc::EIO, false), (libc::EIO, true), (libc::ENOSPC, true)] {
        let mut nth = 1;
        loop {
            let disk = new_disk(nth);
            disk.inject(Injection { kind: OperationKind::Any, nth, errno, short, sticky: false });
            let before = disk.operation_count();
            let (mut model, mut log) = (Model::default(), Vec::new());
            let result = workload(&disk, &config, WALKED_BATCHES, &mut model, &mut log);
            // A process that met a fault is restarted; then the power fails.
            disk.clear_injections();
            for disk in [disk.crash(nth), disk.restart(), disk.restart().crash(nth)] {
                let mut model = model.clone();
                let (recovered, payloads) = replay(&disk, &config, model.from)
                    .unwrap_or_else(|fault| panic!("operation {nth} failed with {errno}: {fault}"));
                let checked = model.check(recovered.tail, payloads);
                checked.unwrap_or_else(|what| panic!("operation {nth} failed with {errno}: {what}"));
            }
            if result.is_ok() && nth > disk.operation_count() - before {
                assert!(nth > 70, "the walk ended after {nth} operations");
                break;
            }
            nth += 1;
        }
    }
}

#[test]
fn whichever_operation_of_recovery_fails_the_next_one_finds_all() {
    let config = config(4, 2);
    let (disk, mut model, mut log) = (new_disk(1), Model::default(), Vec::new());
    workload(&disk, &config, WALKED_BATCHES, &mut model, &mut log).expect("nothing fails here");
    for nth in 1.. {
        let disk = disk.restart();
        disk.inject(Injection::eio(OperationKind::Any, nth));
        let failed = replay(&disk, &config, model.from).is_err();
        let ended = disk.operation_count() < nth;
        disk.clear_injections();
        let mut after = model.clone();
        let (recovered, payloads) = replay(&disk.crash(nth), &config, model.from).unwrap();
        after.check(recovered.tail, payloads).unwrap_or_else(|what| panic!("operation {nth}: {what}"));
        assert_ne!(failed, ended, "operation {nth} failed, and recovery must say so");
        if ended {
            break;
        }
    }
}
