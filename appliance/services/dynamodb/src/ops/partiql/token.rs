//! NextToken: where the pages of a statement go on.
//!
//! ```text
//! base64 of: version u8 (1) | digest of the statement and its parameters 16 | part u32 | start item, or nothing | CRC-32 u32
//! ```
//! Invariant: a token goes on with the statement that it came from, or is refused. It holds nothing that its client did not
//! see, and what it says is checked as an ExclusiveStartKey is; the checksum finds damage, not malice.

use aws::encoding::{base64_into, unbase64};
use hash::Sha256;

use crate::value::{Item, ItemRef, Value};
use crate::wire::error::Error;

const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + DIGEST_BYTES + 4;

/// Where a statement goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Which of the statement's keys.
    pub part: u32,
    /// Behind which item.
    pub start: Option<Item>,
}

/// What a token is bound to.
#[must_use]
pub fn digest(statement: &str, parameters: &[Value]) -> [u8; DIGEST_BYTES] {
    let mut sha = Sha256::new();
    sha.update(statement.as_bytes());
    for parameter in parameters {
        sha.update(&(parameter.as_bytes().len() as u64).to_be_bytes());
        sha.update(parameter.as_bytes());
    }
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&sha.finish()[..DIGEST_BYTES]);
    digest
}

impl Place {
    /// Writes the token.
    #[must_use]
    pub fn encode(&self, digest: &[u8; DIGEST_BYTES]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(digest);
        bytes.extend_from_slice(&self.part.to_be_bytes());
        bytes.extend_from_slice(self.start.as_ref().map_or(&[], |start| start.as_bytes()));
        bytes.extend_from_slice(&hash::crc32(&bytes).to_be_bytes());
        let mut text = vec![0; bytes.len().div_ceil(3) * 4];
        base64_into(&bytes, &mut text);
        String::from_utf8(text).expect("base64 is ASCII")
    }

    /// Reads a token. Errors: one that is damaged, and one of another statement.
    pub fn decode(text: &str, digest: &[u8; DIGEST_BYTES]) -> Result<Place, Error> {
        let invalid = || Error::validation("Invalid NextToken");
        let bytes = unbase64(text.as_bytes()).ok_or_else(invalid)?;
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(invalid)?;
        if body.len() < HEAD_BYTES || body[0] != VERSION || hash::crc32(body) != u32::from_be_bytes(*crc) {
            return Err(invalid());
        }
        let (head, item) = body.split_at(HEAD_BYTES);
        if head[1..=DIGEST_BYTES] != *digest {
            return Err(Error::validation("NextToken does not match request"));
        }
        let part = head[1 + DIGEST_BYTES..].iter().fold(0, |part, byte| part << 8 | u32::from(*byte));
        let start = match item {
            [] => None,
            item => Some(Item::from_ref(ItemRef::new(item).map_err(|_| invalid())?)),
        };
        Ok(Place { part, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueRef;

    #[test]
    fn a_token_goes_on_with_its_own_statement_only() {
        let item = Item::from_pairs([("pk", ValueRef::S("a"))].into_iter());
        let own = digest("SELECT", &[Value::s("a")]);
        for place in [Place::default(), Place { part: 7, start: Some(item) }] {
            let token = place.encode(&own);
            assert_eq!(Place::decode(&token, &own), Ok(place));
            let other = digest("SELECT", &[Value::s("b")]);
            let error = Place::decode(&token, &other).expect_err("another statement's");
            assert_eq!(error.message, "NextToken does not match request");
            for place in 0..token.len() {
                let mut damaged = token.clone().into_bytes();
                damaged[place] = if damaged[place] == b'A' { b'B' } else { b'A' };
                let damaged = String::from_utf8(damaged).expect("ASCII");
                let error = Place::decode(&damaged, &own).expect_err("damaged");
                assert_eq!(error.message, "Invalid NextToken");
            }
        }
        for text in ["", "A", "AAAA", "no base64!"] {
            assert_eq!(Place::decode(text, &own).expect_err("none").message, "Invalid NextToken", "{text}");
        }
    }
}
