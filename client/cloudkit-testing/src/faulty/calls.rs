//! The four services through [`Faulty`].
//! Invariant: each method is forwarded, the new ones too, so that the service inside keeps its own bodies.

use super::plan::{self, Fault};
use super::{Faulty, locked};
use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::api::{
    Capabilities, Condition, CreateTableOptions, GetOptions, GetStreamOptions, KeyValueStore, KvGetOptions,
    KvPutOptions, KvQueryOptions, Level, ListOptions, Message, MessageQueue, ObjectStorage, ObjectStream,
    ObjectVersion, PubSub, PutOptions, PutResult, PutStreamOptions, ReceiveOptions, ScanOptions, SendOptions,
    SubscriptionConfig, TransactItem,
};
use cloudkit_core::common::{
    BucketMetadata, ByteStream, CloudResult, Failure, ItemStream, ListResult, Metadata, ObjectMetadata,
    ResourceId,
};
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Forwards these methods through the faults, and `capabilities` past them.
macro_rules! forward {
    ($service:ident {
        $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)*
    } $($more:tt)*) => {
        #[async_trait]
        impl<S: $service> $service for Faulty<S> {
            $(
                async fn $method(&self, $($argument: $type),*) -> $output {
                    self.around(stringify!($method), self.inner.$method($($argument),*)).await
                }
            )*

            fn capabilities(&self) -> Capabilities {
                self.inner.capabilities()
            }

            $($more)*
        }
    };
}

forward! {
    ObjectStorage {
        list_buckets() -> CloudResult<Vec<BucketMetadata>>;
        create_bucket(bucket: &str) -> CloudResult<()>;
        delete_bucket(bucket: &str) -> CloudResult<()>;
        bucket_exists(bucket: &str) -> CloudResult<bool>;
        put_object(bucket: &str, key: &str, data: &[u8]) -> CloudResult<()>;
        put_object_with_options(bucket: &str, key: &str, data: &[u8], options: PutOptions) -> CloudResult<()>;
        head_object(bucket: &str, key: &str) -> CloudResult<ObjectMetadata>;
        delete_object(bucket: &str, key: &str) -> CloudResult<()>;
        delete_objects(bucket: &str, keys: &[&str]) -> CloudResult<()>;
        copy_object(from_bucket: &str, from_key: &str, to_bucket: &str, to_key: &str) -> CloudResult<()>;
        object_exists(bucket: &str, key: &str) -> CloudResult<bool>;
        list_objects(bucket: &str, options: ListOptions) -> CloudResult<ListResult<ObjectMetadata>>;
        presigned_get_url(bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String>;
        presigned_put_url(bucket: &str, key: &str, expires_in: Duration) -> CloudResult<String>;
        put_stream(bucket: &str, key: &str, body: ByteStream, options: PutStreamOptions)
            -> Result<PutResult, Failure>;
        list_level(bucket: &str, options: ListOptions) -> Result<Level, Failure>;
        list_versions(bucket: &str, options: ListOptions) -> Result<ListResult<ObjectVersion>, Failure>;
        delete_version(bucket: &str, key: &str, version_id: &str) -> Result<(), Failure>;
        set_versioning(bucket: &str, enabled: bool) -> Result<(), Failure>;
        get_tags(bucket: &str, key: &str) -> Result<Metadata, Failure>;
        set_tags(bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure>;
        delete_tags(bucket: &str, key: &str) -> Result<(), Failure>;
    }

    async fn get_object(&self, bucket: &str, key: &str) -> CloudResult<Bytes> {
        let body = self.around("get_object", self.inner.get_object(bucket, key)).await?;
        self.whole("get_object", body)
    }

    async fn get_object_with_options(
        &self,
        bucket: &str,
        key: &str,
        options: GetOptions,
    ) -> CloudResult<Bytes> {
        let call = self.inner.get_object_with_options(bucket, key, options);
        let body = self.around("get_object_with_options", call).await?;
        self.whole("get_object_with_options", body)
    }

    async fn get_stream(
        &self,
        bucket: &str,
        key: &str,
        options: GetStreamOptions,
    ) -> Result<ObjectStream, Failure> {
        let mut object = self.around("get_stream", self.inner.get_stream(bucket, key, options)).await?;
        if let Some(bytes) = self.cut("get_stream") {
            let length = object.body.length();
            object.body = ByteStream::from_stream(Broken { body: object.body, left: bytes, bytes }, length);
        }
        Ok(object)
    }
}

impl<S> Faulty<S> {
    /// A body that is read at once is whole or an error, as it is with every provider.
    fn whole(&self, operation: &'static str, body: Bytes) -> CloudResult<Bytes> {
        match self.cut(operation) {
            Some(bytes) if bytes < body.len() => Err(plan::error(&Fault::Truncated(bytes), operation)),
            Some(_) | None => Ok(body),
        }
    }
}

/// A body that breaks off.
struct Broken {
    body: ByteStream,
    left: usize,
    /// After how many bytes it does.
    bytes: usize,
}

impl Stream for Broken {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match Pin::new(&mut self.body).poll_next(context) {
            Poll::Ready(Some(Ok(_))) if self.left == 0 => {
                let error = plan::error(&Fault::Truncated(self.bytes), "get_stream");
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(mut piece))) if piece.len() > self.left => {
                piece.truncate(self.left);
                self.left = 0;
                // What was cut off is the rest of this piece; the next poll finds an end that came too early.
                self.body = ByteStream::from_stream(Failing(self.bytes), None);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Ok(piece))) => {
                self.left -= piece.len();
                Poll::Ready(Some(Ok(piece)))
            }
            other => other,
        }
    }
}

/// Nothing but the error of a body that broke off.
struct Failing(usize);

impl Stream for Failing {
    type Item = CloudResult<Bytes>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Err(plan::error(&Fault::Truncated(self.0), "get_stream"))))
    }
}

forward! {
    KeyValueStore {
        delete(table: &str, key: &str) -> CloudResult<()>;
        delete_with_condition(table: &str, key: &str, condition: Condition) -> CloudResult<bool>;
        exists(table: &str, key: &str) -> CloudResult<bool>;
        update(table: &str, key: &str, updates: HashMap<String, Value>) -> CloudResult<()>;
        create_table(table: &str, options: CreateTableOptions) -> Result<(), Failure>;
        delete_table(table: &str) -> Result<(), Failure>;
        transact(items: Vec<TransactItem>) -> Result<(), Failure>;
        increment(table: &str, key: &str, attribute: &str, by: i64) -> Result<i64, Failure>;
    }

    async fn get<T: DeserializeOwned + Send>(&self, table: &str, key: &str) -> CloudResult<Option<T>> {
        self.around("get", self.inner.get(table, key)).await
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        key: &str,
        options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        self.around("get_with_options", self.inner.get_with_options(table, key, options)).await
    }

    async fn put<T: Serialize + Send + Sync>(&self, table: &str, key: &str, item: &T) -> CloudResult<()> {
        self.around("put", self.inner.put(table, key, item)).await
    }

    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        key: &str,
        item: &T,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        self.around("put_with_options", self.inner.put_with_options(table, key, item, options)).await
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        self.around("query", self.inner.query(table, partition_key, options)).await
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        self.around("batch_get", self.inner.batch_get(table, keys)).await
    }

    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        items: &[(&str, &T)],
    ) -> CloudResult<()> {
        self.around("batch_write", self.inner.batch_write(table, items)).await
    }

    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        table: &'a str,
        options: ScanOptions,
    ) -> ItemStream<'a, T> {
        match locked(&self.course).next("scan_stream") {
            // A stream has begun before anything can wait or be lost.
            None | Some(Fault::Delay(_)) => self.inner.scan_stream(table, options),
            Some(fault) => ItemStream::failed(plan::error(&fault, "scan_stream").into()),
        }
    }
}

forward! {
    MessageQueue {
        create_queue(name: &str) -> CloudResult<String>;
        delete_queue(queue_url: &str) -> CloudResult<()>;
        get_queue_url(name: &str) -> CloudResult<String>;
        list_queues(prefix: Option<&str>) -> CloudResult<Vec<String>>;
        send(queue_url: &str, message: &str) -> CloudResult<ResourceId>;
        send_with_options(queue_url: &str, message: &str, options: SendOptions) -> CloudResult<ResourceId>;
        send_batch(queue_url: &str, messages: &[&str]) -> CloudResult<Vec<ResourceId>>;
        delete(queue_url: &str, message: &Message) -> CloudResult<()>;
        delete_batch(queue_url: &str, messages: &[&Message]) -> CloudResult<()>;
        change_visibility(queue_url: &str, message: &Message, timeout: Duration) -> CloudResult<()>;
        get_queue_depth(queue_url: &str) -> CloudResult<u64>;
        purge(queue_url: &str) -> CloudResult<()>;
    }

    async fn receive(&self, queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>> {
        let max = options.max_messages.unwrap_or(1) as usize;
        let repeated: Vec<Message> = {
            let mut again = locked(&self.again);
            let waiting = again.get_mut(queue_url);
            waiting.map(|waiting: &mut VecDeque<Message>| waiting.drain(..waiting.len().min(max)).collect())
        }
        .unwrap_or_default();
        if !repeated.is_empty() {
            // They come alone, as from a copy of the queue that has not heard of the first receive.
            return Ok(repeated);
        }
        let received = self.around("receive", self.inner.receive(queue_url, options)).await?;
        if locked(&self.course).taken("receive") == Some(Fault::Duplicate) {
            let mut again = locked(&self.again);
            again.entry(queue_url.to_owned()).or_default().extend(received.iter().cloned());
        }
        Ok(received)
    }
}

forward! {
    PubSub {
        create_topic(name: &str) -> CloudResult<String>;
        delete_topic(topic_arn: &str) -> CloudResult<()>;
        list_topics() -> CloudResult<Vec<String>>;
        get_topic_arn(name: &str) -> CloudResult<String>;
        subscribe(topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String>;
        subscribe_with_config(topic_arn: &str, config: SubscriptionConfig) -> CloudResult<String>;
        unsubscribe(subscription_arn: &str) -> CloudResult<()>;
        list_subscriptions(topic_arn: &str) -> CloudResult<Vec<String>>;
        publish(topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId>;
        publish_with_attributes(topic_arn: &str, message: &[u8], attributes: Metadata)
            -> CloudResult<ResourceId>;
        publish_batch(topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>>;
    }

    async fn publish_json<T: Serialize + Send + Sync>(
        &self,
        topic_arn: &str,
        message: &T,
    ) -> CloudResult<ResourceId> {
        self.around("publish_json", self.inner.publish_json(topic_arn, message)).await
    }
}
