//! The service manager: the sockets that it hands over, and what it is told.
//!
//! ```text
//! EXTEND_TIMEOUT_USEC while recovery gets on -> READY -> WATCHDOG while every core's loop turns -> STOPPING
//! ```
//! Invariant: READY is said when requests are answered and not before; WATCHDOG only when the loop of every core has turned
//! since the last time. Without a manager all of this does nothing.
//! Leaves to others: what a core's turn is (`worker::beat`), the sockets' connections (`http::Seat`).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::exit::Failure;
use crate::log::Log;
use crate::status::{Phase, Status};

/// What a socket unit has to call a socket that requests come in by.
const SOCKET_NAME: &str = "api";

/// A listening socket that the service manager holds, too.
pub struct Inherited {
    /// Where it listens.
    pub address: SocketAddr,
    /// This process's descriptor of it.
    pub socket: TcpListener,
}

/// Takes the sockets that the service manager hands over. What is no socket for requests is named in `warnings`.
pub fn inherited(warnings: &mut Vec<String>) -> Result<Vec<Inherited>, Failure> {
    let mut descriptors = listenfd::ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut taken = Vec::new();
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        // A unit without FileDescriptorName gives the sockets its own name.
        if name != SOCKET_NAME && name != "zerocloud.socket" && !name.is_empty() {
            warnings.push(format!(
                "a socket called {name:?} came from the service manager and is not used; FileDescriptorName={SOCKET_NAME} is"
            ));
            continue;
        }
        let refuse = |cause: String| {
            Failure::configuration(format!(
                "the service manager's socket {index} is no TCP listener: {cause}; correct ListenStream= of the socket unit"
            ))
        };
        let socket = descriptors.take_tcp_listener(index).map_err(|error| refuse(error.to_string()))?;
        let socket = socket.ok_or_else(|| refuse("it is there no more".into()))?;
        let address = socket.local_addr().map_err(|error| refuse(error.to_string()))?;
        taken.push(Inherited { address, socket });
    }
    Ok(taken)
}

/// Tells the service manager something, if there is one.
fn tell(log: &Log, states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log.warn("the service manager cannot be told", &[("cause", &error)]);
    }
}

/// Requests are answered.
pub fn ready(log: &Log, listeners: &str) {
    tell(log, &[NotifyState::Ready, NotifyState::Status(&format!("serving on {listeners}"))]);
}

/// The configuration is being read again; `ready` says when that is over.
pub fn reloading(log: &Log) {
    // What notify-reload units want; older managers skip it.
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    tell(log, &[NotifyState::Reloading, now]);
}

/// The drain has begun.
pub fn stopping(log: &Log) {
    tell(log, &[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// How often the process is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a start may go on without a sign of work.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Starts the thread that feeds the manager's watchdog and asks for more time while a start gets on. None is needed where no
/// manager listens.
pub fn keep_informed(status: Arc<Status>, log: Log) -> std::io::Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(());
    }
    let watched = sd_notify::watchdog_enabled().is_some();
    std::thread::Builder::new().name("manager".into()).spawn(move || {
        let mut work = Work::begin();
        let mut pulse = Pulse::new(&status);
        loop {
            std::thread::sleep(LOOK);
            match status.phase() {
                Phase::Recovering if work.goes_on() => {
                    let more = u32::try_from(START_PATIENCE.as_micros()).unwrap_or(u32::MAX);
                    tell(
                        &log,
                        &[
                            NotifyState::ExtendTimeoutUsec(more),
                            NotifyState::Status("recovering what the last run left"),
                        ],
                    );
                }
                Phase::Recovering => {}
                Phase::Serving if watched && pulse.has_beaten(&status) => {
                    tell(&log, &[NotifyState::Watchdog]);
                }
                Phase::Serving => {}
                // The manager's time limit for a stop counts from here on.
                Phase::Draining => return,
            }
        }
    })?;
    Ok(())
}

/// Whether every core has turned since the last look that found so.
struct Pulse(Vec<u64>);

impl Pulse {
    fn new(status: &Status) -> Pulse {
        Pulse(Pulse::beats(status))
    }

    fn beats(status: &Status) -> Vec<u64> {
        status.cores.iter().map(|core| core.heartbeat_ms.get()).collect()
    }

    fn has_beaten(&mut self, status: &Status) -> bool {
        let beats = Pulse::beats(status);
        let all = beats.iter().zip(&self.0).all(|(now, before)| now != before);
        if all {
            self.0 = beats;
        }
        all
    }
}

/// Whether the process works: it computes, or reads and writes.
struct Work {
    seen: Done,
    at: Instant,
}

/// What a process has done since it began.
#[derive(Clone, Copy, Default)]
struct Done {
    processor: Duration,
    /// Read from and written to disks.
    disk_bytes: u64,
}

/// More of either than this thread and idle cores come to between two looks.
const SOME: Done = Done { processor: Duration::from_millis(20), disk_bytes: 64 << 10 };

impl Work {
    fn begin() -> Work {
        Work { seen: Done::by_now(), at: Instant::now() }
    }

    /// Whether something was done of late.
    fn goes_on(&mut self) -> bool {
        self.note(Done::by_now(), Instant::now())
    }

    fn note(&mut self, done: Done, now: Instant) -> bool {
        let computed = done.processor.saturating_sub(self.seen.processor);
        let moved = done.disk_bytes.saturating_sub(self.seen.disk_bytes);
        if computed >= SOME.processor || moved >= SOME.disk_bytes {
            self.at = now;
        }
        self.seen = done;
        now.saturating_duration_since(self.at) < START_PATIENCE
    }
}

impl Done {
    fn by_now() -> Done {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        // proc(5): may be hidden from us, then processor time alone tells.
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let field = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        Done {
            processor: Duration::new(seconds, nanos),
            disk_bytes: field("read_bytes:") + field("write_bytes:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_does_nothing_gets_no_more_time() {
        let begun = Instant::now();
        let mut work = Work { seen: Done::default(), at: begun };
        let computed = Done { processor: Duration::from_millis(30), disk_bytes: 0 };
        assert!(work.note(computed, begun + START_PATIENCE * 2), "it computed a moment ago");
        assert!(work.note(computed, begun + START_PATIENCE * 2 + LOOK), "and that is not long ago");
        assert!(!work.note(computed, begun + START_PATIENCE * 3));
        assert!(
            work.note(Done { disk_bytes: 1 << 20, ..computed }, begun + START_PATIENCE * 4),
            "it reads again"
        );
    }

    #[test]
    fn what_this_process_does_is_seen() {
        let before = Done::by_now();
        let mut sum = 0_u64;
        while Done::by_now().processor < before.processor + SOME.processor {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0);
    }

    #[test]
    fn the_watchdog_is_fed_once_every_core_has_turned() {
        let status = Status::new(2, "epoll", vec![]);
        let mut pulse = Pulse::new(&status);
        assert!(!pulse.has_beaten(&status));
        status.cores[0].heartbeat_ms.set(1_000);
        assert!(!pulse.has_beaten(&status), "the other core stands still");
        status.cores[0].heartbeat_ms.set(2_000);
        status.cores[1].heartbeat_ms.set(2_000);
        assert!(pulse.has_beaten(&status));
        assert!(!pulse.has_beaten(&status), "each turn feeds it once");
    }
}
