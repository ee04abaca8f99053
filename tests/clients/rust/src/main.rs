//! Round trips of the two Rust clients, `aws-sdk-s3` and `object_store`, against the appliance that the environment names.
//! Invariant: it ends with 0 only when every object came back byte for byte.
#![forbid(unsafe_code)]

use std::error::Error;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};

type Outcome = Result<(), Box<dyn Error>>;

const BUCKET: &str = "rust-clients";
const MULTIPART_BYTES: usize = 18 << 20;
const PART_BYTES: usize = 6 << 20;
const SIZES: [usize; 5] = [0, 1, 4_096, 65_537, 1 << 20];
const ODD_NAMES: [&str; 10] = [
    "with space",
    "plus+sign",
    "percent%2Fsign",
    "double//slash",
    "ünïcode/ключ/鍵",
    "emoji-😀",
    "quote'\"quote",
    "tilde~star*paren()",
    "ampersand&equals=semicolon;",
    "question?mark#hash",
];

#[tokio::main]
async fn main() -> Outcome {
    aws_sdk().await?;
    object_store_crate().await?;
    Ok(())
}

/// Bytes that follow from length and seed (xorshift).
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn same(client: &str, name: &str, got: &[u8], wanted: &[u8]) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(format!(
        "{client}: {name:?} came back with {} bytes, other than the {} sent",
        got.len(),
        wanted.len()
    )
    .into())
}

/// What is stored under each name: sizes, then odd names.
fn objects() -> impl Iterator<Item = (String, Vec<u8>)> {
    let sized = SIZES.iter().map(|size| (format!("size-{size}"), content(*size, 1)));
    sized.chain(ODD_NAMES.iter().zip(2..).map(|(name, seed)| (format!("odd/{name}"), content(100, seed))))
}

async fn aws_sdk() -> Outcome {
    const CLIENT: &str = "aws-sdk-s3";
    let shared = aws_config::load_from_env().await;
    let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    client.create_bucket().bucket(BUCKET).send().await?;
    for (name, data) in objects() {
        client.put_object().bucket(BUCKET).key(&name).body(ByteStream::from(data.clone())).send().await?;
        let reply = client.get_object().bucket(BUCKET).key(&name).send().await?;
        same(CLIENT, &name, &reply.body.collect().await?.into_bytes(), &data)?;
    }
    let data = content(MULTIPART_BYTES, 99);
    let upload = client.create_multipart_upload().bucket(BUCKET).key("multipart").send().await?;
    let id = upload.upload_id().ok_or("no upload id")?;
    let mut parts = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(data.chunks(PART_BYTES)) {
        let request = client.upload_part().bucket(BUCKET).key("multipart").upload_id(id).part_number(number);
        let sent = request.body(ByteStream::from(part.to_vec())).send().await?;
        let mut done = CompletedPart::builder().part_number(number);
        done = done
            .set_e_tag(sent.e_tag().map(Into::into))
            .set_checksum_crc32(sent.checksum_crc32().map(Into::into));
        parts = parts.parts(done.build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("multipart").upload_id(id);
    complete.multipart_upload(parts.build()).send().await?;
    let reply = client.get_object().bucket(BUCKET).key("multipart").send().await?;
    same(CLIENT, "multipart", &reply.body.collect().await?.into_bytes(), &data)?;
    let mut names = Vec::new();
    let mut pages = client.list_objects_v2().bucket(BUCKET).max_keys(4).into_paginator().send();
    while let Some(page) = pages.next().await {
        names.extend(page?.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
    }
    let mut wanted: Vec<String> = objects().map(|(name, _)| name).chain(["multipart".to_owned()]).collect();
    wanted.sort_unstable();
    if names != wanted {
        return Err(format!("{CLIENT}: the listing shows {names:?}").into());
    }
    for name in names {
        client.delete_object().bucket(BUCKET).key(name).send().await?;
    }
    println!(
        "{CLIENT}: {} objects and one of {MULTIPART_BYTES} bytes in parts came back whole",
        wanted.len() - 1
    );
    Ok(())
}

async fn object_store_crate() -> Outcome {
    const CLIENT: &str = "object_store";
    let store = AmazonS3Builder::from_env().with_bucket_name(BUCKET).with_allow_http(true).build()?;
    let mut count = 0;
    // A path of this crate has no empty segments, so a double slash is not a name that it can write.
    for (name, data) in objects().filter(|(name, _)| !name.contains("//")) {
        let path = Path::from(name.as_str());
        store.put(&path, PutPayload::from(data.clone())).await?;
        same(CLIENT, &name, &store.get(&path).await?.bytes().await?, &data)?;
        count += 1;
    }
    let data = content(MULTIPART_BYTES, 98);
    let path = Path::from("multipart");
    let mut writer = WriteMultipart::new(store.put_multipart(&path).await?);
    for piece in data.chunks(100_000) {
        writer.write(piece);
    }
    writer.finish().await?;
    same(CLIENT, "multipart", &store.get(&path).await?.bytes().await?, &data)?;
    let ranges = store.get_ranges(&path, &[0..10, 6_291_450..6_291_460, 18_000_000..18_000_001]).await?;
    same(CLIENT, "a range over two parts", &ranges[1], &data[6_291_450..6_291_460])?;
    let created = store.put_opts(&path, PutPayload::from_static(b"x"), PutMode::Create.into()).await;
    if !matches!(created, Err(object_store::Error::AlreadyExists { .. })) {
        return Err(format!("{CLIENT}: a second creation gave {created:?}").into());
    }
    let listed: Vec<_> = store.list(None).try_collect().await?;
    if listed.len() != count + 1 {
        return Err(format!(
            "{CLIENT}: the listing shows {} objects, {} were stored",
            listed.len(),
            count + 1
        )
        .into());
    }
    for object in listed {
        store.delete(&object.location).await?;
    }
    println!("{CLIENT}: {count} objects and one of {MULTIPART_BYTES} bytes in parts came back whole");
    Ok(())
}
