//! Topics and functions as trait objects, in the way of [`DynKeyValueStore`](super::DynKeyValueStore).

use super::*;
use crate::common::{CloudResult, Failure, Metadata, ResourceId};
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The methods of [`PubSub`] over JSON values, for trait objects. Call those of `PubSub` on the object.
#[async_trait]
pub trait DynPubSub: Send + Sync {
    /// As [`PubSub::create_topic`].
    async fn dyn_create_topic(&self, name: &str) -> CloudResult<String>;

    /// As [`PubSub::delete_topic`].
    async fn dyn_delete_topic(&self, topic_arn: &str) -> CloudResult<()>;

    /// As [`PubSub::list_topics`].
    async fn dyn_list_topics(&self) -> CloudResult<Vec<String>>;

    /// As [`PubSub::get_topic_arn`].
    async fn dyn_get_topic_arn(&self, name: &str) -> CloudResult<String>;

    /// As [`PubSub::subscribe`].
    async fn dyn_subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String>;

    /// As [`PubSub::subscribe_with_config`].
    async fn dyn_subscribe_with_config(
        &self,
        topic_arn: &str,
        config: SubscriptionConfig,
    ) -> CloudResult<String>;

    /// As [`PubSub::unsubscribe`].
    async fn dyn_unsubscribe(&self, subscription_arn: &str) -> CloudResult<()>;

    /// As [`PubSub::list_subscriptions`].
    async fn dyn_list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>>;

    /// As [`PubSub::publish`].
    async fn dyn_publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId>;

    /// As [`PubSub::publish_with_attributes`].
    async fn dyn_publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId>;

    /// As [`PubSub::publish_batch`].
    async fn dyn_publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>>;

    /// As [`PubSub::publish_json`].
    async fn dyn_publish_json(&self, topic_arn: &str, message: &Value) -> CloudResult<ResourceId>;

    /// As [`PubSub::capabilities`].
    fn dyn_capabilities(&self) -> Capabilities;
}

#[async_trait]
impl<S: PubSub> DynPubSub for S {
    async fn dyn_create_topic(&self, name: &str) -> CloudResult<String> {
        self.create_topic(name).await
    }

    async fn dyn_delete_topic(&self, topic_arn: &str) -> CloudResult<()> {
        self.delete_topic(topic_arn).await
    }

    async fn dyn_list_topics(&self) -> CloudResult<Vec<String>> {
        self.list_topics().await
    }

    async fn dyn_get_topic_arn(&self, name: &str) -> CloudResult<String> {
        self.get_topic_arn(name).await
    }

    async fn dyn_subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String> {
        self.subscribe(topic_arn, protocol, endpoint).await
    }

    async fn dyn_subscribe_with_config(
        &self,
        topic_arn: &str,
        config: SubscriptionConfig,
    ) -> CloudResult<String> {
        self.subscribe_with_config(topic_arn, config).await
    }

    async fn dyn_unsubscribe(&self, subscription_arn: &str) -> CloudResult<()> {
        self.unsubscribe(subscription_arn).await
    }

    async fn dyn_list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>> {
        self.list_subscriptions(topic_arn).await
    }

    async fn dyn_publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId> {
        self.publish(topic_arn, message).await
    }

    async fn dyn_publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId> {
        self.publish_with_attributes(topic_arn, message, attributes).await
    }

    async fn dyn_publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>> {
        self.publish_batch(topic_arn, messages).await
    }

    async fn dyn_publish_json(&self, topic_arn: &str, message: &Value) -> CloudResult<ResourceId> {
        self.publish_json(topic_arn, message).await
    }

    fn dyn_capabilities(&self) -> Capabilities {
        self.capabilities()
    }
}

/// The generic method of a trait object, by way of a JSON value.
#[async_trait]
impl PubSub for dyn DynPubSub {
    async fn create_topic(&self, name: &str) -> CloudResult<String> {
        self.dyn_create_topic(name).await
    }

    async fn delete_topic(&self, topic_arn: &str) -> CloudResult<()> {
        self.dyn_delete_topic(topic_arn).await
    }

    async fn list_topics(&self) -> CloudResult<Vec<String>> {
        self.dyn_list_topics().await
    }

    async fn get_topic_arn(&self, name: &str) -> CloudResult<String> {
        self.dyn_get_topic_arn(name).await
    }

    async fn subscribe(&self, topic_arn: &str, protocol: &str, endpoint: &str) -> CloudResult<String> {
        self.dyn_subscribe(topic_arn, protocol, endpoint).await
    }

    async fn subscribe_with_config(
        &self,
        topic_arn: &str,
        config: SubscriptionConfig,
    ) -> CloudResult<String> {
        self.dyn_subscribe_with_config(topic_arn, config).await
    }

    async fn unsubscribe(&self, subscription_arn: &str) -> CloudResult<()> {
        self.dyn_unsubscribe(subscription_arn).await
    }

    async fn list_subscriptions(&self, topic_arn: &str) -> CloudResult<Vec<String>> {
        self.dyn_list_subscriptions(topic_arn).await
    }

    async fn publish(&self, topic_arn: &str, message: &[u8]) -> CloudResult<ResourceId> {
        self.dyn_publish(topic_arn, message).await
    }

    async fn publish_with_attributes(
        &self,
        topic_arn: &str,
        message: &[u8],
        attributes: Metadata,
    ) -> CloudResult<ResourceId> {
        self.dyn_publish_with_attributes(topic_arn, message, attributes).await
    }

    async fn publish_batch(&self, topic_arn: &str, messages: &[&[u8]]) -> CloudResult<Vec<ResourceId>> {
        self.dyn_publish_batch(topic_arn, messages).await
    }

    async fn publish_json<T: Serialize + Send + Sync>(
        &self,
        topic_arn: &str,
        message: &T,
    ) -> CloudResult<ResourceId> {
        self.dyn_publish_json(topic_arn, &serde_json::to_value(message)?).await
    }

    fn capabilities(&self) -> Capabilities {
        self.dyn_capabilities()
    }
}

/// The methods of [`Functions`] over JSON values, for trait objects. Call those of `Functions` on the object.
#[async_trait]
pub trait DynFunctions: Send + Sync {
    /// As [`Functions::invoke_with_options`].
    async fn dyn_invoke(
        &self,
        function_name: &str,
        payload: &[u8],
        options: InvokeOptions,
    ) -> CloudResult<InvokeResult>;

    /// As [`Functions::invoke_json`].
    async fn dyn_invoke_json(&self, function_name: &str, payload: &Value) -> CloudResult<Value>;

    /// As [`Functions::invoke_async`].
    async fn dyn_invoke_async(&self, function_name: &str, payload: &[u8]) -> CloudResult<()>;

    /// As [`Functions::list_functions`].
    async fn dyn_list_functions(&self) -> CloudResult<Vec<String>>;

    /// As [`Functions::function_exists`].
    async fn dyn_function_exists(&self, function_name: &str) -> CloudResult<bool>;

    /// As [`Functions::capabilities`].
    fn dyn_capabilities(&self) -> Capabilities;

    /// As [`Functions::create_function`].
    async fn dyn_create_function(
        &self,
        function_name: &str,
        code: &[u8],
        options: CreateFunctionOptions,
    ) -> Result<String, Failure>;

    /// As [`Functions::delete_function`].
    async fn dyn_delete_function(&self, function_name: &str) -> Result<(), Failure>;
}

#[async_trait]
impl<S: Functions> DynFunctions for S {
    async fn dyn_invoke(
        &self,
        function_name: &str,
        payload: &[u8],
        options: InvokeOptions,
    ) -> CloudResult<InvokeResult> {
        self.invoke_with_options(function_name, payload, options).await
    }

    async fn dyn_invoke_json(&self, function_name: &str, payload: &Value) -> CloudResult<Value> {
        self.invoke_json(function_name, payload).await
    }

    async fn dyn_invoke_async(&self, function_name: &str, payload: &[u8]) -> CloudResult<()> {
        self.invoke_async(function_name, payload).await
    }

    async fn dyn_list_functions(&self) -> CloudResult<Vec<String>> {
        self.list_functions().await
    }

    async fn dyn_function_exists(&self, function_name: &str) -> CloudResult<bool> {
        self.function_exists(function_name).await
    }

    fn dyn_capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    async fn dyn_create_function(
        &self,
        function_name: &str,
        code: &[u8],
        options: CreateFunctionOptions,
    ) -> Result<String, Failure> {
        self.create_function(function_name, code, options).await
    }

    async fn dyn_delete_function(&self, function_name: &str) -> Result<(), Failure> {
        self.delete_function(function_name).await
    }
}

/// The generic method of a trait object, by way of JSON values.
#[async_trait]
impl Functions for dyn DynFunctions {
    async fn invoke(&self, function_name: &str, payload: &[u8]) -> CloudResult<InvokeResult> {
        self.dyn_invoke(function_name, payload, InvokeOptions::default()).await
    }

    async fn invoke_with_options(
        &self,
        function_name: &str,
        payload: &[u8],
        options: InvokeOptions,
    ) -> CloudResult<InvokeResult> {
        self.dyn_invoke(function_name, payload, options).await
    }

    async fn invoke_json<T, R>(&self, function_name: &str, payload: &T) -> CloudResult<R>
    where
        T: Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        let answer = self.dyn_invoke_json(function_name, &serde_json::to_value(payload)?).await?;
        Ok(serde_json::from_value(answer)?)
    }

    async fn invoke_async(&self, function_name: &str, payload: &[u8]) -> CloudResult<()> {
        self.dyn_invoke_async(function_name, payload).await
    }

    async fn list_functions(&self) -> CloudResult<Vec<String>> {
        self.dyn_list_functions().await
    }

    async fn function_exists(&self, function_name: &str) -> CloudResult<bool> {
        self.dyn_function_exists(function_name).await
    }

    fn capabilities(&self) -> Capabilities {
        self.dyn_capabilities()
    }

    async fn create_function(
        &self,
        function_name: &str,
        code: &[u8],
        options: CreateFunctionOptions,
    ) -> Result<String, Failure> {
        self.dyn_create_function(function_name, code, options).await
    }

    async fn delete_function(&self, function_name: &str) -> Result<(), Failure> {
        self.dyn_delete_function(function_name).await
    }
}
