//! What numbers keep to, shown by tables and by random pairs against exact.rs.

use super::exact::Long;
use super::*;

fn number(text: &str) -> Number {
    Number::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn sortable(number: &Number) -> Vec<u8> {
    let mut bytes = Vec::new();
    number.write_sortable(&mut bytes);
    bytes
}

#[test]
fn texts_of_one_value_are_one_number() {
    let same = [
        ("1", "1"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("+1", "1"),
        ("007", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0e125", "0"),
        ("0e-130", "0"),
        ("1.5E2", "150"),
        ("100", "100"),
        ("1E2", "100"),
        ("123.456000", "123.456"),
        ("0.00123e-2", "0.0000123"),
        ("1234567890.0987654321", "1234567890.0987654321"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("1e00000000000000000000000000000000000002", "100"),
    ];
    for (text, plain) in same {
        assert_eq!(number(text).to_string(), plain, "{text}");
    }
}

#[test]
fn what_is_no_number_is_refused_for_the_first_reason() {
    use NumberError::{NotANumber, Overflow, TooManyDigits, Underflow};
    let cases = [
        ("", NotANumber),
        ("-", NotANumber),
        (".", NotANumber),
        ("e5", NotANumber),
        ("1e", NotANumber),
        ("1e+", NotANumber),
        ("1 ", NotANumber),
        (" 1", NotANumber),
        ("0x1", NotANumber),
        ("NaN", NotANumber),
        ("Infinity", NotANumber),
        ("1_000", NotANumber),
        ("1.2.3", NotANumber),
        ("--1", NotANumber),
        ("1e1.5", NotANumber),
        ("1e9223372036854775808", NotANumber),
        ("1e-9223372036854775808", Underflow),
        ("1e-9223372036854775809", NotANumber),
        ("1e2147483647", Overflow),
        ("1e-2147483648", Underflow),
        ("1E126", Overflow),
        ("-1E126", Overflow),
        ("10e125", Overflow),
        ("0e126", Overflow),
        ("1E-131", Underflow),
        ("0.1e-130", Underflow),
        ("0e-131", Underflow),
        ("123456789012345678901234567890123456789", TooManyDigits),
        ("1.00000000000000000000000000000000000001", TooManyDigits),
        ("1.00000000000000000000000000000000000001e126", Overflow),
    ];
    for (text, error) in cases {
        assert_eq!(Number::parse(text.as_bytes()), Err(error), "{text}");
    }
}

#[test]
fn the_largest_and_the_smallest_print_every_digit() {
    let largest = format!("9.{}e125", "9".repeat(37));
    assert_eq!(number(&largest).to_string(), "9".repeat(38) + &"0".repeat(88));
    assert_eq!(number("-1e125").to_string(), format!("-1{}", "0".repeat(125)));
    assert_eq!(number("1e-130").to_string(), format!("0.{}1", "0".repeat(129)));
    let longest = format!("-{}.{}e-130", 1, "1".repeat(37));
    assert_eq!(number(&longest).to_string().len(), 170);
}

#[test]
fn sizes_follow_aws() {
    let cases = [
        ("0", 1),
        ("100", 2),
        ("1.5", 3),
        ("100.5", 4),
        ("3.14159", 5),
        ("-42", 3),
        ("12345678901234567890123456789012345678", 20),
        ("1e125", 2),
        ("-1e-130", 3),
    ];
    for (text, size) in cases {
        let found = number(text);
        assert_eq!(found.aws_bytes(), size, "{text}");
        assert_eq!(aws_bytes_of_sortable(&sortable(&found)), size, "{text}");
    }
}

#[test]
fn a_sortable_form_is_at_most_22_bytes_and_only_the_one_form_is_read() {
    let longest = number(&("-".to_owned() + &"9".repeat(38)));
    assert_eq!(sortable(&longest).len(), SORTABLE_BYTES_MAX);
    let one = sortable(&number("1"));
    assert_eq!(one, [0xc0, 130, 11, 0]);
    assert_eq!(sortable(&number("-1")), [0x40, !130, !11, 0xff]);
    assert_eq!(sortable(&Number::ZERO), [0x80]);
    let foreign: [&[u8]; 10] = [
        &[],
        &[0x80, 0],
        &[0xc0, 130, 0],
        &[0xc0, 130, 11],
        &[0xc0, 130, 11, 1],
        &[0xc0, 130, 10, 0],
        &[0xc0, 130, 11, 1, 0],
        &[0xc0, 130, 101, 0],
        &[0x40, 130, 11, 0],
        &[0x41, 130, 11, 0],
    ];
    for bytes in foreign {
        assert_eq!(Number::from_sortable(bytes), None, "{bytes:?}");
        assert!(!is_sortable(bytes), "{bytes:?}");
    }
}

#[test]
fn sums_are_exact_or_refused() {
    let nines = "9".repeat(38);
    let cases = [
        ("1", "2", "3"),
        ("1e38", "-1", &nines),
        ("0.1", "0.2", "0.3"),
        ("5", "-5", "0"),
        ("1e125", "-1e125", "0"),
        ("9e125", "9e124", "99e124"),
        ("1e-130", "1e-130", "2e-130"),
        (&nines, "1", "1e38"),
        ("-3", "1", "-2"),
        ("1", "-3", "-2"),
    ];
    for (a, b, sum) in cases {
        assert_eq!(number(a).checked_add(&number(b)), Ok(number(sum)), "{a} + {b}");
        assert_eq!(number(b).checked_add(&number(a)), Ok(number(sum)), "{b} + {a}");
        assert_eq!(number(sum).checked_sub(&number(b)), Ok(number(a)), "{sum} - {b}");
    }
    let refused = [
        ("1e39", "-1", NumberError::Overflow),
        ("1e50", "1", NumberError::Overflow),
        ("1e50", "-1", NumberError::Overflow),
        ("9e125", "9e125", NumberError::Overflow),
        ("1e125", "1e-130", NumberError::Overflow),
        ("1.1e-130", "-1e-130", NumberError::Underflow),
    ];
    for (a, b, error) in refused {
        assert_eq!(number(a).checked_add(&number(b)), Err(error), "{a} + {b}");
    }
}

#[test]
fn integers_come_back_as_integers() {
    for value in [0, 1, -1, 10, 1_000_000, i64::MAX, i64::MIN] {
        assert_eq!(Number::from(value), number(&value.to_string()));
        assert_eq!(Number::from(value).to_i64(), Some(value));
    }
    for text in ["1.5", "9223372036854775808", "1e125", "1e-130"] {
        assert_eq!(number(text).to_i64(), None, "{text}");
    }
}

/// SplitMix64, so that a failing run can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A number near `exponent`, often of nines or with zeros inside, so that carries run far.
    fn number(&mut self, exponent: i64) -> Number {
        if self.below(30) == 0 {
            return Number::ZERO;
        }
        let count = 1 + self.below(38);
        let kind = self.below(3);
        let digits: String = (0..count)
            .map(|_| match kind {
                0 => '9',
                1 => ['0', '0', '1', '9'][self.below(4) as usize],
                _ => char::from(b'0' + self.below(10) as u8),
            })
            .collect();
        let sign = if self.below(2) == 0 { "-" } else { "" };
        let exponent = exponent + self.below(81) as i64 - 40;
        let text = format!("{sign}{digits}e{}", exponent.clamp(-130, 125 - count as i64 + 1));
        Number::parse(text.as_bytes()).unwrap_or(Number::ZERO)
    }
}

#[test]
fn random_pairs_keep_order_and_sums() {
    let mut random = Random(1);
    for round in 0..20_000 {
        let around = random.below(256) as i64 - 130;
        let (a, b) = (random.number(around), random.number(around));
        let (long_a, long_b) = (Long::of(&a.to_string()), Long::of(&b.to_string()));
        let context = || format!("round {round}: {a} and {b}");
        assert_eq!(a.cmp(&b), long_a.compare(&long_b), "{}", context());
        assert_eq!(sortable(&a).cmp(&sortable(&b)), a.cmp(&b), "{}", context());
        assert_eq!(a == b, sortable(&a) == sortable(&b), "{}", context());
        assert_eq!(Number::from_sortable(&sortable(&a)), Some(a), "{}", context());
        assert_eq!(number(&a.to_string()), a, "{}", context());
        let wanted = long_a.sum(&long_b).verdict();
        assert_eq!(a.checked_add(&b), wanted.map(|text| number(&text)), "{}", context());
        assert_eq!(a.checked_sub(&b.negated()), a.checked_add(&b), "{}", context());
    }
}
