//! Signature Version 4 ahead of the clock: whole heads as bytes, those of one plan in one piece of memory.
//!
//! ```text
//! METHOD path[?query] HTTP/1.1
//! Host: ...
//! Content-Length: ...                                    of requests that have a body, be it empty
//! x-amz-content-sha256: digest or UNSIGNED-PAYLOAD       from here on only with credentials
//! x-amz-date: 20130524T000000Z
//! Authorization: AWS4-HMAC-SHA256 Credential=.../20130524/us-east-1/s3/aws4_request, SignedHeaders=..., Signature=...
//! ```
//!
//! Invariant: everything of Amazon's in a head is signed; path and query stand in the signature as they are sent. A
//! signature is good for 15 minutes (Amazon S3, "Signature calculations for the Authorization header").

use std::io::Write as _;

use aws::Timestamp;
use aws::encoding::hex_append;
use aws::sigv4::{ALGORITHM, SigningKey};
use bytes::Bytes;

use crate::scenario::Credentials;

/// Heads of one plan take so much memory at most; of a plan that needs more, the rest is not made.
pub const ARENA_BYTES_MAX: usize = 512 << 20;
/// The payload header of a request whose body is not part of its signature.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The SHA-256 of nothing.
pub const EMPTY_DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// A request as far as its head goes.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// In upper case.
    pub method: &'a str,
    /// Percent-coded in Amazon's canonical form.
    pub path: &'a str,
    /// The same, with its names in order; empty when there is none.
    pub query: &'a str,
    /// What the signature says of the body: its digest in hexadecimal, or [`UNSIGNED_PAYLOAD`].
    pub payload: &'a str,
    /// The length of the body, of methods that have one.
    pub body_bytes: Option<usize>,
}

/// Makes heads for one server, all as of one moment.
pub struct Signer {
    host: String,
    signs: Option<Signs>,
    /// The canonical request, then the string to sign.
    scratch: Vec<u8>,
}

/// What signing takes besides the request.
pub(super) struct Signs {
    pub(super) access_key: String,
    key: SigningKey,
    /// `20130524T000000Z`.
    pub(super) date: String,
    /// `20130524/us-east-1/s3/aws4_request`.
    pub(super) scope: String,
}

impl Signer {
    /// Makes heads for `host`; signs them as of `now` if there are credentials.
    pub fn new(host: &str, credentials: Option<&Credentials>, now: Timestamp) -> Signer {
        let signs = credentials.map(|credentials| Signs::new(credentials, now, "s3"));
        Signer { host: host.to_owned(), signs, scratch: Vec::with_capacity(1 << 10) }
    }

    /// Appends the head of `call` to `out`.
    pub fn append(&mut self, out: &mut Vec<u8>, call: &Call<'_>) {
        let Call { method, path, query, payload, body_bytes } = call;
        let mark = if query.is_empty() { "" } else { "?" };
        let host = &self.host;
        text(out, format_args!("{method} {path}{mark}{query} HTTP/1.1\r\nHost: {host}\r\n"));
        if let Some(body_bytes) = body_bytes {
            text(out, format_args!("Content-Length: {body_bytes}\r\n"));
        }
        if let Some(signs) = &self.signs {
            let Signs { access_key, date, scope, .. } = signs;
            let signature = signs.signature(&mut self.scratch, host, call);
            text(
                out,
                format_args!(
                    "x-amz-content-sha256: {payload}\r\nx-amz-date: {date}\r\nAuthorization: {ALGORITHM} \
                     Credential={access_key}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature="
                ),
            );
            hex_append(out, &signature);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Signs {
    /// Signatures for `service` as of `now`.
    pub(super) fn new(credentials: &Credentials, now: Timestamp, service: &str) -> Signs {
        let date = String::from_utf8_lossy(&now.to_basic()).into_owned();
        let day = &date[..8];
        let Credentials { access_key, secret_key, region } = credentials;
        Signs {
            access_key: access_key.clone(),
            key: SigningKey::derive(secret_key, day, region, service),
            scope: format!("{day}/{region}/{service}/aws4_request"),
            date,
        }
    }

    /// The signature of the canonical request in `scratch`, which is used up.
    pub(super) fn sign(&self, scratch: &mut Vec<u8>) -> [u8; 32] {
        let Signs { key, date, scope, .. } = self;
        let digest = hash::sha256(scratch);
        scratch.clear();
        text(scratch, format_args!("{ALGORITHM}\n{date}\n{scope}\n"));
        hex_append(scratch, &digest);
        key.sign(scratch)
    }

    fn signature(&self, scratch: &mut Vec<u8>, host: &str, call: &Call<'_>) -> [u8; 32] {
        let date = &self.date;
        let Call { method, path, query, payload, .. } = call;
        scratch.clear();
        text(
            scratch,
            format_args!(
                "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{date}\n\n\
                 {SIGNED_HEADERS}\n{payload}"
            ),
        );
        self.sign(scratch)
    }
}

pub(super) fn text(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a Vec takes all that is written to it");
}

/// Heads of one plan while they are made.
pub struct Arena {
    bytes: Vec<u8>,
    /// Where each head ends, and the next begins.
    ends: Vec<u32>,
    bytes_max: usize,
}

/// Heads of one plan, in one piece of memory.
pub struct Heads {
    bytes: Bytes,
    ends: Vec<u32>,
}

impl Arena {
    /// An empty arena of `bytes_max` at most, which is no more than [`ARENA_BYTES_MAX`].
    pub fn new(bytes_max: usize) -> Arena {
        assert!(bytes_max <= ARENA_BYTES_MAX, "ends are 32 bits");
        Arena { bytes: Vec::new(), ends: Vec::new(), bytes_max }
    }

    /// Adds the head that `append` appends and gives its index, or nothing when the arena is full.
    pub fn add(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Option<u32> {
        let start = self.bytes.len();
        append(&mut self.bytes);
        if self.bytes.len() > self.bytes_max {
            self.bytes.truncate(start);
            return None;
        }
        let index = self.ends.len() as u32;
        self.ends.push(self.bytes.len() as u32);
        Some(index)
    }

    /// No more are made.
    pub fn close(self) -> Heads {
        Heads { bytes: self.bytes.into(), ends: self.ends }
    }
}

impl Heads {
    /// Head `index`, as `Arena::add` gave it.
    pub fn get(&self, index: u32) -> Bytes {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        self.bytes.slice(start..self.ends[index] as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
    use aws::sigv4::{Dialect, Identity, PathCoding, SigV2, SignedRequest, Verifier};
    use http_types::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    /// The example key of Amazon's documentation.
    const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn credentials() -> Credentials {
        Credentials {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    fn time(basic: &str) -> Timestamp {
        Timestamp::parse_basic(basic.as_bytes()).expect("a time")
    }

    fn head(host: &str, credentials: Option<&Credentials>, call: &Call<'_>) -> String {
        let mut out = Vec::new();
        Signer::new(host, credentials, time("20130524T000000Z")).append(&mut out, call);
        String::from_utf8(out).expect("ASCII")
    }

    /// What the appliance makes of a head.
    fn judged(head: &str) -> Result<Identity, aws::ErrorReply> {
        let mut lines = head.trim_end().split("\r\n");
        let mut request_line = lines.next().expect("a request line").split(' ');
        let method = request_line.next().expect("a method");
        let target = request_line.next().expect("a target");
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            headers.append(
                name.parse::<HeaderName>().expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        let request = SignedRequest {
            method,
            path,
            query,
            headers: &headers,
            authority: headers["host"].to_str().expect("ASCII"),
            bucket_of_host: None,
            body_sha256: None,
        };
        let account = Arc::new(Account::new(AccountId::parse("111111111111").expect("an id"), "main"));
        let mut ring = KeyRing::default();
        let secret = Secret::new(SECRET_KEY);
        ring.add_key(AccessKey { id: ACCESS_KEY.into(), secret, session: None, account });
        let dialect = Dialect {
            service: "s3",
            region: "us-east-1".to_owned(),
            path_coding: PathCoding::Once,
            sigv2: SigV2::Refused,
        };
        Verifier::new(dialect).authenticate(&request, &ring, time("20130524T000500Z"))
    }

    #[test]
    fn amazons_documented_examples_have_their_signatures() {
        // Amazon S3, "Signature calculations for the Authorization header": Get Bucket Lifecycle, List Objects.
        for (query, signature) in [
            ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let call = Call { method: "GET", path: "/", query, payload: EMPTY_DIGEST, body_bytes: None };
            let head = head("examplebucket.s3.amazonaws.com", Some(&credentials()), &call);
            assert!(head.ends_with(&format!("Signature={signature}\r\n\r\n")), "{head}");
        }
    }

    #[test]
    fn the_appliance_accepts_what_was_signed_and_nothing_else() {
        let digest = aws::encoding::hex(&hash::sha256(b"body"));
        let put = Call {
            method: "PUT",
            path: "/bench/1024/%C3%A9%20%2B",
            query: "",
            payload: &digest,
            body_bytes: Some(4),
        };
        let get = Call { method: "GET", payload: UNSIGNED_PAYLOAD, body_bytes: None, ..put };
        let list = Call { path: "/bench", query: "list-type=2&prefix=a%2F", ..get };
        for call in [put, get, list] {
            let head = head("127.0.0.1:9000", Some(&credentials()), &call);
            assert!(matches!(judged(&head), Ok(Identity::Key(_))), "{head}");
            let other = head.replacen("/bench", "/other", 1);
            assert_eq!(judged(&other).err().map(|error| error.code), Some("SignatureDoesNotMatch"));
        }
    }

    #[test]
    fn without_credentials_a_head_names_nothing_of_amazons() {
        let call =
            Call { method: "PUT", path: "/b/k", query: "", payload: UNSIGNED_PAYLOAD, body_bytes: Some(7) };
        let head = head("h:80", None, &call);
        assert_eq!(head, "PUT /b/k HTTP/1.1\r\nHost: h:80\r\nContent-Length: 7\r\n\r\n");
        assert!(matches!(judged(&head), Ok(Identity::Anonymous { .. })));
    }

    #[test]
    fn heads_lie_in_one_arena_that_stops_at_its_bound() {
        let mut signer = Signer::new("h", None, time("20130524T000000Z"));
        let call = |path| Call { method: "GET", path, query: "", payload: "", body_bytes: None };
        let mut arena = Arena::new(70);
        let added: Vec<Option<u32>> = ["/one", "/three", "/five"]
            .iter()
            .map(|path| arena.add(|out| signer.append(out, &call(path))))
            .collect();
        assert_eq!(added, [Some(0), Some(1), None]);
        let heads = arena.close();
        assert_eq!(heads.get(0), "GET /one HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(heads.get(1), "GET /three HTTP/1.1\r\nHost: h\r\n\r\n");
    }
}
