//! Which attributes a receive shows: of the message's own, and of those that the service gives it.
//!
//! Invariant: nothing is shown that was not asked for; a name that means nothing to the service is refused, one that no
//! message has is not.
//! Leaves to md5.rs: the digest over what is shown.

use super::error::Error;
use crate::model::message::{AttributeValue, Message, MessageAttribute};

/// The attributes that the service gives a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum System {
    /// Who sent it.
    SenderId,
    /// When it was sent, in milliseconds.
    SentTimestamp,
    /// How often it was received.
    ApproximateReceiveCount,
    /// When it was received first, in milliseconds.
    ApproximateFirstReceiveTimestamp,
    /// FIFO: its place.
    SequenceNumber,
    /// FIFO: by what its repetitions are known.
    MessageDeduplicationId,
    /// Its group.
    MessageGroupId,
    /// The trace that it belongs to.
    AwsTraceHeader,
    /// The queue that it is a dead letter of.
    DeadLetterQueueSourceArn,
}

impl System {
    /// Every one with its name.
    pub const ALL: [(&'static str, System); 9] = [
        ("SenderId", System::SenderId),
        ("SentTimestamp", System::SentTimestamp),
        ("ApproximateReceiveCount", System::ApproximateReceiveCount),
        ("ApproximateFirstReceiveTimestamp", System::ApproximateFirstReceiveTimestamp),
        ("SequenceNumber", System::SequenceNumber),
        ("MessageDeduplicationId", System::MessageDeduplicationId),
        ("MessageGroupId", System::MessageGroupId),
        ("AWSTraceHeader", System::AwsTraceHeader),
        ("DeadLetterQueueSourceArn", System::DeadLetterQueueSourceArn),
    ];
}

/// The system attributes that a receive asks for: one bit for each, in the order of `System::ALL`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SystemNames(u16);

impl SystemNames {
    /// Reads the names. Errors: `InvalidAttributeName`.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Result<SystemNames, Error> {
        let mut wanted = SystemNames::default();
        for name in names {
            let name = name.as_ref();
            if name == "All" {
                wanted = SystemNames((1 << System::ALL.len()) - 1);
                continue;
            }
            let index = System::ALL.iter().position(|(known, _)| *known == name);
            wanted.0 |= 1 << index.ok_or_else(|| Error::unknown_attribute(name))?;
        }
        Ok(wanted)
    }

    /// Whether any is asked for.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What of a received message is shown, in the order of `System::ALL`.
    #[must_use]
    pub fn of(self, received: &Shown<'_>) -> Vec<(&'static str, String)> {
        let wanted = System::ALL.iter().enumerate().filter(|(index, _)| self.0 & (1 << index) != 0);
        wanted.filter_map(|(_, (name, system))| Some((*name, received.value(*system)?))).collect()
    }
}

/// A message as one receive shows it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'m> {
    /// The message.
    pub message: &'m Message,
    /// Its place, of a FIFO queue.
    pub sequence: Option<crate::model::queue::Sequence>,
    /// How often it was received.
    pub receive_count: u32,
    /// When it was received first.
    pub first_receive_ms: u64,
}

impl Shown<'_> {
    fn value(&self, system: System) -> Option<String> {
        let message = self.message;
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        match system {
            System::SenderId => Some(message.sender.to_string()),
            System::SentTimestamp => Some(message.sent_ms.to_string()),
            System::ApproximateReceiveCount => Some(self.receive_count.to_string()),
            System::ApproximateFirstReceiveTimestamp => Some(self.first_receive_ms.to_string()),
            System::SequenceNumber => self.sequence.map(|sequence| sequence.to_string()),
            System::MessageDeduplicationId => text(&message.deduplication),
            System::MessageGroupId => text(&message.group),
            System::AwsTraceHeader => message.system.first().and_then(|attribute| match &attribute.value {
                AttributeValue::Text(text) => Some(text.to_string()),
                AttributeValue::Binary(_) => None,
            }),
            System::DeadLetterQueueSourceArn => text(&message.source_arn),
        }
    }
}

/// The attributes of its own of which a message shows those that are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    all: bool,
    exact: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
}

impl Names {
    /// Reads the names: `All` and `.*` mean every one, `prefix.*` those that begin with `prefix`.
    #[must_use]
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Names {
        let mut wanted = Names::default();
        for name in names {
            match name.as_ref() {
                "All" | ".*" => wanted.all = true,
                name => match name.strip_suffix(".*") {
                    Some(prefix) => wanted.prefixes.push(prefix.into()),
                    None => wanted.exact.push(name.into()),
                },
            }
        }
        wanted
    }

    /// The attributes of a message that are shown.
    pub fn of<'m>(&self, message: &'m Message) -> impl Iterator<Item = &'m MessageAttribute> + Clone {
        message.attributes.iter().filter(move |attribute| {
            let name = &*attribute.name;
            self.all
                || self.exact.iter().any(|exact| **exact == *name)
                || self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::message::{BodyPlace, MessageId};
    use crate::model::queue::Sequence;

    fn message() -> Message {
        let attribute = |name: &str, text: &str| MessageAttribute {
            name: name.into(),
            kind: "String".into(),
            value: AttributeValue::Text(text.into()),
        };
        Message {
            id: MessageId([0; 16]),
            sent_ms: 1_700_000_000_123,
            kept_from_ms: 0,
            sender: "AIDA".into(),
            group: Some("g".into()),
            deduplication: None,
            source_arn: None,
            attributes: vec![attribute("a.one", "1"), attribute("a.two", "2"), attribute("b", "3")],
            system: vec![attribute("AWSTraceHeader", "Root=1")],
            body: BodyPlace::Inline(Bytes::from_static(b"x")),
        }
    }

    #[test]
    fn a_receive_shows_the_system_attributes_that_it_asks_for() {
        let message = message();
        let shown = Shown {
            message: &message,
            sequence: Some(Sequence(5)),
            receive_count: 2,
            first_receive_ms: 1_700_000_000_200,
        };
        let of = |names: &[&str]| SystemNames::parse(names).expect("known").of(&shown);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&["SentTimestamp"]), [("SentTimestamp", "1700000000123".to_owned())]);
        let names: Vec<&str> = of(&["SenderId", "All"]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "SenderId",
                "SentTimestamp",
                "ApproximateReceiveCount",
                "ApproximateFirstReceiveTimestamp",
                "SequenceNumber",
                "MessageGroupId",
                "AWSTraceHeader"
            ]
        );
        let all = of(&["All"]);
        assert_eq!(all[4], ("SequenceNumber", "00000000000000000005".to_owned()));
        assert_eq!(all[6], ("AWSTraceHeader", "Root=1".to_owned()));
        assert_eq!(SystemNames::parse(&["Foo"]).expect_err("refused").message, "Unknown Attribute Foo.");
    }

    #[test]
    fn names_prefixes_and_all_select_attributes() {
        let message = message();
        let of = |names: &[&str]| {
            let names = Names::parse(names);
            names.of(&message).map(|attribute| attribute.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), Vec::<String>::new());
        assert_eq!(of(&["All"]), ["a.one", "a.two", "b"]);
        assert_eq!(of(&[".*"]), ["a.one", "a.two", "b"]);
        assert_eq!(of(&["a.*"]), ["a.one", "a.two"]);
        assert_eq!(of(&["b", "nothing", "A.*"]), ["b"]);
    }
}
