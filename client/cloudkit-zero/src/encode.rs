//! The one percent-encoder: what goes into a path, a query and a signature.
//! Invariant: a name is encoded exactly once, and what is sent is byte for byte what is signed. Keys are taken as they are:
//! no segment is resolved, no slash removed.

/// What stays as it is in a query and within a segment: RFC 3986 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";
const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text`, every byte that is not unreserved as `%XX`; `keep_slash` lets `/` through.
fn append(out: &mut String, text: &str, keep_slash: bool) {
    out.reserve(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(UPPER_HEX[usize::from(byte >> 4)]));
            out.push(char::from(UPPER_HEX[usize::from(byte & 15)]));
        }
    }
}

/// Appends a query's name or value, or one segment of a path.
pub fn append_component(out: &mut String, text: &str) {
    append(out, text, false);
}

/// Appends a path; its slashes stay.
pub fn append_path(out: &mut String, text: &str) {
    append(out, text, true);
}

/// The path of a bucket, or of an object in it: `/bucket` or `/bucket/key`, encoded.
pub fn object_path(bucket: &str, key: Option<&str>) -> String {
    let mut path = String::with_capacity(2 + bucket.len() + key.map_or(0, |key| key.len() + key.len() / 4));
    path.push('/');
    append_component(&mut path, bucket);
    if let Some(key) = key {
        path.push('/');
        append_path(&mut path, key);
    }
    path
}

/// Pairs of a query. They leave in the order in which a signature wants them, so that one text serves both.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Encoded already.
    pairs: Vec<(String, String)>,
}

impl Query {
    /// No pair.
    pub fn new() -> Query {
        Query::default()
    }

    /// With one pair more. A flag has an empty value.
    pub fn with(mut self, name: &str, value: &str) -> Query {
        self.push(name, value);
        self
    }

    /// Adds a pair.
    pub fn push(&mut self, name: &str, value: &str) {
        let (mut encoded_name, mut encoded_value) = (String::new(), String::new());
        append_component(&mut encoded_name, name);
        append_component(&mut encoded_value, value);
        self.pairs.push((encoded_name, encoded_value));
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// `a=1&b=`, sorted by encoded name, then by encoded value; empty without pairs.
    pub fn encode(&mut self) -> String {
        self.pairs.sort();
        let mut text = String::with_capacity(self.pairs.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        for (name, value) in &self.pairs {
            if !text.is_empty() {
                text.push('&');
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        text
    }
}

/// The text behind percent signs, where `+` is a space, as names stand in encoded listings. None when a percent sign has no two
/// digits behind it or the bytes are no UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match first {
            b'%' => {
                let [high, low, after @ ..] = after else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                after
            }
            b'+' => {
                bytes.push(b' ');
                after
            }
            other => {
                bytes.push(*other);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// Lower-case hex of a digest.
pub fn append_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(LOWER_HEX[usize::from(byte >> 4)]);
        out.push(LOWER_HEX[usize::from(byte & 15)]);
    }
}

/// Lower-case hex of 32 bytes, on the stack.
pub fn hex_of_digest(digest: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = LOWER_HEX[usize::from(byte >> 4)];
        pair[1] = LOWER_HEX[usize::from(byte & 15)];
    }
    text
}

/// A form body, as awsQuery wants it: the pairs in the order given.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        append_component(&mut text, name);
        text.push('=');
        append_component(&mut text, value);
    }
    text
}

/// `base` with `.N` behind it, as lists are named in awsQuery.
pub fn indexed(base: &str, index: usize) -> String {
    let mut name = String::with_capacity(base.len() + 4);
    name.push_str(base);
    name.push('.');
    name.push_str(&index.to_string());
    name
}

/// Keys that clients get wrong; shared by the tests of signing and of the wire.
#[cfg(test)]
pub fn test_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "plain",
        "a b",
        "a+b",
        "100%",
        "%41",
        "a//b",
        "/leading",
        "trailing/",
        ".",
        "..",
        "a/./b",
        "a/../b",
        "what?",
        "a#b",
        "a&b=c",
        "=",
        "ünïcödé/日本語/🦀",
        "a'b(c)*!~_-.",
        "\"<>\\^`{|}",
        "a:b@c;d,e$",
        "tab\there",
    ]
    .map(String::from)
    .to_vec();
    keys.push("k".repeat(1024));
    keys.push("é/".repeat(341));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_slashes_and_dots_and_escapes_the_rest() {
        assert_eq!(object_path("b", Some("a b/+%/../x?#&=é")), "/b/a%20b/%2B%25/../x%3F%23%26%3D%C3%A9");
        assert_eq!(object_path("b", Some("/a//b/")), "/b//a//b/");
        assert_eq!(object_path("b", None), "/b");
    }

    #[test]
    fn a_query_is_sorted_after_encoding() {
        let mut query =
            Query::new().with("uploads", "").with("a", "2").with("a", "1/").with("B", "x y").with("é", "");
        assert_eq!(query.encode(), "%C3%A9=&B=x%20y&a=1%2F&a=2&uploads=");
        assert_eq!(Query::new().encode(), "");
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for key in test_keys() {
            let mut encoded = String::new();
            append_path(&mut encoded, &key);
            assert_eq!(decode(&encoded).as_deref(), Some(key.as_str()));
        }
        assert_eq!(decode("a+b%2B").as_deref(), Some("a b+"));
        assert_eq!([decode("%"), decode("%4"), decode("%zz"), decode("%ff")], [None, None, None, None]);
    }

    #[test]
    fn a_form_keeps_the_order() {
        assert_eq!(
            form(&[("Version", "2010-03-31"), ("Action", "a b&c")]),
            "Version=2010-03-31&Action=a%20b%26c"
        );
        assert_eq!(indexed("member", 12), "member.12");
    }

    #[test]
    fn hex_is_lower_case() {
        let mut digest = [0; 32];
        digest[0] = 0xAF;
        assert!(hex_of_digest(&digest).starts_with(b"af00"));
        let mut out = Vec::new();
        append_hex(&mut out, &[1, 0xFE]);
        assert_eq!(out, b"01fe");
    }
}
