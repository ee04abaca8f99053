//! Random sequences of operations against a reference model that keeps every version in a plain vector.
//! Each run counts what it did and which errors it met; a count of zero fails, so that nothing is claimed unexercised.
//! Replay a failure with `S3_MODEL_SEED=<seed> cargo test -p zerocloud-s3 --test model`.

mod driver;
mod reference;

use std::collections::BTreeMap;

use driver::{Answer, MAIN, TempDir, World, digest, md5_hex, with_world_at};
use hash::Algorithm;
use reference::{Model, Object, Random, Version, Versioning};
use s3::Config;

/// Steps of one run.
const STEP_COUNT: usize = 1_600;
/// Steps between two opens of the store.
const STEPS_PER_OPEN: usize = 800;

const KEYS: [&str; 14] =
    ["a", "a/b", "a/b/c", "a/b/d", "a/c", "a!", "a\u{1}", "b", "b/", "b/x", "c/é", "c/😀", "d", "a/b0"];
const BOUNDS: [&str; 7] = ["", "a", "a/", "a/b", "b", "c/", "zz"];

/// One run over one bucket.
struct Run {
    model: Model,
    random: Random,
    counts: BTreeMap<String, u64>,
    uploads: Vec<(String, String)>,
}

impl Run {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.random.below(KEYS.len())]
    }

    fn body(&mut self) -> Vec<u8> {
        let length = [0, 5, 600, 40_000][self.random.below(4)];
        let seed = self.random.next();
        (0..length).map(|place| (seed >> (place % 7 * 8)) as u8 ^ place as u8).collect()
    }

    /// A version id of the key, or one that it never had.
    fn id(&mut self, key: &str) -> String {
        let known: Vec<String> = self
            .model
            .keys
            .get(key)
            .map(|versions| versions.iter().map(|v| v.id.clone()).collect())
            .unwrap_or_default();
        if known.is_empty() || self.random.chance(15) {
            return ["null", "00000000000000000000000000000001"][self.random.below(2)].to_owned();
        }
        known[self.random.below(known.len())].clone()
    }

    async fn step(&mut self, world: &World) {
        match self.random.below(100) {
            0..=24 => self.put(world).await,
            25..=34 => self.delete(world).await,
            35..=46 => self.delete_version(world).await,
            47..=58 => self.get(world).await,
            59..=66 => self.list(world).await,
            67..=74 => self.list_versions(world).await,
            75..=80 => self.copy(world).await,
            81..=86 => self.tag(world).await,
            87..=90 => self.delete_many(world).await,
            91..=96 => self.upload(world).await,
            _ => self.switch(world).await,
        }
    }

    async fn put(&mut self, world: &World) {
        let (key, body) = (self.key(), self.body());
        let current = self.model.current(key).cloned();
        let etag = format!("\"{}\"", md5_hex(&body));
        let (headers, status) = match self.random.below(6) {
            0 => (vec![("if-none-match", "*".to_owned())], if current.is_some() { 412 } else { 200 }),
            1 => (
                vec![("if-match", etag.clone())],
                match &current {
                    None => 404,
                    Some(object) if object.etag == etag => 200,
                    Some(_) => 412,
                },
            ),
            2 => {
                let known = current.as_ref().map_or("\"x\"".to_owned(), |object| object.etag.clone());
                (vec![("if-match", known)], if current.is_some() { 200 } else { 404 })
            }
            _ => (Vec::new(), 200),
        };
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let put = world.send(MAIN, "PUT", &target(key), &headers, &body).await.expect(status);
        self.count("put");
        if status != 200 {
            self.count(&format!("put {status}"));
            return;
        }
        assert_eq!(put.header("etag"), Some(etag.as_str()));
        let id = put.header("x-amz-version-id").map(str::to_owned);
        self.model.add(key, id.as_deref(), Some(Object { body, etag, tag: None }));
    }

    async fn delete(&mut self, world: &World) {
        let key = self.key();
        let current = self.model.current(key).cloned();
        let condition = match (self.random.below(3), &current) {
            (0, Some(object)) => Some((object.etag.clone(), 204)),
            (1, Some(_)) => Some(("\"x\"".to_owned(), 412)),
            _ => None,
        };
        let (headers, status) = match &condition {
            Some((etag, status)) => (vec![("if-match", etag.as_str())], *status),
            None => (vec![], 204),
        };
        let done = world.send(MAIN, "DELETE", &target(key), &headers, b"").await.expect(status);
        self.count("delete");
        if status == 412 {
            return self.count("delete 412");
        }
        let id = done.header("x-amz-version-id").map(str::to_owned);
        let is_marked = self.model.versioning != Versioning::Never;
        assert_eq!(done.header("x-amz-delete-marker"), is_marked.then_some("true"));
        self.model.add(key, id.as_deref(), None);
    }

    async fn delete_version(&mut self, world: &World) {
        let key = self.key();
        let id = self.id(key);
        let done = world
            .send(MAIN, "DELETE", &format!("{}?versionId={id}", target(key)), &[], b"")
            .await
            .expect(204);
        self.count("delete version");
        let removed = self.model.remove(key, &id);
        let was_marker = removed.as_ref().is_some_and(|version| version.object.is_none());
        assert_eq!(done.header("x-amz-delete-marker"), was_marker.then_some("true"));
        self.count(match removed {
            Some(version) if version.object.is_none() => "delete version marker",
            Some(_) => "delete version object",
            None => "delete version absent",
        });
    }

    async fn get(&mut self, world: &World) {
        let key = self.key();
        self.count("get");
        if self.random.chance(50) {
            let get = world.send(MAIN, "GET", &target(key), &[], b"").await;
            let current = self.model.current(key).cloned();
            return self.check_read(get, current, 404, "NoSuchKey");
        }
        let id = self.id(key);
        let get = world.send(MAIN, "GET", &format!("{}?versionId={id}", target(key)), &[], b"").await;
        let versions = self.model.keys.get(key);
        let version = versions.and_then(|versions| versions.iter().find(|version| version.id == id)).cloned();
        match version {
            Some(Version { object: None, .. }) => self.check_read(get, None, 405, "MethodNotAllowed"),
            Some(version) => self.check_read(get, version.object, 0, ""),
            None => self.check_read(get, None, 404, "NoSuchVersion"),
        }
    }

    fn check_read(&mut self, get: Answer, object: Option<Object>, status: u16, code: &str) {
        match object {
            Some(object) => {
                let get = get.expect(200);
                assert!(get.body == object.body, "the bytes of the version");
                assert_eq!(get.header("etag"), Some(object.etag.as_str()));
                assert_eq!(get.header("x-amz-tagging-count").is_some(), object.tag.is_some());
                self.count("get 200");
            }
            None => {
                get.expect_error(status, code);
                self.count(&format!("get {code}"));
            }
        }
    }

    async fn list(&mut self, world: &World) {
        let prefix = BOUNDS[self.random.below(BOUNDS.len())];
        let delimiter = ["", "/", "b"][self.random.below(3)];
        let page = 1 + self.random.below(5);
        let expected = rolled(
            self.model.objects().into_iter().map(|(key, object)| (key, object.etag.clone())),
            prefix,
            delimiter,
        );
        let front = format!(
            "/bkt?max-keys={page}&prefix={}&delimiter={}&encoding-type=url",
            aws::uri::encode(prefix),
            aws::uri::encode(delimiter)
        );
        let is_v2 = self.random.chance(50);
        let mut found = Vec::new();
        let mut position = String::new();
        loop {
            let list_type = if is_v2 { "&list-type=2" } else { "" };
            let answer =
                world.send(MAIN, "GET", &format!("{front}{list_type}{position}"), &[], b"").await.expect(200);
            let entries = entries(&answer, "Contents");
            assert!(entries.len() <= page);
            let last = entries.last().cloned();
            found.extend(entries);
            if answer.element("IsTruncated").as_deref() != Some("true") {
                break;
            }
            position = if is_v2 {
                format!(
                    "&continuation-token={}",
                    aws::uri::encode(&answer.element("NextContinuationToken").expect("a token"))
                )
            } else {
                let next = answer.element("NextMarker").map(|text| decode(&text));
                assert_eq!(next.is_some(), !delimiter.is_empty());
                format!("&marker={}", aws::uri::encode(&next.unwrap_or_else(|| last.expect("an entry").0)))
            };
        }
        assert_eq!(found, expected, "prefix {prefix:?} delimiter {delimiter:?} page {page}");
        self.count(if is_v2 { "list v2" } else { "list v1" });
    }

    async fn list_versions(&mut self, world: &World) {
        let prefix = BOUNDS[self.random.below(BOUNDS.len())];
        let page = 1 + self.random.below(4);
        let mut expected = Vec::new();
        for (key, versions) in self.model.keys.iter().filter(|(key, _)| key.starts_with(prefix)) {
            for (place, version) in versions.iter().enumerate() {
                let size =
                    version.object.as_ref().map(|object| object.body.len().to_string()).unwrap_or_default();
                expected.push((key.clone(), version.id.clone(), (place == 0).to_string(), size));
            }
        }
        let mut found = Vec::new();
        let mut position = String::new();
        loop {
            let url = format!(
                "/bkt?versions&max-keys={page}&prefix={}&encoding-type=url{position}",
                aws::uri::encode(prefix)
            );
            let answer = world.send(MAIN, "GET", &url, &[], b"").await.expect(200);
            let document = aws::xml::Document::parse(&answer.body, 1 << 24).expect("XML");
            for entry in
                document.root().children().filter(|entry| matches!(entry.name(), "Version" | "DeleteMarker"))
            {
                let text = |name: &str| entry.child_text(name).unwrap_or("").to_owned();
                found.push((decode(&text("Key")), text("VersionId"), text("IsLatest"), text("Size")));
            }
            if answer.element("IsTruncated").as_deref() != Some("true") {
                break;
            }
            let key = decode(&answer.element("NextKeyMarker").expect("a key"));
            let mut id = answer.element("NextVersionIdMarker").expect("an id");
            // A client may also go on from the id that it saw.
            if self.random.chance(50) {
                id.clone_from(&found.last().expect("an entry").1);
            }
            position = format!("&key-marker={}&version-id-marker={id}", aws::uri::encode(&key));
        }
        assert_eq!(found, expected, "prefix {prefix:?} page {page}");
        self.count("list versions");
    }

    async fn copy(&mut self, world: &World) {
        let (from, to) = (self.key(), self.key());
        let source = format!("bkt/{}", aws::uri::encode(from));
        let headers = [("x-amz-copy-source", source.as_str()), ("x-amz-metadata-directive", "REPLACE")];
        let copied = world.send(MAIN, "PUT", &target(to), &headers, b"").await;
        let Some(object) = self.model.current(from).cloned() else {
            copied.expect_error(404, "NoSuchKey");
            return self.count("copy 404");
        };
        let id = copied.expect(200).header("x-amz-version-id").map(str::to_owned);
        // A copy is one piece, whatever its source was made of.
        let etag = format!("\"{}\"", md5_hex(&object.body));
        self.model.add(to, id.as_deref(), Some(Object { etag, ..object }));
        self.count("copy");
    }

    async fn tag(&mut self, world: &World) {
        let key = self.key();
        let id = self.id(key);
        let url = format!("{}?tagging&versionId={id}", target(key));
        let text = self.random.next().to_string();
        let body =
            format!("<Tagging><TagSet><Tag><Key>k</Key><Value>{text}</Value></Tag></TagSet></Tagging>");
        let put = world.send(MAIN, "PUT", &url, &[], body.as_bytes()).await;
        let versions = self.model.keys.get_mut(key);
        let version = versions.and_then(|versions| versions.iter_mut().find(|version| version.id == id));
        match version {
            None => {
                put.expect_error(404, "NoSuchVersion");
                self.count("tag 404");
            }
            Some(Version { object: None, .. }) => {
                put.expect_error(405, "MethodNotAllowed");
                self.count("tag 405");
            }
            Some(Version { object: Some(object), .. }) => {
                put.expect(200);
                object.tag = Some(text.clone());
                let get = world.send(MAIN, "GET", &url, &[], b"").await.expect(200);
                assert!(get.text().contains(&format!("<Value>{text}</Value>")));
                self.count("tag");
            }
        }
    }

    async fn delete_many(&mut self, world: &World) {
        let mut body = String::new();
        let mut chosen = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let key = self.key();
            let id = self.random.chance(50).then(|| self.id(key));
            let named = id.as_ref().map(|id| format!("<VersionId>{id}</VersionId>")).unwrap_or_default();
            body += &format!("<Object><Key>{}</Key>{named}</Object>", key.replace('\u{1}', "&#1;"));
            chosen.push((key, id));
        }
        let body = format!("<Delete>{body}</Delete>");
        let crc = digest(Algorithm::Crc32, body.as_bytes());
        let done =
            world.send(MAIN, "POST", "/bkt?delete", &[("x-amz-checksum-crc32", &crc)], body.as_bytes()).await;
        let rows = done.expect(200).rows("Deleted", &["DeleteMarkerVersionId"]);
        assert_eq!(rows.len(), chosen.len());
        for ((key, id), row) in chosen.into_iter().zip(rows) {
            match id {
                Some(id) => drop(self.model.remove(key, &id)),
                None => self.model.add(key, Some(row[0].as_str()).filter(|id| !id.is_empty()), None),
            }
        }
        self.count("delete many");
    }

    async fn upload(&mut self, world: &World) {
        if self.uploads.len() < 3 || self.random.chance(30) {
            let key = self.key();
            let begun =
                world.send(MAIN, "POST", &format!("{}?uploads", target(key)), &[], b"").await.expect(200);
            self.uploads.push((key.to_owned(), begun.element("UploadId").expect("an id")));
            return self.count("upload begun");
        }
        let place = self.random.below(self.uploads.len());
        let (key, id) = self.uploads.swap_remove(place);
        let url = format!("{}?uploadId={id}", target(&key));
        if self.random.chance(25) {
            world.send(MAIN, "DELETE", &url, &[], b"").await.expect(204);
            world.send(MAIN, "DELETE", &url, &[], b"").await.expect_error(404, "NoSuchUpload");
            return self.count("upload aborted");
        }
        let body = self.body();
        let number = 1 + self.random.below(10_000);
        world.send(MAIN, "PUT", &format!("{url}&partNumber={number}"), &[], b"replaced").await.expect(200);
        let put =
            world.send(MAIN, "PUT", &format!("{url}&partNumber={number}"), &[], &body).await.expect(200);
        let part = put.header("etag").expect("a tag");
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>{number}</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
        );
        let done = world.send(MAIN, "POST", &url, &[], list.as_bytes()).await.expect(200);
        let raw = aws::encoding::unhex::<16>(part.trim_matches('"').as_bytes()).expect("hex");
        let etag = format!("\"{}-1\"", md5_hex(&raw));
        assert_eq!(done.element("ETag"), Some(etag.clone()));
        let id = done.header("x-amz-version-id").map(str::to_owned);
        self.model.add(&key, id.as_deref(), Some(Object { body, etag, tag: None }));
        self.count("upload completed");
    }

    async fn switch(&mut self, world: &World) {
        // Once switched on it can only be suspended.
        let (state, word) = match self.random.below(2) {
            0 => (Versioning::Enabled, "Enabled"),
            _ => (Versioning::Suspended, "Suspended"),
        };
        let body = format!("<VersioningConfiguration><Status>{word}</Status></VersioningConfiguration>");
        world.send(MAIN, "PUT", "/bkt?versioning", &[], body.as_bytes()).await.expect(200);
        self.model.versioning = state;
        self.count(word);
    }

    /// Empties the bucket as a client would and removes it.
    async fn finish(&mut self, world: &World) {
        for (key, versions) in std::mem::take(&mut self.model.keys) {
            for version in versions {
                let url = format!("{}?versionId={}", target(&key), version.id);
                world.send(MAIN, "DELETE", "/bkt", &[], b"").await.expect_error(409, "BucketNotEmpty");
                world.send(MAIN, "DELETE", &url, &[], b"").await.expect(204);
            }
        }
        world.send(MAIN, "DELETE", "/bkt", &[], b"").await.expect(204);
        self.count("bucket deleted");
    }
}

fn target(key: &str) -> String {
    format!("/bkt/{}", aws::uri::encode(key))
}

fn decode(text: &str) -> String {
    aws::uri::decode_path(text).expect("encoded").into_owned()
}

/// What a listing should show: keys with their tags, and common prefixes with an empty one, in order.
fn rolled<'m>(
    objects: impl Iterator<Item = (&'m str, String)>,
    prefix: &str,
    delimiter: &str,
) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for (key, etag) in objects.filter(|(key, _)| key.starts_with(prefix)) {
        let group = (!delimiter.is_empty()).then(|| key[prefix.len()..].find(delimiter)).flatten();
        let row = match group {
            Some(at) => (key[..prefix.len() + at + delimiter.len()].to_owned(), String::new()),
            None => (key.to_owned(), etag),
        };
        if rows.last() != Some(&row) {
            rows.push(row);
        }
    }
    rows
}

/// Keys and common prefixes of a page in one order.
fn entries(answer: &Answer, element: &str) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = answer
        .rows(element, &["Key", "ETag"])
        .into_iter()
        .map(|row| (decode(&row[0]), row[1].clone()))
        .collect();
    rows.extend(
        answer.rows("CommonPrefixes", &["Prefix"]).into_iter().map(|row| (decode(&row[0]), String::new())),
    );
    rows.sort();
    rows
}

const EXPECTED_COUNTS: [&str; 28] = [
    "put",
    "put 404",
    "put 412",
    "delete",
    "delete 412",
    "delete version",
    "delete version marker",
    "delete version object",
    "delete version absent",
    "get",
    "get 200",
    "get NoSuchKey",
    "get NoSuchVersion",
    "get MethodNotAllowed",
    "list v1",
    "list v2",
    "list versions",
    "copy",
    "copy 404",
    "tag",
    "tag 404",
    "tag 405",
    "delete many",
    "upload begun",
    "upload completed",
    "upload aborted",
    "Enabled",
    "Suspended",
];

fn run(seed: u64) -> BTreeMap<String, u64> {
    let directory = TempDir::new("model");
    let mut state = Some(Run {
        model: Model { versioning: Versioning::Never, keys: BTreeMap::new() },
        random: Random(seed),
        counts: BTreeMap::new(),
        uploads: Vec::new(),
    });
    let opens = STEP_COUNT / STEPS_PER_OPEN;
    for open in 0..opens {
        let mut run = state.take().expect("left by the run before");
        let slot = &mut state;
        with_world_at(&directory.0, Config::default(), |world| async move {
            if open == 0 {
                world.send(MAIN, "PUT", "/bkt", &[], b"").await.expect(200);
            }
            for step in 0..STEPS_PER_OPEN {
                // The first steps are for a bucket that never kept versions.
                if open == 0 && step < STEPS_PER_OPEN / 4 {
                    match run.random.below(6) {
                        0 | 1 => run.put(&world).await,
                        2 => run.delete(&world).await,
                        3 => run.get(&world).await,
                        4 => run.list(&world).await,
                        _ => run.upload(&world).await,
                    }
                } else {
                    run.step(&world).await;
                }
            }
            if open + 1 == opens {
                run.finish(&world).await;
            }
            *slot = Some(run);
        });
    }
    state.expect("left by the last run").counts
}

#[test]
fn random_operations_agree_with_the_model() {
    use std::hash::{BuildHasher as _, RandomState};
    let given = std::env::var("S3_MODEL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(1_u8));
    println!("seed {seed}; replay: S3_MODEL_SEED={seed} cargo test -p zerocloud-s3 --test model");
    let counts = run(seed);
    for (what, count) in &counts {
        println!("{count:6} {what}");
    }
    for what in EXPECTED_COUNTS {
        assert!(counts.contains_key(what), "{what} never happened");
    }
}
