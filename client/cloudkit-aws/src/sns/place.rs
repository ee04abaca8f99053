//! Where a subscription delivers: which protocol an endpoint speaks, and the ARN of a queue that is named by its address.
//!
//! | endpoint | protocol |
//! |---|---|
//! | `arn:..:sqs:..`, and an http address with the path `/<12 digits>/<name>` | sqs |
//! | another http or https address | http, https |
//! | `arn:..:lambda:..`, `arn:..:firehose:..`, `arn:..:sns:..:app/..` | lambda, firehose, application |
//! | a text with `@` in it; one of digits, perhaps behind a plus | email; sms |
//!
//! Which of the protocols there are is the service's to say.

use std::borrow::Cow;

/// The protocol that an endpoint's form tells; None for a text that is none of them.
pub(super) fn protocol_of(endpoint: &str) -> Option<&'static str> {
    if endpoint.starts_with("arn:") {
        return match endpoint.split(':').nth(2)? {
            "sqs" => Some("sqs"),
            "lambda" => Some("lambda"),
            "firehose" => Some("firehose"),
            "sns" => Some("application"),
            _ => None,
        };
    }
    if queue_of(endpoint).is_some() {
        Some("sqs")
    } else if endpoint.starts_with("https://") {
        Some("https")
    } else if endpoint.starts_with("http://") {
        Some("http")
    } else if endpoint.contains('@') {
        Some("email")
    } else {
        let digits = endpoint.strip_prefix('+').unwrap_or(endpoint);
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some("sms")
    }
}

/// A queue's ARN for its address; any other text stays as it is.
pub(super) fn arn_of<'p>(place: &'p str, region: &str) -> Cow<'p, str> {
    match queue_of(place) {
        Some((account, name)) => Cow::Owned(format!("arn:aws:sqs:{region}:{account}:{name}")),
        None => Cow::Borrowed(place),
    }
}

/// Account and name of a queue's address.
fn queue_of(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"))?;
    let (_, path) = rest.split_once('/')?;
    let (account, name) = path.split_once('/')?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let front = name.strip_suffix(".fifo").unwrap_or(name);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (is_account && !front.is_empty() && front.bytes().all(word)).then_some((account, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_an_endpoint_tells_its_protocol() {
        for (endpoint, protocol) in [
            ("arn:aws:sqs:us-east-1:000000000000:q", Some("sqs")),
            ("https://sqs.us-east-1.amazonaws.com/000000000000/q.fifo", Some("sqs")),
            ("http://h/000000000000/q/r", Some("http")),
            ("https://h", Some("https")),
            ("arn:aws:lambda:us-east-1:0:function:f", Some("lambda")),
            ("a@b.c", Some("email")),
            ("+491700000", Some("sms")),
            ("arn:aws:s3:::b", None),
            ("", None),
            ("queue", None),
        ] {
            assert_eq!(protocol_of(endpoint), protocol, "{endpoint}");
        }
    }

    #[test]
    fn a_queues_address_becomes_its_arn() {
        let arn = arn_of("http://h:1/000000000000/q.fifo", "eu-west-1");
        assert_eq!(arn, "arn:aws:sqs:eu-west-1:000000000000:q.fifo");
        for other in ["arn:aws:sqs:us-east-1:000000000000:q", "http://h/hook", "", "x"] {
            assert_eq!(arn_of(other, "r"), other);
        }
    }
}
