//! Blocking a digest over the native API, and what clients of each dialect hear of it.

mod driver;

use cas::Digest;
use driver::{ADMIN, Ask, READER, WRITER, World, settings, with_world};
use serde_json::{Value, json};
use tokens::Scope;

const PATH: &str = "/api/v1/blocked";

async fn change(world: &World, method: &str, document: &Value, status: u16) {
    let ask = Ask::new(method, PATH).by(ADMIN).body(document.to_string().as_bytes());
    world.send(ask).await.expect(status);
}

#[test]
fn what_is_blocked_is_a_miss_and_refused_to_each_client_in_words_that_it_survives() {
    with_world("cache-blocks", settings(), |world| async move {
        let bytes = [9; 3_000];
        let hash = Digest::of(&bytes).to_string();
        let key = "a".repeat(64);
        // Where a dialect names an object by its digest, and where by a key.
        let mounts = [
            (format!("/api/v1/objects/{hash}"), 409),
            (format!("/api/v1/cache/default/bazel/cas/{hash}"), 409),
            (format!("/api/v1/cache/default/moon/moon-outputs/cas/{hash}"), 403),
            ("/api/v1/cache/default/ccache/ab/cdef".to_owned(), 409),
            (format!("/api/v1/cache/default/webdav/a/b/c/{key}"), 409),
            ("/api/v1/cache/default/gradle/0123456789abcdef".to_owned(), 413),
            ("/v8/artifacts/0123456789abcdef".to_owned(), 413),
            ("/v1/cache/1234567890".to_owned(), 409),
        ];
        for (target, _) in &mounts {
            let put = world.send(Ask::new("PUT", target).by(WRITER).body(&bytes)).await;
            assert!((200..300).contains(&put.status), "{target}: {}", put.status);
            world.send(Ask::new("GET", target).by(READER)).await.expect(200);
        }
        change(&world, "POST", &json!({ "hash": hash, "reason": "poisoned" }), 201).await;
        for (target, status) in &mounts {
            world.send(Ask::new("GET", target).by(READER)).await.expect(404);
            world.send(Ask::new("PUT", target).by(WRITER).body(&bytes)).await.expect(*status);
            world.send(Ask::new("GET", target).by(READER)).await.expect(404);
        }
        // An old Gradle gives the cache up at any refusal.
        let old = Ask::new("PUT", &mounts[5].0).by(WRITER).with("x-gradle-version", "4.4.1").body(&bytes);
        let told = world.send(old).await.expect(202);
        assert_eq!(told.header("x-zerocloud-not-kept"), Some("Blocked"));
        change(&world, "POST", &json!({ "hash": format!("sha256:{hash}") }), 200).await;
        change(&world, "DELETE", &json!({ "hash": hash }), 204).await;
        for (target, _) in &mounts {
            world.send(Ask::new("GET", target).by(READER)).await.expect(404);
        }
        for (target, _) in &mounts {
            let put = world.send(Ask::new("PUT", target).by(WRITER).body(&bytes)).await;
            assert!((200..300).contains(&put.status), "{target}: {}", put.status);
            world.send(Ask::new("GET", target).by(READER)).await.expect(200);
        }
    });
}

#[test]
fn a_block_is_for_administrators_of_everything_and_is_listed_with_its_reason() {
    with_world("cache-block-rights", settings(), |world| async move {
        let hash = Digest::of(b"bytes").to_string();
        let wish = json!({ "hash": hash, "reason": "why" }).to_string();
        let bound = world.token(Scope::CacheAdmin, &["default"]).await;
        for method in ["GET", "POST", "DELETE"] {
            for token in [READER, WRITER, &*bound] {
                let ask = Ask::new(method, PATH).by(token).body(wish.as_bytes());
                world.send(ask).await.expect_error(403, "Forbidden");
            }
        }
        let made =
            world.send(Ask::new("POST", PATH).by(ADMIN).body(wish.as_bytes())).await.expect(201).json();
        let shown = (&made["hash"], &made["reason"], &made["by"]);
        assert_eq!(shown, (&json!(hash), &json!("why"), &json!("env-admin")));
        let listed = world.send(Ask::new("GET", PATH).by(ADMIN)).await.expect(200).json();
        assert_eq!(listed["blocked"], json!([made]));
        change(&world, "DELETE", &json!({ "hash": hash }), 204).await;
        change(&world, "DELETE", &json!({ "hash": hash }), 404).await;
        for (body, code) in [
            ("[]", "MalformedBody"),
            ("{}", "MalformedBody"),
            (r#"{"hash":"x"}"#, "InvalidDigest"),
            (r#"{"hash":1}"#, "MalformedBody"),
        ] {
            world.send(Ask::new("POST", PATH).by(ADMIN).body(body.as_bytes())).await.expect_error(400, code);
        }
        world.send(Ask::new("PUT", PATH).by(ADMIN)).await.expect_error(405, "MethodNotAllowed");
        world.send(Ask::new("GET", "/api/v1/blocked/x").by(ADMIN)).await.expect_error(404, "NoSuchRoute");
    });
}
