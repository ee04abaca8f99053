//! What is wrong with a key, in words.
//! Invariant: as of value.rs.

use crate::model::keys::KeyError;
use crate::model::table::KeyType;

use super::error::Error;

/// The words for a key, or a batch's item, that has not the table's shape.
pub const NO_MATCH: &str = "The provided key element does not match the schema";

fn type_name(kind: KeyType) -> &'static str {
    match kind {
        KeyType::S => "S",
        KeyType::N => "N",
        KeyType::B => "B",
    }
}

/// `string` or `binary`: what a key may not have none of.
fn empty_name(kind: KeyType) -> &'static str {
    match kind {
        KeyType::S | KeyType::N => "string",
        KeyType::B => "binary",
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Error {
        let invalid = |text: &str| Error::invalid_values(text);
        match error {
            KeyError::NoMatch => Error::validation(NO_MATCH),
            KeyError::Missing(name) => invalid(&format!("Missing the key {name} in the item")),
            KeyError::Mismatch { name, expected, actual } => invalid(&format!(
                "Type mismatch for key {name} expected: {} actual: {}",
                type_name(expected),
                actual.name()
            )),
            KeyError::Empty { name, kind } => Error::validation(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                 empty {} value. Key: {name}",
                empty_name(kind)
            )),
            // No blank stands in front of the number in AWS's text either.
            KeyError::HashTooLong => {
                invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes")
            }
            KeyError::SortTooLong => {
                invalid("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
            }
            KeyError::IndexMismatch { index, name, expected, actual } => invalid(&format!(
                "Type mismatch for Index Key {name} Expected: {} Actual: {} IndexName: {index}",
                type_name(expected),
                actual.name()
            )),
            KeyError::IndexEmpty { index, name, kind } => Error::validation(format!(
                "One or more parameter values are not valid. A value specified for a secondary index key is not supported. \
                 The AttributeValue for a key attribute cannot contain an empty {} value. IndexName: {index}, IndexKey: \
                 {name}",
                empty_name(kind)
            )),
        }
    }
}

/// The same for a Put of a batch, which is told of its key as if it were one alone.
#[must_use]
pub fn batch_key_error(error: KeyError) -> Error {
    match error {
        KeyError::Missing(_) | KeyError::Mismatch { .. } => Error::validation(NO_MATCH),
        other => other.into(),
    }
}
