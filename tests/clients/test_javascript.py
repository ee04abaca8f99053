"""The AWS SDK for JavaScript, version 3, unmodified."""

from pathlib import Path

from zctest.files import run, tool

PROGRAM = Path(__file__).resolve().parent / "js" / "roundtrip.mjs"


def test_javascript_sdk_v3_round_trips(server):
    assert "came back whole" in run([tool("node"), str(PROGRAM)], server.environment())
