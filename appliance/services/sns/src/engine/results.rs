//! What comes back from queues that refused a message: to the subscription's dead-letter queue, or dropped and counted.
//! Invariant: it runs on the topic's shard, where the subscription is; a subscription that ended meanwhile has no
//! dead-letter queue any more, and its message is dropped.

use bytes::Bytes;
use plan::delivery::{DELIVERY_RESULT, QueueDelivery};
use plan::refused::RefusedDelivery;
use store::{Fault, Receiver, Tx};

use super::dead_letter::{Reason, Undelivered, bury};
use super::topics::compiled;
use crate::failures::Failures;
use crate::model::arn::TopicArn;
use crate::store::topic::topic_key;

/// What one operation may emit beside what it leaves to the next: both together are less than a batch takes.
const OPERATION_BYTES_MAX: usize = 1024 * 1024;

/// Takes `DELIVERY_RESULT`.
pub struct Results {
    /// Where dropped messages are counted.
    pub failures: Failures,
}

impl Receiver for Results {
    fn receive(&self, tx: &mut Tx<'_>, payload: &[u8]) -> Result<(), Fault> {
        let RefusedDelivery { refusals, delivery } = RefusedDelivery::decode(payload)?;
        let topic = TopicArn::parse(&delivery.topic_arn)
            .ok_or_else(|| Fault::corrupt("a refused delivery names no topic".into()))?;
        let compiled = compiled(tx, &topic_key(topic.account, topic.name))?;
        let mut spent_bytes = 0;
        for (place, (recipient, refusal)) in delivery.recipients.iter().zip(&refusals).enumerate() {
            let found = compiled.as_ref().and_then(|compiled| {
                let id = recipient.subscription.to_be_bytes();
                compiled.subscriptions.iter().find(|known| known.subscription.id.0 == id)
            });
            let body = delivery.body_for(recipient);
            spent_bytes += body.as_ref().map_or(0, Bytes::len) + delivery.message.body.len();
            if place > 0 && spent_bytes > OPERATION_BYTES_MAX {
                let rest = RefusedDelivery {
                    refusals: refusals[place..].to_vec(),
                    delivery: QueueDelivery {
                        recipients: delivery.recipients[place..].to_vec(),
                        ..delivery.clone()
                    },
                };
                tx.emit(tx.shard(), DELIVERY_RESULT, &rest.encode());
                return Ok(());
            }
            let (Some(found), Some(body)) = (found, body) else {
                self.failures.dropped_after(tx, format!("{}/{}", recipient.account, recipient.queue));
                continue;
            };
            let undelivered = Undelivered {
                topic_arn: delivery.topic_arn.clone(),
                account: delivery.source_account.clone(),
                message_id: delivery.message.message_id,
                published_ms: delivery.message.published_ms,
                body,
                attributes: if recipient.raw { delivery.message.attributes.clone() } else { Vec::new() },
                group: recipient.group.clone(),
                dedup: recipient.dedup.clone(),
            };
            let reason = Reason { code: refusal.code.clone(), text: refusal.text.clone() };
            let refused_by = Some((recipient.account.as_str(), recipient.queue.as_str()));
            bury(tx, &self.failures, &found.subscription, undelivered, &reason, refused_by);
        }
        Ok(())
    }
}
