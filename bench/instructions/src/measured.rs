//! What is counted, and nothing beside it: callgrind collects from the entry of one of these functions to its end.
//! Invariant: none of them asks the time, draws a number, waits, or touches a file, so a count is the same on every run.
//! Leaves to prepare.rs: everything that is there before.

use std::future::Future;
use std::hint::black_box;
use std::net::SocketAddr;

use aws::account::KeyRing;
use aws::sigv4::{Identity, SignedRequest, Verifier};
use dynamodb::measured::{self as door, Buffers};
use http::Limits;
use store::log::{LogWriter, WrittenBatch};
use store::overlay::Overlay;
use store::{BodyRef, Fault, Lsn, ShardId, Store, TableId};

/// Checks a signature so many times.
#[inline(never)]
pub fn sigv4_check(
    verifier: &mut Verifier,
    request: &SignedRequest<'_>,
    keys: &KeyRing,
    now: aws::Timestamp,
    count: usize,
) {
    for _ in 0..count {
        let identity = verifier.authenticate(black_box(request), keys, now);
        assert!(matches!(identity, Ok(Identity::Key(_))), "the signature is right");
    }
}

/// Reads the head of a request so many times.
#[inline(never)]
pub fn request_head(sent: &[u8], limits: &Limits, peer: SocketAddr, count: usize) {
    for _ in 0..count {
        let head = http::measured::read_head(black_box(sent), limits, peer);
        assert!(matches!(black_box(head), Ok(Some(_))), "the head is whole and right");
    }
}

/// Fills one batch with the puts of `keys` and seals it; writing it is the returned future's.
#[inline(never)]
pub fn log_append(
    log: &mut LogWriter,
    scratch: &mut Vec<u8>,
    keys: &[Vec<u8>],
    value: &[u8],
    bodies: &[BodyRef],
) -> impl Future<Output = Result<WrittenBatch, Fault>> + use<> {
    let durable = log.last().lsn;
    let mut batch = log.open_batch().expect("one segment is ready and takes all batches");
    for key in keys {
        black_box(store::measured::append_put(&mut batch, scratch, black_box(key), value, bodies, true));
    }
    log.write(batch, durable, store::Timestamp(0))
}

/// Looks up every key.
#[inline(never)]
pub fn overlay_get(overlay: &Overlay, keys: &[Vec<u8>], at: Lsn) {
    for key in keys {
        assert!(black_box(overlay.get(black_box(key), at, 0)).is_some(), "every key was inserted");
    }
}

/// Takes a view for each key and reads the key's record, as a GET does.
#[inline(never)]
pub fn view_get(store: &Store, shard: ShardId, table: TableId, keys: &[Vec<u8>]) {
    for key in keys {
        let view = store.view(shard).expect("the shard is sound");
        let record = view.get(table, black_box(key)).expect("the index is sound");
        assert!(black_box(record).is_some(), "every key was put");
    }
}

/// Decodes the body of a GetItem so many times.
#[inline(never)]
pub fn get_item_read(body: &[u8], count: usize) {
    let buffers = Buffers::default();
    for _ in 0..count {
        assert!(matches!(door::read(&buffers, black_box(body), "Key"), Ok(1..)), "the body has a key");
    }
}

/// Decodes the body of a PutItem so many times.
#[inline(never)]
pub fn put_item_read(body: &[u8], count: usize) {
    let buffers = Buffers::default();
    for _ in 0..count {
        assert!(matches!(door::read(&buffers, black_box(body), "Item"), Ok(1..)), "the body has an item");
    }
}

/// Writes a stored item as JSON so many times.
#[inline(never)]
pub fn item_write(stored: &[u8], count: usize) {
    for _ in 0..count {
        assert!(matches!(door::write(black_box(stored)), Ok(1..)), "the item is sound");
    }
}
