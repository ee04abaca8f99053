//! How objects are called in paths and lists.
//! Invariant: each text names one object at most, and what is read is one of the forms below and nothing near them.
//!
//! ```text
//! 64 hex                      SHA-256, the identity of the store
//! sha256:64 hex  sha256-64 hex   the same
//! blake3:64 hex  blake3-64 hex   BLAKE3: recognised, not kept
//! 1220 64 hex                 Zig package hash, first form: recognised, not kept here
//! name-version-44 base64url   Zig package hash, present form: likewise
//! ```
//! Hexadecimal digits are lower case. `:` may be percent-coded.

use std::borrow::Cow;

use cas::Digest;

use crate::refusal::Refusal;

/// What a text names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// An object by its SHA-256.
    Sha256(Digest),
    /// An object by its BLAKE3.
    Blake3,
    /// A Zig package.
    Zig,
}

/// Reads a segment of a path, as sent. Errors: `InvalidDigest`.
pub fn of_path(segment: &str) -> Result<Name, Refusal> {
    let text = match segment.contains('%') {
        true => aws::uri::decode_path(segment).map_err(|_| invalid())?,
        false => Cow::Borrowed(segment),
    };
    read(&text).ok_or_else(invalid)
}

/// Reads a name. None: it has none of the forms.
#[must_use]
pub fn read(text: &str) -> Option<Name> {
    if let Some(digest) = Digest::parse(text) {
        return Some(Name::Sha256(digest));
    }
    for prefix in ["sha256:", "sha256-"] {
        if let Some(hex) = text.strip_prefix(prefix) {
            return Digest::parse(hex).map(Name::Sha256);
        }
    }
    for prefix in ["blake3:", "blake3-"] {
        if let Some(hex) = text.strip_prefix(prefix) {
            return Digest::parse(hex).map(|_| Name::Blake3);
        }
    }
    if let Some(hex) = text.strip_prefix("1220")
        && Digest::parse(hex).is_some()
    {
        return Some(Name::Zig);
    }
    is_zig(text).then_some(Name::Zig)
}

/// `name-version-44 base64url`: a name of Zig's letters, a version that begins with a digit.
fn is_zig(text: &str) -> bool {
    if text.len() > ZIG_BYTES_MAX || !text.is_ascii() {
        return false;
    }
    let Some((front, hash)) = text.len().checked_sub(ZIG_HASH_BYTES).map(|at| text.split_at(at)) else {
        return false;
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let Some((name, version)) = front.strip_suffix('-').and_then(|front| front.split_once('-')) else {
        return false;
    };
    hash.bytes().all(|byte| is_word(byte) || byte == b'-')
        && !name.is_empty()
        && name.bytes().all(is_word)
        && version.starts_with(|first: char| first.is_ascii_digit())
        && version.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-' | b'+'))
}

/// Characters of the last part of a Zig package hash.
const ZIG_HASH_BYTES: usize = 44;
/// Zig's bound on names and versions is 32 characters each.
const ZIG_BYTES_MAX: usize = 32 + 1 + 32 + 1 + ZIG_HASH_BYTES;

/// The digest of a name, where objects are kept by such. Errors: `InvalidDigest`, with a text that says what is not built.
pub fn digest(name: Name) -> Result<Digest, Refusal> {
    match name {
        Name::Sha256(digest) => Ok(digest),
        Name::Blake3 => Err(Refusal::Bad(INVALID_DIGEST, BLAKE3.into())),
        Name::Zig => Err(Refusal::Bad(INVALID_DIGEST, ZIG.into())),
    }
}

/// 400: the text has none of the forms.
#[must_use]
pub fn invalid() -> Refusal {
    Refusal::Bad(INVALID_DIGEST, FORMS.into())
}

const INVALID_DIGEST: &str = "InvalidDigest";
const FORMS: &str = "An object is named by 64 lower-case hexadecimal digits of SHA-256, with 'sha256:' before them or without.";
const BLAKE3: &str = "This version keeps no objects by BLAKE3; name the object by its SHA-256.";
const ZIG: &str = "This version has no package registry, which resolves Zig package hashes; name the object by its SHA-256.";

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn sha256_has_three_spellings() {
        let digest = Digest::parse(HEX).expect("hex");
        for text in [HEX.to_owned(), format!("sha256:{HEX}"), format!("sha256-{HEX}")] {
            assert_eq!(read(&text), Some(Name::Sha256(digest)), "{text}");
        }
        assert_eq!(of_path(&format!("sha256%3A{HEX}")).ok(), Some(Name::Sha256(digest)));
    }

    #[test]
    fn forms_of_others_are_known_and_refused_with_a_reason() {
        let forms = [
            (format!("blake3:{HEX}"), Name::Blake3),
            (format!("blake3-{HEX}"), Name::Blake3),
            (format!("1220{HEX}"), Name::Zig),
            (format!("zig_clap-0.10.0-{}", "oBajB434AQBDh-Ei3YtzKIRxZacVPF1iSwp3IX_ZB8f0"), Name::Zig),
            (format!("a-1.0.0-rc.1+b-{}", "A".repeat(44)), Name::Zig),
        ];
        for (text, name) in forms {
            assert_eq!(read(&text), Some(name), "{text}");
            let refusal = digest(name).expect_err("not kept");
            assert_eq!(refusal.code(), "InvalidDigest");
            assert!(refusal.text().contains("This version"), "{}", refusal.text());
        }
    }

    #[test]
    fn nothing_near_a_form_is_one() {
        let upper = HEX.to_uppercase();
        for text in [
            "",
            "sha256:",
            &HEX[1..],
            &upper,
            &format!("{HEX}0"),
            &format!("SHA256:{HEX}"),
            &format!("sha256:{upper}"),
            &format!("sha1:{HEX}"),
            &format!("1221{HEX}"),
            &format!("-1.0.0-{}", "A".repeat(44)),
            &format!("a-x-{}", "A".repeat(44)),
            &format!("a-1.0.0-{}", "A".repeat(43)),
            &format!("a-1.0.0-{}+", "A".repeat(43)),
            &format!("{}-1.0.0-{}", "a".repeat(80), "A".repeat(44)),
            &"é".repeat(40),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(of_path("%zz").is_err());
        assert!(of_path("%ff").is_err());
    }
}
