#![allow(unsafe_code, reason = "vector loads and stores, and calls that the processor must support")]
//! MD5 of eight streams at once, one in each 32-bit lane of the AVX2 registers.

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_set1_epi32, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::rounds::rounds;

pub(super) const LANE_COUNT: usize = 8;

/// Whether this processor can run `compress`.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Advances eight states by the first `block_count` blocks of their lanes. `states[r][l]` is register r of lane l.
///
/// # Panics
/// When the processor lacks AVX2 or a lane has fewer blocks.
pub(super) fn compress(
    states: &mut [[u32; LANE_COUNT]; 4],
    lanes: &[&[[u8; 64]]; LANE_COUNT],
    block_count: usize,
) {
    assert!(is_supported(), "the caller has chosen a kernel for another processor");
    // SAFETY: the one demand of the callee, AVX2, was tested in the line above.
    unsafe { compress_lanes(states, &lanes.map(|lane| &lane[..block_count]), block_count) };
}

#[target_feature(enable = "avx2")]
fn compress_lanes(
    states: &mut [[u32; LANE_COUNT]; 4],
    lanes: &[&[[u8; 64]]; LANE_COUNT],
    block_count: usize,
) {
    let [mut a, mut b, mut c, mut d] =
        [load(&states[0]), load(&states[1]), load(&states[2]), load(&states[3])];
    for block_index in 0..block_count {
        let words = transpose(lanes, block_index);
        let before = [a, b, c, d];
        macro_rules! step {
            ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:literal, $constant:literal, $shift:literal) => {
                let constant = _mm256_set1_epi32(u32::cast_signed($constant));
                let sum = settle(_mm256_add_epi32($a, _mm256_add_epi32(words[$word], constant)));
                let turned = rotate::<$shift, { 32 - $shift }>(_mm256_add_epi32(sum, $mix($b, $c, $d)));
                $a = _mm256_add_epi32(turned, $b);
            };
        }
        rounds!(step, a, b, c, d);
        a = _mm256_add_epi32(a, before[0]);
        b = _mm256_add_epi32(b, before[1]);
        c = _mm256_add_epi32(c, before[2]);
        d = _mm256_add_epi32(d, before[3]);
    }
    for (state, register) in states.iter_mut().zip([a, b, c, d]) {
        store(state, register);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(value: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(value), _mm256_srli_epi32::<RIGHT>(value))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix_f(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix_g(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(b, d), _mm256_andnot_si256(d, c))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix_h(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(b, _mm256_xor_si256(c, d))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix_i(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(c, _mm256_or_si256(b, _mm256_xor_si256(d, _mm256_set1_epi32(-1))))
}

/// Hides from the optimizer that `sum` is one. It would add the newest register first and the word and the constant after
/// it, which makes each step of the chain two additions longer.
#[inline]
#[target_feature(enable = "avx2")]
fn settle(mut sum: __m256i) -> __m256i {
    // SAFETY: there is no instruction; the register keeps its value.
    unsafe { asm!("/* {0} */", inout(ymm_reg) sum, options(pure, nomem, nostack, preserves_flags)) };
    sum
}

/// Word w of the block of every lane in `result[w]`.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(lanes: &[&[[u8; 64]]; LANE_COUNT], block_index: usize) -> [__m256i; 16] {
    let zero = _mm256_set1_epi32(0);
    let mut words = [zero; 16];
    for half in 0..2 {
        // No closures: they would be called through library code that is compiled without AVX2, registers spilled each time.
        let mut rows = [zero; LANE_COUNT];
        for (row, lane) in rows.iter_mut().zip(lanes) {
            *row = load_half(&lane[block_index], half);
        }
        // After this, 128-bit part q of quads[g][j] has word 4q + j of the lanes 4g to 4g + 3.
        let mut quads = [[zero; 4]; 2];
        for (quad, [row_0, row_1, row_2, row_3]) in quads.iter_mut().zip(rows.as_chunks::<4>().0) {
            let low_0 = _mm256_unpacklo_epi32(*row_0, *row_1);
            let low_1 = _mm256_unpacklo_epi32(*row_2, *row_3);
            let high_0 = _mm256_unpackhi_epi32(*row_0, *row_1);
            let high_1 = _mm256_unpackhi_epi32(*row_2, *row_3);
            quad[0] = _mm256_unpacklo_epi64(low_0, low_1);
            quad[1] = _mm256_unpackhi_epi64(low_0, low_1);
            quad[2] = _mm256_unpacklo_epi64(high_0, high_1);
            quad[3] = _mm256_unpackhi_epi64(high_0, high_1);
        }
        for j in 0..4 {
            words[8 * half + j] = _mm256_permute2x128_si256::<0x20>(quads[0][j], quads[1][j]);
            words[8 * half + 4 + j] = _mm256_permute2x128_si256::<0x31>(quads[0][j], quads[1][j]);
        }
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half(block: &[u8; 64], half: usize) -> __m256i {
    let bytes: &[u8] = &block[32 * half..32 * half + 32];
    // SAFETY: the slice has the 32 bytes that are read; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(state: &[u32; LANE_COUNT]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(state.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(state: &mut [u32; LANE_COUNT], register: __m256i) {
    // SAFETY: the array has the 32 bytes that are written; the store asks for no alignment.
    unsafe { _mm256_storeu_si256(state.as_mut_ptr().cast(), register) };
}
