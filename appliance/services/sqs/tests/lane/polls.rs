//! A receive that waits: it answers when something can be received, and not before.

use ring::Task;

use super::receives::Asked;
use super::{Lane, TRIES_MAX};
use crate::client::{Answer, Client};
use crate::reference::queue::Queue;

/// Turns for which an answer that must not come is looked out for.
const LOOKS: usize = 30;
/// Looks between two times of waiting for the shards.
const LOOKS_PER_TURN: usize = 5;

/// A receive that waits on a queue with nothing to receive.
pub(super) struct Poll {
    asked: Asked,
    until_ms: u64,
    task: Task<Answer>,
}

impl<C: Client> Lane<C> {
    /// Polls a queue with nothing to receive, where there is one.
    pub async fn begin_poll(&mut self) {
        let now = self.now();
        // A spent message would be moved by each look, which the reference judges one by one.
        let is_idle = |queue: &Queue| {
            !queue.has_ready(now) && !queue.messages.iter().any(|message| message.is_spent(&queue.settings))
        };
        let idle: Vec<usize> =
            (0..self.queues.len()).filter(|number| is_idle(&self.queues[*number])).collect();
        if idle.is_empty() || self.poll.is_some() {
            return;
        }
        let queue = self.random.one_of(&idle);
        let mut asked = self.draw_receive(queue);
        let seconds = 1 + self.random.below(20) as u64;
        asked.request["WaitTimeSeconds"] = seconds.into();
        let (client, request) = (self.client.clone(), asked.request.clone());
        let task = ring::spawn(async move { client.call("ReceiveMessage", &request).await });
        self.poll = Some(Poll { asked, until_ms: now + seconds * 1_000, task });
        self.count("poll begun");
        self.check_poll_waits().await;
    }

    /// While a poll waits, this lane sends to its queue, or lets time pass.
    pub(super) async fn step_beside_poll(&mut self) {
        if self.random.chance(70) {
            self.client.breathe().await;
            return;
        }
        let queue = self.poll.as_ref().expect("asked by the caller").asked.queue;
        self.send(queue).await;
        if self.queues[queue].has_ready(self.now()) {
            self.end_poll("poll answered by a send").await;
        } else {
            self.check_poll_waits().await;
        }
    }

    async fn check_poll_waits(&mut self) {
        // A poll that had not begun to wait when time passes would wait longer than the reference thinks.
        for look in 0..LOOKS {
            self.client.breathe().await;
            if look % LOOKS_PER_TURN == 0 {
                self.client.catch_up().await;
            }
        }
        let is_finished = self.poll.as_ref().is_some_and(|poll| poll.task.is_finished());
        self.check(!is_finished, "a poll answers before there is anything to receive");
    }

    /// The poll must answer now.
    async fn end_poll(&mut self, what: &str) {
        let Some(Poll { asked, task, .. }) = self.poll.take() else { return };
        for look in 0..TRIES_MAX {
            if task.is_finished() {
                break;
            }
            self.client.breathe().await;
            // Turns of this core alone are no time for the other one, nor for the disk.
            if look % LOOKS_PER_TURN == 0 {
                self.client.catch_up().await;
            }
        }
        assert!(task.is_finished(), "{what}: it does not answer: {asked:?}\n{}", self.last);
        let answer = task.await;
        self.said("ReceiveMessage", &asked.request, &answer);
        self.check(answer.status == 200, "should succeed");
        self.received("ReceiveMessage", &asked, &answer.body);
        self.count(what);
        self.after_receive(&asked).await;
    }

    /// Time has passed: the poll answers if its own time is over or if something can be received.
    pub(super) async fn end_poll_by_time(&mut self) {
        let Some(poll) = &self.poll else { return };
        let (queue, until_ms, now) = (poll.asked.queue, poll.until_ms, self.now());
        if self.queues[queue].has_ready(now) {
            self.end_poll("poll answered by time").await;
        } else if now >= until_ms {
            self.end_poll("poll ended").await;
        } else {
            self.check_poll_waits().await;
        }
    }

    /// The client goes away: what waits for it is dropped, and takes nothing with it.
    pub async fn abandon_poll(&mut self) {
        if let Some(poll) = self.poll.take() {
            let finished = poll.task.cancel().await;
            assert!(finished.is_none(), "a poll answers before there is anything to receive: {finished:?}");
            self.count("poll abandoned");
        }
    }
}
