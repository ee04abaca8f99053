//! Copies within the service: one request, or parts for what is larger than one request may copy.

use bytes::Bytes;
use cloudkit_core::common::{CloudError, Failure};
use http_types::Method;
use http_types::header::{self, HeaderMap, HeaderName};

use super::request::{self, COPY_SOURCE, COPY_SOURCE_IF_MATCH, COPY_SOURCE_RANGE, METADATA_PREFIX};
use super::upload::LONG_WORK;
use super::{ZeroStore, explain, read, refuse_hidden_error};
use crate::service::{ANSWER_BYTES_MAX, Operation};

impl ZeroStore {
    /// Copies an object with its headers, metadata and tags.
    pub(super) async fn copy(
        &self,
        (source_bucket, source_key): (&str, &str),
        (bucket, key): (&str, &str),
    ) -> Result<(), Failure> {
        let operation = Operation::inside("CopyObject", bucket, key);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_object(source_bucket, source_key).map_err(refuse)?;
        request::check_object(bucket, key).map_err(refuse)?;
        let mut request = request::of_object(Method::PUT, bucket, key);
        let source = request::copy_source(source_bucket, source_key);
        request::set(&mut request.headers, COPY_SOURCE, &source).map_err(refuse)?;
        request.wait = LONG_WORK;
        let failure = match self.client.whole(&operation, request, ANSWER_BYTES_MAX).await {
            Ok(whole) => {
                let root =
                    read::document(&whole.body).map_err(|what| self.client.malformed(&operation, &what))?;
                return refuse_hidden_error(&self.client, &operation, &root, &whole);
            }
            Err(failure) => failure,
        };
        match failure.detail.code.as_deref() {
            // The key that is missing can only be the source's.
            Some("NoSuchKey") => Err(self.missing_source(failure, source_bucket, Some(source_key))),
            Some("NoSuchBucket") => match self.head_bucket("CopyObject", bucket).await {
                Ok(()) => Err(self.missing_source(failure, source_bucket, None)),
                Err(_) => Err(failure),
            },
            // The words for a source that is too large are not fixed, but its size tells.
            Some("InvalidRequest") if (source_bucket, source_key) != (bucket, key) => {
                let size = self.head(source_bucket, source_key).await.map(|meta| meta.size);
                match size {
                    Ok(size) if size > COPY_BYTES_MAX => {
                        self.copy_in_parts((source_bucket, source_key), (bucket, key), PART_BYTES).await
                    }
                    _ => Err(failure),
                }
            }
            _ => Err(failure),
        }
    }

    fn missing_source(&self, mut failure: Failure, bucket: &str, key: Option<&str>) -> Failure {
        failure.detail.hint = None;
        let operation = match key {
            Some(key) => Operation::inside("CopyObject", bucket, key),
            None => Operation::on("CopyObject", bucket),
        };
        explain::explain(&operation, &mut failure);
        failure.detail.resource =
            Some(key.map_or_else(|| bucket.to_string(), |key| [bucket, "/", key].concat()));
        failure
    }

    /// Copies an object of any size, part by part, all of one version.
    pub(super) async fn copy_in_parts(
        &self,
        (source_bucket, source_key): (&str, &str),
        (bucket, key): (&str, &str),
        part_bytes_min: u64,
    ) -> Result<(), Failure> {
        let operation = Operation::inside("HeadObject", source_bucket, source_key);
        let head = request::of_object(Method::HEAD, source_bucket, source_key);
        let head = self.client.whole(&operation, head, 0).await?;
        let size = read::content_length(&head.headers);
        let size = request::required(&self.client, &operation, size, "Content-Length")?;
        let etag = request::required(&self.client, &operation, read::etag(&head.headers), "ETag")?;
        let headers = self.kept_headers(source_bucket, source_key, &head.headers).await?;
        let part_bytes = part_bytes_min.max(size.div_ceil(super::parts::PART_COUNT_MAX));
        let mut of_source = HeaderMap::new();
        let source = request::copy_source(source_bucket, source_key);
        request::set(&mut of_source, COPY_SOURCE, &source)
            .and_then(|()| request::set(&mut of_source, COPY_SOURCE_IF_MATCH, &request::quoted(&etag)))
            .map_err(|kind| self.client.refusal(&operation, kind))?;

        let mut upload = self.begin(bucket, key, headers, None).await?;
        let made = upload
            .make_all(size.div_ceil(part_bytes), PARALLEL_COPIES, |target, number| {
                let first = (number - 1) * part_bytes;
                let end = size.min(first + part_bytes);
                let mut headers = of_source.clone();
                let range = Bytes::from(format!("bytes={first}-{}", end - 1));
                if let Ok(range) = header::HeaderValue::from_maybe_shared(range) {
                    headers.insert(COPY_SOURCE_RANGE, range);
                }
                async move { target.copy_part(number, end - first, headers).await }
            })
            .await;
        match made {
            Ok(parts) => self.complete(upload, parts, HeaderMap::new()).await.map(drop),
            Err(failure) => {
                upload.abort().await;
                Err(failure)
            }
        }
    }

    /// A copy in small parts, which no object of a test is large enough for.
    #[cfg(test)]
    pub(crate) async fn copy_parts_for_test(
        &self,
        source: (&str, &str),
        target: (&str, &str),
        part_bytes: u64,
    ) -> Result<(), Failure> {
        self.copy_in_parts(source, target, part_bytes).await
    }

    /// What a copy keeps of the object: a copy in parts has to say it itself.
    async fn kept_headers(&self, bucket: &str, key: &str, of: &HeaderMap) -> Result<HeaderMap, Failure> {
        let mut kept = HeaderMap::new();
        for (name, value) in of {
            if KEPT.contains(name) || name.as_str().starts_with(METADATA_PREFIX) {
                kept.insert(name.clone(), value.clone());
            }
        }
        if of.contains_key(TAGGING_COUNT) {
            let tags = self.tags(bucket, key).await?;
            let operation = Operation::inside("CopyObject", bucket, key);
            request::set(&mut kept, request::TAGGING, &request::tag_form(&tags))
                .map_err(|kind| self.client.refusal(&operation, kind))?;
        }
        Ok(kept)
    }
}

/// Headers that belong to an object.
const KEPT: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
    request::STORAGE_CLASS,
];
const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
/// What one request copies at most, as S3 has it.
const COPY_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// A part of a copy: small enough to be done within the time of an attempt on a slow disk.
const PART_BYTES: u64 = 512 * 1024 * 1024;
const PARALLEL_COPIES: usize = 4;
