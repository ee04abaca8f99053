//! Sums, differences and order of numbers, exact.
//!
//! Invariant: a result is the exact one or an error; nothing is ever rounded.

use std::cmp::Ordering;

use super::{EXPONENT_MAX, EXPONENT_MIN, Number, NumberError};

impl Number {
    /// The exact sum. Errors: `Overflow` when it is too large or 38 digits cannot hold it, `Underflow` when it is too
    /// small.
    pub fn checked_add(&self, other: &Number) -> Result<Number, NumberError> {
        if self.digits == 0 {
            return Ok(*other);
        }
        if other.digits == 0 {
            return Ok(*self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let gap = u32::from(high.exponent.abs_diff(low.exponent));
        // With a gap the result ends in the last digit of `low`, which is not zero. So it has as many digits as it
        // looks, and if `high` at the scale of `low` has 40 of them, so has the result, or 39.
        let scaled = 10u128.checked_pow(gap).and_then(|power| high.digits.checked_mul(power));
        let scaled = scaled.filter(|scaled| *scaled < 2 * DIGITS_END).ok_or(NumberError::Overflow)?;
        let (digits, negative) = if high.negative == low.negative {
            (scaled + low.digits, high.negative)
        } else if scaled >= low.digits {
            (scaled - low.digits, high.negative)
        } else {
            (low.digits - scaled, low.negative)
        };
        bounded(normal(digits, low.exponent, negative))
    }

    /// The exact difference. Errors: as of `checked_add`.
    pub fn checked_sub(&self, other: &Number) -> Result<Number, NumberError> {
        self.checked_add(&other.negated())
    }

    /// The number with the other sign.
    #[must_use]
    pub fn negated(&self) -> Number {
        Number { negative: !self.negative && self.digits != 0, ..*self }
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.digits, self.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    /// Exponent of the first digit; the number is not zero.
    fn first_exponent(&self) -> i32 {
        i32::from(self.exponent) + self.digits.ilog10() as i32
    }

    /// Order of the values without their signs; neither is zero.
    fn compare_magnitude(&self, other: &Number) -> Ordering {
        self.first_exponent().cmp(&other.first_exponent()).then_with(|| {
            // With 38 digits each they stand under one another.
            let aligned = |number: &Number| number.digits * 10u128.pow(37 - number.digits.ilog10());
            aligned(self).cmp(&aligned(other))
        })
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        match (self.sign(), other.sign()) {
            (1, 1) => self.compare_magnitude(other),
            (-1, -1) => other.compare_magnitude(self),
            (mine, others) => mine.cmp(&others),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The normal form of ±`digits` · 10^`exponent`, which may still be out of bounds.
pub(super) fn normal(mut digits: u128, mut exponent: i16, negative: bool) -> Number {
    if digits == 0 {
        return Number::ZERO;
    }
    while digits.is_multiple_of(10) {
        digits /= 10;
        exponent += 1;
    }
    Number { digits, exponent, negative }
}

fn bounded(number: Number) -> Result<Number, NumberError> {
    if number.digits == 0 {
        return Ok(number);
    }
    if number.digits >= DIGITS_END || number.first_exponent() > i32::from(EXPONENT_MAX) {
        return Err(NumberError::Overflow);
    }
    if number.first_exponent() < i32::from(EXPONENT_MIN) {
        return Err(NumberError::Underflow);
    }
    Ok(number)
}

/// 10^38: one more than the largest digits.
const DIGITS_END: u128 = 100_000_000_000_000_000_000_000_000_000_000_000_000;
