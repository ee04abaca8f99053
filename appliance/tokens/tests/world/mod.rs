//! A judge over a real store of two shards, whose clock stands still until a test moves it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws::account::{Account, AccountId, KeyRing};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Dialect, PathCoding, SigV2, Verifier};
use http_types::{HeaderMap, HeaderName, HeaderValue, Method};
use plan::{Caller, Context, Plan, Reply, Request};
use store::disk::RealDisk;
use store::{Clock, ManualClock, Opened, Store, StoreConfig, Timestamp};
use tokens::{
    Denied, EnvironmentToken, Fingerprint, NewToken, Principal, Refused, Scope, Scopes, Settings, TokenId,
    TokenRecord, Tokens, Wanted,
};

pub const ROOT: &str = "000000000000";
pub const START: Timestamp = Timestamp(1_700_000_000_000);
pub const READ_TOKEN: &str = "short-read-token";
pub const WRITE_TOKEN: &str = "a-write-token-of-more-than-32-letters";

/// A store and the judge over it.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    pub tokens: Tokens,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
}

/// What the configuration says in these tests.
pub fn settings() -> Settings {
    let of = |label, scope, text: &str| EnvironmentToken {
        label,
        scopes: Scopes::NONE.with(scope),
        fingerprint: Fingerprint::of(text.as_bytes()),
    };
    Settings {
        root: AccountId::parse(ROOT).expect("digits"),
        environment: vec![
            of("env-read", Scope::CacheRead, READ_TOKEN),
            of("env-write", Scope::CacheWrite, WRITE_TOKEN),
        ],
        anonymous: tokens::Anonymous::Refused,
        allow_plaintext: false,
    }
}

/// A request with these fields from this address.
pub fn request(peer: &str, fields: &[(&str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    Request {
        head: http::RequestHead {
            method: Method::GET,
            path: "/api/v1/stats".into(),
            query: None,
            authority: Some("127.0.0.1:8080".into()),
            headers,
            version: http::Version::H11,
            tls: false,
            peer: format!("{peer}:50000").parse().expect("an address"),
        },
        body_length: http::BodyLength::None,
        collected: None,
        caller: Caller::Anonymous,
        auth: None,
        request_id: RequestId::new(1),
        host_id: HostId::UNUSED,
    }
}

/// `Authorization: Bearer` and this text, from loopback.
pub fn bearer(text: &str) -> Request {
    request("127.0.0.1", &[("authorization", &format!("Bearer {text}"))])
}

impl World {
    pub fn judge(&self, request: &Request) -> Result<Principal, Denied> {
        self.with_context(|cx| self.tokens.judge(cx, request))
    }

    pub async fn create(&self, wanted: Wanted) -> Result<NewToken, Refused> {
        let (give, taken) = slot();
        let plan = self.with_context(|cx| {
            self.tokens.create(cx, wanted, move |_, made| give(made.map(|(token, _)| token)))
        });
        self.drive(plan).await;
        taken()
    }

    pub async fn rotate(&self, id: TokenId, overlap_ms: u64) -> Result<NewToken, Refused> {
        let (give, taken) = slot();
        let plan = self.with_context(|cx| {
            self.tokens.rotate(cx, id, overlap_ms, move |_, made| give(made.map(|(token, _)| token)))
        });
        self.drive(plan).await;
        taken()
    }

    pub async fn revoke(&self, id: TokenId) -> Result<(), Refused> {
        let (give, taken) = slot();
        let plan = self.with_context(|cx| self.tokens.revoke(cx, id, move |_, ended| give(ended)));
        self.drive(plan).await;
        taken()
    }

    pub fn list(&self) -> Vec<(TokenId, TokenRecord)> {
        self.with_context(|cx| self.tokens.list(cx)).expect("the store is well")
    }

    /// Does what the node does each second.
    pub async fn tick(&self) {
        for shard in self.store.shards() {
            while let Some(plan) = self.with_context(|cx| self.tokens.tick(cx, shard)) {
                assert!(self.drive(plan).await.status.is_success());
            }
        }
    }

    pub fn advance_ms(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    fn with_context<T>(&self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut verifier = self.verifier.borrow_mut();
        let mut random = || {
            self.random.set(self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            self.random.get() ^ (self.random.get() >> 29)
        };
        work(&mut Context {
            store: &self.store,
            now: self.clock.now(),
            random: &mut random,
            accounts: &self.ring,
            verifier: &mut verifier,
        })
    }

    async fn drive(&self, mut plan: Plan) -> Reply {
        loop {
            plan = match plan {
                Plan::Reply(reply) => return reply,
                Plan::Step(step) => {
                    let resume = step.run(self.store.clone()).await;
                    self.with_context(resume)
                }
                _ => panic!("tokens ask for operations alone"),
            };
        }
    }
}

/// Where a plan's last closure leaves what it got.
fn slot<T: 'static>() -> (impl FnOnce(T) -> Plan + 'static, impl FnOnce() -> T) {
    let place = std::rc::Rc::new(Cell::new(None));
    let filled = std::rc::Rc::clone(&place);
    let give = move |value| {
        filled.set(Some(value));
        Plan::Reply(Reply::empty(http_types::StatusCode::OK))
    };
    (give, move || place.take().expect("the plan has run"))
}

/// A directory that is gone when the test is.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tokens-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // A process of this number that was killed may have left one.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("temporary directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Runs `work` over the store in a directory, which may hold one already.
pub fn with_world<F, Fut>(directory: &Directory, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let clock = ManualClock::new(START);
    let mut settings = StoreConfig::new(directory.0.clone(), 2, Arc::new(RealDisk));
    settings.map_bytes_total = 1 << 30;
    settings.ballast_bytes = 1 << 20;
    settings.log_segment_bytes = 4 << 20;
    settings.bodyless = tokens::BODYLESS;
    settings.clock = Clock::Manual(clock.clone());
    let opened = Opened::open(settings, true, 1).expect("opens");
    let config = ring::ReactorConfig { backend: ring::Backend::Epoll, ..ring::ReactorConfig::default() };
    ring::Reactor::new(&config).expect("epoll works everywhere").block_on(async {
        let store = opened.start_core(0, 1, 1).expect("starts");
        opened.finish_recovery(&store).await;
        work(world(store.clone(), &clock)).await;
        store.drain().await;
    });
    opened.close();
}

fn world(store: Store, clock: &ManualClock) -> World {
    let dialect = Dialect {
        service: "s3",
        region: "us-east-1".into(),
        path_coding: PathCoding::Once,
        sigv2: SigV2::Refused,
    };
    World {
        store,
        clock: clock.clone(),
        tokens: Tokens::new(self::settings()),
        ring: KeyRing::default(),
        verifier: RefCell::new(Verifier::new(dialect)),
        random: Cell::new(std::process::id().into()),
    }
}

/// The caller of a request that this account has signed.
pub fn signed_by(account: &str) -> Caller {
    Caller::Account(Arc::new(Account::new(AccountId::parse(account).expect("digits"), account)))
}
