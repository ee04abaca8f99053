//! What operators ask of the native API, against a real store: statistics, collections, pins.

mod driver;

use std::cell::Cell;
use std::time::Duration;

use cas::{Digest, Namespace, Quota, Settings};
use driver::{ADMIN, Answer, Ask, READER, WRITER, World, both, settings, with_world};
use serde_json::{Value, json};
use tokens::Scope;

fn path(bytes: &[u8]) -> String {
    format!("/api/v1/objects/{}", Digest::of(bytes))
}

async fn put(world: &World, ns: &str, bytes: &[u8]) {
    let target = format!("{}?ns={ns}", path(bytes));
    world.send(Ask::new("PUT", &target).by(WRITER).body(bytes)).await.expect(201);
}

async fn look(world: &World, method: &str, ns: &str, bytes: &[u8]) -> Answer {
    world.send(Ask::new(method, &format!("{}?ns={ns}", path(bytes))).by(READER)).await
}

async fn stats(world: &World, query: &str) -> Value {
    world.send(Ask::new("GET", &format!("/api/v1/stats{query}")).by(READER)).await.expect(200).json()
}

async fn post(world: &World, target: &str, body: &Value) -> Answer {
    world.send(Ask::new("POST", target).by(ADMIN).body(body.to_string().as_bytes())).await
}

/// How a collection ended, once the background has done it.
async fn end_of(world: &World, begun: &Answer) -> Value {
    let id = begun.json()["id"].as_u64().expect("a number");
    assert_eq!(begun.header("location"), Some(&*format!("/api/v1/gc/{id}")));
    for _ in 0..100 {
        world.tick().await;
        let state = Ask::new("GET", &format!("/api/v1/gc/{id}")).by(ADMIN);
        let state = world.send(state).await.expect(200).json();
        if state["done"] == true {
            return state;
        }
        world.clock.advance(Duration::from_secs(1));
    }
    panic!("the collection {id} does not end");
}

/// Long enough for what was just brought or found to be promised to nobody.
const PAST_A_LEASE: Duration = Duration::from_secs(31 * 60);

#[test]
fn a_lookup_is_one_hit_or_one_miss_and_the_rest_is_counted_apart() {
    with_world("cache-counts", settings(), |world| async move {
        let bytes = [7; 5_000];
        put(&world, "ci", &bytes).await;
        look(&world, "GET", "ci", b"never there").await.expect(404);
        for _ in 0..3 {
            look(&world, "GET", "ci", &bytes).await.expect(200);
        }
        for method in ["HEAD", "HEAD"] {
            look(&world, method, "ci", &bytes).await.expect(200);
        }
        look(&world, "GET", "ci", b"gone").await.expect(404);
        let asked = json!({ "hashes": [Digest::of(&bytes).to_string()] }).to_string();
        let asked = Ask::new("POST", "/api/v1/objects/missing?ns=ci").by(READER).body(asked.as_bytes());
        world.send(asked).await.expect(200);
        // Refusals are neither.
        world.send(Ask::new("GET", &path(&bytes))).await.expect(401);
        world.send(Ask::new("GET", "/api/v1/objects/x?ns=ci").by(READER)).await.expect(400);
        world.send(Ask::new("PUT", &path(&bytes)).by(READER)).await.expect(403);
        for query in ["", "?ns=ci", "?window=1h", "?window=24h&ns=ci", "?window=30d"] {
            let found = stats(&world, query).await;
            let shown = ["hits", "misses", "heads", "missing_questions", "bytes_sent", "bytes_received"];
            let shown = shown.map(|name| found[name].as_u64().expect(name));
            assert_eq!(shown, [3, 2, 2, 1, 15_000, 5_000], "{query}: {found}");
            assert_eq!(found["hit_rate"], 0.6);
        }
        let name = format!("native/objects/{}", Digest::of(&bytes));
        let top = json!([{ "name": name, "ns": "ci", "downloads": 3 }]);
        for query in ["", "?ns=ci", "?metric=top-packages"] {
            assert_eq!(stats(&world, query).await["top_packages"], top, "{query}");
        }
        let other = stats(&world, "?ns=other").await;
        assert_eq!(other["top_packages"], json!([]));
        assert_eq!(
            (&other["hits"], &other["hit_rate"], &other["objects"]),
            (&json!(0), &Value::Null, &json!(0))
        );
    });
}

#[test]
fn what_is_kept_is_shown_to_those_who_may_read_it() {
    let quotas = [(Namespace::parse("two").expect("legal"), Quota { bytes: 1 << 20, objects: 50 })];
    let small = Settings { quotas: quotas.into(), max_bytes: 1 << 30, ..settings() };
    with_world("cache-storage", small, |world| async move {
        put(&world, "one", &[1; 4_000]).await;
        put(&world, "one", &[2; 4_000]).await;
        put(&world, "two", &[1; 4_000]).await;
        let all = stats(&world, "?metric=storage").await;
        assert_eq!((&all["objects"], &all["max_bytes"]), (&json!(2), &json!(1 << 30)));
        let (stored, logical) = (all["stored_bytes"].as_u64(), all["logical_bytes"].as_u64());
        assert_eq!(stored.map(|bytes| bytes / 2 * 3), logical, "the shared blob counts once and twice");
        assert_eq!(all["namespaces"][0]["ns"], "one");
        assert_eq!(all["namespaces"][1]["quota"], json!({ "bytes": 1 << 20, "objects": 50 }));
        assert!(all.get("hits").is_none() && all.get("top_packages").is_none());
        assert_eq!(stats(&world, "?metric=top-packages").await["top_packages"], json!([]));
        let bound = world.token(Scope::CacheRead, &["two"]).await;
        let own = world.send(Ask::new("GET", "/api/v1/stats").by(&bound)).await.expect(200).json();
        let shown = (&own["namespace"], &own["objects"], &own["max_bytes"]);
        assert_eq!(shown, (&json!("two"), &json!(1), &json!(1 << 20)));
        assert_eq!(own["namespaces"].as_array().map(Vec::len), Some(1));
        world.send(Ask::new("GET", "/api/v1/stats?ns=one").by(&bound)).await.expect_error(403, "Forbidden");
        let bad = [
            ("?window=2h", "InvalidWindow"),
            ("?metric=x", "InvalidMetric"),
            ("?window=%ff", "MalformedQuery"),
        ];
        for (query, code) in bad {
            let ask = Ask::new("GET", &format!("/api/v1/stats{query}")).by(READER);
            world.send(ask).await.expect_error(400, code);
        }
        world.send(Ask::new("POST", "/api/v1/stats").by(READER)).await.expect_error(405, "MethodNotAllowed");
    });
}

#[test]
fn a_collection_takes_what_is_promised_to_nobody() {
    with_world("cache-gc", settings(), |world| async move {
        let (old, used) = ([1; 4_000], [2; 4_000]);
        put(&world, "ci", &old).await;
        put(&world, "ci", &used).await;
        world.clock.advance(PAST_A_LEASE);
        look(&world, "GET", "ci", &used).await.expect(200);
        let dry =
            post(&world, "/api/v1/gc", &json!({ "dry_run": true, "target_bytes": 0 })).await.expect(202);
        let wish = json!({ "dry_run": false, "target_bytes": 0, "older_than_days": null, "ns": null });
        post(&world, "/api/v1/gc", &wish).await.expect_error(409, "GcRunning");
        let state = end_of(&world, &dry).await;
        assert_eq!((&state["freed_objects"], &state["dry_run"]), (&json!(1), &json!(true)));
        look(&world, "HEAD", "ci", &old).await.expect(200);
        world.clock.advance(PAST_A_LEASE);
        look(&world, "GET", "ci", &used).await.expect(200);
        let is_over = Cell::new(false);
        let waiting = async {
            let answer = post(&world, "/api/v1/gc?wait=1", &wish).await;
            is_over.set(true);
            answer
        };
        let background = async {
            while !is_over.get() {
                world.tick().await;
                world.clock.advance(Duration::from_secs(1));
                ring::sleep(Duration::from_millis(10)).await;
            }
        };
        let (answer, ()) = both(waiting, background).await;
        let state = answer.expect(200).json();
        assert_eq!((&state["done"], &state["freed_objects"]), (&json!(true), &json!(1)));
        assert!(state["freed_bytes"].as_u64().expect("a number") >= 4_000, "{state}");
        look(&world, "GET", "ci", &old).await.expect(404);
        look(&world, "GET", "ci", &used).await.expect(200);
    });
}

#[test]
fn a_collection_needs_the_right_for_where_it_collects() {
    with_world("cache-gc-rights", settings(), |world| async move {
        let bound = world.token(Scope::CacheAdmin, &["ci"]).await;
        let ask = |token: &str, body: &str| Ask::new("POST", "/api/v1/gc").by(token).body(body.as_bytes());
        for token in [READER, WRITER] {
            world.send(ask(token, "{}")).await.expect_error(403, "Forbidden");
        }
        world.send(ask(&bound, "{}")).await.expect_error(403, "Forbidden");
        world.send(ask(&bound, r#"{"ns":"other"}"#)).await.expect_error(403, "Forbidden");
        let begun = world.send(ask(&bound, r#"{"ns":"ci"}"#)).await.expect(202);
        end_of(&world, &begun).await;
        for body in ["[]", "{", r#"{"target":1}"#, r#"{"target_bytes":-1}"#, r#"{"older_than_days":1.5}"#] {
            world.send(ask(ADMIN, body)).await.expect_error(400, "MalformedBody");
        }
        world.send(ask(ADMIN, r#"{"ns":"A"}"#)).await.expect_error(400, "InvalidNamespace");
        world.send(Ask::new("GET", "/api/v1/gc/99").by(ADMIN)).await.expect_error(404, "NotFound");
        world.send(Ask::new("GET", "/api/v1/gc/99").by(WRITER)).await.expect_error(403, "Forbidden");
        for target in ["/api/v1/gc/", "/api/v1/gc/x", "/api/v1/gc/1/2"] {
            world.send(Ask::new("GET", target).by(ADMIN)).await.expect_error(404, "NoSuchRoute");
        }
        // What says nothing takes what was not used for longer than the retention.
        world.send(Ask::new("POST", "/api/v1/gc").by(ADMIN)).await.expect(202);
    });
}

#[test]
fn what_is_pinned_outlives_a_collection_until_its_pin_is_gone() {
    with_world("cache-pins", settings(), |world| async move {
        let bytes = [3; 4_000];
        let hash = Digest::of(&bytes).to_string();
        put(&world, "ci", &bytes).await;
        let target = "/api/v1/pins?ns=ci";
        let pin = json!({ "hash": hash, "reason": "release 1", "until": "2100-01-01T00:00:00Z" });
        let made = post(&world, target, &pin).await.expect(201).json();
        assert_eq!(
            (&made["hash"], &made["reason"], &made["by"]),
            (&json!(hash), &json!("release 1"), &json!("env-admin"))
        );
        let listed = world.send(Ask::new("GET", "/api/v1/pins").by(ADMIN)).await.expect(200).json();
        assert_eq!(listed["pins"], json!([made]));
        let bound = world.token(Scope::CacheAdmin, &["other"]).await;
        let unseen = world.send(Ask::new("GET", "/api/v1/pins").by(&bound)).await.expect(200).json();
        assert_eq!(unseen["pins"], json!([]));
        assert_eq!(stats(&world, "").await["pinned_objects"], 1);
        for is_kept in [true, false] {
            world.clock.advance(PAST_A_LEASE);
            let begun = post(&world, "/api/v1/gc", &json!({ "target_bytes": 0 })).await.expect(202);
            end_of(&world, &begun).await;
            look(&world, "HEAD", "ci", &bytes).await.expect(if is_kept { 200 } else { 404 });
            let unpin =
                Ask::new("DELETE", target).by(ADMIN).body(json!({ "hash": hash }).to_string().as_bytes());
            world.send(unpin).await.expect(if is_kept { 204 } else { 404 });
        }
    });
}

#[test]
fn a_pin_that_makes_no_sense_is_refused() {
    with_world("cache-bad-pins", settings(), |world| async move {
        let hash = Digest::of(b"gone").to_string();
        post(&world, "/api/v1/pins", &json!({ "hash": hash })).await.expect_error(404, "NotFound");
        post(&world, "/api/v1/pins", &json!({ "key": hash })).await.expect_error(404, "NotFound");
        let bad = [
            (json!({}), "InvalidPin"),
            (json!({ "hash": hash, "key": "x" }), "InvalidPin"),
            (json!({ "hash": hash, "dialect": "nx" }), "InvalidPin"),
            (json!({ "hash": "x" }), "InvalidDigest"),
            (json!({ "hash": format!("blake3:{hash}") }), "InvalidDigest"),
            (json!({ "key": "", "dialect": "nx" }), "InvalidPin"),
            (json!({ "key": "x", "dialect": "none" }), "InvalidPin"),
            (json!({ "hash": hash, "until": "tomorrow" }), "InvalidPin"),
            (json!({ "hash": hash, "until": "1999-01-01T00:00:00Z" }), "InvalidPin"),
            (json!({ "hash": hash, "for": 1 }), "MalformedBody"),
        ];
        for (body, code) in bad {
            post(&world, "/api/v1/pins", &body).await.expect_error(400, code);
        }
        let by_writer = Ask::new("POST", "/api/v1/pins").by(WRITER).body(b"{}");
        world.send(by_writer).await.expect_error(403, "Forbidden");
        world.send(Ask::new("PUT", "/api/v1/pins").by(ADMIN)).await.expect_error(405, "MethodNotAllowed");
    });
}
