//! Principals: who asks, and whom a policy names.
//!
//! Invariant: a name in a policy stands for a principal exactly or for the account or role that it belongs to; the only
//! wildcard is `*` alone. How strong the tie is decides what an Allow is worth.
//! Leaves to the identity service: to save users and roles as unique ids, so that a namesake inherits nothing.

use std::fmt;

use super::Policy;
use super::keys::Keys;
use crate::account::{Account, AccountId, CanonicalId};
use crate::arn::Arn;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Principal<'a> {
    /// Nobody: the request carried no signature.
    Anonymous,
    /// An account, by one of its own keys: its root.
    Account(&'a Account),
    /// A user, or a session of a role or user.
    Identity(&'a Identity<'a>),
    /// A service of ours that acts for somebody's resource, such as `sns.amazonaws.com`.
    Service(&'a str),
}

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// A user, by a key of its own or a session token of its own.
    User,
    /// A session of a role.
    AssumedRole,
    /// A federated user, whom a user vouches for.
    FederatedUser,
}

/// A user or a session, with the policies of its own account.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// The account that it belongs to.
    pub account: &'a Account,
    /// What it is.
    pub kind: IdentityKind,
    /// The ARN of the user, the session or the federated user.
    pub arn: &'a str,
    /// The ARN of the role or user behind a session.
    pub behind: Option<&'a str>,
    /// `AIDA…`, `AROA…:session`, `account:name`.
    pub unique_id: &'a str,
    /// `aws:username`, of users.
    pub user_name: Option<&'a str>,
    /// The identity's own, its groups' and its role's policies.
    pub policies: &'a [&'a Policy],
    /// The boundary, where there is one.
    pub boundary: Option<&'a Policy>,
    /// The session's policies, where it has any: one of them must allow.
    pub session: Option<&'a [&'a Policy]>,
    /// Keys of the identity: tags, times of sign-in.
    pub keys: &'a dyn Keys,
}

impl fmt::Debug for Identity<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("arn", &self.arn).finish_non_exhaustive()
    }
}

impl<'a> Principal<'a> {
    /// The account that the principal belongs to.
    #[must_use]
    pub fn account(&self) -> Option<&'a Account> {
        match self {
            Principal::Account(account) => Some(account),
            Principal::Identity(identity) => Some(identity.account),
            Principal::Anonymous | Principal::Service(_) => None,
        }
    }
}

/// Whom a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// `*`: everybody, services and strangers too.
    Everybody,
    /// An account by its number or its root's ARN.
    Account(AccountId),
    /// A user, role, session or federated user by its ARN.
    Arn(Box<str>),
    /// A user or role by its unique id.
    UniqueId(Box<str>),
    /// A service by its name.
    Service(Box<str>),
    /// An identity provider. Its principals arrive with the tokens of ZeroID.
    Federated,
    /// An account by S3's name.
    Canonical(CanonicalId),
}

/// How a name stands for a principal: the greater, the more an Allow is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tie {
    /// Not at all.
    None,
    /// It names the account: that one's own policies must allow too.
    Account,
    /// It names the role or user behind a session.
    Behind,
    /// It names the principal itself, or everybody.
    Direct,
}

/// What a `Principal` element holds names under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Aws,
    Service,
    Federated,
    CanonicalUser,
}

impl Family {
    pub(super) fn parse(name: &str) -> Option<Family> {
        match name {
            "AWS" => Some(Family::Aws),
            "Service" => Some(Family::Service),
            "Federated" => Some(Family::Federated),
            "CanonicalUser" => Some(Family::CanonicalUser),
            _ => None,
        }
    }
}

impl Named {
    /// Reads a name; `None` if it is none.
    pub(super) fn parse(family: Family, text: &str) -> Option<Named> {
        match family {
            Family::Aws if text == "*" => Some(Named::Everybody),
            _ if text.is_empty() || text.contains(['*', '?']) => None,
            Family::Aws => Named::aws(text),
            Family::Service => {
                let is_host = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
                (is_host && text.contains('.')).then(|| Named::Service(text.to_lowercase().into()))
            }
            Family::Federated => Some(Named::Federated),
            Family::CanonicalUser => CanonicalId::parse(text).map(Named::Canonical),
        }
    }

    fn aws(text: &str) -> Option<Named> {
        if let Some(account) = AccountId::parse(text) {
            return Some(Named::Account(account));
        }
        let is_id = text.starts_with("AIDA") || text.starts_with("AROA");
        if is_id && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
            return Some(Named::UniqueId(text.into()));
        }
        let arn = Arn::parse(text).filter(|arn| arn.region.is_empty())?;
        let account = AccountId::parse(arn.account)?;
        if arn.service == "iam" && arn.resource == "root" {
            return Some(Named::Account(account));
        }
        let (kind, name) = arn.resource.split_once('/')?;
        let is_known = match arn.service {
            "iam" => matches!(kind, "user" | "role"),
            "sts" => kind == "federated-user" || (kind == "assumed-role" && is_session(name)),
            _ => false,
        };
        (is_known && !name.is_empty()).then(|| Named::Arn(text.into()))
    }

    /// How the name stands for `principal`.
    pub(super) fn tie(&self, principal: &Principal<'_>) -> Tie {
        let tie = |is_tied: bool, tie: Tie| if is_tied { tie } else { Tie::None };
        match (self, principal) {
            (Named::Everybody, _) => Tie::Direct,
            (Named::Account(id), principal) => {
                tie(principal.account().is_some_and(|account| account.id == *id), Tie::Account)
            }
            (Named::Canonical(id), principal) => {
                tie(principal.account().is_some_and(|account| account.canonical_id == *id), Tie::Account)
            }
            (Named::Arn(arn), Principal::Identity(identity)) => match identity.behind {
                _ if **arn == *identity.arn => Tie::Direct,
                Some(behind) if **arn == *behind => Tie::Behind,
                _ => Tie::None,
            },
            (Named::UniqueId(id), Principal::Identity(identity)) => {
                // A session's id is the role's with its own name behind it.
                let of_role = identity.unique_id.split_once(':').map_or("", |(role, _)| role);
                let is_behind = identity.kind == IdentityKind::AssumedRole && **id == *of_role;
                if **id == *identity.unique_id { Tie::Direct } else { tie(is_behind, Tie::Behind) }
            }
            (Named::Service(name), Principal::Service(service)) => {
                tie(name.eq_ignore_ascii_case(service), Tie::Direct)
            }
            (
                Named::Arn(_) | Named::UniqueId(_) | Named::Service(_) | Named::Federated,
                Principal::Anonymous | Principal::Account(_) | Principal::Identity(_) | Principal::Service(_),
            ) => Tie::None,
        }
    }
}

fn is_session(name: &str) -> bool {
    name.split_once('/').is_some_and(|(role, session)| !role.is_empty() && !session.is_empty())
}

/// The `Principal` or `NotPrincipal` of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// Neither: the policy belongs to an identity and means that one.
    Absent,
    /// The statement is about these.
    These(Box<[Named]>),
    /// The statement is about all but these.
    AllBut(Box<[Named]>),
}

impl Clause {
    /// How the statement is about `principal`.
    pub(super) fn tie(&self, principal: &Principal<'_>) -> Tie {
        match self {
            Clause::Absent => Tie::Direct,
            Clause::These(names) => names.iter().map(|name| name.tie(principal)).max().unwrap_or(Tie::None),
            Clause::AllBut(names) if is_exempt(names, principal) => Tie::None,
            Clause::AllBut(_) => Tie::Direct,
        }
    }
}

/// Whether a `NotPrincipal` spares a principal: it has to name it, and the account and the role that it belongs to.
fn is_exempt(names: &[Named], principal: &Principal<'_>) -> bool {
    let is_named = |tie: Tie| names.iter().any(|name| name.tie(principal) == tie);
    if is_named(Tie::Direct) && names.contains(&Named::Everybody) {
        return true;
    }
    match principal {
        Principal::Anonymous => false,
        Principal::Service(_) => is_named(Tie::Direct),
        Principal::Account(_) => is_named(Tie::Account),
        Principal::Identity(identity) => {
            is_named(Tie::Account)
                && is_named(Tie::Direct)
                && (identity.behind.is_none() || is_named(Tie::Behind))
        }
    }
}
