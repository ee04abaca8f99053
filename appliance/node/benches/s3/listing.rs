//! A bucket of a million keys: its first page, and the first requests after the page cache was lost.

use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http_types::Method;

use crate::Settings;
use crate::load::{self, Job, Outcome, Shape};
use crate::process::{Process, Scratch};
use crate::sign::{Signer, UNSIGNED};

const PAGES: usize = 500;
/// The goal for the first page.
const P99_MS_MAX: f64 = 10.0;
/// Requests of one cold measurement.
const COLD_COUNT: usize = 2_000;
const BODY_BYTES: usize = 100;
/// A signature is good for 15 minutes; filling may take longer.
const KEYS_PER_SIGNER: usize = 100_000;

/// Fills the bucket once and prints what was asked for.
pub fn run(settings: &Settings, reactor: &mut ring::Reactor, lists: bool, cold: bool) {
    let scratch = Scratch::new(&settings.directory, "list");
    let data = scratch.0.join("data");
    let node = Process::node(&data);
    let started = Instant::now();
    fill(reactor, &node, &data, settings.key_count);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "\n{} keys of {BODY_BYTES} B made in {seconds:.1} s, {:.0} PUT/s with folding; server memory {} MiB",
        settings.key_count,
        settings.key_count as f64 / seconds,
        node.resident_bytes() >> 20
    );
    if lists {
        list(reactor, &node, &data);
    }
    if !cold {
        return;
    }
    node.stop();
    for (what, count) in [("GET", COLD_COUNT), ("PUT", COLD_COUNT), ("list", 1)] {
        for shape in [Shape::SINGLE, Shape::HTTP1] {
            // One list is one list, whatever the connections.
            if what == "list" && shape.connections > 1 {
                continue;
            }
            let is_cold = drop_page_cache();
            let started = Instant::now();
            let node = Process::node(&data);
            let start_ms = started.elapsed().as_secs_f64() * 1e3;
            let signer = Signer::new(node.address, &data);
            let jobs = (0..count.min(settings.key_count)).map(|index| job(&signer, what, index, settings));
            let outcome = reactor.block_on(load::run(&node, shape, load::once(jobs.collect())));
            println!(
                "{} index, ready after {start_ms:.0} ms, {what:4} {:12}: {:.0}/s, {}, slowest {:.2} ms",
                if is_cold { "cold" } else { "WARM (no right to drop the page cache)" },
                shape.name(),
                outcome.rate(),
                outcome.latency(),
                f64::from(outcome.latency_us(1.0)) / 1e3,
            );
            node.stop();
        }
    }
}

fn job(signer: &Signer, what: &str, index: usize, settings: &Settings) -> Job {
    let body = Bytes::from(vec![b'c'; BODY_BYTES]);
    match what {
        "GET" => Job::get(signer.get(&path(scatter(index) as usize % settings.key_count)), BODY_BYTES),
        "PUT" => {
            let request = signer.put(&format!("/list/new/{:016x}", scatter(index)), &body);
            Job { request: Rc::new(request), body, reply_bytes: Some(0) }
        }
        _ => first_page(signer, ""),
    }
}

fn list(reactor: &mut ring::Reactor, node: &Process, data: &std::path::Path) {
    let signer = Signer::new(node.address, data);
    println!("first page of 1000, one client, {PAGES} times (goal: p99 below {P99_MS_MAX} ms)");
    for (name, more) in [("plain", ""), ("by delimiter", "delimiter=%2F&")] {
        let jobs = (0..PAGES).map(|_| first_page(&signer, more)).collect();
        let outcome = reactor.block_on(load::run(node, Shape::SINGLE, load::once(jobs)));
        let is_met = f64::from(outcome.latency_us(0.99)) / 1e3 < P99_MS_MAX;
        println!("{name:13} {} ({})", describe(&outcome), if is_met { "met" } else { "NOT met" });
    }
}

fn describe(outcome: &Outcome) -> String {
    format!("{}, server CPU {:.2} ms", outcome.latency(), outcome.cpu_us() / 1e3)
}

fn first_page(signer: &Signer, more: &str) -> Job {
    let query = format!("{more}list-type=2&max-keys=1000");
    Job { reply_bytes: None, ..Job::get(signer.sign(Method::GET, "/list", &query, UNSIGNED), 0) }
}

fn fill(reactor: &mut ring::Reactor, node: &Process, data: &std::path::Path, key_count: usize) {
    let signer = Signer::new(node.address, data);
    let bucket = Job { reply_bytes: None, ..Job::get(signer.put("/list", b""), 0) };
    reactor.block_on(load::run(node, Shape::SINGLE, load::once(vec![bucket])));
    let body = Bytes::from(vec![b'l'; BODY_BYTES]);
    let digest = aws::encoding::hex(&hash::sha256(&body));
    for first in (0..key_count).step_by(KEYS_PER_SIGNER) {
        let signer = Signer::new(node.address, data);
        let (body, digest) = (body.clone(), digest.clone());
        let mut indexes = first..key_count.min(first + KEYS_PER_SIGNER);
        let next = move || {
            let request = signer.sign(Method::PUT, &path(indexes.next()?), "", &digest);
            Some(Job { request: Rc::new(request), body: body.clone(), reply_bytes: Some(0) })
        };
        reactor.block_on(load::run(node, Shape::HTTP2, next));
    }
}

/// A thousand directories, so that a listing by delimiter has a full page of them.
fn path(index: usize) -> String {
    format!("/list/{:03}/{:08}", index % 1000, index)
}

fn scatter(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// Writes dirty pages back and drops the clean ones; false without the right to.
fn drop_page_cache() -> bool {
    rustix::fs::sync();
    let opened = std::fs::OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches");
    opened.is_ok_and(|mut file| file.write_all(b"3").is_ok())
}
