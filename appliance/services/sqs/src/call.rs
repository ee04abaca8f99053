//! One request on its way through the service: who asks, in which form the answer goes out, and what the configuration
//! says.
//! Invariant: a queue that is handed out exists, is the one that the request names, and the caller may ask this of it.
//! Leaves to ops: what the operation does.

use std::rc::Rc;
use std::sync::Arc;

use aws::account::{Account, AccountId};
use aws::policy::{self, Action, DenyReason, NoKeys, Principal, RequestKeys};
use plan::{Caller, Context, Plan, Reply};
use store::Timestamp;

use crate::Config;
use crate::access::Asked;
use crate::engine::QueueRef;
use crate::model::queue::QueueKey;
use crate::router::Operation;
use crate::store::{self as records, QUEUES};
use crate::wire::authentication;
use crate::wire::error::Error;
use crate::wire::queue_url::{self, Named};
use crate::wire::reply::{Form, Out, Protocol};

/// One request.
pub struct Call {
    /// The service's configuration.
    pub config: Rc<Config>,
    /// Who asks.
    pub caller: Caller,
    /// When the request began.
    pub now: Timestamp,
    /// What is asked.
    pub operation: &'static Operation,
    /// In which form the answer goes out.
    pub form: Form,
    /// The request's head: its path may name the queue, its host is in the URLs that are given out.
    pub head: Rc<http::RequestHead>,
}

/// A call that a plan's closures share.
pub type Shared = Rc<Call>;

impl Call {
    /// The caller's account. Errors: MissingAuthenticationToken where nobody asks.
    pub fn account(&self) -> Result<&Arc<Account>, Error> {
        match &self.caller {
            Caller::Account(account) => Ok(account),
            Caller::Anonymous => Err(authentication::missing()),
        }
    }

    /// The queue that a QueueUrl names or, in the Query protocol, the path, if there is one and the caller may do this with
    /// it. Errors: MissingParameter, QueueDoesNotExist, AccessDenied.
    pub fn queue(&self, cx: &Context<'_>, url: Option<&str>) -> Result<QueueRef, Error> {
        let named = self.named(url)?;
        let owner = match named.account {
            Some(account) => account,
            None => self.account()?.id,
        };
        let queue = QueueRef::new(cx.store, QueueKey::new(owner, named.name));
        let view = cx.store.view(queue.shard)?;
        let Some(record) = view.get(QUEUES, queue.key.as_bytes())? else { return Err(Error::no_queue()) };
        self.allow_by(&queue.key, owner, records::queue::policy(record.value)?)?;
        Ok(queue)
    }

    /// Whether the caller may do this with a queue that has this policy. Errors: AccessDenied; MissingAuthenticationToken
    /// for nobody, where the policy does not open the queue to everybody.
    pub fn allow_by(&self, queue: &QueueKey, owner: AccountId, stored: Option<&str>) -> Result<(), Error> {
        self.decide(&queue.arn(&self.config.region), owner, stored)
    }

    fn decide(&self, arn: &str, owner: AccountId, stored: Option<&str>) -> Result<(), Error> {
        let principal = match &self.caller {
            Caller::Account(account) => Principal::Account(account),
            Caller::Anonymous => Principal::Anonymous,
        };
        let action = Action(self.operation.action);
        let header = |name| self.head.headers.get(name).and_then(|value| value.to_str().ok());
        let keys = RequestKeys {
            now: aws::Timestamp(i64::try_from(self.now.0).unwrap_or(i64::MAX)),
            source_ip: Some(self.head.peer.ip()),
            is_secure: self.head.tls,
            user_agent: header("user-agent"),
            referer: header("referer"),
            region: &self.config.region,
            service: &NoKeys,
        };
        let asked = Asked { principal: &principal, action, arn, owner, policy: stored, keys: &keys };
        asked.decide().map_err(|reason| match reason {
            DenyReason::Anonymous => authentication::missing(),
            reason => Error::denied(policy::denial_text(&principal, action, &asked.resource(), reason)),
        })
    }

    /// Whether the caller may do this in its own account, where it is about no queue. Errors: as `allow_by`.
    pub fn allow_own(&self) -> Result<(), Error> {
        self.decide("*", self.account()?.id, None)
    }

    fn named<'u>(&'u self, url: Option<&'u str>) -> Result<Named<'u>, Error> {
        if let Some(url) = url {
            return queue_url::parse(url).ok_or_else(Error::no_queue);
        }
        let by_path = match self.form.protocol {
            Protocol::Query => queue_url::of_path(&self.head.path),
            Protocol::Json => None,
        };
        by_path.ok_or_else(|| Error::missing("QueueUrl"))
    }

    /// The URL by which the client that asks reaches a queue.
    #[must_use]
    pub fn queue_url(&self, account: &str, name: &str) -> String {
        let head = &self.head;
        let base = queue_url::base(self.config.public_url.as_deref(), head.authority.as_deref(), head.tls);
        queue_url::print(&base, account, name)
    }

    /// What a message says of who sent it: the account, or nobody.
    #[must_use]
    pub fn sender(&self) -> Box<str> {
        match &self.caller {
            Caller::Account(account) => account.id.as_str().into(),
            Caller::Anonymous => "Anonymous".into(),
        }
    }

    /// Answers with a result that `write` writes.
    pub fn result(&self, capacity: usize, write: impl FnOnce(&mut Out)) -> Plan {
        Plan::Reply(self.form.result(self.operation.name, capacity, write))
    }

    /// Answers that it was done.
    #[must_use]
    pub fn done(&self) -> Plan {
        Plan::Reply(self.form.done(self.operation.name))
    }

    /// The reply for an error.
    #[must_use]
    pub fn fail(&self, error: &Error) -> Reply {
        self.form.error(error)
    }
}

/// Turns the outcome of a closure into a plan.
pub fn settle(call: &Shared, outcome: Result<Plan, Error>) -> Plan {
    match outcome {
        Ok(plan) => plan,
        Err(error) => Plan::Reply(call.fail(&error)),
    }
}
