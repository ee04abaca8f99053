#![allow(unsafe_code, reason = "vector loads and stores, and calls that the processor must support")]
//! MD5 of sixteen streams at once, one in each 32-bit lane of the AVX-512 registers; and of one stream, which gains from
//! the instructions too: any function of three registers in one step, and a rotation in one.

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_rol_epi32, _mm_set1_epi32,
    _mm_ternarylogic_epi32, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set1_epi32,
    _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::rounds::rounds;

pub(super) const LANE_COUNT: usize = 16;

/// Whether this processor can run `compress` and `compress_one`.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
}

/// Advances sixteen states by the first `block_count` blocks of their lanes. `states[r][l]` is register r of lane l.
///
/// # Panics
/// When the processor lacks AVX-512 or a lane has fewer blocks.
pub(super) fn compress(
    states: &mut [[u32; LANE_COUNT]; 4],
    lanes: &[&[[u8; 64]]; LANE_COUNT],
    block_count: usize,
) {
    assert!(is_supported(), "the caller has chosen a kernel for another processor");
    // SAFETY: the one demand of the callee, AVX-512F, was tested in the line above.
    unsafe { compress_lanes(states, &lanes.map(|lane| &lane[..block_count]), block_count) };
}

/// Advances one state.
///
/// # Panics
/// When the processor lacks AVX-512.
pub(super) fn compress_one(state: &mut [u32; 4], blocks: &[[u8; 64]]) {
    assert!(is_supported(), "the caller has chosen a kernel for another processor");
    // SAFETY: the one demand of the callee, AVX-512F and VL, was tested in the line above.
    unsafe { compress_stream(state, blocks) };
}

// The truth tables of RFC 1321's functions, as the instruction wants them: bit 4b + 2c + d says what b, c and d give.
const F: i32 = 0b1100_1010;
const G: i32 = 0b1110_0100;
const H: i32 = 0b1001_0110;
const I: i32 = 0b0011_1001;

macro_rules! table {
    (mix_f) => {
        F
    };
    (mix_g) => {
        G
    };
    (mix_h) => {
        H
    };
    (mix_i) => {
        I
    };
}

#[target_feature(enable = "avx512f")]
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
                let constant = _mm512_set1_epi32(u32::cast_signed($constant));
                let sum = settle_lanes(_mm512_add_epi32($a, _mm512_add_epi32(words[$word], constant)));
                let mixed = _mm512_ternarylogic_epi32::<{ table!($mix) }>($b, $c, $d);
                $a = _mm512_add_epi32(_mm512_rol_epi32::<$shift>(_mm512_add_epi32(sum, mixed)), $b);
            };
        }
        rounds!(step, a, b, c, d);
        a = _mm512_add_epi32(a, before[0]);
        b = _mm512_add_epi32(b, before[1]);
        c = _mm512_add_epi32(c, before[2]);
        d = _mm512_add_epi32(d, before[3]);
    }
    for (state, register) in states.iter_mut().zip([a, b, c, d]) {
        store(state, register);
    }
}

#[target_feature(enable = "avx512f,avx512vl")]
fn compress_stream(state: &mut [u32; 4], blocks: &[[u8; 64]]) {
    let [mut a, mut b, mut c, mut d] = state.map(|word| _mm_cvtsi32_si128(word.cast_signed()));
    for block in blocks {
        let words = block.as_chunks::<4>().0;
        let before = [a, b, c, d];
        macro_rules! step {
            ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:literal, $constant:literal, $shift:literal) => {
                let word = _mm_cvtsi32_si128(i32::from_le_bytes(words[$word]));
                let constant = _mm_set1_epi32(u32::cast_signed($constant));
                let sum = settle(_mm_add_epi32($a, _mm_add_epi32(word, constant)));
                let mixed = _mm_ternarylogic_epi32::<{ table!($mix) }>($b, $c, $d);
                $a = _mm_add_epi32(_mm_rol_epi32::<$shift>(_mm_add_epi32(sum, mixed)), $b);
            };
        }
        rounds!(step, a, b, c, d);
        a = _mm_add_epi32(a, before[0]);
        b = _mm_add_epi32(b, before[1]);
        c = _mm_add_epi32(c, before[2]);
        d = _mm_add_epi32(d, before[3]);
    }
    *state = [a, b, c, d].map(|register: __m128i| _mm_cvtsi128_si32(register).cast_unsigned());
}

/// Hides from the optimizer that `sum` is one. It would add the newest register first and the word and the constant after
/// it, which makes each step of the chain two additions longer.
#[inline]
#[target_feature(enable = "avx512f")]
fn settle_lanes(mut sum: __m512i) -> __m512i {
    // SAFETY: there is no instruction; the register keeps its value.
    unsafe { asm!("/* {0} */", inout(zmm_reg) sum, options(pure, nomem, nostack, preserves_flags)) };
    sum
}

/// As `settle_lanes`.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn settle(mut sum: __m128i) -> __m128i {
    // SAFETY: there is no instruction; the register keeps its value.
    unsafe { asm!("/* {0} */", inout(xmm_reg) sum, options(pure, nomem, nostack, preserves_flags)) };
    sum
}

/// Word w of the block of every lane in `result[w]`.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(lanes: &[&[[u8; 64]]; LANE_COUNT], block_index: usize) -> [__m512i; 16] {
    // No closures: they would be called through library code that is compiled without AVX-512, registers spilled each time.
    let zero = _mm512_set1_epi32(0);
    let mut rows = [zero; LANE_COUNT];
    for (row, lane) in rows.iter_mut().zip(lanes) {
        *row = load_block(&lane[block_index]);
    }
    // After this, 128-bit part q of quads[g][j] has word 4q + j of the lanes 4g to 4g + 3.
    let mut quads = [[zero; 4]; 4];
    for (quad, [row_0, row_1, row_2, row_3]) in quads.iter_mut().zip(rows.as_chunks::<4>().0) {
        let low_0 = _mm512_unpacklo_epi32(*row_0, *row_1);
        let low_1 = _mm512_unpacklo_epi32(*row_2, *row_3);
        let high_0 = _mm512_unpackhi_epi32(*row_0, *row_1);
        let high_1 = _mm512_unpackhi_epi32(*row_2, *row_3);
        quad[0] = _mm512_unpacklo_epi64(low_0, low_1);
        quad[1] = _mm512_unpackhi_epi64(low_0, low_1);
        quad[2] = _mm512_unpacklo_epi64(high_0, high_1);
        quad[3] = _mm512_unpackhi_epi64(high_0, high_1);
    }
    let mut words = [zero; 16];
    for j in 0..4 {
        // 0x88 takes the parts 0 and 2 of both operands, 0xdd the parts 1 and 3.
        let even_low = _mm512_shuffle_i32x4::<0x88>(quads[0][j], quads[1][j]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(quads[2][j], quads[3][j]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(quads[0][j], quads[1][j]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(quads[2][j], quads[3][j]);
        words[j] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_block(block: &[u8; 64]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(state: &[u32; LANE_COUNT]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(state.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(state: &mut [u32; LANE_COUNT], register: __m512i) {
    // SAFETY: the array has the 64 bytes that are written; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(state.as_mut_ptr().cast(), register) };
}
