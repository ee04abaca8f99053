//! The value of an entry: a namespace's share in a blob.
//! Invariant: decoding undoes encoding; damaged bytes are `Fault::Corrupt`.
//!
//! ```text
//! version u8 (1) | created ms number | fresh ms number | access second number | content type bytes | provenance
//! provenance = token bytes | address bytes (0, 4 or 16 of them)
//! ```

use std::net::IpAddr;

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::namespace::{Provenance, TOKEN_BYTES_MAX};

const VERSION: u8 = 1;

/// A namespace's share in a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When the namespace got it.
    pub created_ms: u64,
    /// The last time that an upload of it was acknowledged; nothing takes it away for one lease period from then on.
    pub fresh_ms: u64,
    /// The second under which it lies in the order of use.
    pub access_second: u32,
    /// The media type that its last upload named.
    pub content_type: Option<Box<str>>,
    /// Who brought it first.
    pub by: Provenance,
}

impl Entry {
    /// The stored value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.created_ms);
        out.number(self.fresh_ms);
        out.number(u64::from(self.access_second));
        out.bytes(self.content_type.as_deref().unwrap_or_default().as_bytes());
        write_provenance(&mut out, &self.by);
        out.into_bytes()
    }

    /// Reads a stored value. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Entry, Fault> {
        let (mut reader, head) = read_head(value)?;
        let by = read_provenance(&mut reader)?;
        if !reader.is_empty() {
            return Err(reader.damaged("is longer than its fields"));
        }
        Ok(Entry {
            created_ms: head.created_ms,
            fresh_ms: head.fresh_ms,
            access_second: head.access_second,
            content_type: head.content_type.map(Box::from),
            by,
        })
    }
}

/// What a reader of the blob needs of an entry, without memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct EntryHead<'a> {
    /// As in [`Entry`].
    pub created_ms: u64,
    /// As in [`Entry`].
    pub fresh_ms: u64,
    /// As in [`Entry`].
    pub access_second: u32,
    /// As in [`Entry`].
    pub content_type: Option<&'a str>,
}

impl<'a> EntryHead<'a> {
    /// Reads the first fields of a stored value. Errors: `Fault::Corrupt`.
    pub fn decode(value: &'a [u8]) -> Result<EntryHead<'a>, Fault> {
        read_head(value).map(|(_, head)| head)
    }
}

fn read_head(value: &[u8]) -> Result<(FieldReader<'_>, EntryHead<'_>), Fault> {
    let mut reader = FieldReader::new(value, VERSION, "blob entry")?;
    let head = EntryHead {
        created_ms: reader.number()?,
        fresh_ms: reader.number()?,
        access_second: read_second(&mut reader)?,
        content_type: Some(reader.text()?).filter(|text| !text.is_empty()),
    };
    Ok((reader, head))
}

/// Reads a second.
pub(crate) fn read_second(reader: &mut FieldReader<'_>) -> Result<u32, Fault> {
    let second = reader.number()?;
    u32::try_from(second).map_err(|_| reader.damaged("has an impossible second"))
}

/// Writes who brought something.
pub(crate) fn write_provenance(out: &mut FieldWriter, by: &Provenance) {
    let end = by.token.floor_char_boundary(TOKEN_BYTES_MAX);
    out.bytes(by.token[..end].as_bytes());
    match by.address {
        None => out.bytes(&[]),
        Some(IpAddr::V4(address)) => out.bytes(&address.octets()),
        Some(IpAddr::V6(address)) => out.bytes(&address.octets()),
    }
}

/// Reads who brought something.
pub(crate) fn read_provenance(reader: &mut FieldReader<'_>) -> Result<Provenance, Fault> {
    let token = Box::from(reader.text()?);
    let address = reader.bytes()?;
    let address = match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
        (Ok(octets), _) => Some(IpAddr::from(octets)),
        (_, Ok(octets)) => Some(IpAddr::from(octets)),
        _ if address.is_empty() => None,
        _ => return Err(reader.damaged("has an address of an impossible length")),
    };
    Ok(Provenance { token, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Entry> {
        let addresses = [None, "192.0.2.7".parse().ok(), "2001:db8::1".parse().ok()];
        let entry = |address| Entry {
            created_ms: 1_800_000_000_000,
            fresh_ms: 1_800_000_000_001,
            access_second: 1_800_000_000,
            content_type: Some("text/plain".into()),
            by: Provenance { token: "abcdefgh".into(), address },
        };
        let plain = Entry { content_type: None, by: Provenance::default(), ..entry(None) };
        addresses.into_iter().map(entry).chain([plain]).collect()
    }

    #[test]
    fn an_entry_round_trips_and_its_truncations_are_faults() {
        for entry in samples() {
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes).expect("decodes"), entry);
            for length in 0..bytes.len() {
                assert!(Entry::decode(&bytes[..length]).is_err(), "length {length}");
            }
            assert!(Entry::decode(&[&bytes[..], &[0]].concat()).is_err());
            let head = EntryHead::decode(&bytes).expect("decodes");
            assert_eq!(head.content_type, entry.content_type.as_deref());
            assert_eq!(head.access_second, entry.access_second);
        }
    }

    #[test]
    fn a_long_word_for_a_token_is_cut_between_characters() {
        let by = Provenance { token: "ä".repeat(40).into(), address: None };
        let entry = Entry { by, ..samples()[0].clone() };
        let kept = Entry::decode(&entry.encode()).expect("decodes").by.token;
        assert_eq!(&*kept, "ä".repeat(16));
    }
}
