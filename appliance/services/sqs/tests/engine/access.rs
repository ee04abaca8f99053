//! Who may do what with a queue: every operation, asked by its owner, by another account and by nobody, under policies
//! that open, that close, and under none.

use std::rc::Rc;
use std::sync::Arc;

use aws::account::{Account, AccountId};
use aws::request_id::{HostId, RequestId};
use bytes::Bytes;
use http_types::{HeaderMap, HeaderValue, Method};
use plan::{Caller, ReplyBody, Request, Service};
use serde_json::{Value, json};
use sqs::router::OPERATIONS;
use sqs::{Config, Sqs};

use crate::world::{REGION, World, key, with_world};

const OWNER: &str = "000000000000";
const OTHER: &str = "111111111111";
const NOBODY: &str = "";

/// A request for each operation, on the queue `q` of the owner. None is refused before the caller is looked at.
fn request(operation: &str) -> Value {
    let url = format!("http://localhost/{OWNER}/q");
    let arn = key("q").arn(REGION);
    let entries = |entry: Value| json!({"QueueUrl": url, "Entries": [entry]});
    match operation {
        "SendMessage" => json!({"QueueUrl": url, "MessageBody": "m"}),
        "SendMessageBatch" => entries(json!({"Id": "1", "MessageBody": "m"})),
        "DeleteMessage" => json!({"QueueUrl": url, "ReceiptHandle": "h"}),
        "DeleteMessageBatch" => entries(json!({"Id": "1", "ReceiptHandle": "h"})),
        "ChangeMessageVisibility" => json!({"QueueUrl": url, "ReceiptHandle": "h", "VisibilityTimeout": 1}),
        "ChangeMessageVisibilityBatch" => {
            entries(json!({"Id": "1", "ReceiptHandle": "h", "VisibilityTimeout": 1}))
        }
        "GetQueueUrl" => json!({"QueueName": "q", "QueueOwnerAWSAccountId": OWNER}),
        "GetQueueAttributes" => json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]}),
        "SetQueueAttributes" => json!({"QueueUrl": url, "Attributes": {"DelaySeconds": "0"}}),
        "TagQueue" => json!({"QueueUrl": url, "Tags": {"k": "v"}}),
        "UntagQueue" => json!({"QueueUrl": url, "TagKeys": ["k"]}),
        "AddPermission" => {
            json!({"QueueUrl": url, "Label": "l", "AWSAccountIds": [OTHER], "Actions": ["SendMessage"]})
        }
        "RemovePermission" => json!({"QueueUrl": url, "Label": "l"}),
        "StartMessageMoveTask" | "ListMessageMoveTasks" => json!({"SourceArn": arn}),
        "ReceiveMessage" | "DeleteQueue" | "PurgeQueue" | "ListQueueTags" | "ListDeadLetterSourceQueues" => {
            json!({"QueueUrl": url})
        }
        other => panic!("no request is known for {other}"),
    }
}

/// What is about no queue of somebody else's, or names its queue within a handle of ours.
const OF_ONESELF: [&str; 3] = ["CreateQueue", "ListQueues", "CancelMessageMoveTask"];
/// What no policy gives to others.
const OWNERS: [&str; 9] = [
    "AddPermission",
    "DeleteQueue",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "RemovePermission",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];
/// What a policy cannot take from its owner.
const REPAIRS: [&str; 2] = ["GetQueueAttributes", "SetQueueAttributes"];

/// Asks, and gives the type of the error, without its name space; nothing for a success.
async fn ask(world: &Rc<World>, who: &str, operation: &str, body: &Value) -> String {
    let caller = match AccountId::parse(who) {
        Some(id) => Caller::Account(Arc::new(Account::new(id, who))),
        None => Caller::Anonymous,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    let target = HeaderValue::from_str(&format!("AmazonSQS.{operation}")).expect("a target");
    headers.insert("x-amz-target", target);
    let body = body.to_string().into_bytes();
    let request = Request {
        head: http::RequestHead {
            method: Method::POST,
            path: "/".to_owned(),
            query: None,
            authority: Some("localhost".to_owned()),
            headers,
            version: http::Version::H11,
            tls: false,
            peer: "203.0.113.7:1".parse().expect("an address"),
        },
        body_length: http::BodyLength::Known(body.len() as u64),
        collected: Some(Bytes::from(body)),
        caller,
        auth: None,
        request_id: RequestId::new(1),
        host_id: HostId::UNUSED,
    };
    let service = Sqs::new(Config { region: REGION.to_owned(), public_url: None });
    let reply = world.serve(|cx| service.start(cx, request).plan).await;
    if reply.status.is_success() {
        return String::new();
    }
    let ReplyBody::Bytes(bytes) = reply.body else { panic!("an error has a document") };
    let error: Value = serde_json::from_slice(&bytes).expect("JSON");
    let name = error["__type"].as_str().expect("a type");
    name.rsplit('#').next().unwrap_or(name).to_owned()
}

/// Makes the queue anew, with a policy or without.
async fn queue(world: &Rc<World>, policy: Option<Value>) {
    let mut attributes = json!({});
    if let Some(policy) = policy {
        attributes["Policy"] = Value::String(policy.to_string());
    }
    let url = json!({"QueueUrl": format!("http://localhost/{OWNER}/q")});
    ask(
        world,
        OWNER,
        "SetQueueAttributes",
        &json!({"QueueUrl": url["QueueUrl"], "Attributes": {"Policy": ""}}),
    )
    .await;
    ask(world, OWNER, "DeleteQueue", &url).await;
    let made = json!({"QueueName": "q", "Attributes": attributes});
    assert_eq!(ask(world, OWNER, "CreateQueue", &made).await, "");
}

fn policy(effect: &str, principal: &str, action: &str) -> Option<Value> {
    Some(json!({"Version": "2012-10-17", "Statement": {
        "Effect": effect, "Principal": principal, "Action": action, "Resource": key("q").arn(REGION)}}))
}

const DENIED: &str = "AccessDeniedException";
const UNKNOWN: &str = "MissingAuthenticationTokenException";

fn operations() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.name).filter(|name| !OF_ONESELF.contains(name))
}

#[test]
fn without_a_policy_every_operation_is_the_owners_alone() {
    with_world("access-none", |world| async move {
        for operation in operations() {
            queue(&world, None).await;
            let body = request(operation);
            assert_eq!(ask(&world, OTHER, operation, &body).await, DENIED, "{operation}");
            assert_eq!(ask(&world, NOBODY, operation, &body).await, UNKNOWN, "{operation}");
            let own = ask(&world, OWNER, operation, &body).await;
            assert!(own != DENIED && own != UNKNOWN, "{operation}: {own}");
        }
        for operation in ["CreateQueue", "ListQueues"] {
            assert_eq!(ask(&world, NOBODY, operation, &json!({"QueueName": "n"})).await, UNKNOWN);
        }
    });
}

#[test]
fn an_open_policy_opens_all_but_what_is_the_owners() {
    with_world("access-open", |world| async move {
        for operation in operations() {
            queue(&world, policy("Allow", "*", "sqs:*")).await;
            let body = request(operation);
            let (other, nobody) =
                (ask(&world, OTHER, operation, &body).await, ask(&world, NOBODY, operation, &body).await);
            if OWNERS.contains(&operation) {
                assert_eq!((&*other, &*nobody), (DENIED, UNKNOWN), "{operation}");
            } else {
                assert!(
                    other != DENIED && nobody != UNKNOWN && nobody != DENIED,
                    "{operation}: {other} {nobody}"
                );
            }
        }
    });
}

#[test]
fn a_denial_binds_everybody_and_the_owner_can_mend_it() {
    with_world("access-deny", |world| async move {
        for operation in operations() {
            queue(&world, policy("Deny", "*", "sqs:*")).await;
            let body = request(operation);
            let own = ask(&world, OWNER, operation, &body).await;
            assert_eq!(own == DENIED, !REPAIRS.contains(&operation), "{operation}: {own}");
            assert_eq!(ask(&world, OTHER, operation, &body).await, DENIED, "{operation}");
        }
    });
}

#[test]
fn a_condition_on_the_callers_address_is_asked() {
    with_world("access-address", |world| async move {
        for (network, expected) in [("203.0.113.0/24", ""), ("198.51.100.0/24", DENIED)] {
            let statement = json!({"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "sqs:GetQueueUrl",
                "Resource": key("q").arn(REGION), "Condition": {"IpAddress": {"aws:SourceIp": network}}});
            queue(&world, Some(json!({"Statement": statement}))).await;
            assert_eq!(
                ask(&world, OTHER, "GetQueueUrl", &request("GetQueueUrl")).await,
                expected,
                "{network}"
            );
        }
    });
}

#[test]
fn a_permission_that_was_added_opens_and_removed_closes() {
    with_world("access-permission", |world| async move {
        queue(&world, None).await;
        let attributes = json!({"QueueName": "q", "QueueOwnerAWSAccountId": OWNER});
        let added = json!({"QueueUrl": format!("http://localhost/{OWNER}/q"), "Label": "l",
            "AWSAccountIds": [OTHER], "Actions": ["GetQueueUrl"]});
        assert_eq!(ask(&world, OTHER, "GetQueueUrl", &attributes).await, DENIED);
        assert_eq!(ask(&world, OWNER, "AddPermission", &added).await, "");
        assert_eq!(ask(&world, OTHER, "GetQueueUrl", &attributes).await, "");
        assert_eq!(ask(&world, OTHER, "PurgeQueue", &request("PurgeQueue")).await, DENIED);
        assert_eq!(ask(&world, OWNER, "RemovePermission", &request("RemovePermission")).await, "");
        assert_eq!(ask(&world, OTHER, "GetQueueUrl", &attributes).await, DENIED);
    });
}

#[test]
fn what_is_no_policy_is_refused_when_it_is_set() {
    with_world("access-malformed", |world| async move {
        queue(&world, None).await;
        for policy in ["{", "{}", r#"{"Statement":[]}"#, r#"{"Statement":{"Effect":"Allow"}}"#] {
            let body =
                json!({"QueueUrl": format!("http://localhost/{OWNER}/q"), "Attributes": {"Policy": policy}});
            assert_eq!(
                ask(&world, OWNER, "SetQueueAttributes", &body).await,
                "InvalidAttributeValue",
                "{policy}"
            );
        }
    });
}
