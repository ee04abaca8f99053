//! Users, groups and sign-in.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The identity, which never changes.
    pub id: String,
    /// The name, by which the methods know the user.
    pub username: String,
    /// The address of mail.
    pub email: Option<String>,
    /// Whether that address is the user's.
    pub email_verified: bool,
    /// The number of the telephone.
    pub phone_number: Option<String>,
    /// Whether that number is the user's.
    pub phone_verified: bool,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// How far the user has come.
    pub status: UserStatus,
    /// When the user was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When the user last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// Further attributes.
    pub attributes: Metadata,
}

impl User {
    /// A user who may sign in and is not confirmed yet.
    pub fn new(id: impl Into<String>, username: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            username: username.into(),
            email: None,
            email_verified: false,
            phone_number: None,
            phone_verified: false,
            enabled: true,
            status: UserStatus::Unconfirmed,
            created_at: None,
            updated_at: None,
            attributes: Metadata::new(),
        }
    }
}

/// How far a user has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum UserStatus {
    /// Not confirmed yet.
    #[default]
    Unconfirmed,
    /// Confirmed.
    Confirmed,
    /// No longer in use.
    Archived,
    /// Known to somebody else.
    Compromised,
    /// The provider does not tell.
    Unknown,
    /// Must reset the password.
    ResetRequired,
    /// Must change the password at the next sign-in.
    ForceChangePassword,
}

/// A group of users.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserGroup {
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The role whose rights its users have.
    pub role_arn: Option<String>,
    /// Which group's role wins: the lowest.
    pub precedence: Option<u32>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
}

/// The tokens of a user who is signed in. Debug shows none of them.
#[derive(Clone, Serialize, Deserialize)]
pub struct AuthResult {
    /// Opens what the user may use.
    pub access_token: String,
    /// Says who the user is.
    pub id_token: Option<String>,
    /// Gets new tokens.
    pub refresh_token: Option<String>,
    /// How the access token is sent, such as `Bearer`.
    pub token_type: String,
    /// For how many seconds the tokens are valid.
    pub expires_in: u64,
}

impl fmt::Debug for AuthResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |token: &Option<String>| token.as_ref().map(|_| "hidden");
        f.debug_struct("AuthResult")
            .field("access_token", &"hidden")
            .field("id_token", &hidden(&self.id_token))
            .field("refresh_token", &hidden(&self.refresh_token))
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .finish()
    }
}

/// What the provider asks before it signs a user in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthChallenge {
    /// What it asks.
    pub challenge_name: ChallengeType,
    /// Ties the answer to the question.
    pub session: String,
    /// What the user needs to know for the answer.
    pub parameters: Metadata,
}

/// What a provider may ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChallengeType {
    /// A code from a text message.
    SmsMfa,
    /// A code from a program.
    SoftwareTokenMfa,
    /// A new password.
    NewPasswordRequired,
    /// To set up a second factor.
    MfaSetup,
    /// To choose a second factor.
    SelectMfaType,
    /// Something of the provider's own.
    Custom(String),
}

/// How a sign-in goes on.
#[derive(Debug, Clone)]
pub enum InitiateAuthResult {
    /// The user is signed in.
    Success(AuthResult),
    /// The provider asks something first.
    Challenge(AuthChallenge),
}

/// How a user is made.
#[derive(Clone, Default)]
pub struct CreateUserOptions {
    /// The password of the first sign-in; without it, the provider makes one. Debug does not show it.
    pub temporary_password: Option<String>,
    /// Whether the user gets a mail.
    pub send_email: bool,
    /// Whether the address of mail counts as the user's.
    pub email_verified: bool,
    /// Further attributes.
    pub attributes: Metadata,
}

impl fmt::Debug for CreateUserOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateUserOptions")
            .field("temporary_password", &self.temporary_password.as_ref().map(|_| "hidden"))
            .field("send_email", &self.send_email)
            .field("email_verified", &self.email_verified)
            .field("attributes", &self.attributes)
            .finish()
    }
}

/// Users, groups and sign-in.
///
/// What is missing is [`NotFound`](crate::common::CloudError::NotFound) with the `resource_type` `User` or `Group`.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// Makes a user.
    async fn create_user(
        &self,
        username: &str,
        email: Option<&str>,
        options: CreateUserOptions,
    ) -> CloudResult<User>;

    /// A user.
    async fn get_user(&self, username: &str) -> CloudResult<User>;

    /// Sets these attributes of a user and leaves the others.
    async fn update_user(&self, username: &str, attributes: Metadata) -> CloudResult<User>;

    /// Deletes a user.
    async fn delete_user(&self, username: &str) -> CloudResult<()>;

    /// Lets a user sign in.
    async fn enable_user(&self, username: &str) -> CloudResult<()>;

    /// Lets a user sign in no more.
    async fn disable_user(&self, username: &str) -> CloudResult<()>;

    /// Users, at most this many.
    async fn list_users(&self, limit: Option<u32>) -> CloudResult<Vec<User>>;

    /// The users that match a filter in the provider's form.
    async fn search_users(&self, filter: &str) -> CloudResult<Vec<User>>;

    /// Signs a user in.
    async fn initiate_auth(&self, username: &str, password: &str) -> CloudResult<InitiateAuthResult>;

    /// Answers what the provider asked.
    async fn respond_to_challenge(
        &self,
        challenge_name: ChallengeType,
        session: &str,
        responses: Metadata,
    ) -> CloudResult<InitiateAuthResult>;

    /// Gets new tokens.
    async fn refresh_tokens(&self, refresh_token: &str) -> CloudResult<AuthResult>;

    /// Ends the validity of a user's tokens.
    async fn sign_out(&self, access_token: &str) -> CloudResult<()>;

    /// Sends a user a code for a new password.
    async fn forgot_password(&self, username: &str) -> CloudResult<()>;

    /// Sets a new password with that code.
    async fn confirm_forgot_password(
        &self,
        username: &str,
        code: &str,
        new_password: &str,
    ) -> CloudResult<()>;

    /// Sets a new password in place of the old one.
    async fn change_password(
        &self,
        access_token: &str,
        old_password: &str,
        new_password: &str,
    ) -> CloudResult<()>;

    /// Makes a group.
    async fn create_group(&self, name: &str, description: Option<&str>) -> CloudResult<UserGroup>;

    /// Deletes a group, not its users.
    async fn delete_group(&self, name: &str) -> CloudResult<()>;

    /// All groups.
    async fn list_groups(&self) -> CloudResult<Vec<UserGroup>>;

    /// Puts a user into a group.
    async fn add_user_to_group(&self, username: &str, group_name: &str) -> CloudResult<()>;

    /// Takes a user out of a group.
    async fn remove_user_from_group(&self, username: &str, group_name: &str) -> CloudResult<()>;

    /// The groups of a user.
    async fn list_user_groups(&self, username: &str) -> CloudResult<Vec<UserGroup>>;

    /// The users of a group.
    async fn list_users_in_group(&self, group_name: &str) -> CloudResult<Vec<User>>;

    /// What this provider's directory can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::IdentityProvider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_token_and_no_password() {
        let tokens = AuthResult {
            access_token: "t0k3n".into(),
            id_token: Some("t0k3n".into()),
            refresh_token: Some("t0k3n".into()),
            token_type: "Bearer".into(),
            expires_in: 3600,
        };
        let options = CreateUserOptions { temporary_password: Some("t0k3n".into()), ..Default::default() };
        let text = format!("{:?} {options:?}", InitiateAuthResult::Success(tokens));
        assert!(!text.contains("t0k3n") && text.contains("Bearer"), "{text}");
    }
}
