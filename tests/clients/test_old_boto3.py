"""A boto3 from before the JSON protocol of SQS: forms, XML, and MD5 sums that it checks by itself."""

import boto3
import botocore
import botocore.exceptions
import pytest


@pytest.fixture(scope="module")
def sqs(server):
    key, secret = server.credentials()
    return boto3.client("sqs", endpoint_url=server.url, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1")


def test_the_old_boto3_speaks_the_query_protocol(sqs):
    assert tuple(map(int, botocore.__version__.split(".")[:2])) < (1, 31)
    assert sqs.meta.service_model.metadata["protocol"] == "query"
    url = sqs.create_queue(QueueName="old", Attributes={"VisibilityTimeout": "300"}, tags={"a": "b"})["QueueUrl"]
    attributes = {"s": {"DataType": "String", "StringValue": "ü <&>"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\x01\xff"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="Grüße <&> \t 鍵", MessageAttributes=attributes)
    [message] = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=2)["Messages"]
    assert (message["MessageId"], message["Body"], message["MessageAttributes"]) == (sent["MessageId"], "Grüße <&> \t 鍵", attributes)
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sent = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": "2", "DelaySeconds": 901}])
    assert [one["Id"] for one in sent["Successful"]] == ["a"] and sent["Failed"][0]["Code"] == "InvalidParameterValue"
    [message] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "x", "ReceiptHandle": message["ReceiptHandle"]}])
    assert deleted["Successful"] == [{"Id": "x"}]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"] == {"VisibilityTimeout": "300"}
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="old", PaginationConfig={"PageSize": 1})
    assert [one for page in pages for one in page["QueueUrls"]] == [url]
    sqs.purge_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)


def test_the_old_boto3_finds_its_errors(sqs):
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="old-absent")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    url = sqs.create_queue(QueueName="old-errors")["QueueUrl"]
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        sqs.delete_message(QueueUrl=url, ReceiptHandle="no")
    with pytest.raises(sqs.exceptions.BatchEntryIdsNotDistinct):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}] * 2)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=11)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
    sqs.delete_queue(QueueUrl=url)
