//! The surface that programs compile against, part five: the traits of the services of now.
//!
//! `Mock` implements what a program's mock implements: every old method with its exact signature, and nothing else. The
//! functions below it call each method and name what it gives. A new method without a default body, or another signature,
//! breaks this file.

use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::api::*;
use cloudkit_core::common::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

struct Mock;

fn no<T>() -> CloudResult<T> {
    Err(CloudError::Internal(String::from("mock")))
}

/// An implementation of these methods, which give what follows the arrow in a `CloudResult`.
macro_rules! mock {
    ($service:ident {
        $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)*
    } $($more:tt)*) => {
        #[async_trait]
        impl $service for Mock {
            $(
                async fn $method(&self, $($argument: $type),*) -> CloudResult<$output> {
                    let _ = ($($argument,)*);
                    no()
                }
            )*
            $($more)*
        }
    };
}

mock! {
    ObjectStorage {
        list_buckets() -> Vec<BucketMetadata>;
        create_bucket(bucket: &str) -> ();
        delete_bucket(bucket: &str) -> ();
        bucket_exists(bucket: &str) -> bool;
        put_object(bucket: &str, key: &str, data: &[u8]) -> ();
        put_object_with_options(bucket: &str, key: &str, data: &[u8], options: PutOptions) -> ();
        get_object(bucket: &str, key: &str) -> Bytes;
        get_object_with_options(bucket: &str, key: &str, options: GetOptions) -> Bytes;
        head_object(bucket: &str, key: &str) -> ObjectMetadata;
        delete_object(bucket: &str, key: &str) -> ();
        delete_objects(bucket: &str, keys: &[&str]) -> ();
        copy_object(from_bucket: &str, from_key: &str, to_bucket: &str, to_key: &str) -> ();
        object_exists(bucket: &str, key: &str) -> bool;
        list_objects(bucket: &str, options: ListOptions) -> ListResult<ObjectMetadata>;
        presigned_get_url(bucket: &str, key: &str, expires_in: Duration) -> String;
        presigned_put_url(bucket: &str, key: &str, expires_in: Duration) -> String;
    }
}

async fn objects<S: ObjectStorage + ?Sized>(s: &S) -> CloudResult<()> {
    let _: Vec<BucketMetadata> = s.list_buckets().await?;
    let () = s.create_bucket("b").await?;
    let () = s.delete_bucket("b").await?;
    let _: bool = s.bucket_exists("b").await?;
    let () = s.put_object("b", "k", b"x").await?;
    let () = s.put_object_with_options("b", "k", b"x", PutOptions::new()).await?;
    let _: Bytes = s.get_object("b", "k").await?;
    let _: Bytes = s.get_object_with_options("b", "k", GetOptions::new()).await?;
    let _: ObjectMetadata = s.head_object("b", "k").await?;
    let () = s.delete_object("b", "k").await?;
    let () = s.delete_objects("b", &["k"]).await?;
    let () = s.copy_object("b", "k", "b", "k").await?;
    let _: bool = s.object_exists("b", "k").await?;
    let _: ListResult<ObjectMetadata> = s.list_objects("b", ListOptions::new()).await?;
    let _: String = s.presigned_get_url("b", "k", Duration::from_secs(1)).await?;
    let _: String = s.presigned_put_url("b", "k", Duration::from_secs(1)).await?;
    // New: `?` turns a failure into a `CloudError`.
    let _: PutResult = s.put_stream("b", "k", ByteStream::from("x"), PutStreamOptions::new()).await?;
    let _: ObjectStream = s.get_stream("b", "k", GetStreamOptions::new()).await?;
    let _: Level = s.list_level("b", ListOptions::new()).await?;
    let _: Option<Result<ObjectMetadata, Failure>> = s.list_stream("b", ListOptions::new()).next().await;
    let _: Capabilities = s.capabilities();
    Ok(())
}

mock! {
    KeyValueStore {
        delete(table: &str, key: &str) -> ();
        delete_with_condition(table: &str, key: &str, condition: Condition) -> bool;
        exists(table: &str, key: &str) -> bool;
        update(table: &str, key: &str, updates: HashMap<String, Value>) -> ();
    }

    async fn get<T: DeserializeOwned + Send>(&self, _table: &str, _key: &str) -> CloudResult<Option<T>> {
        no()
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        _table: &str,
        _key: &str,
        _options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        no()
    }

    async fn put<T: Serialize + Send + Sync>(&self, _table: &str, _key: &str, _item: &T) -> CloudResult<()> {
        no()
    }

    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        _table: &str,
        _key: &str,
        _item: &T,
        _options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        no()
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        _table: &str,
        _partition_key: &str,
        _options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        no()
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, _table: &str, _keys: &[&str]) -> CloudResult<Vec<T>> {
        no()
    }

    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        _table: &str,
        _items: &[(&str, &T)],
    ) -> CloudResult<()> {
        no()
    }
}

async fn items<S: KeyValueStore + ?Sized>(s: &S) -> CloudResult<()> {
    let _: Option<u8> = s.get("t", "k").await?;
    let _ = s.get::<u8>("t", "k").await?;
    let _: Option<u8> = s.get_with_options("t", "k", KvGetOptions::default()).await?;
    let () = s.put("t", "k", &1_u8).await?;
    let _: Option<Value> = s.put_with_options("t", "k", &1_u8, KvPutOptions::default()).await?;
    let () = s.delete("t", "k").await?;
    let _: bool = s.delete_with_condition("t", "k", Condition::Exists("id".into())).await?;
    let _: bool = s.exists("t", "k").await?;
    let () = s.update("t", "k", HashMap::from([(String::from("a"), Value::Null)])).await?;
    let _: ListResult<u8> = s.query("t", "p", KvQueryOptions::default()).await?;
    let _: Vec<u8> = s.batch_get("t", &["k"]).await?;
    let () = s.batch_write("t", &[("k", &1_u8)]).await?;
    let () = s.create_table("t", CreateTableOptions::new()).await?;
    let () = s.transact(vec![TransactItem::delete("t", "k")]).await?;
    let _: Option<Result<u8, Failure>> = s.scan_stream("t", ScanOptions::new()).next().await;
    let _: i64 = s.increment("t", "k", "a", 1).await?;
    let _: Capabilities = s.capabilities();
    Ok(())
}

mock! {
    MessageQueue {
        create_queue(name: &str) -> String;
        delete_queue(queue_url: &str) -> ();
        get_queue_url(name: &str) -> String;
        list_queues(prefix: Option<&str>) -> Vec<String>;
        send(queue_url: &str, body: &str) -> ResourceId;
        send_with_options(queue_url: &str, body: &str, options: SendOptions) -> ResourceId;
        send_batch(queue_url: &str, messages: &[&str]) -> Vec<ResourceId>;
        receive(queue_url: &str, options: ReceiveOptions) -> Vec<Message>;
        delete(queue_url: &str, message: &Message) -> ();
        delete_batch(queue_url: &str, messages: &[&Message]) -> ();
        change_visibility(queue_url: &str, message: &Message, timeout: Duration) -> ();
        get_queue_depth(queue_url: &str) -> u64;
        purge(queue_url: &str) -> ();
    }
}

async fn messages<S: MessageQueue + ?Sized>(s: &S) -> CloudResult<()> {
    let _: String = s.create_queue("q").await?;
    let () = s.delete_queue("u").await?;
    let _: String = s.get_queue_url("q").await?;
    let _: Vec<String> = s.list_queues(Some("q")).await?;
    let _: ResourceId = s.send("u", "x").await?;
    let _: ResourceId = s.send_with_options("u", "x", SendOptions::new()).await?;
    let _: Vec<ResourceId> = s.send_batch("u", &["x"]).await?;
    let received: Vec<Message> = s.receive("u", ReceiveOptions::new()).await?;
    for message in &received {
        let () = s.delete("u", message).await?;
        let () = s.change_visibility("u", message, Duration::ZERO).await?;
    }
    let () = s.delete_batch("u", &received.iter().collect::<Vec<&Message>>()).await?;
    let _: u64 = s.get_queue_depth("u").await?;
    let () = s.purge("u").await?;
    let _: Option<Result<Delivery<'_>, Failure>> =
        s.receive_stream("u", ReceiveStreamOptions::new()).next().await;
    let _: Capabilities = s.capabilities();
    Ok(())
}

mock! {
    PubSub {
        create_topic(name: &str) -> String;
        delete_topic(topic_arn: &str) -> ();
        list_topics() -> Vec<String>;
        get_topic_arn(name: &str) -> String;
        subscribe(topic_arn: &str, protocol: &str, endpoint: &str) -> String;
        subscribe_with_config(topic_arn: &str, config: SubscriptionConfig) -> String;
        unsubscribe(subscription_arn: &str) -> ();
        list_subscriptions(topic_arn: &str) -> Vec<String>;
        publish(topic_arn: &str, message: &[u8]) -> ResourceId;
        publish_with_attributes(topic_arn: &str, message: &[u8], attributes: HashMap<String, String>)
            -> ResourceId;
        publish_batch(topic_arn: &str, messages: &[&[u8]]) -> Vec<ResourceId>;
    }

    async fn publish_json<T: Serialize + Send + Sync>(
        &self,
        _topic_arn: &str,
        _message: &T,
    ) -> CloudResult<ResourceId> {
        no()
    }
}

async fn topics<S: PubSub + ?Sized>(s: &S) -> CloudResult<()> {
    let _: String = s.create_topic("t").await?;
    let () = s.delete_topic("a").await?;
    let _: Vec<String> = s.list_topics().await?;
    let _: String = s.get_topic_arn("t").await?;
    let _: String = s.subscribe("a", "sqs", "u").await?;
    let _: String = s.subscribe_with_config("a", SubscriptionConfig::default()).await?;
    let () = s.unsubscribe("s").await?;
    let _: Vec<String> = s.list_subscriptions("a").await?;
    let _: ResourceId = s.publish("a", b"x").await?;
    let _: ResourceId = s.publish_with_attributes("a", b"x", HashMap::new()).await?;
    let _: Vec<ResourceId> = s.publish_batch("a", &[b"x".as_slice()]).await?;
    let _: ResourceId = s.publish_json("a", &1_u8).await?;
    let _: Capabilities = s.capabilities();
    Ok(())
}

mock! {
    Functions {
        invoke(function_name: &str, payload: &[u8]) -> InvokeResult;
        invoke_with_options(function_name: &str, payload: &[u8], options: InvokeOptions) -> InvokeResult;
        invoke_async(function_name: &str, payload: &[u8]) -> ();
        list_functions() -> Vec<String>;
        function_exists(function_name: &str) -> bool;
    }

    async fn invoke_json<T, R>(&self, _function_name: &str, _payload: &T) -> CloudResult<R>
    where
        T: Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        no()
    }
}

async fn functions<S: Functions + ?Sized>(s: &S) -> CloudResult<()> {
    let _: InvokeResult = s.invoke("f", b"x").await?;
    let _: InvokeResult = s.invoke_with_options("f", b"x", InvokeOptions::new()).await?;
    let _: u8 = s.invoke_json("f", &1_u8).await?;
    let _ = s.invoke_json::<u8, String>("f", &1).await?;
    let () = s.invoke_async("f", b"x").await?;
    let _: Vec<String> = s.list_functions().await?;
    let _: bool = s.function_exists("f").await?;
    let _: String = s.create_function("f", b"x", CreateFunctionOptions::new("r", "h")).await?;
    let _: Capabilities = s.capabilities();
    Ok(())
}

mock! {
    IdentityProvider {
        create_user(username: &str, email: Option<&str>, options: CreateUserOptions) -> User;
        get_user(username: &str) -> User;
        update_user(username: &str, attributes: Metadata) -> User;
        delete_user(username: &str) -> ();
        enable_user(username: &str) -> ();
        disable_user(username: &str) -> ();
        list_users(limit: Option<u32>) -> Vec<User>;
        search_users(filter: &str) -> Vec<User>;
        initiate_auth(username: &str, password: &str) -> InitiateAuthResult;
        respond_to_challenge(challenge_name: ChallengeType, session: &str, responses: Metadata)
            -> InitiateAuthResult;
        refresh_tokens(refresh_token: &str) -> AuthResult;
        sign_out(access_token: &str) -> ();
        forgot_password(username: &str) -> ();
        confirm_forgot_password(username: &str, code: &str, new_password: &str) -> ();
        change_password(access_token: &str, old_password: &str, new_password: &str) -> ();
        create_group(name: &str, description: Option<&str>) -> UserGroup;
        delete_group(name: &str) -> ();
        list_groups() -> Vec<UserGroup>;
        add_user_to_group(username: &str, group_name: &str) -> ();
        remove_user_from_group(username: &str, group_name: &str) -> ();
        list_user_groups(username: &str) -> Vec<UserGroup>;
        list_users_in_group(group_name: &str) -> Vec<User>;
    }
}

async fn users<S: IdentityProvider + ?Sized>(s: &S) -> CloudResult<()> {
    let _: User = s.create_user("u", Some("m"), CreateUserOptions::default()).await?;
    let _: User = s.get_user("u").await?;
    let _: User = s.update_user("u", Metadata::new()).await?;
    let () = s.delete_user("u").await?;
    let () = s.enable_user("u").await?;
    let () = s.disable_user("u").await?;
    let _: Vec<User> = s.list_users(Some(1)).await?;
    let _: Vec<User> = s.search_users("f").await?;
    let _: InitiateAuthResult = s.initiate_auth("u", "p").await?;
    let _: InitiateAuthResult = s.respond_to_challenge(ChallengeType::SmsMfa, "s", Metadata::new()).await?;
    let _: AuthResult = s.refresh_tokens("t").await?;
    let () = s.sign_out("t").await?;
    let () = s.forgot_password("u").await?;
    let () = s.confirm_forgot_password("u", "c", "p").await?;
    let () = s.change_password("t", "o", "n").await?;
    let _: UserGroup = s.create_group("g", None).await?;
    let () = s.delete_group("g").await?;
    let _: Vec<UserGroup> = s.list_groups().await?;
    let () = s.add_user_to_group("u", "g").await?;
    let () = s.remove_user_from_group("u", "g").await?;
    let _: Vec<UserGroup> = s.list_user_groups("u").await?;
    let _: Vec<User> = s.list_users_in_group("g").await?;
    let _: Capabilities = s.capabilities();
    Ok(())
}

mock! {
    Networking {
        create_vpc(options: CreateVpcOptions) -> VpcMetadata;
        describe_vpcs(ids: Option<Vec<ResourceId>>) -> Vec<VpcMetadata>;
        delete_vpc(id: ResourceId) -> ();
        create_subnet(options: CreateSubnetOptions) -> SubnetMetadata;
        describe_subnets(ids: Option<Vec<ResourceId>>) -> Vec<SubnetMetadata>;
        delete_subnet(id: ResourceId) -> ();
        create_security_group(vpc_id: ResourceId, name: &str, description: Option<&str>)
            -> SecurityGroupMetadata;
        describe_security_groups(ids: Option<Vec<ResourceId>>) -> Vec<SecurityGroupMetadata>;
        delete_security_group(id: ResourceId) -> ();
    }
}

async fn networks<S: Networking + ?Sized>(s: &S) -> CloudResult<()> {
    let id = || ResourceId::new("i");
    let _: VpcMetadata = s.create_vpc(CreateVpcOptions::default()).await?;
    let _: Vec<VpcMetadata> = s.describe_vpcs(Some(vec![id()])).await?;
    let () = s.delete_vpc(id()).await?;
    let _: SubnetMetadata = s.create_subnet(CreateSubnetOptions::default()).await?;
    let _: Vec<SubnetMetadata> = s.describe_subnets(None).await?;
    let () = s.delete_subnet(id()).await?;
    let _: SecurityGroupMetadata = s.create_security_group(id(), "n", Some("d")).await?;
    let _: Vec<SecurityGroupMetadata> = s.describe_security_groups(None).await?;
    let () = s.delete_security_group(id()).await?;
    let _: Capabilities = s.capabilities();
    Ok(())
}

/// Calls everything once; a future that is not `Send` would not be spawned.
fn sent<F: Future<Output = CloudResult<()>> + Send>(calls: F) -> F {
    calls
}

#[tokio::test]
async fn a_mock_of_the_old_methods_is_a_service_by_itself_shared_and_as_an_object() {
    fn failed(outcome: CloudResult<()>) {
        assert!(matches!(outcome, Err(CloudError::Internal(text)) if text.starts_with("mock")));
    }
    failed(sent(objects(&Mock)).await);
    failed(sent(objects(&Arc::new(Mock))).await);
    failed(objects(&Mock as &dyn ObjectStorage).await);
    failed(objects(&(Arc::new(Mock) as Arc<dyn ObjectStorage>)).await);
    failed(sent(items(&Mock)).await);
    failed(sent(items(&Arc::new(Mock))).await);
    failed(items(&Mock as &dyn DynKeyValueStore).await);
    failed(items(&(Arc::new(Mock) as Arc<dyn DynKeyValueStore>)).await);
    failed(sent(messages(&Mock)).await);
    failed(messages(&(Arc::new(Mock) as Arc<dyn MessageQueue>)).await);
    failed(sent(topics(&Mock)).await);
    failed(topics(&(Arc::new(Mock) as Arc<dyn DynPubSub>)).await);
    failed(sent(functions(&Mock)).await);
    failed(functions(&(Arc::new(Mock) as Arc<dyn DynFunctions>)).await);
    failed(sent(users(&Mock)).await);
    failed(users(&(Arc::new(Mock) as Arc<dyn IdentityProvider>)).await);
    failed(sent(networks(&Mock)).await);
    failed(networks(&(Arc::new(Mock) as Arc<dyn Networking>)).await);
}
