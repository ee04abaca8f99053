//! Topics in the store.
//! Invariant: decoding undoes encoding; the first 17 bytes change with every change of the topic or of its subscriptions,
//! so that what was derived from them is known to be current by these bytes alone.
//!
//! ```text
//! key    account 12 | name
//! value  version 1 | number u64be | generation u64be | created ms | confirmed | pending | deleted | enveloped | filtered
//!        | settings: count, each code u8 and text | tags: count, each key and value | data protection: 0, or 1 and text
//! ```

use std::collections::BTreeMap;

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Timestamp};

use crate::model::topic::{Counts, Setting, Tags, Topic};

/// The length of an account's digits.
pub const ACCOUNT_BYTES: usize = 12;
/// Bytes of a value that say which topic it is and which state of it.
pub const STAMP_BYTES: usize = 17;

/// Which state of which topic something was derived from.
pub type Stamp = [u8; STAMP_BYTES];

const VERSION: u8 = 1;
const WHAT: &str = "sns topic";

/// The key of a topic.
#[must_use]
pub fn topic_key(account: &str, name: &str) -> Vec<u8> {
    [account.as_bytes(), name.as_bytes()].concat()
}

/// The account and the name in a key.
pub fn names_of(key: &[u8]) -> Result<(&str, &str), Fault> {
    let text = std::str::from_utf8(key).ok().and_then(|text| text.split_at_checked(ACCOUNT_BYTES));
    text.ok_or_else(|| Fault::corrupt(format!("{WHAT} key names no topic")))
}

/// The stamp of a stored topic.
pub fn stamp(value: &[u8]) -> Result<Stamp, Fault> {
    let stamp = value.first_chunk().filter(|stamp| stamp[0] == VERSION);
    stamp.copied().ok_or_else(|| Fault::corrupt(format!("{WHAT} record has no stamp")))
}

/// A topic as it is stored.
#[must_use]
pub fn encode(topic: &Topic) -> Vec<u8> {
    let mut out = FieldWriter::new(VERSION);
    out.raw(&topic.number.to_be_bytes());
    out.raw(&topic.generation.to_be_bytes());
    out.number(topic.created.0);
    let Counts { confirmed, pending, deleted, enveloped, filtered } = topic.counts;
    for count in [confirmed, pending, deleted, enveloped, filtered] {
        out.number(count);
    }
    out.number(topic.settings.len() as u64);
    for (setting, value) in &topic.settings {
        out.byte(*setting as u8);
        out.bytes(value.as_bytes());
    }
    out.number(topic.tags.len() as u64);
    for (key, value) in &topic.tags {
        out.bytes(key.as_bytes());
        out.bytes(value.as_bytes());
    }
    put_optional(&mut out, topic.data_protection.as_deref());
    out.into_bytes()
}

/// The topic of a key and its value. Errors: `Fault::Corrupt`.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Topic, Fault> {
    let (account, name) = names_of(key)?;
    let mut r = FieldReader::new(value, VERSION, WHAT)?;
    let number = u64::from_be_bytes(r.array()?);
    let generation = u64::from_be_bytes(r.array()?);
    let created = Timestamp(r.number()?);
    let counts = Counts {
        confirmed: r.number()?,
        pending: r.number()?,
        deleted: r.number()?,
        enveloped: r.number()?,
        filtered: r.number()?,
    };
    let mut settings = BTreeMap::new();
    for _ in 0..r.count()? {
        let setting = Setting::of_code(r.byte()?).ok_or_else(|| r.damaged("has an unknown setting"))?;
        settings.insert(setting, r.text()?.into());
    }
    let mut tags = Tags::new();
    for _ in 0..r.count()? {
        let key = r.text()?.into();
        tags.insert(key, r.text()?.into());
    }
    let data_protection = optional(&mut r)?;
    if !r.is_empty() {
        return Err(r.damaged("goes on behind its end"));
    }
    let (account, name) = (account.into(), name.into());
    Ok(Topic { number, generation, account, name, created, settings, tags, data_protection, counts })
}

/// Text that may be absent.
pub(super) fn put_optional(out: &mut FieldWriter, text: Option<&str>) {
    out.byte(u8::from(text.is_some()));
    if let Some(text) = text {
        out.bytes(text.as_bytes());
    }
}

/// Text that may be absent.
pub(super) fn optional(r: &mut FieldReader<'_>) -> Result<Option<Box<str>>, Fault> {
    match r.byte()? {
        0 => Ok(None),
        1 => Ok(Some(r.text()?.into())),
        _ => Err(r.damaged("has a mark that is neither 0 nor 1")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plain_topic(name: &str) -> Topic {
        Topic {
            number: 0x0102_0304_0506_0708,
            generation: 9,
            account: "000000000000".into(),
            name: name.into(),
            created: Timestamp(1_700_000_000_000),
            settings: BTreeMap::new(),
            tags: Tags::new(),
            data_protection: None,
            counts: Counts::default(),
        }
    }

    fn full_topic() -> Topic {
        let mut topic = plain_topic("orders.fifo");
        topic.settings.insert(Setting::FifoTopic, "true".into());
        topic.settings.insert(Setting::Policy, "{\"ä\":1}".into());
        topic.tags.insert("k".into(), "".into());
        topic.data_protection = Some("{}".into());
        topic.counts = Counts { confirmed: 1, pending: 300, deleted: u64::MAX, enveloped: 4, filtered: 5 };
        topic
    }

    #[test]
    fn a_topic_comes_back_as_it_was_stored() {
        for topic in [plain_topic("orders"), full_topic()] {
            let (key, value) = (topic_key(&topic.account, &topic.name), encode(&topic));
            assert_eq!(decode(&key, &value).expect("decodes"), topic);
            for length in 0..value.len() {
                assert!(decode(&key, &value[..length]).is_err(), "length {length}");
            }
            assert!(decode(&key, &[&value[..], b"x"].concat()).is_err());
            assert!(decode(b"short", &value).is_err());
        }
    }

    #[test]
    fn the_bytes_of_the_first_version_stay_readable() {
        // Data directories in the field hold these.
        let hex = "010102030405060708000000000000000980d095ffbc310000000000000000";
        assert_eq!(aws::encoding::hex(&encode(&plain_topic("orders"))), hex);
    }

    #[test]
    fn a_stamp_differs_by_topic_and_by_generation() {
        let topic = plain_topic("t");
        let stamp_of = |topic: &Topic| stamp(&encode(topic)).expect("a stamp");
        assert_ne!(stamp_of(&topic), stamp_of(&Topic { generation: 10, ..topic.clone() }));
        assert_ne!(stamp_of(&topic), stamp_of(&Topic { number: 10, ..topic.clone() }));
        assert_eq!(stamp_of(&topic), stamp_of(&Topic { tags: full_topic().tags, ..topic.clone() }));
        assert!(stamp(b"").is_err() && stamp(&[2; 40]).is_err());
    }

    #[test]
    fn any_flipped_byte_decodes_to_something_or_is_a_fault() {
        let topic = full_topic();
        let (key, value) = (topic_key(&topic.account, &topic.name), encode(&topic));
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
