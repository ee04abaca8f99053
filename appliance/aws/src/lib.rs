//! Amazon's dialects, once each: who signed a request, how its body is framed, how its documents read and
//! what its errors look like.
//!
//! Invariant: nothing here does I/O, waits, or reads a clock; time and randomness are arguments. Every loop
//! over bytes from the network has a named bound, and no input, however hostile, makes a function panic.
//!
//! | module | holds |
//! |---|---|
//! | [`account`] | accounts, access keys and the look-up that authentication needs |
//! | [`acl`] | canned ACLs, grants and the `x-amz-grant-*` headers |
//! | [`arn`] | Amazon resource names |
//! | [`chunked`] | the `aws-chunked` body framing, its chunk signatures and trailers |
//! | [`encoding`] | hexadecimal and base64 |
//! | [`error`] | the error document as data |
//! | [`json`] | reading without a tree and fast writing of awsJson |
//! | [`payload`] | what `x-amz-content-sha256` promises about a body |
//! | [`policy`] | the policy language, and `decide`: may this principal do this action on this resource |
//! | [`query`] | awsQuery: parameters as a tree, replies and errors as XML |
//! | [`request_id`] | request and host identifiers |
//! | [`sigv2`] | the old signature, behind a switch |
//! | [`sigv4`] | the current signature: header, query, form |
//! | [`time`] | timestamps and the date forms of HTTP and XML |
//! | [`uri`] | percent coding and query strings |
//! | [`xml`] | bounded reading and fast writing of restXml |
//!
//! Not covered: SigV4A (refused with `NotImplemented`).
#![forbid(unsafe_code)]

pub mod account;
pub mod acl;
pub mod arn;
pub mod chunked;
pub mod encoding;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod json;
pub mod payload;
pub mod policy;
pub mod query;
pub mod request_id;
pub mod sigv2;
pub mod sigv4;
pub mod time;
pub mod uri;
pub mod xml;

pub use error::ErrorReply;
pub use time::Timestamp;
