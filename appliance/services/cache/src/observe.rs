//! What is counted of a request: by its operation and its reply, in one place for every dialect.
//! Invariant: one lookup of a key is one hit or one miss; what was refused or shed is neither.
//! Leaves to `cas`: adding up.
//!
//! ```text
//! HEAD                        a HEAD, whatever came of it
//! GET of what may be missed   200, 206, 304 a hit | 404 a miss | the rest nothing
//! PUT                         2xx an upload of the announced bytes, or of those stored
//! POST /objects/missing       200 a question
//! Retry-After                 shed, whatever the status
//! ```

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use ::store::Store;
use cas::Dialect;
use cas::stats::Lookup;
use http_types::{Method, StatusCode, header};
use plan::{Context, Late, Plan, Reply, ReplyBody, Resume, Step, Then};

use crate::call::{Call, Shared};
use crate::dialects::gradle::NOT_KEPT;
use crate::dialects::{nx, turbo};
use crate::native::missing::MISSING;
use crate::refusal::{Kind, Refusal};

/// The same plan; its reply is counted when it is known.
pub fn watch(call: &Shared, plan: Plan) -> Plan {
    match plan {
        // The usual end of a lookup, which costs nothing more.
        Plan::Reply(mut reply) => {
            count(call, &reply);
            hurry(call, &mut reply);
            Plan::Reply(reply)
        }
        Plan::Collect { limit_bytes, then } => Plan::Collect { limit_bytes, then: watched(call, then) },
        Plan::Next { then } => Plan::Next { then: watched(call, then) },
        Plan::Receive(receive, then) => Plan::Receive(receive, watched(call, then)),
        Plan::Copy(copy, then) => Plan::Copy(copy, watched(call, then)),
        Plan::Step(step) => Plan::Step(Box::new(Watched { step, call: Rc::clone(call) })),
        Plan::Pause(then) => Plan::Pause(watched(call, then)),
    }
}

fn watched<T: 'static>(call: &Shared, then: Then<T>) -> Then<T> {
    let call = Rc::clone(call);
    Box::new(move |cx: &mut Context<'_>, value| watch(&call, then(cx, value)))
}

/// A step whose rest is watched.
struct Watched {
    step: Box<dyn Step>,
    call: Shared,
}

impl Step for Watched {
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Watched { step, call } = *self;
        let Some(deadline) = call.deadline.get() else {
            let work = step.run(store);
            return Box::pin(async move {
                let resume = work.await;
                let watched: Resume = Box::new(move |cx| watch(&call, resume(cx)));
                watched
            });
        };
        Box::pin(async move {
            let resume = match Waiting::take(&call) {
                Some(_waiting) => deadline.of(step.run(store)).await,
                None => None,
            };
            let watched: Resume = Box::new(move |cx| {
                let plan = match resume {
                    Some(resume) => resume(cx),
                    None => call.refuse(&Refusal::Overloaded),
                };
                watch(&call, plan)
            });
            watched
        })
    }

    fn ends_with_client(&self) -> bool {
        self.step.ends_with_client()
    }
}

/// A lookup that waits for the store, as one of no more than there may be.
struct Waiting(Rc<Cell<usize>>);

impl Waiting {
    fn take(call: &Call) -> Option<Waiting> {
        let count = call.waiting.get();
        (count < call.config.waiting_count_max).then(|| {
            call.waiting.set(count + 1);
            Waiting(Rc::clone(&call.waiting))
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Says what is sent instead when the first bytes of what was found cannot be had in time. It was a hit, and stays counted as one.
fn hurry(call: &Shared, reply: &mut Reply) {
    let Some(deadline) = call.deadline.get() else { return };
    if let ReplyBody::Verified { late, .. } = &mut reply.body {
        let (cas, form) = (call.cas.clone(), call.form);
        let then = Box::new(move || {
            cas.shared().counters.shed.fetch_add(1, Ordering::Relaxed);
            Refusal::Overloaded.reply(&form)
        });
        *late = Some(Late { deadline, then });
    }
}

/// Counts what a reply says.
fn count(call: &Call, reply: &Reply) {
    // Nothing else that comes from an operation says when to come again.
    let is_shed = reply.headers.contains_key(header::RETRY_AFTER);
    if is_shed {
        call.cas.shared().counters.shed.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let ns = &call.namespace;
    count_bytes(call, reply);
    match call.head.method {
        Method::HEAD => call.cas.count(ns, Lookup::Head, 0),
        Method::GET if call.operation.kind == Kind::Lookup => match reply.status {
            StatusCode::NOT_FOUND => call.cas.count(ns, Lookup::Miss, 0),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {
                call.cas.count(ns, Lookup::Hit, reply.length());
                // Who has it already fetches nothing.
                if reply.status != StatusCode::NOT_MODIFIED {
                    call.cas.count_fetched(ns, call.dialect(), fetched_name(call));
                }
            }
            _ => {}
        },
        // What Gradle is told that it was taken, and was not, is no upload.
        Method::PUT if reply.status.is_success() && !reply.headers.contains_key(NOT_KEPT) => {
            call.cas.count_upload(ns, call.uploaded_bytes());
        }
        Method::POST if std::ptr::eq(call.operation, &MISSING) && reply.status.is_success() => {
            call.cas.count(ns, Lookup::Missing, 0);
        }
        _ => {}
    }
}

/// Counts what a request takes of the bytes that its namespace may have in a second.
fn count_bytes(call: &Call, reply: &Reply) {
    let came = if call.head.method == Method::PUT { call.uploaded_bytes() } else { 0 };
    let leaves = match reply.body {
        ReplyBody::Head { .. } => 0,
        _ => reply.length(),
    };
    call.config.rates.count_bytes(call.now, &call.namespace, came.saturating_add(leaves));
}

/// How the list of what is fetched most calls what a request is about: by the client's key, and the words before it where the dialect
/// has more than one kind of key.
fn fetched_name(call: &Call) -> &str {
    let rest = call.rest();
    let key = match call.dialect() {
        Dialect::Turbo => rest.strip_prefix(turbo::ROOT),
        Dialect::Nx => rest.strip_prefix(nx::ROOT),
        _ => None,
    };
    key.unwrap_or(rest).trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use aws::request_id::RequestId;
    use cas::{Cas, Namespace, Settings};
    use http::BodyLength;
    use http_types::HeaderMap;
    use store::Timestamp;
    use tokens::{Principal, Scope, Scopes, Who};

    use super::*;
    use crate::Config;
    use crate::refusal::Form;
    use crate::router::Operation;

    static LOOKUP: Operation = Operation::new("x_get", Kind::Lookup, |_, _| Err(Refusal::NotFound));

    fn call(method: Method, dialect: Dialect) -> Shared {
        let kind = if method == Method::PUT { Kind::Write } else { Kind::Lookup };
        Rc::new(Call {
            config: Rc::new(Config::default()),
            // With few slots for leases.
            cas: Cas::new(Settings { max_bytes: 1 << 20, ..Settings::default() }),
            principal: Principal {
                who: Who::Root,
                scopes: Scopes::NONE.with(Scope::CacheAdmin),
                namespaces: Vec::new(),
            },
            namespace: Namespace::default_one(),
            operation: &LOOKUP,
            form: Form { dialect, kind, request_id: RequestId::new(1) },
            now: Timestamp(1_800_000_000_000),
            head: http::RequestHead {
                method,
                path: "/".to_owned(),
                query: None,
                headers: HeaderMap::new(),
                version: http::Version::H11,
                authority: None,
                tls: false,
                peer: "127.0.0.1:1".parse().expect("an address"),
            },
            rest_at: 0,
            body_length: BodyLength::Known(7),
            stored_bytes: Cell::new(0),
            deadline: Cell::new(None),
            waiting: Rc::default(),
            throttled: None,
        })
    }

    /// Hits, misses, bytes sent, bytes received, and what was shed.
    fn counted(method: Method, dialect: Dialect, reply: impl FnOnce(&Call) -> Reply) -> [u64; 5] {
        let call = call(method, dialect);
        let reply = reply(&call);
        assert!(matches!(watch(&call, Plan::Reply(reply)), Plan::Reply(_)));
        let figures = call.cas.figures(call.now);
        [figures.hits, figures.misses, figures.bytes_out, figures.bytes_in, figures.shed]
    }

    fn refused(refusal: &'static Refusal) -> impl FnOnce(&Call) -> Reply {
        move |call| refusal.reply(&call.form)
    }

    #[test]
    fn a_lookup_that_is_shed_is_no_miss_in_whatever_shape_it_is_told() {
        for dialect in Dialect::ALL {
            let shed = counted(Method::GET, dialect, refused(&Refusal::Overloaded));
            assert_eq!(shed, [0, 0, 0, 0, 1], "{dialect:?}");
            let missed = counted(Method::GET, dialect, refused(&Refusal::NotFound));
            assert_eq!(missed, [0, 1, 0, 0, 0], "{dialect:?}");
            let shed = counted(Method::PUT, dialect, refused(&Refusal::Overloaded));
            assert_eq!(shed, [0, 0, 0, 0, 1], "{dialect:?}");
        }
    }

    #[test]
    fn a_hit_counts_its_bytes_and_an_upload_those_that_were_announced() {
        let whole = |_: &Call| Reply::bytes(StatusCode::OK, "text/plain", "12345");
        assert_eq!(counted(Method::GET, Dialect::Nx, whole), [1, 0, 5, 0, 0]);
        let same = |_: &Call| Reply::empty(StatusCode::NOT_MODIFIED);
        assert_eq!(counted(Method::GET, Dialect::Nx, same), [1, 0, 0, 0, 0]);
        let stored = |_: &Call| Reply::empty(StatusCode::ACCEPTED);
        assert_eq!(counted(Method::PUT, Dialect::Turbo, stored), [0, 0, 0, 7, 0]);
        let dropped = |_: &Call| {
            Reply::empty(StatusCode::ACCEPTED)
                .with(NOT_KEPT, http_types::HeaderValue::from_static("CacheFull"))
        };
        assert_eq!(counted(Method::PUT, Dialect::Gradle, dropped), [0; 5]);
    }

    #[test]
    fn what_a_hit_sends_is_counted_by_its_name() {
        let named = |dialect, path: &str, status| {
            let mut call = call(Method::GET, dialect);
            Rc::get_mut(&mut call).expect("not shared yet").head.path = path.to_owned();
            let reply = Reply::bytes(status, "text/plain", "12345");
            drop(watch(&call, Plan::Reply(reply)));
            call.cas
                .most_fetched(None, 9)
                .into_iter()
                .map(|one| (one.name.into_string(), one.count))
                .collect::<Vec<(String, u64)>>()
        };
        let none: Vec<(String, u64)> = Vec::new();
        let ok = StatusCode::OK;
        assert_eq!(named(Dialect::Turbo, "/v8/artifacts/33c4", ok), [("33c4".to_owned(), 1)]);
        assert_eq!(named(Dialect::Nx, "/v1/cache/17", ok), [("17".to_owned(), 1)]);
        assert_eq!(named(Dialect::Bazel, "/ac/ff", StatusCode::PARTIAL_CONTENT), [("ac/ff".to_owned(), 1)]);
        assert_eq!(named(Dialect::Ccache, "/ff", StatusCode::NOT_MODIFIED), none);
        assert_eq!(named(Dialect::Ccache, "/ff", StatusCode::NOT_FOUND), none);
    }

    #[test]
    fn what_is_refused_is_neither_a_hit_nor_a_miss() {
        for refusal in [&Refusal::Forbidden, &Refusal::TooLarge, &Refusal::Full] {
            for method in [Method::GET, Method::PUT] {
                assert_eq!(counted(method, Dialect::Native, refused(refusal)), [0; 5], "{refusal:?}");
            }
        }
    }
}
