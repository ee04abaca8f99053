//! Continuation tokens of ListObjectsV2 and ListBuckets: where the next page begins.
//! Invariant: a token that was not made here, or was changed, is refused. It holds no secret and survives restarts.
//!
//! ```text
//! token = base64url( version u8 (1) | mode u8 (0 behind a key, 1 behind everything with a prefix) | text | crc32c u32be )
//! ```

use aws::encoding::{base64, unbase64};

/// Where a listing goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Position {
    /// Behind this key.
    Key(String),
    /// Behind every key with this prefix.
    Prefix(String),
}

const VERSION: u8 = 1;

impl Position {
    /// The opaque form.
    #[must_use]
    pub fn encode(&self) -> String {
        let (mode, text) = match self {
            Position::Key(text) => (0, text),
            Position::Prefix(text) => (1, text),
        };
        let mut bytes = vec![VERSION, mode];
        bytes.extend_from_slice(text.as_bytes());
        let crc = hash::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        base64(&bytes).replace('+', "-").replace('/', "_")
    }

    /// Reads the opaque form.
    #[must_use]
    pub fn decode(token: &str) -> Option<Position> {
        let bytes = unbase64(token.replace('-', "+").replace('_', "/").as_bytes())?;
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if hash::crc32c(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (head, text) = body.split_first_chunk::<2>()?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        match *head {
            [VERSION, 0] => Some(Position::Key(text)),
            [VERSION, 1] => Some(Position::Prefix(text)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_changed_ones_are_refused() {
        for position in
            [Position::Key("a/ü?>~".into()), Position::Prefix("a/".into()), Position::Key(String::new())]
        {
            let token = position.encode();
            assert!(!token.contains(['+', '/', ' ']));
            assert_eq!(Position::decode(&token), Some(position));
            let mut changed = token.into_bytes();
            changed[2] = if changed[2] == b'A' { b'B' } else { b'A' };
            assert_eq!(Position::decode(std::str::from_utf8(&changed).expect("ASCII")), None);
        }
        for bad in ["", "x", "AAAA", "!!!!"] {
            assert_eq!(Position::decode(bad), None, "{bad}");
        }
    }
}
