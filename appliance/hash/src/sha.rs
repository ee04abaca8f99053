//! The secure hashes of FIPS 180-4 that Amazon's protocols use.
//! Leaves to sha1 and sha2: the compression functions, which use the SHA instructions where the processor has them.

use sha1::Digest as _;

macro_rules! secure_hash {
    ($name:ident, $inner:ty, $bytes:literal, $title:literal) => {
        #[doc = concat!("A ", $title, " over bytes that arrive in pieces.")]
        #[derive(Clone, Debug, Default)]
        pub struct $name($inner);

        impl $name {
            /// The digest of no bytes yet.
            #[must_use]
            pub fn new() -> $name {
                $name::default()
            }

            /// Adds `data` at the end.
            pub fn update(&mut self, data: &[u8]) {
                self.0.update(data);
            }

            /// The digest of all bytes.
            #[must_use]
            pub fn finish(self) -> [u8; $bytes] {
                self.0.finalize().into()
            }
        }
    };
}

secure_hash!(Sha1, sha1::Sha1, 20, "SHA-1");
secure_hash!(Sha256, sha2::Sha256, 32, "SHA-256");
secure_hash!(Sha512, sha2::Sha512, 64, "SHA-512");

/// The SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(data).into()
}
