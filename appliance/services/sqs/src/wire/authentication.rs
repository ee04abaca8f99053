//! Refusals of requests whose sender is not known, in the words of this service.
//! Invariant: the text never repeats a signature or what was signed.
//! Leaves to the aws crate: the decision.

use aws::ErrorReply;

use super::error::{Code, Error};

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
     Secret Access Key and signing method. Consult the service documentation for details.";
const UNKNOWN_KEY: &str = "The security token included in the request is invalid.";
const EXPIRED: &str = "The security token included in the request is expired";
const MISSING: &str = "Request is missing Authentication Token";

/// The error for an unsigned request where nobody may ask without a signature.
#[must_use]
pub fn missing() -> Error {
    Error::new(Code::MissingAuthenticationToken, MISSING)
}

impl From<ErrorReply> for Error {
    fn from(reply: ErrorReply) -> Error {
        match reply.code {
            "MissingAuthenticationToken" => missing(),
            // The scope is another region's, service's or day's; else parts are not there.
            "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError"
                if is_about_scope(&reply.message) =>
            {
                Error::new(Code::SignatureDoesNotMatch, reply.message)
            }
            "AuthorizationHeaderMalformed"
            | "AuthorizationQueryParametersError"
            | "MissingSecurityHeader" => Error::new(Code::IncompleteSignature, reply.message),
            // Another scheme, two at once, or one of the older signatures.
            "InvalidArgument" | "InvalidRequest" | "NotImplemented" => {
                Error::new(Code::IncompleteSignature, reply.message)
            }
            "InvalidAccessKeyId" | "InvalidToken" => Error::new(Code::InvalidClientTokenId, UNKNOWN_KEY),
            "ExpiredToken" => Error::new(Code::ExpiredToken, EXPIRED),
            "RequestTimeTooSkewed" => skewed(&reply),
            "SignatureDoesNotMatch" | "XAmzContentSHA256Mismatch" => {
                Error::new(Code::SignatureDoesNotMatch, MISMATCH)
            }
            "EntityTooLarge" | "MaxMessageLengthExceeded" => Error::new(Code::RequestTooLarge, reply.message),
            "RequestTimeout" => Error::new(Code::RequestTimeout, reply.message),
            "SlowDown" | "ThrottlingException" => Error::new(Code::Throttled, reply.message),
            "ServiceUnavailable" => Error::new(Code::ServiceUnavailable, reply.message),
            _ if reply.status >= 500 => Error::internal(),
            // A presigned URL whose time is over is such.
            "AccessDenied" if reply.message.contains("expired") => {
                Error::new(Code::RequestExpired, reply.message)
            }
            _ => Error::denied(reply.message),
        }
    }
}

fn is_about_scope(message: &str) -> bool {
    ["the region '", "incorrect service", "Invalid credential date"].iter().any(|part| message.contains(part))
}

/// `Signature expired: …` or `Signature not yet current: …`, with the two times as the client signed them.
fn skewed(reply: &ErrorReply) -> Error {
    let signed = reply.extra("RequestTime").unwrap_or_default();
    let server = reply.extra("ServerTime").unwrap_or_default();
    let now: String = server.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    // Both are digits of one length from the year on, so that their order is that of the times.
    let text = if signed < now.as_str() {
        format!("Signature expired: {signed} is now earlier than {now} - 15 min.")
    } else {
        format!("Signature not yet current: {signed} is still later than {now} + 15 min.")
    };
    Error::new(Code::SignatureDoesNotMatch, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_code_that_clients_look_for() {
        let cases = [
            ("MissingAuthenticationToken", "", Code::MissingAuthenticationToken),
            ("InvalidAccessKeyId", "", Code::InvalidClientTokenId),
            ("InvalidToken", "", Code::InvalidClientTokenId),
            ("ExpiredToken", "", Code::ExpiredToken),
            ("SignatureDoesNotMatch", "", Code::SignatureDoesNotMatch),
            ("RequestTimeTooSkewed", "", Code::SignatureDoesNotMatch),
            ("AuthorizationHeaderMalformed", "; the region 'a' is wrong", Code::SignatureDoesNotMatch),
            ("AuthorizationHeaderMalformed", "; it has no Signature", Code::IncompleteSignature),
            ("AccessDenied", "Request has expired", Code::RequestExpired),
            ("AccessDenied", "no", Code::AccessDenied),
            ("ThrottlingException", "", Code::Throttled),
            ("ServiceUnavailable", "starting", Code::ServiceUnavailable),
            ("EntityTooLarge", "", Code::RequestTooLarge),
        ];
        for (code, message, expected) in cases {
            assert_eq!(Error::from(ErrorReply::new(code, 403, message)).code, expected, "{code}: {message}");
        }
        assert_eq!(Error::from(ErrorReply::new("What", 500, "")).code, Code::InternalFailure);
    }
}
