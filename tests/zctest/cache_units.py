"""What a compiler cache must show, as functions of an appliance, a directory and the client's settings: ccache in all its layouts."""

from pathlib import Path

from zctest.cache import READ_TOKEN, WRONG_TOKEN, CacheServer, Worker, flip_on_disk
from zctest.cache_clients import Ccache, Units, another, compilations, compiler


class Place:
    """A directory of machines, each with sources at another path, and a namespace of the cache."""

    def __init__(self, root: Path, server: CacheServer, dialect: str, namespace: str, seed: int, units: int = 3):
        self.root, self.server, self.dialect, self.namespace, self.seed = root, server, dialect, namespace, seed
        self.worker: Worker = compiler(root / "compiler")
        self.first = Units(root / "sources-0", units, seed)
        self.machines = 0

    @property
    def url(self) -> str:
        return self.server.mount(self.dialect, self.namespace)

    def home(self) -> Path:
        self.machines += 1
        return self.root / f"machine-{self.machines}"

    def units(self) -> Units:
        """The same sources at a place that has seen no build."""
        copy = object.__new__(Units)
        copy.root, copy.names, copy.seed = another(self.root / f"sources-{self.machines}", self.first), self.first.names, self.seed
        return copy

    def ccache(self, **settings) -> tuple[Ccache, list[str]]:
        """A build of all units on a clean machine: the client, and what was compiled. What is built is always right."""
        client = Ccache(self.home(), self.url, **settings)
        self.worker.forget()
        units = self.units()
        client.build(units, self.worker)
        assert units.are_right()
        return client, compilations(self.worker)


def ccache_fills_and_hits(place: Place, **settings) -> None:
    """Cold: two entries of each unit are stored. Warm, at another path: all from the cache, and the compiler is never called."""
    count = len(place.first.names)
    client, compiled = place.ccache(**settings)
    assert compiled == place.first.names
    counts = client.counts()
    assert (counts["cache_miss"], counts["remote_storage_write"], counts["remote_storage_error"]) == (count, 2 * count, 0), counts
    client, _ = place.ccache(**settings)
    assert place.worker.calls() == []
    counts = client.counts()
    assert (counts["direct_cache_hit"], counts["remote_storage_read_hit"], counts["cache_miss"]) == (count, 2 * count, 0), counts


def ccache_with_a_wrong_token_builds_without_the_cache(place: Place, **settings) -> None:
    """Each unit: what is asked for is not there, the first PUT is refused, and there is no second."""
    count = len(place.first.names)
    for _ in range(2):
        client, compiled = place.ccache(token=WRONG_TOKEN, **settings)
        assert compiled == place.first.names
        counts = client.counts()
        assert (counts["remote_storage_write"], counts["remote_storage_read_hit"], counts["remote_storage_error"]) == (0, 0, count), counts
        assert client.logged("to http storage: status code: 401") == count
        assert client.logged("since it failed earlier") == count


def ccache_with_a_read_only_token_reads(place: Place, **settings) -> None:
    """Nothing is stored by it; what another one stored is there for it."""
    count = len(place.first.names)
    client, compiled = place.ccache(token=READ_TOKEN, **settings)
    assert compiled == place.first.names
    assert client.counts()["remote_storage_write"] == 0
    assert client.logged("to http storage: status code: 403") == count
    assert client.logged("since it failed earlier") == count
    client, compiled = place.ccache(**settings)
    assert compiled == place.first.names
    client, _ = place.ccache(token=READ_TOKEN, **settings)
    assert place.worker.calls() == [] and client.counts()["direct_cache_hit"] == count


def ccache_survives_a_server_that_is_killed(place: Place, **settings) -> None:
    """In the second unit's compilation: that process fails at one PUT and tries no other. What was acknowledged is there after."""
    count = len(place.first.names)
    client = Ccache(place.home(), place.url, **settings)
    units = place.units()
    # The client calls the compiler twice for each unit: to preprocess it and to compile it.
    place.worker.kill_at(4, place.server)
    client.build(units, place.worker)
    assert units.are_right() and compilations(place.worker) == place.first.names
    place.server.kill()
    counts = client.counts()
    assert (counts["remote_storage_write"], counts["remote_storage_error"]) == (2, count - 1), counts
    assert client.logged("Failed to put") == 1
    # The processes after it fail at their first GET.
    assert client.logged("Failed to get") == count - 2
    place.server.start()
    client, compiled = place.ccache(**settings)
    assert compiled == place.first.names[1:] and client.counts()["remote_storage_hit"] == 1
    place.ccache(**settings)
    assert place.worker.calls() == []


def ccache_never_gets_flipped_bytes(place: Place, **settings) -> None:
    """A unit whose entry is damaged on disk is compiled again and stored again."""
    place.ccache(**settings)
    assert flip_on_disk(place.server, place.first.noise(1)) >= 1
    client, compiled = place.ccache(**settings)
    assert compiled == [place.first.names[1]]
    assert client.counts()["remote_storage_write"] >= 1
    place.ccache(**settings)
    assert place.worker.calls() == []
