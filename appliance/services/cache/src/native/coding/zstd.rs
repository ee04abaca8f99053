//! zstd frames (RFC 8878) as bytes arrive: the frame's outline is ours, its blocks are decoded by `ruzstd`.
//!
//! ```text
//! frame     = fd2fb528 (magic, little-endian) | descriptor u8 | [window u8] [dictionary 0-4] [content size 0-8] | block* | [checksum u32]
//! skippable = 5?2a4d18 | length u32 | bytes
//! block     = u24: last 1 bit, type 2 bits, size 21 bits | content (one byte for a run)
//! Frame -> Block ... Block -> (Checksum) -> Frame
//! ```
//! Invariant: a block is handed on only when it is there whole, so the decoder never runs out of input; a window is never
//! larger than `WINDOW_BYTES_MAX`. The frame's own checksum is passed over: the digest of the body says more.

use plan::{BodyFailure, BodyFilter};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{STEP_BYTES, malformed};

/// Decodes zstd.
pub struct Unzstd {
    state: State,
    /// Input that is not decoded yet.
    held: Vec<u8>,
    decoder: FrameDecoder,
    has_checksum: bool,
    /// Frames that are complete, skippable ones not counted.
    frame_count: u64,
    is_stopped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head of a frame, or the end.
    Frame,
    /// So much of a skippable frame.
    Skip(usize),
    /// A block.
    Block,
}

/// What any encoder uses that is not asked for more; RFC 8878 3.1.1.1.2 recommends to support as much.
const WINDOW_BYTES_MAX: u64 = 8 << 20;
const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;
const BLOCK_HEAD_BYTES: usize = 3;
const CHECKSUM_BYTES: usize = 4;
/// The type of a block that is one byte, many times.
const RUN: u32 = 1;

impl Default for Unzstd {
    fn default() -> Unzstd {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        Unzstd {
            state: State::Frame,
            held: Vec::new(),
            decoder,
            has_checksum: false,
            frame_count: 0,
            is_stopped: false,
        }
    }
}

impl BodyFilter for Unzstd {
    fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
        self.held.extend_from_slice(input);
        let mut held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        let mut given_bytes = 0;
        self.is_stopped = true;
        while given_bytes < STEP_BYTES {
            let before = (rest.len(), self.state);
            match self.state {
                State::Frame => self.frame(&mut rest)?,
                State::Skip(left) => {
                    let skipped = left.min(rest.len());
                    rest = &rest[skipped..];
                    self.state = if skipped == left { State::Frame } else { State::Skip(left - skipped) };
                }
                State::Block => given_bytes += self.block(&mut rest, data)?,
            }
            if before == (rest.len(), self.state) {
                self.is_stopped = false;
                break;
            }
        }
        // What waits for its end stays where it is, so that a client that sends single bytes costs no copies of it.
        let done_bytes = held.len() - rest.len();
        held.drain(..done_bytes);
        self.held = held;
        Ok(())
    }

    fn holds_more(&self) -> bool {
        self.is_stopped
    }

    fn finish(&mut self) -> Result<(), BodyFailure> {
        let is_complete = self.state == State::Frame && self.held.is_empty() && self.frame_count > 0;
        if is_complete { Ok(()) } else { Err(malformed("a complete zstd stream")) }
    }
}

impl Unzstd {
    fn frame(&mut self, rest: &mut &[u8]) -> Result<(), BodyFailure> {
        let Some((magic, after)) = rest.split_first_chunk::<4>() else { return Ok(()) };
        let magic = u32::from_le_bytes(*magic);
        if magic & !0xf == SKIPPABLE {
            let Some((length, after)) = after.split_first_chunk::<4>() else { return Ok(()) };
            *rest = after;
            self.state = State::Skip(u32::from_le_bytes(*length) as usize);
            return Ok(());
        }
        if magic != MAGIC {
            return Err(malformed("zstd"));
        }
        let Some(descriptor) = after.first() else { return Ok(()) };
        let length = 4 + head_bytes(*descriptor);
        let Some(mut head) = rest.get(..length) else { return Ok(()) };
        self.has_checksum = descriptor & 0b100 != 0;
        self.decoder.reset(&mut head).map_err(|error| malformed(&format!("zstd that is served: {error}")))?;
        *rest = &rest[length..];
        self.state = State::Block;
        Ok(())
    }

    fn block(&mut self, rest: &mut &[u8], data: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
        let Some((head, _)) = rest.split_first_chunk::<BLOCK_HEAD_BYTES>() else { return Ok(0) };
        let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let is_last = head & 1 != 0;
        let content = if (head >> 1) & 3 == RUN { 1 } else { (head >> 3) as usize };
        let checksum = if is_last && self.has_checksum { CHECKSUM_BYTES } else { 0 };
        let length = BLOCK_HEAD_BYTES + content + checksum;
        // A block of more than 128 KiB is refused by the decoder as soon as it sees its head.
        let is_too_long = head >> 3 > BLOCK_BYTES_MAX;
        let Some(block) = rest.get(..length).or(if is_too_long { Some(*rest) } else { None }) else {
            return Ok(0);
        };
        let decoded = self.decoder.decode_blocks(block, BlockDecodingStrategy::UptoBlocks(1));
        decoded.map_err(|error| malformed(&format!("zstd: {error}")))?;
        let given = self.decoder.collect().unwrap_or_default();
        data(&given);
        *rest = &rest[length.min(rest.len())..];
        if is_last {
            self.state = State::Frame;
            self.frame_count += 1;
        }
        Ok(given.len())
    }
}

/// RFC 8878 3.1.1.2.4.
const BLOCK_BYTES_MAX: u32 = 128 << 10;

/// Bytes of a frame's head behind the magic number, by its descriptor (RFC 8878 3.1.1.1).
fn head_bytes(descriptor: u8) -> usize {
    let is_single = descriptor & 0b10_0000 != 0;
    let window = usize::from(!is_single);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    1 + window + dictionary + content_size
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::super::tests::decoded;
    use super::*;

    fn text() -> Vec<u8> {
        (0..300_000_u32).flat_map(|number| (number % 977).to_le_bytes()).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn unpacked(bytes: &[u8], piece_bytes: usize) -> Result<Vec<u8>, BodyFailure> {
        decoded(&mut Unzstd::default(), bytes, piece_bytes)
    }

    /// A frame of runs: a window of 1 KiB to 8 MiB by its byte, each block 128 KiB of zeros out of four bytes.
    fn bomb(window: u8, block_count: u32) -> Vec<u8> {
        let mut bytes = [&MAGIC.to_le_bytes()[..], &[0, window]].concat();
        for block in 1..=block_count {
            let head = BLOCK_BYTES_MAX << 3 | RUN << 1 | u32::from(block == block_count);
            bytes.extend_from_slice(&head.to_le_bytes()[..3]);
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn a_frame_comes_back_however_it_is_cut() {
        let text = text();
        let packed = packed(&text);
        for piece_bytes in [1, 7, 65_536, usize::MAX] {
            assert!(unpacked(&packed, piece_bytes).expect("zstd") == text, "{piece_bytes}");
        }
    }

    /// `printf 'hello hello hello hello\n' | zstd -19 --check`, version 1.5.4.
    const OF_THE_TOOL: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68, 0x6d, 0x00, 0x00, 0x38, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x0a,
        0x01, 0x00, 0x99, 0x4b, 0x11, 0xa8, 0x7c, 0x2e, 0xa8,
    ];

    #[test]
    fn a_frame_of_the_reference_tool_comes_back() {
        for piece_bytes in [1, 5, 100] {
            assert_eq!(unpacked(OF_THE_TOOL, piece_bytes).expect("zstd"), b"hello hello hello hello\n");
        }
    }

    #[test]
    fn frames_behind_each_other_and_skippable_ones_are_one_body() {
        let skippable = [&0x184d_2a5f_u32.to_le_bytes()[..], &[3, 0, 0, 0], b"abc"].concat();
        let all = [packed(b"first "), skippable.clone(), packed(b"second")].concat();
        for piece_bytes in [1, 4_096] {
            assert_eq!(unpacked(&all, piece_bytes).expect("zstd"), b"first second");
        }
        assert!(unpacked(&skippable, 1).is_err(), "nothing but a skippable frame is no body");
    }

    #[test]
    fn what_is_cut_or_is_no_zstd_is_refused() {
        let packed = packed(b"some text that is long enough, long enough, long enough");
        for length in 0..packed.len() {
            assert!(unpacked(&packed[..length], 5).is_err(), "cut at {length}");
        }
        assert!(unpacked(&[&packed[..], b"x"].concat(), 5).is_err(), "what follows is no frame");
        assert!(unpacked(b"plain text", 5).is_err());
    }

    #[test]
    fn a_bomb_goes_off_in_small_steps() {
        // An exponent of 7: 128 KiB.
        let bomb = bomb(7 << 3, 2_000);
        assert!(bomb.len() < 9_000);
        assert_eq!(unpacked(&bomb, usize::MAX).expect("zstd").len(), 2_000 << 17);
    }

    #[test]
    fn a_window_over_8_mib_and_a_dictionary_are_refused() {
        // Exponents of 13 and 14: 8 MiB and 16 MiB.
        assert_eq!(unpacked(&bomb(13 << 3, 1), 100).expect("zstd").len(), 1 << 17);
        assert!(unpacked(&bomb(14 << 3, 1), 100).is_err());
        let with_dictionary = [&MAGIC.to_le_bytes()[..], &[1, 0, 7, 1, 0, 0]].concat();
        assert!(unpacked(&with_dictionary, 100).is_err());
    }

    #[test]
    fn a_block_over_128_kib_is_refused_before_it_has_come() {
        let mut bytes = [&MAGIC.to_le_bytes()[..], &[0, 7 << 3]].concat();
        bytes.extend_from_slice(&((BLOCK_BYTES_MAX + 1) << 3).to_le_bytes()[..3]);
        let mut filter = Unzstd::default();
        assert!(filter.feed(&bytes, &mut |_| ()).is_err());
    }
}
