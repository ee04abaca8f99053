//! A store that keeps what its puts of streams were given and how their bodies ended, and whose objects can change right after
//! a look at them. It overrides no other new method.

use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::api::*;
use cloudkit_core::common::*;
use cloudkit_testing::MemoryStore;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

pub struct Recorder {
    inner: MemoryStore,
    plain: bool,
    bodies: Mutex<Vec<(Option<u64>, bool)>>,
    ended: Mutex<Vec<String>>,
    end: Notify,
    change: Mutex<Option<&'static str>>,
}

impl Recorder {
    pub fn new(inner: MemoryStore) -> Self {
        let (bodies, ended) = (Mutex::default(), Mutex::default());
        Self { inner, plain: false, bodies, ended, end: Notify::new(), change: Mutex::default() }
    }

    /// One that can do what the default bodies can.
    pub fn plain(inner: MemoryStore) -> Self {
        Self { plain: true, ..Self::new(inner) }
    }

    /// The length of each body, and whether it could be sent again.
    pub fn bodies(&self) -> Vec<(Option<u64>, bool)> {
        self.bodies.lock().unwrap().clone()
    }

    /// How the body of each put of a stream ended: its error, or `well`.
    pub fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().clone()
    }

    /// Waits until the body of a put has ended.
    pub async fn wait_for_end(&self) {
        self.end.notified().await;
    }

    /// The next object that is looked at becomes this right after.
    pub fn change_after_head(&self, data: &'static str) {
        *self.change.lock().unwrap() = Some(data);
    }

    fn note(&self, end: String) {
        self.ended.lock().unwrap().push(end);
        self.end.notify_one();
    }
}

#[async_trait]
impl ObjectStorage for Recorder {
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>> {
        self.inner.list_buckets().await
    }
    async fn create_bucket(&self, bucket: &str) -> CloudResult<()> {
        self.inner.create_bucket(bucket).await
    }
    async fn delete_bucket(&self, bucket: &str) -> CloudResult<()> {
        self.inner.delete_bucket(bucket).await
    }
    async fn bucket_exists(&self, bucket: &str) -> CloudResult<bool> {
        self.inner.bucket_exists(bucket).await
    }
    async fn put_object(&self, bucket: &str, key: &str, data: &[u8]) -> CloudResult<()> {
        self.inner.put_object(bucket, key, data).await
    }
    async fn put_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        data: &[u8],
        options: PutOptions,
    ) -> CloudResult<()> {
        self.inner.put_object_with_options(bucket, key, data, options).await
    }
    async fn get_object(&self, bucket: &str, key: &str) -> CloudResult<Bytes> {
        self.inner.get_object(bucket, key).await
    }
    async fn get_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> CloudResult<Bytes> {
        self.inner.get_object_with_options(bucket, key, options).await
    }
    async fn head_object(&self, bucket: &str, key: &str) -> CloudResult<ObjectMetadata> {
        let facts = self.inner.head_object(bucket, key).await;
        let change = self.change.lock().unwrap().take();
        if let Some(data) = change {
            self.inner.put_object(bucket, key, data.as_bytes()).await?;
        }
        facts
    }
    async fn delete_object(&self, bucket: &str, key: &str) -> CloudResult<()> {
        self.inner.delete_object(bucket, key).await
    }
    async fn delete_objects(&self, bucket: &str, keys: &[&str]) -> CloudResult<()> {
        self.inner.delete_objects(bucket, keys).await
    }
    async fn copy_object(&self, from: &str, from_key: &str, to: &str, to_key: &str) -> CloudResult<()> {
        self.inner.copy_object(from, from_key, to, to_key).await
    }
    async fn object_exists(&self, bucket: &str, key: &str) -> CloudResult<bool> {
        self.inner.object_exists(bucket, key).await
    }
    async fn list_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> CloudResult<ListResult<ObjectMetadata>> {
        self.inner.list_objects(bucket, options).await
    }
    async fn presigned_get_url(&self, bucket: &str, key: &str, time: Duration) -> CloudResult<String> {
        self.inner.presigned_get_url(bucket, key, time).await
    }
    async fn presigned_put_url(&self, bucket: &str, key: &str, time: Duration) -> CloudResult<String> {
        self.inner.presigned_put_url(bucket, key, time).await
    }
    async fn put_stream(
        &self,
        bucket: &str,
        key: &str,
        mut body: ByteStream,
        options: PutStreamOptions,
    ) -> Result<PutResult, Failure> {
        self.bodies.lock().unwrap().push((body.length(), body.is_replayable()));
        if self.plain && options.condition.is_some() {
            return Err(self.capabilities().unsupported("put_if_absent"));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => {
                    self.note(error.to_string());
                    return Err(error.into());
                }
            }
        }
        self.note(String::from("well"));
        self.inner.put_stream(bucket, key, bytes.into(), options).await
    }
}
