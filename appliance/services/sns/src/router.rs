//! Which operation an `Action` names: the table of operations, which is the index of the service.
//! Invariant: an operation that has no row is answered as unknown; every name of the protocol is known by name, so that
//! metrics have a bounded set of words.

use aws::query::Parameters;
use plan::{Context, Plan};

use crate::call::Shared;
use crate::ops;
use crate::wire::error::Error;

/// Begins an operation with the parameters of its request.
pub type Start = fn(Shared, &mut Context<'_>, &Parameters<'_>) -> Result<Plan, Error>;

/// One operation.
pub struct Operation {
    /// Amazon's name of it.
    pub name: &'static str,
    /// The action that a policy allows or denies.
    pub action: &'static str,
    /// Begins it.
    pub start: Start,
    /// Whether it may be asked without a signature, by the links in messages.
    pub unsigned: bool,
}

const fn row(name: &'static str, action: &'static str, start: Start) -> Operation {
    Operation { name, action, start, unsigned: false }
}

const fn unsigned(name: &'static str, action: &'static str, start: Start) -> Operation {
    Operation { name, action, start, unsigned: true }
}

/// Every operation that is built. The most frequent ones come first: the table is searched in its order.
pub static OPERATIONS: &[Operation] = &[
    row("Publish", "sns:Publish", ops::publish::one),
    row("PublishBatch", "sns:Publish", ops::publish::batch),
    row("CreateTopic", "sns:CreateTopic", ops::create_topic::start),
    row("DeleteTopic", "sns:DeleteTopic", ops::delete_topic::start),
    row("ListTopics", "sns:ListTopics", ops::list_topics::start),
    row("GetTopicAttributes", "sns:GetTopicAttributes", ops::topic_attributes::get),
    row("SetTopicAttributes", "sns:SetTopicAttributes", ops::topic_attributes::set),
    row("Subscribe", "sns:Subscribe", ops::subscribe::start),
    unsigned("ConfirmSubscription", "sns:ConfirmSubscription", ops::confirm_subscription::start),
    unsigned("Unsubscribe", "sns:Unsubscribe", ops::unsubscribe::start),
    row("ListSubscriptions", "sns:ListSubscriptions", ops::list_subscriptions::all),
    row("ListSubscriptionsByTopic", "sns:ListSubscriptionsByTopic", ops::list_subscriptions::by_topic),
    row("GetSubscriptionAttributes", "sns:GetSubscriptionAttributes", ops::subscription_attributes::get),
    row("SetSubscriptionAttributes", "sns:SetSubscriptionAttributes", ops::subscription_attributes::set),
    row("TagResource", "sns:TagResource", ops::tags::tag),
    row("UntagResource", "sns:UntagResource", ops::tags::untag),
    row("ListTagsForResource", "sns:ListTagsForResource", ops::tags::list),
    row("AddPermission", "sns:AddPermission", ops::permissions::add),
    row("RemovePermission", "sns:RemovePermission", ops::permissions::remove),
    row("GetDataProtectionPolicy", "sns:GetDataProtectionPolicy", ops::data_protection::get),
    row("PutDataProtectionPolicy", "sns:PutDataProtectionPolicy", ops::data_protection::put),
];

/// The names of version 2010-03-31, built or not.
const ACTIONS: &[&str] = &[
    "AddPermission",
    "CheckIfPhoneNumberIsOptedOut",
    "ConfirmSubscription",
    "CreatePlatformApplication",
    "CreatePlatformEndpoint",
    "CreateSMSSandboxPhoneNumber",
    "CreateTopic",
    "DeleteEndpoint",
    "DeletePlatformApplication",
    "DeleteSMSSandboxPhoneNumber",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetEndpointAttributes",
    "GetPlatformApplicationAttributes",
    "GetSMSAttributes",
    "GetSMSSandboxAccountStatus",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListEndpointsByPlatformApplication",
    "ListOriginationNumbers",
    "ListPhoneNumbersOptedOut",
    "ListPlatformApplications",
    "ListSMSSandboxPhoneNumbers",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "ListTopics",
    "OptInPhoneNumber",
    "Publish",
    "PublishBatch",
    "PutDataProtectionPolicy",
    "RemovePermission",
    "SetEndpointAttributes",
    "SetPlatformApplicationAttributes",
    "SetSMSAttributes",
    "SetSubscriptionAttributes",
    "SetTopicAttributes",
    "Subscribe",
    "TagResource",
    "Unsubscribe",
    "UntagResource",
    "VerifySMSSandboxPhoneNumber",
];

/// What an action names.
pub enum Named {
    /// An operation that is built.
    Operation(&'static Operation),
    /// One of the protocol that is not.
    NotBuilt(&'static str),
    /// Nothing.
    Nothing,
}

/// Finds what the `Action` of a request names.
#[must_use]
pub fn route(action: &str) -> Named {
    if let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == action) {
        return Named::Operation(operation);
    }
    match ACTIONS.iter().find(|known| **known == action) {
        Some(name) => Named::NotBuilt(name),
        None => Named::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_protocol_are_forty_two_and_sorted() {
        assert_eq!(ACTIONS.len(), 42);
        assert!(ACTIONS.is_sorted());
    }

    #[test]
    fn every_row_is_a_name_of_the_protocol_and_found_by_it() {
        for operation in OPERATIONS {
            assert!(ACTIONS.contains(&operation.name), "{}", operation.name);
            assert!(operation.action.starts_with("sns:"), "{}", operation.name);
            let Named::Operation(found) = route(operation.name) else {
                panic!("{} is not found", operation.name)
            };
            assert!(std::ptr::eq(found, operation), "{} has two rows", operation.name);
        }
    }

    #[test]
    fn what_is_not_built_is_known_by_name_and_what_is_unknown_is_not() {
        assert!(matches!(route("CreatePlatformEndpoint"), Named::NotBuilt("CreatePlatformEndpoint")));
        for action in ["", "publish", "SendMessage", "Publish "] {
            assert!(matches!(route(action), Named::Nothing), "{action}");
        }
    }
}
