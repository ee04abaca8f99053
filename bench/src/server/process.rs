//! A server by its process ids and all of their descendants: the CPU time that it took, its peak memory, whether it is
//! still there.
//! Invariant: nothing here needs the server's help. CPU time includes the kernel's on behalf of its threads (io_uring
//! workers are such threads), not that of write-back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{fmt, fs};

/// Processes that make up one server.
#[derive(Clone, Debug)]
pub struct Process {
    pids: Vec<u32>,
}

/// `pid 17`, or `pids 17 18`.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pids.len() == 1 { "pid" } else { "pids" })?;
        self.pids.iter().try_for_each(|pid| write!(f, " {pid}"))
    }
}

/// What a server had used when the measured time began.
pub struct Before {
    at: Instant,
    /// By process, since one that ends takes its time with it.
    cpu: BTreeMap<u32, Cpu>,
}

/// User and system time.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    user: Duration,
    system: Duration,
}

/// What a server used over the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// In its own code.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Resident memory at its peak, all processes added up.
    pub peak_bytes: u64,
    /// Over how long.
    pub elapsed: Duration,
}

impl Process {
    /// The server of these processes.
    #[must_use]
    pub fn new(pids: Vec<u32>) -> Process {
        Process { pids }
    }

    /// Whether every one of its processes is still there and no zombie.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pids.iter().all(|pid| stat(*pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X'))
    }

    /// Begins to count, and forgets earlier peaks of memory where the system lets us.
    #[must_use]
    pub fn begin(&self) -> Before {
        let members = self.members();
        for pid in members.keys() {
            // Another user's process keeps its peak of all time, which is then what is told.
            drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
        }
        Before { at: Instant::now(), cpu: members.into_iter().map(|(pid, stat)| (pid, stat.cpu)).collect() }
    }

    /// What was used since. Nothing when a process is gone: its time went with it.
    #[must_use]
    pub fn since(&self, before: &Before) -> Option<Usage> {
        if !self.is_alive() {
            return None;
        }
        let mut usage = Usage { elapsed: before.at.elapsed(), ..Usage::default() };
        for (pid, stat) in self.members() {
            let earlier = before.cpu.get(&pid).copied().unwrap_or_default();
            usage.user += stat.cpu.user.saturating_sub(earlier.user);
            usage.system += stat.cpu.system.saturating_sub(earlier.system);
            usage.peak_bytes += peak_bytes(pid).unwrap_or(0);
        }
        Some(usage)
    }

    /// The named processes and everything that descends from them.
    fn members(&self) -> BTreeMap<u32, Stat> {
        let all: BTreeMap<u32, Stat> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat(pid)?)))
            .collect();
        let mut members = BTreeMap::new();
        let mut open = self.pids.clone();
        while let Some(pid) = open.pop() {
            let Some(stat) = all.get(&pid) else { continue };
            if members.insert(pid, stat.clone()).is_none() {
                open.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid));
            }
        }
        members
    }
}

impl Usage {
    /// User and system time.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

#[derive(Clone, Debug)]
struct Stat {
    state: char,
    parent: u32,
    cpu: Cpu,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&text, rustix::param::clock_ticks_per_second())
}

/// proc(5): the name in parentheses may hold anything, so fields are counted from the last one.
fn parse(text: &str, ticks_per_second: u64) -> Option<Stat> {
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let mut time = |skipped: usize| {
        let ticks: u64 = fields.nth(skipped)?.parse().ok()?;
        Some(Duration::from_micros(ticks * 1_000_000 / ticks_per_second))
    };
    let user = time(9)?;
    let system = time(0)?;
    Some(Stat { state, parent, cpu: Cpu { user, system } })
}

fn peak_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "17 (a) b (c) S 3 17 17 0 -1 4194304 1 2 3 4 250 75 0 0 20 0 1 0 9 9 9";
        let stat = parse(text, 100).expect("parses");
        assert_eq!((stat.state, stat.parent), ('S', 3));
        assert_eq!(stat.cpu.user, Duration::from_millis(2_500));
        assert_eq!(stat.cpu.system, Duration::from_millis(750));
    }

    #[test]
    fn a_child_counts_with_its_parent_and_its_end_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("starts");
        let ours = Process::new(vec![std::process::id()]);
        assert!(ours.members().contains_key(&child.id()));
        let its = Process::new(vec![child.id()]);
        let before = its.begin();
        assert!(its.is_alive() && its.since(&before).is_some_and(|usage| usage.peak_bytes > 0));
        child.kill().expect("killed");
        // A zombie until it is waited for.
        while its.is_alive() {
            std::thread::yield_now();
        }
        assert!(its.since(&before).is_none());
        child.wait().expect("waited");
    }
}
