//! Who owns a new bucket or object, and which access list it gets.
//! Invariant: where lists are switched off none is stored; a list that a public access block forbids is refused.

use aws::account::CanonicalId;
use aws::acl::{Acl, AclHeaders, CannedAcl, Grant};
use plan::Context;

use crate::call::{Bucket, Call};
use crate::model::Ownership;
use crate::wire::error::{Code, Error};
use crate::wire::headers;

/// Owner and list of a new object, as they are stored: `None` stands for the bucket's owner, and for a private list.
pub type ObjectAccess = (Option<CanonicalId>, Option<Vec<Grant>>);

/// Reads the access list headers of a PUT, copy or CreateMultipartUpload.
pub fn for_object(call: &Call, cx: &Context<'_>, bucket: &Bucket) -> Result<ObjectAccess, Error> {
    let named = headers::acl(call.headers(), cx.accounts)?;
    resolve_object(call.caller(), bucket, &named)
}

/// Decides owner and list of a new object from what the request named.
pub fn resolve_object(
    caller: Option<CanonicalId>,
    bucket: &Bucket,
    named: &AclHeaders,
) -> Result<ObjectAccess, Error> {
    let bucket_owner = bucket.record.owner_canonical;
    // What an anonymous caller writes belongs to the bucket's owner: nobody else could ever remove it.
    let writer = caller.unwrap_or(bucket_owner);
    let gives_away = matches!(named, AclHeaders::Canned(CannedAcl::BucketOwnerFullControl));
    let owner = match bucket.record.effective_ownership() {
        Ownership::BucketOwnerEnforced => {
            let harmless = match named {
                AclHeaders::Absent => true,
                // For the owner's own uploads both say the same.
                AclHeaders::Canned(CannedAcl::Private) => writer == bucket_owner,
                AclHeaders::Canned(_) => gives_away,
                AclHeaders::Grants(_) => false,
            };
            if !harmless {
                return Err(Code::AccessControlListNotSupported.into());
            }
            return Ok((None, None));
        }
        Ownership::BucketOwnerPreferred if gives_away => bucket_owner,
        Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => writer,
    };
    let grants = resolve(named, owner, bucket_owner);
    refuse_blocked(bucket.record.blocks_public_grants(), grants.as_deref(), owner)?;
    Ok(((owner != bucket_owner).then_some(owner), grants))
}

/// The stored form of what headers name. `None`: private.
#[must_use]
pub fn resolve(named: &AclHeaders, owner: CanonicalId, bucket_owner: CanonicalId) -> Option<Vec<Grant>> {
    match named {
        AclHeaders::Absent | AclHeaders::Canned(CannedAcl::Private) => None,
        AclHeaders::Canned(canned) => Some(canned.to_acl(owner, bucket_owner).grants),
        AclHeaders::Grants(grants) => Some(grants.clone()),
    }
}

/// Refuses a public list where the bucket forbids new ones.
pub fn refuse_blocked(is_blocked: bool, grants: Option<&[Grant]>, owner: CanonicalId) -> Result<(), Error> {
    let is_public = grants.is_some_and(|grants| Acl { owner, grants: grants.to_vec() }.is_public());
    if is_blocked && is_public {
        return Err(Error::from(Code::AccessDenied)
            .message("User is not authorized because public ACLs are prevented by the BlockPublicAcls setting in S3 Block Public Access."));
    }
    Ok(())
}
