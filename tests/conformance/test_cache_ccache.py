"""ccache 4.7.5, unmodified, with its default layout."""

import pytest

from zctest import cache_units
from zctest.cache import CacheServer, Dead
from zctest.cache_clients import Ccache, compilations
from zctest.cache_units import Place


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


def test_a_clean_machine_compiles_nothing(cache, tmp_path):
    cache_units.ccache_fills_and_hits(Place(tmp_path, cache, "ccache", "fill", seed=1))


def test_the_token_may_stand_in_the_url(cache, tmp_path):
    cache_units.ccache_fills_and_hits(Place(tmp_path, cache, "ccache", "basic", seed=2, units=1), basic=True)


def test_a_wrong_token_costs_one_put_a_process(cache, tmp_path):
    cache_units.ccache_with_a_wrong_token_builds_without_the_cache(Place(tmp_path, cache, "ccache", "wrong", seed=3, units=2))


def test_a_read_only_token_reads_and_stores_nothing(cache, tmp_path):
    cache_units.ccache_with_a_read_only_token_reads(Place(tmp_path, cache, "ccache", "read", seed=4, units=2))


def test_a_flipped_byte_never_reaches_the_client(cache, tmp_path):
    cache_units.ccache_never_gets_flipped_bytes(Place(tmp_path, cache, "ccache", "flip", seed=5))


def test_a_server_that_dies_in_mid_build_keeps_what_it_acknowledged(settings, tmp_path):
    with CacheServer(**settings) as mortal:
        cache_units.ccache_survives_a_server_that_is_killed(Place(tmp_path, mortal, "ccache", "killed", seed=6, units=4))


def test_a_dead_server_breaks_no_build(cache, tmp_path):
    place = Place(tmp_path, cache, "ccache", "dead", seed=7, units=2)
    with Dead() as dead:
        client = Ccache(place.home(), f"{dead.url}/api/v1/cache/dead/ccache")
        units = place.units()
        client.build(units, place.worker)
    assert units.are_right() and compilations(place.worker) == units.names
    counts = client.counts()
    assert (counts["remote_storage_write"], counts["remote_storage_error"]) == (0, 2)
