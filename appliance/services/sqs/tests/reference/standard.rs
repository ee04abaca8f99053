//! Receives from a standard queue: any messages that are visible, and as many as were asked for if there are so many.

use super::queue::{Got, Message, Queue};

impl Queue {
    /// All visible messages that are not spent, in any order: each is a run of its own.
    pub(super) fn ready_standard(&self, now: u64) -> Vec<Vec<usize>> {
        let visible = self.messages.iter().enumerate().filter(|(_, message)| message.is_visible(now));
        visible
            .filter(|(_, message)| !message.is_spent(&self.settings))
            .map(|(index, _)| vec![index])
            .collect()
    }

    pub(super) fn received_standard(
        &mut self,
        now: u64,
        max: usize,
        visible_ms: u64,
        got: &[Got],
    ) -> Result<Vec<Message>, String> {
        let ready: Vec<usize> = self.ready_standard(now).into_iter().flatten().collect();
        let spent_count = self
            .messages
            .iter()
            .filter(|message| message.is_visible(now) && message.is_spent(&self.settings))
            .count();
        // One that comes past what is gone may end early, but not with nothing.
        let may_be_short = spent_count.max(usize::from(got.len() < max));
        self.check_count(got.len(), max, ready.len(), may_be_short)?;
        let mut taken = Vec::new();
        for one in got {
            let found =
                ready.iter().find(|index| self.messages[**index].id == one.id && !taken.contains(*index));
            let Some(&index) = found else {
                let known = self.messages.iter().find(|message| message.id == one.id);
                return Err(format!("{} is not to be received now: {known:?}", one.id));
            };
            self.take(index, now, visible_ms, one)?;
            taken.push(index);
        }
        if !got.is_empty() {
            return Ok(Vec::new());
        }
        // It has looked at every visible message, and moved those that were spent.
        let settings = self.settings.clone();
        let is_moved = |index: usize, message: &Message| {
            !taken.contains(&index) && message.is_visible(now) && message.is_spent(&settings)
        };
        let (mut moved, mut kept) = (Vec::new(), Vec::new());
        for (index, message) in self.messages.drain(..).enumerate() {
            if is_moved(index, &message) { moved.push(message) } else { kept.push(message) }
        }
        self.messages = kept;
        Ok(moved)
    }
}
