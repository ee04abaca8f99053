//! Copying forward: what still lives in a packed segment that is mostly dead is written anew, so that the segment empties.
//! Invariant: a body moves only if its record still points to the old place; the move is an operation like any other, so it
//! takes part in the order of all writes, and the old segment goes only when the index names nothing in it.
//! Leaves to fold.rs: finding such segments. Leaves to reclaim.rs: removing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::body::PackedScan;
use crate::fault::Fault;
use crate::message::Message;
use crate::record::{BodyRef, Record};
use crate::shared::Shared;
use crate::store::detached_job;
use crate::tables::record_key;
use crate::tx::{Body, NewBody, Operation, Outcome, Tx};
use crate::types::{ShardId, TableId};

/// Body bytes in one operation.
const MOVE_BYTES_MAX: usize = 128 * 1024;

struct Moved {
    table: TableId,
    key: Vec<u8>,
    old: BodyRef,
    new: NewBody,
}

/// Points records to new copies of their bodies.
struct Move {
    bodies: Vec<Moved>,
}

impl Operation for Move {
    type Reply = ();

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        for moved in &self.bodies {
            declare(moved.table, &moved.key);
        }
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<()>, Fault> {
        // All bodies of a record in one put: a record may have several in one segment.
        let mut by_record: BTreeMap<(u8, &[u8]), Vec<&Moved>> = BTreeMap::new();
        for moved in &self.bodies {
            by_record.entry((moved.table.0, &moved.key)).or_default().push(moved);
        }
        for ((table, key), moves) in by_record {
            let Some(record) = tx.get(TableId(table), key)? else { continue };
            // A body that the record names twice stays: its copy could be adopted only once.
            let once = |body: &BodyRef| record.bodies.iter().filter(|other| *other == body).count() == 1;
            let copy = |body: &BodyRef| moves.iter().find(|moved| moved.old == *body && once(body));
            if !record.bodies.iter().any(|body| copy(body).is_some()) {
                continue;
            }
            let bodies = record
                .bodies
                .iter()
                .map(|body| match copy(body) {
                    Some(moved) => Body::New(moved.new.clone()),
                    None => Body::Kept(body.clone()),
                })
                .collect();
            tx.put(TableId(table), key, &record.value, bodies, false);
        }
        Ok(Outcome::Commit(()))
    }
}

/// Sends operations that copy what lives in `segment`, about `bytes_max` of it, and says how much that was. Blocks: for the file
/// thread. Errors: `Fault::Corrupt` and `Fault::Io` of the segment; the records are left as they are then.
pub(crate) fn copy_forward(
    shared: &Arc<Shared>,
    shard: ShardId,
    segment: u64,
    bytes_max: u64,
) -> Result<u64, Fault> {
    let index = shared.shard(shard).index();
    let mut scan = PackedScan::open(&shared.files, shard, segment)?;
    let mut round_bytes = 0_u64;
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    while let Some(entry) = scan.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(fault) => {
                // Its record says so too, to whoever reads it; the others can still move.
                crate::report(&format!("{shard}: copying forward: {fault}"));
                continue;
            }
        };
        let key = record_key(entry.table, entry.key);
        let lives = {
            let txn = index.read()?;
            let record = index.get(&txn, &key).and_then(|found| found.map(Record::decode).transpose());
            match record {
                Ok(record) => record.is_some_and(|record| record.bodies.contains(&entry.body)),
                // Whoever reads the record hears of it; the others can still move.
                Err(Fault::Corrupt(_)) => false,
                Err(fault) => return Err(fault),
            }
        };
        if shared.is_closing() {
            break;
        }
        if !lives {
            continue;
        }
        batch_bytes += entry.bytes.len();
        round_bytes += entry.bytes.len() as u64;
        batch.push(Moved {
            table: entry.table,
            key: entry.key.to_vec(),
            old: entry.body.clone(),
            new: NewBody::from_bytes(entry.bytes.to_vec()),
        });
        if batch_bytes >= MOVE_BYTES_MAX {
            send(shared, shard, std::mem::take(&mut batch));
            batch_bytes = 0;
        }
        if round_bytes >= bytes_max {
            break;
        }
    }
    send(shared, shard, batch);
    Ok(round_bytes)
}

fn send(shared: &Arc<Shared>, shard: ShardId, bodies: Vec<Moved>) {
    if !bodies.is_empty() {
        // Nobody waits: a move that does not happen is tried again after a later fold.
        drop(shared.shard(shard).mailbox.send(Message::Job(detached_job(Move { bodies }))));
    }
}
