//! Which call fails, and how.

use crate::chance::Chance;
use cloudkit_core::common::{CloudError, NetworkError};
use std::collections::BTreeMap;
use std::time::Duration;

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// No connection: the call has no effect.
    Connection,
    /// The service cannot answer now: the call has no effect.
    Unavailable,
    /// An answer with this code: the call has no effect.
    Refused(&'static str),
    /// The service asks for fewer requests, and to wait this long: the call has no effect.
    Throttled(Option<Duration>),
    /// The answer does not come in time: the call has no effect, which the caller cannot know.
    Timeout(Duration),
    /// The call takes effect, and its answer is lost.
    ReplyLost,
    /// The call is made after this long, by the clock of the runtime.
    Delay(Duration),
    /// The body that is read breaks off after so many bytes. Other calls than reads of objects are left alone.
    Truncated(usize),
    /// The messages of this receive come again with the next one of the same queue. Other calls are left alone.
    Duplicate,
}

/// Which calls a fault is for.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum When {
    /// Each.
    Always,
    /// The n-th one, counted from 1.
    Nth(u64),
    /// Every n-th one.
    Every(u64),
    /// Each with this probability, of 0.0 to 1.0.
    Chance(f64),
}

/// The faults of a service: rules, of which the first that applies to a call is for it.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    /// The method; without one, each.
    operation: Option<&'static str>,
    when: When,
    fault: Fault,
    /// Calls that it was asked about.
    calls: u64,
}

impl FaultPlan {
    /// No faults; chance, once a rule asks for it, comes from this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// Adds a fault for all methods, whose calls are counted together.
    pub fn fault(self, when: When, fault: Fault) -> Self {
        self.rule(None, when, fault)
    }

    /// Adds a fault for calls of one method, by its name in the trait.
    pub fn fault_of(self, operation: &'static str, when: When, fault: Fault) -> Self {
        self.rule(Some(operation), when, fault)
    }

    fn rule(mut self, operation: Option<&'static str>, when: When, fault: Fault) -> Self {
        self.rules.push(Rule { operation, when, fault, calls: 0 });
        self
    }
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Happened {
    /// Which call of the service it was, counted from 1.
    pub call: u64,
    /// The method.
    pub operation: &'static str,
    /// What went wrong.
    pub fault: Fault,
}

/// A plan on its way.
#[derive(Debug)]
pub(super) struct Course {
    rules: Vec<Rule>,
    chance: Chance,
    calls: u64,
    pub(super) log: Vec<Happened>,
    /// The faults of the latest calls that are still to be done to their answers.
    taken: BTreeMap<&'static str, Fault>,
}

impl Course {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let chance = Chance::new(plan.seed);
        Self { rules: plan.rules, chance, calls: 0, log: Vec::new(), taken: BTreeMap::new() }
    }

    /// The fault of the next call.
    pub(super) fn next(&mut self, operation: &'static str) -> Option<Fault> {
        self.calls += 1;
        let chance = &mut self.chance;
        let mut found = None;
        // All rules count the call, whichever is for it: the n-th call is the n-th one whatever else goes wrong.
        for rule in &mut self.rules {
            if rule.operation.is_some_and(|wanted| wanted != operation) || !rule.fault.is_for(operation) {
                continue;
            }
            rule.calls += 1;
            let applies = match rule.when {
                When::Always => true,
                When::Nth(number) => rule.calls == number,
                When::Every(number) => number > 0 && rule.calls % number == 0,
                When::Chance(probability) => chance.happens(probability),
            };
            if applies && found.is_none() {
                found = Some(rule.fault.clone());
            }
        }
        let fault = found?;
        if matches!(fault, Fault::Truncated(_) | Fault::Duplicate) {
            self.taken.insert(operation, fault.clone());
        }
        // Whether there is a reply to lose is known after the call.
        if fault != Fault::ReplyLost {
            self.happened(self.calls, operation, fault.clone());
        }
        Some(fault)
    }

    /// Writes into the log what went wrong with the call of this number.
    pub(super) fn happened(&mut self, call: u64, operation: &'static str, fault: Fault) {
        if self.log.len() < LOG_COUNT_MAX {
            self.log.push(Happened { call, operation, fault });
        }
    }

    pub(super) fn taken(&mut self, operation: &'static str) -> Option<Fault> {
        self.taken.remove(operation)
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn heal(&mut self) {
        self.rules.clear();
    }
}

impl Fault {
    fn is_for(&self, operation: &str) -> bool {
        match self {
            Self::Truncated(_) => {
                matches!(operation, "get_object" | "get_object_with_options" | "get_stream")
            }
            Self::Duplicate => operation == "receive",
            _ => true,
        }
    }
}

/// The error that a caller sees of a fault.
pub(super) fn error(fault: &Fault, operation: &str) -> CloudError {
    match fault {
        Fault::Connection => broken(String::from("no connection")),
        Fault::ReplyLost => broken(String::from("the reply is lost")),
        Fault::Truncated(bytes) => broken(format!("the body broke off after {bytes} bytes")),
        Fault::Unavailable => CloudError::ServiceUnavailable {
            service: String::from("faulty"),
            message: Some(String::from("a planned fault")),
        },
        Fault::Refused(code) => CloudError::Provider {
            provider: String::from("faulty"),
            code: String::from(*code),
            message: String::from("a planned fault"),
        },
        Fault::Throttled(retry_after) => CloudError::RateLimited { retry_after: *retry_after },
        Fault::Timeout(duration) => {
            CloudError::Timeout { operation: operation.to_owned(), duration: *duration }
        }
        Fault::Delay(_) | Fault::Duplicate => CloudError::Internal(String::from("a fault without an error")),
    }
}

fn broken(what: String) -> CloudError {
    CloudError::Network(NetworkError::Connection(format!("a planned fault: {what}")))
}

/// Entries that a log holds; what happens after them is done and not written.
const LOG_COUNT_MAX: usize = 1_000_000;
