//! What is asked of a bucket itself: whether it is there, where it lies, and its small settings.
//! Invariant: a setting changes on every shard at once, so every owner decides by the same one.

use aws::acl::{Grant, Permission};
use aws::xml::{Document, Writer, XmlError};
use http_types::StatusCode;
use plan::{Context, Plan, Reply};
use store::{Fault, Operation, Outcome, ShardId, TableId, TransactFailure, Tx};

use super::create_bucket::{ATTEMPTS_MAX, try_again};
use super::{Refusal, Target};
use crate::call::{Bucket, Shared, collect, settle};
use crate::model::{
    BUCKET_TAG_COUNT_MAX, Ownership, PublicAccessBlock, Tags, Versioning, XML_BODY_BYTES_MAX,
};
use crate::store::BUCKETS;
use crate::wire::error::{Code, Error};
use crate::wire::{reply, tags};

/// HEAD /b.
pub fn head(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let region = call.config.region.clone();
    let bucket = call.find_bucket(cx, &call.bucket_name)?;
    let allowed = call
        .check_owner(&bucket, "x-amz-expected-bucket-owner")
        .and_then(|()| call.authorize_bucket(&bucket, Some(Permission::Read)));
    // The region is told even to those who may not look inside: they need it to sign.
    allowed.map_err(|error| error.header("x-amz-bucket-region", &region))?;
    let mut reply = reply::ok();
    reply::set(&mut reply.headers, "x-amz-bucket-region", &region);
    reply::set(&mut reply.headers, "x-amz-access-point-alias", "false");
    Ok(Plan::Reply(reply))
}

/// GET /b?location.
pub fn location(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let mut writer = Writer::s3("LocationConstraint", 128);
    if call.config.region != "us-east-1" {
        writer.escaped(&call.config.region);
    }
    writer.close("LocationConstraint");
    Ok(Plan::Reply(reply::xml(writer.into_bytes())))
}

/// GET /b?versioning.
pub fn get_versioning(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let mut writer = Writer::s3("VersioningConfiguration", 128);
    match bucket.record.versioning {
        Versioning::Never => {}
        Versioning::Enabled => writer.text("Status", "Enabled"),
        Versioning::Suspended => writer.text("Status", "Suspended"),
    }
    writer.close("VersioningConfiguration");
    Ok(Plan::Reply(reply::xml(writer.into_bytes())))
}

/// PUT /b?versioning.
pub fn put_versioning(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let document = Document::parse(&body, XML_BODY_BYTES_MAX)?;
        let root = document.root_named("VersioningConfiguration")?;
        match root.child("MfaDelete").map(|mfa| mfa.trimmed()) {
            None | Some("Disabled") => {}
            Some("Enabled") => {
                return Err(Error::from(Code::NotImplemented).message("MFA delete is not implemented"));
            }
            Some(_) => return Err(Code::MalformedXml.into()),
        }
        let versioning = match root.child("Status").map(|status| status.trimmed()) {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") if bucket.record.object_lock => {
                return Err(Error::from(Code::InvalidBucketState).message(
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
                ));
            }
            Some("Suspended") => Versioning::Suspended,
            _ => return Err(Code::MalformedXml.into()),
        };
        Ok(change(call.clone(), cx, &bucket, Change::Versioning(versioning), StatusCode::OK))
    }))
}

/// GET /b?tagging.
pub fn get_tagging(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    match &bucket.record.tags {
        Some(tags) => Ok(Plan::Reply(reply::xml(tags::write_document(tags)))),
        None => Err(Error::from(Code::NoSuchTagSet).with("BucketName", bucket.name.as_str())),
    }
}

/// PUT /b?tagging.
pub fn put_tagging(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let tags = tags::parse_document(&body, BUCKET_TAG_COUNT_MAX)?;
        Ok(change(call.clone(), cx, &bucket, Change::Tags(Some(tags)), StatusCode::NO_CONTENT))
    }))
}

/// DELETE /b?tagging.
pub fn delete_tagging(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(change(call, cx, &bucket, Change::Tags(None), StatusCode::NO_CONTENT))
}

/// GET /b?ownershipControls.
pub fn get_ownership(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let Some(ownership) = bucket.record.ownership else {
        return Err(
            Error::from(Code::OwnershipControlsNotFoundError).with("BucketName", bucket.name.as_str())
        );
    };
    let mut writer = Writer::s3("OwnershipControls", 256);
    writer.open("Rule");
    writer.text("ObjectOwnership", ownership.name());
    writer.close("Rule");
    writer.close("OwnershipControls");
    Ok(Plan::Reply(reply::xml(writer.into_bytes())))
}

/// PUT /b?ownershipControls.
pub fn put_ownership(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let document = Document::parse(&body, XML_BODY_BYTES_MAX)?;
        let root = document.root_named("OwnershipControls")?;
        let rules: Vec<_> = root.children_named("Rule").collect();
        let [rule] = rules.as_slice() else { return Err(Code::MalformedXml.into()) };
        let named = rule.child("ObjectOwnership").and_then(|text| Ownership::parse(text.trimmed()));
        let ownership = named.ok_or_else(|| Error::from(Code::MalformedXml))?;
        let owner = bucket.record.owner_canonical;
        let is_shared = bucket.record.grants.as_ref().is_some_and(|grants| {
            grants.iter().any(|grant| grant.grantee != aws::acl::Grantee::Account(owner))
        });
        if ownership == Ownership::BucketOwnerEnforced && is_shared {
            return Err(Code::InvalidBucketAclWithObjectOwnership.into());
        }
        Ok(change(call.clone(), cx, &bucket, Change::Ownership(Some(ownership)), StatusCode::OK))
    }))
}

/// DELETE /b?ownershipControls.
pub fn delete_ownership(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(change(call, cx, &bucket, Change::Ownership(None), StatusCode::NO_CONTENT))
}

/// GET /b?publicAccessBlock.
pub fn get_block(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let Some(block) = bucket.record.public_access_block else {
        return Err(
            Error::from(Code::NoSuchPublicAccessBlockConfiguration).with("BucketName", bucket.name.as_str())
        );
    };
    Ok(Plan::Reply(reply::xml(write_block(block))))
}

/// PUT /b?publicAccessBlock.
pub fn put_block(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let block = read_block(&body)?;
        Ok(change(call.clone(), cx, &bucket, Change::Block(Some(block)), StatusCode::OK))
    }))
}

/// Reads a PublicAccessBlockConfiguration.
pub(crate) fn read_block(body: &[u8]) -> Result<PublicAccessBlock, Error> {
    let document = Document::parse(body, XML_BODY_BYTES_MAX)?;
    let root = document.root_named("PublicAccessBlockConfiguration")?;
    let flag = |name: &str| match root.child(name).map(|flag| flag.trimmed().to_ascii_lowercase()) {
        None => Ok(false),
        Some(text) if text == "true" => Ok(true),
        Some(text) if text == "false" => Ok(false),
        Some(_) => Err(XmlError::Malformed),
    };
    Ok(PublicAccessBlock {
        block_public_acls: flag("BlockPublicAcls")?,
        ignore_public_acls: flag("IgnorePublicAcls")?,
        block_public_policy: flag("BlockPublicPolicy")?,
        restrict_public_buckets: flag("RestrictPublicBuckets")?,
    })
}

/// Writes a PublicAccessBlockConfiguration.
pub(crate) fn write_block(block: PublicAccessBlock) -> Vec<u8> {
    let mut writer = Writer::s3("PublicAccessBlockConfiguration", 512);
    writer.boolean("BlockPublicAcls", block.block_public_acls);
    writer.boolean("IgnorePublicAcls", block.ignore_public_acls);
    writer.boolean("BlockPublicPolicy", block.block_public_policy);
    writer.boolean("RestrictPublicBuckets", block.restrict_public_buckets);
    writer.close("PublicAccessBlockConfiguration");
    writer.into_bytes()
}

/// DELETE /b?publicAccessBlock.
pub fn delete_block(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Ok(change(call, cx, &bucket, Change::Block(None), StatusCode::NO_CONTENT))
}

/// GET /b?object-lock: whether the bucket was made with lock; retention is not built.
pub fn get_lock(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    if !bucket.record.object_lock {
        return Err(
            Error::from(Code::ObjectLockConfigurationNotFoundError).with("BucketName", bucket.name.as_str())
        );
    }
    let mut writer = Writer::s3("ObjectLockConfiguration", 128);
    writer.text("ObjectLockEnabled", "Enabled");
    writer.close("ObjectLockConfiguration");
    Ok(Plan::Reply(reply::xml(writer.into_bytes())))
}

/// A change of one setting.
#[derive(Clone, Debug)]
pub enum Change {
    /// Whether versions are kept.
    Versioning(Versioning),
    /// The tag set.
    Tags(Option<Tags>),
    /// Who owns objects.
    Ownership(Option<Ownership>),
    /// Public access switches.
    Block(Option<PublicAccessBlock>),
    /// The access list.
    Grants(Option<Vec<Grant>>),
}

/// Changes a setting on every shard and answers with `status`.
pub fn change(
    call: Shared,
    cx: &mut Context<'_>,
    bucket: &Bucket,
    change: Change,
    status: StatusCode,
) -> Plan {
    attempt(call, cx, UpdateBucket { target: Target::from(bucket), change }, status, ATTEMPTS_MAX)
}

fn attempt(
    call: Shared,
    cx: &mut Context<'_>,
    update: UpdateBucket,
    status: StatusCode,
    attempts_left: u32,
) -> Plan {
    let parts: Vec<(ShardId, UpdateBucket)> =
        cx.store.shards().map(|shard| (shard, update.clone())).collect();
    Plan::transact(parts, move |cx, outcome| {
        let outcome = match outcome {
            Ok(_) => Ok(Plan::Reply(Reply::empty(status))),
            Err(TransactFailure::Cancelled(refusals)) => match refusals.into_iter().next() {
                Some((_, Err(refusal))) => Err(refusal.into()),
                _ => Err(Code::OperationAborted.into()),
            },
            Err(TransactFailure::Conflict | TransactFailure::Fault(Fault::InDoubt)) if attempts_left > 1 => {
                let again = call.clone();
                let left = attempts_left - 1;
                Ok(try_again(cx, attempts_left, move |cx| attempt(again, cx, update, status, left)))
            }
            Err(TransactFailure::Conflict) => Err(Code::OperationAborted.into()),
            Err(TransactFailure::Fault(fault)) => Err(fault.into()),
        };
        settle(&call, outcome)
    })
}

#[derive(Clone)]
struct UpdateBucket {
    target: Target,
    change: Change,
}

impl Operation for UpdateBucket {
    type Reply = Result<(), Refusal>;

    fn keys(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        self.target.declare(declare);
    }

    fn execute(&mut self, tx: &mut Tx<'_>) -> Result<Outcome<Self::Reply>, Fault> {
        let Some(mut bucket) = self.target.read(tx)? else {
            return Ok(Outcome::Rollback(Err(Refusal::NoSuchBucket)));
        };
        match self.change.clone() {
            Change::Versioning(versioning) => bucket.versioning = versioning,
            Change::Tags(tags) => bucket.tags = tags,
            Change::Ownership(ownership) => bucket.ownership = ownership,
            Change::Block(block) => bucket.public_access_block = block,
            Change::Grants(grants) => bucket.grants = grants,
        }
        tx.put(BUCKETS, &self.target.bucket_key, &bucket.encode(), Vec::new(), false);
        Ok(Outcome::Commit(Ok(())))
    }
}
