//! Tokens by which web hooks confirm that they want what somebody subscribed them to.
//! Invariant: a subscription has one token at most, the last that was sent; it goes with the subscription.
//!
//! ```text
//! key    that of the subscription
//! value  version 2 | secret 32 | expiry ms | since ms | questions     version 1 has no questions
//! token  hex of subscription 16 | secret 32
//! ```

use store::fields::{FieldReader, FieldWriter};
use store::{Fault, Timestamp};

use crate::model::arn::Uuid;

const VERSION: u8 = 2;
const VERSION_WITHOUT_QUESTIONS: u8 = 1;
const WHAT: &str = "sns confirmation";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// What nobody can guess who was not told.
pub type Secret = [u8; SECRET_BYTES];

/// The record of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirmation {
    /// The secret.
    pub secret: Secret,
    /// Until when it is good.
    pub expiry: Timestamp,
    /// The questions that were sent since a time; None where nobody counted them.
    pub questions: Option<Questions>,
}

/// How often a subscriber was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Questions {
    /// Since when.
    pub since: Timestamp,
    /// How often.
    pub count: u64,
}

/// A token as clients see it.
#[must_use]
pub fn token_text(subscription: Uuid, secret: &Secret) -> String {
    aws::encoding::hex(&[&subscription.0[..], secret].concat())
}

/// The subscription and the secret of a token; None: it is none.
#[must_use]
pub fn parse_token(text: &str) -> Option<(Uuid, Secret)> {
    let bytes: [u8; ID_BYTES + SECRET_BYTES] = aws::encoding::unhex(text.as_bytes())?;
    let (id, secret) = bytes.split_first_chunk::<ID_BYTES>()?;
    Some((Uuid(*id), secret.try_into().ok()?))
}

impl Confirmation {
    /// Whether this is the secret. The time that it takes does not depend on where they differ.
    #[must_use]
    pub fn is(&self, secret: &Secret) -> bool {
        self.secret.iter().zip(secret).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
    }

    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = if self.questions.is_some() { VERSION } else { VERSION_WITHOUT_QUESTIONS };
        let mut out = FieldWriter::new(version);
        out.raw(&self.secret);
        out.number(self.expiry.0);
        if let Some(Questions { since, count }) = self.questions {
            out.number(since.0);
            out.number(count);
        }
        out.into_bytes()
    }

    /// Reads one. Errors: `Fault::Corrupt`.
    pub fn decode(value: &[u8]) -> Result<Confirmation, Fault> {
        let has_questions = value.first() != Some(&VERSION_WITHOUT_QUESTIONS);
        let version = if has_questions { VERSION } else { VERSION_WITHOUT_QUESTIONS };
        let mut r = FieldReader::new(value, version, WHAT)?;
        let (secret, expiry) = (r.array()?, Timestamp(r.number()?));
        let questions = match has_questions {
            true => Some(Questions { since: Timestamp(r.number()?), count: r.number()? }),
            false => None,
        };
        let confirmation = Confirmation { secret, expiry, questions };
        if r.is_empty() { Ok(confirmation) } else { Err(r.damaged("goes on behind its end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_subscription_and_keeps_its_secret() {
        let (id, secret) = (Uuid([1; 16]), [0xab; 32]);
        let text = token_text(id, &secret);
        assert_eq!(text.len(), 96);
        assert_eq!(parse_token(&text), Some((id, secret)));
        for wrong in ["", "x", &text[2..], &format!("{text}00"), &text.replace('a', "g")] {
            assert_eq!(parse_token(wrong), None, "{wrong}");
        }
        let former = [&[1][..], &secret, &[9]].concat();
        let found = Confirmation::decode(&former).expect("what an earlier version wrote");
        assert_eq!(found, Confirmation { secret, expiry: Timestamp(9), questions: None });
        assert_eq!(found.encode(), former);
        let questions = Some(Questions { since: Timestamp(7), count: 3 });
        let stored = Confirmation { secret, expiry: Timestamp(9), questions };
        let value = stored.encode();
        assert_eq!(Confirmation::decode(&value).expect("decodes"), stored);
        for length in 0..value.len() {
            assert!(Confirmation::decode(&value[..length]).is_err(), "length {length}");
        }
        let mut other = secret;
        other[31] ^= 1;
        assert!(stored.is(&secret) && !stored.is(&other));
    }
}
