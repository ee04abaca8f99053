//! ListObjects and ListObjectsV2.
//! Invariant: IsTruncated is exact; max-keys counts keys and common prefixes together; keys below a common prefix are not
//! looked at.

use std::ops::Bound;

use aws::acl::Permission;
use aws::xml::Writer;
use plan::{Context, Plan};
use store::Direction;

use super::rollup::{Filter, as_bound, behind_prefix};
use crate::call::{Bucket, Shared, settle};
use crate::model::checksum::describe;
use crate::model::{EXAMINED_PER_TURN_MAX, PAGE_COUNT_MAX};
use crate::store::record::Summary;
use crate::store::{CURRENT, key_of_current};
use crate::wire::error::Error;
use crate::wire::token::Position;
use crate::wire::{acl, reply};

/// GET /b.
pub fn start_v1(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let marker = call.query.get("marker").unwrap_or("").to_owned();
    let filter = Filter::parse(&call.query)?;
    let position =
        Some(marker.as_str()).filter(|marker| !marker.is_empty()).map(|marker| filter.behind(marker));
    begin(call, cx, filter, position, Form::V1 { marker })
}

/// GET /b?list-type=2.
pub fn start_v2(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let filter = Filter::parse(&call.query)?;
    let start_after = call.query.filled("start-after").map(str::to_owned);
    let token = call.query.get("continuation-token").map(str::to_owned);
    let position = match token.as_deref() {
        // The token wins over start-after: it lies behind it.
        Some(text) if !text.is_empty() => Some(Position::decode(text).ok_or_else(|| {
            Error::argument("continuation-token", text, "The continuation token provided is incorrect")
        })?),
        _ => start_after.as_deref().map(|key| Position::Key(key.to_owned())),
    };
    let shows_owner = call.query.get("fetch-owner").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    begin(call, cx, filter, position, Form::V2 { token, start_after, shows_owner })
}

enum Form {
    V1 { marker: String },
    V2 { token: Option<String>, start_after: Option<String>, shows_owner: bool },
}

/// A page in the making.
struct Page {
    bucket: Bucket,
    filter: Filter,
    form: Form,
    count_max: usize,
    count: usize,
    position: Option<Position>,
    is_truncated: bool,
    contents: Writer,
    groups: Writer,
}

fn begin(
    call: Shared,
    cx: &mut Context<'_>,
    filter: Filter,
    position: Option<Position>,
    form: Form,
) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(Permission::Read))?;
    let count_max = call.query.page_size("max-keys", PAGE_COUNT_MAX)?;
    let page = Page {
        bucket,
        filter,
        form,
        count_max,
        count: 0,
        position,
        is_truncated: false,
        contents: Writer::with_capacity(count_max.min(64) * 320),
        groups: Writer::default(),
    };
    fill(call, cx, page)
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
    /// Reads on until the page is complete or this turn's budget is spent.
    fn read(&mut self, cx: &Context<'_>) -> Result<bool, Error> {
        let generation = self.bucket.generation();
        let start = self.filter.start(generation, self.position.as_ref(), b"");
        let views = cx.store.view_all()?;
        let mut scan = views.scan(CURRENT, as_bound(&start), Direction::Forward);
        while let Some((_, stored, record)) = scan.next()? {
            let Some(key) = key_of_current(generation, stored) else { return Ok(true) };
            let key =
                std::str::from_utf8(key).map_err(|_| store::Fault::corrupt("a key is not UTF-8".into()))?;
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
                    self.position = Some(Position::Prefix(group.to_owned()));
                    let behind = behind_prefix(generation, group);
                    scan.seek(Bound::Included(&behind));
                }
                None => {
                    self.write_entry(cx, key, &Summary::decode(record.value)?);
                    self.position = Some(Position::Key(key.to_owned()));
                }
            }
            if scan.examined() > EXAMINED_PER_TURN_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_entry(&mut self, cx: &Context<'_>, key: &str, summary: &Summary<'_>) {
        let writer = &mut self.contents;
        writer.open("Contents");
        self.filter.names.write(writer, "Key", key);
        writer.text("LastModified", &reply::iso(summary.modified_ms));
        reply::write_etag(writer, &summary.etag);
        if let Some(checksum) = &summary.checksum {
            writer.text("ChecksumAlgorithm", describe(checksum.algorithm).name);
            writer.text("ChecksumType", checksum.kind.name());
        }
        writer.number("Size", summary.size);
        writer.text("StorageClass", summary.storage_class);
        let shows_owner = match self.form {
            Form::V1 { .. } => true,
            Form::V2 { shows_owner, .. } => shows_owner,
        };
        if shows_owner {
            let owner = summary.owner.unwrap_or(self.bucket.record.owner_canonical);
            acl::write_account(writer, "Owner", owner, cx.accounts);
        }
        writer.close("Contents");
    }

    fn write(self) -> Vec<u8> {
        let mut writer = Writer::s3("ListBucketResult", 1024 + self.contents.len() + self.groups.len());
        writer.text("Name", &self.bucket.name);
        self.filter.write(&mut writer);
        writer.number("MaxKeys", self.count_max as u64);
        writer.boolean("IsTruncated", self.is_truncated);
        let next = self.position.filter(|_| self.is_truncated);
        match &self.form {
            Form::V1 { marker } => {
                self.filter.names.write(&mut writer, "Marker", marker);
                // Without a delimiter the last key is the next marker, and S3 leaves that to the client.
                if let Some(Position::Key(text) | Position::Prefix(text)) = &next
                    && self.filter.delimiter.is_some()
                {
                    self.filter.names.write(&mut writer, "NextMarker", text);
                }
            }
            Form::V2 { token, start_after, .. } => {
                writer.number("KeyCount", self.count as u64);
                writer.text_if("ContinuationToken", token.as_deref());
                if let Some(start_after) = start_after {
                    self.filter.names.write(&mut writer, "StartAfter", start_after);
                }
                if let Some(next) = &next {
                    writer.text("NextContinuationToken", &next.encode());
                }
            }
        }
        writer.raw(&self.contents.into_bytes());
        writer.raw(&self.groups.into_bytes());
        writer.close("ListBucketResult");
        writer.into_bytes()
    }
}
