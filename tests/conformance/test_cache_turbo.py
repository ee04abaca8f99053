"""Turborepo 2.11.11, unmodified, signing its artifacts and not."""

import json

import pytest

from zctest.cache import READ_TOKEN, WRITE_TOKEN, WRONG_TOKEN, CacheServer, Dead, flip_on_disk
from zctest.cache_clients import Turbo
from zctest.cache_tasks import Farm

ALL = ["a", "b", "c"]
FULL = ">>> FULL TURBO"
# What the client says when an error is not the JSON that it knows.
UNREADABLE = "unable to parse"


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


@pytest.fixture()
def farm(cache, tmp_path, request) -> Farm:
    """A seed for each test, so that no two store the same noise."""
    return Farm(tmp_path, cache, seed=10_000 + sum(map(ord, request.node.name)), project=Turbo.project, client=Turbo)


def build(farm: Farm, url: str | None = None, signed: bool = False, **settings) -> tuple[list[str], dict[str, str], str]:
    """A build on a clean machine: what ran, where outputs came from by the client's summary, and what it said. It is always right."""
    tasks = farm.tasks(signed=signed)
    client = farm.machine(url or farm.server.url, signed=signed, **settings)
    said = client.build(tasks, farm.worker)
    assert tasks.are_right(), said
    return farm.ran(), client.sources(tasks), said


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a_clean_machine_runs_nothing(farm, signed):
    ran, sources, said = build(farm, team="fill", signed=signed)
    assert (ran, set(sources.values())) == (ALL, {"MISS"}), said
    ran, sources, said = build(farm, team="fill", signed=signed)
    assert (ran, sources) == ([], dict.fromkeys(ALL, "REMOTE")) and FULL in said, said


def test_a_wrong_token_is_a_warning(farm):
    for _ in range(2):
        ran, _, said = build(farm, team="wrong", token=WRONG_TOKEN)
        # Its first line says so where the answer to its question is there by then, the warning of a lookup in any case.
        assert ran == ALL and ("Authentication failed" in said or "401 Unauthorized" in said) and UNREADABLE not in said, said
    # Nothing of it was stored.
    assert build(farm, team="wrong")[0] == ALL


def test_a_read_only_token_reads_and_stores_nothing(farm):
    ran, _, said = build(farm, team="read", token=READ_TOKEN)
    assert ran == ALL and "rejected an upload with 403" in said and UNREADABLE not in said, said
    assert build(farm, team="read")[0] == ALL
    ran, sources, said = build(farm, team="read", token=READ_TOKEN)
    assert (ran, sources) == ([], dict.fromkeys(ALL, "REMOTE")), said


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a_flipped_byte_never_reaches_the_client(farm, signed):
    build(farm, team="flip", signed=signed)
    assert flip_on_disk(farm.server, farm.tasks().noise(1)) >= 1
    ran, sources, said = build(farm, team="flip", signed=signed)
    assert (ran, sources) == (["b"], {"a": "REMOTE", "b": "MISS", "c": "REMOTE"}), said
    ran, _, said = build(farm, team="flip", signed=signed)
    assert ran == [] and FULL in said, said


def test_a_server_that_dies_in_mid_build_breaks_nothing(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        farm = Farm(tmp_path, mortal, seed=20_000, project=Turbo.project, client=Turbo)
        farm.worker.kill_at(2, mortal)
        ran, _, said = build(farm, team="killed")
        assert ran == ALL, said
        mortal.kill()
        mortal.start()
        build(farm, team="killed")
        ran, _, said = build(farm, team="killed")
        assert ran == [] and FULL in said, said


def test_a_dead_server_is_a_warning(farm):
    with Dead() as dead:
        ran, _, said = build(farm, url=dead.url, team="dead")
    assert ran == ALL and ("Remote caching unavailable" in said or "failed to contact remote cache" in said), said


PATH = "/v8/artifacts/33c45188b9036e55"
SAID = {"x-artifact-duration": "206", "x-artifact-tag": "+Mj73dv052aAe2tDBw7M1N/5UkVxw5VToPygTYM2XY4="}


def test_what_an_upload_says_of_its_artifact_comes_back(cache):
    status, headers, body = cache.ask("PUT", f"{PATH}?slug=echo", body=b"artifact", headers=SAID)
    assert status == 202 and json.loads(body) == {"urls": [f"{cache.url}{PATH}?slug=echo"]}
    for method, expected in (("GET", b"artifact"), ("HEAD", b"")):
        status, headers, body = cache.ask(method, f"{PATH}?slug=echo", token=READ_TOKEN)
        assert (status, body, headers["content-length"]) == (200, expected, "8")
        assert {name: headers[name] for name in SAID} == SAID
    query = json.dumps({"hashes": ["33c45188b9036e55", "0000000000000000"]}).encode()
    status, _, body = cache.ask("POST", "/v8/artifacts?slug=echo", body=query)
    found = {"size": 8, "taskDurationMs": 206, "tag": SAID["x-artifact-tag"]}
    assert (status, json.loads(body)) == (200, {"33c45188b9036e55": found, "0000000000000000": None})


def test_a_team_is_a_namespace_and_carries_no_rights(cache):
    assert cache.ask("PUT", f"{PATH}?teamId=team_AbC", body=b"one")[0] == 202
    assert cache.ask("GET", f"{PATH}?teamId=team_AbC")[2] == b"one"
    assert cache.ask("GET", f"/api/v1/cache/team_abc/turbo{PATH}")[2] == b"one"
    assert cache.ask("GET", f"{PATH}?slug=another")[0] == 404
    assert cache.ask("PUT", f"{PATH}?teamId=team_AbC", token=READ_TOKEN, body=b"two")[0] == 403


def test_every_answer_is_json(cache):
    answers = [
        (200, cache.ask("GET", "/v8/artifacts/status?slug=x")),
        (401, cache.ask("GET", PATH, token=WRONG_TOKEN)),
        (401, cache.ask("GET", PATH, token=None)),
        (403, cache.ask("PUT", PATH, token=READ_TOKEN, body=b"x")),
        (404, cache.ask("GET", f"{PATH}?slug=none")),
        (405, cache.ask("DELETE", PATH)),
        (200, cache.ask("POST", "/v8/artifacts/events", body=b'[{"source":"LOCAL","event":"MISS","hash":"a","duration":0}]')),
        (400, cache.ask("POST", "/v8/artifacts/events", body=b"{")),
    ]
    for expected, (status, headers, body) in answers:
        assert (status, headers["content-type"]) == (expected, "application/json"), body
        document = json.loads(body)
        assert status < 400 or {"code", "message", "request_id"} <= set(document["error"]), document
    assert json.loads(answers[0][1][2]) == {"status": "enabled"}


def test_a_long_upload_that_is_refused_is_read_to_its_end(cache):
    # As the client does: it looks for an answer only when it has sent everything.
    status, _, body = cache.ask("PUT", PATH, token=READ_TOKEN, body=b"x" * (8 << 20))
    assert status == 403 and json.loads(body)["error"]["code"] == "forbidden"


def test_a_preflight_allows_the_headers_of_the_client(cache):
    status, headers, _ = cache.ask("OPTIONS", PATH, token=WRITE_TOKEN)
    assert status == 204 and "authorization" in headers["access-control-allow-headers"].lower()
    assert "PUT" in headers["access-control-allow-methods"]
