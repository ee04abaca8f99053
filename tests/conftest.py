"""Fixtures of all Python tests.

ZEROCLOUD_TEST_MODE says how the appliance runs and is met: `epoll` on that backend; `tls` by https and paths; `virtual-host`
by https and with the bucket in the host's name, which takes a hosts file with the names of zctest/tls.py.
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from zctest.files import make_tree  # noqa: E402
from zctest.server import Server, plain_environment  # noqa: E402
from zctest.tls import Certificates  # noqa: E402

MODE = os.environ.get("ZEROCLOUD_TEST_MODE", "")
assert MODE in ("", "epoll", "tls", "virtual-host"), MODE

# Clients in this process shall be as far from the tester's own settings as those in processes of their own.
for name in set(os.environ) - set(plain_environment()):
    del os.environ[name]


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> dict:
    """What the mode makes of the appliance, and of its clients' environment."""
    found = {"arguments": ["--backend", "epoll"] if MODE == "epoll" else [], "environment": {}, "host": None}
    if MODE in ("tls", "virtual-host"):
        certificates = Certificates(tmp_path_factory.mktemp("certificates"))
        found["arguments"] += certificates.arguments()
        found["environment"] |= certificates.environment()
    if MODE == "virtual-host":
        config = tmp_path_factory.mktemp("aws") / "config"
        config.write_text("[default]\ns3 =\n  addressing_style = virtual\n")
        found["environment"] |= {"AWS_CONFIG_FILE": str(config), "RCLONE_S3_FORCE_PATH_STYLE": "false", "ZEROCLOUD_VIRTUAL_HOST": "1"}
        found["host"] = "localhost"
    in_process = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ |= in_process | found["environment"]
    return found


@pytest.fixture(scope="module")
def server(settings):
    """One appliance for all tests of a file."""
    with Server(**settings) as running:
        yield running


@pytest.fixture()
def tree(tmp_path) -> Path:
    """Local files, see zctest/files.py."""
    return make_tree(tmp_path / "tree")
