//! What was used: noted in memory at each hit, and written in batches, at most once an hour for each blob and key record.
//! Invariant: a hit writes nothing and waits for nobody; what is noted is bounded, and what finds no room is not noted, which
//! makes it look older than it is, by less than it is leased. A crash loses what was noted and not written.
//! Leaves to tick.rs: when it is written.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::store::{Fault, Operation, Outcome, ShardId, TableId, Timestamp, Tx};

use crate::digest::Digest;
use crate::gone::{move_entry, move_key};
use crate::namespace::{KeyName, Namespace};
use crate::order::Order;
use crate::planted::{self, Plant};
use crate::shared::Shared;
use crate::store::entry::EntryHead;
use crate::store::key::KeyHead;
use crate::store::{ENTRIES, EntryKey, KEYS, key_key, second_of};

/// A use within this many seconds of the recorded one is not recorded.
pub const TOUCH_SECONDS: u32 = 3_600;
/// Notes of one lane at most.
const LANE_COUNT_MAX: usize = 65_536;
/// Lanes: threads have one each, as long as there are not more of them.
const LANE_COUNT: usize = 64;
/// Notes that one operation writes.
pub(crate) const FOLD_COUNT: usize = 192;

/// What was used.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Touched {
    Blob(Namespace, Digest),
    Key(KeyName),
}

/// Notes of all cores.
pub(crate) struct Lanes([Mutex<Lane>; LANE_COUNT]);

#[derive(Default)]
struct Lane {
    /// With the second of the last use.
    shards: HashMap<ShardId, HashMap<Touched, u32>>,
    count: usize,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Lanes {
    /// Notes a use. Never waits: a lane is somebody else's only for the moment in which notes are taken out of it.
    fn note(&self, shard: ShardId, touched: Touched, second: u32) {
        let Ok(mut lane) = self.0[lane_index()].try_lock() else { return };
        let has_room = lane.count < LANE_COUNT_MAX;
        let notes = lane.shards.entry(shard).or_default();
        if let Some(noted) = notes.get_mut(&touched) {
            *noted = second.max(*noted);
        } else if has_room {
            notes.insert(touched, second);
            lane.count += 1;
        }
    }

    /// Takes notes of a shard out, at most `count_max`.
    pub(crate) fn take(&self, shard: ShardId, count_max: usize) -> Vec<(Touched, u32)> {
        let mut taken = Vec::new();
        for lane in &self.0 {
            // A core that notes something right now keeps the rest for the next time.
            let Ok(mut lane) = lane.try_lock() else { continue };
            let Some(notes) = lane.shards.get_mut(&shard) else { continue };
            let room = count_max - taken.len();
            if notes.len() <= room {
                taken.extend(lane.shards.remove(&shard).unwrap_or_default());
            } else {
                taken.extend(notes.extract_if(|_, _| true).take(room));
            }
            lane.count = lane.shards.values().map(HashMap::len).sum();
            if taken.len() >= count_max {
                break;
            }
        }
        taken
    }
}

/// The lane of this thread.
fn lane_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % LANE_COUNT);
    }
    MINE.get()
}

impl Shared {
    /// Notes that a namespace has used a blob whose entry names this second.
    pub fn touch_blob(
        &self,
        now: Timestamp,
        shard: ShardId,
        ns: &Namespace,
        digest: &Digest,
        access_second: u32,
    ) {
        if is_due(second_of(now), access_second) {
            self.lanes.note(shard, Touched::Blob(*ns, *digest), second_of(now));
        }
    }

    /// Notes that a key record was used which names this second.
    pub fn touch_key(&self, now: Timestamp, shard: ShardId, name: &KeyName, access_second: u32) {
        if is_due(second_of(now), access_second) {
            self.lanes.note(shard, Touched::Key(name.clone()), second_of(now));
        }
    }
}

fn is_due(second: u32, access_second: u32) -> bool {
    second.saturating_sub(access_second) >= TOUCH_SECONDS && !planted::is(Plant::TouchForgotten)
}

/// Writes when things were used last.
pub(crate) struct Fold {
    /// With the second of the last use.
    pub(crate) touched: Vec<(Touched, u32)>,
}

impl Operation for Fold {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for (touched, _) in &self.touched {
            match touched {
                Touched::Blob(ns, digest) => declare(ENTRIES, EntryKey::new(digest, ns).as_bytes()),
                Touched::Key(name) => declare(KEYS, &key_key(name)),
            }
        }
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let mut moved: BTreeMap<Namespace, u32> = BTreeMap::new();
        for (touched, second) in &self.touched {
            let (table, key, ns) = match touched {
                Touched::Blob(ns, digest) => (ENTRIES, EntryKey::new(digest, ns).as_bytes().to_vec(), *ns),
                Touched::Key(name) => (KEYS, key_key(name), *name.ns()),
            };
            let recorded = tx.get_ref(table, &key, |record| {
                let value = record?.value;
                match touched {
                    Touched::Blob(..) => EntryHead::decode(value).ok().map(|head| head.access_second),
                    Touched::Key(_) => KeyHead::decode(value).ok().map(|head| head.access_second),
                }
            })?;
            // It is gone, or somebody has written it since it was noted.
            if recorded.is_none_or(|recorded| !is_due(*second, recorded)) {
                continue;
            }
            match touched {
                Touched::Blob(ns, digest) => move_entry(tx, ns, digest, *second)?,
                Touched::Key(name) => move_key(tx, name, *second)?,
            }
            let first = moved.entry(ns).or_insert(*second);
            *first = (*first).min(*second);
        }
        if moved.is_empty() {
            return Ok(Outcome::Rollback(()));
        }
        tx.then::<Order>(move |order, _| moved.iter().for_each(|(ns, second)| order.came(ns, *second)));
        Ok(Outcome::Commit(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_taken_once_and_within_the_bound() {
        let lanes = Lanes::default();
        let ns = Namespace::default_one();
        let blob = |number: u32| Touched::Blob(ns, Digest::of(&number.to_be_bytes()));
        for number in 0..10 {
            lanes.note(ShardId(0), blob(number), number);
            lanes.note(ShardId(0), blob(number), number);
        }
        lanes.note(ShardId(1), blob(99), 7);
        lanes.note(ShardId(1), blob(99), 8);
        lanes.note(ShardId(1), blob(99), 7);
        let first = lanes.take(ShardId(0), 7);
        let second = lanes.take(ShardId(0), 7);
        assert_eq!((first.len(), second.len()), (7, 3));
        assert_eq!(lanes.take(ShardId(0), 7).len(), 0);
        assert_eq!(lanes.take(ShardId(1), 7), [(blob(99), 8)]);
    }

    #[test]
    fn notes_are_bounded() {
        let lanes = Lanes::default();
        for number in 0..LANE_COUNT_MAX as u32 + 10 {
            lanes.note(
                ShardId(0),
                Touched::Blob(Namespace::default_one(), Digest::of(&number.to_be_bytes())),
                1,
            );
        }
        assert_eq!(lanes.take(ShardId(0), usize::MAX).len(), LANE_COUNT_MAX);
        lanes.note(ShardId(0), Touched::Blob(Namespace::default_one(), Digest::of(b"again")), 1);
        assert_eq!(lanes.take(ShardId(0), usize::MAX).len(), 1);
    }

    #[test]
    fn a_use_is_noted_once_an_hour_has_passed() {
        let second = 1_800_000_000;
        assert!(!is_due(second, second) && !is_due(second, second - 3_599) && is_due(second, second - 3_600));
        assert!(!is_due(second, second + 5), "a clock that was set back");
    }
}
