//! A subscription: where messages of a topic go, and in which form.
//! Invariant: one that is not confirmed gets nothing; a queue's is confirmed from the start.

use store::Timestamp;

use super::arn::{QueueArn, Uuid};
pub use crate::filter::Scope as FilterScope;

/// How a recipient is reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// A queue.
    Sqs,
    /// A web hook in clear.
    Http,
    /// A web hook over TLS.
    Https,
}

impl Protocol {
    /// Every one that is built.
    pub const ALL: [Protocol; 3] = [Protocol::Sqs, Protocol::Http, Protocol::Https];

    /// As requests spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Sqs => "sqs",
            Protocol::Http => "http",
            Protocol::Https => "https",
        }
    }

    /// The protocol of this spelling, if it is built.
    #[must_use]
    pub fn parse(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// A subscription of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Which of the topic's.
    pub id: Uuid,
    /// The number of the topic; a topic that was made anew under the name has another, and none of these subscriptions.
    pub topic: u64,
    /// The account that subscribed.
    pub owner: Box<str>,
    /// How the recipient is reached.
    pub protocol: Protocol,
    /// The ARN of a queue or the URL of a web hook.
    pub endpoint: Box<str>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it was confirmed.
    pub confirmed: bool,
    /// Whether who confirmed it was signed in.
    pub authenticated: bool,
    /// Whether only its owner and the topic's may end it.
    pub authenticate_on_unsubscribe: bool,
    /// What its owner set.
    pub settings: Settings,
}

/// What the owner of a subscription may set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Whether the recipient gets the text alone, without the envelope.
    pub raw: bool,
    /// The filter policy, as it was set. None: everything passes.
    pub filter_policy: Option<Box<str>>,
    /// What the filter policy looks at.
    pub filter_scope: FilterScope,
    /// The redrive policy, as it was set: the queue that gets what cannot be delivered.
    pub redrive_policy: Option<Box<str>>,
    /// The delivery policy of a web hook, as it was set.
    pub delivery_policy: Option<Box<str>>,
}

impl Subscription {
    /// The queue that it goes to; None for a web hook.
    #[must_use]
    pub fn queue(&self) -> Option<QueueArn<'_>> {
        match self.protocol {
            Protocol::Sqs => QueueArn::parse(&self.endpoint),
            Protocol::Http | Protocol::Https => None,
        }
    }

    /// Whether its recipient gets the envelope, which is signed.
    #[must_use]
    pub fn is_enveloped(&self) -> bool {
        self.confirmed && !self.settings.raw
    }
}
