//! Which operation a request names: the table of operations, which is the index of the service.
//! Invariant: an operation that has no row is answered as unknown; metrics have the names of the rows for words.

use plan::{Context, Plan};

use crate::call::Shared;
use crate::ops;
use crate::wire::error::Error;
use crate::wire::input::Input;

/// Begins an operation with its request.
pub type Start = fn(Shared, &mut Context<'_>, &Input<'_>) -> Result<Plan, Error>;

/// One operation.
pub struct Operation {
    /// Amazon's name of it.
    pub name: &'static str,
    /// The action that a policy allows or denies.
    pub action: &'static str,
    /// Begins it.
    pub start: Start,
}

const fn row(name: &'static str, action: &'static str, start: Start) -> Operation {
    Operation { name, action, start }
}

/// Every operation that is built. The most frequent ones come first: the table is searched in its order. A batch is allowed
/// or denied as what its entries are.
pub static OPERATIONS: &[Operation] = &[
    row("ReceiveMessage", "sqs:ReceiveMessage", ops::receive_message::start),
    row("SendMessage", "sqs:SendMessage", ops::send_message::start),
    row("DeleteMessage", "sqs:DeleteMessage", ops::delete_message::start),
    row("SendMessageBatch", "sqs:SendMessage", ops::send_message_batch::start),
    row("DeleteMessageBatch", "sqs:DeleteMessage", ops::delete_message_batch::start),
    row("ChangeMessageVisibility", "sqs:ChangeMessageVisibility", ops::change_message_visibility::start),
    row(
        "ChangeMessageVisibilityBatch",
        "sqs:ChangeMessageVisibility",
        ops::change_message_visibility_batch::start,
    ),
    row("GetQueueAttributes", "sqs:GetQueueAttributes", ops::queue_attributes::get),
    row("GetQueueUrl", "sqs:GetQueueUrl", ops::get_queue_url::start),
    row("CreateQueue", "sqs:CreateQueue", ops::create_queue::start),
    row("DeleteQueue", "sqs:DeleteQueue", ops::delete_queue::start),
    row("ListQueues", "sqs:ListQueues", ops::list_queues::start),
    row("SetQueueAttributes", "sqs:SetQueueAttributes", ops::queue_attributes::set),
    row("PurgeQueue", "sqs:PurgeQueue", ops::purge_queue::start),
    row("TagQueue", "sqs:TagQueue", ops::queue_tags::tag),
    row("UntagQueue", "sqs:UntagQueue", ops::queue_tags::untag),
    row("ListQueueTags", "sqs:ListQueueTags", ops::queue_tags::list),
    row("AddPermission", "sqs:AddPermission", ops::permission::add),
    row("RemovePermission", "sqs:RemovePermission", ops::permission::remove),
    row(
        "ListDeadLetterSourceQueues",
        "sqs:ListDeadLetterSourceQueues",
        ops::list_queues::dead_letter_sources,
    ),
    row("StartMessageMoveTask", "sqs:StartMessageMoveTask", ops::move_tasks::start),
    row("ListMessageMoveTasks", "sqs:ListMessageMoveTasks", ops::move_tasks::list),
    row("CancelMessageMoveTask", "sqs:CancelMessageMoveTask", ops::move_tasks::cancel),
];

/// How `X-Amz-Target` begins.
pub const TARGET_PREFIX: &str = "AmazonSQS.";

/// Finds an operation by its name.
#[must_use]
pub fn route(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_protocol_is_built() {
        let mut names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATIONS.len(), "no name has two rows");
        assert_eq!(names.len(), 23, "as many as the model of the service has");
    }

    #[test]
    fn every_row_is_found_by_its_name() {
        for operation in OPERATIONS {
            assert!(operation.action.starts_with("sqs:"), "{}", operation.name);
            assert!(route(operation.name).is_some_and(|found| std::ptr::eq(found, operation)));
        }
        for name in ["", "sendmessage", "SendMessages", "AmazonSQS.SendMessage"] {
            assert!(route(name).is_none(), "{name}");
        }
    }
}
