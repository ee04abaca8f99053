"""What no client library sends: broken framing, lying lengths, wrong signatures, hostile XML. Each gets the exact AWS error
where there is one and a closed connection where HTTP demands it, and the appliance is as well afterwards as before."""

import base64
import hashlib
import zlib

import pytest

from zctest.wire import Closed, Reply, Signer, Wire, head, stamp

BUCKET = "raw-bucket"
BODY = b"some bytes of a body"
BODY_SHA256 = hashlib.sha256(BODY).hexdigest()
# What a smuggled request would do if anybody took it for one.
SMUGGLED = b"GET /-/live HTTP/1.1\r\nHost: smuggled\r\n\r\n"
MEMORY_KIB_MAX = 256 * 1024


@pytest.fixture(scope="module")
def signer(server):
    key, secret = server.credentials()

    def make(**options) -> Signer:
        return Signer(**({"host": f"{server.host}:{server.port}", "key": key, "secret": secret} | options))

    assert call(server, make(), "PUT", f"/{BUCKET}").status == 200
    yield make
    # After everything that follows: the same process, healthy, in bounded memory.
    assert server.process.poll() is None
    assert call(server, make(), "GET", f"/{BUCKET}").status == 200
    assert server.memory_kib() < MEMORY_KIB_MAX
    assert not [line for line in server.log if "panick" in line]


def wire(server) -> Wire:
    return Wire(server.host, server.port)


def call(server, signer: Signer, method: str, path: str, body: bytes = b"", query: str = "", payload: str | None = None, extra=None) -> Reply:
    """One signed request on a connection of its own."""
    payload = payload or hashlib.sha256(body).hexdigest()
    headers = signer.headers(method, path, query, payload, extra) | {"content-length": str(len(body))}
    with wire(server) as connection:
        target = f"{path}?{query}" if query else path
        return connection.send(head(method, target, headers) + body).reply(method)


def absent(server, signer: Signer, key: str) -> bool:
    return call(server, signer, "GET", f"/{BUCKET}/{key}").code == "NoSuchKey"


# ---- HTTP framing: refused with 400 and a closed connection, and what follows is never taken for a request ----

BROKEN = {
    "length_and_chunked": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked_and_length": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two_lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 41\r\n\r\n",
    "length_list": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 41\r\n\r\n",
    "signed_length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "negative_length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "hexadecimal_length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n",
    "overflowing_length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "bare_carriage_return": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "bare_line_feed": b"GET / HTTP/1.1\nHost: a\n\n",
    "folded_line": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "blank_before_colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 41\r\n\r\n",
    "nul_in_value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "no_colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "unknown_coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "chunked_twice": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked_not_last": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "two_hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no_host": b"GET / HTTP/1.1\r\n\r\n",
    "two_blanks": b"GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "control_in_target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("shape", BROKEN)
def test_a_broken_head_is_refused_and_the_connection_closed(server, signer, shape):
    with wire(server) as connection:
        connection.send(BROKEN[shape] + SMUGGLED)
        try:
            reply = connection.reply()
        except Closed as closed:
            assert closed.args[0] == b""
            return
        assert reply.status in (400, 501), reply
        assert connection.is_closed()


def test_an_unknown_version_is_refused(server, signer):
    with wire(server) as connection:
        assert connection.send(b"GET / HTTP/3.7\r\nHost: a\r\n\r\n").reply().status == 505
        assert connection.is_closed()


@pytest.mark.parametrize(
    "shape",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100_000,
        b"GET /" + b"a" * 1_000_000,
    ],
    ids=["value", "count", "target"],
)
def test_a_huge_head_is_refused_before_it_is_all_there(server, signer, shape):
    with wire(server) as connection:
        connection.send(shape)
        try:
            reply = connection.reply()
        except Closed:
            return
        assert reply.status in (400, 414, 431)
        assert connection.is_closed()


@pytest.mark.parametrize("size", [b"zz", b"-1", b"0x5", b"5 ", b"", b"ffffffffffffffffff", b"5\n"])
def test_a_broken_chunk_size_ends_the_request(server, signer, size):
    sign = signer()
    key = f"/{BUCKET}/chunked"
    headers = sign.headers("PUT", key, payload="UNSIGNED-PAYLOAD") | {"transfer-encoding": "chunked"}
    headers |= {"x-amz-decoded-content-length": "5"}
    with wire(server) as connection:
        connection.send(head("PUT", key, headers) + size + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED)
        try:
            assert 400 <= connection.reply().status < 500
        except Closed:
            pass
        else:
            assert connection.is_closed()
    assert absent(server, sign, "chunked")


def test_a_slow_head_and_a_silent_connection_are_closed(server, signer):
    connections = [wire(server).send(start) for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")]
    for connection in connections:
        # The wait has the appliance's own deadline; the socket's is many times longer.
        try:
            assert connection.reply().status in (400, 408)
        except Closed as closed:
            assert closed.args[0] == b""
        else:
            assert connection.is_closed()
        connection.close()


def test_pipelined_requests_are_answered_in_order(server, signer):
    sign = signer()
    for number in range(3):
        assert call(server, sign, "PUT", f"/{BUCKET}/pipe{number}", b"%d" % number).status == 200
    requests = b"".join(
        head("GET", f"/{BUCKET}/pipe{number}", sign.headers("GET", f"/{BUCKET}/pipe{number}")) for number in range(3)
    )
    with wire(server) as connection:
        connection.send(requests)
        assert [connection.reply().body for _ in range(3)] == [b"0", b"1", b"2"]


# ---- lengths and bodies ----


def test_a_body_that_ends_early_stores_nothing(server, signer):
    sign = signer()
    key = f"/{BUCKET}/short"
    headers = sign.headers("PUT", key, payload=BODY_SHA256) | {"content-length": str(len(BODY))}
    with wire(server) as connection:
        connection.send(head("PUT", key, headers) + BODY[:-5]).end()
        try:
            assert connection.reply().code in ("IncompleteBody", "RequestTimeout")
        except Closed:
            pass
    assert absent(server, sign, "short")


def test_a_decoded_length_that_lies_stores_nothing(server, signer):
    sign = signer()
    for announced in (len(BODY) - 1, len(BODY) + 1):
        extra = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(announced)}
        reply = put_chunked(server, sign, "lying", [BODY], extra)
        assert (reply.status, reply.code) == (400, "IncompleteBody")
    assert absent(server, sign, "lying")


def test_a_body_without_length_is_411(server, signer):
    sign = signer()
    key = f"/{BUCKET}/no-length"
    with wire(server) as connection:
        reply = connection.send(head("PUT", key, sign.headers("PUT", key, payload="UNSIGNED-PAYLOAD"))).reply()
    assert (reply.status, reply.code) == (411, "MissingContentLength")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_a_put_whose_headers_end_the_stream_stores_an_empty_object(server, signer):
    """RFC 9113 section 8.1.1: END_STREAM frames a body without bytes, and no content-length is needed beside it."""
    sign = signer()
    key = f"/{BUCKET}/ended"
    fields = {":method": "PUT", ":scheme": "http", ":authority": sign.host, ":path": key} | sign.headers("PUT", key)
    del fields["host"]
    # RFC 7541 section 6.2.2, a literal without indexing; section 5.1, a length of 127 or more continues.
    block = b""
    for pair in fields.items():
        block += b"\0"
        for text in pair:
            block += (bytes([len(text)]) if len(text) < 127 else bytes([127, len(text) - 127])) + text.encode()
    headers_end_stream = frame(1, 0x05, 1, block)
    with wire(server) as connection:
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + headers_end_stream)
        kind = None
        # SETTINGS and its kind come before the HEADERS of the answer.
        while kind != 1:
            while len(connection.buffer) < 9 or len(connection.buffer) < 9 + int.from_bytes(connection.buffer[:3], "big"):
                assert connection.more(), connection.buffer
            length, kind = int.from_bytes(connection.buffer[:3], "big"), connection.buffer[3]
            payload, connection.buffer = connection.buffer[9 : 9 + length], connection.buffer[9 + length :]
    # RFC 7541 appendix A: 8 is ":status: 200", and section 6.1 writes it so.
    assert payload[0] == 0x88, payload
    stored = call(server, sign, "GET", key)
    assert (stored.status, stored.body) == (200, b"")


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"content-md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}, "BadDigest"),
        ({"content-md5": "bm90IHNpeHRlZW4="}, "InvalidDigest"),
        ({"content-md5": "%%%"}, "InvalidDigest"),
        ({"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()}, "BadDigest"),
        ({"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"other").digest()).decode()}, "BadDigest"),
        ({"x-amz-checksum-crc64nvme": base64.b64encode(bytes(8)).decode()}, "BadDigest"),
        ({"x-amz-checksum-crc32": "short"}, "InvalidRequest"),
    ],
    ids=["md5", "md5-length", "md5-base64", "crc32", "sha256", "crc64nvme", "crc32-length"],
)
def test_a_wrong_checksum_stores_nothing(server, signer, extra, code):
    sign = signer()
    reply = call(server, sign, "PUT", f"/{BUCKET}/wrong-sum", BODY, extra=extra)
    assert (reply.status, reply.code) == (400, code)
    assert absent(server, sign, "wrong-sum")


def test_two_checksums_that_name_different_algorithms_are_refused(server, signer):
    crc = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
    extra = {"x-amz-checksum-crc32": crc, "x-amz-sdk-checksum-algorithm": "SHA256"}
    assert call(server, signer(), "PUT", f"/{BUCKET}/two-sums", BODY, extra=extra).status == 400
    extra = {"x-amz-checksum-crc32": crc, "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(BODY).digest()).decode()}
    assert call(server, signer(), "PUT", f"/{BUCKET}/two-sums", BODY, extra=extra).status == 400


def test_a_body_other_than_the_signed_one_stores_nothing(server, signer):
    sign = signer()
    reply = call(server, sign, "PUT", f"/{BUCKET}/other-body", BODY, payload=hashlib.sha256(b"other").hexdigest())
    assert (reply.status, reply.code) == (400, "XAmzContentSHA256Mismatch")
    assert absent(server, sign, "other-body")


# ---- aws-chunked ----


def put_chunked(server, sign: Signer, key: str, pieces: list[bytes], extra: dict[str, str], mangle=None, trailer=None) -> Reply:
    path = f"/{BUCKET}/{key}"
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    headers = sign.headers("PUT", path, payload=payload, extra=extra)
    body = sign.chunks(pieces, headers["authorization"].rsplit("=", 1)[1], trailer)
    body = mangle(body) if mangle else body
    with wire(server) as connection:
        return connection.send(head("PUT", path, headers | {"content-length": str(len(body))}) + body).reply()


def chunk_headers(length: int) -> dict[str, str]:
    return {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(length)}


def test_signed_chunks_of_any_size_are_put_together(server, signer):
    sign = signer()
    pieces = [b"a", BODY, b"b" * 70_000]
    assert put_chunked(server, sign, "signed-chunks", pieces, chunk_headers(70_001 + len(BODY))).status == 200
    reply = call(server, sign, "GET", f"/{BUCKET}/signed-chunks")
    assert reply.body == b"".join(pieces)
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize(
    ("mangle", "codes"),
    [
        (lambda body: body.replace(BODY, BODY.upper()), {"SignatureDoesNotMatch"}),
        (lambda body: body.replace(b"signature=", b"signature=f", 1)[:-1], {"SignatureDoesNotMatch", "InvalidChunkSizeError"}),
        (lambda body: b"zz" + body[2:], {"InvalidChunkSizeError"}),
        (lambda body: b"fffffffffffffffffff" + body, {"InvalidChunkSizeError"}),
        (lambda body: b"a" * 5_000 + body, {"InvalidChunkSizeError"}),
        (lambda body: body.replace(BODY + b"\r\n", BODY + b"XX"), {"InvalidChunkSizeError", "IncompleteBody"}),
        (lambda body: body[: body.index(b"\r\n0;chunk") + 2], {"IncompleteBody"}),
        (lambda body: body.replace(b";chunk-signature", b";chunk-sgnature"), {"InvalidChunkSizeError", "SignatureDoesNotMatch"}),
    ],
    ids=["data", "signature", "size", "overflow", "endless", "line-end", "no-last", "extension"],
)
def test_broken_signed_chunks_store_nothing(server, signer, mangle, codes):
    sign = signer()
    reply = put_chunked(server, sign, "broken-chunks", [BODY], chunk_headers(len(BODY)), mangle)
    assert reply.code in codes, reply
    assert reply.status in (400, 403)
    assert absent(server, sign, "broken-chunks")


def test_a_signed_trailer_is_checked(server, signer):
    sign = signer()
    right = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
    wrong = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    extra = chunk_headers(len(BODY)) | {"x-amz-trailer": "x-amz-checksum-crc32"}
    name = "x-amz-checksum-crc32"
    assert put_chunked(server, sign, "trailer", [BODY], extra, trailer=(name, right)).status == 200
    reply = put_chunked(server, sign, "trailer-wrong", [BODY], extra, trailer=(name, wrong))
    assert (reply.status, reply.code) == (400, "BadDigest")
    reply = put_chunked(server, sign, "trailer-wrong", [BODY], extra, lambda body: body.replace(right.encode(), wrong.encode()), (name, right))
    assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    assert absent(server, sign, "trailer-wrong")


@pytest.mark.parametrize(
    ("framing", "code"),
    [
        (b"14\r\n" + BODY + b"\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", ""),
        (b"14\r\n" + BODY + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest"),
        (b"14\r\n" + BODY + b"\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n", "MalformedTrailerError"),
        (b"14\r\n" + BODY + b"\r\n0\r\n\r\n", "MalformedTrailerError"),
        (b"14\r\n" + BODY + b"\r\n", "IncompleteBody"),
        (b"15\r\n" + BODY + b"\r\n0\r\n\r\n", "InvalidChunkSizeError IncompleteBody"),
    ],
    ids=["right", "wrong", "not-announced", "missing", "no-last", "size"],
)
def test_unsigned_trailers_are_checked(server, signer, framing, code):
    sign = signer()
    path = f"/{BUCKET}/unsigned-trailer"
    call(server, sign, "DELETE", path)
    right = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big"))
    body = framing.replace(b"%s", right)
    extra = chunk_headers(len(BODY)) | {"x-amz-trailer": "x-amz-checksum-crc32"}
    headers = sign.headers("PUT", path, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", extra=extra)
    with wire(server) as connection:
        reply = connection.send(head("PUT", path, headers | {"content-length": str(len(body))}) + body).reply()
    if code:
        assert reply.status == 400 and reply.code in code.split(), reply
        assert absent(server, sign, "unsigned-trailer")
    else:
        assert reply.status == 200, reply
        assert call(server, sign, "GET", path).body == BODY


# ---- signatures ----


def test_wrong_signatures_name_what_was_signed(server, signer):
    reply = call(server, signer(secret="x" * 40), "GET", f"/{BUCKET}")
    assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    assert reply.element("StringToSign").startswith("AWS4-HMAC-SHA256\n")
    assert reply.element("CanonicalRequest").startswith("GET\n")
    assert reply.element("RequestId") == reply.headers["x-amz-request-id"]


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"key": "AKIDUNKNOWN"}, 403, "InvalidAccessKeyId"),
        ({"date": stamp(-20 * 60)}, 403, "RequestTimeTooSkewed"),
        ({"date": stamp(3_600)}, 403, "RequestTimeTooSkewed"),
        ({"region": "eu-west-1"}, 400, "AuthorizationHeaderMalformed"),
    ],
    ids=["key", "past", "future", "region"],
)
def test_signatures_of_another_key_time_or_region_are_refused(server, signer, options, status, code):
    reply = call(server, signer(**options), "GET", f"/{BUCKET}")
    assert (reply.status, reply.code) == (status, code)


def test_the_right_region_is_named(server, signer):
    assert call(server, signer(region="eu-west-1"), "GET", f"/{BUCKET}").element("Region") == "us-east-1"


def test_an_unsigned_amz_header_is_refused(server, signer):
    headers = signer().headers("PUT", f"/{BUCKET}/k") | {"x-amz-meta-added": "later", "content-length": "0"}
    with wire(server) as connection:
        reply = connection.send(head("PUT", f"/{BUCKET}/k", headers)).reply()
    assert (reply.status, reply.code) == (403, "AccessDenied")


def test_a_request_without_its_payload_hash_is_refused(server, signer):
    headers = signer().headers("GET", f"/{BUCKET}")
    del headers["x-amz-content-sha256"]
    with wire(server) as connection:
        reply = connection.send(head("GET", f"/{BUCKET}", headers)).reply()
    assert (reply.status, reply.code) == (400, "MissingSecurityHeader")


def test_a_captured_signature_does_not_open_another_method_or_key(server, signer):
    headers = signer().headers("GET", f"/{BUCKET}/one")
    for method, path in (("DELETE", f"/{BUCKET}/one"), ("GET", f"/{BUCKET}/two"), ("GET", f"/{BUCKET}/one?acl")):
        with wire(server) as connection:
            reply = connection.send(head(method, path, headers)).reply()
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")


@pytest.fixture(scope="module")
def shared(server, signer):
    assert call(server, signer(), "PUT", f"/{BUCKET}/shared", BODY).status == 200
    return f"/{BUCKET}/shared"


def get(server, target: str, method: str = "GET", extra: dict[str, str] | None = None) -> Reply:
    with wire(server) as connection:
        return connection.send(head(method, target, {"host": f"{server.host}:{server.port}"} | (extra or {}))).reply(method)


def test_a_presigned_url_serves_until_it_expires(server, signer, shared):
    assert get(server, signer().presign("GET", shared)).body == BODY
    # Signed in the past, so that nobody has to wait.
    assert get(server, signer(date=stamp(-30)).presign("GET", shared, "3600")).status == 200
    reply = get(server, signer(date=stamp(-61)).presign("GET", shared, "60"))
    assert (reply.status, reply.code, reply.element("Message")) == (403, "AccessDenied", "Request has expired")
    reply = get(server, signer(date=stamp(3_600)).presign("GET", shared, "60"))
    assert reply.status == 403


def test_a_preflight_is_not_authenticated(server, signer, shared):
    target = signer().presign("GET", shared)
    assert (get(server, target, "OPTIONS").status, get(server, shared, "OPTIONS").status) == (400, 400)
    asked = {"origin": "http://somewhere.example", "access-control-request-method": "GET"}
    reply = get(server, target, "OPTIONS", asked)
    assert (reply.status, reply.code) == (403, "AccessForbidden")
    assert "access-control-allow-origin" not in reply.headers
    # What is not a preflight stays behind the signature.
    assert get(server, target, "DELETE").code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("expires", ["604801", "-1", "x", ""])
def test_a_presigned_url_with_a_bad_lifetime_is_malformed(server, signer, shared, expires):
    reply = get(server, signer().presign("GET", shared, expires))
    assert (reply.status, reply.code) == (400, "AuthorizationQueryParametersError")


def test_tampered_presigned_urls_are_refused(server, signer, shared):
    url = signer().presign("GET", shared)
    tampered = [
        url.replace("shared", "other"),
        url.replace("Expires=60", "Expires=61"),
        url + "&versionId=null",
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url[:-10],
    ]
    for target in tampered:
        reply = get(server, target)
        assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch"), target
    assert get(server, url, "DELETE").code == "SignatureDoesNotMatch"
    assert get(server, url.replace("&X-Amz-Date=", "&X-Amz-Dat=")).code == "AuthorizationQueryParametersError"


def test_header_and_query_authentication_together_are_refused(server, signer, shared):
    reply = get(server, signer().presign("GET", shared), extra={"authorization": "AWS4-HMAC-SHA256 Credential=x"})
    assert (reply.status, reply.code) == (400, "InvalidArgument")


# ---- XML ----


def delete_objects(server, sign: Signer, document: bytes) -> Reply:
    extra = {"content-md5": base64.b64encode(hashlib.md5(document).digest()).decode()}
    return call(server, sign, "POST", f"/{BUCKET}", document, query="delete=", extra=extra)


HOSTILE_XML = {
    "entity": b'<!DOCTYPE d [<!ENTITY a "key">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    "external": b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    "laughs": b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>',
    "undefined": b"<Delete><Object><Key>&nobody;</Key></Object></Delete>",
    "deep": b"<Delete>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Delete>",
    "unclosed": b"<Delete><Object><Key>k</Key></Object>",
    "crossed": b"<Delete><Object><Key>k</Object></Key></Delete>",
    "trailing": b"<Delete><Object><Key>k</Key></Object></Delete><Delete/>",
    "not_xml": b"\x00\xff\xfe<Delete>",
    "not_utf8": b"<Delete><Object><Key>\xff\xfe</Key></Object></Delete>",
    "no_key": b"<Delete><Object/></Delete>",
    "none": b"<Delete></Delete>",
    "too_many": b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1_001 + b"</Delete>",
}


@pytest.mark.parametrize("shape", HOSTILE_XML)
def test_hostile_xml_is_malformed_xml(server, signer, shape):
    reply = delete_objects(server, signer(), HOSTILE_XML[shape])
    assert (reply.status, reply.code) == (400, "MalformedXML")


def test_a_document_over_its_limit_is_refused(server, signer):
    reply = delete_objects(server, signer(), b"<Delete>" + b" " * (3 << 20) + b"</Delete>")
    assert reply.status == 400 and reply.code in ("MaxMessageLengthExceeded", "MalformedXML")


def test_an_empty_document_is_named(server, signer):
    assert delete_objects(server, signer(), b"").code in ("MissingRequestBodyError", "MalformedXML")


# ---- names ----


def test_a_key_of_1024_bytes_is_stored_and_one_of_1025_refused(server, signer):
    sign = signer()
    assert call(server, sign, "PUT", f"/{BUCKET}/" + "k" * 1_024, BODY).status == 200
    assert call(server, sign, "GET", f"/{BUCKET}/" + "k" * 1_024).body == BODY
    for method, body in (("PUT", BODY), ("GET", b"")):
        reply = call(server, sign, method, f"/{BUCKET}/" + "k" * 1_025, body)
        assert (reply.status, reply.code) == (400, "KeyTooLongError")
        assert (reply.element("Size"), reply.element("MaxSizeAllowed")) == ("1025", "1024")


@pytest.mark.parametrize("name", ["a%00b", "a%ffb", "a%zzb", "a%"])
def test_names_that_are_no_text_are_refused(server, signer, name):
    reply = call(server, signer(), "PUT", f"/{BUCKET}/{name}", BODY)
    assert reply.status in (400, 403), reply
    assert reply.code in ("InvalidURI", "SignatureDoesNotMatch")


@pytest.mark.parametrize("name", ["x/../y", "..", "./a", "a//b", "%2e%2e/%2e%2e/credentials", "a%2Fb", "%01%1f", "a+b"])
def test_names_are_never_normalised(server, signer, name):
    sign = signer()
    # The canonical path is the sent path with each byte encoded once; these are sent encoded already.
    path = f"/{BUCKET}/{name}".replace("%2e", ".").replace("%2F", "/").replace("+", "%2B")
    body = name.encode()
    assert call(server, sign, "PUT", path, body).status == 200
    assert call(server, sign, "GET", path).body == body
    assert call(server, sign, "DELETE", path).status == 204


@pytest.mark.parametrize("query", ["xyz=", "torrent=", "inventory=", "metadataTable="])
def test_an_unknown_sub_resource_is_never_the_plain_operation(server, signer, query):
    sign = signer()
    assert call(server, sign, "PUT", "/raw-other").status == 200
    assert call(server, sign, "DELETE", "/raw-other", query=query).status >= 400
    assert call(server, sign, "HEAD", "/raw-other").status == 200
    assert call(server, sign, "PUT", f"/{BUCKET}/sub-resource", BODY, query=query).status >= 400
    assert absent(server, sign, "sub-resource")


# ---- Expect: 100-continue ----


def expecting(server, sign: Signer, path: str) -> tuple[Wire, Reply]:
    headers = sign.headers("PUT", path, payload=BODY_SHA256)
    headers |= {"content-length": str(len(BODY)), "expect": "100-continue"}
    connection = wire(server)
    return connection, connection.send(head("PUT", path, headers)).reply()


def test_100_continue_comes_when_the_body_is_wanted(server, signer):
    connection, reply = expecting(server, signer(), f"/{BUCKET}/expected")
    with connection:
        assert reply.status == 100
        assert connection.send(BODY).reply().status == 200


@pytest.mark.parametrize(
    ("options", "path", "code"),
    [
        ({"secret": "x" * 40}, f"/{BUCKET}/k", "SignatureDoesNotMatch"),
        ({"key": "AKIDUNKNOWN"}, f"/{BUCKET}/k", "InvalidAccessKeyId"),
        ({}, "/raw-no-such-bucket/k", "NoSuchBucket"),
        ({}, f"/{BUCKET}/" + "k" * 1_025, "KeyTooLongError"),
    ],
    ids=["signature", "key", "bucket", "name"],
)
def test_a_refusal_comes_instead_of_100_and_the_connection_stays_usable(server, signer, options, path, code):
    connection, reply = expecting(server, signer(**options), path)
    with connection:
        assert reply.code == code
        if reply.headers.get("connection", "").lower() == "close":
            assert connection.is_closed()
        else:
            again = signer().headers("GET", f"/{BUCKET}")
            assert connection.send(head("GET", f"/{BUCKET}", again)).reply().status == 200


def test_a_precondition_that_fails_comes_instead_of_100(server, signer):
    sign = signer()
    path = f"/{BUCKET}/conditional"
    assert call(server, sign, "PUT", path, BODY).status == 200
    headers = sign.headers("PUT", path, payload=BODY_SHA256, extra={"if-none-match": "*"})
    headers |= {"content-length": str(len(BODY)), "expect": "100-continue"}
    with wire(server) as connection:
        reply = connection.send(head("PUT", path, headers)).reply()
    assert (reply.status, reply.code) == (412, "PreconditionFailed")


# ---- replies ----


def test_head_has_no_body_and_every_reply_a_request_id(server, signer):
    sign = signer()
    path = f"/{BUCKET}/nothing-here"
    with wire(server) as connection:
        connection.send(head("HEAD", path, sign.headers("HEAD", path)))
        reply = connection.reply("HEAD")
        assert reply.status == 404 and reply.headers["x-amz-request-id"]
        # Had a body been sent, it would stand before this reply.
        connection.send(head("GET", path, sign.headers("GET", path)))
        reply = connection.reply()
        assert (reply.status, reply.code) == (404, "NoSuchKey")
        assert reply.element("RequestId") == reply.headers["x-amz-request-id"]


def test_ranges_are_exact(server, signer):
    sign = signer()
    path = f"/{BUCKET}/ranged"
    assert call(server, sign, "PUT", path, BODY).status == 200
    for value, status, body in [
        ("bytes=0-3", 206, BODY[:4]),
        ("bytes=5-", 206, BODY[5:]),
        ("bytes=-3", 206, BODY[-3:]),
        ("bytes=5-999", 206, BODY[5:]),
        ("bytes=-999", 206, BODY),
        ("bytes=3-1", 200, BODY),
        ("bytes=0-1,3-4", 200, BODY),
        ("items=0-1", 200, BODY),
    ]:
        reply = call(server, sign, "GET", path, extra={"range": value})
        assert (reply.status, reply.body) == (status, body), value
    reply = call(server, sign, "GET", path, extra={"range": "bytes=20-"})
    assert (reply.status, reply.code, reply.headers["content-range"]) == (416, "InvalidRange", "bytes */20")
    assert (reply.element("ActualObjectSize"), reply.element("RangeRequested")) == ("20", "bytes=20-")


def test_no_reply_and_no_log_line_holds_the_secret(server, signer):
    _, secret = server.credentials()
    assert secret not in "".join(server.log)
