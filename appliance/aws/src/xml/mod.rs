//! restXml: bounded reading of what clients send, fast writing of what they get.
//!
//! Reading and writing share nothing but this door: [`Document`] is a read-only tree over the bytes of a
//! request, [`Writer`] appends to the bytes of a reply.

mod reader;
mod writer;

pub use reader::{DEPTH_MAX, Document, ELEMENT_COUNT_MAX, Element, XmlError};
pub use writer::{S3_NAMESPACE, Writer};
