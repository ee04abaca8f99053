//! Request headers as types: attributes of a new object, conditions, copy source, what is not implemented.
//! Invariant: metadata names are lower case; no `aws-chunked` is left in a stored Content-Encoding.

use aws::Timestamp;
use aws::acl::AclHeaders;
use aws::uri::decode_path;
use http_types::header::AsHeaderName;
use http_types::{HeaderMap, HeaderName, header};

use super::address::checked_key;
use super::error::{Code, Error};
use super::tags;
use crate::model::object::{CONTENT_TYPE_DEFAULT, STORAGE_CLASS_DEFAULT};
use crate::model::{
    Attributes, Conditions, EtagList, METADATA_BYTES_MAX, ObjectKey, SYSTEM_HEADER_BYTES_MAX, SystemHeader,
    VersionId,
};

/// The text of a header: the first of its name, blanks trimmed. Bytes that are not text count as absent.
#[must_use]
pub fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).map(str::trim)
}

/// Reads what the headers of a PUT, copy or CreateMultipartUpload set on the object. Owner and access list are the
/// caller's to decide.
pub fn attributes(headers: &HeaderMap, classes: &[String]) -> Result<Attributes, Error> {
    let mut stored = Vec::new();
    let mut system_bytes = 0;
    for (kind, name, _) in SystemHeader::ALL {
        let Some(value) = joined(headers, kind.header_name()) else { continue };
        let value = match kind {
            SystemHeader::ContentEncoding => without_aws_chunked(&value),
            _ => value,
        };
        system_bytes += name.len() + value.len();
        let is_dropped = value.is_empty() && kind != SystemHeader::ContentType;
        if !is_dropped {
            stored.push((kind, value));
        }
    }
    if system_bytes > SYSTEM_HEADER_BYTES_MAX {
        return Err(
            Error::from(Code::MetadataTooLarge).with("MaxSizeAllowed", SYSTEM_HEADER_BYTES_MAX.to_string())
        );
    }
    if !stored.iter().any(|(kind, _)| *kind == SystemHeader::ContentType) {
        stored.push((SystemHeader::ContentType, CONTENT_TYPE_DEFAULT.as_bytes().to_vec()));
    }
    let metadata = metadata(headers)?;
    let tags = match text(headers, "x-amz-tagging") {
        Some(tagging) => tags::parse_header(tagging)?,
        None => crate::model::Tags::default(),
    };
    let storage_class = storage_class(text(headers, "x-amz-storage-class"), classes)?;
    Ok(Attributes { headers: stored, metadata, tags, storage_class, owner: None, grants: None })
}

/// Checks a storage class against the configured ones.
pub fn storage_class(named: Option<&str>, classes: &[String]) -> Result<String, Error> {
    match named {
        None | Some("") => Ok(STORAGE_CLASS_DEFAULT.to_owned()),
        Some(class) if classes.iter().any(|known| known == class) => Ok(class.to_owned()),
        Some(class) => Err(Error::from(Code::InvalidStorageClass).with("StorageClassRequested", class)),
    }
}

/// User metadata. Repeated headers are joined by a comma, as HTTP does.
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut metadata: Vec<(String, Vec<u8>)> = Vec::new();
    for name in headers.keys() {
        if let Some(short) = name.as_str().strip_prefix("x-amz-meta-") {
            metadata.push((short.to_owned(), joined(headers, name).unwrap_or_default()));
        }
    }
    check_metadata(&metadata)?;
    Ok(metadata)
}

/// Refuses more user metadata than an object may have.
pub fn check_metadata(metadata: &[(String, Vec<u8>)]) -> Result<(), Error> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(Error::from(Code::MetadataTooLarge)
            .with("Size", bytes.to_string())
            .with("MaxSizeAllowed", METADATA_BYTES_MAX.to_string()));
    }
    Ok(())
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut values = headers.get_all(name).iter();
    let mut joined = values.next()?.as_bytes().trim_ascii().to_vec();
    for value in values {
        joined.push(b',');
        joined.extend_from_slice(value.as_bytes().trim_ascii());
    }
    Some(joined)
}

/// Takes `aws-chunked`, which is about the transfer and not the object, out of a Content-Encoding.
fn without_aws_chunked(value: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for token in value.split(|byte| *byte == b',') {
        let token = token.trim_ascii();
        if !token.is_empty() && !token.eq_ignore_ascii_case(b"aws-chunked") {
            kept.push(token);
        }
    }
    if kept.len() == value.split(|byte| *byte == b',').count() {
        // Nothing was taken out: the client's own spelling stays.
        return value.to_vec();
    }
    kept.join(&b","[..])
}

/// Whether the body is framed as aws-chunked. A Content-Encoding alone frames nothing: clients name it for an empty
/// body too.
#[must_use]
pub fn is_aws_chunked(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"))
}

/// The conditional headers of a read, write or delete. Dates that cannot be read are ignored.
#[must_use]
pub fn conditions(headers: &HeaderMap, now: Timestamp) -> Conditions {
    prefixed_conditions(headers, now, "")
}

/// The conditional headers about the source of a copy.
#[must_use]
pub fn source_conditions(headers: &HeaderMap, now: Timestamp) -> Conditions {
    prefixed_conditions(headers, now, "x-amz-copy-source-")
}

/// Most requests carry no condition, which one look at the names tells; the names themselves are looked up only then.
fn prefixed_conditions(headers: &HeaderMap, now: Timestamp, prefix: &str) -> Conditions {
    let is_condition = |name: &HeaderName| {
        let name = name.as_str().strip_prefix(prefix);
        name.is_some_and(|name| name.starts_with("if-") || name.starts_with("x-amz-if-"))
    };
    if !headers.keys().any(is_condition) {
        return Conditions::default();
    }
    let get = |name: &str| text(headers, format!("{prefix}{name}"));
    let date = |name: &str| get(name).and_then(|text| http_seconds(text, now));
    Conditions {
        if_match: get("if-match").map(EtagList::parse),
        if_none_match: get("if-none-match").map(EtagList::parse),
        if_modified_since: date("if-modified-since"),
        if_unmodified_since: date("if-unmodified-since"),
        if_modified_time: date("x-amz-if-match-last-modified-time"),
        if_size: get("x-amz-if-match-size").and_then(|text| text.parse().ok()),
    }
}

/// Which kinds of headers a request carries. One pass over the names answers the many questions for names that most
/// requests lack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kinds {
    /// Any `x-amz-` header beside those that every signed request has.
    is_amz: bool,
}

impl Kinds {
    /// Looks at every name once.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Kinds {
        const OF_SIGNATURES: [&str; 3] = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];
        let is_amz = |name: &str| name.starts_with("x-amz-") && !OF_SIGNATURES.contains(&name);
        Kinds { is_amz: headers.keys().any(|name| is_amz(name.as_str())) }
    }

    /// Whether a header of this name may be there. Not for those that belong to signatures.
    #[must_use]
    pub fn may_hold(self, name: &str) -> bool {
        self.is_amz || !name.starts_with("x-amz-")
    }
}

/// Seconds since 1970 of an HTTP date.
#[must_use]
pub fn http_seconds(text: &str, now: Timestamp) -> Option<u64> {
    let time = Timestamp::parse_http(text.as_bytes(), now)?;
    u64::try_from(time.as_seconds()).ok()
}

/// The source of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: ObjectKey,
    /// Its version, if one is named.
    pub version: Option<VersionId>,
}

/// Reads `x-amz-copy-source`: URL-encoded, with or without a leading slash, `?versionId=` behind.
pub fn copy_source(value: &str) -> Result<CopySource, Error> {
    let bad = |text: &'static str| Error::argument("x-amz-copy-source", value, text);
    let (path, version) = match value.rsplit_once("?versionId=") {
        Some((path, version)) => (path, Some(version)),
        None => (value, None),
    };
    let path = path.strip_prefix('/').unwrap_or(path);
    // Form-style, unlike a request's path: Amazon reads a plus as a blank here, and clients count on it.
    let path = path.replace('+', "%20");
    let decoded = decode_path(&path).map_err(|_| bad("Invalid copy source encoding"))?;
    let (bucket, key) = decoded
        .split_once('/')
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| bad("Invalid copy source object key"))?;
    let version = match version {
        Some(text) => Some(parse_version(text)?),
        None => None,
    };
    Ok(CopySource { bucket: bucket.to_owned(), key: checked_key(key.to_owned())?, version })
}

/// Reads a version id.
pub fn parse_version(text: &str) -> Result<VersionId, Error> {
    VersionId::parse(text).ok_or_else(|| Error::argument("versionId", text, "Invalid version id specified"))
}

/// Refuses headers that ask for encryption, which is not built: an object must never be taken for encrypted.
pub fn refuse_encryption(headers: &HeaderMap) -> Result<(), Error> {
    let asked = headers.keys().find(|name| {
        name.as_str().starts_with("x-amz-server-side-encryption")
            || name.as_str().starts_with("x-amz-copy-source-server-side-encryption")
    });
    match asked {
        Some(name) => Err(Error::from(Code::NotImplemented)
            .message("Server-side encryption is not implemented")
            .with("Header", name.as_str())),
        None => Ok(()),
    }
}

/// Refuses headers that ask for a lock, which is not built, and, where the bucket has no lock, as S3 does.
pub fn refuse_lock(headers: &HeaderMap, bucket_has_lock: bool) -> Result<(), Error> {
    let asked = headers.keys().find(|name| {
        name.as_str().starts_with("x-amz-object-lock-") && name.as_str() != "x-amz-object-lock-token"
    });
    match asked {
        Some(_) if !bucket_has_lock => Err(Error::request("Bucket is missing Object Lock Configuration")),
        Some(name) => Err(Error::from(Code::NotImplemented)
            .message("Retention of objects is not implemented")
            .with("Header", name.as_str())),
        None => Ok(()),
    }
}

/// Refuses headers of features that are not built and would change what a PUT means.
pub fn refuse_unbuilt(headers: &HeaderMap) -> Result<(), Error> {
    match headers.keys().find(|name| UNBUILT_HEADERS.contains(&name.as_str())) {
        Some(name) => Err(Error::from(Code::NotImplemented).with("Header", name.as_str())),
        None => Ok(()),
    }
}

const UNBUILT_HEADERS: [&str; 2] = ["x-amz-write-offset-bytes", "x-amz-rename-source"];

/// Content-MD5: base64 of 16 bytes, or InvalidDigest.
pub fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Error> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let bytes = aws::encoding::unbase64(value.as_bytes().trim_ascii());
    match bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
        Some(md5) => Ok(Some(md5)),
        None => Err(Code::InvalidDigest.into()),
    }
}

/// The number of body bytes after decoding, where the head says so. Errors: MissingContentLength for a body that
/// has neither a length nor a framing of its own.
pub fn announced_length(
    headers: &HeaderMap,
    version: http::Version,
    body: http::BodyLength,
) -> Result<Option<u64>, Error> {
    if is_aws_chunked(headers) {
        return match text(headers, "x-amz-decoded-content-length") {
            Some(text) => match text.parse::<u64>() {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(Error::argument("x-amz-decoded-content-length", text, "not a length")),
            },
            None => Err(Code::MissingContentLength.into()),
        };
    }
    match body {
        http::BodyLength::Known(length) => Ok(Some(length)),
        http::BodyLength::None if headers.contains_key(header::CONTENT_LENGTH) => Ok(Some(0)),
        // RFC 9113 8.1.1: HEADERS with END_STREAM are the framing of a body without bytes, and need no content-length.
        http::BodyLength::None if version == http::Version::H2 => Ok(Some(0)),
        http::BodyLength::None => Err(Code::MissingContentLength.into()),
        http::BodyLength::Unknown => Ok(None),
    }
}

/// The access list headers.
pub fn acl(headers: &HeaderMap, directory: &dyn aws::account::Directory) -> Result<AclHeaders, Error> {
    let is_list = |name: &HeaderName| {
        name.as_str().starts_with("x-amz-acl") || name.as_str().starts_with("x-amz-grant-")
    };
    if !headers.keys().any(is_list) {
        return Ok(AclHeaders::Absent);
    }
    Ok(AclHeaders::parse(headers, directory)?)
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderName, HeaderValue};

    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn classes() -> Vec<String> {
        vec!["STANDARD".into(), "COLD".into()]
    }

    #[test]
    fn aws_chunked_is_stripped_wherever_it_stands() {
        for (sent, stored) in [
            ("aws-chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, aws-chunked", Some("gzip")),
            ("gzip, AWS-chunked, br", Some("gzip,br")),
            ("gzip, br", Some("gzip, br")),
        ] {
            let found = attributes(&map(&[("content-encoding", sent)]), &classes()).expect("valid");
            let value = found.header(SystemHeader::ContentEncoding);
            assert_eq!(value, stored.map(str::as_bytes), "{sent}");
        }
    }

    #[test]
    fn metadata_is_bounded_and_repeated_headers_are_joined() {
        let headers = map(&[("x-amz-meta-a", "1"), ("x-amz-meta-a", "2"), ("x-amz-meta-b", "é")]);
        let found = attributes(&headers, &classes()).expect("valid");
        let mut metadata = found.metadata;
        metadata.sort();
        assert_eq!(metadata, [("a".into(), b"1,2".to_vec()), ("b".into(), "é".as_bytes().to_vec())]);
        let fits = "v".repeat(METADATA_BYTES_MAX - 1);
        assert!(attributes(&map(&[("x-amz-meta-a", &fits)]), &classes()).is_ok());
        let large = "v".repeat(METADATA_BYTES_MAX);
        let error = attributes(&map(&[("x-amz-meta-a", &large)]), &classes()).expect_err("large");
        assert!(error.is(Code::MetadataTooLarge));
    }

    #[test]
    fn classes_are_those_of_the_configuration() {
        let class = |name: &str| attributes(&map(&[("x-amz-storage-class", name)]), &classes());
        assert_eq!(class("COLD").expect("known").storage_class, "COLD");
        assert!(class("GLACIER").expect_err("unknown").is(Code::InvalidStorageClass));
        assert_eq!(attributes(&map(&[]), &classes()).expect("none").storage_class, "STANDARD");
    }

    #[test]
    fn copy_sources_are_read_in_every_spelling() {
        let id = "0000000000000000000000000000000a";
        for text in ["b/k", "/b/k", "b%2Fk", "%2Fb/k"] {
            let source = copy_source(text);
            if text.starts_with('%') {
                assert!(source.is_err(), "an encoded slash in front is part of the name");
                continue;
            }
            let source = source.expect(text);
            assert_eq!((source.bucket.as_str(), source.key.as_str(), source.version), ("b", "k", None));
        }
        let source = copy_source(&format!("/b/a%3FversionId%3Dx%2By+z?versionId={id}")).expect("valid");
        assert_eq!(source.key.as_str(), "a?versionId=x+y z");
        assert_eq!(source.version, VersionId::parse(id));
        for bad in ["", "b", "b/", "/", "b/k?versionId=zz", "b/%ff"] {
            assert!(copy_source(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_come_from_the_framing_that_is_used() {
        use http::BodyLength::{Known, None as NoBody, Unknown};
        use http::Version::{H2, H11};
        assert_eq!(announced_length(&map(&[]), H11, Known(5)).expect("known"), Some(5));
        assert!(announced_length(&map(&[]), H11, NoBody).expect_err("none").is(Code::MissingContentLength));
        assert_eq!(announced_length(&map(&[("content-length", "0")]), H11, NoBody).expect("empty"), Some(0));
        assert_eq!(announced_length(&map(&[]), H2, NoBody).expect("empty"), Some(0));
        assert_eq!(announced_length(&map(&[]), H2, Unknown).expect("streamed"), None);
        assert_eq!(announced_length(&map(&[]), H11, Unknown).expect("chunked"), None);
        let chunked = [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")];
        assert!(announced_length(&map(&chunked), H11, Known(90)).is_err());
        assert!(announced_length(&map(&chunked), H2, NoBody).is_err());
        let named = [("content-encoding", "gzip, aws-chunked"), ("content-length", "0")];
        assert_eq!(announced_length(&map(&named), H11, NoBody).expect("empty"), Some(0));
        let with = [chunked[0], ("x-amz-decoded-content-length", "66")];
        assert_eq!(announced_length(&map(&with), H11, Unknown).expect("decoded"), Some(66));
    }

    #[test]
    fn a_content_md5_that_is_none_is_refused_early() {
        assert!(content_md5(&map(&[("content-md5", "abc")])).expect_err("short").is(Code::InvalidDigest));
        assert!(content_md5(&map(&[("content-md5", "")])).is_err());
        let md5 = content_md5(&map(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")])).expect("valid");
        assert_eq!(md5.map(|md5| md5[0]), Some(0xd4));
    }

    #[test]
    fn encryption_is_refused_and_not_ignored() {
        let headers = map(&[("x-amz-server-side-encryption", "AES256")]);
        assert!(refuse_encryption(&headers).expect_err("asked").is(Code::NotImplemented));
        assert!(refuse_encryption(&map(&[])).is_ok());
    }
}
