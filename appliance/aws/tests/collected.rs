//! Services whose signatures cover a body that no header announces: signed by Amazon's own signer, as SDKs sign for DynamoDB.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod harness;

use std::time::{Duration, SystemTime};

use aws::Timestamp;
use aws::payload::PayloadMode;
use aws::sigv4::{Dialect, Identity, PathCoding, SigV2, Verifier};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use harness::{ACCESS_KEY, Request, SECRET_KEY};
use sha2::{Digest, Sha256};

const NOW: Timestamp = Timestamp(1_709_210_096_000);
const BODY: &[u8] = br#"{"TableName":"t","Key":{"pk":{"S":"a"}}}"#;

fn dynamodb() -> Verifier {
    Verifier::new(Dialect {
        service: "dynamodb",
        region: "us-east-1".to_owned(),
        path_coding: PathCoding::Twice,
        sigv2: SigV2::Refused,
    })
}

/// A GetItem over `BODY`; `announced` as `x-amz-content-sha256`.
fn signed(service: &str, location: SignatureLocation, announced: Option<&str>) -> Request {
    let mut request = Request::new("POST", "/", "127.0.0.1:8080", &[]);
    request.set("content-type", "application/x-amz-json-1.0");
    request.set("x-amz-target", "DynamoDB_20120810.GetItem");
    if let Some(value) = announced {
        request.set("x-amz-content-sha256", value);
    }
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    settings.signature_location = location;
    settings.expires_in = (location == SignatureLocation::QueryParams).then(|| Duration::from_secs(600));
    let identity = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(service)
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.as_ms() as u64))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .chain([("host".to_owned(), request.authority.clone())])
        .collect();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let uri = format!("http://{}/", request.authority);
    // The header takes the place of the body's digest in the signature.
    let body =
        announced.map_or(SignableBody::Bytes(BODY), |value| SignableBody::Precomputed(value.to_owned()));
    let signable = SignableRequest::new("POST", uri, pairs, body).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let (new_headers, new_parameters) = instructions.into_parts();
    for header in new_headers {
        request.set(header.name(), header.value());
    }
    let pairs: Vec<String> =
        new_parameters.iter().map(|(name, value)| format!("{name}={}", aws::uri::encode(value))).collect();
    request.query = (!pairs.is_empty()).then(|| pairs.join("&"));
    request
}

/// The code of the refusal when `body` came with the request.
fn verdict(request: &Request, body: &[u8]) -> Result<PayloadMode, &'static str> {
    let mut signed = request.borrowed();
    signed.body_sha256 = Some(Sha256::digest(body).into());
    match dynamodb().authenticate(&signed, &harness::ring(), NOW) {
        Ok(Identity::Key(key)) => Ok(key.payload),
        Ok(Identity::Anonymous { .. }) => Err("anonymous"),
        Err(error) => Err(error.code),
    }
}

#[test]
fn a_signature_covers_the_body_that_came_in_header_and_query() {
    let digest: [u8; 32] = Sha256::digest(BODY).into();
    for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
        let request = signed("dynamodb", location, None);
        assert_eq!(verdict(&request, BODY), Ok(PayloadMode::Sha256(digest)));
        assert_eq!(verdict(&request, b"{}"), Err("SignatureDoesNotMatch"));
        assert_eq!(verdict(&request, b""), Err("SignatureDoesNotMatch"));
    }
}

#[test]
fn a_header_about_the_body_must_say_what_came() {
    let right = aws::encoding::hex(&Sha256::digest(BODY));
    let wrong = aws::encoding::hex(&Sha256::digest(b"{}"));
    let request = |value: &str| signed("dynamodb", SignatureLocation::Headers, Some(value));
    assert!(verdict(&request(&right), BODY).is_ok());
    assert_eq!(verdict(&request(&wrong), BODY), Err("SignatureDoesNotMatch"));
    for value in ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        assert_eq!(verdict(&request(value), BODY), Err("SignatureDoesNotMatch"), "{value}");
    }
}

#[test]
fn a_head_is_judged_before_its_body_by_all_but_its_signature() {
    let precheck = |request: &Request, now| {
        dynamodb().precheck(&request.borrowed(), &harness::ring(), now).map_err(|error| error.code)
    };
    let request = signed("dynamodb", SignatureLocation::Headers, None);
    assert_eq!(precheck(&request, NOW), Ok(true));
    assert_eq!(precheck(&signed("dynamodb", SignatureLocation::QueryParams, None), NOW), Ok(true));
    let bare = Request::new("POST", "/", "127.0.0.1:8080", &[]);
    assert_eq!(precheck(&bare, NOW), Ok(false));
    let late = Timestamp(NOW.as_ms() + 16 * 60 * 1_000);
    assert_eq!(precheck(&request, late), Err("RequestTimeTooSkewed"));
    let foreign = signed("s3", SignatureLocation::Headers, None);
    assert_eq!(precheck(&foreign, NOW), Err("AuthorizationHeaderMalformed"));
    let mut stranger = request.clone();
    let value = stranger.headers["authorization"].to_str().unwrap().replace(ACCESS_KEY, "AKIANOBODY");
    stranger.set("authorization", &value);
    assert_eq!(precheck(&stranger, NOW), Err("InvalidAccessKeyId"));
    let mut unsigned = request.clone();
    unsigned.set("x-amz-more", "1");
    assert_eq!(precheck(&unsigned, NOW), Err("AccessDenied"));
    let mut twice = request;
    twice.query = signed("dynamodb", SignatureLocation::QueryParams, None).query;
    assert_eq!(precheck(&twice, NOW), Err("InvalidArgument"));
}
