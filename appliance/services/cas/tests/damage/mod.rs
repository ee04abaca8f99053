//! Damage to blobs: other bytes under sound checksums, and bytes of a file that have changed.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::os::unix::fs::FileExt;
use std::path::Path;

use cas::Digest;
use cas::store::BLOBS;
use store::{Body, Fault, NewBody, Operation, Outcome, TableId, Tx};

use crate::driver::World;

/// Puts other bytes in the place of a blob's, as a disk does that lies about its checksums.
struct Swap {
    digest: Digest,
    body: NewBody,
}

impl Operation for Swap {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BLOBS, self.digest.as_bytes());
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        let record = tx.get(BLOBS, self.digest.as_bytes())?.expect("there");
        tx.put(BLOBS, self.digest.as_bytes(), &record.value, vec![Body::New(self.body.clone())], false);
        Ok(Outcome::Commit(()))
    }
}

pub async fn swap(world: &World, digest: Digest, bytes: &[u8]) {
    let shard = cas::store::place_of(&world.store, &digest);
    let owner = store::BodyOwner { shard, table: BLOBS, key: digest.as_bytes().to_vec() };
    let mut writer = world.store.body_writer(Some(bytes.len() as u64), owner);
    writer.write(bytes).await.expect("written");
    let body = writer.seal().await.expect("written");
    world.store.submit(shard, Swap { digest, body }).await.expect("written");
}

/// Flips a bit of each place below a directory where the middle of these bytes lies; gives how many there are. They lie in
/// extents, and their middle at the beginning of a block.
pub fn flip_on_disk(directory: &Path, bytes: &[u8]) -> usize {
    const BLOCK_BYTES: usize = 4_096;
    const NEEDLE_BYTES: usize = 64;
    let middle = bytes.len() / 2;
    assert_eq!(middle % BLOCK_BYTES, 0, "a length that puts the middle at the beginning of a block");
    let needle = &bytes[middle..][..NEEDLE_BYTES];
    let mut count = 0;
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            count += flip_on_disk(&path, bytes);
            continue;
        }
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
        let length = file.metadata().expect("its length").len();
        for at in (0..length).step_by(BLOCK_BYTES) {
            let mut held = [0; NEEDLE_BYTES];
            if file.read_exact_at(&mut held, at).is_ok() && held == needle {
                file.write_all_at(&[held[7] ^ 0x10], at + 7).expect("written");
                file.sync_all().expect("synced");
                count += 1;
            }
        }
    }
    count
}
