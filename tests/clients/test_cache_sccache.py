"""sccache 0.16.0 over WebDAV, unmodified. What it asks at its start decides: whether it starts at all, and whether it may write."""

import pytest

from zctest.cache import READ_TOKEN, WRITE_TOKEN, WRONG_TOKEN, CacheServer, Dead, Gate, flip_on_disk
from zctest.cache_clients import Sccache, compilations
from zctest.cache_units import Place


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def build(place: Place, url: str | None = None, stores: bool = True, **settings) -> tuple[dict, list[str]]:
    """A build of all units on a clean machine: the client's counters, and what was compiled. What is built is always right."""
    with Sccache(place.home(), url or place.url, **settings) as client:
        place.worker.forget()
        units = place.units()
        client.build(units, place.worker)
        assert units.are_right()
        return client.settled() if stores else client.counts(), compilations(place.worker)


@pytest.mark.parametrize("client", [{}, {"basic": True}, {"prefix": "a/b"}], ids=["bearer", "basic", "prefix"])
def test_a_clean_machine_compiles_nothing(cache, tmp_path, client):
    place = Place(tmp_path, cache, "webdav", "fill-" + ("-".join(client) or "bearer"), seed=200 + len(client) + 2 * ("prefix" in client))
    counts, compiled = build(place, **client)
    assert (compiled, counts["cache_misses"], counts["cache_writes"]) == (place.first.names, 3, 3), counts
    counts, compiled = build(place, **client)
    assert (compiled, counts["cache_hits"], counts["cache_misses"], counts["compilations"]) == ([], 3, 0, 0), counts


def test_collections_need_not_be_made(cache, tmp_path):
    place = Place(tmp_path, cache, "webdav", "walk", seed=210)
    with Gate(cache) as gate:
        _, compiled = build(place, url=f"{gate.url}/api/v1/cache/walk/webdav")
    assert compiled == place.first.names
    # One PROPFIND of the place of each value and of the check, and nothing is made.
    assert gate.count("MKCOL") == 0 and gate.count("PROPFIND", 207) == gate.count("PROPFIND") == 4, gate.requests
    assert gate.count("PUT", 201) == gate.count("PUT") == 4, gate.requests


@pytest.mark.parametrize("token", [WRONG_TOKEN, ""], ids=["wrong", "none"])
def test_without_a_right_token_it_does_not_start(cache, tmp_path, token):
    place = Place(tmp_path, cache, "webdav", "wrong", seed=220, units=1)
    client = Sccache(place.home(), place.url, token=token)
    code, said = client.start()
    assert code == 2 and "status: 401" in said, said
    assert place.worker.calls() == []


def test_a_read_only_token_reads_and_stores_nothing(cache, tmp_path):
    place = Place(tmp_path, cache, "webdav", "read", seed=230)
    counts, compiled = build(place, stores=False, token=READ_TOKEN)
    assert (compiled, counts["cache_writes"]) == (place.first.names, 0), counts
    assert build(place)[1] == place.first.names
    counts, compiled = build(place, token=READ_TOKEN)
    assert (compiled, counts["cache_hits"]) == ([], 3), counts


def test_a_flipped_byte_never_reaches_the_client(cache, tmp_path):
    place = Place(tmp_path, cache, "webdav", "flip", seed=240)
    build(place)
    assert flip_on_disk(cache, place.first.noise(1)) >= 1
    assert build(place)[1] == [place.first.names[1]]
    assert build(place)[1] == []


def test_a_server_that_dies_in_mid_build_breaks_nothing(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        place = Place(tmp_path, mortal, "webdav", "killed", seed=250, units=4)
        with Sccache(place.home(), place.url) as client:
            units = place.units()
            client.build(units, place.worker)
            assert units.are_right() and client.settled()["cache_writes"] == len(units.names)
        changed = Place(tmp_path / "changed", mortal, "webdav", "killed", seed=251, units=4)
        with Sccache(changed.home(), changed.url) as client:
            units = changed.units()
            changed.worker.kill_at(len(changed.worker.calls()) + KILLED_AT, mortal)
            client.build(units, changed.worker)
            assert units.are_right() and compilations(changed.worker) == units.names
        mortal.kill()
        mortal.start()
        # What was acknowledged before is there: the first project was built by a client that ended.
        assert build(place)[1] == []
        build(changed)
        assert build(changed)[1] == []


# The client asks the compiler some questions first; then each unit is two calls.
KILLED_AT = 5


def test_a_server_that_is_dead_at_its_start_stops_it(tmp_path):
    with Dead() as dead:
        code, said = Sccache(tmp_path / "home", f"{dead.url}/api/v1/cache/dead/webdav").start()
    assert code == 2 and "Connection refused" in said, said


def test_webdav_is_as_its_standard_says(cache):
    base = "/api/v1/cache/plain/webdav"
    zero = {"Depth": "0"}
    assert cache.ask("PROPFIND", f"{base}/any/where/", headers=zero)[0] == 207
    assert cache.ask("PROPFIND", f"{base}/any/where/x", headers=zero)[0] == 404
    assert cache.ask("MKCOL", f"{base}/any/")[0] == 405
    assert cache.ask("PUT", f"{base}/any/where/x", body=b"value", headers={"Content-Type": "text/x"})[0] == 201
    status, headers, body = cache.ask("GET", f"{base}/any/where/x", token=READ_TOKEN)
    assert (status, headers["content-type"], body) == (200, "text/x", b"value")
    status, headers, body = cache.ask("PROPFIND", f"{base}/any/where/x", token=READ_TOKEN, headers=zero)
    assert status == 207 and b"<D:getcontentlength>5</D:getcontentlength>" in body and b"<D:collection/>" not in body
    assert cache.ask("PROPFIND", f"{base}/any/", headers={"Depth": "1"})[0] == 501
    assert cache.ask("DELETE", f"{base}/any/where/x", token=READ_TOKEN)[0] == 403
    assert cache.ask("DELETE", f"{base}/any/where/x", token=WRITE_TOKEN)[0] == 204
    assert cache.ask("DELETE", f"{base}/any/where/x")[0] == 404
    assert cache.ask("PROPFIND", f"{base}/", token=None, headers=zero)[0] == 401
    assert cache.ask("OPTIONS", f"{base}/")[1]["dav"] == "1"
