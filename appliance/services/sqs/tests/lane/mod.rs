//! One client with queues of its own, and the reference beside it: every reply is foretold or judged.
//! Invariant: queues of different lanes have different names, so lanes may run beside each other.

#![allow(dead_code, reason = "each test binary uses its own part")]

mod handles;
mod polls;
mod queues;
mod receives;
mod sends;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::client::{Answer, Client};
use crate::reference::queue::Queue;
use crate::reference::random::Random;
use polls::Poll;

/// One client's run.
pub struct Lane<C> {
    pub client: C,
    pub random: Random,
    pub counts: BTreeMap<String, u64>,
    pub number: usize,
    queues: Vec<Queue>,
    sent_count: usize,
    attempt_count: usize,
    poll: Option<Poll>,
    /// What the step so far said, for the report of a failure.
    last: String,
}

/// The queues of a lane by their place: a standard queue with its dead letters, a FIFO queue with its, and one of each kind
/// that has none.
const STANDARD: usize = 0;
const STANDARD_DEAD: usize = 1;
const FIFO: usize = 2;
const FIFO_DEAD: usize = 3;
const QUEUE_COUNT: usize = 6;

impl<C> Lane<C> {
    pub fn new(client: C, number: usize, seed: u64) -> Lane<C> {
        Lane {
            client,
            random: Random(seed.wrapping_add(number as u64 * 0x1_0000_0001)),
            counts: BTreeMap::new(),
            number,
            queues: Vec::new(),
            sent_count: 0,
            attempt_count: 0,
            poll: None,
            last: String::new(),
        }
    }

    /// The same lane with another client, behind a restart. Its poll must have ended.
    pub fn with_client<D>(self, client: D) -> Lane<D> {
        assert!(self.poll.is_none(), "a poll ends with its client");
        Lane {
            client,
            random: self.random,
            counts: self.counts,
            number: self.number,
            queues: self.queues,
            sent_count: self.sent_count,
            attempt_count: self.attempt_count,
            poll: None,
            last: self.last,
        }
    }
}

impl<C: Client> Lane<C> {
    /// One random operation, judged.
    pub async fn step(&mut self) {
        if self.queues.is_empty() {
            return self.create_queues().await;
        }
        if self.poll.is_some() {
            return self.step_beside_poll().await;
        }
        let queue = self.pick();
        match self.random.below(1_000) {
            0..=259 => self.send(queue).await,
            260..=359 => self.send_batch(queue).await,
            360..=639 => self.receive(queue).await,
            640..=754 => self.delete(queue).await,
            755..=799 => self.delete_batch(queue).await,
            800..=844 => self.change_visibility(queue).await,
            845..=864 => self.change_visibility_batch(queue).await,
            865..=889 => self.repeat_attempt().await,
            890..=909 => self.check_counts(queue).await,
            910..=939 => self.begin_poll().await,
            940..=969 => self.refused(queue).await,
            970..=981 => self.purge(queue).await,
            _ => self.create_again(queue).await,
        }
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn pick(&mut self) -> usize {
        self.random.below(self.queues.len())
    }

    fn now(&self) -> u64 {
        self.client.now_ms()
    }

    async fn call(&mut self, operation: &str, request: &Json) -> Answer {
        let answer = self.client.call(operation, request).await;
        self.said(operation, request, &answer);
        answer
    }

    fn said(&mut self, operation: &str, request: &Json, answer: &Answer) {
        self.last = format!(
            "lane {} at {}: {operation} {request}\nanswered {} {}",
            self.number,
            self.now(),
            answer.status,
            answer.body
        );
        self.last.truncate(self.last.floor_char_boundary(SAID_BYTES_MAX));
    }

    /// Sends what must succeed; gives its body.
    async fn done(&mut self, operation: &str, request: &Json) -> Json {
        let answer = self.call(operation, request).await;
        self.check(answer.status == 200, "should succeed");
        answer.body
    }

    /// The reply must be this error. Counts it.
    fn failed(&mut self, operation: &str, answer: &Answer, error: &str) {
        self.check(answer.status >= 400 && answer.error() == Some(error), &format!("should be {error}"));
        self.count(&format!("{operation} {error}"));
    }

    #[track_caller]
    fn check(&self, is_right: bool, what: &str) {
        assert!(is_right, "{what}\n{}", self.last);
    }

    #[track_caller]
    fn judged<T>(&self, queue: usize, verdict: Result<T, String>) -> T {
        verdict.unwrap_or_else(|wrong| {
            panic!("{}: {wrong}\n{}\n{:#?}", self.queues[queue].name, self.last, self.queues[queue].messages)
        })
    }

    fn request(&self, queue: usize) -> Json {
        json!({"QueueUrl": self.queues[queue].url})
    }

    /// A text that differs from every other of its kind.
    fn unique(&mut self, kind: &str) -> String {
        self.sent_count += 1;
        format!("{kind}-{}-{}", self.number, self.sent_count)
    }
}

/// So much of a reply is shown.
const SAID_BYTES_MAX: usize = 6_000;
/// Tries until something that must come by itself has come; each gives way to everybody else.
const TRIES_MAX: usize = 20_000;
