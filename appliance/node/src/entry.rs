//! Between the head of a request and its service: who asks, and the body where the signature covers it.
//!
//! ```text
//! streamed:      head -> authenticate -> service -> plan reads the body
//! collect first: head -> greet -> signed at all? -> precheck -> collect -> authenticate -> service
//! ```
//! Invariant: a service sees a request only after its signature was checked, and a body is held only for senders whose key
//! is known, or up to the bound of a service that has policies for those who are not.
//! Leaves to drive: plans. Leaves to the services: what requests mean.

use std::sync::Arc;

use aws::account::Account;
use aws::payload::PayloadMode;
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Identity, SignedRequest};
use http::{BodyLength, RequestBody, RequestHead};
use http_types::{HeaderValue, Method, StatusCode, header};
use plan::{Caller, Reply, Service};

use crate::core::{Core, aws_now};
use crate::door::{BodyPolicy, Door, Guard, Seat};
use crate::drive::collect::{self, Whole};
use crate::drive::{self, Host, intake::Intake, reply::Ids};
use crate::route::{self, ServiceId, bucket_of_host};
use crate::status::Phase;

/// What the log and the counters say about a request once it is answered.
#[derive(Default)]
pub struct Visit {
    /// The operation, where the service named one.
    pub operation: Option<&'static str>,
    /// Who asked.
    pub account: Option<Arc<Account>>,
    /// Body bytes that came over the wire.
    pub received_bytes: u64,
}

/// Answers a request to a service.
pub async fn serve(
    core: &Core,
    id: ServiceId,
    head: RequestHead,
    body: RequestBody,
    client: &http::Responder,
    ids: &Ids,
    visit: &mut Visit,
) -> Reply {
    let door = core.door(id);
    let (request_id, host_id) = match ids {
        Ids::S3 { request, host } => (*request, *host),
        Ids::Json { .. } => (RequestId::new(0), HostId::UNUSED),
        Ids::Uuid { request } | Ids::Plain { request } => (*request, HostId::UNUSED),
    };
    let request = plan::Request {
        body_length: body.length(),
        collected: None,
        caller: Caller::Anonymous,
        auth: None,
        request_id,
        host_id,
        head,
    };
    if core.store_if_started().is_none() || core.status.phase() == Phase::Recovering {
        return starting(&*door.service, &request);
    }
    let seat = Seat { core, door, client: Some(client) };
    match door.body {
        BodyPolicy::Streamed => stream(seat, request, body, ids, visit).await,
        BodyPolicy::CollectFirst { limit_bytes, anonymous_bytes } => {
            let bounds = Bounds { limit_bytes, anonymous_bytes };
            collect_first(seat, request, body, bounds, ids, visit).await
        }
    }
}

async fn stream(
    seat: Seat<'_>,
    mut request: plan::Request,
    body: RequestBody,
    ids: &Ids,
    visit: &mut Visit,
) -> Reply {
    let (identity, mode) = match identify(seat.core, seat.door, &request.head, None) {
        Ok(found) => found,
        Err(error) => return refuse(seat, &request, error, ids),
    };
    let mut signer = None;
    if let Identity::Key(mut key) = identity {
        signer = key.chunk_signer.take();
        visit.account = Some(key.account.clone());
        request.caller = Caller::Account(key.account.clone());
        request.auth = Some(key);
    }
    let mut intake = match Intake::new(body, mode, signer, &request.head.headers) {
        Ok(intake) => intake,
        Err(error) => return seat.door.service.refuse(&request, error),
    };
    let started = seat.with_context(|cx| seat.door.service.start(cx, request));
    visit.operation = Some(started.operation);
    let reply = drive::drive(&seat, started.plan, &mut intake).await;
    visit.received_bytes = intake.received_bytes();
    reply
}

/// How long a body may be that is collected.
#[derive(Clone, Copy)]
struct Bounds {
    limit_bytes: usize,
    /// Of a sender that signs nothing; None: refused.
    anonymous_bytes: Option<usize>,
}

async fn collect_first(
    seat: Seat<'_>,
    mut request: plan::Request,
    mut body: RequestBody,
    bounds: Bounds,
    ids: &Ids,
    visit: &mut Visit,
) -> Reply {
    let Seat { core, mut door, client } = seat;
    if let Some(reply) = door.service.greet(&request.head) {
        return reply;
    }
    let limit_bytes = match judge_head(seat, &request, bounds) {
        Ok(limit_bytes) => limit_bytes,
        Err(error) => return refuse(seat, &request, error, ids),
    };
    let Whole { bytes, sha256, share } = match collect::collect(&core.held, &mut body, limit_bytes).await {
        Ok(whole) => whole,
        Err(failure) => return refuse_body(seat, &request, failure, ids),
    };
    // Given back when this request is answered.
    let _share = share;
    visit.received_bytes = bytes.len() as u64;
    match identify(core, door, &request.head, Some(sha256)) {
        Ok((Identity::Key(key), _)) => {
            visit.account = Some(key.account.clone());
            request.caller = Caller::Account(key.account.clone());
            request.auth = Some(key);
        }
        Ok((Identity::Anonymous { .. }, _)) if bounds.anonymous_bytes.is_none() => {
            return refuse(seat, &request, unsigned(), ids);
        }
        // Unsigned forms come to the door of queues, whichever of the two services they are for.
        Ok((Identity::Anonymous { .. }, _)) if is_form_for(core, door, &request.head) => {
            door = core.door(route::of_form(&bytes));
        }
        Ok((Identity::Anonymous { .. }, _)) => {}
        Err(error) => return refuse(seat, &request, error, ids),
    }
    request.collected = Some(bytes);
    let seat = Seat { core, door, client };
    let started = seat.with_context(|cx| door.service.start(cx, request));
    visit.operation = Some(started.operation);
    drive::drive(&seat, started.plan, &mut Intake::empty()).await
}

/// Whether a request at this door says in its form alone which service it is for.
fn is_form_for(core: &Core, door: &Door, head: &RequestHead) -> bool {
    let is_json = head.headers.contains_key("x-amz-target");
    std::ptr::eq(door, core.door(ServiceId::Sqs)) && head.query.is_none() && !is_json
}

/// How long a body of this sender may be. Errors: none may, as nobody knows who sends it.
fn judge_head(seat: Seat<'_>, request: &plan::Request, bounds: Bounds) -> Result<usize, aws::ErrorReply> {
    let head = &request.head;
    // What a small body can cost is bounded by its connection, and it is there already: its head is judged once, with it.
    let is_small =
        matches!(request.body_length, BodyLength::Known(length) if length <= collect::SMALL_BYTES as u64);
    if is_small && head.headers.contains_key(header::AUTHORIZATION) {
        return Ok(bounds.limit_bytes);
    }
    let signed = signed_request(seat.core, head, None);
    match seat.door.precheck(&signed, &seat.core.accounts(), aws_now())? {
        true => Ok(bounds.limit_bytes),
        false => bounds.anonymous_bytes.ok_or_else(unsigned),
    }
}

/// Who asks, and what the signature promises about a body that was not read yet.
pub fn identify(
    core: &Core,
    door: &Door,
    head: &RequestHead,
    body_sha256: Option<[u8; 32]>,
) -> Result<(Identity, PayloadMode), aws::ErrorReply> {
    if head.method == Method::OPTIONS || (door.guard == Guard::Tokens && !is_signed(head)) {
        // A browser asks before it sends, and signs nothing: what a URL presigned for another method carries is not for this one.
        // Nor is a presigned URL a token: it would stand in the logs of every proxy for as long as it lives.
        let payload = PayloadMode::Unsigned;
        return Ok((Identity::Anonymous { payload }, payload));
    }
    let identity =
        door.authenticate(&signed_request(core, head, body_sha256), &core.accounts(), aws_now())?;
    let mode = match &identity {
        Identity::Anonymous { payload } => *payload,
        Identity::Key(key) => key.payload,
    };
    Ok((identity, mode))
}

/// Whether `Authorization` holds a signature rather than a token.
fn is_signed(head: &RequestHead) -> bool {
    head.headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
}

fn signed_request<'h>(
    core: &'h Core,
    head: &'h RequestHead,
    body_sha256: Option<[u8; 32]>,
) -> SignedRequest<'h> {
    let authority = head.authority.as_deref().unwrap_or_default();
    SignedRequest {
        method: head.method.as_str(),
        path: &head.path,
        query: head.query.as_deref(),
        headers: &head.headers,
        authority,
        bucket_of_host: bucket_of_host(authority, &core.config.virtual_hosts),
        body_sha256,
    }
}

/// A refusal of authentication.
fn refuse(seat: Seat<'_>, request: &plan::Request, error: aws::ErrorReply, ids: &Ids) -> Reply {
    seat.core.rows.core().refused.add(1);
    seat.core.log.debug("request refused", &[("request_id", &ids.shown()), ("code", &error.code)]);
    seat.door.service.refuse(request, error)
}

/// The answer to a request whose body did not come whole.
fn refuse_body(seat: Seat<'_>, request: &plan::Request, failure: collect::Failure, ids: &Ids) -> Reply {
    use collect::Failure;
    let error = match failure {
        // Nobody waits for an answer, or nobody who speaks HTTP.
        Failure::Disconnected | Failure::Incomplete => return Reply::empty(StatusCode::BAD_REQUEST),
        // As Amazon does, with nothing in it.
        Failure::TooLarge => return Reply::empty(StatusCode::PAYLOAD_TOO_LARGE),
        Failure::Crowded => aws::ErrorReply::new(
            "ThrottlingException",
            400,
            "Too many large requests are being received. Please try again.",
        ),
        Failure::Stalled => aws::ErrorReply::new(
            "RequestTimeout",
            400,
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ),
    };
    refuse(seat, request, error, ids)
}

fn unsigned() -> aws::ErrorReply {
    aws::ErrorReply::new("MissingAuthenticationToken", 403, "Request is missing Authentication Token")
}

/// 503 while shards recover. Clients retry by themselves.
fn starting(service: &dyn Service, request: &plan::Request) -> Reply {
    let error =
        aws::ErrorReply::new("ServiceUnavailable", 503, "The appliance is starting. Please try again.");
    service.refuse(request, error).with(header::RETRY_AFTER, HeaderValue::from_static("1"))
}
