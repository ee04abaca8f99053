//! Access lists of buckets and objects.
//! Invariant: where lists are switched off, reading shows the owner alone and changing is refused.

use aws::account::CanonicalId;
use aws::acl::{AclHeaders, CannedAcl, Grant, Permission};
use http_types::StatusCode;
use plan::{Context, Plan};

use super::{access, bucket, get_object, tagging};
use crate::call::{Bucket, Shared, collect};
use crate::model::{Attributes, Ownership, XML_BODY_BYTES_MAX};
use crate::store::bucket::acl_of;
use crate::wire::error::{Code, Error};
use crate::wire::{acl, headers, reply};

/// GET /b?acl.
pub fn get_bucket(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(Permission::ReadAcp))?;
    let list =
        if is_off(&bucket) { acl_of(bucket.record.owner_canonical, None) } else { bucket.record.acl() };
    Ok(Plan::Reply(reply::xml(acl::write(&list, cx.accounts))))
}

/// PUT /b?acl.
pub fn put_bucket(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, Some(Permission::WriteAcp))?;
    let owner = bucket.record.owner_canonical;
    let named = headers::acl(call.headers(), cx.accounts)?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let grants = read(&named, &body, owner, owner, cx)?;
        check(&bucket, grants.as_deref(), owner)?;
        let change = bucket::Change::Grants(if is_off(&bucket) { None } else { grants });
        Ok(bucket::change(call.clone(), cx, &bucket, change, StatusCode::OK))
    }))
}

/// GET /b/k?acl.
pub fn get_object(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    let attributes = attributes(&call, cx, &bucket, Permission::ReadAcp)?;
    let owner = attributes.owner.unwrap_or(bucket.record.owner_canonical);
    let list = if is_off(&bucket) {
        acl_of(bucket.record.owner_canonical, None)
    } else {
        acl_of(owner, attributes.grants.as_deref())
    };
    Ok(Plan::Reply(reply::xml(acl::write(&list, cx.accounts))))
}

/// PUT /b/k?acl.
pub fn put_object(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    let attributes = attributes(&call, cx, &bucket, Permission::WriteAcp)?;
    let owner = attributes.owner.unwrap_or(bucket.record.owner_canonical);
    let named = headers::acl(call.headers(), cx.accounts)?;
    Ok(collect(call, XML_BODY_BYTES_MAX, move |call, cx, body| {
        let grants = read(&named, &body, owner, bucket.record.owner_canonical, cx)?;
        check(&bucket, grants.as_deref(), owner)?;
        let grants = if is_off(&bucket) { None } else { grants };
        tagging::change(call.clone(), cx, &bucket, tagging::Change::Grants(grants), StatusCode::OK)
    }))
}

fn attributes(
    call: &Shared,
    cx: &Context<'_>,
    bucket: &Bucket,
    permission: Permission,
) -> Result<Attributes, Error> {
    let key = call.key()?;
    let view = call.view(cx, bucket, key)?;
    let version = call.version_id()?;
    let found = get_object::find_as(call, &view, bucket, key, version, call.action, permission)?;
    Ok(found.record.attributes)
}

fn is_off(bucket: &Bucket) -> bool {
    bucket.record.effective_ownership() == Ownership::BucketOwnerEnforced
}

/// The new list, from headers or body. `None`: private.
fn read(
    named: &AclHeaders,
    body: &[u8],
    owner: CanonicalId,
    bucket_owner: CanonicalId,
    cx: &Context<'_>,
) -> Result<Option<Vec<Grant>>, Error> {
    match named {
        AclHeaders::Absent => acl::parse(body, owner, cx.accounts).map(Some),
        AclHeaders::Canned(_) | AclHeaders::Grants(_) if !body.is_empty() => {
            Err(Error::from(Code::MalformedAclError)
                .message("A list may come in headers or in the body, not in both"))
        }
        AclHeaders::Canned(_) | AclHeaders::Grants(_) => Ok(access::resolve(named, owner, bucket_owner)),
    }
}

/// Where lists are off, only what says "the owner, and nobody else" is taken.
fn check(bucket: &Bucket, grants: Option<&[Grant]>, owner: CanonicalId) -> Result<(), Error> {
    let bucket_owner = bucket.record.owner_canonical;
    let private = CannedAcl::Private.to_acl(bucket_owner, bucket_owner).grants;
    if is_off(bucket) && grants.is_some_and(|grants| grants != private.as_slice()) {
        return Err(Code::AccessControlListNotSupported.into());
    }
    access::refuse_blocked(bucket.record.blocks_public_grants(), grants, owner)
}
