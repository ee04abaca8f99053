//! A FIFO queue: groups, the line in which the free ones stand, and what is not visible.
//! Invariant: a group stands in the line exactly while nothing of it is in flight and its first message is ready; a group that is
//! freed goes to the line's end. What of a group is in flight comes before all that waits in it.
//! Leaves to the operations: records, and how many messages one receive takes.
//!
//! ```text
//! push -> [delayed] -> waits in its group -> take -> in flight -> remove
//!                           ^------- ripen, change to 0 ---/
//! ```

use std::collections::BTreeMap;

use super::due::{Away, Due};
use super::groups::{GroupIndex, GroupName, Groups};
use crate::engine::request::Counts;

/// The queue.
#[derive(Default, Debug)]
pub struct Fifo {
    groups: Groups,
    line: BTreeMap<u64, GroupIndex>,
    last_place: u64,
    due: Due,
    ready_count: u64,
}

impl Fifo {
    /// A new message; with a time it is delayed until then. True: a receive may find more than before.
    pub fn push(&mut self, sequence: u64, group: GroupName, delayed_until_ms: Option<u64>) -> bool {
        let index = self.groups.find_or_add(group);
        self.groups.get_mut(index).line.insert(sequence, delayed_until_ms.is_some());
        match delayed_until_ms {
            Some(due_ms) => {
                self.due.insert(due_ms, sequence, Away { group: Some(index), in_flight: false });
            }
            None => self.ready_count += 1,
        }
        self.settle(index)
    }

    /// A message that is in flight, while the queue is loaded.
    pub fn push_in_flight(&mut self, sequence: u64, group: GroupName, due_ms: u64) {
        let index = self.groups.find_or_add(group);
        self.groups.get_mut(index).in_flight += 1;
        self.due.insert(due_ms, sequence, Away { group: Some(index), in_flight: true });
        self.settle(index);
    }

    /// The free groups in the order of the line.
    pub fn line(&self) -> impl Iterator<Item = GroupIndex> + '_ {
        self.line.values().copied()
    }

    /// The ready message at a place of a free group, if those before it are taken. None: there is none, or it is delayed.
    #[must_use]
    pub fn ready_at(&self, group: GroupIndex, place: usize) -> Option<u64> {
        let (sequence, delayed) = self.groups.get(group).line.get(place)?;
        (!delayed).then_some(sequence)
    }

    /// The group of a name, where anything of it is here.
    #[must_use]
    pub fn find(&self, group: GroupName) -> Option<GroupIndex> {
        self.groups.find(group)
    }

    /// A ready message is received. `settle` follows when the receive has taken all it takes of the group.
    pub fn take(&mut self, sequence: u64, group: GroupIndex, due_ms: u64) {
        if self.discard(sequence, group) {
            self.groups.get_mut(group).in_flight += 1;
            self.due.insert(due_ms, sequence, Away { group: Some(group), in_flight: true });
        }
    }

    /// A ready message is gone: too old, or a dead letter. `settle` follows.
    pub fn discard(&mut self, sequence: u64, group: GroupIndex) -> bool {
        let was_here = self.groups.get_mut(group).line.remove(sequence);
        self.ready_count -= u64::from(was_here);
        was_here
    }

    /// A message in flight is deleted. True: a receive may find more than before.
    pub fn remove(&mut self, due_ms: u64, sequence: u64) -> bool {
        let Some(Away { group: Some(index), in_flight }) = self.due.remove(due_ms, sequence) else {
            return false;
        };
        let group = self.groups.get_mut(index);
        if in_flight {
            group.in_flight -= 1;
        } else {
            group.line.remove(sequence);
        }
        self.settle(index)
    }

    /// A message in flight is visible from another time on; None: now. True: a receive may find more than before.
    pub fn change(&mut self, due_ms: u64, sequence: u64, new_due_ms: Option<u64>) -> bool {
        let Some(away) = self.due.remove(due_ms, sequence) else { return false };
        match new_due_ms {
            Some(new_due_ms) => {
                self.due.insert(new_due_ms, sequence, away);
                false
            }
            None => self.come_back(sequence, away),
        }
    }

    /// A message that an earlier receive took is invisible until another time; `group`: it was visible again.
    pub fn restart(&mut self, sequence: u64, due_ms: u64, group: Option<GroupName>, new_due_ms: u64) {
        if let Some(away) = self.due.remove(due_ms, sequence) {
            self.due.insert(new_due_ms, sequence, away);
        } else if let Some(group) = group.and_then(|name| self.groups.find(name)) {
            self.take(sequence, group, new_due_ms);
            self.settle(group);
        }
    }

    /// Lets up to `count_max` messages come back whose time has come.
    pub fn ripen(&mut self, now_ms: u64, count_max: usize) {
        for _ in 0..count_max {
            let Some((sequence, away)) = self.due.pop(now_ms) else { return };
            self.come_back(sequence, away);
        }
    }

    fn come_back(&mut self, sequence: u64, away: Away) -> bool {
        let Some(index) = away.group else { return false };
        let group = self.groups.get_mut(index);
        if away.in_flight {
            group.in_flight -= 1;
            group.line.insert(sequence, false);
            self.ready_count += 1;
        } else if group.line.ripen(sequence) {
            self.ready_count += 1;
        }
        self.settle(index)
    }

    /// Puts a group into the line or takes it out, as what is left of it says. True: it has come into the line.
    pub fn settle(&mut self, index: GroupIndex) -> bool {
        let group = self.groups.get_mut(index);
        let stands = group.in_flight == 0 && group.line.ready_head().is_some();
        match (stands, group.place) {
            (true, 0) => {
                self.last_place += 1;
                group.place = self.last_place;
                self.line.insert(self.last_place, index);
                return true;
            }
            (false, place) if place != 0 => {
                group.place = 0;
                self.line.remove(&place);
            }
            (true | false, _) => {}
        }
        self.groups.forget_if_idle(index);
        false
    }

    /// Whether a receive finds anything.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.line.is_empty()
    }

    /// When the next message becomes visible.
    #[must_use]
    pub fn first_due_ms(&self) -> Option<u64> {
        self.due.first_ms()
    }

    /// Messages in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.due.in_flight_count()
    }

    /// How many messages there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            visible: self.ready_count,
            in_flight: self.due.in_flight_count() as u64,
            delayed: self.due.delayed_count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GroupName {
        GroupName::new(&[0; 16], text)
    }

    /// Takes up to `count` messages as a receive does: many of a group, then the next.
    fn receive(queue: &mut Fifo, count: usize, due_ms: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        for group in queue.line() {
            let ready = (0..).map_while(|place| queue.ready_at(group, place));
            taken.extend(ready.take(count - taken.len()).map(|sequence| (group, sequence)));
            if taken.len() == count {
                break;
            }
        }
        for (group, sequence) in &taken {
            queue.take(*sequence, *group, due_ms);
        }
        for (group, _) in &taken {
            queue.settle(*group);
        }
        taken.into_iter().map(|(_, sequence)| sequence).collect()
    }

    #[test]
    fn a_receive_takes_a_group_in_order_and_then_the_next() {
        let mut queue = Fifo::default();
        for (sequence, group) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a")] {
            queue.push(sequence, name(group), None);
        }
        assert_eq!(receive(&mut queue, 4, 100), [1, 3, 5, 2]);
        assert_eq!(receive(&mut queue, 4, 100), [4]);
        assert_eq!(receive(&mut queue, 4, 100), [0; 0]);
        assert_eq!(queue.counts(), Counts { visible: 0, in_flight: 5, delayed: 0 });
    }

    #[test]
    fn a_group_is_locked_until_all_of_it_is_deleted_or_visible() {
        let mut queue = Fifo::default();
        (1..=4).for_each(|sequence| {
            queue.push(sequence, name("a"), None);
        });
        assert_eq!(receive(&mut queue, 2, 100), [1, 2]);
        assert!(!queue.remove(100, 2), "the first still locks it");
        assert_eq!(receive(&mut queue, 2, 100), [0; 0]);
        assert!(queue.remove(100, 1));
        assert_eq!(receive(&mut queue, 2, 200), [3, 4]);
    }

    #[test]
    fn what_comes_back_is_first_again() {
        let mut queue = Fifo::default();
        (1..=3).for_each(|sequence| {
            queue.push(sequence, name("a"), None);
        });
        assert_eq!(receive(&mut queue, 2, 100), [1, 2]);
        assert!(!queue.change(100, 2, None), "visible, but behind one in flight");
        assert_eq!(queue.counts(), Counts { visible: 2, in_flight: 1, delayed: 0 });
        queue.ripen(99, 10);
        assert!(!queue.has_ready());
        queue.ripen(100, 10);
        assert_eq!(receive(&mut queue, 10, 200), [1, 2, 3]);
    }

    #[test]
    fn a_freed_group_goes_to_the_lines_end() {
        let mut queue = Fifo::default();
        for (sequence, group) in [(1, "big"), (2, "big"), (3, "big"), (4, "b"), (5, "c")] {
            queue.push(sequence, name(group), None);
        }
        assert_eq!(receive(&mut queue, 1, 100), [1]);
        assert!(queue.remove(100, 1));
        assert_eq!(receive(&mut queue, 1, 100), [4]);
        assert_eq!(receive(&mut queue, 1, 100), [5]);
        assert_eq!(receive(&mut queue, 1, 100), [2]);
    }

    #[test]
    fn a_delayed_message_blocks_those_behind_it_in_its_group_only() {
        let mut queue = Fifo::default();
        queue.push(1, name("a"), Some(50));
        queue.push(2, name("a"), None);
        queue.push(3, name("b"), None);
        assert_eq!(queue.counts(), Counts { visible: 2, in_flight: 0, delayed: 1 });
        assert_eq!(receive(&mut queue, 10, 100), [3]);
        queue.ripen(50, 10);
        assert_eq!(receive(&mut queue, 10, 100), [1, 2]);
    }

    #[test]
    fn nothing_is_kept_of_groups_that_are_done() {
        let mut queue = Fifo::default();
        for round in 0..1_000_u64 {
            queue.push(round + 1, name(&round.to_string()), None);
            assert_eq!(receive(&mut queue, 10, 100), [round + 1]);
            queue.remove(100, round + 1);
        }
        assert!(queue.groups.is_empty() && queue.line.is_empty());
        assert_eq!(queue.counts(), Counts::default());
    }

    #[test]
    fn discarded_messages_free_what_stands_behind_them() {
        let mut queue = Fifo::default();
        queue.push(1, name("a"), None);
        queue.push(2, name("a"), None);
        let group = queue.line().next().expect("stands");
        assert!(queue.discard(1, group) && !queue.discard(1, group));
        queue.settle(group);
        assert_eq!(receive(&mut queue, 10, 100), [2]);
    }
}
