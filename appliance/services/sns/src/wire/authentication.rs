//! Refusals of requests whose sender is not known, in the words of this protocol.
//! Invariant: the text never repeats a signature or what was signed.
//! Leaves to the aws crate: the decision.

use aws::ErrorReply;

use super::error::{Code, Error};

/// The text for a signature that is not the one we compute.
pub const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your \
     AWS Secret Access Key and signing method. Consult the service documentation for details.";
const UNKNOWN_KEY: &str = "The security token included in the request is invalid.";
const EXPIRED: &str = "The security token included in the request is expired";
const MISSING: &str = "Request is missing Authentication Token";

/// The error for an unsigned request.
#[must_use]
pub fn missing() -> Error {
    Error::new(Code::MissingAuthenticationToken, MISSING)
}

impl From<ErrorReply> for Error {
    fn from(reply: ErrorReply) -> Error {
        match reply.code {
            "MissingAuthenticationToken" => missing(),
            "AuthorizationHeaderMalformed"
            | "AuthorizationQueryParametersError"
            | "MissingSecurityHeader" => Error::new(Code::IncompleteSignature, reply.message),
            // Another scheme, or one of the older signatures: as if there were none.
            "InvalidArgument" | "InvalidRequest" | "NotImplemented" => missing(),
            "InvalidAccessKeyId" | "InvalidToken" => Error::new(Code::InvalidClientTokenId, UNKNOWN_KEY),
            "ExpiredToken" => Error::new(Code::RequestExpired, EXPIRED),
            "RequestTimeTooSkewed" => Error::new(Code::SignatureDoesNotMatch, skewed(&reply)),
            "SignatureDoesNotMatch" | "XAmzContentSHA256Mismatch" => {
                Error::new(Code::SignatureDoesNotMatch, MISMATCH)
            }
            "EntityTooLarge" | "MaxMessageLengthExceeded" => {
                Error::new(Code::RequestEntityTooLarge, "Request size exceeded")
            }
            "RequestTimeout" => Error::new(Code::RequestTimeout, reply.message),
            "SlowDown" | "ThrottlingException" => Error::new(Code::Throttled, reply.message),
            "ServiceUnavailable" => Error::new(Code::ServiceUnavailable, reply.message),
            _ if reply.status >= 500 => Error::internal(),
            _ => Error::new(Code::AuthorizationError, reply.message),
        }
    }
}

/// `Signature expired: …` or `Signature not yet current: …`, with the two times as the client signed them.
fn skewed(reply: &ErrorReply) -> String {
    let signed = reply.extra("RequestTime").unwrap_or_default();
    let now: String =
        reply.extra("ServerTime").unwrap_or_default().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    // Both are digits of one length from the year on, so that their order is that of the times.
    if signed < now.as_str() {
        format!("Signature expired: {signed} is now earlier than {now} - 15 min.")
    } else {
        format!("Signature not yet current: {signed} is still later than {now} + 15 min.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_code_that_clients_look_for() {
        let cases = [
            ("MissingAuthenticationToken", Code::MissingAuthenticationToken),
            ("InvalidAccessKeyId", Code::InvalidClientTokenId),
            ("InvalidToken", Code::InvalidClientTokenId),
            ("ExpiredToken", Code::RequestExpired),
            ("SignatureDoesNotMatch", Code::SignatureDoesNotMatch),
            ("AuthorizationHeaderMalformed", Code::IncompleteSignature),
            ("InvalidArgument", Code::MissingAuthenticationToken),
            ("AccessDenied", Code::AuthorizationError),
            ("SlowDown", Code::Throttled),
            ("EntityTooLarge", Code::RequestEntityTooLarge),
        ];
        for (code, expected) in cases {
            assert_eq!(Error::from(ErrorReply::new(code, 403, "words")).code, expected, "{code}");
        }
        assert_eq!(Error::from(ErrorReply::new("What", 500, "")).code, Code::InternalError);
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_which_way() {
        let text = |signed: &str| {
            let reply = ErrorReply::new("RequestTimeTooSkewed", 403, "");
            Error::from(reply.with("RequestTime", signed).with("ServerTime", "2026-11-21T17:30:00Z")).message
        };
        assert!(text("20261121T120000Z").starts_with("Signature expired: 20261121T120000Z is now earlier"));
        assert!(text("20261122T120000Z").starts_with("Signature not yet current: 20261122T120000Z"));
    }
}
