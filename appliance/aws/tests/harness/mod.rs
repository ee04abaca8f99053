//! What the signature tests share: a ring of keys, a request that can be changed, a verifier.
#![allow(dead_code, reason = "each test crate uses its part")]

use std::sync::Arc;

use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret, Session};
use aws::sigv4::{Dialect, Identity, PathCoding, SigV2, SignedRequest, Verifier};
use aws::{ErrorReply, Timestamp};
use http_types::{HeaderMap, HeaderName, HeaderValue};

/// The example key of Amazon's documentation.
pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// A temporary key; it ends with the year 2030.
pub const SESSION_KEY: &str = "ASIAIOSFODNN7EXAMPLE";
pub const SESSION_TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGd==";

/// A request that owns its parts.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub authority: String,
    pub bucket_of_host: Option<String>,
}

impl Request {
    pub fn new(method: &str, target: &str, authority: &str, headers: &[(&str, &str)]) -> Request {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers: HeaderMap::new(),
            authority: authority.to_owned(),
            bucket_of_host: None,
        };
        for (name, value) in headers {
            request.append(name, value);
        }
        request
    }

    pub fn append(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }

    pub fn set(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }

    pub fn borrowed(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            authority: &self.authority,
            bucket_of_host: self.bucket_of_host.as_deref(),
            body_sha256: None,
        }
    }
}

pub fn ring() -> KeyRing {
    let account = Arc::new(Account::new(AccountId::parse("111111111111").unwrap(), "main"));
    let mut ring = KeyRing::default();
    ring.add_key(AccessKey {
        id: ACCESS_KEY.into(),
        secret: Secret::new(SECRET_KEY),
        session: None,
        account: Arc::clone(&account),
    });
    let expires_at = Timestamp::parse_basic(b"20301231T235959Z").unwrap();
    ring.add_key(AccessKey {
        id: SESSION_KEY.into(),
        secret: Secret::new(SECRET_KEY),
        session: Some(Session { token: Secret::new(SESSION_TOKEN), expires_at }),
        account,
    });
    ring
}

pub fn verifier() -> Verifier {
    Verifier::new(Dialect {
        service: "s3",
        region: "us-east-1".to_owned(),
        path_coding: PathCoding::Once,
        sigv2: SigV2::Everywhere,
    })
}

pub fn time(basic: &str) -> Timestamp {
    Timestamp::parse_basic(basic.as_bytes()).unwrap()
}

pub fn authenticate(request: &Request, now: Timestamp) -> Result<Identity, ErrorReply> {
    verifier().authenticate(&request.borrowed(), &ring(), now)
}

/// The code of the refusal, or `Ok` with the kind of the identity.
pub fn verdict(request: &Request, now: Timestamp) -> Result<&'static str, &'static str> {
    match authenticate(request, now) {
        Ok(Identity::Anonymous { .. }) => Ok("anonymous"),
        Ok(Identity::Key(_)) => Ok("signed"),
        Err(error) => Err(error.code),
    }
}

/// Numbers that a seed determines: xorshift64* (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The seed of a random test: from the environment, so that a failure can be replayed, else from the clock.
pub fn seed() -> u64 {
    match std::env::var("AWS_TEST_SEED") {
        Ok(text) => text.parse().expect("AWS_TEST_SEED is a number"),
        Err(_) => {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            since.as_nanos() as u64
        }
    }
}
