//! The surface that programs compile against, part six: the traits of the services that come later; as in
//! `surface_services.rs`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cloudkit_core::api::*;
use cloudkit_core::common::*;
use serde_json::Value;
use std::sync::Arc;

struct Mock;

macro_rules! mock {
    ($service:ident {
        $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)*
    }) => {
        #[async_trait]
        impl $service for Mock {
            $(
                async fn $method(&self, $($argument: $type),*) -> CloudResult<$output> {
                    let _ = ($($argument,)*);
                    Err(CloudError::Internal(String::from("mock")))
                }
            )*
        }
    };
}

mock! {
    SecretsManager {
        create_secret(name: &str, value: &str, options: CreateSecretOptions) -> SecretMetadata;
        get_secret(name: &str) -> String;
        get_secret_version(name: &str, version_id: &str) -> String;
        update_secret(name: &str, value: &str) -> SecretMetadata;
        delete_secret(name: &str, force: bool) -> ();
        restore_secret(name: &str) -> SecretMetadata;
        list_secrets() -> Vec<SecretMetadata>;
        describe_secret(name: &str) -> SecretMetadata;
        list_secret_versions(name: &str) -> Vec<SecretVersion>;
        rotate_secret(name: &str) -> ();
        tag_secret(name: &str, tags: Metadata) -> ();
        untag_secret(name: &str, tag_keys: &[&str]) -> ();
    }
}

async fn secrets<S: SecretsManager + ?Sized>(s: &S) -> CloudResult<()> {
    let _: SecretMetadata = s.create_secret("n", "v", CreateSecretOptions::default()).await?;
    let _: String = s.get_secret("n").await?;
    let _: String = s.get_secret_version("n", "v").await?;
    let _: SecretMetadata = s.update_secret("n", "v").await?;
    let () = s.delete_secret("n", true).await?;
    let _: SecretMetadata = s.restore_secret("n").await?;
    let _: Vec<SecretMetadata> = s.list_secrets().await?;
    let _: SecretMetadata = s.describe_secret("n").await?;
    let _: Vec<SecretVersion> = s.list_secret_versions("n").await?;
    let () = s.rotate_secret("n").await?;
    let () = s.tag_secret("n", Metadata::new()).await?;
    s.untag_secret("n", &["k"]).await
}

mock! {
    EventBus {
        put_events(bus_name: &str, events: Vec<Event>) -> PutEventsResult;
        create_event_bus(name: &str) -> String;
        delete_event_bus(name: &str) -> ();
        list_event_buses() -> Vec<String>;
        put_rule(bus_name: &str, rule: EventRule) -> String;
        delete_rule(bus_name: &str, rule_name: &str) -> ();
        enable_rule(bus_name: &str, rule_name: &str) -> ();
        disable_rule(bus_name: &str, rule_name: &str) -> ();
        list_rules(bus_name: &str) -> Vec<EventRule>;
        put_targets(bus_name: &str, rule_name: &str, targets: Vec<EventTarget>) -> ();
        remove_targets(bus_name: &str, rule_name: &str, target_ids: &[&str]) -> ();
        list_targets(bus_name: &str, rule_name: &str) -> Vec<EventTarget>;
    }
}

async fn events<S: EventBus + ?Sized>(s: &S) -> CloudResult<()> {
    let _: PutEventsResult = s.put_events("b", vec![]).await?;
    let _: String = s.create_event_bus("b").await?;
    let () = s.delete_event_bus("b").await?;
    let _: Vec<String> = s.list_event_buses().await?;
    let _: String = s.put_rule("b", EventRule::schedule("r", "x")).await?;
    let () = s.delete_rule("b", "r").await?;
    let () = s.enable_rule("b", "r").await?;
    let () = s.disable_rule("b", "r").await?;
    let _: Vec<EventRule> = s.list_rules("b").await?;
    let () = s.put_targets("b", "r", vec![EventTarget::new("i", "a")]).await?;
    let () = s.remove_targets("b", "r", &["i"]).await?;
    let _: Vec<EventTarget> = s.list_targets("b", "r").await?;
    Ok(())
}

mock! {
    WorkflowService {
        create_workflow(definition: WorkflowDefinition) -> String;
        update_workflow(workflow_arn: &str, definition: Value) -> ();
        delete_workflow(workflow_arn: &str) -> ();
        describe_workflow(workflow_arn: &str) -> WorkflowDefinition;
        list_workflows() -> Vec<WorkflowDefinition>;
        start_execution(workflow_arn: &str, input: Value, options: StartExecutionOptions) -> Execution;
        stop_execution(execution_id: &str, error: Option<&str>, cause: Option<&str>) -> ();
        describe_execution(execution_id: &str) -> Execution;
        list_executions(workflow_arn: &str, filter: ExecutionFilter) -> Vec<Execution>;
        get_execution_history(execution_id: &str) -> Vec<HistoryEvent>;
        send_task_success(task_token: &str, output: Value) -> ();
        send_task_failure(task_token: &str, error: &str, cause: &str) -> ();
        send_task_heartbeat(task_token: &str) -> ();
    }
}

async fn workflows<S: WorkflowService + ?Sized>(s: &S) -> CloudResult<()> {
    let _: String = s.create_workflow(WorkflowDefinition::new("n", Value::Null)).await?;
    let () = s.update_workflow("a", Value::Null).await?;
    let () = s.delete_workflow("a").await?;
    let _: WorkflowDefinition = s.describe_workflow("a").await?;
    let _: Vec<WorkflowDefinition> = s.list_workflows().await?;
    let _: Execution = s.start_execution("a", Value::Null, StartExecutionOptions::default()).await?;
    let () = s.stop_execution("i", Some("e"), None).await?;
    let _: Execution = s.describe_execution("i").await?;
    let _: Vec<Execution> = s.list_executions("a", ExecutionFilter::default()).await?;
    let _: Vec<HistoryEvent> = s.get_execution_history("i").await?;
    let () = s.send_task_success("t", Value::Null).await?;
    let () = s.send_task_failure("t", "e", "c").await?;
    s.send_task_heartbeat("t").await
}

mock! {
    KeyManagement {
        create_key(options: CreateKeyOptions) -> KeyMetadata;
        describe_key(key_id: &str) -> KeyMetadata;
        list_keys() -> Vec<KeyMetadata>;
        enable_key(key_id: &str) -> ();
        disable_key(key_id: &str) -> ();
        schedule_key_deletion(key_id: &str, days: u32) -> DateTime<Utc>;
        cancel_key_deletion(key_id: &str) -> ();
        update_key_description(key_id: &str, description: &str) -> ();
        encrypt(key_id: &str, plaintext: &[u8], context: Option<EncryptionContext>) -> EncryptResult;
        decrypt(ciphertext: &[u8], context: Option<EncryptionContext>) -> DecryptResult;
        re_encrypt(
            ciphertext: &[u8],
            key_id: &str,
            from: Option<EncryptionContext>,
            to: Option<EncryptionContext>
        ) -> EncryptResult;
        generate_data_key(key_id: &str, context: Option<EncryptionContext>) -> DataKey;
        generate_data_key_without_plaintext(key_id: &str, context: Option<EncryptionContext>) -> Vec<u8>;
        sign(key_id: &str, message: &[u8], algorithm: SigningAlgorithm) -> Vec<u8>;
        verify(key_id: &str, message: &[u8], signature: &[u8], algorithm: SigningAlgorithm) -> bool;
        tag_key(key_id: &str, tags: Metadata) -> ();
        untag_key(key_id: &str, tag_keys: &[&str]) -> ();
        list_key_tags(key_id: &str) -> Metadata;
    }
}

async fn keys<S: KeyManagement + ?Sized>(s: &S) -> CloudResult<()> {
    let _: KeyMetadata = s.create_key(CreateKeyOptions::default()).await?;
    let _: KeyMetadata = s.describe_key("k").await?;
    let _: Vec<KeyMetadata> = s.list_keys().await?;
    let () = s.enable_key("k").await?;
    let () = s.disable_key("k").await?;
    let _: DateTime<Utc> = s.schedule_key_deletion("k", 7).await?;
    let () = s.cancel_key_deletion("k").await?;
    let () = s.update_key_description("k", "d").await?;
    let _: EncryptResult = s.encrypt("k", b"x", Some(Metadata::new())).await?;
    let _: DecryptResult = s.decrypt(b"x", None).await?;
    let _: EncryptResult = s.re_encrypt(b"x", "k", None, None).await?;
    let _: DataKey = s.generate_data_key("k", None).await?;
    let _: Vec<u8> = s.generate_data_key_without_plaintext("k", None).await?;
    let _: Vec<u8> = s.sign("k", b"x", SigningAlgorithm::default()).await?;
    let _: bool = s.verify("k", b"x", b"y", SigningAlgorithm::default()).await?;
    let () = s.tag_key("k", Metadata::new()).await?;
    let () = s.untag_key("k", &["t"]).await?;
    let _: Metadata = s.list_key_tags("k").await?;
    Ok(())
}

mock! {
    MetricsService {
        put_metric_data(namespace: &str, data: Vec<MetricDatum>) -> ();
        get_metric_data(namespace: &str, query: MetricQuery) -> MetricResult;
        list_metrics(namespace: Option<&str>) -> Vec<String>;
        put_alarm(namespace: &str, config: AlarmConfig) -> ();
        delete_alarm(name: &str) -> ();
        get_alarm_state(name: &str) -> AlarmState;
    }
}

async fn figures<S: MetricsService + ?Sized>(s: &S, alarm: AlarmConfig) -> CloudResult<()> {
    let () = s.put_metric_data("n", vec![MetricDatum::new("m", 1.0)]).await?;
    let _: MetricResult = s.get_metric_data("n", MetricQuery::default()).await?;
    let _: Vec<String> = s.list_metrics(Some("n")).await?;
    let () = s.put_alarm("n", alarm).await?;
    let () = s.delete_alarm("a").await?;
    let _: AlarmState = s.get_alarm_state("a").await?;
    Ok(())
}

mock! {
    LoggingService {
        create_log_group(name: &str) -> ();
        delete_log_group(name: &str) -> ();
        create_log_stream(group: &str, stream: &str) -> ();
        put_log_events(group: &str, stream: &str, events: Vec<LogEvent>) -> ();
        query_logs(group: &str, query: &str, start_time: DateTime<Utc>, end_time: DateTime<Utc>)
            -> Vec<LogEvent>;
        list_log_groups() -> Vec<String>;
        list_log_streams(group: &str) -> Vec<String>;
    }
}

async fn logs<S: LoggingService + ?Sized>(s: &S) -> CloudResult<()> {
    let () = s.create_log_group("g").await?;
    let () = s.delete_log_group("g").await?;
    let () = s.create_log_stream("g", "s").await?;
    let () = s.put_log_events("g", "s", vec![LogEvent::new("m")]).await?;
    let _: Vec<LogEvent> = s.query_logs("g", "q", Utc::now(), Utc::now()).await?;
    let _: Vec<String> = s.list_log_groups().await?;
    let _: Vec<String> = s.list_log_streams("g").await?;
    Ok(())
}

mock! {
    Compute {
        run_instances(options: RunInstanceOptions) -> Vec<InstanceMetadata>;
        describe_instances(ids: Option<Vec<ResourceId>>) -> Vec<InstanceMetadata>;
        terminate_instances(ids: Vec<ResourceId>) -> ();
        start_instances(ids: Vec<ResourceId>) -> ();
        stop_instances(ids: Vec<ResourceId>) -> ();
        create_key_pair(name: &str) -> String;
        delete_key_pair(name: &str) -> ();
    }
}

async fn machines<S: Compute + ?Sized>(s: &S) -> CloudResult<()> {
    let ids = || vec![ResourceId::new("i")];
    let _: Vec<InstanceMetadata> = s.run_instances(RunInstanceOptions::new("t", "i")).await?;
    let _: Vec<InstanceMetadata> = s.describe_instances(Some(ids())).await?;
    let () = s.terminate_instances(ids()).await?;
    let () = s.start_instances(ids()).await?;
    let () = s.stop_instances(ids()).await?;
    let _: String = s.create_key_pair("n").await?;
    s.delete_key_pair("n").await
}

#[tokio::test]
async fn a_mock_of_the_old_methods_is_a_service_by_itself_shared_and_as_an_object() {
    fn failed(outcome: CloudResult<()>) {
        assert!(matches!(outcome, Err(CloudError::Internal(text)) if text == "mock"));
    }
    let alarm = || AlarmConfig {
        name: String::new(),
        description: None,
        metric_name: String::new(),
        threshold: 0.0,
        comparison: ComparisonOperator::LessThan,
        evaluation_periods: 1,
        period_seconds: 1,
        statistic: MetricStatistic::Sum,
        dimensions: Metadata::new(),
    };
    failed(secrets(&Mock).await);
    failed(secrets(&(Arc::new(Mock) as Arc<dyn SecretsManager>)).await);
    failed(events(&Mock).await);
    failed(events(&(Arc::new(Mock) as Arc<dyn EventBus>)).await);
    failed(workflows(&Mock).await);
    failed(workflows(&(Arc::new(Mock) as Arc<dyn WorkflowService>)).await);
    failed(keys(&Mock).await);
    failed(keys(&(Arc::new(Mock) as Arc<dyn KeyManagement>)).await);
    failed(figures(&Mock, alarm()).await);
    failed(figures(&(Arc::new(Mock) as Arc<dyn MetricsService>), alarm()).await);
    failed(logs(&Mock).await);
    failed(logs(&(Arc::new(Mock) as Arc<dyn LoggingService>)).await);
    failed(machines(&Mock).await);
    failed(machines(&(Arc::new(Mock) as Arc<dyn Compute>)).await);
}
