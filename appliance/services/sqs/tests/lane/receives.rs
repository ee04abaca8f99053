//! Receives, with and without an attempt's id, and the dead letters that they leave.

use serde_json::{Value as Json, json};

use super::{FIFO, FIFO_DEAD, Lane, STANDARD, STANDARD_DEAD};
use crate::client::Client;
use crate::reference::queue::{Got, Message};

/// What is asked of a receive.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub queue: usize,
    pub max: usize,
    pub visibility_ms: u64,
    pub request: Json,
}

pub(super) fn got(body: &Json) -> Vec<Got> {
    let messages = body.get("Messages").and_then(Json::as_array).cloned().unwrap_or_default();
    messages
        .iter()
        .map(|message| {
            let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(text("MD5OfBody").len(), 32, "{message}");
            Got {
                id: text("MessageId"),
                body: text("Body"),
                handle: text("ReceiptHandle"),
                system: message["Attributes"].as_object().cloned().unwrap_or_default(),
                attributes: message.get("MessageAttributes").cloned().unwrap_or(Json::Null),
            }
        })
        .collect()
}

impl<C: Client> Lane<C> {
    pub(super) fn draw_receive(&mut self, queue: usize) -> Asked {
        let max = if self.random.chance(40) { 1 } else { 1 + self.random.below(10) };
        let given = self.random.chance(50).then(|| self.random.one_of(&[0, 1, 2, 5, 9, 60, 3_600]));
        let mut request = self.request(queue);
        request["MaxNumberOfMessages"] = max.into();
        request["MessageSystemAttributeNames"] = json!(["All"]);
        request["MessageAttributeNames"] = json!(["All"]);
        if let Some(seconds) = given {
            request["VisibilityTimeout"] = seconds.into();
        }
        let visibility_ms =
            given.map_or(self.queues[queue].settings.visibility_ms, |seconds| seconds * 1_000);
        Asked { queue, max, visibility_ms, request }
    }

    pub(super) async fn receive(&mut self, queue: usize) {
        let mut asked = self.draw_receive(queue);
        let attempt = if self.queues[queue].settings.is_fifo && self.random.chance(25) {
            self.attempt_count += 1;
            Some(format!("attempt-{}-{}", self.number, self.attempt_count))
        } else {
            None
        };
        if let Some(attempt) = &attempt {
            asked.request["ReceiveRequestAttemptId"] = attempt.as_str().into();
        }
        let body = self.done("ReceiveMessage", &asked.request).await;
        let found = self.received("ReceiveMessage", &asked, &body);
        if let Some(attempt) = attempt {
            let now = self.now();
            self.queues[queue].attempted(now, &attempt, &found);
        }
        self.after_receive(&asked).await;
    }

    /// Judges an answer, and notes what was moved; gives what was received.
    pub(super) fn received(&mut self, operation: &str, asked: &Asked, body: &Json) -> Vec<Got> {
        let now = self.now();
        let found = got(body);
        self.check(body.get("Messages").is_none() == found.is_empty(), "an empty answer leaves Messages out");
        let verdict = self.queues[asked.queue].received(now, asked.max, now + asked.visibility_ms, &found);
        let moved = self.judged(asked.queue, verdict);
        self.buried(asked.queue, moved);
        let kind = if self.queues[asked.queue].settings.is_fifo { "FIFO" } else { "standard" };
        let what = if found.is_empty() { "nothing" } else { "something" };
        self.count(&format!("{operation} {kind} {what}"));
        *self.counts.entry("message received".to_owned()).or_default() += found.len() as u64;
        found
    }

    /// Dead letters go to the other queue.
    fn buried(&mut self, queue: usize, moved: Vec<Message>) {
        let now = self.now();
        let dead = if queue == STANDARD { STANDARD_DEAD } else { FIFO_DEAD };
        let source = self.queues[queue].arn.clone();
        *self.counts.entry("dead letter".to_owned()).or_default() += moved.len() as u64;
        for message in moved {
            self.queues[dead].moved_here(now, message, &source);
        }
    }

    /// Which spent messages an answer has met is not foretold: goes on until there is nothing but those, and then waits until they
    /// are where they go.
    pub(super) async fn after_receive(&mut self, asked: &Asked) {
        if asked.queue != STANDARD && asked.queue != FIFO {
            return;
        }
        loop {
            if self.queues[asked.queue].is_unsure() {
                let found = self.counts_of(asked.queue).await.iter().sum();
                let verdict = self.queues[asked.queue].resolve(found);
                let moved = self.judged(asked.queue, verdict);
                self.buried(asked.queue, moved);
            }
            if !self.queues[asked.queue].has_spent_in_reach(self.now()) {
                break;
            }
            let again = self.draw_receive(asked.queue);
            let again = self.with_max(again, 10);
            let body = self.done("ReceiveMessage", &again.request).await;
            self.received("ReceiveMessage", &again, &body);
        }
        // What is sent there from now on comes behind what was moved.
        self.settle(if asked.queue == STANDARD { STANDARD_DEAD } else { FIFO_DEAD }).await;
    }

    fn with_max(&self, mut asked: Asked, max: usize) -> Asked {
        asked.max = max;
        asked.request["MaxNumberOfMessages"] = max.into();
        // A visibility of nothing would give the same messages for ever.
        asked.visibility_ms = 60_000;
        asked.request["VisibilityTimeout"] = 60.into();
        asked
    }

    /// An attempt once more: the same answer, or the refusal of one that was overtaken.
    pub(super) async fn repeat_attempt(&mut self) {
        let now = self.now();
        let fifos: Vec<usize> = (0..self.queues.len()).filter(|q| self.queues[*q].settings.is_fifo).collect();
        let queue = self.random.one_of(&fifos);
        let mut asked = self.draw_receive(queue);
        if self.random.chance(30)
            && let Some(spoilt) = self.queues[queue].spoilt(now)
        {
            asked.request["ReceiveRequestAttemptId"] = spoilt.id.into();
            let answer = self.call("ReceiveMessage", &asked.request).await;
            return self.failed("ReceiveMessage", &answer, "InvalidParameterValueException");
        }
        let Some(attempt) = self.queues[queue].repeatable(now) else { return self.receive(queue).await };
        asked.request["ReceiveRequestAttemptId"] = attempt.id.as_str().into();
        let body = self.done("ReceiveMessage", &asked.request).await;
        let verdict = self.queues[queue].repeated(&attempt, now + asked.visibility_ms, &got(&body));
        self.judged(queue, verdict);
        self.count("attempt repeated");
    }

    pub(super) async fn receive_and_delete(&mut self, queue: usize) {
        let asked = self.draw_receive(queue);
        let asked = self.with_max(asked, 10);
        let body = self.done("ReceiveMessage", &asked.request).await;
        let found = self.received("ReceiveMessage", &asked, &body);
        self.after_receive(&asked).await;
        for one in found {
            self.delete_by(queue, &one.handle, &one.id).await;
        }
    }
}
