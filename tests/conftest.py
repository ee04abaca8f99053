"""Fixtures of all Python tests."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from zctest.server import Server, plain_environment  # noqa: E402

# Clients in this process shall be as far from the tester's own settings as those in processes of their own.
for name in set(os.environ) - set(plain_environment()):
    del os.environ[name]
os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def server():
    """One appliance for all tests of a file."""
    with Server() as running:
        yield running
