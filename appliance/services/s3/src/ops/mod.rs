//! One file for each operation or close family: input, output, placement, execution.
//! Invariant: a write decides on the shard that owns its key, against the state that it finds there, and only while the
//! bucket that the request meant still lives.

pub mod abort_upload;
pub mod access;
pub mod acl;
pub mod body;
pub mod bucket;
pub mod complete_upload;
pub mod copy_object;
pub mod create_bucket;
pub mod create_upload;
pub mod delete_bucket;
pub mod delete_object;
pub mod delete_objects;
pub mod get_attributes;
pub mod get_object;
pub mod list_buckets;
pub mod list_objects;
pub mod list_parts;
pub mod list_uploads;
pub mod list_versions;
pub mod post_object;
pub mod put_object;
pub mod refused;
pub mod rollup;
pub mod tagging;
pub mod upload_part;
pub mod upload_part_copy;

use store::{Fault, TableId, Tx};

use crate::model::{Generation, Verdict};
use crate::store::BUCKETS;
use crate::store::bucket::BucketRecord;
use crate::wire::error::{Code, Error};

/// The bucket that a write is for: its key and the life that the request saw.
#[derive(Clone, Debug)]
pub struct Target {
    /// The key in BUCKETS.
    pub bucket_key: Vec<u8>,
    /// The life.
    pub generation: Generation,
}

impl Target {
    /// The bucket as the owner sees it; `None` when that life is over.
    pub fn read(&self, tx: &mut Tx<'_>) -> Result<Option<BucketRecord>, Fault> {
        let Some(record) = tx.get(BUCKETS, &self.bucket_key)? else { return Ok(None) };
        let record = BucketRecord::decode(&record.value)?;
        Ok(Some(record).filter(|record| record.generation == self.generation))
    }

    /// Names the key that `read` touches.
    pub fn declare(&self, declare: &mut dyn FnMut(TableId, &[u8])) {
        declare(BUCKETS, &self.bucket_key);
    }
}

impl From<&crate::call::Bucket> for Target {
    fn from(bucket: &crate::call::Bucket) -> Target {
        Target { bucket_key: bucket.key.clone(), generation: bucket.generation() }
    }
}

/// Why a write was refused on the owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The bucket was deleted meanwhile.
    NoSuchBucket,
    /// The key is not there.
    NoSuchKey,
    /// The version is not there.
    NoSuchVersion,
    /// The upload is not there.
    NoSuchUpload,
    /// The version is a delete marker.
    IsMarker,
    /// A condition does not hold.
    Condition(Verdict),
    /// A listed part is not there or differs.
    InvalidPart(u16),
    /// A part before the last one is too small.
    EntityTooSmall(u16),
    /// The parts are more than an object may have.
    EntityTooLarge,
    /// A value that the request named differs from the computed one.
    BadDigest,
    /// The object has another size than the request named.
    SizeDiffers,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoSuchBucket => Code::NoSuchBucket.into(),
            Refusal::NoSuchKey => Code::NoSuchKey.into(),
            Refusal::NoSuchVersion => Code::NoSuchVersion.into(),
            Refusal::NoSuchUpload => Code::NoSuchUpload.into(),
            Refusal::IsMarker => Code::MethodNotAllowed.into(),
            Refusal::Condition(verdict) => match refuse_verdict(verdict) {
                Err(error) => error,
                // A verdict that passes is no refusal; say so rather than pretend success.
                Ok(()) => Code::InternalError.into(),
            },
            Refusal::InvalidPart(number) => {
                Error::from(Code::InvalidPart).with("PartNumber", number.to_string())
            }
            Refusal::EntityTooSmall(number) => Error::from(Code::EntityTooSmall)
                .with("PartNumber", number.to_string())
                .with("MinSizeAllowed", crate::model::PART_BYTES_MIN.to_string()),
            Refusal::EntityTooLarge => Code::EntityTooLarge.into(),
            Refusal::BadDigest => Code::BadDigest.into(),
            Refusal::SizeDiffers => Error::request(
                "The provided 'x-amz-mp-object-size' header value does not match what was computed.",
            ),
        }
    }
}

/// The error of a verdict that does not pass.
pub fn refuse_verdict(verdict: Verdict) -> Result<(), Error> {
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::Absent => Err(Code::NoSuchKey.into()),
        Verdict::Failed(header) => Err(Error::precondition(header)),
        Verdict::NotModified => Err(Error::precondition("If-None-Match")),
    }
}
