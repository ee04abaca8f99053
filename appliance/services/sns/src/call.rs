//! One request on its way through the service: who asks, and what the configuration says.
//! Invariant: a topic that is handed out exists, is in this region, and the caller may do to it what is asked.
//! Leaves to ops: what the operation does.

use std::rc::Rc;
use std::sync::Arc;

use aws::account::{Account, AccountId};
use aws::policy::{Action, DenyReason, Keys, RequestKeys, denial_text};
use aws::xml::Writer;
use plan::{Context, Plan, Reply};
use store::Timestamp;

use crate::Config;
use crate::access::{Asked, NO_KEYS};
use crate::engine::on_topic::shard_of;
use crate::failures::Failures;
use crate::model::arn::TopicArn;
use crate::model::topic::{Setting, Topic};
use crate::router::Operation;
use crate::signing::Signing;
use crate::store::TOPICS;
use crate::store::topic::{decode, topic_key};
use crate::wire::authentication;
use crate::wire::error::{Code, Error};
use crate::wire::reply;

/// One request.
pub struct Call {
    /// The service's configuration.
    pub config: Rc<Config>,
    /// Who asks; None: nobody who signed.
    pub caller: Option<Arc<Account>>,
    /// The request's head: where it comes from, and how.
    pub head: Rc<http::RequestHead>,
    /// When the request began.
    pub now: Timestamp,
    /// What is asked.
    pub operation: &'static Operation,
    /// Where clients find this appliance: scheme and authority.
    pub base_url: Box<str>,
    /// The id that the reply carries.
    pub request_id: String,
    /// What this core keeps from request to request.
    pub core: Rc<Core>,
}

/// What a core keeps from request to request.
#[derive(Default)]
pub struct Core {
    /// The key that signs messages.
    pub signing: Rc<Signing>,
    /// Where dropped messages are counted.
    pub failures: Failures,
}

/// A call that a plan's closures share.
pub type Shared = Rc<Call>;

impl Call {
    /// The twelve digits of the caller's account. Errors: nobody signed.
    pub fn account_id(&self) -> Result<&str, Error> {
        self.caller.as_ref().map(|account| account.id.as_str()).ok_or_else(authentication::missing)
    }

    /// A topic that the caller may ask this of. Errors: InvalidParameter for one of another region, NotFound,
    /// AuthorizationError; MissingAuthenticationToken for nobody.
    pub fn topic(&self, cx: &Context<'_>, arn: TopicArn<'_>) -> Result<Topic, Error> {
        self.topic_with(cx, arn, NO_KEYS)
    }

    /// The same; the policy of the topic may also ask for these keys.
    pub fn topic_with(&self, cx: &Context<'_>, arn: TopicArn<'_>, keys: &dyn Keys) -> Result<Topic, Error> {
        let topic = self.find_topic(cx, arn)?;
        // Who may not see a topic is not told that there is none.
        self.decide(arn, topic.as_ref().and_then(|topic| topic.setting(Setting::Policy)), keys)?;
        topic.ok_or_else(Error::no_topic)
    }

    /// A topic, whoever asks.
    pub fn find_topic(&self, cx: &Context<'_>, arn: TopicArn<'_>) -> Result<Option<Topic>, Error> {
        if arn.region != self.config.region {
            return Err(Error::invalid("TopicArn"));
        }
        let view = cx.store.view(shard_of(cx, arn.account, arn.name))?;
        let key = topic_key(arn.account, arn.name);
        let record = view.get(TOPICS, &key)?;
        Ok(record.map(|record| decode(&key, record.value)).transpose()?)
    }

    /// Refuses what the caller may not ask of a topic that is not there yet.
    pub fn authorize(&self, arn: TopicArn<'_>) -> Result<(), Error> {
        self.decide(arn, None, NO_KEYS)
    }

    /// Refuses what the caller may not ask of its own account, where it is about no topic.
    pub fn authorize_own(&self) -> Result<(), Error> {
        self.account_id()?;
        self.decide_on("*", self.caller.as_ref().map(|caller| caller.id), None, NO_KEYS)
    }

    /// Refuses what a subscriber's own account does not let it do with its subscription of a topic. Whose the subscription
    /// is the operation has to know; a topic's policy names none of this.
    pub fn authorize_subscriber(&self, arn: TopicArn<'_>) -> Result<(), Error> {
        self.account_id()?;
        self.decide_on(&arn.to_string(), self.caller.as_ref().map(|caller| caller.id), None, NO_KEYS)
    }

    fn decide(&self, arn: TopicArn<'_>, policy: Option<&str>, service: &dyn Keys) -> Result<(), Error> {
        self.decide_on(&arn.to_string(), AccountId::parse(arn.account), policy, service)
    }

    fn decide_on(
        &self,
        arn: &str,
        owner: Option<AccountId>,
        policy: Option<&str>,
        service: &dyn Keys,
    ) -> Result<(), Error> {
        let header = |name| self.head.headers.get(name).and_then(|value| value.to_str().ok());
        let keys = RequestKeys {
            now: aws::Timestamp(i64::try_from(self.now.0).unwrap_or(i64::MAX)),
            source_ip: Some(self.head.peer.ip()),
            is_secure: self.head.tls,
            user_agent: header("user-agent"),
            referer: header("referer"),
            region: &self.config.region,
            service,
        };
        let action = Action(self.operation.action);
        let asked = Asked { caller: self.caller.as_deref(), action, arn, owner, policy, keys };
        asked.decide().map_err(|reason| match reason {
            DenyReason::Anonymous => authentication::missing(),
            reason => {
                let text = denial_text(&asked.principal(), action, &asked.resource(), reason);
                Error::new(Code::AuthorizationError, text)
            }
        })
    }

    /// Answers with a result.
    pub fn reply(&self, capacity: usize, write: impl FnOnce(&mut Writer)) -> Plan {
        Plan::Reply(reply::result(self.operation.name, &self.request_id, capacity, write))
    }

    /// Answers that it was done, with an empty result where the operation has one.
    #[must_use]
    pub fn done(&self) -> Plan {
        Plan::Reply(reply::done(self.operation.name, &self.request_id))
    }

    /// The reply for an error.
    #[must_use]
    pub fn fail(&self, error: &Error) -> Reply {
        reply::error(error, &self.request_id)
    }
}

/// Turns the outcome of a closure into a plan.
pub fn settle(call: &Shared, outcome: Result<Plan, Error>) -> Plan {
    match outcome {
        Ok(plan) => plan,
        Err(error) => Plan::Reply(call.fail(&error)),
    }
}
