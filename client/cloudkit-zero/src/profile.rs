//! Credentials files in AWS profile form: `[name]` lines with `key = value` lines below them.
//! Messages name the line and show nothing of it.

use std::path::Path;

use crate::credentials::Keys;
use crate::error::WireError;

/// A larger file is none of ours.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The keys of profile `profile` in `text`, which was read from `path`. None when there is no such profile.
/// Errors: a line that is neither profile, pair nor comment; a profile with one half of a key.
pub fn parse(path: &Path, text: &str, profile: &str) -> Result<Option<Keys>, WireError> {
    let refuse = |message: &str| WireError::credentials(format!("{}: {message}", path.display()));
    if text.len() > FILE_BYTES_MAX {
        return Err(refuse("is too large for a credentials file"));
    }
    let (mut access, mut secret, mut token) = (None, None, None);
    let (mut is_ours, mut was_there) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']').trim();
            is_ours = name.strip_prefix("profile ").unwrap_or(name).trim() == profile;
            was_there |= is_ours;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            let message =
                format!("line {} is neither a profile, a `key = value` line nor a comment", index + 1);
            return Err(refuse(&message));
        };
        if !is_ours {
            continue;
        }
        let value = value.trim();
        match key.trim() {
            "aws_access_key_id" => access = Some(value),
            "aws_secret_access_key" => secret = Some(value),
            "aws_session_token" => token = Some(value.to_string()),
            // Region and the like are for other tools.
            _ => {}
        }
    }
    match (access, secret) {
        (Some(access), Some(secret)) if !access.is_empty() && !secret.is_empty() => Ok(Some(Keys {
            session_token: token.filter(|token| !token.is_empty()),
            ..Keys::new(access, secret)
        })),
        (None, None) if !was_there => Ok(None),
        _ => Err(refuse(&format!("profile [{profile}] needs aws_access_key_id and aws_secret_access_key"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "# The root key of this ZeroCloud data directory, made at its first start. Keep it secret.\n\
        # To use it: eval \"$(zerocloud env --data DIR)\", or AWS_SHARED_CREDENTIALS_FILE=this file.\n\
        [default]\naws_access_key_id = ZCLDABC\naws_secret_access_key = a/b+c=\n";

    fn read(text: &str, profile: &str) -> Result<Option<Keys>, WireError> {
        parse(Path::new("credentials"), text, profile)
    }

    #[test]
    fn the_file_that_the_appliance_writes_is_read() {
        let keys = read(WRITTEN, "default").expect("it is well formed").expect("the profile is there");
        assert_eq!((keys.access_key.as_str(), keys.secret_key.as_str()), ("ZCLDABC", "a/b+c="));
        assert_eq!(keys.session_token, None);
    }

    #[test]
    fn a_profile_is_found_among_others() {
        let text = format!(
            "{WRITTEN}region=x\r\n[ other ]\r\naws_access_key_id=A\naws_secret_access_key=B\naws_session_token = T\n[last]\n"
        );
        let keys = read(&text, "other").unwrap().unwrap();
        assert_eq!((keys.access_key.as_str(), keys.session_token.as_deref()), ("A", Some("T")));
        assert!(read(&text, "none").unwrap().is_none());
        assert!(read(&text, "last").is_err());
    }

    #[test]
    fn messages_name_the_line_and_show_nothing_of_it() {
        let error =
            read("[default]\naws_secret_access_key hidden\n", "default").expect_err("there is no sign");
        assert!(error.message().contains("line 2"), "{error}");
        assert!(!error.message().contains("hidden"), "{error}");
        let error = read("[default]\naws_secret_access_key = hidden\n", "default").expect_err("half a key");
        assert!(!error.message().contains("hidden"), "{error}");
    }
}
