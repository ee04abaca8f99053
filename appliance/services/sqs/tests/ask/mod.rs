//! The service in this process with what tests of queues ask of it all the time.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::future::Future;
use std::ops::Bound;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value as Json, json};
use store::{Direction, ManualClock, TableId};

use crate::driver::{BEGINNING, MAIN, Stop, TempDir, World, with_world_until};

/// The service with what these tests ask of it all the time.
pub struct Queues {
    pub world: Rc<World>,
}

impl Queues {
    pub async fn ask(&self, operation: &str, request: Json) -> Result<Json, String> {
        let raw = self.world.send(operation, &request).await;
        let body: Json = serde_json::from_slice(&raw.body).unwrap_or(Json::Null);
        match raw.status {
            200 => Ok(body),
            _ => {
                let kind = body["__type"].as_str().unwrap_or_default();
                let kind = kind.rsplit('#').next().unwrap_or_default();
                Err(format!("{kind}: {}", body["message"].as_str().unwrap_or_default()))
            }
        }
    }

    pub async fn done(&self, operation: &str, request: Json) -> Json {
        self.ask(operation, request).await.expect("is done")
    }

    pub async fn refused(&self, operation: &str, request: Json) -> String {
        self.ask(operation, request).await.expect_err("is refused")
    }

    pub async fn attributes(&self, url: &Json) -> Json {
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        self.done("GetQueueAttributes", request).await["Attributes"].take()
    }

    pub async fn set(&self, url: &Json, attributes: Json) {
        self.done("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes })).await;
    }

    pub async fn create(&self, name: &str, attributes: Json) -> Json {
        self.done("CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await["QueueUrl"]
            .take()
    }

    pub async fn send(&self, url: &Json, body: &str) {
        self.done("SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await;
    }

    pub async fn send_fifo(&self, url: &Json, group: &str, body: &str) {
        let request = json!({
            "QueueUrl": url, "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body,
        });
        self.done("SendMessage", request).await;
    }

    /// Bodies and handles of up to ten messages, which stay invisible for `seconds`.
    pub async fn receive(&self, url: &Json, seconds: u32) -> Vec<(String, Json)> {
        let request = json!({
            "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": seconds, "WaitTimeSeconds": 0,
        });
        let reply = self.done("ReceiveMessage", request).await;
        let messages = reply["Messages"].as_array().cloned().unwrap_or_default();
        messages
            .into_iter()
            .map(|mut message| {
                (message["Body"].as_str().unwrap_or("").to_owned(), message["ReceiptHandle"].take())
            })
            .collect()
    }

    pub async fn bodies(&self, url: &Json) -> Vec<String> {
        self.receive(url, 30).await.into_iter().map(|(body, _)| body).collect()
    }

    /// Visible, in flight, delayed.
    pub async fn counts(&self, url: &Json) -> [u64; 3] {
        let names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ];
        let request = json!({ "QueueUrl": url, "AttributeNames": names });
        let reply = self.done("GetQueueAttributes", request).await;
        names.map(|name| {
            reply["Attributes"][name].as_str().and_then(|text| text.parse().ok()).expect("a number")
        })
    }

    /// Lets seconds pass as they do in the field: with a turn of the background in each.
    pub async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.world.advance(1_000).await;
        }
    }

    /// Records of the service in the store, but queues, deduplication ids and tasks.
    pub fn record_count(&self) -> usize {
        let tables = [61, 62, 63, 66, 68, 70].map(TableId);
        let count = |shard, table| {
            let view = self.world.store.view(shard).expect("a view");
            let mut scan = view.scan(table, Bound::Unbounded, Direction::Forward);
            std::iter::from_fn(|| scan.next().expect("reads")).count()
        };
        self.world
            .store
            .shards()
            .map(|shard| tables.map(|table| count(shard, table)).iter().sum::<usize>())
            .sum()
    }

    pub fn dedup_count(&self) -> usize {
        let count = |shard| {
            let view = self.world.store.view(shard).expect("a view");
            let mut scan = view.scan(TableId(64), Bound::Unbounded, Direction::Forward);
            std::iter::from_fn(|| scan.next().expect("reads")).count()
        };
        self.world.store.shards().map(count).sum()
    }

    pub async fn task(&self, source: &str) -> Json {
        let request = json!({ "SourceArn": arn(source), "MaxResults": 10 });
        self.done("ListMessageMoveTasks", request).await["Results"][0].take()
    }
}

pub fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{MAIN}:{name}")
}

/// The text of a RedrivePolicy.
pub fn redrive_text(target: &str, count: u32) -> String {
    json!({ "deadLetterTargetArn": arn(target), "maxReceiveCount": count }).to_string()
}

/// The attributes of a queue with a dead-letter queue.
pub fn redrive(target: &str, count: u32) -> Json {
    json!({ "RedrivePolicy": json!({ "deadLetterTargetArn": arn(target), "maxReceiveCount": count }).to_string() })
}

pub fn with_queues<F, Fut>(name: &str, work: F)
where
    F: FnOnce(Queues) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = TempDir::new(name);
    let clock = ManualClock::new(BEGINNING);
    open(&directory.0, &clock, Stop::Drained, work);
}

pub fn open<F, Fut>(directory: &Path, clock: &ManualClock, stop: Stop, work: F)
where
    F: FnOnce(Queues) -> Fut,
    Fut: Future<Output = ()>,
{
    with_world_until(directory, stop, clock, |world| work(Queues { world: Rc::new(world) }));
}
