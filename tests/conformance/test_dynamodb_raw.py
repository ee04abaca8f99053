"""What no SDK sends to tables: broken and hostile JSON, lying encodings, bodies without end, requests in pieces. Each gets its
exception, every answer its checksum, and the appliance is as well afterwards as before."""

import gzip
import json
import time
import zlib

import pytest

from zctest.dynamodbraw import Client
from zctest.wire import Closed, Reply, Wire

MEMORY_KIB_MAX = 384 * 1024
BODY_BYTES_MAX = 16 << 20
TABLE = "raw"


@pytest.fixture(scope="module")
def signer(server):
    key, secret = server.credentials()
    client = Client(server.host, server.port, key, secret)
    key = [{"AttributeName": "pk", "KeyType": "HASH"}]
    kinds = [{"AttributeName": "pk", "AttributeType": "S"}]
    client.good("CreateTable", {"TableName": TABLE, "KeySchema": key, "AttributeDefinitions": kinds, "BillingMode": "PAY_PER_REQUEST"})
    yield client
    # After everything that follows: the same process, healthy, in bounded memory.
    assert server.process.poll() is None
    assert client.good("ListTables", {})["TableNames"] == [TABLE]
    assert server.memory_kib() < MEMORY_KIB_MAX
    assert not [line for line in server.log if "panick" in line]


def request(signer: Client, operation: str, body: bytes, headers: dict | None = None, length: int | None = None) -> bytes:
    """A signed request as bytes; `headers` come in addition, or in place of those of the same name."""
    named = signer.sign(f"DynamoDB_20120810.{operation}", body) | {"content-length": str(len(body) if length is None else length)} | (headers or {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body


def send(server, signer: Client, operation: str, body: bytes | dict, **more) -> Reply:
    """The answer on a connection of its own; its checksum must be that of the bytes that came."""
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    with Wire(server.host, server.port) as wire:
        reply = wire.send(request(signer, operation, body, **more)).reply("POST")
    if reply.status != 413:
        assert reply.headers["x-amz-crc32"] == str(zlib.crc32(reply.body)), reply
    assert len(reply.headers["x-amzn-requestid"]) == 52
    return reply


def kind(reply: Reply) -> str:
    """The exception's name."""
    return json.loads(reply.body)["__type"].split("#")[1]


def item(**attributes) -> dict:
    return {"TableName": TABLE, "Item": {"pk": {"S": "a"}} | attributes}


# ---- JSON ----

BROKEN = {
    "nothing": b"",
    "blank": b"  \n",
    "a word": b"hello",
    "cut off": b'{"TableName":"raw"',
    "a comma too many": b'{"TableName":"raw",}',
    "single quotes": b"{'TableName':'raw'}",
    "two values": b'{"TableName":"raw"}{}',
    "no UTF-8": b'{"TableName":"\xff\xfe"}',
    "a lone surrogate": b'{"TableName":"\\ud800"}',
    "a control character": b'{"TableName":"a\nb"}',
    "open brackets": b"[" * 200_000,
    "open braces": b'{"a":' * 100_000,
    "deep and closed": b'{"Item":' + b'{"a":{"M":' * 20_000 + b"1" + b"}}" * 20_000 + b"}",
    "a long number": b'{"Limit":' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_is_no_request_is_refused(server, signer, name):
    reply = send(server, signer, "PutItem", BROKEN[name])
    assert reply.status == 400 and kind(reply) in ("SerializationException", "ValidationException"), reply.body[:300]


WRONG_TYPES = {
    "an array": [],
    "a number for a name": {"TableName": 7},
    "a list for a name": {"TableName": ["raw"]},
    "a text for an item": {"TableName": TABLE, "Item": "a"},
    "a number for a text": item(v={"S": 5}),
    "a text for a list": item(v={"L": "x"}),
    "no base64": item(v={"B": "$$$$"}),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_a_member_of_another_type_is_a_serialization_error(server, signer, name):
    reply = send(server, signer, "PutItem", json.dumps(WRONG_TYPES[name]).encode())
    assert (reply.status, kind(reply)) == (400, "SerializationException"), reply.body


HOSTILE = {
    "a huge exponent": item(v={"N": "1e999999999999999999"}),
    "many digits": item(v={"N": "1" * 300_000}),
    "many digits behind a point": item(v={"N": "0." + "0" * 300_000 + "1"}),
    "no number": item(v={"N": "0x10"}),
    "an empty set": item(v={"SS": []}),
    "a set with one word twice": item(v={"SS": ["a", "a"]}),
    "no type": item(v={}),
    "two types": item(v={"S": "a", "N": "1"}),
    "an unknown type": item(v={"X": "a"}),
    "too large": item(v={"S": "x" * 409_600}),
    "too deep": {"TableName": TABLE, "Item": {"pk": {"S": "a"}, "v": json.loads('{"L":[' * 40 + '{"S":"x"}' + "]}" * 40)}},
    "a key of another type": {"TableName": TABLE, "Item": {"pk": {"N": "1"}}},
    "an empty key": {"TableName": TABLE, "Item": {"pk": {"S": ""}}},
    "a long key": {"TableName": TABLE, "Item": {"pk": {"S": "x" * 2_049}}},
    "parentheses without end": item() | {"ConditionExpression": "(" * 4_000},
    "a long expression": item() | {"ConditionExpression": "attribute_exists(a) AND " * 1_000 + "attribute_exists(a)"},
    "an expression of nothing": item() | {"ConditionExpression": "\x00"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_is_a_validation_error_and_writes_nothing(server, signer, name):
    reply = send(server, signer, "PutItem", HOSTILE[name])
    assert (reply.status, kind(reply)) == (400, "ValidationException"), reply.body[:300]
    assert signer.good("Scan", {"TableName": TABLE})["Count"] == 0


# ---- targets, media types, signatures ----


def test_what_names_no_operation_is_unknown(server, signer):
    for operation in ("NoSuchThing", "getItem", ""):
        reply = send(server, signer, operation, b"{}")
        assert (reply.status, kind(reply)) == (400, "UnknownOperationException")
    reply = send(server, signer, "ListTables", b"{}", headers={"content-type": "text/plain"})
    assert (reply.status, reply.body) == (404, b"<UnknownOperationException/>\n")


def test_nothing_is_done_for_a_stranger(server, signer):
    body = json.dumps(item()).encode()
    changed = body.replace(b'"a"', b'"b"')
    for sent, headers, expected in [
        (body, {"authorization": None}, "MissingAuthenticationTokenException"),
        (body, {"authorization": "AWS4-HMAC-SHA256 Credential=x"}, "IncompleteSignatureException"),
        (body, {"x-amz-date": "20200101T000000Z"}, "InvalidSignatureException"),
        (changed, {}, "InvalidSignatureException"),
    ]:
        signed = signer.sign("DynamoDB_20120810.PutItem", body) | headers
        reply = send(server, signer, "PutItem", sent, headers=signed)
        assert (reply.status, kind(reply)) == (400, expected)
    assert signer.good("Scan", {"TableName": TABLE})["Count"] == 0


# ---- encodings and lengths ----


def test_large_answers_are_packed_where_the_client_allows_it(server, signer):
    signer.good("PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "large"}, "v": {"S": "x" * 50_000}}})
    get = {"TableName": TABLE, "Key": {"pk": {"S": "large"}}}
    for accepts, packed in [("gzip", True), ("identity", False), ("gzip;q=0", False), ("br", False), (None, False)]:
        reply = send(server, signer, "GetItem", get, headers={"accept-encoding": accepts})
        assert (reply.headers.get("content-encoding") == "gzip") == packed, accepts
        body = gzip.decompress(reply.body) if packed else reply.body
        assert json.loads(body)["Item"]["v"]["S"] == "x" * 50_000
    reply = send(server, signer, "ListTables", b"{}", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in reply.headers
    signer.good("DeleteItem", get)


def test_packed_requests_are_read_and_bombs_are_not(server, signer):
    packed = gzip.compress(json.dumps({"TableName": TABLE}).encode())
    reply = send(server, signer, "DescribeTable", packed, headers={"content-encoding": "gzip"})
    assert reply.status == 200 and json.loads(reply.body)["Table"]["TableName"] == TABLE
    bomb = gzip.compress(b" " * (BODY_BYTES_MAX + 1) + b"{}")
    assert len(bomb) < 20_000
    assert send(server, signer, "ListTables", bomb, headers={"content-encoding": "gzip"}).status == 413
    for broken in (packed[:-9], b"\x1f\x8b", b"{}"):
        reply = send(server, signer, "ListTables", broken, headers={"content-encoding": "gzip"})
        assert reply.status == 400, reply.body


def test_a_body_of_the_greatest_length_is_read_and_a_longer_one_is_not(server, signer):
    whole = b"{}" + b" " * (BODY_BYTES_MAX - 2)
    assert send(server, signer, "ListTables", whole).status == 200
    assert send(server, signer, "ListTables", b"", length=BODY_BYTES_MAX + 1).status == 413
    with Wire(server.host, server.port) as wire:
        head = request(signer, "ListTables", b"", headers={"content-length": None, "transfer-encoding": "chunked"})
        piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        wire.send(head)
        for _ in range(BODY_BYTES_MAX // 65_536 + 2):
            wire.send(piece)
        assert wire.send(b"0\r\n\r\n").reply("POST").status == 413


# ---- connections ----


def test_requests_come_in_pieces_and_several_at_once(server, signer):
    one = request(signer, "ListTables", b"{}")
    with Wire(server.host, server.port) as wire:
        for _ in range(50):
            assert wire.send(one).reply("POST").status == 200
        for byte in one[:-1]:
            wire.send(bytes([byte]))
        assert wire.send(one[-1:]).reply("POST").status == 200
        wire.send(one * 20)
        for _ in range(20):
            assert json.loads(wire.reply("POST").body)["TableNames"] == [TABLE]


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing(server, signer):
    body = json.dumps(item()).encode()
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with Wire(server.host, server.port) as wire:
            wire.send(request(signer, "PutItem", body)[: -(len(body) - cut) or None]).end()
            try:
                assert wire.reply("POST").status == 400
            except Closed:
                pass
    assert signer.good("Scan", {"TableName": TABLE})["Count"] == 0
    # The figure is copied once a second.
    deadline = time.monotonic() + 120
    while (held := held_bytes(server)) != {"0"}:
        assert time.monotonic() < deadline, held
        time.sleep(0.2)


def held_bytes(server) -> set[str]:
    """What each core says that it holds of bodies."""
    with Wire(server.host, server.port) as wire:
        metrics = wire.send(b"GET /-/metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").reply().body.decode()
    return {line.split()[1] for line in metrics.splitlines() if line.startswith("zerocloud_collected_body_bytes{")}
