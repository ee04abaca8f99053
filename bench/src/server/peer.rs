//! A peer of a comparison: a server that runs already, or one that a script of `bench/peers` installs, starts and ends.
//! Invariant: whatever a script started ends with its `Started`, and what it kept on disk goes with it.
//! Leaves to the scripts: everything about a particular server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use clap::ValueEnum as _;

use crate::scenario::CacheApi;

/// A server as the command line gives it, or as its script describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerArg {
    /// In tables.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
    /// What is known of it.
    pub facts: Facts,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It runs already.
    Url(String),
    /// A script starts it, in its first mode unless another one is named.
    Script {
        /// The script.
        path: PathBuf,
        /// The mode.
        mode: Option<String>,
    },
}

impl Default for Origin {
    fn default() -> Origin {
        Origin::Url(String::new())
    }
}

/// What is known of a server besides its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Its processes.
    pub pids: Vec<u32>,
    /// Whose requests are sent.
    pub access_key: Option<String>,
    /// The secret.
    pub secret_key: Option<String>,
    /// The region that signatures name.
    pub region: Option<String>,
    /// What a cache is shown.
    pub token: Option<String>,
    /// How a cache is asked.
    pub cache_api: Option<CacheApi>,
    /// Messages that wait in its queue before each run.
    pub backlog_count: Option<usize>,
    /// As it calls itself.
    pub version: String,
    /// Its settings, in a word or two.
    pub mode: String,
    /// Whether it promises that an answered write survives a loss of power.
    pub durable: Option<bool>,
    /// What shows it.
    pub evidence: String,
    /// Flushes of the disk per answered write of a single writer.
    pub syncs_per_write: Option<f64>,
}

impl Facts {
    /// Takes one more fact.
    ///
    /// # Errors
    /// In words: there is no such fact, or its value is none.
    fn take(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "pid" => self.pids.push(value.parse().map_err(|_| format!("{value} is no process id"))?),
            "key" | "access_key" => self.access_key = Some(value),
            "secret" | "secret_key" => self.secret_key = Some(value),
            "region" => self.region = Some(value),
            "token" => self.token = Some(value),
            "api" => self.cache_api = Some(CacheApi::from_str(&value, false)?),
            "backlog" => {
                let count = value.parse().map_err(|_| format!("{value} is no number of messages"))?;
                self.backlog_count = Some(count);
            }
            "version" => self.version = value,
            "mode" => self.mode = value,
            "evidence" => self.evidence = value,
            "syncs" => {
                let count = value.parse().ok().filter(|count: &f64| count.is_finite() && *count >= 0.0);
                self.syncs_per_write = Some(count.ok_or(format!("{value} is no number of syncs"))?);
            }
            "durable" => {
                self.durable = match value.as_str() {
                    "yes" => Some(true),
                    "no" => Some(false),
                    _ => return Err(format!("durable is yes or no, not {value}")),
                }
            }
            _ => return Err(format!("a peer has no {key}")),
        }
        Ok(())
    }
}

impl FromStr for PeerArg {
    type Err = String;

    fn from_str(text: &str) -> Result<PeerArg, String> {
        let mut parts = text.split(',');
        let (name, place) = pair(parts.next().unwrap_or_default())?;
        let origin = match place.strip_prefix("script:") {
            None => Origin::Url(place),
            Some(script) => match script.split_once(':') {
                None => Origin::Script { path: script.into(), mode: None },
                Some((path, mode)) => Origin::Script { path: path.into(), mode: Some(mode.to_owned()) },
            },
        };
        let mut facts = Facts::default();
        for part in parts {
            let (key, value) = pair(part)?;
            facts.take(&key, value)?;
        }
        Ok(PeerArg { name, origin, facts })
    }
}

/// `NAME=VALUE`, both of them there.
///
/// # Errors
/// In words: not of that form.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{text} is not NAME=VALUE")),
    }
}

/// A server that a script started; ends with this.
pub struct Started {
    script: PathBuf,
    directory: PathBuf,
    /// Where it listens.
    pub url: String,
    /// What its script says of it.
    pub facts: Facts,
}

/// What came of starting one.
pub enum Start {
    /// It answers.
    Started(Box<Started>),
    /// It cannot be had here, and why.
    NotRun(String),
}

impl Started {
    /// Installs a server unless it is there, and starts it on `core` with its data in `directory`, which is emptied.
    ///
    /// # Errors
    /// In words: what the script said when it failed.
    pub fn start(script: &Path, mode: Option<&str>, core: usize, directory: &Path) -> Result<Start, String> {
        let call = |arguments: &[&str]| call(script, core, arguments);
        let first = match mode {
            Some(mode) => mode.to_owned(),
            None => call(&["modes"])?.split_whitespace().next().unwrap_or_default().to_owned(),
        };
        let place = directory.to_string_lossy();
        // What a comparison before this one left behind when it was killed.
        call(&["stop", &place])?;
        remove(directory)?;
        let port = free_port()?.to_string();
        let said = call(&["start", &first, &place, &port]).inspect_err(|_| drop(remove(directory)))?;
        let mut started = Started {
            script: script.to_owned(),
            directory: directory.to_owned(),
            url: String::new(),
            facts: Facts::default(),
        };
        for line in said.lines() {
            let (key, value) = pair(line).map_err(|error| format!("{}: {error}", script.display()))?;
            match key.as_str() {
                "not_run" => return Ok(Start::NotRun(value)),
                "url" => started.url = value,
                _ => started
                    .facts
                    .take(&key, value)
                    .map_err(|error| format!("{}: {error}", script.display()))?,
            }
        }
        if started.url.is_empty() || started.facts.pids.is_empty() {
            return Err(format!("{} says neither url= nor pid=, or not both", script.display()));
        }
        Ok(Start::Started(Box::new(started)))
    }

    /// Asks the running server how it is set.
    ///
    /// # Errors
    /// In words: what the script said when it failed.
    pub fn evidence(&self, core: usize) -> Result<String, String> {
        let said = call(&self.script, core, &["evidence", &self.directory.to_string_lossy()])?;
        let evidence = said.lines().find_map(|line| line.strip_prefix("evidence="));
        Ok(evidence.unwrap_or_default().to_owned())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let stopped = call(&self.script, 0, &["stop", &self.directory.to_string_lossy()])
            .and_then(|_| remove(&self.directory));
        if let Err(words) = stopped {
            eprintln!("zerobench: {words}");
        }
    }
}

/// Calls a script and gives what it says; what it tells people goes where ours goes.
fn call(script: &Path, core: usize, arguments: &[&str]) -> Result<String, String> {
    let shown = script.display();
    let output = Command::new(script)
        .args(arguments)
        .env("BENCH_SERVER_CORE", core.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|_| format!("{shown} says no UTF-8"));
    }
    Err(format!("{shown} {} failed: {}", arguments.join(" "), output.status))
}

fn remove(directory: &Path) -> Result<(), String> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Of this moment; whoever starts a server on it finds out whether it still is.
fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no port is free: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_with_all_that_belongs_to_it() {
        let text =
            "a=http://h:1,pid=3,pid=4,key=K,secret=S=,region=r,version=1.2,mode=m,durable=yes,syncs=1.5";
        let peer: PeerArg = text.parse().expect("parses");
        assert_eq!((peer.name.as_str(), peer.origin), ("a", Origin::Url("http://h:1".to_owned())));
        let facts = peer.facts;
        assert_eq!((facts.pids, facts.secret_key), (vec![3, 4], Some("S=".to_owned())));
        assert_eq!((facts.mode.as_str(), facts.durable), ("m", Some(true)));
        assert_eq!((facts.region.as_deref(), facts.syncs_per_write), (Some("r"), Some(1.5)));
        let cache: PeerArg = "c=http://h:1,token=T,api=files".parse().expect("parses");
        assert_eq!((cache.facts.token.as_deref(), cache.facts.cache_api), (Some("T"), Some(CacheApi::Files)));
        let queue: PeerArg = "q=http://h:1,backlog=5".parse().expect("parses");
        assert_eq!(queue.facts.backlog_count, Some(5));
        let bad =
            ["", "a", "a=", "=http://h:1", "a=u,pid=x", "a=u,what=1", "a=u,syncs=-1", "a=u,durable=maybe"];
        for bad in bad.into_iter().chain(["a=u,api=x", "a=u,backlog=-1"]) {
            assert!(bad.parse::<PeerArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_script_is_read_with_and_without_a_mode() {
        let origin = |text: &str| text.parse::<PeerArg>().expect("parses").origin;
        let path = PathBuf::from("x/y.sh");
        assert_eq!(origin("a=script:x/y.sh"), Origin::Script { path: path.clone(), mode: None });
        let mode = Some("durable".to_owned());
        assert_eq!(origin("a=script:x/y.sh:durable"), Origin::Script { path, mode });
    }
}
