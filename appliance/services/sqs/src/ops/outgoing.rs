//! A message on its way into a queue: the checks that need no queue, and what its sender is told.
//! Invariant: the digests cover what was sent, which is what is stored.

use bytes::Bytes;

use crate::engine::{NewMessage, Sent};
use crate::model::limits::{DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX};
use crate::wire::error::Error;
use crate::wire::input::Text;
use crate::wire::md5;
use crate::wire::message::{check_attributes, check_body, check_system_attributes, size};
use crate::wire::name::check_id;
use crate::wire::reply::Out;
use crate::wire::request::message::Send;

/// What the sender of a message is told of what it sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digests {
    body: String,
    attributes: Option<String>,
    system: Option<String>,
}

/// A message that passed, and what its sender is told.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub message: NewMessage,
    /// What its sender is told of it.
    pub digests: Digests,
}

/// Checks a message. Errors: those of its parts; too long for any queue.
pub fn check(request: Send<'_>) -> Result<Outgoing, Error> {
    let body = check_body(request.body.as_deref())?;
    let attributes = check_attributes(request.attributes)?;
    let system = check_system_attributes(request.system)?;
    let delay_seconds = request.delay_seconds.map(check_delay).transpose()?;
    let group = checked_id("MessageGroupId", request.group)?;
    let deduplication = checked_id("MessageDeduplicationId", request.deduplication)?;
    let bytes_max = usize::try_from(MESSAGE_BYTES_MAX).unwrap_or(usize::MAX);
    if size(body, &attributes) > bytes_max {
        return Err(Error::message_too_long(bytes_max));
    }
    let digests = Digests {
        body: md5::of_body(body.as_bytes()),
        attributes: md5::of_attributes(&attributes),
        system: md5::of_attributes(&system),
    };
    let body = Bytes::from(request.body.unwrap_or_default().into_owned());
    let message = NewMessage { body, attributes, system, delay_seconds, group, deduplication };
    Ok(Outgoing { message, digests })
}

fn check_delay(seconds: i32) -> Result<u16, Error> {
    let right = u16::try_from(seconds).ok().filter(|seconds| *seconds <= DELAY_SECONDS_MAX);
    right.ok_or_else(|| {
        let reason = format!("DelaySeconds must be >= 0 and <= {DELAY_SECONDS_MAX}.");
        Error::invalid_value("DelaySeconds", seconds, &reason)
    })
}

fn checked_id(parameter: &str, id: Option<Text<'_>>) -> Result<Option<Box<str>>, Error> {
    let Some(id) = id else { return Ok(None) };
    check_id(parameter, &id)?;
    Ok(Some(id.into()))
}

/// Writes what the sender of a message is told.
pub fn write_sent(out: &mut Out, sent: &Sent, digests: &Digests) {
    out.text("MessageId", &sent.message_id.to_string());
    out.text("MD5OfMessageBody", &digests.body);
    out.text_if("MD5OfMessageAttributes", digests.attributes.as_deref());
    out.text_if("MD5OfMessageSystemAttributes", digests.system.as_deref());
    if let Some(sequence) = sent.sequence {
        out.text("SequenceNumber", &sequence.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(body: &str) -> Send<'_> {
        Send { body: Some(body.into()), ..Send::default() }
    }

    #[test]
    fn a_message_has_the_digest_of_its_body_and_keeps_its_bytes() {
        let outgoing = check(send("hello")).expect("it passes");
        assert_eq!(outgoing.digests.body, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!((&outgoing.message.body[..], outgoing.digests.attributes), (&b"hello"[..], None));
    }

    #[test]
    fn delays_ids_and_lengths_have_their_bounds() {
        let refused = |request| check(request).expect_err("refused").message.into_owned();
        for (seconds, is_right) in [(0, true), (900, true), (901, false), (-1, false), (70_000, false)] {
            let request = Send { delay_seconds: Some(seconds), ..send("x") };
            assert_eq!(check(request).is_ok(), is_right, "{seconds}");
        }
        assert_eq!(
            refused(Send { delay_seconds: Some(901), ..send("x") }),
            "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
        );
        assert!(refused(Send { group: Some("a b".into()), ..send("x") }).contains("MessageGroupId"));
        assert!(
            refused(Send { deduplication: Some("".into()), ..send("x") }).contains("MessageDeduplicationId")
        );
        let longest = "x".repeat(1_048_576);
        assert!(check(send(&longest)).is_ok());
        assert_eq!(
            refused(send(&format!("{longest}x"))),
            "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
        );
    }
}
