//! Sending at the right moment and writing down what came of it.

pub mod lane;
pub mod pacer;
pub mod recorder;
pub mod run;
pub mod runtime;
pub mod schedule;
