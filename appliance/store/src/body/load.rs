//! What one write of a large body will carry: chunks in memory, each checksummed as soon as it is whole.
//! Invariant: every part but the last is one whole chunk at a page-aligned address; there are as many checksums as parts
//! once the load is finished. A chunk that arrives whole and aligned is kept as it is, all else is copied once.
//! Leaves to writer.rs: how much a load may hold, and where it goes.

use bytes::Bytes;
use ring::Buffer;

use crate::types::{BLOCK_BYTES, CHUNK_BYTES};

/// Fills until it is written.
#[derive(Default)]
pub(super) struct Load {
    chunks: Vec<Bytes>,
    crcs: Vec<u32>,
    /// The chunk that is being put together; shorter than a chunk.
    open: Option<Buffer>,
}

impl Load {
    /// Data bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.open.as_ref().map_or(0, |open| open.len())
    }

    /// Takes the front of `bytes`, which are not empty, and says how much that was. `shared` holds these bytes, if they may
    /// be kept; `expected` is how many bytes are still to come, where that is known.
    pub fn take(&mut self, bytes: &[u8], shared: Option<&Bytes>, expected: Option<u64>) -> usize {
        if self.open.is_none()
            && let Some(shared) = shared
            && let Some(chunk) = bytes.get(..CHUNK_BYTES)
            && chunk.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
        {
            // Now, while the processor has it in its cache.
            self.crcs.push(hash::crc32c(chunk));
            self.chunks.push(shared.slice_ref(chunk));
            return CHUNK_BYTES;
        }
        let open = self.open.get_or_insert_with(|| {
            let expected = expected.filter(|bytes| *bytes > 0).unwrap_or(u64::MAX);
            Buffer::with_capacity(expected.min(CHUNK_BYTES as u64) as usize)
        });
        let taken = bytes.len().min(CHUNK_BYTES - open.len());
        open.extend_from_slice(&bytes[..taken]);
        if open.len() == CHUNK_BYTES {
            self.close();
        }
        taken
    }

    /// The bytes of a load that turned out to be small: less than a chunk.
    pub fn into_small(self) -> Vec<u8> {
        assert!(self.chunks.is_empty(), "a small body is shorter than a chunk");
        self.open.map_or_else(Vec::new, |open| open.to_vec())
    }

    /// The parts, the last one padded to whole blocks with zeros, and the checksums without the padding.
    pub fn finish(mut self) -> (Vec<Bytes>, Vec<u32>) {
        self.close();
        (self.chunks, self.crcs)
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            self.crcs.push(hash::crc32c(&open));
            let padded = open.len().next_multiple_of(BLOCK_BYTES);
            open.resize(padded, 0);
            self.chunks.push(Bytes::from_owner(open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: usize, value: u8) -> Bytes {
        Bytes::from_owner(Buffer::from(&vec![value; length][..]))
    }

    #[test]
    fn whole_aligned_chunks_are_kept_and_all_else_is_copied() {
        let mut load = Load::default();
        let (whole, long) = (piece(CHUNK_BYTES, 1), piece(2 * CHUNK_BYTES + 1, 2));
        assert_eq!(load.take(&whole, Some(&whole), None), CHUNK_BYTES);
        assert_eq!(load.take(&whole, None, None), CHUNK_BYTES);
        assert_eq!(load.take(&long, Some(&long), None), CHUNK_BYTES);
        assert_eq!(load.take(&long[CHUNK_BYTES..], Some(&long), None), CHUNK_BYTES);
        assert_eq!(load.take(&long[2 * CHUNK_BYTES..], Some(&long), None), 1);
        // Not on a chunk's border any more: copied up to the next one.
        assert_eq!(load.take(&whole, Some(&whole), None), CHUNK_BYTES - 1);
        assert_eq!(load.take(&whole[CHUNK_BYTES - 1..], Some(&whole), None), 1);
        // On a border, but neither of these is aligned and whole.
        let late = whole.slice(1..);
        assert_eq!(load.bytes(), 5 * CHUNK_BYTES + 1);
        assert_eq!(load.take(&late, Some(&late), None), CHUNK_BYTES - 1);
        let (parts, crcs) = load.finish();
        let same = |index: usize, other: &Bytes, at: usize| parts[index].as_ptr() == other[at..].as_ptr();
        assert!(same(0, &whole, 0) && same(2, &long, 0) && same(3, &long, CHUNK_BYTES));
        assert!(!same(1, &whole, 0) && parts[1] == whole);
        assert_eq!((parts[4][0], parts[4][1], parts[4].len()), (2, 1, CHUNK_BYTES));
        assert_eq!(parts.len(), crcs.len());
        assert!(parts.iter().zip(&crcs).all(|(part, crc)| hash::crc32c(part) == *crc));
        assert!(parts.iter().all(|part| part.as_ptr().addr().is_multiple_of(BLOCK_BYTES)));
    }

    #[test]
    fn the_end_is_padded_and_its_checksum_is_not() {
        let mut load = Load::default();
        load.take(&[7; 5000], None, Some(5000));
        let (parts, crcs) = load.finish();
        assert_eq!((parts.len(), parts[0].len()), (1, 2 * BLOCK_BYTES));
        assert_eq!(parts[0][4999..5001], [7, 0]);
        assert_eq!(crcs, [hash::crc32c(&[7; 5000])]);
        assert_eq!(Load::default().finish().0.len(), 0);
    }
}
