//! What the engine promises of queues, operation by operation, in virtual time.

mod access;
mod dead_letters;
mod deliveries;
mod fifo;
mod limits;
mod reload;
mod standard;
mod world;
