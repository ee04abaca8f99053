//! Objects: whole, as streams, by signed addresses, page by page.
//!
//! `ZERO_URL=http://localhost:8080 ZERO_CREDENTIALS_FILE=zerocloud-data/credentials cargo run -p cloudkit --example 01_objects`

use cloudkit::prelude::*;
use std::time::Duration;

/// Written against the trait, so it runs on every provider.
async fn tour<S: ObjectStorage>(storage: &S, bucket: &str) -> CloudResult<()> {
    storage.create_bucket(bucket).await?;

    storage.put_object(bucket, "notes/hello.txt", b"Hello, world!").await?;
    println!("whole: {:?}", storage.get_object(bucket, "notes/hello.txt").await?);
    let part =
        storage.get_object_with_options(bucket, "notes/hello.txt", GetOptions::new().range(7, 11)).await?;
    println!("a part: {part:?}");

    // A stream may be of any length; above 16 MiB it goes up in parts, four at once. What is read is checked at its end.
    let large = ByteStream::from(vec![7; 40 * 1024 * 1024]);
    let put =
        storage.put_stream(bucket, "large", large, PutStreamOptions::new().tag("kind", "example")).await?;
    println!("put in parts: {:?}", put.etag);
    let mut object = storage.get_stream(bucket, "large", GetStreamOptions::new()).await?;
    let mut bytes = 0;
    while let Some(piece) = object.body.next().await.transpose()? {
        bytes += piece.len();
    }
    println!("read as a stream: {bytes} bytes");

    // Only if nobody was there before.
    let lock = || PutStreamOptions::new().if_absent();
    storage.put_stream(bucket, "lock", "mine".into(), lock()).await?;
    match storage.put_stream(bucket, "lock", "another's".into(), lock()).await {
        Err(failure) if failure.kind.is_precondition_failed() => println!("locked: {failure}"),
        other => println!("unexpected: {other:?}"),
    }

    let url = storage.presigned_get_url(bucket, "notes/hello.txt", Duration::from_secs(600)).await?;
    println!("readable for ten minutes, by anyone: {} characters", url.len());

    let mut listed = storage.list_stream(bucket, ListOptions::new());
    while let Some(object) = listed.next().await.transpose()? {
        println!("{:>10} {}", object.size, object.key);
    }

    // Errors say what was asked, what was answered, and what would help.
    if let Err(error) = storage.get_object("no-such-bucket-here", "k").await {
        println!("as it should be: {error}");
    }

    storage.delete_objects(bucket, &["notes/hello.txt", "large", "lock"]).await?;
    storage.delete_bucket(bucket).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> CloudResult<()> {
    let zero = CloudKit::zero().build().await?;
    println!("{}", zero.storage().capabilities());
    tour(&zero.storage(), "example-objects").await
}
