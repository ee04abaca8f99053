//! The pair of keys that signs requests. Invariant: no formatting of it shows a secret.

use super::error::{AuthError, CloudError, CloudResult};
use std::fmt;

/// An access key, its secret, and for temporary ones a session token.
#[derive(Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// The token of a temporary pair, as secret as the key.
    pub session_token: Option<String>,
}

impl Credentials {
    /// A lasting pair.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
    }

    /// A temporary pair with its token.
    pub fn with_session_token(
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
        session_token: impl Into<String>,
    ) -> Self {
        Self { session_token: Some(session_token.into()), ..Self::new(access_key, secret_key) }
    }

    /// The pair of the environment: `CLOUD_ACCESS_KEY`, `CLOUD_SECRET_KEY` and `CLOUD_SESSION_TOKEN`; where the first two
    /// are not both there, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// [`AuthError::MissingCredentials`] when neither pair is whole. An empty variable counts as one that is not set.
    pub fn from_env() -> CloudResult<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same with the environment as an argument.
    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> CloudResult<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        for [access, secret, token] in [
            ["CLOUD_ACCESS_KEY", "CLOUD_SECRET_KEY", "CLOUD_SESSION_TOKEN"],
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        ] {
            // Each name of a pair comes from the same family: a key with another's secret signs nothing that verifies.
            if let (Some(access_key), Some(secret_key)) = (set(access), set(secret)) {
                return Ok(Self { access_key, secret_key, session_token: set(token) });
            }
        }
        Err(CloudError::Auth(AuthError::MissingCredentials(String::from(
            "neither CLOUD_ACCESS_KEY with CLOUD_SECRET_KEY nor AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY is set",
        ))))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .field("secret_key", &"hidden")
            .field("session_token", &self.session_token.as_ref().map(|_| "hidden"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> CloudResult<Credentials> {
        Credentials::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn debug_hides_both_secrets() {
        let text = format!("{:?}", Credentials::with_session_token("AKIA", "s3cr3t", "t0k3n"));
        assert!(text.contains("AKIA"), "{text}");
        assert!(!text.contains("s3cr3t") && !text.contains("t0k3n"), "{text}");
        let alternate = format!("{:#?}", Credentials::new("AKIA", "s3cr3t"));
        assert!(!alternate.contains("s3cr3t") && alternate.contains("None"), "{alternate}");
    }

    #[test]
    fn the_cloud_names_win_over_the_aws_names_as_a_whole_pair() {
        let aws = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_SESSION_TOKEN", "c")];
        let found = from(&aws).unwrap();
        assert_eq!((found.access_key.as_str(), found.secret_key.as_str()), ("a", "b"));
        assert_eq!(found.session_token.as_deref(), Some("c"));

        let both = [aws.as_slice(), &[("CLOUD_ACCESS_KEY", "x"), ("CLOUD_SECRET_KEY", "y")]].concat();
        let found = from(&both).unwrap();
        assert_eq!((found.access_key.as_str(), found.secret_key.as_str()), ("x", "y"));
        assert_eq!(found.session_token, None, "a token of the other pair would spoil this one");

        let half = [aws.as_slice(), &[("CLOUD_ACCESS_KEY", "x"), ("CLOUD_SECRET_KEY", "")]].concat();
        assert_eq!(from(&half).unwrap().access_key, "a");
    }

    #[test]
    fn an_empty_environment_is_missing_credentials() {
        let refused = from(&[("AWS_ACCESS_KEY_ID", "a")]).unwrap_err();
        assert!(matches!(refused, CloudError::Auth(AuthError::MissingCredentials(_))), "{refused:?}");
    }
}
