//! The surface that programs compile against, part three: what the methods of the services take and give.

use chrono::{DateTime, Utc};
use cloudkit_core::api::*;
use cloudkit_core::common::{CloudResult, Metadata, ResourceId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

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
fn derives_of_objects_tables_queues_topics_and_functions_are_there() {
    options::<PutOptions>();
    options::<GetOptions>();
    options::<ListOptions>();
    options::<KvGetOptions>();
    options::<KvPutOptions>();
    options::<KvQueryOptions>();
    data::<Condition>();
    served::<Message>();
    options::<SendOptions>();
    options::<ReceiveOptions>();
    options::<SubscriptionConfig>();
    served::<PubSubMessage>();
    options::<InvokeOptions>();
    default_word::<InvocationType>();
    data::<InvokeResult>();
}

#[test]
fn derives_of_users_and_networks_are_there() {
    served::<User>();
    default_word::<UserStatus>();
    served::<UserStatus>();
    served::<UserGroup>();
    served::<AuthResult>();
    served::<AuthChallenge>();
    served::<ChallengeType>();
    data::<InitiateAuthResult>();
    options::<CreateUserOptions>();
    options::<CreateVpcOptions>();
    options::<CreateSubnetOptions>();
    fn equal<T: Eq>() {}
    equal::<ChallengeType>();
}

#[test]
fn objects_take_these_options() {
    let put = PutOptions {
        content_type: maybe(),
        cache_control: maybe(),
        content_encoding: maybe(),
        metadata: Metadata::new(),
        storage_class: maybe(),
    };
    let built = PutOptions::new().content_type("a/b").cache_control(text()).metadata("k", text());
    assert_eq!((built.content_type.as_deref(), built.metadata["k"].as_str()), (Some("a/b"), "x"));
    assert_eq!(put.storage_class, maybe());
    let get = GetOptions {
        range_start: Some(0_u64),
        range_end: Some(1_u64),
        if_match: maybe(),
        if_none_match: maybe(),
    };
    let built = GetOptions::new().range(0, 1);
    assert_eq!((get.range_start, get.range_end), (built.range_start, built.range_end));
    let list = ListOptions {
        prefix: maybe(),
        delimiter: maybe(),
        max_results: Some(1_u32),
        continuation_token: maybe(),
    };
    let built = ListOptions::new().prefix("x").delimiter("x").max_results(1).continuation_token("x");
    assert_eq!(format!("{list:?}"), format!("{built:?}"));
}

/// A match without a wildcard.
fn taken_apart(condition: Condition) -> Condition {
    match condition {
        Condition::Exists(name) => Condition::Exists(name),
        Condition::NotExists(name) => Condition::NotExists(name),
        Condition::Equals(name, value) => Condition::Equals(name, value),
        Condition::NotEquals(name, value) => Condition::NotEquals(name, value),
        Condition::LessThan(name, value) => Condition::LessThan(name, value),
        Condition::LessThanOrEqual(name, value) => Condition::LessThanOrEqual(name, value),
        Condition::GreaterThan(name, value) => Condition::GreaterThan(name, value),
        Condition::GreaterThanOrEqual(name, value) => Condition::GreaterThanOrEqual(name, value),
        Condition::In(name, values) => {
            let values: Vec<Value> = values;
            Condition::In(name, values)
        }
        Condition::Between(name, low, high) => {
            let (low, high): (Value, Value) = (low, high);
            Condition::Between(name, low, high)
        }
        Condition::BeginsWith(name, start) => {
            let (name, start): (String, String) = (name, start);
            Condition::BeginsWith(name, start)
        }
        Condition::Contains(name, part) => {
            let part: String = part;
            Condition::Contains(name, part)
        }
        Condition::Not(inner) => {
            let inner: Box<Condition> = inner;
            Condition::Not(Box::new(taken_apart(*inner)))
        }
        Condition::And(all) => Condition::And(all.into_iter().map(taken_apart).collect()),
        Condition::Or(any) => Condition::Or(any.into_iter().map(taken_apart).collect()),
    }
}

#[test]
fn tables_take_these_options_and_conditions() {
    let condition = Condition::And(vec![
        Condition::Not(Box::new(Condition::Exists(text()))),
        Condition::Or(vec![
            Condition::In(text(), vec![json!(1)]),
            Condition::Between(text(), json!(1), json!(2)),
        ]),
    ]);
    assert_eq!(format!("{:?}", taken_apart(condition.clone())), format!("{condition:?}"));
    let get = KvGetOptions { consistent_read: true, projection: Some(vec![text()]) };
    let put = KvPutOptions { condition: Some(condition.clone()), return_old: true };
    let query = KvQueryOptions {
        filter: Some(condition),
        limit: Some(1_u32),
        scan_forward: false,
        consistent_read: true,
        continuation_token: maybe(),
    };
    assert!(
        get.consistent_read
            && put.return_old
            && !query.scan_forward
            && KvQueryOptions::default().scan_forward
    );
}

#[test]
fn queues_topics_and_functions_take_and_give_these() {
    let _ = Message {
        id: ResourceId::new("i"),
        body: text(),
        receipt_handle: maybe(),
        attributes: Metadata::new(),
        receive_count: 1_u32,
        sent_at: Utc::now(),
        first_received_at: now(),
    };
    let send = SendOptions {
        delay: Some(Duration::ZERO),
        message_group_id: maybe(),
        deduplication_id: maybe(),
        attributes: Metadata::new(),
    };
    let built = SendOptions::new().delay(Duration::ZERO).message_group_id("x").attribute("k", "v");
    assert_eq!((send.delay, send.message_group_id), (built.delay, built.message_group_id));
    let receive = ReceiveOptions {
        max_messages: Some(1_u32),
        visibility_timeout: Some(Duration::ZERO),
        wait_time: Some(Duration::ZERO),
    };
    let built =
        ReceiveOptions::new().max_messages(1).visibility_timeout(Duration::ZERO).wait_time(Duration::ZERO);
    assert_eq!(format!("{receive:?}"), format!("{built:?}"));
    let _ = SubscriptionConfig {
        push_endpoint: maybe(),
        filter_policy: Some(HashMap::<String, Vec<String>>::new()),
        dead_letter_topic: maybe(),
        max_delivery_attempts: Some(1_u32),
    };
    let _ = PubSubMessage {
        id: ResourceId::new("i"),
        data: Vec::<u8>::new(),
        attributes: Metadata::new(),
        publish_time: Utc::now(),
    };
    let invoke = InvokeOptions {
        invocation_type: InvocationType::default(),
        client_context: maybe(),
        qualifier: maybe(),
    };
    let word = |kind: InvocationType| match kind {
        InvocationType::RequestResponse => 'r',
        InvocationType::Event => 'e',
        InvocationType::DryRun => 'd',
    };
    let built = InvokeOptions::new().invocation_type(InvocationType::DryRun).qualifier("x");
    let kinds = [invoke, built, InvokeOptions::new().async_invoke()].map(|one| word(one.invocation_type));
    assert_eq!(kinds, ['r', 'd', 'e']);
    let result = InvokeResult {
        status_code: 200_u16,
        payload: Some(b"1".to_vec()),
        function_error: None::<String>,
        executed_version: maybe(),
        log_result: maybe(),
    };
    let parsed: CloudResult<Option<u8>> = result.parse_payload();
    assert!(result.is_success() && parsed.unwrap() == Some(1));
}

#[test]
fn users_are_made_of_these() {
    let user = User {
        id: text(),
        username: text(),
        email: maybe(),
        email_verified: true,
        phone_number: maybe(),
        phone_verified: true,
        enabled: true,
        status: UserStatus::default(),
        created_at: now(),
        updated_at: now(),
        attributes: Metadata::new(),
    };
    let fresh = User::new("i", text());
    assert!(fresh.enabled && !fresh.email_verified && fresh.email.is_none());
    assert_eq!(user.status, fresh.status);
    match user.status {
        UserStatus::Unconfirmed
        | UserStatus::Confirmed
        | UserStatus::Archived
        | UserStatus::Compromised
        | UserStatus::Unknown
        | UserStatus::ResetRequired
        | UserStatus::ForceChangePassword => {}
    }
    let _ = UserGroup {
        name: text(),
        description: maybe(),
        role_arn: maybe(),
        precedence: Some(1_u32),
        created_at: now(),
    };
    let tokens = AuthResult {
        access_token: text(),
        id_token: maybe(),
        refresh_token: maybe(),
        token_type: text(),
        expires_in: 1_u64,
    };
    let challenge = AuthChallenge {
        challenge_name: ChallengeType::Custom(text()),
        session: text(),
        parameters: Metadata::new(),
    };
    match &challenge.challenge_name {
        ChallengeType::SmsMfa
        | ChallengeType::SoftwareTokenMfa
        | ChallengeType::NewPasswordRequired
        | ChallengeType::MfaSetup
        | ChallengeType::SelectMfaType => {}
        ChallengeType::Custom(name) => assert_eq!(name, "x"),
    }
    for result in [InitiateAuthResult::Success(tokens), InitiateAuthResult::Challenge(challenge)] {
        match result {
            InitiateAuthResult::Success(AuthResult { .. })
            | InitiateAuthResult::Challenge(AuthChallenge { .. }) => {}
        }
    }
    let _ = CreateUserOptions {
        temporary_password: maybe(),
        send_email: true,
        email_verified: true,
        attributes: Metadata::new(),
    };
}

#[test]
fn networks_are_made_of_these() {
    let vpc = CreateVpcOptions { cidr_block: text(), tags: Metadata::new() };
    let subnet = CreateSubnetOptions {
        vpc_id: text(),
        cidr_block: text(),
        availability_zone: maybe(),
        tags: Metadata::new(),
    };
    assert_eq!(vpc.cidr_block, subnet.cidr_block);
}

#[test]
fn enums_of_two_names_are_two_types() {
    fn _two(_: LogLevel, _: cloudkit_core::spi::LogLevel) {}
    word::<LogLevel>();
}
