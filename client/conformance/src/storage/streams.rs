//! What is new beside the old methods: streams, conditions, versions, tags; and signed addresses.

use super::{bucket, keys};
use crate::case::{Shown, Wrong, refused, wrong};
use crate::subject::Subject;
use bytes::Bytes;
use cloudkit_core::api::{
    ByteRange, GetStreamOptions, ListOptions, ObjectStorage, ObjectVersion, PutStreamOptions,
};
use cloudkit_core::common::{ByteStream, CloudError, Metadata};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn cannot_open() -> Wrong {
    Wrong::CannotAsk(String::from("the subject opens no signed addresses"))
}

pub(super) async fn a_signed_address_reads_without_credentials<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    for (index, key) in super::objects::odd_keys().iter().enumerate() {
        service.put_object(&name, key, format!("body {index}").as_bytes()).await?;
        let url = service.presigned_get_url(&name, key, HOUR).await?;
        let read = subject.open(&url).await.ok_or_else(cannot_open)?.map_err(wrong)?;
        same!(key, read, format!("body {index}"));
    }
    let url = service.presigned_get_url(&name, "none", HOUR).await?;
    holds!("of nothing", subject.open(&url).await.is_some_and(|read| read.is_err()));
    Ok(())
}

pub(super) async fn a_signed_address_writes_without_credentials<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let url = service.presigned_put_url(&name, "a b+c%", HOUR).await?;
    subject.open_put(&url, b"body").await.ok_or_else(cannot_open)?.map_err(wrong)?;
    same!("the object", service.get_object(&name, "a b+c%").await?, "body");
    holds!("read by it", subject.open(&url).await.is_none_or(|read| read.is_err()));
    Ok(())
}

pub(super) async fn a_signed_address_for_more_than_a_week_is_refused<
    S: ObjectStorage + ?Sized,
    U: Subject,
>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let week = HOUR * 24 * 7;
    service.presigned_get_url(&name, "key", week).await?;
    let longer = week + Duration::from_secs(1);
    refused("to read", service.presigned_get_url(&name, "key", longer).await, "Validation")?;
    refused("to write", service.presigned_put_url(&name, "key", longer).await, "Validation")
}

pub(super) async fn a_signed_address_ends<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"body").await?;
    let url = service.presigned_get_url(&name, "key", HOUR).await?;
    subject.pass(HOUR - Duration::from_secs(60)).await;
    holds!("before", subject.open(&url).await.ok_or_else(cannot_open)?.is_ok());
    subject.pass(Duration::from_secs(61)).await;
    holds!("after", subject.open(&url).await.ok_or_else(cannot_open)?.is_err());
    Ok(())
}

/// A body of pieces that nobody knows the length of.
fn pieces(pieces: Vec<Result<Bytes, CloudError>>) -> ByteStream {
    let mut pieces = pieces.into_iter();
    let items = cloudkit_core::common::ItemStream::pages(move |_: Option<()>| {
        let next = pieces.next();
        async move {
            match next {
                None => Ok((Vec::new(), None)),
                Some(Ok(piece)) => Ok((vec![piece], Some(()))),
                Some(Err(error)) => Err(error.into()),
            }
        }
    });
    ByteStream::from_stream(Plain(items), None)
}

/// The same pieces with the errors of a body.
struct Plain(cloudkit_core::common::ItemStream<'static, Bytes>);

impl futures_core::Stream for Plain {
    type Item = Result<Bytes, CloudError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let next = std::pin::Pin::new(&mut self.0).poll_next(context);
        next.map(|item| item.map(|item| item.map_err(CloudError::from)))
    }
}

pub(super) async fn a_stream_of_unknown_length_is_put_and_read_whole<
    S: ObjectStorage + ?Sized,
    U: Subject,
>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let piece = Bytes::from(vec![b'x'; 100_000]);
    let body = pieces((0..30).map(|_| Ok(piece.clone())).collect());
    let options = PutStreamOptions::new().content_type("text/plain").metadata("a", "1");
    let put = service.put_stream(&name, "key", body, options).await?;
    let object = service.get_stream(&name, "key", GetStreamOptions::new()).await?;
    same!("the size", object.meta.size, 3_000_000);
    same!("the media type", object.meta.content_type.as_deref(), Some("text/plain"));
    same!("the metadata", object.meta.metadata.get("a").map(String::as_str), Some("1"));
    holds!("the entity tag", put.etag.is_none() || put.etag == object.meta.etag);
    let body = object.body.collect(4_000_000).await?;
    holds!("the body", body.len() == 3_000_000 && body.iter().all(|byte| *byte == b'x'));
    service.put_stream(&name, "empty", ByteStream::empty(), PutStreamOptions::new()).await?;
    same!("the empty one", service.head_object(&name, "empty").await?.size, 0);
    Ok(())
}

pub(super) async fn a_stream_tells_facts_and_place_of_a_part<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"0123456789").await?;
    for (range, offset, part) in [
        (ByteRange::Between(2, 4), 2, "234"),
        (ByteRange::From(7), 7, "789"),
        (ByteRange::Last(3), 7, "789"),
        (ByteRange::Last(30), 0, "0123456789"),
    ] {
        let object = service.get_stream(&name, "key", GetStreamOptions::new().range(range)).await?;
        same!(range.to_string(), (object.meta.size, object.offset), (10, offset));
        same!(range.to_string(), object.body.collect(100).await?, part);
    }
    let outside = service.get_stream(&name, "key", GetStreamOptions::new().range(ByteRange::From(10))).await;
    refused("outside", outside, "Provider InvalidRange")?;
    let none = service.get_stream(&name, "none", GetStreamOptions::new()).await;
    refused("of nothing", none, "NotFound Object")
}

pub(super) async fn a_stream_is_read_on_a_condition<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"one").await?;
    let etag = service.head_object(&name, "key").await?.etag.unwrap_or_default();
    let get = async |options| service.get_stream(&name, "key", options).await;
    same!("the known one", get(GetStreamOptions::new().if_match(&etag)).await?.body.collect(9).await?, "one");
    refused("unchanged", get(GetStreamOptions::new().if_none_match(&etag)).await, "NotModified")?;
    service.put_object(&name, "key", b"two").await?;
    refused("another one", get(GetStreamOptions::new().if_match(&etag)).await, "PreconditionFailed")?;
    same!("changed", get(GetStreamOptions::new().if_none_match(&etag)).await?.body.collect(9).await?, "two");
    Ok(())
}

pub(super) async fn a_stream_tells_the_headers_that_it_was_put_with<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let options = PutStreamOptions::new().cache_control("max-age=60").content_encoding("x-own");
    // Known and unknown lengths take different ways.
    let known = ByteStream::from(Bytes::from_static(b"known"));
    service.put_stream(&name, "known", known, options.clone()).await?;
    service.put_stream(&name, "unknown", pieces(vec![Ok(Bytes::from_static(b"u"))]), options).await?;
    service.copy_object(&name, "known", &name, "copied").await?;
    for key in ["known", "unknown", "copied"] {
        let object = service.get_stream(&name, key, GetStreamOptions::new()).await?;
        let headers = (object.cache_control.as_deref(), object.content_encoding.as_deref());
        same!(key, headers, (Some("max-age=60"), Some("x-own")));
    }
    service.put_object(&name, "plain", b"x").await?;
    let object = service.get_stream(&name, "plain", GetStreamOptions::new()).await?;
    same!("without any", (object.cache_control, object.content_encoding), (None, None));
    Ok(())
}

pub(super) async fn a_body_that_fails_writes_nothing<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"before").await?;
    let broken = CloudError::Io(std::io::ErrorKind::UnexpectedEof.into());
    let body = pieces(vec![Ok(Bytes::from_static(b"half")), Err(broken)]);
    holds!("the put", service.put_stream(&name, "key", body, PutStreamOptions::new()).await.is_err());
    same!("the object", service.get_object(&name, "key").await?, "before");
    Ok(())
}

pub(super) async fn put_if_absent_writes_once<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let put = async |body: &'static str| {
        service.put_stream(&name, "key", body.into(), PutStreamOptions::new().if_absent()).await
    };
    put("one").await?;
    refused("again", put("two").await, "PreconditionFailed")?;
    same!("the object", service.get_object(&name, "key").await?, "one");
    service.delete_object(&name, "key").await?;
    put("three").await?;
    same!("the new object", service.get_object(&name, "key").await?, "three");
    Ok(())
}

pub(super) async fn put_if_match_writes_over_the_known_object_only<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"one").await?;
    let etag = service.head_object(&name, "key").await?.etag.unwrap_or_default();
    let put = async |key: &str, body: &'static str| {
        service.put_stream(&name, key, body.into(), PutStreamOptions::new().if_match(&etag)).await
    };
    put("key", "two").await?;
    refused("the old tag", put("key", "three").await, "PreconditionFailed")?;
    refused("no object", put("none", "three").await, "NotFound Object")?;
    same!("the object", service.get_object(&name, "key").await?, "two");
    Ok(())
}

/// All versions, page after page.
async fn versions<S: ObjectStorage + ?Sized>(
    service: &S,
    bucket: &str,
    max: u32,
) -> Result<Vec<ObjectVersion>, Wrong> {
    let (mut all, mut options) = (Vec::new(), ListOptions::new().max_results(max));
    loop {
        let page = service.list_versions(bucket, options.clone()).await?;
        all.extend(page.items);
        if all.len() > super::LISTED_COUNT_MAX {
            return Err(wrong("the listing has no end"));
        }
        match page.next_token.0 {
            None => return Ok(all),
            Some(token) => options.continuation_token = Some(token),
        }
    }
}

pub(super) async fn old_versions_are_kept_and_told<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"zero").await?;
    service.set_versioning(&name, true).await?;
    service.put_object(&name, "key", b"one").await?;
    service.put_object(&name, "key", b"two!").await?;
    let all = versions(service, &name, 1000).await?;
    let told: Vec<_> = all.iter().map(|one| (one.size, one.is_latest, one.is_delete_marker)).collect();
    same!("the versions", told, [(4, true, false), (3, false, false), (4, false, false)]);
    for (version, body) in all.iter().zip(["two!", "one", "zero"]) {
        let options = GetStreamOptions::new().version_id(&version.version_id);
        same!(body, service.get_stream(&name, "key", options).await?.body.collect(100).await?, body);
    }
    same!("the newest", service.get_object(&name, "key").await?, "two!");
    let foreign = GetStreamOptions::new().version_id("0".repeat(32));
    let read = service.get_stream(&name, "key", foreign).await;
    holds!("a version that never was", read.is_err());
    Ok(())
}

pub(super) async fn a_deleted_object_leaves_a_marker<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.set_versioning(&name, true).await?;
    service.put_object(&name, "key", b"one").await?;
    service.delete_object(&name, "key").await?;
    same!("the object", service.object_exists(&name, "key").await?, false);
    same!("the keys", keys(service, &name, ListOptions::new()).await?.len(), 0);
    refused("the bucket", service.delete_bucket(&name).await, "Conflict")?;
    let all = versions(service, &name, 1000).await?;
    same!("markers", all.iter().map(|one| one.is_delete_marker).collect::<Vec<_>>(), [true, false]);
    service.delete_version(&name, "key", &all[0].version_id).await?;
    same!("the object again", service.get_object(&name, "key").await?, "one");
    service.delete_version(&name, "key", &all[1].version_id).await?;
    service.delete_version(&name, "key", &all[1].version_id).await?;
    same!("what is left", versions(service, &name, 1000).await?.len(), 0);
    Ok(service.delete_bucket(&name).await?)
}

pub(super) async fn pages_of_versions_together_are_all_versions<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.set_versioning(&name, true).await?;
    for round in 0..3 {
        for key in ["a b", "c/d", "é+%"] {
            service.put_object(&name, key, format!("{round}").as_bytes()).await?;
        }
    }
    let all = versions(service, &name, 1000).await?;
    let keys: Vec<&str> = all.iter().map(|version| version.key.as_str()).collect();
    same!("the keys", keys, ["a b", "a b", "a b", "c/d", "c/d", "c/d", "é+%", "é+%", "é+%"]);
    for max in [1, 2, 4, 9] {
        same!(format!("pages of {max}"), versions(service, &name, max).await?, all);
    }
    Ok(())
}

fn tags(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) async fn tags_are_set_replaced_and_taken_away<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "a b+c%", b"x").await?;
    same!("at first", service.get_tags(&name, "a b+c%").await?, tags(&[]));
    for set in [tags(&[("a", "1"), ("B c", "+ - = . _ : / @")]), tags(&[("é", "")]), tags(&[])] {
        service.set_tags(&name, "a b+c%", set.clone()).await?;
        same!("what was set", service.get_tags(&name, "a b+c%").await?, set);
    }
    service.set_tags(&name, "a b+c%", tags(&[("a", "1")])).await?;
    service.delete_tags(&name, "a b+c%").await?;
    same!("in the end", service.get_tags(&name, "a b+c%").await?, tags(&[]));
    refused("of nothing", service.get_tags(&name, "none").await, "NotFound Object")?;
    refused("for nothing", service.set_tags(&name, "none", tags(&[("a", "1")])).await, "NotFound Object")
}

pub(super) async fn tags_go_with_a_put<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let options = PutStreamOptions::new().tag("a", "1 & 2").tag("é", "=");
    service.put_stream(&name, "key", "x".into(), options).await?;
    same!("the tags", service.get_tags(&name, "key").await?, tags(&[("a", "1 & 2"), ("é", "=")]));
    service.put_object(&name, "key", b"y").await?;
    same!("of the next one", service.get_tags(&name, "key").await?, tags(&[]));
    Ok(())
}

pub(super) async fn tags_that_break_a_rule_are_refused<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"x").await?;
    let eleven = (0..11).map(|index| (format!("k{index}"), String::new())).collect();
    let long = "k".repeat(129);
    for set in [eleven, tags(&[("", "v")]), tags(&[(&long, "v")]), tags(&[("aws:x", "v")])] {
        refused(&format!("{set:?}"), service.set_tags(&name, "key", set).await, "Validation")?;
    }
    Ok(())
}
