//! Servers that `zerobench compare` starts by a script like those of `peers/`: they answer, and they are gone afterwards,
//! however the comparison ends. The script starts the echo. Invariant: nothing here says how fast anything is.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{PATIENCE, ZEROBENCH};

/// Starts the echo. No test writes it: who is starting a process at that moment would pass on a descriptor that writes to it, and
/// until that process runs its own program nobody can run the script.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers.sh");

/// A directory of one test with a place for data, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-{test}-{}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(path.join("data")).expect("a directory");
        Scratch(path)
    }

    /// The arguments of a comparison of the echo in `mode` with itself.
    fn compare(&self, modes: [&str; 2], more: &[&str]) -> Command {
        let mut command = Command::new(ZEROBENCH);
        command.arg("compare").arg("--data").arg(self.0.join("data"));
        for (name, mode) in ["first", "second"].iter().zip(modes) {
            command.args(["--peer", &format!("{name}=script:{SCRIPT}:{mode}")]);
        }
        command.args(["--closed", "--connections", "2", "--warm-up", "0.1", "--settle", "0"]);
        command.args(["--silence", PATIENCE]).args(more);
        command
            .env("PEERS_COMMON", Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/common.sh"))
            .env("BENCH_PEERS", self.0.join("installed"))
            .env("ECHO", ZEROBENCH)
            .env("STARTED", self.0.join("started"));
        command
    }

    /// The processes that scripts started, by what they wrote down.
    fn started(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.0.join("started")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a process id")).collect()
    }

    /// Of the first server, once the script says that it is there.
    fn first_pid(&self, comparison: &mut Child) -> u32 {
        loop {
            if let Some(pid) = self.started().first() {
                return *pid;
            }
            assert!(comparison.try_wait().expect("our child").is_none(), "it ended without a server");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether a process is there and no zombie: what is left of a server of a script is reaped by whoever took it in.
fn runs(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn nothing_is_left(scratch: &Scratch, count: usize) {
    let started = scratch.started();
    assert_eq!(started.len(), count);
    assert!(started.iter().all(|pid| !runs(*pid)), "{started:?}");
    let data: Vec<_> = fs::read_dir(scratch.0.join("data")).expect("readable").collect();
    assert!(data.is_empty(), "{data:?}");
}

#[test]
fn servers_of_a_script_are_compared_and_gone_afterwards() {
    let scratch = Scratch::new("good");
    let more = ["--rounds", "1", "--seconds", PATIENCE, "--answers", "400", "echo"];
    let output = scratch.compare(["good", "good"], &more).output().expect("runs");
    let words = words(&output);
    assert!(output.status.success(), "{words}");
    let rows: Vec<&str> =
        words.lines().filter(|line| line.contains(" 7 ") && line.contains("good")).collect();
    assert_eq!(rows.len(), 2, "{words}");
    nothing_is_left(&scratch, 2);
}

#[test]
fn a_server_that_cannot_be_had_is_named_and_one_that_fails_ends_it() {
    let scratch = Scratch::new("away");
    let more = ["--rounds", "1", "--seconds", PATIENCE, "--answers", "400", "echo"];
    let output = scratch.compare(["good", "away"], &more).output().expect("runs");
    let said = words(&output);
    assert!(output.status.success() && said.contains("second was not run: it is away"), "{said}");
    nothing_is_left(&scratch, 1);
    let output = scratch.compare(["good", "broken"], &more).output().expect("runs");
    let said = words(&output);
    assert!(output.status.code() == Some(2) && said.contains("peers.sh start broken"), "{said}");
    nothing_is_left(&scratch, 3);
}

#[test]
fn an_interrupt_ends_the_servers_too() {
    let scratch = Scratch::new("interrupt");
    let mut command = scratch.compare(["good", "good"], &["--rounds", "9", "--seconds", "30", "echo"]);
    let mut comparison = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    scratch.first_pid(&mut comparison);
    let pid = comparison.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("runs").success());
    let output = comparison.wait_with_output().expect("ends");
    assert!(matches!(output.status.code(), Some(2 | 3)), "{}", words(&output));
    let count = scratch.started().len();
    nothing_is_left(&scratch, count);
}

#[test]
fn what_a_killed_comparison_left_is_ended_by_the_next_one() {
    let scratch = Scratch::new("killed");
    let mut command = scratch.compare(["good", "away"], &["--rounds", "9", "--seconds", "30", "echo"]);
    let mut comparison = command.stdout(Stdio::piped()).spawn().expect("starts");
    scratch.first_pid(&mut comparison);
    comparison.kill().expect("ours");
    comparison.wait().expect("our child");
    let more = ["--rounds", "1", "--seconds", PATIENCE, "--answers", "400", "echo"];
    let output = scratch.compare(["good", "away"], &more).output().expect("runs");
    assert!(output.status.success(), "{}", words(&output));
    nothing_is_left(&scratch, 2);
}
