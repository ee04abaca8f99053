//! Refusals of requests whose sender is not known, in the words of this protocol.
//! Invariant: the text never repeats a signature or what was signed.
//! Leaves to the aws crate: the decision.

use aws::ErrorReply;

use super::error::{Error, ErrorName};

/// The text for a signature that is not the one we compute.
pub const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your \
     AWS Secret Access Key and signing method. Consult the service documentation for details.";
const UNKNOWN_KEY: &str = "The security token included in the request is invalid.";
const EXPIRED: &str = "The security token included in the request is expired";
const MISSING: &str = "Request is missing Authentication Token";
const TWO_MECHANISMS: &str =
    "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";

/// The error for an unsigned request.
#[must_use]
pub fn missing() -> Error {
    Error::new(ErrorName::MissingAuthenticationToken, MISSING)
}

impl From<ErrorReply> for Error {
    fn from(reply: ErrorReply) -> Error {
        match reply.code {
            "MissingAuthenticationToken" => missing(),
            // The scope is another region's, service's or day's; else parts of the header are not there.
            "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError"
                if is_about_scope(&reply.message) =>
            {
                Error::new(ErrorName::InvalidSignature, reply.message)
            }
            "AuthorizationHeaderMalformed"
            | "AuthorizationQueryParametersError"
            | "MissingSecurityHeader" => Error::new(ErrorName::IncompleteSignature, reply.message),
            "InvalidArgument" if reply.message.starts_with("Only one auth mechanism") => {
                Error::new(ErrorName::InvalidSignature, TWO_MECHANISMS)
            }
            // Another scheme, or one of the older signatures: as if there were none.
            "InvalidArgument" | "InvalidRequest" | "NotImplemented" => missing(),
            "InvalidAccessKeyId" | "InvalidToken" => Error::new(ErrorName::UnrecognizedClient, UNKNOWN_KEY),
            "ExpiredToken" => Error::new(ErrorName::ExpiredToken, EXPIRED),
            "RequestTimeTooSkewed" => skewed(&reply),
            "SignatureDoesNotMatch" | "XAmzContentSHA256Mismatch" => {
                Error::new(ErrorName::InvalidSignature, MISMATCH)
            }
            "EntityTooLarge" | "MaxMessageLengthExceeded" => Error::new(ErrorName::RequestTooLarge, ""),
            "RequestTimeout" => Error::new(ErrorName::RequestTimeout, ""),
            "SlowDown" | "ThrottlingException" => Error::new(ErrorName::Throttling, reply.message),
            "ServiceUnavailable" => Error::new(ErrorName::ServiceUnavailable, reply.message),
            "AccessDenied" => Error::new(ErrorName::AccessDenied, reply.message),
            _ if reply.status >= 500 => Error::internal(),
            _ => Error::new(ErrorName::AccessDenied, reply.message),
        }
    }
}

fn is_about_scope(message: &str) -> bool {
    ["the region '", "incorrect service", "Invalid credential date"].iter().any(|part| message.contains(part))
}

/// `Signature expired: …` or `Signature not yet current: …`, with the two times as the client signed them.
fn skewed(reply: &ErrorReply) -> Error {
    let signed = reply.extra("RequestTime").unwrap_or_default();
    let now: String =
        reply.extra("ServerTime").unwrap_or_default().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    // Both are digits of one length from the year on, so that their order is that of the times.
    let text = if signed < now.as_str() {
        format!("Signature expired: {signed} is now earlier than {now} - 15 min.")
    } else {
        format!("Signature not yet current: {signed} is still later than {now} + 15 min.")
    };
    Error::new(ErrorName::InvalidSignature, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_exception_that_clients_look_for() {
        let cases = [
            ("MissingAuthenticationToken", "", ErrorName::MissingAuthenticationToken),
            ("InvalidAccessKeyId", "", ErrorName::UnrecognizedClient),
            ("InvalidToken", "", ErrorName::UnrecognizedClient),
            ("ExpiredToken", "", ErrorName::ExpiredToken),
            ("SignatureDoesNotMatch", "", ErrorName::InvalidSignature),
            ("RequestTimeTooSkewed", "", ErrorName::InvalidSignature),
            ("AuthorizationHeaderMalformed", "; the region 'a' is wrong", ErrorName::InvalidSignature),
            ("AuthorizationHeaderMalformed", "; it has no Signature", ErrorName::IncompleteSignature),
            ("InvalidArgument", "Unsupported Authorization Type", ErrorName::MissingAuthenticationToken),
            ("AccessDenied", "no", ErrorName::AccessDenied),
            ("ServiceUnavailable", "starting", ErrorName::ServiceUnavailable),
            ("EntityTooLarge", "", ErrorName::RequestTooLarge),
        ];
        for (code, message, name) in cases {
            assert_eq!(Error::from(ErrorReply::new(code, 403, message)).name, name, "{code}: {message}");
        }
        assert_eq!(Error::from(ErrorReply::new("What", 500, "")).name, ErrorName::InternalServerError);
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_which_way() {
        let reply = |signed: &str| {
            ErrorReply::new("RequestTimeTooSkewed", 403, "")
                .with("RequestTime", signed)
                .with("ServerTime", "2026-11-21T17:30:00Z")
        };
        let text = Error::from(reply("20261121T120000Z")).message;
        assert_eq!(
            text,
            "Signature expired: 20261121T120000Z is now earlier than 20261121T173000Z - 15 min."
        );
        let text = Error::from(reply("20261122T120000Z")).message;
        assert!(text.starts_with("Signature not yet current: 20261122T120000Z"), "{text}");
    }
}
