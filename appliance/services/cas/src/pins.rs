//! Pins: what is never evicted, until a time or until somebody takes the pin away.
//! Invariant: only what is there is pinned; pinned bytes are at most a share of the limit. A key record is pinned with all blobs
//! that it names, each under a pin that belongs to the key, so that pins of two keys do not undo each other.
//! Leaves to evict.rs: asking. To tick.rs: when pins that are over are swept.
//!
//! ```text
//! key    digest | namespace               a blob by itself
//!        digest | namespace | 0 | hash    a blob for the sake of a key record: XXH3-64 of the key record's key
//!        namespace | 0 | dialect | key    a key record
//! value  version u8 (1) | until ms number, 0: for ever | stored bytes number | reason bytes | who bytes
//! ```

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use ::store::fields::{FieldReader, FieldWriter};
use ::store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, Timestamp, Tx, View};
use plan::{Context, Plan};

use crate::Cas;
use crate::digest::Digest;
use crate::gone::look_at_entry;
use crate::keys::look_at_key;
use crate::namespace::{KeyName, Namespace};
use crate::order::Order;
use crate::planted::{self, Plant};
use crate::room::percent;
use crate::shared::{Loaded, Shared};
use crate::store::key::{KeyRecord, Reference, key_stored_bytes};
use crate::store::{EntryKey, KEYS, PINS, key_key, place_of};

const VERSION: u8 = 1;
/// Pins of a content store at most.
pub const PIN_COUNT_MAX: u64 = 100_000;
/// Bytes of the reason of a pin, and of the word for who made it, at most; the rest is cut off.
pub const PIN_TEXT_BYTES_MAX: usize = 255;
/// Pins of one answer at most.
pub const PIN_LIST_MAX: usize = 1_000;
/// Pins that are over which one operation takes away.
const SWEEP_COUNT: usize = 128;
/// Pins of a key record's blobs that are made beside each other.
const BESIDE_COUNT: usize = 64;

/// What is pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pinned {
    /// A blob of a namespace.
    Blob(Namespace, Digest),
    /// A key record, and all blobs that it names.
    Key(KeyName),
}

/// A pin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// When it is over; nothing: never.
    pub until: Option<Timestamp>,
    /// What it keeps on the disk.
    pub stored_bytes: u64,
    /// Why.
    pub reason: Box<str>,
    /// Who made it.
    pub who: Box<str>,
}

/// Why something was not pinned.
#[derive(Clone, Debug)]
pub enum PinError {
    /// It is not there, or not all of it.
    NotFound,
    /// Pins would keep more than their share of the limit, or there are too many.
    TooMuch,
    /// The store failed.
    Fault(Fault),
}

impl Pin {
    fn encode(&self) -> Vec<u8> {
        let cut = |text: &str| text.as_bytes()[..text.floor_char_boundary(PIN_TEXT_BYTES_MAX)].to_vec();
        let mut out = FieldWriter::new(VERSION);
        out.number(self.until.map_or(0, |until| until.0));
        out.number(self.stored_bytes);
        out.bytes(&cut(&self.reason));
        out.bytes(&cut(&self.who));
        out.into_bytes()
    }

    fn decode(value: &[u8]) -> Result<Pin, Fault> {
        let mut reader = FieldReader::new(value, VERSION, "pin")?;
        let until = Some(reader.number()?).filter(|until| *until != 0).map(Timestamp);
        let stored_bytes = reader.number()?;
        let pin = Pin { until, stored_bytes, reason: reader.text()?.into(), who: reader.text()?.into() };
        if reader.is_empty() { Ok(pin) } else { Err(reader.damaged("is longer than its fields")) }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Whether what lies under this key is pinned at `now`. A damaged pin is one. Errors: those of `tx`.
pub(crate) fn is_pinned(tx: &mut Tx<'_>, shared: &Shared, key: &[u8], now: Timestamp) -> Result<bool, Fault> {
    let has_none = shared.loaded().is_some_and(|loaded| loaded.pinned.objects() == 0);
    if has_none || planted::is(Plant::PinIgnored) {
        return Ok(false);
    }
    let holds = |value: &[u8]| Pin::decode(value).map_or(true, |pin| !pin.is_over(now));
    if tx.get_ref(PINS, key, |record| record.is_some_and(|record| holds(record.value)))? {
        return Ok(true);
    }
    let front = [key, &[0]].concat();
    let mut found = false;
    let mut after = front.clone();
    loop {
        // Pins behind these may all have been deleted: the walk over them ends soon.
        let end = tx.scan(PINS, Bound::Excluded(&after), Direction::Forward, 2, &mut |key, record| {
            found = key.starts_with(&front) && holds(record.value);
            if found || !key.starts_with(&front) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match end {
            ScanEnd::Continue(key) if key.starts_with(&front) && !found => after = key,
            ScanEnd::Continue(_) | ScanEnd::Stopped | ScanEnd::Done => return Ok(found),
        }
    }
}

/// Reads how much is pinned on a shard. Errors: those of the view.
pub(crate) fn read(loaded: &Loaded, view: &View<'_>) -> Result<(), Fault> {
    let mut scan = view.scan(PINS, Bound::Unbounded, Direction::Forward);
    while let Some((_, record)) = scan.next()? {
        let bytes = Pin::decode(record.value).map_or(0, |pin| pin.stored_bytes);
        loaded.pinned.add(1, i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    Ok(())
}

/// Writes a pin.
struct PutPin {
    shared: Arc<Shared>,
    key: Vec<u8>,
    what: Pinned,
    pin: Pin,
}

enum Put {
    Done,
    NotFound,
    TooMuch,
}

impl Operation for PutPin {
    type Reply = Put;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(PINS, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Put>, Fault> {
        let stored_bytes = match &self.what {
            Pinned::Blob(ns, digest) => {
                let key = EntryKey::new(digest, ns);
                let is_there =
                    tx.get_ref(crate::store::ENTRIES, key.as_bytes(), |record| record.is_some())?;
                if is_there { Some(look_at_entry(tx, ns, digest)?.bytes) } else { None }
            }
            Pinned::Key(name) => {
                let key = key_key(name);
                look_at_key(tx, &key)?.map(|(_, length)| key_stored_bytes(key.len(), length))
            }
        };
        let Some(stored_bytes) = stored_bytes else { return Ok(Outcome::Rollback(Put::NotFound)) };
        let before = tx.get_ref(PINS, &self.key, |record| record.map(|record| Pin::decode(record.value)))?;
        let (objects, bytes_before) = match &before {
            Some(before) => (0, before.as_ref().map_or(0, |pin| pin.stored_bytes)),
            None => (1, 0),
        };
        let settings = &self.shared.settings;
        let bytes_max = percent(settings.max_bytes, u64::from(settings.pinned_share_percent));
        let pinned = self
            .shared
            .loaded()
            .map_or((0, 0), |loaded| (loaded.pinned.objects(), loaded.pinned.stored_bytes()));
        if pinned.1.saturating_sub(bytes_before).saturating_add(stored_bytes) > bytes_max
            || pinned.0 + objects > PIN_COUNT_MAX
        {
            return Ok(Outcome::Rollback(Put::TooMuch));
        }
        self.pin.stored_bytes = stored_bytes;
        tx.put(PINS, &self.key, &self.pin.encode(), Vec::new(), before.is_none());
        count(tx, &self.shared, objects as i64, signed(stored_bytes) - signed(bytes_before));
        Ok(Outcome::Commit(Put::Done))
    }
}

/// Takes pins away: those that are over, or all of these.
struct DropPins {
    shared: Arc<Shared>,
    keys: Vec<Vec<u8>>,
    /// Only what is over by then.
    over_at: Option<Timestamp>,
}

impl Operation for DropPins {
    /// How many there were.
    type Reply = u64;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.keys.iter().for_each(|key| declare(PINS, key));
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<u64>, Fault> {
        let (mut objects, mut bytes) = (0, 0);
        for key in &self.keys {
            let found = tx.get_ref(PINS, key, |record| record.map(|record| Pin::decode(record.value)))?;
            let Some(found) = found else { continue };
            if self.over_at.is_some_and(|now| found.as_ref().is_ok_and(|pin| !pin.is_over(now))) {
                continue;
            }
            tx.delete(PINS, key);
            objects += 1;
            bytes += signed(found.map_or(0, |pin| pin.stored_bytes));
        }
        if objects == 0 {
            return Ok(Outcome::Rollback(0));
        }
        count(tx, &self.shared, -objects, -bytes);
        Ok(Outcome::Commit(objects.unsigned_abs()))
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn count(tx: &mut Tx<'_>, shared: &Arc<Shared>, objects: i64, bytes: i64) {
    let shared = Arc::clone(shared);
    tx.then::<Order>(move |_, _| {
        if let Some(loaded) = shared.loaded() {
            loaded.pinned.add(objects, bytes);
        }
    });
}

/// Takes away all pins of a blob, by whatever namespace and for whatever key's sake. Errors: those of `tx`.
pub(crate) fn drop_of_blob(tx: &mut Tx<'_>, shared: &Arc<Shared>, digest: &Digest) -> Result<(), Fault> {
    if shared.loaded().is_some_and(|loaded| loaded.pinned.objects() == 0) {
        return Ok(());
    }
    let mut found: Vec<(Vec<u8>, u64)> = Vec::new();
    let front = digest.as_bytes();
    // No pin of a key record begins so: that would be a namespace whose name is the digest of something.
    tx.scan(PINS, Bound::Included(front), Direction::Forward, u64::MAX, &mut |key, record| {
        if !key.starts_with(front) {
            return ControlFlow::Break(());
        }
        found.push((key.to_vec(), Pin::decode(record.value).map_or(0, |pin| pin.stored_bytes)));
        ControlFlow::Continue(())
    })?;
    let bytes = found.iter().map(|(_, bytes)| signed(*bytes)).sum::<i64>();
    found.iter().for_each(|(key, _)| tx.delete(PINS, key));
    count(tx, shared, -(found.len() as i64), -bytes);
    Ok(())
}

/// What a pin keeps: shard, key of the pin, and what it is.
type Targets = Vec<(ShardId, Vec<u8>, Pinned)>;

/// The keys and shards of what a pin keeps: the thing itself is the last.
fn targets(cx: &Context<'_>, what: &Pinned) -> Result<Option<Targets>, Fault> {
    match what {
        Pinned::Blob(ns, digest) => {
            let key = EntryKey::new(digest, ns).as_bytes().to_vec();
            Ok(Some(vec![(place_of(cx.store, digest), key, what.clone())]))
        }
        Pinned::Key(name) => {
            let key = key_key(name);
            let shard = cx.store.place(&key);
            let view = cx.store.view(shard)?;
            let Some(record) = view.get(KEYS, &key)? else { return Ok(None) };
            let owner = hash::xxh3_64(&key).to_be_bytes();
            let blob = |reference: &Reference| {
                let entry = EntryKey::new(&reference.digest, name.ns());
                let pin_key = [entry.as_bytes(), &[0], &owner].concat();
                let blob = Pinned::Blob(*name.ns(), reference.digest);
                (place_of(cx.store, &reference.digest), pin_key, blob)
            };
            let mut targets: Vec<_> = KeyRecord::decode(record.value)?.references.iter().map(blob).collect();
            targets.sort_by(|one, other| one.1.cmp(&other.1));
            targets.dedup_by(|one, other| one.1 == other.1);
            targets.push((shard, key, what.clone()));
            Ok(Some(targets))
        }
    }
}

/// The thing itself, for a key record that is gone.
fn own_target(cx: &Context<'_>, what: &Pinned) -> Targets {
    match what {
        Pinned::Blob(..) => Vec::new(),
        Pinned::Key(name) => {
            let key = key_key(name);
            vec![(cx.store.place(&key), key, what.clone())]
        }
    }
}

impl Cas {
    /// Pins something that is there; a pin that it has is replaced. A key record whose blobs are not all there is not pinned, and
    /// neither are its blobs. Errors: see [`PinError`].
    pub fn pin<F>(&self, cx: &mut Context<'_>, what: &Pinned, pin: Pin, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(), PinError>) -> Plan + 'static,
    {
        let targets = self.0.ready(cx.store, cx.now).and_then(|()| targets(cx, what));
        match targets {
            Err(fault) => then(cx, Err(PinError::Fault(fault))),
            Ok(None) => then(cx, Err(PinError::NotFound)),
            Ok(Some(targets)) => self.pin_next(cx, targets, Vec::new(), pin, then),
        }
    }

    fn pin_next<F>(
        &self,
        cx: &mut Context<'_>,
        mut left: Targets,
        mut done: Targets,
        pin: Pin,
        then: F,
    ) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<(), PinError>) -> Plan + 'static,
    {
        if left.is_empty() {
            return then(cx, Ok(()));
        }
        let now: Targets = left.drain(..left.len().min(BESIDE_COUNT)).collect();
        let shared = &self.0;
        let part = |(shard, key, what): &(ShardId, Vec<u8>, Pinned)| {
            let (key, what, pin) = (key.clone(), what.clone(), pin.clone());
            (*shard, PutPin { shared: Arc::clone(shared), key, what, pin })
        };
        let parts = now.iter().map(part).collect();
        done.extend(now);
        let cas = self.clone();
        Plan::gather(parts, move |cx, outcomes: Vec<Result<Put, Fault>>| {
            let refused = outcomes.into_iter().find_map(|outcome| match outcome {
                Ok(Put::Done) => None,
                Ok(Put::NotFound) => Some(PinError::NotFound),
                Ok(Put::TooMuch) => Some(PinError::TooMuch),
                Err(fault) => Some(PinError::Fault(fault)),
            });
            match refused {
                None => cas.pin_next(cx, left, done, pin, then),
                Some(why) => cas.unpin_next(cx, done, 0, move |cx, _| then(cx, Err(why))),
            }
        })
    }

    /// Takes a pin away; gives whether there was one. Errors: the store's.
    pub fn unpin<F>(&self, cx: &mut Context<'_>, what: &Pinned, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
    {
        match self.0.ready(cx.store, cx.now).and_then(|()| targets(cx, what)) {
            Err(fault) => then(cx, Err(fault)),
            Ok(targets) => {
                let targets = targets.unwrap_or_else(|| own_target(cx, what));
                self.unpin_next(cx, targets, 0, move |cx, dropped| then(cx, dropped.map(|count| count > 0)))
            }
        }
    }

    fn unpin_next<F>(&self, cx: &mut Context<'_>, mut left: Targets, dropped: u64, then: F) -> Plan
    where
        F: FnOnce(&mut Context<'_>, Result<u64, Fault>) -> Plan + 'static,
    {
        if left.is_empty() {
            return then(cx, Ok(dropped));
        }
        let now = left.drain(..left.len().min(BESIDE_COUNT));
        let part = |(shard, key, _): (ShardId, Vec<u8>, Pinned)| {
            (shard, DropPins { shared: Arc::clone(&self.0), keys: vec![key], over_at: None })
        };
        let parts = now.map(part).collect();
        let cas = self.clone();
        Plan::gather(parts, move |cx, outcomes: Vec<Result<u64, Fault>>| {
            match outcomes.into_iter().sum::<Result<u64, Fault>>() {
                Ok(count) => cas.unpin_next(cx, left, dropped + count, then),
                Err(fault) => then(cx, Err(fault)),
            }
        })
    }

    /// Pins, those of key records without the ones of their blobs, at most [`PIN_LIST_MAX`] of each shard. Errors: a view's.
    pub fn pins(&self, cx: &Context<'_>) -> Result<Vec<(Pinned, Pin)>, Fault> {
        let mut pins = Vec::new();
        for shard in cx.store.shards() {
            let view = cx.store.view(shard)?;
            let mut scan = view.scan(PINS, Bound::Unbounded, Direction::Forward);
            let mut count = 0;
            while let Some((key, record)) = scan.next()? {
                let Some(what) = read_key(key, cx, shard) else { continue };
                pins.push((what, Pin::decode(record.value)?));
                count += 1;
                if count >= PIN_LIST_MAX {
                    break;
                }
            }
        }
        Ok(pins)
    }
}

/// What a key of the table names. A digest may look like the beginning of a key record's key, which lies on another shard
/// then, or it has no namespace behind it.
fn read_key(key: &[u8], cx: &Context<'_>, shard: ShardId) -> Option<Pinned> {
    if let Some((digest, ns)) = key.split_first_chunk::<32>()
        && let Some(ns) = Namespace::parse(ns)
        && place_of(cx.store, &Digest::new(*digest)) == shard
    {
        return Some(Pinned::Blob(ns, Digest::new(*digest)));
    }
    let end = key.iter().position(|byte| *byte == 0)?;
    let (dialect, rest) = key[end + 1..].split_first()?;
    let dialect = crate::namespace::Dialect::from_byte(*dialect)?;
    let name = KeyName::new(Namespace::parse(&key[..end])?, dialect, rest)?;
    (cx.store.place(key) == shard).then_some(Pinned::Key(name))
}

/// The keys of pins of a shard that are over. Errors: a view's.
pub(crate) fn over(cx: &Context<'_>, shard: ShardId) -> Result<Vec<Vec<u8>>, Fault> {
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(PINS, Bound::Unbounded, Direction::Forward);
    let mut over = Vec::new();
    while let Some((key, record)) = scan.next()? {
        if Pin::decode(record.value).is_ok_and(|pin| pin.is_over(cx.now)) {
            over.push(key.to_vec());
        }
        if over.len() >= SWEEP_COUNT {
            break;
        }
    }
    Ok(over)
}

/// Takes away pins that are over.
pub(crate) fn sweep<F>(
    now: Timestamp,
    shared: &Arc<Shared>,
    shard: ShardId,
    keys: Vec<Vec<u8>>,
    then: F,
) -> Plan
where
    F: FnOnce(&mut Context<'_>, Result<bool, Fault>) -> Plan + 'static,
{
    let more = keys.len() >= SWEEP_COUNT;
    let drop_pins = DropPins { shared: Arc::clone(shared), keys, over_at: Some(now) };
    Plan::submit(shard, drop_pins, move |cx, outcome| then(cx, outcome.map(|_| more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_round_trips_and_its_truncations_are_faults() {
        for until in [None, Some(Timestamp(1_800_000_000_000))] {
            let pin = Pin { until, stored_bytes: 5 << 30, reason: "release".into(), who: "abcdefgh".into() };
            let bytes = pin.encode();
            assert_eq!(Pin::decode(&bytes).expect("decodes"), pin);
            for length in 0..bytes.len() {
                assert!(Pin::decode(&bytes[..length]).is_err(), "length {length}");
            }
        }
        let long = Pin { until: None, stored_bytes: 0, reason: "ä".repeat(200).into(), who: "".into() };
        assert_eq!(Pin::decode(&long.encode()).expect("decodes").reason.len(), 254);
    }

    #[test]
    fn a_pin_is_over_at_its_time() {
        let pin = |until| Pin { until, stored_bytes: 0, reason: "".into(), who: "".into() };
        assert!(!pin(None).is_over(Timestamp(u64::MAX)));
        assert!(
            pin(Some(Timestamp(5))).is_over(Timestamp(5)) && !pin(Some(Timestamp(5))).is_over(Timestamp(4))
        );
    }
}
