"""Bazel 2.1.0, unmodified, over HTTP."""

import base64
import hashlib

import pytest

from zctest.cache import READ_TOKEN, WRITE_TOKEN, WRONG_TOKEN, CacheServer, Dead, flip_on_disk
from zctest.cache_execution import NAMES, Actions, Bazel, action_worker, names_of
from zctest.cache_tasks import Farm

ALL = list(NAMES)
HIT = "remote cache hit"


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def farm_of(server: CacheServer, root, name: str) -> Farm:
    """A seed for each test, so that no two store the same noise."""
    farm = Farm(root, server, seed=30_000 + sum(map(ord, name)), project=Bazel.project, client=Bazel)
    farm.worker = action_worker(root / "actions")
    return farm


@pytest.fixture()
def farm(cache, tmp_path, request) -> Farm:
    return farm_of(cache, tmp_path, request.node.name)


def build(farm: Farm, namespace: str, url: str | None = None, instance: str = "", **settings) -> tuple[list[str], dict[str, int], str]:
    """A build on a clean machine: what ran, the client's counters, and what it said. It is always right."""
    actions: Actions = farm.tasks(worker=farm.worker)
    client = farm.machine((url or farm.server.mount("bazel", namespace)) + instance, **settings)
    said = client.build(actions)
    assert actions.are_right(Bazel.made(actions)), said
    return names_of(farm.ran()), client.counts(said), said


def test_a_clean_machine_runs_nothing(farm):
    ran, counts, said = build(farm, "fill")
    assert (ran, counts) == (ALL, {"local": 3}) and "WARNING" not in said, said
    ran, counts, said = build(farm, "fill")
    assert (ran, counts) == ([], {HIT: 3}) and "WARNING" not in said, said


def test_an_instance_has_results_of_its_own(farm):
    for instance in ("/arm", "/x86"):
        assert build(farm, "instances", instance=instance)[:2] == (ALL, {"local": 3})
        assert build(farm, "instances", instance=instance)[:2] == ([], {HIT: 3})


def test_a_wrong_token_is_a_warning(farm):
    for _ in range(2):
        ran, counts, said = build(farm, "wrong", token=WRONG_TOKEN)
        assert (ran, counts) == (ALL, {"local": 3}) and "401 Unauthorized" in said, said
    ran, _, said = build(farm, "wrong", token=None)
    assert ran == ALL and "401 Unauthorized" in said, said
    # Nothing of it was stored.
    assert build(farm, "wrong")[0] == ALL


def test_a_read_only_token_reads_and_stores_nothing(farm):
    ran, counts, said = build(farm, "read", token=READ_TOKEN)
    assert (ran, counts) == (ALL, {"local": 3}) and "403 Forbidden" in said, said
    assert build(farm, "read")[0] == ALL
    ran, counts, said = build(farm, "read", token=READ_TOKEN)
    assert (ran, counts) == ([], {HIT: 3}) and "WARNING" not in said, said


# The file of an action, and a file deep in its directory, which only the tree names.
@pytest.mark.parametrize("number", [1, 1 + len(NAMES)], ids=["file", "directory"])
def test_a_flipped_byte_never_reaches_the_client(farm, number):
    build(farm, "flip")
    assert flip_on_disk(farm.server, farm.tasks(worker=farm.worker).noise(number)) >= 1
    # The client finds out after the hit that a blob of it is gone: it warns, runs the action and stores it again.
    ran, counts, said = build(farm, "flip")
    assert (ran, counts) == (["b"], {HIT: 2, "local": 1}), said
    ran, counts, said = build(farm, "flip")
    assert (ran, counts) == ([], {HIT: 3}) and "WARNING" not in said, said


@pytest.mark.parametrize("number", [2, 2 + len(NAMES)], ids=["file", "directory"])
def test_a_blob_that_is_gone_makes_its_action_a_miss(farm, number):
    build(farm, "gone")
    lost = farm.tasks(worker=farm.worker).noise(number)
    assert flip_on_disk(farm.server, lost) >= 1
    # Whoever reads it first has it put aside.
    assert farm.server.ask("GET", f"{path_of('gone')}/cas/{sha256(lost)}")[0] == 404
    ran, counts, said = build(farm, "gone")
    assert (ran, counts) == (["c"], {HIT: 2, "local": 1}), said
    assert "WARNING" not in said, "the key alone was a miss already"
    assert build(farm, "gone")[:2] == ([], {HIT: 3})


def test_a_server_that_dies_in_mid_build_breaks_nothing(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        farm = farm_of(mortal, tmp_path, "mortal")
        farm.worker.kill_at(2, mortal)
        ran, counts, said = build(farm, "killed")
        assert (ran, counts) == (ALL, {"local": 3}) and "WARNING" in said, said
        mortal.kill()
        mortal.start()
        build(farm, "killed")
        ran, counts, said = build(farm, "killed")
        assert (ran, counts) == ([], {HIT: 3}), said


def test_a_dead_server_is_a_warning(farm):
    with Dead() as dead:
        ran, counts, said = build(farm, "dead", url=dead.url)
    assert (ran, counts) == (ALL, {"local": 3}) and "WARNING" in said, said


def path_of(namespace: str) -> str:
    return f"/api/v1/cache/{namespace}/bazel"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_only_results_are_stored_as_results(cache):
    key = f"{path_of('raw')}/ac/{sha256(b'key')}"
    for bad in (b"an opaque value", b'{"outputFiles":[]}', b"\x12\x03\x0a\x01a"):
        status, _, said = cache.ask("PUT", key, body=bad)
        assert status == 400 and b"InvalidActionResult" in said
    assert cache.ask("GET", key)[0] == 404
    # What names nothing is one; its exit code is 7.
    assert cache.ask("PUT", key, body=b"\x20\x07")[0] == 200
    status, headers, value = cache.ask("GET", key, token=READ_TOKEN)
    assert (status, value, headers["content-type"]) == (200, b"\x20\x07", "application/octet-stream")
    for name in ("xyz", "0" * 63, "A" * 64):
        assert cache.ask("GET", f"{path_of('raw')}/ac/{name}")[0] == 400


def test_basic_takes_any_user_and_bearer_is_the_same(cache):
    path = f"{path_of('basic')}/cas/{sha256(b'blob')}"
    for user in ("", "user", "someone@else"):
        basic = "Basic " + base64.b64encode(f"{user}:{WRITE_TOKEN}".encode()).decode()
        assert cache.ask("PUT", path, token=None, headers={"Authorization": basic}, body=b"blob")[0] == 200
    assert cache.ask("GET", path)[2] == b"blob"
    status, headers, _ = cache.ask("GET", path, token=None)
    assert status == 401 and "Basic" in headers["www-authenticate"]


def test_a_long_blob_that_is_there_is_read_to_its_end(cache):
    # The client sends every blob again, and takes a connection that ends under it for an upload that failed.
    blob = b"x" * (8 << 20)
    for _ in range(2):
        status, headers, _ = cache.ask("PUT", f"{path_of('long')}/cas/{sha256(blob)}", body=blob)
        assert status == 200 and headers.get("connection") != "close"
