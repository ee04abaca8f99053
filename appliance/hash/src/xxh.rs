//! The XXH family with seed 0, as S3 names it: fast, not secure.
//! Leaves to xxhash-rust: the arithmetic.

use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

macro_rules! fast_hash {
    ($name:ident, $inner:ty, $new:expr, $number:ty, $digest:ident, $title:literal) => {
        #[doc = concat!($title, " over bytes that arrive in pieces.")]
        #[derive(Clone)]
        pub struct $name($inner);

        impl $name {
            /// The hash of no bytes yet.
            #[must_use]
            pub fn new() -> $name {
                $name($new)
            }

            /// Adds `data` at the end.
            pub fn update(&mut self, data: &[u8]) {
                self.0.update(data);
            }

            /// The hash of all bytes so far. Its canonical form is big-endian.
            #[must_use]
            pub fn finish(&self) -> $number {
                self.0.$digest()
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new()
            }
        }
    };
}

fast_hash!(XxHash64, Xxh64, Xxh64::new(0), u64, digest, "XXH64");
// Boxed, since the state of 600 bytes would make every `Digest` that large.
fast_hash!(XxHash3, Box<Xxh3>, Box::new(Xxh3::new()), u64, digest, "XXH3 of 64 bits");
fast_hash!(XxHash128, Box<Xxh3>, Box::new(Xxh3::new()), u128, digest128, "XXH3 of 128 bits");

/// XXH3 with 64 bits of a whole input, seed 0. The placement of keys depends on it, so it never changes.
#[must_use]
pub fn xxh3_64(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
