//! Amazon's dialects.
#![forbid(unsafe_code)]
