//! The echo as a limit: what the reactor and HTTP cost before anything is stored, driven by this program and by `wrk`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Limit, Place, limit, tools};
use crate::load::run::{self, Load, Pace};
use crate::scenario::Target;
use crate::scenarios::echo::Echo;

const CONNECTIONS: usize = 64;

/// Both echoes, closed loop, 64 connections.
///
/// # Errors
/// In words: an echo that does not start, or a run that is void.
pub fn measure(place: &Place<'_>) -> Result<Vec<Limit>, String> {
    let one = |name: &str, is_bare: bool| -> Result<Limit, String> {
        let server = Server::start(place.server_core, is_bare)?;
        let target = Target::plain(&server.url)?;
        let load = Load {
            pace: Pace::Closed,
            connections: CONNECTIONS,
            streams: 0,
            warm_up: Duration::from_millis(500),
            measured: Duration::from_secs_f64(place.seconds),
            cores: vec![place.load_core],
            seed: 1,
        };
        let measured = run::run(&load, &target, &Echo { path: "/".to_owned() }, None, &mut |_| ())?;
        if let Some(void) = measured.void() {
            return Err(format!("{name}: {void}"));
        }
        let wrk = tools::wrk(place.load_core, &server.url, CONNECTIONS, place.seconds);
        Ok(limit(name, "requests/s", measured.rate(), wrk))
    };
    Ok(vec![one("bare echo on the ring", true)?, one("echo with the appliance's HTTP", false)?])
}

/// An echo as a child on a core of its own, killed when it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(core: usize, is_bare: bool) -> Result<Server, String> {
        let itself = std::env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
        let mut command = Command::new(itself);
        command.args(["serve-echo", "--core", &core.to_string()]);
        if is_bare {
            command.arg("--bare");
        }
        let mut child =
            command.stdout(Stdio::piped()).spawn().map_err(|error| format!("the echo: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the echo has no output")?;
        let mut server = Server { child, url: String::new() };
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("the echo: {error}"))?;
        let url = line.trim().rsplit(' ').next().filter(|url| url.starts_with("http://"));
        server.url = url.ok_or("the echo did not start")?.to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
