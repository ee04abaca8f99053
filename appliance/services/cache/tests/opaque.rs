//! The dialects of opaque values against a real store: what each client relies on, request by request.

mod driver;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cas::{Digest, Namespace, Quota, Settings};
use driver::{
    ADMIN, Answer, Ask, BEGINNING, READER, Stop, TempDir, WRITER, World, with_world, with_world_until,
};
use serde_json::json;
use store::ManualClock;
use tokens::Scope;

const CCACHE: &str = "/api/v1/cache/default/ccache/73/48vsevb8";
const WEBDAV: &str = "/api/v1/cache/default/webdav/e/3/3/e3337c3e";
const GRADLE: &str = "/api/v1/cache/default/gradle/d010b3006a9330389e6db63cf87d4023";
const TURBO: &str = "/v8/artifacts/33c45188b9036e55";
const NX: &str = "/v1/cache/9894141616750970191";
/// Every dialect of opaque values, with the status of a good upload.
const ALL: [(&str, u16); 5] = [(CCACHE, 200), (WEBDAV, 201), (GRADLE, 200), (TURBO, 202), (NX, 200)];

async fn put(world: &World, path: &str, bytes: &[u8]) -> Answer {
    world.send(Ask::new("PUT", path).by(WRITER).body(bytes)).await
}

async fn get(world: &World, path: &str) -> Answer {
    world.send(Ask::new("GET", path).by(READER)).await
}

/// Takes a blob away, as damage on the disk does.
async fn lose(world: &World, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let found = world.with_context(|cx| {
        let cas = world.cas.clone();
        world.cas.find(cx, &Namespace::default_one(), digest, move |cx, found| {
            let stored_ms = found.expect("readable").expect("there").stored_ms;
            cas.quarantine(cx, digest, stored_ms, |_, gone| {
                assert!(gone.expect("put aside"));
                plan::Plan::Reply(plan::Reply::empty(http_types::StatusCode::OK))
            })
        })
    });
    world.run(found).await;
}

#[test]
fn a_value_comes_back_as_it_was_stored() {
    with_world("cache-opaque-values", Settings::default(), |world| async move {
        for (index, (path, status)) in ALL.into_iter().enumerate() {
            get(&world, path).await.expect(404);
            let value = vec![index as u8; 40_000 * index];
            put(&world, path, &value).await.expect(status);
            let got = get(&world, path).await.expect(200);
            assert!(got.body == value && got.length == value.len() as u64, "{path}");
            assert_eq!(got.header("etag"), Some(&*format!("\"{}\"", Digest::of(&value))), "{path}");
            assert_eq!(got.header("cache-control"), Some("no-cache"), "{path}");
            assert_eq!(got.header("x-content-type-options"), Some("nosniff"), "{path}");
            let head = world.send(Ask::new("HEAD", path).by(READER)).await.expect(200);
            assert_eq!((head.headers, head.length, head.body.len()), (got.headers, value.len() as u64, 0));
        }
    });
}

#[test]
fn one_key_in_five_dialects_is_five_values() {
    with_world("cache-opaque-apart", Settings::default(), |world| async move {
        let at = |dialect: &str| match dialect {
            "turbo" => "/api/v1/cache/default/turbo/v8/artifacts/abc".to_owned(),
            "nx" => "/api/v1/cache/default/nx/v1/cache/abc".to_owned(),
            other => format!("/api/v1/cache/default/{other}/abc"),
        };
        let dialects = ["ccache", "webdav", "gradle", "turbo", "nx"];
        for dialect in dialects {
            assert!(put(&world, &at(dialect), dialect.as_bytes()).await.status < 300, "{dialect}");
        }
        for dialect in dialects {
            assert_eq!(get(&world, &at(dialect)).await.expect(200).text(), dialect);
        }
        // And none is there for a neighbour.
        get(&world, "/api/v1/cache/other/ccache/abc").await.expect(404);
    });
}

#[test]
fn the_last_writer_wins_but_for_nx() {
    with_world("cache-opaque-again", Settings::default(), |world| async move {
        for (path, status) in ALL {
            put(&world, path, b"first").await.expect(status);
            // The same again is no other value.
            put(&world, path, b"first").await.expect(status);
            let (expected, kept) = if path == NX { (409, "first") } else { (status, "second") };
            put(&world, path, b"second").await.expect(expected);
            assert_eq!(get(&world, path).await.expect(200).text(), kept, "{path}");
        }
    });
}

#[test]
fn a_value_whose_bytes_are_lost_is_a_miss_and_can_be_stored_again() {
    with_world("cache-opaque-lost", Settings::default(), |world| async move {
        for (path, status) in ALL {
            let (value, another) = (format!("value of {path}"), format!("another of {path}"));
            put(&world, path, value.as_bytes()).await.expect(status);
            lose(&world, value.as_bytes()).await;
            // Nobody has looked yet, so the record is still there. It is in nobody's way.
            put(&world, path, another.as_bytes()).await.expect(status);
            assert_eq!(get(&world, path).await.expect(200).text(), another);
            lose(&world, another.as_bytes()).await;
            get(&world, path).await.expect(404);
            put(&world, path, value.as_bytes()).await.expect(status);
            assert_eq!(get(&world, path).await.expect(200).text(), value);
        }
    });
}

/// Bodies of their own lie in extents, on pages.
const PAGE_BYTES: usize = 4_096;

/// Flips a bit of the byte at `offset` of a value, wherever on the disk an extent holds it; gives in how many places.
fn flip(directory: &Path, value: &[u8], offset: usize) -> usize {
    let page = &value[offset / PAGE_BYTES * PAGE_BYTES..][..PAGE_BYTES];
    let mut places = 0;
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            places += flip(&path, value, offset);
        } else if path.parent().is_some_and(|parent| parent.ends_with("extents")) {
            let held = std::fs::read(&path).expect("readable");
            let file = OpenOptions::new().write(true).open(&path).expect("writable");
            for (number, _) in held.chunks(PAGE_BYTES).enumerate().filter(|(_, found)| *found == page) {
                let at = number * PAGE_BYTES + offset % PAGE_BYTES;
                file.write_all_at(&[held[at] ^ 4], at as u64).expect("written");
                places += 1;
            }
            file.sync_all().expect("synced");
        }
    }
    places
}

#[test]
fn a_value_that_was_damaged_on_the_disk_is_a_miss_and_can_be_stored_again() {
    let directory = TempDir::new("cache-opaque-flip");
    let path_of_all = directory.0.clone();
    let clock = ManualClock::new(BEGINNING);
    with_world_until(&directory.0, Stop::Drained, &clock, Settings::default(), |world| async move {
        for (number, (path, status)) in (1_u64..).zip(ALL) {
            let mut state = number;
            let next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let value: Vec<u8> = std::iter::repeat_with(next).take(300_000).collect();
            put(&world, path, &value).await.expect(status);
            assert!(get(&world, path).await.expect(200).body == value);
            assert!(flip(&path_of_all, &value, 200_000) >= 1, "{path}");
            let missed = get(&world, path).await.expect(404);
            assert!(!missed.is_cut, "{path}");
            put(&world, path, &value).await.expect(status);
            assert!(get(&world, path).await.expect(200).body == value, "{path}");
        }
    });
}

#[test]
fn an_upload_that_is_cut_leaves_what_was_there() {
    with_world("cache-opaque-cut", Settings::default(), |world| async move {
        for (path, status) in ALL {
            let cut = Ask::new("PUT", path).by(WRITER).body(&[7; 100_000]).cut();
            assert!(world.send(cut.clone()).await.status >= 400);
            get(&world, path).await.expect(404);
            put(&world, path, b"whole").await.expect(status);
            world.send(cut).await;
            assert_eq!(get(&world, path).await.expect(200).text(), "whole", "{path}");
        }
    });
}

#[test]
fn a_refused_upload_is_read_before_it_is_answered() {
    with_world("cache-opaque-refused", Settings::default(), |world| async move {
        let body = vec![1; 3 << 20];
        for (path, status) in [(CCACHE, 403), (WEBDAV, 403), (GRADLE, 413), (TURBO, 403), (NX, 403)] {
            let upload = || Ask::new("PUT", path).by(READER).body(&body);
            let refused = world.send(upload()).await.expect(status);
            assert_eq!((refused.read_bytes, refused.header("connection")), (body.len(), None), "{path}");
            let refused = world.send(upload().chunked()).await.expect(status);
            assert_eq!(refused.read_bytes, body.len(), "{path}");
            // Who waits for a word before it sends is told at once.
            let spared = world.send(upload().with("expect", "100-continue")).await.expect(status);
            assert_eq!(spared.read_bytes, 0, "{path}");
            get(&world, path).await.expect(404);
            world.send(Ask::new("PUT", path).by("nobody").body(b"x")).await.expect(401);
        }
    });
}

#[test]
fn a_value_that_is_too_large_is_refused_as_each_client_survives_it() {
    let settings = Settings { object_bytes_max: 100_000, ..Settings::default() };
    with_world("cache-opaque-large", settings, |world| async move {
        for (path, status) in [(CCACHE, 413), (WEBDAV, 507), (GRADLE, 413), (TURBO, 413), (NX, 403)] {
            for upload in [Ask::new("PUT", path), Ask::new("PUT", path).chunked()] {
                let refused = world.send(upload.by(WRITER).body(&[2; 300_000])).await.expect(status);
                assert_eq!(refused.read_bytes, 300_000, "{path}");
            }
            get(&world, path).await.expect(404);
            assert!(put(&world, path, &[2; 100_000]).await.status < 300, "{path}");
        }
    });
}

#[test]
fn gradle_is_not_told_what_makes_it_give_up() {
    let full = Quota { bytes: 10_000, objects: 100 };
    let quotas = BTreeMap::from([(Namespace::parse("full").expect("a name"), full)]);
    with_world("cache-opaque-gradle", Settings { quotas, ..Settings::default() }, |world| async move {
        let full = GRADLE.replace("default", "full");
        for (version, status) in [("4.4.1", 202), ("7.6", 202), ("8.0", 413), ("9.3.1", 413), ("?", 413)] {
            let by_reader = Ask::new("PUT", GRADLE).by(READER).with("x-gradle-version", version);
            let over_quota = Ask::new("PUT", &full).by(WRITER).with("x-gradle-version", version);
            for (ask, word) in [(by_reader, "Forbidden"), (over_quota, "QuotaExceeded")] {
                let answer = world.send(ask.body(&[3; 50_000])).await.expect(status);
                assert_eq!(answer.read_bytes, 50_000, "{version}");
                assert_eq!(answer.header("x-zerocloud-not-kept"), (status == 202).then_some(word));
            }
        }
        for path in [GRADLE, &full] {
            get(&world, path).await.expect(404);
        }
    });
}

#[test]
fn headers_that_belong_to_a_value_come_back_within_their_bound() {
    with_world("cache-opaque-headers", Settings::default(), |world| async move {
        let tag = "+Mj73dv052aAe2tDBw7M1N/5UkVxw5VToPygTYM2XY4=";
        let upload = |tag: &str| {
            let ask = Ask::new("PUT", TURBO).by(WRITER).body(b"x").with("x-artifact-duration", "206");
            ask.with("x-artifact-tag", tag).with("content-type", "application/x-tar").with("x-other", "1")
        };
        let answer = world.send(upload(tag)).await.expect(202);
        assert_eq!(answer.json(), json!({ "urls": [format!("http://127.0.0.1:9000{TURBO}")] }));
        let got = get(&world, TURBO).await.expect(200);
        assert_eq!(got.header("x-artifact-tag"), Some(tag));
        assert_eq!(got.header("x-artifact-duration"), Some("206"));
        assert_eq!(got.header("content-type"), Some("application/x-tar"));
        assert_eq!(got.header("x-other"), None);
        let refused = world.send(upload(&"t".repeat(1_025))).await.expect(400);
        assert_eq!(refused.json()["error"]["code"], "InvalidHeader");
    });
}

#[test]
fn turborepo_asks_for_many_artifacts_at_once() {
    with_world("cache-opaque-query", Settings::default(), |world| async move {
        world
            .send(Ask::new("PUT", TURBO).by(WRITER).body(b"12345").with("x-artifact-duration", "9"))
            .await
            .expect(202);
        let ask = |body: &str| Ask::new("POST", "/v8/artifacts").by(READER).body(body.as_bytes());
        let many: Vec<String> = (0..999).map(|number| format!("{number:016x}")).collect();
        let list: Vec<&str> = many.iter().map(String::as_str).chain(["33c45188b9036e55"]).collect();
        let found = world.send(ask(&json!({ "hashes": list }).to_string())).await.expect(200).json();
        assert_eq!(found["33c45188b9036e55"], json!({ "size": 5, "taskDurationMs": 9 }));
        let found = found.as_object().expect("an object");
        assert_eq!(found.len(), 1_000);
        assert_eq!(found.values().filter(|value| value.is_null()).count(), 999);
        world.send(ask("[")).await.expect(400);
        world.send(ask(&"x".repeat((1 << 20) + 1))).await.expect(413);
    });
}

#[test]
fn turborepo_gets_json_whatever_happens() {
    with_world("cache-opaque-json", Settings::default(), |world| async move {
        let events =
            json!([{ "sessionId": "x", "source": "REMOTE", "event": "HIT", "hash": "a", "duration": 2060 }]);
        let events = events.to_string();
        let post = |body: &str| Ask::new("POST", "/v8/artifacts/events").by(READER).body(body.as_bytes());
        let status = world.send(Ask::new("GET", "/v8/artifacts/status?slug=a").by(READER)).await.expect(200);
        assert_eq!(status.json(), json!({ "status": "enabled" }));
        assert_eq!(world.send(post(&events)).await.expect(200).json(), json!({}));
        // What clients tell is shown apart: a lookup was counted when it was made.
        let stats = Ask::new("GET", "/api/v1/stats?window=1h").by(READER);
        let stats = world.send(stats).await.expect(200).json();
        let told = json!({
            "local": { "hits": 0, "misses": 0, "saved_seconds": 0 },
            "remote": { "hits": 1, "misses": 0, "saved_seconds": 2 },
        });
        assert_eq!((&stats["clients"], &stats["hits"]), (&told, &json!(0)));
        for (ask, status, code) in [
            (post("{}"), 400, "bad_request"),
            (post(r#"[{"source":"LOCAL"}]"#), 400, "bad_request"),
            (Ask::new("GET", TURBO), 401, "MissingToken"),
            (Ask::new("GET", "/v8/artifacts/status").by("nobody"), 401, "InvalidToken"),
            (Ask::new("PUT", TURBO).by(READER).body(b"x"), 403, "forbidden"),
            (Ask::new("GET", TURBO).by(READER), 404, "NotFound"),
            (Ask::new("PATCH", TURBO).by(READER), 405, "MethodNotAllowed"),
            (
                Ask::new("GET", "/v8/artifacts/33c45188b9036e55?slug=A%20B").by(READER),
                400,
                "InvalidNamespace",
            ),
        ] {
            let answer = world.send(ask).await.expect_error(status, code);
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    });
}

#[test]
fn a_token_for_one_namespace_uses_it_where_a_path_names_none() {
    with_world("cache-opaque-bound", Settings::default(), |world| async move {
        let bound = world.token(Scope::CacheWrite, &["team"]).await;
        world.send(Ask::new("PUT", NX).by(&bound).body(b"of the team")).await.expect(200);
        get(&world, NX).await.expect(404);
        assert_eq!(
            get(&world, &format!("/api/v1/cache/team/nx{NX}")).await.expect(200).text(),
            "of the team"
        );
        // A team that the token is not for: 401 with a text, since Nx shows no other.
        let other =
            world.send(Ask::new("GET", &format!("/api/v1/cache/other/nx{NX}")).by(&bound)).await.expect(401);
        assert_eq!(other.header("content-type"), Some("text/plain"));
        world.send(Ask::new("GET", &format!("{TURBO}?slug=other")).by(&bound)).await.expect(403);
    });
}

#[test]
fn webdav_has_every_collection_and_only_the_values_that_were_stored() {
    with_world("cache-opaque-webdav", Settings::default(), |world| async move {
        let root = "/api/v1/cache/default/webdav/";
        let ask = |method: &str, path: &str| Ask::new(method, path).by(READER);
        let find = |path: &str| {
            ask("PROPFIND", path).with("depth", "0").body(b"<?xml version=\"1.0\"?><D:propfind/>")
        };
        for path in [root, "/api/v1/cache/default/webdav", &format!("{root}e/3/3/")] {
            let found = world.send(find(path)).await.expect(207);
            assert!(found.text().contains(&format!("<D:href>{path}</D:href>")), "{}", found.text());
            assert!(found.text().contains("<D:collection/>"), "{}", found.text());
        }
        world.send(find(WEBDAV)).await.expect(404);
        put(&world, WEBDAV, b"12345").await.expect(201);
        let found = world.send(find(WEBDAV)).await.expect(207).text();
        assert!(found.contains("<D:getcontentlength>5<") && !found.contains("<D:collection/>"), "{found}");
        // A collection by the name of a value is another thing.
        world.send(find(&format!("{WEBDAV}/"))).await.expect(207);
        let made = world.send(ask("MKCOL", &format!("{root}e/"))).await.expect(405);
        assert_eq!(made.header("allow"), Some("OPTIONS, PROPFIND"));
        world.send(ask("PROPFIND", root).with("depth", "1")).await.expect(501);
        world.send(ask("PROPFIND", root)).await.expect(501);
        world.send(ask("DELETE", WEBDAV)).await.expect(403);
        for status in [204, 404] {
            world.send(Ask::new("DELETE", WEBDAV).by(ADMIN)).await.expect(status);
        }
    });
}
