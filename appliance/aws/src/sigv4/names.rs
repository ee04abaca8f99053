//! The names of Amazon's headers that signatures are about, parsed once.

use http_types::HeaderName;

/// When the request was signed.
pub(super) static DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// What is promised about the body.
pub(super) static CONTENT_SHA256: HeaderName = HeaderName::from_static(crate::payload::HEADER);
/// The operation, in protocols that name it in the head.
pub(super) static TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// What goes with a temporary key.
pub(super) static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
