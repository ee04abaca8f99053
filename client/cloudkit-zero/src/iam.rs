//! Users, groups and sign-in: the trait is there, the service is not yet.
//! Invariant: every method fails with the typed refusal that `capabilities()` announces; nothing is sent.

use async_trait::async_trait;
use cloudkit_core::api::{
    AuthResult, Capabilities, ChallengeType, CreateUserOptions, IdentityProvider, InitiateAuthResult,
    Service, User, UserGroup,
};
use cloudkit_core::common::{CloudResult, Failure, Metadata};

use crate::failure::PROVIDER;

/// Users, groups and sign-in. Not there yet: `capabilities()` says `no` of each method.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ZeroId;

impl ZeroId {
    fn refuse<T>(&self, method: &str) -> Result<T, Failure> {
        Err(IdentityProvider::capabilities(self).unsupported(method))
    }
}

#[async_trait]
impl IdentityProvider for ZeroId {
    async fn create_user(
        &self,
        _username: &str,
        _email: Option<&str>,
        _options: CreateUserOptions,
    ) -> CloudResult<User> {
        Ok(self.refuse("create_user")?)
    }

    async fn get_user(&self, _username: &str) -> CloudResult<User> {
        Ok(self.refuse("get_user")?)
    }

    async fn update_user(&self, _username: &str, _attributes: Metadata) -> CloudResult<User> {
        Ok(self.refuse("update_user")?)
    }

    async fn delete_user(&self, _username: &str) -> CloudResult<()> {
        Ok(self.refuse("delete_user")?)
    }

    async fn enable_user(&self, _username: &str) -> CloudResult<()> {
        Ok(self.refuse("enable_user")?)
    }

    async fn disable_user(&self, _username: &str) -> CloudResult<()> {
        Ok(self.refuse("disable_user")?)
    }

    async fn list_users(&self, _limit: Option<u32>) -> CloudResult<Vec<User>> {
        Ok(self.refuse("list_users")?)
    }

    async fn search_users(&self, _filter: &str) -> CloudResult<Vec<User>> {
        Ok(self.refuse("search_users")?)
    }

    async fn initiate_auth(&self, _username: &str, _password: &str) -> CloudResult<InitiateAuthResult> {
        Ok(self.refuse("initiate_auth")?)
    }

    async fn respond_to_challenge(
        &self,
        _challenge_name: ChallengeType,
        _session: &str,
        _responses: Metadata,
    ) -> CloudResult<InitiateAuthResult> {
        Ok(self.refuse("respond_to_challenge")?)
    }

    async fn refresh_tokens(&self, _refresh_token: &str) -> CloudResult<AuthResult> {
        Ok(self.refuse("refresh_tokens")?)
    }

    async fn sign_out(&self, _access_token: &str) -> CloudResult<()> {
        Ok(self.refuse("sign_out")?)
    }

    async fn forgot_password(&self, _username: &str) -> CloudResult<()> {
        Ok(self.refuse("forgot_password")?)
    }

    async fn confirm_forgot_password(
        &self,
        _username: &str,
        _code: &str,
        _new_password: &str,
    ) -> CloudResult<()> {
        Ok(self.refuse("confirm_forgot_password")?)
    }

    async fn change_password(
        &self,
        _access_token: &str,
        _old_password: &str,
        _new_password: &str,
    ) -> CloudResult<()> {
        Ok(self.refuse("change_password")?)
    }

    async fn create_group(&self, _name: &str, _description: Option<&str>) -> CloudResult<UserGroup> {
        Ok(self.refuse("create_group")?)
    }

    async fn delete_group(&self, _name: &str) -> CloudResult<()> {
        Ok(self.refuse("delete_group")?)
    }

    async fn list_groups(&self) -> CloudResult<Vec<UserGroup>> {
        Ok(self.refuse("list_groups")?)
    }

    async fn add_user_to_group(&self, _username: &str, _group_name: &str) -> CloudResult<()> {
        Ok(self.refuse("add_user_to_group")?)
    }

    async fn remove_user_from_group(&self, _username: &str, _group_name: &str) -> CloudResult<()> {
        Ok(self.refuse("remove_user_from_group")?)
    }

    async fn list_user_groups(&self, _username: &str) -> CloudResult<Vec<UserGroup>> {
        Ok(self.refuse("list_user_groups")?)
    }

    async fn list_users_in_group(&self, _group_name: &str) -> CloudResult<Vec<User>> {
        Ok(self.refuse("list_users_in_group")?)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::nothing(
            PROVIDER,
            Service::IdentityProvider,
            "the appliance has no directory of users yet",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_announced_as_missing() {
        let capabilities = ZeroId.capabilities();
        assert!(capabilities.iter().all(|one| !capabilities.supports(&one.name)), "{capabilities}");
    }
}
