"""Build caches under test: an appliance with tokens, the worker that every build calls and that counts its calls, a gate that
counts what clients send, and faults.

A worker stands where a build does its real work: around the compiler, or as a task's command. Its calls are one line each in
`calls`, so that "nothing was built" is an empty file. It can kill the appliance at its n-th call: mid-build, at the same
place in each run.
"""

import http.client
import os
import random
import shlex
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from zctest.server import Server

READ_TOKEN = "zct_read0000_" + "r" * 43
WRITE_TOKEN = "zct_write000_" + "w" * 43
WRONG_TOKEN = "zct_wrong000_" + "x" * 43

# An artifact with so much noise in it lies in an extent of its own, where a byte of it can be flipped.
NOISE_BYTES = 64 * 1024


class CacheServer(Server):
    """An appliance that knows the two tokens above."""

    def __init__(self, **options):
        super().__init__(**options)
        self.serve_environment |= {"ZIM_CACHE_READ_TOKEN": READ_TOKEN, "ZIM_CACHE_WRITE_TOKEN": WRITE_TOKEN}

    def mount(self, dialect: str, namespace: str = "default") -> str:
        """The URL of a dialect."""
        return f"{self.url}/api/v1/cache/{namespace}/{dialect}"

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = WRITE_TOKEN,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        may_be_cut: bool = False,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers in lower case, body. A request that `may_be_cut` is one that
        may be answered, and its connection closed, before its body is all sent."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=180)
        sent = ({"Authorization": f"Bearer {token}"} if token else {}) | (headers or {})
        try:
            try:
                connection.request(method, path, body=body or None, headers=sent)
            except (BrokenPipeError, ConnectionResetError):
                if not may_be_cut:
                    raise
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()


def noise(seed: int, length: int = NOISE_BYTES) -> bytes:
    """Bytes that no compression makes smaller."""
    return random.Random(seed).randbytes(length)


def flip_on_disk(server: Server, data: bytes) -> int:
    """Flips one bit of each place of the appliance's disk where the middle of `data` lies, and says how many there are."""
    needle = data[len(data) // 2 :][:64]
    places = 0
    for path in sorted((server.data / "data").rglob("*")):
        if not path.is_file():
            continue
        try:
            held, start = path.read_bytes(), 0
        except FileNotFoundError:
            # A segment of the log that was retired meanwhile.
            continue
        while (at := held.find(needle, start)) >= 0:
            with path.open("r+b") as file:
                file.seek(at + 7)
                file.write(bytes([held[at + 7] ^ 0x10]))
                file.flush()
                os.fsync(file.fileno())
            places += 1
            start = at + 1
    return places


class Worker:
    """A script that counts its calls and then runs `command` with its arguments."""

    def __init__(self, directory: Path, command: str, name: str = "worker"):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.path = directory / name
        self.path.write_text(WORKER.format(directory=shlex.quote(str(directory)), command=command))
        self.path.chmod(0o755)
        self.forget()

    def calls(self) -> list[str]:
        """The arguments of each call, oldest first."""
        return (self.directory / "calls").read_text().splitlines()

    def forget(self) -> None:
        (self.directory / "calls").write_text("")

    def kill_at(self, call: int, server: Server) -> None:
        """The given call, counted from now, begins with the appliance's end."""
        (self.directory / "kill-at").write_text(f"{len(self.calls()) + call}\n")
        (self.directory / "kill").write_text(f"{server.pid}\n")


# A process that was killed stays in /proc until its parent asks; in state Z or X its sockets are closed.
WORKER = """#!/bin/sh
state={directory}
echo "$*" >> "$state/calls"
if [ -f "$state/kill" ] && [ "$(wc -l < "$state/calls")" -ge "$(cat "$state/kill-at")" ]; then
    victim=$(cat "$state/kill")
    rm "$state/kill"
    kill -9 "$victim"
    while [ -d "/proc/$victim" ] && ! grep -q '^State:.[ZX]' "/proc/$victim/status"; do sleep 0.02; done
fi
{command}
"""


class Gate:
    """Stands before the appliance, passes every request on, and keeps (method, path, status)."""

    def __init__(self, server: Server):
        self.requests: list[tuple[str, str, int]] = []
        gate, host, port = self, server.host, server.port

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                upstream = http.client.HTTPConnection(host, port, timeout=180)
                hop = ("connection", "expect", "host", "content-length")
                headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
                upstream.request(self.command, self.path, body=body if "content-length" in self.headers else None, headers=headers)
                reply = upstream.getresponse()
                data = reply.read()
                upstream.close()
                gate.requests.append((self.command, urllib.parse.urlsplit(self.path).path, reply.status))
                self.send_response_only(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", reply.getheader("content-length") or str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_PROPFIND = do_MKCOL = pass_on

            def log_message(self, *_: object) -> None:
                pass

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_port}"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def uploads(self) -> list[str]:
        """The paths of what was stored, in order."""
        return [path for method, path, status in self.requests if method == "PUT" and 200 <= status < 300]

    def count(self, method: str, *statuses: int) -> int:
        """How many requests of a method were answered with one of these; with any, where none is named."""
        return sum(1 for one, _, status in self.requests if one == method and (not statuses or status in statuses))

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown()
        self.listener.server_close()


class Dead:
    """A port that is taken and on which nobody listens: each connection is refused."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __enter__(self) -> "Dead":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
