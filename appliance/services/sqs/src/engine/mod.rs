//! What queues do: plans that run operations on a queue's shard, and the memory that makes them cheap.
//! Invariant: nothing here knows a protocol; what a client was told is in the batch.
//! Leaves to wire: requests, replies and checks that need no queue. To ops: the operations on queues themselves.

pub mod awaken;
pub mod counts;
pub mod delete;
pub mod load;
pub mod move_tasks;
pub mod moving;
pub mod on_queue;
mod pick;
pub mod receive;
mod records;
pub mod refusal;
mod remove;
pub mod request;
pub mod resident;
pub mod retention;
pub mod run;
pub mod send;
pub mod state;
pub mod sweep;
pub mod tick;

pub use counts::counts;
pub use delete::{change_visibility, delete};
pub use receive::receive;
pub use refusal::Refusal;
pub use request::{Counts, NewMessage, QueueRef, ReceiveRequest, Received, Sent};
pub use send::send;
