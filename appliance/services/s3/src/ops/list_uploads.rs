//! ListMultipartUploads: uploads that run, by key and then by when they were started.

use std::ops::Bound;

use aws::xml::Writer;
use plan::{Context, Plan};
use store::{Direction, Fault};

use super::rollup::{Filter, as_bound, behind_prefix};
use crate::call::{Bucket, Shared, settle};
use crate::model::checksum::describe;
use crate::model::{EXAMINED_PER_TURN_MAX, PAGE_COUNT_MAX, UploadId};
use crate::store::upload::UploadRecord;
use crate::store::{UPLOADS, key_and_number, object_key, upload_key};
use crate::wire::error::Error;
use crate::wire::token::Position;
use crate::wire::{acl, reply};

/// GET /b?uploads.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Read))?;
    let filter = Filter::parse(&call.query)?;
    let count_max = call.query.page_size("max-uploads", PAGE_COUNT_MAX)?;
    let key_marker = call.query.get("key-marker").unwrap_or("").to_owned();
    let id_marker = call.query.get("upload-id-marker").unwrap_or("").to_owned();
    let place = if key_marker.is_empty() {
        // Without a key marker the other one is ignored.
        Place::Start
    } else if id_marker.is_empty() {
        Place::Behind(filter.behind(&key_marker))
    } else {
        let id = UploadId::parse(&id_marker)
            .ok_or_else(|| Error::argument("upload-id-marker", &id_marker, "Invalid uploadId marker"))?;
        Place::Inside(key_marker.clone(), id)
    };
    let page = Page {
        bucket,
        filter,
        key_marker,
        id_marker,
        count_max,
        count: 0,
        place,
        is_truncated: false,
        entries: Writer::default(),
        groups: Writer::default(),
    };
    fill(call, cx, page)
}

#[derive(Clone, Debug)]
enum Place {
    Start,
    Behind(Position),
    Inside(String, UploadId),
}

struct Page {
    bucket: Bucket,
    filter: Filter,
    key_marker: String,
    id_marker: String,
    count_max: usize,
    count: usize,
    place: Place,
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

impl Page {
    fn bound(&self) -> Bound<Vec<u8>> {
        let generation = self.bucket.generation();
        match &self.place {
            Place::Start => self.filter.start(generation, None, &[1]),
            Place::Behind(position) => self.filter.start(generation, Some(position), &[1]),
            Place::Inside(key, id) => {
                let first = object_key(generation, self.filter.prefix.as_bytes());
                let inside = upload_key(generation, key.as_bytes(), *id);
                if inside >= first { Bound::Excluded(inside) } else { Bound::Included(first) }
            }
        }
    }

    fn read(&mut self, cx: &Context<'_>) -> Result<bool, Error> {
        let generation = self.bucket.generation();
        let views = cx.store.view_all()?;
        let start = self.bound();
        let mut scan = views.scan(UPLOADS, as_bound(&start), Direction::Forward);
        while let Some((_, stored, record)) = scan.next()? {
            let Some((key, id)) = key_and_number(generation, stored) else { return Ok(true) };
            let key = std::str::from_utf8(key).map_err(|_| Fault::corrupt("a key is not UTF-8".into()))?;
            if !key.starts_with(&self.filter.prefix) {
                return Ok(true);
            }
            if self.count == self.count_max {
                self.is_truncated = true;
                return Ok(true);
            }
            self.count += 1;
            match self.filter.group(key) {
                Some(group) => {
                    self.filter.write_group(&mut self.groups, group);
                    self.place = Place::Behind(Position::Prefix(group.to_owned()));
                    let behind = behind_prefix(generation, group);
                    scan.seek(Bound::Included(&behind));
                }
                None => {
                    self.write_entry(cx, key, UploadId(id), &UploadRecord::decode(record.value)?);
                    self.place = Place::Inside(key.to_owned(), UploadId(id));
                }
            }
            if scan.examined() > EXAMINED_PER_TURN_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_entry(&mut self, cx: &Context<'_>, key: &str, id: UploadId, upload: &UploadRecord) {
        let writer = &mut self.entries;
        writer.open("Upload");
        self.filter.names.write(writer, "Key", key);
        writer.text("UploadId", &id.to_string());
        let owner = upload.attributes.owner.unwrap_or(self.bucket.record.owner_canonical);
        acl::write_account(writer, "Initiator", upload.initiator.unwrap_or(owner), cx.accounts);
        acl::write_account(writer, "Owner", owner, cx.accounts);
        writer.text("StorageClass", &upload.attributes.storage_class);
        writer.text("Initiated", &reply::iso(upload.initiated_ms));
        if upload.is_algorithm_named {
            writer.text("ChecksumAlgorithm", describe(upload.algorithm).name);
            writer.text("ChecksumType", upload.kind.name());
        }
        writer.close("Upload");
    }

    fn write(self) -> Vec<u8> {
        let mut writer =
            Writer::s3("ListMultipartUploadsResult", 1024 + self.entries.len() + self.groups.len());
        writer.text("Bucket", &self.bucket.name);
        self.filter.names.write(&mut writer, "KeyMarker", &self.key_marker);
        writer.text("UploadIdMarker", &self.id_marker);
        self.filter.write(&mut writer);
        writer.number("MaxUploads", self.count_max as u64);
        writer.boolean("IsTruncated", self.is_truncated);
        if self.is_truncated {
            match &self.place {
                Place::Inside(key, id) => {
                    self.filter.names.write(&mut writer, "NextKeyMarker", key);
                    writer.text("NextUploadIdMarker", &id.to_string());
                }
                Place::Behind(Position::Key(key) | Position::Prefix(key)) => {
                    self.filter.names.write(&mut writer, "NextKeyMarker", key);
                }
                Place::Start => {}
            }
        }
        writer.raw(&self.entries.into_bytes());
        writer.raw(&self.groups.into_bytes());
        writer.close("ListMultipartUploadsResult");
        writer.into_bytes()
    }
}
