//! Two reports of the same load side by side: which figures changed by more than the noise.
//! Invariant: `better` and `worse` are said only if both sides have three rounds or more, their ranges do not overlap and
//! their medians differ by more than 3 %.

use std::fmt;

use super::figures::{mebibytes, micros, spread, thousands};
use super::json::{Peer, Report, Values};

/// Fewer rounds have no range worth the name.
const ROUNDS_MIN: usize = 3;
/// A smaller part of the old median is no change, however quiet both runs were.
const SHARE_MIN: f64 = 0.03;

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Beyond the noise, in the direction that one wants.
    Better,
    /// Beyond the noise, in the other.
    Worse,
    /// Within the noise.
    Same,
    /// Nothing can be said.
    TooFewRounds,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Same => "same",
            Verdict::TooFewRounds => "too few rounds",
        })
    }
}

/// A figure of two reports.
pub struct Change {
    /// Whose.
    pub peer: String,
    /// Which.
    pub figure: &'static str,
    /// The smallest round, the median, the largest.
    pub old: [f64; 3],
    /// The same of the new report.
    pub new: [f64; 3],
    /// What became of it.
    pub verdict: Verdict,
    show: fn(f64) -> String,
}

/// What two reports have in common, and what they have not.
#[derive(Default)]
pub struct Changes {
    /// Peer by peer, figure by figure.
    pub figures: Vec<Change>,
    /// What was not compared, or compares unlike things, in whole sentences.
    pub remarks: Vec<String>,
}

/// Sets `new` against `old`.
///
/// # Errors
/// In words: the two were not driven in the same way, so that nothing follows from their figures.
pub fn changes(old: &Report, new: &Report) -> Result<Changes, String> {
    let load = |report: &Report| format!("{}, {}", report.scenario.title, report.scenario.load);
    if load(old) != load(new) {
        return Err(format!("the loads differ: {} / {}", load(old), load(new)));
    }
    let mut changes = Changes::default();
    if old.machine != new.machine {
        changes.remarks.push("The machines differ.".to_owned());
    }
    for peer in &new.peers {
        let is_same = |other: &&Peer| other.name == peer.name && other.mode == peer.mode;
        match old.peers.iter().find(is_same) {
            Some(before) => compare(before, peer, &mut changes),
            None => changes.remarks.push(format!("{} is in the new report alone.", peer.name)),
        }
    }
    for peer in &old.peers {
        if !new.peers.iter().any(|other| other.name == peer.name && other.mode == peer.mode) {
            changes.remarks.push(format!("{} is in the old report alone.", peer.name));
        }
    }
    Ok(changes)
}

/// For a terminal.
pub fn terminal(changes: &Changes) -> String {
    let mut out = String::new();
    let width = changes.figures.iter().map(|change| change.peer.chars().count()).max().unwrap_or(0);
    for change in &changes.figures {
        let side = |of: [f64; 3]| {
            let (median, range) = spread(of, change.show);
            format!("{median} ({range})")
        };
        out += &format!(
            "{:<width$}  {:<11}  {:>28}  ->  {:<28}  {:>7}  {}\n",
            change.peer,
            change.figure,
            side(change.old),
            side(change.new),
            percent(change.old[1], change.new[1]),
            change.verdict
        );
    }
    changes.remarks.iter().for_each(|text| out += &format!("note: {text}\n"));
    out
}

struct Figure {
    name: &'static str,
    more_is_better: bool,
    show: fn(f64) -> String,
    of: fn(&Peer) -> Values,
}

const FIGURES: [Figure; 7] = [
    Figure {
        name: "requests/s",
        more_is_better: true,
        show: thousands,
        of: |peer| peer.summary.rate.clone(),
    },
    Figure { name: "p50", more_is_better: false, show: micros, of: |peer| peer.summary.p50_us.clone() },
    Figure { name: "p90", more_is_better: false, show: micros, of: |peer| peer.summary.p90_us.clone() },
    Figure { name: "p99", more_is_better: false, show: micros, of: |peer| peer.summary.p99_us.clone() },
    Figure { name: "p99.9", more_is_better: false, show: micros, of: |peer| peer.summary.p999_us.clone() },
    Figure {
        name: "CPU/request",
        more_is_better: false,
        show: |us| format!("{us:.1} us"),
        of: |peer| peer.summary.cpu_us.clone(),
    },
    Figure { name: "peak MiB", more_is_better: false, show: mebibytes, of: peaks },
];

fn peaks(peer: &Peer) -> Values {
    Values(peer.rounds.iter().filter_map(|round| Some(round.peak_bytes? as f64)).collect())
}

fn compare(old: &Peer, new: &Peer, changes: &mut Changes) {
    for (peer, which) in [(old, "old"), (new, "new")] {
        if let Some(reason) = peer.void.as_ref().or(peer.not_run.as_ref()) {
            changes.remarks.push(format!("{} does not count in the {which} report: {reason}.", peer.name));
            return;
        }
    }
    for figure in &FIGURES {
        let (before, after) = ((figure.of)(old), (figure.of)(new));
        if let (Some(old), Some(spread)) = (before.spread(), after.spread()) {
            changes.figures.push(Change {
                peer: new.name.clone(),
                figure: figure.name,
                old,
                new: spread,
                verdict: verdict(&before, &after, figure.more_is_better),
                show: figure.show,
            });
        }
    }
}

fn verdict(old: &Values, new: &Values, more_is_better: bool) -> Verdict {
    let (Some(before), Some(after)) = (old.spread(), new.spread()) else { return Verdict::TooFewRounds };
    if old.0.len() < ROUNDS_MIN || new.0.len() < ROUNDS_MIN {
        return Verdict::TooFewRounds;
    }
    let is_more = after[0] > before[2];
    let is_less = after[2] < before[0];
    let is_far = (after[1] - before[1]).abs() > before[1].abs() * SHARE_MIN;
    match (is_far && (is_more || is_less), is_more == more_is_better) {
        (false, _) => Verdict::Same,
        (true, true) => Verdict::Better,
        (true, false) => Verdict::Worse,
    }
}

fn percent(old: f64, new: f64) -> String {
    if old == 0.0 { String::new() } else { format!("{:+.1} %", (new / old - 1.0) * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn of(old: [f64; 3], new: [f64; 3], more_is_better: bool) -> Verdict {
        verdict(&Values(old.to_vec()), &Values(new.to_vec()), more_is_better)
    }

    #[test]
    fn a_report_against_itself_is_the_same_everywhere() {
        let report = samples::report();
        let changes = changes(&report, &report).expect("the same load");
        assert_eq!(changes.figures.len(), 2 * FIGURES.len(), "two peers of the sample count");
        assert!(changes.figures.iter().all(|change| change.verdict == Verdict::Same));
        assert!(changes.remarks.iter().any(|text| text.starts_with("gamma does not count")));
        assert!(terminal(&changes).contains("same"));
    }

    #[test]
    fn only_what_lies_beyond_both_ranges_and_three_percent_is_a_change() {
        assert_eq!(of([98.0, 100.0, 102.0], [108.0, 110.0, 112.0], true), Verdict::Better);
        assert_eq!(of([98.0, 100.0, 102.0], [108.0, 110.0, 112.0], false), Verdict::Worse);
        assert_eq!(of([98.0, 100.0, 102.0], [88.0, 90.0, 92.0], false), Verdict::Better);
        assert_eq!(of([98.0, 100.0, 109.0], [108.0, 110.0, 112.0], true), Verdict::Same, "overlap");
        assert_eq!(of([99.9, 100.0, 100.1], [102.0, 102.1, 102.2], true), Verdict::Same, "2 %");
    }

    #[test]
    fn two_rounds_say_nothing() {
        let few = verdict(&Values(vec![1.0, 1.0]), &Values(vec![9.0, 9.0, 9.0]), true);
        assert_eq!(few, Verdict::TooFewRounds);
    }

    #[test]
    fn different_loads_are_not_compared() {
        let old = samples::report();
        let mut new = old.clone();
        new.scenario.load = "closed loop".to_owned();
        assert!(changes(&old, &new).is_err());
    }
}
