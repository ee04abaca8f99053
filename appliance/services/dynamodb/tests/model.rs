//! Random sequences of operations against the reference model, with restarts in between, half of them without a drain.
//! Every reply is foretold; each operation and error that is listed must have occurred.
//!
//! Several lanes run beside each other, each with tables of its own: so batches hold operations of many, while each lane
//! knows what its tables hold. Replay a failure with `DYNAMODB_MODEL_SEED=<seed> cargo test -p zerocloud-dynamodb --test
//! model`; `DYNAMODB_MODEL_OPERATIONS` sets the length of a run.

mod client;
mod driver;
mod lane;
mod reference;

use std::collections::BTreeMap;
use std::rc::Rc;

use client::{Answer, Client};
use driver::{Stop, TempDir, World, with_world_until};
use lane::Lane;
use reference::random::{seed, seed_or};
use serde_json::Value as Json;
use store::Timestamp;

/// Steps of one run; most are one request, queries and scans are several.
const OPERATION_COUNT: usize = 10_000;
/// Steps between two opens of the store.
const OPERATIONS_PER_OPEN: usize = 2_500;
const LANE_COUNT: usize = 10;
/// Of the short tier: a walk that comes by everything that is expected of one, often.
const SHORT_SEED: u64 = 5;

/// The service in this process.
#[derive(Clone)]
struct InProcess(Rc<World>);

impl Client for InProcess {
    async fn call(&self, operation: &str, request: &Json) -> Answer {
        // Time goes on a little: streams are named by it.
        let now = self.0.now.get().map(|now| now.plus_ms(1));
        self.0.now.set(now);
        let answer = self.0.send(operation, request).await;
        let body = if answer.body.is_empty() { Json::Null } else { answer.json() };
        Answer { status: answer.status, body }
    }

    async fn work(&self) {
        self.0.tick().await;
        ring::sleep(std::time::Duration::from_millis(1)).await;
    }

    fn now(&self) -> i64 {
        seconds(self.0.now.get().unwrap_or_else(Timestamp::from_system_clock))
    }
}

fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.0 / 1_000).expect("this side of year 292277026")
}

/// What is handed from one open of the store to the next.
struct Run {
    lanes: Vec<Lane<()>>,
    /// The service's clock, which goes on a little with each request and much in audits.
    now: Timestamp,
}

/// One open of the store: every lane goes on, beside the others.
async fn steps(world: &Rc<World>, run: Run, step_count: usize) -> Run {
    world.now.set(Some(run.now));
    let mut lanes: Vec<Lane<InProcess>> =
        run.lanes.into_iter().map(|lane| lane.with_client(InProcess(Rc::clone(world)))).collect();
    for lane in &mut lanes {
        lane.audit().await;
        lane.plan_expiries();
    }
    let tasks: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| {
            ring::spawn(async move {
                for _ in 0..step_count / LANE_COUNT {
                    lane.step().await;
                }
                lane
            })
        })
        .collect();
    let mut lanes = Vec::new();
    for task in tasks {
        lanes.push(task.await);
    }
    for lane in &mut lanes {
        lane.finish_building().await;
    }
    let now = run.now.plus_ms(lane::PASSED_SECONDS as u64 * 1_000);
    assert!(world.now.get().is_some_and(|steps_end| steps_end < now), "the clock goes on");
    world.now.set(Some(now));
    while world.tick().await > 0 {}
    for lane in &mut lanes {
        lane.audit_expired().await;
    }
    let lanes = lanes.into_iter().map(|lane| lane.with_client(())).collect();
    Run { lanes, now: world.now.get().expect("set above") }
}

fn run(seed: u64, operation_count: usize) -> BTreeMap<String, u64> {
    let directory = TempDir::new("model");
    let lanes = (0..LANE_COUNT).map(|number| Lane::new((), number, seed)).collect();
    let open_count = operation_count.div_ceil(OPERATIONS_PER_OPEN);
    // Operations on their shards see the machine's clock. The service's stays behind it, or tokens would be taken for
    // forgotten that are minutes old.
    let behind_ms = (open_count as u64 + 1) * lane::PASSED_SECONDS as u64 * 1_000;
    let now = Timestamp(Timestamp::from_system_clock().0 - behind_ms);
    let mut state = Some(Run { lanes, now });
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for open in 0..open_count {
        let run = state.take().expect("left by the run before");
        let stop = if open % 2 == 0 { Stop::AtOnce } else { Stop::Drained };
        *counts.entry(format!("stopped {stop:?}")).or_default() += 1;
        let slot = &mut state;
        with_world_until(&directory.0, stop, |world| async move {
            let world = Rc::new(world);
            *slot = Some(steps(&world, run, OPERATIONS_PER_OPEN.min(operation_count)).await);
        });
    }
    for lane in state.expect("left by the last run").lanes {
        for (what, count) in lane.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    counts
}

const EXPECTED: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "BatchWriteItem ValidationException",
    "CreateTable",
    "CreateTable ResourceInUseException",
    "CreateTable under an old name",
    "DELETE",
    "DELETE ConditionalCheckFailedException",
    "DeleteItem ALL_OLD",
    "DeleteItem ConditionalCheckFailedException",
    "DeleteItem NONE",
    "DeleteTable",
    "DeleteTable ResourceNotFoundException",
    "DescribeTable",
    "DescribeTable ResourceNotFoundException",
    "GetItem",
    "GetItem of nothing",
    "INSERT",
    "INSERT DuplicateItemException",
    "ListTables",
    "PutItem ALL_OLD",
    "PutItem ConditionalCheckFailedException",
    "PutItem NONE",
    "PutItem ValidationException",
    "Query backward",
    "Query forward",
    "Query from any key",
    "Query global index",
    "Query local index",
    "Query table",
    "SELECT by key",
    "SELECT by looking",
    "SELECT by partition",
    "Scan ResourceNotFoundException",
    "Scan by segments",
    "Scan index",
    "Scan of an old index ValidationException",
    "Scan table",
    "TransactGetItems",
    "TransactWriteItems",
    "TransactWriteItems IdempotentParameterMismatchException",
    "TransactWriteItems TransactionCanceledException",
    "TransactWriteItems reason ConditionalCheckFailed",
    "TransactWriteItems reason None",
    "TransactWriteItems reason ValidationError",
    "TransactWriteItems replayed",
    "UPDATE",
    "UPDATE ConditionalCheckFailedException",
    "UpdateItem ALL_NEW",
    "UpdateItem ALL_OLD",
    "UpdateItem ConditionalCheckFailedException",
    "UpdateItem NONE",
    "UpdateItem UPDATED_NEW",
    "UpdateItem UPDATED_OLD",
    "UpdateItem ValidationException",
    "UpdateTable adds an index",
    "UpdateTable removes an index",
    "UpdateTimeToLive",
    "capacity of a write",
    "global index built",
    "item expired",
    "page filtered",
    "page projected",
    "page resumed",
    "refused BatchGetItem ValidationException",
    "refused BatchWriteItem ResourceNotFoundException",
    "refused BatchWriteItem ValidationException",
    "refused DeleteItem ValidationException",
    "refused DescribeTable ResourceNotFoundException",
    "refused GetItem ResourceNotFoundException",
    "refused GetItem ValidationException",
    "refused PutItem ResourceNotFoundException",
    "refused PutItem SerializationException",
    "refused PutItem ValidationException",
    "refused Query ValidationException",
    "refused Scan ResourceNotFoundException",
    "refused Scan ValidationException",
    "refused TransactGetItems ResourceNotFoundException",
    "refused TransactWriteItems ValidationException",
    "refused UpdateItem ValidationException",
    "stopped AtOnce",
    "stopped Drained",
    "stream record",
    "stream replayed",
];

#[test]
fn random_operations_agree_with_the_reference() {
    // The short tier walks the same way each time; runs of the long tier draw their own.
    let length = std::env::var("DYNAMODB_MODEL_OPERATIONS");
    let seed =
        if length.is_ok() { seed("DYNAMODB_MODEL_SEED") } else { seed_or("DYNAMODB_MODEL_SEED", SHORT_SEED) };
    println!("seed {seed}; replay: DYNAMODB_MODEL_SEED={seed} cargo test -p zerocloud-dynamodb --test model");
    let given = length.ok().and_then(|text| text.parse().ok());
    let counts = run(seed, given.unwrap_or(OPERATION_COUNT));
    for (what, count) in &counts {
        println!("{count:7} {what}");
    }
    let missing: Vec<&&str> =
        EXPECTED.iter().filter(|what| counts.get(**what).is_none_or(|n| *n == 0)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
