//! What can go wrong below a service: whose fault it is, and which file, offset and errno it names.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A failure of the store. Cheap to clone, since one failed batch answers many operations.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Bytes on disk are not what was written.
    Corrupt(Arc<str>),
    /// The operating system refused an operation on a file.
    Io {
        /// What was tried: "write", "fdatasync", ...
        action: &'static str,
        /// The file.
        path: Arc<Path>,
        /// Offset in the file where that means something, else 0.
        offset: u64,
        /// The operating system's error number, 0 where there is none.
        errno: i32,
    },
    /// The shard acknowledges no writes; the text says why.
    ReadOnly(Arc<str>),
    /// The outcome of this write is not known: its batch failed after it may have reached the disk.
    Unknown(Arc<str>),
    /// The key belongs to a transaction that is not decided yet; try again soon.
    InDoubt,
    /// The store is shutting down.
    Closed,
    /// No room on the disk for this write.
    Full,
    /// Too much is queued; try again after a moment.
    Busy,
    /// One operation's effects are larger than a batch.
    TooLarge {
        /// Bytes that the effects would take.
        bytes: u64,
    },
}

impl Fault {
    /// Damage, in words.
    #[must_use]
    pub fn corrupt(what: String) -> Fault {
        Fault::Corrupt(what.into())
    }

    /// An operating system error with its file.
    #[must_use]
    pub fn io(action: &'static str, path: &Path, offset: u64, error: &io::Error) -> Fault {
        Fault::Io {
            action,
            path: Arc::from(PathBuf::from(path)),
            offset,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Corrupt(what) => write!(f, "corrupt data: {what}"),
            Fault::Io { action, path, offset, errno } => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "{action} of {} at offset {offset}: {error}", path.display())
            }
            Fault::ReadOnly(why) => write!(f, "shard is read-only: {why}"),
            Fault::Unknown(why) => write!(f, "outcome unknown: {why}"),
            Fault::InDoubt => f.write_str("key belongs to an undecided transaction"),
            Fault::Closed => f.write_str("store is closed"),
            Fault::Full => f.write_str("storage full"),
            Fault::Busy => f.write_str("too many writes are queued"),
            Fault::TooLarge { bytes } => write!(f, "an operation of {bytes} bytes does not fit into a batch"),
        }
    }
}

impl std::error::Error for Fault {}
