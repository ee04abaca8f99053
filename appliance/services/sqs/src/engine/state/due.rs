//! The messages of a queue that are not visible: delayed and in flight together, by the time at which they will be.
//! Invariant: an entry's time is the one in the message's state; the counts are those of the entries.
//! Leaves to standard.rs and fifo.rs: where a message goes when its time has come.

use std::collections::BTreeMap;

use super::groups::GroupIndex;

/// A message that is not visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Away {
    /// The group that it belongs to, where the queue keeps it.
    pub group: Option<GroupIndex>,
    /// It was received; else it is delayed.
    pub in_flight: bool,
}

/// The index.
#[derive(Default, Debug)]
pub struct Due {
    entries: BTreeMap<(u64, u64), Away>,
    in_flight_count: usize,
}

impl Due {
    /// A message becomes visible at `due_ms`.
    pub fn insert(&mut self, due_ms: u64, sequence: u64, away: Away) {
        let former = self.entries.insert((due_ms, sequence), away);
        debug_assert!(former.is_none(), "a message is away once");
        self.in_flight_count += usize::from(away.in_flight);
    }

    /// A message is no longer away. None: it was not.
    pub fn remove(&mut self, due_ms: u64, sequence: u64) -> Option<Away> {
        let away = self.entries.remove(&(due_ms, sequence))?;
        self.in_flight_count -= usize::from(away.in_flight);
        Some(away)
    }

    /// A message whose time has come.
    pub fn pop(&mut self, now_ms: u64) -> Option<(u64, Away)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now_ms)?;
        let ((_, sequence), away) = entry.remove_entry();
        self.in_flight_count -= usize::from(away.in_flight);
        Some((sequence, away))
    }

    /// When the next message becomes visible.
    #[must_use]
    pub fn first_ms(&self) -> Option<u64> {
        self.entries.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// Messages in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.in_flight_count
    }

    /// Messages that are delayed.
    #[must_use]
    pub fn delayed_count(&self) -> usize {
        self.entries.len() - self.in_flight_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_by_time_and_are_counted_apart() {
        let mut due = Due::default();
        let away = |in_flight| Away { group: None, in_flight };
        due.insert(30, 1, away(true));
        due.insert(10, 3, away(false));
        due.insert(10, 2, away(true));
        assert_eq!((due.in_flight_count(), due.delayed_count(), due.first_ms()), (2, 1, Some(10)));
        assert_eq!(due.pop(9), None);
        assert_eq!(due.pop(10), Some((2, away(true))));
        assert_eq!(due.pop(10), Some((3, away(false))));
        assert_eq!(due.pop(10), None);
        assert_eq!(due.remove(29, 1), None);
        assert_eq!(due.remove(30, 1), Some(away(true)));
        assert_eq!((due.in_flight_count(), due.delayed_count(), due.first_ms()), (0, 0, None));
    }
}
