//! One call from request to answer: credentials, framing, signature, attempts.
//! Invariant: a call ends at its deadline, and is repeated only as retry.rs says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cloudkit_core::spi::{ExponentialBackoff, RetryBudget, RetryDecision, RetryPolicy};
use http_types::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_types::{Method, StatusCode};
use tokio::time::Instant;

use crate::body::{Body, Outgoing};
use crate::checksum::{CRC64NVME_NAME, Check};
use crate::chunked::Chunked;
use crate::connect::{ConnectOptions, Connector, Target};
use crate::credentials::{KeyCache, KeySource, Keys};
use crate::date::{self, AmzDate};
use crate::encode::Query;
use crate::error::{WireError, WireKind};
use crate::fault::{FAULT_BYTES_MAX, Fault};
use crate::http2::Waits;
use crate::pool::{InFlight, Pool, PoolOptions};
use crate::reply::Reply;
use crate::retry::{Failed, Idempotency, Skew};
use crate::sign::chunks::ChunkSigner;
use crate::sign::{Payload, Signer, Subject};
use crate::wire::{self, Head};

/// How a client calls.
#[derive(Clone)]
pub struct Settings {
    /// `http://localhost:8080`.
    pub url: String,
    /// In signatures.
    pub region: String,
    /// Of connections.
    pub connect: ConnectOptions,
    /// Of the pool.
    pub pool: PoolOptions,
    /// From the end of a request to the head of its answer.
    pub attempt: Duration,
    /// How long a body may stand still.
    pub stall: Duration,
    /// When to try again; asked only where that is safe. What the peer did not begin with and is sent again at once does not count.
    pub policy: Arc<dyn RetryPolicy>,
    /// What is left for that.
    pub budget: Arc<RetryBudget>,
    /// Whose name the requests bear.
    pub keys: Arc<dyn KeySource>,
    /// Whether bodies of objects are signed; None: where somebody on the way could change them.
    pub signs_bodies: Option<bool>,
    /// What time it is.
    pub clock: fn() -> SystemTime,
}

impl Settings {
    /// The defaults, for an endpoint and a source of keys.
    pub fn new(url: impl Into<String>, keys: Arc<dyn KeySource>) -> Settings {
        Settings {
            url: url.into(),
            region: "us-east-1".into(),
            connect: ConnectOptions::default(),
            pool: PoolOptions::default(),
            attempt: Duration::from_secs(60),
            stall: Duration::from_secs(20),
            policy: Arc::new(ExponentialBackoff::default()),
            budget: Arc::new(RetryBudget::default()),
            keys,
            signs_bodies: None,
            clock: SystemTime::now,
        }
    }
}

/// What is asked of a service.
#[derive(Debug)]
pub struct Request {
    /// The name in signatures: `s3`, `dynamodb`, `sqs`, `sns`.
    pub service: &'static str,
    /// GET, PUT ..
    pub method: Method,
    /// Encoded, see `encode::object_path`.
    pub path: String,
    /// Its pairs.
    pub query: Query,
    /// Beside those that the transport adds.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Body,
    /// What a repetition does.
    pub idempotency: Idempotency,
    /// The end of the whole call.
    pub deadline: Option<Instant>,
    /// What the peer waits by itself before it answers: long polling.
    pub wait: Duration,
    /// Bytes that the answer will have, as far as they are known.
    pub answer_bytes: u64,
}

impl Request {
    /// Of a service, repeated whenever that helps.
    pub fn new(service: &'static str, method: Method, path: impl Into<String>) -> Request {
        Request {
            service,
            method,
            path: path.into(),
            query: Query::new(),
            headers: HeaderMap::with_capacity(12),
            body: Body::Empty,
            idempotency: Idempotency::Always,
            deadline: None,
            wait: Duration::ZERO,
            answer_bytes: 0,
        }
    }
}

/// A call that came to nothing.
#[derive(Debug)]
pub struct CallError {
    /// How often it was sent.
    pub attempts: u32,
    /// What happened the last time.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Cause {
    /// There was no answer, or not a whole one.
    Wire(WireError),
    /// The service refused.
    Fault(Box<Fault>),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.attempts == 1 { "" } else { "s" };
        match &self.cause {
            Cause::Wire(error) => write!(f, "{error} [{} attempt{plural}]", self.attempts),
            Cause::Fault(fault) => write!(
                f,
                "{} ({}): {} [request {}, {} attempt{plural}]",
                fault.code,
                fault.status.as_u16(),
                fault.message,
                fault.request_id,
                self.attempts
            ),
        }
    }
}

impl std::error::Error for CallError {}

/// Calls the services of one endpoint. Clones share everything.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    settings: Settings,
    pool: Arc<Pool>,
    signer: Signer,
    keys: KeyCache,
    skew: Skew,
    /// When the peer's clock was last looked at.
    skew_seconds: AtomicU64,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", self.0.settings.url)
    }
}

/// An answer, and how many attempts it took.
#[derive(Debug)]
pub struct Answered {
    /// With a status of success.
    pub reply: Reply,
    /// How often it was sent.
    pub attempts: u32,
}

/// An answer of which all is there.
#[derive(Debug)]
pub struct Whole {
    /// A success.
    pub status: StatusCode,
    /// Of its head.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
    /// How often it was sent.
    pub attempts: u32,
}

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("cloudkit-zero/", env!("CARGO_PKG_VERSION")));
/// Sent again at once this often when the peer says that it did not begin.
const RESENDS_MAX: u32 = 4;
/// The peer's clock is looked at this often.
const SKEW_PERIOD_SECONDS: u64 = 60;

impl Caller {
    /// Opens nothing yet. Errors: an endpoint that cannot be used.
    pub fn new(settings: Settings) -> Result<Caller, WireError> {
        let target = Target::parse(&settings.url)?;
        let connector = Connector::new(target, settings.connect.clone());
        Ok(Caller::with_connector(settings, connector))
    }

    pub(crate) fn with_connector(settings: Settings, connector: Connector) -> Caller {
        Caller(Arc::new(Inner {
            pool: Pool::new(connector, settings.pool),
            signer: Signer::new(),
            keys: KeyCache::new(settings.keys.clone()),
            skew: Skew::default(),
            skew_seconds: AtomicU64::new(0),
            settings,
        }))
    }

    /// What is in flight.
    pub fn in_flight(&self) -> InFlight {
        self.0.pool.in_flight()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A presigned URL of `method` on `path`, see `Signer::presign`. Errors: no credentials, or a life that is too long.
    pub async fn presign(
        &self,
        method: Method,
        path: &str,
        query: Query,
        headers: &HeaderMap,
        expires: Duration,
    ) -> Result<String, WireError> {
        let inner = &*self.0;
        let now = (inner.settings.clock)();
        let keys = inner.keys.keys(now).await?;
        let target = inner.pool.connector().target();
        let subject = inner.subject(method.as_str(), path, "", "s3");
        let date = AmzDate::of(inner.skew.seconds(now));
        let rest = inner.signer.presign(&subject, &keys, query, headers, expires, date)?;
        Ok(format!("{}://{}{rest}", target.scheme(), target.authority))
    }

    /// Calls. The answer's body may still be on its way. Errors: the last attempt's; a status below 200 or from 300 on is one.
    pub async fn call(&self, request: Request) -> Result<Answered, CallError> {
        self.run(request, None).await.map(|(answered, _)| answered)
    }

    /// Calls and takes the body, too: one that breaks off, or has another checksum than its head says, is a failed attempt as any
    /// other. Errors: as `call`, and a body of more than `bytes_max`.
    pub async fn call_whole(&self, request: Request, bytes_max: usize) -> Result<Whole, CallError> {
        let (answered, body) = self.run(request, Some(bytes_max)).await?;
        let Answered { reply, attempts } = answered;
        Ok(Whole { status: reply.status, headers: reply.headers, body, attempts })
    }

    async fn run(
        &self,
        mut request: Request,
        bytes_max: Option<usize>,
    ) -> Result<(Answered, Bytes), CallError> {
        let inner = &*self.0;
        let query = request.query.encode();
        let path_and_query = if query.is_empty() {
            Bytes::from(request.path.clone())
        } else {
            Bytes::from([&request.path, "?", &query].concat())
        };
        let waits = Waits {
            head: inner.settings.attempt + request.wait,
            stall: inner.settings.stall,
            deadline: request.deadline,
        };
        // A checksum is that of the whole object: not of the answer to a PUT, and not of a range.
        let is_checked = request.service == "s3" && request.method == Method::GET;
        let mut tries = Tries::default();
        loop {
            tries.attempts += 1;
            let attempt = inner.attempt(&mut request, &query, &path_and_query, &waits).await;
            let (cause, failed) = match inner.judge(attempt, bytes_max, is_checked).await {
                Ok((reply, body)) => {
                    inner.settings.budget.succeeded();
                    return Ok((Answered { reply, attempts: tries.attempts }, body));
                }
                Err(failure) => failure,
            };
            let is_replayable = !matches!(&request.body, Body::Stream(stream) if stream.is_started());
            let wait = if failed.may_repeat(request.idempotency, is_replayable) {
                inner.wait_before_next(&mut tries, failed, &cause, request.deadline)
            } else {
                None
            };
            match wait {
                None => return Err(CallError { attempts: tries.attempts, cause }),
                Some(Duration::ZERO) => {}
                Some(wait) => tokio::time::sleep(wait).await,
            }
        }
    }
}

#[derive(Default)]
struct Tries {
    attempts: u32,
    resends: u32,
    was_renewed: bool,
}

impl Inner {
    fn subject<'a>(
        &'a self,
        method: &'a str,
        path: &'a str,
        query: &'a str,
        service: &'a str,
    ) -> Subject<'a> {
        let host = self.pool.connector().target().authority.as_str();
        Subject { method, path, query, host, service, region: &self.settings.region }
    }

    /// One attempt. A stream that was not begun is back in `request` afterwards.
    async fn attempt(
        &self,
        request: &mut Request,
        query: &str,
        path_and_query: &Bytes,
        waits: &Waits,
    ) -> Result<Reply, WireError> {
        let now = (self.settings.clock)();
        let keys = self.keys.keys(now).await?;
        let mut headers = request.headers.clone();
        headers.insert(header::USER_AGENT, USER_AGENT);
        let mut outgoing = self.prepare(request, query, &keys, &mut headers, now)?;
        let head = Head {
            method: request.method.clone(),
            path_and_query: path_and_query.clone(),
            headers,
            answer_bytes: request.answer_bytes,
        };
        let sent = wire::send(&self.pool, head, &mut outgoing, waits).await;
        if outgoing.is_fresh()
            && let Outgoing::Chunked(chunked) = outgoing
        {
            request.body = Body::Stream(chunked.into_source());
        }
        let reply = sent?;
        // A refused signature may be the fault of the clock, and the next one should be better.
        self.learn_time(&reply, now, matches!(reply.status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST));
        Ok(reply)
    }

    /// The body in its framing, and the headers signed.
    fn prepare(
        &self,
        request: &mut Request,
        query: &str,
        keys: &Keys,
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<Outgoing, WireError> {
        let subject = self.subject(request.method.as_str(), &request.path, query, request.service);
        let date = AmzDate::of(self.skew.seconds(now));
        let target = self.pool.connector().target();
        // Nobody between us and the peer can change bytes under TLS or within this machine.
        let is_safe = !self.settings.signs_bodies.unwrap_or(!(target.is_tls || target.is_loopback()));
        let is_s3 = request.service == "s3";
        match &mut request.body {
            Body::Empty => {
                self.signer.sign_headers(&subject, keys, Payload::Whole(&[]), headers, date)?;
                Ok(Outgoing::Empty)
            }
            Body::Bytes(bytes) => {
                let payload = if is_s3 && is_safe { Payload::Unsigned } else { Payload::Whole(bytes) };
                self.signer.sign_headers(&subject, keys, payload, headers, date)?;
                Ok(Outgoing::Bytes(bytes.clone()))
            }
            Body::Stream(stream) => {
                if !is_s3 {
                    return Err(WireError::config("only objects are sent as streams"));
                }
                announce_chunks(headers, stream.length())?;
                let payload = if is_safe { Payload::UnsignedTrailer } else { Payload::SignedChunksTrailer };
                let seed = self.signer.sign_headers(&subject, keys, payload, headers, date)?;
                let signer = (!is_safe).then(|| ChunkSigner::new(seed));
                let spare = stream.spare();
                let stream = std::mem::replace(stream, spare);
                Ok(Outgoing::Chunked(Box::new(Chunked::new(stream, signer))))
            }
        }
    }

    /// The answer, with its body if it is wanted here; otherwise what went wrong.
    async fn judge(
        &self,
        attempt: Result<Reply, WireError>,
        bytes_max: Option<usize>,
        is_checked: bool,
    ) -> Result<(Reply, Bytes), (Cause, Failed)> {
        let of_wire = |error: WireError| {
            let failed = Failed::of_wire(&error);
            (Cause::Wire(error), failed)
        };
        let mut reply = attempt.map_err(of_wire)?;
        if !reply.status.is_success() {
            return Err(self.refusal(reply).await);
        }
        let body = match bytes_max {
            Some(bytes_max) => {
                if is_checked && reply.status == StatusCode::OK {
                    reply.body.verify(Check::from_headers(&reply.headers));
                }
                reply.body.collect(bytes_max).await.map_err(of_wire)?
            }
            None => Bytes::new(),
        };
        Ok((reply, body))
    }

    /// Reads what the service says when it refuses.
    async fn refusal(&self, mut reply: Reply) -> (Cause, Failed) {
        let now = (self.settings.clock)();
        // A body that breaks off leaves the status and the headers, which say enough.
        let body = reply.body.collect(FAULT_BYTES_MAX).await.unwrap_or_default();
        let mut fault = Fault::read(reply.status, &reply.headers, body);
        let retry_after = reply.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        fault.retry_after = retry_after.and_then(|text| date::parse_retry_after(text, self.skew.time(now)));
        let failed = Failed::of_answer(fault.status, &fault.code);
        if failed == Failed::Expired
            && let Ok(keys) = self.keys.keys(now).await
        {
            self.keys.forget(&keys);
        }
        (Cause::Fault(Box::new(fault)), failed)
    }

    fn learn_time(&self, reply: &Reply, now: SystemTime, at_once: bool) {
        let seconds = date::seconds_of(now);
        let last = self.skew_seconds.load(Ordering::Relaxed);
        if !at_once && seconds.abs_diff(last) < SKEW_PERIOD_SECONDS {
            return;
        }
        self.skew_seconds.store(seconds, Ordering::Relaxed);
        if let Some(Ok(text)) = reply.headers.get(header::DATE).map(HeaderValue::to_str) {
            self.skew.learn(text, now);
        }
    }

    /// How long to wait before the next attempt; None when there is none.
    fn wait_before_next(
        &self,
        tries: &mut Tries,
        failed: Failed,
        cause: &Cause,
        deadline: Option<Instant>,
    ) -> Option<Duration> {
        if matches!(failed, Failed::Skewed | Failed::Expired) {
            return (!std::mem::replace(&mut tries.was_renewed, true)).then_some(Duration::ZERO);
        }
        // A connection that goes away is no reason to wait: the next one is another.
        let goes_away = matches!(cause, Cause::Wire(error) if error.kind() == WireKind::NotProcessed);
        if goes_away && tries.resends < RESENDS_MAX {
            tries.resends += 1;
            return Some(Duration::ZERO);
        }
        let counted = tries.attempts - tries.resends - u32::from(tries.was_renewed);
        let kind = cause.kind();
        let Settings { policy, budget, .. } = &self.settings;
        let chosen = match policy.should_retry(&kind, counted) {
            RetryDecision::Retry(wait) if counted < policy.max_attempts() => wait,
            RetryDecision::Retry(_) | RetryDecision::DoNotRetry => return None,
        };
        let asked = match cause {
            Cause::Fault(fault) => fault.retry_after,
            Cause::Wire(_) => None,
        };
        let wait = asked.unwrap_or(chosen);
        let is_in_time = deadline.is_none_or(|deadline| Instant::now() + wait < deadline);
        // Beyond the deadline nothing comes any more, and this answer is known now.
        (is_in_time && budget.spend(&kind)).then_some(wait)
    }
}

const CONTENT_ENCODING_CHUNKED: HeaderValue = HeaderValue::from_static("aws-chunked");
const AMZ_DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
const AMZ_TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");

/// Says in the head that the body comes in chunks and a checksum behind them.
fn announce_chunks(headers: &mut HeaderMap, length: Option<u64>) -> Result<(), WireError> {
    let encoding = match headers.get(header::CONTENT_ENCODING) {
        None => CONTENT_ENCODING_CHUNKED,
        Some(own) => HeaderValue::from_bytes(&[b"aws-chunked,", own.as_bytes()].concat())
            .map_err(|_| WireError::config("the content encoding cannot be sent"))?,
    };
    headers.insert(header::CONTENT_ENCODING, encoding);
    headers.insert(AMZ_TRAILER, HeaderValue::from_static(CRC64NVME_NAME));
    if let Some(length) = length {
        headers.insert(AMZ_DECODED_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}
