//! What is not built: an honest 501, and the own 404 of configurations that nobody can have set.
//! Invariant: a sub-resource that is not built is never taken for the plain bucket or object.

use plan::{Context, Plan};

use crate::call::Shared;
use crate::wire::error::{Code, Error};

/// 501.
pub fn not_implemented(_call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Error> {
    Err(Code::NotImplemented.into())
}

/// 405.
pub fn method_not_allowed(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Error> {
    Err(Error::from(Code::MethodNotAllowed).with("Method", call.head.method.as_str()))
}

/// 404 NoSuchKey, for torrents.
pub fn no_torrent(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Error> {
    let key = call.key()?.as_str().to_owned();
    Err(Error::from(Code::NoSuchKey).with("Key", key))
}

/// Preflight requests: 400 for one that does not say what it asks, 403 for others, since no bucket has a CORS
/// configuration.
pub fn preflight(call: Shared, _cx: &mut Context<'_>) -> Result<Plan, Error> {
    if call.header("origin").is_none() {
        let text = "Insufficient information. Origin request header needed.";
        return Err(Error::from(Code::BadRequest).message(text));
    }
    match call.header("access-control-request-method") {
        Some("GET" | "PUT" | "POST" | "DELETE" | "HEAD") => Err(Code::AccessForbidden.into()),
        other => {
            let text = format!("Invalid Access-Control-Request-Method: {}", other.unwrap_or("null"));
            Err(Error::from(Code::BadRequest).message(text))
        }
    }
}

/// 404 with the code of a bucket configuration that is not set.
fn unset(call: &Shared, cx: &Context<'_>, code: Code) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    Err(Error::from(code).with("BucketName", bucket.name.as_str()))
}

macro_rules! unset {
    ($($name:ident $code:ident;)*) => {
        $(
            /// GET of a configuration that is not set.
            pub fn $name(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
                unset(&call, cx, Code::$code)
            }
        )*
    };
}

unset! {
    no_policy NoSuchBucketPolicy;
    no_cors NoSuchCorsConfiguration;
    no_lifecycle NoSuchLifecycleConfiguration;
    no_website NoSuchWebsiteConfiguration;
    no_replication ReplicationConfigurationNotFoundError;
    no_encryption ServerSideEncryptionConfigurationNotFoundError;
    no_configuration NoSuchConfiguration;
}

/// 404 for retention and legal hold of an object that has none.
pub fn no_object_lock(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    if !bucket.record.object_lock {
        return Err(Error::request("Bucket is missing Object Lock Configuration"));
    }
    Err(Code::NoSuchObjectLockConfiguration.into())
}

/// Empty documents of configurations that S3 answers without a 404.
fn empty(
    call: &Shared,
    cx: &Context<'_>,
    root: &'static str,
    payer: Option<&'static str>,
) -> Result<Plan, Error> {
    let bucket = call.bucket(cx)?;
    call.authorize_bucket(&bucket, None)?;
    let mut writer = aws::xml::Writer::s3(root, 128);
    writer.text_if("Payer", payer);
    writer.close(root);
    Ok(Plan::Reply(crate::wire::reply::xml(writer.into_bytes())))
}

/// GET /b?logging: none.
pub fn no_logging(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    empty(&call, cx, "BucketLoggingStatus", None)
}

/// GET /b?notification: none.
pub fn no_notification(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    empty(&call, cx, "NotificationConfiguration", None)
}

/// GET /b?accelerate: never set.
pub fn no_acceleration(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    empty(&call, cx, "AccelerateConfiguration", None)
}

/// GET /b?requestPayment: the owner pays.
pub fn owner_pays(call: Shared, cx: &mut Context<'_>) -> Result<Plan, Error> {
    empty(&call, cx, "RequestPaymentConfiguration", Some("BucketOwner"))
}
