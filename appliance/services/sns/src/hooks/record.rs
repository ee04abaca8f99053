//! Deliveries to web hooks in the store, on the shard of their topic.
//! Invariant: a message is kept as long as a delivery of it is, which its count says; a delivery that is due stands in front of those of its
//! subscription that are due later. Decoding undoes encoding.
//!
//! ```text
//! 83 DELIVERIES  subscription 16 | due ms u64be | sequence u128be
//!                -> version 1 | account text | topic text | message u128 | failures number
//! 88 MESSAGES    message u128be
//!                -> version 1 | kind u8 | message id 16 | head bytes | has tail u8 | tail bytes
//! 89 HOLDS       message u128be -> version 1 | count number         its deliveries that are not over
//! ```
//! Where a message has a tail, the subscription's id stands between head and tail.

use bytes::Bytes;
use store::fields::{FieldReader, FieldWriter};
use store::{Fault, TableId, Timestamp};

use crate::model::arn::Uuid;

/// Messages on their way to web hooks, by subscription and time.
pub(super) const DELIVERIES: TableId = TableId(83);
/// What is delivered, once for all its recipients.
pub(super) const MESSAGES: TableId = TableId(88);
/// How many still have to get a message.
pub(super) const HOLDS: TableId = TableId(89);

const VERSION: u8 = 1;
const ID_BYTES: usize = 16;

/// What kind of message it is: the header `x-amz-sns-message-type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A published message in its envelope.
    Notification,
    /// A published message alone.
    RawNotification,
    /// Asks the recipient to confirm.
    SubscriptionConfirmation,
    /// Tells the recipient that its subscription has ended.
    UnsubscribeConfirmation,
}

impl Kind {
    /// As the header spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Notification | Kind::RawNotification => "Notification",
            Kind::SubscriptionConfirmation => "SubscriptionConfirmation",
            Kind::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }

    /// Whether it is for confirmed subscriptions only.
    pub(super) fn is_notification(self) -> bool {
        matches!(self, Kind::Notification | Kind::RawNotification)
    }

    fn code(self) -> u8 {
        match self {
            Kind::Notification => 0,
            Kind::RawNotification => 1,
            Kind::SubscriptionConfirmation => 2,
            Kind::UnsubscribeConfirmation => 3,
        }
    }
}

/// A message for web hooks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookMessage {
    /// What kind it is.
    pub kind: Kind,
    /// The message's id.
    pub message: Uuid,
    /// The body, or what of it stands in front of the subscription's id.
    pub head: Bytes,
    /// What stands behind the subscription's id, if the body names that.
    pub tail: Option<Bytes>,
}

impl HookMessage {
    /// The body for one subscription.
    #[must_use]
    pub fn body(&self, subscription: Uuid) -> Bytes {
        match &self.tail {
            None => self.head.clone(),
            Some(tail) => [&self.head[..], subscription.to_string().as_bytes(), tail].concat().into(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.byte(self.kind.code());
        out.raw(&self.message.0);
        out.bytes(&self.head);
        out.byte(u8::from(self.tail.is_some()));
        out.bytes(self.tail.as_deref().unwrap_or_default());
        out.into_bytes()
    }

    pub(super) fn decode(value: &[u8]) -> Result<HookMessage, Fault> {
        let mut r = FieldReader::new(value, VERSION, "sns message for web hooks")?;
        let kinds = [
            Kind::Notification,
            Kind::RawNotification,
            Kind::SubscriptionConfirmation,
            Kind::UnsubscribeConfirmation,
        ];
        let code = r.byte()?;
        let kind = kinds.into_iter().find(|kind| kind.code() == code);
        let kind = kind.ok_or_else(|| r.damaged("has an unknown kind"))?;
        let message = Uuid(r.array()?);
        let head = Bytes::copy_from_slice(r.bytes()?);
        let has_tail = r.byte()? != 0;
        let tail = Bytes::copy_from_slice(r.bytes()?);
        if !r.is_empty() {
            return Err(r.damaged("goes on behind its end"));
        }
        Ok(HookMessage { kind, message, head, tail: has_tail.then_some(tail) })
    }
}

/// Where a delivery stands in its table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Place {
    pub(super) subscription: Uuid,
    pub(super) due: Timestamp,
    pub(super) sequence: u128,
}

impl Place {
    pub(super) fn key(&self) -> Vec<u8> {
        [&self.subscription.0[..], &self.due.0.to_be_bytes(), &self.sequence.to_be_bytes()].concat()
    }

    pub(super) fn of(key: &[u8]) -> Result<Place, Fault> {
        let parts = || {
            let (subscription, rest) = key.split_first_chunk::<ID_BYTES>()?;
            let (due, sequence) = rest.split_first_chunk::<8>()?;
            Some(Place {
                subscription: Uuid(*subscription),
                due: Timestamp(u64::from_be_bytes(*due)),
                sequence: u128::from_be_bytes(sequence.try_into().ok()?),
            })
        };
        parts().ok_or_else(|| Fault::corrupt("the key of an sns delivery names none".into()))
    }
}

/// A delivery that is not over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Delivery {
    pub(super) account: Box<str>,
    pub(super) topic: Box<str>,
    pub(super) message: u128,
    /// Tries that have failed.
    pub(super) failures: u32,
}

impl Delivery {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::new(VERSION);
        out.bytes(self.account.as_bytes());
        out.bytes(self.topic.as_bytes());
        out.fixed(self.message);
        out.number(u64::from(self.failures));
        out.into_bytes()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Delivery, Fault> {
        let mut r = FieldReader::new(value, VERSION, "sns delivery")?;
        let account = r.text()?.into();
        let topic = r.text()?.into();
        let message = r.fixed()?;
        let failures = u32::try_from(r.number()?).unwrap_or(u32::MAX);
        if !r.is_empty() {
            return Err(r.damaged("goes on behind its end"));
        }
        Ok(Delivery { account, topic, message, failures })
    }
}

pub(super) fn message_key(message: u128) -> [u8; ID_BYTES] {
    message.to_be_bytes()
}

/// The value of `HOLDS`.
pub(super) fn encode_count(count: u64) -> Vec<u8> {
    let mut out = FieldWriter::new(VERSION);
    out.number(count);
    out.into_bytes()
}

pub(super) fn decode_count(value: &[u8]) -> Result<u64, Fault> {
    FieldReader::new(value, VERSION, "sns count of deliveries")?.number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_deliveries_come_back_as_they_were_stored() {
        let plain = HookMessage {
            kind: Kind::SubscriptionConfirmation,
            message: Uuid([7; 16]),
            head: Bytes::from_static(b"{}"),
            tail: None,
        };
        let cut = HookMessage { kind: Kind::Notification, tail: Some(Bytes::new()), ..plain.clone() };
        for message in [plain, cut] {
            let value = message.encode();
            assert_eq!(HookMessage::decode(&value).expect("decodes"), message);
            for length in 0..value.len() {
                assert!(HookMessage::decode(&value[..length]).is_err(), "length {length}");
            }
        }
        let delivery =
            Delivery { account: "000000000000".into(), topic: "t".into(), message: 1 << 70, failures: 3 };
        let value = delivery.encode();
        assert_eq!(Delivery::decode(&value).expect("decodes"), delivery);
        for length in 0..value.len() {
            assert!(Delivery::decode(&value[..length]).is_err(), "length {length}");
        }
        let place = Place { subscription: Uuid([1; 16]), due: Timestamp(5), sequence: 9 };
        assert_eq!(Place::of(&place.key()).expect("a place"), place);
        assert!(Place::of(&place.key()[1..]).is_err());
    }

    #[test]
    fn the_bytes_of_the_first_version_stay_readable() {
        // Data directories in the field hold these.
        let value = aws::encoding::unhex::<22>(b"01013001740000000000000000000000000000000902").expect("hex");
        let delivery = Delivery { account: "0".into(), topic: "t".into(), message: 9, failures: 2 };
        assert_eq!(Delivery::decode(&value).expect("decodes"), delivery);
        assert_eq!(delivery.encode(), value);
    }

    #[test]
    fn a_body_names_its_subscription_where_it_is_cut() {
        let message = HookMessage {
            kind: Kind::Notification,
            message: Uuid::default(),
            head: Bytes::from_static(b"<"),
            tail: Some(Bytes::from_static(b">")),
        };
        assert_eq!(message.body(Uuid([0; 16])), &b"<00000000-0000-0000-0000-000000000000>"[..]);
        assert_eq!(HookMessage { tail: None, ..message }.body(Uuid([0; 16])), &b"<"[..]);
    }
}
