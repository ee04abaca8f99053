"""A service manager for tests: it holds the listening socket, hears what the appliance notifies, and starts it anew."""

import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from zctest.server import binary, plain_environment

# Nothing takes longer, on a busy machine neither.
PATIENCE = 300.0


class Manager:
    """Speaks the protocols of systemd: sd_listen_fds(3), sd_notify(3)."""

    def __init__(self, data: Path, arguments: list[str] | None = None, watchdog_seconds: float = 0, name: str = "api"):
        self.data = data
        self.name = name
        self.arguments = arguments or []
        self.watchdog_seconds = watchdog_seconds
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # A socket's name may be 107 bytes long.
        self.directory = tempfile.TemporaryDirectory(prefix="zc-notify-")
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(f"{self.directory.name}/notify")
        self.heard: list[str] = []
        self.news = threading.Condition()
        self.ears = threading.Thread(target=self._hear, daemon=True)
        self.ears.start()
        self.process: subprocess.Popen | None = None
        self.log = Path(self.directory.name) / "log"

    def _hear(self) -> None:
        while True:
            try:
                message = self.notified.recv(65536).decode()
            except OSError:
                return
            with self.news:
                self.heard += message.splitlines()
                self.news.notify_all()

    def count(self, line: str) -> int:
        with self.news:
            return self.heard.count(line)

    def await_count(self, line: str, count: int) -> None:
        """Waits until a line was heard so often, or the process is gone."""
        deadline = time.monotonic() + PATIENCE
        with self.news:
            while self.heard.count(line) < count:
                self.news.wait(0.5)
                gone = self.process is not None and self.process.poll() is not None
                if gone or time.monotonic() > deadline:
                    raise AssertionError(f"{line} was heard {self.heard.count(line)} times of {count}: {self.heard}\n{self.log.read_text()}")

    def begin(self) -> None:
        """Starts the appliance and does not wait for it."""
        environment = {k: v for k, v in plain_environment().items() if not k.startswith(("ZEROCLOUD_", "LISTEN_", "NOTIFY_", "WATCHDOG_"))}
        environment |= {"NOTIFY_SOCKET": f"{self.directory.name}/notify", "LISTEN_FDS": "1", "LISTEN_FDNAMES": self.name}
        if self.watchdog_seconds:
            environment["WATCHDOG_USEC"] = str(int(self.watchdog_seconds * 1e6))
        # The socket is descriptor 3 of the process whose id LISTEN_PID has.
        shell = 'export LISTEN_PID=$$; [ -z "$WATCHDOG_USEC" ] || export WATCHDOG_PID=$$; exec "$@" 3<&"$FROM"'
        environment["FROM"] = str(self.listener.fileno())
        command = ["bash", "-c", shell, "bash", str(binary()), "serve", "--data", str(self.data), *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, pass_fds=[self.listener.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> "Manager":
        before = self.count("READY=1")
        self.begin()
        self.await_count("READY=1", before + 1)
        return self

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Asks the process to stop; gives its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def restart(self) -> None:
        assert self.end() == 0, self.log.read_text()
        self.start()

    def secrets(self) -> list[str]:
        return re.findall(r"= (\S+)", (self.data / "credentials").read_text())

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.listener.close()
        self.notified.close()
        self.directory.cleanup()
