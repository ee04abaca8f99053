//! `zerobench` as a user calls it: two echoes as peers, their reports, and a server that goes away.
//! Nothing here says how fast anything is. Invariant: every server that a test starts is ended by its process id.

mod common;

use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use common::{Echo, PATIENCE, ZEROBENCH};
use serde_json::Value;

/// The echo as a peer of a comparison.
fn peer(echo: &Echo, name: &str) -> String {
    format!("{name}={},pid={},version=1,secret=hidden,key=known", echo.url, echo.process.id())
}

fn end(echo: &mut Echo) {
    echo.process.kill().expect("it is ours");
    echo.process.wait().expect("it is our child");
}

/// A directory of one test, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("the directory can be made");
        Scratch(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path is UTF-8").to_owned()
    }

    fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.path(name)).expect("the report was written");
        serde_json::from_str(&text).expect("the report is JSON")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("its output is a pipe")).lines()
}

fn zerobench(arguments: &[&str]) -> Output {
    Command::new(ZEROBENCH).args(arguments).output().expect("zerobench runs")
}

/// Closed, so that a machine with other work leaves nothing unsent; without waiting for other programs' writes.
const GENTLE: [&str; 8] =
    ["--closed", "--connections", "4", "--warm-up", "0.1", "--silence", PATIENCE, "--settle=0"];

/// Runs that may be spoilt by a machine that stands still.
const ATTEMPTS_MAX: usize = 10;
/// How long a turn is that ends by its answers.
const TURN: [&str; 4] = ["--seconds", PATIENCE, "--answers", "2000"];

fn report_words(arguments: &[&str]) -> String {
    let output = zerobench(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("words are UTF-8")
}

#[test]
fn two_servers_are_compared_and_the_report_serves_for_all_that_follows() {
    let (alpha, beta) = (Echo::start(&[]), Echo::start(&[]));
    let scratch = Scratch::new("two");
    let (json, html) = (scratch.path("report.json"), scratch.path("report.html"));
    let (first, second) = (peer(&alpha, "alpha"), peer(&beta, "beta"));
    let mut arguments = vec!["compare", "--peer", &first, "--peer", &second, "--rounds", "3"];
    arguments.extend(["--json", &json, "--html", &html, "--not-run", "gamma=it is away"]);
    arguments.extend(TURN);
    arguments.extend(GENTLE);
    arguments.push("echo");
    let output = zerobench(&arguments);
    assert!(output.status.success(), "{output:?}");

    let report = scratch.json("report.json");
    assert!(report["version"] == 1 && report["ended_early"].is_null(), "{report}");
    let command = report["command"].as_str().expect("it has a command");
    assert!(command.contains("secret=***") && !command.contains("hidden"), "{command}");
    let peers = report["peers"].as_array().expect("it has peers");
    assert_eq!(peers.iter().map(|peer| &peer["name"]).collect::<Vec<_>>(), ["alpha", "beta", "gamma"]);
    for peer in &peers[..2] {
        assert!(peer["void"].is_null() && peer["summary"]["error_count"] == 0, "{peer}");
        assert_eq!(peer["rounds"].as_array().map(Vec::len), Some(3));
        assert_eq!(peer["summary"]["ratio"].as_array().map(Vec::len), Some(3));
        assert!(peer["rounds"].as_array().expect("rounds").iter().all(|round| round["cpu_us"].is_f64()));
        assert!(peer["curve"].as_array().is_some_and(|curve| curve.len() > 10));
    }
    let page = std::fs::read_to_string(&html).expect("the page was written");
    assert!(page.contains("<svg") && page.contains("gamma was not run: it is away"));

    let against_itself = report_words(&["report", &json, &json]);
    assert!(against_itself.lines().all(|line| line.ends_with("same") || line.starts_with("note:")));
    assert_eq!(against_itself.matches("same").count(), 14, "{against_itself}");
    assert!(report_words(&["report", &json, "--markdown"]).starts_with("|  | version |"));
    let again = scratch.path("again.html");
    report_words(&["report", &json, "--html", &again]);
    assert_eq!(std::fs::read_to_string(again).expect("the page was written"), page);
}

#[test]
fn limits_that_were_measured_give_a_share_on_the_same_machine_alone() {
    let echo = Echo::start(&[]);
    let scratch = Scratch::new("limits");
    let (stored, json) = (scratch.path("limits.json"), scratch.path("report.json"));
    let words = report_words(&["limit", "memory", "--seconds", "0.1", "--turns", "1", "--json", &stored]);
    assert!(words.contains("memcpy, 256 MiB") && words.contains("GB/s"), "{words}");
    let mut limits = scratch.json("limits.json");
    assert!(limits["limits"][0]["value"].as_f64() > Some(0.0), "{limits}");
    let bare = serde_json::json!({"name": "bare echo on the ring", "value": 1e6, "unit": "requests/s"});
    limits["limits"].as_array_mut().expect("they are a list").push(bare);
    let first = peer(&echo, "alpha");
    let compare = |limits: &Value| {
        std::fs::write(&stored, limits.to_string()).expect("it can be written");
        let mut arguments = vec!["compare", "--peer", &first, "--rounds", "1"];
        arguments.extend(TURN);
        arguments.extend(["--limits", &stored, "--json", &json]);
        arguments.extend(GENTLE);
        arguments.push("echo");
        zerobench(&arguments)
    };
    let output = compare(&limits);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("words are UTF-8");
    assert!(said.contains("The limit is the bare echo on the ring: 1,000,000 requests/s."), "{said}");
    let summary = &scratch.json("report.json")["peers"][0]["summary"];
    assert_eq!(summary["limit_rate"], 1e6, "{summary}");
    assert!(summary["limit_share"].as_f64().is_some_and(|share| share > 0.0 && share < 1.0), "{summary}");

    limits["machine"]["processor"] = "another".into();
    let output = compare(&limits);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another machine"), "{output:?}");
}

#[test]
fn a_server_that_goes_away_leaves_a_report_of_what_was_measured() {
    let (alpha, mut beta) = (Echo::start(&[]), Echo::start(&[]));
    let scratch = Scratch::new("gone");
    let (json, html) = (scratch.path("report.json"), scratch.path("report.html"));
    let mut child = Command::new(ZEROBENCH)
        .args(["compare", "--peer", &peer(&alpha, "alpha"), "--peer", &peer(&beta, "beta"), "--rounds", "1"])
        // By the clock: the second server's turn must not be over when it ends.
        .args(["--seconds", "20", "--json", &json, "--html", &html])
        .args(GENTLE)
        .arg("echo")
        .stdout(Stdio::piped())
        .spawn()
        .expect("zerobench runs");
    let named = format!("beta {} (pid {}) ended ", beta.address(), beta.process.id());
    let mut output = lines(&mut child);
    assert!(output.any(|line| line.is_ok_and(|line| line.starts_with("round 1 of 1, alpha"))));
    // Its turn has begun by then, or is about to: either way it is seen.
    std::thread::sleep(Duration::from_secs(1));
    end(&mut beta);
    output.for_each(drop);
    assert_eq!(child.wait().expect("it ends").code(), Some(3));

    let report = scratch.json("report.json");
    let words = report["ended_early"].as_str().expect("it says why");
    assert!(words.starts_with(&named), "{words}");
    let (alpha, beta) = (&report["peers"][0], &report["peers"][1]);
    assert!(alpha["void"].is_null() && alpha["rounds"][0]["good_count"].as_u64() > Some(0), "{alpha}");
    assert!(beta["void"].is_string() && beta["summary"]["ratio"].is_null(), "{beta}");
    let page = std::fs::read_to_string(&html).expect("the page was written");
    assert!(page.contains("This run ended early: beta"));
}

#[test]
fn one_of_several_that_goes_away_is_left_out_and_the_others_go_on() {
    // Where this test itself stands still for a turn, the server goes away in its next one or behind it: once more, then.
    let found = (0..ATTEMPTS_MAX).find_map(|_| left_out_between_turns());
    let report = found.expect("it went away too late in every run, or not between two turns");
    assert!(report["ended_early"].is_null(), "{}", report["ended_early"]);
    let rounds = |peer: usize| report["peers"][peer]["rounds"].as_array().map(Vec::len);
    assert_eq!((rounds(0), rounds(1), rounds(2)), (Some(2), Some(1), Some(2)));
    assert_eq!(report["peers"][2]["summary"]["ratio"].as_array().map(Vec::len), Some(2));
}

/// The report of a comparison whose second server goes away behind its first turn. None: that was too late.
fn left_out_between_turns() -> Option<Value> {
    let (alpha, mut beta, gamma) = (Echo::start(&[]), Echo::start(&[]), Echo::start(&[]));
    let scratch = Scratch::new("left-out");
    let json = scratch.path("report.json");
    let mut child = Command::new(ZEROBENCH)
        .args(["compare", "--peer", &peer(&alpha, "alpha"), "--peer", &peer(&beta, "beta")])
        .args(["--peer", &peer(&gamma, "gamma"), "--rounds", "2", "--seconds", "6", "--json", &json])
        .args(GENTLE)
        .arg("echo")
        .stdout(Stdio::piped())
        .spawn()
        .expect("zerobench runs");
    let mut output = lines(&mut child);
    assert!(output.any(|line| line.is_ok_and(|line| line.starts_with("round 1 of 2, beta"))));
    end(&mut beta);
    let said: Vec<String> = output.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("beta is left out from here on: beta ")), "{said:?}");
    let report = scratch.json("report.json");
    let beta = &report["peers"][1];
    let is_between = beta["void"].as_str().is_some_and(|words| words.contains("between turns"));
    let has_one = beta["rounds"].as_array().is_some_and(|rounds| rounds.len() == 1);
    (is_between && has_one).then_some(report)
}

#[test]
fn a_single_run_writes_the_same_report_with_one_peer() {
    let echo = Echo::start(&[]);
    let scratch = Scratch::new("single");
    let (json, html) = (scratch.path("report.json"), scratch.path("report.html"));
    let pid = echo.process.id().to_string();
    let mut arguments = vec!["run", "--url", &echo.url, "--pid", &pid, "--json", &json, "--html", &html];
    arguments.extend(TURN);
    arguments.extend(&GENTLE[..7]);
    arguments.push("echo");
    let output = zerobench(&arguments);
    assert!(output.status.success(), "{output:?}");
    let report = scratch.json("report.json");
    assert_eq!(report["peers"].as_array().map(Vec::len), Some(1));
    assert!(report["peers"][0]["rounds"][0]["good_count"].as_u64() > Some(0));
    assert!(std::fs::read_to_string(html).expect("the page was written").contains("<svg"));
}
