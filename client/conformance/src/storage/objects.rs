//! Objects: bodies, facts, ranges, conditions, deletions and copies.

use super::bucket;
use crate::case::{Shown, refused};
use crate::subject::Subject;
use cloudkit_core::api::{GetOptions, ObjectStorage, PutOptions};
use cloudkit_core::common::CloudError;

pub(super) async fn what_was_put_comes_back<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for (key, body) in [("empty", &b""[..]), ("small", b"\0\r\n\xff"), ("large", &all)] {
        service.put_object(&name, key, body).await?;
        same!(key, service.get_object(&name, key).await?, body);
        let facts = service.head_object(&name, key).await?;
        same!(key, (facts.key.as_str(), facts.size), (key, body.len() as u64));
        holds!(key, facts.etag.is_some_and(|etag| !etag.is_empty() && !etag.contains('"')));
        same!(key, service.object_exists(&name, key).await?, true);
    }
    Ok(())
}

pub(super) async fn a_put_replaces_what_was_there<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let options = PutOptions::new().content_type("text/plain").metadata("a", "1");
    service.put_object_with_options(&name, "key", b"first body", options).await?;
    service.put_object(&name, "key", b"second").await?;
    same!("the body", service.get_object(&name, "key").await?, "second");
    let facts = service.head_object(&name, "key").await?;
    same!("the facts", (facts.size, facts.metadata.len()), (6, 0));
    Ok(())
}

/// Keys that each layer between here and the disk would like to change.
pub(super) fn odd_keys() -> Vec<String> {
    let odd = [
        " ",
        "a b",
        "+",
        "%",
        "%2F",
        "%25",
        "a//b",
        "/front",
        "end/",
        ".",
        "..",
        "a/./b",
        "a/../b",
        "?",
        "a?b=c",
        "#",
        "&",
        "=",
        "a&b=c",
        "quote\"'`",
        "<tag>",
        "back\\slash",
        "ünïcödé",
        "日本語/🦀",
        "e\u{301}",
        "é",
        "~-_.!*()",
        ",;:@$",
        "tab\there",
    ];
    let mut keys: Vec<String> = odd.iter().map(|key| (*key).to_owned()).collect();
    keys.push("k".repeat(1024));
    keys.push("ü".repeat(512));
    keys
}

pub(super) async fn odd_keys_are_kept_byte_by_byte<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let mut keys = odd_keys();
    for (index, key) in keys.iter().enumerate() {
        service.put_object(&name, key, format!("body {index}").as_bytes()).await?;
    }
    for (index, key) in keys.iter().enumerate() {
        same!(key, service.get_object(&name, key).await?, format!("body {index}"));
        same!(key, service.head_object(&name, key).await?.key, *key);
        service.copy_object(&name, key, &name, "copy").await?;
        same!(key, service.get_object(&name, "copy").await?, format!("body {index}"));
    }
    service.delete_object(&name, "copy").await?;
    keys.sort();
    same!("listed", super::keys(service, &name, Default::default()).await?, keys);
    let (some, rest) = keys.split_at(10);
    for key in some {
        service.delete_object(&name, key).await?;
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    service.delete_objects(&name, &rest).await?;
    same!("listed in the end", super::keys(service, &name, Default::default()).await?.len(), 0);
    Ok(())
}

pub(super) async fn keys_that_no_object_may_have_are_refused<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    for key in [String::new(), "k".repeat(1025), "ü".repeat(513)] {
        let what = format!("a key of {} bytes", key.len());
        refused(&what, service.put_object(&name, &key, b"x").await, "Validation")?;
        refused(&what, service.get_object(&name, &key).await, "Validation")?;
        refused(&what, service.delete_object(&name, &key).await, "Validation")?;
    }
    Ok(())
}

pub(super) async fn headers_and_metadata_come_back<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let options = PutOptions {
        content_encoding: Some(String::from("identity")),
        ..PutOptions::new()
            .content_type("application/json; charset=utf-8")
            .cache_control("max-age=60")
            .metadata("owner", "somebody else")
            .metadata("Mixed-Case", "a=b; c")
    };
    service.put_object_with_options(&name, "key", b"{}", options).await?;
    let facts = service.head_object(&name, "key").await?;
    same!("the media type", facts.content_type.as_deref(), Some("application/json; charset=utf-8"));
    let mut metadata: Vec<_> =
        facts.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    metadata.sort_unstable();
    same!("the metadata", metadata, [("mixed-case", "a=b; c"), ("owner", "somebody else")]);
    let large = PutOptions::new().metadata("large", "v".repeat(4096));
    let put = service.put_object_with_options(&name, "large", b"", large).await;
    refused("4 KiB of metadata", put, "Validation")
}

pub(super) async fn a_missing_object_is_not_found<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let error = service.get_object(&name, "a/b").await.err();
    let named = |error: &CloudError| match error {
        CloudError::NotFound { resource_type, resource_id } => {
            resource_type == "Object" && *resource_id == format!("{name}/a/b")
        }
        _ => false,
    };
    holds!(format!("{error:?}"), error.as_ref().is_some_and(named));
    refused("head_object", service.head_object(&name, "a/b").await, "NotFound Object")?;
    same!("object_exists", service.object_exists(&name, "a/b").await?, false);
    Ok(())
}

pub(super) async fn a_range_includes_both_ends<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"0123456789").await?;
    let range = |start, end| GetOptions { range_start: start, range_end: end, ..GetOptions::new() };
    for (options, expected) in [
        (GetOptions::new().range(2, 4), "234"),
        (GetOptions::new().range(0, 0), "0"),
        (GetOptions::new().range(8, 100), "89"),
        (range(Some(7), None), "789"),
        (range(None, Some(2)), "012"),
        (GetOptions::new().range(0, u64::MAX / 2), "0123456789"),
        (GetOptions::new(), "0123456789"),
    ] {
        let what = format!("{options:?}");
        same!(what, service.get_object_with_options(&name, "key", options).await?, expected);
    }
    Ok(())
}

pub(super) async fn a_range_outside_of_the_object_is_refused<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"0123456789").await?;
    service.put_object(&name, "empty", b"").await?;
    let get = async |key, start, end| {
        service.get_object_with_options(&name, key, GetOptions::new().range(start, end)).await
    };
    refused("behind the end", get("key", 10, 12).await, "Provider InvalidRange")?;
    refused("of an empty object", get("empty", 0, 0).await, "Provider InvalidRange")?;
    refused("turned around", get("key", 4, 3).await, "Validation")
}

pub(super) async fn if_match_reads_the_known_object_only<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"one").await?;
    let etag = service.head_object(&name, "key").await?.etag;
    let options = || GetOptions { if_match: etag.clone(), ..GetOptions::new() };
    same!("the known one", service.get_object_with_options(&name, "key", options()).await?, "one");
    service.put_object(&name, "key", b"two").await?;
    let read = service.get_object_with_options(&name, "key", options()).await;
    refused("another one", read, "PreconditionFailed")?;
    let read = service.get_object_with_options(&name, "none", options()).await;
    refused("none", read, "NotFound Object")
}

pub(super) async fn if_none_match_tells_that_nothing_changed<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.put_object(&name, "key", b"one").await?;
    let etag = service.head_object(&name, "key").await?.etag;
    let options = || GetOptions { if_none_match: etag.clone(), ..GetOptions::new() };
    let read = service.get_object_with_options(&name, "key", options()).await;
    refused("the known one", read, "NotModified")?;
    service.put_object(&name, "key", b"two").await?;
    same!("another one", service.get_object_with_options(&name, "key", options()).await?, "two");
    Ok(())
}

pub(super) async fn deleting_what_is_not_there_is_a_success<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    service.delete_object(&name, "none").await?;
    service.delete_objects(&name, &["none", "neither"]).await?;
    service.put_object(&name, "key", b"x").await?;
    service.delete_object(&name, "key").await?;
    service.delete_object(&name, "key").await?;
    same!("the object", service.object_exists(&name, "key").await?, false);
    Ok(())
}

pub(super) async fn more_keys_than_one_request_takes_are_deleted<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let keys: Vec<String> = (0..1_005).map(|index| format!("key {index}")).collect();
    // A few real ones at both ends; the rest is missing, which makes no difference to a deletion.
    for key in [0, 1, 999, 1_000, 1_004] {
        service.put_object(&name, &keys[key], b"").await?;
    }
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    service.delete_objects(&name, &all).await?;
    same!("what is left", super::keys(service, &name, Default::default()).await?.len(), 0);
    Ok(service.delete_objects(&name, &[]).await?)
}

pub(super) async fn a_copy_has_body_and_facts_of_its_source<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let (from, to) = (bucket(service, subject).await?, bucket(service, subject).await?);
    let options = PutOptions::new().content_type("text/csv").metadata("a", "1");
    service.put_object_with_options(&from, "a b+c%", b"body", options).await?;
    service.copy_object(&from, "a b+c%", &to, "copy").await?;
    service.delete_object(&from, "a b+c%").await?;
    same!("the body", service.get_object(&to, "copy").await?, "body");
    let facts = service.head_object(&to, "copy").await?;
    same!("the media type", facts.content_type.as_deref(), Some("text/csv"));
    same!("the metadata", facts.metadata.get("a").map(String::as_str), Some("1"));
    Ok(())
}

pub(super) async fn a_copy_of_nothing_is_not_found<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    refused("copy_object", service.copy_object(&name, "none", &name, "copy").await, "NotFound Object")?;
    same!("the copy", service.object_exists(&name, "copy").await?, false);
    Ok(())
}
