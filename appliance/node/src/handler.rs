//! The way of a request: name the service, say who asks, start the service, drive its plan, send the reply, count it.
//! Invariant: every request gets an answer with a request id, and nothing of a signature or a query reaches the log.
//! Leaves to the services: what requests mean.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use aws::account::Account;
use aws::payload::PayloadMode;
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Identity, SignedRequest};
use bytes::Bytes;
use http::{Handler, Refusal, RequestHead, Responder, ResponseHead};
use http_types::{HeaderValue, Method, StatusCode, header};
use plan::{Caller, Reply, Service};

use crate::admin;
use crate::core::Core;
use crate::drive::{self, intake::Intake, reply};
use crate::metrics::Sample;
use crate::route::{AbsentService, Dialect, Route, bucket_of_host, route};
use crate::status::Phase;

/// Answers the requests of one core.
#[derive(Clone)]
pub struct NodeHandler {
    core: Rc<Core>,
}

/// What the log and the counters say about a request.
struct Trace {
    begun: Instant,
    service: &'static str,
    operation: &'static str,
    account: Option<Arc<Account>>,
    received_bytes: u64,
}

/// A reply and the way it goes.
struct Answer {
    reply: Reply,
    trace: Trace,
}

impl NodeHandler {
    /// The handler of a core.
    pub fn new(core: Rc<Core>) -> NodeHandler {
        NodeHandler { core }
    }

    async fn answer(
        &self,
        head: RequestHead,
        body: http::RequestBody,
        ids: &reply::Ids,
        begun: Instant,
    ) -> Answer {
        let mut trace =
            Trace { begun, service: "node", operation: "admin", account: None, received_bytes: 0 };
        let reply = match route(&head, &self.core.config.virtual_hosts) {
            Route::Admin => admin::answer(&self.core, &head),
            Route::Absent(service) => {
                (trace.service, trace.operation) = (service.name, "unbuilt");
                absent(service, ids)
            }
            Route::S3 => {
                (trace.service, trace.operation) = ("s3", "unknown");
                self.serve(self.core.s3.as_ref(), head, body, ids, &mut trace).await
            }
        };
        Answer { reply, trace }
    }

    async fn serve(
        &self,
        service: &dyn Service,
        head: RequestHead,
        body: http::RequestBody,
        ids: &reply::Ids,
        trace: &mut Trace,
    ) -> Reply {
        let core = &*self.core;
        let mut request = plan::Request {
            body_length: body.length(),
            collected: None,
            caller: Caller::Anonymous,
            auth: None,
            request_id: ids.request,
            host_id: ids.host,
            head,
        };
        if core.store_if_started().is_none() || core.status.phase() == Phase::Recovering {
            return starting(service, &request);
        }
        let (identity, mode) = match identify(core, &request.head) {
            Ok(found) => found,
            Err(error) => {
                core.rows.core().refused.add(1);
                core.log.debug("request refused", &[("request_id", &ids.request), ("code", &error.code)]);
                return service.refuse(&request, error);
            }
        };
        let mut signer = None;
        if let Identity::Key(mut key) = identity {
            signer = key.chunk_signer.take();
            trace.account = Some(key.account.clone());
            request.caller = Caller::Account(key.account.clone());
            request.auth = Some(key);
        }
        let mut intake = match Intake::new(body, mode, signer, &request.head.headers) {
            Ok(intake) => intake,
            Err(error) => return service.refuse(&request, error),
        };
        let started = drive::Host::with_context(core, |cx| service.start(cx, request));
        trace.operation = started.operation;
        let reply = drive::drive(core, started.plan, &mut intake).await;
        trace.received_bytes = intake.received_bytes();
        reply
    }

    fn finish(&self, head: &Seen, ids: &reply::Ids, trace: &Trace, sent: &reply::Sent) {
        let core = &*self.core;
        let took = trace.begun.elapsed();
        core.rows.count(&Sample {
            service: trace.service,
            operation: trace.operation,
            status: sent.status.as_u16(),
            received_bytes: trace.received_bytes,
            sent_bytes: sent.bytes,
            took,
        });
        match &sent.trouble {
            Some(reply::Trouble::Store(fault)) => {
                core.rows.core().aborted.add(1);
                core.log
                    .error("stored bytes cannot be read", &[("request_id", &ids.request), ("fault", fault)]);
            }
            Some(reply::Trouble::Client(error)) => {
                core.rows.core().aborted.add(1);
                core.log.debug("client left", &[("request_id", &ids.request), ("error", error)]);
            }
            None => {}
        }
        if core.log.shows_access() {
            let account = trace.account.as_ref().map_or("-".to_string(), |account| account.id.to_string());
            core.log.access(&[
                ("request_id", &ids.request),
                ("peer", &head.peer),
                ("method", &head.method),
                ("path", &head.path),
                ("service", &trace.service),
                ("operation", &trace.operation),
                ("account", &account),
                ("status", &sent.status.as_u16()),
                ("received_bytes", &trace.received_bytes),
                ("sent_bytes", &sent.bytes),
                ("duration_us", &took.as_micros()),
            ]);
        }
    }
}

/// What of a head the access log shows. Not the query: it may hold a signature.
struct Seen {
    method: Method,
    path: String,
    peer: std::net::SocketAddr,
}

/// Counts a request as being handled until it is dropped.
struct InFlight(Rc<Core>);

impl InFlight {
    fn new(core: &Rc<Core>) -> InFlight {
        core.rows.core().in_flight.add(1);
        InFlight(core.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.rows.core().in_flight.subtract(1);
    }
}

impl Handler for NodeHandler {
    async fn call(&self, request: http::Request) {
        let begun = Instant::now();
        let _in_flight = InFlight::new(&self.core);
        let http::Request { head, body, responder } = request;
        let ids = draw_ids(&self.core);
        let shows_path = self.core.log.shows_access();
        let seen = Seen {
            method: head.method.clone(),
            path: if shows_path { head.path.clone() } else { String::new() },
            peer: head.peer,
        };
        let Answer { reply, trace } = self.answer(head, body, &ids, begun).await;
        let sent = send(&self.core, &seen.method, &ids, reply, responder).await;
        self.finish(&seen, &ids, &trace, &sent);
    }

    fn refuse(&self, refusal: Refusal) -> (ResponseHead, Bytes) {
        let ids = draw_ids(&self.core);
        self.core.rows.core().refused.add(1);
        self.core
            .log
            .debug("message refused", &[("request_id", &ids.request), ("reason", &refusal.reason())]);
        let code = match refusal {
            Refusal::HeadTooLarge => "RequestHeaderSectionTooLarge",
            Refusal::HeadTimeout => "RequestTimeout",
            Refusal::NotImplemented(_) => "NotImplemented",
            Refusal::BodyTooLarge => "EntityTooLarge",
            Refusal::TargetTooLong => "InvalidURI",
            _ => "BadRequest",
        };
        let mut head = ResponseHead::new(refusal.status());
        ids.stamp(&mut head.headers);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let error = aws::ErrorReply::new(code, refusal.status().as_u16(), refusal.reason());
        (head, error.to_xml(None, &ids.request, &ids.host).into())
    }
}

async fn send(
    core: &Core,
    method: &Method,
    ids: &reply::Ids,
    reply: Reply,
    responder: Responder,
) -> reply::Sent {
    reply::send(core.store_if_started(), method, ids, reply, responder).await
}

fn draw_ids(core: &Core) -> reply::Ids {
    let number = core.random();
    reply::Ids { request: RequestId::new(number), host: HostId::new(core.node_number(), number) }
}

/// Who asks, and what the signature promises about the body.
pub fn identify(core: &Core, head: &RequestHead) -> Result<(Identity, PayloadMode), aws::ErrorReply> {
    if head.method == Method::OPTIONS {
        // A browser asks before it sends, and signs nothing: what a URL presigned for another method carries is not for this one.
        let payload = PayloadMode::Unsigned;
        return Ok((Identity::Anonymous { payload }, payload));
    }
    let authority = head.authority.as_deref().unwrap_or_default();
    let identity = core.authenticate(&SignedRequest {
        method: head.method.as_str(),
        path: &head.path,
        query: head.query.as_deref(),
        headers: &head.headers,
        authority,
        bucket_of_host: bucket_of_host(authority, &core.config.virtual_hosts),
        body_sha256: None,
    })?;
    let mode = match &identity {
        Identity::Anonymous { payload } => *payload,
        Identity::Key(key) => key.payload,
    };
    Ok((identity, mode))
}

/// 503 while shards recover. Clients retry by themselves.
fn starting(service: &dyn Service, request: &plan::Request) -> Reply {
    let error =
        aws::ErrorReply::new("ServiceUnavailable", 503, "The appliance is starting. Please try again.");
    service.refuse(request, error).with(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// 501 in the dialect of a service that is not built.
fn absent(service: &AbsentService, ids: &reply::Ids) -> Reply {
    let text = format!("{} is not part of this version of ZeroCloud.", service.name);
    let status = StatusCode::NOT_IMPLEMENTED;
    match service.dialect {
        Dialect::Json => {
            let body = serde_json::json!({ "__type": "com.amazonaws#NotImplemented", "message": text });
            Reply::bytes(status, "application/x-amz-json-1.0", body.to_string())
        }
        Dialect::Query => {
            let mut writer = aws::xml::Writer::with_capacity(256);
            writer.open("ErrorResponse");
            writer.open("Error");
            writer.text("Type", "Receiver");
            writer.text("Code", "NotImplemented");
            writer.text("Message", &text);
            writer.close("Error");
            writer.text("RequestId", &ids.request);
            writer.close("ErrorResponse");
            Reply::bytes(status, "text/xml", writer.into_bytes())
        }
        Dialect::RestJson => {
            let body = serde_json::json!({ "message": text });
            let name = header::HeaderName::from_static("x-amzn-errortype");
            Reply::bytes(status, "application/json", body.to_string())
                .with(name, HeaderValue::from_static("NotImplemented"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Layer};
    use crate::drive::testing::on_reactor;
    use crate::log::{Level, Log};
    use crate::route::tests::head;
    use crate::status::Status;

    /// What a core without a store answers: the state during recovery.
    fn answer_while_recovering(head: RequestHead) -> http::Reply {
        on_reactor(async {
            let config = Config::merge(Layer::default(), Layer::default(), None, false).expect("defaults");
            let config = Arc::new(config);
            let status = Status::new(1, "epoll", vec![]);
            let s3 = crate::services::s3(&config);
            let core = Core::new(0, config, status, Log::to_stderr(Level::Error, false), s3);
            let (request, reply) = http::detached_request(head, http::RequestBody::empty());
            NodeHandler::new(core).call(request).await;
            reply.await.expect("answered")
        })
    }

    #[test]
    fn data_requests_get_503_with_retry_after_while_shards_recover() {
        let reply = answer_while_recovering(head(Method::GET, "/bucket/key", None));
        assert_eq!(reply.head.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.head.headers[header::RETRY_AFTER], "1");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(text.contains("<Code>ServiceUnavailable</Code>"), "{text}");
        let id = reply.head.headers["x-amz-request-id"].to_str().expect("ASCII");
        assert!(text.contains(&format!("<RequestId>{id}</RequestId>")), "{text}");
    }

    #[test]
    fn health_is_answered_while_shards_recover() {
        let live = answer_while_recovering(head(Method::GET, "/-/live", None));
        assert_eq!(live.head.status, StatusCode::OK);
        let ready = answer_while_recovering(head(Method::GET, "/-/ready", None));
        assert_eq!(ready.head.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(String::from_utf8_lossy(&ready.body).contains("\"phase\":\"recovering\""));
    }

    #[test]
    fn a_head_request_gets_the_length_and_no_body() {
        let reply = answer_while_recovering(head(Method::HEAD, "/-/live", None));
        assert_eq!(reply.head.headers[header::CONTENT_LENGTH], "5");
        assert!(reply.body.is_empty());
    }

    #[test]
    fn each_dialect_of_an_absent_service_is_its_own() {
        let mut request = head(Method::POST, "/", None);
        let scope = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0";
        request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static(scope));
        let reply = answer_while_recovering(request);
        assert_eq!(reply.head.status, StatusCode::NOT_IMPLEMENTED);
        assert!(reply.body.starts_with(b"<ErrorResponse><Error>"));
        let reply = answer_while_recovering(head(Method::GET, "/v1/things", None));
        assert_eq!(reply.head.headers["x-amzn-errortype"], "NotImplemented");
    }
}
