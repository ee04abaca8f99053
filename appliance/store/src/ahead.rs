//! Looking ahead in the queue: the keys of operations that run next are brought near together, before the first of them runs.
//! Invariant: it only moves memory into the cache; what the operations find is the same without it.
//! Leaves to overlay/ahead.rs: how several keys are walked to at once.

use std::collections::VecDeque;

use crate::message::Message;
use crate::overlay::Overlay;
use crate::owner::Owner;
use crate::types::TableId;

/// Messages looked at together: their nodes fit into a core's own cache several times over.
const MESSAGE_COUNT_MAX: usize = 32;
/// With fewer messages in the queue there is too little to do side by side.
const MESSAGE_COUNT_MIN: usize = 4;
/// Keys of one message that are looked at.
const KEY_COUNT_MAX: usize = 8;
/// A smaller overlay stays in the cache by itself.
const OVERLAY_BYTES_MIN: usize = 1024 * 1024;

/// The record keys that were gathered last, and how many messages they belong to.
#[derive(Default)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    /// Messages at the head of the queue that were looked at already.
    near_count: usize,
}

impl Ahead {
    fn gather(&mut self, queue: &VecDeque<Message>) {
        self.bytes.clear();
        self.ends.clear();
        self.near_count = queue.len().min(MESSAGE_COUNT_MAX);
        for message in queue.iter().take(self.near_count) {
            let Message::Job(job) = message else { continue };
            let end_count_max = self.ends.len() + KEY_COUNT_MAX;
            job.keys(&mut |table: TableId, key: &[u8]| {
                if self.ends.len() < end_count_max {
                    self.bytes.push(table.0);
                    self.bytes.extend_from_slice(key);
                    self.ends.push(self.bytes.len());
                }
            });
        }
    }

    fn fetch(&self, overlay: &Overlay) {
        if overlay.arena_bytes() < OVERLAY_BYTES_MIN {
            return;
        }
        let mut start = 0;
        overlay.fetch_ahead(self.ends.iter().map(|end| {
            let key = &self.bytes[start..*end];
            start = *end;
            key
        }));
    }
}

impl Owner {
    /// Called before each message is taken from the queue.
    pub(crate) fn look_ahead(&mut self) {
        if self.ahead.near_count > 0 {
            self.ahead.near_count -= 1;
            return;
        }
        let overlay_bytes = self.overlay.overlay().arena_bytes()
            + self.frozen.as_ref().map_or(0, |frozen| frozen.arena_bytes());
        if self.queue.len() < MESSAGE_COUNT_MIN || overlay_bytes < OVERLAY_BYTES_MIN {
            return;
        }
        self.ahead.gather(&self.queue);
        self.ahead.fetch(self.overlay.overlay());
        if let Some(frozen) = &self.frozen {
            self.ahead.fetch(frozen);
        }
        self.ahead.near_count -= 1;
    }
}
