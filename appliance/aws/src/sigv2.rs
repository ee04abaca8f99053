//! Signature Version 2, which S3 alone ever had: HMAC-SHA1 over a handful of headers and the resource. It is
//! behind the switch in [`crate::sigv4::Dialect`]; old clients and the public conformance suite sign with it.
//!
//! Invariant: as in `sigv4`, nothing is authenticated but by a comparison in constant time. The body is not
//! covered.

use std::borrow::Cow;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use http_types::HeaderMap;
use sha1::Sha1;

use crate::account::{AccessKey, Credentials};
use crate::encoding::unbase64;
use crate::error::ErrorReply;
use crate::payload::PayloadMode;
use crate::sigv4::refusal::{self, SKEW_MS_MAX};
use crate::sigv4::{AuthMethod, Authenticated, PostFields, SignedRequest, append_collapsed, check_token};
use crate::sigv4::{find_key, missing_field};
use crate::time::Timestamp;
use crate::uri;

/// The parts of a presigned URL of version 2, decoded.
pub(crate) struct Presigned<'a> {
    access_key: Cow<'a, str>,
    expires: Cow<'a, str>,
    signature: Cow<'a, str>,
}

/// Reads a query. `None` if it has neither a signature nor a key; `AccessDenied` if it has not all three
/// parameters.
pub(crate) fn presigned(query: &str) -> Result<Option<Presigned<'_>>, ErrorReply> {
    let (mut access_key, mut expires, mut signature) = (None, None, None);
    for (name, value) in uri::query_pairs(query) {
        let slot = match &*decoded(name) {
            "AWSAccessKeyId" => &mut access_key,
            "Expires" => &mut expires,
            "Signature" => &mut signature,
            _ => continue,
        };
        let value = uri::decode_query(value).map_err(|_| incomplete_query())?;
        if slot.replace(value).is_some() {
            return Err(incomplete_query());
        }
    }
    match (access_key, expires, signature) {
        (None, _, None) => Ok(None),
        (Some(access_key), Some(expires), Some(signature)) => {
            Ok(Some(Presigned { access_key, expires, signature }))
        }
        _ => Err(incomplete_query()),
    }
}

fn incomplete_query() -> ErrorReply {
    ErrorReply::new(
        "AccessDenied",
        403,
        "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
    )
}

/// Verifies `AWS key:signature`.
pub(crate) fn verify_header(
    request: &SignedRequest<'_>,
    authorization: &[u8],
    credentials: &dyn Credentials,
    now: Timestamp,
) -> Result<Authenticated, ErrorReply> {
    let text = std::str::from_utf8(authorization).ok().and_then(|text| text.strip_prefix("AWS "));
    let (access_key, signature) = text.and_then(|text| text.trim().rsplit_once(':')).ok_or_else(|| {
        ErrorReply::invalid_argument(
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            "Authorization",
            "AWS",
        )
    })?;
    let (signed_at, date_line) = request_date(request.headers, now)?;
    if now.as_ms().abs_diff(signed_at.as_ms()) > SKEW_MS_MAX.unsigned_abs() {
        let value = request.headers.get("x-amz-date").or_else(|| request.headers.get("date"));
        let text = String::from_utf8_lossy(value.map(|value| value.as_bytes()).unwrap_or_default());
        return Err(refusal::skewed(&text, now));
    }
    let key = find_key(credentials, access_key)?;
    let token = request.headers.get("x-amz-security-token").map(|value| value.as_bytes());
    check_token(key, token, now)?;
    verify(key, request, date_line, AmzSource::Headers, signature)?;
    let payload = PayloadMode::announced(request.headers)?;
    Ok(authenticated(key, AuthMethod::V2Header, payload, signed_at))
}

/// Verifies a presigned URL, which names the second at which it ends.
pub(crate) fn verify_presigned(
    request: &SignedRequest<'_>,
    presigned: &Presigned<'_>,
    credentials: &dyn Credentials,
    now: Timestamp,
) -> Result<Authenticated, ErrorReply> {
    let is_number =
        presigned.expires.bytes().all(|byte| byte.is_ascii_digit()) && !presigned.expires.is_empty();
    let seconds = presigned.expires.parse().ok().filter(|_| is_number).ok_or_else(|| {
        let text = format!("Invalid date (should be seconds since epoch): {}", presigned.expires);
        ErrorReply::new("AccessDenied", 403, text)
    })?;
    let end = Timestamp::from_seconds(seconds);
    if now >= end {
        return Err(refusal::expired(None, end, now));
    }
    let key = find_key(credentials, &presigned.access_key)?;
    let query = request.query.unwrap_or_default();
    check_unsigned_parameters(query)?;
    let query_token = uri::query_pairs(query)
        .find(|(name, _)| name.eq_ignore_ascii_case("x-amz-security-token"))
        .and_then(|(_, value)| uri::decode_query(value).ok());
    let header_token = request.headers.get("x-amz-security-token").map(|value| value.as_bytes());
    check_token(key, query_token.as_deref().map(str::as_bytes).or(header_token), now)?;
    // A plus that was not escaped has become a blank; base64 has no blanks.
    let signature = presigned.signature.replace(' ', "+");
    verify(key, request, presigned.expires.as_bytes(), AmzSource::HeadersAndQuery, &signature)?;
    let payload = PayloadMode::announced(request.headers)?;
    // This kind of URL does not say when it was signed.
    Ok(authenticated(key, AuthMethod::V2Query, payload, now))
}

/// This signature leaves most parameters out. Whoever was given a URL for an object must not be able to turn
/// it into one for its retention by adding a parameter that is younger than the signature, so only harmless
/// ones may be there.
fn check_unsigned_parameters(query: &str) -> Result<(), ErrorReply> {
    for (name, _) in uri::query_pairs(query) {
        let name = decoded(name);
        let is_known = SIGNED_PARAMETERS.contains(&&*name)
            || HARMLESS_PARAMETERS.contains(&&*name)
            || name.to_ascii_lowercase().starts_with("x-amz-");
        if !is_known {
            return Err(ErrorReply::new("AccessDenied", 403, "A parameter of the URL is not signed")
                .with("ParameterNotSigned", name));
        }
    }
    Ok(())
}

fn decoded(raw: &str) -> Cow<'_, str> {
    uri::decode_query(raw).unwrap_or(Cow::Borrowed(raw))
}

/// Verifies a POST form.
pub(crate) fn verify_post(
    fields: &PostFields<'_>,
    credentials: &dyn Credentials,
    now: Timestamp,
) -> Result<Authenticated, ErrorReply> {
    let access_key = fields.access_key_v2.ok_or_else(|| missing_field("AWSAccessKeyId"))?;
    let signature = fields.signature_v2.ok_or_else(|| missing_field("signature"))?;
    let key = find_key(credentials, access_key)?;
    check_token(key, fields.security_token.map(str::as_bytes), now)?;
    if !is_signature_of(key, fields.policy.as_bytes(), signature) {
        return Err(refusal::mismatch(&key.id, signature, fields.policy.as_bytes(), None));
    }
    Ok(authenticated(key, AuthMethod::V2Form, PayloadMode::Unsigned, now))
}

fn authenticated(
    key: &AccessKey,
    method: AuthMethod,
    payload: PayloadMode,
    signed_at: Timestamp,
) -> Authenticated {
    Authenticated {
        access_key: Arc::clone(&key.id),
        account: Arc::clone(&key.account),
        method,
        payload,
        signed_at,
        chunk_signer: None,
    }
}

fn verify(
    key: &AccessKey,
    request: &SignedRequest<'_>,
    date_line: &[u8],
    source: AmzSource,
    signature: &str,
) -> Result<(), ErrorReply> {
    let to_sign = string_to_sign(request, date_line, source, "");
    if is_signature_of(key, &to_sign, signature) {
        return Ok(());
    }
    // Amazon's clients sign a bucket named in the path with a slash that they do not send.
    let names_bucket = |path: &str| !path.is_empty() && !path.contains('/');
    let is_bucket =
        request.bucket_of_host.is_none() && request.path.strip_prefix('/').is_some_and(names_bucket);
    if is_bucket && is_signature_of(key, &string_to_sign(request, date_line, source, "/"), signature) {
        return Ok(());
    }
    Err(refusal::mismatch(&key.id, signature, &to_sign, None))
}

fn is_signature_of(key: &AccessKey, to_sign: &[u8], signature: &str) -> bool {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(key.secret.reveal().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(to_sign);
    unbase64(signature.as_bytes()).is_some_and(|signature| mac.verify_slice(&signature).is_ok())
}

/// The time of a header signature and the line that it has in the string to sign: empty if `x-amz-date` is
/// there, since that is then among the signed headers.
fn request_date(headers: &HeaderMap, now: Timestamp) -> Result<(Timestamp, &[u8]), ErrorReply> {
    let (value, line) = match (headers.get("x-amz-date"), headers.get("date")) {
        (Some(value), _) => (Some(value.as_bytes()), &[][..]),
        (None, Some(value)) => (Some(value.as_bytes()), value.as_bytes()),
        (None, None) => (None, &[][..]),
    };
    value
        .and_then(|value| Timestamp::parse_http(value, now).or_else(|| Timestamp::parse_basic(value)))
        .filter(|time| time.as_ms() >= 0)
        .map(|time| (time, line))
        .ok_or_else(|| {
            let text = "AWS authentication requires a valid Date or x-amz-date header";
            ErrorReply::new("AccessDenied", 403, text)
        })
}

/// Where the `x-amz-` lines of the string to sign come from: a presigned URL carries its own in the query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AmzSource {
    Headers,
    HeadersAndQuery,
}

fn string_to_sign(request: &SignedRequest<'_>, date: &[u8], source: AmzSource, path_end: &str) -> Vec<u8> {
    let header = |name| request.headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    let mut out = Vec::with_capacity(256);
    for line in [request.method.as_bytes(), header("content-md5"), header("content-type"), date] {
        out.extend_from_slice(line.trim_ascii());
        out.push(b'\n');
    }
    append_amz_lines(&mut out, request, source);
    append_resource(&mut out, request, path_end);
    out
}

fn append_amz_lines(out: &mut Vec<u8>, request: &SignedRequest<'_>, source: AmzSource) {
    let mut lines: Vec<(Cow<'_, str>, Vec<u8>)> = Vec::new();
    for name in request.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-")) {
        let mut joined = Vec::new();
        for (index, value) in request.headers.get_all(name).iter().enumerate() {
            if index > 0 {
                joined.push(b',');
            }
            joined.extend_from_slice(value.as_bytes().trim_ascii());
        }
        lines.push((Cow::Borrowed(name), joined));
    }
    if source == AmzSource::HeadersAndQuery {
        for (name, value) in uri::query_pairs(request.query.unwrap_or_default()) {
            let name = decoded(name).to_ascii_lowercase();
            if name.starts_with("x-amz-") {
                let mut trimmed = Vec::new();
                append_collapsed(&mut trimmed, decoded(value).as_bytes());
                lines.push((Cow::Owned(name), trimmed));
            }
        }
    }
    // The sort is stable and headers came first, so a parameter never stands for a header of the same name.
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    lines.dedup_by(|(later, _), (first, _)| later == first);
    for (name, value) in lines {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(&value);
        out.push(b'\n');
    }
}

/// The path as it was sent and `path_end`, the bucket before it if the host named it, and the parameters that
/// choose what is asked.
fn append_resource(out: &mut Vec<u8>, request: &SignedRequest<'_>, path_end: &str) {
    if let Some(bucket) = request.bucket_of_host {
        out.push(b'/');
        out.extend_from_slice(bucket.as_bytes());
    }
    out.extend_from_slice(if request.path.is_empty() { b"/" } else { request.path.as_bytes() });
    out.extend_from_slice(path_end.as_bytes());
    let mut parameters: Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> = request
        .query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value))))
        // Names are compared decoded, as the service will read them.
        .map(|(name, value)| (decoded(name), value))
        .filter(|(name, _)| SIGNED_PARAMETERS.contains(&&**name))
        // Here a plus stays a plus, unlike where the service reads the value.
        .map(|(name, value)| (name, value.map(|text| uri::decode_path(text).unwrap_or(Cow::Borrowed(text)))))
        .collect();
    parameters.sort();
    for (index, (name, value)) in parameters.iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name.as_bytes());
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
        }
    }
}

/// The parameters that are signed, sorted. The set is closed: what came to S3 after 2014 is not in it.
const SIGNED_PARAMETERS: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Parameters that a presigned URL may carry unsigned: its own three, what shapes a listing, and what changes
/// nothing.
const HARMLESS_PARAMETERS: [&str; 22] = [
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "content-md5",
    "content-type",
    "continuation-token",
    "date",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "x-id",
];
