"""What a cache of task outputs must show: machines that build one project, and what they ran. For Turborepo, Nx and Gradle."""

from pathlib import Path
from typing import Callable

from zctest.cache import CacheServer, Worker
from zctest.cache_clients import Tasks, task_worker


class Farm:
    """Machines that build the same project at paths of their own. `project` makes it, `client` a client with a clean home."""

    def __init__(self, root: Path, server: CacheServer, seed: int, project: Callable[..., Tasks], client: Callable[..., object]):
        self.root, self.server, self.seed, self.project, self.client = root, server, seed, project, client
        self.worker: Worker = task_worker(root / "worker")
        self.machines = 0

    def tasks(self, **settings) -> Tasks:
        """The project at a place that has seen no build."""
        self.machines += 1
        return self.project(self.root / f"project-{self.machines}", self.seed, **settings)

    def machine(self, *arguments, **settings):
        """A client that has cached nothing itself."""
        return self.client(self.root / f"home-{self.machines}", *arguments, **settings)

    def ran(self) -> list[str]:
        """What was run since the last question."""
        calls = self.worker.calls()
        self.worker.forget()
        return calls
