//! The operations, one file for each, and beside them what several have in common.
//! Invariant: what only needs the request is checked before the store is asked.
//! Leaves to engine: what needs the queue.

pub mod batch;
pub mod change_message_visibility;
pub mod change_message_visibility_batch;
pub mod create_queue;
pub mod delete_message;
pub mod delete_message_batch;
pub mod delete_queue;
pub mod get_queue_url;
pub mod list_queues;
pub mod move_tasks;
pub mod outgoing;
pub mod permission;
pub mod purge_queue;
pub mod queue_attributes;
pub mod queue_tags;
pub mod receipt;
pub mod receive_message;
mod redrive;
pub mod refused;
pub mod send_message;
pub mod send_message_batch;
