#![allow(dead_code, reason = "each test binary uses its own part")]
//! An echo to be measured, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

pub const ZEROBENCH: &str = env!("CARGO_BIN_EXE_zerobench");

/// Seconds that nothing takes, on a machine that stands still for a while neither.
pub const PATIENCE: &str = "120";

/// An echo that ends with the test.
pub struct Echo {
    pub process: Child,
    pub url: String,
}

impl Echo {
    pub fn start(flags: &[&str]) -> Echo {
        let mut command = Command::new(ZEROBENCH);
        let mut process =
            command.arg("serve-echo").args(flags).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("says where it serves");
        let url = line.trim().strip_prefix("zerobench echo ready on ").expect("an address").to_owned();
        Echo { process, url }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("it has no TLS")
    }

    /// Some hundred answers' worth of load on it, however long they take.
    pub fn load(&self, flags: &[&str]) -> Output {
        self.run(&[&["--closed", "--seconds", PATIENCE, "--answers", "400"], flags].concat())
    }

    /// Load that is said otherwise how long it is.
    pub fn run(&self, flags: &[&str]) -> Output {
        let pid = self.process.id().to_string();
        Command::new(ZEROBENCH)
            .args(["run", "--url", &self.url, "--pid", &pid, "--silence", PATIENCE])
            .args(["--warm-up", "0.1", "--connections", "8"])
            .args(flags)
            .env_remove("ZEROBENCH_ACCESS_KEY")
            .env_remove("ZEROBENCH_SECRET_KEY")
            .output()
            .expect("runs")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // A test may have ended it already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
