//! JSON as the protocol uses it: a pull reader without a tree, an appending writer, base64, gzip.
//!
//! Invariant: time and memory are linear in the text, whatever it holds; nothing recurses with its depth.
//! Leaves to wire/: which members an operation has, and the words of what is wrong with a value.

mod attribute;
mod base64;
mod gzip;
mod reader;
mod scalar;
mod text;
mod writer;

use std::borrow::Cow;

pub use attribute::{Read, ValueError, read_item, read_value};
pub use gzip::{DecompressError, compress, decompress};
pub use reader::{Reader, Scratch};
pub use writer::Writer;

/// The deepest that objects and arrays of a request may lie in one another: more than the 32 levels of an item need,
/// so that those that have too many are told so.
pub const DEPTH_MAX: usize = 200;

/// Why a text could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonError {
    /// It is no JSON, or goes deeper than `DEPTH_MAX`.
    Syntax,
    /// It holds a value of another type than the protocol has there: AWS's message.
    Type(Cow<'static, str>),
}

#[cfg(test)]
mod tests;
