//! MD5 (RFC 1321), of one stream or of many side by side.
//! Invariant: the digest is that of the bytes in order, however they are cut and whichever kernel ran.
//! Leaves to lanes.rs: which streams advance together. Leaves to scalar.rs, avx2.rs and avx512.rs: the arithmetic.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod rounds;
mod scalar;

use lanes::{Kernel, Lane};

/// Bytes that one step of the algorithm takes.
const BLOCK_BYTES: usize = 64;
/// Streams that advance together at most, on the widest processor.
pub const LANE_COUNT_MAX: usize = 16;
/// RFC 1321, 3.3.
const INITIAL_STATE: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// RFC 1321, 3.1 and 3.2: a one bit, zeros up to here within the last block, then the length.
const LENGTH_OFFSET: usize = 56;

/// The name under which `md5_update_many` takes its streams.
pub type Md5State = Md5;

/// An MD5 over bytes that arrive in pieces.
#[derive(Clone, Debug)]
pub struct Md5 {
    state: [u32; 4],
    /// All bytes so far; modulo 64 it says how many wait in `waiting`.
    total_bytes: u64,
    waiting: [u8; BLOCK_BYTES],
}

impl Md5 {
    /// The digest of no bytes yet.
    #[must_use]
    pub fn new() -> Md5 {
        Md5 { state: INITIAL_STATE, total_bytes: 0, waiting: [0; BLOCK_BYTES] }
    }

    /// Adds `data` at the end.
    pub fn update(&mut self, data: &[u8]) {
        let kernel = Kernel::detect();
        let rest = self.fill(data);
        if let Some(lane) = self.full_block(data.len() - rest.len()) {
            kernel.compress_one(lane.state, lane.blocks);
        }
        kernel.compress_one(&mut self.state, rest.as_chunks().0);
        self.keep(rest);
        self.total_bytes = self.total_bytes.wrapping_add(data.len() as u64);
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(mut self) -> [u8; 16] {
        // RFC 1321, 3.2: the length in bits, modulo 2^64.
        let bits = self.total_bytes.wrapping_mul(8);
        let waiting_bytes = self.waiting_bytes();
        self.waiting[waiting_bytes] = 0x80;
        self.waiting[waiting_bytes + 1..].fill(0);
        let kernel = Kernel::detect();
        if waiting_bytes >= LENGTH_OFFSET {
            kernel.compress_one(&mut self.state, std::slice::from_ref(&self.waiting));
            self.waiting.fill(0);
        }
        self.waiting[LENGTH_OFFSET..].copy_from_slice(&bits.to_le_bytes());
        kernel.compress_one(&mut self.state, std::slice::from_ref(&self.waiting));
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        digest
    }

    fn waiting_bytes(&self) -> usize {
        (self.total_bytes % BLOCK_BYTES as u64) as usize
    }

    /// Completes a block that has begun, as far as `data` goes, and returns what is left of `data`.
    fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let waiting_bytes = self.waiting_bytes();
        if waiting_bytes == 0 {
            return data;
        }
        let (head, rest) = data.split_at(data.len().min(BLOCK_BYTES - waiting_bytes));
        self.waiting[waiting_bytes..waiting_bytes + head.len()].copy_from_slice(head);
        rest
    }

    /// The waiting block, if the `filled_bytes` that `fill` has added made it whole.
    fn full_block(&mut self, filled_bytes: usize) -> Option<Lane<'_>> {
        let is_full = filled_bytes > 0 && self.waiting_bytes() + filled_bytes == BLOCK_BYTES;
        is_full.then_some(Lane { state: &mut self.state, blocks: std::slice::from_ref(&self.waiting) })
    }

    /// Keeps the end of `rest`, what `fill` left, that is no whole block.
    fn keep(&mut self, rest: &[u8]) {
        let tail = rest.as_chunks::<BLOCK_BYTES>().1;
        self.waiting[..tail.len()].copy_from_slice(tail);
    }
}

impl Default for Md5 {
    fn default() -> Md5 {
        Md5::new()
    }
}

/// How many streams this processor advances together: feeding `md5_update_many` that many at a time is best.
#[must_use]
pub fn lane_count() -> usize {
    Kernel::detect().lane_count()
}

/// Adds to each stream its bytes, as `update` would, but side by side: up to `lane_count` streams for the price of one.
/// Any number of jobs of any lengths; a lane whose bytes end takes the next job.
pub fn md5_update_many(jobs: &mut [(&mut Md5, &[u8])]) {
    update_many(Kernel::detect(), jobs);
}

fn update_many(kernel: Kernel, jobs: &mut [(&mut Md5, &[u8])]) {
    // Blocks that earlier bytes began come first, in lanes as well, since with small pieces every stream has one.
    lanes::run(
        kernel,
        jobs.iter_mut().filter_map(|(md5, data)| {
            let filled_bytes = data.len() - md5.fill(data).len();
            md5.full_block(filled_bytes)
        }),
    );
    lanes::run(
        kernel,
        jobs.iter_mut().map(|(md5, data)| {
            let rest = rest_after_fill(md5, data);
            Lane { state: &mut md5.state, blocks: rest.as_chunks().0 }
        }),
    );
    for (md5, data) in jobs {
        let rest = rest_after_fill(md5, data);
        md5.keep(rest);
        md5.total_bytes = md5.total_bytes.wrapping_add(data.len() as u64);
    }
}

/// What `fill` leaves of `data`.
fn rest_after_fill<'a>(md5: &Md5, data: &'a [u8]) -> &'a [u8] {
    match md5.waiting_bytes() {
        0 => data,
        waiting_bytes => &data[data.len().min(BLOCK_BYTES - waiting_bytes)..],
    }
}
