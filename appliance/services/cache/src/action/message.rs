//! The wire format of protocol buffers, as far as reading needs it.
//!
//! | wire type | what follows the tag |
//! |---|---|
//! | 0 | a varint: 7 bits a byte, lowest first, at most 10 bytes |
//! | 1 | 8 bytes |
//! | 2 | a varint, and that many bytes |
//! | 5 | 4 bytes |
//!
//! Rule: <https://protobuf.dev/programming-guides/encoding/>. Types 3 and 4 (groups) are refused: no message of the API has
//! them, and to skip one is the only thing here that would have to nest.
//! Invariant: each call moves forward or fails, and no slice leaves the message. Leaves to the callers: what fields mean.

use super::Invalid;

/// Walks the fields of one message in their order.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// The value of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5, which no field that is looked at has.
    Fixed,
    /// Wire type 2: a text, bytes or a message.
    Bytes(&'a [u8]),
}

const CUT_SHORT: Invalid = Invalid("the message ends in the middle of a field");

/// Bytes of a varint of 64 bits at most.
const VARINT_BYTES_MAX: usize = 10;

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The number and the value of the next field; None at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Invalid> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Invalid("a field's number is too large"))?;
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(Invalid("a field's number is out of range"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.fixed(8)?,
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| CUT_SHORT)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.fixed(4)?,
            _ => return Err(Invalid("a field has a wire type that these messages do not use")),
        };
        Ok(Some((number, value)))
    }

    fn fixed(&mut self, length: usize) -> Result<Value<'a>, Invalid> {
        self.take(length)?;
        Ok(Value::Fixed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Invalid> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Invalid> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            // What a tenth byte holds beyond bit 63 is cut off, as every reader of the format does.
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < VARINT_BYTES_MAX { CUT_SHORT } else { Invalid("a varint is too long") })
    }
}

/// The largest number that a field may have.
const FIELD_NUMBER_MAX: u32 = (1 << 29) - 1;

impl<'a> Value<'a> {
    /// The bytes of a field that is a message or bytes.
    pub(super) fn bytes(self) -> Result<&'a [u8], Invalid> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => Err(WRONG_TYPE),
        }
    }

    /// The text of a field that is a string: UTF-8, or the message is invalid.
    pub(super) fn text(self) -> Result<&'a str, Invalid> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Invalid("a string is not UTF-8"))
    }

    /// The number of a field that is an int64.
    pub(super) fn int64(self) -> Result<i64, Invalid> {
        match self {
            Value::Varint(value) => Ok(value.cast_signed()),
            Value::Bytes(_) | Value::Fixed => Err(WRONG_TYPE),
        }
    }
}

const WRONG_TYPE: Invalid = Invalid("a field has another type than the API gives it");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Invalid> {
        let mut fields = Fields::new(std::mem::take(&mut bytes));
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn fields_of_each_wire_type_are_read() {
        let bytes =
            [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let expected =
            [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed), (4, Value::Fixed)];
        assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn a_message_that_is_cut_anywhere_inside_a_field_is_refused() {
        let bytes = [0x12, 0x03, b'a', b'b', b'c', 0x08, 0x80, 0x01];
        for end in [1, 2, 3, 4, 6, 7] {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        assert!(read(&bytes[..5]).is_ok());
    }

    #[test]
    fn groups_long_varints_and_field_zero_are_refused() {
        assert!(read(&[0x0b, 0x0c]).is_err());
        assert!(read(&[0x02, 0x00]).is_err());
        let mut long = vec![0x08];
        long.extend([0xff; 10]);
        long.push(1);
        assert!(read(&long).is_err());
    }

    #[test]
    fn a_length_beyond_the_message_is_refused_whatever_it_says() {
        let mut huge = vec![0x0a];
        huge.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert!(read(&huge).is_err());
    }
}
