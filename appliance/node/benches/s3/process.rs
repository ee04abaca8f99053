//! Servers as child processes on a core of their own, and what CPU time they took.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of all servers; set before the first starts.
pub static CORE: OnceLock<usize> = OnceLock::new();

/// A serving child. Killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Process {
    /// A node on core 0, so with one shard if `data` is new.
    pub fn node(data: &Path) -> Process {
        let binary =
            std::env::var("ZEROCLOUD_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_zerocloud").to_owned());
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--data"]).arg(data);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZEROCLOUD_") {
                command.env_remove(name);
            }
        }
        Process::start(command)
    }

    /// The echo of `echo.rs` on core 0.
    pub fn echo() -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(crate::echo::ARGUMENT);
        Process::start(command)
    }

    fn start(mut command: Command) -> Process {
        // A child inherits the affinity of the thread that makes it.
        let ours = sched_getaffinity(None).unwrap();
        let mut first = CpuSet::new();
        first.set(*CORE.get().unwrap());
        sched_setaffinity(None, &first).unwrap();
        let spawned = command.stdout(Stdio::piped()).spawn();
        sched_setaffinity(None, &ours).unwrap();
        let mut child = spawned.unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some(url) = line.trim().strip_prefix("zerocloud ready on ") {
                break url.split("://").nth(1).unwrap().parse().unwrap();
            }
        };
        // Whatever else it says must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Process { child, address }
    }

    /// User and system time of all its threads so far, finished ones too.
    pub fn cpu(&self) -> Cpu {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let time = |index: usize| {
            Duration::from_micros(fields[index].parse::<u64>().unwrap() * 1_000_000 / ticks_per_second)
        };
        Cpu { user: time(11), system: time(12) }
    }

    /// Bytes of memory that it holds now.
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
    }

    /// Ends a node in order, so that the next start has nothing to replay.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the node does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// CPU time.
#[derive(Clone, Copy)]
pub struct Cpu {
    /// In the process.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

impl Cpu {
    /// What was used since.
    pub fn since(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }

    /// Both together.
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

/// A directory that is gone when the bench is.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new(under: &Path, name: &str) -> Scratch {
        let path = under.join(format!("zerocloud-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
