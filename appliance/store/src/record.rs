//! What lies behind a key: a service's value and the bodies that belong to it, and how both are encoded.
//! Invariant: `encode` and `decode` are inverse; a damaged encoding is a named error, never a panic.
//! Leaves to body/: reading and writing the bytes that a `BodyRef` points to.
//!
//! ```text
//! record  = version u8 (1) | body_count varint | body* | value (the rest)
//! body    = kind u8 | ...
//!   0 inline  length varint | bytes
//!   1 log     segment u64 | offset u32 | length u32 | crc32c u32
//!   2 packed  shard u16 | segment u64 | offset u32 | length u32 | crc32c u32
//!   3 extents count varint | (shard u16 | segment u64 | offset u32 | data_bytes u32)*
//! ```
//! Numbers are little-endian; varint is LEB128.

use crate::fault::Fault;
use crate::types::{Extent, ExtentId, LogPosition, ShardId};

/// Where the bytes of one body are. A plain value: it can be stored, moved to another record and compared.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BodyRef {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// In the log of the shard that owns the record. Becomes `Packed` when the record is folded.
    Log {
        /// Where the first byte lies.
        position: LogPosition,
        /// Number of bytes.
        length: u32,
        /// CRC32C of the bytes.
        crc: u32,
    },
    /// In a packed segment.
    Packed {
        /// The shard in whose directory the segment lies.
        shard: ShardId,
        /// The segment's sequence number.
        segment: u64,
        /// Offset of the first body byte in the segment's file.
        offset: u32,
        /// Number of bytes.
        length: u32,
        /// CRC32C of the bytes.
        crc: u32,
    },
    /// In extents, in order.
    Extents(Vec<Extent>),
}

impl BodyRef {
    /// A body of no bytes.
    pub const EMPTY: BodyRef = BodyRef::Inline(Vec::new());

    /// Number of bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            BodyRef::Inline(bytes) => bytes.len() as u64,
            BodyRef::Log { length, .. } | BodyRef::Packed { length, .. } => u64::from(*length),
            BodyRef::Extents(extents) => extents.iter().map(|extent| u64::from(extent.data_bytes)).sum(),
        }
    }
}

/// A decoded record; `value` borrows from the encoding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The service's bytes.
    pub value: &'a [u8],
    /// The bodies that belong to the record, in the order in which they were put.
    pub bodies: Vec<BodyRef>,
}

const VERSION: u8 = 1;
const KIND_INLINE: u8 = 0;
const KIND_LOG: u8 = 1;
const KIND_PACKED: u8 = 2;
const KIND_EXTENTS: u8 = 3;

impl<'a> Record<'a> {
    /// Appends the encoding of a record to `out`.
    pub fn encode(value: &[u8], bodies: &[BodyRef], out: &mut Vec<u8>) {
        out.push(VERSION);
        put_varint(bodies.len() as u64, out);
        for body in bodies {
            encode_body(body, out);
        }
        out.extend_from_slice(value);
    }

    /// Decodes a record. Errors: `Fault::Corrupt` when the bytes are not an encoding of version 1.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, Fault> {
        let mut reader = Reader { rest: bytes };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Fault::corrupt(format!("record version {version} is not known")));
        }
        let count = reader.varint()?;
        // Each body takes at least two bytes, so a larger count is damage and must not size an allocation.
        if count > bytes.len() as u64 {
            return Err(Fault::corrupt("record names more bodies than it has bytes".into()));
        }
        let mut bodies = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(1024));
        for _ in 0..count {
            bodies.push(decode_body(&mut reader)?);
        }
        Ok(Record { value: reader.rest, bodies })
    }
}

/// Whether an encoded record can name extents, without decoding it: most have no body, or one of another kind.
pub(crate) fn may_name_extents(encoded: &[u8]) -> bool {
    !matches!(encoded, [VERSION, 0, ..] | [VERSION, 1, KIND_INLINE | KIND_LOG | KIND_PACKED, ..])
}

fn encode_body(body: &BodyRef, out: &mut Vec<u8>) {
    match body {
        BodyRef::Inline(bytes) => {
            out.push(KIND_INLINE);
            put_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        BodyRef::Log { position, length, crc } => {
            out.push(KIND_LOG);
            out.extend_from_slice(&position.segment.to_le_bytes());
            out.extend_from_slice(&position.offset.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&crc.to_le_bytes());
        }
        BodyRef::Packed { shard, segment, offset, length, crc } => {
            out.push(KIND_PACKED);
            out.extend_from_slice(&shard.0.to_le_bytes());
            out.extend_from_slice(&segment.to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&crc.to_le_bytes());
        }
        BodyRef::Extents(extents) => {
            out.push(KIND_EXTENTS);
            put_varint(extents.len() as u64, out);
            for extent in extents {
                out.extend_from_slice(&extent.id.shard.0.to_le_bytes());
                out.extend_from_slice(&extent.id.segment.to_le_bytes());
                out.extend_from_slice(&extent.id.offset.to_le_bytes());
                out.extend_from_slice(&extent.data_bytes.to_le_bytes());
            }
        }
    }
}

fn decode_body(reader: &mut Reader<'_>) -> Result<BodyRef, Fault> {
    match reader.u8()? {
        KIND_INLINE => {
            let length = usize::try_from(reader.varint()?).map_err(|_| Reader::short())?;
            Ok(BodyRef::Inline(reader.take(length)?.to_vec()))
        }
        KIND_LOG => Ok(BodyRef::Log {
            position: LogPosition { segment: reader.u64()?, offset: reader.u32()? },
            length: reader.u32()?,
            crc: reader.u32()?,
        }),
        KIND_PACKED => Ok(BodyRef::Packed {
            shard: ShardId(reader.u16()?),
            segment: reader.u64()?,
            offset: reader.u32()?,
            length: reader.u32()?,
            crc: reader.u32()?,
        }),
        KIND_EXTENTS => {
            let count = reader.varint()?;
            if count > reader.rest.len() as u64 {
                return Err(Reader::short());
            }
            let mut extents = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(4096));
            for _ in 0..count {
                extents.push(Extent {
                    id: ExtentId {
                        shard: ShardId(reader.u16()?),
                        segment: reader.u64()?,
                        offset: reader.u32()?,
                    },
                    data_bytes: reader.u32()?,
                });
            }
            Ok(BodyRef::Extents(extents))
        }
        kind => Err(Fault::corrupt(format!("body kind {kind} is not known"))),
    }
}

/// Appends `number` as LEB128.
pub fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes fields off the front of a byte slice; running short is `Fault::Corrupt`.
pub struct Reader<'a> {
    /// What has not been taken yet.
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn short() -> Fault {
        Fault::corrupt("encoding ends early".into())
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(Self::short)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(Self::short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Fault> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A LEB128 number of at most 64 bits.
    pub fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Fault::corrupt("varint is longer than 64 bits".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<BodyRef> {
        vec![
            BodyRef::EMPTY,
            BodyRef::Inline(vec![7; 300]),
            BodyRef::Log { position: LogPosition { segment: 9, offset: 4096 }, length: 12, crc: 0xdead_beef },
            BodyRef::Packed { shard: ShardId(3), segment: 1 << 40, offset: 77, length: 5, crc: 1 },
            BodyRef::Extents(vec![
                Extent {
                    id: ExtentId { shard: ShardId(1), segment: 2, offset: 8192 },
                    data_bytes: 65_537
                };
                200
            ]),
        ]
    }

    #[test]
    fn a_record_round_trips() {
        let mut bytes = Vec::new();
        Record::encode(b"value", &samples(), &mut bytes);
        let record = Record::decode(&bytes).expect("decodes");
        assert_eq!(record.value, b"value");
        assert_eq!(record.bodies, samples());
    }

    #[test]
    fn every_truncation_inside_the_bodies_is_a_fault() {
        let mut bytes = Vec::new();
        Record::encode(b"", &samples(), &mut bytes);
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_huge_count_is_refused_without_an_allocation() {
        let mut bytes = vec![VERSION];
        put_varint(u64::MAX, &mut bytes);
        assert!(Record::decode(&bytes).is_err());
    }
}
