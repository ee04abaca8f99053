//! The operations on queues themselves, through the service and a store: facts of AWS's reference, one by one.

use ask::{arn, redrive_text, with_queues};
use driver::MAIN;
use serde_json::{Value as Json, json};

mod ask;
mod client;
mod driver;

#[test]
fn creating_a_queue_again_gives_the_same_one_unless_an_attribute_differs() {
    with_queues("create", |queues| async move {
        let url = queues.create("q", json!({ "DelaySeconds": "1", "VisibilityTimeout": "5" })).await;
        assert_eq!(url, format!("http://127.0.0.1:9000/{MAIN}/q"));
        assert_eq!(queues.create("q", json!({})).await, url);
        assert_eq!(queues.create("q", json!({ "DelaySeconds": "1" })).await, url);
        let tagged = json!({ "QueueName": "q", "tags": { "a": "b" } });
        assert_eq!(queues.done("CreateQueue", tagged).await["QueueUrl"], url, "tags are not compared");
        let other =
            json!({ "QueueName": "q", "Attributes": { "VisibilityTimeout": "5", "DelaySeconds": "2" } });
        assert_eq!(
            queues.refused("CreateQueue", other).await,
            "QueueNameExists: A queue already exists with the same name and a different value for attribute DelaySeconds"
        );
        queues.set(&url, json!({ "DelaySeconds": "2" })).await;
        assert_eq!(queues.create("q", json!({ "DelaySeconds": "2" })).await, url, "as it is now");
    });
}

#[test]
fn a_name_is_free_again_as_soon_as_its_queue_was_deleted() {
    with_queues("delete", |queues| async move {
        let url = queues.create("q", json!({ "DelaySeconds": "1" })).await;
        queues.done("DeleteQueue", json!({ "QueueUrl": url })).await;
        for operation in ["DeleteQueue", "GetQueueAttributes", "PurgeQueue", "ListQueueTags"] {
            assert_eq!(
                queues.refused(operation, json!({ "QueueUrl": url })).await,
                "QueueDoesNotExist: The specified queue does not exist."
            );
        }
        assert_eq!(
            queues.refused("GetQueueUrl", json!({ "QueueName": "q" })).await,
            "QueueDoesNotExist: The specified queue does not exist."
        );
        queues.create("q", json!({ "DelaySeconds": "9" })).await;
        assert_eq!(queues.attributes(&url).await["DelaySeconds"], "9");
    });
}

#[test]
fn attributes_are_shown_as_they_were_set_last() {
    with_queues("attributes", |queues| async move {
        let url = queues.create("q", json!({ "MessageRetentionPeriod": "604800" })).await;
        let before = queues.attributes(&url).await;
        assert_eq!((&before["QueueArn"], &before["VisibilityTimeout"]), (&json!(arn("q")), &json!("30")));
        assert_eq!(before["CreatedTimestamp"], before["LastModifiedTimestamp"]);
        queues.world.advance(5_000).await;
        let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}"#;
        queues.set(&url, json!({ "VisibilityTimeout": "7", "Policy": policy })).await;
        let after = queues.attributes(&url).await;
        assert_eq!((&after["VisibilityTimeout"], &after["Policy"]), (&json!("7"), &json!(policy)));
        assert_eq!(after["MessageRetentionPeriod"], "604800", "what is not named stays");
        let seconds =
            |attributes: &Json, name: &str| attributes[name].as_str().expect("is shown").parse::<u64>();
        assert_eq!(
            seconds(&after, "LastModifiedTimestamp").expect("a number"),
            seconds(&after, "CreatedTimestamp").expect("a number") + 5
        );
        queues.set(&url, json!({ "Policy": "" })).await;
        assert!(queues.attributes(&url).await.get("Policy").is_none());
        let one = json!({ "QueueUrl": url, "AttributeNames": ["QueueArn"] });
        assert_eq!(
            queues.done("GetQueueAttributes", one).await,
            json!({ "Attributes": { "QueueArn": arn("q") } })
        );
        assert_eq!(queues.done("GetQueueAttributes", json!({ "QueueUrl": url })).await, json!({}));
    });
}

#[test]
fn a_refused_change_of_attributes_changes_nothing() {
    with_queues("refused-set", |queues| async move {
        let url = queues.create("q", json!({})).await;
        for (attributes, error) in [
            (json!({ "Foo": "1" }), "InvalidAttributeName: Unknown Attribute Foo."),
            (
                json!({ "DelaySeconds": "5", "VisibilityTimeout": "43201" }),
                "InvalidAttributeValue: Invalid value for the parameter VisibilityTimeout.",
            ),
            (
                json!({ "DelaySeconds": "5", "DeduplicationScope": "queue" }),
                "InvalidAttributeName: You can specify the DeduplicationScope only when FifoQueue is set to true.",
            ),
            (json!({ "QueueArn": "x" }), "InvalidAttributeName: Unknown Attribute QueueArn."),
        ] {
            let request = json!({ "QueueUrl": url, "Attributes": attributes });
            assert_eq!(queues.refused("SetQueueAttributes", request).await, error);
        }
        assert_eq!(queues.attributes(&url).await["DelaySeconds"], "0");
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All", "Foo"] });
        assert_eq!(
            queues.refused("GetQueueAttributes", request).await,
            "InvalidAttributeName: Unknown Attribute Foo."
        );
    });
}

#[test]
fn queues_are_listed_by_prefix_page_by_page_over_all_shards() {
    with_queues("list", |queues| async move {
        assert_eq!(queues.done("ListQueues", json!({})).await, json!({}));
        let names: Vec<String> = (0..25).map(|number| format!("a-{number:02}")).collect();
        for name in &names {
            queues.create(name, json!({})).await;
        }
        queues.create("b", json!({})).await;
        let listed = |reply: &Json| -> Vec<String> {
            let urls = reply["QueueUrls"].as_array().cloned().unwrap_or_default();
            urls.iter().filter_map(|url| url.as_str()?.rsplit('/').next().map(str::to_owned)).collect()
        };
        let all = queues.done("ListQueues", json!({})).await;
        assert_eq!((listed(&all).len(), all.get("NextToken")), (26, None));
        let (mut seen, mut token) = (Vec::new(), Json::Null);
        loop {
            let mut request = json!({ "QueueNamePrefix": "a-", "MaxResults": 10 });
            if !token.is_null() {
                request["NextToken"] = token;
            }
            let page = queues.done("ListQueues", request).await;
            assert!(listed(&page).len() <= 10);
            seen.extend(listed(&page));
            match page.get("NextToken") {
                Some(next) => token = next.clone(),
                None => break,
            }
        }
        assert_eq!(seen, names);
        let page = queues.done("ListQueues", json!({ "QueueNamePrefix": "a-", "MaxResults": 25 })).await;
        assert!(page.get("NextToken").is_none(), "nothing is behind the last one");
    });
}

#[test]
fn a_page_has_one_to_a_thousand_queues_and_a_token_belongs_to_its_listing() {
    with_queues("tokens", |queues| async move {
        for name in ["a", "b", "c"] {
            queues.create(name, json!({})).await;
        }
        for count in [0, -1, 1_001] {
            assert_eq!(
                queues.refused("ListQueues", json!({ "MaxResults": count })).await,
                "InvalidParameterValueException: Value for parameter MaxResults is invalid. Reason: MaxResults must be an \
                 integer between 1 and 1000."
            );
        }
        let page = queues.done("ListQueues", json!({ "MaxResults": 1 })).await;
        let request = json!({ "MaxResults": 1, "NextToken": page["NextToken"], "QueueNamePrefix": "b" });
        assert!(
            queues
                .refused("ListQueues", request)
                .await
                .contains("must not change the other request parameters")
        );
        let request = json!({ "MaxResults": 1, "NextToken": "made-up" });
        assert!(queues.refused("ListQueues", request).await.contains("Invalid or expired next token"));
    });
}

#[test]
fn another_accounts_queue_is_not_there_or_not_allowed() {
    with_queues("urls", |queues| async move {
        let url = queues.create("q", json!({})).await;
        let ask = |owner: &str| json!({ "QueueName": "q", "QueueOwnerAWSAccountId": owner });
        assert_eq!(queues.done("GetQueueUrl", json!({ "QueueName": "q" })).await["QueueUrl"], url);
        assert_eq!(queues.done("GetQueueUrl", ask(MAIN)).await["QueueUrl"], url);
        for owner in ["999999999999", "x"] {
            let error = queues.refused("GetQueueUrl", ask(owner)).await;
            assert_eq!(error, "QueueDoesNotExist: The specified queue does not exist.");
        }
    });
}

#[test]
fn tags_are_added_replaced_and_removed_and_are_fifty_at_most() {
    with_queues("tags", |queues| async move {
        let created = json!({ "QueueName": "q", "tags": { "a": "1" } });
        let url = queues.done("CreateQueue", created).await["QueueUrl"].take();
        queues.done("TagQueue", json!({ "QueueUrl": url, "Tags": { "a": "2", "b": "" } })).await;
        let tags = queues.done("ListQueueTags", json!({ "QueueUrl": url })).await;
        assert_eq!(tags, json!({ "Tags": { "a": "2", "b": "" } }));
        queues.done("UntagQueue", json!({ "QueueUrl": url, "TagKeys": ["a", "b", "c"] })).await;
        assert_eq!(queues.done("ListQueueTags", json!({ "QueueUrl": url })).await, json!({}));
        let many =
            |count: usize| -> Json { (0..count).map(|number| (number.to_string(), json!("v"))).collect() };
        queues.done("TagQueue", json!({ "QueueUrl": url, "Tags": many(50) })).await;
        assert_eq!(
            queues.refused("TagQueue", json!({ "QueueUrl": url, "Tags": { "more": "" } })).await,
            "InvalidParameterValueException: Too many tags added for queue q."
        );
        queues.done("TagQueue", json!({ "QueueUrl": url, "Tags": { "7": "other" } })).await;
        assert_eq!(
            queues.refused("TagQueue", json!({ "QueueUrl": url, "Tags": {} })).await,
            "MissingRequiredParameterException: The request must contain the parameter Tags."
        );
        for tags in [json!({ "": "v" }), json!({ "k".repeat(129): "v" }), json!({ "k": "v".repeat(257) })] {
            let error = queues.refused("TagQueue", json!({ "QueueUrl": url, "Tags": tags })).await;
            assert!(error.starts_with("InvalidParameterValueException: Tag "), "{error}");
        }
    });
}

#[test]
fn permissions_are_statements_of_the_policy_by_their_labels() {
    with_queues("permissions", |queues| async move {
        let url = queues.create("q", json!({})).await;
        let add = |label: &str| {
            json!({
                "QueueUrl": url, "Label": label, "AWSAccountIds": ["111111111111"], "Actions": ["SendMessage"],
            })
        };
        queues.done("AddPermission", add("one")).await;
        let policy = queues.attributes(&url).await["Policy"].as_str().expect("a policy").to_owned();
        let policy: Json = serde_json::from_str(&policy).expect("JSON");
        assert_eq!(policy["Statement"][0]["Principal"]["AWS"], "arn:aws:iam::111111111111:root");
        assert_eq!(policy["Statement"][0]["Resource"], arn("q"));
        assert_eq!(
            queues.refused("AddPermission", add("one")).await,
            "InvalidParameterValueException: Value one for parameter Label is invalid. Reason: Already exists."
        );
        queues.done("AddPermission", add("two")).await;
        queues.done("RemovePermission", json!({ "QueueUrl": url, "Label": "one" })).await;
        assert!(
            queues
                .refused("RemovePermission", json!({ "QueueUrl": url, "Label": "one" }))
                .await
                .contains("can't find label")
        );
        queues.done("RemovePermission", json!({ "QueueUrl": url, "Label": "two" })).await;
        assert!(queues.attributes(&url).await.get("Policy").is_none());
    });
}

#[test]
fn a_dead_letter_queue_is_there_of_the_same_kind_and_allows_it() {
    with_queues("redrive", |queues| async move {
        queues.create("dead", json!({})).await;
        queues.create("dead.fifo", json!({ "FifoQueue": "true" })).await;
        let url = queues.create("q", json!({ "RedrivePolicy": redrive_text("dead", 3) })).await;
        assert_eq!(queues.attributes(&url).await["RedrivePolicy"], redrive_text("dead", 3));
        for (target, reason) in [
            ("absent", "Dead letter target does not exist."),
            ("dead.fifo", "Dead-letter queue must be same type of queue as the source.."),
        ] {
            let policy = redrive_text(target, 3);
            let request = json!({ "QueueUrl": url, "Attributes": { "RedrivePolicy": policy } });
            assert_eq!(
                queues.refused("SetQueueAttributes", request).await,
                format!(
                    "InvalidParameterValueException: Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"
                )
            );
        }
        let closed = queues
            .create("closed", json!({ "RedriveAllowPolicy": r#"{"redrivePermission":"denyAll"}"# }))
            .await;
        let request =
            json!({ "QueueUrl": url, "Attributes": { "RedrivePolicy": redrive_text("closed", 3) } });
        assert!(queues.refused("SetQueueAttributes", request.clone()).await.contains("redrive allow policy"));
        let by_queue = json!({ "redrivePermission": "byQueue", "sourceQueueArns": [arn("q")] }).to_string();
        queues.set(&closed, json!({ "RedriveAllowPolicy": by_queue })).await;
        queues.done("SetQueueAttributes", request).await;
    });
}

#[test]
fn the_sources_of_a_dead_letter_queue_are_those_that_name_it_now() {
    with_queues("sources", |queues| async move {
        let dead = queues.create("dead", json!({})).await;
        queues.create("other", json!({})).await;
        let mut urls = Vec::new();
        for number in 0..12 {
            urls.push(
                queues
                    .create(&format!("q-{number:02}"), json!({ "RedrivePolicy": redrive_text("dead", 3) }))
                    .await,
            );
        }
        queues.set(&urls[0], json!({ "RedrivePolicy": "" })).await;
        queues.set(&urls[1], json!({ "RedrivePolicy": redrive_text("other", 3) })).await;
        queues.done("DeleteQueue", json!({ "QueueUrl": urls[2] })).await;
        queues.set(&urls[3], json!({ "RedrivePolicy": redrive_text("dead", 4) })).await;
        let first = json!({ "QueueUrl": dead, "MaxResults": 5 });
        let first = queues.done("ListDeadLetterSourceQueues", first).await;
        assert_eq!(first["queueUrls"], json!(urls[3..8]));
        let second = json!({ "QueueUrl": dead, "MaxResults": 5, "NextToken": first["NextToken"] });
        let second = queues.done("ListDeadLetterSourceQueues", second).await;
        assert_eq!((&second["queueUrls"], second.get("NextToken")), (&json!(urls[8..12]), None));
        let none = queues.done("ListDeadLetterSourceQueues", json!({ "QueueUrl": urls[5] })).await;
        assert_eq!(none, json!({ "queueUrls": [] }));
    });
}

#[test]
fn the_query_protocol_answers_with_the_elements_that_old_clients_read() {
    with_queues("query", |queues| async move {
        let query = async |form: String| {
            let raw = queues.world.send_raw(http_types::HeaderMap::new(), form.into_bytes()).await;
            (raw.status, String::from_utf8(raw.body).expect("UTF-8"))
        };
        let base = format!("http://127.0.0.1:9000/{MAIN}");
        let has = async |form: String, parts: &[&str]| {
            let (status, text) = query(form.clone()).await;
            assert_eq!(status, 200, "{form}: {text}");
            for part in parts {
                assert!(text.contains(part), "{form}: {part} is not in {text}");
            }
        };
        let redrive = "%7B%22deadLetterTargetArn%22%3A%22arn%3Aaws%3Asqs%3Aus-east-1%3A000000000000%3Adead%22%2C\
                       %22maxReceiveCount%22%3A3%7D";
        has("Action=CreateQueue&QueueName=dead".to_owned(), &[&format!("<QueueUrl>{base}/dead</QueueUrl>")])
            .await;
        let create = format!(
            "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Attribute.2.Name=\
             RedrivePolicy&Attribute.2.Value={redrive}&Tag.1.Key=a&Tag.1.Value=b"
        );
        has(create, &["<CreateQueueResult>"]).await;
        let at = |name: &str, action: &str| format!("Action={action}&QueueUrl={base}/{name}");
        has(
            at("q", "GetQueueAttributes&AttributeName.1=DelaySeconds"),
            &["<Attribute><Name>DelaySeconds</Name><Value>5</Value></Attribute>"],
        )
        .await;
        has(at("q", "ListQueueTags"), &["<Tag><Key>a</Key><Value>b</Value></Tag>"]).await;
        has("Action=ListQueues".to_owned(), &["<QueueUrl>", "/dead</QueueUrl>", "/q</QueueUrl>"]).await;
        has(at("dead", "ListDeadLetterSourceQueues"), &[&format!("<QueueUrl>{base}/q</QueueUrl>")]).await;
        let source = format!("SourceArn={}", arn("dead"));
        has(format!("Action=StartMessageMoveTask&{source}"), &["<TaskHandle>"]).await;
        has(
            format!("Action=ListMessageMoveTasks&{source}"),
            &["<ListMessageMoveTasksResultEntry>", "<Status>RUNNING</Status>"],
        )
        .await;
        has(
            at("q", "SetQueueAttributes&Attribute.1.Name=DelaySeconds&Attribute.1.Value=0"),
            &["<RequestId>"],
        )
        .await;
        has(at("q", "PurgeQueue"), &["<RequestId>"]).await;
        has(
            at(
                "q",
                "AddPermission&Label=l&AWSAccountId.1=111111111111&ActionName.1=SendMessage&ActionName.2=*",
            ),
            &["<RequestId>"],
        )
        .await;
        let (status, text) = query(at("q", "PurgeQueue")).await;
        assert_eq!(status, 403);
        assert!(text.contains("<Code>AWS.SimpleQueueService.PurgeQueueInProgress</Code>"), "{text}");
        has(at("q", "DeleteQueue"), &["<RequestId>"]).await;
        let (status, text) = query(at("q", "DeleteQueue")).await;
        assert_eq!(status, 400);
        assert!(text.contains("<Code>AWS.SimpleQueueService.NonExistentQueue</Code>"), "{text}");
    });
}

#[test]
fn names_that_no_queue_can_have_name_none() {
    with_queues("long-names", |queues| async move {
        let url = queues.create("q", json!({})).await;
        for name in ["x".repeat(81), "x".repeat(5_000), "a/b".to_owned(), "a\u{0}b".to_owned(), String::new()]
        {
            let absent = "QueueDoesNotExist: The specified queue does not exist.";
            assert_eq!(queues.refused("GetQueueUrl", json!({ "QueueName": name })).await, absent);
            let listed = queues.done("ListQueues", json!({ "QueueNamePrefix": format!("x{name}") })).await;
            assert_eq!(listed, json!({}));
            let told = queues.refused("StartMessageMoveTask", json!({ "SourceArn": arn(&name) })).await;
            assert!(
                told.starts_with("ResourceNotFoundException") || told.starts_with("InvalidParameterValue"),
                "{told}"
            );
            let told = queues.refused("ListMessageMoveTasks", json!({ "SourceArn": arn(&name) })).await;
            assert!(
                told.starts_with("ResourceNotFoundException") || told.starts_with("InvalidParameterValue"),
                "{told}"
            );
            let request =
                json!({ "QueueUrl": url, "Attributes": { "RedrivePolicy": redrive_text(&name, 3) } });
            let told = queues.refused("SetQueueAttributes", request).await;
            assert!(told.starts_with("InvalidParameterValueException"), "{told}");
        }
    });
}
