//! Which records the versions of one key occupy, and how a PUT or a DELETE changes them.
//! Invariant: CURRENT holds the newest version if it is an object; VERSIONS holds all others and every marker. A key has
//! at most one null version, and the newest record says where it is. What no record names any more frees its bodies.
//! Leaves to ops: conditions, and what replies say.
//!
//! ```text
//!            newest is an object          newest is a marker
//! CURRENT    a -> 9                       (no record)
//! VERSIONS   a 00 ~7, a 00 ~4             a 00 ~9, a 00 ~7, a 00 ~4
//! ```

use std::ops::{Bound, ControlFlow};

use store::{Body, BodyRef, Direction, Fault, Tx, View};

use super::record::VersionRecord;
use super::{
    CURRENT, MANIFESTS, VERSIONS, family_prefix, key_and_number, manifest_key, object_key, version_key,
};
use crate::model::{Generation, MANIFEST_PAGE_PARTS, ObjectKey, VersionId, VersionNumber, Versioning};

/// A key of a bucket, and whether the bucket keeps versions.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The bucket.
    pub generation: Generation,
    /// The key in it.
    pub key: &'a ObjectKey,
    /// Whether it keeps versions at this moment.
    pub versioning: Versioning,
}

/// A version and the bodies of its record.
#[derive(Clone, Debug)]
pub struct Found {
    /// The version.
    pub record: VersionRecord,
    /// Its bodies; none where it has a manifest.
    pub bodies: Vec<BodyRef>,
    /// Whether it is the key's newest version.
    pub is_newest: bool,
}

impl Found {
    fn in_current(&self) -> bool {
        self.is_newest && !self.record.is_marker
    }

    fn kept(&self) -> Vec<Body> {
        self.bodies.iter().cloned().map(Body::Kept).collect()
    }
}

impl Place<'_> {
    fn current_key(&self) -> Vec<u8> {
        object_key(self.generation, self.key.as_bytes())
    }

    fn version_key(&self, number: VersionNumber) -> Vec<u8> {
        version_key(self.generation, self.key.as_bytes(), number)
    }

    fn family(&self) -> Vec<u8> {
        family_prefix(self.generation, self.key.as_bytes())
    }
}

/// The newest version as a reader sees it.
pub fn view_newest(view: &View<'_>, place: &Place<'_>) -> Result<Option<Found>, Fault> {
    if let Some(record) = view.get(CURRENT, &place.current_key())? {
        return Ok(Some(found(record.value, record.bodies, true)?));
    }
    if place.versioning == Versioning::Never {
        return Ok(None);
    }
    view_next(view, place, Bound::Included(&place.family()), true)
}

/// The version with an id as a reader sees it.
pub fn view_version(view: &View<'_>, place: &Place<'_>, id: VersionId) -> Result<Option<Found>, Fault> {
    let Some(newest) = view_newest(view, place)? else { return Ok(None) };
    let Some(number) = place_of(&newest.record, id) else { return Ok(None) };
    if number == newest.record.number {
        return Ok(Some(newest).filter(|newest| newest.record.id() == id));
    }
    match view.get(VERSIONS, &place.version_key(number))? {
        Some(record) => {
            Ok(Some(found(record.value, record.bodies, false)?).filter(|found| found.record.id() == id))
        }
        None => Ok(None),
    }
}

fn view_next(
    view: &View<'_>,
    place: &Place<'_>,
    start: Bound<&[u8]>,
    is_newest: bool,
) -> Result<Option<Found>, Fault> {
    let mut scan = view.scan(VERSIONS, start, Direction::Forward);
    let Some((key, record)) = scan.next()? else { return Ok(None) };
    if !is_of(place, key) {
        return Ok(None);
    }
    found(record.value, record.bodies, is_newest).map(Some)
}

/// The newest version as the owner sees it, pending effects included.
pub fn newest(tx: &mut Tx<'_>, place: &Place<'_>) -> Result<Option<Found>, Fault> {
    if let Some(record) = tx.get(CURRENT, &place.current_key())? {
        return Ok(Some(found(&record.value, record.bodies, true)?));
    }
    if place.versioning == Versioning::Never {
        return Ok(None);
    }
    next_in_versions(tx, place, Bound::Included(&place.family()), true)
}

/// The version with an id as the owner sees it.
pub fn version(tx: &mut Tx<'_>, place: &Place<'_>, id: VersionId) -> Result<Option<Found>, Fault> {
    let Some(newest) = newest(tx, place)? else { return Ok(None) };
    version_beside(tx, place, &newest, id)
}

fn version_beside(
    tx: &mut Tx<'_>,
    place: &Place<'_>,
    newest: &Found,
    id: VersionId,
) -> Result<Option<Found>, Fault> {
    let Some(number) = place_of(&newest.record, id) else { return Ok(None) };
    if number == newest.record.number {
        return Ok(Some(newest.clone()).filter(|newest| newest.record.id() == id));
    }
    match tx.get(VERSIONS, &place.version_key(number))? {
        Some(record) => {
            Ok(Some(found(&record.value, record.bodies, false)?).filter(|found| found.record.id() == id))
        }
        None => Ok(None),
    }
}

/// Puts an object as the newest version. `record` needs no number and no null flags; they are set here.
/// Returns the record as it was stored.
pub fn put(
    tx: &mut Tx<'_>,
    place: &Place<'_>,
    newest: Option<&Found>,
    record: VersionRecord,
    bodies: Vec<Body>,
) -> Result<VersionRecord, Fault> {
    let record = make_room(tx, place, newest, record)?;
    let fresh = !newest.is_some_and(Found::in_current);
    tx.put(CURRENT, &place.current_key(), &record.encode(), bodies, fresh);
    Ok(record)
}

/// Deletes without a version id: adds a marker, or removes the object where the bucket never kept versions.
/// Returns the marker.
pub fn delete(
    tx: &mut Tx<'_>,
    place: &Place<'_>,
    newest: Option<&Found>,
    marker: VersionRecord,
) -> Result<Option<VersionRecord>, Fault> {
    let in_current = newest.is_some_and(Found::in_current);
    if place.versioning == Versioning::Never {
        if let Some(newest) = newest {
            free_manifest(tx, place, &newest.record);
            tx.delete(CURRENT, &place.current_key());
        }
        return Ok(None);
    }
    let marker = make_room(tx, place, newest, marker)?;
    if in_current {
        tx.delete(CURRENT, &place.current_key());
    }
    tx.put(VERSIONS, &place.version_key(marker.number), &marker.encode(), Vec::new(), true);
    Ok(Some(marker))
}

/// Removes one version; the next one becomes the newest if that was it. Returns what was removed.
pub fn remove(tx: &mut Tx<'_>, place: &Place<'_>, id: VersionId) -> Result<Option<VersionRecord>, Fault> {
    let Some(newest) = newest(tx, place)? else { return Ok(None) };
    let Some(target) = version_beside(tx, place, &newest, id)? else { return Ok(None) };
    free_manifest(tx, place, &target.record);
    if target.is_newest {
        promote(tx, place, &target)?;
    } else {
        tx.delete(VERSIONS, &place.version_key(target.record.number));
        if target.record.is_null {
            // The newest record must not point to a version that is gone.
            let mut kept = newest;
            kept.record.null_at = None;
            write(tx, place, &kept);
        }
    }
    Ok(Some(target.record))
}

/// Writes a version back where it lies, with other attributes.
pub fn write(tx: &mut Tx<'_>, place: &Place<'_>, version: &Found) {
    let (table, key) = if version.in_current() {
        (CURRENT, place.current_key())
    } else {
        (VERSIONS, place.version_key(version.record.number))
    };
    tx.put(table, &key, &version.record.encode(), version.kept(), false);
}

/// Names the keys that any of the above touches first.
pub fn declare(generation: Generation, key: &ObjectKey, declare: &mut dyn FnMut(store::TableId, &[u8])) {
    declare(CURRENT, &object_key(generation, key.as_bytes()));
    declare(VERSIONS, &family_prefix(generation, key.as_bytes()));
}

/// Moves the newest version aside for another one, removes the null version where the new one replaces it, and gives
/// the new one its number.
fn make_room(
    tx: &mut Tx<'_>,
    place: &Place<'_>,
    newest: Option<&Found>,
    mut record: VersionRecord,
) -> Result<VersionRecord, Fault> {
    record.number = next_number(tx, newest);
    record.is_null = place.versioning != Versioning::Enabled;
    record.null_at = None;
    let Some(newest) = newest else { return Ok(record) };
    if record.is_null {
        if newest.record.is_null {
            free_manifest(tx, place, &newest.record);
            if newest.record.is_marker {
                tx.delete(VERSIONS, &place.version_key(newest.record.number));
            }
            // An object in CURRENT is overwritten or deleted by the caller.
            return Ok(record);
        }
        if let Some(old) = newest.record.null_at
            && let Some(old) = tx.get(VERSIONS, &place.version_key(old))?
        {
            let old = VersionRecord::decode(&old.value)?;
            free_manifest(tx, place, &old);
            tx.delete(VERSIONS, &place.version_key(old.number));
        }
    } else {
        record.null_at =
            if newest.record.is_null { Some(newest.record.number) } else { newest.record.null_at };
    }
    if newest.in_current() {
        let mut retired = newest.record.clone();
        retired.null_at = None;
        let key = place.version_key(retired.number);
        tx.put(VERSIONS, &key, &retired.encode(), newest.kept(), true);
    }
    Ok(record)
}

/// Removes the newest version and lets the next one take its place.
fn promote(tx: &mut Tx<'_>, place: &Place<'_>, removed: &Found) -> Result<(), Fault> {
    let removed_key = place.version_key(removed.record.number);
    let next = if place.versioning == Versioning::Never {
        None
    } else {
        next_in_versions(tx, place, Bound::Excluded(&removed_key), true)?
    };
    if removed.record.is_marker {
        tx.delete(VERSIONS, &removed_key);
    }
    let Some(mut next) = next else {
        if removed.in_current() {
            tx.delete(CURRENT, &place.current_key());
        }
        return Ok(());
    };
    next.record.null_at = removed.record.null_at.filter(|number| *number != next.record.number);
    if next.record.is_marker {
        if removed.in_current() {
            tx.delete(CURRENT, &place.current_key());
        }
        tx.put(VERSIONS, &place.version_key(next.record.number), &next.record.encode(), Vec::new(), false);
    } else {
        tx.delete(VERSIONS, &place.version_key(next.record.number));
        let fresh = !removed.in_current();
        tx.put(CURRENT, &place.current_key(), &next.record.encode(), next.kept(), fresh);
    }
    Ok(())
}

fn next_in_versions(
    tx: &mut Tx<'_>,
    place: &Place<'_>,
    start: Bound<&[u8]>,
    is_newest: bool,
) -> Result<Option<Found>, Fault> {
    let mut next: Option<Result<Found, Fault>> = None;
    // The overlay bounds how many deleted keys a seek can meet, so it needs no budget of its own.
    tx.scan(VERSIONS, start, Direction::Forward, u64::MAX, &mut |key, record| {
        if is_of(place, key) {
            next = Some(found(record.value, record.bodies, is_newest));
        }
        ControlFlow::Break(())
    })?;
    next.transpose()
}

/// The number of a new version: of this instant, unguessable, and larger than any that the key has, even where the
/// clock went back or the key came from another shard.
fn next_number(tx: &mut Tx<'_>, newest: Option<&Found>) -> VersionNumber {
    let fresh = (u128::from(tx.now().0) << 64) | u128::from(tx.random());
    match newest {
        Some(newest) => VersionNumber(fresh.max(newest.record.number.0 + 1)),
        None => VersionNumber(fresh),
    }
}

/// Where the version with an id would lie, as the newest record knows it.
fn place_of(newest: &VersionRecord, id: VersionId) -> Option<VersionNumber> {
    match id {
        VersionId::Number(number) => Some(number),
        VersionId::Null if newest.is_null => Some(newest.number),
        VersionId::Null => newest.null_at,
    }
}

fn is_of(place: &Place<'_>, stored: &[u8]) -> bool {
    key_and_number(place.generation, stored).is_some_and(|(key, _)| key == place.key.as_bytes())
}

fn found(value: &[u8], bodies: Vec<BodyRef>, is_newest: bool) -> Result<Found, Fault> {
    Ok(Found { record: VersionRecord::decode(value)?, bodies, is_newest })
}

/// Removes the pages of a version that is about to go; the store then frees the parts' bodies.
fn free_manifest(tx: &mut Tx<'_>, place: &Place<'_>, record: &VersionRecord) {
    let Some(manifest) = record.manifest else { return };
    for page in 0..page_count(record.etag.part_count) {
        tx.delete(MANIFESTS, &manifest_key(place.generation, manifest, page));
    }
}

/// Pages that this many parts take.
#[must_use]
pub fn page_count(part_count: u16) -> u16 {
    part_count.div_ceil(MANIFEST_PAGE_PARTS as u16)
}
