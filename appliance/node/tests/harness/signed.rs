//! Signed requests of the JSON protocols on raw sockets.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws::encoding::hex;
use aws::sigv4::SigningKey;

use super::{Node, PATIENCE, text};

/// A client with the root key of a data directory.
pub struct Client {
    pub address: String,
    pub access_key: String,
    pub secret_key: String,
}

/// A signed request of a JSON protocol.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The value of `x-amz-target`.
    pub target: &'a str,
    pub body: &'a [u8],
    /// The value of `x-amz-content-sha256`, if it is sent.
    pub announced: Option<&'a str>,
    /// `Content-Length`, where it is not that of the body.
    pub length: Option<usize>,
    pub service: &'a str,
}

/// A reply, taken apart.
pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn parse(reply: &str) -> Reply {
        let (head, body) = reply.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_string() }
    }

    pub fn assert_error(&self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        let error: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        let kind = error["__type"].as_str().expect("a type");
        assert_eq!(kind.rsplit('#').next(), Some(name), "{}", self.body);
    }
}

impl Client {
    pub fn of(node: &Node, data: &Path) -> Client {
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

    /// The head of a signed request.
    pub fn head(&self, ask: Ask<'_>) -> String {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = aws::Timestamp::from_seconds(i64::try_from(seconds).expect("fits"));
        let basic = text(&now.to_basic());
        let (date, digest) = (&basic[..8], hex(&hash::sha256(ask.body)));
        let mut all = vec![
            ("content-type", "application/x-amz-json-1.0"),
            ("host", &self.address),
            ("x-amz-date", &basic),
            ("x-amz-target", ask.target),
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
    pub fn send(&self, head: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("socket option");
        stream.write_all(head.as_bytes()).expect("sent");
        drop(stream.write_all(body));
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply));
        Reply::parse(&text(&reply))
    }
}
