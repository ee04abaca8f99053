//! Deletes and changes of visibility with current, late, older, foreign and forged handles, and requests that must fail.

use serde_json::{Value as Json, json};

use super::{FIFO, Lane};
use crate::client::Client;
use crate::reference::queue::{Queue, Standing};

/// Amazon SQS, DeleteMessage and ChangeMessageVisibility.
const NO_HANDLE: &str = "ReceiptHandleIsInvalid";
const INVALID: &str = "InvalidParameterValueException";
const NOT_IN_FLIGHT: &str = "MessageNotInflight";

impl<C: Client> Lane<C> {
    /// A handle that some receive gave, with its message: mostly one that is still good.
    fn draw_handle(&mut self, queue: usize) -> Option<(String, String)> {
        let now = self.now();
        let count = self.queues[queue].handles.len();
        if count == 0 {
            return None;
        }
        if self.random.chance(75) {
            let current: Vec<(String, String)> = self.queues[queue]
                .messages
                .iter()
                .filter(|message| message.is_in_flight(now))
                .filter_map(|message| Some((message.handle.clone()?, message.id.clone())))
                .collect();
            if !current.is_empty() {
                return Some(current[self.random.below(current.len())].clone());
            }
        }
        Some(self.queues[queue].handles[self.random.below(count)].clone())
    }

    /// What a delete with this handle must answer.
    fn delete_error(&self, queue: usize, handle: &str, id: &str) -> Option<&'static str> {
        let standing = self.queues[queue].standing(self.now(), handle, id);
        // A message that is gone was deleted, by whichever handle: that it is gone is all that a delete promises.
        let is_late = matches!(standing, Standing::Over | Standing::Older);
        (self.queues[queue].settings.is_fifo && is_late).then_some(INVALID)
    }

    fn visibility_error(&self, queue: usize, handle: &str, id: &str) -> Option<&'static str> {
        let now = self.now();
        let Queue { messages, settings, .. } = &self.queues[queue];
        let is_visible = messages.iter().any(|message| message.id == id && message.is_visible(now));
        match self.queues[queue].standing(now, handle, id) {
            Standing::Current => None,
            Standing::Over | Standing::Older if settings.is_fifo || !is_visible => Some(INVALID),
            Standing::Over | Standing::Older => Some(NOT_IN_FLIGHT),
            Standing::Gone => Some(INVALID),
        }
    }

    pub(super) async fn delete(&mut self, queue: usize) {
        let Some((handle, id)) = self.draw_handle(queue) else { return self.receive(queue).await };
        self.delete_by(queue, &handle, &id).await;
    }

    pub(super) async fn delete_by(&mut self, queue: usize, handle: &str, id: &str) {
        let mut request = self.request(queue);
        request["ReceiptHandle"] = handle.into();
        let (error, standing) =
            (self.delete_error(queue, handle, id), self.queues[queue].standing(self.now(), handle, id));
        let answer = self.call("DeleteMessage", &request).await;
        if let Some(error) = error {
            return self.failed("DeleteMessage", &answer, error);
        }
        self.check(answer.status == 200, "should succeed");
        let now = self.now();
        self.queues[queue].deleted(now, handle, id);
        self.count(&format!("DeleteMessage {standing:?}"));
    }

    /// Handles of a batch, no message twice: its entries have an order, but who sends one counts on none.
    fn draw_handles(&mut self, queue: usize) -> Vec<(String, String)> {
        let mut drawn: Vec<(String, String)> = Vec::new();
        for _ in 0..=self.random.below(10) {
            if let Some(one) = self.draw_handle(queue)
                && !drawn.iter().any(|(_, id)| *id == one.1)
            {
                drawn.push(one);
            }
        }
        drawn
    }

    /// Sends a batch about handles; each entry must fare as foretold. Gives those that succeeded.
    async fn batch(
        &mut self,
        operation: &str,
        queue: usize,
        entries: Vec<Json>,
        errors: &[Option<&'static str>],
    ) -> Vec<usize> {
        let mut request = self.request(queue);
        request["Entries"] = entries.into();
        let answer = self.done(operation, &request).await;
        let mut good = Vec::new();
        for (number, error) in errors.iter().enumerate() {
            let id = Json::from(format!("e{number}"));
            let among = |list: &str| {
                let list = answer.get(list).and_then(Json::as_array);
                list.and_then(|entries| entries.iter().find(|entry| entry["Id"] == id)).cloned()
            };
            let (success, failure) = (among("Successful"), among("Failed"));
            match error {
                None => {
                    self.check(
                        success.is_some() && failure.is_none(),
                        &format!("entry {number} should succeed"),
                    );
                    good.push(number);
                }
                Some(error) => {
                    let code = failure.as_ref().and_then(|entry| entry["Code"].as_str()).unwrap_or_default();
                    // Entries carry the code of the Query protocol.
                    let wanted = match *error {
                        INVALID => "InvalidParameterValue",
                        NOT_IN_FLIGHT => "AWS.SimpleQueueService.MessageNotInflight",
                        other => other,
                    };
                    let is_same = code.rsplit('.').next() == wanted.rsplit('.').next();
                    self.check(success.is_none() && is_same, &format!("entry {number} should be {wanted}"));
                    self.count(&format!("{operation} entry {error}"));
                }
            }
        }
        self.count(operation);
        good
    }

    pub(super) async fn delete_batch(&mut self, queue: usize) {
        let drawn = self.draw_handles(queue);
        if drawn.is_empty() {
            return self.send_batch(queue).await;
        }
        let errors: Vec<_> = drawn.iter().map(|(handle, id)| self.delete_error(queue, handle, id)).collect();
        let entry = |(number, (handle, _)): (usize, &(String, String))| json!({"Id": format!("e{number}"), "ReceiptHandle": handle});
        let entries = drawn.iter().enumerate().map(entry).collect();
        let now = self.now();
        for good in self.batch("DeleteMessageBatch", queue, entries, &errors).await {
            let (handle, id) = &drawn[good];
            self.queues[queue].deleted(now, handle, id);
        }
    }

    pub(super) async fn change_visibility(&mut self, queue: usize) {
        let Some((handle, id)) = self.draw_handle(queue) else { return self.send(queue).await };
        let seconds = self.random.one_of(&[0, 1, 4, 30, 1_000]);
        let error = self.visibility_error(queue, &handle, &id);
        let mut request = self.request(queue);
        request["ReceiptHandle"] = handle.as_str().into();
        request["VisibilityTimeout"] = seconds.into();
        let answer = self.call("ChangeMessageVisibility", &request).await;
        if let Some(error) = error {
            return self.failed("ChangeMessageVisibility", &answer, error);
        }
        self.check(answer.status == 200, "should succeed");
        let now = self.now();
        self.queues[queue].visibility_changed(&handle, now + seconds * 1_000);
        self.count("ChangeMessageVisibility");
    }

    pub(super) async fn change_visibility_batch(&mut self, queue: usize) {
        let drawn = self.draw_handles(queue);
        if drawn.is_empty() {
            return self.receive(queue).await;
        }
        let errors: Vec<_> =
            drawn.iter().map(|(handle, id)| self.visibility_error(queue, handle, id)).collect();
        let seconds: Vec<u64> = drawn.iter().map(|_| self.random.one_of(&[0, 2, 60])).collect();
        let entry = |(number, (handle, _)): (usize, &(String, String))| json!({"Id": format!("e{number}"), "ReceiptHandle": handle, "VisibilityTimeout": seconds[number]});
        let entries = drawn.iter().enumerate().map(entry).collect();
        let now = self.now();
        for good in self.batch("ChangeMessageVisibilityBatch", queue, entries, &errors).await {
            self.queues[queue].visibility_changed(&drawn[good].0, now + seconds[good] * 1_000);
        }
    }

    /// A request that must fail and change nothing.
    pub(super) async fn refused(&mut self, queue: usize) {
        let mut request = self.request(queue);
        let other = (queue + 1) % self.queues.len();
        let foreign = self.queues[other].handles.last().map(|(handle, _)| handle.clone());
        let (operation, error) = match self.random.below(9) {
            0 => {
                let Some(foreign) = foreign else { return self.send(queue).await };
                request["ReceiptHandle"] = foreign.into();
                ("DeleteMessage", NO_HANDLE)
            }
            1 => {
                let Some((handle, _)) = self.draw_handle(queue) else { return self.send(queue).await };
                let at = self.random.below(handle.len());
                let mut forged = handle.clone().into_bytes();
                forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
                request["ReceiptHandle"] = String::from_utf8_lossy(&forged).into_owned().into();
                request["VisibilityTimeout"] = 0.into();
                ("ChangeMessageVisibility", NO_HANDLE)
            }
            2 => {
                request["ReceiptHandle"] = "no handle".into();
                ("DeleteMessage", NO_HANDLE)
            }
            3 => {
                request["MaxNumberOfMessages"] = 11.into();
                ("ReceiveMessage", INVALID)
            }
            4 => {
                request["QueueUrl"] = format!("{}-absent", self.queues[queue].url).into();
                ("ReceiveMessage", "QueueDoesNotExist")
            }
            5 => {
                request["MessageBody"] = "a\u{1}".into();
                request["MessageGroupId"] = "g".into();
                ("SendMessage", "InvalidMessageContents")
            }
            6 => {
                request["QueueUrl"] = self.queues[FIFO].url.as_str().into();
                request["MessageBody"] = "without a group".into();
                ("SendMessage", "MissingRequiredParameterException")
            }
            7 => {
                request["Entries"] = json!([]);
                ("DeleteMessageBatch", "EmptyBatchRequest")
            }
            _ => {
                request["Entries"] =
                    json!([{"Id": "a", "ReceiptHandle": "x"}, {"Id": "a", "ReceiptHandle": "x"}]);
                ("DeleteMessageBatch", "BatchEntryIdsNotDistinct")
            }
        };
        let answer = self.call(operation, &request).await;
        self.failed(operation, &answer, error);
    }
}
