//! Who may do what with a topic: every operation, asked by its owner, by another account and by nobody, under policies
//! that open, that close, and under none.

mod driver;

use driver::{MAIN, OTHER, World, queue_arn, with_world};
use sns::router::OPERATIONS;

const NAME: &str = "t";

/// A request for each operation, on the owner's topic. None is refused before the caller is looked at.
fn request(operation: &str, topic: &str, subscription: &str) -> Vec<(&'static str, String)> {
    let topic_arn = ("TopicArn", topic.to_owned());
    let resource = ("ResourceArn", topic.to_owned());
    let own = ("SubscriptionArn", subscription.to_owned());
    let with = |first: (&'static str, String), rest: &[(&'static str, &str)]| {
        let rest = rest.iter().map(|(name, value)| (*name, (*value).to_owned()));
        std::iter::once(first).chain(rest).collect::<Vec<_>>()
    };
    match operation {
        "Publish" => with(topic_arn, &[("Message", "m")]),
        "PublishBatch" => with(
            topic_arn,
            &[
                ("PublishBatchRequestEntries.member.1.Id", "1"),
                ("PublishBatchRequestEntries.member.1.Message", "m"),
            ],
        ),
        "DeleteTopic" | "GetTopicAttributes" | "ListSubscriptionsByTopic" => with(topic_arn, &[]),
        "SetTopicAttributes" => with(topic_arn, &[("AttributeName", "DisplayName"), ("AttributeValue", "d")]),
        "Subscribe" => with(topic_arn, &[("Protocol", "sqs"), ("Endpoint", &queue_arn("other"))]),
        "AddPermission" => with(
            topic_arn,
            &[("Label", "l"), ("AWSAccountId.member.1", OTHER), ("ActionName.member.1", "Publish")],
        ),
        "RemovePermission" => with(topic_arn, &[("Label", "l")]),
        "TagResource" => with(resource, &[("Tags.member.1.Key", "k"), ("Tags.member.1.Value", "v")]),
        "UntagResource" => with(resource, &[("TagKeys.member.1", "k")]),
        "ListTagsForResource" | "GetDataProtectionPolicy" => with(resource, &[]),
        "PutDataProtectionPolicy" => with(resource, &[("DataProtectionPolicy", "{}")]),
        "GetSubscriptionAttributes" => with(own, &[]),
        "SetSubscriptionAttributes" => {
            with(own, &[("AttributeName", "RawMessageDelivery"), ("AttributeValue", "true")])
        }
        other => panic!("no request is known for {other}"),
    }
}

/// What is about no topic of somebody else's, or needs no more than what a message holds: its link or token.
const OF_ONESELF: [&str; 5] =
    ["ConfirmSubscription", "CreateTopic", "ListSubscriptions", "ListTopics", "Unsubscribe"];
/// What belongs to who subscribed, and to the topic's owner; no policy names it.
const OF_SUBSCRIBERS: [&str; 2] = ["GetSubscriptionAttributes", "SetSubscriptionAttributes"];
/// What a policy can open.
const OPENED: [&str; 9] = [
    "AddPermission",
    "DeleteTopic",
    "GetTopicAttributes",
    "ListSubscriptionsByTopic",
    "Publish",
    "PublishBatch",
    "RemovePermission",
    "SetTopicAttributes",
    "Subscribe",
];
/// What a policy cannot take from its owner.
const REPAIRS: [&str; 2] = ["GetTopicAttributes", "SetTopicAttributes"];

const DENIED: &str = "AuthorizationError";
const UNKNOWN: &str = "MissingAuthenticationToken";

fn operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.name).filter(|name| !OF_ONESELF.contains(name))
}

/// Asks, and gives the code of the error; nothing for a success.
async fn ask(world: &World, who: Option<&str>, operation: &str, parameters: &[(&str, String)]) -> String {
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = world.send_as(who, operation, &parameters).await;
    if answer.status == 200 { String::new() } else { answer.error().0 }
}

/// Makes the topic anew with a subscription, under a policy or none, and asks for an operation as all three.
async fn asked(world: &World, operation: &str, policy: Option<&str>) -> [String; 3] {
    let mut answers = [const { String::new() }; 3];
    for (answer, who) in answers.iter_mut().zip([Some(MAIN), Some(OTHER), None]) {
        let topic = world.topic(NAME).await;
        let open = [("TopicArn", topic.as_str()), ("AttributeName", "Policy"), ("AttributeValue", "")];
        world.send("SetTopicAttributes", &open).await.ok();
        world.send("DeleteTopic", &[("TopicArn", &topic)]).await.ok();
        world.topic(NAME).await;
        let subscription = world.subscribe(&topic, "q", &[]).await;
        if let Some(policy) = policy {
            let policy = policy.replace("TOPIC", &topic);
            let set =
                [("TopicArn", topic.as_str()), ("AttributeName", "Policy"), ("AttributeValue", &policy)];
            world.send("SetTopicAttributes", &set).await.ok();
        }
        *answer = ask(world, who, operation, &request(operation, &topic, &subscription)).await;
    }
    answers
}

fn policy(effect: &str) -> String {
    format!(r#"{{"Statement":{{"Effect":"{effect}","Principal":"*","Action":"sns:*","Resource":"TOPIC"}}}}"#)
}

#[test]
fn without_a_policy_every_operation_is_the_owners_alone() {
    with_world("access-none", async |world: World| {
        for operation in operations() {
            let [own, other, nobody] = asked(&world, operation, None).await;
            assert!(own != DENIED && own != UNKNOWN, "{operation}: {own}");
            assert_eq!((&*other, &*nobody), (DENIED, UNKNOWN), "{operation}");
        }
        for operation in ["CreateTopic", "ListTopics", "ListSubscriptions"] {
            let name = [("Name", "n".to_owned())];
            assert_eq!(ask(&world, None, operation, &name).await, UNKNOWN, "{operation}");
        }
    });
}

#[test]
fn an_open_policy_opens_what_a_policy_can_name() {
    with_world("access-open", async |world: World| {
        for operation in operations() {
            let [_, other, nobody] = asked(&world, operation, Some(&policy("Allow"))).await;
            if OPENED.contains(&operation) {
                assert_ne!(other, DENIED, "{operation}");
                // Who changes a topic or subscribes has to be somebody.
                let is_read_or_publish =
                    ["Get", "List", "Publish"].iter().any(|word| operation.starts_with(word));
                assert!(!is_read_or_publish || nobody.is_empty(), "{operation}: {nobody}");
                assert_ne!(nobody, DENIED, "{operation}");
            } else {
                assert_eq!((&*other, &*nobody), (DENIED, UNKNOWN), "{operation}");
            }
        }
    });
}

#[test]
fn a_denial_binds_everybody_and_the_owner_can_mend_it() {
    with_world("access-deny", async |world: World| {
        for operation in operations().filter(|operation| !OF_SUBSCRIBERS.contains(operation)) {
            let [own, other, _] = asked(&world, operation, Some(&policy("Deny"))).await;
            assert_eq!(own == DENIED, !REPAIRS.contains(&operation), "{operation}: {own}");
            assert_eq!(other, DENIED, "{operation}");
        }
    });
}

#[test]
fn a_subscription_is_decided_by_its_endpoint() {
    with_world("access-endpoint", async |world: World| {
        let topic = world.topic(NAME).await;
        let policy = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"{OTHER}"}},"Action":"sns:Subscribe","Resource":"{topic}",
                "Condition":{{"StringEquals":{{"sns:Protocol":"sqs","sns:Endpoint":"{}"}}}}}}}}"#,
            queue_arn("wanted")
        );
        let set = [("TopicArn", topic.as_str()), ("AttributeName", "Policy"), ("AttributeValue", &policy)];
        world.send("SetTopicAttributes", &set).await.ok();
        for (queue, expected) in [("wanted", ""), ("unwanted", DENIED)] {
            let parameters =
                [("TopicArn", topic.clone()), ("Protocol", "sqs".to_owned()), ("Endpoint", queue_arn(queue))];
            assert_eq!(ask(&world, Some(OTHER), "Subscribe", &parameters).await, expected, "{queue}");
        }
    });
}

#[test]
fn what_is_no_policy_is_refused_when_it_is_set() {
    with_world("access-malformed", async |world: World| {
        let topic = world.topic(NAME).await;
        let action = policy("Allow").replace("sns:*", "sqs:SendMessage");
        for (policy, text) in [
            ("{", "Policy Error: null"),
            ("{}", "Policy Error: null"),
            (&*action, "Policy statement action out of service scope!"),
            (
                r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"x"},"Action":"sns:Publish","Resource":"*"}}"#,
                "Policy Error: PrincipalNotFound",
            ),
        ] {
            let set = [("TopicArn", topic.as_str()), ("AttributeName", "Policy"), ("AttributeValue", policy)];
            let refused = world.send("SetTopicAttributes", &set).await.error();
            assert_eq!(refused, ("InvalidParameter".to_owned(), format!("Invalid parameter: {text}")));
        }
    });
}
