//! Identities of resources and the map of texts that most services attach to them.

use super::random::random_u64;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// Names and texts beside a resource: user metadata, attributes, tags.
pub type Metadata = HashMap<String, String>;

/// An identity that a provider gave, or that [`ResourceId::generate`] made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceId(String);

impl ResourceId {
    /// An identity from its text, taken as it is.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// A new random identity in the form of a UUID, version 4 (RFC 9562 5.4).
    pub fn generate() -> Self {
        let high = (random_u64() & !0xf000) | 0x4000;
        let low = (random_u64() >> 2) | 1 << 63;
        Self(format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for ResourceId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for ResourceId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::ResourceId;

    #[test]
    fn a_generated_identity_is_a_random_uuid_of_version_4() {
        let one = ResourceId::generate();
        let text = one.as_str();
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
        assert!(text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{text}");
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        assert_ne!(one, ResourceId::generate());
    }

    #[test]
    fn an_identity_is_its_text() {
        assert_eq!(ResourceId::from("vpc-1"), ResourceId::new(String::from("vpc-1")));
        assert_eq!(ResourceId::from(String::from("a")).to_string(), "a");
        assert_eq!(serde_json::to_string(&ResourceId::new("a")).unwrap(), "\"a\"");
    }
}
