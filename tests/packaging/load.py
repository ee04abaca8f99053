"""Clients on kept connections that never try again: what a restart of the service costs them is counted, and must be nothing.
And clients that knock on, whatever they hear.

Runs inside the container of container.py, where there is nothing but the standard library.
"""

import datetime
import hashlib
import hmac
import socket
import threading
import time

HOST, PORT = "127.0.0.1", 8080
# Generous: a stalled machine is no finding.
REPLY_SECONDS_MAX = 300
BUCKET = "load"
ALIVE = f"GET /-/live HTTP/1.1\r\nhost: {HOST}:{PORT}\r\n\r\n".encode()
BODY = hashlib.sha256(b"body").hexdigest().encode() * 16


def signed(key: str, secret: str, method: str, path: str, body: bytes) -> bytes:
    """A whole HTTP/1.1 request under Signature Version 4."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": f"{HOST}:{PORT}", "x-amz-content-sha256": digest, "x-amz-date": now}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    names = ";".join(headers)
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing = f"AWS4{secret}".encode()
    for part in (now[:8], "us-east-1", "s3", "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.new(signing, text.encode(), "sha256").hexdigest()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    credential = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return f"{method} {path} HTTP/1.1\r\n{lines}authorization: {credential}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One kept connection. A reply that announces the end of it is the only good reason for another."""

    def __init__(self, address: tuple[str, int] = (HOST, PORT)) -> None:
        self.address = address
        self.socket: socket.socket | None = None
        self.opened = 0

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body. Errors: anything but a whole reply."""
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=REPLY_SECONDS_MAX)
            self.opened += 1
        try:
            self.socket.sendall(request)
            head, separator, body = self.read_head()
            if not separator:
                raise ConnectionError(f"closed after {len(head)} bytes of a reply")
            status = int(head.split(b" ", 2)[1])
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            left = int(fields.get(b"content-length", b"0")) - len(body)
            while left > 0:
                piece = self.socket.recv(65536)
                if not piece:
                    raise ConnectionError(f"closed {left} bytes before the end of a reply")
                body += piece
                left -= len(piece)
        except Exception:
            self.close()
            raise
        if fields.get(b"connection") == b"close":
            self.close()
        return status, body

    def read_head(self) -> tuple[bytes, bytes, bytes]:
        found = b""
        while b"\r\n\r\n" not in found:
            piece = self.socket.recv(65536)
            if not piece:
                break
            found += piece
        return found.partition(b"\r\n\r\n")

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Load:
    """Several clients at once: puts, gets of what they put, and plain questions whether the appliance is alive."""

    def __init__(self, key: str, secret: str, client_count: int = 6):
        self.key, self.secret = key, secret
        self.replies = [0] * client_count
        self.opened = [0] * client_count
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(index,)) for index in range(client_count)]

    def start(self) -> "Load":
        status, body = Connection().exchange(signed(self.key, self.secret, "PUT", f"/{BUCKET}", b""))
        assert status in (200, 409), (status, body)
        for thread in self.threads:
            thread.start()
        return self

    def run(self, index: int) -> None:
        connection = Connection()
        path = f"/{BUCKET}/client-{index}"
        number = 0
        while not self.stopping.is_set():
            number += 1
            expected, sent = 200, b""
            if number % 3 == 1:
                sent = f"{index} {number} ".encode() + BODY
                request = signed(self.key, self.secret, "PUT", path, sent)
                last = sent
            elif number % 3 == 2:
                request = signed(self.key, self.secret, "GET", path, b"")
            else:
                request = ALIVE
            try:
                status, body = connection.exchange(request)
                if status != expected:
                    self.failures.append(f"request {number} of client {index}: {status} {body[:200]!r}")
                elif number % 3 == 2 and body != last:
                    self.failures.append(f"request {number} of client {index}: other bytes than were put")
            except (OSError, ValueError, IndexError) as error:
                self.failures.append(f"request {number} of client {index}: {error!r}")
            self.replies[index] += 1
            self.opened[index] = connection.opened
        connection.close()

    def await_replies(self, each: int) -> None:
        """Returns once every client has so many more answers. Fails when none of those that still want some gets one in time."""
        goals = [count + each for count in self.replies]
        seen, deadline = -1, 0.0
        while missing := sum(max(goal - count, 0) for count, goal in zip(self.replies, goals)):
            if missing != seen:
                seen, deadline = missing, time.monotonic() + REPLY_SECONDS_MAX
            assert time.monotonic() < deadline, f"no answers: {self.replies} of {goals}"
            time.sleep(0.02)

    def stop(self) -> str:
        """In words how many requests went well. Errors: one did not."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, f"{len(self.failures)} of {sum(self.replies)} failed, the first: {self.failures[:5]}"
        return f"{sum(self.replies)} requests on {sum(self.opened)} connections, none failed"


class Knocking:
    """Several clients that ask again and again whether the appliance is alive, each time on a new connection."""

    def __init__(self, client_count: int = 4):
        self.answers = [0] * client_count
        self.failures = [0] * client_count
        self.stopping = threading.Event()
        # One may still wait for its answer when a fact has failed.
        self.threads = [threading.Thread(target=self.run, args=(index,), daemon=True) for index in range(client_count)]

    def __enter__(self) -> "Knocking":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()

    def run(self, index: int) -> None:
        # A pause, or a machine of one core would do nothing else.
        while not self.stopping.wait(0.01):
            connection = Connection()
            try:
                connection.exchange(ALIVE)
                self.answers[index] += 1
            except (OSError, ValueError, IndexError):
                self.failures[index] += 1
            connection.close()
