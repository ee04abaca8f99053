//! Who sends a request: by its token, by the root key's signature, or nobody.
//! Invariant: a token is compared in constant time and with what is stored now, so nothing that was revoked is let in.
//! Leaves to the node: signatures. Leaves to services: what a right is needed for.
//!
//! ```text
//! signed by the root account -> admin of everything
//! X-Zero-Token | Bearer | Basic password -> plain HTTP beyond loopback? refused : stored token | token of the environment
//! nothing -> anonymous, where the configuration lets it in
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use aws::account::AccountId;
use aws::encoding::unbase64;
use http::RequestHead;
use http_types::header;
use plan::{Caller, Context, Plan, Request};
use store::{Fault, ShardId};

use crate::backoff::Backoff;
use crate::last_use::LastUse;
use crate::record::{TOKENS, TokenRecord};
use crate::scope::{Scope, Scopes};
use crate::text::{Fingerprint, TokenId, split};

/// Where a proxy that keeps `Authorization` for itself lets a token through.
pub const TOKEN_HEADER: &str = "x-zero-token";
/// A longer credential is none.
const CREDENTIAL_BYTES_MAX: usize = 1_024;
/// Who chooses a token of fewer letters may have chosen one that others can guess.
pub const GUESSABLE_BYTES: usize = 32;
/// The namespace of requests that name none, of principals that are bound to none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Whom requests without credentials are taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Anonymous {
    /// Nobody: they are refused.
    #[default]
    Refused = 0,
    /// They may read.
    Reads = 1,
    /// They may read and write.
    Writes = 2,
}

impl Anonymous {
    fn scopes(self) -> Scopes {
        match self {
            Anonymous::Refused => Scopes::NONE,
            Anonymous::Reads => Scopes::NONE.with(Scope::CacheRead),
            Anonymous::Writes => Scopes::NONE.with(Scope::CacheWrite),
        }
    }

    fn of_byte(byte: u8) -> Anonymous {
        match byte {
            1 => Anonymous::Reads,
            2 => Anonymous::Writes,
            _ => Anonymous::Refused,
        }
    }
}

/// A token that the environment gives, for a first start.
#[derive(Clone)]
pub struct EnvironmentToken {
    /// What it is called where a stored one has its id.
    pub label: &'static str,
    /// What it may do, in every namespace.
    pub scopes: Scopes,
    /// Of its text.
    pub fingerprint: Fingerprint,
}

/// What the configuration says.
#[derive(Clone)]
pub struct Settings {
    /// The account whose signatures are an admin's.
    pub root: AccountId,
    /// The environment's tokens.
    pub environment: Vec<EnvironmentToken>,
    /// Requests without credentials.
    pub anonymous: Anonymous,
    /// Take tokens over plain HTTP beyond loopback.
    pub allow_plaintext: bool,
}

/// The judge. One for the process; clones are the same one.
#[derive(Clone)]
pub struct Tokens(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// As in the settings, or as reloaded.
    anonymous: AtomicU8,
    backoff: Backoff,
    last_use: LastUse,
    denied: [AtomicU64; REASONS.len()],
}

/// Why somebody was not let in, as metrics name it.
const REASONS: [&str; 5] = ["no_token", "wrong_token", "too_many_failures", "plaintext", "fault"];

/// Which credential a principal showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// A stored token.
    Token(TokenId),
    /// A token of the environment, by its label.
    Environment(&'static str),
    /// A signature of the root account.
    Root,
    /// None.
    Anonymous,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Principal {
    /// By which credential.
    pub who: Who,
    /// What it may do.
    pub scopes: Scopes,
    /// Where; none: everywhere.
    pub namespaces: Vec<Box<str>>,
}

impl Principal {
    fn everywhere(who: Who, scopes: Scopes) -> Principal {
        Principal { who, scopes, namespaces: Vec::new() }
    }

    /// Whether it has this right in this namespace.
    #[must_use]
    pub fn may(&self, scope: Scope, namespace: &str) -> bool {
        self.scopes.has(scope)
            && (self.namespaces.is_empty() || self.namespaces.iter().any(|name| **name == *namespace))
    }

    /// Whether it has this right in every namespace, as for what concerns the cache as a whole.
    #[must_use]
    pub fn may_everywhere(&self, scope: Scope) -> bool {
        self.scopes.has(scope) && self.namespaces.is_empty()
    }

    /// The namespace of its requests that name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespaces.first().map_or(DEFAULT_NAMESPACE, |name| name)
    }

    /// The name of its credential, for provenance and logs: a token's id, `env-read`, `env-write`, `root` or `anonymous`.
    #[must_use]
    pub fn token_id(&self) -> &str {
        match &self.who {
            Who::Token(id) => id.as_str(),
            Who::Environment(label) => label,
            Who::Root => "root",
            Who::Anonymous => "anonymous",
        }
    }
}

/// Why somebody was not let in.
#[derive(Debug)]
pub enum Denied {
    /// No credential, and nobody comes in without one. 401.
    NoToken,
    /// A credential that opens nothing: unknown, revoked, expired, malformed, or another account's signature. 401.
    WrongToken,
    /// The address has shown too many wrong ones and must wait. 429 where the dialect survives that, else as `WrongToken`.
    TooManyFailures {
        /// When to come again.
        retry_after_seconds: u64,
    },
    /// A token over plain HTTP from another machine, which everybody on the way has read. 403.
    Plaintext,
    /// The store cannot say. 503 where the dialect survives that.
    Fault(Fault),
}

impl Denied {
    /// A sentence for the reply. It never repeats the credential.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Denied::NoToken => {
                "A token is needed: Authorization: Bearer, or Basic with the token as password."
            }
            Denied::WrongToken => "The token is not valid: it is unknown, expired or revoked.",
            Denied::TooManyFailures { .. } => "Too many wrong tokens came from this address.",
            Denied::Plaintext => {
                "Tokens are refused over plain HTTP beyond loopback: use TLS, or start the appliance with --allow-plaintext."
            }
            Denied::Fault(_) => "The token cannot be checked now. Please try again.",
        }
    }
}

impl Tokens {
    /// A judge with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Tokens {
        let anonymous = AtomicU8::new(settings.anonymous as u8);
        let (backoff, last_use) = (Backoff::default(), LastUse::default());
        let denied = Default::default();
        Tokens(Arc::new(Shared { settings, anonymous, backoff, last_use, denied }))
    }

    /// What is due on a shard: writing when tokens were used last. For the tick of the service that judges by them.
    #[must_use]
    pub fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        self.0.last_use.tick(cx, shard)
    }

    /// Takes requests without credentials so from now on, on every core.
    pub fn set_anonymous(&self, anonymous: Anonymous) {
        self.0.anonymous.store(anonymous as u8, Ordering::Relaxed);
    }

    /// How many were not let in since the start, by reason.
    #[must_use]
    pub fn denied(&self) -> [(&'static str, u64); REASONS.len()] {
        std::array::from_fn(|place| (REASONS[place], self.0.denied[place].load(Ordering::Relaxed)))
    }

    /// Says who sent a request.
    pub fn judge(&self, cx: &Context<'_>, request: &Request) -> Result<Principal, Denied> {
        self.counted(self.look(cx, request))
    }

    /// Whether a head shows what has the form of a stored token, on a connection that it may come by.
    #[must_use]
    pub fn shows_stored(&self, head: &RequestHead) -> bool {
        !self.is_exposed(head)
            && matches!(credential(head), Credential::Token(text) if split(&text).is_some())
    }

    /// Says whose stored token a head shows. For what is none of the cache: other credentials come there too, for whoever stands in
    /// front, so a wrong one is neither counted nor held against its address.
    pub fn judge_stored(&self, cx: &Context<'_>, head: &RequestHead) -> Result<Principal, Denied> {
        match credential(head) {
            Credential::Token(text) if !self.is_exposed(head) => {
                self.of_store(cx, &text)?.ok_or(Denied::WrongToken)
            }
            _ => Err(Denied::WrongToken),
        }
    }

    fn counted(&self, judged: Result<Principal, Denied>) -> Result<Principal, Denied> {
        if let Err(denied) = &judged {
            let place = match denied {
                Denied::NoToken => 0,
                Denied::WrongToken => 1,
                Denied::TooManyFailures { .. } => 2,
                Denied::Plaintext => 3,
                Denied::Fault(_) => 4,
            };
            self.0.denied[place].fetch_add(1, Ordering::Relaxed);
        }
        judged
    }

    fn look(&self, cx: &Context<'_>, request: &Request) -> Result<Principal, Denied> {
        let admin = Scopes::NONE.with(Scope::CacheAdmin);
        match &request.caller {
            Caller::Account(account) if account.id == self.0.settings.root => {
                return Ok(Principal::everywhere(Who::Root, admin));
            }
            // The cache has no rights of other accounts.
            Caller::Account(_) => return Err(Denied::WrongToken),
            Caller::Anonymous => {}
        }
        self.by_token(cx, &request.head).unwrap_or_else(|| self.without_credential())
    }

    fn by_token(&self, cx: &Context<'_>, head: &RequestHead) -> Option<Result<Principal, Denied>> {
        let judged = match credential(head) {
            Credential::None => return None,
            // Whether right or wrong: it was read on the way, and saying which would help who reads.
            Credential::Token(_) | Credential::Malformed if self.is_exposed(head) => Err(Denied::Plaintext),
            Credential::Malformed => Err(Denied::WrongToken),
            Credential::Token(text) => self.with_token(cx, &text, head.peer.ip()),
        };
        Some(judged)
    }

    fn without_credential(&self) -> Result<Principal, Denied> {
        let scopes = Anonymous::of_byte(self.0.anonymous.load(Ordering::Relaxed)).scopes();
        if scopes.is_empty() {
            return Err(Denied::NoToken);
        }
        Ok(Principal::everywhere(Who::Anonymous, scopes))
    }

    /// Whether others can read what this connection carries.
    fn is_exposed(&self, head: &RequestHead) -> bool {
        !head.tls && !self.0.settings.allow_plaintext && !head.peer.ip().to_canonical().is_loopback()
    }

    fn with_token(&self, cx: &Context<'_>, text: &[u8], from: IpAddr) -> Result<Principal, Denied> {
        if let Some(principal) = self.of_store(cx, text)? {
            return Ok(principal);
        }
        let wait = self.0.backoff.wait_seconds(from, cx.now);
        // Nobody guesses a stored token, nor a long one of the environment: whoever has it is let in, though others behind
        // the same address show wrong ones. Everybody on this machine, and behind a proxy on it, has one address.
        let is_judged = wait.is_none() || text.len() >= GUESSABLE_BYTES || from.to_canonical().is_loopback();
        if is_judged && let Some(principal) = self.of_environment(text) {
            return Ok(principal);
        }
        match wait {
            Some(retry_after_seconds) => Err(Denied::TooManyFailures { retry_after_seconds }),
            None => {
                self.0.backoff.failed(from, cx.now);
                Err(Denied::WrongToken)
            }
        }
    }

    fn of_store(&self, cx: &Context<'_>, text: &[u8]) -> Result<Option<Principal>, Denied> {
        let Some((id, secret)) = split(text) else { return Ok(None) };
        match stored(cx, id).map_err(Denied::Fault)? {
            Some(record) if record.opens(&Fingerprint::of(secret), cx.now) && !record.is_expired(cx.now) => {
                self.0.last_use.note(id, &record, cx.now);
                let (scopes, namespaces) = (record.scopes, record.namespaces);
                Ok(Some(Principal { who: Who::Token(id), scopes, namespaces }))
            }
            _ => Ok(None),
        }
    }

    fn of_environment(&self, text: &[u8]) -> Option<Principal> {
        let fingerprint = Fingerprint::of(text);
        // All are looked at, so that the time tells nothing of which one it is.
        let mut found = None;
        for token in &self.0.settings.environment {
            if token.fingerprint.matches(&fingerprint) {
                found = Some(Principal::everywhere(Who::Environment(token.label), token.scopes));
            }
        }
        found
    }
}

/// The record of a token as it is now.
pub(crate) fn stored(cx: &Context<'_>, id: TokenId) -> Result<Option<TokenRecord>, Fault> {
    let view = cx.store.view(cx.store.place(id.as_bytes()))?;
    view.get(TOKENS, id.as_bytes())?.map(|record| TokenRecord::decode(record.value)).transpose()
}

/// What a head shows.
enum Credential {
    None,
    /// The text of a token.
    Token(Vec<u8>),
    /// Something that cannot be a token.
    Malformed,
}

fn credential(head: &RequestHead) -> Credential {
    if let Some(value) = head.headers.get(TOKEN_HEADER) {
        return token(value.as_bytes());
    }
    let Some(value) = head.headers.get(header::AUTHORIZATION) else { return Credential::None };
    let value = value.as_bytes();
    if let Some(text) = after_scheme(value, b"bearer") {
        return token(text);
    }
    if let Some(text) = after_scheme(value, b"basic")
        && text.len() <= CREDENTIAL_BYTES_MAX
        && let Some(pair) = unbase64(text)
        && let Some(colon) = pair.iter().position(|byte| *byte == b':')
    {
        return token(&pair[colon + 1..]);
    }
    Credential::Malformed
}

fn token(text: &[u8]) -> Credential {
    match text.trim_ascii() {
        text if text.is_empty() || text.len() > CREDENTIAL_BYTES_MAX => Credential::Malformed,
        text => Credential::Token(text.to_vec()),
    }
}

/// What stands behind a scheme's name, which is of either case (RFC 9110 11.1).
fn after_scheme<'v>(value: &'v [u8], scheme: &[u8]) -> Option<&'v [u8]> {
    let (name, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    name.eq_ignore_ascii_case(scheme).then_some(rest.trim_ascii())
}
