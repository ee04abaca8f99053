"""Small signed clients of queues (JSON protocol) and topics (Query protocol), each over one keep-alive connection."""

import datetime
import hashlib
import hmac
import http.client
import json
import re
import urllib.parse

JSON = "application/x-amz-json-1.0"
FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Signed:
    """Signs with SigV4 and sends over one connection; nothing is sent twice. Not for use by two threads at once."""

    service = "sqs"

    def __init__(self, host: str, port: int, key: str, secret: str, timeout: float = 120.0, region: str = "us-east-1"):
        self.host, self.port, self.key, self.secret, self.timeout, self.region = host, port, key, secret, timeout, region
        self.connection: http.client.HTTPConnection | None = None

    @classmethod
    def of(cls, server, timeout: float = 120.0):
        """A client of a running appliance with its own credentials."""
        key, secret = server.credentials()
        return cls(server.host, server.port, key, secret, timeout)

    def post(self, path: str, body: bytes, headers: dict[str, str], is_signed: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        headers = {"host": f"{self.host}:{self.port}"} | headers
        try:
            self.connection.request("POST", path, body=body, headers=self.sign(path, body, headers) if is_signed else headers)
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

    def sign(self, path: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {name.lower(): value for name, value in headers.items()} | {"x-amz-date": now}
        names = sorted(headers)
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        canonical = f"POST\n{path}\n\n{lines}\n{';'.join(names)}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{now[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in (now[:8], self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        credential = f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        return headers | {"authorization": credential}

    def form(self, parameters: dict[str, str], path: str = "/") -> tuple[int, str]:
        """Status and document of one operation of the Query protocol."""
        body = urllib.parse.urlencode(parameters).encode()
        status, _, data = self.post(path, body, {"content-type": FORM})
        return status, data.decode()


class Queues(Signed):
    """SQS."""

    def call(self, operation: str, request: dict) -> tuple[int, dict]:
        """Status and answer of one operation."""
        status, _, data = self.post("/", json.dumps(request).encode(), {"content-type": JSON, "x-amz-target": f"AmazonSQS.{operation}"})
        return status, json.loads(data) if data else {}

    def good(self, operation: str, request: dict) -> dict:
        """The answer of an operation that must succeed."""
        status, answer = self.call(operation, request)
        assert status == 200, (operation, status, answer)
        return answer


class Topics(Signed):
    """SNS."""

    service = "sns"

    def call(self, action: str, **parameters: str) -> tuple[int, str]:
        """Status and document of one operation; dots in names are written as two underscores."""
        named = {name.replace("__", "."): value for name, value in parameters.items()}
        return self.form({"Action": action, "Version": "2010-03-31"} | named)

    def good(self, action: str, **parameters: str) -> str:
        """The document of an operation that must succeed."""
        status, document = self.call(action, **parameters)
        assert status == 200, (action, status, document)
        return document


def field(document: str, name: str) -> str:
    """The text of an element of which there is one."""
    found = re.search(rf"<{name}>(.*?)</{name}>", document, re.DOTALL)
    assert found, (name, document)
    return found[1]
