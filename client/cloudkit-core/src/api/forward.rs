//! The services of now through an `Arc`: a shared handle is a handle. (`Box` and `&` are left to programs, which may have
//! implemented the traits for them already.)
//!
//! Invariant: each method is forwarded, those with default bodies too; one that is left out here would silently lose the
//! provider's own body.

use super::*;
use crate::common::*;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Forwards these methods, `capabilities`, and what is written out after them.
macro_rules! forward {
    ($service:ident {
        $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)*
    } $($more:tt)*) => {
        #[async_trait]
        impl<S: $service + ?Sized> $service for Arc<S> {
            $(
                async fn $method(&self, $($argument: $type),*) -> $output {
                    (**self).$method($($argument),*).await
                }
            )*

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            $($more)*
        }
    };
}
pub(super) use forward;

forward! {
    ObjectStorage {
        list_buckets() -> CloudResult<Vec<BucketMetadata>>;
        create_bucket(bucket: &str) -> CloudResult<()>;
        delete_bucket(bucket: &str) -> CloudResult<()>;
        bucket_exists(bucket: &str) -> CloudResult<bool>;
        put_object(bucket: &str, key: &str, data: &[u8]) -> CloudResult<()>;
        put_object_with_options(bucket: &str, key: &str, data: &[u8], options: PutOptions) -> CloudResult<()>;
        get_object(bucket: &str, key: &str) -> CloudResult<Bytes>;
        get_object_with_options(bucket: &str, key: &str, options: GetOptions) -> CloudResult<Bytes>;
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
        get_stream(bucket: &str, key: &str, options: GetStreamOptions) -> Result<ObjectStream, Failure>;
        list_level(bucket: &str, options: ListOptions) -> Result<Level, Failure>;
        list_versions(bucket: &str, options: ListOptions) -> Result<ListResult<ObjectVersion>, Failure>;
        delete_version(bucket: &str, key: &str, version_id: &str) -> Result<(), Failure>;
        set_versioning(bucket: &str, enabled: bool) -> Result<(), Failure>;
        get_tags(bucket: &str, key: &str) -> Result<Metadata, Failure>;
        set_tags(bucket: &str, key: &str, tags: Metadata) -> Result<(), Failure>;
        delete_tags(bucket: &str, key: &str) -> Result<(), Failure>;
    }

    fn list_stream<'a>(&'a self, bucket: &'a str, options: ListOptions) -> ItemStream<'a, ObjectMetadata> {
        (**self).list_stream(bucket, options)
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
        (**self).get(table, key).await
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        key: &str,
        options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        (**self).get_with_options(table, key, options).await
    }

    async fn put<T: Serialize + Send + Sync>(&self, table: &str, key: &str, item: &T) -> CloudResult<()> {
        (**self).put(table, key, item).await
    }

    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        key: &str,
        item: &T,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        (**self).put_with_options(table, key, item, options).await
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        (**self).query(table, partition_key, options).await
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        (**self).batch_get(table, keys).await
    }

    async fn batch_write<T: Serialize + Send + Sync>(&self, table: &str, items: &[(&str, &T)]) -> CloudResult<()> {
        (**self).batch_write(table, items).await
    }

    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        table: &'a str,
        options: ScanOptions,
    ) -> ItemStream<'a, T> {
        (**self).scan_stream(table, options)
    }
}

forward! {
    MessageQueue {
        create_queue(name: &str) -> CloudResult<String>;
        delete_queue(queue_url: &str) -> CloudResult<()>;
        get_queue_url(name: &str) -> CloudResult<String>;
        list_queues(prefix: Option<&str>) -> CloudResult<Vec<String>>;
        send(queue_url: &str, body: &str) -> CloudResult<ResourceId>;
        send_with_options(queue_url: &str, body: &str, options: SendOptions) -> CloudResult<ResourceId>;
        send_batch(queue_url: &str, messages: &[&str]) -> CloudResult<Vec<ResourceId>>;
        receive(queue_url: &str, options: ReceiveOptions) -> CloudResult<Vec<Message>>;
        delete(queue_url: &str, message: &Message) -> CloudResult<()>;
        delete_batch(queue_url: &str, messages: &[&Message]) -> CloudResult<()>;
        change_visibility(queue_url: &str, message: &Message, timeout: Duration) -> CloudResult<()>;
        get_queue_depth(queue_url: &str) -> CloudResult<u64>;
        purge(queue_url: &str) -> CloudResult<()>;
    }

    fn receive_stream<'a>(
        &'a self,
        queue_url: &'a str,
        options: ReceiveStreamOptions,
    ) -> ItemStream<'a, Delivery<'a>> {
        (**self).receive_stream(queue_url, options)
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
        publish_with_attributes(topic_arn: &str, message: &[u8], attributes: Metadata) -> CloudResult<ResourceId>;
        publish_batch(topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>>;
    }

    async fn publish_json<T: Serialize + Send + Sync>(
        &self,
        topic_arn: &str,
        message: &T,
    ) -> CloudResult<ResourceId> {
        (**self).publish_json(topic_arn, message).await
    }
}

forward! {
    Functions {
        invoke(function_name: &str, payload: &[u8]) -> CloudResult<InvokeResult>;
        invoke_with_options(function_name: &str, payload: &[u8], options: InvokeOptions)
            -> CloudResult<InvokeResult>;
        invoke_async(function_name: &str, payload: &[u8]) -> CloudResult<()>;
        list_functions() -> CloudResult<Vec<String>>;
        function_exists(function_name: &str) -> CloudResult<bool>;
        create_function(function_name: &str, code: &[u8], options: CreateFunctionOptions)
            -> Result<String, Failure>;
        delete_function(function_name: &str) -> Result<(), Failure>;
    }

    async fn invoke_json<T, R>(&self, function_name: &str, payload: &T) -> CloudResult<R>
    where
        T: Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        (**self).invoke_json(function_name, payload).await
    }
}

forward! {
    IdentityProvider {
        create_user(username: &str, email: Option<&str>, options: CreateUserOptions) -> CloudResult<User>;
        get_user(username: &str) -> CloudResult<User>;
        update_user(username: &str, attributes: Metadata) -> CloudResult<User>;
        delete_user(username: &str) -> CloudResult<()>;
        enable_user(username: &str) -> CloudResult<()>;
        disable_user(username: &str) -> CloudResult<()>;
        list_users(limit: Option<u32>) -> CloudResult<Vec<User>>;
        search_users(filter: &str) -> CloudResult<Vec<User>>;
        initiate_auth(username: &str, password: &str) -> CloudResult<InitiateAuthResult>;
        respond_to_challenge(challenge_name: ChallengeType, session: &str, responses: Metadata)
            -> CloudResult<InitiateAuthResult>;
        refresh_tokens(refresh_token: &str) -> CloudResult<AuthResult>;
        sign_out(access_token: &str) -> CloudResult<()>;
        forgot_password(username: &str) -> CloudResult<()>;
        confirm_forgot_password(username: &str, code: &str, new_password: &str) -> CloudResult<()>;
        change_password(access_token: &str, old_password: &str, new_password: &str) -> CloudResult<()>;
        create_group(name: &str, description: Option<&str>) -> CloudResult<UserGroup>;
        delete_group(name: &str) -> CloudResult<()>;
        list_groups() -> CloudResult<Vec<UserGroup>>;
        add_user_to_group(username: &str, group_name: &str) -> CloudResult<()>;
        remove_user_from_group(username: &str, group_name: &str) -> CloudResult<()>;
        list_user_groups(username: &str) -> CloudResult<Vec<UserGroup>>;
        list_users_in_group(group_name: &str) -> CloudResult<Vec<User>>;
    }
}

forward! {
    Networking {
        create_vpc(options: CreateVpcOptions) -> CloudResult<VpcMetadata>;
        describe_vpcs(ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<VpcMetadata>>;
        delete_vpc(id: ResourceId) -> CloudResult<()>;
        create_subnet(options: CreateSubnetOptions) -> CloudResult<SubnetMetadata>;
        describe_subnets(ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<SubnetMetadata>>;
        delete_subnet(id: ResourceId) -> CloudResult<()>;
        create_security_group(vpc_id: ResourceId, name: &str, description: Option<&str>)
            -> CloudResult<SecurityGroupMetadata>;
        describe_security_groups(ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<SecurityGroupMetadata>>;
        delete_security_group(id: ResourceId) -> CloudResult<()>;
    }
}
