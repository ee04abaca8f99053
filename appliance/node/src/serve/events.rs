//! What the main thread hears, in the order in which it came.
//! Invariant: nothing is lost. What comes while one answer is awaited, a signal above all, is heard afterwards.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use crate::exit::Failure;

/// What the main thread hears.
pub enum Event {
    /// A core has its shards.
    Started,
    /// Recovery is carried out.
    Recovered,
    /// A core has its accounts.
    Accounted,
    /// A core has ended, with so many connections cut.
    Stopped {
        /// Connections that had not ended.
        connection_count: usize,
    },
    /// A core cannot do what it was told, and goes on as before.
    Refused(String),
    /// A core has ended since it cannot go on.
    Failed(String),
    /// SIGTERM or SIGINT.
    Stop {
        /// Which.
        signal: i32,
    },
    /// SIGHUP.
    Reload,
    /// The certificate's files are others than those of the one that is shown.
    NewCertificate,
}

/// The ear of the main thread.
pub struct Events {
    receiver: Receiver<Event>,
    /// What came while something else was awaited.
    kept: RefCell<VecDeque<Event>>,
    /// How many cores have been heard to end.
    ended: Cell<usize>,
}

impl Events {
    pub fn new(receiver: Receiver<Event>) -> Events {
        Events { receiver, kept: RefCell::default(), ended: Cell::new(0) }
    }

    /// The next one, whenever it comes. None: nobody is left to say anything.
    pub fn next(&self) -> Option<Event> {
        let event = self.kept.borrow_mut().pop_front().or_else(|| self.receiver.recv().ok())?;
        self.ended.set(self.ended.get() + usize::from(is_an_end(&event)));
        Some(event)
    }

    /// As `next`, until `deadline`. None also when that has passed.
    pub fn next_until(&self, deadline: Instant) -> Option<Event> {
        let kept = self.kept.borrow_mut().pop_front();
        let left = deadline.saturating_duration_since(Instant::now());
        kept.or_else(|| self.receiver.recv_timeout(left).ok())
    }

    /// Cores that `next` has told of as ended.
    pub fn ended(&self) -> usize {
        self.ended.get()
    }

    /// Waits for an answer. Errors: a core refuses; or has ended, which may have been the one to answer: `next` tells of it again.
    pub fn await_one(&self, wanted: impl Fn(&Event) -> bool) -> Result<(), Failure> {
        loop {
            let event = self
                .receiver
                .recv()
                .map_err(|_| Failure::storage("every core has ended while one was to answer"))?;
            if wanted(&event) {
                return Ok(());
            }
            if let Event::Refused(message) = event {
                return Err(Failure::storage(message));
            }
            let failure = match &event {
                Event::Failed(message) => Some(Failure::storage(message.clone())),
                Event::Stopped { .. } => Some(Failure::storage("a core has ended by itself")),
                _ => None,
            };
            self.kept.borrow_mut().push_back(event);
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
    }
}

fn is_an_end(event: &Event) -> bool {
    matches!(event, Event::Stopped { .. } | Event::Failed(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_signal_that_comes_while_an_answer_is_awaited_is_heard_afterwards() {
        let (sender, receiver) = channel();
        let events = Events::new(receiver);
        for event in [Event::Reload, Event::Stop { signal: 15 }, Event::Accounted, Event::Reload] {
            sender.send(event).expect("somebody hears");
        }
        events.await_one(|event| matches!(event, Event::Accounted)).expect("it is there");
        assert!(matches!(events.next(), Some(Event::Reload)));
        assert!(matches!(events.next(), Some(Event::Stop { signal: 15 })));
        assert!(matches!(events.next(), Some(Event::Reload)));
        assert_eq!(events.ended(), 0);
    }

    #[test]
    fn a_core_that_ends_is_not_waited_for_and_is_told_of_again() {
        let (sender, receiver) = channel();
        let events = Events::new(receiver);
        sender.send(Event::Stopped { connection_count: 1 }).expect("somebody hears");
        events.await_one(|event| matches!(event, Event::Accounted)).expect_err("nobody will answer");
        assert!(matches!(events.next(), Some(Event::Stopped { connection_count: 1 })));
        assert_eq!(events.ended(), 1);
        assert!(events.next_until(Instant::now()).is_none());
    }
}
