//! DeleteObject: adds a marker, or removes what is named.
//! Invariant: deleting what is not there succeeds; a version is removed with its bodies in one batch.

use aws::account::CanonicalId;
use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use store::{Fault, Operation, Outcome, TableId, Tx};

use super::{Refusal, Target};
use crate::call::{Bucket, Shared, submit};
use crate::model::{Conditions, ObjectKey, Verdict, VersionId, VersionNumber, Versioning};
use crate::store::record::VersionRecord;
use crate::store::versions::{self, Place};
use crate::wire::error::Error;
use crate::wire::{headers, reply};

/// DELETE /b/k.
pub fn start(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    let version = call.version_id()?;
    let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
    call.authorize_as(action, &bucket, Some(aws::acl::Permission::Write))?;
    let key = call.key()?.clone();
    let conditions = headers::conditions(call.headers(), call.now(cx));
    let shard = bucket.shard(cx, &key);
    let owner = call.caller().filter(|caller| *caller != bucket.record.owner_canonical);
    let one = Deletion { key, version, conditions };
    let delete = DeleteVersions::new(&bucket, vec![one], owner);
    Ok(submit(call, shard, delete, |_call, _cx, outcome| {
        let mut outcomes = outcome?;
        let deleted = outcomes.pop().unwrap_or(Ok(Deleted::default()))?;
        let mut reply = Reply::empty(StatusCode::NO_CONTENT);
        if deleted.is_marker {
            reply::set(&mut reply.headers, "x-amz-delete-marker", "true");
        }
        if let Some(id) = deleted.id {
            reply::set(&mut reply.headers, "x-amz-version-id", &id.to_string());
        }
        Ok(Plan::Reply(reply))
    }))
}

/// One key to delete.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The key.
    pub key: ObjectKey,
    /// The version to remove; `None` deletes the object.
    pub version: Option<VersionId>,
    /// What must hold of the object.
    pub conditions: Conditions,
}

/// What a deletion did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Deleted {
    /// The version that was made or removed, where there are versions.
    pub id: Option<VersionId>,
    /// Whether that version is a delete marker.
    pub is_marker: bool,
}

/// Deletes keys that one shard owns.
pub struct DeleteVersions {
    /// The bucket.
    pub target: Target,
    /// What to delete, in order.
    pub deletions: Vec<Deletion>,
    /// Whether the bucket keeps versions and one of the deletions names none.
    pub makes_markers: bool,
    /// The owner of new markers, where that is not the bucket's.
    pub marker_owner: Option<CanonicalId>,
}

impl DeleteVersions {
    /// Of keys of `bucket`, as it is known here.
    pub fn new(
        bucket: &Bucket,
        deletions: Vec<Deletion>,
        marker_owner: Option<CanonicalId>,
    ) -> DeleteVersions {
        let keeps_versions = bucket.record.versioning != Versioning::Never;
        let makes_markers = keeps_versions && deletions.iter().any(|deletion| deletion.version.is_none());
        DeleteVersions { target: Target::from(bucket), deletions, makes_markers, marker_owner }
    }
}

impl Operation for DeleteVersions {
    type Reply = Result<Vec<Result<Deleted, Refusal>>, Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
        for deletion in &self.deletions {
            versions::declare(self.target.generation, &deletion.key, declare);
        }
    }

    /// A delete marker takes room, and nothing bounds how many of them are asked for.
    fn frees(&self) -> bool {
        !self.makes_markers
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        let Some(bucket) = self.target.read(tx)? else {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        };
        let mut outcomes = Vec::with_capacity(self.deletions.len());
        for deletion in &self.deletions {
            let place =
                Place { generation: bucket.generation, key: &deletion.key, versioning: bucket.versioning };
            outcomes.push(delete_one(tx, &place, deletion, self.marker_owner)?);
        }
        Ok(Outcome::Commit(Ok(outcomes)))
    }
}

fn delete_one(
    tx: &mut Tx<'_>,
    place: &Place<'_>,
    deletion: &Deletion,
    marker_owner: Option<CanonicalId>,
) -> Result<Result<Deleted, Refusal>, Fault> {
    let newest = versions::newest(tx, place)?;
    if !deletion.conditions.is_empty() {
        let subject = match deletion.version {
            None => newest.as_ref().map(|found| found.record.clone()),
            Some(id) => versions::version(tx, place, id)?.map(|found| found.record),
        };
        let subject = subject.filter(|record| !record.is_marker).map(|record| record.subject());
        let verdict = deletion.conditions.judge_delete(subject.as_ref());
        if verdict != Verdict::Pass {
            return Ok(Err(Refusal::Condition(verdict)));
        }
    }
    if let Some(id) = deletion.version {
        let removed = versions::remove(tx, place, id)?;
        let is_marker = removed.is_some_and(|removed| removed.is_marker);
        let shows = place.versioning != Versioning::Never;
        return Ok(Ok(Deleted { id: shows.then_some(id), is_marker }));
    }
    let marker = VersionRecord::marker(VersionNumber(0), false, tx.now().0, marker_owner);
    let marker = versions::delete(tx, place, newest.as_ref(), marker)?;
    Ok(Ok(match marker {
        Some(marker) => Deleted { id: Some(marker.id()), is_marker: true },
        None => Deleted::default(),
    }))
}
