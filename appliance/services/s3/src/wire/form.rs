//! multipart/form-data (RFC 7578) as POST uploads use it: small fields first, then one file.
//! Invariant: fields and what frames them are bounded; bytes that leave the filter are the file's and nothing else.
//! Leaves to policy: what the fields must be.

use bytes::{Bytes, BytesMut};
use plan::{BodyFailure, BodyFilter};

use super::error::{Code, Error};
use crate::model::FORM_FIELD_BYTES_MAX;

/// Bytes before the file, framing included.
const HEAD_BYTES_MAX: usize = 4 * FORM_FIELD_BYTES_MAX;
/// Fields before the file.
const FIELD_COUNT_MAX: usize = 256;

/// The boundary that a Content-Type names. `None`: it is no form.
#[must_use]
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    // RFC 2046 5.1.1: 1 to 70 characters.
    (!boundary.is_empty() && boundary.len() <= 70).then_some(boundary)
}

/// The value of `name=value` in a list separated by semicolons; quoted values may hold semicolons.
fn parameter(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (found, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (found, behind) = value.split_once(';').unwrap_or((value, ""));
                (found.trim().to_owned(), behind)
            }
        };
        if key.trim_start_matches([';', ' ', '\t']).trim().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = behind.trim_start_matches([';', ' ', '\t']);
    }
    None
}

/// The text up to the closing quote, escapes of quotes resolved, and what comes behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut chars = text.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((found, &text[index + 1..])),
            // Browsers send paths with plain backslashes: only a quote or a backslash is escaped.
            '\\' if text[index + 1..].starts_with(['"', '\\']) => {
                found.extend(chars.next().map(|(_, char)| char))
            }
            char => found.push(char),
        }
    }
    None
}

/// Fields that came before the file; names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pairs: Vec<(String, String)>,
}

impl Fields {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: String) {
        self.pairs.retain(|(known, _)| known != name);
        self.pairs.push((name.to_owned(), value));
    }
}

/// The start of the file.
#[derive(Clone, Debug)]
pub struct FileStart {
    /// The name that the client gave it.
    pub filename: String,
    /// Bytes behind its head that were read already.
    pub rest: Bytes,
}

/// Reads fields until the file begins.
pub struct HeadReader {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    /// Where the next part's head begins in `buffer`; 0 while the first delimiter is not found.
    at: usize,
    /// Bytes of names and values.
    field_bytes: usize,
    fields: Fields,
}

impl HeadReader {
    /// Reads a form with this boundary.
    #[must_use]
    pub fn new(boundary: &str) -> HeadReader {
        HeadReader {
            delimiter: delimiter(boundary),
            // The line end before the first delimiter may be missing: pretend that it is there.
            buffer: BytesMut::from(&b"\r\n"[..]),
            at: 0,
            field_bytes: 0,
            fields: Fields::default(),
        }
    }

    /// Takes bytes; the file's start once it is there.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<FileStart>, Error> {
        self.buffer.extend_from_slice(input);
        let start = self.advance()?;
        // A large piece is mostly file; only what precedes the file counts, however the form was cut.
        let file_bytes = start.as_ref().map_or(0, |start| start.rest.len());
        if self.buffer.len() - file_bytes > HEAD_BYTES_MAX {
            return Err(Code::MaxPostPreDataLengthExceededError.into());
        }
        Ok(start)
    }

    /// The fields so far.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        self.fields
    }

    fn advance(&mut self) -> Result<Option<FileStart>, Error> {
        loop {
            if self.at == 0 {
                let Some(found) = find(&self.buffer, &self.delimiter) else { return Ok(None) };
                self.at = found + self.delimiter.len();
            }
            let rest = &self.buffer[self.at..];
            if rest.len() < 2 {
                return Ok(None);
            }
            if rest.starts_with(b"--") {
                return Err(Error::from(Code::IncorrectNumberOfFilesInPostRequest));
            }
            let Some(head_bytes) = find(rest, b"\r\n\r\n") else { return Ok(None) };
            let (name, filename) = part_head(&rest[..head_bytes])?;
            let value_at = head_bytes + 4;
            if name.eq_ignore_ascii_case("file") {
                let rest = Bytes::copy_from_slice(&rest[value_at..]);
                return Ok(Some(FileStart { filename: filename.unwrap_or_default(), rest }));
            }
            let Some(value_bytes) = find(&rest[value_at..], &self.delimiter) else { return Ok(None) };
            let value = rest[value_at..value_at + value_bytes].to_vec();
            self.at += value_at + value_bytes + self.delimiter.len();
            self.add(&name, value)?;
        }
    }

    fn add(&mut self, name: &str, value: Vec<u8>) -> Result<(), Error> {
        let value = String::from_utf8(value).map_err(|_| malformed("A form field is not UTF-8."))?;
        self.field_bytes += name.len() + value.len();
        if self.field_bytes > FORM_FIELD_BYTES_MAX || self.fields.pairs.len() == FIELD_COUNT_MAX {
            return Err(Code::MaxPostPreDataLengthExceededError.into());
        }
        let name = name.to_ascii_lowercase();
        if self.fields.get(&name).is_some() {
            return Err(malformed("A form field is given twice."));
        }
        self.fields.pairs.push((name, value));
        Ok(())
    }
}

/// Name and file name of a part.
fn part_head(head: &[u8]) -> Result<(String, Option<String>), Error> {
    let text = std::str::from_utf8(head).map_err(|_| malformed("A part's head is not UTF-8."))?;
    for line in text.split("\r\n") {
        let Some((header, value)) = line.split_once(':') else { continue };
        if !header.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, parameters) = value.split_once(';').ok_or_else(|| malformed("A part has no name."))?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            break;
        }
        let name = parameter(parameters, "name").ok_or_else(|| malformed("A part has no name."))?;
        return Ok((name, parameter(parameters, "filename")));
    }
    Err(malformed("A part has no Content-Disposition."))
}

fn malformed(why: &'static str) -> Error {
    Error::from(Code::MalformedPostRequest).message(why)
}

fn delimiter(boundary: &str) -> Vec<u8> {
    format!("\r\n--{boundary}").into_bytes()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(step) = haystack[from..].iter().position(|byte| *byte == first) {
        let at = from + step;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Lets the file's bytes through and drops what comes behind it.
pub struct FileFilter {
    delimiter: Vec<u8>,
    /// Bytes that may be the front of the delimiter; shorter than it.
    held: Vec<u8>,
    is_done: bool,
}

impl FileFilter {
    /// For a form with this boundary.
    #[must_use]
    pub fn new(boundary: &str) -> FileFilter {
        FileFilter { delimiter: delimiter(boundary), held: Vec::new(), is_done: false }
    }
}

impl BodyFilter for FileFilter {
    fn feed(&mut self, input: &[u8], data: &mut dyn FnMut(&[u8])) -> Result<(), BodyFailure> {
        if self.is_done {
            return Ok(());
        }
        let mut work = std::mem::take(&mut self.held);
        work.extend_from_slice(input);
        if let Some(end) = find(&work, &self.delimiter) {
            data(&work[..end]);
            self.is_done = true;
            return Ok(());
        }
        // Only a tail that could go on as the delimiter has to wait.
        let longest = work.len().min(self.delimiter.len() - 1);
        let kept =
            (1..=longest).rev().find(|length| work[work.len() - length..] == self.delimiter[..*length]);
        let cut = work.len() - kept.unwrap_or(0);
        data(&work[..cut]);
        self.held = work.split_off(cut);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyFailure> {
        if self.is_done { Ok(()) } else { Err(BodyFailure::Incomplete) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--xyz\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na/${filename}\r\n--xyz\r\n\
        content-disposition: form-data; name=policy\r\nX: y\r\n\r\n\r\n--xyz\r\nContent-Disposition: form-data; \
        name=\"file\"; filename=\"c:\\\\dir\\\\q\\\"x;.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        body\r\n--xy\r\n--xyz\r\nContent-Disposition: form-data; name=\"late\"\r\n\r\nno\r\n--xyz--\r\n";

    fn read(step: usize) -> (Fields, String, Vec<u8>) {
        let mut head = HeadReader::new("xyz");
        let mut pieces = FORM.as_bytes().chunks(step);
        let start = loop {
            let piece = pieces.next().expect("the file begins");
            if let Some(start) = head.feed(piece).expect("well formed") {
                break start;
            }
        };
        let mut filter = FileFilter::new("xyz");
        let mut body = Vec::new();
        filter.feed(&start.rest, &mut |data| body.extend_from_slice(data)).expect("data");
        for piece in pieces {
            filter.feed(piece, &mut |data| body.extend_from_slice(data)).expect("data");
        }
        filter.finish().expect("complete");
        (head.into_fields(), start.filename, body)
    }

    #[test]
    fn a_form_reads_alike_however_it_is_cut() {
        for step in 1..FORM.len() + 1 {
            let (fields, filename, body) = read(step);
            assert_eq!(fields.get("key"), Some("a/${filename}"), "step {step}");
            assert_eq!(fields.get("policy"), Some(""));
            assert_eq!(fields.get("late"), None);
            assert_eq!(filename, "c:\\dir\\q\"x;.txt");
            assert_eq!(body, b"body\r\n--xy", "step {step}");
        }
    }

    #[test]
    fn heads_are_bounded_and_have_a_file() {
        let code = |text: &str| HeadReader::new("x").feed(text.as_bytes()).expect_err("refused").reply.code;
        let field = |name: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        assert_eq!(code(&(field("a", "b") + "--x--")), "IncorrectNumberOfFilesInPostRequest");
        let large = "v".repeat(FORM_FIELD_BYTES_MAX);
        assert_eq!(code(&(field("a", &large) + "--x--")), "MaxPostPreDataLengthExceededError");
        assert_eq!(code(&"v".repeat(HEAD_BYTES_MAX + 1)), "MaxPostPreDataLengthExceededError");
        assert_eq!(code(&(field("a", "b") + &field("A", "c") + "--x--")), "MalformedPOSTRequest");
        assert_eq!(code("--x\r\nX: y\r\n\r\nv\r\n--x--"), "MalformedPOSTRequest");
        assert!(FileFilter::new("x").finish().is_err());
    }

    #[test]
    fn boundaries_are_found_in_content_types() {
        assert_eq!(boundary("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(boundary("Multipart/Form-Data; charset=x; Boundary=\"a;b\"").as_deref(), Some("a;b"));
        for none in
            ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "a/b; boundary=x"]
        {
            assert_eq!(boundary(none), None, "{none}");
        }
    }
}
