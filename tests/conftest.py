"""Fixtures of all Python tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from zctest.server import Server  # noqa: E402


@pytest.fixture(scope="module")
def server():
    """One appliance for all tests of a file."""
    with Server() as running:
        yield running
