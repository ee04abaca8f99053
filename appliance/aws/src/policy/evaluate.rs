//! The decision over all policies that bear on a request.
//!
//! Invariant: an explicit deny of any policy comes before every allow; nothing is allowed that no policy or right of the
//! account allows; and a stranger or a service has only what the resource's own policy gives.
//!
//! | who | at home | in another account |
//! |---|---|---|
//! | root of an account | all but what the resource policy denies; repairing that policy always | what the resource policy allows |
//! | user or session | direct allow of the resource policy, or identity policies (a role's allow of the resource policy counts as one) within boundary and session policies | identity policies within boundary and session policies, and the resource policy |
//! | nobody, a service | - | what the resource policy allows |

use super::compile::{Listing, Statement};
use super::keys::Keys;
use super::pattern::{ArnParts, Match, arn_parts};
use super::principal::{Identity, IdentityKind, Principal, Tie};
use super::{Action, Context, Decision, DenyReason, Origin, Policy, Resource};
use crate::arn;

/// One question to a policy.
struct Ask<'a> {
    principal: &'a Principal<'a>,
    /// In lower case.
    action: &'a str,
    /// The parts of the resource's ARN; none for `*`.
    resource: Option<ArnParts<'a>>,
    keys: &'a dyn Keys,
}

/// What one policy says.
#[derive(Clone, Copy)]
struct Outcome {
    is_denied: bool,
    /// The strongest tie of a statement that allows.
    allowed: Tie,
}

impl Outcome {
    const SILENT: Outcome = Outcome { is_denied: false, allowed: Tie::None };
}

/// See [`super::decide`].
pub(super) fn decide(
    principal: &Principal<'_>,
    action: Action,
    resource: &Resource<'_>,
    context: &Context<'_>,
) -> Decision {
    let facts = Facts { principal, resource, keys: context.keys };
    let mut space = [0; SHORT_ACTION_BYTES];
    let long;
    let action = match lower(action.0, &mut space) {
        Some(action) => action,
        None => {
            long = action.0.to_ascii_lowercase();
            &long
        }
    };
    let ask = Ask { principal, action, resource: arn_parts(resource.arn), keys: &facts };
    let mut of_resource = context.resource_policy.map_or(Outcome::SILENT, |policy| policy.outcome(&ask));
    let is_home = |account| resource.owner.is_none_or(|owner| owner == account);
    let denied = Decision::Deny(DenyReason::Explicit(Origin::Resource));
    match principal {
        Principal::Anonymous | Principal::Service(_) => {
            if of_resource.is_denied {
                return denied;
            }
            match (context.acl_grants || of_resource.allowed == Tie::Direct, principal) {
                (true, _) => Decision::Allow,
                (false, Principal::Anonymous) => Decision::Deny(DenyReason::Anonymous),
                (false, _) => Decision::Deny(DenyReason::Service),
            }
        }
        Principal::Account(account) => {
            let is_home = is_home(account.id);
            if of_resource.is_denied && !(is_home && context.repairs_policy) {
                return denied;
            }
            if is_home || context.acl_grants || of_resource.allowed > Tie::None {
                return Decision::Allow;
            }
            Decision::Deny(DenyReason::OtherAccount)
        }
        Principal::Identity(identity) => {
            if context.acl_grants {
                of_resource.allowed = of_resource.allowed.max(Tie::Account);
            }
            decide_identity(identity, of_resource, is_home(identity.account.id), &ask)
        }
    }
}

fn decide_identity(identity: &Identity<'_>, of_resource: Outcome, is_home: bool, ask: &Ask<'_>) -> Decision {
    let own = together(identity.policies, ask);
    // What is not there sets no bound.
    let unbounded = Outcome { allowed: Tie::Direct, ..Outcome::SILENT };
    let boundary = identity.boundary.map_or(unbounded, |policy| policy.outcome(ask));
    let session = identity.session.map_or(unbounded, |policies| together(policies, ask));
    let denies = [
        (own, Origin::Identity),
        (of_resource, Origin::Resource),
        (boundary, Origin::Boundary),
        (session, Origin::Session),
    ];
    if let Some((_, origin)) = denies.iter().find(|(outcome, _)| outcome.is_denied) {
        return Decision::Deny(DenyReason::Explicit(*origin));
    }
    if is_home && of_resource.allowed == Tie::Direct {
        return Decision::Allow;
    }
    let allows = |outcome: Outcome| outcome.allowed > Tie::None;
    let is_lent = is_home && of_resource.allowed == Tie::Behind;
    if !allows(own) && !is_lent {
        return Decision::Deny(DenyReason::NoIdentityPolicy);
    }
    if !allows(boundary) {
        return Decision::Deny(DenyReason::NoBoundary);
    }
    if !allows(session) {
        return Decision::Deny(DenyReason::NoSessionPolicy);
    }
    if !is_home && !allows(of_resource) {
        return Decision::Deny(DenyReason::OtherAccount);
    }
    Decision::Allow
}

fn together(policies: &[&Policy], ask: &Ask<'_>) -> Outcome {
    let mut all = Outcome::SILENT;
    for policy in policies {
        let one = policy.outcome(ask);
        all.is_denied |= one.is_denied;
        all.allowed = all.allowed.max(one.allowed);
    }
    all
}

impl Policy {
    fn outcome(&self, ask: &Ask<'_>) -> Outcome {
        let mut outcome = Outcome::SILENT;
        for statement in &self.statements {
            // A statement that could add nothing is not asked.
            if statement.is_allow && outcome.allowed == Tie::Direct {
                continue;
            }
            match (statement.tie(ask), statement.is_allow) {
                (Tie::None, _) => {}
                (tie, true) => outcome.allowed = outcome.allowed.max(tie),
                (_, false) => return Outcome { is_denied: true, ..outcome },
            }
        }
        outcome
    }
}

impl Statement {
    /// How the statement is about the request: not at all, unless every element fits.
    fn tie(&self, ask: &Ask<'_>) -> Tie {
        let names_action = self.actions.holds(|pattern| pattern.matches(ask.action, ask.keys));
        if !names_action {
            return Tie::None;
        }
        let tie = self.principals.tie(ask.principal);
        if tie == Tie::None {
            return tie;
        }
        let names_resource = self.resources.as_ref().is_none_or(|resources| {
            resources.holds(|pattern| pattern.matches(ask.resource.as_ref(), ask.keys))
        });
        if names_resource && self.conditions.iter().all(|condition| condition.holds(ask.keys)) {
            return tie;
        }
        Tie::None
    }
}

impl<T> Listing<T> {
    /// Whether one of the patterns fits, or, of the `Not` form, none. A variable without a value fits neither.
    fn holds(&self, matches: impl Fn(&T) -> Match) -> bool {
        let mut best = Match::No;
        for pattern in &self.patterns {
            match matches(pattern) {
                Match::Yes => return !self.is_not,
                Match::Unknown => best = Match::Unknown,
                Match::No => {}
            }
        }
        best == Match::No && self.is_not
    }
}

/// The keys that follow from who asks for what, and behind them those of the request.
struct Facts<'a> {
    principal: &'a Principal<'a>,
    resource: &'a Resource<'a>,
    keys: &'a dyn Keys,
}

impl Keys for Facts<'_> {
    fn visit(&self, key: &str, each: &mut dyn FnMut(&str)) {
        let account = self.principal.account().map(|account| &account.id);
        // None of these is left to the request: it could claim to be somebody.
        match key {
            "aws:principalarn" => match self.principal {
                Principal::Account(account) => each(&arn::account_root(account.id.as_str())),
                // The role itself counts, whatever the session is called.
                Principal::Identity(Identity {
                    kind: IdentityKind::AssumedRole, behind: Some(role), ..
                }) => each(role),
                Principal::Identity(identity) => each(identity.arn),
                Principal::Anonymous | Principal::Service(_) => {}
            },
            "aws:principalaccount" => match (account, self.principal) {
                (Some(account), _) => each(account.as_str()),
                (None, Principal::Anonymous) => each("anonymous"),
                (None, _) => {}
            },
            "aws:principaltype" => match self.principal {
                Principal::Anonymous => each("Anonymous"),
                Principal::Account(_) => each("Account"),
                Principal::Identity(identity) => each(match identity.kind {
                    IdentityKind::User => "User",
                    IdentityKind::AssumedRole => "AssumedRole",
                    IdentityKind::FederatedUser => "FederatedUser",
                }),
                Principal::Service(_) => {}
            },
            "aws:principalisawsservice" => {
                each(if matches!(self.principal, Principal::Service(_)) { "true" } else { "false" });
            }
            "aws:principalservicename" => {
                if let Principal::Service(name) = self.principal {
                    each(name);
                }
            }
            "aws:userid" => match self.principal {
                Principal::Anonymous => each("anonymous"),
                Principal::Account(account) => each(account.id.as_str()),
                Principal::Identity(identity) => each(identity.unique_id),
                Principal::Service(_) => {}
            },
            "aws:username" => {
                if let Principal::Identity(Identity { user_name: Some(name), .. }) = self.principal {
                    each(name);
                }
            }
            "aws:resourceaccount" => {
                if let Some(owner) = &self.resource.owner {
                    each(owner.as_str());
                }
            }
            _ if is_of_identity(key) => {
                if let Principal::Identity(identity) = self.principal {
                    identity.keys.visit(key, each);
                }
            }
            _ => self.keys.visit(key, each),
        }
    }
}

/// Keys that only an identity has.
fn is_of_identity(key: &str) -> bool {
    const NAMES: [&str; 5] = [
        "aws:federatedprovider",
        "aws:multifactorauthage",
        "aws:multifactorauthpresent",
        "aws:sourceidentity",
        "aws:tokenissuetime",
    ];
    NAMES.contains(&key) || key.starts_with("aws:principaltag/")
}

/// `text` in lower case within `space`, if it fits.
fn lower<'s>(text: &str, space: &'s mut [u8]) -> Option<&'s str> {
    let space = space.get_mut(..text.len())?;
    space.copy_from_slice(text.as_bytes());
    space.make_ascii_lowercase();
    std::str::from_utf8(space).ok()
}

/// Longer names of actions are lowered on the heap.
const SHORT_ACTION_BYTES: usize = 64;
