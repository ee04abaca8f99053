//! The policy language, and `decide`: the one function that every operation passes before it runs.
//!
//! Invariant: what is not allowed is denied, and a deny that fits comes before every allow. Policies are parsed when
//! they are written; what decides are compiled, immutable values without I/O.
//! Until the identity service is built, an account's own keys are its root: they may do everything in their account and
//! elsewhere what the resource's policy, or its access control list, opens.
//!
//! | file | holds |
//! |---|---|
//! | document.rs, compile.rs, flaw.rs | from JSON to a [`Policy`], and why not |
//! | pattern.rs | wildcards, variables, ARNs |
//! | condition.rs | the operators |
//! | principal.rs | who asks, and whom a policy names |
//! | keys.rs | condition keys, given when they are asked for |
//! | evaluate.rs | the decision |
//! | edit.rs | adding and removing a statement of a document |
//! | cache.rs | compiled policies by their text |

mod cache;
mod compile;
mod condition;
mod document;
mod edit;
mod evaluate;
mod flaw;
mod keys;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::account::AccountId;
use crate::arn;

pub use cache::Cache;
pub use document::{PolicyType, Rules};
pub use edit::{EditError, NewStatement, add_statement, remove_statement};
pub use flaw::{Flaw, PolicyError};
pub use keys::{Keys, NoKeys, Pairs, RequestKeys, ServiceKeys};
pub use principal::{Identity, IdentityKind, Principal};

/// A policy that is ready to be asked. See [`Policy::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    id: Option<Box<str>>,
    statements: Box<[compile::Statement]>,
    /// Where the value of `Statement` stands in the document.
    span: Range<usize>,
}

impl Policy {
    /// The policy's `Id`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The Sids of its statements that have one.
    pub fn sids(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().filter_map(|statement| statement.sid.as_deref())
    }
}

/// What is asked, in the form `service:Name`, such as `s3:GetObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action(pub &'static str);

/// What it is asked of.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The full name, for the denial's text and for policies; `*` where an operation has no resource.
    pub arn: &'a str,
    /// Whose it is. `None` for what belongs to nobody yet, such as a bucket about to be made, or `*`: any
    /// account may ask that of itself.
    pub owner: Option<AccountId>,
}

/// What else bears on the decision.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Whether the resource's access control list grants this action to this principal.
    pub acl_grants: bool,
    /// The policy of the resource.
    pub resource_policy: Option<&'a Policy>,
    /// Whether the action reads or writes that policy, or removes it: the owner's root may do so whatever the policy
    /// denies, so that nobody locks himself out.
    pub repairs_policy: bool,
    /// Condition keys of the request.
    pub keys: &'a dyn Keys,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Context { acl_grants: false, resource_policy: None, repairs_policy: false, keys: &NoKeys }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may run.
    Allow,
    /// It may not.
    Deny(DenyReason),
}

/// Why not; the words of the denial follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The request is anonymous and nothing opens the resource to everyone.
    Anonymous,
    /// The caller is a service and the resource's policy does not allow it.
    Service,
    /// The resource belongs to another account, which has not opened it.
    OtherAccount,
    /// No policy of the identity allows it.
    NoIdentityPolicy,
    /// The identity's boundary does not allow it.
    NoBoundary,
    /// No policy of the session allows it.
    NoSessionPolicy,
    /// A statement denies it.
    Explicit(Origin),
}

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Attached to the identity, its groups or its role.
    Identity,
    /// Attached to the resource.
    Resource,
    /// The boundary of the identity.
    Boundary,
    /// Given with the session.
    Session,
}

impl Decision {
    /// Whether the operation may run.
    pub fn is_allowed(self) -> bool {
        self == Decision::Allow
    }
}

/// Decides one action on one resource.
pub fn decide(
    principal: &Principal<'_>,
    action: Action,
    resource: &Resource<'_>,
    context: &Context<'_>,
) -> Decision {
    evaluate::decide(principal, action, resource, context)
}

/// The text that goes with a denial; names the caller, the action and the resource. SQS writes actions in lower case, SNS
/// its own name in capitals.
pub fn denial_text(
    principal: &Principal<'_>,
    action: Action,
    resource: &Resource<'_>,
    reason: DenyReason,
) -> Cow<'static, str> {
    let caller = match principal {
        // An unknown caller is told nothing.
        Principal::Anonymous => return Cow::Borrowed("Access Denied"),
        Principal::Account(account) => arn::account_root(account.id.as_str()),
        Principal::Identity(identity) => identity.arn.to_owned(),
        Principal::Service(name) => (*name).to_owned(),
    };
    let (action, resource) = (spelling(action.0), resource.arn);
    let because = match reason {
        DenyReason::Anonymous => return Cow::Borrowed("Access Denied"),
        DenyReason::OtherAccount | DenyReason::Service => "no resource-based policy allows",
        DenyReason::NoIdentityPolicy => "no identity-based policy allows",
        DenyReason::NoBoundary => "no permissions boundary allows",
        DenyReason::NoSessionPolicy => "no session policy allows",
        DenyReason::Explicit(origin) => {
            let origin = match origin {
                Origin::Identity => "an identity-based policy",
                Origin::Resource => "a resource-based policy",
                Origin::Boundary => "a permissions boundary",
                Origin::Session => "a session policy",
            };
            return Cow::Owned(format!(
                "User: {caller} is not authorized to perform: {action} on resource: {resource} with an explicit deny in {origin}"
            ));
        }
    };
    Cow::Owned(format!(
        "User: {caller} is not authorized to perform: {action} on resource: {resource} because {because} the {action} action"
    ))
}

/// How a service writes an action in its denials.
fn spelling(action: &'static str) -> Cow<'static, str> {
    match action.split_once(':') {
        Some(("sqs", _)) => Cow::Owned(action.to_ascii_lowercase()),
        Some(("sns", name)) => Cow::Owned(format!("SNS:{name}")),
        _ => Cow::Borrowed(action),
    }
}
