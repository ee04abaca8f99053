//! A standard queue: what is ready, by age; and among messages with a group, fairly by tenant.
//! Invariant: a ready message is in a range when it has no group, and else in the line of its tenant; tenants with ready messages
//! stand by what they have in flight, fewest first, and then by their oldest message.
//! Leaves to the operations: records, and how many messages one receive takes.

use std::collections::BTreeSet;

use super::due::{Away, Due};
use super::groups::{GroupIndex, GroupName, Groups};
use super::ranges::Ranges;
use crate::engine::request::Counts;

/// The queue.
#[derive(Default, Debug)]
pub struct Standard {
    ranges: Ranges,
    tenants: Groups,
    standing: BTreeSet<(u32, u64, GroupIndex)>,
    /// Messages in flight that have no tenant.
    untenanted_in_flight: u32,
    due: Due,
    ready_count: u64,
}

/// Where the next ready message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Somewhere from the first to the last sequence.
    Range(u64, u64),
    /// The first of a tenant's line.
    Tenant(GroupIndex),
}

impl Standard {
    /// A new message; with a time it is delayed until then. True: a receive may find more than before.
    pub fn push(&mut self, sequence: u64, tenant: Option<GroupName>, delayed_until_ms: Option<u64>) -> bool {
        let tenant = tenant.map(|name| self.tenants.find_or_add(name));
        if let Some(due_ms) = delayed_until_ms {
            self.ranges.pass(sequence);
            self.due.insert(due_ms, sequence, Away { group: tenant, in_flight: false });
            if let Some(tenant) = tenant {
                self.tenants.get_mut(tenant).delayed += 1;
            }
            return false;
        }
        self.ready_count += 1;
        match tenant {
            Some(tenant) => {
                self.ranges.pass(sequence);
                self.with_tenant(tenant, |tenant| tenant.line.insert(sequence, false));
            }
            None => self.ranges.append(sequence),
        }
        true
    }

    /// A message that is in flight, while the queue is loaded.
    pub fn push_in_flight(&mut self, sequence: u64, tenant: Option<GroupName>, due_ms: u64) {
        self.ranges.pass(sequence);
        let tenant = tenant.map(|name| self.tenants.find_or_add(name));
        self.depart(tenant);
        self.due.insert(due_ms, sequence, Away { group: tenant, in_flight: true });
    }

    /// Where to look for ready messages, best first: at least `count` messages, if there are so many. One tenant may come
    /// several times, for as many messages.
    pub fn sources(&self, count: usize, range_count_max: usize, out: &mut Vec<Source>) {
        out.clear();
        let ranges = || self.ranges.iter().take(range_count_max);
        if self.standing.is_empty() {
            return out.extend(ranges().map(|(start, end)| Source::Range(start, end)));
        }
        // What each would have in flight if it were given one more; no more than the first `count` can be served.
        let mut standing: Vec<(u32, u64, GroupIndex, usize)> =
            self.standing.iter().take(count).map(|(busy, head, tenant)| (*busy, *head, *tenant, 0)).collect();
        let mut next_range = ranges().peekable();
        let mut untenanted = self.untenanted_in_flight;
        while out.len() < count + range_count_max {
            let best = standing.iter_mut().min_by_key(|(busy, head, ..)| (*busy, *head));
            let range = next_range.peek().copied();
            match (best, range) {
                (None, None) => return,
                (Some((busy, head, ..)), Some((start, end))) if (untenanted, start) < (*busy, *head) => {
                    out.push(Source::Range(start, end));
                    untenanted += 1;
                    next_range.next();
                }
                (None, Some((start, end))) => {
                    out.push(Source::Range(start, end));
                    next_range.next();
                }
                (Some(best), _) => {
                    out.push(Source::Tenant(best.2));
                    best.0 += 1;
                    best.3 += 1;
                    match self.tenants.get(best.2).line.get(best.3) {
                        Some((sequence, _)) => best.1 = sequence,
                        None => best.0 = u32::MAX,
                    }
                    standing.retain(|(busy, ..)| *busy != u32::MAX);
                }
            }
        }
    }

    /// The ready message at a place of a tenant's line.
    #[must_use]
    pub fn ready_at(&self, tenant: GroupIndex, place: usize) -> Option<u64> {
        self.tenants.get(tenant).line.get(place).map(|(sequence, _)| sequence)
    }

    /// Nothing more is ready in the range that began at `start`, up to and with `through`, but what `take` and `discard` named.
    pub fn consume(&mut self, start: u64, through: u64) {
        self.ranges.consume(start, through);
    }

    /// No message is left below `sequence`: those that were are taken away one by one besides.
    pub fn forget_below(&mut self, sequence: u64) {
        self.ranges.forget_below(sequence);
    }

    /// A ready message is received. One of a range: `consume` says so too.
    pub fn take(&mut self, sequence: u64, tenant: Option<GroupIndex>, due_ms: u64) {
        // A message stays with its tenant through both steps, so that the tenant is not forgotten in between.
        self.depart(tenant);
        self.discard(sequence, tenant);
        self.due.insert(due_ms, sequence, Away { group: tenant, in_flight: true });
    }

    /// A ready message is gone: too old, or a dead letter. One of a range: `consume` says so too.
    pub fn discard(&mut self, sequence: u64, tenant: Option<GroupIndex>) {
        self.ready_count -= 1;
        if let Some(tenant) = tenant {
            self.with_tenant(tenant, |tenant| {
                tenant.line.remove(sequence);
            });
        }
    }

    /// A message is deleted that is not visible. False: it is not here, so it is ready.
    pub fn remove_away(&mut self, due_ms: u64, sequence: u64) -> bool {
        let Some(away) = self.due.remove(due_ms, sequence) else { return false };
        self.arrive(away, |_| {});
        true
    }

    /// A message is deleted that is ready.
    pub fn remove_ready(&mut self, sequence: u64, tenant: Option<GroupName>) {
        let was_here = match tenant {
            None => self.ranges.remove(sequence),
            Some(name) => self.tenants.find(name).is_some_and(|tenant| {
                let mut was_here = false;
                self.with_tenant(tenant, |tenant| was_here = tenant.line.remove(sequence));
                was_here
            }),
        };
        self.ready_count -= u64::from(was_here);
    }

    /// A message in flight is visible from another time on; None: now. True: a receive may find more than before.
    pub fn change(&mut self, due_ms: u64, sequence: u64, new_due_ms: Option<u64>) -> bool {
        let Some(away) = self.due.remove(due_ms, sequence) else { return false };
        match new_due_ms {
            Some(new_due_ms) => self.due.insert(new_due_ms, sequence, away),
            None => self.come_back(sequence, away),
        }
        new_due_ms.is_none()
    }

    /// Lets up to `count_max` messages come back whose time has come.
    pub fn ripen(&mut self, now_ms: u64, count_max: usize) {
        for _ in 0..count_max {
            let Some((sequence, away)) = self.due.pop(now_ms) else { return };
            self.come_back(sequence, away);
        }
    }

    fn come_back(&mut self, sequence: u64, away: Away) {
        self.ready_count += 1;
        if away.group.is_none() {
            self.ranges.insert(sequence);
        }
        self.arrive(away, |tenant| tenant.line.insert(sequence, false));
    }

    /// Something of a tenant is in flight.
    fn depart(&mut self, tenant: Option<GroupIndex>) {
        match tenant {
            Some(tenant) => self.with_tenant(tenant, |tenant| tenant.in_flight += 1),
            None => self.untenanted_in_flight += 1,
        }
    }

    /// Something is no longer away.
    fn arrive(&mut self, away: Away, change: impl FnOnce(&mut super::groups::Group)) {
        match away.group {
            Some(tenant) => self.with_tenant(tenant, |tenant| {
                let count = if away.in_flight { &mut tenant.in_flight } else { &mut tenant.delayed };
                *count -= 1;
                change(tenant);
            }),
            None => self.untenanted_in_flight -= u32::from(away.in_flight),
        }
    }

    /// Changes a tenant, and where it stands.
    fn with_tenant(&mut self, index: GroupIndex, change: impl FnOnce(&mut super::groups::Group)) {
        let tenant = self.tenants.get_mut(index);
        if let Some(head) = tenant.line.ready_head() {
            self.standing.remove(&(tenant.in_flight, head, index));
        }
        change(tenant);
        if let Some(head) = tenant.line.ready_head() {
            self.standing.insert((tenant.in_flight, head, index));
        }
        self.tenants.forget_if_idle(index);
    }

    /// Whether a receive finds anything.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.ready_count > 0
    }

    /// When the next message becomes visible.
    #[must_use]
    pub fn first_due_ms(&self) -> Option<u64> {
        self.due.first_ms()
    }

    /// Messages in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.due.in_flight_count()
    }

    /// How many messages there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            visible: self.ready_count,
            in_flight: self.due.in_flight_count() as u64,
            delayed: self.due.delayed_count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<GroupName> {
        Some(GroupName::new(&[0; 16], text))
    }

    /// Takes up to `count` messages as a receive does; `exists` are all messages there are.
    fn receive(queue: &mut Standard, exists: &BTreeSet<u64>, count: usize, due_ms: u64) -> Vec<u64> {
        let mut sources = Vec::new();
        queue.sources(count, 64, &mut sources);
        let (mut taken, mut places) = (Vec::new(), std::collections::HashMap::new());
        let mut consumed = Vec::new();
        for source in sources {
            match source {
                Source::Range(start, end) => {
                    let found: Vec<u64> =
                        exists.range(start..=end).copied().take(count - taken.len()).collect();
                    let is_full = found.len() == count - taken.len();
                    consumed.push((start, if is_full { *found.last().unwrap_or(&end) } else { end }));
                    taken.extend(found.into_iter().map(|sequence| (sequence, None)));
                }
                Source::Tenant(tenant) => {
                    let place = places.entry(tenant).or_insert(0);
                    taken.push((queue.ready_at(tenant, *place).expect("stands"), Some(tenant)));
                    *place += 1;
                }
            }
            if taken.len() == count {
                break;
            }
        }
        for (sequence, tenant) in &taken {
            queue.take(*sequence, *tenant, due_ms);
        }
        consumed.into_iter().for_each(|(start, through)| queue.consume(start, through));
        taken.into_iter().map(|(sequence, _)| sequence).collect()
    }

    #[test]
    fn messages_without_a_tenant_come_by_age() {
        let mut queue = Standard::default();
        let all: BTreeSet<u64> = (1..=6).collect();
        for sequence in &all {
            queue.push(*sequence, None, (*sequence == 2).then_some(50));
        }
        assert_eq!(queue.counts(), Counts { visible: 5, in_flight: 0, delayed: 1 });
        assert_eq!(receive(&mut queue, &all, 3, 100), [1, 3, 4]);
        queue.ripen(50, 10);
        assert_eq!(receive(&mut queue, &all, 1, 100), [2]);
        assert!(queue.change(100, 3, None) && !queue.change(100, 3, None));
        assert!(queue.remove_away(100, 1) && !queue.remove_away(100, 1));
        assert_eq!(receive(&mut queue, &all, 10, 200), [3, 5, 6]);
        assert_eq!(queue.counts(), Counts { visible: 0, in_flight: 5, delayed: 0 });
        queue.ripen(200, 10);
        assert_eq!(queue.counts(), Counts { visible: 5, in_flight: 0, delayed: 0 });
        queue.remove_ready(4, None);
        queue.remove_ready(4, None);
        assert_eq!(queue.counts().visible, 4);
    }

    #[test]
    fn a_tenant_with_many_in_flight_yields_to_one_with_few() {
        let mut queue = Standard::default();
        let none = BTreeSet::new();
        (1..=20).for_each(|sequence| {
            queue.push(sequence, name("loud"), None);
        });
        assert_eq!(receive(&mut queue, &none, 5, 100), [1, 2, 3, 4, 5]);
        (21..=23).for_each(|sequence| {
            queue.push(sequence, name("quiet"), None);
        });
        assert_eq!(receive(&mut queue, &none, 4, 100), [21, 22, 23, 6]);
        (1..=5).for_each(|sequence| assert!(queue.remove_away(100, sequence)));
        queue.push(24, name("quiet"), None);
        assert_eq!(receive(&mut queue, &none, 2, 100), [7, 8], "one in flight against three");
    }

    #[test]
    fn tenants_and_messages_without_one_take_turns() {
        let mut queue = Standard::default();
        let all: BTreeSet<u64> = (1..=4).collect();
        for sequence in &all {
            queue.push(*sequence, None, None);
        }
        queue.push(5, name("a"), None);
        queue.push(6, name("b"), None);
        let first = receive(&mut queue, &all, 2, 100);
        assert_eq!(first, [1, 2], "the oldest range first, as far as it goes");
        assert_eq!(receive(&mut queue, &all, 2, 100), [5, 6]);
        assert_eq!(receive(&mut queue, &all, 10, 100), [3, 4]);
    }

    #[test]
    fn nothing_is_kept_of_tenants_that_are_done() {
        let mut queue = Standard::default();
        let none = BTreeSet::new();
        for sequence in 1..=1_000_u64 {
            queue.push(sequence, name(&sequence.to_string()), (sequence % 3 == 0).then_some(50));
            queue.ripen(50, 1);
            assert_eq!(receive(&mut queue, &none, 10, 100), [sequence]);
            assert!(queue.remove_away(100, sequence));
        }
        assert!(queue.tenants.is_empty() && queue.standing.is_empty());
        assert_eq!(queue.counts(), Counts::default());
    }
}
