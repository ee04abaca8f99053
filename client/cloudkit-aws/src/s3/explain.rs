//! What a refusal of S3 means: which bucket or object, and what would help.
//! Invariant: what is missing is `NotFound` with the type and the identity that the trait promises, whatever the code was.

use cloudkit_core::common::{CloudError, Failure};

use crate::operation::{Operation, Resource};

/// See `caller::Explain`.
pub(super) fn explain(operation: &Operation<'_>, failure: &mut Failure) {
    let (bucket, key) = match operation.resource {
        Resource::Service => ("", None),
        Resource::One(bucket) => (bucket, None),
        Resource::Inside(bucket, key) => (bucket, Some(key)),
    };
    let Some(code) = failure.detail.code.clone() else { return };
    let object = || key.map_or_else(|| bucket.to_string(), |key| [bucket, "/", key].concat());
    match (code.as_str(), key) {
        ("NoSuchBucket", _) | ("NotFound", None) => failure.kind = missing("Bucket", bucket.to_string()),
        // The answer to a HEAD has no body, and its status is all there is.
        ("NoSuchKey" | "NotFound", _) => failure.kind = missing("Object", object()),
        ("NoSuchVersion", _) => failure.kind = missing("Version", object()),
        ("NoSuchUpload", _) => failure.kind = missing("Upload", object()),
        ("BucketAlreadyExists" | "BucketAlreadyOwnedByYou", _) => {
            failure.kind =
                CloudError::AlreadyExists { resource_type: "Bucket".into(), resource_id: bucket.to_string() };
        }
        (code, _) if INVALID.contains(&code) => {
            failure.kind = CloudError::Validation(failure.detail.message.clone());
        }
        _ => {}
    }
    failure.detail.hint = failure.detail.hint.take().or_else(|| hint(&code, bucket));
}

fn missing(resource_type: &str, resource_id: String) -> CloudError {
    CloudError::NotFound { resource_type: resource_type.into(), resource_id }
}

fn hint(code: &str, bucket: &str) -> Option<String> {
    let hint = match code {
        "NoSuchBucket" => format!("create_bucket(\"{bucket}\")"),
        "NoSuchKey" => format!("list_objects(\"{bucket}\", ..) tells the keys that there are"),
        "BucketNotEmpty" => {
            format!("delete its objects first, and their versions: list_versions(\"{bucket}\", ..)")
        }
        "BucketAlreadyExists" => "choose another name: it belongs to another account".into(),
        "PreconditionFailed" => "read the object again: it is not the one that the condition names".into(),
        "EntityTooLarge" => "an object has at most 5 TiB".into(),
        "InvalidRange" => "head_object(..) tells the size".into(),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            "give the builder the region of the bucket".into()
        }
        _ => return None,
    };
    Some(hint)
}

/// Codes of arguments that will never be taken.
const INVALID: [&str; 10] = [
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidRequest",
    "InvalidStorageClass",
    "InvalidTag",
    "InvalidURI",
    "KeyTooLongError",
    "MetadataTooLarge",
    "EntityTooLarge",
    "EntityTooSmall",
];

#[cfg(test)]
mod tests {
    use super::*;
    use cloudkit_core::common::ErrorDetail;

    fn explained(operation: Operation<'_>, code: &str) -> Failure {
        let detail = ErrorDetail::new("aws", operation.name).with_code(code).with_message("words");
        let kind =
            CloudError::Provider { provider: "aws".into(), code: code.into(), message: "words".into() };
        let mut failure = Failure::new(kind, detail);
        explain(&operation, &mut failure);
        failure
    }

    #[test]
    fn what_is_missing_has_its_type_and_identity() {
        for (operation, code, wanted) in [
            (Operation::inside("PutObject", "b", "k"), "NoSuchBucket", ("Bucket", "b")),
            (Operation::inside("GetObject", "b", "k"), "NoSuchKey", ("Object", "b/k")),
            (Operation::inside("HeadObject", "b", "k"), "NotFound", ("Object", "b/k")),
            (Operation::on("HeadBucket", "b"), "NotFound", ("Bucket", "b")),
            (Operation::inside("GetObject", "b", "k"), "NoSuchVersion", ("Version", "b/k")),
        ] {
            let failure = explained(operation, code);
            let CloudError::NotFound { resource_type, resource_id } = &failure.kind else {
                panic!("{failure:?}")
            };
            assert_eq!((resource_type.as_str(), resource_id.as_str()), wanted, "{code}");
        }
    }

    #[test]
    fn arguments_that_are_never_taken_are_validation() {
        for code in INVALID {
            let failure = explained(Operation::inside("PutObject", "b", "k"), code);
            assert!(matches!(failure.kind, CloudError::Validation(text) if text == "words"), "{code}");
        }
    }
}
