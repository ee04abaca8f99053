//! A small executor of plans against a real store in a directory of its own, with two shards on two cores: what the node
//! does, without sockets and signatures.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use bytes::Bytes;
use http_types::{HeaderMap, HeaderValue, Method, StatusCode};
use plan::{Caller, Collected, Context, Plan, Reply, ReplyBody, Request, Service};
use ring::{Backend, Reactor, ReactorConfig};
use serde_json::Value as Json;
use store::disk::real::RealDisk;
use store::{Opened, Store, StoreConfig, Timestamp};

pub mod audit;
pub mod direct;

/// The account that most tests use.
pub const MAIN: &str = "000000000000";
/// Another account.
pub const OTHER: &str = "111111111111";

/// The service and what it runs on.
pub struct World {
    pub store: Store,
    service: dynamodb::Dynamo,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
    sent: Cell<u64>,
    /// The time that requests see, where a test sets it. Operations on their shards see the clock.
    pub now: Cell<Option<Timestamp>>,
}

/// A reply.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The document.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).expect("a JSON document")
    }

    /// The part of an error's type behind its name space.
    pub fn error(&self) -> String {
        let json = self.json();
        let kind = json["__type"].as_str().unwrap_or_default();
        kind.rsplit('#').next().unwrap_or_default().to_owned()
    }

    /// The text of an error, in whichever member it is.
    pub fn message(&self) -> String {
        let json = self.json();
        let text = json["message"].as_str().or(json["Message"].as_str());
        text.unwrap_or_default().to_owned()
    }

    /// The document of a reply that is no error.
    #[track_caller]
    pub fn ok(self) -> Json {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The reply, when it is this error.
    #[track_caller]
    pub fn expect_error(self, name: &str) -> Answer {
        assert_eq!(self.error(), name, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// Where a plan that a test wrote leaves its result.
pub struct Out<T>(Rc<RefCell<Option<T>>>);

impl<T> Out<T> {
    /// Ends the plan with this result.
    pub fn done(self, value: T) -> Plan {
        *self.0.borrow_mut() = Some(value);
        Plan::Reply(Reply::empty(StatusCode::OK))
    }
}

impl World {
    /// Sends a request of the main account: the operation's name without its version, and the document.
    pub async fn send(&self, operation: &str, body: &Json) -> Answer {
        self.send_as(MAIN, operation, body).await
    }

    /// The same of another account.
    pub async fn send_as(&self, account: &str, operation: &str, body: &Json) -> Answer {
        let target = match operation {
            "ListStreams" | "DescribeStream" | "GetShardIterator" | "GetRecords" => {
                "DynamoDBStreams_20120810"
            }
            _ => "DynamoDB_20120810",
        };
        self.send_raw(account, &format!("{target}.{operation}"), body.to_string().into_bytes()).await
    }

    /// Sends any bytes to any target.
    pub async fn send_raw(&self, account: &str, target: &str, body: Vec<u8>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert("x-amz-target", HeaderValue::from_str(target).expect("a target"));
        self.sent.set(self.sent.get() + 1);
        let found = self.ring.accounts().iter().find(|found| found.id.as_str() == account);
        let request = Request {
            head: http::RequestHead {
                method: Method::POST,
                path: "/".to_owned(),
                query: None,
                authority: Some("127.0.0.1".to_owned()),
                headers,
                version: http::Version::H11,
                tls: false,
                peer: "127.0.0.1:1".parse().expect("address"),
            },
            body_length: http::BodyLength::Known(body.len() as u64),
            collected: Some(Bytes::from(body)),
            caller: Caller::Account(Arc::clone(found.expect("a known account"))),
            auth: None,
            request_id: RequestId::new(self.sent.get()),
            host_id: HostId::UNUSED,
        };
        let plan = self.with_context(|cx| self.service.start(cx, request)).plan;
        let reply = self.drive(plan).await;
        let body = match reply.body {
            ReplyBody::Empty | ReplyBody::Head { .. } => Vec::new(),
            ReplyBody::Bytes(bytes) => bytes.to_vec(),
            ReplyBody::Pieces { .. } | ReplyBody::Verified { .. } => panic!("this service keeps no bodies"),
        };
        Answer { status: reply.status.as_u16(), headers: reply.headers, body }
    }

    /// Drives a plan of a test's own and gives what it ends with.
    pub async fn run<T>(&self, start: impl FnOnce(&mut Context<'_>, Out<T>) -> Plan) -> T {
        let result = Rc::new(RefCell::new(None));
        let plan = self.with_context(|cx| start(cx, Out(Rc::clone(&result))));
        self.drive(plan).await;
        result.borrow_mut().take().expect("the plan ends with its result")
    }

    /// Does what the node does each second for each shard, until nothing more is due. Gives how many plans ran.
    pub async fn tick(&self) -> usize {
        let mut ran = 0;
        for shard in self.store.shards() {
            loop {
                let Some(plan) = self.with_context(|cx| self.service.tick(cx, shard)) else { break };
                ran += 1;
                if self.drive(plan).await.status != plan::MORE_IS_DUE {
                    break;
                }
            }
        }
        ran
    }

    /// The first plan that is due on any shard.
    pub fn tick_once(&self) -> Option<Plan> {
        let shards: Vec<_> = self.store.shards().collect();
        shards.into_iter().find_map(|shard| self.with_context(|cx| self.service.tick(cx, shard)))
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
            now: self.now.get().unwrap_or_else(Timestamp::from_system_clock),
            random: &mut random,
            accounts: &self.ring,
            verifier: &mut verifier,
        };
        work(&mut cx)
    }

    /// Drives a plan to its reply.
    pub async fn drive(&self, mut plan: Plan) -> Reply {
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

/// The configuration of most tests.
pub fn config() -> dynamodb::Config {
    dynamodb::Config { region: "us-east-1".to_owned() }
}

/// Runs `work` with a service over a new store of two shards on two cores.
pub fn with_world<F, Fut>(name: &str, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = TempDir::new(name);
    with_world_at(&directory.0, work);
}

/// How a store is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// What was acknowledged is folded into the index.
    Drained,
    /// Recovery has to read the log.
    AtOnce,
}

/// The same over a directory that may hold a store already.
pub fn with_world_at<F, Fut>(directory: &Path, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    with_world_until(directory, Stop::Drained, work);
}

/// The same, left as the caller says.
pub fn with_world_until<F, Fut>(directory: &Path, end: Stop, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    with_worlds_until(directory, end, work, async |_| ());
}

/// Runs `first` on one core and `second` on the other, over one new store; it is closed when both have ended.
pub fn with_worlds<F, Fut, S>(name: &str, first: F, second: S)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
    S: AsyncFnOnce(World) + Send + 'static,
{
    let directory = TempDir::new(name);
    with_worlds_until(&directory.0, Stop::Drained, first, second);
}

/// The same over a directory that may hold a store already, left as the caller says.
pub fn with_worlds_until<F, Fut, S>(directory: &Path, end: Stop, first: F, second: S)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
    S: AsyncFnOnce(World) + Send + 'static,
{
    let mut settings = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    settings.map_bytes_total = 4 << 30;
    settings.ballast_bytes = 1 << 20;
    // Folds come often, so that records lie in all three layers.
    settings.limits.fold_entries = 200;
    settings.bodyless = dynamodb::store::BODYLESS;
    let opened = Arc::new(Opened::open(settings, true, seed()).expect("opens"));
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
                second(world(store.clone())).await;
                while !stop.load(Ordering::Acquire) {
                    ring::sleep(std::time::Duration::from_millis(1)).await;
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
        first(world(store.clone())).await;
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

fn world(store: Store) -> World {
    let mut ring = KeyRing::default();
    for id in [MAIN, OTHER] {
        let account = Account::new(AccountId::parse(id).expect("digits"), id);
        ring.add_key(AccessKey {
            id: format!("AK{id}").into(),
            secret: Secret::new(format!("secret-{id}")),
            session: None,
            account: Arc::new(account),
        });
    }
    let dialect = Dialect {
        service: "dynamodb",
        region: config().region,
        path_coding: PathCoding::Once,
        sigv2: aws::sigv4::SigV2::Refused,
    };
    World {
        store,
        service: dynamodb::Dynamo::new(config()),
        ring,
        verifier: RefCell::new(Verifier::new(dialect)),
        random: Cell::new(seed()),
        sent: Cell::new(0),
        now: Cell::new(None),
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
