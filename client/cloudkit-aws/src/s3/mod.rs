//! Buckets and objects of AWS: `ObjectStorage` over the SDK's client of S3.
//!
//! | File | Holds |
//! |---|---|
//! | `text.rs`, `read.rs` | what is sent, what comes back |
//! | `blank.rs` | keys of white space |
//! | `explain.rs` | what a refusal means |
//! | `put.rs`, `parts.rs` | writing, at once and in parts |
//! | `get.rs` | reading, copies, addresses |
//! | `list.rs`, `delete.rs` | the rest |
//!
//! Invariant: no method needs more memory than its parts under way, but those that take or give all bytes at once.

mod blank;
mod delete;
mod explain;
mod get;
mod list;
mod parts;
mod put;
mod read;
mod text;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, Tag, Tagging,
    VersioningConfiguration,
};
use bytes::Bytes;
use cloudkit_core::api::{
    Capabilities, GetOptions, GetStreamOptions, Level, ListOptions, ObjectStorage, ObjectStream,
    ObjectVersion, PutOptions, PutResult, PutStreamOptions, Service,
};
use cloudkit_core::common::{
    BucketMetadata, ByteStream, CloudResult, Failure, ListResult, Metadata, ObjectMetadata,
};

use crate::caller::{Caller, Shared};
use crate::fault::PROVIDER;
use crate::operation::{Operation, Resource};
use blank::taken;
pub(crate) use blank::{BlankKeys, blank_key_of};
use text::{check_bucket, check_object};

/// Buckets and objects. Clones share everything.
#[derive(Clone, Debug)]
pub struct S3Storage {
    caller: Caller,
}

impl S3Storage {
    pub(crate) fn new(shared: Arc<Shared>) -> S3Storage {
        S3Storage { caller: Caller::new(shared, "s3", explain::explain) }
    }

    fn s3(&self) -> &aws_sdk_s3::Client {
        &self.caller.shared.s3
    }

    fn region_code(&self) -> &str {
        self.caller.shared.context.region().code()
    }

    /// Bucket and key that an operation is about.
    fn names<'a>(&self, operation: &Operation<'a>) -> (&'a str, &'a str) {
        match operation.resource {
            Resource::Inside(bucket, key) => (bucket, key),
            Resource::One(bucket) => (bucket, ""),
            Resource::Service => ("", ""),
        }
    }

    /// The bucket is there. Errors: `name`'s, of a bucket that is missing or not ours to see.
    async fn head_bucket(&self, name: &'static str, bucket: &str) -> Result<(), Failure> {
        let operation = Operation::on(name, bucket);
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        self.caller.run(&operation, self.s3().head_bucket().bucket(bucket).send()).await?;
        Ok(())
    }
}

#[async_trait]
impl ObjectStorage for S3Storage {
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>> {
        Ok(self.all_buckets().await?)
    }

    async fn create_bucket(&self, bucket: &str) -> CloudResult<()> {
        let operation = Operation::on("CreateBucket", bucket);
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        // The first region has no name in this place.
        let place = (self.region_code() != "us-east-1").then(|| {
            let place = BucketLocationConstraint::from(self.region_code());
            CreateBucketConfiguration::builder().location_constraint(place).build()
        });
        let call = self.s3().create_bucket().bucket(bucket).set_create_bucket_configuration(place).send();
        self.caller.run(&operation, call).await?;
        Ok(())
    }

    async fn delete_bucket(&self, bucket: &str) -> CloudResult<()> {
        let operation = Operation::on("DeleteBucket", bucket);
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        self.caller.run(&operation, self.s3().delete_bucket().bucket(bucket).send()).await?;
        Ok(())
    }

    async fn bucket_exists(&self, bucket: &str) -> CloudResult<bool> {
        match self.head_bucket("HeadBucket", bucket).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind.is_not_found() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn put_object(&self, bucket: &str, key: &str, data: &[u8]) -> CloudResult<()> {
        self.put_object_with_options(bucket, key, data, PutOptions::new()).await
    }

    async fn put_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        data: &[u8],
        options: PutOptions,
    ) -> CloudResult<()> {
        let body = ByteStream::from(Bytes::copy_from_slice(data));
        self.put(bucket, key, body, options.into()).await?;
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
        Ok(self.presign(false, bucket, key, expires_in).await?)
    }

    async fn presigned_put_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String> {
        Ok(self.presign(true, bucket, key, expires_in).await?)
    }

    fn capabilities(&self) -> Capabilities {
        let unknown = "not sent again, and not looked at, when the answer was lost: the failure says nothing of the outcome";
        let mut capabilities = Capabilities::defaults(PROVIDER, Service::ObjectStorage)
            .differs("copy_object", "objects up to 5 GiB, as one CopyObject copies")
            .yes("list_level", "the service groups, and reads no key below a folder")
            .yes("put_stream", "one request up to 16 MiB, above that in parts, four at once")
            .differs(
                "get_stream",
                "one request, whatever parallel_ranges says; a body that breaks ends with an error",
            )
            .yes("presigned_get_url", "made here, for up to seven days")
            .yes("presigned_put_url", "made here, for up to seven days")
            .yes("put_if_absent", unknown)
            .yes("put_if_match", unknown);
        for name in [
            "put_tags",
            "get_version",
            "list_versions",
            "delete_version",
            "set_versioning",
            "get_tags",
            "set_tags",
            "delete_tags",
            "multipart",
            "stream_headers",
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
        self.put(bucket, key, body, options).await
    }

    async fn get_stream(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        self.open(bucket, key, options).await
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
        check_bucket(bucket).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let status =
            if enabled { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
        let wanted = VersioningConfiguration::builder().status(status).build();
        let call = self.s3().put_bucket_versioning().bucket(bucket).versioning_configuration(wanted).send();
        self.caller.run(&operation, call).await.map(drop)
    }

    async fn get_tags(&self, bucket: &str, key: &str) -> Result<Metadata, Failure> {
        let operation = Operation::inside("GetObjectTagging", bucket, key);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let call = self.s3().get_object_tagging().bucket(bucket).key(taken(key)).send();
        let output = self.caller.run(&operation, call).await?;
        Ok(output.tag_set().iter().map(|tag| (tag.key().into(), tag.value().into())).collect())
    }

    async fn set_tags(&self, bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure> {
        let operation = Operation::inside("PutObjectTagging", bucket, key);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let malformed = |_| self.caller.invalid(&operation, "a tag has a key and a value");
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let tags = Tagging::builder().set_tag_set(Some(tags)).build().map_err(malformed)?;
        let call = self.s3().put_object_tagging().bucket(bucket).key(taken(key)).tagging(tags).send();
        self.caller.run(&operation, call).await.map(drop)
    }

    async fn delete_tags(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let operation = Operation::inside("DeleteObjectTagging", bucket, key);
        check_object(bucket, key).map_err(|kind| self.caller.refusal(&operation, kind))?;
        let call = self.s3().delete_object_tagging().bucket(bucket).key(taken(key)).send();
        self.caller.run(&operation, call).await.map(drop)
    }
}
