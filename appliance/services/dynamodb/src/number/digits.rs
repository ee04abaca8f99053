//! A number as its digits: how text, sortable bytes and plain decimals are read and written, without wide arithmetic.
//!
//! ```text
//! sortable = class u8 | exponent u8 | pair* | end u8
//!   class     0x40 negative, 0x80 zero (which ends here), 0xc0 positive
//!   exponent  of the first digit, + 130
//!   pair      two digits from the first on, + 1; a missing last digit is 0
//!   end       0
//! ```
//! All that follows the class of a negative number is inverted. At most 22 bytes.
//! Invariant: `digits` neither begins nor ends with 0, so one value has one form here and one as bytes.

use super::{DIGIT_COUNT_MAX, EXPONENT_MAX, EXPONENT_MIN, Number, NumberError, SORTABLE_BYTES_MAX};

/// ±d.ddd · 10^`exponent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    /// 0 to 9 each; those behind `count` mean nothing.
    digits: [u8; DIGIT_COUNT_MAX],
    /// How many there are; none for zero.
    count: u8,
    /// Of the first digit; 0 for zero.
    exponent: i16,
    /// Never for zero.
    negative: bool,
}

/// The sortable form of a number.
#[derive(Clone, Copy)]
pub(crate) struct Sortable {
    bytes: [u8; SORTABLE_BYTES_MAX],
    length: u8,
}

impl Sortable {
    /// The form itself.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What the scan of the part in front of the exponent has found so far.
struct Mantissa {
    digits: [u8; DIGIT_COUNT_MAX],
    count: usize,
    /// Zeros behind the last digit that is kept: they count only if another digit follows.
    zero_count: usize,
    /// Exponent of the first significant digit.
    first: i64,
    too_many: bool,
}

impl Mantissa {
    fn push(&mut self, digit: u8) {
        if digit == 0 {
            self.zero_count += 1;
            return;
        }
        let wanted = self.count + self.zero_count + 1;
        if wanted > DIGIT_COUNT_MAX {
            self.too_many = true;
            return;
        }
        // The array is zeroed, so the zeros between are there already.
        self.digits[wanted - 1] = digit;
        self.count = wanted;
        self.zero_count = 0;
    }
}

impl Digits {
    /// Reads the text of a number; see `Number::parse`. Takes one look at each byte and no memory, whatever the length.
    pub(crate) fn parse(text: &[u8]) -> Result<Digits, NumberError> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut found =
            Mantissa { digits: [0; DIGIT_COUNT_MAX], count: 0, zero_count: 0, first: 0, too_many: false };
        let at = scan_mantissa(text, &mut found)?;
        let written = match text.get(at) {
            None => 0,
            Some(b'e' | b'E') => scan_exponent(&text[at + 1..])?,
            Some(_) => return Err(NumberError::NotANumber),
        };
        // The first digit of a zero is its own: `0e126` is too large as `1e126` is.
        let exponent = found.first.saturating_add(written);
        if exponent > i64::from(EXPONENT_MAX) {
            return Err(NumberError::Overflow);
        }
        if exponent < i64::from(EXPONENT_MIN) {
            return Err(NumberError::Underflow);
        }
        if found.too_many {
            return Err(NumberError::TooManyDigits);
        }
        if found.count == 0 {
            return Ok(Digits { digits: found.digits, count: 0, exponent: 0, negative: false });
        }
        let exponent = i16::try_from(exponent).expect("within the bounds just checked");
        let count = u8::try_from(found.count).expect("at most DIGIT_COUNT_MAX");
        Ok(Digits { digits: found.digits, count, exponent, negative })
    }

    /// Reads the sortable form; `None` when the bytes are not the one form of a number.
    pub(crate) fn from_sortable(bytes: &[u8]) -> Option<Digits> {
        let (negative, pairs) = split_sortable(bytes)?;
        let flip = if negative { 0xff } else { 0 };
        let mut number = Digits { digits: [0; DIGIT_COUNT_MAX], count: 0, exponent: 0, negative };
        if pairs.is_empty() {
            return Some(number);
        }
        for (place, pair) in number.digits.chunks_exact_mut(2).zip(pairs) {
            let value = (pair ^ flip).wrapping_sub(1);
            place[0] = value / 10;
            place[1] = value % 10;
        }
        let count = pairs.len() * 2 - usize::from(number.digits[pairs.len() * 2 - 1] == 0);
        number.count = u8::try_from(count).ok()?;
        number.exponent = i16::from(bytes[1] ^ flip) + EXPONENT_MIN;
        Some(number)
    }

    /// The form whose byte order is the order of numbers.
    pub(crate) fn sortable(&self) -> Sortable {
        let mut bytes = [0; SORTABLE_BYTES_MAX];
        let count = usize::from(self.count);
        if count == 0 {
            bytes[0] = CLASS_ZERO;
            return Sortable { bytes, length: 1 };
        }
        let flip = if self.negative { 0xff } else { 0 };
        bytes[0] = if self.negative { CLASS_NEGATIVE } else { CLASS_POSITIVE };
        let exponent = u8::try_from(self.exponent - EXPONENT_MIN).expect("exponents span one byte");
        bytes[1] = exponent ^ flip;
        let pair_count = count.div_ceil(2);
        for (place, pair) in bytes[2..].iter_mut().zip(self.digits.chunks_exact(2).take(pair_count)) {
            *place = (pair[0] * 10 + pair[1] + 1) ^ flip;
        }
        bytes[2 + pair_count] = flip;
        let length = u8::try_from(3 + pair_count).expect("at most SORTABLE_BYTES_MAX");
        Sortable { bytes, length }
    }

    /// Appends plain decimal digits: at most 170 bytes.
    pub(crate) fn write_plain(&self, out: &mut Vec<u8>) {
        let count = usize::from(self.count);
        if count == 0 {
            out.push(b'0');
            return;
        }
        if self.negative {
            out.push(b'-');
        }
        let mut text = self.digits;
        text.iter_mut().for_each(|digit| *digit += b'0');
        let digits = &text[..count];
        // Digits in front of the point.
        let whole = i32::from(self.exponent) + 1;
        let zero_count = usize::try_from(-whole).unwrap_or(0);
        let whole = usize::try_from(whole).unwrap_or(0);
        if whole == 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + zero_count, b'0');
            out.extend_from_slice(digits);
        } else if count <= whole {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - count, b'0');
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }

    /// What the number counts in an item's size, by AWS's rule.
    pub(crate) fn aws_bytes(&self) -> u32 {
        aws_bytes(u32::from(self.count), self.exponent, self.negative)
    }

    /// The same number, to calculate with.
    pub(crate) fn to_number(self) -> Number {
        let count = usize::from(self.count);
        if count == 0 {
            return Number::ZERO;
        }
        // Nineteen digits fit 64 bits, whose arithmetic is many times cheaper.
        let (high, low) = self.digits[..count].split_at(count.min(19));
        let join = |digits: &[u8]| digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(*digit));
        let mut digits = u128::from(join(high));
        if !low.is_empty() {
            digits =
                digits * 10u128.pow(u32::try_from(low.len()).expect("at most 19")) + u128::from(join(low));
        }
        let exponent = self.exponent + 1 - i16::from(self.count);
        Number { digits, exponent, negative: self.negative }
    }

    /// The digits of a number.
    pub(crate) fn from_number(number: &Number) -> Digits {
        let mut found =
            Digits { digits: [0; DIGIT_COUNT_MAX], count: 0, exponent: 0, negative: number.negative };
        if number.digits == 0 {
            return found;
        }
        let count = number.digits.ilog10() as usize + 1;
        let half = |part: u128| u64::try_from(part).expect("below 10^19");
        let (mut high, mut low) = (half(number.digits / POWER_19), half(number.digits % POWER_19));
        for (taken, place) in found.digits[..count].iter_mut().rev().enumerate() {
            let part = if taken < 19 { &mut low } else { &mut high };
            *place = (*part % 10) as u8;
            *part /= 10;
        }
        found.count = u8::try_from(count).expect("at most DIGIT_COUNT_MAX");
        found.exponent = number.exponent + i16::from(found.count) - 1;
        found
    }
}

/// What a number in sortable form counts in an item's size; the form must be one.
pub(crate) fn aws_bytes_of_sortable(bytes: &[u8]) -> u32 {
    let Some((negative, pairs)) = split_sortable(bytes) else { return 1 };
    let flip = if negative { 0xff } else { 0 };
    let Some(last) = pairs.last() else { return 1 };
    let last_is_zero = (last ^ flip).wrapping_sub(1).is_multiple_of(10);
    let count = pairs.len() as u32 * 2 - u32::from(last_is_zero);
    aws_bytes(count, i16::from(bytes[1] ^ flip) + EXPONENT_MIN, negative)
}

/// Whether the bytes are the sortable form of a number.
pub(crate) fn is_sortable(bytes: &[u8]) -> bool {
    split_sortable(bytes).is_some()
}

/// The sign and the digit pairs, none for zero; `None` when the bytes are not the one form of a number.
fn split_sortable(bytes: &[u8]) -> Option<(bool, &[u8])> {
    let negative = match bytes {
        [CLASS_ZERO] => return Some((false, &[])),
        [CLASS_POSITIVE, ..] => false,
        [CLASS_NEGATIVE, ..] => true,
        _ => return None,
    };
    if bytes.len() < 4 || bytes.len() > SORTABLE_BYTES_MAX {
        return None;
    }
    let flip = if negative { 0xff } else { 0 };
    let pairs = &bytes[2..bytes.len() - 1];
    let digits_of = |pair: u8| (pair ^ flip).wrapping_sub(1);
    let all_are_pairs = pairs.iter().all(|pair| digits_of(*pair) < 100);
    // The first digit and the last pair are not zero: else the same value had two forms.
    let is_normal = digits_of(pairs[0]) >= 10 && digits_of(pairs[pairs.len() - 1]) != 0;
    (all_are_pairs && is_normal && bytes[bytes.len() - 1] == flip).then_some((negative, pairs))
}

/// AWS's rule: one byte, one for each two digits on either side of the point, one for a sign. Zeros at either end of
/// the number do not count.
fn aws_bytes(count: u32, exponent: i16, negative: bool) -> u32 {
    let whole = u32::try_from(i32::from(exponent) + 1).unwrap_or(0).min(count);
    1 + whole.div_ceil(2) + (count - whole).div_ceil(2) + u32::from(negative)
}

/// Scans digits and a point; gives where they end. Errors: `NotANumber` without a digit.
fn scan_mantissa(text: &[u8], found: &mut Mantissa) -> Result<usize, NumberError> {
    let (mut at, mut digit_count, mut point) = (0, 0usize, None);
    // How many digits were seen when the first significant one came.
    let mut first = None;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'0'..=b'9' => {
                if first.is_some() || byte != b'0' {
                    first.get_or_insert(digit_count);
                    found.push(byte - b'0');
                }
                digit_count += 1;
            }
            b'.' if point.is_none() => point = Some(digit_count),
            _ => break,
        }
        at += 1;
    }
    if digit_count == 0 {
        return Err(NumberError::NotANumber);
    }
    if let Some(first) = first {
        // Texts are shorter than 2^63 bytes, so counts are within i64.
        found.first = point.unwrap_or(digit_count) as i64 - 1 - first as i64;
    }
    Ok(at)
}

/// Reads all of `text` as an exponent. Errors: `NotANumber` for anything else, and for one that 64 bits cannot hold,
/// as AWS does.
fn scan_exponent(text: &[u8]) -> Result<i64, NumberError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return Err(NumberError::NotANumber);
    }
    let mut value = 0i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(NumberError::NotANumber);
        }
        // Below zero, where 64 bits reach one further.
        let next = value.checked_mul(10).and_then(|value| value.checked_sub(i64::from(byte - b'0')));
        value = next.ok_or(NumberError::NotANumber)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(NumberError::NotANumber) }
}

const CLASS_NEGATIVE: u8 = 0x40;
const CLASS_ZERO: u8 = 0x80;
const CLASS_POSITIVE: u8 = 0xc0;
/// 10^19: a half of the longest number.
const POWER_19: u128 = 10_000_000_000_000_000_000;
