//! Listings: order, pages, prefixes and delimiters.

use super::{bucket, keys};
use crate::case::{Shown, Wrong, refused, wrong};
use crate::subject::Subject;
use cloudkit_core::api::{ListOptions, ObjectStorage};

pub(super) async fn keys_are_listed_in_the_order_of_their_bytes<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    // U+FFE6 stands before U+1F980 by their bytes, and behind it by the units of UTF-16.
    let mut wanted =
        ["b", "a", "Z", "a/b", "a-b", "é", "\u{ffe6}", "🦀", "10", "9", "a!"].map(String::from).to_vec();
    for (index, key) in wanted.iter().enumerate() {
        service.put_object(&name, key, &vec![b'x'; index]).await?;
    }
    wanted.sort();
    same!("the keys", keys(service, &name, ListOptions::new()).await?, wanted);
    let page = service.list_objects(&name, ListOptions::new()).await?;
    for object in page.items {
        let facts = service.head_object(&name, &object.key).await?;
        same!(object.key, (object.size, &object.etag), (facts.size, &facts.etag));
    }
    Ok(())
}

pub(super) async fn pages_together_are_the_whole_listing<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let wanted: Vec<String> = (0..23).map(|index| format!("a b/{index:02}+%")).collect();
    for key in &wanted {
        service.put_object(&name, key, b"").await?;
    }
    for max in [1, 5, 22, 23, 24, 1000] {
        let options = ListOptions::new().max_results(max);
        same!(format!("pages of {max}"), keys(service, &name, options).await?, wanted);
    }
    let first = service.list_objects(&name, ListOptions::new().max_results(5)).await?;
    same!("the first page", (first.items.len(), first.has_more()), (5, true));
    let last = service.list_objects(&name, ListOptions::new()).await?;
    same!("the only page", (last.items.len(), last.has_more()), (23, false));
    Ok(())
}

pub(super) async fn a_delimiter_leaves_grouped_keys_out<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    for key in ["a", "b/", "b/1", "b/2/3", "c", "d/e"] {
        service.put_object(&name, key, b"").await?;
    }
    let listed = async |prefix: &str, delimiter: &str, max| {
        let options = ListOptions::new().prefix(prefix).delimiter(delimiter).max_results(max);
        keys(service, &name, options).await
    };
    for max in [1, 2, 100] {
        same!(format!("/ by {max}"), listed("", "/", max).await?, ["a", "c"]);
        same!(format!("b/ by {max}"), listed("b/", "/", max).await?, ["b/", "b/1"]);
        same!(format!("2/ by {max}"), listed("", "2/", max).await?, ["a", "b/", "b/1", "c", "d/e"]);
    }
    Ok(())
}

pub(super) async fn a_prefix_may_be_any_text<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let all = super::objects::odd_keys();
    for key in &all {
        service.put_object(&name, key, b"").await?;
    }
    for prefix in ["a", "a/", " ", "+", "%", "%2", "?", "&", "日", "/", ".", "none"] {
        let mut wanted: Vec<String> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        wanted.sort();
        let options = ListOptions::new().prefix(prefix).max_results(2);
        same!(prefix, keys(service, &name, options).await?, wanted);
    }
    Ok(())
}

pub(super) async fn list_stream_gives_all_pages<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    let wanted: Vec<String> = (0..7).map(|index| format!("k{index}")).collect();
    for key in &wanted {
        service.put_object(&name, key, b"").await?;
    }
    let listed = service.list_stream(&name, ListOptions::new().max_results(3)).collect(100).await?;
    same!("the keys", listed.into_iter().map(|object| object.key).collect::<Vec<_>>(), wanted);
    let none = subject.fresh("none");
    let mut stream = service.list_stream(&none, ListOptions::new());
    holds!(
        "of no bucket",
        stream.next().await.is_some_and(|one| one.is_err_and(|error| error.kind.is_not_found()))
    );
    Ok(())
}

pub(super) async fn a_level_has_its_objects_and_each_folder_once<S: ObjectStorage + ?Sized, U: Subject>(
    service: &S,
    subject: &U,
) -> Shown {
    let name = bucket(service, subject).await?;
    for key in ["a", "b/", "b/1", "b/2/3", "b/2/4", "b/5/6", "b+/x", "c", "d/e", "é/日/1", "é/日/2"] {
        service.put_object(&name, key, b"").await?;
    }
    let level = async |prefix: &str, delimiter: Option<&str>, max| -> Result<_, Wrong> {
        let mut options = ListOptions::new().prefix(prefix).max_results(max);
        options.delimiter = delimiter.map(String::from);
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        // More pages than there are keys would be a listing without an end.
        for _ in 0..100 {
            let page = service.list_level(&name, options.clone()).await?;
            objects.extend(page.objects.into_iter().map(|object| object.key));
            folders.extend(page.folders);
            match page.next_token.0 {
                None => return Ok(objects.join(" ") + " | " + &folders.join(" ")),
                Some(token) => options = options.continuation_token(token),
            }
        }
        Err(wrong("the level has no end"))
    };
    for max in [1, 2, 3, 1000] {
        same!(format!("the root by {max}"), level("", Some("/"), max).await?, "a c | b+/ b/ d/ é/");
        same!(format!("without delimiter by {max}"), level("", None, max).await?, "a c | b+/ b/ d/ é/");
        same!(format!("b/ by {max}"), level("b/", Some("/"), max).await?, "b/ b/1 | b/2/ b/5/");
        same!(format!("b by {max}"), level("b", Some("/"), max).await?, " | b+/ b/");
        same!(format!("another delimiter by {max}"), level("é", Some("日/"), max).await?, " | é/日/");
        same!(format!("nothing by {max}"), level("none/", Some("/"), max).await?, " | ");
    }
    refused(
        "no bucket",
        service.list_level(&subject.fresh("none"), ListOptions::new()).await,
        "NotFound Bucket",
    )
}
