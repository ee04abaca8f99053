//! What can go wrong between a call and its answer.
//! Invariant: `Sent::No` is said only where the peer has certainly not begun with the request; everything else is `Maybe`.

use std::fmt;
use std::time::Duration;

/// Whether the peer may have begun with the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It never saw it whole, or said that it did not touch it. Sending it again changes nothing.
    No,
    /// Nobody knows.
    Maybe,
}

/// What kind of trouble it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireKind {
    /// The configuration, or an argument, cannot be used.
    Config,
    /// No usable credentials.
    Credentials,
    /// The name of the host has no address.
    Dns,
    /// No connection.
    Connect,
    /// The handshake failed, or the peer's certificate is not trusted.
    Tls,
    /// No connection in time.
    ConnectTimeout,
    /// No head of an answer in time.
    AttemptTimeout,
    /// A body stood still for too long.
    Stalled,
    /// The time of the whole call is over.
    Deadline,
    /// The peer took no new request on this connection: REFUSED_STREAM, or a GOAWAY that leaves this request out.
    NotProcessed,
    /// The peer gave the stream up.
    Reset,
    /// The connection ended.
    Closed,
    /// The peer breaks the protocol.
    Protocol,
    /// The caller's body failed, or has another length than was said.
    Body,
    /// An answer's body has another checksum than the peer said.
    Checksum,
    /// An answer's body is larger than the bound, or cannot be read.
    Answer,
}

/// A failure of the transport. Cheap to clone: several callers may wait for one connection.
#[derive(Clone, Debug)]
pub struct WireError {
    kind: WireKind,
    sent: Sent,
    message: Box<str>,
    waited: Option<Duration>,
}

impl WireError {
    /// Of its parts.
    pub fn new(kind: WireKind, sent: Sent, message: impl Into<Box<str>>) -> WireError {
        WireError { kind, sent, message: message.into(), waited: None }
    }

    /// A setting or an argument that cannot be used.
    pub fn config(message: impl Into<Box<str>>) -> WireError {
        WireError::new(WireKind::Config, Sent::No, message)
    }

    /// Credentials that are missing or cannot be used.
    pub fn credentials(message: impl Into<Box<str>>) -> WireError {
        WireError::new(WireKind::Credentials, Sent::No, message)
    }

    /// The same, with the time that was waited in vain.
    pub fn with_waited(mut self, waited: Duration) -> WireError {
        self.waited = Some(waited);
        self
    }

    /// The time that was waited in vain, where it was a matter of time.
    pub fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// What kind it is.
    pub fn kind(&self) -> WireKind {
        self.kind
    }

    /// Whether the peer may have begun with the request.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Words for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same, with another word about whether it was sent.
    pub fn with_sent(mut self, sent: Sent) -> WireError {
        self.sent = sent;
        self
    }

    /// What HTTP/2 said about a stream.
    pub fn of_h2(error: &h2::Error) -> WireError {
        let remote = error.is_remote();
        let refused = error.is_reset() && remote && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // h2 hands a remote GOAWAY to exactly those streams that lie behind its last one: RFC 9113 6.8, they were not processed.
        if refused || (error.is_go_away() && remote) {
            return WireError::new(WireKind::NotProcessed, Sent::No, error.to_string());
        }
        let kind = if error.is_io() {
            WireKind::Closed
        } else if error.is_reset() && remote {
            WireKind::Reset
        } else {
            WireKind::Protocol
        };
        WireError::new(kind, Sent::Maybe, error.to_string())
    }

    /// What hyper said about an exchange over HTTP/1.
    pub fn of_http1(error: &hyper::Error) -> WireError {
        let kind = if error.is_parse() {
            WireKind::Protocol
        } else if error.is_user() {
            WireKind::Body
        } else {
            WireKind::Closed
        };
        let mut message = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            message.push_str(": ");
            message.push_str(&source.to_string());
        }
        WireError::new(kind, Sent::Maybe, message)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            WireKind::Config => "configuration",
            WireKind::Credentials => "credentials",
            WireKind::Dns => "host name",
            WireKind::Connect => "connection",
            WireKind::Tls => "TLS",
            WireKind::ConnectTimeout => "connection not made in time",
            WireKind::AttemptTimeout => "no answer in time",
            WireKind::Stalled => "body stands still",
            WireKind::Deadline => "deadline",
            WireKind::NotProcessed => "request not processed",
            WireKind::Reset => "stream reset",
            WireKind::Closed => "connection closed",
            WireKind::Protocol => "protocol",
            WireKind::Body => "request body",
            WireKind::Checksum => "checksum",
            WireKind::Answer => "answer",
        };
        write!(f, "{what}: {}", self.message)
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_by_the_peer_says_not_sent() {
        let refused = WireError::of_h2(&h2::Error::from(h2::Reason::REFUSED_STREAM));
        // Made here, not received: it says nothing about the peer.
        assert_eq!(refused.sent(), Sent::Maybe);
        assert_eq!(refused.kind(), WireKind::Protocol);
    }

    #[test]
    fn display_names_the_kind_and_the_words() {
        let error = WireError::config("no such file");
        assert_eq!(error.to_string(), "configuration: no such file");
        assert_eq!(error.with_sent(Sent::Maybe).sent(), Sent::Maybe);
    }
}
