"""The cache's native API over bare HTTP: order of checks, 100-continue, bodies that nobody needs, codings, ranges, and what
hostile clients send."""

import gzip
import hashlib
import json
import socket
import subprocess
import threading
import zlib

import pytest

from zctest.cache import READ_TOKEN, WRITE_TOKEN, WRONG_TOKEN, CacheServer, flip_on_disk, noise
from zctest.server import binary

OBJECTS = "/api/v1/objects/"
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def server(settings):
    # Raw sockets speak plain HTTP, whatever the mode says.
    is_plain = not settings["environment"]
    with CacheServer(**(settings if is_plain else {})) as running:
        yield running


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def error(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """Status and code of an error that has the native shape, with the id of its request."""
    status, headers, body = answer
    assert headers["content-type"] == "application/json", headers
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    one = json.loads(body)["error"]
    assert set(one) >= {"code", "message", "request_id"} and one["request_id"] == headers["x-request-id"]
    return status, one["code"]


class Raw:
    """One connection, byte for byte."""

    def __init__(self, server: CacheServer):
        self.socket = socket.create_connection((server.host, server.port), timeout=180)
        self.held = b""

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"", token: str = WRITE_TOKEN) -> None:
        lines = {"Host": "cache", "Authorization": f"Bearer {token}"} | headers
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        # A peer that has answered already may reset the connection; its answer is still to be read.
        try:
            self.socket.sendall(head.encode() + b"\r\n" + body)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self.held:
            data = self.socket.recv(65536)
            assert data, f"the connection ended behind {self.held!r}"
            self.held += data
        head, self.held = self.held.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = self.head()
        length = int(headers.get("content-length", "0"))
        while len(self.held) < length:
            data = self.socket.recv(65536)
            assert data, "the connection ended in a body"
            self.held += data
        body, self.held = self.held[:length], self.held[length:]
        return status, headers, body

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def test_an_object_is_stored_and_comes_back(server):
    for length in (0, 1, 4096, 100_000, 3_000_000):
        data = noise(length, length)
        path = OBJECTS + digest(data)
        assert error(server.ask("GET", path, READ_TOKEN)) == (404, "NotFound")
        status, headers, body = server.ask("PUT", path, body=data, headers={"Content-Length": str(length)})
        said = json.loads(body)
        assert (status, said["hash"], said["size"], said["new"]) == (201, digest(data), length, True) and said["stored"] >= length
        status, headers, body = server.ask("GET", path, READ_TOKEN)
        assert status == 200 and body == data
        assert headers["etag"] == f'"{digest(data)}"' and headers["x-digest-sizebytes"] == str(length)
        assert headers["cache-control"].endswith("max-age=31536000, immutable") and headers["x-content-type-options"] == "nosniff"
        status, of_head, body = server.ask("HEAD", path, READ_TOKEN)
        volatile = {"date", "x-request-id"}
        assert (status, body) == (200, b"") and {k: v for k, v in of_head.items() if k not in volatile} == {k: v for k, v in headers.items() if k not in volatile}


def test_checks_come_in_their_order(server):
    data = noise(1, 1000)
    path = OBJECTS + digest(data)
    wrong = OBJECTS + "no-digest"
    answers = [
        (server.ask("PUT", wrong, None, data), (401, "MissingToken")),
        (server.ask("PUT", wrong, WRONG_TOKEN, data), (401, "InvalidToken")),
        (server.ask("PUT", wrong, READ_TOKEN, data), (403, "Forbidden")),
        (server.ask("PUT", wrong, WRITE_TOKEN, data), (400, "InvalidDigest")),
        (server.ask("PUT", path, WRITE_TOKEN, data, {"Content-Encoding": "br"}), (415, "UnsupportedContentEncoding")),
        (server.ask("PUT", path, WRITE_TOKEN, data[:-1]), (400, "BadDigest")),
        (server.ask("DELETE", path, WRITE_TOKEN), (405, "MethodNotAllowed")),
        (server.ask("GET", "/api/v1/objects", READ_TOKEN), (404, "NoSuchRoute")),
        (server.ask("GET", path + "?ns=UPPER", READ_TOKEN), (400, "InvalidNamespace")),
        (server.ask("GET", path, READ_TOKEN), (404, "NotFound")),
    ]
    for answer, expected in answers:
        assert error(answer) == expected
    status, headers, _ = server.ask("GET", path, None)
    assert status == 401 and headers["www-authenticate"]


@pytest.mark.parametrize("name", ["blake3:" + EMPTY, "1220" + EMPTY, "a-1.0.0-" + "A" * 44, EMPTY.upper(), EMPTY[1:], EMPTY + "0", "%zz", "..%2f.."])
def test_other_names_are_malformed_and_never_absent(server, name):
    for method in ("GET", "PUT"):
        assert error(server.ask(method, OBJECTS + name, body=b"x" if method == "PUT" else b"")) == (400, "InvalidDigest")
    assert server.ask("HEAD", OBJECTS + name)[0] == 400


def test_a_client_that_waits_for_a_word_sends_a_new_body_and_is_spared_an_old_one(server):
    data = noise(2, 400_000)
    headers = {"Expect": "100-continue", "Content-Length": str(len(data))}
    with Raw(server) as raw:
        raw.send("PUT", OBJECTS + digest(data), headers)
        assert raw.head()[0] == 100
        raw.socket.sendall(data)
        assert raw.answer()[0] == 201
    with Raw(server) as raw:
        raw.send("PUT", OBJECTS + digest(data), headers)
        status, _, body = raw.answer()
        assert status == 200 and json.loads(body)["new"] is False
    for token, status in ((READ_TOKEN, 403), (WRONG_TOKEN, 401)):
        with Raw(server) as raw:
            raw.send("PUT", OBJECTS + digest(data), headers, token=token)
            assert raw.answer()[0] == status


def test_a_short_body_that_nobody_needs_is_read_and_the_connection_stays(server):
    data = noise(3, 900_000)
    path = OBJECTS + digest(data)
    assert server.ask("PUT", path, body=data)[0] == 201
    with Raw(server) as raw:
        for _ in range(3):
            raw.send("PUT", path, {"Content-Length": str(len(data))}, data)
            assert raw.answer()[0] == 200
        raw.send("GET", path, {})
        assert raw.answer()[2] == data


def test_a_long_body_that_nobody_needs_is_cut_off(server):
    data = noise(4, 2_000_000)
    path = OBJECTS + digest(data)
    assert server.ask("PUT", path, body=data)[0] == 201
    with Raw(server) as raw:
        raw.send("PUT", path, {"Content-Length": str(1 << 33)}, data[: 1 << 20])
        status, headers, _ = raw.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert raw.is_closed()


def test_an_upload_that_is_cut_leaves_nothing(server):
    data = noise(5, 300_000)
    path = OBJECTS + digest(data)
    with Raw(server) as raw:
        raw.send("PUT", path, {"Content-Length": str(len(data))}, data[:-1])
    assert error(server.ask("GET", path)) == (404, "NotFound")
    assert server.ask("PUT", path, body=data)[0] == 201


def test_uploads_of_one_object_at_once_all_succeed(server):
    data = noise(6, 500_000)
    path = OBJECTS + digest(data)
    found = []

    def upload() -> None:
        with Raw(server) as raw:
            headers = {"Content-Length": str(len(data))}
            raw.send("PUT", path, headers, data[:250_000])
            gate.wait()
            raw.socket.sendall(data[250_000:])
            found.append(raw.answer()[0])

    gate = threading.Barrier(6)
    threads = [threading.Thread(target=upload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and set(found) <= {200, 201} and 201 in found, found
    assert server.ask("GET", path)[2] == data


def test_coded_uploads_are_kept_decoded(server):
    text = noise(7, 50_000) * 20
    path = OBJECTS + digest(text)
    zstd = subprocess.run(["zstd", "-q", "--check"], input=text, capture_output=True, check=True).stdout if has_zstd() else None
    for coding, coded in (("gzip", gzip.compress(text)), ("zstd", zstd)):
        if coded is None:
            continue
        space = f"?ns=coded-{coding}"
        for broken in (coded[:-1], coded + b"x", text):
            assert error(server.ask("PUT", path + space, body=broken, headers={"Content-Encoding": coding}, may_be_cut=True)) == (400, "BadBody")
        status, _, body = server.ask("PUT", path + space, body=coded, headers={"Content-Encoding": coding})
        assert (status, json.loads(body)["size"]) == (201, len(text))
        status, headers, body = server.ask("GET", path + space, headers={"Accept-Encoding": "gzip, zstd"})
        assert status == 200 and body == text and "content-encoding" not in headers


def has_zstd() -> bool:
    try:
        return subprocess.run(["zstd", "--version"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_a_bomb_takes_no_memory(server):
    """512 MiB of zeros out of half a MiB of gzip, under a digest that is another's: refused, and nothing of it was held."""
    member = gzip.compress(bytes(64 << 20), mtime=0)
    before = server.memory_kib()
    answer = server.ask("PUT", OBJECTS + digest(b"of no bomb"), body=member * 8, headers={"Content-Encoding": "gzip"})
    assert error(answer) == (400, "BadDigest")
    # Far less than what came out of it.
    assert server.memory_kib() - before < 192 << 10


def test_deflate_with_another_checksum_is_refused(server):
    body = bytearray(gzip.compress(b"data"))
    body[-8:-4] = zlib.crc32(b"other").to_bytes(4, "little")
    assert error(server.ask("PUT", OBJECTS + digest(b"data"), body=bytes(body), headers={"Content-Encoding": "gzip"})) == (400, "BadBody")


def test_ranges_and_conditions(server):
    data = noise(8, 200_000)
    path, tag = OBJECTS + digest(data), f'"{digest(data)}"'
    assert server.ask("PUT", path, body=data, headers={"Content-Type": "text/x-c; charset=utf-8"})[0] == 201
    status, headers, body = server.ask("GET", path, headers={"Range": "bytes=1000-1999"})
    assert (status, body, headers["content-range"]) == (206, data[1000:2000], "bytes 1000-1999/200000")
    assert headers["content-type"] == "text/x-c; charset=utf-8"
    assert server.ask("GET", path, headers={"Range": "bytes=-1"})[2] == data[-1:]
    assert server.ask("GET", path, headers={"Range": "bytes=0-1,5-6"})[::2] == (200, data)
    assert server.ask("GET", path, headers={"Range": "bytes=0-1", "If-Range": '"x"'})[::2] == (200, data)
    assert server.ask("GET", path, headers={"Range": "bytes=0-1", "If-Range": tag})[::2] == (206, data[:2])
    status, headers, body = server.ask("GET", path, headers={"Range": "bytes=200000-"})
    assert error((status, headers, body)) == (416, "RangeNotSatisfiable") and headers["content-range"] == "bytes */200000"
    status, headers, body = server.ask("GET", path, headers={"If-None-Match": f'"x", {tag}'})
    assert (status, body, headers["etag"]) == (304, b"", tag)


def test_what_is_missing_is_told(server):
    there = noise(9, 100)
    assert server.ask("PUT", OBJECTS + digest(there), body=there)[0] == 201
    gone = [digest(noise(seed, 10)) for seed in range(1000, 10_999)]

    def ask(body: bytes, token: str = READ_TOKEN) -> tuple[int, dict[str, str], bytes]:
        return server.ask("POST", OBJECTS + "missing", token, body)

    status, _, body = ask(json.dumps({"hashes": [*gone, "sha256:" + digest(there)]}).encode())
    assert status == 200 and json.loads(body) == {"missing": gone}
    assert error(ask(json.dumps({"hashes": gone + gone[:2]}).encode())) == (400, "TooManyHashes")
    for document in (b"", b"{", b"[]", b'{"hashes":1}', b'{"hashes":[null]}', b"\xff", b"[" * 100_000, b'{"a":' * 50_000):
        assert error(ask(document)) == (400, "MalformedBody")
    assert error(ask(b'{"hashes":["x"]}')) == (400, "InvalidDigest")
    assert error(ask(b"{}", WRONG_TOKEN)) == (401, "InvalidToken")


def test_namespaces_are_apart(server):
    data = noise(10, 5_000)
    path = OBJECTS + digest(data)
    assert server.ask("PUT", path + "?ns=one", body=data)[0] == 201
    assert error(server.ask("GET", path)) == (404, "NotFound")
    assert error(server.ask("GET", path + "?ns=two")) == (404, "NotFound")
    assert server.ask("GET", f"/api/v1/cache/one/native/objects/{digest(data)}")[2] == data
    with Raw(server) as raw:
        # No early word that another namespace has it: the body is wanted.
        raw.send("PUT", path + "?ns=two", {"Expect": "100-continue", "Content-Length": str(len(data))})
        assert raw.head()[0] == 100
        raw.socket.sendall(data)
        assert raw.answer()[0] == 201


def test_damage_on_the_disk_is_an_absence_and_heals(server):
    data = noise(11, 200_000)
    path = OBJECTS + digest(data)
    assert server.ask("PUT", path, body=data)[0] == 201
    assert flip_on_disk(server, data) >= 1
    assert error(server.ask("GET", path)) == (404, "NotFound")
    assert server.ask("HEAD", path)[0] == 404
    assert server.ask("PUT", path, body=data)[0] == 201
    assert server.ask("GET", path)[2] == data


def test_statistics_say_what_came_of_lookups(server):
    data = noise(12, 6_000)
    path = OBJECTS + digest(data) + "?ns=counted"
    assert server.ask("PUT", path, body=data)[0] == 201
    assert [server.ask("GET", path)[0] for _ in range(3)] == [200] * 3
    assert server.ask("GET", OBJECTS + EMPTY + "?ns=counted")[0] == 404
    assert server.ask("HEAD", path)[0] == 200
    for window in ("1h", "24h", "7d", "30d"):
        status, _, body = server.ask("GET", f"/api/v1/stats?ns=counted&window={window}", READ_TOKEN)
        found = json.loads(body)
        assert status == 200 and (found["hits"], found["misses"], found["heads"], found["hit_rate"]) == (3, 1, 1, 0.75), found
        assert (found["objects"], found["bytes_sent"], found["bytes_received"]) == (1, 18_000, 6_000), found
    everything = json.loads(server.ask("GET", "/api/v1/stats", READ_TOKEN)[2])
    assert everything["hits"] >= 3 and everything["stored_bytes"] > 6_000 and "counted" in [one["ns"] for one in everything["namespaces"]]
    assert error(server.ask("GET", "/api/v1/stats?window=1d", READ_TOKEN)) == (400, "InvalidWindow")


def test_collections_and_pins_are_for_administrators(server):
    for method, path in (("POST", "/api/v1/gc"), ("GET", "/api/v1/gc/1"), ("GET", "/api/v1/pins"), ("POST", "/api/v1/pins"), ("DELETE", "/api/v1/pins"), ("GET", "/api/v1/blocked"), ("POST", "/api/v1/blocked"), ("DELETE", "/api/v1/blocked")):
        assert error(server.ask(method, path, None)) == (401, "MissingToken")
        for token in (READ_TOKEN, WRITE_TOKEN):
            assert error(server.ask(method, path, token)) == (403, "Forbidden")


def test_a_blocked_object_is_absent_and_refused_until_it_is_let_in_again(server):
    command = [str(binary()), "token", "create", "--scope", "cache:admin", "--name", "blocks", "--data", str(server.data / "data")]
    admin = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.strip()
    data = noise(13, 100_000)
    path, wish = OBJECTS + digest(data), {"hash": digest(data), "reason": "poisoned"}
    assert server.ask("PUT", path, body=data)[0] == 201
    status, _, body = server.ask("POST", "/api/v1/blocked", admin, json.dumps(wish).encode())
    made = json.loads(body)
    assert (status, made["hash"], made["reason"]) == (201, digest(data), "poisoned")
    for space in ("", "?ns=other"):
        assert error(server.ask("GET", path + space)) == (404, "NotFound")
        assert error(server.ask("PUT", path + space, body=data, may_be_cut=True)) == (409, "Blocked")
    # Known by its name, it is refused before its body is sent.
    with Raw(server) as raw:
        raw.send("PUT", path, {"Expect": "100-continue", "Content-Length": str(len(data))})
        assert raw.answer()[0] == 409
    asked = json.dumps({"hashes": [digest(data)]}).encode()
    assert json.loads(server.ask("POST", OBJECTS + "missing", READ_TOKEN, asked)[2]) == {"missing": [digest(data)]}
    assert made in json.loads(server.ask("GET", "/api/v1/blocked", admin)[2])["blocked"]
    assert server.ask("DELETE", "/api/v1/blocked", admin, json.dumps({"hash": digest(data)}).encode())[0] == 204
    assert error(server.ask("GET", path)) == (404, "NotFound")
    assert server.ask("PUT", path, body=data)[0] == 201
    assert server.ask("GET", path)[2] == data


@pytest.mark.parametrize(
    "target",
    ["/api/v1/objects/" + "a" * 5_000, "/api/v1/cache/a/b/c/d", "/api/v1/cache//native/objects/x", "/api/v1/cache/ci/native", "/api/v1/\x7f", "/api/v1/objects/%00"],
)
def test_odd_paths_get_an_answer_of_400_or_404(server, target):
    with Raw(server) as raw:
        raw.send("GET", target, {})
        assert raw.answer()[0] in (400, 404, 414)
