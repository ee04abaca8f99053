//! How what the content store could not do is told to clients.
//! Invariant: a client's own mistake, a full store and a fault stay three different things.
//! Leaves to `refusal`: the status and the shape of each.

use cas::{KeyError, PutError};

use crate::refusal::Refusal;

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Refusal {
        match error {
            PutError::TooLarge => Refusal::TooLarge,
            PutError::BadDigest { actual } => {
                Refusal::Bad("BadDigest", format!("The SHA-256 of the bytes is {actual}.").into())
            }
            PutError::Full => Refusal::Full,
            PutError::QuotaFull => Refusal::QuotaFull,
            PutError::Blocked => Refusal::Blocked,
            PutError::Body(failure) => Refusal::from(failure),
            PutError::Fault(fault) => Refusal::from(fault),
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Refusal {
        match error {
            KeyError::Missing(digests) => Refusal::MissingOutputs(digests),
            KeyError::Exists => {
                Refusal::Conflict("KeyExists", "There is a value under this key already.".into())
            }
            KeyError::TooLarge => Refusal::TooLarge,
            KeyError::Full => Refusal::Full,
            KeyError::QuotaFull => Refusal::QuotaFull,
            KeyError::Fault(fault) => Refusal::from(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use cas::{Dialect, Digest};
    use plan::BodyFailure;
    use store::Fault;

    use super::*;
    use crate::refusal::Kind;

    fn status(refusal: &Refusal) -> u16 {
        refusal.status(Dialect::Native, Kind::Write).as_u16()
    }

    #[test]
    fn each_failure_of_an_upload_has_its_status() {
        let actual = Digest::of(b"other");
        let failures = [
            (PutError::TooLarge, 413),
            (PutError::BadDigest { actual }, 400),
            (PutError::Full, 507),
            (PutError::QuotaFull, 507),
            (PutError::Blocked, 409),
            (PutError::Body(BodyFailure::Incomplete), 400),
            (PutError::Fault(Fault::Busy), 503),
            (PutError::Fault(Fault::corrupt("x".into())), 500),
        ];
        for (failure, expected) in failures {
            let shown = format!("{failure:?}");
            assert_eq!(status(&Refusal::from(failure)), expected, "{shown}");
        }
        let told = Refusal::from(PutError::BadDigest { actual }).text().into_owned();
        assert!(told.contains(&actual.to_string()), "{told}");
    }

    #[test]
    fn each_failure_of_a_key_has_its_status() {
        let failures = [
            (KeyError::Missing(vec![Digest::of(b"gone")]), 400),
            (KeyError::Exists, 409),
            (KeyError::TooLarge, 413),
            (KeyError::Full, 507),
            (KeyError::QuotaFull, 507),
            (KeyError::Fault(Fault::Closed), 503),
        ];
        for (failure, expected) in failures {
            let shown = format!("{failure:?}");
            assert_eq!(status(&Refusal::from(failure)), expected, "{shown}");
        }
    }
}
