//! Numbers between JSON and the decimal texts of the wire, without losing a digit.
//!
//! Invariant: a text becomes a JSON number only if that number denotes the same value; every other number stays a string.
//! The feature `arbitrary_precision` of `serde_json` stays off: it would change every other crate of a program.

use serde_json::{Number, Value};

/// The value of a decimal text: as `i64`, else as `u64`, else as `f64` if that denotes exactly this decimal (its shortest
/// form is the same number), else as the string that it is. A text that is no number also stays a string.
pub fn decode(text: &str) -> Value {
    // `parse` accepts a plus sign and the integers of the wire have none; "-0" is the integer 0.
    if let Ok(integer) = text.parse::<i64>() {
        return Value::from(integer);
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Value::from(integer);
    }
    let wanted = Decimal::parse(text);
    let float = text.parse::<f64>().ok().and_then(Number::from_f64);
    match (wanted, float) {
        (Some(wanted), Some(float)) if Decimal::parse(&encode(&float)).is_some_and(|got| got == wanted) => {
            Value::Number(float)
        }
        _ => Value::String(text.to_owned()),
    }
}

/// The shortest decimal text that denotes the number: integers in full, floats without an exponent where that is short.
pub fn encode(number: &Number) -> String {
    if let Some(integer) = number.as_i64() {
        return integer.to_string();
    }
    if let Some(integer) = number.as_u64() {
        return integer.to_string();
    }
    match number.as_f64() {
        Some(0.0) => String::from("0"),
        Some(float) if PLAIN.contains(&float.abs()) => float.to_string(),
        Some(float) => format!("{float:e}"),
        None => number.to_string(),
    }
}

/// A decimal in its one form: no zeros at either end of the digits; zero has no digits and no sign.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    /// Sign, digits with at most one point, and an exponent; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0');
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let trimmed = i64::try_from(significant.len() - digits.len()).ok()?;
        let fraction = i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits: digits.to_owned(), exponent: i64::from(exponent) - fraction + trimmed })
    }
}

/// Floats of this size are written without an exponent.
const PLAIN: std::ops::Range<f64> = 1e-7..1e21;

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use serde_json::{Value, json};

    #[test]
    fn a_text_becomes_the_narrowest_number_that_is_the_same() {
        let cases = [
            ("0", json!(0)),
            ("-0", json!(0)),
            ("42", json!(42)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("9223372036854775807", json!(i64::MAX)),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("18446744073709551615", json!(u64::MAX)),
            ("0.1", json!(0.1)),
            ("1.50", json!(1.5)),
            ("-2.5E-3", json!(-0.0025)),
            ("1e3", json!(1000.0)),
            ("100000000000000000000000", json!(1e23)),
            ("0.0", json!(0.0)),
        ];
        for (text, value) in cases {
            assert_eq!(decode(text), value, "{text}");
        }
    }

    #[test]
    fn a_number_that_no_json_number_denotes_stays_a_string() {
        for text in [
            "18446744073709551616.5",
            "18446744073709551617",
            "-9223372036854775809",
            "0.1000000000000000055511151231257827",
            "3.14159265358979323846264338327950288419",
            "12345678901234567890123",
            "1e400",
            "1e-400",
            "",
            "-",
            ".",
            "abc",
            "inf",
            "NaN",
            "1.2.3",
            "1e",
            "0x10",
            " 1",
        ] {
            assert_eq!(decode(text), Value::String(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn encoding_is_the_shortest_text_of_the_same_number() {
        let cases = [
            (json!(0), "0"),
            (json!(-7), "-7"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(0.1), "0.1"),
            (json!(-0.0), "0"),
            (json!(3.0), "3"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e21"),
            (json!(1.5e-10), "1.5e-10"),
            (json!(f64::MAX), "1.7976931348623157e308"),
        ];
        for (value, text) in cases {
            let Value::Number(number) = value else { panic!("{value} is a number") };
            assert_eq!(encode(&number), text);
        }
    }

    #[test]
    fn every_float_comes_back_as_the_same_number() {
        for bits in (0..20_000).map(|_| crate::common::random_u64()) {
            let float = f64::from_bits(bits);
            let Some(number) = serde_json::Number::from_f64(float) else { continue };
            let back = decode(&encode(&number));
            assert_eq!(back.as_f64(), Some(float), "{bits:#x}");
        }
    }
}
