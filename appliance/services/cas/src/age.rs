//! What is too old, however often it is used: a walk over everything at a slow pace, once an hour.
//! Invariant: nothing goes that is leased or pinned; the next walk finds it. Nothing is done where no age is set.
//! Leaves to retention.rs: what was not used for too long.

use std::ops::Bound;
use std::sync::Arc;

use ::store::{Direction, Fault, Operation, Outcome, ShardId, TableId, Timestamp, Tx};
use plan::{Context, Plan};

use crate::digest::Digest;
use crate::gone::{Condemned, Leaving, Taken, Totals, condemn, settle, slots, take_entry};
use crate::keys::look_at_key;
use crate::namespace::{Dialect, KeyName, Namespace};
use crate::pins;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Reason;
use crate::store::entry::EntryHead;
use crate::store::key::{KeyHead, key_stored_bytes};
use crate::store::{ACCESS, ENTRIES, EntryKey, KEYS, digest_and_namespace, key_access_key, key_key};
use crate::tick::{Then, Work};

/// Records that one turn looks at; a turn comes each second.
const LOOK_COUNT: u64 = 4_000;
/// Records that one operation takes away.
const SLICE_COUNT: usize = 128;
/// Between two walks.
const REST_MS: u64 = 60 * 60 * 1_000;

/// How far the walk over a shard has come.
#[derive(Default)]
pub(crate) struct Mark {
    /// Behind which key of which table; nothing: at the beginning.
    place: Option<(TableId, Vec<u8>)>,
    rest_until_ms: u64,
}

/// Something that was found to be too old.
enum Old {
    Entry(Namespace, Digest),
    Key(KeyName),
}

/// The next stretch of the walk.
pub(crate) fn look(
    shared: &Arc<Shared>,
    cx: &mut Context<'_>,
    shard: ShardId,
) -> Result<Option<Work>, Fault> {
    let settings = &shared.settings;
    let is_set = settings.max_age.is_some() || settings.ages.values().any(|ages| ages.max_age.is_some());
    let Some(loaded) = shared.loaded().filter(|_| is_set) else { return Ok(None) };
    let mut marks = loaded.shard(shard).marks();
    let mark = &mut marks.age;
    if cx.now.0 < mark.rest_until_ms || shared.is_in_grace(cx.now) {
        return Ok(None);
    }
    let (table, after) = mark.place.clone().unwrap_or((ENTRIES, Vec::new()));
    let view = cx.store.view(shard)?;
    let mut scan = view.scan(table, Bound::Excluded(&after), Direction::Forward);
    let (mut old, mut last, mut is_end) = (Vec::new(), after.clone(), false);
    while old.len() < SLICE_COUNT && scan.examined() < LOOK_COUNT {
        let Some((key, record)) = scan.step()? else {
            is_end = true;
            break;
        };
        last = key.to_vec();
        let Some(record) = record else { continue };
        old.extend(read_old(settings, table, key, record.value, cx.now));
    }
    mark.place = match (is_end, table) {
        (false, _) => Some((table, last)),
        (true, ENTRIES) => Some((KEYS, Vec::new())),
        (true, _) => None,
    };
    if mark.place.is_none() {
        mark.rest_until_ms = cx.now.0.saturating_add(REST_MS);
    }
    drop(marks);
    let more = old.len() >= SLICE_COUNT;
    Ok((!old.is_empty()).then(|| expire(shared, shard, old, more)))
}

/// Whether something of a namespace that was made then is too old.
fn is_old(settings: &Settings, ns: &Namespace, created_ms: u64, now: Timestamp) -> bool {
    settings.max_age_of(ns).is_some_and(|max_age| {
        let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        created_ms < now.0.saturating_sub(max_age_ms)
    })
}

/// What a record is that was made too long ago.
fn read_old(settings: &Settings, table: TableId, key: &[u8], value: &[u8], now: Timestamp) -> Option<Old> {
    if table == ENTRIES {
        let (digest, ns) = digest_and_namespace(key)?;
        let created_ms = EntryHead::decode(value).ok()?.created_ms;
        return is_old(settings, &ns, created_ms, now).then_some(Old::Entry(ns, digest));
    }
    let created_ms = KeyHead::decode(value).ok()?.created_ms;
    let name = read_key(key)?;
    is_old(settings, name.ns(), created_ms, now).then_some(Old::Key(name))
}

/// The name of a key record.
pub(crate) fn read_key(key: &[u8]) -> Option<KeyName> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let (dialect, rest) = key[end + 1..].split_first()?;
    KeyName::new(Namespace::parse(&key[..end])?, Dialect::from_byte(*dialect)?, rest)
}

fn expire(shared: &Arc<Shared>, shard: ShardId, old: Vec<Old>, more: bool) -> Work {
    let shared = Arc::clone(shared);
    Box::new(move |cx, then: Then| {
        let condemned = Condemned::default();
        let leaving = Leaving::new(&shared);
        let expire = Expire {
            shared: Arc::clone(&shared),
            old,
            now: cx.now,
            condemned: Arc::clone(&condemned),
            leaving: Arc::clone(&leaving),
        };
        Plan::submit(shard, expire, move |cx, outcome| {
            settle(&condemned, &outcome);
            drop(leaving);
            if let Ok((objects, bytes)) = &outcome {
                shared.counters.count_evicted(Reason::Age, *objects, *bytes);
            }
            then(cx, outcome.map(|_| more))
        })
    })
}

struct Expire {
    shared: Arc<Shared>,
    old: Vec<Old>,
    /// As readers and clients reckon it.
    now: Timestamp,
    condemned: Condemned,
    leaving: Arc<Leaving>,
}

impl Operation for Expire {
    /// Objects and bytes that are gone.
    type Reply = (u64, u64);

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for old in &self.old {
            match old {
                Old::Entry(ns, digest) => declare(ENTRIES, EntryKey::new(digest, ns).as_bytes()),
                Old::Key(name) => declare(KEYS, &key_key(name)),
            }
        }
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<(u64, u64)>, Fault> {
        slots(&self.condemned).clear();
        let mut totals = Totals::default();
        let (mut objects, mut bytes) = (0, 0);
        for old in &self.old {
            let (ns, taken) = match old {
                Old::Entry(ns, digest) => (ns, self.entry(tx, ns, digest)?),
                Old::Key(name) => (name.ns(), self.key(tx, name)?),
            };
            if let Some(taken) = taken {
                totals.note(ns, taken);
                objects += 1;
                bytes += if taken.freed { taken.bytes } else { 0 };
            }
        }
        totals.write(tx, &self.shared, &self.leaving)?;
        Ok(Outcome::Commit((objects, bytes)))
    }
}

impl Expire {
    fn entry(&self, tx: &mut Tx<'_>, ns: &Namespace, digest: &Digest) -> Result<Option<Taken>, Fault> {
        let key = EntryKey::new(digest, ns);
        let head = tx.get_ref(ENTRIES, key.as_bytes(), |record| {
            let head = EntryHead::decode(record?.value).ok()?;
            Some((head.created_ms, head.fresh_ms, head.access_second))
        })?;
        let Some((created_ms, fresh_ms, second)) = head else { return Ok(None) };
        let is_kept = !is_old(&self.shared.settings, ns, created_ms, self.now)
            || fresh_ms.saturating_add(self.shared.lease_ms()) > self.now.0
            || pins::is_pinned(tx, &self.shared, key.as_bytes(), self.now)?
            || !condemn(&self.shared, &self.condemned, digest, self.now);
        if is_kept { Ok(None) } else { take_entry(tx, ns, second, digest).map(Some) }
    }

    fn key(&self, tx: &mut Tx<'_>, name: &KeyName) -> Result<Option<Taken>, Fault> {
        let key = key_key(name);
        let Some((head, length)) = look_at_key(tx, &key)? else { return Ok(None) };
        let is_old = is_old(&self.shared.settings, name.ns(), head.created_ms, self.now);
        if !is_old || pins::is_pinned(tx, &self.shared, &key, self.now)? {
            return Ok(None);
        }
        tx.delete(KEYS, &key);
        tx.delete(ACCESS, &key_access_key(name, head.access_second));
        Ok(Some(Taken { bytes: key_stored_bytes(key.len(), length), freed: true }))
    }
}
