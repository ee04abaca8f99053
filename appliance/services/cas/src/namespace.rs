//! Who a blob or a key record belongs to: namespaces, dialects, the names of key records, and who brought something.
//! Invariant: a `Namespace` and a `KeyName` are within their bounds, so that every key of the store made of them is legal and
//! none is the beginning of another's.

use std::fmt;
use std::net::IpAddr;

/// Characters of a namespace at most.
pub const NAMESPACE_BYTES_MAX: usize = 64;
/// Bytes of the key of a key record at most.
pub const KEY_BYTES_MAX: usize = 512;

/// 1 to 64 characters of `a-z 0-9 . _ -`, the first a letter or a digit. Copying one costs no memory.
#[derive(Clone, Copy)]
pub struct Namespace {
    length: u8,
    bytes: [u8; NAMESPACE_BYTES_MAX],
}

impl Namespace {
    /// The namespace of tokens that name none.
    #[must_use]
    pub fn default_one() -> Namespace {
        Namespace::parse("default").expect("letters")
    }

    /// Nothing of a text that is not a namespace.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Option<Namespace> {
        let text = text.as_ref();
        let is_legal = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if !text.first()?.is_ascii_alphanumeric()
            || text.len() > NAMESPACE_BYTES_MAX
            || !text.iter().all(is_legal)
        {
            return None;
        }
        let mut bytes = [0; NAMESPACE_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(Namespace { length: text.len() as u8, bytes })
    }

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("parsed characters are ASCII")
    }

    /// Its characters, as they stand in keys of the store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Namespace) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Namespace {}

impl PartialOrd for Namespace {
    fn partial_cmp(&self, other: &Namespace) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Namespace {
    fn cmp(&self, other: &Namespace) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Namespace {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Which door a key record came through. Keys of two dialects never meet. The number is the stored byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dialect {
    /// Our own API.
    Native = 1,
    /// Bazel's HTTP cache.
    Bazel = 2,
    /// ccache.
    Ccache = 3,
    /// WebDAV, as sccache speaks it.
    Webdav = 4,
    /// Gradle.
    Gradle = 5,
    /// Turborepo.
    Turbo = 6,
    /// Nx.
    Nx = 7,
    /// moon.
    Moon = 8,
    /// Go's GOCACHEPROG, through our adapter.
    Go = 9,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 9] = [
        Dialect::Native,
        Dialect::Bazel,
        Dialect::Ccache,
        Dialect::Webdav,
        Dialect::Gradle,
        Dialect::Turbo,
        Dialect::Nx,
        Dialect::Moon,
        Dialect::Go,
    ];

    /// The word for it in paths and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::Bazel => "bazel",
            Dialect::Ccache => "ccache",
            Dialect::Webdav => "webdav",
            Dialect::Gradle => "gradle",
            Dialect::Turbo => "turbo",
            Dialect::Nx => "nx",
            Dialect::Moon => "moon",
            Dialect::Go => "go",
        }
    }

    /// The dialect of a word.
    #[must_use]
    pub fn parse(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// The dialect of a stored byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| *dialect as u8 == byte)
    }
}

/// The name of a key record.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyName {
    ns: Namespace,
    dialect: Dialect,
    key: Box<[u8]>,
}

impl KeyName {
    /// Nothing when the key is empty or longer than [`KEY_BYTES_MAX`]; it may have any bytes.
    #[must_use]
    pub fn new(ns: Namespace, dialect: Dialect, key: impl Into<Box<[u8]>>) -> Option<KeyName> {
        let key = key.into();
        (1..=KEY_BYTES_MAX).contains(&key.len()).then_some(KeyName { ns, dialect, key })
    }

    /// The namespace.
    #[must_use]
    pub fn ns(&self) -> &Namespace {
        &self.ns
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The client's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Who brought something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Provenance {
    /// The id of the token, or another short word; only the first [`TOKEN_BYTES_MAX`] bytes are kept.
    pub token: Box<str>,
    /// Where the client was.
    pub address: Option<IpAddr>,
}

/// Bytes of the word for a token that are kept.
pub const TOKEN_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_no_character_that_a_key_could_take_for_an_end() {
        for byte in 0..=u8::MAX {
            let legal = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
            assert_eq!(Namespace::parse([b'a', byte]).is_some(), legal, "byte {byte}");
            let starts = matches!(byte, b'a'..=b'z' | b'0'..=b'9');
            assert_eq!(Namespace::parse([byte]).is_some(), starts, "first byte {byte}");
        }
    }

    #[test]
    fn a_namespace_has_1_to_64_characters() {
        assert!(Namespace::parse("").is_none());
        let longest = "n".repeat(64);
        assert_eq!(Namespace::parse(&longest).expect("legal").as_str(), longest);
        assert!(Namespace::parse("n".repeat(65)).is_none());
    }

    #[test]
    fn namespaces_differ_by_their_characters_alone() {
        let name = |text: &str| Namespace::parse(text).expect("legal");
        assert_eq!(name("ci"), name("ci"));
        assert_ne!(name("ci"), name("ci-main"));
        assert!(name("a") < name("ab") && name("ab") < name("b"));
    }

    #[test]
    fn a_key_has_1_to_512_bytes_of_any_value() {
        let ns = Namespace::default_one();
        assert!(KeyName::new(ns, Dialect::Nx, []).is_none());
        assert!(KeyName::new(ns, Dialect::Nx, vec![0; 513]).is_none());
        assert_eq!(KeyName::new(ns, Dialect::Nx, vec![0; 512]).expect("legal").key(), [0; 512]);
    }

    #[test]
    fn dialects_come_back_from_their_bytes_and_words() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::from_byte(dialect as u8), Some(dialect));
            assert_eq!(Dialect::parse(dialect.name()), Some(dialect));
        }
        assert_eq!(Dialect::from_byte(0), None);
        assert_eq!(Dialect::from_byte(10), None);
    }
}
