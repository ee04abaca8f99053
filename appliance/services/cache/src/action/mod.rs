//! What an action result names: ActionResult, Tree and Directory of the Remote Execution API, version 2, read for their
//! digests alone.
//!
//! ```text
//! ActionResult (binary.rs, json.rs) -> Names { blobs, trees, directories }
//!   each tree       -> a Tree blob      (tree.rs) -> its files, and the directories that it does not hold itself
//!   each directory  -> a Directory blob (tree.rs) -> its files, and its directories
//! all of them together                  (closure.rs) -> at most REFERENCES_MAX digests with their lengths
//! ```
//! Invariant: whatever bytes are read, time is linear in them and memory too; nothing recurses with what they hold. The
//! bytes of a result are stored and given back as they came: nothing here writes a message.
//! Leaves to walk.rs: reading the blobs of trees. To the dialects: requests and replies.

pub mod binary;
pub mod closure;
pub mod json;
mod message;
pub mod tree;
pub mod walk;

use cas::{Digest, Reference};

/// The longest action result that is taken, in bytes: what a key record holds, some 6,000 outputs.
pub const RESULT_BYTES_MAX: usize = cas::store::key::INLINE_BYTES_MAX;
/// The most digests that one result may name, with all that its trees name.
pub const REFERENCES_MAX: usize = cas::store::key::REFERENCE_COUNT_MAX;
/// The longest Tree or Directory that is walked, in bytes.
pub const TREE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most bytes of trees and directories that one result makes us read.
pub const WALKED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What an action result names by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Files, stdout and stderr.
    pub blobs: Vec<Reference>,
    /// Output directories as `Tree` blobs.
    pub trees: Vec<Reference>,
    /// Roots of output directories as `Directory` blobs.
    pub directories: Vec<Reference>,
}

impl Names {
    fn count(&self) -> usize {
        self.blobs.len() + self.trees.len() + self.directories.len()
    }

    /// Refuses what no closure could hold, before it takes memory.
    fn check_room(&self) -> Result<(), Invalid> {
        if self.count() < REFERENCES_MAX { Ok(()) } else { Err(Invalid(TOO_MANY)) }
    }
}

/// Why bytes are not what they should be, in words for the one who sent them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid(pub &'static str);

/// The words for a result that names more than [`REFERENCES_MAX`] blobs.
pub const TOO_MANY: &str = "the action result names more than 10000 blobs";

/// Reads a digest from its two fields.
fn reference(hash: &[u8], size_bytes: i64) -> Result<Reference, Invalid> {
    let digest =
        Digest::parse(hash).ok_or(Invalid("a digest's hash is not 64 lower-case hexadecimal digits"))?;
    let length = u64::try_from(size_bytes).map_err(|_| Invalid("a digest's size_bytes is negative"))?;
    checked(Reference { digest, length })
}

/// Refuses what cannot be: no bytes under another digest than theirs, or bytes under that one.
pub fn checked(reference: Reference) -> Result<Reference, Invalid> {
    if is_empty(&reference) == (reference.length == 0) {
        Ok(reference)
    } else {
        Err(Invalid("a digest's size does not fit its hash"))
    }
}

/// Whether it names the blob without bytes, which is always there: clients need not upload it.
#[must_use]
pub fn is_empty(reference: &Reference) -> bool {
    reference.digest == EMPTY
}

/// The SHA-256 of no bytes.
pub const EMPTY: Digest = Digest::new([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_is_the_digest_of_no_bytes() {
        assert_eq!(Digest::of(b""), EMPTY);
    }

    #[test]
    fn a_size_must_fit_the_hash_of_nothing() {
        let text = EMPTY.text();
        assert!(reference(&text, 0).is_ok());
        assert!(reference(&text, 1).is_err());
        assert!(reference(&Digest::of(b"x").text(), 0).is_err());
        assert!(reference(&Digest::of(b"x").text(), -1).is_err());
    }
}
