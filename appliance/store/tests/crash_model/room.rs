//! What the store has given back at the end: the room that its files take beside that which its bodies need.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use store::disk::sim::SimDisk;
use store::disk::{Disk as _, OpenMode};
use store::{BodyRef, Store};

use crate::Model;
use crate::operations::{TABLE, Write};

/// Has everything given back that nobody needs, and notes how much room the bodies need that are left.
pub async fn settle(store: &Store, model: &Rc<RefCell<Model>>) {
    // A fold finds what is dead only if there is something to fold.
    for shard in store.shards() {
        let operation = Write { key: b"last".to_vec(), tag: Some(0), body: None, only_if: None };
        assert!(store.submit(shard, operation).await.expect("a sound disk"));
    }
    store.fold_all().await;
    store.give_back_all().await;
    while store.status().iter().any(|shard| shard.sweeping) {
        ring::sleep(Duration::from_millis(1)).await;
    }
    let keys: Vec<_> = model.borrow().keys.keys().cloned().collect();
    let mut room = 0;
    for key in keys {
        let view = store.view(store.place(&key)).expect("view");
        let record = view.get(TABLE, &key).expect("reads");
        for body in record.map_or(Vec::new(), |record| record.bodies.clone()) {
            if let BodyRef::Extents(extents) = body {
                let spans =
                    extents.iter().map(|extent| u64::from(extent.data_bytes).next_multiple_of(4096) + 4096);
                room += spans.sum::<u64>();
            }
        }
    }
    model.borrow_mut().room = room;
    store.drain().await;
}

/// Bytes that the files of one kind occupy in all shards.
pub fn occupied(disk: &SimDisk, kind: &str) -> u64 {
    let mut bytes = 0;
    for shard in ["shard-000", "shard-001"] {
        let dir = Path::new("/data").join(shard).join(kind);
        for name in disk.list(&dir).unwrap_or_default() {
            let file = disk.open(&dir.join(name), OpenMode::default()).expect("opens");
            bytes += file.allocated_bytes().expect("stats");
        }
    }
    bytes
}
