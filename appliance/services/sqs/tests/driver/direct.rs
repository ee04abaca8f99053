//! The service in this process as a client's counterpart, which may be told to lie: the fault is then in what clients see, and
//! a reference that does not notice it proves nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::World;
use crate::client::{Answer, Client};

/// What is wrong with what clients see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// What was in flight is visible behind a restart.
    VisibilityForgotten,
    /// The first message of a FIFO receive goes back at once, and its group is free.
    GroupFreedEarly,
    /// A delete is acknowledged and not done.
    DeleteForgotten,
    /// A message of an answer is not told.
    MessageLeftOut,
    /// A FIFO answer comes backwards.
    OrderReversed,
    /// A repeat is taken for a new message.
    RepeatStored,
    /// A message counts one receive too many.
    CountedTwice,
    /// Hides for a second less than was asked.
    VisibleEarly,
    /// Does not wait.
    PollAnswersAtOnce,
    /// Waits to the end, whatever is sent.
    PollNotWoken,
    /// A purge is acknowledged and not done.
    PurgeForgotten,
    /// A change of visibility is acknowledged and not done.
    ChangeForgotten,
}

/// Every lie, and what the reference says of it: one of these.
pub const LIES: [(Lie, &[&str]); 12] = [
    (Lie::VisibilityForgotten, &["ready and", "counts ["]),
    (
        Lie::GroupFreedEarly,
        &["is not the next of a free group", "ready and", "counts [", "should succeed", "out of order"],
    ),
    (Lie::DeleteForgotten, &["ready and", "counts [", "is not to be received", "out of order"]),
    (Lie::MessageLeftOut, &["ready and"]),
    (Lie::OrderReversed, &["out of order", "is not the next of a free group"]),
    (Lie::RepeatStored, &["a repeat within five minutes", "MessageDeduplicationId is"]),
    (Lie::CountedTwice, &["receive count"]),
    (
        Lie::VisibleEarly,
        &["ready and", "counts [", "should succeed", "is not to be received", "before there is anything"],
    ),
    (Lie::PollAnswersAtOnce, &["before there is anything to receive", "ready and"]),
    (Lie::PollNotWoken, &["it does not answer"]),
    (Lie::PurgeForgotten, &["ready and", "counts [", "is not to be received", "is not the next"]),
    (
        Lie::ChangeForgotten,
        &["ready and", "counts [", "is not to be received", "should be", "should succeed"],
    ),
];

impl Lie {
    pub fn parse(name: &str) -> Option<Lie> {
        LIES.iter().map(|(lie, _)| *lie).find(|lie| format!("{lie:?}") == name)
    }
}

/// What a liar keeps over restarts.
#[derive(Default)]
pub struct Memory {
    /// Queue and handle of each receive.
    handles: RefCell<Vec<(Json, String)>>,
    call_count: Cell<u64>,
}

/// The way to the service.
#[derive(Clone)]
pub struct Direct {
    pub world: Rc<World>,
    pub lie: Option<Lie>,
    pub memory: Rc<Memory>,
    /// Of this open.
    pub has_called: Rc<Cell<bool>>,
}

impl Direct {
    async fn honest(&self, operation: &str, request: &Json) -> Answer {
        let raw = self.world.send(operation, request).await;
        let body =
            if raw.body.is_empty() { Json::Null } else { serde_json::from_slice(&raw.body).expect("JSON") };
        Answer { status: raw.status, body }
    }

    async fn show(&self, queue: &Json, handle: &str) {
        let request = json!({"QueueUrl": queue, "ReceiptHandle": handle, "VisibilityTimeout": 0});
        self.honest("ChangeMessageVisibility", &request).await;
    }

    /// What a liar asks instead.
    async fn twisted(&self, lie: Lie, operation: &str, request: &Json) -> Answer {
        let nothing = Answer { status: 200, body: json!({}) };
        let mut request = request.clone();
        let queue = request["QueueUrl"].clone();
        let is_fifo = queue.as_str().is_some_and(|url| url.ends_with(".fifo"));
        match (lie, operation) {
            (Lie::VisibilityForgotten, _) if !self.has_called.replace(true) => {
                let handles = self.memory.handles.borrow().clone();
                for (queue, handle) in handles {
                    self.show(&queue, &handle).await;
                }
            }
            (Lie::DeleteForgotten, "DeleteMessage")
            | (Lie::PurgeForgotten, "PurgeQueue")
            | (Lie::ChangeForgotten, "ChangeMessageVisibility") => {
                // An error stays one: only what would be done is left out.
                let is_known = self
                    .memory
                    .handles
                    .borrow()
                    .iter()
                    .any(|(_, handle)| request["ReceiptHandle"] == **handle);
                if operation == "PurgeQueue" || is_known {
                    return nothing;
                }
            }
            (Lie::RepeatStored, "SendMessage") if is_fifo => {
                request["MessageDeduplicationId"] = format!("lie-{}", self.memory.call_count.get()).into();
            }
            (Lie::VisibleEarly, "ReceiveMessage") if request["VisibilityTimeout"].as_u64() > Some(1) => {
                request["VisibilityTimeout"] =
                    (request["VisibilityTimeout"].as_u64().unwrap_or(1) - 1).into();
            }
            (Lie::PollAnswersAtOnce, "ReceiveMessage") => {
                request["WaitTimeSeconds"] = 0.into();
            }
            (Lie::PollNotWoken, "ReceiveMessage") => {
                let until_ms = self.now_ms() + 1_000 * request["WaitTimeSeconds"].as_u64().unwrap_or(0);
                while self.now_ms() < until_ms {
                    self.breathe().await;
                }
                request["WaitTimeSeconds"] = 0.into();
            }
            _ => {}
        }
        let mut answer = self.honest(operation, &request).await;
        if operation == "ReceiveMessage" {
            self.twist_messages(lie, &queue, is_fifo, &mut answer).await;
        }
        answer
    }

    async fn twist_messages(&self, lie: Lie, queue: &Json, is_fifo: bool, answer: &mut Answer) {
        let Some(messages) = answer.body.get_mut("Messages").and_then(Json::as_array_mut) else { return };
        let handle = |message: &Json| message["ReceiptHandle"].as_str().unwrap_or_default().to_owned();
        for message in messages.iter() {
            self.memory.handles.borrow_mut().push((queue.clone(), handle(message)));
        }
        let first = handle(&messages[0]);
        match lie {
            Lie::MessageLeftOut if messages.len() > 1 => drop(messages.pop()),
            Lie::OrderReversed if is_fifo => messages.reverse(),
            Lie::CountedTwice => messages[0]["Attributes"]["ApproximateReceiveCount"] = "17".into(),
            Lie::GroupFreedEarly if is_fifo => self.show(queue, &first).await,
            _ => {}
        }
    }
}

impl Client for Direct {
    async fn call(&self, operation: &str, request: &Json) -> Answer {
        self.memory.call_count.set(self.memory.call_count.get() + 1);
        match self.lie {
            None => self.honest(operation, request).await,
            Some(lie) => self.twisted(lie, operation, request).await,
        }
    }

    async fn breathe(&self) {
        ring::yield_now().await;
    }

    async fn catch_up(&self) {
        self.world.store.catch_up().await.expect("the store is open");
    }

    async fn work(&self) {
        self.world.tick().await;
        ring::sleep(std::time::Duration::from_millis(1)).await;
    }

    fn now_ms(&self) -> u64 {
        self.world.clock.now().0
    }
}
