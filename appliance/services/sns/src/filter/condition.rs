//! What a policy demands of one scalar: exact values and match expressions.
//! Invariant: a value of another type satisfies no condition but `exists` and `anything-but`. Time is linear in the scalar
//! for each condition, and the number of conditions is bounded by the policy's combinations.
//! Leaves to parse.rs: what may stand in a policy. To matching.rs: which scalars a key has.

use std::net::IpAddr;

use super::number::Number;

/// A scalar of a message.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scalar<'a> {
    /// A string.
    Text(&'a str),
    /// A number; None when it is out of range, so that it equals no number of a policy.
    Number(Option<Number>),
    True,
    False,
    Null,
}

/// The values of one key of a policy; one of them must match.
#[derive(Default)]
pub(super) struct Conditions {
    /// Sorted.
    pub(super) texts: Vec<Box<str>>,
    /// Sorted.
    pub(super) numbers: Vec<Number>,
    pub(super) has_true: bool,
    pub(super) has_false: bool,
    pub(super) has_null: bool,
    /// `{"exists": true}`: any scalar.
    pub(super) has_exists: bool,
    /// `{"exists": false}`: no scalar at all.
    pub(super) has_absent: bool,
    pub(super) patterns: Vec<Pattern>,
}

/// A match expression.
pub(super) enum Pattern {
    Prefix(Box<str>),
    Suffix(Box<str>),
    /// In lower case.
    EqualsIgnoreCase(Box<str>),
    /// Anything but these.
    AnythingBut(Conditions),
    AnythingButPrefix(Box<str>),
    AnythingButSuffix(Box<str>),
    Numeric {
        low: Option<Bound>,
        high: Option<Bound>,
    },
    Cidr(Network),
}

/// One end of a range of numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bound {
    pub(super) at: Number,
    pub(super) is_included: bool,
}

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) prefix_bits: u32,
}

impl Conditions {
    /// Puts the values into the order in which they are searched.
    pub(super) fn sort(&mut self) {
        self.texts.sort_unstable();
        self.numbers.sort_unstable();
    }

    /// Whether one of them matches a scalar that is there.
    pub(super) fn matches(&self, scalar: Scalar<'_>) -> bool {
        self.has_exists || self.has(scalar) || self.patterns.iter().any(|pattern| pattern.matches(scalar))
    }

    /// Whether the scalar is one of the exact values.
    fn has(&self, scalar: Scalar<'_>) -> bool {
        match scalar {
            Scalar::Text(text) => self.texts.binary_search_by(|value| (**value).cmp(text)).is_ok(),
            Scalar::Number(number) => {
                number.is_some_and(|number| self.numbers.binary_search(&number).is_ok())
            }
            Scalar::True => self.has_true,
            Scalar::False => self.has_false,
            Scalar::Null => self.has_null,
        }
    }
}

impl Pattern {
    fn matches(&self, scalar: Scalar<'_>) -> bool {
        let text = match scalar {
            Scalar::Text(text) => Some(text),
            Scalar::Number(_) | Scalar::True | Scalar::False | Scalar::Null => None,
        };
        match self {
            Pattern::Prefix(prefix) => text.is_some_and(|text| text.starts_with(&**prefix)),
            Pattern::Suffix(suffix) => text.is_some_and(|text| text.ends_with(&**suffix)),
            Pattern::EqualsIgnoreCase(lower) => {
                text.is_some_and(|text| text.chars().flat_map(char::to_lowercase).eq(lower.chars()))
            }
            Pattern::AnythingBut(values) => !values.has(scalar),
            Pattern::AnythingButPrefix(prefix) => !text.is_some_and(|text| text.starts_with(&**prefix)),
            Pattern::AnythingButSuffix(suffix) => !text.is_some_and(|text| text.ends_with(&**suffix)),
            Pattern::Numeric { low, high } => match scalar {
                Scalar::Number(Some(number)) => is_between(number, *low, *high),
                _ => false,
            },
            Pattern::Cidr(network) => {
                text.and_then(|text| text.parse().ok()).is_some_and(|address| network.contains(address))
            }
        }
    }
}

fn is_between(number: Number, low: Option<Bound>, high: Option<Bound>) -> bool {
    let above = low.is_none_or(|low| number > low.at || (low.is_included && number == low.at));
    above && high.is_none_or(|high| number < high.at || (high.is_included && number == high.at))
}

impl Network {
    /// Whether the address is of the same kind and begins with the same bits.
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = (ours.to_bits() ^ theirs.to_bits()).leading_zeros();
                differing >= self.prefix_bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = (ours.to_bits() ^ theirs.to_bits()).leading_zeros();
                differing >= self.prefix_bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
