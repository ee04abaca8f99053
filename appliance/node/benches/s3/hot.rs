//! Signed reads of 4 KiB objects that lie in memory, against an echo of the same 4 KiB.

use std::process::Command;
use std::rc::Rc;

use bytes::Bytes;
use http::client::RequestTo;
use http_types::{HeaderMap, Method};

use crate::load::{self, Job, Outcome, Shape};
use crate::process::{Process, Scratch};
use crate::sign::Signer;
use crate::{Settings, median};

const BODY_BYTES: usize = 4096;
const OBJECT_COUNT: usize = 256;
/// The goal: CPU time of a read at most this many times that of an echo.
const RATIO_MAX: f64 = 2.5;

/// Prints the comparison for both protocols.
pub fn run(settings: &Settings, reactor: &mut ring::Reactor) {
    println!("\nhot signed GET of 4 KiB: server CPU per request (goal: at most {RATIO_MAX} times the echo)");
    let scratch = Scratch::new(&settings.directory, "hot");
    let data = scratch.0.join("data");
    let node = Process::node(&data);
    let echo = Process::echo();
    let signer = Signer::new(node.address, &data);
    reactor.block_on(fill(&node, &signer));
    let reads: Vec<Job> =
        (0..OBJECT_COUNT).map(|index| Job::get(signer.get(&path(index)), BODY_BYTES)).collect();
    let reads = Rc::new(reads);
    let echoes = Rc::new(vec![echo_job(&echo, Method::PUT, "/echo", BODY_BYTES)]);
    let statics = Rc::new(vec![echo_job(&echo, Method::GET, "/static/4096", 0)]);
    for shape in [Shape::HTTP1, Shape::HTTP2] {
        let measure = |reactor: &mut ring::Reactor, server: &Process, jobs: &Rc<Vec<Job>>, seconds| {
            reactor.block_on(load::run(server, shape, load::cycle(jobs, seconds)))
        };
        for (server, jobs) in [(&echo, &echoes), (&node, &reads)] {
            measure(reactor, server, jobs, settings.seconds / 4.0);
        }
        let (mut of_echo, mut of_static, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let echoed = measure(reactor, &echo, &echoes, settings.seconds);
            let read = measure(reactor, &node, &reads, settings.seconds);
            let given = measure(reactor, &echo, &statics, settings.seconds);
            of_echo.push(read.cpu_us() / echoed.cpu_us());
            of_static.push(read.cpu_us() / given.cpu_us());
            costs.push([read.cpu_us(), read.user_us(), echoed.cpu_us(), given.cpu_us(), read.rate()]);
        }
        let middle = |index: usize| median(&costs.iter().map(|cost| cost[index]).collect::<Vec<f64>>());
        println!(
            "{:15} GET {:6.2} us (user {:5.2}), echo {:6.2} us, static {:6.2} us; {:.0} GET/s; \
             ratio to echo {:.2} {}, to static {:.2}",
            shape.name(),
            middle(0),
            middle(1),
            middle(2),
            middle(3),
            middle(4),
            median(&of_echo),
            if median(&of_echo) <= RATIO_MAX { "(met)" } else { "(NOT met)" },
            median(&of_static),
        );
    }
    let given = reactor.block_on(load::run(&echo, Shape::HTTP1, load::cycle(&statics, settings.seconds)));
    cross_check(settings, &echo, &given);
}

async fn fill(node: &Process, signer: &Signer) {
    let bucket = Job { reply_bytes: None, ..Job::get(signer.put("/hot", b""), 0) };
    load::run(node, Shape::SINGLE, load::once(vec![bucket])).await;
    let body = Bytes::from(vec![b'h'; BODY_BYTES]);
    let puts = (0..OBJECT_COUNT)
        .map(|index| Job {
            request: Rc::new(signer.put(&path(index), &body)),
            body: body.clone(),
            reply_bytes: None,
        })
        .collect();
    load::run(node, Shape::HTTP1, load::once(puts)).await;
}

fn path(index: usize) -> String {
    format!("/hot/object/{index:05}.bin")
}

/// A request to the echo, with as many header bytes as a signed one.
pub fn echo_job(echo: &Process, method: Method, target: &str, body_bytes: usize) -> Job {
    let mut headers = HeaderMap::new();
    let long = format!("AWS4-HMAC-SHA256 {}", "x".repeat(230));
    headers.insert("authorization", long.parse().unwrap());
    headers.insert("x-amz-content-sha256", "e".repeat(64).parse().unwrap());
    headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
    headers.insert("user-agent", "zerocloud-bench/1.0 ua/2.1 os/linux".parse().unwrap());
    headers.insert("accept-encoding", "identity".parse().unwrap());
    let request = RequestTo { method, target: target.into(), authority: echo.address.to_string(), headers };
    Job { request: Rc::new(request), body: vec![b'b'; body_bytes].into(), reply_bytes: None }
}

/// The same load on the echo by `wrk`, where that is installed, from the core of our own load.
fn cross_check(settings: &Settings, echo: &Process, ours: &Outcome) {
    let seconds = (settings.seconds.ceil() as u64).max(1);
    let before = echo.cpu();
    let url = format!("http://{}/static/4096", echo.address);
    let output = Command::new("wrk").args(["-t1", "-c64", &format!("-d{seconds}s"), &url]).output();
    let Ok(output) = output else {
        println!("wrk is not installed: the echo is not cross-checked");
        return;
    };
    let cpu = echo.cpu().since(before);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let Some(count) = count.and_then(|(count, _)| count.parse::<f64>().ok()) else {
        println!("wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        return;
    };
    let theirs_us = cpu.total().as_secs_f64() * 1e6 / count;
    println!(
        "cross-check, static 4 KiB over HTTP/1.1 x64: wrk {theirs_us:.2} us/request at {:.0}/s, our load {:.2} us \
         at {:.0}/s ({:+.0} % CPU)",
        count / seconds as f64,
        ours.cpu_us(),
        ours.rate(),
        (ours.cpu_us() / theirs_us - 1.0) * 100.0
    );
}
