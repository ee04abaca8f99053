//! `decide`: the one function that every operation passes before it runs.
//!
//! Invariant: what is not allowed is denied. This is the first form of the decision: the keys of an account
//! may do everything in their account and nothing elsewhere, and an access control list, which the service
//! evaluates and passes in the context, may open more. The policy language comes behind the same signature:
//! its inputs, principal, action, resource and condition keys, are already here.

use std::borrow::Cow;

use crate::account::{Account, AccountId};
use crate::arn;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Principal<'a> {
    /// Nobody: the request carried no signature.
    Anonymous,
    /// An account, by one of its own keys.
    Account(&'a Account),
}

/// What is asked, in the form `service:Name`, such as `s3:GetObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action(pub &'static str);

/// What it is asked of.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The full name, for the denial's text and for policies.
    pub arn: &'a str,
    /// Whose it is. `None` for what belongs to nobody yet, such as a bucket about to be made, or `*`: any
    /// account may ask that of itself.
    pub owner: Option<AccountId>,
}

/// What else bears on the decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Whether the resource's access control list grants this action to this principal.
    pub acl_grants: bool,
    /// Condition keys and values, such as `("aws:SecureTransport", "true")`.
    pub keys: &'a [(&'a str, &'a str)],
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
    /// The resource belongs to another account, which has not opened it.
    OtherAccount,
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
    _action: Action,
    resource: &Resource<'_>,
    context: &Context<'_>,
) -> Decision {
    if context.acl_grants {
        return Decision::Allow;
    }
    match principal {
        Principal::Anonymous => Decision::Deny(DenyReason::Anonymous),
        Principal::Account(account) => match resource.owner {
            Some(owner) if owner != account.id => Decision::Deny(DenyReason::OtherAccount),
            Some(_) | None => Decision::Allow,
        },
    }
}

/// The text that goes with a denial; names the caller, the action and the resource.
pub fn denial_text(
    principal: &Principal<'_>,
    action: Action,
    resource: &Resource<'_>,
    reason: DenyReason,
) -> Cow<'static, str> {
    let because = match reason {
        // S3 tells an unknown caller nothing.
        DenyReason::Anonymous => return Cow::Borrowed("Access Denied"),
        DenyReason::OtherAccount => "no resource-based policy allows the",
    };
    let caller = match principal {
        Principal::Anonymous => return Cow::Borrowed("Access Denied"),
        Principal::Account(account) => arn::account_root(account.id.as_str()),
    };
    let (action, resource) = (action.0, resource.arn);
    Cow::Owned(format!(
        "User: {caller} is not authorized to perform: {action} on resource: {resource} because {because} {action} action"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Action = Action("s3:GetObject");

    fn account(id: &str) -> Account {
        Account::new(AccountId::parse(id).unwrap(), id)
    }

    fn resource(owner: Option<&Account>) -> Resource<'static> {
        Resource { arn: "arn:aws:s3:::b/k", owner: owner.map(|account| account.id) }
    }

    #[test]
    fn an_account_may_do_everything_at_home_and_nothing_abroad() {
        let (one, two) = (account("111111111111"), account("222222222222"));
        let ask = |who: &Account, whose| {
            decide(&Principal::Account(who), GET, &resource(whose), &Context::default())
        };
        assert_eq!(ask(&one, Some(&one)), Decision::Allow);
        assert_eq!(ask(&one, Some(&two)), Decision::Deny(DenyReason::OtherAccount));
        assert_eq!(ask(&one, None), Decision::Allow);
    }

    #[test]
    fn an_anonymous_caller_gets_only_what_an_acl_grants() {
        let one = account("111111111111");
        let ask = |acl_grants, owner| {
            let context = Context { acl_grants, keys: &[] };
            decide(&Principal::Anonymous, GET, &resource(owner), &context)
        };
        assert_eq!(ask(false, Some(&one)), Decision::Deny(DenyReason::Anonymous));
        assert_eq!(ask(false, None), Decision::Deny(DenyReason::Anonymous));
        assert!(ask(true, Some(&one)).is_allowed());
    }

    #[test]
    fn a_denial_names_caller_action_and_resource_but_tells_a_stranger_nothing() {
        let one = account("111111111111");
        let text =
            denial_text(&Principal::Account(&one), GET, &resource(Some(&one)), DenyReason::OtherAccount);
        assert_eq!(
            text,
            "User: arn:aws:iam::111111111111:root is not authorized to perform: s3:GetObject on resource: \
             arn:aws:s3:::b/k because no resource-based policy allows the s3:GetObject action"
        );
        let text = denial_text(&Principal::Anonymous, GET, &resource(None), DenyReason::Anonymous);
        assert_eq!(text, "Access Denied");
    }
}
