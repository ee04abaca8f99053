//! What a queue lets in: names, bodies, attributes and times, by the rules of SQS.

use super::line::invalid;
use crate::limits::{
    ATTRIBUTE_NAME_BYTES_MAX, DELAY_MAX, MESSAGE_ATTRIBUTE_COUNT_MAX, MESSAGE_BYTES_MAX,
    MESSAGE_ID_BYTES_MAX, QUEUE_NAME_BYTES_MAX,
};
use crate::refusal::{Outcome, Refusal};
use cloudkit_core::api::SendOptions;
use cloudkit_core::common::Metadata;
use std::time::Duration;

/// A message that may be sent.
pub(crate) struct Sending<'a> {
    pub(super) body: &'a str,
    pub(super) attributes: &'a Metadata,
    pub(super) group: Option<&'a str>,
    /// Without one, the message is like no other.
    pub(super) deduplication: Option<&'a str>,
    pub(super) delay: Duration,
}

impl<'a> Sending<'a> {
    pub(super) fn new(body: &'a str, options: &'a SendOptions, is_fifo: bool) -> Outcome<Self> {
        check_body(body)?;
        check_attributes(&options.attributes)?;
        let attribute_bytes = options.attributes.iter().map(|(name, value)| name.len() + value.len() + 6);
        if body.len() + attribute_bytes.sum::<usize>() > MESSAGE_BYTES_MAX {
            return Err(invalid("a message has at most 1 MiB"));
        }
        for id in [&options.message_group_id, &options.deduplication_id].into_iter().flatten() {
            if !(1..=MESSAGE_ID_BYTES_MAX).contains(&id.len())
                || !id.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(invalid("an identity has 1 to 128 letters, digits and signs"));
            }
        }
        let delay = options.delay.map(seconds);
        if delay.is_some_and(|delay| delay > DELAY_MAX) {
            return Err(invalid("a message is delayed by 15 minutes at most"));
        }
        if is_fifo && delay.is_some_and(|delay| !delay.is_zero()) {
            return Err(invalid("a single message of a FIFO queue cannot be delayed"));
        }
        if is_fifo && options.message_group_id.is_none() {
            let refusal = Refusal::invalid("MissingParameter", "a FIFO queue needs a message_group_id");
            return Err(refusal.hint("send_with_options(.., SendOptions::new().message_group_id(..))"));
        }
        if !is_fifo && options.deduplication_id.is_some() {
            return Err(invalid("only a FIFO queue takes a deduplication_id"));
        }
        Ok(Self {
            body,
            attributes: &options.attributes,
            group: options.message_group_id.as_deref(),
            deduplication: options.deduplication_id.as_deref(),
            delay: delay.unwrap_or_default(),
        })
    }
}

/// The times of SQS are whole seconds; a part of one counts as one, so that nothing comes too early.
pub(super) fn seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs(time.as_secs().saturating_add(up))
}

/// Whether a queue may have this name.
pub(super) fn check_name(name: &str) -> Outcome<()> {
    let front = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() <= QUEUE_NAME_BYTES_MAX && !front.is_empty() && front.bytes().all(word) {
        return Ok(());
    }
    Err(invalid(
        "a queue's name has 1 to 80 letters, digits, hyphens and underscores, and may end with .fifo",
    ))
}

/// The characters of XML 1.0, which is what SQS lets through.
pub(crate) fn check_body(body: &str) -> Outcome<()> {
    if body.is_empty() {
        return Err(Refusal::invalid("MissingParameter", "a message has at least one character"));
    }
    let allowed = |char: char| !matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if body.chars().all(allowed) {
        return Ok(());
    }
    Err(Refusal::invalid(
        "InvalidMessageContents",
        "a message has no control characters but tab and line ends",
    ))
}

/// Names and values of attributes of messages.
pub(crate) fn check_attributes(attributes: &Metadata) -> Outcome<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let reserved = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.starts_with("aws.") || lower.starts_with("amazon.")
    };
    let wrong = |(name, value): (&String, &String)| {
        !(1..=ATTRIBUTE_NAME_BYTES_MAX).contains(&name.len())
            || !name.bytes().all(word)
            || name.starts_with('.')
            || name.ends_with('.')
            || name.contains("..")
            || reserved(name)
            || check_body(value).is_err()
    };
    if attributes.len() > MESSAGE_ATTRIBUTE_COUNT_MAX || attributes.iter().any(wrong) {
        return Err(invalid(
            "a message has up to 10 attributes, with names of letters and values that are not empty",
        ));
    }
    Ok(())
}

pub(super) fn bad_receipt() -> Refusal {
    Refusal::invalid("ReceiptHandleIsInvalid", "the receipt handle is none of this queue")
}

pub(super) const FIFO_SUFFIX: &str = ".fifo";
