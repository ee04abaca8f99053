//! Our signatures beside those of the `aws-sigv4` crate: random requests, and all keys that clients get wrong.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest,
    SignatureLocation, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http_types::{HeaderMap, HeaderName, HeaderValue};

use super::{Payload, Signer, Subject};
use crate::credentials::Keys;
use crate::date::AmzDate;
use crate::encode::{Query, object_path, test_keys};

/// A xorshift generator: a failing case prints its seed and nothing else is needed to see it again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 22] = [
            "a", "Z", "0", " ", "+", "/", "//", ".", "..", "%", "%2F", "?", "#", "&", "=", "é", "日", "🦀",
            "~", "*", "'", "(",
        ];
        (0..1 + self.below(12)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

struct Case {
    method: &'static str,
    service: &'static str,
    path: String,
    query: Query,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    token: Option<String>,
    seconds: u64,
}

fn random_case(seed: u64) -> Case {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let service = ["s3", "dynamodb", "sqs", "sns", "lambda"][random.below(5)];
    let path = match service {
        "s3" => object_path("bucket", Some(&random.text())),
        "lambda" => object_path("2015-03-31", Some(&format!("functions/f{}/invocations", random.below(99)))),
        _ => "/".into(),
    };
    let mut query = Query::new();
    for _ in 0..random.below(4) {
        query.push(&random.text(), &random.text());
    }
    let mut headers = Vec::new();
    for name in
        ["content-type", "x-amz-target", "x-amz-meta-a", "x-amz-meta-a", "range", "if-match", "content-md5"]
    {
        if random.below(3) == 0 {
            let words = [" two  blanks ", "plain", "a=b; c", "\"quoted\""];
            headers.push((name, words[random.below(words.len())].to_string()));
        }
    }
    let body = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
    let token = (random.below(2) == 0).then(|| "to/ken+with=signs".to_string());
    Case {
        method: ["GET", "PUT", "POST"][random.below(3)],
        service,
        path,
        query,
        headers,
        body,
        token,
        seconds: 1_700_000_000 + seed * 977,
    }
}

/// Keys of the case, ours and theirs.
fn keys_of(case: &Case) -> (Keys, Credentials) {
    let keys = Keys {
        session_token: case.token.clone(),
        ..Keys::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY")
    };
    let theirs = Credentials::new(&keys.access_key, &keys.secret_key, case.token.clone(), None, "test");
    (keys, theirs)
}

fn settings(service: &str, location: SignatureLocation) -> SigningSettings {
    let mut settings = SigningSettings::default();
    let is_s3 = service == "s3";
    settings.signature_location = location;
    settings.session_token_mode = SessionTokenMode::Include;
    settings.percent_encoding_mode =
        if is_s3 { PercentEncodingMode::Single } else { PercentEncodingMode::Double };
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = if is_s3 && location == SignatureLocation::Headers {
        PayloadChecksumKind::XAmzSha256
    } else {
        PayloadChecksumKind::NoHeader
    };
    settings
}

/// What the other implementation makes of the case: the value of `authorization`, or the query's signature.
fn theirs(case: &Case, query: &str, body: SignableBody<'_>, settings: SigningSettings) -> String {
    let identity = keys_of(case).1.into();
    let in_query = settings.signature_location == SignatureLocation::QueryParams;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(case.service)
        .time(UNIX_EPOCH + Duration::from_secs(case.seconds))
        .settings(settings)
        .build()
        .expect("all parts are there")
        .into();
    let separator = if query.is_empty() { "" } else { "?" };
    let uri = format!("http://localhost:8080{}{separator}{query}", case.path);
    let headers = case.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let headers = if in_query { Vec::new() } else { headers.collect() };
    let request =
        SignableRequest::new(case.method, uri, headers.into_iter(), body).expect("it can be signed");
    let (instructions, signature) = sign(request, &params).expect("it is signed").into_parts();
    if in_query {
        return signature;
    }
    let (headers, _) = instructions.into_parts();
    headers.iter().find(|header| header.name() == "authorization").expect("it is added").value().to_string()
}

fn ours(case: &Case, payload: Payload<'_>) -> (String, String) {
    let query = case.query.clone().encode();
    let subject = Subject {
        method: case.method,
        path: &case.path,
        query: &query,
        host: "localhost:8080",
        service: case.service,
        region: "us-east-1",
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &case.headers {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("it is plain"));
    }
    Signer::new()
        .sign_headers(&subject, &keys_of(case).0, payload, &mut headers, AmzDate::of(case.seconds))
        .expect("it is signed");
    (query, headers["authorization"].to_str().expect("it is text").to_string())
}

fn compare(case: &Case, what: &str) {
    let is_s3 = case.service == "s3";
    let by_headers = || settings(case.service, SignatureLocation::Headers);
    let (query, authorization) = ours(case, Payload::Whole(&case.body));
    assert_eq!(authorization, theirs(case, &query, SignableBody::Bytes(&case.body), by_headers()), "{what}");
    if is_s3 {
        let (query, authorization) = ours(case, Payload::Unsigned);
        assert_eq!(
            authorization,
            theirs(case, &query, SignableBody::UnsignedPayload, by_headers()),
            "{what}"
        );
        let (query, authorization) = ours(case, Payload::UnsignedTrailer);
        let trailer = SignableBody::StreamingUnsignedPayloadTrailer;
        assert_eq!(authorization, theirs(case, &query, trailer, by_headers()), "{what}");
        let words = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
        let (query, authorization) = ours(case, Payload::SignedChunksTrailer);
        assert_eq!(
            authorization,
            theirs(case, &query, SignableBody::Precomputed(words.into()), by_headers()),
            "{what}"
        );
    }
}

fn compare_presigned(case: &Case, what: &str) {
    let subject = Subject {
        method: case.method,
        path: &case.path,
        query: "",
        host: "localhost:8080",
        service: case.service,
        region: "us-east-1",
    };
    let expires = Duration::from_secs(1 + case.seconds % 604_800);
    let url = Signer::new()
        .presign(
            &subject,
            &keys_of(case).0,
            case.query.clone(),
            &HeaderMap::new(),
            expires,
            AmzDate::of(case.seconds),
        )
        .expect("it is signed");
    let mut settings = settings(case.service, SignatureLocation::QueryParams);
    settings.expires_in = Some(expires);
    let signature = theirs(case, &case.query.clone().encode(), SignableBody::UnsignedPayload, settings);
    assert_eq!(url.rsplit('=').next(), Some(signature.as_str()), "{what}: {url}");
}

#[test]
fn random_requests_are_signed_as_by_aws() {
    for seed in 0..2_000 {
        compare(&random_case(seed), &format!("seed {seed}"));
    }
}

#[test]
fn random_requests_are_presigned_as_by_aws() {
    for seed in 0..2_000 {
        let case = Case {
            service: "s3",
            path: object_path("b", Some(&Random(seed + 1).text())),
            ..random_case(seed)
        };
        compare_presigned(&case, &format!("seed {seed}"));
    }
}

#[test]
fn every_awkward_key_is_signed_as_by_aws() {
    for key in test_keys() {
        for method in ["GET", "PUT"] {
            let query = Query::new().with("prefix", &key).with(&key, "");
            let case = Case {
                method,
                service: "s3",
                path: object_path("bucket", Some(&key)),
                query,
                ..random_case(7)
            };
            compare(&case, &key);
            compare_presigned(&case, &key);
        }
    }
}
