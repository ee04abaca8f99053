//! The adapter against appliances that are right, wrong, slow and away. None of these tests measures time: each waits for the answer.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::*;
use crate::scratch::Directory;

type Respond = dyn Fn(&str, &[u8]) -> Option<(u16, Vec<u8>)> + Send + Sync;

/// An HTTP server that answers by a function of request line and body; None: never.
fn appliance(respond: Arc<Respond>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The threads end with the test process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let respond = Arc::clone(&respond);
            std::thread::spawn(move || converse(stream, &*respond));
        }
    });
    address
}

fn converse(stream: TcpStream, respond: &Respond) {
    let mut out = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if input.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            input.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        match respond(first.trim(), &body) {
            Some((status, body)) => {
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
                if out.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                    return;
                }
            }
            None => loop {
                std::thread::park();
            },
        }
    }
}

/// A machine: its directory, its adapter, and what the go command hears.
struct Machine {
    local: Arc<Local>,
    remote: Remote,
    heard: mpsc::Receiver<String>,
    answers: Answers,
    _scratch: Directory,
}

struct Ear(mpsc::Sender<String>);

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).ok();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Machine {
    /// One that waits for as long as a busy test machine needs.
    fn new(address: SocketAddr) -> Machine {
        let long = Duration::from_secs(600);
        let limits =
            Limits { connect: long, first_byte: long, failed_wait: 4 * long, body_base: long, join: long };
        Machine::with_limits(address, limits)
    }

    fn with_limits(address: SocketAddr, limits: Limits) -> Machine {
        let scratch = Directory::new("go-remote");
        let local = Arc::new(Local::open(scratch.path()).unwrap());
        let (sender, heard) = mpsc::channel();
        let answers = Answers::new(Ear(sender));
        let mut settings = Settings::new(&format!("http://{address}"), Some("team"), Some("zct_x")).unwrap();
        settings.limits = limits;
        let remote = Remote::start(settings, Arc::clone(&local), answers.clone()).unwrap();
        Machine { local, remote, heard, answers, _scratch: scratch }
    }

    fn put(&self, action: &[u8], body: &[u8]) {
        let mut incoming = self.local.incoming().unwrap();
        incoming.write(body).unwrap();
        self.remote.put(action, self.local.keep(incoming, action, b"id").unwrap());
    }

    fn get(&self, action: &[u8]) -> serde_json::Value {
        self.remote.get(7, action).unwrap();
        serde_json::from_str(&self.heard.recv().unwrap()).unwrap()
    }
}

/// What an appliance was sent, by target.
type Kept = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// One that keeps what it is sent, as ours does.
fn keeping() -> (Kept, Arc<Respond>) {
    let kept = Kept::default();
    let theirs = Arc::clone(&kept);
    let respond = move |line: &str, body: &[u8]| {
        let (method, rest) = line.split_once(' ').unwrap();
        let target = rest.split_once(' ').unwrap().0.to_owned();
        let mut kept = theirs.lock().unwrap();
        Some(match method {
            "PUT" => {
                kept.insert(target, body.to_vec());
                (201, b"{}".to_vec())
            }
            _ => kept.get(&target).map_or((404, b"{}".to_vec()), |body| (200, body.clone())),
        })
    };
    (kept, Arc::new(respond))
}

fn miss() -> serde_json::Value {
    serde_json::json!({"ID": 7, "Miss": true})
}

#[test]
fn what_one_machine_built_is_a_hit_on_another() {
    let (kept, respond) = keeping();
    let address = appliance(respond);
    let first = Machine::new(address);
    let body = vec![7; 300_000];
    first.put(b"action", &body);
    first.put(b"empty", b"");
    first.remote.join();
    assert!(
        kept.lock()
            .unwrap()
            .keys()
            .all(|target| target.starts_with("/api/v1/") && target.ends_with("?ns=team"))
    );
    assert_eq!(kept.lock().unwrap().len(), 3, "two records and one object");

    let second = Machine::new(address);
    for (action, body) in [(&b"action"[..], &body[..]), (b"empty", b"")] {
        let said = second.get(action);
        assert_eq!(said["OutputID"], "aWQ=");
        assert_eq!(std::fs::read(said["DiskPath"].as_str().unwrap()).unwrap(), body);
        assert!(second.local.get(action).is_some(), "it is kept for the next time");
    }
    assert_eq!(second.get(b"other"), miss());
    assert_eq!(second.answers.counts(), "0 local hits, 2 remote hits, 1 misses, 0 uploads, 0 left out");
}

#[test]
fn wrong_bytes_are_misses() {
    let (kept, respond) = keeping();
    let address = appliance(respond);
    let first = Machine::new(address);
    first.put(b"action", b"some bytes");
    first.remote.join();
    let second = Machine::new(address);
    for wrong in [&b"some bytez"[..], b"some byte", b"some bytes!", b""] {
        for (target, body) in kept.lock().unwrap().iter_mut() {
            if target.contains("/objects/") {
                *body = wrong.to_vec();
            }
        }
        assert_eq!(second.get(b"action"), miss());
        assert!(second.local.get(b"action").is_none());
    }
    kept.lock().unwrap().retain(|target, _| !target.contains("/objects/"));
    assert_eq!(second.get(b"action"), miss(), "an object that is gone");
}

#[test]
fn an_appliance_that_is_away_costs_misses_only() {
    // Taken, so that nobody else gets it, and nobody listens there.
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let silent = TcpListener::from(socket);
    let address = silent.local_addr().unwrap();
    let machine = Machine::new(address);
    for _ in 0..10 {
        assert_eq!(machine.get(b"action"), miss());
    }
    machine.put(b"action", b"bytes");
    machine.remote.join();
    assert_eq!(machine.answers.counts(), "0 local hits, 0 remote hits, 10 misses, 0 uploads, 1 left out");
}

#[test]
fn an_appliance_that_never_answers_is_asked_once() {
    let asked = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&asked);
    let address = appliance(Arc::new(move |_: &str, _: &[u8]| {
        *theirs.lock().unwrap() += 1;
        None
    }));
    // Making the connection has all the time, so that what comes to its end is the wait for the answer.
    let limits = Limits { connect: Duration::from_secs(600), ..Limits::default() };
    let machine = Machine::with_limits(address, limits);
    for _ in 0..20 {
        assert_eq!(machine.get(b"action"), miss());
    }
    machine.put(b"action", b"bytes");
    machine.remote.join();
    // The request is in its socket, but its thread may not have had a turn yet.
    while *asked.lock().unwrap() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The first silence has cost all that failures may cost.
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[test]
fn an_appliance_in_trouble_is_left_alone_after_three_answers() {
    let asked = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&asked);
    let address = appliance(Arc::new(move |_: &str, _: &[u8]| {
        *theirs.lock().unwrap() += 1;
        Some((503, b"busy".to_vec()))
    }));
    let machine = Machine::new(address);
    for _ in 0..20 {
        assert_eq!(machine.get(b"action"), miss());
    }
    assert_eq!(*asked.lock().unwrap(), 3);
}

#[test]
fn a_refused_token_and_one_that_may_only_read_are_found_out_once() {
    for (status, asked_for_reads) in [(401, 1), (403, 1)] {
        let asked = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&asked);
        let address = appliance(Arc::new(move |_: &str, _: &[u8]| {
            *theirs.lock().unwrap() += 1;
            Some((status, b"{}".to_vec()))
        }));
        let machine = Machine::new(address);
        for _ in 0..5 {
            assert_eq!(machine.get(b"action"), miss());
        }
        machine.put(b"action", b"bytes");
        machine.remote.join();
        assert_eq!(*asked.lock().unwrap(), asked_for_reads, "{status}");
    }
    let (kept, respond) = keeping();
    let address = appliance(Arc::new(move |line: &str, body: &[u8]| match line.starts_with("PUT") {
        true => Some((403, b"{}".to_vec())),
        false => respond(line, body),
    }));
    let machine = Machine::new(address);
    for action in [b"a", b"b", b"c"] {
        machine.put(action, b"bytes");
    }
    machine.remote.join();
    assert!(kept.lock().unwrap().is_empty());
    assert_eq!(machine.answers.counts(), "0 local hits, 0 remote hits, 0 misses, 0 uploads, 3 left out");
    assert_eq!(machine.get(b"a"), miss(), "it still asks");
}

#[test]
fn a_full_appliance_leaves_out_what_it_does_not_take_and_goes_on() {
    let (kept, respond) = keeping();
    let address = appliance(Arc::new(move |line: &str, body: &[u8]| {
        match body.len() > 100 && line.contains("/objects/") {
            true => Some((507, b"{}".to_vec())),
            false => respond(line, body),
        }
    }));
    let machine = Machine::new(address);
    for _ in 0..5 {
        machine.put(b"large", &[1; 1000]);
    }
    machine.put(b"small", b"bytes");
    machine.remote.join();
    assert_eq!(machine.answers.counts(), "0 local hits, 0 remote hits, 0 misses, 1 uploads, 5 left out");
    assert_eq!(kept.lock().unwrap().len(), 2);
}
