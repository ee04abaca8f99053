//! The second opinion: tries every order of a small history, as Wing and Gong do. It knows nothing of graphs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Key, Version};

/// More events than this take too long.
pub const EVENTS_MAX: usize = 16;

/// Whether some order explains the history. An event without an end may have happened at any later time, or never.
pub fn is_explained(events: &[Event]) -> bool {
    assert!(events.len() <= EVENTS_MAX);
    let mut tried = BTreeSet::new();
    let all = (1_u32 << events.len()) - 1;
    let mut open = vec![(0_u32, BTreeMap::new())];
    while let Some((done, state)) = open.pop() {
        if events.iter().enumerate().all(|(place, event)| done & (1 << place) != 0 || event.end.is_none()) {
            return true;
        }
        if !tried.insert((done, state.clone())) {
            continue;
        }
        for (place, event) in events.iter().enumerate().filter(|(place, _)| done & (1 << place) == 0) {
            // Only an event before whose begin nothing else ended can be next.
            let is_next = events.iter().enumerate().all(|(other, earlier)| {
                done & (1 << other) != 0 || earlier.end.is_none_or(|end| end >= event.begin)
            });
            if let Some(after) = is_next.then(|| apply(&state, event)).flatten() {
                open.push(((done | 1 << place) & all, after));
            }
        }
    }
    false
}

/// The state behind an event, if what it saw is what there is.
fn apply(state: &BTreeMap<Key, Version>, event: &Event) -> Option<BTreeMap<Key, Version>> {
    let now = |key: Key| state.get(&key).copied().unwrap_or(Version::Absent);
    let reads_fit = event.reads.iter().all(|(key, version)| now(*key) == *version);
    let writes_fit =
        event.writes.iter().all(|write| write.replaced.is_none_or(|version| now(write.key) == version));
    if !reads_fit || !writes_fit {
        return None;
    }
    let mut after = state.clone();
    after.extend(event.writes.iter().map(|write| (write.key, write.version)));
    Some(after)
}
