//! What tests ask of whatever answers requests: the service in this process, or a server.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value as Json;

/// What answers requests.
pub trait Client {
    /// Sends one request.
    async fn call(&self, operation: &str, request: &Json) -> Answer;

    /// Lets the service do a little of what nobody asked for: building and emptying indexes, removing what expired.
    async fn work(&self);

    /// Seconds since the epoch on the service's clock.
    fn now(&self) -> i64;
}

/// A reply.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Json,
}

impl Answer {
    /// The name of the error, or nothing.
    pub fn error(&self) -> Option<&str> {
        let kind = self.body.get("__type")?.as_str()?;
        Some(kind.rsplit('#').next().expect("a part"))
    }
}
