//! Numbers once more, slowly: digit by digit as one does it on paper. Tests and fuzzing hold the real ones against it.
//!
//! Invariant: it shares no code with them.

use std::cmp::Ordering;

use super::NumberError;

/// A number as 300 decimal places, which is more than any has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Long {
    negative: bool,
    /// From 10^127 down.
    places: Vec<u8>,
}

impl Long {
    /// The number of plain decimals, as they are printed.
    pub(crate) fn of(text: &str) -> Long {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut places = vec![0; PLACE_COUNT];
        let top = TOP + 1 - whole.len() as i32;
        for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
            places[(top + index as i32) as usize] = digit - b'0';
        }
        Long { negative: negative && places.iter().any(|place| *place != 0), places }
    }

    /// The exact sum.
    pub(crate) fn sum(&self, other: &Long) -> Long {
        let digit = |long: &Long, place: usize| {
            let digit = i32::from(long.places[place]);
            if long.negative { -digit } else { digit }
        };
        let mut sums: Vec<i32> =
            (0..PLACE_COUNT).map(|place| digit(self, place) + digit(other, place)).collect();
        let negative = sums.iter().find(|sum| **sum != 0).is_some_and(|sum| *sum < 0);
        let mut carry = 0;
        for sum in sums.iter_mut().rev() {
            let value = if negative { -*sum } else { *sum } + carry;
            *sum = value.rem_euclid(10);
            carry = value.div_euclid(10);
        }
        assert_eq!(carry, 0, "there is room above");
        Long { negative, places: sums.iter().map(|sum| *sum as u8).collect() }
    }

    /// Its text, and what `Number` must say of it.
    pub(crate) fn verdict(&self) -> Result<String, NumberError> {
        let Some(first) = self.places.iter().position(|place| *place != 0) else { return Ok("0".to_owned()) };
        let last = self.places.iter().rposition(|place| *place != 0).expect("one is not zero");
        let exponent = TOP - first as i32;
        if last - first >= 38 || exponent > 125 {
            return Err(NumberError::Overflow);
        }
        if exponent < -130 {
            return Err(NumberError::Underflow);
        }
        let digits: String = self.places[first..=last].iter().map(|place| char::from(b'0' + place)).collect();
        let sign = if self.negative { "-" } else { "" };
        Ok(format!("{sign}{digits}e{}", TOP - last as i32))
    }

    /// The order of values.
    pub(crate) fn compare(&self, other: &Long) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.places.cmp(&other.places),
            (true, true) => other.places.cmp(&self.places),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

/// What `Number::parse` must say of a text: plain text that reads to the same number, or the error.
pub(crate) fn judge(text: &str) -> Result<String, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let value = exponent.parse::<i64>().ok().filter(|_| is_whole).ok_or(NumberError::NotANumber)?;
            (mantissa, value)
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::NotANumber);
    }
    let first = digits.find(|digit| digit != '0');
    let place = first.map_or(0, |first| whole.len() as i64 - 1 - first as i64);
    let exponent = exponent.saturating_add(place);
    if exponent > 125 {
        return Err(NumberError::Overflow);
    }
    if exponent < -130 {
        return Err(NumberError::Underflow);
    }
    let digits = digits.trim_matches('0');
    if digits.len() > 38 {
        return Err(NumberError::TooManyDigits);
    }
    if digits.is_empty() {
        return Ok("0".to_owned());
    }
    Ok(format!("{sign}{}.{}e{exponent}", &digits[..1], &digits[1..]))
}

/// The exponent of the first place.
const TOP: i32 = 127;
const PLACE_COUNT: usize = 300;
