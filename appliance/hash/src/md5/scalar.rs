#![allow(unsafe_code, reason = "an empty assembler line that hides a value from the optimizer")]
//! MD5 in plain integers, for processors without wide vectors.

use super::rounds::rounds;

pub(super) fn compress(state: &mut [u32; 4], blocks: &[[u8; 64]]) {
    for block in blocks {
        compress_block(state, block);
    }
}

fn compress_block(state: &mut [u32; 4], block: &[u8; 64]) {
    let mut words = [0_u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! step {
        ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:literal, $constant:literal, $shift:literal) => {
            let sum = settle($a.wrapping_add(words[$word]).wrapping_add($constant));
            $a = $mix(sum, $b, $c, $d).rotate_left($shift).wrapping_add($b);
        };
    }
    rounds!(step, a, b, c, d);
    for (word, register) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(register);
    }
}

/// Hides from the optimizer that `sum` is one. It would add the newest register first and the word and the constant after
/// it, which makes each step of the chain an addition longer (measured: 119 ns a block against 98).
#[inline(always)]
fn settle(sum: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut sum = sum;
        // SAFETY: there is no instruction; the register keeps its value.
        unsafe {
            std::arch::asm!("/* {0:e} */", inout(reg) sum, options(pure, nomem, nostack, preserves_flags))
        };
        sum
    }
    #[cfg(not(target_arch = "x86_64"))]
    sum
}

// Each adds the RFC's function of the registers to `sum`. `b` comes last out of the step before, so it is used as late as
// possible: the steps are one chain of dependencies, and its length is the speed.

#[inline(always)]
fn mix_f(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(d ^ (b & (c ^ d)))
}

/// The two halves of G have no bit in common, so they may be added one after the other.
#[inline(always)]
fn mix_g(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(c & !d).wrapping_add(b & d)
}

#[inline(always)]
fn mix_h(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(b ^ (c ^ d))
}

#[inline(always)]
fn mix_i(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(c ^ (b | !d))
}
