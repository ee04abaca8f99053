//! Writing an object: one request, or parts where it is long or nobody knows how long.
//! Invariant: a put with a condition whose answer was lost is looked at before it is called a failure, and is a success only if the
//! object there is the one that was put.

use std::fmt::Write;

use bytes::Bytes;
use cloudkit_core::api::{PutResult, PutStreamOptions};
use cloudkit_core::common::{ByteStream, CloudError, Failure, NetworkError, within};
use http_types::Method;
use md5::{Digest, Md5};
use tokio::time::Instant;

use super::parts::{Cutter, PartPlan, Source};
use super::request::{self, CRC64NVME, deadline_of, text_of};
use super::{ZeroStore, read};
use crate::body::{Body, ChecksumWitness, StreamBody};
use crate::checksum::crc64nvme_of;
use crate::failure::PROVIDER;
use crate::service::{ANSWER_BYTES_MAX, Operation};

impl ZeroStore {
    /// Writes an object.
    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        source: Source<'_>,
        options: PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let operation = Operation::inside("PutObject", bucket, key);
        request::check_object(bucket, key).map_err(|kind| self.client.refusal(&operation, kind))?;
        within(options.deadline, PROVIDER, operation.name, self.put_in_time(bucket, key, source, &options))
            .await
    }

    async fn put_in_time(
        &self,
        bucket: &str,
        key: &str,
        source: Source<'_>,
        options: &PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let plan = PartPlan::new(options.part_bytes, source.length());
        let first_bytes = plan.first_bytes();
        let deadline = deadline_of(options.deadline);
        let source = match source {
            Source::Slice(bytes) if bytes.len() as u64 <= first_bytes => {
                let bytes = Bytes::copy_from_slice(bytes);
                return self.put_bytes(bucket, key, bytes, options, deadline).await;
            }
            // One of which somebody has read a part is no longer as long as it says, so it is cut below.
            Source::Stream(stream)
                if stream.given() == 0 && stream.length().is_some_and(|length| length <= first_bytes) =>
            {
                if let Some(bytes) = stream.whole() {
                    let bytes = bytes.clone();
                    return self.put_bytes(bucket, key, bytes, options, deadline).await;
                }
                // A stream cannot be compared with what is there afterwards; bytes can.
                if options.condition.is_none() {
                    return self.put_streaming(bucket, key, stream, options, deadline).await;
                }
                Source::Stream(stream)
            }
            other => other,
        };
        let operation = Operation::inside("PutObject", bucket, key);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        let is_known_to_be_long = source.length().is_some_and(|length| length > first_bytes);
        let mut cutter = Cutter::new(source);
        if is_known_to_be_long {
            return self.upload(bucket, key, cutter, None, plan, options, deadline).await;
        }
        let first_bytes = usize::try_from(first_bytes).unwrap_or(usize::MAX);
        let first = cutter.part(first_bytes).await.map_err(refuse)?;
        if cutter.is_at_end().await.map_err(refuse)? {
            return self.put_bytes(bucket, key, first, options, deadline).await;
        }
        self.upload(bucket, key, cutter, Some(first), plan, options, deadline).await
    }

    /// Bytes that are all there: they can be sent again, and compared with what is there.
    async fn put_bytes(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        options: &PutStreamOptions,
        deadline: Option<Instant>,
    ) -> Result<PutResult, Failure> {
        let checksum = crc64nvme_of(&bytes);
        let body = bytes.clone().into();
        let sent = self.put_body(bucket, key, body, Some(&checksum), options, deadline).await;
        match sent {
            Ok(result) => self.confirmed(bucket, key, result, Some(checksum)),
            Err(failure) if options.condition.is_some() && may_have_succeeded(&failure) => {
                let etag = hex(&Md5::digest(&bytes));
                self.found_as_put(bucket, key, &etag, &checksum, deadline).await.ok_or(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A stream whose checksum follows it.
    async fn put_streaming(
        &self,
        bucket: &str,
        key: &str,
        stream: ByteStream,
        options: &PutStreamOptions,
        deadline: Option<Instant>,
    ) -> Result<PutResult, Failure> {
        let witness = ChecksumWitness::default();
        let body = Body::Stream(StreamBody::new(stream).with_witness(witness.clone()));
        let result = self.put_body(bucket, key, body, None, options, deadline).await?;
        self.confirmed(bucket, key, result, witness.value())
    }

    async fn put_body(
        &self,
        bucket: &str,
        key: &str,
        body: Body,
        checksum: Option<&str>,
        options: &PutStreamOptions,
        deadline: Option<Instant>,
    ) -> Result<PutResult, Failure> {
        let operation = Operation::inside("PutObject", bucket, key);
        let mut request = request::of_object(Method::PUT, bucket, key);
        let headers = &mut request.headers;
        request::describe(headers, options)
            .and_then(|()| request::condition(headers, options.condition.as_ref()))
            .and_then(|()| checksum.map_or(Ok(()), |value| request::set(headers, CRC64NVME, value)))
            .map_err(|kind| self.client.refusal(&operation, kind))?;
        request.body = body;
        request.deadline = deadline;
        let whole = self.client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        Ok(read::put_result(&whole.headers))
    }

    /// The service's checksum is ours, where it tells one.
    pub(super) fn confirmed(
        &self,
        bucket: &str,
        key: &str,
        result: PutResult,
        ours: Option<String>,
    ) -> Result<PutResult, Failure> {
        match (&result.checksum, ours) {
            (Some(theirs), Some(ours)) if theirs.value != ours => {
                let words = format!("the service has the checksum {}, sent was {ours}", theirs.value);
                let kind = CloudError::Network(NetworkError::ResponseParsing(words));
                let mut failure = self.client.refusal(&Operation::inside("PutObject", bucket, key), kind);
                failure.detail.attempts = 1;
                Err(failure)
            }
            _ => Ok(result),
        }
    }

    /// The object's facts, if it has just this tag and checksum: then the put whose answer was lost took effect. Whoever builds a
    /// lock on it needs a body that nobody else puts.
    pub(super) async fn found_as_put(
        &self,
        bucket: &str,
        key: &str,
        etag: &str,
        checksum: &str,
        deadline: Option<Instant>,
    ) -> Option<PutResult> {
        let mut request = request::of_object(Method::HEAD, bucket, key);
        request::want_checksum(&mut request.headers);
        request.deadline = deadline;
        let head = self.client.whole(&Operation::inside("HeadObject", bucket, key), request, 0).await.ok()?;
        let is_same_checksum = text_of(&head.headers, CRC64NVME).is_none_or(|found| found == checksum);
        let result = read::put_result(&head.headers);
        (is_same_checksum && result.etag.as_deref() == Some(etag)).then_some(result)
    }
}

/// Whether the service may have done what it then refused, or what it did not answer: an attempt before the last one had no answer,
/// or the last one has none.
pub(super) fn may_have_succeeded(failure: &Failure) -> bool {
    match failure.detail.status {
        None => failure.detail.attempts > 0,
        Some(status) => status >= 500 || (failure.detail.attempts > 1 && matches!(status, 404 | 409 | 412)),
    }
}

/// Lower-case hex, as entity tags are written.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}
