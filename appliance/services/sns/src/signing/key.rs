//! The RSA key of 2,048 bits and its two signatures, PKCS#1 v1.5 (RFC 8017, 8.2) over SHA-1 and over SHA-256.
//!
//! Invariant: no signature is given that does not verify: by the library itself for SHA-256, by its verifier here for
//! SHA-1. So a fault of the arithmetic, which with the Chinese remainders would give the key away, gives an error.
//! Leaves to `aws-lc-rs`: making keys, checking them, SHA-256. It signs nothing with SHA-1, which half of SNS's recipients
//! still expect, so that one exponentiation is done here, over `crypto-bigint`, whose time does not depend on the key.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U1024, U2048};

/// Bytes of the modulus, and so of each signature.
const KEY_BYTES: usize = 256;
/// Bytes of a prime.
const PRIME_BYTES: usize = 128;
/// What stands in front of a SHA-1 digest: the DER of DigestInfo (RFC 8017, 9.2, note 1).
const SHA1_INFO: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

/// Why there is no key or no signature. It says nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// The bytes are no RSA key of 2,048 bits.
    Malformed,
    /// The machine gave no key.
    NotMade,
    /// The signature does not verify.
    NotSigned,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::Malformed => "it is no RSA key of 2,048 bits",
            KeyError::NotMade => "no key could be made",
            KeyError::NotSigned => "a signature does not verify",
        })
    }
}

impl std::error::Error for KeyError {}

/// A key that can sign.
pub(super) struct Key {
    pair: KeyPair,
    remainders: Remainders,
}

impl Key {
    /// Makes a key and gives its PKCS#8 form. Takes some tens or hundreds of milliseconds.
    pub(super) fn make() -> Result<Vec<u8>, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::NotMade)?;
        let der = pair.as_der().map_err(|_| KeyError::NotMade)?;
        Ok(der.as_ref().to_vec())
    }

    /// The key of a PKCS#8 form.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Key, KeyError> {
        let pair = KeyPair::from_pkcs8(der).map_err(|_| KeyError::Malformed)?;
        let remainders = private_key(der).and_then(Remainders::read);
        let remainders = remainders.filter(|_| pair.public_modulus_len() == KEY_BYTES);
        Ok(Key { pair, remainders: remainders.ok_or(KeyError::Malformed)? })
    }

    /// The public key as RFC 8017, A.1.1 has it.
    #[cfg(test)]
    pub(super) fn public(&self) -> impl AsRef<[u8]> {
        self.pair.public_key().clone()
    }

    /// SHA256withRSA.
    pub(super) fn sign_sha256(&self, text: &[u8]) -> Result<[u8; KEY_BYTES], KeyError> {
        let mut signature = [0; KEY_BYTES];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature);
        signed.map_err(|_| KeyError::NotSigned)?;
        Ok(signature)
    }

    /// SHA1withRSA.
    pub(super) fn sign_sha1(&self, text: &[u8]) -> Result<[u8; KEY_BYTES], KeyError> {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text);
        let signature = self.remainders.power(&padded(hash.as_ref()));
        let public = self.pair.public_key();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public)
            .verify(text, &signature)
            .map_err(|_| KeyError::NotSigned)?;
        Ok(signature)
    }
}

/// EMSA-PKCS1-v1_5: 00 01 ff.. 00 DigestInfo digest.
fn padded(digest: &[u8]) -> [u8; KEY_BYTES] {
    let mut block = [0xff; KEY_BYTES];
    block[0] = 0;
    block[1] = 1;
    let info_at = KEY_BYTES - digest.len() - SHA1_INFO.len();
    block[info_at - 1] = 0;
    block[info_at..info_at + SHA1_INFO.len()].copy_from_slice(&SHA1_INFO);
    block[info_at + SHA1_INFO.len()..].copy_from_slice(digest);
    block
}

/// The private key as RFC 8017, 3.2 has it in its second form.
struct Remainders {
    p: FixedMontyParams<{ U1024::LIMBS }>,
    q: FixedMontyParams<{ U1024::LIMBS }>,
    exponent_p: U1024,
    exponent_q: U1024,
    /// The inverse of q modulo p.
    coefficient: FixedMontyForm<{ U1024::LIMBS }>,
}

impl Remainders {
    /// Reads RSAPrivateKey (RFC 8017, A.1.2).
    fn read(der: &[u8]) -> Option<Remainders> {
        let mut fields = der;
        // Version, modulus, public exponent and private exponent stand in front.
        for _ in 0..4 {
            element(&mut fields, INTEGER)?;
        }
        let mut next = || {
            let bytes = element(&mut fields, INTEGER)?;
            let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            let mut whole = [0; PRIME_BYTES];
            whole.get_mut(PRIME_BYTES.checked_sub(digits.len())?..)?.copy_from_slice(digits);
            Some(U1024::from_be_slice(&whole))
        };
        let (p, q) = (next()?, next()?);
        let (exponent_p, exponent_q, coefficient) = (next()?, next()?, next()?);
        let odd = |number: U1024| Option::<Odd<U1024>>::from(Odd::new(number));
        let p = FixedMontyParams::new(odd(p)?);
        let q = FixedMontyParams::new(odd(q)?);
        Some(Remainders { coefficient: FixedMontyForm::new(&coefficient, &p), p, q, exponent_p, exponent_q })
    }

    /// The block to the power of the private exponent (RFC 8017, 5.2.1).
    fn power(&self, block: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
        let message = U2048::from_be_slice(block);
        let (p, q) = (self.p.modulus().as_nz_ref(), self.q.modulus().as_nz_ref());
        let first = FixedMontyForm::new(&message.rem(p), &self.p).pow(&self.exponent_p);
        let second = FixedMontyForm::new(&message.rem(q), &self.q).pow(&self.exponent_q).retrieve();
        let second_at_p = FixedMontyForm::new(&second.rem(p), &self.p);
        let factor = first.sub(&second_at_p).mul(&self.coefficient).retrieve();
        let product: U2048 = factor.concatenating_mul(self.q.modulus().as_ref());
        let signature = product.wrapping_add(&second.resize());
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(signature.to_be_bytes().as_ref());
        bytes
    }
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The fields of the RSAPrivateKey in a PKCS#8 form (RFC 5208, 5).
fn private_key(mut der: &[u8]) -> Option<&[u8]> {
    let mut fields = element(&mut der, SEQUENCE)?;
    element(&mut fields, INTEGER)?;
    element(&mut fields, SEQUENCE)?;
    let mut key = element(&mut fields, OCTET_STRING)?;
    element(&mut key, SEQUENCE)
}

/// Takes one DER element of this kind off the front and gives its contents.
fn element<'a>(der: &mut &'a [u8], kind: u8) -> Option<&'a [u8]> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *der = rest;
    (*found == kind).then_some(contents)
}
