//! The texts over which signatures are made.
//! Invariant: names and values in the order that recipients rebuild, each on a line of its own, the last one too.
//! Source: Amazon SNS developer guide, "Verifying the signatures of Amazon SNS messages".

/// What is signed of a notification.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// The message as the recipient gets it.
    pub message: &'a str,
    /// Its id.
    pub message_id: &'a str,
    /// Its subject, if it has one.
    pub subject: Option<&'a str>,
    /// When it was published, as the envelope spells it.
    pub timestamp: &'a str,
    /// The topic.
    pub topic_arn: &'a str,
}

/// What is signed of a SubscriptionConfirmation or an UnsubscribeConfirmation.
#[derive(Clone, Copy, Debug)]
pub struct Confirmation<'a> {
    /// `SubscriptionConfirmation` or `UnsubscribeConfirmation`.
    pub kind: &'a str,
    /// The text for people.
    pub message: &'a str,
    /// Its id.
    pub message_id: &'a str,
    /// The address that confirms.
    pub subscribe_url: &'a str,
    /// When it was made, as the envelope spells it.
    pub timestamp: &'a str,
    /// The token that confirms.
    pub token: &'a str,
    /// The topic.
    pub topic_arn: &'a str,
}

impl Notification<'_> {
    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        let mut pairs = vec![("Message", self.message), ("MessageId", self.message_id)];
        pairs.extend(self.subject.map(|subject| ("Subject", subject)));
        pairs.extend([("Timestamp", self.timestamp), ("TopicArn", self.topic_arn), ("Type", "Notification")]);
        lines(&pairs)
    }
}

impl Confirmation<'_> {
    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        lines(&[
            ("Message", self.message),
            ("MessageId", self.message_id),
            ("SubscribeURL", self.subscribe_url),
            ("Timestamp", self.timestamp),
            ("Token", self.token),
            ("TopicArn", self.topic_arn),
            ("Type", self.kind),
        ])
    }
}

fn lines(pairs: &[(&str, &str)]) -> String {
    let mut text =
        String::with_capacity(pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
    for (name, value) in pairs {
        for part in [*name, "\n", *value, "\n"] {
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_stand_on_lines_in_the_order_of_the_guide() {
        let mut notification = Notification {
            message: "a\nb",
            message_id: "id",
            subject: Some("s"),
            timestamp: "2026-01-31T12:00:00.000Z",
            topic_arn: "arn",
        };
        assert_eq!(
            notification.text(),
            "Message\na\nb\nMessageId\nid\nSubject\ns\nTimestamp\n2026-01-31T12:00:00.000Z\nTopicArn\narn\nType\nNotification\n"
        );
        notification.subject = None;
        assert!(!notification.text().contains("Subject"));
        let confirmation = Confirmation {
            kind: "SubscriptionConfirmation",
            message: "m",
            message_id: "id",
            subscribe_url: "http://x/",
            timestamp: "t",
            token: "tok",
            topic_arn: "arn",
        };
        assert_eq!(
            confirmation.text(),
            "Message\nm\nMessageId\nid\nSubscribeURL\nhttp://x/\nTimestamp\nt\nToken\ntok\nTopicArn\narn\nType\nSubscriptionConfirmation\n"
        );
    }
}
