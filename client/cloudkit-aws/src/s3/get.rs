//! Reading objects, whole and as streams; copies within the service; addresses for others to read and write.

use std::time::Duration;

use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use bytes::Bytes;
use cloudkit_core::api::{ByteRange, GetOptions, GetStreamOptions, ObjectStream};
use cloudkit_core::common::{ByteStream, CloudError, Failure, NetworkError, ObjectMetadata, within};

use super::blank::taken;
use super::text::{check_object, copy_source, quoted};
use super::{S3Storage, read};
use crate::fault::PROVIDER;
use crate::operation::Operation;

impl S3Storage {
    /// An object whole, or a part of it.
    pub(super) async fn get(&self, bucket: &str, key: &str, options: GetOptions) -> Result<Bytes, Failure> {
        let operation = Operation::inside("GetObject", bucket, key);
        let range = options.byte_range().map_err(|kind| self.caller.refusal(&operation, kind))?;
        let mut wanted = GetStreamOptions::new();
        (wanted.range, wanted.if_match, wanted.if_none_match) =
            (range, options.if_match, options.if_none_match);
        let output = self.begin_get(&operation, &wanted).await?;
        let collected = output.body.collect().await.map_err(|error| {
            let words = aws_sdk_s3::error::DisplayErrorContext(&error).to_string();
            let kind = CloudError::Network(NetworkError::ResponseParsing(words));
            let mut failure = self.caller.refusal(&operation, kind);
            failure.detail.attempts = 1;
            failure
        })?;
        Ok(collected.into_bytes())
    }

    async fn begin_get(
        &self,
        operation: &Operation<'_>,
        options: &GetStreamOptions,
    ) -> Result<GetObjectOutput, Failure> {
        let (bucket, key) = self.names(operation);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(operation, kind))?;
        let call = self
            .s3()
            .get_object()
            .bucket(bucket)
            .key(taken(key))
            .set_range(options.range.as_ref().map(ByteRange::to_string))
            .set_if_match(options.if_match.as_deref().map(quoted))
            .set_if_none_match(options.if_none_match.as_deref().map(quoted))
            .set_version_id(options.version_id.clone())
            .send();
        self.caller.run(operation, call).await
    }

    /// An object, or a part of it, as a stream.
    pub(super) async fn open(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        let operation = Operation::inside("GetObject", bucket, key);
        let begin = self.begin_get(&operation, &options);
        let output = within(options.deadline, PROVIDER, operation.name, begin).await?;
        let malformed = |what: &str| self.caller.malformed(&operation, what);
        let length =
            read::count(output.content_length()).ok_or_else(|| malformed("Content-Length is missing"))?;
        let (offset, size) = match output.content_range() {
            Some(range) => read::content_range(range).ok_or_else(|| malformed("Content-Range is none"))?,
            None => (0, length),
        };
        let meta = read::get(&output, key, size).ok_or_else(|| malformed("Last-Modified is missing"))?;
        let text = |text: Option<&str>| text.map(String::from);
        let (version_id, cache_control) = (text(output.version_id()), text(output.cache_control()));
        let content_encoding = text(output.content_encoding());
        let body = ByteStream::from_reader(output.body.into_async_read(), Some(length));
        let mut stream = ObjectStream::new(meta, body).with_offset(offset);
        (stream.version_id, stream.cache_control, stream.content_encoding) =
            (version_id, cache_control, content_encoding);
        Ok(stream)
    }

    /// An object's facts.
    pub(super) async fn head(&self, bucket: &str, key: &str) -> Result<ObjectMetadata, Failure> {
        let operation = Operation::inside("HeadObject", bucket, key);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let call = self.s3().head_object().bucket(bucket).key(taken(key)).send();
        let output = self.caller.run(&operation, call).await?;
        let malformed = |what: &str| self.caller.malformed(&operation, what);
        let size =
            read::count(output.content_length()).ok_or_else(|| malformed("Content-Length is missing"))?;
        read::head(&output, key, size).ok_or_else(|| malformed("Last-Modified is missing"))
    }

    /// Copies an object with its headers, metadata and tags.
    pub(super) async fn copy(
        &self,
        (source_bucket, source_key): (&str, &str),
        (bucket, key): (&str, &str),
    ) -> Result<(), Failure> {
        let operation = Operation::inside("CopyObject", bucket, key);
        let refuse = |kind: CloudError| self.caller.refusal(&operation, kind);
        check_object(source_bucket, source_key).map_err(refuse)?;
        check_object(bucket, key).map_err(refuse)?;
        let source = copy_source(source_bucket, source_key);
        let call = self.s3().copy_object().bucket(bucket).key(taken(key)).copy_source(source).send();
        let Err(failure) = self.caller.run(&operation, call).await else { return Ok(()) };
        Err(match failure.detail.code.as_deref() {
            // The key that is missing can only be the source's.
            Some("NoSuchKey") => {
                missing_source(failure, Operation::inside("CopyObject", source_bucket, source_key))
            }
            Some("NoSuchBucket") if self.head_bucket("CopyObject", bucket).await.is_ok() => {
                missing_source(failure, Operation::on("CopyObject", source_bucket))
            }
            _ => failure,
        })
    }

    /// An address for others. `is_put`: to write to.
    pub(super) async fn presign(
        &self,
        is_put: bool,
        bucket: &str,
        key: &str,
        expires_in: Duration,
    ) -> Result<String, Failure> {
        let operation = Operation::inside(if is_put { "PutObject" } else { "GetObject" }, bucket, key);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(&operation, kind))?;
        if expires_in.as_secs() == 0 {
            return Err(self.caller.invalid(&operation, LIFETIME));
        }
        let lifetime = PresigningConfig::expires_in(expires_in);
        let lifetime = lifetime.map_err(|_| self.caller.invalid(&operation, LIFETIME))?;
        let signed = if is_put {
            // A checksum among what is signed would be one of a body that nobody has yet.
            let settings = aws_sdk_s3::config::Builder::new()
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
            let request =
                self.s3().put_object().bucket(bucket).key(taken(key)).customize().config_override(settings);
            self.caller.run(&operation, request.presigned(lifetime)).await?
        } else {
            let request = self.s3().get_object().bucket(bucket).key(taken(key));
            self.caller.run(&operation, request.presigned(lifetime)).await?
        };
        Ok(signed.uri().to_string())
    }
}

fn missing_source(mut failure: Failure, operation: Operation<'_>) -> Failure {
    failure.detail.hint = None;
    super::explain::explain(&operation, &mut failure);
    failure.detail.resource = operation.resource_text();
    failure
}

const LIFETIME: &str = "a presigned URL lives between one second and seven days";
