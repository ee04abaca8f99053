//! Random sequences of operations on standard and FIFO queues against the reference, in virtual time, with restarts in
//! between, half of them without a drain. Every reply is foretold or judged; each operation and error that is listed must
//! have occurred; in the end everything that was sent is received and nothing else.
//!
//! Several lanes run beside each other, each with queues of its own: so batches of the store hold operations of many, while
//! each lane knows what its queues hold. Time stands still while they run, and goes on between their rounds. Replay a failure
//! with `SQS_MODEL_SEED=<seed> cargo test -p zerocloud-sqs --test model`; `SQS_MODEL_OPERATIONS` sets the length of a run.

mod client;
mod driver;
mod lane;
mod reference;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::PoisonError;

use driver::direct::{Direct, LIES, Lie, Memory};
use driver::{STARTING, Stop, TempDir, World, with_world_until};
use lane::Lane;
use reference::random::{Random, seed, seed_or};
use store::ManualClock;

/// Steps of one run; most are one request.
const OPERATION_COUNT: usize = 6_000;
/// Steps between two opens of the store.
const OPERATIONS_PER_OPEN: usize = 1_500;
/// Of a run of that length.
const SHORT_SEED: u64 = 11;
const LANE_COUNT: usize = 6;
/// Steps of a lane while time stands still, at most.
const STEPS_PER_ROUND: usize = 12;

/// Lets time pass, mostly less than a visibility, now and then more than anything is remembered.
fn draw_pause_ms(random: &mut Random) -> u64 {
    match random.below(100) {
        0..=59 => 1 + random.next() % 2_500,
        60..=89 => 1_000 * (1 + random.next() % 8),
        90..=97 => 30_000 + random.next() % 40_000,
        98 => 300_000 + random.next() % 5_000,
        _ => 1_900_000,
    }
}

/// What is handed from one open of the store to the next.
struct Run {
    lanes: Vec<Lane<()>>,
    lie: Option<Lie>,
    memory: Rc<Memory>,
}

/// Runs the lanes beside each other for some steps each.
async fn round(lanes: Vec<Lane<Direct>>, step_count: usize) -> Vec<Lane<Direct>> {
    let tasks: Vec<_> = lanes
        .into_iter()
        .map(|mut lane| {
            ring::spawn(async move {
                for _ in 0..step_count {
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
    lanes
}

async fn pass_time(world: &World, lanes: &mut [Lane<Direct>], pause_ms: u64) {
    world.advance(pause_ms).await;
    for lane in lanes {
        lane.time_has_passed().await;
    }
}

/// One open of the store: every lane goes on, beside the others.
async fn steps(world: &Rc<World>, run: Run, random: &mut Random, step_count: usize, is_last: bool) -> Run {
    let Run { lanes, lie, memory } = run;
    let has_called = Rc::default();
    let client = Direct { world: Rc::clone(world), lie, memory: Rc::clone(&memory), has_called };
    let mut lanes: Vec<Lane<Direct>> =
        lanes.into_iter().map(|lane| lane.with_client(client.clone())).collect();
    drop(client);
    for lane in &mut lanes {
        lane.audit().await;
    }
    let mut left = step_count / LANE_COUNT;
    while left > 0 {
        let now = left.min(1 + random.below(STEPS_PER_ROUND));
        lanes = round(lanes, now).await;
        left -= now;
        pass_time(world, &mut lanes, draw_pause_ms(random)).await;
    }
    for lane in &mut lanes {
        lane.begin_poll().await;
        lane.abandon_poll().await;
    }
    if is_last {
        drain(world, &mut lanes).await;
    }
    Run { lanes: lanes.into_iter().map(|lane| lane.with_client(())).collect(), lie, memory }
}

/// Receives and deletes until every queue is empty.
async fn drain(world: &Rc<World>, lanes: &mut [Lane<Direct>]) {
    /// What hides longest comes back within these; a delay is shorter.
    const PAUSE_MS: u64 = 400_000;
    const PAUSES_MAX: usize = 20;
    for _ in 0..PAUSES_MAX {
        let mut left = 0;
        for lane in &mut *lanes {
            left += lane.drain().await;
        }
        if left == 0 {
            for lane in &mut *lanes {
                lane.audit().await;
            }
            return;
        }
        pass_time(world, lanes, PAUSE_MS).await;
    }
    panic!("the queues do not get empty");
}

fn run(seed: u64, operation_count: usize, lie: Option<Lie>) -> BTreeMap<String, u64> {
    let directory = TempDir::new("model");
    let mut random = Random(seed);
    let lanes = (0..LANE_COUNT).map(|number| Lane::new((), number, seed)).collect();
    let mut state = Some(Run { lanes, lie, memory: Rc::default() });
    let open_count = operation_count.div_ceil(OPERATIONS_PER_OPEN);
    let clock = ManualClock::new(driver::BEGINNING);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for open in 0..open_count {
        let run = state.take().expect("left by the run before");
        let stop = if open % 2 == 0 { Stop::AtOnce } else { Stop::Drained };
        *counts.entry(format!("stopped {stop:?}")).or_default() += 1;
        let (slot, random) = (&mut state, &mut random);
        with_world_until(&directory.0, stop, &clock, |world| async move {
            let world = Rc::new(world);
            let step_count = OPERATIONS_PER_OPEN.min(operation_count);
            *slot = Some(steps(&world, run, random, step_count, open + 1 == open_count).await);
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
    "ChangeMessageVisibility",
    "ChangeMessageVisibility InvalidParameterValueException",
    "ChangeMessageVisibility MessageNotInflight",
    "ChangeMessageVisibility ReceiptHandleIsInvalid",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "CreateQueue QueueNameExists",
    "CreateQueue again",
    "DeleteMessage Current",
    "DeleteMessage Gone",
    "DeleteMessage InvalidParameterValueException",
    "DeleteMessage Older",
    "DeleteMessage Over",
    "DeleteMessage ReceiptHandleIsInvalid",
    "DeleteMessageBatch",
    "DeleteMessageBatch BatchEntryIdsNotDistinct",
    "DeleteMessageBatch EmptyBatchRequest",
    "DeleteMessageBatch entry InvalidParameterValueException",
    "GetQueueAttributes",
    "PurgeQueue",
    "PurgeQueue PurgeQueueInProgress",
    "ReceiveMessage FIFO nothing",
    "ReceiveMessage FIFO something",
    "ReceiveMessage InvalidParameterValueException",
    "ReceiveMessage QueueDoesNotExist",
    "ReceiveMessage standard nothing",
    "ReceiveMessage standard something",
    "SendMessage FIFO",
    "SendMessage FIFO repeat",
    "SendMessage InvalidMessageContents",
    "SendMessage MissingRequiredParameterException",
    "SendMessage standard",
    "SendMessageBatch FIFO",
    "SendMessageBatch FIFO repeat",
    "SendMessageBatch standard",
    "attempt repeated",
    "dead letter",
    "message received",
    "message too old",
    "poll abandoned",
    "poll answered by a send",
    "poll answered by time",
    "poll begun",
    "poll ended",
    "stopped AtOnce",
    "stopped Drained",
];

#[test]
fn random_operations_agree_with_the_reference() {
    // The short tier walks the same way each time; runs of the long tier draw their own.
    let length = std::env::var("SQS_MODEL_OPERATIONS");
    let seed = if length.is_ok() { seed("SQS_MODEL_SEED") } else { seed_or("SQS_MODEL_SEED", SHORT_SEED) };
    println!("seed {seed}; replay: SQS_MODEL_SEED={seed} cargo test -p zerocloud-sqs --test model");
    let given = length.ok().and_then(|text| text.parse().ok());
    let lie = std::env::var(LIE).ok().map(|name| Lie::parse(&name).expect("one of the lies"));
    let counts = run(seed, given.unwrap_or(OPERATION_COUNT), lie);
    for (what, count) in &counts {
        println!("{count:7} {what}");
    }
    let missing: Vec<&&str> =
        EXPECTED.iter().filter(|what| counts.get(**what).is_none_or(|n| *n == 0)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// Names a lie for a process of this test.
const LIE: &str = "SQS_MODEL_LIE";
/// The test that hears it.
const MODEL: &str = "random_operations_agree_with_the_reference";
/// Runs that a lie may need: its moment does not come in each.
const RUNS_MAX: u64 = 3;

/// Runs the test in a process of its own; gives what it says when it is red.
fn red_with(lie: Lie, seed: u64) -> Option<String> {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", MODEL, "--nocapture"]).env("SQS_MODEL_SEED", seed.to_string());
    command.env(LIE, format!("{lie:?}")).env_remove("SQS_MODEL_OPERATIONS");
    let done = start(command.stdin(Stdio::null())).wait_with_output().expect("runs");
    assert!(String::from_utf8_lossy(&done.stdout).contains("running 1 test"), "{MODEL} is no test");
    (!done.status.success()).then(|| String::from_utf8_lossy(&done.stderr).into_owned())
}

/// Starts a process whose output is read; its program runs when this is over.
fn start(command: &mut Command) -> Child {
    let _none_opens = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

#[test]
fn every_lie_turns_the_model_red() {
    let mut missed = Vec::new();
    for (lie, words) in LIES {
        match (1..=RUNS_MAX).find_map(|seed| Some((seed, red_with(lie, seed)?))) {
            Some((seed, said)) if words.iter().any(|word| said.contains(word)) => {
                println!("{lie:?}: caught, seed {seed}");
            }
            Some((seed, said)) => {
                missed.push(format!("{lie:?}, seed {seed}, is caught by something else: {said:.600}"))
            }
            None => missed.push(format!("{lie:?} is not caught")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
