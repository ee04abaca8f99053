//! A message on its way through a topic.
//! Invariant: a `MessageAttribute` is one that the rules of SNS allow; the texts are not empty.
//! Leaves to filter and delivery: who gets it, and in which form.

use super::arn::Uuid;
use super::limits::ATTRIBUTE_NAME_MAX;
use super::subscription::Protocol;

/// What somebody published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its id, the same for every recipient.
    pub id: Uuid,
    /// The text.
    pub text: Box<str>,
    /// Other texts for some protocols (MessageStructure=json); each protocol at most once.
    pub texts: Vec<(Protocol, Box<str>)>,
    /// The subject, if it has one.
    pub subject: Option<Box<str>>,
    /// Its attributes; each name once.
    pub attributes: Vec<MessageAttribute>,
    /// The group whose order is kept; on a topic that keeps none, the tenant for fair queues.
    pub group: Option<Box<str>>,
    /// The id by which a repetition is known; on topics that keep order only.
    pub deduplication: Option<Box<str>>,
}

impl Message {
    /// The text for recipients of a protocol.
    #[must_use]
    pub fn text_for(&self, protocol: Protocol) -> &str {
        let own = self.texts.iter().find(|(of, _)| *of == protocol);
        own.map_or(&self.text, |(_, text)| text)
    }

    /// Bytes that count against a topic's MaximumMessageSize: the text as it was published is the caller's to count.
    #[must_use]
    pub fn attribute_bytes(&self) -> usize {
        self.attributes.iter().map(MessageAttribute::bytes).sum()
    }
}

/// A name, a type and a value beside the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageAttribute {
    /// Its name.
    pub name: Box<str>,
    /// `String`, `String.Array`, `Number` or `Binary`, or one with a suffix behind a dot.
    pub data_type: Box<str>,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of a message attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeValue {
    /// Of a String, a String.Array or a Number: as it was sent.
    Text(Box<str>),
    /// Of a Binary.
    Binary(Box<[u8]>),
}

impl MessageAttribute {
    /// Bytes of name, type and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match &self.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        self.name.len() + self.data_type.len() + value
    }
}

/// Whether a message attribute may have this name.
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    !name.is_empty()
        && name.len() <= ATTRIBUTE_NAME_MAX
        && !reserved
        && !dots
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// The kinds of message attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttributeKind {
    /// Any text.
    String,
    /// A JSON array of texts, numbers, booleans and null.
    StringArray,
    /// A decimal number.
    Number,
    /// Bytes.
    Binary,
}

impl AttributeKind {
    /// The kind that a type names, its suffix aside; None for what is no type.
    #[must_use]
    pub fn of(data_type: &str) -> Option<AttributeKind> {
        if data_type == "String.Array" || data_type.starts_with("String.Array.") {
            return Some(AttributeKind::StringArray);
        }
        match data_type.split_once('.').map_or(data_type, |(base, _)| base) {
            "String" => Some(AttributeKind::String),
            "Number" => Some(AttributeKind::Number),
            "Binary" => Some(AttributeKind::Binary),
            _ => None,
        }
    }
}

/// Digits of a Number at most, leading and trailing zeros aside.
const NUMBER_DIGITS_MAX: usize = 38;
/// The greatest power of ten of a Number's first digit, and the least.
const NUMBER_EXPONENTS: std::ops::RangeInclusive<i64> = -128..=126;

/// Whether a text is a Number: an optional sign, digits with an optional point, an optional exponent; up to 38 digits
/// between 10^-128 and 10^126 in size, or zero.
#[must_use]
pub fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => match exponent.parse::<i64>() {
            // Two digits more than the greatest exponent need; the sum below cannot overflow.
            Ok(exponent) if exponent.abs() <= 100_000 => (mantissa, exponent),
            Ok(_) | Err(_) => return false,
        },
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let Some(first) = digits.iter().position(|digit| *digit != b'0') else { return true };
    let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
    let power = whole.len() as i64 - 1 - first as i64 + exponent;
    last - first < NUMBER_DIGITS_MAX && NUMBER_EXPONENTS.contains(&power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attributes_have_letters_digits_and_inner_dots() {
        for name in ["a", "A-b_c.9", &"n".repeat(256)] {
            assert!(is_attribute_name(name), "{name}");
        }
        for name in ["", ".a", "a.", "a..b", "AWS.x", "aMaZoN.x", "a b", "ä", &"n".repeat(257)] {
            assert!(!is_attribute_name(name), "{name}");
        }
    }

    #[test]
    fn a_type_may_have_a_suffix_and_nothing_else() {
        assert_eq!(AttributeKind::of("Number.int"), Some(AttributeKind::Number));
        assert_eq!(AttributeKind::of("String.Array"), Some(AttributeKind::StringArray));
        assert_eq!(AttributeKind::of("String.Arrays"), Some(AttributeKind::String));
        assert_eq!(AttributeKind::of("Binary.png"), Some(AttributeKind::Binary));
        for name in ["", "string", "Strings", ".String"] {
            assert_eq!(AttributeKind::of(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_have_38_digits_and_a_bounded_size() {
        for number in
            ["0", "-0.0", "1", "+1.50", ".5", "5.", "1e126", "1E-128", "0.001e-125", &"9".repeat(38)]
        {
            assert!(is_number(number), "{number}");
        }
        for number in [
            "",
            "-",
            ".",
            "e1",
            "1e",
            "1e127",
            "1e-129",
            "1e99999999999999999999",
            "1e999999",
            "0x1",
            "1 ",
            "NaN",
        ] {
            assert!(!is_number(number), "{number}");
        }
        assert!(!is_number(&"9".repeat(39)));
        assert!(is_number(&format!("{}{}", "9".repeat(38), "0".repeat(5))));
    }

    #[test]
    fn a_protocols_own_text_wins() {
        let message = Message {
            id: Uuid::default(),
            text: "all".into(),
            texts: vec![(Protocol::Sqs, "queues".into())],
            subject: None,
            attributes: Vec::new(),
            group: None,
            deduplication: None,
        };
        assert_eq!(message.text_for(Protocol::Sqs), "queues");
        assert_eq!(message.text_for(Protocol::Https), "all");
    }
}
