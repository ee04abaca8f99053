//! Requests about settings: digests of their documents, and what of a setting shows in replies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod driver;

use driver::{ALT, MAIN, digest, suite_config, with_world};
use hash::Algorithm;

const DELETE: &[u8] = b"<Delete><Object><Key>k</Key></Object></Delete>";
const TAGGING: &[u8] = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";

#[test]
fn a_document_is_checked_against_every_digest_that_comes_with_it() {
    with_world("documents", suite_config(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt/k", &[], b"body").await.expect(200);
        let requests = [("POST", "/bkt?delete", DELETE), ("PUT", "/bkt?tagging", TAGGING)];
        for (method, target, body) in requests {
            for row in &s3::model::checksum::ALGORITHMS {
                let bad = digest(row.algorithm, b"another document");
                let header = [(row.header, bad.as_str())];
                world.send(MAIN, method, target, &header, body).await.expect_error(400, "BadDigest");
                let announced = [("x-amz-trailer", row.header)];
                let sent =
                    world.send_with(MAIN, method, target, &announced, body, &[(row.header, &bad)]).await;
                sent.expect_error(400, "BadDigest");
                let without = world.send_with(MAIN, method, target, &announced, body, &[]).await;
                without.expect_error(400, "MalformedTrailerError");
            }
            let md5 = digest(Algorithm::Md5, b"another document");
            let header = [("content-md5", md5.as_str())];
            world.send(MAIN, method, target, &header, body).await.expect_error(400, "BadDigest");
        }
        // Nothing of it was done.
        world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect(200);
        world.send(MAIN, "GET", "/bkt?tagging", &[], b"").await.expect_error(404, "NoSuchTagSet");
        for (index, (method, target, body)) in requests.into_iter().enumerate() {
            let row = &s3::model::checksum::ALGORITHMS[index];
            let good = digest(row.algorithm, body);
            let announced = [("x-amz-trailer", row.header)];
            let sent = world.send_with(MAIN, method, target, &announced, body, &[(row.header, &good)]).await;
            assert!(sent.status == 200 || sent.status == 204, "{target}: {}", sent.status);
        }
        world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect_error(404, "NoSuchKey");
    });
}

#[test]
fn a_preflight_says_first_what_is_missing() {
    with_world("preflight", suite_config(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let origin = ("origin", "https://example.test");
        let method = ("access-control-request-method", "GET");
        world.send(None, "OPTIONS", "/bkt/k", &[method], b"").await.expect_error(400, "BadRequest");
        world.send(None, "OPTIONS", "/bkt/k", &[origin], b"").await.expect_error(400, "BadRequest");
        world
            .send(None, "OPTIONS", "/bkt/k", &[origin, method], b"")
            .await
            .expect_error(403, "AccessForbidden");
    });
}

#[test]
fn writes_name_versions_only_while_they_are_kept() {
    with_world("named", suite_config(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let copied = [("x-amz-copy-source", "bkt/k")];
        for (status, is_named) in [(None, false), (Some("Enabled"), true), (Some("Suspended"), false)] {
            if let Some(status) = status {
                let document =
                    format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
                world.send(MAIN, "PUT", "/bkt?versioning", &[], document.as_bytes()).await.expect(200);
            }
            let put = world.send(MAIN, "PUT", "/bkt/k", &[], b"v").await.expect(200);
            assert_eq!(put.header("x-amz-version-id").is_some(), is_named, "{status:?}");
            let copy = world.send(MAIN, "PUT", "/bkt/copy", &copied, b"").await.expect(200);
            assert_eq!(copy.header("x-amz-version-id").is_some(), is_named, "{status:?}");
            let get = world.send(MAIN, "GET", "/bkt/k", &[], b"").await.expect(200);
            assert_eq!(get.header("x-amz-version-id").is_some(), status.is_some(), "{status:?}");
        }
    });
}

#[test]
fn whoever_may_list_a_bucket_sees_its_uploads_and_an_owner_that_is_none_is_denied() {
    with_world("listers", suite_config(), |world| async move {
        world.send(MAIN, "PUT", "/bkt", &[("x-amz-acl", "public-read-write")], b"").await.expect(200);
        world.send(ALT, "POST", "/bkt/k?uploads", &[], b"").await.expect(200);
        world.send(ALT, "GET", "/bkt?uploads", &[], b"").await.expect(200);
        world.send(MAIN, "PUT", "/bkt?acl", &[("x-amz-acl", "private")], b"").await.expect(200);
        world.send(ALT, "GET", "/bkt?uploads", &[], b"").await.expect_error(403, "AccessDenied");
        for (owner, status) in [("000000000000", 200), ("111111111111", 403), ("nobody", 403), ("", 403)] {
            let expected = [("x-amz-expected-bucket-owner", owner)];
            let answer = world.send(MAIN, "GET", "/bkt", &expected, b"").await;
            assert_eq!(answer.status, status, "{owner:?}");
        }
    });
}

#[test]
fn changes_of_one_bucket_at_once_are_all_made() {
    with_world("changes", suite_config(), |world| async move {
        let world = std::rc::Rc::new(world);
        world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
        let changes: Vec<_> = (0..12)
            .map(|number| {
                let world = std::rc::Rc::clone(&world);
                ring::spawn(async move {
                    let acl = if number % 2 == 0 { "public-read" } else { "private" };
                    world.send(MAIN, "PUT", "/bkt?acl", &[("x-amz-acl", acl)], b"").await
                })
            })
            .collect();
        for change in changes {
            change.await.expect(200);
        }
    });
}
