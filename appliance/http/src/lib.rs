//! HTTP/1.1 and HTTP/2 on ring streams.
#![forbid(unsafe_code)]
