//! What a service answers: status, headers, and a body that is in memory or lies in the store.
//! Invariant: `length()` is exactly the number of body bytes that the reply announces.
//! Leaves to the node: request ids, Date, Server, and streaming the pieces.

use bytes::Bytes;
use http_types::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::Then;
use crate::body::Piece;
use crate::late::Late;

/// The answer to one request.
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// Every header that belongs to the service. The node adds request ids, Date, Server and Content-Length.
    pub headers: HeaderMap,
    /// What follows the head.
    pub body: ReplyBody,
}

/// The body of a reply.
pub enum ReplyBody {
    /// No body; Content-Length 0 where the status allows one.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of stored bodies, streamed in order.
    Pieces {
        /// What to send, in order. Their lengths add up to `length`.
        pieces: Vec<Piece>,
        /// Number of bytes in all pieces.
        length: u64,
    },
    /// A stored body whose SHA-256 is known, compared with it before its last bytes leave: wrong bytes are never all sent. Or a part of
    /// one, of which the store compares its own checksums.
    Verified {
        /// All of the body, or a part.
        piece: Piece,
        /// The digest that its bytes must have; nothing for a part.
        sha256: Option<[u8; 32]>,
        /// What to do when they have another, or cannot be read. Its reply is sent if nothing has left yet; else the connection
        /// is cut, and only what it does counts.
        mismatch: Then<()>,
        /// What is sent instead when the first bytes cannot be had in time; nothing: they are waited for.
        late: Option<Late>,
    },
    /// The reply to HEAD: Content-Length without a body.
    Head {
        /// The length that GET would have sent.
        length: u64,
    },
}

impl Reply {
    /// A reply without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: ReplyBody::Empty }
    }

    /// A reply with bytes of the given media type.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
        let mut reply = Reply { status, headers: HeaderMap::new(), body: ReplyBody::Bytes(body.into()) };
        reply.headers.insert(http_types::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply
    }

    /// The same reply with one more header; a header of that name is replaced.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.insert(name, value);
        self
    }

    /// Number of body bytes that Content-Length names.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.body {
            ReplyBody::Empty => 0,
            ReplyBody::Bytes(bytes) => bytes.len() as u64,
            ReplyBody::Pieces { length, .. } | ReplyBody::Head { length } => *length,
            ReplyBody::Verified { piece, .. } => piece.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reply_announces_the_length_that_get_would_send() {
        let head =
            Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: ReplyBody::Head { length: 7 } };
        assert_eq!(head.length(), 7);
        assert_eq!(Reply::empty(StatusCode::NO_CONTENT).length(), 0);
        assert_eq!(Reply::bytes(StatusCode::OK, "text/plain", "abc").length(), 3);
    }
}
