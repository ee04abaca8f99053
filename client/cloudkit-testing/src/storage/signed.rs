//! Signed addresses: `memory://objects/{bucket}/{key}?method=GET&expires={ms}&signature={hex}`, the key percent-encoded.
//! Invariant: the signature covers everything before it. It stands for the real ones in tests and keeps no secret from anyone.

use super::bucket::{Buckets, Facts};
use crate::chance::Chance;
use crate::clock::later;
use crate::refusal::{Outcome, Refusal};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use md5::{Digest, Md5};
use std::time::Duration;

pub(super) struct Signer {
    secret: String,
}

impl Signer {
    pub(super) fn new(secret: String) -> Self {
        Self { secret }
    }

    fn signature(&self, text: &str) -> String {
        let digest = Md5::digest(format!("{}\n{text}", self.secret));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Buckets {
    pub(super) fn sign(
        &self,
        method: &str,
        bucket: &str,
        key: &str,
        now: DateTime<Utc>,
        expires_in: Duration,
    ) -> String {
        let expires = later(now, expires_in).timestamp_millis();
        let text = format!("{SCHEME}{bucket}/{}?method={method}&expires={expires}", encoded(key));
        let signature = self.signer.signature(&text);
        format!("{text}&signature={signature}")
    }

    pub(crate) fn open(&mut self, url: &str, now: DateTime<Utc>) -> Outcome<Bytes> {
        let (bucket, key) = self.follow("GET", url, now)?;
        let version = self.current(&bucket, &key)?;
        Ok(version.body.clone().unwrap_or_default())
    }

    pub(crate) fn open_put(
        &mut self,
        url: &str,
        data: &[u8],
        now: DateTime<Utc>,
        chance: &mut Chance,
    ) -> Outcome<()> {
        let (bucket, key) = self.follow("PUT", url, now)?;
        self.put(&bucket, &key, Bytes::copy_from_slice(data), Facts::default(), None, now, chance)?;
        Ok(())
    }

    /// Bucket and key of an address that holds.
    fn follow(&self, method: &str, url: &str, now: DateTime<Utc>) -> Outcome<(String, String)> {
        let refused = || Refusal::denied("the address was not signed by this cloud, or was changed");
        let (text, signature) = url.rsplit_once("&signature=").ok_or_else(refused)?;
        if self.signer.signature(text) != signature {
            return Err(refused());
        }
        // From here on the text is one that sign() made.
        let (path, query) =
            text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('?')).ok_or_else(refused)?;
        let (signed_method, expires) = query
            .strip_prefix("method=")
            .and_then(|rest| rest.split_once("&expires="))
            .ok_or_else(refused)?;
        if signed_method != method {
            return Err(refused());
        }
        if expires.parse::<i64>().map_or(true, |expires| expires <= now.timestamp_millis()) {
            return Err(Refusal::denied("the time of the address is over"));
        }
        let (bucket, key) = path.split_once('/').ok_or_else(refused)?;
        Ok((bucket.to_owned(), decoded(key).ok_or_else(refused)?))
    }
}

/// RFC 3986 2.3: everything but unreserved characters is encoded, each byte once.
fn encoded(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

const SCHEME: &str = "memory://objects/";
