//! What tests ask of whatever answers requests: the service in this process, or one that lies now and then.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value as Json;

/// What answers requests.
pub trait Client: Clone + 'static {
    /// Sends one request.
    async fn call(&self, operation: &str, request: &Json) -> Answer;

    /// Lets others run: what was sent on comes a little closer.
    async fn breathe(&self);

    /// Is over when every shard has done what it was asked before.
    async fn catch_up(&self);

    /// Lets the service do a little of what nobody asked for.
    async fn work(&self);

    /// Milliseconds since the epoch on the service's clock.
    fn now_ms(&self) -> u64;
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

    /// The text of the error.
    pub fn message(&self) -> &str {
        self.body.get("message").and_then(Json::as_str).unwrap_or_default()
    }
}
