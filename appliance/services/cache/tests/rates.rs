//! Namespaces and addresses that may have only so much at once: each client is refused in its own words, and time lets it in again.

mod driver;

use std::time::Duration;

use cache::rate::{Rate, Rates};
use cas::{Digest, Namespace};
use driver::{ADMIN, Answer, Ask, READER, WRITER, World, settings, with_world};

fn requests(of: &[(&str, u64)]) -> Rates {
    let rate = |count| Rate { requests_per_second: Some(count), bytes_per_second: None };
    Rates::new(of.iter().map(|(name, count)| (ns(name), rate(*count))), None)
}

fn bytes(name: &str, count: u64) -> Rates {
    Rates::new([(ns(name), Rate { requests_per_second: None, bytes_per_second: Some(count) })], None)
}

fn ns(text: &str) -> Namespace {
    Namespace::parse(text).expect("legal")
}

fn object(ns: &str, bytes: &[u8]) -> String {
    format!("/api/v1/objects/{}?ns={ns}", Digest::of(bytes))
}

async fn get(world: &World, target: &str) -> Answer {
    world.send(Ask::new("GET", target).by(READER)).await
}

async fn put(world: &World, target: &str, bytes: &[u8]) -> Answer {
    world.send(Ask::new("PUT", target).by(WRITER).body(bytes)).await
}

#[test]
fn a_namespace_beyond_its_requests_is_told_when_to_come_again_and_others_are_not() {
    with_world("cache-rate", settings(), |world| async move {
        let world = world.with_rates(requests(&[("ci", 3)]));
        put(&world, &object("ci", b"a"), b"a").await.expect(201);
        for _ in 0..2 {
            get(&world, &object("ci", b"a")).await.expect(200);
        }
        let refused = get(&world, &object("ci", b"a")).await.expect_error(429, "TooManyRequests");
        assert_eq!(refused.header("retry-after"), Some("1"));
        put(&world, &object("ci", b"b"), b"b").await.expect_error(429, "TooManyRequests");
        put(&world, &object("dev", b"b"), b"b").await.expect(201);
        // Who may not get in at all is told that, and who administers gets in.
        world.send(Ask::new("GET", &object("ci", b"a"))).await.expect(401);
        world.send(Ask::new("GET", "/api/v1/pins?ns=ci").by(ADMIN)).await.expect(200);
        // What was refused is neither a hit nor a miss.
        let stats = get(&world, "/api/v1/stats?ns=dev").await.expect(200).json();
        assert_eq!(stats["hits"], 0);
        world.clock.advance(Duration::from_secs(1));
        get(&world, &object("ci", b"a")).await.expect(200);
        let stats = get(&world, "/api/v1/stats?ns=ci").await.expect(200).json();
        assert_eq!((stats["hits"].as_u64(), stats["misses"].as_u64()), (Some(3), Some(0)));
        assert_eq!(stats["namespaces"][0]["requests_per_second"], 3);
        assert_eq!(world.cas.figures(world.clock.now()).shed, 2);
    });
}

#[test]
fn each_client_survives_its_refusal() {
    with_world("cache-rate-dialects", settings(), |world| async move {
        // One request a second each, which the first has taken.
        let names = ["bazel", "ccache", "webdav", "gradle", "turbo", "nx", "moon"];
        let world = world.with_rates(requests(&names.map(|name| (name, 1))));
        let mount = |name: &str, rest: &str| format!("/api/v1/cache/{name}/{name}{rest}");
        let key = "a".repeat(64);
        let rests = [
            ("bazel", format!("/ac/{key}"), 404, 503),
            ("ccache", "/ab/cdef".to_owned(), 404, 503),
            ("webdav", format!("/a/b/c/{key}"), 404, 507),
            ("gradle", "/d010b3006a93".to_owned(), 404, 413),
            ("turbo", "/v8/artifacts/33c45188b9036e55".to_owned(), 404, 403),
            ("nx", "/v1/cache/9894141616750970191".to_owned(), 404, 403),
            ("moon", format!("/moon-outputs/ac/{key}"), 404, 403),
        ];
        for (name, rest, lookup, write) in &rests {
            let target = mount(name, rest);
            let missed = get(&world, &target).await.expect(404);
            assert_eq!(missed.header("retry-after"), None, "{name} is not refused yet");
            let shed = get(&world, &target).await.expect(*lookup);
            assert_eq!(shed.header("retry-after"), Some("1"), "{name}");
            put(&world, &target, b"value").await.expect(*write);
        }
        // Nothing of it was kept, and Turborepo's words are those after which it uploads no more.
        world.clock.advance(Duration::from_secs(2));
        let refused = put(&world, &mount("turbo", &rests[4].1), b"value").await;
        assert_eq!(refused.status, 202);
        let refused = put(&world, &mount("turbo", &rests[4].1), b"value").await.expect(403);
        assert_eq!(refused.json()["error"]["code"], "forbidden");
        // Gradle of old switches the cache off at 413: its upload is read and not kept.
        let put = Ask::new("PUT", &mount("gradle", &rests[3].1)).by(WRITER).with("x-gradle-version", "4.4.1");
        world.send(put.clone().body(b"value")).await.expect(200);
        let dropped = world.send(put.body(b"value")).await.expect(202);
        assert_eq!(
            (dropped.header("x-zerocloud-not-kept"), dropped.read_bytes),
            (Some("TooManyRequests"), 5)
        );
    });
}

#[test]
fn what_an_action_has_promised_is_served_beyond_the_rate() {
    with_world("cache-rate-promised", settings(), |world| async move {
        let blob = format!("/api/v1/cache/ci/bazel/cas/{}", Digest::of(b"output"));
        put(&world, &blob, b"output").await;
        let world = world.with_rates(requests(&[("ci", 1)]));
        for _ in 0..5 {
            assert_eq!(get(&world, &blob).await.expect(200).body, b"output");
        }
        put(&world, &blob, b"output").await.expect(503);
    });
}

#[test]
fn bytes_that_come_and_leave_are_paid_for_before_anybody_is_served_again() {
    with_world("cache-rate-bytes", settings(), |world| async move {
        let world = world.with_rates(bytes("ci", 10_000));
        let (small, large) = ([1; 5_000], vec![2; 100_000]);
        put(&world, &object("ci", &small), &small).await.expect(201);
        // A body that has begun comes whole, however large it is.
        let chunked = Ask::new("PUT", &object("ci", &large)).by(WRITER).body(&large).chunked();
        world.send(chunked).await.expect(201);
        let refused = get(&world, &object("ci", &small)).await.expect_error(429, "TooManyRequests");
        let seconds: u64 =
            refused.header("retry-after").and_then(|text| text.parse().ok()).expect("a number");
        assert!((9..=10).contains(&seconds), "{seconds}");
        world.clock.advance(Duration::from_secs(seconds - 2));
        get(&world, &object("ci", &small)).await.expect(429);
        world.clock.advance(Duration::from_secs(2));
        get(&world, &object("ci", &small)).await.expect(200);
        // What left since is paid for; what HEAD and a miss send is next to nothing.
        world.clock.advance(Duration::from_secs(2));
        for _ in 0..20 {
            world.send(Ask::new("HEAD", &object("ci", &large)).by(READER)).await.expect(200);
            get(&world, &object("ci", b"never there")).await.expect(404);
        }
        get(&world, &object("ci", &large)).await.expect(200);
        get(&world, &object("ci", &small)).await.expect(429);
    });
}

#[test]
fn an_address_has_so_many_requests_to_objects_in_a_minute() {
    with_world("cache-rate-host", settings(), |world| async move {
        let world = world.with_rates(Rates::new([], Some(4)));
        put(&world, &object("ci", b"a"), b"a").await.expect(201);
        for _ in 0..3 {
            get(&world, &object("ci", b"a")).await.expect(200);
        }
        let refused = get(&world, &object("dev", b"a")).await.expect_error(429, "TooManyRequests");
        assert_eq!(refused.header("retry-after"), Some("15"));
        get(&world, "/api/v1/stats").await.expect(200);
        world.clock.advance(Duration::from_secs(15));
        get(&world, &object("ci", b"a")).await.expect(200);
        get(&world, &object("ci", b"a")).await.expect(429);
    });
}
