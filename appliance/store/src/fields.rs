//! How services write the fields of a stored value and read them back.
//! Invariant: reading undoes writing; damaged bytes are `Fault::Corrupt` and never size an allocation unchecked.
//! Leaves to services: which fields a record has, and what its versions mean.
//!
//! ```text
//! number   LEB128
//! bytes    length number | bytes
//! text     bytes, UTF-8
//! fixed    16 bytes big-endian (u128)
//! ```

use crate::fault::Fault;
use crate::record::{Reader, put_varint};

/// Appends fields to a value.
pub struct FieldWriter {
    out: Vec<u8>,
}

impl FieldWriter {
    /// A value that starts with its version byte.
    #[must_use]
    pub fn new(version: u8) -> FieldWriter {
        FieldWriter { out: vec![version] }
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        put_varint(number, &mut self.out);
    }

    /// 16 bytes.
    pub fn fixed(&mut self, number: u128) {
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    /// Bytes without their length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    /// The value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

/// Takes fields off a value.
pub struct FieldReader<'a> {
    reader: Reader<'a>,
    what: &'static str,
}

impl<'a> FieldReader<'a> {
    /// Opens a value and checks its version byte. `what` names the kind of record in faults,
    /// its service included.
    /// Errors: `Fault::Corrupt` when the value is of another version, or empty.
    pub fn new(value: &'a [u8], version: u8, what: &'static str) -> Result<FieldReader<'a>, Fault> {
        let mut reader = FieldReader { reader: Reader { rest: value }, what };
        match reader.byte()? {
            found if found == version => Ok(reader),
            found => Err(reader.damaged(&format!("has version {found}"))),
        }
    }

    /// A fault that says what is wrong with this record.
    #[must_use]
    pub fn damaged(&self, how: &str) -> Fault {
        Fault::corrupt(format!("{} record {how}", self.what))
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.reader.u8()
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, Fault> {
        self.reader.varint()
    }

    /// 16 bytes as a number.
    pub fn fixed(&mut self) -> Result<u128, Fault> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.reader.take(N)?;
        Ok(bytes.try_into().expect("take gave N bytes"))
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.number()?;
        let length = usize::try_from(length).map_err(|_| self.damaged("has an impossible length"))?;
        self.reader.take(length)
    }

    /// Text behind its length.
    pub fn text(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("has text that is not UTF-8"))
    }

    /// A count of items that take at least one byte each.
    pub fn count(&mut self) -> Result<usize, Fault> {
        let count = self.number()?;
        if count > self.reader.rest.len() as u64 {
            return Err(self.damaged("counts more items than it has bytes"));
        }
        Ok(count as usize)
    }

    /// Bytes that were not taken yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.reader.rest.len()
    }

    /// Whether everything was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reader.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order_and_truncation_is_a_fault() {
        let mut writer = FieldWriter::new(1);
        writer.byte(9);
        writer.number(300);
        writer.fixed(7);
        writer.bytes("tëxt".as_bytes());
        let bytes = writer.into_bytes();
        let read = |bytes: &[u8]| -> Result<(), Fault> {
            let mut reader = FieldReader::new(bytes, 1, "test")?;
            assert_eq!(reader.byte()?, 9);
            assert_eq!(reader.number()?, 300);
            assert_eq!(reader.fixed()?, 7);
            assert_eq!(reader.text()?, "tëxt");
            assert!(reader.is_empty());
            Ok(())
        };
        read(&bytes).expect("whole");
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(FieldReader::new(&bytes, 2, "test").is_err());
    }
}
