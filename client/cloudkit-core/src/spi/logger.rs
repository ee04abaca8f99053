//! Where log entries go.

use async_trait::async_trait;
use std::collections::HashMap;
use std::fmt;

/// How much an entry matters; later ones matter more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        })
    }
}

/// One entry.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// How much it matters.
    pub level: LogLevel,
    /// What happened.
    pub message: String,
    /// Where, such as a module's path.
    pub target: String,
    /// Names and values beside the message.
    pub fields: HashMap<String, String>,
}

impl LogEntry {
    /// An entry without target and fields.
    pub fn new(level: LogLevel, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), target: String::new(), fields: HashMap::new() }
    }

    /// Sets where it happened.
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Adds a name and its value.
    pub fn with_field(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.insert(key.into(), value.into());
        self
    }
}

/// Takes log entries.
#[async_trait]
pub trait Logger: Send + Sync {
    /// Takes an entry.
    async fn log(&self, entry: LogEntry);

    /// Whether an entry of this level would be kept. An entry for which it says `false` need not be made.
    fn is_enabled(&self, level: LogLevel) -> bool;
}

/// Makes a `tracing` event of each entry.
#[derive(Debug, Clone, Default)]
pub struct TracingLogger {
    level_min: LogLevel,
}

impl TracingLogger {
    /// Keeps entries of this level and above.
    pub fn new(min_level: LogLevel) -> Self {
        Self { level_min: min_level }
    }
}

#[async_trait]
impl Logger for TracingLogger {
    async fn log(&self, entry: LogEntry) {
        if !self.is_enabled(entry.level) {
            return;
        }
        let LogEntry { level, message, target, fields } = entry;
        // The level of a `tracing` event is fixed where it is written, hence five of them.
        match level {
            LogLevel::Trace => tracing::trace!(target, ?fields, "{message}"),
            LogLevel::Debug => tracing::debug!(target, ?fields, "{message}"),
            LogLevel::Info => tracing::info!(target, ?fields, "{message}"),
            LogLevel::Warn => tracing::warn!(target, ?fields, "{message}"),
            LogLevel::Error => tracing::error!(target, ?fields, "{message}"),
        }
    }

    fn is_enabled(&self, level: LogLevel) -> bool {
        level >= self.level_min
    }
}

/// Keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct NoopLogger;

#[async_trait]
impl Logger for NoopLogger {
    async fn log(&self, _entry: LogEntry) {}

    fn is_enabled(&self, _level: LogLevel) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_displayed() {
        let all = [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
        assert!(all.is_sorted());
        assert_eq!(all.map(|level| level.to_string()), ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]);
    }

    #[test]
    fn a_logger_keeps_its_level_and_above() {
        let logger = TracingLogger::new(LogLevel::Warn);
        assert!(logger.is_enabled(LogLevel::Error) && logger.is_enabled(LogLevel::Warn));
        assert!(!logger.is_enabled(LogLevel::Info));
        assert!(!NoopLogger.is_enabled(LogLevel::Error));
        let entry = LogEntry::new(LogLevel::Info, "m").with_target("t").with_field("k", "v");
        assert_eq!((entry.target.as_str(), entry.fields["k"].as_str()), ("t", "v"));
    }
}
