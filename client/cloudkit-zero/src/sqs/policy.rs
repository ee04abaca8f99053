//! Who may send to a queue without being its owner: the topics that are subscribed to it.
//! Invariant: nothing that the owner wrote into the policy is changed. What is added is the same for all topics of an account, so
//! that two who add it at once do not undo each other.
//! Source: "Step 2: Give permission to the Amazon SNS topic to send messages to the Amazon SQS queue", SNS developer guide.

use std::collections::BTreeMap;

use cloudkit_core::common::Failure;
use serde_json::{Map, Value, json};

use super::ZeroQueue;
use super::wire::{Input, Output, ask};
use crate::retry::Idempotency;
use crate::service::Operation;

impl ZeroQueue {
    /// Lets the topics of an account send to a queue. A queue that is not there has no policy: that is no failure, since a topic takes
    /// a subscription of it all the same.
    pub(crate) async fn admit_topics(&self, queue_arn: &str, topic_account: &str) -> Result<(), Failure> {
        let mut parts = queue_arn.splitn(6, ':').skip(4);
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else { return Ok(()) };
        let operation = Operation::on("GetQueueUrl", name);
        let input = Input { queue_name: Some(name), queue_owner: Some(owner), ..Input::default() };
        let url = match self.address(&operation, input).await {
            Ok(url) => url,
            Err(failure) if failure.kind.is_not_found() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let operation = Operation::on("GetQueueAttributes", name);
        let input = Input { queue_url: Some(&url), attribute_names: &["Policy"], ..Input::default() };
        let output: Output = ask(&self.client, &operation, &input, Idempotency::Always).await?;
        let old = output.attributes.get("Policy").map_or("", String::as_str);
        let Some(policy) = with_statement(old, statement(queue_arn, topic_account)) else { return Ok(()) };
        let attributes = BTreeMap::from([("Policy", policy.into())]);
        self.act("SetQueueAttributes", &url, Input { attributes, ..Input::default() }, Idempotency::Always)
            .await
    }
}

fn statement(queue_arn: &str, topic_account: &str) -> Value {
    json!({
        "Sid": format!("TopicsOf{topic_account}"),
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": topic_account}},
    })
}

/// A policy with one statement more; None if it has that already.
fn with_statement(policy: &str, statement: Value) -> Option<String> {
    let mut policy: Map<String, Value> = serde_json::from_str(policy).unwrap_or_default();
    policy.entry("Version").or_insert_with(|| Value::from("2012-10-17"));
    let statements = policy.entry("Statement").or_insert_with(|| Value::Array(Vec::new()));
    // One statement alone may stand without a list.
    if !statements.is_array() {
        *statements = Value::Array(vec![statements.take()]);
    }
    let list = statements.as_array_mut()?;
    let is_same =
        |known: &Value| known["Sid"] == statement["Sid"] && known["Resource"] == statement["Resource"];
    if list.iter().any(is_same) {
        return None;
    }
    list.push(statement);
    Some(Value::Object(policy).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_owner_wrote_stays() {
        let ours = || statement("arn:aws:sqs:r:1:q", "1");
        let read = |text: Option<String>| -> Value { serde_json::from_str(&text.unwrap()).unwrap() };
        assert_eq!(read(with_statement("", ours())), json!({"Version": "2012-10-17", "Statement": [ours()]}));
        let own = json!({"Version": "2008-10-17", "Id": "x", "Statement": {"Sid": "mine"}}).to_string();
        let both = with_statement(&own, ours());
        assert_eq!(
            read(both.clone()),
            json!({"Version": "2008-10-17", "Id": "x", "Statement": [{"Sid": "mine"}, ours()]})
        );
        assert_eq!(with_statement(&both.unwrap(), ours()), None);
    }
}
