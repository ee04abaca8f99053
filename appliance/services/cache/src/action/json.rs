//! An ActionResult as JSON, which is how moon stores it: the mapping of proto3, names in either case.
//!
//! ```text
//! {"outputFiles":[{"path","digest":{"hash","sizeBytes":"3"}, ...}],
//!  "outputDirectories":[{"path","treeDigest","rootDirectoryDigest"}],
//!  "stdoutDigest":{..},"stderrDigest":{..}, ...}
//! ```
//! Rule: <https://protobuf.dev/programming-guides/json/>: readers take `lowerCamelCase` and the names of the .proto file, and an
//! int64 as a string or as a number. Other members are skipped, but must be JSON.
//! Invariant: as in binary.rs; a member that comes twice counts twice.

use aws::json::{JsonError, Reader};
use cas::Reference;

use super::{Invalid, Names, reference};

/// Reads what a JSON ActionResult names.
///
/// # Errors
/// As for [`super::binary::read`].
pub fn read(text: &[u8]) -> Result<Names, Invalid> {
    let mut names = Names::default();
    // The reader's own errors have no room for ours.
    let mut invalid = None;
    let mut reader = Reader::new(text).map_err(|_| NO_JSON)?;
    let outcome = reader.structure(SHAPE, &mut |name, reader| {
        match name {
            "outputFiles" | "output_files" => reader.list(&mut |reader| {
                let found = output_file(reader)?;
                keep(found, &mut names, &mut invalid, |names, file| names.blobs.push(file))
            })?,
            "outputDirectories" | "output_directories" => reader.list(&mut |reader| {
                let found = output_directory(reader)?;
                keep(found, &mut names, &mut invalid, |names, (tree, root)| {
                    names.trees.extend(tree);
                    names.directories.extend(root);
                })
            })?,
            "stdoutDigest" | "stdout_digest" | "stderrDigest" | "stderr_digest" => {
                let found = digest(reader)?;
                keep(found, &mut names, &mut invalid, |names, blob| names.blobs.push(blob))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    });
    if let Some(invalid) = invalid {
        return Err(invalid);
    }
    outcome.and_then(|()| reader.finish()).map_err(|_| NO_JSON)?;
    Ok(names)
}

const NO_JSON: Invalid = Invalid("the body is no JSON form of an ActionResult");
/// The name that the reader has for a structure; no client sees it.
const SHAPE: &str = "ActionResult";

/// Takes a found value, or ends the reading with the reason why it is none.
fn keep<T>(
    found: Result<T, Invalid>,
    names: &mut Names,
    invalid: &mut Option<Invalid>,
    add: impl FnOnce(&mut Names, T),
) -> Result<(), JsonError> {
    match names.check_room().and(found) {
        Ok(found) => {
            add(names, found);
            Ok(())
        }
        Err(reason) => {
            *invalid = Some(reason);
            Err(JsonError::Syntax)
        }
    }
}

type Found<T> = Result<Result<T, Invalid>, JsonError>;

fn output_file(reader: &mut Reader<'_>) -> Found<Reference> {
    let mut found = Err(Invalid("an output file has no digest"));
    reader.structure(SHAPE, &mut |name, reader| {
        match name {
            "path" => drop(reader.string()?),
            "digest" => found = digest(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(found)
}

type Directory = (Option<Reference>, Option<Reference>);

fn output_directory(reader: &mut Reader<'_>) -> Found<Directory> {
    let (mut tree, mut root) = (None, None);
    reader.structure(SHAPE, &mut |name, reader| {
        match name {
            "path" => drop(reader.string()?),
            "treeDigest" | "tree_digest" => tree = Some(digest(reader)?),
            "rootDirectoryDigest" | "root_directory_digest" => root = Some(digest(reader)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(match (tree.transpose(), root.transpose()) {
        (Ok(None), Ok(None)) => Err(Invalid("an output directory has no digest")),
        (Ok(tree), Ok(root)) => Ok((tree, root)),
        (Err(invalid), _) | (_, Err(invalid)) => Err(invalid),
    })
}

fn digest(reader: &mut Reader<'_>) -> Found<Reference> {
    let mut hash = None;
    let mut size_bytes = Some(0);
    reader.structure(SHAPE, &mut |name, reader| {
        match name {
            "hash" => hash = Some(reader.string()?),
            "sizeBytes" | "size_bytes" => size_bytes = int64(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Some(size_bytes) = size_bytes else {
        return Ok(Err(Invalid("a digest's size_bytes is no number")));
    };
    Ok(reference(hash.as_deref().unwrap_or_default().as_bytes(), size_bytes))
}

/// An int64, which proto3 writes as a string.
fn int64(reader: &mut Reader<'_>) -> Result<Option<i64>, JsonError> {
    let start = reader.position();
    if reader.peek() == Some(b'"') {
        return Ok(reader.quoted()?.parse().ok());
    }
    reader.scalar()?;
    Ok(reader.text_from(start).parse().ok())
}

#[cfg(test)]
mod tests {
    use cas::Digest;

    use super::*;

    /// What moon 2.5.5 stored for a task with two outputs, stdout and stderr.
    const CAPTURED: &str = r#"{"outputFiles":[{"path":"app/out.txt","digest":{"hash":"ab5080369a968a3638a5a5e0df9932a3656766bec904667f72438fd49cd515b0","sizeBytes":"3"},"nodeProperties":{"mtime":"2026-11-21T23:49:23.001553554+00:00","unixMode":33188}},{"path":"app/dist/sub/x","digest":{"hash":"73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac","sizeBytes":"2"},"nodeProperties":{"mtime":"2026-11-21T23:49:23.005553554+00:00","unixMode":33188}}],"stdoutDigest":{"hash":"f7b5d6cccb472407893ea31fa787da698e131514286d7dd516ee7b1be67b741c","sizeBytes":"12"},"stderrDigest":{"hash":"2ccde4875ec595757efdf23d7b1336fcd69cf0fb869310b12a0d219c52817b20","sizeBytes":"4"},"executionMetadata":{"worker":"moon","outputUploadStartTimestamp":"2026-11-21T23:49:23.022591016+00:00"}}"#;

    fn named(blob: &[u8]) -> Reference {
        Reference { digest: Digest::of(blob), length: blob.len() as u64 }
    }

    #[test]
    fn what_moon_stores_names_its_outputs() {
        let names = read(CAPTURED.as_bytes()).unwrap();
        assert_eq!(names.blobs, [named(b"in\n"), named(b"x\n"), named(b"stdout-here\n"), named(b"err\n")]);
        assert!(names.trees.is_empty() && names.directories.is_empty());
    }

    #[test]
    fn what_moon_stores_is_refused_when_it_is_cut() {
        for end in 0..CAPTURED.len() {
            assert!(read(&CAPTURED.as_bytes()[..end]).is_err(), "cut after {end} bytes");
        }
    }

    #[test]
    fn the_names_of_the_proto_file_and_plain_numbers_are_taken() {
        let hash = Digest::of(b"tree");
        let text = format!(
            r#"{{"output_directories":[{{"path":"d","tree_digest":{{"hash":"{hash}","size_bytes":4}}}},
            {{"path":"e","rootDirectoryDigest":{{"hash":"{hash}","sizeBytes":"4"}}}}],"exit_code":0,"stdout_digest":null}}"#
        );
        let names = read(text.as_bytes()).unwrap();
        assert_eq!((names.trees, names.directories), (vec![named(b"tree")], vec![named(b"tree")]));
    }

    #[test]
    fn other_texts_are_no_result() {
        let bad_size = format!(r#"{{"stdoutDigest":{{"hash":"{}","sizeBytes":"many"}}}}"#, Digest::of(b"x"));
        let texts = [
            "",
            "[]",
            "7",
            r#"{"outputFiles":{}}"#,
            r#"{"outputFiles":[{"path":"a"}]}"#,
            r#"{"outputFiles":["a"]}"#,
            r#"{"outputDirectories":[{"path":"a"}]}"#,
            r#"{"stdoutDigest":{"hash":"abc","sizeBytes":"3"}}"#,
            r#"{"stdoutDigest":{}}"#,
            "{} {}",
            &bad_size,
        ];
        for text in texts {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"{}").is_ok());
    }

    #[test]
    fn brackets_without_end_are_refused_without_recursion() {
        let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn more_outputs_than_a_closure_holds_are_refused() {
        let file = format!(r#"{{"digest":{{"hash":"{}","sizeBytes":"1"}}}}"#, Digest::of(b"x"));
        let of = |count: usize| format!(r#"{{"outputFiles":[{}]}}"#, vec![file.as_str(); count].join(","));
        assert!(read(of(super::super::REFERENCES_MAX).as_bytes()).is_ok());
        let over = read(of(super::super::REFERENCES_MAX + 1).as_bytes());
        assert_eq!(over, Err(Invalid(super::super::TOO_MANY)));
    }
}
