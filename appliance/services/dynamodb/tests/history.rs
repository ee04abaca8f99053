//! Histories of clients that fight for eight items, over restarts, judged by the checker: they must be strictly
//! serializable, reads and transactional reads included. A reader of the stream goes along, and must hear of every version
//! once, in order; at rest the index has what the table has. Clients sit on both cores.
//!
//! Replay a failure with `DYNAMODB_HISTORY_SEED=<seed> cargo test -p zerocloud-dynamodb --test history`, which brings back
//! the requests but not their timing; `DYNAMODB_HISTORY_OPERATIONS` sets the length of a run.

mod checker;
mod client;
mod contenders;
mod driver;
mod reference;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Answer, Client};
use contenders::changer;
use contenders::stream::Follower;
use contenders::{Contender, Record, TABLE};
use driver::{Stop, TempDir, World, with_worlds_until};
use reference::random::{Random, seed};
use serde_json::{Value as Json, json};
use store::Timestamp;

/// Requests of one run.
const OPERATION_COUNT: usize = 6_000;
const CLIENT_COUNT: usize = 10;
const CORE_COUNT: usize = 2;
/// Opens of the store in a run.
const OPEN_COUNT: usize = 3;

/// The service in this process.
#[derive(Clone)]
struct InProcess(Rc<World>);

impl Client for InProcess {
    async fn call(&self, operation: &str, request: &Json) -> Answer {
        let answer = self.0.send(operation, request).await;
        Answer { status: answer.status, body: answer.json() }
    }

    async fn work(&self) {
        self.0.tick().await;
        ring::sleep(Duration::from_millis(1)).await;
    }

    fn now(&self) -> i64 {
        i64::try_from(Timestamp::from_system_clock().0 / 1_000).expect("this side of year 292277026")
    }
}

/// Every client of one core does its share, beside the others.
async fn fight(world: &Rc<World>, core: usize, record: &Arc<Record>, seed: u64, steps: usize) {
    let tasks: Vec<_> = (0..CLIENT_COUNT)
        .filter(|number| number % CORE_COUNT == core)
        .map(|number| {
            let client = InProcess(Rc::clone(world));
            let mut contender = Contender::new(client, number, seed, Arc::clone(record));
            ring::spawn(async move {
                for _ in 0..steps {
                    contender.step().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

/// How far the cores of one open are.
#[derive(Default)]
struct Progress {
    has_table: AtomicBool,
    second_is_done: AtomicBool,
}

/// Ends the process with a core that panics: the other one would wait for it without end.
struct OrElseAbort;

impl Drop for OrElseAbort {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

async fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        ring::sleep(Duration::from_millis(1)).await;
    }
}

/// One open of the store, with clients on both cores and a reader of the stream beside them.
fn open(directory: &Path, stop: Stop, is_new: bool, seed: u64, steps: usize, run: &Run) {
    let progress = Arc::new(Progress::default());
    let (second_progress, second_record) = (Arc::clone(&progress), Arc::clone(&run.record));
    let first = async |world: World| {
        if is_new {
            world.send("CreateTable", &contenders::creation()).await.ok();
            // Another batch on every shard, so that even a view that is a little late knows the table.
            let mut other = contenders::creation();
            other["TableName"] = json!("other");
            world.send("CreateTable", &other).await.ok();
        }
        progress.has_table.store(true, Ordering::Release);
        let world = Rc::new(world);
        let (reader, follower) = (InProcess(Rc::clone(&world)), Rc::clone(&run.follower));
        let is_over = Rc::new(Cell::new(false));
        let over = Rc::clone(&is_over);
        let following = ring::spawn(async move {
            let mut follower = follower.take().expect("one reader at a time");
            // Once more when all is over: what was written last is there then.
            while !over.get() || follower.read(&reader).await > 0 {
                follower.read(&reader).await;
                ring::sleep(Duration::from_millis(5)).await;
            }
            follower
        });
        let changing = run.changes.then(|| {
            let (client, progress) = (InProcess(Rc::clone(&world)), Arc::clone(&progress));
            let first = run.indexes.get();
            ring::spawn(async move {
                let is_over = || progress.second_is_done.load(Ordering::Acquire);
                changer::change(&client, first, is_over).await
            })
        });
        fight(&world, 0, &run.record, seed, steps).await;
        wait_for(&progress.second_is_done).await;
        let mut indexes = vec!["by-total".to_owned()];
        if let Some(changing) = changing {
            let (later, number) = changing.await;
            run.indexes.set(number);
            indexes.push(later);
        }
        let client = InProcess(Rc::clone(&world));
        Contender::new(client, CLIENT_COUNT, seed, Arc::clone(&run.record)).read_all().await;
        judge(&run.record);
        is_over.set(true);
        let follower = following.await;
        for index in &indexes {
            judge_index(&world, index).await;
        }
        judge_followers(&world, &run.record, &follower).await;
        for later in &indexes[1..] {
            changer::remove(&InProcess(Rc::clone(&world)), later).await;
        }
        run.follower.set(Some(follower));
    };
    let second = async move |world: World| {
        let _guard = OrElseAbort;
        wait_for(&second_progress.has_table).await;
        fight(&Rc::new(world), 1, &second_record, seed, steps).await;
        second_progress.second_is_done.store(true, Ordering::Release);
    };
    with_worlds_until(directory, stop, first, second);
}

/// At rest, an index has the items.
async fn judge_index(world: &World, index: &str) {
    let items = world.send("Scan", &json!({"TableName": TABLE})).await.ok();
    let indexed = world.send("Scan", &json!({"TableName": TABLE, "IndexName": index})).await.ok();
    let sorted = |body: &Json| {
        let mut list = body["Items"].as_array().expect("items").clone();
        list.sort_by_key(Json::to_string);
        list
    };
    assert_eq!(sorted(&items), sorted(&indexed), "index {index}");
}

/// At rest, the stream told every write.
async fn judge_followers(world: &World, record: &Record, follower: &Follower) {
    let items = world.send("Scan", &json!({"TableName": TABLE})).await.ok();
    follower.judge(items["Items"].as_array().expect("items"));
    let events = record.events.lock().expect("no panic");
    let written: usize = events.iter().map(|event| event.writes.len()).sum();
    assert_eq!(follower.record_count, written, "one stream record for each write");
}

/// The history so far.
fn judge(record: &Record) {
    match checker::check(&record.events.lock().expect("no panic")) {
        Ok(summary) => println!("{summary:?}"),
        Err(violation) => panic!("not strictly serializable: {}", violation.0),
    }
}

/// What goes on from one open to the next.
struct Run {
    record: Arc<Record>,
    follower: Rc<Cell<Option<Follower>>>,
    /// How many indexes were added.
    indexes: Cell<usize>,
    /// Whether indexes come and go while clients fight. Some planted faults keep them from ever being built.
    changes: bool,
}

fn run(seed: u64, operation_count: usize) -> Arc<Record> {
    let directory = TempDir::new("history");
    let run = Run {
        record: Arc::default(),
        follower: Rc::new(Cell::new(Some(Follower::default()))),
        indexes: Cell::new(0),
        changes: std::env::var("DYNAMODB_HISTORY_CHANGES").as_deref() != Ok("0"),
    };
    let mut random = Random(seed);
    for number in 0..OPEN_COUNT {
        let stop = if random.chance(50) { Stop::Drained } else { Stop::AtOnce };
        let steps = operation_count / CLIENT_COUNT / OPEN_COUNT;
        open(&directory.0, stop, number == 0, random.next(), steps, &run);
    }
    println!("{} indexes added", run.indexes.get());
    run.record
}

const EXPECTED: &[&str] = &[
    "add done",
    "batch-get done",
    "delete ConditionalCheckFailedException",
    "delete done",
    "get done",
    "put done",
    "put-if-version ConditionalCheckFailedException",
    "put-if-version done",
    "transact-get done",
    "transact-write TransactionCanceledException",
    "transact-write done",
    "transact-write reason ConditionalCheckFailed",
    "transact-write reason None",
];

#[test]
fn what_concurrent_clients_see_is_strictly_serializable() {
    let seed = seed("DYNAMODB_HISTORY_SEED");
    println!(
        "seed {seed}; replay: DYNAMODB_HISTORY_SEED={seed} cargo test -p zerocloud-dynamodb --test history"
    );
    let given = std::env::var("DYNAMODB_HISTORY_OPERATIONS").ok().and_then(|text| text.parse().ok());
    let record = run(seed, given.unwrap_or(OPERATION_COUNT));
    let counts = record.counts.lock().expect("no panic");
    for (what, count) in counts.iter() {
        println!("{count:7} {what}");
    }
    let missing: Vec<&&str> = EXPECTED.iter().filter(|what| !counts.contains_key(**what)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
