//! Reading blobs of which nobody asks anything, and comparing them with their digests.
//! Invariant: others run between two pieces; what a blob came to is known once all of it was read.
//! Leaves to scrub.rs: which ones, and how many bytes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use ::store::{Fault, Store};
use hash::Sha256;
use plan::{Context, Piece, Plan, Resume, Step};

use crate::digest::Digest;

/// A blob, or the next part of one.
pub(super) struct Due {
    pub(super) digest: Digest,
    /// When it was stored: tells it from another blob of the same digest.
    pub(super) stored_ms: u64,
    pub(super) piece: Piece,
    /// Nothing comes behind the piece.
    pub(super) is_last: bool,
    /// What was read before the piece.
    pub(super) before: Option<Partial>,
}

/// A blob of which a part was read.
pub(crate) struct Partial {
    pub(super) digest: Digest,
    pub(super) stored_ms: u64,
    pub(super) read_bytes: u64,
    hasher: Sha256,
}

/// What a blob came to. Bytes are those of the piece.
pub(super) enum Outcome {
    Sound {
        bytes: u64,
    },
    /// More of it is to be read.
    Part {
        partial: Partial,
        bytes: u64,
    },
    Damaged {
        digest: Digest,
        stored_ms: u64,
        bytes: u64,
    },
    /// It could not be read, which may pass.
    Unread(Fault),
}

/// The number of an error of the device.
const EIO: i32 = 5;

/// Reads these, one after the other, up to the first that cannot be read.
pub(super) fn read<F>(due: Vec<Due>, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Vec<Outcome>) -> Plan + 'static,
{
    Plan::Step(Box::new(Read { due, then }))
}

struct Read<F> {
    due: Vec<Due>,
    then: F,
}

impl<F> Step for Read<F>
where
    F: FnOnce(&mut Context<'_>, Vec<Outcome>) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Read { due, then } = *self;
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(due.len());
            for one in due {
                let outcome = compare(&store, one).await;
                let is_end = matches!(outcome, Outcome::Unread(_));
                outcomes.push(outcome);
                if is_end {
                    break;
                }
            }
            let resume: Resume = Box::new(move |cx| then(cx, outcomes));
            resume
        })
    }
}

async fn compare(store: &Store, due: Due) -> Outcome {
    let Due { digest, stored_ms, piece, is_last, before } = due;
    let (bytes, end) = (piece.length, piece.start + piece.length);
    let mut hasher = before.map_or_else(Sha256::new, |partial| partial.hasher);
    let mut stream = store.read(&piece.pin, &piece.body, piece.start..end);
    while let Some(data) = stream.next().await {
        match data {
            Ok(data) => hasher.update(&data),
            Err(fault) if is_damage(&fault) => return Outcome::Damaged { digest, stored_ms, bytes },
            Err(fault) => return Outcome::Unread(fault),
        }
        give_way().await;
    }
    if !is_last {
        return Outcome::Part { partial: Partial { digest, stored_ms, read_bytes: end, hasher }, bytes };
    }
    if hasher.finish() == *digest.as_bytes() {
        Outcome::Sound { bytes }
    } else {
        Outcome::Damaged { digest, stored_ms, bytes }
    }
}

/// Whether the bytes are wrong, or the disk cannot give them. Anything else, such as no more file descriptors, may pass.
fn is_damage(fault: &Fault) -> bool {
    match fault {
        Fault::Corrupt(_) => true,
        Fault::Io { errno, .. } => *errno == EIO,
        Fault::ReadOnly(_)
        | Fault::Unknown(_)
        | Fault::InDoubt
        | Fault::Closed
        | Fault::Full
        | Fault::Busy
        | Fault::TooLarge { .. } => false,
    }
}

/// Lets the other tasks of this core run.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
