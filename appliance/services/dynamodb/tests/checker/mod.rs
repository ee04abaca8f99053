//! Whether a history of reads, writes and transactions is strictly serializable.
//!
//! Every write stores an id that no other write stores, and says which version it replaced. So the order of a key's
//! versions is known, not searched, and the question is whether a graph has a cycle. Its edges: a version before the one
//! that replaced it (ww), a version before who read it (wr), a reader before who replaced what it read (rw), and an event
//! that ended before another began (real time).
//! Invariant: every edge is forced. So a cycle proves a fault, however the open questions are answered; where nothing was
//! deleted and nothing ended with an unknown outcome, the absence of a cycle proves the opposite too.
//! Absent keys have no id: absence.rs says which edges they force. exhaustive.rs is the second opinion.

#![allow(dead_code, reason = "each program uses its own part")]

mod absence;
pub mod exhaustive;
mod graph;
pub mod recorded;

use std::collections::{BTreeMap, BTreeSet};

use graph::Graph;

/// A key, by number.
pub type Key = u32;
/// What a write stored; never 0.
pub type Id = u64;

/// A state of one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// There is no item.
    Absent,
    /// The item of this write.
    Is(Id),
}

/// One item that an event wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub key: Key,
    /// `Absent`: it was deleted. A delete that found nothing is a read of `Absent`.
    pub version: Version,
    /// What it replaced, as the reply or the write's own condition says; nothing where neither does.
    pub replaced: Option<Version>,
}

/// One request, atomic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// In words, for reports.
    pub name: String,
    /// Before the request left.
    pub begin: u64,
    /// After the reply came; nothing: none came, and whether the writes took effect is not known.
    pub end: Option<u64>,
    pub reads: Vec<(Key, Version)>,
    pub writes: Vec<Write>,
}

/// What is wrong with a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation(pub String);

/// What a sound history showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub events: usize,
    /// Events with an unknown outcome of which something was seen.
    pub unknown_seen: usize,
    pub versions: usize,
    pub edges: usize,
}

/// Judges a history; keys begin absent.
pub fn check(all: &[Event]) -> Result<Summary, Violation> {
    let events: Vec<&Event> = effective(all).into_iter().map(|place| &all[place]).collect();
    let writers = writers(&events)?;
    let mut graph = Graph::new(events.len());
    let mut successors: BTreeMap<(Key, Id), usize> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        for write in &event.writes {
            let Some(Version::Is(id)) = write.replaced else { continue };
            let writer = written_by(&writers, write.key, id, event)?;
            graph.edge(writer, place, "ww");
            if let Some(other) = successors.insert((write.key, id), place) {
                return Err(Violation(format!(
                    "key {}: version {id} was replaced twice, by {} and by {}",
                    write.key, events[other].name, event.name
                )));
            }
        }
    }
    for (place, event) in events.iter().enumerate() {
        for (key, version) in &event.reads {
            let Version::Is(id) = version else { continue };
            let writer = written_by(&writers, *key, *id, event)?;
            graph.edge(writer, place, "wr");
            if let Some(next) = successors.get(&(*key, *id)) {
                graph.edge(place, *next, "rw");
            }
        }
    }
    absence::edges(all, &events, &mut graph)?;
    graph.real_time(&events);
    if let Some(cycle) = graph.cycle() {
        return Err(Violation(describe(&events, &cycle)));
    }
    Ok(Summary {
        events: events.len(),
        unknown_seen: events.iter().filter(|event| event.end.is_none()).count(),
        versions: writers.len(),
        edges: graph.edge_count(),
    })
}

/// The events that took effect for sure: those with a reply, and those of which a version was seen by one of them.
fn effective(events: &[Event]) -> Vec<usize> {
    let mut open: BTreeMap<(Key, Id), usize> = BTreeMap::new();
    for (place, event) in events.iter().enumerate().filter(|(_, event)| event.end.is_none()) {
        for (key, id) in stored(event) {
            open.insert((key, id), place);
        }
    }
    let mut taken: BTreeSet<usize> = (0..events.len()).filter(|place| events[*place].end.is_some()).collect();
    let mut waiting: Vec<usize> = taken.iter().copied().collect();
    while let Some(place) = waiting.pop() {
        let event = &events[place];
        let reads = event.reads.iter().map(|(key, version)| (*key, Some(*version)));
        let replaced = event.writes.iter().map(|write| (write.key, write.replaced));
        for (key, version) in reads.chain(replaced) {
            let Some(Version::Is(id)) = version else { continue };
            if let Some(seen) = open.get(&(key, id)).filter(|seen| !taken.contains(seen)) {
                taken.insert(*seen);
                waiting.push(*seen);
            }
        }
    }
    taken.into_iter().collect()
}

fn stored(event: &Event) -> impl Iterator<Item = (Key, Id)> + '_ {
    event.writes.iter().filter_map(|write| match write.version {
        Version::Is(id) => Some((write.key, id)),
        Version::Absent => None,
    })
}

/// Who wrote which version.
fn writers(events: &[&Event]) -> Result<BTreeMap<(Key, Id), usize>, Violation> {
    let mut writers = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        for (key, id) in stored(event) {
            if let Some(other) = writers.insert((key, id), place) {
                let other: usize = other;
                return Err(Violation(format!(
                    "key {key}: version {id} was written twice, by {} and by {}",
                    events[other].name, event.name
                )));
            }
        }
    }
    Ok(writers)
}

fn written_by(
    writers: &BTreeMap<(Key, Id), usize>,
    key: Key,
    id: Id,
    by: &Event,
) -> Result<usize, Violation> {
    let found = writers.get(&(key, id)).copied();
    found.ok_or_else(|| Violation(format!("key {key}: {} saw version {id}, which nobody wrote", by.name)))
}

/// A cycle in words, one event a line.
fn describe(events: &[&Event], cycle: &[(usize, &'static str)]) -> String {
    let mut text = "no order explains this history; each event must come before the next:\n".to_owned();
    for (place, edge) in cycle {
        let event = events[*place];
        let end = event.end.map_or("?".to_owned(), |end| end.to_string());
        text += &format!(
            "  {} [{}..{end}] reads {:?} writes {:?}\n    {edge}\n",
            event.name, event.begin, event.reads, event.writes
        );
    }
    text
}
