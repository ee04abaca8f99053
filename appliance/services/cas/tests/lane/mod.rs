//! One client of the content store and what it may expect: what was promised to it and until when, what it pinned, what it
//! used last. It shares no code with the store: times, sizes and rules are its own.
//! Invariant: a lane has a namespace of its own, in which nobody else writes; blobs are those of all lanes, so that namespaces
//! share them. Its steps come one after the other, beside those of other lanes and the background.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use cas::{
    Block, Digest, KeyError, KeyName, Lookup, Namespace, NewKey, Pin, PinError, Pinned, PutError, Reference,
};
use store::Timestamp;

use crate::driver::{Wire, World, ns, upload};

/// How long something promised stays, by the settings of the model.
pub const LEASE_MS: u64 = 600_000;
/// Blobs that there are.
pub const BLOB_COUNT: usize = 240;
/// Keys of a lane.
const KEY_COUNT: usize = 24;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Drawn so that no two blobs share a slot of the leases, by which one would be kept for the other's sake.
const CONTENT_SEED: u64 = 1;

/// The bytes of a blob: mostly a few thousand, now and then none, or more than lie packed.
pub fn content(blob: usize) -> Vec<u8> {
    let mut random = Random((CONTENT_SEED << 32) + blob as u64);
    let length = match random.below(40) {
        _ if blob == 0 => 0,
        0 => 33_000 + random.below(40_000),
        _ => 1 + random.below(6_000),
    };
    (0..length).map(|_| random.next() as u8).collect()
}

/// What a client knows of something that it stored.
#[derive(Clone, Default, Debug)]
pub struct Held {
    /// Before this time it is there.
    pub promised_ms: u64,
    /// When it was stored or used last.
    pub used_ms: u64,
    /// Until when a pin keeps it; 0: there is none.
    pub pinned_ms: u64,
    /// It was pinned once, so that its place in the order of use is not known.
    pub was_pinned: bool,
    /// Its place in the order of use is known to follow `used_ms`: not after a restart, which forgets what was not written.
    pub is_exact: bool,
    /// How often the blob had been blocked and let in again when it was stored or used: a block ends all promises.
    pub standing: Standing,
}

#[derive(Clone, Default, Debug)]
pub struct HeldKey {
    pub value: Vec<u8>,
    pub references: Vec<usize>,
    /// Before this time it is there, if its blobs are.
    pub promised_ms: u64,
}

/// Blobs of all lanes, and what they are called by.
pub struct Blobs {
    pub digests: Vec<Digest>,
    pub lengths: Vec<u64>,
    /// When any lane used them last: their leases are those of all.
    pub used_ms: RefCell<Vec<u64>>,
    standings: RefCell<Vec<Standing>>,
}

/// Whether a blob is blocked: a number that rises when a block begins, when it is there, when it is about to go and when it is gone. All
/// lanes have it in common, since a block is for all namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Standing(u64);

impl Standing {
    pub fn is_blocked(self) -> bool {
        self.0 % 4 == 2
    }

    fn is_free(self) -> bool {
        self.0.is_multiple_of(4)
    }

    /// Of two looks, one before and one after an operation: what it was all the time; nothing where it has changed.
    fn throughout(self, after: Standing) -> Option<Standing> {
        (self == after).then_some(self)
    }
}

impl Blobs {
    /// Whether a blob is blocked now.
    pub fn standing(&self, blob: usize) -> Standing {
        self.standings.borrow()[blob]
    }

    fn advance(&self, blob: usize) {
        self.standings.borrow_mut()[blob].0 += 1;
    }

    pub fn new() -> Blobs {
        let contents: Vec<Vec<u8>> = (0..BLOB_COUNT).map(content).collect();
        let digests: Vec<Digest> = contents.iter().map(|bytes| Digest::of(bytes)).collect();
        let slots: HashSet<&[u8]> = digests.iter().map(|digest| &digest.as_bytes()[28..30]).collect();
        assert_eq!(slots.len(), BLOB_COUNT, "another CONTENT_SEED is needed");
        let lengths = contents.iter().map(|bytes| bytes.len() as u64).collect();
        let standings = RefCell::new(vec![Standing::default(); BLOB_COUNT]);
        Blobs { digests, lengths, used_ms: RefCell::new(vec![0; BLOB_COUNT]), standings }
    }
}

pub struct Lane {
    pub name: Namespace,
    pub held: HashMap<usize, Held>,
    /// What was found to be gone since everything was looked at last.
    pub gone: Vec<(usize, Held)>,
    pub keys: HashMap<usize, HeldKey>,
    pub counts: BTreeMap<&'static str, u64>,
    pub random: Random,
    blobs: Rc<Blobs>,
    /// Bytes and objects that the namespace may have.
    pub quota: Option<[u64; 2]>,
    written: u64,
}

impl Lane {
    pub fn new(number: usize, seed: u64, blobs: Rc<Blobs>, quota: Option<[u64; 2]>) -> Lane {
        Lane {
            name: ns(&format!("lane-{number}")),
            held: HashMap::new(),
            gone: Vec::new(),
            keys: HashMap::new(),
            counts: BTreeMap::new(),
            random: Random(seed ^ (number as u64 + 1).wrapping_mul(0xa076_1d64_78bd_642f)),
            blobs,
            quota,
            written: 0,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Something that was stored at some time, most often.
    fn draw_blob(&mut self) -> usize {
        // Lanes like different ones, so that some are shared by all and some by none.
        let first = usize::from(self.name.as_bytes()[5]) * 31;
        let reach = if self.random.chance(30) { BLOB_COUNT } else { BLOB_COUNT / 4 };
        (first + self.random.below(reach)) % BLOB_COUNT
    }

    /// The one that was used the longest time ago: the next to go.
    fn draw_oldest(&mut self) -> usize {
        let oldest = self.held.iter().min_by_key(|(blob, held)| (held.used_ms, **blob));
        oldest.map_or(0, |(blob, _)| *blob)
    }

    fn key_name(&self, key: usize) -> KeyName {
        KeyName::new(self.name, cas::Dialect::Bazel, format!("key {key}").into_bytes()).expect("legal")
    }

    /// It was there at `now_ms`, and stays for a lease period. `before`: its standing before anybody looked.
    fn found(&mut self, blob: usize, now_ms: u64, before: Standing) {
        let throughout = before.throughout(self.blobs.standing(blob));
        assert!(
            !throughout.is_some_and(Standing::is_blocked),
            "{}: blob {blob} is blocked and was served or taken",
            self.name
        );
        let held = self.held.get_mut(&blob).unwrap_or_else(|| panic!("blob {blob} was never stored"));
        held.promised_ms = held.promised_ms.max(now_ms + LEASE_MS);
        (held.used_ms, held.is_exact, held.standing) = (now_ms, true, before);
        self.blobs.used_ms.borrow_mut()[blob] = now_ms;
    }

    /// They were looked for, and what was there of them may be leased.
    fn looked_for(&self, blobs: &[usize], now_ms: u64) {
        blobs.iter().for_each(|blob| self.blobs.used_ms.borrow_mut()[*blob] = now_ms);
    }

    /// It was not there at `now_ms`.
    pub fn missed(&mut self, blob: usize, now_ms: u64, how: &str) {
        let Some(held) = self.held.get(&blob) else { return };
        if held.standing.throughout(self.blobs.standing(blob)).is_none_or(|standing| !standing.is_free()) {
            // A block took it, which ends what was promised and is no matter of order.
            self.held.remove(&blob);
            return;
        }
        assert!(
            held.promised_ms <= now_ms,
            "{how}: {}: blob {blob} is promised and gone: {held:?} at {now_ms}",
            self.name
        );
        assert!(
            held.pinned_ms <= now_ms,
            "{how}: {}: blob {blob} is pinned and gone: {held:?} at {now_ms}",
            self.name
        );
        let held = self.held.remove(&blob).expect("looked at above");
        self.gone.push((blob, held));
    }

    /// One step.
    pub async fn step(&mut self, world: &World) {
        match self.random.below(100) {
            0..=29 => self.put(world).await,
            30..=49 => {
                let blob = self.draw_blob();
                self.get(world, blob).await;
            }
            50..=59 => {
                let blob = self.draw_oldest();
                self.get(world, blob).await;
            }
            60..=64 => self.missing(world).await,
            65..=77 => self.key_put(world).await,
            78..=91 => self.key_get(world).await,
            92..=93 => self.key_delete(world).await,
            94..=96 => self.pin(world).await,
            97 => self.unpin(world).await,
            98 => self.block(world).await,
            _ => self.put_wrong(world).await,
        }
        let stored = world.cas.stored_bytes();
        let limit = world.cas.settings().max_bytes;
        assert!(stored <= limit, "{stored} bytes are stored, the limit is {limit}");
        if let Some([bytes_max, objects_max]) = self.quota {
            let [objects, bytes] = world.usage(Some(&self.name));
            let is_within = bytes as u64 <= bytes_max && objects as u64 <= objects_max;
            assert!(is_within, "{} has {bytes} bytes, {objects} objects: over its quota", self.name);
        }
    }

    /// Blocks a blob, or lets in one that is blocked: mostly the latter, so that few are.
    async fn block(&mut self, world: &World) {
        let blocked: Vec<usize> =
            (0..BLOB_COUNT).filter(|blob| self.blobs.standing(*blob).is_blocked()).collect();
        if !blocked.is_empty() && self.random.chance(80) {
            let blob = blocked[self.random.below(blocked.len())];
            self.blobs.advance(blob);
            let digest = self.blobs.digests[blob];
            let was_blocked = world.ask(|cx, done| world.cas.unblock(cx, digest, done)).await.expect("open");
            assert!(was_blocked, "the block of blob {blob} is gone");
            self.blobs.advance(blob);
            return self.count("unblock");
        }
        let blob = self.draw_blob();
        // Another lane may be at it.
        if !self.blobs.standing(blob).is_free() {
            return;
        }
        self.blobs.advance(blob);
        let at = world.clock.now();
        let block = Block { at, reason: "a test".into(), who: "test".into() };
        let digest = self.blobs.digests[blob];
        let was_new = world.ask(|cx, done| world.cas.block(cx, digest, block, done)).await.expect("open");
        assert!(was_new, "blob {blob} was blocked already");
        self.blobs.advance(blob);
        self.count("block");
    }

    async fn put(&mut self, world: &World) {
        let blob = self.draw_blob();
        let before = self.blobs.standing(blob);
        match world.put(self.name, &content(blob)).await {
            Ok(stored) => {
                let now_ms = world.clock.now().0;
                assert_eq!(
                    (stored.digest, stored.length),
                    (self.blobs.digests[blob], self.blobs.lengths[blob])
                );
                if stored.new {
                    self.missed(blob, now_ms, "put");
                }
                self.held.entry(blob).or_default();
                self.found(blob, now_ms, before);
                self.count(if stored.new { "put new" } else { "put again" });
            }
            Err(PutError::Full) => self.count("put refused: full"),
            Err(PutError::Blocked) => {
                let throughout = before.throughout(self.blobs.standing(blob));
                assert!(!throughout.is_some_and(Standing::is_free), "blob {blob} is refused and not blocked");
                self.count("put refused: blocked");
            }
            Err(PutError::QuotaFull) => {
                assert!(self.quota.is_some(), "{} has no quota", self.name);
                self.count("put refused: quota");
            }
            Err(other) => panic!("put of blob {blob}: {other:?}"),
        }
    }

    /// Bytes that are not those of the digest leave nothing.
    async fn put_wrong(&mut self, world: &World) {
        let blob = self.draw_blob();
        let mut bytes = content(blob);
        bytes.push(1);
        let upload = upload(self.name, Some(self.blobs.digests[blob]), Some(bytes.len() as u64));
        match world.receive(upload, Wire::whole(&bytes)).await {
            Err(PutError::BadDigest { .. }) => self.count("put refused: digest"),
            Err(PutError::Full | PutError::QuotaFull | PutError::Blocked) => {}
            other => panic!("a wrong digest was not refused: {other:?}"),
        }
    }

    async fn get(&mut self, world: &World, blob: usize) {
        // The lease begins before the answer.
        let now_ms = world.clock.now().0;
        let before = self.blobs.standing(blob);
        match world.get(self.name, self.blobs.digests[blob]).await {
            Some(bytes) => {
                assert!(bytes == content(blob), "blob {blob} has other bytes");
                self.found(blob, now_ms, before);
                world.cas.count(&self.name, Lookup::Hit, bytes.len() as u64);
                self.count("get hit");
            }
            None => {
                self.missed(blob, now_ms, "get");
                world.cas.count(&self.name, Lookup::Miss, 0);
                self.count("get miss");
            }
        }
    }

    async fn missing(&mut self, world: &World) {
        let now_ms = world.clock.now().0;
        let asked: Vec<usize> = (0..6).map(|_| self.draw_blob()).collect();
        let before: Vec<Standing> = asked.iter().map(|blob| self.blobs.standing(*blob)).collect();
        let digests = asked.iter().map(|blob| self.blobs.digests[*blob]).collect();
        let answers = world.ask(|cx, done| world.cas.missing(cx, &self.name, digests, done)).await;
        let answers = answers.expect("the store can be read");
        for ((blob, before), is_missing) in asked.into_iter().zip(before).zip(answers) {
            if is_missing { self.missed(blob, now_ms, "missing") } else { self.found(blob, now_ms, before) }
        }
        self.count("missing");
    }

    async fn key_put(&mut self, world: &World) {
        let (key, now_ms) = (self.random.below(KEY_COUNT), world.clock.now().0);
        let known: Vec<usize> = {
            let mut known: Vec<usize> = self.held.keys().copied().collect();
            known.sort_unstable();
            known
        };
        let mut references: Vec<usize> = Vec::new();
        for _ in 0..self.random.below(4) {
            references.push(if known.is_empty() || self.random.chance(5) {
                self.draw_blob()
            } else {
                known[self.random.below(known.len())]
            });
        }
        self.written += 1;
        let value = format!("{} {}", self.name, self.written).repeat(1 + self.random.below(20)).into_bytes();
        let named =
            |blob: &usize| Reference { digest: self.blobs.digests[*blob], length: self.blobs.lengths[*blob] };
        let references_given = references.iter().map(named).collect();
        let new = NewKey { value: value.clone().into(), references: references_given, ..NewKey::default() };
        let before: Vec<Standing> = references.iter().map(|blob| self.blobs.standing(*blob)).collect();
        match world.key_put(&self.key_name(key), new).await {
            Ok(()) => {
                references.iter().zip(before).for_each(|(blob, before)| self.found(*blob, now_ms, before));
                self.keys.insert(key, HeldKey { value, references, promised_ms: now_ms + LEASE_MS });
                self.count("key put");
            }
            Err(KeyError::Missing(missing)) => {
                self.looked_for(&references, now_ms);
                assert!(!missing.is_empty());
                for digest in missing {
                    let blob =
                        self.blobs.digests.iter().position(|known| *known == digest).expect("asked for");
                    assert!(references.contains(&blob));
                    self.missed(blob, now_ms, "key put");
                }
                self.count("key put refused: missing");
            }
            Err(KeyError::Full) => {
                self.looked_for(&references, now_ms);
                self.count("key put refused: full");
            }
            Err(KeyError::QuotaFull) => {
                self.looked_for(&references, now_ms);
                self.count("key put refused: quota");
            }
            Err(other) => panic!("key put: {other:?}"),
        }
    }

    async fn key_get(&mut self, world: &World) {
        let (key, now_ms) = (self.random.below(KEY_COUNT), world.clock.now().0);
        let named = self.keys.get(&key).map(|held| held.references.clone()).unwrap_or_default();
        let before: Vec<Standing> = named.iter().map(|blob| self.blobs.standing(*blob)).collect();
        let hit = world.key_get(&self.key_name(key)).await;
        let Some(held) = self.keys.get(&key).cloned() else {
            assert!(hit.is_none(), "key {key} was never written, or was removed");
            return self.count("key miss: none");
        };
        self.looked_for(&held.references, now_ms);
        let Some(hit) = hit else {
            let is_kept = |blob: &usize| {
                let held = self.held.get(blob).filter(|held| held.promised_ms > now_ms);
                held.is_some_and(|held| held.standing == self.blobs.standing(*blob))
            };
            let is_promised = held.promised_ms > now_ms && held.references.iter().all(is_kept);
            let blobs: Vec<_> = held.references.iter().map(|blob| (blob, self.held.get(blob))).collect();
            assert!(
                !is_promised,
                "{}: key {key} is promised and gone: {held:?} of {blobs:?} at {now_ms}",
                self.name
            );
            self.keys.remove(&key);
            return self.count("key miss: gone");
        };
        assert_eq!(hit.value, held.value, "key {key} has another value");
        let named =
            |blob: &usize| Reference { digest: self.blobs.digests[*blob], length: self.blobs.lengths[*blob] };
        assert_eq!(hit.references, held.references.iter().map(named).collect::<Vec<_>>());
        held.references.iter().zip(before).for_each(|(blob, before)| self.found(*blob, now_ms, before));
        self.count("key hit");
        // What a hit names is there and whole, whatever the evictor does meanwhile.
        for blob in held.references {
            self.get(world, blob).await;
        }
    }

    async fn key_delete(&mut self, world: &World) {
        let key = self.random.below(KEY_COUNT);
        let name = self.key_name(key);
        let was_there = world.ask(|cx, done| world.cas.key_delete(cx, name, done)).await.expect("open");
        let is_known = self.keys.remove(&key).is_some();
        assert!(is_known || !was_there, "key {key} was never written, or was removed");
        self.count("key delete");
    }

    async fn pin(&mut self, world: &World) {
        let (blob, now_ms) = (self.draw_blob(), world.clock.now().0);
        let until_ms = now_ms + 60_000 * (1 + self.random.next() % 600);
        let (reason, who) = ("a test".into(), "test".into());
        let pin = Pin { until: Some(Timestamp(until_ms)), stored_bytes: 0, reason, who };
        let what = Pinned::Blob(self.name, self.blobs.digests[blob]);
        match world.ask(|cx, done| world.cas.pin(cx, &what, pin, done)).await {
            Ok(()) if !self.blobs.standing(blob).is_free() => self.count("pin beside a block"),
            Ok(()) => {
                let held = self.held.get_mut(&blob).unwrap_or_else(|| panic!("blob {blob} was never stored"));
                (held.pinned_ms, held.was_pinned) = (until_ms, true);
                self.count("pin");
            }
            Err(PinError::NotFound) => {
                self.missed(blob, now_ms, "pin");
                self.count("pin refused: missing");
            }
            Err(PinError::TooMuch) => self.count("pin refused: too much"),
            Err(other) => panic!("pin: {other:?}"),
        }
    }

    async fn unpin(&mut self, world: &World) {
        let mut pinned: Vec<usize> =
            self.held.iter().filter(|(_, held)| held.pinned_ms > 0).map(|(blob, _)| *blob).collect();
        pinned.sort_unstable();
        if pinned.is_empty() {
            return;
        }
        let blob = pinned[self.random.below(pinned.len())];
        let what = Pinned::Blob(self.name, self.blobs.digests[blob]);
        let was_there = world.ask(|cx, done| world.cas.unpin(cx, &what, done)).await.expect("open");
        let held = self.held.get_mut(&blob).expect("chosen from these");
        let is_free = held.standing.throughout(self.blobs.standing(blob)).is_some_and(Standing::is_free);
        assert!(
            was_there || held.pinned_ms <= world.clock.now().0 || !is_free,
            "the pin of blob {blob} is gone too early"
        );
        held.pinned_ms = 0;
        self.count("unpin");
    }
}
