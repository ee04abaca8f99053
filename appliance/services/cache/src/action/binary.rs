//! An ActionResult as a protocol buffer, which is how Bazel stores it.
//!
//! | field of ActionResult | read for |
//! |---|---|
//! | 2 output_files: OutputFile { 1 path, 2 digest } | the digest |
//! | 3 output_directories: OutputDirectory { 1 path, 3 tree_digest, 5 root_directory_digest } | the digests |
//! | 6 stdout_digest, 8 stderr_digest | the digests |
//! | all others | nothing; they must be fields |
//!
//! Digest is { 1 hash, 2 size_bytes }. Source: build/bazel/remote/execution/v2/remote_execution.proto.
//! Invariant: a result whose bytes are taken here is one that every client of the API can parse.

use cas::Reference;

use super::message::{Fields, Value};
use super::{Invalid, Names, reference};

/// Reads what a binary ActionResult names.
///
/// # Errors
/// The bytes are no such message, a digest in it is none, or it names more than [`super::REFERENCES_MAX`] blobs.
pub fn read(message: &[u8]) -> Result<Names, Invalid> {
    let mut names = Names::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        names.check_room()?;
        match number {
            2 => names.blobs.push(output_file(value.bytes()?)?),
            3 => output_directory(value.bytes()?, &mut names)?,
            6 | 8 => names.blobs.push(digest(value.bytes()?)?),
            _ => {}
        }
    }
    Ok(names)
}

fn output_file(message: &[u8]) -> Result<Reference, Invalid> {
    let mut found = None;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => drop(value.text()?),
            2 => found = Some(digest(value.bytes()?)?),
            _ => {}
        }
    }
    found.ok_or(Invalid("an output file has no digest"))
}

fn output_directory(message: &[u8], names: &mut Names) -> Result<(), Invalid> {
    let (mut tree, mut root) = (None, None);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => drop(value.text()?),
            3 => tree = Some(digest(value.bytes()?)?),
            5 => root = Some(digest(value.bytes()?)?),
            _ => {}
        }
    }
    if tree.is_none() && root.is_none() {
        return Err(Invalid("an output directory has no digest"));
    }
    names.trees.extend(tree);
    names.directories.extend(root);
    Ok(())
}

/// Reads a Digest message.
pub(super) fn digest(message: &[u8]) -> Result<Reference, Invalid> {
    let (mut hash, mut size_bytes) = ("", 0);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, value) => hash = value.text()?,
            (2, Value::Varint(_)) => size_bytes = value.int64()?,
            (2, _) => return Err(Invalid("a digest's size_bytes is no number")),
            _ => {}
        }
    }
    reference(hash.as_bytes(), size_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use cas::Digest;

    use super::*;

    /// A field of bytes.
    pub(in super::super) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    }

    /// A Digest message of a blob.
    pub(in super::super) fn digest_of(blob: &[u8]) -> Vec<u8> {
        let mut out = field(1, &Digest::of(blob).text());
        if !blob.is_empty() {
            out.extend([0x10, blob.len() as u8]);
        }
        out
    }

    fn named(blob: &[u8]) -> Reference {
        Reference { digest: Digest::of(blob), length: blob.len() as u64 }
    }

    /// What Bazel 2.1.0 stored for an action with an output file, an output directory, stdout and no stderr.
    const CAPTURED: &[u8] = b"\x12j\n\"bazel-out/k8-fastbuild/bin/one.out\x12D\n@d9b55b2e10639b7c72b25040b79b3821d50cb0272e28a96f9a2d1449752e6999\x10\x04\x1al\n#bazel-out/k8-fastbuild/bin/one.tree\x1aE\n@789f9d200ce93bb725e5a80c13a2318fdb67fa0c38920ffab1c73f7661677703\x10\xf0\x012D\n@05f3754d53b15c7ae8fbef3aa8487990914056f6d6ecdc5e361c3de15a9ab1b1\x10\x10BB\n@e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_bazel_stores_names_its_outputs() {
        let names = read(CAPTURED).unwrap();
        assert_eq!(names.blobs, [named(b"in1\n"), named(b"hello on stdout\n"), named(b"")]);
        assert_eq!(names.trees.len(), 1);
        assert_eq!(names.trees[0].length, 240);
        assert!(names.directories.is_empty());
    }

    #[test]
    fn what_bazel_stores_is_refused_when_it_is_cut_inside_a_field() {
        let whole: Vec<usize> = [0, 108, 218, 288, 356].to_vec();
        for end in 0..=CAPTURED.len() {
            assert_eq!(read(&CAPTURED[..end]).is_ok(), whole.contains(&end), "cut after {end} bytes");
        }
    }

    #[test]
    fn a_result_without_outputs_is_one() {
        assert_eq!(read(b"").unwrap(), Names::default());
        // exit_code 1.
        assert_eq!(read(b"\x20\x01").unwrap(), Names::default());
    }

    #[test]
    fn other_bytes_are_no_result() {
        for bytes in
            [&b"cCaC\x00\x01\x00"[..], b"{\"outputFiles\":[]}", b"hello", b"\x12\x02\x0a\x00", b"\x1a\x00"]
        {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_digest_of_another_length_or_alphabet_is_refused() {
        let upper = field(6, &field(1, &b"A".repeat(64)));
        let short = field(6, &field(1, &b"a".repeat(40)));
        let none = field(6, b"");
        for message in [upper, short, none] {
            assert!(read(&message).is_err());
        }
    }

    #[test]
    fn a_directory_may_be_named_by_its_root() {
        let message = field(3, &[field(1, b"dir"), field(5, &digest_of(b"root"))].concat());
        let names = read(&message).unwrap();
        assert_eq!((names.trees.len(), names.directories), (0, vec![named(b"root")]));
    }

    #[test]
    fn more_outputs_than_a_closure_holds_are_refused() {
        let one = field(6, &digest_of(b"x"));
        assert!(read(&one.repeat(super::super::REFERENCES_MAX)).is_ok());
        assert_eq!(read(&one.repeat(super::super::REFERENCES_MAX + 1)), Err(Invalid(super::super::TOO_MANY)));
    }
}
