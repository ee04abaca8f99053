//! Who signed a request: Signature Version 4 in the Authorization header, in a presigned URL and in a POST
//! form.
//!
//! ```text
//! request -> which mechanism? -> parse -> scope and clock -> key and token -> what must be signed -> signature
//!             none: anonymous     400      400, 403            403, 400        403                    403
//! ```
//!
//! Invariant: an [`Authenticated`] exists only for a request whose signature was computed with the secret of
//! its key and compared in constant time. The order of the checks is that of the diagram: a request that
//! fails two of them gets the refusal that comes first. Bodies are not looked at here; [`crate::payload`] and
//! [`crate::chunked`] hold them to what was promised.

pub(crate) mod canonical;
mod chain;
mod keys;
mod mechanism;
mod names;
mod parse;
mod post;
pub(crate) mod refusal;

use std::sync::Arc;

use http_types::{HeaderMap, header};
use sha2::{Digest, Sha256};

pub use canonical::PathCoding;
pub(crate) use canonical::append_collapsed;
pub use chain::ChunkSigner;
pub use keys::SigningKey;
pub use parse::{AuthorizationHeader, Credential, EXPIRES_SECONDS_MAX, PresignedQuery, Scope};
pub use post::PostFields;
pub(crate) use post::missing_field;

use crate::account::{AccessKey, Account, Credentials};
use crate::encoding::{hex_append, unhex};
use crate::error::ErrorReply;
use crate::payload::{self, PayloadMode};
use crate::sigv2;
use crate::time::Timestamp;
use canonical::{Canonical, Source};
use keys::KeyCache;
use mechanism::Mechanism;
use refusal::{Place, SKEW_MS_MAX};

/// What a service expects of signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The service's name in a scope, such as `s3`.
    pub service: &'static str,
    /// The region of this appliance.
    pub region: String,
    /// How the service's paths are signed.
    pub path_coding: PathCoding,
    /// Where Signature Version 2 is accepted, which only S3 ever had.
    pub sigv2: SigV2,
}

/// Where a service accepts Signature Version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SigV2 {
    /// Nowhere.
    Refused,
    /// In a URL's query only. AWS's Python clients presign so unless told otherwise, while no client of today
    /// signs its own requests so.
    #[default]
    Presigned,
    /// In headers and POST forms too.
    Everywhere,
}

/// A request as far as its signature is concerned.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// In upper case, as sent.
    pub method: &'a str,
    /// The raw path, percent-coded as sent.
    pub path: &'a str,
    /// The raw query without its `?`.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The Host header or `:authority`, with its port, as sent.
    pub authority: &'a str,
    /// The bucket, where the host named it; Signature Version 2 signs it as part of the path.
    pub bucket_of_host: Option<&'a str>,
    /// The SHA-256 of a body that was read already, for services whose clients need not announce it. It counts
    /// as what was signed, whatever the headers say. S3 passes `None`.
    pub body_sha256: Option<[u8; 32]>,
}

/// Who sent a request.
#[derive(Clone)]
pub enum Identity {
    /// It carries no signature.
    Anonymous {
        /// What it says about its body nevertheless; never a signed form.
        payload: PayloadMode,
    },
    /// It was signed.
    Key(Authenticated),
}

/// A request whose signature is right.
#[derive(Clone)]
pub struct Authenticated {
    /// The public half of the key.
    pub access_key: Arc<str>,
    /// Whose key it is.
    pub account: Arc<Account>,
    /// How the signature was made and where it was.
    pub method: AuthMethod,
    /// What the signature promises about the body.
    pub payload: PayloadMode,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// Set if `payload` is one of the signed streaming modes.
    pub chunk_signer: Option<Box<ChunkSigner>>,
}

impl Authenticated {
    /// Whether this is a presigned URL, of either version.
    pub fn is_presigned(&self) -> bool {
        match self.method {
            AuthMethod::V4Query | AuthMethod::V2Query => true,
            AuthMethod::V4Header | AuthMethod::V4Form | AuthMethod::V2Header | AuthMethod::V2Form => false,
        }
    }
}

/// How a request was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// Version 4, Authorization header.
    V4Header,
    /// Version 4, presigned URL.
    V4Query,
    /// Version 4, POST form.
    V4Form,
    /// Version 2, Authorization header.
    V2Header,
    /// Version 2, presigned URL.
    V2Query,
    /// Version 2, POST form.
    V2Form,
}

/// Verifies signatures for one service on one core. It keeps its buffers and signing keys from request to
/// request.
pub struct Verifier {
    dialect: Dialect,
    cache: KeyCache,
    canonical: Canonical,
    to_sign: Vec<u8>,
    payload_hash: Vec<u8>,
}

impl Verifier {
    /// A verifier with an empty cache.
    pub fn new(dialect: Dialect) -> Verifier {
        Verifier {
            dialect,
            cache: KeyCache::default(),
            canonical: Canonical::default(),
            to_sign: Vec::new(),
            payload_hash: Vec::new(),
        }
    }

    /// What it expects.
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Says who sent `request`, at the time `now`. Errors are those of the module's diagram.
    pub fn authenticate(
        &mut self,
        request: &SignedRequest<'_>,
        credentials: &dyn Credentials,
        now: Timestamp,
    ) -> Result<Identity, ErrorReply> {
        match Mechanism::of(request, self.dialect.sigv2)? {
            Mechanism::None => anonymous(request.headers),
            Mechanism::Header(header) => {
                self.verify_header(request, &header, credentials, now).map(Identity::Key)
            }
            Mechanism::Query(presigned) => {
                self.verify_presigned(request, &presigned, credentials, now).map(Identity::Key)
            }
            Mechanism::V2Header(value) => {
                sigv2::verify_header(request, value, credentials, now).map(Identity::Key)
            }
            Mechanism::V2Query(presigned) => {
                sigv2::verify_presigned(request, &presigned, credentials, now).map(Identity::Key)
            }
        }
    }

    /// What can be said before the body is there: whether `request` carries a signature at all, and the refusals of the
    /// module's diagram up to "what must be signed". It keeps a stranger's body from being collected for services whose
    /// signatures cover it; `authenticate` must follow. Signature Version 2 signs no body, so it is left to that.
    pub fn precheck(
        &self,
        request: &SignedRequest<'_>,
        credentials: &dyn Credentials,
        now: Timestamp,
    ) -> Result<bool, ErrorReply> {
        match Mechanism::of(request, self.dialect.sigv2)? {
            Mechanism::None => return Ok(false),
            Mechanism::Header(header) => {
                self.check_header(request, &header, credentials, now)?;
            }
            Mechanism::Query(presigned) => {
                self.check_presigned(request, &presigned, credentials, now)?;
            }
            Mechanism::V2Header(_) | Mechanism::V2Query(_) => {}
        }
        Ok(true)
    }

    /// Everything that a header signature says except whether it is right: when it was made, and with which key.
    fn check_header<'c>(
        &self,
        request: &SignedRequest<'_>,
        header: &AuthorizationHeader<'_>,
        credentials: &'c dyn Credentials,
        now: Timestamp,
    ) -> Result<(SignedAt, &'c AccessKey), ErrorReply> {
        let (signed_at, date_text) = signing_date(request.headers, now)?;
        let signed_at = SignedAt::new(signed_at);
        self.check_scope(Place::Header, &header.credential, &signed_at)?;
        if now.as_ms().abs_diff(signed_at.time.as_ms()) > SKEW_MS_MAX.unsigned_abs() {
            return Err(refusal::skewed(&String::from_utf8_lossy(date_text), now));
        }
        let key = find_key(credentials, header.credential.access_key)?;
        let token = request.headers.get(&names::TOKEN).map(|value| value.as_bytes());
        check_token(key, token, now)?;
        check_all_signed(request.headers, header.signed_headers, |_| false)?;
        Ok((signed_at, key))
    }

    fn verify_header(
        &mut self,
        request: &SignedRequest<'_>,
        header: &AuthorizationHeader<'_>,
        credentials: &dyn Credentials,
        now: Timestamp,
    ) -> Result<Authenticated, ErrorReply> {
        let (signed_at, key) = self.check_header(request, header, credentials, now)?;
        self.payload_hash.clear();
        let payload = match (request.body_sha256, request.headers.get(&names::CONTENT_SHA256)) {
            // A body that is there is signed as it is. A header that says otherwise makes another signature.
            (Some(digest), _) => {
                hex_append(&mut self.payload_hash, &digest);
                PayloadMode::Sha256(digest)
            }
            (None, Some(value)) => {
                self.payload_hash.extend_from_slice(value.as_bytes().trim_ascii());
                PayloadMode::parse(&self.payload_hash)?
            }
            (None, None) => return Err(refusal::missing_security_header(payload::HEADER)),
        };
        let claim = Claim {
            key,
            credential: header.credential,
            signed_headers: header.signed_headers,
            signature: header.signature,
            signed_at,
            payload,
            method: AuthMethod::V4Header,
        };
        self.verify_signature(request, &claim)
    }

    /// The same for a presigned URL, and its credential.
    fn check_presigned<'p, 'c>(
        &self,
        request: &SignedRequest<'_>,
        presigned: &'p PresignedQuery<'_>,
        credentials: &'c dyn Credentials,
        now: Timestamp,
    ) -> Result<(SignedAt, Credential<'p>, &'c AccessKey), ErrorReply> {
        match &*presigned.algorithm {
            ALGORITHM => {}
            ALGORITHM_V4A => return Err(refusal::sigv4a()),
            _ => {
                let text = "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"";
                return Err(refusal::malformed(Place::Query, text));
            }
        }
        let credential = Credential::parse_at(Place::Query, &presigned.credential)?;
        let signed_at = Timestamp::parse_basic(presigned.date.as_bytes()).ok_or_else(|| {
            refusal::malformed(
                Place::Query,
                "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            )
        })?;
        let expires_seconds = presigned.expires_seconds()?;
        let written = SignedAt::new(signed_at);
        self.check_scope(Place::Query, &credential, &written)?;
        if signed_at.as_ms() > now.as_ms().saturating_add(SKEW_MS_MAX) {
            return Err(refusal::skewed(&presigned.date, now));
        }
        let end = Timestamp(signed_at.as_ms() + i64::from(expires_seconds) * 1000);
        if expires_seconds == 0 || now >= end {
            return Err(refusal::expired(Some(&presigned.expires), end, now));
        }
        let key = find_key(credentials, credential.access_key)?;
        let header_token = request.headers.get(&names::TOKEN).map(|value| value.as_bytes());
        let token = presigned.security_token.as_deref().map(str::as_bytes).or(header_token);
        check_token(key, token, now)?;
        check_all_signed(request.headers, &presigned.signed_headers, |name| {
            // Amazon's SDKs leave these two out of what they presign and send them nevertheless. The digest
            // of the body is taken care of below.
            matches!(name, "x-amz-user-agent" | "x-amz-checksum-mode" | payload::HEADER)
        })?;
        Ok((written, credential, key))
    }

    fn verify_presigned(
        &mut self,
        request: &SignedRequest<'_>,
        presigned: &PresignedQuery<'_>,
        credentials: &dyn Credentials,
        now: Timestamp,
    ) -> Result<Authenticated, ErrorReply> {
        let (signed_at, credential, key) = self.check_presigned(request, presigned, credentials, now)?;
        let payload = self.presigned_payload(request, presigned)?;
        let claim = Claim {
            key,
            credential,
            signed_headers: &presigned.signed_headers,
            signature: &presigned.signature,
            signed_at,
            payload,
            method: AuthMethod::V4Query,
        };
        self.verify_signature(request, &claim)
    }

    /// What a presigned URL says about the body: nothing by default, else its signed parameter or signed
    /// header. A header that is not signed may only say that the body is not either. A body that is there is signed.
    fn presigned_payload(
        &mut self,
        request: &SignedRequest<'_>,
        presigned: &PresignedQuery<'_>,
    ) -> Result<PayloadMode, ErrorReply> {
        let header = request.headers.get(&names::CONTENT_SHA256).map(|value| value.as_bytes().trim_ascii());
        let header_is_signed =
            parse::pieces(&presigned.signed_headers, b';').any(|name| name == payload::HEADER);
        self.payload_hash.clear();
        if let Some(digest) = request.body_sha256 {
            hex_append(&mut self.payload_hash, &digest);
            return Ok(PayloadMode::Sha256(digest));
        }
        match (presigned.content_sha256.as_deref(), header) {
            (Some(value), None) => self.payload_hash.extend_from_slice(value.as_bytes()),
            (Some(value), Some(header)) if header == value.as_bytes() => {
                self.payload_hash.extend_from_slice(header);
            }
            (None, Some(header)) if header_is_signed => self.payload_hash.extend_from_slice(header),
            (None, None | Some(UNSIGNED_PAYLOAD)) => self.payload_hash.extend_from_slice(UNSIGNED_PAYLOAD),
            (_, Some(_)) => return Err(refusal::headers_not_signed(payload::HEADER)),
        }
        PayloadMode::parse(&self.payload_hash)
    }

    fn check_scope(
        &self,
        place: Place,
        credential: &Credential<'_>,
        signed_at: &SignedAt,
    ) -> Result<(), ErrorReply> {
        let scope = &credential.scope;
        if scope.service != self.dialect.service {
            let expected = self.dialect.service;
            let text =
                format!("incorrect service \"{}\". This endpoint belongs to \"{expected}\".", scope.service);
            return Err(refusal::malformed(place, &text));
        }
        if scope.region != self.dialect.region {
            let expected = &self.dialect.region;
            let text = format!("the region '{}' is wrong; expecting '{expected}'", scope.region);
            return Err(refusal::malformed(place, &text).with("Region", expected.clone()));
        }
        if scope.date.as_bytes() != &signed_at.text[..8] {
            let text = format!(
                "Invalid credential date \"{}\". This date is not the same as that of X-Amz-Date.",
                scope.date
            );
            return Err(refusal::malformed(place, &text));
        }
        Ok(())
    }

    /// Tries the forms that a client may have signed.
    fn verify_signature(
        &mut self,
        request: &SignedRequest<'_>,
        claim: &Claim<'_>,
    ) -> Result<Authenticated, ErrorReply> {
        let source = Source {
            method: request.method,
            path: request.path,
            query: request.query.unwrap_or_default(),
            headers: request.headers,
            authority: request.authority,
            signed_headers: claim.signed_headers,
            payload_hash: &self.payload_hash,
        };
        let signature = decode_signature(claim.signature);
        let entry = self.cache.get(claim.credential.text, claim.key, &claim.credential.scope);
        let key = &entry.key;
        let mut tried: Option<[u8; 32]> = None;
        for form in self.dialect.path_coding.forms() {
            let canonical = self.canonical.build(&source, *form)?;
            let digest: [u8; 32] = Sha256::digest(canonical).into();
            // Most requests read alike in all forms; then the later ones need no HMAC.
            if tried == Some(digest) {
                continue;
            }
            tried = Some(digest);
            string_to_sign(&mut self.to_sign, claim, &digest);
            if let Some(signature) = &signature
                && key.verify(&self.to_sign, signature)
            {
                let chunk_signer = match claim.payload {
                    PayloadMode::StreamingSigned | PayloadMode::StreamingSignedTrailer => {
                        let scope = claim.credential.scope_text();
                        Some(Box::new(ChunkSigner::new(key.clone(), claim.signed_at.time, scope, signature)))
                    }
                    PayloadMode::Unsigned
                    | PayloadMode::Sha256(_)
                    | PayloadMode::StreamingUnsignedTrailer => None,
                };
                return Ok(claim.authenticated(chunk_signer));
            }
        }
        // The client is told of the form that most clients sign.
        let canonical = self.canonical.build(&source, self.dialect.path_coding.forms()[0])?;
        string_to_sign(&mut self.to_sign, claim, &Sha256::digest(canonical).into());
        Err(refusal::mismatch(&claim.key.id, claim.signature, &self.to_sign, Some(canonical)))
    }
}

/// Everything about a signature except whether it is right.
struct Claim<'a> {
    key: &'a AccessKey,
    credential: Credential<'a>,
    signed_headers: &'a str,
    signature: &'a str,
    signed_at: SignedAt,
    payload: PayloadMode,
    method: AuthMethod,
}

/// When a request was signed, and how that is written; both are needed more than once.
#[derive(Clone, Copy)]
struct SignedAt {
    time: Timestamp,
    text: [u8; 16],
}

impl SignedAt {
    fn new(time: Timestamp) -> SignedAt {
        SignedAt { time, text: time.to_basic() }
    }
}

impl Claim<'_> {
    fn authenticated(&self, chunk_signer: Option<Box<ChunkSigner>>) -> Authenticated {
        Authenticated {
            access_key: Arc::clone(&self.key.id),
            account: Arc::clone(&self.key.account),
            method: self.method,
            payload: self.payload,
            signed_at: self.signed_at.time,
            chunk_signer,
        }
    }
}

fn string_to_sign(out: &mut Vec<u8>, claim: &Claim<'_>, canonical_digest: &[u8; 32]) {
    out.clear();
    out.extend_from_slice(ALGORITHM.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(&claim.signed_at.text);
    out.push(b'\n');
    out.extend_from_slice(claim.credential.scope_text().as_bytes());
    out.push(b'\n');
    hex_append(out, canonical_digest);
}

fn anonymous(headers: &HeaderMap) -> Result<Identity, ErrorReply> {
    PayloadMode::announced(headers).map(|payload| Identity::Anonymous { payload })
}

/// The time of a header signature: `X-Amz-Date`, else `Date`, which may have either form.
fn signing_date(headers: &HeaderMap, now: Timestamp) -> Result<(Timestamp, &[u8]), ErrorReply> {
    let (name, value) = match headers.get(&names::DATE) {
        Some(value) => ("X-Amz-Date", value.as_bytes()),
        None => match headers.get(header::DATE) {
            Some(value) => ("Date", value.as_bytes()),
            None => return Err(refusal::missing_security_header("x-amz-date")),
        },
    };
    let time = Timestamp::parse_basic(value).or_else(|| Timestamp::parse_http(value, now));
    match time {
        Some(time) => Ok((time, value)),
        None => Err(refusal::malformed(Place::Header, &format!("the {name} header is not a valid date"))),
    }
}

pub(crate) fn find_key<'c>(
    credentials: &'c dyn Credentials,
    access_key: &str,
) -> Result<&'c AccessKey, ErrorReply> {
    credentials.lookup(access_key).ok_or_else(|| refusal::unknown_key(access_key))
}

/// A temporary key needs its token; a lasting one must have none.
pub(crate) fn check_token(key: &AccessKey, token: Option<&[u8]>, now: Timestamp) -> Result<(), ErrorReply> {
    match (&key.session, token) {
        (None, None) => Ok(()),
        (Some(session), Some(token)) => {
            if !equal_in_constant_time(session.token.reveal().as_bytes(), token) {
                Err(refusal::invalid_token())
            } else if now >= session.expires_at {
                Err(refusal::expired_token())
            } else {
                Ok(())
            }
        }
        (None, Some(_)) | (Some(_), None) => Err(refusal::invalid_token()),
    }
}

/// Refuses headers of Amazon's that are there but not signed: whoever passes the request on could have added
/// them.
fn check_all_signed(
    headers: &HeaderMap,
    signed_headers: &str,
    is_exempt: impl Fn(&str) -> bool,
) -> Result<(), ErrorReply> {
    let mut missing = String::new();
    for name in headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-")) {
        if !is_exempt(name) && !parse::pieces(signed_headers, b';').any(|signed| signed == name) {
            missing.push_str(if missing.is_empty() { "" } else { ", " });
            missing.push_str(name);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(refusal::headers_not_signed(&missing)) }
}

/// Lower case only: one signature has one spelling.
pub(crate) fn decode_signature(text: &str) -> Option<[u8; 32]> {
    let has_upper = text.bytes().fold(false, |found, byte| found | byte.is_ascii_uppercase());
    if has_upper { None } else { unhex(text.as_bytes()) }
}

/// Compares without telling by its time where the two differ.
pub(crate) fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0u8, |found, (a, b)| found | std::hint::black_box(a ^ b));
    one.len() == other.len() && differences == 0
}

/// The algorithm's name in headers, queries and strings to sign.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub(crate) const ALGORITHM_V4A: &str = "AWS4-ECDSA-P256-SHA256";
const UNSIGNED_PAYLOAD: &[u8] = b"UNSIGNED-PAYLOAD";
