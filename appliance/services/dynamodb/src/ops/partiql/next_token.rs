//! Where the next page of a SELECT begins, as a token that the client gives back.
//!
//! ```text
//! token = base64 of: version u8 (1) | mac 16 | digest 16 | part u32 | item (empty: from the part's beginning)
//! ```
//! Invariant: a token that is taken was made here for the same statement and parameters: the code over the rest is keyed
//! with the key of the table, which no client knows.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::model::table::Table;
use crate::value::{Item, ItemRef};
use crate::wire::error::Error;

/// What a token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The part of the statement's items, as `partiql::Access` lists them.
    pub part: u32,
    /// The key of the item behind which the page begins.
    pub behind: Option<Item>,
}

/// Names a statement with its parameters.
pub type Digest = [u8; 16];

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;

impl Position {
    /// The token for a statement on a table.
    #[must_use]
    pub fn token(&self, table: &Table, digest: &Digest) -> String {
        let item = self.behind.as_ref().map_or(&[][..], Item::as_bytes);
        let rest = [digest.as_slice(), &self.part.to_be_bytes(), item].concat();
        let bytes = [&[VERSION][..], &mac(table, &rest), &rest].concat();
        aws::encoding::base64(&bytes)
    }

    /// Reads a token. Errors: AWS's words for what is no token, and for one of another statement.
    pub fn read(token: &str, table: &Table, digest: &Digest) -> Result<Position, Error> {
        let invalid = || Error::validation("Invalid NextToken");
        let bytes = aws::encoding::unbase64(token.as_bytes()).ok_or_else(invalid)?;
        let rest = bytes.strip_prefix(&[VERSION]).ok_or_else(invalid)?;
        let (code, rest) = rest.split_first_chunk::<MAC_BYTES>().ok_or_else(invalid)?;
        // In one time whichever byte differs, so that a code cannot be found byte by byte.
        let difference = mac(table, rest).iter().zip(code).fold(0, |sum, (one, other)| sum | (one ^ other));
        if difference != 0 {
            return Err(invalid());
        }
        let (named, rest) = rest.split_first_chunk::<16>().ok_or_else(invalid)?;
        let (part, item) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
        if named != digest {
            return Err(Error::validation("NextToken does not match request"));
        }
        let behind = match item {
            [] => None,
            item => Some(Item::from_ref(ItemRef::new(item).map_err(|_| invalid())?)),
        };
        Ok(Position { part: u32::from_be_bytes(*part), behind })
    }
}

fn mac(table: &Table, bytes: &[u8]) -> [u8; MAC_BYTES] {
    let mut hasher = SipHasher24::new_with_key(&table.hash_key);
    // The same key hashes items; this text is none of theirs.
    hasher.write(b"PartiQL NextToken");
    hasher.write(bytes);
    hasher.finish128().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::table::tests::plain_table;
    use crate::value::{Value, ValueRef};

    #[test]
    fn a_token_round_trips_for_its_statement_and_its_table_alone() {
        let table = plain_table();
        let key = Value::s("k");
        let behind = Item::from_pairs([("pk", key.as_ref())].into_iter());
        for position in
            [Position { part: 0, behind: Some(behind.clone()) }, Position { part: 7, behind: None }]
        {
            let token = position.token(&table, &[1; 16]);
            assert_eq!(Position::read(&token, &table, &[1; 16]), Ok(position.clone()));
            let error = Position::read(&token, &table, &[2; 16]).unwrap_err();
            assert_eq!(error.message, "NextToken does not match request");
            let other = Table { hash_key: [0x55; 16], ..plain_table() };
            assert_eq!(Position::read(&token, &other, &[1; 16]).unwrap_err().message, "Invalid NextToken");
            for place in 0..token.len() {
                let mut broken = token.clone().into_bytes();
                broken[place] = if broken[place] == b'A' { b'B' } else { b'A' };
                let broken = String::from_utf8(broken).unwrap();
                assert!(Position::read(&broken, &table, &[1; 16]).is_err(), "{place}");
                assert!(Position::read(&token[..place], &table, &[1; 16]).is_err(), "{place}");
            }
        }
        assert!(matches!(behind.as_ref().get("pk"), Some(ValueRef::S("k"))));
    }
}
