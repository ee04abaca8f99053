//! What a service asks the node to do, as plain values.
//!
//! A service is a function from a request to a `Plan`. The node drives the plan: it reads the body, writes it to the
//! store, runs operations on the shards that own their keys, and hands each result to the closure that the plan
//! carries, until the plan is a `Reply`. Nothing in a service awaits, so a service never holds a view, a buffer or a
//! lock over a suspension point.
//!
//! Invariant: a plan is driven on one core, its closures run there one after the other, and each runs at most once.
//! A plan that is dropped, because its client went away, frees everything that it holds.
//! Leaves to the node: all I/O.
#![forbid(unsafe_code)]

mod bodies;
mod body;
pub mod delivery;
mod late;
pub mod refused;
mod reply;
mod step;

pub use body::{BodyFailure, BodyFilter, Collected, Copy, Digests, Piece, Receive, Received};
pub use late::{Deadline, Late};
pub use reply::{Reply, ReplyBody};
pub use step::{Resume, Step};

use std::sync::Arc;

use aws::account::{Account, Credentials, Directory};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Authenticated, Verifier};
use bytes::Bytes;
use http_types::StatusCode;
use store::{ShardId, Store, Timestamp};

/// One AWS service behind the node.
pub trait Service {
    /// Decodes the request, names its operation and says what to do first.
    fn start(&self, cx: &mut Context<'_>, request: Request) -> Started;

    /// The error reply, in the service's dialect, for a request that was refused before the service saw it. `error` is
    /// one of authentication (`aws::sigv4`), `ServiceUnavailable` while the appliance starts, and for services whose
    /// bodies are collected first also `MissingAuthenticationToken`, `RequestTimeout`, and `ThrottlingException` when this core
    /// holds as many bodies as it may.
    fn refuse(&self, request: &Request, error: aws::ErrorReply) -> Reply;

    /// An answer that does not depend on who asks, such as a health text or the refusal of a method, from the head alone.
    /// Services whose bodies are collected first are asked before anything of a signature is looked at. None: go on.
    fn greet(&self, _head: &http::RequestHead) -> Option<Reply> {
        None
    }

    /// The next piece of work that nobody asked for on a shard that this core owns: what expires, what is swept. The
    /// node asks once a second for each shard, drives one plan of a shard at a time, and asks again at once when the
    /// reply's status was `MORE_IS_DUE`; nothing else of the reply counts. A plan that fails is tried again by the next
    /// call. None: nothing is due.
    fn tick(&self, _cx: &mut Context<'_>, _shard: ShardId) -> Option<Plan> {
        None
    }
}

/// The status by which the reply of a tick's plan says that there is more to do now: 202 Accepted.
pub const MORE_IS_DUE: StatusCode = StatusCode::ACCEPTED;

/// A request that its service has taken.
pub struct Started {
    /// The operation that the request names, for metrics and the access log: one of a bounded set of words.
    pub operation: &'static str,
    /// What to do first.
    pub plan: Plan,
}

/// A request whose sender is known.
pub struct Request {
    /// Method, path, query and headers, byte exact.
    pub head: http::RequestHead,
    /// How long the body is, as the head announced it.
    pub body_length: http::BodyLength,
    /// The body, for services whose bodies are collected first; its signature is right. None: it is still on the wire.
    pub collected: Option<Bytes>,
    /// Who asks.
    pub caller: Caller,
    /// How the request was signed; None for an anonymous one. Its chunk signer stays with the node.
    pub auth: Option<Authenticated>,
    /// The id that the reply carries in `x-amz-request-id`, and an error document in `RequestId`.
    pub request_id: RequestId,
    /// The id that the reply carries in `x-amz-id-2`, and an error document in `HostId`. `HostId::UNUSED`, and another
    /// `request_id` than the reply's, for services whose replies carry `x-amzn-RequestId` instead.
    pub host_id: HostId,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The request carries no signature.
    Anonymous,
    /// The owner of the key that signed.
    Account(Arc<Account>),
}

/// The accounts and keys that this appliance knows.
pub trait Accounts: Credentials + Directory {}

impl<T: Credentials + Directory> Accounts for T {}

/// What a service may use while it decides. Nothing of it outlives the call.
pub struct Context<'a> {
    /// Every shard, for reading.
    pub store: &'a Store,
    /// The time of this turn.
    pub now: Timestamp,
    /// Draws a number that nobody can guess.
    pub random: &'a mut dyn FnMut() -> u64,
    /// The accounts and keys that this appliance knows.
    pub accounts: &'a dyn Accounts,
    /// Verifies signatures that stand in a body, as in a POST form.
    pub verifier: &'a mut Verifier,
}

/// What to do with the result of a step.
pub type Then<T> = Box<dyn FnOnce(&mut Context<'_>, T) -> Plan>;

/// The next thing to do for a request.
pub enum Plan {
    /// Answer, and be done.
    Reply(Reply),
    /// Read the whole decoded body into memory. More than `limit_bytes` is `BodyFailure::TooLarge`.
    Collect {
        /// The bound.
        limit_bytes: usize,
        /// Goes on with the body.
        then: Then<Result<Collected, BodyFailure>>,
    },
    /// Read the next piece of the body, as large as it came; None when the body has ended.
    Next {
        /// Goes on with the piece.
        then: Then<Result<Option<Bytes>, BodyFailure>>,
    },
    /// Stream the decoded body into the store.
    Receive(Receive, Then<Result<Received, BodyFailure>>),
    /// Stream stored bodies into a new one.
    Copy(Copy, Then<Result<Received, BodyFailure>>),
    /// Run an operation; made by `Plan::submit`, `Plan::transact` and `Plan::admit`.
    Step(Box<dyn Step>),
    /// Let others run: this turn's budget is spent. Goes on in the next one.
    Pause(Then<()>),
}
