//! Durable uploads of small objects under new keys, 64 at a time, against a bare log append of the same bytes.

use std::rc::Rc;

use bytes::Bytes;
use http_types::Method;

use crate::load::{self, Job, Shape};
use crate::process::{Process, Scratch};
use crate::sign::Signer;
use crate::{Settings, hot, limits, median};

/// Prints both sizes.
pub fn run(settings: &Settings, reactor: &mut ring::Reactor) {
    println!(
        "\ndurable signed PUT of new keys, 64 connections, against bare appends of 64 such records per sync"
    );
    let scratch = Scratch::new(&settings.directory, "put");
    let data = scratch.0.join("data");
    let node = Process::node(&data);
    let echo = Process::echo();
    let signer = Signer::new(node.address, &data);
    let bucket = Job { reply_bytes: None, ..Job::get(signer.put("/put", b""), 0) };
    reactor.block_on(load::run(&node, Shape::SINGLE, load::once(vec![bucket])));
    // About as many as are served in the time.
    let count = (settings.seconds * 10_000.0) as usize;
    let mut number = 0;
    for body_bytes in [1024, 4096] {
        let body = Bytes::from(vec![b'p'; body_bytes]);
        let sinks = Rc::new(vec![hot::echo_job(&echo, Method::PUT, "/sink", body_bytes)]);
        let (mut rows, mut latency) = (Vec::new(), String::new());
        for _ in 0..settings.rounds {
            let jobs = (0..count)
                .map(|_| {
                    number += 1;
                    // Spread over the key space, as unique random keys are.
                    let name = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let request = Rc::new(signer.put(&format!("/put/{name:016x}"), &body));
                    Job { request, body: body.clone(), reply_bytes: Some(0) }
                })
                .collect();
            let put = reactor.block_on(load::run(&node, Shape::HTTP1, load::once(jobs)));
            let bare = limits::append(reactor, &scratch.0, 64 * body_bytes, settings.seconds / 2.0);
            let sunk =
                reactor.block_on(load::run(&echo, Shape::HTTP1, load::cycle(&sinks, settings.seconds / 2.0)));
            latency = put.latency();
            rows.push([put.rate(), put.cpu_us(), bare * 64.0, sunk.rate(), sunk.cpu_us(), put.user_us()]);
        }
        let middle = |index: usize| median(&rows.iter().map(|row| row[index]).collect::<Vec<f64>>());
        println!(
            "{body_bytes:5} B: {:.0} PUT/s, {latency}, CPU {:.1} us (user {:.1}); bare append {:.0} records/s; \
             sink {:.0}/s, CPU {:.1} us; ratio to the lower limit {:.2}, CPU to sink {:.2}",
            middle(0),
            middle(1),
            middle(5),
            middle(2),
            middle(3),
            middle(4),
            middle(0) / middle(2).min(middle(3)),
            middle(1) / middle(4),
        );
    }
}
