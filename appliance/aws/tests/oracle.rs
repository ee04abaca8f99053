//! Requests signed by Amazon's own signer must verify, and no changed byte of them may.
//!
//! Random; a failure prints its seed, and `AWS_TEST_SEED=<seed> cargo test -p zerocloud-aws --test oracle`
//! replays it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod harness;

use std::time::{Duration, SystemTime};

use aws::Timestamp;
use aws::payload::PayloadMode;
use aws::sigv4::{Dialect, Identity, PathCoding, SigV2, Verifier};
use aws::uri;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use harness::{ACCESS_KEY, Random, Request, SECRET_KEY, SESSION_KEY, SESSION_TOKEN};
use http_types::HeaderValue;

const NOW: Timestamp = Timestamp(1_709_210_096_000);
const COUNT: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Location {
    Header,
    Query,
}

/// How a request of a test is signed.
#[derive(Clone, Copy, Debug)]
struct Signing {
    location: Location,
    service: &'static str,
    has_session: bool,
    body: &'static str,
}

impl Signing {
    fn settings(self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        match self.location {
            Location::Header => settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256,
            Location::Query => {
                settings.signature_location = SignatureLocation::QueryParams;
                settings.expires_in = Some(Duration::from_secs(600));
            }
        }
        settings
    }

    /// Signs `request` in place, as an SDK does.
    fn apply(self, request: &mut Request) {
        let session = self.has_session.then(|| SESSION_TOKEN.to_owned());
        let key = if self.has_session { SESSION_KEY } else { ACCESS_KEY };
        let identity = Credentials::new(key, SECRET_KEY, session, None, "test").into();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.as_ms() as u64);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(self.service)
            .time(time)
            .settings(self.settings())
            .build()
            .unwrap()
            .into();
        let query = request.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let url = format!("http://{}{}{query}", request.authority, request.path);
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8(value.as_bytes().to_vec()).unwrap()))
            .collect();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = match self.body {
            "UNSIGNED-PAYLOAD" => SignableBody::UnsignedPayload,
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => SignableBody::StreamingUnsignedPayloadTrailer,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => SignableBody::StreamingSignedPayloadTrailer,
            text => SignableBody::Bytes(text.as_bytes()),
        };
        let signable = SignableRequest::new(&request.method, &url, headers, body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let (new_headers, new_parameters) = instructions.into_parts();
        for header in new_headers {
            request.set(header.name(), header.value());
        }
        for (name, value) in new_parameters {
            let query = request.query.get_or_insert_default();
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(&format!("{name}={}", uri::encode(&value)));
        }
    }

    fn verifier(self) -> Verifier {
        let path_coding = if self.service == "s3" { PathCoding::Once } else { PathCoding::Twice };
        Verifier::new(Dialect {
            service: self.service,
            region: "us-east-1".into(),
            path_coding,
            sigv2: SigV2::Refused,
        })
    }
}

fn random_text(random: &mut Random, alphabet: &[&str], length: usize) -> String {
    (0..random.below(length + 1)).map(|_| random.pick(alphabet)).collect()
}

const PATH_PIECES: [&str; 34] = [
    "a",
    "B",
    "9",
    "-",
    ".",
    "_",
    "~",
    "/",
    "//",
    "/./",
    "/../",
    "..",
    "!",
    "$",
    "&",
    "'",
    "(",
    ")",
    "*",
    "+",
    ",",
    ";",
    "=",
    ":",
    "@",
    "%20",
    "%2F",
    "%2f",
    "%25",
    "%C3%A9",
    "%e2%82%ac",
    "%F0%9F%98%80",
    "%01",
    "%2B",
];
const QUERY_PIECES: [&str; 24] = [
    "a", "A", "0", "-", ".", "_", "~", "%20", "+", "%2B", "%2F", "%26", "%3D", "%25", "%C3%A9", "%7e", "!",
    "'", "(", "*", ":", "/", "?", "@",
];
const VALUE_PIECES: [&str; 10] = ["a", "B", "0", " ", "  ", "-", ",", "\"", "=", "/"];

fn random_request(random: &mut Random) -> Request {
    let method = random.pick(&["GET", "PUT", "POST", "DELETE", "HEAD"]);
    let path = format!("/{}", random_text(random, &PATH_PIECES, 12));
    let authority = random.pick(&["127.0.0.1:8080", "b.s3.example.test", "[::1]:9000", "localhost"]);
    let mut request = Request::new(method, "/", authority, &[]);
    request.path = path;
    if random.below(3) > 0 {
        let mut pairs = Vec::new();
        for _ in 0..=random.below(5) {
            let name = random_text(random, &QUERY_PIECES, 4);
            let value = random_text(random, &QUERY_PIECES, 6);
            pairs.push(if random.below(3) == 0 { format!("k{name}") } else { format!("k{name}={value}") });
        }
        request.query = Some(pairs.join("&"));
    }
    for name in ["x-amz-meta-a", "x-amz-acl", "content-type", "range", "if-match", "x-amz-meta-b"] {
        for _ in 0..random.below(2) {
            request.append(name, &format!("v{}", random_text(random, &VALUE_PIECES, 8)));
        }
    }
    request
}

fn random_signing(random: &mut Random) -> Signing {
    Signing {
        location: random.pick(&[Location::Header, Location::Query]),
        service: random.pick(&["s3", "s3", "s3", "lambda"]),
        has_session: random.below(4) == 0,
        body: random.pick(&["UNSIGNED-PAYLOAD", "", "some body"]),
    }
}

/// A request that Amazon's signer signed, and the verifier for it.
fn signed(random: &mut Random) -> (Request, Signing) {
    let mut request = random_request(random);
    let mut signing = random_signing(random);
    if signing.location == Location::Query {
        // The body of a presigned request is not signed unless a header says so.
        signing.body = "UNSIGNED-PAYLOAD";
    }
    signing.apply(&mut request);
    (request, signing)
}

fn verify(verifier: &mut Verifier, request: &Request) -> Result<bool, aws::ErrorReply> {
    verifier
        .authenticate(&request.borrowed(), &harness::ring(), NOW)
        .map(|identity| matches!(identity, Identity::Key(_)))
}

#[test]
fn what_amazons_signer_signs_verifies() {
    let seed = harness::seed();
    let random = &mut Random::new(seed);
    for number in 0..COUNT {
        let (request, signing) = signed(random);
        let result = verify(&mut signing.verifier(), &request);
        assert_eq!(result, Ok(true), "AWS_TEST_SEED={seed} request {number}: {signing:?} {request:#?}");
    }
}

/// Whether two requests say the same to a service, so that one signature rightly covers both.
fn means_the_same(one: &Request, other: &Request) -> bool {
    let query = |request: &Request| {
        let raw = request.query.clone().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = uri::query_pairs(&raw)
            .map(|(name, value)| {
                let decode = |text| uri::decode_query(text).map(|text| text.into_owned()).unwrap_or_default();
                (decode(name), decode(value))
            })
            .collect();
        pairs.sort();
        pairs
    };
    let headers = |request: &Request| -> Vec<(String, String)> {
        let collapse = |value: &HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        let mut all: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.to_string(), collapse(value))).collect();
        all.sort();
        all
    };
    one.method == other.method
        && one.authority == other.authority
        && uri::decode_path(&one.path) == uri::decode_path(&other.path)
        && uri::decode_path(&one.path).is_ok()
        && query(one) == query(other)
        && headers(one) == headers(other)
}

/// `text` with the byte at `index` changed, if it is still text.
fn changed(text: &str, index: usize, flip: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[index] ^= flip;
    String::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte > b' ' && byte < 0x7f))
}

/// Every request that differs from `request` in one byte of a part that is signed.
fn tampered(request: &Request, flip: u8) -> Vec<Request> {
    let mut all = Vec::new();
    let mut push = |change: &dyn Fn(&mut Request)| {
        let mut other = request.clone();
        change(&mut other);
        all.push(other);
    };
    for index in 0..request.method.len() {
        changed(&request.method, index, flip)
            .into_iter()
            .for_each(|text| push(&|other| other.method = text.clone()));
    }
    for index in 1..request.path.len() {
        changed(&request.path, index, flip)
            .into_iter()
            .for_each(|text| push(&|other| other.path = text.clone()));
    }
    for index in 0..request.authority.len() {
        let text = changed(&request.authority, index, flip);
        text.into_iter().for_each(|text| push(&|other| other.authority = text.clone()));
    }
    let query = request.query.clone().unwrap_or_default();
    for index in 0..query.len() {
        changed(&query, index, flip)
            .into_iter()
            .for_each(|text| push(&|other| other.query = Some(text.clone())));
    }
    for (name, value) in &request.headers {
        // The token is compared, not only signed; it is tampered with all the same.
        for index in 0..value.len() {
            let mut bytes = value.as_bytes().to_vec();
            bytes[index] ^= flip;
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                push(&|other| {
                    other.headers.insert(name, value.clone());
                });
            }
        }
    }
    all
}

#[test]
fn no_changed_byte_of_a_signed_request_verifies() {
    let seed = harness::seed();
    let random = &mut Random::new(seed);
    let (mut refused, mut alike) = (0, 0);
    for number in 0..8 {
        let (request, signing) = signed(random);
        let mut verifier = signing.verifier();
        for flip in [1, 0x20, 4] {
            for other in tampered(&request, flip) {
                // Other services resolve dots; that two of their paths mean the same is not modelled here.
                let same = means_the_same(&request, &other)
                    || (signing.service != "s3" && other.path != request.path);
                match verify(&mut verifier, &other) {
                    Ok(true) if same => alike += 1,
                    Ok(true) => panic!(
                        "AWS_TEST_SEED={seed} request {number}: {signing:?} {request:#?} -> {other:#?}"
                    ),
                    // A broken Authorization scheme or algorithm parameter is refused, never taken as
                    // anonymous.
                    Ok(false) => panic!("AWS_TEST_SEED={seed} request {number} became anonymous: {other:#?}"),
                    Err(_) => refused += 1,
                }
            }
        }
    }
    // How many changes mean the same depends on the seed: the case of a hex digit, a blank more.
    assert!(refused > 10 * alike, "{refused} refused, {alike} alike");
}

#[test]
fn headers_that_are_dropped_or_doubled_are_noticed() {
    let seed = harness::seed();
    let random = &mut Random::new(seed);
    for number in 0..60 {
        let (request, signing) = signed(random);
        let mut verifier = signing.verifier();
        for name in request.headers.keys().filter(|name| *name != "authorization") {
            let mut dropped = request.clone();
            dropped.headers.remove(name);
            let mut doubled = request.clone();
            doubled.headers.append(name, request.headers[name].clone());
            for other in [dropped, doubled] {
                let result = verify(&mut verifier, &other);
                assert!(
                    result.is_err(),
                    "AWS_TEST_SEED={seed} request {number}: {name} {signing:?} {other:#?}"
                );
            }
        }
    }
}

#[test]
fn bodies_that_amazons_signer_chunks_are_decoded() {
    let seed = harness::seed();
    let random = &mut Random::new(seed);
    let identity = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.as_ms() as u64);
    for number in 0..40 {
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let signing = Signing {
            location: Location::Header,
            service: "s3",
            has_session: false,
            body: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        };
        let mut request =
            Request::new("PUT", "/b/k", "localhost", &[("x-amz-trailer", "x-amz-checksum-crc32")]);
        signing.apply(&mut request);
        let Ok(Identity::Key(who)) =
            signing.verifier().authenticate(&request.borrowed(), &harness::ring(), NOW)
        else {
            panic!("AWS_TEST_SEED={seed} body {number} refused")
        };
        assert_eq!(who.payload, PayloadMode::StreamingSignedTrailer);
        let authorization = request.headers["authorization"].to_str().unwrap();
        let mut signature = authorization.rsplit_once('=').unwrap().1.to_owned();
        let (mut body, mut data) = (Vec::new(), Vec::new());
        let mut chunks: Vec<usize> = (0..random.below(5)).map(|_| 1 + random.below(9000)).collect();
        chunks.push(0);
        for chunk in chunks {
            let bytes: Vec<u8> = (0..chunk).map(|_| random.next() as u8).collect();
            let output = v4::sign_chunk(&bytes.clone().into(), &signature, &params).unwrap();
            signature = output.signature().to_owned();
            body.extend_from_slice(format!("{chunk:x};chunk-signature={signature}\r\n").as_bytes());
            if chunk > 0 {
                body.extend_from_slice(&bytes);
                body.extend_from_slice(b"\r\n");
            }
            data.extend_from_slice(&bytes);
        }
        let mut trailers = aws_smithy_runtime_api::http::Headers::new();
        trailers.insert("x-amz-checksum-crc32", "AAAAAA==");
        let output = v4::sign_trailer(&trailers, &signature, &params).unwrap();
        let trailer = format!(
            "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:{}\r\n\r\n",
            output.signature()
        );
        body.extend_from_slice(trailer.as_bytes());
        request.set("x-amz-decoded-content-length", &data.len().to_string());
        let mut decoder =
            aws::chunked::Decoder::from_headers(who.payload, who.chunk_signer, &request.headers).unwrap();
        let mut decoded = Vec::new();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let (mut piece, behind) = rest.split_at((1 + random.below(5000)).min(rest.len()));
            rest = behind;
            while let Some(run) = decoder.next(&mut piece).unwrap() {
                decoded.extend_from_slice(run);
            }
        }
        assert!(decoded == data, "AWS_TEST_SEED={seed} body {number} differs");
        assert_eq!(decoder.finish().unwrap().get("x-amz-checksum-crc32"), Some("AAAAAA=="));
    }
}
