//! DeleteBucket: every shard votes that it holds no version of the bucket; open uploads are aborted.
//! Invariant: while the vote is open a shard takes no write for the bucket, so nothing is left behind unseen.
//!
//! ```text
//! look (any version? then refuse) -> sweep uploads shard by shard, in slices -> vote on all shards -> gone
//!                                        ^                                          | an upload raced
//!                                        +------------------------------------------+
//! ```

use std::ops::{Bound, ControlFlow};

use plan::{Context, Plan};
use store::{Direction, Fault, Operation, Outcome, ScanEnd, ShardId, TableId, TransactFailure, Tx};

use super::create_bucket::{ATTEMPTS_MAX, try_again};
use super::{Refusal, Target};
use crate::call::{Bucket, Shared, settle, submit};
use crate::model::{Generation, UploadId};
use crate::store::{
    BUCKETS, CURRENT, OWNED, PARTS, UPLOADS, VERSIONS, key_and_number, object_key, owned_key, parts_prefix,
};
use crate::wire::error::{Code, Error};
use crate::wire::reply;

/// Part records that one sweep removes; what it changes must fit one batch of the log.
const SWEEP_COUNT_MAX: usize = 2_000;
/// Sweeps and votes that are tried while others keep starting uploads.
const ROUNDS_MAX: u32 = ATTEMPTS_MAX;

/// DELETE /b.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let front = object_key(bucket.generation(), b"");
    let views = cx.store.view_all()?;
    for table in [CURRENT, VERSIONS] {
        if let Some((_, key, _)) = views.scan(table, Bound::Included(&front), Direction::Forward).next()?
            && key.starts_with(&front)
        {
            return Err(Error::from(Code::BucketNotEmpty).with("BucketName", bucket.name.as_str()));
        }
    }
    drop(views);
    let shards: Vec<ShardId> = cx.store.shards().collect();
    Ok(sweep(call, cx, bucket, shards, ROUNDS_MAX))
}

/// Aborts uploads on the shards that are left, then votes.
fn sweep(call: Shared, cx: &mut Context<'_>, bucket: Bucket, mut left: Vec<ShardId>, rounds: u32) -> Plan {
    let Some(shard) = left.pop() else { return vote(call, cx, bucket, rounds) };
    let operation = SweepUploads { target: Target::from(&bucket) };
    submit(call, shard, operation, move |call, cx, outcome: Result<bool, Refusal>| {
        if !outcome? {
            left.push(shard);
        }
        Ok(sweep(call.clone(), cx, bucket, left, rounds))
    })
}

fn vote(call: Shared, cx: &mut Context<'_>, bucket: Bucket, rounds: u32) -> Plan {
    let owned = owned_key(bucket.record.owner.as_str(), &bucket.name);
    let remove = RemoveBucket { target: Target::from(&bucket), owned };
    let parts: Vec<(ShardId, RemoveBucket)> =
        cx.store.shards().map(|shard| (shard, remove.clone())).collect();
    Plan::transact(parts, move |cx, outcome| {
        let outcome = match outcome {
            Ok(_) => Ok(Plan::Reply(reply::no_content())),
            Err(TransactFailure::Cancelled(votes)) => refused(&call, bucket, votes, rounds),
            Err(TransactFailure::Conflict | TransactFailure::Fault(Fault::InDoubt)) if rounds > 1 => {
                let again = call.clone();
                Ok(try_again(cx, rounds, move |cx| vote(again, cx, bucket, rounds - 1)))
            }
            Err(TransactFailure::Conflict) => Err(Code::OperationAborted.into()),
            Err(TransactFailure::Fault(fault)) => Err(fault.into()),
        };
        settle(&call, outcome)
    })
}

fn refused(call: &Shared, bucket: Bucket, votes: Vec<(ShardId, Vote)>, rounds: u32) -> Result<Plan, Error> {
    let mut again = Vec::new();
    for (shard, vote) in votes {
        match vote {
            Vote::Gone => return Err(Code::NoSuchBucket.into()),
            Vote::NotEmpty => {
                return Err(Error::from(Code::BucketNotEmpty).with("BucketName", bucket.name.as_str()));
            }
            Vote::HasUploads => again.push(shard),
            Vote::Empty => {}
        }
    }
    if rounds <= 1 {
        return Err(Code::OperationAborted.into());
    }
    let call = call.clone();
    Ok(Plan::Pause(Box::new(move |cx, ()| sweep(call, cx, bucket, again, rounds - 1))))
}

/// Aborts uploads of a bucket on one shard; the reply says whether none is left.
struct SweepUploads {
    target: Target,
}

impl Operation for SweepUploads {
    type Reply = Result<bool, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        declare(UPLOADS, &object_key(self.target.generation, b""));
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        if self.target.read(tx)?.is_none() {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        }
        let generation = self.target.generation;
        let front = object_key(generation, b"");
        let mut uploads: Vec<(Vec<u8>, UploadId)> = Vec::new();
        tx.scan(UPLOADS, Bound::Included(&front), Direction::Forward, u64::MAX, &mut |key, _| {
            match key_and_number(generation, key) {
                Some((_, id)) if uploads.len() < SWEEP_COUNT_MAX / 10 => {
                    uploads.push((key.to_vec(), UploadId(id)));
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Break(()),
            }
        })?;
        let mut room = SWEEP_COUNT_MAX;
        let found_count = uploads.len();
        for (key, upload) in uploads {
            let (removed, is_done) = remove_parts(tx, generation, upload, room)?;
            room -= removed;
            if !is_done {
                return Ok(Outcome::Commit(Ok(false)));
            }
            tx.delete(UPLOADS, &key);
        }
        Ok(Outcome::Commit(Ok(found_count < SWEEP_COUNT_MAX / 10)))
    }
}

/// Removes up to `count_max` parts of an upload; says how many, and whether none is left.
pub fn remove_parts(
    tx: &mut Tx<'_>,
    generation: Generation,
    upload: UploadId,
    count_max: usize,
) -> Result<(usize, bool), Fault> {
    let prefix = parts_prefix(generation, upload);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut is_done = true;
    tx.scan(PARTS, Bound::Included(&prefix), Direction::Forward, u64::MAX, &mut |key, _| {
        if !key.starts_with(&prefix) {
            return ControlFlow::Break(());
        }
        if keys.len() == count_max {
            is_done = false;
            return ControlFlow::Break(());
        }
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    for key in &keys {
        tx.delete(PARTS, key);
    }
    Ok((keys.len(), is_done))
}

/// One shard's part in removing a bucket.
#[derive(Clone)]
struct RemoveBucket {
    target: Target,
    owned: Vec<u8>,
}

enum Vote {
    Empty,
    NotEmpty,
    HasUploads,
    Gone,
}

impl Operation for RemoveBucket {
    type Reply = Vote;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        for table in [CURRENT, VERSIONS, UPLOADS] {
            declare(table, &object_key(self.target.generation, b""));
        }
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Vote>, Fault> {
        if self.target.read(tx)?.is_none() {
            return Ok(Outcome::Rollback(Vote::Gone));
        }
        for (table, vote) in
            [(CURRENT, Vote::NotEmpty), (VERSIONS, Vote::NotEmpty), (UPLOADS, Vote::HasUploads)]
        {
            if holds_any(tx, table, self.target.generation)? {
                return Ok(Outcome::Rollback(vote));
            }
        }
        tx.delete(BUCKETS, &self.target.bucket_key);
        tx.delete(OWNED, &self.owned);
        Ok(Outcome::Commit(Vote::Empty))
    }
}

fn holds_any(tx: &mut Tx<'_>, table: TableId, generation: Generation) -> Result<bool, Fault> {
    let front = object_key(generation, b"");
    let mut is_held = false;
    let end = tx.scan(table, Bound::Included(&front), Direction::Forward, u64::MAX, &mut |key, _| {
        is_held = key.starts_with(&front);
        ControlFlow::Break(())
    })?;
    debug_assert!(!matches!(end, ScanEnd::Continue(_)), "the budget has no end");
    Ok(is_held)
}
