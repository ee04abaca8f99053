//! The overlay against a model that keeps everything, and under real threads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::tx_status::{CommitCounter, TxState};
use crate::types::Timestamp;

/// Miri runs the same tests, some hundred times slower.
const OPERATIONS: usize = if cfg!(miri) { 150 } else { 6_000 };
const SEEDS: u64 = if cfg!(miri) { 2 } else { 24 };
const BATCHES: u64 = if cfg!(miri) { 40 } else { 20_000 };

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn bytes(&mut self, length: u64, letters: u64) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.below(letters)).unwrap() + b'a').collect()
    }

    /// Few enough different keys that they meet again, a few of them long.
    fn key(&mut self) -> Vec<u8> {
        let length = if self.below(60) == 0 { 1_900 + self.below(149) } else { self.below(5) };
        self.bytes(length, 4)
    }
}

#[derive(Clone)]
struct ModelVersion {
    lsn: Lsn,
    value: Option<Vec<u8>>,
    status: Option<Arc<TxStatus>>,
}

#[derive(Default)]
struct ModelKey {
    /// Newest first.
    versions: Vec<ModelVersion>,
    fresh: bool,
}

impl ModelKey {
    fn get(&self, at: Lsn, commit: u64) -> Option<Seen<'_>> {
        let is_visible = |version: &&ModelVersion| {
            version.lsn <= at
                && match version.status.as_ref().map(|status| status.state()) {
                    None => true,
                    Some(TxState::Committed(number)) => number <= commit,
                    Some(TxState::Pending | TxState::Aborted) => false,
                }
        };
        let version = self.versions.iter().find(is_visible)?;
        Some(Seen { lsn: version.lsn, value: version.value.as_deref(), fresh: self.fresh })
    }

    fn latest(&self) -> Option<&ModelVersion> {
        let is_aborted =
            |version: &ModelVersion| version.status.as_ref().is_some_and(|s| s.state() == TxState::Aborted);
        self.versions.iter().find(|version| !is_aborted(version))
    }
}

fn assert_latest(seen: Option<Latest<'_>>, expected: Option<&ModelVersion>) {
    assert_eq!(seen.is_some(), expected.is_some());
    let (Some(seen), Some(expected)) = (seen, expected) else { return };
    assert_eq!(seen.lsn, expected.lsn);
    match (seen.kind, &expected.status) {
        (LatestKind::Value(value), None) => assert_eq!(Some(value), expected.value.as_deref()),
        (LatestKind::Delete, None) => assert_eq!(None, expected.value),
        (LatestKind::Intent { status, value }, Some(expected_status)) => {
            assert!(Arc::ptr_eq(status, expected_status));
            assert_eq!(value, expected.value.as_deref());
        }
        (kind, _) => panic!("{kind:?} where the model has the other sort"),
    }
}

/// An overlay and the model beside it.
struct Pair {
    random: Random,
    writer: OverlayWriter,
    overlay: Arc<Overlay>,
    model: BTreeMap<Vec<u8>, ModelKey>,
    counter: CommitCounter,
    undecided: Vec<Arc<TxStatus>>,
    lsn: Lsn,
    entries: usize,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let (writer, overlay) = overlay(0, seed);
        Pair {
            random: Random::new(seed),
            writer,
            overlay,
            model: BTreeMap::new(),
            counter: CommitCounter::new(),
            undecided: Vec::new(),
            lsn: Lsn(1),
            entries: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..=7 => self.insert(),
            8 => self.lsn = self.lsn.next(),
            9 => self.decide(),
            10..=13 => self.compare_points(),
            _ => self.compare_cursor(),
        }
        assert_eq!((self.overlay.key_count(), self.overlay.entry_count()), (self.model.len(), self.entries));
    }

    fn insert(&mut self) {
        let key = self.random.key();
        let length = if self.random.below(200) == 0 { 40_000 } else { self.random.below(30) };
        let value = self.random.bytes(length, 26);
        let status = self.some_status();
        let fresh = self.random.below(2) == 0;
        let (entry, version_value, version_status) = match self.random.below(6) {
            0..=2 => (Entry::Put { value: &value, fresh }, Some(value.clone()), None),
            3 => (Entry::Delete, None, None),
            4 => (
                Entry::IntentPut { value: &value, status: &status },
                Some(value.clone()),
                Some(Arc::clone(&status)),
            ),
            _ => (Entry::IntentDelete { status: &status }, None, Some(Arc::clone(&status))),
        };
        self.writer.insert(&key, self.lsn, entry);
        self.entries += 1;
        let is_first = !self.model.contains_key(&key);
        let model = self.model.entry(key).or_default();
        if is_first {
            model.fresh = matches!(entry, Entry::Put { fresh: true, .. });
        }
        let version = ModelVersion { lsn: self.lsn, value: version_value, status: version_status };
        model.versions.insert(0, version);
    }

    fn some_status(&mut self) -> Arc<TxStatus> {
        if self.undecided.is_empty() || self.random.below(3) == 0 {
            self.undecided.push(Arc::new(TxStatus::pending()));
        }
        let index = self.random.below(self.undecided.len() as u64);
        Arc::clone(&self.undecided[usize::try_from(index).unwrap()])
    }

    fn decide(&mut self) {
        let Some(status) = self.undecided.pop() else { return };
        if self.random.below(2) == 0 {
            status.abort();
        } else {
            self.counter.commit(&status);
        }
    }

    /// An instant that a view may have.
    fn instant(&mut self) -> (Lsn, u64) {
        let at = self.random.below(self.lsn.0 + 2);
        (Lsn(at), self.random.below(self.counter.load() + 2))
    }

    fn compare_points(&mut self) {
        let key = self.random.key();
        let (at, commit) = self.instant();
        let model = self.model.get(&key);
        assert_eq!(self.overlay.get(&key, at, commit), model.and_then(|model| model.get(at, commit)));
        assert_latest(self.overlay.latest(&key), model.and_then(ModelKey::latest));
    }

    fn compare_cursor(&mut self) {
        let key = self.random.key();
        let (at, commit) = self.instant();
        let shared = Arc::clone(&self.overlay);
        let mut cursor = shared.cursor();
        assert_eq!(cursor.key(), None);
        let mut place: Option<Vec<u8>> = match self.random.below(6) {
            0 => {
                cursor.seek_first();
                self.model.keys().next().cloned()
            }
            1 => {
                cursor.seek_last();
                self.model.keys().next_back().cloned()
            }
            2 | 3 => {
                cursor.seek(&key);
                self.model.range(key..).next().map(|(key, _)| key.clone())
            }
            4 => {
                cursor.seek_before(&key, false);
                self.model.range(..key).next_back().map(|(key, _)| key.clone())
            }
            _ => {
                cursor.seek_before(&key, true);
                self.model.range(..=key).next_back().map(|(key, _)| key.clone())
            }
        };
        for _ in 0..self.random.below(20) {
            assert_eq!(cursor.key(), place.as_deref());
            let model = place.as_ref().and_then(|key| self.model.get(key));
            assert_eq!(cursor.get(at, commit), model.and_then(|model| model.get(at, commit)));
            assert_latest(cursor.latest(), model.and_then(ModelKey::latest));
            let Some(current) = place.take() else { break };
            place = if self.random.below(2) == 0 {
                cursor.next();
                let behind = (Bound::Excluded(current), Bound::Unbounded);
                self.model.range::<Vec<u8>, _>(behind).next().map(|(key, _)| key.clone())
            } else {
                cursor.prev();
                self.model.range(..current).next_back().map(|(key, _)| key.clone())
            };
        }
    }
}

/// Prints how to replay when the test that holds it panics.
struct SaysSeed(u64);

impl Drop for SaysSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("replay: OVERLAY_SEED={} cargo test -p zerocloud-store overlay::tests", self.0);
        }
    }
}

#[test]
fn an_overlay_agrees_with_a_map_of_all_versions() {
    let replay =
        std::env::var("OVERLAY_SEED").ok().map(|seed| seed.parse().expect("OVERLAY_SEED is a number"));
    let varying = Timestamp::from_system_clock().0;
    let seeds = replay.map_or_else(|| (1..=SEEDS).chain([varying]).collect(), |seed| vec![seed]);
    for seed in seeds {
        let _says = SaysSeed(seed);
        let mut pair = Pair::new(seed);
        for _ in 0..OPERATIONS {
            pair.step();
        }
    }
}

#[test]
fn an_overlay_drops_the_statuses_of_all_its_intents() {
    let status = Arc::new(TxStatus::pending());
    let (mut writer, overlay) = overlay(0, 5);
    for index in 0_u8..20 {
        let entry = match index % 2 {
            0 => Entry::IntentPut { value: b"v", status: &status },
            _ => Entry::IntentDelete { status: &status },
        };
        writer.insert(&[index % 7], Lsn(1), entry);
    }
    assert_eq!(Arc::strong_count(&status), 21);
    drop(writer);
    assert_eq!(Arc::strong_count(&status), 21);
    drop(overlay);
    assert_eq!(Arc::strong_count(&status), 1);
}

#[test]
fn what_a_reader_holds_survives_later_versions() {
    let (mut writer, overlay) = overlay(0, 5);
    writer.insert(b"k", Lsn(1), Entry::Put { value: b"one", fresh: true });
    let held = overlay.get(b"k", Lsn(1), 0).unwrap();
    for lsn in 2..=9 {
        writer.insert(b"k", Lsn(lsn), Entry::Put { value: b"later", fresh: false });
    }
    assert_eq!(held, Seen { lsn: Lsn(1), value: Some(b"one"), fresh: true });
    for lsn in 1..=9 {
        assert_eq!(overlay.get(b"k", Lsn(lsn), 0).map(|seen| seen.lsn), Some(Lsn(lsn)));
    }
}

#[test]
fn the_last_of_several_plain_entries_in_one_batch_remains() {
    let (mut writer, overlay) = overlay(0, 5);
    writer.insert(b"k", Lsn(1), Entry::Put { value: b"old", fresh: false });
    writer.insert(b"k", Lsn(2), Entry::Put { value: b"first", fresh: false });
    writer.insert(b"k", Lsn(2), Entry::Delete);
    assert_eq!(overlay.get(b"k", Lsn(2), 0).unwrap().value, None);
    assert_eq!(overlay.get(b"k", Lsn(1), 0).unwrap().value, Some(&b"old"[..]));
    assert_eq!(overlay.find(b"k").unwrap().versions().count(), 2);
}

#[test]
#[should_panic(expected = "inserted above")]
fn a_key_never_goes_back_in_lsn() {
    let (mut writer, _overlay) = overlay(0, 5);
    writer.insert(b"k", Lsn(2), Entry::Delete);
    writer.insert(b"k", Lsn(1), Entry::Delete);
}

#[test]
fn a_key_that_comes_in_front_of_the_one_that_a_search_has_found_does_not_hide_it() {
    let (mut writer, overlay) = overlay(0, 5);
    for key in [b"a", b"k", b"p"] {
        writer.insert(key, Lsn(1), Entry::Put { value: b"v", fresh: true });
    }
    // The writer comes when the reader has compared the last key, and before it uses what it has found.
    let found = overlay.first_from(b"k", |level, _| {
        if level == 0 {
            writer.insert(b"j", Lsn(2), Entry::Put { value: b"v", fresh: true });
        }
    });
    assert_eq!(found.map(Node::key), Some(&b"k"[..]));
    let behind = overlay.first_from(b"k\0", |level, _| {
        if level == 0 {
            writer.insert(b"o", Lsn(2), Entry::Put { value: b"v", fresh: true });
        }
    });
    assert_eq!(behind.map(Node::key), Some(&b"p"[..]), "as of the time of the look");
}

#[test]
fn heights_thin_out_by_four() {
    let mut random = 1;
    let mut counts = [0_usize; HEIGHT_MAX + 1];
    for _ in 0..100_000 {
        counts[draw_height(&mut random)] += 1;
    }
    assert!((74_000..76_000).contains(&counts[1]), "{counts:?}");
    assert!((18_000..19_500).contains(&counts[2]), "{counts:?}");
    assert!(counts[5] > 0, "{counts:?}");
}

#[test]
fn keys_compare_as_slices_do() {
    let seed = 5;
    let _says = SaysSeed(seed);
    let mut random = Random::new(seed);
    for _ in 0..OPERATIONS {
        // Long enough to pass the first bytes, of so few letters that beginnings are shared.
        let keys = [random.below(12), random.below(12)].map(|length| random.bytes(length, 2));
        let [one, other] = [&keys[0][..], &keys[1][..]];
        assert_eq!(is_less(one, other), one < other, "{one:?} {other:?}");
        let [long, longer] = [[one, other].concat(), [one, one].concat()];
        assert_eq!(is_less(&long, &longer), long < longer, "{long:?} {longer:?}");
    }
}

#[test]
fn looking_ahead_ends_with_any_number_of_keys_and_changes_nothing() {
    let seed = 11;
    let _says = SaysSeed(seed);
    let mut random = Random::new(seed);
    for held in [0, 1, 5, if cfg!(miri) { 40 } else { 3_000 }] {
        let (mut writer, overlay) = overlay(0, seed);
        let keys: Vec<Vec<u8>> = (0..held).map(|_| random.key()).collect();
        for key in &keys {
            writer.insert(key, Lsn(1), Entry::Put { value: key, fresh: false });
        }
        // Keys that are there, keys that are not, one key many times, and the ends of the order.
        for wanted in [0, 1, 11, 12, 13, 100] {
            let mut asked: Vec<Vec<u8>> = (0..wanted).map(|_| random.key()).collect();
            asked.extend(keys.iter().take(wanted).cloned());
            asked.extend([Vec::new(), vec![0xff; 20], vec![0xff; 20]]);
            overlay.fetch_ahead(asked.iter().map(Vec::as_slice));
        }
        assert!(
            keys.iter().all(|key| overlay.get(key, Lsn(1), 0).is_some_and(|s| s.value == Some(&key[..])))
        );
        assert_eq!(overlay.entry_count(), held);
    }
}

/// One writer's work, such that a reader can tell a whole batch from a part of one. Batch n puts its own new key, puts n
/// under both keys of a hot pair, and with the batch before it writes the two halves of a transaction.
struct Stream {
    overlay: Arc<Overlay>,
    durable: AtomicU64,
    counter: CommitCounter,
    finished: AtomicBool,
}

const HOT_PAIRS: u64 = 16;

fn new_key(batch: u64) -> Vec<u8> {
    // Multiplied by an odd number, so that neighbours in time are far apart in order.
    format!("n{:016x}", batch.wrapping_mul(0x9E37_79B9_7F4A_7C15)).into_bytes()
}

fn hot_keys(pair: u64) -> [Vec<u8>; 2] {
    [format!("a{pair:04}").into_bytes(), format!("z{pair:04}").into_bytes()]
}

impl Stream {
    fn write(&self, mut writer: OverlayWriter) {
        let mut status = Arc::new(TxStatus::pending());
        for batch in 1..=BATCHES {
            let lsn = Lsn(batch);
            let value = batch.to_le_bytes();
            let [low, high] = hot_keys(batch * 7 % HOT_PAIRS);
            writer.insert(&low, lsn, Entry::Put { value: &value, fresh: false });
            writer.insert(&new_key(batch), lsn, Entry::Put { value: &value, fresh: true });
            writer.insert(&high, lsn, Entry::Put { value: &value, fresh: false });
            let half: &[u8] = if batch % 2 == 1 { b"t0" } else { b"t1" };
            let number = batch.div_ceil(2).to_le_bytes();
            writer.insert(half, lsn, Entry::IntentPut { value: &number, status: &status });
            self.durable.store(batch, Ordering::Release);
            if batch % 2 == 0 {
                self.counter.commit(&status);
                status = Arc::new(TxStatus::pending());
            }
        }
        self.finished.store(true, Ordering::Release);
    }

    fn read(&self, mut random: Random) {
        loop {
            let is_last = self.finished.load(Ordering::Acquire);
            let commit = self.counter.load();
            let at = Lsn(self.durable.load(Ordering::Acquire));
            for _ in 0..4 {
                let [low, high] = hot_keys(random.below(HOT_PAIRS));
                let seen = self.overlay.get(&low, at, commit);
                assert_eq!(seen, self.overlay.get(&high, at, commit), "half of a batch at {at}");
                thread::yield_now();
                assert_eq!(seen, self.overlay.get(&low, at, commit), "a version changed at {at}");
                assert!(seen.is_none_or(|seen| seen.value == Some(&seen.lsn.0.to_le_bytes()[..])));
            }
            let halves = [b"t0", b"t1"].map(|half| self.overlay.get(half, at, commit).and_then(|s| s.value));
            let newest = (commit > 0).then_some(commit.to_le_bytes());
            assert_eq!(halves, [newest.as_ref().map(|n| &n[..]); 2], "half of a transaction at {commit}");
            self.walk(at, commit, random.below(2) == 0);
            if is_last {
                return;
            }
        }
    }

    /// Counts what is visible: each batch up to `at` has put one new key.
    fn walk(&self, at: Lsn, commit: u64, forward: bool) {
        let mut cursor = self.overlay.cursor();
        if forward {
            cursor.seek(b"n")
        } else {
            cursor.seek_before(b"o", false)
        }
        let (mut count, mut last) = (0, None);
        while let Some(key) = cursor.key().filter(|key| key.starts_with(b"n")) {
            assert!(last.is_none_or(|last| (last < key) == forward && last != key), "order at {at}");
            last = Some(key);
            count += u64::from(cursor.get(at, commit).is_some());
            if forward { cursor.next() } else { cursor.prev() }
        }
        assert_eq!(count, at.0, "the walk missed a visible key");
    }
}

#[test]
fn readers_on_other_threads_see_whole_batches_in_order() {
    let seed = 7;
    let _says = SaysSeed(seed);
    let (writer, overlay) = overlay(0, seed);
    let stream = Stream {
        overlay,
        durable: AtomicU64::new(0),
        counter: CommitCounter::new(),
        finished: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        scope.spawn(|| stream.write(writer));
        for reader in 1..=3 {
            let stream = &stream;
            scope.spawn(move || stream.read(Random::new(seed + reader)));
        }
    });
    assert_eq!(stream.overlay.key_count() as u64, BATCHES + 2 * HOT_PAIRS + 2);
}

#[test]
fn a_key_is_found_and_gone_to_while_others_come_in_front_of_it_on_another_thread() {
    let (mut writer, overlay) = overlay(0, 5);
    let put = Entry::Put { value: b"v", fresh: true };
    writer.insert(b"z", Lsn(1), put);
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..BATCHES {
                // Each greater than the one before, so that it comes between that one and the key that is looked for.
                writer.insert(format!("y{number:016x}").as_bytes(), Lsn(2), put);
            }
            finished.store(true, Ordering::Release);
        });
        let mut cursor = overlay.cursor();
        while !finished.load(Ordering::Acquire) {
            assert!(overlay.get(b"z", Lsn(1), 0).is_some(), "a key is hidden");
            cursor.seek(b"z");
            assert_eq!(cursor.key(), Some(&b"z"[..]), "another key than was asked for");
        }
    });
}
