//! The canonical request: the bytes that a signature is about.
//!
//! Invariant: two requests that mean different things to a service have different canonical requests. Where
//! clients spell the same thing in several ways, the forms below are tried in turn; all of them decode to
//! what the service will decode. One [`Canonical`] is used over and over and keeps its buffers.

use std::ops::Range;

use http_types::{HeaderMap, HeaderName};

use super::names;
use super::parse;
use super::refusal;
use crate::error::ErrorReply;
use crate::uri;

/// How a path enters the canonical request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathCoding {
    /// Encoded once, never normalised: S3.
    Once,
    /// Dots resolved, then encoded again: every other service.
    Twice,
}

/// One way to spell a canonical request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    path: PathForm,
    query: QueryForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathForm {
    /// As it was sent: what SDKs sign, having encoded the path themselves.
    Raw,
    /// Decoded and encoded once: clients that sign the encoded key and send it with fewer escapes.
    Recoded,
    /// Dot segments and empty ones resolved, then every `%` encoded again.
    NormalisedTwice,
    /// Encoded again as it was sent.
    RawTwice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueryForm {
    /// Names and values decoded and encoded once.
    Recoded,
    /// As sent, sorted: botocore signs the query of a URL that it was given so.
    Raw,
}

impl PathCoding {
    /// The forms to try, the likeliest first.
    pub(crate) fn forms(self) -> &'static [Form] {
        match self {
            PathCoding::Once => &[
                Form { path: PathForm::Raw, query: QueryForm::Recoded },
                Form { path: PathForm::Recoded, query: QueryForm::Recoded },
                Form { path: PathForm::Raw, query: QueryForm::Raw },
            ],
            PathCoding::Twice => &[
                Form { path: PathForm::NormalisedTwice, query: QueryForm::Recoded },
                Form { path: PathForm::RawTwice, query: QueryForm::Recoded },
                Form { path: PathForm::NormalisedTwice, query: QueryForm::Raw },
            ],
        }
    }
}

/// What a canonical request is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) authority: &'a str,
    pub(crate) signed_headers: &'a str,
    pub(crate) payload_hash: &'a [u8],
}

/// Buffers in which canonical requests are built.
#[derive(Default)]
pub(crate) struct Canonical {
    out: Vec<u8>,
    pieces: Vec<u8>,
    pairs: Vec<Pair>,
}

/// A name and a value in `pieces`.
struct Pair {
    name: Range<usize>,
    value: Range<usize>,
}

impl Canonical {
    /// Builds the canonical request of `source`. `SignatureDoesNotMatch` if a header that is said to be
    /// signed is not there.
    pub(crate) fn build(&mut self, source: &Source<'_>, form: Form) -> Result<&[u8], ErrorReply> {
        self.out.clear();
        self.out.extend_from_slice(source.method.as_bytes());
        self.out.push(b'\n');
        self.path(source.path, form.path);
        self.out.push(b'\n');
        self.query(source.query, form.query);
        self.out.push(b'\n');
        self.headers(source)?;
        self.out.push(b'\n');
        self.out.extend_from_slice(source.signed_headers.as_bytes());
        self.out.push(b'\n');
        self.out.extend_from_slice(source.payload_hash);
        Ok(&self.out)
    }

    fn path(&mut self, raw: &str, form: PathForm) {
        let raw = if raw.is_empty() { "/" } else { raw };
        match form {
            PathForm::Raw => self.out.extend_from_slice(raw.as_bytes()),
            PathForm::Recoded => uri::canonical_path_append(&mut self.out, raw.as_bytes()),
            PathForm::RawTwice => uri::encode_append(&mut self.out, raw.as_bytes(), uri::Slash::Keep),
            PathForm::NormalisedTwice => {
                self.pieces.clear();
                normalise(&mut self.pieces, raw);
                uri::encode_append(&mut self.out, &self.pieces, uri::Slash::Keep);
            }
        }
    }

    fn query(&mut self, raw: &str, form: QueryForm) {
        if raw.is_empty() {
            return;
        }
        self.pieces.clear();
        self.pairs.clear();
        for (name, value) in uri::query_pairs(raw).filter(|(name, _)| !parse::is_signature(name)) {
            let start = self.pieces.len();
            append_component(&mut self.pieces, name, form);
            let middle = self.pieces.len();
            append_component(&mut self.pieces, value, form);
            self.pairs.push(Pair { name: start..middle, value: middle..self.pieces.len() });
        }
        let pieces = &self.pieces;
        // By name, then by value; not by the text "name=value", in which `a-` would come before `a`.
        self.pairs.sort_unstable_by(|one, other| {
            let by_name = pieces[one.name.clone()].cmp(&pieces[other.name.clone()]);
            by_name.then_with(|| pieces[one.value.clone()].cmp(&pieces[other.value.clone()]))
        });
        for (index, pair) in self.pairs.iter().enumerate() {
            if index > 0 {
                self.out.push(b'&');
            }
            self.out.extend_from_slice(&pieces[pair.name.clone()]);
            self.out.push(b'=');
            self.out.extend_from_slice(&pieces[pair.value.clone()]);
        }
    }

    fn headers(&mut self, source: &Source<'_>) -> Result<(), ErrorReply> {
        for name in parse::pieces(source.signed_headers, b';') {
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b':');
            if name == "host" {
                append_collapsed(&mut self.out, source.authority.as_bytes());
            } else {
                let mut count = 0;
                let values = match KNOWN.iter().find(|known| known.as_str() == name) {
                    Some(known) => source.headers.get_all(*known),
                    None => source.headers.get_all(name),
                };
                for value in values {
                    if count > 0 {
                        self.out.push(b',');
                    }
                    append_collapsed(&mut self.out, value.as_bytes());
                    count += 1;
                }
                if count == 0 {
                    return Err(refusal::bare_mismatch().with("MissingSignedHeader", name));
                }
            }
            self.out.push(b'\n');
        }
        Ok(())
    }
}

fn append_component(out: &mut Vec<u8>, raw: &str, form: QueryForm) {
    match form {
        QueryForm::Recoded => uri::canonical_query_append(out, raw.as_bytes()),
        QueryForm::Raw => out.extend_from_slice(raw.as_bytes()),
    }
}

/// Names that nearly every client signs, so that they need not be parsed each time.
static KNOWN: [&HeaderName; 3] = [&names::DATE, &names::CONTENT_SHA256, &names::TARGET];

/// Appends a header's value without blanks around it and with inner runs of blanks as one.
pub(crate) fn append_collapsed(out: &mut Vec<u8>, value: &[u8]) {
    // Most have none at all. Without an early end the search goes many bytes at a time.
    if !value.iter().fold(false, |found, byte| found | matches!(byte, b' ' | b'\t')) {
        return out.extend_from_slice(value);
    }
    let mut pending = false;
    let start = out.len();
    for &byte in value {
        if matches!(byte, b' ' | b'\t') {
            pending = out.len() > start;
        } else {
            if pending {
                out.push(b' ');
                pending = false;
            }
            out.push(byte);
        }
    }
}

/// Appends `path` with `.`, `..` and empty segments resolved (RFC 3986 6.2.2.3), for services other than S3.
fn normalise(out: &mut Vec<u8>, path: &str) {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    for segment in &kept {
        out.push(b'/');
        out.extend_from_slice(segment.as_bytes());
    }
    // RFC 3986 5.2.4: a path that ends in a dot segment names a directory, as one that ends in a slash does.
    if kept.is_empty() || matches!(path.rsplit('/').next(), Some("" | "." | "..")) {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use http_types::{HeaderName, HeaderValue};

    use super::*;

    fn canonical(path: &str, query: &str, coding: PathCoding, form: usize) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", HeaderValue::from_static("  one \t  two "));
        headers.append("x-amz-meta-a", HeaderValue::from_static("three"));
        headers.append(HeaderName::from_static("empty"), HeaderValue::from_static(" "));
        let source = Source {
            method: "GET",
            path,
            query,
            headers: &headers,
            authority: "h:80",
            signed_headers: "empty;host;x-amz-meta-a",
            payload_hash: b"UNSIGNED-PAYLOAD",
        };
        let mut canonical = Canonical::default();
        let text = canonical.build(&source, coding.forms()[form]).unwrap();
        String::from_utf8(text.to_vec()).unwrap().split('\n').map(str::to_owned).collect()
    }

    #[test]
    fn headers_are_trimmed_collapsed_and_joined() {
        let lines = canonical("/", "", PathCoding::Once, 0);
        assert_eq!(
            lines,
            [
                "GET",
                "/",
                "",
                "empty:",
                "host:h:80",
                "x-amz-meta-a:one two,three",
                "",
                "empty;host;x-amz-meta-a",
                "UNSIGNED-PAYLOAD"
            ]
        );
    }

    #[test]
    fn a_query_is_sorted_by_encoded_name_then_value() {
        let query = "b=2&a-=x&a=3&a=1&B=%7e%2f&acl&=v&X-Amz-Signature=00&c=a+b&%C3%A9=%zz&a";
        let lines = canonical("/", query, PathCoding::Once, 0);
        assert_eq!(lines[2], "=v&%C3%A9=%25zz&B=~%2F&a=&a=1&a=3&a-=x&acl=&b=2&c=a%20b");
        let raw = canonical("/", "b=a+b&X-Amz-Signature=00&a=%2f", PathCoding::Once, 2);
        assert_eq!(raw[2], "a=%2f&b=a+b");
    }

    #[test]
    fn the_path_of_s3_is_never_normalised() {
        assert_eq!(canonical("/b//x/../y+%21!", "", PathCoding::Once, 0)[1], "/b//x/../y+%21!");
        assert_eq!(canonical("/b//x/../y+%21!", "", PathCoding::Once, 1)[1], "/b//x/../y%2B%21%21");
        assert_eq!(canonical("", "", PathCoding::Once, 0)[1], "/");
    }

    #[test]
    fn the_path_of_other_services_is_normalised_and_encoded_again() {
        assert_eq!(canonical("/a//x/./../y%20z/", "", PathCoding::Twice, 0)[1], "/a/y%2520z/");
        assert_eq!(canonical("/../..", "", PathCoding::Twice, 0)[1], "/");
        assert_eq!(canonical("/a/b/..", "", PathCoding::Twice, 0)[1], "/a/");
        assert_eq!(canonical("/a/.", "", PathCoding::Twice, 0)[1], "/a/");
        assert_eq!(canonical("/a//%2F", "", PathCoding::Twice, 1)[1], "/a//%252F");
    }

    #[test]
    fn a_signed_header_that_is_missing_is_refused() {
        let source = Source {
            method: "GET",
            path: "/",
            query: "",
            headers: &HeaderMap::new(),
            authority: "h",
            signed_headers: "host;range",
            payload_hash: b"",
        };
        let error = Canonical::default().build(&source, PathCoding::Once.forms()[0]).unwrap_err();
        assert_eq!(error.code, "SignatureDoesNotMatch");
    }
}
