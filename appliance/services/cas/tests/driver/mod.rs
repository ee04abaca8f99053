//! A small executor of plans against a real store in a directory of its own, with two shards on two cores and a clock that
//! stands still: what the node does, without sockets.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use aws::account::{Account, AccountId, KeyRing};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use bytes::Bytes;
use cas::{Blob, Cas, Digest, KeyName, Namespace, Settings, Upload};
use hash::Algorithm;
use plan::{BodyFailure, Context, Plan, Received, Reply, ReplyBody};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{Clock, Fault, ManualClock, Opened, Store, StoreConfig, Timestamp};

/// What the clock shows first.
pub const BEGINNING: Timestamp = Timestamp(1_800_000_000_000);

/// What the closure of a plan gets.
pub type Done<T> = Box<dyn FnOnce(&mut Context<'_>, T) -> Plan>;

/// The content store and what it runs on.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    pub cas: Cas,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
}

/// The body of a request.
#[derive(Clone, Default)]
pub struct Wire {
    pub pieces: VecDeque<Bytes>,
    /// The client goes away behind the pieces.
    pub is_cut: bool,
}

impl Wire {
    pub fn whole(bytes: &[u8]) -> Wire {
        let pieces = bytes.chunks(64 * 1024).map(Bytes::copy_from_slice).collect();
        Wire { pieces, is_cut: false }
    }

    pub fn cut(bytes: &[u8]) -> Wire {
        Wire { is_cut: true, ..Wire::whole(bytes) }
    }
}

pub fn ns(text: &str) -> Namespace {
    Namespace::parse(text).expect("a namespace")
}

/// An upload that knows what it brings.
pub fn upload(ns: Namespace, expected: Option<Digest>, length: Option<u64>) -> Upload {
    let by = cas::Provenance { token: "test".into(), address: None };
    Upload { ns, expected, length, filter: None, content_type: None, by, prefix: Bytes::new() }
}

impl World {
    /// Drives the plan that `start` makes until the closure that it gets is called, and gives what that was called with.
    pub async fn ask<T: 'static>(&self, start: impl FnOnce(&mut Context<'_>, Done<T>) -> Plan) -> T {
        self.ask_with(Wire::default(), start).await
    }

    /// As `ask`, for a request with a body.
    pub async fn ask_with<T: 'static>(
        &self,
        wire: Wire,
        start: impl FnOnce(&mut Context<'_>, Done<T>) -> Plan,
    ) -> T {
        let answer = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&answer);
        let done: Done<T> = Box::new(move |_, value| {
            *slot.borrow_mut() = Some(value);
            Plan::Reply(Reply::empty(http_types::StatusCode::OK))
        });
        let plan = self.with_context(|cx| start(cx, done));
        self.drive(plan, wire).await;
        answer.take().expect("a plan ends in its closure")
    }

    pub async fn put(&self, ns: Namespace, bytes: &[u8]) -> Result<cas::Stored, cas::PutError> {
        let upload = upload(ns, Some(Digest::of(bytes)), Some(bytes.len() as u64));
        self.receive(upload, Wire::whole(bytes)).await
    }

    pub async fn receive(&self, upload: Upload, wire: Wire) -> Result<cas::Stored, cas::PutError> {
        self.ask_with(wire, |cx, done| self.cas.receive(cx, upload, done)).await
    }

    pub async fn find(&self, ns: Namespace, digest: Digest) -> Result<Option<Blob>, Fault> {
        self.ask(|cx, done| self.cas.find(cx, &ns, digest, done)).await
    }

    /// The bytes of a blob.
    pub async fn get(&self, ns: Namespace, digest: Digest) -> Option<Vec<u8>> {
        let blob = self.find(ns, digest).await.expect("the store can be read")?;
        let piece = blob.piece;
        let mut stream = self.store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
        let mut bytes = Vec::new();
        while let Some(data) = stream.next().await {
            bytes.extend_from_slice(&data.expect("stored bytes are whole"));
        }
        Some(bytes)
    }

    pub async fn key_get(&self, name: &KeyName) -> Option<cas::KeyHit> {
        self.ask(|cx, done| self.cas.key_get(cx, name.clone(), done)).await.expect("the store can be read")
    }

    pub async fn key_put(&self, name: &KeyName, new: cas::NewKey) -> Result<(), cas::KeyError> {
        self.ask(|cx, done| self.cas.key_put(cx, name.clone(), new, done)).await
    }

    /// What a total of all shards comes to: that of a namespace, or of the shards themselves.
    pub fn usage(&self, ns: Option<&Namespace>) -> [i64; 2] {
        let key = ns.map_or(&[][..], Namespace::as_bytes);
        let sums = self.store.shards().map(|shard| {
            let view = self.store.view(shard).expect("the store can be read");
            view.counter(cas::store::USAGE, key).expect("a counter")
        });
        sums.fold([0, 0], |all, one| [all[0] + one[0], all[1] + one[1]])
    }

    /// Over once no room is promised any more: an operation gives its promise back when its owner drops it, which may be a moment
    /// after its reply. A promise that is never given back hangs here.
    pub async fn nothing_is_promised(&self) {
        while self.cas.reserved_bytes() > 0 {
            ring::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// The number of records of a table.
    pub fn count(&self, table: store::TableId) -> usize {
        let mut count = 0;
        for shard in self.store.shards() {
            let view = self.store.view(shard).expect("the store can be read");
            let mut scan = view.scan(table, std::ops::Bound::Unbounded, store::Direction::Forward);
            while scan.next().expect("the store can be read").is_some() {
                count += 1;
            }
        }
        count
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
    pub async fn drive(&self, mut plan: Plan, mut wire: Wire) -> Reply {
        loop {
            plan = match plan {
                Plan::Reply(reply) => return reply,
                Plan::Receive(receive, then) => {
                    let received = self.take_in(receive, &mut wire).await;
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
                    let next = match wire.pieces.pop_front() {
                        None if wire.is_cut => Err(BodyFailure::Disconnected),
                        piece => Ok(piece),
                    };
                    self.with_context(|cx| then(cx, next))
                }
                Plan::Collect { .. } | Plan::Copy(..) => panic!("the content store does not ask for this"),
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
            let mut data = Vec::new();
            let mut holds_more = false;
            match &mut filter {
                Some(filter) => {
                    filter.feed(&bytes, &mut |found| data.extend_from_slice(found))?;
                    holds_more = filter.holds_more();
                    while let Some(then) = filter.hold()? {
                        let plan = self.with_context(|cx| then(cx, ()));
                        Box::pin(self.drive(plan, Wire::default())).await;
                    }
                }
                None => data.extend_from_slice(&bytes),
            }
            if writer.length() + data.len() as u64 > length_max {
                return Err(BodyFailure::TooLarge);
            }
            sha256.update(&data);
            writer.write(&data).await?;
            // Others run between two pieces, as they do while a client sends.
            ring::yield_now().await;
            piece = if holds_more { Some(Bytes::new()) } else { wire.pieces.pop_front() };
        }
        if wire.is_cut {
            return Err(BodyFailure::Disconnected);
        }
        if let Some(filter) = &mut filter {
            filter.finish()?;
        }
        let length = writer.length();
        let checksums = vec![(Algorithm::Sha256, sha256.finish())];
        Ok(Received { body: writer.seal().await?, length, md5: None, checksums, trailers: Vec::new() })
    }

    /// What a client gets of the body of a reply; what follows from bytes that are wrong is done.
    pub async fn body_of(&self, reply: Reply) -> Vec<u8> {
        match reply.body {
            ReplyBody::Empty | ReplyBody::Head { .. } => Vec::new(),
            ReplyBody::Bytes(bytes) => bytes.to_vec(),
            ReplyBody::Pieces { .. } => panic!("this is for whole blobs"),
            ReplyBody::Verified { piece, sha256, mismatch, .. } => {
                let mut stream =
                    self.store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
                let mut bytes = Vec::new();
                let mut is_whole = true;
                while let Some(data) = stream.next().await {
                    match data {
                        Ok(data) => bytes.extend_from_slice(&data),
                        Err(_) => is_whole = false,
                    }
                }
                if is_whole && sha256.is_none_or(|wanted| hash::sha256(&bytes) == wanted) {
                    return bytes;
                }
                let plan = self.with_context(|cx| mismatch(cx, ()));
                let reply = self.drive(plan, Wire::default()).await;
                Box::pin(self.body_of(reply)).await
            }
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

/// Runs `work` with a content store in a directory of its own.
pub fn with_world<F, Fut>(name: &str, settings: Settings, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = TempDir::new(name);
    with_world_until(&directory.0, Stop::Drained, &ManualClock::new(BEGINNING), settings, work);
}

/// How a store for tests is set up. What is evicted counts no longer, whatever it still takes of the disk: limits here are
/// smaller than a few blocks.
pub fn store_config(directory: &Path, clock: &ManualClock) -> StoreConfig {
    let mut config = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    config.map_bytes_total = 4 << 30;
    config.ballast_bytes = 1 << 20;
    // Folds come often, so that records lie in all three layers.
    config.limits.fold_entries = 200;
    config.bodyless = cas::BODYLESS;
    config.clock = Clock::Manual(clock.clone());
    config
}

/// Runs `work` with a content store over a store of two shards on two cores, in a directory that may hold one already, and
/// leaves it as the caller says.
pub fn with_world_until<F, Fut>(directory: &Path, end: Stop, clock: &ManualClock, settings: Settings, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    with_store(store_config(directory, clock), end, clock, settings, work);
}

/// The same over a store that is set up in another way.
pub fn with_store<F, Fut>(config: StoreConfig, end: Stop, clock: &ManualClock, settings: Settings, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = Arc::new(Opened::open(config, true, seed()).expect("opens"));
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
    let mut ring = KeyRing::default();
    ring.add_key(aws::account::AccessKey {
        id: "AKTEST".into(),
        secret: aws::account::Secret::new("secret".to_owned()),
        session: None,
        account: Arc::new(Account::new(AccountId::parse("000000000000").expect("digits"), "000000000000")),
    });
    World {
        store,
        clock: clock.clone(),
        cas: Cas::new(settings),
        ring,
        verifier: RefCell::new(Verifier::new(dialect)),
        random: Cell::new(seed()),
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

/// Runs two futures side by side.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    use std::task::Poll;
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(|cx| {
        if of_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            of_a = Some(value);
        }
        if of_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            of_b = Some(value);
        }
        if of_a.is_some() && of_b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (of_a.expect("it ended"), of_b.expect("it ended"))
}
