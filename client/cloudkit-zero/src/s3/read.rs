//! Answers of the object service: documents and headers as the types of the core.
//! Invariant: what is missing or has another form is told, never guessed; listings come with encoded names, which are decoded here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use cloudkit_core::api::{ChecksumAlgorithm, ObjectVersion, PutResult};
use cloudkit_core::common::{BucketMetadata, Metadata, ObjectMetadata};
use http_types::header::{self, HeaderMap};

use super::request::{CRC64NVME, METADATA_PREFIX, STORAGE_CLASS, VERSION_ID, text_of};
use crate::date;
use crate::encode;
use crate::xml::Element;

/// A part of a listing, and where the next one begins.
#[derive(Debug)]
pub struct Page<T> {
    /// In the order of the answer.
    pub items: Vec<T>,
    /// None: this is the last one.
    pub next_token: Option<String>,
}

/// The words for what is wrong with an answer.
type Read<T> = Result<T, String>;

/// Reads a document. Errors: it is none.
pub fn document(body: &[u8]) -> Read<Element> {
    Element::parse(body).map_err(|error| error.message().to_string())
}

/// A page of buckets, which are in `region` unless they say otherwise.
pub fn buckets(root: &Element, region: &str) -> Read<Page<BucketMetadata>> {
    let mut items = Vec::new();
    for bucket in root.child("Buckets").map_or(&[][..], Element::elements) {
        let mut metadata = BucketMetadata::new(text(bucket, "Name")?, region);
        metadata.created_at = time(text(bucket, "CreationDate")?)?;
        if let Some(region) = bucket.text_of("BucketRegion") {
            metadata.region = region.to_string();
        }
        items.push(metadata);
    }
    let next_token = root.text_of("ContinuationToken").filter(|token| !token.is_empty()).map(String::from);
    Ok(Page { items, next_token })
}

/// A page of objects.
pub fn objects(root: &Element) -> Read<Page<ObjectMetadata>> {
    let names = Names::of(root);
    let items = root.children("Contents").map(|entry| {
        Ok(ObjectMetadata {
            key: names.read(text(entry, "Key")?)?,
            size: number(entry, "Size")?,
            content_type: None,
            etag: entry.text_of("ETag").map(unquoted),
            last_modified: time(text(entry, "LastModified")?)?,
            storage_class: entry.text_of("StorageClass").map(String::from),
            metadata: Metadata::new(),
        })
    });
    let items = items.collect::<Read<Vec<_>>>()?;
    let next_token =
        if is_truncated(root)? { Some(text(root, "NextContinuationToken")?.to_string()) } else { None };
    Ok(Page { items, next_token })
}

/// What the delimiter groups on a page of objects.
pub fn folders(root: &Element) -> Read<Vec<String>> {
    let names = Names::of(root);
    root.children("CommonPrefixes").map(|group| names.read(text(group, "Prefix")?)).collect()
}

/// A page of versions. Its token holds both markers of the next one.
pub fn versions(root: &Element) -> Read<Page<ObjectVersion>> {
    let names = Names::of(root);
    let mut items = Vec::new();
    for entry in root.elements() {
        let is_delete_marker = match entry.name() {
            "Version" => false,
            "DeleteMarker" => true,
            _ => continue,
        };
        let mut version = ObjectVersion::new(names.read(text(entry, "Key")?)?, text(entry, "VersionId")?);
        version.is_latest = text(entry, "IsLatest")? == "true";
        version.is_delete_marker = is_delete_marker;
        if !is_delete_marker {
            version.size = number(entry, "Size")?;
            version.etag = entry.text_of("ETag").map(unquoted);
        }
        version.last_modified = Some(time(text(entry, "LastModified")?)?);
        items.push(version);
    }
    let next_token = if is_truncated(root)? {
        let key = names.read(text(root, "NextKeyMarker")?)?;
        Some(version_token(&key, root.text_of("NextVersionIdMarker").unwrap_or_default()))
    } else {
        None
    };
    Ok(Page { items, next_token })
}

/// Both markers in one text: `key&version`, encoded.
pub fn version_token(key: &str, version_id: &str) -> String {
    let mut token = String::new();
    encode::append_component(&mut token, key);
    token.push('&');
    encode::append_component(&mut token, version_id);
    token
}

/// The markers in a token; None for a text that is none.
pub fn version_markers(token: &str) -> Option<(String, String)> {
    let (key, version_id) = token.split_once('&')?;
    Some((encode::decode(key)?, encode::decode(version_id)?))
}

/// The tags of an object.
pub fn tags(root: &Element) -> Read<Metadata> {
    let set = root.child("TagSet").ok_or("TagSet is missing")?;
    set.children("Tag")
        .map(|tag| Ok((text(tag, "Key")?.to_string(), text(tag, "Value")?.to_string())))
        .collect()
}

/// Keys that were not deleted, with code and message.
pub fn delete_errors(root: &Element) -> Vec<[String; 3]> {
    let part = |error: &Element, name: &str| error.text_of(name).unwrap_or_default().to_string();
    root.children("Error").map(|error| ["Key", "Code", "Message"].map(|name| part(error, name))).collect()
}

/// What the headers of a HEAD or a GET say of an object. `size` is that of the whole object.
pub fn object(headers: &HeaderMap, key: &str, size: u64) -> Read<ObjectMetadata> {
    let modified = text_of(headers, header::LAST_MODIFIED).ok_or("Last-Modified is missing")?;
    let seconds = date::parse_http_date(&modified).ok_or("Last-Modified is no date")?;
    let mut metadata = Metadata::new();
    for name in headers.keys() {
        if let Some(short) = name.as_str().strip_prefix(METADATA_PREFIX)
            && let Some(value) = text_of(headers, name)
        {
            metadata.insert(short.to_string(), decode_words(&value).unwrap_or(value));
        }
    }
    Ok(ObjectMetadata {
        key: key.to_string(),
        size,
        content_type: text_of(headers, header::CONTENT_TYPE),
        etag: etag(headers),
        last_modified: at_second(seconds)?,
        storage_class: text_of(headers, STORAGE_CLASS),
        metadata,
    })
}

/// The entity tag of an answer, without its quotes.
pub fn etag(headers: &HeaderMap) -> Option<String> {
    text_of(headers, header::ETAG).as_deref().map(unquoted)
}

/// What a put gives back.
pub fn put_result(headers: &HeaderMap) -> PutResult {
    let mut result = PutResult::new();
    result.etag = etag(headers);
    result.version_id = text_of(headers, VERSION_ID);
    match text_of(headers, CRC64NVME) {
        Some(value) => result.with_checksum(ChecksumAlgorithm::Crc64Nvme, value),
        None => result,
    }
}

/// First byte and size of the whole, of `bytes 5-9/20`. None for another form, and where the size is not told.
pub fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let value = text_of(headers, header::CONTENT_RANGE)?;
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()?))
}

/// The length that a head tells.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// An entity tag without its quotes.
pub fn unquoted(etag: &str) -> String {
    etag.trim().trim_matches('"').to_string()
}

/// Text behind the encoded words (RFC 2047 2) as which S3 gives back metadata beyond ASCII. None for a text that is not all such
/// words, which is as it was put.
fn decode_words(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for word in value.split(' ') {
        let word = word.strip_prefix("=?")?.strip_suffix("?=")?;
        let (charset, rest) = word.split_once('?')?;
        let (encoding, text) = rest.split_once('?')?;
        if !charset.eq_ignore_ascii_case("utf-8") {
            return None;
        }
        match encoding {
            "B" | "b" => bytes.extend(STANDARD.decode(text).ok()?),
            // Percent signs and `=` change places, and `_` is a space.
            "Q" | "q" => {
                let text = text.replace('%', "=25").replace('+', "=2B").replace('=', "%").replace('_', "+");
                bytes.extend(encode::decode(&text)?.into_bytes());
            }
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

/// How names stand in a listing.
struct Names {
    is_encoded: bool,
}

impl Names {
    fn of(root: &Element) -> Names {
        Names { is_encoded: root.text_of("EncodingType") == Some("url") }
    }

    fn read(&self, name: &str) -> Read<String> {
        if !self.is_encoded {
            return Ok(name.to_string());
        }
        encode::decode(name).ok_or_else(|| String::from("a name is not encoded as the listing says"))
    }
}

fn text<'a>(element: &'a Element, name: &str) -> Read<&'a str> {
    element.text_of(name).ok_or_else(|| format!("{name} is missing in {}", element.name()))
}

fn number(element: &Element, name: &str) -> Read<u64> {
    text(element, name)?.trim().parse().map_err(|_| format!("{name} is no number"))
}

fn is_truncated(root: &Element) -> Read<bool> {
    match text(root, "IsTruncated")? {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("IsTruncated is neither true nor false".into()),
    }
}

/// A time of a document, to the second.
fn time(text: &str) -> Read<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| format!("{text:?} is no time"))?;
    at_second(u64::try_from(time.timestamp()).map_err(|_| format!("{text:?} is before 1970"))?)
}

fn at_second(seconds: u64) -> Read<DateTime<Utc>> {
    let seconds = i64::try_from(seconds).ok();
    seconds
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or_else(|| "a time is out of range".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_types::HeaderValue;

    fn parse(text: &str) -> Element {
        document(text.as_bytes()).expect("it is XML")
    }

    #[test]
    fn a_page_of_objects_is_read() {
        let page = objects(&parse(
            "<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t</NextContinuationToken><Contents><Key>a%20b+c%2B</Key>\
             <LastModified>2026-02-06T01:02:03.456Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size>\
             <StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>\
             </ListBucketResult>",
        ))
        .expect("it is a page");
        assert_eq!(page.next_token.as_deref(), Some("t"));
        let [object] = &page.items[..] else { panic!("{page:?}") };
        assert_eq!((object.key.as_str(), object.size, object.etag.as_deref()), ("a b c+", 7, Some("e")));
        assert_eq!(object.last_modified.to_rfc3339(), "2026-02-06T01:02:03+00:00");
    }

    #[test]
    fn versions_keep_their_order_and_their_markers_one_token() {
        let page = versions(&parse(
            "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k&amp;</NextKeyMarker>\
             <NextVersionIdMarker>v1</NextVersionIdMarker>\
             <DeleteMarker><Key>k</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest>\
             <LastModified>2026-01-01T00:00:00Z</LastModified></DeleteMarker>\
             <Version><Key>k</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><Size>1</Size>\
             <LastModified>2026-01-01T00:00:00Z</LastModified><ETag>x</ETag></Version></ListVersionsResult>",
        ))
        .expect("it is a page");
        let told: Vec<_> =
            page.items.iter().map(|one| (one.version_id.as_str(), one.is_delete_marker)).collect();
        assert_eq!(told, [("v3", true), ("v2", false)]);
        let token = page.next_token.expect("there is more");
        assert_eq!(version_markers(&token), Some(("k&".into(), "v1".into())));
        assert_eq!(version_markers("none"), None);
    }

    #[test]
    fn an_answer_that_lacks_something_is_refused_with_its_name() {
        for (text, missing) in [
            ("<L/>", "IsTruncated"),
            ("<L><IsTruncated>true</IsTruncated></L>", "NextContinuationToken"),
            ("<L><IsTruncated>maybe</IsTruncated></L>", "IsTruncated"),
            ("<L><IsTruncated>false</IsTruncated><Contents/></L>", "Key"),
            (
                "<L><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>x</Size></Contents></L>",
                "Size",
            ),
        ] {
            let words = objects(&parse(text)).expect_err(text);
            assert!(words.contains(missing), "{text}: {words}");
        }
        assert!(tags(&parse("<Tagging/>")).is_err());
    }

    #[test]
    fn headers_are_the_facts_of_an_object() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("etag", "\"abc-2\""),
            ("x-amz-meta-who", "me"),
            ("content-type", "text/plain"),
            ("content-range", "bytes 5-9/20"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let facts = object(&headers, "k", 20).expect("all is there");
        assert_eq!((facts.etag.as_deref(), facts.metadata["who"].as_str()), (Some("abc-2"), "me"));
        assert_eq!(facts.last_modified.timestamp(), 784_111_777);
        assert_eq!(content_range(&headers), Some((5, 20)));
        headers.remove("last-modified");
        assert!(object(&headers, "k", 20).is_err());
    }

    #[test]
    fn metadata_beyond_ascii_comes_out_of_its_encoded_words() {
        for (word, text) in [
            ("=?UTF-8?B?w6k=?=", Some("é")),
            ("=?utf-8?b?w6k=?= =?UTF-8?Q?_=C3=A9%+?=", Some("é é%+")),
            ("plain", None),
            ("=?UTF-8?B?!?=", None),
            ("=?ISO-8859-1?Q?=E9?=", None),
            ("=?UTF-8?B?w6k=?= plain", None),
            ("", None),
        ] {
            assert_eq!(decode_words(word).as_deref(), text, "{word}");
        }
    }

    #[test]
    fn buckets_and_tags_are_read() {
        let root = parse(
            "<ListAllMyBucketsResult><Owner/><Buckets><Bucket><Name>b</Name>\
             <CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>",
        );
        let page = buckets(&root, "us-east-1").expect("it is a page");
        assert_eq!((page.items[0].name.as_str(), page.items[0].region.as_str()), ("b", "us-east-1"));
        assert_eq!(page.next_token, None);
        let root = parse("<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>");
        assert_eq!(tags(&root).expect("they are tags"), Metadata::from([("a".into(), "1".into())]));
    }
}
