//! The refusals of authentication: one function per code and wording, so that the rules elsewhere read as
//! rules.

use crate::error::ErrorReply;
use crate::time::Timestamp;

/// Where a signature was found; it decides which code a malformed one gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header,
    Query,
    Form,
}

/// 400 AuthorizationHeaderMalformed, AuthorizationQueryParametersError or InvalidArgument, by place.
pub(crate) fn malformed(place: Place, what: &str) -> ErrorReply {
    match place {
        Place::Header => ErrorReply::new(
            "AuthorizationHeaderMalformed",
            400,
            format!("The authorization header is malformed; {what}"),
        ),
        Place::Query => ErrorReply::new("AuthorizationQueryParametersError", 400, what.to_owned()),
        Place::Form => ErrorReply::new("InvalidArgument", 400, what.to_owned()),
    }
}

/// 400 InvalidArgument: two ways to authenticate in one request.
pub(crate) fn two_mechanisms(value: &[u8]) -> ErrorReply {
    ErrorReply::invalid_argument(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
         parameter or the Authorization header should be specified",
        "Authorization",
        // The scheme only: the rest of the header holds a signature, which has no place in a reply that may
        // be logged.
        String::from_utf8_lossy(value.split(|byte| *byte == b' ').next().unwrap_or_default()),
    )
}

/// 400 InvalidArgument: an Authorization header of a kind that S3 does not know.
pub(crate) fn unknown_scheme(value: &[u8]) -> ErrorReply {
    ErrorReply::invalid_argument(
        "Unsupported Authorization Type",
        "Authorization",
        String::from_utf8_lossy(value.split(|byte| *byte == b' ').next().unwrap_or_default()),
    )
}

/// 400 InvalidRequest: the old signature where it is switched off.
pub(crate) fn sigv2_is_off() -> ErrorReply {
    ErrorReply::new(
        "InvalidRequest",
        400,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

/// 501 NotImplemented: the asymmetric signature.
pub(crate) fn sigv4a() -> ErrorReply {
    ErrorReply::new("NotImplemented", 501, "AWS4-ECDSA-P256-SHA256 (SigV4A) is not implemented")
}

/// 400 MissingSecurityHeader for `header`.
pub(crate) fn missing_security_header(header: &str) -> ErrorReply {
    ErrorReply::new("MissingSecurityHeader", 400, "Your request was missing a required header")
        .with("MissingHeaderName", header)
}

/// 403 InvalidAccessKeyId.
pub(crate) fn unknown_key(access_key: &str) -> ErrorReply {
    ErrorReply::new(
        "InvalidAccessKeyId",
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    )
    .with("AWSAccessKeyId", access_key)
}

/// 400 InvalidToken.
pub(crate) fn invalid_token() -> ErrorReply {
    ErrorReply::new("InvalidToken", 400, "The provided token is malformed or otherwise invalid.")
}

/// 400 ExpiredToken.
pub(crate) fn expired_token() -> ErrorReply {
    ErrorReply::new("ExpiredToken", 400, "The provided token has expired.")
}

/// 403 RequestTimeTooSkewed.
pub(crate) fn skewed(request_time: &str, now: Timestamp) -> ErrorReply {
    ErrorReply::new(
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    )
    .with("RequestTime", request_time)
    .with("ServerTime", whole_seconds(now))
    .with("MaxAllowedSkewMilliseconds", SKEW_MS_MAX.to_string())
}

/// 403 AccessDenied: a presigned URL past its end. `expires` is the text of X-Amz-Expires, which SigV2 has
/// not.
pub(crate) fn expired(expires: Option<&str>, end: Timestamp, now: Timestamp) -> ErrorReply {
    let mut error = ErrorReply::new("AccessDenied", 403, "Request has expired");
    if let Some(expires) = expires {
        error = error.with("X-Amz-Expires", expires);
    }
    error.with("Expires", whole_seconds(end)).with("ServerTime", whole_seconds(now))
}

/// 403 AccessDenied: headers that had to be signed and were not, lower-case and joined by commas.
pub(crate) fn headers_not_signed(names: &str) -> ErrorReply {
    ErrorReply::new("AccessDenied", 403, "There were headers present in the request which were not signed")
        .with("HeadersNotSigned", names)
}

/// 403 SignatureDoesNotMatch with what we signed, so that a client can find the difference.
pub(crate) fn mismatch(
    access_key: &str,
    provided: &str,
    to_sign: &[u8],
    canonical: Option<&[u8]>,
) -> ErrorReply {
    let error = bare_mismatch()
        .with("AWSAccessKeyId", access_key)
        .with("StringToSign", String::from_utf8_lossy(to_sign))
        .with("SignatureProvided", provided)
        .with("StringToSignBytes", spaced_hex(to_sign));
    match canonical {
        Some(canonical) => error
            .with("CanonicalRequest", String::from_utf8_lossy(canonical))
            .with("CanonicalRequestBytes", spaced_hex(canonical)),
        None => error,
    }
}

/// 403 SignatureDoesNotMatch alone, for chunks.
pub(crate) fn bare_mismatch() -> ErrorReply {
    ErrorReply::new(
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing \
         method.",
    )
}

fn spaced_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        text.push_str(if index > 0 { " " } else { "" });
        text.extend(
            [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')),
        );
    }
    text
}

fn whole_seconds(time: Timestamp) -> String {
    let mut text = time.to_iso8601();
    // Drops ".mmm" of "YYYY-MM-DDTHH:MM:SS.mmmZ".
    text.replace_range(19..23, "");
    text
}

/// A signed request may be at most so old, or so far ahead.
pub(crate) const SKEW_MS_MAX: i64 = 15 * 60 * 1000;
