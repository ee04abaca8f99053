"""Nx 24.0.6 with a self-hosted remote cache, unmodified. It forgives little: most answers that others survive fail its build."""

import pytest

from zctest.cache import READ_TOKEN, WRONG_TOKEN, CacheServer, Dead, Gate, flip_on_disk
from zctest.cache_clients import Nx
from zctest.cache_tasks import Farm

ALL = ["a", "b", "c"]
REMOTE = "[remote cache]"
# What it says to an answer that it does not expect.
MISCONFIGURED = "Misconfigured remote cache endpoint"


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def farm_of(server: CacheServer, root, seed: int) -> Farm:
    return Farm(root, server, seed, project=Nx.project, client=Nx)


def url(server: CacheServer, namespace: str) -> str:
    """A mount with a namespace of its own; the client adds /v1/cache/."""
    return server.mount("nx", namespace)


def build(farm: Farm, url: str, noise_bytes: int = 64 << 10, **settings) -> tuple[list[str], str]:
    """A build on a clean machine, which works and is right: what ran, and what was said."""
    tasks = farm.tasks(noise_bytes=noise_bytes)
    said = farm.machine(url, **settings).build(tasks, farm.worker)
    assert tasks.are_right(), said
    return farm.ran(), said


def test_a_clean_machine_runs_nothing_and_each_task_is_sent_once(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=300)
    with Gate(cache) as gate:
        mount = f"{gate.url}/api/v1/cache/fill/nx"
        ran, said = build(farm, mount)
        assert ran == ALL and REMOTE not in said, said
        # At 201 or 202 it sends each body six times.
        assert gate.count("PUT", 200) == gate.count("PUT") == 3, gate.requests
        ran, said = build(farm, mount)
        assert ran == [] and said.count(REMOTE) == 3 and "3 out of 3 tasks" in said, said
        assert gate.count("PUT") == 3 and gate.count("GET", 200) == 3, gate.requests


def test_the_root_of_the_port_is_a_mount_too(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=301)
    assert build(farm, cache.url)[0] == ALL
    assert build(farm, cache.url)[0] == []


def test_a_wrong_token_fails_with_our_words(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=310)
    tasks = farm.tasks()
    code, said = farm.machine(url(cache, "wrong"), token=WRONG_TOKEN).run(tasks, farm.worker)
    assert code == 1 and "Unauthorized: InvalidToken" in said and MISCONFIGURED not in said, said
    status, headers, _ = cache.ask("GET", "/v1/cache/1", token=None)
    assert (status, headers["content-type"]) == (401, "text/plain")


def test_a_read_only_token_is_silent(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=320)
    ran, said = build(farm, url(cache, "read"), token=READ_TOKEN)
    assert ran == ALL and MISCONFIGURED not in said, said
    assert build(farm, url(cache, "read"))[0] == ALL
    ran, said = build(farm, url(cache, "read"), token=READ_TOKEN)
    assert ran == [] and said.count(REMOTE) == 3, said


def test_a_value_that_is_there_stays(cache):
    path = "/api/v1/cache/stays/nx/v1/cache/7"
    assert cache.ask("PUT", path, body=b"first")[0] == 200
    assert cache.ask("PUT", path, body=b"second")[0] == 409
    assert cache.ask("GET", path, token=READ_TOKEN)[2] == b"first"


def test_a_long_upload_that_is_refused_is_read_to_its_end(cache):
    status, headers, _ = cache.ask("PUT", "/v1/cache/8", token=READ_TOKEN, body=b"x" * (8 << 20))
    assert (status, headers["content-type"]) == (403, "text/plain")


# Of the longer one much has left before the damage is met, if it is sent while it is checked; a cut answer fails a build, too.
@pytest.mark.parametrize("noise_bytes", [64 << 10, 4 << 20], ids=["short", "long"])
def test_a_flipped_byte_never_reaches_the_client(cache, tmp_path, noise_bytes):
    farm = farm_of(cache, tmp_path, seed=330 + (noise_bytes >> 20))
    namespace = f"flip-{noise_bytes}"
    with Gate(cache) as gate:
        build(farm, f"{gate.url}/api/v1/cache/{namespace}/nx", noise_bytes)
        path_of_b = gate.uploads()[1]
    assert flip_on_disk(cache, cache.ask("GET", path_of_b)[2]) >= 1
    ran, said = build(farm, url(cache, namespace), noise_bytes)
    assert ran == ["b"] and said.count(REMOTE) == 2, said
    ran, said = build(farm, url(cache, namespace), noise_bytes)
    assert ran == [] and said.count(REMOTE) == 3, said


def test_a_server_that_dies_in_mid_build_fails_it_and_keeps_what_it_acknowledged(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        farm = farm_of(mortal, tmp_path, seed=340)
        tasks = farm.tasks()
        farm.worker.kill_at(2, mortal)
        code, said = farm.machine(url(mortal, "killed")).run(tasks, farm.worker)
        # This client takes a cache that is away for a failure; nothing that a server can say changes that.
        assert code == 1 and farm.ran() == ["a", "b"], said
        mortal.kill()
        mortal.start()
        ran, said = build(farm, url(mortal, "killed"))
        # It waits for the upload of a task before it begins the next.
        assert ran == ["b", "c"] and said.count(REMOTE) == 1, said
        assert build(farm, url(mortal, "killed"))[0] == []


def test_a_dead_server_fails_the_build(tmp_path, cache):
    farm = farm_of(cache, tmp_path, seed=350)
    tasks = farm.tasks()
    with Dead() as dead:
        code, said = farm.machine(dead.url).run(tasks, farm.worker)
    assert code == 1 and "Failed to send request" in said, said
