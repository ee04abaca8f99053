//! Stored bodies whose SHA-256 is known, on their way out.
//! Invariant: of a body with another digest no client ever gets all bytes. One that comes in one piece is compared before the
//! head leaves; of a longer one the last piece is held back until it is known to be right.
//! Leaves to the service: what becomes of a body that is wrong.

use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use hash::Sha256;
use http::{Responder, ResponseHead};
use http_types::Method;
use plan::{Late, Piece, Then};
use store::{BodyStream, Fault};

use super::intake::Intake;
use super::reply::{self, Ids, Sent, Trouble};
use super::{Host, drive};

/// A body to send, and what its bytes must come to.
pub struct Wanted {
    /// All of it, or a part.
    pub piece: Piece,
    /// Its digest; nothing for a part.
    pub sha256: Option<[u8; 32]>,
    /// What follows when it has another.
    pub mismatch: Then<()>,
    /// What is sent when the first bytes are not there in time.
    pub late: Option<Late>,
}

/// Sends a body that is compared with its digest. The common small one is one run of bytes, or was compared when it was read
/// for somebody else a while ago.
pub async fn send(
    host: &impl Host,
    wanted: Wanted,
    head: ResponseHead,
    ids: &Ids,
    responder: Responder,
) -> Sent {
    let Wanted { piece, sha256, mismatch, late } = wanted;
    let length = piece.length;
    if let Some(bytes) = sha256.as_ref().and_then(|sha256| host.kept().get(sha256)) {
        return reply::whole(head, bytes, responder).await;
    }
    let mut stream = host.store().read(&piece.pin, &piece.body, piece.start..piece.start + length);
    let first = match late {
        None => stream.next().await,
        Some(Late { deadline, then }) => match deadline.of(pin!(stream.next())).await {
            Some(first) => first,
            // In a box of its own, since this is a reply inside of a reply. The method is one that has a body.
            None => return Box::pin(reply::send(Some(host), &Method::GET, ids, then(), responder)).await,
        },
    };
    let first = match first.transpose() {
        Ok(first) => first.unwrap_or_default(),
        Err(fault) => return Box::pin(refuse(host, mismatch, fault, ids, responder)).await,
    };
    if first.len() as u64 == length {
        if let Some(wanted) = &sha256 {
            if hash::sha256(&first) != *wanted {
                return Box::pin(refuse(host, mismatch, another(length), ids, responder)).await;
            }
            host.kept().note(wanted, &first);
        }
        return reply::whole(head, first, responder).await;
    }
    let body = Body { stream, first, length, sha256 };
    Box::pin(rest(host, body, mismatch, head, responder)).await
}

fn another(length: u64) -> Fault {
    Fault::corrupt(format!("a stored body of {length} bytes has another SHA-256 than it should"))
}

/// Answers for a body of which nothing has left.
async fn refuse(host: &impl Host, mismatch: Then<()>, fault: Fault, ids: &Ids, responder: Responder) -> Sent {
    if !is_damage(&fault) {
        let sent = reply::whole_error(ids, responder).await;
        return Sent { trouble: Some(Trouble::Store(fault)), ..sent };
    }
    let reply = give_up(host, mismatch).await;
    // In a box of its own, since this is a reply inside of a reply. The method is one that has a body.
    let sent = Box::pin(reply::send(Some(host), &Method::GET, ids, reply, responder)).await;
    Sent { trouble: Some(Trouble::Store(fault)), ..sent }
}

/// Whether the bytes are wrong, or the disk cannot give them. Anything else, such as no more file descriptors, may pass.
fn is_damage(fault: &Fault) -> bool {
    match fault {
        Fault::Corrupt(_) => true,
        Fault::Io { errno, .. } => *errno == rustix::io::Errno::IO.raw_os_error(),
        Fault::ReadOnly(_)
        | Fault::Unknown(_)
        | Fault::InDoubt
        | Fault::Closed
        | Fault::Full
        | Fault::Busy
        | Fault::TooLarge { .. } => false,
    }
}

async fn give_up(host: &impl Host, mismatch: Then<()>) -> plan::Reply {
    let plan = host.with_context(|cx| mismatch(cx, ()));
    drive(host, plan, &mut Intake::empty()).await
}

/// A body of several pieces, the first of which is here.
struct Body {
    stream: BodyStream,
    first: Bytes,
    length: u64,
    sha256: Option<[u8; 32]>,
}

async fn rest(
    host: &impl Host,
    body: Body,
    mismatch: Then<()>,
    head: ResponseHead,
    responder: Responder,
) -> Sent {
    let Body { mut stream, first, length, sha256 } = body;
    let mut sent = Sent { status: head.status, bytes: 0, first_byte: Instant::now(), trouble: None };
    let mut writer = match responder.start(head, Some(length)).await {
        Ok(writer) => writer,
        Err(error) => return Sent { trouble: Some(Trouble::Client(error)), ..sent },
    };
    let mut check = sha256.map(|wanted| (Sha256::new(), wanted));
    let mut held = first;
    let fault = loop {
        if let Some((hasher, _)) = &mut check {
            hasher.update(&held);
        }
        let next = match stream.next().await {
            Some(Ok(next)) => next,
            Some(Err(fault)) => break Some(fault),
            None => {
                let is_other = check.is_some_and(|(hasher, wanted)| hasher.finish() != wanted);
                break is_other.then(|| another(length));
            }
        };
        let count = held.len() as u64;
        if let Err(error) = writer.write(held).await {
            return Sent { trouble: Some(Trouble::Client(error)), ..sent };
        }
        sent.bytes += count;
        held = next;
    };
    if let Some(fault) = fault {
        writer.abort();
        if is_damage(&fault) {
            // Its reply has nobody to go to.
            drop(give_up(host, mismatch).await);
        }
        return Sent { trouble: Some(Trouble::Store(fault)), ..sent };
    }
    let count = held.len() as u64;
    let written = match writer.write(held).await {
        // A length that differs from the announced one is caught here and cuts the answer short.
        Ok(()) => writer.finish().await,
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => sent.bytes += count,
        Err(error) => sent.trouble = Some(Trouble::Client(error)),
    }
    sent
}

#[cfg(test)]
pub(super) mod tests;
