//! What the generator says of a server that stands still, goes away or refuses.
//! Invariant: nothing here depends on how fast the machine is: a stall is compared with the run that it is in.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Echo, PATIENCE, ZEROBENCH};

/// Runs that may be spoilt by a machine that stands still.
const ATTEMPTS_MAX: usize = 10;

/// What is asked of an echo besides running.
trait Trouble {
    fn signal(&self, name: &str);
    fn open_files(&self) -> usize;
    fn begin_load(&self, arguments: &[&str]) -> Child;
    fn cpu_ticks(&self) -> u64;
}

impl Trouble for Echo {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("it runs").count()
    }

    /// CPU time that it took so far, in hundredths of a second.
    fn cpu_ticks(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let (_, fields) = text.rsplit_once(") ").expect("a name in brackets");
        // proc_pid_stat(5): utime and stime are the 14th and 15th field, and these begin with the third.
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// A load whose connections are made: the machine may be slow to start it. Where this test stands still for longer than the
    /// load takes, it has ended and closed them before they are seen.
    fn begin_load(&self, arguments: &[&str]) -> Child {
        let before = self.open_files();
        let mut load = Command::new(ZEROBENCH)
            .args(["run", "--url", &self.url, "--pid", &self.process.id().to_string(), "--connections", "8"])
            .args(arguments)
            .arg("echo")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        while self.open_files() < before + 8 && load.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        load
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A quantile of a printed line, in microseconds.
fn quantile(text: &str, line: &str, name: &str) -> f64 {
    let line = text.lines().find(|found| found.trim_start().starts_with(line)).expect("the line is there");
    let rest = &line[line.find(&format!("{name} ")).expect("the quantile is there") + name.len() + 1..];
    let digits: String = rest.chars().take_while(|letter| letter.is_ascii_digit()).collect();
    digits.parse().expect("a number")
}

#[test]
fn a_stall_shows_in_latencies_from_the_intended_time() {
    // Where this test itself stands still, the stall may come when the run is over, and has no place in it: once more, then.
    let found = (0..ATTEMPTS_MAX).find_map(|_| stalled_run());
    let output = found.expect("the machine stands still in every run");
    let text = text(&output);
    // A machine too slow for 500 requests a second says so; the stall shows all the same.
    assert!(output.status.success() || text.contains("VOID: overloaded"), "{text}");
    let (latency, service) = (quantile(&text, "latency", "p90"), quantile(&text, "service", "p90"));
    // A third of the requests were due in the stall; eight of them were in flight.
    assert!(latency > 300_000.0 && latency > 2.0 * service, "{text}");
}

/// What a load says in which the echo stood still for a third of the time. None: that may have ended too late.
fn stalled_run() -> Option<Output> {
    const SECONDS: u64 = 12;
    let echo = Echo::start(&["--bare"]);
    let begun = Instant::now();
    let seconds = SECONDS.to_string();
    let load =
        echo.begin_load(&["--rate", "500", "--warm-up", "0.5", "--seconds", &seconds, "--silence", PATIENCE]);
    std::thread::sleep(Duration::from_secs(1));
    echo.signal("STOP");
    std::thread::sleep(Duration::from_secs(4));
    echo.signal("CONT");
    let is_within = begun.elapsed() < Duration::from_secs(SECONDS);
    let output = load.wait_with_output().expect("ends");
    is_within.then_some(output)
}

#[test]
fn a_server_that_ends_ends_the_run_with_a_sentence_and_what_there_is() {
    let echo = Echo::start(&["--bare"]);
    let load = echo.begin_load(&["--closed", "--warm-up", "0", "--seconds", PATIENCE, "--silence", PATIENCE]);
    let begun = echo.cpu_ticks();
    // A closed loop: the echo is only kept busy by a load that takes its answers.
    while echo.cpu_ticks() < begun + 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    echo.signal("KILL");
    let output = load.wait_with_output().expect("ends");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let ended = format!("server {} (pid {}) ended after ", echo.address(), echo.process.id());
    assert!(text.contains(&ended) && text.contains(" answers were good"), "{text}");
    assert!(quantile(&text, "latency", "p50") > 0.0, "{text}");
}

#[test]
fn a_server_that_stands_still_for_good_is_given_up() {
    let echo = Echo::start(&["--bare"]);
    let load = echo.begin_load(&["--rate", "500", "--warm-up", "0", "--seconds", PATIENCE, "--silence", "2"]);
    std::thread::sleep(Duration::from_millis(500));
    echo.signal("STOP");
    let output = load.wait_with_output().expect("ends");
    echo.signal("CONT");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let given_up = format!("(pid {}) answered nothing good for ", echo.process.id());
    assert!(text.contains(&given_up), "{text}");
}

#[test]
fn nobody_there_is_a_clear_error() {
    let output = Command::new(ZEROBENCH)
        .args(["run", "--url", "http://127.0.0.1:1", "--seconds", "1", "echo"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("takes no connection"), "{}", text(&output));
}

/// A server that gives `answer` of each request, none of which has a body. It ends with the test's process.
fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.expect("comes"), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let request = String::from_utf8_lossy(&buffer[..count]);
                    if stream.write_all(answer(&request).as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// A short load by one connection on a server that is no process of its own.
fn load(url: &str, arguments: &[&str]) -> Output {
    Command::new(ZEROBENCH)
        .args(["run", "--url", url, "--closed", "--connections", "1", "--warm-up", "0", "--answers", "50"])
        .args(["--seconds", PATIENCE, "--silence", PATIENCE])
        .args(arguments)
        .env_remove("ZEROBENCH_ACCESS_KEY")
        .env_remove("ZEROBENCH_SECRET_KEY")
        .output()
        .expect("runs")
}

#[test]
fn a_path_that_is_not_there_voids_the_run() {
    let url = serve(|_| "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope".to_owned());
    let output = load(&url, &["echo"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("VOID") && text(&output).contains("nope"), "{}", text(&output));
}

#[test]
fn listings_that_turn_empty_are_no_good_answers() {
    let listings = AtomicUsize::new(0);
    let url = serve(move |request| {
        // What fills the server looks at the first listing as a whole.
        let is_first = request.starts_with("GET") && listings.fetch_add(1, Ordering::SeqCst) == 0;
        let body = if is_first { "<Key>0/0000000000</Key>" } else { "" };
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let output = load(&url, &["list", "--keys", "1", "--value-bytes", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("a body of 0 bytes instead of 23 or more"), "{}", text(&output));
}
