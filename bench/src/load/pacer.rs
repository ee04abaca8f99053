//! Who sends next: hands the intended times of a schedule to lanes that are free, and sleeps until the next one.
//!
//! A lane (one connection of HTTP/1.1, one stream of HTTP/2) asks for its turn; it gets one as soon as one is due, so
//! overdue requests leave with the first lane that comes free, with their own intended times.
//! Invariant: an intended time is given to exactly one lane; a lane waits in `idle` at most once.
//!
//! monoio's timers have slots of a millisecond and round up, so they cannot pace. The alarm is a timerfd read through
//! the ring, and for the last microseconds a read of /dev/null, which completes at once and so is one turn of the loop
//! that reaps completions. A task that wakes itself instead would stop all input and output: monoio then submits without
//! IORING_ENTER_GETEVENTS, and with DEFER_TASKRUN no completion arrives without it (io-uring 0.6.4, `submit_and_wait`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::schedule::{Nanos, Schedule};

/// Nearer deadlines are waited for by turning the loop: a sleeping core takes about 20 us to wake here.
const SPIN_NANOS: u64 = 60_000;

/// Reads the clock of a run.
#[derive(Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Of a run that began at `began`.
    pub fn since(began: Instant) -> Clock {
        Clock { began }
    }

    /// The time now.
    pub fn now(self) -> Nanos {
        Nanos::from_duration(self.began.elapsed())
    }
}

/// What a lane is told.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    /// Send a request that was to leave at `intended`; the lane was free since `free`.
    Send {
        /// When it was to leave.
        intended: Nanos,
        /// When the lane began to wait for it.
        free: Nanos,
    },
    /// The run is over.
    Over,
}

enum Mode {
    Open(Schedule),
    /// Every lane sends as soon as it is free, until the end.
    Closed(Nanos),
}

struct State {
    mode: Mode,
    idle: VecDeque<usize>,
    /// By lane: its waker while it stands in `idle`.
    wakers: Vec<Option<Waker>>,
    /// The pacer itself, while no lane is idle: lanes in flight find what is overdue without it.
    parked: Option<Waker>,
    is_stopped: bool,
    gave_up: bool,
}

enum Step {
    Over,
    Park,
    Wait(u64),
}

/// Gives lanes their turns. One per worker.
#[derive(Clone)]
pub struct Pacer {
    clock: Clock,
    state: Rc<RefCell<State>>,
}

impl Pacer {
    /// Paces `lane_count` lanes by a schedule.
    pub fn open(clock: Clock, schedule: Schedule, lane_count: usize) -> Pacer {
        Pacer::new(clock, Mode::Open(schedule), lane_count)
    }

    /// Lets `lane_count` lanes send as fast as answers come, until `end`.
    pub fn closed(clock: Clock, end: Nanos, lane_count: usize) -> Pacer {
        Pacer::new(clock, Mode::Closed(end), lane_count)
    }

    fn new(clock: Clock, mode: Mode, lane_count: usize) -> Pacer {
        let state = State {
            mode,
            idle: VecDeque::with_capacity(lane_count),
            wakers: vec![None; lane_count],
            parked: None,
            is_stopped: false,
            gave_up: false,
        };
        Pacer { clock, state: Rc::new(RefCell::new(state)) }
    }

    /// The run's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Ends the run early; lanes that wait are told so.
    pub fn stop(&self) {
        let mut state = self.state.borrow_mut();
        state.is_stopped = true;
        state.wake_all();
    }

    /// Ends the run, and says of what is in flight that it took too long.
    pub fn give_up(&self) {
        self.state.borrow_mut().gave_up = true;
        self.stop();
    }

    /// Whether what fails now fails because it was given up.
    pub fn gave_up(&self) -> bool {
        self.state.borrow().gave_up
    }

    /// The turn of lane `lane`.
    pub async fn turn(&self, lane: usize) -> Turn {
        let free = self.clock.now();
        poll_fn(|context| {
            let now = self.clock.now();
            let mut state = self.state.borrow_mut();
            if let Some(turn) = state.try_turn(now, free) {
                state.forget(lane);
                return Poll::Ready(turn);
            }
            if state.wakers[lane].replace(context.waker().clone()).is_none() {
                state.idle.push_back(lane);
                wake(state.parked.take());
            }
            Poll::Pending
        })
        .await
    }

    /// Requests that were due and never sent, as of `now`.
    pub fn unsent_count(&self, now: Nanos) -> u64 {
        match &self.state.borrow().mode {
            Mode::Open(schedule) => schedule.overdue(now),
            Mode::Closed(_) => 0,
        }
    }

    /// Wakes lanes when requests are due, until the run is over. A closed loop needs no waking.
    ///
    /// # Errors
    /// What the kernel says to the alarm.
    pub async fn run(&self, alarm: &mut Alarm) -> io::Result<()> {
        loop {
            let now = self.clock.now();
            let step = self.state.borrow_mut().step(now);
            match step {
                Step::Over => return Ok(()),
                Step::Park => self.park().await,
                Step::Wait(0..=SPIN_NANOS) => alarm.turn().await?,
                Step::Wait(distance) => alarm.sleep(distance - SPIN_NANOS).await?,
            }
        }
    }

    /// Until a lane is idle or the run is stopped.
    async fn park(&self) {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.is_stopped || !state.idle.is_empty() {
                return Poll::Ready(());
            }
            state.parked = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl State {
    fn try_turn(&mut self, now: Nanos, free: Nanos) -> Option<Turn> {
        if self.is_stopped {
            return Some(Turn::Over);
        }
        match &mut self.mode {
            Mode::Closed(end) if now < *end => Some(Turn::Send { intended: now, free }),
            Mode::Closed(_) => Some(Turn::Over),
            Mode::Open(schedule) => match schedule.take(now) {
                Some(intended) => Some(Turn::Send { intended, free }),
                None => schedule.is_over(now).then_some(Turn::Over),
            },
        }
    }

    /// Takes a lane out of the line that got its turn without having been woken for it.
    fn forget(&mut self, lane: usize) {
        if self.wakers[lane].take().is_some() {
            self.idle.retain(|waiting| *waiting != lane);
        }
    }

    /// Wakes as many lanes as requests are due, and says what to do next.
    fn step(&mut self, now: Nanos) -> Step {
        let (next, overdue_count) = match &self.mode {
            Mode::Open(schedule) if !self.is_stopped && !schedule.is_over(now) => {
                (schedule.next(), schedule.overdue(now))
            }
            _ => {
                self.wake_all();
                return Step::Over;
            }
        };
        if next <= now {
            // The one that is due now and those before it.
            for _ in 0..=overdue_count {
                let Some(lane) = self.idle.pop_front() else { break };
                wake(self.wakers[lane].take());
            }
        }
        if self.idle.is_empty() { Step::Park } else { Step::Wait(next.since(now)) }
    }

    fn wake_all(&mut self) {
        self.idle.clear();
        wake(self.parked.take());
        self.wakers.iter_mut().for_each(|waker| wake(waker.take()));
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Waits with microseconds of precision on a monoio ring.
pub struct Alarm {
    timer: OwnedFd,
    expirations: monoio::fs::File,
    nothing: monoio::fs::File,
    buffer: Vec<u8>,
}

impl Alarm {
    /// Makes the alarm of the calling worker; its runtime must be running.
    ///
    /// # Errors
    /// What the kernel says: too many open files, or no /dev/null.
    pub fn new() -> io::Result<Alarm> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let expirations = monoio::fs::File::from_std(File::from(timer.try_clone()?))?;
        let nothing = monoio::fs::File::from_std(File::open("/dev/null")?)?;
        Ok(Alarm { timer, expirations, nothing, buffer: Vec::with_capacity(8) })
    }

    /// Sleeps for `nanos`, which is not zero.
    pub async fn sleep(&mut self, nanos: u64) -> io::Result<()> {
        let duration = Duration::from_nanos(nanos.max(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(duration.subsec_nanos()),
        };
        let setting = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting)?;
        let (result, buffer) = self.expirations.read_at(std::mem::take(&mut self.buffer), 0).await;
        self.buffer = buffer;
        result.map(drop)
    }

    /// One turn of the loop: submits what is queued and takes what has completed.
    async fn turn(&mut self) -> io::Result<()> {
        let (result, buffer) = self.nothing.read_at(std::mem::take(&mut self.buffer), 0).await;
        self.buffer = buffer;
        result.map(drop)
    }
}
