//! The default bodies of the new methods: what they do by the old methods, what they refuse, and that `capabilities()` says
//! which before a call. And that neither an `Arc` nor a trait object loses what a provider overrides.

#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

use async_trait::async_trait;
use bytes::Bytes;
use cloudkit_core::api::*;
use cloudkit_core::common::*;
use cloudkit_core::core::{CloudContext, Connector, DynCloud};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Objects and items in memory, by the old methods only.
#[derive(Default)]
struct Old {
    objects: Mutex<BTreeMap<String, (Bytes, PutOptions)>>,
    items: Mutex<BTreeMap<String, Value>>,
    /// The conditions that reads came with.
    matches: Mutex<Vec<Option<String>>>,
}

fn no<T>() -> CloudResult<T> {
    Err(CloudError::Internal(String::from("not asked here")))
}

#[async_trait]
impl ObjectStorage for Old {
    async fn list_buckets(&self) -> CloudResult<Vec<BucketMetadata>> {
        no()
    }

    async fn create_bucket(&self, _bucket: &str) -> CloudResult<()> {
        no()
    }

    async fn delete_bucket(&self, _bucket: &str) -> CloudResult<()> {
        no()
    }

    async fn bucket_exists(&self, _bucket: &str) -> CloudResult<bool> {
        no()
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
        let value = (Bytes::copy_from_slice(data), options);
        self.objects.lock().unwrap().insert(format!("{bucket}/{key}"), value);
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
        let range = options.byte_range()?;
        self.matches.lock().unwrap().push(options.if_match);
        let resource_id = format!("{bucket}/{key}");
        let found = self.objects.lock().unwrap().get(&resource_id).map(|(data, _)| data.clone());
        let data = found.ok_or(CloudError::NotFound { resource_type: "Object".into(), resource_id })?;
        let Some(range) = range else { return Ok(data) };
        let bytes = range.of(data.len() as u64)?;
        Ok(data.slice(bytes.start as usize..bytes.end as usize))
    }

    async fn head_object(&self, bucket: &str, key: &str) -> CloudResult<ObjectMetadata> {
        let resource_id = format!("{bucket}/{key}");
        let objects = self.objects.lock().unwrap();
        let Some((data, options)) = objects.get(&resource_id) else {
            return Err(CloudError::NotFound { resource_type: "Object".into(), resource_id });
        };
        Ok(ObjectMetadata {
            key: key.to_owned(),
            size: data.len() as u64,
            content_type: options.content_type.clone(),
            etag: Some(String::from("tag")),
            last_modified: chrono::Utc::now(),
            storage_class: options.storage_class.clone(),
            metadata: options.metadata.clone(),
        })
    }

    async fn delete_object(&self, _bucket: &str, _key: &str) -> CloudResult<()> {
        no()
    }

    async fn delete_objects(&self, _bucket: &str, _keys: &[&str]) -> CloudResult<()> {
        no()
    }

    async fn copy_object(&self, _: &str, _: &str, _: &str, _: &str) -> CloudResult<()> {
        no()
    }

    async fn object_exists(&self, _bucket: &str, _key: &str) -> CloudResult<bool> {
        no()
    }

    async fn list_objects(
        &self,
        bucket: &str,
        options: ListOptions,
    ) -> CloudResult<ListResult<ObjectMetadata>> {
        let keys: Vec<String> = self.objects.lock().unwrap().keys().cloned().collect();
        let from: usize = options.continuation_token.as_deref().unwrap_or("0").parse().unwrap();
        let mut items = Vec::new();
        for name in keys.iter().skip(from).take(2) {
            items.push(self.head_object(bucket, name.strip_prefix("b/").unwrap()).await?);
        }
        let more = from + 2 < keys.len();
        let token =
            if more { PaginationToken::some((from + 2).to_string()) } else { PaginationToken::none() };
        Ok(ListResult::new(items, token))
    }

    async fn presigned_get_url(&self, _: &str, _: &str, _: Duration) -> CloudResult<String> {
        no()
    }

    async fn presigned_put_url(&self, _: &str, _: &str, _: Duration) -> CloudResult<String> {
        no()
    }
}

#[async_trait]
impl KeyValueStore for Old {
    async fn get<T: DeserializeOwned + Send>(&self, table: &str, key: &str) -> CloudResult<Option<T>> {
        self.get_with_options(table, key, KvGetOptions::default()).await
    }

    async fn get_with_options<T: DeserializeOwned + Send>(
        &self,
        _table: &str,
        key: &str,
        _options: KvGetOptions,
    ) -> CloudResult<Option<T>> {
        let found = self.items.lock().unwrap().get(key).cloned();
        Ok(found.map(serde_json::from_value).transpose()?)
    }

    async fn put<T: Serialize + Send + Sync>(&self, table: &str, key: &str, item: &T) -> CloudResult<()> {
        self.put_with_options(table, key, item, KvPutOptions::default()).await.map(drop)
    }

    async fn put_with_options<T: Serialize + Send + Sync>(
        &self,
        _table: &str,
        key: &str,
        item: &T,
        options: KvPutOptions,
    ) -> CloudResult<Option<Value>> {
        let item = serde_json::to_value(item)?;
        let old = self.items.lock().unwrap().insert(key.to_owned(), item);
        Ok(old.filter(|_| options.return_old))
    }

    async fn delete(&self, _table: &str, key: &str) -> CloudResult<()> {
        self.items.lock().unwrap().remove(key);
        Ok(())
    }

    async fn delete_with_condition(&self, _: &str, _: &str, _: Condition) -> CloudResult<bool> {
        no()
    }

    async fn exists(&self, _table: &str, key: &str) -> CloudResult<bool> {
        Ok(self.items.lock().unwrap().contains_key(key))
    }

    async fn update(&self, _: &str, _: &str, _: HashMap<String, Value>) -> CloudResult<()> {
        no()
    }

    async fn query<T: DeserializeOwned + Send>(
        &self,
        table: &str,
        partition_key: &str,
        options: KvQueryOptions,
    ) -> CloudResult<ListResult<T>> {
        assert!(options.scan_forward);
        let items = self.get(table, partition_key).await?.into_iter().collect();
        Ok(ListResult::new(items, PaginationToken::some("more")))
    }

    async fn batch_get<T: DeserializeOwned + Send>(&self, table: &str, keys: &[&str]) -> CloudResult<Vec<T>> {
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.get(table, key).await?);
        }
        Ok(found)
    }

    async fn batch_write<T: Serialize + Send + Sync>(
        &self,
        table: &str,
        items: &[(&str, &T)],
    ) -> CloudResult<()> {
        for (key, item) in items {
            self.put(table, key, item).await?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults("old", Service::KeyValueStore).yes("increment", "")
    }

    async fn increment(&self, _table: &str, _key: &str, _attribute: &str, by: i64) -> Result<i64, Failure> {
        Ok(by + 1)
    }

    fn scan_stream<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        _table: &'a str,
        _options: ScanOptions,
    ) -> ItemStream<'a, T> {
        let items: Vec<Value> = self.items.lock().unwrap().values().cloned().collect();
        let mut items = Some(items);
        ItemStream::pages(move |_: Option<()>| {
            let items = items.take().unwrap_or_default();
            async move { Ok((items, None)) }
        })
        .map_items(|item| Ok(serde_json::from_value(item).map_err(CloudError::from)?))
    }
}

#[tokio::test]
async fn a_stream_is_put_and_read_by_the_old_methods() {
    let old = Old::default();
    let options = PutStreamOptions::new().content_type("text/plain").metadata("a", "b").storage_class("COLD");
    let put = old.put_stream("b", "k", ByteStream::from("0123456789"), options).await.unwrap();
    assert_eq!(put, PutResult::default(), "the old methods tell nothing");

    let whole = old.get_stream("b", "k", GetStreamOptions::new()).await.unwrap();
    assert_eq!((whole.meta.size, whole.meta.content_type.as_deref()), (10, Some("text/plain")));
    assert_eq!((whole.meta.metadata["a"].as_str(), whole.meta.storage_class.as_deref()), ("b", Some("COLD")));
    assert_eq!((whole.offset, whole.body.collect(10).await.unwrap()), (0, Bytes::from("0123456789")));

    for (range, offset, expected) in
        [(ByteRange::Between(2, 4), 2, "234"), (ByteRange::From(8), 8, "89"), (ByteRange::Last(3), 7, "789")]
    {
        let part = old.get_stream("b", "k", GetStreamOptions::new().range(range)).await.unwrap();
        assert_eq!((part.meta.size, part.offset), (10, offset));
        assert_eq!(part.body.collect(10).await.unwrap(), expected);
    }
    let own = GetStreamOptions::new().if_match("mine");
    assert!(old.get_stream("b", "k", own).await.is_ok());
    let tag = |text: &str| Some(text.to_owned());
    let expected = [tag("tag"), tag("tag"), tag("tag"), tag("tag"), tag("mine")];
    assert_eq!(*old.matches.lock().unwrap(), expected, "body and facts are of one version");

    let missing = old.get_stream("b", "none", GetStreamOptions::new()).await.unwrap_err();
    assert!(missing.kind.is_not_found());
    let outside = GetStreamOptions::new().range(ByteRange::From(10));
    assert!(old.get_stream("b", "k", outside).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_or_too_slow_is_not_put() {
    let old = Old::default();
    let long = ByteStream::from(vec![0; BODY_COLLECTED_BYTES_MAX + 1]);
    let refused = old.put_stream("b", "k", long, PutStreamOptions::new()).await.unwrap_err();
    assert!(matches!(refused.kind, CloudError::Validation(_)), "{refused}");
    let (_held, slow) = tokio::io::duplex(1);
    let options = PutStreamOptions::new().deadline(Duration::from_secs(5));
    let refused = old.put_stream("b", "k", ByteStream::from_reader(slow, None), options).await.unwrap_err();
    assert!(matches!(refused.kind, CloudError::Timeout { .. }), "{refused}");
    assert!(old.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_listing_goes_through_all_pages() {
    let old = Old::default();
    for key in ["a", "b", "c", "d", "e"] {
        old.put_object("b", key, b"x").await.unwrap();
    }
    let listed = old.list_stream("b", ListOptions::new()).collect(9).await.unwrap();
    let keys: Vec<&str> = listed.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e"]);
    let from = ListOptions::new().continuation_token("4");
    assert_eq!(old.list_stream("b", from).collect(9).await.unwrap().len(), 1, "a stream begins at its token");
}

#[tokio::test]
async fn a_level_is_made_of_all_keys_below_and_gives_each_folder_once() {
    let old = Old::default();
    for key in ["a/1", "a/2", "a/b/3", "a/b/4", "c", "d/5"] {
        old.put_object("b", key, b"x").await.unwrap();
    }
    // Two keys make a page, so that `a/` and `a/b/` lie on two.
    let (mut objects, mut folders, mut options, mut pages) = (vec![], vec![], ListOptions::new(), 0);
    loop {
        let page = old.list_level("b", options.clone()).await.unwrap();
        pages += 1;
        objects.extend(page.objects.into_iter().map(|object| object.key));
        folders.extend(page.folders);
        let Some(token) = page.next_token.0 else { break };
        options = options.continuation_token(token);
    }
    assert_eq!((pages, objects, folders), (3, vec![String::from("c")], vec!["a/".into(), "d/".into()]));
    let refused = old.list_level("b", ListOptions::new().continuation_token("2")).await.unwrap_err();
    assert!(matches!(refused.kind, CloudError::Validation(_)), "{refused}");
}

/// The outcome of each method that is a "no", by its name.
async fn refusals<S: ObjectStorage + ?Sized>(s: &S) -> Vec<(&'static str, Failure)> {
    let body = || ByteStream::from("x");
    let put = |options| s.put_stream("b", "k", body(), options);
    let version = GetStreamOptions::new().version_id("v");
    vec![
        ("put_if_absent", put(PutStreamOptions::new().if_absent()).await.unwrap_err()),
        ("put_if_match", put(PutStreamOptions::new().if_match("e")).await.unwrap_err()),
        ("put_tags", put(PutStreamOptions::new().tag("a", "b")).await.unwrap_err()),
        ("get_version", s.get_stream("b", "k", version).await.unwrap_err()),
        ("list_versions", s.list_versions("b", ListOptions::new()).await.unwrap_err()),
        ("delete_version", s.delete_version("b", "k", "v").await.unwrap_err()),
        ("set_versioning", s.set_versioning("b", true).await.unwrap_err()),
        ("get_tags", s.get_tags("b", "k").await.unwrap_err()),
        ("set_tags", s.set_tags("b", "k", Metadata::new()).await.unwrap_err()),
        ("delete_tags", s.delete_tags("b", "k").await.unwrap_err()),
    ]
}

#[tokio::test]
async fn what_is_refused_is_what_the_capabilities_deny() {
    let capabilities = ObjectStorage::capabilities(&Old::default());
    assert!(capabilities.provider.ends_with("::Old"), "{}", capabilities.provider);
    // What a stream does not tell is missing in it, and refuses no call.
    let is_refused = |one: &&Capability| one.support == Support::No && one.name != "stream_headers";
    let denied: Vec<&str> = capabilities.iter().filter(is_refused).map(|one| &*one.name).collect();
    let refusals = refusals(&Old::default()).await;
    assert_eq!(refusals.iter().map(|(name, _)| *name).collect::<Vec<_>>(), denied);
    for (name, failure) in refusals {
        let text = failure.to_string();
        assert!(text.contains(&format!("ObjectStorage::{name}")) && text.contains("::Old"), "{text}");
        assert!(CloudError::from(failure).is_unsupported());
    }
    let table = KeyValueStore::capabilities(&Old::default());
    let old = Old::default();
    let failures = [
        ("create_table", old.create_table("t", CreateTableOptions::new()).await.unwrap_err()),
        ("delete_table", old.delete_table("t").await.unwrap_err()),
        ("transact", old.transact(vec![]).await.unwrap_err()),
    ];
    for (name, failure) in failures {
        assert!(!table.supports(name) && CloudError::from(failure).is_unsupported(), "{name}");
    }
}

/// The generic methods through whatever it is.
async fn table_works<S: KeyValueStore + ?Sized>(s: &S) {
    let item = json!({"n": 1, "big": u64::MAX, "deep": {"list": [1.5, null]}});
    s.put("t", "a", &item).await.unwrap();
    assert_eq!(s.get::<Value>("t", "a").await.unwrap(), Some(item.clone()));
    let options = KvPutOptions { return_old: true, ..KvPutOptions::default() };
    assert_eq!(s.put_with_options("t", "a", &json!({"n": 2}), options).await.unwrap(), Some(item));
    assert!(s.get::<Vec<u8>>("t", "a").await.is_err(), "another shape is an error");
    s.batch_write("t", &[("b", &json!({"n": 3})), ("c", &json!({"n": 4}))]).await.unwrap();
    let numbers: Vec<HashMap<String, u8>> = s.batch_get("t", &["a", "b", "none"]).await.unwrap();
    assert_eq!(numbers.iter().map(|one| one["n"]).collect::<Vec<_>>(), [2, 3]);
    let page: ListResult<Value> = s.query("t", "c", KvQueryOptions::default()).await.unwrap();
    assert_eq!((page.items, page.next_token.0.as_deref()), (vec![json!({"n": 4})], Some("more")));
    assert_eq!(s.scan_stream::<Value>("t", ScanOptions::new()).collect(9).await.unwrap().len(), 3);
    let mut wrong = s.scan_stream::<String>("t", ScanOptions::new());
    assert!(matches!(wrong.next().await.unwrap().unwrap_err().kind, CloudError::Serialization(_)));
    assert_eq!(s.increment("t", "k", "n", 41).await.unwrap(), 42);
    assert!(s.capabilities().supports("increment") && s.capabilities().provider == "old");
    s.delete("t", "a").await.unwrap();
    assert!(!s.exists("t", "a").await.unwrap() && s.get::<Value>("t", "a").await.unwrap().is_none());
}

#[tokio::test]
async fn neither_an_arc_nor_an_object_loses_what_is_overridden() {
    table_works(&Old::default()).await;
    table_works(&Arc::new(Old::default())).await;
    table_works(&Old::default() as &dyn DynKeyValueStore).await;
    table_works(&(Arc::new(Old::default()) as Arc<dyn DynKeyValueStore>)).await;
}

struct OldCloud;

#[async_trait]
impl Connector for OldCloud {
    async fn connect(&self, context: CloudContext) -> CloudResult<DynCloud> {
        Ok(DynCloud::new(context).with_storage(Old::default()).with_kv_store(Old::default()))
    }
}

#[tokio::test]
async fn a_cloud_chosen_at_run_time_gives_its_services_and_refuses_the_others() {
    let builder = CloudContext::builder(ProviderType::Zero).connector(OldCloud);
    let cloud = builder.region(Region::zero_local()).connect().await.unwrap();
    assert_eq!(cloud.services(), [Service::ObjectStorage, Service::KeyValueStore]);
    assert_eq!((cloud.provider(), cloud.context().region().code()), (ProviderType::Zero, "local"));
    table_works(&cloud.kv_store().unwrap()).await;
    let storage = cloud.storage().unwrap();
    storage.put_object("b", "k", b"x").await.unwrap();
    assert_eq!(storage.get_object("b", "k").await.unwrap(), "x");
    let refused = cloud.queue().map(drop).unwrap_err();
    assert!(refused.is_unsupported() && refused.to_string().contains("zero"), "{refused}");
    assert!(cloud.pubsub().is_err() && cloud.functions().is_err());
    assert!(cloud.identity().is_err() && cloud.networking().is_err());
}
