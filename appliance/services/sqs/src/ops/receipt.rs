//! What operations on received messages have in common: the handle and the visibility.

use crate::model::limits::{HANDLE_BYTES_MAX, VISIBILITY_SECONDS_MAX};
use crate::wire::error::Error;

/// A handle that may be one. Errors: MissingParameter; ReceiptHandleIsInvalid for one that is too long to be.
pub fn check_handle(handle: Option<&str>) -> Result<Box<str>, Error> {
    let handle = handle.filter(|handle| !handle.is_empty()).ok_or_else(|| Error::missing("ReceiptHandle"))?;
    if handle.len() > HANDLE_BYTES_MAX { Err(Error::no_handle(handle)) } else { Ok(handle.into()) }
}

/// A visibility to change to. Errors: MissingParameter, InvalidParameterValue.
pub fn check_visibility(seconds: Option<i32>) -> Result<u32, Error> {
    let seconds = seconds.ok_or_else(|| Error::missing("VisibilityTimeout"))?;
    match u32::try_from(seconds) {
        Ok(right) if right <= VISIBILITY_SECONDS_MAX => Ok(right),
        Ok(beyond) => Err(Error::visibility_beyond_limit(beyond.into())),
        Err(_) => {
            let reason = format!("Must be >= 0 and <= {VISIBILITY_SECONDS_MAX}, if provided.");
            Err(Error::invalid_value("VisibilityTimeout", seconds, &reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::error::Code;

    #[test]
    fn handles_and_visibilities_have_their_bounds() {
        assert_eq!(check_handle(None).expect_err("refused").code, Code::MissingParameter);
        assert_eq!(check_handle(Some("")).expect_err("refused").code, Code::MissingParameter);
        assert_eq!(check_handle(Some("x")), Ok("x".into()));
        let long = "x".repeat(HANDLE_BYTES_MAX + 1);
        assert_eq!(check_handle(Some(&long)).expect_err("refused").code, Code::ReceiptHandleIsInvalid);
        assert_eq!((check_visibility(Some(0)), check_visibility(Some(43_200))), (Ok(0), Ok(43_200)));
        assert!(check_visibility(Some(43_201)).expect_err("refused").message.contains("beyond the limit"));
        assert!(check_visibility(Some(-1)).expect_err("refused").message.contains("Value -1"));
        assert_eq!(check_visibility(None).expect_err("refused").code, Code::MissingParameter);
    }
}
