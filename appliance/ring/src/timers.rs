//! Pending timers in an indexed heap: ordered by deadline, removable in the middle.
//!
//! Invariant: `positions` names, for every live timer, its place in the heap. A server arms and disarms a timer for
//! nearly every request, so removal must give the place back at once; lazy deletion would keep minutes of
//! dead timers.

use crate::slab::{Key, Slab};
use std::task::Waker;
use std::time::Instant;

struct Timer {
    heap_index: usize,
    waker: Waker,
}

#[derive(Clone, Copy)]
struct Node {
    deadline: Instant,
    /// Orders timers with equal deadlines by their arming.
    sequence: u64,
    key: Key,
}

impl Node {
    fn before(&self, other: &Node) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
    }
}

/// The timers of one reactor.
pub(crate) struct Timers {
    heap: Vec<Node>,
    timers: Slab<Timer>,
    sequence: u64,
}

impl Timers {
    pub fn new() -> Self {
        Timers { heap: Vec::new(), timers: Slab::new(), sequence: 0 }
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.deadline)
    }

    pub fn insert(&mut self, deadline: Instant, waker: Waker) -> Key {
        let heap_index = self.heap.len();
        let key = self.timers.insert(Timer { heap_index, waker });
        self.sequence += 1;
        self.heap.push(Node { deadline, sequence: self.sequence, key });
        self.sift_up(heap_index);
        key
    }

    /// Replaces the waker of a pending timer and returns the old one, or says that it has fired.
    pub fn update(&mut self, key: Key, waker: &Waker) -> Result<Option<Waker>, Fired> {
        let timer = self.timers.get_mut(key).ok_or(Fired)?;
        if timer.waker.will_wake(waker) {
            return Ok(None);
        }
        Ok(Some(std::mem::replace(&mut timer.waker, waker.clone())))
    }

    /// Disarms a timer and returns its waker, so that the caller drops it outside any borrow.
    pub fn remove(&mut self, key: Key) -> Option<Waker> {
        let timer = self.timers.remove(key)?;
        self.remove_at(timer.heap_index);
        Some(timer.waker)
    }

    /// Takes the earliest timer if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.heap.first()?;
        if first.deadline > now {
            return None;
        }
        let key = first.key;
        self.remove(key)
    }

    fn remove_at(&mut self, index: usize) {
        let last = self.heap.pop().expect("a live timer has a node in the heap");
        if index == self.heap.len() {
            return;
        }
        self.heap[index] = last;
        self.place(index);
        self.sift_up(index);
        self.sift_down(index);
    }

    fn place(&mut self, index: usize) {
        let key = self.heap[index].key;
        self.timers.get_mut(key).expect("every node names a live timer").heap_index = index;
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if !self.heap[index].before(&self.heap[parent]) {
                return;
            }
            self.swap(index, parent);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let mut child = 2 * index + 1;
            if child >= self.heap.len() {
                return;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1].before(&self.heap[child]) {
                child += 1;
            }
            if !self.heap[child].before(&self.heap[index]) {
                return;
            }
            self.swap(index, child);
            index = child;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.place(one);
        self.place(other);
    }
}

/// The timer has fired already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fired;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A small multiplicative generator; the seed is in the failure message.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn random_inserts_and_removals_leave_the_order_of_a_sorted_list() {
        for seed in 0..50_u64 {
            let mut state = seed;
            let start = Instant::now();
            let mut timers = Timers::new();
            let mut model: Vec<(u64, Key)> = Vec::new();
            for _ in 0..500 {
                if random(&mut state).is_multiple_of(3) && !model.is_empty() {
                    let index = random(&mut state) as usize % model.len();
                    let (_, key) = model.remove(index);
                    assert!(timers.remove(key).is_some(), "seed {seed}");
                    assert!(timers.remove(key).is_none(), "seed {seed}");
                } else {
                    let at = random(&mut state) % 1000;
                    let key = timers.insert(start + Duration::from_micros(at), Waker::noop().clone());
                    model.push((at, key));
                }
            }
            model.sort_by_key(|(at, _)| *at);
            for (at, _) in &model {
                assert_eq!(timers.next_deadline(), Some(start + Duration::from_micros(*at)), "seed {seed}");
                assert!(timers.pop_due(start + Duration::from_micros(*at)).is_some(), "seed {seed}");
            }
            assert_eq!(timers.next_deadline(), None, "seed {seed}");
            assert_eq!(timers.timers.len(), 0, "seed {seed}");
        }
    }
}
