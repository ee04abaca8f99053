//! A small executor of plans against a real store in a directory of its own, with two shards on two cores: what the node
//! does, without sockets and signatures.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use aws::xml::Document;
use bytes::Bytes;
use hash::Digest;
use http_types::{HeaderMap, HeaderName, HeaderValue, Method};
use plan::{BodyFailure, Caller, Collected, Context, Plan, Received, ReplyBody, Request, Service};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{Opened, Store, StoreConfig};

/// The account that most tests use.
pub const MAIN: Option<&str> = Some("main");
/// Another account.
pub const ALT: Option<&str> = Some("alt");
/// An account with a name space of its own.
pub const TENANT: Option<&str> = Some("tenant");
/// Nobody.
pub const ANONYMOUS: Option<&str> = None;

/// The service and what it runs on.
pub struct World {
    pub store: Store,
    s3: s3::S3,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
    sent: Cell<u64>,
    /// While set, bodies that have arrived wait before the service hears of them.
    pub holds_bodies: Cell<bool>,
    /// Bodies that wait.
    pub held_count: Cell<usize>,
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub length: u64,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII header"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8 body")
    }

    /// The code of an error document.
    pub fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }

    /// The text of the first element below the root with this name.
    pub fn element(&self, name: &str) -> Option<String> {
        let document = Document::parse(&self.body, 64 << 20).ok()?;
        document.root().child_text(name).map(str::to_owned)
    }

    /// For each element of this name below the root, the texts of some of its children ("" where absent).
    pub fn rows(&self, name: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let document = Document::parse(&self.body, 64 << 20).expect("XML");
        let row = |element: aws::xml::Element<'_, '_>| {
            columns.iter().map(|column| element.child_text(column).unwrap_or("").to_owned()).collect()
        };
        document.root().children_named(name).map(row).collect()
    }

    /// The reply, when its status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The reply, when it is this error.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Answer {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

/// Where a request's body is while a plan reads it.
struct Wire {
    rest: Bytes,
    piece_bytes: usize,
    trailers: Vec<(String, String)>,
}

impl Wire {
    fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.rest.split_to(self.piece_bytes.min(self.rest.len())))
    }
}

impl World {
    /// Sends a request and reads the reply.
    pub async fn send(
        &self,
        caller: Option<&str>,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.send_with(caller, method, target, headers, body, &[]).await
    }

    /// The same with trailers behind the body.
    pub async fn send_with(
        &self,
        caller: Option<&str>,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        trailers: &[(&str, &str)],
    ) -> Answer {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("header name");
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("header value"));
        }
        self.sent.set(self.sent.get() + 1);
        let account = |name: &str| {
            let found = self.ring.accounts().iter().find(|account| account.name == name);
            Arc::clone(found.expect("a known account"))
        };
        let is_bodiless = body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE");
        let request = Request {
            head: http::RequestHead {
                method: Method::from_bytes(method.as_bytes()).expect("method"),
                path: path.to_owned(),
                query,
                authority: Some(
                    map.get("host").map_or("127.0.0.1", |host| host.to_str().expect("host")).to_owned(),
                ),
                headers: map,
                version: http::Version::H11,
                tls: false,
                peer: "127.0.0.1:1".parse().expect("address"),
            },
            body_length: match is_bodiless {
                true => http::BodyLength::None,
                false => http::BodyLength::Known(body.len() as u64),
            },
            collected: None,
            caller: caller.map_or(Caller::Anonymous, |name| Caller::Account(account(name))),
            auth: None,
            request_id: RequestId::new(self.sent.get()),
            host_id: HostId::new(0, self.sent.get()),
        };
        let trailers =
            trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let wire = Wire { rest: Bytes::copy_from_slice(body), piece_bytes: 70_001, trailers };
        let plan = self.with_context(|cx| self.s3.start(cx, request)).plan;
        self.drive(plan, wire).await
    }

    fn with_context<T>(&self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut verifier = self.verifier.borrow_mut();
        let mut random = || {
            self.random.set(self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            self.random.get() ^ (self.random.get() >> 29)
        };
        let mut cx = Context {
            store: &self.store,
            now: store::Timestamp::from_system_clock(),
            random: &mut random,
            accounts: &self.ring,
            verifier: &mut verifier,
        };
        work(&mut cx)
    }

    async fn drive(&self, mut plan: Plan, mut wire: Wire) -> Answer {
        loop {
            plan = match plan {
                Plan::Reply(reply) => return self.read(reply).await,
                Plan::Collect { limit_bytes, then } => {
                    let body = std::mem::take(&mut wire.rest);
                    let outcome = if body.len() > limit_bytes {
                        Err(BodyFailure::TooLarge)
                    } else {
                        Ok(Collected { bytes: body, trailers: wire.trailers.clone() })
                    };
                    self.with_context(|cx| then(cx, outcome))
                }
                Plan::Next { then } => {
                    let piece = wire.next();
                    self.with_context(|cx| then(cx, Ok(piece)))
                }
                Plan::Receive(receive, then) => {
                    let outcome = self.receive(receive, &mut wire).await;
                    self.with_context(|cx| then(cx, outcome))
                }
                Plan::Copy(copy, then) => {
                    let outcome = self.copy(copy).await;
                    self.with_context(|cx| then(cx, outcome))
                }
                Plan::Step(step) => {
                    let resume = step.run(self.store.clone()).await;
                    self.with_context(resume)
                }
                Plan::Pause(then) => {
                    ring::yield_now().await;
                    self.with_context(|cx| then(cx, ()))
                }
            };
        }
    }

    async fn receive(&self, receive: plan::Receive, wire: &mut Wire) -> Result<Received, BodyFailure> {
        let mut sink =
            Sink::new(self.store.body_writer(receive.length_hint, receive.owner), &receive.digests);
        let mut filter = receive.filter;
        let mut piece = Some(receive.prefix);
        while let Some(bytes) = piece {
            let mut data = Vec::new();
            match &mut filter {
                Some(filter) => filter.feed(&bytes, &mut |found| data.extend_from_slice(found))?,
                None => data.extend_from_slice(&bytes),
            }
            if sink.length + data.len() as u64 > receive.length_max {
                return Err(BodyFailure::TooLarge);
            }
            sink.write(&data).await?;
            piece = wire.next();
        }
        if let Some(filter) = &mut filter {
            filter.finish()?;
        }
        let received = sink.finish(std::mem::take(&mut wire.trailers)).await;
        self.held_count.set(self.held_count.get() + 1);
        while self.holds_bodies.get() {
            ring::yield_now().await;
        }
        self.held_count.set(self.held_count.get() - 1);
        received
    }

    async fn copy(&self, copy: plan::Copy) -> Result<Received, BodyFailure> {
        let mut sink = Sink::new(self.store.body_writer(None, copy.owner), &copy.digests);
        for piece in copy.pieces {
            let mut stream =
                self.store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
            while let Some(bytes) = stream.next().await {
                sink.write(&bytes?).await?;
            }
        }
        sink.finish(Vec::new()).await
    }

    async fn read(&self, reply: plan::Reply) -> Answer {
        let length = reply.length();
        let mut body = Vec::new();
        match reply.body {
            ReplyBody::Empty | ReplyBody::Head { .. } => {}
            ReplyBody::Bytes(bytes) => body.extend_from_slice(&bytes),
            ReplyBody::Verified { .. } => panic!("this service knows no SHA-256 of its bodies"),
            ReplyBody::Pieces { pieces, .. } => {
                for piece in pieces {
                    let range = piece.start..piece.start + piece.length;
                    let mut stream = self.store.read(&piece.pin, &piece.body, range);
                    while let Some(bytes) = stream.next().await {
                        body.extend_from_slice(&bytes.expect("stored bytes are whole"));
                    }
                }
                assert_eq!(body.len() as u64, length, "pieces add up to Content-Length");
            }
        }
        Answer { status: reply.status.as_u16(), headers: reply.headers, body, length }
    }
}

/// Writes a body and computes its digests.
struct Sink {
    writer: store::BodyWriter,
    md5: Option<hash::Md5>,
    digests: Vec<Digest>,
    length: u64,
}

impl Sink {
    fn new(writer: store::BodyWriter, wanted: &plan::Digests) -> Sink {
        let digests = wanted.algorithms.iter().map(|algorithm| Digest::new(*algorithm)).collect();
        Sink { writer, md5: wanted.md5.then(hash::Md5::new), digests, length: 0 }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BodyFailure> {
        self.length += bytes.len() as u64;
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.digests.iter_mut().for_each(|digest| digest.update(bytes));
        Ok(self.writer.write(bytes).await?)
    }

    async fn finish(self, trailers: Vec<(String, String)>) -> Result<Received, BodyFailure> {
        Ok(Received {
            body: self.writer.seal().await?,
            length: self.length,
            md5: self.md5.map(hash::Md5::finish),
            checksums: self.digests.into_iter().map(|digest| (digest.algorithm(), digest.finish())).collect(),
            trailers,
        })
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

/// The configuration that the public suite asks for.
pub fn suite_config() -> s3::Config {
    s3::Config {
        default_ownership: s3::model::Ownership::ObjectWriter,
        default_public_access_block: None,
        ..s3::Config::default()
    }
}

/// Runs `work` with a service over a new store of two shards on two cores.
pub fn with_world<F, Fut>(name: &str, config: s3::Config, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = TempDir::new(name);
    with_world_at(&directory.0, config, work);
}

/// The same over a directory that may hold a store already.
pub fn with_world_at<F, Fut>(directory: &Path, config: s3::Config, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut settings = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    settings.map_bytes_total = 4 << 30;
    settings.ballast_bytes = 1 << 20;
    settings.log_segment_bytes = 4 << 20;
    settings.limits.fold_entries = 500;
    let opened = Arc::new(Opened::open(settings, true, seed()).expect("opens"));
    let cores = opened.core_count(2);
    let (started, stopped) = (Arc::new(Barrier::new(cores)), Arc::new(Barrier::new(cores)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut others = Vec::new();
    for core in 1..cores {
        let (opened, started, stopped) = (Arc::clone(&opened), Arc::clone(&started), Arc::clone(&stopped));
        let stop = Arc::clone(&stop);
        others.push(std::thread::spawn(move || {
            let mut reactor = reactor();
            reactor.block_on(async {
                let store = opened.start_core(core, cores, seed()).expect("starts");
                started.wait();
                while !stop.load(Ordering::Acquire) {
                    ring::sleep(std::time::Duration::from_millis(1)).await;
                }
                store.drain().await;
            });
            drop(reactor);
            stopped.wait();
        }));
    }
    let mut reactor = reactor();
    reactor.block_on(async {
        let store = opened.start_core(0, cores, seed()).expect("starts");
        started.wait();
        opened.finish_recovery(&store).await;
        work(world(store.clone(), config)).await;
        store.drain().await;
        stop.store(true, Ordering::Release);
    });
    drop(reactor);
    stopped.wait();
    for other in others {
        other.join().expect("core ended well");
    }
    Arc::into_inner(opened).expect("every core has let go").close();
}

fn world(store: Store, config: s3::Config) -> World {
    let mut ring = KeyRing::default();
    for (id, name) in [("000000000000", "main"), ("111111111111", "alt"), ("222222222222", "tenant")] {
        let mut account = Account::new(AccountId::parse(id).expect("digits"), name);
        account.email = Some(format!("{name}@example.test"));
        account.tenant = (name == "tenant").then(|| "t1".to_owned());
        ring.add_key(AccessKey {
            id: format!("AK{name}").into(),
            secret: Secret::new(format!("secret-{name}")),
            session: None,
            account: Arc::new(account),
        });
    }
    let dialect = Dialect {
        service: "s3",
        region: config.region.clone(),
        path_coding: PathCoding::Once,
        sigv2: aws::sigv4::SigV2::Everywhere,
    };
    World {
        store,
        s3: s3::S3::new(config),
        ring,
        verifier: RefCell::new(Verifier::new(dialect)),
        random: Cell::new(seed()),
        sent: Cell::new(0),
        holds_bodies: Cell::new(false),
        held_count: Cell::new(0),
    }
}

fn reactor() -> Reactor {
    Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() }).expect("reactor")
}

fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8)
}

/// The MD5 of bytes in hexadecimal, as plain entity tags are.
pub fn md5_hex(bytes: &[u8]) -> String {
    let mut md5 = hash::Md5::new();
    md5.update(bytes);
    aws::encoding::hex(&md5.finish())
}

/// The base64 of a digest.
pub fn digest(algorithm: hash::Algorithm, bytes: &[u8]) -> String {
    let mut digest = Digest::new(algorithm);
    digest.update(bytes);
    aws::encoding::base64(&digest.finish())
}
