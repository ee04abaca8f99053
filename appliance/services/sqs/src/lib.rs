//! The queue half of ZeroQueue: SQS, model 2012-11-05, over the store of this appliance.
//!
//! Invariant: what a client was told lies in a durable batch: a sent message, its receive count, its due time. What a core
//! keeps about a queue in memory is derived from that and never the truth.
//!
//! The table of operations, which is the index of the service, is [`router::OPERATIONS`].
//!
//! | Operations | Covered |
//! |---|---|
//! | both protocols, awsJson1.0 and Query | yes, on one URL |
//! | SendMessage, ReceiveMessage, DeleteMessage, ChangeMessageVisibility and their batches | yes |
//! | CreateQueue, GetQueueUrl, ListQueues, DeleteQueue, GetQueueAttributes, SetQueueAttributes, PurgeQueue | yes; counts are exact, a name is free again at once; KMS attributes are kept and shown, no key is used |
//! | TagQueue, UntagQueue, ListQueueTags, AddPermission, RemovePermission, ListDeadLetterSourceQueues | yes |
//! | StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask | yes; a message that is moved back is a new one |
//!
//! Leaves to the node: HTTP, signatures, driving plans. To the store: durability, the outbox, who waits.
#![forbid(unsafe_code)]

pub mod access;
pub mod call;
pub mod config;
pub mod deliveries;
pub mod engine;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod model;
pub mod ops;
pub mod router;
pub mod store;
pub mod wire;

pub use config::Config;

use std::rc::Rc;
use std::sync::Arc;

use ::store::{Receivers, ShardId};
use aws::query::Parameters;
use bytes::Bytes;
use plan::{Context, Plan, Reply, Request, Service, Started};

use crate::call::{Call, Shared, settle};
use crate::engine::tick::Background;
use crate::router::Operation;
use crate::wire::error::Error;
use crate::wire::input::Input;
use crate::wire::reply::{Form, Protocol};

/// A longer body is refused: a batch of a megabyte, each character of it escaped.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The header that names the operation in the JSON protocol.
const TARGET: &str = "x-amz-target";

/// Adds the receivers of this service to those of a store. `region`: that of every queue.
#[must_use]
pub fn receivers(receivers: Receivers, region: &str) -> Receivers {
    receivers
        .with(plan::delivery::QUEUE_MOVE, Arc::new(engine::moving::MoveReceiver))
        .with(plan::delivery::QUEUE_DELIVER, Arc::new(deliveries::Deliveries { region: region.into() }))
}

/// The service. One for each core.
pub struct Sqs {
    config: Rc<Config>,
    background: Rc<Background>,
}

impl Sqs {
    /// A service with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Sqs {
        Sqs { config: Rc::new(config), background: Rc::default() }
    }
}

/// The word for requests that name no operation.
const INVALID: &str = "Invalid";

/// Finds what a request asks for: by its target, which decides the protocol, else by its `Action`.
fn look<'b>(head: &'b http::RequestHead, body: &'b [u8]) -> Result<(&'static Operation, Input<'b>), Error> {
    let found = |name: &str| router::route(name).ok_or_else(|| Error::unknown_operation(name));
    if let Some(target) = head.headers.get(TARGET) {
        let name = target.to_str().ok().and_then(|target| target.strip_prefix(router::TARGET_PREFIX));
        return Ok((found(name.unwrap_or_default())?, Input::Json(body)));
    }
    let parameters = Parameters::parse(head.query.as_deref(), body)?;
    let operation = found(parameters.action().ok_or_else(|| Error::missing("Action"))?)?;
    Ok((operation, Input::Query(parameters)))
}

/// The form in which a request is answered.
fn form_of(request: &Request) -> Form {
    let is_json = request.head.headers.contains_key(TARGET);
    let protocol = if is_json { Protocol::Json } else { Protocol::Query };
    Form { protocol, request_id: request.request_id }
}

impl Service for Sqs {
    fn start(&self, cx: &mut Context<'_>, request: Request) -> Started {
        let form = form_of(&request);
        // The node collects bodies before it asks, since signatures cover them; a request without one has no body.
        let body: Bytes = request.collected.unwrap_or_default();
        let call = |operation, head| {
            let caller = request.caller.clone();
            Shared::new(Call { config: Rc::clone(&self.config), caller, now: cx.now, operation, form, head })
        };
        let head = Rc::new(request.head);
        match look(&head, &body) {
            Ok((operation, input)) => {
                let call = call(operation, Rc::clone(&head));
                let outcome = (operation.start)(Rc::clone(&call), cx, &input);
                Started { operation: operation.name, plan: settle(&call, outcome) }
            }
            Err(error) => Started { operation: INVALID, plan: Plan::Reply(form.error(&error)) },
        }
    }

    fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply {
        form_of(request).error(&Error::from(error))
    }

    fn tick(&self, cx: &mut Context<'_>, shard: ShardId) -> Option<Plan> {
        self.background.tick(cx, shard)
    }
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::wire::error::Code;

    fn head(target: Option<&'static str>, query: Option<&str>) -> http::RequestHead {
        let mut headers = HeaderMap::new();
        if let Some(target) = target {
            headers.insert(TARGET, HeaderValue::from_static(target));
        }
        http::RequestHead {
            method: Method::POST,
            path: "/".to_owned(),
            query: query.map(str::to_owned),
            headers,
            version: http::Version::H11,
            authority: None,
            tls: false,
            peer: "127.0.0.1:1".parse().expect("an address"),
        }
    }

    #[test]
    fn the_target_decides_first_and_the_action_next() {
        let named = |target, query, body: &[u8]| {
            let head = head(target, query);
            look(&head, body)
                .map(|(operation, input)| (operation.name, matches!(input, Input::Json(_))))
                .map_err(|error| error.code)
        };
        let form = b"Action=ReceiveMessage&Version=2012-11-05";
        assert_eq!(named(Some("AmazonSQS.SendMessage"), None, form), Ok(("SendMessage", true)));
        assert_eq!(named(None, None, form), Ok(("ReceiveMessage", false)));
        assert_eq!(named(None, Some("Action=DeleteQueue"), form), Ok(("DeleteQueue", false)));
        assert_eq!(named(Some("AmazonSQS.Nothing"), None, form), Err(Code::InvalidAction));
        assert_eq!(named(Some("Other.SendMessage"), None, form), Err(Code::InvalidAction));
        assert_eq!(named(None, None, b"Action=Nothing"), Err(Code::InvalidAction));
        assert_eq!(named(None, None, b"{}"), Err(Code::MissingParameter));
        assert_eq!(named(None, None, b"Action=%ff"), Err(Code::MalformedQueryString));
    }
}
