//! Which operation a request names: the table of operations, which is the index of the service.
//! Invariant: a sub-resource decides before the plain bucket or object does, and one that is not in the table is 501, never
//! a listing and never a write.

use http_types::{HeaderMap, Method};
use plan::{Context, Plan};

use crate::call::Shared;
use crate::ops::{
    abort_upload, acl, bucket, complete_upload, copy_object, create_bucket, create_upload, delete_bucket,
    delete_object, delete_objects, get_attributes, get_object, list_buckets, list_objects, list_parts,
    list_uploads, list_versions, post_object, put_object, refused, tagging, upload_part, upload_part_copy,
};
use crate::wire::address::Address;
use crate::wire::error::Error;
use crate::wire::query::Query;

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// The service itself.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

/// Begins an operation.
pub type Start = fn(Shared, &mut Context<'_>) -> Result<Plan, Error>;

/// One operation.
pub struct Operation {
    /// S3's name of it.
    pub name: &'static str,
    /// The action that a policy allows or denies.
    pub action: &'static str,
    method: &'static str,
    level: Level,
    /// The sub-resource, or "" for the plain bucket or object; `+copy` where the request has a copy source.
    selector: &'static str,
    /// Begins it.
    pub start: Start,
}

const fn row(
    method: &'static str,
    level: Level,
    selector: &'static str,
    name: &'static str,
    action: &'static str,
    start: Start,
) -> Operation {
    Operation { name, action, method, level, selector, start }
}

use Level::{Bucket, Object, Service};

/// Every operation that is answered otherwise than by a bare 501.
pub static OPERATIONS: &[Operation] = &[
    row("GET", Service, "", "ListBuckets", "s3:ListAllMyBuckets", list_buckets::start),
    row("PUT", Bucket, "", "CreateBucket", "s3:CreateBucket", create_bucket::start),
    row("HEAD", Bucket, "", "HeadBucket", "s3:ListBucket", bucket::head),
    row("DELETE", Bucket, "", "DeleteBucket", "s3:DeleteBucket", delete_bucket::start),
    row("GET", Bucket, "", "ListObjects", "s3:ListBucket", list_objects::start_v1),
    row("GET", Bucket, "list-type", "ListObjectsV2", "s3:ListBucket", list_objects::start_v2),
    row("GET", Bucket, "versions", "ListObjectVersions", "s3:ListBucketVersions", list_versions::start),
    row(
        "GET",
        Bucket,
        "uploads",
        "ListMultipartUploads",
        "s3:ListBucketMultipartUploads",
        list_uploads::start,
    ),
    row("GET", Bucket, "location", "GetBucketLocation", "s3:GetBucketLocation", bucket::location),
    row("GET", Bucket, "versioning", "GetBucketVersioning", "s3:GetBucketVersioning", bucket::get_versioning),
    row("PUT", Bucket, "versioning", "PutBucketVersioning", "s3:PutBucketVersioning", bucket::put_versioning),
    row("GET", Bucket, "tagging", "GetBucketTagging", "s3:GetBucketTagging", bucket::get_tagging),
    row("PUT", Bucket, "tagging", "PutBucketTagging", "s3:PutBucketTagging", bucket::put_tagging),
    row("DELETE", Bucket, "tagging", "DeleteBucketTagging", "s3:PutBucketTagging", bucket::delete_tagging),
    row("POST", Bucket, "", "PostObject", "s3:PutObject", post_object::start),
    row("POST", Bucket, "delete", "DeleteObjects", "s3:DeleteObject", delete_objects::start),
    row("GET", Bucket, "acl", "GetBucketAcl", "s3:GetBucketAcl", acl::get_bucket),
    row("PUT", Bucket, "acl", "PutBucketAcl", "s3:PutBucketAcl", acl::put_bucket),
    row(
        "GET",
        Bucket,
        "ownershipControls",
        "GetBucketOwnershipControls",
        "s3:GetBucketOwnershipControls",
        bucket::get_ownership,
    ),
    row(
        "PUT",
        Bucket,
        "ownershipControls",
        "PutBucketOwnershipControls",
        "s3:PutBucketOwnershipControls",
        bucket::put_ownership,
    ),
    row(
        "DELETE",
        Bucket,
        "ownershipControls",
        "DeleteBucketOwnershipControls",
        "s3:PutBucketOwnershipControls",
        bucket::delete_ownership,
    ),
    row(
        "GET",
        Bucket,
        "publicAccessBlock",
        "GetPublicAccessBlock",
        "s3:GetBucketPublicAccessBlock",
        bucket::get_block,
    ),
    row(
        "PUT",
        Bucket,
        "publicAccessBlock",
        "PutPublicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
        bucket::put_block,
    ),
    row(
        "DELETE",
        Bucket,
        "publicAccessBlock",
        "DeletePublicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
        bucket::delete_block,
    ),
    row("HEAD", Object, "", "HeadObject", "s3:GetObject", get_object::start),
    row("GET", Object, "", "GetObject", "s3:GetObject", get_object::start),
    row("PUT", Object, "", "PutObject", "s3:PutObject", put_object::start),
    row("PUT", Object, "+copy", "CopyObject", "s3:PutObject", copy_object::start),
    row("DELETE", Object, "", "DeleteObject", "s3:DeleteObject", delete_object::start),
    row("GET", Object, "attributes", "GetObjectAttributes", "s3:GetObjectAttributes", get_attributes::start),
    row("GET", Object, "tagging", "GetObjectTagging", "s3:GetObjectTagging", tagging::get),
    row("PUT", Object, "tagging", "PutObjectTagging", "s3:PutObjectTagging", tagging::put),
    row("DELETE", Object, "tagging", "DeleteObjectTagging", "s3:DeleteObjectTagging", tagging::delete),
    row("GET", Object, "acl", "GetObjectAcl", "s3:GetObjectAcl", acl::get_object),
    row("PUT", Object, "acl", "PutObjectAcl", "s3:PutObjectAcl", acl::put_object),
    row("POST", Object, "uploads", "CreateMultipartUpload", "s3:PutObject", create_upload::start),
    row("PUT", Object, "uploadId", "UploadPart", "s3:PutObject", upload_part::start),
    row("PUT", Object, "uploadId+copy", "UploadPartCopy", "s3:PutObject", upload_part_copy::start),
    row("POST", Object, "uploadId", "CompleteMultipartUpload", "s3:PutObject", complete_upload::start),
    row("DELETE", Object, "uploadId", "AbortMultipartUpload", "s3:AbortMultipartUpload", abort_upload::start),
    row("GET", Object, "uploadId", "ListParts", "s3:ListMultipartUploadParts", list_parts::start),
    // Configurations that nobody can have set yet: their own 404, or the document that says so.
    row("GET", Bucket, "policy", "GetBucketPolicy", "s3:GetBucketPolicy", refused::no_policy),
    row(
        "GET",
        Bucket,
        "policyStatus",
        "GetBucketPolicyStatus",
        "s3:GetBucketPolicyStatus",
        refused::no_policy,
    ),
    row("GET", Bucket, "cors", "GetBucketCors", "s3:GetBucketCORS", refused::no_cors),
    row(
        "GET",
        Bucket,
        "lifecycle",
        "GetBucketLifecycle",
        "s3:GetLifecycleConfiguration",
        refused::no_lifecycle,
    ),
    row("GET", Bucket, "website", "GetBucketWebsite", "s3:GetBucketWebsite", refused::no_website),
    row(
        "GET",
        Bucket,
        "replication",
        "GetBucketReplication",
        "s3:GetReplicationConfiguration",
        refused::no_replication,
    ),
    row(
        "GET",
        Bucket,
        "encryption",
        "GetBucketEncryption",
        "s3:GetEncryptionConfiguration",
        refused::no_encryption,
    ),
    row(
        "GET",
        Bucket,
        "object-lock",
        "GetObjectLockConfiguration",
        "s3:GetBucketObjectLockConfiguration",
        bucket::get_lock,
    ),
    row("GET", Bucket, "logging", "GetBucketLogging", "s3:GetBucketLogging", refused::no_logging),
    row(
        "GET",
        Bucket,
        "notification",
        "GetBucketNotificationConfiguration",
        "s3:GetBucketNotification",
        refused::no_notification,
    ),
    row(
        "GET",
        Bucket,
        "accelerate",
        "GetBucketAccelerateConfiguration",
        "s3:GetAccelerateConfiguration",
        refused::no_acceleration,
    ),
    row(
        "GET",
        Bucket,
        "requestPayment",
        "GetBucketRequestPayment",
        "s3:GetBucketRequestPayment",
        refused::owner_pays,
    ),
    row(
        "GET",
        Bucket,
        "inventory",
        "GetBucketInventory",
        "s3:GetInventoryConfiguration",
        refused::no_configuration,
    ),
    row(
        "GET",
        Bucket,
        "analytics",
        "GetBucketAnalytics",
        "s3:GetAnalyticsConfiguration",
        refused::no_configuration,
    ),
    row(
        "GET",
        Bucket,
        "metrics",
        "GetBucketMetrics",
        "s3:GetMetricsConfiguration",
        refused::no_configuration,
    ),
    row(
        "GET",
        Bucket,
        "intelligent-tiering",
        "GetBucketIntelligentTiering",
        "s3:GetIntelligentTieringConfiguration",
        refused::no_configuration,
    ),
    row("GET", Object, "retention", "GetObjectRetention", "s3:GetObjectRetention", refused::no_object_lock),
    row("GET", Object, "legal-hold", "GetObjectLegalHold", "s3:GetObjectLegalHold", refused::no_object_lock),
    row("GET", Object, "torrent", "GetObjectTorrent", "s3:GetObjectTorrent", refused::no_torrent),
];

static NOT_IMPLEMENTED: Operation =
    row("", Service, "", "NotImplemented", "s3:NotImplemented", refused::not_implemented);
static NOT_ALLOWED: Operation =
    row("", Service, "", "MethodNotAllowed", "s3:MethodNotAllowed", refused::method_not_allowed);
static PREFLIGHT: Operation = row("OPTIONS", Bucket, "", "Preflight", "s3:Preflight", refused::preflight);

/// Sub-resources of S3, built or not.
const SUBRESOURCES: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Parameters that may stand without a value.
const PARAMETERS: &[&str] = &[
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "allow-unordered",
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "key-marker",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partNumber",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
];

/// Finds the operation that a request names.
pub fn route(
    method: &Method,
    address: &Address,
    query: &Query,
    headers: &HeaderMap,
) -> Result<&'static Operation, Error> {
    let level = match (&address.bucket, &address.key) {
        (None, _) => Level::Service,
        (Some(_), None) => Level::Bucket,
        (Some(_), Some(_)) => Level::Object,
    };
    if *method == Method::OPTIONS {
        return Ok(&PREFLIGHT);
    }
    let mut subresource = "";
    for (name, value) in query.iter() {
        if let Some(known) = SUBRESOURCES.iter().find(|known| **known == name) {
            // Of several, such as `tagging` and `versionId`'s kin, the first in the query counts.
            if subresource.is_empty() && (*known != "list-type" || value == "2") {
                subresource = known;
            }
        } else if value.is_empty() && !is_parameter(name) {
            return Ok(&NOT_IMPLEMENTED);
        }
    }
    let is_copy = *method == Method::PUT && headers.contains_key("x-amz-copy-source");
    let selector = match (subresource, is_copy) {
        ("", true) if level == Level::Object => "+copy",
        ("uploadId", true) => "uploadId+copy",
        (plain, _) => plain,
    };
    if *method == Method::PUT && level == Level::Object && subresource.is_empty() && query.has("partNumber") {
        return Err(Error::argument(
            "partNumber",
            query.get("partNumber").unwrap_or(""),
            "This operation does not accept a part number without an upload id",
        ));
    }
    let same_resource = |row: &&Operation| row.level == level && row.selector == selector;
    match OPERATIONS.iter().filter(same_resource).find(|row| row.method == method.as_str()) {
        Some(row) => Ok(row),
        None if OPERATIONS.iter().any(|row| same_resource(&row)) && is_plain(selector) => Ok(&NOT_ALLOWED),
        None => Ok(&NOT_IMPLEMENTED),
    }
}

/// Whether all methods that S3 has for a resource are in the table, so that another one is not allowed at all.
fn is_plain(selector: &str) -> bool {
    matches!(
        selector,
        "" | "acl"
            | "attributes"
            | "delete"
            | "location"
            | "tagging"
            | "uploadId"
            | "uploads"
            | "versioning"
            | "versions"
    )
}

fn is_parameter(name: &str) -> bool {
    PARAMETERS.contains(&name)
        || name.starts_with("response-")
        || name.get(..2).is_some_and(|front| front.eq_ignore_ascii_case("x-"))
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderName, HeaderValue};

    use super::*;

    fn name(method: &str, path: &str, copy: bool) -> &'static str {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let address = crate::wire::address::parse(path, None, &[]).expect("valid");
        let query = Query::parse(query).expect("UTF-8");
        let mut headers = HeaderMap::new();
        if copy {
            let value = HeaderValue::from_static("b/k");
            headers.insert(HeaderName::from_static("x-amz-copy-source"), value);
        }
        let method = Method::from_bytes(method.as_bytes()).expect("method");
        route(&method, &address, &query, &headers).map_or("error", |row| row.name)
    }

    #[test]
    fn rows_are_found_and_unambiguous() {
        for (index, row) in OPERATIONS.iter().enumerate() {
            let same = |other: &&Operation| {
                other.method == row.method && other.level == row.level && other.selector == row.selector
            };
            assert_eq!(OPERATIONS.iter().filter(same).count(), 1, "{}", row.name);
            let path = match row.level {
                Level::Service => "/",
                Level::Bucket => "/b",
                Level::Object => "/b/k",
            };
            let (selector, copy) = match row.selector.split_once('+') {
                Some((selector, _)) => (selector, true),
                None => (row.selector, false),
            };
            let query = match selector {
                "" => String::new(),
                "list-type" => "?list-type=2".into(),
                other => format!("?{other}"),
            };
            assert_eq!(name(row.method, &format!("{path}{query}"), copy), row.name, "row {index}");
        }
    }

    #[test]
    fn parameters_and_empty_values_change_nothing() {
        assert_eq!(name("GET", "/b?x-id=ListObjects&prefix", false), "ListObjects");
        assert_eq!(name("GET", "/b?list-type=1", false), "ListObjects");
        assert_eq!(name("GET", "/b/k?versionId=null&x-id=GetObject", false), "GetObject");
        assert_eq!(name("GET", "/b/k?versionId=x&tagging=", false), "GetObjectTagging");
        assert_eq!(name("PUT", "/b/k?uploadId=u&partNumber=1", false), "UploadPart");
        assert_eq!(name("GET", "/b?X-Amz-Signature=&response-expires", false), "ListObjects");
    }

    #[test]
    fn what_is_not_built_is_never_taken_for_something_else() {
        for (method, path) in [
            ("GET", "/b?unknown"),
            ("PUT", "/b/k?unknown"),
            ("PUT", "/b?policy"),
            ("DELETE", "/b?lifecycle"),
            ("PUT", "/b/k?retention"),
            ("POST", "/b/k?restore"),
            ("POST", "/b/k?select&select-type=2"),
            ("PUT", "/b/k?renameObject"),
            ("PUT", "/b/k?annotation"),
            ("GET", "/b?session"),
            ("DELETE", "/b?website"),
            ("PUT", "/b?unknown="),
        ] {
            assert_eq!(name(method, path, false), "NotImplemented", "{method} {path}");
        }
        assert_eq!(name("PATCH", "/b/k", false), "MethodNotAllowed");
        assert_eq!(name("POST", "/b/k", false), "MethodNotAllowed");
        assert_eq!(name("DELETE", "/", false), "MethodNotAllowed");
        assert_eq!(name("PUT", "/b/k?acl", true), "PutObjectAcl");
        assert_eq!(name("PUT", "/b/k?partNumber=1", false), "error");
        assert_eq!(name("OPTIONS", "/b/k", false), "Preflight");
    }
}
