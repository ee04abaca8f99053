//! The error table: each S3 code that this service sends, with its status and text.
//! Invariant: input of a client never becomes a 500; a fault of the machine never becomes a 4xx.
//! Leaves to `aws`: the shape of the document, and the errors of authentication.

use std::borrow::Cow;

use aws::ErrorReply;
use aws::xml::XmlError;
use http_types::{HeaderName, HeaderValue};
use plan::BodyFailure;
use store::Fault;

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub struct Error {
    /// What the document says.
    pub reply: ErrorReply,
    /// Headers that go with it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

macro_rules! codes {
    ($($code:ident $name:literal $status:literal $message:literal;)*) => {
        /// An S3 error code.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code {
            $(#[doc = $message] $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            /// Amazon's name, the HTTP status and the text.
            #[must_use]
            pub fn row(self) -> (&'static str, u16, &'static str) {
                match self {
                    $(Code::$code => ($name, $status, $message),)*
                }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported "AccessControlListNotSupported" 400 "The bucket does not allow ACLs";
    AccessDenied "AccessDenied" 403 "Access Denied";
    AccessForbidden "AccessForbidden" 403 "CORSResponse: CORS is not enabled for this bucket.";
    BadDigest "BadDigest" 400 "The Content-MD5 you specified did not match what we received.";
    BadRequest "BadRequest" 400 "Bad Request";
    BucketAlreadyExists "BucketAlreadyExists" 409
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou "BucketAlreadyOwnedByYou" 409
        "Your previous request to create the named bucket succeeded and you already own it.";
    BucketNotEmpty "BucketNotEmpty" 409 "The bucket you tried to delete is not empty";
    EntityTooLarge "EntityTooLarge" 400 "Your proposed upload exceeds the maximum allowed size";
    EntityTooSmall "EntityTooSmall" 400 "Your proposed upload is smaller than the minimum allowed size";
    IllegalLocationConstraintException "IllegalLocationConstraintException" 400
        "The specified location-constraint is incompatible for the region specific endpoint this request was sent to.";
    IncompleteBody "IncompleteBody" 400
        "You did not provide the number of bytes specified by the Content-Length HTTP header";
    IncorrectNumberOfFilesInPostRequest "IncorrectNumberOfFilesInPostRequest" 400
        "POST requires exactly one file upload per request.";
    InsufficientStorage "InsufficientStorage" 507 "storage full: the request was not carried out";
    InternalError "InternalError" 500 "We encountered an internal error. Please try again.";
    InvalidArgument "InvalidArgument" 400 "Invalid Argument";
    InvalidBucketAclWithObjectOwnership "InvalidBucketAclWithObjectOwnership" 400
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    InvalidBucketName "InvalidBucketName" 400 "The specified bucket is not valid.";
    InvalidBucketState "InvalidBucketState" 409
        "The request is not valid with the current state of the bucket.";
    InvalidChunkSizeError "InvalidChunkSizeError" 400 "The chunk framing of the body is malformed";
    InvalidDigest "InvalidDigest" 400 "The Content-MD5 you specified was invalid.";
    InvalidLocationConstraint "InvalidLocationConstraint" 400
        "The specified location constraint is not valid";
    InvalidPart "InvalidPart" 400
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartNumber "InvalidPartNumber" 416 "The requested partnumber is not satisfiable";
    InvalidPartOrder "InvalidPartOrder" 400
        "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidPolicyDocument "InvalidPolicyDocument" 400
        "The content of the form does not meet the conditions specified in the policy document.";
    InvalidRange "InvalidRange" 416 "The requested range is not satisfiable";
    InvalidRangeSource "InvalidRange" 400 "The specified copy range is invalid for the source object";
    InvalidRequest "InvalidRequest" 400 "Invalid Request";
    InvalidStorageClass "InvalidStorageClass" 400 "The storage class you specified is not valid";
    InvalidTag "InvalidTag" 400 "The tag provided was not a valid tag.";
    InvalidUri "InvalidURI" 400 "Couldn't parse the specified URI.";
    KeyTooLongError "KeyTooLongError" 400 "Your key is too long";
    MalformedAclError "MalformedACLError" 400
        "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedPostRequest "MalformedPOSTRequest" 400
        "The body of your POST request is not well-formed multipart/form-data.";
    MalformedTrailerError "MalformedTrailerError" 400
        "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXml "MalformedXML" 400
        "The XML you provided was not well-formed or did not validate against our published schema";
    MaxMessageLengthExceeded "MaxMessageLengthExceeded" 400 "Your request was too big.";
    MaxPostPreDataLengthExceededError "MaxPostPreDataLengthExceededError" 400
        "Your POST request fields preceding the upload file were too large.";
    MetadataTooLarge "MetadataTooLarge" 400
        "Your metadata headers exceed the maximum allowed metadata size";
    MethodNotAllowed "MethodNotAllowed" 405 "The specified method is not allowed against this resource.";
    MissingContentLength "MissingContentLength" 411 "You must provide the Content-Length HTTP header.";
    MissingRequestBodyError "MissingRequestBodyError" 400 "Request Body is empty";
    NoSuchBucket "NoSuchBucket" 404 "The specified bucket does not exist";
    NoSuchBucketPolicy "NoSuchBucketPolicy" 404 "The bucket policy does not exist";
    NoSuchConfiguration "NoSuchConfiguration" 404 "The specified configuration does not exist.";
    NoSuchCorsConfiguration "NoSuchCORSConfiguration" 404 "The CORS configuration does not exist";
    NoSuchKey "NoSuchKey" 404 "The specified key does not exist.";
    NoSuchLifecycleConfiguration "NoSuchLifecycleConfiguration" 404
        "The lifecycle configuration does not exist";
    NoSuchObjectLockConfiguration "NoSuchObjectLockConfiguration" 404
        "The specified object does not have a ObjectLock configuration";
    NoSuchPublicAccessBlockConfiguration "NoSuchPublicAccessBlockConfiguration" 404
        "The public access block configuration was not found";
    NoSuchTagSet "NoSuchTagSet" 404 "The TagSet does not exist";
    NoSuchUpload "NoSuchUpload" 404
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    NoSuchVersion "NoSuchVersion" 404 "The specified version does not exist.";
    NoSuchWebsiteConfiguration "NoSuchWebsiteConfiguration" 404
        "The specified bucket does not have a website configuration";
    NotImplemented "NotImplemented" 501
        "A header or query you provided implies functionality that is not implemented";
    ObjectLockConfigurationNotFoundError "ObjectLockConfigurationNotFoundError" 404
        "Object Lock configuration does not exist for this bucket";
    OperationAborted "OperationAborted" 409
        "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    OwnershipControlsNotFoundError "OwnershipControlsNotFoundError" 404
        "The bucket ownership controls were not found";
    PreconditionFailed "PreconditionFailed" 412
        "At least one of the pre-conditions you specified did not hold";
    ReplicationConfigurationNotFoundError "ReplicationConfigurationNotFoundError" 404
        "The replication configuration was not found";
    RequestTimeout "RequestTimeout" 400
        "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.";
    ServerSideEncryptionConfigurationNotFoundError "ServerSideEncryptionConfigurationNotFoundError" 404
        "The server side encryption configuration was not found";
    ServiceUnavailable "ServiceUnavailable" 503 "Please reduce your request rate.";
    SignatureDoesNotMatch "SignatureDoesNotMatch" 403
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown "SlowDown" 503 "Please reduce your request rate.";
    TooManyBuckets "TooManyBuckets" 400 "You have attempted to create more buckets than allowed";
    UserKeyMustBeSpecified "UserKeyMustBeSpecified" 400
        "The bucket POST must contain the specified field name. If it is specified, please check the order of the fields.";
    XAmzContentSha256Mismatch "XAmzContentSHA256Mismatch" 400
        "The provided 'x-amz-content-sha256' header does not match what was computed.";
}

impl Error {
    /// Another text than the table's.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Error {
        self.reply.message = message.into();
        self
    }

    /// A further element of the document.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Error {
        self.reply.extra.push((name, value.into()));
        self
    }

    /// A header of the reply.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Error {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Whether it is this code of the table.
    #[must_use]
    pub fn is(&self, code: Code) -> bool {
        self.reply.code == code.row().0
    }

    /// A parameter or header with a value that it cannot have.
    #[must_use]
    pub fn argument(name: &str, value: &str, message: impl Into<Cow<'static, str>>) -> Error {
        ErrorReply::invalid_argument(message, name, value).into()
    }

    /// InvalidRequest with a text.
    #[must_use]
    pub fn request(message: impl Into<Cow<'static, str>>) -> Error {
        Error::from(Code::InvalidRequest).message(message)
    }

    /// PreconditionFailed that names the header.
    #[must_use]
    pub fn precondition(header: &str) -> Error {
        Error::from(Code::PreconditionFailed).with("Condition", header)
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Error {
        let (name, status, message) = code.row();
        Error { reply: ErrorReply::new(name, status, message), headers: Vec::new() }
    }
}

impl From<ErrorReply> for Error {
    fn from(reply: ErrorReply) -> Error {
        Error { reply, headers: Vec::new() }
    }
}

impl From<XmlError> for Error {
    fn from(error: XmlError) -> Error {
        ErrorReply::from(error).into()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Full => Code::InsufficientStorage.into(),
            Fault::Closed => Error::from(Code::ServiceUnavailable).message("The service is stopping."),
            Fault::InDoubt | Fault::Busy => Error::from(Code::SlowDown).header("retry-after", "1"),
            Fault::TooLarge { .. } => Error::from(Code::EntityTooLarge)
                .message("The object has more extents than one batch of the log can name."),
            Fault::ReadOnly(why) => Error::from(Code::ServiceUnavailable).message(format!("{why}")),
            Fault::Corrupt(_) | Fault::Io { .. } | Fault::Unknown(_) => Code::InternalError.into(),
        }
    }
}

impl From<BodyFailure> for Error {
    fn from(failure: BodyFailure) -> Error {
        match failure {
            // Nobody reads this one.
            BodyFailure::Disconnected | BodyFailure::Incomplete => Code::IncompleteBody.into(),
            BodyFailure::Stalled => Error::from(Code::RequestTimeout).header("connection", "close"),
            BodyFailure::TooLarge => Code::EntityTooLarge.into(),
            BodyFailure::Sha256Mismatch => Code::XAmzContentSha256Mismatch.into(),
            BodyFailure::ChunkSignature => Code::SignatureDoesNotMatch.into(),
            BodyFailure::InvalidChunkSize => Code::InvalidChunkSizeError.into(),
            BodyFailure::MalformedTrailer => Code::MalformedTrailerError.into(),
            BodyFailure::BadForm(why) => Error::from(Code::MalformedPostRequest).message(why),
            BodyFailure::Fault(fault) => fault.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_an_error_status_and_a_text() {
        for code in Code::ALL {
            let (name, status, message) = code.row();
            assert!((400..600).contains(&status), "{name}");
            assert!(!message.is_empty() && !name.is_empty());
        }
    }

    #[test]
    fn faults_of_the_machine_are_never_the_clients() {
        let faults = [
            Fault::Full,
            Fault::Closed,
            Fault::InDoubt,
            Fault::ReadOnly("why".into()),
            Fault::Corrupt("what".into()),
            Fault::Unknown("what".into()),
        ];
        for fault in faults {
            let error = Error::from(fault.clone());
            assert!(error.reply.status >= 500, "{fault}");
            assert!(!error.reply.message.contains("what"), "internals stay inside");
        }
        assert!(Error::from(Fault::Full).reply.message.contains("storage full"));
    }
}
