//! Operations that wait: for something that another operation does, or for a time.
//! Invariant: whoever waits is in `jobs` and in `deadlines`, or in the owner's queue, never in both, so that none is lost or
//! runs twice. The oldest is woken first, also when it was woken in vain before. A wake that met a caller who is
//! gone, or an operation that failed or rolled back, passes to the next.
//! Leaves to execute.rs: running them. Leaves to services: what a key stands for.
//!
//! ```text
//! run -> Outcome::Wait -> jobs + deadlines -> wake, wake_at, until, catch_up -> end of the queue -> run
//!                              |-> the process is about to end: run once more, told so
//!                              \-> the shard stops or drains: completed with the fault
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::fault::Fault;
use crate::message::{Job, Message};
use crate::owner::Owner;
use crate::tx::Tx;
use crate::types::Timestamp;

/// What operations of a shard wait for. The top 8 bits are the service's: 1 sqs, 2 sns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaitKey(pub u128);

/// Under which key an operation waits or waited, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waited {
    pub(crate) key: WaitKey,
    /// Counts who comes to wait. One that waits on for the same key keeps its number, and with it its place.
    arrival: u64,
    /// It runs because of a wake, not because its time has come.
    pub(crate) is_woken: bool,
}

struct Sleeper {
    job: Box<dyn Job>,
    until: Timestamp,
}

/// Who waits on one shard.
#[derive(Default)]
pub(crate) struct Waiting {
    jobs: BTreeMap<(WaitKey, u64), Sleeper>,
    deadlines: BTreeMap<(Timestamp, u64), WaitKey>,
    /// When one waiter of a key is to run: as many as the services have keys.
    alarms: HashMap<WaitKey, Timestamp>,
    alarm_line: BTreeSet<(Timestamp, WaitKey)>,
    arrival_count: u64,
    /// To when the timer sleeps.
    armed: Option<Timestamp>,
    signal: Rc<Notify>,
    /// The process is about to end: who can answer without waiting does so.
    pub(crate) is_ending: bool,
}

/// Waiters that a time wakes at once; the rest follow in the next turn.
const DUE_COUNT_MAX: usize = 1_024;

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    fn insert(&mut self, mut job: Box<dyn Job>, key: WaitKey, until: Timestamp) {
        let arrival = match *job.waited() {
            Some(waited) if waited.key == key => waited.arrival,
            Some(_) | None => {
                self.arrival_count += 1;
                self.arrival_count
            }
        };
        *job.waited() = Some(Waited { key, arrival, is_woken: false });
        self.deadlines.insert((until, arrival), key);
        self.jobs.insert((key, arrival), Sleeper { job, until });
        self.hurry(until);
    }

    /// Lets the oldest waiters of a key run.
    pub(crate) fn wake(&mut self, key: WaitKey, count: usize, queue: &mut VecDeque<Message>) {
        let mut woken = 0;
        while woken < count {
            let Some((&place, _)) = self.jobs.range((key, 0)..=(key, u64::MAX)).next() else { return };
            woken += usize::from(self.release(place, true, queue));
        }
    }

    /// Lets one waiter run; false when nobody waits for its reply any more.
    fn release(&mut self, place: (WaitKey, u64), is_woken: bool, queue: &mut VecDeque<Message>) -> bool {
        let Some(Sleeper { mut job, until }) = self.jobs.remove(&place) else { return false };
        self.deadlines.remove(&(until, place.1));
        *job.waited() = Some(Waited { key: place.0, arrival: place.1, is_woken });
        let is_awaited = !job.is_abandoned();
        if is_awaited {
            queue.push_back(Message::Job(job));
        }
        is_awaited
    }

    fn wake_at(&mut self, key: WaitKey, at: Timestamp) {
        if let Some(former) = self.alarms.get(&key).copied() {
            if former <= at {
                return;
            }
            self.alarm_line.remove(&(former, key));
        }
        self.alarms.insert(key, at);
        self.alarm_line.insert((at, key));
        self.hurry(at);
    }

    /// The timer has to look again when it sleeps for longer than until `at`.
    fn hurry(&mut self, at: Timestamp) {
        if self.armed.is_none_or(|armed| at < armed) {
            // Once is enough until it has looked.
            self.armed = Some(at);
            self.signal.notify_one();
        }
    }

    /// Lets those run whose time has come, a bounded number; gives how many.
    fn wake_due(&mut self, now: Timestamp, queue: &mut VecDeque<Message>) -> usize {
        let before = queue.len();
        // Alarms first: whoever is oldest should find what has come before it gives up at the same time.
        while queue.len() - before < DUE_COUNT_MAX
            && let Some(&(at, key)) = self.alarm_line.first()
            && at <= now
        {
            self.alarm_line.remove(&(at, key));
            self.alarms.remove(&key);
            self.wake(key, 1, queue);
        }
        while queue.len() - before < DUE_COUNT_MAX
            && let Some((&(until, arrival), &key)) = self.deadlines.first_key_value()
            && until <= now
        {
            self.release((key, arrival), false, queue);
        }
        queue.len() - before
    }

    fn next_time(&self) -> Option<Timestamp> {
        let alarm = self.alarm_line.first().map(|(at, _)| *at);
        let deadline = self.deadlines.first_key_value().map(|((until, _), _)| *until);
        alarm.into_iter().chain(deadline).min()
    }

    /// Lets everybody run, since it is the last time that waiting was worth it.
    fn end(&mut self, queue: &mut VecDeque<Message>) {
        self.is_ending = true;
        while let Some((&place, _)) = self.jobs.first_key_value() {
            self.release(place, false, queue);
        }
    }

    /// Drops those for whom nobody waits any more.
    fn sweep(&mut self) {
        let deadlines = &mut self.deadlines;
        self.jobs.retain(|(_, arrival), sleeper| {
            let is_awaited = !sleeper.job.is_abandoned();
            if !is_awaited {
                deadlines.remove(&(sleeper.until, *arrival));
            }
            is_awaited
        });
    }

    fn take_all(&mut self) -> impl Iterator<Item = Box<dyn Job>> + use<> {
        self.deadlines.clear();
        std::mem::take(&mut self.jobs).into_values().map(|sleeper| sleeper.job)
    }
}

/// Lets waiters run, from a `then`.
pub struct Wakes<'a> {
    pub(crate) waiting: &'a mut Waiting,
    pub(crate) queue: &'a mut VecDeque<Message>,
}

impl Wakes<'_> {
    /// The `count` oldest waiters of `key` run again soon, in order, behind what is queued already.
    pub fn wake(&mut self, key: WaitKey, count: usize) {
        self.waiting.wake(key, count, self.queue);
    }

    /// The oldest waiter of `key`, if there is one then, runs again at `at`. A key has one such time: an earlier one replaces
    /// a later one, and a later one is not kept.
    pub fn wake_at(&mut self, key: WaitKey, at: Timestamp) {
        self.waiting.wake_at(key, at);
    }
}

impl Tx<'_> {
    /// As `Wakes::wake_at`, but also for an operation that waits or rolls back: it holds unless the operation fails. One
    /// that waits in vain says so when it is worth looking again, whoever is the oldest waiter by then. A time that has
    /// passed counts as the next millisecond.
    pub fn wake_at(&mut self, key: WaitKey, at: Timestamp) {
        let at = at.max(self.now().plus_ms(1));
        self.stage_alarm(key, at);
    }

    /// Whether the process is about to end (`Store::end_waits`): an operation that can answer "nothing" does so instead of
    /// waiting, since its caller would be cut off. One that waits all the same is refused when the shard drains.
    #[must_use]
    pub fn waits_end(&self) -> bool {
        self.inputs.waits_end
    }
}

impl Owner {
    pub(crate) fn wakes(&mut self) -> (Wakes<'_>, &mut crate::resident::Residents) {
        (Wakes { waiting: &mut self.waiting, queue: &mut self.queue }, &mut self.residents)
    }

    /// An operation waits. One whose time has passed runs again in a moment: at once would be for ever.
    pub(crate) fn wait(&mut self, job: Box<dyn Job>, key: WaitKey, until: Timestamp) {
        if self.waiting.len() >= self.limits.waiting_count_max {
            return job.complete(Err(Fault::Busy));
        }
        let until = until.max(self.clock.now().plus_ms(1));
        self.waiting.insert(job, key, until);
    }

    pub(crate) fn set_alarms(&mut self, alarms: Vec<(WaitKey, Timestamp)>) {
        for (key, at) in alarms {
            self.waiting.wake_at(key, at);
        }
    }

    /// What woke this job is for the next one: this one does nothing with it.
    pub(crate) fn pass_wake_on(&mut self, job: &mut dyn Job) {
        if let Some(waited) = *job.waited() {
            self.waiting.wake(waited.key, 1, &mut self.queue);
        }
    }

    /// Nobody waits any more for a shard that stopped or ends. They have done nothing, so the answer is definite.
    pub(crate) fn refuse_waiting(&mut self, fault: &Fault) {
        for job in self.waiting.take_all() {
            job.complete(Err(fault.clone()));
        }
    }

    /// Whoever waits, and whoever comes to wait from now on, is told that waiting ends.
    pub(crate) fn end_waits(&mut self) {
        if !self.waiting.is_ending {
            self.waiting.end(&mut self.queue);
        }
    }

    /// Callers who went away must not fill the room of those who wait.
    pub(crate) fn sweep_waiting(&mut self) {
        if self.waiting.len() > self.limits.waiting_count_max / 2 {
            self.waiting.sweep();
        }
    }

    /// Lets those run whose time has come; gives how many.
    pub(crate) fn wake_due(&mut self) -> usize {
        let now = self.clock.now();
        self.waiting.wake_due(now, &mut self.queue)
    }

    /// `wake_due` for the timer; gives how long it may sleep.
    fn serve_due(&mut self) -> Option<Duration> {
        self.wake_due();
        let now = self.clock.now();
        self.waiting.armed = self.waiting.next_time();
        self.waiting.armed.map(|at| Duration::from_millis(at.0.saturating_sub(now.0)))
    }
}

/// The timer of one shard's waiters: sleeps until the earliest time, or until there is an earlier one.
pub(crate) async fn serve(owner: Weak<RefCell<Owner>>) {
    let Some((signal, clock)) = owner.upgrade().map(|owner| {
        let owner = owner.borrow();
        (Rc::clone(&owner.waiting.signal), owner.clock.clock().clone())
    }) else {
        return;
    };
    let mut moves = match &clock {
        Clock::System => None,
        Clock::Manual(manual) => Some(manual.subscribe()),
    };
    loop {
        let Some(sleep) = owner.upgrade().map(|owner| owner.borrow_mut().serve_due()) else { return };
        match (&mut moves, sleep) {
            // More is due than runs at once: the rest when these have run.
            (_, Some(Duration::ZERO)) => ring::yield_now().await,
            (Some(moves), _) => {
                let moved = async { drop(moves.changed().await) };
                either(signal.notified(), moved).await;
            }
            (None, Some(duration)) => either(signal.notified(), ring::sleep(duration)).await,
            (None, None) => signal.notified().await,
        }
    }
}

/// Waits for the first of two.
pub(crate) async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| {
        if one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
