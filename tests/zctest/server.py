"""A running `zerocloud serve` with a data directory of its own."""

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"zerocloud ready on (https?://\S+)")


def binary() -> Path:
    """The binary under test: ZEROCLOUD_BINARY, else the release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return Path(os.environ.get("ZEROCLOUD_BINARY", ROOT / target / "release" / "zerocloud"))


def plain_environment() -> dict[str, str]:
    """The tester's environment without what would turn clients elsewhere: settings of theirs, and proxies."""
    settings = ("AWS_", "S3_", "RCLONE_", "RESTIC_")
    return {k: v for k, v in os.environ.items() if not k.startswith(settings) and not k.lower().endswith("_proxy")}


class Server:
    """One appliance. `data` survives `stop` and `kill`, so that a test can start it again."""

    def __init__(
        self,
        data: Path | None = None,
        arguments: list[str] | None = None,
        config: str | None = None,
        plant: str | None = None,
        environment: dict[str, str] | None = None,
        host: str | None = None,
    ):
        self.owns_data = data is None
        parent = Path(os.environ.get("ZEROCLOUD_TEST_DIR", tempfile.gettempdir()))
        self.data = data or Path(tempfile.mkdtemp(prefix="zerocloud-test-", dir=parent))
        self.arguments = arguments or []
        self.config = config
        # What clients are told beside keys and region, and the name by which they call the appliance.
        self.client_environment = environment or {}
        self.client_host = host
        # What the appliance finds in its own environment.
        self.serve_environment: dict[str, str] = {}
        # A fault that the binary is to have; only one that was built with the feature `planted` takes it.
        self.plant = plant
        self.process: subprocess.Popen | None = None
        self.url = ""
        self.log: list[str] = []

    def start(self, timeout: float = 300.0) -> "Server":
        command = [str(binary()), "serve", "--data", str(self.data / "data"), "--listen", "127.0.0.1:0"]
        if self.config is not None:
            path = self.data / "zerocloud.toml"
            path.write_text(self.config)
            path.chmod(0o600)
            command += ["--config", str(path)]
        command += self.arguments
        environment = {k: v for k, v in plain_environment().items() if not k.startswith("ZEROCLOUD_")}
        if self.plant is not None:
            environment["ZEROCLOUD_PLANT"] = self.plant
        # A machine that stands still for a moment makes no hit a miss.
        environment["ZEROCLOUD_CACHE_FIRST_BYTE_MS"] = "600000"
        environment |= self.serve_environment
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.log = []
        self.draining = threading.Thread(target=self._drain, args=(self.process,), daemon=True)
        self.draining.start()
        # Ends a start that hangs: then its stdout ends, too.
        watch = threading.Timer(timeout, self.process.kill)
        watch.daemon = True
        watch.start()
        # The line comes from our own child's stdout, so the listener behind it is ours.
        ready = None
        while ready is None:
            line = self.process.stdout.readline()
            if line == "":
                watch.cancel()
                self.kill()
                self.draining.join()
                raise RuntimeError("the appliance did not become ready:\n" + "".join(self.log))
            ready = READY.search(line)
        watch.cancel()
        self.url = ready.group(1)
        if self.client_host is not None:
            self.url = self.url.replace("127.0.0.1", self.client_host)
        threading.Thread(target=self._swallow, args=(self.process,), daemon=True).start()
        return self

    def has_plant(self) -> bool:
        """Whether the fault was planted: the binary says so when it first comes to a place of one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(f"the fault {self.plant} is planted" in line for line in self.log):
                return True
            time.sleep(0.05)
        return False

    def _drain(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            self.log.append(line)

    @staticmethod
    def _swallow(process: subprocess.Popen) -> None:
        for _ in process.stdout:
            pass

    @property
    def host(self) -> str:
        return self.url.split("//", 1)[1].split(":")[0]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))

    @property
    def pid(self) -> int:
        return self.process.pid

    def credentials(self) -> tuple[str, str]:
        profile = configparser.ConfigParser()
        profile.read(self.data / "data" / "credentials")
        section = profile["default"]
        return section["aws_access_key_id"], section["aws_secret_access_key"]

    def environment(self) -> dict[str, str]:
        """What a client's process needs, and nothing of the tester's own AWS settings."""
        key, secret = self.credentials()
        environment = plain_environment() | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        } | self.client_environment
        return environment

    def stop(self, timeout: float = 300.0) -> int:
        """SIGTERM, and the exit code. Every line of the log must be what a log collector can parse."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.draining.join()
        for line in self.log:
            assert isinstance(json.loads(line), dict), line
        return code

    def kill(self) -> None:
        """SIGKILL, as a power failure that spares the page cache."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def state(self) -> str:
        """In words: whether the process runs, or how it ended."""
        code = None if self.process is None else self.process.poll()
        return "runs" if code is None else f"ended with {code}"

    def memory_kib(self) -> int:
        """Resident memory of the process itself: RssAnon + RssShmem. Mapped index pages are not counted."""
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if ":" in line
        )
        return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.owns_data:
            shutil.rmtree(self.data, ignore_errors=True)
