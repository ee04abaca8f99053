//! One lane of a load, a connection of its own or a stream of HTTP/2: takes its turns from the pacer, sends what the plan gives, records what came of it.
//! Invariant: whatever comes of a request is recorded once, a failure with its words. A lane for which the plan
//! has nothing left ends; it does not wait for another lane's answer.

use std::cell::RefCell;
use std::rc::Rc;

use crate::client::http1::{Answer, Failed, Wanted};
use crate::client::http2::Shared;
use crate::client::line::Line;
use crate::client::wire::{Closer, When};
use crate::load::pacer::{Pacer, Turn};
use crate::load::recorder::{Failure, Recorder, Times};
use crate::scenario::{Length, Plan, Prepared, Target};

/// So many connections in a row that could not be made end a lane: the server is gone.
const CONNECT_FAILURES_MAX: u32 = 3;

/// How a lane reaches the server.
pub enum Way {
    /// A connection of its own, and where to make the next.
    Own {
        /// None after one failed.
        line: Option<Box<Line>>,
        /// The server.
        target: Rc<Target>,
        /// The watchdog's handles, by lane.
        closers: Rc<RefCell<Vec<Option<Closer>>>>,
    },
    /// A stream of a connection that other lanes share.
    Http2(Rc<Shared>),
}

/// What a lane shares with the other lanes of its worker.
pub struct Lane {
    /// Its number.
    pub index: usize,
    /// How it sends.
    pub way: Way,
    /// When it sends.
    pub pacer: Pacer,
    /// What it sends.
    pub plan: Rc<RefCell<Box<dyn Plan>>>,
    /// What came of it.
    pub recorder: Rc<RefCell<Recorder>>,
}

impl Lane {
    /// Runs until the pacer says that the run is over.
    pub async fn run(mut self) {
        let clock = self.pacer.clock();
        let mut connect_failures = 0;
        while let Turn::Send { intended, free } = self.pacer.turn(self.index).await {
            let Some(prepared) = self.plan.borrow_mut().next() else {
                self.recorder.borrow_mut().ran_out = true;
                return;
            };
            let sent = clock.now();
            // A connection that must be made anew is part of this request's time, as its caller would feel it.
            let (result, is_new) = self.way.exchange(self.index, &prepared).await;
            let times = Times { intended, free, sent, done: clock.now() };
            let result = match result {
                Err((Failure::Broken, _)) if self.pacer.gave_up() => {
                    Err((Failure::Timeout, "no whole answer until the run was given up".to_owned()))
                }
                result => result,
            };
            let refused = matches!(result, Err((Failure::Connect, _)));
            connect_failures = if refused { connect_failures + 1 } else { 0 };
            let verdict = result.and_then(|answer| self.judge(&prepared, &answer));
            let mut recorder = self.recorder.borrow_mut();
            recorder.reconnect_count += u64::from(is_new);
            match verdict {
                Ok(body_bytes) => recorder.good(times, body_bytes),
                Err((failure, words)) => recorder.failed(times, failure, || words),
            }
            if connect_failures == CONNECT_FAILURES_MAX {
                return;
            }
        }
    }

    /// Gives the bytes of bodies that count.
    fn judge(&self, prepared: &Prepared, answer: &Answer) -> Result<u64, Failed> {
        let body_bytes = prepared.judge(answer)?;
        match prepared.tag {
            None => Ok(body_bytes),
            Some(tag) => self.plan.borrow_mut().answered(tag, answer, body_bytes),
        }
    }
}

impl Way {
    /// Gives the answer with whether a connection had to be made.
    async fn exchange(&mut self, lane: usize, prepared: &Prepared) -> (Result<Answer, Failed>, bool) {
        let Prepared { head, body, tag, expect } = prepared;
        let expected = match &expect.length {
            Length::Same(body) => Some(&body[..]),
            Length::Any | Length::Exactly(_) | Length::AtLeast(_) => None,
        };
        let wanted = Wanted { is_heard: tag.is_some(), body: expected };
        let (line, target, closers) = match self {
            Way::Http2(shared) => return shared.exchange(head, body, wanted).await,
            Way::Own { line, target, closers } => (line, target, closers),
        };
        let is_new = line.is_none();
        if is_new {
            let keep = |closer| closers.borrow_mut()[lane] = Some(closer);
            match Line::connect(target, When::InTheRun, keep).await {
                Ok(made) => *line = Some(Box::new(made)),
                Err(failed) => return (Err(failed), true),
            }
        }
        let Some(open) = line else { unreachable!("made above") };
        let result = open.exchange(head, body, wanted).await;
        if !result.as_ref().is_ok_and(|answer| answer.keeps) {
            *line = None;
        }
        (result, is_new)
    }
}
