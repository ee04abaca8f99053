//! MD5 of bodies and attributes, by which the service says what it took and what it gives.
//!
//! The digest of attributes runs over them in the order of their names:
//!
//! | bytes | what |
//! |---|---|
//! | 4, highest first | length of the name, then the name |
//! | 4, highest first | length of the type, then the type |
//! | 1 | 2 for a binary value, else 1 |
//! | 4, highest first | length of the value, then the value |
//!
//! Source: "Calculating the MD5 message digest for message attributes", SQS developer guide.

use md5::{Digest, Md5};

use crate::encode::append_hex;

/// The digest of a body.
pub(super) fn of_body(body: &str) -> String {
    hex(Md5::new().chain_update(body))
}

/// An attribute as the digest sees it.
pub(super) struct Attribute<'a> {
    pub name: &'a str,
    /// `String`, `Number`, `Binary`, with or without a word of the program's own behind a dot.
    pub kind: &'a str,
    pub value: &'a [u8],
}

/// The digest of the attributes of a message, in whatever order they are given.
pub(super) fn of_attributes(mut attributes: Vec<Attribute<'_>>) -> String {
    attributes.sort_by_key(|attribute| attribute.name);
    let mut digest = Md5::new();
    for Attribute { name, kind, value } in attributes {
        let is_binary = kind == "Binary" || kind.starts_with("Binary.");
        append(&mut digest, name.as_bytes());
        append(&mut digest, kind.as_bytes());
        digest.update([if is_binary { 2 } else { 1 }]);
        append(&mut digest, value);
    }
    hex(digest)
}

fn append(digest: &mut Md5, part: &[u8]) {
    // The service bounds a message to 1 MiB, which fits.
    digest.update((part.len() as u32).to_be_bytes());
    digest.update(part);
}

fn hex(digest: Md5) -> String {
    let mut text = Vec::with_capacity(32);
    append_hex(&mut text, &digest.finalize());
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_body_is_the_published_one() {
        // RFC 1321, A.5.
        assert_eq!(of_body("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    }

    #[test]
    fn the_digest_of_attributes_does_not_depend_on_their_order() {
        let text = Attribute { name: "a", kind: "String", value: b"x" };
        let again = Attribute { name: "a", kind: "String", value: b"x" };
        let bytes = || Attribute { name: "b", kind: "Binary.png", value: &[0, 1] };
        let expected = hex(Md5::new().chain_update(
            b"\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x01x\0\0\0\x01b\0\0\0\x0aBinary.png\x02\0\0\0\x02\0\x01",
        ));
        assert_eq!(of_attributes(vec![text, bytes()]), expected);
        assert_eq!(of_attributes(vec![bytes(), again]), expected);
    }
}
