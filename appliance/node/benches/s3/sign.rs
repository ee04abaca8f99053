//! Requests as an SDK signs them: Signature Version 4 in the Authorization header, with the digest of the body.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws::encoding::hex;
use aws::sigv4::SigningKey;
use http::client::RequestTo;
use http_types::{HeaderMap, HeaderValue, Method};

const REGION: &str = "us-east-1";

/// The payload header of a request that does not sign its body.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Signs with the root key of a data directory, with the time at which it was made: good for 15 minutes.
pub struct Signer {
    authority: String,
    access_key: String,
    key: SigningKey,
    date: String,
    scope: String,
}

impl Signer {
    /// A signer for the node at `address` that serves `data`.
    pub fn new(address: SocketAddr, data: &Path) -> Signer {
        let file = std::fs::read_to_string(data.join("credentials")).unwrap();
        let value = |name: &str| {
            let line = file.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(" = ").to_owned()
        };
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let basic = aws::Timestamp::from_seconds(i64::try_from(seconds).unwrap()).to_basic();
        let date = String::from_utf8(basic.to_vec()).unwrap();
        Signer {
            authority: address.to_string(),
            access_key: value("aws_access_key_id"),
            key: SigningKey::derive(&value("aws_secret_access_key"), &date[..8], REGION, "s3"),
            scope: format!("{}/{REGION}/s3/aws4_request", &date[..8]),
            date,
        }
    }

    /// A signed request. Path and query are in their canonical form already.
    pub fn sign(&self, method: Method, path: &str, query: &str, payload: &str) -> RequestTo {
        const NAMES: &str = "host;x-amz-content-sha256;x-amz-date";
        let Signer { authority, date, scope, .. } = self;
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{authority}\nx-amz-content-sha256:{payload}\nx-amz-date:{date}\n\n\
             {NAMES}\n{payload}"
        );
        let digest = hex(&hash::sha256(canonical.as_bytes()));
        let signature = self.key.sign(format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}").as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={NAMES}, Signature={}",
            self.access_key,
            hex(&signature)
        );
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::try_from(authorization).unwrap());
        headers.insert("x-amz-content-sha256", HeaderValue::from_str(payload).unwrap());
        headers.insert("x-amz-date", HeaderValue::from_str(date).unwrap());
        headers.insert("user-agent", HeaderValue::from_static("zerocloud-bench/1.0 ua/2.1 os/linux"));
        headers.insert("accept-encoding", HeaderValue::from_static("identity"));
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        RequestTo { method, target, authority: authority.clone(), headers }
    }

    /// A signed upload of `body`.
    pub fn put(&self, path: &str, body: &[u8]) -> RequestTo {
        self.sign(Method::PUT, path, "", &hex(&hash::sha256(body)))
    }

    /// A signed download.
    pub fn get(&self, path: &str) -> RequestTo {
        self.sign(Method::GET, path, "", &hex(&hash::sha256(b"")))
    }
}
