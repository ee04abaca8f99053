//! Operations that wait: who runs when, and that nobody is forgotten.

mod harness;
mod rig;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{PATIENCE, Random, TABLE, call, run, seed, with_store, within};
use ring::Backend;
use store::disk::sim::{Injection, OperationKind, SimDisk};
use store::{
    Clock, Fault, ManualClock, Operation, Outcome, ShardId, Store, StoreConfig, Timestamp, Tx, WaitKey,
};

const SHARD: ShardId = ShardId(0);
const KEY: WaitKey = WaitKey(1);
const FAR: Timestamp = Timestamp(u64::MAX);
const START: Timestamp = Timestamp(1_000_000);

/// What the shard remembers: tokens to be had, and what was noted, in order.
#[derive(Default)]
struct Memory {
    tokens: usize,
    notes: Vec<u32>,
}

/// What was noted on a shard.
async fn notes(store: &Store, shard: ShardId) -> Vec<u32> {
    let look = |tx: &mut Tx<'_>| {
        Ok(Outcome::Rollback(tx.resident::<Memory>().map_or_else(Vec::new, |memory| memory.notes.clone())))
    };
    store.submit(shard, call(look)).await.expect("runs")
}

/// Adds tokens and wakes as many.
fn give(count: usize) -> impl Operation<Reply = ()> {
    call(move |tx: &mut Tx<'_>| {
        tx.put(TABLE, b"given", &[], Vec::new(), false);
        tx.then::<Memory>(move |memory, wakes| {
            memory.tokens += count;
            wakes.wake(KEY, count);
        });
        Ok(Outcome::Commit(()))
    })
}

/// Takes a token, or waits for one until `until` and gives the time then.
fn take(number: u32, until: Timestamp) -> impl Operation<Reply = Option<Timestamp>> {
    call(move |tx: &mut Tx<'_>| {
        if tx.resident::<Memory>().is_some_and(|memory| memory.tokens > 0) {
            tx.put(TABLE, b"taken", &[], Vec::new(), false);
            tx.then::<Memory>(move |memory, _| {
                memory.tokens -= 1;
                memory.notes.push(number);
            });
            return Ok(Outcome::Commit(None));
        }
        if tx.now() >= until {
            return Ok(Outcome::Rollback(Some(tx.now())));
        }
        Ok(Outcome::Wait { key: KEY, until })
    })
}

type Taking = ring::Task<Result<Option<Timestamp>, Fault>>;

fn spawn_take(store: &Store, number: u32, until: Timestamp) -> Taking {
    let store = store.clone();
    ring::spawn(async move { store.submit(SHARD, take(number, until)).await })
}

/// Waits until so many operations wait on the shard.
async fn waiting(store: &Store, count: u64) {
    while store.status()[usize::from(SHARD.0)].waiting != count {
        ring::sleep(Duration::from_millis(1)).await;
    }
}

fn one_core<T>(name: &str, work: impl AsyncFnOnce(Store) -> T) -> T {
    let dir = TempDir::new(name);
    run(small_config(&dir.0, 1), 1, true, true, move |store| work(store)).expect("opens")
}

/// A store whose clock stands still.
fn manual<T>(name: &str, work: impl AsyncFnOnce(Store, ManualClock) -> T) -> T {
    let dir = TempDir::new(name);
    let clock = ManualClock::new(START);
    let config = StoreConfig { clock: Clock::Manual(clock.clone()), ..small_config(&dir.0, 1) };
    run(config, 1, true, true, move |store| work(store, clock)).expect("opens")
}

#[test]
fn the_oldest_waiter_is_woken_first_also_after_a_wake_in_vain() {
    one_core("wake-order", async |store| {
        let mut tasks = Vec::new();
        for number in 0..5 {
            tasks.push(spawn_take(&store, number, FAR));
            waiting(&store, u64::from(number) + 1).await;
        }
        let in_vain = call(|tx: &mut Tx<'_>| {
            tx.then::<Memory>(|_, wakes| wakes.wake(KEY, 3));
            Ok(Outcome::Commit(()))
        });
        store.submit(SHARD, in_vain).await.expect("commits");
        waiting(&store, 5).await;
        store.submit(SHARD, give(1)).await.expect("commits");
        waiting(&store, 4).await;
        store.submit(SHARD, give(4)).await.expect("commits");
        for task in tasks {
            assert_eq!(task.await.expect("takes"), None);
        }
        assert_eq!(notes(&store, SHARD).await, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_waiter_hears_of_what_comes_in_the_same_turn() {
    one_core("wake-turn", async |store| {
        for number in 0..50 {
            let taking = spawn_take(&store, number, FAR);
            let giving = ring::spawn({
                let store = store.clone();
                async move { store.submit(SHARD, give(1)).await }
            });
            assert_eq!(taking.await.expect("takes"), None);
            giving.await.expect("gives");
        }
        assert_eq!(notes(&store, SHARD).await.len(), 50);
    });
}

#[test]
fn other_keys_are_left_alone() {
    one_core("wake-keys", async |store| {
        let other = spawn_take(&store, 7, FAR);
        waiting(&store, 1).await;
        let wake_neighbours = call(|tx: &mut Tx<'_>| {
            tx.then::<Memory>(|memory, wakes| {
                memory.tokens = 1;
                wakes.wake(WaitKey(KEY.0 - 1), 10);
                wakes.wake(WaitKey(KEY.0 + 1), 10);
            });
            Ok(Outcome::Commit(()))
        });
        store.submit(SHARD, wake_neighbours).await.expect("commits");
        store.catch_up().await.expect("sound");
        assert!(!other.is_finished());
        store.submit(SHARD, give(0)).await.expect("commits");
        assert!(!other.is_finished(), "a wake of none is none");
        store.submit(SHARD, give(1)).await.expect("commits");
        other.await.expect("takes");
    });
}

#[test]
fn the_wake_of_a_caller_who_is_gone_passes_to_the_next() {
    one_core("wake-gone", async |store| {
        let first = spawn_take(&store, 1, FAR);
        waiting(&store, 1).await;
        let second = spawn_take(&store, 2, FAR);
        waiting(&store, 2).await;
        assert!(first.cancel().await.is_none());
        store.submit(SHARD, give(1)).await.expect("commits");
        within(PATIENCE, second).await.expect("the wake passes on").expect("takes");
        assert_eq!(notes(&store, SHARD).await, [2]);
    });
}

#[test]
fn the_wake_of_a_caller_who_goes_before_it_runs_passes_to_the_next() {
    one_core("wake-going", async |store| {
        let first = spawn_take(&store, 1, FAR);
        waiting(&store, 1).await;
        let second = spawn_take(&store, 2, FAR);
        waiting(&store, 2).await;
        let submit = |operation| {
            let store = store.clone();
            ring::spawn(async move { store.submit(SHARD, operation).await })
        };
        // The wake comes with the first batch. Between it and the woken operation lie more batches.
        let giving = submit(large_give(1));
        let filler: Vec<_> = (0..8).map(|_| submit(large_give(0))).collect();
        giving.await.expect("gives");
        assert!(filler.iter().any(|task| !task.is_finished()), "all of it ran at once");
        assert!(first.cancel().await.is_none(), "it ran too early");
        within(PATIENCE, second).await.expect("the wake passes on").expect("takes");
        for task in filler {
            task.await.expect("commits");
        }
        assert_eq!(notes(&store, SHARD).await, [2]);
    });
}

/// `give` with effects that fill a batch.
fn large_give(
    count: usize,
) -> rig::Call<impl FnMut(&mut Tx<'_>) -> Result<Outcome<()>, Fault> + Send + 'static> {
    call(move |tx: &mut Tx<'_>| {
        tx.put(TABLE, b"large", &[0; 200 << 10], Vec::new(), false);
        tx.then::<Memory>(move |memory, wakes| {
            memory.tokens += count;
            wakes.wake(KEY, count);
        });
        Ok(Outcome::Commit(()))
    })
}

#[test]
fn the_wake_of_an_operation_that_fails_passes_to_the_next() {
    one_core("wake-fails", async |store| {
        let mut runs = 0;
        let failing = call(move |_: &mut Tx<'_>| -> Result<Outcome<()>, Fault> {
            runs += 1;
            if runs == 1 { Ok(Outcome::Wait { key: KEY, until: FAR }) } else { Err(Fault::Busy) }
        });
        let first = ring::spawn({
            let store = store.clone();
            async move { store.submit(SHARD, failing).await }
        });
        waiting(&store, 1).await;
        let second = spawn_take(&store, 2, FAR);
        waiting(&store, 2).await;
        store.submit(SHARD, give(1)).await.expect("commits");
        assert!(matches!(first.await, Err(Fault::Busy)));
        within(PATIENCE, second).await.expect("the wake passes on").expect("takes");
    });
}

#[test]
fn the_wake_of_an_operation_that_rolls_back_passes_to_the_next() {
    one_core("wake-rolls-back", async |store| {
        let mut runs = 0;
        let refusing = call(move |_: &mut Tx<'_>| {
            runs += 1;
            Ok(if runs == 1 { Outcome::Wait { key: KEY, until: FAR } } else { Outcome::Rollback(runs) })
        });
        let first = ring::spawn({
            let store = store.clone();
            async move { store.submit(SHARD, refusing).await }
        });
        waiting(&store, 1).await;
        let second = spawn_take(&store, 2, FAR);
        waiting(&store, 2).await;
        store.submit(SHARD, give(1)).await.expect("commits");
        assert_eq!(first.await.expect("answers"), 2);
        within(PATIENCE, second).await.expect("the wake passes on").expect("takes");
    });
}

#[test]
fn a_waiter_runs_again_at_its_time_and_not_before() {
    manual("until", async |store, clock| {
        let until = START.plus_ms(1_000);
        let taking = spawn_take(&store, 1, until);
        waiting(&store, 1).await;
        clock.advance(Duration::from_millis(999));
        store.catch_up().await.expect("sound");
        assert_eq!(store.status()[0].waiting, 1);
        clock.advance(Duration::from_millis(1));
        assert_eq!(taking.await.expect("answers"), Some(until), "the move alone wakes it");
        assert_eq!(store.now(), until);
    });
}

#[test]
fn catching_up_runs_everybody_whose_time_has_come() {
    manual("catch-up", async |store, clock| {
        let tasks: Vec<_> =
            (0..100).map(|number| spawn_take(&store, number, START.plus_ms(u64::from(number)))).collect();
        // The first one does not wait: its time has come.
        waiting(&store, 99).await;
        clock.advance(Duration::from_millis(50));
        store.catch_up().await.expect("sound");
        waiting(&store, 49).await;
        clock.advance(Duration::from_secs(3_600));
        store.catch_up().await.expect("sound");
        for (number, task) in tasks.into_iter().enumerate() {
            let seen = task.await.expect("answers").expect("had no token");
            assert!(seen >= START.plus_ms(number as u64));
        }
    });
}

#[test]
fn a_key_wakes_one_waiter_at_the_earliest_time_that_was_named() {
    manual("wake-at", async |store, clock| {
        let tasks: Vec<_> = (0..2).map(|number| spawn_take(&store, number, FAR)).collect();
        waiting(&store, 2).await;
        let at = |ms: u64, count: usize| {
            call(move |tx: &mut Tx<'_>| {
                tx.then::<Memory>(move |memory, wakes| {
                    memory.tokens += count;
                    wakes.wake_at(KEY, START.plus_ms(ms));
                });
                Ok(Outcome::Commit(()))
            })
        };
        for (ms, count) in [(500, 1), (200, 1), (900, 0)] {
            store.submit(SHARD, at(ms, count)).await.expect("commits");
        }
        clock.advance(Duration::from_millis(199));
        store.catch_up().await.expect("sound");
        assert_eq!(notes(&store, SHARD).await, [0_u32; 0]);
        clock.advance(Duration::from_millis(1));
        store.catch_up().await.expect("sound");
        assert_eq!(notes(&store, SHARD).await, [0]);
        clock.advance(Duration::from_millis(10_000));
        store.catch_up().await.expect("sound");
        assert_eq!(notes(&store, SHARD).await, [0], "a later time was not kept");
        store.submit(SHARD, at(0, 0)).await.expect("commits");
        store.catch_up().await.expect("sound");
        assert_eq!(notes(&store, SHARD).await, [0, 1], "a time that has passed is now");
        for task in tasks {
            task.await.expect("takes");
        }
    });
}

#[test]
fn an_operation_that_waits_names_the_time_when_it_is_worth_looking_again() {
    manual("tx-wake-at", async |store, clock| {
        // Visible from then on, as a message is whose delay ends.
        let due = START.plus_ms(300);
        let look = move |until: Timestamp| {
            call(move |tx: &mut Tx<'_>| {
                if tx.now() >= due {
                    return Ok(Outcome::Rollback(tx.now()));
                }
                tx.wake_at(KEY, due);
                Ok(Outcome::Wait { key: KEY, until })
            })
        };
        let task = ring::spawn({
            let store = store.clone();
            async move { store.submit(SHARD, look(FAR)).await }
        });
        waiting(&store, 1).await;
        clock.advance(Duration::from_millis(300));
        assert_eq!(task.await.expect("answers"), due);
    });
}

#[test]
fn the_timer_wakes_by_the_systems_clock() {
    one_core("timer", async |store| {
        let start = store.now();
        let tasks: Vec<_> = [40, 5, 20]
            .into_iter()
            .map(|ms| (start.plus_ms(ms), spawn_take(&store, 1, start.plus_ms(ms))))
            .collect();
        for (until, task) in tasks {
            let seen = within(PATIENCE, task).await.expect("the timer fires").expect("answers");
            assert!(seen.expect("had no token") >= until);
        }
    });
}

#[test]
fn an_operation_whose_time_has_passed_waits_for_a_moment_and_not_for_ever() {
    one_core("passed", async |store| {
        let mut runs = 0;
        let stubborn = call(move |_: &mut Tx<'_>| {
            runs += 1;
            Ok(if runs < 4 {
                Outcome::Wait { key: KEY, until: Timestamp(0) }
            } else {
                Outcome::Rollback(runs)
            })
        });
        assert_eq!(store.submit(SHARD, stubborn).await.expect("answers"), 4);
    });
}

#[test]
fn ten_thousand_waiters_each_run_when_they_are_due_or_woken() {
    manual("many", async |store, clock| {
        const COUNT: u32 = 10_000;
        let tasks: Vec<_> =
            (0..COUNT).map(|number| spawn_take(&store, number, START.plus_ms(20_000))).collect();
        waiting(&store, u64::from(COUNT)).await;
        store.submit(SHARD, give(COUNT as usize / 2)).await.expect("commits");
        waiting(&store, u64::from(COUNT / 2)).await;
        clock.advance(Duration::from_secs(20));
        store.catch_up().await.expect("sound");
        waiting(&store, 0).await;
        let mut taken = 0;
        for task in tasks {
            taken += u32::from(task.await.expect("answers").is_none());
        }
        assert_eq!(taken, COUNT / 2);
        assert_eq!(notes(&store, SHARD).await, (0..COUNT / 2).collect::<Vec<_>>());
    });
}

#[test]
fn a_drain_answers_those_who_wait() {
    one_core("drain", async |store| {
        let tasks: Vec<_> = (0..10).map(|number| spawn_take(&store, number, FAR)).collect();
        waiting(&store, 10).await;
        let draining = store.clone();
        within(PATIENCE, async move { draining.drain().await }).await.expect("a drain has an end");
        for task in tasks {
            assert!(matches!(task.await, Err(Fault::Closed)));
        }
    });
}

#[test]
fn more_waiters_than_the_bound_are_refused_until_some_are_gone() {
    let dir = TempDir::new("bound");
    let mut config = small_config(&dir.0, 1);
    config.limits.waiting_count_max = 4;
    run(config, 1, true, true, async |store| {
        let mut tasks: Vec<_> = (0..4).map(|number| spawn_take(&store, number, FAR)).collect();
        waiting(&store, 4).await;
        assert!(matches!(store.submit(SHARD, take(9, FAR)).await, Err(Fault::Busy)));
        assert!(tasks.remove(0).cancel().await.is_none());
        // Callers who are gone are noticed within a second or so.
        waiting(&store, 3).await;
        let late = spawn_take(&store, 4, FAR);
        waiting(&store, 4).await;
        store.submit(SHARD, give(4)).await.expect("commits");
        late.await.expect("takes");
        for task in tasks {
            task.await.expect("takes");
        }
    })
    .expect("opens");
}

/// Gives and takes at random from two cores, with callers who go away: whenever the shard is at rest, there is not both a
/// token and somebody who waits for one.
#[test]
fn no_wake_is_lost_among_callers_who_come_and_go() {
    let mut random = Random(seed("ZEROCLOUD_WAITING_SEED"));
    let dir = TempDir::new("lost-wakes");
    with_store(small_config(&dir.0, 2), Backend::Epoll, |store| async move {
        // The shard of the other core, so that callers go away while their operations are on the way.
        let own: Vec<_> = store.own_shards().collect();
        let shard = store.shards().find(|shard| !own.contains(shard)).expect("two cores");
        let submit_take = |number| {
            let store = store.clone();
            ring::spawn(async move { store.submit(shard, take(number, FAR)).await })
        };
        let (mut given, mut cancelled, mut number) = (0, 0, 0);
        let mut tasks = Vec::new();
        for _ in 0..400 {
            for _ in 0..random.below(6) {
                number += 1;
                tasks.push(submit_take(number));
            }
            let count = random.below(4) as usize;
            given += count;
            let giving = ring::spawn({
                let store = store.clone();
                async move { store.submit(shard, give(count)).await }
            });
            for _ in 0..random.below(3) {
                if !tasks.is_empty() {
                    let task = tasks.swap_remove(random.below(tasks.len() as u64) as usize);
                    cancelled += u32::from(task.cancel().await.is_none());
                }
            }
            giving.await.expect("commits");
            store.catch_up().await.expect("sound");
            let tokens = call(|tx: &mut Tx<'_>| {
                Ok(Outcome::Rollback(tx.resident::<Memory>().map_or(0, |memory| memory.tokens)))
            });
            let tokens = store.submit(shard, tokens).await.expect("runs");
            // A caller who is there and has no answer waits, once what is on its way has arrived.
            tasks.retain(|task| !task.is_finished());
            let begun = ring::now();
            while tokens > 0 && !tasks.is_empty() {
                assert!(ring::now() - begun < PATIENCE, "{tokens} tokens and {} who wait", tasks.len());
                ring::sleep(Duration::from_millis(1)).await;
                tasks.retain(|task| !task.is_finished());
            }
        }
        println!("{given} tokens, {number} takes, {cancelled} callers who went away");
        assert!(given > 100 && cancelled > 50);
    });
}

/// As `take` for a time that never comes, but it gives up when waiting ends; then the reply says so.
fn spawn_take_while_others_may(store: &Store) -> ring::Task<Result<bool, Fault>> {
    let store = store.clone();
    let wait = call(|tx: &mut Tx<'_>| {
        Ok(if tx.waits_end() { Outcome::Rollback(true) } else { Outcome::Wait { key: KEY, until: FAR } })
    });
    ring::spawn(async move { store.submit(SHARD, wait).await })
}

#[test]
fn whoever_waits_is_told_once_that_waiting_ends_and_so_is_whoever_comes_after() {
    manual("waits-end", async |store, _clock| {
        let polite: Vec<_> = (0..3).map(|_| spawn_take_while_others_may(&store)).collect();
        let stubborn = spawn_take(&store, 0, FAR);
        waiting(&store, 4).await;
        store.end_waits();
        for task in polite {
            assert!(within(PATIENCE, task).await.expect("is told").expect("answers"));
        }
        let late = spawn_take_while_others_may(&store);
        assert!(within(PATIENCE, late).await.expect("is told").expect("answers"));
        // Who waits on all the same is still woken as ever.
        waiting(&store, 1).await;
        assert!(!stubborn.is_finished());
        store.submit(SHARD, give(1)).await.expect("commits");
        assert_eq!(stubborn.await.expect("takes"), None);
        let refused = spawn_take(&store, 1, FAR);
        waiting(&store, 1).await;
        store.end_waits();
        store.drain().await;
        assert!(matches!(refused.await, Err(Fault::Closed)));
    });
}

#[test]
fn an_answer_that_rests_on_a_resident_of_a_batch_that_fails_is_no_answer() {
    assert!((0..50).any(a_batch_fails_under_a_look), "the failing sync never was the batch's");
}

/// Whether the sync that failed was the batch's: one of a log segment that is made beside it stops the writes before.
fn a_batch_fails_under_a_look(seed: u64) -> bool {
    let dir = TempDir::new("resident-fails");
    let disk = SimDisk::new(seed);
    let mut config = small_config(Path::new("/data"), 1);
    config.disk = Arc::new(disk.clone());
    config.index_root = dir.0.clone();
    run(config, 1, false, false, |store| async move {
        store.submit(SHARD, give(1)).await.expect("acknowledged");
        let waiter = spawn_take_other(&store);
        waiting(&store, 1).await;
        // The log's segments in advance are made beside the writes.
        ring::sleep(Duration::from_millis(20)).await;
        disk.inject(Injection { sticky: true, ..Injection::eio(OperationKind::Sync, 1) });
        let giving = ring::spawn({
            let store = store.clone();
            async move { store.submit(SHARD, give(1)).await }
        });
        let look = call(|tx: &mut Tx<'_>| {
            Ok(Outcome::Rollback(tx.resident::<Memory>().map_or(0, |memory| memory.tokens)))
        });
        let looking = ring::spawn({
            let store = store.clone();
            async move { store.submit(SHARD, look).await }
        });
        let (gave, seen) = (giving.await, looking.await);
        let waited = within(PATIENCE, waiter).await.expect("nobody waits for a shard that stopped");
        assert!(matches!(waited, Err(Fault::ReadOnly(_))), "it did nothing: {waited:?}");
        // "There are two" would be a lie if the power went now.
        assert!(!matches!(seen, Ok(2)), "{seen:?}");
        if matches!(gave, Err(Fault::ReadOnly(_))) {
            return false;
        }
        assert!(matches!(gave, Err(Fault::Unknown(_))), "{gave:?}");
        assert!(matches!(seen, Err(Fault::Unknown(_))), "{seen:?}");
        true
    })
    .expect("opens")
}

/// Waits for a key that nobody wakes.
fn spawn_take_other(store: &Store) -> ring::Task<Result<(), Fault>> {
    let store = store.clone();
    let wait = call(|_: &mut Tx<'_>| Ok(Outcome::Wait { key: WaitKey(77), until: FAR }));
    ring::spawn(async move { store.submit(SHARD, wait).await })
}
