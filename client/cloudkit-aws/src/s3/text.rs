//! Texts of S3 between the caller's form and the wire's: names, entity tags, tags, metadata.
//! Invariant: an empty name of a bucket or a key never leaves here, since it would address what lies above it.

use cloudkit_core::common::{CloudError, CloudResult, Metadata};

/// A bucket is named. Errors: Validation.
pub(super) fn check_bucket(bucket: &str) -> CloudResult<()> {
    if bucket.is_empty() {
        return Err(CloudError::Validation("the name of the bucket is empty".into()));
    }
    Ok(())
}

/// A bucket and a key are named. Errors: Validation.
pub(super) fn check_object(bucket: &str, key: &str) -> CloudResult<()> {
    check_bucket(bucket)?;
    if key.is_empty() {
        return Err(CloudError::Validation("the key is empty".into()));
    }
    if key.len() > KEY_BYTES_MAX {
        let words = format!("the key has {} bytes, more than {KEY_BYTES_MAX}", key.len());
        return Err(CloudError::Validation(words));
    }
    Ok(())
}

/// A text that a header can hold. Errors: Validation.
pub(super) fn check_value(name: &str, value: &str) -> CloudResult<()> {
    // RFC 9110 5.5: no control characters but tab.
    if value.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        let words = format!("the value of {name} has characters that no header can hold");
        return Err(CloudError::Validation(words));
    }
    Ok(())
}

/// Metadata that headers can hold. Errors: Validation.
pub(super) fn check_metadata(metadata: &Metadata) -> CloudResult<()> {
    let mut names = std::collections::HashSet::new();
    for (name, value) in metadata {
        // RFC 9110 5.6.2: tchar.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(CloudError::Validation(format!("{name:?} is no name for metadata")));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            let words = format!("the metadata has {name:?} twice: its names are not sensitive to case");
            return Err(CloudError::Validation(words));
        }
        check_value(name, value)?;
    }
    Ok(())
}

/// An entity tag without its quotes.
pub(super) fn unquoted(etag: &str) -> String {
    etag.trim().trim_matches('"').to_string()
}

/// An entity tag as it stands in headers: in quotes, unless it comes so or is any tag.
pub(super) fn quoted(etag: &str) -> String {
    if etag.starts_with('"') || etag.starts_with("W/") || etag == "*" {
        etag.to_string()
    } else {
        format!("\"{etag}\"")
    }
}

/// Where a copy is made of: `bucket/key`, percent-encoded.
pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    let mut source = String::new();
    append_encoded(&mut source, bucket);
    source.push('/');
    for (index, part) in key.split('/').enumerate() {
        if index > 0 {
            source.push('/');
        }
        append_encoded(&mut source, part);
    }
    source
}

/// Tags as a header has them, in the order of their keys.
pub(super) fn tag_form(tags: &Metadata) -> String {
    let mut pairs: Vec<_> = tags.iter().collect();
    pairs.sort_unstable();
    let mut form = String::new();
    for (name, value) in pairs {
        if !form.is_empty() {
            form.push('&');
        }
        append_encoded(&mut form, name);
        form.push('=');
        append_encoded(&mut form, value);
    }
    form
}

/// Everything but the unreserved characters (RFC 3986 2.3) behind percent signs.
pub(super) fn append_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The text behind percent signs and plus signs; None for a text that is no such form.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Text behind the encoded words (RFC 2047 2) as which S3 gives back metadata beyond ASCII. None for a text that is not all such
/// words, which is as it was put.
pub(super) fn decode_words(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for word in value.split(' ') {
        let word = word.strip_prefix("=?")?.strip_suffix("?=")?;
        let (charset, rest) = word.split_once('?')?;
        let (encoding, text) = rest.split_once('?')?;
        if !charset.eq_ignore_ascii_case("utf-8") {
            return None;
        }
        match encoding {
            "B" | "b" => bytes.extend(aws_smithy_types::base64::decode(text).ok()?),
            // Percent signs and `=` change places, and `_` is a space.
            "Q" | "q" => {
                let text = text.replace('%', "=25").replace('+', "=2B").replace('=', "%").replace('_', "+");
                bytes.extend(decoded(&text)?.into_bytes());
            }
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether a document of XML 1.0 can hold a text.
pub(super) fn can_stand_in_xml(text: &str) -> bool {
    let is_foreign = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    !text.contains(is_foreign)
}

/// The longest key, as S3 has it.
const KEY_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_long_names_are_refused() {
        assert!(check_object("b", &"k".repeat(KEY_BYTES_MAX)).is_ok());
        let long = "ü".repeat(KEY_BYTES_MAX / 2 + 1);
        for (bucket, key) in [("", "k"), ("b", ""), ("b", long.as_str())] {
            assert!(matches!(check_object(bucket, key), Err(CloudError::Validation(_))));
        }
    }

    #[test]
    fn metadata_is_what_headers_can_hold() {
        let of = |pairs: &[(&str, &str)]| {
            check_metadata(&pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        };
        assert!(of(&[("who", "é b\t"), ("x-y", "")]).is_ok());
        for wrong in [&[("a b", "1")][..], &[("", "1")], &[("a", "1\r\nx: y")], &[("a", "1"), ("A", "2")]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn encoded_texts_come_back() {
        let key = "a b+c%/./..//é?#&=";
        let source = copy_source("b", key);
        assert_eq!(source, "b/a%20b%2Bc%25/./..//%C3%A9%3F%23%26%3D");
        assert_eq!(decoded(&source).as_deref(), Some(&*format!("b/{key}")));
        assert_eq!(decoded("a+b").as_deref(), Some("a b"));
        assert_eq!([decoded("%4"), decoded("%zz"), decoded("%ff")], [None, None, None]);
        let tags = Metadata::from([("b".into(), "2&".into()), ("a".into(), "1".into())]);
        assert_eq!(tag_form(&tags), "a=1&b=2%26");
        assert_eq!(
            [quoted("a"), quoted("\"a\""), quoted("*"), unquoted("\"a\"")],
            ["\"a\"", "\"a\"", "*", "a"]
        );
    }

    #[test]
    fn metadata_beyond_ascii_comes_out_of_its_encoded_words() {
        for (word, text) in [
            ("=?UTF-8?B?w6k=?=", Some("é")),
            ("=?utf-8?b?w6k=?= =?UTF-8?Q?_=C3=A9%+?=", Some("é é%+")),
            ("plain", None),
            ("=?UTF-8?B?!?=", None),
            ("=?ISO-8859-1?Q?=E9?=", None),
            ("", None),
        ] {
            assert_eq!(decode_words(word).as_deref(), text, "{word}");
        }
    }
}
