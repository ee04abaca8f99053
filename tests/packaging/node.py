"""The binary as it is: its commands and their flags, the keys and variables that it knows, the paths and the metrics that it serves.

What files say is compared with this and with nothing else, so a list that somebody forgot to change cannot make a check pass.
"""

import functools
import json
import re
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from zctest import dynamodbraw, s3raw
from zctest.cache import CacheServer
from zctest.queueraw import Queues, Topics, field
from zctest.server import ROOT, binary, plain_environment

CONFIGURATION = """
[[cache.namespace]]
name = "default"
max_bytes = "1GB"
"""
SAMPLE = re.compile(r"(?m)^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# What no healthy run shows, though the binary can say it.
UNSEEN = {"status": {"1xx", "2xx", "3xx", "4xx", "5xx"}, "code": {"1xx", "2xx", "3xx", "4xx", "5xx"}, "backend": {"io_uring", "epoll"}}


class Node:
    """A running appliance that has had a request of each kind, and the binary behind it."""

    def __init__(self, kept: Path):
        self.server = CacheServer(config=CONFIGURATION)
        self.kept = kept

    def __enter__(self) -> "Node":
        self.server.__enter__()
        self._traffic()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        """A command that ends by itself."""
        base = {name: value for name, value in plain_environment().items() if not name.startswith("ZEROCLOUD_")}
        return subprocess.run(
            [str(binary()), *arguments], capture_output=True, text=True, timeout=600, cwd=self.kept, env=base | (environment or {})
        )

    @functools.cache
    def help(self, *command: str) -> str:
        """What a command says of itself; empty: there is no such command."""
        run = self.run(*command, "--help")
        return run.stdout if run.returncode == 0 else ""

    @functools.cache
    def commands(self, *command: str) -> frozenset[str]:
        """The commands below a command."""
        listed = re.search(r"(?ms)^Commands:\n(.*?)^$", self.help(*command))
        return frozenset(re.findall(r"(?m)^  (\w[\w-]*)", listed[1])) if listed else frozenset()

    @functools.cache
    def flags(self, *command: str) -> frozenset[str]:
        """The flags of a command, `-h` and the like included."""
        return frozenset(re.findall(r"(?m)^ {2,6}(?:-\w, )?(--[a-z][a-z-]*)", self.help(*command))) | {"-h", "-V"}

    @functools.cache
    def all_flags(self) -> frozenset[str]:
        """The flags of all commands."""
        found, left = set(), [()]
        while left:
            command = left.pop()
            found |= self.flags(*command)
            left += [(*command, name) for name in self.commands(*command) if name != "help"]
        return frozenset(found)

    @functools.cache
    def default_port(self) -> int:
        """Where it listens when nobody says."""
        return int(re.search(r"\[default: 127\.0\.0\.1:(\d+)\]", self.help("serve"))[1])

    def judge(self, text: str) -> str:
        """What `serve --check` has against a configuration; empty: nothing. That a file is not there is not the configuration's fault."""
        with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=self.kept) as file:
            file.write(text)
            file.flush()
            run = self.run("serve", "--config", file.name, "--check")
            said = run.stderr.strip().replace(file.name, "").removeprefix("zerocloud: ")
            return "" if run.returncode == 0 or "cannot be read" in said else said or f"code {run.returncode}"

    @functools.cache
    def knows_key(self, table: str, key: str) -> bool:
        """Whether the configuration has a key, whatever its values are."""
        said = self.judge((f"[{table}]\n" if table else "") + f"{key} = '\\?'\n")
        return "unknown" not in said

    @functools.cache
    def honours(self, name: str) -> bool:
        """Whether an environment variable means something."""
        if f'rerun-if-env-changed={name}"' in (ROOT / "appliance/node/build.rs").read_text():
            return True
        if not name.startswith("ZEROCLOUD_"):
            # A value that no variable takes is refused by the name of the one that has it.
            run = self.run("serve", "--check", environment={name: "? ?"})
            return run.returncode == 78 and f"{name}:" in run.stderr
        return name not in self._meaningless(name)

    def _meaningless(self, *names: str) -> set[str]:
        """Those of our prefix that a starting node warns of. Empty ones, which say "not set", so that the node starts."""
        server = CacheServer()
        server.serve_environment |= dict.fromkeys((*names, "ZEROCLOUD_NO_SUCH_THING"), "")
        with server:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(300)
            server.draining.join()
            warned = set(re.findall(r"environment variable (\w+) means nothing", "".join(server.log)))
        assert "ZEROCLOUD_NO_SUCH_THING" in warned, "the node no longer warns of variables that mean nothing"
        return warned

    @functools.cache
    def serves(self, path: str) -> bool:
        """Whether a path below `/-/` is known."""
        try:
            with urllib.request.urlopen(self.server.url + path) as reply:
                return reply.status == 200
        except urllib.error.HTTPError as refusal:
            return refusal.code != 404

    @functools.cached_property
    def backend(self) -> str:
        """What it runs on here."""
        with urllib.request.urlopen(self.server.url + "/-/ready") as reply:
            return json.load(reply)["backend"]

    def _scrape(self) -> str:
        """The metrics' text, once each that is announced has a line: a request is counted when it is over, a message later still."""
        deadline = time.monotonic() + 300
        while True:
            with urllib.request.urlopen(self.server.url + "/-/metrics") as reply:
                text = reply.read().decode()
            lines = {name for name, _ in SAMPLE.findall(text)}
            announced = set(re.findall(r"(?m)^# TYPE (\w+) ", text))
            bare = {name for name in announced if name not in lines and f"{name}_count" not in lines}
            if not bare:
                return text
            assert time.monotonic() < deadline, f"no request of _traffic gives a line to {sorted(bare)}"
            time.sleep(0.05)

    def _scrape_of_tls(self) -> str:
        """The metrics' text of an appliance with a certificate: those that only such a one has are in it."""
        with tempfile.TemporaryDirectory(dir=self.kept) as place:
            data = Path(place) / "data"
            made = self.run("init", "--data", str(data))
            assert made.returncode == 0, made.stderr
            tls = data / "tls"
            with CacheServer(data=Path(place), arguments=["--tls-cert", str(tls / "cert.pem"), "--tls-key", str(tls / "key.pem")]) as server:
                trust = ssl.create_default_context(cafile=tls / "ca.pem")
                with urllib.request.urlopen(server.url + "/-/metrics", context=trust) as reply:
                    return reply.read().decode()

    @functools.cached_property
    def metrics(self) -> dict[str, dict[str, set[str]]]:
        """Metric, label, values that the label has had."""
        text = self._scrape() + self._scrape_of_tls()
        found: dict[str, dict[str, set[str]]] = {}
        for name, labels in SAMPLE.findall(text):
            known = found.setdefault(name, {})
            for label, value in LABEL.findall(labels):
                known.setdefault(label, set()).add(value)
        for labels in found.values():
            for label, values in UNSEEN.items():
                if label in labels:
                    labels[label] |= values
        return found

    def _traffic(self) -> None:
        """One request at least of each service, so that every metric has a line."""
        server = self.server
        access, secret = server.credentials()
        objects = s3raw.Client(server.host, server.port, access, secret)
        for method, path in (("PUT", "/b"), ("PUT", "/b/k"), ("GET", "/b/k"), ("GET", "/b/absent")):
            objects.request(method, path, b"x" if path == "/b/k" and method == "PUT" else b"")
        dynamodbraw.Client(server.host, server.port, access, secret).good("ListTables", {})
        queues, topics = Queues.of(server), Topics.of(server)
        queue = queues.good("CreateQueue", {"QueueName": "gone"})["QueueUrl"]
        topic = field(topics.good("CreateTopic", Name="topic"), "TopicArn")
        arn = queues.good("GetQueueAttributes", {"QueueUrl": queue, "AttributeNames": ["QueueArn"]})["Attributes"]["QueueArn"]
        topics.good("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)
        queues.good("DeleteQueue", {"QueueUrl": queue})
        # Nobody takes it, so it is dropped.
        topics.good("Publish", TopicArn=topic, Message="x")
        path = "/api/v1/cache/default/ccache/aa/bbccdd"
        server.ask("PUT", path, body=b"x")
        server.ask("GET", path)
