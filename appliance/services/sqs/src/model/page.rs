//! The tokens that lead from one page of a listing to the next.
//! Invariant: a token is taken only by the listing that gave it, with the same parameters; what it holds is a name behind
//! which to go on, so that a listing that goes on meets every queue that was there all the time once.
//! Leaves to the operations: what is listed.

use aws::encoding::{base64, unbase64};
use sha2::{Digest, Sha256};

use crate::wire::error::Error;

/// Queues on a page at most, and where nothing is said.
pub const RESULTS_MAX: i32 = 1_000;
/// Bytes of the check in front of the name.
const CHECK_BYTES: usize = 8;
/// A longer text is no token of ours: a name has 80 characters.
const TOKEN_BYTES_MAX: usize = 200;

/// A listing with its parameters.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    /// The operation.
    pub operation: &'static str,
    /// Whose queues.
    pub account: &'a str,
    /// What else decides on the list: the prefix, or the target of dead letters.
    pub parameter: &'a str,
}

impl Listing<'_> {
    fn check(&self, name: &str) -> [u8; CHECK_BYTES] {
        let mut hash = Sha256::new();
        for part in [self.operation, self.account, self.parameter, name] {
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        *digest.first_chunk().expect("a SHA-256 has 32 bytes")
    }

    /// The token that leads behind a name.
    #[must_use]
    pub fn token_after(&self, name: &str) -> String {
        let mut bytes = self.check(name).to_vec();
        bytes.extend_from_slice(name.as_bytes());
        base64(&bytes)
    }

    /// The name behind which to go on. Errors: InvalidParameterValue.
    pub fn after(&self, token: &str) -> Result<String, Error> {
        let refused = || Error::invalid("Invalid or expired next token.");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused());
        }
        let bytes = unbase64(token.as_bytes()).ok_or_else(refused)?;
        let (check, name) = bytes.split_first_chunk::<CHECK_BYTES>().ok_or_else(refused)?;
        let name = str::from_utf8(name).map_err(|_| refused())?;
        if self.check(name) != *check {
            return Err(Error::invalid(
                "Invalid NextToken value. If you are passing in NextToken, you must not change the other request \
                 parameters.",
            ));
        }
        Ok(name.to_owned())
    }
}

/// How many to list. Errors: InvalidParameterValue outside 1 to 1,000.
pub fn results(asked: Option<i32>) -> Result<usize, Error> {
    let count = asked.unwrap_or(RESULTS_MAX);
    if !(1..=RESULTS_MAX).contains(&count) {
        return Err(Error::invalid(
            "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000.",
        ));
    }
    Ok(usize::try_from(count).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: Listing<'static> =
        Listing { operation: "ListQueues", account: "111111111111", parameter: "prefix" };

    #[test]
    fn a_token_leads_behind_the_name_that_it_was_made_of() {
        for name in ["q", "", "q.fifo", &"x".repeat(80)] {
            assert_eq!(LISTING.after(&LISTING.token_after(name)), Ok(name.to_owned()));
        }
    }

    #[test]
    fn a_token_is_of_one_listing_with_its_parameters() {
        let token = LISTING.token_after("q");
        for other in [
            Listing { operation: "ListDeadLetterSourceQueues", ..LISTING },
            Listing { account: "222222222222", ..LISTING },
            Listing { parameter: "prefi", ..LISTING },
        ] {
            let error = other.after(&token).expect_err("is refused");
            assert!(error.message.starts_with("Invalid NextToken value."), "{error:?}");
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in ["", "invalidtoken", "!", "AAAA", &"A".repeat(10_000)] {
            let error = LISTING.after(text).expect_err("is refused");
            assert!(error.message.starts_with("Invalid"), "{error:?}");
        }
    }

    #[test]
    fn a_page_holds_one_to_a_thousand_queues() {
        assert_eq!((results(None), results(Some(1)), results(Some(1_000))), (Ok(1_000), Ok(1), Ok(1_000)));
        for asked in [0, -1, 1_001, i32::MIN, i32::MAX] {
            results(Some(asked)).expect_err("is refused");
        }
    }
}
