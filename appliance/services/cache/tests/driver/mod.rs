//! A small executor of plans against a real store in a directory of its own, with two shards on two cores and a clock that
//! stands still: what the node does for the cache, without sockets.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;

use aws::account::{Account, AccountId, KeyRing};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use bytes::Bytes;
use cache::rate::Rates;
use cache::{Cache, Config};
use cas::{Cas, Settings};
use hash::Algorithm;
use http_types::{HeaderMap, HeaderName, HeaderValue, Method};
use plan::{BodyFailure, Caller, Collected, Context, Plan, Received, Reply, ReplyBody, Request, Service};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{Clock, ManualClock, Opened, Store, StoreConfig, TableId, TableSet, Timestamp};
use tokens::{Anonymous, EnvironmentToken, Fingerprint, Scope, Scopes, Tokens};

mod exchange;

pub use exchange::{Answer, Ask};

/// What the clock shows first.
pub const BEGINNING: Timestamp = Timestamp(1_800_000_000_000);
/// A token that may read everywhere.
pub const READER: &str = "a token for reading";
/// A token that may write everywhere.
pub const WRITER: &str = "a token for writing";
/// A token that may do everything.
pub const ADMIN: &str = "a token for everything";

/// No lookup takes so long, however slow the machine is.
pub const PATIENT: std::time::Duration = std::time::Duration::from_secs(600);

/// The cache and what it runs on.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    pub cas: Cas,
    pub tokens: Tokens,
    cache: Cache,
    root: Arc<Account>,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
    sent: Cell<u64>,
}

/// The body of a request on its way in.
struct Wire {
    pieces: VecDeque<Bytes>,
    is_cut: bool,
    read_bytes: usize,
}

impl Wire {
    fn next(&mut self) -> Result<Option<Bytes>, BodyFailure> {
        match self.pieces.pop_front() {
            Some(piece) => {
                self.read_bytes += piece.len();
                Ok(Some(piece))
            }
            None if self.is_cut => Err(BodyFailure::Disconnected),
            None => Ok(None),
        }
    }
}

impl World {
    /// The same, where namespaces and addresses may have only so much at once.
    pub fn with_rates(self, rates: Rates) -> World {
        self.with_config(Config {
            root_aliases: true,
            rates: Arc::new(rates),
            first_byte: PATIENT,
            ..Config::default()
        })
    }

    /// The same, by another configuration.
    pub fn with_config(self, config: Config) -> World {
        World { cache: Cache::new(config, self.cas.clone(), self.tokens.clone()), ..self }
    }

    /// Sends a request and reads the reply.
    pub async fn send(&self, ask: Ask) -> Answer {
        let (request, mut wire) = self.request(ask);
        let is_head = request.head.method == Method::HEAD;
        let started = self.with_context(|cx| self.cache.start(cx, request));
        let reply = self.drive(started.plan, &mut wire).await;
        let mut answer = self.read(reply).await;
        answer.operation = started.operation;
        answer.read_bytes = wire.read_bytes;
        if is_head {
            answer.body.clear();
        }
        answer
    }

    /// What the service answers where the node refuses before it is asked.
    pub async fn refused(&self, ask: Ask, code: &'static str, status: u16) -> Answer {
        let (request, _) = self.request(ask);
        let reply =
            self.cache.refuse(&request, aws::ErrorReply::new(code, status, "A sentence of the node."));
        self.read(reply).await
    }

    fn request(&self, ask: Ask) -> (Request, Wire) {
        let (path, query) = match ask.target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (ask.target, None),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &ask.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("header name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("header value"));
        }
        let body_bytes: u64 = ask.pieces.iter().map(|piece| piece.len() as u64).sum();
        let is_bodiless = body_bytes == 0 && !matches!(&ask.method[..], "PUT" | "POST");
        self.sent.set(self.sent.get() + 1);
        let request = Request {
            head: http::RequestHead {
                method: Method::from_bytes(ask.method.as_bytes()).expect("method"),
                path,
                query,
                authority: Some("127.0.0.1:9000".to_owned()),
                headers,
                version: http::Version::H11,
                tls: false,
                peer: "127.0.0.1:1".parse().expect("address"),
            },
            body_length: match (is_bodiless, ask.is_chunked) {
                (true, _) => http::BodyLength::None,
                (false, true) => http::BodyLength::Unknown,
                (false, false) => http::BodyLength::Known(body_bytes),
            },
            collected: None,
            caller: match ask.is_root {
                true => Caller::Account(Arc::clone(&self.root)),
                false => Caller::Anonymous,
            },
            auth: None,
            request_id: RequestId::new(self.sent.get()),
            host_id: HostId::UNUSED,
        };
        (request, Wire { pieces: ask.pieces.into(), is_cut: ask.is_cut, read_bytes: 0 })
    }

    /// A new stored token for these namespaces.
    pub async fn token(&self, scope: Scope, namespaces: &[&str]) -> String {
        let wanted = tokens::Wanted {
            name: "test".to_owned(),
            scopes: Scopes::NONE.with(scope),
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            expires: None,
        };
        let made = std::rc::Rc::new(RefCell::new(None));
        let slot = std::rc::Rc::clone(&made);
        let plan = self.with_context(|cx| {
            self.tokens.create(cx, wanted, move |_cx, created| {
                *slot.borrow_mut() = Some(created.expect("made").0.reveal());
                Plan::Reply(Reply::empty(http_types::StatusCode::OK))
            })
        });
        self.drive(plan, &mut Wire { pieces: VecDeque::new(), is_cut: false, read_bytes: 0 }).await;
        made.take().expect("a token")
    }

    /// Does what the node does each second for each shard, until nothing more is due.
    pub async fn tick(&self) {
        for shard in self.store.shards() {
            loop {
                let Some(plan) = self.with_context(|cx| self.cache.tick(cx, shard)) else { break };
                let mut wire = Wire { pieces: VecDeque::new(), is_cut: false, read_bytes: 0 };
                if self.drive(plan, &mut wire).await.status != plan::MORE_IS_DUE {
                    break;
                }
            }
        }
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

    /// Drives a plan that reads no body.
    pub async fn run(&self, plan: Plan) -> Reply {
        self.drive(plan, &mut Wire { pieces: VecDeque::new(), is_cut: false, read_bytes: 0 }).await
    }

    async fn drive(&self, mut plan: Plan, wire: &mut Wire) -> Reply {
        loop {
            plan = match plan {
                Plan::Reply(reply) => return reply,
                Plan::Receive(receive, then) => {
                    let received = self.take_in(receive, wire).await;
                    self.with_context(|cx| then(cx, received))
                }
                Plan::Step(step) => {
                    let resume = step.run(self.store.clone()).await;
                    self.with_context(resume)
                }
                Plan::Pause(then) => {
                    ring::yield_now().await;
                    self.with_context(|cx| then(cx, ()))
                }
                Plan::Next { then } => {
                    let next = wire.next();
                    self.with_context(|cx| then(cx, next))
                }
                Plan::Collect { limit_bytes, then } => {
                    let body = collect(wire, limit_bytes);
                    self.with_context(|cx| then(cx, body))
                }
                Plan::Copy(..) => panic!("the cache does not ask for this"),
            };
        }
    }

    async fn take_in(&self, receive: plan::Receive, wire: &mut Wire) -> Result<Received, BodyFailure> {
        let plan::Receive { length_hint, length_max, owner, digests, prefix, mut filter } = receive;
        assert_eq!(digests.algorithms, [Algorithm::Sha256], "what a blob is called by");
        self.store.admit(owner.shard).await?;
        let mut writer = self.store.body_writer(length_hint, owner);
        let mut sha256 = hash::Digest::new(Algorithm::Sha256);
        let mut piece = Some(prefix);
        while let Some(bytes) = piece {
            let mut input = bytes;
            loop {
                let mut data = Vec::new();
                match &mut filter {
                    Some(filter) => {
                        filter.feed(&input, &mut |found| data.extend_from_slice(found))?;
                        while let Some(then) = filter.hold()? {
                            let plan = self.with_context(|cx| then(cx, ()));
                            Box::pin(self.run(plan)).await;
                        }
                    }
                    None => data.extend_from_slice(&input),
                }
                if writer.length() + data.len() as u64 > length_max {
                    return Err(BodyFailure::TooLarge);
                }
                sha256.update(&data);
                writer.write(&data).await?;
                if !filter.as_ref().is_some_and(|filter| filter.holds_more()) {
                    break;
                }
                input = Bytes::new();
            }
            // Others run between two pieces, as they do while a client sends.
            ring::yield_now().await;
            piece = wire.next()?;
        }
        if let Some(filter) = &mut filter {
            filter.finish()?;
        }
        let length = writer.length();
        let checksums = vec![(Algorithm::Sha256, sha256.finish())];
        Ok(Received { body: writer.seal().await?, length, md5: None, checksums, trailers: Vec::new() })
    }

    /// What a client gets of a reply; what follows from bytes that are wrong is done.
    async fn read(&self, reply: Reply) -> Answer {
        let length = reply.length();
        let Reply { status, headers, body } = reply;
        let mut answer = Answer {
            status: status.as_u16(),
            headers,
            body: Vec::new(),
            length,
            operation: "",
            read_bytes: 0,
            is_cut: false,
        };
        match body {
            ReplyBody::Empty | ReplyBody::Head { .. } => {}
            ReplyBody::Bytes(bytes) => answer.body = bytes.to_vec(),
            ReplyBody::Pieces { pieces, .. } => {
                for piece in pieces {
                    match self.stored(&piece).await {
                        Some(bytes) => answer.body.extend_from_slice(&bytes),
                        None => answer.is_cut = true,
                    }
                }
            }
            ReplyBody::Verified { piece, sha256, mismatch, .. } => match self.stored(&piece).await {
                Some(bytes) if sha256.is_none_or(|wanted| hash::sha256(&bytes) == wanted) => {
                    answer.body = bytes
                }
                _ => {
                    let plan = self.with_context(|cx| mismatch(cx, ()));
                    let mut wire = Wire { pieces: VecDeque::new(), is_cut: false, read_bytes: 0 };
                    let reply = self.drive(plan, &mut wire).await;
                    return Box::pin(self.read(reply)).await;
                }
            },
        }
        answer
    }

    /// The bytes of a piece; none where the store finds them damaged.
    async fn stored(&self, piece: &plan::Piece) -> Option<Vec<u8>> {
        let mut stream = self.store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
        let mut bytes = Vec::new();
        while let Some(data) = stream.next().await {
            bytes.extend_from_slice(&data.ok()?);
        }
        Some(bytes)
    }
}

fn collect(wire: &mut Wire, limit_bytes: usize) -> Result<Collected, BodyFailure> {
    let mut bytes = Vec::new();
    while let Some(piece) = wire.next()? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > limit_bytes {
            return Err(BodyFailure::TooLarge);
        }
    }
    Ok(Collected { bytes: bytes.into(), trailers: Vec::new() })
}

/// Waits for both, side by side.
pub async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(cx)
        {
            second = Some(value);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.expect("ready"), second.expect("ready"))
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

/// Nothing that a test waits for takes longer, on a busy machine neither.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// What an operator of a small cache decides: with few slots for leases, which are made anew for each test.
pub fn settings() -> Settings {
    Settings { max_bytes: 1 << 30, room_patience: PATIENCE, ..Settings::default() }
}

/// How a store is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// What was acknowledged is folded into the index.
    Drained,
    /// Recovery has to read the log.
    AtOnce,
}

/// Runs `work` with a cache in a directory of its own.
pub fn with_world<F, Fut>(name: &str, settings: Settings, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = TempDir::new(name);
    with_world_until(&directory.0, Stop::Drained, &ManualClock::new(BEGINNING), settings, work);
}

/// The tables without bodies of the cache and of tokens.
fn bodyless() -> TableSet {
    let all = (0..=u8::MAX).map(TableId);
    let without = all.filter(|table| cas::BODYLESS.contains(*table) || tokens::BODYLESS.contains(*table));
    without.fold(TableSet::EMPTY, TableSet::with)
}

/// How a store for tests is set up.
pub fn store_config(directory: &Path, clock: &ManualClock) -> StoreConfig {
    let mut config = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    config.map_bytes_total = 4 << 30;
    config.ballast_bytes = 1 << 20;
    // Folds come often, so that records lie in all three layers.
    config.limits.fold_entries = 200;
    config.bodyless = bodyless();
    config.clock = Clock::Manual(clock.clone());
    config
}

/// Runs `work` with a cache over a store of two shards on two cores, in a directory that may hold one already, and leaves it as
/// the caller says.
pub fn with_world_until<F, Fut>(directory: &Path, end: Stop, clock: &ManualClock, settings: Settings, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = Arc::new(Opened::open(store_config(directory, clock), true, seed()).expect("opens"));
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
        work(world(store.clone(), clock, settings)).await;
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

fn world(store: Store, clock: &ManualClock, settings: Settings) -> World {
    let dialect = Dialect {
        service: "cache",
        region: "us-east-1".to_owned(),
        path_coding: PathCoding::Once,
        sigv2: aws::sigv4::SigV2::Refused,
    };
    let root = AccountId::parse("000000000000").expect("digits");
    let account = Arc::new(Account::new(root, "root"));
    let mut ring = KeyRing::default();
    ring.add_key(aws::account::AccessKey {
        id: "AKTEST".into(),
        secret: aws::account::Secret::new("secret".to_owned()),
        session: None,
        account: Arc::clone(&account),
    });
    let token = |label, text: &str, scope| EnvironmentToken {
        label,
        scopes: Scopes::NONE.with(scope),
        fingerprint: Fingerprint::of(text.as_bytes()),
    };
    let tokens = Tokens::new(tokens::Settings {
        root,
        environment: vec![
            token("env-read", READER, Scope::CacheRead),
            token("env-write", WRITER, Scope::CacheWrite),
            token("env-admin", ADMIN, Scope::CacheAdmin),
        ],
        anonymous: Anonymous::Refused,
        allow_plaintext: false,
    });
    let cas = Cas::new(settings);
    World {
        store,
        clock: clock.clone(),
        cache: Cache::new(
            Config { root_aliases: true, first_byte: PATIENT, ..Config::default() },
            cas.clone(),
            tokens.clone(),
        ),
        cas,
        tokens,
        root: account,
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
