//! Conditions: one operator, one key, the values that it is compared with.
//!
//! Invariant: a value of the request that is not of the operator's type matches nothing, so a positive operator is false
//! for it and a negated one true. A value of the policy that is not of the type is refused when the policy is read.
//! A variable without a value makes the operator false, negated or not, unless another value matches by itself.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::keys::Keys;
use super::pattern::{ArnPattern, Match, Pattern, Syntax, arn_parts};
use crate::encoding::unbase64;
use crate::time::Timestamp;

/// One operator on one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    /// In lower case.
    key: Box<str>,
    operator: Operator,
    test: Test,
}

/// An operator with its prefix and suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    kind: Kind,
    is_negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
}

/// How the values of a key that has several count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    /// Any of them; of a negated operator all.
    Plain,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text { wildcards: bool },
    TextAnyCase,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// Which outcome of a comparison, the request's value first, is a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The values of the policy in the operator's type.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Text(Box<[Pattern]>),
    TextAnyCase(Box<[Pattern]>),
    Number(Order, Box<[Decimal]>),
    Date(Order, Box<[Timestamp]>),
    Bool(Box<[bool]>),
    Binary(Box<[Box<[u8]>]>),
    Address(Box<[Network]>),
    Arn(Box<[ArnPattern]>),
    Null(Box<[bool]>),
}

/// A value that is not of its operator's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadValue;

/// Each operator without prefix and suffix, and whether it is negated.
const OPERATORS: [(&str, Kind, bool); 27] = [
    ("StringEquals", Kind::Text { wildcards: false }, false),
    ("StringNotEquals", Kind::Text { wildcards: false }, true),
    ("StringEqualsIgnoreCase", Kind::TextAnyCase, false),
    ("StringNotEqualsIgnoreCase", Kind::TextAnyCase, true),
    ("StringLike", Kind::Text { wildcards: true }, false),
    ("StringNotLike", Kind::Text { wildcards: true }, true),
    ("NumericEquals", Kind::Number(Order::Equal), false),
    ("NumericNotEquals", Kind::Number(Order::Equal), true),
    ("NumericLessThan", Kind::Number(Order::Less), false),
    ("NumericLessThanEquals", Kind::Number(Order::LessOrEqual), false),
    ("NumericGreaterThan", Kind::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Kind::Number(Order::GreaterOrEqual), false),
    ("DateEquals", Kind::Date(Order::Equal), false),
    ("DateNotEquals", Kind::Date(Order::Equal), true),
    ("DateLessThan", Kind::Date(Order::Less), false),
    ("DateLessThanEquals", Kind::Date(Order::LessOrEqual), false),
    ("DateGreaterThan", Kind::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Kind::Date(Order::GreaterOrEqual), false),
    ("Bool", Kind::Bool, false),
    ("BinaryEquals", Kind::Binary, false),
    ("IpAddress", Kind::Address, false),
    ("NotIpAddress", Kind::Address, true),
    ("ArnEquals", Kind::Arn, false),
    ("ArnLike", Kind::Arn, false),
    ("ArnNotEquals", Kind::Arn, true),
    ("ArnNotLike", Kind::Arn, true),
    ("Null", Kind::Null, false),
];

impl Operator {
    /// The operator of this name; `None` if there is none. `Null` asks for the key's absence itself and takes neither
    /// prefix nor suffix.
    pub(super) fn parse(name: &str) -> Option<Operator> {
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::Plain, name),
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => return None,
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let &(_, kind, is_negated) = OPERATORS.iter().find(|(name, ..)| *name == base)?;
        if kind == Kind::Null && (if_exists || quantifier != Quantifier::Plain) {
            return None;
        }
        Some(Operator { kind, is_negated, if_exists, quantifier })
    }
}

impl Condition {
    /// Makes a condition. `variables`: whether the policy's version has them.
    pub(super) fn new(
        operator: Operator,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Condition, BadValue> {
        let key = key.to_lowercase().into();
        Ok(Condition { key, operator, test: Test::new(operator.kind, values, variables)? })
    }

    /// Whether the request meets it.
    pub(super) fn holds(&self, keys: &dyn Keys) -> bool {
        let Operator { is_negated, if_exists, quantifier, .. } = self.operator;
        let (mut count, mut met_count) = (0_usize, 0_usize);
        keys.visit(&self.key, &mut |value| {
            count += 1;
            let is_met = match self.test.any(value, keys) {
                Match::Yes => !is_negated,
                Match::No => is_negated,
                Match::Unknown => false,
            };
            met_count += usize::from(is_met);
        });
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&(count == 0));
        }
        if count == 0 {
            return if_exists
                || match quantifier {
                    Quantifier::Plain => is_negated,
                    Quantifier::ForAllValues => true,
                    Quantifier::ForAnyValue => false,
                };
        }
        match quantifier {
            Quantifier::ForAllValues => met_count == count,
            Quantifier::Plain if is_negated => met_count == count,
            Quantifier::Plain | Quantifier::ForAnyValue => met_count > 0,
        }
    }
}

impl Test {
    fn new(kind: Kind, values: &[String], variables: bool) -> Result<Test, BadValue> {
        fn each<T>(values: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Box<[T]>, BadValue> {
            values.iter().map(|value| read(value).ok_or(BadValue)).collect()
        }
        let text = |wildcards| {
            let syntax = Syntax { wildcards, variables };
            each(values, |value| Pattern::parse(value, syntax).ok())
        };
        Ok(match kind {
            Kind::Text { wildcards } => Test::Text(text(wildcards)?),
            Kind::TextAnyCase => Test::TextAnyCase(text(false)?),
            Kind::Number(order) => Test::Number(order, each(values, Decimal::parse)?),
            Kind::Date(order) => Test::Date(order, each(values, date)?),
            Kind::Bool => Test::Bool(each(values, boolean)?),
            Kind::Binary => {
                Test::Binary(each(values, |value| unbase64(value.as_bytes()).map(Vec::into_boxed_slice))?)
            }
            Kind::Address => Test::Address(each(values, Network::parse)?),
            Kind::Arn => Test::Arn(each(values, |value| ArnPattern::parse(value, variables).ok())?),
            Kind::Null => Test::Null(each(values, boolean)?),
        })
    }

    /// Whether a value of the request matches any of the policy's.
    fn any(&self, value: &str, keys: &dyn Keys) -> Match {
        fn best<T>(values: &[T], matches: impl Fn(&T) -> Match) -> Match {
            let mut best = Match::No;
            for value in values {
                match matches(value) {
                    Match::Yes => return Match::Yes,
                    Match::Unknown => best = Match::Unknown,
                    Match::No => {}
                }
            }
            best
        }
        fn equal<T, U>(values: &[T], value: Option<U>, is_match: impl Fn(&U, &T) -> bool) -> Match {
            value.is_some_and(|value| values.iter().any(|known| is_match(&value, known))).into()
        }
        match self {
            Test::Text(patterns) => best(patterns, |pattern| pattern.matches(value, keys)),
            Test::TextAnyCase(patterns) => best(patterns, |pattern| pattern.matches_any_case(value, keys)),
            Test::Number(order, numbers) => {
                equal(numbers, Decimal::parse(value), |a, b| order.admits(a.cmp(b)))
            }
            Test::Date(order, dates) => equal(dates, date(value), |a, b| order.admits(a.cmp(b))),
            Test::Bool(wanted) => equal(wanted, boolean(value), |a, b| a == b),
            Test::Binary(known) => equal(known, unbase64(value.as_bytes()), |a, b| **a == **b),
            Test::Address(networks) => {
                equal(networks, value.parse::<IpAddr>().ok(), |address, network| network.holds(*address))
            }
            Test::Arn(patterns) => {
                let parts = arn_parts(value);
                best(patterns, |pattern| pattern.matches(parts.as_ref(), keys))
            }
            // Only whether there is a value counts.
            Test::Null(_) => Match::No,
        }
    }
}

impl Order {
    fn admits(self, found: Ordering) -> bool {
        match self {
            Order::Equal => found.is_eq(),
            Order::Less => found.is_lt(),
            Order::LessOrEqual => found.is_le(),
            Order::Greater => found.is_gt(),
            Order::GreaterOrEqual => found.is_ge(),
        }
    }
}

/// A decimal number in units of 10^-18, exact: up to 20 digits before the point and 18 behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decimal(i128);

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (is_negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = digits.strip_suffix('.').is_none() && !whole.is_empty();
        let whole = whole.trim_start_matches('0');
        let fits = whole.len() <= 20 && fraction.len() <= 18;
        if !(is_whole && fits && is_number(whole) && is_number(fraction)) {
            return None;
        }
        let units = format!("{whole}{fraction:0<18}").parse::<i128>().ok()?;
        Some(Decimal(if is_negative { -units } else { units }))
    }
}

/// ISO 8601, or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    if !text.is_empty() && text.len() <= EPOCH_DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Timestamp::from_seconds);
    }
    Timestamp::parse_iso8601(text.as_bytes())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Addresses with the same leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many leading bits count.
    prefix_bits: u32,
}

impl Network {
    /// Reads an address, or an address with `/` and a number of bits. IPv4 in IPv6 clothes counts as IPv4.
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let address_bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => address_bits,
            Some(prefix) if prefix.len() <= 3 && prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().ok().filter(|bits| *bits <= address_bits)?
            }
            Some(_) => return None,
        };
        let canonical = address.to_canonical();
        if canonical.is_ipv4() && address_bits == 128 {
            // A shorter prefix than that of the mapped addresses means IPv6 as it stands.
            return match u32::checked_sub(prefix_bits, 96) {
                Some(prefix_bits) => Some(Network { address: canonical, prefix_bits }),
                None => Some(Network { address, prefix_bits }),
            };
        }
        Some(Network { address, prefix_bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

/// Seconds up to the year 5138.
const EPOCH_DIGITS_MAX: usize = 11;
