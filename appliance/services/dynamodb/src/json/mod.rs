//! JSON as the protocol uses it: the reader and the writer of all services, and beside them attribute values and gzip.
//!
//! Invariant: time and memory are linear in the text, whatever it holds; nothing recurses with its depth.
//! Leaves to aws: the reader and the writer. To wire/: which members an operation has, and the words of what is wrong
//! with a value.

mod attribute;
mod gzip;

pub use attribute::{Read, ValueError, read_item, read_value};
pub use aws::json::{DEPTH_MAX, JsonError, Writer};
pub use gzip::{DecompressError, compress, decompress};

/// What the reader has to know of this service.
pub struct Tables;

impl aws::json::Shapes for Tables {
    const PACKAGE: &'static str = "com.amazonaws.dynamodb.v20120810.";
    type Buffers = attribute::Buffers;
}

/// The reader of requests.
pub type Reader<'a> = aws::json::Reader<'a, Tables>;

/// The buffers that reading takes, for the next reader.
pub type Scratch = aws::json::Scratch<Tables>;

#[cfg(test)]
mod tests;
