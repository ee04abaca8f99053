//! What a service asks the node to do.
#![forbid(unsafe_code)]
