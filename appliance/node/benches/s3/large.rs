//! Objects of 64 MiB, up and down by 8 clients, against the lowest of what disk, MD5 and loopback can do.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::client::{Client, Protocol, RequestTo};
use http_types::{Method, StatusCode};

use crate::load::{self, Job, Shape};
use crate::process::{Process, Scratch};
use crate::sign::{Signer, UNSIGNED};
use crate::{Settings, hot, limits, median};

const BODY_BYTES: usize = 64 << 20;
const CLIENT_COUNT: usize = 8;
/// The goal: at least this share of the lowest limit.
const SHARE_MIN: f64 = 0.8;

/// Prints both directions.
pub fn run(settings: &Settings, reactor: &mut ring::Reactor) {
    println!(
        "\n64 MiB objects, {CLIENT_COUNT} clients, GB/s (goal: at least {SHARE_MIN} of the lowest limit)"
    );
    let scratch = Scratch::new(&settings.directory, "large");
    let data = scratch.0.join("data");
    let node = Process::node(&data);
    let echo = Process::echo();
    let signer = Signer::new(node.address, &data);
    let bucket = Job { reply_bytes: None, ..Job::get(signer.put("/large", b""), 0) };
    reactor.block_on(load::run(&node, Shape::SINGLE, load::once(vec![bucket])));
    let body: Bytes = (0..BODY_BYTES / 8).flat_map(|index| (index as u64).to_le_bytes()).collect();
    let count = settings.large_count;
    let put = |client: usize| signer.sign(Method::PUT, &format!("/large/{client}"), "", UNSIGNED);
    let sink = |_: usize| (*hot::echo_job(&echo, Method::PUT, "/sink", 0).request).clone();
    let get = |client: usize| signer.get(&format!("/large/{client}"));
    let static_target = format!("/static/{BODY_BYTES}");
    let given = |_: usize| (*hot::echo_job(&echo, Method::GET, &static_target, 0).request).clone();
    let mut rows = Vec::new();
    for _ in 0..settings.rounds {
        rows.push([
            limits::write_files(reactor, &scratch.0, CLIENT_COUNT, BODY_BYTES),
            limits::md5_lanes(CLIENT_COUNT, BODY_BYTES),
            reactor.block_on(transfer(&echo, sink, &body, count)),
            reactor.block_on(transfer(&node, put, &body, count)),
            limits::read_files(reactor, &scratch.0, CLIENT_COUNT, BODY_BYTES),
            reactor.block_on(transfer(&echo, given, &Bytes::new(), count)),
            reactor.block_on(transfer(&node, get, &Bytes::new(), count)),
        ]);
        limits::remove_files(&scratch.0, CLIENT_COUNT);
    }
    let middle = |index: usize| median(&rows.iter().map(|row| row[index]).collect::<Vec<f64>>()) / 1e9;
    let verdict = |share: f64| if share >= SHARE_MIN { "met" } else { "NOT met" };
    let report = |name: &str, rate: f64, limits: &[(&str, f64)]| {
        let (lowest, limit) =
            limits.iter().min_by(|one, other| one.1.total_cmp(&other.1)).expect("there are limits");
        let listed: Vec<String> = limits.iter().map(|(name, limit)| format!("{name} {limit:.2}")).collect();
        let share = rate / limit;
        println!(
            "{name} {rate:.2}; {}: {share:.2} of the lowest, {lowest} ({})",
            listed.join(", "),
            verdict(share)
        );
    };
    report("PUT", middle(3), &[("disk", middle(0)), ("MD5 lanes", middle(1)), ("loopback", middle(2))]);
    report("GET", middle(6), &[("disk", middle(4)), ("loopback", middle(5))]);
    println!("server memory afterwards: {} MiB", node.resident_bytes() >> 20);
    match limits::fio(&scratch.0, CLIENT_COUNT, BODY_BYTES) {
        Some(fio) => println!(
            "cross-check, the same files: fio with {} pages writes {:.2}, ours {:.2} ({:+.0} %); fio reads {:.2}, ours {:.2} ({:+.0} %)",
            if fio.large_pages { "large" } else { "small" },
            fio.write / 1e9,
            middle(0),
            (middle(0) * 1e9 / fio.write - 1.0) * 100.0,
            fio.read / 1e9,
            middle(4),
            (middle(4) * 1e9 / fio.read - 1.0) * 100.0
        ),
        None => println!("fio is not installed: the disk is not cross-checked"),
    }
}

/// Each client moves `count` objects: body bytes per second of all together.
async fn transfer(server: &Process, request: impl Fn(usize) -> RequestTo, body: &Bytes, count: usize) -> f64 {
    let before = server.cpu();
    let started = Instant::now();
    let tasks: Vec<_> = (0..CLIENT_COUNT)
        .map(|index| {
            let client = Client::new(server.address, Protocol::Http1);
            let (request, body) = (Rc::new(request(index)), body.clone());
            ring::spawn(async move {
                for _ in 0..count {
                    move_one(&client, &request, body.clone()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let bytes = (CLIENT_COUNT * count * BODY_BYTES) as f64;
    if std::env::var_os("BENCH_VERBOSE").is_some() {
        let cpu = server.cpu().since(before);
        println!(
            "  {:.2} GB/s, server {:.0} % busy, user {:.3} and system {:.3} s/GB",
            bytes / elapsed / 1e9,
            cpu.total().as_secs_f64() / elapsed * 100.0,
            cpu.user.as_secs_f64() / bytes * 1e9,
            cpu.system.as_secs_f64() / bytes * 1e9
        );
    }
    bytes / elapsed
}

async fn move_one(client: &Client, request: &RequestTo, body: Bytes) {
    let expected = if body.is_empty() { BODY_BYTES } else { 0 };
    let call = client.start(request, Some(body.len() as u64)).await.unwrap();
    if !body.is_empty() {
        call.write(body).await.unwrap();
    }
    call.finish().await.unwrap();
    let head = call.response().await.unwrap();
    let mut received = 0;
    while let Some(piece) = call.next().await {
        received += piece.unwrap().len();
    }
    assert!(head.status == StatusCode::OK && received == expected, "{}, {received} bytes", head.status);
}
