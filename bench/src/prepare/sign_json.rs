//! Heads of requests with a document in the body, as AWS's SDKs send them to DynamoDB and SQS (JSON) and to SNS (forms): the
//! body is signed, and no header says its digest.
//!
//! ```text
//! POST / HTTP/1.1
//! Host: ...
//! Content-Length: ...
//! Content-Type: application/x-amz-json-1.0
//! X-Amz-Target: DynamoDB_20120810.GetItem                not with forms, whose body names the operation
//! x-amz-date: 20130524T000000Z                           from here on only with credentials
//! Authorization: AWS4-HMAC-SHA256 Credential=.../20130524/us-east-1/dynamodb/aws4_request, SignedHeaders=..., Signature=...
//! ```
//!
//! Invariant: the signature is that of exactly the body that the head was made for, and good for 15 minutes.

use aws::Timestamp;
use aws::encoding::hex_append;
use aws::sigv4::ALGORITHM;

use super::sign::{Signs, text};
use crate::scenario::Credentials;

const JSON: &str = "application/x-amz-json-1.0";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// How a service is asked.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    service: &'static str,
    /// What operations are called by in the head; nothing where the body is a form.
    target_prefix: Option<&'static str>,
}

/// Tables.
pub const DYNAMODB: Api = Api { service: "dynamodb", target_prefix: Some("DynamoDB_20120810") };
/// Queues.
pub const SQS: Api = Api { service: "sqs", target_prefix: Some("AmazonSQS") };
/// Topics.
pub const SNS: Api = Api { service: "sns", target_prefix: None };

/// Makes heads for one server, all as of one moment.
pub struct JsonSigner {
    api: Api,
    host: String,
    signs: Option<Signs>,
    /// The canonical request, then the string to sign.
    scratch: Vec<u8>,
}

impl JsonSigner {
    /// Makes heads for a service of `host`; signs them as of `now` if there are credentials.
    pub fn new(api: Api, host: &str, credentials: Option<&Credentials>, now: Timestamp) -> JsonSigner {
        let signs = credentials.map(|credentials| Signs::new(credentials, now, api.service));
        JsonSigner { api, host: host.to_owned(), signs, scratch: Vec::with_capacity(1 << 10) }
    }

    /// Appends the head of `operation` with `body` to `out`.
    pub fn append(&mut self, out: &mut Vec<u8>, operation: &str, body: &[u8]) {
        let (host, body_bytes) = (&self.host, body.len());
        let content_type = if self.api.target_prefix.is_some() { JSON } else { FORM };
        text(
            out,
            format_args!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {body_bytes}\r\nContent-Type: {content_type}\r\n"
            ),
        );
        if let Some(prefix) = self.api.target_prefix {
            text(out, format_args!("X-Amz-Target: {prefix}.{operation}\r\n"));
        }
        if let Some(signs) = &self.signs {
            let date = &signs.date;
            self.scratch.clear();
            text(
                &mut self.scratch,
                format_args!("POST\n/\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{date}\n"),
            );
            if let Some(prefix) = self.api.target_prefix {
                text(&mut self.scratch, format_args!("x-amz-target:{prefix}.{operation}\n"));
            }
            let target = if self.api.target_prefix.is_some() { ";x-amz-target" } else { "" };
            text(&mut self.scratch, format_args!("\ncontent-type;host;x-amz-date{target}\n"));
            hex_append(&mut self.scratch, &hash::sha256(body));
            let signature = signs.sign(&mut self.scratch);
            let (access_key, scope) = (&signs.access_key, &signs.scope);
            text(
                out,
                format_args!(
                    "x-amz-date: {date}\r\nAuthorization: {ALGORITHM} Credential={access_key}/{scope}, \
                     SignedHeaders=content-type;host;x-amz-date{target}, Signature="
                ),
            );
            hex_append(out, &signature);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws::account::{AccessKey, Account, AccountId, KeyRing, Secret};
    use aws::sigv4::{Dialect, Identity, PathCoding, SigV2, SignedRequest, Verifier};
    use http_types::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn credentials() -> Credentials {
        let [access_key, secret_key, region] = ["AK", "secret", "us-east-1"].map(str::to_owned);
        Credentials { access_key, secret_key, region }
    }

    /// What the appliance makes of a head whose body is `body`.
    fn judged(api: Api, head: &str, body: &[u8]) -> Result<Identity, aws::ErrorReply> {
        let mut headers = HeaderMap::new();
        for line in head.trim_end().split("\r\n").skip(1) {
            let (name, value) = line.split_once(": ").expect("a header");
            let name = name.parse::<HeaderName>().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let request = SignedRequest {
            method: "POST",
            path: "/",
            query: None,
            headers: &headers,
            authority: headers["host"].to_str().expect("ASCII"),
            bucket_of_host: None,
            body_sha256: Some(hash::sha256(body)),
        };
        let account = Arc::new(Account::new(AccountId::parse("111111111111").expect("an id"), "main"));
        let mut ring = KeyRing::default();
        ring.add_key(AccessKey { id: "AK".into(), secret: Secret::new("secret"), session: None, account });
        let dialect = Dialect {
            service: api.service,
            region: "us-east-1".to_owned(),
            path_coding: PathCoding::Twice,
            sigv2: SigV2::Refused,
        };
        let now = Timestamp::parse_basic(b"20130524T000500Z").expect("a time");
        Verifier::new(dialect).authenticate(&request, &ring, now)
    }

    #[test]
    fn the_appliance_accepts_a_head_with_its_own_body_only() {
        let now = Timestamp::parse_basic(b"20130524T000000Z").expect("a time");
        for api in [DYNAMODB, SQS, SNS] {
            let head = |credentials: Option<&Credentials>| {
                let mut out = Vec::new();
                JsonSigner::new(api, "h:1", credentials, now).append(&mut out, "GetItem", b"{}");
                String::from_utf8(out).expect("ASCII")
            };
            let signed = head(Some(&credentials()));
            assert!(matches!(judged(api, &signed, b"{}"), Ok(Identity::Key(_))), "{signed}");
            let refused = judged(api, &signed, b"[]").err();
            assert_eq!(refused.map(|error| error.code), Some("SignatureDoesNotMatch"));
            assert!(!head(None).contains("x-amz-date"));
            let Some(prefix) = api.target_prefix else { continue };
            assert!(head(None).ends_with(&format!("{prefix}.GetItem\r\n\r\n")));
            let other = signed.replace("GetItem", "PutItem");
            let refused = judged(api, &other, b"{}").err();
            assert_eq!(refused.map(|error| error.code), Some("SignatureDoesNotMatch"));
        }
    }
}
