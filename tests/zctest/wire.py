"""Requests byte by byte: what no client library would send, signed or not."""

import datetime
import hashlib
import hmac
import html
import socket
import urllib.parse
from dataclasses import dataclass, field

REGION = "us-east-1"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's code, or the empty string."""
        return self.element("Code")

    def element(self, name: str) -> str:
        """The text of the first element of this name."""
        text = self.body.decode("utf-8", "replace")
        return html.unescape(text.split(f"<{name}>", 1)[1].split(f"</{name}>", 1)[0]) if f"<{name}>" in text else ""


class Closed(Exception):
    """The peer closed where a reply was due."""


class Wire:
    """One TCP connection. Reads exactly what the peer sends, informational replies included."""

    def __init__(self, host: str, port: int, timeout: float = 180.0):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.buffer = b""

    def send(self, data: bytes) -> "Wire":
        # A peer that has refused already may reset the connection; its reply is still to be read.
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def end(self) -> "Wire":
        """No more bytes from us."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            # The peer has reset the connection; its reply is still to be read.
            pass
        return self

    def more(self) -> bool:
        try:
            piece = self.socket.recv(65_536)
        except ConnectionResetError:
            return False
        self.buffer += piece
        return piece != b""

    def reply(self, method: str = "GET") -> Reply:
        """The next reply. Raises Closed when the peer closes before its head is whole."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise Closed(self.buffer)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:]}
        if status < 200 or status in (204, 304) or method == "HEAD":
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, self._chunked())
        if "content-length" in headers:
            return Reply(status, headers, self._take(int(headers["content-length"])))
        while self.more():
            pass
        body, self.buffer = self.buffer, b""
        return Reply(status, headers, body)

    def _take(self, length: int) -> bytes:
        while len(self.buffer) < length:
            if not self.more():
                raise Closed(self.buffer)
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def _chunked(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                if not self.more():
                    raise Closed(self.buffer)
            size, self.buffer = self.buffer.split(b"\r\n", 1)
            piece = self._take(int(size.split(b";")[0], 16) + 2)[:-2]
            if not piece:
                return body
            body += piece

    def is_closed(self) -> bool:
        """Waits until the peer closes. False when it sends anything more instead."""
        return not self.buffer and not self.more()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stamp(offset_seconds: int = 0) -> str:
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset_seconds)
    return now.strftime("%Y%m%dT%H%M%SZ")


@dataclass
class Signer:
    """SigV4 with every knob that a test may want to turn the wrong way."""

    host: str
    key: str
    secret: str
    region: str = REGION
    date: str = field(default_factory=stamp)

    @property
    def scope(self) -> str:
        return f"{self.date[:8]}/{self.region}/s3/aws4_request"

    def signature(self, text: str) -> str:
        secret = f"AWS4{self.secret}".encode()
        for part in (self.date[:8], self.region, "s3", "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        return hmac.new(secret, text.encode(), "sha256").hexdigest()

    def text(self, canonical: str) -> str:
        return f"AWS4-HMAC-SHA256\n{self.date}\n{self.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"

    def headers(
        self, method: str, path: str, query: str = "", payload: str = EMPTY_SHA256, extra: dict[str, str] | None = None
    ) -> dict[str, str]:
        """Signed headers for an encoded path and a sorted, encoded query. `payload` is what x-amz-content-sha256 says."""
        headers = {"host": self.host, "x-amz-date": self.date, "x-amz-content-sha256": payload}
        headers |= {name.lower(): value for name, value in (extra or {}).items()}
        names = sorted(headers)
        listed = ";".join(names)
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        signature = self.signature(self.text(f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{payload}"))
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{self.scope},SignedHeaders={listed},Signature={signature}"
        )
        return headers

    def presign(self, method: str, path: str, expires: str = "600", extra: dict[str, str] | None = None) -> str:
        """A presigned path with query."""
        fields = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.key}/{self.scope}",
            "X-Amz-Date": self.date,
            "X-Amz-Expires": expires,
            "X-Amz-SignedHeaders": "host",
        } | (extra or {})
        query = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted(fields.items()))
        canonical = f"{method}\n{path}\n{query}\nhost:{self.host}\n\nhost\nUNSIGNED-PAYLOAD"
        return f"{path}?{query}&X-Amz-Signature={self.signature(self.text(canonical))}"

    def chunks(self, pieces: list[bytes], seed: str, trailer: tuple[str, str] | None = None) -> bytes:
        """aws-chunked framing with a signature for each piece; `seed` is the request's signature."""
        out, previous = b"", seed
        for piece in [*pieces, b""]:
            digest = hashlib.sha256(piece).hexdigest()
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.date}\n{self.scope}\n{previous}\n{EMPTY_SHA256}\n{digest}"
            previous = self.signature(text)
            out += f"{len(piece):x};chunk-signature={previous}\r\n".encode()
            out += piece + b"\r\n" if piece else b""
        if trailer is None:
            return out + b"\r\n"
        line = f"{trailer[0]}:{trailer[1]}\n"
        digest = hashlib.sha256(line.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self.date}\n{self.scope}\n{previous}\n{digest}"
        return out + f"{trailer[0]}:{trailer[1]}\r\nx-amz-trailer-signature:{self.signature(text)}\r\n\r\n".encode()


def head(method: str, target: str, headers: dict[str, str] | list[tuple[str, str]]) -> bytes:
    """A request head."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    return (f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in pairs) + "\r\n").encode("latin-1")
