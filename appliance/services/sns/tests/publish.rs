//! From a publish to the queues that get it.

mod driver;

use std::time::Duration;

use driver::{Got, World, queue_arn, with_world};

const RAW: (&str, &str) = ("RawMessageDelivery", "true");

fn body(queue: &str, body: &str) -> (String, String) {
    (queue.to_owned(), body.to_owned())
}

fn bodies(messages: &[Got]) -> Vec<(String, String)> {
    messages.iter().map(|got| body(&got.queue, &got.body)).collect()
}

async fn publish(world: &World, topic: &str, parameters: &[(&str, &str)]) -> driver::Answer {
    let mut all = vec![("TopicArn", topic)];
    all.extend_from_slice(parameters);
    world.send("Publish", &all).await
}

#[test]
fn every_matching_queue_gets_the_message_once() {
    with_world("publish-raw", async |world: World| {
        let topic = world.topic("news").await;
        world.subscribe(&topic, "all", &[RAW]).await;
        world.subscribe(&topic, "red", &[RAW, ("FilterPolicy", r#"{"colour":["red"]}"#)]).await;
        world.subscribe(&topic, "blue", &[RAW, ("FilterPolicy", r#"{"colour":["blue"]}"#)]).await;
        let attribute = [
            ("Message", "hello"),
            ("MessageAttributes.entry.1.Name", "colour"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", "red"),
        ];
        publish(&world, &topic, &attribute).await.ok();
        world.delivered().await;
        let messages = world.queues.messages();
        assert_eq!(bodies(&messages), [body("all", "hello"), body("red", "hello")]);
        assert_eq!(messages[0].attributes, [("colour".to_owned(), "red".to_owned())]);
    });
}

#[test]
fn a_hundred_queues_cost_one_entry_for_each_shard() {
    with_world("publish-hundred", async |world: World| {
        let topic = world.topic("news").await;
        for number in 0..100 {
            world.subscribe(&topic, &format!("q{number}"), &[RAW]).await;
        }
        publish(&world, &topic, &[("Message", "m")]).await.ok();
        world.delivered().await;
        let deliveries = world.queues.deliveries();
        assert_eq!(deliveries.len(), 2, "one for each of two shards");
        assert_eq!(deliveries.iter().map(|one| one.recipients.len()).sum::<usize>(), 100);
    });
}

#[test]
fn without_raw_delivery_a_queue_gets_a_signed_envelope() {
    with_world("publish-envelope", async |world: World| {
        let topic = world.topic("news").await;
        let subscription = world.subscribe(&topic, "q", &[]).await;
        let answer = publish(&world, &topic, &[("Message", "say \"hi\""), ("Subject", "s")]).await.ok();
        world.delivered().await;
        let messages = world.queues.messages();
        assert_eq!(messages.len(), 1);
        assert!(messages[0].attributes.is_empty(), "attributes are in the envelope");
        let json: serde_json::Value = serde_json::from_str(&messages[0].body).expect("JSON");
        assert_eq!(json["Type"], "Notification");
        assert_eq!(json["MessageId"], answer.text("MessageId"));
        assert_eq!(json["TopicArn"], topic);
        assert_eq!((&json["Message"], &json["Subject"]), (&"say \"hi\"".into(), &"s".into()));
        assert_eq!(json["Timestamp"], "2027-01-15T08:00:00.000Z");
        assert_eq!(json["SignatureVersion"], "1");
        assert_eq!(
            aws::encoding::unbase64(json["Signature"].as_str().expect("text").as_bytes())
                .map(|bytes| bytes.len()),
            Some(256)
        );
        assert!(json["SigningCertURL"].as_str().expect("text").starts_with("http://sns.test:1/"));
        let unsubscribe = format!("http://sns.test:1/?Action=Unsubscribe&SubscriptionArn={subscription}");
        assert_eq!(json["UnsubscribeURL"], unsubscribe);
    });
}

#[test]
fn a_change_of_a_filter_counts_for_the_next_message() {
    with_world("publish-change", async |world: World| {
        let topic = world.topic("news").await;
        let subscription = world.subscribe(&topic, "q", &[RAW]).await;
        publish(&world, &topic, &[("Message", "1")]).await.ok();
        for (policy, text) in [(r#"{"a":["b"]}"#, "2"), ("", "3")] {
            let change = [
                ("SubscriptionArn", subscription.as_str()),
                ("AttributeName", "FilterPolicy"),
                ("AttributeValue", policy),
            ];
            world.send("SetSubscriptionAttributes", &change).await.ok();
            publish(&world, &topic, &[("Message", text)]).await.ok();
        }
        world.send("Unsubscribe", &[("SubscriptionArn", subscription.as_str())]).await.ok();
        publish(&world, &topic, &[("Message", "4")]).await.ok();
        world.delivered().await;
        assert_eq!(bodies(&world.queues.messages()), [body("q", "1"), body("q", "3")]);
    });
}

#[test]
fn a_protocols_own_text_goes_to_queues() {
    with_world("publish-structure", async |world: World| {
        let topic = world.topic("news").await;
        world.subscribe(&topic, "q", &[RAW]).await;
        let message = r#"{"default":"d","sqs":"for queues"}"#;
        publish(&world, &topic, &[("Message", message), ("MessageStructure", "json")]).await.ok();
        world.delivered().await;
        assert_eq!(bodies(&world.queues.messages()), [body("q", "for queues")]);
    });
}

fn fifo<'a>(message: &'a str, group: &'a str, dedup: &'a str) -> [(&'a str, &'a str); 3] {
    [("Message", message), ("MessageGroupId", group), ("MessageDeduplicationId", dedup)]
}

#[test]
fn a_topic_that_keeps_order_passes_groups_on_and_knows_repetitions_for_five_minutes() {
    with_world("publish-fifo", async |world: World| {
        let topic = world.topic("orders.fifo").await;
        world.subscribe(&topic, "q.fifo", &[RAW]).await;
        world.subscribe(&topic, "plain", &[RAW]).await;
        let first = publish(&world, &topic, &fifo("1", "g", "a")).await.ok();
        let again = publish(&world, &topic, &fifo("other", "h", "a")).await.ok();
        assert_eq!(again.text("MessageId"), first.text("MessageId"));
        assert_eq!(again.text("SequenceNumber"), first.text("SequenceNumber"));
        let second = publish(&world, &topic, &fifo("2", "g", "b")).await.ok();
        assert!(second.text("SequenceNumber") > first.text("SequenceNumber"));
        assert_eq!(second.text("SequenceNumber").len(), 20);
        world.advance(Duration::from_secs(299));
        publish(&world, &topic, &fifo("3", "g", "a")).await.ok();
        world.advance(Duration::from_secs(1));
        let after = publish(&world, &topic, &fifo("4", "g", "a")).await.ok();
        assert_ne!(after.text("MessageId"), first.text("MessageId"));
        world.delivered().await;
        let messages = world.queues.messages();
        let of = |queue: &str| {
            let mine = messages.iter().filter(|got| got.queue == queue);
            mine.map(|got| (got.body.clone(), got.group.clone(), got.dedup.clone())).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("q.fifo"),
            [
                ("1".to_owned(), some("g"), some("a")),
                ("2".to_owned(), some("g"), some("b")),
                ("4".to_owned(), some("g"), some("a")),
            ]
        );
        assert!(of("plain").iter().all(|(_, _, dedup)| dedup.is_none()));
        assert_eq!(of("plain").len(), 3);
    });
}

#[test]
fn ids_whose_time_has_passed_are_removed() {
    with_world("publish-sweep", async |world: World| {
        let topic = world.topic("orders.fifo").await;
        for number in 0..5 {
            publish(&world, &topic, &fifo("m", "g", &number.to_string())).await.ok();
        }
        // The first one starts what delivers to web hooks.
        world.tick().await;
        assert_eq!(world.tick().await, 0, "nothing is due");
        world.advance(Duration::from_secs(301));
        assert!(world.tick().await > 0);
        assert_eq!(world.tick().await, 0, "all is done");
        let left: usize = world
            .store
            .shards()
            .map(|shard| {
                let view = world.store.view(shard).expect("a view");
                let mut count = 0;
                for table in [sns::store::DEDUP, sns::store::DEDUP_LINE] {
                    let mut scan = view.scan(table, std::ops::Bound::Unbounded, store::Direction::Forward);
                    while scan.next().expect("it can be read").is_some() {
                        count += 1;
                    }
                }
                count
            })
            .sum();
        assert_eq!(left, 0);
    });
}

#[test]
fn a_group_is_its_own_scope_where_the_topic_says_so() {
    with_world("publish-scope", async |world: World| {
        let topic = world.topic("orders.fifo").await;
        let scope = [
            ("TopicArn", topic.as_str()),
            ("AttributeName", "FifoThroughputScope"),
            ("AttributeValue", "MessageGroup"),
        ];
        world.send("SetTopicAttributes", &scope).await.ok();
        let one = publish(&world, &topic, &fifo("1", "g", "a")).await.ok().text("MessageId");
        let other = publish(&world, &topic, &fifo("1", "h", "a")).await.ok().text("MessageId");
        let again = publish(&world, &topic, &fifo("1", "g", "a")).await.ok().text("MessageId");
        assert_ne!(one, other);
        assert_eq!(one, again);
    });
}

#[test]
fn a_refused_message_goes_to_the_dead_letter_queue_with_the_reason() {
    with_world("publish-dead", async |world: World| {
        let topic = world.topic("news").await;
        let dead = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, queue_arn("dead"));
        world.subscribe(&topic, "closed", &[RAW, ("RedrivePolicy", &dead)]).await;
        world.subscribe(&topic, "closed-too", &[RAW]).await;
        publish(&world, &topic, &[("Message", "m")]).await.ok();
        world.delivered().await;
        world.delivered().await;
        let messages = world.queues.messages();
        assert_eq!(bodies(&messages), [body("dead", "m")]);
        let names: Vec<_> = messages[0].attributes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["RequestID", "ErrorCode", "ErrorMessage"]);
        assert_eq!(messages[0].attributes[1].1, "AccessDenied");
        assert_eq!(world.failures.counts(), [(queue_arn("closed-too").into(), 1)]);
    });
}

#[test]
fn what_the_dead_letter_queue_refuses_is_dropped_and_does_not_come_back() {
    with_world("publish-dead-closed", async |world: World| {
        let topic = world.topic("news").await;
        let dead = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, queue_arn("closed-dead"));
        world.subscribe(&topic, "closed", &[("RedrivePolicy", &dead)]).await;
        publish(&world, &topic, &[("Message", "m")]).await.ok();
        for _ in 0..4 {
            world.delivered().await;
        }
        assert_eq!(world.queues.messages(), []);
        assert_eq!(world.failures.counts(), [(queue_arn("closed-dead").into(), 1)]);
    });
}

#[test]
fn more_than_ten_attributes_cannot_be_delivered_raw() {
    with_world("publish-eleven", async |world: World| {
        let topic = world.topic("news").await;
        let dead = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, queue_arn("dead"));
        world.subscribe(&topic, "raw", &[RAW, ("RedrivePolicy", &dead)]).await;
        world.subscribe(&topic, "whole", &[]).await;
        let mut parameters = vec![("Message".to_owned(), "m".to_owned())];
        for number in 1..=11 {
            let entry = format!("MessageAttributes.entry.{number}");
            parameters.push((format!("{entry}.Name"), format!("n{number}")));
            parameters.push((format!("{entry}.Value.DataType"), "String".to_owned()));
            parameters.push((format!("{entry}.Value.StringValue"), "v".to_owned()));
        }
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        publish(&world, &topic, &parameters).await.ok();
        world.delivered().await;
        let messages = world.queues.messages();
        let queues: Vec<_> = messages.iter().map(|got| got.queue.as_str()).collect();
        assert_eq!(queues, ["dead", "whole"]);
        assert!(messages[0].attributes[2].1.contains("[11] exceeds the allowed maximum [10]"));
    });
}

#[test]
fn the_entries_of_a_batch_stand_or_fall_alone_and_keep_their_order() {
    with_world("publish-batch", async |world: World| {
        let topic = world.topic("orders.fifo").await;
        world.subscribe(&topic, "q.fifo", &[RAW]).await;
        let mut parameters = vec![("TopicArn".to_owned(), topic.clone())];
        for number in 1..=4 {
            let entry = format!("PublishBatchRequestEntries.member.{number}");
            parameters.push((format!("{entry}.Id"), format!("id{number}")));
            parameters.push((format!("{entry}.Message"), format!("m{number}")));
            parameters.push((format!("{entry}.MessageDeduplicationId"), format!("d{number}")));
            if number != 2 {
                parameters.push((format!("{entry}.MessageGroupId"), "g".to_owned()));
            }
        }
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = world.send("PublishBatch", &parameters).await.ok();
        assert_eq!(answer.all("Id"), ["id2", "id1", "id3", "id4"]);
        assert_eq!(answer.all("SequenceNumber").len(), 3);
        assert!(answer.all("SequenceNumber").is_sorted());
        world.delivered().await;
        let messages = world.queues.messages();
        assert_eq!(bodies(&messages), [body("q.fifo", "m1"), body("q.fifo", "m3"), body("q.fifo", "m4")]);
    });
}

#[test]
fn a_batch_that_is_none_fails_as_a_whole() {
    with_world("publish-batch-wrong", async |world: World| {
        let topic = world.topic("news").await;
        let code = async |entries: &[(&str, &str)]| {
            let mut parameters = vec![("TopicArn".to_owned(), topic.clone())];
            for (number, (id, text)) in (1..).zip(entries) {
                parameters.push((format!("PublishBatchRequestEntries.member.{number}.Id"), (*id).to_owned()));
                parameters.push((
                    format!("PublishBatchRequestEntries.member.{number}.Message"),
                    (*text).to_owned(),
                ));
            }
            let parameters: Vec<_> =
                parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            world.send("PublishBatch", &parameters).await.error().0
        };
        assert_eq!(code(&[]).await, "EmptyBatchRequest");
        assert_eq!(code(&[("a", "m"), ("a", "m")]).await, "BatchEntryIdsNotDistinct");
        assert_eq!(code(&[("a b", "m")]).await, "InvalidBatchEntryId");
        let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(|id| (id.as_str(), "m")).collect();
        assert_eq!(code(&many).await, "TooManyEntriesInBatchRequest");
        let long = "m".repeat(131_073);
        assert_eq!(code(&[("a", &long), ("b", &long)]).await, "BatchRequestTooLong");
    });
}

#[test]
fn wrong_publishes_are_refused_in_the_words_of_aws() {
    with_world("publish-wrong", async |world: World| {
        let topic = world.topic("news").await;
        let refused = async |parameters: &[(&str, &str)]| publish(&world, &topic, parameters).await.error();
        let invalid = |text: &str| ("InvalidParameter".to_owned(), format!("Invalid parameter: {text}"));
        assert_eq!(refused(&[("Message", "")]).await, invalid("Empty message"));
        assert_eq!(refused(&[("Message", &"m".repeat(262_145))]).await, invalid("Message too long"));
        let unknown = format!("{topic}x");
        let absent = publish(&world, &unknown, &[("Message", "m")]).await;
        assert_eq!(
            (absent.status, absent.error()),
            (404, ("NotFound".into(), "Topic does not exist".into()))
        );
        assert_eq!(publish(&world, "news", &[("Message", "m")]).await.error(), invalid("TopicArn"));
        let orders = world.topic("orders.fifo").await;
        assert_eq!(
            publish(&world, &orders, &[("Message", "m")]).await.error(),
            invalid("The MessageGroupId parameter is required for FIFO topics")
        );
        let other =
            world.send_as(Some(driver::OTHER), "Publish", &[("TopicArn", &topic), ("Message", "m")]).await;
        assert_eq!((other.status, other.error().0), (403, "AuthorizationError".to_owned()));
        let nobody = world.send_as(None, "Publish", &[("TopicArn", &topic), ("Message", "m")]).await;
        assert_eq!((nobody.status, nobody.error().0), (403, "MissingAuthenticationToken".to_owned()));
    });
}

#[test]
fn a_long_message_for_many_queues_takes_several_batches_and_comes_once() {
    with_world("publish-long", async |world: World| {
        let topic = world.topic("orders.fifo").await;
        let large = [
            ("TopicArn", topic.as_str()),
            ("AttributeName", "MaximumMessageSize"),
            ("AttributeValue", "1048576"),
        ];
        world.send("SetTopicAttributes", &large).await.ok();
        for number in 0..6 {
            world.subscribe(&topic, &format!("raw{number}.fifo"), &[RAW]).await;
            world.subscribe(&topic, &format!("whole{number}.fifo"), &[]).await;
        }
        let long = "m".repeat(1_000_000);
        let first = publish(&world, &topic, &fifo(&long, "g", "a")).await.ok();
        let again = publish(&world, &topic, &fifo(&long, "g", "a")).await.ok();
        assert_eq!(again.text("SequenceNumber"), first.text("SequenceNumber"));
        publish(&world, &topic, &fifo("short", "g", "b")).await.ok();
        world.delivered().await;
        let deliveries = world.queues.deliveries();
        let long = deliveries.iter().filter(|one| one.message.message_id == deliveries[0].message.message_id);
        assert!(long.clone().count() > 2 && long.clone().all(|one| one.recipients.len() <= 2));
        let mut got: Vec<_> = deliveries
            .iter()
            .flat_map(|one| one.recipients.iter().map(|to| (to.queue.clone(), one.message.message_id)))
            .collect();
        let in_order = got.clone();
        got.sort();
        got.dedup();
        assert_eq!((got.len(), in_order.len()), (24, 24), "each queue gets each message once");
        for (queue, _) in &got {
            let ids: Vec<_> = in_order.iter().filter(|(known, _)| known == queue).map(|(_, id)| id).collect();
            assert_eq!(ids[0], &deliveries[0].message.message_id, "{queue}: the long one was the first");
        }
    });
}

#[test]
fn a_long_message_that_many_queues_refuse_is_buried_for_each() {
    with_world("publish-long-refused", async |world: World| {
        let topic = world.topic("news").await;
        for number in 0..12 {
            let dead = format!(r#"{{"deadLetterTargetArn":"{}"}}"#, queue_arn(&format!("dead{number}")));
            world.subscribe(&topic, &format!("closed{number}"), &[RAW, ("RedrivePolicy", &dead)]).await;
        }
        publish(&world, &topic, &[("Message", &"m".repeat(262_144))]).await.ok();
        for _ in 0..8 {
            world.delivered().await;
        }
        let mut queues: Vec<_> = world.queues.messages().into_iter().map(|got| got.queue).collect();
        queues.dedup();
        assert_eq!(queues.len(), 12);
        assert_eq!(world.failures.counts(), []);
    });
}
