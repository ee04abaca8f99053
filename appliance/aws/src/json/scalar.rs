//! Strings, numbers, booleans and binaries of requests, and AWS's words for what has another type.
//!
//! Invariant: a value of another JSON type is converted only where AWS does so.

use std::borrow::Cow;

use super::reader::{Found, Reader, STRUCTURE_FOUND};
use super::{JsonError, Shapes, base64};

impl<'a, S: Shapes> Reader<'a, S> {
    /// Reads a string; borrowed if it has no escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let found = self.found()?;
        Err(mismatch(found, "String", "java.lang.String"))
    }

    /// Reads a whole number of 32 bits; a fraction is cut off.
    pub fn integer(&mut self) -> Result<i32, JsonError> {
        let value = self.whole("Integer", "java.lang.Integer")?;
        i32::try_from(value).map_err(|_| type_error("NUMBER_VALUE cannot be converted to Integer"))
    }

    /// Reads a whole number of 64 bits; a fraction is cut off.
    pub fn long(&mut self) -> Result<i64, JsonError> {
        self.whole("Long", "java.lang.Long")
    }

    /// Reads a number.
    pub fn double(&mut self) -> Result<f64, JsonError> {
        let start = self.position();
        match self.found()? {
            Found::Whole | Found::Decimal => {
                let text = self.text_from(start);
                text.parse().map_err(|_| JsonError::Syntax)
            }
            found => Err(mismatch(found, "Double", "java.lang.Double")),
        }
    }

    /// Reads a boolean. AWS takes some strings for one.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        if self.peek() == Some(b'"') {
            let text = self.quoted()?;
            let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            return match () {
                () if is(["true", "1", "yes"]) => Ok(true),
                () if is(["false", "0", "no"]) => Ok(false),
                () => Err(type_error("Unexpected token received from parser")),
            };
        }
        match self.found()? {
            Found::True => Ok(true),
            Found::False => Ok(false),
            Found::Array => Err(type_error("Unrecognized collection type class java.lang.Boolean")),
            Found::Object => Err(type_error(STRUCTURE_FOUND)),
            _ => Err(type_error("Unexpected token received from parser")),
        }
    }

    /// Reads a binary from its base64.
    pub fn blob(&mut self) -> Result<Vec<u8>, JsonError> {
        let text = self.base64()?;
        let mut bytes = Vec::with_capacity(base64::decoded_bytes(text.as_bytes())?);
        base64::decode(text.as_bytes(), &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the string of a binary.
    pub fn base64(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        Err(match self.found()? {
            Found::Array => type_error("Unrecognized collection type class java.nio.ByteBuffer"),
            Found::Object => type_error(STRUCTURE_FOUND),
            _ => type_error("only base-64-encoded strings are convertible to bytes"),
        })
    }

    fn whole(&mut self, name: &'static str, java: &'static str) -> Result<i64, JsonError> {
        let start = self.position();
        let found = self.found()?;
        let text = self.text_from(start);
        let too_large = || JsonError::Type(format!("NUMBER_VALUE cannot be converted to {name}").into());
        match found {
            Found::Whole => text.parse().map_err(|_| too_large()),
            Found::Decimal => {
                let value: f64 = text.parse().map_err(|_| JsonError::Syntax)?;
                let fits = value.abs() < LONG_END;
                if fits { Ok(value as i64) } else { Err(too_large()) }
            }
            found => Err(mismatch(found, name, java)),
        }
    }
}

fn type_error(words: &'static str) -> JsonError {
    JsonError::Type(Cow::Borrowed(words))
}

/// `found` where a `name` was expected, whose Java class is `java`.
fn mismatch(found: Found, name: &str, java: &str) -> JsonError {
    let value = match found {
        Found::Array => return JsonError::Type(format!("Unrecognized collection type class {java}").into()),
        Found::Object => return type_error(STRUCTURE_FOUND),
        Found::Text => "STRING_VALUE",
        Found::Whole => "NUMBER_VALUE",
        Found::Decimal => "DECIMAL_VALUE",
        Found::True => "TRUE_VALUE",
        Found::False => "FALSE_VALUE",
        Found::Null => "NULL_VALUE",
    };
    JsonError::Type(format!("{value} cannot be converted to {name}").into())
}

/// 2^63: one more than the largest long.
const LONG_END: f64 = 9_223_372_036_854_775_808.0;
