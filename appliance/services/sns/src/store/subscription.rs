//! Subscriptions in the store, beside their topic.
//! Invariant: decoding undoes encoding; the records of one topic stand together, and no other's among them.
//!
//! ```text
//! key    account 12 | name | 0 | subscription 16           account and name are those of the topic
//! value  version 1 | topic u64be | owner | protocol u8 | endpoint | created ms | flags u8 | scope u8
//!        | filter policy | redrive policy | delivery policy   each 0, or 1 and text
//! flags  1 confirmed, 2 by one who was signed in, 4 only its owner may end it, 8 raw
//! ```

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Timestamp};

use super::topic::{ACCOUNT_BYTES, optional, put_optional, topic_key};
use crate::model::arn::Uuid;
use crate::model::subscription::{FilterScope, Protocol, Settings, Subscription};

const VERSION: u8 = 1;
const WHAT: &str = "sns subscription";
const ID_BYTES: usize = 16;

const CONFIRMED: u8 = 1;
const AUTHENTICATED: u8 = 2;
const AUTHENTICATE_ON_UNSUBSCRIBE: u8 = 4;
const RAW: u8 = 8;

/// What the keys of all subscriptions of a topic begin with, and no other's.
#[must_use]
pub fn topic_prefix(account: &str, name: &str) -> Vec<u8> {
    let mut key = topic_key(account, name);
    key.push(0);
    key
}

/// The key of a subscription.
#[must_use]
pub fn subscription_key(account: &str, name: &str, id: Uuid) -> Vec<u8> {
    let mut key = topic_prefix(account, name);
    key.extend_from_slice(&id.0);
    key
}

/// The topic's account and name, and the id, in a key.
pub fn parts_of(key: &[u8]) -> Result<(&str, &str, Uuid), Fault> {
    let parts = || {
        let (front, id) = key.split_at_checked(key.len().checked_sub(ID_BYTES)?)?;
        let (zero, topic) = front.split_last()?;
        let topic = std::str::from_utf8(topic).ok().filter(|_| *zero == 0)?;
        let (account, name) = topic.split_at_checked(ACCOUNT_BYTES)?;
        Some((account, name, Uuid(id.try_into().ok()?)))
    };
    parts().ok_or_else(|| Fault::corrupt(format!("{WHAT} key names none")))
}

/// A subscription as it is stored.
#[must_use]
pub fn encode(subscription: &Subscription) -> Vec<u8> {
    let Subscription { id: _, topic, owner, protocol, endpoint, created, .. } = subscription;
    let settings = &subscription.settings;
    let mut out = FieldWriter::new(VERSION);
    out.raw(&topic.to_be_bytes());
    out.bytes(owner.as_bytes());
    out.byte(match protocol {
        Protocol::Sqs => 1,
        Protocol::Http => 2,
        Protocol::Https => 3,
    });
    out.bytes(endpoint.as_bytes());
    out.number(created.0);
    let flags = [
        (subscription.confirmed, CONFIRMED),
        (subscription.authenticated, AUTHENTICATED),
        (subscription.authenticate_on_unsubscribe, AUTHENTICATE_ON_UNSUBSCRIBE),
        (settings.raw, RAW),
    ];
    out.byte(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
    out.byte(match settings.filter_scope {
        FilterScope::MessageAttributes => 0,
        FilterScope::MessageBody => 1,
    });
    for text in [&settings.filter_policy, &settings.redrive_policy, &settings.delivery_policy] {
        put_optional(&mut out, text.as_deref());
    }
    out.into_bytes()
}

/// The subscription of a key and its value. Errors: `Fault::Corrupt`.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Subscription, Fault> {
    let (_, _, id) = parts_of(key)?;
    let mut r = FieldReader::new(value, VERSION, WHAT)?;
    let topic = u64::from_be_bytes(r.array()?);
    let owner = r.text()?.into();
    let protocol = match r.byte()? {
        1 => Protocol::Sqs,
        2 => Protocol::Http,
        3 => Protocol::Https,
        _ => return Err(r.damaged("has an unknown protocol")),
    };
    let endpoint = r.text()?.into();
    let created = Timestamp(r.number()?);
    let flags = r.byte()?;
    if flags > CONFIRMED | AUTHENTICATED | AUTHENTICATE_ON_UNSUBSCRIBE | RAW {
        return Err(r.damaged("has unknown flags"));
    }
    let filter_scope = match r.byte()? {
        0 => FilterScope::MessageAttributes,
        1 => FilterScope::MessageBody,
        _ => return Err(r.damaged("has an unknown scope")),
    };
    let filter_policy = optional(&mut r)?;
    let redrive_policy = optional(&mut r)?;
    let delivery_policy = optional(&mut r)?;
    if !r.is_empty() {
        return Err(r.damaged("goes on behind its end"));
    }
    let raw = flags & RAW != 0;
    Ok(Subscription {
        id,
        topic,
        owner,
        protocol,
        endpoint,
        created,
        confirmed: flags & CONFIRMED != 0,
        authenticated: flags & AUTHENTICATED != 0,
        authenticate_on_unsubscribe: flags & AUTHENTICATE_ON_UNSUBSCRIBE != 0,
        settings: Settings { raw, filter_policy, filter_scope, redrive_policy, delivery_policy },
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plain_subscription(id: u8) -> Subscription {
        Subscription {
            id: Uuid([id; 16]),
            topic: 7,
            owner: "000000000000".into(),
            protocol: Protocol::Sqs,
            endpoint: "arn:aws:sqs:eu-west-1:000000000000:q".into(),
            created: Timestamp(5),
            confirmed: true,
            authenticated: true,
            authenticate_on_unsubscribe: false,
            settings: Settings::default(),
        }
    }

    #[test]
    fn a_subscription_comes_back_as_it_was_stored() {
        let settings = Settings {
            raw: true,
            filter_policy: Some("{}".into()),
            filter_scope: FilterScope::MessageBody,
            redrive_policy: Some("r".into()),
            delivery_policy: Some("".into()),
        };
        let hook = Subscription {
            protocol: Protocol::Https,
            endpoint: "https://ä.example/".into(),
            confirmed: false,
            authenticated: false,
            authenticate_on_unsubscribe: true,
            settings,
            ..plain_subscription(0)
        };
        for subscription in [plain_subscription(1), hook] {
            let key = subscription_key("000000000000", "t", subscription.id);
            let value = encode(&subscription);
            assert_eq!(decode(&key, &value).expect("decodes"), subscription);
            for length in 0..value.len() {
                assert!(decode(&key, &value[..length]).is_err(), "length {length}");
            }
            assert!(decode(&key, &[&value[..], b"x"].concat()).is_err());
        }
    }

    #[test]
    fn the_bytes_of_the_first_version_stay_readable() {
        let hex = aws::encoding::hex(&encode(&plain_subscription(1)));
        // Data directories in the field hold these.
        assert_eq!(
            hex,
            "0100000000000000070c303030303030303030303030012461726e3a6177733a7371733a65752d776573742d313a\
             3030303030303030303030303a71050300000000"
        );
    }

    #[test]
    fn keys_of_one_topic_stand_apart_from_those_of_another() {
        let id = Uuid([0; 16]);
        let key = subscription_key("000000000000", "a", id);
        assert!(key.starts_with(&topic_prefix("000000000000", "a")));
        assert!(!subscription_key("000000000000", "ab", id).starts_with(&topic_prefix("000000000000", "a")));
        assert_eq!(parts_of(&key).expect("parts"), ("000000000000", "a", id));
        for damaged in [&b""[..], &[0; 16], &[0; 17], &[1; 40], &[0xff; 40]] {
            assert!(parts_of(damaged).is_err());
        }
    }

    #[test]
    fn any_flipped_byte_decodes_to_something_or_is_a_fault() {
        let subscription = plain_subscription(1);
        let key = subscription_key("000000000000", "t", subscription.id);
        let value = encode(&subscription);
        let mut refused = 0;
        for place in 0..value.len() {
            for change in 1..=u8::MAX {
                let mut damaged = value.clone();
                damaged[place] ^= change;
                refused += u32::from(decode(&key, &damaged).is_err());
            }
        }
        assert!(refused > 1_000, "only {refused} were refused");
    }
}
