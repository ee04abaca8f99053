//! The JSON in which recipients without raw delivery get a message.
//! Invariant: the one thing that differs between the recipients of a text is the id of the subscription, where it is cut.
//! Source: SNS developer guide, "HTTP/HTTPS notification JSON format"; the order of members and the white space are AWS's.

use aws::json::Writer;
use plan::delivery::Envelope;
use store::Timestamp;

use crate::model::arn::{TopicArn, Uuid};
use crate::model::message::{AttributeValue, MessageAttribute};

/// What stands in an envelope.
pub struct Notification<'a> {
    /// The topic.
    pub topic: TopicArn<'a>,
    /// The message's id.
    pub message: Uuid,
    /// Its place in the order of the topic, if that keeps one.
    pub sequence: Option<u64>,
    /// Its subject.
    pub subject: Option<&'a str>,
    /// Its text for these recipients.
    pub text: &'a str,
    /// Its attributes.
    pub attributes: &'a [MessageAttribute],
    /// When it was published.
    pub published: Timestamp,
    /// Which signature it is: 1 or 2.
    pub signature_version: &'a str,
    /// The signature in base64.
    pub signature: &'a str,
    /// Where the certificate is that proves it.
    pub certificate_url: &'a str,
    /// Where clients find this appliance: scheme and authority.
    pub base_url: &'a str,
}

impl Notification<'_> {
    /// The envelope, cut where the id of the subscription belongs.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        let mut head = Vec::with_capacity(self.text.len() + HEAD_BYTES);
        head.extend_from_slice(b"{\n  \"Type\" : \"Notification\"");
        member(&mut head, "MessageId", &self.message.to_string());
        if let Some(sequence) = self.sequence {
            member(&mut head, "SequenceNumber", &sequence_text(sequence));
        }
        member(&mut head, "TopicArn", &self.topic.to_string());
        if let Some(subject) = self.subject {
            member(&mut head, "Subject", subject);
        }
        member(&mut head, "Message", self.text);
        member(&mut head, "Timestamp", &timestamp_text(self.published));
        member(&mut head, "SignatureVersion", self.signature_version);
        member(&mut head, "Signature", self.signature);
        member(&mut head, "SigningCertURL", self.certificate_url);
        member(&mut head, "UnsubscribeURL", &unsubscribe_url(self.base_url, self.topic));
        // The id goes on where the URL breaks off.
        head.pop();
        let mut tail = b"\"".to_vec();
        self.write_attributes(&mut tail);
        tail.extend_from_slice(b"\n}");
        Envelope { head: head.into(), tail: tail.into() }
    }

    fn write_attributes(&self, out: &mut Vec<u8>) {
        if self.attributes.is_empty() {
            return;
        }
        out.extend_from_slice(b",\n  \"MessageAttributes\" : {");
        for (number, attribute) in self.attributes.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"\n    " } else { b",\n    " });
            quote(out, &attribute.name);
            out.extend_from_slice(b" : {\"Type\":");
            quote(out, &attribute.data_type);
            out.extend_from_slice(b",\"Value\":");
            match &attribute.value {
                AttributeValue::Text(text) => quote(out, text),
                AttributeValue::Binary(bytes) => quote(out, &aws::encoding::base64(bytes)),
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"\n  }");
    }
}

/// The URL that ends a subscription, up to the subscription's id.
#[must_use]
pub fn unsubscribe_url(base_url: &str, topic: TopicArn<'_>) -> String {
    format!("{base_url}/?Action=Unsubscribe&SubscriptionArn={topic}:")
}

/// A place in the order of a topic as clients see it: twenty digits.
#[must_use]
pub fn sequence_text(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// `2026-01-31T12:00:00.000Z`
#[must_use]
pub fn timestamp_text(at: Timestamp) -> String {
    aws::Timestamp(i64::try_from(at.0).unwrap_or(i64::MAX)).to_iso8601()
}

fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\n  \"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\" : ");
    quote(out, value);
}

fn quote(out: &mut Vec<u8>, text: &str) {
    let mut quoted = Writer::with_capacity(text.len() + 2);
    quoted.string(text);
    out.extend_from_slice(quoted.as_bytes());
}

/// Room for what stands in front of the id beside the text.
const HEAD_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn notification<'a>(attributes: &'a [MessageAttribute]) -> Notification<'a> {
        Notification {
            topic: TopicArn { region: "eu-west-1", account: "000000000000", name: "t" },
            message: Uuid([0; 16]),
            sequence: None,
            subject: None,
            text: "a \"b\"\n",
            attributes,
            published: Timestamp(1_769_860_800_000),
            signature_version: "1",
            signature: "c2ln",
            certificate_url: "http://h/c.pem",
            base_url: "http://h",
        }
    }

    fn text(notification: &Notification<'_>) -> String {
        let Envelope { head, tail } = notification.envelope();
        String::from_utf8([&head[..], b"<id>", &tail].concat()).expect("UTF-8")
    }

    #[test]
    fn the_envelope_is_as_aws_writes_it() {
        assert_eq!(
            text(&notification(&[])),
            "{\n  \"Type\" : \"Notification\",\n  \"MessageId\" : \"00000000-0000-0000-0000-000000000000\",\n  \
             \"TopicArn\" : \"arn:aws:sns:eu-west-1:000000000000:t\",\n  \"Message\" : \"a \\\"b\\\"\\n\",\n  \
             \"Timestamp\" : \"2026-01-31T12:00:00.000Z\",\n  \"SignatureVersion\" : \"1\",\n  \"Signature\" : \"c2ln\",\n  \
             \"SigningCertURL\" : \"http://h/c.pem\",\n  \"UnsubscribeURL\" : \
             \"http://h/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:eu-west-1:000000000000:t:<id>\"\n}"
        );
    }

    #[test]
    fn subject_sequence_and_attributes_stand_where_they_belong() {
        let attributes = [
            MessageAttribute {
                name: "n".into(),
                data_type: "Number.int".into(),
                value: AttributeValue::Text("1".into()),
            },
            MessageAttribute {
                name: "b".into(),
                data_type: "Binary".into(),
                value: AttributeValue::Binary([0, 1].into()),
            },
        ];
        let text = text(&Notification { subject: Some("s"), sequence: Some(7), ..notification(&attributes) });
        assert!(text.contains("\"SequenceNumber\" : \"00000000000000000007\",\n  \"TopicArn\""), "{text}");
        assert!(text.contains("t\",\n  \"Subject\" : \"s\",\n  \"Message\""), "{text}");
        assert!(
            text.ends_with(
                "<id>\",\n  \"MessageAttributes\" : {\n    \"n\" : {\"Type\":\"Number.int\",\"Value\":\"1\"},\n    \
                 \"b\" : {\"Type\":\"Binary\",\"Value\":\"AAE=\"}\n  }\n}"
            ),
            "{text}"
        );
    }
}
