//! Lookups that cannot be answered in time: they are shed in the words that each client takes for a miss, and are none.

mod driver;

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws::request_id::RequestId;
use cache::Config;
use cache::call::Call;
use cache::observe::watch;
use cache::refusal::{Form, Kind, Refusal};
use cache::router::Operation;
use cas::{Dialect, Digest, Namespace};
use driver::{Ask, PATIENT, READER, WRITER, World, both, settings, with_world};
use http_types::{HeaderMap, Method, StatusCode};
use plan::{Deadline, Plan, Reply, Resume, Step};
use store::Store;
use tokens::{Principal, Scope, Scopes, Who};

fn object(bytes: &[u8]) -> String {
    format!("/api/v1/objects/{}", Digest::of(bytes))
}

async fn put(world: &World, target: &str, bytes: &[u8]) {
    let status = world.send(Ask::new("PUT", target).by(WRITER).body(bytes)).await.status;
    assert!(status < 300, "{target}: {status}");
}

static LOOKUP: Operation = Operation::new("x_get", Kind::Lookup, |_, _| Err(Refusal::NotFound));

/// A lookup that has no time left, or all the time that it needs.
fn call(world: &World, dialect: Dialect, deadline: Option<Deadline>) -> Rc<Call> {
    Rc::new(Call {
        config: Rc::new(Config::default()),
        cas: world.cas.clone(),
        principal: Principal {
            who: Who::Root,
            scopes: Scopes::NONE.with(Scope::CacheAdmin),
            namespaces: Vec::new(),
        },
        namespace: Namespace::default_one(),
        operation: &LOOKUP,
        form: Form { dialect, kind: Kind::Lookup, request_id: RequestId::new(1) },
        now: world.clock.now(),
        head: http::RequestHead {
            method: Method::GET,
            path: "/".to_owned(),
            query: None,
            headers: HeaderMap::new(),
            version: http::Version::H11,
            authority: None,
            tls: false,
            peer: "127.0.0.1:1".parse().expect("an address"),
        },
        rest_at: 0,
        body_length: http::BodyLength::None,
        stored_bytes: Cell::new(0),
        deadline: Cell::new(deadline),
        waiting: Rc::default(),
        throttled: None,
    })
}

/// Work that does not end, as of a store that stands still.
struct Never;

impl Step for Never {
    fn run(self: Box<Self>, _store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        Box::pin(pending())
    }
}

/// Work that is done in the next turn.
struct Soon;

impl Step for Soon {
    fn run(self: Box<Self>, _store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        Box::pin(async {
            ring::yield_now().await;
            let resume: Resume = Box::new(|_| Plan::Reply(Reply::empty(StatusCode::OK)));
            resume
        })
    }
}

#[test]
fn a_lookup_that_is_late_is_shed_as_its_client_survives_it_and_is_no_miss() {
    with_world("cache-late", settings(), |world| async move {
        let over = || Some(Deadline::after(Duration::ZERO));
        let statuses = [(Dialect::Native, 503), (Dialect::Ccache, 404), (Dialect::Nx, 404)];
        for (dialect, status) in statuses {
            let call = call(&world, dialect, over());
            let reply = Box::pin(world.run(watch(&call, Plan::Step(Box::new(Never)))));
            let reply = Deadline::after(PATIENT).of(reply).await.expect("it is given up");
            assert_eq!(reply.status.as_u16(), status, "{dialect:?}");
            assert_eq!(reply.headers["retry-after"], "1", "{dialect:?}");
            assert_eq!(call.waiting.get(), 0);
        }
        let figures = world.cas.figures(world.clock.now());
        assert_eq!((figures.hits, figures.misses, figures.shed), (0, 0, 3));
        // What is done counts, however late the machine is.
        for deadline in [over(), Some(Deadline::after(PATIENT)), None] {
            let call = call(&world, Dialect::Ccache, deadline);
            let reply = world.run(watch(&call, Plan::Step(Box::new(Soon)))).await;
            assert_eq!(reply.status, StatusCode::OK);
        }
    });
}

#[test]
fn a_lookup_that_waits_within_its_time_is_answered() {
    with_world("cache-in-time", settings(), |world| async move {
        put(&world, &object(b"native"), b"native").await;
        let leases = &world.cas.shared().leases;
        let held = leases.condemn_by_force(&Digest::of(b"native")).expect("nobody else condemns");
        let (found, ()) = both(world.send(Ask::new("GET", &object(b"native")).by(READER)), async {
            ring::sleep(Duration::from_millis(5)).await;
            drop(held);
        })
        .await;
        found.expect(200);
    });
}

#[test]
fn more_lookups_than_may_wait_are_shed_at_once() {
    with_world("cache-queue", settings(), |world| async move {
        put(&world, &object(b"native"), b"native").await;
        let config =
            Config { first_byte: PATIENT, root_aliases: true, waiting_count_max: 1, ..Config::default() };
        let world = world.with_config(config);
        let leases = &world.cas.shared().leases;
        let held = leases.condemn_by_force(&Digest::of(b"native")).expect("nobody else condemns");
        let ask = || world.send(Ask::new("GET", &object(b"native")).by(READER));
        let (found, ()) = both(ask(), async {
            // The first waits for the slot, which is held until the second has been answered.
            ask().await.expect(503);
            drop(held);
        })
        .await;
        found.expect(200);
        ask().await.expect(200);
        assert_eq!(world.cas.shared().counters.shed.load(Ordering::Relaxed), 1);
    });
}
