"""Gradle 4.4.1, unmodified. After any answer that it does not like it does without the cache for the rest of the build."""

import pytest

from zctest.cache import READ_TOKEN, WRONG_TOKEN, CacheServer, Dead, Gate, flip_on_disk
from zctest.cache_clients import Gradle
from zctest.cache_tasks import Farm

ALL = ["a", "b", "c"]
DISABLED = "remote build cache was disabled"


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def farm_of(server: CacheServer, root, seed: int) -> Farm:
    return Farm(root, server, seed, project=Gradle.project, client=Gradle)


def build(farm: Farm, namespace: str, noise_bytes: int = 64 << 10, at: str | None = None, **settings) -> tuple[list[str], str]:
    """A build on a clean machine, which works and is right: what ran, and what was said."""
    tasks = farm.tasks(noise_bytes=noise_bytes)
    said = farm.machine(f"{at or farm.server.url}/api/v1/cache/{namespace}/gradle", **settings).build(tasks, farm.worker)
    assert tasks.are_right(), said
    return farm.ran(), said


def test_a_clean_machine_runs_nothing(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=400)
    ran, said = build(farm, "fill")
    assert ran == ALL and "FROM-CACHE" not in said and DISABLED not in said, said
    ran, said = build(farm, "fill")
    assert ran == [] and said.count("FROM-CACHE") == 3 and "3 from cache" in said, said


def test_a_wrong_token_does_without_the_cache(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=410)
    ran, said = build(farm, "wrong", token=WRONG_TOKEN)
    assert ran == ALL and DISABLED in said and "status 401" in said, said
    assert build(farm, "wrong")[0] == ALL


def test_a_read_only_token_keeps_on_reading(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=420)
    ran, said = build(farm, "read", token=READ_TOKEN)
    assert ran == ALL and DISABLED not in said, said
    # Nothing of it was kept.
    assert build(farm, "read")[0] == ALL
    ran, said = build(farm, "read", token=READ_TOKEN)
    assert ran == [] and said.count("FROM-CACHE") == 3, said


def test_newer_versions_are_told_that_it_is_too_large(cache):
    path = "/api/v1/cache/versions/gradle/d010b3006a9330389e6db63cf87d4023"
    for version, expected in [(None, 413), ("9.3.1", 413), ("4.4.1", 202)]:
        headers = {"X-Gradle-Version": version} if version else {}
        answer = cache.ask("PUT", path, token=READ_TOKEN, body=b"x" * (2 << 20), headers=headers, may_be_cut=expected == 413)
        assert answer[0] == expected
        assert cache.ask("GET", path)[0] == 404


# Of the longer one much has left before the damage is met, if it is sent while it is checked; a cut answer costs the cache, too.
@pytest.mark.parametrize("noise_bytes", [64 << 10, 4 << 20], ids=["short", "long"])
def test_a_flipped_byte_never_reaches_the_client(cache, tmp_path, noise_bytes):
    farm = farm_of(cache, tmp_path, seed=430 + (noise_bytes >> 20))
    namespace = f"flip-{noise_bytes}"
    with Gate(cache) as gate:
        build(farm, namespace, noise_bytes, at=gate.url)
        path_of_b = gate.uploads()[1]
    assert flip_on_disk(cache, cache.ask("GET", path_of_b)[2]) >= 1
    ran, said = build(farm, namespace, noise_bytes)
    assert ran == ["b"] and said.count("FROM-CACHE") == 2 and DISABLED not in said, said
    assert build(farm, namespace, noise_bytes)[0] == []


def test_a_server_that_dies_in_mid_build_keeps_what_it_acknowledged(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        farm = farm_of(mortal, tmp_path, seed=440)
        farm.worker.kill_at(2, mortal)
        ran, said = build(farm, "killed")
        assert ran == ALL and DISABLED in said, said
        mortal.kill()
        mortal.start()
        ran, said = build(farm, "killed")
        assert ran == ["b", "c"] and said.count("FROM-CACHE") == 1, said
        assert build(farm, "killed")[0] == []


def test_a_dead_server_breaks_no_build(cache, tmp_path):
    farm = farm_of(cache, tmp_path, seed=450)
    tasks = farm.tasks()
    with Dead() as dead:
        said = farm.machine(dead.url).build(tasks, farm.worker)
    assert tasks.are_right() and farm.ran() == ALL and DISABLED in said, said
