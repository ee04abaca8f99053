//! Deadlines for waits on clients, cheap enough to set on every read: a deadline is one store into memory, and one
//! task per core looks over all of them a few times per second.
//!
//! Invariant: a watch whose deadline has passed wakes the task that armed it last, within one resolution; the task
//! then compares the deadline with the time itself. No watch, no ticking: an idle core sleeps. Where a core stood
//! still, deadlines are looked at one resolution later.
//! Left to others: what a passed deadline means.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

/// All watches of one core.
pub(crate) struct Watches {
    slots: RefCell<Slots>,
    resolution: Duration,
    ticking: Cell<bool>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Option<Rc<Entry>>>,
    free: Vec<usize>,
}

#[derive(Default)]
struct Entry {
    deadline: Cell<Option<Instant>>,
    waker: Cell<Option<Waker>>,
}

impl Watches {
    pub(crate) fn new(resolution: Duration) -> Rc<Self> {
        Rc::new(Self { slots: RefCell::default(), resolution, ticking: Cell::new(false) })
    }

    /// Makes a watch with nothing to wait for. Must run inside a reactor.
    pub(crate) fn watch(self: &Rc<Self>) -> Watch {
        let entry = Rc::new(Entry::default());
        let mut slots = self.slots.borrow_mut();
        let index = match slots.free.pop() {
            Some(index) => index,
            None => {
                slots.entries.push(None);
                slots.entries.len() - 1
            }
        };
        slots.entries[index] = Some(Rc::clone(&entry));
        drop(slots);
        if !self.ticking.replace(true) {
            ring::spawn(tick(Rc::downgrade(self), self.resolution)).detach();
        }
        Watch { entry, index, watches: Rc::clone(self) }
    }

    /// Wakes every task that waits under a watch, so that it sees that the server is draining.
    pub(crate) fn wake_all(&self) {
        self.wake(|_| true);
    }

    fn wake(&self, due: impl Fn(&Entry) -> bool) {
        let entries = self.slots.borrow();
        let wakers: Vec<Waker> = entries
            .entries
            .iter()
            .flatten()
            .filter(|entry| due(entry))
            .filter_map(|e| e.waker.take())
            .collect();
        // Waking may drop a task and with it its watches, so the slots must be free to change.
        drop(entries);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn is_empty(&self) -> bool {
        let slots = self.slots.borrow();
        slots.free.len() == slots.entries.len()
    }
}

async fn tick(watches: Weak<Watches>, resolution: Duration) {
    let mut late_count = 0;
    loop {
        let due = ring::now() + resolution;
        ring::sleep(resolution).await;
        let Some(watches) = watches.upgrade() else { return };
        if watches.is_empty() {
            // What a burst of connections left is given back here, where nothing points into it.
            *watches.slots.borrow_mut() = Slots::default();
            watches.ticking.set(false);
            return;
        }
        let now = ring::now();
        // Where the machine stands still, clients stand still with this core, and what they send next is not late by their fault.
        // They have until the next look, unless the core is never in time.
        if now > due + resolution && late_count < LATE_COUNT_MAX {
            late_count += 1;
            continue;
        }
        late_count = 0;
        watches.wake(|entry| entry.deadline.get().is_some_and(|deadline| deadline <= now));
    }
}

/// Looks in a row that may be left out because they came late.
const LATE_COUNT_MAX: u32 = 20;

/// One deadline and the task that waits under it.
pub(crate) struct Watch {
    entry: Rc<Entry>,
    index: usize,
    watches: Rc<Watches>,
}

impl Watch {
    /// Sets the deadline and the task to wake.
    pub(crate) fn arm(&self, deadline: Instant, waker: &Waker) {
        self.entry.deadline.set(Some(deadline));
        self.listen(waker);
    }

    /// Sets the task to wake when the server drains, without touching the deadline.
    pub(crate) fn listen(&self, waker: &Waker) {
        let kept = self.entry.waker.take().filter(|kept| kept.will_wake(waker));
        self.entry.waker.set(Some(kept.unwrap_or_else(|| waker.clone())));
    }

    /// Forgets the deadline.
    pub(crate) fn disarm(&self) {
        self.entry.deadline.set(None);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut slots = self.watches.slots.borrow_mut();
        let entry = mem::take(&mut slots.entries[self.index]);
        slots.free.push(self.index);
        drop(slots);
        // Dropped here, outside the borrow: the waker in it may be the last hold on another task.
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::testing::on_reactor;

    #[test]
    fn a_passed_deadline_wakes_the_task_that_armed_it() {
        on_reactor(async {
            let watches = Watches::new(Duration::from_millis(5));
            let watch = watches.watch();
            let deadline = ring::now() + Duration::from_millis(20);
            poll_fn(|cx| {
                if deadline <= ring::now() {
                    return Poll::Ready(());
                }
                watch.arm(deadline, cx.waker());
                Poll::Pending
            })
            .await;
            assert!(ring::now() >= deadline);
        });
    }

    #[test]
    fn slots_are_reused_and_the_tick_ends_with_the_last_watch() {
        on_reactor(async {
            let watches = Watches::new(Duration::from_millis(1));
            let first = watches.watch();
            let index = first.index;
            drop(first);
            assert_eq!(watches.watch().index, index);
            while watches.ticking.get() {
                ring::sleep(Duration::from_millis(1)).await;
            }
            assert!(watches.slots.borrow().entries.is_empty());
            let again = watches.watch();
            assert!(watches.ticking.get() && again.index == 0);
        });
    }
}
