//! The reader of requests: the caller asks for what the protocol has at a place, in one pass and without a tree.
//!
//! Invariant: the reader stands in front of a value or behind one, and `depth` is the number of open brackets, at most
//! `DEPTH_MAX`. A member whose value is null is absent; one that nobody takes is skipped, but must be JSON.
//! Leaves to scalar.rs: strings, numbers, booleans and their types. To the services: what the members are.

use std::borrow::Cow;

use super::{DEPTH_MAX, JsonError, Plain, Shapes, text};

/// Reads one JSON text from front to back.
pub struct Reader<'a, S: Shapes = Plain> {
    text: &'a str,
    at: usize,
    depth: usize,
    scratch: Scratch<S>,
}

/// The buffers that reading takes, for the next reader.
pub struct Scratch<S: Shapes>(Option<Box<S::Buffers>>);

impl<S: Shapes> Default for Scratch<S> {
    fn default() -> Scratch<S> {
        Scratch(None)
    }
}

/// Reads the value of one member by its name and says true, or says false to have it skipped.
pub type Member<'c, 'a, S> = dyn FnMut(&str, &mut Reader<'a, S>) -> Result<bool, JsonError> + 'c;

/// What a value turned out to be where another type was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// `{`
    Object,
    /// `[`
    Array,
    /// A string.
    Text,
    /// A number that is written as a whole one.
    Whole,
    /// A number with a fraction or an exponent.
    Decimal,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

impl<'a, S: Shapes> Reader<'a, S> {
    /// Stands in front of the text's one value. Errors: `Syntax` when the text is not UTF-8.
    pub fn new(text: &'a [u8]) -> Result<Reader<'a, S>, JsonError> {
        Reader::with_scratch(text, Scratch::default())
    }

    /// The same with buffers that an earlier reader gave back.
    pub fn with_scratch(text: &'a [u8], scratch: Scratch<S>) -> Result<Reader<'a, S>, JsonError> {
        let text = str::from_utf8(text).map_err(|_| JsonError::Syntax)?;
        let mut reader = Reader { text, at: 0, depth: 0, scratch };
        reader.skip_space();
        Ok(reader)
    }

    /// Ends the reading. Errors: `Syntax` when more than white space follows.
    pub fn finish(self) -> Result<(), JsonError> {
        self.finish_with_scratch().0
    }

    /// The same, and gives the buffers back.
    pub fn finish_with_scratch(mut self) -> (Result<(), JsonError>, Scratch<S>) {
        self.skip_space();
        let ended = if self.at == self.text.len() { Ok(()) } else { Err(JsonError::Syntax) };
        (ended, self.scratch)
    }

    /// Reads a structure, which errors call `shape`. `each` gets the name of each member that is not null, reads its
    /// value and says true, or says false to have it skipped. A name that comes twice comes twice to `each` as well.
    pub fn structure(&mut self, shape: &'static str, each: &mut Member<'_, 'a, S>) -> Result<(), JsonError> {
        if self.peek() != Some(b'{') {
            return Err(self.no_structure(shape));
        }
        self.members(each)
    }

    /// Reads a map, whose Java type errors call `java`. `each`: as in `structure`.
    pub fn map(&mut self, java: &'static str, each: &mut Member<'_, 'a, S>) -> Result<(), JsonError> {
        if self.peek() != Some(b'{') {
            return Err(self.no_map(java));
        }
        self.members(each)
    }

    /// Reads a list. `each` reads one element; elements that are null are left out.
    pub fn list(
        &mut self,
        each: &mut dyn FnMut(&mut Reader<'a, S>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        let mut more = self.open_list()?;
        while more {
            if !self.take_null() {
                each(self)?;
            }
            more = self.next_element()?;
        }
        Ok(())
    }

    /// Steps over a value of any type.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        // One bit for each open bracket: whether it is that of an object.
        let mut objects = [false; DEPTH_MAX + 1];
        let outside = self.depth;
        loop {
            let is_object = self.peek() == Some(b'{');
            let more = match self.peek() {
                Some(b'{') => self.enter(b'}')?,
                Some(b'[') => self.enter(b']')?,
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if more {
                // The bracket's depth is the reader's only if something follows it: an empty pair is closed already.
                objects[self.depth] = is_object;
                if is_object {
                    self.key()?;
                }
            }
            if more {
                continue;
            }
            // `enter` closed an empty pair itself, so what has ended here is a value inside `depth` brackets.
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                let is_object = objects[self.depth];
                if !self.step(if is_object { b'}' } else { b']' })? {
                    continue;
                }
                if is_object {
                    self.key()?;
                }
                break;
            }
        }
    }

    /// Opens an object that is expected; errors call it `shape`. Gives whether it has a member.
    pub fn open_structure(&mut self, shape: &'static str) -> Result<bool, JsonError> {
        if self.peek() != Some(b'{') {
            return Err(self.no_structure(shape));
        }
        self.enter(b'}')
    }

    /// Opens a map that is expected; errors call it `java`. Gives whether it has an entry.
    pub fn open_map(&mut self, java: &'static str) -> Result<bool, JsonError> {
        if self.peek() != Some(b'{') {
            return Err(self.no_map(java));
        }
        self.enter(b'}')
    }

    /// Opens a list that is expected. Gives whether it has an element.
    pub fn open_list(&mut self) -> Result<bool, JsonError> {
        if self.peek() == Some(b'[') {
            return self.enter(b']');
        }
        Err(match self.found() {
            Ok(Found::Object) => JsonError::Type(STRUCTURE_FOUND.into()),
            Ok(_) => JsonError::Type("Unexpected field type".into()),
            Err(error) => error,
        })
    }

    /// Behind a member's value: goes to the next member, or behind the end of the object and gives false.
    pub fn next_member(&mut self) -> Result<bool, JsonError> {
        self.step(b'}')
    }

    /// The same in an array.
    pub fn next_element(&mut self) -> Result<bool, JsonError> {
        self.step(b']')
    }

    /// Reads a member's name and the colon.
    pub fn key(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let key = self.quoted()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        self.skip_space();
        Ok(key)
    }

    /// Steps over a null if one stands here.
    pub fn take_null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n') && self.text.as_bytes()[self.at..].starts_with(b"null");
        if is_null {
            self.at += 4;
        }
        is_null
    }

    /// Reads a string with its quotes.
    pub fn quoted(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return Err(JsonError::Syntax);
        }
        let start = self.at + 1;
        let end = text::plain_end(bytes, start);
        let plain = self.text.get(start..end).ok_or(JsonError::Syntax)?;
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut unescaped = String::from(plain);
        self.at = text::unescape(self.text, end, &mut unescaped)?;
        Ok(Cow::Owned(unescaped))
    }

    /// Reads a member's name and the colon if the name is one letter and nothing stands between the two: the most
    /// frequent names are `"S"` and its like.
    #[inline]
    pub fn letter_key(&mut self) -> Option<u8> {
        let Some(&[b'"', letter @ b'A'..=b'Z', b'"', b':', ..]) = self.text.as_bytes().get(self.at..) else {
            return None;
        };
        self.at += 4;
        self.skip_space();
        Some(letter)
    }

    /// Steps over a string, number, boolean or null and says which it was.
    pub fn scalar(&mut self) -> Result<Found, JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let (found, length) = match rest.first() {
            Some(b'"') => {
                self.quoted()?;
                return Ok(Found::Text);
            }
            Some(b't') if rest.starts_with(b"true") => (Found::True, 4),
            Some(b'f') if rest.starts_with(b"false") => (Found::False, 5),
            Some(b'n') if rest.starts_with(b"null") => (Found::Null, 4),
            Some(b'-' | b'0'..=b'9') => number_length(rest)?,
            _ => return Err(JsonError::Syntax),
        };
        self.at += length;
        Ok(found)
    }

    /// Says what stands here; steps over it if it is no object or array.
    pub fn found(&mut self) -> Result<Found, JsonError> {
        match self.peek() {
            Some(b'{') => Ok(Found::Object),
            Some(b'[') => Ok(Found::Array),
            _ => self.scalar(),
        }
    }

    /// The byte here.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Where the reader stands.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text from `start` to where the reader stands; nothing if `start` is no boundary.
    pub fn text_from(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The buffers, to work with; `keep` gives them back.
    pub fn take_buffers(&mut self) -> Box<S::Buffers> {
        self.scratch.0.take().unwrap_or_default()
    }

    /// Gives the buffers back.
    pub fn keep(&mut self, buffers: Box<S::Buffers>) {
        self.scratch.0 = Some(buffers);
    }

    fn members(&mut self, each: &mut Member<'_, 'a, S>) -> Result<(), JsonError> {
        let mut more = self.enter(b'}')?;
        while more {
            let key = self.key()?;
            if !self.take_null() && !each(&key, self)? {
                self.skip()?;
            }
            more = self.next_member()?;
        }
        Ok(())
    }

    /// Steps over an opening bracket. Gives whether something follows; if not, over the closing one as well.
    fn enter(&mut self, close: u8) -> Result<bool, JsonError> {
        if self.depth == DEPTH_MAX {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        self.depth += 1;
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// Behind a value: over the comma, and true, or over the closing bracket, and false.
    #[inline]
    fn step(&mut self, close: u8) -> Result<bool, JsonError> {
        self.skip_space();
        let byte = self.peek().ok_or(JsonError::Syntax)?;
        self.at += 1;
        if byte == b',' {
            self.skip_space();
            return Ok(true);
        }
        if byte != close {
            return Err(JsonError::Syntax);
        }
        self.depth -= 1;
        Ok(false)
    }

    #[inline]
    fn skip_space(&mut self) {
        // Clients send none, or one blank.
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.skip_spaces();
        }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        self.at += rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len());
    }

    fn no_structure(&mut self, shape: &'static str) -> JsonError {
        match self.found() {
            Ok(Found::Array) => {
                JsonError::Type(format!("Unrecognized collection type class {}{shape}", S::PACKAGE).into())
            }
            Ok(_) => JsonError::Type("Unexpected value type in payload".into()),
            Err(error) => error,
        }
    }

    fn no_map(&mut self, java: &'static str) -> JsonError {
        match self.found() {
            Ok(Found::Array) => JsonError::Type(format!("Unrecognized collection type {java}").into()),
            Ok(_) => JsonError::Type("Unexpected field type".into()),
            Err(error) => error,
        }
    }
}

/// The length of a JSON number, and whether it is written as a whole one.
fn number_length(text: &[u8]) -> Result<(Found, usize), JsonError> {
    let digits = |from: usize| {
        let count = text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 { Err(JsonError::Syntax) } else { Ok(from + count) }
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = digits(start)?;
    if text[start] == b'0' && end > start + 1 {
        return Err(JsonError::Syntax);
    }
    let whole_end = end;
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign)?;
    }
    Ok((if end == whole_end { Found::Whole } else { Found::Decimal }, end))
}

/// AWS's words for an object where another type is expected.
pub const STRUCTURE_FOUND: &str = "Start of structure or map found where not expected.";
