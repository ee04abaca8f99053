//! CreateMultipartUpload: fixes the attributes and the checksum of the object to come.

use aws::xml::Writer;
use plan::{Context, Plan};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::{Refusal, Target, put_object};
use crate::call::{Shared, submit};
use crate::model::checksum::{ALGORITHM_DEFAULT, default_type, describe, fits};
use crate::model::{ChecksumType, ObjectKey, UploadId};
use crate::store::upload::UploadRecord;
use crate::store::{UPLOADS, upload_key};
use crate::wire::checksum::algorithm_named;
use crate::wire::error::Error;
use crate::wire::reply;

/// POST /b/k?uploads.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    let key = call.key()?.clone();
    let attributes = put_object::attributes(&call, cx, &bucket)?;
    let (algorithm, kind, is_algorithm_named) = checksum(&call)?;
    let initiator = call.caller();
    let upload = UploadRecord { initiated_ms: 0, algorithm, kind, is_algorithm_named, initiator, attributes };
    let shard = bucket.shard(cx, &key);
    let create = CreateUpload { target: Target::from(&bucket), key, upload };
    Ok(submit(call, shard, create, move |call, _cx, outcome| {
        let id = outcome?;
        let mut writer = Writer::s3("InitiateMultipartUploadResult", 512);
        writer.text("Bucket", &bucket.name);
        writer.text("Key", call.key()?.as_str());
        writer.text("UploadId", &id.to_string());
        writer.close("InitiateMultipartUploadResult");
        let mut reply = reply::xml(writer.into_bytes());
        if is_algorithm_named {
            reply::set(&mut reply.headers, "x-amz-checksum-algorithm", describe(algorithm).name);
            reply::set(&mut reply.headers, "x-amz-checksum-type", kind.name());
        }
        Ok(Plan::Reply(reply))
    }))
}

fn checksum(call: &Shared) -> Result<(hash::Algorithm, ChecksumType, bool), Error> {
    let algorithm = match call.header("x-amz-checksum-algorithm") {
        Some(name) => Some(algorithm_named("x-amz-checksum-algorithm", name)?),
        None => None,
    };
    let kind = match call.header("x-amz-checksum-type") {
        Some(text) => Some(
            ChecksumType::parse(text)
                .ok_or_else(|| Error::request("Value for x-amz-checksum-type header is invalid."))?,
        ),
        None => None,
    };
    let Some(named) = algorithm else {
        return match kind {
            None => Ok((ALGORITHM_DEFAULT, ChecksumType::FullObject, false)),
            Some(_) => Err(Error::request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let kind = kind.unwrap_or_else(|| default_type(named));
    if !fits(named, kind) {
        return Err(Error::request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            describe(named).name.to_ascii_lowercase()
        )));
    }
    Ok((named, kind, true))
}

struct CreateUpload {
    target: Target,
    key: ObjectKey,
    upload: UploadRecord,
}

impl Operation for CreateUpload {
    type Reply = Result<UploadId, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        if self.target.read(tx)?.is_none() {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        }
        let now_ms = tx.now().0;
        // Uploads of a key sort by when they were started; the rest cannot be guessed.
        let id = UploadId((u128::from(now_ms) << 64) | u128::from(tx.random()));
        let upload = UploadRecord { initiated_ms: now_ms, ..self.upload.clone() };
        let key = upload_key(self.target.generation, self.key.as_bytes(), id);
        tx.put(UPLOADS, &key, &upload.encode(), Vec::new(), true);
        Ok(Outcome::Commit(Ok(id)))
    }
}
