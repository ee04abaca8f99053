//! SQS and SNS: messages of one size sent, received and deleted, singly and by tens, and published to a topic that feeds queues.
//!
//! ```text
//! NAME-SIZE-send      takes what is sent; the target's backlog waits in it before each run
//! NAME-SIZE-take      holds --keys messages more than the backlog before each run, which receives and deletes them
//! NAME-fed-N          queues that the topic NAME-N feeds
//! ```
//!
//! Invariant: a receive that comes back with fewer messages than were asked for is a failure, and so is a batch of which an entry
//! failed. What is sent was signed ahead of the clock; deletes are made of what the receives before them gave.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memmem;

use crate::client::amqp;
use crate::client::http1::{Answer, Failed};
use crate::load::recorder::Failure;
use crate::load::schedule::SplitMix;
use crate::prepare::sign::{ARENA_BYTES_MAX, Arena, Heads};
use crate::prepare::sign_json::{JsonSigner, SNS, SQS};
use crate::scenario::{Expect, Length, Plan, Prepared, Protocol, Scenario, Sizes, Target};
use crate::scenarios::s3::{now, timestamp};

pub mod due;
pub mod fill;
pub mod poll;

/// Amazon SQS: entries of a batch.
pub const BATCH_ENTRIES: usize = 10;
/// The longest body here, so that requests of ten stay within one.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Groups of a FIFO queue that messages go to in turn: more than there are receives at a time.
const GROUP_COUNT: usize = 1_000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// SendMessage, or SendMessageBatch of ten.
    Send,
    /// ReceiveMessage and then DeleteMessage, or of ten and DeleteMessageBatch.
    Take,
    /// Publish.
    Publish,
}

/// How large, how many, where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is asked.
    pub operation: Operation,
    /// How names of queues begin; they are made if they are not there.
    pub queue: String,
    /// Of every body.
    pub body_bytes: usize,
    /// By tens.
    pub is_batch: bool,
    /// Whether the queue is FIFO.
    pub is_fifo: bool,
    /// Messages that a run may receive.
    pub message_count: usize,
    /// Queues that a publish reaches.
    pub queue_count: usize,
    /// Of all that is drawn.
    pub seed: u64,
}

/// A load of queue requests.
pub struct Sqs {
    settings: Settings,
    body: String,
}

impl Sqs {
    /// Makes the body.
    pub fn new(settings: Settings) -> Sqs {
        let mut random = SplitMix(settings.seed);
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let body = (0..settings.body_bytes).map(|_| char::from(LETTERS[(random.next() >> 58) as usize]));
        let body = body.collect();
        Sqs { settings, body }
    }

    /// Messages of a request.
    fn entry_count(&self) -> usize {
        if self.settings.is_batch { BATCH_ENTRIES } else { 1 }
    }

    fn queue_name(&self) -> String {
        let Settings { queue, body_bytes, is_fifo, operation, .. } = &self.settings;
        let kind = if *operation == Operation::Take { "take" } else { "send" };
        format!("{queue}-{body_bytes}-{kind}{}", if *is_fifo { ".fifo" } else { "" })
    }

    /// The members of one message: its body, and on FIFO what says where it belongs.
    fn message(&self, run: u64, index: usize) -> String {
        let body = &self.body;
        if !self.settings.is_fifo {
            return format!(r#""MessageBody":"{body}""#);
        }
        let group = index % GROUP_COUNT;
        format!(
            r#""MessageBody":"{body}","MessageGroupId":"g{group}","MessageDeduplicationId":"{run:016x}{index}""#
        )
    }

    /// A send of messages from `first` on.
    fn sending(&self, url: &str, run: u64, first: usize, count: usize) -> String {
        if count == 1 {
            return format!(r#"{{"QueueUrl":"{url}",{}}}"#, self.message(run, first));
        }
        let entries: Vec<String> = (0..count)
            .map(|entry| format!(r#"{{"Id":"e{entry}",{}}}"#, self.message(run, first + entry)))
            .collect();
        format!(r#"{{"QueueUrl":"{url}","Entries":[{}]}}"#, entries.join(","))
    }

    fn publication(&self, topic: &str) -> String {
        format!("Action=Publish&Version=2010-03-31&TopicArn={}&Message={}", form_coded(topic), self.body)
    }

    /// Sends over AMQP: as many publications as a batch has entries.
    fn plan_amqp(&self, is_durable: bool) -> Result<Box<dyn Plan>, String> {
        if self.body.len() > amqp::BATCHED_BYTES_MAX {
            return Err(format!("over AMQP bodies have {} bytes at most here", amqp::BATCHED_BYTES_MAX));
        }
        let mut head = Vec::new();
        for _ in 0..self.entry_count() {
            amqp::append_publish(&mut head, is_durable, self.body.len());
            amqp::append_body(&mut head, self.body.as_bytes());
        }
        let expect = Expect { status: 200, length: Length::Any };
        Ok(Box::new(Same(Prepared { head: head.into(), body: Bytes::new(), expect, tag: None })))
    }

    fn plan_sends(&self, target: &Target, url: &str, count_max: usize) -> Result<Box<dyn Plan>, String> {
        let now = now();
        let run = SplitMix(now.as_nanos() as u64).next();
        let (operation, api) = match (self.settings.operation, self.settings.is_batch) {
            (Operation::Publish, _) => ("Publish", SNS),
            (_, true) => ("SendMessageBatch", SQS),
            (_, false) => ("SendMessage", SQS),
        };
        let mut signer = JsonSigner::new(api, &target.host, target.credentials.as_ref(), timestamp(now));
        let (mut heads, mut bodies) = (Arena::new(ARENA_BYTES_MAX), Arena::new(ARENA_BYTES_MAX));
        // Equal requests share their bytes; those of FIFO differ by the ids of their messages.
        let count = if self.settings.is_fifo { count_max } else { 1 };
        let mut made = 0;
        for request in 0..count {
            let body = match self.settings.operation {
                Operation::Publish => self.publication(url),
                _ => self.sending(url, run, request * self.entry_count(), self.entry_count()),
            };
            let head = heads.add(|out| signer.append(out, operation, body.as_bytes()));
            let body = bodies.add(|out| out.extend_from_slice(body.as_bytes()));
            if head.is_none() || body.is_none() {
                break;
            }
            made += 1;
        }
        let is_heard = self.settings.is_batch;
        Ok(Box::new(Sends {
            heads: heads.close(),
            bodies: bodies.close(),
            made,
            next: 0,
            repeats: !self.settings.is_fifo,
            is_heard,
        }))
    }

    fn plan_takes(&self, target: &Target, url: &str) -> Box<dyn Plan> {
        let count = self.entry_count();
        let now = timestamp(now());
        let mut signer = JsonSigner::new(SQS, &target.host, target.credentials.as_ref(), now);
        let body = format!(r#"{{"QueueUrl":"{url}","MaxNumberOfMessages":{count}}}"#);
        let mut head = Vec::new();
        signer.append(&mut head, "ReceiveMessage", body.as_bytes());
        let expect = Expect { status: 200, length: Length::Any };
        let receive = Prepared { head: head.into(), body: body.into(), expect, tag: Some(RECEIVE) };
        Box::new(Takes { url: url.to_owned(), signer, receive, count, ready: VecDeque::new() })
    }
}

impl Scenario for Sqs {
    fn title(&self) -> String {
        let Settings { operation, body_bytes, is_fifo, queue_count, .. } = &self.settings;
        let kind = if *is_fifo { "FIFO" } else { "standard" };
        let each = if self.settings.is_batch { "ten messages" } else { "a message" };
        match operation {
            Operation::Send => format!("SQS send of {each} of {body_bytes} B, {kind}"),
            Operation::Take => format!("SQS receive and delete of {each} of {body_bytes} B, {kind}"),
            Operation::Publish => format!("SNS publish of {body_bytes} B to {queue_count} queues"),
        }
    }

    fn sizes(&self) -> Sizes {
        Sizes { value_bytes: Some(self.settings.body_bytes as u64), ..Sizes::default() }
    }

    fn fill(&self, target: &Target) -> Result<(), String> {
        if target.protocol != Protocol::Http {
            return Ok(());
        }
        match self.settings.operation {
            Operation::Publish => self.make_topic(target).map(drop),
            Operation::Send | Operation::Take => self.make_queue(target).map(drop),
        }
    }

    fn writes(&self) -> Option<Box<dyn Scenario>> {
        let settings = Settings { operation: Operation::Send, ..self.settings.clone() };
        (self.settings.operation == Operation::Send)
            .then(|| Box::new(Sqs::new(settings)) as Box<dyn Scenario>)
    }

    fn plan(&self, target: &Target, worker: usize, count_max: usize) -> Result<Box<dyn Plan>, String> {
        if let Protocol::Amqp { is_durable } = target.protocol {
            return self.plan_amqp(is_durable);
        }
        if self.settings.operation == Operation::Publish {
            let topic = self.make_topic(target)?;
            return self.plan_sends(target, &topic, count_max);
        }
        let url = self.make_queue(target)?;
        if worker == 0 {
            self.top_up(target, &url)?;
        }
        match self.settings.operation {
            Operation::Take => Ok(self.plan_takes(target, &url)),
            Operation::Send | Operation::Publish => self.plan_sends(target, &url, count_max),
        }
    }
}

/// The same request over and over.
struct Same(Prepared);

impl Plan for Same {
    fn next(&mut self) -> Option<Prepared> {
        Some(self.0.clone())
    }
}

/// Sends in the order made, and then, where they may be repeated, again.
struct Sends {
    heads: Heads,
    bodies: Heads,
    made: u32,
    next: u32,
    repeats: bool,
    is_heard: bool,
}

impl Plan for Sends {
    fn next(&mut self) -> Option<Prepared> {
        if self.next == self.made {
            // On FIFO a repeat would store nothing.
            if !self.repeats {
                return None;
            }
            self.next = 0;
        }
        let index = self.next;
        self.next += 1;
        let expect = Expect { status: 200, length: Length::Any };
        let tag = self.is_heard.then_some(index);
        Some(Prepared { head: self.heads.get(index), body: self.bodies.get(index), expect, tag })
    }

    fn answered(&mut self, _tag: u32, answer: &Answer, body_bytes: u64) -> Result<u64, Failed> {
        whole_batch(answer, BATCH_ENTRIES)?;
        Ok(body_bytes)
    }
}

/// The tag of a receive; a delete has the number of its entries.
const RECEIVE: u32 = 0;

/// Receives, and a delete of what each gave.
struct Takes {
    url: String,
    signer: JsonSigner,
    receive: Prepared,
    count: usize,
    /// Handles of each receive that was answered, as they stand in JSON.
    ready: VecDeque<Vec<String>>,
}

impl Plan for Takes {
    fn next(&mut self) -> Option<Prepared> {
        let Some(handles) = self.ready.pop_front() else { return Some(self.receive.clone()) };
        let url = &self.url;
        let (operation, body) = match handles.as_slice() {
            [handle] if self.count == 1 => {
                ("DeleteMessage", format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"{handle}"}}"#))
            }
            handles => {
                let entries: Vec<String> = handles
                    .iter()
                    .enumerate()
                    .map(|(entry, handle)| format!(r#"{{"Id":"e{entry}","ReceiptHandle":"{handle}"}}"#))
                    .collect();
                let entries = entries.join(",");
                ("DeleteMessageBatch", format!(r#"{{"QueueUrl":"{url}","Entries":[{entries}]}}"#))
            }
        };
        let mut head = Vec::with_capacity(512);
        self.signer.append(&mut head, operation, body.as_bytes());
        let expect = Expect { status: 200, length: Length::Any };
        Some(Prepared { head: head.into(), body: body.into(), expect, tag: Some(handles.len() as u32) })
    }

    fn answered(&mut self, tag: u32, answer: &Answer, body_bytes: u64) -> Result<u64, Failed> {
        if tag != RECEIVE {
            if self.count > 1 {
                whole_batch(answer, tag as usize)?;
            }
            return Ok(body_bytes);
        }
        let handles = members(&answer.body, "ReceiptHandle");
        let (found, count) = (handles.len(), self.count);
        if !handles.is_empty() {
            self.ready.push_back(handles);
        }
        if found == 0 {
            let words = "a receive gave nothing: --keys puts more messages there".to_owned();
            return Err((Failure::Content, words));
        }
        if found != count {
            return Err((Failure::Content, format!("a receive gave {found} messages of {count}")));
        }
        Ok(body_bytes)
    }
}

/// No entry of a batch failed.
fn whole_batch(answer: &Answer, count: usize) -> Result<(), Failed> {
    let found = members(&answer.body, "Id").len();
    let has_failure = memmem::find(&answer.body, b"\"SenderFault\"").is_some();
    if found == count && !has_failure {
        return Ok(());
    }
    let words = format!("{found} of {count} entries: {}", String::from_utf8_lossy(&answer.body));
    Err((Failure::Content, words))
}

/// The texts of all members of this name, as they stand between their quotes.
fn members(body: &[u8], name: &str) -> Vec<String> {
    let key = format!("\"{name}\"");
    let finder = memmem::Finder::new(key.as_bytes());
    let text = |at: usize| {
        let rest = body[at + key.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let rest = rest.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', rest)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    finder.find_iter(body).filter_map(text).collect()
}

/// A value of a form.
fn form_coded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut coded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                coded.push(char::from(byte))
            }
            byte => coded.push_str(&format!("%{byte:02X}")),
        }
        coded
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn scenario(operation: Operation, is_batch: bool, is_fifo: bool) -> Sqs {
        Sqs::new(Settings {
            operation,
            queue: "z".to_owned(),
            body_bytes: 20,
            is_batch,
            is_fifo,
            message_count: 10,
            queue_count: 1,
            seed: 1,
        })
    }

    fn target() -> Target {
        Target::at("127.0.0.1:1").expect("an address")
    }

    #[test]
    fn sends_of_fifo_have_ids_of_their_own_and_come_once() {
        let mut plan = scenario(Operation::Send, true, true).plan_sends(&target(), "u", 3).expect("a plan");
        let mut ids = std::collections::HashSet::new();
        for _ in 0..3 {
            let body: Value = serde_json::from_slice(&plan.next().expect("made").body).expect("JSON");
            for entry in body["Entries"].as_array().expect("a batch") {
                assert_eq!(entry["MessageBody"].as_str().map(str::len), Some(20));
                assert!(ids.insert(entry["MessageDeduplicationId"].clone()));
            }
        }
        assert_eq!(ids.len(), 30);
        assert!(plan.next().is_none());
        let mut plan = scenario(Operation::Send, false, false).plan_sends(&target(), "u", 3).expect("a plan");
        assert!((0..10).all(|_| plan.next().is_some()));
    }

    #[test]
    fn what_a_receive_gave_is_deleted_next_and_an_empty_one_is_a_failure() {
        let mut plan = scenario(Operation::Take, true, false).plan_takes(&target(), "u");
        let receive = plan.next().expect("always");
        let messages: Vec<String> =
            (0..10).map(|n| format!(r#"{{"Body":"b","ReceiptHandle":"h{n}"}}"#)).collect();
        let answer = |body: String| Answer { body_bytes: 1, body: body.into_bytes(), ..Answer::of(200) };
        let given = answer(format!(r#"{{"Messages": [{}]}}"#, messages.join(",")));
        assert_eq!(plan.answered(receive.tag.expect("heard"), &given, 1), Ok(1));
        let delete = plan.next().expect("of what was received");
        let body: Value = serde_json::from_slice(&delete.body).expect("JSON");
        assert_eq!(body["Entries"][9]["ReceiptHandle"], Value::from("h9"));
        assert_eq!(plan.next().expect("always").body, receive.body);
        let entries: Vec<String> = (0..10).map(|n| format!(r#"{{"Id":"e{n}"}}"#)).collect();
        let good = format!(r#"{{"Successful":[{}]}}"#, entries.join(","));
        assert_eq!(plan.answered(10, &answer(good.clone()), 1), Ok(1));
        let bad = good.replace(r#""e3""#, r#""e3","SenderFault":true"#);
        assert!(plan.answered(10, &answer(bad), 1).is_err());
        assert!(
            plan.answered(RECEIVE, &answer("{}".to_owned()), 1)
                .is_err_and(|(_, words)| words.contains("--keys"))
        );
    }

    #[test]
    fn a_batch_over_amqp_is_so_many_publications() {
        let mut plan = scenario(Operation::Send, true, false).plan_amqp(true).expect("a plan");
        let head = plan.next().expect("always").head;
        assert_eq!(memmem::find_iter(&head, b"zerobench").count(), BATCH_ENTRIES);
    }
}
