//! Effects on their way into the filling batch and the active overlay.
//! Invariant: an overlay entry and its log item say the same; a small body's bytes are in the batch before the record that
//! points to them; every extent that no record names any more is named by `DEAD` in the same batch.

use std::collections::HashSet;
use std::sync::Arc;

use crate::body::{Adopted, SealedBody};
use crate::counter;
use crate::effect::{BLOB_HEAD_BYTES, append_put, blob_head, encode_delete};
use crate::log::format::HEADER_BYTES;
use crate::overlay::{Entry, VALUE_BYTES_MAX};
use crate::owner::Owner;
use crate::planted::{self, Plant};
use crate::record::{BodyRef, Record};
use crate::tables::{DEAD, OUTBOX, PREPARED, dead_key, record_key};
use crate::transact::{Change, PrepareInfo, Prepared, PreparedContent, PreparedEffect};
use crate::tx::{Body, Effects, StagedRecord};
use crate::tx_status::{TxState, TxStatus};
use crate::types::{Extent, ExtentId, INLINE_BYTES_MAX, LogPosition, Lsn};

/// Room that an effect takes in a batch beside its key, value and body bytes, generously.
const EFFECT_OVERHEAD_BYTES: usize = 128;

/// The part of the largest batch that a prepare may take, in eighths: 15 MiB in production.
const PREPARE_EIGHTHS: usize = 5;

impl Owner {
    /// An upper bound of the bytes that these effects take in a batch.
    fn effects_bytes(effects: &Effects) -> usize {
        let written: usize = effects
            .staged
            .iter()
            .map(|staged| {
                let record = staged.record.as_ref().map_or(0, |record| {
                    let bodies: usize = record.bodies.iter().map(body_bytes).sum();
                    record.value.len() + bodies
                });
                EFFECT_OVERHEAD_BYTES + 2 * staged.key.len() + record
            })
            .sum();
        let held: usize = effects.held.iter().map(|key| EFFECT_OVERHEAD_BYTES + key.len()).sum();
        let replaced: usize = effects.replaced.iter().map(extent_count).sum();
        written + held + replaced * EFFECT_OVERHEAD_BYTES
    }

    /// An upper bound of the bytes that these effects take in a batch, as a prepare or plainly.
    pub(crate) fn batch_bytes(effects: &Effects, prepare: Option<&PrepareInfo>) -> usize {
        let prepare_bytes = prepare.map_or(0, |info| {
            let extents: usize =
                effects.staged.iter().flat_map(|staged| &staged.record).map(new_extents_max).sum();
            EFFECT_OVERHEAD_BYTES + 2 * info.participants.len() + EXTENT_BYTES * extents
        });
        Owner::effects_bytes(effects) + prepare_bytes
    }

    /// What `batch_bytes` may be at most. A prepare is one value of the overlay, and its resolution must fit too, whose bound
    /// counts some things otherwise.
    pub(crate) fn batch_bytes_max(&self, prepares: bool) -> usize {
        let config = self.log.config();
        let large = config.large_payload_bytes_max();
        if !prepares {
            return large;
        }
        let ordinary = config.batch_bytes_max as usize - HEADER_BYTES;
        (large / 8 * PREPARE_EIGHTHS).max(ordinary).min(VALUE_BYTES_MAX)
    }

    /// An upper bound of what resolving a transaction writes.
    pub(crate) fn resolve_bytes(&self, id: u128) -> usize {
        let Some(prepared) = self.prepared.get(&id) else { return EFFECT_OVERHEAD_BYTES };
        let effects: usize = prepared
            .effects()
            .map(|(effect, bodies)| {
                let references: usize = bodies.iter().map(reference_bytes).sum();
                EFFECT_OVERHEAD_BYTES + effect.key.len() + effect.change.value().len() + references
            })
            .sum();
        let adopted = prepared.content.adopted.len() * EFFECT_OVERHEAD_BYTES;
        2 * EFFECT_OVERHEAD_BYTES + 2 * prepared.content.participants.len() + effects + adopted
    }

    /// Writes effects; gives the batch's LSN, or nothing when there were none.
    pub(crate) fn apply(&mut self, effects: Effects) -> Option<Lsn> {
        if effects.staged.is_empty() {
            return None;
        }
        let mut named = HashSet::new();
        for staged in effects.staged {
            if staged.change.is_some() {
                let sums = staged.record.map_or(Ok([0, 0]), |record| counter::decode(&record.value));
                self.write_counter(&staged.key, sums.expect("`Tx::add` encoded it"));
                continue;
            }
            match staged.record {
                Some(record) => {
                    let bodies = self.place_bodies(record.bodies, &mut named);
                    self.write_put(&staged.key, &record.value, &bodies, staged.fresh);
                }
                None => self.write_delete(&staged.key),
            }
        }
        for extent in released(&effects.replaced, &named) {
            self.write_dead(extent);
        }
        if !effects.died.is_none() {
            self.died.add(effects.died);
            self.shared.kept.died(self.id, effects.died);
        }
        Some(self.filling().lsn())
    }

    /// Writes a participant's part of a transaction: the PREPARED record, and intents that nobody sees yet.
    pub(crate) fn apply_prepare(&mut self, effects: Effects, info: &PrepareInfo) -> Lsn {
        let mut named = HashSet::new();
        let mut bodies = Vec::new();
        let mut adopted = Vec::new();
        let mut listed = Vec::new();
        for staged in effects.staged {
            let change = match (staged.change, staged.record) {
                (Some(change), _) => Change::Add(change),
                (None, Some(StagedRecord { value, bodies: record_bodies })) => {
                    let new =
                        record_bodies.iter().map(|body| matches!(body, Body::New(_))).collect::<Vec<_>>();
                    let placed = self.place_bodies(record_bodies, &mut named);
                    let body_count = placed.len() as u16;
                    adopted.extend(
                        placed.iter().zip(new).filter(|(_, new)| *new).flat_map(|(body, _)| extents(body)),
                    );
                    bodies.extend(placed);
                    Change::Put { value, body_count }
                }
                (None, None) => Change::Delete,
            };
            listed.push(PreparedEffect { key: staged.key, fresh: staged.fresh, change });
        }
        for key in effects.held {
            listed.push(PreparedEffect { key, fresh: false, change: Change::Hold });
        }
        for extent in released(&effects.replaced, &named) {
            let change = Change::Put { value: extent.data_bytes.to_le_bytes().to_vec(), body_count: 0 };
            let key = record_key(DEAD, &dead_key(extent.id));
            listed.push(PreparedEffect { key, fresh: true, change });
        }
        let content = PreparedContent {
            resolved: false,
            participants: info.participants.to_vec(),
            adopted,
            effects: listed,
        };
        let key = record_key(PREPARED, &info.id.to_be_bytes());
        self.write_put(&key, &content.encode(), &bodies, true);
        let lsn = self.filling().lsn();
        let prepared = Prepared { status: Arc::clone(&info.status), content, bodies, lsn };
        insert_intents(&mut self.overlay, &prepared);
        self.prepared.insert(info.id, prepared);
        lsn
    }

    /// Undecided intents may not be folded, so they move to the new overlay when the old one is frozen.
    pub(crate) fn carry_intents(&mut self) {
        for prepared in self.prepared.values() {
            if !prepared.content.resolved && prepared.status.state() != TxState::Aborted {
                insert_intents(&mut self.overlay, prepared);
                let low = prepared.bodies.iter().filter_map(log_segment).min();
                self.log_reference_low = self.log_reference_low.min(low.unwrap_or(u64::MAX));
            }
        }
    }

    /// Makes a decided transaction's effects plain, or takes the prepare away.
    pub(crate) fn resolve(&mut self, id: u128, commit: bool) {
        if self.prepared.get(&id).is_some_and(|prepared| prepared.content.resolved) {
            self.prepared.remove(&id);
            return;
        }
        let Some(mut prepared) = self.prepared.remove(&id) else {
            // Refused here, or resolved before: nothing to undo.
            return;
        };
        let key = record_key(PREPARED, &id.to_be_bytes());
        if !commit {
            for extent in std::mem::take(&mut prepared.content.adopted) {
                self.write_dead(extent);
            }
            self.write_delete(&key);
            return;
        }
        for (effect, bodies) in prepared.effects() {
            match &effect.change {
                Change::Put { value, .. } => self.write_put(&effect.key, value, bodies, effect.fresh),
                Change::Delete => self.write_delete(&effect.key),
                Change::Add(change) => self.resolve_add(&effect.key, *change),
                // Free since the decision: nothing was to be written.
                Change::Hold => {}
            }
        }
        // The bodies belong to the plain records now; the marker only answers other participants' recovery.
        let marker = PreparedContent {
            resolved: true,
            participants: std::mem::take(&mut prepared.content.participants),
            adopted: Vec::new(),
            effects: Vec::new(),
        };
        self.write_put(&key, &marker.encode(), &[], false);
    }

    /// Drops the marker of a transaction that every participant has resolved.
    pub(crate) fn forget(&mut self, id: u128) {
        self.write_delete(&record_key(PREPARED, &id.to_be_bytes()));
    }

    /// Extents whose space was given back need no entry any more.
    pub(crate) fn undead(&mut self, extents: &[ExtentId]) {
        for id in extents {
            if self.try_filling().is_none_or(|batch| batch.remaining_bytes() < 4 * EFFECT_OVERHEAD_BYTES) {
                // The entry stays and is punched again, which changes nothing.
                return;
            }
            self.write_delete(&record_key(DEAD, &dead_key(*id)));
        }
    }

    fn write_dead(&mut self, extent: Extent) {
        if planted::is(Plant::ExtentsFreedEarly) {
            planted::punch(&self.shared.files, extent);
        }
        let key = record_key(DEAD, &dead_key(extent.id));
        self.write_put(&key, &extent.data_bytes.to_le_bytes(), &[], true);
    }

    fn write_put(&mut self, key: &[u8], value: &[u8], bodies: &[BodyRef], fresh: bool) {
        self.overwrite_counter(key);
        for segment in bodies.iter().filter_map(log_segment) {
            self.log_reference_low = self.log_reference_low.min(segment);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let record = append_put(self.filling(), &mut scratch, key, value, bodies, fresh);
        self.scratch = scratch;
        let lsn = self.filling().lsn();
        self.emitted |= key[0] == OUTBOX.0;
        self.overlay.insert(key, lsn, Entry::Put { value: &record, fresh });
    }

    fn write_delete(&mut self, key: &[u8]) {
        self.overwrite_counter(key);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        encode_delete(key, &mut scratch);
        self.filling().append(&scratch);
        self.scratch = scratch;
        let lsn = self.filling().lsn();
        self.overlay.insert(key, lsn, Entry::Delete);
    }

    /// Gives every body its place: new small ones go into the batch, new large ones are adopted where they lie.
    fn place_bodies(&mut self, bodies: Vec<Body>, named: &mut HashSet<ExtentId>) -> Vec<BodyRef> {
        let mut placed = Vec::with_capacity(bodies.len());
        for body in bodies {
            let place = match body {
                Body::Kept(kept) => kept,
                Body::New(new) => {
                    let sealed = new.take().expect("a service puts a new body once");
                    self.place_new(sealed)
                }
            };
            named.extend(extents(&place).map(|extent| extent.id));
            placed.push(place);
        }
        placed
    }

    fn place_new(&mut self, sealed: SealedBody) -> BodyRef {
        match sealed.adopt() {
            Adopted::Extents(place) => place,
            Adopted::Bytes(bytes) if bytes.len() <= INLINE_BYTES_MAX => BodyRef::Inline(bytes),
            Adopted::Bytes(bytes) => {
                let length = bytes.len() as u32;
                let crc = hash::crc32c(&bytes);
                let batch = self.filling();
                let head = batch.append(&blob_head(length));
                batch.append(&bytes);
                let offset = head.offset + BLOB_HEAD_BYTES as u32;
                BodyRef::Log { position: LogPosition { segment: head.segment, offset }, length, crc }
            }
        }
    }
}

impl Prepared {
    /// The effects, each with its bodies.
    pub(crate) fn effects(&self) -> impl Iterator<Item = (&PreparedEffect, &[BodyRef])> {
        let mut next = 0;
        self.content.effects.iter().map(move |effect| {
            let start = next;
            next += effect.change.body_count();
            // A PREPARED record whose counts do not fit its bodies was refused when it was decoded.
            (effect, self.bodies.get(start..next).unwrap_or(&[]))
        })
    }
}

/// Shows the effects of a prepared transaction to those who see its status committed.
pub(crate) fn insert_intents(overlay: &mut crate::overlay::OverlayWriter, prepared: &Prepared) {
    let status: &Arc<TxStatus> = &prepared.status;
    for (effect, bodies) in prepared.effects() {
        match &effect.change {
            Change::Put { value, .. } => {
                let mut record = Vec::new();
                Record::encode(value, bodies, &mut record);
                overlay.insert(&effect.key, prepared.lsn, Entry::IntentPut { value: &record, status });
            }
            Change::Delete => overlay.insert(&effect.key, prepared.lsn, Entry::IntentDelete { status }),
            // Once it is decided the key is anybody's, and what came after may be in this overlay already.
            Change::Hold if status.state() != TxState::Pending => {}
            Change::Hold => overlay.insert(&effect.key, prepared.lsn, Entry::Hold { status }),
            // Comes with the resolution, whatever others add meanwhile.
            Change::Add(_) => {}
        }
    }
}

/// Extents of replaced records that no new record names.
fn released(replaced: &[BodyRef], named: &HashSet<ExtentId>) -> Vec<Extent> {
    let mut seen = HashSet::new();
    replaced
        .iter()
        .flat_map(extents)
        .filter(|extent| !named.contains(&extent.id) && seen.insert(extent.id))
        .collect()
}

fn extents(body: &BodyRef) -> impl Iterator<Item = Extent> + '_ {
    let list: &[Extent] = match body {
        BodyRef::Extents(extents) => extents,
        BodyRef::Inline(_) | BodyRef::Log { .. } | BodyRef::Packed { .. } => &[],
    };
    list.iter().copied()
}

fn extent_count(body: &BodyRef) -> usize {
    extents(body).count()
}

fn log_segment(body: &BodyRef) -> Option<u64> {
    match body {
        BodyRef::Log { position, .. } => Some(position.segment),
        BodyRef::Inline(_) | BodyRef::Packed { .. } | BodyRef::Extents(_) => None,
    }
}

/// Bytes of an extent in an encoding.
const EXTENT_BYTES: usize = 18;

/// Extents of the new bodies of a record, at most.
fn new_extents_max(record: &StagedRecord) -> usize {
    let count = |body: &Body| match body {
        // An extent of a large body holds at least a megabyte but for the last few.
        Body::New(new) => 8 + (new.length() / (1 << 20)) as usize,
        Body::Kept(_) => 0,
    };
    record.bodies.iter().map(count).sum()
}

fn reference_bytes(body: &BodyRef) -> usize {
    match body {
        BodyRef::Inline(bytes) => 8 + bytes.len(),
        BodyRef::Log { .. } | BodyRef::Packed { .. } => 24,
        BodyRef::Extents(extents) => 8 + EXTENT_BYTES * extents.len(),
    }
}

/// Bytes that a body takes in the batch, its reference included.
fn body_bytes(body: &Body) -> usize {
    const REFERENCE_BYTES: usize = 32;
    match body {
        Body::New(new) if new.length() <= crate::types::LOG_BODY_BYTES_MAX as u64 => {
            REFERENCE_BYTES + new.length() as usize
        }
        // At most 18 bytes an extent, and an extent of a large body holds at least a megabyte but for the last few.
        Body::New(new) => REFERENCE_BYTES + 32 * (8 + (new.length() / (1 << 20)) as usize),
        Body::Kept(BodyRef::Inline(bytes)) => REFERENCE_BYTES + bytes.len(),
        Body::Kept(kept) => REFERENCE_BYTES * (1 + extent_count(kept)),
    }
}
