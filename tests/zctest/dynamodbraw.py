"""A small signed DynamoDB client over one keep-alive connection, fast enough to load the appliance from many threads."""

import datetime
import hashlib
import hmac
import http.client
import json

SIGNED = "content-type;host;x-amz-date;x-amz-target"
CONTENT_TYPE = "application/x-amz-json-1.0"


class Client:
    """Signs with SigV4 and sends over one connection. Not for use by two threads at once."""

    def __init__(self, host: str, port: int, key: str, secret: str, timeout: float = 120.0, region: str = "us-east-1"):
        self.host, self.port, self.key, self.secret, self.timeout, self.region = host, port, key, secret, timeout, region
        self.connection: http.client.HTTPConnection | None = None
        self.signing: tuple[str, bytes] | None = None

    def call(self, operation: str, request: dict) -> tuple[int, dict]:
        """Status and answer of one operation; nothing is sent twice."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        body = json.dumps(request).encode()
        try:
            self.connection.request("POST", "/", body=body, headers=self.sign(f"DynamoDB_20120810.{operation}", body))
            reply = self.connection.getresponse()
            data = reply.read()
        except Exception:
            self.close()
            raise
        return reply.status, json.loads(data) if data else {}

    def good(self, operation: str, request: dict) -> dict:
        """The answer of an operation that must succeed."""
        status, answer = self.call(operation, request)
        assert status == 200, (operation, status, answer)
        return answer

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def sign(self, target: str, body: bytes) -> dict[str, str]:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        day, host = now[:8], f"{self.host}:{self.port}"
        lines = f"content-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:{now}\nx-amz-target:{target}\n"
        canonical = f"POST\n/\n\n{lines}\n{SIGNED}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{day}/{self.region}/dynamodb/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if self.signing is None or self.signing[0] != day:
            secret = f"AWS4{self.secret}".encode()
            for part in (day, self.region, "dynamodb", "aws4_request"):
                secret = hmac.digest(secret, part.encode(), "sha256")
            self.signing = (day, secret)
        signature = hmac.new(self.signing[1], text.encode(), "sha256").hexdigest()
        credential = f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={SIGNED}, Signature={signature}"
        return {"host": host, "content-type": CONTENT_TYPE, "x-amz-date": now, "x-amz-target": target, "authorization": credential}
