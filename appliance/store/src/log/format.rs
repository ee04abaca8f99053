//! The bytes of a log batch: one fixed header, an opaque payload, zeros up to the next disk block.
//! Invariant: a header is accepted only where it was written: it names its directory, shard, segment and offset, so that a
//! recycled segment, another shard's block or a misdirected write is never taken for a batch of this place.
//! Leaves to scan.rs: whether a batch follows its predecessor. The payload means nothing here.
//!
//! ```text
//! offset bytes field                          all numbers little-endian
//!      0     8 magic "ZCBATCH\n"
//!      8     2 format version (1)
//!     10     2 shard
//!     12     4 payload length in bytes
//!     16    16 data directory id
//!     32     8 LSN
//!     40     8 durable LSN: the last batch known to be on stable storage when this one was sealed
//!     48     8 epoch: random, drawn at each start
//!     56     8 time of sealing, milliseconds since 1970
//!     64     8 sequence number of the segment that this header lies in
//!     72     4 offset of this header in the segment
//!     76     4 header checksum of the previous batch, 0 for LSN 1
//!     80     4 CRC32C of the payload
//!     84    40 zeros
//!    124     4 header checksum: CRC32C of bytes 0..124
//!    128       payload, then zeros up to a multiple of 4,096 from offset 0
//! ```

use super::Checkpoint;
use crate::types::{BLOCK_BYTES, DirectoryId, LogPosition, Lsn, ShardId, Timestamp};

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 128;
/// The longest payload that any version of this format has; longer claims are damage and never size a read.
pub const PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024 - HEADER_BYTES;

const MAGIC: [u8; 8] = *b"ZCBATCH\n";
const VERSION: u16 = 1;
const CHECKSUM_OFFSET: usize = 124;

/// What a batch says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The data directory that it belongs to.
    pub directory: DirectoryId,
    /// The shard that it belongs to.
    pub shard: ShardId,
    /// Its number.
    pub lsn: Lsn,
    /// The last batch known to be durable when this one was sealed.
    pub durable_lsn: Lsn,
    /// Random number of the process start that wrote it.
    pub epoch: u64,
    /// When it was sealed.
    pub time: Timestamp,
    /// Where the header lies.
    pub position: LogPosition,
    /// Header checksum of the batch before it.
    pub previous_checksum: u32,
    /// Bytes of payload.
    pub payload_bytes: u32,
    /// CRC32C of the payload.
    pub payload_crc: u32,
}

/// Why bytes are not a batch header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// They do not begin like one.
    Magic,
    /// They do, but the header checksum does not fit.
    Checksum,
    /// A sound header of a version that this binary does not know.
    Version(u16),
    /// A sound header that claims more payload than the format allows.
    Length,
}

impl BatchHeader {
    /// The header's bytes; the last four are its checksum, which the next batch names.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.directory.0);
        bytes[32..40].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.durable_lsn.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[76..80].copy_from_slice(&self.previous_checksum.to_le_bytes());
        bytes[80..84].copy_from_slice(&self.payload_crc.to_le_bytes());
        let checksum = hash::crc32c(&bytes[..CHECKSUM_OFFSET]);
        bytes[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header. Errors: see [`HeaderError`]; bytes of any content are safe to pass.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<BatchHeader, HeaderError> {
        if bytes[0..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let crc_fits = checksum_of(bytes) == hash::crc32c(&bytes[..CHECKSUM_OFFSET]);
        if !crc_fits {
            return Err(HeaderError::Checksum);
        }
        let version = u16_at(bytes, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let header = BatchHeader::fields(bytes);
        if header.payload_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err(HeaderError::Length);
        }
        Ok(header)
    }

    /// The fields as they stand, unchecked: for judging what a damaged header once was.
    #[must_use]
    pub fn fields(bytes: &[u8; HEADER_BYTES]) -> BatchHeader {
        let mut directory = [0; 16];
        directory.copy_from_slice(&bytes[16..32]);
        BatchHeader {
            directory: DirectoryId(directory),
            shard: ShardId(u16_at(bytes, 10)),
            lsn: Lsn(u64_at(bytes, 32)),
            durable_lsn: Lsn(u64_at(bytes, 40)),
            epoch: u64_at(bytes, 48),
            time: Timestamp(u64_at(bytes, 56)),
            position: LogPosition { segment: u64_at(bytes, 64), offset: u32_at(bytes, 72) },
            previous_checksum: u32_at(bytes, 76),
            payload_bytes: u32_at(bytes, 12),
            payload_crc: u32_at(bytes, 80),
        }
    }

    /// The batch as its successor names it; `checksum` is its own header checksum.
    #[must_use]
    pub fn checkpoint(&self, checksum: u32) -> Checkpoint {
        let padded = u32::try_from(self.padded_bytes()).expect("the payload is bounded by the format");
        // A sound header lies inside its segment, whose length fits; saturating keeps damage from wrapping around.
        let offset = self.position.offset.saturating_add(padded);
        let position = LogPosition { segment: self.position.segment, offset };
        Checkpoint { lsn: self.lsn, header_checksum: checksum, position }
    }

    /// Bytes of disk that the batch takes: header, payload and padding.
    #[must_use]
    pub fn padded_bytes(&self) -> u64 {
        padded_bytes(self.payload_bytes)
    }
}

/// Bytes of disk that a batch with so much payload takes.
#[must_use]
pub fn padded_bytes(payload_bytes: u32) -> u64 {
    (HEADER_BYTES as u64 + u64::from(payload_bytes)).next_multiple_of(BLOCK_BYTES as u64)
}

/// The checksum that a header carries, whether or not it fits.
#[must_use]
pub fn checksum_of(bytes: &[u8; HEADER_BYTES]) -> u32 {
    u32_at(bytes, CHECKSUM_OFFSET)
}

fn u16_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            directory: DirectoryId(*b"0123456789abcdef"),
            shard: ShardId(3),
            lsn: Lsn(0x0102_0304_0506_0708),
            durable_lsn: Lsn(0x0102_0304_0506_0707),
            epoch: 0x1112_1314_1516_1718,
            time: Timestamp(1_700_000_000_123),
            position: LogPosition { segment: 42, offset: 8192 },
            previous_checksum: 0xcafe_f00d,
            payload_bytes: 5,
            payload_crc: 0x9a71_bb4c,
        }
    }

    #[test]
    fn a_header_round_trips() {
        assert_eq!(BatchHeader::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn the_encoding_is_the_one_captured_from_version_1() {
        let bytes = sample().encode();
        let mut hex = String::new();
        for byte in bytes {
            hex.push_str(&format!("{byte:02x}"));
        }
        assert_eq!(
            hex,
            concat!(
                "5a4342415443480a0100030005000000",
                "30313233343536373839616263646566",
                "08070605040302010707060504030201",
                "18171615141312117b68e5cf8b010000",
                "2a00000000000000002000000df0feca",
                "4cbb719a000000000000000000000000",
                "00000000000000000000000000000000",
                "00000000000000000000000045dc8912",
            )
        );
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let good = sample().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(BatchHeader::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_sound_header_of_an_unknown_version_is_named_as_such() {
        let mut bytes = sample().encode();
        bytes[8] = 2;
        reseal(&mut bytes);
        assert_eq!(BatchHeader::decode(&bytes), Err(HeaderError::Version(2)));
    }

    #[test]
    fn a_length_beyond_the_format_is_refused() {
        let mut bytes = sample().encode();
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        reseal(&mut bytes);
        assert_eq!(BatchHeader::decode(&bytes), Err(HeaderError::Length));
    }

    #[test]
    fn padding_ends_on_a_block() {
        assert_eq!(padded_bytes(0), 4096);
        assert_eq!(padded_bytes(4096 - 128), 4096);
        assert_eq!(padded_bytes(4096 - 127), 8192);
    }

    fn reseal(bytes: &mut [u8; HEADER_BYTES]) {
        let checksum = hash::crc32c(&bytes[..CHECKSUM_OFFSET]);
        bytes[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
    }
}
