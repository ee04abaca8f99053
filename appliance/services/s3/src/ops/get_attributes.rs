//! GetObjectAttributes: chosen facts about a version, without its bytes.

use aws::xml::Writer;
use plan::{Context, Plan};

use super::{body, get_object};
use crate::call::Shared;
use crate::model::PAGE_COUNT_MAX;
use crate::model::checksum::describe;
use crate::store::versions::Found;
use crate::wire::error::Error;
use crate::wire::{headers, reply};

/// GET /b/k?attributes.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    headers::refuse_encryption(call.headers())?;
    let wanted = wanted(&call)?;
    let version = call.version_id()?;
    let key = call.key()?;
    let view = call.view(cx, &bucket, key)?;
    let action = if version.is_some() { "s3:GetObjectVersionAttributes" } else { "s3:GetObjectAttributes" };
    let found = get_object::find(&call, &view, &bucket, key, version, action)?;
    let parts = body::parts(&view, bucket.generation(), &found)?;
    let mut writer = Writer::s3("GetObjectAttributesResponse", 1024);
    if wanted.contains(&"ETag") {
        writer.text("ETag", &found.record.etag.to_string());
    }
    if wanted.contains(&"Checksum")
        && let Some(checksum) = &found.record.checksum
    {
        writer.open("Checksum");
        reply::write_checksum(&mut writer, checksum, found.record.etag.part_count);
        writer.close("Checksum");
    }
    if wanted.contains(&"ObjectParts") && !parts.is_empty() {
        write_parts(&call, &mut writer, &found, &parts)?;
    }
    if wanted.contains(&"StorageClass") {
        writer.text("StorageClass", &found.record.attributes.storage_class);
    }
    if wanted.contains(&"ObjectSize") {
        writer.number("ObjectSize", found.record.size);
    }
    writer.close("GetObjectAttributesResponse");
    let mut reply = reply::xml(writer.into_bytes());
    reply::set(&mut reply.headers, "last-modified", &reply::http_date(found.record.modified_ms));
    if let Some(id) = bucket.shown_id(&found.record) {
        reply::set(&mut reply.headers, "x-amz-version-id", &id);
    }
    Ok(Plan::Reply(reply))
}

const ATTRIBUTES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

fn wanted(call: &Shared) -> Result<Vec<&'static str>, Error> {
    let mut wanted = Vec::new();
    for value in call.headers().get_all("x-amz-object-attributes") {
        let text = std::str::from_utf8(value.as_bytes()).unwrap_or("");
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match ATTRIBUTES.iter().find(|known| **known == name) {
                Some(known) => wanted.push(*known),
                None => {
                    return Err(Error::argument(
                        "x-amz-object-attributes",
                        name,
                        "Invalid attribute name specified.",
                    ));
                }
            }
        }
    }
    if wanted.is_empty() {
        return Err(Error::request(
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
        ));
    }
    Ok(wanted)
}

fn write_parts(
    call: &Shared,
    writer: &mut Writer,
    found: &Found,
    parts: &[body::PartPlace],
) -> Result<(), Error> {
    let number = |name: &'static str, default: usize, max: usize| match call.header(name) {
        None => Ok(default),
        Some(text) => match text.parse::<u32>() {
            Ok(value) => Ok((value as usize).min(max)),
            Err(_) => {
                Err(Error::argument(name, text, "Provided value not an integer or within integer range"))
            }
        },
    };
    let page = number("x-amz-max-parts", PAGE_COUNT_MAX, PAGE_COUNT_MAX)?;
    let marker = number("x-amz-part-number-marker", 0, usize::from(u16::MAX))?;
    let first = parts.partition_point(|part| usize::from(part.number.get()) <= marker);
    let shown = &parts[first..(first + page).min(parts.len())];
    writer.open("ObjectParts");
    writer.number("PartsCount", parts.len() as u64);
    writer.number("PartNumberMarker", marker as u64);
    let next = shown.last().map_or(0, |part| part.number.get());
    writer.number("NextPartNumberMarker", u64::from(next));
    writer.number("MaxParts", page as u64);
    writer.boolean("IsTruncated", page > 0 && first + shown.len() < parts.len());
    for part in shown {
        writer.open("Part");
        writer.number("PartNumber", u64::from(part.number.get()));
        writer.number("Size", part.size);
        if let Some(checksum) = &found.record.checksum {
            writer.text(describe(checksum.algorithm).element, &aws::encoding::base64(&part.checksum));
        }
        writer.close("Part");
    }
    writer.close("ObjectParts");
    Ok(())
}
