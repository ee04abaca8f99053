//! What is wrong with an attribute value, in words.
//! Invariant: the same fault has the same words wherever a value may stand.
//! Leaves to json: finding it.

use crate::json::ValueError;
use crate::number::NumberError;
use crate::value::Kind;

use super::constraint::shortened;
use super::error::Error;

/// The words for a fault of an attribute value.
#[must_use]
pub fn value_error(error: &ValueError) -> String {
    let invalid = |text: &str| format!("One or more parameter values were invalid: {text}");
    match error {
        ValueError::Empty => {
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes".to_owned()
        }
        ValueError::MoreThanOne => {
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one \
                                    of the supported datatypes"
                .to_owned()
        }
        ValueError::Number(NumberError::NotANumber, sent) if sent.is_empty() => {
            "The parameter cannot be converted to a numeric value".to_owned()
        }
        ValueError::Number(NumberError::NotANumber, sent) => {
            format!("The parameter cannot be converted to a numeric value: {}", shortened(sent))
        }
        ValueError::Number(error, _) => number_error(error).to_owned(),
        // Two blanks stand here in AWS's text too.
        ValueError::EmptySet(Kind::Ss) => invalid("An string set  may not be empty"),
        ValueError::EmptySet(Kind::Ns) => invalid("An number set  may not be empty"),
        ValueError::EmptySet(_) => invalid("Binary sets should not be empty"),
        ValueError::Duplicate { kind: Kind::Ns, .. } => "Input collection contains duplicates".to_owned(),
        ValueError::Duplicate { kind: Kind::Bs, members } => {
            invalid(&format!("Input collection [{}]of type BS contains duplicates.", members.join(", ")))
        }
        ValueError::Duplicate { members, .. } => {
            invalid(&format!("Input collection [{}] contains duplicates.", members.join(", ")))
        }
        ValueError::NullFalse => invalid("Null attribute value types must have the value of true"),
        ValueError::TooDeep => {
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested \
                                levels beyond supported limit"
                .to_owned()
        }
        // The words for null members are not verified on AWS, nor those of a name that is too long.
        ValueError::NullMember(Kind::Ns) => invalid("An number set may not have a null number as a member"),
        ValueError::NullMember(Kind::Bs) => invalid("Binary sets may not contain null values"),
        ValueError::NullMember(_) => invalid("An string set may not have a null string as a member"),
        ValueError::EmptyName => "Empty attribute name".to_owned(),
        ValueError::NameTooLong => invalid("Attribute name is too large, must be less than 65536 bytes"),
    }
}

/// The words for a number that cannot be stored, whether it was sent or came out of an update.
#[must_use]
pub fn number_error(error: &NumberError) -> &'static str {
    match error {
        NumberError::NotANumber => "The parameter cannot be converted to a numeric value",
        NumberError::TooManyDigits => "Attempting to store more than 38 significant digits in a Number",
        NumberError::Overflow => {
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        }
        NumberError::Underflow => {
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        }
    }
}

/// Whether a fault is one of what a value holds, a number or a set, rather than of its form.
#[must_use]
pub fn is_about_content(error: &ValueError) -> bool {
    matches!(error, ValueError::Number(..) | ValueError::Duplicate { .. })
}

impl From<&ValueError> for Error {
    fn from(error: &ValueError) -> Error {
        Error::validation(value_error(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Reader, read_value};

    fn words(json: &str) -> String {
        let mut reader = Reader::new(json.as_bytes()).expect("UTF-8");
        let read = read_value(&mut reader).expect("the right JSON types");
        value_error(&read.error.expect("a fault"))
    }

    #[test]
    fn each_fault_of_a_value_has_the_words_of_aws() {
        let invalid = "One or more parameter values were invalid: ";
        let cases = [
            (
                r"{}",
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
                    .to_owned(),
            ),
            (r#"{"SS":[]}"#, format!("{invalid}An string set  may not be empty")),
            (r#"{"NS":[]}"#, format!("{invalid}An number set  may not be empty")),
            (r#"{"BS":[]}"#, format!("{invalid}Binary sets should not be empty")),
            (r#"{"SS":["b","a","b"]}"#, format!("{invalid}Input collection [b, a, b] contains duplicates.")),
            (r#"{"NS":["1","1.0"]}"#, "Input collection contains duplicates".to_owned()),
            (
                r#"{"BS":["/w==","AA==","AA=="]}"#,
                format!("{invalid}Input collection [/w==, AA==, AA==]of type BS contains duplicates."),
            ),
            (r#"{"NULL":false}"#, format!("{invalid}Null attribute value types must have the value of true")),
            (r#"{"N":"abc"}"#, "The parameter cannot be converted to a numeric value: abc".to_owned()),
            (r#"{"N":""}"#, "The parameter cannot be converted to a numeric value".to_owned()),
            (
                r#"{"N":"1e126"}"#,
                "Number overflow. Attempting to store a number with magnitude larger than supported range"
                    .to_owned(),
            ),
            (
                r#"{"N":"1e-131"}"#,
                "Number underflow. Attempting to store a number with magnitude smaller than supported range"
                    .to_owned(),
            ),
            (
                r#"{"N":"1.23456789012345678901234567890123456789"}"#,
                "Attempting to store more than 38 significant digits in a Number".to_owned(),
            ),
        ];
        for (json, text) in cases {
            assert_eq!(words(json), text, "{json}");
        }
        assert!(
            words(r#"{"S":"a","N":"1"}"#)
                .starts_with("Supplied AttributeValue has more than one datatypes set")
        );
    }
}
