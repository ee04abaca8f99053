//! Signature version 4 for any service and region.
//!
//! Invariant: what is hashed here is what is sent; path and query come encoded, once, from `encode.rs`. The signing key of a
//! day, region and service is derived once for a secret and never used for another one. Presigned addresses are in
//! `presign.rs`, signatures of chunks in `chunks.rs`.

pub mod chunks;
#[cfg(test)]
mod oracle;
pub mod presign;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_types::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::credentials::Keys;
use crate::date::AmzDate;
use crate::encode;
use crate::error::WireError;

/// `x-amz-date`.
pub const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// `x-amz-content-sha256`.
pub const AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// `x-amz-security-token`.
pub const AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// How the payload enters a signature.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// By its SHA-256.
    Whole(&'a [u8]),
    /// Not at all.
    Unsigned,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks without signatures, and a checksum behind them.
    UnsignedTrailer,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk is signed.
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: the checksum behind them is signed, too.
    SignedChunksTrailer,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `GET`.
    pub method: &'a str,
    /// As it is sent, encoded once.
    pub path: &'a str,
    /// As it is sent: encoded, sorted, without `?`.
    pub query: &'a str,
    /// Host, with the port unless it is the scheme's own.
    pub host: &'a str,
    /// `s3`: its path is taken as it is and its payload hash is sent. Other services' paths are encoded once more.
    pub service: &'a str,
    /// `us-east-1`.
    pub region: &'a str,
}

/// What the signatures of chunks start from.
#[derive(Clone, Debug)]
pub struct Seed {
    key: Arc<SigningKey>,
    date: AmzDate,
    scope: Box<str>,
    signature: [u8; 64],
}

/// A signing key: HMAC states that have taken in the key.
#[derive(Debug)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Four HMACs from the secret.
    fn derive(secret: &str, day: &[u8], region: &str, service: &str) -> SigningKey {
        let mut first = Vec::with_capacity(4 + secret.len());
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let mut key = mac(&first, day);
        for part in [region.as_bytes(), service.as_bytes()] {
            key = mac(&key, part);
        }
        SigningKey(keyed(&mac(&key, b"aws4_request")))
    }

    /// The signature of `to_sign` in hex.
    fn sign(&self, to_sign: &[u8]) -> [u8; 64] {
        let mut state = self.0.clone();
        state.update(to_sign);
        encode::hex_of_digest(&state.finalize().into_bytes().into())
    }
}

/// Signs requests. One per client; its keys are shared by all clones of a client.
#[derive(Debug, Default)]
pub struct Signer {
    keys: Mutex<Vec<CachedKey>>,
}

struct CachedKey {
    day: [u8; 8],
    region: Box<str>,
    service: Box<str>,
    secret: Box<str>,
    key: Arc<SigningKey>,
}

impl std::fmt::Debug for CachedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CachedKey({}/{})", self.region, self.service)
    }
}

impl Signer {
    /// Without keys.
    pub fn new() -> Signer {
        Signer::default()
    }

    /// Signs by headers: adds `x-amz-date`, the session token, for S3 and for chunks `x-amz-content-sha256`, and
    /// `authorization`. Errors: an access key or a token that no header can hold.
    pub fn sign_headers(
        &self,
        subject: &Subject<'_>,
        keys: &Keys,
        payload: Payload<'_>,
        headers: &mut HeaderMap,
        date: AmzDate,
    ) -> Result<Seed, WireError> {
        headers.insert(AMZ_DATE, HeaderValue::from_str(date.as_str()).map_err(unfit)?);
        if let Some(token) = &keys.session_token {
            let mut token = HeaderValue::from_str(token).map_err(unfit)?;
            token.set_sensitive(true);
            headers.insert(AMZ_SECURITY_TOKEN, token);
        }
        let digest;
        let payload_hash: &[u8] = match payload {
            Payload::Whole([]) => EMPTY_SHA256,
            Payload::Whole(body) => {
                digest = encode::hex_of_digest(&Sha256::digest(body).into());
                &digest
            }
            Payload::Unsigned => b"UNSIGNED-PAYLOAD",
            Payload::UnsignedTrailer => b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            Payload::SignedChunks => b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Payload::SignedChunksTrailer => b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        };
        if subject.service == "s3" || !matches!(payload, Payload::Whole(_)) {
            headers.insert(AMZ_CONTENT_SHA256, HeaderValue::from_bytes(payload_hash).map_err(unfit)?);
        }
        let mut canonical = Vec::with_capacity(1024);
        let names = write_canonical(&mut canonical, subject, subject.query, headers, payload_hash);
        let key = self.key(keys, date.day(), subject.region, subject.service);
        let scope = scope_of(date, subject);
        let signature = sign_canonical(&key, date, &scope, &canonical);

        let mut line = Vec::with_capacity(128 + keys.access_key.len() + scope.len() + names.len());
        for part in [
            b"AWS4-HMAC-SHA256 Credential=".as_slice(),
            keys.access_key.as_bytes(),
            b"/",
            scope.as_bytes(),
            b", SignedHeaders=",
            &canonical[names],
            b", Signature=",
            &signature,
        ] {
            line.extend_from_slice(part);
        }
        let mut line = HeaderValue::from_maybe_shared(Bytes::from(line)).map_err(unfit)?;
        // It comes once: HPACK keeps it out of its table, and Debug out of logs.
        line.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, line);
        Ok(Seed { key, date, scope: scope.into(), signature })
    }

    /// The key of a day, region and service. Entries of other days and secrets leave as new ones come.
    fn key(&self, keys: &Keys, day: &[u8], region: &str, service: &str) -> Arc<SigningKey> {
        let mut cached = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cached.iter().find(|entry| {
            entry.day == day
                && *entry.service == *service
                && *entry.region == *region
                && *entry.secret == *keys.secret_key
        });
        if let Some(entry) = found {
            return entry.key.clone();
        }
        let key = Arc::new(SigningKey::derive(&keys.secret_key, day, region, service));
        if cached.len() == CACHED_KEYS_MAX {
            cached.remove(0);
        }
        let mut of_day = [0; 8];
        of_day.copy_from_slice(day);
        cached.push(CachedKey {
            day: of_day,
            region: region.into(),
            service: service.into(),
            secret: keys.secret_key.as_str().into(),
            key: key.clone(),
        });
        key
    }
}

/// Keys kept; a client speaks to few services in few regions.
const CACHED_KEYS_MAX: usize = 32;

/// The SHA-256 of nothing.
pub(crate) const EMPTY_SHA256: &[u8; 64] =
    b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The headers that are signed beside `host` and everything that begins with `x-amz-`: those that say what is to be done and that
/// nothing on the way changes.
const SIGNED: [HeaderName; 6] = [
    header::CONTENT_ENCODING,
    HeaderName::from_static("content-md5"),
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::RANGE,
];

fn is_signed(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amz-") || SIGNED.contains(name)
}

/// `20130524/us-east-1/s3/aws4_request`.
fn scope_of(date: AmzDate, subject: &Subject<'_>) -> String {
    let mut scope = String::with_capacity(32 + subject.region.len() + subject.service.len());
    scope.push_str(&date.as_str()[..8]);
    for part in [subject.region, subject.service, "aws4_request"] {
        scope.push('/');
        scope.push_str(part);
    }
    scope
}

/// Writes the canonical request and says where in it the names of the signed headers stand.
fn write_canonical(
    out: &mut Vec<u8>,
    subject: &Subject<'_>,
    query: &str,
    headers: &HeaderMap,
    payload_hash: &[u8],
) -> std::ops::Range<usize> {
    let mut signed: Vec<(&str, &[u8])> = Vec::with_capacity(headers.len() + 1);
    signed.push(("host", subject.host.as_bytes()));
    signed.extend(
        headers
            .iter()
            .filter(|(name, _)| is_signed(name))
            .map(|(name, value)| (name.as_str(), value.as_bytes())),
    );
    // Stable: values of one name keep their order.
    signed.sort_by_key(|(name, _)| *name);

    out.extend_from_slice(subject.method.as_bytes());
    out.push(b'\n');
    if subject.service == "s3" {
        out.extend_from_slice(subject.path.as_bytes());
    } else {
        let mut twice = String::new();
        encode::append_path(&mut twice, subject.path);
        out.extend_from_slice(twice.as_bytes());
    }
    out.push(b'\n');
    out.extend_from_slice(query.as_bytes());
    out.push(b'\n');
    let mut previous = "";
    for (name, value) in &signed {
        if *name == previous {
            // One line per name; its values are joined.
            out.pop();
            out.push(b',');
        } else {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
        }
        append_trimmed(out, value);
        out.push(b'\n');
        previous = name;
    }
    out.push(b'\n');
    let start = out.len();
    previous = "";
    for (name, _) in signed.iter().filter(|(name, _)| {
        let is_first = *name != previous;
        previous = name;
        is_first
    }) {
        if out.len() > start {
            out.push(b';');
        }
        out.extend_from_slice(name.as_bytes());
    }
    let end = out.len();
    out.push(b'\n');
    out.extend_from_slice(payload_hash);
    start..end
}

/// Without blanks at both ends, and with one where several stand.
fn append_trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    if !value.windows(2).any(|pair| pair == b"  ") {
        out.extend_from_slice(value);
        return;
    }
    let mut last = 0;
    for byte in value {
        if *byte != b' ' || last != b' ' {
            out.push(*byte);
        }
        last = *byte;
    }
}

fn sign_canonical(key: &SigningKey, date: AmzDate, scope: &str, canonical: &[u8]) -> [u8; 64] {
    let digest = encode::hex_of_digest(&Sha256::digest(canonical).into());
    let mut to_sign = Vec::with_capacity(160 + scope.len());
    for part in [b"AWS4-HMAC-SHA256\n".as_slice(), date.as_bytes(), b"\n", scope.as_bytes(), b"\n", &digest] {
        to_sign.extend_from_slice(part);
    }
    key.sign(&to_sign)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; longer ones than a block are hashed first.
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut state = keyed(key);
    state.update(message);
    state.finalize().into_bytes().into()
}

fn unfit(_: impl std::error::Error) -> WireError {
    WireError::credentials("the access key or the session token holds a byte that no header can carry")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> Keys {
        Keys::new("AKIDEXAMPLE", secret)
    }

    #[test]
    fn the_key_of_a_day_is_derived_once() {
        let signer = Signer::new();
        let first = signer.key(&keys("one"), b"20130524", "us-east-1", "s3");
        assert!(Arc::ptr_eq(&first, &signer.key(&keys("one"), b"20130524", "us-east-1", "s3")));
        assert!(!Arc::ptr_eq(&first, &signer.key(&keys("two"), b"20130524", "us-east-1", "s3")));
        assert!(!Arc::ptr_eq(&first, &signer.key(&keys("one"), b"20130525", "us-east-1", "s3")));
        assert!(!Arc::ptr_eq(&first, &signer.key(&keys("one"), b"20130524", "us-east-2", "s3")));
        assert!(!Arc::ptr_eq(&first, &signer.key(&keys("one"), b"20130524", "us-east-1", "sqs")));
    }

    #[test]
    fn the_cache_of_keys_is_bounded() {
        let signer = Signer::new();
        for day in 0..100_u64 {
            drop(signer.key(&keys("one"), AmzDate::of(day * 86_400).day(), "r", "s"));
        }
        assert_eq!(signer.keys.lock().unwrap().len(), CACHED_KEYS_MAX);
    }

    #[test]
    fn debug_of_a_signer_shows_no_secret() {
        let signer = Signer::new();
        drop(signer.key(&keys("verysecret"), b"20130524", "us-east-1", "s3"));
        assert!(!format!("{signer:?}").contains("verysecret"));
    }

    #[test]
    fn signatures_and_tokens_are_shown_to_nobody() {
        let keys = Keys { session_token: Some("tok".into()), ..keys("one") };
        let subject =
            Subject { method: "GET", path: "/", query: "", host: "h", service: "s3", region: "us-east-1" };
        let mut headers = HeaderMap::new();
        let date = AmzDate::of(0);
        Signer::new().sign_headers(&subject, &keys, Payload::Unsigned, &mut headers, date).unwrap();
        assert!(headers[header::AUTHORIZATION].is_sensitive() && headers[AMZ_SECURITY_TOKEN].is_sensitive());
    }

    #[test]
    fn a_token_that_no_header_holds_is_refused() {
        let keys = Keys { session_token: Some("a\nb".into()), ..keys("one") };
        let subject =
            Subject { method: "GET", path: "/", query: "", host: "h", service: "s3", region: "us-east-1" };
        let mut headers = HeaderMap::new();
        let date = AmzDate::of(0);
        assert!(Signer::new().sign_headers(&subject, &keys, Payload::Unsigned, &mut headers, date).is_err());
    }
}
