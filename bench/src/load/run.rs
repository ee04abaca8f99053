//! One run: a worker per core, all on one clock, and a main thread that watches the server and says how it goes.
//! Invariant: when `run` returns, no connection is open, no operation is in flight and no thread is left.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::lane::{Lane, Way};
use super::pacer::{Alarm, Clock, Pacer};
use super::recorder::Recorder;
use super::runtime::{self, DRAIN_MAX};
use super::schedule::{Arrivals, Nanos, Schedule};
use crate::client::duplex::task_count;
use crate::client::http2::Shared;
use crate::client::line::Line;
use crate::client::wire::{Closer, When};
use crate::scenario::{Plan, Scenario, Target};
use crate::server::process::{Process, Usage};

/// How often the workers' watchdogs look.
const WATCH: Duration = Duration::from_millis(50);
/// A server from which nothing good came for so long, or for a quarter of the measured time, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Requests made ahead of the clock per worker at most, unless a schedule has more.
const PLAN_COUNT_MAX: usize = 400_000;
/// Requests made ahead per worker of any schedule at most: they are in memory.
const SCHEDULE_COUNT_MAX: usize = 4_000_000;
/// What a schedule may have beyond its mean.
const SCHEDULE_MARGIN: f64 = 1.1;

/// When requests leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// On a schedule of so many per second, all workers together.
    Open {
        /// Requests per second.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
    /// As soon as the answer before has come.
    Closed,
}

/// How a scenario is driven.
#[derive(Clone, Debug)]
pub struct Load {
    /// When requests leave.
    pub pace: Pace,
    /// Connections, all workers together.
    pub connections: usize,
    /// Streams of HTTP/2 on each connection; 0: HTTP/1.1, with one request in flight.
    pub streams: usize,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
    /// Answers, good or not, after which the measured time of a closed loop is over.
    pub answers_max: Option<u64>,
    /// How long a server may give no good answer; where nobody says, two seconds or a quarter of the measured time.
    pub silence_max: Option<Duration>,
    /// One worker on each.
    pub cores: Vec<usize>,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl Load {
    /// Those of one worker.
    fn connections_of(&self, worker: usize) -> usize {
        let workers = self.cores.len();
        self.connections / workers + usize::from(worker < self.connections % workers)
    }

    /// Requests that a worker makes ahead of the clock at most.
    fn plan_count_max(&self) -> usize {
        match self.pace {
            Pace::Closed => PLAN_COUNT_MAX,
            Pace::Open { rate, .. } => {
                let seconds = (self.warm_up + self.measured).as_secs_f64();
                let due = rate * seconds * SCHEDULE_MARGIN / self.cores.len().max(1) as f64;
                (due as usize).clamp(PLAN_COUNT_MAX, SCHEDULE_COUNT_MAX)
            }
        }
    }
}

/// What a run gave.
pub struct Measured {
    /// The requests.
    pub recorder: Recorder,
    /// Due and never sent.
    pub unsent_count: u64,
    /// Of the measured time, as far as it went.
    pub seconds: f64,
    /// The server's, over the measured time.
    pub usage: Option<Usage>,
    /// CPU time that the workers took per second of theirs.
    pub generator_share: f64,
    /// Why the run ended before its time.
    pub ended_early: Option<String>,
    /// What is to be said of the requests, in sentences.
    pub notes: Vec<String>,
    /// Why the good answers are none after all.
    pub refuted: Option<String>,
}

impl Measured {
    /// Good answers per second of the measured time.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.recorder.in_window_count as f64 / self.seconds.max(1e-9)
    }

    /// The part of what was due that was sent.
    #[must_use]
    pub fn sent_share(&self) -> f64 {
        let sent = self.recorder.latency.len() as f64;
        sent / (sent + self.unsent_count as f64).max(1.0)
    }

    /// Why the result does not count, if so.
    #[must_use]
    pub fn void(&self) -> Option<String> {
        if let Some(words) = &self.ended_early {
            return Some(words.clone());
        }
        if let Some((failure, (count, first))) = self.recorder.failures.iter().next() {
            let all = self.recorder.failed_count;
            return Some(format!("{all} requests failed; {count} of them: {failure} ({first})"));
        }
        if let Some(words) = &self.refuted {
            return Some(words.clone());
        }
        if self.recorder.ran_out {
            return Some("the requests made ahead were used up before the run's end".to_owned());
        }
        if self.recorder.in_window_count == 0 {
            return Some("nothing was answered in the measured time".to_owned());
        }
        (self.sent_share() < UNSENT_FLOOR)
            .then(|| format!("overloaded: only {:.1} % of what was due was sent", self.sent_share() * 100.0))
    }

    /// Whether an open loop of `rate` left as it was planned: all but 1 % sent, and 99 % of it not later than a hundredth
    /// of a lane's period (or 50 us, below which no sleeping core wakes).
    #[must_use]
    pub fn keeps_schedule(&self, load: &Load, rate: f64) -> bool {
        let period = (load.connections * load.streams.max(1)) as f64 * 1e9 / rate;
        let bound = (period / 100.0).max(50_000.0);
        self.void().is_none() && (self.recorder.delay.value_at_quantile(0.99) as f64) <= bound
    }
}

/// Less than this part sent of what was due: the load is more than the server takes.
const UNSENT_FLOOR: f64 = 0.99;

/// What workers and the main thread tell each other.
#[derive(Default)]
struct Control {
    stop: AtomicBool,
    /// What is in flight is still answered, and nothing more is sent.
    enough: AtomicBool,
    good: AtomicU64,
    good_in_window: AtomicU64,
    failed: AtomicU64,
    ran_out: AtomicBool,
}

/// What a worker brings back.
struct Worked {
    recorder: Recorder,
    unsent_count: u64,
    cpu: Duration,
    elapsed: Duration,
    notes: Vec<String>,
    refuted: Option<String>,
}

/// Drives `scenario` against `target` once. `say` is called about once a second with how it goes.
///
/// # Errors
/// What keeps a run from beginning: no connection, requests that cannot be made.
pub fn run(
    load: &Load,
    target: &Target,
    scenario: &dyn Scenario,
    server: Option<&Process>,
    say: &mut dyn FnMut(&str),
) -> Result<Measured, String> {
    let control = Arc::new(Control::default());
    let began: OnceLock<Instant> = OnceLock::new();
    let ready = Barrier::new(load.cores.len() + 1);
    let failed_to_start = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..load.cores.len())
            .map(|worker| {
                let (control, began, ready, failed_to_start) = (&control, &began, &ready, &failed_to_start);
                scope.spawn(move || {
                    let prepared = prepare(load, target, scenario, worker);
                    if prepared.is_err() {
                        failed_to_start.store(true, Ordering::SeqCst);
                    }
                    ready.wait();
                    ready.wait();
                    let mut prepared = prepared?;
                    if failed_to_start.load(Ordering::SeqCst) {
                        drop(prepared.plan.finish());
                        return Err(String::new());
                    }
                    let began = *began.get().expect("set before the second wait");
                    work(load, target, worker, prepared, control, Clock::since(began))
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        began.set(start).expect("set once");
        ready.wait();
        let watched = if failed_to_start.load(Ordering::SeqCst) {
            Watched::default()
        } else {
            watch(load, target, server, &control, start, say)
        };
        let mut total: Option<Worked> = None;
        let mut errors = Vec::new();
        for worker in workers {
            match worker.join().map_err(|_| "a worker panicked".to_owned()).flatten() {
                Ok(worked) => match &mut total {
                    None => total = Some(worked),
                    Some(total) => total.add(worked),
                },
                Err(error) => errors.push(error),
            }
        }
        if let Some(error) = errors.into_iter().find(|error| !error.is_empty()) {
            return Err(error);
        }
        let mut total = total.ok_or("no worker started")?;
        if watched.ended_early.is_some() {
            // Why the run is void is known, and this is to be said besides.
            total.notes.extend(total.refuted.take());
        }
        Ok(Measured {
            unsent_count: total.unsent_count,
            seconds: watched.seconds,
            usage: watched.usage,
            generator_share: total.cpu.as_secs_f64() / total.elapsed.as_secs_f64().max(1e-9),
            ended_early: watched.ended_early.map(|words| tell(&words, target, server, &total.recorder)),
            recorder: total.recorder,
            notes: total.notes,
            refuted: total.refuted,
        })
    })
}

impl Worked {
    fn add(&mut self, other: Worked) {
        self.recorder.add(other.recorder);
        self.unsent_count += other.unsent_count;
        self.cpu += other.cpu;
        self.elapsed += other.elapsed;
        self.notes.extend(other.notes);
        self.notes.sort_unstable();
        self.notes.dedup();
        self.refuted = self.refuted.take().or(other.refuted);
    }
}

/// One sentence about an early end.
fn tell(words: &str, target: &Target, server: Option<&Process>, recorder: &Recorder) -> String {
    let good = recorder.good_count;
    let mut text = format!("{} {words}: {good} answers were good", target.called(server));
    for (failure, (count, first)) in &recorder.failures {
        text += &format!(", {count} requests failed: {failure} ({first})");
    }
    text
}

#[derive(Default)]
struct Watched {
    seconds: f64,
    usage: Option<Usage>,
    ended_early: Option<String>,
}

/// The main thread's part: samples the server at both ends of the measured time, ends the run when it is gone.
fn watch(
    load: &Load,
    target: &Target,
    server: Option<&Process>,
    control: &Control,
    start: Instant,
    say: &mut dyn FnMut(&str),
) -> Watched {
    let from = start + load.warm_up;
    let until = from + load.measured;
    let mut before = None;
    let mut ended_early = None;
    let mut last_good = (0, start);
    let mut said = start;
    let silence_max = load.silence_max.unwrap_or(SILENCE_MAX.max(load.measured / 4));
    loop {
        let now = Instant::now();
        if before.is_none() && now >= from {
            before = server.map(|server| (server.begin(), now));
        }
        if now >= until {
            break;
        }
        let good = control.good.load(Ordering::Relaxed);
        if good > last_good.0 {
            last_good = (good, now);
        }
        let answered =
            control.good_in_window.load(Ordering::Relaxed) + control.failed.load(Ordering::Relaxed);
        if now >= from && load.answers_max.is_some_and(|answers_max| answered >= answers_max) {
            control.enough.store(true, Ordering::Relaxed);
            break;
        }
        if server.is_some_and(|server| !server.is_alive()) {
            ended_early = Some(format!("ended after {:.1} s", (now - start).as_secs_f64()));
        } else if crate::is_interrupted() {
            ended_early =
                Some(format!("was left after {:.1} s by an interrupt", (now - start).as_secs_f64()));
        } else if now - last_good.1 > silence_max
            // Who is asked for nothing more answers nothing.
            && !control.ran_out.load(Ordering::Relaxed)
        {
            ended_early =
                Some(format!("answered nothing good for {:.1} s", (now - last_good.1).as_secs_f64()));
        }
        if ended_early.is_some() {
            break;
        }
        if now - said >= Duration::from_secs(1) {
            said = now;
            let (elapsed, failed) = ((now - start).as_secs_f64(), control.failed.load(Ordering::Relaxed));
            say(&format!("{}: {elapsed:.0} s, {good} good, {failed} failed", target.name));
        }
        let next = if now < from { from } else { until };
        std::thread::sleep(WATCH.min(next.saturating_duration_since(now)));
    }
    let end = Instant::now();
    let usage = match (&before, server) {
        (Some((before, _)), Some(server)) => server.since(before),
        _ => None,
    };
    if ended_early.is_some() {
        control.stop.store(true, Ordering::Relaxed);
    }
    let seconds = end.min(until).saturating_duration_since(from).as_secs_f64();
    Watched { seconds, usage, ended_early }
}

/// A worker before the clock starts.
struct Ready {
    runtime: monoio::Runtime<monoio::IoUringDriver>,
    plan: Box<dyn Plan>,
    lanes: Lanes,
}

/// Connections by protocol.
enum Lanes {
    Own(Vec<(Line, Option<Closer>)>),
    /// With so many streams on each.
    Http2(Vec<Rc<Shared>>, usize),
}

fn prepare(load: &Load, target: &Target, scenario: &dyn Scenario, worker: usize) -> Result<Ready, String> {
    let core = load.cores[worker];
    let mut runtime = runtime::start(core).map_err(|error| format!("io_uring on core {core}: {error}"))?;
    let mut plan = scenario.plan(target, worker, load.plan_count_max())?;
    match runtime.block_on(connect(load, target, worker)) {
        Ok(lanes) => Ok(Ready { runtime, plan, lanes }),
        Err(error) => {
            drop(plan.finish());
            Err(format!("{} takes no connection: {error}", target.called(None)))
        }
    }
}

async fn connect(load: &Load, target: &Target, worker: usize) -> io::Result<Lanes> {
    let count = load.connections_of(worker);
    if load.streams > 0 {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Rc::new(Shared::connect(target.address, target.tls.clone()).await?));
        }
        return Ok(Lanes::Http2(connections, load.streams));
    }
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut closer = None;
        let line = Line::connect(target, When::BeforeTheClock, |made| closer = Some(made)).await;
        connections.push((line.map_err(|(_, words)| io::Error::other(words))?, closer));
    }
    Ok(Lanes::Own(connections))
}

fn work(
    load: &Load,
    target: &Target,
    worker: usize,
    ready: Ready,
    control: &Arc<Control>,
    clock: Clock,
) -> Result<Worked, String> {
    let Ready { mut runtime, plan, lanes } = ready;
    let workers = load.cores.len();
    let (ways, ends) = ways(lanes, target);
    let lane_count = ways.len();
    let (from, until) =
        (Nanos::from_duration(load.warm_up), Nanos::from_duration(load.warm_up + load.measured));
    let pacer = match load.pace {
        Pace::Closed => Pacer::closed(clock, until, lane_count),
        Pace::Open { rate, arrivals } => {
            let share = rate / workers as f64;
            // Workers that all sent at the same moments would make bursts.
            let shift = Nanos((worker as f64 * 1e9 / rate) as u64);
            Pacer::open(
                clock,
                Schedule::new(arrivals, share, shift, until, load.seed ^ worker as u64),
                lane_count,
            )
        }
    };
    let recorder = Rc::new(RefCell::new(Recorder::new(from, until)));
    let plan = Rc::new(RefCell::new(plan));
    let cpu_before = thread_cpu();
    let result: Result<(), String> = runtime.block_on(async {
        let is_done = Rc::new(Cell::new(false));
        let mut alarm = Alarm::new().map_err(|error| format!("no timer: {error}"))?;
        let watch_alarm = Alarm::new().map_err(|error| format!("no timer: {error}"))?;
        let lanes: Vec<_> = ways
            .into_iter()
            .enumerate()
            .map(|(index, way)| {
                let (plan, recorder) = (Rc::clone(&plan), Rc::clone(&recorder));
                monoio::spawn(Lane { index, way, pacer: pacer.clone(), plan, recorder }.run())
            })
            .collect();
        let paced = {
            let pacer = pacer.clone();
            monoio::spawn(async move { pacer.run(&mut alarm).await })
        };
        let watched = {
            let (pacer, recorder, ends) = (pacer.clone(), Rc::clone(&recorder), Rc::clone(&ends));
            let (control, is_done) = (Arc::clone(control), Rc::clone(&is_done));
            let patience = Nanos::from_duration(load.warm_up + load.measured + DRAIN_MAX);
            monoio::spawn(async move {
                let seen = Watcher { pacer, recorder, ends, control, is_done, patience };
                seen.run(watch_alarm).await
            })
        };
        for lane in lanes {
            lane.await;
        }
        // The pacer may be parked: every lane was in flight.
        pacer.stop();
        is_done.set(true);
        paced.await.map_err(|error| format!("the timer failed: {error}"))?;
        let mut alarm = watched.await.map_err(|error| format!("the timer failed: {error}"))?;
        // Streams under TLS or HTTP/2 have tasks of their own.
        ends.close();
        while task_count() > 0 {
            alarm.sleep(1_000_000).await.map_err(|error| format!("the timer failed: {error}"))?;
        }
        Ok(())
    });
    let elapsed = Duration::from_nanos(clock.now().0);
    let unsent_count = pacer.unsent_count(until);
    let cpu = thread_cpu().saturating_sub(cpu_before);
    drop(runtime);
    let (notes, refuted) = match plan.borrow_mut().finish() {
        Ok(notes) => (notes, None),
        Err(words) => (Vec::new(), Some(words)),
    };
    result?;
    drop((pacer, plan, ends));
    let recorder = Rc::into_inner(recorder).expect("every task has ended").into_inner();
    Ok(Worked { recorder, unsent_count, cpu, elapsed, notes, refuted })
}

/// What ends connections from outside of their tasks.
enum Ends {
    Own(Rc<RefCell<Vec<Option<Closer>>>>),
    Http2(Vec<Rc<Shared>>),
}

impl Ends {
    fn close(&self) {
        match self {
            Ends::Own(closers) => closers.borrow().iter().flatten().for_each(Closer::close),
            Ends::Http2(connections) => connections.iter().for_each(|shared| shared.close()),
        }
    }
}

/// A way per lane; streams are dealt out over the connections in turn.
fn ways(lanes: Lanes, target: &Target) -> (Vec<Way>, Rc<Ends>) {
    match lanes {
        Lanes::Own(connections) => {
            let (lines, closers): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
            let (closers, target) = (Rc::new(RefCell::new(closers)), Rc::new(target.clone()));
            let way = |line| Way::Own {
                line: Some(Box::new(line)),
                target: Rc::clone(&target),
                closers: Rc::clone(&closers),
            };
            (lines.into_iter().map(way).collect(), Rc::new(Ends::Own(closers)))
        }
        Lanes::Http2(connections, streams) => {
            let count = connections.len() * streams;
            let ways = connections.iter().cycle().take(count).map(|shared| Way::Http2(Rc::clone(shared)));
            (ways.collect(), Rc::new(Ends::Http2(connections)))
        }
    }
}

/// Looks after a worker: tells the main thread how far it is, and ends what does not end.
struct Watcher {
    pacer: Pacer,
    recorder: Rc<RefCell<Recorder>>,
    ends: Rc<Ends>,
    control: Arc<Control>,
    is_done: Rc<Cell<bool>>,
    patience: Nanos,
}

impl Watcher {
    async fn run(self, mut alarm: Alarm) -> io::Result<Alarm> {
        let (mut good, mut good_in_window, mut failed) = (0, 0, 0);
        while !self.is_done.get() {
            alarm.sleep(WATCH.as_nanos() as u64).await?;
            let now = {
                let recorder = self.recorder.borrow();
                self.control.ran_out.fetch_or(recorder.ran_out, Ordering::Relaxed);
                (recorder.good_count, recorder.in_window_count, recorder.failed_count)
            };
            self.control.good.fetch_add(now.0 - good, Ordering::Relaxed);
            self.control.good_in_window.fetch_add(now.1 - good_in_window, Ordering::Relaxed);
            self.control.failed.fetch_add(now.2 - failed, Ordering::Relaxed);
            (good, good_in_window, failed) = now;
            if self.control.enough.load(Ordering::Relaxed) {
                self.pacer.stop();
            }
            let is_stopped = self.control.stop.load(Ordering::Relaxed);
            if is_stopped || self.pacer.clock().now() > self.patience {
                self.pacer.give_up();
                self.ends.close();
            }
        }
        Ok(alarm)
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_all_its_requests_made_ahead_and_a_closed_loop_so_many_as_always() {
        let load = |pace| Load {
            pace,
            connections: 1,
            streams: 0,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(599),
            answers_max: None,
            silence_max: None,
            cores: vec![0],
            seed: 1,
        };
        let open = |rate| load(Pace::Open { rate, arrivals: Arrivals::Poisson }).plan_count_max();
        assert_eq!(load(Pace::Closed).plan_count_max(), PLAN_COUNT_MAX);
        assert_eq!(open(10.0), PLAN_COUNT_MAX);
        assert!(open(1_000.0) >= 650_000, "more than its 600,000 and a margin");
        assert_eq!(open(1e9), SCHEDULE_COUNT_MAX);
    }
}
