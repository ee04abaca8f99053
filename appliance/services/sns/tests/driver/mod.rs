//! A small executor of plans against a real store in a directory of its own, with two shards on two cores and a clock that
//! a test moves; in the place of queues something that notes what comes for them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
use aws::request_id::{HostId, RequestId};
use aws::sigv4::{Dialect, PathCoding, Verifier};
use bytes::Bytes;
use http_types::{HeaderMap, Method};
use plan::delivery::{DELIVERY_RESULT, QUEUE_DELIVER, QueueDelivery, Recipient, topic_place};
use plan::refused::{Refusal, RefusedDelivery};
use plan::{Caller, Collected, Context, Plan, Reply, ReplyBody, Request, Service};
use ring::{Backend, Reactor, ReactorConfig};
use sns::failures::Failures;
use sns::model::arn::TopicArn;
use store::disk::real::RealDisk;
use store::{
    Clock, Direction, Fault, ManualClock, Opened, Receiver, Receivers, ShardId, Store, StoreConfig, TableId,
    Timestamp, Tx,
};

/// The account that most tests use.
pub const MAIN: &str = "000000000000";
/// Another account.
pub const OTHER: &str = "111111111111";
/// The region of the service.
pub const REGION: &str = "eu-west-1";

/// The service and what it runs on.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    pub queues: Queues,
    pub failures: Failures,
    service: sns::Sns,
    ring: KeyRing,
    verifier: RefCell<Verifier>,
    random: Cell<u64>,
}

/// What stands in the place of queues.
#[derive(Clone, Default)]
pub struct Queues {
    taken: Arc<Mutex<Vec<QueueDelivery>>>,
}

/// What the resident of these queues is: nothing.
#[derive(Default)]
struct Nothing;

/// A message as a queue got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    pub queue: String,
    pub body: String,
    pub group: Option<String>,
    pub dedup: Option<String>,
    pub attributes: Vec<(String, String)>,
}

impl Queues {
    /// The deliveries that came, and none of them again.
    pub fn deliveries(&self) -> Vec<QueueDelivery> {
        std::mem::take(&mut *self.taken.lock().expect("no test has panicked with it"))
    }

    /// The messages that came, in order, by queue.
    pub fn messages(&self) -> Vec<Got> {
        let mut all: Vec<Got> =
            self.deliveries().iter().flat_map(|one| one.recipients.iter().map(|to| got(one, to))).collect();
        all.sort_by(|one, other| one.queue.cmp(&other.queue));
        all
    }
}

fn got(delivery: &QueueDelivery, recipient: &Recipient) -> Got {
    let body = delivery.body_for(recipient).expect("each recipient has a body");
    let attributes = delivery.message.attributes.iter().filter(|_| recipient.raw).map(|attribute| {
        let value = match &attribute.value {
            plan::delivery::AttributeValue::Text(text) => text.clone(),
            plan::delivery::AttributeValue::Binary(bytes) => aws::encoding::base64(bytes),
        };
        (attribute.name.clone(), value)
    });
    Got {
        queue: recipient.queue.clone(),
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        group: recipient.group.clone(),
        dedup: recipient.dedup.clone(),
        attributes: attributes.collect(),
    }
}

impl Receiver for Queues {
    /// Queues whose names begin with `closed` refuse.
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let mut delivery = QueueDelivery::decode(payload)?;
        let (refused, taken): (Vec<_>, Vec<_>) =
            delivery.recipients.into_iter().partition(|recipient| recipient.queue.starts_with("closed"));
        delivery.recipients = taken;
        if !refused.is_empty() {
            let no = Refusal { code: "AccessDenied".into(), text: "it is closed".into() };
            let refusals = vec![no; refused.len()];
            let back = RefusedDelivery {
                refusals,
                delivery: QueueDelivery { recipients: refused, ..delivery.clone() },
            };
            let arn = TopicArn::parse(&delivery.topic_arn).expect("a topic sends it");
            tx.emit(tx.place(&topic_place(arn.account, arn.name)), DELIVERY_RESULT, &back.encode());
        }
        if !delivery.recipients.is_empty() {
            let taken = Arc::clone(&self.taken);
            tx.then::<Nothing>(move |_, _| {
                taken.lock().expect("no test has panicked with it").push(delivery)
            });
        }
        Ok(())
    }
}

/// A reply.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The reply, when it is a success.
    #[track_caller]
    pub fn ok(self) -> Answer {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }

    /// The texts of all elements of this name.
    pub fn all(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.body.split(&open).skip(1);
        parts.map(|part| part.split(&close).next().unwrap_or_default().to_owned()).collect()
    }

    /// The text of the first element of this name.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_else(|| panic!("no {name} in {}", self.body))
    }

    /// The value of an entry of a map of attributes.
    pub fn entry(&self, key: &str) -> Option<String> {
        let place = self.all("key").iter().position(|known| known == key)?;
        self.all("value").get(place).cloned()
    }

    /// Code and message of an error.
    #[track_caller]
    pub fn error(&self) -> (String, String) {
        assert!(self.status >= 400, "{}", self.body);
        (self.text("Code"), self.text("Message"))
    }
}

impl World {
    /// Sends a request of the main account.
    pub async fn send(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.send_as(Some(MAIN), action, parameters).await
    }

    /// The same of another account, or of nobody.
    pub async fn send_as(&self, account: Option<&str>, action: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut body = format!("Action={action}&Version=2010-03-31");
        for (name, value) in parameters {
            body.push_str(&format!("&{name}={}", aws::uri::encode(value)));
        }
        let caller = account.map_or(Caller::Anonymous, |id| {
            let found = self.ring.accounts().iter().find(|found| found.id.as_str() == id);
            Caller::Account(Arc::clone(found.expect("a known account")))
        });
        self.send_raw(caller, body.into_bytes()).await
    }

    /// Sends any body.
    pub async fn send_raw(&self, caller: Caller, body: Vec<u8>) -> Answer {
        let request = Request {
            head: http::RequestHead {
                method: Method::POST,
                path: "/".to_owned(),
                query: None,
                authority: Some("sns.test:1".to_owned()),
                headers: HeaderMap::new(),
                version: http::Version::H11,
                tls: false,
                peer: "127.0.0.1:1".parse().expect("address"),
            },
            body_length: http::BodyLength::Known(body.len() as u64),
            collected: Some(Bytes::from(body)),
            caller,
            auth: None,
            request_id: RequestId::new(1),
            host_id: HostId::UNUSED,
        };
        let plan = self.with_context(|cx| self.service.start(cx, request)).plan;
        let reply = self.drive(plan).await;
        let body = match reply.body {
            ReplyBody::Empty | ReplyBody::Head { .. } => Vec::new(),
            ReplyBody::Bytes(bytes) => bytes.to_vec(),
            ReplyBody::Pieces { .. } | ReplyBody::Verified { .. } => panic!("this service keeps no bodies"),
        };
        Answer { status: reply.status.as_u16(), body: String::from_utf8(body).expect("UTF-8") }
    }

    /// Makes a topic and gives its ARN.
    pub async fn topic(&self, name: &str) -> String {
        let fifo =
            [("Name", name), ("Attributes.entry.1.key", "FifoTopic"), ("Attributes.entry.1.value", "true")];
        let count = if name.ends_with(".fifo") { 3 } else { 1 };
        self.send("CreateTopic", &fifo[..count]).await.ok().text("TopicArn")
    }

    /// Subscribes a queue, with these attributes, and gives the subscription's ARN.
    pub async fn subscribe(&self, topic: &str, queue: &str, attributes: &[(&str, &str)]) -> String {
        let endpoint = queue_arn(queue);
        let mut parameters = vec![
            ("TopicArn".to_owned(), topic.to_owned()),
            ("Protocol".to_owned(), "sqs".to_owned()),
            ("Endpoint".to_owned(), endpoint),
        ];
        for (number, (key, value)) in (1..).zip(attributes) {
            parameters.push((format!("Attributes.entry.{number}.key"), (*key).to_owned()));
            parameters.push((format!("Attributes.entry.{number}.value"), (*value).to_owned()));
        }
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.send("Subscribe", &parameters).await.ok().text("SubscriptionArn")
    }

    /// Waits until the outboxes of all shards are empty.
    pub async fn delivered(&self) {
        for _ in 0..LOOK_COUNT_MAX {
            if !self.store.shards().any(|shard| self.has_outgoing(shard)) {
                return;
            }
            ring::sleep(Duration::from_millis(1)).await;
        }
        panic!("a message does not leave the outbox");
    }

    fn has_outgoing(&self, shard: ShardId) -> bool {
        let view = self.store.view(shard).expect("a view");
        let mut scan = view.scan(OUTBOX, Bound::Unbounded, Direction::Forward);
        scan.next().expect("the outbox can be read").is_some()
    }

    /// Moves the clock.
    pub fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    /// Does what the node does each second for each shard, until nothing more is due. Gives how many plans ran.
    pub async fn tick(&self) -> usize {
        let mut ran = 0;
        for shard in self.store.shards() {
            while let Some(plan) = self.with_context(|cx| self.service.tick(cx, shard)) {
                ran += 1;
                if self.drive(plan).await.status != plan::MORE_IS_DUE {
                    break;
                }
            }
        }
        ran
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
                _ => panic!("this service streams no bodies"),
            };
        }
    }
}

/// Looks, a millisecond apart, after which a test fails rather than hangs.
pub const LOOK_COUNT_MAX: usize = 120_000;

/// The store's own table of messages that are to be delivered.
const OUTBOX: TableId = TableId(4);

/// The ARN of a queue of the main account.
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{MAIN}:{name}")
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

/// When the clock of every test begins.
pub const START: Timestamp = Timestamp(1_800_000_000_000);

/// Runs `work` with a service over a new store of two shards on two cores.
pub fn with_world<F, Fut>(name: &str, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = TempDir::new(name);
    with_world_at(&directory.0, work);
}

/// The same over a directory that may hold a store already.
pub fn with_world_at<F, Fut>(directory: &Path, work: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let (queues, failures) = (Queues::default(), Failures::default());
    let clock = ManualClock::new(START);
    let mut settings = StoreConfig::new(directory.to_path_buf(), 2, Arc::new(RealDisk));
    settings.map_bytes_total = 4 << 30;
    settings.ballast_bytes = 1 << 20;
    // Folds come often, so that records lie in all three layers.
    settings.limits.fold_entries = 50;
    settings.bodyless = sns::store::BODYLESS;
    settings.clock = Clock::Manual(clock.clone());
    settings.receivers =
        sns::receivers(Receivers::default(), &failures).with(QUEUE_DELIVER, Arc::new(queues.clone()));
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
                while !stop.load(Ordering::Acquire) {
                    ring::sleep(Duration::from_millis(1)).await;
                }
                store.drain().await;
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
        work(world(store.clone(), clock, queues, failures)).await;
        store.drain().await;
        stop.store(true, Ordering::Release);
    });
    drop(reactor);
    stopped.wait();
    other.join().expect("the other core ended well");
    Arc::into_inner(opened).expect("every core has let go").close();
}

fn world(store: Store, clock: ManualClock, queues: Queues, failures: Failures) -> World {
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
        service: "sns",
        region: REGION.to_owned(),
        path_coding: PathCoding::Once,
        sigv2: aws::sigv4::SigV2::Refused,
    };
    let config = sns::Config { region: REGION.to_owned(), public_url: None, listeners: Vec::new() };
    World {
        store,
        clock,
        queues,
        service: sns::Sns::new(config, failures.clone()),
        failures,
        ring,
        verifier: RefCell::new(Verifier::new(dialect)),
        random: Cell::new(seed()),
    }
}

fn reactor() -> Reactor {
    Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() }).expect("reactor")
}

/// A number that differs from run to run.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8)
}
