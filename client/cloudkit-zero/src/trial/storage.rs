//! ZeroStore against the appliance itself: every method but the streams, which are in streams.rs.

use super::appliance::{Appliance, PATIENCE};
use super::*;
use crate::ZeroClient;
use crate::body::Outgoing;
use crate::encode::test_keys;
use crate::http2::Waits;
use crate::s3::ZeroStore;
use crate::wire::{self, Head};
use cloudkit_core::api::{
    GetOptions, GetStreamOptions, ListOptions, ObjectStorage, PutOptions, PutStreamOptions, Support,
};
use cloudkit_core::common::{AuthError, CloudError, Metadata};
use http_types::{HeaderMap, StatusCode};

/// A client with the bucket `bucket`.
pub(super) async fn with_bucket(appliance: &Appliance) -> (ZeroClient, ZeroStore) {
    let client = ZeroClient::over(appliance.caller(), None, None);
    let storage = client.storage();
    storage.create_bucket("bucket").await.expect("the bucket is made");
    (client, storage)
}

fn is_missing(error: &CloudError, resource: &str, id: &str) -> bool {
    matches!(error, CloudError::NotFound { resource_type, resource_id }
        if resource_type == resource && resource_id == id)
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn buckets_are_made_listed_and_deleted() {
    let appliance = Appliance::start("buckets", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    assert!(!storage.bucket_exists("other").await.expect("it is answered"));
    storage.create_bucket("other").await.expect("it is made");
    storage.create_bucket("other").await.expect("one's own bucket again");
    assert!(storage.bucket_exists("other").await.expect("it is answered"));
    let listed = storage.list_buckets().await.expect("they are listed");
    let names: Vec<_> = listed.iter().map(|bucket| bucket.name.as_str()).collect();
    assert_eq!(names, ["bucket", "other"]);
    assert!(listed.iter().all(|bucket| bucket.region == "us-east-1"));
    storage.put_object("other", "k", b"x").await.expect("it is put");
    let refused = storage.delete_bucket("other").await.expect_err("it is full");
    assert!(refused.is_conflict(), "{refused}");
    assert!(refused.to_string().contains("Hint: delete its objects first"), "{refused}");
    storage.delete_object("other", "k").await.expect("it is deleted");
    storage.delete_bucket("other").await.expect("it is empty");
    let refused = storage.delete_bucket("other").await.expect_err("it is gone");
    assert!(is_missing(&refused, "Bucket", "other"), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn objects_keep_their_bytes_and_facts() {
    let appliance = Appliance::start("objects", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    for (key, body) in [("empty", &b""[..]), ("one", b"\0"), ("some", &[7; 300_000])] {
        storage.put_object("bucket", key, body).await.expect("it is put");
        assert_eq!(storage.get_object("bucket", key).await.expect("it is there"), body);
    }
    let options = PutOptions::new().content_type("text/plain").cache_control("no-store").metadata("Who", "é");
    storage.put_object_with_options("bucket", "facts", b"0123456789", options).await.expect("it is put");
    let facts = storage.head_object("bucket", "facts").await.expect("it is there");
    assert_eq!((facts.key.as_str(), facts.size), ("facts", 10));
    assert_eq!(facts.content_type.as_deref(), Some("text/plain"));
    assert_eq!(facts.metadata, Metadata::from([("who".into(), "é".into())]));
    assert_eq!(facts.etag.as_deref(), Some("781e5e245d69b566979b86e28d23f2c7"));

    let range = |start, end| GetOptions { range_start: start, range_end: end, ..GetOptions::new() };
    for (options, expected) in [
        (range(Some(2), Some(4)), "234"),
        (range(Some(7), None), "789"),
        (range(None, Some(0)), "0"),
        (range(Some(8), Some(u64::MAX / 2)), "89"),
        (GetOptions { if_match: facts.etag.clone(), ..GetOptions::new() }, "0123456789"),
        (GetOptions { if_none_match: Some("other".into()), ..GetOptions::new() }, "0123456789"),
    ] {
        let read = storage.get_object_with_options("bucket", "facts", options).await;
        assert_eq!(read.expect("it is there"), expected);
    }
    let refuse = async |options| {
        storage.get_object_with_options("bucket", "facts", options).await.expect_err("it is refused")
    };
    let same = GetOptions { if_none_match: facts.etag.clone(), ..GetOptions::new() };
    assert!(refuse(same).await.is_not_modified());
    let other = GetOptions { if_match: Some("other".into()), ..GetOptions::new() };
    assert!(refuse(other).await.is_precondition_failed());
    let outside = refuse(range(Some(10), Some(12))).await;
    assert!(matches!(&outside, CloudError::Provider { code, .. } if code == "InvalidRange"), "{outside:?}");
    assert!(matches!(refuse(range(Some(4), Some(3))).await, CloudError::Validation(_)));
    assert!(storage.object_exists("bucket", "facts").await.expect("it is answered"));
    assert!(!storage.object_exists("bucket", "none").await.expect("it is answered"));
    assert!(!storage.object_exists("none", "none").await.expect("it is answered"));
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn awkward_keys_are_put_listed_copied_signed_and_deleted() {
    let appliance = Appliance::start("awkward", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let mut keys = test_keys();
    // What no XML document can hold.
    keys.push("bell\u{7}".into());
    let bare = Bare::new(&appliance);
    for key in &keys {
        storage.put_object("bucket", key, key.as_bytes()).await.expect(key);
        assert_eq!(storage.get_object("bucket", key).await.expect(key), key);
        assert_eq!(storage.head_object("bucket", key).await.expect(key).key, *key);
        let life = Duration::from_secs(600);
        let url = storage.presigned_get_url("bucket", key, life).await.expect("it is signed");
        assert_eq!(bare.send(Method::GET, &url, Outgoing::Empty).await, (StatusCode::OK, key.clone().into()));
        storage.copy_object("bucket", key, "bucket", "copy").await.expect(key);
        assert_eq!(storage.get_object("bucket", "copy").await.expect(key), key);
        let url = storage.presigned_put_url("bucket", key, life).await.expect("it is signed");
        let put = bare.send(Method::PUT, &url, Outgoing::Bytes(Bytes::from_static(b"second"))).await;
        assert_eq!(put.0, StatusCode::OK, "{key}: {put:?}");
        assert_eq!(storage.get_object("bucket", key).await.expect(key), "second");
    }
    storage.delete_object("bucket", "copy").await.expect("it is deleted");
    keys.sort();
    let listed = storage.list_stream("bucket", ListOptions::new().max_results(7)).collect(1_000).await;
    let listed: Vec<_> = listed.expect("they are listed").into_iter().map(|object| object.key).collect();
    assert_eq!(listed, keys);
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    storage.delete_objects("bucket", &all).await.expect("they are deleted");
    let rest = storage.list_objects("bucket", ListOptions::new()).await.expect("it is listed");
    assert!(rest.items.is_empty() && rest.next_token.0.is_none());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn pages_hold_objects_whatever_a_delimiter_groups() {
    let appliance = Appliance::start("pages", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    for key in ["a", "b/1", "b/2", "c/1", "d", "e/1", "f", "g"] {
        storage.put_object("bucket", key, b"").await.expect("it is put");
    }
    let options = ListOptions::new().delimiter("/").max_results(2);
    let first = storage.list_objects("bucket", options.clone()).await.expect("it is a page");
    let keys = |items: &[cloudkit_core::common::ObjectMetadata]| {
        items.iter().map(|object| object.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&first.items), ["a", "d"]);
    let token = first.next_token.0.expect("there is more");
    let next = storage.list_objects("bucket", options.continuation_token(token)).await.expect("it is a page");
    assert_eq!((keys(&next.items), next.next_token.0), (vec!["f".into(), "g".into()], None));
    let under = storage.list_objects("bucket", ListOptions::new().prefix("b/").delimiter("/")).await;
    assert_eq!(keys(&under.expect("it is a page").items), ["b/1", "b/2"]);
    let refused = storage.list_objects("bucket", ListOptions::new().continuation_token("none")).await;
    assert!(matches!(refused, Err(CloudError::Validation(_))), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn more_than_a_thousand_objects_are_deleted_in_batches() {
    let appliance = Appliance::start("batches", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let keys: Vec<String> = (0..2_100).map(|index| format!("k{index:04}")).collect();
    let mut puts = tokio::task::JoinSet::new();
    for key in keys.clone() {
        let storage = storage.clone();
        puts.spawn(async move { storage.put_object("bucket", &key, b"").await.expect("it is put") });
        if puts.len() == 16 {
            puts.join_next().await.expect("one runs").expect("it ends");
        }
    }
    puts.join_all().await;
    let page = storage.list_objects("bucket", ListOptions::new()).await.expect("it is a page");
    assert_eq!((page.items.len(), page.next_token.0.is_some()), (1_000, true));
    let listed = storage.list_stream("bucket", ListOptions::new()).collect(10_000).await;
    assert_eq!(listed.expect("they are listed").len(), keys.len());
    let all: Vec<&str> = keys.iter().map(String::as_str).chain(["not there"]).collect();
    storage.delete_objects("bucket", &all).await.expect("they are deleted");
    storage.delete_objects("bucket", &[]).await.expect("there is nothing to do");
    let left = storage.list_objects("bucket", ListOptions::new()).await.expect("it is a page");
    assert!(left.items.is_empty());
    let refused = storage.delete_objects("bucket", &["good", ""]).await.expect_err("a key is empty");
    assert!(matches!(refused, CloudError::Validation(_)), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn versions_are_kept_listed_read_and_deleted() {
    let appliance = Appliance::start("versions", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    storage.set_versioning("bucket", true).await.expect("it is set");
    let put = async |body: &'static str| {
        let put = storage.put_stream("bucket", "k&", body.into(), PutStreamOptions::new()).await;
        put.expect("it is put").version_id.expect("the bucket keeps versions")
    };
    let (first, second) = (put("one").await, put("two").await);
    storage.delete_object("bucket", "k&").await.expect("it is marked");
    let refused = storage.get_object("bucket", "k&").await.expect_err("it is deleted");
    assert!(is_missing(&refused, "Object", "bucket/k&"), "{refused:?}");
    let options = GetStreamOptions::new().version_id(&first);
    let old = storage.get_stream("bucket", "k&", options).await.expect("it is kept");
    assert_eq!(old.version_id.as_ref(), Some(&first));
    assert_eq!(old.body.collect(100).await.expect("it is whole"), "one");

    let (mut told, mut options) = (Vec::new(), ListOptions::new().max_results(1));
    loop {
        let page = storage.list_versions("bucket", options.clone()).await.expect("it is a page");
        assert!(page.items.len() <= 1);
        told.extend(page.items);
        let Some(token) = page.next_token.0 else { break };
        options = options.continuation_token(token);
    }
    let shape: Vec<_> = told.iter().map(|one| (one.is_latest, one.is_delete_marker, one.size)).collect();
    assert_eq!(shape, [(true, true, 0), (false, false, 3), (false, false, 3)]);
    assert_eq!((&told[1].version_id, &told[2].version_id), (&second, &first));
    for version in &told {
        storage.delete_version("bucket", "k&", &version.version_id).await.expect("it is deleted");
    }
    storage.set_versioning("bucket", false).await.expect("it is set");
    storage.delete_bucket("bucket").await.expect("nothing is left");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn tags_are_set_with_a_put_and_by_themselves() {
    let appliance = Appliance::start("tags", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let tags = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect::<Metadata>()
    };
    let options = PutStreamOptions::new().tag("a", "1 &").tag("ü", "=");
    storage.put_stream("bucket", "k", "x".into(), options).await.expect("it is put");
    let found = storage.get_tags("bucket", "k").await.expect("they are told");
    assert_eq!(found, tags(&[("a", "1 &"), ("ü", "=")]));
    storage.set_tags("bucket", "k", tags(&[("b", "2 +")])).await.expect("they are set");
    assert_eq!(storage.get_tags("bucket", "k").await.expect("they are told"), tags(&[("b", "2 +")]));
    storage.delete_tags("bucket", "k").await.expect("they are gone");
    assert!(storage.get_tags("bucket", "k").await.expect("they are told").is_empty());
    let refused = storage.set_tags("bucket", "k", tags(&[("", "x")])).await.expect_err("a key is empty");
    assert!(matches!(refused.kind, CloudError::Validation(_)), "{refused}");
    let refused = storage.get_tags("bucket", "none").await.expect_err("it is not there");
    assert!(is_missing(&refused.kind, "Object", "bucket/none"), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn refusals_name_everything_and_help() {
    let appliance = Appliance::start("refusals", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let listed = storage.list_stream("logs", ListOptions::new()).next().await.expect("there is an answer");
    assert!(listed.expect_err("there is no such bucket").detail.request_id.is_some());
    let put = storage.put_stream("logs", "a.txt", "x".into(), PutStreamOptions::new()).await;
    let failure = put.expect_err("there is no such bucket");
    assert!(is_missing(&failure.kind, "Bucket", "logs"), "{failure:?}");
    let line = failure.to_string();
    assert!(line.starts_with("zero PutObject logs/a.txt: NoSuchBucket (404): "), "{line}");
    assert!(line.ends_with(", 1 attempt]. Hint: create_bucket(\"logs\")"), "{line}");
    assert!(line.contains(" [request "), "{line}");

    for (error, resource, id) in [
        (storage.get_object("logs", "k").await.map(drop).expect_err("none"), "Bucket", "logs"),
        (storage.get_object("bucket", "k").await.map(drop).expect_err("none"), "Object", "bucket/k"),
        (storage.head_object("logs", "k").await.map(drop).expect_err("none"), "Bucket", "logs"),
        (storage.head_object("bucket", "k").await.map(drop).expect_err("none"), "Object", "bucket/k"),
        (storage.delete_object("logs", "k").await.expect_err("none"), "Bucket", "logs"),
        (storage.delete_objects("logs", &["k"]).await.expect_err("none"), "Bucket", "logs"),
        (
            storage.list_objects("logs", ListOptions::new()).await.map(drop).expect_err("none"),
            "Bucket",
            "logs",
        ),
        (storage.copy_object("bucket", "k", "bucket", "l").await.expect_err("none"), "Object", "bucket/k"),
        (storage.copy_object("logs", "k", "bucket", "l").await.expect_err("none"), "Bucket", "logs"),
    ] {
        assert!(is_missing(&error, resource, id), "{error:?} is not of {resource} {id}");
    }
    storage.put_object("bucket", "k", b"x").await.expect("it is put");
    let error = storage.copy_object("bucket", "k", "logs", "k").await.expect_err("none");
    assert!(is_missing(&error, "Bucket", "logs"), "{error:?}");

    let long = "k".repeat(1_025);
    for (bucket, key) in [("", "k"), ("bucket", ""), ("bucket", long.as_str())] {
        for refused in [
            storage.put_object(bucket, key, b"x").await,
            storage.get_object(bucket, key).await.map(drop),
            storage.delete_object(bucket, key).await,
            storage.presigned_get_url(bucket, key, Duration::from_secs(9)).await.map(drop),
        ] {
            assert!(matches!(refused, Err(CloudError::Validation(_))), "{bucket:?} {key:?}: {refused:?}");
        }
    }
    assert!(matches!(storage.delete_bucket("").await, Err(CloudError::Validation(_))));
    assert!(matches!(storage.create_bucket("Upper").await, Err(CloudError::Validation(_))));
    let week = Duration::from_secs(7 * 86_400 + 1);
    assert!(matches!(storage.presigned_put_url("bucket", "k", week).await, Err(CloudError::Validation(_))));
    let large = PutOptions::new().metadata("large", "v".repeat(4_096));
    let refused = storage.put_object_with_options("bucket", "k", b"", large).await;
    assert!(matches!(refused, Err(CloudError::Validation(_))), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn wrong_keys_and_regions_are_told_with_what_would_help() {
    let appliance = Appliance::start("strangers", &[], &[]);
    let keys = Arc::new(FixedKeys(Arc::new(Keys::new("AKIDEXAMPLE", "s3cr3t"))));
    let stranger = Caller::new(Settings { keys, ..appliance.settings() }).expect("the URL is good");
    let refused = ZeroClient::over(stranger, None, None).storage().list_buckets().await;
    let refused = refused.expect_err("nobody knows the key");
    assert!(matches!(refused, CloudError::Auth(AuthError::InvalidCredentials(_))), "{refused:?}");
    let detail = refused.detail().expect("it carries its facts");
    assert_eq!((detail.status, detail.code.as_deref()), (Some(403), Some("InvalidAccessKeyId")));
    assert!(detail.hint.is_some_and(|hint| hint.contains("data directory")));
    assert!(!format!("{refused:?}").contains("s3cr3t"));
    let elsewhere = Settings { region: "eu-west-1".into(), ..appliance.settings() };
    let elsewhere = Caller::new(elsewhere).expect("the URL is good");
    let refused = ZeroClient::over(elsewhere, None, None).storage().list_buckets().await;
    let hint = refused.expect_err("it is another region").detail().and_then(|detail| detail.hint);
    assert!(hint.is_some_and(|hint| hint.contains("Region::new")));
}

#[tokio::test]
async fn everything_that_the_store_announces_is_there() {
    let caller = Caller::new(settings()).expect("the URL is good");
    let capabilities = ZeroClient::over(caller, None, None).storage().capabilities();
    assert!(capabilities.iter().all(|one| one.support == Support::Yes), "{capabilities}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_request_of_the_programs_own_is_signed_and_answered() {
    let appliance = Appliance::start("raw", &[], &[]);
    let (client, _) = with_bucket(&appliance).await;
    let answer = client.request("s3", "GET", "/bucket").query("location", "").send().await;
    let answer = answer.expect("it is answered");
    assert_eq!(answer.status, StatusCode::OK);
    assert!(String::from_utf8_lossy(&answer.body).contains("LocationConstraint"));
    let put = client.request("s3", "PUT", "/bucket/raw").header("x-amz-meta-a", "b").body("raw").idempotent();
    assert!(put.send().await.expect("it is put").headers.contains_key("etag"));
    let refused = client.request("s3", "GET", "/none").send().await.expect_err("it is not there");
    assert!(refused.kind.is_not_found(), "{refused}");
    for bad in [client.request("s3", "G T", "/"), client.request("s3", "GET", "/").header("a b", "c")] {
        assert!(matches!(bad.send().await.expect_err("it is refused").kind, CloudError::Validation(_)));
    }
}

/// A client of HTTP that knows nothing of signatures.
struct Bare {
    pool: Arc<crate::pool::Pool>,
    url: String,
}

impl Bare {
    fn new(appliance: &Appliance) -> Bare {
        let target = crate::connect::Target::parse(&appliance.url).expect("it is one");
        let connector = Connector::new(target, super::appliance::patient());
        Bare { pool: crate::pool::Pool::new(connector, PoolOptions::default()), url: appliance.url.clone() }
    }

    async fn send(&self, method: Method, url: &str, mut body: Outgoing) -> (StatusCode, Bytes) {
        let path = url.strip_prefix(&self.url).expect("it begins so");
        let path_and_query = Bytes::copy_from_slice(path.as_bytes());
        let head = Head { method, path_and_query, headers: HeaderMap::new(), answer_bytes: 0 };
        let waits = Waits { head: PATIENCE, stall: PATIENCE, deadline: None };
        let mut reply = wire::send(&self.pool, head, &mut body, &waits).await.expect("it is answered");
        (reply.status, reply.body.collect(usize::MAX).await.expect("it is whole"))
    }
}
