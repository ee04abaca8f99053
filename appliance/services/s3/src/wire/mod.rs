//! Between S3's protocol and the types of `model`: addresses, headers, documents, errors.
//! Invariant: what leaves here inwards is valid; what leaves outwards has the spelling that S3 clients expect.

pub mod acl;
pub mod address;
pub mod checksum;
pub mod error;
pub mod form;
pub mod headers;
pub mod policy;
pub mod query;
pub mod range;
pub mod reply;
pub mod tags;
pub mod token;
