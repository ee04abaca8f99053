//! Requests whose body is a document: digests of the body, and settings that come back as they were put.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod driver;

use driver::{MAIN, digest, suite_config, with_world};
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
