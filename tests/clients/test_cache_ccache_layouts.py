"""ccache 4.7.5 in each of its layouts. What `bazel` stores below /ac/ is no action result, and nothing may take it for one."""

import pytest

from zctest import cache_units
from zctest.cache import CacheServer
from zctest.cache_units import Place

LAYOUTS = ["subdirs", "flat", "bazel"]


@pytest.fixture(scope="module")
def cache(settings):
    with CacheServer(**settings) as running:
        yield running


@pytest.fixture(params=LAYOUTS)
def layout(request) -> str:
    return request.param


def seed(layout: str, number: int) -> int:
    return 100 + 10 * LAYOUTS.index(layout) + number


@pytest.mark.parametrize("basic", [False, True], ids=["bearer", "basic"])
def test_a_clean_machine_compiles_nothing(cache, tmp_path, layout, basic):
    place = Place(tmp_path, cache, "ccache", f"fill-{layout}-{basic}".lower(), seed(layout, 0 + basic))
    cache_units.ccache_fills_and_hits(place, layout=layout, basic=basic)


def test_a_wrong_token_costs_one_put_a_process(cache, tmp_path, layout):
    place = Place(tmp_path, cache, "ccache", f"wrong-{layout}", seed(layout, 2))
    cache_units.ccache_with_a_wrong_token_builds_without_the_cache(place, layout=layout)


def test_a_read_only_token_reads_and_stores_nothing(cache, tmp_path, layout):
    place = Place(tmp_path, cache, "ccache", f"read-{layout}", seed(layout, 3))
    cache_units.ccache_with_a_read_only_token_reads(place, layout=layout)


def test_a_flipped_byte_never_reaches_the_client(cache, tmp_path, layout):
    place = Place(tmp_path, cache, "ccache", f"flip-{layout}", seed(layout, 4))
    cache_units.ccache_never_gets_flipped_bytes(place, layout=layout)


def test_a_server_that_dies_in_mid_build_keeps_what_it_acknowledged(settings, tmp_path, layout):
    with CacheServer(**settings) as mortal:
        place = Place(tmp_path, mortal, "ccache", "killed", seed(layout, 5), units=4)
        cache_units.ccache_survives_a_server_that_is_killed(place, layout=layout)


def test_layouts_share_nothing_and_break_nothing(cache, tmp_path):
    place = Place(tmp_path, cache, "ccache", "mixed", seed("subdirs", 6), units=1)
    for layout in LAYOUTS:
        cache_units.ccache_fills_and_hits(place, layout=layout)
