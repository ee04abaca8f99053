//! What a token may do.
//! Invariant: a right that contains another one is never held without it: admin implies write, write implies read.

use std::fmt;

/// A right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Look up and fetch.
    CacheRead,
    /// Store, and all that `CacheRead` allows.
    CacheWrite,
    /// Collect garbage, pin, block, and all that `CacheWrite` allows.
    CacheAdmin,
    /// See the figures and the reasons below `/-/`.
    MetricsRead,
}

impl Scope {
    /// Every one, those of the cache first, the least of them before the others.
    pub const ALL: [Scope; 4] = [Scope::CacheRead, Scope::CacheWrite, Scope::CacheAdmin, Scope::MetricsRead];

    /// Its name on the command line and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scope::CacheRead => "cache:read",
            Scope::CacheWrite => "cache:write",
            Scope::CacheAdmin => "cache:admin",
            Scope::MetricsRead => "metrics:read",
        }
    }

    /// The right of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// The right and all that it contains, as stored.
    const fn bits(self) -> u8 {
        match self {
            Scope::CacheRead => 0b0001,
            Scope::CacheWrite => 0b0011,
            Scope::CacheAdmin => 0b0111,
            Scope::MetricsRead => 0b1000,
        }
    }
}

/// Some rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// No right.
    pub const NONE: Scopes = Scopes(0);

    /// These rights and one more.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Scopes {
        Scopes(self.0 | scope.bits())
    }

    /// Whether the right is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bits() == scope.bits()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The byte that is stored.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// The rights that `to_byte` stored. None: bits that no right has, or a right without what it contains.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Scopes> {
        let mut scopes = Scopes::NONE;
        for scope in Scope::ALL {
            if byte & scope.bits() == scope.bits() {
                scopes = scopes.with(scope);
            }
        }
        (scopes.0 == byte).then_some(scopes)
    }

    /// The names, each right that another one contains left out.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let is_contained = |scope: &Scope| {
            let contains =
                |other: Scope| other != *scope && self.has(other) && Scopes::NONE.with(other).has(*scope);
            Scope::ALL.into_iter().any(contains)
        };
        Scope::ALL
            .into_iter()
            .filter(|scope| self.has(*scope) && !is_contained(scope))
            .map(Scope::name)
            .collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_implies_read_and_admin_implies_both() {
        let write = Scopes::NONE.with(Scope::CacheWrite);
        assert!(write.has(Scope::CacheRead) && write.has(Scope::CacheWrite) && !write.has(Scope::CacheAdmin));
        let admin = Scopes::NONE.with(Scope::CacheAdmin);
        assert!(
            admin.has(Scope::CacheRead) && admin.has(Scope::CacheWrite) && !admin.has(Scope::MetricsRead)
        );
        let read = Scopes::NONE.with(Scope::CacheRead);
        assert!(read.has(Scope::CacheRead) && !read.has(Scope::CacheWrite));
        assert!(!Scopes::NONE.has(Scope::CacheRead));
        assert!(!Scopes::NONE.with(Scope::MetricsRead).has(Scope::CacheRead));
    }

    #[test]
    fn names_and_bytes_come_back() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(scope));
            let scopes = Scopes::NONE.with(scope);
            assert_eq!(Scopes::from_byte(scopes.to_byte()), Some(scopes));
            assert_eq!(scopes.to_string(), scope.name());
        }
        assert_eq!(Scope::parse("cache:everything"), None);
        let both = Scopes::NONE.with(Scope::CacheWrite).with(Scope::MetricsRead);
        assert_eq!(
            (both.to_string().as_str(), Scopes::from_byte(both.to_byte())),
            ("cache:write,metrics:read", Some(both))
        );
        // Write without read, and a bit of no right.
        assert_eq!((Scopes::from_byte(0b010), Scopes::from_byte(0b1_0001)), (None, None));
    }
}
