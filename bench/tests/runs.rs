//! The command as it is used: real processes, a short load on the echo, and what is printed about it.
//! Invariant: nothing here depends on how fast the machine is; an open loop that a busy machine did not keep is still one.

mod common;

use std::process::Output;

use common::{Echo, PATIENCE};

/// Seconds of an open loop, which ends by the clock: no machine stands still for so long.
const OPEN: &str = "8";

/// What a run printed.
struct Printed {
    title: String,
    rate: f64,
    counted: u64,
    /// Of latency: five figures, from p50 to max.
    latency_us: Vec<f64>,
    void: Option<String>,
}

impl Printed {
    fn parse(output: &Output) -> Printed {
        let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
        let line = |mark: &str| {
            let found = text.lines().find(|line| line.contains(mark));
            found.unwrap_or_else(|| panic!("no line with {mark:?} in:\n{text}")).trim().to_owned()
        };
        let counts = line(" counted");
        let (rate, counted) = counts.split_once(" requests/s, ").expect("two figures");
        let latency = line("latency: p50 ");
        assert!(line("server: ").contains("us CPU a request") && line("load: ").contains("% of its cores"));
        Printed {
            title: text.lines().next().expect("a title").to_owned(),
            rate: rate.parse().expect("a rate"),
            counted: counted.strip_suffix(" counted").and_then(|count| count.parse().ok()).expect("a count"),
            latency_us: latency
                .split([' ', ','])
                .filter(|word| !word.starts_with('p'))
                .filter_map(|word| word.parse().ok())
                .collect(),
            void: text.lines().find_map(|line| line.strip_prefix("VOID: ")).map(str::to_owned),
        }
    }

    fn assert_sound(&self) {
        assert!(self.rate > 0.0 && self.counted > 0);
        assert_eq!(self.latency_us.len(), 5, "{:?}", self.latency_us);
        assert!(self.latency_us.is_sorted(), "{:?}", self.latency_us);
    }
}

#[test]
fn the_answer_of_a_get_item_is_long_enough_for_its_own_size_only() {
    let echo = Echo::start(&["--item-bytes", "100"]);
    let load = |size: &str| echo.load(&["ddb-get", "--keys", "100", "--value-bytes", size]);
    let good = load("100");
    let printed = Printed::parse(&good);
    printed.assert_sound();
    assert!(printed.title.starts_with("DynamoDB GetItem of 100 B, 100 keys, uniform"), "{}", printed.title);
    assert_eq!((printed.void, good.status.code()), (None, Some(0)));
    // The envelope is counted too, so the answer is somewhat longer than its item.
    let other = load("200");
    assert!(Printed::parse(&other).void.is_some_and(|words| words.contains("instead of 200 or more")));
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn a_closed_loop_on_either_echo_counts_good_answers_only() {
    for flags in [[].as_slice(), &["--bare"]] {
        let echo = Echo::start(flags);
        let output = echo.load(&["echo"]);
        let printed = Printed::parse(&output);
        printed.assert_sound();
        assert!(printed.title.starts_with("HTTP echo, GET /, closed loop, 8 connections"));
        assert_eq!((printed.void, output.status.code()), (None, Some(0)));
    }
}

#[test]
fn an_open_loop_sends_what_its_schedule_holds_and_no_more() {
    let echo = Echo::start(&[]);
    for arrivals in [[].as_slice(), &["--poisson"]] {
        let output = echo.run(&[["echo", "--rate", "20", "--seconds", OPEN].as_slice(), arrivals].concat());
        let printed = Printed::parse(&output);
        printed.assert_sound();
        assert!(printed.title.contains("open loop, 20 requests/s"), "{}", printed.title);
        // Poisson arrivals may be more by chance, twice as many are not.
        let most = if arrivals.is_empty() { 161 } else { 320 };
        assert!(printed.counted <= most, "{}", printed.counted);
        assert!(printed.void.is_none_or(|words| words.starts_with("overloaded")));
    }
}

#[test]
fn answers_of_the_wrong_length_make_a_run_void() {
    let echo = Echo::start(&[]);
    // The echo says 200 with 128 bytes to everything, which is no answer to PutObject.
    let output = echo.load(&["put"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("VOID: ") && text.contains("a body of 128 bytes instead of 0"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_cache_that_gives_other_bytes_than_were_put_makes_a_run_void() {
    // As many letters as were put, and other ones.
    let echo = Echo::start(&["--blob-bytes", "128"]);
    for more in [[].as_slice(), &["--streams", "2"]] {
        let asked = ["cache-get", "--keys", "10", "--value-bytes", "128"];
        let output = echo.load(&[asked.as_slice(), more].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let words = "a body of 128 bytes that are not those which were put there";
        assert!(text.contains("VOID: ") && text.contains(words), "{text}");
        assert_eq!(output.status.code(), Some(1));
        // Where nothing is compared, the same answers are good ones.
        let output = echo.load(&[asked.as_slice(), more, &["--cache-api", "echo"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_server_that_lists_nothing_of_what_was_put_is_not_measured() {
    let echo = Echo::start(&[]);
    let output = echo.load(&["get", "--keys", "10"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("a listing names 0 of 10 objects"), "{text}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn streams_of_http_2_share_connections_and_fail_none() {
    let echo = Echo::start(&[]);
    for pace in [
        ["--closed", "--answers", "400", "--seconds", PATIENCE].as_slice(),
        &["--rate", "20", "--seconds", OPEN],
    ] {
        let output = echo.run(&[["echo", "--streams", "4"].as_slice(), pace].concat());
        let printed = Printed::parse(&output);
        printed.assert_sound();
        assert!(printed.title.contains("8 connections of 4 HTTP/2 streams"), "{}", printed.title);
        assert!(printed.void.is_none_or(|words| words.starts_with("overloaded")));
    }
}
