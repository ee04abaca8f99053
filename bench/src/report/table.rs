//! The table of a report, one row per peer: for a terminal, and as Markdown for a README.
//! Invariant: a row that does not count is shown with its reason, and has no ratio and no share.

use super::figures::{mebibytes, micros, spread, thousands};
use super::json::{Peer, Report, Scenario, Values};
use super::limits;

/// The columns' heads.
pub const HEADS: [&str; 13] = [
    "",
    "version",
    "mode",
    "req/s",
    "ratio",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "CPU us/req",
    "peak MiB",
    "errors",
    "of limit",
];
/// So many columns hold words; the others hold numbers and stand at the right.
pub const WORD_COLUMNS: usize = 3;

/// A cell: what it says, and the smallest and largest round where there is more than one.
#[derive(Clone, Default)]
pub struct Cell {
    /// The figure.
    pub text: String,
    /// Behind it and smaller.
    pub range: Option<String>,
}

/// The cells of a peer, one for each of `HEADS`.
pub fn row(peer: &Peer) -> [Cell; HEADS.len()] {
    let summary = &peer.summary;
    let mode = match (peer.is_lossy(), peer.mode.as_str()) {
        (false, mode) => mode.to_owned(),
        (true, "") => "not durable".to_owned(),
        (true, mode) => format!("{mode}, not durable"),
    };
    let rate = match &peer.not_run {
        Some(_) => word("not run"),
        None => cell(&summary.rate, thousands),
    };
    let ratio = match (&summary.ratio, &peer.void) {
        (Some(ratio), _) => cell(ratio, |ratio| format!("{ratio:.2}")),
        (None, Some(_)) => word("void"),
        (None, None) => Cell::default(),
    };
    let time = |values: &Values| word(&values.median().map_or_else(String::new, micros));
    let errors = if peer.rounds.is_empty() { String::new() } else { thousands(summary.error_count as f64) };
    [
        word(&peer.name),
        word(&peer.version),
        word(&mode),
        rate,
        ratio,
        time(&summary.p50_us),
        time(&summary.p90_us),
        time(&summary.p99_us),
        time(&summary.p999_us),
        word(&summary.cpu_us.median().map_or_else(String::new, |us| format!("{us:.1}"))),
        word(&summary.peak_bytes.map_or_else(String::new, |bytes| mebibytes(bytes as f64))),
        word(&errors),
        word(&summary.limit_share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0))),
    ]
}

/// The columns that are shown: what is known of no peer is left out.
pub fn columns(rows: &[[Cell; HEADS.len()]]) -> Vec<usize> {
    let is_known = |column: usize| rows.iter().any(|row| !row[column].text.is_empty());
    (0..HEADS.len()).filter(|column| *column == 0 || is_known(*column)).collect()
}

/// Why a result does not count, or needs a second look, in whole sentences: what is void first, then what is not.
pub fn remarks(report: &Report) -> (Vec<String>, Vec<String>) {
    let (mut void, mut notes) = (Vec::new(), Vec::new());
    if let Some(reason) = &report.ended_early {
        void.push(format!("This run ended early: {reason}."));
    }
    for peer in &report.peers {
        let name = &peer.name;
        // Whoever ended the run was named for it already.
        if let Some(reason) = peer.void.as_ref().filter(|reason| report.ended_early.as_ref() != Some(reason))
        {
            void.push(format!("{name} is void: {reason}."));
        }
        if let Some(reason) = &peer.not_run {
            notes.push(format!("{name} was not run: {}.", reason.trim_end_matches('.')));
        }
        if let Some(words) = parts(&report.scenario, peer) {
            notes.push(words);
        }
        let mut said: Vec<&String> = peer.rounds.iter().flat_map(|round| &round.notes).collect();
        said.sort_unstable();
        said.dedup();
        notes.extend(said.iter().map(|note| format!("{name}: {note}")));
        let busy = peer.largest(|round| Some(round.generator_cpu_share)).unwrap_or(0.0);
        if busy > GENERATOR_SHARE_MAX {
            let percent = busy * 100.0;
            notes.push(format!(
                "Against {name} the load itself took {percent:.0} % of its cores: the server may do more than this."
            ));
        }
    }
    for peer in &report.peers {
        let others = peer.largest(|round| round.others_cpu_share).unwrap_or(0.0);
        if others > OTHERS_SHARE_MAX {
            let (name, percent) = (&peer.name, others * 100.0);
            notes.push(format!(
                "While {name} was driven, the other servers took up to {percent:.0} % of a core."
            ));
        }
    }
    let dirty = report.peers.iter().filter_map(|peer| peer.largest(|round| Some(round.dirty_bytes? as f64)));
    let dirty = dirty.fold(0.0, f64::max);
    if dirty > DIRTY_BYTES_MAX as f64 {
        let dirty = mebibytes(dirty);
        notes.push(format!("Rounds began with up to {dirty} MiB not yet written to disks."));
    }
    (void, notes)
}

/// For a terminal: a line per peer, a second one with the ranges of the rounds, then the remarks.
pub fn terminal(report: &Report) -> String {
    let rows: Vec<_> = report.peers.iter().map(row).collect();
    let columns = columns(&rows);
    let mut lines: Vec<[String; HEADS.len()]> = vec![HEADS.map(str::to_owned)];
    for cells in rows {
        let has_ranges = cells.iter().any(|cell| cell.range.is_some());
        lines.push(cells.clone().map(|cell| cell.text));
        if has_ranges {
            lines.push(cells.map(|cell| cell.range.unwrap_or_default()));
        }
    }
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for column in &columns {
            let width = lines.iter().map(|line| line[*column].chars().count()).max().unwrap_or(0);
            text += &match *column {
                0 => format!("{:<width$}", line[0]),
                column if column < WORD_COLUMNS => format!("  {:<width$}", line[column]),
                column => format!("  {:>width$}", line[column]),
            };
        }
        out += text.trim_end();
        out.push('\n');
    }
    limits::held_against(report).iter().for_each(|text| out += &format!("{text}\n"));
    let (void, notes) = remarks(report);
    void.iter().for_each(|text| out += &format!("VOID: {text}\n"));
    notes.iter().for_each(|text| out += &format!("note: {text}\n"));
    out
}

/// For a README: the table, the remarks, and under them what makes the figures mean something.
pub fn markdown(report: &Report) -> String {
    let rows: Vec<_> = report.peers.iter().map(row).collect();
    let columns = columns(&rows);
    // A bar would end the cell.
    let text = |cell: &Cell| match &cell.range {
        Some(range) => format!("{} ({range})", cell.text).replace('|', "\\|"),
        None => cell.text.replace('|', "\\|"),
    };
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(columns.iter().map(|column| HEADS[*column].to_owned()).collect());
    let rules = columns.iter().map(|column| if *column < WORD_COLUMNS { "---" } else { "---:" }.to_owned());
    out += &line(rules.collect());
    for row in &rows {
        out += &line(columns.iter().map(|column| text(&row[*column])).collect());
    }
    let (void, notes) = remarks(report);
    let against = limits::held_against(report);
    void.iter().chain(&notes).chain(&against).for_each(|text| out += &format!("\n{text}\n"));
    let (scenario, machine) = (&report.scenario, &report.machine);
    out += &format!(
        "\n{}: {}. Median of the rounds (smallest-largest). {}, {} cores, {} GiB, kernel {}, {} on {} (write cache: {}), {}, \
         commit {}.\n\n`{}`\n",
        scenario.title,
        scenario.load,
        machine.processor,
        machine.cores,
        (machine.memory_mib + 512) / 1024,
        machine.kernel,
        machine.file_system,
        machine.device,
        machine.write_cache,
        report.began,
        report.commit,
        report.command
    );
    out
}

/// How many parts of uploads a second, and how many bytes that is: a request may be a part or what completes an upload.
fn parts(scenario: &Scenario, peer: &Peer) -> Option<String> {
    let (Some(part_bytes), Some(_)) = (scenario.value_bytes, scenario.parts) else { return None };
    let rates = peer.rounds.iter().map(|round| round.body_bytes as f64 / scenario.seconds);
    let rate = Values(rates.collect()).median()?;
    Some(format!("{}: {}", peer.name, parts_and_bytes(rate, part_bytes)))
}

/// A rate of bytes that came in parts.
pub fn parts_and_bytes(bytes_per_second: f64, part_bytes: u64) -> String {
    let parts = bytes_per_second / part_bytes.max(1) as f64;
    format!("{} parts/s, {:.1} MB/s of bodies.", thousands(parts), bytes_per_second / 1e6)
}

fn word(text: &str) -> Cell {
    Cell { text: text.to_owned(), range: None }
}

fn cell(values: &Values, show: impl Fn(f64) -> String) -> Cell {
    let Some(of) = values.spread() else { return Cell::default() };
    let (text, range) = spread(of, show);
    Cell { text, range: (values.0.len() > 1).then_some(range) }
}

/// Above this part of a core servers that nobody drives are not idle.
const OTHERS_SHARE_MAX: f64 = 0.01;
/// Above this part of its cores the load may be what is measured.
const GENERATOR_SHARE_MAX: f64 = 0.95;
/// Above this a round pays for what ran before it.
pub const DIRTY_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_void_row_has_its_reason_and_no_ratio() {
        let report = samples::report();
        let gamma = report.peers.iter().find(|peer| peer.void.is_some()).expect("the sample has one");
        assert_eq!(row(gamma)[4].text, "void");
        let text = terminal(&report);
        assert!(text.contains("VOID: gamma is void: 3 requests failed"), "{text}");
        assert!(text.contains("delta was not run: its module is not served."), "{text}");
    }

    #[test]
    fn what_rounds_say_of_their_requests_is_said_once() {
        let mut report = samples::report();
        let note = || "They came round.".to_owned();
        report.peers[1].rounds[0].notes = vec![note()];
        report.peers[1].rounds[2].notes = vec![note()];
        assert_eq!(terminal(&report).matches("note: beta: They came round.").count(), 1);
    }

    #[test]
    fn markdown_has_as_many_cells_in_every_row_and_leaves_out_what_nobody_has() {
        let mut report = samples::report();
        report.peers[0].name = "a|b".to_owned();
        let with = markdown(&report);
        assert!(with.contains("of limit") && with.contains("| 80 % |"), "{with}");
        assert!(with.contains("\nThe limit is the bare echo on the ring: 25,000 requests/s.\n"), "{with}");
        report.fit = None;
        report.peers.iter_mut().for_each(|peer| peer.summary.limit_share = None);
        let text = markdown(&report);
        let table: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(table.len(), 2 + report.peers.len());
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(table.iter().all(|line| cells(line) == cells(table[0])), "{text}");
        assert!(!table[0].contains("of limit") && table[2].contains("a\\|b"), "{text}");
    }
}
