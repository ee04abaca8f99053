//! Events and the rules that route them.

use super::capability::{Capabilities, Service};
use crate::common::{CloudResult, Metadata, ResourceId};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Its identity.
    pub id: String,
    /// Who reports it.
    pub source: String,
    /// What kind it is.
    pub detail_type: String,
    /// What happened.
    pub detail: Value,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// What it is about.
    pub resources: Vec<String>,
    /// The trace that it belongs to.
    pub trace_header: Option<String>,
}

impl Event {
    /// An event of now, with an identity of its own.
    pub fn new(source: impl Into<String>, detail_type: impl Into<String>, detail: Value) -> Self {
        Self {
            id: ResourceId::generate().to_string(),
            source: source.into(),
            detail_type: detail_type.into(),
            detail,
            time: Utc::now(),
            resources: Vec::new(),
            trace_header: None,
        }
    }

    /// Adds what it is about.
    pub fn with_resource(mut self, resource: impl Into<String>) -> Self {
        self.resources.push(resource.into());
        self
    }

    /// Sets the trace that it belongs to.
    pub fn with_trace_header(mut self, header: impl Into<String>) -> Self {
        self.trace_header = Some(header.into());
        self
    }
}

/// What became of events that were put.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutEventsResult {
    /// How many were taken.
    pub successful_count: usize,
    /// How many were not.
    pub failed_count: usize,
    /// Which ones were not, and why.
    pub failed_entries: Vec<FailedEntry>,
}

/// An event that was not taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedEntry {
    /// Which event.
    pub event_id: String,
    /// The provider's code.
    pub error_code: String,
    /// What it said.
    pub error_message: String,
}

/// A rule: which events, or at which times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventRule {
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Which events it matches.
    pub event_pattern: Option<Value>,
    /// At which times it fires.
    pub schedule_expression: Option<String>,
    /// Whether it is in force.
    pub state: RuleState,
    /// The provider's identity of it.
    pub arn: Option<String>,
}

impl EventRule {
    /// A rule for events.
    pub fn pattern(name: impl Into<String>, pattern: Value) -> Self {
        Self { event_pattern: Some(pattern), ..Self::named(name) }
    }

    /// A rule for times.
    pub fn schedule(name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self { schedule_expression: Some(expression.into()), ..Self::named(name) }
    }

    fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            event_pattern: None,
            schedule_expression: None,
            state: RuleState::Enabled,
            arn: None,
        }
    }
}

/// Whether a rule is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum RuleState {
    /// It is.
    #[default]
    Enabled,
    /// It is not.
    Disabled,
}

/// Where a rule sends what it matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventTarget {
    /// Its name within the rule.
    pub id: String,
    /// What gets the events.
    pub arn: String,
    /// The form that an event takes on its way.
    pub input_template: Option<String>,
    /// The places of the event that the form takes its values from.
    pub input_paths: Metadata,
}

impl EventTarget {
    /// A target that gets events as they are.
    pub fn new(id: impl Into<String>, arn: impl Into<String>) -> Self {
        Self { id: id.into(), arn: arn.into(), input_template: None, input_paths: Metadata::new() }
    }
}

/// Events and the rules that route them.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Reports events.
    async fn put_events(&self, bus_name: &str, events: Vec<Event>) -> CloudResult<PutEventsResult>;

    /// Makes a bus and gives its identity.
    async fn create_event_bus(&self, name: &str) -> CloudResult<String>;

    /// Deletes a bus.
    async fn delete_event_bus(&self, name: &str) -> CloudResult<()>;

    /// The names of all buses.
    async fn list_event_buses(&self) -> CloudResult<Vec<String>>;

    /// Makes or changes a rule and gives its identity.
    async fn put_rule(&self, bus_name: &str, rule: EventRule) -> CloudResult<String>;

    /// Deletes a rule.
    async fn delete_rule(&self, bus_name: &str, rule_name: &str) -> CloudResult<()>;

    /// Puts a rule in force.
    async fn enable_rule(&self, bus_name: &str, rule_name: &str) -> CloudResult<()>;

    /// Puts a rule out of force.
    async fn disable_rule(&self, bus_name: &str, rule_name: &str) -> CloudResult<()>;

    /// The rules of a bus.
    async fn list_rules(&self, bus_name: &str) -> CloudResult<Vec<EventRule>>;

    /// Adds or changes targets of a rule.
    async fn put_targets(
        &self,
        bus_name: &str,
        rule_name: &str,
        targets: Vec<EventTarget>,
    ) -> CloudResult<()>;

    /// Takes targets from a rule.
    async fn remove_targets(&self, bus_name: &str, rule_name: &str, target_ids: &[&str]) -> CloudResult<()>;

    /// The targets of a rule.
    async fn list_targets(&self, bus_name: &str, rule_name: &str) -> CloudResult<Vec<EventTarget>>;

    /// What this provider's buses can do. A type that does not override it answers for the default bodies.
    fn capabilities(&self) -> Capabilities {
        Capabilities::defaults(std::any::type_name::<Self>(), Service::EventBus)
    }
}
