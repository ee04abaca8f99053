//! Walks to several keys side by side, which bring near what a later search of each of them touches.
//! Invariant: it changes nothing and tells nothing; a search gives the same with and without it.
//! Leaves to owner.rs: which keys will be searched soon.
//!
//! A search of a large overlay waits for memory at nearly every node, and the next node is known only when the last one has
//! come. Walks to different keys do not wait for each other: while one node is on its way, the other walks go on.

use super::node::Node;
use super::{Overlay, is_less};

/// Walks that are under way at once: about as many lines as a core can be waiting for.
const WALKS_MAX: usize = 12;

impl Overlay {
    /// Walks to all these keys, several at a time.
    pub fn fetch_ahead<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) {
        let mut walks: [Option<Walk<'_, 'k>>; WALKS_MAX] =
            std::array::from_fn(|_| keys.next().map(|key| Walk::begin(self, key)));
        let mut open = true;
        while open {
            open = false;
            for slot in &mut walks {
                if let Some(walk) = slot {
                    if !walk.step() {
                        *slot = keys.next().map(|key| Walk::begin(self, key));
                    }
                    open |= slot.is_some();
                }
            }
        }
    }
}

/// One search, as in `Overlay::gap`, that can be left before each node that it has to wait for.
struct Walk<'a, 'k> {
    key: &'k [u8],
    node: Node<'a>,
    level: usize,
    /// Behind `node` at `level`, and asked for.
    next: Option<Node<'a>>,
    /// The node that ended the walk one level up.
    wall: Option<Node<'a>>,
}

impl<'a, 'k> Walk<'a, 'k> {
    fn begin(overlay: &'a Overlay, key: &'k [u8]) -> Walk<'a, 'k> {
        let node = overlay.head();
        let level = overlay.top_level();
        let mut walk = Walk { key, node, level, next: None, wall: None };
        walk.look_on();
        walk
    }

    /// Compares with the node that was asked for, and asks for the one after that. False: the walk has ended.
    fn step(&mut self) -> bool {
        match self.next {
            Some(next) if is_less(next.key(), self.key) => self.node = next,
            next => {
                self.wall = next;
                if self.level == 0 {
                    if let Some(found) = next.filter(|found| found.key() == self.key) {
                        found.prefetch_newest();
                    }
                    return false;
                }
                self.level -= 1;
            }
        }
        self.look_on();
        true
    }

    fn look_on(&mut self) {
        loop {
            self.next = self.node.next(self.level);
            if self.next != self.wall || self.level == 0 {
                break;
            }
            self.level -= 1;
        }
        if let Some(next) = self.next {
            next.prefetch();
        }
    }
}
