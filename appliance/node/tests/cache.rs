//! The build cache of the real binary, as an operator meets it: tokens by command, tokens of the environment, who may
//! manage them, a serve of the cache alone.

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aws::encoding::hex;
use aws::sigv4::SigningKey;
use harness::{Node, Scratch, run, secret_of, text, zerocloud};
use serde_json::{Value, json};

/// Of a token: the way in which nothing else is written.
const PREFIX: &str = "zct_";
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(reply: &str) -> Answer {
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("digits");
        Answer { status, head: head.to_ascii_lowercase(), body: body.into() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// One request with these fields.
fn send(node: &Node, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut text =
        format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", node.addresses[0]);
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    Answer::parse(&node.raw(text.as_bytes()))
}

fn with_token(node: &Node, method: &str, target: &str, token: &str, body: &str) -> Answer {
    send(node, method, target, &[("Authorization", &format!("Bearer {token}"))], body)
}

fn object(body: &str) -> String {
    format!("/api/v1/objects/{}", hex(&hash::sha256(body.as_bytes())))
}

/// A command that looks after the node of a directory.
fn command(data: &Path, words: &[&str]) -> Command {
    let mut command = zerocloud();
    command.args(words).arg("--data").arg(data);
    command
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// A token of this right, made by command.
fn token(data: &Path, scope: &str, name: &str) -> String {
    let made = run(&mut command(data, &["token", "create", "--scope", scope, "--name", name]));
    let told = text(&made.stderr);
    let token = ok(&made).trim().to_owned();
    assert!(token.starts_with(PREFIX) && token.lines().count() == 1, "{token}");
    assert!(told.contains(name) && !told.contains(&token), "{told}");
    token
}

fn tokens(data: &Path) -> Vec<Value> {
    let listed: Value =
        serde_json::from_str(&ok(&run(&mut command(data, &["token", "list", "--json"])))).expect("JSON");
    listed["tokens"].as_array().expect("a list").clone()
}

/// Signs for the administration as `key` of the account says.
struct Signer {
    access_key: String,
    secret: String,
    host: String,
}

impl Signer {
    fn root(node: &Node, data: &Path) -> Signer {
        let file = std::fs::read_to_string(data.join("credentials")).expect("credentials");
        let access = file.lines().find_map(|line| line.strip_prefix("aws_access_key_id = "));
        Signer {
            access_key: access.expect("a key").into(),
            secret: secret_of(data),
            host: node.addresses[0].clone(),
        }
    }

    /// The fields of a request whose body has this digest.
    fn fields(&self, method: &str, path: &str, sha256: &str) -> Vec<(&'static str, String)> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let now = aws::Timestamp::from_seconds(i64::try_from(now.as_secs()).expect("fits")).to_basic();
        let now = text(&now);
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n\nhost:{}\nx-amz-content-sha256:{sha256}\nx-amz-date:{now}\n\n{names}\n{sha256}",
            self.host
        );
        let scope = format!("{}/us-east-1/s3/aws4_request", &now[..8]);
        let digest = hex(&hash::sha256(canonical.as_bytes()));
        let key = SigningKey::derive(&self.secret, &now[..8], "us-east-1", "s3");
        let signature = hex(&key.sign(format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}").as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key
        );
        vec![("authorization", authorization), ("x-amz-content-sha256", sha256.into()), ("x-amz-date", now)]
    }

    fn send(&self, node: &Node, method: &str, path: &str, sha256: &str, body: &str) -> Answer {
        let fields = self.fields(method, path, sha256);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        send(node, method, path, &fields, body)
    }
}

#[test]
fn a_token_opens_the_cache_until_it_is_revoked_and_is_in_no_log() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let config = scratch.write("z.toml", "[log]\naccess = true\n", 0o600);
    let node = Node::start(&data, &["--log", "debug", "--config", config.to_str().expect("UTF-8")]);
    let (reader, writer) = (token(&data, "cache:read", "laptop"), token(&data, "cache:write", "ci"));
    let path = object("built");
    assert_eq!(send(&node, "PUT", &path, &[], "built").status, 401);
    assert_eq!(with_token(&node, "PUT", &path, &reader, "built").status, 403);
    assert_eq!(with_token(&node, "PUT", &path, &writer, "built").status, 201);
    let hit = with_token(&node, "GET", &path, &reader, "");
    assert_eq!((hit.status, hit.body.as_str()), (200, "built"));
    let basic = format!("Basic {}", aws::encoding::base64(format!("ci:{reader}").as_bytes()));
    assert_eq!(send(&node, "GET", &path, &[("Authorization", &basic)], "").status, 200);
    assert_eq!(send(&node, "GET", &path, &[("X-Zero-Token", &reader)], "").status, 200);
    let unsigned = send(&node, "GET", &path, &[], "");
    assert_eq!(unsigned.status, 401);
    assert!(
        unsigned.head.contains("x-request-id: ") && unsigned.head.contains("www-authenticate: "),
        "{}",
        unsigned.head
    );

    let rotated = ok(&run(&mut command(&data, &["token", "rotate", "laptop", "--overlap", "0"])));
    assert_eq!(with_token(&node, "GET", &path, &reader, "").status, 401);
    assert_eq!(with_token(&node, "GET", &path, rotated.trim(), "").status, 200);
    let overlapped = ok(&run(&mut command(&data, &["token", "rotate", "laptop", "--overlap", "1h"])));
    assert_eq!(with_token(&node, "GET", &path, rotated.trim(), "").status, 200);
    assert_eq!(with_token(&node, "GET", &path, overlapped.trim(), "").status, 200);
    ok(&run(&mut command(&data, &["token", "revoke", "ci"])));
    assert_eq!(with_token(&node, "GET", &path, &writer, "").status, 401);
    assert_eq!(tokens(&data).len(), 1);
    assert_eq!(run(&mut command(&data, &["token", "revoke", "ci"])).status.code(), Some(64));

    let metrics = node.request("GET /-/metrics HTTP/1.1");
    for line in [
        "zim_cache_hits_total{status=\"hit\"} ",
        "zim_cache_hits_total{status=\"miss\"} ",
        "zim_cache_size_bytes ",
        "zerocloud_cache_evicted_bytes_total{reason=\"size\"} 0",
        "zerocloud_auth_denied_total{reason=\"no_token\"} 2",
        "zerocloud_cache_requests_total{dialect=\"native\",op=\"put_object\",code=\"2xx\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let greeting = node.greeting.clone();
    let log = node.stop();
    assert!(
        log.contains("token made") && log.contains("token revoked") && log.contains("\"service\":\"cache\""),
        "{log}"
    );
    for output in [&log, &metrics, &greeting] {
        for secret in [&reader, &writer, rotated.trim(), overlapped.trim()] {
            assert!(!output.contains(letters_of(secret)) && !output.contains(&basic[6..]), "{output}");
        }
        assert!(!output.contains(&secret_of(&data)));
    }
    // What is stored of them is not they.
    for file in files(&data) {
        let bytes = std::fs::read(&file).expect("readable");
        for secret in [&reader, overlapped.trim()] {
            let letters = letters_of(secret).as_bytes();
            assert!(!bytes.windows(letters.len()).any(|window| window == letters), "{}", file.display());
        }
    }
}

/// What of a token is secret: all behind the second underscore, and there may be more of them.
fn letters_of(token: &str) -> &str {
    token.splitn(3, '_').nth(2).expect("three parts")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_tokens_namespace_and_end_are_shown_and_kept_to() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &[]);
    let words = [
        "token",
        "create",
        "--scope",
        "cache:write",
        "--name",
        "web",
        "--namespace",
        "web",
        "--expires",
        "90d",
        "--json",
    ];
    let made: Value = serde_json::from_str(&ok(&run(&mut command(&data, &words)))).expect("JSON");
    let token = made["token"].as_str().expect("a token").to_owned();
    assert_eq!((&made["namespaces"], &made["scopes"]), (&json!(["web"]), &json!(["cache:write"])));
    let path = object("page");
    assert_eq!(with_token(&node, "PUT", &path, &token, "page").status, 201);
    assert_eq!(with_token(&node, "GET", &format!("{path}?ns=web"), &token, "").status, 200);
    assert_eq!(with_token(&node, "GET", &format!("{path}?ns=default"), &token, "").status, 403);
    let listed = tokens(&data);
    assert_eq!((listed.len(), &listed[0]["id"], &listed[0]["token"]), (1, &made["id"], &Value::Null));
    assert!(listed[0]["expires"].as_str() > Some("2026"), "{listed:?}");
    let table = ok(&run(&mut command(&data, &["token", "list"])));
    assert!(table.starts_with("ID ") && table.contains("web") && !table.contains(&token), "{table}");
    drop(node);
}

/// A port that is taken, so that nobody else gets it, and at which nobody listens.
fn silent() -> std::net::TcpListener {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    socket.into()
}

#[test]
fn a_wrong_command_line_says_so_before_anybody_is_asked() {
    let scratch = Scratch::new();
    let nowhere = scratch.join("none");
    for words in [
        vec!["token", "create", "--name", "ci"],
        vec!["token", "create", "--scope", "cache:all", "--name", "ci"],
        vec!["token", "create", "--scope", "cache:read", "--name", "ci", "--expires", "soon"],
        vec!["token", "create", "--scope", "cache:read", "--name", "ci", "--namespace", "Web"],
        vec!["token", "rotate", "ci", "--overlap", "1"],
        vec!["cache", "stats", "--window", "8d"],
        vec!["cache", "gc", "--target-bytes", "lots"],
        vec!["token", "list", "--endpoint", "localhost"],
    ] {
        let output = run(&mut command(&nowhere, &words));
        assert_eq!(output.status.code(), Some(64), "{words:?}: {}", text(&output.stderr));
    }
    let output = run(&mut command(&nowhere, &["token", "list"]));
    assert_eq!(output.status.code(), Some(75));
    assert!(text(&output.stderr).contains("no node is running here"), "{}", text(&output.stderr));
    // Somebody who knows no key, and a port at which nobody listens.
    let silent = silent();
    let closed = silent.local_addr().expect("bound");
    let endpoint = format!("http://{closed}");
    let mut keyless = command(&nowhere, &["token", "list", "--endpoint", &endpoint]);
    keyless.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    assert_eq!(run(&mut keyless).status.code(), Some(78));
    let mut keyed = command(&nowhere, &["token", "list", "--endpoint", &endpoint]);
    keyed.env("AWS_ACCESS_KEY_ID", "SOMEKEY").env("AWS_SECRET_ACCESS_KEY", "some-secret-key");
    let output = run(&mut keyed);
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("some-secret-key"));
}

#[test]
fn only_the_root_key_manages_tokens_and_only_with_the_body_that_it_signed() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let account =
        "[[account]]\nid = \"111111111111\"\naccess_key = \"ALTKEY\"\nsecret_key = \"altsecretaltsecret\"\n";
    let config = scratch.write("z.toml", account, 0o600);
    let node = Node::start(&data, &["--config", config.to_str().expect("UTF-8")]);
    let path = "/-/admin/v1/tokens";
    let wish = json!({ "name": "ci", "scopes": ["cache:read"] }).to_string();
    let digest = hex(&hash::sha256(wish.as_bytes()));
    let root = Signer::root(&node, &data);
    let other =
        Signer { access_key: "ALTKEY".into(), secret: "altsecretaltsecret".into(), host: root.host.clone() };
    let forger =
        Signer { secret: "x".repeat(40), access_key: root.access_key.clone(), host: root.host.clone() };
    let admin = token(&data, "cache:admin", "admin");

    assert_eq!(send(&node, "GET", path, &[], "").status, 403, "not even from loopback");
    assert_eq!(with_token(&node, "GET", path, &admin, "").status, 403, "nor by a token");
    for signer in [&other, &forger] {
        assert_eq!(signer.send(&node, "GET", path, EMPTY_SHA256, "").status, 403);
        assert_eq!(signer.send(&node, "POST", path, &digest, &wish).status, 403);
    }
    assert_eq!(root.send(&node, "POST", path, "UNSIGNED-PAYLOAD", &wish).status, 403);
    let more = wish.replace("cache:read", "cache:admin");
    assert_eq!(
        root.send(&node, "POST", path, &digest, &more).status,
        400,
        "another body than the signed one"
    );
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(root.send(&node, "POST", path, &hex(&hash::sha256(long.as_bytes())), &long).status, 400);
    assert_eq!(tokens(&data).len(), 1, "none of these made one");

    let made = root.send(&node, "POST", path, &digest, &wish);
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(made.head.contains("cache-control: no-store"), "{}", made.head);
    let (made, id) = (made.json(), made.json()["id"].as_str().expect("an id").to_owned());
    assert_eq!(
        with_token(&node, "GET", &object("x"), made["token"].as_str().expect("a token"), "").status,
        404
    );
    assert_eq!(root.send(&node, "PUT", path, EMPTY_SHA256, "").status, 405);
    let ended = root.send(&node, "DELETE", &format!("{path}/{id}"), EMPTY_SHA256, "");
    assert_eq!((ended.status, ended.json()), (200, json!({ "id": id, "revoked": true })));
    assert_eq!(root.send(&node, "DELETE", &format!("{path}/{id}"), EMPTY_SHA256, "").status, 404);
    // In the cache the root key is an admin, and another account's opens nothing.
    assert_eq!(root.send(&node, "GET", &object("x"), EMPTY_SHA256, "").status, 404);
    assert_eq!(other.send(&node, "GET", &object("x"), EMPTY_SHA256, "").status, 401);
    assert_eq!(forger.send(&node, "GET", &object("x"), EMPTY_SHA256, "").status, 401);
}

#[test]
fn tokens_of_the_environment_open_a_first_start_and_anonymous_ones_come_in_only_by_name() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let config = scratch.write("z.toml", "[cache]\nmax_bytes = \"1GB\"\n", 0o600);
    let mut serve = zerocloud();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config).arg("--data").arg(&data);
    serve.env("ZIM_CACHE_READ_TOKEN", "reader-of-the-compose-file");
    serve.env("ZIM_CACHE_WRITE_TOKEN", "writer-of-the-compose-file");
    let node = Node::spawn(serve);
    let path = object("x");
    assert_eq!(with_token(&node, "PUT", &path, "reader-of-the-compose-file", "x").status, 403);
    assert_eq!(with_token(&node, "PUT", &path, "writer-of-the-compose-file", "x").status, 201);
    assert_eq!(with_token(&node, "GET", &path, "reader-of-the-compose-file", "").status, 200);
    assert_eq!(send(&node, "GET", &path, &[], "").status, 401);
    std::fs::write(&config, "[cache]\nmax_bytes = \"1GB\"\nanonymous = \"read\"\n").expect("written");
    node.signal("HUP");
    let patience = std::time::Instant::now() + harness::PATIENCE;
    while send(&node, "GET", &path, &[], "").status != 200 {
        assert!(std::time::Instant::now() < patience, "SIGHUP lets anonymous readers in");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(send(&node, "PUT", &path, &[], "x").status, 403);
    let log = node.stop();
    assert!(!log.contains("of-the-compose-file") && !log.contains("restart only"), "{log}");
    let mut bad = zerocloud();
    bad.args(["serve", "--check", "--data"]).arg(&data).env("ZIM_CACHE_READ_TOKEN", "two words");
    let output = run(&mut bad);
    assert_eq!(output.status.code(), Some(78));
    assert!(!text(&output.stderr).contains("two words"), "{}", text(&output.stderr));
}

#[test]
fn a_token_for_metrics_shows_figures_to_strangers_and_opens_nothing_else() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &["--shards", "2"]);
    let (watcher, admin) = (token(&data, "metrics:read", "prometheus"), token(&data, "cache:admin", "ops"));
    // Loopback needs no token, unless it speaks for somebody else.
    let asked = |target: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        send(&node, "GET", target, &[("X-Forwarded-For", "192.0.2.7"), ("Authorization", &bearer)], "")
    };
    let metrics = asked("/-/metrics", &watcher);
    assert!(metrics.status == 200 && metrics.body.contains("\nzerocloud_ready 1\n"), "{}", metrics.head);
    assert!(asked("/-/ready", &watcher).json()["shards"].is_array());
    assert_eq!((asked("/-/metrics", &admin).status, asked("/-/metrics", "zct_wrong").status), (403, 403));
    assert_eq!(with_token(&node, "GET", &object("x"), &watcher, "").status, 403);
    assert_eq!(with_token(&node, "GET", "/-/admin/v1/tokens", &watcher, "").status, 403);
    let bound = ["token", "create", "--scope", "metrics:read", "--name", "x", "--namespace", "web"];
    assert_eq!(run(&mut command(&data, &bound)).status.code(), Some(64));
    ok(&run(&mut command(&data, &["token", "revoke", "prometheus"])));
    assert_eq!(asked("/-/metrics", &watcher).status, 403);
    // One that cannot be looked up is not a wrong one.
    let watcher = token(&data, "metrics:read", "prometheus");
    node.stop();
    let answers = ["shard-000", "shard-001"].map(|shard| {
        std::fs::rename(data.join(shard), scratch.join("away")).expect("renamed");
        let node = Node::start(&data, &[]);
        let asked = |token: &str| {
            let bearer = format!("Bearer {token}");
            let headers = [("X-Forwarded-For", "192.0.2.7"), ("Authorization", &*bearer)];
            send(&node, "GET", "/-/metrics", &headers, "").status
        };
        assert_eq!(asked("somebody-else's"), 403);
        assert!(node.request("GET /-/metrics HTTP/1.1").contains("\nzerocloud_ready 0\n"));
        let answer = asked(&watcher);
        node.stop();
        // What a start without it made there is empty.
        drop(std::fs::remove_dir_all(data.join(shard)));
        std::fs::rename(scratch.join("away"), data.join(shard)).expect("renamed");
        answer
    });
    assert!(answers == [200, 503] || answers == [503, 200], "{answers:?}");
}

#[test]
fn a_serve_of_the_cache_alone_has_its_dialects_at_the_root_and_no_buckets() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let mut serve = zerocloud();
    serve.args(["cache", "serve", "--port", "0", "--storage"]).arg(&data).env("AUTH_REQUIRED", "false");
    let node = Node::spawn(serve);
    let key = hex(&hash::sha256(b"compiled"));
    assert_eq!(send(&node, "PUT", &format!("/cas/{key}"), &[], "compiled").status, 200);
    assert_eq!(send(&node, "GET", &format!("/cas/{key}"), &[], "").body, "compiled");
    assert_eq!(send(&node, "GET", &format!("/ac/{key}"), &[], "").status, 404);
    assert_eq!(send(&node, "GET", &object("compiled"), &[], "").body, "compiled");
    let root = Signer::root(&node, &data);
    assert_eq!(root.send(&node, "PUT", "/bucket", EMPTY_SHA256, "").status, 404, "no buckets");
    assert_eq!(send(&node, "GET", "/-/live", &[], "").status, 200);
    let metrics = send(&node, "GET", "/metrics", &[], "");
    assert!(metrics.status == 200 && metrics.body.contains("zerocloud_uptime_seconds"), "{}", metrics.head);
    assert_eq!(tokens(&data).len(), 0, "commands find it by its directory");
    node.stop();
    // The same directory as a whole appliance: those words are buckets' again.
    let node = Node::start(&data, &[]);
    assert!(send(&node, "GET", &format!("/cas/{key}"), &[], "").body.contains("<Code>NoSuchBucket</Code>"));
    assert_eq!(send(&node, "GET", &object("compiled"), &[], "").status, 401);
}
