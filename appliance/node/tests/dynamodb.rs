//! DynamoDB's protocol as far as the node's part goes: who is let in, what is read first, how replies are named. Signed
//! requests on raw sockets through the real binary.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws::encoding::hex;
use aws::sigv4::SigningKey;
use harness::{Node, Scratch, text};

/// A client with the root key of a data directory.
struct Client {
    address: String,
    access_key: String,
    secret_key: String,
}

/// What a test changes about a signed request.
#[derive(Clone, Copy)]
struct Ask<'a> {
    body: &'a [u8],
    /// The value of `x-amz-content-sha256`, if it is sent.
    announced: Option<&'a str>,
    /// `Content-Length`, where it is not that of the body.
    length: Option<usize>,
    service: &'a str,
}

const LIST: Ask<'_> = Ask { body: b"{}", announced: None, length: None, service: "dynamodb" };

/// A reply, taken apart.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn parse(reply: &str) -> Reply {
        let (head, body) = reply.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_string() }
    }

    fn assert_error(&self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        let error: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        let kind = error["__type"].as_str().expect("a type");
        assert_eq!(kind.rsplit('#').next(), Some(name), "{}", self.body);
    }
}

impl Client {
    fn of(node: &Node, data: &Path) -> Client {
        let file = std::fs::read_to_string(data.join("credentials")).expect("credentials");
        let value = |name: &str| {
            let line = file.lines().find_map(|line| line.strip_prefix(name)).expect("a key");
            line.trim_start_matches(" = ").to_string()
        };
        Client {
            address: node.addresses[0].clone(),
            access_key: value("aws_access_key_id"),
            secret_key: value("aws_secret_access_key"),
        }
    }

    /// The head of a signed ListTables.
    fn head(&self, ask: Ask<'_>) -> String {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = aws::Timestamp::from_seconds(i64::try_from(seconds).expect("fits"));
        let basic = text(&now.to_basic());
        let (date, digest) = (&basic[..8], hex(&hash::sha256(ask.body)));
        let mut all = vec![
            ("content-type", "application/x-amz-json-1.0"),
            ("host", &self.address),
            ("x-amz-date", &basic),
            ("x-amz-target", "DynamoDB_20120810.ListTables"),
        ];
        all.extend(ask.announced.map(|value| ("x-amz-content-sha256", value)));
        all.sort_unstable();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", ask.announced.unwrap_or(&digest));
        let scope = format!("{date}/us-east-1/{}/aws4_request", ask.service);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{basic}\n{scope}\n{}", hex(&hash::sha256(canonical.as_bytes())));
        let key = SigningKey::derive(&self.secret_key, date, "us-east-1", ask.service);
        let signature = hex(&key.sign(to_sign.as_bytes()));
        let fields: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (access_key, length) = (&self.access_key, ask.length.unwrap_or(ask.body.len()));
        format!(
            "POST / HTTP/1.1\r\n{fields}content-length: {length}\r\nconnection: close\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n"
        )
    }

    /// Sends bytes and reads to the end of the connection, which the server may close before all was sent.
    fn send(&self, head: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("socket option");
        stream.write_all(head.as_bytes()).expect("sent");
        drop(stream.write_all(body));
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply));
        Reply::parse(&text(&reply))
    }
}

#[test]
fn a_signature_counts_over_the_body_that_came_whatever_a_header_announces() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let client = Client::of(&node, &scratch.join("data"));
    let digest = hex(&hash::sha256(LIST.body));
    for ask in [LIST, Ask { announced: Some(&digest), ..LIST }] {
        let reply = client.send(&client.head(ask), ask.body);
        assert_eq!(reply.status, 200, "{}\n{}", reply.head, reply.body);
        // The same head over another body of the same length.
        client.send(&client.head(ask), b"[]").assert_error(400, "InvalidSignatureException");
    }
    let unsigned = Ask { announced: Some("UNSIGNED-PAYLOAD"), ..LIST };
    client.send(&client.head(unsigned), unsigned.body).assert_error(400, "InvalidSignatureException");
    let large = vec![b' '; 1 << 20];
    let large = Ask { body: &[b"{}", &large[..]].concat(), ..LIST };
    assert_eq!(client.send(&client.head(large), large.body).status, 200);
    client
        .send(&client.head(large), &vec![b' '; large.body.len()])
        .assert_error(400, "InvalidSignatureException");
    node.stop();
}

#[test]
fn a_stranger_is_refused_before_the_body_is_read() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let client = Client::of(&node, &scratch.join("data"));
    let stranger = Client { access_key: "AKIANOBODY".into(), ..Client::of(&node, &scratch.join("data")) };
    // Nothing follows these heads, so an answer shows that nobody waited for a body.
    let bare = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
                Content-Type: application/x-amz-json-1.0\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n";
    client.send(bare, b"").assert_error(400, "MissingAuthenticationTokenException");
    let long = Ask { length: Some(10 << 20), ..LIST };
    stranger.send(&stranger.head(long), b"").assert_error(400, "UnrecognizedClientException");
    let foreign = Ask { service: "s3", ..long };
    client.send(&client.head(foreign), b"").assert_error(400, "InvalidSignatureException");
    let too_long = client.send(&client.head(Ask { length: Some((16 << 20) + 1), ..LIST }), b"");
    assert_eq!((too_long.status, too_long.body.as_str()), (413, ""));
    node.stop();
}

#[test]
fn replies_are_named_as_amazons_json_services_name_them() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let client = Client::of(&node, &scratch.join("data"));
    let refused = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDBStreams_20120810.ListStreams\r\n\
                   Content-Type: application/x-amz-json-1.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for reply in [client.send(&client.head(LIST), LIST.body), client.send(refused, b"")] {
        let id = reply.head.split("x-amzn-requestid: ").nth(1).and_then(|rest| rest.lines().next());
        assert_eq!(id.map(str::len), Some(52), "{}", reply.head);
        assert!(
            !reply.head.contains("x-amz-request-id") && !reply.head.contains("x-amz-id-2"),
            "{}",
            reply.head
        );
        assert!(reply.head.contains("x-amz-crc32: ") && reply.head.contains("server: "), "{}", reply.head);
    }
    let metrics = node.request("GET /-/metrics HTTP/1.1");
    for name in [
        "zerocloud_requests_total{service=\"dynamodb\",operation=\"ListTables\",status=\"2xx\"} 1",
        "zerocloud_collected_body_bytes{core=\"0\"} 0",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    node.stop();
}

#[test]
fn amazons_host_name_gets_the_health_text() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let reply =
        node.raw(b"GET / HTTP/1.1\r\nHost: dynamodb.us-east-1.amazonaws.com\r\nConnection: close\r\n\r\n");
    let reply = Reply::parse(&reply);
    assert_eq!((reply.status, reply.body.as_str()), (200, "healthy: dynamodb.us-east-1.amazonaws.com "));
    node.stop();
}
