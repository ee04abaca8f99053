//! The ready messages of a standard queue that belong to no tenant, as ranges of sequences.
//! Invariant: every such message lies in one range, and no message that exists and is not ready lies in any. A range may hold
//! sequences of messages that are gone, even nothing else: whoever walks it finds out and says how far it came.
//! Leaves to the operations: which messages exist.
//!
//! A backlog that nobody received is one range, however long. A message that came back is a range of its own and is not joined to its
//! neighbours: what was deleted between them would have to be walked over.

use std::collections::BTreeMap;

/// The ranges.
#[derive(Default, Debug)]
pub struct Ranges {
    /// First and last sequence.
    by_start: BTreeMap<u64, u64>,
    /// The newest message of the queue, ready or not.
    newest: u64,
}

impl Ranges {
    /// A new message that is ready.
    pub fn append(&mut self, sequence: u64) {
        let former = std::mem::replace(&mut self.newest, sequence);
        match self.by_start.last_entry() {
            // Nothing lies between the newest message and this one.
            Some(mut last) if *last.get() == former => *last.get_mut() = sequence,
            Some(_) | None => {
                self.by_start.insert(sequence, sequence);
            }
        }
    }

    /// A new message that is not ready, or not for these ranges.
    pub fn pass(&mut self, sequence: u64) {
        self.newest = sequence;
    }

    /// A message that is ready again.
    pub fn insert(&mut self, sequence: u64) {
        self.by_start.insert(sequence, sequence);
    }

    /// A ready message is gone. False: no range holds it. One amid its range leaves its sequence there: were it cut out, a
    /// queue that nobody receives from would keep a range for each message that was ever too old.
    pub fn remove(&mut self, sequence: u64) -> bool {
        let Some((&start, end)) = self.by_start.range_mut(..=sequence).next_back() else { return false };
        if *end < sequence {
            return false;
        }
        if start < sequence {
            *end = if sequence == *end { sequence - 1 } else { *end };
        } else if let Some(end) = self.by_start.remove(&start).filter(|end| sequence < *end) {
            self.by_start.insert(sequence + 1, end);
        }
        true
    }

    /// Nothing is left below `sequence`.
    pub fn forget_below(&mut self, sequence: u64) {
        while let Some(first) = self.by_start.first_entry().filter(|first| *first.key() < sequence) {
            let end = first.remove();
            if end >= sequence {
                self.by_start.insert(sequence, end);
            }
        }
    }

    /// Nothing is left of the range that begins at `start`, up to and with `through`.
    pub fn consume(&mut self, start: u64, through: u64) {
        let Some(end) = self.by_start.remove(&start) else { return };
        if through < end {
            self.by_start.insert(through + 1, end);
        }
    }

    /// First and last sequence of each range, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.by_start.iter().map(|(start, end)| (*start, *end))
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Whether no message can be ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: &Ranges) -> Vec<(u64, u64)> {
        ranges.iter().collect()
    }

    #[test]
    fn a_backlog_is_one_range_however_long() {
        let mut all = Ranges::default();
        (1..=1_000_000).for_each(|number| all.append(number << 20));
        assert_eq!(ranges(&all), [(1 << 20, 1_000_000 << 20)]);
        all.consume(1 << 20, 5 << 20);
        all.append(1_000_001 << 20);
        assert_eq!(ranges(&all), [((5 << 20) + 1, 1_000_001 << 20)]);
    }

    #[test]
    fn a_message_that_is_not_ready_ends_a_range() {
        let mut all = Ranges::default();
        all.append(10);
        all.pass(20);
        all.append(30);
        all.append(40);
        assert_eq!(ranges(&all), [(10, 10), (30, 40)]);
        all.insert(20);
        assert_eq!(ranges(&all), [(10, 10), (20, 20), (30, 40)]);
    }

    #[test]
    fn the_newest_message_that_came_back_is_joined_by_the_next() {
        let mut all = Ranges::default();
        all.append(10);
        all.consume(10, 10);
        assert!(all.is_empty());
        all.insert(10);
        all.append(20);
        assert_eq!(ranges(&all), [(10, 20)]);
        all.consume(10, 20);
        all.append(30);
        assert_eq!(ranges(&all), [(30, 30)]);
    }

    #[test]
    fn a_message_that_is_gone_shortens_its_range_or_leaves_it() {
        let mut all = Ranges::default();
        [10, 20, 30, 40].into_iter().for_each(|sequence| all.append(sequence));
        assert!(all.remove(20));
        assert_eq!(ranges(&all), [(10, 40)]);
        assert!(all.remove(10) && all.remove(40));
        assert_eq!(ranges(&all), [(11, 39)]);
        assert!(!all.remove(10) && !all.remove(40));
        all.insert(50);
        assert!(all.remove(50));
        assert_eq!(ranges(&all), [(11, 39)]);
    }

    #[test]
    fn messages_that_come_and_are_too_old_leave_one_range() {
        let mut all = Ranges::default();
        for number in 1..=10_000_u64 {
            all.append(number << 20);
            if let Some(old) = number.checked_sub(100).filter(|old| *old > 0) {
                assert!(all.remove(old << 20));
            }
        }
        assert_eq!(all.len(), 1);
        all.insert(5);
        all.insert(7);
        all.forget_below(6);
        assert_eq!(all.iter().next(), Some((7, 7)));
        all.forget_below(9_901 << 20);
        assert_eq!(ranges(&all), [(9_901 << 20, 10_000 << 20)]);
        all.forget_below(u64::MAX);
        assert!(all.is_empty());
    }
}
