//! Requests about queues.
//! Invariant and what is left to others: as in mod.rs.

use crate::wire::error::Error;
use crate::wire::input::{Input, Text};

/// Names with their values, as attributes and tags are sent.
pub type Pairs<'i> = Vec<(Box<str>, Text<'i>)>;

/// Declares the structure of a request and how its members are read: `field: type = "Member", reader`.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident $shape:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty = $member:literal, $read:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct $name<'i> {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<'i> $name<'i> {
            /// Reads it. Errors: `MalformedInput`.
            pub fn decode(input: &'i Input<'_>) -> Result<$name<'i>, Error> {
                let mut request = $name::default();
                input.members($shape, &mut |name, value| {
                    match name {
                        $($member => request.$field = $read(value)?,)*
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
                Ok(request)
            }
        }
    };
}

use readers::{integer, named_map, tags, text, texts};

mod readers {
    //! How members are read.

    use aws::json::JsonError;

    use super::Pairs;
    use crate::wire::input::{Text, Value};

    pub fn text<'i>(value: Value<'_, 'i>) -> Result<Option<Text<'i>>, JsonError> {
        value.text().map(Some)
    }

    pub fn integer(value: Value<'_, '_>) -> Result<Option<i32>, JsonError> {
        value.integer().map(Some)
    }

    pub fn texts<'i>(value: Value<'_, 'i>) -> Result<Vec<Text<'i>>, JsonError> {
        value.texts()
    }

    pub fn named_map<'i>(value: Value<'_, 'i>) -> Result<Pairs<'i>, JsonError> {
        value.map("Name")
    }

    pub fn tags<'i>(value: Value<'_, 'i>) -> Result<Pairs<'i>, JsonError> {
        value.map("Key")
    }
}

request! {
    /// CreateQueue.
    CreateQueue "CreateQueueRequest" {
        /// QueueName.
        name: Option<Text<'i>> = "QueueName", text;
        /// Attributes.
        attributes: Pairs<'i> = "Attributes", named_map;
        /// Tags.
        tags: Pairs<'i> = "Tags", tags;
    }
}

request! {
    /// DeleteQueue, PurgeQueue, ListQueueTags: what needs nothing but the queue.
    OfQueue "QueueRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
    }
}

request! {
    /// ListQueues.
    ListQueues "ListQueuesRequest" {
        /// QueueNamePrefix.
        prefix: Option<Text<'i>> = "QueueNamePrefix", text;
        /// MaxResults.
        max_results: Option<i32> = "MaxResults", integer;
        /// NextToken.
        next_token: Option<Text<'i>> = "NextToken", text;
    }
}

request! {
    /// GetQueueUrl.
    GetQueueUrl "GetQueueUrlRequest" {
        /// QueueName.
        name: Option<Text<'i>> = "QueueName", text;
        /// QueueOwnerAWSAccountId.
        owner: Option<Text<'i>> = "QueueOwnerAWSAccountId", text;
    }
}

request! {
    /// GetQueueAttributes.
    GetQueueAttributes "GetQueueAttributesRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// AttributeNames.
        names: Vec<Text<'i>> = "AttributeNames", texts;
    }
}

request! {
    /// SetQueueAttributes.
    SetQueueAttributes "SetQueueAttributesRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// Attributes.
        attributes: Pairs<'i> = "Attributes", named_map;
    }
}

request! {
    /// TagQueue.
    TagQueue "TagQueueRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// Tags.
        tags: Pairs<'i> = "Tags", tags;
    }
}

request! {
    /// UntagQueue.
    UntagQueue "UntagQueueRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// TagKeys.
        keys: Vec<Text<'i>> = "TagKeys", texts;
    }
}

request! {
    /// AddPermission.
    AddPermission "AddPermissionRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// Label.
        label: Option<Text<'i>> = "Label", text;
        /// AWSAccountIds.
        accounts: Vec<Text<'i>> = "AWSAccountIds", texts;
        /// Actions.
        actions: Vec<Text<'i>> = "Actions", texts;
    }
}

request! {
    /// RemovePermission.
    RemovePermission "RemovePermissionRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// Label.
        label: Option<Text<'i>> = "Label", text;
    }
}

request! {
    /// ListDeadLetterSourceQueues.
    ListDeadLetterSourceQueues "ListDeadLetterSourceQueuesRequest" {
        /// QueueUrl.
        queue_url: Option<Text<'i>> = "QueueUrl", text;
        /// MaxResults.
        max_results: Option<i32> = "MaxResults", integer;
        /// NextToken.
        next_token: Option<Text<'i>> = "NextToken", text;
    }
}

request! {
    /// StartMessageMoveTask.
    StartMessageMoveTask "StartMessageMoveTaskRequest" {
        /// SourceArn.
        source_arn: Option<Text<'i>> = "SourceArn", text;
        /// DestinationArn.
        destination_arn: Option<Text<'i>> = "DestinationArn", text;
        /// MaxNumberOfMessagesPerSecond.
        rate: Option<i32> = "MaxNumberOfMessagesPerSecond", integer;
    }
}

request! {
    /// ListMessageMoveTasks.
    ListMessageMoveTasks "ListMessageMoveTasksRequest" {
        /// SourceArn.
        source_arn: Option<Text<'i>> = "SourceArn", text;
        /// MaxResults.
        max_results: Option<i32> = "MaxResults", integer;
    }
}

request! {
    /// CancelMessageMoveTask.
    CancelMessageMoveTask "CancelMessageMoveTaskRequest" {
        /// TaskHandle.
        handle: Option<Text<'i>> = "TaskHandle", text;
    }
}
