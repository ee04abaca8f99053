"""moon 2.5.5, unmodified, over HTTP."""

import hashlib
import json

import pytest

from zctest.cache import READ_TOKEN, WRONG_TOKEN, CacheServer, Dead, Gate, flip_on_disk
from zctest.cache_execution import NAMES, Actions, Moon, action_worker, names_of
from zctest.cache_tasks import Farm

ALL = list(NAMES)


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def farm_of(server: CacheServer, root, name: str) -> Farm:
    """A seed for each test, so that no two store the same noise."""
    farm = Farm(root, server, seed=50_000 + sum(map(ord, name)), project=Moon.project, client=Moon)
    farm.worker = action_worker(root / "actions")
    return farm


@pytest.fixture()
def farm(cache, tmp_path, request) -> Farm:
    return farm_of(cache, tmp_path, request.node.name)


def build(farm: Farm, namespace: str, url: str | None = None, **settings) -> tuple[list[str], list[str], str]:
    """A run on a clean machine: what ran, what the client says came from the remote, and what it said. It is always right."""
    actions: Actions = farm.tasks(worker=farm.worker)
    client = farm.machine(url or farm.server.mount("moon", namespace), **settings)
    said = client.build(actions)
    assert actions.are_right(), said
    counts = client.counts(said)
    assert sorted(counts) == ALL, said
    return names_of(farm.ran()), sorted(name for name, where in counts.items() if where == "remote"), said


def test_a_clean_machine_runs_nothing(farm):
    ran, remote, said = build(farm, "fill")
    assert (ran, remote) == (ALL, []), said
    ran, remote, said = build(farm, "fill")
    assert (ran, remote) == ([], ALL), said


@pytest.mark.parametrize("token", [WRONG_TOKEN, "no token at all"])
def test_a_wrong_token_switches_the_remote_off(farm, token):
    for _ in range(2):
        ran, remote, said = build(farm, "wrong", token=token)
        assert (ran, remote) == (ALL, []) and "401 Unauthorized" in said, said
    # Nothing of it was stored.
    assert build(farm, "wrong")[0] == ALL


def test_a_read_only_token_reads_and_stores_nothing(farm):
    ran, remote, said = build(farm, "read", token=READ_TOKEN)
    assert (ran, remote) == (ALL, []), said
    assert build(farm, "read")[0] == ALL
    ran, remote, said = build(farm, "read", token=READ_TOKEN)
    assert (ran, remote) == ([], ALL), said


@pytest.mark.parametrize("number", [1, 1 + len(NAMES)], ids=["file", "directory"])
def test_a_flipped_byte_never_reaches_the_client(farm, number):
    build(farm, "flip")
    assert flip_on_disk(farm.server, farm.tasks(worker=farm.worker).noise(number)) >= 1
    ran, remote, said = build(farm, "flip")
    assert (ran, remote) == (["b"], ["a", "c"]), said
    ran, remote, said = build(farm, "flip")
    assert (ran, remote) == ([], ALL), said


def test_a_blob_that_is_gone_makes_its_task_a_miss(farm):
    # The address of the remote is in the client's keys: all builds go through one gate.
    with Gate(farm.server) as gate:
        url = f"{gate.url}/api/v1/cache/gone/moon"
        build(farm, "gone", url=url)
        lost = farm.tasks(worker=farm.worker).noise(2)
        assert flip_on_disk(farm.server, lost) >= 1
        # Whoever reads it first has it put aside.
        path = f"/api/v1/cache/gone/moon/moon-outputs/cas/{hashlib.sha256(lost).hexdigest()}"
        assert farm.server.ask("GET", path)[0] == 404
        gate.requests.clear()
        ran, remote, said = build(farm, "gone", url=url)
        assert (ran, remote) == (["c"], ["a", "b"]), said
        looked_up = [status for method, path, status in gate.requests if method == "GET" and "/ac/" in path]
        assert sorted(looked_up) == [200, 200, 404], "the key alone was a miss already"
        assert build(farm, "gone", url=url)[:2] == ([], ALL)


def test_a_server_that_dies_in_mid_run_breaks_nothing(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        farm = farm_of(mortal, tmp_path, "mortal")
        farm.worker.kill_at(2, mortal)
        ran, remote, said = build(farm, "killed")
        assert (ran, remote) == (ALL, []), said
        mortal.kill()
        mortal.start()
        build(farm, "killed")
        ran, remote, said = build(farm, "killed")
        assert (ran, remote) == ([], ALL), said


def test_a_dead_server_is_a_warning(farm):
    with Dead() as dead:
        ran, remote, said = build(farm, "dead", url=dead.url)
    assert (ran, remote) == (ALL, []) and "Failed to make HTTP call" in said, said


def test_the_client_asks_in_the_way_that_the_server_knows(farm):
    with Gate(farm.server) as gate:
        build(farm, "asked", url=f"{gate.url}/api/v1/cache/asked/moon")
        kinds = {(method, path.rsplit("/", 2)[1] if "/moon-outputs/" in path else path.rsplit("/", 1)[1], status) for method, path, status in gate.requests}
    assert kinds == {("GET", "status", 200), ("GET", "ac", 404), ("PUT", "cas", 200), ("PUT", "ac", 200)}


def test_results_are_json_and_need_what_they_name(cache):
    base = "/api/v1/cache/raw/moon"
    key = f"{base}/moon-outputs/ac/{hashlib.sha256(b'key').hexdigest()}"
    digest = hashlib.sha256(b"output").hexdigest()
    result = json.dumps({"outputFiles": [{"path": "out", "digest": {"hash": digest, "sizeBytes": "6"}}]}).encode()
    for bad in (b"\x20\x07", b"[]", b'{"outputFiles":[{"path":"out"}]}'):
        assert cache.ask("PUT", key, body=bad)[0] == 400
    assert cache.ask("PUT", key, body=result)[0] == 200
    assert cache.ask("GET", key)[0] == 404, "the blob is not there"
    assert cache.ask("PUT", f"{base}/moon-outputs/cas/{digest}", body=b"output")[0] == 200
    status, headers, value = cache.ask("GET", key)
    assert (status, value, headers["content-type"]) == (200, result, "application/json")
    for token, expected in ((READ_TOKEN, 200), (WRONG_TOKEN, 401), (None, 401)):
        assert cache.ask("GET", f"{base}/status", token=token)[0] == expected
