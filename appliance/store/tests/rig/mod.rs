#![allow(dead_code, reason = "each test binary uses its own part")]
//! What the review tests share: a store on any disk with any number of cores, a few operations, and a wait with an end.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ring::{Backend, Reactor, ReactorConfig};
use store::{
    Body, Fault, NewBody, OpenError, Opened, Operation, Outcome, ShardId, Store, StoreConfig, TableId,
    TransactFailure, Tx,
};

pub const TABLE: TableId = TableId(16);

/// Nothing that a test waits for takes longer, on a busy machine neither.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// SplitMix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A seed of the system's, or the one named by the environment.
pub fn seed(name: &str) -> u64 {
    let seed = std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(0_u8)
    });
    println!("replay with {name}={seed}");
    seed
}

/// Opens the store with `cores` cores, runs `work` on core 0, drains if asked to, and closes. A core that panics fails the test.
pub fn run<F, Fut, T>(
    config: StoreConfig,
    cores: usize,
    take_lock: bool,
    drain: bool,
    work: F,
) -> Result<T, OpenError>
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = T>,
{
    run_on(Backend::Epoll, config, cores, take_lock, drain, work)
}

/// Runs `work` on two cores of either backend, and drains.
pub fn with_store<F, Fut, T>(config: StoreConfig, backend: Backend, work: F) -> T
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = T>,
{
    run_on(backend, config, 2, true, true, work).expect("opens")
}

fn run_on<F, Fut, T>(
    backend: Backend,
    config: StoreConfig,
    cores: usize,
    take_lock: bool,
    drain: bool,
    work: F,
) -> Result<T, OpenError>
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = T>,
{
    let opened = Arc::new(Opened::open(config, take_lock, seed_of_thread())?);
    let cores = opened.core_count(cores);
    let started = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (1..cores)
        .map(|core| {
            let (opened, started, stop) = (Arc::clone(&opened), Arc::clone(&started), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut reactor = reactor(backend);
                reactor.block_on(async {
                    let store = opened.start_core(core, cores, seed_of_thread()).expect("starts");
                    started.fetch_add(1, Ordering::AcqRel);
                    while !stop.load(Ordering::Acquire) {
                        ring::sleep(Duration::from_millis(1)).await;
                    }
                    if drain {
                        store.drain().await;
                    }
                });
                drop(reactor);
            })
        })
        .collect();
    let mut reactor = reactor(backend);
    let result = reactor.block_on(async {
        let store = match opened.start_core(0, cores, seed_of_thread()) {
            Ok(store) => store,
            Err(fault) => return Err(OpenError::Fault(fault)),
        };
        while started.load(Ordering::Acquire) < cores - 1 {
            ring::sleep(Duration::from_millis(1)).await;
        }
        opened.finish_recovery(&store).await;
        let result = work(store.clone()).await;
        if drain {
            store.drain().await;
        }
        Ok(result)
    });
    stop.store(true, Ordering::Release);
    for other in others {
        other.join().expect("the other core ended well");
    }
    drop(reactor);
    Arc::into_inner(opened).expect("every core has let go").close();
    result
}

fn reactor(backend: Backend) -> Reactor {
    Reactor::new(&ReactorConfig { backend, ..ReactorConfig::default() }).expect("reactor")
}

pub fn seed_of_thread() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8)
}

/// Waits for a future at most so long; `None`: it did not end.
pub async fn within<T: 'static>(limit: Duration, work: impl Future<Output = T> + 'static) -> Option<T> {
    let result = Rc::new(Cell::new(None));
    let there = Rc::clone(&result);
    ring::spawn(async move { there.set(Some(work.await)) }).detach();
    let begun = ring::now();
    loop {
        if let Some(value) = result.take() {
            return Some(value);
        }
        if ring::now() - begun > limit {
            return None;
        }
        ring::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets other tasks and the turn's end run once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Puts a value, with a body if there is one.
pub struct Put {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub body: Option<NewBody>,
    pub fresh: bool,
}

impl Put {
    pub fn plain(key: &[u8], value: &[u8]) -> Put {
        Put { key: key.to_vec(), value: value.to_vec(), body: None, fresh: false }
    }
}

impl Operation for Put {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let bodies = self.body.iter().cloned().map(Body::New).collect();
        tx.put(TABLE, &self.key, &self.value, bodies, self.fresh);
        Ok(Outcome::Commit(()))
    }
}

/// Removes keys.
pub struct Delete(pub Vec<Vec<u8>>);

impl Operation for Delete {
    type Reply = ();

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for key in &self.0 {
            tx.delete(TABLE, key);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Runs a closure as an operation that replies with what it returns.
pub struct Call<F>(pub F);

impl<R: Send + 'static, F> Operation for Call<F>
where
    F: FnMut(&mut Tx<'_>) -> Result<Outcome<R>, Fault> + Send + 'static,
{
    type Reply = R;

    fn keys(&self, _declare: &mut dyn FnMut(TableId, &[u8])) {}

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<R>, Fault> {
        (self.0)(tx)
    }
}

/// Holds an operation to the shape that `Call` needs.
pub fn call<R, F>(work: F) -> Call<F>
where
    R: Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<Outcome<R>, Fault> + Send + 'static,
{
    Call(work)
}

/// Starts a transaction over both shards that stays open until the flag is set: the other core is kept inside of its part.
/// Each part puts the key `k` and does what `also` does. Gives the shard of this core, on which it is prepared, and its
/// outcome.
pub async fn open_transaction(
    store: &Store,
    release: &Arc<AtomicBool>,
    also: fn(&mut Tx<'_>),
) -> (ShardId, ring::Task<Result<Vec<()>, TransactFailure<()>>>) {
    let own = store.own_shards().next().expect("one of two shards");
    let other = store.shards().find(|shard| *shard != own).expect("two shards");
    let part = |waits: bool| {
        let release = Arc::clone(release);
        call(move |tx: &mut Tx<'_>| {
            while waits && !release.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            tx.put(TABLE, b"k", b"v", Vec::new(), false);
            also(tx);
            Ok(Outcome::Commit(()))
        })
    };
    let parts = vec![(own, part(false)), (other, part(true))];
    let task = {
        let store = store.clone();
        ring::spawn(async move { store.transact(parts).await })
    };
    let is_held =
        || call(|tx: &mut Tx<'_>| Ok(Outcome::Rollback(matches!(tx.get(TABLE, b"k"), Err(Fault::InDoubt)))));
    while !store.submit(own, is_held()).await.expect("runs") {
        yield_now().await;
    }
    (own, task)
}

/// The value of a key in a fresh view of its shard.
pub fn value_of(store: &Store, shard: ShardId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let view = store.view(shard)?;
    Ok(view.get(TABLE, key)?.map(|record| record.value.to_vec()))
}

/// All bytes of the first body of a key; nothing when there is no record.
pub async fn body_of(store: &Store, shard: ShardId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let found = {
        let view = store.view(shard)?;
        match view.get(TABLE, key)? {
            None => return Ok(None),
            Some(record) => record.bodies.first().cloned().map(|body| (store.pin(shard, &body), body)),
        }
    };
    let Some((pin, body)) = found else { return Ok(Some(Vec::new())) };
    let mut stream = store.read(&pin, &body, 0..u64::MAX);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(Some(bytes))
}
