//! What a message carries besides its body, as it was sent.
//! Invariant: a message never changes once it was sent; what changes is its state (store/state.rs).
//! Leaves to wire: which of it a receive shows, and the checks of attributes. To store/message.rs: its bytes.

use bytes::Bytes;

/// A message's id: a random UUID (RFC 9562, version 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// An id of two drawn numbers.
    #[must_use]
    pub fn random(high: u64, low: u64) -> MessageId {
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        MessageId((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A message attribute, or a system attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageAttribute {
    /// Its name.
    pub name: Box<str>,
    /// Its type with the custom suffix, as sent.
    pub kind: Box<str>,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeValue {
    /// Of String and Number types.
    Text(Box<str>),
    /// Of Binary types.
    Binary(Bytes),
}

impl MessageAttribute {
    /// What it counts against the size of a message: name, type and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match &self.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        self.name.len() + self.kind.len() + value
    }
}

/// A stored message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its id, which it keeps when it moves to another queue.
    pub id: MessageId,
    /// SentTimestamp.
    pub sent_ms: u64,
    /// From when on its retention counts: the send, or on FIFO queues the move.
    pub kept_from_ms: u64,
    /// SenderId.
    pub sender: Box<str>,
    /// MessageGroupId.
    pub group: Option<Box<str>>,
    /// MessageDeduplicationId, given or made of the body.
    pub deduplication: Option<Box<str>>,
    /// DeadLetterQueueSourceArn.
    pub source_arn: Option<Box<str>>,
    /// Its attributes, in the order in which they were sent.
    pub attributes: Vec<MessageAttribute>,
    /// Its system attributes: AWSTraceHeader.
    pub system: Vec<MessageAttribute>,
    /// Its body.
    pub body: BodyPlace,
}

/// Where a message's body is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyPlace {
    /// In the message's record.
    Inline(Bytes),
    /// In the table of bodies, under the same key; so many bytes.
    Beside(u64),
}

impl BodyPlace {
    /// Bytes of the body.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            BodyPlace::Inline(bytes) => bytes.len() as u64,
            BodyPlace::Beside(length) => *length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_its_version() {
        let id = MessageId::random(u64::MAX, u64::MAX).to_string();
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(MessageId::random(0, 1).to_string(), "00000000-0000-4000-8000-000000000001");
    }
}
