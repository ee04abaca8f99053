//! The report as one HTML file that needs nothing else: the table, plots, and everything that is needed to run it again.
//! Invariant: it is made of the JSON report alone, so `zerobench report FILE --html OUT` can make it again.

use super::figures::{micros, percentile, plain, round_micros, thousands};
use super::json::{Limit, Peer, Report, Round, Values};
use super::limits;
use super::plot::{self, Axis, Bar, Scale, Series, escape};
use super::table::{self, HEADS, WORD_COLUMNS};

const STYLE: &str = include_str!("page.css");
const RATE: Axis =
    Axis { label: "requests per second", scale: Scale::Linear, tick: thousands, show: thousands };
const LATENCY: Axis = Axis { label: "latency", scale: Scale::Log, tick: round_micros, show: micros };
const SLOWEST: Axis = Axis { label: "longest latency", ..LATENCY };
const PERCENTILE: Axis = Axis { label: "percentile", scale: Scale::Log, tick: percentile, show: percentile };
const SECONDS: Axis =
    Axis { label: "seconds of the measured time", scale: Scale::Linear, tick: plain, show: plain };
const CPU: Axis = Axis { label: "us per request", scale: Scale::Linear, tick: plain, show: plain };

/// The page.
pub fn page(report: &Report) -> String {
    let title = escape(&report.scenario.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n<h1>{title}</h1>\n<p>{}</p>\n",
        escape(&report.scenario.load)
    );
    out += &verdict(report);
    out += &rows(report);
    limits::held_against(report)
        .iter()
        .for_each(|text| out += &format!("<p class=\"small\">{}</p>\n", escape(text)));
    let has_limit = report.peers.iter().any(|peer| peer.summary.limit_rate.is_some());
    let dashed = if has_limit { " Dashed: the limit." } else { "" };
    let rates = format!("Median of the rounds; the line goes from the smallest to the largest.{dashed}");
    section(&mut out, "Rate", &rates, || plot_bars(report, &RATE, |peer| &peer.summary.rate, true));
    section(&mut out, "Latency by percentile", "From the intended time, all rounds added up.", || {
        let series = series(report, |peer| vec![by_percentile(peer)]);
        (!series.is_empty()).then(|| plot::lines(&PERCENTILE, &LATENCY, &series))
    });
    section(&mut out, "Throughput over time", "One line per round.", || {
        over_time(report, &RATE, |round, index| {
            Some(*round.good_counts.get(index)? as f64 / round.slice_seconds)
        })
    });
    section(&mut out, "Slowest request over time", "Of each slice of time, one line per round.", || {
        over_time(report, &SLOWEST, |round, index| {
            round.slowest_us.get(index).copied().filter(|slowest| *slowest > 0.0)
        })
    });
    section(
        &mut out,
        "CPU time of the server",
        "Per good answer, with the kernel's work for its threads and without write-back.",
        || plot_bars(report, &CPU, |peer| &peer.summary.cpu_us, false),
    );
    out += &limits_of_machine(report);
    out += &again(report);
    out
}

/// A heading, a sentence and a plot, or nothing where there is nothing to plot.
fn section(out: &mut String, title: &str, text: &str, plot: impl FnOnce() -> Option<String>) {
    if let Some(plot) = plot() {
        *out += &format!("<h2>{title}</h2>\n<p class=\"small\">{text}</p>\n{plot}\n");
    }
}

/// Why a result does not count, before anything else is shown.
fn verdict(report: &Report) -> String {
    let (void, notes) = table::remarks(report);
    let mut out = String::new();
    void.iter().for_each(|text| out += &format!("<p class=\"void\">{}</p>\n", escape(text)));
    notes.iter().for_each(|text| out += &format!("<p class=\"note\">{}</p>\n", escape(text)));
    out
}

fn rows(report: &Report) -> String {
    let rows: Vec<_> = report.peers.iter().map(table::row).collect();
    let columns = table::columns(&rows);
    let class = |column: usize| if column < WORD_COLUMNS { " class=\"word\"" } else { "" };
    let mut out = String::from("<div class=\"scroll\"><table>\n<tr>");
    columns.iter().for_each(|column| out += &format!("<th{}>{}</th>", class(*column), HEADS[*column]));
    out += "</tr>\n";
    for (peer, row) in report.peers.iter().zip(&rows) {
        out += if peer.void.is_some() { "<tr class=\"off\">" } else { "<tr>" };
        for column in &columns {
            let cell = &row[*column];
            let range =
                cell.range.as_ref().map_or_else(String::new, |range| format!("<br><small>{range}</small>"));
            out += &format!("<td{}>{}{range}</td>", class(*column), escape(&cell.text));
        }
        out += "</tr>\n";
    }
    out + "</table></div>\n"
}

fn plot_bars(report: &Report, axis: &Axis, of: fn(&Peer) -> &Values, has_limit: bool) -> Option<String> {
    let bar = |(colour, peer): (usize, &Peer)| {
        let void = if peer.void.is_some() { " (void)" } else { "" };
        Some(Bar {
            name: format!("{}{void}", peer.name),
            colour,
            spread: of(peer).spread()?,
            limit: peer.summary.limit_rate.filter(|_| has_limit),
            is_void: peer.void.is_some(),
        })
    };
    let bars: Vec<Bar> = report.peers.iter().enumerate().filter_map(bar).collect();
    (!bars.is_empty()).then(|| plot::bars(axis, &bars))
}

/// A colour belongs to a peer, not to a place in a plot: a peer without points must not shift the others'.
fn series(report: &Report, lines: impl Fn(&Peer) -> Vec<Vec<(f64, f64)>>) -> Vec<Series> {
    let of = |(colour, peer): (usize, &Peer)| {
        let lines: Vec<_> = lines(peer).into_iter().filter(|line| !line.is_empty()).collect();
        (!lines.is_empty()).then(|| Series { name: peer.name.clone(), colour, lines })
    };
    report.peers.iter().enumerate().filter_map(of).collect()
}

/// The horizontal axis is 1 / (1 - share): each power of ten is one more nine.
fn by_percentile(peer: &Peer) -> Vec<(f64, f64)> {
    peer.curve.iter().map(|point| (1.0 / (1.0 - point.share).max(1e-6), point.latency_us)).collect()
}

/// The slices of the measured time alone: those of the warm-up come before, that of the last answers behind.
fn over_time(report: &Report, axis: &Axis, of: fn(&Round, usize) -> Option<f64>) -> Option<String> {
    let line = |round: &Round| {
        let width = round.slice_seconds.max(1e-3);
        let warm_up = report.scenario.warm_up_seconds;
        // Whole slices only; the hair keeps 0.3 / 0.1 from being less than three.
        let first = (warm_up / width - 1e-6).ceil() as usize;
        let end = ((warm_up + report.scenario.seconds) / width + 1e-6).floor() as usize;
        let point = |index: usize| Some(((index - first) as f64 * width, of(round, index)?));
        (first..end).filter_map(point).collect()
    };
    let series = series(report, |peer| peer.rounds.iter().map(line).collect());
    (!series.is_empty()).then(|| plot::lines(&SECONDS, axis, &series))
}

/// All limits, beside what another tool gave.
fn limits_of_machine(report: &Report) -> String {
    if report.limits.is_empty() {
        return String::new();
    }
    let when = report.limits_began.as_ref().map_or_else(String::new, |began| format!(", measured {began}"));
    let mut out = format!(
        "<h2>What this machine can do</h2>\n<p class=\"small\">On one core{}. Marked: another tool gave less than 0.8 or more \
         than 1.25 of it, and no share is taken.</p>\n<div class=\"scroll\"><table class=\"limits\">\n<tr><th class=\"word\">limit</th>\
         <th>here</th><th>by a tool</th><th>ratio</th></tr>\n",
        escape(&when)
    );
    let used = report.fit.as_ref().map(|fit| fit.limit.as_str());
    for limit in &report.limits {
        let ratio = limit.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let mark = if limit.agrees == Some(false) { " class=\"void\"" } else { "" };
        let tool =
            limit.tool_value.map_or_else(String::new, |value| escape(&limits::figure(value, &limit.unit)));
        let used = if used == Some(&limit.name) { "<br><small>the limit of this load</small>" } else { "" };
        out += &format!(
            "<tr class=\"figures\"><td class=\"word\">{}{used}</td><td>{}</td><td>{tool}</td><td{mark}>{ratio}</td></tr>\n",
            escape(&limit.name),
            escape(&limits::figure(limit.value, &limit.unit))
        );
        // Under its figures and over all columns: beside them it would make the table too wide for a phone.
        out += &format!("<tr><td class=\"how\" colspan=\"4\">{}</td></tr>\n", how(limit));
    }
    out + "</table></div>\n"
}

/// The tool with its flags, what was compared, and what else is to be known.
fn how(limit: &Limit) -> String {
    let tool = match (&limit.tool, &limit.no_tool) {
        (Some(tool), _) => format!("<code>{}</code>", escape(tool)),
        (None, why) => escape(why.as_deref().unwrap_or("not checked by another tool")),
    };
    let compared = limit.compared.as_ref().map(|compared| {
        let (here, there) = (compared.value, compared.tool_value);
        format!("Compared by {}: {here:.2} and {there:.2}.", compared.what)
    });
    let more = compared.iter().chain(&limit.note);
    tool + &more.map(|words| format!("<br>{}", escape(words))).collect::<String>()
}

/// Machine, versions, date and command.
fn again(report: &Report) -> String {
    let machine = &report.machine;
    let rows = [
        ("command", format!("<code>{}</code>", escape(&report.command))),
        ("date", escape(&report.began)),
        ("commit", escape(&report.commit)),
        (
            "machine",
            escape(&format!(
                "{}, {} cores, {} MiB, kernel {}",
                machine.processor,
                machine.cores,
                thousands(machine.memory_mib as f64),
                machine.kernel
            )),
        ),
        (
            "disk",
            escape(&format!(
                "{} on {}, write cache: {}",
                machine.file_system, machine.device, machine.write_cache
            )),
        ),
        ("load", escape(&format!("{}, seed {}", report.scenario.load, report.scenario.seed))),
    ];
    let mut out = String::from("<h2>To run it again</h2>\n<dl>\n");
    rows.iter().for_each(|(name, value)| out += &format!("<dt>{name}</dt><dd>{value}</dd>\n"));
    for peer in report.peers.iter().filter(|peer| !peer.evidence.is_empty()) {
        out += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(&peer.name), escape(&peer.evidence));
    }
    out + "</dl>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::Fit;
    use crate::report::samples;

    #[test]
    fn the_page_needs_nothing_else_and_shows_every_peer() {
        let report = samples::report();
        let page = page(&report);
        for outside in ["<script", "http://", "https://", "url(", "@import", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(report.peers.iter().all(|peer| page.contains(&peer.name)));
        assert!(page.contains("gamma is void") && !page.contains("NaN"));
    }

    #[test]
    fn the_page_shows_every_limit_and_marks_the_one_that_differs() {
        let report = samples::report();
        let page = page(&report);
        assert!(report.limits.iter().all(|limit| page.contains(&escape(&limit.name))));
        assert_eq!(page.matches("<td class=\"void\">2.00</td>").count(), 1);
        assert_eq!(page.matches("the limit of this load").count(), 1);
        assert!(page.contains("Dashed: the limit") && page.contains("class=\"limit\""));
        let none = super::page(&Report { limits: Vec::new(), fit: None, ..report });
        assert!(!none.contains("What this machine can do"));
    }

    #[test]
    fn what_a_server_said_cannot_break_out_of_the_page() {
        let mut report = samples::report();
        report.peers[2].void = Some("<img onerror=x>".to_owned());
        report.command = "zerobench <b>".to_owned();
        for limit in &mut report.limits {
            limit.name += "<b>";
            limit.unit += "<b>";
            for text in [&mut limit.tool, &mut limit.no_tool, &mut limit.note] {
                *text = Some("<b>".to_owned());
            }
        }
        report.fit = Some(Fit {
            limit: "<b>".to_owned(),
            rate: None,
            is_synced: false,
            is_of_http: true,
            reason: Some("<b>".to_owned()),
        });
        let page = page(&report);
        assert!(!page.contains("<img") && !page.contains("<b>"));
    }
}
