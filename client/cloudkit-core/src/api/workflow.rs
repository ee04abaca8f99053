//! Workflows and their executions.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowDefinition {
    /// The name.
    pub name: String,
    /// The provider's identity of it.
    pub arn: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it lasts or is fast.
    pub workflow_type: WorkflowType,
    /// Its steps, in the provider's form.
    pub definition: Value,
    /// Under whose rights it runs.
    pub role_arn: Option<String>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// Its tags.
    pub tags: Metadata,
}

impl WorkflowDefinition {
    /// A standard workflow.
    pub fn new(name: impl Into<String>, definition: Value) -> Self {
        Self {
            name: name.into(),
            arn: None,
            description: None,
            workflow_type: WorkflowType::Standard,
            definition,
            role_arn: None,
            created_at: None,
            tags: Metadata::new(),
        }
    }
}

/// Whether a workflow lasts or is fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum WorkflowType {
    /// Each step once, for up to a year.
    #[default]
    Standard,
    /// Each step at least once, for minutes.
    Express,
}

/// How far an execution has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutionStatus {
    /// It runs.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped.
    Aborted,
    /// It failed and will go on from there.
    PendingRedrive,
}

/// One run of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Execution {
    /// Its identity.
    pub execution_id: String,
    /// The workflow.
    pub workflow_arn: String,
    /// Its name.
    pub name: Option<String>,
    /// How far it has come.
    pub status: ExecutionStatus,
    /// What it was started with.
    pub input: Option<Value>,
    /// What it gave.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<ExecutionError>,
    /// When it was started.
    pub start_time: DateTime<Utc>,
    /// When it ended.
    pub stop_time: Option<DateTime<Utc>>,
}

/// Why an execution failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecutionError {
    /// The name of the error.
    pub error: String,
    /// What caused it.
    pub cause: String,
}

/// How an execution is started.
#[derive(Debug, Clone, Default)]
pub struct StartExecutionOptions {
    /// Its name, once per workflow.
    pub name: Option<String>,
    /// The trace that it belongs to.
    pub trace_header: Option<String>,
}

/// Which executions are listed.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Only those that have come this far.
    pub status: Option<ExecutionStatus>,
    /// At most this many.
    pub max_results: Option<u32>,
}

/// A step that an execution took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Its number within the execution.
    pub id: u64,
    /// What kind it is.
    pub event_type: String,
    /// When it was taken.
    pub timestamp: DateTime<Utc>,
    /// What happened.
    pub details: Value,
}

/// Workflows and their executions.
#[async_trait]
pub trait WorkflowService: Send + Sync {
    /// Makes a workflow and gives its identity.
    async fn create_workflow(&self, definition: WorkflowDefinition) -> CloudResult<String>;

    /// Gives a workflow other steps.
    async fn update_workflow(&self, workflow_arn: &str, definition: Value) -> CloudResult<()>;

    /// Deletes a workflow.
    async fn delete_workflow(&self, workflow_arn: &str) -> CloudResult<()>;

    /// A workflow.
    async fn describe_workflow(&self, workflow_arn: &str) -> CloudResult<WorkflowDefinition>;

    /// All workflows.
    async fn list_workflows(&self) -> CloudResult<Vec<WorkflowDefinition>>;

    /// Starts a workflow.
    async fn start_execution(
        &self,
        workflow_arn: &str,
        input: Value,
        options: StartExecutionOptions,
    ) -> CloudResult<Execution>;

    /// Stops an execution, with an error and its cause.
    async fn stop_execution(
        &self,
        execution_id: &str,
        error: Option<&str>,
        cause: Option<&str>,
    ) -> CloudResult<()>;

    /// An execution.
    async fn describe_execution(&self, execution_id: &str) -> CloudResult<Execution>;

    /// The executions of a workflow.
    async fn list_executions(
        &self,
        workflow_arn: &str,
        filter: ExecutionFilter,
    ) -> CloudResult<Vec<Execution>>;

    /// The steps of an execution.
    async fn get_execution_history(&self, execution_id: &str) -> CloudResult<Vec<HistoryEvent>>;

    /// Says that a task is done.
    async fn send_task_success(&self, task_token: &str, output: Value) -> CloudResult<()>;

    /// Says that a task failed.
    async fn send_task_failure(&self, task_token: &str, error: &str, cause: &str) -> CloudResult<()>;

    /// Says that a task is being worked on.
    async fn send_task_heartbeat(&self, task_token: &str) -> CloudResult<()>;

    /// What this provider's workflows can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::WorkflowService)
    }
}
