//! UploadPartCopy: a part from a stretch of a stored object.

use aws::xml::Writer;
use plan::{Context, Copy, Digests, Plan};

use super::copy_object::open_source;
use super::upload_part::{open, part_number};
use crate::call::{Shared, copy, submit};
use crate::model::checksum::describe;
use crate::model::{Checksum, ChecksumType, Etag, SINGLE_BODY_BYTES_MAX};
use crate::wire::error::{Code, Error};
use crate::wire::range::{Span, parse_copy};
use crate::wire::{headers, reply};

/// PUT /b/k?partNumber&uploadId with x-amz-copy-source.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    let upload = open(&call, cx, &bucket)?;
    let number = part_number(&call)?;
    let source = headers::copy_source(call.header("x-amz-copy-source").unwrap_or(""))?;
    let opened = open_source(&call, cx, &source)?;
    let span = span(&call, opened.found.record.size)?;
    if span.length > SINGLE_BODY_BYTES_MAX {
        return Err(Error::request(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {SINGLE_BODY_BYTES_MAX}"
        )));
    }
    let algorithm = upload.upload.algorithm;
    let work = Copy {
        pieces: opened.pieces(cx, span)?,
        owner: upload.body_owner(&bucket, number),
        digests: Digests { md5: true, algorithms: vec![algorithm] },
    };
    let source_version = opened.bucket.shown_id(&opened.found.record);
    Ok(copy(call, work, move |call, _cx, received| {
        let md5 = received.md5.ok_or_else(|| Error::from(Code::InternalError))?;
        let value =
            received.checksums.first().map(|(_, value)| value.as_bytes().to_vec()).unwrap_or_default();
        let checksum = Checksum { algorithm, kind: ChecksumType::FullObject, value };
        let put = upload.put(&bucket, number, md5, received.length, checksum.clone(), received.body);
        let is_named = upload.upload.is_algorithm_named;
        Ok(submit(call.clone(), upload.shard, put, move |_call, _cx, outcome| {
            let part = outcome?;
            let mut writer = Writer::s3("CopyPartResult", 256);
            writer.text("LastModified", &reply::iso(part.modified_ms));
            reply::write_etag(&mut writer, &Etag::plain(part.md5));
            if is_named {
                writer.text(describe(algorithm).element, &checksum.text(0));
            }
            writer.close("CopyPartResult");
            let mut reply = reply::xml(writer.into_bytes());
            if let Some(id) = &source_version {
                reply::set(&mut reply.headers, "x-amz-copy-source-version-id", id);
            }
            Ok(Plan::Reply(reply))
        }))
    }))
}

fn span(call: &Shared, size: u64) -> Result<Span, Error> {
    let Some(text) = call.header("x-amz-copy-source-range") else {
        return Ok(Span { start: 0, length: size });
    };
    let (first, last) = parse_copy(text).ok_or_else(|| {
        Error::argument(
            "x-amz-copy-source-range",
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )
    })?;
    if last >= size {
        return Err(Error::from(Code::InvalidRangeSource)
            .message(format!("Range specified is not valid for source object of size: {size}")));
    }
    Ok(Span { start: first, length: last - first + 1 })
}
