//! The bytes of a token's record, and its key.
//! Invariant: no record has the letters of a secret.
//!
//! ```text
//! table 120 TOKENS, placed by the id. Key: id (8)
//! version 1 u8 | scopes u8 | created ms number | expires ms number (0: never) | used hour number (0: never)
//! | SHA-256 (32) | overlap until ms number (0: none) | SHA-256 of the former secret (32)? | name bytes
//! | namespace count number | (namespace bytes)*
//! ```

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, TableId, TableSet, Timestamp};

use crate::scope::Scopes;
use crate::text::Fingerprint;

/// The tokens.
pub const TOKENS: TableId = TableId(120);
/// The tables of this crate, 121 to 124 in reserve. None has bodies.
pub const BODYLESS: TableSet = TableSet::range(TOKENS, TableId(124));

const VERSION: u8 = 1;
const WHAT: &str = "token";

/// Milliseconds of the resolution in which the last use is kept.
pub const USE_RESOLUTION_MS: u64 = 3_600_000;

/// The secret before a rotation.
#[derive(Clone, Copy)]
pub struct Former {
    /// What is stored of it.
    pub secret: Fingerprint,
    /// Until then it is good.
    pub until: Timestamp,
}

/// A token as it is stored.
#[derive(Clone)]
pub struct TokenRecord {
    /// What its operator calls it.
    pub name: Box<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// Where; none: everywhere. The first is the one of requests that name none.
    pub namespaces: Vec<Box<str>>,
    /// When it was made.
    pub created: Timestamp,
    /// From then on it is refused.
    pub expires: Option<Timestamp>,
    /// The hour since 1970 in which it was used last; 0: never.
    pub used_hour: u64,
    /// What is stored of its secret.
    pub secret: Fingerprint,
    /// The secret before the last rotation.
    pub former: Option<Former>,
}

impl TokenRecord {
    /// The value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.byte(self.scopes.to_byte());
        out.number(self.created.0);
        out.number(self.expires.map_or(0, |at| at.0));
        out.number(self.used_hour);
        out.raw(&self.secret.0);
        out.number(self.former.map_or(0, |former| former.until.0));
        if let Some(former) = &self.former {
            out.raw(&former.secret.0);
        }
        out.bytes(self.name.as_bytes());
        out.number(self.namespaces.len() as u64);
        for namespace in &self.namespaces {
            out.bytes(namespace.as_bytes());
        }
        out.into_bytes()
    }

    /// Reads a value. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<TokenRecord, Fault> {
        let mut fields = FieldReader::new(value, VERSION, WHAT)?;
        let scopes = fields.byte()?;
        let scopes =
            Scopes::from_byte(scopes).ok_or_else(|| fields.damaged("has rights that do not exist"))?;
        let created = Timestamp(fields.number()?);
        let expires = Some(fields.number()?).filter(|at| *at > 0).map(Timestamp);
        let used_hour = fields.number()?;
        let secret = Fingerprint(fields.array()?);
        let former = match fields.number()? {
            0 => None,
            until => Some(Former { until: Timestamp(until), secret: Fingerprint(fields.array()?) }),
        };
        let name = fields.text()?.into();
        let mut namespaces = Vec::new();
        for _ in 0..fields.count()? {
            namespaces.push(fields.text()?.into());
        }
        if !fields.is_empty() {
            return Err(fields.damaged("is too long"));
        }
        Ok(TokenRecord { name, scopes, namespaces, created, expires, used_hour, secret, former })
    }

    /// Whether this secret opens it at `now`.
    #[must_use]
    pub fn opens(&self, secret: &Fingerprint, now: Timestamp) -> bool {
        let is_newest = self.secret.matches(secret);
        let is_former = self.former.is_some_and(|former| former.secret.matches(secret) && now < former.until);
        is_newest || is_former
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    fn record() -> TokenRecord {
        TokenRecord {
            name: "ci".into(),
            scopes: Scopes::NONE.with(Scope::CacheWrite),
            namespaces: vec!["web".into(), "main".into()],
            created: Timestamp(1_700_000_000_000),
            expires: Some(Timestamp(1_800_000_000_000)),
            used_hour: 500_000,
            secret: Fingerprint::of(b"new"),
            former: Some(Former { secret: Fingerprint::of(b"old"), until: Timestamp(1_700_000_100_000) }),
        }
    }

    #[test]
    fn a_record_comes_back_and_a_cut_one_is_a_fault() {
        for record in [record(), TokenRecord { former: None, expires: None, namespaces: vec![], ..record() }]
        {
            let bytes = record.encode();
            let read = TokenRecord::decode(&bytes).expect("whole");
            assert_eq!(read.encode(), bytes);
            assert_eq!(
                (&*read.name, read.scopes, &read.namespaces),
                (&*record.name, record.scopes, &record.namespaces)
            );
            for length in 0..bytes.len() {
                assert!(TokenRecord::decode(&bytes[..length]).is_err(), "length {length}");
            }
            let longer = [&bytes[..], b"x"].concat();
            assert!(TokenRecord::decode(&longer).is_err());
        }
    }

    #[test]
    fn both_secrets_open_a_token_until_the_overlap_is_over() {
        let record = record();
        let until = Timestamp(1_700_000_100_000);
        let before = Timestamp(until.0 - 1);
        assert!(
            record.opens(&Fingerprint::of(b"new"), before) && record.opens(&Fingerprint::of(b"old"), before)
        );
        assert!(
            record.opens(&Fingerprint::of(b"new"), until) && !record.opens(&Fingerprint::of(b"old"), until)
        );
        assert!(!record.opens(&Fingerprint::of(b"other"), before));
    }
}
