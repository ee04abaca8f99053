//! Endpoints of web hooks on a free port of this machine: what they got, and how they answer, by path.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

/// A server that answers confirmations with 200, and else by the path: `/500`, `/410` and so on with that status, `/302`
/// with a redirect to `/target`, `/hang` never, everything else with 200.
pub struct Endpoints {
    pub port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    stop: AtomicBool,
    /// Whether `/500` and its like have mended themselves.
    mended: AtomicBool,
}

impl Endpoints {
    pub fn start() -> Endpoints {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(State::default());
        let thread = {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if state.stop.load(Ordering::Acquire) {
                        return;
                    }
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || answer(&stream, &state));
                }
            })
        };
        Endpoints { port, state, thread: Some(thread) }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What came to a path.
    pub fn at(&self, path: &str) -> Vec<Received> {
        let all = self.state.received.lock().expect("no thread has panicked with it");
        all.iter().filter(|one| one.path == path).cloned().collect()
    }

    /// From now on every path answers with 200.
    pub fn mend(&self) {
        self.state.mended.store(true, Ordering::Release);
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        // Wakes the loop; if it is gone already there is nothing to wake.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the endpoints ended well");
        }
    }
}

/// Serves one connection until it ends. What breaks off is not looked at further.
fn answer(stream: &TcpStream, state: &State) {
    let mut reader = BufReader::new(stream);
    while let Some(received) = read(&mut reader) {
        let path = received.path.clone();
        let confirms = received.header("x-amz-sns-message-type") == Some("SubscriptionConfirmation");
        state.received.lock().expect("no thread has panicked with it").push(received);
        let status = path.trim_start_matches('/').parse().unwrap_or(200_u16);
        let is_good = confirms || state.mended.load(Ordering::Acquire);
        let head = match status {
            _ if is_good => "HTTP/1.1 200 OK\r\n".to_owned(),
            302 => "HTTP/1.1 302 Found\r\nLocation: /target\r\n".to_owned(),
            status => format!("HTTP/1.1 {status} Told\r\n"),
        };
        if path == "/hang" && !is_good {
            while !state.stop.load(Ordering::Acquire) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            return;
        }
        let mut writer = stream;
        if writer.write_all(format!("{head}Content-Length: 2\r\n\r\nok").as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut line = || {
        let mut line = String::new();
        let count = reader.read_line(&mut line).ok()?;
        (count > 0).then(|| line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body: String::from_utf8(body).ok()? })
}
