//! Requests of the object service: addresses, headers and documents.
//! Invariant: an empty name of a bucket or a key never leaves here, since it would address what lies above it.

use cloudkit_core::api::{PutCondition, PutStreamOptions};
use cloudkit_core::common::{CloudError, CloudResult, Metadata};
use http_types::Method;
use http_types::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::call::Request;
use crate::encode;
use crate::service::ServiceClient;
use crate::xml;

/// A request to the bucket itself, or with "" to the service.
pub fn of_bucket(method: Method, bucket: &str) -> Request {
    Request::new("s3", method, encode::object_path(bucket, None))
}

/// A request to an object.
pub fn of_object(method: Method, bucket: &str, key: &str) -> Request {
    Request::new("s3", method, encode::object_path(bucket, Some(key)))
}

/// A bucket is named. Errors: Validation.
pub fn check_bucket(bucket: &str) -> CloudResult<()> {
    if bucket.is_empty() {
        return Err(CloudError::Validation("the name of the bucket is empty".into()));
    }
    Ok(())
}

/// A bucket and a key are named. Errors: Validation.
pub fn check_object(bucket: &str, key: &str) -> CloudResult<()> {
    check_bucket(bucket)?;
    if key.is_empty() {
        return Err(CloudError::Validation("the key is empty".into()));
    }
    if key.len() > KEY_BYTES_MAX {
        let words = format!("the key has {} bytes, more than {KEY_BYTES_MAX}", key.len());
        return Err(CloudError::Validation(words));
    }
    Ok(())
}

/// Sets a header to a text. Errors: Validation, for one that no header can hold.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> CloudResult<()> {
    // S3 takes metadata in UTF-8, which RFC 9110 5.5 calls obs-text.
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        CloudError::Validation(format!("the value of {name} has characters that no header can hold"))
    })?;
    headers.insert(name, value);
    Ok(())
}

/// Headers, metadata and tags of an object that is written. Errors: Validation.
pub fn describe(headers: &mut HeaderMap, options: &PutStreamOptions) -> CloudResult<()> {
    for (name, value) in [
        (header::CONTENT_TYPE, &options.content_type),
        (header::CACHE_CONTROL, &options.cache_control),
        (header::CONTENT_ENCODING, &options.content_encoding),
        (STORAGE_CLASS, &options.storage_class),
    ] {
        if let Some(value) = value {
            set(headers, name, value)?;
        }
    }
    for (name, value) in &options.metadata {
        let full = [METADATA_PREFIX, name].concat();
        let header = HeaderName::from_bytes(full.as_bytes()).ok().filter(|_| !name.is_empty());
        let header =
            header.ok_or_else(|| CloudError::Validation(format!("{name:?} is no name for metadata")))?;
        if headers.contains_key(&header) {
            let words = format!("the metadata has {name:?} twice: its names are not sensitive to case");
            return Err(CloudError::Validation(words));
        }
        set(headers, header, value)?;
    }
    if !options.tags.is_empty() {
        set(headers, TAGGING, &tag_form(&options.tags))?;
    }
    Ok(())
}

/// When the put takes effect. Errors: Validation.
pub fn condition(headers: &mut HeaderMap, condition: Option<&PutCondition>) -> CloudResult<()> {
    match condition {
        None => Ok(()),
        Some(PutCondition::Absent) => set(headers, header::IF_NONE_MATCH, "*"),
        Some(PutCondition::Matches(etag)) => set(headers, header::IF_MATCH, &quoted(etag)),
        Some(other) => Err(CloudError::Validation(format!("the condition {other:?} is not known here"))),
    }
}

/// Asks for the checksum of the whole object.
pub fn want_checksum(headers: &mut HeaderMap) {
    headers.insert(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
}

/// Gives a request a document and its checksum.
pub fn set_document(request: &mut Request, document: String) -> CloudResult<()> {
    let checksum = crate::checksum::crc64nvme_of(document.as_bytes());
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    set(&mut request.headers, CRC64NVME, &checksum)?;
    request.body = bytes::Bytes::from(document).into();
    Ok(())
}

/// An entity tag as it stands in headers: in quotes, unless it comes so or is any tag.
pub fn quoted(etag: &str) -> String {
    if etag.starts_with('"') || etag.starts_with("W/") || etag == "*" {
        etag.to_string()
    } else {
        format!("\"{etag}\"")
    }
}

/// The value of a copy source: path and, of a version, its id.
pub fn copy_source(bucket: &str, key: &str) -> String {
    encode::object_path(bucket, Some(key))
}

/// Tags as a header has them, in the order of their keys.
pub fn tag_form(tags: &Metadata) -> String {
    let mut pairs: Vec<(&str, &str)> =
        tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    pairs.sort_unstable();
    encode::form(&pairs)
}

/// The document of PutObjectTagging.
pub fn tag_document(tags: &Metadata) -> String {
    let mut pairs: Vec<(&String, &String)> = tags.iter().collect();
    pairs.sort_unstable();
    let mut document = format!("<Tagging xmlns=\"{NAMESPACE}\"><TagSet>");
    for (key, value) in pairs {
        document.push_str("<Tag><Key>");
        xml::append_text(&mut document, key);
        document.push_str("</Key><Value>");
        xml::append_text(&mut document, value);
        document.push_str("</Value></Tag>");
    }
    document.push_str("</TagSet></Tagging>");
    document
}

/// The document of PutBucketVersioning.
pub fn versioning_document(is_enabled: bool) -> String {
    let status = if is_enabled { "Enabled" } else { "Suspended" };
    format!(
        "<VersioningConfiguration xmlns=\"{NAMESPACE}\"><Status>{status}</Status></VersioningConfiguration>"
    )
}

/// The document of DeleteObjects, whose answer tells only what failed.
pub fn delete_document<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut document = format!("<Delete xmlns=\"{NAMESPACE}\"><Quiet>true</Quiet>");
    for key in keys {
        document.push_str("<Object><Key>");
        xml::append_text(&mut document, key);
        document.push_str("</Key></Object>");
    }
    document.push_str("</Delete>");
    document
}

/// The end of a call that is given some time from now.
pub fn deadline_of(duration: Option<std::time::Duration>) -> Option<tokio::time::Instant> {
    // A deadline beyond what a clock can say is none.
    duration.and_then(|duration| tokio::time::Instant::now().checked_add(duration))
}

/// A value of a header as text; what is no UTF-8 has replacement characters.
pub fn text_of(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// What an answer must name. Errors: the answer is not that of the protocol.
pub fn required<T>(
    client: &ServiceClient,
    operation: &crate::service::Operation<'_>,
    value: Option<T>,
    what: &str,
) -> Result<T, cloudkit_core::common::Failure> {
    value.ok_or_else(|| client.malformed(operation, &format!("{what} is missing")))
}

/// The longest key, as S3 has it.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Of user metadata.
pub const METADATA_PREFIX: &str = "x-amz-meta-";
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// `x-amz-checksum-crc64nvme`.
pub const CRC64NVME: HeaderName = HeaderName::from_static(crate::checksum::CRC64NVME_NAME);
/// `x-amz-checksum-type`.
pub const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
/// `x-amz-checksum-algorithm`.
pub const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
/// `x-amz-copy-source`.
pub const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
/// `x-amz-copy-source-if-match`.
pub const COPY_SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
/// `x-amz-copy-source-range`.
pub const COPY_SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
/// `x-amz-storage-class`.
pub const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
/// `x-amz-tagging`.
pub const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
/// `x-amz-version-id`.
pub const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_long_names_are_refused() {
        assert!(check_object("b", &"k".repeat(KEY_BYTES_MAX)).is_ok());
        let long = "ü".repeat(KEY_BYTES_MAX / 2 + 1);
        for (bucket, key) in [("", "k"), ("b", ""), ("b", long.as_str())] {
            assert!(matches!(check_object(bucket, key), Err(CloudError::Validation(_))));
        }
    }

    #[test]
    fn options_are_headers() {
        let options =
            PutStreamOptions::new().content_type("text/plain").metadata("Who", "é b").tag("b", "2&");
        let mut headers = HeaderMap::new();
        describe(&mut headers, &options.tag("a", "1")).expect("they fit");
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers["x-amz-meta-who"].as_bytes(), "é b".as_bytes());
        assert_eq!(headers["x-amz-tagging"], "a=1&b=2%26");
    }

    #[test]
    fn what_no_header_can_hold_is_refused() {
        for options in [
            PutStreamOptions::new().content_type("a\nb"),
            PutStreamOptions::new().metadata("a b", "1"),
            PutStreamOptions::new().metadata("", "1"),
            PutStreamOptions::new().metadata("a", "1\r\nx: y"),
            PutStreamOptions::new().metadata("a", "1").metadata("A", "2"),
        ] {
            let refused = describe(&mut HeaderMap::new(), &options);
            assert!(matches!(refused, Err(CloudError::Validation(_))), "{options:?}");
        }
    }

    #[test]
    fn conditions_quote_what_is_not_quoted() {
        let mut headers = HeaderMap::new();
        condition(&mut headers, Some(&PutCondition::Matches("abc".into()))).expect("it fits");
        condition(&mut headers, Some(&PutCondition::Absent)).expect("it fits");
        assert_eq!(
            (&headers["if-match"], &headers["if-none-match"]),
            (&"\"abc\"".parse().unwrap(), &"*".parse().unwrap())
        );
        assert_eq!([quoted("\"a\""), quoted("W/\"a\""), quoted("*")], ["\"a\"", "W/\"a\"", "*"]);
    }

    #[test]
    fn documents_are_well_formed() {
        let tags = Metadata::from([("a<".to_string(), "1\n".to_string())]);
        let root = xml::Element::parse(tag_document(&tags).as_bytes()).expect("it is XML");
        assert_eq!(root.at(&["TagSet", "Tag", "Key"]).map(xml::Element::text), Some("a<"));
        let root =
            xml::Element::parse(delete_document(["a&", "b\r"].into_iter()).as_bytes()).expect("it is XML");
        let keys: Vec<_> = root.children("Object").filter_map(|object| object.text_of("Key")).collect();
        assert_eq!(keys, ["a&", "b\r"]);
        assert!(versioning_document(true).contains("<Status>Enabled<"));
    }
}
