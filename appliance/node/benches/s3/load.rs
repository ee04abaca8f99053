//! A closed loop of requests that were made before the clock started.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::client::{Client, Protocol, RequestTo};
use http_types::StatusCode;

use crate::process::{Cpu, Process};

/// How many requests are under way, over what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// HTTP/1.1 or HTTP/2.
    pub protocol: Protocol,
    /// Connections.
    pub connections: usize,
    /// Requests at a time on each; 1 over HTTP/1.1.
    pub streams: usize,
}

impl Shape {
    /// 64 connections.
    pub const HTTP1: Shape = Shape { protocol: Protocol::Http1, connections: 64, streams: 1 };
    /// 8 connections with 32 streams each.
    pub const HTTP2: Shape = Shape { protocol: Protocol::Http2, connections: 8, streams: 32 };
    /// One request at a time.
    pub const SINGLE: Shape = Shape { protocol: Protocol::Http1, connections: 1, streams: 1 };

    /// How tables call it.
    pub fn name(self) -> String {
        match self.protocol {
            Protocol::Http1 => format!("HTTP/1.1 x{}", self.connections),
            Protocol::Http2 => format!("HTTP/2 {}x{}", self.connections, self.streams),
        }
    }
}

/// One request to send.
#[derive(Clone)]
pub struct Job {
    /// Its head.
    pub request: Rc<RequestTo>,
    /// Its body.
    pub body: Bytes,
    /// The length of a good answer, where that is known.
    pub reply_bytes: Option<usize>,
}

impl Job {
    /// A request without a body whose answer has `reply_bytes`.
    pub fn get(request: RequestTo, reply_bytes: usize) -> Job {
        Job { request: Rc::new(request), body: Bytes::new(), reply_bytes: Some(reply_bytes) }
    }
}

/// What came of a run.
pub struct Outcome {
    /// Requests answered.
    pub count: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Server CPU time.
    pub cpu: Cpu,
    latencies_us: Vec<u32>,
}

impl Outcome {
    /// Server CPU time per request in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.total().as_secs_f64() * 1e6 / self.count as f64
    }

    /// The part of it in the process itself.
    pub fn user_us(&self) -> f64 {
        self.cpu.user.as_secs_f64() * 1e6 / self.count as f64
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that a share of requests did not exceed, in microseconds.
    pub fn latency_us(&self, share: f64) -> u32 {
        let index = (self.latencies_us.len() as f64 * share) as usize;
        self.latencies_us[index.min(self.latencies_us.len() - 1)]
    }

    /// p50 and p99 in milliseconds.
    pub fn latency(&self) -> String {
        let ms = |share| f64::from(self.latency_us(share)) / 1e3;
        format!("p50 {:.2} ms, p99 {:.2} ms", ms(0.5), ms(0.99))
    }
}

/// Sends what `next` gives until it gives nothing; every answer must be good.
pub async fn run(server: &Process, shape: Shape, next: impl FnMut() -> Option<Job> + 'static) -> Outcome {
    let next: Rc<RefCell<dyn FnMut() -> Option<Job>>> = Rc::new(RefCell::new(next));
    let mut tasks = Vec::new();
    let before = server.cpu();
    let started = Instant::now();
    for _ in 0..shape.connections {
        let client = Client::new(server.address, shape.protocol);
        for _ in 0..shape.streams {
            tasks.push(ring::spawn(work(client.clone(), Rc::clone(&next))));
        }
    }
    let mut latencies_us = Vec::new();
    for task in tasks {
        latencies_us.append(&mut task.await);
    }
    let elapsed = started.elapsed();
    let cpu = server.cpu().since(before);
    latencies_us.sort_unstable();
    Outcome { count: latencies_us.len(), elapsed, cpu, latencies_us }
}

async fn work(client: Client, next: Rc<RefCell<dyn FnMut() -> Option<Job>>>) -> Vec<u32> {
    let mut latencies_us = Vec::new();
    loop {
        let job = (next.borrow_mut())();
        let Some(job) = job else { return latencies_us };
        let sent = Instant::now();
        let (head, body) = client.fetch(&job.request, job.body, REPLY_BYTES_MAX).await.unwrap();
        latencies_us.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        let is_good =
            head.status == StatusCode::OK && job.reply_bytes.is_none_or(|bytes| bytes == body.len());
        assert!(is_good, "{} {}: {} {body:?}", job.request.method, job.request.target, head.status);
    }
}

const REPLY_BYTES_MAX: usize = 4 << 20;

/// Gives the jobs in turn for some time.
pub fn cycle(jobs: &Rc<Vec<Job>>, seconds: f64) -> impl FnMut() -> Option<Job> + 'static {
    let jobs = Rc::clone(jobs);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut index = 0;
    move || {
        index = (index + 1) % jobs.len();
        // The clock is looked at now and then only: it costs as much as a small part of a request.
        (!index.is_multiple_of(4) || Instant::now() < end).then(|| jobs[index].clone())
    }
}

/// Gives each job once.
pub fn once(jobs: Vec<Job>) -> impl FnMut() -> Option<Job> + 'static {
    let mut jobs = jobs.into_iter();
    move || jobs.next()
}
