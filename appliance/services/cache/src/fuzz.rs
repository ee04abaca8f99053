//! Targets for fuzzing: each takes any bytes and panics if an invariant of the crate does not hold.
//!
//! They are plain functions, so that any fuzzer can drive them, and an ordinary test replays `corpus/` and mutations
//! of it through them. `TARGETS` names each with the directory of its corpus.

use std::io::Read as _;

use http_types::Method;
use plan::BodyFilter;
use tokens::{Principal, Scope, Scopes, Who};

use crate::action::closure::Closure;
use crate::action::{Names, REFERENCES_MAX, binary, json, tree};
use crate::native::coding::{Gunzip, Unzstd};
use crate::native::missing::{self, Question};
use crate::native::name::{self, Name};
use crate::native::range::{self, Wanted};
use crate::native::{gc, pins};
use crate::refusal::{Kind, Refusal};
use crate::router::{Found, Routed, Said, route};
use crate::{access, native};

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the directory of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("names", names),
    ("routes", routes),
    ("ranges", ranges),
    ("documents", documents),
    ("codings", codings),
    ("results", results),
];

/// Any text as the name of an object: what names a SHA-256 names the same one in every spelling.
pub fn names(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let read = name::read(text);
    if let Some(Name::Sha256(digest)) = read {
        assert!(text.ends_with(&digest.to_string()), "{text}");
        for text in [format!("sha256:{digest}"), format!("sha256-{digest}"), format!("sha256%3A{digest}")] {
            assert_eq!(name::of_path(&text).ok(), Some(Name::Sha256(digest)), "{text}");
        }
    }
    match name::of_path(text) {
        Ok(found) => assert!(text.contains('%') || read == Some(found), "{text}"),
        Err(refusal) => assert_eq!(refusal.code(), "InvalidDigest"),
    }
}

/// A method, a space and a target: one dialect at most reads it, and what it finds fits the method.
pub fn routes(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Some((method, target)) = text.split_once(' ') else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let shared = route(path, false);
    let dedicated = route(path, true);
    if let Some(shared) = &shared {
        let same = dedicated.as_ref().map(|routed| routed.row.dialect);
        assert_eq!(same, Some(shared.row.dialect), "{path}");
    }
    for routed in [shared, dedicated].into_iter().flatten() {
        check_route(&routed, &method, path);
        check_namespace(routed.namespace, query);
    }
}

fn check_route(routed: &Routed<'_>, method: &Method, path: &str) {
    assert!(routed.rest.starts_with('/') && (routed.rest == "/" || path.ends_with(routed.rest)), "{path}");
    match (routed.row.find)(method, routed.rest) {
        Found::Operation(operation) => {
            assert!(operation.name.starts_with(routed.row.dialect.name()), "{}", operation.name);
            let may_write = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
            assert!(may_write || operation.kind != Kind::Write, "{}", operation.name);
            // Uploads of some dialects are let in as readers, so that their clients read the refusal; they check by themselves.
            let may_look = *method != Method::DELETE;
            assert!(may_look || matches!(operation.kind, Kind::Write | Kind::Admin), "{}", operation.name);
        }
        Found::WrongMethod(allow) => {
            assert!(!allow.split(", ").any(|one| one == method.as_str()), "{method} {path}");
        }
        Found::Nothing => {}
    }
}

fn check_namespace(said: Said<'_>, query: Option<&str>) {
    let holder = |namespaces: Vec<Box<str>>| Principal {
        who: Who::Anonymous,
        scopes: Scopes::NONE.with(Scope::CacheRead),
        namespaces,
    };
    let free = access::namespace(&holder(Vec::new()), said, query, Kind::Lookup);
    let bound = access::namespace(&holder(vec!["ci".into()]), said, query, Kind::Lookup);
    match (&free, bound) {
        (_, Ok(namespace)) => assert_eq!(namespace.as_str(), "ci"),
        (Ok(_), Err(refusal)) => assert!(matches!(refusal, Refusal::Forbidden)),
        (Err(refusal), Err(_)) => assert_eq!(refusal.code(), "InvalidNamespace"),
    }
    assert!(access::namespace(&holder(Vec::new()), said, query, Kind::Write).is_err());
}

/// A size, a line break and a Range header: a part lies within the object.
pub fn ranges(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Some((size, header)) = text.split_once('\n') else { return };
    let Ok(size) = size.parse::<u64>() else { return };
    match range::wanted(header, size) {
        Wanted::Part(span) => {
            let end = span.start.checked_add(span.length).expect("within the object");
            assert!(span.length > 0 && end <= size, "{span:?} of {size}");
            let again = format!("bytes={}-{}", span.start, end - 1);
            assert_eq!(range::wanted(&again, size), Wanted::Part(span));
        }
        Wanted::Outside => assert!(header.contains('=')),
        Wanted::Whole => {}
    }
    let tag = format!("\"{size}\"");
    assert!(range::names(&format!("{header},{tag}"), &tag), "a tag at the end of a list is found");
}

/// The documents that requests carry: read or refused without harm.
pub fn documents(input: &[u8]) {
    if let Ok(question) = native::document::<Question<'_>>(input) {
        match missing::digests(&question) {
            Ok(digests) => assert_eq!(digests.len(), question.hashes.len()),
            Err(refusal) => assert!(matches!(refusal.code(), "InvalidDigest" | "TooManyHashes")),
        }
    }
    let is_object = input.trim_ascii_start().first() == Some(&b'{');
    for is_read in
        [native::document::<gc::Wish<'_>>(input).is_ok(), native::document::<pins::Wish<'_>>(input).is_ok()]
    {
        assert!(is_object || !is_read, "a list was taken for an object");
    }
}

/// The most that one call of a decoder gives: a step, a block and a window.
const GIVEN_BYTES_MAX: usize = (1 << 20) + (128 << 10) + (8 << 20);
/// Bombs are left alone from there on.
const DECODED_BYTES_MAX: usize = 16 << 20;

/// The first byte says which coding and how the rest is cut: the same comes out as in one piece.
pub fn codings(input: &[u8]) {
    let Some((&how, coded)) = input.split_first() else { return };
    let is_gzip = how & 1 == 0;
    let filter = || -> Box<dyn BodyFilter> {
        if is_gzip { Box::new(Gunzip::default()) } else { Box::new(Unzstd::default()) }
    };
    let Some(whole) = decoded(&mut *filter(), coded, coded.len()) else { return };
    let Some(cut) = decoded(&mut *filter(), coded, usize::from(how >> 1) + 1) else { return };
    assert!(whole == cut, "it matters how the input is cut");
    if is_gzip && let Ok(bytes) = whole {
        let mut other = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(coded).read_to_end(&mut other);
        assert!(read.is_ok() && other == bytes, "another decoder sees other bytes");
    }
}

/// What comes out of pieces of so many bytes; nothing when it is too much to look at.
fn decoded(filter: &mut dyn BodyFilter, coded: &[u8], piece_bytes: usize) -> Option<Result<Vec<u8>, ()>> {
    let mut out = Vec::new();
    for piece in coded.chunks(piece_bytes.max(1)) {
        let mut piece = piece;
        loop {
            let before = out.len();
            if filter.feed(piece, &mut |data| out.extend_from_slice(data)).is_err() {
                return Some(Err(()));
            }
            assert!(out.len() - before <= GIVEN_BYTES_MAX, "a call gives too much");
            if out.len() > DECODED_BYTES_MAX {
                return None;
            }
            if !filter.holds_more() {
                break;
            }
            piece = &[];
        }
    }
    Some(filter.finish().map(|()| out).map_err(|_| ()))
}

/// Action results, trees and directories in both forms: what they name is bounded.
pub fn results(input: &[u8]) {
    for names in [binary::read(input), json::read(input)].into_iter().flatten() {
        check_names(&names);
    }
    for read in [tree::read_tree, tree::read_directory] {
        let mut closure = Closure::default();
        if read(input, &mut closure).is_ok() {
            assert!(closure.references().count() <= REFERENCES_MAX);
        }
    }
}

fn check_names(names: &Names) {
    let count = names.blobs.len() + names.trees.len() + names.directories.len();
    if let Ok(closure) = Closure::of(names) {
        assert!(closure.references().count() <= count.min(REFERENCES_MAX));
    }
}

#[cfg(test)]
mod tests;
