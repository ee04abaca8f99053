//! What may not be reclaimed because somebody reads it: a count per extent, packed segment or log segment, in one
//! table per thread.
//! Invariant: between `pin` and the drop of its `Pin`, `is_pinned` says yes on every thread. A reader pins in the same
//! turn in which it read the pointer, the reclaimer asks after `grace()`: so every reader that could find the pointer
//! has pinned by then or has gone.
//! Leaves to reclaim.rs: asking in the right order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::SegmentKind;
use crate::types::{ExtentId, ShardId};

/// What is pinned. For packed and log segments the offset is 0: they live and die whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PinKey {
    /// Which kind of file.
    pub kind: SegmentKind,
    /// The shard in whose directory it lies.
    pub shard: ShardId,
    /// The segment's sequence number.
    pub segment: u64,
    /// Offset of an extent's header block.
    pub offset: u32,
}

impl PinKey {
    /// One extent.
    #[must_use]
    pub fn extent(id: ExtentId) -> PinKey {
        PinKey { kind: SegmentKind::Extents, shard: id.shard, segment: id.segment, offset: id.offset }
    }

    /// A whole packed segment.
    #[must_use]
    pub fn packed(shard: ShardId, segment: u64) -> PinKey {
        PinKey { kind: SegmentKind::Packed, shard, segment, offset: 0 }
    }

    /// A whole log segment.
    #[must_use]
    pub fn log(shard: ShardId, segment: u64) -> PinKey {
        PinKey { kind: SegmentKind::Log, shard, segment, offset: 0 }
    }
}

/// All pin tables of the process.
#[derive(Clone, Default)]
pub struct Pins {
    /// Grows by one per thread that ever pins, and threads are as many as cores.
    tables: Arc<Mutex<Vec<Arc<Table>>>>,
}

/// The pin table of one thread. Its lock is taken by others only while the reclaimer looks, so it costs about as much
/// as two uncontended atomic operations.
#[derive(Clone)]
pub struct CorePins {
    table: Arc<Table>,
}

/// Keeps one thing from being reclaimed until it is dropped.
pub struct Pin {
    table: Arc<Table>,
    key: PinKey,
}

type Table = Mutex<HashMap<PinKey, u32>>;

impl Pins {
    /// No tables yet.
    #[must_use]
    pub fn new() -> Pins {
        Pins::default()
    }

    /// A new table, for one thread to keep.
    #[must_use]
    pub fn core(&self) -> CorePins {
        let table = Arc::new(Table::default());
        lock(&self.tables).push(Arc::clone(&table));
        CorePins { table }
    }

    /// Whether anybody pins `key`.
    #[must_use]
    pub fn is_pinned(&self, key: PinKey) -> bool {
        lock(&self.tables).iter().any(|table| lock(table).contains_key(&key))
    }

    /// How many things are pinned, for metrics. One that two threads pin counts twice.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.tables).iter().map(|table| lock(table).len()).sum()
    }
}

impl CorePins {
    /// Pins `key` until the result is dropped.
    #[must_use]
    pub fn pin(&self, key: PinKey) -> Pin {
        *lock(&self.table).entry(key).or_insert(0) += 1;
        Pin { table: Arc::clone(&self.table), key }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        if let Some(count) = table.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.key);
            }
        }
    }
}

/// The tables hold plain counts that every step leaves whole, so a panic elsewhere does not make them wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_seen_from_every_thread_until_its_last_holder_drops_it() {
        let pins = Pins::new();
        let key = PinKey::packed(ShardId(1), 7);
        let (one, two) = (pins.core(), pins.core());
        let held = [one.pin(key), one.pin(key), two.pin(key)];
        for pin in held {
            let seen = pins.clone();
            assert!(std::thread::spawn(move || seen.is_pinned(key)).join().expect("joins"));
            drop(pin);
        }
        assert!(!pins.is_pinned(key));
        assert_eq!(pins.count(), 0);
    }

    #[test]
    fn a_pin_holds_nothing_but_its_key() {
        let pins = Pins::new();
        let id = ExtentId { shard: ShardId(1), segment: 7, offset: 4096 };
        let pin = pins.core().pin(PinKey::extent(id));
        assert!(pins.is_pinned(PinKey::extent(id)));
        assert!(!pins.is_pinned(PinKey::extent(ExtentId { offset: 0, ..id })));
        assert!(!pins.is_pinned(PinKey::packed(ShardId(1), 7)));
        assert!(!pins.is_pinned(PinKey::log(ShardId(1), 7)));
        drop(pin);
    }

    #[test]
    fn a_pin_may_be_dropped_on_another_thread() {
        let pins = Pins::new();
        let key = PinKey::log(ShardId(0), 1);
        let pin = pins.core().pin(key);
        std::thread::spawn(move || drop(pin)).join().expect("joins");
        assert!(!pins.is_pinned(key));
    }
}
