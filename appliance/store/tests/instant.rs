//! What a reader of several shards sees of a client that writes on one shard and then on another: never the second write
//! without the first, which was acknowledged before it began.
//!
//! `ZEROCLOUD_INSTANT_LOOKS=n` sets the number of looks.

mod harness;
mod rig;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use harness::{TempDir, small_config};
use rig::{Put, TABLE};
use ring::{Backend, Reactor, ReactorConfig};
use store::disk::sim::SimDisk;
use store::{Opened, ShardId, Store};

/// Many, so that taking all views lasts long beside a write.
const SHARDS: u16 = 24;
/// Both are owned by the core that does not look: nothing of them stands still meanwhile.
const FIRST: ShardId = ShardId(1);
const SECOND: ShardId = ShardId(SHARDS - 1);
const LOOKS: u64 = 5_000;
/// Looks that met another number than the one before, at least: else nothing was written beside them.
const CHANGES_MIN: u64 = 3;

/// Writes the numbers from 1 on, each to the first shard and, when that is acknowledged, to the second.
async fn write_in_order(store: &Store, stop: &AtomicBool) {
    let mut next = 1_u64;
    while !stop.load(Ordering::Acquire) {
        for shard in [FIRST, SECOND] {
            store.submit(shard, Put::plain(b"n", &next.to_le_bytes())).await.expect("acknowledged");
        }
        next += 1;
    }
}

/// Looks at both shards so often at least, and until the first one has changed often enough or nothing was written for as long as
/// a test waits; gives how often it had changed.
fn look(store: &Store, looks: u64) -> u64 {
    let begun = Instant::now();
    let shards: Vec<ShardId> = store.shards().collect();
    let (mut changes, mut last) = (0, 0);
    for look in 0.. {
        if look >= looks && (changes >= CHANGES_MIN || begun.elapsed() > rig::PATIENCE) {
            break;
        }
        let views = store.view_instant(&shards).expect("an instant");
        let [first, second] = [FIRST, SECOND].map(|shard| {
            let record = views.shard(shard).get(TABLE, b"n").expect("reads");
            record.map_or(0, |record| u64::from_le_bytes(record.value.try_into().expect("a number")))
        });
        assert!(
            first == second || first == second + 1,
            "look {look}: the second write is at {second}, the first one, which goes before it, at {first}"
        );
        changes += u64::from(first != last);
        last = first;
    }
    changes
}

#[test]
fn an_instant_of_several_shards_shows_no_write_without_those_before_it() {
    let looks = std::env::var("ZEROCLOUD_INSTANT_LOOKS").ok().and_then(|text| text.parse().ok());
    let dir = TempDir::new("instant");
    let mut config = small_config(Path::new("/data"), SHARDS);
    // Writes cost little there, so that many fall into the time of one look.
    config.disk = Arc::new(SimDisk::new(11));
    config.index_root = dir.0.clone();
    config.ballast_bytes = 0;
    let opened = Arc::new(Opened::open(config, false, 3).expect("opens"));
    let stop = Arc::new(AtomicBool::new(false));
    let started = Arc::new(Barrier::new(2));
    let writer = {
        let (opened, stop, started) = (Arc::clone(&opened), Arc::clone(&stop), Arc::clone(&started));
        std::thread::spawn(move || {
            let mut reactor = reactor();
            reactor.block_on(async {
                let store = opened.start_core(1, 2, 5).expect("starts");
                started.wait();
                write_in_order(&store, &stop).await;
            });
            drop(reactor);
        })
    };
    let mut reactor = reactor();
    let changes = reactor.block_on(async {
        let store = opened.start_core(0, 2, 7).expect("starts");
        started.wait();
        opened.finish_recovery(&store).await;
        // A look that fails must not leave the writer alone.
        let _stopped = StopsAtEnd(&stop);
        look(&store, looks.unwrap_or(LOOKS))
    });
    drop(reactor);
    writer.join().expect("the writer ended well");
    Arc::into_inner(opened).expect("every core has let go").close();
    assert!(changes >= CHANGES_MIN, "only {changes} changes were met");
}

#[test]
fn an_instant_holds_the_shards_that_were_named_each_once() {
    let dir = TempDir::new("instant-named");
    rig::run(small_config(&dir.0, 3), 1, true, true, async |store| {
        store.submit(ShardId(2), Put::plain(b"n", b"two")).await.expect("acknowledged");
        let views = store.view_instant(&[ShardId(2), ShardId(0), ShardId(2)]).expect("an instant");
        let record = views.shard(ShardId(2)).get(TABLE, b"n").expect("reads");
        assert_eq!(record.map(|record| record.value.to_vec()), Some(b"two".to_vec()));
        assert!(views.shard(ShardId(0)).get(TABLE, b"n").expect("reads").is_none());
        let mut scan = views.scan(TABLE, std::ops::Bound::Unbounded, store::Direction::Forward);
        let (shard, key, _) = scan.next().expect("reads").expect("one record");
        assert_eq!((shard, key), (ShardId(2), &b"n"[..]));
        assert!(scan.next().expect("reads").is_none());
    })
    .expect("opens");
}

struct StopsAtEnd<'a>(&'a AtomicBool);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn reactor() -> Reactor {
    Reactor::new(&ReactorConfig { backend: Backend::Epoll, ..ReactorConfig::default() }).expect("reactor")
}
