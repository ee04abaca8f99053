//! ZeroStore's streams against the appliance itself: parts, conditions, breaks, drops.

use super::appliance::{Appliance, PATIENCE};
use super::between::Between;
use super::storage::with_bucket;
use super::*;
use crate::ZeroClient;
use crate::s3::ZeroStore;
use cloudkit_core::api::{ByteRange, GetStreamOptions, ObjectStorage, PutStreamOptions};
use cloudkit_core::common::{ByteStream, CloudError, CloudResult};
use futures_core::Stream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

const MIB: usize = 1024 * 1024;

fn data(bytes: usize) -> Bytes {
    (0..bytes).map(|index| (index * 31 % 251) as u8).collect::<Vec<u8>>().into()
}

/// Pieces of bytes that can be read once, and then an end, an error, or nothing for ever.
struct Pieces {
    rest: Bytes,
    piece: usize,
    last: Last,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    End,
    Error,
    Never,
}

impl Stream for Pieces {
    type Item = CloudResult<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.rest.is_empty() {
            return match self.last {
                Last::End => Poll::Ready(None),
                Last::Error => {
                    Poll::Ready(Some(Err(CloudError::Io(std::io::Error::other("the disk broke")))))
                }
                Last::Never => Poll::Pending,
            };
        }
        let length = self.piece.min(self.rest.len());
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}

fn stream(bytes: &Bytes, piece: usize, last: Last, length: Option<u64>) -> ByteStream {
    ByteStream::from_stream(Pieces { rest: bytes.clone(), piece, last }, length)
}

async fn read(storage: &ZeroStore, key: &str, options: GetStreamOptions) -> Bytes {
    let object = storage.get_stream("bucket", key, options).await.expect("it is there");
    object.body.collect(usize::MAX).await.expect("it is whole")
}

/// How many uploads the appliance knows of.
async fn uploads(client: &ZeroClient) -> usize {
    let listed = client.request("s3", "GET", "/bucket").query("uploads", "").send().await;
    let root = crate::xml::Element::parse(&listed.expect("it is listed").body).expect("it is XML");
    root.children("Upload").count()
}

/// Waits until the appliance knows of so many.
async fn until_uploads(client: &ZeroClient, count: usize) {
    let arrive = async {
        while uploads(client).await != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrive).await.expect("it comes to that");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn streams_of_every_length_go_up_and_come_back() {
    let appliance = Appliance::start("lengths", &[], &[]);
    let (client, storage) = with_bucket(&appliance).await;
    for bytes in [0, 1, 70_000, 16 * MIB, 16 * MIB + 1, 40 * MIB] {
        let body = data(bytes);
        let in_parts = bytes > 16 * MIB;
        for (name, stream) in [
            ("whole", ByteStream::from(body.clone())),
            ("known", stream(&body, 999_983, Last::End, Some(bytes as u64))),
            ("unknown", stream(&body, 65_537, Last::End, None)),
        ] {
            let options = PutStreamOptions::new().content_type("a/b").metadata("name", name).tag("t", name);
            let put = storage.put_stream("bucket", name, stream, options).await.expect(name);
            let etag = put.etag.expect("it is told");
            assert_eq!(etag.contains('-'), in_parts, "{name} {bytes}");
            let checksum = put.checksum.expect("the appliance computes one");
            assert_eq!(checksum.value, crate::checksum::crc64nvme_of(&body), "{name} {bytes}");
            assert!(read(&storage, name, GetStreamOptions::new()).await == body, "{name} {bytes}");
            let facts = storage.head_object("bucket", name).await.expect("it is there");
            assert_eq!((facts.size, facts.etag), (bytes as u64, Some(etag)), "{name}");
            assert_eq!((facts.content_type.as_deref(), facts.metadata["name"].as_str()), (Some("a/b"), name));
            assert_eq!(storage.get_tags("bucket", name).await.expect("they are told")["t"], name);
        }
        storage.put_object("bucket", "slice", &body).await.expect("it is put");
        assert!(storage.get_object("bucket", "slice").await.expect("it is there") == body, "{bytes}");
    }
    assert_eq!(uploads(&client).await, 0);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn of_a_stream_that_was_read_in_part_the_rest_is_put() {
    let appliance = Appliance::start("rests", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let body = data(300_000);
    for length in [None, Some(300_000)] {
        let mut rest = stream(&body, 100_000, Last::End, length);
        rest.next().await.expect("there is one").expect("it does not fail");
        storage.put_stream("bucket", "k", rest, PutStreamOptions::new()).await.expect("it is put");
        assert!(read(&storage, "k", GetStreamOptions::new()).await == body[100_000..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn uploads_that_are_dropped_on_several_threads_leave_nothing_behind() {
    let appliance = Appliance::start("threads", &[], &[]);
    let (client, storage) = with_bucket(&appliance).await;
    let body = data(12 * MIB);
    let mut puts = tokio::task::JoinSet::new();
    for number in 0..24_u64 {
        let (storage, body) = (storage.clone(), body.clone());
        puts.spawn(async move {
            let endless = stream(&body, 999_983, Last::Never, None);
            let options = PutStreamOptions::new().part_bytes(5 * MIB as u64);
            let put = storage.put_stream("bucket", "k", endless, options);
            // Wherever the machine has come to by then: no outcome depends on it.
            tokio::time::timeout(Duration::from_millis(number * 3), put).await.expect_err("it never ends");
        });
    }
    puts.join_all().await;
    until_uploads(&client, 0).await;
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn conditions_hold_for_small_and_large_bodies() {
    let appliance = Appliance::start("conditions", &[], &[]);
    let (client, storage) = with_bucket(&appliance).await;
    for bytes in [3, 6 * MIB] {
        let body = data(bytes);
        let key = bytes.to_string();
        let options = || PutStreamOptions::new().part_bytes(5 * MIB as u64);
        let put = async |options, body: &Bytes| {
            storage.put_stream("bucket", &key, stream(body, 999_983, Last::End, None), options).await
        };
        let refused = put(options().if_match("other"), &body).await.expect_err("there is none yet");
        assert!(refused.kind.is_not_found(), "{refused}");
        let first = put(options().if_absent(), &body).await.expect("there was none");
        let refused = put(options().if_absent(), &data(bytes + 1)).await.expect_err("there is one");
        assert!(refused.kind.is_precondition_failed(), "{refused}");
        let refused = put(options().if_match("other"), &body).await.expect_err("it has another tag");
        assert!(refused.kind.is_precondition_failed(), "{refused}");
        let etag = first.etag.expect("it is told");
        put(options().if_match(etag), &data(bytes + 1)).await.expect("it has this tag");
        assert_eq!(storage.head_object("bucket", &key).await.expect("it is there").size, bytes as u64 + 1);
    }
    assert_eq!(uploads(&client).await, 0);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn an_upload_that_fails_or_is_dropped_leaves_nothing_behind() {
    let appliance = Appliance::start("drops", &[], &[]);
    let (client, storage) = with_bucket(&appliance).await;
    let body = data(12 * MIB);
    let options = || PutStreamOptions::new().part_bytes(5 * MIB as u64);
    let broken = stream(&body, 999_983, Last::Error, None);
    let failure = storage.put_stream("bucket", "k", broken, options()).await.expect_err("the disk broke");
    assert!(matches!(failure.kind, CloudError::Io(_)), "{failure}");
    // The failure comes when the upload is gone.
    assert_eq!(uploads(&client).await, 0);

    let endless = stream(&body, 999_983, Last::Never, None);
    let put = {
        let storage = storage.clone();
        tokio::spawn(async move { storage.put_stream("bucket", "k", endless, options()).await.map(drop) })
    };
    until_uploads(&client, 1).await;
    put.abort();
    assert!(put.await.expect_err("it was ended").is_cancelled());
    until_uploads(&client, 0).await;

    // Dropped after so many polls: before, while and after the upload is made.
    for polls in 0..40 {
        let endless = stream(&body, 999_983, Last::Never, None);
        let mut put = pin!(storage.put_stream("bucket", "k", endless, options()));
        for _ in 0..polls {
            let mut context = Context::from_waker(Waker::noop());
            assert!(put.as_mut().poll(&mut context).is_pending());
            tokio::task::yield_now().await;
            if polls % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    until_uploads(&client, 0).await;
    let refused = storage.head_object("bucket", "k").await.expect_err("nothing was put");
    assert!(refused.is_not_found());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_deadline_ends_an_upload_and_takes_it_back() {
    let appliance = Appliance::start("deadline", &[], &[]);
    let (client, storage) = with_bucket(&appliance).await;
    let endless = stream(&data(12 * MIB), 999_983, Last::Never, None);
    let options = PutStreamOptions::new().part_bytes(5 * MIB as u64).deadline(Duration::from_secs(30));
    let failure = storage.put_stream("bucket", "k", endless, options).await.expect_err("it never ends");
    assert!(
        matches!(&failure.kind, CloudError::Timeout { operation, .. } if operation == "PutObject"),
        "{failure:?}"
    );
    until_uploads(&client, 0).await;
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn ranges_are_read_one_by_one_and_several_at_once() {
    let appliance = Appliance::start("ranges", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let body = data(70 * MIB + 7);
    let size = body.len() as u64;
    let put = storage.put_stream("bucket", "large", body.clone().into(), PutStreamOptions::new()).await;
    let etag = put.expect("it is put").etag.expect("it is told");
    for (range, start) in [
        (None, 0),
        (Some(ByteRange::From(5)), 5),
        (Some(ByteRange::Between(1_000, 1_010)), 1_000),
        (Some(ByteRange::Last(3)), size - 3),
        (Some(ByteRange::Between(3, size + 10)), 3),
    ] {
        let end = range.map_or(size, |range| range.of(size).expect("it is within").end);
        for parallel in [1, 4] {
            let mut options = GetStreamOptions::new().parallel_ranges(parallel).if_match(&etag);
            options.range = range;
            let object = storage.get_stream("bucket", "large", options).await.expect("it is there");
            assert_eq!((object.offset, object.meta.size), (start, size), "{range:?}");
            assert_eq!(object.body.length(), Some(end - start));
            let read = object.body.collect(usize::MAX).await.expect("it is whole");
            assert!(read == body[start as usize..end as usize], "{range:?} {parallel}");
        }
    }
    for parallel in [1, 4] {
        let options = || GetStreamOptions::new().parallel_ranges(parallel);
        let open = async |key: &str, options| storage.get_stream("bucket", key, options).await.map(drop);
        let refused = open("large", options().if_none_match(&etag)).await.expect_err("it is the same");
        assert!(refused.kind.is_not_modified(), "{refused}");
        let refused = open("large", options().if_match("other")).await.expect_err("it is another");
        assert!(refused.kind.is_precondition_failed(), "{refused}");
        let refused =
            open("large", options().range(ByteRange::From(size))).await.expect_err("nothing is there");
        assert!(
            matches!(&refused.kind, CloudError::Provider { code, .. } if code == "InvalidRange"),
            "{refused}"
        );
        let refused = open("none", options()).await.expect_err("it is not there");
        assert!(
            matches!(&refused.kind, CloudError::NotFound { resource_type, .. } if resource_type == "Object")
        );
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_copy_in_parts_keeps_bytes_facts_and_tags() {
    let appliance = Appliance::start("copies", &[], &[]);
    let (client, storage) = with_bucket(&appliance).await;
    let body = data(12 * MIB + 5);
    let options = PutStreamOptions::new().content_type("a/b").metadata("m", "é").tag("t", "1 &");
    storage.put_stream("bucket", "from", body.clone().into(), options).await.expect("it is put");
    storage
        .copy_parts_for_test(("bucket", "from"), ("bucket", "to"), 5 * MIB as u64)
        .await
        .expect("it is copied");
    assert!(read(&storage, "to", GetStreamOptions::new()).await == body);
    let facts = storage.head_object("bucket", "to").await.expect("it is there");
    assert_eq!((facts.content_type.as_deref(), facts.metadata["m"].as_str()), (Some("a/b"), "é"));
    assert_eq!(storage.get_tags("bucket", "to").await.expect("they are told")["t"], "1 &");
    let refused = storage.copy_parts_for_test(("bucket", "none"), ("bucket", "to"), 5 * MIB as u64).await;
    assert!(refused.expect_err("it is not there").kind.is_not_found());
    assert_eq!(uploads(&client).await, 0);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_download_that_breaks_goes_on_where_it_was() {
    let appliance = Appliance::start("breaks", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    let body = data(10 * MIB);
    storage.put_object("bucket", "k", &body).await.expect("it is put");
    let between = Between::start(&appliance.url, 3 * MIB, 3).await;
    let settings = Settings { url: between.url.clone(), ..appliance.settings() };
    let client = ZeroClient::over(Caller::new(settings).expect("the URL is good"), None, None);
    assert!(read(&client.storage(), "k", GetStreamOptions::new()).await == body);
    assert!(between.connections() >= 4, "each cut needs a further connection");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_download_whose_object_changed_meanwhile_ends_with_an_error() {
    let appliance = Appliance::start("changes", &[], &[]);
    let (_, storage) = with_bucket(&appliance).await;
    storage.put_object("bucket", "k", &data(10 * MIB)).await.expect("it is put");
    let between = Between::start(&appliance.url, 3 * MIB, 1).await;
    let settings = Settings { url: between.url.clone(), ..appliance.settings() };
    let client = ZeroClient::over(Caller::new(settings).expect("the URL is good"), None, None);
    let object = client.storage().get_stream("bucket", "k", GetStreamOptions::new()).await;
    let object = object.expect("it is there");
    storage.put_object("bucket", "k", &data(10 * MIB + 1)).await.expect("it is put");
    let refused = object.body.collect(usize::MAX).await.expect_err("the rest is another object's");
    assert!(refused.to_string().contains("PreconditionFailed"), "{refused}");
}
