//! The log: one line per event on stderr, text for people, JSON for machines.
//! Invariant: a core never waits for stderr. Lines go through a bounded queue to a thread of their own; what does not
//! fit is counted, and the count is logged as soon as there is room again.
//! Leaves to callers: saying nothing secret. No key, token or query string is ever given to this file.

use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How loud. A log at one level also shows the levels above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// Something is broken; somebody has to act.
    Error = 0,
    /// Something is worse than it could be.
    Warn = 1,
    /// Starts, stops, refusals and faults.
    Info = 2,
    /// Each request's failures, for finding a cause.
    Debug = 3,
}

impl Level {
    /// The names, as written in the configuration.
    pub const NAMES: [&'static str; 4] = ["error", "warn", "info", "debug"];

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug].into_iter().find(|level| level.name() == name)
    }

    /// The name of this level.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The form of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `time LEVEL message key=value`.
    Text,
    /// One JSON object.
    Json,
}

/// A named value of a line.
pub type Field<'a> = (&'static str, &'a dyn Display);

/// A handle to the log. Clones share one queue and one level.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    level: AtomicU8,
    access: AtomicBool,
    format: Format,
    lines: SyncSender<Line>,
    dropped_count: AtomicU64,
}

enum Line {
    Text(String),
    /// Answered once everything before it has been written.
    Flush(SyncSender<()>),
}

/// Lines that may wait for stderr.
const QUEUE_LINES_MAX: usize = 8_192;
/// A field is cut after this many characters, so that a hostile path cannot fill the journal.
const FIELD_CHARACTERS_MAX: usize = 2_048;
/// How long the end of the process waits for a stderr that nobody reads.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

impl Log {
    /// A log on stderr: text when that is a terminal, JSON otherwise.
    pub fn to_stderr(level: Level, access: bool) -> Log {
        let format = if std::io::stderr().is_terminal() { Format::Text } else { Format::Json };
        Log::start(level, access, format, Box::new(std::io::stderr())).0
    }

    fn start(
        level: Level,
        access: bool,
        format: Format,
        out: Box<dyn Write + Send>,
    ) -> (Log, Option<JoinHandle<()>>) {
        let (sender, receiver) = sync_channel(QUEUE_LINES_MAX);
        let shared = Arc::new(Shared {
            level: AtomicU8::new(level as u8),
            access: AtomicBool::new(access),
            format,
            lines: sender,
            dropped_count: AtomicU64::new(0),
        });
        // Without its thread the log would be silent; lines then count as dropped and nothing else breaks.
        let thread =
            std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&receiver, out)).ok();
        (Log { shared }, thread)
    }

    /// Changes the level and the access log switch while the process runs.
    pub fn set(&self, level: Level, access: bool) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
        self.shared.access.store(access, Ordering::Relaxed);
    }

    /// Whether lines of this level are written.
    pub fn shows(&self, level: Level) -> bool {
        level as u8 <= self.shared.level.load(Ordering::Relaxed)
    }

    /// Whether each request gets a line.
    pub fn shows_access(&self) -> bool {
        self.shared.access.load(Ordering::Relaxed)
    }

    /// Something is broken.
    pub fn error(&self, message: &str, fields: &[Field<'_>]) {
        self.record(Level::Error, message, fields);
    }

    /// Something is worse than it could be.
    pub fn warn(&self, message: &str, fields: &[Field<'_>]) {
        self.record(Level::Warn, message, fields);
    }

    /// A start, a stop, a refusal.
    pub fn info(&self, message: &str, fields: &[Field<'_>]) {
        self.record(Level::Info, message, fields);
    }

    /// A detail.
    pub fn debug(&self, message: &str, fields: &[Field<'_>]) {
        self.record(Level::Debug, message, fields);
    }

    /// The line of one request, if the switch is on.
    pub fn access(&self, fields: &[Field<'_>]) {
        if self.shows_access() {
            self.send(render(self.shared.format, "access", "request", fields));
        }
    }

    fn record(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        if self.shows(level) {
            self.send(render(self.shared.format, level.name(), message, fields));
        }
    }

    fn send(&self, line: String) {
        if self.shared.lines.try_send(Line::Text(line)).is_err() {
            self.shared.dropped_count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = self.shared.dropped_count.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let line = render(
                self.shared.format,
                "warn",
                "log lines dropped, stderr is slow",
                &[("count", &dropped)],
            );
            if self.shared.lines.try_send(Line::Text(line)).is_err() {
                self.shared.dropped_count.fetch_add(dropped, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything recorded so far is written. For the end of the process only: it blocks.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.shared.lines.try_send(Line::Flush(done)).is_ok() {
            // A timeout means that nobody reads stderr; the process must end all the same.
            let _timed_out = wait.recv_timeout(FLUSH_TIMEOUT).is_err();
        }
    }
}

fn write_lines(lines: &Receiver<Line>, mut out: Box<dyn Write + Send>) {
    while let Ok(line) = lines.recv() {
        match line {
            // A closed stderr leaves no place to report to; the appliance serves on without a log.
            Line::Text(text) => drop(out.write_all(text.as_bytes())),
            Line::Flush(done) => {
                drop(out.flush());
                // Nobody waits any more when the timeout has passed.
                let _sent = done.send(());
            }
        }
    }
}

fn render(format: Format, level: &str, message: &str, fields: &[Field<'_>]) -> String {
    let time = now();
    let mut line = String::with_capacity(160);
    match format {
        Format::Text => {
            line.push_str(&time);
            line.push(' ');
            line.push_str(&level.to_ascii_uppercase());
            line.push(' ');
            push_text(&mut line, message);
            for (name, value) in fields {
                line.push(' ');
                line.push_str(name);
                line.push('=');
                push_text(&mut line, &cut(value));
            }
        }
        Format::Json => {
            line.push_str("{\"time\":\"");
            line.push_str(&time);
            line.push_str("\",\"level\":");
            push_json(&mut line, level);
            line.push_str(",\"message\":");
            push_json(&mut line, message);
            for (name, value) in fields {
                line.push(',');
                push_json(&mut line, name);
                line.push(':');
                push_json(&mut line, &cut(value));
            }
            line.push('}');
        }
    }
    line.push('\n');
    line
}

fn cut(value: &dyn Display) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(FIELD_CHARACTERS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Control characters are escaped, so that a name with a line feed in it cannot forge a line.
fn push_text(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

fn push_json(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            // Writing to a String does not fail.
            c if c.is_control() => drop(write!(line, "\\u{:04x}", c as u32)),
            c => line.push(c),
        }
    }
    line.push('"');
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    aws::Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).to_iso8601()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(format: Format, level: Level, write: impl FnOnce(&Log)) -> String {
        let sink = Sink::default();
        let (log, thread) = Log::start(level, false, format, Box::new(sink.clone()));
        write(&log);
        log.flush();
        // A flush waits for so long only. Without a log its thread ends, behind the last line.
        drop(log);
        thread.expect("a thread").join().expect("it ended well");
        let bytes = sink.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("log lines are UTF-8")
    }

    #[test]
    fn a_json_line_is_json_even_with_hostile_fields() {
        let hostile = "a\"b\\c\n{\"level\":\"error\"}\u{1}";
        let text = lines_of(Format::Json, Level::Info, |log| log.info("hello", &[("path", &hostile)]));
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(text.trim_end()).expect("valid JSON");
        assert_eq!(value["path"], hostile);
        assert_eq!(value["level"], "info");
    }

    #[test]
    fn a_text_line_cannot_be_split_by_a_field() {
        let text = lines_of(Format::Text, Level::Info, |log| {
            log.info("hello", &[("key", &"a\nERROR forged\u{1b}[2J")])
        });
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn lines_below_the_level_are_not_written() {
        let text = lines_of(Format::Text, Level::Warn, |log| {
            log.info("quiet", &[]);
            log.warn("loud", &[]);
        });
        assert!(text.contains("loud") && !text.contains("quiet"));
    }

    #[test]
    fn a_long_field_is_cut() {
        let long = "x".repeat(100_000);
        let text = lines_of(Format::Text, Level::Info, |log| log.info("m", &[("key", &long)]));
        assert!(text.len() < FIELD_CHARACTERS_MAX + 200);
    }
}
