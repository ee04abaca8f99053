//! PutObject, and the write that PUT, POST and copy share.
//! Invariant: the record is visible only if every announced digest matched and every condition held on the owner at the
//! instant of the write; otherwise the body is given back.

use plan::{Context, Plan, Receive, Reply};
use store::{Body, BodyOwner, Fault, NewBody, Operation, Outcome, TableId, Tx};

use super::{Refusal, Target, access, refuse_verdict};
use crate::call::{Bucket, Shared, receive, submit};
use crate::model::checksum::ALGORITHM_DEFAULT;
use crate::model::{
    Attributes, Checksum, Conditions, Etag, ObjectKey, SINGLE_BODY_BYTES_MAX, Verdict, VersionId,
    VersionNumber, Versioning,
};
use crate::store::record::VersionRecord;
use crate::store::versions::{self, Found, Place};
use crate::store::{CURRENT, object_key};
use crate::wire::checksum::Announced;
use crate::wire::error::{Code, Error};
use crate::wire::{headers, reply};

/// PUT /b/k.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(aws::acl::Permission::Write))?;
    let key = call.key()?.clone();
    let attributes = attributes(&call, cx, &bucket)?;
    headers::refuse_unbuilt(call.headers())?;
    let announced = Announced::parse(call.headers())?;
    let length = headers::announced_length(call.headers(), call.head.version, call.body_length)?;
    if length.is_some_and(|length| length > SINGLE_BODY_BYTES_MAX) {
        return Err(too_large(length));
    }
    let conditions = headers::conditions(call.headers(), call.now(cx));
    check_early(&call, cx, &bucket, &key, &conditions)?;
    let stored = announced.algorithm().unwrap_or(ALGORITHM_DEFAULT);
    let shard = bucket.shard(cx, &key);
    let body = Receive {
        length_hint: length,
        length_max: SINGLE_BODY_BYTES_MAX,
        owner: owner(cx, &bucket, &key),
        digests: announced.digests(stored),
        prefix: bytes::Bytes::new(),
        filter: None,
    };
    Ok(receive(call, body, move |call, _cx, received| {
        let checksum = announced.verify(&received, stored)?;
        let record = new_record(received.length, received.md5, checksum.clone(), attributes)?;
        let write =
            PutVersion { target: Target::from(&bucket), key, conditions, record, body: received.body };
        Ok(submit(call.clone(), shard, write, move |_call, _cx, outcome| {
            let written = outcome?;
            let mut reply = reply::ok();
            written.describe(&mut reply);
            reply::set_checksum(&mut reply.headers, &checksum, 0);
            Ok(Plan::Reply(reply))
        }))
    }))
}

/// What the headers of a request set on a new object, its owner and list included.
pub fn attributes(call: &Shared, cx: &Context<'_>, bucket: &Bucket) -> Result<Attributes, Error> {
    headers::refuse_encryption(call.headers())?;
    headers::refuse_lock(call.headers(), bucket.record.object_lock)?;
    let mut attributes = headers::attributes(call.headers(), &call.config.storage_classes)?;
    (attributes.owner, attributes.grants) = access::for_object(call, cx, bucket)?;
    Ok(attributes)
}

/// Judges conditions before the body is read, which saves the client from sending it. The owner judges again.
pub fn check_early(
    call: &Shared,
    cx: &Context<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    conditions: &Conditions,
) -> Result<(), Error> {
    if conditions.is_empty() {
        return Ok(());
    }
    let view = call.view(cx, bucket, key)?;
    let newest = versions::view_newest(&view, &bucket.place(key))?;
    refuse_verdict(judge(conditions, newest.as_ref()))
}

/// A delete marker counts as absent.
fn judge(conditions: &Conditions, newest: Option<&Found>) -> Verdict {
    let subject = newest.filter(|newest| !newest.record.is_marker).map(|newest| newest.record.subject());
    conditions.judge_write(subject.as_ref())
}

/// The record that will adopt a new object's body.
#[must_use]
pub fn owner(cx: &Context<'_>, bucket: &Bucket, key: &ObjectKey) -> BodyOwner {
    BodyOwner {
        shard: bucket.shard(cx, key),
        table: CURRENT,
        key: object_key(bucket.generation(), key.as_bytes()),
    }
}

/// A record of a body that arrived whole. Its number and flags come when it is written.
pub fn new_record(
    size: u64,
    md5: Option<[u8; 16]>,
    checksum: Checksum,
    attributes: Attributes,
) -> Result<VersionRecord, Error> {
    let md5 = md5.ok_or_else(|| Error::from(Code::InternalError))?;
    Ok(VersionRecord {
        number: VersionNumber(0),
        is_marker: false,
        is_null: false,
        null_at: None,
        modified_ms: 0,
        size,
        etag: Etag::plain(md5),
        manifest: None,
        checksum: Some(checksum),
        attributes,
    })
}

/// EntityTooLarge with the size that was proposed.
#[must_use]
pub fn too_large(proposed: Option<u64>) -> Error {
    let error = Error::from(Code::EntityTooLarge).with("MaxSizeAllowed", SINGLE_BODY_BYTES_MAX.to_string());
    match proposed {
        Some(size) => error.with("ProposedSize", size.to_string()),
        None => error,
    }
}

/// Puts a body as the newest version of a key.
pub struct PutVersion {
    /// The bucket.
    pub target: Target,
    /// The key.
    pub key: ObjectKey,
    /// What must hold of the current object.
    pub conditions: Conditions,
    /// The version; its number, times and flags are set here.
    pub record: VersionRecord,
    /// Its bytes.
    pub body: NewBody,
}

/// What a write made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The version's id, where the bucket keeps versions. The null version is written without being named.
    pub id: Option<VersionId>,
    /// When it was put.
    pub modified_ms: u64,
    /// Its tag.
    pub etag: Etag,
}

impl Written {
    /// From the stored record.
    #[must_use]
    pub fn of(record: &VersionRecord, versioning: Versioning) -> Written {
        Written {
            id: (versioning == Versioning::Enabled).then(|| record.id()),
            modified_ms: record.modified_ms,
            etag: record.etag,
        }
    }

    /// Adds tag and version to a reply.
    pub fn describe(&self, reply: &mut Reply) {
        reply::set(&mut reply.headers, "etag", &self.etag.quoted());
        if let Some(id) = self.id {
            reply::set(&mut reply.headers, "x-amz-version-id", &id.to_string());
        }
    }
}

impl Operation for PutVersion {
    type Reply = Result<Written, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        versions::declare(self.target.generation, &self.key, declare);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        let Some(bucket) = self.target.read(tx)? else {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        };
        let place = Place { generation: bucket.generation, key: &self.key, versioning: bucket.versioning };
        let newest = versions::newest(tx, &place)?;
        let verdict = judge(&self.conditions, newest.as_ref());
        if verdict != Verdict::Pass {
            return Ok(Outcome::Rollback(Err(Refusal::Condition(verdict))));
        }
        let record = VersionRecord { modified_ms: tx.now().0, ..self.record.clone() };
        let record = versions::put(tx, &place, newest.as_ref(), record, vec![Body::New(self.body.clone())])?;
        Ok(Outcome::Commit(Ok(Written::of(&record, bucket.versioning))))
    }
}
