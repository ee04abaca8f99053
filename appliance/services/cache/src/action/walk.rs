//! Reading the trees and directories of an action result, so that its closure is known when it is stored.
//! Invariant: the closure that goes on holds every blob that the result names, however deep; a tree that is not there, or whose
//! bytes are not those of its digest, makes the result incomplete. One blob is in memory at a time.
//! Leaves to `cas`: whether the other blobs are there.

use std::future::Future;
use std::pin::Pin;

use ::store::{Fault, Store};
use bytes::{Bytes, BytesMut};
use cas::{Blob, Digest, Reference};
use plan::{Context, Piece, Plan, Resume, Step};

use super::closure::{Closure, ToRead, What};
use super::{Invalid, tree};
use crate::call::Shared;
use crate::refusal::Refusal;

/// The refusal of bytes that are not what they should be.
#[must_use]
pub fn refusal(Invalid(why): Invalid) -> Refusal {
    Refusal::Bad("InvalidActionResult", why.into())
}

/// Reads what is to be read of a closure, and goes on with all references. Errors: a tree is not there (`MissingOutputs`) or is none.
pub fn resolve<F>(call: Shared, cx: &mut Context<'_>, mut closure: Closure, then: F) -> Plan
where
    F: FnOnce(Shared, &mut Context<'_>, Result<Vec<Reference>, Refusal>) -> Plan + 'static,
{
    let Some(next) = closure.next_to_read() else {
        return then(call, cx, Ok(closure.into_references()));
    };
    let ToRead { reference, what } = next;
    let (cas, ns) = (call.cas.clone(), call.namespace);
    cas.find(cx, &ns, reference.digest, move |cx, found| {
        let missing = Refusal::MissingOutputs(vec![reference.digest]);
        let blob = match found {
            Err(fault) => return then(call, cx, Err(fault.into())),
            Ok(Some(blob)) if blob.length == reference.length => blob,
            Ok(_) => return then(call, cx, Err(missing)),
        };
        read(blob, move |cx, whole| match whole {
            Whole::Bytes(bytes) => {
                let read = match what {
                    What::Tree => tree::read_tree(&bytes, &mut closure),
                    What::Directory => tree::read_directory(&bytes, &mut closure),
                };
                match read {
                    Ok(()) => resolve(call, cx, closure, then),
                    Err(invalid) => then(call, cx, Err(refusal(invalid))),
                }
            }
            Whole::Wrong(stored_ms) => {
                let cas = call.cas.clone();
                cas.quarantine(cx, reference.digest, stored_ms, move |cx, _| then(call, cx, Err(missing)))
            }
            Whole::Fault(fault) => then(call, cx, Err(fault.into())),
        })
    })
}

/// What a blob turned out to be.
enum Whole {
    Bytes(Bytes),
    /// Its bytes are not those of its digest. Holds `Blob::stored_ms`.
    Wrong(u64),
    Fault(Fault),
}

/// A blob on its way into memory.
struct Read<F> {
    digest: Digest,
    stored_ms: u64,
    piece: Piece,
    then: F,
}

fn read<F>(blob: Blob, then: F) -> Plan
where
    F: FnOnce(&mut Context<'_>, Whole) -> Plan + 'static,
{
    let Blob { digest, stored_ms, piece, .. } = blob;
    Plan::Step(Box::new(Read { digest, stored_ms, piece, then }))
}

impl<F> Step for Read<F>
where
    F: FnOnce(&mut Context<'_>, Whole) -> Plan + 'static,
{
    fn run(self: Box<Self>, store: Store) -> Pin<Box<dyn Future<Output = Resume>>> {
        let Read { digest, stored_ms, piece, then } = *self;
        Box::pin(async move {
            let whole = match collect(&store, &piece).await {
                Ok(bytes) if Digest::of(&bytes) == digest => Whole::Bytes(bytes),
                Ok(_) | Err(Fault::Corrupt(_)) => Whole::Wrong(stored_ms),
                Err(fault) => Whole::Fault(fault),
            };
            let resume: Resume = Box::new(move |cx| then(cx, whole));
            resume
        })
    }
}

async fn collect(store: &Store, piece: &Piece) -> Result<Bytes, Fault> {
    let mut stream = store.read(&piece.pin, &piece.body, piece.start..piece.start + piece.length);
    let mut bytes = BytesMut::new();
    while let Some(part) = stream.next().await.transpose()? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}
