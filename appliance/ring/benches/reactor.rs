//! Benchmarks of the reactor: echo and bulk over TCP, hops between cores, file appends with sync.
//!
//! Run with `cargo bench -p zerocloud-ring`. The echo server runs on the first core and its client on the last;
//! the backends and a bare epoll loop take turns, so that a noisy machine is noisy for all.
#![allow(unsafe_code, reason = "the reference loop and the CPU clock are raw system calls")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use ring::{Backend, Buffer, File, Reactor, ReactorConfig, TcpListener, TcpStream, mailbox, spawn};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MESSAGE_BYTES: usize = 135;
const CONNECTIONS: usize = 64;
const ECHO_TIME: Duration = Duration::from_millis(700);
const ROUNDS: usize = 5;
const BULK_BYTES: usize = 512 << 20;
const HOPS: u32 = 20_000;
const APPENDS: u64 = 1000;

fn main() {
    // Cargo passes its own arguments; a filter by name is not worth parsing for three benchmarks.
    let cores = ring::cores();
    let (server, client) = (cores[0], cores[cores.len() - 1]);
    println!("server on core {server}, client on core {client}");
    echo(server, client);
    bulk(server, client);
    hops(server, client);
    appends(server);
}

/// The CPU time that the calling thread has used.
fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to `time`, which lives through the call and is written by it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Clone, Copy, Debug)]
enum Server {
    Reactor(Backend),
    BareEpoll,
}

fn echo(server_core: usize, client_core: usize) {
    let servers = [Server::Reactor(Backend::IoUring), Server::Reactor(Backend::Epoll), Server::BareEpoll];
    let mut results = vec![(Vec::new(), Vec::new()); servers.len()];
    for _ in 0..ROUNDS {
        for (server, (rates, costs)) in servers.iter().zip(&mut results) {
            let (rate, cost) = echo_once(*server, server_core, client_core);
            rates.push(rate);
            costs.push(cost);
        }
    }
    for (server, (rates, costs)) in servers.iter().zip(&mut results) {
        println!(
            "echo {server:?}: {:.0} requests/s, {:.2} us CPU per request (least {:.2})",
            median(rates),
            median(costs),
            costs[0]
        );
    }
}

/// One run: requests per second, and microseconds of the server's CPU per request.
fn echo_once(server: Server, server_core: usize, client_core: usize) -> (f64, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let (tell_address, address) = mpsc::channel();
    let (server_stop, server_served) = (Arc::clone(&stop), Arc::clone(&served));
    let thread = std::thread::spawn(move || match server {
        Server::Reactor(backend) => {
            let config = ReactorConfig { backend, core: Some(server_core), ..ReactorConfig::default() };
            reactor_server(&config, &tell_address, server_stop, server_served)
        }
        Server::BareEpoll => bare_server(server_core, &tell_address, &server_stop, &server_served),
    });
    let address = address.recv().unwrap();
    let client = std::thread::spawn(move || client(address, client_core));
    let total = client.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    // One more connection, so that the server looks at the flag.
    drop(std::net::TcpStream::connect(address));
    let cpu = thread.join().unwrap();
    let requests = served.load(Ordering::Relaxed);
    (total as f64 / ECHO_TIME.as_secs_f64(), cpu.as_secs_f64() * 1e6 / requests as f64)
}

/// Keeps one request in flight on every connection; a bare epoll loop, so that it costs the same for every server.
fn client(address: SocketAddr, core: usize) -> u64 {
    pin(core);
    let mut streams: Vec<std::net::TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        })
        .collect();
    let epoll = Epoll::new();
    for (index, stream) in streams.iter_mut().enumerate() {
        epoll.add(stream.as_raw_fd(), index as u64);
        stream.write_all(&[1; MESSAGE_BYTES]).unwrap();
    }
    let end = Instant::now() + ECHO_TIME;
    let mut buffer = [0; 4096];
    let mut requests = 0;
    while Instant::now() < end {
        epoll.wait(100, |index| {
            let stream = &mut streams[index as usize];
            let count = stream.read(&mut buffer).unwrap();
            assert_eq!(count, MESSAGE_BYTES);
            stream.write_all(&buffer[..count]).unwrap();
            requests += 1;
        });
    }
    requests
}

fn reactor_server(
    config: &ReactorConfig,
    tell_address: &mpsc::Sender<SocketAddr>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
) -> Duration {
    let mut reactor = Reactor::new(config).unwrap();
    let start = thread_cpu();
    reactor.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        tell_address.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let served = Arc::clone(&served);
            spawn(async move { drop(serve(stream, &served).await) }).detach();
        }
    });
    thread_cpu() - start
}

async fn serve(mut stream: TcpStream, served: &AtomicU64) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
        served.fetch_add(1, Ordering::Relaxed);
    }
}

fn bare_server(
    core: usize,
    tell_address: &mpsc::Sender<SocketAddr>,
    stop: &AtomicBool,
    served: &AtomicU64,
) -> Duration {
    const LISTENER: u64 = u64::MAX;
    pin(core);
    let start = thread_cpu();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    tell_address.send(listener.local_addr().unwrap()).unwrap();
    let epoll = Epoll::new();
    epoll.add(listener.as_raw_fd(), LISTENER);
    let mut streams = Vec::new();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        epoll.wait(100, |index| {
            if index == LISTENER {
                let (stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                epoll.add(stream.as_raw_fd(), streams.len() as u64);
                streams.push(Some(stream));
                return;
            }
            let slot = &mut streams[index as usize];
            let Some(stream) = slot else { return };
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => *slot = None,
                Ok(count) => {
                    stream.write_all(&buffer[..count]).unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    thread_cpu() - start
}

fn pin(core: usize) {
    // SAFETY: cpu_set_t is a plain bit mask, for which all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the core comes from sched_getaffinity, so its bit lies within the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the pointer and the size describe `set`, which lives through the call.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    assert_eq!(result, 0);
}

/// The barest level-triggered epoll.
struct Epoll(i32);

impl Epoll {
    fn new() -> Epoll {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = unsafe { libc::epoll_create1(0) };
        assert!(fd >= 0);
        Epoll(fd)
    }

    fn add(&self, fd: i32, word: u64) {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: word };
        // SAFETY: the pointer is to `event`, which lives through the call.
        let result = unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, fd, &mut event) };
        assert_eq!(result, 0);
    }

    fn wait(&self, timeout_ms: i32, mut ready: impl FnMut(u64)) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 128];
        // SAFETY: the pointer and the count describe `events`, which lives through the call and is written by it.
        let count = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), 128, timeout_ms) };
        events[..usize::try_from(count).unwrap_or(0)].iter().for_each(|event| ready(event.u64));
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and not used again.
        unsafe { libc::close(self.0) };
    }
}

/// Sends and receives a stream in 64 KiB pieces against a blocking peer, and prints the server's CPU.
fn bulk(server_core: usize, client_core: usize) {
    for backend in [Backend::IoUring, Backend::Epoll] {
        for sends in [true, false] {
            let mut costs: Vec<f64> =
                (0..3).map(|_| bulk_once(backend, sends, server_core, client_core)).collect();
            let direction = if sends { "send" } else { "receive" };
            println!("bulk {direction} {backend:?}: {:.2} GB per CPU second", 1.0 / median(&mut costs));
        }
    }
}

/// Seconds of the server's CPU per gigabyte.
fn bulk_once(backend: Backend, sends: bool, server_core: usize, client_core: usize) -> f64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        pin(client_core);
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let mut data = vec![1; 256 << 10];
        if sends {
            while stream.read(&mut data).unwrap() > 0 {}
        } else {
            (0..BULK_BYTES / data.len()).for_each(|_| stream.write_all(&data).unwrap());
        }
    });
    let (stream, _) = listener.accept().unwrap();
    let cpu = std::thread::spawn(move || {
        let config = ReactorConfig { backend, core: Some(server_core), ..ReactorConfig::default() };
        let mut reactor = Reactor::new(&config).unwrap();
        let start = thread_cpu();
        reactor.block_on(async {
            let mut stream = TcpStream::from_std(stream).unwrap();
            let mut data = vec![1; 64 << 10];
            if sends {
                for _ in 0..BULK_BYTES / data.len() {
                    stream.write_all(&data).await.unwrap();
                }
                stream.shutdown().await.unwrap();
            } else {
                while stream.read(&mut data).await.unwrap() > 0 {}
            }
        });
        thread_cpu() - start
    })
    .join()
    .unwrap();
    peer.join().unwrap();
    cpu.as_secs_f64() * 1e9 / BULK_BYTES as f64
}

fn hops(one: usize, other: usize) {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let (ping, mut pings) = mailbox::<u32>();
        let (pong, mut pongs) = mailbox::<u32>();
        let far = std::thread::spawn(move || {
            let config = ReactorConfig { backend, core: Some(other), ..ReactorConfig::default() };
            Reactor::new(&config).unwrap().block_on(async {
                while let Some(number) = pings.recv().await {
                    pong.send(number).unwrap();
                }
            });
        });
        let near = std::thread::spawn(move || {
            let config = ReactorConfig { backend, core: Some(one), ..ReactorConfig::default() };
            Reactor::new(&config).unwrap().block_on(async {
                let mut times = Vec::new();
                for number in 0..HOPS {
                    let start = Instant::now();
                    ping.send(number).unwrap();
                    assert_eq!(pongs.recv().await, Some(number));
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                }
                times
            })
        });
        let mut times = near.join().unwrap();
        far.join().unwrap();
        let middle = median(&mut times);
        println!("hop and back {backend:?}: p50 {middle:.1} us, p99 {:.1} us", times[times.len() * 99 / 100]);
    }
}

fn appends(core: usize) {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let mut times = std::thread::spawn(move || {
            let config = ReactorConfig { backend, core: Some(core), ..ReactorConfig::default() };
            Reactor::new(&config).unwrap().block_on(append_all(backend))
        })
        .join()
        .unwrap();
        let middle = median(&mut times);
        println!(
            "write 4 KiB and fdatasync {backend:?}: p50 {middle:.0} us, p99 {:.0} us",
            times[times.len() * 99 / 100]
        );
    }
}

/// Appends to a prewritten file, as the log does, and gives the time of each append in microseconds.
async fn append_all(backend: Backend) -> Vec<f64> {
    let path = std::env::temp_dir().join(format!("ring-bench-{backend:?}-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let file = File::from_std(options.create_new(true).read(true).write(true).open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let mut zeros = Buffer::new();
    zeros.resize(APPENDS as usize * 4096, 0);
    file.write_at_sync(zeros, 0).await.0.unwrap();
    let mut times = Vec::new();
    let mut data = Buffer::new();
    data.resize(4096, 7);
    for index in 0..APPENDS {
        let start = Instant::now();
        let (result, buffer) = file.write_at_sync(data, index * 4096).await;
        result.unwrap();
        data = buffer;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times
}
