//! Targets for fuzzing: each takes any bytes and panics if an invariant of the crate does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them, and an ordinary test replays `corpus/` and
//! mutations of it through them.

use std::sync::Arc;

use http_types::{HeaderMap, HeaderName, HeaderValue};

use crate::account::{AccessKey, Account, AccountId, CanonicalId, KeyRing, Secret};
use crate::acl::{AclHeaders, CannedAcl, GRANT_COUNT_MAX, GRANT_HEADERS, Group, Permission};
use crate::arn::Arn;
use crate::chunked::{Decoder, Trailers};
use crate::error::ErrorReply;
use crate::payload::{PayloadCheck, PayloadMode};
use crate::sigv4::canonical::{Canonical, Source};
use crate::sigv4::{
    AuthorizationHeader, ChunkSigner, Credential, Dialect, Identity, PathCoding, PresignedQuery,
};
use crate::sigv4::{SigV2, SignedRequest, SigningKey, Verifier};
use crate::time::Timestamp;
use crate::xml::{DEPTH_MAX, Document, ELEMENT_COUNT_MAX, Element, Writer};
use crate::{encoding, uri};

/// The parser of Authorization headers.
pub fn authorization(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(header) = AuthorizationHeader::parse(text) {
        credential(&header.credential);
        assert!(header.signed_headers.split(';').any(|name| name == "host"));
    }
}

/// The parser of presigned queries, and query coding.
pub fn presigned(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for (name, value) in uri::query_pairs(text) {
        for part in [name, value] {
            if let Ok(plain) = uri::decode_query(part) {
                assert_eq!(uri::decode_query(&uri::encode(&plain)).as_deref(), Ok(&*plain));
            }
        }
    }
    if let Ok(plain) = uri::decode_path(text) {
        assert_eq!(uri::decode_path(&uri::encode_path(&plain)).as_deref(), Ok(&*plain));
    }
    if let Ok(Some(query)) = PresignedQuery::parse(text) {
        if let Some(parsed) = Credential::parse(&query.credential) {
            credential(&parsed);
        }
        if let Ok(seconds) = query.expires_seconds() {
            assert!(seconds <= crate::sigv4::EXPIRES_SECONDS_MAX);
        }
    }
}

fn credential(credential: &Credential<'_>) {
    let scope = &credential.scope;
    let again =
        format!("{}/{}/{}/{}/aws4_request", credential.access_key, scope.date, scope.region, scope.service);
    assert_eq!(again, credential.text);
    assert!(credential.text.ends_with(credential.scope_text()));
}

/// Authentication as a whole. The input is the head of a request; the time is what the request says it is, so
/// that the checks behind that of the clock are reached.
pub fn request(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else { return };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) {
            headers.append(name, value);
        }
    }
    let date = headers.get("x-amz-date").or_else(|| headers.get("date")).map(|value| value.as_bytes());
    let parameter = |wanted: &str| {
        uri::query_pairs(query.unwrap_or_default()).find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let now = date
        .and_then(|date| Timestamp::parse_basic(date).or_else(|| Timestamp::parse_http(date, Timestamp(0))))
        .or_else(|| Timestamp::parse_basic(parameter("X-Amz-Date")?.as_bytes()))
        .or_else(|| {
            Some(Timestamp::from_seconds(parameter("Expires")?.parse::<i64>().ok()?.saturating_sub(1)))
        })
        .unwrap_or_default();
    let authority = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let request = SignedRequest {
        method,
        path,
        query,
        headers: &headers,
        authority,
        bucket_of_host: None,
        body_sha256: None,
    };
    let mut verifier = Verifier::new(Dialect {
        service: "s3",
        region: "us-east-1".to_owned(),
        path_coding: PathCoding::Once,
        sigv2: SigV2::Everywhere,
    });
    let mut ring = KeyRing::default();
    let Some(account) = AccountId::parse("000000000000") else { return };
    ring.add_key(AccessKey {
        id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session: None,
        account: Arc::new(Account::new(account, "fuzz")),
    });
    match verifier.authenticate(&request, &ring, now) {
        Ok(Identity::Key(who)) => {
            let is_streaming_signed =
                matches!(who.payload, PayloadMode::StreamingSigned | PayloadMode::StreamingSignedTrailer);
            assert_eq!(who.chunk_signer.is_some(), is_streaming_signed);
        }
        Ok(Identity::Anonymous { payload }) => {
            assert!(!matches!(payload, PayloadMode::StreamingSigned | PayloadMode::StreamingSignedTrailer));
            assert!(
                headers.get("authorization").is_none_or(|value| value.as_bytes().trim_ascii().is_empty())
            );
        }
        Err(error) => assert!(matches!(error.status, 400 | 403 | 501), "{error:?}"),
    }
}

/// The chunk decoder: whole, byte by byte and in odd pieces it must give the same. The first byte chooses the
/// mode, the second the pieces.
pub fn chunked(input: &[u8]) {
    let [mode, pieces, body @ ..] = input else { return };
    let mode = match mode % 3 {
        0 => PayloadMode::StreamingUnsignedTrailer,
        1 => PayloadMode::StreamingSigned,
        _ => PayloadMode::StreamingSignedTrailer,
    };
    let whole = decode(mode, body, |_| usize::MAX);
    let bytes = decode(mode, body, |_| 1);
    let odd = decode(mode, body, |turn| 1 + (turn * 7 + usize::from(*pieces)) % 97);
    assert_eq!(whole, bytes);
    assert_eq!(whole, odd);
    assert!(whole.0.len() <= body.len());
}

/// A signer that the bodies of the corpus are signed with.
pub fn chunk_signer() -> ChunkSigner {
    let key = SigningKey::derive("fuzz", "20240229", "us-east-1", "s3");
    let signed_at = Timestamp::from_seconds(1_709_164_800);
    ChunkSigner::new(key, signed_at, "20240229/us-east-1/s3/aws4_request", &[7; 32])
}

/// Decodes `body` in pieces; `piece_bytes` gives the length of each by its number.
pub fn decode(
    mode: PayloadMode,
    body: &[u8],
    piece_bytes: impl Fn(usize) -> usize,
) -> (Vec<u8>, Result<Trailers, ErrorReply>) {
    let signer = match mode {
        PayloadMode::StreamingUnsignedTrailer => None,
        _ => Some(Box::new(chunk_signer())),
    };
    let announced = match mode {
        PayloadMode::StreamingSigned => Vec::new(),
        _ => vec!["x-amz-checksum-crc32".to_owned()],
    };
    let mut decoder = Decoder::new(mode, signer, None, announced);
    let mut data = Vec::new();
    let (mut rest, mut turn) = (body, 0);
    while !rest.is_empty() {
        let (mut piece, behind) = rest.split_at(piece_bytes(turn).clamp(1, rest.len()));
        turn += 1;
        rest = behind;
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(run)) => data.extend_from_slice(run),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.finish().as_ref(), Err(&error));
                    return (data, Err(error));
                }
            }
        }
        assert!(piece.is_empty());
    }
    (data, decoder.finish())
}

/// The XML reader: bounds hold, and what was read can be written and read again.
pub fn xml(input: &[u8]) {
    let Ok(document) = Document::parse(input, 1 << 20) else { return };
    let mut writer = Writer::default();
    let (depth, count) = write(&mut writer, document.root());
    assert!(depth <= DEPTH_MAX && count <= ELEMENT_COUNT_MAX);
    let bytes = writer.into_bytes();
    let again = Document::parse(&bytes, usize::MAX).expect("what was written is well-formed");
    same(document.root(), again.root());
}

fn write(writer: &mut Writer, element: Element<'_, '_>) -> (usize, usize) {
    // Names come from the document and may hold what our own never do.
    writer.open(element.name());
    writer.escaped(element.text());
    let (mut depth, mut count) = (1, 1);
    for child in element.children() {
        let (child_depth, child_count) = write(writer, child);
        depth = depth.max(child_depth + 1);
        count += child_count;
    }
    writer.close(element.name());
    (depth, count)
}

fn same(one: Element<'_, '_>, other: Element<'_, '_>) {
    assert_eq!(one.name(), other.name());
    let carried: String = one.text().chars().map(|c| if is_forbidden(c) { '\u{fffd}' } else { c }).collect();
    assert_eq!(carried, other.text());
    let (mut left, mut right) = (one.children(), other.children());
    loop {
        match (left.next(), right.next()) {
            (Some(one), Some(other)) => same(one, other),
            (None, None) => return,
            _ => panic!("one has more elements than the other"),
        }
    }
}

fn is_forbidden(c: char) -> bool {
    (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Canonical requests, in every form, beside a plain second implementation. The input is a path, a query and the value
/// of a header, on a line each.
pub fn canonical(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, query, value) = (line(), line(), line());
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_str(value) else { return };
    headers.append("x-amz-meta-a", value.clone());
    headers.append("x-amz-meta-a", value.clone());
    let source = Source {
        method: "GET",
        path,
        query,
        headers: &headers,
        authority: "host.example",
        signed_headers: "host;x-amz-meta-a",
        payload_hash: b"UNSIGNED-PAYLOAD",
    };
    let words: Vec<_> = value.as_bytes().split(|&byte| matches!(byte, b' ' | b'\t')).collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let value = words.join(&b' ');
    let mut canonical = Canonical::default();
    for coding in [PathCoding::Once, PathCoding::Twice] {
        for (number, form) in coding.forms().iter().enumerate() {
            let found = canonical.build(&source, *form).expect("all signed headers are there");
            let raw = if path.is_empty() { "/" } else { path };
            let expected_path = match (coding, number) {
                (PathCoding::Once, 0 | 2) => raw.as_bytes().to_vec(),
                (PathCoding::Once, _) => percent_coded(&percent_decoded(raw, false), true),
                (PathCoding::Twice, 1) => percent_coded(raw.as_bytes(), true),
                (PathCoding::Twice, _) => percent_coded(dots_resolved(raw).as_bytes(), true),
            };
            let mut expected =
                [b"GET\n", &expected_path[..], b"\n", &query_sorted(query, number == 2)].concat();
            expected.extend_from_slice(b"\nhost:host.example\nx-amz-meta-a:");
            expected.extend_from_slice(&[&value[..], b",", &value].concat());
            expected.extend_from_slice(b"\n\nhost;x-amz-meta-a\nUNSIGNED-PAYLOAD");
            assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(&expected));
        }
    }
    if let Ok(plain) = uri::decode_path(path) {
        assert_eq!(percent_decoded(path, false), plain.as_bytes(), "what is signed is not what is read");
    }
    for (name, _) in uri::query_pairs(query) {
        if let Ok(plain) = uri::decode_query(name) {
            assert_eq!(percent_decoded(name, true), plain.as_bytes(), "what is signed is not what is read");
        }
    }
}

fn percent_decoded(text: &str, plus_is_blank: bool) -> Vec<u8> {
    let mut parts = text.split('%');
    let blanks = |part: &str| if plus_is_blank { part.replace('+', " ") } else { part.to_owned() };
    let mut out = blanks(parts.next().unwrap_or_default()).into_bytes();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                out.extend_from_slice(blanks(&part[2..]).as_bytes());
            }
            None => out.extend_from_slice(format!("%{}", blanks(part)).as_bytes()),
        }
    }
    out
}

fn percent_coded(bytes: &[u8], keep_slash: bool) -> Vec<u8> {
    let coded = |byte: &u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        b'/' if keep_slash => "/".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(coded).collect::<String>().into_bytes()
}

fn dots_resolved(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        if segment == ".." {
            kept.pop();
        } else if !matches!(segment, "" | ".") {
            kept.push(segment);
        }
    }
    let is_directory = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) || matches!(path, "." | "..");
    let end = if kept.is_empty() || !is_directory { "" } else { "/" };
    format!("/{}{end}", kept.join("/"))
}

fn query_sorted(query: &str, is_raw: bool) -> Vec<u8> {
    let form = |part: &str| match is_raw {
        true => part.as_bytes().to_vec(),
        false => percent_coded(&percent_decoded(part, true), false),
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| percent_decoded(name, true) != b"X-Amz-Signature")
        .map(|(name, value)| (form(name), form(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| [&name[..], b"=", &value].concat()).collect();
    pairs.join(&b'&')
}

/// What stands in the values of headers and in documents: grants, canned lists, names of resources and accounts, and how
/// a payload is announced. Each line is the value of the header with its number.
pub fn grants(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for (number, line) in input.split(|&byte| byte == b'\n').take(4 * GRANT_HEADERS.len()).enumerate() {
        let name = match number % (GRANT_HEADERS.len() + 2) {
            0 => "x-amz-acl",
            1 => "x-amz-content-sha256",
            number => GRANT_HEADERS[number - 2].0,
        };
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
        names(line);
    }
    let account = Account::new(AccountId::parse("000000000000").expect("twelve digits"), "fuzz");
    let mut ring = KeyRing::default();
    ring.add_account(Arc::new(account));
    match AclHeaders::parse(&headers, &ring) {
        Ok(AclHeaders::Absent) => assert!(!headers.contains_key("x-amz-acl")),
        Ok(AclHeaders::Canned(canned)) => {
            assert_eq!(CannedAcl::parse(canned.name().as_bytes()).ok(), Some(canned));
        }
        Ok(AclHeaders::Grants(grants)) => {
            assert!((1..=GRANT_COUNT_MAX).contains(&grants.len()) && !headers.contains_key("x-amz-acl"));
        }
        Err(error) => assert_eq!(error.status, 400, "{error:?}"),
    }
    match PayloadMode::announced(&headers) {
        Ok(mode) => assert_eq!(PayloadCheck::new(mode).is_some(), matches!(mode, PayloadMode::Sha256(_))),
        Err(error) => assert!(matches!(error.status, 400 | 501), "{error:?}"),
    }
}

fn names(line: &[u8]) {
    let Ok(text) = std::str::from_utf8(line) else { return };
    if let Some(arn) = Arn::parse(text) {
        assert_eq!(arn.to_string(), text);
        assert!(![arn.partition, arn.service, arn.region, arn.account].iter().any(|part| part.contains(':')));
    }
    if let Some(id) = AccountId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(text.len() == 12 && text.bytes().all(|digit| digit.is_ascii_digit()));
    }
    if let Some(id) = CanonicalId::parse(text) {
        assert!(id.as_str().eq_ignore_ascii_case(text) && text.len() == 64);
    }
    if let Some(permission) = Permission::parse(text) {
        assert_eq!(permission.name(), text);
    }
    if let Some(group) = Group::parse(text) {
        assert_eq!(group.uri(), text);
    }
}

/// Policies: what is taken decides the same twice, is taken again from its own text, and loses by the removal of a
/// statement just what its addition brought.
pub fn policy(input: &[u8]) {
    use crate::policy::{
        self, Action, Context, NewStatement, Pairs, Policy, PolicyType, Principal, Resource, Rules,
    };
    let Ok(text) = std::str::from_utf8(input) else { return };
    let rules = |kind, service| Rules {
        kind,
        service,
        bytes_max: 65_536,
        statement_count_max: 100,
        action_count_max: 100,
    };
    for kind in [PolicyType::Identity, PolicyType::Trust] {
        if let Err(error) = Policy::parse(text, &rules(kind, None)) {
            assert!(error.to_string().len() < 1_000, "{error:?}");
        }
    }
    let rules = rules(PolicyType::Resource, Some("sqs"));
    let Ok(parsed) = Policy::parse(text, &rules) else { return };
    let account = Account::new(AccountId::parse("111111111111").expect("twelve digits"), "fuzz");
    let arn = "arn:aws:sqs:us-east-1:111111111111:q";
    let resource = Resource { arn, owner: Some(account.id) };
    let keys = Pairs(&[
        ("aws:SourceArn", arn),
        ("aws:SourceIp", "10.0.0.1"),
        ("aws:CurrentTime", "1"),
        ("t:a", text),
    ]);
    let context = Context { resource_policy: Some(&parsed), keys: &keys, ..Context::default() };
    let principals =
        [Principal::Anonymous, Principal::Account(&account), Principal::Service("sns.amazonaws.com")];
    let decided = |context: &Context<'_>| {
        principals.map(|principal| policy::decide(&principal, Action("sqs:SendMessage"), &resource, context))
    };
    assert_eq!(decided(&context), decided(&context));
    let statement = NewStatement { sid: "\"fuzz\\", accounts: &["1"; 0], actions: &["sqs:a"], resource: arn };
    assert!(policy::add_statement(Some(text), "", &statement, &rules).is_err(), "nobody is no principal");
    let statement = NewStatement { accounts: &["111111111111", "222222222222"], ..statement };
    let Ok(more) = policy::add_statement(Some(text), "", &statement, &rules) else { return };
    let back = policy::remove_statement(&more, statement.sid, &rules).expect("it was added");
    let back = back.expect("the others stay");
    let again = Policy::parse(&back, &rules).expect("it was a policy before");
    let context_again = Context { resource_policy: Some(&again), ..context };
    assert_eq!(decided(&context_again), decided(&context));
    assert!(again.sids().eq(parsed.sids()) && again.id() == parsed.id());
}

/// Dates of all forms, and the codings of digests.
pub fn dates(input: &[u8]) {
    let now = Timestamp(1_700_000_000_000);
    if let Some(time) = Timestamp::parse_http(input, now) {
        let clamped = Timestamp::from_civil(time.to_civil()).expect("a civil date exists");
        assert_eq!(
            Timestamp::parse_http(clamped.to_http().as_bytes(), now),
            Some(clamped.truncated_to_second())
        );
    }
    if let Some(time) = Timestamp::parse_basic(input) {
        assert_eq!(time.to_basic(), *input);
    }
    if let Some(time) = Timestamp::parse_iso8601(input) {
        let clamped = Timestamp::from_civil(time.to_civil()).expect("a civil date exists");
        assert_eq!(Timestamp::parse_iso8601(clamped.to_iso8601().as_bytes()), Some(clamped));
    }
    if let Some(bytes) = encoding::unbase64(input) {
        assert_eq!(encoding::base64(&bytes).as_bytes(), input);
    }
    if let Some(bytes) = encoding::unhex::<4>(input) {
        assert_eq!(encoding::hex(&bytes).as_bytes(), input.to_ascii_lowercase());
    }
}
