//! ListObjectVersions: every version and delete marker, keys ascending, newest first within a key.
//! Invariant: exactly one entry of a key is the latest; paging by both markers goes on inside a key.

use std::ops::Bound;

use aws::acl::Permission;
use aws::xml::Writer;
use plan::{Context, Plan};
use store::{Direction, Fault, MergedScan, Record};

use super::rollup::{Filter, as_bound, behind_prefix};
use crate::call::{Bucket, Shared, settle};
use crate::model::checksum::describe;
use crate::model::{EXAMINED_PER_TURN_MAX, Generation, ObjectKey, PAGE_COUNT_MAX, VersionId, VersionNumber};
use crate::store::record::Summary;
use crate::store::{CURRENT, VERSIONS, key_and_number, key_of_current, object_key, version_key, versions};
use crate::wire::error::Error;
use crate::wire::token::Position;
use crate::wire::{acl, headers, reply};

/// GET /b?versions.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(Permission::Read))?;
    let filter = Filter::parse(&call.query)?;
    let count_max = call.query.page_size("max-keys", PAGE_COUNT_MAX)?;
    let key_marker = call.query.get("key-marker").unwrap_or("").to_owned();
    let version_marker = call.query.filled("version-id-marker").map(str::to_owned);
    if version_marker.is_some() && key_marker.is_empty() {
        return Err(Error::argument(
            "version-id-marker",
            version_marker.as_deref().unwrap_or(""),
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let place = match (&version_marker, key_marker.is_empty()) {
        (_, true) => Place::Start,
        (None, false) => Place::Behind(filter.behind(&key_marker)),
        (Some(id), false) => inside(&call, cx, &bucket, &key_marker, id)?,
    };
    let page = Page {
        bucket,
        filter,
        key_marker,
        version_marker,
        count_max,
        count: 0,
        place,
        next_id: None,
        is_truncated: false,
        entries: Writer::with_capacity(count_max.min(64) * 320),
        groups: Writer::default(),
    };
    fill(call, cx, page)
}

/// Where a page goes on.
#[derive(Clone, Debug)]
enum Place {
    Start,
    Behind(Position),
    /// Behind this version of this key.
    Inside(String, VersionNumber),
}

/// Resolves a version marker. `null` stands where the null version lies; if it is gone, the key begins anew.
fn inside(call: &Shared, cx: &Context<'_>, bucket: &Bucket, key: &str, id: &str) -> Result<Place, Error> {
    match headers::parse_version(id)? {
        VersionId::Number(number) => Ok(Place::Inside(key.to_owned(), number)),
        VersionId::Null => {
            let Ok(object) = ObjectKey::parse(key.to_owned()) else {
                return Ok(Place::Behind(Position::Key(key.to_owned())));
            };
            let view = call.view(cx, bucket, &object)?;
            let found = versions::view_version(&view, &bucket.place(&object), VersionId::Null)?;
            let number = found.map_or(VersionNumber(u128::MAX), |found| found.record.number);
            Ok(Place::Inside(key.to_owned(), number))
        }
    }
}

struct Page {
    bucket: Bucket,
    filter: Filter,
    key_marker: String,
    version_marker: Option<String>,
    count_max: usize,
    count: usize,
    place: Place,
    /// The id of the last version on the page.
    next_id: Option<String>,
    is_truncated: bool,
    entries: Writer,
    groups: Writer,
}

fn fill(call: Shared, cx: &mut Context<'_>, mut page: Page) -> Result<Plan, Error> {
    let is_complete = page.count_max == 0 || page.read(cx)?;
    if is_complete {
        return Ok(Plan::Reply(reply::xml(page.write())));
    }
    Ok(Plan::Pause(Box::new(move |cx, ()| {
        let outcome = fill(call.clone(), cx, page);
        settle(&call, outcome)
    })))
}

/// The next version of either table.
struct Next<'v> {
    key: String,
    record: Record<'v>,
    from_current: bool,
}

/// Both tables as one walk: of one key, CURRENT comes first.
struct Walk<'v> {
    generation: Generation,
    current: MergedScan<'v>,
    versions: MergedScan<'v>,
    current_head: Option<(String, Record<'v>)>,
    versions_head: Option<(String, Record<'v>)>,
}

impl<'v> Walk<'v> {
    fn advance_current(&mut self) -> Result<(), Fault> {
        self.current_head = match self.current.next()? {
            Some((_, stored, record)) => match key_of_current(self.generation, stored) {
                Some(key) => Some((text(key)?, record)),
                None => None,
            },
            None => None,
        };
        Ok(())
    }

    fn advance_versions(&mut self) -> Result<(), Fault> {
        self.versions_head = match self.versions.next()? {
            Some((_, stored, record)) => match key_and_number(self.generation, stored) {
                Some((key, _)) => Some((text(key)?, record)),
                None => None,
            },
            None => None,
        };
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Next<'v>>, Fault> {
        let from_current = match (&self.current_head, &self.versions_head) {
            (None, None) => return Ok(None),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((current, _)), Some((older, _))) => current <= older,
        };
        let taken = if from_current { self.current_head.take() } else { self.versions_head.take() };
        if from_current {
            self.advance_current()?;
        } else {
            self.advance_versions()?;
        }
        Ok(taken.map(|(key, record)| Next { key, record, from_current }))
    }

    /// Goes on behind everything with a prefix.
    fn skip(&mut self, prefix: &str) -> Result<(), Fault> {
        let behind = behind_prefix(self.generation, prefix);
        if self.current_head.as_ref().is_some_and(|(key, _)| key.starts_with(prefix)) {
            self.current.seek(Bound::Included(&behind));
            self.advance_current()?;
        }
        if self.versions_head.as_ref().is_some_and(|(key, _)| key.starts_with(prefix)) {
            self.versions.seek(Bound::Included(&behind));
            self.advance_versions()?;
        }
        Ok(())
    }

    fn examined(&self) -> u64 {
        self.current.examined() + self.versions.examined()
    }
}

fn text(key: &[u8]) -> Result<String, Fault> {
    String::from_utf8(key.to_vec()).map_err(|_| Fault::corrupt("a key is not UTF-8".into()))
}

impl Page {
    fn bounds(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let generation = self.bucket.generation();
        let filter = &self.filter;
        let position = match &self.place {
            Place::Start => None,
            Place::Behind(position) => Some(position.clone()),
            Place::Inside(key, number) => {
                let first = object_key(generation, filter.prefix.as_bytes());
                let current = filter.start(generation, Some(&Position::Key(key.clone())), b"");
                let inside = version_key(generation, key.as_bytes(), *number);
                let older = if inside >= first { Bound::Excluded(inside) } else { Bound::Included(first) };
                return (current, older);
            }
        };
        let current = filter.start(generation, position.as_ref(), b"");
        let older = filter.start(generation, position.as_ref(), &[1]);
        (current, older)
    }

    fn read(&mut self, cx: &Context<'_>) -> Result<bool, Error> {
        let views = cx.store.view_all()?;
        let (current, older) = self.bounds();
        let mut walk = Walk {
            generation: self.bucket.generation(),
            current: views.scan(CURRENT, as_bound(&current), Direction::Forward),
            versions: views.scan(VERSIONS, as_bound(&older), Direction::Forward),
            current_head: None,
            versions_head: None,
        };
        walk.advance_current()?;
        walk.advance_versions()?;
        let mut seen = match &self.place {
            Place::Inside(key, _) => Some(key.clone()),
            _ => None,
        };
        while let Some(next) = walk.next()? {
            if !next.key.starts_with(&self.filter.prefix) {
                return Ok(true);
            }
            if self.count == self.count_max {
                self.is_truncated = true;
                return Ok(true);
            }
            self.count += 1;
            if let Some(group) = self.filter.group(&next.key) {
                self.filter.write_group(&mut self.groups, group);
                self.place = Place::Behind(Position::Prefix(group.to_owned()));
                self.next_id = None;
                walk.skip(group)?;
            } else {
                let summary = Summary::decode(next.record.value)?;
                let is_latest = next.from_current || seen.as_deref() != Some(next.key.as_str());
                self.write_entry(cx, &next.key, &summary, is_latest);
                self.place = Place::Inside(next.key.clone(), summary.number);
                self.next_id = Some(VersionId::Number(summary.number).to_string());
                seen = Some(next.key);
            }
            if walk.examined() > EXAMINED_PER_TURN_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_entry(&mut self, cx: &Context<'_>, key: &str, summary: &Summary<'_>, is_latest: bool) {
        let writer = &mut self.entries;
        let element = if summary.is_marker { "DeleteMarker" } else { "Version" };
        writer.open(element);
        self.filter.names.write(writer, "Key", key);
        writer.text("VersionId", &summary.id().to_string());
        writer.boolean("IsLatest", is_latest);
        writer.text("LastModified", &reply::iso(summary.modified_ms));
        if !summary.is_marker {
            reply::write_etag(writer, &summary.etag);
            if let Some(checksum) = &summary.checksum {
                writer.text("ChecksumAlgorithm", describe(checksum.algorithm).name);
                writer.text("ChecksumType", checksum.kind.name());
            }
            writer.number("Size", summary.size);
            writer.text("StorageClass", summary.storage_class);
        }
        let owner = summary.owner.unwrap_or(self.bucket.record.owner_canonical);
        acl::write_account(writer, "Owner", owner, cx.accounts);
        writer.close(element);
    }

    fn write(self) -> Vec<u8> {
        let mut writer = Writer::s3("ListVersionsResult", 1024 + self.entries.len() + self.groups.len());
        writer.text("Name", &self.bucket.name);
        self.filter.write(&mut writer);
        self.filter.names.write(&mut writer, "KeyMarker", &self.key_marker);
        writer.text("VersionIdMarker", self.version_marker.as_deref().unwrap_or(""));
        writer.number("MaxKeys", self.count_max as u64);
        writer.boolean("IsTruncated", self.is_truncated);
        if self.is_truncated {
            let next = match &self.place {
                Place::Inside(key, _) | Place::Behind(Position::Key(key) | Position::Prefix(key)) => {
                    key.as_str()
                }
                Place::Start => "",
            };
            self.filter.names.write(&mut writer, "NextKeyMarker", next);
            writer.text_if("NextVersionIdMarker", self.next_id.as_deref());
        }
        writer.raw(&self.entries.into_bytes());
        writer.raw(&self.groups.into_bytes());
        writer.close("ListVersionsResult");
        writer.into_bytes()
    }
}
