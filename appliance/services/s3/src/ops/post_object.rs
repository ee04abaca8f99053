//! PostObject: a browser's form upload, signed by a policy or anonymous.
//! Invariant: nothing of the file is read before the policy holds, its signature is right and the caller may write.

use aws::acl::AclHeaders;
use aws::sigv4::PostFields;
use aws::xml::Writer;
use http_types::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use plan::{BodyFailure, Context, Plan, Receive, Reply};

use super::complete_upload::location;
use super::put_object::{self, PutVersion, Written};
use super::{Target, access};
use crate::call::{Bucket, Shared, settle, submit};
use crate::model::checksum::ALGORITHM_DEFAULT;
use crate::model::{Attributes, Conditions, OBJECT_TAG_COUNT_MAX, ObjectKey, SINGLE_BODY_BYTES_MAX};
use crate::wire::address::checked_key;
use crate::wire::checksum::Announced;
use crate::wire::error::{Code, Error};
use crate::wire::form::{self, Fields, FileFilter, FileStart, HeadReader};
use crate::wire::policy::Policy;
use crate::wire::{headers, reply, tags};

/// POST /b.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    // The bucket comes first: a form for none is not worth reading.
    call.bucket(cx)?;
    let content_type = call.header("content-type").unwrap_or("");
    let boundary = form::boundary(content_type).ok_or_else(|| Error::from(Code::MalformedPostRequest))?;
    let head = HeadReader::new(&boundary);
    Ok(read_head(call, boundary, head))
}

fn read_head(call: Shared, boundary: String, mut head: HeadReader) -> Plan {
    Plan::Next {
        then: Box::new(move |cx, piece| {
            let outcome = match piece {
                Ok(Some(piece)) => match head.feed(&piece) {
                    Ok(Some(start)) => with_fields(&call, cx, &boundary, head.into_fields(), start),
                    Ok(None) => Ok(read_head(call.clone(), boundary, head)),
                    Err(error) => Err(error),
                },
                // The form ended before any file.
                Ok(None) => Err(Code::IncorrectNumberOfFilesInPostRequest.into()),
                Err(failure) => Err(failure.into()),
            };
            settle(&call, outcome)
        }),
    }
}

fn with_fields(
    call: &Shared,
    cx: &mut Context<'_>,
    boundary: &str,
    mut fields: Fields,
    file: FileStart,
) -> Result<Plan, Error> {
    let key = key_of(&mut fields, &file.filename)?;
    let policy = match fields.get("policy") {
        None => None,
        Some(text) => Some((Policy::parse(text)?, text.to_owned())),
    };
    let mut signed = (**call).clone();
    signed.key = Some(key.clone());
    signed.account = match &policy {
        None => refuse_lone_signature(&fields).map(|()| None)?,
        Some((_, text)) => Some(authenticate(call, cx, &fields, text)?),
    };
    let call = Shared::new(signed);
    let bucket = call.bucket(cx)?;
    if let Some((policy, _)) = &policy {
        policy.check(&fields, &bucket.name, call.now(cx))?;
    }
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    let (min, max) = policy.as_ref().and_then(|(policy, _)| policy.lengths()).unwrap_or((0, u64::MAX));
    let sent = as_headers(&fields)?;
    let attributes = attributes(&call, cx, &bucket, &fields, &sent)?;
    let announced = Announced::parse(&sent)?;
    let stored = announced.algorithm().unwrap_or(ALGORITHM_DEFAULT);
    let conditions = headers::conditions(&sent, call.now(cx));
    put_object::check_early(&call, cx, &bucket, &key, &conditions)?;
    let body = Receive {
        length_hint: None,
        length_max: max.min(SINGLE_BODY_BYTES_MAX),
        owner: put_object::owner(cx, &bucket, &key),
        digests: announced.digests(stored),
        prefix: file.rest,
        filter: Some(Box::new(FileFilter::new(boundary))),
    };
    let write = Write { bucket, key, fields, attributes, announced, stored, conditions, min, max };
    Ok(Plan::Receive(
        body,
        Box::new(move |cx, received| {
            let outcome = write.finish(&call, cx, received);
            settle(&call, outcome)
        }),
    ))
}

/// The key, with the file's name put in.
fn key_of(fields: &mut Fields, filename: &str) -> Result<ObjectKey, Error> {
    let key = fields.get("key").ok_or_else(|| Error::from(Code::UserKeyMustBeSpecified))?;
    // Some browsers send the whole path of the file, with either separator.
    let last = filename.rsplit(['/', '\\']).next().unwrap_or("");
    let key = key.replace("${filename}", last);
    fields.set("key", key.clone());
    checked_key(key)
}

/// A signature without a policy signs nothing.
fn refuse_lone_signature(fields: &Fields) -> Result<(), Error> {
    let is_signed = ["signature", "x-amz-signature"].iter().any(|name| fields.get(name).is_some());
    if is_signed {
        return Err(Error::argument("policy", "", "Bucket POST must contain a field named 'policy'."));
    }
    Ok(())
}

fn authenticate(
    call: &Shared,
    cx: &mut Context<'_>,
    fields: &Fields,
    policy: &str,
) -> Result<std::sync::Arc<aws::account::Account>, Error> {
    let signature = PostFields {
        policy,
        algorithm: fields.get("x-amz-algorithm"),
        credential: fields.get("x-amz-credential"),
        date: fields.get("x-amz-date"),
        signature: fields.get("x-amz-signature"),
        security_token: fields.get("x-amz-security-token"),
        access_key_v2: fields.get("awsaccesskeyid"),
        signature_v2: fields.get("signature"),
    };
    let now = call.now(cx);
    let authenticated = cx.verifier.verify_post_policy(&signature, cx.accounts, now)?;
    Ok(authenticated.account)
}

/// The fields that mean what a PUT's headers mean, as headers.
fn as_headers(fields: &Fields) -> Result<HeaderMap, Error> {
    let mut sent = HeaderMap::new();
    for (name, value) in fields.iter() {
        let is_header = name.starts_with("x-amz-") || FIELDS_LIKE_HEADERS.contains(&name);
        if !is_header {
            continue;
        }
        let bad = || Error::argument(name, value, "The field cannot be a header");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        sent.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
    }
    if let Some(acl) = fields.get("acl") {
        let bad = |_| Error::argument("acl", acl, "The field cannot be a header");
        sent.insert(HeaderName::from_static("x-amz-acl"), HeaderValue::from_str(acl).map_err(bad)?);
    }
    Ok(sent)
}

const FIELDS_LIKE_HEADERS: [&str; 10] = [
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "expires",
    "if-match",
    "if-none-match",
    "x-amz-website-redirect-location",
];

fn attributes(
    call: &Shared,
    cx: &Context<'_>,
    bucket: &Bucket,
    fields: &Fields,
    sent: &HeaderMap,
) -> Result<Attributes, Error> {
    headers::refuse_encryption(sent)?;
    headers::refuse_lock(sent, bucket.record.object_lock)?;
    let mut attributes = headers::attributes(sent, &call.config.storage_classes)?;
    let named: AclHeaders = headers::acl(sent, cx.accounts)?;
    (attributes.owner, attributes.grants) = access::resolve_object(call.caller(), bucket, &named)?;
    if let Some(document) = fields.get("tagging") {
        attributes.tags = tags::parse_document(document.as_bytes(), OBJECT_TAG_COUNT_MAX)?;
    }
    Ok(attributes)
}

/// Everything that is known before the file arrives.
struct Write {
    bucket: Bucket,
    key: ObjectKey,
    fields: Fields,
    attributes: Attributes,
    announced: Announced,
    stored: hash::Algorithm,
    conditions: Conditions,
    min: u64,
    max: u64,
}

impl Write {
    fn finish(
        self,
        call: &Shared,
        cx: &mut Context<'_>,
        received: Result<plan::Received, BodyFailure>,
    ) -> Result<Plan, Error> {
        let received = received.map_err(|failure| match failure {
            BodyFailure::TooLarge => Error::from(Code::EntityTooLarge)
                .with("MaxSizeAllowed", self.max.min(SINGLE_BODY_BYTES_MAX).to_string()),
            other => other.into(),
        })?;
        if received.length < self.min {
            return Err(Error::from(Code::EntityTooSmall)
                .with("ProposedSize", received.length.to_string())
                .with("MinSizeAllowed", self.min.to_string()));
        }
        let checksum = self.announced.verify(&received, self.stored)?;
        let record = put_object::new_record(received.length, received.md5, checksum, self.attributes)?;
        let shard = self.bucket.shard(cx, &self.key);
        let Write { bucket, key, fields, conditions, .. } = self;
        let put = PutVersion {
            target: Target::from(&bucket),
            key: key.clone(),
            conditions,
            record,
            body: received.body,
        };
        Ok(submit(call.clone(), shard, put, move |call, _cx, outcome| {
            let written = outcome?;
            Ok(Plan::Reply(answer(call, &bucket, &key, &fields, &written)))
        }))
    }
}

fn answer(call: &Shared, bucket: &Bucket, key: &ObjectKey, fields: &Fields, written: &Written) -> Reply {
    let place = location(call, &bucket.name, key);
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    let mut reply = match (
        redirect.and_then(|url| redirect_to(url, bucket, key, written)),
        fields.get("success_action_status"),
    ) {
        (Some(url), _) => {
            let mut reply = Reply::empty(StatusCode::SEE_OTHER);
            reply::set_location(&mut reply.headers, &url);
            written.describe(&mut reply);
            return reply;
        }
        (None, Some("200")) => Reply::empty(StatusCode::OK),
        (None, Some("201")) => {
            let mut writer = Writer::with_capacity(512);
            writer.declaration();
            writer.open("PostResponse");
            writer.text("Location", &place);
            writer.text("Bucket", &bucket.name);
            writer.text("Key", key.as_str());
            reply::write_etag(&mut writer, &written.etag);
            writer.close("PostResponse");
            Reply::bytes(StatusCode::CREATED, "application/xml", writer.into_bytes())
        }
        (None, _) => Reply::empty(StatusCode::NO_CONTENT),
    };
    written.describe(&mut reply);
    reply::set_location(&mut reply.headers, &place);
    reply
}

/// The client's URL with bucket, key and tag added; `None` where it is no URL, which S3 then ignores.
fn redirect_to(url: &str, bucket: &Bucket, key: &ObjectKey, written: &Written) -> Option<String> {
    let is_url = url.starts_with("http://") || url.starts_with("https://");
    let is_plain = url.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if !is_url || !is_plain {
        return None;
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    let key = aws::uri::encode(key.as_str());
    Some(format!("{url}{joint}bucket={}&key={key}&etag=%22{}%22", bucket.name, written.etag))
}
