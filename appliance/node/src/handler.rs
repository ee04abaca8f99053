//! The way of a request: name the service, say who asks, start the service, drive its plan, send the reply, count it.
//! Invariant: every request gets an answer with a request id, and nothing of a signature or a query reaches the log.
//! Leaves to the services: what requests mean.

use std::rc::Rc;
use std::time::Instant;

use aws::request_id::{HostId, JsonRequestId, RequestId};
use bytes::Bytes;
use http::{Handler, Refusal, Responder, ResponseHead};
use http_types::{HeaderValue, Method, StatusCode, header};
use plan::Reply;

use crate::core::Core;
use crate::door::{IdForm, Seat};
use crate::drive::reply::{self, Ids};
use crate::entry::{self, Visit};
use crate::metrics::{Sample, cache};
use crate::route::{AbsentService, Dialect, Route, route, route_to_cache};
use crate::{admin, admin_tokens};

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
    visit: Visit,
}

impl NodeHandler {
    /// The handler of a core.
    pub fn new(core: Rc<Core>) -> NodeHandler {
        NodeHandler { core }
    }

    async fn answer(
        &self,
        route: Route,
        request: (http::RequestHead, http::RequestBody),
        client: &http::Responder,
        ids: &Ids,
        trace: &mut Trace,
    ) -> Reply {
        let (head, body) = request;
        match route {
            Route::Admin if head.path.starts_with(admin_tokens::PREFIX) => {
                (trace.service, trace.operation) = ("node", "tokens");
                // Boxed: rare, and each request's future has room for the largest of its parts.
                Box::pin(admin_tokens::answer(&self.core, &head, body, client, ids)).await
            }
            Route::Admin => {
                (trace.service, trace.operation) = ("node", "admin");
                admin::answer(&self.core, &head)
            }
            Route::Absent(service) => {
                (trace.service, trace.operation) = (service.name, "unbuilt");
                absent(service, ids)
            }
            Route::Service(service) => {
                trace.service = self.core.door(service).name;
                let reply =
                    entry::serve(&self.core, service, head, body, client, ids, &mut trace.visit).await;
                trace.operation = trace.visit.operation.unwrap_or("unknown");
                reply
            }
        }
    }

    fn finish(&self, head: &Seen, ids: &Ids, trace: &Trace, sent: &reply::Sent) {
        let core = &*self.core;
        let took = trace.begun.elapsed();
        core.rows.count(&Sample {
            service: trace.service,
            operation: trace.operation,
            status: sent.status.as_u16(),
            received_bytes: trace.visit.received_bytes,
            sent_bytes: sent.bytes,
            took,
        });
        if trace.service == cache::SERVICE && matches!(head.method, Method::GET | Method::HEAD) {
            core.rows.core().first_byte.count(sent.first_byte.saturating_duration_since(trace.begun));
        }
        match &sent.trouble {
            Some(reply::Trouble::Store(fault)) => {
                core.rows.core().aborted.add(1);
                core.log
                    .error("stored bytes cannot be read", &[("request_id", &ids.shown()), ("fault", fault)]);
            }
            Some(reply::Trouble::Client(error)) => {
                core.rows.core().aborted.add(1);
                core.log.debug("client left", &[("request_id", &ids.shown()), ("error", error)]);
            }
            None => {}
        }
        if core.log.shows_access() {
            let account =
                trace.visit.account.as_ref().map_or("-".to_string(), |account| account.id.to_string());
            core.log.access(&[
                ("request_id", &ids.shown()),
                ("peer", &head.peer),
                ("method", &head.method),
                ("path", &head.path),
                ("service", &trace.service),
                ("operation", &trace.operation),
                ("account", &account),
                ("status", &sent.status.as_u16()),
                ("received_bytes", &trace.visit.received_bytes),
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
        let route = match self.core.config.cache_only {
            true => route_to_cache(&head),
            false => route(&head, &self.core.config.virtual_hosts),
        };
        let ids = draw_ids(&self.core, id_form(&self.core, route));
        let shows_path = self.core.log.shows_access();
        let seen = Seen {
            method: head.method.clone(),
            path: if shows_path { head.path.clone() } else { String::new() },
            peer: head.peer,
        };
        let mut trace = Trace { begun, service: "", operation: "", visit: Visit::default() };
        let reply = self.answer(route, (head, body), &responder, &ids, &mut trace).await;
        let sent = send(&self.core, route, &seen.method, &ids, reply, responder).await;
        self.finish(&seen, &ids, &trace, &sent);
    }

    fn refuse(&self, refusal: Refusal) -> (ResponseHead, Bytes) {
        // No service is known of what is no request; S3's form is the one that every tool can show.
        let (request, host) = draw_s3_ids(&self.core);
        let ids = Ids::S3 { request, host };
        self.core.rows.core().refused.add(1);
        self.core
            .log
            .debug("message refused", &[("request_id", &ids.shown()), ("reason", &refusal.reason())]);
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
        (head, error.to_xml(None, &request, &host).into())
    }
}

async fn send(
    core: &Core,
    route: Route,
    method: &Method,
    ids: &Ids,
    reply: Reply,
    responder: Responder,
) -> reply::Sent {
    let seat = match route {
        Route::Service(service) if core.store_if_started().is_some() => {
            Some(Seat { core, door: core.door(service), client: None })
        }
        Route::Service(_) | Route::Admin | Route::Absent(_) => None,
    };
    reply::send(seat.as_ref(), method, ids, reply, responder).await
}

fn id_form(core: &Core, route: Route) -> IdForm {
    match route {
        Route::Service(service) => core.door(service).ids,
        Route::Admin | Route::Absent(_) => IdForm::S3,
    }
}

fn draw_ids(core: &Core, form: IdForm) -> Ids {
    match form {
        IdForm::S3 => {
            let (request, host) = draw_s3_ids(core);
            Ids::S3 { request, host }
        }
        IdForm::Json => Ids::Json { request: JsonRequestId::new(core.random()) },
        IdForm::Uuid => Ids::Uuid { request: RequestId::uuid(core.random(), core.random()) },
        IdForm::Plain => Ids::Plain { request: RequestId::uuid(core.random(), core.random()) },
    }
}

fn draw_s3_ids(core: &Core) -> (RequestId, HostId) {
    let number = core.random();
    (RequestId::new(number), HostId::new(core.node_number(), number))
}

/// 501 in the dialect of a service that is not built.
fn absent(service: &AbsentService, ids: &Ids) -> Reply {
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
            writer.text("RequestId", ids.shown());
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
    use std::sync::Arc;

    use http::RequestHead;

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
            let doors = crate::services::Doors::new(&config, &crate::services::Shared::new(&config, None));
            let core = Core::new(0, config, status, Log::to_stderr(Level::Error, false), doors);
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
