//! The header block of an extent: what it is, whose it is, and the checksum of each 64 KiB chunk behind it.
//! Invariant: `encode` and `decode` are inverse, and a header counts only at the place that it names itself, so a
//! block that the disk wrote to a wrong place is damage, not data.
//! Leaves to writer.rs and reader.rs: the data behind the header.
//!
//! ```text
//! offset  bytes  field (little-endian)
//!      0      8  magic "ZCEXTENT"
//!      8      1  version (1)
//!      9      1  table of the owner's record
//!     10      2  owner shard
//!     12      2  key length, at most 1,900
//!     14      2  shard in whose directory the segment lies
//!     16     16  data directory id
//!     32      8  segment
//!     40      4  offset of this block in the segment
//!     44      4  data bytes, 1 ..= 33,554,432
//!     48      8  nonce of the writer (the same in all extents of a body)
//!     56      4  ordinal of this extent in its body, from 0
//!     60      4  span: bytes from this block to the end of the room taken, a multiple of 4,096
//!     64  2,048  CRC32C of each chunk; unused places are 0
//!  2,112  1,900  key; unused bytes are 0
//!  4,012     80  0
//!  4,092      4  CRC32C of bytes 0 .. 4,092
//! ```

use crate::fault::Fault;
use crate::types::{
    BLOCK_BYTES, CHUNK_BYTES, DirectoryId, EXTENT_DATA_BYTES_MAX, Extent, ExtentId, KEY_BYTES_MAX, ShardId,
    TableId,
};

/// What the header block of an extent says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtentHeader {
    /// The data directory to which the extent belongs.
    pub directory: DirectoryId,
    /// Where the block lies.
    pub id: ExtentId,
    /// The shard that owns the record for which the body was written.
    pub owner: ShardId,
    /// The table of that record.
    pub table: TableId,
    /// The key of that record.
    pub key: Vec<u8>,
    /// Tells bodies of one key apart; all extents of a body have the same.
    pub nonce: u64,
    /// Which extent of its body this is, from 0.
    pub ordinal: u32,
    /// Body bytes in this extent.
    pub data_bytes: u32,
    /// Bytes from the header block to the end of the room that the extent takes in its segment.
    pub span_bytes: u32,
    /// CRC32C of each chunk of data; the last chunk may be short.
    pub chunk_crcs: Vec<u32>,
}

/// How many chunks `data_bytes` bytes make.
#[must_use]
pub fn chunk_count(data_bytes: u32) -> usize {
    (data_bytes as usize).div_ceil(CHUNK_BYTES)
}

/// The room that an extent of `data_bytes` bytes needs: its header block and the data, padded to whole blocks.
#[must_use]
pub fn span_bytes(data_bytes: u32) -> u32 {
    let block = BLOCK_BYTES as u32;
    block + data_bytes.next_multiple_of(block)
}

impl ExtentHeader {
    /// The extent to which this header belongs.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent { id: self.id, data_bytes: self.data_bytes }
    }

    /// Writes the header into `block`. Panics when a field is out of its range: that is a mistake of ours.
    pub fn encode(&self, block: &mut [u8]) {
        assert_eq!(block.len(), BLOCK_BYTES, "a header is one block");
        assert!(self.key.len() <= KEY_BYTES_MAX, "key is longer than a record's key may be");
        assert!((1..=EXTENT_DATA_BYTES_MAX).contains(&self.data_bytes), "data length out of range");
        assert_eq!(self.chunk_crcs.len(), chunk_count(self.data_bytes), "one checksum per chunk");
        block.fill(0);
        let mut fields = Fields { block, at: 0 };
        fields.put(MAGIC);
        fields.put(&[VERSION, self.table.0]);
        fields.put(&self.owner.0.to_le_bytes());
        fields.put(&(self.key.len() as u16).to_le_bytes());
        fields.put(&self.id.shard.0.to_le_bytes());
        fields.put(&self.directory.0);
        fields.put(&self.id.segment.to_le_bytes());
        fields.put(&self.id.offset.to_le_bytes());
        fields.put(&self.data_bytes.to_le_bytes());
        fields.put(&self.nonce.to_le_bytes());
        fields.put(&self.ordinal.to_le_bytes());
        fields.put(&self.span_bytes.to_le_bytes());
        debug_assert_eq!(fields.at, CRCS_OFFSET);
        for crc in &self.chunk_crcs {
            fields.put(&crc.to_le_bytes());
        }
        fields.at = KEY_OFFSET;
        fields.put(&self.key);
        let crc = hash::crc32c(&block[..CRC_OFFSET]);
        block[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header block. Errors: the reason in words when the block is not a header of version 1 that is whole.
    /// The caller compares `directory` and `id` with what it expects, or calls `decode_at`.
    pub fn decode(block: &[u8]) -> Result<ExtentHeader, &'static str> {
        if block.len() != BLOCK_BYTES {
            return Err("extent header is shorter than a block");
        }
        if !has_magic(block) {
            return Err("no extent header here");
        }
        if hash::crc32c(&block[..CRC_OFFSET]) != u32_at(block, CRC_OFFSET) {
            return Err("checksum of the extent header does not match");
        }
        if block[8] != VERSION {
            return Err("version of the extent header is not known");
        }
        let key_bytes = usize::from(u16_at(block, 12));
        let data_bytes = u32_at(block, 44);
        let span = u32_at(block, 60);
        if key_bytes > KEY_BYTES_MAX {
            return Err("key length in the extent header is out of range");
        }
        if !(1..=EXTENT_DATA_BYTES_MAX).contains(&data_bytes) {
            return Err("data length in the extent header is out of range");
        }
        if span < span_bytes(data_bytes) || span > SPAN_BYTES_MAX || !span.is_multiple_of(BLOCK_BYTES as u32)
        {
            return Err("span in the extent header is out of range");
        }
        let mut directory = [0; 16];
        directory.copy_from_slice(&block[16..32]);
        let crcs = &block[CRCS_OFFSET..CRCS_OFFSET + 4 * chunk_count(data_bytes)];
        Ok(ExtentHeader {
            directory: DirectoryId(directory),
            id: ExtentId {
                shard: ShardId(u16_at(block, 14)),
                segment: u64_at(block, 32),
                offset: u32_at(block, 40),
            },
            owner: ShardId(u16_at(block, 10)),
            table: TableId(block[9]),
            key: block[KEY_OFFSET..KEY_OFFSET + key_bytes].to_vec(),
            nonce: u64_at(block, 48),
            ordinal: u32_at(block, 56),
            data_bytes,
            span_bytes: span,
            chunk_crcs: crcs.chunks_exact(4).map(|crc| u32_at(crc, 0)).collect(),
        })
    }

    /// `decode`, and the header must be of this data directory and of this place.
    pub fn decode_at(
        block: &[u8],
        directory: DirectoryId,
        id: ExtentId,
    ) -> Result<ExtentHeader, &'static str> {
        let header = Self::decode(block)?;
        if header.directory != directory {
            return Err("extent header belongs to another data directory");
        }
        if header.id != id {
            return Err("extent header belongs to another place");
        }
        Ok(header)
    }
}

/// Whether a block begins as an extent header does, whole or not.
#[must_use]
pub fn has_magic(block: &[u8]) -> bool {
    block.starts_with(MAGIC)
}

/// Checks a chunk of an extent against its checksum. Errors: `Fault::Corrupt` with file and offset.
pub fn verify_chunk(chunk: &[u8], crc: u32, path: &std::path::Path, offset: u64) -> Result<(), Fault> {
    if hash::crc32c(chunk) == crc {
        return Ok(());
    }
    Err(Fault::corrupt(format!("chunk of {} at offset {offset}: checksum does not match", path.display())))
}

/// For fuzzing: any bytes either are refused or encode to themselves, bytes that must be zero excepted.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(header) = ExtentHeader::decode(bytes) else { return };
    let mut block = vec![0; BLOCK_BYTES];
    header.encode(&mut block);
    assert_eq!(ExtentHeader::decode(&block).as_ref(), Ok(&header));
    assert_eq!(block[..CRCS_OFFSET], bytes[..CRCS_OFFSET]);
    assert_eq!(header.chunk_crcs.len(), chunk_count(header.data_bytes));
}

/// For fuzzing: gives a block the checksum that it should have.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn mend(block: &mut [u8]) {
    let crc = hash::crc32c(&block[..CRC_OFFSET]);
    block[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
}

struct Fields<'a> {
    block: &'a mut [u8],
    at: usize,
}

impl Fields<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.block[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(block[at..at + 2].try_into().expect("the slice has two bytes"))
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(block[at..at + 4].try_into().expect("the slice has four bytes"))
}

fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(block[at..at + 8].try_into().expect("the slice has eight bytes"))
}

const MAGIC: &[u8] = b"ZCEXTENT";
const VERSION: u8 = 1;
const CRCS_OFFSET: usize = 64;
const KEY_OFFSET: usize = 2112;
const CRC_OFFSET: usize = 4092;
/// The longest room of one extent: its header block and a full load of data.
pub const SPAN_BYTES_MAX: u32 = BLOCK_BYTES as u32 + EXTENT_DATA_BYTES_MAX;

const _: () = assert!(CRCS_OFFSET + 4 * (EXTENT_DATA_BYTES_MAX as usize / CHUNK_BYTES) == KEY_OFFSET);
const _: () = assert!(KEY_OFFSET + KEY_BYTES_MAX <= CRC_OFFSET);

#[cfg(test)]
mod tests {
    use super::*;

    fn header(data_bytes: u32, key: &[u8]) -> ExtentHeader {
        ExtentHeader {
            directory: DirectoryId(*b"0123456789abcdef"),
            id: ExtentId { shard: ShardId(3), segment: 1 << 33, offset: 8192 },
            owner: ShardId(7),
            table: TableId(16),
            key: key.to_vec(),
            nonce: 0x1122_3344_5566_7788,
            ordinal: 9,
            data_bytes,
            span_bytes: span_bytes(data_bytes),
            chunk_crcs: (0..chunk_count(data_bytes) as u32).map(|index| index ^ 0xdead_beef).collect(),
        }
    }

    fn encoded(header: &ExtentHeader) -> Vec<u8> {
        let mut block = vec![0xff; BLOCK_BYTES];
        header.encode(&mut block);
        block
    }

    #[test]
    fn a_header_round_trips_at_every_extreme() {
        for data_bytes in [1, 4096, 65_536, 65_537, EXTENT_DATA_BYTES_MAX - 1, EXTENT_DATA_BYTES_MAX] {
            for key in [&b""[..], b"key", &[0xff; KEY_BYTES_MAX]] {
                let header = header(data_bytes, key);
                assert_eq!(ExtentHeader::decode(&encoded(&header)).as_ref(), Ok(&header));
            }
        }
    }

    #[test]
    fn the_layout_is_the_one_of_the_table() {
        let block = encoded(&header(70_000, b"key"));
        assert_eq!(&block[..10], b"ZCEXTENT\x01\x10");
        assert_eq!(block[10..16], [7, 0, 3, 0, 3, 0]);
        assert_eq!(&block[16..32], b"0123456789abcdef");
        assert_eq!(block[32..40], (1_u64 << 33).to_le_bytes());
        assert_eq!(block[40..44], 8192_u32.to_le_bytes());
        assert_eq!(block[44..48], 70_000_u32.to_le_bytes());
        assert_eq!(block[56..64], [9, 0, 0, 0, 0, 0x30, 1, 0], "ordinal, span of 77,824");
        assert_eq!(block[64..72], [0xef, 0xbe, 0xad, 0xde, 0xee, 0xbe, 0xad, 0xde]);
        assert_eq!(&block[2112..2116], b"key\0");
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let block = encoded(&header(100_000, b"a key"));
        for bit in 0..BLOCK_BYTES * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(ExtentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn fields_out_of_range_are_refused_even_under_a_right_checksum() {
        let patches: [(usize, &[u8]); 6] = [
            (8, &[2]),
            (12, &1901_u16.to_le_bytes()),
            (44, &0_u32.to_le_bytes()),
            (44, &(EXTENT_DATA_BYTES_MAX + 1).to_le_bytes()),
            (60, &4096_u32.to_le_bytes()),
            (60, &u32::MAX.to_le_bytes()),
        ];
        for (at, bytes) in patches {
            let mut block = encoded(&header(100_000, b"a key"));
            block[at..at + bytes.len()].copy_from_slice(bytes);
            let crc = hash::crc32c(&block[..CRC_OFFSET]);
            block[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
            assert!(ExtentHeader::decode(&block).is_err(), "patch at {at}");
        }
    }

    #[test]
    fn a_header_of_another_place_or_directory_is_refused() {
        let header = header(10, b"k");
        let block = encoded(&header);
        assert!(ExtentHeader::decode_at(&block, header.directory, header.id).is_ok());
        assert!(ExtentHeader::decode_at(&block, DirectoryId([0; 16]), header.id).is_err());
        let elsewhere = ExtentId { offset: 4096, ..header.id };
        assert!(ExtentHeader::decode_at(&block, header.directory, elsewhere).is_err());
    }

    #[test]
    fn any_bytes_are_refused_or_encode_to_themselves() {
        let mut random = crate::body::tests::Random::new(0x5eed_0001);
        for _ in 0..2_000 {
            let mut block = encoded(&header(1 + random.below(1 << 25) as u32, b"some key"));
            for _ in 0..random.below(3) {
                let at = random.below(CRC_OFFSET as u64) as usize;
                block[at] = random.below(256) as u8;
            }
            let crc = hash::crc32c(&block[..CRC_OFFSET]);
            block[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
            fuzz(&block);
            fuzz(&block[..random.below(BLOCK_BYTES as u64) as usize]);
        }
    }
}
