//! Topics against the appliance itself; see `trial/appliance.rs` for where that comes from.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cloudkit_core::api::{MessageQueue, PubSub, ReceiveOptions, Service, SubscriptionConfig, Support};
use cloudkit_core::common::{CloudError, CloudResult, Metadata};
use serde_json::{Value, json};

use super::ZeroTopics;
use crate::sqs::ZeroQueue;
use crate::trial::appliance::Appliance;
use crate::trial::services::shared;

async fn started(name: &str) -> (Appliance, ZeroTopics, ZeroQueue) {
    let appliance = Appliance::start(name, &[], &[]);
    let shared = shared(appliance.caller()).await;
    (appliance, ZeroTopics::new(shared.clone()), ZeroQueue::new(shared))
}

fn is_validation<T: std::fmt::Debug>(outcome: CloudResult<T>) {
    let error = outcome.expect_err("it is refused");
    assert!(matches!(error, CloudError::Validation(_)), "{error}");
}

fn is_missing<T: std::fmt::Debug>(outcome: CloudResult<T>, id: &str) {
    let error = outcome.expect_err("it is missing");
    assert!(
        matches!(&error, CloudError::NotFound { resource_type, resource_id }
        if resource_type == "Topic" && resource_id == id),
        "{error}"
    );
}

fn to(endpoint: &str) -> SubscriptionConfig {
    SubscriptionConfig { push_endpoint: Some(endpoint.into()), ..SubscriptionConfig::default() }
}

/// The envelopes of so many messages that a queue gets.
async fn envelopes(queue: &ZeroQueue, url: &str, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    // Each round waits for a second; what has not come by then does not come.
    for _ in 0..ROUNDS {
        if found.len() >= count {
            return found;
        }
        let options = ReceiveOptions::new().max_messages(10).wait_time(Duration::from_secs(1));
        for message in queue.receive(url, options).await.expect("it is answered") {
            queue.delete(url, &message).await.expect("it is deleted");
            found.push(serde_json::from_str(&message.body).expect("it is an envelope"));
        }
    }
    panic!("{} of {count} messages came", found.len());
}

const ROUNDS: usize = 300;

fn texts(envelopes: &[Value]) -> BTreeSet<String> {
    envelopes.iter().filter_map(|envelope| envelope["Message"].as_str()).map(String::from).collect()
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn topics_are_made_found_listed_and_deleted() {
    let (_appliance, topics, _) = started("ps-topics").await;
    let arn = topics.create_topic("news").await.unwrap();
    assert_eq!(topics.create_topic("news").await.unwrap(), arn);
    assert_eq!(topics.get_topic_arn("news").await.unwrap(), arn);
    // More than one page of a listing.
    let mut made = BTreeSet::from([arn.clone()]);
    for index in 0..130 {
        made.insert(topics.create_topic(&format!("many-{index}")).await.unwrap());
    }
    assert_eq!(topics.list_topics().await.unwrap().into_iter().collect::<BTreeSet<_>>(), made);
    for index in [0, 77, 129] {
        let name = format!("many-{index}");
        assert!(topics.get_topic_arn(&name).await.unwrap().ends_with(&format!(":{name}")));
    }
    for name in ["none", "", "many", "aws:sns"] {
        is_missing(topics.get_topic_arn(name).await, name);
    }
    assert!(topics.create_topic("ordered.fifo").await.unwrap().ends_with(":ordered.fifo"));
    topics.delete_topic(&arn).await.unwrap();
    topics.delete_topic(&arn).await.expect("it is gone already");
    is_missing(topics.get_topic_arn("news").await, "news");
    for name in ["", "a b", "a:b", &"x".repeat(257)] {
        is_validation(topics.create_topic(name).await);
    }
    for outcome in [
        topics.publish(&arn, b"x").await.map(|_| ()),
        topics.publish_batch(&arn, &[b"x"]).await.map(|_| ()),
        topics.publish_json(&arn, &1).await.map(|_| ()),
        topics.list_subscriptions(&arn).await.map(|_| ()),
        topics.subscribe(&arn, "sqs", "arn:aws:sqs:us-east-1:000000000000:q").await.map(|_| ()),
        topics.subscribe_with_config(&arn, to("arn:aws:sqs:us-east-1:000000000000:q")).await.map(|_| ()),
    ] {
        is_missing(outcome, &arn);
    }
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_message_reaches_the_queues_whose_filters_let_it_through() {
    let (_appliance, topics, queue) = started("ps-fan-out").await;
    let arn = topics.create_topic("news").await.unwrap();
    let all = queue.create_queue("all").await.unwrap();
    let sport = queue.create_queue("sport").await.unwrap();
    let dead = queue.create_queue("dead").await.unwrap();
    // By address, and by ARN.
    let first = topics.subscribe(&arn, "sqs", &all).await.unwrap();
    assert!(first.starts_with(&format!("{arn}:")), "{first}");
    assert_eq!(topics.subscribe(&arn, "sqs", &all).await.unwrap(), first, "once more is the same");
    let policy = HashMap::from([("kind".to_string(), vec!["sport".to_string(), "a\"b&c".to_string()])]);
    let account = arn.split(':').nth(4).unwrap();
    let region = arn.split(':').nth(3).unwrap();
    let config = SubscriptionConfig {
        filter_policy: Some(policy),
        dead_letter_topic: Some(dead.clone()),
        max_delivery_attempts: Some(5),
        ..to(&format!("arn:aws:sqs:{region}:{account}:sport"))
    };
    let second = topics.subscribe_with_config(&arn, config).await.unwrap();
    let listed: BTreeSet<String> = topics.list_subscriptions(&arn).await.unwrap().into_iter().collect();
    assert_eq!(listed, BTreeSet::from([first.clone(), second.clone()]));
    let of = |kind: &str| {
        Metadata::from([("kind".to_string(), kind.to_string()), ("other".to_string(), "ü&=".to_string())])
    };
    let plain = topics.publish(&arn, "plain & <b> ключ\n".as_bytes()).await.unwrap();
    topics.publish_with_attributes(&arn, b"goal", of("sport")).await.unwrap();
    topics.publish_with_attributes(&arn, b"quoted", of("a\"b&c")).await.unwrap();
    topics.publish_with_attributes(&arn, b"vote", of("politics")).await.unwrap();
    topics.publish_json(&arn, &json!({"n": [1, null]})).await.unwrap();
    let found = envelopes(&queue, &all, 5).await;
    let expected = ["plain & <b> ключ\n", "goal", "quoted", "vote", "{\"n\":[1,null]}"].map(String::from);
    assert_eq!(texts(&found), BTreeSet::from(expected));
    let envelope =
        found.iter().find(|envelope| envelope["MessageId"] == plain.as_str()).expect("it names its identity");
    assert_eq!((&envelope["TopicArn"], &envelope["Type"]), (&json!(arn), &json!("Notification")));
    let goal = found.iter().find(|envelope| envelope["Message"] == "goal").unwrap();
    assert_eq!(goal["MessageAttributes"]["other"], json!({"Type": "String", "Value": "ü&="}));
    let found = envelopes(&queue, &sport, 2).await;
    assert_eq!(texts(&found), BTreeSet::from(["goal", "quoted"].map(String::from)));
    // What cannot be delivered goes where it was said.
    queue.delete_queue(&sport).await.unwrap();
    topics.publish_with_attributes(&arn, b"lost", of("sport")).await.unwrap();
    assert_eq!(texts(&envelopes(&queue, &dead, 1).await), BTreeSet::from(["lost".to_string()]));
    topics.unsubscribe(&second).await.unwrap();
    topics.unsubscribe(&second).await.expect("it is gone already");
    assert_eq!(topics.list_subscriptions(&arn).await.unwrap(), [first]);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn batches_of_any_size_are_published() {
    let (_appliance, topics, queue) = started("ps-batches").await;
    let arn = topics.create_topic("news").await.unwrap();
    let url = queue.create_queue("all").await.unwrap();
    topics.subscribe_with_config(&arn, to(&url)).await.unwrap();
    let bodies: Vec<String> = (0..250).map(|index| format!("{index} é&")).collect();
    let messages: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    let ids = topics.publish_batch(&arn, &messages).await.unwrap();
    let found = envelopes(&queue, &url, 250).await;
    let by_id: HashMap<&str, &str> =
        found.iter().filter_map(|one| Some((one["MessageId"].as_str()?, one["Message"].as_str()?))).collect();
    assert_eq!(by_id.len(), 250);
    for (id, body) in ids.iter().zip(&bodies) {
        assert_eq!(by_id[id.as_str()], body, "identities come in the order of the messages");
    }
    assert!(topics.publish_batch(&arn, &[]).await.unwrap().is_empty());
    let large = "z".repeat(200 * 1024);
    let large = large.as_bytes();
    assert_eq!(topics.publish_batch(&arn, &[large, large, large]).await.unwrap().len(), 3);
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn what_no_topic_takes_is_a_validation() {
    let (_appliance, topics, queue) = started("ps-refused").await;
    let arn = topics.create_topic("news").await.unwrap();
    let ordered = topics.create_topic("news.fifo").await.unwrap();
    let fifo = queue.create_queue("q.fifo").await.unwrap();
    let large = "x".repeat(1024 * 1024 + 1);
    for message in [b"".as_slice(), b"\xff\xfe", large.as_bytes()] {
        is_validation(topics.publish(&arn, message).await);
        is_validation(topics.publish_batch(&arn, &[b"good", message]).await);
    }
    is_validation(topics.publish(&ordered, b"x").await);
    is_validation(topics.publish_batch(&ordered, &[b"x"]).await);
    for name in ["", "AWS.x", "a b"] {
        is_validation(
            topics.publish_with_attributes(&arn, b"x", Metadata::from([(name.into(), "v".into())])).await,
        );
    }
    is_validation(topics.subscribe(&arn, "sqs", "nonsense").await);
    is_validation(topics.subscribe(&arn, "pigeon", "x").await);
    is_validation(topics.subscribe(&arn, "sqs", &fifo).await);
    is_validation(topics.subscribe_with_config(&arn, SubscriptionConfig::default()).await);
    is_validation(topics.subscribe_with_config(&arn, to("nonsense")).await);
    let url = queue.create_queue("q").await.unwrap();
    let no_values = HashMap::from([("kind".to_string(), Vec::new())]);
    is_validation(
        topics
            .subscribe_with_config(&arn, SubscriptionConfig { filter_policy: Some(no_values), ..to(&url) })
            .await,
    );
    let no_queue = SubscriptionConfig { dead_letter_topic: Some(arn.clone()), ..to(&url) };
    is_validation(topics.subscribe_with_config(&arn, no_queue).await);
    let never = SubscriptionConfig { max_delivery_attempts: Some(0), ..to("http://127.0.0.1:9/hook") };
    is_validation(topics.subscribe_with_config(&arn, never).await);
    for arn in ["", "nonsense", "arn:aws:sns:us-east-1:000000000000:a b"] {
        is_validation(topics.publish(arn, b"x").await);
        is_validation(topics.list_subscriptions(arn).await);
    }
    is_validation(topics.unsubscribe("nonsense").await);
    let error = topics.publish("nonsense", b"x").await.unwrap_err();
    assert!(error.request_id().is_some_and(|id| !id.is_empty()), "{error}");
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn a_web_hook_waits_for_its_confirmation() {
    let (_appliance, topics, _) = started("ps-hooks").await;
    let arn = topics.create_topic("news").await.unwrap();
    let config = SubscriptionConfig { max_delivery_attempts: Some(4), ..to("http://127.0.0.1:9/hook") };
    let subscription = topics.subscribe_with_config(&arn, config).await.unwrap();
    assert!(subscription.starts_with(&format!("{arn}:")), "{subscription}");
    assert!(topics.list_subscriptions(&arn).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs an appliance, which ZEROCLOUD_BINARY names"]
async fn the_three_services_say_who_they_are() {
    let (appliance, topics, queue) = started("ps-words").await;
    let db = crate::dynamodb::ZeroDb::new(shared(appliance.caller()).await);
    let all = [
        (topics.capabilities(), Service::PubSub),
        (queue.capabilities(), Service::MessageQueue),
        (cloudkit_core::api::KeyValueStore::capabilities(&db), Service::KeyValueStore),
    ];
    for (capabilities, service) in all {
        assert_eq!((&*capabilities.provider, capabilities.service), ("zero", service));
        assert!(capabilities.iter().all(|entry| entry.support != Support::No), "{capabilities}");
        // No name beside those of the trait.
        let known = cloudkit_core::api::Capabilities::defaults("zero", service);
        assert!(capabilities.iter().all(|entry| known.get(&entry.name).is_some()), "{capabilities}");
        let differs = capabilities.iter().filter(|entry| entry.support == Support::Difference);
        assert!(differs.into_iter().all(|entry| !entry.note.is_empty()), "{capabilities}");
    }
}
