//! `zerocloud gocacheprog`: the build cache behind the go command, as its GOCACHEPROG child.
//!
//! ```text
//! go  --stdin-->  protocol.rs  -->  local.rs: a directory of this machine, always asked first
//!     <-stdout--               -->  remote/:  the appliance, on a thread of its own
//! ```
//! Invariant: what goes wrong with the appliance is a miss or an upload that is left out, never an error and never a wait beyond
//! the limits of remote/breaker.rs; bytes that came from it are given to the go command only when their SHA-256 is right.
//! Leaves to the go command: what an action is.

mod local;
mod protocol;
mod remote;

use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::GoCacheProgArgs;
use crate::exit::Failure;
use local::{Entry, Local};
use protocol::{Command, Request, Requests};
use remote::Remote;
pub use remote::split_port;

/// Bytes of the buffer between the go command and us.
const INPUT_BUFFER_BYTES: usize = 256 * 1024;

/// Serves the go command until it closes the cache. Errors: no directory to keep outputs in.
pub fn run(args: &GoCacheProgArgs) -> Result<ExitCode, Failure> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => default_dir().ok_or_else(|| {
            Failure::configuration("neither XDG_CACHE_HOME nor HOME is set; name a directory with --dir")
        })?,
    };
    let local = Local::open(&dir)
        .map_err(|error| Failure::storage(format!("{}: {error}; name another with --dir", dir.display())))?;
    let local = Arc::new(local);
    let answers = Answers::new(io::stdout());
    let remote = remote::Settings::of(args)
        .and_then(|settings| {
            settings.map(|settings| Remote::start(settings, Arc::clone(&local), answers.clone())).transpose()
        })
        .unwrap_or_else(|reason| {
            remote::say(&reason);
            None
        });
    let server = Server { local, answers, remote };
    let input = BufReader::with_capacity(INPUT_BUFFER_BYTES, io::stdin());
    let outcome = server.serve(Requests::new(input));
    if args.verbose {
        eprintln!("zerocloud gocacheprog: {}", server.answers.counts());
    }
    outcome.map_err(|error| Failure::storage(format!("the go command: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

fn default_dir() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(cache.join("zerocloud").join("go"))
}

struct Server {
    local: Arc<Local>,
    answers: Answers,
    remote: Option<Remote>,
}

impl Server {
    fn serve<R: io::BufRead>(&self, mut requests: Requests<R>) -> io::Result<()> {
        self.answers.write(&protocol::greeting())?;
        while let Some(request) = requests.next()? {
            match request.command {
                Command::Get => self.get(&request)?,
                Command::Put => self.put(&request, &mut requests)?,
                Command::Close => {
                    self.join();
                    return self.answers.write(&protocol::closed(request.id));
                }
                Command::Unknown => {
                    requests.skip_body(&request)?;
                    self.answers.write(&protocol::error(request.id, "this command is not known"))?;
                }
            }
        }
        // The go command went away without a word; what it stored is uploaded all the same.
        self.join();
        Ok(())
    }

    fn join(&self) {
        if let Some(remote) = &self.remote {
            remote.join();
        }
    }

    fn get(&self, request: &Request) -> io::Result<()> {
        if let Some(entry) = self.local.get(&request.action) {
            self.answers.count(|counts| counts.local_hits += 1);
            return self.answers.hit(request.id, &entry);
        }
        match &self.remote {
            Some(remote) => remote.get(request.id, &request.action),
            None => self.answers.miss(request.id),
        }
    }

    fn put<R: io::BufRead>(&self, request: &Request, requests: &mut Requests<R>) -> io::Result<()> {
        let mut incoming = match self.local.incoming() {
            Ok(incoming) => incoming,
            Err(error) => {
                requests.skip_body(request)?;
                return self.answers.write(&protocol::error(request.id, &error.to_string()));
            }
        };
        // A full disk must not desynchronize the input: the rest of the body is read, and dropped.
        let mut failed = None;
        requests.body(request, &mut |bytes| {
            if failed.is_none() {
                failed = incoming.write(bytes).err();
            }
        })?;
        let kept = match failed {
            Some(error) => Err(error),
            None => self.local.keep(incoming, &request.action, &request.output),
        };
        match kept {
            Ok(entry) => {
                self.answers.write(&protocol::stored(request.id, &entry.path))?;
                if let Some(remote) = &self.remote {
                    remote.put(&request.action, entry);
                }
                Ok(())
            }
            Err(error) => self.answers.write(&protocol::error(request.id, &error.to_string())),
        }
    }
}

/// The way back to the go command, for both threads.
#[derive(Clone)]
struct Answers(Arc<Mutex<State>>);

struct State {
    out: Box<dyn Write + Send>,
    counts: Counts,
}

/// What was answered and sent.
#[derive(Default)]
struct Counts {
    local_hits: u64,
    remote_hits: u64,
    misses: u64,
    uploads: u64,
    uploads_left_out: u64,
}

impl Answers {
    fn new(out: impl Write + Send + 'static) -> Answers {
        Answers(Arc::new(Mutex::new(State { out: Box::new(out), counts: Counts::default() })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut state = self.state();
        state.out.write_all(line.as_bytes())?;
        state.out.flush()
    }

    fn hit(&self, id: i64, entry: &Entry) -> io::Result<()> {
        self.write(&protocol::hit(id, entry))
    }

    fn miss(&self, id: i64) -> io::Result<()> {
        self.count(|counts| counts.misses += 1);
        self.write(&protocol::miss(id))
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.state().counts);
    }

    fn counts(&self) -> String {
        let Counts { local_hits, remote_hits, misses, uploads, uploads_left_out } = self.state().counts;
        format!(
            "{local_hits} local hits, {remote_hits} remote hits, {misses} misses, {uploads} uploads, {uploads_left_out} left out"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::scratch::Directory;

    struct Pipe(mpsc::Sender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn talk(local: &Arc<Local>, input: &str) -> Vec<serde_json::Value> {
        let (sender, receiver) = mpsc::channel();
        let server = Server { local: Arc::clone(local), answers: Answers::new(Pipe(sender)), remote: None };
        server.serve(Requests::new(input.as_bytes())).unwrap();
        drop(server);
        let text: Vec<u8> = receiver.iter().flatten().collect();
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// What Go 1.27 sends: each request is followed by an empty line, or by its body.
    const PUT: &str = "{\"ID\":2,\"Command\":\"put\",\"ActionID\":\"cqiAwSKYOxVztvgwjWEvBjgxSWyh6K9c8SVQx+nixPg=\",\"OutputID\":\"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=\",\"BodySize\":5}\n\"aGVsbG8=\"\n";
    const GET: &str =
        "{\"ID\":3,\"Command\":\"get\",\"ActionID\":\"cqiAwSKYOxVztvgwjWEvBjgxSWyh6K9c8SVQx+nixPg=\"}\n\n";

    #[test]
    fn what_was_put_is_a_hit_of_the_next_run() {
        let scratch = Directory::new("gocacheprog-hit");
        let local = Arc::new(Local::open(scratch.path()).unwrap());
        let said = talk(&local, &format!("{GET}{PUT}{{\"ID\":9,\"Command\":\"close\"}}\n"));
        assert_eq!(said[0]["KnownCommands"], serde_json::json!(["get", "put", "close"]));
        assert_eq!(said[1], serde_json::json!({"ID": 3, "Miss": true}));
        assert_eq!(said[2]["ID"], 2);
        assert_eq!(said[3], serde_json::json!({"ID": 9}));

        let said = talk(&local, GET);
        assert_eq!((&said[1]["ID"], &said[1]["Size"]), (&3.into(), &5.into()));
        assert_eq!(said[1]["OutputID"], "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
        assert!(said[1]["Time"].as_str().is_some_and(|time| time.ends_with('Z')));
        let path = said[1]["DiskPath"].as_str().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"hello");
    }

    #[test]
    fn an_output_without_bytes_has_a_file_and_no_body_line() {
        let scratch = Directory::new("gocacheprog-empty");
        let local = Arc::new(Local::open(scratch.path()).unwrap());
        let put = "{\"ID\":4,\"Command\":\"put\",\"ActionID\":\"AAAA\",\"OutputID\":\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"}\n\n";
        let said = talk(
            &local,
            &format!("{put}{}", GET.replace("cqiAwSKYOxVztvgwjWEvBjgxSWyh6K9c8SVQx+nixPg=", "AAAA")),
        );
        assert_eq!(std::fs::read(said[1]["DiskPath"].as_str().unwrap()).unwrap(), b"");
        assert_eq!(said[2]["ID"], 3);
        assert!(said[2]["DiskPath"].is_string());
    }

    #[test]
    fn a_body_that_is_not_what_was_announced_ends_the_talk() {
        let scratch = Directory::new("gocacheprog-short");
        let local = Arc::new(Local::open(scratch.path()).unwrap());
        let server = Server { local, answers: Answers::new(io::sink()), remote: None };
        for bad in ["\"aGVsbG8hIQ==\"", "\"aGVs\"", "\"aGV!bG8=\"", "aGVsbG8=", "\"aGVsbG8="] {
            let input = PUT.replace("\"aGVsbG8=\"\n", bad);
            assert!(server.serve(Requests::new(input.as_bytes())).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_output_id_of_another_kind_is_given_back_as_it_came() {
        let scratch = Directory::new("gocacheprog-id");
        let local = Arc::new(Local::open(scratch.path()).unwrap());
        let put = PUT.replace("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "AQID");
        let said = talk(&local, &format!("{put}{GET}"));
        assert_eq!(said[2]["OutputID"], "AQID");
    }
}
