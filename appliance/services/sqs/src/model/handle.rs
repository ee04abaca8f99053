//! Receipt handles: which receive of which message a client speaks of.
//! Invariant: a handle that opens was made by this queue; a forged one, and one of another queue, is told from text that is none.
//! Leaves to engine: whether the receive is still the latest, and its time not over.
//!
//! ```text
//! base64url without padding of:
//! version 1 u8 | queue id u64be | sequence u64be | number u32be | first 12 bytes of HMAC-SHA-256(handle key, all before)
//! ```

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::model::queue::{QueueId, Sequence};

/// One receive of one message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle {
    /// The queue.
    pub queue: QueueId,
    /// The message.
    pub sequence: Sequence,
    /// Which receive of it, counted from 1.
    pub number: u32,
}

/// Why a text opens no receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandleError {
    /// It is no handle.
    Malformed,
    /// It is a handle, but not of this queue.
    Foreign,
}

const VERSION: u8 = 1;
const FRONT_BYTES: usize = 1 + 8 + 8 + 4;
const MAC_BYTES: usize = 12;
const RAW_BYTES: usize = FRONT_BYTES + MAC_BYTES;
/// Characters of a handle: 33 bytes are 11 groups of three.
pub const TEXT_BYTES: usize = RAW_BYTES / 3 * 4;

impl Handle {
    /// The text that a client gets.
    #[must_use]
    pub fn seal(&self, handle_key: &[u8; 16]) -> String {
        let mut raw = [0; RAW_BYTES];
        raw[..FRONT_BYTES].copy_from_slice(&self.front());
        let mac = mac(handle_key, &raw[..FRONT_BYTES]);
        raw[FRONT_BYTES..].copy_from_slice(&mac);
        let mut text = aws::encoding::base64(&raw).into_bytes();
        for byte in &mut text {
            *byte = match *byte {
                b'+' => b'-',
                b'/' => b'_',
                byte => byte,
            };
        }
        String::from_utf8(text).expect("base64 is ASCII")
    }

    /// The receive that a text means on the queue with this id and key.
    pub fn open(text: &str, queue: QueueId, handle_key: &[u8; 16]) -> Result<Handle, HandleError> {
        let raw = decode(text).ok_or(HandleError::Malformed)?;
        let (front, given) = raw.split_at(FRONT_BYTES);
        let number = |range: std::ops::Range<usize>| {
            front[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        if front[0] != VERSION {
            return Err(HandleError::Malformed);
        }
        let handle = Handle {
            queue: QueueId(number(1..9)),
            sequence: Sequence(number(9..17)),
            number: number(17..21) as u32,
        };
        // The difference is gathered over all bytes, so that the time tells nothing of where it begins.
        let differs = mac(handle_key, front).iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        if handle.queue != queue || differs != 0 { Err(HandleError::Foreign) } else { Ok(handle) }
    }

    fn front(&self) -> [u8; FRONT_BYTES] {
        let mut front = [VERSION; FRONT_BYTES];
        front[1..9].copy_from_slice(&self.queue.0.to_be_bytes());
        front[9..17].copy_from_slice(&self.sequence.0.to_be_bytes());
        front[17..21].copy_from_slice(&self.number.to_be_bytes());
        front
    }
}

fn decode(text: &str) -> Option<[u8; RAW_BYTES]> {
    if text.len() != TEXT_BYTES {
        return None;
    }
    let mut raw = [0; RAW_BYTES];
    for (group, bytes) in text.as_bytes().chunks_exact(4).zip(raw.chunks_exact_mut(3)) {
        let mut bits = 0_u32;
        for character in group {
            let value = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(raw)
}

fn mac(handle_key: &[u8; 16], front: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(handle_key).expect("HMAC takes keys of any length");
    mac.update(front);
    let whole = mac.finalize().into_bytes();
    let mut cut = [0; MAC_BYTES];
    cut.copy_from_slice(&whole[..MAC_BYTES]);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [7; 16];

    #[test]
    fn a_handle_opens_on_its_own_queue_and_on_no_other() {
        let handle = Handle { queue: QueueId(u64::MAX), sequence: Sequence(1 << 60), number: u32::MAX };
        let text = handle.seal(&KEY);
        assert_eq!(text.len(), TEXT_BYTES);
        assert_eq!(Handle::open(&text, QueueId(u64::MAX), &KEY), Ok(handle));
        assert_eq!(Handle::open(&text, QueueId(1), &KEY), Err(HandleError::Foreign));
        assert_eq!(Handle::open(&text, QueueId(u64::MAX), &[8; 16]), Err(HandleError::Foreign));
    }

    #[test]
    fn no_change_of_a_single_character_opens() {
        let handle = Handle { queue: QueueId(5), sequence: Sequence(77), number: 1 };
        let text = handle.seal(&KEY);
        for index in 0..text.len() {
            for other in [b'A', b'z', b'_', b'='] {
                let mut changed = text.clone().into_bytes();
                if changed[index] != other {
                    changed[index] = other;
                    let changed = String::from_utf8(changed).expect("ASCII");
                    assert!(Handle::open(&changed, QueueId(5), &KEY).is_err(), "{changed}");
                }
            }
        }
    }

    #[test]
    fn text_that_is_no_handle_is_malformed() {
        for text in ["", "x", "ä", &"A".repeat(TEXT_BYTES), &"A".repeat(1_024), &"=".repeat(TEXT_BYTES)] {
            assert_eq!(Handle::open(text, QueueId(5), &KEY), Err(HandleError::Malformed), "{text}");
        }
    }
}
