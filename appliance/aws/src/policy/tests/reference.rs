//! A second evaluator, written straight from the rules: slow, without compiled forms, sharing no code with the first.
//!
//! A policy is a tree of texts here, which is also written as the JSON that the first one reads.

use std::fmt::Write as _;

/// A statement; principals as (family, name) pairs.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) allow: bool,
    pub(super) principals: Option<(bool, Vec<(&'static str, String)>)>,
    pub(super) actions: (bool, Vec<String>),
    pub(super) resources: (bool, Vec<String>),
    pub(super) conditions: Vec<(String, String, Vec<String>)>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Nobody,
    Root(String),
    Service(String),
    /// Account, own ARN, ARN behind it.
    Identity(String, String, Option<String>),
}

/// A request with all that bears on it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) who: Who,
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) owner: Option<String>,
    pub(super) mends: bool,
    pub(super) keys: Vec<(String, String)>,
    pub(super) of_resource: Option<Vec<Statement>>,
    pub(super) own: Vec<Vec<Statement>>,
    pub(super) boundary: Option<Vec<Statement>>,
    pub(super) session: Option<Vec<Vec<Statement>>>,
}

pub(super) fn json(statements: &[Statement]) -> String {
    let list = |values: &[String]| {
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        format!("[{}]", quoted.join(","))
    };
    let mut out = String::from(r#"{"Version":"2012-10-17","Statement":["#);
    for (number, statement) in statements.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        let effect = if statement.allow { "Allow" } else { "Deny" };
        write!(out, r#"{comma}{{"Effect":"{effect}""#).unwrap();
        if let Some((not, names)) = &statement.principals {
            let mut families = Vec::new();
            for family in ["AWS", "Service"] {
                let of: Vec<String> = names
                    .iter()
                    .filter(|(known, _)| *known == family)
                    .map(|(_, name)| name.clone())
                    .collect();
                if !of.is_empty() {
                    families.push(format!(r#""{family}":{}"#, list(&of)));
                }
            }
            write!(out, r#","{}Principal":{{{}}}"#, if *not { "Not" } else { "" }, families.join(","))
                .unwrap();
        }
        for (name, (not, values)) in [("Action", &statement.actions), ("Resource", &statement.resources)] {
            write!(out, r#","{}{name}":{}"#, if *not { "Not" } else { "" }, list(values)).unwrap();
        }
        let blocks: Vec<String> = statement
            .conditions
            .iter()
            .map(|(operator, key, values)| format!(r#""{operator}":{{"{key}":{}}}"#, list(values)))
            .collect();
        write!(out, r#","Condition":{{{}}}}}"#, blocks.join(",")).unwrap();
    }
    out.push_str("]}");
    out
}

/// The words for the decision: "allow" or why not.
pub(super) fn decide(case: &Case) -> &'static str {
    // How strong an allow of the resource's policy is: 0 none, 1 account, 2 behind, 3 direct.
    let asked = |policy: &[Statement]| {
        let (mut deny, mut allow) = (false, 0);
        for statement in policy {
            let strength = strength(case, statement);
            if strength > 0 && applies(case, statement) {
                if statement.allow {
                    allow = allow.max(strength);
                } else {
                    deny = true;
                }
            }
        }
        (deny, allow)
    };
    let (resource_deny, resource_allow) = case.of_resource.as_deref().map_or((false, 0), asked);
    match &case.who {
        Who::Nobody | Who::Service(_) if resource_deny => "resource deny",
        Who::Nobody | Who::Service(_) if resource_allow == 3 => "allow",
        Who::Nobody => "anonymous",
        Who::Service(_) => "service",
        Who::Root(account) => {
            let home = case.owner.as_ref().is_none_or(|owner| owner == account);
            if resource_deny && !(home && case.mends) {
                "resource deny"
            } else if home || resource_allow > 0 {
                "allow"
            } else {
                "other account"
            }
        }
        Who::Identity(account, ..) => {
            let home = case.owner.as_ref().is_none_or(|owner| owner == account);
            let any = |policies: &[Vec<Statement>]| {
                let all: Vec<_> = policies.iter().map(|policy| asked(policy)).collect();
                (all.iter().any(|one| one.0), all.iter().any(|one| one.1 > 0))
            };
            let own = any(&case.own);
            let boundary = case.boundary.as_deref().map_or((false, true), |policy| any(&[policy.to_vec()]));
            let session = case.session.as_deref().map_or((false, true), any);
            if own.0 {
                "identity deny"
            } else if resource_deny {
                "resource deny"
            } else if boundary.0 {
                "boundary deny"
            } else if session.0 {
                "session deny"
            } else if home && resource_allow == 3 {
                "allow"
            } else if !(own.1 || home && resource_allow == 2) {
                "identity"
            } else if !boundary.1 {
                "boundary"
            } else if !session.1 {
                "session"
            } else if !home && resource_allow == 0 {
                "other account"
            } else {
                "allow"
            }
        }
    }
}

fn strength(case: &Case, statement: &Statement) -> u8 {
    let Some((not, names)) = &statement.principals else { return 3 };
    let of = |family: &str, name: &str| -> u8 {
        let account_named =
            |account: &String| name == account || *name == format!("arn:aws:iam::{account}:root");
        if family == "AWS" && name == "*" {
            return 3;
        }
        match &case.who {
            Who::Nobody => 0,
            Who::Root(account) => u8::from(family == "AWS" && account_named(account)),
            Who::Service(service) => 3 * u8::from(family == "Service" && name == service),
            Who::Identity(account, arn, behind) => match family {
                "AWS" if name == arn => 3,
                "AWS" if behind.as_deref() == Some(name) => 2,
                "AWS" if account_named(account) => 1,
                _ => 0,
            },
        }
    };
    let strengths: Vec<u8> = names.iter().map(|(family, name)| of(family, name)).collect();
    if !not {
        return strengths.into_iter().max().unwrap_or(0);
    }
    let star = names.iter().any(|(family, name)| *family == "AWS" && name == "*");
    let needed: &[u8] = match &case.who {
        Who::Nobody => &[9],
        Who::Root(_) => &[1],
        Who::Service(_) => &[3],
        Who::Identity(_, _, None) => &[1, 3],
        Who::Identity(_, _, Some(_)) => &[1, 2, 3],
    };
    if star || needed.iter().all(|one| strengths.contains(one)) { 0 } else { 3 }
}

fn applies(case: &Case, statement: &Statement) -> bool {
    let action = case.action.to_lowercase();
    let (not, patterns) = &statement.actions;
    let named =
        patterns.iter().any(|pattern| glob(&tokens(&pattern.to_lowercase(), case, true).unwrap(), &action));
    if named == *not {
        return false;
    }
    let (not, patterns) = &statement.resources;
    let found: Vec<Option<bool>> =
        patterns.iter().map(|pattern| arn(pattern, &case.resource, case)).collect();
    let fits = if *not { found.iter().all(|one| *one == Some(false)) } else { found.contains(&Some(true)) };
    fits && statement.conditions.iter().all(|(operator, key, values)| condition(case, operator, key, values))
}

fn values_of(case: &Case, key: &str) -> Vec<String> {
    case.keys
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value.clone())
        .collect()
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Letter(char),
    Any,
    One,
}

/// None: a variable has no value.
fn tokens(pattern: &str, case: &Case, wildcards: bool) -> Option<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix("${") {
            let (key, behind) = inside.split_once('}').unwrap();
            rest = behind;
            let (key, default) = match key.split_once(", ") {
                Some((key, default)) => (key, Some(default.trim_matches('\'').to_owned())),
                None => (key, None),
            };
            let text = match values_of(case, key).as_slice() {
                _ if ["*", "?", "$"].contains(&key) => key.to_owned(),
                [one] => one.clone(),
                _ => default?,
            };
            out.extend(text.chars().map(Token::Letter));
            continue;
        }
        out.push(match letter {
            '*' if wildcards => Token::Any,
            '?' if wildcards => Token::One,
            letter => Token::Letter(letter),
        });
        rest = &rest[letter.len_utf8()..];
    }
    Some(out)
}

fn glob(pattern: &[Token], text: &str) -> bool {
    let next = text.chars().next();
    let behind = next.map_or("", |letter| &text[letter.len_utf8()..]);
    match (pattern.first(), next) {
        (None, next) => next.is_none(),
        (Some(Token::Any), next) => glob(&pattern[1..], text) || (next.is_some() && glob(pattern, behind)),
        (Some(Token::One), Some(_)) => glob(&pattern[1..], behind),
        (Some(Token::Letter(one)), Some(other)) => *one == other && glob(&pattern[1..], behind),
        (Some(_), None) => false,
    }
}

/// None: a variable has no value in an ARN whose other parts fit.
fn arn(pattern: &str, text: &str, case: &Case) -> Option<bool> {
    if pattern == "*" {
        return Some(true);
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    if parts.len() < 6 {
        return Some(false);
    }
    // Keys hold a colon: cut outside of braces only.
    let mut patterns = vec![String::new()];
    let mut inside = false;
    for letter in pattern.chars() {
        inside = (inside || letter == '{') && letter != '}';
        if letter == ':' && !inside && patterns.len() < 6 {
            patterns.push(String::new());
        } else {
            patterns.last_mut().unwrap().push(letter);
        }
    }
    let fits: Vec<Option<bool>> = patterns
        .iter()
        .zip(parts)
        .map(|(pattern, part)| tokens(pattern, case, true).map(|tokens| glob(&tokens, part)))
        .collect();
    if fits.contains(&Some(false)) {
        Some(false)
    } else if fits.contains(&None) {
        None
    } else {
        Some(true)
    }
}

fn condition(case: &Case, operator: &str, key: &str, values: &[String]) -> bool {
    let present = values_of(case, key);
    let (all, rest) = match operator.strip_prefix("ForAllValues:") {
        Some(rest) => (true, rest),
        None => (false, operator),
    };
    let (any, rest) = match rest.strip_prefix("ForAnyValue:") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest == "Null" {
        return values.iter().any(|value| (value == "true") == present.is_empty());
    }
    let base = rest.trim_end_matches("IfExists");
    let negated = base.contains("Not");
    if present.is_empty() {
        return base != rest || all || (negated && !any);
    }
    let meets = |value: &String| {
        let found: Vec<Option<bool>> =
            values.iter().map(|wanted| compare(case, base, value, wanted)).collect();
        if negated { found.iter().all(|one| *one == Some(false)) } else { found.contains(&Some(true)) }
    };
    if all || (negated && !any) { present.iter().all(meets) } else { present.iter().any(meets) }
}

/// Whether the positive form of an operator is true; None: unknown.
fn compare(case: &Case, base: &str, value: &str, wanted: &str) -> Option<bool> {
    let base = base.replace("Not", "");
    let numbers = || Some((value.parse::<f64>().ok()?, wanted.parse::<f64>().ok()?));
    let dates = || Some((seconds(value)?, seconds(wanted)?));
    let ordered = |order: Option<std::cmp::Ordering>, name: &str| {
        order.is_some_and(|order| match name {
            "Equals" => order.is_eq(),
            "LessThan" => order.is_lt(),
            "LessThanEquals" => order.is_le(),
            "GreaterThan" => order.is_gt(),
            _ => order.is_ge(),
        })
    };
    match &*base {
        "StringEquals" => tokens(wanted, case, false).map(|tokens| glob(&tokens, value)),
        "StringLike" => tokens(wanted, case, true).map(|tokens| glob(&tokens, value)),
        "StringEqualsIgnoreCase" => {
            let lowered = |token| match token {
                Token::Letter(letter) => Token::Letter(letter.to_ascii_lowercase()),
                other => other,
            };
            let tokens: Vec<Token> = tokens(wanted, case, false)?.into_iter().map(lowered).collect();
            Some(glob(&tokens, &value.to_lowercase()))
        }
        "ArnEquals" | "ArnLike" => arn(wanted, value, case),
        "Bool" => Some(["true", "false"].contains(&value) && value == wanted),
        "BinaryEquals" => Some(value == wanted),
        "IpAddress" => Some(in_network(value, wanted)),
        name if name.starts_with("Numeric") => {
            Some(ordered(numbers().and_then(|(a, b)| a.partial_cmp(&b)), &name[7..]))
        }
        name if name.starts_with("Date") => Some(ordered(dates().map(|(a, b)| a.cmp(&b)), &name[4..])),
        name => panic!("no operator {name}"),
    }
}

/// Of days of January 1970, or numbers.
fn seconds(text: &str) -> Option<u64> {
    match text.strip_prefix("1970-01-") {
        Some(day) => day.trim_end_matches("T00:00:00Z").parse::<u64>().ok().map(|day| (day - 1) * 86_400),
        None => text.parse().ok(),
    }
}

/// IPv4 only.
fn in_network(value: &str, network: &str) -> bool {
    let bits = |text: &str| {
        let bytes: Vec<u32> = text.split('.').map_while(|byte| byte.parse().ok()).collect();
        (bytes.len() == 4).then(|| bytes.iter().map(|byte| format!("{byte:08b}")).collect::<String>())
    };
    let (address, length) = network.split_once('/').unwrap_or((network, "32"));
    let length: usize = length.parse().unwrap();
    match (bits(value), bits(address)) {
        (Some(value), Some(address)) => value[..length] == address[..length],
        _ => false,
    }
}
