"""Queues over bare HTTP: both protocols on one URL, and what hostile clients send."""

import base64
import hashlib
import json
import re
import uuid
import xml.etree.ElementTree as ElementTree

import pytest

from zctest.queueraw import FORM, JSON, Queues, Topics, field

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


@pytest.fixture(scope="module")
def client(server):
    return Queues.of(server)


@pytest.fixture(scope="module")
def queue(client):
    return client.good("CreateQueue", {"QueueName": f"raw-{uuid.uuid4()}"})["QueueUrl"]


@pytest.fixture(scope="module")
def path(queue):
    return "/" + queue.split("/", 3)[3]


def query(client, path: str = "/", **parameters: str) -> tuple[int, str]:
    """One operation of the Query protocol; dots in names are written as two underscores."""
    return client.form({"Version": "2012-11-05"} | {name.replace("__", "."): value for name, value in parameters.items()}, path)


def error(answer: tuple[int, str]) -> tuple[int, str, str]:
    status, document = answer
    root = ElementTree.fromstring(document)
    assert root.tag == f"{NAMESPACE}ErrorResponse", document
    assert root.find(f"{NAMESPACE}RequestId") is not None
    one = root.find(f"{NAMESPACE}Error")
    return status, one.find(f"{NAMESPACE}Code").text, one.find(f"{NAMESPACE}Message").text


def post(client, target: str, body: bytes) -> tuple[int, dict, dict]:
    status, headers, data = client.post("/", body, {"content-type": JSON, "x-amz-target": target})
    return status, headers, json.loads(data)


def test_both_protocols_speak_of_the_same_queue(client, queue, path):
    sent = {
        "Action": "SendMessage",
        "MessageBody": "a <b> & ü",
        "MessageAttribute__1__Name": "a",
        "MessageAttribute__1__Value__DataType": "String",
        "MessageAttribute__1__Value__StringValue": "b",
    }
    status, document = query(client, path, **sent)
    assert status == 200 and document.startswith("<?xml") and f'<SendMessageResponse xmlns="{NAMESPACE[1:-1]}">' in document
    assert field(document, "MD5OfMessageBody") == hashlib.md5("a <b> & ü".encode()).hexdigest()
    [message] = client.good("ReceiveMessage", {"QueueUrl": queue, "MessageAttributeNames": ["All"], "VisibilityTimeout": 0})["Messages"]
    assert message["MessageId"] == field(document, "MessageId") and message["MessageAttributes"]["a"] == {"DataType": "String", "StringValue": "b"}
    # With the queue in the URL, in a parameter, and by its bare name.
    for place, more in [(path, {}), ("/", {"QueueUrl": queue}), ("/", {"QueueUrl": queue.rsplit("/", 1)[1]})]:
        status, document = query(client, place, Action="ReceiveMessage", AttributeName__1="All", MessageAttributeName__1="All", VisibilityTimeout="0", **more)
        root = ElementTree.fromstring(document)
        assert status == 200 and root.find(f".//{NAMESPACE}Body").text == "a <b> & ü"
        assert {one.find(f"{NAMESPACE}Name").text for one in root.iter(f"{NAMESPACE}Attribute")} >= {"SenderId", "SentTimestamp"}
    handle = root.find(f".//{NAMESPACE}ReceiptHandle").text
    batch = {"DeleteMessageBatchRequestEntry__1__Id": "a", "DeleteMessageBatchRequestEntry__1__ReceiptHandle": handle}
    status, document = query(client, path, Action="DeleteMessageBatch", **batch)
    assert status == 200 and field(document, "Id") == "a" and "DeleteMessageBatchResultEntry" in document
    status, document = query(client, path, Action="ReceiveMessage")
    assert status == 200 and "<Message>" not in document


def test_errors_of_both_protocols_say_the_same(client, queue):
    absent = queue + "-absent"
    code, text = "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
    assert error(query(client, Action="PurgeQueue", QueueUrl=absent)) == (400, code, text)
    status, headers, answer = post(client, "AmazonSQS.PurgeQueue", json.dumps({"QueueUrl": absent}).encode())
    assert (status, headers["x-amzn-query-error"]) == (400, f"{code};Sender")
    assert answer == {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": text}
    assert headers["content-type"] == JSON and uuid.UUID(headers["x-amzn-requestid"])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"nul", b'{"QueueName": 7}', b'{"QueueName": ["a"]}', b'{"QueueName": {"a": 1}}', b'{"QueueName":"a"} x', b"\xff\xfe", b'{"QueueName":"\xed\xa0\x80"}', b"[" * 100_000, b'{"a":' * 50_000])
def test_json_that_is_none_is_refused(client, body):
    status, _, answer = post(client, "AmazonSQS.CreateQueue", body)
    assert status == 400 and answer["__type"], answer


@pytest.mark.parametrize("target", ["AmazonSQS.DropQueue", "AmazonSQS.", "AmazonSQS", "DynamoDB_19990101.GetItem", "AmazonSQS.sendmessage"])
def test_what_is_no_operation_is_refused(client, target):
    status, _, answer = post(client, target, b"{}")
    assert status in (400, 404) and answer["__type"].endswith("UnknownOperationException"), answer


@pytest.mark.parametrize("form", [b"", b"Action", b"Action=", b"Action=DropQueue&Version=2012-11-05", b"%zz", b"&&&&", b"Action=CreateQueue&Action=ListQueues" * 1_000])
def test_forms_that_are_none_are_refused(client, form):
    status, _, data = client.post("/", form, {"content-type": FORM})
    assert 400 <= status < 500, (status, data)


def test_an_action_that_is_none_has_its_name(client):
    status, code, _ = error(query(client, Action="DropQueue", QueueName="x"))
    assert (status, code) == (400, "InvalidAction")


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "\ufffe", "\uffff"])
def test_characters_that_xml_cannot_carry_are_refused(client, queue, character):
    status, answer = client.call("SendMessage", {"QueueUrl": queue, "MessageBody": f"a{character}b"})
    assert (status, answer["__type"]) == (400, "com.amazonaws.sqs#InvalidMessageContents")
    assert f"#x{ord(character):x}".lower() in answer["message"].lower() and "#x20 to #xD7FF" in answer["message"]
    entries = [{"Id": "good", "MessageBody": "x"}, {"Id": "bad", "MessageBody": character}]
    batch = client.good("SendMessageBatch", {"QueueUrl": queue, "Entries": entries})
    assert [one["Id"] for one in batch["Successful"]] == ["good"] and [one["Code"] for one in batch["Failed"]] == ["InvalidMessageContents"]
    attribute = {"a": {"DataType": "String", "StringValue": f"x{character}"}}
    assert client.call("SendMessage", {"QueueUrl": queue, "MessageBody": "x", "MessageAttributes": attribute})[0] == 400


def test_bodies_and_batches_have_their_bounds(client, queue):
    status, answer = client.call("SendMessage", {"QueueUrl": queue, "MessageBody": ""})
    assert status == 400 and answer["__type"].endswith(("MissingRequiredParameterException", "InvalidParameterValueException")), answer
    assert client.call("SendMessage", {"QueueUrl": queue})[0] == 400
    attribute = {"a": {"DataType": "String", "StringValue": "x" * 100}}
    body = {"QueueUrl": queue, "MessageBody": "x" * (1_048_576 - 107), "MessageAttributes": attribute}
    assert client.call("SendMessage", body)[0] == 200
    status, answer = client.call("SendMessage", body | {"MessageBody": body["MessageBody"] + "x"})
    assert (status, answer["message"]) == (400, "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.")
    status, answer = client.call("SendMessageBatch", {"QueueUrl": queue, "Entries": [{"Id": str(n), "MessageBody": "x"} for n in range(1_000)]})
    assert (status, answer["message"]) == (400, "Maximum number of entries per request are 10. You have sent 1000.")
    # More than any request may be: refused without being read to its end.
    try:
        status, _, _ = client.post("/", b"x" * (40 << 20), {"content-type": JSON, "x-amz-target": "AmazonSQS.SendMessage"})
        assert 400 <= status < 500
    except OSError:
        client.close()


def test_handles_of_others_and_forgeries_are_refused(client, queue):
    other = client.good("CreateQueue", {"QueueName": f"other-{uuid.uuid4()}"})["QueueUrl"]
    client.good("SendMessage", {"QueueUrl": other, "MessageBody": "mine"})
    [message] = client.good("ReceiveMessage", {"QueueUrl": other})["Messages"]
    handle = message["ReceiptHandle"]
    assert len(handle) <= 1_024
    raw = base64.urlsafe_b64decode(handle + "=" * (-len(handle) % 4))
    forged = [base64.urlsafe_b64encode(raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :]).decode().rstrip("=") for n in range(len(raw))]
    for one in [handle + "A", handle[:-1], handle * 2, "", "x" * 5_000, "ü", "AAAA", *forged]:
        for operation, more in [("DeleteMessage", {}), ("ChangeMessageVisibility", {"VisibilityTimeout": 0})]:
            status, answer = client.call(operation, {"QueueUrl": other, "ReceiptHandle": one} | more)
            assert status in (400, 404) and (one == "" or answer["__type"] == "com.amazonaws.sqs#ReceiptHandleIsInvalid"), (one, answer)
    status, answer = client.call("DeleteMessage", {"QueueUrl": queue, "ReceiptHandle": handle})
    assert (status, answer["message"]) == (400, "The input receipt handle is invalid.")
    # Nothing of that has touched the message.
    client.good("DeleteMessage", {"QueueUrl": other, "ReceiptHandle": handle})
    status, answer = client.call("ChangeMessageVisibility", {"QueueUrl": other, "ReceiptHandle": handle, "VisibilityTimeout": 1})
    assert status == 400 and answer["message"].endswith("Reason: Message does not exist or is not available for visibility timeout change."), answer


def test_visibility_has_its_bounds(client, queue):
    client.good("SendMessage", {"QueueUrl": queue, "MessageBody": "x"})
    [message] = client.good("ReceiveMessage", {"QueueUrl": queue, "VisibilityTimeout": 43_200})["Messages"]
    request = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}
    for seconds in (43_201, -1, 1 << 40):
        assert client.call("ChangeMessageVisibility", request | {"VisibilityTimeout": seconds})[0] == 400
        assert client.call("ReceiveMessage", {"QueueUrl": queue, "VisibilityTimeout": seconds})[0] == 400
    client.good("ChangeMessageVisibility", request | {"VisibilityTimeout": 0})
    status, answer = client.call("ChangeMessageVisibility", request | {"VisibilityTimeout": 5})
    assert (status, answer["__type"]) == (400, "com.amazonaws.sqs#MessageNotInflight"), answer


@pytest.mark.parametrize(
    ("attributes", "name"),
    [({"Foo": "1"}, "InvalidAttributeName"), ({"QueueArn": "x"}, "InvalidAttributeName"), ({"VisibilityTimeout": "x"}, "InvalidAttributeValue"), ({"DelaySeconds": "901"}, "InvalidAttributeValue"), ({"RedrivePolicy": "{"}, "InvalidParameterValueException"), ({"Policy": "{"}, "InvalidAttributeValue"), ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue")],
)
def test_attributes_that_are_none_are_refused(client, queue, attributes, name):
    status, answer = client.call("SetQueueAttributes", {"QueueUrl": queue, "Attributes": attributes})
    assert status == 400 and answer["__type"].endswith((name, "InvalidAttributeValue", "InvalidParameterValueException")), answer
    assert client.call("CreateQueue", {"QueueName": f"new-{uuid.uuid4()}", "Attributes": attributes})[0] == 400


def test_requests_without_a_right_signature_are_refused(server, client, queue):
    body = json.dumps({"QueueUrl": queue}).encode()
    headers = {"content-type": JSON, "x-amz-target": "AmazonSQS.ReceiveMessage"}
    status, _, data = client.post("/", body, headers, is_signed=False)
    assert status in (400, 403) and b"Messages" not in data
    key, secret = server.credentials()
    wrong = Queues(server.host, server.port, key, secret + "x")
    status, answer = wrong.call("ReceiveMessage", {"QueueUrl": queue})
    assert (status, answer["__type"].split("#")[1]) == (403, "InvalidSignatureException"), answer
    unknown = Queues(server.host, server.port, "AKIAUNKNOWN000000000", secret)
    status, answer = unknown.call("ReceiveMessage", {"QueueUrl": queue})
    assert (status, answer["__type"].split("#")[1]) == (403, "UnrecognizedClientException"), answer


def test_queue_urls_name_the_host_that_the_client_used(server, client):
    name = f"host-{uuid.uuid4()}"
    assert client.good("CreateQueue", {"QueueName": name})["QueueUrl"].startswith(f"http://{server.host}:{server.port}/")
    key, secret = server.credentials()
    local = Queues("localhost", server.port, key, secret)
    assert local.good("GetQueueUrl", {"QueueName": name})["QueueUrl"].startswith(f"http://localhost:{server.port}/")
    for url in ["", "http://", "http://x/", "x/y/z/w", "//", f"http://x/000000000000/{'n' * 2_000}", "ü", "../../etc", "\x00"]:
        status, answer = client.call("ReceiveMessage", {"QueueUrl": url})
        assert 400 <= status < 500, (url, answer)


def test_topics_refuse_what_is_none(server):
    topics = Topics.of(server)
    for parameters in [{"Action": "DropTopic"}, {"Action": ""}, {"Action": "Publish", "TopicArn": "arn"}, {"Action": "Subscribe", "TopicArn": "arn:aws:sns:us-east-1:000000000000:x", "Protocol": "pigeon", "Endpoint": "x"}]:
        status, document = topics.form({"Version": "2010-03-31"} | parameters)
        assert 400 <= status < 500 and re.search("<Code>[A-Za-z]+</Code>", document), document
