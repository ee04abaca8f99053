//! Messages as they come: from the protocol's form to the core's, compared with their digests.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use cloudkit_core::api::Message;
use cloudkit_core::common::{Failure, Metadata, ResourceId};
use serde::Deserialize;

use super::digest::{self, Attribute};
use super::wire::compare;
use crate::service::{Operation, ServiceClient};

/// What ReceiveMessage answers.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Received {
    pub messages: Vec<Incoming>,
}

/// One of them.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Incoming {
    message_id: String,
    receipt_handle: Option<String>,
    #[serde(rename = "MD5OfBody")]
    body_digest: Option<String>,
    body: String,
    /// Those of the system.
    attributes: HashMap<String, String>,
    message_attributes: HashMap<String, IncomingAttribute>,
    #[serde(rename = "MD5OfMessageAttributes")]
    attributes_digest: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct IncomingAttribute {
    data_type: String,
    string_value: Option<String>,
    /// In base64.
    binary_value: Option<String>,
}

/// The system attributes that a message is made of.
pub(super) const SYSTEM_NAMES: &[&str] =
    &["ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SentTimestamp"];

impl Incoming {
    /// The message. An attribute of bytes comes as its base64. Errors: another digest than was said, no time of sending.
    pub fn read(self, client: &ServiceClient, operation: &Operation<'_>) -> Result<Message, Failure> {
        compare(client, operation, &digest::of_body(&self.body), self.body_digest.as_deref())?;
        if self.attributes_digest.is_some() {
            let found = self
                .attributes_found()
                .ok_or_else(|| client.malformed(operation, "an attribute is no base64"))?;
            compare(client, operation, &found, self.attributes_digest.as_deref())?;
        }
        let time = |name: &str| -> Option<DateTime<Utc>> {
            DateTime::from_timestamp_millis(self.attributes.get(name)?.parse().ok()?)
        };
        let sent_at = time("SentTimestamp")
            .ok_or_else(|| client.malformed(operation, "a message without SentTimestamp"))?;
        let first_received_at = time("ApproximateFirstReceiveTimestamp");
        let count = self.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
        let text = |(name, value): (String, IncomingAttribute)| {
            (name, value.string_value.or(value.binary_value).unwrap_or_default())
        };
        Ok(Message {
            id: ResourceId::new(self.message_id),
            body: self.body,
            receipt_handle: self.receipt_handle,
            attributes: self.message_attributes.into_iter().map(text).collect::<Metadata>(),
            receive_count: count.unwrap_or(1),
            sent_at,
            first_received_at,
        })
    }

    /// The digest of its attributes; None if one of them cannot be read.
    fn attributes_found(&self) -> Option<String> {
        let bytes: Vec<(&str, &str, Vec<u8>)> = self
            .message_attributes
            .iter()
            .map(|(name, value)| {
                let bytes = match (&value.string_value, &value.binary_value) {
                    (Some(text), _) => text.as_bytes().to_vec(),
                    (None, Some(binary)) => STANDARD.decode(binary).ok()?,
                    (None, None) => Vec::new(),
                };
                Some((name.as_str(), value.data_type.as_str(), bytes))
            })
            .collect::<Option<_>>()?;
        Some(digest::of_attributes(
            bytes.iter().map(|(name, kind, value)| Attribute { name, kind, value }).collect(),
        ))
    }
}

/// The digest of attributes that are sent as texts.
pub(super) fn digest_of(attributes: &Metadata) -> String {
    digest::of_attributes(
        attributes
            .iter()
            .map(|(name, value)| Attribute { name, kind: "String", value: value.as_bytes() })
            .collect(),
    )
}
