//! What queues refused of a delivery, on its way back to the topic.
//! Invariant: decoding undoes encoding; each recipient of the delivery has its refusal, in the same order.
//! Leaves to services: what is done with the message.
//!
//! ```text
//! DELIVERY_RESULT payload = version u8 (1) | count number | (code text | text text)* | QUEUE_DELIVER payload bytes
//! ```

use store::Fault;
use store::fields::{FieldReader, FieldWriter};

use crate::delivery::QueueDelivery;

/// A delivery of which nobody took anything: its recipients are those that refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedDelivery {
    /// Why, for each recipient.
    pub refusals: Vec<Refusal>,
    /// The delivery with the recipients that refused it.
    pub delivery: QueueDelivery,
}

/// Why a queue did not take a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// A word for programs, such as `AccessDenied`.
    pub code: String,
    /// A sentence for people.
    pub text: String,
}

const VERSION: u8 = 1;

impl RefusedDelivery {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.number(self.refusals.len() as u64);
        for refusal in &self.refusals {
            out.bytes(refusal.code.as_bytes());
            out.bytes(refusal.text.as_bytes());
        }
        out.bytes(&self.delivery.encode());
        out.into_bytes()
    }

    /// Reads a payload. Errors: `Fault::Corrupt`.
    pub fn decode(payload: &[u8]) -> Result<RefusedDelivery, Fault> {
        let mut reader = FieldReader::new(payload, VERSION, "refused delivery")?;
        let mut refusals = Vec::new();
        for _ in 0..reader.count()? {
            refusals.push(Refusal { code: reader.text()?.to_owned(), text: reader.text()?.to_owned() });
        }
        let delivery = QueueDelivery::decode(reader.bytes()?)?;
        if !reader.is_empty() || delivery.recipients.len() != refusals.len() {
            return Err(reader.damaged("does not say for each recipient why"));
        }
        Ok(RefusedDelivery { refusals, delivery })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::delivery::{Recipient, SharedMessage};

    fn sample() -> RefusedDelivery {
        let recipient = Recipient {
            account: "000000000000".into(),
            queue: "q".into(),
            subscription: 7,
            body: None,
            raw: true,
            group: None,
            dedup: None,
        };
        let message = SharedMessage {
            message_id: 1,
            published_ms: 2,
            body: Bytes::from_static(b"text"),
            envelope: None,
            attributes: Vec::new(),
        };
        let delivery = QueueDelivery {
            topic_arn: "arn:aws:sns:us-east-1:000000000000:t".into(),
            source_account: "000000000000".into(),
            message,
            recipients: vec![recipient],
        };
        RefusedDelivery {
            refusals: vec![Refusal { code: "AccessDenied".into(), text: "no".into() }],
            delivery,
        }
    }

    #[test]
    fn a_refused_delivery_round_trips_and_its_truncations_are_faults() {
        let refused = sample();
        let bytes = refused.encode();
        assert_eq!(RefusedDelivery::decode(&bytes).expect("decodes"), refused);
        for length in 0..bytes.len() {
            assert!(RefusedDelivery::decode(&bytes[..length]).is_err(), "length {length}");
        }
        assert!(RefusedDelivery::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_recipient_without_its_refusal_is_a_fault() {
        let refused = RefusedDelivery { refusals: Vec::new(), ..sample() };
        assert!(RefusedDelivery::decode(&refused.encode()).is_err());
    }
}
