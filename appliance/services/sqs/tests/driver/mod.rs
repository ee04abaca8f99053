//! A small executor of plans against a real store in a directory of its own, with two shards on two cores and a clock that
//! stands still: what the node does, without sockets and signatures.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, PoisonError, RwLock};
use std::time::Duration;

use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use bytes::Bytes;
use http_types::{HeaderMap, HeaderValue, Method};
use plan::{Caller, Collected, Context, Plan, Reply, ReplyBody, Request, Service};
use ring::{Backend, Reactor, ReactorConfig};
use serde_json::Value as Json;
use store::disk::real::RealDisk;
use store::{Clock, ManualClock, Opened, Store, StoreConfig, Timestamp};

pub mod direct;

/// The account of these tests.
pub const MAIN: &str = "000000000000";
/// What the clock shows first.
pub const BEGINNING: Timestamp = Timestamp(1_800_000_000_000);

/// The service and what it runs on.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    service: sqs::Sqs,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
    sent: Cell<u64>,
}

/// A reply.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl World {
    /// Sends a request of the JSON protocol.
    pub async fn send(&self, operation: &str, body: &Json) -> Raw {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
        let target = format!("AmazonSQS.{operation}");
        headers.insert("x-amz-target", HeaderValue::from_str(&target).expect("a target"));
        self.send_raw(headers, body.to_string().into_bytes()).await
    }

    /// Sends any bytes under any headers.
    pub async fn send_raw(&self, headers: HeaderMap, body: Vec<u8>) -> Raw {
        self.sent.set(self.sent.get() + 1);
        let account = Arc::clone(self.ring.accounts().first().expect("made with one"));
        let request = Request {
            head: http::RequestHead {
                method: Method::POST,
                path: "/".to_owned(),
                query: None,
                authority: Some("127.0.0.1:9000".to_owned()),
                headers,
                version: http::Version::H11,
                tls: false,
                peer: "127.0.0.1:1".parse().expect("address"),
            },
            body_length: http::BodyLength::Known(body.len() as u64),
            collected: Some(Bytes::from(body)),
            caller: Caller::Account(account),
            auth: None,
            request_id: RequestId::new(self.sent.get()),
            host_id: HostId::UNUSED,
        };
        let plan = self.with_context(|cx| self.service.start(cx, request)).plan;
        let reply = self.drive(plan).await;
        let body = match reply.body {
            ReplyBody::Empty | ReplyBody::Head { .. } => Vec::new(),
            ReplyBody::Bytes(bytes) => bytes.to_vec(),
            ReplyBody::Pieces { .. } | ReplyBody::Verified { .. } => panic!("this service streams no bodies"),
        };
        Raw { status: reply.status.as_u16(), headers: reply.headers, body }
    }

    /// Lets time pass, and lets everything happen that it brings: waiters that are woken, work that nobody asked for.
    pub async fn advance(&self, pause_ms: u64) {
        self.clock.advance(Duration::from_millis(pause_ms));
        self.store.catch_up().await.expect("the store is open");
        while self.tick().await > 0 {}
        self.store.catch_up().await.expect("the store is open");
    }

    /// Does what the node does each second for each shard, until nothing more is due. Gives how many plans had more to do.
    pub async fn tick(&self) -> usize {
        let mut had_more = 0;
        for shard in self.store.shards() {
            loop {
                let Some(plan) = self.with_context(|cx| self.service.tick(cx, shard)) else { break };
                if self.drive(plan).await.status != plan::MORE_IS_DUE {
                    break;
                }
                had_more += 1;
            }
        }
        had_more
    }

    /// Lends what a service gets.
    pub fn with_context<T>(&self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut verifier = self.verifier.borrow_mut();
        let mut random = || {
            self.random.set(self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            self.random.get() ^ (self.random.get() >> 29)
        };
        let mut cx = Context {
            store: &self.store,
            now: self.clock.now(),
            random: &mut random,
            accounts: &self.ring,
            verifier: &mut verifier,
        };
        work(&mut cx)
    }

    /// Drives a plan to its reply.
    async fn drive(&self, mut plan: Plan) -> Reply {
        loop {
            plan = match plan {
                Plan::Reply(reply) => return reply,
                Plan::Collect { then, .. } => {
                    let body = Collected { bytes: Bytes::new(), trailers: Vec::new() };
                    self.with_context(|cx| then(cx, Ok(body)))
                }
                Plan::Step(step) => {
                    let resume = step.run(self.store.clone()).await;
                    self.with_context(resume)
                }
                Plan::Pause(then) => {
                    ring::yield_now().await;
                    self.with_context(|cx| then(cx, ()))
                }
                Plan::Next { .. } | Plan::Receive(..) | Plan::Copy(..) => {
                    panic!("this service streams no bodies")
                }
            };
        }
    }
}

/// A directory that is gone when the test is.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory that cannot be removed is left for the next clean build.
        let _gone: std::io::Result<()> = std::fs::remove_dir_all(&self.0);
    }
}

/// Written while a process starts, read while a store opens. Until it runs its own program a child has a copy of each descriptor
/// of this process, and with that of a lock file the lock: a directory that was closed a moment ago would still be in use.
pub static STARTING: RwLock<()> = RwLock::new(());

/// How a store is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// What was acknowledged is folded into the index.
    Drained,
    /// Recovery has to read the log.
    AtOnce,
}

/// Runs `work` with a service over a store of two shards on two cores, in a directory that may hold one already, and leaves
/// it as the caller says.
pub fn with_world_until<F, Fut>(directory: &Path, end: Stop, clock: &ManualClock, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut settings = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    settings.map_bytes_total = 4 << 30;
    settings.ballast_bytes = 1 << 20;
    // Folds come often, so that records lie in all three layers.
    settings.limits.fold_entries = 200;
    // The store's own batch behind a quiet time would look as if somebody had written.
    settings.limits.proof_delay = Duration::from_secs(3_600);
    settings.bodyless = sqs::store::BODYLESS;
    settings.receivers =
        settings.receivers.with(plan::delivery::QUEUE_MOVE, Arc::new(sqs::engine::moving::MoveReceiver));
    settings.clock = Clock::Manual(clock.clone());
    let opened = {
        let _none_starts = STARTING.read().unwrap_or_else(PoisonError::into_inner);
        Arc::new(Opened::open(settings, true, seed()).expect("opens"))
    };
    assert_eq!(opened.core_count(2), 2, "a shard for each core");
    let (started, stopped) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let stop = Arc::new(AtomicBool::new(false));
    let other = {
        let (opened, started, stopped) = (Arc::clone(&opened), Arc::clone(&started), Arc::clone(&stopped));
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut reactor = reactor();
            reactor.block_on(async {
                let store = opened.start_core(1, 2, seed()).expect("starts");
                started.wait();
                while !stop.load(Ordering::Acquire) {
                    ring::sleep(Duration::from_millis(1)).await;
                }
                if end == Stop::Drained {
                    store.drain().await;
                }
            });
            drop(reactor);
            stopped.wait();
        })
    };
    let mut reactor = reactor();
    reactor.block_on(async {
        let store = opened.start_core(0, 2, seed()).expect("starts");
        started.wait();
        opened.finish_recovery(&store).await;
        work(world(store.clone(), clock)).await;
        if end == Stop::Drained {
            store.drain().await;
        }
        stop.store(true, Ordering::Release);
    });
    drop(reactor);
    stopped.wait();
    other.join().expect("the other core ended well");
    Arc::into_inner(opened).expect("every core has let go").close();
}

fn world(store: Store, clock: &ManualClock) -> World {
    let mut ring = KeyRing::default();
    let account = Account::new(AccountId::parse(MAIN).expect("digits"), MAIN);
    ring.add_key(AccessKey {
        id: format!("AK{MAIN}").into(),
        secret: Secret::new(format!("secret-{MAIN}")),
        session: None,
        account: Arc::new(account),
    });
    let config = sqs::Config { region: "us-east-1".to_owned(), public_url: None };
    let dialect = Dialect {
        service: "sqs",
        region: config.region.clone(),
        path_coding: PathCoding::Once,
        sigv2: aws::sigv4::SigV2::Refused,
    };
    World {
        store,
        clock: clock.clone(),
        service: sqs::Sqs::new(config),
        ring,
        verifier: RefCell::new(Verifier::new(dialect)),
        random: Cell::new(seed()),
        sent: Cell::new(0),
    }
}

fn reactor() -> Reactor {
    Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() }).expect("reactor")
}

/// A number that differs from run to run; tests that use one print it.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8)
}
