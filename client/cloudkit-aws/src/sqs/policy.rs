//! Who may send to a queue without being its owner: the topics that are subscribed to it.
//! Invariant: nothing that the owner wrote into the policy is changed. What is added is the same for all topics of an account, so
//! that two who add it at once do not undo each other.
//! Source: "Step 2: Give permission to the Amazon SNS topic to send messages to the Amazon SQS queue", SNS developer guide.

use aws_sdk_sqs::types::QueueAttributeName;
use cloudkit_core::common::Failure;
use serde_json::{Map, Value, json};

use super::SqsQueue;
use crate::operation::Operation;

impl SqsQueue {
    /// Lets the topics of an account send to a queue. A queue that is not there has no policy: that is no failure, since a topic takes
    /// a subscription of it all the same.
    pub(crate) async fn admit_topics(&self, queue_arn: &str, topic_account: &str) -> Result<(), Failure> {
        let mut parts = queue_arn.splitn(6, ':').skip(4);
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else { return Ok(()) };
        let operation = Operation::on("GetQueueUrl", name);
        let call = self.sdk().get_queue_url().queue_name(name).queue_owner_aws_account_id(owner).send();
        let url = match self.caller.run(&operation, call).await {
            Ok(output) => output.queue_url.unwrap_or_default(),
            Err(failure) if failure.kind.is_not_found() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let operation = Operation::on("GetQueueAttributes", name);
        let call = self.sdk().get_queue_attributes().queue_url(&url);
        let call = call.attribute_names(QueueAttributeName::Policy).send();
        let attributes = self.caller.run(&operation, call).await?.attributes.unwrap_or_default();
        let old = attributes.get(&QueueAttributeName::Policy).map_or("", String::as_str);
        let Some(policy) = with_statement(old, statement(queue_arn, topic_account)) else { return Ok(()) };
        let operation = Operation::on("SetQueueAttributes", name);
        let call = self.sdk().set_queue_attributes().queue_url(&url);
        let call = call.attributes(QueueAttributeName::Policy, policy).send();
        self.caller.run(&operation, call).await.map(drop)
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
