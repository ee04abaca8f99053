//! POST forms: the signature is over the base64 text of the policy, and nothing else.
//!
//! Invariant: what is verified is the very text that the service then decodes and evaluates. Whether the
//! policy has expired, and whether the form satisfies it, is the service's to decide.

use super::keys::SigningKey;
use super::refusal::{self, Place};
use super::{ALGORITHM, ALGORITHM_V4A, AuthMethod, Authenticated, Claim, Credential, SigV2, Verifier};
use super::{SignedAt, check_token, decode_signature, find_key};
use crate::account::Credentials;
use crate::error::ErrorReply;
use crate::payload::PayloadMode;
use crate::sigv2;
use crate::time::Timestamp;

/// The fields of a form that bear on its signature, by their names without regard to case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostFields<'a> {
    /// `policy`, base64 as sent.
    pub policy: &'a str,
    /// `x-amz-algorithm`.
    pub algorithm: Option<&'a str>,
    /// `x-amz-credential`.
    pub credential: Option<&'a str>,
    /// `x-amz-date`.
    pub date: Option<&'a str>,
    /// `x-amz-signature`.
    pub signature: Option<&'a str>,
    /// `x-amz-security-token`.
    pub security_token: Option<&'a str>,
    /// `AWSAccessKeyId`, Signature Version 2.
    pub access_key_v2: Option<&'a str>,
    /// `signature`, Signature Version 2.
    pub signature_v2: Option<&'a str>,
}

impl Verifier {
    /// Verifies the signature of a POST form that has a policy. A missing field is `InvalidArgument`; the
    /// rest is as for other requests. A form has no clock skew: its policy says until when it holds.
    pub fn verify_post_policy(
        &mut self,
        fields: &PostFields<'_>,
        credentials: &dyn Credentials,
        now: Timestamp,
    ) -> Result<Authenticated, ErrorReply> {
        let is_v4 = fields.algorithm.is_some() || fields.credential.is_some() || fields.signature.is_some();
        let is_v2 = fields.access_key_v2.is_some() || fields.signature_v2.is_some();
        match (is_v4, is_v2) {
            (true, true) => Err(refusal::two_mechanisms(b"form")),
            (true, false) => self.verify_post_v4(fields, credentials, now),
            (false, true) if self.dialect().sigv2 != SigV2::Everywhere => Err(refusal::sigv2_is_off()),
            (false, true) => sigv2::verify_post(fields, credentials, now),
            (false, false) => Err(missing_field("X-Amz-Signature")),
        }
    }

    fn verify_post_v4(
        &mut self,
        fields: &PostFields<'_>,
        credentials: &dyn Credentials,
        now: Timestamp,
    ) -> Result<Authenticated, ErrorReply> {
        match required(fields.algorithm, "X-Amz-Algorithm")? {
            ALGORITHM => {}
            ALGORITHM_V4A => return Err(refusal::sigv4a()),
            _ => {
                return Err(refusal::malformed(
                    Place::Form,
                    "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
                ));
            }
        }
        let credential_text = required(fields.credential, "X-Amz-Credential")?;
        let credential = Credential::parse_at(Place::Form, credential_text)?;
        let date = required(fields.date, "X-Amz-Date")?;
        let signature_text = required(fields.signature, "X-Amz-Signature")?;
        let signed_at = Timestamp::parse_basic(date.as_bytes()).ok_or_else(|| {
            refusal::malformed(
                Place::Form,
                "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
            )
        })?;
        let signed_at = SignedAt::new(signed_at);
        self.check_scope(Place::Form, &credential, &signed_at)?;
        let key = find_key(credentials, credential.access_key)?;
        check_token(key, fields.security_token.map(str::as_bytes), now)?;
        let entry = self.cache.get(credential.text, key, &credential.scope);
        let signing_key: &SigningKey = &entry.key;
        let right = decode_signature(signature_text)
            .is_some_and(|signature| signing_key.verify(fields.policy.as_bytes(), &signature));
        if !right {
            return Err(refusal::mismatch(&key.id, signature_text, fields.policy.as_bytes(), None));
        }
        let claim = Claim {
            key,
            credential,
            signed_headers: "",
            signature: signature_text,
            signed_at,
            payload: PayloadMode::Unsigned,
            method: AuthMethod::V4Form,
        };
        Ok(claim.authenticated(None))
    }
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str, ErrorReply> {
    value.ok_or_else(|| missing_field(name))
}

/// 400 InvalidArgument: a form without a field that it needs.
pub(crate) fn missing_field(name: &str) -> ErrorReply {
    ErrorReply::invalid_argument(
        format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
        ),
        name,
        "",
    )
}
