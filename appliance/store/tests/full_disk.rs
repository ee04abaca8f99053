//! A disk that is full: what is deleted makes room for records that lie in the index alone, though its file does not shrink.

mod harness;
mod rig;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::{TempDir, small_config};
use rig::{PATIENCE, Put, run, within};
use store::disk::Disk as _;
use store::disk::sim::SimDisk;
use store::{Fault, Operation, Outcome, ShardId, Store, TableId, TableSet, Tx};

const ITEMS: TableId = TableId(40);
const SHARD: ShardId = ShardId(0);
const COUNT: u32 = 3_000;

/// Writes items without bodies, or deletes them.
struct Items {
    numbers: std::ops::Range<u32>,
    value: Option<Vec<u8>>,
    declares: bool,
}

impl Operation for Items {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        if self.declares {
            declare(ITEMS, &self.numbers.start.to_be_bytes());
        }
    }

    fn frees(&self) -> bool {
        self.value.is_none()
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        for number in self.numbers.clone() {
            match &self.value {
                Some(value) => tx.put(ITEMS, &number.to_be_bytes(), value, Vec::new(), false),
                None => tx.delete(ITEMS, &number.to_be_bytes()),
            }
        }
        Ok(Outcome::Commit(()))
    }
}

fn put(declares: bool) -> Items {
    Items { numbers: 0..1, value: Some(vec![1; 1_000]), declares }
}

/// Waits until an operation is admitted or not, as wanted.
async fn until(store: &Store, operation: impl Fn() -> Items + 'static, admitted: bool) {
    let store = store.clone();
    let waited = within(PATIENCE, async move {
        while store.admit_operation(SHARD, &operation()).await.is_ok() != admitted {
            ring::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_some(), "admitted is not {admitted} after {PATIENCE:?}");
}

#[test]
fn what_deletes_leave_in_the_index_is_room_for_records_without_bodies() {
    let dir = TempDir::new("full-index");
    let mut config = small_config(Path::new("/data"), 1);
    let disk = SimDisk::new(3);
    config.disk = Arc::new(disk.clone());
    config.index_root = dir.0.clone();
    config.bodyless = TableSet::range(ITEMS, ITEMS);
    // A fold is due soon, for its age alone.
    config.limits.fold_age_max = Duration::from_secs(1);
    config.limits.fold_entries = 1_000_000;
    // The disk counts as full long before it is.
    config.ballast_bytes = 4 << 20;
    run(config, 1, false, true, |store| async move {
        for begin in (0..COUNT).step_by(100) {
            let items = Items { numbers: begin..begin + 100, value: Some(vec![7; 3_000]), declares: true };
            store.submit(SHARD, items).await.expect("acknowledged");
        }
        store.fold_all().await;
        let free = disk.free_bytes(Path::new("/")).expect("a sound disk");
        disk.set_capacity(u64::MAX - free + (1 << 20));
        until(&store, || put(true), false).await;

        let frees = Items { numbers: 0..COUNT, value: None, declares: true };
        store.admit_operation(SHARD, &frees).await.expect("deletes go on");
        store.submit(SHARD, frees).await.expect("acknowledged");
        until(&store, || put(true), true).await;
        store.submit(SHARD, put(true)).await.expect("acknowledged");

        // Whoever may need room outside of the index, or does not say what it writes, is still refused.
        let undeclared = store.admit_operation(SHARD, &put(false)).await;
        assert!(matches!(undeclared, Err(Fault::Full)), "{undeclared:?}");
        let elsewhere = store.admit_operation(SHARD, &Put::plain(b"k", b"v")).await;
        assert!(matches!(elsewhere, Err(Fault::Full)), "{elsewhere:?}");
        assert!(matches!(store.admit(SHARD).await, Err(Fault::Full)));

        disk.set_capacity(u64::MAX);
        until(&store, || put(false), true).await;
    })
    .expect("opens");
}
