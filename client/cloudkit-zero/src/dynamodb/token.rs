//! Where the next page of a query begins, as a text for the caller.
//!
//! | byte | what |
//! |---|---|
//! | 0 | `1`, the version |
//! | from 1 | base64url without padding: the protocol's LastEvaluatedKey, a JSON object in its tagged form |
//!
//! Invariant: what is no token of ours is refused before anything is sent.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A key in the protocol's form, taken as it is.
pub(super) type LastKey = Map<String, Value>;

/// The token of a key.
pub(super) fn encode(key: &LastKey) -> String {
    let mut token = String::from(VERSION);
    URL_SAFE_NO_PAD.encode_string(Value::from(key.clone()).to_string(), &mut token);
    token
}

/// The key of a token; None for another text.
pub(super) fn decode(token: &str) -> Option<LastKey> {
    let json = URL_SAFE_NO_PAD.decode(token.strip_prefix(VERSION)?).ok()?;
    serde_json::from_slice(&json).ok()
}

const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_comes_back_whatever_is_in_it() {
        for text in ["", "a", "ключ/鍵/🗝", "\"}{", "\u{0}\n", &"k".repeat(2048)] {
            let Value::Object(key) = json!({"id": {"S": text}, "at": {"N": "1e3"}}) else { unreachable!() };
            let token = encode(&key);
            assert!(
                token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{token}"
            );
            assert_eq!(decode(&token), Some(key));
        }
    }

    #[test]
    fn other_texts_are_none() {
        let Value::Object(key) = json!({"id": {"S": "k"}}) else { unreachable!() };
        let good = encode(&key);
        let list = format!("1{}", URL_SAFE_NO_PAD.encode("[1]"));
        for text in ["", "1", "x", "after:k", &good[1..], &good[..good.len() - 3], &format!("{good}="), &list]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
