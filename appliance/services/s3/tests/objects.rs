//! Objects from end to end: what was put is read, listed, copied and deleted as S3 says.

mod driver;

use driver::{ALT, ANONYMOUS, MAIN, TENANT, digest, md5_hex, suite_config, with_world};
use hash::Algorithm;
use s3::Config;

#[test]
fn a_bucket_lives_from_create_to_delete() {
    with_world("bucket", Config::default(), |world| async move {
        world.send(MAIN, "GET", "/b1", &[], b"").await.expect_error(404, "NoSuchBucket");
        let made = world.send(MAIN, "PUT", "/b1x", &[], b"").await.expect(200);
        assert_eq!(made.header("location"), Some("/b1x"));
        world.send(MAIN, "PUT", "/b1x", &[], b"").await.expect(200);
        world.send(ALT, "PUT", "/b1x", &[], b"").await.expect_error(409, "BucketAlreadyExists");
        world.send(TENANT, "PUT", "/b1x", &[], b"").await.expect(200);
        world.send(ANONYMOUS, "PUT", "/b2x", &[], b"").await.expect_error(403, "AccessDenied");
        world.send(MAIN, "PUT", "/B_bad", &[], b"").await.expect_error(400, "InvalidBucketName");
        let wrong = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
        let refused = world.send(MAIN, "PUT", "/b3x", &[], wrong).await;
        refused.expect_error(400, "IllegalLocationConstraintException");
        let head = world.send(MAIN, "HEAD", "/b1x", &[], b"").await.expect(200);
        assert_eq!(head.header("x-amz-bucket-region"), Some("us-east-1"));
        let other = world.send(ALT, "HEAD", "/b1x", &[], b"").await.expect(403);
        assert_eq!(other.header("x-amz-bucket-region"), Some("us-east-1"));
        assert!(other.body.is_empty());
        let wrong_owner = [("x-amz-expected-bucket-owner", "111111111111")];
        world.send(MAIN, "GET", "/b1x", &wrong_owner, b"").await.expect_error(403, "AccessDenied");
        let location = world.send(MAIN, "GET", "/b1x?location", &[], b"").await.expect(200);
        assert!(
            location.text().ends_with(
                "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></LocationConstraint>"
            ),
            "{}",
            location.text()
        );
        world.send(MAIN, "PUT", "/b1x/k", &[], b"v").await.expect(200);
        world.send(MAIN, "DELETE", "/b1x", &[], b"").await.expect_error(409, "BucketNotEmpty");
        world.send(MAIN, "DELETE", "/b1x/k", &[], b"").await.expect(204);
        let upload = world.send(MAIN, "POST", "/b1x/k?uploads", &[], b"").await.expect(200);
        let id = upload.element("UploadId").expect("an id");
        world
            .send(MAIN, "PUT", &format!("/b1x/k?uploadId={id}&partNumber=1"), &[], b"part")
            .await
            .expect(200);
        world.send(MAIN, "DELETE", "/b1x", &[], b"").await.expect(204);
        world.send(MAIN, "DELETE", "/b1x", &[], b"").await.expect_error(404, "NoSuchBucket");
        world.send(MAIN, "PUT", "/b1x", &[], b"").await.expect(200);
        let uploads = world.send(MAIN, "GET", "/b1x?uploads", &[], b"").await.expect(200);
        assert!(uploads.rows("Upload", &["Key"]).is_empty(), "a re-created bucket starts empty");
    });
}

#[test]
fn buckets_are_listed_by_owner_in_pages() {
    with_world("buckets", Config { bucket_count_max: 5, ..Config::default() }, |world| async move {
        for name in ["aaa", "aab", "abc", "bbb", "ccc"] {
            world.send(MAIN, "PUT", &format!("/{name}"), &[], b"").await.expect(200);
        }
        world.send(MAIN, "PUT", "/ddd", &[], b"").await.expect_error(400, "TooManyBuckets");
        world.send(MAIN, "PUT", "/ccc", &[], b"").await.expect(200);
        world.send(ALT, "PUT", "/zzz", &[], b"").await.expect(200);
        let names = |answer: &driver::Answer| {
            let document = aws::xml::Document::parse(&answer.body, 1 << 20).expect("XML");
            let buckets = document.root().child("Buckets").expect("buckets");
            buckets
                .children()
                .map(|bucket| bucket.child_text("Name").unwrap_or("").to_owned())
                .collect::<Vec<_>>()
        };
        let all = world.send(MAIN, "GET", "/", &[], b"").await.expect(200);
        assert_eq!(names(&all), ["aaa", "aab", "abc", "bbb", "ccc"]);
        assert_eq!(all.element("ContinuationToken"), None);
        let page = world.send(MAIN, "GET", "/?max-buckets=2&prefix=a", &[], b"").await.expect(200);
        assert_eq!(names(&page), ["aaa", "aab"]);
        let token = page.element("ContinuationToken").expect("more");
        let rest = world
            .send(MAIN, "GET", &format!("/?max-buckets=1&prefix=a&continuation-token={token}"), &[], b"")
            .await;
        assert_eq!(names(&rest), ["abc"]);
        assert_eq!(rest.element("ContinuationToken"), None, "the page is exactly full");
        assert_eq!(names(&world.send(ALT, "GET", "/", &[], b"").await), ["zzz"]);
        world.send(ANONYMOUS, "GET", "/", &[], b"").await.expect_error(403, "AccessDenied");
    });
}

#[test]
fn objects_of_every_size_come_back_with_their_headers() {
    with_world("sizes", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        for size in [0_usize, 1, 500, 4_000, 33_000, 70_002, 3 << 20] {
            let body: Vec<u8> = (0..size).map(|place| ((place * 7) >> 2) as u8).collect();
            let headers = [
                ("content-type", "text/x"),
                ("content-encoding", "aws-chunked,gzip"),
                ("cache-control", "no-store"),
                ("x-amz-meta-name", "välue"),
                ("x-amz-tagging", "a=1&b=2"),
            ];
            let target = format!("/bkt/k{size}");
            let put = world
                .send(MAIN, "PUT", &target, &[&headers[..1], &headers[2..]].concat(), &body)
                .await
                .expect(200);
            assert_eq!(put.header("etag"), Some(format!("\"{}\"", md5_hex(&body)).as_str()));
            assert_eq!(
                put.header("x-amz-checksum-crc64nvme"),
                Some(digest(Algorithm::Crc64Nvme, &body).as_str())
            );
            let get = world
                .send(MAIN, "GET", &target, &[("x-amz-checksum-mode", "ENABLED")], b"")
                .await
                .expect(200);
            assert_eq!(get.body, body, "size {size}");
            assert_eq!(get.header("content-type"), Some("text/x"));
            assert_eq!(get.header("cache-control"), Some("no-store"));
            assert_eq!(get.header("x-amz-meta-name"), Some("=?UTF-8?B?dsOkbHVl?="));
            assert_eq!(get.header("x-amz-tagging-count"), Some("2"));
            assert_eq!(get.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
            let head = world.send(MAIN, "HEAD", &target, &[], b"").await.expect(200);
            assert_eq!((head.length, head.body.len()), (size as u64, 0));
            assert_eq!(head.header("last-modified"), get.header("last-modified"));
            assert!(head.header("x-amz-checksum-crc64nvme").is_none());
        }
    });
}

#[test]
fn checksums_that_differ_leave_nothing_behind() {
    with_world("checksums", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let body = b"some bytes";
        for row in &s3::model::checksum::ALGORITHMS {
            let good = digest(row.algorithm, body);
            let bad = digest(row.algorithm, b"other bytes");
            let put = world.send(MAIN, "PUT", "/bkt/k", &[(row.header, &bad)], body).await;
            put.expect_error(400, "BadDigest");
            let trailer = [("x-amz-trailer", row.header)];
            let put = world.send_with(MAIN, "PUT", "/bkt/k", &trailer, body, &[(row.header, &bad)]).await;
            put.expect_error(400, "BadDigest");
            world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect_error(404, "NoSuchKey");
            let put = world.send(MAIN, "PUT", "/bkt/k", &[(row.header, &good)], body).await.expect(200);
            assert_eq!(put.header(row.header), Some(good.as_str()));
            let put = world.send_with(MAIN, "PUT", "/bkt/k", &trailer, body, &[(row.header, &good)]).await;
            put.expect(200);
            let head = world.send(MAIN, "HEAD", "/bkt/k", &[("x-amz-checksum-mode", "enabled")], b"").await;
            assert_eq!(head.header(row.header), Some(good.as_str()));
            world.send(MAIN, "DELETE", "/bkt/k", &[], b"").await.expect(204);
        }
        let md5 = digest(Algorithm::Md5, b"x");
        world
            .send(MAIN, "PUT", "/bkt/k", &[("content-md5", &md5)], body)
            .await
            .expect_error(400, "BadDigest");
        world
            .send(MAIN, "PUT", "/bkt/k", &[("content-md5", "x")], body)
            .await
            .expect_error(400, "InvalidDigest");
        world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect_error(404, "NoSuchKey");
    });
}

#[test]
fn ranges_and_conditions_decide_what_a_read_gets() {
    with_world("ranges", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/k", &[("cache-control", "x")], b"0123456789").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/empty", &[], b"").await.expect(200);
        for (range, body, content_range) in [
            ("bytes=2-4", "234", "bytes 2-4/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=8-100", "89", "bytes 8-9/10"),
        ] {
            let get = world.send(MAIN, "GET", "/bkt/k", &[("range", range)], b"").await.expect(206);
            assert_eq!((get.text().as_str(), get.header("content-range")), (body, Some(content_range)));
            let head = world.send(MAIN, "HEAD", "/bkt/k", &[("range", range)], b"").await.expect(206);
            assert_eq!(head.length, body.len() as u64);
        }
        for range in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2"] {
            assert_eq!(
                world.send(MAIN, "GET", "/bkt/k", &[("range", range)], b"").await.expect(200).text(),
                "0123456789"
            );
        }
        let refused = world.send(MAIN, "GET", "/bkt/k", &[("range", "bytes=10-")], b"").await;
        let refused = refused.expect_error(416, "InvalidRange");
        assert_eq!(refused.header("content-range"), Some("bytes */10"));
        world.send(MAIN, "GET", "/bkt/empty", &[("range", "bytes=0-")], b"").await.expect(416);
        world
            .send(MAIN, "GET", "/bkt/k?partNumber=1", &[("range", "bytes=0-1")], b"")
            .await
            .expect_error(400, "InvalidRequest");
        world.send(MAIN, "GET", "/bkt/k?partNumber=2", &[], b"").await.expect_error(416, "InvalidPartNumber");
        world.send(MAIN, "GET", "/bkt/k?partNumber=1", &[], b"").await.expect(206);
        let etag = format!("\"{}\"", md5_hex(b"0123456789"));
        let unmodified =
            world.send(MAIN, "GET", "/bkt/k", &[("if-none-match", &etag)], b"").await.expect(304);
        assert_eq!(
            (unmodified.header("etag"), unmodified.header("cache-control")),
            (Some(etag.as_str()), Some("x"))
        );
        world.send(MAIN, "GET", "/bkt/k", &[("if-match", &etag)], b"").await.expect(200);
        let failed = world.send(MAIN, "GET", "/bkt/k", &[("if-match", "\"x\"")], b"").await;
        assert_eq!(
            failed.expect_error(412, "PreconditionFailed").element("Condition").as_deref(),
            Some("If-Match")
        );
        let past = [("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT")];
        world.send(MAIN, "GET", "/bkt/k", &past, b"").await.expect(200);
        let stale = [("if-range", "\"x\""), ("range", "bytes=0-1")];
        world.send(MAIN, "GET", "/bkt/k", &stale, b"").await.expect(200);
        let overridden =
            world.send(MAIN, "GET", "/bkt/k?response-content-type=a%2Fb", &[], b"").await.expect(200);
        assert_eq!(overridden.header("content-type"), Some("a/b"));
        world.send(ANONYMOUS, "GET", "/bkt/k?response-expires=x", &[], b"").await.expect(400);
    });
}

#[test]
fn of_racing_writers_exactly_one_finds_the_key_absent() {
    with_world("races", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let world = std::rc::Rc::new(world);
        let racers: Vec<_> = (0..64)
            .map(|number| {
                let world = std::rc::Rc::clone(&world);
                ring::spawn(async move {
                    let body = vec![number; 40_000 * usize::from(number % 2)];
                    world.send(MAIN, "PUT", "/bkt/k", &[("if-none-match", "*")], &body).await.status
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for racer in racers {
            statuses.push(racer.await);
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 63);
        let absent = world.send(MAIN, "PUT", "/bkt/none", &[("if-match", "\"x\"")], b"v").await;
        absent.expect_error(404, "NoSuchKey");
        world
            .send(MAIN, "DELETE", "/bkt/k", &[("if-match", "\"x\"")], b"")
            .await
            .expect_error(412, "PreconditionFailed");
        world.send(MAIN, "DELETE", "/bkt/k", &[("if-match", "*")], b"").await.expect(204);
    });
}

#[test]
fn odd_keys_come_back_from_every_operation() {
    with_world("keys", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let long = "k".repeat(1024);
        let mut keys = vec![
            ".",
            "..",
            "a//b",
            "x/../y",
            "t/",
            "a+b",
            "a%2Fb",
            "a b",
            "é/ü",
            "😀",
            "a&b<c>\"'",
            long.as_str(),
        ];
        keys.extend(["c\u{1}d", "e\nf", "/"]);
        for key in &keys {
            let target = format!("/bkt/{}", aws::uri::encode(key));
            world.send(MAIN, "PUT", &target, &[], key.as_bytes()).await.expect(200);
            assert_eq!(world.send(MAIN, "GET", &target, &[], b"").await.expect(200).text(), *key);
            let source = format!("/bkt/{}", aws::uri::encode(key));
            world.send(MAIN, "PUT", "/bkt/copy", &[("x-amz-copy-source", &source)], b"").await.expect(200);
            assert_eq!(world.send(MAIN, "GET", "/bkt/copy", &[], b"").await.expect(200).text(), *key);
        }
        world.send(MAIN, "DELETE", "/bkt/copy", &[], b"").await.expect(204);
        let listed =
            world.send(MAIN, "GET", "/bkt?list-type=2&encoding-type=url", &[], b"").await.expect(200);
        let mut found: Vec<String> = listed.rows("Contents", &["Key"]).into_iter().flatten().collect();
        found = found.iter().map(|key| aws::uri::decode_path(key).expect("encoded").into_owned()).collect();
        let mut sorted: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        sorted.sort();
        assert_eq!(found, sorted);
        for key in &keys {
            world
                .send(MAIN, "DELETE", &format!("/bkt/{}", aws::uri::encode(key)), &[], b"")
                .await
                .expect(204);
        }
        let listed = world.send(MAIN, "GET", "/bkt", &[], b"").await.expect(200);
        assert!(listed.rows("Contents", &["Key"]).is_empty());
        let long = format!("/bkt/{}", "k".repeat(1025));
        world.send(MAIN, "PUT", &long, &[], b"").await.expect_error(400, "KeyTooLongError");
        world.send(MAIN, "PUT", "/bkt/%ff", &[], b"").await.expect_error(400, "InvalidURI");
        world.send(MAIN, "PUT", "/bkt/a%00b", &[], b"").await.expect_error(400, "InvalidURI");
    });
}

#[test]
fn access_lists_open_buckets_and_objects() {
    with_world("acl", suite_config(), |world| async move {
        world.send(MAIN, "PUT", "/open", &[("x-amz-acl", "public-read-write")], b"").await.expect(200);
        world.send(MAIN, "PUT", "/closed", &[], b"").await.expect(200);
        world.send(ANONYMOUS, "PUT", "/open/anon", &[], b"v").await.expect(200);
        world.send(ALT, "PUT", "/open/alt", &[], b"v").await.expect(200);
        world.send(ANONYMOUS, "GET", "/open", &[], b"").await.expect(200);
        world.send(ANONYMOUS, "GET", "/open/alt", &[], b"").await.expect_error(403, "AccessDenied");
        world.send(ALT, "GET", "/open/alt", &[], b"").await.expect(200);
        let owners = world.send(MAIN, "GET", "/open/alt?acl", &[], b"").await.expect(200);
        assert!(owners.text().contains("<DisplayName>alt</DisplayName>"), "{}", owners.text());
        world.send(ANONYMOUS, "PUT", "/closed/k", &[], b"v").await.expect_error(403, "AccessDenied");
        world.send(MAIN, "PUT", "/closed/k", &[("x-amz-acl", "public-read")], b"v").await.expect(200);
        world.send(ANONYMOUS, "GET", "/closed/k", &[], b"").await.expect(200);
        world.send(ANONYMOUS, "GET", "/closed", &[], b"").await.expect_error(403, "AccessDenied");
        world.send(ANONYMOUS, "GET", "/closed/none", &[], b"").await.expect_error(403, "AccessDenied");
        world
            .send(MAIN, "PUT", "/closed/auth", &[("x-amz-acl", "authenticated-read")], b"v")
            .await
            .expect(200);
        world.send(ANONYMOUS, "GET", "/closed/auth", &[], b"").await.expect_error(403, "AccessDenied");
        world.send(ALT, "GET", "/closed/auth", &[], b"").await.expect(200);
        let grant = [("x-amz-grant-read", "emailAddress=alt@example.test")];
        world.send(MAIN, "PUT", "/closed/grant", &grant, b"v").await.expect(200);
        world.send(ALT, "GET", "/closed/grant", &[], b"").await.expect(200);
        world.send(TENANT, "GET", "/closed/grant", &[], b"").await.expect_error(404, "NoSuchBucket");
        world.send(ALT, "PUT", "/closed/grant?acl", &[("x-amz-acl", "private")], b"").await.expect(403);
        world.send(MAIN, "PUT", "/closed/grant?acl", &[("x-amz-acl", "private")], b"").await.expect(200);
        world.send(ALT, "GET", "/closed/grant", &[], b"").await.expect(403);
        let block = b"<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>";
        world.send(MAIN, "PUT", "/closed?publicAccessBlock", &[], block).await.expect(200);
        world.send(ANONYMOUS, "GET", "/closed/k", &[], b"").await.expect_error(403, "AccessDenied");
        world.send(MAIN, "DELETE", "/closed?publicAccessBlock", &[], b"").await.expect(204);
        world.send(ANONYMOUS, "GET", "/closed/k", &[], b"").await.expect(200);
        world
            .send(MAIN, "PUT", "/closed/k", &[("x-amz-acl", "weird")], b"")
            .await
            .expect_error(400, "InvalidArgument");
    });
    with_world("acl-off", Config::default(), |world| async move {
        let list = [("x-amz-acl", "public-read")];
        world
            .send(MAIN, "PUT", "/bkt", &list, b"")
            .await
            .expect_error(400, "InvalidBucketAclWithObjectOwnership");
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world
            .send(MAIN, "PUT", "/bkt/k", &list, b"")
            .await
            .expect_error(400, "AccessControlListNotSupported");
        world
            .send(MAIN, "PUT", "/bkt/k", &[("x-amz-acl", "bucket-owner-full-control")], b"")
            .await
            .expect(200);
        world
            .send(MAIN, "PUT", "/bkt?acl", &list, b"")
            .await
            .expect_error(400, "AccessControlListNotSupported");
        world.send(ALT, "GET", "/bkt/k", &[], b"").await.expect_error(403, "AccessDenied");
    });
}

#[test]
fn copies_keep_or_replace_what_the_directives_say() {
    with_world("copy", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/two", &[], b"").await.expect(200);
        let headers = [("content-type", "a/b"), ("x-amz-meta-m", "1"), ("x-amz-tagging", "t=1")];
        let body = vec![9; 100_000];
        world.send(MAIN, "PUT", "/bkt/src", &headers, &body).await.expect(200);
        let source = ("x-amz-copy-source", "bkt/src");
        let copied = world.send(MAIN, "PUT", "/two/dst", &[source], b"").await.expect(200);
        assert_eq!(copied.element("ETag"), Some(format!("\"{}\"", md5_hex(&body))));
        let get = world.send(MAIN, "GET", "/two/dst", &[], b"").await.expect(200);
        assert_eq!((get.header("content-type"), get.header("x-amz-meta-m")), (Some("a/b"), Some("1")));
        assert_eq!((get.header("x-amz-tagging-count"), &get.body), (Some("1"), &body));
        let replace = [
            source,
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-tagging-directive", "REPLACE"),
            ("x-amz-meta-n", "2"),
        ];
        world.send(MAIN, "PUT", "/two/dst", &replace, b"").await.expect(200);
        let get = world.send(MAIN, "GET", "/two/dst", &[], b"").await.expect(200);
        assert_eq!((get.header("x-amz-meta-m"), get.header("x-amz-meta-n")), (None, Some("2")));
        assert_eq!(
            (get.header("content-type"), get.header("x-amz-tagging-count")),
            (Some("binary/octet-stream"), None)
        );
        world.send(MAIN, "PUT", "/bkt/src", &[source], b"").await.expect_error(400, "InvalidRequest");
        world.send(MAIN, "PUT", "/bkt/src", &replace, b"").await.expect(200);
        assert_eq!(world.send(MAIN, "GET", "/bkt/src", &[], b"").await.body, body);
        let none = [("x-amz-copy-source", "bkt/none")];
        world.send(MAIN, "PUT", "/two/dst", &none, b"").await.expect_error(404, "NoSuchKey");
        world.send(ALT, "PUT", "/two/dst", &[source], b"").await.expect(403);
        let condition = [source, ("x-amz-copy-source-if-none-match", "*")];
        world.send(MAIN, "PUT", "/two/dst", &condition, b"").await.expect_error(412, "PreconditionFailed");
    });
}

#[test]
fn refusals_have_their_own_codes() {
    with_world("refusals", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/k", &[], b"v").await.expect(200);
        for (method, target, headers, status, code) in [
            ("GET", "/bkt?policy", &[][..], 404, "NoSuchBucketPolicy"),
            ("GET", "/bkt?cors", &[], 404, "NoSuchCORSConfiguration"),
            ("GET", "/bkt?lifecycle", &[], 404, "NoSuchLifecycleConfiguration"),
            ("GET", "/bkt?tagging", &[], 404, "NoSuchTagSet"),
            ("GET", "/bkt?encryption", &[], 404, "ServerSideEncryptionConfigurationNotFoundError"),
            ("GET", "/bkt?object-lock", &[], 404, "ObjectLockConfigurationNotFoundError"),
            ("PUT", "/bkt?cors", &[], 501, "NotImplemented"),
            ("PUT", "/bkt/k?xyz", &[], 501, "NotImplemented"),
            ("DELETE", "/bkt?xyz", &[], 501, "NotImplemented"),
            ("PUT", "/bkt/k", &[("x-amz-server-side-encryption", "AES256")], 501, "NotImplemented"),
            ("PUT", "/bkt/k", &[("x-amz-storage-class", "GLACIER")], 400, "InvalidStorageClass"),
            ("PUT", "/bkt/k", &[("x-amz-object-lock-legal-hold", "ON")], 400, "InvalidRequest"),
            ("GET", "/bkt/k?torrent", &[], 404, "NoSuchKey"),
            ("OPTIONS", "/bkt/k", &[], 400, "BadRequest"),
            ("PATCH", "/bkt/k", &[], 405, "MethodNotAllowed"),
            ("GET", "/bkt/k?versionId=x", &[], 400, "InvalidArgument"),
            ("GET", "/bkt/k?versionId=00000000000000000000000000000001", &[], 404, "NoSuchVersion"),
            ("GET", "/bkt/k?uploadId=x", &[], 404, "NoSuchUpload"),
            ("GET", "/bkt?max-keys=-1", &[], 400, "InvalidArgument"),
            ("GET", "/bkt?list-type=2&continuation-token=x", &[], 400, "InvalidArgument"),
        ] {
            let answer = world.send(MAIN, method, target, headers, b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target}");
            assert_eq!(answer.element("RequestId").map(|id| id.len()), Some(16));
        }
        assert_eq!(world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect(200).text(), "v");
        let long = [
            ("x-amz-decoded-content-length", "5368709121"),
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ];
        world.send(MAIN, "PUT", "/bkt/k", &long, b"x").await.expect_error(400, "EntityTooLarge");
        let big = "v".repeat(2048);
        world
            .send(MAIN, "PUT", "/bkt/k", &[("x-amz-meta-a", &big)], b"")
            .await
            .expect_error(400, "MetadataTooLarge");
    });
}

#[test]
fn a_bucket_that_vanishes_takes_no_object_with_it() {
    with_world("vanish", Config::default(), |world| async move {
        let world = std::rc::Rc::new(world);
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        for round in 0..4 {
            world.holds_bodies.set(true);
            let upload = world.send(MAIN, "POST", "/bkt/k?uploads", &[], b"").await.expect(200);
            let id = upload.element("UploadId").expect("an id");
            let part = format!("/bkt/k?partNumber=1&uploadId={id}");
            let writers: Vec<_> = ["/bkt/a", "/bkt/b", "/bkt/c", part.as_str()]
                .map(|target| {
                    let (world, target) = (std::rc::Rc::clone(&world), target.to_owned());
                    ring::spawn(async move { world.send(MAIN, "PUT", &target, &[], &[7; 40_000]).await })
                })
                .into_iter()
                .collect();
            while world.held_count.get() < 4 {
                ring::yield_now().await;
            }
            // The bodies are there, their buckets were checked: now the bucket goes, and comes back under its name.
            world.send(MAIN, "DELETE", "/bkt", &[], b"").await.expect(204);
            if round % 2 == 0 {
                world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
            }
            world.holds_bodies.set(false);
            for writer in writers {
                writer.await.expect_error(404, "NoSuchBucket");
            }
            world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
            let listed = world.send(MAIN, "GET", "/bkt", &[], b"").await.expect(200);
            assert!(listed.rows("Contents", &["Key"]).is_empty());
        }
    });
}

#[test]
fn writers_and_a_delete_of_their_bucket_agree_who_came_first() {
    with_world("contest", Config::default(), |world| async move {
        let world = std::rc::Rc::new(world);
        for round in 0..20_u64 {
            world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
            let writers: Vec<_> = (0..8)
                .map(|number| {
                    let world = std::rc::Rc::clone(&world);
                    ring::spawn(async move {
                        ring::sleep(std::time::Duration::from_micros(round * 100)).await;
                        world.send(MAIN, "PUT", &format!("/bkt/k{number}"), &[], &[7; 100]).await
                    })
                })
                .collect();
            let deleted = world.send(MAIN, "DELETE", "/bkt", &[], b"").await;
            let mut kept = 0;
            for writer in writers {
                let put = writer.await;
                match put.status {
                    200 => kept += 1,
                    _ => drop(put.expect_error(404, "NoSuchBucket")),
                }
            }
            if deleted.status == 204 {
                assert_eq!(kept, 0, "nothing was acknowledged into a bucket that is gone");
                continue;
            }
            deleted.expect_error(409, "BucketNotEmpty");
            let listed = world.send(MAIN, "GET", "/bkt", &[], b"").await.expect(200);
            let keys: Vec<String> = listed.rows("Contents", &["Key"]).into_iter().flatten().collect();
            assert_eq!(keys.len(), kept);
            for key in keys {
                world.send(MAIN, "DELETE", &format!("/bkt/{key}"), &[], b"").await.expect(204);
            }
            world.send(MAIN, "DELETE", "/bkt", &[], b"").await.expect(204);
        }
    });
}

/// Dates and version ids differ from run to run; everything else is compared byte for byte.
fn steady(answer: &driver::Answer) -> String {
    let mut text = answer.text();
    for element in ["LastModified", "CreationDate", "VersionId", "NextVersionIdMarker", "HostId"] {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let mut done = String::new();
        while let Some((front, rest)) = text.split_once(&open) {
            let (value, behind) = rest.split_once(&close).expect("closed");
            let shown = if value == "null" { "null" } else { "*" };
            done += &format!("{front}{open}{shown}{close}");
            text = behind.to_owned();
        }
        text = done + &text;
    }
    text
}

#[test]
fn documents_are_what_clients_have_always_read() {
    const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    const NS: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    with_world("golden", Config::default(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/a+b", &[("x-amz-checksum-crc32", "AAAAAA==")], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/d/x", &[], b"1").await.expect(200);
        let list =
            "/bkt?list-type=2&delimiter=/&encoding-type=url&max-keys=2&fetch-owner=true&start-after=%20";
        let owner = aws::account::CanonicalId::derive(
            aws::account::AccountId::parse("000000000000").expect("digits"),
        );
        let owner = format!("<Owner><ID>{owner}</ID><DisplayName>main</DisplayName></Owner>");
        let (empty, one) = (md5_hex(b""), md5_hex(b"1"));
        assert_eq!(
            steady(&world.send(MAIN, "GET", list, &[], b"").await.expect(200)),
            format!(
                "{XML}<ListBucketResult {NS}><Name>bkt</Name><Prefix></Prefix><Delimiter>/</Delimiter>\
                 <EncodingType>url</EncodingType><MaxKeys>2</MaxKeys><IsTruncated>false</IsTruncated><KeyCount>2</KeyCount>\
                 <StartAfter>%20</StartAfter><Contents><Key>a%2Bb</Key><LastModified>*</LastModified>\
                 <ETag>&quot;{empty}&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>\
                 <ChecksumType>FULL_OBJECT</ChecksumType><Size>0</Size><StorageClass>STANDARD</StorageClass>{owner}</Contents>\
                 <CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>"
            )
        );
        let versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        world.send(MAIN, "PUT", "/bkt?versioning", &[], versioning).await.expect(200);
        world.send(MAIN, "DELETE", "/bkt/d/x", &[], b"").await.expect(204);
        assert_eq!(
            steady(&world.send(MAIN, "GET", "/bkt?versions&prefix=d", &[], b"").await.expect(200)),
            format!(
                "{XML}<ListVersionsResult {NS}><Name>bkt</Name><Prefix>d</Prefix><KeyMarker></KeyMarker>\
                 <VersionIdMarker></VersionIdMarker><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>\
                 <DeleteMarker><Key>d/x</Key><VersionId>*</VersionId><IsLatest>true</IsLatest><LastModified>*</LastModified>\
                 {owner}</DeleteMarker><Version><Key>d/x</Key><VersionId>null</VersionId><IsLatest>false</IsLatest>\
                 <LastModified>*</LastModified><ETag>&quot;{one}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>\
                 <ChecksumType>FULL_OBJECT</ChecksumType><Size>1</Size><StorageClass>STANDARD</StorageClass>{owner}</Version>\
                 </ListVersionsResult>"
            )
        );
        let gone = world.send(MAIN, "GET", "/bkt/d/x", &[], b"").await.expect(404);
        assert_eq!((gone.header("x-amz-delete-marker"), gone.code().as_str()), (Some("true"), "NoSuchKey"));
        let id = gone.element("RequestId").expect("an id");
        assert_eq!(
            steady(&gone),
            format!(
                "{XML}<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>d/x</Key>\
                 <Resource>/bkt/d/x</Resource><RequestId>{id}</RequestId><HostId>*</HostId></Error>"
            )
        );
        assert_eq!(
            steady(&world.send(MAIN, "GET", "/", &[], b"").await.expect(200)),
            format!(
                "{XML}<ListAllMyBucketsResult {NS}>{owner}<Buckets><Bucket><Name>bkt</Name><CreationDate>*</CreationDate>\
                 <BucketRegion>us-east-1</BucketRegion></Bucket></Buckets></ListAllMyBucketsResult>"
            )
        );
    });
}
