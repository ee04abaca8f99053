//! The reference model: its own tests, and the lanes that run random operations of a client beside it.

mod client;
mod lane;
mod reference;
