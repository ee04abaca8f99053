//! Statements: from texts to patterns and conditions.
//!
//! Invariant: a compiled statement has an Effect, actions, and exactly the elements that policies of its kind have.

use std::ops::Range;

use super::condition::Condition;
use super::document::{Listed, PolicyType, Raw, Rules};
use super::flaw::{Flaw, quoted};
use super::pattern::{ArnPattern, BadArn, Pattern, Syntax};
use super::principal::{Clause, Named};

/// A statement that is ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) sid: Option<Box<str>>,
    pub(super) is_allow: bool,
    pub(super) principals: Clause,
    /// Patterns of actions in lower case.
    pub(super) actions: Listing<Pattern>,
    pub(super) resources: Option<Listing<ArnPattern>>,
    pub(super) conditions: Box<[Condition]>,
    /// Where it stands in the document.
    pub(super) span: Range<usize>,
}

/// An element or its `Not` form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listing<T> {
    pub(super) is_not: bool,
    pub(super) patterns: Box<[T]>,
}

type Refused = (&'static str, Flaw);

/// Makes a statement ready. `variables`: whether the policy's version has them.
pub(super) fn statement(raw: Raw, rules: &Rules, variables: bool) -> Result<Statement, Refused> {
    let is_allow = match raw.effect.as_deref() {
        Some("Allow") => true,
        Some("Deny") => false,
        Some(_) => return Err(("Effect", Flaw::BadEffect)),
        None => return Err(("Effect", Flaw::Missing)),
    };
    let principals = principals(raw.principals, rules.kind, is_allow)?;
    let actions = actions(raw.actions.ok_or(("Action", Flaw::Missing))?, rules)?;
    let resources = match (raw.resources, rules.kind) {
        (Some(_), PolicyType::Trust) => return Err(("Resource", Flaw::Prohibited)),
        (None, PolicyType::Trust) => None,
        (None, PolicyType::Identity | PolicyType::Resource) => return Err(("Resource", Flaw::Missing)),
        (Some(listed), _) => Some(resources(&listed, variables)?),
    };
    let mut conditions = Vec::new();
    for raw in raw.conditions.unwrap_or_default() {
        let condition = Condition::new(raw.operator, &raw.key, &raw.values, variables);
        conditions.push(condition.map_err(|_| ("Condition", Flaw::BadValue(quoted(&raw.key))))?);
    }
    Ok(Statement {
        sid: raw.sid.map(Into::into),
        is_allow,
        principals,
        actions,
        resources,
        conditions: conditions.into(),
        span: raw.span,
    })
}

fn principals(
    listed: Option<Listed<Vec<Named>>>,
    kind: PolicyType,
    is_allow: bool,
) -> Result<Clause, Refused> {
    match (listed, kind) {
        (None, PolicyType::Identity) => Ok(Clause::Absent),
        (Some(_), PolicyType::Identity) => Err(("Principal", Flaw::Prohibited)),
        (None, PolicyType::Resource | PolicyType::Trust) => Err(("Principal", Flaw::Missing)),
        (Some(Listed { is_not: false, values }), _) => Ok(Clause::These(values.into())),
        // It would open the resource to everybody but these, strangers included.
        (Some(Listed { is_not: true, .. }), _) if is_allow => Err(("NotPrincipal", Flaw::Prohibited)),
        (Some(Listed { is_not: true, values }), _) => Ok(Clause::AllBut(values.into())),
    }
}

fn actions(listed: Listed<Vec<String>>, rules: &Rules) -> Result<Listing<Pattern>, Refused> {
    let syntax = Syntax { wildcards: true, variables: false };
    let mut patterns = Vec::new();
    for text in &listed.values {
        let refused = || ("Action", Flaw::BadVendor(quoted(text)));
        if text != "*" {
            let (vendor, name) = text.split_once(':').ok_or_else(refused)?;
            let is_vendor = match rules.service {
                Some(service) => vendor.eq_ignore_ascii_case(service),
                None => {
                    !vendor.is_empty()
                        && vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                }
            };
            let is_name = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'?' | b'-' | b'_'));
            if !is_vendor || name.is_empty() || !is_name {
                return Err(refused());
            }
        }
        let pattern = Pattern::parse(&text.to_ascii_lowercase(), syntax);
        patterns.push(pattern.map_err(|_| refused())?);
    }
    Ok(Listing { is_not: listed.is_not, patterns: patterns.into() })
}

fn resources(listed: &Listed<Vec<String>>, variables: bool) -> Result<Listing<ArnPattern>, Refused> {
    let read = |text: &String| {
        ArnPattern::parse(text, variables).map_err(|bad| match bad {
            BadArn::Form => ("Resource", Flaw::BadArn(quoted(text))),
            BadArn::Variable => ("Resource", Flaw::BadVariable(quoted(text))),
        })
    };
    let patterns = listed.values.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Listing { is_not: listed.is_not, patterns })
}
