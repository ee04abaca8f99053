//! Answers of the SDK as the types of the core.

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use chrono::{DateTime, Utc};
use cloudkit_core::api::{ChecksumAlgorithm, PutResult};
use cloudkit_core::common::{Metadata, ObjectMetadata};
use std::collections::HashMap;

use super::text::{decode_words, unquoted};

/// A time of the SDK, to the second.
pub(super) fn time(time: Option<&aws_sdk_s3::primitives::DateTime>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time?.secs(), 0)
}

/// The user's metadata as it was put.
fn metadata(headers: Option<&HashMap<String, String>>) -> Metadata {
    let decoded = |value: &String| decode_words(value).unwrap_or_else(|| value.clone());
    headers.into_iter().flatten().map(|(name, value)| (name.clone(), decoded(value))).collect()
}

/// The facts of an object: an answer to a HEAD or a GET says the same by the same names. `size` is that of the whole object.
macro_rules! facts {
    ($name:ident, $output:ty) => {
        /// None: it does not tell when the object was written.
        pub(super) fn $name(output: &$output, key: &str, size: u64) -> Option<ObjectMetadata> {
            Some(ObjectMetadata {
                key: key.to_string(),
                size,
                content_type: output.content_type().map(String::from),
                etag: output.e_tag().map(unquoted),
                last_modified: time(output.last_modified())?,
                storage_class: output.storage_class().map(|class| class.as_str().to_string()),
                metadata: metadata(output.metadata()),
            })
        }
    };
}
facts!(head, HeadObjectOutput);
facts!(get, GetObjectOutput);

/// What a put gives back: of one request and of parts.
macro_rules! result {
    ($name:ident, $output:ty) => {
        pub(super) fn $name(output: &$output) -> PutResult {
            let mut result = PutResult::new();
            result.etag = output.e_tag().map(unquoted);
            result.version_id = output.version_id().map(String::from);
            let checksums = [
                (ChecksumAlgorithm::Crc64Nvme, output.checksum_crc64_nvme()),
                (ChecksumAlgorithm::Crc32, output.checksum_crc32()),
                (ChecksumAlgorithm::Crc32c, output.checksum_crc32_c()),
                (ChecksumAlgorithm::Sha256, output.checksum_sha256()),
                (ChecksumAlgorithm::Sha1, output.checksum_sha1()),
            ];
            match checksums.into_iter().find_map(|(algorithm, value)| Some((algorithm, value?))) {
                Some((algorithm, value)) => result.with_checksum(algorithm, value),
                None => result,
            }
        }
    };
}
result!(put, PutObjectOutput);
result!(completed, CompleteMultipartUploadOutput);

/// First byte and size of the whole, of `bytes 5-9/20`. None for another form, and where the size is not told.
pub(super) fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()?))
}

/// A number of the protocol that is none below 0.
pub(super) fn count(number: Option<i64>) -> Option<u64> {
    u64::try_from(number?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_where_it_begins_and_how_long_the_whole_is() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5, 20)));
        for other in ["bytes 5-9/*", "5-9/20", "bytes */20", ""] {
            assert_eq!(content_range(other), None, "{other}");
        }
    }
}
