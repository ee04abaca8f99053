//! Random sequences of operations over all four services, run on several subjects side by side.
//!
//! Invariant: one seed gives one sequence, whatever the subjects answer; after each operation the answers of all subjects,
//! in a normal form without what differs by nature, are equal, or the run ends there and says so.

mod apply_messages;
mod apply_storage;
mod operation;
mod subjects;
mod world;

pub use operation::{Operation, operations};
pub use subjects::Services;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use world::World;

/// What a subject answered, in the normal form: the full value, or the kind of the failure.
pub type Answer = Result<Value, String>;

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed of the sequence.
    pub seed: u64,
    /// The subjects, the first of which the others are compared with.
    pub subjects: Vec<String>,
    /// How many operations of each name were done.
    pub operations: BTreeMap<&'static str, u64>,
    /// How many of them the subjects refused, by the kind of the failure.
    pub refusals: BTreeMap<String, u64>,
    /// Where two subjects differ, if they do.
    pub difference: Option<Difference>,
    /// The command that runs the same sequence again.
    pub replay: String,
}

/// An operation that two subjects answered differently.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Which operation of the sequence, counted from 0.
    pub index: usize,
    /// The operation.
    pub operation: String,
    /// The subject, and what it answered.
    pub answers: Vec<(String, Answer)>,
}

impl Outcome {
    /// Prints the run, and panics if two subjects differ.
    pub fn assert(&self) {
        println!("{self}");
        assert!(self.difference.is_none(), "{self}");
    }

    /// How many operations were done.
    pub fn count(&self) -> u64 {
        self.operations.values().sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects = self.subjects.join(", ");
        writeln!(f, "{} operations on {subjects}, seed {}", self.count(), self.seed)?;
        for (name, count) in &self.operations {
            writeln!(f, "  {name:<24} {count:>7}")?;
        }
        for (kind, count) in &self.refusals {
            writeln!(f, "  refused: {kind:<24} {count:>7}")?;
        }
        match &self.difference {
            None => writeln!(f, "  no difference")?,
            Some(difference) => {
                writeln!(f, "DIFFERENCE at operation {}: {}", difference.index, difference.operation)?;
                for (subject, answer) in &difference.answers {
                    let shown: String = format!("{answer:?}").chars().take(SHOWN_CHARS_MAX).collect();
                    writeln!(f, "  {subject}: {shown}")?;
                }
            }
        }
        write!(f, "replay: {}", self.replay)
    }
}

/// Runs one sequence on all subjects, and then reads back all that they hold. `replay` is the command that does it again,
/// in which `{seed}` and `{count}` stand for both.
pub async fn compare(seed: u64, count: usize, subjects: &[Services], replay: &str) -> Outcome {
    let replay = replay.replace("{seed}", &seed.to_string()).replace("{count}", &count.to_string());
    let mut outcome = Outcome {
        seed,
        subjects: subjects.iter().map(|subject| subject.subject.name()).collect(),
        operations: BTreeMap::new(),
        refusals: BTreeMap::new(),
        difference: None,
        replay,
    };
    let mut worlds: Vec<World<'_>> = subjects.iter().map(World::new).collect();
    let sequence = operations(seed, count);
    for (index, operation) in sequence.iter().enumerate() {
        *outcome.operations.entry(operation.name()).or_default() += 1;
        let answers = answers(&mut worlds, operation, index).await;
        if let Some(Err(kind)) = answers.first() {
            *outcome.refusals.entry(kind.clone()).or_default() += 1;
        }
        if answers.windows(2).any(|pair| pair[0] != pair[1]) {
            let names = outcome.subjects.iter().cloned();
            outcome.difference = Some(Difference {
                index,
                operation: format!("{operation:?}"),
                answers: names.zip(answers).collect(),
            });
            return outcome;
        }
    }
    outcome
}

/// What all subjects answer; of an operation whose effect may come late, once they agree or will not.
async fn answers(worlds: &mut [World<'_>], operation: &Operation, index: usize) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(worlds.len());
    for world in worlds.iter_mut() {
        answers.push(world.apply(operation, index).await);
    }
    if !operation.may_come_late() {
        return answers;
    }
    for _ in 0..LOOK_COUNT_MAX {
        if answers.windows(2).all(|pair| pair[0] == pair[1]) {
            break;
        }
        for (world, answer) in worlds.iter_mut().zip(&mut answers) {
            world.pause().await;
            *answer = world.look_again(operation, index, answer.clone()).await;
        }
    }
    answers
}

const SHOWN_CHARS_MAX: usize = 2_000;
/// Looks for a message that is late, at a fifth of a second each.
const LOOK_COUNT_MAX: u32 = 150;
