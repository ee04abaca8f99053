//! Sends, singly and in batches, with repeats of what was sent before.

use serde_json::{Value as Json, json};

use super::Lane;
use crate::client::Client;
use crate::reference::queue::Sending;

const GROUP_COUNT: usize = 4;
/// Inline, in a body of its own, and long.
const BODY_BYTES: [usize; 6] = [1, 20, 300, 4_090, 5_000, 70_000];

impl<C: Client> Lane<C> {
    fn draw_sending(&mut self, queue: usize) -> Sending {
        let settings = self.queues[queue].settings.clone();
        let mut body = self.unique("body");
        if self.random.chance(10) {
            body.push_str(&"x".repeat(self.random.one_of(&BODY_BYTES)));
        }
        let attributes = match self.random.below(5) {
            0 => {
                json!({"n": {"DataType": "Number.int", "StringValue": "12"}, "b": {"DataType": "Binary", "BinaryValue": "AAH/"}})
            }
            1 => json!({"text": {"DataType": "String", "StringValue": "ünïcode <&> 鍵"}}),
            _ => Json::Null,
        };
        if !settings.is_fifo {
            let delay_ms = self.random.chance(15).then(|| self.random.below(4) as u64 * 1_000);
            let group = self.random.chance(10).then(|| format!("tenant-{}", self.random.below(GROUP_COUNT)));
            return Sending { body, attributes, delay_ms, group, dedup: None };
        }
        if self.random.chance(15) {
            // Of a small set: most of these are repeats.
            body = format!("one of few {}", self.random.below(3));
        }
        let dedup = if self.random.chance(15) {
            Some(format!("few-{}", self.random.below(3)))
        } else if settings.by_content && self.random.chance(70) {
            None
        } else {
            Some(self.unique("id"))
        };
        let group = Some(format!("group-{}", self.random.below(GROUP_COUNT)));
        Sending { body, attributes, delay_ms: None, group, dedup }
    }

    fn entry(sending: &Sending) -> Json {
        let mut entry = json!({"MessageBody": sending.body});
        if !sending.attributes.is_null() {
            entry["MessageAttributes"] = sending.attributes.clone();
        }
        if let Some(delay_ms) = sending.delay_ms {
            entry["DelaySeconds"] = (delay_ms / 1_000).into();
        }
        if let Some(group) = &sending.group {
            entry["MessageGroupId"] = group.as_str().into();
        }
        if let Some(dedup) = &sending.dedup {
            entry["MessageDeduplicationId"] = dedup.as_str().into();
        }
        entry
    }

    fn sent(&mut self, operation: &str, queue: usize, sending: Sending, sent: &Json) {
        let text = |name: &str| sent.get(name).and_then(Json::as_str).unwrap_or_default();
        let is_right = text("MD5OfMessageBody").len() == 32
            && sent.get("MD5OfMessageAttributes").is_some() != sending.attributes.is_null();
        self.check(is_right, "MD5 of what was sent");
        let now = self.now();
        let verdict = self.queues[queue].sent(now, sending, text("MessageId"), text("SequenceNumber"));
        let is_new = self.judged(queue, verdict);
        let kind = if self.queues[queue].settings.is_fifo { "FIFO" } else { "standard" };
        self.count(&format!("{operation} {kind}{}", if is_new { "" } else { " repeat" }));
    }

    pub(super) async fn send(&mut self, queue: usize) {
        let sending = self.draw_sending(queue);
        let mut request = Self::entry(&sending);
        request["QueueUrl"] = self.queues[queue].url.as_str().into();
        let sent = self.done("SendMessage", &request).await;
        self.sent("SendMessage", queue, sending, &sent);
    }

    pub(super) async fn send_batch(&mut self, queue: usize) {
        let sendings: Vec<Sending> = (0..=self.random.below(10)).map(|_| self.draw_sending(queue)).collect();
        let entries: Vec<Json> = sendings
            .iter()
            .enumerate()
            .map(|(number, sending)| {
                let mut entry = Self::entry(sending);
                entry["Id"] = format!("e{number}").into();
                entry
            })
            .collect();
        let mut request = self.request(queue);
        request["Entries"] = entries.into();
        let answer = self.done("SendMessageBatch", &request).await;
        let successes = answer["Successful"].as_array().cloned().unwrap_or_default();
        self.check(successes.len() == sendings.len(), "every entry should succeed");
        self.check(
            answer.get("Failed").is_none_or(|failed| failed.as_array().is_some_and(Vec::is_empty)),
            "none fails",
        );
        for (number, sending) in sendings.into_iter().enumerate() {
            let id = Json::from(format!("e{number}"));
            let found = successes.iter().find(|sent| sent["Id"] == id).cloned();
            self.check(found.is_some(), "an answer for every entry");
            self.sent("SendMessageBatch", queue, sending, &found.expect("checked above"));
        }
    }
}
