//! The echo as a limit: what the reactor and HTTP cost before anything is stored, driven by this program and by `wrk` or
//! `h2load` in turns.
//!
//! Two rates agree, or they differ because one generator's core is full before the server's is. Then the server's CPU time per
//! request is held against each other, with each generator's own count: one that counts or sends something else shows
//! there. It is not quite the server's alone either: the more requests a turn of the ring finds, the less each costs (bare,
//! of 64 connections 3.8 us, of 8 5.0 us), and a generator that sends singly leaves less to find. Both are always told.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::tools::Tool;
use super::{BARE_ECHO, HTTP_ECHO, HTTP2_ECHO, Limit, Place, judged, limit, median, tools};
use crate::load::run::{self, Load, Pace};
use crate::report::json::{Compared, rounded};
use crate::scenario::Target;
use crate::scenarios::echo::Echo;
use crate::server::process::{Process, Usage};

const CONNECTIONS: usize = 64;
/// Of HTTP/2: as many requests in flight as above.
const HTTP2_CONNECTIONS: usize = 8;
const HTTP2_STREAMS: usize = 8;

/// An echo, how it is asked, and what reads the other generator's output.
struct Way {
    name: &'static str,
    is_bare: bool,
    connections: usize,
    streams: usize,
    tool: Tool,
    count: fn(&str) -> Option<(f64, f64)>,
}

/// One turn of one generator.
struct Driven {
    rate: f64,
    server_us: f64,
    server_share: f64,
    generator_share: f64,
}

/// All echoes in a closed loop with 64 requests in flight.
///
/// # Errors
/// In words: an echo that does not start, or a run that is void.
pub fn measure(place: &Place<'_>, say: &mut dyn FnMut(Limit)) -> Result<(), String> {
    let http1 = |name, is_bare| Way {
        name,
        is_bare,
        connections: CONNECTIONS,
        streams: 0,
        tool: tools::wrk(CONNECTIONS, place.seconds),
        count: tools::wrk_count,
    };
    let http2 = Way {
        connections: HTTP2_CONNECTIONS,
        streams: HTTP2_STREAMS,
        tool: tools::h2load(HTTP2_CONNECTIONS, HTTP2_STREAMS, place.seconds),
        count: tools::h2load_count,
        ..http1(HTTP2_ECHO, false)
    };
    for way in [http1(BARE_ECHO, true), http1(HTTP_ECHO, false), http2] {
        let server = Server::start(place.server_core, way.is_bare)?;
        let (own, outside) =
            place.in_turns(|| ours(&way, place, &server), || theirs(&way, place, &server))?;
        let of = |all: &[Driven], figure: fn(&Driven) -> f64| median(all.iter().map(figure).collect());
        let rates = outside.as_ref().map(|all| of(all, |driven| driven.rate)).map_err(Clone::clone);
        let limit = limit(way.name, "requests/s", of(&own, |driven| driven.rate), &way.tool, rates);
        let Ok(outside) = outside else {
            say(limit);
            continue;
        };
        let us = [&own, &outside].map(|all| rounded(of(all, |driven| driven.server_us)));
        let percent = |all: &[Driven], figure| of(all, figure) * 100.0;
        let note = format!(
            "A request took {:.2} us of the server's CPU time here and {:.2} us under the tool. The server's core was {:.0} % busy \
             with it and {:.0} %, the load's {:.0} % and {:.0} %.",
            us[0],
            us[1],
            percent(&own, |driven| driven.server_share),
            percent(&outside, |driven| driven.server_share),
            percent(&own, |driven| driven.generator_share),
            percent(&outside, |driven| driven.generator_share),
        );
        say(held_against(Limit { note: Some(note), ..limit }, us));
    }
    Ok(())
}

/// By the rates if they agree, or else by what a request cost the server.
fn held_against(limit: Limit, [value, tool_value]: [f64; 2]) -> Limit {
    if limit.agrees == Some(true) {
        return limit;
    }
    let what = "the server's CPU time per request in us".to_owned();
    judged(Limit { compared: Some(Compared { what, value, tool_value }), ..limit })
}

fn ours(way: &Way, place: &Place<'_>, server: &Server) -> Result<Driven, String> {
    let load = Load {
        pace: Pace::Closed,
        connections: way.connections,
        streams: way.streams,
        warm_up: Duration::from_millis(500),
        measured: Duration::from_secs_f64(place.seconds),
        answers_max: None,
        silence_max: None,
        cores: vec![place.load_core],
        seed: 1,
    };
    let (target, scenario) = (Target::plain(&server.url)?, Echo { path: "/".to_owned() });
    let measured = run::run(&load, &target, &scenario, Some(&server.process), &mut |_| ())?;
    if let Some(void) = measured.void() {
        return Err(format!("{}: {void}", way.name));
    }
    let usage = measured.usage.ok_or("the echo went away")?;
    let count = measured.recorder.in_window_count as f64;
    Ok(Driven { generator_share: measured.generator_share, ..driven(measured.rate(), count, &usage) })
}

fn theirs(way: &Way, place: &Place<'_>, server: &Server) -> Result<Driven, String> {
    let before = server.process.begin();
    let ran = way.tool.run(place.load_core, &server.url)?;
    let usage = server.process.since(&before).ok_or("the echo went away")?;
    let (count, rate) = (way.count)(&ran.text).ok_or_else(|| way.tool.not_understood())?;
    let generator_share = (ran.cpu.user + ran.cpu.system).as_secs_f64() / ran.elapsed.as_secs_f64().max(1e-9);
    Ok(Driven { generator_share, ..driven(rate, count, &usage) })
}

fn driven(rate: f64, count: f64, usage: &Usage) -> Driven {
    let cpu = usage.cpu().as_secs_f64();
    Driven {
        rate,
        server_us: cpu * 1e6 / count.max(1.0),
        server_share: cpu / usage.elapsed.as_secs_f64().max(1e-9),
        generator_share: 0.0,
    }
}

/// An echo as a child on a core of its own, killed when it is dropped.
struct Server {
    child: Child,
    process: Process,
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
        let mut server = Server { process: Process::new(vec![child.id()]), child, url: String::new() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_are_compared_by_rate_or_else_by_the_servers_cpu_time() {
        let of = |rate, us| held_against(limit("x", "1/s", rate, &Tool::new("wrk"), Ok(100.0)), us);
        let by_rate = of(110.0, [1.0, 9.0]);
        assert_eq!((by_rate.agrees, by_rate.compared), (Some(true), None));
        let by_cpu = of(140.0, [4.0, 4.5]);
        assert!(by_cpu.agrees == Some(true) && by_cpu.compared.is_some());
        let by_neither = of(140.0, [4.0, 9.0]);
        assert!(by_neither.agrees == Some(false) && by_neither.compared.is_some());
    }
}
