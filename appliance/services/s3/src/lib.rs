//! ZeroStore, the S3 service.
#![forbid(unsafe_code)]
