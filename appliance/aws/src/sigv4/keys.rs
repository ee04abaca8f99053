//! Signing keys and their cache.
//!
//! A signing key is four HMACs away from the secret and the same for a whole day, region and service. With
//! the cache a request costs one HMAC. Invariant: an entry is used only for the very secret that it was made
//! from, so a changed secret takes effect at once; the cache never holds more than twice
//! [`GENERATION_COUNT_MAX`] entries.

use std::collections::HashMap;
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::parse::Scope;
use crate::account::{AccessKey, Secret};

/// The key of one day, region and service, as an HMAC that has taken in its key.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Derives the key of `date` (eight digits), `region` and `service` from `secret`.
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> SigningKey {
        let mut first = Vec::with_capacity(4 + secret.len());
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let of_date = hmac(&first, date.as_bytes());
        let of_region = hmac(&of_date, region.as_bytes());
        let of_service = hmac(&of_region, service.as_bytes());
        SigningKey(keyed(&hmac(&of_service, TERMINAL.as_bytes())))
    }

    /// The signature of `to_sign`.
    pub fn sign(&self, to_sign: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(to_sign);
        mac.finalize().into_bytes().into()
    }

    /// Whether `signature` is that of `to_sign`; takes the same time wherever they differ.
    pub fn verify(&self, to_sign: &[u8], signature: &[u8; 32]) -> bool {
        let mut mac = self.0.clone();
        mac.update(to_sign);
        mac.verify_slice(signature).is_ok()
    }
}

/// Signing keys by credential, in two generations: when the younger is full it becomes the older, and the
/// older is dropped; what is used moves up. So a busy key stays and memory is bounded without a list of uses.
#[derive(Default)]
pub(crate) struct KeyCache {
    young: HashMap<Box<str>, Rc<Entry>>,
    old: HashMap<Box<str>, Rc<Entry>>,
}

pub(crate) struct Entry {
    secret: Secret,
    pub(crate) key: SigningKey,
}

impl KeyCache {
    /// The key for `scope`; `credential` is `access key/date/region/service/aws4_request`, which names it.
    pub(crate) fn get(&mut self, credential: &str, key: &AccessKey, scope: &Scope<'_>) -> Rc<Entry> {
        if let Some(entry) = self.young.get(credential).filter(|entry| entry.secret == key.secret) {
            return Rc::clone(entry);
        }
        let entry = self.old.remove(credential).filter(|entry| entry.secret == key.secret);
        let entry = entry.unwrap_or_else(|| {
            let derived = SigningKey::derive(key.secret.reveal(), scope.date, scope.region, scope.service);
            Rc::new(Entry { secret: key.secret.clone(), key: derived })
        });
        if self.young.len() >= GENERATION_COUNT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(credential.into(), Rc::clone(&entry));
        entry
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// The last part of every scope.
pub(crate) const TERMINAL: &str = "aws4_request";

/// One generation of the cache holds so many keys, about 600 bytes each.
const GENERATION_COUNT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::{Account, AccountId};
    use crate::encoding::hex;

    fn key(secret: &str) -> AccessKey {
        AccessKey {
            id: "AK".into(),
            secret: Secret::new(secret),
            session: None,
            account: Arc::new(Account::new(AccountId::parse("000000000000").unwrap(), "root")),
        }
    }

    #[test]
    fn a_signature_is_verified_and_every_changed_bit_refused() {
        let key = SigningKey::derive("secret", "20130524", "us-east-1", "s3");
        let signature = key.sign(b"text");
        assert!(key.verify(b"text", &signature));
        for bit in 0..256 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify(b"text", &changed));
        }
    }

    #[test]
    fn the_cache_forgets_a_key_whose_secret_changed() {
        let scope = Scope { date: "20130524", region: "us-east-1", service: "s3" };
        let mut cache = KeyCache::default();
        let name = "AK/20130524/us-east-1/s3/aws4_request";
        let first = hex(&cache.get(name, &key("one"), &scope).key.sign(b""));
        let second = hex(&cache.get(name, &key("two"), &scope).key.sign(b""));
        assert_ne!(first, second);
        assert_eq!(first, hex(&cache.get(name, &key("one"), &scope).key.sign(b"")));
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let scope = Scope { date: "20130524", region: "us-east-1", service: "s3" };
        let mut cache = KeyCache::default();
        for number in 0..GENERATION_COUNT_MAX * 5 {
            cache.get(&format!("{number}"), &key("s"), &scope);
            cache.get("busy", &key("s"), &scope);
            assert!(cache.young.len() <= GENERATION_COUNT_MAX && cache.old.len() <= GENERATION_COUNT_MAX);
            assert!(cache.young.contains_key("busy"));
        }
    }
}
