//! What botocore 1.44 really sent, byte for byte: `corpus/captured/`, recorded by `corpus/capture.py`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod harness;

use std::path::PathBuf;

use aws::Timestamp;
use aws::chunked::Decoder;
use aws::payload::{PayloadCheck, PayloadMode};
use aws::sigv4::{AuthMethod, Identity, PostFields};
use aws::uri;
use harness::Request;

/// The captures, how each was signed and the body that it carries once decoded.
const CAPTURES: [(&str, AuthMethod, &[u8]); 19] = [
    ("create_bucket", AuthMethod::V4Header, b""),
    ("delete_objects", AuthMethod::V4Header, DELETE),
    ("get_acl", AuthMethod::V4Header, b""),
    ("get_odd_key", AuthMethod::V4Header, b""),
    ("list_v2", AuthMethod::V4Header, b""),
    ("presigned_get", AuthMethod::V4Query, b""),
    ("put_signed_payload", AuthMethod::V4Header, b"hello"),
    ("put_trailer", AuthMethod::V4Header, b"hello, trailer"),
    ("put_trailer_stream", AuthMethod::V4Header, STREAM),
    ("session_head", AuthMethod::V4Header, b""),
    ("session_presigned", AuthMethod::V4Query, b""),
    ("upload_part", AuthMethod::V4Header, b"part"),
    ("v2_get_version", AuthMethod::V2Header, b""),
    ("v2_list", AuthMethod::V2Header, b""),
    ("v2_presigned", AuthMethod::V2Query, b""),
    ("v2_put", AuthMethod::V2Header, b"hello"),
    ("v2_session_head", AuthMethod::V2Header, b""),
    ("v2_session_presigned", AuthMethod::V2Query, b""),
    ("v2_uploads", AuthMethod::V2Header, b""),
];
const DELETE: &[u8] = b"<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>&lt;&amp;&gt;</Key></Object><Object><Key>k</Key></Object></Delete>";
const STREAM: &[u8] = b"stream stream stream stream stream stream stream stream stream stream stream stream stream stream \
stream stream stream stream stream stream stream stream stream stream stream stream stream stream stream stream stream \
stream stream stream stream stream stream stream stream stream ";

fn read(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "corpus", "captured", name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Takes a capture apart into its head and its body.
fn parse(bytes: &[u8]) -> (Request, Vec<u8>) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(':').unwrap()).collect();
    let headers: Vec<(&str, &str)> = headers.into_iter().map(|(name, value)| (name, value.trim())).collect();
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).unwrap().1;
    (Request::new(method, target, host, &headers), bytes[end + 4..].to_vec())
}

/// When it was sent, by its own word.
fn sent_at(request: &Request) -> Timestamp {
    let parameter = |wanted: &str| {
        let query = request.query.as_deref().unwrap_or_default();
        uri::query_pairs(query).find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    };
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    if let Some(date) = header("x-amz-date").or_else(|| parameter("X-Amz-Date")).or_else(|| header("date")) {
        let time = Timestamp::parse_basic(date.as_bytes());
        return time.or_else(|| Timestamp::parse_http(date.as_bytes(), Timestamp(0))).unwrap();
    }
    Timestamp::from_seconds(parameter("Expires").unwrap().parse::<i64>().unwrap() - 60)
}

#[test]
fn what_botocore_sends_is_authenticated_and_its_body_comes_out() {
    for (name, method, expected) in CAPTURES {
        let (request, body) = parse(&read(&format!("{name}.http")));
        let identity = harness::authenticate(&request, sent_at(&request));
        let Ok(Identity::Key(who)) = identity else { panic!("{name}: {:?}", identity.err()) };
        assert_eq!(who.method, method, "{name}");
        if who.payload.is_chunked() {
            assert_eq!(who.payload, PayloadMode::StreamingUnsignedTrailer);
            let mut decoder = Decoder::from_headers(who.payload, who.chunk_signer, &request.headers).unwrap();
            let mut data = Vec::new();
            let mut input = &body[..];
            while let Some(run) = decoder.next(&mut input).unwrap() {
                data.extend_from_slice(run);
            }
            assert_eq!(data, expected, "{name}");
            assert!(decoder.finish().unwrap().get("x-amz-checksum-crc32").is_some(), "{name}");
        } else {
            if let Some(mut check) = PayloadCheck::new(who.payload) {
                check.update(&body);
                check.finish().unwrap();
            }
            assert_eq!(body, expected, "{name}");
        }
    }
}

#[test]
fn captures_with_another_method_key_or_time_are_refused() {
    for (name, _, _) in CAPTURES {
        let (request, _) = parse(&read(&format!("{name}.http")));
        let now = sent_at(&request);
        let mut other = request.clone();
        other.method = "OPTIONS".to_owned();
        assert_eq!(harness::verdict(&other, now), Err("SignatureDoesNotMatch"), "{name}");
        let mut other = request.clone();
        other.path.push('x');
        assert_eq!(harness::verdict(&other, now), Err("SignatureDoesNotMatch"), "{name}");
        let later = Timestamp(now.as_ms() + 8 * 86_400_000);
        assert!(
            matches!(harness::verdict(&request, later), Err("RequestTimeTooSkewed" | "AccessDenied")),
            "{name}"
        );
    }
}

#[test]
fn a_parameter_cannot_be_slipped_into_a_presigned_url() {
    for name in ["presigned_get", "session_presigned", "v2_presigned", "v2_session_presigned"] {
        let (request, _) = parse(&read(&format!("{name}.http")));
        for parameter in ["acl", "%61cl", "versionId=1", "tagging=", "retention", "%72etention", "legal-hold"]
        {
            let mut other = request.clone();
            other.query.as_mut().unwrap().push_str(&format!("&{parameter}"));
            let verdict = harness::verdict(&other, sent_at(&request));
            assert!(
                matches!(verdict, Err("SignatureDoesNotMatch" | "AccessDenied")),
                "{name} {parameter} {verdict:?}"
            );
        }
    }
}

#[test]
fn forms_that_botocore_signed_are_authenticated() {
    for (name, method) in [("post_v4", AuthMethod::V4Form), ("post_v2", AuthMethod::V2Form)] {
        let text = String::from_utf8(read(&format!("{name}.form"))).unwrap();
        let field =
            |wanted: &str| text.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(": "));
        let fields = PostFields {
            policy: field("policy").unwrap(),
            algorithm: field("x-amz-algorithm"),
            credential: field("x-amz-credential"),
            date: field("x-amz-date"),
            signature: field("x-amz-signature"),
            security_token: None,
            access_key_v2: field("AWSAccessKeyId"),
            signature_v2: field("signature"),
        };
        let now = Timestamp(0);
        let verify = |fields: &PostFields<'_>| {
            let verdict = harness::verifier().verify_post_policy(fields, &harness::ring(), now);
            verdict.map(|who| who.method).map_err(|error| error.code)
        };
        assert_eq!(verify(&fields), Ok(method));
        let changed = fields.policy.replacen('e', "f", 1);
        assert_eq!(verify(&PostFields { policy: &changed, ..fields }), Err("SignatureDoesNotMatch"));
        assert_eq!(verify(&PostFields { security_token: Some("t"), ..fields }), Err("InvalidToken"));
        if method == AuthMethod::V4Form {
            assert_eq!(verify(&PostFields { signature: None, ..fields }), Err("InvalidArgument"));
            assert_eq!(
                verify(&PostFields { date: Some("20130524T000000Z"), ..fields }),
                Err("InvalidArgument")
            );
            assert_eq!(verify(&PostFields { access_key_v2: Some("A"), ..fields }), Err("InvalidArgument"));
        } else {
            assert_eq!(verify(&PostFields { signature_v2: None, ..fields }), Err("InvalidArgument"));
            assert_eq!(verify(&PostFields { access_key_v2: Some("A"), ..fields }), Err("InvalidAccessKeyId"));
        }
        assert_eq!(verify(&PostFields { policy: "e30=", ..PostFields::default() }), Err("InvalidArgument"));
    }
}
