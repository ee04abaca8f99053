//! Which bucket and key a request means, in path style and in virtual-host style.
//! Invariant: a key is decoded once and never normalised.

use aws::uri::decode_path;

use super::error::{Code, Error};
use crate::model::{KEY_BYTES_MAX, KeyFault, ObjectKey};

/// What a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The bucket's name as the client wrote it; `None` for the service itself.
    pub bucket: Option<String>,
    /// The key, where there is one.
    pub key: Option<ObjectKey>,
}

/// Reads the raw path and the authority. `bases`: host names below which a label is a bucket, such as `s3.test`.
pub fn parse(path: &str, authority: Option<&str>, bases: &[String]) -> Result<Address, Error> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    if let Some(bucket) = authority.and_then(|authority| virtual_bucket(authority, bases)) {
        return Ok(Address { bucket: Some(bucket), key: parse_key(rest)? });
    }
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket = decode_path(bucket).map_err(|_| Error::from(Code::InvalidUri))?;
    if bucket.is_empty() {
        if key.is_empty() {
            return Ok(Address { bucket: None, key: None });
        }
        return Err(Code::InvalidBucketName.into());
    }
    Ok(Address { bucket: Some(bucket.into_owned()), key: parse_key(key)? })
}

fn parse_key(raw: &str) -> Result<Option<ObjectKey>, Error> {
    let key = decode_path(raw).map_err(|_| Error::from(Code::InvalidUri))?;
    if key.is_empty() {
        return Ok(None);
    }
    checked_key(key.into_owned()).map(Some)
}

/// Checks a key from wherever a client may write one.
pub fn checked_key(text: String) -> Result<ObjectKey, Error> {
    ObjectKey::parse(text).map_err(|fault| match fault {
        KeyFault::TooLong(size) => Error::from(Code::KeyTooLongError)
            .with("Size", size.to_string())
            .with("MaxSizeAllowed", KEY_BYTES_MAX.to_string()),
        KeyFault::Nul => Code::InvalidUri.into(),
        KeyFault::Empty => Code::UserKeyMustBeSpecified.into(),
    })
}

/// The labels in front of a base, without the port; the longest base wins.
fn virtual_bucket(authority: &str, bases: &[String]) -> Option<String> {
    // An IPv6 literal is an address, never a bucket.
    if authority.starts_with('[') {
        return None;
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_end_matches('.');
    let mut found: Option<&str> = None;
    for base in bases {
        if host.eq_ignore_ascii_case(base) {
            return None;
        }
        let labels_bytes = host.len().checked_sub(base.len() + 1).filter(|length| *length > 0);
        let Some((labels, rest)) = labels_bytes.and_then(|length| host.split_at_checked(length)) else {
            continue;
        };
        let is_below = rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(base));
        if is_below && found.is_none_or(|known| labels.len() < known.len()) {
            found = Some(labels);
        }
    }
    found.map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases() -> Vec<String> {
        vec!["localhost".into(), "s3.example.test".into(), "example.test".into()]
    }

    fn parts(path: &str, authority: &str) -> (Option<String>, Option<String>) {
        let address = parse(path, Some(authority), &bases()).expect("valid");
        (address.bucket, address.key.map(|key| key.as_str().to_owned()))
    }

    fn both(bucket: &str, key: &str) -> (Option<String>, Option<String>) {
        (Some(bucket.to_owned()), Some(key.to_owned()))
    }

    #[test]
    fn path_style_keeps_keys_as_they_are() {
        assert_eq!(parts("/", "127.0.0.1:8080"), (None, None));
        assert_eq!(parts("/b", "127.0.0.1:8080"), (Some("b".into()), None));
        assert_eq!(parts("/b/", "localhost:8080"), (Some("b".into()), None));
        for key in ["x/../y", "a//b", "/", "//", ".", "..", "k/", "a+b"] {
            assert_eq!(parts(&format!("/b/{key}"), "[::1]:80"), both("b", key), "{key}");
        }
        assert_eq!(parts("/b/a%2Fb%20%01", "h"), both("b", "a/b \u{1}"));
    }

    #[test]
    fn virtual_host_style_takes_the_labels_before_the_longest_base() {
        assert_eq!(parts("/k", "b.localhost:8080"), both("b", "k"));
        assert_eq!(parts("/k", "my.bucket.s3.example.test"), both("my.bucket", "k"));
        assert_eq!(parts("/b/k", "s3.example.test:80"), both("b", "k"));
        assert_eq!(parts("/k", "B.LOCALHOST"), both("b", "k"));
        assert_eq!(parts("/b/k", "notlocalhost"), both("b", "k"));
        assert_eq!(parts("/b/k", ".localhost"), both("b", "k"));
        assert_eq!(parts("/", "b.localhost"), (Some("b".into()), None));
    }

    #[test]
    fn bad_paths_have_their_own_errors() {
        let code = |path: &str| parse(path, None, &[]).expect_err("refused").reply.code;
        assert_eq!(code("/b/%ff"), "InvalidURI");
        assert_eq!(code("/b/a%00"), "InvalidURI");
        assert_eq!(code("/%zz"), "InvalidURI");
        assert_eq!(code("//k"), "InvalidBucketName");
        let error = parse(&format!("/b/{}", "k".repeat(1025)), None, &[]).expect_err("refused");
        assert_eq!(error.reply.extra("Size"), Some("1025"));
        assert!(parse(&format!("/b/{}", "k".repeat(1024)), None, &[]).is_ok());
    }
}
