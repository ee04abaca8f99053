//! Messages as they come: from the SDK's form to the core's.

use aws_sdk_sqs::types::{Message as Incoming, MessageAttributeValue, MessageSystemAttributeName};
use chrono::{DateTime, Utc};
use cloudkit_core::api::Message;
use cloudkit_core::common::{Metadata, ResourceId};

/// The message. An attribute of bytes comes as its base64. None without a time of sending.
pub(super) fn read(message: Incoming) -> Option<Message> {
    let system = message.attributes.unwrap_or_default();
    let time = |name: MessageSystemAttributeName| -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(system.get(&name)?.parse().ok()?)
    };
    let count = system.get(&MessageSystemAttributeName::ApproximateReceiveCount);
    let attributes = message.message_attributes.unwrap_or_default();
    Some(Message {
        sent_at: time(MessageSystemAttributeName::SentTimestamp)?,
        first_received_at: time(MessageSystemAttributeName::ApproximateFirstReceiveTimestamp),
        receive_count: count.and_then(|count| count.parse().ok()).unwrap_or(1),
        id: ResourceId::new(message.message_id.unwrap_or_default()),
        body: message.body.unwrap_or_default(),
        receipt_handle: message.receipt_handle,
        attributes: attributes.into_iter().map(|(name, value)| (name, text(value))).collect::<Metadata>(),
    })
}

fn text(value: MessageAttributeValue) -> String {
    let bytes = value.binary_value.map(aws_smithy_types::base64::encode);
    value.string_value.or(bytes).unwrap_or_default()
}

/// The system attributes that a message is made of.
pub(super) const SYSTEM_NAMES: [MessageSystemAttributeName; 3] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
    MessageSystemAttributeName::SentTimestamp,
];

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::primitives::Blob;

    #[test]
    fn a_message_is_read_with_its_times_and_attributes() {
        let attribute = |name: &str| MessageAttributeValue::builder().data_type(name);
        let incoming = Incoming::builder()
            .message_id("m")
            .body("text")
            .receipt_handle("r")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1500")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "3")
            .message_attributes("a", attribute("String").string_value("x").build().unwrap())
            .message_attributes("b", attribute("Binary").binary_value(Blob::new([0])).build().unwrap());
        let message = read(incoming.build()).expect("it is whole");
        assert_eq!((message.sent_at.timestamp_millis(), message.receive_count), (1500, 3));
        assert_eq!((message.attributes["a"].as_str(), message.attributes["b"].as_str()), ("x", "AA=="));
        assert!(message.first_received_at.is_none());
        assert!(read(Incoming::builder().message_id("m").build()).is_none());
    }
}
