//! GetObject and HeadObject.
//! Invariant: both answer alike but for the body; bytes that leave are those of the version that the headers describe.

use aws::acl::Permission;
use http_types::{Method, StatusCode, header};
use plan::{Context, Plan, Reply, ReplyBody};

use super::body;
use crate::call::{Bucket, Call, Shared};
use crate::model::{Checksum, ChecksumType, ObjectKey, PartNumber, Verdict, VersionId};
use crate::store::versions::{self, Found};
use crate::wire::error::{Code, Error};
use crate::wire::range::{self, ByteRange, Span};
use crate::wire::{headers, reply};

/// GET and HEAD /b/k.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let key = call.key()?;
    let (bucket, shard, view) = call.bucket_and_view(cx, key)?;
    let version = call.version_id()?;
    headers::refuse_encryption(call.headers())?;
    let overrides = call.query.iter().any(|(name, _)| name.starts_with("response-"));
    if overrides && call.account.is_none() {
        return Err(Error::request(
            "Request specific response headers cannot be used for anonymous GET requests.",
        ));
    }
    let range_text = call.standard_header(&header::RANGE);
    let range = range_text.and_then(range::parse);
    let part = part_number(&call)?;
    if part.is_some() && range_text.is_some() {
        return Err(Error::request("Cannot specify both Range header and partNumber query parameter"));
    }
    let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let found = find(&call, &view, &bucket, key, version, action)?;
    let conditions = headers::conditions(call.headers(), call.now(cx));
    match conditions.judge_read(&found.record.subject()) {
        Verdict::Pass => {}
        Verdict::NotModified => {
            return Ok(Plan::Reply(reply::not_modified(&found.record, bucket.shows_versions())));
        }
        Verdict::Failed(header) => return Err(Error::precondition(header)),
        Verdict::Absent => return Err(Code::NoSuchKey.into()),
    }
    let parts = body::parts(&view, bucket.generation(), &found)?;
    let range = range.filter(|_| range_applies(&call, cx, &found));
    let picked = pick(&found, &parts, range, part, range_text)?;
    let mut reply = Reply::empty(StatusCode::OK);
    reply.headers = reply::object_headers(&found.record, bucket.shows_versions());
    describe(&mut reply, &call, &found, &parts, &picked);
    if call.head.method == Method::HEAD {
        reply.body = ReplyBody::Head { length: picked.span.length };
        return Ok(Plan::Reply(reply));
    }
    let pieces = body::pieces(cx, shard, &found, &parts, picked.span)?;
    if picked.span.length > 0 {
        reply.body = ReplyBody::Pieces { pieces, length: picked.span.length };
    }
    Ok(Plan::Reply(reply))
}

/// Finds the version that a read means, checks that the caller may read it, and tells the absences apart.
pub fn find(
    call: &Call,
    view: &store::View<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<VersionId>,
    action: &'static str,
) -> Result<Found, Error> {
    find_as(call, view, bucket, key, version, action, Permission::Read)
}

/// The same where an access list has to grant something else than reading.
pub fn find_as(
    call: &Call,
    view: &store::View<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<VersionId>,
    action: &'static str,
    permission: Permission,
) -> Result<Found, Error> {
    let place = bucket.place(key);
    let found = match version {
        Some(id) => versions::view_version(view, &place, id)?,
        None => versions::view_newest(view, &place)?,
    };
    let Some(found) = found else {
        let code = if version.is_some() { Code::NoSuchVersion } else { Code::NoSuchKey };
        let mut error = call.absent(bucket, key, code);
        if let Some(id) = version {
            error = error.with("VersionId", id.to_string());
        }
        return Err(error.header("x-amz-delete-marker", "false"));
    };
    if found.record.is_marker {
        let id = found.record.id().to_string();
        let error = match version {
            None => call.absent(bucket, key, Code::NoSuchKey),
            Some(_) => match call.absent(bucket, key, Code::MethodNotAllowed) {
                error if error.is(Code::MethodNotAllowed) => error
                    .with("Method", call.head.method.as_str())
                    .with("ResourceType", "DeleteMarker")
                    .header("allow", "DELETE")
                    .header("last-modified", &reply::http_date(found.record.modified_ms)),
                denied => denied,
            },
        };
        return Err(error.header("x-amz-delete-marker", "true").header("x-amz-version-id", &id));
    }
    call.authorize_object(action, bucket, key, &found.record.attributes, permission)?;
    Ok(found)
}

/// What of the object leaves.
struct Picked {
    span: Span,
    is_partial: bool,
    part: Option<PartNumber>,
}

fn part_number(call: &Call) -> Result<Option<PartNumber>, Error> {
    let Some(text) = call.query.filled("partNumber") else { return Ok(None) };
    match PartNumber::parse(text) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::argument(
            "partNumber",
            text,
            "Part number must be an integer between 1 and 10000, inclusive",
        )),
    }
}

/// RFC 9110 13.1.5: a range counts only while the validator of If-Range is still the object's.
fn range_applies(call: &Call, cx: &Context<'_>, found: &Found) -> bool {
    let Some(validator) = call.standard_header(&header::IF_RANGE) else { return true };
    match headers::http_seconds(validator, call.now(cx)) {
        Some(seconds) => found.record.modified_ms / 1_000 <= seconds,
        None => found.record.etag.is(validator),
    }
}

fn pick(
    found: &Found,
    parts: &[body::PartPlace],
    range: Option<ByteRange>,
    part: Option<PartNumber>,
    range_text: Option<&str>,
) -> Result<Picked, Error> {
    let size = found.record.size;
    if let Some(number) = part {
        let place = parts.iter().find(|place| place.number == number);
        return match place {
            Some(place) => {
                let span = Span { start: place.start, length: place.size };
                Ok(Picked { span, is_partial: true, part: Some(number) })
            }
            // An object in one piece is its own first part.
            None if parts.is_empty() && number.get() == 1 => {
                let span = Span { start: 0, length: size };
                Ok(Picked { span, is_partial: size > 0, part: Some(number) })
            }
            None => Err(Error::from(Code::InvalidPartNumber)
                .with("PartNumberRequested", number.get().to_string())
                .with("ActualPartCount", parts.len().max(1).to_string())),
        };
    }
    let Some(range) = range else {
        return Ok(Picked { span: Span { start: 0, length: size }, is_partial: false, part: None });
    };
    match range.resolve(size) {
        Some(span) => Ok(Picked { span, is_partial: true, part: None }),
        None => Err(Error::from(Code::InvalidRange)
            .with("RangeRequested", range_text.unwrap_or(""))
            .with("ActualObjectSize", size.to_string())
            .header("content-range", &format!("bytes */{size}"))),
    }
}

fn describe(reply: &mut Reply, call: &Call, found: &Found, parts: &[body::PartPlace], picked: &Picked) {
    let record = &found.record;
    let Span { start, length } = picked.span;
    if picked.is_partial {
        reply.status = StatusCode::PARTIAL_CONTENT;
        // A part of no bytes has no first byte that Content-Range could name.
        let last = (start + length).saturating_sub(1);
        reply::set(&mut reply.headers, "content-range", &format!("bytes {start}-{last}/{}", record.size));
    }
    if picked.part.is_some() && !parts.is_empty() {
        reply::set(&mut reply.headers, "x-amz-mp-parts-count", &parts.len().to_string());
    }
    let wants_checksum =
        call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if wants_checksum && let Some(checksum) = &record.checksum {
        match picked.part {
            Some(number) if !parts.is_empty() => {
                let value = parts.iter().find(|part| part.number == number).map(|part| part.checksum.clone());
                if checksum.kind == ChecksumType::Composite
                    && let Some(value) = value
                {
                    let of_part =
                        Checksum { algorithm: checksum.algorithm, kind: ChecksumType::FullObject, value };
                    let row = crate::model::checksum::describe(of_part.algorithm);
                    reply::set(&mut reply.headers, row.header, &of_part.text(0));
                    reply::set(&mut reply.headers, "x-amz-checksum-type", checksum.kind.name());
                }
            }
            _ if length == record.size => {
                reply::set_checksum(&mut reply.headers, checksum, record.etag.part_count);
            }
            _ => {}
        }
    }
    reply::override_headers(&mut reply.headers, &call.query);
}
