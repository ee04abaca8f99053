//! Functions: the trait is there, the service is not yet.
//! Invariant: every method fails with the typed refusal that `capabilities()` announces; nothing is sent.

use async_trait::async_trait;
use cloudkit_core::api::{
    Capabilities, CreateFunctionOptions, Functions, InvokeOptions, InvokeResult, Service,
};
use cloudkit_core::common::{CloudResult, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::PROVIDER;

/// Functions. Not there yet: `capabilities()` says `no` of each method.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ZeroFunc;

impl ZeroFunc {
    fn refuse<T>(&self, method: &str) -> Result<T, Failure> {
        Err(Functions::capabilities(self).unsupported(method))
    }
}

#[async_trait]
impl Functions for ZeroFunc {
    async fn invoke(&self, _function_name: &str, _payload: &[u8]) -> CloudResult<InvokeResult> {
        Ok(self.refuse("invoke")?)
    }

    async fn invoke_with_options(
        &self,
        _function_name: &str,
        _payload: &[u8],
        _options: InvokeOptions,
    ) -> CloudResult<InvokeResult> {
        Ok(self.refuse("invoke_with_options")?)
    }

    async fn invoke_json<T, R>(&self, _function_name: &str, _payload: &T) -> CloudResult<R>
    where
        T: Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        Ok(self.refuse("invoke_json")?)
    }

    async fn invoke_async(&self, _function_name: &str, _payload: &[u8]) -> CloudResult<()> {
        Ok(self.refuse("invoke_async")?)
    }

    async fn list_functions(&self) -> CloudResult<Vec<String>> {
        Ok(self.refuse("list_functions")?)
    }

    async fn function_exists(&self, _function_name: &str) -> CloudResult<bool> {
        Ok(self.refuse("function_exists")?)
    }

    async fn create_function(
        &self,
        _function_name: &str,
        _code: &[u8],
        _options: CreateFunctionOptions,
    ) -> Result<String, Failure> {
        self.refuse("create_function")
    }

    async fn delete_function(&self, _function_name: &str) -> Result<(), Failure> {
        self.refuse("delete_function")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::nothing(PROVIDER, Service::Functions, "the appliance does not run functions yet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_announced_as_missing() {
        let capabilities = ZeroFunc.capabilities();
        assert!(capabilities.iter().all(|one| !capabilities.supports(&one.name)), "{capabilities}");
    }
}
