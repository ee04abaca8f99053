//! Receives from a FIFO queue: of groups without a message in flight, each in order, one group after the other.

use super::queue::{Attempt, Got, Message, Queue, REMEMBERED_MS};

impl Queue {
    /// Groups in which something waits.
    fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> =
            self.messages.iter().filter_map(|message| message.group.clone()).collect();
        groups.sort();
        groups.dedup();
        groups
    }

    fn members<'q>(&'q self, group: &'q str) -> impl Iterator<Item = (usize, &'q Message)> {
        self.messages.iter().enumerate().filter(move |(_, message)| message.group.as_deref() == Some(group))
    }

    fn is_free(&self, now: u64, group: &str) -> bool {
        !self.members(group).any(|(_, message)| message.is_in_flight(now))
    }

    /// Spent messages that a receive would meet: those of free groups in front of the first delayed one.
    fn spent_in_reach(&self, now: u64) -> Vec<usize> {
        if !self.settings.is_fifo {
            let spent = |message: &Message| message.is_visible(now) && message.is_spent(&self.settings);
            return (0..self.messages.len()).filter(|index| spent(&self.messages[*index])).collect();
        }
        let mut spent = Vec::new();
        for group in self.groups().iter().filter(|group| self.is_free(now, group)) {
            let visible = self.members(group).take_while(|(_, message)| message.is_visible(now));
            spent.extend(
                visible.filter(|(_, message)| message.is_spent(&self.settings)).map(|(index, _)| index),
            );
        }
        spent
    }

    /// Whether a receive would meet a spent message.
    pub fn has_spent_in_reach(&self, now: u64) -> bool {
        !self.spent_in_reach(now).is_empty()
    }

    /// Whether the last receive may or may not have moved some messages: spent ones behind the last that it gave.
    pub fn is_unsure(&self) -> bool {
        !self.unsure.is_empty()
    }

    /// Learns from the number of messages that are still there which of them were moved: the first ones.
    pub fn resolve(&mut self, found_count: usize) -> Result<Vec<Message>, String> {
        let unsure = std::mem::take(&mut self.unsure);
        let moved_count = self.messages.len().checked_sub(found_count).filter(|count| *count <= unsure.len());
        let moved_count = moved_count.ok_or_else(|| {
            format!(
                "{found_count} messages, with {} known and {} of them unsure",
                self.messages.len(),
                unsure.len()
            )
        })?;
        let is_moved = |message: &Message| unsure[..moved_count].contains(&message.id);
        let (moved, kept) = self.messages.drain(..).partition(is_moved);
        self.messages = kept;
        Ok(moved)
    }

    /// What one receive may take of each free group, in order; spent messages are left out, a delayed one ends it.
    pub(super) fn ready_runs(&self, now: u64) -> Vec<Vec<usize>> {
        let mut runs = Vec::new();
        for group in self.groups().iter().filter(|group| self.is_free(now, group)) {
            let visible = self.members(group).take_while(|(_, message)| message.is_visible(now));
            let run: Vec<usize> = visible
                .filter(|(_, message)| !message.is_spent(&self.settings))
                .map(|(index, _)| index)
                .collect();
            if !run.is_empty() {
                runs.push(run);
            }
        }
        runs
    }

    pub(super) fn received_fifo(
        &mut self,
        now: u64,
        max: usize,
        visible_ms: u64,
        got: &[Got],
    ) -> Result<Vec<Message>, String> {
        let mut runs = self.ready_runs(now);
        let ready_count: usize = runs.iter().map(Vec::len).sum();
        let spent = self.spent_in_reach(now);
        self.check_count(got.len(), max, ready_count, spent.len())?;
        let mut rest = got;
        let mut moved_indexes = if got.is_empty() { spent.clone() } else { Vec::new() };
        self.unsure.clear();
        while let Some(first) = rest.first() {
            let found = runs.iter().position(|run| self.messages[run[0]].id == first.id);
            let Some(found) = found else {
                let known = self.messages.iter().find(|message| message.id == first.id);
                return Err(format!("{} is not the next of a free group: {known:?}", first.id));
            };
            // One group in order, as far as it goes; it does not come a second time.
            let run = runs.remove(found);
            let mut last = run[0];
            for &index in run.iter().take(rest.len()) {
                let (one, others) = rest.split_first().ok_or("counted above")?;
                if self.messages[index].id != one.id {
                    return Err(format!("{} out of order: {:?} is next", one.id, self.messages[index]));
                }
                self.take(index, now, visible_ms, one)?;
                rest = others;
                last = index;
            }
            // What was spent stood in the way of what came behind it, and the whole group in that of the next one.
            let group = self.messages[last].group.clone();
            let of_group: Vec<usize> =
                spent.iter().copied().filter(|index| self.messages[*index].group == group).collect();
            let is_last_group = rest.is_empty();
            moved_indexes.extend(of_group.iter().filter(|index| !is_last_group || **index < last));
            if is_last_group {
                let behind = of_group.iter().filter(|index| **index > last);
                self.unsure = behind.map(|index| self.messages[*index].id.clone()).collect();
            }
        }
        let (mut moved, mut kept) = (Vec::new(), Vec::new());
        for (index, message) in self.messages.drain(..).enumerate() {
            if moved_indexes.contains(&index) { moved.push(message) } else { kept.push(message) }
        }
        self.messages = kept;
        Ok(moved)
    }

    /// Remembers a receive by its attempt's id.
    pub fn attempted(&mut self, now: u64, id: &str, got: &[Got]) {
        let gave = got.iter().map(|one| (one.id.clone(), one.handle.clone())).collect();
        self.attempts.retain(|attempt| now < attempt.until_ms);
        self.attempts.push(Attempt {
            id: id.to_owned(),
            until_ms: now + REMEMBERED_MS,
            gave,
            is_spoilt: false,
        });
    }

    /// An attempt that can be repeated: all that it gave is in flight under the same handles.
    pub fn repeatable(&self, now: u64) -> Option<Attempt> {
        let is_whole = |attempt: &&Attempt| {
            let holds = |(id, handle): &(String, String)| {
                self.messages.iter().any(|message| {
                    message.id == *id && message.handle.as_ref() == Some(handle) && message.is_in_flight(now)
                })
            };
            now < attempt.until_ms
                && !attempt.is_spoilt
                && !attempt.gave.is_empty()
                && attempt.gave.iter().all(holds)
        };
        self.attempts.iter().rev().find(is_whole).cloned()
    }

    /// An attempt that must be refused.
    pub fn spoilt(&self, now: u64) -> Option<Attempt> {
        self.attempts.iter().rev().find(|attempt| now < attempt.until_ms && attempt.is_spoilt).cloned()
    }

    /// Judges the answer to an attempt that is made again: the same messages and handles, hidden anew.
    pub fn repeated(&mut self, attempt: &Attempt, visible_ms: u64, got: &[Got]) -> Result<(), String> {
        let found: Vec<(String, String)> =
            got.iter().map(|one| (one.id.clone(), one.handle.clone())).collect();
        if found != attempt.gave {
            return Err(format!("the attempt gave {:?}", attempt.gave));
        }
        for message in &mut self.messages {
            if attempt.gave.iter().any(|(id, _)| *id == message.id) {
                message.visible_ms = visible_ms;
            }
        }
        Ok(())
    }
}
