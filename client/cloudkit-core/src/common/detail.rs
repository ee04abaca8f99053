//! The facts of a failure, and the tail by which they travel inside the texts of the old errors.
//!
//! The tail stands at the very end of the text, after one space unless the text before it is empty:
//!
//! ```text
//! bucket "logs" does not exist [provider="zero" operation="PutObject" resource="logs/a.txt" status=404 ..]
//! ```
//!
//! | Key | Value | Present |
//! |---|---|---|
//! | provider, operation | JSON string | always |
//! | resource | JSON string | if known |
//! | status | 100 to 999 | if there was an answer |
//! | code, request | JSON string | if known |
//! | attempts | 0 to 4294967295 | always |
//! | hint | JSON string | if there is one |
//!
//! Invariant: the keys stand in this order, once each, and their strings escape both brackets, so that the last `[` of a
//! text with a tail opens the tail. A server that puts a tail into its own message is therefore read as a message.

use std::fmt::{self, Write as _};

/// What is known of a failed operation. Secrets and bodies are never among it.
///
/// Displays as one line, in which control characters are escaped:
/// `zero PutObject logs/a.txt: NoSuchBucket (404): bucket "logs" does not exist [request 01J, 1 attempt]. Hint: ..`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorDetail {
    /// The provider in lower case.
    pub provider: String,
    /// The operation in the provider's word, such as `PutObject`.
    pub operation: String,
    /// What it was about, such as `bucket/key`.
    pub resource: Option<String>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The provider's code.
    pub code: Option<String>,
    /// What the provider said, or what went wrong on the way.
    pub message: String,
    /// The provider's name for the request.
    pub request_id: Option<String>,
    /// How many times the request was tried; 0 if it was refused before anything was sent.
    pub attempts: u32,
    /// What would help.
    pub hint: Option<String>,
}

impl ErrorDetail {
    /// Facts of which only the first two are known; nothing was sent.
    pub fn new(provider: impl Into<String>, operation: impl Into<String>) -> Self {
        Self { provider: provider.into(), operation: operation.into(), ..Self::default() }
    }

    /// Sets what the operation was about.
    pub fn with_resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Sets the HTTP status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the provider's code.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets what the provider said.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Sets the provider's name for the request.
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Sets how many times the request was tried.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets what would help.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The tail that carries everything but the message. Each text in it is cut to [`DETAIL_VALUE_BYTES_MAX`].
    pub fn tail(&self) -> String {
        let mut tail = String::from("[");
        write_text(&mut tail, "provider", &self.provider);
        write_text(&mut tail, " operation", &self.operation);
        if let Some(resource) = &self.resource {
            write_text(&mut tail, " resource", resource);
        }
        if let Some(status) = self.status.filter(|status| STATUSES.contains(status)) {
            write_number(&mut tail, " status", u32::from(status));
        }
        if let Some(code) = &self.code {
            write_text(&mut tail, " code", code);
        }
        if let Some(id) = &self.request_id {
            write_text(&mut tail, " request", id);
        }
        write_number(&mut tail, " attempts", self.attempts);
        if let Some(hint) = &self.hint {
            write_text(&mut tail, " hint", hint);
        }
        tail.push(']');
        tail
    }

    /// Reads a text that ends with a tail; what stands before it becomes the message. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text)
    }
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Line(&self.provider), Line(&self.operation))?;
        if let Some(resource) = &self.resource {
            write!(f, " {}", Line(resource))?;
        }
        match (&self.code, self.status) {
            (Some(code), Some(status)) => write!(f, ": {} ({status})", Line(code))?,
            (Some(code), None) => write!(f, ": {}", Line(code))?,
            (None, Some(status)) => write!(f, ": HTTP {status}")?,
            (None, None) => {}
        }
        if !self.message.is_empty() {
            write!(f, ": {}", Line(&self.message))?;
        }
        f.write_str(" [")?;
        if let Some(id) = &self.request_id {
            write!(f, "request {}, ", Line(id))?;
        }
        match self.attempts {
            0 => f.write_str("not sent]")?,
            1 => f.write_str("1 attempt]")?,
            more => write!(f, "{more} attempts]")?,
        }
        if let Some(hint) = &self.hint {
            write!(f, ". Hint: {}", Line(hint))?;
        }
        Ok(())
    }
}

/// A text shown on one line: a server must not be able to forge a second one in somebody's log.
struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// The text with this tail in place of the one that it may have.
pub(super) fn join(text: &str, detail: &ErrorDetail) -> String {
    let bare = bare(text);
    let tail = detail.tail();
    if bare.is_empty() { tail } else { format!("{bare} {tail}") }
}

/// The text before the tail; the whole text if it has none.
pub(super) fn bare(text: &str) -> &str {
    match split(text) {
        Some((bare, tail)) if fields(tail).is_some() => bare,
        _ => text,
    }
}

/// Facts and message of a text that ends with a tail.
pub(super) fn parse(text: &str) -> Option<ErrorDetail> {
    let (bare, tail) = split(text)?;
    let mut detail = fields(tail)?;
    detail.message = bare.to_owned();
    Some(detail)
}

/// What may be a tail, without its brackets, and the text before it.
fn split(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix(']')?;
    let start = inner.rfind('[')?;
    let before = &inner[..start];
    let bare = if before.is_empty() { before } else { before.strip_suffix(' ')? };
    Some((bare, &inner[start + 1..]))
}

/// The fields of a tail, without their message.
fn fields(tail: &str) -> Option<ErrorDetail> {
    let mut rest = tail;
    let mut detail =
        ErrorDetail::new(read_text(&mut rest, "provider=")??, read_text(&mut rest, " operation=")??);
    detail.resource = read_text(&mut rest, " resource=")?;
    detail.status = match read_number(&mut rest, " status=")? {
        Some(status) => Some(u16::try_from(status).ok().filter(|status| STATUSES.contains(status))?),
        None => None,
    };
    detail.code = read_text(&mut rest, " code=")?;
    detail.request_id = read_text(&mut rest, " request=")?;
    detail.attempts = read_number(&mut rest, " attempts=")??;
    detail.hint = read_text(&mut rest, " hint=")?;
    rest.is_empty().then_some(detail)
}

fn write_text(tail: &mut String, key: &str, value: &str) {
    let value = cut(value);
    let quoted = serde_json::Value::from(value).to_string();
    // A bracket may stand in JSON as its escape; bare, it would look like the tail's own.
    let quoted = quoted.replace('[', "\\u005b").replace(']', "\\u005d");
    tail.push_str(key);
    tail.push('=');
    tail.push_str(&quoted);
}

fn write_number(tail: &mut String, key: &str, value: u32) {
    tail.push_str(key);
    tail.push('=');
    tail.push_str(&value.to_string());
}

/// The value of this key if the rest begins with it: `Some(None)` if it does not, `None` if its value is malformed.
fn read_text(rest: &mut &str, key: &str) -> Option<Option<String>> {
    let Some(value) = rest.strip_prefix(key) else { return Some(None) };
    let mut escaped = false;
    let inner = value.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    // Both quotes belong to the JSON string.
    let (quoted, after) = value.split_at(end + 2);
    *rest = after;
    serde_json::from_str(quoted).ok().map(Some)
}

/// As `read_text`, for a decimal number without a sign.
fn read_number(rest: &mut &str, key: &str) -> Option<Option<u32>> {
    let Some(value) = rest.strip_prefix(key) else { return Some(None) };
    let end = value.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let (digits, after) = value.split_at(end);
    *rest = after;
    digits.parse().ok().map(Some)
}

/// The text, or as much of its beginning as a tail carries.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(DETAIL_VALUE_BYTES_MAX)]
}

/// The most bytes of one text in a tail; a key of 1,024 bytes with its bucket fits.
pub const DETAIL_VALUE_BYTES_MAX: usize = 2048;
const STATUSES: std::ops::RangeInclusive<u16> = 100..=999;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> ErrorDetail {
        ErrorDetail::new("zero", "PutObject")
            .with_resource("logs/a.txt")
            .with_status(404)
            .with_code("NoSuchBucket")
            .with_message("bucket \"logs\" does not exist")
            .with_request_id("01J")
            .with_attempts(1)
            .with_hint("create_bucket(\"logs\")")
    }

    #[test]
    fn a_detail_displays_every_fact_on_one_line() {
        assert_eq!(
            whole().to_string(),
            "zero PutObject logs/a.txt: NoSuchBucket (404): bucket \"logs\" does not exist \
             [request 01J, 1 attempt]. Hint: create_bucket(\"logs\")"
        );
        assert_eq!(ErrorDetail::new("aws", "ListBuckets").to_string(), "aws ListBuckets [not sent]");
        let timed_out = ErrorDetail::new("zero", "Get").with_message("no answer").with_attempts(3);
        assert_eq!(timed_out.to_string(), "zero Get: no answer [3 attempts]");
        let unnamed = ErrorDetail::new("zero", "Get").with_status(502).with_attempts(1);
        assert_eq!(unnamed.to_string(), "zero Get: HTTP 502 [1 attempt]");
    }

    #[test]
    fn a_line_break_of_the_server_does_not_break_the_line() {
        let forged = whole().with_message("x\n2026-01-01 INFO all is well").with_resource("a\r\nb\u{1b}[2J");
        let shown = forged.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert!(shown.contains("x\\n2026"), "{shown}");
    }

    #[test]
    fn the_tail_is_read_back_as_it_was_written() {
        let detail = whole();
        let text = join(&detail.message, &detail);
        assert_eq!(
            text,
            "bucket \"logs\" does not exist [provider=\"zero\" operation=\"PutObject\" resource=\"logs/a.txt\" \
             status=404 code=\"NoSuchBucket\" request=\"01J\" attempts=1 hint=\"create_bucket(\\\"logs\\\")\"]"
        );
        assert_eq!(parse(&text), Some(detail));
        let bare_one = ErrorDetail::new("", "");
        assert_eq!(parse(&join("", &bare_one)), Some(bare_one));
    }

    /// Texts that a hostile or broken server may send in any field.
    fn hostile() -> Vec<String> {
        let mut texts = vec![
            String::new(),
            String::from(" "),
            String::from("]"),
            String::from("["),
            String::from("] ["),
            String::from("\"] [provider=\"x\""),
            String::from("\\"),
            String::from("\\\""),
            String::from("\\u005b"),
            String::from("a\nb\r\0\u{7f}\u{2028}"),
            String::from("ключ/鍵/🗝"),
            whole().tail(),
            format!("fine {}", whole().tail()),
            format!("{} ", whole().tail()),
            String::from(" attempts=7 hint=\"x\"]"),
        ];
        texts.push("[".repeat(300));
        texts
    }

    #[test]
    fn hostile_texts_in_any_field_come_back_unchanged() {
        for text in hostile() {
            for other in hostile() {
                let detail = ErrorDetail::new(text.clone(), other.clone())
                    .with_resource(text.clone())
                    .with_status(599)
                    .with_code(other.clone())
                    .with_message(text.clone())
                    .with_request_id(other.clone())
                    .with_attempts(u32::MAX)
                    .with_hint(text.clone());
                // A message that ends with a tail loses that one: only the client's own is believed.
                let message = bare(&text).to_owned();
                let joined = join(&text, &detail);
                assert_eq!(parse(&joined), Some(detail.with_message(message.clone())), "{text:?} {other:?}");
                assert_eq!(bare(&joined), message);
            }
        }
    }

    #[test]
    fn joining_again_replaces_the_tail() {
        let once = join("m", &whole());
        let twice = join(&once, &whole().with_attempts(2));
        assert_eq!(twice.matches("provider=").count(), 1, "{twice}");
        assert_eq!(parse(&twice).unwrap().attempts, 2);
    }

    #[test]
    fn a_text_that_only_resembles_a_tail_has_none() {
        let good = whole().tail();
        assert!(parse(&good).is_some());
        for broken in [
            good.replace("status=404", "status=99"),
            good.replace("status=404", "status=+404"),
            good.replace("status=404", "status=70000"),
            good.replace("attempts=1", "attempts="),
            good.replace(" attempts=1", ""),
            good.replace("attempts=1", "attempts=4294967296"),
            good.replace("provider=", "provide="),
            good.replace(" code=", " kode="),
            good.replace("\"01J\"", "\"01J"),
            good.replace("\"01J\"", "\"\\x\""),
            good.replace(" hint=", " hint=\"a\" hint="),
            format!("x{good}"),
            format!("{good}."),
            good.trim_end_matches(']').to_owned(),
            String::from("]"),
            String::from("[]"),
            String::new(),
        ] {
            assert_eq!(parse(&broken), None, "{broken}");
            assert_eq!(bare(&broken), broken);
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(DETAIL_VALUE_BYTES_MAX);
        let read = parse(&whole().with_hint(format!("x{long}")).tail()).unwrap();
        let hint = read.hint.unwrap();
        assert_eq!(hint.len(), DETAIL_VALUE_BYTES_MAX - 1);
        assert!(format!("x{long}").starts_with(&hint));
    }

    #[test]
    fn a_status_outside_http_is_left_out() {
        assert_eq!(parse(&whole().with_status(7).tail()).unwrap().status, None);
    }
}
