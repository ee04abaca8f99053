//! What tests send and what they get.

use bytes::Bytes;
use http_types::HeaderMap;
use serde_json::Value;

/// A request.
#[derive(Clone, Default)]
pub struct Ask {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) pieces: Vec<Bytes>,
    pub(super) is_chunked: bool,
    pub(super) is_cut: bool,
    pub(super) is_root: bool,
}

impl Ask {
    pub fn new(method: &str, target: &str) -> Ask {
        Ask { method: method.to_owned(), target: target.to_owned(), ..Ask::default() }
    }

    /// With a token.
    pub fn by(self, token: &str) -> Ask {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// Signed by the root account, as far as the node has seen.
    pub fn by_root(self) -> Ask {
        Ask { is_root: true, ..self }
    }

    pub fn with(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(self, bytes: &[u8]) -> Ask {
        let pieces = bytes.chunks(64 * 1024).map(Bytes::copy_from_slice).collect();
        Ask { pieces, ..self }
    }

    /// The head does not say how long the body is.
    pub fn chunked(self) -> Ask {
        Ask { is_chunked: true, ..self }
    }

    /// The client goes away behind what was sent.
    pub fn cut(self) -> Ask {
        Ask { is_cut: true, ..self }
    }
}

/// A reply, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// What Content-Length says.
    pub length: u64,
    /// The word for metrics.
    pub operation: &'static str,
    /// Bytes of the request's body that were read.
    pub read_bytes: usize,
    /// The connection was cut behind the head.
    pub is_cut: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII header"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8 body")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of a native error.
    #[track_caller]
    pub fn code(&self) -> String {
        let document = self.json();
        assert!(document["error"]["request_id"].is_string() && document["error"]["message"].is_string());
        document["error"]["code"].as_str().expect("a code").to_owned()
    }

    /// The reply, when its status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The reply, when it is this error of the native API.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Answer {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self
    }
}
