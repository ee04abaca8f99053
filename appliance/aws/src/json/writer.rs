//! The writer of replies: appends, and puts the commas.
//!
//! Invariant: whoever begins, names and ends in turn gets JSON; nothing is written twice.

use super::{base64, text};

/// A JSON text in the making.
#[derive(Default, Clone, Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// Whether a comma stands in front of the next value or name.
    follows: bool,
}

impl Writer {
    /// An empty text.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty text with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes), follows: false }
    }

    /// Begins an object: names with their values follow.
    #[inline]
    pub fn begin_object(&mut self) {
        self.separate();
        self.begin_inside(b'{');
    }

    /// Ends it.
    #[inline]
    pub fn end_object(&mut self) {
        self.out.push(b'}');
        self.follows = true;
    }

    /// Begins an array: values follow.
    #[inline]
    pub fn begin_array(&mut self) {
        self.separate();
        self.begin_inside(b'[');
    }

    /// Ends it.
    #[inline]
    pub fn end_array(&mut self) {
        self.out.push(b']');
        self.follows = true;
    }

    /// The name of the next value.
    #[inline]
    pub fn key(&mut self, name: &str) {
        self.key_bytes(name.as_bytes());
    }

    /// A string.
    #[inline]
    pub fn string(&mut self, text: &str) {
        self.separate();
        text::escape(text.as_bytes(), &mut self.out);
    }

    /// A whole number.
    pub fn integer(&mut self, value: i64) {
        self.separate();
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// A whole number that is not negative.
    pub fn unsigned(&mut self, value: u64) {
        self.separate();
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// A number with at most three decimals, and at least one: AWS's capacity figures. What is no number is 0.
    pub fn double(&mut self, value: f64) {
        self.separate();
        let thousandths = (value * 1000.0).round() as i64;
        let (sign, magnitude) = (if thousandths < 0 { "-" } else { "" }, thousandths.unsigned_abs());
        let text = format!("{sign}{}.{:03}", magnitude / 1000, magnitude % 1000);
        let shortest = text.trim_end_matches('0');
        self.out.extend_from_slice(shortest.as_bytes());
        if shortest.ends_with('.') {
            self.out.push(b'0');
        }
    }

    /// A boolean.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    /// Bytes, as a string of base64.
    pub fn blob(&mut self, bytes: &[u8]) {
        self.separate();
        base64::write(bytes, &mut self.out);
    }

    /// JSON that is written already: one value, or several with their commas, or none.
    #[inline]
    pub fn raw(&mut self, json: &[u8]) {
        if !json.is_empty() {
            self.separate();
            self.out.extend_from_slice(json);
        }
    }

    /// The length so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The text so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// The text.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// A name that is known to be UTF-8.
    #[inline]
    pub fn key_bytes(&mut self, name: &[u8]) {
        self.separate();
        text::escape(name, &mut self.out);
        self.out.push(b':');
        self.follows = false;
    }

    /// Puts the comma in front of a value that is written with the functions below.
    #[inline]
    pub fn separate(&mut self) {
        if self.follows {
            self.out.push(b',');
        }
        self.follows = true;
    }

    /// A place to go back to.
    #[inline]
    pub fn mark(&self) -> (usize, bool) {
        (self.out.len(), self.follows)
    }

    /// Forgets what was written since.
    #[inline]
    pub fn rewind(&mut self, mark: (usize, bool)) {
        self.out.truncate(mark.0);
        self.follows = mark.1;
    }

    /// Part of a value.
    #[inline]
    pub fn inside(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    /// The beginning of an array or object that is part of a value.
    #[inline]
    pub fn begin_inside(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.follows = false;
    }

    /// A string as part of a value.
    #[inline]
    pub fn string_inside(&mut self, utf8: &[u8]) {
        text::escape(utf8, &mut self.out);
    }

    /// Bytes as part of a value.
    #[inline]
    pub fn blob_inside(&mut self, bytes: &[u8]) {
        base64::write(bytes, &mut self.out);
    }

    /// Part of a value that `write` appends.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
    }
}
