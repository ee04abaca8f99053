//! Heads of requests by what the server speaks: a PutObject is a SET to Redis and a message to a queue, so that all are
//! asked to keep the same bytes under the same names.

use aws::Timestamp;

use crate::client::{amqp, nats, resp};
use crate::prepare::sign::{Call, Signer};
use crate::scenario::{Protocol, Target};

/// Makes heads for one server.
pub enum Heads {
    /// Signed requests.
    Http(Box<Signer>),
    /// SET and GET; a key is a path without its first slash.
    Redis,
    /// Messages, which have no names.
    Nats,
    /// Messages, which have no names.
    Amqp {
        /// Whether they outlive the server.
        is_durable: bool,
    },
}

impl Heads {
    /// Heads as of `now`, where that matters.
    pub fn new(target: &Target, now: Timestamp) -> Heads {
        match target.protocol {
            Protocol::Http => {
                Heads::Http(Box::new(Signer::new(&target.host, target.credentials.as_ref(), now)))
            }
            Protocol::Redis => Heads::Redis,
            Protocol::Nats => Heads::Nats,
            Protocol::Amqp { is_durable } => Heads::Amqp { is_durable },
        }
    }

    /// Appends the head of `call` to `out`.
    pub fn append(&mut self, out: &mut Vec<u8>, call: &Call<'_>) {
        let body_bytes = call.body_bytes.unwrap_or(0);
        match self {
            Heads::Http(signer) => signer.append(out, call),
            Heads::Redis if call.body_bytes.is_some() => resp::append_set(out, key(call.path), body_bytes),
            Heads::Redis => resp::append_get(out, key(call.path)),
            Heads::Nats => nats::append_publish(out, body_bytes),
            Heads::Amqp { is_durable } => amqp::append_publish(out, *is_durable, body_bytes),
        }
    }
}

/// The key of an object in a store that has no buckets.
pub fn key(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(protocol: Protocol, call: &Call<'_>) -> Vec<u8> {
        let mut target = Target::at("127.0.0.1:1").expect("an address");
        target.protocol = protocol;
        let mut out = Vec::new();
        Heads::new(&target, Timestamp::from_seconds(0)).append(&mut out, call);
        out
    }

    #[test]
    fn an_object_has_the_same_key_everywhere() {
        let put = Call { method: "PUT", path: "/b/100/7", query: "", payload: "", body_bytes: Some(100) };
        let get = Call { method: "GET", body_bytes: None, ..put };
        assert!(head(Protocol::Http, &put).starts_with(b"PUT /b/100/7 HTTP/1.1\r\n"));
        assert_eq!(head(Protocol::Redis, &put), b"*3\r\n$3\r\nSET\r\n$7\r\nb/100/7\r\n$100\r\n");
        assert_eq!(head(Protocol::Redis, &get), b"*2\r\n$3\r\nGET\r\n$7\r\nb/100/7\r\n");
        assert!(head(Protocol::Nats, &put).ends_with(b" 100\r\n"));
        let durable = head(Protocol::Amqp { is_durable: true }, &put);
        assert_ne!(durable, head(Protocol::Amqp { is_durable: false }, &put));
    }
}
