//! ZeroStore: buckets and objects over the dialect of S3.
//!
//! | File | Holds |
//! |---|---|
//! | `request.rs`, `read.rs` | what is sent, what comes back |
//! | `explain.rs` | what a refusal means |
//! | `put.rs`, `parts.rs`, `upload.rs` | writing, at once and in parts |
//! | `get.rs`, `ranges.rs` | reading, as one stream and as several ranges at once |
//! | `list.rs`, `delete.rs`, `copy.rs` | the rest |
//!
//! Invariant: no method needs more memory than its parts or ranges under way, but those that take or give all bytes at once.

mod copy;
mod delete;
mod explain;
mod get;
mod list;
mod parts;
mod put;
mod ranges;
mod read;
mod request;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::api::{
    Capabilities, GetOptions, GetStreamOptions, Level, ListOptions, ObjectStorage, ObjectStream,
    ObjectVersion, PutOptions, PutResult, PutStreamOptions, Service,
};
use cloudkit_core::common::{
    BucketMetadata, ByteStream, CloudError, CloudResult, Failure, ItemStream, ListResult, Metadata,
    ObjectMetadata,
};
use http_types::{HeaderMap, Method};

use crate::call::{CallError, Cause, Whole};
use crate::encode::Query;
use crate::failure::PROVIDER;
use crate::fault::Fault;
use crate::service::{ANSWER_BYTES_MAX, Operation, ServiceClient, Shared};
use crate::sign::presign::EXPIRES_MAX;
use crate::xml::Element;
use parts::Source;

/// Buckets and objects of an appliance. Clones share everything.
#[derive(Clone, Debug)]
pub struct ZeroStore {
    client: ServiceClient,
}

impl ZeroStore {
    pub(crate) fn new(shared: Arc<Shared>) -> ZeroStore {
        ZeroStore { client: ServiceClient::new(shared, "s3", explain::explain) }
    }

    /// The bucket is there. Errors: `operation`'s, of a bucket that is missing or not ours to see.
    async fn head_bucket(&self, name: &'static str, bucket: &str) -> Result<(), Failure> {
        let operation = Operation::on(name, bucket);
        request::check_bucket(bucket).map_err(|kind| self.client.refusal(&operation, kind))?;
        self.client.whole(&operation, request::of_bucket(Method::HEAD, bucket), 0).await?;
        Ok(())
    }

    async fn tags(&self, bucket: &str, key: &str) -> Result<Metadata, Failure> {
        let operation = Operation::inside("GetObjectTagging", bucket, key);
        request::check_object(bucket, key).map_err(|kind| self.client.refusal(&operation, kind))?;
        let mut request = request::of_object(Method::GET, bucket, key);
        request.query.push("tagging", "");
        let root = self.document(&operation, request).await?;
        read::tags(&root).map_err(|what| self.client.malformed(&operation, &what))
    }

    async fn presign(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        expires_in: Duration,
    ) -> Result<String, Failure> {
        let name = if method == Method::GET { "GetObject" } else { "PutObject" };
        let operation = Operation::inside(name, bucket, key);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_object(bucket, key).map_err(refuse)?;
        if expires_in.as_secs() == 0 || expires_in > EXPIRES_MAX {
            let words = "a presigned URL lives between one second and seven days";
            return Err(refuse(CloudError::Validation(words.into())));
        }
        let path = crate::encode::object_path(bucket, Some(key));
        let caller = self.client.caller();
        let url = caller.presign(method, &path, Query::new(), &HeaderMap::new(), expires_in).await;
        url.map_err(|error| self.client.wire_failure(&operation, 0, error))
    }
}

/// An answer of success whose document is an error: the service had begun to answer before it knew.
fn refuse_hidden_error(
    client: &ServiceClient,
    operation: &Operation<'_>,
    root: &Element,
    whole: &Whole,
) -> Result<(), Failure> {
    if root.name() != "Error" {
        return Ok(());
    }
    let fault = Fault::read(whole.status, &whole.headers, whole.body.clone());
    let cause = Cause::Fault(Box::new(fault));
    Err(client.failure(operation, CallError { attempts: whole.attempts, cause }))
}

/// What was asked for a second time, because the first answer was lost, finds its own work done.
fn forgive(outcome: Result<Whole, Failure>, is_done: impl FnOnce(&Failure) -> bool) -> Result<(), Failure> {
    match outcome {
        Ok(_) => Ok(()),
        Err(failure) if failure.detail.attempts > 1 && is_done(&failure) => Ok(()),
        Err(failure) => Err(failure),
    }
}

#[async_trait]
impl ObjectStorage for ZeroStore {
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>> {
        Ok(self.all_buckets().await?)
    }

    async fn create_bucket(&self, bucket: &str) -> CloudResult<()> {
        let operation = Operation::on("CreateBucket", bucket);
        request::check_bucket(bucket).map_err(|kind| self.client.refusal(&operation, kind))?;
        let request = request::of_bucket(Method::PUT, bucket);
        let outcome = self.client.whole(&operation, request, ANSWER_BYTES_MAX).await;
        let is_ours = |failure: &Failure| failure.detail.code.as_deref() == Some("BucketAlreadyOwnedByYou");
        Ok(forgive(outcome, is_ours)?)
    }

    async fn delete_bucket(&self, bucket: &str) -> CloudResult<()> {
        let operation = Operation::on("DeleteBucket", bucket);
        request::check_bucket(bucket).map_err(|kind| self.client.refusal(&operation, kind))?;
        let request = request::of_bucket(Method::DELETE, bucket);
        let outcome = self.client.whole(&operation, request, ANSWER_BYTES_MAX).await;
        Ok(forgive(outcome, |failure| failure.kind.is_not_found())?)
    }

    async fn bucket_exists(&self, bucket: &str) -> CloudResult<bool> {
        match self.head_bucket("HeadBucket", bucket).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind.is_not_found() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn put_object(&self, bucket: &str, key: &str, data: &[u8]) -> CloudResult<()> {
        self.put(bucket, key, Source::Slice(data), PutStreamOptions::new()).await?;
        Ok(())
    }

    async fn put_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        data: &[u8],
        options: PutOptions,
    ) -> CloudResult<()> {
        self.put(bucket, key, Source::Slice(data), options.into()).await?;
        Ok(())
    }

    async fn get_object(&self, bucket: &str, key: &str) -> CloudResult<Bytes> {
        Ok(self.get(bucket, key, GetOptions::new()).await?)
    }

    async fn get_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> CloudResult<Bytes> {
        Ok(self.get(bucket, key, options).await?)
    }

    async fn head_object(&self, bucket: &str, key: &str) -> CloudResult<ObjectMetadata> {
        Ok(self.head(bucket, key).await?)
    }

    async fn delete_object(&self, bucket: &str, key: &str) -> CloudResult<()> {
        Ok(self.delete_one(bucket, key, None).await?)
    }

    async fn delete_objects(&self, bucket: &str, keys: &[&str]) -> CloudResult<()> {
        Ok(self.delete_many(bucket, keys).await?)
    }

    async fn copy_object(
        &self,
        source_bucket: &str,
        source_key: &str,
        dest_bucket: &str,
        dest_key: &str,
    ) -> CloudResult<()> {
        Ok(self.copy((source_bucket, source_key), (dest_bucket, dest_key)).await?)
    }

    async fn object_exists(&self, bucket: &str, key: &str) -> CloudResult<bool> {
        match self.head(bucket, key).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind.is_not_found() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn list_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> CloudResult<ListResult<ObjectMetadata>> {
        Ok(self.page_of_objects(bucket, options).await?)
    }

    async fn presigned_get_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String> {
        Ok(self.presign(Method::GET, bucket, key, expires_in).await?)
    }

    async fn presigned_put_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String> {
        Ok(self.presign(Method::PUT, bucket, key, expires_in).await?)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::defaults(PROVIDER, Service::ObjectStorage)
            .yes(
                "put_stream",
                "one request up to 16 MiB, above that or of unknown length in parts, four at once",
            )
            .yes("get_stream", "goes on where it broke; above 64 MiB in several ranges at once if asked to")
            .yes("list_level", "grouped by the service")
            .yes("presigned_get_url", "made here, for up to seven days")
            .yes("presigned_put_url", "made here, for up to seven days")
            .yes("put_if_absent", "looked at by HEAD when the answer was lost")
            .yes("put_if_match", "looked at by HEAD when the answer was lost");
        for name in [
            "stream_headers",
            "put_tags",
            "get_version",
            "list_versions",
            "delete_version",
            "set_versioning",
            "get_tags",
            "set_tags",
            "delete_tags",
            "multipart",
            "parallel_ranges",
        ] {
            capabilities = capabilities.yes(name, "");
        }
        capabilities
    }

    async fn put_stream(
        &self,
        bucket: &str,
        key: &str,
        body: ByteStream,
        options: PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        self.put(bucket, key, Source::Stream(body), options).await
    }

    async fn get_stream(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        self.open(bucket, key, options).await
    }

    fn list_stream<'a>(&'a self, bucket: &'a str, options: ListOptions) -> ItemStream<'a, ObjectMetadata> {
        ItemStream::pages(move |token: Option<String>| {
            let mut options = options.clone();
            if token.is_some() {
                options.continuation_token = token;
            }
            async move {
                let page = self.page_of_objects(bucket, options).await?;
                Ok((page.items, page.next_token.0))
            }
        })
    }

    async fn list_level(&self, bucket: &str, options: ListOptions) -> Result<Level, Failure> {
        self.page_of_level(bucket, options).await
    }

    async fn list_versions(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectVersion>, Failure> {
        self.page_of_versions(bucket, options).await
    }

    async fn delete_version(&self, bucket: &str, key: &str, version_id: &str) -> Result<(), Failure> {
        self.delete_one(bucket, key, Some(version_id)).await
    }

    async fn set_versioning(&self, bucket: &str, enabled: bool) -> Result<(), Failure> {
        let operation = Operation::on("PutBucketVersioning", bucket);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_bucket(bucket).map_err(refuse)?;
        let mut request = request::of_bucket(Method::PUT, bucket);
        request.query.push("versioning", "");
        request::set_document(&mut request, request::versioning_document(enabled)).map_err(refuse)?;
        self.client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        Ok(())
    }

    async fn get_tags(&self, bucket: &str, key: &str) -> Result<Metadata, Failure> {
        self.tags(bucket, key).await
    }

    async fn set_tags(&self, bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure> {
        let operation = Operation::inside("PutObjectTagging", bucket, key);
        let refuse = |kind: CloudError| self.client.refusal(&operation, kind);
        request::check_object(bucket, key).map_err(refuse)?;
        let mut request = request::of_object(Method::PUT, bucket, key);
        request.query.push("tagging", "");
        request::set_document(&mut request, request::tag_document(&tags)).map_err(refuse)?;
        self.client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        Ok(())
    }

    async fn delete_tags(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let operation = Operation::inside("DeleteObjectTagging", bucket, key);
        request::check_object(bucket, key).map_err(|kind| self.client.refusal(&operation, kind))?;
        let mut request = request::of_object(Method::DELETE, bucket, key);
        request.query.push("tagging", "");
        self.client.whole(&operation, request, ANSWER_BYTES_MAX).await?;
        Ok(())
    }
}
