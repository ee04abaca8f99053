//! Topics, their attributes, tags, permissions and subscriptions, without messages.

mod driver;

use driver::{OTHER, World, queue_arn, with_world, with_world_at};

fn invalid(text: &str) -> (String, String) {
    ("InvalidParameter".to_owned(), format!("Invalid parameter: {text}"))
}

#[test]
fn a_topic_that_is_there_is_given_again_unless_something_differs() {
    with_world("topics-create", async |world: World| {
        let wanted = [
            ("Name", "news"),
            ("Attributes.entry.1.key", "DisplayName"),
            ("Attributes.entry.1.value", "News"),
            ("Tags.member.1.Key", "k"),
            ("Tags.member.1.Value", "v"),
        ];
        let arn = world.send("CreateTopic", &wanted).await.ok().text("TopicArn");
        assert_eq!(arn, "arn:aws:sns:eu-west-1:000000000000:news");
        assert_eq!(world.send("CreateTopic", &wanted).await.ok().text("TopicArn"), arn);
        assert_eq!(world.topic("news").await, arn, "what is not said is not compared");
        let mut other = wanted;
        other[2].1 = "Other";
        assert_eq!(
            world.send("CreateTopic", &other).await.error(),
            invalid("Attributes Reason: Topic already exists with different attributes")
        );
        let mut other = wanted;
        other[4].1 = "w";
        assert_eq!(
            world.send("CreateTopic", &other).await.error(),
            invalid("Tags Reason: Topic already exists with different tags")
        );
        let attributes = world.send("GetTopicAttributes", &[("TopicArn", &arn)]).await.ok();
        assert_eq!(attributes.entry("DisplayName").as_deref(), Some("News"));
        assert_eq!(attributes.entry("Owner").as_deref(), Some(driver::MAIN));
        assert_eq!(attributes.entry("SubscriptionsConfirmed").as_deref(), Some("0"));
        assert!(attributes.entry("Policy").is_some_and(|policy| policy.contains("__default_policy_ID")));
    });
}

#[test]
fn names_say_whether_a_topic_keeps_order() {
    with_world("topics-names", async |world: World| {
        let long = "n".repeat(257);
        for name in ["", "a b", "a.b", "a.fifo", long.as_str()] {
            let (code, _) = world.send("CreateTopic", &[("Name", name)]).await.error();
            assert!(matches!(code.as_str(), "InvalidParameter" | "ValidationError"), "{name}: {code}");
        }
        let fifo =
            [("Name", "a"), ("Attributes.entry.1.key", "FifoTopic"), ("Attributes.entry.1.value", "true")];
        assert_eq!(world.send("CreateTopic", &fifo).await.status, 400);
        let arn = world.topic("a.fifo").await;
        let attributes = world.send("GetTopicAttributes", &[("TopicArn", &arn)]).await.ok();
        assert_eq!(attributes.entry("FifoTopic").as_deref(), Some("true"));
        assert_eq!(attributes.entry("ContentBasedDeduplication").as_deref(), Some("false"));
        let change = [("TopicArn", arn.as_str()), ("AttributeName", "FifoTopic"), ("AttributeValue", "true")];
        assert_eq!(world.send("SetTopicAttributes", &change).await.error(), invalid("AttributeName"));
    });
}

#[test]
fn lists_come_in_pages_of_a_hundred_and_show_the_callers_own() {
    with_world("topics-list", async |world: World| {
        for number in 0..205 {
            world.topic(&format!("t{number}")).await;
        }
        world.send_as(Some(OTHER), "CreateTopic", &[("Name", "theirs")]).await.ok();
        let mut names = std::collections::BTreeSet::new();
        let (mut pages, mut token) = (0, None::<String>);
        loop {
            let parameters: Vec<_> = token.as_deref().map(|token| ("NextToken", token)).into_iter().collect();
            let page = world.send("ListTopics", &parameters).await.ok();
            pages += 1;
            assert!(page.all("TopicArn").len() <= 100);
            names.extend(page.all("TopicArn"));
            token = page.all("NextToken").into_iter().next();
            if token.is_none() {
                break;
            }
        }
        assert_eq!((names.len(), pages), (205, 3));
        assert!(names.iter().all(|name| name.starts_with("arn:aws:sns:eu-west-1:000000000000:t")));
        let theirs = world.send_as(Some(OTHER), "ListTopics", &[]).await.ok();
        assert_eq!(theirs.all("TopicArn"), ["arn:aws:sns:eu-west-1:111111111111:theirs"]);
        assert_eq!(world.send("ListTopics", &[("NextToken", "x")]).await.error(), invalid("NextToken"));
    });
}

#[test]
fn one_place_has_one_subscription() {
    with_world("topics-subscribe", async |world: World| {
        let topic = world.topic("news").await;
        let raw = [("RawMessageDelivery", "true")];
        let arn = world.subscribe(&topic, "q", &raw).await;
        assert_eq!(world.subscribe(&topic, "q", &raw).await, arn);
        assert_eq!(world.subscribe(&topic, "q", &[]).await, arn);
        let endpoint = queue_arn("q");
        let other = [
            ("TopicArn", topic.as_str()),
            ("Protocol", "sqs"),
            ("Endpoint", &endpoint),
            ("Attributes.entry.1.key", "RawMessageDelivery"),
            ("Attributes.entry.1.value", "false"),
        ];
        assert_eq!(
            world.send("Subscribe", &other).await.error(),
            invalid("Attributes Reason: Subscription already exists with different attributes")
        );
        let shown = world.send("GetSubscriptionAttributes", &[("SubscriptionArn", &arn)]).await.ok();
        for (key, value) in [
            ("SubscriptionArn", arn.as_str()),
            ("TopicArn", &topic),
            ("Protocol", "sqs"),
            ("Endpoint", &endpoint),
            ("PendingConfirmation", "false"),
            ("ConfirmationWasAuthenticated", "true"),
            ("RawMessageDelivery", "true"),
        ] {
            assert_eq!(shown.entry(key).as_deref(), Some(value), "{key}");
        }
        let attributes = world.send("GetTopicAttributes", &[("TopicArn", &topic)]).await.ok();
        assert_eq!(attributes.entry("SubscriptionsConfirmed").as_deref(), Some("1"));
        world.send("Unsubscribe", &[("SubscriptionArn", &arn)]).await.ok();
        world.send("Unsubscribe", &[("SubscriptionArn", &arn)]).await.ok();
        let gone = world.send("GetSubscriptionAttributes", &[("SubscriptionArn", &arn)]).await;
        assert_eq!((gone.status, gone.error().1), (404, "Subscription does not exist".to_owned()));
        let attributes = world.send("GetTopicAttributes", &[("TopicArn", &topic)]).await.ok();
        assert_eq!(attributes.entry("SubscriptionsConfirmed").as_deref(), Some("0"));
        assert_eq!(attributes.entry("SubscriptionsDeleted").as_deref(), Some("1"));
    });
}

#[test]
fn endpoints_that_cannot_be_subscribed_are_refused_by_name() {
    with_world("topics-endpoints", async |world: World| {
        let (topic, orders) = (world.topic("news").await, world.topic("orders.fifo").await);
        let subscribe = async |topic: &str, protocol: &str, endpoint: &str| {
            let wanted = [("TopicArn", topic), ("Protocol", protocol), ("Endpoint", endpoint)];
            world.send("Subscribe", &wanted).await.error()
        };
        assert_eq!(subscribe(&topic, "sqs", "q").await, invalid("SQS endpoint ARN"));
        let elsewhere = "arn:aws:sqs:us-east-1:000000000000:q";
        assert_eq!(subscribe(&topic, "sqs", elsewhere).await, invalid("SQS endpoint ARN"));
        assert!(subscribe(&topic, "sqs", &queue_arn("q.fifo")).await.1.contains("FIFO SQS Queues can not"));
        let function = "arn:aws:lambda:eu-west-1:000000000000:function:f";
        assert!(subscribe(&topic, "lambda", function).await.1.contains("no functions"));
        assert!(subscribe(&topic, "email", "a@b.example").await.1.contains("email is not supported"));
        assert!(subscribe(&topic, "pigeon", "x").await.1.contains("does not support this protocol"));
        assert!(
            subscribe(&topic, "http", "https://a.example/")
                .await
                .1
                .contains("must match the specified protocol")
        );
        assert!(subscribe(&orders, "http", "http://a.example/").await.1.contains("topics that keep order"));
    });
}

#[test]
fn a_topic_that_is_made_anew_has_no_subscriptions() {
    let directory = driver::TempDir::new("topics-anew");
    with_world_at(&directory.0, async |world: World| {
        let topic = world.topic("news").await;
        for number in 0..150 {
            world.subscribe(&topic, &format!("q{number}"), &[]).await;
        }
        world.send("DeleteTopic", &[("TopicArn", &topic)]).await.ok();
        world.send("DeleteTopic", &[("TopicArn", &topic)]).await.ok();
        assert_eq!(world.send("GetTopicAttributes", &[("TopicArn", &topic)]).await.status, 404);
        assert_eq!(world.topic("news").await, topic);
        world.subscribe(&topic, "new", &[]).await;
    });
    // From the records, as after any start.
    with_world_at(&directory.0, async |world: World| {
        let topic = world.topic("news").await;
        let listed = async || world.send("ListSubscriptions", &[]).await.ok().all("Endpoint");
        assert_eq!(listed().await, [queue_arn("new")]);
        world.send("Publish", &[("TopicArn", &topic), ("Message", "m")]).await.ok();
        world.delivered().await;
        assert_eq!(world.queues.messages().len(), 1);
        let mut rounds = 0;
        while world.tick().await > 0 {
            rounds += 1;
            assert!(rounds < 100, "the work ends");
        }
        let left: usize = world
            .store
            .shards()
            .map(|shard| {
                let view = world.store.view(shard).expect("a view");
                let mut scan = view.scan(
                    sns::store::SUBSCRIPTIONS,
                    std::ops::Bound::Unbounded,
                    store::Direction::Forward,
                );
                std::iter::from_fn(|| scan.next().expect("it can be read")).count()
            })
            .sum();
        assert_eq!(left, 1, "the old ones are removed, the new one is not");
        assert_eq!(listed().await, [queue_arn("new")]);
    });
}

#[test]
fn tags_are_added_replaced_and_removed() {
    with_world("topics-tags", async |world: World| {
        let topic = world.topic("news").await;
        let arn = ("ResourceArn", topic.as_str());
        let tag = [
            arn,
            ("Tags.member.1.Key", "a"),
            ("Tags.member.1.Value", "1"),
            ("Tags.member.2.Key", "b"),
            ("Tags.member.2.Value", "2"),
        ];
        world.send("TagResource", &tag).await.ok();
        world
            .send("TagResource", &[arn, ("Tags.member.1.Key", "a"), ("Tags.member.1.Value", "3")])
            .await
            .ok();
        world.send("UntagResource", &[arn, ("TagKeys.member.1", "b")]).await.ok();
        let listed = world.send("ListTagsForResource", &[arn]).await.ok();
        assert_eq!((listed.all("Key"), listed.all("Value")), (vec!["a".to_owned()], vec!["3".to_owned()]));
        let absent = format!("{topic}x");
        let answer = world.send("ListTagsForResource", &[("ResourceArn", &absent)]).await;
        assert_eq!((answer.status, answer.error().0), (404, "ResourceNotFound".to_owned()));
    });
}

#[test]
fn a_permission_opens_a_topic_to_another_account_until_it_is_removed() {
    with_world("topics-permissions", async |world: World| {
        let topic = world.topic("news").await;
        let publish = async || {
            let message = [("TopicArn", topic.as_str()), ("Message", "m")];
            world.send_as(Some(OTHER), "Publish", &message).await.status
        };
        assert_eq!(publish().await, 403);
        let permission = [
            ("TopicArn", topic.as_str()),
            ("Label", "guests"),
            ("AWSAccountId.member.1", OTHER),
            ("ActionName.member.1", "Publish"),
        ];
        world.send("AddPermission", &permission).await.ok();
        assert_eq!(publish().await, 200);
        assert_eq!(
            world.send("AddPermission", &permission).await.error(),
            invalid("Statement already exists")
        );
        let label = [("TopicArn", topic.as_str()), ("Label", "guests")];
        world.send("RemovePermission", &label).await.ok();
        assert_eq!(publish().await, 403);
        assert_eq!(world.send("RemovePermission", &label).await.status, 400);
        let mut wrong = permission;
        wrong[3].1 = "Fly";
        assert_eq!(
            world.send("AddPermission", &wrong).await.error(),
            invalid("Policy statement action out of service scope!")
        );
    });
}

#[test]
fn a_data_protection_policy_is_kept_and_shown() {
    with_world("topics-protection", async |world: World| {
        let topic = world.topic("news").await;
        let arn = ("ResourceArn", topic.as_str());
        world.send("PutDataProtectionPolicy", &[arn, ("DataProtectionPolicy", "{\"a\":1}")]).await.ok();
        let shown = world.send("GetDataProtectionPolicy", &[arn]).await.ok();
        assert_eq!(shown.text("DataProtectionPolicy"), "{&quot;a&quot;:1}");
        assert_eq!(
            world.send("PutDataProtectionPolicy", &[arn, ("DataProtectionPolicy", "x")]).await.status,
            400
        );
    });
}

#[test]
fn what_is_not_built_is_no_action() {
    with_world("topics-not-built", async |world: World| {
        for action in ["CreatePlatformEndpoint", "SetSMSAttributes", "Fly"] {
            let (code, text) = world.send(action, &[]).await.error();
            assert_eq!(code, "InvalidAction");
            assert_eq!(text, format!("The action {action} is not valid for this web service."));
        }
    });
}

#[test]
fn large_messages_are_for_topics_of_queues() {
    with_world("topics-large", async |world: World| {
        let topic = world.topic("news").await;
        let large = [
            ("TopicArn", topic.as_str()),
            ("AttributeName", "MaximumMessageSize"),
            ("AttributeValue", "1048576"),
        ];
        world.send("SetTopicAttributes", &large).await.ok();
        let hook = [("TopicArn", topic.as_str()), ("Protocol", "http"), ("Endpoint", "http://127.0.0.1:9/")];
        assert_eq!(world.send("Subscribe", &hook).await.status, 400);
        world.subscribe(&topic, "raw", &[("RawMessageDelivery", "true")]).await;
        world.subscribe(&topic, "whole", &[]).await;
        // In its envelope it is longer than what a queue takes.
        let message = "m".repeat(1_048_576);
        world.send("Publish", &[("TopicArn", &topic), ("Message", &message)]).await.ok();
        // Every letter takes two in the envelope.
        let quotes = "\"".repeat(400_000);
        world.send("Publish", &[("TopicArn", &topic), ("Message", &quotes)]).await.ok();
        world.delivered().await;
        let lengths: Vec<_> =
            world.queues.messages().iter().map(|got| (got.queue.clone(), got.body.len())).collect();
        assert_eq!(lengths[..2], [("raw".to_owned(), 1_048_576), ("raw".to_owned(), 400_000)]);
        assert_eq!((lengths.len(), lengths[2].0.as_str()), (3, "whole"));
        assert!(lengths[2].1 > 800_000);
        assert_eq!(world.failures.counts(), [(queue_arn("whole").into(), 1)]);
    });
}
