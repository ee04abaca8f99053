//! Request and host identifiers, in the shapes that the services give them.
//!
//! Invariant: all are functions of the numbers passed in, so a test with a fixed generator sees fixed ids.
//! Uniqueness is the caller's: it passes a fresh random number for each request.

use std::fmt;
use std::ops::Deref;

use crate::encoding::base64_into;

/// The identifier of one request: 16 upper-case hexadecimal digits, or a UUID where the service calls requests by those.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    text: [u8; UUID_BYTES],
    length: u8,
}

/// Characters of a UUID.
const UUID_BYTES: usize = 36;

impl RequestId {
    /// Spells a random number.
    pub fn new(random: u64) -> RequestId {
        let mut text = [0u8; UUID_BYTES];
        for (index, digit) in text.iter_mut().take(16).enumerate() {
            *digit = b"0123456789ABCDEF"[(random >> (60 - 4 * index)) as usize & 15];
        }
        RequestId { text, length: 16 }
    }

    /// Spells two random numbers as a UUID (RFC 9562, version 4).
    pub fn uuid(high: u64, low: u64) -> RequestId {
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        let bits = u128::from(high) << 64 | u128::from(low);
        let mut text = [b'-'; UUID_BYTES];
        let places = (0..UUID_BYTES).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
        for (index, place) in places.enumerate() {
            text[place] = b"0123456789abcdef"[(bits >> (124 - 4 * index)) as usize & 15];
        }
        RequestId { text, length: UUID_BYTES as u8 }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).expect("hexadecimal digits are ASCII")
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The `x-amz-id-2` of a reply: 76 characters of base64 that stand for the node and the request. It carries
/// no information; support tools only expect it to be there and to be long.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostId([u8; 76]);

impl HostId {
    /// Stands where a service's replies carry no such id.
    pub const UNUSED: HostId = HostId([b'-'; 76]);

    /// Spells what a node's number and a request's give.
    pub fn new(node: u64, request: u64) -> HostId {
        let mut state = node ^ request.rotate_left(32);
        let mut bytes = [0u8; 56];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&splitmix64(&mut state).to_be_bytes());
        }
        let mut text = [0; 76];
        base64_into(&bytes, &mut text);
        HostId(text)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// The `x-amzn-RequestId` of a JSON service's reply: 52 digits and upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JsonRequestId([u8; 52]);

impl JsonRequestId {
    /// Spells a random number.
    pub fn new(random: u64) -> JsonRequestId {
        let mut state = random;
        let mut text = [0u8; 52];
        for part in text.chunks_exact_mut(13) {
            let mut word = splitmix64(&mut state);
            for digit in part {
                *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUV"[word as usize & 31];
                word >>= 5;
            }
        }
        JsonRequestId(text)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and letters are ASCII")
    }
}

/// One step of splitmix64 (Steele, Lea, Flood 2014).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Deref for JsonRequestId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for JsonRequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Deref for HostId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_spells_its_number() {
        assert_eq!(RequestId::new(0x0123_4567_89ab_cdef).as_str(), "0123456789ABCDEF");
        assert_eq!(RequestId::new(0).to_string(), "0000000000000000");
        assert_eq!(RequestId::uuid(0, 0).as_str(), "00000000-0000-4000-8000-000000000000");
        let id = RequestId::uuid(0x0123_4567_89ab_cdef, u64::MAX);
        assert_eq!(id.as_str(), "01234567-89ab-4def-bfff-ffffffffffff");
    }

    #[test]
    fn a_json_services_ids_are_52_digits_and_letters_and_differ_by_request() {
        let id = JsonRequestId::new(1);
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()));
        assert_eq!(id.as_str().len(), 52);
        assert_eq!(id, JsonRequestId::new(1));
        assert_ne!(id, JsonRequestId::new(2));
    }

    #[test]
    fn host_ids_are_long_and_differ_by_request() {
        assert!(HostId::new(1, 2).ends_with('='));
        assert_eq!(HostId::new(1, 2).len(), 76);
        assert_eq!(HostId::new(1, 2), HostId::new(1, 2));
        assert_ne!(HostId::new(1, 2), HostId::new(1, 3));
    }
}
