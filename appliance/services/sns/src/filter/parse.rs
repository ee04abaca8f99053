//! Policies as JSON to compiled ones: limits, structure, match expressions, and AWS's words for what is wrong.
//! Invariant: a `Node` comes only from a policy within all limits; its depth is at most `COMBINATIONS_MAX`, since values at
//! depth n count n times.
//! Leaves to condition.rs: what an expression means.

use super::condition::{Bound, Conditions, Network, Pattern};
use super::number::{Number, NumberError};
use super::tape::{Kind, Place, Tape};
use super::{COMBINATIONS_MAX, FilterError, KEYS_MAX, POLICY_BYTES_MAX, Scope};

/// An object of a policy: everything in it must hold.
#[derive(Default)]
pub(super) struct Node {
    /// By name, each once.
    pub(super) keys: Vec<(Box<str>, Rule)>,
    /// For each `$or`: one of these must hold.
    pub(super) alternatives: Vec<Vec<Node>>,
    /// How many of the keys do not hold where nothing is.
    pub(super) required_count: usize,
    /// Whether all of it holds where nothing is.
    pub(super) holds_for_nothing: bool,
}

/// What a key demands.
pub(super) enum Rule {
    /// One of these values.
    Values(Conditions),
    /// An object in which all of this holds.
    Nested(Node),
}

/// A `$or` is one only if none of its objects has one of these for a key.
const RESERVED: [&str; 8] =
    ["anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"];

impl Node {
    /// Whether it demands nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.alternatives.is_empty()
    }

    fn finish(mut self) -> Node {
        // Of a name that comes twice the last one counts, which the stable sort keeps behind the others.
        self.keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.keys.reverse();
        self.keys.dedup_by(|(later, _), (kept, _)| later == kept);
        self.keys.reverse();
        let required = self.keys.iter().filter(|(_, rule)| !rule.holds_for_nothing());
        self.required_count = required.count();
        let mut alternatives = self.alternatives.iter();
        let any = |branches: &Vec<Node>| branches.iter().any(|branch| branch.holds_for_nothing);
        self.holds_for_nothing = self.required_count == 0 && alternatives.all(any);
        self
    }
}

impl Rule {
    pub(super) fn holds_for_nothing(&self) -> bool {
        match self {
            Rule::Values(conditions) => conditions.has_absent,
            Rule::Nested(node) => node.holds_for_nothing,
        }
    }
}

/// Compiles a policy.
pub(super) fn policy(text: &str, scope: Scope) -> Result<Node, FilterError> {
    if text.len() > POLICY_BYTES_MAX {
        return refuse("Filter policy is too large");
    }
    let Some(tape) = Tape::read(text) else { return refuse("failed to parse JSON.") };
    if tape.kind(ROOT) != Kind::Object {
        return refuse("Filter is not an object");
    }
    if tape.members(ROOT).count() > KEYS_MAX {
        return refuse("Filter policy can not have more than 5 keys");
    }
    let counting = Counting { tape: &tape, scope };
    if counting.combinations(ROOT, 1, 1)? > COMBINATIONS_MAX {
        return refuse("Filter policy is too complex");
    }
    node(&tape, ROOT)
}

const ROOT: Place = 0;

fn refuse<T>(reason: impl AsRef<str>) -> Result<T, FilterError> {
    Err(FilterError { text: format!("FilterPolicy: {}", reason.as_ref()) })
}

/// The structure of a policy and its combinations, before any expression is looked at.
struct Counting<'a> {
    tape: &'a Tape<'a>,
    scope: Scope,
}

impl Counting<'_> {
    /// `combinations` so far, times what the object at `place` comes to: the lengths of its lists, each times its depth;
    /// branches of a `$or` are added up. It recurses as deep as the JSON goes, which `aws::json` bounds.
    fn combinations(&self, place: Place, depth: u64, combinations: u64) -> Result<u64, FilterError> {
        if depth > 1 && self.scope == Scope::MessageAttributes {
            let text = "Filter policy scope MessageAttributes does not support nested filter policy";
            return Err(FilterError { text: text.to_owned() });
        }
        let mut product = combinations;
        for (name, value) in self.tape.members(place) {
            product = match self.tape.kind(value) {
                Kind::Object if self.tape.behind(value) == value + 1 => {
                    return refuse("Empty objects are not allowed");
                }
                Kind::Object => self.combinations(value, depth + 1, product)?,
                Kind::Array if is_alternative(self.tape, name, value) => {
                    let mut sum = 0_u64;
                    for branch in self.tape.elements(value) {
                        if self.tape.behind(branch) == branch + 1 {
                            return refuse("Empty objects are not allowed");
                        }
                        sum = sum.saturating_add(self.combinations(branch, depth, product)?);
                    }
                    sum
                }
                Kind::Array => match self.tape.elements(value).count() as u64 {
                    0 => return refuse("Empty arrays are not allowed"),
                    count => product.saturating_mul(count).saturating_mul(depth),
                },
                _ => return refuse(format!("\"{name}\" must be an object or an array")),
            };
        }
        Ok(product)
    }
}

/// Whether a member is the operator `$or` and no key of that name: at least two objects, none with a reserved word for a key.
fn is_alternative(tape: &Tape<'_>, name: &str, list: Place) -> bool {
    let is_branch = |place: Place| {
        tape.kind(place) == Kind::Object && !tape.members(place).any(|(name, _)| RESERVED.contains(&name))
    };
    name == "$or" && tape.elements(list).count() >= 2 && tape.elements(list).all(is_branch)
}

fn node(tape: &Tape<'_>, place: Place) -> Result<Node, FilterError> {
    let mut made = Node::default();
    for (name, value) in tape.members(place) {
        if tape.kind(value) == Kind::Object {
            made.keys.push((name.into(), Rule::Nested(node(tape, value)?)));
        } else if is_alternative(tape, name, value) {
            let branches = tape.elements(value).map(|branch| node(tape, branch));
            made.alternatives.push(branches.collect::<Result<_, _>>()?);
        } else {
            made.keys.push((name.into(), Rule::Values(conditions(tape, value)?)));
        }
    }
    Ok(made.finish())
}

fn conditions(tape: &Tape<'_>, list: Place) -> Result<Conditions, FilterError> {
    let mut made = Conditions::default();
    for value in tape.elements(list) {
        match tape.kind(value) {
            Kind::Object => expression(tape, value, &mut made)?,
            Kind::Array => return refuse("Match value must be String, number, true, false, or null"),
            _ => exact(tape, value, &mut made)?,
        }
    }
    made.sort();
    Ok(made)
}

/// Adds an exact value.
fn exact(tape: &Tape<'_>, value: Place, to: &mut Conditions) -> Result<(), FilterError> {
    match tape.kind(value) {
        Kind::Text | Kind::Unescaped => to.texts.push(tape.text(value).into()),
        Kind::Number => to.numbers.push(number(tape.text(value))?),
        Kind::True => to.has_true = true,
        Kind::False => to.has_false = true,
        Kind::Null => to.has_null = true,
        Kind::Object | Kind::Array => {
            return refuse("Match value must be String, number, true, false, or null");
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<Number, FilterError> {
    match Number::parse(text) {
        Ok(number) => Ok(number),
        Err(NumberError::Syntax | NumberError::Range) => {
            refuse("Value must be between -1.0E9 and 1.0E9, inclusive")
        }
    }
}

/// The one member of a match expression.
fn only_member<'t>(tape: &'t Tape<'_>, object: Place) -> Result<(&'t str, Place), FilterError> {
    let mut members = tape.members(object);
    match (members.next(), members.next()) {
        (Some(member), None) => Ok(member),
        (None, _) => refuse("Empty objects are not allowed"),
        (Some(_), Some(_)) => refuse("Only one key allowed in match expression"),
    }
}

fn expression(tape: &Tape<'_>, object: Place, to: &mut Conditions) -> Result<(), FilterError> {
    let (operator, value) = only_member(tape, object)?;
    to.patterns.push(match operator {
        "exists" => {
            match tape.kind(value) {
                Kind::True => to.has_exists = true,
                Kind::False => to.has_absent = true,
                _ => return refuse("exists match pattern must be either true or false."),
            }
            return Ok(());
        }
        "prefix" => Pattern::Prefix(pattern_text(tape, operator, value)?.into()),
        "suffix" => Pattern::Suffix(pattern_text(tape, operator, value)?.into()),
        "equals-ignore-case" => {
            let text = pattern_text(tape, operator, value)?;
            Pattern::EqualsIgnoreCase(text.chars().flat_map(char::to_lowercase).collect::<String>().into())
        }
        "anything-but" => anything_but(tape, value)?,
        "numeric" => numeric(tape, value)?,
        "cidr" => Pattern::Cidr(network(pattern_text(tape, "prefix", value)?)?),
        other => return refuse(format!("Unrecognized match type {other}")),
    });
    Ok(())
}

fn pattern_text<'t>(tape: &'t Tape<'_>, operator: &str, value: Place) -> Result<&'t str, FilterError> {
    if tape.is_string(value) {
        return Ok(tape.text(value));
    }
    refuse(format!("{operator} match pattern must be a string"))
}

fn anything_but(tape: &Tape<'_>, value: Place) -> Result<Pattern, FilterError> {
    let mut values = Conditions::default();
    match tape.kind(value) {
        Kind::Object => {
            let (operator, pattern) = only_member(tape, value)?;
            return match operator {
                "prefix" => Ok(Pattern::AnythingButPrefix(pattern_text(tape, operator, pattern)?.into())),
                "suffix" => Ok(Pattern::AnythingButSuffix(pattern_text(tape, operator, pattern)?.into())),
                other => refuse(format!("Unsupported anything-but pattern: {other}")),
            };
        }
        Kind::Array => {
            if tape.elements(value).next().is_none() {
                return refuse("Empty arrays are not allowed");
            }
            for element in tape.elements(value) {
                match tape.kind(element) {
                    Kind::Text | Kind::Unescaped | Kind::Number => exact(tape, element, &mut values)?,
                    _ => return refuse("Inside anything but list, start|null|boolean is not supported."),
                }
            }
        }
        Kind::Text | Kind::Unescaped | Kind::Number => exact(tape, value, &mut values)?,
        Kind::True | Kind::False | Kind::Null => {
            return refuse("Value of anything-but must be an array or single string/number value.");
        }
    }
    values.sort();
    Ok(Pattern::AnythingBut(values))
}

/// `["=", n]`, one bound, or a lower bound and then an upper one.
fn numeric(tape: &Tape<'_>, list: Place) -> Result<Pattern, FilterError> {
    if tape.kind(list) != Kind::Array {
        return refuse("Value of numeric must be an array.");
    }
    let mut members = tape.elements(list);
    let operator = match members.next() {
        Some(place) if tape.is_string(place) => tape.text(place),
        Some(place) => return refuse(format!("Invalid member in numeric match: {}", tape.text(place))),
        None => return refuse("Invalid member in numeric match: ]"),
    };
    let Some(first) = side(operator) else {
        return refuse(format!("Unrecognized numeric range operator: {operator}"));
    };
    let first_at = operand(tape, operator, members.next())?;
    let (low, high) = first.bounds(first_at);
    let Some(second) = members.next() else { return Ok(Pattern::Numeric { low, high }) };
    if !matches!(first, Side::Low { .. }) {
        return refuse("Too many elements in numeric expression");
    }
    if !tape.is_string(second) {
        return refuse(format!("Bad value in numeric range: {}", tape.text(second)));
    }
    let operator = tape.text(second);
    let Some(second @ Side::High { .. }) = side(operator) else {
        return refuse(format!("Bad numeric range operator: {operator}"));
    };
    let second_at = operand(tape, operator, members.next())?;
    if second_at <= first_at {
        return refuse("Bottom must be less than top");
    }
    if members.next().is_some() {
        return refuse("Too many terms in numeric range expression");
    }
    Ok(Pattern::Numeric { low, high: second.bounds(second_at).1 })
}

/// Which end of a range an operator sets.
#[derive(Clone, Copy)]
enum Side {
    Both,
    Low { is_included: bool },
    High { is_included: bool },
}

impl Side {
    fn bounds(self, at: Number) -> (Option<Bound>, Option<Bound>) {
        let bound = |is_included| Some(Bound { at, is_included });
        match self {
            Side::Both => (bound(true), bound(true)),
            Side::Low { is_included } => (bound(is_included), None),
            Side::High { is_included } => (None, bound(is_included)),
        }
    }
}

fn side(operator: &str) -> Option<Side> {
    Some(match operator {
        "=" => Side::Both,
        ">" => Side::Low { is_included: false },
        ">=" => Side::Low { is_included: true },
        "<" => Side::High { is_included: false },
        "<=" => Side::High { is_included: true },
        _ => return None,
    })
}

fn operand(tape: &Tape<'_>, operator: &str, place: Option<Place>) -> Result<Number, FilterError> {
    match place {
        Some(place) if tape.kind(place) == Kind::Number => number(tape.text(place)),
        _ => {
            let name = if operator == "=" { "equals" } else { operator };
            refuse(format!("Value of {name} must be numeric"))
        }
    }
}

fn network(text: &str) -> Result<Network, FilterError> {
    let Some((address_text, bits)) = text.split_once('/').filter(|(_, bits)| !bits.contains('/')) else {
        return refuse("Malformed CIDR, one '/' required");
    };
    let Ok(bits) = bits.parse::<i64>() else {
        return refuse("Malformed CIDR, mask bits must be an integer");
    };
    let Ok(prefix_bits) = u32::try_from(bits) else {
        return refuse("Malformed CIDR, mask bits must not be negative");
    };
    let Ok(address) = address_text.parse::<std::net::IpAddr>() else {
        return refuse(format!("Nonstandard IP address: {address_text}"));
    };
    match address {
        std::net::IpAddr::V4(_) if prefix_bits > 32 => refuse("IPv4 mask bits must be < 32"),
        std::net::IpAddr::V6(_) if prefix_bits > 128 => refuse("IPv6 mask bits must be < 128"),
        _ => Ok(Network { address, prefix_bits }),
    }
}
