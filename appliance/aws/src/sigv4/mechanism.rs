//! Which of the ways to sign a request uses.
//!
//! Invariant: a request that is signed in two ways, or in one that its service refuses, has no [`Mechanism`]. Nothing here
//! looks at keys or the clock.

use http_types::{HeaderMap, header};

use super::parse::{AuthorizationHeader, PresignedQuery};
use super::refusal::{self, Place};
use super::{ALGORITHM, ALGORITHM_V4A, SigV2, SignedRequest};
use crate::error::ErrorReply;
use crate::sigv2;

/// How a request says who sent it.
pub(super) enum Mechanism<'r> {
    /// It does not.
    None,
    /// Version 4, Authorization header.
    Header(AuthorizationHeader<'r>),
    /// Version 4, presigned URL.
    Query(PresignedQuery<'r>),
    /// Version 2, the whole Authorization header.
    V2Header(&'r [u8]),
    /// Version 2, presigned URL.
    V2Query(sigv2::Presigned<'r>),
}

impl<'r> Mechanism<'r> {
    /// The mechanism of `request`. Two of them, an unknown one, and one that `sigv2` refuses are errors.
    pub(super) fn of(request: &SignedRequest<'r>, sigv2: SigV2) -> Result<Mechanism<'r>, ErrorReply> {
        let query = request.query.unwrap_or_default();
        let authorization = single_authorization(request.headers)?;
        let presigned = PresignedQuery::parse(query)?;
        let presigned_v2 = sigv2::presigned(query)?;
        let mechanism_count = usize::from(authorization.is_some())
            + usize::from(presigned.is_some())
            + usize::from(presigned_v2.is_some());
        if mechanism_count > 1 {
            return Err(refusal::two_mechanisms(authorization.unwrap_or(b"query")));
        }
        if let Some(presigned) = presigned {
            return Ok(Mechanism::Query(presigned));
        }
        if let Some(presigned) = presigned_v2 {
            if sigv2 == SigV2::Refused {
                return Err(refusal::sigv2_is_off());
            }
            return Ok(Mechanism::V2Query(presigned));
        }
        let Some(authorization) = authorization else { return Ok(Mechanism::None) };
        if let Some(parameters) = authorization.strip_prefix(ALGORITHM.as_bytes())
            && matches!(parameters.first(), None | Some(b' ' | b'\t'))
        {
            let text = std::str::from_utf8(parameters)
                .map_err(|_| refusal::malformed(Place::Header, "it is not ASCII"))?;
            return AuthorizationHeader::parse(text).map(Mechanism::Header);
        }
        if authorization.starts_with(ALGORITHM_V4A.as_bytes()) {
            return Err(refusal::sigv4a());
        }
        if authorization.starts_with(b"AWS ") {
            if sigv2 != SigV2::Everywhere {
                return Err(refusal::sigv2_is_off());
            }
            return Ok(Mechanism::V2Header(authorization));
        }
        Err(refusal::unknown_scheme(authorization))
    }
}

/// The Authorization header; an empty one counts as none, two are refused.
fn single_authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, ErrorReply> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next().map(|value| value.as_bytes().trim_ascii());
    match values.next() {
        Some(_) => Err(refusal::two_mechanisms(first.unwrap_or_default())),
        None => Ok(first.filter(|value| !value.is_empty())),
    }
}
