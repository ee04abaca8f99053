//! The native API's objects against a real store: what clients may rely on, request by request.

mod driver;

use std::io::Write as _;

use cas::{Digest, Settings};
use driver::{ADMIN, Answer, Ask, READER, WRITER, World, settings, with_world};
use serde_json::json;
use tokens::Scope;

/// Bytes that no run of the same length repeats.
fn bytes_of(length: usize, salt: u64) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn path(bytes: &[u8]) -> String {
    format!("/api/v1/objects/{}", Digest::of(bytes))
}

async fn put(world: &World, bytes: &[u8]) -> Answer {
    world.send(Ask::new("PUT", &path(bytes)).by(WRITER).body(bytes)).await
}

async fn get(world: &World, bytes: &[u8]) -> Answer {
    world.send(Ask::new("GET", &path(bytes)).by(READER)).await
}

#[test]
fn an_object_comes_back_under_its_digest_with_its_headers() {
    with_world("cache-objects", settings(), |world| async move {
        for length in [0, 1, 4_096, 40_000, 300_000] {
            let bytes = bytes_of(length, 1);
            get(&world, &bytes).await.expect_error(404, "NotFound");
            let stored = put(&world, &bytes).await.expect(201);
            let said = stored.json();
            assert_eq!(said["hash"], Digest::of(&bytes).to_string());
            assert_eq!((&said["size"], &said["new"]), (&json!(length), &json!(true)));
            assert!(said["stored"].as_u64().expect("a number") >= length as u64);
            let got = get(&world, &bytes).await.expect(200);
            assert!(got.body == bytes && got.length == length as u64);
            assert_eq!(got.header("etag"), Some(&*format!("\"{}\"", Digest::of(&bytes))));
            assert_eq!(got.header("content-type"), Some("application/octet-stream"));
            assert_eq!(got.header("cache-control"), Some("private, max-age=31536000, immutable"));
            assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(got.header("x-digest-sizebytes"), Some(&*length.to_string()));
            assert_eq!(got.operation, "native_get_object");
            let head = world.send(Ask::new("HEAD", &path(&bytes)).by(READER)).await.expect(200);
            assert_eq!((head.headers, head.length, head.body.len()), (got.headers, length as u64, 0));
        }
    });
}

#[test]
fn every_spelling_of_a_digest_is_the_same_object() {
    with_world("cache-spellings", settings(), |world| async move {
        let bytes = bytes_of(100, 2);
        let digest = Digest::of(&bytes);
        let at = |name: String| Ask::new("PUT", &format!("/api/v1/objects/{name}")).by(WRITER).body(&bytes);
        world.send(at(format!("sha256:{digest}"))).await.expect(201);
        for name in [format!("sha256-{digest}"), format!("sha256%3a{digest}"), digest.to_string()] {
            world.send(at(name.clone())).await.expect(200);
            let got = Ask::new("GET", &format!("/api/v1/objects/{name}")).by(READER);
            assert_eq!(world.send(got).await.expect(200).body, bytes);
        }
        let others = [
            format!("blake3:{digest}"),
            format!("1220{digest}"),
            format!("a-1.0.0-{}", "A".repeat(44)),
            digest.to_string().to_uppercase(),
            "x".to_owned(),
        ];
        for name in others {
            for method in ["GET", "HEAD", "PUT"] {
                let ask = Ask::new(method, &format!("/api/v1/objects/{name}")).by(WRITER);
                let answer = world.send(ask).await.expect(400);
                assert!(method == "HEAD" || answer.code() == "InvalidDigest", "{name}");
            }
        }
    });
}

#[test]
fn an_upload_of_other_bytes_is_refused_and_leaves_nothing() {
    with_world("cache-wrong", settings(), |world| async move {
        let (bytes, other) = (bytes_of(10_000, 3), bytes_of(10_000, 4));
        let wrong = Ask::new("PUT", &path(&bytes)).by(WRITER).body(&other);
        let refused = world.send(wrong).await.expect_error(400, "BadDigest");
        assert!(refused.text().contains(&Digest::of(&other).to_string()));
        let cut = Ask::new("PUT", &path(&bytes)).by(WRITER).body(&bytes[..5_000]).cut();
        world.send(cut).await.expect_error(400, "IncompleteBody");
        for absent in [&bytes, &other] {
            get(&world, absent).await.expect(404);
        }
        let figures = world.store.shards().map(|shard| {
            let view = world.store.view(shard).expect("a view");
            view.counter(cas::store::USAGE, b"").expect("a counter")
        });
        assert!(figures.into_iter().all(|total| total == [0, 0]));
    });
}

#[test]
fn an_upload_of_what_is_there_is_spared_or_drained_or_cut_off() {
    with_world("cache-present", settings(), |world| async move {
        let bytes = bytes_of(3 << 20, 5);
        put(&world, &bytes).await.expect(201);
        let again = || Ask::new("PUT", &path(&bytes)).by(WRITER);
        let spared = world.send(again().body(&bytes).with("expect", "100-Continue")).await.expect(200);
        assert_eq!((spared.read_bytes, spared.json()["new"].as_bool()), (0, Some(false)));
        assert_eq!(spared.header("connection"), None);
        let long = world.send(again().body(&bytes)).await.expect(200);
        assert!((1 << 20..(1 << 20) + 65_536).contains(&long.read_bytes), "{}", long.read_bytes);
        assert_eq!(long.header("connection"), Some("close"));
        // Whatever the body is: the object is there, and its digest is not asked for again.
        for ask in [again().body(&bytes[..700_000]), again().body(&bytes[..700_000]).chunked()] {
            let short = world.send(ask).await.expect(200);
            assert_eq!((short.read_bytes, short.header("connection")), (700_000, None));
        }
        let none = world.send(again()).await.expect(200);
        assert_eq!((none.json()["size"].as_u64(), none.read_bytes), (Some(3 << 20), 0));
    });
}

#[test]
fn what_another_namespace_has_is_absent_and_must_be_sent_whole() {
    with_world("cache-oracle", settings(), |world| async move {
        let bytes = bytes_of(200_000, 6);
        world
            .send(Ask::new("PUT", &format!("{}?ns=one", path(&bytes))).by(WRITER).body(&bytes))
            .await
            .expect(201);
        let two = world.token(Scope::CacheWrite, &["two"]).await;
        for method in ["GET", "HEAD"] {
            world.send(Ask::new(method, &path(&bytes)).by(&two)).await.expect(404);
        }
        let asked = Ask::new("POST", "/api/v1/objects/missing").by(&two);
        let asked = asked.body(json!({ "hashes": [Digest::of(&bytes).to_string()] }).to_string().as_bytes());
        assert_eq!(world.send(asked).await.expect(200).json()["missing"][0], Digest::of(&bytes).to_string());
        let upload = || Ask::new("PUT", &path(&bytes)).by(&two).with("expect", "100-continue");
        world.send(upload().body(&bytes[..1_000])).await.expect_error(400, "BadDigest");
        let stored = world.send(upload().body(&bytes)).await.expect(201);
        assert_eq!((stored.read_bytes, stored.json()["new"].as_bool()), (200_000, Some(true)));
        assert_eq!(world.send(Ask::new("GET", &path(&bytes)).by(&two)).await.expect(200).body, bytes);
        // The same refusal for a namespace that has it, one that has not, and one that nobody has heard of.
        for ns in ["one", "three", "default"] {
            for target in [
                format!("{}?ns={ns}", path(&bytes)),
                format!("/api/v1/cache/{ns}/native/objects/{}", Digest::of(&bytes)),
            ] {
                world.send(Ask::new("GET", &target).by(&two)).await.expect_error(403, "Forbidden");
            }
        }
    });
}

#[test]
fn tokens_open_what_they_are_for() {
    with_world("cache-tokens", settings(), |world| async move {
        let bytes = bytes_of(10, 7);
        let ask = |method| Ask::new(method, &path(&bytes)).body(&bytes);
        for method in ["GET", "PUT"] {
            let refused = world.send(ask(method)).await.expect_error(401, "MissingToken");
            assert!(refused.header("www-authenticate").is_some());
            assert_eq!(refused.operation, "refused");
            world.send(ask(method).by("zct_wrong")).await.expect(401);
        }
        world.send(ask("PUT").by(READER)).await.expect_error(403, "Forbidden");
        world.send(ask("GET").by(READER)).await.expect(404);
        let basic = aws::encoding::base64(format!("anyone:{WRITER}").as_bytes());
        world.send(ask("PUT").with("authorization", &format!("Basic {basic}"))).await.expect(201);
        world.send(ask("GET").with("x-zero-token", ADMIN)).await.expect(200);
        world.send(ask("GET").by_root()).await.expect(200);
    });
}

#[test]
fn routes_and_methods_that_are_none_are_told_apart() {
    with_world("cache-routes", settings(), |world| async move {
        let bytes = bytes_of(10, 8);
        let refused = world.send(Ask::new("DELETE", &path(&bytes)).by(WRITER)).await;
        assert_eq!(refused.expect_error(405, "MethodNotAllowed").header("allow"), Some("GET, HEAD, PUT"));
        let refused = world.send(Ask::new("GET", "/api/v1/objects/missing").by(WRITER)).await;
        assert_eq!(refused.expect_error(405, "MethodNotAllowed").header("allow"), Some("POST"));
        for target in ["/api/v1/objects/", "/api/v1/objects", "/api/v1/objects/a/b", "/api/v1/nothing"] {
            world.send(Ask::new("GET", target).by(WRITER)).await.expect_error(404, "NoSuchRoute");
        }
        world
            .send(Ask::new("GET", &format!("{}?ns=A", path(&bytes))).by(WRITER))
            .await
            .expect_error(400, "InvalidNamespace");
    });
}

#[test]
fn ranges_and_conditions_are_answered_as_http_says() {
    with_world("cache-ranges", settings(), |world| async move {
        let bytes = bytes_of(100_000, 9);
        put(&world, &bytes).await.expect(201);
        let tag = format!("\"{}\"", Digest::of(&bytes));
        let ask = |headers: &[(&str, &str)]| {
            headers
                .iter()
                .fold(Ask::new("GET", &path(&bytes)).by(READER), |ask, (name, value)| ask.with(name, value))
        };
        let one = world.send(ask(&[("range", "bytes=10-19")])).await.expect(206);
        assert_eq!(
            (&one.body[..], one.header("content-range")),
            (&bytes[10..20], Some("bytes 10-19/100000"))
        );
        assert_eq!(one.header("x-digest-sizebytes"), Some("100000"));
        let last = world.send(ask(&[("range", "bytes=-5"), ("if-range", &tag)])).await.expect(206);
        assert_eq!(last.body, bytes[99_995..]);
        let all = world.send(ask(&[("range", "bytes=0-")])).await.expect(206);
        assert!(all.body == bytes && all.header("content-range") == Some("bytes 0-99999/100000"));
        for headers in [
            &[("range", "bytes=0-1,3-4")][..],
            &[("range", "bytes=0-1"), ("if-range", "\"other\"")],
            &[("range", "lines=0-1")],
        ] {
            assert!(world.send(ask(headers)).await.expect(200).body == bytes, "{headers:?}");
        }
        let outside =
            world.send(ask(&[("range", "bytes=100000-")])).await.expect_error(416, "RangeNotSatisfiable");
        assert_eq!(outside.header("content-range"), Some("bytes */100000"));
        let same = world.send(ask(&[("if-none-match", &tag), ("range", "bytes=0-1")])).await.expect(304);
        assert_eq!((same.header("etag"), same.body.len()), (Some(&*tag), 0));
        world.send(ask(&[("if-none-match", "\"other\"")])).await.expect(200);
    });
}

#[test]
fn the_media_type_of_an_upload_is_kept_by_each_namespace() {
    with_world("cache-types", settings(), |world| async move {
        let bytes = bytes_of(50, 10);
        let upload = |ns: &str, media_type: &str| {
            Ask::new("PUT", &format!("{}?ns={ns}", path(&bytes)))
                .by(WRITER)
                .with("content-type", media_type)
                .body(&bytes)
        };
        world.send(upload("one", "text/html; charset=utf-8")).await.expect(201);
        world.send(upload("two", "application/json")).await.expect(201);
        world.send(upload("three", &"x".repeat(256))).await.expect(201);
        for (ns, media_type) in [
            ("one", "text/html; charset=utf-8"),
            ("two", "application/json"),
            ("three", "application/octet-stream"),
        ] {
            let got = world
                .send(Ask::new("GET", &format!("{}?ns={ns}", path(&bytes))).by(READER))
                .await
                .expect(200);
            assert_eq!(got.header("content-type"), Some(media_type));
            assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
        }
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn a_coded_upload_is_kept_as_what_it_decodes_to() {
    with_world("cache-codings", settings(), |world| async move {
        for (coding, encode, salt) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>, 11), ("zstd", zstd, 12)] {
            // More than a decoder gives out in one step.
            let bytes: Vec<u8> = bytes_of(9_000, salt).repeat(300);
            let upload = |body: &[u8]| {
                Ask::new("PUT", &path(&bytes)).by(WRITER).with("content-encoding", coding).body(body)
            };
            let coded = encode(&bytes);
            world.send(upload(&coded[..coded.len() - 1])).await.expect_error(400, "BadBody");
            world.send(upload(&bytes)).await.expect_error(400, "BadBody");
            world.send(upload(&encode(&bytes[1..]))).await.expect_error(400, "BadDigest");
            get(&world, &bytes).await.expect(404);
            let stored = world.send(upload(&coded)).await.expect(201);
            assert_eq!(stored.json()["size"], bytes.len());
            let got = get(&world, &bytes).await.expect(200);
            assert!(got.body == bytes && got.header("content-encoding").is_none());
        }
        let bytes = bytes_of(10, 13);
        for coding in ["br", "gzip, zstd", "compress"] {
            let ask = Ask::new("PUT", &path(&bytes)).by(WRITER).with("content-encoding", coding).body(&bytes);
            let refused = world.send(ask).await.expect_error(415, "UnsupportedContentEncoding");
            assert_eq!((refused.header("accept-encoding"), refused.read_bytes), (Some("gzip, zstd"), 0));
        }
        let twice = Ask::new("PUT", &path(&bytes)).by(WRITER).with("content-encoding", "gzip");
        let twice = twice.with("content-encoding", "gzip").body(&gzip(&gzip(&bytes)));
        world.send(twice).await.expect(415);
    });
}

#[test]
fn a_longer_object_is_413_announced_or_not_and_after_decoding() {
    let small = Settings { object_bytes_max: 100_000, ..settings() };
    with_world("cache-bounds", small, |world| async move {
        let bytes = vec![7; 100_001];
        let upload = || Ask::new("PUT", &path(&bytes)).by(WRITER);
        let announced = world.send(upload().body(&bytes)).await.expect_error(413, "ObjectTooLarge");
        assert_eq!(announced.read_bytes, 0, "the head says enough");
        world.send(upload().body(&bytes).chunked()).await.expect_error(413, "ObjectTooLarge");
        for (coding, coded) in [("gzip", gzip(&bytes)), ("zstd", zstd(&bytes))] {
            assert!(coded.len() < 10_000);
            let ask = upload().with("content-encoding", coding).body(&coded);
            world.send(ask).await.expect_error(413, "ObjectTooLarge");
        }
        let fits = vec![8; 100_000];
        put(&world, &fits).await.expect(201);
    });
}

#[test]
fn missing_tells_which_in_the_spelling_of_the_question() {
    with_world("cache-missing", settings(), |world| async move {
        let there: Vec<Vec<u8>> = (0..20).map(|salt| bytes_of(100, 100 + salt)).collect();
        for bytes in &there {
            put(&world, bytes).await.expect(201);
        }
        let gone = Digest::of(b"gone");
        let mut hashes: Vec<String> = there.iter().map(|bytes| Digest::of(bytes).to_string()).collect();
        hashes.extend([gone.to_string(), format!("sha256:{gone}"), gone.to_string()]);
        let ask = |body: String| Ask::new("POST", "/api/v1/objects/missing").by(READER).body(body.as_bytes());
        let answer = world.send(ask(json!({ "hashes": hashes }).to_string())).await.expect(200);
        assert_eq!(answer.json(), json!({ "missing": hashes[20..] }));
        let none = world.send(ask(r#"{"hashes":[]}"#.to_owned())).await.expect(200);
        assert_eq!(none.json(), json!({ "missing": [] }));
        let most = vec![gone.to_string(); 10_000];
        let answer = world.send(ask(json!({ "hashes": most }).to_string())).await.expect(200);
        assert_eq!(answer.json()["missing"].as_array().map(Vec::len), Some(10_000));
        let over = vec![gone.to_string(); 10_001];
        world.send(ask(json!({ "hashes": over }).to_string())).await.expect_error(400, "TooManyHashes");
        let bad = [
            ("", "MalformedBody"),
            ("{}", "MalformedBody"),
            ("[]", "MalformedBody"),
            (r#"{"hashes":"x"}"#, "MalformedBody"),
            (r#"{"hashes":[1]}"#, "MalformedBody"),
            (r#"{"hashes":["x"]}"#, "InvalidDigest"),
        ];
        for (body, code) in bad {
            world.send(ask(body.to_owned())).await.expect_error(400, code);
        }
        world.send(ask("[".repeat(100_000))).await.expect_error(400, "MalformedBody");
        world.send(ask(" ".repeat((2 << 20) + 1))).await.expect_error(413, "ObjectTooLarge");
    });
}

#[test]
fn a_full_cache_answers_507_and_keeps_what_it_has() {
    let small = Settings { max_bytes: 300_000, ..settings() };
    with_world("cache-full", small, |world| async move {
        let first = bytes_of(200_000, 14);
        put(&world, &first).await.expect(201);
        let second = bytes_of(200_000, 15);
        let refused = put(&world, &second).await.expect_error(507, "CacheFull");
        assert_eq!(refused.read_bytes, 0, "room is looked for before the body is read");
        assert!(get(&world, &first).await.expect(200).body == first);
        get(&world, &second).await.expect(404);
    });
}

#[test]
fn a_guesser_of_tokens_is_told_when_to_come_again() {
    with_world("cache-guesser", settings(), |world| async move {
        let guess = |target: &str| world.send(Ask::new("GET", target).by("zct_guess"));
        let native = path(b"x");
        let bazel = format!("/api/v1/cache/ci/bazel/ac/{}", Digest::of(b"x"));
        let mut told = guess(&native).await;
        for _ in 0..100 {
            if told.status != 401 {
                break;
            }
            told = guess(&native).await;
        }
        let wait = told.expect_error(429, "TooManyFailures");
        assert!(wait.header("retry-after").expect("a time").parse::<u64>().expect("seconds") >= 1);
        // Clients of others know nothing of 429.
        assert!(guess(&bazel).await.expect(401).header("retry-after").is_some());
        world.clock.advance(std::time::Duration::from_secs(3_600));
        world.send(Ask::new("GET", &native).by(READER)).await.expect(404);
    });
}

#[test]
fn while_the_appliance_starts_each_client_gets_what_it_survives() {
    with_world("cache-starting", settings(), |world| async move {
        let hash = Digest::of(b"x");
        let mount = "/api/v1/cache/ci";
        let answers = [
            ("GET", format!("/api/v1/objects/{hash}"), 503),
            ("PUT", format!("/api/v1/objects/{hash}"), 503),
            ("POST", "/api/v1/objects/missing".to_owned(), 503),
            ("GET", "/api/v1/nothing".to_owned(), 503),
            ("GET", format!("{mount}/bazel/ac/{hash}"), 404),
            ("PUT", format!("{mount}/bazel/ac/{hash}"), 503),
            // A hit may have promised it.
            ("GET", format!("{mount}/bazel/cas/{hash}"), 503),
            ("GET", format!("{mount}/moon/moon-outputs/ac/{hash}"), 404),
            ("GET", format!("{mount}/moon/moon-outputs/cas/{hash}"), 503),
            ("PUT", format!("{mount}/moon/moon-outputs/cas/{hash}"), 403),
            ("GET", format!("{mount}/ccache/73/48vsevb8"), 404),
            ("PUT", format!("{mount}/ccache/73/48vsevb8"), 503),
            ("GET", format!("{mount}/webdav/.sccache_check"), 404),
            ("PUT", format!("{mount}/webdav/.sccache_check"), 507),
            ("GET", format!("{mount}/gradle/0123456789abcdef0123456789abcdef"), 404),
            ("PUT", format!("{mount}/gradle/0123456789abcdef0123456789abcdef"), 413),
            ("GET", "/v8/artifacts/0123456789abcdef".to_owned(), 404),
            ("PUT", "/v8/artifacts/0123456789abcdef".to_owned(), 403),
            ("GET", "/v1/cache/123456".to_owned(), 404),
            ("PUT", "/v1/cache/123456".to_owned(), 403),
        ];
        for (method, target, status) in answers {
            let answer = world.refused(Ask::new(method, &target), "ServiceUnavailable", 503).await;
            assert_eq!(answer.status, status, "{method} {target}");
            assert_eq!(answer.header("retry-after"), Some("1"), "{method} {target}");
        }
        let unsigned = world.refused(Ask::new("GET", "/v1/cache/1"), "SignatureDoesNotMatch", 403).await;
        assert_eq!((unsigned.status, unsigned.header("content-type")), (401, Some("text/plain")));
        let slow = world.refused(Ask::new("PUT", &path(b"x")), "RequestTimeout", 400).await;
        slow.expect_error(400, "RequestTimeout");
    });
}
