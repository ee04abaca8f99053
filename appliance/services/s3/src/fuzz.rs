//! Targets for fuzzing: each takes any bytes and panics if an invariant of the crate does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them, and an ordinary test replays `corpus/` and mutations
//! of it through them. `TARGETS` names each with the directory of its corpus.

use std::sync::Arc;

use aws::Timestamp;
use aws::account::{Account, AccountId, CanonicalId, KeyRing};
use aws::acl::{Acl, Grantee};
use aws::uri;
use http_types::{HeaderMap, HeaderName, HeaderValue, Method};
use plan::BodyFilter;

use crate::model::checksum::ALGORITHM_DEFAULT;
use crate::model::{
    BUCKET_TAG_COUNT_MAX, BucketName, Checksum, ChecksumType, Conditions, DELETE_KEY_COUNT_MAX, Etag,
    EtagList, KEY_BYTES_MAX, METADATA_BYTES_MAX, OBJECT_TAG_COUNT_MAX, ObjectKey, PART_COUNT_MAX, PartNumber,
    Subject, SystemHeader, Tags, UploadId, Verdict, VersionId, VersionNumber,
};
use crate::ops::{bucket, complete_upload, delete_objects};
use crate::router;
use crate::store::bucket::BucketRecord;
use crate::store::record::{Summary, VersionRecord};
use crate::store::upload::{CompletedRecord, ManifestPage, PartRecord, UploadRecord};
use crate::wire::checksum::Announced;
use crate::wire::error::Error;
use crate::wire::form::{self, Fields, FileFilter, HeadReader};
use crate::wire::headers::{self, CopySource};
use crate::wire::policy::Policy;
use crate::wire::query::Query;
use crate::wire::token::Position;
use crate::wire::{acl, address, range, reply, tags};

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the directory of its corpus.
pub const TARGETS: [(&str, Target); 11] = [
    ("documents", documents),
    ("address", address),
    ("tags", tagging),
    ("range", ranges),
    ("form", forms),
    ("policy", policies),
    ("tokens", tokens),
    ("conditions", conditions),
    ("copy_source", copy_source),
    ("headers", attributes),
    ("records", records),
];

/// What a date without a century is read by.
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// The XML documents that clients send. Each is offered to every reader; its root says which may take it.
pub fn documents(input: &[u8]) {
    for count_max in [OBJECT_TAG_COUNT_MAX, BUCKET_TAG_COUNT_MAX] {
        if let Ok(set) = tags::parse_document(input, count_max) {
            assert!(set.pairs().len() <= count_max);
            assert_eq!(tags::parse_document(&tags::write_document(&set), count_max).ok(), Some(set));
        }
    }
    let (ring, owner) = directory();
    if let Ok(mut grants) = acl::parse(input, owner, &ring) {
        let written = acl::write(&Acl { owner, grants: grants.clone() }, &ring);
        grants.sort_by_key(|grant| matches!(grant.grantee, Grantee::Account(_)));
        assert_eq!(acl::parse(&written, owner, &ring).ok(), Some(grants));
    }
    if let Ok(request) = delete_objects::parse(input, NOW) {
        assert!((1..=DELETE_KEY_COUNT_MAX).contains(&request.items.len()));
        for item in request.items {
            match item.deletion {
                Ok(deletion) => assert_eq!(deletion.key.as_str(), item.key),
                Err(error) => refused(&error),
            }
        }
    }
    if let Ok(parts) = complete_upload::parse(input) {
        assert!((1..=usize::from(PART_COUNT_MAX)).contains(&parts.len()));
        assert!(parts.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(parts.iter().all(|part| part.etag == part.etag.to_ascii_lowercase()));
    }
    if let Ok(block) = bucket::read_block(input) {
        assert_eq!(bucket::read_block(&bucket::write_block(block)).ok(), Some(block));
    }
}

/// An account that documents may name: its id is derived from `111111111111`, its e-mail is `alt@example.test`.
fn directory() -> (KeyRing, CanonicalId) {
    let id = AccountId::parse("111111111111").expect("twelve digits");
    let mut account = Account::new(id, "alt");
    account.email = Some("alt@example.test".into());
    let owner = account.canonical_id;
    let mut ring = KeyRing::default();
    ring.add_account(Arc::new(account));
    (ring, owner)
}

/// What a client did wrong is never an error of ours.
fn refused(error: &Error) {
    assert!((400..500).contains(&error.reply.status) || error.reply.status == 501, "{error:?}");
}

/// Method, raw path with query, and authority, one on each line: where they lead.
pub fn address(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let (Some(method), Some(target)) = (lines.next(), lines.next()) else { return };
    // The HTTP layer refuses control characters in a host.
    let authority = lines.next().filter(|authority| !authority.bytes().any(|byte| byte.is_ascii_control()));
    let bases = ["Localhost".to_owned(), "s3.Example.test".to_owned(), "example.test".to_owned()];
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let found = match address::parse(path, authority, &bases) {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    let by_host = authority.and_then(|authority| bucket_of(authority, &bases));
    if let Some(bucket) = &by_host {
        assert_eq!(found.bucket.as_ref(), Some(bucket));
    }
    if let Some(key) = &found.key {
        assert!((1..=KEY_BYTES_MAX).contains(&key.as_bytes().len()) && !key.as_bytes().contains(&0));
        // The same key in the other style, and written anew.
        let bucket = found.bucket.as_deref().expect("a key lies in a bucket");
        let again = format!("/{}/{}", uri::encode(bucket), uri::encode_path(key.as_str()));
        let again = address::parse(&again, None, &[]).expect("a written address is valid");
        assert_eq!((again.bucket.as_deref(), again.key.as_ref()), (Some(bucket), Some(key)));
    }
    let query = match Query::parse(query) {
        Ok(query) => query,
        Err(error) => return refused(&error),
    };
    let written: Vec<_> =
        query.iter().map(|(name, value)| format!("{}={}", uri::encode(name), uri::encode(value))).collect();
    let again = Query::parse(Some(&written.join("&"))).expect("a written query is valid");
    // An empty pair, as between two ampersands, is no parameter once it is written with its equals sign.
    assert_eq!(filled(&again), filled(&query));
    if let Ok(size) = query.page_size("max-keys", 1_000) {
        assert!(size <= 1_000);
    }
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    for names_source in [false, true] {
        let mut headers = HeaderMap::new();
        if names_source {
            headers.insert("x-amz-copy-source", HeaderValue::from_static("b/k"));
        }
        match router::route(&method, &found, &query, &headers) {
            // A bare sub-resource must never be taken for the plain bucket or object.
            Ok(row) => assert!(!query.has("acl") || !PLAIN.contains(&row.name), "{}", row.name),
            Err(error) => refused(&error),
        }
    }
}

/// What a request without any sub-resource means.
const PLAIN: [&str; 9] = [
    "ListBuckets",
    "CreateBucket",
    "HeadBucket",
    "DeleteBucket",
    "ListObjects",
    "PutObject",
    "GetObject",
    "HeadObject",
    "DeleteObject",
];

fn filled(query: &Query) -> Vec<(&str, &str)> {
    query.iter().filter(|(name, value)| !name.is_empty() || !value.is_empty()).collect()
}

/// The plainest way to say which bucket a host names, to compare with.
fn bucket_of(authority: &str, bases: &[String]) -> Option<String> {
    let authority = authority.to_ascii_lowercase();
    let host = match authority.rfind(':') {
        Some(at) => &authority[..at],
        None => &authority,
    };
    let host = host.trim_end_matches('.');
    let bases: Vec<String> = bases.iter().map(|base| base.to_ascii_lowercase()).collect();
    if authority.starts_with('[') || bases.iter().any(|base| base == host) {
        return None;
    }
    let labels = bases.iter().filter_map(|base| host.strip_suffix(&format!(".{base}")));
    labels.filter(|labels| !labels.is_empty()).min_by_key(|labels| labels.len()).map(str::to_owned)
}

/// The x-amz-tagging header.
pub fn tagging(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match tags::parse_header(text) {
        Ok(set) => {
            let pairs = set.pairs().iter();
            let written: Vec<_> =
                pairs.map(|(key, value)| format!("{}={}", uri::encode(key), uri::encode(value))).collect();
            assert_eq!(tags::parse_header(&written.join("&")).ok().as_ref(), Some(&set));
            let document = tags::write_document(&set);
            assert_eq!(tags::parse_document(&document, OBJECT_TAG_COUNT_MAX).ok().as_ref(), Some(&set));
            assert_eq!(Tags::new(set.pairs().to_vec(), OBJECT_TAG_COUNT_MAX), Ok(set));
        }
        Err(error) => refused(&error),
    }
}

/// The Range header and that of UploadPartCopy.
pub fn ranges(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = range::parse(text);
    if let Some((first, last)) = range::parse_copy(text) {
        assert!(first <= last);
        assert_eq!(parsed, Some(range::ByteRange::From(first, Some(last))));
    }
    let Some(parsed) = parsed else { return };
    let written = match parsed {
        range::ByteRange::From(first, Some(last)) => format!("bytes={first}-{last}"),
        range::ByteRange::From(first, None) => format!("bytes={first}-"),
        range::ByteRange::Last(count) => format!("bytes=-{count}"),
    };
    assert_eq!(range::parse(&written), Some(parsed));
    for size in [0, 1, 2, 10, 1_000, 5 << 40, u64::MAX] {
        let Some(span) = parsed.resolve(size) else { continue };
        let end = span.start.checked_add(span.length).expect("a span ends");
        assert!(span.length > 0 && end <= size);
        match parsed {
            range::ByteRange::From(first, last) => {
                assert_eq!(span.start, first);
                assert!(last.is_none_or(|last| end - 1 <= last) && (end == size || last == Some(end - 1)));
            }
            range::ByteRange::Last(count) => assert!(end == size && span.length == count.min(size)),
        }
    }
}

/// A form: the first byte says how it is cut, a Content-Type follows up to the line end, then the body. It must read
/// alike whole, byte by byte and in odd pieces.
pub fn forms(input: &[u8]) {
    let Some((cut, rest)) = input.split_first() else { return };
    let Some(line) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let (content_type, body) = (&rest[..line], &rest[line + 1..]);
    let Ok(content_type) = std::str::from_utf8(content_type) else { return };
    let Some(boundary) = form::boundary(content_type) else { return };
    assert!((1..=70).contains(&boundary.len()));
    let whole = read_form(&boundary, body, usize::MAX);
    assert_eq!(read_form(&boundary, body, 1), whole);
    assert_eq!(read_form(&boundary, body, 1 + usize::from(*cut)), whole);
    let Some((_, _, Some(file))) = &whole else { return };
    let delimiter = format!("\r\n--{boundary}");
    assert!(!file.windows(delimiter.len()).any(|window| window == delimiter.as_bytes()));
}

type Form = (Vec<(String, String)>, String, Option<Vec<u8>>);

/// Fields, file name and, where the form is complete, the file. `None`: refused, or no file began. Which error comes
/// first may depend on how a form is cut, that there is one may not.
fn read_form(boundary: &str, body: &[u8], piece_bytes: usize) -> Option<Form> {
    let mut head = HeadReader::new(boundary);
    let mut pieces = body.chunks(piece_bytes.min(body.len().max(1)));
    let start = loop {
        match head.feed(pieces.next()?) {
            Ok(Some(start)) => break start,
            Ok(None) => {}
            Err(error) => {
                refused(&error);
                return None;
            }
        }
    };
    let mut filter = FileFilter::new(boundary);
    let mut file = Vec::new();
    filter.feed(&start.rest, &mut |data| file.extend_from_slice(data)).expect("a filter takes any bytes");
    for piece in pieces {
        filter.feed(piece, &mut |data| file.extend_from_slice(data)).expect("a filter takes any bytes");
    }
    let is_whole = filter.finish().is_ok();
    let fields = head.into_fields();
    let fields = fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some((fields, start.filename, is_whole.then_some(file)))
}

/// The JSON of a POST policy.
pub fn policies(input: &[u8]) {
    let text = aws::encoding::base64(input);
    let policy = match Policy::parse(&text) {
        Ok(policy) => policy,
        Err(error) => return refused(&error),
    };
    // Browsers send it in lines.
    let lines: Vec<_> = text.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
    let again = Policy::parse(&lines.join("\r\n")).expect("line ends mean nothing");
    assert_eq!(again.lengths(), policy.lengths());
    let mut fields = Fields::default();
    fields.set("key", "k".into());
    let verdict = |fields: &Fields, now| policy.check(fields, "b", now).is_ok();
    assert_eq!(verdict(&fields, NOW), again.check(&fields, "b", NOW).is_ok());
    assert!(!verdict(&fields, Timestamp(i64::MAX)), "a policy ends");
    // One more field that no condition names refuses what passed.
    fields.set("x-amz-meta-\u{7f}uncovered", "v".into());
    let is_named = String::from_utf8_lossy(input).to_ascii_lowercase().contains("uncovered");
    assert!(is_named || !verdict(&fields, NOW));
}

/// Continuation tokens, version and upload ids, part numbers, bucket names.
pub fn tokens(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(position) = Position::decode(text) {
        assert_eq!(position.encode(), text.replace('+', "-").replace('/', "_"));
    }
    for position in [Position::Key(text.to_owned()), Position::Prefix(text.to_owned())] {
        let token = position.encode();
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)));
        assert_eq!(Position::decode(&token), Some(position));
    }
    if let Some(id) = VersionId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(id) = UploadId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(number) = PartNumber::parse(text) {
        assert!((1..=PART_COUNT_MAX).contains(&number.get()));
        assert_eq!(text.trim_start_matches('0'), number.get().to_string());
    }
    if let Some(name) = BucketName::parse(text) {
        assert!((3..=63).contains(&name.as_str().len()) && uri::encode(text) == text);
    }
}

/// Lines of a head. Bytes that cannot be a header are left out, as the HTTP layer refuses them.
fn head(input: &[u8], prefix: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = [prefix.as_bytes(), &line[..colon]].concat();
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Conditional headers, each on its line.
pub fn conditions(input: &[u8]) {
    let plain = headers::conditions(&head(input, ""), NOW);
    let prefixed = headers::source_conditions(&head(input, "x-amz-copy-source-"), NOW);
    assert_eq!(plain, prefixed);
    assert_eq!(headers::source_conditions(&head(input, "x-"), NOW), Conditions::default());
    let etag = Etag { md5: [0xab; 16], part_count: 0 };
    for list in [&plain.if_match, &plain.if_none_match].into_iter().flatten() {
        assert_eq!(*list == EtagList::Any, list.names(&etag) && list.names(&Etag::plain([1; 16])));
    }
    for modified_ms in [0, 784_111_777_000, 784_111_777_999, 1_700_000_000_000] {
        let subject = Subject { etag, modified_ms, size: 7 };
        let (read, source) = (plain.judge_read(&subject), plain.judge_source(&subject));
        assert_eq!(read, expected_read(&plain, &subject));
        assert_eq!(read == Verdict::Pass, source == Verdict::Pass);
        // Without tags there is nothing that a write could fail by.
        if plain.if_match.is_none() && plain.if_none_match.is_none() {
            assert_eq!(plain.judge_write(Some(&subject)), Verdict::Pass);
        }
    }
    assert_eq!(plain.judge_delete(None), Verdict::Pass);
    assert_eq!(plain.judge_write(None) == Verdict::Absent, plain.if_match.is_some());
}

/// RFC 9110 13.2.2, step by step.
fn expected_read(conditions: &Conditions, subject: &Subject) -> Verdict {
    let seconds = subject.modified_ms / 1_000;
    match (&conditions.if_match, conditions.if_unmodified_since) {
        (Some(list), _) if !list.names(&subject.etag) => return Verdict::Failed("If-Match"),
        (None, Some(since)) if seconds > since => return Verdict::Failed("If-Unmodified-Since"),
        _ => {}
    }
    match (&conditions.if_none_match, conditions.if_modified_since) {
        (Some(list), _) if list.names(&subject.etag) => Verdict::NotModified,
        (None, Some(since)) if seconds <= since => Verdict::NotModified,
        _ => Verdict::Pass,
    }
}

/// The x-amz-copy-source header.
pub fn copy_source(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let source = match headers::copy_source(text) {
        Ok(source) => source,
        Err(error) => return refused(&error),
    };
    let CopySource { bucket, key, version } = &source;
    assert!(!bucket.is_empty() && !bucket.contains('/'));
    let mut written = format!("/{}/{}", uri::encode(bucket), uri::encode_path(key.as_str()));
    if let Some(version) = version {
        written.push_str(&format!("?versionId={version}"));
    }
    assert_eq!(headers::copy_source(&written).ok(), Some(source));
}

/// What the headers of a PUT set on an object, and that it comes back out of the record.
pub fn attributes(input: &[u8]) {
    let sent = head(input, "");
    if let Err(error) = Announced::parse(&sent) {
        refused(&error);
    }
    for length in [http::BodyLength::None, http::BodyLength::Known(5), http::BodyLength::Unknown] {
        for version in [http::Version::H11, http::Version::H2] {
            if let Err(error) = headers::announced_length(&sent, version, length) {
                refused(&error);
            }
        }
    }
    let found = match headers::attributes(&sent, &["STANDARD".into(), "COLD".into()]) {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    if let Some(encoding) = found.header(SystemHeader::ContentEncoding) {
        let tokens = encoding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        assert!(tokens.clone().all(|token| !token.eq_ignore_ascii_case(b"aws-chunked")));
    }
    let bytes: usize = found.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= METADATA_BYTES_MAX);
    assert!(found.metadata.iter().all(|(name, _)| *name == name.to_ascii_lowercase()));
    let record = VersionRecord {
        number: VersionNumber(7),
        is_marker: false,
        is_null: true,
        null_at: None,
        modified_ms: 1_700_000_000_000,
        size: 3,
        etag: Etag::plain([3; 16]),
        manifest: None,
        checksum: Some(Checksum {
            algorithm: ALGORITHM_DEFAULT,
            kind: ChecksumType::FullObject,
            value: vec![1; 8],
        }),
        attributes: found,
    };
    assert_eq!(VersionRecord::decode(&record.encode()).ok().as_ref(), Some(&record));
    let shown = reply::object_headers(&record, true);
    assert!(shown.values().all(|value| value.as_bytes().iter().all(|byte| *byte < 0x7f)));
    let listed = shown.keys().filter(|name| name.as_str().starts_with("x-amz-meta-")).count();
    assert_eq!(listed, record.attributes.metadata.len());
}

/// Stored values: damaged ones are refused, the others come back as they were. The first byte chooses the kind.
pub fn records(input: &[u8]) {
    let Some((kind, value)) = input.split_first() else { return };
    match kind % 6 {
        0 => {
            let Ok(record) = VersionRecord::decode(value) else { return };
            assert_eq!(VersionRecord::decode(&record.encode()).ok().as_ref(), Some(&record));
            let summary = Summary::decode(value).expect("the front of a whole record");
            assert_eq!((summary.size, summary.etag), (record.size, record.etag));
        }
        1 => {
            let Ok(record) = BucketRecord::decode(value) else { return };
            assert_eq!(BucketRecord::decode(&record.encode()).ok(), Some(record));
        }
        2 => {
            let Ok(record) = UploadRecord::decode(value) else { return };
            assert_eq!(UploadRecord::decode(&record.encode()).ok(), Some(record));
        }
        3 => {
            let Ok(record) = PartRecord::decode(value) else { return };
            assert_eq!(PartRecord::decode(&record.encode()).ok(), Some(record));
        }
        4 => {
            let Ok(record) = ManifestPage::decode(value) else { return };
            assert_eq!(ManifestPage::decode(&record.encode()).ok(), Some(record));
        }
        _ => {
            let Ok(record) = CompletedRecord::decode(value) else { return };
            assert_eq!(CompletedRecord::decode(&record.encode()).ok(), Some(record));
        }
    }
    // A key of the store is never a key that a client may use.
    let key = ObjectKey::parse(String::from_utf8_lossy(value).into_owned());
    assert!(key.is_err() || !value.contains(&0));
}
