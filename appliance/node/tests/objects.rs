//! Objects through the real binary: signed requests on raw sockets, so that nothing a client library does hides a fault.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws::encoding::hex;
use aws::sigv4::{ChunkSigner, SigningKey};
use harness::{Node, PATIENCE, Scratch, run, text, zerocloud};

const REGION: &str = "us-east-1";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A client with the root key of a data directory.
struct Client {
    address: String,
    access_key: String,
    key: SigningKey,
    now: aws::Timestamp,
    scope: String,
}

/// A reply, taken apart.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Reply {
        let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = text(&bytes[..split]);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Reply { status, head, body: bytes[split + 4..].to_vec() }
    }

    fn text(&self) -> String {
        text(&self.body)
    }
}

impl Client {
    fn of(node: &Node, data: &Path) -> Client {
        let file = std::fs::read_to_string(data.join("credentials")).expect("credentials");
        let value = |name: &str| {
            file.lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("a key")
                .trim_start_matches(" = ")
                .to_string()
        };
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let now = aws::Timestamp::from_seconds(i64::try_from(ms / 1_000).expect("fits"));
        let date = text(&now.to_basic()[..8]);
        Client {
            address: node.addresses[0].clone(),
            access_key: value("aws_access_key_id"),
            key: SigningKey::derive(&value("aws_secret_access_key"), &date, REGION, "s3"),
            now,
            scope: format!("{date}/{REGION}/s3/aws4_request"),
        }
    }

    /// A signed head, and the signature. `headers` are signed too; names in lower case.
    fn head(&self, method: &str, path: &str, headers: &[(&str, String)], sha256: &str) -> (String, [u8; 32]) {
        let basic = text(&self.now.to_basic());
        let mut all: Vec<(&str, String)> = headers.to_vec();
        all.push(("host", self.address.clone()));
        all.push(("x-amz-content-sha256", sha256.into()));
        all.push(("x-amz-date", basic.clone()));
        all.sort();
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{sha256}");
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{basic}\n{}\n{}",
            self.scope,
            hex(&hash::sha256(canonical.as_bytes()))
        );
        let signature = self.key.sign(to_sign.as_bytes());
        let fields: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={}",
            self.access_key,
            self.scope,
            hex(&signature)
        );
        (
            format!(
                "{method} {path} HTTP/1.1\r\n{fields}authorization: {authorization}\r\nconnection: close\r\n\r\n"
            ),
            signature,
        )
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("socket option");
        stream
    }

    fn send(&self, head: &str, body: &[u8]) -> Reply {
        Reply::parse(&self.send_raw(head, body))
    }

    fn send_raw(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        // A refusal may come, and the connection go, before the whole body has left.
        drop(stream.write_all(body));
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply));
        reply
    }

    fn put(&self, path: &str, body: &[u8]) -> Reply {
        let length = [("content-length", body.len().to_string())];
        let (head, _) = self.head("PUT", path, &length, &hex(&hash::sha256(body)));
        self.send(&head, body)
    }

    fn get(&self, path: &str) -> Reply {
        let (head, _) = self.head("GET", path, &[], UNSIGNED);
        self.send(&head, b"")
    }
}

fn start(scratch: &Scratch, more: &[&str]) -> (Node, Client) {
    let data = scratch.join("data");
    let node = Node::start(&data, more);
    let client = Client::of(&node, &data);
    (node, client)
}

/// Bytes that differ by position and seed (SplitMix64).
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    out.truncate(length);
    out
}

fn md5_of(body: &[u8]) -> String {
    let mut md5 = hash::Md5::new();
    md5.update(body);
    hex(&md5.finish())
}

#[test]
fn objects_of_every_size_class_come_back_as_they_went_and_survive_kill_9() {
    let scratch = Scratch::new();
    let (mut node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    // Inline, in the log, the two sides of the extent boundary, several chunks, two extents.
    let sizes = [0, 1, 512, 513, 32_768, 32_769, 65_536, 1_000_003, (33 << 20) + 7];
    for size in sizes {
        let body = bytes(size as u64, size);
        let reply = client.put(&format!("/bucket/k{size}"), &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(
            reply.head.to_ascii_lowercase().contains(&format!("etag: \"{}\"", md5_of(&body))),
            "{}",
            reply.head
        );
    }
    node.child.kill().expect("killed");
    node.child.wait().expect("ended");
    let (node, client) = start(&scratch, &[]);
    for size in sizes {
        let reply = client.get(&format!("/bucket/k{size}"));
        assert_eq!(reply.status, 200, "{size}: {}", reply.text());
        assert!(reply.body == bytes(size as u64, size), "{size} bytes came back differently");
    }
    node.stop();
    let report = run(zerocloud().args(["verify", "--data"]).arg(scratch.join("data")));
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stdout));
}

#[test]
fn many_uploads_at_once_get_their_own_digests() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    std::thread::scope(|scope| {
        for upload in 0..24_usize {
            let client = &client;
            scope.spawn(move || {
                let body = bytes(upload as u64, 100_000 + upload * 33_333);
                let reply = client.put(&format!("/bucket/{upload}"), &body);
                assert!(
                    reply.head.to_ascii_lowercase().contains(&md5_of(&body)),
                    "upload {upload}: {}",
                    reply.head
                );
                assert!(client.get(&format!("/bucket/{upload}")).body == body, "upload {upload}");
            });
        }
    });
    node.stop();
}

#[test]
fn a_body_that_differs_from_its_signed_digest_is_refused_and_not_stored() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    for size in [10, 100_000] {
        let length = [("content-length", size.to_string())];
        let (head, _) = client.head("PUT", "/bucket/key", &length, &hex(&hash::sha256(&bytes(1, size))));
        let reply = client.send(&head, &bytes(2, size));
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains("<Code>XAmzContentSHA256Mismatch</Code>"), "{}", reply.text());
        assert_eq!(client.get("/bucket/key").status, 404);
    }
    node.stop();
}

/// The body in signed chunks; `tamper` changes one chunk's data after it was signed.
fn chunked(client: &Client, signature: &[u8; 32], body: &[u8], tamper: Option<usize>) -> Vec<u8> {
    let mut signer = ChunkSigner::new(client.key.clone(), client.now, &client.scope, signature);
    let mut framed = Vec::new();
    let mut push = |data: &[u8], tampered: bool| {
        let signed = signer.sign_chunk(data);
        framed.extend_from_slice(format!("{:x};chunk-signature={}\r\n", data.len(), hex(&signed)).as_bytes());
        let start = framed.len();
        framed.extend_from_slice(data);
        if tampered {
            framed[start] ^= 1;
        }
        framed.extend_from_slice(b"\r\n");
    };
    for (index, data) in body.chunks(40_000).enumerate() {
        push(data, tamper == Some(index));
    }
    push(b"", false);
    framed
}

#[test]
fn signed_chunks_are_stripped_and_a_changed_one_is_refused() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    let body = bytes(7, 150_000);
    let upload = |path: &str, tamper| {
        let framed_length = chunked(&client, &[0; 32], &body, None).len();
        let headers = [
            ("content-encoding", "aws-chunked".to_string()),
            ("content-length", framed_length.to_string()),
            ("x-amz-decoded-content-length", body.len().to_string()),
        ];
        let (head, signature) = client.head("PUT", path, &headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        client.send(&head, &chunked(&client, &signature, &body, tamper))
    };
    let reply = upload("/bucket/good", None);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(client.get("/bucket/good").body == body);
    for tampered in 0..4 {
        let reply = upload("/bucket/bad", Some(tampered));
        assert_eq!(reply.status, 403, "{}", reply.text());
        assert!(reply.text().contains("<Code>SignatureDoesNotMatch</Code>"), "{}", reply.text());
        assert_eq!(client.get("/bucket/bad").status, 404);
    }
    node.stop();
}

#[test]
fn a_copy_has_the_bytes_and_digest_of_its_source() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    let body = bytes(5, 3_000_000);
    assert_eq!(client.put("/bucket/source", &body).status, 200);
    let headers = [("content-length", "0".to_string()), ("x-amz-copy-source", "/bucket/source".to_string())];
    let (head, _) = client.head("PUT", "/bucket/copy", &headers, UNSIGNED);
    let reply = client.send(&head, b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains(&md5_of(&body)), "{}", reply.text());
    assert!(client.get("/bucket/copy").body == body);
    node.stop();
}

#[test]
fn a_form_is_uploaded_without_its_framing() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    let body = bytes(9, 700_000);
    let policy = r#"{"expiration":"2099-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},["starts-with","$key","f/"],
        ["starts-with","$x-amz-date",""],["starts-with","$x-amz-algorithm",""],["starts-with","$x-amz-credential",""]]}"#;
    let policy = aws::encoding::base64(policy.as_bytes());
    let fields = [
        ("key", "f/${filename}".to_string()),
        ("policy", policy.clone()),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_string()),
        ("x-amz-credential", format!("{}/{}", client.access_key, client.scope)),
        ("x-amz-date", text(&client.now.to_basic())),
        ("x-amz-signature", hex(&client.key.sign(policy.as_bytes()))),
    ];
    let mut form = Vec::new();
    for (name, value) in &fields {
        let part = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.extend_from_slice(part.as_bytes());
    }
    form.extend_from_slice(
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n",
    );
    form.extend_from_slice(&body);
    form.extend_from_slice(b"\r\n--XX--\r\n");
    let head = format!(
        "POST /bucket HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=XX\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        client.address,
        form.len()
    );
    let reply = client.send(&head, &form);
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert!(client.get("/bucket/f/a.bin").body == body);
    // A form that ends before its last boundary stores nothing: the former object stays.
    let mut cut = form[..form.len() - 8].to_vec();
    let inside = cut.len() - 1_000;
    cut[inside] ^= 1;
    let reply = client.send(&head.replace(&form.len().to_string(), &cut.len().to_string()), &cut);
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(client.get("/bucket/f/a.bin").body == body);
    node.stop();
}

#[test]
fn a_client_that_leaves_in_the_middle_stores_nothing_and_leaves_no_orphan() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    for _ in 0..3 {
        let (head, _) =
            client.head("PUT", "/bucket/half", &[("content-length", "20000000".into())], UNSIGNED);
        let mut stream = client.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&bytes(3, 9_000_000)).expect("sent");
        drop(stream);
    }
    assert_eq!(client.get("/bucket/half").status, 404);
    node.stop();
    let report = run(zerocloud().args(["verify", "--json", "--data"]).arg(scratch.join("data")));
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stdout));
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).expect("JSON");
    assert_eq!(report["orphan_bytes"], 0, "{report}");
}

/// Bytes that the segments of large bodies occupy.
fn occupied(data: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let shards = std::fs::read_dir(data).expect("a directory").map(|entry| entry.expect("an entry").path());
    let segments = shards.filter_map(|shard| std::fs::read_dir(shard.join("extents")).ok()).flatten();
    // A segment may be removed while they are counted.
    segments.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[test]
fn room_of_uploads_that_a_kill_cut_off_is_given_back() {
    const UPLOAD_BYTES: usize = 24 << 20;
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let body = bytes(8, 3_000_000);
    let (mut node, mut client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    assert_eq!(client.put("/bucket/kept", &body).status, 200);
    for _ in 0..3 {
        let head = client.head("PUT", "/bucket/cut", &[("content-length", "64000000".into())], UNSIGNED).0;
        let mut stream = client.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&bytes(3, UPLOAD_BYTES)).expect("sent");
        node.signal("KILL");
        drop(node.wait());
        // Nothing of the last life is open any more, so what is there was written or reserved by it.
        assert!(occupied(&data) > UPLOAD_BYTES as u64 / 2, "{} bytes", occupied(&data));
        (node, client) = start(&scratch, &[]);
    }
    // The file system counts some blocks of its own.
    let needed = body.len() as u64 + (256 << 10);
    let patience = Instant::now() + PATIENCE;
    while occupied(&data) > needed {
        assert!(Instant::now() < patience, "{} bytes are left, {needed} are needed", occupied(&data));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(client.get("/bucket/kept").body == body);
    assert_eq!(client.get("/bucket/cut").status, 404);
    node.stop();
    let report = run(zerocloud().args(["verify", "--json", "--data"]).arg(&data));
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stdout));
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).expect("JSON");
    assert_eq!(report["orphan_bytes"], 0, "{report}");
}

/// On a machine with several cores, each with a shard of its own, one core is left without.
#[test]
fn a_node_serves_what_its_sound_shards_hold_from_every_core() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let (node, client) = start(&scratch, &["--shards", "2"]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    node.stop();
    let mut stored_count = 0;
    for shard in ["shard-000", "shard-001"] {
        std::fs::rename(data.join(shard), scratch.join("away")).expect("renamed");
        let (node, client) = start(&scratch, &[]);
        assert!(node.errors().contains(&format!("{shard} is not served")), "{}", node.errors());
        // Each connection comes to one of the cores; keys lie in the shard that is away, and the bucket's record may.
        let mut stored = Vec::new();
        for number in 0..64 {
            let (key, body) = (format!("/bucket/{shard}-{number}"), bytes(number, 200_000));
            let length = [("content-length", body.len().to_string())];
            let (head, _) = client.head("PUT", &key, &length, &hex(&hash::sha256(&body)));
            // Of a refusal that came before the body was read nothing may be left to read.
            match client.send_raw(&head, &body).get(..12) {
                Some(b"HTTP/1.1 200") => stored.push((key, body)),
                Some(b"HTTP/1.1 500" | b"HTTP/1.1 503") | None => {}
                Some(other) => panic!("{key}: {}", text(other)),
            }
        }
        stored_count += stored.len();
        for (key, body) in stored {
            assert!(client.get(&key).body == body, "{key}");
        }
        node.stop();
        // What a start without it made there is empty.
        drop(std::fs::remove_dir_all(data.join(shard)));
        std::fs::rename(scratch.join("away"), data.join(shard)).expect("renamed");
    }
    assert!(stored_count > 0, "one of the two has the bucket");
}

#[test]
fn a_refused_upload_gets_its_error_instead_of_100_continue() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    let headers = [("content-length", "1000000".to_string())];
    let (head, _) = client.head("PUT", "/no-such-bucket/key", &headers, UNSIGNED);
    let head = head.replacen("connection: close", "expect: 100-continue\r\nconnection: close", 1);
    let mut stream = client.connect();
    stream.write_all(head.as_bytes()).expect("sent");
    // Not a byte of the body is sent: the answer must come all the same.
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("answered");
    let reply = text(&reply);
    assert!(reply.starts_with("HTTP/1.1 404") && reply.contains("NoSuchBucket"), "{reply}");
    node.stop();
}

#[test]
fn damaged_stored_bytes_are_an_error_or_a_cut_answer_and_never_wrong_data() {
    let scratch = Scratch::new();
    let (node, client) = start(&scratch, &[]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    let body = bytes(11, 4 << 20);
    assert_eq!(client.put("/bucket/key", &body).status, 200);
    node.stop();
    let mut damaged = 0;
    for shard in std::fs::read_dir(scratch.join("data")).expect("list") {
        let extents = shard.expect("entry").path().join("extents");
        for file in std::fs::read_dir(extents).into_iter().flatten() {
            let path = file.expect("entry").path();
            let mut content = std::fs::read(&path).expect("read");
            // A run of the body that lies beyond what is sent before the reader reaches it.
            if let Some(at) = content.windows(16).position(|window| *window == body[3_000_000..3_000_016]) {
                content[at] ^= 0x10;
                std::fs::write(&path, &content).expect("written");
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 1, "the body lies in exactly one extent file");
    let (node, client) = start(&scratch, &[]);
    let reply = client.get("/bucket/key");
    assert_eq!(reply.status, 200);
    assert!(reply.body.len() < body.len(), "the answer is cut short");
    assert!(body.starts_with(&reply.body), "and what came is right");
    let log = node.stop();
    assert!(log.contains("stored bytes cannot be read"), "{log}");
}

#[test]
fn a_whole_run_leaves_no_secret_and_no_signature_in_any_output() {
    let scratch = Scratch::new();
    let config = scratch.write("z.toml", "[log]\naccess = true\n", 0o600);
    let (node, client) = start(&scratch, &["--log", "debug", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!(client.put("/bucket", b"").status, 200);
    assert_eq!(client.put("/bucket/key", b"hello").status, 200);
    let (head, signature) = client.head("GET", "/bucket/key", &[], UNSIGNED);
    assert_eq!(client.send(&head, b"").status, 200);
    let (head, _) = client.head("GET", "/bucket/key", &[], UNSIGNED);
    assert_eq!(client.send(&head.replacen("Signature=", "Signature=0", 1), b"").status, 403);
    let metrics = node.request("GET /-/metrics HTTP/1.1");
    let ready = node.request("GET /-/ready HTTP/1.1");
    let greeting = node.greeting.clone();
    let secret = harness::secret_of(&scratch.join("data"));
    let log = node.stop();
    assert!(log.contains("\"operation\":\"PutObject\""), "{log}");
    for output in [&log, &metrics, &ready, &greeting] {
        assert!(!output.contains(&secret));
        assert!(!output.contains(&hex(&signature)));
    }
}
