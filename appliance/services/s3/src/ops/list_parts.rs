//! ListParts: the parts of an upload that runs, by number.

use std::ops::Bound;

use aws::xml::Writer;
use plan::{Context, Plan};
use store::Direction;

use super::upload_part::open;
use crate::call::Shared;
use crate::model::checksum::describe;
use crate::model::{Etag, PAGE_COUNT_MAX, PartNumber};
use crate::store::upload::PartRecord;
use crate::store::{PARTS, number_of_part, parts_prefix};
use crate::wire::error::Error;
use crate::wire::{acl, reply};

/// GET /b/k?uploadId.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let open = open(&call, cx, &bucket)?;
    let page = call.query.page_size("max-parts", PAGE_COUNT_MAX)?;
    // A marker beyond every part is a page without parts.
    let marker = call.query.page_size("part-number-marker", usize::from(u16::MAX))?;
    let marker = if call.query.filled("part-number-marker").is_some() { marker as u16 } else { 0 };
    let mut parts: Vec<(PartNumber, PartRecord)> = Vec::new();
    let mut is_truncated = false;
    let view = cx.store.view(open.shard)?;
    let prefix = parts_prefix(bucket.generation(), open.id);
    let after = [&prefix[..], &marker.to_be_bytes()].concat();
    let mut scan = view.scan(PARTS, Bound::Excluded(&after), Direction::Forward);
    while let Some((key, record)) = scan.next()? {
        let Some(number) = number_of_part(&prefix, key) else { break };
        if parts.len() == page {
            is_truncated = page > 0;
            break;
        }
        parts.push((number, PartRecord::decode(record.value)?));
    }
    let mut writer = Writer::s3("ListPartsResult", 1024 + parts.len() * 192);
    writer.text("Bucket", &bucket.name);
    writer.text("Key", open.key.as_str());
    writer.text("UploadId", &open.id.to_string());
    let owner = open.upload.attributes.owner.unwrap_or(bucket.record.owner_canonical);
    acl::write_account(&mut writer, "Initiator", open.upload.initiator.unwrap_or(owner), cx.accounts);
    acl::write_account(&mut writer, "Owner", owner, cx.accounts);
    writer.text("StorageClass", &open.upload.attributes.storage_class);
    writer.number("PartNumberMarker", u64::from(marker));
    if let Some((last, _)) = parts.last() {
        writer.number("NextPartNumberMarker", u64::from(last.get()));
    }
    writer.number("MaxParts", page as u64);
    writer.boolean("IsTruncated", is_truncated);
    if open.upload.is_algorithm_named {
        writer.text("ChecksumAlgorithm", describe(open.upload.algorithm).name);
        writer.text("ChecksumType", open.upload.kind.name());
    }
    for (number, part) in &parts {
        writer.open("Part");
        writer.number("PartNumber", u64::from(number.get()));
        writer.text("LastModified", &reply::iso(part.modified_ms));
        reply::write_etag(&mut writer, &Etag::plain(part.md5));
        writer.number("Size", part.size);
        if open.upload.is_algorithm_named {
            writer.text(describe(part.checksum.algorithm).element, &part.checksum.text(0));
        }
        writer.close("Part");
    }
    writer.close("ListPartsResult");
    Ok(Plan::Reply(reply::xml(writer.into_bytes())))
}
