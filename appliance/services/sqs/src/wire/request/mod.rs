//! What each operation is asked, whichever protocol it came in: one structure for each, with what was sent and no more.
//!
//! Invariant: a request that decodes holds no more than its bounds allow; nothing else of it is checked here.
//! Leaves to ops: what has to be there and within which range.

pub mod message;
pub mod queue;

use aws::json::JsonError;

use super::input::{ELEMENT_COUNT_MAX, Text, Value};
use crate::model::limits::MESSAGE_ATTRIBUTE_COUNT_MAX;

/// A message attribute as it was sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RawAttribute<'i> {
    /// Its name.
    pub name: Box<str>,
    /// DataType.
    pub kind: Option<Text<'i>>,
    /// StringValue.
    pub text: Option<Text<'i>>,
    /// BinaryValue.
    pub binary: Option<Vec<u8>>,
    /// Whether there are StringListValues or BinaryListValues, which no message has.
    pub has_list: bool,
}

/// Reads the attributes of a message. Of two with one name the later counts. Those beyond the bound are only counted.
pub(super) fn attributes<'i>(value: Value<'_, 'i>) -> Result<Vec<RawAttribute<'i>>, JsonError> {
    let mut found: Vec<RawAttribute<'i>> = Vec::new();
    value.entries("Name", &mut |name, value| {
        if found.len() >= ELEMENT_COUNT_MAX {
            return Err(JsonError::Type("A message has too many attributes".into()));
        }
        let attribute = attribute(name, value)?;
        let known = found.iter().position(|known| *known.name == *name);
        match known {
            Some(place) => found[place] = attribute,
            // A message with so many is refused, whatever they are.
            None if found.len() >= MESSAGE_ATTRIBUTE_COUNT_MAX => found.push(RawAttribute::default()),
            None => found.push(attribute),
        }
        Ok(true)
    })?;
    Ok(found)
}

fn attribute<'i>(name: &str, value: Value<'_, 'i>) -> Result<RawAttribute<'i>, JsonError> {
    let mut attribute = RawAttribute { name: name.into(), ..RawAttribute::default() };
    value.structure("MessageAttributeValue", &mut |name, value| {
        match name {
            "DataType" => attribute.kind = Some(value.text()?),
            "StringValue" => attribute.text = Some(value.text()?),
            "BinaryValue" => attribute.binary = Some(value.blob()?),
            "StringListValues" | "BinaryListValues" | "StringListValue" | "BinaryListValue" => {
                value.list(&mut |element| {
                    attribute.has_list = true;
                    element.text().map(|_| ())
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(attribute)
}
