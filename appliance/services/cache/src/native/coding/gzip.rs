//! gzip (RFC 1952), one member or several, as bytes arrive.
//!
//! ```text
//! member = 1f 8b 08 flags u8 mtime u32 xfl u8 os u8 [extra: length u16, bytes] [name 00] [comment 00] [crc16]
//!          deflate data | crc32 u32 | length u32          numbers are little-endian
//! Head -> Data -> Tail -> Head ...
//! ```
//! Invariant: a member's bytes are complete only if its checksum and its length fit.

use flate2::{Decompress, FlushDecompress, Status};
use hash::Crc32;
use plan::{BodyFailure, BodyFilter};

use super::{STEP_BYTES, malformed};

/// Decodes gzip.
pub struct Gunzip {
    state: State,
    /// Input that is not decoded yet.
    held: Vec<u8>,
    inflate: Decompress,
    crc: Crc32,
    /// Bytes that the member has given.
    member_bytes: u64,
    /// Members that are complete.
    member_count: u64,
    is_stopped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head of a member, or the end.
    Head,
    /// Its deflate data.
    Data,
    /// Its checksum and length.
    Tail,
}

impl Default for Gunzip {
    fn default() -> Gunzip {
        Gunzip {
            state: State::Head,
            held: Vec::new(),
            inflate: Decompress::new(false),
            crc: Crc32::default(),
            member_bytes: 0,
            member_count: 0,
            is_stopped: false,
        }
    }
}

const TAIL_BYTES: usize = 8;
const SCRATCH_BYTES: usize = 32 << 10;
/// Extra fields, a name and a comment that are longer are nobody's.
const HEAD_BYTES_MAX: usize = 8 << 10;

const FLAG_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

impl BodyFilter for Gunzip {
    fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
        self.held.extend_from_slice(input);
        let mut held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        let mut given_bytes = 0;
        self.is_stopped = true;
        while given_bytes < STEP_BYTES {
            let before = (rest.len(), self.state);
            let given = match self.state {
                State::Head => self.head(&mut rest)?,
                State::Data => self.data(&mut rest, data)?,
                State::Tail => self.tail(&mut rest)?,
            };
            given_bytes += given;
            if given == 0 && before == (rest.len(), self.state) {
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
        let is_complete = self.state == State::Head && self.held.is_empty() && self.member_count > 0;
        if is_complete { Ok(()) } else { Err(malformed("a complete gzip stream")) }
    }
}

impl Gunzip {
    fn head(&mut self, rest: &mut &[u8]) -> Result<usize, BodyFailure> {
        let Some(length) = head_bytes(rest)? else {
            return if rest.len() > HEAD_BYTES_MAX { Err(malformed("gzip")) } else { Ok(0) };
        };
        *rest = &rest[length..];
        self.state = State::Data;
        self.inflate.reset(false);
        self.crc = Crc32::default();
        self.member_bytes = 0;
        Ok(0)
    }

    fn data(&mut self, rest: &mut &[u8], data: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
        let mut scratch = [0; SCRATCH_BYTES];
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(rest, &mut scratch, FlushDecompress::None);
        let status = status.map_err(|_| malformed("gzip: its deflate data is broken"))?;
        // Both differences are within the two slices that were handed in.
        let taken = (self.inflate.total_in() - in_before) as usize;
        let given = (self.inflate.total_out() - out_before) as usize;
        *rest = &rest[taken..];
        let given_bytes = &scratch[..given];
        self.crc.update(given_bytes);
        self.member_bytes += given as u64;
        data(given_bytes);
        if status == Status::StreamEnd {
            self.state = State::Tail;
        }
        Ok(given)
    }

    fn tail(&mut self, rest: &mut &[u8]) -> Result<usize, BodyFailure> {
        let Some((tail, after)) = rest.split_first_chunk::<TAIL_BYTES>() else { return Ok(0) };
        let [a, b, c, d, e, f, g, h] = *tail;
        let crc = std::mem::take(&mut self.crc).finish();
        // The length is that of the member modulo 2^32.
        if u32::from_le_bytes([a, b, c, d]) != crc
            || u32::from_le_bytes([e, f, g, h]) != self.member_bytes as u32
        {
            return Err(malformed("gzip: a checksum does not fit"));
        }
        *rest = after;
        self.state = State::Head;
        self.member_count += 1;
        Ok(0)
    }
}

/// The length of a member's head at the start of `bytes`; none when it goes on behind them.
fn head_bytes(bytes: &[u8]) -> Result<Option<usize>, BodyFailure> {
    if !bytes.iter().zip([0x1f, 0x8b, 8]).all(|(byte, magic)| *byte == magic) {
        return Err(malformed("gzip"));
    }
    let Some(flags) = bytes.get(3) else { return Ok(None) };
    if flags & FLAGS_RESERVED != 0 {
        return Err(malformed("gzip"));
    }
    let mut at = 10;
    if flags & FLAG_EXTRA != 0 {
        let Some(length) = bytes.get(at..at + 2) else { return Ok(None) };
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let Some(end) = bytes.get(at..).and_then(end_of_text) else { return Ok(None) };
            at += end + 1;
        }
    }
    if flags & FLAG_CRC != 0 {
        let Some(crc) = bytes.get(at..at + 2) else { return Ok(None) };
        // RFC 1952 2.3.1: the lower half of the CRC-32 of all bytes of the head before it.
        if hash::crc32(&bytes[..at]) as u16 != u16::from_le_bytes([crc[0], crc[1]]) {
            return Err(malformed("gzip: the checksum of its head does not fit"));
        }
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

fn end_of_text(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};

    use super::super::tests::decoded;
    use super::*;

    fn text() -> Vec<u8> {
        (0..300_000_u32).flat_map(|number| (number % 977).to_le_bytes()).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    fn unpacked(bytes: &[u8], piece_bytes: usize) -> Result<Vec<u8>, BodyFailure> {
        decoded(&mut Gunzip::default(), bytes, piece_bytes)
    }

    #[test]
    fn a_member_comes_back_however_it_is_cut() {
        let text = text();
        let packed = packed(&text);
        for piece_bytes in [1, 7, 65_536, usize::MAX] {
            assert!(unpacked(&packed, piece_bytes).expect("gzip") == text, "{piece_bytes}");
        }
    }

    #[test]
    fn members_behind_each_other_are_one_body() {
        let both = [packed(b"first "), packed(b""), packed(b"second")].concat();
        assert_eq!(unpacked(&both, 3).expect("gzip"), b"first second");
    }

    #[test]
    fn the_optional_parts_of_a_head_are_skipped() {
        let mut encoder = GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![7; 300])
            .write(Vec::new(), Compression::best());
        encoder.write_all(b"data").expect("writes to memory");
        let packed = encoder.finish().expect("writes to memory");
        for piece_bytes in [1, 11, 4_096] {
            assert_eq!(unpacked(&packed, piece_bytes).expect("gzip"), b"data");
        }
    }

    #[test]
    fn the_checksum_of_a_head_is_looked_at() {
        let mut packed = packed(b"data");
        packed[3] = FLAG_CRC;
        let crc = hash::crc32(&packed[..10]) as u16;
        packed.splice(10..10, crc.to_le_bytes());
        assert_eq!(unpacked(&packed, 1).expect("gzip"), b"data");
        packed[10] ^= 1;
        assert!(unpacked(&packed, 1).is_err());
    }

    #[test]
    fn what_is_cut_or_changed_is_refused() {
        let packed = packed(b"some text that is long enough");
        for length in 0..packed.len() {
            assert!(unpacked(&packed[..length], 5).is_err(), "cut at {length}");
        }
        for at in (0..packed.len()).filter(|at| !(4..10).contains(at)) {
            let mut changed = packed.clone();
            changed[at] ^= 0x40;
            // The last byte of the deflate data has bits that mean nothing.
            if let Ok(text) = unpacked(&changed, 5) {
                assert_eq!(
                    (at, &text[..]),
                    (packed.len() - TAIL_BYTES - 1, &b"some text that is long enough"[..])
                );
            }
        }
        assert!(unpacked(&[&packed[..], b"x"].concat(), 5).is_err(), "what follows is no member");
        assert!(unpacked(b"plain text", 5).is_err());
    }

    #[test]
    fn a_bomb_goes_off_in_small_steps() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 512 << 10);
        assert_eq!(unpacked(&bomb, usize::MAX).expect("gzip").len(), 64 << 20);
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let mut endless = vec![0x1f, 0x8b, 8, FLAG_NAME, 0, 0, 0, 0, 0, 0];
        endless.resize(HEAD_BYTES_MAX + 11, b'x');
        let mut filter = Gunzip::default();
        assert!(filter.feed(&endless, &mut |_| ()).is_err());
    }
}
