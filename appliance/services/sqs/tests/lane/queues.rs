//! Making, counting, purging and ageing queues.

use serde_json::json;

use super::{FIFO, FIFO_DEAD, Lane, QUEUE_COUNT, STANDARD, STANDARD_DEAD};
use crate::client::Client;
use crate::reference::queue::{Queue, Settings};

/// Long enough for most messages to be received, short enough for some to be forgotten.
const RETENTION_SECONDS: u64 = 1_800;
/// Looks at counts until they are right; the service goes on between them.
const LOOKS_MAX: usize = 60_000;
/// Amazon SQS, PurgeQueue: once in so long.
const PURGE_MS: u64 = 60_000;

impl<C: Client> Lane<C> {
    /// Makes the queues of this lane; they differ from lane to lane.
    pub(super) async fn create_queues(&mut self) {
        for place in [STANDARD_DEAD, STANDARD, FIFO_DEAD, FIFO, 4, 5] {
            let queue = self.create_queue(place).await;
            self.queues.push(queue);
        }
        // Made with the dead letters first, kept in the order of the places.
        self.queues.swap(STANDARD, STANDARD_DEAD);
        self.queues.swap(FIFO, FIFO_DEAD);
        assert_eq!(self.queues.len(), QUEUE_COUNT);
    }

    async fn create_queue(&mut self, place: usize) -> Queue {
        let is_fifo = matches!(place, FIFO | FIFO_DEAD | 5);
        let name = format!("lane-{}-{place}{}", self.number, if is_fifo { ".fifo" } else { "" });
        let has_dead_letters = place == STANDARD || place == FIFO;
        let settings = Settings {
            is_fifo,
            visibility_ms: self.random.one_of(&[3_000, 7_000, 30_000]),
            delay_ms: if place < 4 { 0 } else { self.random.one_of(&[0, 2_000]) },
            retention_ms: RETENTION_SECONDS * 1_000,
            by_content: is_fifo && self.random.chance(50),
            by_group: is_fifo && self.random.chance(50),
            receives_max: has_dead_letters.then(|| self.random.one_of(&[1, 2, 3])),
        };
        let mut attributes = json!({
            "VisibilityTimeout": (settings.visibility_ms / 1_000).to_string(),
            "DelaySeconds": (settings.delay_ms / 1_000).to_string(),
            "MessageRetentionPeriod": RETENTION_SECONDS.to_string(),
        });
        if is_fifo {
            attributes["FifoQueue"] = "true".into();
            attributes["ContentBasedDeduplication"] = settings.by_content.to_string().into();
            attributes["DeduplicationScope"] =
                if settings.by_group { "messageGroup" } else { "queue" }.into();
        }
        if let Some(max) = settings.receives_max {
            let target = &self.queues.last().expect("the dead letters were made before").arn;
            attributes["RedrivePolicy"] =
                json!({"deadLetterTargetArn": target, "maxReceiveCount": max}).to_string().into();
        }
        let made = self.done("CreateQueue", &json!({"QueueName": name, "Attributes": attributes})).await;
        self.count("CreateQueue");
        let url = made["QueueUrl"].as_str().expect("a URL").to_owned();
        let request = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
        let arn = self.done("GetQueueAttributes", &request).await["Attributes"]["QueueArn"].clone();
        let arn = arn.as_str().expect("an ARN").to_owned();
        self.check(arn.ends_with(&format!(":{name}")), "an ARN that ends with the name");
        Queue::new(name, url, arn, settings)
    }

    /// The same attributes give the same URL, others an error.
    pub(super) async fn create_again(&mut self, queue: usize) {
        let Queue { name, url, settings, .. } = self.queues[queue].clone();
        let is_same = self.random.chance(50);
        let seconds = settings.visibility_ms / 1_000 + u64::from(!is_same);
        let mut attributes = json!({"VisibilityTimeout": seconds.to_string()});
        if settings.is_fifo {
            attributes["FifoQueue"] = "true".into();
        }
        let request = json!({"QueueName": name, "Attributes": attributes});
        let answer = self.call("CreateQueue", &request).await;
        if is_same {
            self.check(answer.status == 200 && answer.body["QueueUrl"] == url.as_str(), "the URL again");
            self.count("CreateQueue again");
        } else {
            self.failed("CreateQueue", &answer, "QueueNameExists");
        }
    }

    pub(super) async fn counts_of(&mut self, queue: usize) -> [usize; 3] {
        const NAMES: [&str; 3] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ];
        let mut request = self.request(queue);
        request["AttributeNames"] = NAMES.as_slice().into();
        let answer = self.done("GetQueueAttributes", &request).await;
        NAMES.map(|name| {
            answer["Attributes"][name].as_str().and_then(|text| text.parse().ok()).expect("a count")
        })
    }

    /// Ours are exact.
    pub(super) async fn check_counts(&mut self, queue: usize) {
        let found = self.counts_of(queue).await;
        let wanted = self.queues[queue].counts(self.now());
        let known = &self.queues[queue];
        let messages = &known.messages;
        self.check(
            found == wanted,
            &format!("{}: counts {found:?}, should be {wanted:?}: {messages:#?}", known.name),
        );
        self.count("GetQueueAttributes");
    }

    /// Waits until what was moved has arrived, or what is too old has gone.
    pub(super) async fn settle(&mut self, queue: usize) {
        for _ in 0..LOOKS_MAX {
            let found = self.counts_of(queue).await;
            if found == self.queues[queue].counts(self.now()) {
                return;
            }
            self.client.work().await;
        }
        self.check_counts(queue).await;
    }

    pub(super) async fn purge(&mut self, queue: usize) {
        let now = self.now();
        let request = self.request(queue);
        let answer = self.call("PurgeQueue", &request).await;
        if self.queues[queue].purged_ms.is_some_and(|purged| now < purged + PURGE_MS) {
            return self.failed("PurgeQueue", &answer, "PurgeQueueInProgress");
        }
        self.check(answer.status == 200, "should succeed");
        self.queues[queue].purged(now);
        self.count("PurgeQueue");
    }

    /// What a new time makes of the queues: messages that are too old are gone.
    pub async fn time_has_passed(&mut self) {
        let now = self.now();
        let gone: Vec<usize> = self.queues.iter_mut().map(|queue| queue.expire(now)).collect();
        // What a poll has taken meanwhile is told before anything is counted.
        self.end_poll_by_time().await;
        for (queue, gone) in gone.into_iter().enumerate().filter(|(_, gone)| *gone > 0) {
            self.settle(queue).await;
            *self.counts.entry("message too old".to_owned()).or_default() += gone as u64;
        }
    }

    /// Takes everything out of every queue: what comes is judged, and in the end nothing may be left.
    pub async fn audit(&mut self) {
        for queue in 0..self.queues.len() {
            self.check_counts(queue).await;
        }
    }

    /// Receives and deletes whatever is there. The caller lets time pass until nothing is left.
    pub async fn drain(&mut self) -> usize {
        let mut left = 0;
        for queue in 0..self.queues.len() {
            // Once at least: a look also moves what was received too often.
            loop {
                self.receive_and_delete(queue).await;
                if !self.queues[queue].has_ready(self.now()) {
                    break;
                }
            }
            left += self.queues[queue].messages.len();
        }
        left
    }
}
