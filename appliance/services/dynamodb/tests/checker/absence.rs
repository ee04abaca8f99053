//! What absent keys force. A key lives in spans: from a write that found nothing to the delete that ended it. The order of
//! two spans of a key, and of a span and a reader that found nothing, is not told by ids; it is taken only where real
//! time leaves one answer: spans do not overlap, and who found nothing was in none.
//! Invariant: where both answers are possible there is no edge.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::Graph;
use super::{Event, Id, Key, Version, Violation};

/// A life of a key, as far as its chain of versions is known.
struct Span {
    /// The event that wrote its first version.
    start: usize,
    /// Whether that one found nothing; if not, it is not known what it replaced.
    begins_absent: bool,
    /// The event that deleted it.
    delete: Option<usize>,
    last: Id,
    /// The latest begin of an event in it.
    latest_begin: u64,
    /// The earliest end of one.
    earliest_end: u64,
}

/// Everything about one key.
#[derive(Default)]
struct Life {
    /// Version -> (its successor, the event that replaced it). A delete has no successor version.
    next: BTreeMap<Id, (Option<Id>, usize)>,
    /// First versions with their events, and whether they found nothing.
    starts: Vec<(Id, usize, bool)>,
    readers: BTreeMap<Id, Vec<usize>>,
    found_nothing: Vec<usize>,
    /// Those that were written for sure.
    versions: BTreeSet<Id>,
    /// Deletes that may have happened: what they name as their old version, if anything.
    open_deletes: Vec<Option<Id>>,
}

/// Adds the edges; an absence that nothing explains is a violation at once.
pub fn edges(all: &[Event], events: &[&Event], graph: &mut Graph) -> Result<(), Violation> {
    for (key, life) in lives(all, events) {
        let spans: Vec<Span> = life.starts.iter().map(|start| span(events, &life, *start)).collect();
        for (place, span) in spans.iter().enumerate() {
            for event in &life.found_nothing {
                let seen = Seen { first: *event, last: *event, latest_begin: events[*event].begin };
                outside(events, key, &life, span, &spans, &seen, graph)?;
            }
            for (other, later) in spans.iter().enumerate() {
                if other != place && later.begins_absent {
                    let last = later.delete.unwrap_or(later.start);
                    let seen = Seen { first: later.start, last, latest_begin: later.latest_begin };
                    outside(events, key, &life, span, &spans, &seen, graph)?;
                }
            }
        }
    }
    Ok(())
}

/// A moment at which the key was absent, with what lies on its side of any span: a reader alone, or another span.
struct Seen {
    first: usize,
    last: usize,
    latest_begin: u64,
}

/// One absence and one span: the absence is before it or behind it.
fn outside(
    events: &[&Event],
    key: Key,
    life: &Life,
    span: &Span,
    spans: &[Span],
    seen: &Seen,
    graph: &mut Graph,
) -> Result<(), Violation> {
    let absent = events[seen.first];
    let never_ends = span.delete.is_none() && !may_have_ended(life, span, spans);
    if span.earliest_end < seen.latest_begin {
        if never_ends {
            return Err(Violation(format!(
                "key {key}: {} found nothing, but version {} was there before and nobody replaced it",
                absent.name, span.last
            )));
        }
        // Where real time says it already, an edge would only be one more.
        if let Some(delete) = span.delete
            && events[delete].end.is_none_or(|end| end >= absent.begin)
        {
            graph.edge(delete, seen.first, "absent behind");
        }
    }
    let ended = events[seen.last].end;
    let is_before = never_ends || events[seen.first].end.is_some_and(|end| end < span.latest_begin);
    if is_before && ended.is_none_or(|end| end >= events[span.start].begin) {
        graph.edge(seen.last, span.start, "absent before");
    }
    Ok(())
}

/// Whether something without a known outcome may have ended a span that no known delete ended.
fn may_have_ended(life: &Life, span: &Span, spans: &[Span]) -> bool {
    // A version that nobody saw may have come between; only a delete of another known one explains nothing here.
    let explains = |id: Id| id == span.last || !life.versions.contains(&id);
    life.open_deletes.iter().any(|target| target.is_none_or(explains))
        || spans.iter().any(|other| !other.begins_absent)
}

fn lives(all: &[Event], events: &[&Event]) -> BTreeMap<Key, Life> {
    let mut lives: BTreeMap<Key, Life> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        for (key, version) in &event.reads {
            let life = lives.entry(*key).or_default();
            match version {
                Version::Is(id) => life.readers.entry(*id).or_default().push(place),
                Version::Absent => life.found_nothing.push(place),
            }
        }
        for write in &event.writes {
            let life = lives.entry(write.key).or_default();
            let new = match write.version {
                Version::Is(id) => Some(id),
                Version::Absent => None,
            };
            life.versions.extend(new);
            match (write.replaced, new) {
                (Some(Version::Is(old)), _) => drop(life.next.insert(old, (new, place))),
                (Some(Version::Absent), Some(id)) => life.starts.push((id, place, true)),
                (None, Some(id)) => life.starts.push((id, place, false)),
                (Some(Version::Absent), None) => life.found_nothing.push(place),
                (None, None) => life.open_deletes.push(None),
            }
        }
    }
    let taken: BTreeSet<*const Event> = events.iter().map(|event| std::ptr::from_ref(*event)).collect();
    for event in all.iter().filter(|event| !taken.contains(&std::ptr::from_ref(*event))) {
        for write in event.writes.iter().filter(|write| write.version == Version::Absent) {
            let target = match write.replaced {
                Some(Version::Is(id)) => Some(id),
                Some(Version::Absent) => continue,
                None => None,
            };
            lives.entry(write.key).or_default().open_deletes.push(target);
        }
    }
    lives
}

fn span(events: &[&Event], life: &Life, (first, start, begins_absent): (Id, usize, bool)) -> Span {
    let mut span = Span {
        start,
        begins_absent,
        delete: None,
        last: first,
        latest_begin: events[start].begin,
        earliest_end: events[start].end.unwrap_or(u64::MAX),
    };
    // A chain that closes on itself is a cycle, which the graph finds; here it only must end.
    let mut walked = BTreeSet::new();
    let mut version = Some(first);
    while let Some(id) = version.filter(|id| walked.insert(*id)) {
        span.last = id;
        let next = life.next.get(&id);
        let readers = life.readers.get(&id).into_iter().flatten().copied();
        for place in readers.chain(next.map(|(_, place)| *place)) {
            span.latest_begin = span.latest_begin.max(events[place].begin);
            span.earliest_end = span.earliest_end.min(events[place].end.unwrap_or(u64::MAX));
        }
        version = None;
        match next {
            Some((Some(id), _)) => version = Some(*id),
            Some((None, place)) => span.delete = Some(*place),
            None => {}
        }
    }
    span
}
