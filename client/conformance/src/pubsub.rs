//! Cases of [`PubSub`]. What arrives is looked at through the subject's own queues.

use crate::case::{Shown, Wrong, eventually, refused, wrong};
use crate::subject::Subject;
use cloudkit_core::api::{MessageQueue, PubSub, ReceiveOptions, SubscriptionConfig};
use cloudkit_core::common::{Metadata, ResourceId};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Topics together with the queues of the same provider.
pub(crate) struct Both<'a, P: ?Sized, Q: ?Sized> {
    topics: &'a P,
    queues: &'a Q,
}

/// Runs the cases of topics and subscriptions; `queues` are those of the same provider, to which topics deliver.
pub async fn pubsub<P, Q, U>(topics: &P, queues: &Q, subject: &U) -> crate::Report
where
    P: PubSub,
    Q: MessageQueue + ?Sized,
    U: Subject,
{
    let both = Both { topics, queues };
    let mut report = crate::Report::new(subject, topics.capabilities());
    macro_rules! run {
        ($($name:ident)*) => {$(
            let needs = crate::report::Needs { capabilities: &[], minutes: false };
            report.run(stringify!($name), needs, subject.time(), Box::pin($name(&both, subject))).await;
        )*};
    }
    run! {
        a_topic_is_there_from_its_making_to_its_deletion
        names_that_no_topic_may_have_are_refused
        whatever_is_asked_of_a_missing_topic_is_not_found
        a_subscription_is_there_until_it_is_ended
        a_queue_is_subscribed_by_its_address_or_its_arn
        endpoints_that_lead_nowhere_are_refused
        each_subscribed_queue_gets_each_message
        an_envelope_carries_what_was_published
        a_filter_lets_through_what_has_its_attributes
        filters_that_break_a_rule_are_refused
        a_batch_above_any_request_is_published_whole
        a_value_is_published_in_its_json_form
        messages_that_break_a_rule_are_refused
    }
    report
}

struct Place {
    url: String,
    endpoint: String,
}

impl<P: PubSub, Q: MessageQueue + ?Sized> Both<'_, P, Q> {
    async fn topic(&self, subject: &impl Subject) -> Result<String, Wrong> {
        Ok(self.topics.create_topic(&subject.fresh("topic")).await?)
    }

    async fn queue(&self, subject: &impl Subject) -> Result<Place, Wrong> {
        let name = subject.fresh("queue");
        let url = self.queues.create_queue(&name).await?;
        let endpoint = subject.endpoint(&name, &url);
        Ok(Place { url, endpoint })
    }

    /// The envelopes that arrive in a queue, so many of them.
    async fn arrived(&self, subject: &impl Subject, url: &str, count: usize) -> Result<Vec<Value>, Wrong> {
        let messages = crate::queue::receive(self.queues, subject, url, count).await?;
        let parse = |message: cloudkit_core::api::Message| Ok(serde_json::from_str(&message.body)?);
        messages.into_iter().map(parse).collect()
    }
}

fn text_of(envelope: &Value) -> String {
    envelope["Message"].as_str().unwrap_or_default().to_owned()
}

async fn a_topic_is_there_from_its_making_to_its_deletion(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, name) = (both.topics, subject.fresh("topic"));
    refused("before", topics.get_topic_arn(&name).await, "NotFound Topic")?;
    let arn = topics.create_topic(&name).await?;
    same!("made again", topics.create_topic(&name).await?, arn);
    same!("found", topics.get_topic_arn(&name).await?, arn);
    holds!("listed", topics.list_topics().await?.contains(&arn));
    topics.delete_topic(&arn).await?;
    topics.delete_topic(&arn).await?;
    refused("after", topics.get_topic_arn(&name).await, "NotFound Topic")?;
    holds!("not listed", !topics.list_topics().await?.contains(&arn));
    Ok(())
}

async fn names_that_no_topic_may_have_are_refused(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    _: &impl Subject,
) -> Shown {
    for name in ["", "with space", "dots.in", "ü", &"t".repeat(257)] {
        refused(name, both.topics.create_topic(name).await, "Validation")?;
    }
    Ok(())
}

async fn whatever_is_asked_of_a_missing_topic_is_not_found(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    topics.delete_topic(&arn).await?;
    let wanted = "NotFound Topic";
    refused("publish", topics.publish(&arn, b"x").await, wanted)?;
    let publish = topics.publish_with_attributes(&arn, b"x", Metadata::new()).await;
    refused("publish_with_attributes", publish, wanted)?;
    refused("publish_batch", topics.publish_batch(&arn, &[b"x"]).await, wanted)?;
    refused("publish_json", topics.publish_json(&arn, &json!(1)).await, wanted)?;
    refused("subscribe", topics.subscribe(&arn, "sqs", &queue.endpoint).await, wanted)?;
    refused("list_subscriptions", topics.list_subscriptions(&arn).await, wanted)
}

async fn a_subscription_is_there_until_it_is_ended(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    same!("at first", topics.list_subscriptions(&arn).await?.len(), 0);
    let subscription = topics.subscribe(&arn, "sqs", &queue.endpoint).await?;
    same!("subscribed again", topics.subscribe(&arn, "sqs", &queue.endpoint).await?, subscription);
    same!("listed", topics.list_subscriptions(&arn).await?, [subscription.as_str()]);
    topics.publish(&arn, b"one").await?;
    same!("a message", text_of(&both.arrived(subject, &queue.url, 1).await?[0]), "one");
    topics.unsubscribe(&subscription).await?;
    topics.unsubscribe(&subscription).await?;
    same!("in the end", topics.list_subscriptions(&arn).await?.len(), 0);
    topics.publish(&arn, b"two").await?;
    let late = both.queues.receive(&queue.url, ReceiveOptions::new().max_messages(10)).await?;
    same!("no message", late.len(), 0);
    Ok(())
}

async fn a_queue_is_subscribed_by_its_address_or_its_arn(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    let by_address = topics.subscribe(&arn, "sqs", &queue.url).await?;
    same!("one subscription", topics.subscribe(&arn, "sqs", &queue.endpoint).await?, by_address);
    let config = SubscriptionConfig { push_endpoint: Some(queue.url.clone()), ..Default::default() };
    same!("with a config", topics.subscribe_with_config(&arn, config).await?, by_address);
    topics.publish(&arn, b"one").await?;
    same!("a message", text_of(&both.arrived(subject, &queue.url, 1).await?[0]), "one");
    Ok(())
}

async fn endpoints_that_lead_nowhere_are_refused(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    refused("no endpoint", topics.subscribe(&arn, "sqs", "").await, "Validation")?;
    refused("a word", topics.subscribe(&arn, "sqs", "somewhere").await, "Validation")?;
    refused("a protocol", topics.subscribe(&arn, "pigeon", &queue.endpoint).await, "Validation")?;
    let none = topics.subscribe_with_config(&arn, SubscriptionConfig::default()).await;
    refused("a config without one", none, "Validation")?;
    same!("the subscriptions", topics.list_subscriptions(&arn).await?.len(), 0);
    Ok(())
}

async fn each_subscribed_queue_gets_each_message(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn) = (both.topics, both.topic(subject).await?);
    let (one, two) = (both.queue(subject).await?, both.queue(subject).await?);
    for queue in [&one, &two] {
        topics.subscribe(&arn, "sqs", &queue.endpoint).await?;
    }
    same!("the subscriptions", topics.list_subscriptions(&arn).await?.len(), 2);
    for message in ["a", "b", "c"] {
        topics.publish(&arn, message.as_bytes()).await?;
    }
    for queue in [&one, &two] {
        let texts: BTreeSet<String> =
            both.arrived(subject, &queue.url, 3).await?.iter().map(text_of).collect();
        same!("the messages", texts, ["a", "b", "c"].map(String::from).into());
    }
    Ok(())
}

async fn an_envelope_carries_what_was_published(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    topics.subscribe(&arn, "sqs", &queue.endpoint).await?;
    let attributes = Metadata::from([(String::from("kind"), String::from("日本 & <x>"))]);
    let text = "line\nend \"quoted\" \\ 🦀 <&>";
    let id = topics.publish_with_attributes(&arn, text.as_bytes(), attributes).await?;
    let envelope = both.arrived(subject, &queue.url, 1).await?.remove(0);
    same!("the text", envelope["Message"], json!(text));
    same!("the identity", envelope["MessageId"], json!(id.as_str()));
    same!("the topic", envelope["TopicArn"], json!(arn));
    same!("the type", envelope["Type"], json!("Notification"));
    let expected = json!({"kind": {"Type": "String", "Value": "日本 & <x>"}});
    same!("the attributes", envelope["MessageAttributes"], expected);
    Ok(())
}

async fn a_filter_lets_through_what_has_its_attributes(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    let all = |values: &[&str]| values.iter().map(|value| String::from(*value)).collect::<Vec<_>>();
    let policy =
        HashMap::from([(String::from("kind"), all(&["a", "b"])), (String::from("size"), all(&["1"]))]);
    let config = SubscriptionConfig {
        push_endpoint: Some(queue.endpoint.clone()),
        filter_policy: Some(policy),
        ..SubscriptionConfig::default()
    };
    topics.subscribe_with_config(&arn, config).await?;
    let publish = async |text: &str, pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| (String::from(*name), String::from(*value)));
        topics.publish_with_attributes(&arn, text.as_bytes(), pairs.collect()).await
    };
    publish("no attributes", &[]).await?;
    publish("one of two", &[("kind", "a")]).await?;
    publish("wrong value", &[("kind", "c"), ("size", "1")]).await?;
    publish("wrong case", &[("kind", "A"), ("size", "1")]).await?;
    publish("first", &[("kind", "a"), ("size", "1")]).await?;
    publish("second", &[("kind", "b"), ("size", "1"), ("more", "x")]).await?;
    let texts: BTreeSet<String> = both.arrived(subject, &queue.url, 2).await?.iter().map(text_of).collect();
    same!("the messages", texts, ["first", "second"].map(String::from).into());
    Ok(())
}

async fn filters_that_break_a_rule_are_refused(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    let many = (0..6).map(|index| (format!("n{index}"), vec![String::from("v")])).collect();
    for policy in [many, HashMap::from([(String::from("kind"), Vec::new())])] {
        let what = format!("{policy:?}");
        let config = SubscriptionConfig {
            push_endpoint: Some(queue.endpoint.clone()),
            filter_policy: Some(policy),
            ..SubscriptionConfig::default()
        };
        refused(&what, topics.subscribe_with_config(&arn, config).await, "Validation")?;
    }
    Ok(())
}

async fn a_batch_above_any_request_is_published_whole(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    topics.subscribe(&arn, "sqs", &queue.endpoint).await?;
    let texts: Vec<String> = (0..23).map(|index| format!("text {index}")).collect();
    let messages: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let ids = topics.publish_batch(&arn, &messages).await?;
    let envelopes = both.arrived(subject, &queue.url, 23).await?;
    for (id, text) in ids.iter().zip(&texts) {
        let found = envelopes.iter().find(|envelope| envelope["MessageId"] == json!(id.as_str()));
        same!(text, found.map(text_of).as_ref(), Some(text));
    }
    same!("no messages", topics.publish_batch(&arn, &[]).await?, Vec::<ResourceId>::new());
    Ok(())
}

async fn a_value_is_published_in_its_json_form(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn, queue) = (both.topics, both.topic(subject).await?, both.queue(subject).await?);
    topics.subscribe(&arn, "sqs", &queue.endpoint).await?;
    let value = json!({"n": u64::MAX, "text": "é", "list": [null, 0.1]});
    topics.publish_json(&arn, &value).await?;
    let envelope = both.arrived(subject, &queue.url, 1).await?.remove(0);
    same!("the value", serde_json::from_str::<Value>(&text_of(&envelope))?, value);
    Ok(())
}

async fn messages_that_break_a_rule_are_refused(
    both: &Both<'_, impl PubSub, impl MessageQueue + ?Sized>,
    subject: &impl Subject,
) -> Shown {
    let (topics, arn) = (both.topics, both.topic(subject).await?);
    let long = vec![b'x'; 262_145];
    for message in [&b""[..], b"\xff\xfe", &long] {
        refused(&format!("{} bytes", message.len()), topics.publish(&arn, message).await, "Validation")?;
    }
    let id =
        eventually(subject, "a publish", async || Ok(Some(topics.publish(&arn, &long[1..]).await?))).await?;
    if id.as_str().is_empty() {
        return Err(wrong("an identity is empty"));
    }
    subject.pass(Duration::ZERO).await;
    Ok(())
}
