//! What a shard remembers of one queue: plain structures that know no store and no clock.
//! Invariant: a message is in exactly one of ready (a range, or the line of its group), due (delayed or in flight), and gone.
//! Leaves to resident.rs: one for each queue, and when they change. To the operations: records.

pub mod due;
pub mod fifo;
pub mod groups;
pub mod line;
pub mod ranges;
pub mod standard;
