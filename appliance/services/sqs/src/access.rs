//! Who may do what with a queue: its policy, asked for each request and for each delivery of a topic.
//! Invariant: a policy that is stored was read when it was set; one that cannot be read any more allows nothing. What only
//! the owner may do no policy gives to others.
//! Leaves to aws::policy: the decision. To call.rs and the receiver of deliveries: asking.

use aws::Timestamp;
use aws::account::AccountId;
use aws::policy::{
    self, Action, Cache, Context, Decision, DenyReason, Keys, Policy, PolicyError, PolicyType, Principal,
    Resource, Rules, ServiceKeys,
};

use crate::model::document::{ACTIONS_MAX, POLICY_BYTES_MAX, STATEMENTS_MAX};
use crate::model::queue::QueueKey;

/// What the policy of a queue may be.
pub const RULES: Rules = Rules {
    kind: PolicyType::Resource,
    service: Some("sqs"),
    bytes_max: POLICY_BYTES_MAX,
    statement_count_max: STATEMENTS_MAX,
    action_count_max: ACTIONS_MAX,
};

/// What only the owner's account may do, whatever a policy says (AWS API reference, AddPermission).
const OWNERS_ACTIONS: [&str; 12] = [
    "sqs:AddPermission",
    "sqs:CancelMessageMoveTask",
    "sqs:CreateQueue",
    "sqs:DeleteQueue",
    "sqs:ListMessageMoveTasks",
    "sqs:ListQueueTags",
    "sqs:ListQueues",
    "sqs:RemovePermission",
    "sqs:SetQueueAttributes",
    "sqs:StartMessageMoveTask",
    "sqs:TagQueue",
    "sqs:UntagQueue",
];
/// What the owner's root may do even if the policy denies it, so that it can mend the policy.
const REPAIRS: [&str; 2] = ["sqs:GetQueueAttributes", "sqs:SetQueueAttributes"];

/// Under which name topics knock.
const TOPICS: &str = "sns.amazonaws.com";
/// What a delivery asks for.
const SEND: Action = Action("sqs:SendMessage");

/// Stands in for a stored policy that cannot be read.
const CLOSED: &str = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#;

thread_local! {
    // Requests and deliveries of a core meet here; what it holds follows from the texts alone.
    static COMPILED: Cache = Cache::new(RULES);
}

/// One question about a queue.
pub struct Asked<'a> {
    /// Who asks.
    pub principal: &'a Principal<'a>,
    /// What.
    pub action: Action,
    /// The queue's ARN.
    pub arn: &'a str,
    /// Whose the queue is.
    pub owner: AccountId,
    /// Its policy, as it is stored.
    pub policy: Option<&'a str>,
    /// The keys of the request.
    pub keys: &'a dyn Keys,
}

impl Asked<'_> {
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
        let context = Context {
            resource_policy: policy,
            repairs_policy: REPAIRS.contains(&self.action.0),
            keys: self.keys,
            ..Context::default()
        };
        match policy::decide(self.principal, self.action, &self.resource(), &context) {
            Decision::Deny(reason) => Err(reason),
            Decision::Allow if self.is_owners_own() => Err(match self.principal {
                Principal::Anonymous => DenyReason::Anonymous,
                _ => DenyReason::OtherAccount,
            }),
            Decision::Allow => Ok(()),
        }
    }

    /// Whether only the owner may do it, and somebody else asks.
    fn is_owners_own(&self) -> bool {
        let is_owner = self.principal.account().is_some_and(|account| account.id == self.owner);
        !is_owner && OWNERS_ACTIONS.contains(&self.action.0)
    }

    /// What is asked for, for the words of a denial.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        Resource { arn: self.arn, owner: Some(self.owner) }
    }
}

/// Whether a queue takes what a topic delivers: its policy has to allow the topic's service to send, for this topic.
#[must_use]
pub fn admits_topic(
    queue: &QueueKey,
    region: &str,
    policy: Option<&str>,
    topic_arn: &str,
    topic_account: &str,
    now: Timestamp,
) -> bool {
    let Some(owner) = AccountId::parse(queue.account()) else { return false };
    let keys = ServiceKeys { source_arn: topic_arn, source_account: topic_account, now, region };
    let arn = queue.arn(region);
    let principal = Principal::Service(TOPICS);
    Asked { principal: &principal, action: SEND, arn: &arn, owner, policy, keys: &keys }.decide().is_ok()
}

/// Reads a policy that is to be set. Errors: what is wrong with it.
pub fn check(text: &str) -> Result<(), PolicyError> {
    Policy::parse(text, &RULES).map(|_| ())
}

#[cfg(test)]
mod tests {
    use aws::account::Account;
    use aws::policy::NoKeys;

    use super::*;

    const ONE: &str = "111111111111";
    const TWO: &str = "222222222222";
    const REGION: &str = "us-east-1";
    const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:t";

    fn key() -> QueueKey {
        QueueKey::new(AccountId::parse(ONE).expect("digits"), "q")
    }

    fn account(id: &str) -> Account {
        Account::new(AccountId::parse(id).expect("digits"), id)
    }

    fn ask(who: &str, action: &'static str, policy: Option<&str>) -> Result<(), DenyReason> {
        let account = account(if who.is_empty() { ONE } else { who });
        let principal = if who.is_empty() { Principal::Anonymous } else { Principal::Account(&account) };
        let (arn, owner) = (key().arn(REGION), AccountId::parse(ONE).expect("digits"));
        let action = Action(action);
        Asked { principal: &principal, action, arn: &arn, owner, policy, keys: &NoKeys }.decide()
    }

    fn statement(effect: &str, principal: &str, action: &str) -> String {
        format!(
            r#"{{"Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"{action}","Resource":"{}"}}}}"#,
            key().arn(REGION)
        )
    }

    #[test]
    fn without_a_policy_a_queue_is_its_accounts_alone() {
        assert_eq!(ask(ONE, "sqs:SendMessage", None), Ok(()));
        assert_eq!(ask(TWO, "sqs:SendMessage", None), Err(DenyReason::OtherAccount));
        assert_eq!(ask("", "sqs:SendMessage", None), Err(DenyReason::Anonymous));
        assert!(
            !admits_topic(&key(), REGION, None, TOPIC, ONE, Timestamp(0)),
            "not even topics of its account"
        );
    }

    #[test]
    fn a_policy_opens_what_it_names_but_never_what_is_the_owners_own() {
        let all = statement("Allow", "\"*\"", "SQS:*");
        for who in [ONE, TWO, ""] {
            assert_eq!(ask(who, "sqs:SendMessage", Some(&all)), Ok(()), "{who}");
            assert_eq!(ask(who, "sqs:PurgeQueue", Some(&all)), Ok(()), "{who}");
        }
        for action in OWNERS_ACTIONS {
            assert_eq!(ask(ONE, action, Some(&all)), Ok(()), "{action}");
            assert_eq!(ask(TWO, action, Some(&all)), Err(DenyReason::OtherAccount), "{action}");
            assert_eq!(ask("", action, Some(&all)), Err(DenyReason::Anonymous), "{action}");
        }
        let send = statement("Allow", &format!(r#"{{"AWS":"{TWO}"}}"#), "SQS:SendMessage");
        assert_eq!(ask(TWO, "sqs:SendMessage", Some(&send)), Ok(()));
        assert_eq!(ask(TWO, "sqs:ReceiveMessage", Some(&send)), Err(DenyReason::OtherAccount));
        assert_eq!(ask("", "sqs:SendMessage", Some(&send)), Err(DenyReason::Anonymous));
    }

    #[test]
    fn a_deny_binds_the_owner_who_can_still_mend_the_policy() {
        let locked = statement("Deny", "\"*\"", "SQS:*");
        let explicit = Err(DenyReason::Explicit(policy::Origin::Resource));
        assert_eq!(ask(ONE, "sqs:SendMessage", Some(&locked)), explicit);
        assert_eq!(ask(ONE, "sqs:DeleteQueue", Some(&locked)), explicit);
        assert_eq!(ask(ONE, "sqs:SetQueueAttributes", Some(&locked)), Ok(()));
        assert_eq!(ask(ONE, "sqs:GetQueueAttributes", Some(&locked)), Ok(()));
        assert_eq!(ask(TWO, "sqs:GetQueueAttributes", Some(&locked)), explicit);
    }

    #[test]
    fn a_policy_that_cannot_be_read_allows_nothing() {
        assert!(check(CLOSED).is_ok());
        for text in ["", "{}", "no policy"] {
            assert!(check(text).is_err());
            let explicit = Err(DenyReason::Explicit(policy::Origin::Resource));
            assert_eq!(ask(TWO, "sqs:SendMessage", Some(text)), explicit);
            assert_eq!(ask(ONE, "sqs:SendMessage", Some(text)), explicit);
            assert_eq!(ask(ONE, "sqs:SetQueueAttributes", Some(text)), Ok(()), "its owner can set another");
            assert!(!admits_topic(&key(), REGION, Some(text), TOPIC, ONE, Timestamp(0)));
        }
    }

    #[test]
    fn a_topic_is_admitted_by_its_service_and_its_arn() {
        let for_topic = |principal: &str, condition: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},
                    "Action":"sqs:SendMessage","Resource":"{}","Condition":{condition}}}}}"#,
                key().arn(REGION)
            )
        };
        let admits = |policy: &str, topic: &str, account: &str| {
            admits_topic(&key(), REGION, Some(policy), topic, account, Timestamp(0))
        };
        let equal = format!(r#"{{"ArnEquals":{{"aws:SourceArn":"{TOPIC}"}}}}"#);
        for principal in [r#"{"Service":"sns.amazonaws.com"}"#, r#"{"AWS":"*"}"#, r#""*""#] {
            let policy = for_topic(principal, &equal);
            assert!(admits(&policy, TOPIC, ONE), "{principal}");
            assert!(!admits(&policy, "arn:aws:sns:us-east-1:111111111111:other", ONE), "{principal}");
        }
        assert!(!admits(&for_topic(r#"{"Service":"s3.amazonaws.com"}"#, &equal), TOPIC, ONE));
        assert!(!admits(&for_topic(&format!(r#"{{"AWS":"{ONE}"}}"#), &equal), TOPIC, ONE));
        let of_account =
            for_topic(r#""*""#, &format!(r#"{{"StringEquals":{{"aws:SourceAccount":"{TWO}"}}}}"#));
        assert!(
            admits(&of_account, "arn:aws:sns:us-east-1:222222222222:t", TWO)
                && !admits(&of_account, TOPIC, ONE)
        );
        let other = QueueKey::new(AccountId::parse(ONE).expect("digits"), "other");
        let policy = for_topic(r#"{"Service":"sns.amazonaws.com"}"#, "{}");
        assert!(!admits_topic(&other, REGION, Some(&policy), TOPIC, ONE, Timestamp(0)), "another queue's");
    }
}
