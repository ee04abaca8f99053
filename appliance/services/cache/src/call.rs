//! One request on its way through a dialect: who asks, about which namespace, and how the answer no looks.
//! Invariant: a call exists only for a sender whose token is right and gives the right that its operation needs here.
//! Leaves to dialects: what the operation does.

use std::cell::Cell;
use std::rc::Rc;

use aws::request_id::RequestId;
use cas::{Blob, Cas, Dialect, Digest, Namespace, Provenance, Stored, Upload};
use http::{BodyLength, RequestHead};
use plan::{BodyFailure, Collected, Context, Deadline, Plan};
use store::Timestamp;
use tokens::{Principal, Scope};

use crate::Config;
use crate::refusal::{Form, Refusal};
use crate::router::Operation;

/// One request.
pub struct Call {
    /// The service's configuration.
    pub config: Rc<Config>,
    /// What is kept.
    pub cas: Cas,
    /// Who asks.
    pub principal: Principal,
    /// What it is about.
    pub namespace: Namespace,
    /// What is asked.
    pub operation: &'static Operation,
    /// How the answer no looks.
    pub form: Form,
    /// When the request began.
    pub now: Timestamp,
    /// Method, path, query and headers, as sent.
    pub head: RequestHead,
    /// Where in the path what belongs to the dialect begins.
    pub rest_at: usize,
    /// How long the body is, as the head announced it.
    pub body_length: BodyLength,
    /// Bytes of the body that were stored, where the head did not announce them.
    pub stored_bytes: Cell<u64>,
    /// By when the first byte of a lookup's answer has to leave; nothing: whenever it can.
    pub deadline: Cell<Option<Deadline>>,
    /// Lookups of this core that wait for the store.
    pub waiting: Rc<Cell<usize>>,
    /// Why nothing may be stored or looked up for now, if it may not.
    pub throttled: Option<Refusal>,
}

/// A call that a plan's closures share.
pub type Shared = Rc<Call>;

impl Call {
    /// The path behind the dialect's mount, as sent: `/` and what follows.
    #[must_use]
    pub fn rest(&self) -> &str {
        match &self.head.path[self.rest_at..] {
            "" => "/",
            rest => rest,
        }
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.form.dialect
    }

    /// What the request is called.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.form.request_id
    }

    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query, decoded. Errors: its coding is broken.
    pub fn parameter(&self, name: &str) -> Result<Option<String>, Refusal> {
        let query = self.head.query.as_deref().unwrap_or_default();
        let Some((_, value)) = aws::uri::query_pairs(query).find(|(found, _)| *found == name) else {
            return Ok(None);
        };
        let malformed = |_| Refusal::Bad("MalformedQuery", "A parameter is not percent-coded UTF-8.".into());
        Ok(Some(aws::uri::decode_query(value).map_err(malformed)?.into_owned()))
    }

    /// Whether the sender may also do this in the namespace of the request.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.principal.may(scope, self.namespace.as_str())
    }

    /// Who brings what this request brings.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        Provenance { token: self.principal.token_id().into(), address: Some(self.head.peer.ip()) }
    }

    /// The length of the body on the wire, where the head says it.
    #[must_use]
    pub fn announced_bytes(&self) -> Option<u64> {
        match self.body_length {
            BodyLength::None => Some(0),
            BodyLength::Known(length) => Some(length),
            BodyLength::Unknown => None,
        }
    }

    /// What the body of an upload that was stored came to: as announced, or else as it was counted.
    #[must_use]
    pub fn uploaded_bytes(&self) -> u64 {
        self.announced_bytes().unwrap_or_else(|| self.stored_bytes.get())
    }

    /// Whether the client waits for a word before it sends the body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.header("expect").is_some_and(|text| text.eq_ignore_ascii_case("100-continue"))
    }

    /// The plan that answers no.
    #[must_use]
    pub fn refuse(&self, refusal: &Refusal) -> Plan {
        Plan::Reply(refusal.reply(&self.form))
    }
}

/// Turns the outcome of a closure into a plan.
pub fn settle(call: &Shared, outcome: Result<Plan, Refusal>) -> Plan {
    match outcome {
        Ok(plan) => plan,
        Err(refusal) => call.refuse(&refusal),
    }
}

/// Reads a whole body of at most `limit_bytes` into memory and goes on with it. For small documents: bodies that are kept
/// go through `Cas::receive`.
pub fn collect<F>(call: Shared, limit_bytes: usize, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, Collected) -> Result<Plan, Refusal> + 'static,
{
    Plan::Collect {
        limit_bytes,
        then: Box::new(move |cx, body| {
            let outcome = body.map_err(Refusal::from).and_then(|body| then(&call, cx, body));
            settle(&call, outcome)
        }),
    }
}

/// Finds a blob of the request's namespace, leases it and goes on with it; nothing where it is not there.
pub fn find<F>(call: &Shared, cx: &mut Context<'_>, digest: Digest, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, Option<Blob>) -> Result<Plan, Refusal> + 'static,
{
    let shared = Rc::clone(call);
    call.cas.find(cx, &call.namespace, digest, move |cx, found| {
        let outcome = found.map_err(Refusal::from).and_then(|found| then(&shared, cx, found));
        settle(&shared, outcome)
    })
}

/// Stores the body of the request as a blob and goes on with it, durable.
pub fn receive<F>(call: &Shared, cx: &mut Context<'_>, upload: Upload, then: F) -> Plan
where
    F: FnOnce(&Shared, &mut Context<'_>, Stored) -> Result<Plan, Refusal> + 'static,
{
    let shared = Rc::clone(call);
    call.cas.receive(cx, upload, move |cx, stored| {
        let outcome = stored.map_err(Refusal::from).and_then(|stored| {
            shared.stored_bytes.set(stored.length);
            then(&shared, cx, stored)
        });
        settle(&shared, outcome)
    })
}

impl From<BodyFailure> for Refusal {
    fn from(failure: BodyFailure) -> Refusal {
        let incomplete = || Refusal::Bad("IncompleteBody", "The body ended before its end.".into());
        match failure {
            // Nobody reads the answer to a client that went away.
            BodyFailure::Disconnected | BodyFailure::Incomplete => incomplete(),
            BodyFailure::Stalled => Refusal::TooSlow,
            BodyFailure::TooLarge => Refusal::TooLarge,
            BodyFailure::Sha256Mismatch => {
                Refusal::Bad("BadDigest", "The body is not the one that was signed.".into())
            }
            BodyFailure::ChunkSignature | BodyFailure::InvalidChunkSize | BodyFailure::MalformedTrailer => {
                Refusal::Bad("BadBody", "The chunked body is malformed.".into())
            }
            BodyFailure::BadForm(why) => Refusal::Bad("BadBody", why.into()),
            BodyFailure::Fault(fault) => Refusal::from(fault),
        }
    }
}
