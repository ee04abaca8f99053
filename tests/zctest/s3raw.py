"""A small signed S3 client over one keep-alive connection, fast enough to load the appliance from many threads."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse


class Client:
    """Signs with SigV4 and sends over one connection. Not for use by two threads at once."""

    def __init__(self, host: str, port: int, key: str, secret: str, timeout: float = 120.0):
        self.host, self.port, self.key, self.secret, self.timeout = host, port, key, secret, timeout
        self.connection: http.client.HTTPConnection | None = None
        self.signing: tuple[str, bytes] | None = None

    def request(
        self, method: str, path: str, body: bytes = b"", query: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body. `path` is not encoded yet; `query` is, and sorted."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        encoded = urllib.parse.quote(path, safe="/-_.~")
        signed = self.sign(method, encoded, query, body, headers or {})
        try:
            try:
                self.connection.request(method, encoded + ("?" + query if query else ""), body=body, headers=signed)
            except (BrokenPipeError, ConnectionResetError):
                # A refusal may come, and the connection close, before the body is all sent: then the reply is there to read.
                pass
            reply = self.connection.getresponse()
            data = reply.read()
        except Exception:
            self.close()
            raise
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, data

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def sign(self, method: str, path: str, query: str, body: bytes, extra: dict[str, str]) -> dict[str, str]:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        day = now[:8]
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": f"{self.host}:{self.port}", "x-amz-date": now, "x-amz-content-sha256": digest}
        headers |= {name.lower(): value for name, value in extra.items()}
        names = sorted(headers)
        listed = ";".join(names)
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{digest}"
        scope = f"{day}/us-east-1/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if self.signing is None or self.signing[0] != day:
            secret = f"AWS4{self.secret}".encode()
            for part in (day, "us-east-1", "s3", "aws4_request"):
                secret = hmac.digest(secret, part.encode(), "sha256")
            self.signing = (day, secret)
        signature = hmac.new(self.signing[1], text.encode(), "sha256").hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope},SignedHeaders={listed},Signature={signature}"
        )
        return headers
