//! The bounds of the queue service, in one place.
//! Invariant: whoever checks one of them names it from here.
//! Leaves to wire: the bounds of single members, which have no meaning beside their check.

/// Entries of a batch, and messages of one receive.
pub const BATCH_COUNT_MAX: usize = 10;
/// Bytes of a message with its attributes, and of all messages of a batch.
pub const MESSAGE_BYTES_MAX: u32 = 1_048_576;
/// The smallest MaximumMessageSize.
pub const MESSAGE_BYTES_MIN: u32 = 1_024;
/// Attributes of a message.
pub const MESSAGE_ATTRIBUTE_COUNT_MAX: usize = 10;
/// Bytes of an attribute's name, and of its type.
pub const MESSAGE_ATTRIBUTE_NAME_BYTES_MAX: usize = 256;
/// Characters of a group id, a deduplication id and an attempt id.
pub const ID_BYTES_MAX: usize = 128;
/// Characters of a queue's name, `.fifo` included.
pub const QUEUE_NAME_BYTES_MAX: usize = 80;
/// Characters of a receipt handle.
pub const HANDLE_BYTES_MAX: usize = 1_024;
/// Messages in flight of one queue.
pub const IN_FLIGHT_COUNT_MAX: usize = 120_000;
/// How long a message may be invisible, counted from its receive.
pub const VISIBILITY_SECONDS_MAX: u32 = 43_200;
/// The longest delay.
pub const DELAY_SECONDS_MAX: u16 = 900;
/// The longest poll.
pub const WAIT_SECONDS_MAX: u8 = 20;
/// How long a message may be kept.
pub const RETENTION_SECONDS_MAX: u32 = 1_209_600;
/// The shortest time that a message may be kept.
pub const RETENTION_SECONDS_MIN: u32 = 60;
/// Receives before a message is a dead letter.
pub const MAX_RECEIVE_COUNT_MAX: u32 = 1_000;
/// How long a deduplication id and an attempt id keep their meaning.
pub const DEDUPLICATION_MS: u64 = 5 * 60 * 1_000;
/// Tags of a queue.
pub const TAG_COUNT_MAX: usize = 50;
/// Source queues that a RedriveAllowPolicy names.
pub const REDRIVE_SOURCE_COUNT_MAX: usize = 10;
/// The shortest time between two purges of a queue.
pub const PURGE_INTERVAL_MS: u64 = 60 * 1_000;

/// A longer body lies in the table of bodies, beside its message.
pub const INLINE_BODY_BYTES_MAX: usize = 4 * 1024;
/// A longer body is written before the send that names it; others travel in its batch.
pub const TRAVELLING_BODY_BYTES_MAX: usize = 32 * 1024;
/// Records that a slice of loading looks at.
pub const LOAD_SLICE_COUNT: usize = 10_000;
/// Messages that one operation takes out because they are too old or dead letters, before it begins anew.
pub const EXPIRED_PER_TURN_MAX: usize = 100;
/// Ranges that one receive visits before it begins anew.
pub const RANGES_PER_TURN_MAX: usize = 64;
/// Messages whose due time has come that one operation makes ready.
pub const RIPE_PER_TURN_MAX: usize = 1_000;
/// Forgotten deduplication and attempt ids that one operation takes away: more than it adds, so that they do not pile up.
pub const FORGOTTEN_PER_TURN_MAX: usize = 16;
/// Times that an operation begins anew before its caller hears that the service is busy.
pub const TURN_COUNT_MAX: u32 = 100_000;
