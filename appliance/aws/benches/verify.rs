//! What one verification costs: nanoseconds and allocations, with warm buffers and a warm key cache.
//!
//! `cargo bench -p zerocloud-aws`. Figures depend on the machine; the allocations do not.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aws::Timestamp;
use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
use aws::chunked::Decoder;
use aws::encoding::hex;
use aws::payload::PayloadMode;
use aws::sigv4::{ChunkSigner, Dialect, PathCoding, SigV2, SignedRequest, SigningKey, Verifier};
use http_types::{HeaderMap, HeaderValue};

/// The best of so many batches counts: a busy machine makes a batch slower, never faster.
const BATCHES: u32 = 200;
const ROUNDS: u32 = 500;
const NOW: &str = "20130524T000000Z";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn main() {
    let ring = ring();
    let mut verifier = Verifier::new(Dialect {
        service: "s3",
        region: "us-east-1".to_owned(),
        path_coding: PathCoding::Once,
        sigv2: SigV2::Refused,
    });
    let now = Timestamp::parse_basic(NOW.as_bytes()).expect("a date");
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", NOW),
        ("user-agent", "aws-sdk-rust/1.3"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let header = SignedRequest {
        method: "GET",
        path: "/test.txt",
        query: None,
        headers: &headers,
        authority: "examplebucket.s3.amazonaws.com",
        bucket_of_host: None,
        body_sha256: None,
    };
    let none = HeaderMap::new();
    let presigned = SignedRequest {
        query: Some(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        ),
        headers: &none,
        ..header
    };
    let wrong = SignedRequest { method: "PUT", ..header };
    for (name, request, is_right) in
        [("GET, header", header, true), ("GET, presigned", presigned, true), ("refused", wrong, false)]
    {
        measure(name, || {
            let result = verifier.authenticate(black_box(&request), &ring, now);
            assert_eq!(result.is_ok(), is_right);
        });
    }
    chunks();
}

fn ring() -> KeyRing {
    let mut ring = KeyRing::default();
    ring.add_key(AccessKey {
        id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session: None,
        account: Arc::new(Account::new(AccountId::parse("000000000000").expect("digits"), "root")),
    });
    ring
}

fn measure(name: &str, mut run: impl FnMut()) {
    (0..1000).for_each(|_| run());
    let mut each_ns = u128::MAX;
    for _ in 0..BATCHES {
        let started = Instant::now();
        (0..ROUNDS).for_each(|_| run());
        each_ns = each_ns.min(started.elapsed().as_nanos() / u128::from(ROUNDS));
    }
    let allocated = allocation_counter::measure(&mut run);
    println!(
        "{name:<16} {each_ns:>6} ns  {:>3} allocations, {:>5} bytes",
        allocated.count_total, allocated.bytes_total
    );
}

/// The decoder over 64 KiB chunks, where hashing is nearly all of it, and without signatures, where nothing
/// is.
fn chunks() {
    let key = SigningKey::derive("secret", "20130524", "us-east-1", "s3");
    let signer = ChunkSigner::new(key, Timestamp(0), "20130524/us-east-1/s3/aws4_request", &[0; 32]);
    let data = vec![b'a'; 64 * 1024];
    for mode in [PayloadMode::StreamingSigned, PayloadMode::StreamingUnsignedTrailer] {
        let is_signed = mode == PayloadMode::StreamingSigned;
        let mut chain = signer.clone();
        let mut body = Vec::new();
        for chunk in std::iter::repeat_n(&data[..], 256).chain([&b""[..]]) {
            let signature = if is_signed {
                format!(";chunk-signature={}", hex(&chain.sign_chunk(chunk)))
            } else {
                String::new()
            };
            body.extend_from_slice(format!("{:x}{signature}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        let mut best: f64 = 0.0;
        for _ in 0..20 {
            let started = Instant::now();
            let mut decoder =
                Decoder::new(mode, is_signed.then(|| Box::new(signer.clone())), None, Vec::new());
            let mut decoded_bytes = 0;
            for mut piece in body.chunks(16 * 1024) {
                while let Some(run) = decoder.next(&mut piece).expect("the body is right") {
                    decoded_bytes += black_box(run).len();
                }
            }
            decoder.finish().expect("the body is right");
            best = best.max(decoded_bytes as f64 / started.elapsed().as_secs_f64() / 1e9);
        }
        println!("{mode:?}: {best:.2} GB/s of 64 KiB chunks");
    }
}
