//! UploadPart, and what all operations on one upload share.
//! Invariant: a part belongs to an upload that runs at the instant of the write; otherwise its body is given back.

use plan::{Context, Plan, Receive};
use store::{Body, BodyOwner, Fault, NewBody, Operation, Outcome, ShardId, TableId, Tx};

use super::put_object::too_large;
use super::{Refusal, Target};
use crate::call::{Bucket, Call, Shared, receive, submit};
use crate::model::checksum::describe;
use crate::model::{Checksum, ObjectKey, PartNumber, SINGLE_BODY_BYTES_MAX, UploadId};
use crate::store::upload::{PartRecord, UploadRecord};
use crate::store::{PARTS, UPLOADS, part_key, upload_key};
use crate::wire::checksum::Announced;
use crate::wire::error::{Code, Error};
use crate::wire::{headers, reply};

/// PUT /b/k?partNumber&uploadId.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    headers::refuse_encryption(call.headers())?;
    let open = open(&call, cx, &bucket)?;
    let number = part_number(&call)?;
    let announced = Announced::parse(call.headers())?;
    if let Some(algorithm) = announced.algorithm()
        && open.upload.is_algorithm_named
        && algorithm != open.upload.algorithm
    {
        return Err(Error::request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            describe(open.upload.algorithm).name.to_ascii_lowercase(),
            describe(algorithm).name.to_ascii_lowercase()
        )));
    }
    let length = headers::announced_length(call.headers(), call.head.version, call.body_length)?;
    if length.is_some_and(|length| length > SINGLE_BODY_BYTES_MAX) {
        return Err(too_large(length));
    }
    let stored = open.upload.algorithm;
    let body = Receive {
        length_hint: length,
        length_max: SINGLE_BODY_BYTES_MAX,
        owner: open.body_owner(&bucket, number),
        digests: announced.digests(stored),
        prefix: bytes::Bytes::new(),
        filter: None,
    };
    let shown = announced.algorithm();
    Ok(receive(call, body, move |call, _cx, received| {
        let checksum = announced.verify(&received, stored)?;
        let md5 = received.md5.ok_or_else(|| Error::from(Code::InternalError))?;
        let put = open.put(&bucket, number, md5, received.length, checksum, received.body);
        let values = received.checksums;
        Ok(submit(call.clone(), open.shard, put, move |_call, _cx, outcome| {
            let part = outcome?;
            let mut reply = reply::ok();
            reply::set(&mut reply.headers, "etag", &crate::model::Etag::plain(part.md5).quoted());
            // The client's own algorithm comes back, whatever is stored beside it.
            let shown = shown.unwrap_or(stored);
            if let Some((_, value)) = values.iter().find(|(algorithm, _)| *algorithm == shown) {
                let text = aws::encoding::base64(value.as_bytes());
                reply::set(&mut reply.headers, describe(shown).header, &text);
            }
            Ok(Plan::Reply(reply))
        }))
    }))
}

/// The `partNumber` of the query.
pub fn part_number(call: &Call) -> Result<PartNumber, Error> {
    let text = call.query.get("partNumber").unwrap_or("");
    PartNumber::parse(text).ok_or_else(|| {
        Error::argument("partNumber", text, "Part number must be an integer between 1 and 10000, inclusive")
    })
}

/// An upload that ran when it was looked up.
pub struct Open {
    /// Its key.
    pub key: ObjectKey,
    /// Its id.
    pub id: UploadId,
    /// The shard that owns the key.
    pub shard: ShardId,
    /// Its record.
    pub upload: UploadRecord,
}

/// The `uploadId` of the query. What can be no id of ours names no upload.
pub fn upload_id(call: &Call) -> Result<UploadId, Error> {
    let text = call.query.get("uploadId").unwrap_or("");
    UploadId::parse(text).ok_or_else(|| Error::from(Code::NoSuchUpload).with("UploadId", text))
}

/// Finds the upload that a request names.
pub fn open(call: &Call, cx: &Context<'_>, bucket: &Bucket) -> Result<Open, Error> {
    let key = call.key()?.clone();
    let id = upload_id(call)?;
    let shard = bucket.shard(cx, &key);
    let view = cx.store.view(shard)?;
    let record = view.get(UPLOADS, &upload_key(bucket.generation(), key.as_bytes(), id))?;
    let record = record.ok_or_else(|| Error::from(Code::NoSuchUpload).with("UploadId", id.to_string()))?;
    let upload = UploadRecord::decode(record.value)?;
    drop(view);
    Ok(Open { key, id, shard, upload })
}

impl Open {
    /// The record that will adopt a part's body.
    #[must_use]
    pub fn body_owner(&self, bucket: &Bucket, number: PartNumber) -> BodyOwner {
        BodyOwner { shard: self.shard, table: PARTS, key: part_key(bucket.generation(), self.id, number) }
    }

    /// The write of a received part.
    #[must_use]
    pub fn put(
        &self,
        bucket: &Bucket,
        number: PartNumber,
        md5: [u8; 16],
        size: u64,
        checksum: Checksum,
        body: NewBody,
    ) -> PutPart {
        let key = self.key.as_bytes().to_vec();
        PutPart {
            target: Target::from(bucket),
            upload: self.id,
            number,
            part: PartRecord { key, modified_ms: 0, size, md5, checksum },
            body,
        }
    }
}

/// Puts a part; an earlier one of that number is replaced.
pub struct PutPart {
    target: Target,
    upload: UploadId,
    number: PartNumber,
    part: PartRecord,
    body: NewBody,
}

impl Operation for PutPart {
    type Reply = Result<PartRecord, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        declare(UPLOADS, &upload_key(self.target.generation, &self.part.key, self.upload));
        declare(PARTS, &part_key(self.target.generation, self.upload, self.number));
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        if self.target.read(tx)?.is_none() {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        }
        let generation = self.target.generation;
        if tx.get(UPLOADS, &upload_key(generation, &self.part.key, self.upload))?.is_none() {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchUpload)));
        }
        let part = PartRecord { modified_ms: tx.now().0, ..self.part.clone() };
        let key = part_key(generation, self.upload, self.number);
        tx.put(PARTS, &key, &part.encode(), vec![Body::New(self.body.clone())], false);
        Ok(Outcome::Commit(Ok(part)))
    }
}
