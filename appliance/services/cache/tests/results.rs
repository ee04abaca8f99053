//! Action results of Bazel and moon and action records of the native API against a real store: a hit implies its whole closure.

mod driver;

use cas::{Digest, Settings};
use driver::{Answer, Ask, BEGINNING, READER, Stop, TempDir, WRITER, World, with_world, with_world_until};
use serde_json::json;
use store::ManualClock;

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

/// A Digest message of a blob shorter than 128 bytes.
fn digest_of(blob: &[u8]) -> Vec<u8> {
    [field(1, &Digest::of(blob).text()), vec![0x10, u8::try_from(blob.len()).expect("a short blob")]].concat()
}

/// FileNode and DirectoryNode.
fn node(name: &str, blob: &[u8]) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, &digest_of(blob))].concat()
}

/// An ActionResult with one output file.
fn with_file(blob: &[u8]) -> Vec<u8> {
    field(2, &node("out", blob))
}

struct Door<'w> {
    world: &'w World,
    base: &'static str,
}

impl Door<'_> {
    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let token = if method == "PUT" { WRITER } else { READER };
        self.world.send(Ask::new(method, &format!("{}{path}", self.base)).by(token).body(body)).await
    }

    async fn put_blob(&self, blob: &[u8]) {
        self.ask("PUT", &format!("/cas/{}", Digest::of(blob)), blob).await.expect(200);
    }

    async fn put_result(&self, key: &[u8], result: &[u8]) -> Answer {
        self.ask("PUT", &format!("/ac/{}", Digest::of(key)), result).await
    }

    async fn result(&self, key: &[u8]) -> Answer {
        self.ask("GET", &format!("/ac/{}", Digest::of(key)), b"").await
    }

    /// Takes a blob away, as damage on the disk does.
    async fn lose(&self, blob: &[u8]) {
        let (cas, digest) = (self.world.cas.clone(), Digest::of(blob));
        let shard = cas::store::place_of(&self.world.store, &digest);
        let view = self.world.store.view(shard).expect("a view");
        let record = view.get(cas::store::BLOBS, digest.as_bytes()).expect("readable").expect("there");
        let stored_ms = cas::store::blob::BlobRecord::decode(record.value).expect("a record").created_ms;
        drop(view);
        let plan = self.world.with_context(|cx| {
            cas.quarantine(cx, digest, stored_ms, |_, _| {
                plan::Plan::Reply(plan::Reply::empty(http_types::StatusCode::OK))
            })
        });
        self.world.run(plan).await;
    }
}

const BAZEL: &str = "/api/v1/cache/ci/bazel";
const MOON: &str = "/api/v1/cache/ci/moon/moon-outputs";

#[test]
fn a_result_is_a_hit_while_all_that_it_names_is_there() {
    with_world("results-closure", Settings::default(), |world| async move {
        let bazel = Door { world: &world, base: BAZEL };
        let (leaf, inner) = (b"a leaf", b"an inner leaf");
        let child = field(1, &node("inner", inner));
        let root = [field(1, &node("leaf", leaf)), field(2, &node("sub", &child))].concat();
        let tree = [field(1, &root), field(2, &child)].concat();
        let tree_digest = [
            field(1, &Digest::of(&tree).text()),
            vec![0x10, (tree.len() & 0x7f) as u8 | 0x80, (tree.len() >> 7) as u8],
        ];
        let directory = field(3, &[field(1, b"dir"), field(3, &tree_digest.concat())].concat());
        let result =
            [with_file(b"file"), directory, field(6, &digest_of(b"stdout")), field(8, &digest_of(b""))]
                .concat();
        let blobs: [&[u8]; 5] = [b"file", b"stdout", leaf, inner, &tree];
        for blob in blobs {
            bazel.put_blob(blob).await;
        }
        for lost in blobs {
            bazel.put_result(b"key", &result).await.expect(200);
            let hit = bazel.result(b"key").await.expect(200);
            assert_eq!((hit.body, hit.operation), (result.clone(), "bazel_get_action"));
            bazel.lose(lost).await;
            bazel.result(b"key").await.expect(404);
            // The record is gone: the blob alone does not bring it back.
            bazel.put_blob(lost).await;
            bazel.result(b"key").await.expect(404);
        }
    });
}

#[test]
fn a_result_that_comes_before_its_blobs_is_a_hit_once_they_are_there() {
    let clock = ManualClock::new(BEGINNING);
    let directory = TempDir::new("results-open");
    let later = clock.clone();
    with_world_until(&directory.0, Stop::AtOnce, &clock, Settings::default(), |world| async move {
        let bazel = Door { world: &world, base: BAZEL };
        for key in [b"waits", b"never"] {
            bazel.put_result(key, &with_file(key)).await.expect(200);
            bazel.result(key).await.expect(404);
        }
        bazel.put_blob(b"waits").await;
        assert_eq!(bazel.result(b"waits").await.expect(200).body, with_file(b"waits"));
        // Closed now: what it names counts at each look-up.
        bazel.lose(b"waits").await;
        bazel.result(b"waits").await.expect(404);
        // After a minute nobody uploads any more: the look-up takes the record away, and the blob comes too late.
        later.advance(std::time::Duration::from_secs(61));
        bazel.result(b"never").await.expect(404);
        bazel.put_blob(b"never").await;
        bazel.result(b"never").await.expect(404);
    });
}

#[test]
fn what_is_no_result_is_refused_and_leaves_what_was_there() {
    with_world("results-invalid", Settings::default(), |world| async move {
        let bazel = Door { world: &world, base: BAZEL };
        bazel.put_blob(b"file").await;
        bazel.put_result(b"key", &with_file(b"file")).await.expect(200);
        for bad in [&b"text"[..], b"\x12\x02\x0a\x00", br#"{"outputFiles":[]}"#] {
            let refused = bazel.put_result(b"key", bad).await.expect(400);
            assert!(refused.text().contains("InvalidActionResult"), "{}", refused.text());
        }
        let long = vec![0; cache::action::RESULT_BYTES_MAX + 1];
        bazel.put_result(b"key", &long).await.expect(413);
        assert_eq!(bazel.result(b"key").await.expect(200).body, with_file(b"file"));
        // A tree that is none.
        let directory = field(3, &[field(1, b"dir"), field(3, &digest_of(b"no tree"))].concat());
        bazel.put_blob(b"no tree").await;
        bazel.put_result(b"other", &directory).await.expect(400);
        bazel.result(b"other").await.expect(404);
        for path in ["/ac/00", "/cas/ABC", "/ac/xyz"] {
            bazel.ask("GET", path, b"").await.expect(400);
        }
    });
}

#[test]
fn moon_keeps_results_as_json_and_asks_for_a_status() {
    with_world("results-moon", Settings::default(), |world| async move {
        let moon = Door { world: &world, base: MOON };
        let file = json!({"path": "out", "digest": {"hash": Digest::of(b"x").to_string(), "sizeBytes": "1"}});
        let result = json!({"outputFiles": [file], "executionMetadata": {"worker": "moon"}}).to_string();
        moon.put_blob(b"x").await;
        moon.put_result(b"key", result.as_bytes()).await.expect(200);
        let hit = moon.result(b"key").await.expect(200);
        assert_eq!((hit.text(), hit.header("content-type")), (result, Some("application/json")));
        moon.put_result(b"key", &with_file(b"x")).await.expect(400);
        moon.lose(b"x").await;
        moon.result(b"key").await.expect(404);
        let status = |ask: Ask| world.send(ask);
        status(Ask::new("GET", "/api/v1/cache/ci/moon/status").by(READER)).await.expect(200);
        status(Ask::new("HEAD", "/status").by(READER)).await.expect(200);
        status(Ask::new("GET", "/api/v1/cache/ci/moon/status")).await.expect(401);
    });
}

#[test]
fn instances_and_dialects_have_results_of_their_own_and_share_blobs() {
    with_world("results-instances", Settings::default(), |world| async move {
        let bazel = Door { world: &world, base: BAZEL };
        let instance = Door { world: &world, base: "/api/v1/cache/ci/bazel/arm" };
        instance.put_blob(b"file").await;
        bazel.put_result(b"key", &with_file(b"file")).await.expect(200);
        bazel.result(b"key").await.expect(200);
        instance.result(b"key").await.expect(404);
        Door { world: &world, base: "/api/v1/cache/ci/moon" }.result(b"key").await.expect(404);
        Door { world: &world, base: "/api/v1/cache/other/bazel" }.result(b"key").await.expect(404);
        instance.put_result(b"key", &[with_file(b"file"), vec![0x20, 1]].concat()).await.expect(200);
        assert_eq!(bazel.result(b"key").await.expect(200).body, with_file(b"file"));
    });
}

#[test]
fn blobs_are_verified_kept_once_and_never_needed_when_empty() {
    with_world("results-blobs", Settings::default(), |world| async move {
        let bazel = Door { world: &world, base: BAZEL };
        let blob = vec![7; 3 << 20];
        let path = format!("/cas/{}", Digest::of(&blob));
        bazel.ask("PUT", &path, b"other").await.expect(400);
        bazel.ask("GET", &path, b"").await.expect(404);
        bazel.ask("PUT", &path, &blob).await.expect(200);
        // All of it is read again: a client that is cut off takes that for a failure.
        let again = bazel.ask("PUT", &path, &blob).await.expect(200);
        assert_eq!((again.read_bytes, again.header("connection")), (blob.len(), None));
        assert!(bazel.ask("GET", &path, b"").await.expect(200).body == blob);
        let empty = format!("/cas/{}", Digest::of(b""));
        for method in ["GET", "HEAD", "PUT", "GET"] {
            let answer = bazel.ask(method, &empty, b"").await.expect(200);
            assert_eq!(answer.length, 0);
        }
        bazel.put_result(b"key", &field(6, &digest_of(b""))).await.expect(200);
        bazel.result(b"key").await.expect(200);
        bazel.ask("PUT", &empty, b"not empty").await.expect(400);
    });
}

#[test]
fn a_reader_stores_nothing() {
    with_world("results-reader", Settings::default(), |world| async move {
        let key = Digest::of(b"key");
        for path in ["bazel/ac", "bazel/cas", "moon/i/ac", "moon/i/cas"] {
            let path = format!("/api/v1/cache/ci/{path}/{key}");
            world.send(Ask::new("PUT", &path).by(READER).body(b"x")).await.expect(403);
            world.send(Ask::new("PUT", &path).by("wrong").body(b"x")).await.expect(401);
            world.send(Ask::new("GET", &path).by(READER)).await.expect(404);
        }
    });
}

fn record(path: &str, blob: &[u8]) -> String {
    let output = json!({"path": path, "hash": Digest::of(blob).to_string(), "size": blob.len(), "mode": 493});
    json!({"outputs": [output], "metadata": {"target": "all"}}).to_string()
}

#[test]
fn a_native_record_needs_its_outputs_and_is_replaced_or_kept_or_removed() {
    with_world("results-native", Settings::default(), |world| async move {
        let path = format!("/api/v1/actions/{}", Digest::of(b"key"));
        let put = |body: String| Ask::new("PUT", &path).by(WRITER).body(body.as_bytes());
        let get = || Ask::new("GET", &path).by(READER);
        let refused = world.send(put(record("bin/a", b"out"))).await.expect_error(400, "MissingOutputs");
        assert_eq!(refused.json()["error"]["missing"], json!([Digest::of(b"out").to_string()]));
        let object = format!("/api/v1/objects/{}", Digest::of(b"out"));
        world.send(Ask::new("PUT", &object).by(WRITER).body(b"out")).await.expect(201);
        world.send(get()).await.expect_error(404, "NotFound");
        assert_eq!(world.send(put(record("bin/a", b"out"))).await.expect(201).json(), json!({"outputs": 1}));
        let hit = world.send(get()).await.expect(200);
        assert_eq!(
            hit.json(),
            serde_json::from_str::<serde_json::Value>(&record("bin/a", b"out")).expect("JSON")
        );
        let tag = hit.header("etag").expect("a tag").to_owned();
        world.send(get().with("if-none-match", &tag)).await.expect(304);
        let head = world.send(Ask::new("HEAD", &path).by(READER)).await.expect(200);
        assert_eq!((head.length, head.operation), (hit.length, "native_head_action"));
        let again = || put(record("bin/b", b"out"));
        world.send(again().with("if-none-match", "*")).await.expect_error(412, "PreconditionFailed");
        world.send(again().with("if-none-match", "\"x\"")).await.expect_error(400, "InvalidHeader");
        world.send(again()).await.expect(201);
        assert_eq!(world.send(get()).await.expect(200).json()["outputs"][0]["path"], "bin/b");
        world.send(put(record("../b", b"out"))).await.expect_error(400, "InvalidAction");
        world.send(Ask::new("DELETE", &path).by(READER)).await.expect(403);
        world.send(Ask::new("DELETE", &path).by(WRITER)).await.expect(204);
        world.send(Ask::new("DELETE", &path).by(WRITER)).await.expect(404);
        world.send(get()).await.expect(404);
        world.send(Ask::new("GET", "/api/v1/actions/xyz").by(READER)).await.expect_error(400, "InvalidKey");
        world.send(Ask::new("POST", &path).by(WRITER)).await.expect(405);
    });
}
