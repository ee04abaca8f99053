//! Where the next page of a query begins, as a text for the caller.
//!
//! | byte | what |
//! |---|---|
//! | 0 | `1`, the version |
//! | from 1 | base64: a JSON object; each name has its tag, `S`, `N` or `B`, and its text |
//!
//! Invariant: what is no token of ours is refused before anything is sent.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;

use super::value::Attributes;

/// The token of a key. None for a key of a kind that there is not.
pub(super) fn encode(key: &Attributes) -> Option<String> {
    let mut parts = BTreeMap::new();
    for (name, value) in key {
        let part = match value {
            AttributeValue::S(text) => ("S", text.clone()),
            AttributeValue::N(text) => ("N", text.clone()),
            AttributeValue::B(blob) => ("B", base64::encode(blob)),
            _ => return None,
        };
        parts.insert(name, part);
    }
    Some(format!("{VERSION}{}", base64::encode(serde_json::to_vec(&parts).ok()?)))
}

/// The key of a token; None for another text.
pub(super) fn decode(token: &str) -> Option<Attributes> {
    let json = base64::decode(token.strip_prefix(VERSION)?).ok()?;
    let parts: BTreeMap<String, (String, String)> = serde_json::from_slice(&json).ok()?;
    let value = |(tag, text): (String, String)| match tag.as_str() {
        "S" => Some(AttributeValue::S(text)),
        "N" => Some(AttributeValue::N(text)),
        "B" => Some(AttributeValue::B(Blob::new(base64::decode(text).ok()?))),
        _ => None,
    };
    parts.into_iter().map(|(name, part)| Some((name, value(part)?))).collect()
}

const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_whatever_is_in_it() {
        for text in ["", "a", "ключ/鍵/🗝", "\"}{", "\u{0}\n", &"k".repeat(2048)] {
            let key = Attributes::from([
                ("id".into(), AttributeValue::S(text.into())),
                ("n".into(), AttributeValue::N("1e3".into())),
                ("b".into(), AttributeValue::B(Blob::new([0, 255]))),
            ]);
            assert_eq!(decode(&encode(&key).unwrap()), Some(key));
        }
    }

    #[test]
    fn other_texts_are_none() {
        let good = encode(&Attributes::from([("id".into(), AttributeValue::S("k".into()))])).unwrap();
        for text in ["", "1", "x", "after:k", &good[1..], &good[..good.len() - 3], "1WzFd"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
