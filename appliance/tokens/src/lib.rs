//! Tokens: who may use the build cache, said by a text in a header instead of a signature.
//!
//! Invariant: the store and the process keep the SHA-256 of a secret and never the secret; a token that was revoked is refused by every core
//! from the moment that its revocation was acknowledged, since each judgement reads the record.
//!
//! | Part | Covered |
//! |---|---|
//! | Bearer, Basic with any user, `X-Zero-Token` | yes |
//! | scopes cache:read, cache:write, cache:admin; namespaces; expiry | yes |
//! | create, list, rotate with overlap, revoke; last use to the hour | yes |
//! | tokens from the environment, anonymous reading or writing where the configuration says so | yes |
//! | refusal over plain HTTP beyond loopback | yes |
//! | backoff after failures, by address | yes |
//! | scopes of the registry and the farm, address ranges, branches, package globs, OIDC, mTLS, htpasswd | no |
//!
//! Leaves to the cache: how a refusal looks in each dialect. To the node: who may manage tokens, and signatures.
#![forbid(unsafe_code)]

mod backoff;
mod judge;
mod last_use;
mod manage;
mod record;
mod scope;
mod text;

pub use judge::{
    Anonymous, DEFAULT_NAMESPACE, Denied, EnvironmentToken, GUESSABLE_BYTES, Principal, Settings, Tokens, Who,
};
pub use manage::{
    NAME_CHARACTERS_MAX, NAMESPACES_MAX, OVERLAP_MS_MAX, Refused, TOKENS_MAX, Wanted, is_namespace,
};
pub use record::{BODYLESS, Former, TOKENS, TokenRecord, USE_RESOLUTION_MS};
pub use scope::{Scope, Scopes};
pub use text::{Fingerprint, NewToken, PREFIX, TokenId, split};
