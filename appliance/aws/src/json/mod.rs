//! JSON as Amazon's protocols use it: a pull reader without a tree, an appending writer, base64.
//!
//! Invariant: time and memory are linear in the text, whatever it holds; nothing recurses with its depth.
//! Leaves to the services: which members an operation has, the words of what is wrong with a value, and what values of
//! their own are made of, for which a reader lends them buffers.

pub mod base64;
mod reader;
mod scalar;
mod text;
mod writer;

use std::borrow::Cow;

pub use reader::{Found, Member, Reader, STRUCTURE_FOUND, Scratch};
pub use writer::Writer;

/// The deepest that objects and arrays of a request may lie in one another: more than the 32 levels of an item of
/// DynamoDB need, so that those that have too many are told so.
pub const DEPTH_MAX: usize = 200;

/// The structures of one service, as far as its reader has to know them.
pub trait Shapes {
    /// The Java package that AWS names in front of a structure in its errors, with the dot.
    const PACKAGE: &'static str;
    /// Buffers that the service's own values take while they are read, which go from one reader to the next.
    type Buffers: Default;
}

/// JSON that belongs to no service.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Shapes for Plain {
    const PACKAGE: &'static str = "";
    type Buffers = ();
}

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
