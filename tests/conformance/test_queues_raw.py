"""What no SDK sends to queues, or not every one: the Query protocol on a queue's own path, presigned links, requests that
nobody signed, hosts by which clients call the appliance, and refusals as bytes in both protocols."""

import json
import urllib.parse
import uuid
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from zctest.wire import Reply, Wire

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
JSON = "application/x-amz-json-1.0"
BODY_BYTES_MAX = 8 << 20


class Sender:
    """Signs requests, or does not, and sends each on a connection of its own."""

    def __init__(self, server):
        self.server = server
        self.credentials = Credentials(*server.credentials())

    def send(self, method: str, path: str, body: bytes = b"", headers: dict | None = None, credentials=True, host=None) -> Reply:
        host = host or f"{self.server.host}:{self.server.port}"
        named = {"Host": host} | (headers or {})
        if credentials is not None:
            request = AWSRequest(method, f"http://{host}{path}", headers=named, data=body)
            SigV4Auth(self.credentials if credentials is True else credentials, "sqs", "us-east-1").add_auth(request)
            named = dict(request.headers.items())
        if body or method == "POST":
            named["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        with Wire(self.server.host, self.server.port) as wire:
            reply = wire.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body).reply(method)
        if reply.status != 413:
            uuid.UUID(reply.headers["x-amzn-requestid"])
        return reply

    def query(self, action: str, path: str = "/", more: dict | None = None, **how) -> Reply:
        form = urllib.parse.urlencode({"Action": action, "Version": "2012-11-05"} | (more or {})).encode()
        return self.send("POST", path, form, {"Content-Type": FORM}, **how)

    def json(self, action: str, request: dict | bytes, **how) -> Reply:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.send("POST", "/", body, {"Content-Type": JSON, "X-Amz-Target": f"AmazonSQS.{action}"}, **how)


@pytest.fixture(scope="module")
def sender(server):
    yield Sender(server)
    assert server.process.poll() is None
    assert not [line for line in server.log if "panick" in line]


@pytest.fixture(scope="module")
def path(sender):
    """The path of a queue's URL."""
    url = json.loads(sender.json("CreateQueue", {"QueueName": "raw"}).body)["QueueUrl"]
    return urllib.parse.urlsplit(url).path


def document(reply: Reply) -> ElementTree.Element:
    assert reply.headers["content-type"] == "text/xml"
    return ElementTree.fromstring(reply.body)


def text(reply: Reply, *names: str) -> str | None:
    return document(reply).findtext("/".join(NAMESPACE + name for name in names))


def error(reply: Reply) -> tuple[int, str, str]:
    """Status, code and the header's code of an error in either protocol; both must say the same as the body."""
    header, blame = reply.headers["x-amzn-query-error"].split(";")
    assert blame == ("Receiver" if reply.status >= 500 else "Sender")
    if reply.headers["content-type"] == JSON:
        return reply.status, json.loads(reply.body)["__type"].split("#")[1], header
    assert text(reply, "RequestId") == reply.headers["x-amzn-requestid"]
    assert text(reply, "Error", "Type") == blame
    return reply.status, text(reply, "Error", "Code"), header


def test_a_form_on_a_queues_own_path_needs_no_url(sender, path):
    sent = sender.query("SendMessage", path, {"MessageBody": "by path"})
    assert sent.status == 200
    assert text(sent, "SendMessageResult", "MD5OfMessageBody") == "842f68cb50c2fca662f621388cc016fa"
    assert text(sent, "ResponseMetadata", "RequestId") == sent.headers["x-amzn-requestid"]
    received = sender.query("ReceiveMessage", path, {"WaitTimeSeconds": 5})
    assert text(received, "ReceiveMessageResult", "Message", "Body") == "by path"
    handle = text(received, "ReceiveMessageResult", "Message", "ReceiptHandle")
    assert sender.query("DeleteMessage", path, {"ReceiptHandle": handle}).status == 200
    empty = sender.query("ReceiveMessage", path)
    assert empty.status == 200 and len(document(empty).find(NAMESPACE + "ReceiveMessageResult")) == 0
    assert json.loads(sender.json("ReceiveMessage", {"QueueUrl": path}).body) == {}


def test_a_presigned_link_is_a_request_until_it_is_touched(sender, path):
    host = f"{sender.server.host}:{sender.server.port}"
    query = "Action=GetQueueAttributes&Version=2012-11-05&AttributeName.1=QueueArn"
    request = AWSRequest("GET", f"http://{host}{path}?{query}")
    SigV4QueryAuth(sender.credentials, "sqs", "us-east-1", expires=600).add_auth(request)
    link = urllib.parse.urlsplit(request.url)
    good = sender.send("GET", f"{link.path}?{link.query}", credentials=None)
    assert good.status == 200
    assert text(good, "GetQueueAttributesResult", "Attribute", "Value").endswith(":raw")
    touched = sender.send("GET", f"{link.path}?{link.query.replace('QueueArn', 'Policy')}", credentials=None)
    assert error(touched) == (403, "SignatureDoesNotMatch", "SignatureDoesNotMatch")


def test_a_url_has_the_host_that_the_client_used(sender):
    for host in ["queues.test:1234", "127.0.0.1", "[::1]:99"]:
        reply = sender.json("GetQueueUrl", {"QueueName": "raw"}, host=host)
        url = json.loads(reply.body)["QueueUrl"]
        assert urllib.parse.urlsplit(url).netloc == host
    account = url.split("/")[-2]
    forms = [url, f"https://sqs.us-east-1.x.test/{account}/raw", f"https://us-east-1.queue.x.test/{account}/raw", "raw"]
    for form in forms:
        assert sender.json("ListQueueTags", {"QueueUrl": form}).status == 200, form
    assert error(sender.json("ListQueueTags", {"QueueUrl": f"http://host/{account}/r%61w"}))[1] == "QueueDoesNotExist"


def test_refusals_are_spelled_in_both_protocols(sender, path):
    cases = [
        ("ReceiveMessage", {"MaxNumberOfMessages": 11}, "InvalidParameterValueException", "InvalidParameterValue", 400),
        ("DeleteMessage", {"ReceiptHandle": "x"}, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
        ("SendMessage", {}, "MissingRequiredParameterException", "MissingParameter", 400),
        ("SendMessage", {"MessageBody": "\u0001"}, "InvalidMessageContents", "InvalidMessageContents", 400),
        ("Nothing", {}, "UnknownOperationException", "InvalidAction", 400),
    ]
    for action, request, of_json, of_query, status in cases:
        assert error(sender.json(action, {"QueueUrl": path} | request)) == (400, of_json, of_query), action
        assert error(sender.query(action, path, request)) == (status, of_query, of_query), action
    gone = "http://host/000000000000/gone"
    code = "AWS.SimpleQueueService.NonExistentQueue"
    assert error(sender.json("PurgeQueue", {"QueueUrl": gone})) == (400, "QueueDoesNotExist", code)
    assert error(sender.query("PurgeQueue", more={"QueueUrl": gone})) == (400, code, code)


def test_who_signs_wrongly_hears_it_in_the_services_words(sender, path):
    key = sender.credentials.access_key
    for credentials, of_json, of_query in [
        (Credentials(key, "wrong"), "InvalidSignatureException", "SignatureDoesNotMatch"),
        (Credentials("AKIDNOBODY", "wrong"), "UnrecognizedClientException", "InvalidClientTokenId"),
        (None, "MissingAuthenticationTokenException", "MissingAuthenticationToken"),
    ]:
        asked = sender.json("SendMessage", {"QueueUrl": path, "MessageBody": "x"}, credentials=credentials)
        assert error(asked) == (403, of_json, of_query)
        asked = sender.query("SendMessage", path, {"MessageBody": "x"}, credentials=credentials)
        assert error(asked) == (403, of_query, of_query)


def test_everybody_may_do_what_a_policy_lets_everybody_do_and_no_more(sender):
    url = json.loads(sender.json("CreateQueue", {"QueueName": "open"}).body)["QueueUrl"]
    path = urllib.parse.urlsplit(url).path
    arn = f"arn:aws:sqs:us-east-1:{path.split('/')[1]}:open"
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert sender.json("SetQueueAttributes", {"QueueUrl": url, "Attributes": {"Policy": policy}}).status == 200
    assert sender.json("SendMessage", {"QueueUrl": url, "MessageBody": "json"}, credentials=None).status == 200
    assert sender.query("SendMessage", path, {"MessageBody": "form"}, credentials=None).status == 200
    assert sender.query("SendMessage", more={"QueueUrl": url, "MessageBody": "root"}, credentials=None).status == 200
    query = "Action=SendMessage&Version=2012-11-05&MessageBody=link"
    assert sender.send("GET", f"{path}?{query}", credentials=None).status == 200
    for action in ["ReceiveMessage", "DeleteQueue", "GetQueueAttributes"]:
        assert error(sender.query(action, path, credentials=None))[0] == 403, action
    received = json.loads(sender.json("ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": 10}).body)["Messages"]
    assert sorted(message["Body"] for message in received) == ["form", "json", "link", "root"]
    # A body of somebody unknown has a bound of its own.
    assert sender.json("SendMessage", b" " * (3 << 20), credentials=None).status == 413


def test_bodies_parameters_and_depth_have_bounds(sender, path):
    assert sender.json("SendMessage", b" " * (BODY_BYTES_MAX + 1)).status == 413
    many = {f"Attribute.{index}.Name": "x" for index in range(10_001)}
    assert error(sender.query("SetQueueAttributes", path, many)) == (404, "MalformedQueryString", "MalformedQueryString")
    deep = b'{"x":' + b"[" * 100_000
    assert error(sender.json("ListQueues", deep))[1] == "SerializationException"
    for body in [b"{", b"[]", b'{"QueueNamePrefix":1}', b"\xff"]:
        assert error(sender.json("ListQueues", body)) == (400, "SerializationException", "MalformedInput"), body
