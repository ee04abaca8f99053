//! The messages of one group that wait, in the order of their sequences.
//! Invariant: ascending; a message in it was not received, or has come back. One that is delayed has its place already, so that
//! no later message of its group overtakes it.
//! Leaves to groups.rs: which group.
//!
//! Most groups have one message or none, a few have a million: 8 bytes for each message, and no allocation for the first.

use std::collections::VecDeque;

/// Sequence << 1 | delayed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Item(u64);

impl Item {
    fn new(sequence: u64, delayed: bool) -> Item {
        Item(sequence << 1 | u64::from(delayed))
    }

    fn sequence(self) -> u64 {
        self.0 >> 1
    }

    fn is_delayed(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The line.
#[derive(Default, Debug)]
pub struct Line(Items);

#[derive(Default, Debug)]
enum Items {
    #[default]
    None,
    One(Item),
    #[allow(clippy::box_collection, reason = "16 bytes for each of a million groups instead of 32")]
    Many(Box<VecDeque<Item>>),
}

impl Line {
    /// The message at a place, counted from 0, and whether it is delayed.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(u64, bool)> {
        let item = match &self.0 {
            Items::One(item) if place == 0 => *item,
            Items::None | Items::One(_) => return None,
            Items::Many(items) => *items.get(place)?,
        };
        Some((item.sequence(), item.is_delayed()))
    }

    /// The first message, unless it is delayed.
    #[must_use]
    pub fn ready_head(&self) -> Option<u64> {
        self.get(0).filter(|(_, delayed)| !delayed).map(|(sequence, _)| sequence)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Items::None)
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Items::None => 0,
            Items::One(_) => 1,
            Items::Many(items) => items.len(),
        }
    }

    /// Puts a message at its place: a new one at the end, one that came back near the front.
    pub fn insert(&mut self, sequence: u64, delayed: bool) {
        let item = Item::new(sequence, delayed);
        match &mut self.0 {
            Items::None => self.0 = Items::One(item),
            Items::One(other) => {
                let (first, second) = if *other < item { (*other, item) } else { (item, *other) };
                self.0 = Items::Many(Box::new(VecDeque::from([first, second])));
            }
            Items::Many(items) => match items.back() {
                Some(last) if *last > item => {
                    let place = items.partition_point(|other| *other < item);
                    items.insert(place, item);
                }
                Some(_) | None => items.push_back(item),
            },
        }
    }

    /// Takes a message out, delayed or not. False: it is not here.
    pub fn remove(&mut self, sequence: u64) -> bool {
        let Some(place) = self.find(sequence) else { return false };
        match &mut self.0 {
            Items::None => return false,
            Items::One(_) => self.0 = Items::None,
            Items::Many(items) => {
                items.remove(place);
                match items.len() {
                    0 => self.0 = Items::None,
                    1 => self.0 = Items::One(items[0]),
                    // A line that was long gives its room back.
                    length if items.capacity() > 1_024 && length * 4 < items.capacity() => {
                        items.shrink_to(length * 2);
                    }
                    _ => {}
                }
            }
        }
        true
    }

    /// A delayed message is ready. False: it is not here.
    pub fn ripen(&mut self, sequence: u64) -> bool {
        let Some(place) = self.find(sequence) else { return false };
        let ready = Item::new(sequence, false);
        match &mut self.0 {
            Items::None => return false,
            Items::One(item) => *item = ready,
            Items::Many(items) => items[place] = ready,
        }
        true
    }

    fn find(&self, sequence: u64) -> Option<usize> {
        match &self.0 {
            Items::None => None,
            Items::One(item) => (item.sequence() == sequence).then_some(0),
            Items::Many(items) => match items.front() {
                // Nearly always.
                Some(first) if first.sequence() == sequence => Some(0),
                Some(_) | None => items.binary_search_by_key(&sequence, |item| item.sequence()).ok(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &Line) -> Vec<(u64, bool)> {
        (0..line.len()).filter_map(|place| line.get(place)).collect()
    }

    #[test]
    fn messages_stand_by_sequence_wherever_they_come_from() {
        let mut line = Line::default();
        assert!(line.is_empty() && line.ready_head().is_none());
        for sequence in [5, 7, 9, 3, 8, 1] {
            line.insert(sequence, false);
        }
        assert_eq!(all(&line).iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1, 3, 5, 7, 8, 9]);
        assert!(line.remove(5) && !line.remove(5) && !line.remove(6));
        for sequence in [1, 3, 7, 8] {
            assert_eq!(line.ready_head(), Some(sequence));
            assert!(line.remove(sequence));
        }
        assert_eq!((line.len(), line.ready_head()), (1, Some(9)));
        assert!(line.remove(9) && line.is_empty());
    }

    #[test]
    fn a_delayed_message_holds_its_place_and_those_behind_it() {
        let mut line = Line::default();
        line.insert(1, true);
        line.insert(2, false);
        assert_eq!((line.ready_head(), line.len()), (None, 2));
        assert!(line.ripen(1) && !line.ripen(3));
        assert_eq!(line.ready_head(), Some(1));
        assert!(line.remove(1));
        line.insert(3, true);
        assert!(line.remove(2) && line.ready_head().is_none());
        assert!(line.ripen(3));
        assert_eq!(line.ready_head(), Some(3));
    }

    #[test]
    fn a_long_line_gives_its_room_back() {
        let mut line = Line::default();
        (0..100_000).for_each(|sequence| line.insert(sequence, false));
        (0..99_990).for_each(|sequence| assert!(line.remove(sequence)));
        let Items::Many(items) = &line.0 else { panic!("ten are left") };
        assert!(items.capacity() <= 2_048, "{}", items.capacity());
        assert_eq!(all(&line).len(), 10);
    }
}
