"""boto3 with topics that feed queues, unmodified."""

import json
import time
import uuid

import boto3
import botocore.exceptions
import pytest

SECONDS_MAX = 120


def session(server) -> dict:
    key, secret = server.credentials()
    return {"endpoint_url": server.url, "aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def sqs(server):
    return boto3.client("sqs", **session(server))


@pytest.fixture(scope="module")
def sns(server):
    return boto3.client("sns", **session(server))


@pytest.fixture()
def topic(sns):
    arn = sns.create_topic(Name=f"t-{uuid.uuid4()}")["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


@pytest.fixture()
def fifo_topic(sns):
    arn = sns.create_topic(Name=f"t-{uuid.uuid4()}.fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"})["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


class Fed:
    """A queue that a topic may send to."""

    def __init__(self, sqs, topic: str, is_fifo: bool = False, is_allowed: bool = True):
        self.sqs = sqs
        name = f"fed-{uuid.uuid4()}" + (".fifo" if is_fifo else "")
        # Longer than any machine stalls between a receive and its delete.
        attributes = {"VisibilityTimeout": "600"} | ({"FifoQueue": "true"} if is_fifo else {})
        self.url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.arn = sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        if is_allowed:
            self.allow(topic)

    def allow(self, topic: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def take(self, count: int) -> list[dict]:
        """So many messages, in the order of their receives; nothing else may come."""
        found: list[dict] = []
        deadline = time.monotonic() + SECONDS_MAX
        while len(found) < count:
            assert time.monotonic() < deadline, found
            answer = self.sqs.receive_message(
                QueueUrl=self.url, WaitTimeSeconds=5, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                found.append(message)
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        assert "Messages" not in self.sqs.receive_message(QueueUrl=self.url) and len(found) == count, found
        return found


def refused(code: str, call, **request) -> dict:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    return error


def test_a_message_reaches_every_queue_in_its_envelope_or_raw(sns, sqs, topic):
    plain, raw = Fed(sqs, topic), Fed(sqs, topic)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=plain.arn, ReturnSubscriptionArn=True)["SubscriptionArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=raw.arn, Attributes={"RawMessageDelivery": "true"})
    attributes = {"kind": {"DataType": "String", "StringValue": "a"}, "count": {"DataType": "Number", "StringValue": "3"}}
    sent = sns.publish(TopicArn=topic, Message="Grüße <&>", Subject="a subject", MessageAttributes=attributes)
    [message] = plain.take(1)
    envelope = json.loads(message["Body"])
    assert (envelope["Type"], envelope["Message"], envelope["Subject"], envelope["TopicArn"]) == ("Notification", "Grüße <&>", "a subject", topic)
    assert envelope["MessageId"] == sent["MessageId"] and envelope["SignatureVersion"] == "1" and "SequenceNumber" not in envelope
    assert envelope["MessageAttributes"] == {"kind": {"Type": "String", "Value": "a"}, "count": {"Type": "Number", "Value": "3"}}
    assert {"Timestamp", "Signature", "SigningCertURL", "UnsubscribeURL"} <= set(envelope)
    [message] = raw.take(1)
    assert message["Body"] == "Grüße <&>"
    assert {name: (one["DataType"], one["StringValue"]) for name, one in message["MessageAttributes"].items()} == {"kind": ("String", "a"), "count": ("Number", "3")}
    # The same endpoint has the same subscription; without it nothing comes.
    assert sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=plain.arn)["SubscriptionArn"] == subscription
    sns.unsubscribe(SubscriptionArn=subscription)
    sns.publish(TopicArn=topic, Message="second")
    assert [one["Body"] for one in raw.take(1)] == ["second"] and plain.take(0) == []


def test_a_queue_whose_policy_does_not_allow_it_gets_nothing(sns, sqs, topic):
    closed, witness = Fed(sqs, topic, is_allowed=False), Fed(sqs, topic)
    for fed in (closed, witness):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fed.arn)
    sns.publish(TopicArn=topic, Message="x")
    witness.take(1)
    assert closed.take(0) == []


def test_filter_policies_choose(sns, sqs, topic):
    policies = {
        "exact": {"kind": ["a", "b"]},
        "numeric": {"n": [{"numeric": [">", 1, "<=", 5]}]},
        "prefix": {"kind": [{"prefix": "b"}]},
        "not": {"kind": [{"anything-but": ["a"]}]},
        "absent": {"n": [{"exists": False}]},
        "both": {"kind": ["a"], "n": [5]},
    }
    fed = {}
    for name, policy in policies.items():
        fed[name] = Fed(sqs, topic)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fed[name].arn, Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(policy)})
    body = Fed(sqs, topic)
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=body.arn,
        Attributes={"RawMessageDelivery": "true", "FilterPolicyScope": "MessageBody", "FilterPolicy": json.dumps({"order": {"total": [{"numeric": [">=", 100]}]}})},
    )
    messages = {"a1": ("a", "1"), "a5": ("a", "5"), "b5": ("b", "5"), "bc": ("bc", None), "none": (None, None)}
    for message, (kind, number) in messages.items():
        attributes = {}
        if kind:
            attributes["kind"] = {"DataType": "String", "StringValue": kind}
        if number:
            attributes["n"] = {"DataType": "Number", "StringValue": number}
        sns.publish(TopicArn=topic, Message=message, MessageAttributes=attributes)
    for total in (99, 100):
        sns.publish(TopicArn=topic, Message=json.dumps({"order": {"total": total}}))
    wanted = {"exact": ["a1", "a5", "b5"], "numeric": ["a5", "b5"], "prefix": ["b5", "bc"], "not": ["b5", "bc"], "both": ["a5"]}
    for name, expected in wanted.items():
        assert sorted(one["Body"] for one in fed[name].take(len(expected))) == expected, name
    assert len(fed["absent"].take(4)) == 4
    assert [json.loads(one["Body"])["order"]["total"] for one in body.take(1)] == [100]
    error = refused("InvalidParameter", sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=Fed(sqs, topic).arn, Attributes={"FilterPolicy": '{"a": [{"bigger": 1}]}'})
    assert error["Message"].startswith("Invalid parameter: ") and "FilterPolicy" in error["Message"]


def test_a_fifo_topic_keeps_order_and_takes_nothing_twice(sns, sqs, fifo_topic):
    fed = Fed(sqs, fifo_topic, is_fifo=True)
    sns.subscribe(TopicArn=fifo_topic, Protocol="sqs", Endpoint=fed.arn, Attributes={"RawMessageDelivery": "true"})
    entries = [{"Id": str(n), "Message": f"m{n}", "MessageGroupId": "g"} for n in range(10)]
    answer = sns.publish_batch(TopicArn=fifo_topic, PublishBatchRequestEntries=entries)
    numbers = [one["SequenceNumber"] for one in sorted(answer["Successful"], key=lambda one: int(one["Id"]))]
    assert numbers == sorted(numbers) and not answer["Failed"]
    again = sns.publish(TopicArn=fifo_topic, Message="m0", MessageGroupId="g")
    assert again["SequenceNumber"] == numbers[0]
    assert [one["Body"] for one in fed.take(10)] == [f"m{n}" for n in range(10)]
    error = refused("InvalidParameter", sns.publish, TopicArn=fifo_topic, Message="x")
    assert error["Message"] == "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"


def test_batches_report_each_entry(sns, sqs, topic):
    fed = Fed(sqs, topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fed.arn, Attributes={"RawMessageDelivery": "true"})
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "one"}, {"Id": "b", "Message": ""}])
    assert [one["Id"] for one in answer["Successful"]] == ["a"] and [one["Id"] for one in answer["Failed"]] == ["b"]
    assert [one["Body"] for one in fed.take(1)] == ["one"]
    with pytest.raises(sns.exceptions.TooManyEntriesInBatchRequestException) as caught:
        sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": str(n), "Message": "x"} for n in range(11)])
    assert caught.value.response["Error"]["Message"] == "The batch request contains more entries than permissible."
    with pytest.raises(sns.exceptions.BatchEntryIdsNotDistinctException):
        sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "x"}] * 2)


def test_messages_may_differ_by_protocol(sns, sqs, topic):
    fed = Fed(sqs, topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fed.arn, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=topic, MessageStructure="json", Message=json.dumps({"default": "all", "sqs": "queues"}))
    assert [one["Body"] for one in fed.take(1)] == ["queues"]
    refused("InvalidParameter", sns.publish, TopicArn=topic, MessageStructure="json", Message=json.dumps({"sqs": "queues"}))


def test_topics_subscriptions_and_tags_are_told(sns, sqs, topic):
    name = topic.rsplit(":", 1)[1]
    assert sns.create_topic(Name=name)["TopicArn"] == topic
    assert topic in [one["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for one in page["Topics"]]
    fed = Fed(sqs, topic)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fed.arn, ReturnSubscriptionArn=True)["SubscriptionArn"]
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [(one["SubscriptionArn"], one["Protocol"], one["Endpoint"]) for one in listed] == [(subscription, "sqs", fed.arn)]
    pages = sns.get_paginator("list_subscriptions").paginate()
    assert subscription in [one["SubscriptionArn"] for page in pages for one in page["Subscriptions"]]
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["SubscriptionsConfirmed"] == "1" and attributes["TopicArn"] == topic
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="shown")
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "shown"
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true")
    assert sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["RawMessageDelivery"] == "true"
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "b", "Value": "2"}]
    sns.add_permission(TopicArn=topic, Label="say", AWSAccountId=["111111111111"], ActionName=["Publish"])
    assert "say" in sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    sns.remove_permission(TopicArn=topic, Label="say")


def test_errors_have_their_names_and_texts(sns, sqs, topic):
    with pytest.raises(sns.exceptions.NotFoundException) as caught:
        sns.publish(TopicArn=topic + "-absent", Message="x")
    assert caught.value.response["Error"]["Message"] == "Topic does not exist"
    assert refused("InvalidParameter", sns.publish, TopicArn=topic, Message="")["Message"] == "Invalid parameter: Empty message"
    assert refused("InvalidParameter", sns.publish, TopicArn=topic, Message="x" * 262_145)["Message"] == "Invalid parameter: Message too long"
    assert refused("InvalidParameter", sns.create_topic, Name="a b")["Message"] == "Invalid parameter: Topic Name"
    sns.delete_topic(TopicArn=topic + "-absent")
    refused("NotFound", sns.get_subscription_attributes, SubscriptionArn=f"{topic}:{uuid.uuid4()}")


def test_topics_outlive_a_restart(server):
    sns, sqs = boto3.client("sns", **session(server)), boto3.client("sqs", **session(server))
    topic = sns.create_topic(Name=f"kept-{uuid.uuid4()}")["TopicArn"]
    fed = Fed(sqs, topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=fed.arn, Attributes={"RawMessageDelivery": "true"})
    server.stop()
    server.start()
    sns, fed.sqs = boto3.client("sns", **session(server)), boto3.client("sqs", **session(server))
    fed.url = fed.sqs.get_queue_url(QueueName=fed.arn.rsplit(":", 1)[1])["QueueUrl"]
    sns.publish(TopicArn=topic, Message="still here")
    assert [one["Body"] for one in fed.take(1)] == ["still here"]
