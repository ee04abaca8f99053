//! The surface that programs compile against, part four: what the methods take and give of those services that come later.

use chrono::{DateTime, Utc};
use cloudkit_core::api::*;
use cloudkit_core::common::Metadata;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

fn data<T: Debug + Clone + Send + Sync + 'static>() {}
fn options<T: Debug + Clone + Default + Send + Sync + 'static>() {}
fn served<T: Debug + Clone + Serialize + DeserializeOwned + Send + Sync + 'static>() {}
fn word<T: Debug + Clone + Copy + Eq + Send + Sync + 'static>() {}
fn default_word<T: Debug + Clone + Copy + Eq + Default + Send + Sync + 'static>() {}
fn text() -> String {
    String::from("x")
}
fn maybe() -> Option<String> {
    Some(text())
}
fn now() -> Option<DateTime<Utc>> {
    Some(Utc::now())
}

#[test]
fn derives_are_there() {
    served::<SecretMetadata>();
    served::<SecretVersion>();
    options::<CreateSecretOptions>();
    served::<Event>();
    served::<PutEventsResult>();
    served::<FailedEntry>();
    served::<EventRule>();
    served::<RuleState>();
    default_word::<RuleState>();
    served::<EventTarget>();
    served::<WorkflowDefinition>();
    served::<WorkflowType>();
    default_word::<WorkflowType>();
    served::<ExecutionStatus>();
    word::<ExecutionStatus>();
    served::<Execution>();
    served::<ExecutionError>();
    options::<StartExecutionOptions>();
    options::<ExecutionFilter>();
    served::<HistoryEvent>();
    served::<KeyMetadata>();
    served::<KeyState>();
    default_word::<KeyState>();
    served::<KeyUsage>();
    default_word::<KeyUsage>();
    served::<KeySpec>();
    default_word::<KeySpec>();
    options::<CreateKeyOptions>();
    data::<EncryptResult>();
    data::<DecryptResult>();
    data::<DataKey>();
    default_word::<SigningAlgorithm>();
    served::<MetricDatum>();
    served::<MetricUnit>();
    default_word::<MetricUnit>();
    options::<MetricQuery>();
    default_word::<MetricStatistic>();
    served::<MetricResult>();
    served::<MetricDataPoint>();
    served::<AlarmState>();
    word::<AlarmState>();
    data::<AlarmConfig>();
    word::<ComparisonOperator>();
    served::<LogEvent>();
    served::<LogLevel>();
    default_word::<LogLevel>();
    options::<RunInstanceOptions>();
}

#[test]
fn secrets_are_made_of_these() {
    let secret = SecretMetadata {
        name: text(),
        arn: maybe(),
        description: maybe(),
        created_at: now(),
        updated_at: now(),
        last_accessed_at: now(),
        tags: Metadata::new(),
        version_id: maybe(),
        rotation_enabled: true,
    };
    assert_eq!(SecretMetadata::new("x").name, secret.name);
    let _ = SecretVersion { version_id: text(), stages: vec![text()], created_at: now() };
    let _ = CreateSecretOptions { description: maybe(), kms_key_id: maybe(), tags: Metadata::new() };
}

#[test]
fn events_are_made_of_these() {
    let event = Event {
        id: text(),
        source: text(),
        detail_type: text(),
        detail: Value::Null,
        time: Utc::now(),
        resources: vec![text()],
        trace_header: maybe(),
    };
    let built = Event::new("x", text(), json!({})).with_resource("x").with_trace_header("x");
    assert_eq!((built.resources, built.trace_header), (event.resources, event.trace_header));
    assert_ne!(built.id, Event::new("x", "x", json!({})).id);
    let entry = FailedEntry { event_id: text(), error_code: text(), error_message: text() };
    let _ = PutEventsResult { successful_count: 1_usize, failed_count: 1_usize, failed_entries: vec![entry] };
    let rule = EventRule {
        name: text(),
        description: maybe(),
        event_pattern: Some(Value::Null),
        schedule_expression: maybe(),
        state: RuleState::Disabled,
        arn: maybe(),
    };
    let (pattern, schedule) = (EventRule::pattern("x", json!(1)), EventRule::schedule("x", "rate(1 day)"));
    assert_eq!((pattern.event_pattern, pattern.schedule_expression), (Some(json!(1)), None));
    assert_eq!(
        (schedule.event_pattern, schedule.schedule_expression.as_deref()),
        (None, Some("rate(1 day)"))
    );
    match rule.state {
        RuleState::Enabled => unreachable!("it was set to the other"),
        RuleState::Disabled => assert_eq!(pattern.state, RuleState::Enabled),
    }
    let target =
        EventTarget { id: text(), arn: text(), input_template: maybe(), input_paths: Metadata::new() };
    assert_eq!(EventTarget::new("x", "x").id, target.id);
}

#[test]
fn workflows_are_made_of_these() {
    let workflow = WorkflowDefinition {
        name: text(),
        arn: maybe(),
        description: maybe(),
        workflow_type: WorkflowType::Express,
        definition: Value::Null,
        role_arn: maybe(),
        created_at: now(),
        tags: Metadata::new(),
    };
    match workflow.workflow_type {
        WorkflowType::Standard => unreachable!("it was set to the other"),
        WorkflowType::Express => {
            assert_eq!(WorkflowDefinition::new("x", json!({})).workflow_type, WorkflowType::Standard);
        }
    }
    let execution = Execution {
        execution_id: text(),
        workflow_arn: text(),
        name: maybe(),
        status: ExecutionStatus::Running,
        input: Some(Value::Null),
        output: Some(Value::Null),
        error: Some(ExecutionError { error: text(), cause: text() }),
        start_time: Utc::now(),
        stop_time: now(),
    };
    match execution.status {
        ExecutionStatus::Running
        | ExecutionStatus::Succeeded
        | ExecutionStatus::Failed
        | ExecutionStatus::TimedOut
        | ExecutionStatus::Aborted
        | ExecutionStatus::PendingRedrive => {}
    }
    let _ = StartExecutionOptions { name: maybe(), trace_header: maybe() };
    let _ = ExecutionFilter { status: Some(execution.status), max_results: Some(1_u32) };
    let _ = HistoryEvent { id: 1_u64, event_type: text(), timestamp: Utc::now(), details: Value::Null };
}

#[test]
fn keys_are_made_of_these() {
    let key = KeyMetadata {
        key_id: text(),
        arn: maybe(),
        description: maybe(),
        state: KeyState::default(),
        usage: KeyUsage::default(),
        key_spec: KeySpec::default(),
        created_at: now(),
        deletion_date: now(),
        enabled: true,
        multi_region: true,
        tags: Metadata::new(),
    };
    let fresh = KeyMetadata::new("x");
    assert_eq!((fresh.state, fresh.usage, fresh.key_spec), (key.state, key.usage, key.key_spec));
    match key.state {
        KeyState::Creating
        | KeyState::Enabled
        | KeyState::Disabled
        | KeyState::PendingDeletion
        | KeyState::PendingImport
        | KeyState::Unavailable => {}
    }
    match key.usage {
        KeyUsage::EncryptDecrypt
        | KeyUsage::SignVerify
        | KeyUsage::KeyAgreement
        | KeyUsage::GenerateVerifyMac => {}
    }
    match key.key_spec {
        KeySpec::SymmetricDefault | KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => {}
        KeySpec::EccNistP256 | KeySpec::EccNistP384 | KeySpec::EccNistP521 | KeySpec::EccSecgP256K1 => {}
        KeySpec::Hmac256 | KeySpec::Hmac384 | KeySpec::Hmac512 => {}
    }
    let _ = CreateKeyOptions {
        description: maybe(),
        usage: key.usage,
        key_spec: key.key_spec,
        multi_region: true,
        tags: Metadata::new(),
    };
    let context: EncryptionContext = Metadata::new();
    assert!(context.is_empty());
    let _ = EncryptResult { ciphertext: Vec::<u8>::new(), key_id: text(), algorithm: maybe() };
    let plain = DecryptResult { plaintext: b"s3cr3t".to_vec(), key_id: text() };
    let both = DataKey { plaintext: b"s3cr3t".to_vec(), ciphertext: Vec::<u8>::new(), key_id: text() };
    let shown = format!("{plain:?} {both:?}");
    assert!(!shown.contains("115") && !shown.contains("plaintext"), "{shown}");
    match SigningAlgorithm::default() {
        SigningAlgorithm::RsassaPssSha256
        | SigningAlgorithm::RsassaPssSha384
        | SigningAlgorithm::RsassaPssSha512
        | SigningAlgorithm::RsassaPkcs1V15Sha256
        | SigningAlgorithm::RsassaPkcs1V15Sha384
        | SigningAlgorithm::RsassaPkcs1V15Sha512
        | SigningAlgorithm::EcdsaSha256
        | SigningAlgorithm::EcdsaSha384
        | SigningAlgorithm::EcdsaSha512 => {}
    }
}

#[test]
fn figures_are_made_of_these() {
    let datum = MetricDatum {
        name: text(),
        value: 1.0_f64,
        unit: MetricUnit::Count,
        timestamp: Utc::now(),
        dimensions: Metadata::new(),
    };
    let built = MetricDatum::new("x", 1.0).with_unit(MetricUnit::Count).with_dimension("k", "v");
    assert_eq!((datum.unit, MetricDatum::new("x", 1.0).unit), (built.unit, MetricUnit::None));
    match datum.unit {
        MetricUnit::None | MetricUnit::Seconds | MetricUnit::Milliseconds | MetricUnit::Microseconds => {}
        MetricUnit::Bytes | MetricUnit::Kilobytes | MetricUnit::Megabytes | MetricUnit::Gigabytes => {}
        MetricUnit::Count | MetricUnit::Percent | MetricUnit::BytesPerSecond | MetricUnit::CountPerSecond => {
        }
    }
    let query = MetricQuery {
        name: text(),
        start_time: now(),
        end_time: now(),
        period_seconds: 60_u32,
        statistic: MetricStatistic::default(),
        dimensions: Metadata::new(),
    };
    match query.statistic {
        MetricStatistic::Average
        | MetricStatistic::Sum
        | MetricStatistic::Minimum
        | MetricStatistic::Maximum
        | MetricStatistic::SampleCount => {}
    }
    let point = MetricDataPoint { timestamp: Utc::now(), value: 1.0_f64, unit: datum.unit };
    let _ = MetricResult { name: text(), data_points: vec![point] };
    match AlarmState::Ok {
        AlarmState::Ok | AlarmState::Alarm | AlarmState::InsufficientData => {}
    }
    let alarm = AlarmConfig {
        name: text(),
        description: maybe(),
        metric_name: text(),
        threshold: 1.0_f64,
        comparison: ComparisonOperator::GreaterThan,
        evaluation_periods: 1_u32,
        period_seconds: 60_u32,
        statistic: query.statistic,
        dimensions: Metadata::new(),
    };
    match alarm.comparison {
        ComparisonOperator::GreaterThan
        | ComparisonOperator::GreaterThanOrEqual
        | ComparisonOperator::LessThan
        | ComparisonOperator::LessThanOrEqual => {}
    }
}

#[test]
fn log_events_and_machines_are_made_of_these() {
    let event = LogEvent {
        message: text(),
        timestamp: Utc::now(),
        level: LogLevel::default(),
        fields: Metadata::new(),
    };
    let built = LogEvent::new("x").with_level(LogLevel::Fatal).with_field("k", "v");
    assert_eq!((event.level, built.level), (LogLevel::Info, LogLevel::Fatal));
    match event.level {
        LogLevel::Trace
        | LogLevel::Debug
        | LogLevel::Info
        | LogLevel::Warn
        | LogLevel::Error
        | LogLevel::Fatal => {}
    }
    let machine = RunInstanceOptions {
        instance_type: text(),
        image_id: text(),
        key_name: maybe(),
        subnet_id: maybe(),
        security_group_ids: vec![text()],
        user_data: maybe(),
        tags: Metadata::from([(text(), text())]),
    };
    let built = RunInstanceOptions::new("x", "x")
        .key_name("x")
        .subnet_id("x")
        .security_group("x")
        .user_data("x")
        .tag("x", "x");
    assert_eq!(format!("{machine:?}"), format!("{built:?}"));
}
