//! Why the program stops, and the exit code that tells a supervisor what to do about it.
//! Invariant: a message is one line and names the thing, the cause and the mend; it never holds a secret.

use std::fmt;
use std::process::ExitCode;

/// The codes of `sysexits.h` that this program uses. Zero is success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// A check found something to look at (`doctor`, `verify`).
    Findings = 1,
    /// A check found something that must be mended.
    Failed = 2,
    /// The command line is wrong.
    Usage = 64,
    /// The storage below the data directory refused.
    Storage = 70,
    /// What this process needs is not there yet: another one holds the data directory or the port, or the machine has no such address.
    /// Worth a retry.
    Held = 75,
    /// The configuration is wrong. A retry cannot help.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A reason to stop.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// One line: thing, cause, mend.
    pub message: String,
}

impl Failure {
    /// The configuration is wrong.
    pub fn configuration(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Configuration, message: message.into() }
    }

    /// The command line is wrong, as only the node could tell.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, message: message.into() }
    }

    /// The storage refused.
    pub fn storage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Storage, message: message.into() }
    }

    /// Another process is in the way.
    pub fn held(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Held, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
