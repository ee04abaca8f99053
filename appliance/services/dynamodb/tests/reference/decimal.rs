//! Exact decimals, digit by digit, as one learns them at school.
//! Invariant: `digits` begins and ends with a digit that is not 0; zero has none, and exponent 0.

use std::cmp::Ordering;

/// Sign, then 0.d1d2d3… times ten to the power of `exponent`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// Why a result is no number of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Range {
    TooManyDigits,
    Overflow,
    Underflow,
}

const DIGITS_MAX: usize = 38;

impl Decimal {
    /// Reads what the generator writes: a sign, digits with a point, an exponent.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (text, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text.strip_prefix('+').unwrap_or(text), false),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
            None => (text, 0_i64),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.bytes().map(|byte| byte - b'0').collect();
        Some(Decimal::normal(negative, digits, whole.len() as i64 + exponent))
    }

    pub fn of(number: i64) -> Decimal {
        Decimal::parse(&number.to_string()).expect("digits")
    }

    fn normal(negative: bool, digits: Vec<u8>, exponent: i64) -> Decimal {
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let mut digits = digits[zeros..].to_vec();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            return Decimal { negative: false, digits, exponent: 0 };
        }
        Decimal { negative, digits, exponent: exponent - zeros as i64 }
    }

    /// The number, if the service can hold it.
    pub fn in_range(self) -> Result<Decimal, Range> {
        // 0.d1… times ten to 126 is d1.… times ten to 125.
        if self.exponent > 126 {
            Err(Range::Overflow)
        } else if !self.digits.is_empty() && self.exponent < -129 {
            Err(Range::Underflow)
        } else if self.digits.len() > DIGITS_MAX {
            Err(Range::TooManyDigits)
        } else {
            Ok(self)
        }
    }

    /// Without an exponent, as replies show it.
    pub fn plain(&self) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let digit = |place: i64| match usize::try_from(place).ok().and_then(|place| self.digits.get(place)) {
            Some(digit) => char::from(b'0' + digit),
            None => '0',
        };
        let whole: String = (0..self.exponent).map(digit).collect();
        let fraction: String = (self.exponent.min(self.digits.len() as i64)..self.digits.len() as i64)
            .map(|place| if place < 0 { '0' } else { digit(place) })
            .collect();
        let sign = if self.negative { "-" } else { "" };
        let whole = if whole.is_empty() { "0" } else { &whole };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    pub fn negated(&self) -> Decimal {
        Decimal { negative: !self.negative && !self.digits.is_empty(), ..self.clone() }
    }

    /// The exact sum.
    pub fn plus(&self, other: &Decimal) -> Decimal {
        let low = self.low().min(other.low());
        let high = self.exponent.max(other.exponent) + 1;
        let column = |number: &Decimal, power: i64| -> i8 {
            let place = number.exponent - 1 - power;
            let digit = usize::try_from(place).ok().and_then(|place| number.digits.get(place)).copied();
            let digit = digit.unwrap_or(0) as i8;
            if number.negative { -digit } else { digit }
        };
        // Columns of the size of both, then the sign is taken out, then carries.
        let mut columns: Vec<i8> =
            (low..high).rev().map(|power| column(self, power) + column(other, power)).collect();
        let negative = columns.iter().find(|column| **column != 0).is_some_and(|column| *column < 0);
        if negative {
            columns.iter_mut().for_each(|column| *column = -*column);
        }
        let mut carry = 0;
        for column in columns.iter_mut().rev() {
            let sum = *column + carry;
            *column = sum.rem_euclid(10);
            carry = sum.div_euclid(10);
        }
        assert_eq!(carry, 0, "one column stands free for the last carry");
        Decimal::normal(negative, columns.into_iter().map(|digit| digit as u8).collect(), high)
    }

    /// The power of ten of the last digit.
    fn low(&self) -> i64 {
        self.exponent - self.digits.len() as i64
    }

    /// Bytes that it counts in an item.
    pub fn size(&self) -> usize {
        if self.digits.is_empty() {
            return 1;
        }
        // Digits before the point and behind it, each half rounded up to bytes; zeros at the ends are not counted.
        let count = self.digits.len() as i64;
        let whole = self.exponent.clamp(0, count) as usize;
        let fraction = match self.exponent {
            exponent if exponent >= count => 0,
            exponent => (count - exponent.max(0)) as usize,
        };
        1 + whole.div_ceil(2) + fraction.div_ceil(2) + usize::from(self.negative)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        let sign = |number: &Decimal| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = || self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => magnitude(),
            _ => magnitude().reverse(),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).expect("a number")
    }

    #[test]
    fn numbers_print_plainly() {
        for (text, plain) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007", "7"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("12e-1", "1.2"),
            ("-5E-3", "-0.005"),
            ("100", "100"),
            ("123.456", "123.456"),
        ] {
            assert_eq!(decimal(text).plain(), plain, "{text}");
        }
        assert_eq!(decimal("1e125").plain().len(), 126);
        assert_eq!(decimal("1e-130").plain(), format!("0.{}1", "0".repeat(129)));
    }

    #[test]
    fn sums_are_exact() {
        for (a, b, sum) in [
            ("1", "2", "3"),
            ("9", "1", "10"),
            ("-1", "1", "0"),
            ("1e38", "-1", "99999999999999999999999999999999999999"),
            ("0.1", "0.2", "0.3"),
            ("5", "-7.25", "-2.25"),
            ("999.99", "0.01", "1000"),
        ] {
            assert_eq!(decimal(a).plus(&decimal(b)), decimal(sum), "{a} + {b}");
            assert_eq!(decimal(b).plus(&decimal(a)), decimal(sum), "{b} + {a}");
        }
        let mut random = crate::reference::random::Random(5);
        for _ in 0..10_000 {
            let (a, b) = (random.next() as i32, random.next() as i32);
            let sum = Decimal::of(a.into()).plus(&Decimal::of(b.into()));
            assert_eq!(sum.plain(), (i64::from(a) + i64::from(b)).to_string());
            assert_eq!(Decimal::of(a.into()).cmp(&Decimal::of(b.into())), a.cmp(&b));
        }
    }

    #[test]
    fn ranges_end_where_the_service_ends() {
        assert!(decimal("1e125").in_range().is_ok());
        assert!(decimal(&format!("{}e88", "9".repeat(38))).in_range().is_ok());
        assert_eq!(decimal("1e126").in_range(), Err(Range::Overflow));
        assert!(decimal("1e-130").in_range().is_ok());
        assert_eq!(decimal("1e-131").in_range(), Err(Range::Underflow));
        assert_eq!(decimal(&"1".repeat(39)).in_range(), Err(Range::TooManyDigits));
    }

    #[test]
    fn sizes_are_those_of_the_specification() {
        for (text, size) in [("0", 1), ("100", 2), ("1.5", 3), ("100.5", 4), ("3.14159", 5), ("-42", 3)] {
            assert_eq!(decimal(text).size(), size, "{text}");
        }
        assert_eq!(decimal("12345678901234567890123456789012345678").size(), 20);
    }
}
