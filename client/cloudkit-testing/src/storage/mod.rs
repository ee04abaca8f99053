//! Objects in memory: the trait over the state of `bucket.rs`.

mod bucket;
mod listing;
mod signed;

pub(crate) use bucket::Buckets;

use crate::cloud::{Shared, State};
use crate::limits::{OBJECT_BYTES_MAX, SIGNED_FOR_MAX};
use crate::refusal::{Of, PROVIDER, Refusal};
use async_trait::async_trait;
use bucket::{Conditions, Facts, check_key};
use bytes::Bytes;
use cloudkit_core::api::{
    Capabilities, GetOptions, GetStreamOptions, ListOptions, ObjectStorage, ObjectStream, ObjectVersion,
    PutOptions, PutResult, PutStreamOptions, Service,
};
use cloudkit_core::common::{
    BucketMetadata, ByteStream, CloudResult, Failure, ListResult, Metadata, ObjectMetadata, within,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Buckets and objects in memory.
#[derive(Clone)]
pub struct MemoryStore {
    pub(crate) shared: Arc<Shared>,
}

impl MemoryStore {
    fn put(
        &self,
        bucket: &str,
        key: &str,
        body: Bytes,
        options: &PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let mut state = self.shared.lock();
        let State { now, chance, buckets, .. } = &mut *state;
        Facts::new(options)
            .and_then(|facts| buckets.put(bucket, key, body, facts, options.condition.as_ref(), *now, chance))
            .of("PutObject", &name(bucket, key))
    }

    fn get(&self, bucket: &str, key: &str, options: &GetStreamOptions) -> Result<ObjectStream, Failure> {
        let state = self.shared.lock();
        state.buckets.get(bucket, key, options).of("GetObject", &name(bucket, key))
    }
}

fn name(bucket: &str, key: &str) -> String {
    format!("{bucket}/{key}")
}

#[async_trait]
impl ObjectStorage for MemoryStore {
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>> {
        Ok(self.shared.lock().buckets.list())
    }

    async fn create_bucket(&self, bucket: &str) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let now = state.now;
        Ok(state.buckets.create(bucket, now).of("CreateBucket", bucket)?)
    }

    async fn delete_bucket(&self, bucket: &str) -> CloudResult<()> {
        Ok(self.shared.lock().buckets.delete(bucket).of("DeleteBucket", bucket)?)
    }

    async fn bucket_exists(&self, bucket: &str) -> CloudResult<bool> {
        Ok(self.shared.lock().buckets.find(bucket).is_ok())
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
        self.put(bucket, key, Bytes::copy_from_slice(data), &options.into())?;
        Ok(())
    }

    async fn get_object(&self, bucket: &str, key: &str) -> CloudResult<Bytes> {
        self.get_object_with_options(bucket, key, GetOptions::new()).await
    }

    async fn get_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> CloudResult<Bytes> {
        let mut stream = GetStreamOptions::new();
        stream.range = options.byte_range()?;
        stream.if_match = options.if_match;
        stream.if_none_match = options.if_none_match;
        let object = self.get(bucket, key, &stream)?;
        object.body.collect(OBJECT_BYTES_MAX).await
    }

    async fn head_object(&self, bucket: &str, key: &str) -> CloudResult<ObjectMetadata> {
        let state = self.shared.lock();
        let found = state.buckets.head(bucket, key);
        Ok(found.of("HeadObject", &name(bucket, key))?)
    }

    async fn delete_object(&self, bucket: &str, key: &str) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, chance, buckets, .. } = &mut *state;
        Ok(buckets.remove(bucket, key, *now, chance).of("DeleteObject", &name(bucket, key))?)
    }

    async fn delete_objects(&self, bucket: &str, keys: &[&str]) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, chance, buckets, .. } = &mut *state;
        // All keys before the first deletion: a request that breaks a rule changes nothing.
        keys.iter().try_for_each(|key| check_key(key)).of("DeleteObjects", bucket)?;
        for key in keys {
            buckets.remove(bucket, key, *now, chance).of("DeleteObjects", bucket)?;
        }
        Ok(())
    }

    async fn copy_object(
        &self,
        source_bucket: &str,
        source_key: &str,
        dest_bucket: &str,
        dest_key: &str,
    ) -> CloudResult<()> {
        let mut state = self.shared.lock();
        let State { now, chance, buckets, .. } = &mut *state;
        let copied = buckets.copy((source_bucket, source_key), (dest_bucket, dest_key), *now, chance);
        Ok(copied.of("CopyObject", &name(dest_bucket, dest_key))?)
    }

    async fn object_exists(&self, bucket: &str, key: &str) -> CloudResult<bool> {
        match self.head_object(bucket, key).await {
            Ok(_) => Ok(true),
            // A bucket that is missing has no such object either: HEAD has no body that tells them apart.
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> CloudResult<ListResult<ObjectMetadata>> {
        let state = self.shared.lock();
        Ok(state.buckets.list_objects(bucket, &options).of("ListObjectsV2", bucket)?)
    }

    async fn presigned_get_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String> {
        self.sign("GET", bucket, key, expires_in)
    }

    async fn presigned_put_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String> {
        self.sign("PUT", bucket, key, expires_in)
    }

    fn capabilities(&self) -> Capabilities {
        let address = "an address of memory://, which MemoryCloud::open and open_put follow";
        let mut capabilities = Capabilities::defaults(PROVIDER, Service::ObjectStorage)
            .differs("presigned_get_url", address)
            .differs("presigned_put_url", address)
            .yes("put_stream", "collected in memory up to 256 MiB")
            .yes("get_stream", "");
        for method in [
            "put_if_absent",
            "put_if_match",
            "stream_headers",
            "put_tags",
            "get_version",
            "list_versions",
            "delete_version",
            "set_versioning",
            "get_tags",
            "set_tags",
            "delete_tags",
        ] {
            capabilities = capabilities.yes(method, "");
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
        let call = async {
            let body = body.collect(OBJECT_BYTES_MAX).await?;
            self.put(bucket, key, body, &options)
        };
        within(options.deadline, PROVIDER, "PutObject", call).await
    }

    async fn get_stream(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        self.get(bucket, key, &options)
    }

    async fn list_versions(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectVersion>, Failure> {
        let state = self.shared.lock();
        state.buckets.list_versions(bucket, &options).of("ListObjectVersions", bucket)
    }

    async fn delete_version(&self, bucket: &str, key: &str, version_id: &str) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        state.buckets.delete_version(bucket, key, version_id).of("DeleteObject", &name(bucket, key))
    }

    async fn set_versioning(&self, bucket: &str, enabled: bool) -> Result<(), Failure> {
        self.shared.lock().buckets.set_versioning(bucket, enabled).of("PutBucketVersioning", bucket)
    }

    async fn get_tags(&self, bucket: &str, key: &str) -> Result<Metadata, Failure> {
        let state = self.shared.lock();
        let tags = state.buckets.current(bucket, key).map(|version| version.facts.tags.clone());
        tags.of("GetObjectTagging", &name(bucket, key))
    }

    async fn set_tags(&self, bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        state.buckets.set_tags(bucket, key, tags).of("PutObjectTagging", &name(bucket, key))
    }

    async fn delete_tags(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        state.buckets.set_tags(bucket, key, Metadata::new()).of("DeleteObjectTagging", &name(bucket, key))
    }
}

impl MemoryStore {
    fn sign(
        &self,
        method: &'static str,
        bucket: &str,
        key: &str,
        expires_in: Duration,
    ) -> CloudResult<String> {
        let state = self.shared.lock();
        let signed = if expires_in > SIGNED_FOR_MAX {
            Err(Refusal::invalid("AuthorizationQueryParametersError", "an address holds for 7 days at most"))
        } else {
            check_key(key).map(|()| state.buckets.sign(method, bucket, key, state.now, expires_in))
        };
        Ok(signed.of(if method == "GET" { "GetObject" } else { "PutObject" }, &name(bucket, key))?)
    }
}

impl Conditions<'_> {
    fn of_get(options: &GetStreamOptions) -> Conditions<'_> {
        Conditions { if_match: options.if_match.as_deref(), if_none_match: options.if_none_match.as_deref() }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
