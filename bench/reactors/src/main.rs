//! The same echo on several reactors, each alone on one core: what a reactor costs, and nothing of HTTP beside the search for
//! the end of a head.
//! Invariant: every server reads into 16 KiB, takes off each head that ends there, and sends the same 135 bytes for it with one
//! call; allocator, build profile and core are the same for all.
//! Leaves to `run`: to start them, to drive them in turns, and the table.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use rustix::thread::{CpuSet, sched_setaffinity};

mod glommio;
mod monoio;
mod ours;
mod tokio;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of the answer, head included.
const ANSWER_BYTES: usize = 135;
/// Bytes of its body: what the head leaves.
const BODY_BYTES: usize = 96;
/// A connection's buffer; a head that does not fit ends it.
const READ_BYTES: usize = 16 << 10;
/// Entries of monoio's ring: what it takes itself.
const RING_ENTRIES: u32 = 1_024;

/// Serves on the calling thread until killed.
type Serve = fn() -> io::Result<()>;

/// One of them: its name, its version, what is set of it, and how it serves.
type Reactor = (&'static str, &'static str, &'static str, Serve);

const REACTORS: [Reactor; 5] = [
    ("ours", "of this tree", "io_uring: SINGLE_ISSUER|DEFER_TASKRUN", ours::serve),
    ("monoio", "0.2.4", "io_uring: SINGLE_ISSUER|DEFER_TASKRUN|COOP_TASKRUN", monoio::serve_with_flags),
    ("monoio-as-shipped", "0.2.4", "io_uring: no flags", monoio::serve_as_shipped),
    ("glommio", "0.9.0", "io_uring: its defaults", glommio::serve),
    ("tokio", "1", "epoll: current_thread", tokio::serve),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["list"] => {
            REACTORS.iter().for_each(|(name, version, mode, _)| println!("{name}\t{version}\t{mode}"));
            Ok(())
        }
        ["serve", name, "--core", core] => serve(name, core),
        _ => Err("usage: reactors list | reactors serve NAME --core N".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reactors: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the reactor `name` on `core`.
fn serve(name: &str, core: &str) -> Result<(), String> {
    let core: usize = core.parse().map_err(|_| format!("{core} is no core"))?;
    let (.., serve) = REACTORS.iter().find(|(one, ..)| *one == name).ok_or(format!("no reactor {name}"))?;
    // From outside of all of them, so that helper threads that one of them starts share its core.
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("core {core}: {error}"))?;
    serve().map_err(|error| format!("{name} cannot serve: {error}"))
}

/// Where to listen: a free port of this machine alone.
fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Tells `run` where the server is.
fn say_ready(address: SocketAddr) {
    println!("ready on http://{address}");
}

/// What is sent for every head.
fn answer() -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(&[b'e'; BODY_BYTES]);
    assert_eq!(bytes.len(), ANSWER_BYTES);
    bytes
}

/// Takes the first head off `received`, if one ends there. Requests have no bodies here.
fn take_head(received: &mut Vec<u8>) -> bool {
    let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") else { return false };
    received.drain(..end + 4);
    true
}
