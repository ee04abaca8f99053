//! The groups of a queue by name: what waits in each, and how much of it is in flight.
//! Invariant: a group is here while anything of it waits, is delayed or in flight, and no longer; its index is its own meanwhile.
//! Leaves to fifo.rs and standard.rs: which group is next.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::line::Line;

/// A group's name, as 128 bits under a key that no client knows: two names that meet do not happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GroupName(u128);

impl GroupName {
    /// Of what has no name.
    pub const NONE: GroupName = GroupName(0);

    /// The name under the queue's key.
    #[must_use]
    pub fn new(key: &[u8; 16], name: &str) -> GroupName {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write(name.as_bytes());
        GroupName(hasher.finish128().as_u128())
    }
}

/// Names a group while it is here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupIndex(u32);

/// A group.
#[derive(Debug)]
pub struct Group {
    name: GroupName,
    /// What waits.
    pub line: Line,
    /// Messages in flight.
    pub in_flight: u32,
    /// Delayed messages that are not in the line.
    pub delayed: u32,
    /// Where the group stands; 0: it does not.
    pub place: u64,
}

impl Group {
    fn is_idle(&self) -> bool {
        self.line.is_empty() && self.in_flight == 0 && self.delayed == 0
    }
}

/// The groups.
#[derive(Default, Debug)]
pub struct Groups {
    by_name: HashMap<GroupName, GroupIndex, BuildHasherDefault<Folded>>,
    slots: Vec<Group>,
    free: Vec<GroupIndex>,
}

impl Groups {
    /// The group with this name, made when it is not here.
    pub fn find_or_add(&mut self, name: GroupName) -> GroupIndex {
        let Groups { by_name, slots, free } = self;
        *by_name.entry(name).or_insert_with(|| {
            let group = Group { name, line: Line::default(), in_flight: 0, delayed: 0, place: 0 };
            match free.pop() {
                Some(index) => {
                    slots[index.0 as usize] = group;
                    index
                }
                None => {
                    slots.push(group);
                    GroupIndex(u32::try_from(slots.len() - 1).expect("memory ends before 2^32 groups"))
                }
            }
        })
    }

    /// The group with this name.
    #[must_use]
    pub fn find(&self, name: GroupName) -> Option<GroupIndex> {
        self.by_name.get(&name).copied()
    }

    /// A group that is here.
    #[must_use]
    pub fn get(&self, index: GroupIndex) -> &Group {
        &self.slots[index.0 as usize]
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, index: GroupIndex) -> &mut Group {
        &mut self.slots[index.0 as usize]
    }

    /// Forgets a group of which nothing is left.
    pub fn forget_if_idle(&mut self, index: GroupIndex) {
        let group = &self.slots[index.0 as usize];
        if group.is_idle() && self.by_name.remove(&group.name).is_some() {
            self.free.push(index);
        }
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// Takes a number that is a keyed hash already as it is.
#[derive(Default)]
pub struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = (number >> 64) as u64 ^ number as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_here_while_anything_of_it_is() {
        let mut groups = Groups::default();
        let name = |text| GroupName::new(&[1; 16], text);
        let (a, b) = (groups.find_or_add(name("a")), groups.find_or_add(name("b")));
        assert_ne!(a, b);
        assert_eq!(groups.find_or_add(name("a")), a);
        groups.get_mut(a).in_flight = 1;
        groups.forget_if_idle(a);
        groups.forget_if_idle(b);
        assert_eq!((groups.find(name("a")), groups.find(name("b")), groups.len()), (Some(a), None, 1));
        assert_eq!(groups.find_or_add(name("c")), b, "the place of one that is gone");
        assert_ne!(GroupName::new(&[1; 16], "a"), GroupName::new(&[2; 16], "a"));
    }
}
