//! Multipart uploads, POST forms and batch deletes from end to end.

mod driver;

use driver::{ALT, ANONYMOUS, Answer, MAIN, World, digest, md5_hex, suite_config, with_world};
use hash::Algorithm;
use s3::Config;

const FIVE_MIB: usize = 5 << 20;

async fn begin(world: &World, key: &str, headers: &[(&str, &str)]) -> String {
    let begun = world.send(MAIN, "POST", &format!("/bkt/{key}?uploads"), headers, b"").await.expect(200);
    begun.element("UploadId").expect("an id")
}

async fn part(world: &World, key: &str, id: &str, number: u16, body: &[u8]) -> String {
    let target = format!("/bkt/{key}?partNumber={number}&uploadId={id}");
    let put = world.send(MAIN, "PUT", &target, &[], body).await.expect(200);
    put.header("etag").expect("a tag").to_owned()
}

fn list(parts: &[(u16, &str)]) -> Vec<u8> {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>").into_bytes()
}

async fn complete(
    world: &World,
    key: &str,
    id: &str,
    parts: &[(u16, &str)],
    headers: &[(&str, &str)],
) -> Answer {
    world.send(MAIN, "POST", &format!("/bkt/{key}?uploadId={id}"), headers, &list(parts)).await
}

#[test]
fn parts_become_one_object() {
    with_world("multipart", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let id = begin(&world, "k", &[("x-amz-meta-m", "1"), ("content-type", "a/b")]).await;
        let (first, last) = (vec![1_u8; FIVE_MIB], vec![3_u8; 1000]);
        part(&world, "k", &id, 1, b"replaced").await;
        let one = part(&world, "k", &id, 1, &first).await;
        part(&world, "k", &id, 2, b"not listed").await;
        let three = part(&world, "k", &id, 3, &last).await;
        let parts =
            world.send(MAIN, "GET", &format!("/bkt/k?uploadId={id}&max-parts=2"), &[], b"").await.expect(200);
        assert_eq!(parts.rows("Part", &["PartNumber", "Size"]), [["1", "5242880"], ["2", "10"]]);
        assert_eq!(parts.element("IsTruncated").as_deref(), Some("true"));
        let listed = [(1, one.as_str()), (3, three.as_str())];
        complete(&world, "k", &id, &[(1, "\"bad\"")], &[]).await.expect_error(400, "InvalidPart");
        complete(&world, "k", &id, &[(1, one.as_str()), (4, three.as_str())], &[])
            .await
            .expect_error(400, "InvalidPart");
        complete(&world, "k", &id, &[(3, three.as_str()), (1, one.as_str())], &[])
            .await
            .expect_error(400, "InvalidPartOrder");
        complete(&world, "k", &id, &[], &[]).await.expect_error(400, "MalformedXML");
        complete(&world, "k", &id, &listed, &[("x-amz-mp-object-size", "1")])
            .await
            .expect_error(400, "InvalidRequest");
        complete(&world, "k", &id, &listed, &[("if-match", "*")]).await.expect_error(404, "NoSuchKey");
        world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect_error(404, "NoSuchKey");
        let done = complete(&world, "k", &id, &listed, &[("if-none-match", "*")]).await.expect(200);
        let md5s = [one.trim_matches('"'), three.trim_matches('"')]
            .map(|hex| aws::encoding::unhex::<16>(hex.as_bytes()).expect("hex"));
        let etag = format!("\"{}-2\"", md5_hex(&md5s.concat()));
        assert_eq!(done.element("ETag"), Some(etag.clone()));
        let whole = [&first[..], &last[..]].concat();
        assert_eq!(done.element("ChecksumCRC64NVME"), Some(digest(Algorithm::Crc64Nvme, &whole)));
        let again = complete(&world, "k", &id, &listed, &[]).await.expect(200);
        assert_eq!(again.body, done.body, "the same request again gets the same reply");
        complete(&world, "k", &id, &[(1, one.as_str())], &[]).await.expect_error(404, "NoSuchUpload");
        let get = world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect(200);
        assert_eq!((get.header("etag"), get.header("x-amz-meta-m")), (Some(etag.as_str()), Some("1")));
        assert!(get.body == whole, "the bytes of both parts");
        let across = [("range", "bytes=5242878-5242881")];
        assert_eq!(world.send(MAIN, "GET", "/bkt/k", &across, b"").await.expect(206).body, [1, 1, 3, 3]);
        let third = world.send(MAIN, "GET", "/bkt/k?partNumber=3", &[], b"").await.expect(206);
        assert_eq!((third.body.len(), third.header("x-amz-mp-parts-count")), (1000, Some("2")));
        assert_eq!(third.header("content-range"), Some("bytes 5242880-5243879/5243880"));
        world.send(MAIN, "GET", "/bkt/k?partNumber=2", &[], b"").await.expect_error(416, "InvalidPartNumber");
        let wanted = [("x-amz-object-attributes", "ETag,ObjectParts,ObjectSize,Checksum,StorageClass")];
        let facts = world.send(MAIN, "GET", "/bkt/k?attributes", &wanted, b"").await.expect(200);
        assert_eq!(facts.element("ETag").as_deref(), Some(etag.trim_matches('"')));
        assert_eq!(facts.element("ObjectSize").as_deref(), Some("5243880"));
        assert!(facts.text().contains("<PartsCount>2</PartsCount>"));
        let copied = [("x-amz-copy-source", "bkt/k")];
        world.send(MAIN, "PUT", "/bkt/copy", &copied, b"").await.expect(200);
        let copy = world.send(MAIN, "GET", "/bkt/copy", &[], b"").await.expect(200);
        assert_eq!(copy.header("etag"), Some(format!("\"{}\"", md5_hex(&whole)).as_str()));
        world.send(MAIN, "DELETE", "/bkt/k", &[], b"").await.expect(204);
        world.send(MAIN, "DELETE", "/bkt/copy", &[], b"").await.expect(204);
        world.send(MAIN, "DELETE", "/bkt", &[], b"").await.expect(204);
    });
}

#[test]
fn uploads_keep_their_rules() {
    with_world("upload-rules", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let id = begin(&world, "k", &[]).await;
        let one = part(&world, "k", &id, 1, b"small").await;
        let two = part(&world, "k", &id, 2, b"last").await;
        let both = [(1, one.as_str()), (2, two.as_str())];
        complete(&world, "k", &id, &both, &[]).await.expect_error(400, "EntityTooSmall");
        complete(&world, "k", &id, &both[1..], &[]).await.expect(200);
        assert_eq!(world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect(200).text(), "last");
        let id = begin(&world, "k", &[]).await;
        let target = format!("/bkt/k?uploadId={id}");
        for number in ["0", "10001", "x"] {
            let put = world.send(MAIN, "PUT", &format!("{target}&partNumber={number}"), &[], b"v").await;
            put.expect_error(400, "InvalidArgument");
        }
        let uploads = world.send(MAIN, "GET", "/bkt?uploads", &[], b"").await.expect(200);
        assert_eq!(uploads.rows("Upload", &["Key", "UploadId"]), [["k", id.as_str()]]);
        world.send(MAIN, "DELETE", &target, &[], b"").await.expect(204);
        world.send(MAIN, "DELETE", &target, &[], b"").await.expect_error(404, "NoSuchUpload");
        world
            .send(MAIN, "PUT", &format!("{target}&partNumber=1"), &[], b"v")
            .await
            .expect_error(404, "NoSuchUpload");
        complete(&world, "k", &id, &both[..1], &[]).await.expect_error(404, "NoSuchUpload");
        let bad = [("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-type", "FULL_OBJECT")];
        world.send(MAIN, "POST", "/bkt/k?uploads", &bad, b"").await.expect_error(400, "InvalidRequest");
        world.send(ALT, "POST", "/bkt/k?uploads", &[], b"").await.expect_error(403, "AccessDenied");
    });
}

#[test]
fn checksums_of_parts_are_combined_or_composed() {
    with_world("part-checksums", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        for row in &s3::model::checksum::ALGORITHMS {
            for kind in ["COMPOSITE", "FULL_OBJECT"] {
                let headers = [("x-amz-checksum-algorithm", row.name), ("x-amz-checksum-type", kind)];
                let allowed = if kind == "COMPOSITE" { row.composite } else { row.combines };
                if !allowed {
                    world.send(MAIN, "POST", "/bkt/k?uploads", &headers, b"").await.expect(400);
                    continue;
                }
                let id = begin(&world, "k", &headers).await;
                let value = digest(row.algorithm, b"bytes");
                let target = format!("/bkt/k?partNumber=7&uploadId={id}");
                let other =
                    if row.name == "CRC32" { "x-amz-checksum-crc32c" } else { "x-amz-checksum-crc32" };
                world
                    .send(MAIN, "PUT", &target, &[(other, "AAAAAA==")], b"bytes")
                    .await
                    .expect_error(400, "InvalidRequest");
                let put =
                    world.send(MAIN, "PUT", &target, &[(row.header, &value)], b"bytes").await.expect(200);
                let etag = put.header("etag").expect("a tag").to_owned();
                let body = |value: &str| {
                    format!(
                        "<CompleteMultipartUpload><Part><PartNumber>7</PartNumber><ETag>{etag}</ETag><{0}>{value}</{0}></Part></CompleteMultipartUpload>",
                        row.element
                    )
                };
                let finish = format!("/bkt/k?uploadId={id}");
                let wrong = body(&digest(row.algorithm, b"wrong"));
                world
                    .send(MAIN, "POST", &finish, &[], wrong.as_bytes())
                    .await
                    .expect_error(400, "InvalidPart");
                let wrong = [(row.header, digest(row.algorithm, b"wrong"))];
                let wrong = [(wrong[0].0, wrong[0].1.as_str())];
                world
                    .send(MAIN, "POST", &finish, &wrong, body(&value).as_bytes())
                    .await
                    .expect_error(400, "BadDigest");
                let done = world.send(MAIN, "POST", &finish, &[], body(&value).as_bytes()).await.expect(200);
                let raw = aws::encoding::unbase64(value.as_bytes()).expect("base64");
                let expected = match kind {
                    "COMPOSITE" => format!("{}-1", digest(row.algorithm, &raw)),
                    _ => value,
                };
                assert_eq!(done.element(row.element), Some(expected.clone()), "{} {kind}", row.name);
                let head =
                    world.send(MAIN, "HEAD", "/bkt/k", &[("x-amz-checksum-mode", "ENABLED")], b"").await;
                assert_eq!(
                    (head.header(row.header), head.header("x-amz-checksum-type")),
                    (Some(expected.as_str()), Some(kind))
                );
            }
        }
    });
}

#[test]
fn parts_are_copied_from_stretches_of_objects() {
    with_world("part-copy", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/src", &[], b"0123456789").await.expect(200);
        let id = begin(&world, "k", &[]).await;
        let target = format!("/bkt/k?partNumber=1&uploadId={id}");
        let copy =
            |range: &'static str| [("x-amz-copy-source", "bkt/src"), ("x-amz-copy-source-range", range)];
        for bad in ["bytes=1-", "1-2", "bytes=5-2"] {
            world.send(MAIN, "PUT", &target, &copy(bad), b"").await.expect_error(400, "InvalidArgument");
        }
        world.send(MAIN, "PUT", &target, &copy("bytes=0-10"), b"").await.expect_error(400, "InvalidRange");
        let put = world.send(MAIN, "PUT", &target, &copy("bytes=2-4"), b"").await.expect(200);
        let etag = put.element("ETag").expect("a tag");
        assert_eq!(etag, format!("\"{}\"", md5_hex(b"234")));
        complete(&world, "k", &id, &[(1, &etag)], &[]).await.expect(200);
        assert_eq!(world.send(MAIN, "GET", "/bkt/k", &[], b"").await.text(), "234");
    });
}

#[test]
fn ten_thousand_parts_complete_in_one_batch() {
    with_world("many-parts", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let id = begin(&world, "k", &[]).await;
        // One part is listed; the others make the batch as large as it gets without 50 GB of bodies.
        let world = std::rc::Rc::new(world);
        let mut tasks = Vec::new();
        for lane in 0..64_u16 {
            let (world, id) = (std::rc::Rc::clone(&world), id.clone());
            tasks.push(ring::spawn(async move {
                for number in (1..=10_000_u16).filter(|number| number % 64 == lane) {
                    part(&world, "k", &id, number, &number.to_be_bytes()).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        let etag = format!("\"{}\"", md5_hex(&10_000_u16.to_be_bytes()));
        let began = std::time::Instant::now();
        complete(&world, "k", &id, &[(10_000, &etag)], &[]).await.expect(200);
        println!("complete with 10,000 received parts took {:?}", began.elapsed());
        assert_eq!(
            world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect(200).body,
            10_000_u16.to_be_bytes()
        );
    });
}

#[test]
fn batches_of_deletes_are_decided_key_by_key() {
    with_world("delete-objects", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        for number in 0..300 {
            world.send(MAIN, "PUT", &format!("/bkt/k{number}"), &[], b"v").await.expect(200);
        }
        let body: String = (0..300).map(|number| format!("<Object><Key>k{number}</Key></Object>")).collect();
        let body = format!(
            "<Delete><Object><Key>none</Key></Object><Object><Key>k1</Key><ETag>\"x\"</ETag></Object>{body}</Delete>"
        );
        world
            .send(MAIN, "POST", "/bkt?delete", &[], body.as_bytes())
            .await
            .expect_error(400, "InvalidRequest");
        let md5 = digest(Algorithm::Md5, body.as_bytes());
        let done = world
            .send(MAIN, "POST", "/bkt?delete", &[("content-md5", &md5)], body.as_bytes())
            .await
            .expect(200);
        assert_eq!(done.rows("Deleted", &["Key"]).len(), 301);
        assert_eq!(done.rows("Error", &["Key", "Code"]), [["k1", "PreconditionFailed"]]);
        assert!(world.send(MAIN, "GET", "/bkt", &[], b"").await.rows("Contents", &["Key"]).is_empty());
        let many: String = (0..1001).map(|number| format!("<Object><Key>{number}</Key></Object>")).collect();
        for bad in [
            format!("<Delete>{many}</Delete>"),
            "<Delete/>".to_owned(),
            "<Delete><Object/></Delete>".to_owned(),
        ] {
            let crc = digest(Algorithm::Crc32, bad.as_bytes());
            let sent = world
                .send(MAIN, "POST", "/bkt?delete", &[("x-amz-checksum-crc32", &crc)], bad.as_bytes())
                .await;
            sent.expect_error(400, "MalformedXML");
        }
        let quiet = b"<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>";
        let crc = digest(Algorithm::Crc32, quiet);
        let done = world
            .send(MAIN, "POST", "/bkt?delete", &[("x-amz-checksum-crc32", &crc)], quiet)
            .await
            .expect(200);
        assert!(done.rows("Deleted", &["Key"]).is_empty());
    });
}

fn form(fields: &[(&str, &str)], file: &str) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!(
        "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"dir/f.txt\"\r\n\r\n{file}\r\n--xx--\r\n"
    );
    body.into_bytes()
}

const FORM_TYPE: [(&str, &str); 1] = [("content-type", "multipart/form-data; boundary=xx")];

#[test]
fn forms_upload_under_a_policy_or_an_open_list() {
    with_world("forms", suite_config(), |world| async move {
        world.send(MAIN, "PUT", "/open", &[("x-amz-acl", "public-read-write")], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let big = "x".repeat(300_000);
        let sent = form(
            &[("key", "a/${filename}"), ("Content-Type", "a/b"), ("success_action_status", "201")],
            &big,
        );
        let made = world.send(ANONYMOUS, "POST", "/open", &FORM_TYPE, &sent).await.expect(201);
        assert_eq!(made.element("Key").as_deref(), Some("a/f.txt"));
        let get = world.send(MAIN, "GET", "/open/a/f.txt", &[], b"").await.expect(200);
        assert_eq!((get.text() == big, get.header("content-type")), (true, Some("a/b")));
        let sent = form(&[("key", "k")], "v");
        world.send(ANONYMOUS, "POST", "/bkt", &FORM_TYPE, &sent).await.expect_error(403, "AccessDenied");
        world
            .send(ANONYMOUS, "POST", "/open", &FORM_TYPE, &form(&[], "v"))
            .await
            .expect_error(400, "UserKeyMustBeSpecified");
        world.send(ANONYMOUS, "POST", "/open", &[], &sent).await.expect_error(400, "MalformedPOSTRequest");
        world.send(ANONYMOUS, "POST", "/open", &FORM_TYPE, &sent[..sent.len() - 9]).await.expect(400);
        let conditions = r#"[{"bucket":"bkt"},["starts-with","$key","foo"],["starts-with","$x-amz-meta-m",""],["eq","$success_action_redirect","http://h/p"],["content-length-range",2,5]]"#;
        let policy = format!("{{\"expiration\":\"2100-01-01T00:00:00Z\",\"conditions\":{conditions}}}");
        let policy = aws::encoding::base64(policy.as_bytes());
        let signature = hmac_sha1_base64(b"secret-main", policy.as_bytes());
        let signed = |extra: &[(&str, &str)], file: &str| {
            let mut fields = vec![
                ("key", "foo1"),
                ("policy", policy.as_str()),
                ("signature", signature.as_str()),
                ("AWSAccessKeyId", "AKmain"),
            ];
            fields.extend(extra);
            form(&fields, file)
        };
        let extra = [("success_action_redirect", "http://h/p"), ("x-amz-meta-m", "1")];
        let done =
            world.send(ANONYMOUS, "POST", "/bkt", &FORM_TYPE, &signed(&extra, "abc")).await.expect(303);
        let place = format!("http://h/p?bucket=bkt&key=foo1&etag=%22{}%22", md5_hex(b"abc"));
        assert_eq!(done.header("location"), Some(place.as_str()));
        assert_eq!(world.send(MAIN, "GET", "/bkt/foo1", &[], b"").await.header("x-amz-meta-m"), Some("1"));
        for (extra, file, code) in [
            (&extra[..1], "abc", 303),
            (&[extra[0], ("acl", "private")], "abc", 403),
            (&[("success_action_redirect", "http://h/x")], "abc", 403),
            (&extra[..1], "abcdef", 400),
            (&extra[..1], "a", 400),
        ] {
            world.send(ANONYMOUS, "POST", "/bkt", &FORM_TYPE, &signed(extra, file)).await.expect(code);
        }
        world
            .send(ANONYMOUS, "POST", "/open", &FORM_TYPE, &signed(&extra, "abc"))
            .await
            .expect_error(403, "AccessDenied");
        let forged = form(
            &[("key", "foo"), ("policy", &policy), ("signature", "AAAA"), ("AWSAccessKeyId", "AKmain")],
            "abc",
        );
        world
            .send(ANONYMOUS, "POST", "/bkt", &FORM_TYPE, &forged)
            .await
            .expect_error(403, "SignatureDoesNotMatch");
    });
}

/// RFC 2104 over SHA-1, as Signature Version 2 signs a policy.
fn hmac_sha1_base64(key: &[u8], text: &[u8]) -> String {
    let sha1 = |front: &[u8], behind: &[u8]| {
        let mut digest = hash::Digest::new(Algorithm::Sha1);
        digest.update(front);
        digest.update(behind);
        digest.finish().as_bytes().to_vec()
    };
    let pad =
        |byte: u8| -> Vec<u8> { (0..64).map(|place| key.get(place).copied().unwrap_or(0) ^ byte).collect() };
    aws::encoding::base64(&sha1(&pad(0x5c), &sha1(&pad(0x36), text)))
}
