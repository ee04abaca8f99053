//! Which streams advance together: lanes filled from a queue of any length, each with bytes of its own length.
//! Invariant: every lane's blocks pass through its state once, in order.

use super::{BLOCK_BYTES, LANE_COUNT_MAX, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// One stream's state and the blocks that it is to take.
pub(super) struct Lane<'a> {
    pub(super) state: &'a mut [u32; 4],
    pub(super) blocks: &'a [[u8; BLOCK_BYTES]],
}

/// Ways to advance states, by what the processor must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kernel {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// The best one for this processor. Cheap: the standard library keeps what it has found.
    pub(super) fn detect() -> Kernel {
        #[cfg(target_arch = "x86_64")]
        {
            if avx512::is_supported() {
                return Kernel::Avx512;
            }
            if avx2::is_supported() {
                return Kernel::Avx2;
            }
        }
        Kernel::Scalar
    }

    pub(super) fn lane_count(self) -> usize {
        match self {
            Kernel::Scalar => 1,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::LANE_COUNT,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => avx512::LANE_COUNT,
        }
    }

    pub(super) fn compress_one(self, state: &mut [u32; 4], blocks: &[[u8; BLOCK_BYTES]]) {
        match self {
            Kernel::Scalar => scalar::compress(state, blocks),
            // One stream in an AVX2 register would be slower: a rotation is three instructions there.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => scalar::compress(state, blocks),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => avx512::compress_one(state, blocks),
        }
    }
}

/// Advances all lanes of the queue.
pub(super) fn run<'a>(kernel: Kernel, queue: impl Iterator<Item = Lane<'a>>) {
    match kernel {
        Kernel::Scalar => queue.for_each(|lane| kernel.compress_one(lane.state, lane.blocks)),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => run_lanes(kernel, avx2::compress, queue),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => run_lanes(kernel, avx512::compress, queue),
    }
}

#[cfg(target_arch = "x86_64")]
type Compress<const N: usize> = fn(&mut [[u32; N]; 4], &[&[[u8; BLOCK_BYTES]]; N], usize);

/// Keeps up to N lanes busy. What is active lies at the front of `active`.
#[cfg(target_arch = "x86_64")]
fn run_lanes<'a, const N: usize>(
    kernel: Kernel,
    compress: Compress<N>,
    queue: impl Iterator<Item = Lane<'a>>,
) {
    const { assert!(N <= LANE_COUNT_MAX) };
    let mut queue = queue.filter(|lane| !lane.blocks.is_empty());
    let mut active: [Option<Lane<'a>>; N] = [const { None }; N];
    let mut active_count = 0;
    loop {
        while active_count < N
            && let Some(lane) = queue.next()
        {
            active[active_count] = Some(lane);
            active_count += 1;
        }
        if active_count < ACTIVE_COUNT_MIN {
            // The queue has run dry, or another lane would have been taken from it.
            for lane in active.into_iter().flatten() {
                kernel.compress_one(lane.state, lane.blocks);
            }
            return;
        }
        advance(compress, &mut active);
        // Close the gaps that finished lanes leave.
        let mut kept_count = 0;
        for index in 0..active_count {
            if active[index].as_ref().is_some_and(|lane| lane.blocks.is_empty()) {
                active[index] = None;
            } else {
                active.swap(kept_count, index);
                kept_count += 1;
            }
        }
        active_count = kept_count;
    }
}

/// Advances the active lanes by as many blocks as the shortest one has. Idle lanes compute something that nobody uses.
#[cfg(target_arch = "x86_64")]
fn advance<const N: usize>(compress: Compress<N>, active: &mut [Option<Lane<'_>>; N]) {
    let shortest = active.iter().flatten().map(|lane| lane.blocks).min_by_key(|blocks| blocks.len());
    let shortest = shortest.expect("called with at least one active lane");
    let block_count = shortest.len();
    let mut states = [[0; N]; 4];
    let mut lanes = [shortest; N];
    for (index, lane) in active.iter().enumerate().filter_map(|(index, lane)| Some((index, lane.as_ref()?))) {
        lanes[index] = lane.blocks;
        for (register, word) in states.iter_mut().zip(&*lane.state) {
            register[index] = *word;
        }
    }
    compress(&mut states, &lanes, block_count);
    for (index, lane) in
        active.iter_mut().enumerate().filter_map(|(index, lane)| Some((index, lane.as_mut()?)))
    {
        lane.blocks = &lane.blocks[block_count..];
        for (word, register) in lane.state.iter_mut().zip(&states) {
            *word = register[index];
        }
    }
}

/// With fewer active lanes than this the code for one stream is faster.
#[cfg(target_arch = "x86_64")]
const ACTIVE_COUNT_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use ::md5::Digest as _;

    use super::*;
    use crate::digest::tests::Random;
    use crate::md5::{Md5, update_many};

    fn kernels() -> Vec<Kernel> {
        let mut kernels = vec![Kernel::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(avx2::is_supported().then_some(Kernel::Avx2));
            kernels.extend(avx512::is_supported().then_some(Kernel::Avx512));
        }
        kernels
    }

    fn other(data: &[u8]) -> [u8; 16] {
        ::md5::Md5::digest(data).into()
    }

    #[test]
    fn the_suite_of_rfc_1321_holds() {
        let suite: [(&[u8], &str); 3] = [
            (b"", "d41d8cd98f00b204e9800998ecf8427e"),
            (b"message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (data, hexadecimal) in suite {
            let mut md5 = Md5::new();
            md5.update(data);
            assert_eq!(md5.finish().map(|byte| format!("{byte:02x}")).concat(), hexadecimal);
        }
    }

    #[test]
    fn every_short_length_agrees_with_another_implementation() {
        let data = Random::new(1).bytes(300);
        for length in 0..data.len() {
            let mut md5 = Md5::new();
            md5.update(&data[..length]);
            assert_eq!(md5.finish(), other(&data[..length]), "{length} bytes");
        }
    }

    #[test]
    fn every_kernel_compresses_one_stream_alike() {
        let data = Random::new(2).bytes(64 * 9);
        let mut expected = super::super::INITIAL_STATE;
        scalar::compress(&mut expected, data.as_chunks().0);
        for kernel in kernels() {
            let mut state = super::super::INITIAL_STATE;
            kernel.compress_one(&mut state, data.as_chunks().0);
            assert_eq!(state, expected, "{kernel:?}");
        }
    }

    #[test]
    fn many_streams_agree_with_another_implementation_for_every_number_of_them() {
        for kernel in kernels() {
            for seed in 1..=4 {
                for stream_count in 0..=2 * LANE_COUNT_MAX + 3 {
                    compare(kernel, stream_count, seed);
                }
            }
        }
    }

    /// Streams get pieces of random lengths, often none, for some rounds.
    fn compare(kernel: Kernel, stream_count: usize, seed: u64) {
        let mut random = Random::new(seed * 100 + stream_count as u64);
        let mut streams = vec![(Md5::new(), Vec::new()); stream_count];
        for _ in 0..6 {
            let pieces: Vec<Vec<u8>> = (0..stream_count)
                .map(|_| {
                    let length = match random.below(4) {
                        0 => 0,
                        1 => random.below(64),
                        2 => 64 * random.below(9),
                        _ => random.below(1_500),
                    };
                    random.bytes(length)
                })
                .collect();
            let mut jobs: Vec<(&mut Md5, &[u8])> =
                streams.iter_mut().zip(&pieces).map(|((md5, _), piece)| (md5, &piece[..])).collect();
            update_many(kernel, &mut jobs);
            for ((_, all), piece) in streams.iter_mut().zip(&pieces) {
                all.extend_from_slice(piece);
            }
        }
        for (index, (md5, all)) in streams.into_iter().enumerate() {
            assert_eq!(
                md5.finish(),
                other(&all),
                "{kernel:?}, stream {index} of {stream_count}, seed {seed}"
            );
        }
    }
}
