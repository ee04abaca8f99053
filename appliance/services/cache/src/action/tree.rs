//! Trees and directories: what lies in an output directory.
//!
//! | message | fields that are read |
//! |---|---|
//! | Tree | 1 root: Directory, 2 children: Directory, each by the digest of its bytes |
//! | Directory | 1 files: FileNode { 1 name, 2 digest }, 2 directories: DirectoryNode { 1 name, 2 digest } |
//!
//! Invariant: a tree is whole if each directory that a node of it names is one of its children, empty, or a blob of its own; the
//! last are given back as still to be read. Symbolic links name no blob.
//! Leaves to closure.rs: how much that may be.

use std::collections::HashSet;

use cas::{Digest, Reference};

use super::Invalid;
use super::binary::digest;
use super::closure::Closure;
use super::message::Fields;

/// Adds what a Tree names to the closure.
///
/// # Errors
/// The bytes are no Tree, or it names more than a closure holds.
pub fn read_tree(message: &[u8], closure: &mut Closure) -> Result<(), Invalid> {
    let mut children = HashSet::new();
    let mut named = Vec::new();
    let mut has_root = false;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                has_root = true;
                read_nodes(value.bytes()?, closure, &mut named)?;
            }
            2 => {
                let child = value.bytes()?;
                children.insert(Digest::of(child));
                read_nodes(child, closure, &mut named)?;
            }
            _ => {}
        }
    }
    if !has_root && !message.is_empty() {
        return Err(Invalid("a tree has no root"));
    }
    for directory in named {
        if !children.contains(&directory.digest) {
            closure.add_directory(directory)?;
        }
    }
    Ok(())
}

/// Adds what a Directory names to the closure.
///
/// # Errors
/// As for [`read_tree`].
pub fn read_directory(message: &[u8], closure: &mut Closure) -> Result<(), Invalid> {
    let mut named = Vec::new();
    read_nodes(message, closure, &mut named)?;
    named.into_iter().try_for_each(|directory| closure.add_directory(directory))
}

/// Adds the files of a Directory to the closure and its directories to `named`.
fn read_nodes(message: &[u8], closure: &mut Closure, named: &mut Vec<Reference>) -> Result<(), Invalid> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => closure.add_blob(node(value.bytes()?)?)?,
            2 => named.push(node(value.bytes()?)?),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a FileNode or a DirectoryNode, which have name and digest in the same fields.
fn node(message: &[u8]) -> Result<Reference, Invalid> {
    let mut found = None;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => drop(value.text()?),
            2 => found = Some(digest(value.bytes()?)?),
            _ => {}
        }
    }
    found.ok_or(Invalid("a node of a directory has no digest"))
}

#[cfg(test)]
mod tests {
    use super::super::binary::tests::{digest_of, field};
    use super::*;

    /// What Bazel 2.1.0 stored for a directory with `b.txt` and `sub/a.txt`.
    const CAPTURED: &[u8] = b"\n\x9c\x01\nM\n\x05b.txt\x12D\n@333d36c15ed252b52c66eda5bf9c1ad3e730b6d6eef9401a336db63ccf7558e7\x10\x03\x12K\n\x03sub\x12D\n@63d1d572a054ecd74e933e6af143bd3b18d3fcd08bd1d9f638793398bdb327d0\x10O\x12O\nM\n\x05a.txt\x12D\n@f27e01fe7624cca3e69811a0bf9a4efd9dca9fd39f7a3a8f939cae0cfe8cdfb8\x10\x05";

    fn blobs(closure: &Closure) -> Vec<Digest> {
        let mut blobs: Vec<Digest> = closure.references().map(|reference| reference.digest).collect();
        blobs.sort();
        blobs
    }

    fn node_of(name: &[u8], blob: &[u8]) -> Vec<u8> {
        [field(1, name), field(2, &digest_of(blob))].concat()
    }

    #[test]
    fn a_tree_of_bazel_names_the_files_of_all_its_directories() {
        let mut closure = Closure::default();
        read_tree(CAPTURED, &mut closure).unwrap();
        let mut expected = [Digest::of(b"a2\n"), Digest::of(b"tree\n")];
        expected.sort();
        assert_eq!(blobs(&closure), expected);
        assert!(closure.next_to_read().is_none(), "the tree holds all its directories");
    }

    #[test]
    fn a_directory_that_its_tree_does_not_hold_is_to_be_read() {
        // The same tree without its child: field 2 is its last 81 bytes.
        let cut = &CAPTURED[..CAPTURED.len() - 81];
        let mut closure = Closure::default();
        read_tree(cut, &mut closure).unwrap();
        let missing = closure.next_to_read().unwrap();
        assert_eq!(missing.reference.length, 79);
        assert!(blobs(&closure).contains(&missing.reference.digest));
    }

    #[test]
    fn an_empty_directory_needs_no_child() {
        let tree = field(1, &field(2, &node_of(b"empty", b"")));
        let mut closure = Closure::default();
        read_tree(&tree, &mut closure).unwrap();
        assert!(closure.next_to_read().is_none());
        assert!(blobs(&closure).is_empty());
    }

    #[test]
    fn bytes_without_a_root_are_no_tree() {
        let mut closure = Closure::default();
        assert!(read_tree(&field(2, b""), &mut closure).is_err());
        assert!(read_tree(b"text", &mut closure).is_err());
        assert!(read_tree(b"", &mut closure).is_ok());
    }

    #[test]
    fn a_directory_that_names_itself_is_read_once() {
        let mut closure = Closure::default();
        let directory = field(2, &node_of(b"loop", b"x"));
        read_directory(&directory, &mut closure).unwrap();
        assert!(closure.next_to_read().is_some());
        read_directory(&directory, &mut closure).unwrap();
        assert!(closure.next_to_read().is_none());
    }
}
