//! A node as a child process, and what tests need around it.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod signed;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Nothing that a test waits for takes longer, on a busy machine neither.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A directory that is gone when the test is.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("zerocloud-cli-{}-{number}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("scratch directory");
        Scratch(path)
    }
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub fn zerocloud() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zerocloud"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZEROCLOUD_") {
            command.env_remove(name);
        }
    }
    for name in [
        "MAX_CACHE_SIZE",
        "CACHE_RETENTION_DAYS",
        "AUTH_REQUIRED",
        "ZIM_CACHE_READ_TOKEN",
        "ZIM_CACHE_WRITE_TOKEN",
    ] {
        command.env_remove(name);
    }
    // A machine that stands still for a moment makes no hit a miss.
    command.env("ZEROCLOUD_CACHE_FIRST_BYTE_MS", "600000");
    command
}

pub fn run(command: &mut Command) -> Output {
    command.output().expect("the binary runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A serving node; killed when dropped.
pub struct Node {
    pub child: Child,
    pub addresses: Vec<String>,
    /// All of stdout up to the last line that the start writes.
    pub greeting: String,
    errors: Errors,
}

/// What a child has written to stderr so far, read as it comes so that its pipe is never full.
struct Errors {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Errors {
    fn of(child: &mut Child) -> Errors {
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let errors = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&errors);
        let reader = thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                text.lock().expect("no panic").push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Errors { text: errors, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("no panic").clone()
    }

    /// All of it; the child has closed its end, or does so soon.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reads");
        }
        self.so_far()
    }
}

impl Node {
    pub fn start(data: &Path, more: &[&str]) -> Node {
        let mut command = zerocloud();
        command.args(["serve", "--data"]).arg(data).args(more);
        if !more.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Node::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Node {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut errors = Errors::of(&mut child);
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let (mut addresses, mut greeting) = (Vec::new(), String::new());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).expect("stdout") == 0 {
                panic!("the node ended before it was ready: {}", errors.all());
            }
            greeting.push_str(&line);
            if let Some(url) = line.trim().strip_prefix("zerocloud ready on ") {
                addresses.push(url.split("://").nth(1).expect("a URL").to_string());
            } else {
                break;
            }
        }
        Node { child, addresses, greeting, errors }
    }

    pub fn request(&self, head: &str) -> String {
        self.raw(format!("{head}\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addresses[0]).as_bytes())
    }

    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.addresses[0]).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("socket option");
        stream.write_all(bytes).expect("sent");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("answered");
        text(&reply)
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the end; gives the status and all of stderr.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let errors = self.errors.all();
        (self.child.wait().expect("ended"), errors)
    }

    /// What it has written to stderr by now.
    pub fn errors(&self) -> String {
        self.errors.so_far()
    }

    pub fn stop(self) -> String {
        self.signal("TERM");
        let (status, errors) = self.wait();
        assert_eq!(status.code(), Some(0), "{status}: {errors}");
        errors
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn secret_of(data: &Path) -> String {
    let file = std::fs::read_to_string(data.join("credentials")).expect("credentials");
    let line = file.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = "));
    line.expect("a secret").to_string()
}
