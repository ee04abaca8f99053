//! The layers of CloudKit that every provider stands on: `common` (types and errors), `spi` (what a program may replace),
//! `api` (one trait per service), `core` (context and executor). Arrows between them point down only.
//!
//! Invariant: what the public CloudKit source offered keeps its names, fields and signatures; what is new lives in new types
//! and in trait methods with default bodies, so that an old mock still compiles. `tests/surface_*.rs` holds the list.
//!
//! A provider is a crate beside this one. It implements the traits of [`api`], reports its facts by
//! [`Failure`](common::Failure), and says in `capabilities()` what it lacks before anyone calls it.
//!
//! The module `core` hides the language's crate of that name inside `use`: write `::core::` there.
#![forbid(unsafe_code)]

pub mod api;
pub mod common;
pub mod core;
pub mod spi;

pub use self::core::*;
