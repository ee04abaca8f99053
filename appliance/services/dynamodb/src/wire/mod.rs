//! Requests and replies as bytes, and the words of errors.
