//! Functions that the provider runs.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Failure, Metadata};
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What an invocation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InvocationType {
    /// The function's answer.
    #[default]
    RequestResponse,
    /// That the event was taken.
    Event,
    /// Whether the function would be run.
    DryRun,
}

/// How a function is invoked.
#[derive(Debug, Clone, Default)]
pub struct InvokeOptions {
    /// What the invocation waits for.
    pub invocation_type: InvocationType,
    /// What the function learns of its caller, in the provider's form.
    pub client_context: Option<String>,
    /// Which version or alias.
    pub qualifier: Option<String>,
}

impl InvokeOptions {
    /// Waits for the answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the invocation waits for.
    pub fn invocation_type(mut self, invocation_type: InvocationType) -> Self {
        self.invocation_type = invocation_type;
        self
    }

    /// Sets which version or alias.
    pub fn qualifier(mut self, qualifier: impl Into<String>) -> Self {
        self.qualifier = Some(qualifier.into());
        self
    }

    /// Waits only until the event was taken.
    pub fn async_invoke(self) -> Self {
        self.invocation_type(InvocationType::Event)
    }
}

/// What an invocation gave.
#[derive(Debug, Clone)]
pub struct InvokeResult {
    /// The HTTP status: 200 with an answer, 202 for an event, 204 for a dry run.
    pub status_code: u16,
    /// The answer, if there is one.
    pub payload: Option<Vec<u8>>,
    /// Why the function itself failed.
    pub function_error: Option<String>,
    /// Which version ran.
    pub executed_version: Option<String>,
    /// The end of its log, where that was asked for.
    pub log_result: Option<String>,
}

impl InvokeResult {
    /// Whether the status is one of success (200 to 299) and the function did not fail.
    pub fn is_success(&self) -> bool {
        self.function_error.is_none() && (200..300).contains(&self.status_code)
    }

    /// The answer as a value from its JSON form; `None` if there is no answer.
    ///
    /// # Errors
    /// [`CloudError::Serialization`](crate::common::CloudError::Serialization) when it is no such value.
    pub fn parse_payload<T: DeserializeOwned>(&self) -> CloudResult<Option<T>> {
        Ok(self.payload.as_deref().map(serde_json::from_slice).transpose()?)
    }
}

/// The shape of a new function.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CreateFunctionOptions {
    /// What runs the code, in the provider's word.
    pub runtime: String,
    /// Where in the code an invocation enters.
    pub handler: String,
    /// How long one invocation may take.
    pub timeout: Option<Duration>,
    /// How much memory an invocation has.
    pub memory_bytes: Option<u64>,
    /// The environment that the code sees.
    pub environment: Metadata,
    /// Under whose rights it runs.
    pub role: Option<String>,
}

impl CreateFunctionOptions {
    /// A function of this runtime and entry.
    pub fn new(runtime: impl Into<String>, handler: impl Into<String>) -> Self {
        Self { runtime: runtime.into(), handler: handler.into(), ..Self::default() }
    }

    /// Sets how long one invocation may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how much memory an invocation has.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Adds a name and value to the environment.
    pub fn environment(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(key.into(), value.into());
        self
    }

    /// Sets under whose rights it runs.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }
}

/// Functions that the provider runs.
///
/// A function that is missing is [`NotFound`](crate::common::CloudError::NotFound) with the `resource_type` `Function`. One
/// that fails itself is no error of [`invoke`](Self::invoke): its result says so.
///
/// The generic method makes no trait objects; [`DynFunctions`](super::DynFunctions) does.
#[async_trait]
pub trait Functions: Send + Sync {
    /// Runs a function and waits for its answer.
    async fn invoke(&self, function_name: &str, payload: &[u8]) -> CloudResult<InvokeResult>;

    /// As [`invoke`](Self::invoke), with options.
    async fn invoke_with_options(
        &self,
        function_name: &str,
        payload: &[u8],
        options: InvokeOptions,
    ) -> CloudResult<InvokeResult>;

    /// Runs a function with a value in its JSON form and reads its answer from that.
    async fn invoke_json<T, R>(&self, function_name: &str, payload: &T) -> CloudResult<R>
    where
        T: Serialize + Send + Sync,
        R: DeserializeOwned + Send;

    /// Lets a function run and waits only until the event was taken.
    async fn invoke_async(&self, function_name: &str, payload: &[u8]) -> CloudResult<()>;

    /// The names of all functions.
    async fn list_functions(&self) -> CloudResult<Vec<String>>;

    /// Whether there is such a function.
    async fn function_exists(&self, function_name: &str) -> CloudResult<bool>;

    /// What this provider's functions can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::Functions)
    }

    /// Makes a function from its code, in the provider's form of a package, and gives its identity.
    async fn create_function(
        &self,
        function_name: &str,
        code: &[u8],
        options: CreateFunctionOptions,
    ) -> Result<String, Failure> {
        let _ = (function_name, code, options);
        Err(self.capabilities().unsupported("create_function"))
    }

    /// Deletes a function.
    async fn delete_function(&self, function_name: &str) -> Result<(), Failure> {
        let _ = function_name;
        Err(self.capabilities().unsupported("delete_function"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(status_code: u16, function_error: Option<&str>) -> InvokeResult {
        InvokeResult {
            status_code,
            payload: Some(b"[1,2]".to_vec()),
            function_error: function_error.map(str::to_owned),
            executed_version: None,
            log_result: None,
        }
    }

    #[test]
    fn every_status_of_success_is_a_success_unless_the_function_failed() {
        for status in [200, 202, 204, 299] {
            assert!(result(status, None).is_success(), "{status}");
            assert!(!result(status, Some("Unhandled")).is_success(), "{status}");
        }
        for status in [199, 300, 404, 500] {
            assert!(!result(status, None).is_success(), "{status}");
        }
    }

    #[test]
    fn an_answer_is_read_from_json() {
        assert_eq!(result(200, None).parse_payload::<Vec<u8>>().unwrap(), Some(vec![1, 2]));
        assert!(result(200, None).parse_payload::<String>().is_err());
        let empty = InvokeResult { payload: None, ..result(204, None) };
        assert_eq!(empty.parse_payload::<String>().unwrap(), None);
        assert_eq!(InvokeOptions::new().async_invoke().invocation_type, InvocationType::Event);
    }
}
