"""Clients that keep their connections and never try again: what a restart costs them is counted.

A request has failed when its connection cannot be made, or is closed before the first byte of the answer, or when the answer is
not the one that was due. Only where an answer has said that its connection ends a new one is made.
"""

import socket
import threading

import boto3
from botocore.config import Config

PATIENCE = 300.0


class Load:
    """Threads that put and get objects of their own, each over one connection."""

    def __init__(self, url: str, access_key: str, secret_key: str, threads: int = 8):
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, region_name="us-east-1")
        self.client = boto3.client("s3", endpoint_url=url, aws_access_key_id=access_key, aws_secret_access_key=secret_key, config=config)
        host, port = url.split("//", 1)[1].split(":")
        self.address = (host, int(port))
        self.client.create_bucket(Bucket="load")
        # An idle connection would be waited for in a drain; what is presigned needs none.
        self.client.close()
        self.stopping = threading.Event()
        self.answered = [0] * threads
        self.reconnected = [0] * threads
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self._run, args=(index,)) for index in range(threads)]

    def _presign(self, operation: str, key: str) -> bytes:
        url = self.client.generate_presigned_url(operation, Params={"Bucket": "load", "Key": key}, ExpiresIn=3600)
        return url.split("//", 1)[1].partition("/")[2].encode()

    def _run(self, index: int) -> None:
        key = f"of-{index}"
        put, get = self._presign("put_object", key), self._presign("get_object", key)
        connection, turn = None, 0
        while not self.stopping.is_set():
            turn += 1
            body = f"{key} {turn}".encode()
            head = b"PUT /%s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %d\r\n\r\n" % (put, self.address[0].encode(), self.address[1], len(body))
            for request, due in [(head + body, b""), (b"GET /%s HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (get, self.address[0].encode(), self.address[1]), body)]:
                try:
                    if connection is None:
                        connection = socket.create_connection(self.address, timeout=PATIENCE)
                    connection.sendall(request)
                    status, found, keeps = answer(connection)
                    if status != 200 or found != due:
                        raise ValueError(f"answered {status} {found[:300]!r}, due were {due!r}")
                except (OSError, ValueError) as error:
                    self.failures.append(f"{key}, turn {turn}, {request[:3].decode()}: {type(error).__name__} {error}")
                    connection = None
                    continue
                self.answered[index] += 1
                if not keeps:
                    connection.close()
                    connection = None
                    self.reconnected[index] += 1
        if connection is not None:
            connection.close()

    def total(self) -> int:
        return sum(self.answered)

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def answer(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection stays."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {len(text)} bytes of the answer")
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    length = int(fields.get(b"content-length", b"0"))
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {len(body)} of {length} bytes of a body")
        body += piece
    return int(lines[0].split()[1]), body, fields.get(b"connection", b"").lower() != b"close"
