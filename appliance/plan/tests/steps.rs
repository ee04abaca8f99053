//! Steps over a real store of two shards on one core: what `then` hears, and when the work ran.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws::account::KeyRing;
use aws::sigv4::{Dialect, PathCoding, SigV2, Verifier};
use bytes::Bytes;
use http_types::StatusCode;
use plan::{Context, Piece, Plan, Reply, ReplyBody};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::real::RealDisk;
use store::{
    Body, BodyOwner, Fault, NewBody, Opened, Operation, Outcome, ShardId, Store, StoreConfig, TableId,
    Timestamp, Tx,
};

const TABLE: TableId = TableId(16);

struct Put {
    key: Vec<u8>,
    fault: Option<Fault>,
}

impl Operation for Put {
    type Reply = Vec<u8>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Vec<u8>>, Fault> {
        tx.put(TABLE, &self.key, b"value", Vec::new(), false);
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(Outcome::Commit(self.key.clone())),
        }
    }
}

fn put(number: u8) -> (ShardId, Put) {
    (ShardId(u16::from(number % 2)), Put { key: vec![number], fault: None })
}

fn said(text: String) -> Plan {
    Plan::Reply(Reply::bytes(StatusCode::OK, "text/plain", text))
}

async fn drive(store: &Store, mut plan: Plan) -> String {
    loop {
        plan = match plan {
            Plan::Reply(Reply { body: ReplyBody::Bytes(bytes), .. }) => {
                return String::from_utf8(bytes.to_vec()).expect("UTF-8");
            }
            Plan::Step(step) => {
                let resume = step.run(store.clone()).await;
                let dialect = Dialect {
                    service: "s3",
                    region: "us-east-1".into(),
                    path_coding: PathCoding::Once,
                    sigv2: SigV2::Everywhere,
                };
                resume(&mut Context {
                    store,
                    now: Timestamp::from_system_clock(),
                    random: &mut || 4,
                    accounts: &KeyRing::default(),
                    verifier: &mut Verifier::new(dialect),
                })
            }
            _ => panic!("the plans of these tests are steps and replies"),
        };
    }
}

fn with_store(name: &str, work: impl AsyncFnOnce(Store)) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = TempDir(
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id())),
    );
    // A process of this number that was killed may have left one.
    drop(std::fs::remove_dir_all(&directory.0));
    let mut config = StoreConfig::new(directory.0.clone(), 2, Arc::new(RealDisk));
    config.map_bytes_total = 4 << 30;
    config.ballast_bytes = 1 << 20;
    config.log_segment_bytes = 4 << 20;
    let opened = Opened::open(config, true, 7).expect("opens");
    let mut reactor = Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() })
        .expect("reactor");
    reactor.block_on(async {
        let store = opened.start_core(0, 1, 7).expect("starts");
        opened.finish_recovery(&store).await;
        work(store.clone()).await;
        store.drain().await;
    });
    drop(reactor);
    opened.close();
}

struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory that cannot be removed is left for the next clean build.
        let _gone: std::io::Result<()> = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_gather_gives_each_parts_own_outcome_in_the_order_of_the_parts() {
    with_store("gather-order", async |store| {
        let mut parts: Vec<_> = (0..5).map(put).collect();
        parts[3].1.fault = Some(Fault::Busy);
        let plan = Plan::gather(parts, |_, outcomes| {
            let outcomes: Vec<_> =
                outcomes.into_iter().map(|one| one.map_err(|fault| fault.to_string())).collect();
            said(format!("{outcomes:?}"))
        });
        let expected = format!("[Ok([0]), Ok([1]), Ok([2]), Err({:?}), Ok([4])]", Fault::Busy.to_string());
        assert_eq!(drive(&store, plan).await, expected);
        for number in 0..5 {
            let (shard, Put { key, .. }) = put(number);
            let view = store.view(shard).expect("view");
            assert_eq!(view.get(TABLE, &key).expect("reads").is_some(), number != 3, "key {number}");
        }
    });
}

#[test]
fn the_parts_of_a_gather_share_batches() {
    with_store("gather-batches", async |store| {
        let batches = || store.status().iter().map(|status| status.batches).sum::<u64>();
        let before = batches();
        let plan = Plan::gather((0..40).map(put).collect(), |_, outcomes| said(outcomes.len().to_string()));
        assert_eq!(drive(&store, plan).await, "40");
        assert!(batches() - before < 10, "{} batches for 40 parts on 2 shards", batches() - before);
    });
}

#[test]
fn a_gather_of_nothing_goes_on() {
    with_store("gather-nothing", async |store| {
        let plan = Plan::gather(Vec::<(ShardId, Put)>::new(), |_, outcomes| said(outcomes.len().to_string()));
        assert_eq!(drive(&store, plan).await, "0");
    });
}

#[test]
fn a_warm_step_goes_on_with_its_plan() {
    with_store("warm", async |store| {
        let keys = vec![(TABLE, b"key".to_vec())];
        let plan = Plan::warm(ShardId(1), keys, |cx| {
            let found = cx.store.view(ShardId(1)).and_then(|view| Ok(view.get(TABLE, b"key")?.is_some()));
            said(format!("{found:?}"))
        });
        assert_eq!(drive(&store, plan).await, "Ok(false)");
    });
}

/// Adopts a body.
struct Adopt {
    key: Vec<u8>,
    body: NewBody,
}

impl Operation for Adopt {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(TABLE, &self.key);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        tx.put(TABLE, &self.key, &[], vec![Body::New(self.body.clone())], true);
        Ok(Outcome::Commit(()))
    }
}

const SIZES: [usize; 7] = [0, 1, 600, 32 << 10, (32 << 10) + 1, 200_000, 1 << 20];

fn content(size: usize) -> Bytes {
    (0..size).map(|place| (place * 31 % 251) as u8).collect::<Vec<_>>().into()
}

/// Writes a body of each size under the key of its place, one after the other.
fn write_all(place: usize) -> Plan {
    let Some(size) = SIZES.get(place) else { return said("written".into()) };
    let key = vec![place as u8];
    let owner = BodyOwner { shard: ShardId(0), table: TABLE, key: key.clone() };
    Plan::write(content(*size), owner, move |_, body| {
        let body = body.expect("written");
        assert_eq!(body.length(), SIZES[place] as u64);
        Plan::submit(ShardId(0), Adopt { key, body }, move |_, outcome| {
            outcome.expect("adopted");
            write_all(place + 1)
        })
    })
}

fn piece(store: &Store, place: u8, start: u64, length: u64) -> Piece {
    let view = store.view(ShardId(0)).expect("view");
    let body = view.get(TABLE, &[place]).expect("reads").expect("is there").bodies[0].clone();
    Piece { pin: store.pin(ShardId(0), &body), body, start, length }
}

#[test]
fn what_write_made_is_loaded_in_order_and_within_the_bound() {
    with_store("load", async |store| {
        assert_eq!(drive(&store, write_all(0)).await, "written");
        let pieces = |store: &Store| {
            let whole = (0..SIZES.len() as u8).map(|place| piece(store, place, 0, u64::MAX));
            whole.chain([piece(store, 5, 70_000, 70_000), piece(store, 2, 590, 100)]).collect::<Vec<_>>()
        };
        let total = SIZES.iter().sum::<usize>() + 70_000 + 10;
        let plan = Plan::load(pieces(&store), total, |_, loaded| {
            let loaded = loaded.expect("within the bound");
            for (bytes, size) in loaded.iter().zip(SIZES) {
                assert!(*bytes == content(size), "{size} bytes");
            }
            assert!(loaded[7] == content(200_000).slice(70_000..140_000));
            assert!(loaded[8] == content(600).slice(590..));
            said(loaded.len().to_string())
        });
        assert_eq!(drive(&store, plan).await, "9");
        let plan = Plan::load(pieces(&store), total - 1, |_, loaded| said(format!("{:?}", loaded.err())));
        assert_eq!(drive(&store, plan).await, format!("Some(TooLarge {{ bytes: {total} }})"));
        let plan = Plan::load(Vec::new(), 0, |_, loaded| said(format!("{loaded:?}")));
        assert_eq!(drive(&store, plan).await, "Ok([])");
    });
}
