//! The examples of Amazon's documentation, and the refusals that the signature rules ask for.
//!
//! Sources: S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in a
//! Single Chunk", "Authenticating Requests: Using Query Parameters"; S3 developer guide, "Signing and
//! Authenticating REST Requests" (version 2).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod harness;

use aws::Timestamp;
use aws::payload::PayloadMode;
use aws::sigv4::{AuthMethod, Identity};
use harness::{ACCESS_KEY, Request, authenticate, time, verdict};

const DAY: &str = "20130524T000000Z";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: &str = "examplebucket.s3.amazonaws.com";

fn v4(method: &str, target: &str, headers: &[(&str, &str)], signed: &str, signature: &str) -> Request {
    let mut request = Request::new(method, target, HOST, headers);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},Signature={signature}"
    );
    request.set("authorization", &authorization);
    request
}

fn get_object() -> Request {
    v4(
        "GET",
        "/test.txt",
        &[("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY), ("x-amz-date", DAY)],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    )
}

fn presigned() -> Request {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
                 aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
                 aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    Request::new("GET", &format!("/test.txt?{query}"), HOST, &[])
}

#[test]
fn the_documented_header_signatures_are_right() {
    let common = [("x-amz-content-sha256", EMPTY), ("x-amz-date", DAY)];
    let put_sha256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let requests = [
        get_object(),
        v4(
            "PUT",
            "/test%24file.text",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-date", DAY),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("x-amz-content-sha256", put_sha256),
            ],
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        v4(
            "GET",
            "/?lifecycle",
            &common,
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        v4(
            "GET",
            "/?max-keys=2&prefix=J",
            &common,
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for request in requests {
        assert_eq!(verdict(&request, time(DAY)), Ok("signed"), "{request:?}");
    }
}

#[test]
fn the_documented_seed_starts_a_chain_of_chunks() {
    let request = Request::new(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "s3.amazonaws.com",
        &[
            ("x-amz-date", DAY),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=\
                 content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
                 x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            ),
        ],
    );
    let Ok(Identity::Key(who)) = authenticate(&request, time(DAY)) else { panic!("refused") };
    assert_eq!(who.payload, PayloadMode::StreamingSigned);
    let mut chain = who.chunk_signer.unwrap();
    assert_eq!(
        aws::encoding::hex(&chain.sign_chunk(&[b'a'; 65_536])),
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    );
}

#[test]
fn the_documented_presigned_url_is_right_for_a_day() {
    let Ok(Identity::Key(who)) = authenticate(&presigned(), time("20130524T235959Z")) else {
        panic!("refused")
    };
    assert_eq!(&*who.access_key, ACCESS_KEY);
    assert_eq!(who.account.id.as_str(), "111111111111");
    assert_eq!((who.method, who.payload), (AuthMethod::V4Query, PayloadMode::Unsigned));
    assert!(who.is_presigned());
    // A clock that runs behind by up to 15 minutes is forgiven; the lifetime is not stretched by it.
    assert_eq!(verdict(&presigned(), time("20130523T234500Z")), Ok("signed"));
    assert_eq!(verdict(&presigned(), time("20130523T234459Z")), Err("RequestTimeTooSkewed"));
    let error = authenticate(&presigned(), time("20130525T000000Z")).err().unwrap();
    assert_eq!((error.code, error.status, &*error.message), ("AccessDenied", 403, "Request has expired"));
    assert_eq!(error.extra("X-Amz-Expires"), Some("86400"));
    assert_eq!(error.extra("Expires"), Some("2013-05-25T00:00:00Z"));
}

#[test]
fn the_clock_may_be_wrong_by_fifteen_minutes() {
    for now in ["20130524T001500Z", "20130523T234500Z"] {
        assert_eq!(verdict(&get_object(), time(now)), Ok("signed"), "{now}");
    }
    let error = authenticate(&get_object(), time("20130524T001501Z")).err().unwrap();
    assert_eq!((error.code, error.status), ("RequestTimeTooSkewed", 403));
    assert_eq!(error.extra("RequestTime"), Some(DAY));
    assert_eq!(error.extra("ServerTime"), Some("2013-05-24T00:15:01Z"));
    assert_eq!(error.extra("MaxAllowedSkewMilliseconds"), Some("900000"));
    assert_eq!(verdict(&get_object(), time("20130523T234459Z")), Err("RequestTimeTooSkewed"));
}

#[test]
fn a_wrong_signature_is_told_apart_and_explained() {
    let mut request = get_object();
    request.set("range", "bytes=0-8");
    let error = authenticate(&request, time(DAY)).err().unwrap();
    assert_eq!((error.code, error.status), ("SignatureDoesNotMatch", 403));
    assert_eq!(error.extra("AWSAccessKeyId"), Some(ACCESS_KEY));
    assert!(error.extra("CanonicalRequest").unwrap().starts_with("GET\n/test.txt\n\nhost:"));
    assert!(
        error
            .extra("StringToSign")
            .unwrap()
            .starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1")
    );
    assert_eq!(error.extra("SignatureProvided").unwrap().len(), 64);
}

/// Replaces text in the Authorization header.
fn reauthorized(from: &str, to: &str) -> Request {
    let mut request = get_object();
    let old = request.headers["authorization"].to_str().unwrap().to_owned();
    assert!(old.contains(from));
    request.set("authorization", &old.replace(from, to));
    request
}

#[test]
fn every_broken_header_has_its_code() {
    let malformed = Err("AuthorizationHeaderMalformed");
    let now = time(DAY);
    assert_eq!(verdict(&reauthorized("/s3/", "/sqs/"), now), malformed);
    assert_eq!(verdict(&reauthorized("20130524/", "20130523/"), now), malformed);
    assert_eq!(verdict(&reauthorized("Signature", "Signatur"), now), malformed);
    assert_eq!(verdict(&reauthorized("host;", ""), now), malformed);
    let error = authenticate(&reauthorized("us-east-1", "eu-west-1"), now).err().unwrap();
    assert_eq!((Err(error.code), error.extra("Region")), (malformed, Some("us-east-1")));
    assert_eq!(verdict(&reauthorized(ACCESS_KEY, "AKIANOBODY"), now), Err("InvalidAccessKeyId"));
    assert_eq!(verdict(&reauthorized(";x-amz-date", ""), now), Err("AccessDenied"));
    assert_eq!(verdict(&reauthorized("host;", "host;if-match;"), now), Err("SignatureDoesNotMatch"));
    assert_eq!(
        verdict(&reauthorized("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), now),
        Err("NotImplemented")
    );
    assert_eq!(verdict(&reauthorized("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), now), Err("InvalidArgument"));
    assert_eq!(verdict(&reauthorized("AWS4-HMAC-SHA256", "Bearer"), now), Err("InvalidArgument"));

    let mut request = get_object();
    request.append("x-amz-meta-a", "1");
    let error = authenticate(&request, now).err().unwrap();
    assert_eq!((error.code, error.extra("HeadersNotSigned")), ("AccessDenied", Some("x-amz-meta-a")));

    let mut request = get_object();
    request.headers.remove("x-amz-date");
    assert_eq!(verdict(&request, now), Err("MissingSecurityHeader"));
    let mut request = get_object();
    request.headers.remove("x-amz-content-sha256");
    assert_eq!(verdict(&request, now), Err("MissingSecurityHeader"));
    let mut request = get_object();
    request.set("x-amz-date", "yesterday");
    assert_eq!(verdict(&request, now), malformed);
    let mut request = get_object();
    request.set("x-amz-content-sha256", "nonsense");
    assert_eq!(verdict(&request, now), Err("InvalidArgument"));
    let mut request = get_object();
    request.append("authorization", "AWS x:y");
    assert_eq!(verdict(&request, now), Err("InvalidArgument"));
}

#[test]
fn every_broken_presigned_url_has_its_code() {
    let broken = |from: &str, to: &str| {
        let mut request = presigned();
        let old = request.query.clone().unwrap();
        assert!(old.contains(from));
        request.query = Some(old.replace(from, to));
        verdict(&request, time("20130524T000100Z"))
    };
    let parameters = Err("AuthorizationQueryParametersError");
    assert_eq!(broken("&X-Amz-Expires=86400", ""), parameters);
    assert_eq!(broken("=86400", "=604801"), parameters);
    assert_eq!(broken("=86400", "=-1"), parameters);
    assert_eq!(broken("=86400", "=a"), parameters);
    assert_eq!(broken("=86400", "=0"), Err("AccessDenied"));
    assert_eq!(broken("=86400", "=86401"), Err("SignatureDoesNotMatch"));
    assert_eq!(broken("us-east-1", "eu-west-1"), parameters);
    assert_eq!(broken("Date=20130524T", "Date=2013-05-24T"), parameters);
    assert_eq!(broken("SignedHeaders=host", "SignedHeaders=range"), parameters);
    assert_eq!(broken("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), parameters);
    assert_eq!(broken("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), Err("NotImplemented"));
    assert_eq!(broken(ACCESS_KEY, "AKIANOBODY"), Err("InvalidAccessKeyId"));
    // Parameters that nobody knows are signed as well.
    assert_eq!(broken("&X-Amz-Expires", "&X-Amz-Unknown=1&X-Amz-Expires"), Err("SignatureDoesNotMatch"));
    assert_eq!(broken("&X-Amz-Expires", "&acl&X-Amz-Expires"), Err("SignatureDoesNotMatch"));
    assert_eq!(broken("&X-Amz-Expires", "&X-Amz-Expires=5&X-Amz-Expires"), parameters);
}

#[test]
fn a_presigned_url_and_a_header_together_are_refused() {
    let mut request = get_object();
    request.query = presigned().query;
    let error = authenticate(&request, time(DAY)).err().unwrap();
    assert_eq!((error.code, error.extra("ArgumentName")), ("InvalidArgument", Some("Authorization")));
    // The reply may be logged; it must not hold the signature.
    assert_eq!(error.extra("ArgumentValue"), Some("AWS4-HMAC-SHA256"));
}

#[test]
fn an_unsigned_header_may_not_change_what_a_presigned_url_says_of_its_body() {
    let mut request = presigned();
    request.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(verdict(&request, time(DAY)), Ok("signed"));
    request.set("x-amz-content-sha256", EMPTY);
    assert_eq!(verdict(&request, time(DAY)), Err("AccessDenied"));
    request.headers.clear();
    request.append("x-amz-acl", "public-read");
    assert_eq!(verdict(&request, time(DAY)), Err("AccessDenied"));
}

#[test]
fn a_token_that_is_not_ours_is_refused() {
    let mut request = get_object();
    request.set("x-amz-security-token", "token");
    assert_eq!(verdict(&request, time(DAY)), Err("InvalidToken"));
    let mut request = presigned();
    request.query.as_mut().unwrap().push_str("&X-Amz-Security-Token=token");
    assert_eq!(verdict(&request, time(DAY)), Err("InvalidToken"));
    assert_eq!(verdict(&reauthorized(ACCESS_KEY, harness::SESSION_KEY), time(DAY)), Err("InvalidToken"));
}

#[test]
fn a_request_without_a_signature_is_anonymous() {
    let mut request = Request::new("GET", "/b/k?prefix=x", "h", &[]);
    assert_eq!(verdict(&request, time(DAY)), Ok("anonymous"));
    request.append("authorization", "");
    assert_eq!(verdict(&request, time(DAY)), Ok("anonymous"));
    request.set("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert_eq!(verdict(&request, time(DAY)), Err("InvalidArgument"));
}

fn v2(method: &str, target: &str, host: &str, headers: &[(&str, &str)], signature: &str) -> Request {
    let mut request = Request::new(method, target, host, headers);
    request.set("authorization", &format!("AWS {ACCESS_KEY}:{signature}"));
    request.bucket_of_host = host.strip_suffix(".s3.amazonaws.com").map(str::to_owned);
    request
}

const PUPPY: &str = "johnsmith.s3.amazonaws.com";
/// Target with its method, host, when, signature.
const VERSION_2: [(&str, &str, &str, &str); 6] = [
    ("GET /photos/puppy.jpg", PUPPY, "Tue, 27 Mar 2007 19:36:42 +0000", "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
    ("PUT /photos/puppy.jpg", PUPPY, "Tue, 27 Mar 2007 21:15:45 +0000", "MyyxeRY7whkBe+bq8fHCL/2kKUg="),
    (
        "GET /?prefix=photos&max-keys=50&marker=puppy",
        PUPPY,
        "Tue, 27 Mar 2007 19:42:41 +0000",
        "htDYFYduRNen8P9ZfE/s9SuKy0U=",
    ),
    ("GET /?acl", PUPPY, "Tue, 27 Mar 2007 19:44:46 +0000", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
    ("GET /", "s3.amazonaws.com", "Wed, 28 Mar 2007 01:29:59 +0000", "qGdzdERIC03wnaRNKh6OqZehG9s="),
    (
        "GET /dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
        "s3.amazonaws.com",
        "Wed, 28 Mar 2007 01:49:49 +0000",
        "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
    ),
];

fn is_signed_and_covers_its_type(mut request: Request) {
    let date = request.headers["date"].as_bytes().to_vec();
    let now = Timestamp::parse_http(&date, Timestamp(0)).unwrap();
    assert_eq!(verdict(&request, now), Ok("signed"), "{request:?}");
    request.set("content-type", "text/x-changed");
    assert_eq!(verdict(&request, now), Err("SignatureDoesNotMatch"), "{request:?}");
}

#[test]
fn the_documented_signatures_of_version_2_are_right() {
    for (target, host, date, signature) in VERSION_2 {
        let (method, target) = target.split_once(' ').unwrap();
        let mut request = v2(method, target, host, &[("date", date)], signature);
        if method == "PUT" {
            request.append("content-type", "image/jpeg");
            request.append("content-length", "94328");
        }
        is_signed_and_covers_its_type(request);
    }
}

#[test]
fn the_documented_upload_of_version_2_is_right() {
    let headers = [
        ("date", "Tue, 27 Mar 2007 21:06:08 +0000"),
        ("x-amz-acl", "public-read"),
        ("content-type", "application/x-download"),
        ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
        ("x-amz-meta-reviewedby", "joe@johnsmith.net"),
        ("x-amz-meta-reviewedby", "jane@johnsmith.net"),
        ("x-amz-meta-filechecksum", "0x02661779"),
        ("x-amz-meta-checksumalgorithm", "crc32"),
        ("content-length", "5913339"),
    ];
    let host = "static.johnsmith.net:8080";
    let mut request = v2("PUT", "/db-backup.dat.gz", host, &headers, "ilyl83RwaSoYIEdixDQcA4OnAnc=");
    request.bucket_of_host = Some("static.johnsmith.net".to_owned());
    is_signed_and_covers_its_type(request);
}

#[test]
fn broken_dates_and_headers_of_version_2_have_their_codes() {
    let now = time("20240101T000000Z");
    let with_date = |name: &str, date: &str| verdict(&v2("GET", "/b", "h", &[(name, date)], "AAAA"), now);
    assert_eq!(verdict(&v2("GET", "/b", "h", &[], "AAAA"), now), Err("AccessDenied"));
    for (name, date, code) in [
        ("x-amz-date", "", "AccessDenied"),
        ("date", "nonsense", "AccessDenied"),
        ("x-amz-date", "Tue, 07 Jul 1950 21:53:04 GMT", "AccessDenied"),
        ("x-amz-date", "Tue, 07 Jul 2010 21:53:04 GMT", "RequestTimeTooSkewed"),
        ("x-amz-date", "Tue, 07 Jul 9999 21:53:04 GMT", "RequestTimeTooSkewed"),
        ("x-amz-date", "Mon, 01 Jan 2024 00:00:00 GMT", "SignatureDoesNotMatch"),
    ] {
        assert_eq!(with_date(name, date), Err(code), "{name}: {date}");
    }
    let mut request = v2("GET", "/b", "h", &[("date", "Mon, 01 Jan 2024 00:00:00 GMT")], "AAAA");
    request.set("authorization", "AWS HAHAHA");
    assert_eq!(verdict(&request, now), Err("InvalidArgument"));
    request.set("authorization", "AWS AKIANOBODY:AAAA");
    assert_eq!(verdict(&request, now), Err("InvalidAccessKeyId"));
}

#[test]
fn version_2_is_accepted_only_where_the_setting_says() {
    use aws::sigv4::{Dialect, PathCoding, PostFields, SigV2, Verifier};
    let ring = harness::ring();
    let now = time(DAY);
    let header = v2("GET", "/b", "h", &[("date", "Mon, 01 Jan 2024 00:00:00 GMT")], "AAAA");
    let query = Request::new("GET", "/b?AWSAccessKeyId=A&Expires=9999999999&Signature=AAAA", "h", &[]);
    let fields =
        PostFields { access_key_v2: Some(ACCESS_KEY), signature_v2: Some("AAAA"), ..PostFields::default() };
    for (setting, in_query, elsewhere) in
        [(SigV2::Refused, false, false), (SigV2::Presigned, true, false), (SigV2::Everywhere, true, true)]
    {
        let mut verifier = Verifier::new(Dialect {
            service: "s3",
            region: "us-east-1".into(),
            path_coding: PathCoding::Once,
            sigv2: setting,
        });
        // Each is wrong in some way, so what is accepted is refused for another reason.
        let mut is_known =
            |request: &Request| match verifier.authenticate(&request.borrowed(), &ring, now).err().unwrap() {
                error if error.code == "InvalidRequest" => false,
                error => {
                    assert_eq!(error.status, 403, "{error:?}");
                    true
                }
            };
        assert_eq!((is_known(&query), is_known(&header)), (in_query, elsewhere), "{setting:?}");
        let code = verifier.verify_post_policy(&fields, &ring, now).err().unwrap().code;
        assert_eq!(code == "SignatureDoesNotMatch", elsewhere, "{setting:?} {code}");
        assert_eq!(code == "InvalidRequest", !elsewhere, "{setting:?} {code}");
    }
}
