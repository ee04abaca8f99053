//! Numbers of up to 38 decimal digits: exact, compared and stored by value.
//!
//! Invariant: a number has one normal form, so equality of forms, of sortable bytes and of values is one thing; a first
//! digit stands between 1e-130 and 9e125.
//! Leaves to digits.rs: text and sortable bytes. To arithmetic.rs: sums and order.

mod arithmetic;
mod digits;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod exact;

use std::fmt;

pub(crate) use digits::{Digits, aws_bytes_of_sortable, is_sortable};

/// The most significant digits of a number.
pub const DIGIT_COUNT_MAX: usize = 38;
/// The exponent of the first digit of the largest number.
pub const EXPONENT_MAX: i16 = 125;
/// The exponent of the first digit of the smallest number above zero.
pub const EXPONENT_MIN: i16 = -130;
/// The longest sortable form.
pub const SORTABLE_BYTES_MAX: usize = 22;

/// A number: ±`digits` · 10^`exponent`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    /// Below 10^38 and without a zero at the end; 0 for zero alone.
    digits: u128,
    /// Of the last digit; 0 for zero.
    exponent: i16,
    /// Never for zero.
    negative: bool,
}

/// Why a text or a sum is not a number that can be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberError {
    /// The text is no number at all.
    NotANumber,
    /// More than 38 significant digits.
    TooManyDigits,
    /// 1e126 or larger, or a sum that 38 digits cannot hold.
    Overflow,
    /// Smaller than 1e-130, and not zero.
    Underflow,
}

impl Number {
    /// Zero.
    pub const ZERO: Number = Number { digits: 0, exponent: 0, negative: false };

    /// Reads `[+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?`.
    ///
    /// Errors: in this order not a number, magnitude, number of digits. A zero is judged by its written exponent, as
    /// AWS does.
    pub fn parse(text: &[u8]) -> Result<Number, NumberError> {
        Digits::parse(text).map(|digits| digits.to_number())
    }

    /// Reads what `write_sortable` wrote; `None` for every other byte string.
    #[must_use]
    pub fn from_sortable(bytes: &[u8]) -> Option<Number> {
        Digits::from_sortable(bytes).map(|digits| digits.to_number())
    }

    /// Appends the form whose byte order is the order of numbers: at most `SORTABLE_BYTES_MAX`, and no form is the
    /// beginning of another.
    pub fn write_sortable(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(Digits::from_number(self).sortable().as_bytes());
    }

    /// Appends plain decimal digits, without exponent and without zeros that say nothing.
    pub fn write_plain(&self, out: &mut Vec<u8>) {
        Digits::from_number(self).write_plain(out);
    }

    /// What the number counts in an item's size, by AWS's rule.
    #[must_use]
    pub fn aws_bytes(&self) -> u32 {
        Digits::from_number(self).aws_bytes()
    }

    /// The value as an integer, if it is one and fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        let power = 10u128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        let magnitude = i128::try_from(self.digits.checked_mul(power)?).ok()?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Whether the number is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        arithmetic::normal(u128::from(value.unsigned_abs()), 0, value < 0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_plain(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
