//! The MD5 fields by which SDKs check what they sent and what they got.
//!
//! ```text
//! attributes, by the bytes of their names:
//! length u32be | name | length u32be | type, suffix and all | 1 (text) or 2 (binary) u8 | length u32be | value
//! ```
//! Invariant: a digest covers what the reply shows, no more: a receive that leaves attributes out hashes the others.
//! Leaves to message.rs: which attributes a message may have.

use aws::encoding::hex;
use hash::Md5State;

use crate::model::message::{AttributeValue, MessageAttribute};

/// The digest of a body.
#[must_use]
pub fn of_body(body: &[u8]) -> String {
    let mut state = Md5State::new();
    state.update(body);
    hex(&state.finish())
}

/// The digest of attributes; None where there are none.
#[must_use]
pub fn of_attributes<'m>(attributes: impl IntoIterator<Item = &'m MessageAttribute>) -> Option<String> {
    let mut sorted: Vec<&MessageAttribute> = attributes.into_iter().collect();
    if sorted.is_empty() {
        return None;
    }
    sorted.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    let mut state = Md5State::new();
    for attribute in sorted {
        part(&mut state, attribute.name.as_bytes());
        part(&mut state, attribute.kind.as_bytes());
        match &attribute.value {
            AttributeValue::Text(text) => {
                state.update(&[TEXT]);
                part(&mut state, text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                state.update(&[BINARY]);
                part(&mut state, bytes);
            }
        }
    }
    Some(hex(&state.finish()))
}

fn part(state: &mut Md5State, bytes: &[u8]) {
    // A message is a megabyte at most, so that no length is cut off.
    state.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    state.update(bytes);
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn attribute(name: &str, kind: &str, value: AttributeValue) -> MessageAttribute {
        MessageAttribute { name: name.into(), kind: kind.into(), value }
    }

    #[test]
    fn a_body_has_the_digest_of_rfc_1321() {
        assert_eq!(of_body(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(of_body(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    }

    /// The digests were computed with Python's hashlib over the bytes of the table above.
    #[test]
    fn attributes_have_the_digest_that_sdks_compute() {
        let text = |text: &str| AttributeValue::Text(text.into());
        let timestamp = attribute("timestamp", "Number.java.lang.Long", text("1493147359900"));
        assert_eq!(of_attributes([&timestamp]).as_deref(), Some(TIMESTAMP_MD5));
        let binary = attribute("b", "Binary", AttributeValue::Binary(Bytes::from_static(&[0, 1, 255])));
        let name = attribute("Ä", "String", text("ü"));
        let expected = Some(THREE_MD5);
        assert_eq!(of_attributes([&timestamp, &binary, &name]).as_deref(), expected);
        assert_eq!(of_attributes([&name, &binary, &timestamp]).as_deref(), expected, "order does not count");
        assert_eq!(of_attributes([]), None);
    }

    const TIMESTAMP_MD5: &str = "2e2e4876d8e0bd6b8c2c8f556831c349";
    const THREE_MD5: &str = "5cd19c7ed5c40ee4b027c6f607369071";
}
