//! CopyObject: the bytes are copied inside the process, the attributes are kept or replaced.
//! Invariant: the source is the one version that the conditions were judged against; its bytes stay pinned until copied.

use aws::xml::Writer;
use plan::{Context, Copy, Digests, Plan};

use super::put_object::{self, PutVersion};
use super::{Target, access, body, get_object, refuse_verdict};
use crate::call::{Bucket, Shared, copy, submit};
use crate::model::checksum::ALGORITHM_DEFAULT;
use crate::model::object::STORAGE_CLASS_DEFAULT;
use crate::model::{Attributes, Checksum, ChecksumType, ObjectKey, SINGLE_BODY_BYTES_MAX, SystemHeader};
use crate::store::versions::Found;
use crate::wire::checksum::algorithm_named;
use crate::wire::error::{Code, Error};
use crate::wire::headers::{self, CopySource};
use crate::wire::range::Span;
use crate::wire::reply;

/// PUT /b/k with x-amz-copy-source.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    let key = call.key()?.clone();
    let source = headers::copy_source(call.header("x-amz-copy-source").unwrap_or(""))?;
    let algorithm = match call.header("x-amz-checksum-algorithm") {
        Some(name) => Some(algorithm_named("x-amz-checksum-algorithm", name)?),
        None => None,
    };
    let opened = open_source(&call, cx, &source)?;
    let size = opened.found.record.size;
    if size > SINGLE_BODY_BYTES_MAX {
        return Err(Error::request(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {SINGLE_BODY_BYTES_MAX}"
        )));
    }
    let attributes = copied_attributes(&call, cx, &bucket, &opened, &source, &key)?;
    let conditions = headers::conditions(call.headers(), call.now(cx));
    put_object::check_early(&call, cx, &bucket, &key, &conditions)?;
    let kept = opened.found.record.checksum.as_ref().map(|checksum| checksum.algorithm);
    let stored = algorithm.or(kept).unwrap_or(ALGORITHM_DEFAULT);
    let shard = bucket.shard(cx, &key);
    let pieces = opened.pieces(cx, Span { start: 0, length: size })?;
    let work = Copy {
        pieces,
        owner: put_object::owner(cx, &bucket, &key),
        digests: Digests { md5: true, algorithms: vec![stored] },
    };
    let source_version = opened.bucket.shown_id(&opened.found.record);
    Ok(copy(call, work, move |call, _cx, received| {
        let value =
            received.checksums.first().map(|(_, value)| value.as_bytes().to_vec()).unwrap_or_default();
        let checksum = Checksum { algorithm: stored, kind: ChecksumType::FullObject, value };
        let record = put_object::new_record(received.length, received.md5, checksum.clone(), attributes)?;
        let write =
            PutVersion { target: Target::from(&bucket), key, conditions, record, body: received.body };
        Ok(submit(call.clone(), shard, write, move |_call, _cx, outcome| {
            let written = outcome?;
            let mut writer = Writer::s3("CopyObjectResult", 512);
            writer.text("LastModified", &reply::iso(written.modified_ms));
            reply::write_etag(&mut writer, &written.etag);
            reply::write_checksum(&mut writer, &checksum, 0);
            writer.close("CopyObjectResult");
            let mut reply = reply::xml(writer.into_bytes());
            if let Some(id) = written.id {
                reply::set(&mut reply.headers, "x-amz-version-id", &id.to_string());
            }
            if let Some(id) = &source_version {
                reply::set(&mut reply.headers, "x-amz-copy-source-version-id", id);
            }
            Ok(Plan::Reply(reply))
        }))
    }))
}

/// A source that may be read and whose conditions hold.
pub struct OpenedSource {
    /// Its bucket.
    pub bucket: Bucket,
    /// Its version.
    pub found: Found,
    parts: Vec<body::PartPlace>,
    key: ObjectKey,
}

impl OpenedSource {
    /// Pins a stretch of it; call it in the turn in which it was opened.
    pub fn pieces(&self, cx: &Context<'_>, span: Span) -> Result<Vec<plan::Piece>, Error> {
        let shard = self.bucket.shard(cx, &self.key);
        Ok(body::pieces(cx, shard, &self.found, &self.parts, span)?)
    }
}

/// Finds the source of a copy.
pub fn open_source(call: &Shared, cx: &Context<'_>, source: &CopySource) -> Result<OpenedSource, Error> {
    headers::refuse_encryption(call.headers())?;
    let bucket = call.find_bucket(cx, &source.bucket)?;
    call.check_owner(&bucket, "x-amz-source-expected-bucket-owner")?;
    let view = call.view(cx, &bucket, &source.key)?;
    let action = if source.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let found = match get_object::find(call, &view, &bucket, &source.key, source.version, action) {
        Ok(found) => found,
        // A marker by its version is no object that could be copied.
        Err(error) if error.is(Code::MethodNotAllowed) => {
            return Err(Error::request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ));
        }
        Err(error) => return Err(error),
    };
    let conditions = headers::source_conditions(call.headers(), call.now(cx));
    refuse_verdict(conditions.judge_source(&found.record.subject()))?;
    let parts = body::parts(&view, bucket.generation(), &found)?;
    Ok(OpenedSource { bucket, found, parts, key: source.key.clone() })
}

fn copied_attributes(
    call: &Shared,
    cx: &Context<'_>,
    bucket: &Bucket,
    opened: &OpenedSource,
    source: &CopySource,
    key: &ObjectKey,
) -> Result<Attributes, Error> {
    let replaces_metadata = directive(call, "x-amz-metadata-directive")?;
    let replaces_tags = directive(call, "x-amz-tagging-directive")?;
    headers::refuse_lock(call.headers(), bucket.record.object_lock)?;
    let sent = headers::attributes(call.headers(), &call.config.storage_classes)?;
    let kept = &opened.found.record.attributes;
    let is_same_object = opened.bucket.key == bucket.key && source.key == *key && source.version.is_none();
    let changes_class =
        call.header("x-amz-storage-class").is_some() && sent.storage_class != kept.storage_class;
    let redirect = sent.headers.iter().find(|(kind, _)| *kind == SystemHeader::WebsiteRedirect).cloned();
    if is_same_object && !replaces_metadata && !changes_class && redirect.is_none() {
        return Err(Error::request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let (owner, grants) = access::for_object(call, cx, bucket)?;
    let (mut stored, metadata) = if replaces_metadata {
        (sent.headers, sent.metadata)
    } else {
        (kept.headers.clone(), kept.metadata.clone())
    };
    // The redirect is never taken over from the source.
    stored.retain(|(kind, _)| *kind != SystemHeader::WebsiteRedirect);
    stored.extend(redirect);
    let tags = if replaces_tags { sent.tags } else { kept.tags.clone() };
    let storage_class = match call.header("x-amz-storage-class") {
        Some(_) => sent.storage_class,
        None => STORAGE_CLASS_DEFAULT.to_owned(),
    };
    Ok(Attributes { headers: stored, metadata, tags, storage_class, owner, grants })
}

/// Whether a directive header says REPLACE.
fn directive(call: &Shared, name: &'static str) -> Result<bool, Error> {
    match call.header(name) {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(Error::argument(name, other, "Unknown directive.")),
    }
}
