//! The closure of an action result: every blob that must be there for its hit to be one.
//! Invariant: at most `REFERENCES_MAX` different digests, each with one length and none of them empty; each tree and each directory is
//! read at most once, and at most `WALKED_BYTES_MAX` bytes of them in all.
//! Leaves to walk.rs: reading them. To `cas`: whether the blobs are there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use cas::{Digest, Reference};

use super::{Invalid, Names, REFERENCES_MAX, TOO_MANY, TREE_BYTES_MAX, WALKED_BYTES_MAX, is_empty};

/// The blobs that were named so far, and those whose bytes name more.
#[derive(Default, Debug)]
pub struct Closure {
    lengths: HashMap<Digest, u64>,
    /// What is still to be read.
    queue: Vec<ToRead>,
    /// What was ever in the queue.
    queued: HashMap<Digest, What>,
    walked_bytes: u64,
}

/// A blob whose bytes name others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ToRead {
    /// The blob.
    pub reference: Reference,
    /// How to read it.
    pub what: What,
}

/// The message that a blob holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A Tree.
    Tree,
    /// A Directory.
    Directory,
}

impl Closure {
    /// The closure as far as the result itself tells it.
    ///
    /// # Errors
    /// The result names too much, or one blob with two lengths.
    pub fn of(names: &Names) -> Result<Closure, Invalid> {
        let mut closure = Closure::default();
        names.blobs.iter().try_for_each(|blob| closure.add_blob(*blob))?;
        names.trees.iter().try_for_each(|tree| closure.add_to_read(*tree, What::Tree))?;
        names.directories.iter().try_for_each(|root| closure.add_directory(*root))?;
        Ok(closure)
    }

    /// Adds a blob.
    ///
    /// # Errors
    /// As for [`Closure::of`].
    pub fn add_blob(&mut self, blob: Reference) -> Result<(), Invalid> {
        if is_empty(&blob) {
            return Ok(());
        }
        let is_full = self.lengths.len() >= REFERENCES_MAX;
        match self.lengths.entry(blob.digest) {
            Entry::Occupied(known) if *known.get() == blob.length => Ok(()),
            Entry::Occupied(_) => Err(Invalid("one digest is named with two lengths")),
            Entry::Vacant(_) if is_full => Err(Invalid(TOO_MANY)),
            Entry::Vacant(vacant) => {
                vacant.insert(blob.length);
                Ok(())
            }
        }
    }

    /// Adds a directory that is a blob of its own.
    ///
    /// # Errors
    /// As for [`Closure::of`].
    pub fn add_directory(&mut self, directory: Reference) -> Result<(), Invalid> {
        self.add_to_read(directory, What::Directory)
    }

    fn add_to_read(&mut self, reference: Reference, what: What) -> Result<(), Invalid> {
        // The empty tree and the empty directory name nothing.
        if is_empty(&reference) {
            return Ok(());
        }
        self.add_blob(reference)?;
        match self.queued.insert(reference.digest, what) {
            Some(before) if before == what => return Ok(()),
            Some(_) => return Err(Invalid("one blob is named as a tree and as a directory")),
            None => {}
        }
        self.walked_bytes = self.walked_bytes.saturating_add(reference.length);
        if reference.length > TREE_BYTES_MAX || self.walked_bytes > WALKED_BYTES_MAX {
            return Err(Invalid("the trees of the action result are too large"));
        }
        self.queue.push(ToRead { reference, what });
        Ok(())
    }

    /// The next tree or directory to read.
    pub fn next_to_read(&mut self) -> Option<ToRead> {
        self.queue.pop()
    }

    /// Every blob of the closure, trees and directories among them.
    pub fn references(&self) -> impl Iterator<Item = Reference> + '_ {
        self.lengths.iter().map(|(digest, length)| Reference { digest: *digest, length: *length })
    }

    /// The same in the order of their digests, as a key record keeps them.
    #[must_use]
    pub fn into_references(self) -> Vec<Reference> {
        let mut references: Vec<Reference> = self.references().collect();
        references.sort_unstable_by_key(|reference| reference.digest);
        references
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(index: usize, length: u64) -> Reference {
        Reference { digest: Digest::of(&index.to_le_bytes()), length }
    }

    #[test]
    fn a_blob_that_is_named_twice_counts_once() {
        let mut closure = Closure::default();
        for _ in 0..3 {
            closure.add_blob(blob(1, 5)).unwrap();
        }
        assert_eq!(closure.references().count(), 1);
        assert!(closure.add_blob(blob(1, 6)).is_err());
    }

    #[test]
    fn a_closure_is_full_at_its_bound() {
        let mut closure = Closure::default();
        for index in 0..REFERENCES_MAX {
            closure.add_blob(blob(index, 1)).unwrap();
        }
        assert_eq!(closure.add_blob(blob(REFERENCES_MAX, 1)), Err(Invalid(TOO_MANY)));
        assert!(closure.add_blob(blob(3, 1)).is_ok(), "one that is there takes no room");
    }

    #[test]
    fn trees_are_read_up_to_a_bound_of_bytes() {
        let mut closure = Closure::default();
        assert!(closure.add_directory(blob(0, TREE_BYTES_MAX + 1)).is_err());
        let mut closure = Closure::default();
        let fitting = WALKED_BYTES_MAX / TREE_BYTES_MAX;
        for index in 0..fitting {
            closure.add_directory(blob(index as usize, TREE_BYTES_MAX)).unwrap();
        }
        assert!(closure.add_directory(blob(fitting as usize, TREE_BYTES_MAX)).is_err());
    }
}
