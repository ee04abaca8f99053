//! Filter policies decided the slow and plain way, straight from the JSON trees of another reader, to hold the compiled
//! ones against.
//! Invariant: it shares no code with the others of this directory.
//! Leaves to them: limits, and refusing what is no policy.

use serde_json::{Map, Value};

/// Whether a policy that has been accepted wants a message with this body.
pub(crate) fn wants(policy: &Value, body: &Value) -> bool {
    match (policy, body) {
        (Value::Object(policy), _) if policy.is_empty() => true,
        (Value::Object(policy), Value::Object(body)) => holds(policy, Some(body)),
        _ => false,
    }
}

/// Whether every number in a tree is far enough from the middle between two units that rounding a binary number does what
/// rounding a decimal one does.
pub(crate) fn has_plain_numbers(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| {
            let rest = (number * 100_000.0).fract().abs();
            number.abs() > 1.1e9 || (number.abs() < 9.9e8 && !(0.4..=0.6).contains(&rest))
        }),
        Value::Array(list) => list.iter().all(has_plain_numbers),
        Value::Object(map) => map.values().all(has_plain_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn holds(policy: &Map<String, Value>, object: Option<&Map<String, Value>>) -> bool {
    policy.iter().all(|(name, rule)| match branches(name, rule) {
        Some(branches) => branches.iter().any(|branch| holds(branch, object)),
        None => rule_holds(rule, object.and_then(|object| object.get(name))),
    })
}

fn branches<'v>(name: &str, rule: &'v Value) -> Option<Vec<&'v Map<String, Value>>> {
    let words =
        ["numeric", "prefix", "suffix", "anything-but", "exists", "cidr", "equals-ignore-case", "wildcard"];
    let branches: Vec<_> = rule.as_array()?.iter().map(Value::as_object).collect::<Option<_>>()?;
    let plain = branches.iter().all(|branch| words.iter().all(|word| !branch.contains_key(*word)));
    (name == "$or" && branches.len() >= 2 && plain).then_some(branches)
}

fn rule_holds(rule: &Value, value: Option<&Value>) -> bool {
    let flat = value.map(flat).unwrap_or_default();
    match rule {
        Value::Object(inner) => {
            let objects: Vec<_> = flat.iter().filter_map(|value| value.as_object()).collect();
            match objects.is_empty() {
                true => holds(inner, None),
                false => objects.iter().any(|object| holds(inner, Some(object))),
            }
        }
        Value::Array(conditions) => {
            let scalars: Vec<_> = flat.into_iter().filter(|value| !value.is_object()).collect();
            match scalars.is_empty() {
                true => conditions.iter().any(|condition| condition["exists"] == Value::Bool(false)),
                false => scalars.iter().any(|scalar| conditions.iter().any(|one| matches(one, scalar))),
            }
        }
        _ => false,
    }
}

fn flat(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().flat_map(flat).collect(),
        other => vec![other],
    }
}

fn units(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.abs() <= 1e9)?;
    Some((number * 100_000.0).round() as i64)
}

fn equals(policy: &Value, scalar: &Value) -> bool {
    match (policy, scalar) {
        (Value::Number(_), Value::Number(_)) => units(policy).is_some() && units(policy) == units(scalar),
        _ => policy == scalar,
    }
}

fn matches(condition: &Value, scalar: &Value) -> bool {
    let Some((operator, operand)) = condition.as_object().and_then(|map| map.iter().next()) else {
        return equals(condition, scalar);
    };
    let both = operand.as_str().zip(scalar.as_str());
    match operator.as_str() {
        "exists" => *operand == Value::Bool(true),
        "prefix" => both.is_some_and(|(prefix, text)| text.starts_with(prefix)),
        "suffix" => both.is_some_and(|(suffix, text)| text.ends_with(suffix)),
        "equals-ignore-case" => both.is_some_and(|(one, other)| lower(one) == lower(other)),
        "anything-but" => match operand {
            Value::Object(_) => !matches(operand, scalar),
            Value::Array(list) => !list.iter().any(|one| equals(one, scalar)),
            one => !equals(one, scalar),
        },
        "numeric" => {
            let Some(number) = scalar.is_number().then(|| units(scalar)).flatten() else { return false };
            operand.as_array().is_some_and(|terms| {
                terms.chunks(2).all(|term| {
                    let bound = units(&term[1]).expect("accepted policies have numbers in range");
                    match term[0].as_str() {
                        Some("=") => number == bound,
                        Some("<") => number < bound,
                        Some("<=") => number <= bound,
                        Some(">") => number > bound,
                        Some(">=") => number >= bound,
                        _ => false,
                    }
                })
            })
        }
        "cidr" => both.is_some_and(|(range, text)| in_range(range, text)),
        _ => false,
    }
}

fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn bits(address: std::net::IpAddr) -> Vec<bool> {
    let bytes = match address {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

fn in_range(range: &str, text: &str) -> bool {
    let Some((network, length)) = range.split_once('/') else { return false };
    let (Ok(network), Ok(address), Ok(length)) = (network.parse(), text.parse(), length.parse::<usize>())
    else {
        return false;
    };
    let (network, address) = (bits(network), bits(address));
    network.len() == address.len() && network[..length] == address[..length]
}
