"""boto3 with queues, client and resource, unmodified: it checks MD5 sums by itself, and maps errors by their names."""

import json
import threading
import time
import urllib.request
import uuid

import boto3
import botocore.config
import botocore.exceptions
import pytest

SECONDS_MAX = 120
POLL_COUNT_MAX = 5


def session(server) -> dict:
    key, secret = server.credentials()
    return {"endpoint_url": server.url, "aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def sqs(server):
    return boto3.client("sqs", **session(server))


@pytest.fixture()
def queue(sqs):
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture()
def fifo(sqs):
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def arn(sqs, url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def attribute(sqs, url: str, name: str) -> str | None:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name]).get("Attributes", {}).get(name)


def receive(sqs, url: str, **more) -> list[dict]:
    # What a test receives comes back when it says so, and not since the machine stalled for half a minute.
    hidden = {"VisibilityTimeout": 600}
    wanted = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]} | hidden | more
    return sqs.receive_message(QueueUrl=url, **wanted).get("Messages", [])


def received(sqs, url: str, **more) -> list[dict]:
    """What comes first, however many polls that takes: one may end while the machine stalls."""
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := receive(sqs, url, WaitTimeSeconds=20, **more)):
        assert time.monotonic() < deadline, "nothing comes"
    return found


def refused(code: str, call, **request) -> dict:
    """The error of a call that must fail with this code."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    return error


def eventually(look, wanted=True):
    """Waits for what comes by itself."""
    deadline = time.monotonic() + SECONDS_MAX
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def in_flight(server) -> int:
    """Requests that are being handled on all cores."""
    with urllib.request.urlopen(f"{server.url}/-/metrics", timeout=SECONDS_MAX) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("zerocloud_requests_in_flight{"))


def test_a_message_goes_round_with_its_attributes(sqs, queue):
    attributes = {
        "text": {"DataType": "String", "StringValue": "ünïcode <&> 鍵 😀"},
        "number": {"DataType": "Number.int", "StringValue": "-12.5e3"},
        "octets": {"DataType": "Binary.png", "BinaryValue": bytes(range(256))},
    }
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    body = "Grüße\t\r\n<b>&amp;</b> \U0010ffff"
    sent = sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=attributes, MessageSystemAttributes=system)
    assert uuid.UUID(sent["MessageId"]) and len(sent["MD5OfMessageSystemAttributes"]) == 32 and "SequenceNumber" not in sent
    [message] = receive(sqs, queue)
    assert (message["Body"], message["MessageAttributes"], message["MessageId"]) == (body, attributes, sent["MessageId"])
    named = message["Attributes"]
    assert named["AWSTraceHeader"].startswith("Root=") and named["ApproximateReceiveCount"] == "1"
    assert int(named["SentTimestamp"]) <= int(named["ApproximateFirstReceiveTimestamp"])
    assert receive(sqs, queue) == []
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    [again] = receive(sqs, queue, MessageAttributeNames=["te*", "num.*", "text"], MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"} and again["ReceiptHandle"] != message["ReceiptHandle"]
    assert set(again["MessageAttributes"]) <= {"text", "number"}
    # An older handle succeeds and removes nothing.
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert attribute(sqs, queue, "ApproximateNumberOfMessagesNotVisible") == "1"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    assert attribute(sqs, queue, "ApproximateNumberOfMessagesNotVisible") == "0"


@pytest.mark.parametrize("length", [1, 4_096, 4_097, 262_144, 1_048_576])
def test_bodies_of_every_size_come_back(sqs, queue, length):
    sqs.send_message(QueueUrl=queue, MessageBody="ä" * (length // 2) + "x" * (length % 2))
    [message] = receive(sqs, queue)
    assert len(message["Body"].encode()) == length
    if length == 1_048_576:
        error = refused("InvalidParameterValue", sqs.send_message, QueueUrl=queue, MessageBody="x" * (length + 1))
        assert error["Message"] == "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."


def test_batches_report_each_entry(sqs, queue):
    entries = [{"Id": f"e{n}", "MessageBody": f"body {n}"} for n in range(9)] + [{"Id": "bad", "MessageBody": "x", "DelaySeconds": 901}]
    sent = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert {one["Id"] for one in sent["Successful"]} == {f"e{n}" for n in range(9)}
    [failed] = sent["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "InvalidParameterValue", True)
    assert failed["Message"] == "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
    messages = receive(sqs, queue)
    assert sorted(one["Body"] for one in messages) == [f"body {n}" for n in range(9)]
    handles = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
    changed = sqs.change_message_visibility_batch(QueueUrl=queue, Entries=[one | {"VisibilityTimeout": 100} for one in handles] + [{"Id": "no", "ReceiptHandle": "nonsense", "VisibilityTimeout": 1}])
    assert len(changed["Successful"]) == 9 and changed["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"
    assert len(sqs.delete_message_batch(QueueUrl=queue, Entries=handles)["Successful"]) == 9
    eventually(lambda: attribute(sqs, queue, "ApproximateNumberOfMessagesNotVisible"), "0")


def test_errors_have_their_names_and_texts(sqs, queue):
    absent = queue + "-absent"
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName=absent.rsplit("/", 1)[1])
    # The code of the old protocol, which the header x-amzn-query-error carries.
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert caught.value.response["Error"]["Message"] == "The specified queue does not exist."
    assert caught.value.response["Error"]["QueryErrorCode"] == "QueueDoesNotExist"
    name = queue.rsplit("/", 1)[1]
    with pytest.raises(sqs.exceptions.QueueNameExists) as caught:
        sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})
    assert caught.value.response["Error"]["Message"] == "A queue already exists with the same name and a different value for attribute VisibilityTimeout"
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == queue
    entries = [{"Id": str(n), "MessageBody": "x"} for n in range(11)]
    with pytest.raises(sqs.exceptions.TooManyEntriesInBatchRequest) as caught:
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert caught.value.response["Error"]["Message"] == "Maximum number of entries per request are 10. You have sent 11."
    with pytest.raises(sqs.exceptions.EmptyBatchRequest):
        sqs.send_message_batch(QueueUrl=queue, Entries=[])
    with pytest.raises(sqs.exceptions.BatchEntryIdsNotDistinct) as caught:
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "a", "MessageBody": "x"}] * 2)
    assert caught.value.response["Error"]["Message"] == "Id a repeated."
    with pytest.raises(sqs.exceptions.InvalidBatchEntryId):
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "a b", "MessageBody": "x"}])
    with pytest.raises(sqs.exceptions.BatchRequestTooLong) as caught:
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": str(n), "MessageBody": "x" * 524_289} for n in range(2)])
    assert caught.value.response["Error"]["Message"] == "Batch requests cannot be longer than 1048576 bytes. You have sent 1048578 bytes."
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid) as caught:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle="nonsense")
    assert caught.value.response["Error"]["Message"] == 'The input receipt handle "nonsense" is not a valid receipt handle.'
    with pytest.raises(sqs.exceptions.InvalidMessageContents):
        sqs.send_message(QueueUrl=queue, MessageBody="a\x01b")
    with pytest.raises(sqs.exceptions.InvalidAttributeName) as caught:
        sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Foo"])
    assert caught.value.response["Error"]["Message"] == "Unknown Attribute Foo."
    with pytest.raises(sqs.exceptions.InvalidAttributeValue) as caught:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "43201"})
    assert caught.value.response["Error"]["Message"] == "Invalid value for the parameter VisibilityTimeout."


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"MaxNumberOfMessages": 11}, "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."),
        ({"MaxNumberOfMessages": 0}, "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."),
        ({"WaitTimeSeconds": 21}, "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."),
    ],
)
def test_a_receive_has_bounds(sqs, queue, request_, text):
    assert refused("InvalidParameterValue", sqs.receive_message, QueueUrl=queue, **request_)["Message"] == text


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)}, "Number of message attributes [11] exceeds the allowed maximum [10]."),
        ({"a": {"DataType": "String", "StringValue": ""}}, "The message attribute 'a' must contain non-empty message attribute value."),
        ({"a": {"DataType": "Text", "StringValue": "x"}}, "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."),
        ({"AWS.a": {"DataType": "String", "StringValue": "x"}}, None),
        ({"a..b": {"DataType": "String", "StringValue": "x"}}, None),
        ({"a": {"DataType": "Number", "StringValue": "twelve"}}, None),
    ],
)
def test_message_attributes_have_rules(sqs, queue, attributes, text):
    error = refused("InvalidParameterValue", sqs.send_message, QueueUrl=queue, MessageBody="x", MessageAttributes=attributes)
    assert text is None or error["Message"] == text


def test_attributes_are_kept_and_read_back(sqs, queue):
    every = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    defaults = {"VisibilityTimeout": "30", "DelaySeconds": "0", "MessageRetentionPeriod": "345600", "MaximumMessageSize": "1048576", "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true"}
    assert defaults.items() <= every.items() and "Policy" not in every and "FifoQueue" not in every
    assert every["QueueArn"].split(":")[:4] == ["arn", "aws", "sqs", "us-east-1"] and int(every["CreatedTimestamp"]) <= time.time() + 5
    changes = {"VisibilityTimeout": "7", "DelaySeconds": "1", "MessageRetentionPeriod": "60", "MaximumMessageSize": "1024", "ReceiveMessageWaitTimeSeconds": "1"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=changes)
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(changes))["Attributes"]
    assert found == changes
    refused("InvalidParameterValue", sqs.send_message, QueueUrl=queue, MessageBody="x" * 1025)


def test_queues_are_listed_by_prefix_and_pages(sqs):
    prefix = f"list-{uuid.uuid4()}-"
    urls = [sqs.create_queue(QueueName=f"{prefix}{n:02}")["QueueUrl"] for n in range(12)]
    assert sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"] == urls
    pages = list(sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 5}))
    assert [len(page["QueueUrls"]) for page in pages] == [5, 5, 2]
    assert [url for page in pages for url in page["QueueUrls"]] == urls
    assert sqs.get_queue_url(QueueName=f"{prefix}03")["QueueUrl"] == urls[3]
    for url in urls:
        sqs.delete_queue(QueueUrl=url)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=prefix)
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.send_message, QueueUrl=urls[0], MessageBody="x")


def test_tags_come_and_go(sqs, queue):
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)
    sqs.tag_queue(QueueUrl=queue, Tags={"a": "1", "b": "ä"})
    sqs.tag_queue(QueueUrl=queue, Tags={"b": "2"})
    sqs.untag_queue(QueueUrl=queue, TagKeys=["a", "absent"])
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"b": "2"}


def test_permissions_are_statements_of_the_policy(sqs, queue):
    sqs.add_permission(QueueUrl=queue, Label="send", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    policy = json.loads(attribute(sqs, queue, "Policy"))
    [statement] = policy["Statement"]
    assert statement["Sid"] == "send" and statement["Effect"] == "Allow"
    refused("InvalidParameterValue", sqs.add_permission, QueueUrl=queue, Label="send", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    sqs.remove_permission(QueueUrl=queue, Label="send")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    assert attribute(sqs, queue, "Policy") is None


def test_a_policy_that_denies_is_obeyed(sqs, queue):
    statement = {"Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn(sqs, queue)}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
    refused("AccessDenied", sqs.send_message, QueueUrl=queue, MessageBody="x")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    sqs.send_message(QueueUrl=queue, MessageBody="x")


def test_a_purge_empties_the_queue_once_a_minute(sqs, queue):
    sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": str(n), "MessageBody": "x", "DelaySeconds": n % 2 * 900} for n in range(10)])
    [hidden] = receive(sqs, queue, MaxNumberOfMessages=1)
    begun = time.monotonic()
    sqs.purge_queue(QueueUrl=queue)
    counts = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
    assert set(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"].values()) == {"0"}
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=hidden["ReceiptHandle"])
    with pytest.raises(sqs.exceptions.PurgeQueueInProgress) as caught:
        sqs.purge_queue(QueueUrl=queue)
        # Allowed again, where the machine stalled for that minute; then this one begins another.
        assert time.monotonic() - begun >= 60
        sqs.purge_queue(QueueUrl=queue)
    assert caught.value.response["Error"]["Message"] == f"Only one PurgeQueue operation on {queue.rsplit('/', 1)[1]} is allowed every 60 seconds."
    sqs.send_message(QueueUrl=queue, MessageBody="after")
    assert [one["Body"] for one in receive(sqs, queue)] == ["after"]


def test_a_long_poll_ends_with_the_send(sqs, server, queue):
    client = boto3.client("sqs", **session(server))
    for number in range(POLL_COUNT_MAX):
        got: list = []
        waiting = threading.Thread(target=lambda: got.extend(receive(client, queue, WaitTimeSeconds=20)))
        waiting.start()
        # The look itself is a request, too.
        eventually(lambda: in_flight(server) == 2 or not waiting.is_alive())
        begun = time.monotonic()
        sqs.send_message(QueueUrl=queue, MessageBody=f"at last {number}")
        waiting.join(SECONDS_MAX)
        # A machine that stalls for so long may have let the poll run to its end before or after the send: one more, then.
        if got and time.monotonic() - begun < 10:
            break
        assert [one["Body"] for one in got or receive(sqs, queue)] == [f"at last {number}"]
    else:
        raise AssertionError("no poll ended with its send")
    assert [one["Body"] for one in got] == [f"at last {number}"]
    assert receive(sqs, queue, WaitTimeSeconds=1) == []


def test_a_delay_hides_a_new_message(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="much later", DelaySeconds=900)
    assert receive(sqs, queue) == [] and attribute(sqs, queue, "ApproximateNumberOfMessagesDelayed") == "1"
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=2)
    assert [one["Body"] for one in received(sqs, queue)] == ["later"]


def test_what_is_received_too_often_is_a_dead_letter_and_moves_back(sqs, queue):
    dead = sqs.create_queue(QueueName=f"dead-{uuid.uuid4()}")["QueueUrl"]
    redrive = {"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": "2"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(redrive)})
    sent = sqs.send_message(QueueUrl=queue, MessageBody="poison", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    for _ in range(2):
        assert len(receive(sqs, queue, VisibilityTimeout=0)) == 1
    assert receive(sqs, queue) == []
    [message] = received(sqs, dead, VisibilityTimeout=0)
    assert (message["MessageId"], message["Body"], message["MessageAttributes"]["a"]["StringValue"]) == (sent["MessageId"], "poison", "b")
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, queue)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    pages = sqs.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=dead)
    assert [url for page in pages for url in page["queueUrls"]] == [queue]
    task = sqs.start_message_move_task(SourceArn=arn(sqs, dead))["TaskHandle"]
    assert task
    eventually(lambda: sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"][0]["Status"], "COMPLETED")
    assert sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"][0]["ApproximateNumberOfMessagesMoved"] == 1
    # A message that is moved back is a new one.
    [back] = received(sqs, queue)
    assert back["Body"] == "poison" and back["MessageId"] != sent["MessageId"]
    error = refused("InvalidParameterValue", sqs.start_message_move_task, SourceArn=arn(sqs, queue))
    assert error["Message"] == "Source queue must be configured as a Dead Letter Queue."
    refused("ResourceNotFoundException", sqs.start_message_move_task, SourceArn=arn(sqs, dead) + "-absent")
    refused("AWS.SimpleQueueService.UnsupportedOperation", sqs.cancel_message_move_task, TaskHandle=task)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": ""})
    assert "queueUrls" not in sqs.list_dead_letter_source_queues(QueueUrl=dead) or sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == []
    sqs.delete_queue(QueueUrl=dead)


def test_fifo_keeps_order_in_groups_and_takes_nothing_twice(sqs, fifo):
    sent = {}
    for n in range(6):
        group = "ab"[n % 2]
        answer = sqs.send_message(QueueUrl=fifo, MessageBody=f"{group}{n}", MessageGroupId=group)
        sent[f"{group}{n}"] = answer
    numbers = [answer["SequenceNumber"] for answer in sent.values()]
    assert numbers == sorted(numbers) and {len(number) for number in numbers} == {20}
    again = sqs.send_message(QueueUrl=fifo, MessageBody="a0", MessageGroupId="a")
    assert (again["MessageId"], again["SequenceNumber"]) == (sent["a0"]["MessageId"], sent["a0"]["SequenceNumber"])
    first = receive(sqs, fifo, MaxNumberOfMessages=2)
    assert [one["Body"] for one in first] == ["a0", "a2"]
    assert first[0]["Attributes"]["MessageGroupId"] == "a" and first[0]["Attributes"]["SequenceNumber"] == numbers[0]
    # The other group is free, the first one waits for all that it gave.
    assert [one["Body"] for one in receive(sqs, fifo)] == ["b1", "b3", "b5"]
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first[1]["ReceiptHandle"])
    assert receive(sqs, fifo) == []
    sqs.change_message_visibility(QueueUrl=fifo, ReceiptHandle=first[0]["ReceiptHandle"], VisibilityTimeout=0)
    error = refused("InvalidParameterValue", sqs.delete_message, QueueUrl=fifo, ReceiptHandle=first[0]["ReceiptHandle"])
    assert error["Message"] == f"Value {first[0]['ReceiptHandle']} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    attempt = {"ReceiveRequestAttemptId": "once"}
    told = receive(sqs, fifo, **attempt)
    assert [one["Body"] for one in told] == ["a0", "a4"]
    retold = receive(sqs, fifo, **attempt)
    assert [one["ReceiptHandle"] for one in retold] == [one["ReceiptHandle"] for one in told]
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=told[0]["ReceiptHandle"])
    refused("InvalidParameterValue", receive, sqs=sqs, url=fifo, **attempt)


def test_fifo_asks_for_what_it_needs(sqs, fifo, queue):
    error = refused("MissingParameter", sqs.send_message, QueueUrl=fifo, MessageBody="x")
    assert error["Message"] == "The request must contain the parameter MessageGroupId."
    error = refused("InvalidParameterValue", sqs.send_message, QueueUrl=fifo, MessageBody="x", MessageGroupId="g", DelaySeconds=5)
    assert error["Message"] == "Value 5 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"ContentBasedDeduplication": "false"})
    error = refused("InvalidParameterValue", sqs.send_message, QueueUrl=fifo, MessageBody="x", MessageGroupId="g")
    assert error["Message"] == "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
    refused("InvalidParameterValue", sqs.send_message, QueueUrl=queue, MessageBody="x", MessageDeduplicationId="d")
    error = refused("InvalidParameterValue", sqs.create_queue, QueueName="no-suffix", Attributes={"FifoQueue": "true"})
    assert error["Message"] == "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
    error = refused("InvalidParameterValue", sqs.create_queue, QueueName="no name")
    assert error["Message"] == "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"


def test_the_resource_sends_and_receives(server, queue):
    of_resource = boto3.resource("sqs", **session(server)).Queue(queue)
    of_resource.send_message(MessageBody="one")
    of_resource.send_messages(Entries=[{"Id": "a", "MessageBody": "two"}])
    seen = {}
    while len(seen) < 2:
        for message in of_resource.receive_messages(MaxNumberOfMessages=10, WaitTimeSeconds=2):
            seen[message.body] = message
    seen["one"].change_visibility(VisibilityTimeout=100)
    for message in seen.values():
        message.delete()
    of_resource.load()
    assert of_resource.attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_poll_whose_client_has_gone_takes_no_message(server, sqs, queue):
    impatient = botocore.config.Config(read_timeout=1, retries={"max_attempts": 0})
    for _ in range(5):
        gone = boto3.client("sqs", config=impatient, **session(server))
        with pytest.raises(botocore.exceptions.ReadTimeoutError):
            gone.receive_message(QueueUrl=queue, WaitTimeSeconds=20)
        gone.close()
    # The appliance learns of it in its own time; the look itself is a request, too.
    eventually(lambda: in_flight(server), 1)
    sqs.send_message(QueueUrl=queue, MessageBody="for the one who waits")
    assert [message["Body"] for message in received(sqs, queue)] == ["for the one who waits"]


def test_messages_and_receipts_outlive_a_restart(server):
    client = boto3.client("sqs", **session(server))
    name = f"kept-{uuid.uuid4()}"
    url = client.create_queue(QueueName=name)["QueueUrl"]
    client.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(3)])
    [hidden] = receive(client, url, MaxNumberOfMessages=1)
    server.stop()
    server.start()
    client = boto3.client("sqs", **session(server))
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    assert len(receive(client, url)) == 2
    client.delete_message(QueueUrl=url, ReceiptHandle=hidden["ReceiptHandle"])
    eventually(lambda: attribute(client, url, "ApproximateNumberOfMessagesNotVisible"), "2")
    client.delete_queue(QueueUrl=url)
