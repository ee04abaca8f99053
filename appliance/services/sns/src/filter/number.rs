//! Numbers of filter policies and messages: decimals of five digits behind the point, from -10^9 to 10^9.
//! Invariant: texts that denote one number give one `Number`, whatever their zeros and exponents; no rounding but to the
//! fifth digit. Time is linear in the text.
//! Leaves to condition.rs: what is compared with what.

/// A number in units of 10^-5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Number(i64);

/// Why a text is no `Number`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NumberError {
    /// It is no decimal number.
    Syntax,
    /// It is below -10^9 or above 10^9.
    Range,
}

/// Digits behind the point that count.
const DECIMALS: i64 = 5;
/// The largest absolute value, in units.
const UNITS_MAX: i128 = 1_000_000_000 * 100_000;
/// Significant digits that are kept while reading: more than decide any rounding, few enough for 128 bits.
const DIGITS_KEPT: u32 = 30;
/// Exponents beyond this are all the same: the number is out of range or rounds to zero.
const EXPONENT_MAX: i64 = 1 << 40;

impl Number {
    /// Reads a decimal number, with an exponent or without.
    pub(super) fn parse(text: &str) -> Result<Number, NumberError> {
        let (is_negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mantissa_end = rest.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(rest.len());
        let exponent = exponent(&rest[mantissa_end..])?;
        let (mantissa, scale) = mantissa(&rest[..mantissa_end])?;
        let units = units(mantissa, scale.saturating_add(exponent).saturating_add(DECIMALS))?;
        Ok(Number(if is_negative { -units } else { units }))
    }
}

/// The value of an exponent with its letter; 0 for none.
fn exponent(text: &[u8]) -> Result<i64, NumberError> {
    let Some((_, text)) = text.split_first() else { return Ok(0) };
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return Err(NumberError::Syntax);
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = digit(*byte)?;
        value = (value * 10 + digit).min(EXPONENT_MAX);
    }
    Ok(if is_negative { -value } else { value })
}

/// The significant digits as one whole number, and the power of ten that it is to be multiplied by.
fn mantissa(text: &[u8]) -> Result<(i128, i64), NumberError> {
    let (mut value, mut scale) = (0_i128, 0_i64);
    let (mut kept, mut digits, mut has_point) = (0, 0_usize, false);
    for byte in text {
        if *byte == b'.' && !has_point {
            has_point = true;
            continue;
        }
        let digit = digit(*byte)?;
        digits += 1;
        if kept < DIGITS_KEPT {
            value = value * 10 + i128::from(digit);
            kept += u32::from(value != 0);
            scale -= i64::from(has_point);
        } else {
            // What is dropped lies behind thirty digits: only its place counts.
            scale += i64::from(!has_point);
        }
    }
    if digits == 0 { Err(NumberError::Syntax) } else { Ok((value, scale)) }
}

fn digit(byte: u8) -> Result<i64, NumberError> {
    if byte.is_ascii_digit() { Ok(i64::from(byte - b'0')) } else { Err(NumberError::Syntax) }
}

/// `mantissa` times ten to the power of `shift`, rounded to a whole number, half away from zero.
fn units(mantissa: i128, shift: i64) -> Result<i64, NumberError> {
    if mantissa == 0 {
        return Ok(0);
    }
    let power =
        |exponent: i64| u32::try_from(exponent).ok().and_then(|exponent| 10_i128.checked_pow(exponent));
    let whole = if shift >= 0 {
        power(shift).and_then(|power| mantissa.checked_mul(power)).ok_or(NumberError::Range)?
    } else {
        // A divisor too large for 128 bits leaves nothing of thirty digits.
        power(-shift).map_or(0, |power| (mantissa + power / 2) / power)
    };
    if whole > UNITS_MAX {
        return Err(NumberError::Range);
    }
    i64::try_from(whole).map_err(|_| NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_value_however_it_is_written() {
        for (texts, units) in [
            (&["0", "-0", "0.0", "0e9", "0.000004", "1e-999999999999999999999"][..], 0),
            (&["1", "1.0", "+1", "1e0", "0.1e1", "10e-1", "1.000000000000000000000000000000000001"], 100_000),
            (&["-301.5", "-3.015E+2", "-301.500"], -30_150_000),
            (&["0.00001", "0.000005", "1e-5", "0.000014"], 1),
            (&["1000000000", "1e9", "1000000000.000001"], 100_000_000_000_000),
        ] {
            for text in texts {
                assert_eq!(Number::parse(text), Ok(Number(units)), "{text}");
            }
        }
    }

    #[test]
    fn what_is_out_of_range_or_no_number_says_which() {
        for text in ["1000000000.00001", "-1e10", "1e999999999999999999999", "9".repeat(1000).as_str()] {
            assert_eq!(Number::parse(text), Err(NumberError::Range), "{text}");
        }
        for text in ["", "-", ".", "1e", "1e+", "1.2.3", "0x1", "NaN", "inf", " 1", "1 ", "1,5", "--1", "e5"]
        {
            assert_eq!(Number::parse(text), Err(NumberError::Syntax), "{text}");
        }
    }

    #[test]
    fn long_zeros_before_a_large_exponent_are_counted() {
        let text = format!("0.{}5e{}", "0".repeat(100_000), 100_001);
        assert_eq!(Number::parse(&text), Ok(Number(500_000)));
        let text = format!("5{}e-{}", "0".repeat(100_000), 100_000);
        assert_eq!(Number::parse(&text), Ok(Number(500_000)));
    }
}
