//! Tests of the chunk decoder: Amazon's documented uploads, every cut, every changed byte.

use super::*;
use crate::encoding::{hex, unhex};
use crate::fuzz;
use crate::sigv4::SigningKey;
use crate::time::Timestamp;

/// "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks", S3 API
/// reference.
fn documented(seed: &str) -> ChunkSigner {
    let key = SigningKey::derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3");
    let signed_at = Timestamp::parse_basic(b"20130524T000000Z").unwrap();
    ChunkSigner::new(key, signed_at, "20130524/us-east-1/s3/aws4_request", &unhex(seed.as_bytes()).unwrap())
}

fn run(decoder: Decoder, body: &[u8]) -> (Vec<u8>, Result<Trailers, &'static str>) {
    let mut decoder = decoder;
    let mut data = Vec::new();
    let mut input = body;
    loop {
        match decoder.next(&mut input) {
            Ok(Some(run)) => data.extend_from_slice(run),
            Ok(None) => return (data, decoder.finish().map_err(|error| error.code)),
            Err(error) => return (data, Err(error.code)),
        }
    }
}

#[test]
fn the_documented_upload_of_66560_bytes_is_accepted() {
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let mut body = Vec::new();
    body.extend_from_slice(
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
    );
    body.extend_from_slice(&[b'a'; 65_536]);
    body.extend_from_slice(
        b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
    );
    body.extend_from_slice(&[b'a'; 1_024]);
    body.extend_from_slice(
        b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
    );
    assert_eq!(body.len(), 66_824, "the documented Content-Length");
    let decoder = || {
        Decoder::new(PayloadMode::StreamingSigned, Some(Box::new(documented(seed))), Some(66_560), Vec::new())
    };
    let (data, result) = run(decoder(), &body);
    assert_eq!(data, [b'a'; 66_560]);
    assert_eq!(result, Ok(Trailers::default()));
    body[60_000] = b'b';
    assert_eq!(run(decoder(), &body).1, Err("SignatureDoesNotMatch"));
}

#[test]
fn the_documented_upload_with_a_trailer_is_accepted() {
    // "Signature calculations for trailing headers", S3 API reference.
    let mut signer = documented("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    let signatures = [
        hex(&signer.sign_chunk(&[b'a'; 65_536])),
        hex(&signer.sign_chunk(&[b'a'; 1_024])),
        hex(&signer.sign_chunk(b"")),
        hex(&signer.sign_trailer(b"x-amz-checksum-crc32c:sOO8/Q==\n")),
    ];
    assert_eq!(
        signatures,
        [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
        ]
    );
}

/// A body of two chunks and an end, in the mode's form, signed by the signer of the fuzz targets.
fn body(mode: PayloadMode) -> Vec<u8> {
    let mut signer = fuzz::chunk_signer();
    let mut out = Vec::new();
    for data in [&b"hello, world"[..], b"0123456789abcdef\r\n0\r\n\r\n", b""] {
        out.extend_from_slice(format!("{:x}", data.len()).as_bytes());
        if mode != PayloadMode::StreamingUnsignedTrailer {
            out.extend_from_slice(format!(";chunk-signature={}", hex(&signer.sign_chunk(data))).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !data.is_empty() {
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
    }
    let trailer = "x-amz-checksum-crc32:AAAAAA==";
    if mode != PayloadMode::StreamingSigned {
        out.extend_from_slice(format!("{trailer}\r\n").as_bytes());
    }
    if mode == PayloadMode::StreamingSignedTrailer {
        let signature = hex(&signer.sign_trailer(format!("{trailer}\n").as_bytes()));
        out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

const DATA: &[u8] = b"hello, world0123456789abcdef\r\n0\r\n\r\n";
const MODES: [PayloadMode; 3] = [
    PayloadMode::StreamingSigned,
    PayloadMode::StreamingSignedTrailer,
    PayloadMode::StreamingUnsignedTrailer,
];

#[test]
fn every_cut_in_two_gives_the_same_data_and_trailers() {
    for mode in MODES {
        let body = body(mode);
        for cut in 0..=body.len() {
            let (data, result) = fuzz::decode(mode, &body, |turn| if turn == 0 { cut } else { usize::MAX });
            assert_eq!(data, DATA, "{mode:?} cut at {cut}");
            let trailers = result.unwrap();
            let expected = (mode != PayloadMode::StreamingSigned).then_some("AAAAAA==");
            assert_eq!(trailers.get("x-amz-checksum-crc32"), expected);
        }
    }
}

#[test]
fn every_truncation_is_an_incomplete_body() {
    for mode in MODES {
        let body = body(mode);
        for length in 0..body.len() {
            let (_, result) = fuzz::decode(mode, &body[..length], |_| usize::MAX);
            assert_eq!(result.unwrap_err().code, "IncompleteBody", "{mode:?} cut at {length}");
        }
    }
}

#[test]
fn every_changed_byte_of_a_signed_body_is_refused_alike_at_every_cut() {
    for mode in [PayloadMode::StreamingSigned, PayloadMode::StreamingSignedTrailer] {
        let body = body(mode);
        for index in 0..body.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = body.clone();
                changed[index] ^= flip;
                let whole = fuzz::decode(mode, &changed, |_| usize::MAX);
                // A name's case, and that of a size's digits, say nothing.
                if whole.1.is_ok() {
                    let is_case = changed[index].eq_ignore_ascii_case(&body[index]);
                    assert!(is_case && whole.0 == DATA, "{mode:?} byte {index} flip {flip}");
                }
                assert_eq!(whole, fuzz::decode(mode, &changed, |_| 1), "{mode:?} byte {index} flip {flip}");
            }
        }
    }
}

#[test]
fn bytes_are_shared_and_not_copied() {
    let body = Bytes::from(body(PayloadMode::StreamingUnsignedTrailer));
    let range = body.as_ptr_range();
    let announced = vec!["x-amz-checksum-crc32".to_owned()];
    let mut decoder = Decoder::new(PayloadMode::StreamingUnsignedTrailer, None, None, announced);
    let mut input = body.clone();
    let mut data = Vec::new();
    while let Some(run) = decoder.next_bytes(&mut input).unwrap() {
        assert!(range.contains(&run.as_ptr()));
        data.extend_from_slice(&run);
    }
    assert_eq!(data, DATA);
    assert!(decoder.is_done() && input.is_empty());
    assert!(decoder.finish().is_ok());
}

fn unsigned(text: &str, expected: Option<u64>, announced: &[&str]) -> Result<Trailers, &'static str> {
    let announced = announced.iter().map(|name| (*name).to_owned()).collect();
    let decoder = Decoder::new(PayloadMode::StreamingUnsignedTrailer, None, expected, announced);
    run(decoder, text.as_bytes()).1
}

#[test]
fn lengths_are_held_to_what_was_promised() {
    let text = "5\r\nhello\r\n0\r\n\r\n";
    assert!(unsigned(text, Some(5), &[]).is_ok());
    assert!(unsigned(text, None, &[]).is_ok());
    assert_eq!(unsigned(text, Some(4), &[]), Err("IncompleteBody"));
    assert_eq!(unsigned(text, Some(6), &[]), Err("IncompleteBody"));
    assert!(unsigned("0\r\n\r\n", Some(0), &[]).is_ok());
}

#[test]
fn broken_heads_are_invalid_chunks() {
    for text in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\rX",
        "1000000000000000\r\n",
        "fffffffffffffff\r\n",
    ] {
        let result = unsigned(text, None, &[]);
        let expected = if text.starts_with("ffff") { "IncompleteBody" } else { "InvalidChunkSizeError" };
        assert_eq!(result, Err(expected), "{text:?}");
    }
    let long = format!("5;{}", "x".repeat(LINE_BYTES_MAX));
    assert_eq!(unsigned(&long, None, &[]), Err("InvalidChunkSizeError"));
    let longest = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(LINE_BYTES_MAX - 4));
    assert!(unsigned(&longest, None, &[]).is_ok());
}

#[test]
fn trailers_must_be_announced_once_and_come_once() {
    let crc = "x-amz-checksum-crc32";
    let end = |lines: &str| format!("1\r\na\r\n0\r\n{lines}\r\n");
    assert!(unsigned(&end("X-Amz-Checksum-CRC32: AAAAAA== \r\n"), None, &[crc]).is_ok());
    assert!(unsigned(&end("x-amz-checksum-crc32:AAAAAA==\n"), None, &[crc]).is_ok());
    // MinIO's client ends an unsigned body with one line end more.
    assert!(unsigned(&format!("{}\r\n", end("x-amz-checksum-crc32:A\n")), None, &[crc]).is_ok());
    for (lines, announced) in [
        ("x-amz-checksum-crc32:A\r\n", &[][..]),
        ("", &[crc][..]),
        ("x-amz-checksum-crc32:A\r\nx-amz-checksum-crc32:A\r\n", &[crc][..]),
        ("x-amz-checksum-crc32\r\n", &[crc][..]),
        ("x-amz-checksum-crc32:\u{1}\r\n", &[crc][..]),
    ] {
        assert_eq!(unsigned(&end(lines), None, announced), Err("MalformedTrailerError"), "{lines:?}");
    }
    let long = format!("0\r\nx-amz-checksum-crc32:{}\r\n\r\n", "A".repeat(LINE_BYTES_MAX));
    assert_eq!(unsigned(&long, None, &[crc]), Err("MalformedTrailerError"));
    assert_eq!(unsigned("0\r\n\r\nGET", None, &[]), Err("MalformedTrailerError"));
    assert_eq!(unsigned("0\r\n\r\n\r\n\r\n", None, &[]), Err("MalformedTrailerError"));
}

#[test]
fn the_trailer_form_of_minio_is_accepted() {
    let mode = PayloadMode::StreamingSignedTrailer;
    let text = String::from_utf8(body(mode)).unwrap();
    let text = text.replace("AAAAAA==\r\n", "AAAAAA==\n\r\n");
    let (data, result) = fuzz::decode(mode, text.as_bytes(), |_| usize::MAX);
    assert_eq!(data, DATA);
    assert!(result.is_ok());
    assert_eq!(fuzz::decode(mode, text.as_bytes(), |_| 1).1, result);
}

#[test]
fn a_signed_body_without_its_signatures_is_refused() {
    let mode = PayloadMode::StreamingSignedTrailer;
    let text = String::from_utf8(body(mode)).unwrap();
    let cut = text.find("x-amz-trailer-signature").unwrap();
    let unsigned_trailer = format!("{}\r\n\r\n", &text[..cut]);
    for text in ["1\r\na\r\n0\r\n\r\n", "1;chunk-signature=00\r\na\r\n", &unsigned_trailer] {
        let (_, result) = fuzz::decode(mode, text.as_bytes(), |_| usize::MAX);
        assert_eq!(result.unwrap_err().code, "SignatureDoesNotMatch");
    }
}

#[test]
fn headers_give_length_and_names() {
    let mode = PayloadMode::StreamingUnsignedTrailer;
    let mut headers = HeaderMap::new();
    headers.insert(DECODED_LENGTH_HEADER, "5".parse().unwrap());
    headers.insert("x-amz-trailer", "X-Amz-Checksum-CRC32, x-other".parse().unwrap());
    let decoder = Decoder::from_headers(mode, None, &headers).unwrap();
    assert_eq!(decoder.expected_bytes(), Some(5));
    assert_eq!(decoder.announced, ["x-amz-checksum-crc32", "x-other"]);
    headers.insert(DECODED_LENGTH_HEADER, "+5".parse().unwrap());
    assert_eq!(Decoder::from_headers(mode, None, &headers).err().unwrap().code, "InvalidArgument");
    headers.remove(DECODED_LENGTH_HEADER);
    headers.insert("x-amz-trailer", "a,".repeat(TRAILER_COUNT_MAX + 1).parse().unwrap());
    assert_eq!(Decoder::from_headers(mode, None, &headers).err().unwrap().code, "MalformedTrailerError");
}
