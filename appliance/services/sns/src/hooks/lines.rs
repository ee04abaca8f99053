//! What a shard remembers of its web hooks: for each subscription when its next delivery is due, and what is under way.
//! Invariant: a subscription stands in `due` at most once, exactly when a delivery of it waits, it has room for one more,
//! and then at the time from which that may go. A slow endpoint fills its own room, never another's.
//! Leaves to operations.rs: the records, from which all of this follows.

use std::collections::{BTreeSet, HashMap, HashSet};

use store::{Timestamp, WaitKey};

use super::record::Place;
use crate::model::arn::Uuid;

/// Deliveries to one subscription that may be under way at once.
pub(super) const UNDER_WAY_OF_ONE_MAX: usize = 8;
/// Deliveries of one shard that may be under way at once.
pub(super) const UNDER_WAY_MAX: usize = 256;
/// Bytes of all bodies under way of one shard, beyond which no further one begins.
pub(super) const UNDER_WAY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What the worker of a shard waits for. The top byte is that of this service.
pub(super) const WORKER: WaitKey = WaitKey((2 << 120) | 1);

/// The memory of one shard.
#[derive(Default)]
pub(super) struct Lines {
    lines: HashMap<Uuid, Line>,
    due: BTreeSet<(Timestamp, Uuid)>,
    under_way: usize,
    under_way_bytes: usize,
}

/// One subscription with deliveries that are not over.
#[derive(Default)]
struct Line {
    /// The earliest one that is not under way. Whoever looks for more begins there, not at the many that are over.
    next: Option<Place>,
    /// From when on the subscription's rate allows another.
    not_before: Timestamp,
    under_way: HashSet<Place>,
    /// Under which time it stands in `due`.
    listed: Option<Timestamp>,
}

impl Line {
    fn may_go_at(&self) -> Option<Timestamp> {
        let has_room = self.under_way.len() < UNDER_WAY_OF_ONE_MAX;
        self.next.filter(|_| has_room).map(|next| next.due.max(self.not_before))
    }
}

impl Lines {
    /// A delivery waits.
    pub(super) fn offer(&mut self, place: Place) {
        let line = self.lines.entry(place.subscription).or_default();
        line.next = Some(line.next.map_or(place, |next| next.min(place)));
        self.list(place.subscription);
    }

    /// The subscriptions that may go now, those first that waited longest; at most `count`.
    pub(super) fn ready(&self, now: Timestamp, count: usize) -> Vec<Uuid> {
        if self.under_way >= UNDER_WAY_MAX || self.under_way_bytes >= UNDER_WAY_BYTES_MAX {
            return Vec::new();
        }
        let room = count.min(UNDER_WAY_MAX - self.under_way);
        let ready = self.due.iter().take_while(|(at, _)| *at <= now);
        ready.take(room).map(|(_, subscription)| *subscription).collect()
    }

    /// When something may go; None while nothing waits, or while there is no room, which whoever frees it tells.
    pub(super) fn next_time(&self) -> Option<Timestamp> {
        let has_room = self.under_way < UNDER_WAY_MAX && self.under_way_bytes < UNDER_WAY_BYTES_MAX;
        self.due.first().map(|(at, _)| *at).filter(|_| has_room)
    }

    /// The first of the subscription's deliveries that waits.
    pub(super) fn next_of(&self, subscription: Uuid) -> Option<Place> {
        self.lines.get(&subscription).and_then(|line| line.next)
    }

    /// How many more of the subscription's deliveries may begin.
    pub(super) fn room(&self, subscription: Uuid) -> usize {
        let line = self.lines.get(&subscription);
        line.map_or(0, |line| UNDER_WAY_OF_ONE_MAX.saturating_sub(line.under_way.len()))
    }

    pub(super) fn is_under_way(&self, place: &Place) -> bool {
        self.lines.get(&place.subscription).is_some_and(|line| line.under_way.contains(place))
    }

    /// These deliveries of a subscription begin; behind them `next` waits, and may not begin before `not_before`.
    pub(super) fn begin(
        &mut self,
        subscription: Uuid,
        begun: &[(Place, usize)],
        next: Option<Place>,
        not_before: Timestamp,
    ) {
        let line = self.lines.entry(subscription).or_default();
        for (place, bytes) in begun {
            if line.under_way.insert(*place) {
                self.under_way += 1;
                self.under_way_bytes += bytes;
            }
        }
        line.next = next;
        line.not_before = not_before;
        self.list(subscription);
    }

    /// A delivery is over, or waits at another place.
    pub(super) fn end(&mut self, place: &Place, bytes: usize, again: Option<Place>) {
        let Some(line) = self.lines.get_mut(&place.subscription) else { return };
        if line.under_way.remove(place) {
            self.under_way -= 1;
            self.under_way_bytes = self.under_way_bytes.saturating_sub(bytes);
        }
        if let Some(again) = again {
            line.next = Some(line.next.map_or(again, |next| next.min(again)));
        }
        self.list(place.subscription);
    }

    /// Nothing is under way: the worker that knew of it is gone. Everything that waits is offered anew.
    pub(super) fn forget(&mut self) {
        *self = Lines::default();
    }

    /// Puts the subscription where it belongs in `due`, or forgets it.
    fn list(&mut self, subscription: Uuid) {
        let Some(line) = self.lines.get_mut(&subscription) else { return };
        let may_go_at = line.may_go_at();
        if may_go_at != line.listed {
            if let Some(at) = line.listed.take() {
                self.due.remove(&(at, subscription));
            }
            if let Some(at) = may_go_at {
                self.due.insert((at, subscription));
            }
            line.listed = may_go_at;
        }
        if line.next.is_none() && line.under_way.is_empty() {
            self.lines.remove(&subscription);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(subscription: u8, sequence: u128) -> Place {
        Place { subscription: Uuid([subscription; 16]), due: Timestamp(10), sequence }
    }

    #[test]
    fn a_full_line_waits_for_itself_and_holds_up_no_other() {
        let (slow, other) = (Uuid([1; 16]), Uuid([2; 16]));
        let mut lines = Lines::default();
        lines.offer(place(1, 0));
        assert_eq!(lines.next_time(), Some(Timestamp(10)));
        let begun: Vec<_> = (0..UNDER_WAY_OF_ONE_MAX as u128).map(|number| (place(1, number), 100)).collect();
        lines.begin(slow, &begun, Some(place(1, 99)), Timestamp(0));
        assert_eq!((lines.ready(Timestamp(99), 9).len(), lines.room(slow)), (0, 0));
        lines.offer(Place { due: Timestamp(20), ..place(2, 0) });
        assert_eq!(lines.ready(Timestamp(99), 9), [other]);
        lines.end(&place(1, 0), 100, Some(Place { due: Timestamp(500), ..place(1, 0) }));
        assert_eq!(lines.ready(Timestamp(99), 9), [slow, other], "the longest waiting first");
        assert_eq!(lines.next_of(slow), Some(place(1, 99)));
        assert!(!lines.is_under_way(&place(1, 0)) && lines.is_under_way(&place(1, 1)));
    }

    #[test]
    fn a_rate_and_a_retry_put_the_line_off() {
        let hook = Uuid([1; 16]);
        let mut lines = Lines::default();
        lines.offer(place(1, 0));
        lines.begin(hook, &[(place(1, 0), 1)], Some(place(1, 1)), Timestamp(50));
        assert_eq!(lines.next_time(), Some(Timestamp(50)));
        assert!(lines.ready(Timestamp(49), 9).is_empty());
        lines.begin(hook, &[(place(1, 1), 1)], None, Timestamp(90));
        assert_eq!(lines.next_time(), None);
        lines.end(&place(1, 0), 1, Some(Place { due: Timestamp(200), ..place(1, 0) }));
        lines.end(&place(1, 1), 1, None);
        assert_eq!(lines.next_time(), Some(Timestamp(200)));
    }

    #[test]
    fn what_is_over_leaves_nothing_behind() {
        let hook = Uuid([1; 16]);
        let mut lines = Lines::default();
        lines.offer(place(1, 0));
        lines.begin(hook, &[(place(1, 0), 7)], None, Timestamp(0));
        lines.end(&place(1, 0), 7, None);
        lines.end(&place(1, 0), 7, None);
        assert!(lines.lines.is_empty() && lines.due.is_empty());
        assert_eq!((lines.under_way, lines.under_way_bytes), (0, 0));
    }

    #[test]
    fn a_shard_has_bounds_of_its_own() {
        let mut lines = Lines::default();
        for number in 0..40 {
            lines.offer(Place { due: Timestamp(1), ..place(number, 0) });
        }
        assert_eq!(lines.ready(Timestamp(1), 5).len(), 5);
        lines.begin(Uuid([0; 16]), &[(place(0, 0), UNDER_WAY_BYTES_MAX)], None, Timestamp(0));
        assert!(lines.ready(Timestamp(1), 5).is_empty());
        assert_eq!(lines.next_time(), None);
        lines.end(&place(0, 0), UNDER_WAY_BYTES_MAX, None);
        assert_eq!(lines.ready(Timestamp(1), 50).len(), 39);
    }
}
