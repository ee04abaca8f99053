//! The engine over a real store in a directory of its own: two shards on one core, and a clock that stands still until a test
//! moves it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws::account::{AccountId, KeyRing};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use bytes::Bytes;
use http_types::StatusCode;
use plan::delivery::DELIVERY_RESULT;
use plan::{Context, Plan, Reply};
use ring::{Backend, Reactor, ReactorConfig};
use sqs::engine::resident::Queues;
use sqs::engine::{self, Counts, NewMessage, QueueRef, ReceiveRequest, Received, Refusal, Sent};
use sqs::model::queue::{Attributes, Fifo, QueueId, QueueKey, QueueRecord, Redrive, Sequence};
use sqs::store::QUEUES;
use sqs::store::queue::encode;
use store::disk::real::RealDisk;
use store::{
    Clock, Fault, ManualClock, Opened, Operation, Outcome, Receivers, Store, StoreConfig, TableId, Timestamp,
    Tx,
};

use crate::deliveries::Refusals;

/// When every test begins.
pub const START: Timestamp = Timestamp(1_800_000_000_000);
pub const REGION: &str = "us-east-1";

/// The engine and what it runs on.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
}

/// Puts a queue's record, as the operations on queues do.
struct Put {
    key: QueueKey,
    record: QueueRecord,
    is_purge: bool,
}

impl Operation for Put {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(QUEUES, self.key.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        if self.is_purge {
            self.record.purged_below = Sequence::of_store(tx.next_sequence()).ok_or(Fault::Busy)?;
        }
        tx.put(QUEUES, self.key.as_bytes(), &encode(&self.record), Vec::new(), false);
        let (key, record, is_purge) = (self.key.clone(), self.record.clone(), self.is_purge);
        tx.then::<Queues>(move |queues, wakes| match is_purge {
            true => queues.purged(&key, record),
            false => queues.changed(&key, record, wakes),
        });
        Ok(Outcome::Commit(()))
    }
}

/// Deletes a queue's record.
struct Remove {
    key: QueueKey,
}

impl Operation for Remove {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(QUEUES, self.key.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.delete(QUEUES, self.key.as_bytes());
        let key = self.key.clone();
        tx.then::<Queues>(move |queues, wakes| queues.removed(&key, wakes));
        Ok(Outcome::Commit(()))
    }
}

/// The settings of a FIFO queue that most tests use.
pub fn fifo() -> Attributes {
    Attributes { fifo: Some(Fifo { content_based: true, ..Fifo::default() }), ..Attributes::default() }
}

/// The same with dead letters.
pub fn with_redrive(attributes: Attributes, target: &str, max_receive_count: u32) -> Attributes {
    let target_arn = key(target).arn(REGION).into();
    Attributes { redrive: Some(Redrive { target_arn, max_receive_count }), ..attributes }
}

/// The id that a queue of this name gets.
pub fn id_of(name: &str) -> QueueId {
    QueueId(hash_of(name))
}

pub fn key(name: &str) -> QueueKey {
    QueueKey::new(AccountId::parse("000000000000").expect("digits"), name)
}

/// A message with a body alone.
pub fn body(text: impl Into<Bytes>) -> NewMessage {
    NewMessage {
        body: text.into(),
        attributes: Vec::new(),
        system: Vec::new(),
        delay_seconds: None,
        group: None,
        deduplication: None,
    }
}

/// A message of a group.
pub fn grouped(group: &str, text: &str) -> NewMessage {
    NewMessage { group: Some(group.into()), ..body(text.to_owned()) }
}

/// A receive of up to ten messages that does not wait.
pub fn ten() -> ReceiveRequest {
    ReceiveRequest { count_max: 10, wait_seconds: Some(0), ..ReceiveRequest::default() }
}

/// The bodies of messages.
pub fn bodies(received: &[Received]) -> Vec<String> {
    let text = |received: &Received| String::from_utf8_lossy(&received.body).into_owned();
    received.iter().map(text).collect()
}

impl World {
    pub fn queue(&self, name: &str) -> QueueRef {
        QueueRef::new(&self.store, key(name))
    }

    /// Makes a queue, or changes its settings.
    pub async fn put(&self, name: &str, attributes: Attributes) {
        let record = self.record(name, attributes);
        self.submit_put(name, record, false).await;
    }

    pub async fn purge(&self, name: &str, attributes: Attributes) {
        let record = self.record(name, attributes);
        self.submit_put(name, record, true).await;
    }

    pub async fn remove(&self, name: &str) {
        self.store.submit(self.queue(name).shard, Remove { key: key(name) }).await.expect("removes");
    }

    async fn submit_put(&self, name: &str, record: QueueRecord, is_purge: bool) {
        let put = Put { key: key(name), record, is_purge };
        self.store.submit(self.queue(name).shard, put).await.expect("puts");
    }

    fn record(&self, name: &str, attributes: Attributes) -> QueueRecord {
        QueueRecord {
            id: id_of(name),
            handle_key: [5; 16],
            created_ms: START.0,
            modified_ms: START.0,
            attributes,
            tags: BTreeMap::new(),
            purged_below: Sequence(0),
            last_purge_ms: 0,
        }
    }

    pub async fn send_all(&self, name: &str, messages: Vec<NewMessage>) -> Vec<Result<Sent, Refusal>> {
        let queue = self.queue(name);
        self.run(|cx, out| engine::send(cx, queue, "sender", messages, move |_, sent| out.done(sent)))
            .await
            .expect("sends")
    }

    pub async fn send(&self, name: &str, message: NewMessage) -> Sent {
        self.send_all(name, vec![message]).await.remove(0).expect("is taken")
    }

    pub async fn try_receive(&self, name: &str, request: ReceiveRequest) -> Result<Vec<Received>, Refusal> {
        let queue = self.queue(name);
        self.run(|cx, out| engine::receive(cx, queue, request, move |_, received| out.done(received))).await
    }

    pub async fn receive(&self, name: &str, request: ReceiveRequest) -> Vec<Received> {
        self.try_receive(name, request).await.expect("receives")
    }

    pub async fn delete_all(&self, name: &str, handles: Vec<Box<str>>) -> Vec<Result<(), Refusal>> {
        let queue = self.queue(name);
        self.run(|cx, out| engine::delete(cx, queue, &handles, move |_, done| out.done(done)))
            .await
            .expect("deletes")
    }

    pub async fn delete(&self, name: &str, handle: &str) -> Result<(), Refusal> {
        self.delete_all(name, vec![handle.into()]).await.remove(0)
    }

    pub async fn change(&self, name: &str, handle: &str, seconds: u32) -> Result<(), Refusal> {
        let queue = self.queue(name);
        let entries = [(Box::from(handle), seconds)];
        let mut done = self
            .run(|cx, out| engine::change_visibility(cx, queue, &entries, move |_, done| out.done(done)))
            .await
            .expect("changes");
        done.remove(0)
    }

    pub async fn counts(&self, name: &str) -> Counts {
        let queue = self.queue(name);
        self.run(|_, out| engine::counts(queue, move |_, counts| out.done(counts))).await.expect("counts")
    }

    /// Moves the clock; whoever waits for that has run afterwards.
    pub async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
        self.store.catch_up().await.expect("catches up");
        self.settle().await;
    }

    /// Lets what was spawned come as far as it can while the clock stands.
    pub async fn settle(&self) {
        for _ in 0..100 {
            ring::yield_now().await;
        }
        self.store.catch_up().await.expect("catches up");
    }

    /// Drives a plan to its end and gives what it ends with.
    pub async fn run<T: 'static>(&self, start: impl FnOnce(&mut Context<'_>, Out<T>) -> Plan) -> T {
        let result = Rc::new(RefCell::new(None));
        let plan = self.with_context(|cx| start(cx, Out(Rc::clone(&result))));
        self.drive(plan).await;
        result.borrow_mut().take().expect("the plan ends with its result")
    }

    fn with_context<T>(&self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
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

    /// Drives what a service does with a request to its reply.
    pub async fn serve(&self, start: impl FnOnce(&mut Context<'_>) -> Plan) -> Reply {
        let plan = self.with_context(start);
        self.drive(plan).await
    }

    async fn drive(&self, mut plan: Plan) -> Reply {
        loop {
            plan = match plan {
                Plan::Reply(reply) => return reply,
                Plan::Step(step) => {
                    let resume = step.run(self.store.clone()).await;
                    self.with_context(resume)
                }
                Plan::Pause(then) => {
                    ring::yield_now().await;
                    self.with_context(|cx| then(cx, ()))
                }
                Plan::Collect { .. } | Plan::Next { .. } | Plan::Receive(..) | Plan::Copy(..) => {
                    panic!("the engine reads no request")
                }
            };
        }
    }
}

/// Where a plan leaves its result.
pub struct Out<T>(Rc<RefCell<Option<T>>>);

impl<T> Out<T> {
    pub fn done(self, value: T) -> Plan {
        *self.0.borrow_mut() = Some(value);
        Plan::Reply(Reply::empty(StatusCode::OK))
    }
}

/// A directory that is gone when the test is.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("engine-{name}-{}-{number}", std::process::id()));
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

/// Runs `work` with the engine over a new store.
pub fn with_world<F: Future<Output = ()>>(name: &str, work: impl FnOnce(Rc<World>) -> F) {
    let directory = TempDir::new(name);
    with_world_at(&directory.0, &ManualClock::new(START), work);
}

/// The same over a directory that may hold a store already.
pub fn with_world_at<F: Future<Output = ()>>(
    directory: &Path,
    clock: &ManualClock,
    work: impl FnOnce(Rc<World>) -> F,
) {
    let mut settings = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    settings.map_bytes_total = 4 << 30;
    settings.ballast_bytes = 1 << 20;
    // Folds come often, so that records lie in all three layers.
    settings.limits.fold_entries = 200;
    settings.bodyless = sqs::store::BODYLESS;
    settings.clock = Clock::Manual(clock.clone());
    settings.receivers =
        sqs::receivers(Receivers::default(), REGION).with(DELIVERY_RESULT, Arc::new(Refusals));
    let opened = Opened::open(settings, true, hash_of("seed")).expect("opens");
    let reactor = ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() };
    let mut reactor = Reactor::new(&reactor).expect("reactor");
    reactor.block_on(async {
        let store = opened.start_core(0, 1, hash_of("core")).expect("starts");
        opened.finish_recovery(&store).await;
        let dialect = Dialect {
            service: "sqs",
            region: REGION.to_owned(),
            path_coding: PathCoding::Once,
            sigv2: aws::sigv4::SigV2::Refused,
        };
        let world = Rc::new(World {
            store: store.clone(),
            clock: clock.clone(),
            ring: KeyRing::default(),
            verifier: RefCell::new(Verifier::new(dialect)),
            random: Cell::new(hash_of("random")),
        });
        work(world).await;
        store.drain().await;
    });
    drop(reactor);
    opened.close();
}

fn hash_of(text: &str) -> u64 {
    hash::xxh3_64(text.as_bytes())
}
