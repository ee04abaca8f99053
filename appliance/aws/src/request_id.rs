//! Request and host identifiers, in the shape that S3 gives them.
//!
//! Invariant: both are functions of the numbers passed in, so a test with a fixed generator sees fixed ids.
//! Uniqueness is the caller's: it passes a fresh random number for each request.

use std::fmt;
use std::ops::Deref;

use crate::encoding::base64_into;

/// The identifier of one request: 16 upper-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Spells a random number.
    pub fn new(random: u64) -> RequestId {
        let mut text = [0u8; 16];
        for (index, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789ABCDEF"[(random >> (60 - 4 * index)) as usize & 15];
        }
        RequestId(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
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
    /// Spells what a node's number and a request's give.
    pub fn new(node: u64, request: u64) -> HostId {
        let mut state = node ^ request.rotate_left(32);
        let mut bytes = [0u8; 56];
        for word in bytes.chunks_exact_mut(8) {
            // One step of splitmix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
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
    }

    #[test]
    fn host_ids_are_long_and_differ_by_request() {
        assert!(HostId::new(1, 2).ends_with('='));
        assert_eq!(HostId::new(1, 2).len(), 76);
        assert_eq!(HostId::new(1, 2), HostId::new(1, 2));
        assert_ne!(HostId::new(1, 2), HostId::new(1, 3));
    }
}
