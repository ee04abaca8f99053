"""DataFusion over a bucket through CloudKit's object_store adapter."""

import os
from pathlib import Path

from zctest.files import run
from zctest.server import ROOT

HERE = Path(__file__).resolve().parent


def test_datafusion_writes_partitions_and_reads_them_back(server):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "client-tests"
    build = ["cargo", "build", "--locked", "-q", "--manifest-path", str(HERE / "datafusion" / "Cargo.toml"), "--target-dir", str(target)]
    run(build, dict(os.environ))
    said = run([str(target / "debug" / "zerocloud-datafusion-test")], server.environment() | {"ZERO_URL": server.url})
    assert "DataFusion reads what it wrote" in said
