//! What cannot be delivered: to the queue that the subscription names for it, or dropped and counted.
//! Invariant: a message is buried at most once for each subscription; what the dead-letter queue itself refuses is dropped.

use aws::json::{Plain, Reader};
use bytes::Bytes;
use plan::delivery::{
    Attribute, AttributeValue, QUEUE_DELIVER, QueueDelivery, Recipient, SharedMessage, queue_place,
};
use store::Tx;

use crate::failures::Failures;
use crate::model::arn::QueueArn;
use crate::model::limits::RAW_ATTRIBUTE_COUNT_MAX;
use crate::model::subscription::Subscription;

/// A message that could not be delivered, as its recipient would have got it.
#[derive(Clone, Debug)]
pub struct Undelivered {
    /// The topic, spelled out.
    pub topic_arn: String,
    /// The topic's account.
    pub account: String,
    /// The message's id.
    pub message_id: u128,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
    /// The body.
    pub body: Bytes,
    /// The attributes of a raw delivery.
    pub attributes: Vec<Attribute>,
    /// Its group.
    pub group: Option<String>,
    /// The id by which its repetition is known.
    pub dedup: Option<String>,
}

/// Why it could not be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub text: String,
}

/// The queue that a redrive policy names. None: it is no redrive policy.
#[must_use]
pub fn redrive_target(policy: &str) -> Option<String> {
    let mut target = None;
    let mut reader = Reader::<Plain>::new(policy.as_bytes()).ok()?;
    let outcome = reader.structure("", &mut |name, r| {
        if name != "deadLetterTargetArn" || r.peek() != Some(b'"') {
            return Ok(false);
        }
        target = Some(r.quoted()?.into_owned());
        Ok(true)
    });
    outcome.and_then(|()| reader.finish()).ok()?;
    target.filter(|target| QueueArn::parse(target).is_some())
}

/// Sends a message to the dead-letter queue of its subscription; without one it is dropped. `refused_by`: the queue that
/// did not take it, where it was a queue.
pub fn bury(
    tx: &mut Tx<'_>,
    failures: &Failures,
    subscription: &Subscription,
    undelivered: Undelivered,
    reason: &Reason,
    refused_by: Option<(&str, &str)>,
) {
    let target = subscription.settings.redrive_policy.as_deref().and_then(redrive_target);
    let Some(target) = target.as_deref().and_then(QueueArn::parse) else {
        failures.dropped_after(tx, subscription.endpoint.to_string());
        return;
    };
    // It is the dead-letter queue that refused: nobody is left to take it.
    if refused_by == Some((target.account, target.name)) {
        failures.dropped_after(tx, target.to_string());
        return;
    }
    let Undelivered { topic_arn, account, message_id, published_ms, body, attributes, group, dedup } =
        undelivered;
    let told = [
        ("RequestID", uuid_text(message_id)),
        ("ErrorCode", reason.code.clone()),
        ("ErrorMessage", reason.text.clone()),
    ];
    let mut all: Vec<Attribute> = told
        .into_iter()
        .map(|(name, value)| Attribute {
            name: name.to_owned(),
            data_type: "String".to_owned(),
            value: AttributeValue::Text(value),
        })
        .collect();
    // Those of the message stay as long as the queue takes them together with the reason.
    if attributes.len() + all.len() <= RAW_ATTRIBUTE_COUNT_MAX {
        all.extend(attributes);
    }
    let recipient = Recipient {
        account: target.account.to_owned(),
        queue: target.name.to_owned(),
        subscription: u128::from_be_bytes(subscription.id.0),
        body: None,
        raw: true,
        group,
        dedup: dedup.filter(|_| target.is_fifo()),
    };
    let message = SharedMessage { message_id, published_ms, body, envelope: None, attributes: all };
    let delivery = QueueDelivery { topic_arn, source_account: account, message, recipients: vec![recipient] };
    let shard = tx.place(&queue_place(target.account, target.name));
    tx.emit(shard, QUEUE_DELIVER, &delivery.encode());
}

fn uuid_text(id: u128) -> String {
    crate::model::arn::Uuid(id.to_be_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_names_a_queue() {
        let arn = "arn:aws:sqs:eu-west-1:000000000000:dead";
        let of = |json: &str| redrive_target(json);
        assert_eq!(of(&format!(r#"{{"deadLetterTargetArn":"{arn}","x":[1]}}"#)).as_deref(), Some(arn));
        for json in [
            "",
            "[]",
            "{}",
            r#"{"deadLetterTargetArn":1}"#,
            r#"{"deadLetterTargetArn":"dead"}"#,
            &format!(r#"{{"deadLetterTargetArn":"{arn}"}} x"#),
        ] {
            assert_eq!(of(json), None, "{json}");
        }
    }
}
