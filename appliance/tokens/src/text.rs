//! What a token looks like: `zct_<id>_<secret>`.
//! Invariant: a secret prints as nothing, and what is stored of it is its SHA-256 alone.
//!
//! ```text
//! id      8 of a-z 0-9, visible: it names the token in lists and logs
//! secret  43 of A-Z a-z 0-9 - _ : 32 random bytes in base64url without padding
//! ```

use std::fmt;

/// How every token begins, so that scanners of repositories find one that was committed.
pub const PREFIX: &str = "zct_";
/// Letters of an id.
pub const ID_BYTES: usize = 8;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Letters of a secret.
const SECRET_LETTERS: usize = 43;

/// 36 letters would leave a remainder; of these 32 each stands for five bits. Without i, l, o, u, which are misread.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// RFC 4648 5.
const SECRET_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The visible name of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; ID_BYTES]);

impl TokenId {
    /// An id of random bits.
    #[must_use]
    pub fn draw(random: &mut dyn FnMut() -> u64) -> TokenId {
        let bits = random();
        let mut letters = [0; ID_BYTES];
        for (index, letter) in letters.iter_mut().enumerate() {
            *letter = ID_ALPHABET[(bits >> (5 * index)) as usize & 31];
        }
        TokenId(letters)
    }

    /// Reads an id: 8 of a-z and 0-9.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<TokenId> {
        let letters: [u8; ID_BYTES] = text.try_into().ok()?;
        letters
            .iter()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            .then_some(TokenId(letters))
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("letters and digits are ASCII")
    }

    /// The key of its record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of these letters.
    #[must_use]
    pub fn of(secret: &[u8]) -> Fingerprint {
        Fingerprint(hash::sha256(secret))
    }

    /// Whether both are of one secret, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Fingerprint) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |sum, (one, two)| sum | (one ^ two));
        // Without this the compiler may leave the loop at the first difference.
        std::hint::black_box(difference) == 0
    }
}

/// A new token, which is shown once.
pub struct NewToken {
    /// Its name.
    pub id: TokenId,
    secret: String,
}

impl NewToken {
    /// A secret of 256 random bits behind `id`.
    #[must_use]
    pub fn draw(id: TokenId, random: &mut dyn FnMut() -> u64) -> NewToken {
        let mut bytes = [0; SECRET_BYTES];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random().to_le_bytes());
        }
        NewToken { id, secret: base64url(&bytes) }
    }

    /// What is stored of it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.secret.as_bytes())
    }

    /// The whole token, for the one reply that shows it.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

/// Splits a token into its id and the letters of its secret. None: no token of ours.
#[must_use]
pub fn split(text: &[u8]) -> Option<(TokenId, &[u8])> {
    let rest = text.strip_prefix(PREFIX.as_bytes())?;
    let (id, rest) = rest.split_at_checked(ID_BYTES)?;
    let secret = rest.strip_prefix(b"_")?;
    let is_secret = secret.len() == SECRET_LETTERS
        && secret.iter().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(letter));
    is_secret.then_some((TokenId::parse(id)?, secret))
}

fn base64url(bytes: &[u8; SECRET_BYTES]) -> String {
    let mut text = String::with_capacity(SECRET_LETTERS);
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for index in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..=chunk.len() {
            text.push(char::from(SECRET_ALPHABET[(bits >> (18 - 6 * index)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> impl FnMut() -> u64 {
        let mut state = 0_u64;
        move || {
            state += 1;
            state.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }
    }

    #[test]
    fn a_token_that_was_drawn_splits_into_its_parts() {
        let mut random = counting();
        for _ in 0..1_000 {
            let id = TokenId::draw(&mut random);
            let token = NewToken::draw(id, &mut random);
            let text = token.reveal();
            assert_eq!(text.len(), 56, "{text}");
            let (found, secret) = split(text.as_bytes()).expect("a token");
            assert_eq!(found, id);
            assert!(Fingerprint::of(secret).matches(&token.fingerprint()));
        }
    }

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        let mut bytes = [0; SECRET_BYTES];
        bytes[0] = 0xfb;
        bytes[1] = 0xff;
        bytes[31] = 1;
        assert_eq!(base64url(&bytes), format!("-_8{}E", "A".repeat(39)));
    }

    #[test]
    fn what_is_no_token_of_ours_does_not_split() {
        let good = format!("zct_abcdefgh_{}", "A".repeat(43));
        assert!(split(good.as_bytes()).is_some());
        for bad in [
            "",
            "zct_",
            "zct_abcdefgh",
            "zct_abcdefgh_",
            &good[..55],
            &format!("{good}A"),
            &good.replace("zct", "zcx"),
            &good.replace("abc", "aBc"),
            &good.replace("AAA", "A A"),
            &good.replace('A', "é"),
        ] {
            assert!(split(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_differ_in_every_byte() {
        let one = Fingerprint::of(b"secret");
        for index in 0..32 {
            let mut other = one;
            other.0[index] ^= 1;
            assert!(!one.matches(&other));
        }
        assert!(one.matches(&Fingerprint::of(b"secret")));
    }
}
