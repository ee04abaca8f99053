//! Tags and access list of one version: read, replaced as a whole, removed.
//! Invariant: a change touches exactly the version that was named, or the newest; a delete marker has neither.

use aws::acl::Grant;
use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::{Refusal, Target, get_object};
use crate::call::{Bucket, Shared, collect, submit};
use crate::model::{OBJECT_TAG_COUNT_MAX, ObjectKey, Tags, VersionId, Versioning, XML_BODY_BYTES_MAX};
use crate::store::versions::{self, Place};
use crate::wire::error::Error;
use crate::wire::{reply, tags};

/// GET /b/k?tagging.
pub fn get(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    let version = call.version_id()?;
    let key = call.key()?;
    let view = call.view(cx, &bucket, key)?;
    let action = if version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    call.authorize_as(action, &bucket, None)?;
    let found = get_object::find(&call, &view, &bucket, key, version, action)?;
    let mut reply = reply::xml(tags::write_document(&found.record.attributes.tags));
    if let Some(id) = bucket.shown_id(&found.record) {
        reply::set(&mut reply.headers, "x-amz-version-id", &id);
    }
    Ok(Plan::Reply(reply))
}

/// PUT /b/k?tagging.
pub fn put(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    call.version_id()?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let tags = tags::parse_document(&body, OBJECT_TAG_COUNT_MAX)?;
        change(call.clone(), cx, &bucket, Change::Tags(tags), StatusCode::OK)
    }))
}

/// DELETE /b/k?tagging.
pub fn delete(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    change(call, cx, &bucket, Change::Tags(Tags::default()), StatusCode::NO_CONTENT)
}

/// What is replaced.
#[derive(Clone, Debug)]
pub enum Change {
    /// The tags.
    Tags(Tags),
    /// The access list.
    Grants(Option<Vec<Grant>>),
}

/// Replaces an attribute of the version that the request names.
pub fn change(
    call: Shared,
    cx: &mut Context<'_>,
    bucket: &Bucket,
    change: Change,
    status: StatusCode,
) -> Result<Plan, Error> {
    let key = call.key()?.clone();
    let version = call.version_id()?;
    let shard = bucket.shard(cx, &key);
    let update = UpdateVersion { target: Target::from(bucket), key, version, change };
    Ok(submit(call, shard, update, move |_call, _cx, outcome| {
        let id = outcome?;
        let mut reply = Reply::empty(status);
        if let Some(id) = id {
            reply::set(&mut reply.headers, "x-amz-version-id", &id.to_string());
        }
        Ok(Plan::Reply(reply))
    }))
}

struct UpdateVersion {
    target: Target,
    key: ObjectKey,
    version: Option<VersionId>,
    change: Change,
}

impl Operation for UpdateVersion {
    type Reply = Result<Option<VersionId>, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        versions::declare(self.target.generation, &self.key, declare);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        let Some(bucket) = self.target.read(tx)? else {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        };
        let place = Place { generation: bucket.generation, key: &self.key, versioning: bucket.versioning };
        let found = match self.version {
            Some(id) => versions::version(tx, &place, id)?,
            None => versions::newest(tx, &place)?,
        };
        let refusal = match (&found, self.version) {
            (None, Some(_)) => Some(Refusal::NoSuchVersion),
            (None, None) => Some(Refusal::NoSuchKey),
            (Some(found), Some(_)) if found.record.is_marker => Some(Refusal::IsMarker),
            (Some(found), None) if found.record.is_marker => Some(Refusal::NoSuchKey),
            _ => None,
        };
        let mut found = match (found, refusal) {
            (Some(found), None) => found,
            (_, refusal) => return Ok(Outcome::Rollback(Err(refusal.unwrap_or(Refusal::NoSuchKey)))),
        };
        match self.change.clone() {
            Change::Tags(tags) => found.record.attributes.tags = tags,
            Change::Grants(grants) => found.record.attributes.grants = grants,
        }
        versions::write(tx, &place, &found);
        let shows = bucket.versioning != Versioning::Never;
        Ok(Outcome::Commit(Ok(shows.then(|| found.record.id()))))
    }
}
