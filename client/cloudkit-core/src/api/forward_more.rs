//! The services that no provider has yet, through an `Arc`; as in `forward.rs`.

use super::forward::forward;
use super::*;
use crate::common::*;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::sync::Arc;

forward! {
    SecretsManager {
        create_secret(name: &str, value: &str, options: CreateSecretOptions) -> CloudResult<SecretMetadata>;
        get_secret(name: &str) -> CloudResult<String>;
        get_secret_version(name: &str, version_id: &str) -> CloudResult<String>;
        update_secret(name: &str, value: &str) -> CloudResult<SecretMetadata>;
        delete_secret(name: &str, force: bool) -> CloudResult<()>;
        restore_secret(name: &str) -> CloudResult<SecretMetadata>;
        list_secrets() -> CloudResult<Vec<SecretMetadata>>;
        describe_secret(name: &str) -> CloudResult<SecretMetadata>;
        list_secret_versions(name: &str) -> CloudResult<Vec<SecretVersion>>;
        rotate_secret(name: &str) -> CloudResult<()>;
        tag_secret(name: &str, tags: Metadata) -> CloudResult<()>;
        untag_secret(name: &str, tag_keys: &[&str]) -> CloudResult<()>;
    }
}

forward! {
    EventBus {
        put_events(bus_name: &str, events: Vec<Event>) -> CloudResult<PutEventsResult>;
        create_event_bus(name: &str) -> CloudResult<String>;
        delete_event_bus(name: &str) -> CloudResult<()>;
        list_event_buses() -> CloudResult<Vec<String>>;
        put_rule(bus_name: &str, rule: EventRule) -> CloudResult<String>;
        delete_rule(bus_name: &str, rule_name: &str) -> CloudResult<()>;
        enable_rule(bus_name: &str, rule_name: &str) -> CloudResult<()>;
        disable_rule(bus_name: &str, rule_name: &str) -> CloudResult<()>;
        list_rules(bus_name: &str) -> CloudResult<Vec<EventRule>>;
        put_targets(bus_name: &str, rule_name: &str, targets: Vec<EventTarget>) -> CloudResult<()>;
        remove_targets(bus_name: &str, rule_name: &str, target_ids: &[&str]) -> CloudResult<()>;
        list_targets(bus_name: &str, rule_name: &str) -> CloudResult<Vec<EventTarget>>;
    }
}

forward! {
    WorkflowService {
        create_workflow(definition: WorkflowDefinition) -> CloudResult<String>;
        update_workflow(workflow_arn: &str, definition: Value) -> CloudResult<()>;
        delete_workflow(workflow_arn: &str) -> CloudResult<()>;
        describe_workflow(workflow_arn: &str) -> CloudResult<WorkflowDefinition>;
        list_workflows() -> CloudResult<Vec<WorkflowDefinition>>;
        start_execution(workflow_arn: &str, input: Value, options: StartExecutionOptions)
            -> CloudResult<Execution>;
        stop_execution(execution_id: &str, error: Option<&str>, cause: Option<&str>) -> CloudResult<()>;
        describe_execution(execution_id: &str) -> CloudResult<Execution>;
        list_executions(workflow_arn: &str, filter: ExecutionFilter) -> CloudResult<Vec<Execution>>;
        get_execution_history(execution_id: &str) -> CloudResult<Vec<HistoryEvent>>;
        send_task_success(task_token: &str, output: Value) -> CloudResult<()>;
        send_task_failure(task_token: &str, error: &str, cause: &str) -> CloudResult<()>;
        send_task_heartbeat(task_token: &str) -> CloudResult<()>;
    }
}

forward! {
    KeyManagement {
        create_key(options: CreateKeyOptions) -> CloudResult<KeyMetadata>;
        describe_key(key_id: &str) -> CloudResult<KeyMetadata>;
        list_keys() -> CloudResult<Vec<KeyMetadata>>;
        enable_key(key_id: &str) -> CloudResult<()>;
        disable_key(key_id: &str) -> CloudResult<()>;
        schedule_key_deletion(key_id: &str, days: u32) -> CloudResult<DateTime<Utc>>;
        cancel_key_deletion(key_id: &str) -> CloudResult<()>;
        update_key_description(key_id: &str, description: &str) -> CloudResult<()>;
        encrypt(key_id: &str, plaintext: &[u8], context: Option<EncryptionContext>)
            -> CloudResult<EncryptResult>;
        decrypt(ciphertext: &[u8], context: Option<EncryptionContext>) -> CloudResult<DecryptResult>;
        re_encrypt(
            ciphertext: &[u8],
            key_id: &str,
            from: Option<EncryptionContext>,
            to: Option<EncryptionContext>
        ) -> CloudResult<EncryptResult>;
        generate_data_key(key_id: &str, context: Option<EncryptionContext>) -> CloudResult<DataKey>;
        generate_data_key_without_plaintext(key_id: &str, context: Option<EncryptionContext>)
            -> CloudResult<Vec<u8>>;
        sign(key_id: &str, message: &[u8], algorithm: SigningAlgorithm) -> CloudResult<Vec<u8>>;
        verify(key_id: &str, message: &[u8], signature: &[u8], algorithm: SigningAlgorithm)
            -> CloudResult<bool>;
        tag_key(key_id: &str, tags: Metadata) -> CloudResult<()>;
        untag_key(key_id: &str, tag_keys: &[&str]) -> CloudResult<()>;
        list_key_tags(key_id: &str) -> CloudResult<Metadata>;
    }
}

forward! {
    MetricsService {
        put_metric_data(namespace: &str, data: Vec<MetricDatum>) -> CloudResult<()>;
        get_metric_data(namespace: &str, query: MetricQuery) -> CloudResult<MetricResult>;
        list_metrics(namespace: Option<&str>) -> CloudResult<Vec<String>>;
        put_alarm(namespace: &str, config: AlarmConfig) -> CloudResult<()>;
        delete_alarm(name: &str) -> CloudResult<()>;
        get_alarm_state(name: &str) -> CloudResult<AlarmState>;
    }
}

forward! {
    LoggingService {
        create_log_group(name: &str) -> CloudResult<()>;
        delete_log_group(name: &str) -> CloudResult<()>;
        create_log_stream(group: &str, stream: &str) -> CloudResult<()>;
        put_log_events(group: &str, stream: &str, events: Vec<LogEvent>) -> CloudResult<()>;
        query_logs(group: &str, query: &str, start_time: DateTime<Utc>, end_time: DateTime<Utc>)
            -> CloudResult<Vec<LogEvent>>;
        list_log_groups() -> CloudResult<Vec<String>>;
        list_log_streams(group: &str) -> CloudResult<Vec<String>>;
    }
}

forward! {
    Compute {
        run_instances(options: RunInstanceOptions) -> CloudResult<Vec<InstanceMetadata>>;
        describe_instances(ids: Option<Vec<ResourceId>>) -> CloudResult<Vec<InstanceMetadata>>;
        terminate_instances(ids: Vec<ResourceId>) -> CloudResult<()>;
        start_instances(ids: Vec<ResourceId>) -> CloudResult<()>;
        stop_instances(ids: Vec<ResourceId>) -> CloudResult<()>;
        create_key_pair(name: &str) -> CloudResult<String>;
        delete_key_pair(name: &str) -> CloudResult<()>;
    }
}
