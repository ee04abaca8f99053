//! What a message may hold: the characters of its body, its attributes, its size.
//!
//! Invariant: what passes here is a message that every reply can carry; each refusal says the attribute and the rule.
//! Leaves to the engine: what depends on the queue, such as its MaximumMessageSize. To md5.rs: digests.

use bytes::Bytes;

use super::error::{Code, Error, shortened};
use super::request::RawAttribute;
use crate::model::limits::{MESSAGE_ATTRIBUTE_COUNT_MAX, MESSAGE_ATTRIBUTE_NAME_BYTES_MAX};
use crate::model::message::{AttributeValue, MessageAttribute};

/// A body that is there and has only characters that XML carries.
pub fn check_body(body: Option<&str>) -> Result<&str, Error> {
    let body = body.filter(|body| !body.is_empty()).ok_or_else(|| Error::missing("MessageBody"))?;
    match foreign_character(body) {
        None => Ok(body),
        Some(found) => Err(Error::new(
            Code::InvalidMessageContents,
            format!(
                "Invalid binary character '#x{:X}' was found in the message body, the set of allowed characters is {ALLOWED}",
                u32::from(found)
            ),
        )),
    }
}

const ALLOWED: &str = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";

/// Bytes that are looked at together, so that the compiler does so in one instruction or two.
const BLOCK_BYTES: usize = 64;

/// The first character that XML does not carry: a control but tab, line feed and carriage return, U+FFFE or U+FFFF.
fn foreign_character(text: &str) -> Option<char> {
    // U+FFFE and U+FFFF begin with EF in UTF-8, as do some thousands of others.
    let suspicious = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == 0xef);
    let is_plain = |block: &[u8]| block.iter().fold(0, |all, byte| all | suspicious(*byte)) == 0;
    for block in text.as_bytes().chunks(BLOCK_BYTES) {
        if !is_plain(block) {
            let from = block.as_ptr().addr() - text.as_ptr().addr();
            let found = foreign_in(text.get(text.floor_char_boundary(from)..)?, block.len());
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The same among the characters that begin in the first `length` bytes, and the one before them that may reach in.
fn foreign_in(text: &str, length: usize) -> Option<char> {
    let is_foreign = |c: &char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let near = text.char_indices().take_while(|(at, _)| *at < length + 4);
    near.map(|(_, character)| character).find(is_foreign)
}

/// The attributes of a message, in the order in which they were sent.
pub fn check_attributes(raw: Vec<RawAttribute<'_>>) -> Result<Vec<MessageAttribute>, Error> {
    if raw.len() > MESSAGE_ATTRIBUTE_COUNT_MAX {
        return Err(Error::invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTE_COUNT_MAX}].",
            raw.len()
        )));
    }
    raw.into_iter().map(check_attribute).collect()
}

/// The system attributes of a message: the trace header and no other.
pub fn check_system_attributes(raw: Vec<RawAttribute<'_>>) -> Result<Vec<MessageAttribute>, Error> {
    raw.into_iter()
        .map(|attribute| {
            if attribute.name.as_ref() != TRACE_HEADER {
                return Err(Error::invalid(format!(
                    "Message system attribute name '{}' is invalid. The supported name is {TRACE_HEADER}.",
                    shortened(&attribute.name)
                )));
            }
            let checked = check_attribute(attribute)?;
            if &*checked.kind != "String" {
                return Err(Error::invalid(format!(
                    "The message system attribute '{TRACE_HEADER}' has an invalid type, its type must be String."
                )));
            }
            Ok(checked)
        })
        .collect()
}

/// The one system attribute that a message is sent with.
pub const TRACE_HEADER: &str = "AWSTraceHeader";

/// Bytes of a message: its body and its attributes. System attributes do not count.
#[must_use]
pub fn size(body: &str, attributes: &[MessageAttribute]) -> usize {
    body.len() + attributes.iter().map(MessageAttribute::bytes).sum::<usize>()
}

/// The three kinds of values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Number,
    Binary,
}

fn check_attribute(raw: RawAttribute<'_>) -> Result<MessageAttribute, Error> {
    let RawAttribute { name, kind, text, binary, has_list } = raw;
    check_name(&name)?;
    let shown = shortened(&name);
    if has_list {
        return Err(Error::new(
            Code::UnsupportedOperation,
            "Message attribute list values in SendMessage operation are not supported.",
        ));
    }
    let kind_text = kind.filter(|kind| !kind.is_empty()).ok_or_else(|| {
        Error::invalid(format!(
            "The message attribute '{shown}' must contain non-empty message attribute type."
        ))
    })?;
    let kind = check_kind(shown, &kind_text)?;
    let wrong_field = |word: &str| {
        Error::invalid(format!("The message attribute '{shown}' with type '{word}' must use field '{word}'."))
    };
    let value = match (kind, text, binary) {
        (Kind::Binary, Some(text), None) if !text.is_empty() => return Err(wrong_field("Binary")),
        (Kind::String | Kind::Number, None, Some(_)) => return Err(wrong_field("String")),
        (Kind::Binary, _, Some(bytes)) if !bytes.is_empty() => AttributeValue::Binary(Bytes::from(bytes)),
        (Kind::String | Kind::Number, Some(text), _) if !text.is_empty() => {
            check_text(shown, kind, &text)?;
            AttributeValue::Text(text.into())
        }
        _ => {
            return Err(Error::invalid(format!(
                "The message attribute '{shown}' must contain non-empty message attribute value."
            )));
        }
    };
    Ok(MessageAttribute { kind: kind_text.into(), value, name })
}

fn check_name(name: &str) -> Result<(), Error> {
    let shown = shortened(name);
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(Error::invalid(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for \
             internal use.",
        ));
    }
    if name.len() > MESSAGE_ATTRIBUTE_NAME_BYTES_MAX {
        return Err(Error::invalid(format!(
            "Message (user) attribute names must be shorter than {MESSAGE_ATTRIBUTE_NAME_BYTES_MAX} bytes"
        )));
    }
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(is_character) {
        return Err(Error::invalid(format!(
            "The message attribute name '{shown}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.) characters."
        )));
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(Error::invalid(format!(
            "The message attribute name '{shown}' is invalid. Attribute name must not start or end with a period (.), \
             and must not contain successive periods."
        )));
    }
    Ok(())
}

/// The kind that a type names, with or without a suffix behind a dot.
fn check_kind(name: &str, text: &str) -> Result<Kind, Error> {
    if text.len() > MESSAGE_ATTRIBUTE_NAME_BYTES_MAX {
        return Err(Error::invalid(format!(
            "Message (user) attribute types must be shorter than {MESSAGE_ATTRIBUTE_NAME_BYTES_MAX} bytes"
        )));
    }
    let (base, suffix) = text.split_once('.').map_or((text, None), |(base, suffix)| (base, Some(suffix)));
    let has_right_suffix =
        suffix.is_none_or(|suffix| !suffix.is_empty() && foreign_character(suffix).is_none());
    match base {
        "String" if has_right_suffix => Ok(Kind::String),
        "Number" if has_right_suffix => Ok(Kind::Number),
        "Binary" if has_right_suffix => Ok(Kind::Binary),
        _ => Err(Error::invalid(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is \
             Binary, Number, and String."
        ))),
    }
}

fn check_text(name: &str, kind: Kind, text: &str) -> Result<(), Error> {
    if let Some(found) = foreign_character(text) {
        return Err(Error::new(
            Code::InvalidMessageContents,
            format!(
                "Invalid binary character '#x{:X}' was found in the message attribute '{name}' value, the set of allowed \
                 characters is {ALLOWED}",
                u32::from(found)
            ),
        ));
    }
    if kind == Kind::Number && !is_number(text) {
        return Err(Error::invalid(format!(
            "Can't cast the value of message (user) attribute '{name}' to a number."
        )));
    }
    Ok(())
}

/// Significant digits of a Number.
const DIGIT_COUNT_MAX: usize = 38;
/// A Number is less than ten to this.
const EXPONENT_MAX: i64 = 126;
/// A Number that is not zero is at least ten to this.
const EXPONENT_MIN: i64 = -128;
/// Digits of an exponent that are read; with more it is out of range anyway.
const EXPONENT_DIGITS_MAX: usize = 9;

/// Whether a text is a decimal number within the range and precision that AWS keeps.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)),
        None => (unsigned, Some(0)),
    };
    let Some(exponent) = exponent else { return false };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits.all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(first) = digits().position(|digit| digit != b'0') else { return true };
    let last = digits().enumerate().filter(|(_, digit)| *digit != b'0').last().map_or(first, |(at, _)| at);
    // The first digit that counts stands for so many powers of ten; a message is too short for these to overflow.
    let power = whole.len() as i64 - 1 - first as i64 + exponent;
    last - first < DIGIT_COUNT_MAX && (EXPONENT_MIN..EXPONENT_MAX).contains(&power)
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_right = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_right || digits.len() > EXPONENT_DIGITS_MAX {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw<'a>(name: &str, kind: Option<&'a str>, text: Option<&'a str>) -> RawAttribute<'a> {
        RawAttribute {
            name: name.into(),
            kind: kind.map(Into::into),
            text: text.map(Into::into),
            binary: None,
            has_list: false,
        }
    }

    fn refused(attribute: RawAttribute<'_>) -> String {
        check_attributes(vec![attribute]).expect_err("refused").message.into_owned()
    }

    #[test]
    fn a_body_holds_what_xml_carries() {
        let long = "ä\u{fffd}".repeat(1_000);
        for body in ["a", "\t\n\r ", "\u{7f}\u{85}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}", &long] {
            assert_eq!(check_body(Some(body)), Ok(body));
        }
        for character in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{fffe}', '\u{ffff}']
        {
            // At every place within a block, and across its end.
            for before in 0..2 * BLOCK_BYTES {
                let body = format!("{}{character}{}", "x".repeat(before), "y".repeat(70));
                assert_eq!(foreign_character(&body), Some(character), "{before}");
            }
            let body = format!("{long}{character}");
            assert_eq!(foreign_character(&body), Some(character));
        }
        assert_eq!(
            check_body(Some("a\u{1}")).expect_err("refused").message,
            "Invalid binary character '#x1' was found in the message body, the set of allowed characters is #x9 | #xA | #xD \
             | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        );
        for body in [None, Some("")] {
            let error = check_body(body).expect_err("refused");
            assert_eq!(
                (error.code, &*error.message),
                (Code::MissingParameter, "The request must contain the parameter MessageBody.")
            );
        }
    }

    #[test]
    fn attributes_that_keep_the_rules_pass_as_they_were_sent() {
        let given = vec![
            raw("b", Some("String"), Some("x\ty")),
            raw("A_-.z", Some("Number.java.lang.Long"), Some("-1.5e-3")),
            RawAttribute { binary: Some(vec![0, 255]), ..raw("bin", Some("Binary.png"), None) },
        ];
        let checked = check_attributes(given).expect("they pass");
        let names: Vec<&str> = checked.iter().map(|attribute| &*attribute.name).collect();
        assert_eq!(names, ["b", "A_-.z", "bin"]);
        assert_eq!(&*checked[1].kind, "Number.java.lang.Long");
        assert_eq!(checked[1].value, AttributeValue::Text("-1.5e-3".into()));
        assert_eq!(checked[2].value, AttributeValue::Binary(Bytes::from_static(&[0, 255])));
        assert_eq!(size("body", &checked), 4 + (1 + 6 + 3) + (5 + 21 + 7) + (3 + 10 + 2));
    }

    #[test]
    fn each_rule_of_an_attribute_has_its_words() {
        let many = (0..11).map(|index| raw(&format!("a{index}"), Some("String"), Some("v"))).collect();
        assert_eq!(
            check_attributes(many).expect_err("refused").message,
            "Number of message attributes [11] exceeds the allowed maximum [10]."
        );
        assert_eq!(
            refused(raw("a", Some("String"), Some(""))),
            "The message attribute 'a' must contain non-empty message attribute value."
        );
        assert_eq!(
            refused(raw("a", Some("Integer"), Some("1"))),
            "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is \
             Binary, Number, and String."
        );
        assert_eq!(
            refused(raw("a", None, Some("1"))),
            "The message attribute 'a' must contain non-empty message attribute type."
        );
        assert!(refused(raw("a", Some("Number"), Some("five"))).contains("Can't cast the value"));
        assert!(refused(raw("a", Some("String"), Some("\u{1}"))).contains("'#x1'"));
        assert!(refused(raw("a", Some("Binary"), Some("text"))).contains("must use field 'Binary'"));
        let bytes = RawAttribute { binary: Some(vec![1]), ..raw("a", Some("String"), None) };
        assert!(refused(bytes).contains("must use field 'String'"));
        for name in ["AWS.x", "aws.x", "Amazon.x", "aMaZoN.x"] {
            assert!(
                refused(raw(name, Some("String"), Some("v"))).contains("reserved for internal use"),
                "{name}"
            );
        }
        for name in ["", "a b", "ä", ".a", "a.", "a..b", &"n".repeat(257)] {
            assert!(check_attributes(vec![raw(name, Some("String"), Some("v"))]).is_err(), "{name}");
        }
        for kind in ["string", "Strings", "String.", "", &format!("String.{}", "x".repeat(250))] {
            assert!(check_attributes(vec![raw("a", Some(kind), Some("v"))]).is_err(), "{kind}");
        }
        let list = RawAttribute { has_list: true, ..raw("a", Some("String"), None) };
        assert_eq!(check_attributes(vec![list]).expect_err("refused").code, Code::UnsupportedOperation);
    }

    #[test]
    fn numbers_have_thirty_eight_digits_and_a_range() {
        let nines = "9".repeat(38);
        for text in ["0", "-0", "+1", "1.", ".5", "1e125", "-1E+125", "1e-128", "0e999999999", "000", &nines]
        {
            assert!(is_number(text), "{text}");
        }
        let padded = format!("{}{nines}{}", "0".repeat(1_000), "0".repeat(88));
        assert!(is_number(&padded), "zeros around the digits do not count");
        let too_many = "9".repeat(39);
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e126",
            "1e-129",
            "1e9999999999",
            "0x1",
            "1 ",
            "NaN",
            "1.2.3",
            &too_many,
        ] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn the_trace_header_is_the_one_system_attribute() {
        let trace = raw(TRACE_HEADER, Some("String"), Some("Root=1-5759e988-bd862e3fe1be46a994272793"));
        assert_eq!(check_system_attributes(vec![trace]).expect("it passes").len(), 1);
        for other in [raw("Other", Some("String"), Some("x")), raw(TRACE_HEADER, Some("Number"), Some("1"))] {
            assert_eq!(
                check_system_attributes(vec![other]).expect_err("refused").code,
                Code::InvalidParameterValue
            );
        }
    }
}
