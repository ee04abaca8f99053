//! Buckets and objects.

use super::capability::{Capabilities, Service};
use super::level::{Grouping, Level};
use super::object_stream::{
    ByteRange, GetStreamOptions, ObjectStream, ObjectVersion, PutCondition, PutResult, PutStreamOptions,
};
use crate::common::{
    BODY_COLLECTED_BYTES_MAX, BucketMetadata, ByteStream, CloudResult, Failure, ItemStream, ListResult,
    Metadata, ObjectMetadata, within,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

/// What goes with a body that is put.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// The media type.
    pub content_type: Option<String>,
    /// The `Cache-Control` that readers get.
    pub cache_control: Option<String>,
    /// The `Content-Encoding` that the body has.
    pub content_encoding: Option<String>,
    /// The user's metadata.
    pub metadata: Metadata,
    /// The storage class in the provider's word.
    pub storage_class: Option<String>,
}

impl PutOptions {
    /// Nothing goes with the body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets the `Cache-Control` that readers get.
    pub fn cache_control(mut self, cache_control: impl Into<String>) -> Self {
        self.cache_control = Some(cache_control.into());
        self
    }

    /// Adds a name and value of the user's metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// Which part of an object is read, and on what condition.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// The first byte, counted from 0; without it the range starts at 0.
    pub range_start: Option<u64>,
    /// The last byte, which belongs to the range; without it the range goes to the end.
    pub range_end: Option<u64>,
    /// Read only if the object has this entity tag.
    pub if_match: Option<String>,
    /// Read only if the object has another entity tag than this.
    pub if_none_match: Option<String>,
}

impl GetOptions {
    /// The whole object without a condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from the byte `start` to the byte `end`, both included.
    pub fn range(mut self, start: u64, end: u64) -> Self {
        self.range_start = Some(start);
        self.range_end = Some(end);
        self
    }

    /// The range that both ends mean together; `None` for the whole object.
    ///
    /// # Errors
    /// [`CloudError::Validation`](crate::common::CloudError::Validation) when the range ends before it starts.
    pub fn byte_range(&self) -> CloudResult<Option<ByteRange>> {
        match (self.range_start, self.range_end) {
            (None, None) => Ok(None),
            (Some(start), None) => Ok(Some(ByteRange::From(start))),
            (start, Some(end)) => ByteRange::between(start.unwrap_or(0), end).map(Some),
        }
    }
}

/// Which objects a listing gives.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only keys that begin with this.
    pub prefix: Option<String>,
    /// Keys that have this after the prefix are left out; what they share up to it would be a folder.
    pub delimiter: Option<String>,
    /// The most objects of one page.
    pub max_results: Option<u32>,
    /// The token of the page before.
    pub continuation_token: Option<String>,
}

impl ListOptions {
    /// All objects, the first page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the beginning of the keys.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Sets the delimiter.
    pub fn delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Sets the most objects of one page.
    pub fn max_results(mut self, max: u32) -> Self {
        self.max_results = Some(max);
        self
    }

    /// Sets the token of the page before.
    pub fn continuation_token(mut self, token: impl Into<String>) -> Self {
        self.continuation_token = Some(token.into());
        self
    }
}

/// Buckets and objects.
///
/// What is missing fails with [`CloudError::NotFound`](crate::common::CloudError::NotFound), whose `resource_type` is `Bucket` or `Object`; an object's
/// `resource_id` is `bucket/key`. A key is any text of 1 to 1,024 bytes.
#[async_trait]
pub trait ObjectStorage: Send + Sync {
    /// All buckets of the account.
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>>;

    /// Makes a bucket. Fails with [`CloudError::AlreadyExists`](crate::common::CloudError::AlreadyExists) if another account has one of this name.
    async fn create_bucket(&self, bucket: &str) -> CloudResult<()>;

    /// Deletes an empty bucket; one that is not empty is a [conflict](crate::common::CloudError::is_conflict).
    async fn delete_bucket(&self, bucket: &str) -> CloudResult<()>;

    /// Whether there is such a bucket.
    async fn bucket_exists(&self, bucket: &str) -> CloudResult<bool>;

    /// Writes an object, in place of one that may be there.
    async fn put_object(&self, bucket: &str, key: &str, data: &[u8]) -> CloudResult<()>;

    /// Writes an object together with its headers and metadata.
    async fn put_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        data: &[u8],
        options: PutOptions,
    ) -> CloudResult<()>;

    /// Reads an object whole.
    async fn get_object(&self, bucket: &str, key: &str) -> CloudResult<Bytes>;

    /// Reads a part of an object, or on a condition. A condition that does not hold is a
    /// [failed precondition](crate::common::CloudError::is_precondition_failed), or [not modified](crate::common::CloudError::is_not_modified).
    async fn get_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> CloudResult<Bytes>;

    /// Reads an object's facts.
    async fn head_object(&self, bucket: &str, key: &str) -> CloudResult<ObjectMetadata>;

    /// Deletes an object. One that is not there is deleted already.
    async fn delete_object(&self, bucket: &str, key: &str) -> CloudResult<()>;

    /// Deletes any number of objects.
    async fn delete_objects(&self, bucket: &str, keys: &[&str]) -> CloudResult<()>;

    /// Copies an object with its headers and metadata.
    async fn copy_object(
        &self,
        source_bucket: &str,
        source_key: &str,
        dest_bucket: &str,
        dest_key: &str,
    ) -> CloudResult<()>;

    /// Whether there is such an object; in a bucket that is missing there is none.
    async fn object_exists(&self, bucket: &str, key: &str) -> CloudResult<bool>;

    /// One page of a bucket's objects, ordered by the bytes of their keys.
    async fn list_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> CloudResult<ListResult<ObjectMetadata>>;

    /// An address from which anyone can read the object for this long.
    async fn presigned_get_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String>;

    /// An address to which anyone can write the object for this long.
    async fn presigned_put_url(&self, bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String>;

    /// What this provider's storage can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::ObjectStorage)
    }

    /// Writes an object from a stream, in bounded memory, with headers, metadata, tags and a condition.
    ///
    /// By default: collects up to [`BODY_COLLECTED_BYTES_MAX`] and puts them at once; no condition, no tags.
    ///
    /// # Errors
    /// A [failed precondition](crate::common::CloudError::is_precondition_failed) when the condition does not hold; [`CloudError::Timeout`](crate::common::CloudError::Timeout)
    /// at the deadline; what the body fails with.
    async fn put_stream(
        &self,
        bucket: &str,
        key: &str,
        body: ByteStream,
        options: PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        let capabilities = self.capabilities();
        match &options.condition {
            Some(PutCondition::Absent) => return Err(capabilities.unsupported("put_if_absent")),
            Some(PutCondition::Matches(_)) => return Err(capabilities.unsupported("put_if_match")),
            None => {}
        }
        if !options.tags.is_empty() {
            return Err(capabilities.unsupported("put_tags"));
        }
        let deadline = options.deadline;
        let call = async {
            let data = body.collect(BODY_COLLECTED_BYTES_MAX).await?;
            self.put_object_with_options(bucket, key, &data, options.into()).await?;
            Ok(PutResult::default())
        };
        within(deadline, &capabilities.provider, "put_stream", call).await
    }

    /// Reads an object, or a part of it, as a stream.
    ///
    /// By default: one HEAD, then one read of the whole range, of the version that the HEAD saw.
    ///
    /// # Errors
    /// A [failed precondition](crate::common::CloudError::is_precondition_failed), or [not modified](crate::common::CloudError::is_not_modified), when the
    /// condition does not hold; [`CloudError::Timeout`](crate::common::CloudError::Timeout) at the deadline. A body that breaks off ends with an error.
    async fn get_stream(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        let capabilities = self.capabilities();
        if options.version_id.is_some() {
            return Err(capabilities.unsupported("get_version"));
        }
        let call = async {
            let meta = self.head_object(bucket, key).await?;
            let mut get = GetOptions::new();
            let mut offset = 0;
            if let Some(range) = options.range {
                let bytes = range.of(meta.size)?;
                offset = bytes.start;
                get = get.range(bytes.start, bytes.end - 1);
            }
            // Without the reader's own condition, the one that body and facts belong together.
            get.if_match = options.if_match.or_else(|| meta.etag.clone());
            get.if_none_match = options.if_none_match;
            let data = self.get_object_with_options(bucket, key, get).await?;
            Ok(ObjectStream::new(meta, ByteStream::from(data)).with_offset(offset))
        };
        within(options.deadline, &capabilities.provider, "get_stream", call).await
    }

    /// All objects of a listing, page after page. `max_results` bounds a page, not the stream.
    fn list_stream<'a>(&'a self, bucket: &'a str, options: ListOptions) -> ItemStream<'a, ObjectMetadata> {
        ItemStream::pages(move |token: Option<String>| {
            let mut options = options.clone();
            if token.is_some() {
                options.continuation_token = token;
            }
            async move {
                let page = self.list_objects(bucket, options).await?;
                Ok((page.items, page.next_token.0))
            }
        })
    }

    /// One page of one level of a bucket's tree: the objects under the prefix that the delimiter does not group, and the folders
    /// that group the others, each once. The delimiter is `/` unless the options say otherwise.
    ///
    /// By default: one page of [`list_objects`](Self::list_objects) without the delimiter, so that all keys below are read.
    ///
    /// # Errors
    /// [`CloudError::Validation`](crate::common::CloudError::Validation) when the token is none of such a listing.
    async fn list_level(&self, bucket: &str, options: ListOptions) -> Result<Level, Failure> {
        let (grouping, options) = Grouping::new(options)?;
        let page = self.list_objects(bucket, options).await?;
        Ok(grouping.level(page))
    }

    /// One page of all versions of a bucket's objects, ordered by key, the newest of each first.
    async fn list_versions(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> Result<ListResult<ObjectVersion>, Failure> {
        let _ = (bucket, options);
        Err(self.capabilities().unsupported("list_versions"))
    }

    /// Deletes one version of an object for good.
    async fn delete_version(&self, bucket: &str, key: &str, version_id: &str) -> Result<(), Failure> {
        let _ = (bucket, key, version_id);
        Err(self.capabilities().unsupported("delete_version"))
    }

    /// Says whether the bucket keeps old versions from now on.
    async fn set_versioning(&self, bucket: &str, enabled: bool) -> Result<(), Failure> {
        let _ = (bucket, enabled);
        Err(self.capabilities().unsupported("set_versioning"))
    }

    /// The object's tags.
    async fn get_tags(&self, bucket: &str, key: &str) -> Result<Metadata, Failure> {
        let _ = (bucket, key);
        Err(self.capabilities().unsupported("get_tags"))
    }

    /// Gives the object these tags in place of those that it has.
    async fn set_tags(&self, bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure> {
        let _ = (bucket, key, tags);
        Err(self.capabilities().unsupported("set_tags"))
    }

    /// Takes all tags from the object.
    async fn delete_tags(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        let _ = (bucket, key);
        Err(self.capabilities().unsupported("delete_tags"))
    }
}
