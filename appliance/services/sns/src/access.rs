//! Who may do what with a topic: its policy, asked for each request.
//! Invariant: a policy that is stored was read when it was set; one that cannot be read any more allows nothing. What a
//! policy cannot name only the owner may do.
//! Leaves to aws::policy: the decision. To call.rs: asking.

use aws::account::{Account, AccountId};
use aws::policy::{
    self, Action, Cache, Context, Decision, DenyReason, Keys, NoKeys, Policy, PolicyError, PolicyType,
    Principal, RequestKeys, Resource, Rules,
};

use crate::model::limits::POLICY_BYTES_MAX;

/// What the policy of a topic may be.
pub const RULES: Rules = Rules {
    kind: PolicyType::Resource,
    service: Some("sns"),
    bytes_max: POLICY_BYTES_MAX,
    statement_count_max: STATEMENT_COUNT_MAX,
    action_count_max: ACTION_COUNT_MAX,
};

/// Statements of a policy.
const STATEMENT_COUNT_MAX: usize = 100;
/// Actions of a statement.
const ACTION_COUNT_MAX: usize = 100;

/// What a policy can open to others (AWS developer guide, Amazon SNS policy keys and actions).
const OPENED: [&str; 8] = [
    "sns:AddPermission",
    "sns:DeleteTopic",
    "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
    "sns:Publish",
    "sns:RemovePermission",
    "sns:SetTopicAttributes",
    "sns:Subscribe",
];
/// What the owner's root may do even if the policy denies it, so that it can mend the policy.
const REPAIRS: [&str; 2] = ["sns:GetTopicAttributes", "sns:SetTopicAttributes"];

/// Stands in for a stored policy that cannot be read.
const CLOSED: &str = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#;

thread_local! {
    // What it holds follows from the texts alone.
    static COMPILED: Cache = Cache::new(RULES);
}

/// Whether an action is one that a policy can open to those who sign nothing.
#[must_use]
pub fn can_be_opened(action: &str) -> bool {
    OPENED.contains(&action)
}

/// One question about a topic.
pub struct Asked<'a> {
    /// Who asks.
    pub caller: Option<&'a Account>,
    /// What.
    pub action: Action,
    /// The topic's ARN.
    pub arn: &'a str,
    /// Whose the topic is.
    pub owner: Option<AccountId>,
    /// Its policy, as it is stored.
    pub policy: Option<&'a str>,
    /// The keys of the request.
    pub keys: RequestKeys<'a>,
}

impl<'a> Asked<'a> {
    /// Whether it may be done. Errors: why not.
    pub fn decide(&self) -> Result<(), DenyReason> {
        match self.policy {
            None => self.with(None),
            Some(text) => COMPILED.with(|compiled| {
                let policy = compiled.policy(text).or_else(|_| compiled.policy(CLOSED));
                // The text above is a policy: a test reads it.
                policy.map_or(Err(DenyReason::OtherAccount), |policy| self.with(Some(&policy)))
            }),
        }
    }

    fn with(&self, policy: Option<&Policy>) -> Result<(), DenyReason> {
        let source_owner = self.caller.map(|caller| caller.id);
        let own = Own { source_owner, more: self.keys.service };
        let keys = RequestKeys { service: &own, ..self.keys };
        let context = Context {
            resource_policy: policy,
            repairs_policy: REPAIRS.contains(&self.action.0),
            keys: &keys,
            ..Context::default()
        };
        match policy::decide(&self.principal(), self.action, &self.resource(), &context) {
            Decision::Deny(reason) => Err(reason),
            Decision::Allow if !self.is_owner() && !can_be_opened(self.action.0) => Err(match self.caller {
                None => DenyReason::Anonymous,
                Some(_) => DenyReason::OtherAccount,
            }),
            Decision::Allow => Ok(()),
        }
    }

    fn is_owner(&self) -> bool {
        self.caller.is_some_and(|caller| self.owner.is_none_or(|owner| owner == caller.id))
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> Principal<'a> {
        self.caller.map_or(Principal::Anonymous, Principal::Account)
    }

    /// What is asked for, for the words of a denial.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        Resource { arn: self.arn, owner: self.owner }
    }
}

/// The keys of this service.
struct Own<'a> {
    /// `aws:SourceOwner`, which the default policy compares: whose the caller is.
    source_owner: Option<AccountId>,
    more: &'a dyn Keys,
}

impl Keys for Own<'_> {
    fn visit(&self, key: &str, each: &mut dyn FnMut(&str)) {
        match key {
            "aws:sourceowner" => {
                if let Some(owner) = &self.source_owner {
                    each(owner.as_str());
                }
            }
            _ => self.more.visit(key, each),
        }
    }
}

/// No keys beside those that every request has.
pub const NO_KEYS: &dyn Keys = &NoKeys;

/// Reads a policy that is to be set. Errors: what follows `Invalid parameter: `.
pub fn check(text: &str) -> Result<(), &'static str> {
    match Policy::parse(text, &RULES) {
        Ok(_) => Ok(()),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &PolicyError) -> &'static str {
    if error.is_out_of_scope() {
        "Policy statement action out of service scope!"
    } else if error.is_bad_principal() {
        "Policy Error: PrincipalNotFound"
    } else {
        "Policy Error: null"
    }
}

#[cfg(test)]
mod tests {
    use aws::Timestamp;
    use aws::policy::{Origin, Pairs};

    use super::*;
    use crate::wire::attributes::default_policy;

    const ONE: &str = "111111111111";
    const TWO: &str = "222222222222";
    const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:t";

    fn ask_with(
        who: &str,
        action: &'static str,
        policy: Option<&str>,
        keys: &dyn Keys,
    ) -> Result<(), DenyReason> {
        let account = AccountId::parse(who).map(|id| Account::new(id, who));
        let keys = RequestKeys {
            now: Timestamp(0),
            source_ip: "203.0.113.7".parse().ok(),
            is_secure: false,
            user_agent: None,
            referer: None,
            region: "us-east-1",
            service: keys,
        };
        let (action, owner) = (Action(action), AccountId::parse(ONE));
        Asked { caller: account.as_ref(), action, arn: TOPIC, owner, policy, keys }.decide()
    }

    fn ask(who: &str, action: &'static str, policy: Option<&str>) -> Result<(), DenyReason> {
        ask_with(who, action, policy, NO_KEYS)
    }

    fn statement(effect: &str, principal: &str, action: &str, condition: &str) -> String {
        format!(
            r#"{{"Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"{action}","Resource":"{TOPIC}","Condition":{condition}}}}}"#
        )
    }

    #[test]
    fn the_default_policy_means_the_same_as_none() {
        let default = default_policy(TOPIC, ONE);
        assert_eq!(check(&default), Ok(()));
        for policy in [None, Some(&*default)] {
            for action in ["sns:Publish", "sns:TagResource"] {
                assert_eq!(ask(ONE, action, policy), Ok(()));
                assert_eq!(ask(TWO, action, policy), Err(DenyReason::OtherAccount));
                assert_eq!(ask("", action, policy), Err(DenyReason::Anonymous));
            }
        }
    }

    #[test]
    fn a_policy_opens_what_it_can_name_and_no_more() {
        let all = statement("Allow", "\"*\"", "SNS:*", "{}");
        for action in OPENED {
            assert_eq!(ask(TWO, action, Some(&all)), Ok(()), "{action}");
            assert_eq!(ask("", action, Some(&all)), Ok(()), "{action}");
        }
        for action in ["sns:TagResource", "sns:PutDataProtectionPolicy"] {
            assert_eq!(ask(ONE, action, Some(&all)), Ok(()), "{action}");
            assert_eq!(ask(TWO, action, Some(&all)), Err(DenyReason::OtherAccount), "{action}");
            assert_eq!(ask("", action, Some(&all)), Err(DenyReason::Anonymous), "{action}");
        }
        let publish = statement("Allow", &format!(r#"{{"AWS":"{TWO}"}}"#), "sns:Publish", "{}");
        assert_eq!(ask(TWO, "sns:Publish", Some(&publish)), Ok(()));
        assert_eq!(ask(TWO, "sns:Subscribe", Some(&publish)), Err(DenyReason::OtherAccount));
    }

    #[test]
    fn a_subscription_is_decided_by_its_protocol_and_endpoint() {
        let queues = statement(
            "Allow",
            "\"*\"",
            "sns:Subscribe",
            r#"{"StringEquals":{"sns:Protocol":"sqs"},"StringLike":{"sns:Endpoint":"arn:aws:sqs:*:222222222222:*"}}"#,
        );
        let with = |protocol: &str, endpoint: &str| {
            let pairs = [("sns:Protocol", protocol), ("sns:Endpoint", endpoint)];
            ask_with(TWO, "sns:Subscribe", Some(&queues), &Pairs(&pairs)).is_ok()
        };
        assert!(with("sqs", "arn:aws:sqs:us-east-1:222222222222:q"));
        assert!(!with("sqs", "arn:aws:sqs:us-east-1:333333333333:q"));
        assert!(!with("https", "arn:aws:sqs:us-east-1:222222222222:q"));
    }

    #[test]
    fn a_deny_binds_the_owner_who_can_still_mend_the_policy() {
        let plain = statement("Deny", "\"*\"", "SNS:*", r#"{"Bool":{"aws:SecureTransport":"false"}}"#);
        let explicit = Err(DenyReason::Explicit(Origin::Resource));
        assert_eq!(ask(ONE, "sns:Publish", Some(&plain)), explicit);
        assert_eq!(ask(ONE, "sns:SetTopicAttributes", Some(&plain)), Ok(()));
        assert_eq!(ask(TWO, "sns:SetTopicAttributes", Some(&plain)), explicit);
    }

    #[test]
    fn a_policy_that_cannot_be_read_allows_nothing() {
        assert_eq!(check(CLOSED), Ok(()));
        let explicit = Err(DenyReason::Explicit(Origin::Resource));
        assert_eq!(ask(ONE, "sns:Publish", Some("{}")), explicit);
        assert_eq!(ask(TWO, "sns:Publish", Some("{}")), explicit);
        assert_eq!(ask(ONE, "sns:SetTopicAttributes", Some("{}")), Ok(()));
    }

    #[test]
    fn what_is_no_policy_is_refused_in_the_words_of_the_service() {
        let good = statement("Allow", "\"*\"", "SNS:Publish", "{}");
        assert_eq!(check(&good), Ok(()));
        for text in ["", "{}", "[]", &good.replace("Allow", "Maybe"), &good.replace("Effect", "effect")] {
            assert_eq!(check(text), Err("Policy Error: null"), "{text}");
        }
        assert_eq!(
            check(&good.replace("SNS:Publish", "sqs:SendMessage")),
            Err("Policy statement action out of service scope!")
        );
        assert_eq!(
            check(&good.replace("\"*\"", r#"{"AWS":"arn:aws:iam::1:root"}"#)),
            Err("Policy Error: PrincipalNotFound")
        );
    }
}
