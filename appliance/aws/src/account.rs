//! Accounts and access keys: whom a signature can belong to.
//!
//! Invariant: a secret never appears in debug output. Where accounts come from (configuration, later the
//! identity service) is the caller's; it implements [`Credentials`] or fills a [`KeyRing`]. Each core should
//! hold accounts of its own: an authentication clones the `Arc` of its account, and a count shared by cores
//! would bounce between them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::encoding::hex;
use crate::time::Timestamp;

/// The twelve digits of an account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; 12]);

impl AccountId {
    /// Reads twelve decimal digits.
    pub fn parse(text: &str) -> Option<AccountId> {
        let digits: [u8; 12] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(AccountId(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// S3's name of an account: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalId([u8; 64]);

impl CanonicalId {
    /// Reads 64 hexadecimal digits; upper case becomes lower case.
    pub fn parse(text: &str) -> Option<CanonicalId> {
        let mut digits: [u8; 64] = text.as_bytes().try_into().ok()?;
        digits.make_ascii_lowercase();
        digits.iter().all(u8::is_ascii_hexdigit).then_some(CanonicalId(digits))
    }

    /// The id of an account whose configuration names none. The same account has the same id on every
    /// machine.
    pub fn derive(account: AccountId) -> CanonicalId {
        let mut hash = Sha256::new();
        hash.update(b"zerocloud canonical id v1\0");
        hash.update(account.0);
        CanonicalId::parse(&hex(&hash.finalize())).expect("SHA-256 has 64 hexadecimal digits")
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

/// An account: owner of resources, and the principal that its keys speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: AccountId,
    /// The name in the configuration.
    pub name: String,
    /// S3's name, `Owner/ID` in replies.
    pub canonical_id: CanonicalId,
    /// `Owner/DisplayName` in replies.
    pub display_name: String,
    /// Grants by e-mail address resolve to the account that has it.
    pub email: Option<String>,
    /// The bucket name space, where the account has one of its own.
    pub tenant: Option<String>,
}

impl Account {
    /// An account with derived canonical id, named `name` everywhere.
    pub fn new(id: AccountId, name: impl Into<String>) -> Account {
        let name = name.into();
        Account {
            id,
            canonical_id: CanonicalId::derive(id),
            display_name: name.clone(),
            name,
            email: None,
            tenant: None,
        }
    }
}

/// A secret. It compares like its text and prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text of a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for whoever computes with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// An access key and what it stands for.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The public half, such as `AKIAIOSFODNN7EXAMPLE`. Shared, so that a request can keep it without a copy.
    pub id: Arc<str>,
    /// The private half.
    pub secret: Secret,
    /// Set on temporary keys only.
    pub session: Option<Session>,
    /// Whom it speaks for.
    pub account: Arc<Account>,
}

/// What makes a key temporary.
#[derive(Clone, Debug)]
pub struct Session {
    /// Every request must bring it along.
    pub token: Secret,
    /// From then on the key is refused with `ExpiredToken`.
    pub expires_at: Timestamp,
}

/// The look-up that authentication needs.
pub trait Credentials {
    /// The key with this public half, or `None`, which becomes `InvalidAccessKeyId`.
    fn lookup(&self, access_key: &str) -> Option<&AccessKey>;
}

/// Resolves grantees.
pub trait Directory {
    /// The account with this canonical id.
    fn by_canonical_id(&self, id: &CanonicalId) -> Option<&Account>;
    /// The account with this e-mail address, without regard to case.
    fn by_email(&self, email: &str) -> Option<&Account>;
}

/// Accounts and keys in memory, as the configuration lists them.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: HashMap<Arc<str>, AccessKey>,
    accounts: Vec<Arc<Account>>,
}

impl KeyRing {
    /// Adds an account without keys, so that grants can name it.
    pub fn add_account(&mut self, account: Arc<Account>) {
        if !self.accounts.iter().any(|known| known.id == account.id) {
            self.accounts.push(account);
        }
    }

    /// Adds a key and its account. A key with the same public half is replaced.
    pub fn add_key(&mut self, key: AccessKey) {
        self.add_account(Arc::clone(&key.account));
        self.keys.insert(Arc::clone(&key.id), key);
    }

    /// The accounts, in the order they came.
    pub fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }
}

impl Credentials for KeyRing {
    fn lookup(&self, access_key: &str) -> Option<&AccessKey> {
        self.keys.get(access_key)
    }
}

impl Directory for KeyRing {
    fn by_canonical_id(&self, id: &CanonicalId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.canonical_id == *id).map(Arc::as_ref)
    }

    fn by_email(&self, email: &str) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.email.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(email)))
            .map(Arc::as_ref)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for CanonicalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for CanonicalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_not_digits_are_refused() {
        assert_eq!(AccountId::parse("111111111111").unwrap().as_str(), "111111111111");
        for text in ["", "11111111111", "1111111111111", "11111111111x"] {
            assert_eq!(AccountId::parse(text), None);
        }
        assert_eq!(CanonicalId::parse(&"A".repeat(64)).unwrap().as_str(), "a".repeat(64));
        assert_eq!(CanonicalId::parse(&"g".repeat(64)), None);
        assert_eq!(CanonicalId::parse("ab"), None);
    }

    #[test]
    fn a_secret_does_not_print() {
        let key = AccessKey {
            id: "AK".into(),
            secret: Secret::new("hunter2"),
            session: Some(Session { token: Secret::new("hunter3"), expires_at: Timestamp(0) }),
            account: Arc::new(Account::new(AccountId::parse("000000000000").unwrap(), "root")),
        };
        assert!(!format!("{key:?}").contains("hunter"));
    }

    #[test]
    fn derived_ids_are_stable_and_differ_by_account() {
        let id = |text| CanonicalId::derive(AccountId::parse(text).unwrap());
        assert_eq!(id("000000000000"), id("000000000000"));
        assert_ne!(id("000000000000"), id("111111111111"));
    }
}
