//! SNS: topics, subscriptions and what is published to them, Query protocol 2010-03-31 over the store of this appliance.
//!
//! Invariant: a publish is answered when the message and its way to every matching queue are durable together; nothing
//! that is not built is pretended.
//!
//! The table of operations, which is the index of the service, is [`router::OPERATIONS`].
//!
//! | Operations | Covered |
//! |---|---|
//! | CreateTopic, DeleteTopic, ListTopics, GetTopicAttributes, SetTopicAttributes | yes; KMS keys, tracing and feedback roles are kept and shown, nothing acts on them |
//! | Subscribe, ConfirmSubscription, Unsubscribe, ListSubscriptions, ListSubscriptionsByTopic, Get- and SetSubscriptionAttributes | queues and web hooks; who ends a hook's subscription by its link gets no UnsubscribeConfirmation |
//! | Publish, PublishBatch | yes: filters, raw delivery, MessageStructure, topics that keep order |
//! | TagResource, UntagResource, ListTagsForResource, AddPermission, RemovePermission | yes |
//! | GetDataProtectionPolicy, PutDataProtectionPolicy | kept and shown, never applied |
//! | functions, e-mail, text messages, mobile push, streams of deliveries | no: InvalidAction; Subscribe refuses them |
//! | archive and replay (ArchivePolicy, ReplayPolicy) | no: the attributes are refused |
//!
//! Known gaps: on a topic that keeps order, a message whose deliveries do not fit into one batch (2 MiB over all shards) may
//! be overtaken on some of them by one that is published meanwhile; a queue of another account is subscribed without asking it,
//! and its policy decides. A web hook that has not answered three days after it was asked last is given up, and one place is
//! asked at most ten times an hour, of which SNS tells nothing; what earlier versions asked waits until it is asked again.
//!
//! Leaves to the node: HTTP, signatures of requests, driving plans. To the store: durability, the outbox. To SQS: the queues.
#![forbid(unsafe_code)]

pub mod access;
pub mod call;
pub mod config;
pub mod engine;
pub mod failures;
pub mod filter;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod hooks;
pub mod model;
pub mod ops;
pub mod router;
pub mod signing;
pub mod store;
pub mod wire;

pub use config::Config;

use std::rc::Rc;
use std::sync::Arc;

use ::store::{Receivers, ShardId};
use aws::query::Parameters;
use bytes::Bytes;
use http_types::Method;
use plan::{Context, Plan, Reply, Request, Service, Started};

use crate::call::{Call, Core, Shared, settle};
use crate::engine::results::Results;
use crate::engine::sweep::Background;
use crate::failures::Failures;
use crate::hooks::{Hooks, Listeners};
use crate::router::Named;
use crate::wire::authentication;
use crate::wire::error::Error;

/// A longer body is refused: a message of 1 MiB whose letters are all percent-coded, with room beside it.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The service. One for each core.
pub struct Sns {
    config: Rc<Config>,
    core: Rc<Core>,
    background: Rc<Background>,
    hooks: Rc<Hooks>,
}

/// Adds the receivers of this service to those of a store. `failures`: where dropped messages are counted, the same for
/// all cores.
#[must_use]
pub fn receivers(receivers: Receivers, failures: &Failures) -> Receivers {
    let results = Results { failures: failures.clone() };
    receivers.with(plan::delivery::DELIVERY_RESULT, Arc::new(results))
}

impl Sns {
    /// A service with this configuration. `failures`: as for `receivers`.
    #[must_use]
    pub fn new(config: Config, failures: Failures) -> Sns {
        let listeners = Listeners::new(config.listeners.clone());
        let hooks = Hooks::new(&config.region, listeners, failures.clone());
        let core = Core { failures, ..Core::default() };
        Sns { config: Rc::new(config), core: Rc::new(core), background: Rc::default(), hooks }
    }

    /// Where clients find this appliance: as the configuration says, else as this client found it.
    fn base_url(&self, head: &http::RequestHead) -> Box<str> {
        if let Some(url) = &self.config.public_url {
            return url.trim_end_matches('/').into();
        }
        let scheme = if head.tls { "https" } else { "http" };
        let authority = head.authority.as_deref().unwrap_or("localhost");
        format!("{scheme}://{authority}").into()
    }
}

/// A request whose parameters are still to be read.
struct Arrived {
    config: Rc<Config>,
    core: Rc<Core>,
    base_url: Box<str>,
    head: Rc<http::RequestHead>,
    caller: plan::Caller,
    request_id: String,
}

/// The word for requests that name no operation.
const INVALID: &str = "Invalid";

impl Arrived {
    fn begin(self, cx: &mut Context<'_>, body: &Bytes) -> Started {
        let refuse = |operation, error: &Error| Started {
            operation,
            plan: Plan::Reply(wire::reply::error(error, &self.request_id)),
        };
        let head = Rc::clone(&self.head);
        let parameters = match Parameters::parse(head.query.as_deref(), body) {
            Ok(parameters) => parameters,
            Err(error) => return refuse(INVALID, &error.into()),
        };
        let action = parameters.action().unwrap_or_default();
        let operation = match router::route(action) {
            Named::Operation(operation) => operation,
            Named::NotBuilt(name) => return refuse(name, &Error::unknown_action(action)),
            Named::Nothing => return refuse(INVALID, &Error::unknown_action(action)),
        };
        let caller = match self.caller {
            plan::Caller::Account(account) => Some(account),
            plan::Caller::Anonymous if operation.unsigned || access::can_be_opened(operation.action) => None,
            plan::Caller::Anonymous => return refuse(operation.name, &authentication::missing()),
        };
        let call = Shared::new(Call {
            config: self.config,
            caller,
            head: self.head,
            now: cx.now,
            operation,
            base_url: self.base_url,
            request_id: self.request_id,
            core: self.core,
        });
        let outcome = (operation.start)(Rc::clone(&call), cx, &parameters);
        Started { operation: operation.name, plan: settle(&call, outcome) }
    }
}

impl Service for Sns {
    fn start(&self, cx: &mut Context<'_>, request: Request) -> Started {
        let Request { head, collected, caller, request_id, .. } = request;
        if head.method == Method::GET && signing::is_certificate_path(&head.path) {
            return Started {
                operation: "Certificate",
                plan: Plan::Reply(signing::serve_certificate(cx, &head.path)),
            };
        }
        let arrived = Arrived {
            config: Rc::clone(&self.config),
            core: Rc::clone(&self.core),
            base_url: self.base_url(&head),
            head: Rc::new(head),
            caller,
            request_id: request_id.to_string(),
        };
        match collected {
            Some(body) => arrived.begin(cx, &body),
            None => Started {
                operation: INVALID,
                plan: Plan::Collect {
                    limit_bytes: BODY_BYTES_MAX,
                    then: Box::new(move |cx, body| match body {
                        Ok(body) => arrived.begin(cx, &body.bytes).plan,
                        Err(failure) => Plan::Reply(wire::reply::error(&failure.into(), &arrived.request_id)),
                    }),
                },
            },
        }
    }

    fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply {
        wire::reply::error(&Error::from(error), &request.request_id)
    }

    fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        let hooks = self.hooks.tick(shard);
        let key = hooks.or_else(|| self.core.signing.tick(cx, shard));
        key.or_else(|| self.background.tick(cx, shard))
    }
}
