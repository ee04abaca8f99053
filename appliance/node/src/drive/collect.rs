//! Whole bodies, for services whose signatures cover them, and how many of their bytes a core holds.
//! Invariant: the memory of every collected body is counted before it is taken and until the request is answered, and the sum
//! never passes `HELD_BYTES_MAX`. Small bodies pass where large ones are refused, so that few large ones do not stop a service.
//! Leaves to the caller: that the sender is known before a large body is read.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use hash::Sha256;
use http::{BodyError, BodyLength, RequestBody};

/// Bytes of collected bodies that one core holds.
#[derive(Clone, Default)]
pub struct Held(Rc<Cell<usize>>);

/// A body that is there, and its share of what the core holds.
pub struct Whole {
    /// The bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub sha256: [u8; 32],
    /// Given back when the request is answered.
    pub share: Share,
}

/// Some of what a core holds; given back when dropped.
pub struct Share {
    held: Held,
    bytes: usize,
}

/// Why a body was not collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The client went away; nobody waits for a reply.
    Disconnected,
    /// No byte came for longer than the limit.
    Stalled,
    /// It is longer than the service takes.
    TooLarge,
    /// Broken framing: what came is not the whole body.
    Incomplete,
    /// The core holds as much as it may.
    Crowded,
}

/// One core holds at most this much of collected bodies.
pub const HELD_BYTES_MAX: usize = 256 << 20;
/// Of that, so much is for bodies that are small.
const HELD_FOR_SMALL_BYTES: usize = 64 << 20;
/// A body up to here is small: it takes no more than the buffers of its connection do anyway.
pub const SMALL_BYTES: usize = 64 << 10;

impl Held {
    /// How much is held now.
    pub fn bytes(&self) -> usize {
        self.0.get()
    }

    fn share(&self) -> Share {
        Share { held: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Counts up to so many bytes. An error when the core holds too much for that.
    fn cover(&mut self, bytes: usize) -> Result<(), Failure> {
        let more = bytes.saturating_sub(self.bytes);
        let total = self.held.0.get().saturating_add(more);
        let own = self.bytes + more;
        let most = if own <= SMALL_BYTES { HELD_BYTES_MAX } else { HELD_BYTES_MAX - HELD_FOR_SMALL_BYTES };
        if more > 0 && total > most {
            return Err(Failure::Crowded);
        }
        self.held.0.set(total);
        self.bytes = own;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.set(self.held.0.get() - self.bytes);
    }
}

/// Reads a body to its end. More than `limit_bytes` is `TooLarge`, said as early as the head lets us know.
pub async fn collect(held: &Held, body: &mut RequestBody, limit_bytes: usize) -> Result<Whole, Failure> {
    if matches!(body.length(), BodyLength::Known(length) if length > limit_bytes as u64) {
        return Err(Failure::TooLarge);
    }
    let mut arrival = Arrival { body, share: held.share(), received: 0, limit_bytes };
    let Some(first) = arrival.next().await? else {
        return Ok(Whole { bytes: Bytes::new(), sha256: hash::sha256(&[]), share: arrival.share });
    };
    // The common small document comes in one piece and is never copied.
    let Some(second) = arrival.next().await? else {
        return Ok(Whole { sha256: hash::sha256(&first), bytes: first, share: arrival.share });
    };
    // Hashed piece by piece: the digest of a whole large body would hold up the core's other requests.
    let mut sha256 = Sha256::new();
    let mut whole = BytesMut::with_capacity(arrival.room()?);
    for piece in [first, second] {
        sha256.update(&piece);
        whole.extend_from_slice(&piece);
    }
    while let Some(piece) = arrival.next().await? {
        if whole.len() + piece.len() > whole.capacity() {
            whole.reserve(arrival.room()? - whole.len());
        }
        sha256.update(&piece);
        whole.extend_from_slice(&piece);
    }
    Ok(Whole { bytes: whole.freeze(), sha256: sha256.finish(), share: arrival.share })
}

/// A body that is being received.
struct Arrival<'a> {
    body: &'a mut RequestBody,
    share: Share,
    /// Bytes so far.
    received: usize,
    limit_bytes: usize,
}

impl Arrival<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = match self.body.next().await {
            None => return Ok(None),
            Some(Ok(piece)) => piece,
            Some(Err(BodyError::Closed)) => return Err(Failure::Disconnected),
            Some(Err(BodyError::TimedOut)) => return Err(Failure::Stalled),
            Some(Err(BodyError::TooLarge)) => return Err(Failure::TooLarge),
            // Broken HTTP framing. Later kinds of error count the same.
            Some(Err(_)) => return Err(Failure::Incomplete),
        };
        self.received += piece.len();
        if self.received > self.limit_bytes {
            return Err(Failure::TooLarge);
        }
        self.share.cover(self.received)?;
        Ok(Some(piece))
    }

    /// How much to have room for: all that was announced, or twice what came. It counts as held before it is allocated.
    fn room(&mut self) -> Result<usize, Failure> {
        let expected = match self.body.length() {
            BodyLength::Known(length) => usize::try_from(length).unwrap_or(usize::MAX),
            BodyLength::None | BodyLength::Unknown => 2 * self.received,
        };
        let room = expected.min(self.limit_bytes).max(self.received);
        self.share.cover(room)?;
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::testing::on_reactor;

    fn body(pieces: &[usize]) -> RequestBody {
        let pieces: Vec<Bytes> = pieces.iter().map(|length| Bytes::from(vec![b'x'; *length])).collect();
        RequestBody::from_chunks(BodyLength::Unknown, pieces)
    }

    async fn collected(held: &Held, pieces: &[usize], limit_bytes: usize) -> Result<Whole, Failure> {
        collect(held, &mut body(pieces), limit_bytes).await
    }

    #[test]
    fn a_body_has_its_bytes_and_digest_however_it_came() {
        on_reactor(async {
            let held = Held::default();
            for pieces in [&[][..], &[5], &[2, 3], &[1, 1, 1, 1, 1]] {
                let length = pieces.iter().sum();
                let whole = collected(&held, pieces, 5).await.expect("fits");
                assert_eq!(whole.bytes, vec![b'x'; length]);
                assert_eq!(whole.sha256, hash::sha256(&whole.bytes));
                assert!((length..=5).contains(&held.bytes()), "{} for {pieces:?}", held.bytes());
                drop(whole);
                assert_eq!(held.bytes(), 0);
            }
        });
    }

    #[test]
    fn a_body_over_the_limit_is_refused_announced_or_not() {
        on_reactor(async {
            let held = Held::default();
            assert_eq!(collected(&held, &[3, 3], 5).await.err(), Some(Failure::TooLarge));
            let mut announced = RequestBody::from_bytes(Bytes::from_static(b"123456"));
            assert_eq!(collect(&held, &mut announced, 5).await.err(), Some(Failure::TooLarge));
            assert!(announced.next().await.is_some(), "what is refused by its head is not read");
            assert_eq!(held.bytes(), 0);
        });
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones() {
        on_reactor(async {
            let held = Held::default();
            held.0.set(HELD_BYTES_MAX - HELD_FOR_SMALL_BYTES);
            let limit_bytes = 16 << 20;
            let large = collected(&held, &[SMALL_BYTES, 1], limit_bytes).await;
            assert_eq!(large.err(), Some(Failure::Crowded));
            // Twice as much is counted where nobody announced a length.
            let small = collected(&held, &[SMALL_BYTES / 2 - 1, 1], limit_bytes).await;
            drop(small.expect("room for small"));
            held.0.set(HELD_BYTES_MAX);
            assert_eq!(collected(&held, &[1], limit_bytes).await.err(), Some(Failure::Crowded));
            assert_eq!(held.bytes(), HELD_BYTES_MAX);
        });
    }
}
