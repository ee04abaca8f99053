//! AbortMultipartUpload: the upload and its parts go in one batch.

use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::delete_bucket::remove_parts;
use super::upload_part::upload_id;
use super::{Refusal, Target};
use crate::call::{Shared, submit};
use crate::model::{ObjectKey, PART_COUNT_MAX, UploadId};
use crate::store::{PARTS, UPLOADS, parts_prefix, upload_key};
use crate::wire::error::Error;
use crate::wire::reply;

/// DELETE /b/k?uploadId.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    let key = call.key()?.clone();
    let id = upload_id(&call)?;
    let shard = bucket.shard(cx, &key);
    let abort = AbortUpload { target: Target::from(&bucket), key, id };
    Ok(submit(call, shard, abort, |_call, _cx, outcome| {
        outcome?;
        Ok(Plan::Reply(reply::no_content()))
    }))
}

struct AbortUpload {
    target: Target,
    key: ObjectKey,
    id: UploadId,
}

impl Operation for AbortUpload {
    type Reply = Result<(), Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        declare(UPLOADS, &upload_key(self.target.generation, self.key.as_bytes(), self.id));
        declare(PARTS, &parts_prefix(self.target.generation, self.id));
    }

    fn frees(&self) -> bool {
        true
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        if self.target.read(tx)?.is_none() {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        }
        let key = upload_key(self.target.generation, self.key.as_bytes(), self.id);
        if tx.get(UPLOADS, &key)?.is_none() {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchUpload)));
        }
        remove_parts(tx, self.target.generation, self.id, usize::from(PART_COUNT_MAX))?;
        tx.delete(UPLOADS, &key);
        Ok(Outcome::Commit(Ok(())))
    }
}
