//! Log groups, streams and events.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How much an event matters. Not the level of the client's own log entries, which is
/// [`spi::LogLevel`](crate::spi::LogLevel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What may become a fault.
    Warn,
    /// A fault.
    Error,
    /// A fault that ends the program.
    Fatal,
}

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogEvent {
    /// What happened.
    pub message: String,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// How much it matters.
    pub level: LogLevel,
    /// Names and values beside the message.
    pub fields: Metadata,
}

impl LogEvent {
    /// An event of now, at the level of what an operator wants to know.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            timestamp: Utc::now(),
            level: LogLevel::Info,
            fields: Metadata::new(),
        }
    }

    /// Sets how much it matters.
    pub fn with_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }

    /// Adds a name and its value.
    pub fn with_field(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.insert(key.into(), value.into());
        self
    }
}

/// Log groups, streams and events.
#[async_trait]
pub trait LoggingService: Send + Sync {
    /// Makes a group.
    async fn create_log_group(&self, name: &str) -> CloudResult<()>;

    /// Deletes a group.
    async fn delete_log_group(&self, name: &str) -> CloudResult<()>;

    /// Makes a stream in a group.
    async fn create_log_stream(&self, group: &str, stream: &str) -> CloudResult<()>;

    /// Adds events to a stream.
    async fn put_log_events(&self, group: &str, stream: &str, events: Vec<LogEvent>) -> CloudResult<()>;

    /// The events of a group between two times that match a query in the provider's form.
    async fn query_logs(
        &self,
        group: &str,
        query: &str,
        start_time: DateTime<Utc>,
        end_time: DateTime<Utc>,
    ) -> CloudResult<Vec<LogEvent>>;

    /// The names of all groups.
    async fn list_log_groups(&self) -> CloudResult<Vec<String>>;

    /// The names of a group's streams.
    async fn list_log_streams(&self, group: &str) -> CloudResult<Vec<String>>;

    /// What this provider's logs can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::LoggingService)
    }
}
